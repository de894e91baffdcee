"""A lower bound that knows the feature dimension: one-hot mean squared error, by singular values.

No dual point is behind it, for the relaxation cannot see d; it is a theorem evaluated in ball arithmetic, and the proof
says so by its name. With X = L Diag(√n), of rank ≤ d, κ = √(λ_W λ_H) and s the roots of the counts in falling order,

    f ≥ ‖X − Diag(√n)‖² / (2N) + κ ‖X‖_* ≥ Σ_{i≤d} min_{σ≥0} [(σ − s_i)² / (2N) + κ σ] + Σ_{i>d} s_i² / (2N)
      = ½ − Σ_{i≤d} (s_i − N κ)₊² / (2N).

The first step is Jensen's inequality and ‖W‖² λ_W + ‖H̄ Diag(√n)‖² λ_H ≥ 2 κ ‖X‖_*; the second is Mirsky's, that
singular values are nearer to each other than matrices (Mirsky, Quart. J. Math. 11, 1960; Eckart, Young 1936). Equality
holds at theory/mean_squared_error.py, so nothing is lost.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from ufm_convex.enclosure.bounds import ProvedBound
from ufm_convex.enclosure.exact import PRECISION, float_below, lower_end, rational
from ufm_convex.losses import MeanSquaredError
from ufm_convex.problem import Problem

PROOF = "singular values"


def rank_bound(problem: Problem) -> ProvedBound | None:
    """The bound, or None for another loss, with a bias, or where d is not given or not below K."""
    from flint import arb, ctx

    d = problem.feature_dim
    if d is None or d >= problem.num_classes or type(problem.loss) is not MeanSquaredError or problem.bias is not None:
        return None
    N, left = problem.num_samples, d
    with ctx.workprec(PRECISION):
        decays = Fraction(problem.lambda_w) * Fraction(problem.lambda_h)
        threshold = N * arb(rational(decays)).sqrt()
        saved = arb(0)
        for count, classes in sorted(Counter(problem.class_counts.tolist()).items(), reverse=True):
            if left == 0 or count <= N * N * decays:
                break
            saved += min(classes, left) * (arb(count).sqrt() - threshold) ** 2
            left -= min(classes, left)
        total = arb(rational(Fraction(1, 2))) - saved / (2 * N)
        return ProvedBound(float_below(total), PROOF, lower_end(total))
