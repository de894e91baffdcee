"""Certificate files of the contrastive problem: they come back, are verified, and forged ones are not believed."""

import json
import re
from dataclasses import replace
from fractions import Fraction

import naive_contrastive
import numpy as np
import pytest
from certificate_cases import alterations, replaced, resealed, sha256, text
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_certificate import SCHEMA, fits

import ufm_convex as ufm
from ufm_convex import errors
from ufm_convex.certificate.contrastive_encoding import encode
from ufm_convex.contrastive import ContrastiveDual, ContrastivePoint
from ufm_convex.verifier import MalformedCertificate, verify

BOUND = ufm.ContrastiveProblem([4, 3, 2, 1], bound=2.0, temperature=0.5)
PENALTY = ufm.ContrastiveProblem([4, 3, 3, 1], lambda_h=0.375, temperature=0.5)  # a = 3/32, as is the s of a class


def certificates():
    """Name → certificate; bound and penalty, active and collapsed, from theory and from a solver, both verdicts."""
    rough = ufm.solve(PENALTY, solver="clarabel", level="class", tolerance=1e-4)
    return {
        "bound": ufm.certify(BOUND),
        "penalty": ufm.certify(PENALTY),
        "one class collapsed": ufm.certify(ufm.ContrastiveProblem([5, 2, 2], lambda_h=1.2)),
        "all collapsed": ufm.certify(ufm.ContrastiveProblem([2, 2, 3], lambda_h=3.0)),
        "classes of one": ufm.certify(ufm.ContrastiveProblem([2, 1, 1, 1], bound=1.0, temperature=0.3)),
        "from a solver": ufm.certify(PENALTY, solution=rough),
        "undecided": ufm.certify(BOUND, tolerance=1e-17),
    }


MADE = certificates()
BASES = {name: json.loads(made.to_json()) for name, made in MADE.items()}
SLOW = {"one class collapsed", "from a solver", "undecided"}
"""Their corpora, most like another's, are searched in the slow tests."""


def outcome(data):
    try:
        return verify(data).verdict.value
    except MalformedCertificate:
        return "malformed"


def judge_forgery(document):
    """The verdict on a re-sealed forgery, which the naive verifier shares; what is proved holds sample by sample."""
    found = outcome(text(resealed(document)))
    if found != "malformed":
        assert found == naive_contrastive.verdict(document)
        if found == "PROVED" and naive_contrastive.NaiveProblem(document["problem"]).N < 30:
            assert naive_contrastive.sample_by_sample(document)
    return found


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASES)
def test_files_come_back_and_are_proved_by_both(name, tmp_path):
    made, path = MADE[name], tmp_path / "c.json"
    made.save(path)
    assert ufm.verify(path).verdict == "PROVED"
    assert judge_forgery(BASES[name]) == "PROVED"
    again = ufm.ContrastiveCertificate.load(path)
    assert (again.to_json(), again.problem) == (made.to_json(), made.problem)
    assert (again.lower, again.upper, again.verdict) == (made.lower, made.upper, made.verdict)
    assert again.verdict == ("undecided" if name == "undecided" else "optimal")
    assert again.lower <= ufm.theory.optimum(made.problem).value * (1 + 1e-14)  # which is a rounded number
    assert ufm.theory.optimum(made.problem).value <= again.upper * (1 + 1e-14)


@pytest.mark.parametrize("name", BASES)
def test_files_fit_the_schema(name):
    document = BASES[name]
    assert fits(document, SCHEMA)
    for path, value in [
        (("problem", "model"), "other"),
        (("problem", "lambda_w"), "1p0"),
        (("problem", "temperature"), None),
        (("lemmas",), ["outside-mass"]),
        (("dual", "kind"), "diagonal"),
        (("witness", "lengths"), "1"),
    ]:
        assert not fits(replaced(document, path, value), SCHEMA), path


@pytest.mark.parametrize("level", ["sample", "class", "group"])
def test_a_solution_of_any_level_is_written_with_bounds_that_are_no_worse(level):
    problem = ufm.ContrastiveProblem([4, 3, 3, 2, 1], lambda_h=0.3, temperature=0.5)
    solution = ufm.solve(problem, solver="clarabel", level=level)
    certificate = ufm.certify(problem, solution=solution)
    assert solution.lower_bound <= certificate.lower <= certificate.upper <= solution.upper_bound
    assert outcome(certificate.to_json().encode()) == "PROVED"


