"""Certificates: claims, verdicts on candidates, digits, files, and what solvers overstate."""

from __future__ import annotations

import json
import math
import re
from fractions import Fraction
from importlib import resources

import numpy as np
import pytest
from certificate_cases import (
    FREE,
    PLAIN,
    WEIGHTED,
    base_certificates,
    loss_certificates,
    model_certificates,
    resealed,
    text,
)
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex.candidate import Candidate
from ufm_convex.certificate import Certificate, Judgement, certify, encoding
from ufm_convex.errors import CountsError, FileFormatError, HypothesisError, ProblemError, UFMError
from ufm_convex.problem import Problem
from ufm_convex.solving import solve
from ufm_convex.verifier import Verdict, verify

SCHEMA = json.loads((resources.files("ufm_convex") / "schema" / "certificate-v1.schema.json").read_text())


def proved(certificate):
    return verify(certificate.to_json().encode()).verdict is Verdict.PROVED


# -- encoding -----------------------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_dyadic_numbers_come_back(value):
    text_ = encoding.dyadic(value)
    assert encoding.undyadic(text_) == Fraction(value)
    assert int(text_.split("p")[0]) % 2 == 1 or text_ == "0p0"


@given(st.fractions(), st.integers(2, 80))
def test_rounding_is_outwards_and_near(number, bits):
    down, up = (encoding.rounded(number, bits, up=up) for up in (False, True))
    assert down <= number <= up
    assert up - down <= abs(number) / 2 ** (bits - 2)


@pytest.mark.parametrize("problem", [PLAIN, WEIGHTED, FREE, Problem([7] * 9 + [3], 1e-300, 1e3, feature_dim=12)])
def test_problems_come_back(problem):
    assert encoding.decode_problem(encoding.encode_problem(problem)) == problem


# -- the optimum --------------------------------------------------------------------------------------------------


def test_the_optimum_of_a_million_classes_is_a_small_file():
    counts = np.repeat([500, 100, 20, 5, 1], 200_000)
    certificate = certify(Problem(counts, 1e-7, 1e-7))
    assert certificate.verdict is Judgement.OPTIMAL
    assert certificate.relative_gap < 1e-12
    assert len(certificate.to_json()) < 4000
    assert proved(certificate)


@pytest.mark.parametrize("proof", ["diagonal", "group", "dense"])
def test_the_proof_can_be_chosen(proof):
    problem = Problem([9, 9, 4, 2], 1e-2, 1e-2)
    certificate = certify(problem, proof=proof)
    assert certificate.proof == proof
    assert certificate.verdict is Judgement.OPTIMAL
    assert proved(certificate)


@pytest.mark.parametrize(("solver", "options"), [("clarabel", {}), ("scs", {"eps_abs": 1e-2, "eps_rel": 1e-2})])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_any_solver_run_becomes_a_certificate(solver, options, features):
    problem = Problem([30, 30, 9, 3], 5e-3, 5e-3, features=features)
    solution = solve(problem, solver=solver, options=options)
    certificate = certify(problem, solution=solution)
    assert proved(certificate)
    above = float(certificate.provenance["solver_dual_above_lower"])
    assert above == pytest.approx(solution.run.dual_value - certificate.lower, abs=1e-15)
    overstated = float(certificate.provenance["solver_dual_overstatement"])
    assert overstated == max(0.0, solution.run.dual_value - certificate.upper) or overstated < 1e-15


def test_a_solution_of_another_problem_is_refused():
    with pytest.raises(ProblemError, match="another problem"):
        certify(PLAIN, solution=solve(FREE))


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1e-3, math.nan, "1e-6"])
def test_tolerances_are_checked(tolerance):
    with pytest.raises(ProblemError, match="tolerance"):
        certify(PLAIN, tolerance=tolerance)


# -- digits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [10, 50, 300])
def test_digits(digits):
    certificate = certify(WEIGHTED, digits=digits)
    lower, upper = certificate.decimals(digits)
    assert proved(certificate)
    low, high = certificate.optimum_enclosure
    assert Fraction(lower) <= low < high <= Fraction(upper)
    assert (high - low) * 10**digits < high


def test_digits_and_solutions_exclude_each_other():
    with pytest.raises(ProblemError, match="digits"):
        certify(PLAIN, solution=solve(PLAIN), digits=20)
    with pytest.raises(HypothesisError):
        certify(FREE, digits=20)


