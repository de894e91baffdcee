"""Advice about solving: solvers, levels, recovery, proofs, complete positivity."""

from pathlib import Path

import numpy as np
from advice_cases import (
    BIASED,
    COUNTS,
    FREE,
    GOOD,
    HARD,
    HUGE_BIAS,
    PEELED,
    PROBLEM,
    SIGMOID,
    SMALL,
    SQUARED,
    TABLED,
    TABLED_FREE,
    UNEVEN,
    Case,
    H,
    Unsent,
    W,
    call,
    found_factors,
    twins,
    unit_factors,
    zero_dual,
)

import ufm_convex as ufm
from ufm_convex import enclosure, relaxation
from ufm_convex.enclosure.candidate import enclose_objective
from ufm_convex.enclosure.candidate_exact import enclose_exactly
from ufm_convex.enclosure.candidate_table import enclose_table
from ufm_convex.losses import CrossEntropy, LogitAdjustedCrossEntropy
from ufm_convex.positivity import complete_positivity, parrilo, pigeonhole
from ufm_convex.recovery import require_dimension
from ufm_convex.relaxation import (
    DualPoint,
    FrameDual,
    FramePoint,
    of_classes,
    of_groups,
    programme,
)

CASES: list[Case] = [
    Case(
        "positivity.judging:_numbers",
        call(complete_positivity, [[np.nan, 0], [0, 1]]),
        "",
        call(complete_positivity, W),
    ),
    Case(
        "methods.peeled_bounds:_in_units",
        call(ufm.certify, ufm.Problem([50, 20, 7], bias="free", constraint=ufm.LayerPeeled(1, 5), loss=UNEVEN)),
        "round the class weights",
        call(ufm.certify, ufm.Problem([50, 20, 7], bias=1e-9, constraint=ufm.LayerPeeled(1, 5), loss=UNEVEN)),
    ),
    Case(
        "enclosure.candidate:_entries_of_bias",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3, bias=0.1), ufm.Candidate(**HUGE_BIAS)),
        "diverged",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3, bias=0.1), BIASED),
    ),
    Case("solving:method_of", call(ufm.solve, 5), "Problem(class_counts", call(ufm.solve, PROBLEM)),
    Case(
        "solving:check_settings",
        call(ufm.solve, PROBLEM, solver="scs", options=[1]),
        "{'max_iters': 100}",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iters": 100}),
    ),
    Case(
        "solving:check_settings",
        call(ufm.solve, PROBLEM, options={"max_iters": 100}),
        "name the solver",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iters": 100}),
    ),
    Case(
        "methods.direct:check_level",
        call(ufm.solve, SMALL, solver="theory", level="sample"),
        "another solver",
        call(ufm.solve, SMALL, solver="clarabel", level="sample"),
    ),
    Case(
        "methods.direct:_too_large",
        call(ufm.solve, ufm.Problem(np.arange(1, 2102), 1e-3, 1e-3, features="free")),
        "the same count",
        call(ufm.solve, ufm.Problem(np.repeat([5, 3], [2000, 101]), 1e-3, 1e-3, features="free")),
    ),
    Case(
        "relaxation.levels:Level.check_size",
        call(ufm.solve, ufm.Problem([500, 2], 1e-3, 1e-3), solver="clarabel", level="sample"),
        "use level 'class'",
        call(ufm.solve, ufm.Problem([500, 2], 1e-3, 1e-3), solver="clarabel", level="class"),
    ),
    Case(
        "relaxation.levels:Level.check_size",
        call(ufm.solve, ufm.Problem(np.arange(1, 502), 1e-3, 1e-3), level="class"),
        "'auto'",
        call(ufm.solve, ufm.Problem(np.arange(1, 502), 1e-3, 1e-3)),
    ),
    Case(
        "solvers.conic:ConicSolver.check_options",
        call(ufm.solve, PROBLEM, solver="clarabel", options={"max_iter": "x"}),
        "correct that value",
        call(ufm.solve, PROBLEM, solver="clarabel", options={"max_iter": 50}),
    ),
    Case(
        "solvers.factored:FactoredSolver.check_options",
        call(ufm.solve, PROBLEM, solver="factored", options={"starts": 0}),
        "{'starts': 1}",
        call(ufm.solve, PROBLEM, solver="factored", options={"starts": 1}),
    ),
    Case(
        "solvers.factored:_starts_and_seed",
        call(ufm.solve, ufm.Problem([3] * 2001, 1e-3, 1e-3), solver="factored"),
        "'auto'",
        call(ufm.solve, ufm.Problem([3] * 2001, 1e-3, 1e-3), solver="auto"),
    ),
    Case(
        "solvers.factored:_require_orbits",
        call(ufm.solve, SMALL, solver="factored", level="group"),
        "the level 'class'",
        call(ufm.solve, SMALL, solver="factored", level="class"),
    ),
    Case(
        "solvers.factored:_require_orbits",
        call(ufm.solve, FREE, solver="factored", level="group", options={"starts": 2}),
        "leave them out",
        call(ufm.solve, FREE, solver="factored", level="group"),
    ),
    Case(
        "solvers.base:Solver.require",
        call(ufm.solve, HARD, solver="factored"),
        "the solver 'frame'",
        call(ufm.solve, HARD, solver="frame"),
    ),
    Case("solvers.frame:_check", call(ufm.solve, FREE, solver="frame"), "'auto'", call(ufm.solve, FREE, solver="auto")),
    Case(
        "solvers.theory:TheorySolver.runs",
        call(ufm.solve, ufm.Problem([3, 3, 3], 1e-3, 1e-3, features="free"), solver="theory"),
        "'auto'",
        call(ufm.solve, ufm.Problem([3, 3, 3], 1e-3, 1e-3, features="free"), solver="auto"),
    ),
    Case("solving:method_of", call(ufm.certify, 5), "Problem(class_counts", call(ufm.certify, PROBLEM)),
    Case(
        "_child:not_sent",
        call(ufm.solve, SMALL, solver="scs", level="class", isolate=True, options={"time_limit_secs": Unsent(9.0)}),
        "isolate=False",
        call(ufm.solve, SMALL, solver="scs", level="class", options={"time_limit_secs": 9.0}),
    ),
    Case(
        "methods.direct:_out_of_range",
        call(ufm.solve, ufm.Problem(COUNTS, 5e-324, 5e-324, features="free")),
        "moderate size",
        call(ufm.solve, ufm.Problem(COUNTS, 5e-3, 5e-3, features="free")),
    ),
    Case(
        "positivity.judging:complete_positivity",
        call(complete_positivity, W, tolerance=2),
        "use 1e-6",
        call(complete_positivity, W, tolerance=1e-6),
    ),
    Case("positivity.judging:_gram", call(complete_positivity, H), "H @ H.T", call(complete_positivity, H @ H.T)),
    Case(
        "positivity.judging:_gram",
        call(complete_positivity, 1e300 * W),
        "divide the matrix by its largest entry",
        call(complete_positivity, 1e300 * W / 1e300),
    ),
    Case(
        "positivity.judging:_factor",
        call(complete_positivity, W, factor=np.ones((2, 3))),
        "one row of features a class",
        call(complete_positivity, W, factor=np.ones((3, 3))),
    ),
    Case(
        "enclosure.candidate:check_match",
        call(ufm.certify, ufm.Problem(COUNTS, 1, 1, feature_dim=2), GOOD),
        "without feature_dim",
        call(ufm.certify, ufm.Problem(COUNTS, 1, 1), GOOD),
    ),
    Case(
        "enclosure.candidate:_Stream.__init__",
        call(enclose_objective, ufm.Problem(COUNTS, 1e99, 1e99, loss=CrossEntropy([2.0**400, 1, 1])), GOOD),
        "by a power of two",
        call(
            enclose_objective,
            ufm.Problem(COUNTS, 1e99 / 2.0**300, 1e99 / 2.0**300, loss=CrossEntropy([2.0**100, 2.0**-300, 2.0**-300])),
            GOOD,
        ),
    ),
    Case(
        "enclosure.candidate:_kernel",
        call(enclose_objective, SIGMOID, GOOD),
        "enclosure.upper_bound",
        call(enclosure.upper_bound, SIGMOID, (W, W, np.zeros(3))),
    ),
    Case(
        "enclosure.digits:bounds_to_digits",
        call(ufm.certify, SIGMOID, digits=20),
        "leave out digits",
        call(ufm.certify, SIGMOID),
    ),
    Case(
        "enclosure.digits:bounds_to_digits",
        call(ufm.certify, SMALL, digits=10**6),
        "ask for less",
        call(ufm.certify, SMALL, digits=100),
    ),
    Case(
        "enclosure.lower:_require_margins",
        call(enclosure.lower_bound, SQUARED, FrameDual(np.zeros(3))),
        "the dense points",
        call(enclosure.lower_bound, SQUARED, DualPoint(np.zeros((3, 3)), np.zeros((3, 3)))),
    ),
    Case(
        "enclosure.upper:_frame_upper",
        call(enclosure.upper_bound, SQUARED, FramePoint(np.ones(3), np.ones(3))),
        "W and H",
        call(enclosure.upper_bound, SQUARED, (W, W)),
    ),
    Case(
        "enclosure.lower:_on",
        call(enclosure.lower_bound, of_groups(SMALL), zero_dual(ufm.Problem([4, 4, 2], 5e-3, 5e-3))),
        "on the columns of this problem",
        call(enclosure.lower_bound, of_groups(SMALL), zero_dual(SMALL)),
    ),
    Case(
        "enclosure.upper:_columns_of",
        call(enclosure.upper_bound, SMALL, unit_factors(ufm.Problem([4, 4, 2], 5e-3, 5e-3))),
        "on the columns of this problem",
        call(enclosure.upper_bound, SMALL, unit_factors(SMALL)),
    ),
    Case(
        "enclosure.columns:ExactColumns.of",
        lambda _: enclosure.trivial_bound(twins(0, 0)),
        "merge the samples of a class",
        call(enclosure.trivial_bound, of_classes(ufm.Problem([10, 10, 10], 0.1, 0.1))),
    ),
    Case(
        "relaxation.conic:Standard.of",
        lambda _: programme(twins(0, 0)),
        "with single orbits",
        lambda _: programme(twins()),
    ),
    Case(
        "recovery.dimension:require_dimension",
        call(require_dimension, 3, 1),
        "feature_dim=3",
        call(require_dimension, 3, 3),
    ),
    Case(
        "recovery.dimension:narrowed",
        lambda _: found_factors(1),
        "feature_dim=3",
        lambda _: found_factors(3),
    ),
    Case(
        "recovery.dimension:require_dimension",
        lambda _: ufm.solve(PROBLEM).factors(1),
        "feature_dim=3",
        lambda _: ufm.solve(PROBLEM).factors(feature_dim=3),
    ),
    Case("positivity.gap_closure:check", call(ufm.close_gap, 5), "Problem(class_counts", call(ufm.close_gap, SMALL)),
    Case("positivity.gap_closure:check", call(ufm.close_gap, FREE), "solve()", call(ufm.solve, FREE)),
    Case(
        "positivity.parrilo:cubic_level",
        lambda _: parrilo.cubic_level(relaxation.of_groups(ufm.Problem([5, 5, 2], 1e-2, 1e-2))),
        "relaxation.of_classes(problem)",
        lambda _: parrilo.cubic_level(relaxation.of_classes(ufm.Problem([5, 5, 2], 1e-2, 1e-2))),
    ),
    Case(
        "positivity.parrilo:cubic_level",
        lambda _: parrilo.cubic_level(relaxation.of_classes(FREE)),
        "relaxation.programme",
        lambda _: relaxation.programme(relaxation.of_classes(FREE)),
    ),
    Case(
        "relaxation.levels:Level.__call__",
        call(
            ufm.solve,
            ufm.Problem(COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([0, 1, 2])),
            solver="clarabel",
            level="group",
        ),
        "level 'class'",
        call(
            ufm.solve,
            ufm.Problem(COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([0, 1, 2])),
            solver="clarabel",
            level="class",
        ),
    ),
    Case(
        "positivity.pigeonhole:_check",
        call(pigeonhole.pigeonhole_bound, SMALL),
        "the relaxation's own bound",
        lambda _: ufm.solve(SMALL).lower_bound,
    ),
    Case(
        "positivity.pigeonhole:_check",
        call(pigeonhole.pigeonhole_bound, ufm.Problem([2] * 9, 1, 1, feature_dim=2)),
        "Solution.lower_bound",
        lambda _: ufm.solve(ufm.Problem([2] * 9, 1, 1, feature_dim=2)).lower_bound,
    ),
    Case(
        "relaxation.full:as_dimension",
        lambda _: ufm.solve(SMALL).factors(0),
        "leave it out",
        lambda _: ufm.solve(SMALL).factors(),
    ),
    Case(
        "relaxation.full:as_dimension",
        lambda _: ufm.solve(SMALL).factors(10**9),
        "leave feature_dim out",
        lambda _: ufm.solve(SMALL).factors(),
    ),
    Case(
        "relaxation.full:require_dense",
        call(ufm.stability_bounds, ufm.Problem([3] * 20001, 1, 1), 1.0),
        "five formulas",
        lambda _: (Path(__file__).parents[1] / "docs" / "dead_classes.md").read_text(encoding="utf-8"),
    ),
    Case(
        "methods.norm_balls:NormBalls.check",
        call(ufm.solve, PEELED, level="sample"),
        "one of these",
        call(ufm.solve, PEELED, level="auto"),
    ),
    Case(
        "methods.penalised:PenalisedFamily.of",
        call(
            ufm.solve,
            ufm.Problem(COUNTS, features="free", constraint=ufm.LayerPeeled(1, 5), loss=ufm.BinaryCrossEntropy()),
        ),
        "balanced counts",
        call(
            ufm.solve,
            ufm.Problem([5, 5], features="free", constraint=ufm.LayerPeeled(1, 5), loss=ufm.BinaryCrossEntropy()),
        ),
    ),
    Case(
        "methods.penalised:PenalisedFamily.of",
        call(ufm.solve, ufm.Problem([5, 5], features="free", constraint=ufm.LayerPeeled(1e-200, 1e200))),
        "the same product",
        call(ufm.solve, ufm.Problem([5, 5], features="free", constraint=ufm.LayerPeeled(1, 1))),
    ),
    Case(
        "solution:Solution.gram_positivity",
        lambda _: ufm.solve(FREE).gram_positivity,
        "non-negative ones",
        lambda _: ufm.solve(SMALL).gram_positivity,
    ),
    Case(
        "relaxation.frame:margin_loss",
        call(relaxation.margin_loss, ufm.Problem(COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([0, 1, 2]))),
        "dense points",
        lambda _: ufm.solve(ufm.Problem(COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([0, 1, 2]))).point,
    ),
    Case(
        "solvers.variable_projection:VariableProjectionSolver.require",
        call(ufm.solve, TABLED, solver="variable-projection"),
        "'factored'",
        call(ufm.solve, TABLED, solver="factored"),
    ),
    Case(
        "enclosure.wide:require_wide",
        call(enclosure.wide_upper_bound, FREE, W, H),
        "enclosure.upper_bound",
        call(enclosure.upper_bound, FREE, (W, W)),
    ),
    Case(
        "enclosure.wide:wide_lower_bound",
        call(enclosure.wide_lower_bound, TABLED_FREE, np.full((2, 3), 0.5)),
        "one column a row",
        call(enclosure.wide_lower_bound, TABLED_FREE, np.full((3, 2), 1 / 3)),
    ),
    Case(
        "enclosure.candidate_table:enclose_table",
        call(enclose_table, SMALL, GOOD),
        "use enclose_exactly",
        call(enclose_exactly, SMALL, GOOD),
    ),
    Case(
        "enclosure.axes:_require",
        call(enclosure.axes_lower, SIGMOID, relaxation.AxesDual(np.zeros(3))),
        "GramPoint and DualPoint",
        call(enclosure.lower_bound, SIGMOID, relaxation.DualPoint(np.zeros((3, 3)), np.zeros((3, 3)))),
    ),
    Case(
        "solvers.unsigned:UnsignedSolver.runs",
        call(
            ufm.solve,
            ufm.Problem(COUNTS, 5e-3, 5e-3, loss=ufm.BinaryCrossEntropy(), features="free"),
            solver="unsigned",
        ),
        "or 'factored'",
        call(
            ufm.solve,
            ufm.Problem(COUNTS, 5e-3, 5e-3, loss=ufm.BinaryCrossEntropy(), features="free"),
            solver="factored",
        ),
    ),
]
