"""SciPy's L-BFGS-B on W and H themselves, H ≥ 0 as bounds: what most people would try first."""

from __future__ import annotations

from typing import ClassVar

from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.local import LocalContestant
from ufm_convex.recovery import Scaled

_ITERATIONS = 20_000
_GRADIENT = 1e-9


class LBFGSB(LocalContestant):
    """``scipy.optimize.minimize(method="L-BFGS-B")`` from one random start."""

    name: ClassVar[str] = "lbfgsb"
    package: ClassVar[str] = "scipy"
    stationary: ClassVar[float] = 1e3 * _GRADIENT

    def descend(self, scaled: Scaled, flat: FloatArray, deadline: float) -> tuple[FloatArray, int]:
        """Until its own criterion holds; the deadline is left to the caller."""
        return scaled.minimise(flat, _ITERATIONS, _GRADIENT)
