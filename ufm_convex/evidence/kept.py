"""A solver's run as plain arrays and words, so that a solution can be kept in a file and proved again from there.

What is kept is what the solver left, unrepaired: bounds are not kept but proved anew by ``gather``, so that a file is
believed no more than a solver. Points keep the form they have (frames, matrices on orbits, full arrays); orbits that
two matrices share are one again when they are read. ``Kind`` says what a kind of problem keeps; the rest is one.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ufm_convex import _given
from ufm_convex._arrays import real
from ufm_convex._files import write_atomically
from ufm_convex.errors import FileFormatError, ProblemError, UFMError, shown
from ufm_convex.evidence.base import Evidence, Representation
from ufm_convex.evidence.gathering import gather
from ufm_convex.evidence.merged import MergedEvidence, spread_out
from ufm_convex.problem import Model, Problem
from ufm_convex.relaxation import (
    Alike,
    AxesDual,
    AxesPoint,
    Dual,
    DualPoint,
    Factors,
    FrameDual,
    FramePoint,
    Gram,
    GramPoint,
    Orbits,
)
from ufm_convex.solvers import Claim, SolverRun

Arrays = dict[str, npt.NDArray[Any]]

FORMAT, VERSION = "ufm-convex-solution", 1
_HEADER = "header"
_WORDS = {"value", "tolerance", "route", "seconds", "time_limit"}
_POINTS = ("point", "dual", "factors")
_LINES = {"solver", "level", "claim", "message"}
"""Fields of a run that are text; the others are numbers or None, ``continued_by`` text or None."""
_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (Alike, AxesDual, AxesPoint, Dual, DualPoint, Factors, FrameDual, FramePoint, Gram, GramPoint, Orbits)
}
"""What points are made of; nothing else is made from a file."""
P = TypeVar("P", bound=Model)
R = TypeVar("R")
E = TypeVar("E")


@dataclass(frozen=True)
class Kind(Generic[P, R]):
    """What is kept of a kind of problem.

    Attributes:
        problem: Its class.
        run: The class of what a solver leaves, a dataclass; its fields ``point``, ``dual`` and ``factors`` are points.
        parts: Name → class, for what points are made of.
        owner: The class whose ``save`` writes it, as messages have it.
    """

    problem: type[P]
    run: type[R]
    parts: Mapping[str, type]
    owner: str

    @property
    def points(self) -> tuple[str, ...]:
        """Names of the fields of a run that hold points."""
        return tuple(one.name for one in fields(self.run) if one.name in _POINTS)  # type: ignore[arg-type]

    def malformed(self, path: Path, why: str) -> FileFormatError:
        """The error for a file of another kind, or a damaged one."""
        return FileFormatError(
            f"{path}: {why}.",
            expected=f"a file of {self.owner}.save",
            fix=f"write it again with {self.owner}.save.",
        )


def _direct() -> Kind[Problem, SolverRun]:
    return Kind(Problem, SolverRun, _KINDS, "Solution")


def save(problem: Problem, run: SolverRun, found: Evidence, path: str | Path, words: Mapping[str, Any]) -> None:
    """See ``Solution.save``; ``words`` are what else is kept of the solution."""
    _checked(Path(path))
    if not isinstance(found, Representation | MergedEvidence):
        raise ProblemError(
            "the solution is one with norm bounds, whose run is that of a problem with penalties.",
            expected="a problem with decays",
            fix="keep certify(problem, solution=solution).save(path), which has its bounds with their proofs.",
        )
    write(_direct(), problem, run, path, words)


def write(kind: Kind[P, R], problem: P, run: R, path: str | Path, words: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all.

    Raises:
        FileFormatError: it has another suffix, or cannot be written.
        ProblemError: the problem cannot be written, as ``Problem.to_toml``.
    """
    target = _checked(Path(path))
    tree, arrays = pack(run, kind)
    header = {"format": FORMAT, "version": VERSION, "problem": problem.to_toml(), "run": tree, **words}
    buffer = io.BytesIO()
    np.savez(buffer, **{_HEADER: np.array(json.dumps(header))}, **arrays)  # type: ignore[arg-type]  # of np.savez
    write_atomically(target, buffer.getvalue())


def load(path: str | Path) -> tuple[Evidence, dict[str, Any]]:
    """The evidence, proved anew, and the words of ``save``."""

    def proved(problem: Problem, run: SolverRun, tolerance: float) -> Evidence:
        merged, column = problem.merged  # the run is that of the merged problem
        found = gather(merged, run, tolerance)
        return found if merged is problem else spread_out(problem, found, column)

    return read(_direct(), path, proved)


def read(kind: Kind[P, R], path: str | Path, prove: Callable[[P, R, float], E]) -> tuple[E, dict[str, Any]]:
    """What ``prove`` makes of the problem, the run and the tolerance of a file of ``write``, and its words.

    Raises:
        FileFormatError: the file cannot be read, is not one of ``write``, or its points do not fit its problem.
        UFMError: as ``from_toml`` of the problem.
    """
    source = Path(path)
    header, arrays = _read(source, kind)
    if set(header) != {"format", "version", "problem", "run", *_WORDS} or header["format"] != FORMAT:
        raise kind.malformed(source, f"it is no file of {kind.owner}.save")
    if header["version"] != VERSION:
        raise kind.malformed(source, f"it has version {shown(header['version'])}")
    try:
        words = _plain(header)
        problem = kind.problem.from_toml(header["problem"], source=str(source))
        return prove(problem, unpack(header["run"], arrays, kind), words["tolerance"]), words
    except UFMError:
        raise
    except Exception as error:  # whatever points of other shapes do to repair and proof: no file of ``write`` has them
        why = f"its points do not fit its problem ({type(error).__name__}: {error})"
        raise kind.malformed(source, why) from error


