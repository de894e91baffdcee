"""Advice about problems and their constraints, and numbers as people give them."""

import importlib
from importlib.metadata import EntryPoint

import numpy as np
import scipy.io
import scipy.sparse
from advice_cases import (
    COUNTS,
    GOOD,
    PROBLEM,
    SHIFTED,
    SIGMOID,
    SMALL,
    TOML,
    Broken,
    Case,
    Unit,
    W,
    call,
    candidate,
    masked,
    masked_rows,
    toml,
)

import ufm_convex as ufm
from ufm_convex import losses, theory
from ufm_convex._registry import loaded
from ufm_convex.losses import CrossEntropy
from ufm_convex.positivity import complete_positivity
from ufm_convex.problem.constraints import HardMargin
from ufm_convex.solvers import Solver

CASES: list[Case] = [
    Case(
        "_given:_unwrapped.refuse",
        call(ufm.Problem, masked, 1e-3, 1e-3),
        "class_counts.compressed()",
        call(ufm.Problem, masked.compressed(), 1e-3, 1e-3),
    ),
    Case(
        "_given:_unwrapped.refuse",
        call(ufm.Problem, masked, 1e-3, 1e-3),
        "class_counts.data",
        call(ufm.Problem, masked.data, 1e-3, 1e-3),
    ),
    Case(
        "_given:_unwrapped.refuse",
        candidate(weights=masked_rows),
        "np.ma.compress_rows(weights)",
        candidate(weights=np.ma.compress_rows(masked_rows)),
    ),
    Case(
        "_given:_unwrapped.refuse",
        candidate(weights=scipy.sparse.csr_array(W)),
        "weights.toarray()",
        candidate(weights=scipy.sparse.csr_array(W).toarray()),
    ),
    Case(
        "_given:_unwrapped.refuse",
        candidate(weights=W.view(Unit)),
        "np.asarray(weights)",
        candidate(weights=np.asarray(W.view(Unit))),
    ),
    Case("_given:array", candidate(weights=[[1.0], [1.0, 2.0]]), "rows of one length", candidate(weights=W.tolist())),
    Case("_given:array", candidate(weights=Broken()), "make weights a NumPy array", candidate(weights=np.array(W))),
    Case(
        "_given:tolerance", call(ufm.solve, PROBLEM, tolerance=2), "use 1e-6", call(ufm.solve, PROBLEM, tolerance=1e-6)
    ),
    Case(
        "_given:class_index",
        call(theory.optimum(PROBLEM).weight_norm_ratio, 0, 3),
        "numbered from 0",
        call(theory.optimum(PROBLEM).weight_norm_ratio, 0, 2),
    ),
    Case(
        "_given:require_known",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iter": 9}),
        "write max_iters",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iters": 9}),
    ),
    Case(
        "_given:require_known",
        call(ufm.solve, PROBLEM, solver="theory", options={"foo": 9}),
        "leave it out",
        call(ufm.solve, PROBLEM, solver="theory", options={}),
    ),
    Case(
        "_given:require_known",
        call(losses.make, "cross-entropy", {"smoothin": 0.1}),
        "write smoothing",
        call(losses.make, "cross-entropy", {"smoothing": 0.1}),
    ),
    Case(
        "_given:require_known",
        call(losses.make, "cross-entropy", {"foo": 1, "bar": 2}),
        "leave them out",
        call(losses.make, "cross-entropy", {}),
    ),
    Case(
        "_registry:choose",
        call(losses.make, "CrossEntropy"),
        "lower-case with hyphens",
        call(losses.make, "cross-entropy"),
    ),
    Case(
        "_registry:choose", call(ufm.solve, PROBLEM, solver="best"), "'auto'", call(ufm.solve, PROBLEM, solver="auto")
    ),
    Case(
        "_registry:make",
        call(losses.make, "soft-target-cross-entropy"),
        "add it",
        call(losses.make, "soft-target-cross-entropy", {"targets": W}),
    ),
    Case(
        "problem.problem:Problem.__init__",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, features="relu"),
        '"nonnegative"',
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, features="nonnegative"),
    ),
    Case(
        "problem.problem:Problem.from_content",
        toml(TOML + "lambda = 1"),
        "remove what is not listed: lambda",
        toml(TOML),
    ),
    Case(
        "problem.problem:Problem.from_content",
        toml("lambda_w = 1\nlambda_h = 1"),
        "add class_counts",
        toml("lambda_w = 1\nlambda_h = 1\nclass_counts = [2, 1]"),
    ),
    Case(
        "problem.problem:Problem.from_content",
        toml("class_counts = [2, 1]\nlambda_h = 1"),
        "add lambda_w",
        toml("class_counts = [2, 1]\nlambda_h = 1\nlambda_w = 1"),
    ),
    Case(
        "problem.problem:Problem.from_content",
        toml('model = "contrastive"\nclass_counts = [2, 1]\nbound = 1.0'),
        "load of its class",
        lambda folder: ufm.ContrastiveProblem.load(folder / "p.toml"),
    ),
    Case(
        "problem.problem:_from_table",
        toml(TOML + 'loss = "hinge"'),
        "loss = { name =",
        toml(TOML + 'loss = { name = "cross-entropy" }'),
    ),
    Case(
        "problem.problem:_loss",
        call(ufm.Problem, COUNTS, constraint=5),
        "ufm_convex.LayerPeeled(weight_radius=1.0, feature_radius=5.0)",
        call(ufm.Problem, COUNTS, constraint=ufm.LayerPeeled(weight_radius=1.0, feature_radius=5.0)),
    ),
    Case(
        "problem.problem:_loss",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, constraint=HardMargin(1.0), loss=CrossEntropy()),
        "leave the loss out",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, constraint=HardMargin(1.0)),
    ),
    Case(
        "problem.problem:_loss",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, loss="cross-entropy"),
        "ufm_convex.CrossEntropy()",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, loss=ufm.CrossEntropy()),
    ),
    Case(
        "problem.problem:_decay",
        call(ufm.Problem, COUNTS, 1e-3),
        "pass lambda_h=5e-4",
        call(ufm.Problem, COUNTS, 1e-3, lambda_h=5e-4),
    ),
    Case(
        "problem.problem:_decay",
        call(ufm.Problem, COUNTS, "0.1", 1e-3),
        "pass lambda_w=5e-4",
        call(ufm.Problem, COUNTS, lambda_w=5e-4, lambda_h=1e-3),
    ),
    Case(
        "problem.problem:_decay",
        call(ufm.Problem, COUNTS, 0, 1e-3),
        "such as 1e-6",
        call(ufm.Problem, COUNTS, 1e-6, 1e-3),
    ),
    Case(
        "problem.problem:_decay",
        call(ufm.Problem, COUNTS, 1e-3, constraint=ufm.LayerPeeled(1, 5)),
        "leave lambda_w out",
        call(ufm.Problem, COUNTS, constraint=ufm.LayerPeeled(1, 5)),
    ),
    Case(
        "problem.problem:_dimension",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, feature_dim=2.5),
        "leave it out",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3),
    ),
    Case(
        "problem.problem:_bias",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, bias=True),
        'bias="free"',
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, bias="free"),
    ),
    Case(
        "problem.problem:require_problem",
        call(ufm.cross_check, 5, ["clarabel"]),
        "make one with Problem",
        call(ufm.cross_check, PROBLEM, ["clarabel"]),
    ),
    Case(
        "problem.problem:Problem.require_no_bias",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3, bias="free"), digits=20),
        "leave the bias",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3), digits=20),
    ),
    Case(
        "problem.problem:Problem.require_decays",
        call(lambda: ufm.Problem(COUNTS, constraint=ufm.LayerPeeled(1, 5)).sigma),
        "leave the bias and the constraint out",
        call(lambda: ufm.Problem(COUNTS, 1e-3, 1e-3).sigma),
    ),
    Case("problem.constraints.hard_margin:_refused", call(HardMargin, 0), "margins=1", call(HardMargin, margins=1)),
    Case(
        "problem.constraints.layer_peeled:LayerPeeled.__post_init__",
        call(ufm.LayerPeeled, 0, 1),
        "1 to 100",
        call(ufm.LayerPeeled, 1, 100),
    ),
    Case(
        "problem.constraints.margins:ClassMargins.validate",
        call(ufm.Problem, COUNTS, 1, 1, constraint=HardMargin([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, constraint=HardMargin([1, 2, 1])),
    ),
    Case(
        "problem.problem:_check_empty",
        call(ufm.Problem, [5, 3, 0], constraint=ufm.LayerPeeled(1, 5)),
        "or use decays",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3),
    ),
    Case(
        "problem.problem:_attained",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3, bias="free"),
        "as bias=1e-3 does",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3, bias=1e-3),
    ),
    Case(
        "problem.problem:_attained",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3, bias="free"),
        "leave these classes out",
        call(ufm.Problem, [5, 3], 1e-3, 1e-3, bias="free"),
    ),
    Case(
        "_given:positive",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0, temperature=0),
        "temperatures are about 0.1 to 1",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0, temperature=0.1),
    ),
    Case(
        "_given:nonnegative",
        call(ufm.stability_bounds, SMALL, -1.0),
        "take attribute_gap(problem, candidate).gap",
        lambda folder: ufm.stability_bounds(SMALL, ufm.attribute_gap(SMALL, GOOD).gap),
    ),
    Case(
        "_given:seconds",
        call(ufm.solve, PROBLEM, time_limit=0),
        "time_limit=60.0",
        call(ufm.solve, PROBLEM, time_limit=60.0),
    ),
    Case(
        "problem.problem:require_problem",
        call(ufm.cross_check, ufm.ContrastiveProblem([5, 2], bound=1.0)),
        "ufm_convex.solve, ufm_convex.certify",
        call(ufm.certify, ufm.ContrastiveProblem([5, 2], bound=1.0)),
    ),
    Case(
        "_given:numbers",
        call(complete_positivity, W.astype(complex)),
        "real numbers",
        call(complete_positivity, W.astype(complex).real),
    ),
    Case(
        "theory.base:refusal",
        call(theory.optimum, SHIFTED),
        "ufm_convex.theory.bound(problem)",
        call(theory.bound, SIGMOID),
    ),
    Case(
        "theory.orthogonal_frame:FrameOptimum._check_dimension",
        lambda _: theory.optimum(PROBLEM).factors(1),
        "feature_dim=3",
        lambda _: theory.optimum(PROBLEM).factors(feature_dim=3),
    ),
    Case(
        "theory.orthogonal_frame:FrameOptimum._demand_active",
        lambda _: theory.optimum(ufm.Problem([5000, 5], 5e-3, 5e-3)).cos_weight_feature(0, 1),
        "lower the weight decay",
        lambda _: theory.optimum(ufm.Problem([5000, 5], 1e-5, 1e-5)).cos_weight_feature(0, 1),
    ),
    Case(
        "theory.orthogonal_frame:FrameOptimum._demand_weights",
        lambda _: theory.optimum(ufm.Problem([5, 5], 5, 5)).weight_cosines(),
        "lower the weight decay",
        lambda _: theory.optimum(ufm.Problem([5, 5], 5e-3, 5e-3)).weight_cosines(),
    ),
    Case(
        "theory.collapse:cross_entropy",
        lambda _: importlib.import_module("ufm_convex.theory.collapse").collapse_ratios(SIGMOID),
        "ufm_convex.theory.optimum",
        call(theory.bound, SIGMOID),
    ),
    Case(
        "theory.free_balanced:SimplexOptimum.factors",
        lambda _: theory.optimum(ufm.Problem([9] * 4, 1e-3, 1e-3, features="free")).factors(1),
        "lower bound",
        lambda _: ufm.solve(ufm.Problem([9] * 4, 1e-3, 1e-3, features="free", feature_dim=1)).lower_bound,
    ),
    Case(
        "theory.orthogonal_frame:FrameOptimum._places",
        lambda _: theory.optimum(ufm.Problem([9] * 30001, 1e-4, 1e-4)).weight_gram(),
        "need no such array",
        lambda _: theory.optimum(ufm.Problem([9] * 30001, 1e-4, 1e-4)).weight_norms,
    ),
    Case(
        "problem.problem:Problem.require_classes",
        lambda _: ufm.Problem([3, 2], 1, 1, loss=ufm.BinaryCrossEntropy(np.eye(3)[:2])).require_classes("this"),
        "ufm_convex.solve(problem)",
        lambda _: ufm.solve(ufm.Problem([3, 2], 1e-2, 1e-2, loss=ufm.BinaryCrossEntropy(np.eye(3)[:2]))),
    ),
    Case(
        "problem.problem:_check_empty",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3, loss=ufm.SoftTargetCrossEntropy(np.eye(3).tolist())),
        "leave it out, its count and its row",
        call(ufm.Problem, [5, 3], 1e-3, 1e-3, loss=ufm.SoftTargetCrossEntropy(np.eye(3)[:2].tolist())),
    ),
    Case(
        "_registry:_refuse",
        lambda folder: loaded(EntryPoint("x", "no_such_module:X", "ufm_convex.solvers"), Solver),
        "mend its import",
        lambda folder: loaded(EntryPoint("scs", "ufm_convex.solvers.scs:SCS", "ufm_convex.solvers"), Solver),
    ),
]
