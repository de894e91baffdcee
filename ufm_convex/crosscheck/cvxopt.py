"""CVXOPT's ``solvers.cp``, directly: cross-entropy as a smooth convex function with its Hessian, X ⪰ 0 as a cone.

    min  Σ_k (pt_k/κ) (log Σ_j exp(z_jk) − <y_k, z_k>) + <C, X>      s.t.  X ⪰ 0,  B″_kl ≥ 0 (k > l)

in the lower triangle of X (docs/duality.md, equation 3, scaled as in ``scaled``); no exponential cones and no
modelling layer. Its normal equations are dense in the 2K² + K entries of X, so the time grows as the sixth power of K.

Source: M. Andersen, J. Dahl, L. Vandenberghe, "CVXOPT: Python software for convex optimization", cvxopt.org.
"""

from __future__ import annotations

import importlib.util
from typing import Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.base import Answer, Contestant, accuracy_for
from ufm_convex.crosscheck.scaled import ScaledClasses
from ufm_convex.problem import Problem
from ufm_convex.solvers import Claim

_ITERATIONS = 200


class CVXOPT(Contestant):
    """``cvxopt.solvers.cp`` on the primal programme."""

    name: ClassVar[str] = "cvxopt"
    package: ClassVar[str] = "cvxopt"
    returns: ClassVar[str] = "gram and dual"
    claims: ClassVar[str] = "optimal: residuals and gap of the KKT conditions within its own accuracy"

    @classmethod
    def installed(cls) -> bool:
        """Whether the package can be imported."""
        return importlib.util.find_spec("cvxopt") is not None

    def attempt(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """One run; see ``Contestant.attempt``."""
        from cvxopt import matrix, solvers

        data = ScaledClasses.of(problem)
        model = _Model(data)
        G, dims = model.cone(problem.nonnegative)
        accuracy = accuracy_for(tolerance)
        options = {
            "show_progress": False,
            "maxiters": _ITERATIONS,
            "abstol": accuracy,
            "reltol": accuracy,
            "feastol": accuracy,
        }
        found = solvers.cp(model, G=G, h=matrix(0.0, (G.size[0], 1)), dims=dims, options=options)
        order, size = dims["s"][0], dims["l"]
        multipliers = np.ravel(found["zl"])
        S = np.tril(multipliers[size:].reshape(order, order).T)  # column by column; only its lower triangle is set
        optimal = found["status"] == "optimal"  # else "unknown": the objectives of its last iterate are no claim
        return Answer(
            claim=Claim.OPTIMAL if optimal else Claim.STOPPED,
            value=data.kappa * float(found["primal objective"]) if optimal else None,
            dual_value=data.kappa * float(found["dual objective"]) if optimal else None,
            point=data.gram(model.block(np.ravel(found["x"]))),
            dual=data.dual(S + np.tril(S, -1).T, multipliers[:size]),
            message=str(found["status"]),
        )


class _Model:
    """The objective as ``cp`` asks for it: the start, then value and gradient, then the Hessian too."""

    def __init__(self, data: ScaledClasses) -> None:
        K = data.num_classes
        self.data = data
        self.rows, self.cols = np.tril_indices(2 * K)
        position = np.zeros((2 * K, 2 * K), dtype=np.intp)
        position[self.rows, self.cols] = np.arange(self.rows.size)
        self.logits = position[K:, :K].T
        """Where the entry of X behind each logit stands, (K, K)."""
        self.linear = np.zeros(self.rows.size)
        self.linear[np.diag(position)] = data.diagonal
        self.linear[self.logits] = -data.loss_weights * data.targets * data.logit_scale

    def __call__(self, x: Any = None, z: Any = None) -> Any:
        """See ``cvxopt.solvers.cp``."""
        from cvxopt import matrix

        if x is None:
            return 0, matrix(np.eye(2 * self.data.num_classes)[self.rows, self.cols])
        scale, weights = self.data.logit_scale, self.data.loss_weights
        flat = np.ravel(x)
        Z = flat[self.logits] * scale
        peak = Z.max(axis=0)
        exponentials = np.exp(Z - peak)
        sums = exponentials.sum(axis=0)
        shares = exponentials / sums
        gradient = self.linear.copy()
        gradient[self.logits] += weights * shares * scale
        value = matrix([float(weights @ (peak + np.log(sums)) + self.linear @ flat)])
        slope = matrix(gradient, (1, gradient.size))
        return (value, slope) if z is None else (value, slope, self._hessian(z[0] * weights, shares * scale, scale))

    def _hessian(self, weights: FloatArray, scaled: FloatArray, scale: FloatArray) -> Any:
        """Blocks Diag(D p D) − D p pᵀ D, one for the logits of each class, in the lower triangle."""
        from cvxopt import spmatrix

        K = self.data.num_classes
        i, j = np.tril_indices(K)
        entries, rows, cols = [], [], []
        for k in range(K):
            block = np.diag(scaled[:, k] * scale[:, k]) - np.outer(scaled[:, k], scaled[:, k])
            place = self.logits[:, k]
            entries.append(weights[k] * block[i, j])
            rows.append(np.maximum(place[i], place[j]))
            cols.append(np.minimum(place[i], place[j]))
        size = self.rows.size
        flat = (np.concatenate(part).tolist() for part in (entries, rows, cols))
        return spmatrix(*flat, (size, size))

    def cone(self, nonnegative: bool) -> tuple[Any, dict[str, Any]]:
        """G and the dimensions of −G x ∈ cones: the pairs of B″, then X column by column."""
        from cvxopt import spmatrix

        order = 2 * self.data.num_classes
        listed = (self.cols >= order // 2) & (self.rows > self.cols) & nonnegative
        pairs = np.flatnonzero(listed)
        below = self.rows > self.cols
        everywhere = np.arange(self.rows.size)
        rows = [np.arange(pairs.size), pairs.size + self.cols * order + self.rows]
        rows.append(pairs.size + (self.rows * order + self.cols)[below])
        cols = np.concatenate([pairs, everywhere, everywhere[below]])
        shape = (pairs.size + order * order, self.rows.size)
        G = spmatrix(-1.0, np.concatenate(rows).tolist(), cols.tolist(), shape)
        return G, {"l": int(pairs.size), "q": [], "s": [order]}

    def block(self, x: FloatArray) -> FloatArray:
        """X, (2K, 2K)."""
        lower = np.zeros((2 * self.data.num_classes,) * 2)
        lower[self.rows, self.cols] = x
        return lower + np.tril(lower, -1).T
