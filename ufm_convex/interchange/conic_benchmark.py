"""Conic Benchmark Format, version 3: the text, and its variables at a point.

Order of the variables, here and in solution files: the lower triangle of each PSD block row by row, then the scalars,
column by column: t, the s of the own class, the s of the differences. Order of the scalar constraints: B ≥ 0, then
Σ s ≤ 1 for each column, then the exponential cones. docs/interchange.md says what each means and where readers trip.

Source: H. A. Friberg, "CBLIB 2014: a benchmark library for conic mixed-integer and continuous optimization",
Math. Program. Comput. 8 (2016), and the specification of CBF version 3 at cblib.zib.de.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._files import write_atomically
from ufm_convex.errors import ProblemError
from ufm_convex.interchange.programmes import ConicProgramme, Form, LossColumn, programme
from ufm_convex.problem import Problem

Rows = list[str]


def export_cbf(problem: Problem, level: str = "class") -> str:
    """The relaxation of a problem in Conic Benchmark Format, version 3.

    The optimal value of the file is the optimum divided by its ``objective_scale``, which a comment of the file
    states, as it does the level and the problem's SHA-256. Numbers are written so that reading gives them back exactly.

    Args:
        problem: The problem; its loss is cross-entropy, or a table of soft targets. A binding ``feature_dim`` is no
            part of the relaxation.
        level: "sample", "class" or "group".

    Raises:
        HypothesisError: the loss is not cross-entropy, or the level is one of alike classes, which a table has not.
        UnknownNameError: there is no such level.
        SizeError: the Gram matrix would be too large for the level.
        ProblemError: the ratio of a class weight and the decays leaves the range of binary64.
    """
    model = programme(problem, level)
    cones, psd_objective, objective, psd_entries, entries, constants = _body(model)
    scalars = sum(column.num_scalars for column in model.losses())
    rows = sum(int(cone.split()[1]) for cone in cones)
    lines = [
        "# unconstrained feature model, Gram relaxation, written by ufm-convex",
        f"# level {model.level.name}",
        f"# problem_sha256 {problem.sha256}",
        f"# objective_scale {model.objective_scale!r}",
        "",
        *("VER", "3", "", "OBJSENSE", "MIN", ""),
        *_section("PSDVAR", [str(order) for order in model.orders]),
        *("VAR", f"{scalars} 1", f"F {scalars}", ""),
        *("CON", f"{rows} {len(cones)}", *cones, ""),
        *_section("OBJFCOORD", psd_objective),
        *_section("OBJACOORD", objective),
        *_section("FCOORD", psd_entries),
        *_section("ACOORD", entries),
        *_section("BCOORD", constants),
    ]
    return "\n".join(lines)


def save_cbf(path: str | Path, problem: Problem, level: str = "class") -> None:
    """Write ``export_cbf`` to a file, whole or not at all; raises as it does, or ``FileFormatError``."""
    write_atomically(Path(path), export_cbf(problem, level))


def pack(model: ConicProgramme, blocks: Sequence[FloatArray]) -> FloatArray:
    """All variables at given blocks, with the smallest t and the s that belong to it."""
    matrices = [0.5 * (block + block.T) for block in blocks]
    values = [np.concatenate([block[np.tril_indices(block.shape[0])] for block in matrices])]
    for column in model.losses():
        differences = [sum(c * matrices[b][r, k] for (b, r, k), c in form.items()) for form in column.differences]
        exponents = np.array([0.0, *differences]) + np.log([1.0, *column.multiplicities])
        peak = exponents.max()
        t = peak + math.log(np.exp(exponents - peak).sum())
        values += [np.array([t]), np.exp(exponents - t)]
    return np.concatenate(values)


def unpack(model: ConicProgramme, values: FloatArray) -> list[FloatArray]:
    """The blocks among the variables."""
    blocks, start = [], 0
    for order in model.orders:
        lower = np.zeros((order, order))
        size = order * (order + 1) // 2
        lower[np.tril_indices(order)] = values[start : start + size]
        blocks.append(lower + np.tril(lower, -1).T)
        start += size
    return blocks


def evaluate(model: ConicProgramme, values: FloatArray) -> tuple[float, float]:
    """The objective of the programme at all its variables, times its scale, and how far they violate its cones.

    The second is the largest of exp(d + log m − t) − s and Σ s − 1, which are shares of one; B ≥ 0 and Z ⪰ 0 are said
    by the blocks alone.
    """
    blocks = unpack(model, values)
    total = sum(c * blocks[b][r, k] for (b, r, k), c in model.penalty().items())
    violation, start = 0.0, sum(order * (order + 1) // 2 for order in model.orders)
    with np.errstate(over="ignore"):
        for column in model.losses():
            t, shares = values[start], values[start + 1 : start + column.num_scalars]
            start += column.num_scalars
            d = np.array([sum(c * blocks[b][r, k] for (b, r, k), c in form.items()) for form in column.differences])
            aimed = float(np.multiply(column.multiplicities, column.targets) @ d)
            total += column.weight * (float(t) - aimed)
            needed = np.exp(np.array([0.0, *d]) + np.log([1.0, *column.multiplicities]) - t)
            violation = max(violation, float((needed - shares).max()), float(shares.sum()) - 1.0)
    return float(model.objective_scale * total), min(violation, sys.float_info.max)


def num_values(model: ConicProgramme) -> int:
    """Number of variables, a block of order n counted as n (n + 1)/2."""
    triangles = sum(order * (order + 1) // 2 for order in model.orders)
    return triangles + sum(column.num_scalars for column in model.losses())


def _body(model: ConicProgramme) -> tuple[Rows, Rows, Rows, Rows, Rows, Rows]:
    """Cones, and the lines of OBJFCOORD, OBJACOORD, FCOORD, ACOORD and BCOORD."""
    columns, signs = list(model.losses()), list(model.nonnegative())
    linear = dict(model.penalty())
    objective: Rows = []
    psd_entries = [line for row, form in enumerate(signs) for line in _psd(form, f"{row} ")]
    entries: Rows = []
    constants: Rows = []
    exponentials = len(signs) + len(columns)
    scalar, row = 0, exponentials
    for i, column in enumerate(columns):
        _add_targets(linear, column)
        objective.append(f"{scalar} {_number(column.weight)}")
        constants.append(f"{len(signs) + i} 1.0")
        for k, (form, m) in enumerate(zip(({}, *column.differences), (1.0, *column.multiplicities), strict=True)):
            share = scalar + 1 + k
            entries += [f"{len(signs) + i} {share} -1.0", f"{row} {share} 1.0", f"{row + 2} {scalar} -1.0"]
            psd_entries += _psd(form, f"{row + 2} ")
            constants.append(f"{row + 1} 1.0")
            constants += [f"{row + 2} {_number(math.log(m))}"] if m != 1.0 else []
            row += 3
        scalar += column.num_scalars
    cones = [f"L+ {exponentials}"] + ["EXP 3"] * ((row - exponentials) // 3)
    return cones, _psd(linear, ""), objective, psd_entries, entries, constants


def _add_targets(linear: dict[tuple[int, int, int], float], column: LossColumn) -> None:
    """Take w Σ m y d off the objective."""
    for form, m, y in zip(column.differences, column.multiplicities, column.targets, strict=True):
        share = column.weight * y
        for entry, coefficient in form.items() if share else ():
            linear[entry] = linear.get(entry, 0.0) - share * m * coefficient


def _psd(form: Form, prefix: str) -> Rows:
    """Coefficient lines: CBF pairs symmetric matrices, so an off-diagonal coefficient counts twice and is halved."""
    return [f"{prefix}{b} {r} {c} {_number(value if r == c else 0.5 * value)}" for (b, r, c), value in form.items()]


def _number(value: float) -> str:
    """The shortest text that reads back as the same number; ``ProblemError`` for one beyond the range of binary64."""
    if not math.isfinite(value):
        raise ProblemError(
            "the scaled programme has a coefficient beyond the range of binary64.",
            expected="decays, counts and class weights whose ratios stay below 1e308",
            fix="bring class weights and decays nearer to each other; their common factor does not matter.",
        )
    return repr(value)


def _section(keyword: str, lines: Sequence[str]) -> Rows:
    """A section with the number of its lines; an empty one is left out."""
    return [keyword, str(len(lines)), *lines, ""] if lines else []
