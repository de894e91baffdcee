"""From counts to a certified optimum: every solver and level, honest statuses, and no quiet help from the theorem."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from soft_targets import random_columns, soft_targets

from ufm_convex import class_counts, enclosure, solvers, theory
from ufm_convex.errors import (
    HypothesisError,
    ProblemError,
    SizeError,
    SolverError,
    SolverNotInstalledError,
    UnknownNameError,
)
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import FramePoint
from ufm_convex.solution import Status
from ufm_convex.solvers import Claim, Solver, SolverRun
from ufm_convex.solvers.conic import STATUS_MAP, ConicSolver
from ufm_convex.solving import require_solvable, solve

CIFAR_10_LT = Problem(class_counts.exponential(10, 5000, 100), 1e-3, 2e-3)  # four of ten classes collapse
SMALL = Problem([9, 6, 3], 0.02, 0.03)
ROUTES = [("clarabel", "class"), ("scs", "class"), ("clarabel", "sample"), ("scs", "sample")]


def assert_matches_theory(solution):
    """Value, Gram matrices and collapse pattern against the closed form."""
    expected = theory.optimum(solution.problem)
    assert solution.status is Status.CERTIFIED
    assert solution.relative_gap <= solution.tolerance
    # both bounds are proved, so theory's value lies between them up to its own rounding
    assert solution.lower_bound * (1 - 1e-14) <= expected.value <= solution.upper_bound * (1 + 1e-14)
    assert solution.value == pytest.approx(expected.value, rel=solution.tolerance)
    # a gap of ε determines Gram matrices to √ε only
    scale = np.sqrt(solution.tolerance)
    for found, exact in (
        (solution.weight_gram, expected.weight_gram()),
        (solution.logits, expected.logits()),
        (solution.feature_gram, expected.feature_gram()),
    ):
        np.testing.assert_allclose(found, exact, atol=10 * scale * max(np.abs(exact).max(), 1e-12))
    assert solution.collapsed_classes == tuple(np.flatnonzero(expected.collapsed))
    assert solution.kkt().passed, solution.kkt().worst


@pytest.mark.parametrize(("solver", "level"), ROUTES)
def test_every_conic_route_reproduces_the_theorem(solver, level):
    assert_matches_theory(solve(SMALL, solver=solver, level=level))


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
def test_cifar_10_lt(solver):
    solution = solve(CIFAR_10_LT, solver=solver)
    assert solution.problem.num_samples == 12_406
    assert_matches_theory(solution)
    assert solution.collapsed_classes == (6, 7, 8, 9)


def test_auto_takes_the_closed_form_and_says_so():
    solution = solve(CIFAR_10_LT, tolerance=1e-12)
    assert (solution.solver, solution.status) == ("theory", Status.CERTIFIED)
    assert "a theorem holds" in solution.route[0]
    assert isinstance(solution.point, FramePoint)


class TrapError(RuntimeError):
    """Raised when something reaches for the closed form."""


def spring(*_args, **_kwargs):
    raise TrapError


@pytest.mark.parametrize(("solver", "level"), ROUTES)
def test_an_explicit_solver_or_level_never_uses_theory(monkeypatch, solver, level):
    for name in ("optimum", "bound", "find", "theorems"):
        monkeypatch.setattr(theory, name, spring)
    monkeypatch.setattr(theory.OrthogonalFrame, "evaluate", spring)
    solution = solve(SMALL, solver=solver, level=level)
    assert solution.status is Status.CERTIFIED
    assert solution.kkt().passed
    solution.factors()
    assert solve(SMALL, level=level).solver == "clarabel"  # "auto" with an explicit level
    with pytest.raises(TrapError):
        _ = solution.theory  # the comparison beside it is the one thing that asks
    with pytest.raises(TrapError):
        solve(SMALL)  # and "auto" may


@pytest.mark.parametrize("solver", ["auto", "scs", "frame"])
def test_the_slack_is_that_of_the_dual_point(solver):
    """R = D − G − T from its definition, positive semidefinite and orthogonal to B."""
    solution = solve(SMALL, solver=solver)
    dual = solution.dual.dense(SMALL) if solver != "scs" else solution.dual
    U = dual.residuals * SMALL.loss_weights
    D = SMALL.lambda_w * SMALL.lambda_h * np.diag(SMALL.class_counts)
    np.testing.assert_allclose(solution.slack, D - U.T @ U - dual.nonnegativity, atol=1e-15 * D.max())
    assert np.linalg.eigvalsh(solution.slack)[0] > -1e-12 * D.max()
    assert abs((solution.slack * solution.feature_gram).sum()) < 1e-6 * D.max() * solution.feature_gram.max()


def test_sample_level_shows_within_class_collapse():
    solution = solve(SMALL, solver="clarabel", level="sample")
    assert solution.level == "sample"
    # linear in the objective: as small as the accuracy of the solver's value
    assert abs(solution.run.within_class_variability) < 1e-7 * solution.value


class Liar(Solver):
    """Base of mock solvers: they return what the test planted."""

    name = "liar"
    levels = ("class",)
    run: SolverRun

    rank = 0

    @classmethod
    def installed(cls):
        return True

    def suits(self, problem, level):
        return None

    def runs(self, problem, level, tolerance, options):
        yield self.run


@pytest.fixture
def plant(monkeypatch):
    """Makes ``solver="liar"`` return a given run."""

    def install(**fields):
        kind = type("Planted", (Liar,), {"run": SolverRun("liar", "class", **fields)})
        monkeypatch.setattr(solvers, "available", lambda: {"liar": kind})

    return install


def honest_bounds(solution):
    """Bounds that contain theory's value, whatever the solver said."""
    value = theory.optimum(solution.problem).value
    return solution.lower_bound <= value * (1 + 1e-14) and value <= solution.upper_bound * (1 + 1e-14)


