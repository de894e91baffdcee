"""What makes a function a command: ``@command`` registers it, groups its options and guards it.

A parameter annotated with a dataclass stands for all fields of that dataclass, each an option; so commands that take
a problem share its options by naming one parameter::

    @command(breakdown=ExitCode.NOT_REACHED)
    def solve(problem: ProblemOptions, verbose: Verbose = False) -> ExitCode: ...
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, get_type_hints

import typer

from ufm_convex.cli.exits import Boundary

COMMANDS: dict[str, Callable[..., None]] = {}
"""Name → function for Typer, for every command module imported so far."""

Body = Callable[..., IntEnum]


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

    def entry(**given: Any) -> None:
        with Boundary(breakdown):
            code = body(**{name: _gather(parameter, given) for name, parameter in parameters.items()})
        raise typer.Exit(code)

    flat = [option for parameter in parameters.values() for option in _options(parameter)]
    entry.__doc__ = _help(inspect.getdoc(body) or "")
    entry.__annotations__ = {option.name: option.annotation for option in flat}
    vars(entry)["__signature__"] = inspect.Signature(flat)
    return entry


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
