"""Progress on stderr: a spinner with the time passed on a terminal; elsewhere lines, and only when asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ufm_convex.cli.output import complain


@contextmanager
def progress(verbose: bool) -> Iterator[Callable[[str], None]]:
    """A function that takes one line of news.

    Args:
        verbose: Keep every line on stderr. Without it a terminal shows the last one, and a file none.
    """
    if sys.stderr is None or not sys.stderr.isatty():  # None: it was closed from the start
        yield complain if verbose else _ignore
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(stderr=True, highlight=False)
    one_line = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns = (
        SpinnerColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False, table_column=one_line),
    )
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, expand=True) as bar:
        task = bar.add_task("reading")

        def tell(line: str) -> None:
            if verbose:
                console.print(line, markup=False)
            bar.update(task, description=line)

        yield tell


def _ignore(line: str) -> None:
    """No terminal, and nothing asked for."""
