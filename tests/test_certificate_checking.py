"""No certificate leaves ``certify`` that the independent verifier does not accept, whatever is asked of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import solving
from ufm_convex.certificate import certifying, checking, encoding
from ufm_convex.certificate.file import CertificateFile
from ufm_convex.cli import application
from ufm_convex.errors import CertificateError, FileFormatError, ProblemError, RangeError
from ufm_convex.methods import direct
from ufm_convex.solving import BELOW_BINARY64
from ufm_convex.verifier import Verdict

PLAIN = ufm.Problem([50, 10, 2], 2e-2, 2e-2)


def run(*arguments):
    return CliRunner().invoke(application(), [str(argument) for argument in arguments])


@pytest.fixture
def candidate():
    W, H = ufm.solve(PLAIN).factors()
    return ufm.Candidate(weights=W, features=H, class_counts=PLAIN.class_counts)


# -- planted faults -----------------------------------------------------------------------------------------------

FAULTS = {
    "lower bound": ("_rounded_bounds", lambda low, high: (high, high)),
    "upper bound": ("_rounded_bounds", lambda low, high: (low / 2, low * 3 / 4)),
    "verdict": ("_rounded_bounds", lambda low, high: (low, low / 2)),
}


@pytest.mark.parametrize("step", FAULTS)
def test_a_claim_that_is_not_proved_is_an_error_that_names_the_step(monkeypatch, step):
    name, fault = FAULTS[step]
    right = getattr(certifying, name)
    monkeypatch.setattr(certifying, name, lambda *arguments: fault(*right(*arguments)))
    with pytest.raises(CertificateError, match=f"step '{step}' REFUTED|step 'upper bound' REFUTED"):
        ufm.certify(PLAIN)


def test_a_wrong_dual_point_is_an_error(monkeypatch):
    right = certifying.encode_dual

    def wrong(*arguments):
        dual = right(*arguments)
        numbers = dual["strengths"]["integers"].split(" ")
        numbers[0] = str(2 * int(numbers[0]))
        return {**dual, "strengths": {**dual["strengths"], "integers": " ".join(numbers)}}

    monkeypatch.setattr(certifying, "encode_dual", wrong)
    with pytest.raises(CertificateError, match="step 'slack' REFUTED"):
        ufm.certify(PLAIN)


def test_a_malformed_certificate_is_an_error(monkeypatch):
    monkeypatch.setattr(certifying, "lemmas", lambda problem, kind: ["weak-duality"])
    with pytest.raises(CertificateError, match="malformed: not the lemmas"):
        ufm.certify(PLAIN)


def test_a_contrastive_certificate_is_checked_too(monkeypatch):
    from ufm_convex.certificate import contrastive_encoding as contrastive

    problem, right = ufm.ContrastiveProblem([5, 3], bound=1.0), contrastive.rounded
    monkeypatch.setattr(
        contrastive, "rounded", lambda number, bits, up: right(number if up else 2 * number, bits, up=up)
    )
    with pytest.raises(CertificateError, match="step 'lower bound' REFUTED"):
        ufm.certify(problem)
    features = ufm.ContrastiveCandidate(features=np.eye(2)[[0] * 5 + [1] * 3], labels=[0] * 5 + [1] * 3)
    with pytest.raises(CertificateError, match="step 'lower bound' REFUTED"):
        ufm.certify(problem, features)


def test_another_candidate_in_the_file_is_an_error(monkeypatch, candidate):
    other = ufm.Candidate(weights=candidate.weights, features=1.5 * candidate.features, class_counts=[50, 10, 2])
    right = certifying.encode_candidate
    monkeypatch.setattr(certifying, "encode_candidate", lambda _: right(other))
    with pytest.raises(CertificateError, match="step 'asked' REFUTED"):
        ufm.certify(PLAIN, candidate)


def test_what_was_refused_is_neither_printed_nor_written(monkeypatch, tmp_path):
    right = certifying._rounded_bounds
    monkeypatch.setattr(certifying, "_rounded_bounds", lambda *arguments: (right(*arguments)[1],) * 2)
    target = tmp_path / "c.json"
    for command in ("certify", "solve"):
        result = run(
            command, "--class-counts", "50,10,2", "--lambda-w", "2e-2", "--lambda-h", "2e-2", "-o", target, "--json"
        )
        assert result.exit_code != 0
        assert "step 'lower bound' REFUTED" in result.stderr
        assert not target.exists()
    assert run("certify", "--class-counts", "50,10,2", "--lambda-w", "2e-2", "--lambda-h", "2e-2").stdout == ""


# -- candidates in files of their own ------------------------------------------------------------------------------


def test_the_second_pass_over_a_large_candidate_is_asked_for(monkeypatch, candidate):
    """Without it the steps about the candidate stay open; with it a wrong objective is found."""
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    right = certifying.candidate_claims

    def wrong(*arguments):
        claims = right(*arguments)
        return {**claims, "objective": {**claims["objective"], "upper": claims["objective"]["lower"]}}

    assert ufm.certify(PLAIN, candidate, recheck=True).verdict == "optimal"
    monkeypatch.setattr(certifying, "candidate_claims", wrong)
    with pytest.raises(CertificateError, match="step"):
        ufm.certify(PLAIN, candidate, recheck=True)
    seen = []
    monkeypatch.setattr(checking, "verify", lambda data, arrays: seen.append(arrays) or real(data, arrays))
    monkeypatch.setattr(certifying, "candidate_claims", right)
    ufm.certify(PLAIN, candidate)
    ufm.certify(PLAIN, candidate, recheck=True)
    assert [arrays is None for arrays in seen] == [True, False]


real = checking.verify


def test_recheck_on_the_command_line(candidate, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    path = tmp_path / "candidate.npz"
    np.savez(path, **candidate.arrays())
    arguments = ["certify", path, "--lambda-w", "2e-2", "--lambda-h", "2e-2"]
    assert run(*arguments, "--recheck").exit_code == 0
    monkeypatch.setattr(checking, "verify", lambda data, arrays: replace(real(data, arrays), steps=(REFUSED,)))
    result = run(*arguments, "--recheck")
    assert (result.exit_code, result.stdout) == (1, "")  # no fault of the input
    with pytest.raises(ProblemError, match="no candidate"):
        ufm.certify(PLAIN, recheck=True)


REFUSED = ufm.verify(ufm.certify(PLAIN).to_json().encode()).steps[0].__class__("objective from above", Verdict.REFUTED)


# -- files --------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_back(monkeypatch, tmp_path):
    certificate, path = ufm.certify(PLAIN), tmp_path / "c.json"
    certificate.save(path)
    assert path.read_bytes() == certificate.to_json().encode()
    monkeypatch.setattr(Path, "read_bytes", lambda self: b"{}")
    with pytest.raises(FileFormatError, match="does not hold what was written"):
        certificate.save(path)


# -- penalties and scales, from one end of binary64 to the other ---------------------------------------------------

FAINT = [1e-14, 2e-15, 1e-15, 1e-16, 1e-25, 1e-60, 1e-200, 5e-324]
LOSSES = [
    ufm.CrossEntropy(),
    ufm.CrossEntropy(class_weights=[1.0, 2.0, 0.3], smoothing=0.1),
    ufm.MeanSquaredError(),
    ufm.BinaryCrossEntropy(),
    ufm.MulticlassHinge("crammer-singer"),
    ufm.LogitAdjustedCrossEntropy(shift=[0.0, 0.1, 0.2], scale=[1.0, 2.0, 3.5]),
]


@pytest.mark.parametrize("weight", FAINT)
def test_a_faint_penalty_of_the_bias_is_certified_as_closely_as_a_free_bias(weight):
    """On both sides of the weight below which the dual point is that of a free bias, 1e-15."""
    counts, decays = [100, 10, 10], (1e-3, 1e-2)
    # a tenth of what is compared below: at 1e-6 the first run that is good enough ends the search
    free = ufm.certify(ufm.Problem(counts, *decays, bias="free"), tolerance=1e-10)
    found = ufm.certify(ufm.Problem(counts, *decays, bias=weight), tolerance=1e-10)
    assert found.verdict == "optimal"
    assert ufm.verify(found.to_json().encode()).verdict is Verdict.PROVED
    # the penalty raises the optimum by no more than itself at the free bias, of size below 10: under 1e-12
    assert found.lower == pytest.approx(free.lower, rel=1e-9)
    assert found.upper >= free.lower


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name} {len(loss.parameters())}")
@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("weight", [1e-17, 1e-300])
def test_every_loss_is_certified_with_a_faint_bias(loss, features, weight):
    problem = ufm.Problem([100, 10, 5], 1e-3, 1e-2, loss=loss, features=features, bias=weight)
    certificate = ufm.certify(problem)
    assert certificate.verdict == "optimal"
    assert ufm.verify(certificate.to_json().encode(), problem=problem).verdict is Verdict.PROVED


def test_the_command_line_certifies_what_it_verifies(tmp_path):
    target = tmp_path / "c.json"
    arguments = ["--class-counts", "100,10,10", "--lambda-w", "1e-3", "--lambda-h", "1e-2", "--bias", "1e-15"]
    assert run("certify", *arguments, "-o", target).exit_code == 0
    assert run("verify", target).exit_code == 0


EXTREME = [1e-300, 1e-160, 1e-20, 1e20, 1e160, 1e300]


@pytest.mark.parametrize(
    "loss", [loss for loss in LOSSES if "scale" not in loss.parameters()], ids=lambda loss: loss.name
)
@pytest.mark.parametrize("lambda_h", EXTREME)
def test_extreme_decays_are_certified_or_named(loss, lambda_h):
    for lambda_w in (lambda_h, 1.0 / lambda_h):
        problem = ufm.Problem([5, 3, 2], lambda_w, lambda_h, loss=loss)
        try:
            certificate = ufm.certify(problem)
        except RangeError:
            assert lambda_w == lambda_h  # the product of the two is 1e±320 or more
            continue
        assert ufm.verify(certificate.to_json().encode()).verdict is Verdict.PROVED
        if lambda_w != lambda_h or lambda_h == 1e20:  # a product of 1, or one that leaves nothing but zero
            assert certificate.verdict == "optimal"


@pytest.mark.parametrize("loss", LOSSES[2:5], ids=lambda loss: loss.name)
def test_heavy_decays_leave_the_loss_at_zero(loss):
    """W = H = 0 is optimal, whatever the decays: ½, K log 2 and 1 are the losses at zero logits."""
    value = {"mean-squared-error": 0.5, "binary-cross-entropy": 2 * np.log(2.0), "multiclass-hinge": 1.0}[loss.name]
    certificate = ufm.certify(ufm.Problem([3, 2], 1e100, 1e100, loss=loss))
    assert certificate.verdict == "optimal"
    # the margin for rounding that a dense proof buys is a few 1e-14
    assert certificate.lower == pytest.approx(value, rel=1e-12)
    beyond = ufm.certify(ufm.Problem([3, 2], 1e200, 1e200, loss=loss))  # where σ² is infinite
    assert ufm.verify(beyond.to_json().encode()).verdict is Verdict.PROVED
    assert beyond.lower <= value <= beyond.upper * (1 + 1e-15)


@pytest.mark.parametrize("radius", [1e3, 1e4, 1e6, 1e30, 1e150])
def test_an_optimum_below_binary64_is_certified_and_said(radius):
    """The frame with ‖w‖² = ‖h‖² = E has margins of E and more, so the optimum is below K e^{−E}."""
    problem = ufm.Problem([1, 1, 2, 2, 1, 2, 3], constraint=ufm.LayerPeeled(radius, radius))
    solution = ufm.solve(problem)
    assert (solution.lower_bound, solution.upper_bound) == (0.0, 5e-324)
    assert solution.route[-1] == BELOW_BINARY64
    certificate = ufm.certify(problem, solution=solution)
    assert ufm.verify(certificate.to_json().encode()).verdict is Verdict.PROVED
    printed = run(
        "solve",
        "--class-counts",
        "1,1,2",
        "--constraint",
        f"layer-peeled:weight_radius={radius},feature_radius={radius}",
    )
    assert "where binary64 ends" in " ".join(printed.stdout.split())


def test_an_optimum_within_binary64_is_certified_and_nothing_is_said():
    """The other side of the threshold: about e^{−430} is a normal number."""
    problem = ufm.Problem([1, 1, 2, 2, 1, 2, 3], constraint=ufm.LayerPeeled(400, 400))
    solution = ufm.solve(problem)
    assert solution.status == "certified"
    assert BELOW_BINARY64 not in solution.route
    assert ufm.certify(problem, solution=solution).verdict == "optimal"


def test_a_search_that_ends_before_the_optimum_says_why():
    problem = ufm.Problem([1, 1, 2, 2, 1, 2, 3], constraint=ufm.LayerPeeled(600, 600))
    solution = ufm.solve(problem)
    assert 0.0 == solution.lower_bound < solution.upper_bound < 1e-200
    assert "no smaller μ is tried" in solution.route[-1]
    assert ufm.certify(problem, solution=solution).verdict == "undecided"


def test_faults_of_a_solver_within_the_range_are_not_explained_away(monkeypatch):
    def breaks(*arguments):
        raise OverflowError("a fault")
        yield

    monkeypatch.setattr(direct, "_runs", breaks)
    with pytest.raises(OverflowError, match="a fault"):
        ufm.solve(PLAIN)
    with pytest.raises(RangeError):
        ufm.solve(ufm.Problem([3, 2], 1e-200, 1e-200))


def test_norm_bounds_and_a_loss_that_tells_classes_apart_are_certified():
    loss = ufm.LogitAdjustedCrossEntropy(shift=[0.0, 0.5])
    certificate = ufm.certify(ufm.Problem([3, 3], loss=loss, constraint=ufm.LayerPeeled(2.0, 3.0)))
    assert (certificate.verdict, certificate.proof) == ("optimal", "dense")


def test_certificates_of_every_kind_say_their_text_without_a_candidate():
    problem = ufm.ContrastiveProblem([5, 3], bound=1.0)
    features = ufm.ContrastiveCandidate(features=np.eye(2)[[0] * 5 + [1] * 3], labels=[0] * 5 + [1] * 3)
    judged = ufm.certify(problem, features)
    assert isinstance(judged, CertificateFile)
    assert json.loads(judged.text())["claims"] == json.loads(ufm.certify(problem).to_json())["claims"]


# -- before the work, and the exit code after it ----------------------------------------------------------------------


def _counted(monkeypatch):
    """The problems that are solved from now on."""
    solved, right = [], solving.solve
    monkeypatch.setattr(
        solving, "solve", lambda problem, **settings: (solved.append(problem), right(problem, **settings))[1]
    )
    return solved


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["{candidate}", "--bias", "free", "--digits", "20"], "HypothesisError: the problem has a bias"),
        (["{candidate}", "--feature-dim", "2"], "ShapeError"),
        (["--class-counts", "50,10,2", "--recheck"], "ProblemError: recheck"),
        (["--class-counts", "50,10,2", "--digits", "30", "--features", "free"], "HypothesisError"),
        (["--class-counts", "50,10,2", "--digits", "99999"], "SizeError"),
        (["--class-counts", "50,10,2", "--digits", "0"], "digits"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_it_is_solved(monkeypatch, tmp_path, candidate, arguments, error):
    path = tmp_path / "trained.npz"
    np.savez(path, **candidate.arrays())
    solved = _counted(monkeypatch)
    given = [argument.format(candidate=path) for argument in arguments]
    result = run("certify", *given, "--lambda-w", "2e-2", "--lambda-h", "2e-2", "-o", tmp_path / "c.json")
    assert (result.exit_code, result.stdout, solved) == (2, "", [])
    assert error in result.stderr
    assert not (tmp_path / "c.json").exists()


def test_what_can_be_is_solved_once(monkeypatch, tmp_path):
    for more in ([], ["--digits", "20"]):
        solved = _counted(monkeypatch)
        result = run("certify", "--class-counts", "50,10,2", "--lambda-w", "2e-2", "--lambda-h", "2e-2", *more)
        assert (result.exit_code, len(solved)) == (0, 1)
