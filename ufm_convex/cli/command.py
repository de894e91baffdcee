"""What makes a function a command: ``@command`` registers it, groups its options and guards it.

A parameter annotated with a dataclass stands for all fields of that dataclass, each an option; so commands that take
a problem share its options by naming one parameter.::

    @command(breakdown=ExitCode.NOT_REACHED)
    def solve(problem: ProblemOptions, verbose: Verbose = False) -> ExitCode: ...

No option is ignored. A mode of a command that does not use all of its options says so by ``refuse`` or ``take_only``,
which name those that were given all the same, and none is given twice.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from enum import IntEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo, ParameterInfo

from ufm_convex.cli.exits import Boundary, ExitCode

COMMANDS: dict[str, Callable[..., None]] = {}
"""Name → function for Typer, for every command module imported so far."""

Body = Callable[..., IntEnum]

_GIVEN: ContextVar[Mapping[str, str]] = ContextVar("given", default=MappingProxyType({}))
"""Name of a parameter → what it is called on the command line, for those of the running command that were given."""

_VALUES: ContextVar[Mapping[str, Any]] = ContextVar("values", default=MappingProxyType({}))
"""Name of a parameter → its value, for every parameter of the running command."""

_BREAKDOWN: ContextVar[int] = ContextVar("breakdown", default=ExitCode.BAD_INPUT)
"""``breakdown`` of the running command."""


_SAYS = ("param_decls", "default", "help", "metavar")
"""What is declared of a parameter without any say in what values it takes."""


def unprinted() -> int:
    """Exit code of the running command when stdout refuses its result: that of an unwritable output.

    A command that uses that code for an answer of its own leaves with that of a breakdown instead.
    """
    return max(int(ExitCode.BAD_INPUT), _BREAKDOWN.get())


def take_only(mode: str, known: Collection[str], expected: str) -> None:
    """Raise ``ProblemError`` if a parameter was given that a mode of the command does not use.

    Args:
        mode: What chooses the mode, as the user wrote it.
        known: Names of the parameters that it uses.
        expected: What it takes instead.
    """
    refuse(mode, [name for name in _GIVEN.get() if name not in known], expected)


def refuse(mode: str, names: Collection[str], expected: str) -> None:
    """Raise ``ProblemError`` if one of the parameters ``names`` was given; see ``take_only``."""
    from ufm_convex.errors import ProblemError

    unused = [word for name, word in _GIVEN.get().items() if name in names]
    if unused:
        words = ", ".join(unused)
        raise ProblemError(
            f"{words} is given with {mode}, where nothing uses it.",
            expected=expected,
            fix=f"leave out {words}.",
        )


def given_as(file: Path, but: Collection[str]) -> str | Path | None:
    """What was given for a parameter, other than those named, that is this very file, by another name perhaps."""
    values = ((name, _VALUES.get().get(name)) for name in _GIVEN.get() if name not in but)
    return next((value for _, value in values if isinstance(value, str | Path) and _same_file(file, value)), None)


def _same_file(one: Path, other: str | Path) -> bool:
    try:
        return one.samefile(other) and one.is_file()
    except (OSError, ValueError):  # one of them is not there, or no file can have that name
        return False


def names_of(*groups: type) -> list[str]:
    """The names of the parameters that groups of options stand for."""
    return [field.name for group in groups for field in dataclasses.fields(group)]


class AsGiven:
    """A Typer command or group whose parameters are taken as they are given, where they are text, paths or nothing.

    What Typer makes of any other, and of what it would refuse, is its own affair: for that it imports Pydantic, which
    takes longer than NumPy.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """As the base class, each parameter with the shorter way before Typer's."""
        hints = COMMANDS[ctx.command.name].__annotations__ if ctx.command.name in COMMANDS else {}
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in found:
            if "process_value" not in vars(parameter):
                kind = _kind_of_text(hints.get(parameter.name))
                vars(parameter)["process_value"] = partial(_taken, parameter, kind, parameter.process_value)
        return found


class Root(AsGiven, TyperGroup):
    """The group of all commands."""


class OnceCommand(AsGiven, TyperCommand):
    """A command whose options with one value cannot be given twice: the last would win without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class; leaves with code 2 for an option that is given several times."""
        with Boundary(ExitCode.BAD_INPUT, as_json="--json" in args):
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for parameter in order:
                repeatable = parameter.multiple or parameter.is_flag if hasattr(parameter, "is_flag") else True
                if not repeatable and order.count(parameter) > 1:
                    _refuse_repeated(max(parameter.opts, key=len), order.count(parameter))
            return super().parse_args(ctx, args)


