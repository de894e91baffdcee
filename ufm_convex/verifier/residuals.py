"""Dual points that no file holds: residuals of a table at W and H, real numbers (docs/further_slack.md, section 4.4).

v_j = s ∇l_j(W h_j + b) lies in the domain of l_j* for every s in [0, 1], since 0 does, and sums to zero where it has
to. What remains is ‖U D^-½‖ ≤ 1, a matrix of the smaller of V and m rows, in balls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flint import arb, arb_mat, fmpq

from .points import Factors
from .precision import working_precision
from .problem import Problem
from .proof import Dual
from .reading import MalformedCertificate, Refuted, Undecided, dyadic, fields_of
from .tables import Tabled

PRECISIONS = (128, 256, 512)
MAX_BALLS = 1 << 20
"""Residuals that are formed one by one."""
_ELIMINATION = 8
"""Multiplications of an elimination, over n³: those of products and of solutions of systems."""


class Residuals(Dual):
    """s ∇l_j at the witness, or at factors of the proof's own."""

    def __init__(self, problem: Problem, value: Any, witness: Any) -> None:
        fields = fields_of(value, "kind scale point")
        if problem.regulariser.proof or problem.bias.free or not isinstance(problem.loss, Tabled):
            raise MalformedCertificate("residuals are those of a table of targets, with decays and no free bias")
        super().__init__(problem, fields)
        self.scale, self.loss = dyadic(fields["scale"]), problem.loss
        if not 0 <= self.scale <= 1:
            raise MalformedCertificate("a scale of residuals lies from 0 to 1")
        point = witness if fields["point"] is None else Factors.read(problem, fields["point"], kind="dense")
        if not isinstance(point, Factors):
            raise MalformedCertificate("residuals are those at W and H written as matrices")
        self.point, self.groups, self.numbers = point, problem.classes(), point.numbers

    def pay(self, precision: int) -> None:
        """For the dual value at a precision."""
        if self.numbers > MAX_BALLS:
            raise Undecided("more residuals than are formed one by one")
        self.problem.costs.spend(self.numbers, 2, self.problem.bits, balls=6, precision=precision)

    def value(self, precision: int) -> arb:
        """See ``Dual``."""
        self.pay(precision)
        loss, total, sums = self.loss, arb(0), [arb(0)] * self.problem.V
        for j, (group, outcomes) in enumerate(zip(self.groups, self._outcomes(), strict=True)):
            share = arb(self.problem.share(group))
            total -= share * loss.conjugate_at(outcomes, j, self.scale)
            if self.problem.bias.present:
                residuals = loss.residuals(outcomes, j)
                sums = [one + share * v for one, v in zip(sums, residuals, strict=True)]
        if self.problem.bias.present:
            square = sum((one * one for one in sums), arb(0)) * arb(self.scale * self.scale)
            total -= square / arb(2 * self.problem.bias.weight)
        return total

    def price(self) -> fmpq:
        """Nothing beside what ``value`` has paid, which is no rational number."""
        return fmpq(0)

    def check_slack(self) -> None:
        """Show that I − U D⁻¹ Uᵀ, or I − D^-½ Uᵀ U D^-½, is positive definite."""
        V, m, costs = self.problem.V, len(self.groups), self.problem.costs
        least, most = min(V, m), max(V, m)
        for precision in PRECISIONS:
            self.pay(precision)
            costs.multiply(least * least * (most + _ELIMINATION * least), precision)
            with working_precision(precision):
                U = arb_mat([self._scaled(j, outcomes) for j, outcomes in enumerate(self._outcomes())])
                gram = U.transpose() * U if m > V else U * U.transpose()
                found = positive_definite(_identity(least) - gram)
            if found is not None:
                break
        if found is False:
            raise Refuted("the residuals are too long: the slack is negative")
        if found is None:
            raise Undecided("the slack is too close to singular to be told apart")

    def _scaled(self, j: int, outcomes: list[arb]) -> list[arb]:
        """The column u_j / σ_j."""
        group = self.groups[j]
        unit = arb(self.scale * self.problem.share(group)) / arb(self.decays.product * group.samples).sqrt()
        return [unit * v for v in self.loss.residuals(outcomes, j)]

    def _outcomes(self) -> Iterator[list[arb]]:
        return (self.loss.outcomes(z) for z in self.point.logits())


def positive_definite(matrix: arb_mat) -> bool | None:
    """Whether every symmetric matrix of an enclosure is; False where none is, None where this does not tell.

    A matrix is if and only if a principal block and its Schur complement are.
    """
    size = int(matrix.nrows())
    if size == 1:
        entry = matrix[0, 0]
        return True if entry > 0 else False if entry < 0 else None
    half = size // 2
    first, second = range(half), range(half, size)
    found = positive_definite(_block(matrix, first, first))
    if not found:
        return found
    right = _block(matrix, first, second)
    try:
        inner = _block(matrix, first, first).solve(right)
    except (ValueError, ZeroDivisionError):  # enclosures too wide to be inverted
        return None
    return positive_definite(_block(matrix, second, second) - right.transpose() * inner)


def _block(matrix: arb_mat, rows: range, columns: range) -> arb_mat:
    return arb_mat([[matrix[i, j] for j in columns] for i in rows])


def _identity(size: int) -> arb_mat:
    return arb_mat([[int(i == j) for j in range(size)] for i in range(size)])
