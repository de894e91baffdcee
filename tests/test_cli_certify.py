"""``ufm-convex certify`` and ``verify``: verdicts, exit codes, one JSON object, files whole or not at all."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ufm_convex import theory
from ufm_convex.attribution import PARTS
from ufm_convex.cli import application
from ufm_convex.problem import Problem
from ufm_convex.solving import solve

PROBLEM = Problem([40, 20, 8, 2], 0.02, 0.01)
DECAYS = ["--lambda-w", "0.02", "--lambda-h", "0.01"]
Y = np.repeat(np.arange(4), PROBLEM.class_counts)


def run(*arguments):
    return CliRunner().invoke(application(), [str(argument) for argument in arguments])


@pytest.fixture
def candidate(tmp_path):
    """Writes a candidate made from the optimum by a change, and returns its path."""

    def write(change=lambda W, F: (W, F), **arrays):
        W, H = theory.optimum(PROBLEM).factors()
        W, F = change(W, H[Y])
        path = tmp_path / "candidate.npz"
        np.savez(path, **({"weights": W, "features": F, "labels": Y} | arrays))
        return path

    return write


def negative(W, F):
    F = F.copy()
    F[7, 2] = -0.25
    return W, F


@pytest.mark.parametrize(
    ("change", "verdict", "code"),
    [
        (lambda W, F: (W, F), "optimal", 0),
        (lambda W, F: (1.1 * W, F), "suboptimal", 1),
        (lambda W, F: (np.zeros_like(W), np.zeros_like(F)), "suboptimal", 1),
        (negative, "infeasible", 1),
    ],
)
def test_verdicts_and_exit_codes(candidate, tmp_path, change, verdict, code):
    certificate = tmp_path / "c.json"
    result = run("certify", candidate(change), *DECAYS, "--json", "-o", certificate)
    assert result.exit_code == code, result.stderr
    record = json.loads(result.stdout)  # exactly one object
    assert record["verdict"] == verdict
    checked = run("verify", certificate, "--json")
    assert (checked.exit_code, json.loads(checked.stdout)["verdict"]) == (0, "PROVED")


def test_attribution_sums_to_the_gap(candidate):
    record = json.loads(run("certify", candidate(lambda W, F: (1.2 * W, 0.9 * F)), *DECAYS, "--json").stdout)
    assert tuple(record["attribution"]) == PARTS
    assert min(record["attribution"].values()) >= 0.0
    gap = record["candidate_value"] - theory.optimum(PROBLEM).value
    assert sum(record["attribution"].values()) == pytest.approx(gap, rel=1e-12)
    assert record["candidate_gap"]["lower"] <= gap <= record["candidate_gap"]["upper"]


def test_without_a_theorem_the_parts_are_those_over_the_proved_optimum(candidate):
    """The optimum among features ≥ 0 is not the optimum among all, which Clarabel's programme gives within 1e-9."""
    record = json.loads(run("certify", candidate(), *DECAYS, "--features", "free", "--json").stdout)
    assert (record["verdict"], tuple(record["attribution"])) == ("suboptimal", PARTS)
    assert record["dead_classes"] == []
    assert record["candidate_value"] == pytest.approx(theory.optimum(PROBLEM).value, rel=1e-12)
    free = Problem(PROBLEM.class_counts, PROBLEM.lambda_w, PROBLEM.lambda_h, features="free")
    best = solve(free, solver="clarabel", level="class", tolerance=1e-8).value
    gap = record["candidate_value"] - best
    assert sum(record["attribution"].values()) == pytest.approx(gap, rel=1e-6)
    assert record["attribution"]["non_orthogonality"] == 0.0  # with free features T = 0


def test_a_candidate_known_by_its_digest_is_checked_from_its_file(candidate, tmp_path, monkeypatch):
    import ufm_convex.certificate.encoding as encoding

    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 10)
    path, certificate = candidate(), tmp_path / "c.json"
    assert run("certify", path, *DECAYS, "-o", certificate).exit_code == 0
    assert run("verify", certificate).exit_code == 3  # the arrays are not at hand
    assert run("verify", certificate, "--candidate", path).exit_code == 0
    candidate(lambda W, F: (W, 1.01 * F))
    assert run("verify", certificate, "--candidate", path).exit_code == 1  # it is not the one that was asked


