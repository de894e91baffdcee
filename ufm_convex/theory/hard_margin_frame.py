"""The hard margin with non-negative features: an orthogonal frame, each class on its own.

With margins m_k and scales a_k of the class, θ_k = a_k⁻² / Σ_j a_j⁻², the shortest logits that have the margins are

    z_k = m_k a⁻¹∘(e_k − θ_k 1),      ‖z_k‖² = m_k² (1 − θ_k) / a_k²,

and z_k·z_l = −m_k m_l θ_k θ_l Σ_j a_j⁻² < 0, so that the orthogonal frame is optimal (docs/frame.md, section
2):

    f* = Σ_k √(λ_W λ_H n_k) ‖z_k‖,      ‖h_k‖² = √(λ_W / (λ_H n_k)) ‖z_k‖.

Without scales θ_k = 1/K and every margin is m_k, whatever the counts (docs/hard_margin.md, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, frozen, identity_rows
from ufm_convex.problem.constraints import HardMargin
from ufm_convex.relaxation import require_dense
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, Theorem

if TYPE_CHECKING:
    from ufm_convex.problem import Problem


@dataclass(frozen=True, eq=False)
class HardMarginOptimum(Optimum):
    """The optimum, class by class; no class with samples collapses.

    Attributes:
        margins: m, (K,).
        scales: a, (K,).
        shares: θ, (K,).
        feature_norms: ‖h_k‖, (K,); 0 for a class without samples, like its column of the logits.
    """

    margins: FloatArray = field(repr=False)
    scales: FloatArray = field(repr=False)
    shares: FloatArray = field(repr=False)
    feature_norms: FloatArray = field(repr=False)

    def logits(self, rows: slice = slice(None)) -> FloatArray:
        """L, (K, K), column k the logits z_k; raises ``SizeError`` for K > 20,000."""
        K = self.margins.size
        require_dense(K, "the logits", "margins, scales and shares, which determine them")
        there = self.margins * (self.feature_norms > 0.0)
        return (identity_rows(K, rows) - self.shares) * there / self.scales[rows, None]

    def weight_gram(self, rows: slice = slice(None)) -> FloatArray:
        """W Wᵀ = Σ_k z_k z_kᵀ / ‖h_k‖², (K, K); raises ``SizeError`` for K > 20,000."""
        return self._columns[rows] @ self._columns.T

    def feature_gram(self, rows: slice = slice(None)) -> FloatArray:
        """H̄ H̄ᵀ = Diag(‖h_k‖²), (K, K); raises ``SizeError`` for K > 20,000."""
        require_dense(self.margins.size, "the Gram matrix", "feature_norms, its roots")
        return identity_rows(self.margins.size, rows) * self.feature_norms**2

    @cached_property
    def _columns(self) -> FloatArray:
        """Columns z_k / ‖h_k‖, (K, K)."""
        return self.logits() / np.where(self.feature_norms > 0.0, self.feature_norms, 1.0)


class HardMarginFrame(Theorem):
    """The orthogonal frame of the hard margin."""

    name: ClassVar[str] = "hard-margin frame"
    citation: ClassVar[str] = "docs/hard_margin.md, section 3, from the identity of docs/theorem_proof.md, section 4"
    relation: ClassVar[Relation] = Relation.TIGHT

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Constraint, sign of the features, dimension."""
        m, d = problem.num_columns, problem.feature_dim
        sign = Hypothesis(
            "features are nonnegative",
            problem.nonnegative,
            f'features is "{problem.features}"; free features do better',
            otherwise=Relation.UPPER,
        )
        dimension = Hypothesis(
            "feature_dim is at least K, of which classes without samples do not count",
            d is None or d >= m,
            f"feature_dim is {d} and every one of {m} classes is active",
            otherwise=Relation.LOWER,
        )
        return (*of_classes(problem), sign, dimension)

    def evaluate(self, problem: Problem, relation: Relation) -> HardMarginOptimum:
        """The closed form; O(K)."""
        margins, scales = per_class(problem)
        relative = (scales.min() / scales) ** 2
        shares = relative / math.fsum(relative)
        lengths = margins / scales * np.sqrt(1.0 - shares)
        ratio, roots = math.sqrt(problem.lambda_w) / math.sqrt(problem.lambda_h), np.sqrt(problem.class_counts)
        return HardMarginOptimum(
            value=math.fsum(problem.sigma * lengths),
            relation=relation,
            citation=self.citation,
            margins=frozen(margins),
            scales=frozen(scales),
            shares=frozen(shares),
            feature_norms=frozen(np.where(roots > 0.0, np.sqrt(ratio * lengths / np.maximum(roots, 1.0)), 0.0)),
        )


def of_classes(problem: Problem) -> tuple[Hypothesis, ...]:
    """A hard margin whose margins are those of classes, not of pairs."""
    constraint = problem.constraint
    if not isinstance(constraint, HardMargin):
        name = "none" if constraint is None else constraint.name
        return (Hypothesis("constraint is hard-margin", False, f"constraint is {name}"),)
    pairs = isinstance(constraint.margins, tuple) and isinstance(constraint.margins[0], tuple)
    return (
        Hypothesis("constraint is hard-margin", True, "it is"),
        Hypothesis("margins are of classes", not pairs, "margins are a table of pairs"),
    )


def per_class(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Margins and scales, (K,) each, of a problem for which ``of_classes`` holds."""
    constraint = problem.constraint
    if not isinstance(constraint, HardMargin):
        return np.ones(problem.num_classes), np.ones(problem.num_classes)
    one_each = np.ones(problem.num_classes)
    scale = one_each if constraint.scale is None else np.array(constraint.scale)
    return one_each * np.array(constraint.margins), scale
