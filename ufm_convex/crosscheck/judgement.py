"""What an answer is worth, measured against proved bounds: nothing that a solver says is taken from it.

The reference is L ≤ optimum ≤ U, both proved. Each point is measured twice. First as it stands (``submitted``); then it
is made admissible, for only of an admissible point can something be proved: W and H come from a primal point without
any descent, and their objective is enclosed; a dual point is repaired and its slack proved. The worse of both counts,
so that what is made of a point never speaks for it. The words of the verdict are defined in docs/crosscheck.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

import numpy as np

from ufm_convex import duality, enclosure, evidence, recovery, relaxation
from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.base import Answer
from ufm_convex.crosscheck.dimacs import DimacsErrors, dimacs
from ufm_convex.crosscheck.plain import UnusableError, plain
from ufm_convex.crosscheck.submitted import at_class_level, measure
from ufm_convex.duality import KKTReport
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, Columns, Dual, Factors, Gram, GramPoint, of_classes
from ufm_convex.solvers import Claim


class CrossVerdict(StrEnum):
    """What a solver's answer turned out to be."""

    RIGHT = "right"
    INACCURATE = "inaccurate"
    WRONG = "wrong"
    OVERCLAIMS = "overclaims"
    FAILED = "failed"


@dataclass(frozen=True)
class Reference:
    """Proved bounds of the optimum.

    Attributes:
        lower: L, from the best dual point known.
        upper: U, from the best W and H known.
        floor: What no model can go below, soft targets' entropy: gaps count relative to the excess over it.
    """

    lower: float
    upper: float
    floor: float = 0.0

    def allowed(self, tolerance: float) -> float:
        """The tolerance for differences in units of U."""
        return evidence.allowed_gap(self.floor, self.upper, tolerance)

    def relative(self, difference: float) -> float:
        """A difference of objectives in units of U; as it is where U = 0."""
        return difference / self.upper if self.upper > 0.0 else difference


@dataclass(frozen=True)
class CrossCheckRow:
    """One solver's answer, judged. Violations are pure numbers, in the units of docs/kkt.md, section 4.

    Attributes:
        solver: Name in the registry, or of the callable.
        verdict: What the answer is worth.
        reason: Why, in words.
        status_claimed: What the solver says of itself.
        value: The optimal value it reports, else ``solver_primal_value``; None without either.
        dual_value: The dual objective it reports, or None.
        solver_primal_value: The objective of its own primal point, nothing mended; None without one.
        solver_dual_value: The dual objective of its own dual point, nothing mended; None without one.
        certified_gap: The larger of ``primal_gap`` and ``dual_gap``: relative; None without points.
        primal_gap: (f − L) / f for the larger f of ``solver_primal_value`` and the enclosed objective of an admissible
            W and H made from its point; None without a primal point.
        dual_gap: (U − D) / U for the smaller D of ``solver_dual_value`` and the proved value of its dual point,
            repaired; None without a dual point.
        primal_violation: How far its primal point is from Z = Zᵀ ⪰ 0 and B ≥ 0, H ≥ 0, and further variables of its
            programme from their constraints.
        dual_violation: How far its dual point is from feasibility: the domain of the conjugate, T ≥ 0, S ⪰ 0, and the
            equations for the diagonal blocks of S, where it has some.
        overstatement: (its dual objective − U) / U where positive; 0 otherwise, None without a dual objective.
        dimacs: The six error measures, where it left both points.
        seconds: Wall time of its process.
    """

    solver: str
    verdict: CrossVerdict
    reason: str
    status_claimed: str
    value: float | None = None
    dual_value: float | None = None
    solver_primal_value: float | None = None
    solver_dual_value: float | None = None
    certified_gap: float | None = None
    primal_gap: float | None = None
    dual_gap: float | None = None
    primal_violation: float | None = None
    dual_violation: float | None = None
    overstatement: float | None = None
    dimacs: DimacsErrors | None = None
    seconds: float = 0.0


