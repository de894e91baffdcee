"""Certificates that the tests alter, and the alterations: every field, every number, every list, one at a time."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import re
from fractions import Fraction
from functools import cache

import naive_verifier
import numpy as np

from ufm_convex import enclosure
from ufm_convex.candidate import Candidate
from ufm_convex.certificate import certify, encoding
from ufm_convex.certificate.certifying import assemble
from ufm_convex.certificate.model import Certificate, judge
from ufm_convex.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    LogitAdjustedCrossEntropy,
    MeanSquaredError,
    MulticlassHinge,
    SoftTargetCrossEntropy,
)
from ufm_convex.losses.label_margin_cross_entropy import LabelMarginCrossEntropy
from ufm_convex.losses.squared_hinge import SquaredHinge
from ufm_convex.positivity import copositive_lower_bound
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import HardMargin, LayerPeeled
from ufm_convex.relaxation import DualPoint, FramePoint, of_classes
from ufm_convex.solving import close_gap, solve
from ufm_convex.verifier import MalformedCertificate, verify

PLAIN = Problem([50, 10, 2], 2e-2, 2e-2)
WEIGHTED = Problem(
    [50, 10, 10, 2], 1e-2, 3e-2, loss=CrossEntropy(class_weights=(1.0, 0.5, 0.5, 3.0), smoothing=0.1), feature_dim=4
)
CROWDED = Problem([9, 4, 2, 2], 2e-2, 2e-2)
TIGHT = Problem([50, 10, 2], 2e-2, 2e-2, feature_dim=2)
ALIKE = Problem([9, 9, 4, 2], 1e-2, 1e-2, feature_dim=4)
WEIGHTED_FREE = Problem([5, 3, 1], 2e-2, 2e-2, loss=CrossEntropy(class_weights=(1.0, 0.5, 3.0)), features="free")
FREE = Problem([40, 40, 9, 9, 3], 1e-2, 1e-2, features="free")


def feasible_dual(problem, seed=0, share=0.7, power=1):
    """A dual point in general position, scaled into the interior; T a random positive matrix where it may be.

    A high power concentrates the wrong mass of each class, so that columns of U have positive inner products.
    """
    K, generator = problem.num_classes, np.random.default_rng(seed)
    columns = of_classes(problem)
    V = generator.random((K, K)) ** power
    np.fill_diagonal(V, 0.0)
    np.fill_diagonal(V, -V.sum(axis=0))
    T = np.zeros((K, K))
    if problem.nonnegative:
        noise = 0.2 * generator.random((K, K)) * np.outer(columns.sigma, columns.sigma) / K
        T = np.triu(noise, 1) + np.triu(noise, 1).T
    scaled = V * columns.loss_weights / columns.sigma
    top = np.linalg.eigvalsh(scaled.T @ scaled + T / np.outer(columns.sigma, columns.sigma))[-1]
    s = np.sqrt(share / top)
    s = min(s, share * (1.0 - getattr(problem.loss, "smoothing", 0.0)) / -np.diag(V).min())
    return DualPoint(s * V, s * s * T)


def crowded_dual():
    """A dual point of ``CROWDED`` whose proof needs a multiplier and a factor, by classes and by groups."""
    return feasible_dual(CROWDED, seed=1, share=0.97, power=16)


def with_dual(problem, dual, proof):
    """A certificate of a given dual point; its witness is W = H = 0."""
    zeros = np.zeros(problem.num_classes)
    lower = enclosure.lower_bound(problem, dual, proof=proof)
    assert lower.proof == proof
    return assemble(problem, lower, enclosure.upper_bound(problem, FramePoint(zeros, zeros)), 1e-6, {})


def _samples(problem, H, noise=0.0):
    y = np.repeat(np.arange(problem.num_classes), problem.class_counts)
    return H[y] + noise * np.random.default_rng(1).random((y.size, H.shape[1])), y


def base_certificates():
    """Name → certificate; between them every kind of proof, witness, candidate and verdict."""
    W, H = solve(PLAIN).factors()
    small = Problem([4, 2, 1], 5e-2, 5e-2)
    W_small, H_small = solve(small).factors()
    F_small, y_small = _samples(small, H_small, noise=0.3)
    means = {"weights": W, "class_counts": PLAIN.class_counts}
    return {
        "diagonal": certify(PLAIN),
        "weighted": certify(WEIGHTED),
        "digits": certify(PLAIN, digits=40),
        "group": certify(FREE, proof="group"),
        "tight dimension": certify(TIGHT, solution=solve(TIGHT, solver="clarabel", level="class")),
        "group witness, nonnegative": certify(ALIKE, solution=solve(ALIKE, solver="clarabel", level="group")),
        "group witness": certify(FREE, solution=solve(FREE, solver="clarabel", level="group")),
        "dense": certify(Problem([9, 4, 2], 2e-2, 2e-2, features="free"), proof="dense"),
        "weighted, dense": certify(WEIGHTED_FREE),
        "multiplier": with_dual(CROWDED, crowded_dual(), "dense"),
        "grouped multiplier": with_dual(CROWDED, crowded_dual(), "group"),
        "suboptimal": certify(small, Candidate(weights=W_small, features=F_small, labels=y_small)),
        "optimal candidate": certify(PLAIN, Candidate(features=H, **means)),
        "infeasible": certify(small, Candidate(weights=W_small, features=F_small - 0.1, labels=y_small)),
        "undecided": certify(PLAIN, solution=solve(PLAIN), tolerance=1e-17),
    }


def loss_certificates():
    """Name → certificate; between them every loss, each with every form that its proofs take."""
    targets = [[0.75, 0.2, 0.05], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]]
    adjusted = LogitAdjustedCrossEntropy(shift=(0.5, 0.0, -0.3), scale=(1.5, 1.0, 0.75))
    small, alike = ([4, 2, 1], 5e-2, 5e-2), ([3, 3, 1], 5e-2, 5e-2)
    squares = Problem(*alike, loss=MeanSquaredError(), feature_dim=3)
    sigmoids = Problem(*alike, loss=BinaryCrossEntropy(), features="free")
    pairwise = Problem(*alike, loss=MulticlassHinge("weston-watkins"), features="free")
    squared = Problem(*alike, loss=SquaredHinge(), features="free")
    W, H = solve(squares).factors()
    candidate = Candidate(weights=W, features=1.5 * H, class_counts=squares.class_counts)
    return {
        "squares": certify(Problem(*small, loss=MeanSquaredError())),
        "squares, group": certify(squares, solution=solve(squares, solver="clarabel", level="group")),
        "squares, candidate": certify(squares, candidate),
        "sigmoids": certify(Problem(*small, loss=BinaryCrossEntropy())),
        "sigmoids, group": certify(sigmoids, solution=solve(sigmoids, solver="clarabel", level="group")),
        "joint hinge": certify(Problem(*small, loss=MulticlassHinge())),
        "joint hinge, dense": certify(Problem(*small, loss=MulticlassHinge(), features="free")),
        "pairwise hinge": certify(Problem(*alike, loss=MulticlassHinge("weston-watkins"))),
        "pairwise hinge, group": certify(pairwise),
        "adjusted": certify(Problem(*small, loss=adjusted)),
        "adjusted, free": certify(Problem(*small, loss=adjusted, features="free")),
        "shifted": certify(Problem(*small, loss=LogitAdjustedCrossEntropy(shift=(0.5, 0.0, -0.3)))),
        "scaled alike": certify(Problem(*small, loss=LogitAdjustedCrossEntropy(scale=(3.0, 3.0, 3.0)))),
        "squared hinge": certify(Problem(*alike, loss=SquaredHinge())),
        "squared hinge, dense": certify(Problem(*small, loss=SquaredHinge(), features="free")),
        "squared hinge, group": certify(squared, solution=solve(squared, solver="clarabel", level="group")),
        "label margins": certify(Problem(*small, loss=LabelMarginCrossEntropy((0.35, 0.42, 0.5)))),
        "label margins, free": certify(
            Problem(*small, loss=LabelMarginCrossEntropy((0.35, 0.42, 0.5)), features="free")
        ),
        "soft targets": certify(Problem(*small, loss=SoftTargetCrossEntropy(targets))),
        "soft targets, free": certify(Problem(*small, loss=SoftTargetCrossEntropy(targets), features="free")),
    }


def peeled_certificates():
    """Name → certificate of problems with norm bounds, in every form that their proofs take."""
    few = LayerPeeled(1.0, 5.0)
    free = Problem([40, 40, 9, 3], features="free", feature_dim=4, constraint=few)
    weighted = CrossEntropy(class_weights=(0.1, 1.0 / 3.0, 0.7))  # the products with the counts are no binary64 numbers
    return {
        "peeled": certify(Problem([50, 10, 2], constraint=LayerPeeled(0.3, 0.2))),
        "peeled, dense": certify(Problem([9, 4, 2], features="free", constraint=few)),
        "peeled, group": certify(free, solution=solve(free, solver="clarabel", level="group")),
        "peeled, weighted": certify(Problem([9, 7, 3], features="free", loss=weighted, constraint=few)),
        "peeled, idle": certify(
            Problem([5, 5, 3], loss=CrossEntropy(smoothing=0.1), constraint=LayerPeeled(30.0, 30.0))
        ),
        "peeled, idle and dense": certify(
            Problem([5, 5, 3], loss=CrossEntropy(smoothing=0.2), features="free", constraint=LayerPeeled(30.0, 30.0)),
            proof="dense",
        ),
        "peeled, squares": certify(
            Problem([4, 4, 4], loss=MeanSquaredError(), features="free", constraint=LayerPeeled(0.25, 0.5))
        ),
    }


def biased_certificates():
    """Name → certificate of problems with a bias, free and penalised."""
    counts = [9, 4, 4, 2]
    squares = {"loss": MeanSquaredError()}
    small, penalised = Problem([4, 2, 1], 5e-2, 5e-2, bias="free"), Problem([4, 2, 1], 5e-2, 5e-2, bias=0.25)
    found = solve(small)
    F, y = _samples(small, found.factors()[1], noise=0.3)
    given = {"weights": found.factors()[0], "features": F, "labels": y}
    return {
        "free bias, candidate": certify(small, Candidate(**given, bias=found.bias)),
        "penalised bias, candidate": certify(penalised, Candidate(**given, bias=np.float32([0.5, -0.25, 0.125]))),
        "penalised bias, candidate without": certify(penalised, Candidate(**given)),
        "free bias": certify(Problem(counts, 2e-2, 2e-2, features="free", bias="free")),
        "free bias, nonnegative": certify(Problem(counts, 2e-2, 2e-2, bias="free")),
        "free bias, squares": certify(Problem([4, 2, 1], 5e-2, 5e-2, bias="free", **squares)),
        "free bias, adjusted": certify(
            Problem([4, 2, 1], 5e-2, 5e-2, bias="free", loss=LogitAdjustedCrossEntropy(scale=(1.5, 1.0, 0.75)))
        ),
        "free bias, balanced": certify(Problem([4, 4, 4], 5e-2, 5e-2, bias="free")),
        "penalised bias": certify(Problem(counts, 2e-2, 2e-2, features="free", bias=0.1)),
        "penalised bias, nonnegative": certify(Problem(counts, 2e-2, 2e-2, bias=0.1)),
        "penalised bias, squares": certify(Problem([4, 2, 1], 5e-2, 5e-2, bias=0.1, **squares)),
        "penalised bias, diagonal": certify(Problem([4, 4, 4], 4e-2, 4e-2, bias=0.1)),
    }


def margin_certificates():
    """Name → certificate of hard margins: one, of classes, of pairs, and scaled."""
    small = ([4, 2, 1], 5e-2, 5e-2)
    table = [[0.0, 1.0, 2.0], [1.0, 0.0, 0.5], [3.0, 1.0, 0.0]]
    free = Problem([3, 3, 1], 5e-2, 5e-2, features="free", constraint=HardMargin(0.75))
    return {
        "margin": certify(Problem([5, 5, 2], 5e-2, 5e-2, constraint=HardMargin(0.5))),
        "margin, free": certify(free),
        "margins of classes": certify(Problem(*small, constraint=HardMargin((1.0, 2.0, 0.5)))),
        "margins of pairs": certify(Problem(*small, features="free", constraint=HardMargin(table))),
        "margin, scaled": certify(Problem(*small, features="free", constraint=HardMargin(1.0, (1.5, 1.0, 0.75)))),
    }


def circle_targets(K):
    """Each row confused with either neighbour, on a circle."""
    return 0.5 * np.eye(K) + 0.25 * np.roll(np.eye(K), 1, axis=1) + 0.25 * np.roll(np.eye(K), -1, axis=1)


def circle(K, **keywords):
    """Balanced classes on a circle, each confused with either neighbour: the relaxation of five of them is strict."""
    return Problem([20] * K, 0.01, 0.01, loss=SoftTargetCrossEntropy(circle_targets(K)), **keywords)


@cache
def closed_circle():
    """The gap of five classes on a circle, closed."""
    return close_gap(circle(5))


def copositive_certificates():
    """Name → certificate of a strict relaxation, its slack proved by a cubic form and on all supports."""
    problem = circle(5)
    closed = closed_circle()
    lower = copositive_lower_bound(problem, closed.residuals)
    return {
        "copositive, cubic": certify(problem, solution=closed),
        "copositive, supports": assemble(problem, lower, closed.upper, 1e-6, {}),
    }


MIXED = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.25, 0.75, 0.0], [0.1, 0.1, 0.1, 0.7]])
BITS = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])


def table_certificates():
    """Name → certificate of tables of targets: every loss, bias and sign of features, and both kinds of dual points."""
    given = ([4, 2, 1], 2e-2, 3e-2)
    free, pick = {"features": "free"}, SoftTargetCrossEntropy.pick_all([[0], [0, 2], [1, 2], [0, 1, 2]], 3)
    mixed, bits, shares = SoftTargetCrossEntropy(MIXED), BinaryCrossEntropy(BITS), BinaryCrossEntropy([[0.25], [1.0]])
    numbers = MeanSquaredError([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    biased = Problem(*given, loss=mixed, bias=0.25)
    W, H = solve(Problem(*given, loss=mixed)).factors()
    return {
        "table": certify(Problem(*given, loss=mixed)),
        "table, free": certify(Problem(*given, loss=mixed, **free)),
        "table, residuals": certify(Problem(*given, loss=mixed, **free), proof="residuals"),
        "table, residuals and bias": certify(Problem(*given, loss=mixed, bias=0.25, **free), proof="residuals"),
        "table, free bias": certify(Problem(*given, loss=bits, bias="free", **free)),
        "table, bias": certify(biased),
        "table, one column": certify(Problem([3], 2e-2, 3e-2, loss=SoftTargetCrossEntropy([[0.25, 0.75]]))),
        "table, sets": certify(Problem([5, 3, 2, 1], 2e-2, 1e-2, loss=pick, **free)),
        "table, sigmoids": certify(Problem(*given, loss=bits)),
        "table, sigmoids and residuals": certify(Problem(*given, loss=bits, **free), proof="residuals"),
        "table, one output": certify(Problem([4, 3], 2e-2, 3e-2, loss=shares)),
        "table, squares": certify(Problem([4, 3], 2e-2, 3e-2, loss=numbers, feature_dim=1)),
        "table, squares and residuals": certify(Problem([5, 3], 2e-2, 3e-2, loss=numbers, **free), proof="residuals"),
        "table, no entry": certify(Problem([4, 3], 2e-2, 3e-2, loss=MeanSquaredError(np.zeros((2, 3))))),
        "table, square": certify(Problem(*given, loss=MeanSquaredError(0.5 * np.eye(3)))),
        "table, copositive": copositive_table(),
        "table, candidate": with_candidate(Problem(*given, loss=mixed), W, H + 0.25),
    }


def copositive_table():
    """That of the circle with one more output, which has no mass: p = 0 there is feasible, and W = 0 admissible."""
    problem = Problem(
        [20] * 5, 0.01, 0.01, loss=SoftTargetCrossEntropy(np.hstack([circle_targets(5), np.zeros((5, 1))]))
    )
    closed = closed_circle()
    lower = copositive_lower_bound(problem, np.vstack([closed.residuals, np.zeros((1, 5))]))
    upper = enclosure.upper_bound(problem, (np.vstack([closed.W, np.zeros((1, closed.W.shape[1]))]), closed.H))
    return assemble(problem, lower, upper, 1e-6, {})


def with_candidate(problem, W, H):
    """A certificate about W (V, d) and H (m, d), rows of columns, whose objective is claimed to its enclosure."""
    made = json.loads(certify(problem).to_json())
    arrays = {"W": encoding._exact_matrix(W), "features": encoding._exact_matrix(H), "labels": None}
    candidate = {"level": "class", "feature_dim": W.shape[1], "sha256": None, "arrays": arrays}
    naive = naive_verifier.NaiveProblem({**made["problem"]})
    counts = [n for n, _ in naive.classes]
    value = naive_verifier.objective(
        naive, naive_verifier.matrix(arrays["W"]), naive_verifier.matrix(arrays["features"]), range(naive.K), counts
    )
    low, high = (Fraction(float(end)) * (1 + sign * Fraction(1, 2**40)) for end, sign in ((value.a, -1), (value.b, 1)))
    lower, upper = (naive_verifier.dyadic(made["claims"][name]) for name in ("lower", "upper"))
    pairs = {"objective": (low, high), "gap": (max(low - upper, Fraction(0)), high - lower)}
    about = {name: {"lower": encoding.dyadic(a), "upper": encoding.dyadic(b)} for name, (a, b) in pairs.items()}
    claims = {**made["claims"], "candidate": {**about, "violation": None}}
    claims["verdict"] = judge(claims).value
    content = {key: made[key] for key in ("format", "version", "problem", "lemmas", "dual", "witness")}
    return Certificate({**content, "candidate": candidate, "claims": claims}, {})


def model_certificates():
    """Name → certificate of every model beside the penalised one without bias, and of copositive slacks."""
    others = {**margin_certificates(), **copositive_certificates(), **table_certificates()}
    return {**peeled_certificates(), **biased_certificates(), **others}


def large_certificates():
    """Name → certificate of a dense proof of 64 classes, the fewest that the fast path takes."""
    zeros = np.zeros(64)
    for features in ("free", "nonnegative"):
        problem = Problem(np.arange(20, 84), 1e-4, 1e-4, features=features)
        lower = enclosure.lower_bound(problem, feasible_dual(problem, share=0.97, power=16), proof="dense")
        yield features, assemble(problem, lower, enclosure.upper_bound(problem, FramePoint(zeros, zeros)), 1e-6, {})


def by_digest(monkeypatch):
    """A certificate of a candidate that it knows by SHA-256, its twin with embedded arrays, and the arrays."""
    problem = Problem([4, 2, 1], 5e-2, 5e-2)
    W, H = solve(problem).factors()
    features, labels = _samples(problem, H, noise=0.3)
    candidate = Candidate(weights=W, features=features, labels=labels)
    embedded = json.loads(certify(problem, candidate).to_json())
    with monkeypatch.context() as patch:
        patch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
        known = json.loads(certify(problem, candidate).to_json())
    arrays = {"weights": W, "features": features, "labels": labels}
    return known, {**known, "candidate": embedded["candidate"]}, arrays


def boundaries():
    """(8) of docs/slack_proofs.md with equality, then missed by one, by a multiplier between two alike classes."""
    problem = Problem([9, 9, 4, 2], 1e-2, 1e-2)
    document = json.loads(certify(problem, proof="group").to_json())
    dual, place, sizes = document["dual"], 2, [1, 1, 2]  # distinct counts 2, 4, 9
    row = list(map(int, dual["columns"][place].split(" ")))
    own = row[place] - sum(m * x for m, x in zip(sizes, row, strict=True))
    unit = Fraction(4) ** -int(dual["exponents"].split(" ")[place])
    decays = Fraction(problem.lambda_w) * Fraction(problem.lambda_h)
    needed = (own - row[place]) ** 2 - (unit * decays * problem.num_samples**2 / 9).__floor__()
    for tau in (needed, needed - 1):
        rows = dual["multiplier"]["rows"][place].split(" ")
        yield resealed(replaced(document, ("dual", "multiplier", "rows", place), " ".join([*rows[:place], str(tau)])))


def closed_balls():
    """(document, whether it holds): norm bounds that the witness meets with equality, and a unit less than that.

    With four classes the mean of squares is dyadic, and so can be the bound.
    """
    made = certify(Problem([40, 40, 9, 3], features="free", constraint=LayerPeeled(1.0, 5.0)), proof="dense")
    document = json.loads(made.to_json())
    problem = naive_verifier.NaiveProblem(document["problem"])
    W, H, _, _ = naive_verifier.witness_arrays(problem, document["witness"])
    means = [sum(x * x for row in matrix for x in row) / problem.K for matrix in (W, H)]
    document["claims"].update(lower="-17p5", upper="17p5", verdict="undecided")
    document["problem"].update(weight_radius=encoding.dyadic(means[0]), feature_radius=encoding.dyadic(means[1]))
    yield resealed(document), True
    for field, mean in zip(("weight_radius", "feature_radius"), means, strict=True):
        less = encoding.dyadic(mean - Fraction(1, 2**200))
        yield resealed(replaced(document, ("problem", field), less)), False


def edges():
    """Dense proofs whose columns lie inside, on the edge of, or beyond domains; all else in them is generous."""
    documents = {
        name: json.loads(made.to_json()) for name, made in {**loss_certificates(), **margin_certificates()}.items()
    }
    documents["pairwise hinge, dense"] = replaced(
        documents["joint hinge, dense"], ("problem", "loss", "kind"), "weston-watkins"
    )
    for name in ("squares", "sigmoids", "joint hinge, dense", "pairwise hinge, dense", "adjusted", "soft targets",
                 "margins of pairs"):  # fmt: skip
        document = documents[name]
        document["problem"].update(lambda_w="1p10", lambda_h="1p10")
        document["claims"].update(lower="-1p20", upper="1p40", verdict="undecided")
        exponents = "-2 -2 -2" if name == "adjusted" else "0 0 0"  # its α/a is 4: w has the small integers, too
        document["dual"].update(exponents=exponents, factor=None, multiplier=None)
        owns = (-2, -1, 0, 1) if "own" in document["dual"] else (0,)
        for first, second, own in itertools.product((-1, 0, 1, 2), (-1, 0, 1, 2), owns):
            columns = [f"0 {first} {second}", f"{first} 0 {second}", f"{first} {second} 0"]
            edge = replaced(document, ("dual", "columns"), columns)
            yield resealed(replaced(edge, ("dual", "own"), " ".join([str(own)] * 3)) if len(owns) > 1 else edge)


def small_slacks():
    """(document, whether its slack is proved): two samples of two classes, every number at, above and below equality.

    Columns are (-1, 1) and (1, -1), times 2^e. For decays λ the radius of (7) is r = floor(4 λ_W λ_H 4^-e). Dense, with
    the identity or nothing for factor: E = [[r - 2 - f, 2 - τ], [2 - τ, r - 2 - f]]. As one group of two classes (8)
    is 4 ≤ r + τ, and (9) is 2 r - 2 τ ≥ f². Diagonal: (6) with q = x 2^e is x² ≤ 8 λ_W λ_H 4^-e.
    """
    base = json.loads(certify(Problem([1, 1], 0.5, 0.5), proof="dense").to_json())
    zeros = {"exponent": 0, "rows": ["0", "0"]}
    base["witness"] = {"kind": "dense", "feature_dim": 1, "W": zeros, "H": zeros}
    base["claims"].update(lower="-1p2", upper="1p2", tolerance="1p-20", verdict="undecided")

    def document(eighths, e, kind, features="nonnegative", **dual):
        changed = copy.deepcopy(base)
        unit = (eighths & -eighths).bit_length() - 1
        decays = {"lambda_w": "1p0", "lambda_h": f"{eighths >> unit}p{unit - 3 + 2 * e}", "features": features}
        changed["problem"].update(decays, class_counts="1 1", multiplicities="1 1")
        lemma = {"dense": "dense-slack", "group": "symmetry-slack", "diagonal": "frame-slack"}[kind]
        return resealed({**changed, "dual": {"kind": kind, **dual}, "lemmas": [*base["lemmas"][:3], lemma]})

    multipliers = (None, 0, 1, 2, 3)
    for eighths, t, f, e in itertools.product(range(4, 14), multipliers, (0, 1), (0, -1)):
        multiplier = None if t is None else {"exponent": 0, "rows": ["0", f"{t} 0"]}
        dual = {"columns": ["0 1", "1 0"], "exponents": f"{e} {e}", "factor": ["1", "0 1"] if f else None}
        for features in ("nonnegative",) if multiplier else ("nonnegative", "free"):
            beside = abs(2 - (t or 0)) if features == "free" else max(0, (t or 0) - 2)
            proved = eighths // 2 - 2 - f >= beside
            yield document(eighths, e, "dense", features, multiplier=multiplier, **dual), proved
    for eighths, t, shift, f in itertools.product(range(4, 14), (*multipliers, 4), (0, 1), (0, 1, 2)):
        multiplier = None if t is None else {"exponent": shift, "rows": [str(t)]}
        dual = {"columns": ["1"], "exponents": "0", "factor": [str(f)] if f else None, "multiplier": multiplier}
        r, tau = eighths // 2, (t or 0) << shift
        yield document(eighths, 0, "group", **dual), r + tau >= 4 and 2 * r - 2 * tau >= f * f
    for eighths, e in itertools.product((1, 2, 3, 4, 5), (0, -1)):
        yield document(eighths, e, "diagonal", strengths={"exponent": e, "integers": "1"}), True
        yield document(eighths, e, "diagonal", strengths={"exponent": e, "integers": "2"}), eighths >= 4
    for shift in (-1, 256, 257):
        dual = {"columns": ["0"], "exponents": "0", "factor": None, "multiplier": {"exponent": shift, "rows": ["0"]}}
        yield document(8, 0, "group", **dual), None if shift in (-1, 257) else True


def long_products():
    """Witnesses whose exact product is just short enough to be formed, and just not: 256 d multiplications, once of
    4096 bits, are 256 (1 + 64²) d of words, and 2^32 are allowed."""
    base = json.loads(certify(Problem([1] * 16, 1e-3, 1e-3)).to_json())
    base["claims"].update(upper="1p9000", verdict="undecided")
    for d in (4095, 4096):
        rows = [f"{2**4096 - 1}{' 0' * (d - 1)}", *[" ".join(["0"] * d)] * 15]
        matrix = {"exponent": 0, "rows": rows}
        yield resealed({**base, "witness": {"kind": "dense", "feature_dim": d, "W": matrix, "H": matrix}})


# -- sealing ------------------------------------------------------------------------------------------------------


def sha256(content):
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def resealed(document):
    """The document with both hashes made to match, as a forger would."""
    sealed = copy.deepcopy(document)
    problem = sealed.get("problem")
    if isinstance(problem, dict) and "sha256" in problem:
        problem["sha256"] = sha256({key: value for key, value in problem.items() if key != "sha256"})
    content = {key: value for key, value in sealed.items() if key not in ("digest", "provenance")}
    return {**sealed, "digest": sha256(content)}


def text(document):
    return json.dumps(document).encode()


# -- verdicts --------------------------------------------------------------------------------------------------


def outcome(data, candidate=None):
    """A verdict, or "malformed"; anything else that is raised is a crash and fails the test."""
    try:
        return verify(data, candidate).verdict.value
    except MalformedCertificate:
        return "malformed"


def judge_forgery(document):
    """The verdict on a re-sealed forgery, compared with the naive verifier's."""
    found = outcome(text(resealed(document)))
    if found != "malformed":
        expected = naive_verifier.verdict(document)
        assert found == expected, (found, expected)
        if found == "PROVED":
            problem = naive_verifier.NaiveProblem(document["problem"])
            assert naive_verifier.slack_is_psd(problem, document["dual"])
    return found


