"""How solutions are shown, of whatever kind of problem: as one JSON object, and as a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ufm_convex.cli import contrastive, record, render

if TYPE_CHECKING:
    from ufm_convex.solution import Outcome


def show(solution: Outcome) -> None:
    """Print the solution on stdout."""
    _view(solution).show(solution)


def solution_record(solution: Outcome) -> dict[str, Any]:
    """The fields of ``solve --json``."""
    found: dict[str, Any] = _record(solution).solution_record(solution)
    return found


def as_json(solution: Outcome) -> str:
    """The solution as JSON, one line."""
    return json.dumps(solution_record(solution), allow_nan=False)


def _is_plain(solution: Outcome) -> bool:
    from ufm_convex.solution import Solution

    return isinstance(solution, Solution)


def _view(solution: Outcome) -> Any:
    return render if _is_plain(solution) else contrastive


def _record(solution: Outcome) -> Any:
    return record if _is_plain(solution) else contrastive