def test_the_place_of_a_negative_feature_is_named(candidate):
    path = candidate(negative)
    record = json.loads(run("certify", path, *DECAYS, "--json").stdout)
    assert record["violation"] == {"row": 7, "column": 2, "value": -0.25}
    assert (record["attribution"], record["candidate_gap"]) == (None, None)
    assert "features[7, 2] = -0.25" in run("certify", path, *DECAYS).stdout


def test_people_see_the_parts_and_the_class(candidate):
    def dead(W, F):
        W, F = W.copy(), F.copy()
        W[:, 1], F[Y == 1] = 0.0, 0.0
        return W, F

    printed = run("certify", candidate(dead), *DECAYS).stdout
    assert "suboptimal: proved" in printed
    assert "calibration" in printed
    assert "most of it: class 1" in printed
    assert "class 1 is dead" in " ".join(printed.split())
    record = json.loads(run("certify", candidate(dead), *DECAYS, "--json").stdout)
    assert record["dead_classes"] == [
        {"class": 1, "cost": pytest.approx(record["attribution"]["calibration"], rel=1e-9)}
    ]
    alive = json.loads(run("certify", candidate(), *DECAYS, "--json").stdout)
    assert alive["dead_classes"] == []


def test_digits():
    result = run("certify", "--class-counts", "40,20,8,2", *DECAYS, "--digits", 60, "--json")
    assert result.exit_code == 0
    digits = json.loads(result.stdout)["digits"]
    assert digits["lower"][:-1] == digits["upper"][:-1]
    assert len(digits["lower"].lstrip("0.")) == 60
    assert float(digits["lower"]) == pytest.approx(theory.optimum(PROBLEM).value, rel=1e-15)


def test_a_problem_file_and_a_candidate_in_either_order(candidate, tmp_path):
    path, toml = candidate(), tmp_path / "problem.toml"
    PROBLEM.save(toml)
    assert run("certify", toml, path).exit_code == run("certify", path, toml).exit_code == 0
    assert run("certify", toml, toml).exit_code == 2


def test_solve_writes_a_certificate_that_verifies(tmp_path):
    path = tmp_path / "c.json"
    for solver in ("auto", "scs", "clarabel"):
        assert run("solve", "--class-counts", "40,20,8,2", *DECAYS, "--solver", solver, "-o", path).exit_code == 0
        checked = run("verify", path)
        assert checked.exit_code == 0
        assert checked.stdout.splitlines()[-1].startswith("PROVED")


def test_a_raised_bound_is_refuted_and_a_changed_file_malformed(tmp_path):
    from ufm_convex.certificate.encoding import seal

    path = tmp_path / "c.json"
    run("solve", "--class-counts", "40,20,8,2", *DECAYS, "-o", path)
    document = json.loads(path.read_text())
    content = {key: value for key, value in document.items() if key not in ("digest", "provenance")}
    content["claims"]["lower"] = content["claims"]["upper"]
    path.write_text(json.dumps(seal(content, document["provenance"])))
    assert run("verify", path).exit_code == 1  # sealed again, and still not proved
    path.write_text(json.dumps({**content, "digest": document["digest"], "provenance": {}}))
    assert run("verify", path).exit_code == 2
    path.write_text("{")
    result = run("verify", path, "--json")
    assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (2, "MALFORMED")
    assert run("verify", tmp_path / "missing.json").exit_code == 2


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"features": np.full((70, 4), np.nan)}, "nan"),
        ({"features": np.ones((4, 70))}, "features.T"),
        ({"labels": np.full(70, 9)}, "labels run up to 9"),
        ({"labels": Y.astype(float)}, "labels"),
    ],
)
def test_bad_candidates_are_named(candidate, tmp_path, arrays, words):
    output = tmp_path / "c.json"
    result = run("certify", candidate(**arrays), *DECAYS, "-o", output)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not output.exists()


def test_counts_that_contradict_the_labels_are_refused(candidate):
    result = run("certify", candidate(), "--class-counts", "41,20,8,2", *DECAYS)
    assert result.exit_code == 2
    assert "CountsError" in result.stderr


