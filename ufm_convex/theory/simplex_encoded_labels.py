"""The hard margin with free features: simplex-encoded-labels interpolation (SELI).

The problem is min √(λ_W λ_H) ‖L Diag(√n)‖_* subject to L_kk − L_jk ≥ m_k. Its only optimum is L = P Diag(m) with
P = I − 11ᵀ/K, whatever the counts, and with X = P Diag(m∘√n) = Q Σ Vᵀ

    f* = √(λ_W λ_H) ‖X‖_*,    W Wᵀ = √(λ_H/λ_W) Q Σ Qᵀ,    H̄ H̄ᵀ = √(λ_W/λ_H) Diag(n)^{-1/2} V Σ Vᵀ Diag(n)^{-1/2}.

Proof: with E = Diag(m²∘n) the dual point is the polar factor of X times the root of D, U D^{-1/2} = −(P E P)^{+1/2} P
E^{1/2}. From (P E P)^{+1/2} = (1/π) ∫ s^{-1/2} (P (E + s) P)⁺ ds and (P F P)⁺ = F⁻¹ − F⁻¹11ᵀF⁻¹ / (1ᵀF⁻¹1) the
off-diagonal entries of the first factor are negative and its columns sum to zero: multipliers of all margins, each
positive, so that all margins are tight, L = P Diag(m) + 1vᵀ, and v ≠ 0 adds to the nuclear norm.

Source: Thrampoulidis, Kini, Vakilian, Behnia: Imbalance Trouble: Revisiting Neural-Collapse Geometry, NeurIPS 2022
(m = 1); a margin of the class is a count m_k² n_k, which the proof takes as any positive number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, frozen, identity_rows
from ufm_convex.relaxation import DualPoint, GramPoint, require_dense
from ufm_convex.theory.base import Hypothesis, Relation, SolvedOptimum, Theorem
from ufm_convex.theory.hard_margin_frame import of_classes, per_class

if TYPE_CHECKING:
    from ufm_convex.problem import Problem

_KINDS = 1_000
"""Largest number of different classes for which singular values are computed: about a second."""


@dataclass(frozen=True, eq=False)
class InterpolationOptimum(SolvedOptimum):
    """The geometry of the simplex-encoded label matrix.

    Attributes:
        class_counts: n, (K,).
        margins: m, (K,).
        lambda_w: Weight decay λ_W.
        lambda_h: Weight decay λ_H.
    """

    class_counts: FloatArray = field(repr=False)
    margins: FloatArray = field(repr=False)
    lambda_w: float
    lambda_h: float

    def logits(self, rows: slice = slice(None)) -> FloatArray:
        """L = P Diag(m), (K, K), or rows of it; the column of a class without samples is 0."""
        K = self.margins.size
        require_dense(K, "the logits", "margins, which determine them")
        return (identity_rows(K, rows) - 1.0 / K) * (self.margins * (self.class_counts > 0))

    def weight_gram(self, rows: slice = slice(None)) -> FloatArray:
        """W Wᵀ, (K, K), or rows of it; raises ``SizeError`` for K > 20,000."""
        left, values, _ = self._factors
        return self._ratio * (left[rows] * values) @ left.T

    def feature_gram(self, rows: slice = slice(None)) -> FloatArray:
        """H̄ H̄ᵀ, (K, K), or rows of it; raises ``SizeError`` for K > 20,000."""
        _, values, right = self._factors
        features = right / np.sqrt(np.maximum(self.class_counts, 1))
        return (features.T[rows] * values) @ features / self._ratio

    @property
    def weight_norms(self) -> FloatArray:
        """‖w_k‖, (K,)."""
        return np.sqrt(np.diag(self.weight_gram()))

    @property
    def feature_norms(self) -> FloatArray:
        """‖h_k‖, (K,)."""
        return np.sqrt(np.diag(self.feature_gram()))

    def points(self, problem: Problem) -> tuple[GramPoint, DualPoint]:
        """See ``SolvedOptimum.points``: the Gram matrices, and U = −Q Vᵀ D^{1/2}."""
        left, _, right = self._factors
        residuals = -(left @ right) * np.where(self.class_counts > 0, problem.prices, 0.0)
        zeros = np.zeros_like(residuals)
        return GramPoint(self.weight_gram(), self.logits(), self.feature_gram()), DualPoint(residuals, zeros)

    @property
    def _ratio(self) -> float:
        return math.sqrt(self.lambda_h) / math.sqrt(self.lambda_w)

    @cached_property
    def _factors(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Q (K, r), Σ and Vᵀ (r, K) of P Diag(m∘√n), of the rank r."""
        there = np.flatnonzero(self.class_counts)
        rank, K = min(there.size, self.margins.size - 1), self.margins.size
        left, values, found = np.linalg.svd((self.logits() * np.sqrt(self.class_counts))[:, there], full_matrices=False)
        right = np.zeros((rank, K))
        right[:, there] = found[:rank]
        return left[:, :rank], values[:rank], right


