"""The algebra on full arrays: points written in on single orbits, and what comes of them written out.

For tests that state points entry by entry. Columns are single ones, as those of ``of_classes`` and ``of_samples``.
"""

import numpy as np

from ufm_convex import duality, recovery, relaxation
from ufm_convex.relaxation import Alike, Dual, Factors, Gram, Orbits


def objective(columns, point):
    """F at A (K, K), L (K, m), B (m, m)."""
    return relaxation.objective(columns, Gram.mean(columns, point))


def factored_objective(columns, W, H, bias=None):
    """f(W, H, b) at W (K, d) and H (m, d)."""
    return relaxation.objective(columns, Factors.single(columns, W, H, bias))


def dual_value(columns, dual):
    """The dual objective at V (K, m)."""
    return relaxation.dual_value(columns, Dual.mean(columns, dual).V)


def terms(columns, point, dual):
    """The terms of the identity."""
    return relaxation.terms(columns, Gram.mean(columns, point), Dual.mean(columns, dual))


def scaled_slack(columns, dual):
    """I − D^{-1/2}(G + T)D^{-1/2}, (m, m)."""
    return relaxation.scaled_slack(columns, Dual.mean(columns, dual)).full()


def repair(columns, duals, H=None, bias=None):
    """The repaired point with (K, m) residuals, and its value; features H (m, d) and b where there are some."""
    point = None
    if H is not None:
        point = Factors.single(columns, np.zeros((columns.outputs.total, H.shape[1])), H, bias)
    found, value = duality.repair(columns, [Dual.mean(columns, dual) for dual in duals], point)
    return found.full(), value


def report(columns, point, dual, factors, epsilon):
    """The KKT report at points as arrays, with W (K, d) and H (m, d)."""
    pair = Factors.single(columns, *factors)
    return duality.report(columns, Gram.mean(columns, point), Dual.mean(columns, dual), pair, epsilon)


def recoveries(columns, point, thorough=True):
    """Recovered factors of a Gram point: the record, W (K, d) and H (m, d)."""
    for found in recovery.recoveries(columns, Gram.mean(columns, point), thorough=thorough):
        yield found, found.factors.W.full(), found.factors.H.full()


def descend(columns, W, H, iterations=2000):
    """The end of a descent from W (K, d) and H (m, d)."""
    found, _ = recovery.descend(columns, Factors.single(columns, W, H), iterations)
    return found.W.even, found.H.even


def balanced(columns, logits):
    """The smallest free W and H with these logits."""
    found = recovery.balanced(columns, Alike.matrix(columns.outputs, columns.columns, logits), None)
    return found.W.even, found.H.even


def scaled(columns, dimension):
    """The factored problem in scaled variables, in single coordinates."""
    return recovery.Scaled(columns, Orbits.single(dimension))


def into_domain(columns, residuals):
    """Residuals (K, m) near the given ones in the domain of the dual objective."""
    V = Alike.matrix(columns.outputs, columns.columns, residuals)
    return columns.admitted(columns.into_domain(V)).full()
