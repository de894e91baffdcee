"""The loop of ``solve`` with planted methods: which finding is kept, what contradicts, who may end it."""

import math
from dataclasses import replace

import pytest

import ufm_convex as ufm
from ufm_convex import _deadline, methods, solving
from ufm_convex.errors import ProblemError, RangeError, SolverDiedError, SolverError
from ufm_convex.solution import INTERRUPTED, TIME_LIMIT, Status

PLAIN = ufm.Problem([9, 6, 3], 0.02, 0.03)
KINDS = {
    "direct": PLAIN,
    "layer-peeled": ufm.Problem([5, 3], constraint=ufm.LayerPeeled(2.0, 3.0)),
    "contrastive": ufm.ContrastiveProblem([4, 3, 2], bound=1.0),
}


@pytest.fixture(params=KINDS)
def planted(request, monkeypatch):
    """For each kind of problem, a method whose findings are its own with other bounds, as told."""
    problem = KINDS[request.param]
    genuine = solving.method_of(problem)
    (found, *_) = genuine.evidence(problem, settings(problem), lambda _: None)

    class Planted(type(genuine)):
        def evidence(self, problem, settings, tell):
            for one in self.told:
                if isinstance(one, BaseException):
                    raise one
                low, high = (replace(found.evidence.lower, value=end) for end in one)
                yield methods.Finding(replace(found.evidence, lower=low, upper=high), f"{one}", found.estimates)

    def plant(*told):
        method = Planted()
        method.told = told
        monkeypatch.setattr(solving, "METHODS", (method,))
        return problem

    return plant


def settings(problem):
    """Those of ``solve(problem, solver="scs")``."""
    return methods.Settings(
        1e-6, lambda inner, *, tolerance: ufm.solve(inner, solver="scs", tolerance=tolerance), "scs"
    )


def test_every_kind_has_its_method():
    assert {name: solving.method_of(problem).name for name, problem in KINDS.items()} == {name: name for name in KINDS}
    for bad in (5, None, "problem", ufm.Problem):
        with pytest.raises(ProblemError, match="problem is"):
            solving.method_of(bad)


@pytest.mark.parametrize(
    "told",
    [
        ((2.0, 1.0),),
        ((math.nextafter(1.0, 2.0), 1.0),),
        ((0.1, 0.4), (0.5, 0.9)),  # either finding alone is possible
        ((0.5, 0.9), (0.1, 0.4)),
        ((0.5, 0.9), (0.1, 0.7), (0.2, 0.4)),
        ((1.0, 0.0),),
    ],
)
def test_bounds_that_contradict_each_other_are_an_error(planted, told):
    problem = planted(*told)
    with pytest.raises(SolverError, match="contradict"):
        ufm.solve(problem)


@pytest.mark.parametrize("told", [((1.0, 1.0),), ((0.1, 0.5), (0.5, 0.9)), ((0.5, 0.9), (0.1, 0.5)), ((0.0, 0.0),)])
def test_bounds_that_meet_are_none(planted, told):
    """The other side of the threshold."""
    assert ufm.solve(planted(*told)).lower_bound <= min(high for _, high in told)


def test_the_finding_with_the_smallest_gap_is_kept_whole(planted):
    solution = ufm.solve(planted((0.1, 0.5), (0.4, 0.5), (0.45, 0.9)))
    assert (solution.lower_bound, solution.upper_bound, solution.status) == (0.4, 0.5, Status.BOUNDED)
    assert 0.4 <= solution.value <= 0.5
    assert len(solution.route) == 3


def test_nothing_is_tried_once_the_tolerance_is_reached(planted):
    certified = (1.0 - 0.9e-6, 1.0)
    solution = ufm.solve(planted((0.1, 1.5), certified, AssertionError("asked for more")))
    assert (solution.lower_bound, solution.status) == (certified[0], Status.CERTIFIED)
    with pytest.raises(AssertionError, match="asked for more"):  # the other side of the threshold
        ufm.solve(planted((1.0 - 1.1e-6, 1.0), AssertionError("asked for more")))


@pytest.mark.parametrize("kind", [SolverDiedError, RangeError])
def test_a_death_costs_only_what_was_not_proved_before(planted, kind):
    error = kind("it ended.", expected="a life", fix="live")
    solution = ufm.solve(planted((0.4, 0.5), error))
    assert solution.lower_bound == 0.4
    assert solution.route[-1] == f"stopped: {error.got}"
    with pytest.raises(kind):
        ufm.solve(planted(error))


def test_of_equal_gaps_the_lower_objective_is_kept(planted):
    assert ufm.solve(planted((0.0, 0.5), (0.0, 0.9))).upper_bound == 0.5
    assert ufm.solve(planted((0.0, 0.9), (0.0, 0.5))).upper_bound == 0.5


def test_ctrl_c_keeps_the_best_of_every_kind(planted):
    solution = ufm.solve(planted((0.4, 0.5), (0.1, 0.9), KeyboardInterrupt()))
    assert (solution.lower_bound, solution.route[-1], solution.interrupted) == (0.4, INTERRUPTED, True)
    with pytest.raises(KeyboardInterrupt):
        ufm.solve(planted(KeyboardInterrupt()))


def test_any_other_error_is_the_callers(planted):
    with pytest.raises(ZeroDivisionError):
        ufm.solve(planted((0.4, 0.5), ZeroDivisionError("a fault")))


def test_the_limit_between_two_findings_keeps_the_best(planted):
    with _deadline.limited(3600.0):
        solution = ufm.solve(planted((0.4, 0.5), _deadline.OutOfTime()))
        assert solution.lower_bound == 0.4
        with pytest.raises(SolverError, match="nothing was proved within the time limit"):
            ufm.solve(planted(_deadline.OutOfTime()))
    assert TIME_LIMIT not in solution.route or solution.time_limit_reached


def test_no_finding_at_all_is_an_error(planted):
    with pytest.raises(SolverError, match="no solver made a run"):
        ufm.solve(planted())
