"""Parrilo's cone K¹ of copositive matrices as a level of the dual, and its dual cone in place of B ≥ 0.

A symmetric C lies in K¹ iff there are P_i ⪰ 0 and a symmetric tensor N ≥ 0 with

    (Σ x_i) xᵀCx  =  Σ_i x_i xᵀP_i x  +  Σ_ijk N_ijk x_i x_j x_k     for all x,

so that C is copositive (Parrilo 2000; the matrices M_i = C − P_i are those of Bomze, de Klerk, J. Global Optim. 24,
2002). Its dual cone has the matrices B = Σ_i Θ_i with the slices Θ_i = (θ_ijk)_jk ⪰ 0 of a symmetric tensor θ ≥ 0: the
moments of x are one. So the relaxation at this level is the programme of ``relaxation.conic`` with the sum of slices in
place of B ≥ 0, and the multipliers of Θ_i ⪰ 0 and θ ≥ 0 are the P_i and N (docs/parrilo.md, section 5).

K¹ changes with the scale of x. Here x is taken in units in which D = I.

Shapes: m single columns; θ has m (m + 1) (m + 2)/6 entries; slices and N (m, m, m).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ufm_convex import solvers
from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.errors import HypothesisError
from ufm_convex.relaxation import Alike, Columns, Factors, Orbits, residual_gram
from ufm_convex.relaxation.conic import Programme, programme, symmetric
from ufm_convex.solvers.conic import ConicSolver

if TYPE_CHECKING:
    import cvxpy as cp

LARGEST_CUBIC = 20
"""Most columns of the programme: 1540 entries, 20 matrices of order 20; half a minute."""
_ACCURATE: dict[str, Any] = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
"""A few iterations more, and a proved bound that is as much nearer."""
_RANK = 1e-5
"""Eigenvalues of B below this share of the largest are the solver's noise."""


@dataclass(frozen=True, eq=False)
class CubicForm:
    """What shows that a slack is copositive, up to rounding, in units in which D = I.

    Attributes:
        slices: P, (m, m, m): P_i ⪰ 0.
        rest: N ≥ 0, (m, m, m), symmetric.
    """

    slices: FloatArray
    rest: FloatArray

    def matched(self, C: FloatArray) -> CubicForm:
        """The form with N clipped at 0 and slices moved as little as makes it (Σ x) xᵀCx.

        What the identity misses is a symmetric tensor, and each slice takes its own slice of it.
        """
        rest = np.maximum(self.rest, 0.0)
        ones = np.broadcast_to(C, self.slices.shape)
        return CubicForm(self.slices + symmetrised(ones) - symmetrised(self.slices) - rest, rest)


@dataclass(frozen=True, eq=False)
class CubicRun:
    """What a solver left at this level; nothing of it is believed.

    Attributes:
        columns: The columns.
        V: Residuals, taken into the domain of the conjugates, (V, m).
        form: The form of their slack D − UᵀU.
        tensor: θ, (m, m, m), whose weighted slices are B in units of c/(λ_H ν).
        units: c of each column, (m,).
    """

    columns: Columns
    V: Alike
    form: CubicForm
    tensor: FloatArray
    units: FloatArray

    def factors(self, generator: np.random.Generator) -> Factors:
        """W and H ≥ 0 of which θ is the moment, if there are some of no more coordinates than columns.

        Where θ_ijk = Σ_r w_r z_ir z_jr z_kr with independent z_r, the mixtures Θ_g = Σ g_i Θ_i of slices have
        B^+½ Θ_g B^+½ = Q Diag(gᵀz_r) Qᵀ with one Q, and the columns of H are those of B^½ Q (Jennrich's algorithm, in
        Harshman, UCLA Working Papers in Phonetics 16, 1970). W is what is stationary at V.
        """
        columns, units, theta = self.columns, self.units, self.tensor
        values, vectors = np.linalg.eigh(np.tensordot(np.sqrt(units / units.max()), theta, 1))
        kept = values > _RANK * values[-1]
        roots, vectors = np.sqrt(values[kept]), vectors[:, kept]
        mixed = np.tensordot(generator.random(units.size), theta, 1)
        _, turn = np.linalg.eigh((vectors / roots).T @ mixed @ (vectors / roots))
        H = (vectors * roots) @ turn
        H = np.maximum(H * np.where(H.sum(axis=0) < 0.0, -1.0, 1.0), 0.0)
        H = H * np.sqrt(units / (columns.lambda_h * columns.feature_weights))[:, None]
        W, coordinates = -(columns.weighted(self.V).even @ H) / columns.lambda_w, Orbits.single(H.shape[1])
        pair = Alike.matrix(columns.outputs, coordinates, W), Alike.matrix(columns.columns, coordinates, H)
        return Factors(*pair, None)


