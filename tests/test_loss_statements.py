"""What losses state of themselves, in place of their classes; and shorter ways that are the long ones."""

import numpy as np
import pytest
from flint import arb, fmpq

import ufm_convex as ufm
from ufm_convex.enclosure import rank_bound
from ufm_convex.enclosure.candidate import is_streamed
from ufm_convex.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError, MulticlassHinge, make
from ufm_convex.problem.constraints import HardMargin
from ufm_convex.problem.constraints.margins import MarginIndicator

LOSSES = [
    CrossEntropy(smoothing=0.1, class_weights=(1.0, 2.0)),
    MeanSquaredError(),
    BinaryCrossEntropy(),
    MulticlassHinge(),
    make("squared-hinge", {}),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_statements_hold(loss):
    """Each is compared with the definition at random logits."""
    z, rows = np.random.default_rng(0).normal(size=(2, 2)), np.array([0, 1])
    values = loss.values(z, loss.layout(2, rows))
    squares = 0.5 * ((z - np.eye(2)) ** 2).sum(axis=0)
    assert loss.quadratic is bool(np.allclose(values, squares))
    share = loss.softmax_share
    targets = (1.0 - (share or 0.0)) * np.eye(2) + (share or 0.0) / 2
    softmax = np.log(np.exp(z).sum(axis=0)) - (targets * z).sum(axis=0)
    assert (share is not None) is bool(np.allclose(values, softmax))
    weighted = loss.weighted((3.0, 4.0))
    assert (weighted is None) is (loss.name != "cross-entropy")
    if weighted is not None:
        assert weighted.weights(2).tolist() == [3.0, 4.0]
        assert weighted.softmax_share == share


def test_a_subclass_states_nothing_that_it_does_not_say():
    class Other(CrossEntropy):
        name = "other"

    class ShiftedError(MeanSquaredError):
        name = "shifted"

    assert Other().softmax_share is None
    assert not is_streamed(Other())
    assert Other().weighted((1.0, 2.0)) is None
    assert not ShiftedError().quadratic
    given = {"feature_dim": 1}
    assert rank_bound(ufm.Problem([3, 2], 0.1, 0.1, loss=MeanSquaredError(), **given)) is not None
    assert rank_bound(ufm.Problem([3, 2], 0.1, 0.1, loss=ShiftedError(), **given)) is None


@pytest.mark.parametrize("own", [-4, -3, 3])
@pytest.mark.parametrize("least", [0, -1])
def test_one_margin_for_all_is_enclosed_as_margins_of_each_class_are(own, least):
    uniform, general = HardMargin(0.7).loss, HardMargin((0.7, 0.7, 0.7)).loss
    column = uniform.exact_column(3, 1)
    v = [fmpq(2), fmpq(own), fmpq(1 if least == 0 else -1)]
    found = []
    for loss in (uniform, general):
        try:
            found.append(str(loss.enclose_conjugate(v, column).mid()))
        except ValueError:
            found.append("outside")
    assert found[0] == found[1]
    assert (found[0] == "outside") is not (own == -3 and least == 0)
    with pytest.raises(ValueError, match="outside the domain"):
        uniform.enclose_margin_conjugate(fmpq(-1), 3)
    exact = MarginIndicator.enclose_margin_conjugate(uniform, fmpq(3, 7), 3)
    assert uniform.enclose_margin_conjugate(fmpq(3, 7), 3).overlaps(exact)


@pytest.mark.parametrize(("gap", "met"), [("0.71", True), ("0.69", False)])
def test_one_margin_for_all_is_met_or_missed(gap, met):
    uniform, general = HardMargin(0.7).loss, HardMargin((0.7, 0.7, 0.7)).loss
    z = [arb(0), arb(gap), arb(-5)]
    for loss in (uniform, general):
        assert loss.enclose_value(z, loss.exact_column(3, 1)).is_finite() is met
    assert next(uniform.enclose_margin_values([arb(gap)], 3)).is_finite() is met


class Doubled(CrossEntropy):
    name = "doubled"

    def values(self, z, layout):
        return 2.0 * super().values(z, layout)


SOFTMAX = [
    (CrossEntropy(smoothing=0.1), True),
    (make("soft-target-cross-entropy", {"targets": [[0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]]}), True),
    (make("logit-adjusted-cross-entropy", {"shift": [0.0, 1.0, 2.0]}), False),
    (make("label-margin-cross-entropy", {"margins": [0.1, 0.2, 0.3]}), False),
    (Doubled(), False),
]


@pytest.mark.parametrize(("loss", "linear"), SOFTMAX, ids=lambda one: getattr(one, "name", None))
def test_a_softmax_loss_says_whether_it_is_one_of_the_logits_themselves(loss, linear):
    """log-sum-exp less the pairing with ``target_columns``, as the definition has it."""
    z, rows = np.random.default_rng(1).normal(size=(3, 3)), np.arange(3)
    defined = np.log(np.exp(z).sum(axis=0)) - (loss.target_columns(3, rows) * z).sum(axis=0)
    assert loss.of_logits is linear
    assert bool(np.allclose(loss.values(z, loss.layout(3, rows)), defined)) is linear
