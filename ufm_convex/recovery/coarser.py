"""Starts of descents from coarser problems: neighbouring orbits merged, their optimum read off between the merged ones.

Where a loss tells classes apart by their counts alone, the logits of an optimum are a function of the counts of two
classes, and a smooth one but where features vanish. So the optimum of a problem of few orbits with mean counts, which
takes thousandths of the time, is a start for the problem whose counts all differ: between the merged counts, and a
little beyond the outer ones, logits are interpolated in the logarithm of the count. Each problem starts from one of
half as many orbits (full multigrid: Brandt, Math. Comp. 31, 1977). Nothing is claimed for a start but that a descent
may begin there.

Shapes: as in ``relaxation``; C' and R' orbits of the coarser problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ufm_convex import _deadline
from ufm_convex._arrays import FloatArray
from ufm_convex.problem import Problem
from ufm_convex.recovery.descending import balanced, descend, escape
from ufm_convex.recovery.restoring import promised_gap, restored, right_pairs
from ufm_convex.recovery.starts import rays
from ufm_convex.relaxation import (
    Alike,
    Columns,
    Factors,
    dual_value,
    num_groups,
    of_groups,
    of_merged,
    scaled_residuals,
)

_FEWEST = 30
"""Orbits of the coarsest problem, at least."""
_FINER = 0.3
"""Share of the gap that is wanted of the finest problem, to which coarser ones are solved."""
_STEPS, _TRIES = 100, 2
_TURNS = 2.0
"""How far the logarithm of the weight may move along rising counts, in units of its range."""
_ROUNDING = 1e-12
_SAFE = 3.0
"""How many times its likely error below 1 a singular value of P may be that counts as 1."""


def coarse_start(problem: Problem, columns: Columns, gap: float) -> Factors | None:
    """Factors near the optimum over free features; None where there are too few orbits to merge, or no neighbours.

    Args:
        problem: A problem with free features, all of whose classes the loss treats alike.
        columns: Its columns, single classes or groups.
        gap: The gap relative to the excess that is wanted. Where a start comes with it, no finer problem is solved.
    """
    if not _neighbours(problem):
        return None
    found: tuple[Columns, Factors] | None = None
    for coarse in _ladder(problem):
        start = _at_rays(coarse) if found is None else prolonged(*found, coarse, problem.floor)
        near = found is not None and promised_gap(coarse, start, problem.floor) <= gap
        found = coarse, _descended(coarse, start, problem.floor, _FINER * gap)
        if near or _deadline.passed():
            break
    return None if found is None else prolonged(*found, columns, problem.floor)


def _neighbours(problem: Problem) -> bool:
    """Whether classes of nearly equal counts have nearly equal weights: weights that rise and fall once, at most.

    Where groups differ in their weights alone, these are no function of the count, in which logits are interpolated.
    """
    groups = of_groups(problem)
    logs = np.log(groups.loss_weights / groups.feature_weights)
    moves = np.abs(np.diff(logs))
    moved, still = float(moves.sum()), np.diff(groups.feature_weights) == 0.0
    return not (moves[still] > _ROUNDING).any() and moved <= _TURNS * float(np.ptp(logs)) + _ROUNDING * logs.size


def _ladder(problem: Problem) -> Iterator[Columns]:
    """Coarser problems, from the coarsest on, each of twice as many orbits."""
    numbers, number = [], num_groups(problem) // 2
    while number >= _FEWEST:
        numbers.append(number)
        number //= 2
    yield from (of_merged(problem, number) for number in reversed(numbers))


def _at_rays(columns: Columns) -> Factors:
    found = balanced(columns, rays(columns), np.zeros(columns.outputs.size) if columns.bias.size else None)
    return escape(columns, found) or found


def _descended(columns: Columns, found: Factors, floor: float, gap: float) -> Factors:
    """The end of a descent that stops at a gap, and goes on where features at zero would lower the objective."""

    def enough(factors: Factors) -> bool:
        return promised_gap(columns, factors, floor) <= gap

    for _ in range(_TRIES):
        found, _ = descend(columns, found, _STEPS, enough=enough)
        above = None if _deadline.passed() or enough(found) else escape(columns, found)
        if above is None:
            break
        found = above
    return found


def prolonged(coarse: Columns, factors: Factors, fine: Columns, floor: float = 0.0) -> Factors:
    """The smallest factors of interpolated logits, and their bias, without what the interpolation made up."""
    places = _between(np.log(coarse.feature_weights), np.log(fine.feature_weights))
    mine, theirs = _own(fine), _own(coarse)
    rows = np.zeros((fine.outputs.size, coarse.outputs.size))
    rows[np.ix_(mine, theirs)] = places
    absent = np.setdiff1d(np.arange(coarse.outputs.size), theirs)  # outputs of classes without samples
    rows[np.ix_(np.setdiff1d(np.arange(fine.outputs.size), mine), absent)] = 1.0
    logits = factors.logits
    matched = np.empty(coarse.columns.size)
    matched[logits.rows.paired(logits.cols).column] = logits.matches
    even = rows @ logits.even @ places.T
    own = Alike.matched(fine.outputs, fine.columns, mine)
    excess = places @ matched - even[mine, np.arange(fine.columns.size)]
    found = Alike.matrix(fine.outputs, fine.columns, even) + own.scaled(None, excess)
    bias = None if factors.bias is None else fine.bias.canonical(rows @ factors.bias)
    return balanced(fine, _quieted(fine, found, bias, floor), bias)


def _between(known: FloatArray, wanted: FloatArray) -> FloatArray:
    """What rising places have of the value at each wanted place, (wanted, known): linear, and beyond the ends, too."""
    weights, each = np.zeros((wanted.size, known.size)), np.arange(wanted.size)
    left = np.clip(np.searchsorted(known, wanted) - 1, 0, known.size - 2)
    width = known[left + 1] - known[left]
    share = np.where(width > 0.0, (wanted - known[left]) / np.where(width > 0.0, width, 1.0), 0.0)
    share = np.clip(share, -1.0, 2.0)
    weights[each, left], weights[each, left + 1] = 1.0 - share, share
    return weights


def _own(columns: Columns) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Orbit of the own output of each orbit of columns, (C,)."""
    return np.asarray(columns.outputs.members[columns.loss.own_outputs(columns.rows)])


