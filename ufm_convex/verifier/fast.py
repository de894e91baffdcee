"""Optional, with NumPy: products and functions in binary64, their errors bounded (docs/fast_paths.md, section 7).

Without NumPy, or wherever a bound is missed, the exact path of ``proof`` decides; this one can only confirm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from flint import arb, fmpq

from .binary64 import exact, rounds_to_nearest, some_negative, widened
from .losses import CrossEntropy
from .points import Candidate, Factors, check_dimension
from .precision import working_precision
from .problem import Problem
from .proof import Blocks
from .reading import Another, Refuted, Undecided, scaled

_LARGEST, _VAST = 2.0**400, 2.0**900
_LONGEST = 1 << 41
"""Integers whose logarithms are bounded; conversion to binary64 rounds none of them, nor one beyond into them."""


class Fast:
    """A group or dense proof of 64 groups or more; ``None`` from ``of`` for any other."""

    def __init__(self, blocks: Blocks, rows: Any, factor: Any, multiplier: Any) -> None:
        self.blocks, self.rows, self.factor, self.multiplier = blocks, rows, factor, multiplier
        self.sizes = np.array([group.multiplicity for group in blocks.groups], dtype=np.float64)
        self.outputs = np.array([group.multiplicity for group in blocks.outputs], dtype=np.float64)

    @classmethod
    def of(cls, blocks: Blocks) -> Fast | None:
        """The fast path of these blocks: z, C and τ of section 4.2 as the nearest binary64 numbers."""
        size = len(blocks.groups)
        if size < 64:
            return None
        columns, triangle = blocks.columns_, np.tril_indices(size)
        places = zip(blocks.groups, blocks.own, columns, blocks.places, strict=True)
        own = [entry + (group.multiplicity - 1) * column[place] for group, entry, column, place in places]
        given = [_numbers(columns), _numbers(own)]
        given += [_numbers([x for row in rows or [[0]] for x in row]) for rows in (blocks.factor, blocks.multiplier)]
        if any(part is None or max(part.max(), -part.min()) > _LARGEST for part in given):
            return None
        rows, own_entries, *triangles = given
        rows *= np.array([group.multiplicity for group in blocks.groups])[:, None]
        rows[np.arange(size), blocks.places] = own_entries
        factor, multiplier = np.zeros((size, size)), np.zeros((size, size))
        factor[triangle], multiplier[triangle] = triangles
        lower = np.tril(multiplier, -1).T
        return cls(blocks, rows, factor, np.ldexp(multiplier + lower, blocks.shift))

    def slack_dominates(self) -> bool:
        """True only if alike classes satisfy (8), and every row of the remainder is dominated by its diagonal (9)."""
        room, blocks = self.room(), self.blocks
        alike = (g for g, group in enumerate(blocks.groups) if group.multiplicity > 1)
        return (
            room is not None
            and bool((room >= 0.0).all())
            and all(blocks.alike_differ_little(g, blocks.radius(g)) for g in alike)
        )

    def room(self) -> Any:
        """A number not above E_gg − Σ δ(E_gh) for each row g of (9), all roundings allowed for; None beyond 2^900.

        None, too, where binary64 is not rounded to nearest. All numbers are integers, which no flushing changes.
        """
        radii = _numbers([self.blocks.radius(g) * group.multiplicity for g, group in enumerate(self.blocks.groups)])
        if radii is None or radii.max() > _VAST:
            return None
        right = np.hstack([self.rows, self.factor])
        sizes = len(right), right.shape[1], len(right)
        if not rounds_to_nearest(*sizes):
            return None
        alone = self.outputs.max() == 1
        left = right if alone else np.hstack([self.rows * self.outputs, self.factor])
        tau = self.multiplier * (np.outer(self.sizes, self.sizes) - np.diag(self.sizes))
        negated = left @ right.T + tau  # minus the remainder, without the radii
        room = radii - negated.diagonal()
        np.fill_diagonal(negated, 0.0)
        deficits = np.maximum(negated, 0.0) if self.blocks.problem.nonnegative else np.abs(negated)
        terms = np.abs(left) @ np.abs(right).sum(axis=0) + tau.sum(axis=1) + radii  # all that is added in a row
        if not rounds_to_nearest(*sizes):
            return None
        return room - deficits.sum(axis=1) - (2 * sum(self.rows.shape) + 64) * 2.0**-53 * terms

    def dual_value(self) -> arb | None:
        """The dual value of a loss whose conjugate is Σ p log p at p = v off the own class; None otherwise."""
        problem, size = self.blocks.problem, len(self.outputs)
        if not isinstance(problem.loss, CrossEntropy) or problem.loss.smoothing != 0 or size != problem.K:
            return None
        if problem.bias.free:  # the integers are not those of v
            return None
        if max(self.rows.max(), -self.rows.min()) > _LONGEST or not rounds_to_nearest(1, 1, 1):
            return None
        wrong = self.rows.copy()
        wrong[np.arange(len(wrong)), self.blocks.places] = 0.0
        sums = np.concatenate([(part * _log(part)).sum(axis=1) for part in np.array_split(wrong, size // 32 + 1)])
        total = arb(0)
        for k, (group, own) in enumerate(zip(self.blocks.groups, self.blocks.own, strict=True)):
            exponent, mass = self.blocks.exponents[k], -own
            p = 1 - scaled(mass, exponent)
            if p < 0 or min(self.blocks.columns_[k]) < 0:
                return None
            error = float(sums[k]) * (size + 4) * 2.0**-53 + mass * 2.0**-45
            logs = arb(float(sums[k]), error) + mass * exponent * arb.const_log2()
            total -= arb(problem.share(group)) * (logs * arb(scaled(1, exponent)) + (arb(p) * arb(p).log() if p else 0))
        return total


def _log(x: Any) -> Any:
    """Log max(x, 1) for integers x ≤ 2^41, with error below 2^-46."""
    return log(np.maximum(x, 1.0))


def log(x: Any) -> Any:
    """Log x for x > 0: table of 128, then a Taylor polynomial; with error below 2^-45 from 2^-128 to 2^64."""
    mantissa, exponent = np.frexp(x)
    place = (mantissa * 256.0).astype(np.int64)
    centre = (place + 0.5) / 256.0
    r = (mantissa - centre) / centre
    series = r * (1 + r * (-1 / 2 + r * (1 / 3 + r * (-1 / 4 + r * (1 / 5 + r * (-1 / 6 + r / 7))))))
    logarithms, log_2 = _logarithms()
    return exponent * log_2 + logarithms[place - 128] + series


# -- a candidate in a file of its own (section 7.3) ----------------------------------------------------------------

_ROWS = 1 << 18
_STEPS, _CUT = 64, 64
_MODERATE = 2.0**100
_KINDS = (np.dtype(np.float32), np.dtype(np.float64))
_FEW = 1 << 12
"""Fewer logits are soon evaluated one by one."""


class InFile:
    """W, b and features of any length, read in blocks; the objective is enclosed in binary64 with error bounds."""

    def __init__(self, candidate: Candidate, arrays: Mapping[str, Any]) -> None:
        self.problem = problem = candidate.problem
        sample = candidate.level == "sample"
        name = "labels" if sample else "class_counts"
        plain = {key: np.asarray(arrays[key]) for key in ("weights", "features", name)}  # without masks, say
        plain |= {"bias": np.asarray(arrays["bias"])} if "bias" in arrays else {}
        plain[name] = third = _integral(plain[name])
        self.W, self.F, self.bias = plain["weights"], plain["features"], plain.get("bias")
        _require_floats(self.W, self.F, self.bias)
        if not _known_by(candidate.sha256, plain):
            raise Another("the arrays at hand are not those of the candidate: their SHA-256 is another")
        counts = np.array([group.samples for group in problem.classes()], dtype=np.int64)  # the sum is below 2^63
        self.labels = third if sample else np.arange(problem.K)
        self.repeats = np.ones_like(counts) if sample else counts
        classes = sample and third.min() >= 0 and third.max() < problem.K
        given = np.bincount(third, minlength=problem.K) if classes else None if sample else third
        V, d = problem.V, candidate.feature_dim
        shapes = (self.W.shape, self.F.shape, (V,) if self.bias is None else self.bias.shape)
        if shapes != ((V, d), (len(self.labels), d), (V,)):
            raise Refuted("the arrays of the candidate do not have the shapes of the problem")
        if given is None or not np.array_equal(given, counts):
            raise Refuted("the candidate does not have the problem's class counts")
        if self.bias is not None and not problem.bias.present:
            raise Refuted("the candidate has a bias, and the problem has none")
        if not sample and np.any(self.F[counts == 0]):
            raise Refuted("a class without samples has a feature that is not zero")
        self.numbers = 1
        self.ball: arb | None = None

    def check_admissible(self) -> None:
        """Show that the point is one of the problem."""
        check_dimension(self.problem, self.W.shape[1])
        for start in range(0, len(self.F), self._block()):
            block = widened(self.F[start : start + self._block()])
            if not np.isfinite(block).all() or (self.problem.nonnegative and some_negative(block)):
                raise Refuted("a feature is negative or not finite")

    def entry(self, row: int, column: int) -> fmpq:
        """One feature."""
        if row >= self.F.shape[0] or column >= self.F.shape[1] or not np.isfinite(self.F[row, column]):
            raise Refuted("there is no such feature")
        return exact(widened(self.F[row : row + 1, column]))[0]

    def objective(self) -> arb:
        """Enclose its objective."""
        if self.ball is None:
            self.ball = enclose(self.problem, self.W, self.F, self.labels, self.repeats, self.bias)
        return self.ball

    def _block(self) -> int:
        return max(1, _ROWS // max(self.W.shape))


def _integral(third: Any) -> Any:
    """Labels or class counts as 64-bit integers."""
    if third.dtype.kind not in "iu" or third.ndim != 1 or not third.size or third.max() >= 1 << 63:
        raise Undecided("labels or class counts are not a list of 64-bit integers")
    return third.astype(np.int64)


def _require_floats(W: Any, F: Any, bias: Any) -> None:
    """Raise ``Undecided`` for arrays of other types or dimensions than are streamed."""
    for array, dimensions in ((W, 2), (F, 2), (bias, 1)):
        if array is None:
            continue
        if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
            raise Undecided(f"weights, features and bias are float32 or float64, not {array.dtype}")
        if array.ndim != dimensions or 0 in array.shape:
            raise Undecided("weights or features are not a matrix, or the bias no vector, or one is empty")


def witness_objective(witness: Any) -> arb | None:
    """The objective of W and one row of features a class, if their integers are binary64 numbers; None otherwise."""
    if not isinstance(witness, Factors) or not isinstance(witness.problem.loss, CrossEntropy):
        return None
    if witness.numbers < _FEW:
        return None
    matrices = [_exactly(rows, e) for rows, e in zip((witness.W, witness.H), witness.exponents, strict=True)]
    biases = [] if witness.bias is None else [_exactly([witness.bias.integers], witness.bias.exponent)]
    if any(matrix is None for matrix in (*matrices, *biases)):
        return None
    repeats = np.array(witness.repeats, dtype=np.int64)  # their sum is below 2^63
    try:
        bias = biases[0][0] if biases else None
        return enclose(witness.problem, matrices[0], matrices[1], np.array(witness.labels), repeats, bias)
    except Undecided:
        return None


def _numbers(rows: Any) -> Any:
    """Integers of any size as the nearest binary64 numbers; None when one is beyond them."""
    try:
        return np.array(rows, dtype=np.float64)
    except OverflowError:
        return None


def _exactly(rows: list[list[int]], exponent: int) -> Any:
    """Integers times 2^exponent as binary64 numbers; None unless all are."""
    found = _numbers(rows)
    if found is None:
        return None
    rounded = max(found.max(), -found.min()) >= 1 << 53  # perhaps; no smaller integer is
    if rounded and list(map(int, found.ravel().tolist())) != [x for row in rows for x in row]:
        return None
    with np.errstate(over="ignore", under="ignore"):
        scaled_ = np.ldexp(found, exponent)
        return scaled_ if np.array_equal(np.ldexp(scaled_, -exponent), found) else None


def enclose(problem: Problem, weights: Any, features: Any, labels: Any, repeats: Any, bias: Any = None) -> arb:
    """The objective at W, b and features in binary64, row i of class labels[i]: one pass, in blocks (section 7.3)."""
    W, b = widened(weights), np.zeros(len(weights)) if bias is None else widened(bias)
    if not isinstance(problem.loss, CrossEntropy):
        raise Undecided("no streamed enclosure is known for this loss")
    K, d = W.shape
    if not _moderate(W) or not _moderate(b):
        raise Undecided("an entry of the classifier is not finite, or too large for binary64")
    unit, alpha = 2.0**-53, int(problem.loss.smoothing.p) / int(problem.loss.smoothing.q)
    squares_w = (W * W).sum(axis=1)
    longest, offset = float(np.sqrt(squares_w.max())) * 1.001, float(np.abs(b).max())
    losses, errors, squares = np.zeros(K), np.zeros(K), np.zeros(K)
    rows = max(1, _ROWS // max(W.shape))
    _require_nearest(min(rows, len(features)), d, K)
    for start in range(0, len(features), rows):
        H = widened(features[start : start + rows])
        if not _moderate(H):
            raise Undecided("a feature is not finite, or too large for binary64")
        y = labels[start : start + len(H)]
        square = (H * H).sum(axis=1)
        logits = H @ W.T
        if bias is not None:
            logits += b
        below = logits.max(axis=1)[:, None] - logits
        behind = below[np.arange(len(y)), y]
        smooth = alpha * (below.mean(axis=1) - behind)
        log = _log(_exp_of_minus(below).sum(axis=1))
        error = 2.02 * (d + 7) * unit * (longest * np.sqrt(square) + offset) * 1.001  # logits, and their differences
        error += 2.0**-44 + 4 * K * unit + 8 * unit * behind + alpha * (K + 8) * unit * (below.mean(axis=1) + behind)
        losses += np.bincount(y, log + behind + smooth, minlength=K)
        errors += np.bincount(y, error, minlength=K)
        squares += np.bincount(y, square, minlength=K)
    _require_nearest(min(rows, len(features)), d, K)
    terms = 2 * (rows + len(features) // rows + d + 16)  # roundings in a row, with room
    total = _nonnegative(float(squares_w.sum()), terms + K) * arb(problem.lambda_w) / 2
    total += _nonnegative(float((b * b).sum()), terms + K) * arb(problem.bias.weight) / 2
    for k, group in enumerate(problem.classes()):
        loss = arb(
            float(losses[k]), 1.01 * float(errors[k]) + terms * unit * (abs(float(losses[k])) + float(errors[k]))
        )
        total += arb(group.weight * int(repeats[k]) / problem.N) * loss
        total += arb(problem.lambda_h * int(repeats[k])) / 2 * _nonnegative(float(squares[k]), terms)
    return total


def _moderate(array: Any) -> bool:
    """All entries are at most 2^100 in absolute value, so that no sum of squares overflows; NaN is not."""
    return bool(array.min() >= -_MODERATE and array.max() <= _MODERATE)


def _nonnegative(total: float, terms: int) -> arb:
    """A sum of non-negative terms, with its relative error, and what is flushed or underflows."""
    return arb(total, total * terms * 2.0**-53 + 2.0**-900)


def _require_nearest(rows: int, inner: int, columns: int) -> None:
    """Before a pass over products of these sizes, and after it: threads may have joined in between."""
    if not rounds_to_nearest(rows, inner, columns):
        raise Undecided("binary64 numbers are not rounded to nearest on this machine now")


def _exp_of_minus(below: Any) -> Any:
    """e^{−n} for n ≥ 0, relative error below 2^-50 up to 64 and 0 beyond: table of e^{−k/64}, Taylor polynomial."""
    scaled_ = np.minimum(below, 2.0 * _CUT) * _STEPS
    place = np.rint(scaled_)
    r = (place - scaled_) / _STEPS
    series = 1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r / 720)))))
    return _powers()[place.astype(np.int64)] * series


@cache
def _logarithms() -> tuple[Any, float]:
    """Of the centres of the 128 intervals of [1/2, 1), and of 2, to half a unit in the last place, or nearly."""
    with working_precision(128):
        return np.array([float(((arb(j) + 0.5) / 256).log()) for j in range(128, 256)]), float(arb.const_log2())


@cache
def _powers() -> Any:
    """e^{−k/64} to half a unit in the last place, or nearly, up to e^{−64}, then 0."""
    with working_precision(128):
        powers = [float((-arb(k) / _STEPS).exp()) for k in range(_CUT * _STEPS)]
    return np.array([*powers, *[0.0] * (_CUT * _STEPS + 1)])


def _known_by(sha256: str | None, arrays: Mapping[str, Any]) -> bool:
    """Whether this is the digest of the arrays, or of the same numbers in the other of binary32 and binary64."""
    floats = [name for name, array in arrays.items() if array.dtype.kind == "f"]
    own = {name: array.dtype for name, array in arrays.items()}
    kinds = [[own[name], *(kind for kind in _KINDS if kind.itemsize != own[name].itemsize)] for name in floats]
    for chosen in product(*kinds):
        dtypes = {**own, **dict(zip(floats, chosen, strict=True))}
        if _digest(arrays, dtypes) == sha256:
            return all(_survives(arrays[name], dtypes[name]) for name in floats if dtypes[name] != own[name])
    return False


def _survives(array: Any, dtype: Any) -> bool:
    """Whether every entry is a number of another type, to the bit; 0 and −0 are one number to nobody here."""
    back = (array[start : start + 1].astype(dtype).astype(array.dtype) for start in range(len(array)))
    return all(np.ascontiguousarray(row).tobytes() == array[i : i + 1].tobytes() for i, row in enumerate(back))


def _digest(arrays: Mapping[str, Any], dtypes: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of names, dtypes, shapes and entries (docs/streaming.md, section 7), of the floats as other types."""
    digest = hashlib.sha256()
    for label, array in arrays.items():
        little = (array.dtype if dtypes is None else dtypes[label]).newbyteorder("<")
        digest.update(f"{label} {little.str} {'x'.join(map(str, array.shape))}\n".encode())
        rows = max(1, _ROWS // max(1, array.size // max(1, len(array))))
        for start in range(0, len(array), rows):
            with np.errstate(all="ignore"):  # of numbers that another type does not hold
                digest.update(np.ascontiguousarray(array[start : start + rows], dtype=little).data)
    return digest.hexdigest()