def _plain(header: Mapping[str, Any]) -> dict[str, Any]:
    """Value, tolerance, route and times; raises ``ProblemError`` or ``ValueError`` for what they cannot be."""
    value, spent, limit = (header[name] for name in ("value", "seconds", "time_limit"))
    numbers = [one for one in (value, spent, limit) if one is not None]
    route = header["route"]
    words = isinstance(route, list) and all(isinstance(line, str) for line in route)
    if value is None or spent is None or not words or any(math.isnan(real(one)) for one in numbers):
        raise ValueError("value, seconds and route are numbers and lines of text")
    tolerance = _given.tolerance(header["tolerance"])
    limit = None if limit is None else real(limit)
    return {
        "value": real(value),
        "tolerance": tolerance,
        "route": tuple(route),
        "seconds": real(spent),
        "time_limit": limit,
    }


def _read(path: Path, kind: Kind[P, R]) -> tuple[dict[str, Any], Arrays]:
    try:
        with _checked(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop(_HEADER)[()]))
    except (OSError, ValueError, KeyError, EOFError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        raise kind.malformed(path, f"it cannot be read: {error}") from error
    if not isinstance(header, dict):
        raise kind.malformed(path, "its header is no object")
    return header, arrays


def _checked(path: Path) -> Path:
    """The path; raises ``FileFormatError`` for another suffix, which NumPy would add silently or not understand."""
    if path.suffix.lower() != ".npz":
        raise FileFormatError(f"{path} does not end in .npz.", expected="a file FILE.npz", fix="name it so.")
    return path


def pack(run: R, kind: Kind[P, R] | None = None) -> tuple[dict[str, Any], Arrays]:
    """The run as a tree of plain values, and the arrays that it names; without a kind, the run of a solver."""
    kept: Kind[Any, R] = kind or _direct()  # type: ignore[assignment]
    writer = _Writer(kept.parts)
    stated = [one.name for one in fields(kept.run)]  # type: ignore[arg-type]
    plain = {name: getattr(run, name) for name in stated if name not in kept.points}
    tree = {**plain, "claim": str(plain["claim"]), **{name: writer.node(getattr(run, name)) for name in kept.points}}
    return tree, writer.arrays


def unpack(tree: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], kind: Kind[P, R] | None = None) -> R:
    """The run that ``pack`` took apart.

    Raises:
        ValueError: a field or a class is missing, unknown, or of another kind, or a number is not finite.
        KeyError: an array is missing.
    """
    kept: Kind[Any, R] = kind or _direct()  # type: ignore[assignment]
    if set(tree) != {one.name for one in fields(kept.run)}:  # type: ignore[arg-type]
        raise ValueError("the run has other fields")
    reader = _Reader(arrays, kept.parts)
    points = {name: reader.node(tree[name]) for name in kept.points}
    words = {name: value for name, value in tree.items() if name not in kept.points}
    for name, value in words.items():
        kinds: tuple[type, ...] = (str,) if name in _LINES else (int, float, type(None))
        if type(value) not in (kinds if name != "continued_by" else (str, type(None))):
            raise ValueError(f"{name} is {value!r}")
    return kept.run(**{**words, "claim": Claim(tree["claim"]), **points})


class _Writer:
    """Arrays get names, and orbits that have been met are named by their number."""

    def __init__(self, parts: Mapping[str, type]) -> None:
        self.parts = parts
        self.arrays: Arrays = {}
        self.orbits: list[Orbits] = []

    def node(self, value: Any) -> Any:
        """The value as plain words; its arrays by name."""
        if isinstance(value, np.ndarray):
            name = f"a{len(self.arrays)}"
            self.arrays[name] = value
            return {"array": name}
        kind = type(value).__name__
        if kind not in self.parts:
            return value
        if isinstance(value, Orbits):
            known = next((i for i, one in enumerate(self.orbits) if one is value), None)
            if known is not None:
                return {"orbits": known}
            self.orbits.append(value)
        parts = {one.name: self.node(getattr(value, one.name)) for one in fields(self.parts[kind]) if one.init}
        return {"class": kind, "parts": parts}


class _Reader:
    """The same way back; orbits are numbered in the order in which they are met."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]], parts: Mapping[str, type]) -> None:
        self.arrays, self.parts = arrays, parts
        self.orbits: list[Orbits] = []

    def node(self, value: Any) -> Any:
        """What the writer made these words of."""
        if not isinstance(value, dict):
            if value is not None and type(value) is not int:
                raise ValueError(f"{value!r} stands for no part of a point")
            return value
        if set(value) == {"array"}:
            return self._array(value["array"])
        if set(value) == {"orbits"}:
            return self.orbits[value["orbits"]]
        if set(value) != {"class", "parts"} or value["class"] not in self.parts:
            raise ValueError(f"{sorted(value)} stands for no part of a point")
        kind = self.parts[value["class"]]
        place = len(self.orbits)
        if kind is Orbits:
            self.orbits.append(Orbits.of([1], [0]))  # its number is taken before its parts are read
        made = kind(**{name: self.node(part) for name, part in value["parts"].items()})
        if kind is Orbits:
            self.orbits[place] = made
        return made

    def _array(self, name: str) -> npt.NDArray[Any]:
        array = self.arrays[name]
        if array.dtype.kind not in "fi" or not np.isfinite(array).all():
            raise ValueError(f"the array {name} holds something else than finite numbers")
        return array
