"""A bias, free or penalised, beside norm balls and hard margins: one algebra, so both at once.

Expected values come from an independent formulation (cvxpy's own programme in Z, L and b, unscaled), exact rational
margins, and the independent verifier; random campaigns draw from ``numpy.random.default_rng(seed)``.
"""

from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex import theory
from ufm_convex.enclosure.block_dual import BlockDual
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy
from ufm_convex.methods.penalised import PenalisedFamily
from ufm_convex.problem.constraints import HardMargin, LayerPeeled
from ufm_convex.recovery import admitted
from ufm_convex.relaxation import Factors, objective, of_classes

COUNTS = (12, 8, 1)
TABLE = [[0, 7, 0.2], [0.5, 0, 0.2], [0.7, 4, 0]]
PEELED = LayerPeeled(1, 5)


def independent(problem, margins=None):
    """The optimum of the relaxation in cvxpy as the definition writes it, to Clarabel's accuracy."""
    K, n = len(problem.class_counts), np.array(problem.class_counts, dtype=float)
    Z, b = cp.Variable((2 * K, 2 * K), PSD=True), cp.Variable(K)
    A, L, B = Z[:K, :K], Z[:K, K:], Z[K:, K:]
    z = L + b[:, None] @ np.ones((1, K))
    price = 0.0 if problem.bias == "free" else 0.5 * problem.bias * cp.sum_squares(b)
    constraints = [B >= 0] if problem.nonnegative else []
    if margins is not None:
        constraints += [z[k, k] - z[j, k] >= margins[k][j] for k in range(K) for j in range(K) if j != k]
        value = 0.5 * problem.lambda_w * cp.trace(A) + 0.5 * problem.lambda_h * cp.sum(cp.multiply(n, cp.diag(B)))
    else:
        losses = cp.log_sum_exp(z, axis=0) - cp.diag(z)
        value = (n / n.sum()) @ losses
        constraints += [cp.trace(A) <= K * 1.0, cp.trace(B) <= K * 5.0]
    found = cp.Problem(cp.Minimize(value + price), constraints)
    found.solve(solver="CLARABEL")
    return found.value


def smallest_margin(W, H, b, required):
    """min over k and j of z_k − z_j − m, in exact rationals."""
    w, h = ([[Fraction(x) for x in row] for row in matrix.tolist()] for matrix in (W, H))
    offset = [Fraction(x) for x in b.tolist()]
    worst = Fraction(10**9)
    for k, feature in enumerate(h):
        z = [sum(a * c for a, c in zip(row, feature, strict=True)) + o for row, o in zip(w, offset, strict=True)]
        worst = min(worst, *(z[k] - z[j] - Fraction(required[k][j]) for j in range(len(z)) if j != k))
    return worst


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("unit", ["free", 0.02])
@pytest.mark.parametrize("t", [1.0, 1e-2])
def test_hard_margins(features, unit, t):
    bias = unit if unit == "free" else unit * t  # the model is homogeneous in √(λ_W λ_H) and λ_b
    problem = ufm.Problem(COUNTS, t, t, constraint=HardMargin(TABLE), bias=bias, features=features)
    found = ufm.solve(problem)
    assert found.status == "certified"
    at_one = ufm.Problem(COUNTS, 1.0, 1.0, constraint=HardMargin(TABLE), bias=unit, features=features)
    assert found.value == pytest.approx(t * independent(at_one, TABLE), rel=1e-6)  # accuracy of an interior point
    assert smallest_margin(*found.factors(), found.bias, TABLE) >= 0
    without = ufm.solve(ufm.Problem(COUNTS, t, t, constraint=HardMargin(TABLE), features=features))
    assert found.value < 0.95 * without.value
    certificate = ufm.certify(problem, solution=found)
    assert ufm.verify(certificate.to_json().encode(), problem=problem).verdict == "PROVED"
    assert found.kkt().passed


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("bias", ["free", 0.02])
@pytest.mark.parametrize("counts", [(50, 20, 5), (20, 20, 20)])
def test_norm_balls(features, bias, counts):
    problem = ufm.Problem(counts, constraint=PEELED, bias=bias, features=features)
    found = ufm.solve(problem)
    assert found.status == "certified"
    assert found.value == pytest.approx(independent(problem), rel=2e-6)
    W, H = found.factors()
    assert (W**2).sum() <= 3.0 * (1 + 1e-12)
    assert (H**2).sum() <= 15.0 * (1 + 1e-12)
    certificate = ufm.certify(problem, solution=found)
    verified = ufm.verify(certificate.to_json().encode(), problem=problem)
    assert verified.verdict == "PROVED"
    assert found.kkt().passed


