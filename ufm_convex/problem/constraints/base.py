"""What a constraint says about the problem that carries it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ufm_convex.losses import Loss


class Constraint(ABC):
    """A condition on W and H, or on the logits, that is part of a ``Problem``.

    Subclasses are frozen dataclasses: they compare by content.
    """

    name: ClassVar[str]
    replaces_decays: ClassVar[bool] = False
    """Whether it stands in place of the penalty: both decays are then None."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What the constraint was made with, as plain values."""

    @property
    def loss(self) -> Loss | None:
        """The loss that stands for the constraint, where it replaces the loss; else None."""
        return None