# -- candidates ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def factors():
    W, H = solve(PLAIN).factors()
    y = np.repeat(np.arange(3), PLAIN.class_counts)
    return W, H[y], y


def test_an_optimal_candidate(factors):
    W, F, y = factors
    certificate = certify(PLAIN, Candidate(weights=W, features=F, labels=y))
    assert certificate.verdict is Judgement.OPTIMAL
    assert certificate.candidate_gap[0] == 0.0
    assert proved(certificate)


def test_a_suboptimal_candidate_and_by_how_much(factors):
    W, F, y = factors
    candidate = Candidate(weights=2 * W, features=F, labels=y)
    certificate = certify(PLAIN, candidate)
    low, high = certificate.candidate_gap
    assert certificate.verdict is Judgement.SUBOPTIMAL
    logits = F @ (2 * W).T
    loss = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(y.size), y])
    f = loss + PLAIN.lambda_w / 2 * (4 * W**2).sum() + PLAIN.lambda_h / 2 * (F**2).sum()
    assert low <= f - certificate.lower <= high * (1 + 1e-9)
    assert high - low < 1e-9 * f
    assert proved(certificate)


def test_an_infeasible_candidate_and_where(factors):
    W, F, y = factors
    F = F.copy()
    F[17, 1] = -0.25
    certificate = certify(PLAIN, Candidate(weights=W, features=F, labels=y))
    assert certificate.verdict is Judgement.INFEASIBLE
    assert certificate.violation == (17, 1, -0.25)
    assert certificate.candidate_gap is None
    assert proved(certificate)


def test_an_undecided_candidate(factors):
    """A tolerance finer than the bounds: neither optimal nor above the upper bound."""
    W, F, y = factors
    certificate = certify(PLAIN, Candidate(weights=W, features=F, labels=y), solution=solve(PLAIN), tolerance=1e-17)
    assert certificate.verdict is Judgement.UNDECIDED
    assert proved(certificate)


def test_other_counts_are_refused(factors):
    W, F, y = factors
    with pytest.raises(CountsError):
        certify(Problem([49, 11, 2], 2e-2, 2e-2), Candidate(weights=W, features=F, labels=y))


@pytest.mark.parametrize("features", ["float32", "float64"])
def test_candidates_kept_elsewhere(factors, features, monkeypatch):
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    W, F, y = factors
    arrays = {"weights": 1.1 * W, "features": F.astype(features), "labels": y}
    certificate = certify(PLAIN, Candidate(**arrays))
    data = certificate.to_json().encode()
    assert len(data) < 4000
    alone = verify(data)
    assert alone.verdict is Verdict.INCONCLUSIVE
    assert {step.name for step in alone.steps if step.verdict is not Verdict.PROVED} == {"candidate"}
    assert verify(data, arrays).verdict is Verdict.PROVED
    high = certificate.content["claims"]["candidate"]["objective"]
    width = encoding.undyadic(high["upper"]) - encoding.undyadic(high["lower"])
    assert width < Fraction(1e-9) * encoding.undyadic(high["upper"])


def test_a_false_claim_about_a_candidate_kept_elsewhere_is_refuted(factors, monkeypatch):
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    W, F, y = factors
    arrays = {"weights": W, "features": F, "labels": y}
    document = json.loads(certify(PLAIN, Candidate(**arrays)).to_json())
    claims = document["claims"]
    for moved, step in (("1p-9", "objective from above"), ("1p9", "objective from below")):
        claims["candidate"]["objective"] = {"lower": moved, "upper": moved}
        found = {step.name: step.verdict for step in verify(text(resealed(document)), arrays).steps}
        assert found[step] is Verdict.REFUTED


# -- files --------------------------------------------------------------------------------------------------------


