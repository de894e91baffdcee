"""Assertions about candidates, each raising ``AssertionError`` with what is wrong, where, and what it costs.

A candidate is a ``Candidate`` or a pair (W, H) of a classifier (K, d) and class means (K, d). Without a bias it is
judged at b = 0 where the problem has one. Input that cannot be
judged (wrong shapes, other class counts) raises the error of ``ufm_convex.errors`` for it; a feature that is negative
or NaN is a fault of the candidate, and an ``AssertionError``.

Units: tolerances are relative, as each assertion says. All but ``assert_certified`` compute in floating point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn, TypeAlias

import numpy as np

from ufm_convex import _given, theory
from ufm_convex._arrays import FloatArray
from ufm_convex._given import class_index
from ufm_convex.attribution import LARGEST_WEIGHT, GapAttribution, attribute_gap
from ufm_convex.candidate import Candidate, FeatureStatistics, feature_statistics, require_match
from ufm_convex.certificate import Certificate, Judgement, certify, proved_gap
from ufm_convex.duality import repair, report
from ufm_convex.errors import CandidateError, HypothesisError, ProblemError, shown
from ufm_convex.problem import Problem, require_problem
from ufm_convex.recovery import Scaled
from ufm_convex.relaxation import Dual, Factors, Orbits, of_classes, of_labels
from ufm_convex.verifier import Verdict, verify

Judged: TypeAlias = Candidate | tuple[FloatArray, FloatArray]


def assert_optimal(problem: Problem, candidate: Judged, *, tolerance: float = 1e-6) -> None:
    """(f(W, H) − f*) / f(W, H) is at most the tolerance.

    The gap is the sum of its parts (docs/attribution.md), without cancellation. Where no theorem gives f*, it is what
    ``certify`` proves.

    Raises:
        AssertionError: it is not; the message attributes the gap.
        UFMError: as ``attribute_gap`` and ``certify`` for input that is no candidate of the problem.
    """
    tolerance = _given.tolerance(tolerance)
    candidate, _ = _read(problem, candidate)
    if not isinstance(_closed_form(problem), theory.FrameOptimum):
        certificate = proved_gap(problem, candidate, tolerance=tolerance)
        if certificate.verdict is not Judgement.OPTIMAL:
            _fail(f"the candidate is {certificate.verdict}, relative gap up to {certificate.relative_gap:.2e}")
        return
    found = attribute_gap(problem, candidate)
    if not found.gap <= tolerance * found.candidate_value:
        relative = found.gap / found.candidate_value
        _fail(f"the candidate is not optimal: relative gap {relative:.2e} > {tolerance:.0e}", problem, candidate)


def assert_collapse_pattern(
    problem: Problem, candidate: Judged, *, collapsed: Iterable[int] | None = None, tolerance: float = 1e-6
) -> None:
    """The classes whose mean is zero are those of the theorem, n_k ≤ n_c (Dang et al., ICML 2024, Theorem 1).

    A mean counts as zero when λ_H n_k ‖h̄_k‖² is at most tolerance · f*. An active class whose optimal share is below
    four times that is left undecided.

    Args:
        problem: A problem to which the theorem applies.
        candidate: The candidate.
        collapsed: The classes that shall be collapsed, all others active; by default the theorem's.
        tolerance: Share of the objective that counts as none.

    Raises:
        AssertionError: a class is collapsed that should be active ("dead"), or the other way round.
        HypothesisError: no theorem gives the optimum.
        ProblemError: ``collapsed`` has an entry that is no class.
    """
    tolerance = _given.tolerance(tolerance)
    collapsed = None if collapsed is None else _checked_classes(problem, collapsed)
    candidate, statistics = _read(problem, candidate)
    optimum = theory.optimum(problem)
    if not isinstance(optimum, theory.FrameOptimum):
        raise HypothesisError(
            f"{optimum.citation} has no collapse pattern.",
            expected="cross-entropy with non-negative features",
            fix="use assert_optimal.",
        )
    zero = _masses(problem, statistics.class_means) <= tolerance * optimum.value
    if collapsed is None:
        expected = optimum.collapsed
        share = problem.lambda_h * problem.class_counts * optimum.eta**2
        decided = expected | (share > 4.0 * tolerance * optimum.value)
    else:
        expected = np.isin(np.arange(problem.num_classes), collapsed)
        decided = problem.class_counts > 0  # a class without samples has no feature to collapse
    dead = np.flatnonzero(decided & zero & ~expected).tolist()
    alive = np.flatnonzero(decided & ~zero & expected).tolist()
    if dead or alive:
        said = [f"{_classes(dead)} dead (h = 0, should be active)"] * bool(dead)
        said += [f"{_classes(alive)} active (should be collapsed)"] * bool(alive)
        _fail("; ".join(said), problem, candidate)


def assert_orthogonal_frame(problem: Problem, candidate: Judged, *, tolerance: float = 1e-6) -> None:
    """Class means are orthogonal: √(n_k n_l) |h̄_k · h̄_l| ≤ tolerance · max_j n_j ‖h̄_j‖² for k ≠ l.

    Condition (ii) of Theorem 1 (docs/theorem.md). It says nothing about lengths: dead classes pass.

    Raises:
        AssertionError: two means overlap; the message names the pair that does most, and its cosine.
    """
    tolerance = _given.tolerance(tolerance)
    candidate, statistics = _read(problem, candidate)
    weighted = np.sqrt(problem.class_counts)[:, None] * statistics.class_means
    gram = weighted @ weighted.T
    overlap = np.abs(np.triu(gram, 1))
    k, l = map(int, np.unravel_index(overlap.argmax(), overlap.shape))  # noqa: E741
    if not overlap[k, l] <= tolerance * gram.diagonal().max():
        cosine = gram[k, l] / math.sqrt(gram[k, k] * gram[l, l])
        _fail(f"the means of classes {k} and {l} are not orthogonal: cosine {cosine:.2e}", problem, candidate)


def assert_self_dual(problem: Problem, candidate: Judged, *, tolerance: float = 1e-6) -> None:
    """w_k = c (√n_k h̄_k − mean_l √n_l h̄_l) with c = √(K λ_H / ((K−1) λ_W)), within the tolerance of ‖W‖_F.

    Condition (iv) of Theorem 1 (docs/theorem.md, equation 8). It says nothing about lengths or angles.

    Raises:
        AssertionError: a row of W is no class mean; the message names the worst.
        HypothesisError: the problem has a bias that is not idle, of whose optima the theorem says nothing; or a table
            of other outputs than columns.
    """
    tolerance = _given.tolerance(tolerance)
    candidate, statistics = _read(problem, candidate)
    problem.require_classes("classifiers that are class means")
    if not theory.has_idle_bias(problem):
        raise HypothesisError(
            "the problem has a bias, and its classes are not alike.",
            expected="a problem without bias, or equal counts and class weights",
            fix="use assert_stationary, assert_kkt or assert_optimal, which take a bias.",
        )
    W = np.asarray(candidate.weights, dtype=np.float64)
    K = problem.num_classes
    c = math.sqrt(K / (K - 1)) * math.sqrt(problem.lambda_h) / math.sqrt(problem.lambda_w)
    dual = c * np.sqrt(problem.class_counts)[:, None] * statistics.class_means
    dual -= dual.mean(axis=0)
    away = np.linalg.norm(W - dual, axis=1)
    size = max(float(np.linalg.norm(W)), float(np.linalg.norm(dual)))
    if not np.linalg.norm(away) <= tolerance * size:
        k = int(away.argmax())
        _fail(f"classifier row {k} is not dual to its class mean: {away[k] / size:.2e} of ‖W‖ away", problem, candidate)


def assert_stationary(problem: Problem, candidate: Judged, *, tolerance: float = 1e-6) -> None:
    """The projected gradient of f vanishes: what gradient descent can promise, and no more.

    Variables are scaled to one size (``recovery.Scaled``); the largest entry of the projected gradient is at most the
    tolerance times the largest entry of the point, or times 1.

    Raises:
        AssertionError: it does not vanish; the message names the row where it is largest.
        HypothesisError: the loss is not differentiable, as a hinge or a hard margin.
    """
    tolerance = _given.tolerance(tolerance)
    _require_gradient(problem)
    candidate, _ = _read(problem, candidate)
    labels, rows = candidate.labels, candidate.multiplicities[candidate.labels]
    weights = problem.loss_weights[labels] * rows / np.maximum(problem.class_counts, 1)[labels]
    columns, d = of_labels(problem, labels, weights, rows.astype(np.float64)), candidate.feature_dim
    scaled = Scaled(columns, Orbits.single(d))
    W, H = np.asarray(candidate.weights, float), np.asarray(candidate.features, float)
    flat, (cut, end) = scaled.pack(Factors.single(columns, W, H, _offset(problem, candidate))), scaled.cuts
    gradient = scaled.value_and_gradient(flat)[1]
    w_gradient, h_gradient = gradient[:cut].reshape(-1, d), gradient[cut:end].reshape(-1, d)
    if problem.nonnegative:
        h_gradient = np.minimum(h_gradient, flat[cut:end].reshape(-1, d))  # h − max(h − gradient, 0)
    blocks = {"W": w_gradient, "H": h_gradient, "b": gradient[end:].reshape(-1, 1)}
    for name, slopes in blocks.items():
        worst = np.abs(slopes).max(axis=1, initial=0.0)
        if not worst.size:  # no bias
            continue
        if not worst.max() <= tolerance * max(1.0, float(np.abs(flat).max())):
            row = int(worst.argmax())
            _fail(f"the projected gradient in row {row} of {name} is {worst[row]:.2e}", problem, candidate)


def assert_kkt(problem: Problem, candidate: Judged, *, tolerance: float = 1e-6) -> None:
    """All KKT conditions of the convex relaxation hold at the Gram matrices of the class means, and at the bias.

    The multipliers are those that the candidate itself suggests, V = ∇l(W h̄ + b), made feasible. KKT points of the
    relaxation are global optima, so spurious minima fail. Source: docs/kkt.md, section 4.

    Args:
        problem: The problem.
        candidate: The candidate; its within-class variability has to vanish as well.
        tolerance: Relative gap from which the tolerance of each condition is derived.

    Raises:
        AssertionError: a condition fails; the message lists each that does.
        HypothesisError: the loss is not differentiable, as a hinge or a hard margin.
    """
    tolerance = _given.tolerance(tolerance)
    _require_gradient(problem)
    candidate, statistics = _read(problem, candidate)
    W, H = np.asarray(candidate.weights, dtype=np.float64), statistics.class_means
    columns = of_classes(problem)
    factors = Factors.single(columns, W, H, _offset(problem, candidate))
    outputs = columns.outputs_of(factors.logits, factors.bias)
    dual, _ = repair(columns, [Dual(columns.residuals(outputs))], factors)
    conditions = report(columns, factors.gram(), dual, factors, tolerance)
    failed = [f"{c.name} {c.residual:.2e} > {c.tolerance:.0e}" for c in conditions if not c.passed]
    within = float(statistics.class_square_norms.sum() - problem.class_counts @ (H**2).sum(axis=1))
    if not within <= max(tolerance, 1e-12) * statistics.class_square_norms.sum():
        failed.append(f"within_class_variability {within:.2e}")
    if failed:
        _fail("KKT conditions fail: " + ", ".join(failed), problem, candidate)


def assert_certified(
    subject: Problem | Certificate | str | Path | bytes, candidate: Judged | None = None, *, tolerance: float = 1e-6
) -> None:
    """There is a proof, and the verifier accepts it, that the relative gap is at most the tolerance.

    Args:
        subject: A problem, which is certified first, or a certificate: the object, its path, or its bytes.
        candidate: With a problem, the candidate whose gap is meant (by default the optimum's enclosure); with a
            certificate, the arrays that it knows by SHA-256.
        tolerance: The largest gap that passes, whatever tolerance the certificate itself was made for.

    Raises:
        AssertionError: a step of the proof is refuted or left open, or the gap is larger.
        MalformedCertificate: the path or bytes hold no certificate.
    """
    tolerance = _given.tolerance(tolerance)
    problem = subject if isinstance(subject, Problem) else None
    if isinstance(candidate, tuple):
        about = subject.problem if isinstance(subject, Certificate) else problem
        if about is None:
            raise ProblemError(
                "the candidate is a pair, and the certificate a file.",
                expected="a Candidate, which knows its class counts",
                fix="pass Candidate(weights=W, features=H, class_counts=n).",
            )
        candidate = _candidate(about, candidate)
    source = _certified(subject, candidate, tolerance) if isinstance(subject, Problem) else subject
    text = source.to_json().encode() if isinstance(source, Certificate) else source
    result = verify(text, None if candidate is None else candidate.arrays())
    bad = [f"{step.name} {step.verdict}: {step.detail}" for step in result.steps if step.verdict is not Verdict.PROVED]
    if bad:
        _fail("the certificate is not proved: " + "; ".join(bad))
    certificate = source if isinstance(source, Certificate) else _load(source)
    infeasible = certificate.verdict is Judgement.INFEASIBLE
    if infeasible or not certificate.relative_gap <= tolerance:
        said = f"{certificate.verdict}, relative gap {certificate.relative_gap:.2e}, asked {tolerance:.0e}"
        _fail(f"the certificate proves less: {said}", problem, None if infeasible else candidate)


# -- reading -------------------------------------------------------------------------------------------------------


def _checked_classes(problem: Problem, classes: Iterable[int]) -> list[int]:
    """The classes as a list; ``ProblemError`` for one that the problem does not have."""
    return [class_index(k, problem.num_classes, f"collapsed has the entry {shown(k)}.") for k in classes]


def _candidate(problem: Problem, candidate: Judged) -> Candidate:
    require_problem(problem)
    problem.require_decays("assertions about candidates")
    if isinstance(candidate, Candidate):
        return candidate
    if isinstance(candidate, tuple) and len(candidate) == 2:
        return Candidate(weights=candidate[0], features=candidate[1], class_counts=problem.class_counts)
    raise CandidateError(
        f"the candidate is a {type(candidate).__name__}.",
        expected="a Candidate, or a pair (W, H) of a classifier and class means",
        fix="pass (W, H), or Candidate(weights=W, features=F, labels=y).",
    )


def _offset(problem: Problem, candidate: Candidate) -> FloatArray | None:
    """The bias in binary64, (K,), zeros where the candidate has none; None where the problem has none."""
    if problem.bias is None:
        return None
    return np.zeros(problem.num_outputs) if candidate.bias is None else np.asarray(candidate.bias, dtype=np.float64)


def _require_gradient(problem: Problem) -> None:
    """Raise ``HypothesisError`` for a loss whose minima lie at its kinks, where no one gradient says anything."""
    if not problem.loss.differentiable:
        raise HypothesisError(
            f"loss {problem.loss.name!r} is not differentiable.",
            expected="a loss whose gradient at W h is the multiplier",
            fix="use assert_certified or assert_optimal, which look for multipliers themselves.",
        )


def _read(problem: Problem, candidate: Judged) -> tuple[Candidate, FeatureStatistics]:
    """The candidate with its statistics; features that no candidate may have fail the assertion."""
    candidate = _candidate(problem, candidate)
    candidate = require_match(problem, candidate)
    try:
        statistics = feature_statistics(candidate)
    except CandidateError as error:
        raise AssertionError(error.got) from error
    if problem.nonnegative and statistics.negative_entries:
        row, column = statistics.smallest_at
        _fail(f"features[{row}, {column}] is {statistics.smallest:.3g}, where features are non-negative")
    for name, array in (("weights", candidate.weights), ("bias", candidate.bias)):
        if array is not None and (largest := float(np.abs(array).max())) > LARGEST_WEIGHT:
            _fail(f"{name} has an entry of absolute value {largest:.3g}: the training diverged")
    return candidate, statistics


def _certified(problem: Problem, candidate: Candidate | None, tolerance: float) -> Certificate:
    """The certificate; a candidate that holds what no candidate may hold fails the assertion."""
    try:
        return certify(problem, candidate, tolerance=tolerance)
    except CandidateError as error:
        raise AssertionError(error.got) from error


def _load(source: str | Path | bytes) -> Certificate:
    if not isinstance(source, bytes):
        return Certificate.load(source)
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.json"
        path.write_bytes(source)
        return Certificate.load(path)


def _masses(problem: Problem, means: FloatArray) -> FloatArray:
    masses: FloatArray = problem.lambda_h * problem.class_counts * (means * means).sum(axis=1)
    return masses


def _closed_form(problem: Problem) -> theory.Optimum | None:
    return None if theory.find(problem) is None else theory.optimum(problem)


# -- messages ------------------------------------------------------------------------------------------------------


def _classes(classes: list[int]) -> str:
    return ("class " if len(classes) == 1 else "classes ") + ", ".join(map(str, classes))


def _fail(message: str, problem: Problem | None = None, candidate: Judged | None = None) -> NoReturn:
    """Raise the ``AssertionError``, with the attribution of the gap where there is one."""
    table = ""
    if problem is not None and isinstance(candidate, Candidate):
        optimum = _closed_form(problem)
        if isinstance(optimum, theory.FrameOptimum):
            table = "\n" + _table(attribute_gap(problem, candidate))
    raise AssertionError(message + table)


def _table(found: GapAttribution) -> str:
    """The parts of a gap from the largest on, those below a thousandth left out."""
    lines = [f"f(W, H) = {found.candidate_value:.9g}, optimum {found.optimum:.9g}, gap {found.gap:.3g}, of which"]
    lines += [
        f"  {name:<17}  {found.totals[name]:9.3g}  {found.shares[name]:6.1%}  {_where(found, name)}"
        for name in sorted(found.totals, key=lambda part: -found.totals[part])
        if found.shares[name] >= 1e-3
    ]
    return "\n".join(line.rstrip() for line in lines)


def _where(found: GapAttribution, name: str) -> str:
    """The class or pair with the largest share of a part."""
    part = np.asarray(getattr(found, name))
    if part.ndim == 0:
        return ""
    place = [int(index) for index in np.unravel_index(part.argmax(), part.shape)]
    return ("mostly class " if len(place) == 1 else "mostly classes ") + " and ".join(map(str, place))