def command(*, breakdown: IntEnum) -> Callable[[Body], Body]:
    """Enter a function as the command of its name.

    Args:
        breakdown: Exit code when it ends in an error that nobody meant to raise.
    """

    def enter(body: Body) -> Body:
        COMMANDS[body.__name__.replace("_", "-")] = _entry(body, breakdown)
        return body

    return enter


def _entry(body: Body, breakdown: IntEnum) -> Callable[..., None]:
    """The function that Typer calls: flat keyword arguments, the guard, the exit code."""
    hints = get_type_hints(body, include_extras=True)
    parameters = {
        name: parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(body).parameters.items()
    }

    def entry(context: typer.Context, **given: Any) -> None:
        _BREAKDOWN.set(int(breakdown))
        with Boundary(breakdown, as_json=bool(given.get("as_json"))):
            _GIVEN.set(_on_the_command_line(context))
            _VALUES.set(given)
            code = body(**{name: _gather(parameter, given) for name, parameter in parameters.items()})
        raise typer.Exit(code)

    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    flat = [context, *(option for parameter in parameters.values() for option in _options(parameter))]
    entry.__doc__ = _help(inspect.getdoc(body) or "")
    entry.__annotations__ = {option.name: option.annotation for option in flat}
    vars(entry)["__signature__"] = inspect.Signature(flat)
    return entry


def _kind_of_text(hint: Any) -> type | None:
    """``str`` or ``Path``, where a parameter is one, a list of them or None, and nothing else is asked of it."""
    about = [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, ParameterInfo)]
    if len(about) != 1 or any(_asked(about[0], name) for name in vars(about[0]) if name not in _SAYS):
        return None
    kinds = [one for one in get_args(get_args(hint)[0]) or get_args(hint)[:1] if one is not type(None)]
    kind = next(iter(get_args(kinds[0]) or kinds)) if len(kinds) == 1 else None
    return kind if kind in (str, Path) else None


def _asked(about: ParameterInfo, name: str) -> bool:
    """Whether a parameter is declared with more than what Typer takes by itself."""
    plain = typer.Option() if isinstance(about, OptionInfo) else typer.Argument()
    return bool(getattr(about, name) != getattr(plain, name))


def _taken(parameter: Any, kind: type | None, otherwise: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """What ``process_value`` of Typer makes of a value, without it where that is the text, its path, or nothing."""
    several = parameter.multiple or parameter.nargs == -1
    if value is None and not parameter.required:
        made: Any = () if several else None
    else:
        texts = value if several and isinstance(value, (list, tuple)) else [value]
        if kind is None or not all(type(text) is str and (kind is str or _may_be_read(text)) for text in texts):
            return otherwise(context, value)
        made = [kind(text) for text in texts]
        made = made if several else made[0]
    return made if parameter.callback is None else parameter.callback(context, parameter, made)


def _may_be_read(path: str) -> bool:
    """Whether Typer has nothing against a path: there is nothing yet, or it can be read."""
    return "\0" not in path and (not os.path.exists(path) or os.access(path, os.R_OK))


def _refuse_repeated(option: str, times: int) -> None:
    from ufm_convex.errors import ProblemError

    raise ProblemError(f"{option} is given {times} times.", expected="each option once", fix="keep one of them.")


def _on_the_command_line(context: typer.Context) -> dict[str, str]:
    """The parameters that were given: an option by its long name, an argument by its value."""
    given = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name is not None and source is not None and source.name == "COMMANDLINE":
            is_option = parameter.param_type_name == "option"
            given[parameter.name] = max(parameter.opts, key=len) if is_option else str(context.params[parameter.name])
    return given


def _help(docstring: str) -> str:
    """The docstring as Typer wants it: a backspace on a line of its own keeps the lines of the paragraph below."""
    return re.sub(r"^Examples:$", "\b\nExamples:", docstring, flags=re.MULTILINE)


def _options(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """The options that a parameter stands for."""
    if not dataclasses.is_dataclass(parameter.annotation):
        return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
    hints = get_type_hints(parameter.annotation, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in dataclasses.fields(parameter.annotation)
    ]


def _gather(parameter: inspect.Parameter, given: Mapping[str, Any]) -> Any:
    """The value of a parameter, put together again from its options."""
    group = parameter.annotation
    if not dataclasses.is_dataclass(group):
        return given[parameter.name]
    assembled: Callable[..., Any] = group  # type: ignore[assignment]
    return assembled(**{field.name: given[field.name] for field in dataclasses.fields(group)})
