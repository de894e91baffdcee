"""A proved enclosure of a candidate's objective, in one pass over its features.

    f(W, H, b) = (1/N) Σ_i ω_{y_i} l_{y_i}(W h_i + b) + λ_W/2 ‖W‖² + λ_H/2 Σ_i ‖h_i‖² + λ_b/2 ‖b‖²

as a real number, at the exact binary32 or binary64 entries of W, H and b; without a bias b = 0. Matrix products and
elementary functions are evaluated in binary64 with a-priori error bounds, sums over samples by ``math.fsum``, and the
last step is exact and rounded outwards. Every constant is derived in docs/streaming.md and the pages behind it, whose
equations the comments cite.

Assumed: binary64 arithmetic as in IEEE 754, rounding to nearest, which is probed; subnormal numbers may be flushed.
Each entry of a matrix product is its sum of d products, each rounded or fused, added in any order (no Strassen-like
algorithm, no lower precision). Nothing is assumed of ``exp`` and ``log``: they are made here of additions,
multiplications and divisions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TypeAlias

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray, frozen
from ufm_convex._bits import fraction, widened
from ufm_convex.candidate import Block, Candidate, NegativeEntries, blocks, require_match
from ufm_convex.candidate.streaming import LARGEST_SQUARE_NORM, Progress
from ufm_convex.enclosure.arithmetic import FLUSHED_BITS, TINY, UNIT, require_nearest
from ufm_convex.enclosure.exact import float_above, float_below, rational
from ufm_convex.errors import CandidateError, ShapeError, UnknownNameError
from ufm_convex.losses import Loss
from ufm_convex.problem import Problem

Interval: TypeAlias = tuple[float, float]
Exact: TypeAlias = tuple[Fraction, Fraction]

STEPS = 512
"""Steps of the table of e^{−n} in each unit of n; a power of two, so that scaling by it is exact."""

CUT = 128
"""e^{−n} is taken to be 0 from about n = CUT on."""

EXP_ERROR = 2.0**-44
"""Relative error of ``exp_of_minus`` below CUT (docs/streaming_functions.md, equation 8)."""

EXP_TAIL = 2.0**-184
"""Absolute error of ``exp_of_minus`` from CUT on (equation 9)."""

LOG_ERROR = 2.0**-47
"""Relative error of ``log_of`` and of ``log1p_of`` (equation 10)."""

_INFLATE = 1.0 + 2.0**-20  # pays for all roundings in sums of error bounds (docs/streaming_losses.md)
_LARGEST_ROW_WEIGHT = 2.0**300  # with LARGEST_SQUARE_NORM: no overflow (docs/streaming_products.md)
_MAGIC = 2.0**52  # in [2^52, 2^53) binary64 numbers are integers, and their lowest bits hold them
_MAGIC_BITS = 0x433 << 52
_FAINT = 2.0**-1000  # exceeds a smoothing that is flushed
_LN2 = 0.6931471805599453  # log 2 to half a unit in the last place
_BEYOND_CUT = 2.0 * CUT * STEPS  # scaled; its power is 0
_TILE_ENTRIES = 1 << 17  # 1 MB an array
_SAFE_LOGIT = 2.0**40  # scaled logits below 2^51 may be added to _MAGIC


@dataclass(frozen=True)
class CandidateEnclosure:
    """What is proved of a candidate's objective, and what was seen of its features.

    Attributes:
        lower: A number ≤ f(W, H, b).
        upper: A number ≥ f(W, H, b).
        loss: Enclosure of (1/N) Σ_i ω_{y_i} l_{y_i}(W h_i + b).
        weight_penalty: Enclosure of λ_W/2 ‖W‖².
        feature_penalty: Enclosure of λ_H/2 Σ_i ‖h_i‖².
        smallest: The smallest entry of the features, exact.
        smallest_at: Its (row, column).
        negative_entries: How many entries are < 0; with non-negative features the candidate is admissible iff none.
        bias_penalty: Enclosure of λ_b/2 ‖b‖²; 0 for a free bias and without one.
    """

    lower: float
    upper: float
    loss: Interval
    weight_penalty: Interval
    feature_penalty: Interval
    smallest: float
    smallest_at: tuple[int, int]
    negative_entries: int
    bias_penalty: Interval = (0.0, 0.0)

    @property
    def relative_width(self) -> float:
        """(upper − lower) / upper; 0 when both are 0."""
        return (self.upper - self.lower) / self.upper if self.upper else 0.0


def enclose_objective(
    problem: Problem, candidate: Candidate, *, progress: Progress | None = None, chunk: int | None = None
) -> CandidateEnclosure:
    """Enclose f(W, H, b) for the candidate, whatever the sign of its features (docs/streaming.md).

    Args:
        problem: The problem; its class counts are those of the candidate.
        candidate: W, the features of all samples or class means, and its bias; without one b = 0.
        progress: Called after each block with (rows done, rows in all).
        chunk: Rows in a block; None chooses as many as take 32 MB.

    Raises:
        CountsError: the candidate's class counts are not the problem's.
        ShapeError: the candidate has more feature coordinates than ``problem.feature_dim``.
        UnknownNameError: there is no streamed enclosure for the loss.
        CandidateError: a feature is NaN, infinite or beyond 2³⁰⁰ (its row is named); or a weight, an entry of the
            bias, or a class weight times its count for class means, beyond 2³⁰⁰; or the candidate has a bias that the
            problem has not.
        SolverError: binary64 numbers are not rounded to nearest.
    """
    problem.require_decays("the objective of a candidate")
    candidate = check_match(problem, candidate)
    return enclose_with(
        problem, candidate, _kernel(problem.loss, candidate.num_outputs), progress=progress, chunk=chunk
    )


def enclose_with(
    problem: Problem,
    candidate: Candidate,
    kernel: _Kernel,
    *,
    progress: Progress | None = None,
    chunk: int | None = None,
) -> CandidateEnclosure:
    """``enclose_objective`` with a loss in floating point, whose errors are proved; raises as that."""
    problem.require_decays("the objective of a candidate")
    candidate = check_match(problem, candidate)
    negative = NegativeEntries()
    stream = _Stream(problem, candidate, kernel)
    for block in blocks(candidate, progress=progress, chunk=chunk):
        if not block.start:
            sizes = block.features.shape + candidate.weights.shape[:1]
            require_nearest(*sizes)
        negative.see(block)
        stream.add(block)
    require_nearest(*sizes)
    loss, squares_w, squares_h, squares_b = stream.totals()
    weight = _scaled(fraction(problem.lambda_w) / 2, squares_w)
    feature = _scaled(fraction(problem.lambda_h) / 2, squares_h)
    bias = _scaled(bias_weight(problem) / 2, squares_b)
    terms = (loss, weight, feature, bias)
    nothing = Fraction(0)
    lower, upper = _outward((sum((low for low, _ in terms), nothing), sum((high for _, high in terms), nothing)))
    return CandidateEnclosure(
        lower=lower,
        upper=upper,
        loss=_outward(loss),
        weight_penalty=_outward(weight),
        feature_penalty=_outward(feature),
        smallest=negative.smallest,
        smallest_at=negative.place,
        negative_entries=negative.count,
        bias_penalty=_outward(bias),
    )


def bias_weight(problem: Problem) -> Fraction:
    """λ_b, exactly; 0 for a free bias and without one."""
    return fraction(problem.bias_decay)


def check_match(problem: Problem, candidate: Candidate) -> Candidate:
    """``require_match``, and no more dimensions than the problem has."""
    candidate = require_match(problem, candidate)
    if problem.feature_dim is not None and candidate.feature_dim > problem.feature_dim:
        raise ShapeError(
            f"the candidate's features have dimension {candidate.feature_dim}.",
            expected=f"at most feature_dim = {problem.feature_dim}",
            fix="judge it with a problem of its own dimension, or without feature_dim.",
        )
    return candidate


# -- one pass -----------------------------------------------------------------------------------------------------


class _Stream:
    """The running sums of one pass; (n) refers to the equations of docs/streaming.md and the pages behind it."""

    def __init__(self, problem: Problem, candidate: Candidate, kernel: _Kernel) -> None:
        W = widened(candidate.weights)
        with np.errstate(over="ignore"):
            square_norms = np.einsum("ij,ij->i", W, W)
        if not square_norms.max() <= LARGEST_SQUARE_NORM:
            raise CandidateError(
                f"a row of weights has the squared norm {square_norms.max()}.",
                expected="weights of absolute value below 2**300",
                fix="training diverged, or the file is damaged; there is nothing to judge.",
            )
        K, d = W.shape
        self._bias = _entries_of_bias(candidate)
        self._scaled_bias = None if self._bias is None else (self._bias * kernel.scale)[:, None]
        self._offset = 0.0 if self._bias is None else float(np.abs(self._bias).max())  # β of (3)
        self._kernel = kernel
        self._scaled_weights = W * kernel.scale
        self._longest = math.sqrt(float(square_norms.max()) + TINY)
        self._product_error = (d + 2 + (self._bias is not None)) * UNIT * _INFLATE  # γ_{d+2} of (5), γ_{d+3} with b
        self._dimension, self._samples = d, candidate.num_samples
        self._squares_w = _sum_of_squares([math.fsum(square_norms.tolist())], d, K)
        multiplicities = candidate.multiplicities.astype(np.float64)
        self._multiplicities = multiplicities
        self._row_weights = multiplicities * problem.loss.weights(problem.num_classes)
        if not self._row_weights.max() <= _LARGEST_ROW_WEIGHT:
            raise CandidateError(
                f"a class weight, times its count for class means, is {self._row_weights.max()}.",
                expected="at most 2**300",
                fix="divide the class weights and both decays by a power of two: the objective scales with them.",
            )
        self._values: list[float] = []
        self._sizes: list[float] = []
        self._errors: list[float] = []
        self._squares: list[float] = []
        self._largest = float(self._row_weights.max())
        self._logits = np.empty((0, 0))

    def add(self, block: Block) -> None:
        """Add the rows of a block."""
        rows, K = block.labels.size, self._scaled_weights.shape[0]
        if self._logits.shape != (K, rows):
            self._logits = np.empty((K, rows))
        np.matmul(self._scaled_weights, block.features.T, out=self._logits)
        if self._scaled_bias is not None:
            np.add(self._logits, self._scaled_bias, out=self._logits)
        lengths = np.sqrt(block.square_norms + TINY)
        magnitudes = (lengths * self._longest + self._offset) * _INFLATE  # ≥ max_j ‖w_j‖ ‖h_i‖ + |b_j|
        values, errors = self._kernel(self._logits, block.labels, magnitudes, self._product_error * magnitudes + TINY)
        weights = self._row_weights[block.labels]
        self._largest = max(self._largest, float(np.abs(values).max()), float(errors.max()))
        self._values.append(math.fsum((weights * values).tolist()))
        self._sizes.append(math.fsum((weights * np.abs(values)).tolist()))
        self._errors.append(math.fsum((weights * errors).tolist()))
        self._squares.append(math.fsum((self._multiplicities[block.labels] * block.square_norms).tolist()))

    def totals(self) -> tuple[Exact, Exact, Exact, Exact]:
        """Exact enclosures of the mean loss, of ‖W‖², of Σ ‖h_i‖² and of ‖b‖²."""
        value, size, error = (fraction(math.fsum(part)) for part in (self._values, self._sizes, self._errors))
        flushed = self._samples * (1 + fraction(self._largest)) / 2 ** (FLUSHED_BITS - 10)
        radius = error * Fraction(_INFLATE) + size * Fraction(8 * UNIT) + flushed  # (13)
        low, high = max(value - radius, Fraction(0)), value + radius
        loss = (low / self._samples, high / self._samples)
        squares_h = _sum_of_squares(self._squares, self._dimension, self._samples)
        return loss, self._squares_w, squares_h, _square_of_bias(self._bias)


def _entries_of_bias(candidate: Candidate) -> FloatArray | None:
    """The bias in binary64, (K,); None without one."""
    if candidate.bias is None:
        return None
    b = widened(candidate.bias)
    largest = int(np.argmax(np.abs(b)))
    if abs(float(b[largest])) > math.sqrt(LARGEST_SQUARE_NORM):
        raise CandidateError(
            f"bias[{largest}] is {b[largest]}.",
            expected="a bias of absolute value below 2**300",
            fix="training diverged, or the file is damaged; there is nothing to judge.",
        )
    return b


def _square_of_bias(b: FloatArray | None) -> Exact:
    """Enclosure of ‖b‖², of rows of one entry."""
    if b is None:
        return Fraction(0), Fraction(0)
    return _sum_of_squares([math.fsum((b * b).tolist())], 1, b.size)


def _sum_of_squares(parts: list[float], dimension: int, rows: int) -> Exact:
    """Enclosure of a sum of ‖row‖² from its parts in floating point, equation (4)."""
    total = fraction(math.fsum(parts))
    operations = dimension + 8
    error = total * Fraction(operations, 2**53 - 2 * operations)
    error += Fraction(rows * (dimension + 100), 2 ** (FLUSHED_BITS - 2))
    return max(total - error, Fraction(0)), total + error


def _scaled(factor: Fraction, interval: Exact) -> Exact:
    return factor * interval[0], factor * interval[1]


def _outward(interval: Exact) -> Interval:
    """The interval in binary64, rounded outwards."""
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    with working_precision(256):
        return float_below(arb(rational(interval[0]))), float_above(arb(rational(interval[1])))


# -- what a loss supplies -----------------------------------------------------------------------------------------


class _Kernel(ABC):
    """A loss in floating point, with an error bound for each value."""

    scale: float = 1.0
    """A power of two by which the logits are multiplied beforehand."""

    @abstractmethod
    def __call__(
        self, logits: FloatArray, labels: IntArray, magnitudes: FloatArray, logit_errors: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Values l_y(z), (m,), and bounds of their absolute errors, (m,).

        Args:
            logits: scale · z in floating point, (K, m) and C-contiguous; overwritten.
            labels: Class of each column, (m,).
            magnitudes: Upper bounds of |z_j|, (m,).
            logit_errors: Bounds of the error of m − fl(m − z_j) for any of the column's logits m, (m,).
        """


