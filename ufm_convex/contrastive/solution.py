"""What ``solve`` returns for a contrastive problem.

As for ``Solution``, three kinds of number are kept apart: ``value`` is approximate, the residuals of ``kkt()`` are
checked, ``lower_bound`` and ``upper_bound`` are proved, and ``status`` speaks of these two alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._tables import Columns
from ufm_convex.contrastive import kkt, theory
from ufm_convex.contrastive.evidence import KEPT, ContrastiveRun, regathered
from ufm_convex.contrastive.points import ContrastiveDual, ContrastivePoint, softmax_dual
from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.duality import KKTReport
from ufm_convex.enclosure import ProvedBound
from ufm_convex.errors import DimensionError, SizeError
from ufm_convex.evidence import kept
from ufm_convex.relaxation import as_dimension
from ufm_convex.solution import Outcome, status_of

GRAM_LIMIT = 5_000
"""Most samples for a dense (N, N) matrix."""

FEATURE_LIMIT = 10**8
"""Most entries of a dense (N, d) matrix."""


@dataclass(frozen=True, eq=False)
class ContrastiveSolution(Outcome):
    """The optimum of a contrastive problem, and what proves it.

    Attributes:
        value: The optimal value as computed; approximate, and never outside the two proved bounds.
        status: What the two bounds amount to.
        tolerance: Relative gap that was asked for.
        problem: The problem.
        run: The solver's run behind the solution, unrepaired.
        point: The orthogonal frame made of the solver's point; ``factors()`` is its H.
        lengths: η_g = ‖h_i‖ in ``point``, (G,), exact: the upper bound is that of these binary64 numbers.
        dual: The repaired dual point; the lower bound is that of these binary64 numbers.
        lower: Proved lower bound, for every dimension d.
        upper: Proved upper bound.
        route: What was tried and why, in words.
        seconds: Wall time of everything.
        time_limit: Seconds that ``solve`` was given; None for as long as it takes.
    """

    problem: ContrastiveProblem
    run: ContrastiveRun
    point: ContrastivePoint
    lengths: FloatArray
    dual: ContrastiveDual
    lower: ProvedBound
    upper: ProvedBound

    # -- files ----------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the solution as one ``.npz``, whole or not at all: the problem, the solver's run, how it came about.

        The bounds are not written: ``load`` proves them again. A certificate is what convinces others.

        Raises:
            FileFormatError: the file has another suffix, or cannot be written.
        """
        kept.write(KEPT, self.problem, self.run, path, self.words())

    @classmethod
    def load(cls, path: str | Path) -> ContrastiveSolution:
        """Read a file of ``save``, and prove it: both bounds are made again from the run, and nothing else is believed.

        Raises:
            FileFormatError: the file cannot be read, is not one of ``save``, or its point does not fit its problem.
            UFMError: as ``ContrastiveProblem.from_toml``.
        """
        found, words = kept.read(KEPT, path, regathered)
        low, high = found.lower.value, found.upper.value
        status = status_of(found.problem.floor, low, high, found.left_nothing, words["tolerance"])
        words["value"] = min(max(words["value"], low), high)
        return cls(status=status, **words, **vars(found))

    @property
    def solver(self) -> str:
        """Registry name of the solver whose run is reported."""
        return self.run.solver

    @property
    def level(self) -> str:
        """Level of the variables it used."""
        return self.run.level

    # -- geometry -------------------------------------------------------------------------------------------

    @cached_property
    def feature_norms(self) -> FloatArray:
        """‖h_i‖ for the samples of each class, (K,)."""
        norms: FloatArray = self.lengths[self.point.groups.members]
        return norms

    @property
    def collapsed_classes(self) -> tuple[int, ...]:
        """Classes, from 0, whose features in ``factors()`` are zero, or so short that zero costs less than the gap.

        Classes of one sample are among them: a zero feature is an optimal one for them.
        """
        groups, problem = self.point.groups, self.problem
        samples = groups.sizes * groups.counts
        zero = np.log(problem.num_samples - 1.0)
        counts = groups.counts.astype(np.float64)
        margins = self.point.squares / problem.temperature
        own = np.log(np.maximum(counts - 1.0, 1.0))
        losses = np.logaddexp(own, np.log(problem.num_samples - counts) - margins)
        saved = samples * (zero - losses - problem.scaled_penalty * margins)
        small = (counts == 1.0) | (self.lengths == 0.0) | (saved <= self.upper_bound - self.lower_bound)
        return tuple(np.flatnonzero(small[groups.members]).tolist())

    def per_class(self) -> Columns:
        """Name → column, one entry a class: ``class`` (from 0), ``count``, ``feature_norm`` and ``collapsed``."""
        collapsed = np.zeros(self.problem.num_classes, dtype=np.bool_)
        collapsed[list(self.collapsed_classes)] = True
        return {
            "class": np.arange(collapsed.size),
            "count": self.problem.class_counts,
            "feature_norm": self.feature_norms,
            "collapsed": collapsed,
        }

    @property
    def feature_gram(self) -> FloatArray:
        """Gram matrix of the class means, (K, K). Raises ``SizeError`` for K > 20,000."""
        return self.point.class_means()

    def gram(self) -> FloatArray:
        """G = H Hᵀ, (N, N), samples sorted by class.

        Raises:
            SizeError: N > 5,000.
        """
        N = self.problem.num_samples
        if N > GRAM_LIMIT:
            raise SizeError(
                f"the Gram matrix would be a {N} × {N} array.",
                expected=f"at most {GRAM_LIMIT} samples",
                fix="use feature_norms: G_ij is their square within a class, 0 between classes.",
            )
        labels = self.problem.labels
        return np.where(labels[:, None] == labels, self.point.squares[self.point.groups.members][labels], 0.0)

    def factors(self, feature_dim: int | None = None) -> FloatArray:
        """H ≥ 0, (N, d), samples sorted by class; its objective is at most ``upper_bound``, at these exact entries.

        Args:
            feature_dim: d; by default as many as the classes with a non-zero feature, at least 1.

        Raises:
            DimensionError: d is no positive integer, or smaller than that.
            SizeError: H would have more than 10⁸ entries.
        """
        problem, norms = self.problem, self.feature_norms
        active = np.flatnonzero(norms > 0.0)
        needed = max(1, active.size)
        d = needed if feature_dim is None else as_dimension(feature_dim, 1)
        if d < needed:
            raise DimensionError(
                f"feature_dim is {d}, but {needed} classes have orthogonal features.",
                expected=f"at least {needed}",
                fix="leave it out; in fewer dimensions the optimum is larger than lower_bound.",
            )
        if problem.num_samples * d > FEATURE_LIMIT:
            raise SizeError(
                f"H would be a {problem.num_samples} × {d} array.",
                expected=f"at most {FEATURE_LIMIT} entries",
                fix="use feature_norms: the samples of class k have the feature feature_norms[k] · e_k.",
            )
        rows = np.zeros((problem.num_classes, d))
        rows[active, np.arange(active.size)] = norms[active]
        return rows[problem.labels]

    # -- conditions -----------------------------------------------------------------------------------------

    def kkt(self) -> KKTReport:
        """One named residual a condition of docs/contrastive_duality.md, section 5, at ``point`` and ``dual``."""
        return kkt.report(self.problem, self.point, self.dual, self.tolerance)

    def solver_kkt(self) -> KKTReport | None:
        """The same at the solver's own point and the softmax of its rows, nothing repaired; None without a point."""
        if self.run.point is None:
            return None
        dual = softmax_dual(self.problem, self.run.point)
        return kkt.report(self.problem, self.run.point, dual, self.tolerance)

    @cached_property
    def theory(self) -> theory.ContrastiveOptimum:
        """The closed form, for comparison."""
        return theory.optimum(self.problem)
