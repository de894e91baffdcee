"""What ``solve`` returns: the optimum, the points behind it, and what is proved about it.

Three kinds of number are kept apart. ``value`` is approximate; the residuals of ``kkt()`` are checked against stated
tolerances; ``lower_bound`` and ``upper_bound`` are proved, and ``status`` speaks of these two alone.

Shapes: K classes; Gram matrices are (K, K); W (K, d) and H (K, d) hold one row a class. With a table of targets what is
by columns has m entries, and what is by outputs V: H (m, d), B (m, m), L (V, m), W (V, d), A (V, V).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ufm_convex import duality, theory
from ufm_convex._arrays import FloatArray
from ufm_convex._tables import Columns, dataframe
from ufm_convex.enclosure import ProvedBound
from ufm_convex.errors import HypothesisError
from ufm_convex.evidence import Bracketed, Evidence, allowed_gap, excess_gap, relative_gap
from ufm_convex.losses import traits
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Dual, DualPoint, FrameDual, FramePoint, Gram, GramPoint, as_dimension, of_classes
from ufm_convex.solvers import SolverRun

if TYPE_CHECKING:
    from ufm_convex.positivity import CompletePositivity

INTERRUPTED = "interrupted: the best bounds so far are kept"
"""The last line of the route after Ctrl-C."""
TIME_LIMIT = "time limit: the best bounds so far are kept"
"""The line of the route that says so."""
FOREIGN = (
    "the loss {!r} is one of another package, which the verifier does not know: its bounds rest on the values and "
    "conjugates that the loss itself encloses, and are not called certified"
)
"""The line of the route that says why a gap within the tolerance is "bounded" and no more."""


class Status(StrEnum):
    """What is known at the end."""

    CERTIFIED = "certified"
    """Both bounds are proved and their relative gap is within the tolerance; where the problem has a floor, upper −
    lower ≤ tolerance · max(upper − floor, tolerance · upper)."""
    BOUNDED = "bounded"
    """Both bounds are proved, and their gap is larger than the tolerance; or the loss is one of another package, on
    whose own enclosures they rest (docs/plugins.md)."""
    FAILED = "failed"
    """No solver left a point to work from, and the bounds are those of V = 0 and W = H = 0; or no admissible W and H
    were found, and the upper bound is infinite."""


def status_of(floor: float, low: float, high: float, left_nothing: bool, tolerance: float) -> Status:
    """What two proved bounds amount to, over a floor."""
    if relative_gap(low, high) <= allowed_gap(floor, high, tolerance):
        return Status.CERTIFIED
    return Status.FAILED if left_nothing or not math.isfinite(high) else Status.BOUNDED


def capped(solution: Any) -> Any:
    """The solution; "bounded" at most, and why, where its bounds are as good as a loss that nothing here knows."""
    loss = getattr(solution.problem, "loss", None)
    if loss is None or solution.status is not Status.CERTIFIED or not traits.foreign(loss):
        return solution
    return replace(solution, status=Status.BOUNDED, route=(*solution.route, FOREIGN.format(loss.name)))


@dataclass(frozen=True, eq=False)
class Outcome(Bracketed, ABC):
    """What solutions of every kind of problem have: how they came about, and what their two bounds amount to.

    Attributes:
        value: The optimal value as computed; approximate, and never outside the two proved bounds.
        status: What the two bounds amount to.
        tolerance: Relative gap that was asked for.
        route: What was tried and why, in words.
        seconds: Wall time of everything.
        time_limit: Seconds that ``solve`` was given; None for as long as it takes.
    """

    value: float
    status: Status
    tolerance: float
    route: tuple[str, ...] = field(default=(), kw_only=True)
    seconds: float = field(default=0.0, kw_only=True)
    time_limit: float | None = field(default=None, kw_only=True)

    @abstractmethod
    def per_class(self) -> Columns:
        """Name → column of numbers, one entry a class; what ``to_dataframe`` and ``--table`` hold."""

    def to_dataframe(self, library: str | None = None) -> Any:
        """``per_class`` as a data frame of Polars or pandas.

        Args:
            library: "polars" or "pandas"; None for the one that is installed, Polars where both are.

        Raises:
            UnknownNameError: the library is another one.
            MissingExtraError: it is not installed, or neither is.
        """
        return dataframe(self.per_class(), library)

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the solution as one ``.npz``, from which the ``load`` of its class proves it again."""

    def words(self) -> dict[str, Any]:
        """What a file keeps beside problem and run: value, tolerance, route and times."""
        names = ("value", "tolerance", "route", "seconds", "time_limit")
        return {name: getattr(self, name) for name in names}

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it before its tolerance did."""
        return self.route[-1:] == (INTERRUPTED,)

    @property
    def time_limit_reached(self) -> bool:
        """Whether the time limit ended it before its tolerance did."""
        return TIME_LIMIT in self.route


@dataclass(frozen=True, eq=False)
class Solution(Outcome):
    """The optimum of a problem, and what proves it.

    Attributes:
        value: The relaxation's optimal value as computed; approximate, and never outside the two proved bounds.
        status: What the two bounds amount to.
        tolerance: Relative gap that was asked for.
        evidence: The admissible points, their proofs, and the run that they come from.
        route: What was tried and why, in words.
        seconds: Wall time of everything.
        time_limit: Seconds that ``solve`` was given; None for as long as it takes.
    """

    evidence: Evidence

    # -- files ----------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the solution as one ``.npz``, whole or not at all: the problem, the solver's run, how it came about.

        The bounds are not written: ``load`` proves them again. A certificate is what convinces others.

        Raises:
            ProblemError: norm bounds stand in place of the decays, and the run is one of another problem.
            FileFormatError: the file has another suffix, or cannot be written.
        """
        from ufm_convex.evidence import kept

        kept.save(self.problem, self.run, self.evidence, path, self.words())

    @classmethod
    def load(cls, path: str | Path) -> Solution:
        """Read a file of ``save``, and prove it: repair, recovery and both bounds are made again from the run.

        Nothing in the file is believed: its status follows from the bounds that are proved here, and its value is moved
        between them.

        Raises:
            FileFormatError: the file cannot be read, is not one of ``save``, or its points do not fit its problem.
            UFMError: as ``Problem.from_toml``.
        """
        from ufm_convex.evidence import kept

        evidence, words = kept.load(path)
        low, high = evidence.lower.value, evidence.upper.value
        status = status_of(evidence.problem.floor, low, high, evidence.left_nothing, words["tolerance"])
        value = min(max(words.pop("value"), low), high)
        return cast("Solution", capped(cls(value=value, status=status, evidence=evidence, **words)))

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.evidence.problem

    @property
    def run(self) -> SolverRun:
        """The raw run: the solver's claims and points, unrepaired."""
        return self.evidence.run

    @property
    def solver(self) -> str:
        """Registry name of the solver whose method found W and H: as a rule that of ``run``.

        Where the run is that of a frame which the sign test refuses, descent from there found them: "factored".
        """
        return self.run.continued_by or self.run.solver

    @property
    def level(self) -> str:
        """Level of the variables it used."""
        return self.run.level

    @property
    def lower(self) -> ProvedBound:
        """Proved lower bound, with its exact point."""
        return self.evidence.lower

    @property
    def upper(self) -> ProvedBound:
        """Proved upper bound, with its exact point."""
        return self.evidence.upper

    @property
    def lower_proof(self) -> str:
        """Behind ``lower_bound``: "diagonal", "group", "dense", "norm" or "trivial" of a slack, or "singular values".

        "norm" bounds ‖U D^{-1/2}‖ on the smaller side (docs/next_token.md). The last is a theorem on mean squared error
        with too small a ``feature_dim``, and does not use ``dual``.
        """
        return self.evidence.lower.proof

    @property
    def point(self) -> GramPoint | FramePoint | Gram:
        """Primal point: that of ``factors()``, or the solver's own where they leave a gap that it does not.

        It comes as the solver's points came: (K, K) matrices, an orthogonal frame, or matrices that are alike on alike
        classes (``relaxation.Gram``).
        """
        return self.evidence.point

    @property
    def dual(self) -> DualPoint | FrameDual | Dual:
        """Repaired dual point, likewise."""
        return self.evidence.dual

    def per_class(self) -> Columns:
        """Name → column, one entry a class: numbers of the optimum, as computed.

        ``class`` (from 0), ``count``, ``loss_weight`` (pt_k = ω_k n_k / N), ``margin``, ``feature_norm`` (‖h_k‖),
        ``weight_norm`` (‖w_k‖), ``bias``, ``collapsed``, and ``merged_with``: the first class with the same free
        feature, the class itself where it shares none. Where outputs are not classes (tables of targets) rows are
        columns of the table, and the numbers of outputs are left out.
        """
        K = self.problem.class_counts.size
        first = np.arange(K)
        for group in self.merged_groups:
            first[list(group)] = group[0]
        collapsed = np.zeros(K, dtype=np.bool_)
        collapsed[list(self.collapsed_classes)] = True
        found = {
            "class": np.arange(K),
            "count": self.problem.class_counts,
            "loss_weight": self.problem.loss_weights,
            "margin": self.margins,
            "feature_norm": self.feature_norms,
            "weight_norm": self.weight_norms,
            "bias": self.bias,
            "collapsed": collapsed,
            "merged_with": first,
        }
        return {name: column for name, column in found.items() if column.size == K}

    @property
    def floor(self) -> float:
        """Σ pt_j Ent(y_j): what no W and H can go below, the entropy of soft targets; 0 for hard ones."""
        return self.problem.floor

    @property
    def excess(self) -> float:
        """``value`` less ``floor``: what the model itself costs."""
        return self.value - self.floor

    @property
    def excess_gap(self) -> float:
        """(upper − lower) / (upper − floor), the gap relative to the excess; 0 when both bounds are equal."""
        return excess_gap(self.floor, self.lower_bound, self.upper_bound)

    @property
    def weight_gram(self) -> FloatArray:
        """A = W Wᵀ, (K, K). Raises ``SizeError`` for K > 20,000."""
        return self._dense_point.weight_gram

    @property
    def logits(self) -> FloatArray:
        """W H̄ᵀ + b 1ᵀ, (K, K); column k holds the logits of class k. Raises ``SizeError`` for K > 20,000."""
        return self._dense_point.outputs

    @property
    def feature_gram(self) -> FloatArray:
        """B, (K, K), inner products of class means. Raises ``SizeError`` for K > 20,000."""
        return self._dense_point.feature_gram

    @cached_property
    def _dense_point(self) -> GramPoint:
        return self.evidence.dense_point()

    @property
    def slack(self) -> FloatArray:
        """R = D − G − T ⪰ 0 of the repaired dual point, (K, K). Raises ``SizeError`` for K > 20,000.

        With norm bounds in place of the decays D is μ² I, μ the ``multiplier``.
        """
        return self.evidence.slack()

    @property
    def multiplier(self) -> float | None:
        """The multiplier μ of norm bounds on W and H (docs/layer_peeled.md); None where there are none."""
        return self.evidence.multiplier

    @cached_property
    def margins(self) -> FloatArray:
        """Own logit of each class minus its largest other logit, (K,)."""
        return self.evidence.margins()

    @cached_property
    def feature_norms(self) -> FloatArray:
        """‖h̄_k‖, (K,)."""
        return self.evidence.feature_norms()

    @cached_property
    def weight_norms(self) -> FloatArray:
        """‖w_k‖, (K,)."""
        return self.evidence.weight_norms()

    @cached_property
    def collapsed_classes(self) -> tuple[int, ...]:
        """Classes, from 0, whose feature is zero as far as the gap can tell.

        A class counts as collapsed when setting its feature to zero would cost no more than the gap leaves open:
        pt_k [l_k(0) − l_k(Le_k)] − λ_H n_k ‖h̄_k‖² (the last term stands for both penalties, which balance). On an
        orthogonal frame the zeros are exact. A class without samples is a collapsed class: ``empty_classes`` tells
        which they are. Empty for free features, which merge instead: see ``merged_groups``.
        """
        return self.evidence.collapsed()

    @property
    def empty_classes(self) -> tuple[int, ...]:
        """Classes, from 0, without samples: outputs alone, with a row of W and no feature."""
        return self.problem.empty_classes

    @cached_property
    def merged_groups(self) -> tuple[tuple[int, ...], ...]:
        """Groups of alike classes, from 0, that share one free feature and classifier row as far as the gap can tell.

        A group of at least two classes with equal counts and weights counts as merged when averaging its features and
        its rows of W would cost no more than the gap leaves open. Cross-entropy merges a group with n samples a class
        iff ω² (1−α)² n ≤ N² λ_W λ_H (docs/free_features.md, section 5). Empty for non-negative features, which collapse
        one by one, and for a loss without a form by groups (soft targets, logit adjustment).
        """
        return self.evidence.merged()

    @cached_property
    def gram_positivity(self) -> CompletePositivity:
        """Whether B of ``point`` is completely positive, in units of the penalty.

        For K ≥ 5 the relaxation's B need not be; then the two bounds stay apart, and ``close_gap`` closes them. Allowed
        is a distance of √tolerance / 10 times the objective: a Gram matrix is determined to the square root of its
        value's accuracy, which is as a rule far below the tolerance.

        Raises:
            HypothesisError: features are free, and B need not be non-negative; or norm bounds stand in place of the
                decays, in whose units the distance is measured.
            SizeError: K > 400.
        """
        from ufm_convex.positivity import feature_positivity

        if not self.problem.nonnegative:
            raise HypothesisError(
                'features are "free".',
                expected="non-negative features",
                fix="complete positivity is a question about non-negative ones only.",
            )
        H, accuracy = self.evidence.factors(None)[1], 0.1 * math.sqrt(self.tolerance)
        columns = of_classes(self.problem)
        return feature_positivity(columns, self.feature_gram, H, self.upper_bound, accuracy)

    def factors(self, feature_dim: int | None = None) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and class-mean features H (K, d), whose objective, with ``bias``, is at most ``upper_bound``.

        Args:
            feature_dim: d; by default the problem's, or as many as the factorisation used. With fewer than these a
                direction that is noise is left out, and the objective may be larger by a share of 1e-6 for each.

        Raises:
            DimensionError: d is no positive integer, or smaller than the factorisation needs; the message says what d
                would do.
            SizeError: K > 20,000, or K d > 20,000².
        """
        if feature_dim is not None:
            feature_dim = as_dimension(feature_dim, max(self.problem.num_outputs, self.problem.num_classes))
        return self.evidence.factors(self.problem.feature_dim if feature_dim is None else feature_dim)

    @property
    def bias(self) -> FloatArray:
        """The bias b that goes with ``factors()``, (K,); zeros where the problem has none."""
        return self.evidence.bias

    @property
    def factor_residual(self) -> float:
        """Relative distance between the solver's Gram matrices and those of ``factors()``; 0 on a frame."""
        return self.evidence.factor_residual

    @property
    def rank(self) -> int:
        """Dimensions that the features use."""
        return self.evidence.rank

    def kkt(self) -> duality.KKTReport:
        """One named residual for each condition of docs/kkt.md, at ``point`` and ``dual``."""
        return self.evidence.report(self.tolerance)

    def solver_kkt(self) -> duality.KKTReport | None:
        """The same conditions at the solver's own points, nothing repaired; None when it left none."""
        return self.evidence.solver_report(self.tolerance)

    @cached_property
    def theory(self) -> theory.Optimum | None:
        """What a theorem says about this problem, for comparison; None where none says anything."""
        return theory.bound(self.problem)
