"""Theorems, and the bounds that remain where one of their hypotheses fails."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator

import ufm_convex as ufm
from tests.benchmarks.atlas.rows import FREE, Entry, bound_value, conic
from ufm_convex import theory
from ufm_convex.contrastive.theory import ContrastiveFrame
from ufm_convex.proof import ProofStep
from ufm_convex.theory import Theorem

SQUARED, HINGE = ufm.MeanSquaredError(), ufm.MulticlassHinge()
BALL, MARGINS = {"constraint": ufm.LayerPeeled(1.0, 5.0)}, {"constraint": ufm.HardMargin(1.0)}
TABLE = ufm.MeanSquaredError([[1.0, -2.0], [0.5, 0.5], [3.0, 1.0]])

INSTANCES: dict[str, object] = {
    "balanced simplex": ufm.Problem([20] * 4, 5e-3, 5e-3, **FREE),
    "binary frame": ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=ufm.BinaryCrossEntropy()),
    "hard-margin frame": ufm.Problem([50, 20, 10], 5e-3, 1e-2, **MARGINS),
    "hinge frame": ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=HINGE),
    "layer-peeled frame": ufm.Problem([50, 20, 10], **BALL),
    "layer-peeled simplex": ufm.Problem([20] * 4, **BALL, **FREE),
    "mean-squared-error frame": ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=SQUARED),
    "mean-squared-error with a free bias": ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=SQUARED, bias="free", **FREE),
    "orthogonal frame": ufm.Problem([50, 20, 10, 1], 5e-3, 1e-2),
    "simplex-encoded-labels interpolation": ufm.Problem([50, 20, 10], 5e-3, 1e-2, **MARGINS, **FREE),
    "thresholded singular values": ufm.Problem([7, 5, 4], 1e-2, 1e-2, loss=TABLE, **FREE),
    "total collapse": ufm.Problem([50, 20, 10], 0.2, 0.2, **FREE),
    ContrastiveFrame.name: ufm.ContrastiveProblem([6, 4, 2], lambda_h=0.5),
}
"""Name of a theorem → a problem that it is about."""

MORE: dict[str, dict[str, object]] = {
    "orthogonal frame": {
        "class weights and smoothing": ufm.Problem(
            [50, 20, 10], 5e-3, 1e-2, loss=ufm.CrossEntropy(class_weights=(1.0, 2.0, 0.5), smoothing=0.1)
        ),
        "a class without samples": ufm.Problem([50, 20, 0], 5e-3, 1e-2),
        "equal counts and a free bias": ufm.Problem([20] * 3, 5e-3, 5e-3, bias="free"),
    },
    "hinge frame": {
        "Weston and Watkins": ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=ufm.MulticlassHinge("weston-watkins"))
    },
    "mean-squared-error frame": {
        "free features in two dimensions": ufm.Problem([50, 20, 10], 5e-3, 1e-2, loss=SQUARED, feature_dim=2, **FREE)
    },
    "thresholded singular values": {"a free bias": ufm.Problem([7, 5, 4], 1e-2, 1e-2, loss=TABLE, bias="free", **FREE)},
    ContrastiveFrame.name: {"a bound on the norms": ufm.ContrastiveProblem([6, 4, 2], bound=1.0)},
}
"""Name of a theorem → instances of other kinds, by what is new in them."""


def known() -> tuple[Theorem, ...]:
    """Every theorem of the registry, and the one about contrastive problems."""
    return (*theory.theorems(), ContrastiveFrame())


def without_a_row(kinds: Iterable[type], statements: Iterable[str]) -> list[str]:
    """The theorems and steps of proofs, as classes, that no statement begins with the name of."""
    said = tuple(statements)
    return sorted(kind.__name__ for kind in kinds if not any(one.startswith(_title(kind)) for one in said))


def _title(kind: type) -> str:
    return f"({kind.number}) {kind.name}:" if issubclass(kind, ProofStep) else kind.name


def written_down() -> set[type]:
    """Every theorem and every step of a proof that some module of the package defines."""
    for module in pkgutil.walk_packages(ufm.__path__, "ufm_convex."):
        if module.name.split(".")[1] in ("theory", "contrastive", "proof", "positivity"):
            importlib.import_module(module.name)
    return below(Theorem, ProofStep)


def below(*roots: type) -> set[type]:
    """The concrete subclasses that modules of the package define."""
    kinds = list(roots)
    for kind in kinds:  # grows
        kinds += kind.__subclasses__()
    own = (kind for kind in kinds if kind.__module__.startswith("ufm_convex."))
    return {kind for kind in own if not getattr(kind, "__abstractmethods__", None) and kind not in roots}


def theorems() -> Iterator[Entry]:
    """An instance of every theorem, and of every kind of problem that it covers."""
    for theorem in known():
        yield _entry(theorem, theorem.name, INSTANCES[theorem.name])
        for words, problem in MORE.get(theorem.name, {}).items():
            yield _entry(theorem, f"{theorem.name}: {words}", problem)


def _entry(theorem: Theorem, statement: str, problem: object) -> Entry:
    asked = [*theorem.setting(problem), *theorem.hypotheses(problem)]
    named = "; ".join(hypothesis.name for hypothesis in asked)

    def value(problem: object) -> float:
        return theorem.optimum(problem).value

    return Entry(statement, theorem.citation, problem, str(theorem.relation), value, conic, named)


def bounds() -> Iterator[Entry]:
    """What remains where a hypothesis fails."""
    source = "docs/theorem.md, section 2"
    cases = {
        "the frame, with free features": ufm.Problem([50, 20, 10], 5e-3, 1e-2, **FREE),
        "the frame, with a penalised bias": ufm.Problem([50, 20, 10], 5e-3, 1e-2, bias=0.02),
        "the frame, in fewer dimensions than active classes": ufm.Problem([50, 20, 10], 5e-3, 1e-2, feature_dim=2),
    }
    for statement, problem in cases.items():
        failed = "; ".join("not: " + one.name for one in theory.OrthogonalFrame().failed(problem))
        yield Entry(statement, source, problem, str(theory.bound(problem).relation), bound_value, conic, failed)
