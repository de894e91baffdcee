"""PyTorch on W and H themselves: Adam with the features cut at zero, then L-BFGS on what Adam left positive.

What a network's training would do, with PyTorch's own loss and its own gradients, in binary64.
"""

from __future__ import annotations

import importlib.util
import time
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.local import LocalContestant
from ufm_convex.crosscheck.scaled import targets
from ufm_convex.recovery import Scaled

_STEPS = 2_000
_RATE = 0.05
_ITERATIONS = 2_000


class Torch(LocalContestant):
    """``torch.optim.Adam``, then ``torch.optim.LBFGS``, from one random start."""

    name: ClassVar[str] = "torch"
    package: ClassVar[str] = "torch"
    biased: ClassVar[bool] = False
    stationary: ClassVar[float] = 1e-6

    @classmethod
    def installed(cls) -> bool:
        """Whether the package can be imported."""
        return importlib.util.find_spec("torch") is not None

    def descend(self, scaled: Scaled, flat: FloatArray, deadline: float) -> tuple[FloatArray, int]:
        """A fixed number of steps of Adam with a falling rate, then L-BFGS; see ``LocalContestant.descend``."""
        import torch

        torch.set_num_threads(1)  # a pool of threads that the parent has started does not survive a fork
        objective = _objective(scaled)
        x = torch.tensor(flat, requires_grad=True)
        cut = scaled.cuts[0]
        floor = torch.full_like(x, -np.inf)
        if scaled.columns.nonnegative:
            floor[cut:] = 0.0
        adam = torch.optim.Adam([x], lr=_RATE)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, _STEPS)
        step = 0
        while step < _STEPS and time.monotonic() < deadline:
            adam.zero_grad()
            objective(x).backward()
            adam.step()
            rate.step()
            with torch.no_grad():
                x.clamp_(min=floor)
            step += 1
        return _polished(objective, x, floor, deadline), step


def _objective(scaled: Scaled) -> Any:
    """The objective f / κ of ``Scaled.value_and_gradient`` as a function of a tensor."""
    import torch

    columns, d = scaled.columns, scaled.coordinates.total
    K = columns.outputs.total
    y = torch.tensor(targets(columns.loss, K, columns.rows).T.copy())
    weights = torch.tensor(columns.loss_weights / scaled.kappa)
    factors = torch.tensor(scaled.kappa / columns.sigma)[:, None]

    def objective(x: torch.Tensor) -> torch.Tensor:
        w, h = x[: K * d].reshape(K, d), x[K * d :].reshape(-1, d)
        losses = torch.nn.functional.cross_entropy((h @ w.T) * factors, y, reduction="none")
        return weights @ losses + 0.5 * (x @ x)

    return objective


def _polished(objective: Any, x: Any, floor: Any, deadline: float) -> FloatArray:
    """L-BFGS on the entries above their floor; the others stay there, and none falls below it."""
    import torch

    free = (x > floor).detach()
    start = x.detach().clone()
    y = start[free].clone().requires_grad_(True)
    lbfgs = torch.optim.LBFGS(
        [y], max_iter=_ITERATIONS, tolerance_grad=1e-9, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def closure() -> Any:
        if time.monotonic() > deadline:
            raise TimeoutError
        lbfgs.zero_grad()
        value = objective(start.masked_scatter(free, y))
        value.backward()
        return value

    with suppress(TimeoutError):  # y is then the last point tried
        lbfgs.step(closure)
    end = torch.maximum(start.masked_scatter(free, y.detach()), floor)
    return np.asarray(end.numpy() if objective(end) <= objective(start) else start.numpy())
