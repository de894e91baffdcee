"""Low-rank descent: minimise over W and H themselves, then let duality tell whether the end is global.

The problem in (W, H) is not convex, but its stationary points carry their own test. With P = U D^{-1/2} at the end of
the descent and free features, ‖P‖ ≤ 1 proves a global minimum; if ‖P‖ > 1, the end is a saddle (W = H = 0 is one that
attracts symmetric starts) and the top singular pair of P is a direction down, along which the descent starts again.
With H ≥ 0, or with fewer dimensions than the optimum needs, there are spurious minima: several starts are made and the
best is returned, an upper bound; the repaired residuals may or may not prove it (docs/factored.md, section 3).

At group level W and H are alike on alike classes, as an optimum may be taken (docs/levels.md, section 7), so that any
number of classes in G groups costs O(G³) a step.

Burer, Monteiro, Math. Program. 95, 2003; Haeffele, Vidal, arXiv:1506.07540 (global optimality of factorised problems).

Shapes: W (K, d), H (K, d). Units: the scaled variables of ``recovery.Scaled``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ufm_convex import _deadline
from ufm_convex._arrays import FloatArray, whole
from ufm_convex.errors import HypothesisError, ProblemError, SizeError, shown
from ufm_convex.problem import Problem
from ufm_convex.recovery import (
    Scaled,
    balanced,
    coarse_start,
    descend,
    escape,
    largest_singular,
    promised_gap,
    rays,
)
from ufm_convex.relaxation import (
    Alike,
    Columns,
    Dual,
    Factors,
    Orbits,
    num_groups,
    objective,
    of_classes,
    of_groups,
)
from ufm_convex.solvers.base import Claim, Solver, SolverRun
from ufm_convex.solvers.frame import ray_start

_LARGEST = 2_000
_LARGEST_ORBITS = 1_000
_MANY = 20
"""Groups from which on a descent on them takes less time than a conic solver."""
_WIDE_CLASSES = 24
"""Largest K for which "auto" makes several wide starts with non-negative features; beyond, they end in traps."""
_SCHEDULE = ((1e-5, 1e-3, 1_000), (1e-8, 1e-6, 10_000))
"""Largest entry of the gradient, relative to the size of an entry of (w, h), at which a descent stops; ‖P‖ − 1 from
which its end counts as a saddle; iterations allowed. Both bounds lose the square of either number, once the repair has
restored the active constraints.
"""
_STAGES = (100, 200, 400, 800, 1600, 3200)
"""Iterations before each run at group level: what is enough shows in the gap, which the caller proves."""
_ORBIT_ACCURACY = 1e-5
_RESTARTS = 20
_FILL = 1e-3
"""Every direction starts with this share of the largest: a direction with none would stay without."""
_LONG = 150
"""Classes, or orbits, from which on a descent stops as soon as its own residuals prove it, whatever its gradient is,
and starts from a coarser problem.
"""
_SHARE = 0.1
"""Of the tolerance: what is proved is a little worse than what binary64 says, and W and H are rounded."""
_FINER = 0.01
"""The same share of that, where the proof of what was enough says otherwise."""
_STARTS = 4
_NO_BETTER = 1e-9
"""A start whose end is lower by this share only found the same end again."""


class FactoredSolver(Solver):
    """Descent on W and H with restarts at saddles, and the dual point read off the residuals."""

    name: ClassVar[str] = "factored"
    levels: ClassVar[tuple[str, ...]] = ("class", "group")
    rank: ClassVar[int] = 8
    group_rank: ClassVar[int] = 5
    in_process: ClassVar[bool] = True
    long_steps: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("finite",)
    instead: ClassVar[str] = "use a conic solver, or with non-negative features the solver 'frame'."

    @classmethod
    def installed(cls) -> bool:
        """Always."""
        return True

    def default_level(self, problem: Problem) -> str:
        """Group level for free features where it halves many orbits, or class level would be too large."""
        orbits = _orbits(problem)
        worth_it = _size(problem) > _LARGEST or (orbits >= _MANY and 2 * orbits <= problem.num_classes)
        return "group" if worth_it and orbits <= _LARGEST_ORBITS else "class"

    def priority(self, problem: Problem, level: str) -> int:
        """Of many groups a descent is over before a conic solver has built its programme."""
        return self.group_rank if _MANY <= _orbits(problem) <= _LARGEST_ORBITS else self.rank

    def suits(self, problem: Problem, level: str) -> str | None:
        """Unless a level was asked for: free features and K ≤ 2000 or few groups, non-negative ones and K ≤ 24.

        A loss with kinks, on which descent stalls, is tried only where ``feature_dim`` leaves little else.
        """
        if level != "auto":
            return None
        if not problem.loss.differentiable and problem.feature_dim is None:
            return None
        if not problem.nonnegative:
            small = _size(problem) <= _LARGEST or _orbits(problem) <= _LARGEST_ORBITS
            return "free features have no spurious minima" if small else None
        return "several starts find an upper bound" if problem.num_classes <= _WIDE_CLASSES else None

    def options(self) -> tuple[str, ...]:
        """Two: how many descents, and the seed of their starting points."""
        return "starts", "seed"

    def check_options(self, options: Mapping[str, Any]) -> None:
        """See ``Solver.check_options``; both are integers."""
        super().check_options(options)
        for name, least in (("starts", 1), ("seed", 0)):
            number = whole(options.get(name, least))
            if number is None or number < least:
                raise ProblemError(
                    f"option {name} of solver 'factored' is {shown(options[name])}.",
                    expected=f"an integer >= {least}",
                    fix=f"write {{'{name}': {least}}}, or leave it out.",
                )

    def runs(self, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]) -> Iterator[SolverRun]:
        """A loose descent from each start, as long as that finds lower ends, and a tight one from the lowest.

        Args:
            problem: The problem; ``feature_dim`` is the d of the descent, else K, and 4K for non-negative features.
            level: "class", or "group" for free features.
            tolerance: Relative gap at which a long descent stops; accuracy is quadratic in the gradient.
            options: ``starts``, their number (4 where there may be spurious minima, else 1), and their ``seed``.

        Raises:
            SizeError: K > 2000 at class level.
            ProblemError: another option is given.
            HypothesisError: the group level was asked for a problem that it has no form for.
        """
        self.check_options(options)
        if level == "group":
            _require_orbits(problem, options)
            yield from _orbit_runs(problem, _SHARE * tolerance)
            return
        starts, seed = _starts_and_seed(problem, options)
        started, columns, gap = time.perf_counter(), of_classes(problem), _SHARE * tolerance
        near, d = _near(problem, columns, gap), problem.feature_dim or _width(problem)
        scaled = Scaled(columns, Orbits.single(d) if near is None else near.W.cols)
        generator = np.random.default_rng(seed)
        loose, tight = _SCHEDULE
        long = not problem.nonnegative and problem.num_classes >= _LONG
        promise = _Promise(problem, scaled)
        enough, sure = (partial(promise.within, part * gap) if long else None for part in (1.0, _FINER))
        best, lowest, iterations = None, np.inf, 0
        for start in _starts(scaled, starts, generator, near):
            end, steps = _descend(scaled, start, *loose, enough)
            iterations += steps
            value = scaled.value_and_gradient(end)[0]
            if best is None or value < lowest - _NO_BETTER * abs(lowest):
                best, lowest = end, value
                yield _run(scaled, best, iterations, *loose[:2], time.perf_counter() - started)
                started = time.perf_counter()
            _deadline.check()
        if best is not None:
            best, steps = _descend(scaled, best, *tight, sure)
            yield _run(scaled, best, iterations + steps, *tight[:2], time.perf_counter() - started)


def _has_orbits(problem: Problem) -> bool:
    return problem.loss.alike and not problem.nonnegative and problem.feature_dim is None


def _orbits(problem: Problem) -> float:
    """The number of groups, where a descent may use them; else infinite."""
    return num_groups(problem) if _has_orbits(problem) else math.inf


def _require_orbits(problem: Problem, options: Mapping[str, Any]) -> None:
    """Raise ``HypothesisError`` for what the descent on groups has no form for, ``ProblemError`` for any option."""
    if options:
        raise ProblemError(
            f"solver 'factored' was given the options {', '.join(sorted(options))} at group level.",
            expected="none: there is one start",
            fix="leave them out.",
        )
    if not _has_orbits(problem):
        raise HypothesisError(
            "the problem has features of one sign, a feature_dim, or a loss that tells classes apart.",
            expected="free features, without feature_dim, for a descent at group level",
            fix="use the level 'class', or a conic solver.",
        )


def _starts_and_seed(problem: Problem, options: Mapping[str, Any]) -> tuple[int, int]:
    K = _size(problem)
    if K > _LARGEST:
        raise SizeError(
            f"solver 'factored' needs K × K arrays, a few dozen of them, K = {K}.",
            expected=f"at most {_LARGEST} classes",
            fix="let the solver be 'auto', which solves classes that share their counts as groups.",
        )
    least = min(problem.num_outputs, problem.num_classes)
    spurious = problem.nonnegative or (problem.feature_dim or least) < least - 1
    starts, seed = whole(options.get("starts")), whole(options.get("seed"))
    return starts or (_STARTS if spurious else 1), seed or 0


def _width(problem: Problem) -> int:
    """D where it is not binding: min(V, m) suffices for free features; non-negative ones meet fewer traps with more."""
    return 4 * problem.num_classes if problem.nonnegative else min(problem.num_outputs, problem.num_classes)


def _size(problem: Problem) -> int:
    """K, or the larger of V and m."""
    return max(problem.num_outputs, problem.num_classes)


# -- where to start -----------------------------------------------------------------------------------------------


def _near(problem: Problem, columns: Columns, gap: float) -> Factors | None:
    """Where a coarser problem ends; None where descents are short, or classes are no neighbours of one another."""
    if not (_has_orbits(problem) and problem.loss.differentiable and num_groups(problem) >= _LONG):
        return None
    return coarse_start(problem, columns, gap)


def _starts(
    scaled: Scaled, number: int, generator: np.random.Generator, near: Factors | None = None
) -> Iterator[FloatArray]:
    """What is near, or the class-by-class optimum on the rays −∇l(0), first, then random points of the size of that."""
    if near is not None:
        yield scaled.pack(near)
        if number == 1:
            return
    columns, d = scaled.columns, scaled.coordinates.total
    X = _ray_logits(columns) * (columns.sigma / scaled.kappa)
    left, values, right = np.linalg.svd(X, full_matrices=False)
    if columns.nonnegative:
        yield _filled(scaled, *_frame_start(X, d))
    elif near is None:
        share = np.sqrt(values[:d] + _FILL * values[0])
        w, h = np.zeros((X.shape[0], d)), np.zeros((X.shape[1], d))
        w[:, : share.size], h[:, : share.size] = left[:, :d] * share, right[:d].T * share
        yield _filled(scaled, w, h)
    size = np.sqrt(max(float(values.mean()), _FILL))
    for _ in range(number - 1):
        w, h = generator.normal(scale=size, size=(X.shape[0], d)), generator.normal(scale=size, size=(X.shape[1], d))
        yield _filled(scaled, w, np.abs(h) if columns.nonnegative else h)


def _filled(scaled: Scaled, w: FloatArray, h: FloatArray) -> FloatArray:
    """Scaled variables of single orbits with b = 0."""
    return np.concatenate([w.ravel(), h.ravel(), np.zeros(scaled.columns.bias.size)])


def _split(scaled: Scaled, flat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(w, h) of single orbits, views."""
    (cut, end), d = scaled.cuts, scaled.coordinates.total
    return flat[:cut].reshape(-1, d), flat[cut:end].reshape(-1, d)