def judge(
    problem: Problem, name: str, answer: Answer, reference: Reference, tolerance: float, seconds: float = 0.0
) -> CrossCheckRow:
    """The row for one answer.

    Args:
        problem: The problem.
        name: Who answered.
        answer: The answer, with whatever is in its fields.
        reference: Proved bounds of the optimum.
        tolerance: Relative gap up to which an answer is right.
        seconds: Wall time.
    """
    answer = plain(answer)
    claim = answer.claim
    if claim in (Claim.INFEASIBLE, Claim.UNBOUNDED):
        reason = f"claims {claim}, but the problem has an optimum"
        return CrossCheckRow(name, CrossVerdict.WRONG, reason, str(claim), answer.value, seconds=seconds)
    try:
        with np.errstate(all="ignore"):  # absurd numbers overflow; they are judged by what comes of them
            return _judge(problem, name, _fitting(problem, answer), reference, tolerance, seconds)
    except UnusableError as error:
        reason = str(error)
    except np.linalg.LinAlgError as error:
        reason = f"its numbers overflow when they are multiplied or decomposed ({error})"
    return CrossCheckRow(name, CrossVerdict.FAILED, reason, str(claim), answer.value, seconds=seconds)


# -- what may be judged -------------------------------------------------------------------------------------------


def _fitting(problem: Problem, answer: Answer) -> Answer:
    """The answer, if its points have the shapes of the problem; ``UnusableError`` otherwise."""
    if answer.claim is Claim.FAILED or answer.empty:
        raise UnusableError(answer.message or "left no point")
    V, K = problem.num_outputs, problem.num_classes
    if answer.factors is not None:
        W, H = answer.factors
        _require_shape("W", W, (V, W.shape[1]))
        _require_shape("H", H, (K, H.shape[1]))
        if W.shape[1] != H.shape[1]:
            raise UnusableError(f"W has shape {W.shape}, but H has {H.shape}; both have d columns")
        if problem.feature_dim is not None and W.shape[1] > problem.feature_dim:
            raise UnusableError(f"W and H have {W.shape[1]} columns, more than feature_dim = {problem.feature_dim}")
    _require_bias(problem, answer)
    if (point := answer.point) is not None:
        m = problem.num_samples if point.logits.shape == (V, problem.num_samples) else K
        for block, shape in ((point.weight_gram, (V, V)), (point.logits, (V, m)), (point.feature_gram, (m, m))):
            _require_shape("a Gram block", block, shape)
    if (dual := answer.dual) is not None:
        _require_shape("the dual residuals", dual.residuals, (V, K))
        for multiplier, size in ((dual.nonnegativity, K), (dual.weight_block, V), (dual.feature_block, K)):
            if multiplier is not None:
                _require_shape("a multiplier", multiplier, (size, size))
    _require_empty(problem, answer)
    return answer


def _require_empty(problem: Problem, answer: Answer) -> None:
    """``UnusableError`` where a class without samples has a feature, or a multiplier: they would count nowhere."""
    empty = list(problem.empty_classes)
    parts = [] if answer.factors is None else [("H", answer.factors[1][empty])]
    if answer.point is not None and answer.point.logits.shape[1] == problem.num_classes:
        parts += [("L", answer.point.logits[:, empty]), ("B", answer.point.feature_gram[empty])]
        parts.append(("B", answer.point.feature_gram[:, empty]))
    if answer.dual is not None:
        given = {"V": answer.dual.residuals[:, empty], "T": answer.dual.nonnegativity}
        parts += [("V", given["V"]), ("T", given["T"][empty]), ("T", given["T"][:, empty])]
    for name, entries in parts:
        if np.any(entries != 0.0):
            raise UnusableError(
                f"{name} is not zero at a class without samples: class {empty[0]} is the first of these"
            )


def _require_bias(problem: Problem, answer: Answer) -> None:
    """``UnusableError`` for a bias that the problem has not, or one of another length."""
    given = [("the answer", answer.bias), ("its Gram point", None if answer.point is None else answer.point.bias)]
    for owner, bias in given:
        if bias is not None and problem.bias is None:
            raise UnusableError(f"{owner} has a bias, and the problem has none")
        if bias is not None:
            _require_shape("the bias", bias, (problem.num_outputs,))


