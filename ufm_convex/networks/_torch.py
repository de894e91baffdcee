"""PyTorch, or the error that says how to get it. Every module of this room takes it from here."""

from __future__ import annotations

import importlib.util

from ufm_convex.errors import MissingExtraError


def require() -> None:
    """Raise ``MissingExtraError`` unless PyTorch can be imported; nothing is imported."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError(
            "ufm_convex.networks needs the package torch, which is not installed.",
            expected="the package torch (PyTorch)",
            fix="pip install torch",
        )


require()
import torch  # noqa: E402 - after the check, so that the message is ours

__all__ = ["require", "torch"]
