"""The relaxation with cross-entropy as a plain conic programme, one class for each kind of level.

    min  Σ_i w_i ( t_i − Σ_j m_ij y_ij d_ij ) + <C, X>
    s.t. (s_ij, 1, d_ij + log m_ij − t_i) ∈ K_exp,     Σ_j s_ij ≤ 1,     X_b ⪰ 0,     listed entries ≥ 0

Column i has the logit differences d_ij = z_j − z_y of its classes j to its own class y (for which d = 0 and m = 1), so
that t_i ≥ log Σ_j m_ij exp(d_ij) and t_i − Σ_j m_ij y_ij d_ij is cross-entropy against the targets y_ij: α/K with
smoothing α, or the entries of a table, whose own entry is 1 minus the others. The multiplicity m_ij is 1 but at group
level, where one entry stands for all alike classes.

The blocks X_b are scaled as docs/interchange.md says: Z = E X E with a positive diagonal E, and the objective is
divided by ``objective_scale``. Pure NumPy: no solver, no modelling layer, no I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeAlias

import numpy as np

from ufm_convex import relaxation
from ufm_convex._arrays import FloatArray
from ufm_convex.errors import HypothesisError, ProblemError, UnknownNameError, shown
from ufm_convex.losses import SoftTargetCrossEntropy
from ufm_convex.problem import Problem, require_problem
from ufm_convex.relaxation import Alike, Columns, Gram, Level, Units

Form: TypeAlias = Mapping[tuple[int, int, int], float]
"""Σ coefficient · X_b[r, c] over the keys (b, r, c) with r ≥ c; an off-diagonal entry is meant once, not twice."""


@dataclass(frozen=True)
class LossColumn:
    """The loss of one column.

    Attributes:
        weight: w_i, the weight of the loss divided by the objective's scale.
        differences: d_ij for the classes j other than the column's own, as forms in the blocks.
        multiplicities: m_ij, likewise.
        targets: y_ij, likewise.
    """

    weight: float
    differences: tuple[Form, ...]
    multiplicities: tuple[float, ...]
    targets: tuple[float, ...]

    @property
    def num_scalars(self) -> int:
        """t, then one s for the own class and one for each difference."""
        return 2 + len(self.differences)


@dataclass(frozen=True, eq=False)
class ConicProgramme(ABC):
    """The programme of one level, and the maps between its blocks and points of the level.

    Attributes:
        problem: The problem.
        level: The level.
    """

    problem: Problem
    level: Level

    @property
    @abstractmethod
    def objective_scale(self) -> float:
        """κ: the objective of the programme is F / κ."""

    @property
    @abstractmethod
    def orders(self) -> tuple[int, ...]:
        """Orders of the positive semidefinite blocks."""

    @abstractmethod
    def penalty(self) -> Form:
        """<C, X>: both weight decays, divided by κ."""

    @abstractmethod
    def losses(self) -> Iterator[LossColumn]:
        """The columns, in order."""

    @abstractmethod
    def nonnegative(self) -> Iterator[Form]:
        """What has to be ≥ 0 for B ≥ 0; nothing for free features."""

    @abstractmethod
    def blocks(self, point: Gram) -> list[FloatArray]:
        """The scaled blocks of a point of the level."""

    @abstractmethod
    def point(self, blocks: Sequence[FloatArray]) -> Gram:
        """The point of the level with the given scaled blocks."""


@dataclass(frozen=True, eq=False)
class ColumnConic(ConicProgramme):
    """Levels sample and class: one block of order V + m, E = Diag(√S_j/√λ_W ; √c_i/√(λ_H ν_i)).

    Attributes:
        columns: The columns.
        rows: S, (V,).
        cols: c, (m,).
    """

    columns: Columns
    rows: FloatArray
    cols: FloatArray

    @classmethod
    def of(cls, problem: Problem, level: Level) -> Self:
        """The programme of a problem at a level of single columns."""
        columns = level(problem)
        with np.errstate(over="ignore"):
            units = Units.of(columns)
        _require_range(units.rows)
        return cls(problem, level, columns, units.rows, units.cols)

    @property
    def objective_scale(self) -> float:
        """The largest S_j."""
        return float(self.rows.max())

    @property
    def orders(self) -> tuple[int, ...]:
        """(V + m,)."""
        return (self.rows.size + self.cols.size,)

    def penalty(self) -> Form:
        """½ Σ S_j X_jj + ½ Σ c_i X_ii, divided by κ."""
        weights = 0.5 * np.concatenate([self.rows, self.cols]) / self.objective_scale
        return {(0, j, j): weight for j, weight in enumerate(weights.tolist())}

    def losses(self) -> Iterator[LossColumn]:
        """L_ji = √(S_j c_i)/σ_i X_{V+i, j}."""
        V, loss = self.rows.size, self.problem.loss
        owns = loss.own_outputs(self.columns.rows).tolist()
        entries = (np.outer(np.sqrt(self.rows), np.sqrt(self.cols)) / self.columns.sigma).T.tolist()
        with np.errstate(over="ignore"):  # refused when it is written
            weights = (self.columns.loss_weights / self.objective_scale).tolist()
        for i, (own, weight, row) in enumerate(zip(owns, weights, entries, strict=True)):
            minus_own = {(0, V + i, own): -row[own]}
            differences = tuple({(0, V + i, j): row[j], **minus_own} for j in range(V) if j != own)
            target = loss.target_columns(V, self.columns.rows[i : i + 1])[:, 0].tolist()
            yield LossColumn(weight, differences, (1.0,) * (V - 1), tuple(target[:own] + target[own + 1 :]))

    def nonnegative(self) -> Iterator[Form]:
        """The strict lower triangle of the features' block."""
        K, m = self.rows.size, self.cols.size
        if self.columns.nonnegative:
            yield from ({(0, K + i, K + j): 1.0} for i in range(m) for j in range(i))

    def blocks(self, point: Gram) -> list[FloatArray]:
        """E⁻¹ Z E⁻¹."""
        A, L, B = point.A.even, point.logits.even, point.B.even
        return [np.block([[A, L], [L.T, B]]) / np.outer(self._scale, self._scale)]

    def point(self, blocks: Sequence[FloatArray]) -> Gram:
        """Z = E X E."""
        K, Z = self.rows.size, blocks[0] * np.outer(self._scale, self._scale)
        V, m = self.columns.outputs, self.columns.columns
        return Gram(Alike.matrix(V, V, Z[:K, :K]), Alike.matrix(V, m, Z[:K, K:]), Alike.matrix(m, m, Z[K:, K:]))

    @property
    def _scale(self) -> FloatArray:
        features = np.sqrt(self.cols) / np.sqrt(self.columns.lambda_h * self.columns.feature_weights)
        return np.concatenate([np.sqrt(self.rows) / np.sqrt(self.columns.lambda_w), features])


