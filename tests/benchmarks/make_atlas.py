"""The theorem atlas: what theory says of an instance, beside what is proved of it without theory.

Run by hand from the project's root: ``python -m tests.benchmarks.make_atlas > docs/atlas.md``. Every theorem of the
registry has a row, whose instance meets its hypotheses; so have bounds that remain where one fails, and claims that
are not theorems. The interval is that of a conic solver's points, repaired and proved, with no closed form involved;
the verdict is computed from the two.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import ufm_convex as ufm
from tests.benchmarks.bench_models import cyclic
from tests.scripts import parsed, small
from ufm_convex import solvers, theory
from ufm_convex.contrastive.theory import ContrastiveFrame
from ufm_convex.theory.free_groups import group_collapse

FREE = {"features": "free"}
TOLERANCE = 1e-6
"""Of the proved intervals, relative; a closed form may leave one by no more than a hundredth of that."""


@dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
        statement: What is said, in words.
        source: Who says it.
        problem: The instance.
        relation: How the value is said to stand to the minimum.
        value: What is said of the instance.
        bounds: The proved interval; by default that of a conic solver.
        hypotheses: What it asks for.
    """

    statement: str
    source: str
    problem: object
    relation: str
    value: Callable[[object], float]
    bounds: Callable[[object], tuple[float, float]]
    hypotheses: str = ""


INSTANCES: dict[str, object] = {
    "balanced simplex": ufm.Problem([20] * 4, 5e-3, 5e-3, **FREE),
    "binary frame": ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=ufm.BinaryCrossEntropy()),
    "hard-margin frame": ufm.Problem([50, 20, 10], 5e-3, 1e-2, constraint=ufm.HardMargin(1.0)),
    "hinge frame": ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=ufm.MulticlassHinge()),
    "layer-peeled frame": ufm.Problem([50, 20, 10], constraint=ufm.LayerPeeled(1.0, 5.0)),
    "layer-peeled simplex": ufm.Problem([20] * 4, constraint=ufm.LayerPeeled(1.0, 5.0), **FREE),
    "mean-squared-error frame": ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=ufm.MeanSquaredError()),
    "mean-squared-error with a free bias": ufm.Problem(
        [50, 20, 10], 5e-3, 1e-2, loss=ufm.MeanSquaredError(), bias="free", **FREE
    ),
    "orthogonal frame": ufm.Problem([50, 20, 10, 1], 5e-3, 1e-2),
    "simplex-encoded-labels interpolation": ufm.Problem(
        [50, 20, 10], 5e-3, 1e-2, constraint=ufm.HardMargin(1.0), **FREE
    ),
    "thresholded singular values": ufm.Problem(
        [7, 5, 4], 1e-2, 1e-2, loss=ufm.MeanSquaredError([[1.0, -2.0], [0.5, 0.5], [3.0, 1.0]]), **FREE
    ),
    "total collapse": ufm.Problem([50, 20, 10], 0.2, 0.2, **FREE),
}
"""Name of a theorem → a problem that it is about."""

CONTRASTIVE = ufm.ContrastiveProblem([6, 4, 2], lambda_h=0.5)


def conic(problem: object) -> tuple[float, float]:
    """Both proved bounds from a conic solver's points."""
    found = ufm.solve(problem, solver="clarabel", tolerance=TOLERANCE)
    return found.lower_bound, found.upper_bound


def closed(problem: object) -> tuple[float, float]:
    """Both proved bounds with B completely positive."""
    found = ufm.close_gap(problem, tolerance=TOLERANCE)
    return found.lower_bound, found.upper_bound


def frame_value(problem: object) -> float:
    """The least objective of an orthogonal frame."""
    return next(iter(solvers.solver("frame").runs(problem, "class", 1e-9, {}))).value


def bound_value(problem: object) -> float:
    """What is left of a theorem one of whose hypotheses fails."""
    return theory.bound(problem).value


