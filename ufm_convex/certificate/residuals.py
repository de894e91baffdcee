"""Both bounds of a large table from W and H alone: the dual point is the residuals there, and no file holds it.

The point v_j = s ∇l_j(W h_j + b) is feasible once ‖U D^-½‖ ≤ 1, a matter of the smaller of V and m, and at an optimum
with free features s is 1 (docs/further_slack.md, section 4.4). Numbers here are binary64 with room for their rounding;
``certify`` hands them out only after the verifier has enclosed every one of them.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ufm_convex import recovery
from ufm_convex._arrays import FloatArray
from ufm_convex._bits import fraction, rounded_down, rounded_up
from ufm_convex.certificate.encoding import written_table
from ufm_convex.certificate.limits import FILE_BYTES
from ufm_convex.enclosure import ExactAlike, ExactMatrix, ExactVector, FactorWitness, ProvedBound, ResidualDual
from ufm_convex.errors import HypothesisError, SizeError
from ufm_convex.evidence import Bounds
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Factors, of_classes
from ufm_convex.solution import Solution

KIND = "residuals"
DENSE_COLUMNS = 2048
"""More columns are not written one by one with a slack of their own size."""
_FEW = 64
"""Up to so many outputs and columns a dense proof is as short, and takes any dual point."""
_SOFTMAX, _OTHERS, _SMALLEST_SIDE = 1 << 24, 1 << 20, 512
"""Most residuals that the verifier forms, in binary64 and in balls, and the order of a slack that balls decide."""
_BALLS = 1 << 18
"""More are left to binary64, which wants more room."""
_MARGIN, _COARSE_MARGIN = 2.0**-42, 2.0**-28
_ROOM, _COARSE_ROOM = Fraction(1, 2**40), Fraction(1, 2**34)
_BITS, _FEWEST_BITS, _BITS_A_DIGIT = 52, 26, 3.33
_POLISHING, _SHARE = 300, 0.1
"""Iterations, where the bounds are farther apart than this share of the tolerance."""
_ROOMY = 0.9
"""Share of the largest file that W and H may fill."""


def lacks(problem: Problem) -> str | None:
    """Why the problem has no proof of this kind; None if it has one."""
    numbers = problem.num_outputs * problem.num_columns
    least = min(problem.num_outputs, problem.num_columns)
    softmax = problem.loss.shift_invariant
    if not problem.tabled or written_table(problem.loss) is None or problem.constraint is not None:
        return "the problem has no table of targets but, at most, one of distributions for its classes, or no decays"
    if problem.nonnegative:
        return "features are not negative, and the residuals have no multiplier"
    if problem.bias == "free":
        return "the bias is free, and residuals that are no rational numbers do not sum to zero for sure"
    if numbers > (_SOFTMAX if softmax else _OTHERS) or (not softmax and least > _SMALLEST_SIDE):
        return f"there are {numbers:,} residuals, more than a verifier forms"
    if _bits(problem, min(least, problem.feature_dim or least)) < _FEWEST_BITS:
        return f"W and H of {min(least, problem.feature_dim or least):,} coordinates fill more than a file"
    return None


def require_proof(problem: Problem, proof: str) -> None:
    """Raise what is known before any work, where no kind of dual point is written of a table.

    Raises:
        HypothesisError: residuals are asked for, and the problem has no proof of that kind.
        SizeError: the table is too large for every kind.
    """
    reason = lacks(problem)
    if proof == KIND and reason is not None:
        raise HypothesisError(
            f"{reason}.",
            expected="a table of targets, free features, decays, no free bias: a proof by residuals",
            fix="leave proof out: the smallest that applies is taken.",
        )
    if problem.tabled and problem.num_columns > DENSE_COLUMNS and reason is not None:
        raise SizeError(
            f"the table of targets has {problem.num_columns:,} columns and {problem.num_outputs:,} outputs; {reason}.",
            expected=f"at most {DENSE_COLUMNS:,} columns, or a proof by residuals (docs/further_slack.md, section 4.4)",
            fix="certify problem.merged[0], in which equal columns are one; what is larger has the bounds of "
            "ufm_convex.solve, and no file.",
        )


def bounds_by_residuals(solution: Solution, proof: str) -> Bounds | None:
    """The bounds of the solution's W and H, where they are asked for or are worth no less than the solution's own."""
    problem = solution.problem
    large = max(problem.num_outputs, problem.num_columns) > _FEW
    if proof not in ("auto", KIND) or lacks(problem) is not None or not (proof == KIND or large):
        return None
    W, H, bias = *solution.factors(), None if problem.bias is None else solution.bias
    found = residual_bounds(problem, W, H, bias)
    enough = _SHARE * solution.tolerance * max(solution.upper_bound - solution.floor, 0.0)
    if found.upper.value - found.lower.value > enough:
        found = residual_bounds(problem, *_polished(problem, W, H, bias))
    lost = max(solution.lower_bound - found.lower.value, found.upper.value - solution.upper_bound)
    dense = proof != KIND and problem.num_columns <= DENSE_COLUMNS
    return None if dense and lost > enough else found


def _polished(
    problem: Problem, W: FloatArray, H: FloatArray, bias: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """W, H and b nearer to a stationary point, of which the bound of residuals loses a share and not its square."""
    columns = of_classes(problem)
    found, _ = recovery.descend(columns, Factors.single(columns, W, H, bias), _POLISHING)
    return found.W.full(), found.H.full(), found.bias


def residual_bounds(problem: Problem, W: FloatArray, H: FloatArray, bias: FloatArray | None) -> Bounds:
    """Both bounds at W (V, d), H (m, d) and b (V,), rounded to as many bits as a file has room for."""
    witness, W, H, b = _rounded(problem, W, H, bias)
    columns = of_classes(problem)
    logits = W @ H.T + b[:, None]
    layout = problem.loss.layout(problem.num_outputs, np.arange(problem.num_columns))
    residuals = problem.loss.residuals(logits, layout)
    pt, large = problem.loss_weights, logits.size > _BALLS
    units = pt / columns.sigma
    margin = max(_COARSE_MARGIN, _rounding(W, H, b, units)) if large else _MARGIN
    scale = Fraction(min(1.0, (1.0 - margin) / max(_norm(residuals * units), 1e-300)))
    conjugates = problem.loss.conjugate(float(scale) * residuals, layout)
    price = 0.0
    if problem.bias is not None:
        sums = float(scale) * (residuals @ pt)
        price = float(sums @ sums) / (2.0 * float(problem.bias))
    room = _COARSE_ROOM if large else _ROOM
    terms = Fraction(float(pt @ np.abs(conjugates)) + price)
    lower = fraction(-float(pt @ conjugates) - price) - room * terms
    values = problem.loss.values(logits, layout)
    rest = 0.5 * (
        problem.lambda_w * float((W * W).sum()) + problem.lambda_h * float(problem.class_counts @ (H * H).sum(1))
    )
    rest += 0.0 if problem.bias is None else 0.5 * float(problem.bias) * float(b @ b)
    upper = fraction(float(pt @ values) + rest) * (1 + room)
    return Bounds(
        ProvedBound(rounded_down(lower), KIND, lower, ResidualDual(scale)),
        ProvedBound(rounded_up(upper), "dense", upper, witness),
    )


def _bits(problem: Problem, d: int) -> int:
    """Bits of the entries of W and H, so that d coordinates of both fill no more than a file."""
    numbers = (problem.num_outputs + problem.num_columns) * d
    digits = _ROOMY * FILE_BYTES / numbers - 2.5  # a sign, a space, and a digit that is begun
    return min(_BITS, math.floor(digits * _BITS_A_DIGIT))


def _rounded(
    problem: Problem, W: FloatArray, H: FloatArray, bias: FloatArray | None
) -> tuple[FactorWitness, FloatArray, FloatArray, FloatArray]:
    """The witness, and its W, H and b in binary64, exactly."""
    used = np.any(W != 0.0, axis=0) & np.any(H != 0.0, axis=0)
    used[0] |= not used.any()
    near = [ExactMatrix.near(matrix[:, used], _bits(problem, int(used.sum()))) for matrix in (W, H)]
    W, H = (np.ldexp(np.array(one.rows, dtype=np.float64), one.exponent) for one in near)
    b = np.zeros(len(W)) if bias is None else bias
    exact = None if bias is None else ExactVector.of_floats(bias)
    return FactorWitness(ExactAlike.single(near[0]), ExactAlike.single(near[1]), exact), W, H, b


def _norm(scaled: FloatArray) -> float:
    """‖U D^-½‖, from the smaller Gram matrix."""
    gram = scaled @ scaled.T if scaled.shape[0] <= scaled.shape[1] else scaled.T @ scaled
    return math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 0.0))


def _rounding(W: FloatArray, H: FloatArray, b: FloatArray, units: FloatArray) -> float:
    """What the verifier's roundings may add to that norm, as section 7.5 bounds them, four times."""
    longest, offset = float(np.sqrt((W * W).sum(axis=1).max())), float(np.abs(b).max())
    logits = 2.1 * (W.shape[1] + 8) * 2.0**-53 * (longest * np.sqrt((H * H).sum(axis=1)) + offset)
    each = units * (2.2 * logits + 2.0**-46 + len(W) * 2.0**-51)
    least = min(len(W), len(H))
    return 4.0 * float(np.sqrt(each @ each)) + (16.0 * (least + 300) + 4.0 * len(W)) * 2.0**-53 * least


__all__ = ["KIND", "bounds_by_residuals", "lacks", "require_proof", "residual_bounds"]
