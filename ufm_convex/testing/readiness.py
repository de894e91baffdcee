"""Whatever is made once in a process is made here, before a test's clock starts.

Hypothesis ends an example that takes longer than 200 ms. The first call of an assertion took more than a second:
modules are imported when they are first used, registries read, tables computed, threads started. No list of these
things would stay complete, so the assertions are called, one after the other, at problems of both kinds: with a
theorem and without.
"""

from __future__ import annotations

from contextlib import suppress

from ufm_convex import theory
from ufm_convex.errors import UFMError
from ufm_convex.problem import Problem
from ufm_convex.solving import solve
from ufm_convex.testing import assertions


def prepare() -> None:
    """Call every assertion at the optimum of a little problem; takes about as long as importing SciPy."""
    with suppress(AssertionError, UFMError):  # nothing is judged here: what fails fails again where it is asked
        _call_all()


def _call_all() -> None:
    framed = Problem([3, 2], 0.02, 0.02)
    optimum = theory.optimum(framed)
    if isinstance(optimum, theory.FrameOptimum):
        pair = optimum.factors()
        assertions.assert_kkt(framed, pair)
        assertions.assert_optimal(framed, pair)
        assertions.assert_self_dual(framed, pair)
        assertions.assert_stationary(framed, pair)
        assertions.assert_orthogonal_frame(framed, pair)
        assertions.assert_collapse_pattern(framed, pair)
        assertions.assert_certified(framed, pair)
    free = Problem([3, 2, 1], 0.02, 0.02, features="free")  # no theorem: descent, and a dense proof
    assertions.assert_certified(free, solve(free).factors())
