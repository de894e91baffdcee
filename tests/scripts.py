"""What every script of the tests has in common: the switch ``--small``.

A script says beside its parser which values ``--small`` stands for: the smallest size at which it still prints every
kind of row. They replace what the rest of the command line says, so that a command of a page can be run as it stands
with ``--small`` behind it; test_page_commands.py does so with every one of them.
"""

from __future__ import annotations

import argparse


def small(parser: argparse.ArgumentParser, **values: object) -> None:
    """Give a parser, or that of a subcommand, the switch; ``values`` are values of its options by destination."""
    known = {action.dest for action in parser._actions}
    unknown = set(values) - known
    if unknown:
        raise ValueError(f"--small sets {sorted(unknown)}, which are no options of the script: {sorted(known)}")
    parser.add_argument(
        "--small", action="store_const", const=values, default={}, help="the smallest size, whatever else is said"
    )


def parsed(parser: argparse.ArgumentParser, arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments, with those of ``--small`` in place where it is given."""
    options = parser.parse_args(arguments)
    vars(options).update(vars(options).pop("small"))
    return options