def _require_shape(name: str, array: FloatArray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise UnusableError(f"{name} has shape {array.shape}, expected {shape}")


_Pair = tuple[FloatArray, FloatArray, FloatArray | None]
"""W (K, d) and H (K, d), with a bias b (K,) or none."""

_DUAL_FEASIBILITY = (
    "dual_domain",
    "dual_nonnegativity",
    "dual_slack_psd",
    "stationarity_weight_gram",  # the dual's equations: S_A, and S_B with the multiplier of B ≥ 0
    "stationarity_feature_gram",
)


# -- the measurements ---------------------------------------------------------------------------------------------


def _judge(
    problem: Problem, name: str, answer: Answer, reference: Reference, tolerance: float, seconds: float
) -> CrossCheckRow:
    columns, own = of_classes(problem), measure(problem, answer)
    answer = at_class_level(problem, answer)
    pairs = _factors(columns, problem, answer, tolerance)
    objective = _worse(max, own.primal_value, *(enclosure.upper_bound(problem, pair).value for pair in pairs))
    bound = None
    if answer.dual is not None:
        repaired, _ = duality.repair(columns, [Dual.mean(columns, answer.dual)])
        bound = _worse(min, own.dual_value, enclosure.lower_bound(problem, repaired).value)
    report = _report(columns, answer, pairs, tolerance)
    point = answer.point or (None if answer.factors is None else GramPoint.from_factors(*answer.factors, answer.bias))
    measures = None
    if point is not None and answer.dual is not None:
        measures = dimacs(columns, point, answer.dual, report)
    primal_gap = None if objective is None else evidence.relative_gap(reference.lower, objective)
    dual_gap = None if bound is None else reference.relative(reference.upper - bound)
    said = answer.dual_value
    row = CrossCheckRow(
        solver=name,
        verdict=CrossVerdict.RIGHT,
        reason="",
        status_claimed=str(answer.claim),
        value=answer.value if answer.value is not None else own.primal_value,
        dual_value=said,
        solver_primal_value=own.primal_value,
        solver_dual_value=own.dual_value,
        certified_gap=_worse(max, primal_gap, dual_gap),
        primal_gap=primal_gap,
        dual_gap=dual_gap,
        primal_violation=own.primal_violation,
        dual_violation=None if answer.dual is None else _worst(report, _dual_conditions(columns)),
        overstatement=None if said is None else max(0.0, reference.relative(said - reference.upper)),
        dimacs=measures,
        seconds=seconds,
    )
    verdict, reason = _verdict(row, answer.value, reference, tolerance, objective, bound)
    return replace(row, verdict=verdict, reason=reason)


def _worse(choose: Callable[[list[float]], float], *numbers: float | None) -> float | None:
    """The largest or the smallest of those that there are; NaN is worse than any number. None of none."""
    there = [number for number in numbers if number is not None]
    if any(math.isnan(number) for number in there):
        return math.nan
    return choose(there) if there else None


def _dual_conditions(columns: Columns) -> tuple[str, ...]:
    """What a dual point has to satisfy by itself: a free bias asks for U1 = 0 besides."""
    return (*_DUAL_FEASIBILITY, "stationarity_bias") if columns.bias.needs_balance else _DUAL_FEASIBILITY


def _worst(report: KKTReport, names: tuple[str, ...]) -> float:
    return max(report[name].residual for name in names)


def _factors(columns: Columns, problem: Problem, answer: Answer, tolerance: float) -> list[_Pair]:
    """Admissible W and H: its own, H clipped at zero where it must be, and those behind its Gram point, not descended.

    One that leaves both is judged by both: the good one would be an alibi for the other.
    """
    pairs = []
    if answer.factors is not None:
        W, H = answer.factors
        pairs.append((W, np.maximum(H, 0.0) if columns.nonnegative else H, answer.bias))
    if answer.point is not None:
        starts = recovery.undescended(columns, Gram.mean(columns, answer.point))
        admitted = (recovery.admitted(columns, one) for one in starts)
        behind = [(*recovery.full(one, None, columns.nonnegative), one.bias) for one in admitted]
        objective_of = partial(_finite_objective, columns)
        best = min(behind, key=objective_of)
        if problem.feature_dim is not None:
            whole = objective_of(best)
            best = min((_narrowed(columns, pair, problem.feature_dim) for pair in behind), key=objective_of)
            if objective_of(best) > (1.0 + tolerance) * whole:
                raise UnusableError(f"its Gram point needs more than feature_dim = {problem.feature_dim} columns")
        pairs.append(best)
    return pairs


def _narrowed(columns: Columns, pair: _Pair, feature_dim: int) -> _Pair:
    """The ``feature_dim`` columns of W and H that weigh most, of free features along the principal axes of H.

    The others are zero where a point fits.
    """
    W, H, b = pair
    if not columns.nonnegative:
        scaled = H[columns.columns.positions] * np.sqrt(columns.feature_weights)[:, None]
        axes = np.linalg.svd(scaled)[2].T
        W, H = W @ axes, H @ axes
    lengths = columns.feature_weights @ H[columns.columns.positions] ** 2
    weight = columns.lambda_w * (W**2).sum(axis=0) + columns.lambda_h * lengths
    kept = np.sort(np.argsort(-weight, kind="stable")[:feature_dim])
    return W[:, kept], H[:, kept], b


def _finite_objective(columns: Columns, pair: _Pair) -> float:
    value = relaxation.objective(columns, Factors.single(columns, *pair))
    return value if math.isfinite(value) else math.inf


def _report(columns: Columns, answer: Answer, pairs: list[_Pair], tolerance: float) -> KKTReport:
    """KKT residuals of the points as they are; zeros stand in for one that is missing."""
    V, m = columns.outputs, columns.columns
    raw: _Pair = (np.zeros((V.total, 1)), np.zeros((m.length, 1)), None)
    if answer.factors is not None:
        raw = (*answer.factors, answer.bias)
    elif pairs:
        raw = pairs[0]
    point = Gram.mean(columns, answer.point or GramPoint.from_factors(*raw))
    dual = Dual(Alike.zeros(V, m)) if answer.dual is None else Dual.mean(columns, answer.dual)
    return duality.report(columns, point, dual, Factors.single(columns, *raw), tolerance)


# -- the verdict --------------------------------------------------------------------------------------------------


_DUAL_SLACK = 1e3
"""How much more than the gap a dual point may violate its constraints: first-order solvers stop on residuals first."""


def _verdict(
    row: CrossCheckRow,
    claimed: float | None,
    reference: Reference,
    tolerance: float,
    objective: float | None,
    bound: float | None,
) -> tuple[CrossVerdict, str]:
    """The first of the definitions of docs/crosscheck.md, section 2, that holds."""
    feasible, tolerance = tolerance, reference.allowed(tolerance)
    below = 0.0 if claimed is None else reference.relative(reference.lower - claimed)
    if below > tolerance:
        return CrossVerdict.OVERCLAIMS, f"its value lies {below:.1e} below the proved lower bound"
    if row.overstatement is not None and row.overstatement > tolerance:
        return CrossVerdict.OVERCLAIMS, f"its dual value lies {row.overstatement:.1e} above the proved upper bound"
    off = [*_off(row, claimed, reference, tolerance, objective, bound), *_infeasible(row, feasible)]
    if row.status_claimed == Claim.OPTIMAL and off:
        return CrossVerdict.WRONG, "; ".join(off)
    if row.certified_gap is None or not row.certified_gap <= tolerance or row.status_claimed != Claim.OPTIMAL or off:
        gap = math.nan if row.certified_gap is None else row.certified_gap
        return CrossVerdict.INACCURATE, "; ".join(off) or f"claims {row.status_claimed}; gap {gap:.1e}"
    return CrossVerdict.RIGHT, f"gap {row.certified_gap:.1e}"


def _off(
    row: CrossCheckRow,
    claimed: float | None,
    reference: Reference,
    tolerance: float,
    objective: float | None,
    bound: float | None,
) -> Iterator[str]:
    """Which values are off, and by how much. Beyond the bounds on the good side lie the infeasible points alone."""
    L, U = reference.lower, reference.upper
    differences = (
        (claimed, U, 1.0, "its value lies {} above the proved upper bound"),
        (objective, U, 1.0, "its point is {} above the optimum"),
        (row.solver_primal_value, L, -1.0, "its point has an objective {} below the proved lower bound"),
        (row.dual_value, L, -1.0, "its dual value lies {} below the proved lower bound"),
        (bound, L, -1.0, "its dual point is {} below the optimum"),
        (row.solver_dual_value, U, 1.0, "its dual point has an objective {} above the proved upper bound"),
    )
    for value, end, sign, words in differences:
        if value is not None and not (distance := reference.relative(sign * (value - end))) <= tolerance:
            yield words.format(f"{distance:.1e}")


def _infeasible(row: CrossCheckRow, tolerance: float) -> Iterator[str]:
    """Which points violate their constraints, and by how much."""
    # the tolerance of a Gram point's violations is that of KKT conditions linear in the gap
    if row.primal_violation is not None and not row.primal_violation <= max(tolerance, 1e-9):
        yield f"its primal point is infeasible by {row.primal_violation:.1e}"
    # repair maps anything to a feasible point, nonsense too, so a good bound alone is no merit of the point itself
    if row.dual_violation is not None and not row.dual_violation <= max(_DUAL_SLACK * tolerance, 1e-6):
        yield f"its dual point is infeasible by {row.dual_violation:.1e}"