def test_files_come_back(tmp_path):
    for certificate in {**base_certificates(), **loss_certificates(), **model_certificates()}.values():
        certificate.save(tmp_path / "c.json")
        again = Certificate.load(tmp_path / "c.json")
        assert again.to_json() == certificate.to_json()
        assert (again.lower, again.upper, again.verdict) == (certificate.lower, certificate.upper, certificate.verdict)
        assert again.problem == certificate.problem


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "ufm-convex-certificate", "version": 2}', "\x00"])
def test_other_files_are_not_loaded(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(FileFormatError, match="cannot be loaded"):
        Certificate.load(tmp_path / "c.json")


def test_an_altered_file_is_not_loaded(tmp_path):
    (tmp_path / "c.json").write_text(certify(PLAIN).to_json().replace("optimal", "undecided"))
    with pytest.raises(FileFormatError, match="digest"):
        Certificate.load(tmp_path / "c.json")


def fits(value, schema):
    """Whether a value fits a schema, for the keywords that ours uses."""
    if "$ref" in schema:
        return fits(value, SCHEMA["$defs"][schema["$ref"].split("/")[-1]])
    if "anyOf" in schema or "oneOf" in schema:
        found = [fits(value, option) for option in schema.get("anyOf", schema.get("oneOf"))]
        chosen = any(found) if "anyOf" in schema else sum(found) == 1
        if "type" not in schema or not chosen:
            return chosen
    if set(schema) == {"required"}:
        return set(schema["required"]) <= set(value)
    if "const" in schema:
        return value == schema["const"]
    if "enum" in schema:
        return value in schema["enum"]
    if schema["type"] == "object":
        properties, other = schema.get("properties", {}), schema["additionalProperties"]
        if not isinstance(value, dict) or not set(schema.get("required", ())) <= set(value):
            return False
        if any(
            not set(with_it) <= set(value)
            for key, with_it in schema.get("dependentRequired", {}).items()
            if key in value
        ):
            return False
        return all(
            fits(inner, properties[key]) if key in properties else other is not False and fits(inner, other)
            for key, inner in value.items()
        )
    if schema["type"] == "array":
        first = schema.get("prefixItems", ())
        if isinstance(value, list) and not schema.get("minItems", 0) <= len(value) <= schema.get(
            "maxItems", len(value)
        ):
            return False
        kinds = [*first, *[schema.get("items")] * (len(value) - len(first))] if isinstance(value, list) else []
        return isinstance(value, list) and all(fits(inner, kind) for inner, kind in zip(value, kinds, strict=True))
    if schema["type"] == "integer":
        inside = isinstance(value, int) and not isinstance(value, bool)
        return inside and schema.get("minimum", value) <= value <= schema.get("maximum", value)
    if schema["type"] == "null":
        return value is None
    return isinstance(value, str) and bool(re.search(schema.get("pattern", ""), value))


def test_every_certificate_fits_the_published_schema():
    for name, certificate in {**base_certificates(), **loss_certificates(), **model_certificates()}.items():
        document = json.loads(certificate.to_json())
        assert fits(document, SCHEMA), name
        assert not fits({**document, "unknown": 1}, SCHEMA)
        assert not fits({**document, "version": 2}, SCHEMA)
        for loss in ({"name": "focal"}, {**document["problem"]["loss"], "margin": "1p0"}, {}):
            assert not fits({**document, "problem": {**document["problem"], "loss": loss}}, SCHEMA)
        assert not fits({**document, "claims": {**document["claims"], "lower": 0.5}}, SCHEMA)
        for present in ("lambda_w", "weight_radius"):
            swapped = {"lambda_w": "1p0", "weight_radius": "1p0"}
            problem = {**document["problem"], present: swapped[present]}
            assert fits({**document, "problem": problem}, SCHEMA) == (present in document["problem"]), name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"candidate": "x"}, "candidate is a str"),
        ({"digits": "5"}, "digits is '5'"),
        ({"digits": 2.5}, "digits is 2.5"),
        ({"proof": "bogus"}, "proof is 'bogus'"),
        ({"tolerance": 2.0}, "tolerance is 2.0"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(UFMError, match=re.escape(words)):
        certify(Problem([5, 4, 3], 0.01, 0.01), **arguments)


def test_rounding_for_the_fast_path_never_costs_the_verdict():
    """K ≥ 64: the lower bound is rounded to 36 bits, but not where that would cross the tolerance."""
    problem = Problem(list(range(100, 170)), 1e-3, 1e-3, features="free")
    solution = solve(problem, solver="factored", tolerance=1e-8)
    gap = solution.relative_gap
    verdicts = {certify(problem, solution=solution, tolerance=t).verdict for t in (1.01 * gap, 1.3 * gap, 100.0 * gap)}
    assert verdicts == {"optimal"}
