"""Certificates of closed forms and frames stay what they were: digests and claims of commit 22a1128, written out.

Frame witnesses, and dual points by one number a class, are digit for digit those of that commit. Where W, H and V are
matrices, they come out of singular value decompositions and sums in another order than there, and differ in the last
place; the claims do not, but where a descent has a part in them.
"""

import hashlib
import json

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    LogitAdjustedCrossEntropy,
    MeanSquaredError,
    MulticlassHinge,
    SoftTargetCrossEntropy,
)

RECORDED_ON = "e6522677a11db05ec2e9b77d0e94158a65ea66962779f959468b163d2d7d0312"
"""``transcendental()`` of the machine whose digests these are."""
SOFT = [[0.9, 0.06, 0.04], [0.05, 0.9, 0.05], [0.02, 0.03, 0.95]]


def tail(**given):
    return ufm.Problem([60, 40, 20, 5], 1e-2, 1e-2, **given)


DIGESTS = [
    (
        "ce",
        ufm.Problem([500, 100, 20], 5e-3, 5e-3),
        "auto",
        "8b9c45559e128223522785d086251d2f83805ec9429013d38ec3fd8790628e41",
    ),
    ("ce theory", tail(), "theory", "88be4470d083a28884639d1acd1532a4c74632d59e18882ef14c190776e01f2f"),
    ("ce frame", tail(), "frame", "047b0f969bf452a6614762d2d74acb9ab94e5c9be65e54d3ae048963efcf5d67"),
    (
        "weighted frame",
        tail(loss=CrossEntropy(class_weights=(0.5, 1.0, 2.0, 3.0))),
        "frame",
        "eb6d21bf4f3d8acae73a50ccd4b75f542bb11ea1fbd111f07edd8655033170d2",
    ),
    (
        "smoothed frame",
        tail(loss=CrossEntropy(smoothing=0.1)),
        "frame",
        "68ea5d3971d469bd12d7b63e63485830d9aa6b837ea3f8e93c8ca835f58407b0",
    ),
    (
        "smoothed theory",
        ufm.Problem([40] * 4, 1e-2, 1e-2, loss=CrossEntropy(smoothing=0.1)),
        "theory",
        "434a6f2b227a8d31a739100d188ef470182859fe3282069c5eaa85d5d19cb8e5",
    ),
    (
        "cs hinge frame",
        tail(loss=MulticlassHinge()),
        "frame",
        "a7b034e58d4c28818ec33c063b8abf2abb70c4dfbc79e069b6c9b9f32385d6ae",
    ),
    (
        "ww hinge frame",
        tail(loss=MulticlassHinge("weston-watkins")),
        "frame",
        "665fb7b4dd7cc65af979b8d71233ce448d527faf25f5b312f7399688e64080c2",
    ),
    (
        "bce frame",
        ufm.Problem([40, 30, 20, 10], 1e-2, 1e-2, loss=BinaryCrossEntropy()),
        "frame",
        "4a1d33867852efa3bbfc8e82a62a481b27d2faaa0efba76ed45c84b66c2713fe",
    ),
    (
        "hard margin frame",
        tail(constraint=ufm.HardMargin()),
        "frame",
        "425114628fc399bef5647ca2ce65722c4d349538619fda78cac89f55ef84e4a1",
    ),
    (
        "peeled theory",
        ufm.Problem([60, 40, 20, 5], constraint=ufm.LayerPeeled(1, 5)),
        "theory",
        "5d05d925a8eb3915aff4f42eddceab5547419d3f1e2c7d793869e11f13eebf5d",
    ),
    (
        "groups theory",
        ufm.Problem([60] * 3 + [6] * 3, 1e-3, 1e-3),
        "theory",
        "60e0ab32916a3e368b57c5c41ea603c3e3c48b7e716d29b281b79a28f7393c4a",
    ),
    (
        "groups frame",
        ufm.Problem([60] * 3 + [6] * 3, 1e-3, 1e-3),
        "frame",
        "435a82df606abff398f1e161388c92ea39913a6c6d4a376b8a2ae4caa6a548b8",
    ),
]
CLAIMS = [
    ("squared error", tail(loss=MeanSquaredError()), "frame", "1646401267116783p-53", "1646401267116793p-53", True),
    (
        "logit adjustment",
        tail(loss=LogitAdjustedCrossEntropy(shift=(0.1, 0.0, -0.2, -0.4))),
        "frame",
        "2874331662079393p-52",
        "2874331662079407p-52",
        True,
    ),
    (
        "soft targets",
        ufm.Problem([20] * 3, 5e-2, 5e-2, loss=SoftTargetCrossEntropy(SOFT)),
        "frame",
        "2464850235759373p-51",
        "2464850235759375p-51",
        True,
    ),
    ("penalised bias", tail(bias=0.02), "frame", "2835782738291389p-52", "5671565476582805p-53", True),
    (
        "sigmoids, K = 5",
        ufm.Problem([40, 30, 20, 10, 5], 1e-2, 1e-2, loss=BinaryCrossEntropy()),
        "frame",
        "3470995942791677p-51",
        "3470995948203323p-51",
        False,
    ),
    (
        "free bias",
        ufm.Problem([100, 10, 10], 1e-2, 1e-2, bias="free"),
        "frame",
        "344436245246959p-50",
        "21527265342841p-46",
        False,
    ),
    (
        "hard margin, free",
        tail(constraint=ufm.HardMargin(), features="free"),
        "theory",
        "5787869267486723p-55",
        "5787869267486945p-55",
        False,
    ),
]


