"""Parrilo's cone K¹ of copositive matrices as a level of the dual, and its dual cone in place of B ≥ 0.

A symmetric C lies in K¹ iff there are P_i ⪰ 0 and a symmetric tensor N ≥ 0 with

    (Σ x_i) xᵀCx  =  Σ_i x_i xᵀP_i x  +  Σ_ijk N_ijk x_i x_j x_k     for all x,

so that C is copositive (Parrilo 2000; the matrices M_i = C − P_i are those of Bomze, de Klerk, J. Global Optim. 24,
2002). Its dual cone has the matrices B = Σ_i Θ_i with the slices Θ_i = (θ_ijk)_jk ⪰ 0 of a symmetric tensor θ ≥ 0: the
moments of x are one. So the relaxation at this level is the programme of ``relaxation.conic`` with the sum of slices in
place of B ≥ 0, and the multipliers of Θ_i ⪰ 0 and θ ≥ 0 are the P_i and N (docs/complete_positivity.md, section 5).

K¹ changes with the scale of x. Here x is taken in units in which D = I.

Shapes: m single columns; θ has m (m + 1) (m + 2)/6 entries; slices and N (m, m, m).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.errors import HypothesisError
from ufm_convex.relaxation import Alike, Columns, Factors, Gram, Orbits, residual_gram
from ufm_convex.relaxation.conic import Programme, programme, symmetric

if TYPE_CHECKING:
    import cvxpy as cp

LARGEST_CUBIC = 20
"""Most columns of the programme: 1540 entries, 20 matrices of order 20; half a minute."""
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

    def primal(self) -> Gram | None:
        """Z, or None when the solver left no value."""
        return self.base.primal()

    def factors(self, V: Alike, generator: np.random.Generator) -> Factors | None:
        """W and H ≥ 0 of which θ is the moment, if they are no more coordinates than columns; None without a value.

        Where θ_ijk = Σ_r w_r z_ir z_jr z_kr with independent z_r, the slices Θ_g = Σ g_i Θ_i have
        B^+½ Θ_g B^+½ = Q Diag(gᵀz_r) Qᵀ with one Q, and the columns of H are those of B^½ Q (Jennrich's algorithm, in
        Harshman, UCLA Working Papers in Phonetics 16, 1970). W is what is stationary at V.
        """
        if self.tensor.value is None or not np.isfinite(self.tensor.value).all():
            return None
        columns, units = self.base.columns, self.base.units.cols
        theta = np.asarray(self.tensor.value)[tensor_places(units.size)]
        values, vectors = np.linalg.eigh(np.tensordot(np.sqrt(units / units.max()), theta, 1))
        kept = values > _RANK * values[-1]
        roots, vectors = np.sqrt(values[kept]), vectors[:, kept]
        mixed = np.tensordot(generator.random(units.size), theta, 1)
        _, turn = np.linalg.eigh((vectors / roots).T @ mixed @ (vectors / roots))
        H = (vectors * roots) @ turn
        H = np.maximum(H * np.where(H.sum(axis=0) < 0.0, -1.0, 1.0), 0.0)
        H = H * np.sqrt(units / (columns.lambda_h * columns.feature_weights))[:, None]
        W, coordinates = -(columns.weighted(V).even @ H) / columns.lambda_w, Orbits.single(H.shape[1])
        pair = Alike.matrix(columns.outputs, coordinates, W), Alike.matrix(columns.columns, coordinates, H)
        return Factors(*pair, None)

    def dual(self) -> tuple[Alike, CubicForm] | None:
        """V and the form of its slack D − UᵀU, unrepaired; None when the solver left no multipliers.

        Those of Θ_i and θ are a form of D − Y with a Y ⪰ UᵀU, the difference of which every slice takes.
        """
        multipliers = [one.dual_value for one in (*self.slices, self.entries)]
        found = (
            None if any(value is None or not np.isfinite(value).all() for value in multipliers) else self.base.dual()
        )
        if found is None or found.S_B is None:
            return None
        columns, kappa = self.base.columns, self.base.objective_scale
        V = columns.admitted(columns.into_domain(found.V))
        roots, places = np.sqrt(self.base.units.cols), tensor_places(columns.columns.size)
        units = 2.0 * kappa * roots.max() / (roots[:, None, None] * np.outer(roots, roots))
        slices = units * np.array([symmetric(P) for P in multipliers[:-1]])
        rest = units * (np.ravel(multipliers[-1]) / np.bincount(places.ravel()))[places]
        sigma = columns.sigma
        Y = found.S_B.scaled(1.0 / sigma, 2.0 * columns.lambda_w / sigma).even
        return V, CubicForm(slices + _semidefinite(Y - residual_gram(columns, V).even), rest)


def cubic_level(columns: Columns) -> CubicLevel:
    """The programme for single columns with non-negative features.

    Raises:
        HypothesisError: columns or outputs are alike, or features are free.
    """
    import cvxpy as cp
    from scipy.sparse import csr_array

    if not (columns.columns.plain and columns.outputs.plain and columns.nonnegative):
        raise HypothesisError(
            "columns are alike, or features are free.",
            expected="single outputs, single columns, and non-negative features",
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