def test_a_solver_that_claims_a_wrong_value_is_not_believed(plant):
    truth = solve(SMALL, solver="clarabel").run
    plant(claim=Claim.OPTIMAL, message="optimal", point=truth.point, dual=truth.dual, value=0.9 * truth.value)
    solution = solve(SMALL, solver="liar")
    assert honest_bounds(solution)
    assert solution.value >= solution.lower_bound > 0.99 * truth.value


def test_a_solver_that_claims_optimality_of_rubbish_gets_honest_bounds(plant):
    rng = np.random.default_rng(0)
    truth = solve(SMALL, solver="clarabel").run
    noise = [rng.normal(size=(3, 3)) for _ in range(3)]
    rubbish = type(truth.point)(*noise)
    duals = type(truth.dual)(noise[0], noise[1])
    plant(claim=Claim.OPTIMAL, message="optimal", point=rubbish, dual=duals, value=0.0, dual_value=99.0)
    assert honest_bounds(solve(SMALL, solver="liar", tolerance=1e-15))


def test_a_swapped_sign_of_the_dual_costs_tightness_never_validity(plant):
    truth = solve(SMALL, solver="clarabel").run
    flipped = type(truth.dual)(-truth.dual.residuals, -truth.dual.nonnegativity)
    plant(claim=Claim.OPTIMAL, message="optimal", dual=flipped)
    solution = solve(SMALL, solver="liar")
    assert honest_bounds(solution)
    assert solution.status is Status.BOUNDED


def test_a_solver_that_leaves_nothing_has_failed_with_trivial_bounds(plant):
    plant(claim=Claim.FAILED, message="out of memory")
    solution = solve(SMALL, solver="liar")
    assert solution.status is Status.FAILED
    assert solution.lower_bound == 0.0
    assert solution.upper_bound == pytest.approx(np.log(3.0), rel=1e-15)  # W = H = 0
    assert honest_bounds(solution)
    assert solution.solver_kkt() is None


def test_a_solver_that_stops_early_leaves_true_bounds():
    solution = solve(CIFAR_10_LT, solver="scs", tolerance=1e-17, options={"max_iters": 2})
    assert solution.run.claim in {Claim.INACCURATE, Claim.STOPPED}
    assert solution.status is Status.BOUNDED
    assert honest_bounds(solution)


def test_a_solver_that_crashes_is_reported_in_its_own_words(monkeypatch):
    monkeypatch.setattr(solvers.available()["clarabel"], "schedule", lambda self, level: iter([(1e-8, {"no": 1})]))
    solution = solve(SMALL, solver="clarabel")
    assert (solution.run.claim, solution.status) == (Claim.FAILED, Status.FAILED)
    assert honest_bounds(solution)


class PanicException(BaseException):
    """What Clarabel raises when its Rust code panics: pyo3 knows it by this name alone."""