# -- alterations --------------------------------------------------------------------------------------------------


def alterations(document):
    """(what, altered document) for every field of the content, one alteration at a time."""
    content = {key: document[key] for key in document if key not in ("digest", "provenance")}
    for path, value in leaves(content):
        for what, other in altered(value):
            if json.dumps(other) != json.dumps(value):
                yield f"{'.'.join(map(str, path))}: {what}", replaced(document, path, other)
    for path, value in containers(document):
        if path[:1] == ("provenance",):
            continue
        for what, other in altered_container(value):
            yield f"{'.'.join(map(str, path))}: {what}", replaced(document, path, other)


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    else:
        yield path, value


def containers(value, path=()):
    if isinstance(value, (dict, list)):
        yield path, value
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from containers(inner, (*path, key))


def replaced(document, path, value):
    if not path:
        return value
    copied = copy.deepcopy(document)
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copied


def altered(value):
    """Other values for a leaf."""
    for odd in (None, True, [], {}, 1.5, float("nan"), float("inf"), "nan", "NaN", "-Infinity", "1e400", ""):
        yield f"becomes {odd!r}", odd
    if isinstance(value, int) and not isinstance(value, bool):
        for other in (value + 1, value - 1, -value - 2, 10 * value + 10, 2**63, 10**30, str(value), float(value)):
            yield f"becomes {other}", other
    elif isinstance(value, str) and value and len(max(re.split("[p ]", value), key=len)) > 4000:
        yield "becomes shorter", value[:-1]  # int() and str() stop at 4300 digits, and a number only grows below
    elif isinstance(value, str) and re.fullmatch(r"-?[0-9]+p-?[0-9]+", value, re.ASCII):
        yield from altered_dyadic(value)
    elif isinstance(value, str) and re.fullmatch(r"-?[0-9]+( -?[0-9]+)*", value, re.ASCII) and len(value) != 64:
        yield from altered_integers(value)
    elif isinstance(value, str):
        words = "nonnegative free diagonal group dense frame optimal suboptimal infeasible undecided sample class"
        words += " norm-budget bias 1p-3"
        names = "crammer-singer weston-watkins mean-squared-error binary-cross-entropy cross-entropy multiclass-hinge"
        for word in (*words.split(), *names.split(), value + " ", value.upper(), value[:-1], value[::-1]):
            if word != value:
                yield f"becomes {word!r}", word