def _ray_logits(columns: Columns) -> FloatArray:
    """Logits on the rays −∇l(0), each as long as is best for a class on its own; 0 for classes that do not pay."""
    price, shape = columns.sigma / columns.loss_weights, (columns.outputs.total, columns.columns.total)
    gradient = columns.loss.residuals(np.zeros(shape), columns.layout)
    active = np.flatnonzero(np.linalg.norm(gradient, axis=0) > price)
    logits = np.zeros(shape)
    if active.size:
        logits[:, active] = ray_start(columns.loss, columns.layout[active], price[active], gradient[:, active])[0]
    return logits


def _frame_start(X: FloatArray, d: int) -> tuple[FloatArray, FloatArray]:
    """One coordinate a class, the d longest columns of X; the rest of H is a little positive."""
    lengths = np.linalg.norm(X, axis=0)
    kept = np.argsort(-lengths, kind="stable")[: min(d, lengths.size)]
    root = np.sqrt(lengths[kept])
    w, h = np.zeros((X.shape[0], d)), np.full((X.shape[1], d), _FILL * np.sqrt(lengths.max()))
    slots = np.arange(kept.size)
    h[kept, slots] += root
    w[:, slots] = X[:, kept] / np.where(root > 0.0, root, 1.0)
    return w, h


