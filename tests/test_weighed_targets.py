"""Soft targets with class weights, and PyTorch's criterion as a loss: the same number for the same logits."""

import json

import numpy as np
import pytest
from scipy.special import logsumexp

import ufm_convex as ufm
from ufm_convex.errors import ProblemError, ShapeError

TABLE = ((0.8, 0.1, 0.1), (0.05, 0.9, 0.05), (0.2, 0.2, 0.6))
WEIGHTS = (0.5, 1.0, 3.0)
COUNTS = np.array([7, 4, 2])
Y = np.repeat(np.arange(3), COUNTS)


def mean_loss(loss, logits, labels):
    """(1/N) Σ ω_y l_y(z), logits (N, K)."""
    K = logits.shape[1]
    return float((loss.weights(K)[labels] * loss.values(logits.T, loss.layout(K, labels))).mean())


def test_weights_of_soft_targets_multiply_their_columns():
    logits = 2.0 * np.random.default_rng(0).normal(size=(13, 3))
    expected = np.array(WEIGHTS)[Y] * (logsumexp(logits, axis=1) - (np.array(TABLE)[Y] * logits).sum(axis=1))
    loss = ufm.SoftTargetCrossEntropy(TABLE, class_weights=WEIGHTS)
    assert mean_loss(loss, logits, Y) == pytest.approx(expected.mean(), rel=1e-14)
    assert mean_loss(ufm.SoftTargetCrossEntropy(TABLE), logits, Y) != pytest.approx(expected.mean(), rel=1e-2)


def test_a_weighed_table_that_is_label_smoothing_has_the_optimum_of_the_theorem():
    """The theorem covers smoothing with weights: a closed form beside a solver that knows neither."""
    a, K = 0.1, 3
    table = tuple(tuple((1 - a) * (j == k) + a / K for j in range(K)) for k in range(K))
    decays = 0.02, 0.01
    exact = ufm.theory.optimum(ufm.Problem(COUNTS, *decays, loss=ufm.CrossEntropy(WEIGHTS, smoothing=a)))
    solved = ufm.solve(ufm.Problem(COUNTS, *decays, loss=ufm.SoftTargetCrossEntropy(table, class_weights=WEIGHTS)))
    assert solved.lower_bound <= exact.value * (1 + 1e-12)
    assert solved.upper_bound == pytest.approx(exact.value, rel=1e-6)


def test_weighed_targets_are_certified_and_another_weight_is_another_problem(tmp_path):
    def problem(weights):
        return ufm.Problem(COUNTS, 0.02, 0.01, loss=ufm.SoftTargetCrossEntropy(TABLE, class_weights=weights))

    certificate = ufm.certify(problem(WEIGHTS))
    path = tmp_path / "c.json"
    certificate.save(path)
    assert str(ufm.verify(path, problem=problem(WEIGHTS)).verdict) == "PROVED"
    assert str(ufm.verify(path, problem=problem((0.5, 1.0, 3.1))).verdict) == "REFUTED"
    assert str(ufm.verify(path, problem=problem(None)).verdict) == "REFUTED"
    assert certificate.problem == problem(WEIGHTS)  # read back to the bit
    assert set(json.loads(path.read_text())["problem"]["loss"]) == {"name", "targets"}  # as format version 1 has it
    assert ufm.Problem.from_toml(problem(WEIGHTS).to_toml()) == problem(WEIGHTS)


def test_bad_weights_of_a_table_are_refused():
    with pytest.raises(ProblemError, match="class_weights has the entry 0"):
        ufm.SoftTargetCrossEntropy(TABLE, class_weights=(1.0, 0.0, 1.0))
    with pytest.raises(ShapeError, match="2 entries"):
        ufm.Problem(COUNTS, 0.1, 0.1, loss=ufm.SoftTargetCrossEntropy(TABLE, class_weights=(1.0, 2.0)))


# -- PyTorch's -----------------------------------------------------------------------------------------------------


