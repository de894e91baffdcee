"""Integer columns whose sum is zero, from ones whose sum is nearly zero: what a free bias asks of U exactly.

Column g holds one class; entry h of it is ``columns[g][h]``, and the own entry is apart. What is missing in a row is
added, and nothing taken away, as in ``bias.FreeBias.admit``: entries of other classes only grow and own entries only
fall, so that a point inside the conjugate's domain with some margin stays inside.
"""

from __future__ import annotations


def balance(columns: list[list[int]], own: list[int] | None) -> tuple[list[list[int]], list[int] | None]:
    """The columns and own entries with all row sums zero.

    Args:
        columns: K columns of K integers; entry g of column g is 0.
        own: Own entry of each column; None where it is minus the sum of the others, and then stays so.
    """
    balanced = [list(column) for column in columns]
    diagonal = [-sum(column) for column in columns] if own is None else list(own)
    sums = [sum(row) + entry for row, entry in zip(zip(*columns, strict=True), diagonal, strict=True)]
    if own is None:
        _transport(balanced, sums)
        return balanced, None
    for h, total in enumerate(sums):
        if total > 0:
            diagonal[h] -= total
        elif total < 0:
            balanced[h - 1][h] -= total  # the column before, the last one for the first class
    return balanced, diagonal


def _transport(columns: list[list[int]], sums: list[int]) -> None:
    """Add flows from columns whose row has too much to rows that have too little: f in row h of column g.

    Own entries fall by as much, so row g loses f, row h gains f, and each column still sums to zero.
    """
    surplus = [[g, total] for g, total in enumerate(sums) if total > 0]
    for h, total in enumerate(sums):
        missing = -total
        while missing > 0:
            g, left = surplus[-1]
            flow = min(missing, left)
            columns[g][h] += flow
            missing -= flow
            surplus[-1][1] -= flow
            if surplus[-1][1] == 0:
                surplus.pop()
