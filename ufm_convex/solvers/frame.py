"""Orthogonal frames: K small convex problems instead of one large one, and a sign test that proves them right.

If class means are non-negative and pairwise orthogonal, the problem separates into

    φ_k = min_z  pt_k l_k(z) + σ_k ‖z‖,      ‖h_k‖² = √(λ_W / (λ_H n_k)) ‖z_k‖,      W = Σ_k z_k h_kᵀ / ‖h_k‖².

With u_k = pt_k ∇l_k(z_k), so that ‖u_k‖ = σ_k for active classes (z_k ≠ 0) and ≤ σ_k for collapsed ones, T = −offdiag G
is a feasible multiplier when u_k·u_l ≤ 0, and the frame is then *globally* optimal for every d that holds the active
classes (docs/frame.md, section 2). The test is run on every problem, and when it fails the run says so.

A loss that sees margins only needs one number a class, and O(K) in all; any other loss needs K × K arrays. So does a
bias: Σ_k φ_k(b) + g(b) is convex in b, is minimised over it, and the test is run on the losses with that b.

Shapes: logits (K, m), one column a class. Units: the small problems are divided by pt_k, so ρ_k = σ_k / pt_k is the
price of a logit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from ufm_convex import _deadline, theory
from ufm_convex._arrays import BoolArray, FloatArray, IntArray
from ufm_convex.errors import HypothesisError, SizeError
from ufm_convex.losses import Layout, Loss
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, Columns, DualPoint, FrameDual, FramePoint, GramPoint, margin_loss, of_classes
from ufm_convex.solvers.base import Claim, Solver, SolverRun

_DENSE_LIMIT = 4_000
"""Largest K for which K problems in K variables are solved: a dozen K × K arrays of 128 MB."""
_ACCURACY = 1e-9
"""Residual of the small problems relative to σ_k; both bounds lose its square only."""
_BIASED_LIMIT = 200
"""Largest K for which "auto" looks for the best bias: some dozens of rounds of K small problems."""
_SIGN = 1e-8
"""Cosines u_k·u_l / (σ_k σ_l) up to here count as ≤ 0; a larger one, if harmless, is found out by the proof."""
_MAX_ITERATIONS = 2_000
_MAX_BIAS_STEPS = 200
_MEMORY = 5
_DOUBLINGS = 64


class FrameSolver(Solver):
    """Global optimality of a separable orthogonal frame, by the sign test of docs/frame.md, section 2."""

    name: ClassVar[str] = "frame"
    levels: ClassVar[tuple[str, ...]] = ("class",)
    rank: ClassVar[int] = 5
    in_process: ClassVar[bool] = True

    @classmethod
    def installed(cls) -> bool:
        """Always."""
        return True

    def suits(self, problem: Problem, level: str) -> str | None:
        """Non-negative features, unless a level was asked for; K ≤ 4000 and no kinks unless the loss sees margins."""
        if level != "auto" or not problem.nonnegative:
            return None
        if _sees_margins_alone(problem):
            return "the loss sees margins only: one number a class"
        if not (problem.loss.differentiable or not problem.loss.finite):
            return None
        if max(problem.num_outputs, problem.num_classes) > (_DENSE_LIMIT if problem.bias is None else _BIASED_LIMIT):
            return None
        return f"{problem.num_classes} small problems, if an orthogonal frame is optimal"

    def runs(self, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]) -> Iterator[SolverRun]:
        """One run.

        Raises:
            HypothesisError: the features are free; their optimum is no orthogonal frame.
            SizeError: K > 4000 and the loss needs K × K arrays.
            ProblemError: an option is given; there are none.
        """
        self.check_options(options)
        _check(problem)
        yield _margin_run(problem) if _sees_margins_alone(problem) else _dense_run(problem)


def _check(problem: Problem) -> None:
    if not problem.nonnegative:
        raise HypothesisError(
            f'features is "{problem.features}", and an orthogonal frame is optimal only among non-negative ones.',
            expected='features="nonnegative"',
            fix="let the solver be 'auto'.",
        )
    size = max(problem.num_outputs, problem.num_classes)
    if size > _DENSE_LIMIT and not _sees_margins_alone(problem):
        raise SizeError(
            f"solver 'frame' with loss {problem.loss.name!r} needs K × K arrays, K = {size}.",
            expected=f"at most {_DENSE_LIMIT} classes, or a loss that sees margins only",
            fix="let the solver be 'auto', which solves classes that share their counts as groups.",
        )


def _sees_margins_alone(problem: Problem) -> bool:
    return problem.loss.margins_only and theory.has_idle_bias(problem)


# -- losses that see margins only ---------------------------------------------------------------------------------


def _margin_run(problem: Problem) -> SolverRun:
    """The frame class by class: min over m ≥ 0 of pt ψ(m) + σ √((K−1)/K) m, whose residual has strength q(m)."""
    started = time.perf_counter()
    K, loss = problem.num_classes, margin_loss(problem)
    radius = problem.prices * math.sqrt(K / (K - 1))
    distinct, which = np.unique(radius, return_inverse=True)
    found = _margins(loss, distinct, K)
    margins, nothing = np.where(problem.class_counts > 0, found[which], 0.0), np.zeros(1)
    at_zero = float(loss.margin_strengths(nothing, K)[0])
    if not np.isfinite(margins).all() or at_zero < 0.0:
        reason = "the loss grows with the own logit" if at_zero < 0.0 else "a margin has no finite optimum"
        seconds = time.perf_counter() - started
        return SolverRun("frame", "class", Claim.FAILED, f"frame refused: {reason}", seconds=seconds)
    terms = problem.loss_weights * loss.margin_values(found, K)[which]
    terms += problem.sigma * math.sqrt((K - 1) / K) * margins
    margins, complete = _fit_dimension(problem, margins, problem.loss_weights * loss.margin_values(nothing, K) - terms)
    return SolverRun(
        solver="frame",
        level="class",
        claim=Claim.OPTIMAL if complete else Claim.STOPPED,
        message="u_k·u_l <= 0 for all pairs" if complete else "more active classes than dimensions: bounds only",
        point=_frame_point(problem, margins),
        dual=FrameDual(np.where(problem.class_counts > 0, np.minimum(radius, at_zero), 0.0)),
        value=math.fsum(terms),
        dual_value=-math.fsum(problem.loss_weights * loss.margin_conjugates(np.minimum(distinct, at_zero), K)[which]),
        accuracy=float(np.finfo(float).eps),
        seconds=time.perf_counter() - started,
    )


def _margins(loss: Loss, radius: FloatArray, num_classes: int) -> FloatArray:
    """M with q(M) = radius, or 0 where q(0) ≤ radius; NaN where q stays above. q falls with M, by convexity."""

    def excess(margins: FloatArray) -> FloatArray:
        return loss.margin_strengths(margins, num_classes) / radius - 1.0

    low, high = np.zeros(radius.size), np.ones(radius.size)
    collapsed = excess(low) <= 0.0
    for _ in range(_DOUBLINGS):
        short = ~collapsed & (excess(high) > 0.0)
        if not short.any():
            break
        low, high = np.where(short, high, low), np.where(short, 2.0 * high, high)
    else:
        return np.where(short, np.nan, 0.0)
    return np.where(collapsed, 0.0, decreasing_root(excess, low, high))


def _fit_dimension(problem: Problem, margins: FloatArray, gains: FloatArray) -> tuple[FloatArray, bool]:
    """The margins with all but the ``feature_dim`` most gainful classes put to 0, and whether none had to be."""
    dimension = problem.feature_dim or problem.num_classes
    if np.count_nonzero(margins) <= dimension:
        return margins, True
    kept = np.zeros(margins.size, dtype=bool)
    kept[np.argsort(-gains, kind="stable")[:dimension]] = True
    return np.where(kept, margins, 0.0), False


def _frame_point(problem: Problem, margins: FloatArray) -> FramePoint:
    """η² = M / (c √n) and ω² = c √n M with c = √(K λ_H / ((K−1) λ_W)), by fourth roots: c itself may overflow."""
    K = problem.num_classes
    root_scale = (K / (K - 1)) ** 0.25 * math.sqrt(math.sqrt(problem.lambda_h)) / math.sqrt(math.sqrt(problem.lambda_w))
    spread = problem.class_counts.astype(np.float64) ** 0.25 * root_scale
    return FramePoint(np.sqrt(margins) / np.where(spread > 0.0, spread, 1.0), np.sqrt(margins) * spread)


def decreasing_root(function: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray) -> FloatArray:
    """Roots of decreasing functions, elementwise, by Chandrupatla's method (Adv. Eng. Softw. 28, 1997).

    Args:
        function: Maps x to f(x), elementwise.
        low: Where f > 0.
        high: Where f ≤ 0.
    """
    x1, x2 = low, high
    f1, f2 = function(low), function(high)
    t = np.full(low.size, 0.5)
    for _ in range(200):
        x = x1 + t * (x2 - x1)
        f = function(x)
        same = np.signbit(f) == np.signbit(f1)
        x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
        x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
        x1, f1 = x, f
        width = np.abs(x2 - x1)
        least = 2.0 * np.finfo(float).eps * np.maximum(np.abs(x1), np.abs(x2)) + np.finfo(float).tiny
        settled = (width <= 2.0 * least) | (f1 == 0.0)
        if settled.all():
            break
        t = _interpolation(x1, x2, x3, f1, f2, f3)
        share = np.minimum(least / np.where(width > 0.0, width, np.inf), 0.5)
        t = np.clip(t, share, 1.0 - share)
    return np.where(np.abs(f1) < np.abs(f2), x1, x2)


def _interpolation(
    x1: FloatArray, x2: FloatArray, x3: FloatArray, f1: FloatArray, f2: FloatArray, f3: FloatArray
) -> FloatArray:
    """Where to look next between x1 (t = 0) and x2 (t = 1): inverse quadratic where it is safe, else the middle."""
    d32, g32 = x3 - x2, f3 - f2
    proper = (d32 != 0.0) & (g32 != 0.0) & (f3 != f1) & (f2 != f1) & np.isfinite(f1 + f2 + f3)
    xi = np.where(proper, (x1 - x2) / np.where(proper, d32, 1.0), 0.0)
    phi = np.where(proper, (f1 - f2) / np.where(proper, g32, 1.0), 1.0)
    proper &= (phi**2 < xi) & ((1.0 - phi) ** 2 < 1.0 - xi)
    f21, f31 = np.where(proper, f2 - f1, 1.0), np.where(proper, f3 - f1, 1.0)
    x21, x31, g32 = np.where(proper, x2 - x1, 1.0), x3 - x1, np.where(proper, g32, 1.0)
    guess = f1 / f21 * f3 / g32 * -1.0 + x31 / x21 * f1 / f31 * f2 / g32
    return np.where(proper, guess, 0.5)


# -- any other loss -----------------------------------------------------------------------------------------------


def _dense_run(problem: Problem) -> SolverRun:
    """The small problems side by side, at the best bias if there is one, then the sign test."""
    started = time.perf_counter()
    columns = of_classes(problem)
    layout, price = columns.layout, columns.sigma / columns.loss_weights
    bias = _best_bias(columns) if columns.bias.size else None
    loss = problem.loss if bias is None else _Offset(problem.loss, bias)
    if (indicator := problem.loss.indicator) is not None:
        logits, iterations, solved = indicator.shortest(layout), None, True
        residuals = -logits * (price / np.linalg.norm(logits, axis=0))
    else:
        logits, iterations, solved = separable_optimum(loss, layout, price)
        residuals = loss.residuals(logits, layout)
    scaled = residuals / price
    cosines = scaled.T @ scaled
    off_diagonal = cosines - np.diag(np.diag(cosines))
    T = np.maximum(-off_diagonal, 0.0) * np.outer(columns.sigma, columns.sigma)
    lengths = np.linalg.norm(logits, axis=0)
    refusal = _refusal(off_diagonal, np.diag(cosines), lengths > 0.0, columns.columns.positions)
    values = columns.loss_weights * loss.values(logits, layout) + columns.sigma * lengths
    outputs, sort = columns.outputs, columns.columns
    return SolverRun(
        solver="frame",
        level="class",
        claim=Claim.INACCURATE if refusal or not solved else Claim.OPTIMAL,
        message=refusal or ("u_k·u_l <= 0 for all pairs" if solved else "iteration limit"),
        point=_gram_point(columns, logits, lengths, bias),
        dual=DualPoint(Alike.matrix(outputs, sort, residuals).full(), Alike.matrix(sort, sort, T).full()),
        value=math.fsum(values) + (0.0 if bias is None else columns.bias.penalty(bias)),
        accuracy=_ACCURACY,
        iterations=iterations,
        seconds=time.perf_counter() - started,
        continued_by="factored" if refusal else None,
    )


def _refusal(cosines: FloatArray, squares: FloatArray, active: BoolArray, classes: IntArray) -> str:
    """Why the frame is not proved optimal, or ""; ``classes`` names those of the columns.

    Pairs of collapsed classes may have u_k·u_l > 0 as long as their block of D − G − T stays positive semidefinite.
    """
    positive = cosines > _SIGN
    wrong = positive & (active[:, None] | active)
    if wrong.any():
        k, l = np.unravel_index(int(np.argmax(np.where(wrong, cosines, -np.inf))), cosines.shape)  # noqa: E741
        pairs = int(np.count_nonzero(wrong)) // 2
        names = f"classes {classes[k]} and {classes[l]}"
        return f"frame refused: u_k·u_l > 0 for {names} ({pairs} pairs, cosine {cosines[k, l]:.1e})"
    rest = np.flatnonzero(~active & positive.any(axis=1))
    if rest.size:
        block = np.diag(1.0 - squares[rest]) - np.maximum(cosines[np.ix_(rest, rest)], 0.0)
        if np.linalg.eigvalsh(block)[0] < -_SIGN:
            which = f"{rest.size} collapsed classes, {classes[rest[0]]} among them"
            return f"frame refused: D - G - T is indefinite on {which}"
    return ""


def _gram_point(columns: Columns, logits: FloatArray, lengths: FloatArray, bias: FloatArray | None) -> GramPoint:
    """L = [z_k], B = Diag(‖h_k‖²), A = W Wᵀ with W = [z_k / ‖h_k‖]."""
    ratio = math.sqrt(columns.lambda_w) / math.sqrt(columns.lambda_h) / np.sqrt(columns.feature_weights)
    eta = np.sqrt(ratio * lengths)
    W = logits / np.where(eta > 0.0, eta, 1.0)
    outputs, sort = columns.outputs, columns.columns
    L = Alike.matrix(outputs, sort, logits).full()
    return GramPoint(W @ W.T, L, Alike.diagonal(sort, eta**2).full(), bias)


class _Smooth(Protocol):
    """What the small problems ask of a loss."""

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """See ``Loss.values``."""

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """See ``Loss.residuals``."""


@dataclass(frozen=True, eq=False)
class _Offset:
    """The loss of z + b, as a loss of z."""

    loss: Loss
    bias: FloatArray

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """l(z + b)."""
        return self.loss.values(z + self.bias[:, None], layout)

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """∇l(z + b)."""
        return self.loss.residuals(z + self.bias[:, None], layout)


def _best_bias(columns: Columns) -> FloatArray:
    """Argmin over b of Σ φ_k(b) + g(b), whose gradient is U1 + λ_b b; 0 where a loss has no gradient to follow."""
    from scipy.optimize import minimize

    start = np.zeros(columns.outputs.total)
    if not columns.loss.differentiable:  # every small problem would take its limit of iterations, in every round
        return start
    price = columns.sigma / columns.loss_weights
    unit = float(columns.loss_weights.sum()) + columns.bias.curvature

    def value_and_gradient(bias: FloatArray) -> tuple[float, FloatArray]:
        loss = _Offset(columns.loss, bias)
        logits, _, _ = separable_optimum(loss, columns.layout, price)
        values = columns.loss_weights * loss.values(logits, columns.layout)
        value = float((values + columns.sigma * np.linalg.norm(logits, axis=0)).sum()) + columns.bias.penalty(bias)
        sums, _ = columns.sums(Alike.matrix(columns.outputs, columns.columns, loss.residuals(logits, columns.layout)))
        return value / unit, (sums + columns.bias.curvature * bias) / unit

    options = {"maxiter": _MAX_BIAS_STEPS, "ftol": 1e-16, "gtol": _ACCURACY}
    found: FloatArray = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x
    return columns.bias.canonical(found)


def separable_optimum(loss: _Smooth, layout: Layout, price: FloatArray) -> tuple[FloatArray, int, bool]:
    """Argmin over z of l_k(z) + ρ_k ‖z‖ for all classes at once.

    Proximal gradient with Barzilai–Borwein steps, one a column, and a non-monotone test of decrease (SpaRSA: Wright,
    Nowak, Figueiredo, IEEE Trans. Signal Process. 57, 2009). Columns that are solved are set aside.

    Args:
        loss: Any convex loss; for one that is not differentiable the result is a good point and no more.
        layout: Single outputs, one column a class.
        price: ρ > 0, (m,).

    Returns:
        Logits (K, m), the number of iterations, and whether every column met the accuracy.
    """
    logits = np.zeros((len(layout.target), price.size))
    gradient = loss.residuals(logits, layout)
    todo = np.flatnonzero(np.linalg.norm(gradient, axis=0) > price)
    z, step = ray_start(loss, layout[todo], price[todo], gradient[:, todo])
    state = _Columns(loss, layout[todo], price[todo], z, step)
    for iteration in range(1, _MAX_ITERATIONS + 1):
        _deadline.check()
        solved = state.advance()
        if solved.any():
            logits[:, todo[solved]] = state.z[:, solved]
            todo = todo[~solved]
            state.keep(~solved)
        if todo.size == 0:
            return logits, iteration, True
    logits[:, todo] = state.z
    return logits, _MAX_ITERATIONS, False


def ray_start(loss: _Smooth, layout: Layout, price: FloatArray, gradient: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The best point on each ray −∇l(0), exact for a loss that sees margins only, and a first step size."""
    ray = -gradient / np.linalg.norm(gradient, axis=0)

    def excess(lengths: FloatArray) -> FloatArray:
        return -(loss.residuals(ray * lengths, layout) * ray).sum(axis=0) - price

    low, high = np.zeros(price.size), np.ones(price.size)
    for _ in range(_DOUBLINGS):
        short = excess(high) > 0.0
        if not short.any():
            break
        low, high = np.where(short, high, low), np.where(short, 2.0 * high, high)
    for _ in range(4):
        middle = 0.5 * (low + high)
        above = excess(middle) > 0.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    # near the optimum the curvature is of the order of the price
    return ray * high, 1.0 / price


