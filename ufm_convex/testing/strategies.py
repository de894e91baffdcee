"""Hypothesis strategies: problems, candidates, feasible points of the primal and the dual, spurious minima.

Matrices have small integer entries times one scale, so that a failing example shrinks to few
classes, small counts and sparse arrays. Whatever a strategy promises (a class exactly at the threshold, feasibility,
stationarity) holds by construction, not by filtering.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ufm_convex import theory
from ufm_convex._arrays import FloatArray, IntArray, real
from ufm_convex.candidate import Candidate
from ufm_convex.class_counts import validate_class_counts
from ufm_convex.errors import HypothesisError, ProblemError, UnknownNameError, shown
from ufm_convex.losses import CrossEntropy, Loss
from ufm_convex.problem import Problem
from ufm_convex.relaxation import (
    Alike,
    Dual,
    DualPoint,
    FrameDual,
    GramPoint,
    frame_strengths,
    margin_loss,
    of_classes,
    residual_gram,
    scaled_load,
)

Regime = Literal["generic", "balanced", "boundary", "all_collapsed", "none_collapsed"]

REGIMES: tuple[Regime, ...] = ("generic", "balanced", "boundary", "all_collapsed", "none_collapsed")
"""What ``problems`` draws from: any counts and threshold; equal counts; a class of exactly n_c samples; thresholds
above the largest class; thresholds below the smallest."""

PLAIN = CrossEntropy()
_LEVELS = (-4.0, 0.5)  # log10 of n_c / max n_k: from none collapsed to all
_SPLITS = st.floats(-3.0, 3.0)
_FAR_EXPONENTS = st.integers(-3, 1)
_ENTRY = 8  # integer entries are at most this large
_DRAWN_ENTRIES = 100


def decays_for(class_counts: Sequence[int] | IntArray, level: float, split: float = 0.0) -> tuple[float, float]:
    """Decays (λ_W, λ_H) that put the threshold n_c of plain cross-entropy at ``level`` times the largest class.

    Args:
        class_counts: n_k, (K,).
        level: n_c / max n_k > 0; from 1 on every class collapses.
        split: log of √(λ_W / λ_H).

    Raises:
        CountsError: the counts are not K ≥ 2 positive integers.
        ProblemError: ``level`` is not a finite number > 0, or ``split`` not a finite one.

    Source: n_c = N² λ_W λ_H K/(K−1); Dang, Tran, Nguyen, Ho, ICML 2024; equation (2) of docs/theorem.md.
    """
    counts = validate_class_counts(class_counts)
    if not (0.0 < real(level) < math.inf and math.isfinite(real(split))):
        raise ProblemError(
            f"level is {shown(level)} and split is {shown(split)}.",
            expected="a finite level > 0 and a finite split",
            fix="level 1 is where the largest class collapses, split 0 makes the decays equal.",
        )
    K, N = counts.size, int(counts.sum())
    root = math.sqrt(level * int(counts.max()) * (K - 1) / (K * N**2))
    return root * math.exp(split), root * math.exp(-split)


# -- problems ------------------------------------------------------------------------------------------------------


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    min_classes: int = 2,
    max_classes: int = 6,
    max_count: int = 10_000,
    min_active: int = 0,
    max_empty: int = 0,
    losses: Sequence[Loss] = (PLAIN,),
    regimes: Sequence[Regime] = REGIMES,
) -> Problem:
    """Problems with non-negative features, none, some or all of whose classes collapse.

    Args:
        min_classes: Least K, ≥ 2.
        max_classes: Largest K.
        max_count: Largest number of samples in a class.
        min_active: Least number of classes that do not collapse.
        max_empty: Largest number of classes without samples, < ``max_classes``; they count among the K, and there is
            none in the regime "boundary".
        losses: Losses to draw from. Regimes other than "generic" and "balanced" are for cross-entropy; "boundary"
            is drawn for its plain form alone, whose threshold two binary64 decays can hit exactly.
        regimes: Regimes to draw from, of ``REGIMES``; the first is what examples shrink to.

    Raises:
        ProblemError: the limits leave nothing to draw.
        UnknownNameError: a regime is not one of ``REGIMES``.
    """
    _check_limits(min_classes, max_classes, max_count, min_active, max_empty, losses, regimes)
    loss = draw(st.sampled_from(losses))
    regime = draw(st.sampled_from(_possible(regimes, loss, min_classes, max_count, min_active)))
    most_empty = 0 if regime == "boundary" else min(max_empty, max_classes - max(min_active, 1))
    empty = draw(st.integers(0, most_empty)) if most_empty else 0
    least, most = max(min_classes - empty, min_active, 1), max_classes - empty
    if regime == "boundary":
        problem = draw(_at_the_boundary(max(least, 2), min(most, math.isqrt(max_count)), max_count))
    else:
        size = st.integers(1, max_count)
        if regime == "balanced":
            counts = [draw(size)] * draw(st.integers(least, most))
        else:
            counts = draw(st.lists(size, min_size=least, max_size=most))
        counts = draw(st.permutations([*counts, *[0] * empty])) if empty else counts
        level = draw(_levels(counts, loss, regime, min_active))
        problem = Problem(counts, *decays_for(counts, level, draw(_SPLITS)), loss=loss)
    if min_active:
        assume(np.count_nonzero(~_frame(problem).collapsed) >= min_active)
    return problem


def _check_limits(
    min_classes: int,
    max_classes: int,
    max_count: int,
    min_active: int,
    max_empty: int,
    losses: Sequence[Loss],
    regimes: Sequence[str],
) -> None:
    unknown = [regime for regime in regimes if regime not in REGIMES]
    if unknown:
        raise UnknownNameError(
            f"the regime is {shown(unknown[0])}.", expected="one of " + ", ".join(REGIMES), fix="leave it out for all."
        )
    there = 0 <= min_active <= max_classes and 0 <= max_empty < max_classes
    if not (2 <= min_classes <= max_classes and max_count >= 1 and there):
        raise ProblemError(
            f"{min_classes=}, {max_classes=}, {max_count=}, {min_active=}, {max_empty=}.",
            expected="2 <= min_classes <= max_classes, max_count >= 1, min_active <= max_classes, "
            "max_empty < max_classes",
            fix="leave out what need not be limited.",
        )
    if not losses or not regimes:
        raise ProblemError(
            "losses or regimes is empty.", expected="at least one of each", fix="leave them out for the defaults."
        )


def _possible(regimes: Sequence[Regime], loss: Loss, min_classes: int, max_count: int, min_active: int) -> list[Regime]:
    """The regimes that exist for the loss and the limits."""
    excluded: set[Regime] = set()
    if type(loss) is not CrossEntropy:
        excluded |= {"boundary", "all_collapsed", "none_collapsed"}
    if loss != PLAIN or max(min_classes, min_active + 1) ** 2 > max_count:
        excluded.add("boundary")
    if min_active:
        excluded.add("all_collapsed")
    possible = [regime for regime in regimes if regime not in excluded]
    if possible:
        return possible
    raise ProblemError(
        f"no regime of {', '.join(regimes)} exists for {loss!r} with these limits.",
        expected="a class at the boundary only for plain cross-entropy and max_count >= K**2, "
        "all collapsed only for min_active=0",
        fix='allow the regime "generic" as well.',
    )


def _levels(counts: Sequence[int], loss: Loss, regime: Regime, min_active: int) -> st.SearchStrategy[float]:
    """Levels n_c / max n_k that keep a hundredth away from what the regime and ``min_active`` forbid."""
    low, high = _LEVELS
    if loss.margins_only:
        # class k collapses from the level ω_k² q(0)² n_k / max n on, for cross-entropy q(0) = 1 − α
        pulls = loss.weights(len(counts)) * loss.margin_strengths(np.zeros(1), len(counts))
        collapse = np.sort(np.asarray(counts) / max(counts) * pulls**2)
        if regime == "all_collapsed":
            low = math.log10(1.01 * collapse[-1])
            high = low + 1.0
        else:
            alive = np.count_nonzero(counts) if regime == "none_collapsed" else min_active
            high = high if alive == 0 else min(high, math.log10(0.99 * collapse[-alive]))
            low = min(low, high - 1.0)
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


@st.composite
def _at_the_boundary(draw: st.DrawFn, min_classes: int, max_classes: int, max_count: int) -> Problem:
    """A class of n = jK samples and N = 2^a: n (K−1)/K = N² λ_W λ_H with λ_W = j (K−1) 2^(e−a), λ_H = 2^(−e−a)."""
    K = draw(st.integers(min_classes, max_classes))
    largest = max_count // K
    j = draw(st.integers(1, largest // K))
    others = draw(st.lists(st.integers(1, largest), min_size=K - 2, max_size=K - 2))
    a = (j * K + sum(others)).bit_length()  # the least power of two above, which at most doubles the sum
    counts = [2**a - j * K - sum(others), *others, j * K]
    e = draw(st.integers(-4, 4))
    return Problem(draw(st.permutations(counts)), math.ldexp(j * (K - 1), e - a), math.ldexp(1.0, -e - a))


def _has_frame(problem: Problem) -> bool:
    """Whether ``_frame`` has an answer."""
    found = theory.bound(problem)
    return isinstance(found, theory.FrameOptimum) and found.relation is theory.Relation.TIGHT


def _frame(problem: Problem) -> theory.FrameOptimum:
    optimum = theory.optimum(problem)
    if isinstance(optimum, theory.FrameOptimum):
        return optimum
    raise HypothesisError(
        f"the optimum of {optimum.citation} is not an orthogonal frame.",
        expected="cross-entropy with non-negative features",
        fix="draw the problem from problems().",
    )


# -- candidates ----------------------------------------------------------------------------------------------------


@st.composite
def candidates(
    draw: st.DrawFn,
    problem: Problem,
    *,
    near: bool | None = None,
    feature_dim: int | None = None,
    level: Literal["class", "sample"] = "class",
) -> Candidate:
    """Admissible candidates of a problem: H ≥ 0 where the problem asks for it, and a bias where it has one.

    Args:
        problem: The problem.
        near: True for the optimum moved by 1e-12 to 1e-1 of its size (it need not move at all), False for matrices
            that know nothing of it, None for both. Only where a theorem gives the optimum as an orthogonal frame.
        feature_dim: d; by default the problem's, or from 1 to K + 1 (m + 1 for a table) and large enough for the
            optimum when near.
        level: "class" for class means, "sample" for features of all samples (keep N small).

    Raises:
        HypothesisError: ``near`` is True, and no theorem gives the optimum.
        DimensionError: ``near`` is True, and d is smaller than the number of active classes.
        UnknownNameError: ``level`` is neither of its two words.
    """
    if level not in ("class", "sample"):
        raise UnknownNameError(f"level is {shown(level)}.", expected='"class" or "sample"', fix='use "class".')
    if near is None:
        near = draw(st.booleans()) if _has_frame(problem) else False
    V, K, d = problem.num_outputs, problem.num_classes, problem.feature_dim if feature_dim is None else feature_dim
    if near:
        optimum = _frame(problem)
        d = draw(st.integers(max(1, optimum.num_active), K + 1)) if d is None else d
        W, H = optimum.factors(d)
        scale = 10.0 ** draw(st.integers(-12, -1)) / _ENTRY
        sizes = scale * (np.abs(W).max() or 1.0), scale * (np.abs(H).max() or 1.0)
    else:
        d = draw(st.integers(1, K + 1)) if d is None else d
        W, H = np.zeros((V, d)), np.zeros((K, d))
        sizes = 10.0 ** draw(_FAR_EXPONENTS), 10.0 ** draw(_FAR_EXPONENTS)
    W = W + sizes[0] * draw(_integers(V, d))
    bias = None if problem.bias is None else sizes[0] * draw(_integers(V, 1)).ravel()
    if level == "class":
        features = _admissible(problem, H + sizes[1] * draw(_integers(K, d)))
        features[problem.class_counts == 0] = 0.0
        return Candidate(weights=W, features=features, class_counts=problem.class_counts, bias=bias)
    labels = np.repeat(np.arange(K), problem.class_counts)
    features = _admissible(problem, H[labels] + sizes[1] * draw(_integers(labels.size, d)))
    return Candidate(weights=W, features=features, labels=labels, bias=bias)


def _integers(rows: int, columns: int) -> st.SearchStrategy[FloatArray]:
    # small matrices are drawn entry by entry, because then each shrinks to zero; of large ones a few entries are drawn
    fill: st.SearchStrategy[int] = st.nothing() if rows * columns <= _DRAWN_ENTRIES else st.integers(-1, 1)
    entries = arrays(np.int8, (rows, columns), elements=st.integers(-_ENTRY, _ENTRY), fill=fill)
    return entries.map(lambda array: array.astype(np.float64))


def _admissible(problem: Problem, features: FloatArray) -> FloatArray:
    return np.maximum(features, 0.0) if problem.nonnegative else features


# -- feasible points -----------------------------------------------------------------------------------------------


@st.composite
def feasible_primal_points(draw: st.DrawFn, problem: Problem, *, max_rank: int | None = None) -> GramPoint:
    """Feasible points of the relaxation at class level: Z ⪰ 0 and, where H ≥ 0, B ≥ 0 (docs/duality.md, eq. 3).

    Args:
        problem: The problem.
        max_rank: Largest rank of Z; by default V + m, which is full.
    """
    d = draw(st.integers(1, problem.num_outputs + problem.num_classes if max_rank is None else max_rank))
    candidate = draw(candidates(problem, near=False, feature_dim=d))
    return GramPoint.from_factors(np.asarray(candidate.weights), np.asarray(candidate.features), candidate.bias)


@st.composite
def feasible_dual_points(draw: st.DrawFn, problem: Problem) -> DualPoint:
    """Feasible points of the dual at class level: V in the conjugate's domain, T ≥ 0, D − G − T ⪰ 0 (eq. 4).

    Some touch the boundary of the cone (up to rounding, which is kept on the safe side), some lie inside; T is zero,
    arbitrary, or what cancels the negative entries of G. Where a theorem gives it, the dual optimum is among them.
    """
    problem.require_plain("points drawn at random")
    columns = of_classes(problem)
    V, m = columns.outputs, columns.columns
    there, K = m.positions, m.size
    frame = problem.nonnegative and problem.loss.margins_only and theory.find(problem) is not None
    if draw(st.booleans()) and frame:
        residuals = FrameDual(frame_strengths(problem)).dense(problem).residuals[:, there]
    else:
        logits = 10.0 ** draw(st.integers(-2, 0)) * draw(_integers(V.size, K))
        residuals = columns.loss.residuals(logits, columns.layout)
    residuals = residuals * draw(st.sampled_from((1.0, 0.5, 0.0)))
    T = np.zeros((K, K))
    if problem.nonnegative:
        units = np.outer(columns.sigma, columns.sigma)
        cancelling = np.maximum(-residual_gram(columns, Alike.matrix(V, m, residuals)).even, 0.0)
        T = draw(st.sampled_from((0.0, 1.0))) * cancelling * units
        other = np.abs(draw(_integers(K, K))) * (0.1 / _ENTRY)
        T = T + draw(st.sampled_from((0.0, 1.0))) * (other + other.T) * units
        np.fill_diagonal(T, 0.0)
    load = scaled_load(columns, Dual(Alike.matrix(V, m, residuals), Alike.matrix(m, m, T))).even
    # V → sV, T → s²T divides the largest eigenvalue; the margin covers the rounding of K × K eigenvalues
    shrink = 1.0 / max(1.0, float(np.linalg.eigvalsh(load)[-1]) * (1.0 + 1e-14 * K))
    whole = np.zeros((V.size, problem.num_classes)), np.zeros((problem.num_classes,) * 2)
    whole[0][:, there], whole[1][np.ix_(there, there)] = residuals * math.sqrt(shrink), T * shrink
    return DualPoint(*whole)


# -- spurious minima -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SpuriousMinimum:
    """A local minimum of f(W, H) over H ≥ 0 that is not global: some classes are dead.

    Attributes:
        problem: The problem.
        candidate: W and the class means.
        dead: Classes with h_k = 0 whose features are not zero at the optimum.
        excess: What each class adds to f(W, H) − f*, (K,); positive for dead classes, else 0. Their sum is the gap.
    """

    problem: Problem
    candidate: Candidate
    dead: tuple[int, ...]
    excess: FloatArray


@st.composite
def spurious_minima(
    draw: st.DrawFn, problem: Problem, *, dead: Sequence[int] | None = None, feature_dim: int | None = None
) -> SpuriousMinimum:
    """Local minima at which chosen classes are dead: h_k = 0, the others as in the closed form.

    Every coordinate belongs to one live class, so that reviving a dead class costs at first order; with a coordinate
    to spare the point would be a saddle (docs/testing.md, section 3, has the proof).

    Args:
        problem: Cross-entropy, non-negative features, two active classes or more: ``problems(min_active=2)``.
        dead: Classes to kill, active ones; by default drawn.
        feature_dim: d, at least the number of live classes; by default the problem's, or K.

    Raises:
        HypothesisError: fewer than two classes are active, or no theorem gives the optimum.
        ProblemError: ``dead`` is empty, names a class that is not active, or all that are, or d is too small.
    """
    optimum = _frame(problem)
    active = np.flatnonzero(optimum.margins > 0.0).tolist()
    if len(active) < 2:
        raise HypothesisError(
            f"{len(active)} of {problem.num_classes} classes are active.",
            expected="two or more: one to die and one to live",
            fix="draw the problem from problems(min_active=2).",
        )
    if dead is None:
        dead = draw(st.lists(st.sampled_from(active), min_size=1, max_size=len(active) - 1, unique=True))
    live = [k for k in active if k not in dead]
    d = next(n for n in (feature_dim, problem.feature_dim, problem.num_classes) if n is not None)
    _check_dead(dead, active, live, d)
    # one coordinate each, the remaining ones shared out; a class's direction is any positive one on its coordinates
    owners = live + draw(st.lists(st.sampled_from(live), min_size=d - len(live), max_size=d - len(live)))
    lengths = np.array(draw(st.lists(st.integers(1, 4), min_size=d, max_size=d)), dtype=np.float64)
    directions = np.zeros((problem.num_classes, d))
    directions[owners, np.arange(d)] = lengths
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1.0)
    W = directions * optimum.omega[:, None]
    candidate = Candidate(
        weights=W - W.mean(axis=0), features=directions * optimum.eta[:, None], class_counts=problem.class_counts
    )
    return SpuriousMinimum(problem, candidate, tuple(sorted(dead)), _excess(problem, optimum, sorted(dead)))


def _check_dead(dead: Sequence[int], active: Sequence[int], live: Sequence[int], d: int) -> None:
    if dead and live and set(dead) <= set(active) and d >= len(live):
        return
    raise ProblemError(
        f"dead is {shown(list(dead))} of the active classes {shown(list(active))}, in {d} dimensions.",
        expected="some but not all of the active classes, and a dimension for each of the others",
        fix="leave out dead and feature_dim.",
    )


def _excess(problem: Problem, optimum: theory.FrameOptimum, dead: Sequence[int]) -> FloatArray:
    """pt_k (l(0) − l(M_k)) − σ_k √((K−1)/K) M_k of the dead classes: loss that is not gained, less penalty not paid."""
    K, loss, excess = problem.num_classes, margin_loss(problem), np.zeros(problem.num_classes)
    M = optimum.margins[dead]
    gained = problem.loss_weights[dead] * (loss.margin_values(np.zeros(M.size), K) - loss.margin_values(M, K))
    excess[dead] = gained - problem.sigma[dead] * math.sqrt((K - 1) / K) * M
    return excess