def certified(problem, solver):
    return json.loads(ufm.certify(problem, solution=ufm.solve(problem, solver=solver)).to_json())


def transcendental():
    """What exp and log of this machine give: NumPy's differ in the last place from one processor to another."""
    x = np.linspace(-30.0, 30.0, 4001)
    away = np.abs(x) + 1e-3
    values = (np.exp(x), np.expm1(x), np.log(away), np.log1p(away), np.sqrt(away))
    return hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest()


def number(text):
    mantissa, exponent = text.split("p")
    return int(mantissa) * 2.0 ** int(exponent)


@pytest.mark.parametrize(("name", "problem", "solver", "digest"), DIGESTS, ids=[row[0] for row in DIGESTS])
def test_digests_are_those_of_before(name, problem, solver, digest):
    document = certified(problem, solver)
    if transcendental() == RECORDED_ON:
        assert document["digest"] == digest
    lower, upper = number(document["claims"]["lower"]), number(document["claims"]["upper"])
    assert 0.0 <= upper - lower <= 1e-10 * upper  # of closed forms, on any machine


@pytest.mark.parametrize(("name", "problem", "solver", "lower", "upper", "exact"), CLAIMS, ids=[c[0] for c in CLAIMS])
def test_claims_are_those_of_before(name, problem, solver, lower, upper, exact):
    claims = certified(problem, solver)["claims"]
    if exact:
        assert (claims["lower"], claims["upper"]) == (lower, upper)
    # no looser by more than a tenth of the tolerance, 1e-6
    assert number(claims["lower"]) >= number(lower) * (1.0 - 1e-7)
    assert number(claims["upper"]) <= number(upper) * (1.0 + 1e-7)


def test_a_digest_sees_the_last_place():
    one = ufm.Problem([60, 40, 20, 5], 1e-2, 1e-2)
    other = ufm.Problem([60, 40, 20, 5], 1e-2, 1e-2 * (1 + 2**-52))
    assert certified(one, "frame")["digest"] != certified(other, "frame")["digest"]


def test_the_proof_of_alike_classes_is_one_of_groups():
    """The one change of form: beside a bias alike classes are proved as groups, at any number of them."""
    found = certified(ufm.Problem([100, 10, 10], 1e-2, 1e-2, bias="free"), "frame")
    assert found["dual"]["kind"] == "group"
    assert len(found["dual"]["columns"]) == 2
