"""Trained networks: what their last layer is worth, and a proved lower bound of their whole training objective.

Needs the extra ``torch``. Importing ``ufm_convex`` does not import this room, nor PyTorch.
"""

from __future__ import annotations

from ufm_convex.networks.decays import parameter_decays
from ufm_convex.networks.heads import find_head
from ufm_convex.networks.structure import Normalisation, Structure, read_structure
from ufm_convex.networks.training_bound import TrainingBound, training_bound

__all__ = [
    "Normalisation",
    "Structure",
    "TrainingBound",
    "find_head",
    "parameter_decays",
    "read_structure",
    "training_bound",
]