def test_of_classes_with_one_count_the_best_numbers_are_kept():
    """Points at class level whose second class of three has a poor length and a poor dual number."""
    problem = ufm.ContrastiveProblem([3, 3, 2], bound=1.0)
    solution, groups = ufm.solve(problem), problem.classes
    lengths = np.array([1.0, 0.25, 1.0])
    outside = solution.dual.outside[problem.groups.members] * np.array([1.0, 0.5, 1.0])
    uneven = replace(
        solution, point=ContrastivePoint.frame(groups, lengths), lengths=lengths, dual=ContrastiveDual(groups, outside)
    )
    assert encode(uneven, 1e-6) == encode(solution, 1e-6)
    worst = replace(uneven, lengths=(swapped := lengths[[1, 1, 2]]), point=ContrastivePoint.frame(groups, swapped))
    assert encode(worst, 1e-6)["claims"]["upper"] != encode(solution, 1e-6)["claims"]["upper"]


def test_a_million_classes_are_a_small_file():
    problem = ufm.ContrastiveProblem(np.repeat([2, 10, 50, 500, 5000], 200_000), bound=1.0, temperature=0.1)
    data = ufm.certify(problem).to_json().encode()
    assert len(data) < 2_000
    assert outcome(data) == "PROVED"


@pytest.mark.parametrize(
    "problem",
    [
        ufm.ContrastiveProblem([1, 1], bound=1.0),  # no anchors: the optimum is 0
        ufm.ContrastiveProblem([2, 2], bound=700.0),  # e^-700
        ufm.ContrastiveProblem([2, 2], bound=1e300),  # an optimum below binary64: undecided, yet proved
        ufm.ContrastiveProblem([2, 5], bound=1e-300, temperature=1e3),
        ufm.ContrastiveProblem([1, 2], lambda_h=1e-300),
        ufm.ContrastiveProblem([2, 5, 7], lambda_h=1e300),
        ufm.ContrastiveProblem([2, 2**40, 2**52], lambda_h=1e-3),
    ],
    ids=repr,
)
def test_extreme_problems_are_proved(problem, monkeypatch):
    monkeypatch.setattr(naive_contrastive.iv, "dps", 1000)  # e^-2000 next to 1
    assert judge_forgery(json.loads(ufm.certify(problem).to_json())) == "PROVED"


def test_a_certificate_about_a_candidate_is_not_written(tmp_path):
    candidate = ufm.ContrastiveCandidate(features=ufm.solve(BOUND).factors(), labels=BOUND.labels)
    certificate = ufm.certify(BOUND, candidate)
    with pytest.raises(errors.HypothesisError, match="about a candidate"):
        certificate.save(tmp_path / "c.json")
    assert list(tmp_path.iterdir()) == []


def test_other_kinds_of_certificate_are_not_loaded(tmp_path):
    MADE["bound"].save(tmp_path / "contrastive.json")
    ufm.certify(ufm.Problem([5, 4, 3], 0.01, 0.01)).save(tmp_path / "plain.json")
    for kind, name in ((ufm.Certificate, "contrastive.json"), (ufm.ContrastiveCertificate, "plain.json")):
        with pytest.raises(errors.FileFormatError, match="not of the kind"):
            kind.load(tmp_path / name)


# -- forgeries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in BASES])
def test_every_field_altered(name):
    """With the old digest malformed; re-sealed never proved unless the naive verifier agrees."""
    counts = {"malformed": 0, "REFUTED": 0, "PROVED": 0, "INCONCLUSIVE": 0}
    for what, document in alterations(BASES[name]):
        assert outcome(text(document)) == "malformed", what
        if isinstance(document, dict):
            counts[judge_forgery(document)] += 1
    assert sum(counts.values()) > 500
    assert counts["REFUTED"] > 40
    # what remains provable are weaker claims, and problems with a lower penalty or a higher bound than needed
    assert counts["PROVED"] < sum(counts.values()) / 5


