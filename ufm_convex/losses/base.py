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
from collections.abc import Sequence
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

    @abstractmethod
    def validate(self, num_classes: int) -> None:
        """Raise ``ProblemError`` unless the parameters fit ``num_classes`` classes."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """The parameters that differ from their defaults, as plain TOML values."""

    def weights(self, num_classes: int) -> FloatArray:
        """Class weights ω, shape (K,); all ones unless the loss has some."""
        return np.ones(num_classes)

    # -- floating point -------------------------------------------------------------------------------------

    @abstractmethod
    def values(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """l_{y}(z) column by column, shape (m,), accurate relative to its own size."""

    @abstractmethod
    def residuals(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """∇l_{y}(z) column by column, shape (K, m)."""

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
        low = np.zeros(residuals.shape[1])
        high = self.domain_limit(residuals, labels)
        for _ in range(_GOLDEN_STEPS):
            left = high - _GOLDEN * (high - low)
            right = low + _GOLDEN * (high - low)
            rising = self.conjugate(residuals * left, labels) > self.conjugate(residuals * right, labels)
            low, high = np.where(rising, left, low), np.where(rising, high, right)
        return 0.5 * (low + high)

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

    @abstractmethod
    def margin_conjugates(self, strengths: FloatArray, num_classes: int) -> FloatArray:
        """l_k*(−q (e_k − 1/K)), elementwise; +inf outside the domain."""

    @abstractmethod
    def enclose_margin_value(self, margin: arb, num_classes: int) -> arb:
        """A ball that contains l_k(m (e_k − 1/K)) for every m in the ball."""

    @abstractmethod
    def enclose_margin_conjugate(self, strength: fmpq, num_classes: int) -> arb:
        """A ball that contains l_k*(−q (e_k − 1/K)); ``ValueError`` when q lies outside the domain (exact test)."""
