"""An executor whose calls run in processes of our own (``_process``)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from ufm_convex._process import Bench, once

T = TypeVar("T")


class Workers(ThreadPoolExecutor):
    """An executor whose calls run in processes; one that dies fails its call, and another takes its place.

    Used as a context manager: an error that leaves the block, Ctrl-C too, ends the processes at once.

    Args:
        count: How many at a time.
    """

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._bench = Bench()

    def submit(self, function: Callable[..., T], /, *arguments: Any, **keywords: Any) -> Future[T]:
        """Call an importable function with arguments that can be pickled; raises as ``Worker.items`` does."""
        return super().submit(self._one, function, arguments, keywords)

    def _one(self, function: Callable[..., T], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> T:
        (value,) = self._bench.items("a worker", once, function, *arguments, **keywords)
        return value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.shutdown(wait=False, cancel_futures=True)
            self._bench.end()  # threads that wait for an answer go on, to their own end
        self.shutdown()
        self._bench.end()