# -- descent ------------------------------------------------------------------------------------------------------


class _Promise:
    """The gap that residuals at scaled variables promise to prove; asked of the same ones again, it knows.

    What is asked is no bound but a reason to stop; the proof judges the end.
    """

    def __init__(self, problem: Problem, scaled: Scaled) -> None:
        self._scaled, self._floor = scaled, problem.floor
        self._last: tuple[FloatArray, float] | None = None

    def within(self, gap: float, flat: FloatArray) -> bool:
        """Whether a descent to that gap may stop there."""
        if self._last is None or not np.array_equal(self._last[0], flat):
            promised = promised_gap(self._scaled.columns, self._scaled.unpack(flat), self._floor)
            self._last = flat.copy(), promised
        return self._last[1] <= gap


def _descend(
    scaled: Scaled,
    flat: FloatArray,
    gradient: float,
    excess: float,
    limit: int,
    enough: Callable[[FloatArray], bool] | None = None,
) -> tuple[FloatArray, int]:
    """Descent, and again from a step down the top singular pair as long as the end is a saddle."""
    iterations = 0
    if enough is not None and enough(flat):
        return flat, 0
    for _ in range(_RESTARTS):
        size = float(np.linalg.norm(flat)) / np.sqrt(flat.size)
        flat, steps = scaled.minimise(flat, limit, gradient * max(size, _FILL), enough=enough)
        iterations += steps
        done = _deadline.passed() or (enough is not None and enough(flat))
        below = None if done else _leave_saddle(scaled, flat, excess)
        if below is None:
            break
        flat = below
    return flat, iterations


