"""Advice about what stands around: figures, sweeps, cross-checks, other formats, property tests."""

import numpy as np
from advice_cases import (
    BIASED,
    COUNTS,
    EMPTY,
    EVEN,
    GOOD,
    HINGE,
    PROBLEM,
    SIGMOID,
    SMALL,
    TABLED,
    Case,
    W,
    call,
    drawn,
    interrupted_sweep,
    saved_solution,
    swept,
    written,
)

import ufm_convex as ufm
from ufm_convex import interchange, plots, sweep, testing
from ufm_convex.crosscheck.scaled import ScaledClasses
from ufm_convex.interchange import Claims
from ufm_convex.losses import CrossEntropy
from ufm_convex.relaxation import DualPoint
from ufm_convex.sweep import DecayGrid, Grid
from ufm_convex.testing import assert_loss_is_consistent

ZEROS = np.zeros((3, 3)).tolist()
CASES: list[Case] = [
    Case(
        "crosscheck.scaled:ScaledClasses.of",
        call(ScaledClasses.of, EMPTY),
        "use a solver that cvxpy drives",
        call(ufm.cross_check, EMPTY, ["clarabel"]),
    ),
    Case(
        "plots.phase:_check",
        call(plots.draw, "phase", EMPTY),
        "use the figure norms",
        lambda folder: plots.draw("norms", EMPTY, solution=ufm.solve(EMPTY)),
    ),
    Case("sweep.grid:Grid.__post_init__", call(Grid, [1e-3], [0.1]), "1,10,100", call(Grid, [1e-3], [1, 10, 100])),
    Case("sweep.grid:Grid.__post_init__", call(Grid, [1e-3], [1], [10.5]), "4,10", call(Grid, [1e-3], [1], [4, 10])),
    Case(
        "testing.assertions:assert_self_dual",
        call(ufm.testing.assert_self_dual, ufm.Problem(COUNTS, 5e-3, 5e-3, bias="free"), BIASED),
        "assert_optimal",
        call(ufm.testing.assert_optimal, ufm.Problem(COUNTS, 5e-3, 5e-3, bias="free"), BIASED, tolerance=0.99),
    ),
    Case(
        "crosscheck.checking:_entrants",
        call(ufm.cross_check, SMALL, "clarabel"),
        "['clarabel', 'scs']",
        call(ufm.cross_check, SMALL, ["clarabel", "scs"]),
    ),
    Case(
        "crosscheck.checking:_entrants",
        call(ufm.cross_check, SMALL, ["clarabel"], level="auto"),
        "'class'",
        call(ufm.cross_check, SMALL, ["clarabel"], level="class"),
    ),
    Case(
        "crosscheck.process:require_time_limit",
        call(ufm.cross_check, SMALL, ["clarabel"], time_limit=0),
        "use 60",
        call(ufm.cross_check, SMALL, ["clarabel"], time_limit=60),
    ),
    Case(
        "interchange.programmes:programme",
        call(interchange.export_cbf, SMALL, "auto"),
        "'class'",
        call(interchange.export_cbf, SMALL, "class"),
    ),
    Case(
        "interchange.programmes:programme",
        call(interchange.export_cbf, SIGMOID, "class"),
        "ufm_convex.solve",
        call(ufm.solve, SIGMOID),
    ),
    Case(
        "interchange.programmes:_require_range",
        call(interchange.export_cbf, ufm.Problem(COUNTS, 1e-200, 1e-200), "class"),
        "nearer to 1",
        call(interchange.export_cbf, SMALL, "class"),
    ),
    Case(
        "interchange.solutions:cbf_solution",
        call(interchange.cbf_solution, PROBLEM, ufm.solve(SMALL)),
        "solution.problem",
        lambda _: interchange.cbf_solution(ufm.solve(SMALL).problem, ufm.solve(SMALL)),
    ),
    Case(
        "interchange.solutions:load_cbf_solution",
        lambda folder: interchange.load_cbf_solution(saved_solution(folder, SMALL), PROBLEM),
        "that was exported",
        lambda folder: interchange.load_cbf_solution(saved_solution(folder, SMALL), SMALL),
    ),
    Case(
        "interchange.solutions:_checked",
        call(interchange.point_from_cbf, SMALL, "class", [1.0]),
        "row by row",
        lambda _: interchange.point_from_cbf(SMALL, "class", interchange.cbf_solution(SMALL, ufm.solve(SMALL))),
    ),
    Case(
        "interchange.solutions:_malformed",
        lambda folder: interchange.load_cbf_solution(written(folder, "s.json", "{}"), SMALL),
        "save_cbf_solution",
        lambda folder: interchange.load_cbf_solution(saved_solution(folder, SMALL), SMALL),
    ),
    Case(
        "plots.base:Subject.check",
        call(plots.draw, "attribution", SMALL),
        "candidate=",
        call(plots.draw, "attribution", SMALL, candidate=GOOD),
    ),
    Case(
        "plots.base:Subject.check",
        call(plots.draw, "gram", SMALL, candidate=None, solution=None),
        "solution=ufm_convex.solve(problem)",
        call(plots.draw, "gram", SMALL, solution=ufm.solve(SMALL)),
    ),
    Case(
        "plots.phase:_check",
        call(plots.draw, "phase", ufm.Problem([1, 1], 1, 1)),
        "the figure norms",
        call(plots.draw, "norms", ufm.Problem([1, 1], 1, 1), solution=ufm.solve(ufm.Problem([1, 1], 1, 1))),
    ),
    Case(
        "plots.style:width_in_inches",
        call(plots.draw, "phase", SMALL, width="wide"),
        "column",
        call(plots.draw, "phase", SMALL, width="column"),
    ),
    Case(
        "plots.style:check_suffix",
        lambda folder: plots.save(plots.draw("phase", SMALL), folder / "f.doc"),
        ".png",
        lambda folder: plots.save(plots.draw("phase", SMALL), folder / "f.png"),
    ),
    Case(
        "sweep.grid:values_of",
        call(sweep.grid.values_of, "1:x", "decays"),
        "1e-5:1e-1:20",
        call(sweep.grid.values_of, "1e-5:1e-1:20", "decays"),
    ),
    Case(
        "sweep.running:_executor",
        lambda folder: swept(folder, Grid([1e-2], [1.0], [2]), workers=0),
        "use 1",
        lambda folder: swept(folder, Grid([1e-2], [1.0], [2]), workers=1),
    ),
    Case(
        "sweep.running:_Journal._read",
        interrupted_sweep,
        "remove the file",
        lambda folder: ((folder / "j.jsonl").unlink(), swept(folder, Grid([1e-3], [1.0], [2]))),
    ),
    Case(
        "sweep.running:_Journal.__init__",
        lambda folder: swept(folder / "no", Grid([1e-2], [1.0], [2])),
        "check the path",
        lambda folder: swept(folder, Grid([1e-2], [1.0], [2])),
    ),
    Case(
        "testing.assertions:_candidate",
        call(testing.assert_optimal, SMALL, 5),
        "pass (W, H)",
        call(testing.assert_optimal, SMALL, (W, W), tolerance=0.999),
    ),
    Case(
        "testing.strategies:_check_limits",
        drawn(lambda: testing.problems(regimes=("odd",))),
        "leave it out",
        drawn(lambda: testing.problems()),
    ),
    Case(
        "testing.strategies:_check_limits",
        drawn(lambda: testing.problems(max_classes=1)),
        "leave out what",
        drawn(lambda: testing.problems()),
    ),
    Case(
        "testing.strategies:_check_limits",
        drawn(lambda: testing.problems(regimes=())),
        "leave them out",
        drawn(lambda: testing.problems()),
    ),
    Case(
        "testing.strategies:candidates",
        drawn(lambda: testing.candidates(SMALL, level="group")),
        'use "class"',
        drawn(lambda: testing.candidates(SMALL, level="class")),
    ),
    Case(
        "plots.attribution:AttributionPlot.draw",
        lambda _: plots.plot("attribution").draw(plots.base.Subject(SMALL, None, None), 3.3),
        "candidate=",
        call(plots.draw, "attribution", SMALL, candidate=GOOD),
    ),
    Case(
        "plots.gram:GramPlot.check_size",
        lambda _: plots.draw(
            "gram", ufm.Problem([9] * 3000, 5e-3, 5e-3), solution=ufm.solve(ufm.Problem([9] * 3000, 5e-3, 5e-3))
        ),
        "figure norms",
        lambda _: plots.draw(
            "norms", ufm.Problem([9] * 3000, 5e-3, 5e-3), solution=ufm.solve(ufm.Problem([9] * 3000, 5e-3, 5e-3))
        ),
    ),
    Case(
        "sweep.figure:check_panels",
        call(sweep.figure.check_panels, 10**3),
        "fewer numbers of classes",
        call(sweep.figure.check_panels, 1),
    ),
    Case(
        "testing.assertions:assert_certified",
        call(testing.assert_certified, "c.json", (W, W)),
        "Candidate(weights=W, features=H, class_counts=n)",
        lambda folder: testing.assert_certified(ufm.certify(SMALL, GOOD), GOOD, tolerance=0.999),
    ),
    Case(
        "testing.assertions:assert_collapse_pattern",
        call(testing.assert_collapse_pattern, EVEN, (W, W)),
        "use assert_optimal",
        call(testing.assert_optimal, EVEN, (W, W), tolerance=0.999999),
    ),
    Case(
        "testing.assertions:_require_gradient",
        call(testing.assert_kkt, HINGE, (W, W)),
        "assert_certified",
        call(testing.assert_certified, HINGE),
    ),
    Case(
        "testing.strategies:decays_for",
        lambda _: testing.decays_for(COUNTS, -1.0),
        "level 1",
        lambda _: testing.decays_for(COUNTS, 1.0, 0.0),
    ),
    Case(
        "testing.strategies:spurious_minima",
        drawn(lambda: testing.spurious_minima(ufm.Problem([5, 5], 5, 5))),
        "problems(min_active=2)",
        drawn(lambda: testing.problems(min_active=2).flatmap(testing.spurious_minima)),
    ),
    Case(
        "testing.strategies:_check_dead",
        drawn(lambda: testing.spurious_minima(SMALL, dead=[])),
        "leave out dead",
        drawn(lambda: testing.spurious_minima(SMALL)),
    ),
    Case(
        "testing.strategies:_possible",
        drawn(lambda: testing.problems(regimes=("all_collapsed",), min_active=1)),
        '"generic"',
        drawn(lambda: testing.problems(regimes=("all_collapsed", "generic"), min_active=1)),
    ),
    Case(
        "sweep.fixed:DecayGrid.__post_init__",
        call(DecayGrid, TABLED, [0.0]),
        "1e-4,1e-3",
        call(DecayGrid, TABLED, [1e-4, 1e-3]),
    ),
    Case(
        "sweep.fixed:DecayGrid.__post_init__",
        call(DecayGrid, TABLED, []),
        "give a list",
        call(DecayGrid, TABLED, [1e-4]),
    ),
    Case(
        "testing.tables:tabled_problems",
        drawn(lambda: testing.tabled_problems(losses=("hinge",))),
        "leave it out",
        drawn(lambda: testing.tabled_problems()),
    ),
    Case(
        "testing.tables:tabled_problems",
        drawn(lambda: testing.tabled_problems(max_outputs=1)),
        "leave out what need not be limited",
        drawn(lambda: testing.tabled_problems()),
    ),
    Case(
        "interchange.claims:Claims.checked",
        lambda folder: Claims.checked(3, "solved", None, None, None),
        "translate the solver's own word; leave it out",
        lambda folder: (Claims.checked(3, "optimal", None, None, None), Claims.checked(3, None, None, None, None)),
    ),
    Case(
        "interchange.claims:Claims.of_fields",
        lambda folder: Claims.of_fields(3, {"value": None}),
        "leave out what the solver says nothing of",
        lambda folder: Claims.of_fields(3, {}),
    ),
    Case(
        "interchange.claims:_number",
        lambda folder: Claims.of_fields(3, {"value": "0.5"}),
        "leave it out",
        lambda folder: Claims.of_fields(3, {}),
    ),
    Case(
        "interchange.claims:_point",
        lambda folder: Claims.checked(3, None, None, None, 5),
        "pass DualPoint(residuals, multiplier)",
        lambda folder: Claims.checked(3, None, None, None, DualPoint(np.zeros((3, 3)), np.zeros((3, 3)))),
    ),
    Case(
        "interchange.claims:_matrix",
        lambda folder: Claims.of_fields(3, {"dual": {"residuals": [[0.0]], "nonnegativity": ZEROS}}),
        "give dual points at class level",
        lambda folder: Claims.of_fields(3, {"dual": {"residuals": ZEROS, "nonnegativity": ZEROS}}),
    ),
    Case(
        "testing.losses:assert_loss_is_consistent",
        lambda folder: assert_loss_is_consistent(CrossEntropy, num_classes=3),
        "pass an instance of your class",
        lambda folder: assert_loss_is_consistent(CrossEntropy(), num_classes=3),
    ),
]
