"""Large dense proofs in binary64 with proved error bounds: what is decided here needs no balls and no long integers.

Three steps of a proof on single columns read every entry of a (C, R) matrix: the slack, the dual value and the loss at
W and H. Here they are matrix products and elementary functions with a-priori bounds (docs/float_dense_proofs.md,
section 9, whose equations the comments cite). Each function returns None where its assumptions fail or its bound does
not decide; the exact path then does, as it does for few columns, for orbits and for any other loss. This one can only
confirm.

Shapes: C columns, R outputs. Units: as in ``slack`` for integers, else those of the objective.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import fraction
from ufm_convex.enclosure.arithmetic import TINY, UNIT, rounds_to_nearest
from ufm_convex.enclosure.block_dual import BlockDual
from ufm_convex.enclosure.candidate import LOG_ERROR, _CrossEntropyKernel, log_of
from ufm_convex.enclosure.columns import ExactColumns
from ufm_convex.enclosure.exact import ExactVector, power
from ufm_convex.enclosure.proved import FactorWitness

if TYPE_CHECKING:
    from flint import arb

FEWEST = 64
"""Columns from which on it pays."""
_EXACT = 2**53
"""Integers up to here are binary64 numbers."""
_LARGEST, _DEEPEST, _SMALLEST = 2.0**600, -900, 2.0**-800
_INFLATE = 1.0 + 2.0**-20
"""Pays for the roundings in sums and products of bounds."""
_TILE = 1 << 17


# -- the slack ----------------------------------------------------------------------------------------------------


def dominates(columns: ExactColumns, proof: BlockDual, radii: list[int]) -> bool | None:
    """True only if each row of Diag(⌊ρ⌋) − XᵀX − F Fᵀ − τ is dominated by its diagonal; None where that is not decided.

    Args:
        columns: Single columns.
        proof: The point and what proves its slack.
        radii: ⌊ρ⌋, (C,).
    """
    if not _large(columns):
        return None
    right = _integers(proof.columns)
    own = _integers([proof.own_entries(columns)])
    factor, multiplier = _triangle(proof.factor, columns.size), _triangle(proof.multiplier, columns.size)
    if right is None or own is None or factor is None or multiplier is None or not max(radii) < _LARGEST:
        return None
    right[np.arange(columns.size), columns.places] = own[0]
    tau = np.ldexp(np.tril(multiplier, -1), proof.shift)  # what is on the diagonal cancels
    tau += tau.T
    if proof.factor is not None:
        right = np.hstack([right, factor])
    room = _room(right, tau, np.array(radii, dtype=np.float64), columns.nonnegative)
    return True if room is not None and bool((room >= 0.0).all()) else None


def _room(right: FloatArray, tau: FloatArray, radii: FloatArray, nonnegative: bool) -> FloatArray | None:
    """A number not above the diagonal minus what else counts of each row, (15); None if rounding is not to nearest."""
    size, inner = right.shape
    if not rounds_to_nearest(size, inner, size):
        return None
    negated = right @ right.T
    negated += tau
    room: FloatArray = radii - negated.diagonal()
    np.fill_diagonal(negated, 0.0)
    deficits = np.maximum(negated, 0.0, out=negated) if nonnegative else np.abs(negated, out=negated)
    room -= deficits.sum(axis=1)
    magnitudes = np.abs(right)
    terms = magnitudes @ magnitudes.sum(axis=0) + tau.sum(axis=1) + radii
    return room - room_error(size, inner) * terms if rounds_to_nearest(size, inner, size) else None


def room_error(size: int, inner: int) -> float:
    """What a row's room may be off, relative to the sum of all that is added in it (15)."""
    return (inner + size + 5) * UNIT * _INFLATE


# -- the dual value -----------------------------------------------------------------------------------------------