@dataclass(frozen=True, eq=False)
class CubicLevel:
    """The programme of a problem at this level.

    Attributes:
        base: The programme of the relaxation; its variables are those of this one.
        problem: The cvxpy problem; its optimal value is that of the level over ``base.objective_scale``.
        tensor: θ, a variable of its different entries.
        slices: Θ_i ⪰ 0.
        entries: θ ≥ 0.
    """

    base: Programme
    problem: cp.Problem
    tensor: cp.Variable
    slices: list[cp.Constraint]
    entries: cp.Constraint

    def read(self) -> CubicRun | None:
        """What the solver left; None where that is not everything.

        The multipliers of Θ_i and θ are a form of D − Y with a Y ⪰ UᵀU, the difference of which every slice takes.
        """
        values = [self.tensor.value, *(one.dual_value for one in (*self.slices, self.entries))]
        if any(value is None or not np.isfinite(value).all() for value in values):
            return None
        found, columns, units = self.base.dual(), self.base.columns, self.base.units
        if found is None or found.S_B is None:
            return None
        theta, *multipliers, rest = (np.asarray(value) for value in values)
        V = columns.admitted(columns.into_domain(found.V))
        roots, places = np.sqrt(units.cols), tensor_places(columns.columns.size)
        scale = 2.0 * units.kappa * roots.max() / (roots[:, None, None] * np.outer(roots, roots))
        slices = scale * np.array([symmetric(P) for P in multipliers])
        N = scale * (rest.ravel() / np.bincount(places.ravel()))[places]
        Y = found.S_B.scaled(1.0 / columns.sigma, 2.0 * columns.lambda_w / columns.sigma).even
        form = CubicForm(slices + _semidefinite(Y - residual_gram(columns, V).even), N)
        return CubicRun(columns, V, form, theta[places], units.cols)


def cubic_runs(columns: Columns) -> Iterator[CubicRun]:
    """What Clarabel leaves at this level; nothing where it breaks down."""
    solver, level = cast(ConicSolver, solvers.solver("clarabel")), cubic_level(columns)
    solver.check_order(columns.outputs.size + columns.columns.size)
    solver.attempt(level.problem, _ACCURATE)
    found = level.read()
    if found is not None:
        yield found


def cubic_level(columns: Columns) -> CubicLevel:
    """The programme for single columns with non-negative features.

    Raises:
        HypothesisError: columns or outputs are alike, or features are free.
    """
    import cvxpy as cp
    from scipy.sparse import csr_array

    if not columns.nonnegative:
        raise HypothesisError(
            "features are free.",
            expected="non-negative features",
            fix="without the sign constraint the relaxation is exact: use relaxation.programme(columns).",
        )
    if not (columns.columns.plain and columns.outputs.plain):
        raise HypothesisError(
            "columns or outputs are alike.",
            expected="single outputs and single columns",
            fix="state the columns with relaxation.of_classes(problem).",
        )
    base, m = programme(columns), columns.columns.size
    places = tensor_places(m)
    theta = cp.Variable(int(places.max()) + 1)
    whole, size = np.arange(m * m), theta.size
    slices = [
        cp.reshape(csr_array((np.ones(m * m), (whole, one.ravel())), shape=(m * m, size)) @ theta, (m, m), order="C")
        >> 0
        for one in places
    ]
    # x in units of the programme's B is √c times that in which D = I
    roots = np.sqrt(base.units.cols)
    weights, pairs = np.repeat(roots / roots.max(), m * m), np.tile(whole, m)
    total = csr_array((weights, (pairs, places.ravel())), shape=(m * m, size))
    upper = np.flatnonzero(np.triu(np.ones((m, m))).ravel())
    B = cp.vec(base.Z[-m:, -m:], order="C")
    kept = [one for one in base.problem.constraints if one is not base.between]
    entries = theta >= 0
    sums = B[upper] == total[upper] @ theta
    problem = cp.Problem(base.problem.objective, [*kept, *slices, sums, entries])
    return CubicLevel(base, problem, theta, slices, entries)


def tensor_places(m: int) -> IntArray:
    """Where an entry of a symmetric tensor stands in the list of those with i ≤ j ≤ k, (m, m, m)."""
    places = np.empty((m, m, m), dtype=np.int64)
    for place, triple in enumerate(itertools.combinations_with_replacement(range(m), 3)):
        for i, j, k in itertools.permutations(triple):
            places[i, j, k] = place
    return places


def symmetrised(tensor: FloatArray) -> FloatArray:
    """The symmetric part of a tensor (m, m, m) whose slices are symmetric."""
    turned: FloatArray = (tensor + tensor.transpose(1, 0, 2) + tensor.transpose(2, 1, 0)) / 3.0
    return turned


def _semidefinite(matrix: FloatArray) -> FloatArray:
    """The nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(symmetric(matrix))
    nearest: FloatArray = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return nearest