@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])
@given(st.sampled_from(sorted(BASES)), st.data())
def test_several_alterations_at_once(name, data):
    document = BASES[name]
    for _ in range(data.draw(st.integers(2, 3))):
        choices = [pair for pair in alterations(document) if isinstance(pair[1], dict)]
        document = choices[data.draw(st.integers(0, len(choices) - 1))][1]
    judge_forgery(document)


def exactly(document, path, number):
    """A vector with its last number replaced by a fraction over a power of two."""
    field = document
    for key in path:
        field = field[key]
    unit = Fraction(2) ** -200
    rest = [int(n) * Fraction(2) ** field["exponent"] for n in field["integers"].split(" ")][:-1]
    integers = [entry / unit for entry in (*rest, number)]
    assert all(entry.denominator == 1 for entry in integers)
    return replaced(document, path, {"exponent": -200, "integers": " ".join(str(entry) for entry in integers)})


def modest(document):
    """With claims that any admissible point proves."""
    return {**document, "claims": {**document["claims"], "lower": "-1p30", "upper": "1p30", "verdict": "undecided"}}


TINY = Fraction(1, 2**150)


EDGES = [
    ("bound", "dual", Fraction(0), "PROVED"),
    ("bound", "dual", -TINY, "REFUTED"),
    ("bound", "dual", Fraction(1), "PROVED"),
    ("bound", "dual", 1 + TINY, "REFUTED"),
    ("penalty", "dual", Fraction(3, 32), "PROVED"),  # s = a
    ("penalty", "dual", Fraction(3, 32) + TINY, "REFUTED"),
    ("all collapsed", "dual", Fraction(1), "PROVED"),  # a = 3/2 is no bound of a probability
    ("all collapsed", "dual", 1 + TINY, "REFUTED"),
    ("square bound", "witness", Fraction(2), "PROVED"),  # τ = 4
    ("square bound", "witness", 2 + TINY, "REFUTED"),
    ("square bound", "witness", Fraction(0), "PROVED"),
    ("square bound", "witness", -TINY, "REFUTED"),
    ("penalty", "witness", Fraction(9), "PROVED"),  # there is no bound
]
"""Base, what is changed, its last number, and the verdict where the claims leave room."""


def edges():
    """The documents of ``EDGES``."""
    square = json.loads(ufm.certify(ufm.ContrastiveProblem([3, 2], bound=4.0)).to_json())
    for name, part, number, _ in EDGES:
        document = modest(BASES.get(name, square))
        yield exactly(document, (part, "outside" if part == "dual" else "lengths"), number)


def test_the_edges_of_dual_point_and_witness_are_exact():
    assert [judge_forgery(document) for document in edges()] == [verdict for *_, verdict in EDGES]


def test_sample_by_sample_rejects_what_does_not_hold():
    """The longer check of the tests themselves: a fault in each thing that it looks at."""
    bound, penalty = BASES["bound"], BASES["penalty"]
    forged = [
        exactly(modest(penalty), ("dual", "outside"), Fraction(3, 32) + TINY),  # the slack
        exactly(modest(bound), ("dual", "outside"), -TINY),  # Θ
        exactly(modest(bound), ("dual", "outside"), 1 + TINY),  # the probabilities
        {**bound, "claims": {**bound["claims"], "lower": "1p3"}},
        {**bound, "claims": {**bound["claims"], "upper": "7p0"}},
    ]
    assert [naive_contrastive.sample_by_sample(document) for document in (bound, penalty)] == [True, True]
    assert not any(naive_contrastive.sample_by_sample(document) for document in forged)


def test_a_class_of_one_sample_has_no_dual_number():
    document = BASES["classes of one"]
    field = document["dual"]["outside"]
    entries = field["integers"].split(" ")
    forged = replaced(document, ("dual", "outside", "integers"), " ".join(["1", *entries[1:]]))
    assert judge_forgery(forged) == "malformed"


