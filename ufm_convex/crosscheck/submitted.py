"""What a submitted point is worth as it stands: its own objectives, and how far it is from feasible.

Nothing is mended here: negative features are not clipped, matrices not made symmetric or positive semidefinite,
samples not averaged, factors not recovered, multipliers not rescaled. ``judgement`` takes the worse of these numbers
and of what can be proved from an admissible point nearby: no repair lends a point a value that it does not have.

Shapes: W (K, d) and H (K, d); Gram points with one column a class, (K, K), or one a sample, (K, N).
Units: objectives as they are; violations are pure numbers, as in docs/kkt.md, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ufm_convex import relaxation
from ufm_convex.crosscheck.base import Answer
from ufm_convex.duality.kkt import primal_residuals
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Columns, Dual, Factors, Gram, GramPoint


@dataclass(frozen=True)
class Submitted:
    """The numbers of the points themselves, in floating point; of two primal points, the worse.

    Attributes:
        primal_value: F(Z) of its Gram point, f(W, H) of its factors; None without a primal point.
        primal_violation: How far they are from Z = Zᵀ ⪰ 0, B ≥ 0, H ≥ 0 and, where there are any, from prescribed
            margins and from the constraints on further variables of its programme; None without a primal point.
        dual_value: −Σ pt_k l_k*(v_k) − g*(−U1) of its residuals, those outside the conjugate's domain taken at its
            edge, and sums closed for a free bias; how far off they are is a violation. None without a dual point.
    """

    primal_value: float | None
    primal_violation: float | None
    dual_value: float | None


def measure(problem: Problem, answer: Answer) -> Submitted:
    """The numbers of an answer whose points have the shapes of the problem."""
    found = [(_value(*primal[:2]), _violation(*primal)) for primal in _primal_points(problem, answer)]
    values, violations = zip(*found, strict=True) if found else ((), ())
    return Submitted(
        primal_value=max(values, default=None),
        primal_violation=max((*violations, answer.residual)) if found else None,
        dual_value=None if answer.dual is None else _dual_value(relaxation.of_classes(problem), answer),
    )


def at_class_level(problem: Problem, answer: Answer) -> Answer:
    """The answer with class means in the place of samples: from it an admissible point is made, and nothing judged."""
    if answer.point is None or not of_samples(problem, answer.point):
        return answer
    level = relaxation.level("sample")
    columns = level.maps(problem).fine
    point = level.reported(problem, Gram.mean(columns, answer.point))  # single columns: nothing is averaged but these
    return replace(answer, point=point if isinstance(point, GramPoint) else point.full())


def of_samples(problem: Problem, point: GramPoint) -> bool:
    """Whether a Gram point has one column a sample; with one sample a class both are one."""
    return point.logits.shape[1] != problem.num_classes


def point_value(problem: Problem, point: GramPoint) -> float:
    """F(Z) of a Gram point with one column a class or one a sample."""
    columns = _columns(problem, point)
    return _value(columns, Gram.mean(columns, point))


def _columns(problem: Problem, point: GramPoint) -> Columns:
    return relaxation.of_samples(problem) if of_samples(problem, point) else relaxation.of_classes(problem)


def _primal_points(problem: Problem, answer: Answer) -> Iterator[tuple[Columns, Gram, Factors]]:
    """The primal points, each with its columns and the W and H whose signs count; zeros where it has none."""
    if answer.factors is not None:
        columns = relaxation.of_classes(problem)
        factors = Factors.single(columns, *answer.factors, answer.bias)
        yield columns, factors.gram(), factors
    if (point := answer.point) is not None:
        columns = _columns(problem, point)
        nothing = np.zeros((problem.num_outputs, 1)), np.zeros((columns.columns.length, 1))
        yield columns, Gram.mean(columns, point), Factors.single(columns, *nothing)


def _value(columns: Columns, point: Gram) -> float:
    """F(Z); the loss of an indicator is left to ``_violation``: no point of a solver has its margins exactly."""
    if columns.loss.finite:
        return relaxation.objective(columns, point)
    features = (columns.feature_weights * columns.columns.numbers) @ point.feature_squares()
    return float(0.5 * columns.lambda_w * point.weight_trace() + 0.5 * columns.lambda_h * features)


def _violation(columns: Columns, point: Gram, factors: Factors) -> float:
    scale = max(abs(_value(columns, point)), np.finfo(float).tiny)
    found = primal_residuals(columns, point, factors, scale)
    lacking = 0.0
    if (indicator := columns.loss.indicator) is not None:
        short = indicator.shortfall(point.logits.entries(), columns.layout)[0]  # half the squares of what is lacking
        lacking = math.sqrt(2.0 * float(short.max())) / indicator.unit(columns.outputs.total)
    return max(found["primal_psd"], found["primal_nonnegativity"], lacking)


def _dual_value(columns: Columns, answer: Answer) -> float | None:
    if answer.dual is None:
        return None
    dual = Dual.mean(columns, answer.dual)
    return relaxation.dual_value(columns, columns.admitted(columns.into_domain(dual.V)))
