"""The gap at the end of an epoch: a callback of Lightning where it is installed, a call in a plain loop otherwise."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from ufm_convex._arrays import whole
from ufm_convex.errors import ProblemError, shown
from ufm_convex.networks._torch import torch
from ufm_convex.networks.heads import find_head
from ufm_convex.networks.metric import GapMetric, require_measurable
from ufm_convex.networks.passes import BatchToXY, batches, captured, device_of, left_as_it_was
from ufm_convex.problem import Problem


def _base() -> Any:
    for name in ("lightning", "pytorch_lightning"):
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(f"{name}.pytorch" if name == "lightning" else name).Callback
    return object


class GapCallback(_base()):  # type: ignore[misc]
    """Measures the gap of the last layer at the end of every so many epochs, with the network frozen.

    In a plain loop: ``callback(model)`` after an epoch returns the numbers of ``GapMetric.compute``; all are kept in
    ``history``. In Lightning: ``Trainer(callbacks=[callback])``; the numbers are logged under their names.

    Args:
        loader: The training samples, the same at every call; batches (inputs, labels).
        problem: The problem, with the class counts of the loader.
        head: The head or its name, where conventions do not find it.
        every: Epochs between two measurements.
        batch_to_xy: From what the loader yields to inputs and labels.

    Raises:
        ProblemError: ``every`` is no integer ≥ 1.
        UFMError: as ``GapMetric``, of the problem.
    """

    def __init__(
        self,
        loader: Any,
        problem: Problem,
        *,
        head: Any = None,
        every: int = 1,
        batch_to_xy: BatchToXY | None = None,
    ) -> None:
        super().__init__()
        if (whole(every) or 0) < 1:
            raise ProblemError(f"every is {shown(every)}.", expected="an integer >= 1", fix="use 1: every epoch.")
        require_measurable(problem)
        self.history: list[dict[str, float]] = []
        self._loader, self._problem, self._head = loader, problem, head
        self._every, self._take = int(every), batch_to_xy
        self._metric: GapMetric | None = None

    def __call__(self, model: Any) -> dict[str, float]:
        """The numbers of ``GapMetric.compute`` for the network as it is, in evaluation mode; it is left as it was."""
        head = find_head(model, self._problem.num_classes, self._head)
        if self._metric is None or self._metric.head is not head:
            self._metric = GapMetric(head, self._problem)
        metric = self._metric
        metric.reset()
        with left_as_it_was(model), torch.no_grad():
            model.eval()
            for inputs, labels in batches(self._loader, self._take, device_of(model)):
                metric.update(captured(model, head, inputs, labels).features, labels)
        found: dict[str, float] = metric.compute()
        self.history.append(found)
        return found

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Lightning's hook: measure and log."""
        if (trainer.current_epoch + 1) % self._every == 0:
            pl_module.log_dict(self(pl_module))
