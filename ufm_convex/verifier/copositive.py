"""Dual points whose slack is copositive, and no more: for non-negative features (docs/further_slack.md, section 4.3).

The slack C = Diag(⌊ρ⌋) − XᵀX in integers is shown to be copositive by a cubic form, or, for few columns, by looking at
every support that a violation may have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, combinations_with_replacement
from math import comb
from typing import Any

from flint import fmpz_mat

from .problem import product
from .proof import Blocks
from .reading import MalformedCertificate, Refuted, fields_of, integers, longest, rows_of

MAX_CUBIC, MAX_SUPPORTS = 64, 12
"""Columns of a proof by a cubic form, and without one."""


class Copositive(Blocks):
    """Single classes; ``weights`` are α and ``factors`` the F_i of the cubic form, None where supports decide."""

    slack = "cubic"

    def _read_slack(self, fields: dict[str, Any], triangle: list[int]) -> None:
        """See ``Blocks``."""
        size, self.multiplier, self.factor = len(triangle), None, None
        if not self.problem.nonnegative:
            raise MalformedCertificate("a copositive slack is for non-negative features")
        if size > (MAX_SUPPORTS if fields["cubic"] is None else MAX_CUBIC):
            raise MalformedCertificate("a copositive slack of more columns than is allowed")
        self.weights: list[int] | None = None
        self.factors: list[list[Sequence[int]]] = []
        if fields["cubic"] is not None:
            given = fields_of(fields["cubic"], "weights factors")
            self.weights = integers(given["weights"], size)
            if not isinstance(given["factors"], list) or len(given["factors"]) != size:
                raise MalformedCertificate(f"expected {size} factors")
            self.factors = [rows_of(factor, triangle) for factor in given["factors"]]

    def check_slack(self) -> None:
        """Show that D − G is copositive, exactly."""
        rows, costs = list(self._summed()), self.problem.costs
        costs.spend(self.numbers, 2, 0)
        C = [[-int(entry) for entry in row] for row in product(rows, rows, costs).tolist()]
        for g, row in enumerate(C):
            row[g] += self.radius(g)
        if self.weights is None:
            self._check_supports(C)
        else:
            self._check_cubic(C, self.weights)

    def _check_cubic(self, C: list[list[int]], weights: list[int]) -> None:
        """Show that (Σ α x) xᵀCx less all x_i ‖F_iᵀx‖² has no negative coefficient."""
        size, costs = len(C), self.problem.costs
        if min(weights) < 1:
            raise Refuted("a weight of the cubic form is not positive")
        squares = []
        for factor in self.factors:
            full = [[*row, *[0] * (size - len(row))] for row in factor]
            squares.append([[int(entry) for entry in row] for row in product(full, full, costs).tolist()])
        bits = longest(weights) + max(map(longest, C)) + max(longest(row) for square in squares for row in square)
        costs.spend(comb(size + 2, 3), 8, bits)
        for i, j, k in combinations_with_replacement(range(size), 3):
            whole = weights[i] * C[j][k] + weights[j] * C[i][k] + weights[k] * C[i][j]
            if whole < squares[i][j][k] + squares[j][i][k] + squares[k][i][j]:
                raise Refuted(f"the cubic form has a negative coefficient at the columns {i}, {j}, {k}")

    def _check_supports(self, C: list[list[int]]) -> None:
        """Show that C y = 1 has no solution y < 0 on any support: else −y > 0 has a negative form."""
        size, bits = len(C), max(map(longest, C))
        for number in range(1, size + 1):
            self.problem.costs.multiply(comb(size, number) * number**3, number * bits)
        for support in _supports(C):
            block = fmpz_mat([[C[k][j] for j in support] for k in support])
            if block.det() == 0:
                continue
            if all(entry < 0 for entry in block.solve(fmpz_mat([[1]] * len(support))).entries()):
                raise Refuted(f"the slack is not copositive on the columns {', '.join(map(str, support))}")


def _supports(C: list[list[int]]) -> Iterator[tuple[int, ...]]:
    """The supports that a smallest violation may have: each of its rows has a negative entry there."""
    for size in range(1, len(C) + 1):
        for support in combinations(range(len(C)), size):
            if all(any(C[k][j] < 0 for j in support) for k in support):
                yield support
