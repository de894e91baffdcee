"""Integer columns that sum to zero on every output, from ones that nearly do: what a free bias asks of U exactly.

An orbit j of m_j columns has the entry x_jh at an output of orbit h, and the own entry o_j at the one output that it is
matched with. An output of orbit h then has the sum

    s_h = Σ_j m_j x_jh  +  Σ_{j: a_j = h} (o_j − x_jh),        a_j the own orbit of j.

What is missing is added, and nothing taken away, as in ``Columns.balanced``: other entries only grow and own entries
only fall, so that a point inside the conjugate's domain with some margin stays inside. m_c columns of one orbit c, the
*hub*, add m_c times an integer: they close any sum once all other columns consist of multiples of m_c. Outputs that no
column is matched with have no own entry to fall: the hub's entries there do, where a target with some mass leaves room.
"""

from __future__ import annotations

from collections.abc import Sequence


def balance(
    columns: list[list[int]],
    own: list[int] | None,
    places: Sequence[int],
    sizes: Sequence[int],
    outputs: Sequence[int],
    hub: int,
) -> tuple[list[list[int]], list[int] | None]:
    """The columns and own entries with all sums zero; where no column can give what is missing, sums are left.

    Args:
        columns: C orbits of columns, R integers each; x_jh = 0 at h = a_j if m_j = 1. Multiples of m_c but for the hub.
        own: o_j; None where it is minus the sum of the others, and then stays so.
        places: a_j.
        sizes: m_j.
        outputs: Outputs of each orbit, (R,).
        hub: c.
    """
    changed = [list(column) for column in columns]
    diagonal = own_of(changed, places, outputs) if own is None else list(own)
    sums = sums_of(changed, diagonal, places, sizes, len(outputs))
    if own is None:
        _exchange(changed, sums, places, sizes, hub)
        return changed, None
    for h, total in enumerate(sums):
        mine = [j for j, place in enumerate(places) if place == h]
        j, times = _giver(h, places, sizes, hub)
        if total < 0 and times:
            steps = -(total // times)
            changed[j][h] += steps
            total += steps * times
        if total > 0 and mine:
            diagonal[mine[-1]] -= total
        elif total > 0 and times:
            changed[j][h] -= total // times
    return changed, diagonal


def own_of(columns: list[list[int]], places: Sequence[int], outputs: Sequence[int]) -> list[int]:
    """Own entries that make each column sum to zero."""
    pairs = zip(columns, places, strict=True)
    if max(outputs) == 1:
        return [x[a] - sum(x) for x, a in pairs]
    return [x[a] - sum(n * entry for n, entry in zip(outputs, x, strict=True)) for x, a in pairs]


def sums_of(
    columns: list[list[int]], own: list[int], places: Sequence[int], sizes: Sequence[int], num_outputs: int
) -> list[int]:
    """s_h, (R,)."""
    sums = [0] * num_outputs
    for m, column in zip(sizes, columns, strict=True):
        sums = [s + m * x for s, x in zip(sums, column, strict=True)]
    for column, o, a in zip(columns, own, places, strict=True):
        sums[a] += o - column[a]
    return sums


def _exchange(columns: list[list[int]], sums: list[int], places: Sequence[int], sizes: Sequence[int], hub: int) -> None:
    """F in row h of the hub's columns adds m_c f there; f in the hub's row of columns with own row h takes m_c f.

    Without such columns −f in row h of the hub's takes it.

    Own entries fall by as much as columns gain. The hub's own row comes out right by itself: columns sum to zero.
    """
    home, m = places[hub], sizes[hub]
    of_row = {place: j for j, place in enumerate(places)}
    for h, total in enumerate(sums):
        if h == home or total % m:
            continue
        if total < 0:
            columns[hub][h] -= total // m
        elif h in of_row:
            columns[of_row[h]][home] += total // m
        else:
            columns[hub][h] -= total // m


def _giver(h: int, places: Sequence[int], sizes: Sequence[int], hub: int) -> tuple[int, int]:
    """An orbit of columns that may gain at outputs h, and how many columns gain at each of them."""
    if places[hub] != h:
        return hub, sizes[hub]
    others = (j for j, place in enumerate(places) if place != h)
    found = next(others, hub)
    return found, sizes[found] - (found == hub)
