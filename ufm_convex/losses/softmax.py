"""The base of all cross-entropies, which any file of this folder may subclass.

    l(z)  = log Σ_j exp(z_j) − <y, z>,
    l*(v) = −Ent(p),  p = v + y in the simplex (+∞ elsewhere),      Ent(p) = −Σ p_j log p_j,

for any target y in the simplex: hard, smoothed, soft and contrastive targets are this one loss. The own entry of the
target is 1 minus the others, exactly; in binary64 the sum is 1 up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.losses.base import Loss, negative_entropy, own_term, ray_limit
from ufm_convex.losses.layout import ExactColumn, Layout

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_SLACK = 4.0 * np.finfo(float).eps
"""A rounding error of the size of a sum, times the number of its terms, is not "outside"."""


class SoftmaxLoss(Loss):
    """Cross-entropy against the target of the layout.

    Asked of a subclass: ``name``, ``validate`` and ``parameters``, and which targets there are: ``target`` if it is
    ``alike``, else ``target_columns`` and ``exact_column``.
    """

    shift_invariant: ClassVar[bool] = True

    @property
    def of_logits(self) -> bool:
        """Whether l(z) = log-sum-exp(z) − <y, z> at the logits themselves, y of ``target_columns``: it is linear in y.

        So it is for a subclass that leaves ``values`` alone.
        """
        return type(self).values is SoftmaxLoss.values

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """Log Σ exp(z_j − z_y) − <y, z − z_y>: no cancellation when the loss is tiny."""
        differences = z - layout.take(z)
        others = layout.without_own(differences, -np.inf)
        peak = np.maximum(others.max(axis=0), 0.0)
        rest, own = layout.sum(np.exp(others - peak)), layout.own_numbers
        # where no other logit exceeds the own one, peak = 0 and log1p(rest) keeps all digits of a tiny loss
        smooth = np.where(peak > 0.0, peak + np.log(own * np.exp(-peak) + rest), np.log(own) + np.log1p(rest / own))
        return smooth if layout.hard else smooth - layout.sum(layout.without_own(layout.target * differences, 0.0))

    def unbounded_bias(self, num_outputs: int, rows: IntArray) -> IntArray:
        """Outputs without mass: no target of a sample has a share of them."""
        _, other = self.target(num_outputs)
        return np.zeros(0, dtype=np.int64) if other > 0.0 else np.setdiff1d(np.arange(num_outputs), rows)

    def floors(self, num_outputs: int, rows: IntArray) -> FloatArray:
        """The entropies of the targets."""
        if self.table is not None:
            return self.table.summed(lambda y: -y * np.log(y))[rows]
        layout = self.frame_layout(num_outputs)
        entropy = 0.0 if layout.hard else -float(self.conjugate(np.zeros(layout.target.shape), layout)[0])
        return np.full(rows.size, max(entropy, 0.0))

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """softmax(z) − y; the own entry is minus the sum of the others, so columns sum to zero."""
        z = layout.hide(z, -np.inf)
        shares = np.exp(z - z.max(axis=0))
        return layout.closed(shares / layout.sum(shares) - layout.target)

    def conjugate(self, v: FloatArray, layout: Layout) -> FloatArray:
        """−Ent(v + y), with p_y log p_y taken as log1p of the other entries' sum; +inf outside the simplex."""
        wrong = layout.without_own(v + layout.target, 0.0)
        mass = layout.sum(wrong)
        clipped = np.clip(wrong, 0.0, None)
        terms = layout.sum(clipped * np.log(np.where(clipped > 0.0, clipped, 1.0)))
        slack = _SLACK * layout.num_outputs
        outside = (wrong.min(axis=0) < -_SLACK) | (mass > 1.0 + slack)
        outside |= np.abs(layout.sum(layout.hide(v))) > slack
        spread = np.clip(1.0 - mass, 0.0, None) * np.log(layout.own_numbers)
        return np.where(outside, np.inf, terms + own_term(mass) - spread)

    def into_domain(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Clip p at zero and renormalise it where its wrong-class mass exceeds one."""
        finite = np.nan_to_num(v, nan=0.0, posinf=1.0, neginf=-1.0)
        wrong = np.clip(layout.without_own(finite + layout.target, 0.0), 0.0, None)
        return layout.closed(wrong / np.maximum(layout.sum(wrong), 1.0) - layout.target)

    def violation(self, v: FloatArray, layout: Layout) -> float:
        """Largest of: a negative probability, a column of p that does not sum to one."""
        p = layout.hide(v + layout.target)
        return float(max(0.0, -p.min(), np.abs(layout.sum(p) - 1.0).max()))

    def limit(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Largest s that keeps y + s v in the simplex."""
        return ray_limit(layout.target, layout.hide(v))

    def fenchel_young(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """KL(p ‖ softmax z) with p = v + y, as Σ p (e^δ − 1 − δ), δ = log softmax z − log p: a sum of terms ≥ 0."""
        p, z = layout.hide(v + layout.target), layout.hide(z, -np.inf)
        log_p = np.log(np.where(p > 0.0, p, 1.0))
        shifted = z - z.max(axis=0)
        log_q = shifted - np.log(layout.sum(np.exp(shifted)))
        delta = np.where(p > 0.0, log_q - log_p, 0.0)
        near = np.clip(delta, -1.0, 1.0)
        # e^δ − 1 − δ loses half its digits to cancellation near zero, where its series is short
        series = near * near * (0.5 + near * (1 / 6 + near * (1 / 24 + near * (1 / 120 + near / 720))))
        small = np.where(np.abs(near) < 1e-2, series, np.expm1(near) - near)
        terms = np.where(np.abs(delta) < 1.0, p * small, np.exp(log_q) - p - p * delta)
        return layout.sum(np.where(p > 0.0, terms, np.exp(log_q)))

    def expression(self, z: cp.Expression, layout: Layout) -> cp.Expression:
        """log-sum-exp with the numbers as offsets log n_e, minus the inner product with the target."""
        import cvxpy as cp

        linear = cp.sum(cp.multiply(layout.hide(layout.numbers * layout.target), z), axis=0)
        if layout.plain:
            return cp.log_sum_exp(z, axis=0) - linear
        # an absent entry is a second copy of the own one, and the copies share its weight: no −inf, no ragged columns
        absent = (layout.numbers == 0.0).astype(float)
        share = layout.own_numbers / (1.0 + absent.sum(axis=0))
        offsets = np.log(np.where(absent + layout.is_own > 0.0, share, layout.numbers + absent))
        if absent.any():
            z = cp.multiply(1.0 - absent, z) + cp.multiply(absent, layout.own_expression(z))
        return cp.log_sum_exp(z + offsets, axis=0) - linear

    def enclose_value(self, z: Sequence[arb], column: ExactColumn) -> arb:
        """Log Σ_j e^{z_j − z_y} − Σ_j y_j (z_j − z_y) in balls."""
        from flint import arb

        own, rest, linear = z[column.own], arb(0), arb(0)
        for j, number, y in column.rest:
            difference = z[j] - own
            rest += number * difference.exp()
            if y:
                linear += arb(number * y) * difference
        copies = column.numbers[column.own]
        return (rest.log1p() if copies == 1 else arb(copies).log() + (rest / copies).log1p()) - linear

    def enclose_conjugate(self, v: Sequence[fmpq], column: ExactColumn) -> arb:
        """−Ent(v + y) in balls, after an exact test that v + y lies in the simplex."""
        from flint import arb, fmpq

        entries = zip(column.numbers, v, column.target, strict=True)
        p = [(number, entry + y) for number, entry, y in entries if number]
        if min(share for _, share in p) < 0 or sum((number * share for number, share in p), fmpq(0)) != 1:
            raise ValueError(f"column {column.row} lies outside the simplex")
        return sum((number * negative_entropy(share) for number, share in p), arb(0))
