"""QICS, natively: an interior-point method for entropy cones, given the *dual* programme.

    min  Σ_k (pt_k/κ) τ_k
    s.t. (τ_k, 1, p_k) ∈ cl{t ≥ Σ_j x_j log(x_j/u)},   1ᵀp_k = 1,   θ ≥ 0,
         S″ = [[Diag(s)/2κ, E_W U E_H/2κ], [·, Diag(c)/2κ − Θ]] ⪰ 0,      U = (P − Y) Diag(pt)

(docs/duality.md, equation 4, scaled as in ``scaled``). So entropies stay entropies, no exponential cone is needed, and
the Gram matrix is what the solver returns as the multiplier of S″ ⪰ 0.

Source: K. He, J. Saunderson, H. Fawzi, "QICS: Quantum Information Conic Solver", arXiv:2410.17803.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.base import Answer, Contestant, accuracy_for
from ufm_convex.crosscheck.scaled import ScaledClasses
from ufm_convex.points import DualPoint
from ufm_convex.problem import Problem
from ufm_convex.solvers import Claim

STATUS_MAP: Mapping[str, Claim] = {
    "optimal": Claim.OPTIMAL,
    "near_optimal": Claim.INACCURATE,
    "pinfeas": Claim.UNBOUNDED,  # its primal programme is our dual
    "near_pinfeas": Claim.UNBOUNDED,
    "dinfeas": Claim.INFEASIBLE,
    "near_dinfeas": Claim.INFEASIBLE,
}


class QICS(Contestant):
    """``qics.Solver`` on the dual programme."""

    name: ClassVar[str] = "qics"
    package: ClassVar[str] = "qics"
    returns: ClassVar[str] = "gram and dual"
    claims: ClassVar[str] = "optimal: relative gap and residuals within its own accuracy"

    @classmethod
    def installed(cls) -> bool:
        """Whether the package can be imported."""
        return importlib.util.find_spec("qics") is not None

    def attempt(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """One run; see ``Contestant.attempt``."""
        import qics

        data = ScaledClasses.of(problem)
        K, pairs = data.num_classes, _pairs(problem)
        G, h, A = _matrices(data, pairs)
        cones = [qics.cones.NonNegOrthant(pairs[0].size)] if pairs[0].size else []
        cones += [qics.cones.ClassEntr(K) for _ in range(K)]
        cones += [qics.cones.PosSemidefinite(2 * K)]
        c = np.zeros((G.shape[1], 1))
        c[:K, 0] = data.loss_weights
        accuracy = accuracy_for(tolerance)
        model = qics.Model(c=c, A=A, b=np.ones((K, 1)), G=G, h=h, cones=cones)
        found = qics.Solver(
            model, verbose=0, max_time=0.9 * time_limit, max_iter=200, tol_gap=accuracy, tol_feas=accuracy
        ).solve()
        x = np.ravel(found["x_opt"])
        P = x[K : K + K * K].reshape(K, K).T
        claim = STATUS_MAP.get(found["sol_status"], Claim.STOPPED)
        stopped = claim is Claim.STOPPED  # the objectives of an iterate on the way are no claim
        return Answer(
            claim=claim,
            value=None if stopped else -data.kappa * float(found["d_obj"]),
            dual_value=None if stopped else -data.kappa * float(found["p_obj"]),
            point=data.gram(np.asarray(found["z_opt"].vec).ravel()[-4 * K * K :].reshape(2 * K, 2 * K)),
            dual=DualPoint(P - data.targets, data.nonnegativity(x[K + K * K :])),
            message=f"{found['sol_status']}, {found['exit_status']}, {found['num_iter']} iterations",
        )


def _pairs(problem: Problem) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs k > l with B_kl ≥ 0, row by row; none for free features."""
    k, j = np.tril_indices(problem.num_classes, -1)
    return (k, j) if problem.nonnegative else (k[:0], j[:0])


def _matrices(data: ScaledClasses, pairs: tuple[NDArray[np.intp], NDArray[np.intp]]) -> tuple[Any, FloatArray, Any]:
    """G and h of h − G x ∈ cones for x = (τ; P column by column; θ), and the A of 1ᵀp_k = 1."""
    from scipy import sparse

    K, size = data.num_classes, pairs[0].size
    n, entropy_rows = K + K * K + size, K * (K + 2)
    psd = size + entropy_rows
    h = np.zeros((psd + 4 * K * K, 1))
    rows, cols, entries = [np.arange(size)], [K + K * K + np.arange(size)], [-np.ones(size)]
    for column in range(K):  # (τ_k, 1, p_k)
        start = size + column * (K + 2)
        h[start + 1] = 1.0
        rows += [np.array([start]), start + 2 + np.arange(K)]
        cols += [np.array([column]), K + column * K + np.arange(K)]
        entries += [np.array([-1.0]), -np.ones(K)]
    # the block (W, H) of S″: E_W (P − Y) Diag(pt) E_H / 2κ, in both triangles
    factor = 0.5 * np.outer(data.scale[:K], data.scale[K:] * data.columns.loss_weights) / data.kappa
    j, k = (index.ravel() for index in np.indices((K, K)))
    for above in (j * 2 * K + K + k, (K + k) * 2 * K + j):
        rows, cols, entries = [*rows, psd + above], [*cols, K + k * K + j], [*entries, -factor[j, k]]
        h[psd + above, 0] = -(factor * data.targets)[j, k]
    diagonal = np.arange(2 * K)
    h[psd + diagonal * (2 * K + 1), 0] = data.diagonal
    for first, second in (pairs, pairs[::-1]):  # θ stands for two entries of Θ, half for each
        rows.append(psd + (K + first) * 2 * K + K + second)
        cols.append(K + K * K + np.arange(size))
        entries.append(0.5 * np.ones(size))
    shape = (psd + 4 * K * K, n)
    G = sparse.csr_matrix((np.concatenate(entries), (np.concatenate(rows), np.concatenate(cols))), shape=shape)
    A = sparse.csr_matrix((np.ones(K * K), (np.repeat(np.arange(K), K), K + np.arange(K * K))), shape=(K, n))
    return G, h, A