@dataclass(frozen=True, eq=False)
class GroupConic(ConicProgramme):
    """Level group: the trivial block of order 2G, then [[α, ξ], [ξ, β]] for each group of two classes or more.

    E = Diag(√s_g/√λ_W ; √s_g/√(λ_H n_g)) for the trivial block, and its entries at g for the standard one.

    Attributes:
        columns: The columns of a class of each group.
        units: s_g, (G,): the size of a class's penalty at margin one, or of its loss where that is smaller.
    """

    columns: Columns
    units: FloatArray

    @classmethod
    def of(cls, problem: Problem, level: Level) -> Self:
        """The programme of a problem at group level."""
        columns = level(problem)
        units = np.minimum(columns.sigma, columns.loss_weights)
        _require_range(units)
        return cls(problem, level, columns, units)

    @property
    def objective_scale(self) -> float:
        """Σ K_g s_g."""
        return float(self._sizes @ self.units)

    @property
    def orders(self) -> tuple[int, ...]:
        """(2G, 2, …, 2)."""
        return (2 * self.units.size, *(2,) * len(self._standard))

    def penalty(self) -> Form:
        """½ Σ s_g (A_gg + B_gg) + ½ Σ (K_g − 1) s_g (α_g + β_g), divided by κ."""
        G, weights = self.units.size, (0.5 * self.units / self.objective_scale).tolist()
        form = {(0, half + g, half + g): weight for half in (0, G) for g, weight in enumerate(weights)}
        for g, block in self._standard.items():
            times = float(self._sizes[g]) - 1.0
            form |= {(block, half, half): times * weights[g] for half in (0, 1)}
        return form

    def losses(self) -> Iterator[LossColumn]:
        """One column a group; the alike classes of group g, other than the column's own, are one entry."""
        others = np.tile(self._sizes[:, None], (1, self.units.size)) - np.eye(self.units.size)
        share = self.problem.loss.target(self.problem.num_classes)[1]  # α/K
        with np.errstate(over="ignore"):  # refused when it is written
            weights = (self.columns.orbit_weights / self.objective_scale).tolist()
        for h, weight in enumerate(weights):
            present = [g for g in range(self.units.size) if others[g, h] > 0.0]
            differences = tuple(self._difference(g, h) for g in present)
            numbers = tuple(others[present, h].tolist())
            yield LossColumn(weight, differences, numbers, (share,) * len(numbers))

    def nonnegative(self) -> Iterator[Form]:
        """B_gh ≥ 0 for g > h, and B_gg ≥ β_g for groups of two classes or more."""
        if not self.columns.nonnegative:
            return
        G = self.units.size
        yield from ({(0, G + g, G + h): 1.0} for g in range(G) for h in range(g))
        yield from ({(0, G + g, G + g): 1.0, (block, 1, 1): -1.0} for g, block in self._standard.items())

    def blocks(self, point: Gram) -> list[FloatArray]:
        """The scaled trivial block, then the scaled standard ones."""
        A, L, B = point.A, point.logits, point.B
        scale = np.concatenate(self._scales)
        trivial = np.block([[A.trivial, L.trivial], [L.trivial.T, B.trivial]]) / np.outer(scale, scale)
        return [trivial, *(self._two_by_two(point, g) for g in self._standard)]

    def point(self, blocks: Sequence[FloatArray]) -> Gram:
        """The point whose blocks these are."""
        V, m, G, (rows, cols) = self.columns.outputs, self.columns.columns, self.units.size, self._scales
        scale = np.concatenate([rows, cols])
        Z = blocks[0] * np.outer(scale, scale)
        small = np.zeros((len(self._standard), 2, 2))
        for at, (g, block) in enumerate(self._standard.items()):
            pair = np.array([rows[g], cols[g]])
            small[at] = blocks[block] * np.outer(pair, pair)
        return Gram(
            Alike.from_blocks(V, V, Z[:G, :G], small[:, :1, :1]),
            Alike.from_blocks(V, m, Z[:G, G:], small[:, 1:, :1]),
            Alike.from_blocks(m, m, Z[G:, G:], small[:, 1:, 1:]),
        )

    def _difference(self, g: int, h: int) -> Form:
        """Logit of a class of group g, other than the column's own of group h, minus the own logit.

        Own and cross entries come from the blocks as ``Alike.from_blocks`` says; within a group only ξ is left.
        """
        G, sizes, units = self.units.size, self._sizes, self.units
        ratio = float(units[h] / self.columns.sigma[h])
        if g == h:
            return {(self._standard[h], 1, 0): -ratio}
        cross = float(np.sqrt(units[g] / sizes[g]) * np.sqrt(units[h] / sizes[h]) / self.columns.sigma[h])
        form = {(0, G + h, g): cross, (0, G + h, h): -ratio / float(sizes[h])}
        if h in self._standard:
            form[self._standard[h], 1, 0] = -ratio * (1.0 - 1.0 / float(sizes[h]))
        return form

    def _two_by_two(self, point: Gram, g: int) -> FloatArray:
        at = self._standard[g] - 1
        alpha, xi, beta = (part.standard[at, 0, 0] for part in (point.A, point.logits, point.B))
        pair = np.array([scale[g] for scale in self._scales])
        return np.array([[alpha, xi], [xi, beta]]) / np.outer(pair, pair)

    @property
    def _scales(self) -> tuple[FloatArray, FloatArray]:
        columns, root = self.columns, np.sqrt(self.units)
        return root / np.sqrt(columns.lambda_w), root / np.sqrt(columns.lambda_h * columns.feature_weights)

    @cached_property
    def _standard(self) -> dict[int, int]:
        """Group → number of its standard block, for groups of two classes or more."""
        return {g: 1 + k for k, g in enumerate(np.flatnonzero(self.columns.columns.places > 1).tolist())}

    @property
    def _sizes(self) -> FloatArray:
        """K_g, (G,)."""
        return self.columns.columns.numbers


