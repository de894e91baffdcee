"""With NumPy: residuals and objectives of large tables of soft targets (docs/fast_objectives.md, section 7.5).

One pass over blocks of columns; every rounding is bounded there. It can only confirm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from flint import arb, fmpq

from . import fast
from .binary64 import rounds_to_nearest
from .elementary import exp_of_minus, log
from .points import Factors
from .reading import Undecided
from .residuals import Residuals
from .tables import TabledSoftmax

FEW = 1 << 14
"""Fewer residuals are soon formed one by one."""
_UNIT = 2.0**-53
_BLOCK = 1 << 20
_MULTIPLICATION = 2.0**-2
"""Microseconds of a thousand multiplications of matrices in binary64."""
_CUT = 2.0**-92
"""More than e^-64, which an exponential that is taken for 0 may be."""
_LEAST = 2.0**-120
_FAINT = fmpq(1, 1 << 100)
"""Scales below are of no use."""


class Rows(NamedTuple):
    """Some of the columns of a problem, as rows: with p = softmax, everything is known to a relative ``error``.

    ``below`` are the distances of logits to the largest, off by at most ``shift``; ``log_sum`` is log Σ exp(−below).
    """

    first: int
    p: Any
    below: Any
    log_sum: Any
    shift: Any
    error: Any
    targets: Any


class Arrays:
    """W, H, b, the table and the weights of columns as binary64 numbers."""

    def __init__(self, point: Factors, *, gram: bool) -> None:
        problem, loss = point.problem, point.problem.loss
        if not isinstance(loss, TabledSoftmax):
            raise Undecided("no streamed enclosure is known for this loss")
        d = len(point.W[0])
        inner = d + min(problem.V, problem.K) if gram else d
        problem.costs.multiply_quickly(point.numbers * inner, _MULTIPLICATION)
        self.W, self.H = (
            _required(fast._exactly(rows, e)) for rows, e in zip((point.W, point.H), point.exponents, strict=True)
        )
        bias = point.bias
        self.b = np.zeros(problem.V) if bias is None else _required(fast._exactly([bias.integers], bias.exponent))[0]
        table = loss.table
        self.starts, self.places = np.array(table.starts), np.array(table.places)
        with np.errstate(over="ignore", under="ignore"):
            self.entries = np.ldexp(_required(fast._numbers(table.entries.integers)), table.entries.exponent)
        shares = [problem.share(group) for group in problem.classes()]
        self.shares = np.array([float(arb(share)) for share in shares])
        if not (fast._moderate(self.W) and fast._moderate(self.H) and fast._moderate(self.b)):
            raise Undecided("W or H has entries too large for binary64")
        if min(self.entries.min(), self.shares.min()) < 2.0**-900:
            raise Undecided("a target or a weight is too small for binary64")
        self.rows = max(1, min(_BLOCK // problem.V, problem.K))
        self.sizes = self.rows, max(d, self.rows), problem.V

    def require_nearest(self) -> None:
        """Before a pass and after it."""
        if not rounds_to_nearest(*self.sizes):
            raise Undecided("binary64 numbers are not rounded to nearest on this machine now")

    def blocks(self) -> Iterator[Rows]:
        """All columns."""
        V, d = self.W.shape
        longest, offset = float(np.sqrt((self.W * self.W).sum(axis=1).max())) * 1.001, float(np.abs(self.b).max())
        for first in range(0, len(self.H), self.rows):
            H = self.H[first : first + self.rows]
            logits = H @ self.W.T + self.b
            below = logits.max(axis=1)[:, None] - logits
            shift = 2.02 * (d + 7) * _UNIT * (longest * np.sqrt((H * H).sum(axis=1)) + offset) * 1.001
            powers = exp_of_minus(below)
            sums = powers.sum(axis=1)
            error = 2.04 * shift + 2.0**-48 + 2.02 * (V + 8) * _UNIT + V * _CUT
            if not (error < 0.01).all():
                raise Undecided("logits are too large for binary64")
            p = powers / sums[:, None]
            yield Rows(first, p, below, log(sums), shift, error, self._targets(first, len(H)))

    def _targets(self, first: int, count: int) -> Any:
        """Row, output and number of each entry of the table in a block."""
        starts = self.starts[first : first + count + 1]
        rows = np.repeat(np.arange(count), np.diff(starts))
        return rows, self.places[starts[0] : starts[-1]], self.entries[starts[0] : starts[-1]]


class Fast:
    """The residuals of a large table."""

    def __init__(self, dual: Residuals, arrays: Arrays) -> None:
        self.dual, self.arrays, self.scale = dual, arrays, float(arb(dual.scale))

    @classmethod
    def of(cls, dual: Residuals) -> Fast | None:
        """This path, for many residuals of a softmax, a scale in binary64 and no bias."""
        exact = dual.scale > _FAINT and fmpq(*float(arb(dual.scale)).as_integer_ratio()) == dual.scale
        if dual.numbers < FEW or dual.problem.bias.present or not exact:
            return None
        try:
            return cls(dual, Arrays(dual.point, gram=True))
        except Undecided:
            return None

    def slack_dominates(self) -> bool:
        """True only if ‖U D^-½‖ ≤ 1, all roundings allowed for."""
        try:
            return self._norm_is_small()
        except Undecided:
            return False

    def _norm_is_small(self) -> bool:
        problem, arrays, s = self.dual.problem, self.arrays, self.scale
        V, m, square = problem.V, problem.K, self.dual.decays.product
        sizes = [float((arb(square) * group.samples).sqrt()) for group in problem.classes()]
        units = s * arrays.shares / np.array(sizes)
        gram, whole = np.zeros((V, V)) if m >= V else None, []
        lengths, errors = 0.0, 0.0
        arrays.require_nearest()
        for block in arrays.blocks():
            rows, outputs, entries = block.targets
            residuals = block.p.copy()
            residuals[rows, outputs] -= entries
            unit = units[block.first : block.first + len(residuals)]
            residuals *= unit[:, None]
            lengths += float((residuals * residuals).sum())
            off = 1.02 * unit * (1.01 * block.error + 16 * _UNIT + np.sqrt(V) * _CUT)
            errors += float((off * off).sum())
            if gram is None:
                whole.append(residuals)
            else:
                gram += residuals.T @ residuals
        if gram is None:
            columns = np.concatenate(whole)
            gram = columns @ columns.T
        inner = (arrays.rows + m // arrays.rows + 16) if m >= V else V + 8
        room = 1.02 * (inner * _UNIT * lengths + 2.0**-900)
        most = 1.0 - 1.01 * float(np.sqrt(errors * 1.01))
        found = most > 0.0 and _at_most(gram, most * most * (1.0 - 2.0**-50) - room)
        arrays.require_nearest()
        return found

    def dual_value(self) -> arb | None:
        """−Σ pt_j l_j*(s ∇l_j): the entropies of s p + (1 − s) y, weighed."""
        try:
            self.arrays.require_nearest()
            total, error = 0.0, 0.0
            for block in self.arrays.blocks():
                values, errors = self._entropies(block)
                shares = self.arrays.shares[block.first : block.first + len(values)]
                total += float(shares @ values)
                error += float(shares @ (errors + 64 * _UNIT * np.abs(values)))
            self.arrays.require_nearest()
        except Undecided:
            return None
        terms = 2 * (self.arrays.rows + len(self.arrays.shares) // self.arrays.rows + 32)
        return arb(total, 1.02 * error + terms * _UNIT * abs(total) + 2.0**-900)

    def _entropies(self, block: Rows) -> tuple[Any, Any]:
        """Of the mean of outcomes and targets of each row, and what they may be off by."""
        s, V = self.scale, block.p.shape[1]
        rows, outputs, entries = block.targets
        log_s = float(log(np.array([s]))[0])
        surprise = block.below + (block.log_sum - log_s)[:, None]  # −log s p
        terms = s * block.p * surprise
        p = s * block.p[rows, outputs]
        mean = np.maximum(p + (1.0 - s) * entries, _LEAST)
        logs = -log(mean)
        values = terms.sum(axis=1)
        values += np.bincount(rows, mean * logs - terms[rows, outputs], minlength=len(values))
        relative = 1.01 * block.error
        size = s * (block.p * (block.below + np.abs(block.log_sum - log_s)[:, None])).sum(axis=1)
        errors = (relative + (V + 16) * _UNIT) * size + s * (2.0 * block.shift + 2.0**-42 + relative) + V * 80 * _CUT
        spread = (relative[rows] + 8 * _UNIT) * mean + 16 * _CUT
        off = spread * (logs + 2.0) + mean * 2.0**-43 + p * np.abs(surprise[rows, outputs]) * 8 * _UNIT
        return values, errors + np.bincount(rows, off, minlength=len(values))


def witness_objective(witness: Any) -> arb | None:
    """The objective of W and H against a large table; None for what is none of it."""
    if not isinstance(witness, Factors) or not isinstance(witness.problem.loss, TabledSoftmax):
        return None
    if witness.numbers < FEW or len(witness.H) != witness.problem.K:
        return None
    try:
        return _objective(witness, Arrays(witness, gram=False))
    except Undecided:
        return None


def _objective(witness: Factors, arrays: Arrays) -> arb:
    """Losses with their errors, and penalties as sums of squares."""
    problem, (V, d), total, error = witness.problem, arrays.W.shape, 0.0, 0.0
    arrays.require_nearest()
    for block in arrays.blocks():
        rows, outputs, entries = block.targets
        terms = entries * block.below[rows, outputs]
        linear = np.bincount(rows, terms, minlength=len(block.p))
        longest = np.bincount(rows, minlength=len(block.p)) + 8
        values = block.log_sum + linear
        errors = 2.0**-43 + block.error + block.shift + (longest + 8) * _UNIT * (linear + block.log_sum)
        shares = arrays.shares[block.first : block.first + len(values)]
        total += float(shares @ values)
        error += float(shares @ (errors + 8 * _UNIT * values))
    arrays.require_nearest()
    terms = 2 * (arrays.rows + len(arrays.H) // arrays.rows + d + V + 32)
    found = arb(total, 1.02 * error + terms * _UNIT * abs(total) + 2.0**-900)
    counts = np.array([group.samples for group in problem.classes()], dtype=np.float64)
    squares = float((arrays.W * arrays.W).sum()), float(counts @ (arrays.H * arrays.H).sum(axis=1))
    weights = problem.lambda_w, problem.lambda_h
    for square, weight in zip(squares, weights, strict=True):
        long = terms + 2 * (len(arrays.H) + V)
        found += arb(weight) / 2 * arb(square, square * long * _UNIT + 2.0**-800)
    b = float((arrays.b * arrays.b).sum())
    return found + arb(problem.bias.weight) / 2 * arb(b, b * (V + 8) * _UNIT + 2.0**-900)


def _required(array: Any) -> Any:
    if array is None:
        raise Undecided("a number of the file is no binary64 number")
    return array


def _at_most(gram: Any, bound: float) -> bool:
    """True only if bound · I − gram is positive semidefinite: it is L Lᵀ, a little of I, and less than that of rest."""
    size = len(gram)
    matrix = -gram
    matrix[np.diag_indices(size)] += bound
    trace = float(np.abs(gram.diagonal()).sum()) + size * abs(bound)
    shift = 8.0 * (size + 8) * _UNIT * trace
    moved = matrix.copy()
    moved[np.diag_indices(size)] -= shift
    try:
        lower = np.linalg.cholesky(moved)
    except np.linalg.LinAlgError:
        return False
    rest = moved - lower @ lower.T
    length = float((lower * lower).sum())
    off = 1.02 * float(np.sqrt((rest * rest).sum())) + 1.02 * (size + 8) * _UNIT * (length + trace)
    return bool(off <= shift)
