"""Optional, with NumPy: products and functions in binary64, their errors bounded (docs/fast_paths.md, section 7).

Without NumPy, or wherever a bound is missed, the exact path of ``proof`` decides; this one can only confirm.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from flint import arb, fmpq

from .binary64 import exact, rounds_to_nearest, some_negative, widened
from .elementary import LOG_ERROR, exp_of_minus, log, log_of_integers, log_of_two
from .losses import CrossEntropy
from .points import Candidate, Factors, check_dimension
from .problem import Group, Problem
from .proof import Blocks
from .reading import Another, Packed, Refuted, Undecided

UNIT = 2.0**-53
_LARGEST, _VAST = 2.0**400, 2.0**900
_TILE = 1 << 15
"""Numbers whose functions are evaluated in one go."""
_LEAST = 2.0**-128
_PLAIN = 900
"""Powers of two by which integers up to 2^53 become binary64 numbers, none of them subnormal."""
_LONGEST = 1 << 41
"""Integers whose logarithms are bounded; conversion to binary64 rounds none of them, nor one beyond into them."""


class Fast:
    """A group or dense proof of 64 groups or more; ``None`` from ``of`` for any other.

    ``right`` is Y = [z, C] of section 7.1; ``rows`` and ``factor`` are its two parts.
    """

    def __init__(self, blocks: Blocks, right: Any, multiplier: Any) -> None:
        self.blocks, self.right, self.multiplier = blocks, right, multiplier
        self.sizes = np.array([group.multiplicity for group in blocks.groups], dtype=np.float64)
        self.outputs = np.array([group.multiplicity for group in blocks.outputs], dtype=np.float64)
        self.rows, self.factor = np.split(right, [len(self.outputs)], axis=1)

    @classmethod
    def of(cls, blocks: Blocks) -> Fast | None:
        """The fast path of these blocks: z, C and τ of section 4.2 as the nearest binary64 numbers."""
        size, width = len(blocks.groups), len(blocks.outputs)
        if size < 64:
            return None
        right, multiplier = np.zeros((size, width + size)), np.zeros((size, size))
        places = zip(blocks.groups, blocks.own, blocks.columns_, blocks.places, strict=True)
        own = _numbers([entry + (group.multiplicity - 1) * column[place] for group, entry, column, place in places])
        given = (right[:, :width], blocks.columns_), (right[:, width:], blocks.factor), (multiplier, blocks.multiplier)
        if not all(_fill(matrix, rows, _LARGEST) for matrix, rows in given if rows is not None):
            return None
        if own is None or max(own.max(), -own.min()) > _LARGEST:
            return None
        if max(group.multiplicity for group in blocks.groups) > 1:
            right[:, :width] *= np.array([group.multiplicity for group in blocks.groups])[:, None]
        right[np.arange(size), blocks.places] = own
        if blocks.multiplier is not None:
            multiplier += np.tril(multiplier, -1).T
            multiplier = np.ldexp(multiplier, blocks.shift)
        return cls(blocks, right, multiplier)

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
        size, inner = self.right.shape
        if not rounds_to_nearest(size, inner, size):
            return None
        diagonal, deficits, terms = self._sums()
        room = radii - diagonal - deficits - room_error(*self.rows.shape) * (terms + radii)
        return room if rounds_to_nearest(size, inner, size) else None

    def _sums(self) -> tuple[Any, Any, Any]:
        """The diagonal of P + t, and sums over its rows: of δ beside the diagonal, and of the moduli of all terms."""
        width, alone = len(self.outputs), self.outputs.max() == 1
        used = width + int(np.flatnonzero(self.factor.any(axis=0)).max(initial=-1)) + 1
        right = self.right[:, :used]  # the factor's last columns are 0
        left = right if alone else np.hstack([right[:, :width] * self.outputs, right[:, width:]])
        negated = left @ right.T  # minus the remainder, without the radii
        moduli = np.abs(right)
        terms = (moduli if alone else np.abs(left)) @ moduli.sum(axis=0)  # all that is added in a row
        if self.blocks.multiplier is not None:
            tau = self.multiplier * (np.outer(self.sizes, self.sizes) - np.diag(self.sizes))
            negated += tau
            terms += tau.sum(axis=1)
        diagonal = negated.diagonal().copy()
        np.fill_diagonal(negated, 0.0)
        if self.blocks.problem.nonnegative:
            np.maximum(negated, 0.0, out=negated)
        else:
            np.abs(negated, out=negated)
        return diagonal, negated.sum(axis=1), terms

    def dual_value(self) -> arb | None:
        """The dual value of a loss whose conjugate is Σ p log p at p = v off the own class; None otherwise."""
        problem, size = self.blocks.problem, len(self.outputs)
        if not isinstance(problem.loss, CrossEntropy) or problem.loss.smoothing != 0 or size != problem.K:
            return None
        if problem.bias.free:  # the integers are not those of v
            return None
        if max(self.rows.max(), -self.rows.min()) > _LONGEST or not rounds_to_nearest(1, 1, 1):
            return None
        exponents, masses = self.blocks.exponents, [-own for own in self.blocks.own]
        if not -_PLAIN <= min(exponents) <= max(exponents) <= 0:
            return None
        rest = [(1 << -exponent) - mass for exponent, mass in zip(exponents, masses, strict=True)]  # p of the own class
        sums = self._sums_of_logarithms()
        if sums is None or min(rest) < 0:
            return None
        units, log_2 = np.ldexp(1.0, exponents), log_of_two()
        p = _numbers(rest) * units
        parts = sums * units, _numbers(masses) * units * (np.array(exponents) * log_2), p * log(np.maximum(p, _LEAST))
        sizes = sum(map(np.abs, parts))
        errors = LOG_ERROR + UNIT * ((logarithm_roundings(size) + 1) * parts[0] + (OWN_ROUNDINGS + 1) * (sizes + 1.0))
        return -_mean(
            problem, self.blocks.groups, [group.samples for group in self.blocks.groups], sum(parts), errors, 0
        )

    def _sums_of_logarithms(self) -> Any:
        """Σ x log x of each row without its own entry; None where an entry is negative."""
        size, sums = len(self.rows), []
        places = np.array(self.blocks.places)
        for rows in np.array_split(np.arange(size), max(1, self.rows.size // _TILE)):
            wrong = self.rows[rows[0] : rows[-1] + 1].copy()
            wrong[np.arange(len(rows)), places[rows]] = 0.0
            if wrong.min() < 0.0:
                return None
            sums.append((wrong * log_of_integers(wrong)).sum(axis=1))
        return np.concatenate(sums)


def room_roundings(groups: int, outputs: int) -> int:
    """Roundings that a term of a row's room suffers at most, one after the other (section 7.1).

    A product has two converted factors, three numbers of classes and itself; then come sums of V + G and of G terms,
    t in between, and two differences.
    """
    return 6 + (outputs + groups - 1) + 1 + (groups - 1) + 2


def room_error(groups: int, outputs: int) -> float:
    """What a row's room may be off, relative to the computed sum of the moduli of all its terms."""
    return (room_roundings(groups, outputs) + 1) * UNIT


