"""The command line: ``ufm-convex COMMAND``. The only room that prints.

A command is one file of this folder with a function under ``@command``; it is found by its presence, so adding a
command adds a file and changes none. Results go to stdout, everything else to stderr (``output``); exit codes are in
``exits``. Nothing here imports NumPy or a solver before a command runs, so that ``--help`` is quick, and of a command
that is named first no other is imported.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ufm_convex._process import isolation
from ufm_convex.cli.command import COMMANDS, OnceCommand, Root, unprinted
from ufm_convex.cli.exits import system_error
from ufm_convex.cli.output import complain, held_output, occupy_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["application", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; the entry of the console script. Solvers run in processes of their own.

    Args:
        arguments: What stands after the name of the program; by default that of the process.
    """
    occupy_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without λ shows a question mark, not a traceback
    try:
        with held_output(), isolation():
            words = sys.argv[1:] if arguments is None else arguments
            application(*words[:1])(args=arguments, prog_name="ufm-convex")
    except OSError as error:
        complain(f"FileFormatError: {system_error(error)}")
        sys.exit(unprinted())


def application(first: str | None = None) -> typer.Typer:
    """The Typer application, with every command of this folder.

    Args:
        first: The first word of the command line. Where it is the command of the module of its name, no other
            command is imported or built.
    """
    # plain help and plain usage errors: Rich would double the time of --help
    app = typer.Typer(
        cls=Root,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, function in sorted(_commands(first).items()):
        app.command(name, cls=OnceCommand)(function)
    return app


def _commands(first: str | None) -> Mapping[str, Callable[..., None]]:
    """Name → function: of the first word alone if it is a command, else of the folder."""
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    if first in modules:
        importlib.import_module(f"{__name__}.{first}")
        if first in COMMANDS:
            return {first: COMMANDS[first]}
    for module in modules:
        importlib.import_module(f"{__name__}.{module}")
    return COMMANDS


def _show_version(wanted: bool) -> None:
    if wanted:
        from ufm_convex._version import __version__

        typer.echo(f"ufm-convex {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Certified global optima of the unconstrained feature model, by convex optimisation."""