EXCHANGED = [
    ({"bound": "5p-1"}, "REFUTED"),  # a higher bound: the optimum is lower than was proved
    ({"bound": "3p-1"}, "REFUTED"),  # a lower one: the witness is too long
    ({"temperature": "1p0"}, "REFUTED"),
    ({"class_counts": "4 3 2 2"}, "malformed"),  # three distinct counts, four numbers
    ({"class_counts": "5 3 2 1"}, "REFUTED"),
    ({"class_counts": "1 2 3 4"}, "PROVED"),  # the same problem but for the order of classes
    ({"class_counts": "4 3 2 1 1", "multiplicities": "1 1 1 1 1"}, "REFUTED"),  # runs of one count are put together
    ({"multiplicities": "1 1 1 2"}, "REFUTED"),
    ({"bound": None, "lambda_h": "1p1"}, "REFUTED"),  # the bound as a penalty
    ({"lambda_h": "1p-3"}, "malformed"),  # both
    ({"bound": None}, "malformed"),  # neither
    ({"bound": "0p0"}, "malformed"),
    ({"bound": "-1p1"}, "malformed"),
    ({"temperature": "0p0"}, "malformed"),
    ({"model": "other"}, "malformed"),
    ({"loss": {"name": "cross-entropy"}}, "malformed"),
]  # fmt: skip
"""What is changed in the problem of a bound, and the verdict."""


def exchanged():
    """The documents of ``EXCHANGED``."""
    document = BASES["bound"]
    return [{**document, "problem": {**document["problem"], **changes}} for changes, _ in EXCHANGED]


def test_the_problem_exchanged():
    assert [judge_forgery(document) for document in exchanged()] == [verdict for _, verdict in EXCHANGED]


def with_another_hash():
    """The digest re-sealed, the problem's hash not."""
    document = replaced(BASES["bound"], ("problem", "sha256"), "0" * 64)
    content = {key: value for key, value in document.items() if key not in ("digest", "provenance")}
    return {**document, "digest": sha256(content)}


def test_the_problem_has_a_hash_of_its_own():
    assert outcome(text(with_another_hash())) == "malformed"


def test_parts_of_the_other_kind_of_certificate_are_malformed():
    plain = json.loads(ufm.certify(ufm.Problem([4, 3, 2], 0.01, 0.01)).to_json())
    for part in ("problem", "lemmas", "dual", "witness"):
        assert judge_forgery({**BASES["bound"], part: plain[part]}) == "malformed"
        assert outcome(text(resealed({**plain, part: BASES["bound"][part]}))) == "malformed"
    without = {key: value for key, value in BASES["bound"]["problem"].items() if key != "model"}
    assert outcome(text(resealed({**BASES["bound"], "problem": without}))) == "malformed"


LIMITS = [
    (("problem", "multiplicities"), "1 1 1 99999997", True),
    (("problem", "multiplicities"), "1 1 1 99999998", False),
    (("problem", "class_counts"), f"{2**63 - 7} 3 2 1", True),
    (("problem", "class_counts"), f"{2**63 - 6} 3 2 1", False),
    (("problem", "class_counts"), f"{2**5000} 3 2 1", False),
    (("problem", "class_counts"), "0 3 2 1", False),
    (("problem", "multiplicities"), "0 1 1 1", False),
    (("dual", "outside", "exponent"), -(2**14), True),
    (("dual", "outside", "exponent"), -(2**14) - 1, False),
    (("witness", "lengths", "exponent"), 2**14, True),
    (("witness", "lengths", "exponent"), 2**14 + 1, False),
]
"""Where, what, and whether it is within the limits of docs/verification.md, section 8."""


def limits():
    """The documents of ``LIMITS``, and two classes and one."""
    yield from (replaced(BASES["bound"], path, value) for path, value, _ in LIMITS)
    two = json.loads(ufm.certify(ufm.ContrastiveProblem([2, 2], bound=1.0)).to_json())
    yield two
    yield replaced(two, ("problem", "multiplicities"), "1")


def test_limits():
    found = [outcome(text(resealed(document))) != "malformed" for document in limits()]
    assert found == [*(within for *_, within in LIMITS), True, False]


def test_steps_are_named_as_for_the_other_kind():
    names = [step.name for step in verify(text(BASES["bound"])).steps]
    assert names == ["slack", "lower bound", "witness", "upper bound", "verdict"]
    assert re.fullmatch(r"[0-9a-f]{64}", MADE["bound"].digest)
