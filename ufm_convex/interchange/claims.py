"""What a solver says of the solution in a file: its status, value, dual value and dual point. None of it is believed.

In the file these are the optional fields ``status``, ``value``, ``dual_value`` and ``dual``, whose matrices are lists
of rows. Units: values are those of the problem's objective, not of the file's, which ``objective_scale`` divides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ufm_convex._arrays import FloatArray, frozen, real
from ufm_convex._given import require_known
from ufm_convex.errors import FileFormatError, ProblemError, ShapeError, shown
from ufm_convex.relaxation import DualPoint
from ufm_convex.solvers import Claim

FIELDS = ("status", "value", "dual_value", "dual")
"""Of a solution file, each of which may be left out."""
_BLOCKS = ("residuals", "nonnegativity", "weight_block", "feature_block")
"""Of a dual point, the last two of which may be left out."""


@dataclass(frozen=True, eq=False)
class Claims:
    """What a solver says of its own solution.

    Attributes:
        status: Its word, one of ``solvers.Claim``; None where it says none.
        value: The optimal value that it reports, or None.
        dual_value: The dual objective that it reports, or None.
        dual: Its dual point at class level, (K, K) matrices, unrepaired, or None.
    """

    status: Claim | None = None
    value: float | None = None
    dual_value: float | None = None
    dual: DualPoint | None = None

    @classmethod
    def checked(cls, num_classes: int, status: object, value: object, dual_value: object, dual: object) -> Claims:
        """The claims, if each is what it has to be or None.

        Raises:
            ProblemError: the status is no word of ``solvers.Claim``, or a number is not finite.
            ShapeError: a block of the dual point is no (K, K) matrix.
        """
        words = [claim.value for claim in Claim]
        if status is not None and status not in words:
            raise ProblemError(
                f"status is {shown(status)}.",
                expected="one of " + ", ".join(words),
                fix="translate the solver's own word; leave it out for a claim of optimality.",
            )
        numbers = (_number("value", value), _number("dual_value", dual_value))
        point = None if dual is None else _point(num_classes, dual)
        return cls(None if status is None else Claim(status), *numbers, point)

    @classmethod
    def of_fields(cls, num_classes: int, document: dict[str, Any]) -> Claims:
        """Those of a solution file; raises ``FileFormatError`` for null, and as ``checked``."""
        empty = [name for name in FIELDS if name in document and document[name] is None]
        if empty:
            raise FileFormatError(
                f"{empty[0]} is null.", expected="a value", fix="leave out what the solver says nothing of."
            )
        return cls.checked(num_classes, *(document.get(name) for name in FIELDS))

    def fields(self) -> dict[str, Any]:
        """The fields of a solution file; what is not said is left out."""
        found: dict[str, Any] = {"status": None if self.status is None else str(self.status), "value": self.value}
        blocks = {} if self.dual is None else {name: getattr(self.dual, name) for name in _BLOCKS}
        dual = {name: block.tolist() for name, block in blocks.items() if block is not None}
        found |= {"dual_value": self.dual_value, "dual": dual or None}
        return {name: value for name, value in found.items() if value is not None}


def _number(name: str, given: object) -> float | None:
    if given is None:
        return None
    number = real(given)
    if not math.isfinite(number):
        raise ProblemError(f"{name} is {shown(given)}.", expected="a finite number", fix="leave it out.")
    return number


def _point(num_classes: int, dual: object) -> DualPoint:
    """A dual point, or the object that stands for it in a file."""
    if not isinstance(dual, (DualPoint, dict)):
        raise ProblemError(
            f"dual is {shown(dual)}.", expected="a DualPoint", fix="pass DualPoint(residuals, multiplier)."
        )
    blocks: dict[str, Any] = {name: getattr(dual, name) for name in _BLOCKS} if isinstance(dual, DualPoint) else dual
    require_known(blocks, _BLOCKS, "block of the dual point", ProblemError)
    found = {name: _matrix(name, block, num_classes) for name, block in blocks.items() if block is not None}
    missing = [name for name in _BLOCKS[:2] if name not in found]
    if missing:
        raise ProblemError(
            f"dual lacks {missing[0]}.",
            expected="residuals and nonnegativity, (K, K) matrices as lists of rows",
            fix="give both; the multiplier of free features is zero.",
        )
    return DualPoint(**found)


def _matrix(name: str, block: Any, K: int) -> FloatArray:
    rows = block.tolist() if isinstance(block, np.ndarray) else block
    square = isinstance(rows, list) and len(rows) == K and all(isinstance(row, list) and len(row) == K for row in rows)
    if not square:
        raise ShapeError(
            f"{name} of the dual point is {shown(rows)}.",
            expected=f"({K}, {K}), a list of {K} rows of {K} numbers",
            fix="give dual points at class level: column k belongs to the mean of class k.",
        )
    numbers = [[real(entry) for entry in row] for row in rows]
    if not np.isfinite(numbers).all():
        raise ProblemError(
            f"{name} of the dual point has an entry that is no finite number.",
            expected="finite numbers",
            fix="leave the dual point out if the solver has none.",
        )
    return frozen(numbers)
