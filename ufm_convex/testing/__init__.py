"""Property tests for code that trains, solves or judges unconstrained feature models: strategies and assertions.

    strategies    what to test with: problems, candidates near and far from optimal, feasible points of the primal and
                  of the dual, local minima with dead classes. They shrink, and reach the boundaries on purpose.
    assertions    what to demand: each raises ``AssertionError`` with what is wrong, where, and what it costs.

Assertions are checks in floating point within a tolerance, but for ``assert_certified``, which asks for a proof.
Needs the extra ``testing`` (Hypothesis); docs/testing.md is a tour.
"""

from __future__ import annotations

import importlib.util

from ufm_convex.errors import MissingExtraError

if importlib.util.find_spec("hypothesis") is None:
    raise MissingExtraError(
        "ufm_convex.testing needs the package hypothesis, which is not installed.",
        expected="the package hypothesis",
        fix="pip install hypothesis",
    )

from ufm_convex.testing.assertions import (
    assert_certified,
    assert_collapse_pattern,
    assert_kkt,
    assert_optimal,
    assert_orthogonal_frame,
    assert_self_dual,
    assert_stationary,
)
from ufm_convex.testing.losses import assert_loss_is_consistent
from ufm_convex.testing.readiness import prepare as _prepare
from ufm_convex.testing.strategies import (
    REGIMES,
    SpuriousMinimum,
    candidates,
    decays_for,
    feasible_dual_points,
    feasible_primal_points,
    problems,
    spurious_minima,
)
from ufm_convex.testing.tables import TABLE_LOSSES, tabled_problems

__all__ = [
    "REGIMES",
    "TABLE_LOSSES",
    "SpuriousMinimum",
    "assert_certified",
    "assert_collapse_pattern",
    "assert_kkt",
    "assert_loss_is_consistent",
    "assert_optimal",
    "assert_orthogonal_frame",
    "assert_self_dual",
    "assert_stationary",
    "candidates",
    "decays_for",
    "feasible_dual_points",
    "feasible_primal_points",
    "problems",
    "spurious_minima",
    "tabled_problems",
]

_prepare()
