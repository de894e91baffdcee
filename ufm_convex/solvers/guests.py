"""Solvers of other packages: what they hand over has the form that was asked for, or is refused by their name.

Nothing of it is believed. But points without the form of points cannot even be judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from ufm_convex._deadline import OutOfTime
from ufm_convex._registry import full_name, is_own
from ufm_convex.errors import PluginError, UFMError, shown
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DualPoint, GramPoint
from ufm_convex.solvers.base import Claim, Solver, SolverRun


def runs(
    chosen: Solver, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]
) -> Iterator[SolverRun]:
    """The runs of a solver; of one of another package each is looked at, and what it raises is said to be its own.

    Raises:
        PluginError: it raises an exception, or hands over what is no run, or points of other shapes.
    """
    made = _made(chosen, problem, level, tolerance, options)
    return made if is_own(type(chosen)) else _looked_at(made, chosen, problem)


def _made(
    chosen: Solver, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]
) -> Iterator[SolverRun]:
    found: object = chosen.runs(problem, level, tolerance, options)
    if not isinstance(found, Iterable):
        _refuse(chosen, f"hands over {shown(found)} as its runs")
    yield from found


def _looked_at(made: Iterator[SolverRun], chosen: Solver, problem: Problem) -> Iterator[SolverRun]:
    while True:
        try:
            run = next(made)
        except StopIteration:
            return
        except (UFMError, MemoryError, OutOfTime):
            raise
        except Exception as error:  # whatever the code of somebody else raises
            _refuse(chosen, f"raises {type(error).__name__}: {error}", error)
        if wrong := fault(run, problem):
            _refuse(chosen, f"hands over {wrong}")
        yield run


def fault(run: object, problem: Problem) -> str | None:
    """What is wrong with the form of a run, which may be one of a solver that was asked in turn; None if nothing is."""
    if not isinstance(run, SolverRun):
        return f"{shown(run)} for a run"
    claim: object = run.claim
    if not isinstance(claim, Claim):
        return f"a run with the claim {shown(claim)}"
    outputs, columns = problem.num_outputs, problem.num_columns
    square, table, gram = (outputs, outputs), (outputs, columns), (columns, columns)
    wanted: dict[str, tuple[object, tuple[int, int]]] = {}
    if isinstance(run.point, GramPoint):
        wanted |= {
            "weight_gram": (run.point.weight_gram, square),
            "logits": (run.point.logits, table),
            "feature_gram": (run.point.feature_gram, gram),
        }
    if isinstance(run.dual, DualPoint):
        wanted |= {"residuals": (run.dual.residuals, table), "nonnegativity": (run.dual.nonnegativity, gram)}
    for key, (array, shape) in wanted.items():
        if not _has(array, shape):
            return f"{key} as {_form(array)}, where floating-point numbers of shape {shape} are due"
    return None


def _has(array: object, shape: tuple[int, int]) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.shape == shape


def _form(array: object) -> str:
    return f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else shown(array)


def _refuse(chosen: Solver, found: str, cause: Exception | None = None) -> NoReturn:
    raise PluginError(
        f"solver {chosen.name!r} ({full_name(type(chosen))}) {found}.",
        expected="each run a SolverRun, with points of the problem's shapes (docs/solvers.md, section 7)",
        fix="mend that solver, or name another one.",
    ) from cause
