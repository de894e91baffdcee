"""A solution as one JSON object: the fields of ``solve --json``. No NaN and no infinity: they become null."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ufm_convex.contrastive import ContrastiveSolution
    from ufm_convex.duality import KKTReport
    from ufm_convex.measures import EffectiveDecays
    from ufm_convex.positivity import CompletePositivity
    from ufm_convex.solution import Outcome, Solution


def solution_record(solution: Solution) -> dict[str, Any]:
    """The fields of ``solve --json``; ``value`` is computed, the two bounds are proved, ``solver_claim`` is hearsay."""
    run = solution.run
    return {
        **outcome(solution),
        **_outputs(solution),
        "collapsed_classes": list(solution.collapsed_classes),
        "merged_groups": [list(group) for group in solution.merged_groups],
        "multiplier": finite(solution.multiplier),
        "bias": None if solution.problem.bias is None else solution.bias.tolist(),
        "within_class_variability": finite(run.within_class_variability),
        "gram_positivity": _positivity(gram_positivity(solution)),
        **evidence(solution),
        "solver_claim": {
            "status": str(run.claim),
            "message": run.message,
            "value": finite(run.value),
            "dual_value": finite(run.dual_value),
        },
        "route": list(solution.route),
    }


def outcome(solution: Solution | ContrastiveSolution) -> dict[str, Any]:
    """The fields that solutions of every kind of problem have: what was found, by what, of how large a problem."""
    return {
        "value": finite(solution.value),
        "lower_bound": finite(solution.lower_bound),
        "upper_bound": finite(solution.upper_bound),
        "relative_gap": finite(solution.relative_gap),
        "tolerance": solution.tolerance,
        "status": str(solution.status),
        "solver": solution.solver,
        "level": solution.level,
        "seconds": finite(solution.seconds),
        "solve_time_limit": _time_limit(solution),
        "num_classes": solution.problem.num_classes,
        "num_samples": solution.problem.num_samples,
    }


def _outputs(solution: Solution) -> dict[str, Any]:
    """Fields of problems with other outputs than columns, or with a floor, and of no others."""
    problem = solution.problem
    found: dict[str, Any] = {}
    if problem.num_columns != problem.num_outputs:
        found = {"num_outputs": problem.num_outputs, "num_columns": problem.num_columns}
        found |= {} if problem.tabled else {"empty_classes": list(problem.empty_classes)}
    if solution.floor > 0.0:
        found |= {name: finite(getattr(solution, name)) for name in ("floor", "excess", "excess_gap")}
    return found


def evidence(solution: Solution | ContrastiveSolution) -> dict[str, Any]:
    """Further such fields: what theory and the optimality conditions say."""
    return {
        "theory": _theory(solution),
        "kkt": _residuals(solution.kkt()),
        "solver_kkt": _residuals(solution.solver_kkt()),
    }


def gram_positivity(solution: Solution) -> CompletePositivity | None:
    """The verdict on B where bounds stay apart and it may be the reason; None elsewhere.

    That is with non-negative features under decays, for so few classes that a verdict is soon found, and not after
    Ctrl-C: whoever pressed it waits for no verdict of seconds.
    """
    if not stands_apart(solution):
        return None
    from ufm_convex.positivity.copositivity import LARGEST

    asked = may_be_strict(solution, LARGEST) and not solution.interrupted
    return solution.gram_positivity if asked else None


def may_be_strict(solution: Solution, most: int) -> bool:
    """Whether bounds stay apart, with non-negative features under decays and at most so many different columns."""
    return stands_apart(solution) and solution.problem.merged[0].num_classes <= most


def stands_apart(solution: Solution) -> bool:
    """Whether bounds stay apart, with non-negative features under decays."""
    from ufm_convex.solution import Status

    problem = solution.problem
    decays = problem.constraint is None or not problem.constraint.replaces_decays
    return problem.nonnegative and decays and solution.status is Status.BOUNDED


def relative_difference(solution: Solution | ContrastiveSolution) -> float | None:
    """|value − theory| / theory; None where no theorem says anything."""
    if solution.theory is None:
        return None
    difference = abs(solution.value - solution.theory.value)
    # below the smallest normal number nothing is relative: the theory may say 0, and a bound the number above
    return difference / max(abs(solution.theory.value), sys.float_info.min)


def finite(number: float | None) -> float | None:
    """The number, or None where JSON has none."""
    return float(number) if number is not None and math.isfinite(number) else None


def _time_limit(solution: Outcome) -> dict[str, Any] | None:
    """The limit that ``solve`` was given and whether it ended the work; not one of a solver's own. None without one."""
    if solution.time_limit is None:
        return None
    return {"seconds": finite(solution.time_limit), "reached": solution.time_limit_reached}


def _theory(solution: Solution | ContrastiveSolution) -> dict[str, Any] | None:
    found = solution.theory
    if found is None:
        return None
    return {
        "value": finite(found.value),
        "relation": str(found.relation),
        "relative_difference": finite(relative_difference(solution)),
        "citation": found.citation,
    }


def _positivity(found: CompletePositivity | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "verdict": str(found.verdict),
        "reason": found.reason,
        "residual": finite(found.residual),
        "separation": finite(found.separation),
        "tolerance": finite(found.tolerance),
    }


def _residuals(report: KKTReport | None) -> dict[str, float | None] | None:
    return None if report is None else {name: finite(residual) for name, residual in report.residuals.items()}


def decays_record(fitted: EffectiveDecays) -> dict[str, float | None]:
    """Effective decays; null for what is not defined or infinite."""
    names = ("lambda_w", "lambda_h", "lambda_b", "misfit_w", "misfit_h", "spread", "excess")
    values = {name: getattr(fitted, name) for name in names}
    return {name: finite(value) for name, value in values.items()}
