"""Advice about losses, and the contrastive kind of problem."""

import numpy as np
from advice_cases import (
    CONTRASTIVE,
    COUNTS,
    HARD_AND_FREE,
    Case,
    H,
    call,
    y,
)

import ufm_convex as ufm
from ufm_convex import losses
from ufm_convex.losses import CrossEntropy, LogitAdjustedCrossEntropy, MulticlassHinge, SoftTargetCrossEntropy
from ufm_convex.losses.label_margin_cross_entropy import LabelMarginCrossEntropy

CASES: list[Case] = [
    Case(
        "losses.__init__:make",
        call(losses.make, "focal"),
        "logit-adjusted-cross-entropy",
        call(losses.make, "logit-adjusted-cross-entropy"),
    ),
    Case(
        "losses.cross_entropy:CrossEntropy.__post_init__",
        call(CrossEntropy, smoothing=1.0),
        "0.1",
        call(CrossEntropy, smoothing=0.1),
    ),
    Case(
        "losses.weighing:class_weights_of",
        call(CrossEntropy, class_weights=2.0),
        "leave it out",
        call(CrossEntropy),
    ),
    Case(
        "losses.weighing:class_weights_of",
        call(CrossEntropy, class_weights=[1, 0, 1]),
        "left out",
        call(CrossEntropy, class_weights=[1, 1]),
    ),
    Case(
        "losses.weighing:class_weights_of",
        call(CrossEntropy, class_weights=[1, 1e300]),
        "moderate size",
        call(CrossEntropy, class_weights=[1, 1e3]),
    ),
    Case(
        "losses.from_torch:_require_criterion",
        call(CrossEntropy.from_torch, object(), COUNTS),
        "the loss of ufm_convex that it computes",
        call(CrossEntropy, class_weights=[1, 2, 3]),
    ),
    Case(
        "losses.weighing:require_one_each",
        call(ufm.Problem, COUNTS, 1, 1, loss=CrossEntropy([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=CrossEntropy([1, 2, 3])),
    ),
    Case(
        "losses.label_margin_cross_entropy:LabelMarginCrossEntropy.__post_init__",
        call(LabelMarginCrossEntropy, 0.5),
        "C * class_counts**-0.25, for example with C = 0.5",
        call(ufm.Problem, COUNTS, 1, 1, loss=LabelMarginCrossEntropy(0.5 * np.array(COUNTS) ** -0.25)),
    ),
    Case(
        "losses.label_margin_cross_entropy:LabelMarginCrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=LabelMarginCrossEntropy([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=LabelMarginCrossEntropy([1, 2, 3])),
    ),
    Case(
        "losses.logit_adjusted_cross_entropy:LogitAdjustedCrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([1, 2, 3])),
    ),
    Case(
        "losses.logit_adjusted_cross_entropy:_vector",
        call(LogitAdjustedCrossEntropy, 2.0),
        "[0.0, 1.5]",
        call(LogitAdjustedCrossEntropy, [0.0, 1.5]),
    ),
    Case(
        "losses.logit_adjusted_cross_entropy:_vector",
        call(LogitAdjustedCrossEntropy, [0.0, "x"]),
        "correct",
        call(LogitAdjustedCrossEntropy, [0.0, 1.0]),
    ),
    Case(
        "losses.multiclass_hinge:MulticlassHinge.__post_init__",
        call(MulticlassHinge, "crammer"),
        "check the spelling",
        call(MulticlassHinge, "crammer-singer"),
    ),
    Case(
        "losses.soft_target_cross_entropy:SoftTargetCrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=SoftTargetCrossEntropy(np.eye(2))),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=SoftTargetCrossEntropy(np.eye(3))),
    ),
    Case(
        "contrastive.candidate:ContrastiveCandidate.__init__",
        call(ufm.ContrastiveCandidate, features=H.T, labels=y),
        "features.T",
        call(ufm.ContrastiveCandidate, features=H.T.T, labels=y),
    ),
    Case(
        "contrastive.problem:ContrastiveProblem.__init__",
        call(ufm.ContrastiveProblem, COUNTS),
        "bound=1.0",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0),
    ),
    Case(
        "contrastive.problem:ContrastiveProblem.from_content",
        call(ufm.ContrastiveProblem.from_toml, 'model="contrastive"\nclass_counts=[2,1]\nbound=1.0\nfoo=1'),
        "remove foo",
        call(ufm.ContrastiveProblem.from_toml, 'model="contrastive"\nclass_counts=[2,1]\nbound=1.0'),
    ),
    Case(
        "contrastive.problem:_positive",
        call(ufm.ContrastiveProblem, COUNTS, bound=0),
        "1.0 is the unit ball",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0),
    ),
    Case(
        "contrastive.problem:_positive",
        call(ufm.ContrastiveProblem, COUNTS, lambda_h=0),
        "1e-3",
        call(ufm.ContrastiveProblem, COUNTS, lambda_h=1e-3),
    ),
    Case(
        "contrastive.programmes:check_level",
        call(ufm.solve, ufm.ContrastiveProblem(np.arange(1, 500), bound=1.0), solver="scs"),
        "let level and solver both be 'auto'",
        call(ufm.solve, ufm.ContrastiveProblem(np.arange(1, 500), bound=1.0), solver="auto", level="auto"),
    ),
    Case(
        "contrastive.programmes:check_level",
        call(ufm.solve, ufm.ContrastiveProblem([500, 20], bound=1.0), level="sample"),
        "use level 'class'",
        call(ufm.solve, ufm.ContrastiveProblem([500, 20], bound=1.0), level="class"),
    ),
    Case(
        "contrastive.programmes:check_level",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), level="row"),
        "'auto'",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), level="auto"),
    ),
    Case(
        "contrastive.runs:plan",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="theory", level="class"),
        "leave the level out",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="theory"),
    ),
    Case(
        "contrastive.runs:plan",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="frame"),
        "use 'auto'",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="auto"),
    ),
    Case(
        "losses.traits:require",
        call(ufm.solve, HARD_AND_FREE, solver="factored"),
        "use a conic solver",
        call(ufm.solve, HARD_AND_FREE, solver="clarabel"),
    ),
    Case(
        "contrastive.candidate:_features",
        call(ufm.ContrastiveCandidate, features=H[0], labels=y),
        "flatten",
        call(ufm.ContrastiveCandidate, features=H, labels=y),
    ),
    Case(
        "contrastive.method:require_own_proof",
        call(ufm.certify, CONTRASTIVE, digits=20),
        "leave it out",
        call(ufm.certify, CONTRASTIVE),
    ),
    Case(
        "contrastive.judging:require_match",
        call(ufm.certify, ufm.ContrastiveProblem([5, 2], bound=1.0), ufm.ContrastiveCandidate(features=H, labels=y)),
        "candidate.class_counts",
        call(ufm.certify, CONTRASTIVE, ufm.ContrastiveCandidate(features=H, labels=y)),
    ),
    Case(
        "contrastive.problem:_check_range",
        call(ufm.ContrastiveProblem, COUNTS, bound=1e-300, temperature=1e300),
        "rescale",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0),
    ),
    Case(
        "contrastive.solution:ContrastiveSolution.factors",
        lambda _: ufm.solve(CONTRASTIVE).factors(1),
        "leave it out",
        lambda _: ufm.solve(CONTRASTIVE).factors(),
    ),
    Case(
        "contrastive.solution:ContrastiveSolution.gram",
        lambda _: ufm.solve(ufm.ContrastiveProblem([30000, 20], bound=1.0)).gram(),
        "feature_norms",
        lambda _: ufm.solve(ufm.ContrastiveProblem([30000, 20], bound=1.0)).feature_norms,
    ),
    Case(
        "losses.soft_target_cross_entropy:SoftTargetCrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=SoftTargetCrossEntropy(np.eye(3), class_weights=(1, 2))),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=SoftTargetCrossEntropy(np.eye(3), class_weights=(1, 2, 1))),
    ),
    Case(
        "losses.soft_target_cross_entropy:_label_sets",
        call(SoftTargetCrossEntropy.pick_all, [[0], []], 2),
        "leave the set out",
        call(SoftTargetCrossEntropy.pick_all, [[0]], 2),
    ),
    Case(
        "losses.soft_target_cross_entropy:_label_sets",
        call(SoftTargetCrossEntropy.pick_all, [0], 2),
        "write [[0], [0, 2]]",
        call(SoftTargetCrossEntropy.pick_all, [[0], [0, 2]], 3),
    ),
    Case(
        "losses.table:require_rows",
        call(ufm.Problem, COUNTS, 1, 1, loss=ufm.BinaryCrossEntropy(np.ones((4, 3)))),
        "pass targets.T",
        call(ufm.Problem, COUNTS, 1, 1, loss=ufm.BinaryCrossEntropy(np.ones((4, 3)).T)),
    ),
    Case(
        "losses.table:_refuse",
        call(SoftTargetCrossEntropy, [[2, 1], [1, 1]]),
        "from 0 to 1",
        call(SoftTargetCrossEntropy, [[1, 0], [0, 1]]),
    ),
    Case(
        "losses.table:_refuse",
        call(SoftTargetCrossEntropy, [[1, 1], [1, 1]]),
        "divide each row by its sum",
        call(SoftTargetCrossEntropy, np.ones((2, 2)) / 2),
    ),
    Case(
        "losses.table:_refuse",
        call(SoftTargetCrossEntropy, [[1], [1]]),
        "BinaryCrossEntropy",
        call(ufm.BinaryCrossEntropy, [[1], [1]]),
    ),
]
