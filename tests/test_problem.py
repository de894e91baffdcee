"""``Problem``: what it refuses, that it cannot change, that it compares by content, and that TOML keeps every bit."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import os
import pickle
import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ufm_convex as ufm
from ufm_convex.class_counts import exponential
from ufm_convex.errors import CountsError, FileFormatError, ProblemError, ShapeError, UFMError, UnknownNameError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import LayerPeeled

HUGE = [pytest.param(10**5000, id="huge"), pytest.param(-(10**5000), id="-huge")]  # too long for an id


CANDIDATE = ufm.Candidate(weights=np.eye(3), features=np.eye(3)[[0, 0, 1, 2]], labels=[0, 0, 1, 2])
TAKING_A_PROBLEM = {
    "solve": ufm.solve,
    "certify": ufm.certify,
    "optimum": ufm.theory.optimum,
    "bound": ufm.theory.bound,
    "attribute_gap": lambda problem: ufm.attribute_gap(problem, CANDIDATE),
    "cross_check": lambda problem: ufm.cross_check(problem, ["clarabel"]),
    "close_gap": ufm.close_gap,
}


@pytest.mark.parametrize("function", TAKING_A_PROBLEM)
@pytest.mark.parametrize("given", [None, 5, [500, 100, 20], "problem.toml", np.ones(3)], ids=str)
def test_what_is_no_problem_is_named_wherever_one_is_asked_for(function, given):
    with pytest.raises(ProblemError, match="problem is "):
        TAKING_A_PROBLEM[function](given)


@pytest.mark.parametrize("function", ["attribute_gap", "cross_check", "close_gap"])
def test_a_problem_of_another_kind_is_named_where_it_has_no_answer(function):
    with pytest.raises(ProblemError, match="problem is ContrastivePr"):
        TAKING_A_PROBLEM[function](ufm.ContrastiveProblem([2, 1, 1], bound=1.0))


def small(**changes: object) -> Problem:
    arguments: dict[str, object] = {"class_counts": [5, 3, 1], "lambda_w": 0.25, "lambda_h": 0.5}
    return Problem(**(arguments | changes))  # type: ignore[arg-type]


@st.composite
def problems(draw) -> Problem:
    counts = draw(st.lists(st.integers(1, 2**40), min_size=2, max_size=8))
    decay = st.floats(1e-300, 1e2, allow_subnormal=False)
    weight = st.floats(0.0, 2.0**700, exclude_min=True)
    weights = draw(st.none() | st.lists(weight, min_size=len(counts), max_size=len(counts)))
    return Problem(
        counts,
        draw(decay),
        draw(decay),
        loss=CrossEntropy(class_weights=weights, smoothing=draw(st.floats(0.0, 1.0, exclude_max=True))),
        features=draw(st.sampled_from(["nonnegative", "free"])),
        feature_dim=draw(st.none() | st.integers(1, 2**63 - 1)),
    )


# -- validation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lambda_w", "lambda_h"])
@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        0,
        0.0,
        -0.0,
        -1e-3,
        True,
        np.True_,
        "0.1",
        None,
        [0.1],
        0.1 + 0j,
        np.array([0.1]),
        np.float64(math.nan),
        *HUGE,
    ],
)
def test_decays_that_are_no_finite_positive_numbers_are_refused(name: str, value: object) -> None:
    with pytest.raises(ProblemError, match=f"{name} is "):
        small(**{name: value})


@pytest.mark.parametrize("value", [1, np.float32(0.1), np.int64(2), 5e-324, sys.float_info.max, 0.1])
def test_decays_are_kept_as_the_binary64_number_they_are(value: float) -> None:
    decay = small(lambda_w=value).lambda_w
    assert type(decay) is float
    assert decay == float(value)


@pytest.mark.parametrize("value", [0, -1, 1.5, 3.0, True, np.True_, "3", math.nan, [3], *HUGE, 2**63])
def test_feature_dimensions_that_are_no_positive_integers_are_refused(value: object) -> None:
    with pytest.raises(ProblemError, match="feature_dim is "):
        small(feature_dim=value)


@pytest.mark.parametrize("value", [None, 1, np.int32(7), 2**63 - 1])
def test_feature_dimensions_in_range_are_taken(value: int | None) -> None:
    assert small(feature_dim=value).feature_dim == value


@pytest.mark.parametrize("value", ["relu", "Nonnegative", "", None, True, ["free"]])
def test_features_are_one_of_two_words(value: object) -> None:
    with pytest.raises(UnknownNameError, match=r'(?s:.*)"nonnegative" or "free"'):
        small(features=value)


@pytest.mark.parametrize("value", ["cross-entropy", CrossEntropy, 5, {"name": "cross-entropy"}])
def test_a_loss_is_an_instance_of_loss(value: object) -> None:
    with pytest.raises(ProblemError, match="loss is "):
        small(loss=value)


@pytest.mark.parametrize("length", [0, 2, 4])
def test_class_weights_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(ShapeError, match=f"class_weights has {length} entries, but there are 3 classes"):
        small(loss=CrossEntropy(class_weights=[1.0] * length))


@pytest.mark.parametrize("counts", [[5], [], [0, 0], [5, -1], [5, 2.5], [5.0, 2.0], np.ones((2, 2), int), 5, None])
def test_counts_are_validated(counts: object) -> None:
    with pytest.raises(CountsError, match="class_counts"):
        small(class_counts=counts)


# -- frozen -----------------------------------------------------------------------------------------------------


def test_fields_cannot_be_set_or_deleted() -> None:
    problem = small()
    for field in dataclasses.fields(Problem):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(problem, field.name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(problem, field.name)
    assert problem == small()


@pytest.mark.parametrize("carry", [lambda p: p, copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_arrays_cannot_be_written_to_and_copies_are_equal(carry) -> None:
    problem = small(loss=CrossEntropy(smoothing=0.1), features="free", feature_dim=4)
    assert problem.sigma.size == problem.loss_weights.size == 3  # cached before it is carried
    again = carry(problem)
    assert again == problem
    assert hash(again) == hash(problem)
    for array in (again.class_counts, again.loss_weights, again.sigma):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_the_array_given_is_copied() -> None:
    counts = np.array([5, 3, 1])
    problem = small(class_counts=counts)
    counts[0] = 9
    assert problem == small()


# -- content ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "same",
    [
        {"class_counts": (5, 3, 1)},
        {"class_counts": np.array([5, 3, 1], dtype=np.uint8)},
        {"loss": CrossEntropy()},
        {"features": "nonnegative", "feature_dim": None},
        {"lambda_w": np.float32(0.25)},
    ],
)
def test_equal_content_is_equal_and_hashes_alike(same: dict[str, object]) -> None:
    assert small(**same) == small()
    assert len({small(**same), small()}) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"class_counts": [5, 1, 3]},
        {"class_counts": [5, 3, 1, 1]},
        {"lambda_w": math.nextafter(0.25, 1.0)},
        {"lambda_h": math.nextafter(0.5, 1.0)},
        {"lambda_w": 0.5, "lambda_h": 0.25},
        {"loss": CrossEntropy(smoothing=5e-324)},
        {"loss": CrossEntropy(class_weights=[1.0, 1.0, 2.0])},
        {"features": "free"},
        {"feature_dim": 3},
    ],
)
def test_a_change_of_any_field_makes_another_problem(other: dict[str, object]) -> None:
    assert small(**other) != small()
    assert len({small(**other), small()}) == 2
    assert dataclasses.replace(small(), **other) == small(**other)  # type: ignore[arg-type]


def test_a_problem_equals_nothing_but_a_problem() -> None:
    assert small() != small().content()
    assert small() != 5


def test_the_hash_is_that_of_canonical_json() -> None:
    written = (
        '{"class_counts":[5,3,1],"feature_dim":7,"features":"free","lambda_h":0.5,"lambda_w":1e-05,'
        '"loss":{"class_weights":[1.0,2.0,0.5],"name":"cross-entropy","smoothing":0.1}}'
    )
    loss = CrossEntropy(class_weights=[1, 2, 0.5], smoothing=0.1)
    problem = small(lambda_w=1e-5, loss=loss, features="free", feature_dim=7)
    assert problem.sha256 == hashlib.sha256(written.encode()).hexdigest()


def test_derived_quantities_by_hand() -> None:
    problem = small(loss=CrossEntropy(class_weights=[1.0, 2.0, 9.0]))
    assert (problem.num_classes, problem.num_samples, problem.nonnegative) == (3, 9, True)
    assert not small(features="free").nonnegative
    # ω_k n_k / N with N = 9: one rounding of each quotient
    assert problem.loss_weights.tolist() == [5 / 9, 6 / 9, 1.0]


@pytest.mark.parametrize(("lambda_w", "lambda_h"), [(1e-160, 1e-160), (1e-300, 1e-300), (1e-300, 1e2), (0.3, 0.7)])
def test_sigma_does_not_underflow_with_the_product_of_the_decays(lambda_w: float, lambda_h: float) -> None:
    sigma = Problem([10**6, 7, 1], lambda_w, lambda_h).sigma
    for computed, count in zip(sigma, [10**6, 7, 1], strict=True):
        with mp.workdps(50):
            exact = mp.sqrt(mp.mpf(lambda_w) * mp.mpf(lambda_h) * count)
            # three correctly rounded roots and two products: 5 half-units
            assert abs(computed - exact) <= 2.5 * sys.float_info.epsilon * exact


def test_a_problem_of_many_classes_prints_in_one_line() -> None:
    text = repr(Problem(np.arange(1, 10**5), 0.1, 0.1))
    assert "..." in text
    assert len(text) < 300


# -- TOML -----------------------------------------------------------------------------------------------------------


@given(problems())
@settings(max_examples=150)
def test_toml_gives_the_problem_back_bit_by_bit(problem: Problem) -> None:
    again = Problem.from_toml(problem.to_toml())
    assert again == problem
    assert again.class_counts.tolist() == problem.class_counts.tolist()
    for name in ("lambda_w", "lambda_h"):
        assert getattr(again, name).hex() == getattr(problem, name).hex()
    assert again.loss == problem.loss
    assert (again.features, again.feature_dim) == (problem.features, problem.feature_dim)


def test_toml_as_a_person_writes_it() -> None:
    problem = Problem.from_toml(
        """
        profile = "exponential:classes=10,max=5000,ratio=100"   # CIFAR-10-LT
        lambda_w = 1e-3
        lambda_h = 1                # an integer is a number
        features = "free"
        feature_dim = 9
        [loss]
        name = "cross-entropy"
        smoothing = 0.1
        """
    )
    loss = CrossEntropy(smoothing=0.1)
    assert problem == Problem(exponential(10, 5000, 100), 1e-3, 1.0, loss=loss, features="free", feature_dim=9)
    assert Problem.from_toml("class_counts = [2, 1]\nlambda_w = 0.5\nlambda_h = 0.5") == Problem([2, 1], 0.5, 0.5)


GOOD = "class_counts = [2, 1]\nlambda_w = 0.5\nlambda_h = 0.5\n"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("class_counts = [2, 1", FileFormatError, "is not TOML"),
        ("{}", FileFormatError, "is not TOML"),
        (GOOD + "lambda_w = 0.25", FileFormatError, "is not TOML"),  # a key twice
        (GOOD + "feature_dim = " + "9" * 5000, FileFormatError, "is not TOML"),
        ("", FileFormatError, r"has the keys \(none\)"),
        (GOOD + "lambda = 0.5", FileFormatError, r"(?s:.*)remove what is not listed"),
        (GOOD + 'profile = "balanced:classes=2,max=2"', FileFormatError, r"class_counts, lambda_h, lambda_w, profile"),
        ("lambda_w = 0.5\nlambda_h = 0.5", FileFormatError, r"class_counts or profile"),
        ("class_counts = [2, 1]\nlambda_w = 0.5", FileFormatError, r"the keys class_counts, lambda_w\."),
        ("class_counts = [2, 1]\nlambda_h = 0.5", FileFormatError, r"the keys class_counts, lambda_h\."),
        (GOOD + 'loss = "cross-entropy"', FileFormatError, "has loss = 'cross-entropy'"),
        (GOOD + "[loss]\nsmoothing = 0.1", FileFormatError, r"has loss = \{'smoothing': 0\.1\}"),
        (GOOD + '[loss]\nname = "focale"', UnknownNameError, r"'focale' is not known(?s:.*)cross-entropy"),
        (GOOD + '[loss]\nname = "focal"', ProblemError, "not convex in the logits"),
        (GOOD + '[loss]\nname = ["cross-entropy"]', UnknownNameError, "is not known"),
        (GOOD + "[loss]\nname = 5", UnknownNameError, "loss 5 is not known"),
        (GOOD + '[loss]\nname = "cross-entropy"\ngamma = 2', ProblemError, r"no parameter 'gamma'(?s:.*)smoothing"),
        (GOOD + '[loss]\nname = "cross-entropy"\nsmoothing = 1.0', ProblemError, r"smoothing is 1\.0"),
        (GOOD + '[loss]\nname = "cross-entropy"\nclass_weights = 3.0', ProblemError, r"class_weights is 3\.0"),
        (GOOD + '[loss]\nname = "cross-entropy"\nclass_weights = ["a", "b"]', ProblemError, "the entry 'a'"),
        (GOOD + '[loss]\nname = "cross-entropy"\nclass_weights = [1.0]', ShapeError, "has 1 entries"),
        (GOOD + 'features = "relu"', UnknownNameError, "features is 'relu'"),
        (GOOD + "feature_dim = 0", ProblemError, "feature_dim is 0"),
        (GOOD.replace("lambda_w = 0.5", "lambda_w = nan"), ProblemError, "lambda_w is nan"),
        (GOOD.replace("lambda_w = 0.5", "lambda_w = inf"), ProblemError, "lambda_w is inf"),
        (GOOD.replace("lambda_w = 0.5", 'lambda_w = "0.5"'), ProblemError, "lambda_w is '0.5'"),
        (GOOD.replace("lambda_w = 0.5", "lambda_w = true"), ProblemError, "lambda_w is True"),
        (GOOD.replace("lambda_w = 0.5", "lambda_w = 1" + "0" * 400), ProblemError, "lambda_w is an integer of"),
        (GOOD.replace("[2, 1]", "[2.0, 1.0]"), CountsError, r"class_counts\[0\] is 2\.0"),
        (GOOD.replace("[2, 1]", "[2, 1" + "0" * 30 + "]"), CountsError, r"class_counts\[1\]"),
        (GOOD.replace("[2, 1]", '"2,1"'), CountsError, "class_counts is '2,1'"),
        (GOOD.replace("class_counts = [2, 1]", "profile = 5"), CountsError, "the profile is 5"),
        (GOOD.replace("class_counts = [2, 1]", 'profile = "zipf:a=1"'), UnknownNameError, "'zipf' is not known"),
    ],
)
def test_faulty_toml_is_refused_by_name(text: str, kind: type[UFMError], words: str) -> None:
    with pytest.raises(kind, match=words):
        Problem.from_toml(text)


# -- files ----------------------------------------------------------------------------------------------------------


def test_a_file_gives_the_problem_back(tmp_path: Path) -> None:
    problem = small(loss=CrossEntropy(smoothing=0.1))
    problem.save(tmp_path / "p.toml")
    assert Problem.load(str(tmp_path / "p.toml")) == problem
    small().save(str(tmp_path / "p.toml"))
    assert Problem.load(tmp_path / "p.toml") == small()
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"\xff\xfe", "cannot be read"), (b"lambda_w = ", r"p\.toml is not TOML")],
)
def test_files_that_hold_no_problem_are_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "p.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileFormatError, match=words) as caught:
        Problem.load(path)
    assert str(path) in caught.value.got


@pytest.mark.parametrize("step", ["replace", "fsync"])
@pytest.mark.parametrize(
    ("failure", "seen"), [(OSError(28, "No space left on device"), FileFormatError), (KeyboardInterrupt(), None)]
)
def test_a_failure_while_saving_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException, seen: type | None
) -> None:
    path = tmp_path / "p.toml"
    small().save(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise failure

    with monkeypatch.context() as planted:
        planted.setattr(os, step, fail)
        with pytest.raises(seen or type(failure), match="No space left" if seen else None):
            small(lambda_w=0.125).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    small(lambda_w=0.125).save(path)  # the same call succeeds once the fault is gone
    assert Problem.load(path) == small(lambda_w=0.125)


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "no" / "p.toml", tmp_path / "file" / "p.toml", tmp_path / "folder"):
        with pytest.raises(FileFormatError, match="cannot be written"):
            small().save(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_saved_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    small().save(tmp_path / "saved.toml")
    (tmp_path / "plain.toml").write_text("")
    assert (tmp_path / "saved.toml").stat().st_mode == (tmp_path / "plain.toml").stat().st_mode


# -- bias and constraint --------------------------------------------------------------------------------------------


def test_a_constraint_replaces_the_decays_and_survives_toml():
    problem = Problem([5, 4, 3], constraint=LayerPeeled(weight_radius=1, feature_radius=5.0))
    assert (problem.lambda_w, problem.lambda_h) == (None, None)
    again = Problem.from_toml(problem.to_toml())
    assert again == problem
    assert again.constraint == LayerPeeled(1.0, 5.0)
    assert pickle.loads(pickle.dumps(problem)) == problem
    assert problem != Problem([5, 4, 3], constraint=LayerPeeled(1.0, 4.0))


@pytest.mark.parametrize("bias", ["free", 0.25])
def test_a_bias_is_content(bias):
    problem = Problem([5, 4, 3], 0.1, 0.1, bias=bias)
    assert problem != Problem([5, 4, 3], 0.1, 0.1)
    assert Problem.from_toml(problem.to_toml()) == problem
    assert pickle.loads(pickle.dumps(problem)).bias == bias


@pytest.mark.parametrize("bias", [0.0, -1.0, float("nan"), float("inf"), True, "frei", [1.0]])
def test_a_bias_of_no_form_is_refused(bias):
    with pytest.raises(ProblemError, match="bias is"):
        Problem([5, 4, 3], 0.1, 0.1, bias=bias)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lambda_w": 0.1, "constraint": LayerPeeled(1, 1)}, "lambda_w is 0.1 beside the constraint"),
        ({"lambda_w": 0.1, "lambda_h": 0.1, "constraint": "layer-peeled"}, "constraint is 'layer-peeled', a str"),
        ({}, "lambda_w is None"),
    ],
)
def test_a_constraint_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ProblemError, match=message):
        Problem([5, 4, 3], **arguments)


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), float("inf"), "1", True])
def test_a_radius_out_of_range_is_refused(radius):
    with pytest.raises(ProblemError, match="feature_radius is"):
        LayerPeeled(1.0, radius)


def test_a_constraint_by_a_wrong_name_or_parameter_is_refused():
    text = 'class_counts = [2, 1]\n[constraint]\nname = "layer-peeled"\nweight_radius = 1.0\n'
    with pytest.raises(ProblemError, match="lacks the parameter 'feature_radius'"):
        Problem.from_toml(text)
    with pytest.raises(ProblemError, match="no parameter 'radius'"):
        Problem.from_toml(text + "feature_radius = 1.0\nradius = 2.0\n")
    with pytest.raises(UnknownNameError, match="constraint 'peeled' is not known"):
        Problem.from_toml(text.replace("layer-peeled", "peeled"))