def test_the_optimum_and_the_candidate_have_numbers_of_their_own(candidate):
    optimum = theory.optimum(PROBLEM).value
    record = json.loads(run("certify", candidate(lambda W, F: (1.1 * W, F)), *DECAYS, "--json").stdout)
    assert (record["verdict"], record["status"]) == ("suboptimal", "certified")
    assert record["lower_bound"] <= optimum * (1 + 1e-15)
    assert optimum * (1 - 1e-15) <= record["upper_bound"] < record["candidate_value"]
    assert record["relative_gap"] <= 1e-6
    about = record["candidate"]
    assert about["value_low"] <= record["candidate_value"] <= about["value_high"]
    assert about["gap_low"] <= record["candidate_value"] - optimum <= about["gap_high"]
    assert about["gap_low"] > 0.0
    assert about["relative_gap"] == (about["value_high"] - record["lower_bound"]) / about["value_high"]


def test_a_candidate_that_has_no_objective_has_null_numbers(candidate):
    about = json.loads(run("certify", candidate(negative), *DECAYS, "--json").stdout)["candidate"]
    assert about == dict.fromkeys(("value_low", "value_high", "gap_low", "gap_high", "relative_gap"))


@pytest.mark.parametrize("more", [[], ["--digits", 40]])
def test_without_a_candidate_the_bounds_are_those_of_the_optimum(more):
    record = json.loads(run("certify", "--class-counts", "40,20,8,2", *DECAYS, "--json", *more).stdout)
    optimum = theory.optimum(PROBLEM).value
    assert record["lower_bound"] <= optimum * (1 + 1e-15)
    assert record["upper_bound"] >= optimum * (1 - 1e-15)
    assert (record["status"], record["candidate"]) == ("certified", None)


def test_the_status_is_that_of_the_optimum_even_where_it_is_not_reached(candidate):
    record = json.loads(
        run("certify", candidate(), *DECAYS, "--solver", "scs", "--tolerance", "1e-13", "--json").stdout
    )
    assert record["relative_gap"] == (record["upper_bound"] - record["lower_bound"]) / record["upper_bound"]
    assert (record["status"] == "certified") == (record["relative_gap"] <= 1e-13)


def test_effective_decays_are_taken_when_asked_for_by_their_word(candidate):
    """At the optimum of a problem they are its decays; λ_W alone may be stated, and is then the one that is used."""
    record = json.loads(run("certify", candidate(), "--decays", "effective", "--json").stdout)
    found = record["decays"]
    assert set(found) == {"lambda_w", "lambda_h", "lambda_b", "misfit_w", "misfit_h", "spread", "excess"}
    assert (found["lambda_w"], found["lambda_h"]) == pytest.approx((0.02, 0.01), rel=1e-9)
    assert record["verdict"] == "optimal"
    stated = json.loads(run("certify", candidate(), "--lambda-w", "0.04", "--decays", "effective", "--json").stdout)
    assert stated["decays"] == found
    assert stated["verdict"] == "suboptimal"
    assert json.loads(run("certify", candidate(), *DECAYS, "--json").stdout)["decays"] is None  # never silently
    assert "effective decays  λ_W = 0.02, λ_H = 0.01" in run("certify", candidate(), "--decays", "effective").stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lambda-w", "0.1"], "--lambda-h is not given"),
        (["--lambda-w", "0.1"], "or --decays effective"),
        (["--decays", "effective", "--lambda-h", "0.1"], "given with --lambda-h"),
        (["--decays", "effective", "--constraint", "layer-peeled:weight_radius=1,feature_radius=5"], "--constraint"),
        (["--decays", "guessed"], "--decays is 'guessed'"),
    ],
)
def test_decays_that_are_not_asked_for_rightly_are_refused(candidate, options, words):
    result = run("certify", candidate(), *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_candidate_of_which_no_decays_are_effective_is_refused(candidate):
    result = run("certify", candidate(lambda W, F: (-W, F)), "--decays", "effective")
    assert result.exit_code == 2
    assert "no decay > 0 fits" in result.stderr
