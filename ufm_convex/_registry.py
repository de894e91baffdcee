"""Registries by presence: a module in a folder that defines a named subclass is in the registry, nothing else to do.

A module is imported when a class in it is asked for, or when all are. Other packages have a door: an entry point in
the group of a registry names a class, which is imported when it is asked for and checked then (docs/plugins.md). What
is installed is looked through when a name is not of this package, or when all are asked for. Names come from people,
so looking one up and making what it stands for end in errors that list what there is.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ufm_convex._given import require_known
from ufm_convex.errors import PluginError, ProblemError, UnknownNameError, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Folder(MutableMapping[str, type[T]], Generic[T]):
    """Name → class, for the concrete subclasses of ``base`` that modules of ``package`` define with a ``name``.

    In the order of the files. A module is imported when it is come to; first comes the one that is called like the
    class.

    Args:
        package: The ``__name__`` of an imported package.
        base: An abstract class whose concrete subclasses carry a ``name``.
    """

    def __init__(self, package: str, base: type[T]) -> None:
        self._package, self._base = package, base
        modules = pkgutil.iter_modules(sys.modules[package].__path__)
        self._found: dict[str, dict[str, type[T]] | None] = {module.name: None for module in modules}

    def _classes(self, module: str) -> dict[str, type[T]]:
        """Those of one module, imported if need be."""
        found = self._found[module]
        if found is None:
            found = {}
            imported = importlib.import_module(f"{self._package}.{module}")
            for _, kind in inspect.getmembers(imported, inspect.isclass):
                own = kind.__module__ == imported.__name__ and "name" in vars(kind)
                if own and issubclass(kind, self._base) and not inspect.isabstract(kind):
                    found[str(vars(kind)["name"])] = kind
            self._found[module] = found  # only now: of a module that cannot be imported the next caller hears, too
        return found

    def _home(self, name: str) -> dict[str, type[T]]:
        """The classes of the module with the class of that name; ``KeyError`` if there is none."""
        likely = name.replace("-", "_") if isinstance(name, str) else ""
        for module in ([likely] if likely in self._found else []) + list(self._found):
            if name in (classes := self._classes(module)):
                return classes
        raise KeyError(name)

    @property
    def given(self) -> dict[str, type[T]]:
        """Those that were put in by hand, in no module of the folder."""
        return self._found.get("") or {}

    def __getitem__(self, name: str) -> type[T]:
        return self._home(name)[name]

    def __setitem__(self, name: str, kind: type[T]) -> None:
        if name not in self:
            self._found[""] = self.given | {name: kind}  # no module has the empty name
        self._home(name)[name] = kind

    def __delitem__(self, name: str) -> None:
        del self._home(name)[name]

    def __iter__(self) -> Iterator[str]:
        for module in list(self._found):
            yield from list(self._classes(module))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Registry(MutableMapping[str, type[T]], Generic[T]):
    """Name → class: those of a folder, then those that installed packages name by entry points.

    A class of another package is imported when it is looked up, or when all are. No name of this package can be taken
    by another: that, and what is no such class, is a ``PluginError``, which says the package.

    Args:
        own: Name → class of the folder.
        base: What every class is a subclass of.
        group: Name of the group of entry points.
    """

    def __init__(self, own: MutableMapping[str, type[T]], base: type[T], group: str) -> None:
        self._own, self._base, self._group = own, base, group
        self._loaded: dict[str, type[T]] = {}

    @cached_property
    def plugged(self) -> dict[str, EntryPoint]:
        """Name → entry point of other packages, none of them imported."""
        if not may_be_named(self._group):
            return {}
        from importlib.metadata import entry_points

        found: dict[str, EntryPoint] = {}
        for one in entry_points(group=self._group):
            if (other := found.get(one.name)) is not None or one.name in self._own:
                holder = "this package" if other is None else _package(other)
                _refuse(one, f"takes the name of one of {holder}", "a name of its own", "give it another name")
            found[one.name] = one
        return found

    @property
    def guests(self) -> list[str]:
        """The names that are not of the folder: of other packages, and put in by hand."""
        return [*(self._own.given if isinstance(self._own, Folder) else ()), *self.plugged]

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
        yield from self._own
        yield from self.plugged

    def __len__(self) -> int:
        return len(self._own) + len(self.plugged)


def loaded(entry: EntryPoint, base: type[T]) -> type[T]:
    """The class that an entry point names, imported and checked.

    Raises:
        PluginError: it cannot be imported, is no concrete subclass of ``base``, lacks what ``base`` asks a class to
            state, or has another name than the entry point.
    """
    wanted = f"a concrete subclass of {full_name(base)} whose name is {entry.name!r}"
    try:
        kind = entry.load()
    except (Exception, SystemExit) as error:  # whatever a module of somebody else raises while it is imported
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


def _refuse(entry: EntryPoint, found: str, expected: str, fix: str, cause: BaseException | None = None) -> NoReturn:
    name = f"the entry point {entry.name!r} = {entry.value!r} in {entry.group!r} of {_package(entry)}"
    away = "" if entry.dist is None else f", or remove the package: pip uninstall {entry.dist.name}"
    raise PluginError(f"{name} {found}.", expected=expected, fix=f"{fix}{away}.") from cause


def may_be_named(group: str) -> bool:
    """Whether an installed package may name a group of entry points: a look into their files, quicker than asking.

    ``importlib.metadata`` takes 15 ms to import, and nearly always answers no. Where it is asked for more than folders
    (packages in archives, finders of other kinds), the question is left to it.
    """
    ways = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    if any(finder is not PathFinder for finder in ways):
        return True
    try:
        return any(_names(Path(root or "."), group.encode()) for root in sys.path)
    except OSError:
        return True


def _names(root: Path, group: bytes) -> bool:
    """Whether the metadata in a folder name the group; of what is no folder, whether it may have any."""
    if not root.is_dir():
        return root.exists()
    for name in os.listdir(root):
        if name.lower().endswith((".dist-info", ".egg-info")) or name.lower() == "egg-info":
            path = root / name / "entry_points.txt"
            if path.is_file() and group in path.read_bytes():
                return True
    return False


def plugged_in(package: str, base: type[T], group: str) -> Registry[T]:
    """The classes of a folder, and the door for other packages: the entry points in ``group``."""
    return Registry(Folder(package, base), base, group)


def full_name(kind: type) -> str:
    """What a class calls itself, with its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def is_own(kind: type) -> bool:
    """Whether a class is one of this package: the very one that its module has under its name.

    What a class says of its module is somebody's word.
    """
    own = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
    return own and getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind


def discover(package: str, base: type[T]) -> dict[str, type[T]]:
    """``Folder``, all of it imported."""
    return dict(Folder(package, base))


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