def programme(problem: Problem, level: str = "class") -> ConicProgramme:
    """The conic programme of a problem at a level.

    Raises:
        HypothesisError: the loss is not cross-entropy, or the level is one of alike classes, which a table has not.
        UnknownNameError: there is no such level; "auto" is none.
        SizeError: the Gram matrix would be too large for the level.
        ProblemError: the decays are so small or so large that the scales leave the range of binary64.
    """
    require_problem(problem, "a programme of the relaxation")
    problem.require_plain("the Conic Benchmark Format")
    if level not in relaxation.available():
        raise UnknownNameError(
            f"level {shown(level)} is not known.",
            expected="one of " + ", ".join(sorted(relaxation.available())),
            fix="use 'class', or 'group' where many classes are alike.",
        )
    if problem.loss.softmax_share is None and type(problem.loss) is not SoftTargetCrossEntropy:
        raise HypothesisError(
            f"loss {problem.loss.name!r} is not written as exponential cones here.",
            expected="cross-entropy, with or without class weights and smoothing, or a table of soft targets",
            fix="use CrossEntropy() or SoftTargetCrossEntropy(targets), or solve the problem with ufm_convex.solve.",
        )
    kind = relaxation.level(level)
    kind.check_size(problem)
    return GroupConic.of(problem, kind) if kind.name == "group" else ColumnConic.of(problem, kind)


def _require_range(scales: FloatArray) -> None:
    """Raise ``ProblemError`` unless the scales are positive and finite."""
    if not (np.isfinite(scales).all() and (scales > 0.0).all()):
        raise ProblemError(
            f"the scales of the programme run from {shown(scales.min())} to {shown(scales.max())}: beyond binary64.",
            expected="lambda_w · lambda_h · counts between about 1e-300 and 1e300",
            fix="use decays nearer to 1.",
        )
