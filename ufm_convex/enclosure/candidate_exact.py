"""A proved enclosure of a candidate's objective for any loss: exact logits, then balls, one row at a time.

Slower than the streamed enclosure of ``candidate`` by orders of magnitude, and as narrow as the working precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import widened
from ufm_convex.candidate import Candidate, NegativeEntries, blocks
from ufm_convex.candidate.streaming import Progress
from ufm_convex.enclosure.candidate import CandidateEnclosure, Interval, bias_weight, check_match
from ufm_convex.enclosure.exact import PRECISION, ExactVector, float_above, float_below, power, rational
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import arb, fmpz_mat

_ROWS = 64


def enclose_exactly(problem: Problem, candidate: Candidate, *, progress: Progress | None = None) -> CandidateEnclosure:
    """Enclose f(W, H) for the candidate, whatever its loss and the sign of its features.

    Args:
        problem: The problem; its class counts are those of the candidate.
        candidate: W, the features of all samples or class means, and its bias; meant for some 10⁶ logits.
        progress: Called after each block with (rows done, rows in all).

    Raises:
        CountsError, ShapeError, CandidateError, HypothesisError: as ``enclose_objective``.
    """
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    problem.require_decays("the objective of a candidate")
    candidate = check_match(problem, candidate)
    negative = NegativeEntries()
    means = _mean_weights(problem, candidate)
    W, w_exponent = _integers(widened(candidate.weights))
    transposed = W.transpose()
    columns = [problem.loss.exact_column(problem.num_outputs, k) for k in range(problem.num_classes)]
    with working_precision(PRECISION):
        b = _bias(candidate, problem.num_outputs)
        loss = feature = arb(0)
        for block in blocks(candidate, progress=progress, chunk=_ROWS):
            negative.see(block)
            H, exponent = _integers(block.features)
            unit = arb(power(w_exponent + exponent))
            for k, z, h in zip(block.labels.tolist(), (H * transposed).tolist(), H.tolist(), strict=True):
                logits = [arb(entry) * unit + offset for entry, offset in zip(z, b, strict=True)]
                loss += means[k] * problem.loss.enclose_value(logits, columns[k])
                squares = arb(sum(x * x for x in h)) * arb(power(2 * exponent))
                feature += int(candidate.multiplicities[k]) * squares
        weight = arb(rational(problem.lambda_w)) / 2 * arb(sum(w * w for row in W.tolist() for w in row))
        weight *= arb(power(2 * w_exponent))
        feature *= arb(rational(problem.lambda_h)) / 2
        bias = arb(rational(bias_weight(problem))) / 2 * sum((entry * entry for entry in b), arb(0))
        total = loss + weight + feature + bias
        return CandidateEnclosure(
            lower=float_below(total),
            upper=float_above(total),
            loss=_interval(loss),
            weight_penalty=_interval(weight),
            feature_penalty=_interval(feature),
            smallest=negative.smallest,
            smallest_at=negative.place,
            negative_entries=negative.count,
            bias_penalty=_interval(bias),
        )


def _bias(candidate: Candidate, num_outputs: int) -> list[arb]:
    """The entries of b, exactly; zeros without one."""
    from flint import arb

    if candidate.bias is None:
        return [arb(0)] * num_outputs
    exact = ExactVector.of_floats(widened(candidate.bias))
    unit = arb(power(exact.exponent))
    return [arb(entry) * unit for entry in exact.integers]


def _mean_weights(problem: Problem, candidate: Candidate) -> list[arb]:
    """The factor of the loss of one row of each class: ω_k/N, times n_k for class means."""
    from flint import arb

    pairs = zip(problem.loss.weights(problem.num_classes).tolist(), candidate.multiplicities.tolist(), strict=True)
    return [arb(rational(weight) * repeats / problem.num_samples) for weight, repeats in pairs]


def _integers(matrix: FloatArray) -> tuple[fmpz_mat, int]:
    """The binary64 matrix as integers times a power of two, exactly."""
    from flint import fmpz_mat

    exact = ExactVector.of_floats(matrix.ravel())
    rows, columns = matrix.shape
    return fmpz_mat(rows, columns, exact.integers), exact.exponent


def _interval(ball: arb) -> Interval:
    return float_below(ball), float_above(ball)
