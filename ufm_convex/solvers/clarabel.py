"""Clarabel: interior point. Accurate in a few dozen iterations; memory grows as the fourth power of K."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ufm_convex import relaxation
from ufm_convex.errors import SizeError
from ufm_convex.problem import Problem
from ufm_convex.solvers.base import SolverRun
from ufm_convex.solvers.conic import ConicSolver


class Clarabel(ConicSolver):
    """Clarabel through cvxpy."""

    name: ClassVar[str] = "clarabel"
    package: ClassVar[str] = "clarabel"
    cvxpy_name: ClassVar[str] = "CLARABEL"
    accuracies: ClassVar[tuple[str, ...]] = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
    time_option: ClassVar[str | None] = "time_limit"
    rank: ClassVar[int] = 10
    largest_order: ClassVar[int] = 80
    group_rank: ClassVar[int] = 6
    largest_group_order: ClassVar[int] = 24

    def options(self) -> tuple[str, ...]:
        """The fields of Clarabel's settings, whatever its version has."""
        import clarabel

        return tuple(name for name in dir(clarabel.DefaultSettings()) if name[0] != "_" and name != "default")

    def schedule(self, level: str) -> Iterator[tuple[float, dict[str, Any]]]:
        """One run at Clarabel's default accuracy: an interior point gains little by stopping early.

        At group level, where a run takes milliseconds, the same programme again with other numerics: at extreme decays
        one or the other breaks down.
        """
        yield 1e-8, {}
        if level == "group":
            yield 1e-8, {"static_regularization_constant": 1e-10}
            yield 1e-8, {"max_step_fraction": 0.95}
            yield 1e-8, {"equilibrate_enable": False}

    def runs(self, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]) -> Iterator[SolverRun]:
        """See ``Solver.runs``; refused where the Newton system of the PSD cone would not fit into memory."""
        self.check_order(relaxation.level(level).gram_order(problem))
        yield from super().runs(problem, level, tolerance, options)

    def check_order(self, order: int) -> None:
        """See ``ConicSolver.check_order``.

        The allocation that fails inside the solver ends the process, so it has to be foreseen.
        """
        entries = order * (order + 1) // 2
        needed, present = 8 * entries**2, _physical_memory()
        if 2 * needed > present:  # the system and its factor
            raise SizeError(
                f"solver 'clarabel' needs about {2 * needed / 2**30:.0f} GiB for a Gram matrix of order {order}.",
                expected=f"at most the {present / 2**30:.0f} GiB of this machine",
                fix="use solver 'scs', whose memory grows as the square of the order.",
            )


def _physical_memory() -> int:
    """Bytes of memory of the machine; 16 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 16 * 2**30