def theorems() -> Iterator[Entry]:
    """Every theorem of the registry, and the one about contrastive problems."""
    about = [(theorem, INSTANCES[theorem.name]) for theorem in theory.theorems()]
    for theorem, problem in [*about, (ContrastiveFrame(), CONTRASTIVE)]:
        asked = [*theorem.setting(problem), *theorem.hypotheses(problem)]
        named = "; ".join(hypothesis.name for hypothesis in asked)
        value = lambda problem, theorem=theorem: theorem.optimum(problem).value  # noqa: E731
        yield Entry(theorem.name, theorem.citation, problem, str(theorem.relation), value, conic, named)


def bounds() -> Iterator[Entry]:
    """What remains where a hypothesis fails."""
    source = "docs/theorem.md, section 2"
    cases = {
        "the frame, with free features": ufm.Problem([50, 20, 10], 5e-3, 1e-2, **FREE),
        "the frame, with a penalised bias": ufm.Problem([50, 20, 10], 5e-3, 1e-2, bias=0.02),
        "the frame, in fewer dimensions than active classes": ufm.Problem([50, 20, 10], 5e-3, 1e-2, feature_dim=2),
    }
    for statement, problem in cases.items():
        yield Entry(statement, source, problem, str(theory.bound(problem).relation), bound_value, conic)


def claims() -> Iterator[Entry]:
    """An orthogonal frame is optimal, said of losses of every kind; and two that are true beside them."""
    counts = np.array([1000, 100, 30, 10])
    decay = float(np.sqrt(0.375 * 10) / counts.sum())
    alike = [[0.55, 0.0, 0.45], [0.0, 0.55, 0.45], [0.0, 0.0, 1.0]]
    frame = "an orthogonal frame is optimal"
    source, here = "the theorem, beyond its hypotheses", "docs/closed_forms.md, section 4"
    smoothed = ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=ufm.CrossEntropy(smoothing=0.1))
    yield Entry(f"{frame}: label smoothing", "docs/theorem_proof.md, section 4", smoothed, "tight", frame_value, conic)
    for name, tau in (("weak", 0.25), ("strong", 1.0)):
        loss = ufm.LogitAdjustedCrossEntropy(shift=tau * np.log(counts / counts.sum()))
        problem = ufm.Problem(counts, decay, decay, loss=loss)
        yield Entry(f"{frame}: {name} logit adjustment", here, problem, "tight", frame_value, conic)
    sigmoids = ufm.BinaryCrossEntropy()
    for K in (4, 5):
        problem = ufm.Problem([20] * K, 5e-3, 5e-3, loss=sigmoids)
        yield Entry(f"{frame}: sigmoids, K = {K}", here, problem, "tight", frame_value, conic)
    soft = ufm.Problem([20] * 3, 5e-3, 5e-3, loss=ufm.SoftTargetCrossEntropy(alike))
    yield Entry(f"{frame}: soft targets of which two resemble a third", source, soft, "tight", frame_value, conic)
    biased = ufm.Problem([400, 30, 10, 10], 5e-3, 5e-3, bias="free")
    yield Entry(f"{frame}: a free bias", source, biased, "tight", frame_value, conic)
    relaxed = lambda problem: ufm.solve(problem, solver="clarabel").value  # noqa: E731
    for K in (4, 5):
        words = f"the convex relaxation is exact: confusion in a circle of {K}"
        yield Entry(words, "docs/complete_positivity.md", cyclic(K), "tight", relaxed, closed)


