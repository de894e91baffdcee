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
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DualPoint
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
        G, h = _cone_rows(data, pairs)
        cones = [qics.cones.NonNegOrthant(pairs[0].size)] if pairs[0].size else []
        cones += [qics.cones.ClassEntr(K) for _ in range(K)]
        cones += [qics.cones.PosSemidefinite(2 * K)]
        c = np.zeros((G.shape[1], 1))
        c[:K, 0] = data.loss_weights
        accuracy = accuracy_for(tolerance)
        model = qics.Model(c=c, A=_simplex_rows(K, pairs[0].size), b=np.ones((K, 1)), G=G, h=h, cones=cones)
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


def _cone_rows(data: ScaledClasses, pairs: tuple[NDArray[np.intp], NDArray[np.intp]]) -> tuple[Any, FloatArray]:
    """G and h of h − G x ∈ cones, for x = (τ; P column by column; θ)."""
    from scipy import sparse

    K, size = data.num_classes, pairs[0].size
    free = sparse.csr_matrix((size, K + K * K))
    parts = [(sparse.hstack([free, -sparse.eye(size)]), np.zeros(size)), _entropies(K, size), _slack(data, pairs)]
    G = sparse.vstack([rows for rows, _ in parts]).tocsr()
    return G, np.concatenate([constants for _, constants in parts])[:, None]


def _entropies(K: int, size: int) -> tuple[Any, FloatArray]:
    """The rows (τ_k, 1, p_k) of each class."""
    from scipy import sparse

    starts = np.arange(K) * (K + 2)
    rows = np.concatenate([starts, (starts[:, None] + 2 + np.arange(K)).ravel()])
    constants = np.zeros(K * (K + 2))
    constants[starts + 1] = 1.0
    shape = (constants.size, K + K * K + size)
    return sparse.csr_matrix((-np.ones(rows.size), (rows, np.arange(rows.size))), shape=shape), constants


def _slack(data: ScaledClasses, pairs: tuple[NDArray[np.intp], NDArray[np.intp]]) -> tuple[Any, FloatArray]:
    """The rows of S″, all 4K² entries of it."""
    from scipy import sparse

    K, size = data.num_classes, pairs[0].size
    order = 2 * K
    factor = 0.5 * np.outer(data.scale[:K], data.scale[K:] * data.columns.loss_weights) / data.kappa
    constant = np.diag(data.diagonal)
    constant[:K, K:] = -factor * data.targets
    constant[K:, :K] = constant[:K, K:].T
    j, k = (index.ravel() for index in np.indices((K, K)))
    first, second = (K + index for index in pairs)
    theta = K + K * K + np.arange(size)
    rows = np.concatenate([j * order + K + k, (K + k) * order + j, first * order + second, second * order + first])
    cols = np.concatenate([K + k * K + j, K + k * K + j, theta, theta])
    # θ stands for two entries of Θ, half for each
    entries = np.concatenate([-factor[j, k], -factor[j, k], np.full(2 * size, 0.5)])
    shape = (order * order, K + K * K + size)
    return sparse.csr_matrix((entries, (rows, cols)), shape=shape), constant.ravel()


def _simplex_rows(K: int, size: int) -> Any:
    """A of 1ᵀp_k = 1."""
    from scipy import sparse

    entries = (np.ones(K * K), (np.repeat(np.arange(K), K), K + np.arange(K * K)))
    return sparse.csr_matrix(entries, shape=(K, K + K * K + size))
