"""Registries by presence: a module in a folder that defines a named subclass is in the registry, nothing else to do."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from typing import TypeVar

T = TypeVar("T")


def discover(package: str, base: type[T]) -> dict[str, type[T]]:
    """Name → class, for the concrete subclasses of ``base`` that modules of ``package`` define with a ``name``.

    Args:
        package: The ``__name__`` of an imported package.
        base: An abstract class whose concrete subclasses carry a ``name``.
    """
    found: dict[str, type[T]] = {}
    for module_info in pkgutil.iter_modules(sys.modules[package].__path__):
        module = importlib.import_module(f"{package}.{module_info.name}")
        for _, kind in inspect.getmembers(module, inspect.isclass):
            own = kind.__module__ == module.__name__ and "name" in vars(kind)
            if own and issubclass(kind, base) and not inspect.isabstract(kind):
                found[str(vars(kind)["name"])] = kind
    return found
