"""From Gram matrices to an actual classifier and actual features, and descent from there.

``recoveries`` factors B = H Hᵀ with H ≥ 0 where features are non-negative, takes the W that is best for these logits
(W = L B⁺ H has W Hᵀ = L and W Wᵀ ⪯ A), and descends on (W, H). For free features the best W and H for given logits
come from a singular value decomposition, and descent is only the second try. Descent repairs the square-root loss of
accuracy between a solver's value and its Gram matrix; nothing is claimed for its end but the objective there, an upper
bound.

A bias b (K,) is taken as the point has it, and moves along.

Shapes: W (K, d), H (K, d), one row a class (class means). Source: docs/duality.md, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.descent import admitted, balanced, descend_with_bias, steepness
from ufm_convex.errors import DimensionError
from ufm_convex.identity import RANK_CUT, factored_objective, noise
from ufm_convex.points import Columns, GramPoint

_DIAGONAL = 1e-2
"""Off-diagonal entries of B below this share of its largest entry are noise of a loose solve: one start is enough."""

_STATIONARY = 1e-6
"""Gradient, relative to the variables, below which a start is tried as it is: descent would gain the square of it."""
_CUT = 1e-3
"""Features shorter than this share of the longest get no classifier of their own before descent."""
_LEAST = 1e-9
"""The same where every feature needs one: what is shorter is noise."""
_RANDOM_STARTS = 2


@dataclass(frozen=True, eq=False)
class Factors:
    """A classifier and class-mean features.

    Attributes:
        W: Classifier, (K, d).
        H: Class-mean features, (K, d); ≥ 0 where the problem asks for it.
        objective: f(W, H, b): an upper bound of the optimum, in floating point.
        residual: Relative distance of (W Wᵀ, W Hᵀ, H Hᵀ) to the Gram point it was recovered from, in the units of
            the penalty; of the order of the square root of that point's accuracy.
        rank: Number of singular values of H above the noise: the d that is needed.
        bias: b, (K,); None without bias.
    """

    W: FloatArray
    H: FloatArray
    objective: float
    residual: float
    rank: int
    bias: FloatArray | None = None


def recoveries(
    columns: Columns, point: GramPoint, own: tuple[FloatArray, FloatArray] | None = None
) -> Iterator[Factors]:
    """W (K, d) and H (K, d) from a class-level Gram point, which need not be feasible.

    Lazy, one start after the other, the likeliest first: the caller stops when the gap is closed. Each is an
    admissible point, and how good it is shows in its objective alone.

    Args:
        columns: Class-level columns.
        point: The Gram point.
        own: W and H that the solver itself worked on, if it did; tried first, with the point's bias.
    """
    if own is not None:
        yield _summary(columns, *own, point.bias, point)
    if not columns.nonnegative:
        W, H = balanced(columns, point.logits)
        yield _summary(columns, W, H, point.bias, point)
        yield _summary(columns, *descend_with_bias(columns, W, H, point.bias), point)
        return
    scaled = np.sqrt(columns.lambda_h * columns.feature_weights)
    B = 0.5 * (point.feature_gram + point.feature_gram.T) * np.outer(scaled, scaled)
    for start in _nonnegative_starts(B, columns.labels.size):
        H = start / scaled[:, None]
        # features without a classifier of their own have none of the margins of an indicator
        W = _classifier(point, H, _CUT if columns.loss.finite else 0.0)
        if steepness(columns, W, H, point.bias) <= _STATIONARY:
            yield _summary(columns, W, H, point.bias, point)
        yield _summary(columns, *descend_with_bias(columns, W, H, point.bias), point)


def undescended(columns: Columns, point: GramPoint) -> Iterator[tuple[FloatArray, FloatArray]]:
    """W (K, d) and H (K, d) behind a Gram point as it is: what ``recoveries`` starts from, without any descent.

    For judging: descent would mend what is to be judged. The first pair has exactly the point's logits: for free
    features the smallest factors, else the smallest on an orthogonal frame, where noise in short ones is harmless.
    """
    if not columns.nonnegative:
        yield balanced(columns, point.logits)
        return
    ratio = math.sqrt(columns.lambda_w) / math.sqrt(columns.lambda_h) / np.sqrt(columns.feature_weights)
    eta = np.sqrt(ratio * np.linalg.norm(point.logits, axis=0))
    yield point.logits / np.where(eta > 0.0, eta, 1.0), np.diag(eta)
    scaled = np.sqrt(columns.lambda_h * columns.feature_weights)
    B = 0.5 * (point.feature_gram + point.feature_gram.T) * np.outer(scaled, scaled)
    for start in _nonnegative_starts(B, columns.labels.size):
        H = start / scaled[:, None]
        yield _classifier(point, H), H


def require_dimension(rank: int, feature_dim: int | None) -> None:
    """Raise ``DimensionError`` when d is smaller than the rank of the features."""
    if feature_dim is not None and feature_dim < rank:
        raise DimensionError(
            f"feature_dim is {feature_dim}, but the optimal features have rank {rank}.",
            expected=f"feature_dim >= {rank}",
            fix=f"with feature_dim={rank} the factors exist; below it the relaxation gives a lower bound only.",
        )


def fit(
    columns: Columns,
    factors: Factors,
    feature_dim: int,
    own: tuple[FloatArray, FloatArray] | None = None,
    own_bias: FloatArray | None = None,
) -> Factors:
    """The same factors in ``feature_dim`` coordinates: padded with zeros, or narrowed and descended from.

    With d below the rank the result is an upper bound and nothing more.

    Args:
        columns: Class-level columns.
        factors: Factors of any dimension.
        feature_dim: d.
        own: W and H that a solver found; taken instead where they fit in and have the smaller objective.
        own_bias: The bias that goes with them.
    """
    point = GramPoint.from_factors(factors.W, factors.H, factors.bias)
    fitted = _fitted(columns, factors, feature_dim, point)
    if own is not None and own[1].shape[1] <= feature_dim:
        padded = _fitted(columns, _summary(columns, *own, own_bias, point), feature_dim, point)
        fitted = min(fitted, padded, key=lambda one: one.objective)
    return fitted


def narrowed(columns: Columns, factors: Factors, feature_dim: int) -> tuple[FloatArray, FloatArray]:
    """W and H in ``feature_dim`` coordinates that go with the same bias and are as good, up to directions of noise.

    Raises:
        DimensionError: they are not: what does not count towards the rank is worth more than noise.
    """
    found = fit(columns, factors, feature_dim)
    value = factored_objective(columns, found.W, found.H, factors.bias)
    left_out = max(factors.H.shape[1] - feature_dim, 0)
    if left_out and not value <= (1.0 + left_out * RANK_CUT) * factors.objective:
        raise DimensionError(
            f"feature_dim is {feature_dim}, and the best factors found there have the objective {value:.9g}.",
            expected=f"one of at most {factors.objective:.9g}, up to {left_out} directions of noise",
            fix=f"use feature_dim={factors.H.shape[1]}, in which the solution was found.",
        )
    return found.W, found.H


def _fitted(columns: Columns, factors: Factors, feature_dim: int, point: GramPoint) -> Factors:
    surplus = feature_dim - factors.H.shape[1]
    if surplus >= 0:
        pad = ((0, 0), (0, surplus))
        return replace(factors, W=np.pad(factors.W, pad), H=np.pad(factors.H, pad))
    if columns.nonnegative:
        lengths = np.linalg.norm(factors.H * np.sqrt(columns.feature_weights)[:, None], axis=0)
        kept = np.sort(np.argsort(-lengths, kind="stable")[:feature_dim])
        W, H = factors.W[:, kept], factors.H[:, kept]
    else:
        scaled = factors.H * np.sqrt(columns.feature_weights)[:, None]
        rotation = np.linalg.svd(scaled, full_matrices=False)[2][:feature_dim].T
        W, H = factors.W @ rotation, factors.H @ rotation
    return _summary(columns, *descend_with_bias(columns, W, H, factors.bias), point)


def _summary(columns: Columns, W: FloatArray, H: FloatArray, bias: FloatArray | None, point: GramPoint) -> Factors:
    """The record of (W, H, b), made admissible, with its distance to the Gram point and its rank."""
    W, H = admitted(columns, W, H)
    scaled = H * np.sqrt(columns.lambda_h * columns.feature_weights)[:, None]
    lengths = np.diag(scaled) if _is_frame(scaled) else np.linalg.svd(scaled, compute_uv=False)
    value, without = (factored_objective(columns, share * W, share * H, bias) for share in (1.0, 0.0))
    squares = lengths**2
    rank = int((squares > noise(value, without, float(squares.sum()))).sum())
    return Factors(W, H, value, gram_distance(columns, GramPoint.from_factors(W, H), point), rank, bias)


def gram_distance(columns: Columns, first: GramPoint, second: GramPoint) -> float:
    """‖Z − Z̃‖_F over the larger of the two norms, in units of the penalty (√λ_W I, √(λ_H ν)); 0 if both vanish."""
    scale = np.concatenate(
        [
            np.full(columns.num_classes, math.sqrt(columns.lambda_w)),
            np.sqrt(columns.lambda_h * columns.feature_weights),
        ]
    )
    size = np.outer(scale, scale)
    difference = np.linalg.norm((first.matrix() - second.matrix()) * size)
    magnitude = max(np.linalg.norm(first.matrix() * size), np.linalg.norm(second.matrix() * size))
    return float(difference / magnitude) if magnitude > 0.0 else 0.0


def _classifier(point: GramPoint, H: FloatArray, cut: float = _CUT) -> FloatArray:
    """W = L (Hᵀ)⁺: the smallest W whose logits are nearest to L; collapsed features are cut off."""
    lengths = np.diag(H)
    if _is_frame(H):
        kept = lengths > cut * lengths.max()
        return point.logits * np.where(kept, 1.0 / np.where(kept, lengths, 1.0), 0.0)
    return point.logits @ np.linalg.pinv(H.T, rcond=cut or _LEAST)


def _is_frame(H: FloatArray) -> bool:
    """Whether H is square and diagonal."""
    return H.shape[0] == H.shape[1] and np.count_nonzero(H) == np.count_nonzero(np.diag(H))


def _spectral(B: FloatArray, feature_dim: int) -> FloatArray:
    """V √λ with negative eigenvalues dropped, the largest first, padded to d columns."""
    eigenvalues, vectors = np.linalg.eigh(B)
    root = vectors[:, ::-1] * np.sqrt(np.maximum(eigenvalues[::-1], 0.0))
    padded = np.zeros((B.shape[0], feature_dim))
    width = min(feature_dim, root.shape[1])
    padded[:, :width] = root[:, :width]
    return padded


def _nonnegative_starts(B: FloatArray, feature_dim: int) -> Iterator[FloatArray]:
    """Non-negative H with H Hᵀ near B: one class a coordinate, then, unless B is diagonal, factorisations of B."""
    lengths = np.sqrt(np.maximum(np.diag(B), 0.0))
    frame = np.zeros((lengths.size, feature_dim))
    np.fill_diagonal(frame, lengths)
    yield frame
    if np.abs(B - np.diag(np.diag(B))).max() <= _DIAGONAL * lengths.max() ** 2:
        return
    yield _factor_nonnegative(B, np.abs(_spectral(B, feature_dim)))
    generator = np.random.default_rng(0)
    spread = 0.1 * float(lengths.mean())
    for _ in range(_RANDOM_STARTS):
        yield _factor_nonnegative(B, frame + spread * generator.random(frame.shape))


def _factor_nonnegative(B: FloatArray, start: FloatArray) -> FloatArray:
    """Argmin over H ≥ 0 of ¼ ‖H Hᵀ − B‖², locally, from ``start``."""
    from scipy.optimize import minimize

    def value_and_gradient(flat: FloatArray) -> tuple[float, FloatArray]:
        H = flat.reshape(start.shape)
        residual = H @ H.T - B
        return 0.25 * float((residual * residual).sum()), (residual @ H).ravel()

    bounds = [(0.0, None)] * start.size
    result = minimize(value_and_gradient, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds)
    solution: FloatArray = np.maximum(result.x, 0.0).reshape(start.shape)
    return solution
