"""Descent for losses with kinks and for indicators: the method of multipliers on W, H and b.

A descent stalls on a kink, and on an indicator there is nothing to descend. ``Loss.softened`` is smooth and touches the
loss where the multiplier V is a subgradient; its gradient at the end of a descent is the next V. At a fixed point the
softened problem and the problem have the same minimiser, to the accuracy of a smooth descent rather than to its square
root, and V is a dual point (Hestenes, Powell 1969; Rockafellar, Math. Oper. Res. 1, 1976, for the proximal view).

Shapes: as in ``relaxation``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ufm_convex import _deadline
from ufm_convex._arrays import BoolArray, FloatArray
from ufm_convex.recovery.admission import admitted
from ufm_convex.recovery.scaled import Softened
from ufm_convex.relaxation import Alike, Columns, Factors, objective

_FIRST, _GROWTH, _LAST = 10.0, 3.0, 1e5
"""Stiffness, in units of ``Softened``: a round divides the error of V by about as much, and stiff descents are long."""
_ROUNDS = 12
_GRADIENT = 1e-11
_MET = 1e-11
"""Share of the objective up to which what the softened loss promises and what the factors pay are one number."""
_STARTS, _SPREAD = 5, 0.5


def multiplied(
    columns: Columns, factors: Factors, iterations: int, fixed: BoolArray | None = None
) -> tuple[Factors, int]:
    """Factors no worse than the given ones, admissible where they can be made so, and the iterations taken.

    Args:
        columns: Columns of any level.
        factors: Where to start. Where no stretch makes them admissible, features have no direction to begin with, or
            must share one: a few starts are moved at random, always the same way.
        iterations: Limit of a round.
        fixed: Entries of H, in the order of ``Entries``, that stay zero.
    """
    best, total = admitted(columns, factors), 0
    lowest = objective(columns, best)
    start = Softened(columns, factors.W.cols, Alike.zeros(columns.outputs, columns.columns), _FIRST)
    for flat in [start.pack(factors)] if np.isfinite(lowest) else _moved(start, factors):
        for found, steps in _rounds(start, flat, iterations, fixed):
            total += steps
            value = objective(columns, found)
            if value < lowest:
                best, lowest = found, value
    return best, total


def _rounds(
    scaled: Softened, flat: FloatArray, iterations: int, fixed: BoolArray | None
) -> Iterator[tuple[Factors, int]]:
    """The ends of the rounds, made admissible, with the iterations of each; until promise and price meet."""
    columns = scaled.columns
    for _ in range(_ROUNDS):
        flat, steps = scaled.minimise(flat, iterations, _GRADIENT, fixed)
        found = scaled.unpack(flat)
        V = scaled.loss(columns.outputs_of(found.logits, found.bias))[1]
        if found.bias is not None:
            found = replace(found, bias=columns.bias.canonical(found.bias))
        found = admitted(columns, found)
        yield found, steps
        if _deadline.passed():
            return
        price = objective(columns, found)
        if abs(price - scaled.kappa * scaled.value_and_gradient(flat)[0]) <= _MET * price:
            return
        scaled = replace(scaled, multipliers=V, stiffness=min(_GROWTH * scaled.stiffness, _LAST))


def _moved(scaled: Softened, factors: Factors) -> Iterator[FloatArray]:
    """Starts near the factors."""
    generator, (begin, end) = np.random.default_rng(0), scaled.cuts
    flat = scaled.pack(factors)
    for _ in range(_STARTS):
        moves = _SPREAD * np.sqrt(np.mean(flat**2) + 1.0) * generator.standard_normal(flat.size)
        moves[begin:end] = np.abs(moves[begin:end]) if scaled.columns.nonnegative else moves[begin:end]
        yield flat + moves