def dual_value(columns: ExactColumns, proof: BlockDual) -> arb | None:
    """−Σ pt_k l_k*(v_k) for softmax losses with exact targets, domains included (17); None where undecided."""
    targets = _targets(columns) if _large(columns) else None
    if targets is None or proof.balanced or min(proof.exponents) < _DEEPEST:
        return None
    x, own = _integers(proof.columns), proof.own_entries(columns)
    if x is None or not rounds_to_nearest(1, 1, 1):
        return None
    places = np.arange(columns.size), np.array(columns.places)
    own_targets = targets[places]
    p = np.ldexp(x, np.array(proof.exponents)[:, None])
    p += targets
    p[places] = 0.0
    faint = (targets != 0.0) & (np.abs(targets) < _SMALLEST)
    if faint.any() or float(p.min()) < 0.0 or float(p.max()) > 1.0 or not (own_targets > 0.0).all():
        return None
    sums = np.concatenate([_entropies(part) for part in np.array_split(p, max(1, p.size // _TILE))])
    if not rounds_to_nearest(1, 1, 1):
        return None
    hard = np.count_nonzero(targets, axis=1) == 1
    return _dual_sum(columns, proof, own, np.where(hard, 0.0, own_targets * UNIT), own_targets, sums)


def _dual_sum(
    columns: ExactColumns,
    proof: BlockDual,
    own: list[int],
    radii: FloatArray,
    targets: FloatArray,
    sums: FloatArray,
) -> arb | None:
    """The dual value from −Σ p log p over the other entries; own entries are p_y = y_y + v_y in balls.

    ``radii`` says how far ``targets`` may be from y_y: by half a unit in the last place, or not at all for hard ones.
    """
    from flint import arb

    total, relative = arb(0), entropy_error(columns.num_outputs)
    numbers = (columns.shares(), columns.multiplicities.tolist(), proof.exponents, own)
    rows = zip(*numbers, targets.tolist(), radii.tolist(), sums.tolist(), strict=True)
    for share, multiplicity, exponent, integer, target, radius, entropy in rows:
        p = arb(target, radius) + arb(integer) * arb(power(exponent))
        positive, nothing = bool(p > 0), bool(p == 0)
        if not (positive or nothing):  # a ball that is neither is undecided
            return None
        own_entropy = -p * p.log() if positive else arb(0)
        value = arb(entropy, entropy * relative + 4.0 * UNIT * _INFLATE) + own_entropy
        total += arb(share) * multiplicity * value
    return total


def entropy_error(num_outputs: int) -> float:
    """Error of −Σ p log p relative to itself, beside 4u absolutely (16)."""
    return (LOG_ERROR + (num_outputs + 8) * UNIT) * _INFLATE


def _entropies(p: FloatArray) -> FloatArray:
    """−Σ_j p_j log p_j of each row, for 0 ≤ p ≤ 1."""
    logs = log_of(1.0 / np.where(p > 0.0, p, 1.0))
    return np.asarray((p * logs).sum(axis=1))


# -- the loss at W and H --------------------------------------------------------------------------------------------


def loss_value(columns: ExactColumns, witness: FactorWitness) -> arb | None:
    """Σ pt_k l_k(W h_k + b) for softmax losses with exact targets (18); None where undecided."""
    from flint import arb

    targets = _targets(columns) if _large(columns) and witness.plain else None
    parts = None if targets is None else _floats(witness)
    if targets is None or parts is None:
        return None
    W, H, bias = parts
    sizes = len(W), W.shape[1], len(H)
    if not rounds_to_nearest(*sizes):
        return None
    values, errors = _losses(columns, targets.T, W, H, bias)
    if not rounds_to_nearest(*sizes) or not (np.isfinite(values).all() and np.isfinite(errors).all()):
        return None
    total = arb(0)
    pairs = zip(columns.shares(), columns.multiplicities.tolist(), values.tolist(), errors.tolist(), strict=True)
    for share, multiplicity, value, error in pairs:
        total += arb(share) * multiplicity * arb(value, error)
    return total


def _losses(
    columns: ExactColumns, others: FloatArray, W: FloatArray, H: FloatArray, bias: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Values and bounds of their errors, (C,); ``others`` are targets (R, C), the own ones of which are put to 0."""
    kernel, many = _CrossEntropyKernel(0.0, columns.num_outputs), np.arange(columns.size)
    lengths = (np.sqrt(np.einsum("ij,ij->i", M, M) + TINY) for M in (W, H))
    longest, features = next(lengths).max(), next(lengths)
    offset = 0.0 if bias is None else float(np.abs(bias).max())
    magnitudes = (features * longest + offset) * _INFLATE
    errors = (W.shape[1] + 2 + (bias is not None)) * UNIT * _INFLATE * magnitudes + TINY
    logits = (W * kernel.scale) @ H.T
    if bias is not None:
        logits += (bias * kernel.scale)[:, None]
    places, linear, slack = np.array(columns.places), np.zeros(columns.size), np.zeros(columns.size)
    others[places, many] = 0.0
    if others.any():
        ahead = (logits[places, many] - logits) / kernel.scale
        linear = (others * ahead).sum(axis=0)
        rounding = (columns.num_outputs + 8) * UNIT * _INFLATE * (others * np.abs(ahead)).sum(axis=0)
        slack = 2.0 * errors * others.sum(axis=0) * _INFLATE + rounding + TINY
    sharp, off = kernel(logits, places, magnitudes, errors)
    values = sharp + linear
    return values, (off + slack + 2.0 * UNIT * (np.abs(sharp) + np.abs(linear))) * _INFLATE + TINY


def _floats(witness: FactorWitness) -> tuple[FloatArray, FloatArray, FloatArray | None] | None:
    """W, H and b as binary64 numbers, exactly; None where they are none, or beyond 2^300."""
    found = []
    for matrix in (witness.W, witness.H):
        integers = _integers(matrix.even)
        if integers is None or not -1000 < matrix.exponent < 200:
            return None
        found.append(np.ldexp(integers, matrix.exponent))
        if float(np.einsum("ij,ij->i", found[-1], found[-1]).max()) > _LARGEST:
            return None
    bias = None if witness.bias is None else _vector(witness.bias)
    if witness.bias is not None and bias is None:
        return None
    return found[0], found[1], bias


def _vector(exact: ExactVector) -> FloatArray | None:
    """The numbers as binary64 numbers, in whatever terms they are written; None where one is none below 2^300."""
    if not all(abs(integer).bit_length() + exact.exponent < 300 for integer in exact.integers):
        return None
    top, bottom = 1 << max(exact.exponent, 0), 1 << max(-exact.exponent, 0)
    numbers = [Fraction(integer * top, bottom) for integer in exact.integers]
    found = [float(number) for number in numbers]  # to nearest, subnormal ones too
    return np.array(found) if [fraction(one) for one in found] == numbers else None


# -- what is common -----------------------------------------------------------------------------------------------


def _large(columns: ExactColumns) -> bool:
    return columns.kind == "dense" and columns.size >= FEWEST and columns.outputs.order is None


def _targets(columns: ExactColumns) -> FloatArray | None:
    """Rows of targets of the columns, (C, R), the caller's to change; None where the loss has no exact ones."""
    found = columns.loss.softmax_targets(columns.num_outputs, columns.rows)
    return None if found is None else np.array(found.T, order="C")


def _integers(rows: Any) -> FloatArray | None:
    """The integers as binary64 numbers; None where one is beyond 2^53."""
    try:
        found = np.array(rows, dtype=np.int64)
    except (OverflowError, TypeError):
        return None
    if found.size and (int(found.max()) > _EXACT or int(found.min()) < -_EXACT):
        return None
    return found.astype(np.float64)


def _triangle(rows: list[list[int]] | None, size: int) -> FloatArray | None:
    """The lower triangle as a matrix; zeros for none."""
    found = np.zeros((size, size))
    if rows is not None:
        entries = _integers([x for row in rows for x in row])
        if entries is None:
            return None
        found[np.tril_indices(size)] = entries
    return found
