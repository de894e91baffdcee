"""``Columns`` in exact numbers: how outputs and columns enter the objective, at any level, as a proof needs it.

A column of orbit j stands for ν_j samples of weight ω_j each, so its loss has the weight ω_j ν_j / N: at sample, class
and group level alike. A dual point may be averaged over permutations of alike outputs and columns: the feasible set is
convex and invariant, the dual value concave and invariant, so feasibility stays and the bound does not fall
(docs/slack_proofs.md, section 4.2).

Shapes: R orbits of outputs, C of columns. Nothing is R × C but matrices that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.enclosure.exact import ExactVector
from ufm_convex.errors import ShapeError
from ufm_convex.losses import ExactColumn, Loss
from ufm_convex.problem import Problem
from ufm_convex.problem.bias import Bias, bias_of
from ufm_convex.relaxation import Alike, Columns, Orbits, class_orbits, group_orbits

if TYPE_CHECKING:
    from flint import fmpq

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ExactColumns:
    """A problem under a symmetry, in exact numbers.

    Attributes:
        outputs: V outputs, R orbits.
        columns: Columns, C orbits, each matched with one orbit of outputs at most.
        rows: Row of the loss's tables behind each orbit of columns, (C,): the class of its first column.
        weights: ω of the samples of a column of each orbit, (C,).
        counts: ν, the samples of a column of each orbit, (C,).
        lambda_w: Decay of the classifier.
        lambda_h: Decay of the features.
        loss: The loss.
        nonnegative: Whether features are.
        bias: The part of the objective that is the bias's, one entry an orbit of outputs.
        feature_dim: Dimension d of the features; None when it is not binding.
    """

    outputs: Orbits
    columns: Orbits
    rows: IntArray
    weights: FloatArray
    counts: IntArray
    lambda_w: float
    lambda_h: float
    loss: Loss
    nonnegative: bool
    bias: Bias
    feature_dim: int | None = None

    @classmethod
    def of_groups(cls, problem: Problem) -> ExactColumns:
        """Classes with the same count and weight are alike, sorted by count, then weight; as ``making.of_groups``."""
        return cls._of(problem, *group_orbits(problem))

    @classmethod
    def of_classes(cls, problem: Problem) -> ExactColumns:
        """Single classes, in class order."""
        return cls._of(problem, *class_orbits(problem))

    @classmethod
    def of(cls, given: Problem | Columns) -> ExactColumns:
        """The columns of the coarsest level of a problem, or the given ones.

        Raises:
            ShapeError: several orbits of columns, or of outputs, are matched, or columns of one element are copies.
        """
        if not isinstance(given, Columns):
            return cls.of_groups(given)
        if given.columns.repeated or max(given.columns.slots.shape[1], given.outputs.slots.shape[1]) > 1:
            raise ShapeError(
                "orbits of columns are matched with one another.",
                expected="at most one orbit of columns and one of outputs of each kind, as at class and group level",
                fix="merge the samples of a class: the mean of their features has no larger objective.",
            )
        return cls(
            given.outputs,
            given.columns,
            given.rows,
            given.loss.weights(given.loss.num_rows(given.outputs.total))[given.rows],
            given.feature_weights.astype(np.int64),
            given.lambda_w,
            given.lambda_h,
            given.loss,
            given.nonnegative,
            given.bias,
        )

    @classmethod
    def _of(cls, problem: Problem, outputs: Orbits, columns: Orbits, first: IntArray) -> ExactColumns:
        counts, V = problem.class_counts, problem.num_outputs
        return cls(
            outputs,
            columns,
            first,
            problem.loss.weights(counts.size)[first],
            counts[first],
            problem.lambda_w,
            problem.lambda_h,
            problem.loss,
            problem.nonnegative,
            bias_of(problem.bias, problem.loss, V, outputs.first, outputs.numbers),
            problem.feature_dim,
        )

    # -- numbers ----------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """C."""
        return self.columns.size

    @property
    def num_outputs(self) -> int:
        """V."""
        return self.outputs.total

    @cached_property
    def multiplicities(self) -> IntArray:
        """Columns of each orbit, (C,)."""
        return self.columns.places * self.columns.copies

    @cached_property
    def output_sizes(self) -> list[int]:
        """Outputs of each orbit, (R,)."""
        found: list[int] = (self.outputs.places * self.outputs.copies).tolist()
        return found

    @cached_property
    def num_samples(self) -> int:
        """N = Σ ν."""
        return int((self.multiplicities * self.counts).sum())

    @cached_property
    def places(self) -> list[int]:
        """The orbit of the own output of each orbit of columns, (C,)."""
        found: list[int] = self.outputs.members[self.loss.own_outputs(self.rows)].tolist()
        return found

    @property
    def kind(self) -> str:
        """What a proof on these columns is called: "group", or "dense" where none are alike."""
        return "dense" if self.columns.plain and self.outputs.plain else "group"

    def loads(self) -> ExactVector:
        """ω ν of a column of each orbit, exactly."""
        weights = ExactVector.of_floats(self.weights)
        pairs = zip(weights.integers, self.counts.tolist(), strict=True)
        return ExactVector([weight * count for weight, count in pairs], weights.exponent)

    def shares(self) -> list[fmpq]:
        """ω ν / N of a column of each orbit, exactly."""
        return [load / self.num_samples for load in self.loads().rationals()]

    @cached_property
    def closing_units(self) -> list[int] | None:
        """The closing weights of the loss in lowest terms, (R,); None where no equation ties residuals."""
        weights = self.loss.closing_weights(self.num_outputs)
        if weights is None:
            return None
        exact = ExactVector.of_floats(weights[self.outputs.first])
        divisor = math.gcd(*exact.integers)
        return [integer // divisor for integer in exact.integers]

    @property
    def _in_place(self) -> bool:
        """Whether orbits of outputs are the rows of the loss's tables."""
        return self.outputs.plain and self.outputs.order is None

    # -- columns ----------------------------------------------------------------------------------------------------

    def column(self, j: int) -> ExactColumn:
        """How the loss sees the entries of ``entries`` for a column of orbit j."""
        if self._in_place:
            return self.loss.exact_column(self.num_outputs, int(self.rows[j]))
        numbers = list(self.output_sizes)
        numbers[self.places[j]] -= 1
        return self.loss.exact_orbit_column([*numbers, 1], len(numbers))

    def entries(self, j: int, others: Sequence[T], own: T) -> list[T]:
        """A column of orbit j as the loss sees it: in place for single classes, else the own entry comes last."""
        found = list(others)
        if not self._in_place:
            return [*found, own]
        found[self.places[j]] = own
        return found

    def own_and_others(self, V: Alike) -> tuple[FloatArray, FloatArray]:
        """Own entry of a column of each orbit, (C,), and its entries at other outputs, (R, C); 0 where are none."""
        columns = np.arange(self.size)
        own, others = V.even[self.places, columns].copy(), V.even.copy()
        pairing = self.outputs.paired(self.columns)
        own[pairing.column] = V.matches
        alone = self.columns.places == 1
        others[np.array(self.places)[alone], columns[alone]] = 0.0
        return own, others

    def exact_entries(self, even: Sequence[Sequence[T]], matches: Sequence[T]) -> list[tuple[Sequence[T], T]]:
        """Entries at other outputs, and the own one, of a column of each orbit, from C rows of R and matched pairs."""
        own = [row[place] for row, place in zip(even, self.places, strict=True)]
        pairing = self.outputs.paired(self.columns)
        for j, entry in zip(pairing.column.tolist(), matches, strict=True):
            own[j] = entry
        return list(zip(even, own, strict=True))


def alike_orbits(one: Orbits, other: Orbits) -> bool:
    """Whether two sorts are cut into the same orbits, in the same order, of the same places."""
    if one is other:
        return True
    if one.as_is and other.as_is:
        return one.total == other.total
    mine, theirs = (
        (s.places, np.where(s.places > 1, s.kinds, -1), s.copies, s.positions, np.array(s.length)) for s in (one, other)
    )
    return all(map(np.array_equal, mine, theirs))