class _Columns:
    """The state of the columns that are not solved yet: points, gradients, steps, and the last few objectives."""

    def __init__(self, loss: _Smooth, layout: Layout, price: FloatArray, z: FloatArray, step: FloatArray) -> None:
        self.loss, self.layout, self.price, self.z, self.step = loss, layout, price, z, step
        self.gradient = loss.residuals(z, layout)
        self.history = np.tile(self._objective(z, np.linalg.norm(z, axis=0)), (_MEMORY, 1))

    def _objective(self, z: FloatArray, lengths: FloatArray) -> FloatArray:
        return self.loss.values(z, self.layout) + self.price * lengths

    def advance(self) -> BoolArray:
        """One step of every column; True for the columns that are solved."""
        y = self.z - self.step * self.gradient
        lengths = np.linalg.norm(y, axis=0)
        shrunk = np.maximum(lengths - self.step * self.price, 0.0)
        y *= shrunk / np.where(lengths > 0.0, lengths, 1.0)
        move = y - self.z
        square = (move * move).sum(axis=0)
        objective = self._objective(y, shrunk)
        rounding = 1e-13 * np.abs(objective)
        accepted = objective <= self.history.max(axis=0) - 1e-4 * square / (2.0 * self.step) + rounding
        new_gradient = self.loss.residuals(y, self.layout)
        curvature = (move * (new_gradient - self.gradient)).sum(axis=0)
        # on [z, y] the residual of the optimality condition is (y − z)/step plus the change of the gradient
        error = np.sqrt(square) / self.step + np.linalg.norm(new_gradient - self.gradient, axis=0)
        solved: BoolArray = accepted & (error <= _ACCURACY * self.price)
        secant = np.where(curvature > 0.0, square / np.where(curvature > 0.0, curvature, 1.0), 2.0 * self.step)
        ahead = np.clip(secant, 0.1 * self.step, 10.0 * self.step)
        self.step = np.where(accepted, ahead, 0.5 * self.step)
        self.z = np.where(accepted, y, self.z)
        self.gradient = np.where(accepted, new_gradient, self.gradient)
        self.history = np.vstack([self.history[1:], np.where(accepted, objective, self.history[-1])])
        return solved

    def keep(self, kept: BoolArray) -> None:
        """Drop the other columns."""
        self.layout, self.price, self.step = self.layout[kept], self.price[kept], self.step[kept]
        self.z, self.gradient, self.history = self.z[:, kept], self.gradient[:, kept], self.history[:, kept]
