"""Solutions of an exported programme: between our points and the variables of the file, and as JSON files.

A solution file has the fields ``format``, ``version``, ``problem_sha256``, ``level`` and ``values``; the values are all
variables in the order of the file (``conic_benchmark``). What the solver says of them may stand beside: ``status``,
``value``, ``dual_value`` and ``dual`` (``claims``), and nothing else. Reading trusts nothing: another problem, another
length, a NaN, an unknown or doubled field, or a file that was cut short is a named error.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, frozen, real
from ufm_convex._files import read_text, write_atomically
from ufm_convex.errors import FileFormatError, ProblemError, ShapeError, UFMError, shown
from ufm_convex.interchange.claims import FIELDS, Claims
from ufm_convex.interchange.conic_benchmark import evaluate, num_values, pack, unpack
from ufm_convex.interchange.programmes import ConicProgramme, programme
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, AxesPoint, Columns, DualPoint, Factors, FramePoint, Gram, GramPoint
from ufm_convex.solution import Solution

FORMAT, VERSION = "ufm-convex-cbf-solution", 1
_FIELDS = {"format", "version", "problem_sha256", "level", "values"}


@dataclass(frozen=True, eq=False)
class ConicSolution:
    """Values of all variables of an exported programme, from whatever solver; nothing about them is checked but form.

    Attributes:
        problem: The problem that was exported.
        level: The level it was exported at.
        values: The variables in the order of the file; finite.
        claims: What the solver says of them.
    """

    problem: Problem
    level: str
    values: FloatArray
    claims: Claims = field(default_factory=Claims)

    @property
    def point(self) -> GramPoint | Gram:
        """``point_from_cbf``."""
        return point_from_cbf(self.problem, self.level, self.values)

    @property
    def level_point(self) -> GramPoint | Gram:
        """The point as the file has it: at level sample A (K, K), L (K, N) and B (N, N), with nothing averaged."""
        model = programme(self.problem, self.level)
        point = model.point(unpack(model, self.values))
        return point if self.level == "group" else point.full()

    @property
    def objective(self) -> float:
        """The objective of the file at all its variables, t included, in the units of the problem."""
        return evaluate(programme(self.problem, self.level), self.values)[0]

    @property
    def cone_violation(self) -> float:
        """How far t and s are from the exponential cones and Σ s ≤ 1, as a share of one; 0 if they are inside."""
        return evaluate(programme(self.problem, self.level), self.values)[1]


def cbf_solution(problem: Problem, solution: Solution, level: str = "class") -> FloatArray:
    """Values of all variables of the exported programme at the point of a solution.

    Args:
        problem: The problem.
        solution: A solution of it, of whatever solver and level.
        level: Level of the exported programme.

    Raises:
        ProblemError: the solution is one of another problem.
        UFMError: as ``export_cbf``.
    """
    if solution.problem != problem:
        raise ProblemError(
            f"the solution is one of {shown(solution.problem)}.",
            expected="a solution of the problem that is given",
            fix="pass solution.problem, or solve the problem.",
        )
    model = programme(problem, level)
    if level == "group":
        return pack(model, model.blocks(_grouped(model.level(problem), solution.point)))
    maps = model.level.maps(problem)
    return pack(model, model.blocks(maps.refine(Gram.mean(maps.coarse, solution.evidence.dense_point()))))


def point_from_cbf(problem: Problem, level: str, values: npt.ArrayLike) -> GramPoint | Gram:
    """The point that the variables of an exported programme stand for; t and s do not enter it.

    Returns:
        A, L and B at class level, as (K, K) matrices; at level group as a ``relaxation.Gram``. Samples are replaced by
        their class means, which does not raise the objective. Nothing is repaired.

    Raises:
        ShapeError: there is not one number for each variable.
        ProblemError: a value is not a finite number.
        UFMError: as ``export_cbf``.
    """
    model = programme(problem, level)
    return model.level.reported(problem, model.point(unpack(model, _checked(model, values))))


def save_cbf_solution(
    path: str | Path,
    problem: Problem,
    level: str,
    values: npt.ArrayLike,
    *,
    status: str | None = None,
    value: float | None = None,
    dual_value: float | None = None,
    dual: DualPoint | None = None,
) -> None:
    """Write a solution file, whole or not at all.

    Args:
        path: The file.
        problem: The problem that was exported.
        level: The level it was exported at.
        values: All variables, in the order of the exported file.
        status: What the solver claims, a word of ``solvers.Claim``; None for a claim of optimality.
        value: The optimal value that it reports, in the units of the problem.
        dual_value: The dual objective that it reports, likewise.
        dual: Its dual point at class level.

    Raises:
        UFMError: as ``point_from_cbf`` and ``Claims.checked``.
        FileFormatError: the file cannot be written.
    """
    claims = Claims.checked(problem.num_classes, status, value, dual_value, dual)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "problem_sha256": problem.sha256,
        "level": level,
        "values": _checked(programme(problem, level), values).tolist(),
        **claims.fields(),
    }
    write_atomically(Path(path), json.dumps(document, allow_nan=False) + "\n")


def load_cbf_solution(path: str | Path, problem: Problem) -> ConicSolution:
    """Read a solution file of a problem.

    Raises:
        FileFormatError: the file is missing, truncated, not of this format, or holds anything else than finite numbers
            of the right length, one a variable, and claims in their form.
        ProblemError: it belongs to another problem.
        UFMError: as ``export_cbf``.
    """
    document = _read(Path(path))
    if document["problem_sha256"] != problem.sha256:
        raise ProblemError(
            f"{path} has problem_sha256 {shown(document['problem_sha256'])}.",
            expected=f"{problem.sha256}, that of the problem",
            fix="give the problem that was exported; every bit of the decays, counts and weights matters.",
        )
    level, values = document["level"], document["values"]
    if not isinstance(level, str) or not isinstance(values, list):
        raise _malformed(path, f"level is {shown(level)} and values is {shown(values)}")
    model = programme(problem, level)
    try:
        claims = Claims.of_fields(problem.num_classes, document)
        return ConicSolution(problem, level, frozen(_checked(model, values)), claims)
    except (ShapeError, ProblemError, FileFormatError) as error:
        raise _malformed(path, error.got.rstrip(".")) from error


def _grouped(columns: Columns, point: GramPoint | FramePoint | Gram) -> Gram:
    """The point on orbits of alike classes, without K × K arrays where it has none."""
    if isinstance(point, Gram):
        return point
    if isinstance(point, GramPoint):
        return Gram.mean(columns, point)
    if isinstance(point, AxesPoint):
        return Gram.mean(columns, point.dense())
    V, m = columns.outputs, columns.columns
    eta, omega = m.mean(point.eta), m.mean(point.omega)
    own = Alike.matched(V, m, V.members[columns.rows])
    frame = own.scaled(None, omega) - Alike.matrix(V, m, np.tile(omega / V.total, (V.size, 1)))
    return Factors(frame, Alike.diagonal(m, eta)).gram()


def _checked(model: ConicProgramme, values: npt.ArrayLike) -> FloatArray:
    """The values as an array; ``ShapeError`` or ``ProblemError`` unless there is a finite number for each variable."""
    wanted = num_values(model)
    given = _given.entries("values", values, ProblemError, expected=f"{wanted} finite numbers")
    if not isinstance(given, list) or len(given) != wanted:
        length = f"{len(given)} entries" if isinstance(given, list) else shown(given)
        raise ShapeError(
            f"values has {length}.",
            expected=f"{wanted} numbers, one for each variable of the file at level {model.level.name!r}",
            fix="give the lower triangle of each PSD block row by row, then the scalar variables.",
        )
    numbers = [real(value) for value in given]
    bad = next((k for k, number in enumerate(numbers) if not math.isfinite(number)), None)
    if bad is not None:
        raise ProblemError(
            f"entry {bad} of values is {shown(given[bad])}.",
            expected="finite numbers",
            fix="a solver that failed leaves no values; look at its status.",
        )
    return np.array(numbers)


def _read(path: Path) -> dict[str, Any]:
    """The fields of a solution file, of which only the names, the format and the version are checked."""
    try:
        document = json.loads(read_text(path), object_pairs_hook=_once, parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise _malformed(path, f"it cannot be read: {error}") from error
    if not isinstance(document, dict) or not _FIELDS <= set(document) <= _FIELDS | set(FIELDS):
        raise _malformed(path, f"it holds {shown(sorted(document) if isinstance(document, dict) else document)}")
    if document["format"] != FORMAT or document["version"] is True or document["version"] != VERSION:
        raise _malformed(path, f"it has format {shown(document['format'])}, version {shown(document['version'])}")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different."""
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return dict(pairs)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number of JSON")


def _malformed(path: str | Path, reason: str) -> UFMError:
    return FileFormatError(
        f"{path}: {reason}.",
        expected=f"one JSON object with {', '.join(sorted(_FIELDS))}, and perhaps {', '.join(FIELDS)}",
        fix="write it with save_cbf_solution, or as docs/solution_files.md says.",
    )