def thresholds() -> Iterator[str]:
    """Which classes collapse or merge, predicted and seen in a conic solver's solution."""
    counts = [50, 20, 10, 3, 1]
    problem = ufm.Problem(counts, 1e-2, 2e-2)
    size = float(theory.exact_threshold(problem))
    predicted = tuple(k for k, n in enumerate(counts) if n <= size)
    seen = ufm.solve(problem, solver="clarabel", tolerance=1e-10).collapsed_classes
    words, source = (
        "non-negative features: a class collapses iff n ≤ n_c",
        "Dang, Tran, Nguyen, Ho, ICML 2024, Theorem 1",
    )
    yield compared(words, size, problem, predicted, seen, source)
    words = "free features: classes of one count merge iff n ≤ N² λ_W λ_H"
    source = "minority collapse: Fang, He, Long, Su, PNAS 118, 2021; threshold: docs/free_features.md, section 5"
    for n in (3, 5):
        problem = ufm.Problem([90, 80, n, n, n], 1e-2, 1e-2, **FREE)
        found = group_collapse(problem)
        seen = ufm.solve(problem, solver="clarabel", tolerance=1e-10).merged_groups
        yield compared(words, found.threshold, problem, found.merged_groups, seen, source)


def compared(statement: str, size: float, problem: object, predicted: object, seen: object, source: str) -> str:
    """One line of the table of thresholds."""
    found = "tight" if predicted == seen else "**refuted**"
    return f"| {statement} | {size:.6g} | {described(problem)} | {predicted} | {seen} | {found} | {source} |"


TABLES = {
    "Theorems": theorems,
    "Bounds that remain where a hypothesis fails": bounds,
    "Claims that the library can test": claims,
}


def verdict(relation: str, value: float, low: float, high: float) -> str:
    """What the interval makes of a value that is said to be the minimum, or a bound of it."""
    slack = 0.01 * TOLERANCE * high
    over, under = value > high + slack, value < low - slack
    refuted = {"tight": over or under, "lower": over, "upper": under}[relation]
    return "refuted" if refuted else relation


def described(problem: object) -> str:
    """The instance in a cell."""
    content = {key: value for key, value in problem.content().items() if key not in ("model", "loss", "features")}
    counts = np.asarray(content.pop("class_counts")).tolist()
    words = [f"n = {', '.join(map(str, counts))}"]
    plain = {key: value for key, value in content.items() if not isinstance(value, dict)}
    words += [
        f"{key} = {value:.4g}" if isinstance(value, float) else f"{key} = {value}" for key, value in plain.items()
    ]
    if getattr(problem, "constraint", None) is not None:
        words.append(problem.constraint.name)
    elif hasattr(problem, "loss"):
        words.append(problem.loss.name)
    return "; ".join([*words, *([problem.features] if hasattr(problem, "features") else [])])


def row(entry: Entry) -> str:
    """One line of a table."""
    value, (low, high) = entry.value(entry.problem), entry.bounds(entry.problem)
    found = verdict(entry.relation, value, low, high)
    shown = f"**{found}**" if found == "refuted" else found
    numbers = f"{value:.10g} | {low:.10g} to {high:.10g}"
    hypotheses = entry.hypotheses or "–"
    return f"| {entry.statement} | {hypotheses} | {described(entry.problem)} | {numbers} | {shown} | {entry.source} |"


HEAD = """# The theorem atlas

Generated by `python -m tests.benchmarks.make_atlas`, which evaluates what is said of each instance, solves the instance
without any closed form (Clarabel's points, repaired and proved; [kkt.md](kkt.md), section 6), and compares.
*Tight*: the value lies in the proved interval. *Lower*, *upper*: it is not on the wrong side of it. **Refuted**: it is,
and the interval is a proof. An instance proves no theorem; it would refute one.
"""


def main() -> None:
    """The page, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000, help="most rows of a table")
    small(parser, rows=1)
    options = parsed(parser)
    print(HEAD)
    for title, entries in TABLES.items():
        print(f"## {title}\n\n| statement | hypotheses | instance | value | proved | verdict | source |")
        print("|---|---|---|---|---|---|---|")
        for entry, _ in zip(entries(), range(options.rows), strict=False):
            print(row(entry), flush=True)
        print()
    print("## Thresholds\n\n| statement | threshold | instance | predicted | seen | verdict | source |")
    print("|---|---|---|---|---|---|---|")
    for line, _ in zip(thresholds(), range(options.rows), strict=False):
        print(line, flush=True)


if __name__ == "__main__":
    main()
