"""The relaxation of any columns as one cvxpy programme, scaled so that its variables are of order one.

    min  Σ weight l(Le + b) + λ_W/2 tr A + λ_H/2 Σ ν B_jj + g(b)     s.t.  Z = [[A, L], [Lᵀ, B]] ⪰ 0,  B ≥ 0

Averaging over the symmetry keeps feasibility and does not raise the convex objective, so an optimal Z is alike on alike
indices, and semidefinite block by block (docs/duality.md, section 3; docs/levels.md, section 7): one trivial block of
order R + C, and for each kind of K_g ≥ 2 elements a 2 × 2 block (α, ξ, β) that counts K_g − 1 times, as a second-order
cone ‖(2 ξ, α − β)‖ ≤ α + β. With single orbits only the trivial block is there, and it is Z itself. B ≥ 0 says B_pq ≥ 0
for p < q and B_pp ≥ β_p. The bias has one entry an orbit.

The variables are those of Z = E Z″ E, E = Diag(√r/√λ_W ; √c/√(λ_H ν)), in which entries are logit margins whatever the
decays and counts; the objective is divided by κ (``units``).

Duals: PSD and non-negativity are explicit constraints, because attributes have no multipliers. The multipliers scale
back as S = κ E⁻¹ S″ E⁻¹, over K_g − 1 for the standard blocks, and T by the number of entries that a listed inequality
stands for: <T, B> / (2 λ_W) = κ Σ θ · (listed expression) (docs/kkt.md, section 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.errors import HypothesisError
from ufm_convex.problem.bias import BiasModel
from ufm_convex.relaxation import identity
from ufm_convex.relaxation.alike import Alike
from ufm_convex.relaxation.columns import Columns
from ufm_convex.relaxation.orbits import Orbits
from ufm_convex.relaxation.points import Dual, Gram

if TYPE_CHECKING:
    import cvxpy as cp
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class Units:
    """What the variables and the objective are divided by.

    Attributes:
        rows: r of an output of each orbit, (R,): the size of λ_W A_oo.
        cols: c of a column of each orbit, (C,): the size of λ_H ν B_pp.
        kappa: κ, what the objective is divided by.
    """

    rows: FloatArray
    cols: FloatArray
    kappa: float

    @classmethod
    def of(cls, columns: Columns) -> Units:
        """At an optimum λ_W A_oo and what the columns of output o pay are of the order of σ times a margin."""
        sigma, own = columns.sigma, _own_outputs(columns)
        if columns.loss.indicator is not None:  # whose margins are of a size of their own
            sigma = sigma * columns.loss.indicator.unit(columns.outputs.total)
        share = columns.columns.numbers / columns.outputs.numbers[own]  # columns an output, of one orbit
        rows = np.sqrt(np.bincount(own, weights=share * sigma**2, minlength=columns.outputs.size))
        many = np.bincount(own, weights=share, minlength=columns.outputs.size)
        cols = rows[own] / many[own]
        rows = np.where(many > 0.0, rows, rows[own].min())  # outputs without columns
        # Of the size of what decides, r, and of the value: min l below it. Divided by r alone the floor of smoothed
        # targets is 10⁹ where decays are tiny, and relative accuracies mean nothing; divided by the floor alone, what
        # decides is lost. Half way first-order solvers take fewer iterations, and interior points no more.
        size, floor = float(rows.max()), identity.dual_value(columns, Alike.zeros(columns.outputs, columns.columns))
        return cls(rows, cols, max(size, math.sqrt(size) * math.sqrt(max(floor, 0.0))))


def _own_outputs(columns: Columns) -> IntArray:
    """Orbit of the own output of each orbit of columns, (C,)."""
    own, pairing = columns.layout.own.copy(), columns.outputs.paired(columns.columns)
    matched = own >= columns.outputs.size
    at = {(int(slot), int(p)): int(o) for slot, p, o in zip(pairing.row_slot, pairing.column, pairing.row, strict=True)}
    for p in np.flatnonzero(matched):
        own[p] = at[int(own[p]) - columns.outputs.size, int(p)]
    return own


@dataclass(frozen=True, eq=False)
class Standard:
    """The kinds of two elements or more that have outputs and columns, Q of them.

    Attributes:
        rows: Their orbits of outputs, (Q,).
        cols: Their orbits of columns, (Q,).
        repeats: K_g − 1, (Q,).
    """

    rows: IntArray
    cols: IntArray
    repeats: FloatArray

    @classmethod
    def of(cls, columns: Columns) -> Standard:
        """Those of the columns.

        Raises:
            HypothesisError: a kind has several orbits of one sort, whose blocks would not be 2 × 2.
        """
        outputs, sort = columns.outputs, columns.columns
        if outputs.slots.shape[1] > 1 or sort.slots.shape[1] > 1:
            raise HypothesisError(
                "several orbits of outputs, or of columns, are permuted together.",
                expected="one orbit of each sort for every kind of two elements or more",
                fix="state the columns with single orbits.",
            )
        pairing = outputs.paired(sort)
        return cls(pairing.row, pairing.column, (sort.places[pairing.column] - 1).astype(np.float64))


@dataclass(frozen=True, eq=False)
class Programme:
    """A cvxpy problem and what is needed to read its solution.

    Attributes:
        columns: The columns it was built for.
        problem: The scaled cvxpy problem; its optimal value is F / ``objective_scale``.
        units: What it was scaled by.
        kinds: The kinds with a block of their own.
        Z: The trivial block Z″, (R + C, R + C).
        standard: (α, ξ, β), (3, Q); None where there is none.
        psd: Z″ ⪰ 0.
        cones: The second-order cones; None where there are none.
        between: B_pq ≥ 0 for p < q; None for free features or a single orbit.
        within: B_pp ≥ β_p; None for free features or no block of its own.
        bias: The bias, which has the units of logits as it is.
    """

    columns: Columns
    problem: cp.Problem
    units: Units
    kinds: Standard
    Z: cp.Variable
    standard: cp.Variable | None
    psd: cp.Constraint
    cones: cp.Constraint | None
    between: cp.Constraint | None
    within: cp.Constraint | None
    bias: BiasModel

    @property
    def objective_scale(self) -> float:
        """κ."""
        return self.units.kappa

    @cached_property
    def _scales(self) -> tuple[FloatArray, FloatArray]:
        columns, units = self.columns, self.units
        rows = np.sqrt(units.rows) / np.sqrt(columns.lambda_w)
        return rows, np.sqrt(units.cols) / np.sqrt(columns.lambda_h * columns.feature_weights)

    def primal(self) -> Gram | None:
        """The point in the units of the problem, or None when the solver left no value."""
        if self.Z.value is None or not np.isfinite(self.Z.value).all():
            return None
        values = np.zeros((3, self.kinds.rows.size)) if self.standard is None else np.asarray(self.standard.value)
        rows, cols = self._scales
        scale = np.concatenate([rows, cols])
        A, L, B = self._matrices(symmetric(self.Z.value) * np.outer(scale, scale), values, rows, cols)
        return Gram(A, L, B, self.bias.value)

    def dual(self) -> Dual | None:
        """The multipliers in the units of the problem, unrepaired, or None when the solver left none."""
        if self.psd.dual_value is None or not np.isfinite(self.psd.dual_value).all():
            return None
        rows, cols = self._scales
        scale = np.concatenate([rows, cols])
        S = self.objective_scale * symmetric(self.psd.dual_value) / np.outer(scale, scale)
        blocks = np.zeros((3, self.kinds.rows.size))
        if self.cones is not None:
            t, uv = (np.asarray(value) for value in self.cones.dual_value)
            u, v = uv.reshape(2, -1)
            blocks = self.objective_scale / self.kinds.repeats * np.array([t.ravel() + v, u, t.ravel() - v])
        S_A, S_L, S_B = self._matrices(S, blocks, 1.0 / rows, 1.0 / cols)
        V = S_L.scaled(None, 2.0 / self.columns.loss_weights)
        return Dual(V, self._multiplier() if self.columns.nonnegative else None, S_A, S_B)

    def dual_value(self, dual: Dual) -> float:
        """The dual objective at the multipliers, taken into its domain, else unrepaired."""
        columns = self.columns
        return identity.dual_value(columns, columns.admitted(columns.into_domain(dual.V)))

    def _matrices(
        self, Z: FloatArray, blocks: FloatArray, rows: FloatArray, cols: FloatArray
    ) -> tuple[Alike, Alike, Alike]:
        """The three matrices with the trivial block Z and the scaled standard ones (α, ξ, β)."""
        V, m = self.columns.outputs, self.columns.columns
        R, o, p = V.size, self.kinds.rows, self.kinds.cols
        alpha, xi, beta = blocks
        return (
            Alike.from_blocks(V, V, Z[:R, :R], _blocks(V, V, V.kinds[o], rows[o] * alpha * rows[o])),
            Alike.from_blocks(V, m, Z[:R, R:], _blocks(V, m, V.kinds[o], rows[o] * xi * cols[p])),
            Alike.from_blocks(m, m, Z[R:, R:], _blocks(m, m, m.kinds[p], cols[p] * beta * cols[p])),
        )

    def _multiplier(self) -> Alike:
        """T, from how many entries each inequality stands for: ordered pairs of different elements."""
        sort, kappa, p = self.columns.columns, self.objective_scale, self.kinds.cols
        inverse = 1.0 / self._scales[1]
        T = Alike.zeros(sort, sort)
        if self.between is not None and self.between.dual_value is not None:
            T.even[np.triu_indices(sort.size, 1)] = np.ravel(self.between.dual_value)
            T.even[:] = self.columns.lambda_w * kappa * (T.even + T.even.T) * np.outer(inverse, inverse)
            T.even[:] /= sort.paired(sort).roots
        if self.within is not None and self.within.dual_value is not None:
            share = 2.0 * self.columns.lambda_w * kappa * inverse[p] ** 2 / (self.kinds.repeats * sort.copies[p])
            T.even[p, p] = share * np.ravel(self.within.dual_value)
        return T.without_diagonal()


def programme(columns: Columns, units: Units | None = None) -> Programme:
    """The scaled programme for the given columns; vectorised, one loss term a column of each orbit.

    Args:
        columns: The columns.
        units: What it is scaled by; ``Units.of`` by default.

    Raises:
        HypothesisError: a kind of two elements or more has several orbits of one sort.
    """
    import cvxpy as cp

    kinds = Standard.of(columns)
    units = Units.of(columns) if units is None else units
    R, C, kappa = columns.outputs.size, columns.columns.size, units.kappa
    Z = cp.Variable((R + C, R + C), symmetric=True)
    X, B = Z[:R, R:], Z[R:, R:]
    penalty = 0.5 * _counted(columns, units) @ cp.diag(Z)
    psd, standard, cones, between, within = Z >> 0, None, None, None, None
    if kinds.rows.size:
        standard = cp.Variable((3, kinds.rows.size))
        alpha, xi, beta = standard[0], standard[1], standard[2]
        penalty = penalty + 0.5 * (kinds.repeats / kappa) @ (
            cp.multiply(units.rows[kinds.rows], alpha) + cp.multiply(units.cols[kinds.cols], beta)
        )
        cones = cp.SOC(alpha + beta, cp.vstack([2.0 * xi, alpha - beta]), axis=0)
        within = cp.diag(B)[kinds.cols] - beta >= 0 if columns.nonnegative else None
    if columns.nonnegative and C > 1:
        between = cp.upper_tri(B) >= 0
    entries = _entries(columns, units, kinds, X, None if standard is None else standard[1])
    bias = columns.bias.model(kappa, columns.outputs.numbers)
    if bias.variable is not None:
        entries = entries + cp.reshape(_bias_map(columns, kinds) @ bias.variable, entries.shape, order="C")
    losses = (columns.orbit_weights / kappa) @ columns.loss.expression(entries, columns.layout)
    constraints = [one for one in (psd, cones, between, within) if one is not None]
    problem = cp.Problem(cp.Minimize(losses + penalty + bias.penalty), [*constraints, *bias.constraints])
    return Programme(columns, problem, units, kinds, Z, standard, psd, cones, between, within, bias)


def _counted(columns: Columns, units: Units) -> FloatArray:
    return np.concatenate([units.rows, units.cols]) / units.kappa


def _entries(
    columns: Columns, units: Units, kinds: Standard, X: cp.Expression, xi: cp.Expression | None
) -> cp.Expression:
    """The entries of L, (E, C), from the blocks in scaled variables: even = (trivial − standard) / √(numbers)."""
    import cvxpy as cp

    pairing = columns.outputs.paired(columns.columns)
    ratio = np.sqrt(np.outer(units.rows, units.cols)) / columns.sigma
    even = cp.multiply(ratio / pairing.roots, X)
    o, p, shape = kinds.rows, kinds.cols, ratio.shape
    if xi is None:
        nothing = columns.layout.numbers.shape[0] - shape[0]  # entries of outputs that no column is matched with
        return cp.vstack([even, np.zeros((nothing, shape[1]))]) if nothing else even
    slot = np.arange(o.size)
    own = _sparse(-(ratio / pairing.roots)[o, p], (o * shape[1] + p, slot), (shape[0] * shape[1], o.size))
    even = even + cp.reshape(own @ xi, shape, order="C")
    # matched entries: the even one there, and the extra
    mask = np.zeros(shape)
    mask[o, p] = 1.0
    extra = _sparse(ratio[o, p] / pairing.copies[pairing.slots], (p, slot), (shape[1], o.size))
    matched = cp.sum(cp.multiply(mask, even), axis=0) + extra @ xi
    return cp.vstack([even, cp.reshape(matched, (1, shape[1]), order="C")])


def _bias_map(columns: Columns, kinds: Standard) -> csr_array:
    """The matrix from b, (R,), to what it adds to each entry, (E·C,) row by row."""
    R, C = columns.outputs.size, columns.columns.size
    E = columns.layout.numbers.shape[0]
    entries, outputs = np.arange(R * C), np.repeat(np.arange(R), C)
    if E > R:
        entries, outputs = np.append(entries, R * C + kinds.cols), np.append(outputs, kinds.rows)
    return _sparse(np.ones(entries.size), (entries, outputs), (E * C, R))


def _sparse(values: FloatArray, at: tuple[IntArray, IntArray], shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import csr_array

    return csr_array((values, at), shape=shape)


def _blocks(rows: Orbits, cols: Orbits, kinds: IntArray, values: FloatArray) -> FloatArray:
    """The standard blocks (Q, r, c) with r, c ≤ 1 that have the given values for some kinds, 0 for the others."""
    blocks = np.zeros((rows.large.size, rows.slots.shape[1], cols.slots.shape[1]))
    if kinds.size:
        blocks[np.searchsorted(rows.large, kinds), 0, 0] = values
    return blocks


def symmetric(matrix: FloatArray) -> FloatArray:
    """The symmetric part; some solvers return PSD multipliers that are not symmetric."""
    return 0.5 * (matrix + matrix.T)