class SimplexEncodedLabels(Theorem):
    """Interpolation of the simplex-encoded labels."""

    name: ClassVar[str] = "simplex-encoded-labels interpolation"
    citation: ClassVar[str] = (
        "Thrampoulidis, Kini, Vakilian, Behnia: Imbalance Trouble: Revisiting Neural-Collapse Geometry, NeurIPS 2022; "
        "docs/hard_margin.md, section 2"
    )
    relation: ClassVar[Relation] = Relation.TIGHT

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Constraint, no scales, free features, dimension; the last are examined only for such a constraint."""
        stated = of_classes(problem)
        sign = Hypothesis(
            "features are free",
            not problem.nonnegative,
            f'features is "{problem.features}", which costs more',
            otherwise=Relation.LOWER,
        )
        if not all(one.holds for one in stated):
            return (*stated, sign)
        scales, needed = per_class(problem)[1], min(problem.num_columns, problem.num_classes - 1)
        kinds = _kinds(problem)[0].size
        return (
            *stated,
            sign,
            Hypothesis("scales are equal to 1", bool((scales == 1.0).all()), f"scales range up to {scales.max():g}"),
            Hypothesis(f"at most {_KINDS} kinds of classes", kinds <= _KINDS, f"there are {kinds}"),
            Hypothesis(
                "feature_dim is at least K − 1, or the number of classes with samples if that is less",
                problem.feature_dim is None or problem.feature_dim >= needed,
                f"feature_dim is {problem.feature_dim} and the optimum has rank {needed}",
                otherwise=Relation.LOWER,
            ),
        )

    def evaluate(self, problem: Problem, relation: Relation) -> InterpolationOptimum:
        """The closed form; O(G³) for G kinds of classes.

        With d = m√n the singular values are d_g, K_g − 1 times, and those of (I − qqᵀ) Diag(d) with q_g = √(K_g/K).
        """
        d, sizes = _kinds(problem)
        q = np.sqrt(sizes / problem.num_classes)
        values = np.linalg.svd((np.eye(d.size) - np.outer(q, q)) * d, compute_uv=False)[:-1]
        norm = math.fsum([*values, *((sizes - 1.0) * d)])
        return InterpolationOptimum(
            value=math.sqrt(problem.lambda_w) * math.sqrt(problem.lambda_h) * norm,
            relation=relation,
            citation=self.citation,
            class_counts=frozen(problem.class_counts),
            margins=frozen(per_class(problem)[0]),
            lambda_w=problem.lambda_w,
            lambda_h=problem.lambda_h,
        )


def _kinds(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """The different m √n, and how many classes have each."""
    d, sizes = np.unique(per_class(problem)[0] * np.sqrt(problem.class_counts), return_counts=True)
    return d, sizes.astype(np.float64)