def test_a_solver_that_panics_has_failed_and_the_next_run_is_made(monkeypatch):
    """At group level there are further runs, with other numerics: the panic of the first must not cost them."""
    rounds, raised = iter([PanicException("called `Option::unwrap()` on a `None` value")]), []
    kind = solvers.available()["clarabel"]
    genuine = kind._solve

    def panicking(self, *arguments):
        for error in rounds:
            raised.append(error)
            raise error
        genuine(self, *arguments)

    monkeypatch.setattr(kind, "_solve", panicking)
    solution = solve(SMALL, solver="clarabel", level="group")
    assert len(raised) == 1
    assert "panicked: called `Option::unwrap()`" in solution.route[0]
    assert solution.status is Status.CERTIFIED


def throw(error):
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_nothing_but_a_panic_is_taken_for_a_failed_run(monkeypatch, error):
    kind = solvers.available()["clarabel"]
    monkeypatch.setattr(kind, "_solve", lambda *_: throw(error))
    with pytest.raises(error):
        kind().attempt(None, {})


def test_an_interruption_keeps_the_best_bounds(plant, monkeypatch):
    truth = solve(SMALL, solver="clarabel").run
    first = SolverRun("liar", "class", Claim.STOPPED, "loose", point=truth.point)

    def interrupted(self, *_):
        yield first
        raise KeyboardInterrupt

    plant(claim=Claim.OPTIMAL, message="")
    monkeypatch.setattr(solvers.available()["liar"], "runs", interrupted)
    solution = solve(SMALL, solver="liar", tolerance=1e-16)
    assert "interrupted" in solution.route[-1]
    assert honest_bounds(solution)


