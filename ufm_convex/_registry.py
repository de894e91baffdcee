"""Registries by presence: a module in a folder that defines a named subclass is in the registry, nothing else to do.

Other packages have a door: an entry point in the group of a registry names a class, which is imported when it is asked
for and checked then (docs/plugins.md). Names come from people, so looking one up and making what it stands for end in
errors that list what there is.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ufm_convex._given import require_known
from ufm_convex.errors import PluginError, ProblemError, UnknownNameError, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(MutableMapping[str, type[T]], Generic[T]):
    """Name → class: those of a folder, then those that installed packages name by entry points.

    A class of another package is imported when it is looked up, or when all are. No name of this package can be taken
    by another: that, and what is no such class, is a ``PluginError``, which says the package.

    Args:
        own: Name → class of the folder.
        base: What every class is a subclass of.
        group: Name of the group of entry points.
    """

    def __init__(self, own: Mapping[str, type[T]], base: type[T], group: str) -> None:
        self._own, self._base, self._group = dict(own), base, group
        self._loaded: dict[str, type[T]] = {}

    @cached_property
    def plugged(self) -> dict[str, EntryPoint]:
        """Name → entry point of other packages, none of them imported."""
        from importlib.metadata import entry_points

        found: dict[str, EntryPoint] = {}
        for one in entry_points(group=self._group):
            if (other := found.get(one.name)) is not None or one.name in self._own:
                holder = "this package" if other is None else _package(other)
                _refuse(one, f"takes the name of one of {holder}", "a name of its own", "give it another name")
            found[one.name] = one
        return found

    def __getitem__(self, name: str) -> type[T]:
        if name in self._own:
            return self._own[name]
        if name not in self._loaded:
            self._loaded[name] = loaded(self.plugged[name], self._base)
        return self._loaded[name]

    def __setitem__(self, name: str, kind: type[T]) -> None:
        self._own[name] = kind

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self.plugged

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *self.plugged])

    def __len__(self) -> int:
        return len(self._own) + len(self.plugged)


def loaded(entry: EntryPoint, base: type[T]) -> type[T]:
    """The class that an entry point names, imported and checked.

    Raises:
        PluginError: it cannot be imported, is no concrete subclass of ``base``, lacks what ``base`` asks a class to
            state, or has another name than the entry point.
    """
    wanted = f"a concrete subclass of {base.__module__}.{base.__qualname__} whose name is {entry.name!r}"
    try:
        kind = entry.load()
    except Exception as error:  # whatever a module of somebody else raises while it is imported
        _refuse(entry, f"cannot be imported: {type(error).__name__}: {error}", wanted, "mend its import", error)
    if not inspect.isclass(kind) or not issubclass(kind, base):
        _refuse(entry, f"names {shown(kind)}", wanted, f"let it name a subclass of {base.__name__}")
    if lacking := sorted(getattr(kind, "__abstractmethods__", ())):
        _refuse(entry, f"names a class without {', '.join(lacking)}", wanted, "write what is missing")
    if unstated := sorted({key for key in _asked(base) if not hasattr(kind, key)}):
        _refuse(entry, f"names a class that does not state {', '.join(unstated)}", wanted, "state it in the class")
    if (name := getattr(kind, "name", None)) != entry.name:
        _refuse(entry, f"names a class that calls itself {shown(name)}", wanted, "let both names be one")
    return kind


def _asked(base: type) -> Iterator[str]:
    """Attributes that a class has to state: annotated as ``ClassVar`` in ``base`` or above it."""
    for kind in base.__mro__:
        yield from (key for key, hint in inspect.get_annotations(kind).items() if "ClassVar" in str(hint))


def _package(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else f"the package {entry.dist.name!r}"


def _refuse(entry: EntryPoint, found: str, expected: str, fix: str, cause: Exception | None = None) -> NoReturn:
    name = f"the entry point {entry.name!r} = {entry.value!r} in {entry.group!r} of {_package(entry)}"
    away = "" if entry.dist is None else f", or remove the package: pip uninstall {entry.dist.name}"
    raise PluginError(f"{name} {found}.", expected=expected, fix=f"{fix}{away}.") from cause


def plugged_in(package: str, base: type[T], group: str) -> Registry[T]:
    """``discover``, and the door for other packages: the entry points in ``group``."""
    return Registry(discover(package, base), base, group)


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
