"""Evidence of a layer-peeled problem, read off that of a penalised one (docs/norm_balls.md, section 2)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ufm_convex import enclosure
from ufm_convex._arrays import FloatArray
from ufm_convex.duality import Condition, KKTReport
from ufm_convex.enclosure import ProvedBound
from ufm_convex.evidence import Evidence, Representation
from ufm_convex.methods.penalised import INWARDS, PenalisedFamily
from ufm_convex.relaxation import Columns, Dual, DualPoint, FrameDual, Gram, GramPoint

_PRICED = (
    "dual_slack_psd",
    "stationarity_weight_gram",
    "stationarity_feature_gram",
    "complementarity_psd",
    "complementarity_nonnegativity",
    "balance",
)
"""Conditions on S, T or the decays, all of which are 0 where the balls do not bind."""


@dataclass(frozen=True, eq=False)
class PeeledEvidence(Evidence):
    """Evidence of a layer-peeled problem: that of a penalised one, with its factors in the balls.

    Attributes:
        inner: Evidence of the penalised problem at the factors in the balls.
        scale: Units of the problem in units of the penalised one.
        idle: Whether ``lower`` is the least value of the loss alone, the bound of μ = 0: the balls do not bind.
    """

    inner: Representation
    scale: float
    idle: bool

    @classmethod
    def of(cls, family: PenalisedFamily, found: Representation) -> PeeledEvidence:
        """The two bounds that a penalised problem proves of the problem, and the points behind them."""
        fitted, upper = found, ProvedBound(math.inf, found.upper.proof)
        for one, loss in family.inside(found):
            if upper.exact is None or loss < upper.exact:
                fitted = one
                upper = ProvedBound(enclosure.fraction_above(loss), found.upper.proof, loss, one.upper.exact_point)
        lower, idle = family.least, True
        if found.lower.exact is not None:
            exact = family.lower(found.problem, found.lower.exact)
            if lower.exact is None or exact > lower.exact:
                lower = replace(found.lower, value=enclosure.fraction_below(exact), exact=exact)
                idle = False
        scale = float(family.scale)
        fitted = replace(fitted, dual=_nothing(found.dual)) if idle else fitted
        dual = _scaled_dual(fitted.dual, scale)
        return cls(family.problem, found.run, fitted.point, dual, lower, upper, fitted, scale, idle)

    @property
    def multiplier(self) -> float:
        """μ of the lower bound, in the units of the problem: minus the derivative of the minimum in K √(E_W E_H)."""
        if self.idle:
            return 0.0
        penalised = self.inner.problem
        return self.scale * math.sqrt(penalised.lambda_w) * math.sqrt(penalised.lambda_h)

    def report(self, epsilon: float) -> KKTReport:
        """The conditions of the penalised problem at the factors in the balls, and two of the balls themselves.

        Where the balls do not bind, μ = 0 and S = T = 0, and conditions on these hold as they stand.
        """
        family = PenalisedFamily.of(self.problem)
        squares, penalised = self.inner.square_norms() or (Fraction(0), Fraction(0)), self.inner.problem
        shares = [float(square / radius) for square, radius in zip(squares, family.radii, strict=True)]
        # residuals are relative to loss and penalty together, the gap to the loss alone
        whole = max(self.inner.upper.value, np.finfo(float).tiny)
        share = min(1.0, self.upper.value / self.scale / whole)
        prices = [
            0.0 if self.idle else 0.5 * decay * float(radius) / whole
            for decay, radius in zip((penalised.lambda_w, penalised.lambda_h), family.radii, strict=True)
        ]
        unpaid = sum(price * abs(1.0 - one) for price, one in zip(prices, shares, strict=True))
        inner = self.inner.report(epsilon * share)
        limit = inner["duality_gap"].tolerance
        if self.idle:
            residuals = dict.fromkeys(_PRICED, 0.0) | {"duality_gap": self.relative_gap}
            inner = KKTReport(tuple(replace(one, residual=residuals.get(one.name, one.residual)) for one in inner))
        radius = Condition("primal_radius", max(0.0, *(one - 1.0 for one in shares)), float(np.finfo(float).eps))
        return KKTReport((*inner.conditions, radius, Condition("complementarity_radius", unpaid, limit)))

    def solver_report(self, epsilon: float) -> KKTReport | None:
        """That of the penalised problem."""
        return self.inner.solver_report(epsilon)

    @property
    def estimate(self) -> float | None:
        """The upper bound: the loss at the factors."""
        return self.upper.value

    def slack(self) -> FloatArray:
        """See ``Evidence.slack``; D is μ² I."""
        if self.idle:
            return np.zeros_like(self.inner.slack())
        return self.scale**2 * self.inner.slack()

    def dense_point(self) -> GramPoint:
        """See ``Evidence.dense_point``."""
        return self.inner.dense_point()

    def margins(self) -> FloatArray:
        """See ``Evidence.margins``."""
        return self.inner.margins()

    def feature_norms(self) -> FloatArray:
        """See ``Evidence.feature_norms``."""
        return self.inner.feature_norms()

    def weight_norms(self) -> FloatArray:
        """See ``Evidence.weight_norms``."""
        return self.inner.weight_norms()

    def loss_gains(self) -> FloatArray:
        """See ``Evidence.loss_gains``."""
        return self.inner.loss_gains()

    def group_means(self, columns: Columns) -> tuple[Gram, FloatArray]:
        """See ``Evidence.group_means``."""
        return self.inner.group_means(columns)

    def collapsed(self) -> tuple[int, ...]:
        """As in the penalised problem: the length that a collapsed feature gives up is worth its price μ."""
        return self.inner.collapsed()

    def zeros(self) -> tuple[int, ...]:
        """See ``Evidence.zeros``."""
        return self.inner.zeros()

    def merged(self) -> tuple[tuple[int, ...], ...]:
        """As in the penalised problem."""
        return self.inner.merged()

    def silent(self, classes: Iterable[int]) -> tuple[int, ...]:
        """As in the penalised problem."""
        return self.inner.silent(classes)

    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """See ``Evidence.factors``; both lie in their balls."""
        W, H = self.inner.factors(feature_dim)
        weights, features = self.inner.square_norms() or (Fraction(0), Fraction(0))
        return _of_length(W, float(weights)), _of_length(H, float(features))

    @property
    def bias(self) -> FloatArray:
        """See ``Evidence.bias``: the balls do not bound it."""
        return self.inner.bias

    @property
    def factor_residual(self) -> float:
        """See ``Evidence.factor_residual``."""
        return self.inner.factor_residual

    @property
    def rank(self) -> int:
        """See ``Evidence.rank``."""
        return self.inner.rank


def _of_length(matrix: FloatArray, square: float) -> FloatArray:
    """The matrix at a length that is proved to be admissible, which narrowing to fewer dimensions may have changed."""
    found = math.fsum((matrix * matrix).ravel())
    if abs(found - square) <= INWARDS * square or found == 0.0:
        return matrix
    return matrix * (math.sqrt(square / found) * (1.0 - INWARDS))


def _nothing(dual: DualPoint | FrameDual | Dual) -> DualPoint | FrameDual | Dual:
    """V = 0 and T = 0 in the same representation."""
    if isinstance(dual, FrameDual):
        return FrameDual(np.zeros_like(dual.strengths))
    if isinstance(dual, Dual):
        return Dual(0.0 * dual.V, None if dual.T is None else 0.0 * dual.T)
    return DualPoint(np.zeros_like(dual.residuals), np.zeros_like(dual.nonnegativity))


def _scaled_dual(dual: DualPoint | FrameDual | Dual, scale: float) -> DualPoint | FrameDual | Dual:
    """The dual point in the units of the problem: residuals have none, T has those of μ²."""
    if isinstance(dual, FrameDual):
        return dual
    if isinstance(dual, Dual):
        return Dual(dual.V, None if dual.T is None else scale**2 * dual.T)
    return DualPoint(dual.residuals, dual.nonnegativity * scale**2)