def test_ctrl_c_inside_scs_interrupts():
    """SCS handles SIGINT itself; the run must not pass as a failure and go on to the next accuracy."""
    script = (
        "import numpy as np, ufm_convex as ufm, os, signal, threading, time\n"
        "def press():\n"
        "    while True:\n"  # a press before SCS has installed its handler waits for the end of the run
        "        time.sleep(3.0)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=press, daemon=True).start()\n"
        "problem = ufm.Problem(np.arange(1, 151), 1e-3, 1e-3)\n"
        "options = {'eps_abs': 1e-12, 'eps_rel': 1e-12, 'max_iters': 10**7}\n"
        "ufm.solve(problem, solver='scs', options=options)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "KeyboardInterrupt" in done.stderr


def test_statuses_are_mapped_explicitly():
    import cvxpy.settings as settings

    documented = {*settings.SOLUTION_PRESENT, *settings.INF_OR_UNB, *settings.ERROR, "infeasible", "unbounded"}
    assert documented <= set(STATUS_MAP)
    assert STATUS_MAP["optimal_inaccurate"] is not Claim.OPTIMAL


@pytest.mark.parametrize("counts", [[20, 20, 20, 20], [60, 20, 20, 20]])
@pytest.mark.parametrize("seed", range(3))
def test_equal_counts_do_not_make_classes_alike_for_every_loss(counts, seed):
    """Averaging dual points over classes of equal count is legal only where the loss treats them alike."""
    targets = random_columns(4, 0.3, seed=seed, concentration=0.3)
    targets[:, 0] = [0.97, 0.01, 0.01, 0.01]
    problem = Problem(counts, 0.02, 0.02, loss=soft_targets(targets))
    solution = solve(problem, solver="clarabel")
    assert solution.status is Status.CERTIFIED
    assert solution.lower_bound <= solution.upper_bound


def test_contradicting_bounds_are_an_error_never_a_certificate(monkeypatch):
    real = enclosure.lower_bound
    monkeypatch.setattr(
        enclosure, "lower_bound", lambda *a, **k: replace(found := real(*a, **k), value=1.1 * found.value)
    )
    with pytest.raises(SolverError, match="contradict"):
        solve(SMALL, solver="clarabel")


def test_dimension_below_the_active_classes_gives_a_labelled_bound():
    problem = Problem([180, 60, 20], 0.01, 0.01, feature_dim=2)
    assert theory.bound(problem).relation == "lower"
    for solver in ("auto", "theory", "scs"):
        solution = solve(problem, solver=solver)
        assert solution.status is Status.BOUNDED
        assert solution.lower_bound <= theory.bound(problem).value
        W, H = solution.factors()
        assert W.shape == H.shape == (3, 2)
        assert independent_objective(problem, W, H) == pytest.approx(solution.upper_bound, rel=1e-9)


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize(("counts", "level"), [(np.arange(60, 20, -4), "class"), (np.repeat([60, 9], 15), "group")])
def test_a_schedule_ends_when_the_dimension_alone_keeps_the_gap_open(features, counts, level):
    """The same problem without a limit is certified by the same runs; planted: runs that are merely loose go on."""
    wide = Problem(counts, 0.002, 0.002, features=features)
    narrow = replace(wide, feature_dim=4)
    certified = solve(wide, solver="scs", level=level)
    solution = solve(narrow, solver="scs", level=level)
    assert (certified.status, solution.status) == (Status.CERTIFIED, Status.BOUNDED)
    assert len(solution.route) == len(certified.route) < 7
    assert solution.route[-1].endswith("the relaxation is solved, but needs more than 4 dimensions")
    assert solution.lower_bound == pytest.approx(certified.lower_bound, rel=1e-6)  # the tolerance
    assert not any("is solved" in line for line in certified.route + solution.route[:-1])


def independent_objective(problem, W, H):
    """f at class means, straight from the definition."""
    logits, n = W @ H.T, problem.class_counts
    log_sum = np.log(np.exp(logits).sum(axis=0))
    data = (n / n.sum()) @ (log_sum - np.diag(logits))
    return data + problem.lambda_w / 2 * (W**2).sum() + problem.lambda_h / 2 * (n @ (H**2).sum(axis=1))


@pytest.mark.parametrize("solver", ["auto", "clarabel", "scs"])
def test_factors_attain_the_upper_bound(solver):
    solution = solve(CIFAR_10_LT, solver=solver)
    W, H = solution.factors()
    assert (H >= 0.0).all()
    assert independent_objective(CIFAR_10_LT, W, H) == pytest.approx(solution.upper_bound, rel=1e-12)


@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_a_second_witness_many_start_descent_never_beats_the_bound(features):
    """The factored problem with d = 4K, by SciPy from random starts, written down independently."""
    problem = Problem([40, 25, 12, 5, 2], 0.012, 0.02, features=features)
    K, d, n, pi = 5, 20, problem.class_counts, problem.class_counts / problem.num_samples
    solution = solve(problem, solver="clarabel", tolerance=1e-8)

    def f(flat):
        W, H = flat[: K * d].reshape(K, d), flat[K * d :].reshape(K, d)
        logits = W @ H.T
        shifted = np.exp(logits - logits.max(axis=0))
        p = shifted / shifted.sum(axis=0)
        value = pi @ -np.log(np.diag(p)) + problem.lambda_w / 2 * (W**2).sum()
        value += problem.lambda_h / 2 * (n @ (H**2).sum(axis=1))
        pull = (p - np.eye(K)) * pi
        return value, np.concatenate(
            [(pull @ H + problem.lambda_w * W).ravel(), (pull.T @ W + problem.lambda_h * n[:, None] * H).ravel()]
        )

    rng, ends = np.random.default_rng(0), []
    bounds = [(None, None)] * (K * d) + [(0.0 if features == "nonnegative" else None, None)] * (K * d)
    for _ in range(12):
        start = np.concatenate([rng.normal(size=K * d), np.abs(rng.normal(size=K * d))])
        ends.append(minimize(f, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 5000}).fun)
    assert min(ends) >= solution.lower_bound
    assert min(ends) == pytest.approx(solution.value, rel=1e-6)  # where L-BFGS-B stops by its default ftol


@pytest.mark.parametrize("loss", [CrossEntropy(smoothing=0.1), CrossEntropy(class_weights=(0.4, 1.0, 2.5))])
@pytest.mark.parametrize("solver", ["clarabel", "scs"])
def test_weights_and_smoothing_are_solved_and_certified(loss, solver):
    assert_matches_theory(solve(Problem([90, 30, 10], 0.01, 0.02, loss=loss), solver=solver))


@pytest.mark.parametrize(("decay_w", "decay_h"), [(1e-6, 1e-6), (1e-2, 1e-8), (10.0, 1e-9), (5.0, 5.0)])
def test_extreme_decays_are_solved(decay_w, decay_h):
    for solver in ("clarabel", "scs"):
        assert_matches_theory(solve(Problem([5000, 900, 40, 7], decay_w, decay_h), solver=solver))


