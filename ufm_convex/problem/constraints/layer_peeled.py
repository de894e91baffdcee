"""The layer-peeled model: norm balls in place of the penalties.

    min Σ_k pt_k l_k(W h_k)   s.t.   (1/K) Σ_k ‖w_k‖² ≤ E_W,   (1/K) Σ_k (1/n_k) Σ_{i: y_i = k} ‖h_i‖² ≤ E_H

Fang, He, Long, Su, PNAS 118 (2021), equation 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ufm_convex import _given
from ufm_convex.problem.constraints.base import Constraint


@dataclass(frozen=True)
class LayerPeeled(Constraint):
    """Bounds on the mean square norms of the classifier's rows and of the features.

    Args:
        weight_radius: E_W > 0, the bound of (1/K) Σ_k ‖w_k‖².
        feature_radius: E_H > 0, the bound of (1/K) Σ_k mean of ‖h_i‖² over the samples of class k.

    Raises:
        ProblemError: a bound is not a finite number > 0.
    """

    name: ClassVar[str] = "layer-peeled"
    replaces_decays: ClassVar[bool] = True
    weight_radius: float
    feature_radius: float

    def __post_init__(self) -> None:
        for name in ("weight_radius", "feature_radius"):
            fix = "it bounds a mean square norm; the literature takes 1 to 100."
            value = _given.positive(name, getattr(self, name), fix=fix)
            object.__setattr__(self, name, value)

    def parameters(self) -> dict[str, Any]:
        """E_W and E_H."""
        return {"weight_radius": self.weight_radius, "feature_radius": self.feature_radius}
