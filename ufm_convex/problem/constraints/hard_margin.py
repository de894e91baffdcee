"""The hard margin of support vector machines: margins are prescribed, and the penalties alone are minimised.

    min λ_W/2 ‖W‖² + λ_H/2 ‖H‖²   s.t.   a_k (W h_i)_k − a_j (W h_i)_j ≥ m_kj   for i of class k, j ≠ k

As a loss it is the indicator of that cone of margins, l_k(z) = 0 or +∞, whose conjugate is

    l_k*(v) = −Σ_{j≠k} m_kj w_j      on   v = a∘w,  w_j ≥ 0 (j ≠ k),  Σ_j w_j = 0.

This is where cross-entropy without decay ends, and the hinge losses with little: Thrampoulidis, Kini, Vakilian, Behnia,
NeurIPS 2022 (m = 1); Behnia, Kini, Vakilian, Thrampoulidis, AISTATS 2023 (margins and scales of the class).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from ufm_convex import _given
from ufm_convex._arrays import real
from ufm_convex.errors import ProblemError, shown
from ufm_convex.losses import Loss
from ufm_convex.problem.constraints.base import Constraint
from ufm_convex.problem.constraints.margins import ClassMargins, UniformMargin

_LARGEST = 2.0**100
_EXPECTED = "numbers from 2**-100 to 2**100: one, one a class, or for margins a square table with diagonal 0"


@dataclass(frozen=True)
class HardMargin(Constraint):
    """Every sample has the margins; the loss is gone, and W = H = 0 is not admissible.

    Args:
        margins: m > 0: one number, one a class (K,), or one a pair (K, K), row k for the samples of class k; the
            diagonal of a table is not used and must be 0.
        scale: a > 0, one number a class by which its logit counts; None for ones.

    Raises:
        ProblemError: an entry is no number in [2**-100, 2**100], or a table is not square with a zero diagonal.
    """

    name: ClassVar[str] = "hard-margin"
    margins: float | tuple[float, ...] | tuple[tuple[float, ...], ...] = 1.0
    scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        margins, scale = _plain("margins", self.margins), _plain("scale", self.scale)
        rows = isinstance(margins, (list, tuple)) and any(isinstance(row, (list, tuple)) for row in margins)
        object.__setattr__(self, "margins", _table(margins) if rows else _entries("margins", margins, single=True))
        if scale is not None:
            object.__setattr__(self, "scale", _entries("scale", scale, single=False))

    def parameters(self) -> dict[str, Any]:
        """Margins and scale, unless they are 1."""
        margins = self.margins
        if isinstance(margins, tuple):
            plain: Any = [list(row) if isinstance(row, tuple) else row for row in margins]
        else:
            plain = margins
        found = {} if plain == 1.0 else {"margins": plain}
        return found if self.scale is None else {**found, "scale": list(self.scale)}

    @cached_property
    def loss(self) -> Loss:
        """The indicator of the margins."""
        if isinstance(self.margins, tuple) or self.scale is not None:
            return ClassMargins(self.margins, self.scale)
        return UniformMargin(self.margins)


def _plain(name: str, given: Any) -> Any:
    return _given.entries(name, given, ProblemError, expected=_EXPECTED)


def _entries(name: str, given: Any, *, single: bool) -> Any:
    """One number or a tuple of them, or the error that says what is wrong."""
    if single and not isinstance(given, (list, tuple)):
        return _checked(name, given)
    if not isinstance(given, (list, tuple)) or not given:
        raise _refused(f"{name} is {shown(given)}.")
    return tuple(_checked(name, entry) for entry in given)


def _checked(name: str, entry: Any) -> float:
    value = real(entry)
    if not 1.0 / _LARGEST <= value <= _LARGEST:
        raise _refused(f"{name} has the entry {shown(entry)}.")
    return value


def _table(given: Any) -> tuple[tuple[float, ...], ...]:
    if not all(isinstance(row, (list, tuple)) and len(row) == len(given) for row in given):
        raise _refused("margins is a table that is not square.")
    for k, row in enumerate(given):
        if real(row[k]) != 0.0:
            raise _refused(f"margins has the diagonal entry {shown(row[k])} in row {k}.")
    return tuple(
        tuple(0.0 if j == k else _checked("margins", entry) for j, entry in enumerate(row))
        for k, row in enumerate(given)
    )


def _refused(got: str) -> ProblemError:
    return ProblemError(
        got,
        expected=_EXPECTED,
        fix="write margins=1, the standard problem, or leave scale out; a margin <= 0 asks for nothing.",
    )
