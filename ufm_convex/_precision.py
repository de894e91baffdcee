"""The precision of balls for the package: the verifier's own module, without the rest of the verifier.

FLINT has one precision for a process, and so there is one lock, in ``verifier.precision``. To import that by its name
is to import the whole verifier, of which a bound needs nothing else; so the file is executed alone, and stands in
``sys.modules`` under its name, where the verifier finds it when it is imported.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ufm_convex.verifier.precision import working_precision

_NAME, _FILE = "ufm_convex.verifier.precision", Path(__file__).parent / "verifier" / "precision.py"

__all__ = ["working_precision"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(_NAME, _FILE)
        if spec is None or spec.loader is None:
            raise ImportError(f"{_FILE} cannot be imported", name=_NAME)
        module = sys.modules[_NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return getattr(sys.modules[_NAME], name)