def _leave_saddle(scaled: Scaled, flat: FloatArray, excess: float) -> FloatArray | None:
    """A lower point along the top singular pair of P in the shortest coordinate, or None where ‖P‖ is about 1.

    Along (q, −v) the objective changes by t² (1 − ‖P‖) + O(t⁴).
    """
    if scaled.columns.nonnegative:
        return None
    left, values, right = np.linalg.svd(scaled.pull(scaled.unpack(flat)).even)
    if values[0] <= 1.0 + excess:
        return None
    here = scaled.value_and_gradient(flat)[0]
    w, h = _split(scaled, flat)
    shortest = int(np.argmin((w * w).sum(axis=0) + (h * h).sum(axis=0)))
    step = 1.0
    while step > 1e-8:
        trial = flat.copy()
        w, h = _split(scaled, trial)
        w[:, shortest] += step * left[:, 0]
        h[:, shortest] -= step * right[0]
        if scaled.value_and_gradient(trial)[0] < here:
            return trial
        step *= 0.5
    return None


def _run(
    scaled: Scaled, flat: FloatArray, iterations: int, gradient: float, excess: float, seconds: float
) -> SolverRun:
    """The record of an end: Gram matrices, residuals, and whether ‖P‖ ≤ 1 says that it is a global minimum."""
    columns, factors = scaled.columns, scaled.unpack(flat)
    if factors.bias is not None:
        factors = Factors(factors.W, factors.H, columns.bias.canonical(factors.bias))
    message, globally = "the best of the starts, an upper bound", False
    if not columns.nonnegative:
        norm = largest_singular(scaled.pull(factors))
        globally = norm <= 1.0 + excess
        message = f"‖U D^(-1/2)‖ = {norm:.9f}" + ("" if globally else ": " + message)
    V = columns.residuals(columns.outputs_of(factors.logits, factors.bias))
    return SolverRun(
        solver="factored",
        level="class",
        claim=Claim.OPTIMAL if globally else Claim.STOPPED,
        message=message,
        point=factors.gram().full(),
        dual=Dual(V).full(),
        factors=factors,
        value=scaled.kappa * scaled.value_and_gradient(flat)[0],
        accuracy=gradient,
        iterations=iterations,
        seconds=seconds,
    )


# -- at group level -----------------------------------------------------------------------------------------------


def _orbit_runs(problem: Problem, gap: float) -> Iterator[SolverRun]:
    """Runs of more and more iterations, from a coarser problem or the best points on the rays −∇l(0).

    Those of many orbits stop at a gap, and where the proof says otherwise the next one is smaller.
    """
    columns, started, iterations = of_groups(problem), time.perf_counter(), 0
    near, long = _near(problem, columns, gap), columns.columns.size >= _LONG
    found = near or balanced(columns, rays(columns), np.zeros(columns.outputs.size) if columns.bias.size else None)
    above = None if near else escape(columns, found)

    def promised(factors: Factors) -> float:
        return promised_gap(columns, factors, problem.floor) if long else math.inf

    left = promised(found)
    for limit in _STAGES:
        steps = 0
        if left > gap:
            enough = (lambda factors, most=gap: promised(factors) <= most) if long else None
            found, steps = descend(columns, above or found, limit, enough=enough)
            left = promised(found)
        iterations += steps
        yield _orbit_run(columns, found, iterations, time.perf_counter() - started)
        started = time.perf_counter()
        above = escape(columns, found)
        if steps < limit and above is None and left > gap:
            return
        gap *= _FINER


def _orbit_run(columns: Columns, found: Factors, iterations: int, seconds: float) -> SolverRun:
    P: Alike = Scaled(columns, found.W.cols).pull(found)
    norm = largest_singular(P)
    return SolverRun(
        solver="factored",
        level="group",
        claim=Claim.OPTIMAL if norm <= 1.0 + _ORBIT_ACCURACY else Claim.STOPPED,
        message=f"‖U D^(-1/2)‖ = {norm:.9f}",
        point=found.gram(),
        dual=Dual(columns.residuals(columns.outputs_of(found.logits, found.bias))),
        factors=found,
        value=objective(columns, found),
        accuracy=_ORBIT_ACCURACY,
        iterations=iterations,
        seconds=seconds,
    )