def logarithm_roundings(outputs: int) -> int:
    """Roundings of a sum of V products by logarithms (section 7.2)."""
    return 1 + (outputs - 1)


OWN_ROUNDINGS = 4 + 2
"""Of e log 2 times a converted sum, and of the sum of the three parts of an entropy (section 7.2)."""
MEAN_ROUNDINGS = 3
"""Of a weight, of its product, and of a sum, which ``fsum`` rounds once."""


def _fill(matrix: Any, rows: Sequence[Sequence[int]], most: float) -> bool:
    """Write rows of integers, from the left, as the nearest binary64 numbers; False where one is beyond ``most``."""
    packed = all(isinstance(row, Packed) for row in rows)
    for line, row in zip(matrix, rows, strict=True):
        found = row if packed else _numbers(list(row))
        if found is None:
            return False
        line[: len(row)] = found
    largest = max(matrix.max(), -matrix.min())
    if packed and largest >= 2.0**53:  # else no conversion has rounded, and those of Python's integers are to nearest
        return _fill(matrix, [list(row) for row in rows], most)
    return bool(largest <= most)


# -- a candidate in a file of its own (section 7.3) ----------------------------------------------------------------

_ROWS = 1 << 18
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


def _exactly(rows: Sequence[Sequence[int]], exponent: int) -> Any:
    """Integers times 2^exponent as binary64 numbers; None unless all are."""
    found = np.empty((len(rows), len(rows[0])))
    if not _fill(found, rows, np.inf):
        return None
    rounded = max(found.max(), -found.min()) >= 1 << 53  # perhaps; no smaller integer is
    if rounded and list(map(int, found.ravel().tolist())) != [x for row in rows for x in row]:
        return None
    if not rounded and abs(exponent) <= _PLAIN:
        found *= 2.0**exponent
        return found
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
        logits = _logits(H, W)
        if bias is not None:
            logits += b
        log, behind, mean = _distances(logits, y, smooth=alpha > 0)
        smooth = alpha * (mean - behind)
        error = 2.02 * (d + 7) * unit * (longest * np.sqrt(square) + offset) * 1.001  # logits, and their differences
        error += 2.0**-44 + 4 * K * unit + 8 * unit * behind + alpha * (K + 8) * unit * (mean + behind)
        losses += np.bincount(y, log + behind + smooth, minlength=K)
        errors += np.bincount(y, error, minlength=K)
        squares += np.bincount(y, square, minlength=K)
    _require_nearest(min(rows, len(features)), d, K)
    terms = sum_roundings(rows, len(features) // rows + 1, d)
    total = _nonnegative(float(squares_w.sum()), terms + K) * arb(problem.lambda_w) / 2
    total += _nonnegative(float((b * b).sum()), terms + K) * arb(problem.bias.weight) / 2
    many = repeats.tolist()
    total += _mean(problem, problem.classes(), many, losses, errors, terms)
    return total + arb(problem.lambda_h) / 2 * _nonnegative(math.fsum(_numbers(many) * squares), terms + MEAN_ROUNDINGS)


def sum_roundings(rows: int, blocks: int, d: int) -> int:
    """Roundings of a sum over d coordinates, over the rows of a block, and over blocks; twice as many, with room."""
    return 2 * (rows + blocks + d + 15)


def _mean(problem: Problem, groups: list[Group], samples: list[int], values: Any, errors: Any, terms: int) -> arb:
    """Σ ω n/N x for x off by ``errors``, and by so many roundings beside them; with what is flushed or underflows."""
    pairs = zip(groups, samples, strict=True)
    shares = np.array([int(group.weight.p) * n / (int(group.weight.q) * problem.N) for group, n in pairs])
    if shares.max() > _VAST:
        raise Undecided("a class weighs too much for binary64")
    mean, off, size = (math.fsum(shares * part) for part in (values, errors, np.abs(values) + errors))
    return arb(mean, 1.01 * off + (terms + MEAN_ROUNDINGS) * UNIT * 1.01 * size + 2.0**-700)


def _logits(H: Any, W: Any) -> Any:
    """H Wᵀ, without the last columns of H if they are 0 in these rows, as in those of a lower triangle."""
    inner = H.shape[1]
    if not H[:, -1].any():
        inner = int(np.flatnonzero(H.any(axis=0)).max(initial=0)) + 1
    return H[:, :inner] @ W[:, :inner].T


def _distances(logits: Any, labels: Any, *, smooth: bool) -> tuple[Any, Any, Any]:
    """With distances m of the logits of each row from its largest: log Σ exp(−m), m of its label, and their mean.

    Nobody asks for the mean where targets are not smooth; it is 0 then.
    """
    parts = []
    for rows in np.array_split(np.arange(len(logits)), max(1, logits.size // _TILE)):
        some = logits[rows[0] : rows[-1] + 1]
        below = some.max(axis=1)[:, None] - some
        behind = below[np.arange(len(rows)), labels[rows]]
        mean = below.mean(axis=1) if smooth else np.zeros(len(rows))
        parts.append((log_of_integers(exp_of_minus(below).sum(axis=1)), behind, mean))
    log, behind, mean = (np.concatenate(part) for part in zip(*parts, strict=True))
    return log, behind, mean


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
