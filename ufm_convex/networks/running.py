"""A network run over its samples: each batch as it is judged, and as training sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from ufm_convex.candidate import Candidate
from ufm_convex.errors import HypothesisError, LabelsError, NetworkError
from ufm_convex.losses import Loss
from ufm_convex.networks import sums
from ufm_convex.networks._torch import torch
from ufm_convex.networks.bounding import names_of
from ufm_convex.networks.candidates import candidate_of
from ufm_convex.networks.heads import (
    Captured,
    by_convention,
    capture,
    find_head,
    leads_out,
    require_plain,
    require_recorded,
)
from ufm_convex.networks.nodes import sign_of
from ufm_convex.networks.passes import captured, left_as_it_was
from ufm_convex.networks.structure import Structure, joined, read_structure
from ufm_convex.problem import Problem

Mode: TypeAlias = Literal["eval", "train"]


@dataclass(eq=False)
class Pass:
    """What is kept of the batches of a network.

    Attributes:
        model: The network.
        asked: What was said of the head.
        mode: How the features that are judged are computed.
        structure: What feeds the head, of all batches.
        why: Why there is no bound, from the first batch that says so.
        changed: Why the network's objective is not that of its head; None if it is.
        sign: Whether features are ≥ 0 whatever the parameters: by the graph, None if it does not tell.
        negative: Whether a feature is negative.
    """

    model: Any
    asked: Any
    mode: Mode
    head: Any = None
    structure: Structure | None = None
    why: str | None = None
    changed: str | None = None
    sign: bool | None = None
    negative: bool = False
    _features: list[Any] = field(default_factory=list)
    _labels: list[Any] = field(default_factory=list)
    _sizes: list[int] = field(default_factory=list)
    _sums: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = self.model.training
        training = [(module, module.training) for module in self.model.modules()]
        if not given:
            self.model.train()
            training = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        evaluating = [(module, module.training) for module in self.model.modules()]
        self._modes = {"train": training, "eval": evaluating}
        if given:
            self._set("train")

    def add(self, inputs: Any, labels: Any, ignored: int | None) -> None:
        """Run a batch, as training sees it and as it is judged."""
        if self.head is None:
            self._find(inputs)
        kept = torch.ones_like(labels, dtype=torch.bool) if ignored is None else labels != ignored
        self._check(labels[kept])
        trained = self._trained(inputs, labels)
        if self.mode == "train":
            found = self._required(trained, labels)
        else:
            self._set("eval")
            found = captured(self.model, self.head, inputs, labels)
        rows = found.features.detach()[kept]
        self.negative = self.negative or bool((rows < 0).any())
        self._features.append(rows.cpu().float() if rows.element_size() < 4 else rows.cpu())
        self._labels.append(labels[kept].cpu())
        self._sizes.append(len(labels))
        if trained is not None:
            self._read(trained, labels, kept)

    def _find(self, inputs: Any) -> None:
        """The head; where nothing was said of it, with as many rows as the network returns numbers a sample."""
        rows = None
        if self.asked is None:
            self._set("eval")
            usual = by_convention(self.model)
            with left_as_it_was(self.model), torch.no_grad():
                output = self.model(inputs) if usual is None else capture(self.model, usual, inputs).output
            output = getattr(output, "logits", output)
            rows = output.shape[1] if isinstance(output, torch.Tensor) and output.ndim == 2 else None
        found = find_head(self.model, rows, self.asked)
        require_plain(found)
        self.head = found

    def _trained(self, inputs: Any, labels: Any) -> Captured | None:
        """The batch in training mode; None for a single sample, which batch norm refuses."""
        self._set("train")
        with left_as_it_was(self.model):
            self._set("train")
            try:
                return captured(self.model, self.head, inputs, labels, marked=True)
            except ValueError as error:
                if len(labels) != 1 or "more than 1 value per channel" not in str(error):
                    raise
                self.why = self.why or "a batch of one sample has no batch statistics"
                self.changed = self.changed or self.why
                return None

    def _required(self, trained: Captured | None, labels: Any) -> Captured:
        if trained is None:
            raise NetworkError(
                f"a batch has {len(labels)} sample.",
                expected="two or more in training mode",
                fix='use drop_last=True, or mode="eval".',
            )
        if trained.dropped:
            raise NetworkError(
                "the network has dropout, so that in training mode its features are random.",
                expected="features that are a function of the inputs",
                fix='use mode="eval"; the bound of the training objective is computed in training mode all the same.',
            )
        return trained

    def _read(self, trained: Captured, labels: Any, kept: Any) -> None:
        """Structure, sign, and sums of a batch in training mode."""
        if not self._sums:
            shapes = sums.shapes(*self.head.weight.shape)
            self._sums = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
            self.sign = sign_of(trained.features.grad_fn) if trained.features.grad_fn is not None else None
        features = trained.features.detach().to("cpu", torch.float64)
        sums.add_batch(self._sums, self.head, features[kept.cpu()], labels[kept].cpu())
        self.changed = self.changed or leads_out(trained, self.head)
        if not bool(kept.all()):
            self.why = self.why or "samples that the loss ignores share the statistics of their batch"
        if self.why is not None:
            return
        try:
            if self.changed is not None:
                raise HypothesisError(self.changed, expected="W h + b", fix="none")
            require_recorded(trained)
            found = read_structure(trained.features, names_of(self.model), self.head)
            self.structure = found if self.structure is None else joined(self.structure, found)
        except HypothesisError as error:  # the theorem does not hold for this network, and the report says why
            self.why = error.got

    def _check(self, labels: Any) -> None:
        K = self.head.out_features
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < K:
            raise LabelsError(
                f"labels run from {int(labels.min())} to {int(labels.max())}, and the head has {K} rows.",
                expected=f"classes 0 … {K - 1}",
                fix="number the classes from 0, pass the head with a row for each, or pass head=.",
            )

    def _set(self, mode: Mode) -> None:
        for module, training in self._modes[mode]:
            module.training = training

    # -- what it amounts to ---------------------------------------------------------------------------------

    def candidate(self) -> Candidate:
        """W, b and all features."""
        return candidate_of(self.head, torch.cat(self._features), torch.cat(self._labels))

    def batch_size(self) -> int:
        """The one size of all batches."""
        if len(set(self._sizes)) > 1:
            raise NetworkError(
                f"the batches have between {min(self._sizes)} and {max(self._sizes)} samples.",
                expected='one size for reduction="sum", as the decays relate to it',
                fix="use drop_last=True, or a batch size that divides the number of samples.",
            )
        return self._sizes[0]

    def objective(
        self, model: Any, loss: Loss, decays: Mapping[str, float] | None, penalised: Problem | None
    ) -> float | None:
        """(1/N) Σ ω l + Σ wd/2 θ², and the penalty on the features if there is one, in training mode."""
        if decays is None or not self._sums or self.changed is not None or not sums.is_gathered(loss):
            return None
        arrays = {name: one.numpy() for name, one in self._sums.items()}
        counts = arrays["counts"]
        means = arrays["sums"] / np.maximum(counts, 1.0)[:, None]
        losses = sums.class_losses(loss, counts, means, arrays["lse_sums"], *sums.head_arrays(self.head))
        terms = (loss.weights(len(counts)) * losses / counts.sum()).tolist()
        for name, one in model.named_parameters():
            terms.append(0.5 * decays[name] * float(one.detach().double().square().sum()))
        if penalised is not None:
            terms.append(0.5 * penalised.lambda_h * float(arrays["square_sums"].sum()))
        return math.fsum(terms)