@pytest.mark.parametrize("bias", ["free", 0.02])
@pytest.mark.parametrize("constraint", [PEELED, HardMargin(1.0)])
def test_groups(constraint, bias):
    decays = (None, None) if constraint is PEELED else (1e-3, 1e-3)
    problem = ufm.Problem([50] * 12 + [3] * 13, *decays, constraint=constraint, bias=bias, features="free")
    group, single = (ufm.solve(problem, solver="clarabel", level=level) for level in ("group", "class"))
    assert group.status == single.status == "certified"
    assert group.value == pytest.approx(single.value, rel=2e-6)
    if constraint is not PEELED:
        required = np.ones((25, 25))
        assert smallest_margin(*group.factors(), group.bias, required) >= 0
    assert ufm.verify(ufm.certify(problem, solution=group).to_json().encode()).verdict == "PROVED"


def test_a_campaign_of_both():
    """Seed 31: K ≤ 4, counts to 300, either constraint and bias; every one certified, and no higher than without."""
    rng = np.random.default_rng(31)
    for i in range(12):
        K = int(rng.integers(2, 5))
        counts, bias = rng.integers(1, 300, K).tolist(), ("free", float(10.0 ** rng.uniform(-3, 1)))[i % 2]
        features = ("free", "nonnegative")[i // 2 % 2]
        given = {"features": features, "constraint": PEELED}
        if i // 4 % 2:
            margins = rng.uniform(0.3, 2.5, (K, K))
            np.fill_diagonal(margins, 0.0)
            given["constraint"] = HardMargin(margins.tolist())
            given["lambda_w"], given["lambda_h"] = (10.0 ** rng.uniform(-4, 0, 2)).tolist()
        found = ufm.solve(ufm.Problem(counts, bias=bias, **given))
        assert found.status == "certified", (counts, bias, given)
        assert found.lower_bound <= ufm.solve(ufm.Problem(counts, **given)).upper_bound


def test_theorems_do_not_speak_of_a_bias_that_does_something():
    for given in ({"constraint": PEELED}, {"constraint": HardMargin(1.0), "lambda_w": 1e-2, "lambda_h": 1e-2}):
        with pytest.raises(HypothesisError):
            theory.optimum(ufm.Problem([50, 20, 5], bias="free", features="free", **given))
        idle = ufm.Problem([20] * 4, bias="free", **given)  # equal counts: nothing changes (docs/bias.md, section 2)
        assert ufm.solve(idle).value == pytest.approx(ufm.solve(ufm.Problem([20] * 4, **given)).value, rel=2e-6)


def test_logits_and_bias_are_stretched_together():
    """A bias that gives the majority all of its margin: no multiple of its feature, which is zero, would."""
    problem = ufm.Problem([50, 20, 5], 1e-2, 1e-2, constraint=HardMargin(1.0), bias="free")
    columns, found = of_classes(problem), ufm.solve(problem)
    W, H = found.factors()
    short = Factors.single(columns, 0.9 * W, H, 0.9 * found.bias)
    assert objective(columns, short) == np.inf  # the planted fault
    assert objective(columns, admitted(columns, short)) == pytest.approx(found.value, rel=1e-9)
    without = Factors.single(columns, 0.9 * W, H, None)
    assert objective(columns, admitted(columns, without)) > found.value


def test_a_proof_in_other_units():
    proof = BlockDual("dense", [3, -2], [[0, 5], [7, 0]], [[0], [2, 0]], 4, [[1], [2, 3]], 0.1, None, balanced=True)
    moved = proof.times(Fraction(12))
    assert moved.exponents == [5, 0]
    assert moved.columns == [[0, 15], [21, 0]]
    assert moved.factor == [[3], [6, 9]]
    assert moved.multiplier == [[0], [18, 0]]
    half = proof.times(Fraction(1, 4))
    assert (half.exponents, half.columns) == ([1, -4], proof.columns)


def test_weights_that_cannot_be_balanced_exactly_are_refused_a_certificate():
    loss = CrossEntropy(class_weights=(0.3, 1.7, 2.1))
    problem = ufm.Problem([50, 20, 7], constraint=PEELED, bias="free", loss=loss)
    assert PenalisedFamily.of(problem).excess > 1
    found = ufm.solve(problem)
    assert found.status == "certified"
    with pytest.raises(HypothesisError, match="balance them exactly"):
        ufm.certify(problem, solution=found)
    # what the fix says: another weight of the bias, or weights of few digits
    for fixed in (
        ufm.Problem([50, 20, 7], constraint=PEELED, bias=1e-9, loss=loss),
        ufm.Problem([50, 20, 7], constraint=PEELED, bias="free", loss=CrossEntropy(class_weights=(0.25, 1.75, 2.125))),
    ):
        assert ufm.verify(ufm.certify(fixed).to_json().encode()).verdict == "PROVED"