def torch():
    return pytest.importorskip("torch", reason="pip install torch")


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("weights", [None, WEIGHTS, (2.0, 2.0, 2.0)])
def test_the_loss_is_that_of_pytorch(weights, smoothing):
    library = torch()
    logits = 3.0 * np.random.default_rng(1).normal(size=(13, 3))
    weight = None if weights is None else library.tensor(weights, dtype=library.float64)
    criterion = library.nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
    theirs = float(criterion(library.tensor(logits), library.tensor(Y)))
    loss = ufm.CrossEntropy.from_torch(criterion, COUNTS)
    assert mean_loss(loss, logits, Y) == pytest.approx(theirs, rel=1e-12)
    both = weights == WEIGHTS and smoothing > 0.0
    assert type(loss) is (ufm.SoftTargetCrossEntropy if both else ufm.CrossEntropy)
    if weights == WEIGHTS:  # planted: the weights as they are, not divided by their mean over the samples
        naive = ufm.CrossEntropy(WEIGHTS, smoothing=smoothing)
        assert mean_loss(naive, logits, Y) != pytest.approx(theirs, rel=1e-3)


def test_weights_in_single_precision_are_taken_as_they_are():
    library = torch()
    criterion = library.nn.CrossEntropyLoss(weight=library.tensor([0.1, 0.2, 0.7]), label_smoothing=0.1)
    logits = np.random.default_rng(2).normal(size=(13, 3))
    theirs = float(criterion.double()(library.tensor(logits), library.tensor(Y)))
    assert mean_loss(ufm.CrossEntropy.from_torch(criterion, COUNTS), logits, Y) == pytest.approx(theirs, rel=1e-12)


def test_ignored_labels_that_are_no_class_change_nothing_and_others_are_refused():
    library = torch()
    logits, labels = np.random.default_rng(3).normal(size=(15, 3)), np.append(Y, [255, 255])
    criterion = library.nn.CrossEntropyLoss(weight=library.tensor(WEIGHTS).double(), ignore_index=255)
    theirs = float(criterion(library.tensor(logits), library.tensor(labels)))
    assert mean_loss(ufm.CrossEntropy.from_torch(criterion, COUNTS), logits[:13], Y) == pytest.approx(theirs, rel=1e-12)
    with pytest.raises(ProblemError, match="ignore_index=1, a class with 4 samples"):
        ufm.CrossEntropy.from_torch(library.nn.CrossEntropyLoss(ignore_index=1), COUNTS)
    assert ufm.CrossEntropy.from_torch(library.nn.CrossEntropyLoss(ignore_index=1), [7, 0, 2]) == ufm.CrossEntropy()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"reduction": "sum"}, ProblemError, "divide the weight decays by B"),
        ({"reduction": "none"}, ProblemError, 'reduction="none"'),
        ({"weight": [1.0, 0.0, 1.0]}, ProblemError, "the weight 0.0"),
        ({"weight": [1.0, float("nan"), 1.0]}, ProblemError, "the weight nan"),
        ({"weight": [1.0, 2.0]}, ShapeError, "weighs 2 classes"),
        ({"label_smoothing": 1.0}, ProblemError, "smoothing is 1.0"),
    ],
)
def test_what_has_no_form_is_refused_by_name(options, error, words):
    library = torch()
    given = {name: library.tensor(value) if name == "weight" else value for name, value in options.items()}
    with pytest.raises(error, match=words):
        ufm.CrossEntropy.from_torch(library.nn.CrossEntropyLoss(**given), COUNTS)


def test_a_subclass_and_another_criterion_are_refused():
    library = torch()

    class Focal(library.nn.CrossEntropyLoss):
        pass

    for criterion in (Focal(), library.nn.MSELoss()):
        with pytest.raises(ProblemError, match=f"criterion is a {type(criterion).__name__}"):
            ufm.CrossEntropy.from_torch(criterion, COUNTS)


def test_without_pytorch_nothing_is_a_criterion():
    with pytest.raises(ProblemError, match="criterion is a object"):
        ufm.CrossEntropy.from_torch(object(), COUNTS)
