"""Registries by presence: a module in a folder that defines a named subclass is in the registry, nothing else to do.

Names come from people, so looking one up and making what it stands for end in errors that list what there is.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from ufm_convex._given import require_known
from ufm_convex.errors import ProblemError, UnknownNameError, shown

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


def choose(registry: Mapping[str, T], name: object, what: str, fix: str, *, also: str = "") -> T:
    """The entry of a registry called ``name``.

    Args:
        registry: Name → entry.
        name: What was asked for, of any type.
        what: What the entries are, in one word.
        fix: What to do about a name that is not known.
        also: A word that is accepted where the name is given, though it stands for no entry.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if isinstance(name, str) and name in registry:
        return registry[name]
    raise UnknownNameError(
        f"{what} {shown(name)} is not known.",
        expected="one of " + ", ".join([*([also] if also else []), *sorted(registry)]),
        fix=fix,
    )


def make(kind: type[T], name: str, what: str, parameters: Mapping[str, Any] | None) -> T:
    """An instance of ``kind``, which is the ``what`` called ``name``, with parameters from a file or command line.

    Raises:
        ProblemError: it has no such parameter, lacks one, or refuses a value.
    """
    given, allowed = dict(parameters or {}), inspect.signature(kind).parameters
    require_known(given, allowed, f"{what} {name!r} parameter", ProblemError)
    needed = [key for key, one in allowed.items() if one.default is one.empty]
    missing = [key for key in needed if key not in given]
    if missing:
        raise ProblemError(
            f"{what} {name!r} lacks the parameter {missing[0]!r}.",
            expected="values for " + ", ".join(needed),
            fix=f"add it to the table of the {what}, or on the command line.",
        )
    return kind(**given)
