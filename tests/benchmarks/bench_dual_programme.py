"""The relaxation at class level as a primal and as a dual programme, both by Clarabel; run by hand.

    python -m tests.benchmarks.bench_dual_programme

The dual (docs/duality.md, equation 4) in matrices: maximise Σ pt_k Ent(p_k) over columns p_k of the simplex and T ≥ 0
with a diagonal of zeros, such that

    [[I, P], [Pᵀ, I − T̃]] ⪰ 0,   P = U D^{-1/2},   U = (p − Y) Diag(pt),   T̃ = D^{-1/2} T D^{-1/2},

T = 0 for free features; divided by max σ. Forms of it:

    primal    the programme of ``ufm_convex.relaxation``
    dual      one cone of order 2K
    reduced   1ᵀU = 0: QᵀP for an orthonormal basis Q of the complement of 1, one cone of order 2K − 1
    chordal   the identity leaves cliques of one row and all columns: Clarabel decomposes the cone and merges cliques
    rows      the same by hand: [[1, p_j], [p_jᵀ, S_j]] ⪰ 0 of order K + 1 for each row, Σ_j S_j = I − T̃

Seconds are processor time with cvxpy's own (of one thread if the environment says so). The error is that of the value,
relative to a certified solution.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np

import ufm_convex as ufm
from tests.benchmarks.bench_growth import distinct
from tests.scripts import parsed, small
from ufm_convex import relaxation

Form = tuple[cp.Problem, float, dict[str, Any]]
"""A programme, what its value is multiplied by, and options of the solver."""
WHOLE = {"chordal_decomposition_enable": False}


def primal(problem: ufm.Problem) -> Form:
    programme = relaxation.programme(relaxation.of_classes(problem))
    return programme.problem, programme.objective_scale, {}


def parts(problem: ufm.Problem) -> tuple[cp.Expression, list[cp.Constraint], cp.Expression, cp.Expression, float]:
    """Objective, constraints without the cone, P, I − T̃, and the scale."""
    K, counts = problem.num_classes, problem.class_counts
    pt, sigma = counts / counts.sum(), np.sqrt(problem.lambda_w * problem.lambda_h * counts)
    p, kappa = cp.Variable((K, K)), float(sigma.max())
    constraints, corner = [cp.sum(p, axis=0) == 1.0], cp.Constant(np.eye(K))
    if problem.nonnegative:
        T = cp.Variable((K, K), symmetric=True)
        constraints += [cp.upper_tri(T) >= 0.0, cp.diag(T) == 0.0]
        corner = corner - T
    value = cp.sum(cp.multiply(np.tile(pt / kappa, (K, 1)), cp.entr(p)))
    return value, constraints, cp.multiply(p - np.eye(K), np.tile(pt / sigma, (K, 1))), corner, kappa


def dual(problem: ufm.Problem) -> Form:
    value, constraints, P, corner, kappa = parts(problem)
    cone = cp.bmat([[np.eye(problem.num_classes), P], [P.T, corner]]) >> 0
    return cp.Problem(cp.Maximize(value), [*constraints, cone]), kappa, WHOLE


def reduced(problem: ufm.Problem) -> Form:
    value, constraints, P, corner, kappa = parts(problem)
    K = problem.num_classes
    Q = np.linalg.qr(np.column_stack([np.ones(K), np.eye(K)[:, 1:]]))[0][:, 1:]
    cone = cp.bmat([[np.eye(K - 1), Q.T @ P], [P.T @ Q, corner]]) >> 0
    return cp.Problem(cp.Maximize(value), [*constraints, cone]), kappa, WHOLE


def chordal(problem: ufm.Problem) -> Form:
    return *dual(problem)[:2], {}


def rows(problem: ufm.Problem) -> Form:
    value, constraints, P, corner, kappa = parts(problem)
    K = problem.num_classes
    shares = [cp.Variable((K, K), symmetric=True) for _ in range(K)]
    for j, S in enumerate(shares):
        row = cp.reshape(P[j], (1, K), order="C")
        constraints.append(cp.bmat([[np.ones((1, 1)), row], [row.T, S]]) >> 0)
    return cp.Problem(cp.Maximize(value), [*constraints, sum(shares) == corner]), kappa, {}


FORMS: dict[str, Callable[[ufm.Problem], Form]] = {
    form.__name__: form for form in (primal, dual, reduced, chordal, rows)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[20, 30, 50])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["primal", "dual", "reduced", "chordal"])
    small(parser, classes=[4], forms=list(FORMS))
    options = parsed(parser)
    print("| K | features | form | status | error of the value | iterations | seconds | of primal |")
    print("|---|---|---|---|---|---|---|---|")
    for K in options.classes:
        for features in ("nonnegative", "free"):
            problem, base = distinct(K, features), float("nan")
            truth = ufm.solve(problem, tolerance=1e-11).value
            for name in options.forms:
                started = time.process_time()
                programme, scale, settings = FORMS[name](problem)
                programme.solve(solver="CLARABEL", **settings)
                took = time.process_time() - started
                base = took if name == options.forms[0] else base
                error, iterations = abs(programme.value * scale / truth - 1.0), programme.solver_stats.num_iters
                print(
                    f"| {K} | {features} | {name} | {programme.status} | {error:.1e} | {iterations} | {took:.2f} "
                    f"| {took / base:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
