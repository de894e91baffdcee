"""What the rest of the package asks of a loss; nothing else in the package knows one loss from another.

A loss is a family of convex functions l_1 … l_K of K logits; ``Problem`` minimises

    Σ_k pt_k l_k(W h̄_k) + penalties,      pt_k = ω_k n_k / N,

where the class weights ω_k belong to the loss (docs/duality.md, section 1).

Shapes: ``logits`` and ``residuals`` are (K, m), one column a sample or class; ``labels`` is (m,), the class of
each column. A *residual* v is a (sub)gradient of l_k, a point of the domain of the conjugate l_k*.
Sign:   the dual objective is −Σ pt_k l_k*(v_k), so for cross-entropy −l_k* is an entropy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_GOLDEN_STEPS = 44  # interval shrinks to 1e-9 of its length; the maximum is flat, so its value is exact to 1e-17


class Loss(ABC):
    """One convex loss. Subclasses are frozen dataclasses whose fields are its parameters."""

    name: ClassVar[str]
    """Registry name, as written in TOML files and on the command line."""

    shift_invariant: ClassVar[bool]
    """True when l_k(z + s·1) = l_k(z): residual columns then sum to zero."""

    differentiable: ClassVar[bool] = True
    """False where ∇l does not exist everywhere: it need not vanish at a minimum, and descents stall."""

    @abstractmethod
    def validate(self, num_classes: int) -> None:
        """Raise ``ProblemError`` unless the parameters fit ``num_classes`` classes."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """The parameters that differ from their defaults, as plain TOML values."""

    def exact_parameters(self) -> dict[str, Any]:
        """All parameters but class weights, as the exact numbers that define the loss in a certificate.

        Values are None, words, numbers (binary64, or fractions over powers of two), and tuples of numbers or of rows.
        """
        stated = fields(self)  # type: ignore[arg-type]
        return {one.name: getattr(self, one.name) for one in stated if one.name != "class_weights"}

    def weights(self, num_classes: int) -> FloatArray:
        """Class weights ω, shape (K,); all ones unless the loss has some."""
        return np.ones(num_classes)

    def closing_weights(self, num_classes: int) -> FloatArray | None:
        """The a > 0, (K,), with Σ_j v_j / a_j = 0 on the conjugate's domain; None where no equation ties residuals.

        Proofs round all entries of a residual but the own one, which this equation then gives exactly.
        """
        return np.ones(num_classes) if self.shift_invariant else None

    # -- floating point -------------------------------------------------------------------------------------

    @abstractmethod
    def values(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """l_{y}(z) column by column, shape (m,), accurate relative to its own size."""

    @abstractmethod
    def residuals(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """∇l_{y}(z) column by column, shape (K, m)."""

    def nearest_residuals(self, residuals: FloatArray, logits: FloatArray, labels: IntArray) -> FloatArray:
        """The subgradient at the logits that is near the given one; the one of ``residuals`` unless overridden."""
        return self.residuals(logits, labels)

    @abstractmethod
    def conjugate(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """l_{y}*(v) column by column, shape (m,); +inf outside its domain."""

    @abstractmethod
    def into_domain(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """A point of the conjugate's domain near each column; columns inside stay as they are."""

    @abstractmethod
    def domain_violation(self, residuals: FloatArray, labels: IntArray) -> float:
        """Largest amount by which a column leaves the conjugate's domain; 0 inside."""

    @abstractmethod
    def domain_limit(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """Largest s with s·v in the conjugate's domain, shape (m,); v itself lies inside, so s ≥ 1."""

    def ray_maximum(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """The s ≥ 0 that maximises −l*(s·v), column by column, shape (m,). Golden section on [0, limit]."""
        limit = self.domain_limit(residuals, labels)
        return _golden_section(lambda s: self.conjugate(residuals * s, labels), limit)

    def fenchel_young(self, residuals: FloatArray, logits: FloatArray, labels: IntArray) -> FloatArray:
        """l(z) + l*(v) − <v, z> ≥ 0 column by column, (m,); zero iff v is the gradient at z.

        With v the gradient at another z̄ this is the Bregman distance of z from z̄. A loss that can avoid the
        cancellation of the three terms overrides it.
        """
        gaps = self.values(logits, labels) + self.conjugate(residuals, labels) - (residuals * logits).sum(axis=0)
        return np.maximum(gaps, 0.0)

    # -- modelling ------------------------------------------------------------------------------------------

    @abstractmethod
    def expression(self, logits: cp.Expression, labels: IntArray) -> cp.Expression:
        """The convex cvxpy expression of shape (m,) for logits of shape (K, m)."""

    # -- exact numbers and balls ----------------------------------------------------------------------------

    @abstractmethod
    def enclose_value(self, logits: Sequence[arb], label: int) -> arb:
        """A ball that contains l_label(z) for every z in the given balls."""

    @abstractmethod
    def enclose_conjugate(self, residual: Sequence[fmpq], label: int) -> arb:
        """A ball that contains l_label*(v) for the exact v.

        Raises:
            ValueError: v lies outside the domain of l_label*; the test is exact.
        """


class MarginLoss(Loss):
    """A loss that sees a class only through its margin, when all other logits agree.

    Convex, invariant under shifts and under permutations of the other classes' logits. Under an orthogonal frame its
    logits are m (e_k − 1/K) with margin m ≥ 0 and its residuals −q (e_k − 1/K) with strength q ≥ 0, so a class is one
    number instead of K (docs/theorem.md). The five methods below are the methods of ``Loss`` on these rays.
    """

    @abstractmethod
    def margin_values(self, margins: FloatArray, num_classes: int) -> FloatArray:
        """l_k(m (e_k − 1/K)), elementwise."""

    @abstractmethod
    def margin_strengths(self, margins: FloatArray, num_classes: int) -> FloatArray:
        """The q with ∇l_k(m (e_k − 1/K)) = −q (e_k − 1/K), elementwise."""

    def nearest_margin_strengths(self, strengths: FloatArray, margins: FloatArray, num_classes: int) -> FloatArray:
        """See ``Loss.nearest_residuals``."""
        return self.margin_strengths(margins, num_classes)

    @abstractmethod
    def margin_conjugates(self, strengths: FloatArray, num_classes: int) -> FloatArray:
        """l_k*(−q (e_k − 1/K)), elementwise; +inf outside the domain."""

    @abstractmethod
    def enclose_margin_value(self, margin: arb, num_classes: int) -> arb:
        """A ball that contains l_k(m (e_k − 1/K)) for every m in the ball."""

    @abstractmethod
    def enclose_margin_conjugate(self, strength: fmpq, num_classes: int) -> arb:
        """A ball that contains l_k*(−q (e_k − 1/K)); ``ValueError`` when q lies outside the domain (exact test)."""

    def enclose_margin_conjugates(self, strengths: Sequence[int], exponent: int, num_classes: int) -> Iterator[arb]:
        """``enclose_margin_conjugate`` for each q = strength · 2^exponent; a loss may have a shorter way for many."""
        from flint import fmpq

        up, down = 1 << max(exponent, 0), 1 << max(-exponent, 0)
        return (self.enclose_margin_conjugate(fmpq(strength * up, down), num_classes) for strength in strengths)


class GroupedLoss(Loss):
    """A loss that treats classes of one group alike, so that a column needs one entry a group.

    A reduced column is its ``own`` entry and G ``others``, of which entry g stands for ``multiplicities[g]`` classes
    other than the own one; entries of multiplicity 0 are ignored, and 0 in what is returned. So K = 1 + Σ
    multiplicities in every column. The methods below are those of ``Loss`` on such columns.

    Shapes: ``own`` (m,), ``others`` and ``multiplicities`` (G, m).
    """

    @abstractmethod
    def grouped_values(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """l(z) column by column, shape (m,), accurate relative to its own size."""

    @abstractmethod
    def grouped_residuals(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """∇l(z) column by column: the own entry (m,) and one entry for a class of each group (G, m)."""

    def grouped_nearest(
        self, residuals: tuple[FloatArray, FloatArray], own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See ``Loss.nearest_residuals``; logits are ``own`` and ``others``."""
        return self.grouped_residuals(own, others, multiplicities)

    @abstractmethod
    def grouped_conjugate(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """l*(v) column by column, shape (m,); +inf outside its domain."""

    @abstractmethod
    def grouped_into_domain(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """A point of the conjugate's domain near each column; columns inside stay as they are."""

    @abstractmethod
    def grouped_violation(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> float:
        """Largest amount by which a column leaves the conjugate's domain; 0 inside."""

    @abstractmethod
    def grouped_limit(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """Largest s with s·v in the conjugate's domain, shape (m,); v itself lies inside, so s ≥ 1."""

    def grouped_ray_maximum(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """The s ≥ 0 that maximises −l*(s·v), column by column, shape (m,). Golden section on [0, limit]."""
        limit = self.grouped_limit(own, others, multiplicities)
        return _golden_section(lambda s: self.grouped_conjugate(own * s, others * s, multiplicities), limit)

    @abstractmethod
    def grouped_expression(
        self, own: cp.Expression, others: cp.Expression, multiplicities: FloatArray
    ) -> cp.Expression:
        """The convex cvxpy expression of shape (m,) for ``own`` (m,) and ``others`` (G, m)."""

    @abstractmethod
    def enclose_grouped_value(self, own: arb, others: Sequence[arb], multiplicities: Sequence[int]) -> arb:
        """A ball that contains l(z) for every reduced column z in the given balls."""

    @abstractmethod
    def enclose_grouped_conjugate(self, own: fmpq, others: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """A ball that contains l*(v) for the exact reduced column v.

        Raises:
            ValueError: v lies outside the domain of l*; the test is exact.
        """


class Indicator(Loss):
    """A loss that is 0 on a set and +∞ off it, where s·z stays in the set for s ≥ 1.

    Nothing descends on it, and W = H = 0 need not be admissible: approximate factors are stretched into the set.
    """

    differentiable: ClassVar[bool] = False

    @abstractmethod
    def unit(self, num_classes: int) -> float:
        """The size of the logits at a point of the set that is not needlessly long."""

    @abstractmethod
    def stretch(self, logits: FloatArray, labels: IntArray, error: FloatArray) -> FloatArray:
        """The least s ≥ 0, column by column, (m,), that takes s·z into the set; +∞ where no multiple lies in it.

        Args:
            logits: (K, m).
            labels: (m,).
            error: How far each logit may be off, (K, m); the set is entered in spite of it.
        """

    @abstractmethod
    def shortfall(self, logits: FloatArray, labels: IntArray) -> tuple[FloatArray, FloatArray]:
        """Half the sum of squares of what each column lacks of the set, (m,), and its gradient, (K, m)."""

    @abstractmethod
    def shortest(self, labels: IntArray, num_classes: int) -> FloatArray:
        """The z of least length in the set of each label, (K, m)."""


class GroupedIndicator(GroupedLoss, Indicator):
    """An indicator that treats classes of one group alike."""

    @abstractmethod
    def grouped_stretch(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray, error: FloatArray
    ) -> FloatArray:
        """``stretch`` on reduced columns; ``error`` (m,) is that of a difference of two logits."""


def ray_limit(room: FloatArray, steps: FloatArray, unlimited: float = 1.0) -> FloatArray:
    """Largest s with room + s·steps ≥ 0 in each column, at least 1; ``unlimited`` where nothing falls."""
    falling = steps < -np.finfo(float).tiny
    with np.errstate(over="ignore", invalid="ignore"):
        limit: FloatArray = np.where(falling, room / np.where(falling, -steps, 1.0), np.inf).min(axis=0)
    return np.where(np.isfinite(limit), np.maximum(limit, 1.0), unlimited)


def _golden_section(function: Callable[[FloatArray], FloatArray], limit: FloatArray) -> FloatArray:
    """The minimiser of a convex function on [0, limit], elementwise."""
    low, high = np.zeros_like(limit), limit
    for _ in range(_GOLDEN_STEPS):
        left = high - _GOLDEN * (high - low)
        right = low + _GOLDEN * (high - low)
        rising = function(left) > function(right)
        low, high = np.where(rising, left, low), np.where(rising, high, right)
    return 0.5 * (low + high)


def negative_entropy(probability: fmpq) -> arb:
    """The ball p log p, narrow relative to itself: near 1 the logarithm is formed from the exact 1 − p."""
    from flint import arb

    if not probability:
        return arb(0)
    near_one = 2 * probability > 1
    return arb(probability) * (arb(probability - 1).log1p() if near_one else arb(probability).log())


def own_term(mass: FloatArray) -> FloatArray:
    """(1 − mass) log(1 − mass), accurate for a small mass; 0 beyond 1."""
    own = np.clip(1.0 - mass, 0.0, None)
    log = np.where(mass < 0.5, np.log1p(-np.minimum(mass, 0.5)), np.log(np.where(own > 0.0, own, 1.0)))
    term: FloatArray = own * log
    return term


def own_entries(matrix: FloatArray, labels: IntArray) -> FloatArray:
    """The entry of each column at its own label, shape (m,)."""
    own: FloatArray = matrix[labels, np.arange(labels.size)]
    return own


def with_own(matrix: FloatArray, labels: IntArray, fill: float) -> FloatArray:
    """A copy with the entry of each column at its own label replaced by ``fill``."""
    others = matrix.copy()
    others[labels, np.arange(labels.size)] = fill
    return others
