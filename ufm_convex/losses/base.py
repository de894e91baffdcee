"""What the rest of the package asks of a loss; nothing else in the package knows one loss from another.

A loss is a family of convex functions l_1 … l_K of the outputs; ``Problem`` minimises

    Σ_k pt_k l_k(W h̄_k) + penalties,      pt_k = ω_k n_k / N,

where the class weights ω_k belong to the loss (docs/duality.md, section 1). It is written down once, on entries: what
the entries of a column are, how many outputs each stands for and what its target is, a ``Layout`` says.

Shapes: z (logits) and v are (E, C), one column a sample, class or orbit; results are (C,) or (E, C). A *residual* v is
a (sub)gradient of l with respect to one output of each entry, a point of the domain of the conjugate l*; so
<v, z> = Σ_e numbers_e v_e z_e.
Sign:   the dual objective is −Σ pt_k l_k*(v_k), so for cross-entropy −l_k* is an entropy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.losses.layout import ExactColumn, Layout
from ufm_convex.losses.table import Table

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_GOLDEN_STEPS = 44  # interval shrinks to 1e-9 of its length; the maximum is flat, so its value is exact to 1e-17


class Loss(ABC):
    """One convex loss of a column of logits.

    Asked of a subclass, which is a frozen dataclass whose fields are its parameters:

    - ``name`` and ``shift_invariant``; ``alike`` and ``differentiable`` where their defaults are not true of it;
    - ``validate`` and ``parameters``;
    - in floating point, column by column: ``values``, ``residuals`` and ``conjugate``, with its domain as
      ``into_domain``, ``violation`` and ``limit``; ``expression`` for conic solvers;
    - ``enclose_value`` and ``enclose_conjugate``, on which every proof rests: balls that contain the numbers.

    ``SeparableLoss`` and ``SoftmaxLoss`` ask for less (docs/losses.md, section 6). A loss of another package is never
    called certified (docs/plugins.md); ``ufm_convex.testing.assert_loss_is_consistent`` looks for contradictions.
    """

    name: ClassVar[str]
    """Registry name, as written in TOML files and on the command line."""

    # -- what the loss states of itself; ``traits.require`` refuses what lacks a trait --------------------------

    shift_invariant: ClassVar[bool]
    """True when l_k(z + s·1) = l_k(z): residual columns then sum to zero."""

    alike: ClassVar[bool] = False
    """True when all classes have one loss, invariant under permutations of the other outputs: orbits may be used.
    A table, which tells columns apart, makes it False for its loss alone."""

    differentiable: ClassVar[bool] = True
    """False where ∇l does not exist everywhere: it need not vanish at a minimum, and descents stall."""

    @property
    def table(self) -> Table | None:
        """The table that gives each column its target, one row a count; None where columns are classes."""
        return None

    @property
    def quadratic(self) -> bool:
        """True for ½‖z − e_k‖²: the optimum then follows from singular values. A subclass has to say it again."""
        return False

    @property
    def softmax_share(self) -> float | None:
        """α where the loss is log-sum-exp against (1 − α) e_k + α/V, times a weight a class; None for another loss.

        A subclass, whose values may be others, has to say it again.
        """
        return None

    @property
    def of_logits(self) -> bool:
        """Whether it is log-sum-exp(z) − <y, z> of the logits themselves, as ``SoftmaxLoss`` writes it."""
        return False

    @property
    def tabled_softmax(self) -> bool:
        """True for log-sum-exp against the rows of a table of shares, times a weight a row.

        A subclass, whose values may be others, has to say it again.
        """
        return False

    def softmax_targets(self, num_outputs: int, rows: IntArray) -> FloatArray | None:
        """Targets, (V, len(rows)), where the loss is log-sum-exp against them, times a weight a class; else None.

        Exactly: other entries are the targets, own ones are 1 minus the others, rounded once. As for ``softmax_share``
        a subclass has to say it again.
        """
        return None

    def weighted(self, weights: tuple[float, ...]) -> Loss | None:
        """The same loss with these class weights in place of its own; None where it has none."""
        return None

    @property
    def margins_only(self) -> bool:
        """Whether a class is seen only through its margin where all other logits agree.

        A permutation of the others and a shift of all then change nothing. Under an orthogonal non-negative frame
        logits are m (e_k − 1/V) with margin m ≥ 0 and residuals −q (e_k − 1/V) with strength q ≥ 0, so a class is one
        number instead of V (docs/theorem.md).
        """
        return self.alike and self.shift_invariant

    @property
    def indicator(self) -> Indicator | None:
        """The loss itself, for what only an ``Indicator`` has, if it is 0 or +∞; else None."""
        return None

    @property
    def finite(self) -> bool:
        """Whether the loss is finite everywhere, so that a descent may start anywhere."""
        return self.indicator is None

    # -- parameters -------------------------------------------------------------------------------------------

    def num_outputs(self, num_counts: int) -> int:
        """V of a problem with so many counts: as many where they are those of classes."""
        return num_counts if self.table is None else self.table.num_outputs

    def num_rows(self, num_outputs: int) -> int:
        """How many counts a problem with so many outputs has."""
        return num_outputs if self.table is None else len(self.table)

    def own_outputs(self, rows: IntArray) -> IntArray:
        """The own output of columns of the given rows, (C,): their class, or that of their row of the table."""
        return rows if self.table is None else self.table.own[rows]

    def kept(self, chosen: IntArray) -> Self:
        """The loss of some of the rows of its table, and of their weights; itself where columns are classes."""
        return self

    def floors(self, num_outputs: int, rows: IntArray) -> FloatArray:
        """The least value at columns of the given rows, (C,): −l*(0), which no logits go below; 0 for hard labels."""
        return np.zeros(rows.size)

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

    def closing_weights(self, num_outputs: int) -> FloatArray | None:
        """The a > 0, (V,), with Σ_j v_j / a_j = 0 on the conjugate's domain; None where no equation ties residuals.

        Proofs round all entries of a residual but the own one, which this equation then gives exactly.
        """
        return np.ones(num_outputs) if self.shift_invariant else None

    def unbounded_bias(self, num_outputs: int, rows: IntArray) -> IntArray:
        """Outputs whose bias, if it is free, has no best value: the loss keeps falling as it grows or falls.

        Args:
            num_outputs: V.
            rows: The rows of the columns with samples, (C,), each once.
        """
        return np.zeros(0, dtype=np.int64)

    # -- targets and layouts ----------------------------------------------------------------------------------

    def target(self, num_outputs: int) -> tuple[float, float]:
        """The target of the own output and of each other one; a loss with a table has ``target_columns`` instead."""
        return 1.0, 0.0

    def exact_target(self, num_outputs: int) -> tuple[fmpq, fmpq]:
        """``target`` in exact numbers."""
        from flint import fmpq

        return fmpq(1), fmpq(0)

    def target_columns(self, num_outputs: int, rows: IntArray) -> FloatArray:
        """The targets behind columns of the given rows, (V, C)."""
        own, other = self.target(num_outputs)
        found = np.full((num_outputs, rows.size), other)
        found[rows, np.arange(rows.size)] = own
        return found

    def layout(self, num_outputs: int, rows: IntArray) -> Layout:
        """Full columns, one entry an output; ``rows`` are their labels, (C,)."""
        return Layout.single(self.target_columns(num_outputs, rows), rows)

    def orbit_layout(self, numbers: FloatArray, own: IntArray) -> Layout:
        """Columns that do not tell alike outputs apart, for a loss that is ``alike``.

        Args:
            numbers: How many outputs each entry stands for, (E, C).
            own: The own entry of each column, (C,).
        """
        mine, other = self.target(int(numbers[:, 0].sum()))
        target = np.full(numbers.shape, other)
        target[own, np.arange(own.size)] = mine
        return Layout(numbers, target, np.zeros(own.size, dtype=np.int64))

    def exact_column(self, num_outputs: int, row: int) -> ExactColumn:
        """``layout`` of one column, in exact numbers."""
        own, other = self.exact_target(num_outputs)
        target = [other] * num_outputs
        target[row] = own
        return ExactColumn([1] * num_outputs, target, row, row)

    def exact_orbit_column(self, numbers: Sequence[int], own: int) -> ExactColumn:
        """``orbit_layout`` of one column, in exact numbers."""
        mine, other = self.exact_target(sum(numbers))
        target = [other] * len(numbers)
        target[own] = mine
        return ExactColumn(numbers, target, 0, own)

    # -- floating point ---------------------------------------------------------------------------------------

    @abstractmethod
    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """l(z) column by column, shape (C,), accurate relative to its own size."""

    @abstractmethod
    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """∇l(z) column by column, shape (E, C): the derivative with respect to one output of each entry."""

    def nearest(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """The subgradient at z that is near v; the one of ``residuals`` unless overridden."""
        return self.residuals(z, layout)

    def softened(
        self, z: FloatArray, v: FloatArray, stiffness: FloatArray, layout: Layout
    ) -> tuple[FloatArray, FloatArray]:
        """A smooth l̃ ≤ l with l̃(z) = l(z) where v is a subgradient at z: its values (C,) and its gradient (E, C).

            l̃(z) = max over w of  <w, z> − l*(w) − d(w, v)² / (2 ρ),      ∇l̃(z) = the w that attains it

        so that the gradient is the next multiplier of the method of multipliers. A loss with a gradient is its own l̃.

        Args:
            z: (E, C).
            v: Multipliers, (E, C), in the conjugate's domain.
            stiffness: ρ of each column, (C,): the curvature of l̃ at a kink, infinite for l itself.
            layout: Their layout.
        """
        return self.values(z, layout), self.residuals(z, layout)

    @abstractmethod
    def conjugate(self, v: FloatArray, layout: Layout) -> FloatArray:
        """l*(v) column by column, shape (C,); +inf outside its domain."""

    @abstractmethod
    def into_domain(self, v: FloatArray, layout: Layout) -> FloatArray:
        """A point of the conjugate's domain near each column; columns inside stay as they are."""

    @abstractmethod
    def violation(self, v: FloatArray, layout: Layout) -> float:
        """Largest amount by which a column leaves the conjugate's domain; 0 inside."""

    @abstractmethod
    def limit(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Largest s with s·v in the conjugate's domain, shape (C,); v itself lies inside, so s ≥ 1."""

    def ray_maximum(self, v: FloatArray, layout: Layout) -> FloatArray:
        """The s ≥ 0 that maximises −l*(s·v), column by column, shape (C,). Golden section on [0, limit]."""
        return _golden_section(lambda s: self.conjugate(v * s, layout), self.limit(v, layout))

    def fenchel_young(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """l(z) + l*(v) − <v, z> ≥ 0 column by column, (C,); zero iff v is a subgradient at z.

        With v the gradient at another z̄ this is the Bregman distance of z from z̄. A loss that can avoid the
        cancellation of the three terms overrides it.
        """
        pairing = layout.sum(layout.hide(v * z))
        return np.maximum(self.values(z, layout) + self.conjugate(v, layout) - pairing, 0.0)

    # -- modelling --------------------------------------------------------------------------------------------

    @abstractmethod
    def expression(self, z: cp.Expression, layout: Layout) -> cp.Expression:
        """The convex cvxpy expression of shape (C,) for z of shape (E, C)."""

    # -- exact numbers and balls ------------------------------------------------------------------------------

    @abstractmethod
    def enclose_value(self, z: Sequence[arb], column: ExactColumn) -> arb:
        """A ball that contains l(z) for every z in the given balls."""

    @abstractmethod
    def enclose_conjugate(self, v: Sequence[fmpq], column: ExactColumn) -> arb:
        """A ball that contains l*(v) for the exact v.

        Raises:
            ValueError: v lies outside the domain of l*; the test is exact.
        """

    # -- an orthogonal frame: two entries, for losses that see margins only -----------------------------------
    #
    # Logits are taken at (m, 0), which differ from m (e − 1/V) by a shift: their difference is then m to the last bit.

    def frame_layout(self, num_outputs: int) -> Layout:
        """The own output and V − 1 equal others."""
        return Layout.margins(*self.target(num_outputs), num_outputs)

    def margin_values(self, margins: FloatArray, num_outputs: int) -> FloatArray:
        """l(m (e − 1/V)), elementwise."""
        return self.values(_margin_logits(margins), self.frame_layout(num_outputs))

    def margin_strengths(self, margins: FloatArray, num_outputs: int) -> FloatArray:
        """The q with ∇l(m (e − 1/V)) = −q (e − 1/V), elementwise."""
        return num_outputs * self.residuals(_margin_logits(margins), self.frame_layout(num_outputs))[1]

    def nearest_margin_strengths(self, strengths: FloatArray, margins: FloatArray, num_outputs: int) -> FloatArray:
        """See ``nearest``."""
        v = _frame_residuals(strengths, num_outputs)
        return num_outputs * self.nearest(v, _margin_logits(margins), self.frame_layout(num_outputs))[1]

    def margin_conjugates(self, strengths: FloatArray, num_outputs: int) -> FloatArray:
        """l*(−q (e − 1/V)), elementwise; +inf outside the domain."""
        return self.conjugate(_frame_residuals(strengths, num_outputs), self.frame_layout(num_outputs))

    def margin_divergences(self, strengths: FloatArray, margins: FloatArray, num_outputs: int) -> FloatArray:
        """``fenchel_young`` of −q (e − 1/V) and m (e − 1/V), elementwise."""
        v = _frame_residuals(strengths, num_outputs)
        return self.fenchel_young(v, _margin_logits(margins), self.frame_layout(num_outputs))

    def enclose_margin_value(self, margin: arb, num_outputs: int) -> arb:
        """A ball that contains l(m (e − 1/V)) for every m in the ball."""
        return next(self.enclose_margin_values([margin], num_outputs))

    def enclose_margin_values(self, margins: Iterable[arb], num_outputs: int) -> Iterator[arb]:
        """Balls that contain l(m (e − 1/V)), one for every given ball of m."""
        from flint import arb

        column, zero = self.exact_orbit_column([1, num_outputs - 1], 0), arb(0)
        return (self.enclose_value([margin, zero], column) for margin in margins)

    def enclose_margin_conjugate(self, strength: fmpq, num_outputs: int) -> arb:
        """A ball that contains l*(−q (e − 1/V)); ``ValueError`` when q lies outside the domain (exact test)."""
        other = strength / num_outputs
        return self.enclose_conjugate([other - strength, other], self.exact_orbit_column([1, num_outputs - 1], 0))

    def enclose_margin_conjugates(self, strengths: Sequence[int], exponent: int, num_outputs: int) -> Iterator[arb]:
        """``enclose_margin_conjugate`` for each q = strength · 2^exponent; a loss may have a shorter way for many."""
        from flint import fmpq

        up, down = 1 << max(exponent, 0), 1 << max(-exponent, 0)
        return (self.enclose_margin_conjugate(fmpq(strength * up, down), num_outputs) for strength in strengths)


class Indicator(Loss):
    """A loss that is 0 on a set and +∞ off it, where s·z stays in the set for s ≥ 1.

    Nothing descends on it, and W = H = 0 need not be admissible: approximate factors are stretched into the set.
    """

    differentiable: ClassVar[bool] = False

    @property
    def indicator(self) -> Indicator:
        """Itself."""
        return self

    @abstractmethod
    def unit(self, num_outputs: int) -> float:
        """The size of the logits at a point of the set that is not needlessly long."""

    @abstractmethod
    def stretch(self, z: FloatArray, layout: Layout, error: FloatArray) -> FloatArray:
        """The least s ≥ 0, column by column, (C,), that takes s·z into the set; +∞ where no multiple lies in it.

        Args:
            z: (E, C).
            layout: Its layout.
            error: How far each logit may be off, (E, C) or what broadcasts to it; the set is entered in spite of it.
        """

    @abstractmethod
    def shortfall(self, z: FloatArray, layout: Layout) -> tuple[FloatArray, FloatArray]:
        """Half the sum of squares of what each column lacks of the set, (C,), and its gradient, (E, C)."""

    @abstractmethod
    def shortest(self, layout: Layout) -> FloatArray:
        """The z of least length in the set of each column, (E, C)."""


def ray_limit(room: FloatArray, steps: FloatArray, unlimited: float = 1.0) -> FloatArray:
    """Largest s with room + s·steps ≥ 0 in each column, at least 1; ``unlimited`` where nothing falls."""
    falling = steps < -np.finfo(float).tiny  # beyond, the ratio would overflow
    with np.errstate(over="ignore", invalid="ignore"):
        limit: FloatArray = np.where(falling, room / np.where(falling, -steps, 1.0), np.inf).min(axis=0)
    return np.where(np.isfinite(limit), np.maximum(limit, 1.0), unlimited)


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


def _golden_section(function: Callable[[FloatArray], FloatArray], limit: FloatArray) -> FloatArray:
    """The minimiser of a convex function on [0, limit], elementwise."""
    low, high = np.zeros_like(limit), limit
    for _ in range(_GOLDEN_STEPS):
        left = high - _GOLDEN * (high - low)
        right = low + _GOLDEN * (high - low)
        rising = function(left) > function(right)
        low, high = np.where(rising, left, low), np.where(rising, high, right)
    return 0.5 * (low + high)


def _margin_logits(margins: FloatArray) -> FloatArray:
    return np.stack([margins, np.zeros_like(margins)])


def _frame_residuals(strengths: FloatArray, num_outputs: int) -> FloatArray:
    return np.stack([-strengths * ((num_outputs - 1) / num_outputs), strengths / num_outputs])