class _CrossEntropyKernel(_Kernel):
    """log Σ_j e^{z_j − z_y} + α (z_y − mean z), docs/streaming_losses.md, section 4."""

    scale = float(STEPS)

    def __init__(self, smoothing: float, num_classes: int) -> None:
        self._smoothing = smoothing
        self._num_classes = num_classes
        self._relative = (2.0 * (EXP_ERROR + (num_classes + 2) * UNIT) + 2.0 * LOG_ERROR) * _INFLATE  # ε_A of (12)
        self._tail = 4.0 * num_classes * EXP_TAIL
        self._work = np.empty((0, 0, 0))

    def __call__(
        self, logits: FloatArray, labels: IntArray, magnitudes: FloatArray, logit_errors: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        columns = np.arange(labels.size)
        below = np.subtract(logits.max(axis=0), logits, out=logits)  # n_j, scaled: distances from the largest logit
        behind = below[labels, columns] / STEPS
        values, errors = self._smoothed(below, behind)
        if magnitudes.max() >= _SAFE_LOGIT:
            np.minimum(below, _BEYOND_CUT, out=below)
        leads = behind == 0.0
        below[labels[leads], columns[leads]] = _BEYOND_CUT  # log1p takes the sum over the other classes
        sums = self._sum_of_powers(below)
        sharp = behind + np.where(leads, log1p_of(np.where(leads, sums, 0.0)), log_of(np.where(leads, 1.0, sums)))
        # (12): the loss moves by at most 2e, and relative to itself by little more when e is small
        shares = np.minimum(1.0, 1.01 * sharp + self._tail + self._smoothing)
        moved = 2.0 * logit_errors * np.where(logit_errors <= 2.0**-9, shares, 1.0)
        return sharp + values, errors + moved + (self._relative + 4.0 * UNIT) * sharp + self._tail

    def _sum_of_powers(self, below: FloatArray) -> FloatArray:
        """Σ_j e^{−n_j}, in tiles of some classes that stay in cache; ``below`` is overwritten."""
        num_classes, columns = below.shape
        step = max(1, _TILE_ENTRIES // columns)
        if self._work.shape[1:] != (min(step, num_classes), columns):
            self._work = np.empty((3, min(step, num_classes), columns))
        sums = np.zeros(columns)
        for first in range(0, num_classes, step):
            tile = below[first : first + step]
            sums += exp_of_minus(tile, self._work[:, : len(tile)]).sum(axis=0)
        return sums

    def _smoothed(self, below: FloatArray, behind: FloatArray) -> tuple[FloatArray, FloatArray]:
        """α (mean n − n_y) and its error bound, (11)."""
        if not self._smoothing:
            return np.zeros_like(behind), np.zeros_like(behind)
        mean = below.sum(axis=0) / (self._num_classes * STEPS)
        error = (self._smoothing * (self._num_classes + 8) * UNIT * _INFLATE + _FAINT) * (mean + behind) + TINY
        return self._smoothing * (mean - behind), error


def is_streamed(loss: Loss) -> bool:
    """Whether ``enclose_objective`` takes the loss."""
    return loss.softmax_share is not None


def _kernel(loss: Loss, num_classes: int) -> _Kernel:
    share = loss.softmax_share
    if share is None:
        raise UnknownNameError(
            f"loss {loss.name!r} has no streamed enclosure.",
            expected="one of cross-entropy",
            fix="judge class means with few classes through enclosure.upper_bound, which takes any loss.",
        )
    return _CrossEntropyKernel(share, num_classes)


# -- exp and log with proved errors -------------------------------------------------------------------------------


@cache
def _table() -> FloatArray:
    """e^{−k/STEPS} for k < CUT · STEPS, each with relative error at most 2 UNIT, then 0."""
    from flint import arb, fmpq

    from ufm_convex.verifier.precision import working_precision

    with working_precision(128):
        powers = [float(arb(fmpq(-k, STEPS)).exp().mid()) for k in range(CUT * STEPS)]
    return frozen([*powers, 0.0])


def exp_of_minus(scaled: FloatArray, work: FloatArray) -> FloatArray:
    """e^{−n} for n = scaled / STEPS ≥ 0, errors as EXP_ERROR and EXP_TAIL say (docs/streaming_functions.md, section 3).

    Args:
        scaled: Numbers in [0, 2⁵¹), any shape, C-contiguous; overwritten.
        work: Scratch space, (3, *scaled.shape).

    Returns:
        A part of ``work``.
    """
    shifted, rest, powers = work
    np.add(scaled, _MAGIC, out=shifted)  # 2^52 + k, k the integer nearest to the scaled number
    np.subtract(shifted, _MAGIC, out=rest)
    np.subtract(scaled, rest, out=rest)  # exact, |rest| ≤ 1/2
    index = shifted.view(np.int64)
    np.subtract(index, _MAGIC_BITS, out=index)
    np.take(_table(), index, out=powers, mode="clip")
    polynomial = np.multiply(rest, -1.0 / (6.0 * STEPS**3), out=scaled)
    polynomial += 0.5 / STEPS**2
    polynomial *= rest
    polynomial -= 1.0 / STEPS
    polynomial *= rest
    polynomial += 1.0
    powers *= polynomial
    return powers


def log_of(x: FloatArray) -> FloatArray:
    """The logarithm of x ≥ 1, relative error at most LOG_ERROR."""
    mantissa, exponent = np.frexp(x)
    doubled = 2.0 * mantissa  # in [1, 2); both that and doubled − 1 are exact
    return (exponent - 1) * _LN2 + _twice_artanh((doubled - 1.0) / (doubled + 1.0))


def log1p_of(x: FloatArray) -> FloatArray:
    """The logarithm of 1 + x for x ≥ 0, relative error at most LOG_ERROR however small x is."""
    small = np.minimum(x, 1.0)
    return np.where(x <= 1.0, _twice_artanh(small / (2.0 + small)), log_of(1.0 + x))


def _twice_artanh(s: FloatArray) -> FloatArray:
    """2 artanh s = log((1 + s) / (1 − s)) for s in [0, 1/3], by its series up to s²⁹."""
    square = s * s
    series = np.full_like(s, 1.0 / 29.0)
    for odd in range(27, 0, -2):
        series *= square
        series += 1.0 / odd
    return 2.0 * s * series