def test_a_million_classes_are_certified_by_the_closed_form():
    counts = np.repeat([5000, 1200, 300, 40, 3], 200_000)
    solution = solve(Problem(counts, 1e-8, 1e-8), tolerance=1e-12)
    assert solution.status is Status.CERTIFIED
    assert solution.kkt().passed
    assert 0 < len(solution.collapsed_classes) < 10**6
    with pytest.raises(SizeError, match=r"eta and omega|20000"):
        _ = solution.weight_gram


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"solver": "simplex"}, UnknownNameError, "'simplex'"),
        ({"level": "pixel"}, UnknownNameError, "'pixel'"),
        ({"solver": "theory", "level": "sample"}, UnknownNameError, "does not solve at level"),
        ({"tolerance": 0.0}, ProblemError, "tolerance is 0.0"),
        ({"tolerance": float("nan")}, ProblemError, "tolerance is nan"),
        ({"options": {"verbose": True}}, ProblemError, "solver 'auto'"),
        ({"solver": "theory", "options": {"eps": 1}}, ProblemError, "no options"),
        ({"solver": "scs", "options": 5}, ProblemError, "options is 5"),
    ],
)
def test_bad_arguments_are_named_before_solving(monkeypatch, arguments, error, words):
    monkeypatch.setattr(ConicSolver, "runs", spring)
    with pytest.raises(error, match=words):
        solve(SMALL, **arguments)


@pytest.mark.parametrize("solver", ["clarabel", "scs", "frame", "factored"])
def test_absurd_decays_end_in_bounds(solver):
    """λ_W λ_H = 1e320 overflows every scaling; W = H = 0 is the optimum all the same."""
    solution = solve(Problem([5, 3, 1], 1e200, 1e120), solver=solver)
    assert solution.lower_bound <= np.log(3.0) * (1 + 1e-15)
    assert solution.upper_bound == pytest.approx(np.log(3.0), rel=1e-15)
    assert str(solution.lower_bound) != "-0.0"


def test_the_route_says_how_far_the_solver_was_off():
    solution = solve(CIFAR_10_LT, solver="scs", options={"max_iters": 3})
    assert abs(solution.run.value / solution.value - 1.0) > 0.1
    assert "outside the proved interval" in solution.route[0]


def test_a_problem_is_asked_for():
    with pytest.raises(ProblemError, match="Problem"):
        solve([5, 4, 3])


def test_a_solver_that_is_not_installed_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(ConicSolver, "installed", classmethod(lambda cls: False))
    with pytest.raises(SolverNotInstalledError, match="pip install scs"):
        solve(SMALL, solver="scs")


def test_sizes_are_refused_before_solving(monkeypatch):
    monkeypatch.setattr(ConicSolver, "runs", spring)
    with pytest.raises(SizeError):
        solve(CIFAR_10_LT, level="sample")
    with pytest.raises(SizeError):
        solve(Problem([3] * 500, 0.1, 0.1), solver="scs", level="class")


@pytest.mark.parametrize("kinds", [400, 401])
def test_who_solves_later_hears_at_once_what_is_too_large(kinds, monkeypatch):
    """The same as ``solve`` says as it begins, and nothing is solved."""
    problem = Problem(range(1, kinds + 1), 1e-4, 1e-4, bias="free")
    for solver in solvers.available().values():
        monkeypatch.setattr(solver, "runs", spring)
    if kinds == 400:
        require_solvable(problem)
        return
    words = set()
    for refused in (require_solvable, solve):
        with pytest.raises(SizeError) as error:
            refused(problem)
        words.add(str(error.value))
    assert len(words) == 1


def test_clarabel_is_refused_before_it_exhausts_the_memory():
    """8 · (s(s+1)/2)² bytes with s = 730: the allocation would end the process."""
    with pytest.raises(SizeError, match="use solver 'scs'"):
        solve(Problem(np.arange(1, 366), 0.01, 0.01), solver="clarabel")


def test_theory_refuses_what_no_theorem_covers():
    with pytest.raises(HypothesisError, match="nonnegative"):
        solve(Problem([5, 4, 3], 0.1, 0.1, features="free"), solver="theory")


def test_progress_is_told(capsys):
    lines = []
    solve(SMALL, solver="scs", progress=lines.append)
    assert lines[0] == "scs: starting"
    assert "proved relative gap" in lines[-1]
    assert capsys.readouterr().out == ""
