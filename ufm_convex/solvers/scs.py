"""SCS: first-order operator splitting. Loose runs are cheap, and each tighter one starts where the last ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ufm_convex.solvers.conic import ConicSolver

_ACCURACIES = (1e-1, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
_SAMPLE_START = 1e-4
"""At sample level the run itself is the result: it shows how far features of a class coincide."""
_MAX_ITERATIONS = 20_000
_INTERRUPTED = -5  # SCS_SIGINT
_OPTIONS = (
    *("normalize", "scale", "adaptive_scale", "adaptive_diag_scale", "rho_x", "max_iters", "eps", "eps_abs", "eps_rel"),
    *("eps_infeas", "alpha", "time_limit_secs", "verbose", "acceleration_lookback", "acceleration_interval"),
    *("acceleration_type_1", "acceleration_regularization", "acceleration_relaxation", "write_data_filename"),
    *("log_csv_filename", "use_indirect", "linear_solver"),
)
"""SCS keeps no list of them that could be asked for; ``eps`` and ``use_indirect`` are cvxpy's."""


class SCS(ConicSolver):
    """SCS through cvxpy."""

    name: ClassVar[str] = "scs"
    package: ClassVar[str] = "scs"
    cvxpy_name: ClassVar[str] = "SCS"
    accuracies: ClassVar[tuple[str, ...]] = ("eps", "eps_abs", "eps_rel")
    time_option: ClassVar[str | None] = "time_limit_secs"
    rank: ClassVar[int] = 20
    largest_order: ClassVar[int] = 800
    group_rank: ClassVar[int] = 7
    largest_group_order: ClassVar[int] = 800

    def options(self) -> tuple[str, ...]:
        """Those of SCS 3; one that the installed version lacks is refused by it."""
        return _OPTIONS

    def schedule(self, level: str) -> Iterator[tuple[float, dict[str, Any]]]:
        """From a hint, which repair and descent usually turn into a proof, to as tight as binary64 allows."""
        for accuracy in _ACCURACIES:
            if level != "sample" or accuracy <= _SAMPLE_START:
                yield accuracy, {"eps_abs": accuracy, "eps_rel": accuracy, "max_iters": _MAX_ITERATIONS}

    def interrupted(self, raw: Any) -> bool:
        """SCS catches SIGINT and ends with a status of its own."""
        return bool(raw["info"]["status_val"] == _INTERRUPTED)
