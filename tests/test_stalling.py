"""A schedule of runs ends where asking for more changes nothing: planted solvers that stay where they are."""

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.losses import CrossEntropy, MulticlassHinge
from ufm_convex.solvers import SolverRun
from ufm_convex.solvers.base import Claim
from ufm_convex.solvers.scs import SCS
from ufm_convex.solvers.stalling import Stalls, thorough

SCHEDULE = [accuracy for accuracy, _ in SCS().schedule("class")]
KINKS = ufm.Problem([30, 9, 4, 2, 2], 2e-3, 1e-3, loss=MulticlassHinge("weston-watkins"), bias=0.03)
CONTRASTIVE = ufm.ContrastiveProblem([30, 9, 4, 2, 2], bound=1.0)


def route_of(gaps, accuracies=SCHEDULE):
    """How many runs are made when these are their gaps."""
    stalls = Stalls()
    for i, (accuracy, gap) in enumerate(zip(accuracies, gaps, strict=True)):
        if stalls.after("one", accuracy, gap):
            return i + 1
    return len(gaps)


def test_the_rule_on_sequences():
    assert route_of([1.6e-5] * 7) == 5  # 1e-5 is the first that counts, 1e-6 changes nothing
    assert route_of([1e-1, 1e-2, 1e-3, 1e-4, 1e-4, 1e-4, 1e-4]) == 5
    assert route_of([1e-1, 1e-2, 1e-3, 1e-4, 2e-5, 2e-5, 2e-5]) == 6
    assert route_of([3e-6, 3e-6, 3e-6, 3e-6, 1e-6, 2e-6, 1e-7]) == 7  # loose runs and worse ones say nothing
    assert route_of([1e-6] * 7, [None] * 7) == 7  # nothing more was asked for
    assert route_of([1e-6] * 7, [1e-8] * 7) == 7


@pytest.mark.parametrize(("change", "stops"), [(1.019, True), (1.021, False), (0.981, True), (0.979, False)])
def test_gaps_are_the_same_within_a_fiftieth(change, stops):
    stalls = Stalls()
    assert not stalls.after("one", 1e-5, 1e-6)
    assert not stalls.after("another", 1e-6, 1e-6 * change)
    assert stalls.after("one", 1e-6, 1e-6 * change) is stops


@pytest.mark.parametrize(("accuracy", "expected"), [(1e-5, True), (1.1e-5, False), (None, True)])
def test_only_accurate_runs_count(accuracy, expected):
    assert thorough(SolverRun("one", "class", Claim.OPTIMAL, "", accuracy=accuracy)) is expected
    assert Stalls({"one": (accuracy or 1e-5, 1.0)}).after("one", 1e-9, 1.0) is expected


@pytest.fixture
def stubborn(monkeypatch):
    """SCS that is given two iterations once, and from then on leaves all as it is and calls it optimal."""
    real, seen = SCS._solve, []

    def solve(self, problem, options):
        if not seen:
            real(self, problem, {"max_iters": 2})
        seen.append(options)
        problem._status = "optimal"

    monkeypatch.setattr(SCS, "_solve", solve)
    return seen


@pytest.mark.parametrize("problem", [KINKS, CONTRASTIVE], ids=["problem", "contrastive"])
def test_a_solver_that_stays_where_it_is_is_not_asked_again(stubborn, problem):
    found = ufm.solve(problem, solver="scs", tolerance=1e-15)
    assert found.status == "bounded"
    assert len(stubborn) == len(found.route) == 5
    assert "has changed nothing" in found.route[-1]
    assert not any("has changed nothing" in line for line in found.route[:-1])


def test_one_that_moves_is_asked_to_the_end():
    found = ufm.solve(KINKS, solver="scs", tolerance=1e-15)
    assert len(found.route) == len(SCHEDULE)
    assert found.relative_gap <= 1e-8


def test_options_that_leave_nothing_of_the_schedule_are_run_once(monkeypatch):
    """Their accuracy is not that of the schedule, so none is stated, and the point is worth a descent."""
    settings = {"eps_abs": 1e-4, "eps_rel": 1e-4, "max_iters": 20_000}
    real, seen = SCS.attempt, []

    def attempt(self, problem, options):
        seen.append(options)
        return real(self, problem, options)

    monkeypatch.setattr(SCS, "attempt", attempt)
    found = ufm.solve(KINKS, solver="scs", tolerance=1e-15, options=settings)
    assert seen == [settings]
    assert found.run.accuracy is None
    assert ufm.solve(KINKS, solver="scs", tolerance=1e-15).run.accuracy in SCHEDULE
    # where it was stopped by its limit it goes on from there
    seen.clear()
    ufm.solve(KINKS, solver="scs", tolerance=1e-15, options={"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iters": 10})
    assert len(seen) == len(SCHEDULE)


def test_weighted_and_smoothed_losses_at_tiny_decays_close():
    """In units of the decays the tighter runs changed nothing: 1.6e-5, three times over."""
    rng = np.random.default_rng(7)
    for _ in range(8):
        K = int(rng.integers(3, 7))
        loss = CrossEntropy(class_weights=rng.uniform(0.2, 5, K).tolist(), smoothing=float(rng.uniform(0.01, 0.2)))
        decays = 10.0 ** (rng.uniform(-0.5, 0.5, 2) - np.array([11, 9]))
        problem = ufm.Problem(rng.integers(1, 400, K).tolist(), *decays.tolist(), loss=loss, features="free")
        found = ufm.solve(problem, solver="scs")
        # the excess over the floor is 1e-8 of the value, so that the status asks for 1e-12 of it: docs/targets.md
        assert found.relative_gap <= 1e-6, found.route
        assert (found.status == "certified") == (found.excess_gap <= 1e-6)
