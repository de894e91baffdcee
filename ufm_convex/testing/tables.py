"""Hypothesis strategies for tables of targets: V outputs, m columns, any loss that takes a table.

Entries are small integers, over their sum for shares, so that a failing example shrinks to few columns of one label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from ufm_convex.errors import ProblemError, UnknownNameError, shown
from ufm_convex.losses import BinaryCrossEntropy, Loss, MeanSquaredError, SoftTargetCrossEntropy
from ufm_convex.problem import Features, Problem

_LARGEST = 4
_DECAYS = st.floats(-4.0, -1.0).map(lambda exponent: 10.0**exponent)


def _shares(outputs: int) -> st.SearchStrategy[list[float]]:
    entries = st.lists(st.integers(0, _LARGEST), min_size=outputs, max_size=outputs)
    return entries.map(lambda row: [x / sum(row) for x in row] if any(row) else [1.0] + [0.0] * (len(row) - 1))


def _entries(low: int, high: int, unit: float, outputs: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.integers(low, high).map(lambda x: x * unit), min_size=outputs, max_size=outputs)


TABLE_LOSSES: tuple[str, ...] = (SoftTargetCrossEntropy.name, BinaryCrossEntropy.name, MeanSquaredError.name)
"""Losses that take a table: rows of shares, rows of 0 and 1, rows of any numbers."""


@st.composite
def tabled_problems(  # noqa: D417 - Hypothesis gives draw
    draw: st.DrawFn,
    *,
    max_outputs: int = 4,
    max_columns: int = 5,
    max_count: int = 100,
    losses: Sequence[str] = TABLE_LOSSES,
    features: Sequence[Features] = ("nonnegative", "free"),
    biases: Sequence[object] = (None,),
) -> Problem:
    """Problems with a table of targets, with more or fewer columns than outputs; columns may be equal.

    Args:
        max_outputs: Largest V, ≥ 2; the least is 1, or 2 for shares, since a softmax of one output is constant.
        max_columns: Largest m, ≥ 1. With non-negative features the relaxation is exact up to 4.
        max_count: Largest number of samples of a column.
        losses: Names to draw from, of ``TABLE_LOSSES``.
        features: Signs to draw from.
        biases: Biases to draw from. A free one is drawn where each output has mass, else the penalty 0.1.

    Raises:
        ProblemError: the limits leave nothing to draw.
        UnknownNameError: a loss is not one of ``TABLE_LOSSES``.
    """
    unknown = [name for name in losses if name not in TABLE_LOSSES]
    if unknown:
        raise UnknownNameError(
            f"the loss is {shown(unknown[0])}.", expected="one of " + ", ".join(TABLE_LOSSES), fix="leave it out."
        )
    if max_outputs < 2 or max_columns < 1 or max_count < 1 or not (losses and features and biases):
        raise ProblemError(
            f"{max_outputs=}, {max_columns=}, {max_count=}, {losses=}, {features=}, {biases=}.",
            expected="max_outputs >= 2, max_columns >= 1, max_count >= 1, and something to draw from",
            fix="leave out what need not be limited.",
        )
    loss = draw(_tables(draw(st.sampled_from(losses)), max_outputs, max_columns))
    m = loss.num_rows(0)
    counts = draw(st.lists(st.integers(1, max_count), min_size=m, max_size=m))
    bias, sign = draw(st.sampled_from(biases)), draw(st.sampled_from(features))
    if bias == "free" and loss.unbounded_bias(loss.num_outputs(len(counts)), np.arange(len(counts))).size:
        bias = 0.1
    return Problem(counts, draw(_DECAYS), draw(_DECAYS), loss=loss, features=sign, bias=bias)  # type: ignore[arg-type]


@st.composite
def _tables(draw: st.DrawFn, name: str, max_outputs: int, max_columns: int) -> Loss:
    shares = name == SoftTargetCrossEntropy.name
    V = draw(st.integers(2 if shares else 1, max_outputs))
    if shares:
        rows = draw(st.lists(_shares(V), min_size=1, max_size=max_columns))
        return SoftTargetCrossEntropy(rows)
    if name == BinaryCrossEntropy.name:
        return BinaryCrossEntropy(draw(st.lists(_entries(0, 1, 1.0, V), min_size=1, max_size=max_columns)))
    return MeanSquaredError(draw(st.lists(_entries(-8, 8, 0.25, V), min_size=1, max_size=max_columns)))
