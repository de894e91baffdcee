"""Trained networks: what their last layer is worth, and a proved lower bound of their whole training objective.

What runs a network needs the extra ``torch`` (PyTorch), and is imported when it is first used; so are torchmetrics and
Lightning, where they are installed, with the two classes that are theirs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ufm_convex.networks.bounding import TrainingBound as TrainingBound
    from ufm_convex.networks.bounding import training_bound as training_bound
    from ufm_convex.networks.callback import GapCallback as GapCallback
    from ufm_convex.networks.decays import parameter_decays as parameter_decays
    from ufm_convex.networks.heads import find_head as find_head
    from ufm_convex.networks.judging import judge as judge
    from ufm_convex.networks.metric import GapMetric as GapMetric
    from ufm_convex.networks.report import NetworkReport as NetworkReport
    from ufm_convex.networks.report import report_on as report_on
    from ufm_convex.networks.reviving import Revival as Revival
    from ufm_convex.networks.reviving import revive as revive
    from ufm_convex.networks.structure import Normalisation as Normalisation
    from ufm_convex.networks.structure import Structure as Structure
    from ufm_convex.networks.structure import read_structure as read_structure

_HOME = {
    "GapCallback": "callback",
    "GapMetric": "metric",
    "NetworkReport": "report",
    "Normalisation": "structure",
    "Structure": "structure",
    "TrainingBound": "bounding",
    "find_head": "heads",
    "judge": "judging",
    "parameter_decays": "decays",
    "read_structure": "structure",
    "Revival": "reviving",
    "report_on": "report",
    "revive": "reviving",
    "training_bound": "bounding",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