def _quieted(columns: Columns, logits: Alike, bias: FloatArray | None, floor: float) -> Alike:
    """The logits, or those without directions of features that do not pay at them, whichever are worth more.

    A direction pays where its singular value of P is 1. In logits that are off by ε it is off by ε, too, and the gap by
    ε²: from 1 minus the root of the gap on it may be one that pays.
    """
    root, value = np.sqrt(columns.feature_weights), _worth(columns, logits, bias)
    gap = value - dual_value(columns, restored(columns, logits, bias))
    margin = _SAFE * math.sqrt(max(gap, 0.0) / (value - floor)) if value > floor else 1.0
    X = logits.scaled(None, root)
    P = scaled_residuals(columns, columns.residuals(columns.outputs_of(logits, bias)))
    blocks = []
    for whole, block in ((X.trivial, P.trivial), (X.standard, P.standard)):
        values, right = right_pairs(block)
        kept = right * (values >= 1.0 - margin)[..., None, :]
        blocks.append((whole @ kept) @ np.swapaxes(kept, -1, -2))
    quiet = Alike.from_blocks(logits.rows, logits.cols, *blocks).scaled(None, 1.0 / root)
    return quiet if _worth(columns, quiet, bias) < value else logits


def _worth(columns: Columns, logits: Alike, bias: FloatArray | None) -> float:
    """The objective of the smallest factors of these logits: their penalty is √(λ_W λ_H) ‖X‖_*."""
    X = logits.scaled(None, columns.sigma)
    repeats = X.rows.symmetry[X.rows.large] - 1.0
    norm = float(right_pairs(X.trivial)[0].sum()) + float(repeats @ right_pairs(X.standard)[0].sum(axis=-1))
    value = float(columns.orbit_weights @ columns.values(columns.outputs_of(logits, bias))) + norm
    return value if bias is None else value + columns.bias.penalty(bias)