def altered_dyadic(value):
    mantissa, exponent = map(int, value.split("p"))
    for m, e in (
        (mantissa + 2, exponent), (mantissa - 2, exponent), (-mantissa, exponent), (mantissa, exponent + 1),
        (mantissa, exponent - 1), (mantissa * 10 + 1, exponent), (mantissa * 2, exponent - 1), (mantissa + 1, exponent),
        (int(str(mantissa)[:-1] or "0"), exponent), (mantissa, 99999), (mantissa, -99999), (mantissa, 16384),
        (mantissa, -16384), (10**3000 + 1, exponent), (2**4095 + 1, exponent - 4095), (mantissa, exponent + 60),
    ):  # fmt: skip
        yield f"becomes {str(m)[:20]}p{e}", f"{m}p{e}"
    for form in (
        "0p0",
        "1p-1",
        "+" + value,
        value + "0",
        value.replace("p", "P"),
        value.replace("p", "e"),
        f" {value}",
    ):
        if form != value:
            yield f"written {form[:30]!r}", form


def altered_integers(value):
    tokens = value.split(" ")
    for place, token in enumerate(tokens):
        number = int(token)
        others = {
            number + 1, number - 1, -number, 10 * number, number // 10, 0, number + 2**60,
            number * (2**20 + 1) // 2**20, -(2**63), 2**63 - 1,
        } - {number}  # fmt: skip
        for other in sorted(others):
            yield f"entry {place} becomes {other}", " ".join([*tokens[:place], str(other), *tokens[place + 1 :]])
        for form in (f"0{token}", f"+{token}", f"{token}.0", "nan", "", "1_0", "٣", f"{token} {token}"):
            yield f"entry {place} written {form!r}", " ".join([*tokens[:place], form, *tokens[place + 1 :]])
        if place + 1 < len(tokens) and token != tokens[place + 1]:
            swapped = [*tokens[:place], tokens[place + 1], token, *tokens[place + 2 :]]
            yield f"entries {place} and {place + 1} swapped", " ".join(swapped)
        if len(tokens) > 1:
            yield f"entry {place} dropped", " ".join(tokens[:place] + tokens[place + 1 :])
    for extremes in ((-(2**63), 2**63 - 1), (2**63, -1)):
        mixed = (str(extremes[place % 2]) for place in range(len(tokens)))
        yield f"alternates between {extremes}", " ".join(mixed)
    yield "negated", " ".join(str(-int(token)) for token in tokens)


def altered_container(value):
    if isinstance(value, dict):
        for key in value:
            yield f"without {key}", {other: inner for other, inner in value.items() if other != key}
        yield "with another field", {**value, "unknown": "0"}
    else:
        for place in range(len(value)):
            yield f"without row {place}", value[:place] + value[place + 1 :]
            if place + 1 < len(value) and value[place] != value[place + 1]:
                swapped = [*value[:place], value[place + 1], value[place], *value[place + 2 :]]
                yield f"rows {place} and {place + 1} swapped", swapped
        yield "with a row twice", [*value, *value[-1:]]
    yield "becomes null", None
