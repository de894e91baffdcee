"""Proofs of large dense points in binary64: each bound contains what exact arithmetic and balls say, and is needed."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx
from float_environment import AVAILABLE, ROUNDINGS, WHY_NOT, rounding

import ufm_convex as ufm
from ufm_convex import duality, relaxation
from ufm_convex.enclosure import fast, lower, slack, upper
from ufm_convex.enclosure.block_dual import BlockDual
from ufm_convex.enclosure.columns import ExactColumns
from ufm_convex.enclosure.proved import FactorWitness
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, Factors, Orbits

K = fast.FEWEST


def soft(seed: int, size: int = K, own: float = 0.9) -> Problem:
    """Distinct counts and a table whose rows differ; generator and seed as given."""
    generator = np.random.default_rng(seed)
    table = generator.random((size, size)) * (1.0 - own) / size
    table[generator.random((size, size)) < 0.3] = 0.0
    np.fill_diagonal(table, 0.0)
    np.fill_diagonal(table, 1.0 - table.sum(axis=1))
    counts = generator.permutation(np.arange(1, size + 1)) * 7
    return Problem(counts, 1e-4, 2e-4, loss=ufm.SoftTargetCrossEntropy(table))


def hard(seed: int, bias: float | None = None) -> Problem:
    """Free features, so that the proof is dense."""
    counts = np.random.default_rng(seed).permutation(np.arange(1, K + 1)) * 5
    return Problem(counts, 1e-4, 3e-4, features="free", bias=bias)


CASES: dict[str, Callable[[], Problem]] = {
    "soft": lambda: soft(1),
    "nearly hard": lambda: soft(2, own=1.0 - 1e-7),
    "hard, free": lambda: hard(3),
    "hard, free, bias": lambda: hard(4, bias=0.5),
}


def proved(problem: Problem, seed: int = 0) -> tuple[ExactColumns, BlockDual]:
    """A dual point near the residuals at random logits of the size of the optimum's, with an exact slack proof."""
    columns, generator = relaxation.of_classes(problem), np.random.default_rng(seed)
    logits = Alike.matrix(columns.outputs, columns.columns, generator.normal(size=(K, K)) + 4.0 * np.eye(K))
    dual, _ = duality.repair(columns, [relaxation.Dual(columns.residuals(logits))])
    found = lower.lower_bound(problem, dual)
    assert found.proof == "dense"
    assert isinstance(found.exact_point, BlockDual)
    return ExactColumns.of_classes(problem), found.exact_point


def witness(problem: Problem, seed: int = 0) -> tuple[ExactColumns, FactorWitness]:
    """Random factors with margins from −3 to 6."""
    generator, columns = np.random.default_rng(seed), ExactColumns.of_classes(problem)
    W, H = generator.normal(size=(K, K)), np.diag(6.0 * generator.random(K)) + 0.1 * generator.random((K, K))
    d = Orbits.single(K)
    bias = None if problem.bias is None else generator.normal(size=K)
    factors = Factors(Alike.matrix(columns.outputs, d, W), Alike.matrix(columns.columns, d, H), bias)
    found = upper._exact_factors(columns, factors)
    assert found is not None
    return columns, found


@pytest.fixture(autouse=True)
def precision() -> object:
    """Balls as narrow as proofs make them."""
    with ctx.workprec(128):
        yield


# -- the dual value -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_the_dual_value_contains_that_of_balls(name: str) -> None:
    columns, proof = proved(CASES[name]())
    quick, exact = fast.dual_value(columns, proof), lower._dual_value(columns, proof)
    assert quick is not None
    assert quick.contains(exact)
    assert float(quick.rad()) <= 1e-12 * float(abs(exact.mid()))  # K u and ε_L, of a value of order one


@pytest.mark.parametrize("off", [2.0**-40, -(2.0**-40)])
def test_a_logarithm_that_is_off_by_more_than_its_bound_shows(off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """2^-40 relatively; the bound allows 2^-47 and K units in the last place, 2^-46.5 together."""
    columns, proof = proved(soft(1))
    log_of = fast.log_of
    monkeypatch.setattr(fast, "log_of", lambda x: log_of(x) * (1.0 + off))
    found = fast.dual_value(columns, proof)
    assert found is not None
    assert not found.contains(lower._dual_value(columns, proof))


def test_points_outside_the_domain_are_never_valued() -> None:
    """p_j = −2^-30 by its sign alone: the exact path then refuses it by name."""
    columns, proof = proved(soft(1))
    outside = [list(column) for column in proof.columns]
    outside[0][1] = -(2 ** (-30 - proof.exponents[0])) - 2**45
    wrong = BlockDual("dense", proof.exponents, outside, None, 0, None, proof.margin)
    assert fast.dual_value(columns, wrong) is None
    with pytest.raises(ValueError, match="outside the simplex"):
        lower._dual_value(columns, wrong)


def test_an_own_share_that_may_be_negative_is_left_to_balls() -> None:
    """p_y = 1 − Σ p_j < 0 where other shares sum to more than 1."""
    columns, proof = proved(hard(3))
    many = [[0 if j == k else int(2.0 ** -proof.exponents[k] / (K - 2)) for j in range(K)] for k in range(K)]
    assert fast.dual_value(columns, BlockDual("dense", proof.exponents, many, None, 0, None, 0.0)) is None


# -- the loss -----------------------------------------------------------------------------------------------------


def exact_loss(columns: ExactColumns, found: FactorWitness, monkeypatch: pytest.MonkeyPatch) -> arb:
    with monkeypatch.context() as patch:
        patch.setattr(fast, "FEWEST", 10**9)
        return upper._loss(columns, found)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_contains_that_of_balls(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    columns, found = witness(CASES[name](), seed)
    quick = fast.loss_value(columns, found)
    exact = exact_loss(columns, found, monkeypatch)
    exact -= columns.bias.enclose_penalty([] if found.bias is None else found.bias.rationals(), columns.output_sizes)
    assert quick is not None
    assert quick.contains(exact)
    assert float(quick.rad()) <= 1e-11 * float(abs(exact.mid()))  # logits of size ρ ≤ 60 carry d u ρ each


@pytest.mark.parametrize("entry", [5e-324, -1e-310, 1e-200])
def test_the_loss_at_a_bias_of_any_size_contains_that_of_balls(entry: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Denominators beyond 2^1024 among them: the exact numbers are taken by their quotient."""
    columns, generator = ExactColumns.of_classes(hard(4, bias=0.5)), np.random.default_rng(0)
    W, H, bias = generator.normal(size=(K, 3)), generator.normal(size=(K, 3)), generator.normal(size=K)
    bias[5] = entry
    d = Orbits.single(3)
    factors = Factors(Alike.matrix(columns.outputs, d, W), Alike.matrix(columns.columns, d, H), bias)
    found = upper._exact_factors(columns, factors)
    assert found is not None
    assert found.bias is not None
    quick, exact = fast.loss_value(columns, found), exact_loss(columns, found, monkeypatch)
    exact -= columns.bias.enclose_penalty(found.bias.rationals(), columns.output_sizes)
    assert quick is not None
    assert quick.contains(exact)


def test_a_product_that_is_off_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Powers off by 2^-36 relatively, where ε_E = 2^-44 is allowed for."""
    from ufm_convex.enclosure import candidate

    columns, found = witness(soft(1))
    exact = exact_loss(columns, found, monkeypatch)
    original = candidate.exp_of_minus
    monkeypatch.setattr(candidate, "exp_of_minus", lambda *a: original(*a) * (1.0 + 2.0**-36))
    quick = fast.loss_value(columns, found)
    assert quick is not None
    assert not quick.contains(exact)


# -- the slack ----------------------------------------------------------------------------------------------------


def exact_room(rows: list[list[int]], tau: list[list[int]], radii: list[int], nonnegative: bool) -> list[int]:
    """Diagonal minus what counts of the rest of each row of Diag(radii) − rows rowsᵀ − τ, in integers."""
    found = []
    for g, row in enumerate(rows):
        entries = [-sum(map(int.__mul__, row, other)) - tau[g][h] for h, other in enumerate(rows)]
        rest = (max(-e, 0) if nonnegative else abs(e) for h, e in enumerate(entries) if h != g)
        found.append(radii[g] + entries[g] - sum(rest))
    return found


@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_the_room_of_a_row_is_never_overstated(seed: int, nonnegative: bool) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.integers(-(2**41), 2**41, size=(30, 45))
    tau = np.tril(generator.integers(0, 2**50, size=(30, 30)), -1)
    radii = [int(r) << 40 for r in generator.integers(0, 2**50, size=30)]
    tau += tau.T
    room = fast._room(rows.astype(float), tau.astype(float), np.array(radii, dtype=float), nonnegative)
    assert room is not None
    exact = exact_room(rows.tolist(), tau.tolist(), radii, nonnegative)
    assert all(Fraction(float(r)) <= e for r, e in zip(room, exact, strict=True))


def test_without_its_error_the_room_would_be_overstated(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the bound is needed: some of 30 rows of 45 products come out too large where nothing is taken off."""
    generator = np.random.default_rng(7)
    rows = generator.integers(-(2**41), 2**41, size=(30, 45))
    radii, tau = [0] * 30, np.zeros((30, 30))
    monkeypatch.setattr(fast, "room_error", lambda size, inner: 0.0)
    room = fast._room(rows.astype(float), tau, np.zeros(30), True)
    assert room is not None
    exact = exact_room(rows.tolist(), tau.astype(int).tolist(), radii, True)
    assert any(Fraction(float(r)) > e for r, e in zip(room, exact, strict=True))


def test_the_error_of_a_row_pays_for_every_rounding() -> None:
    """n products and n − 1 sums in a row, C − 1 sums over the others, then τ, two radii and two differences."""
    for size, inner in ((64, 64), (1000, 2000)):
        assert fast.room_error(size, inner) >= (inner + size + 5) * 2.0**-53 * (1.0 + 2.0**-30)


def test_what_is_decided_is_what_integers_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, proof = proved(hard(3))
    attempt = slack._Attempt.of(columns, "dense", slack._COARSE, slack._COARSE_SHIFT)
    assert fast.dominates(columns, proof, attempt.radii) is True
    short = [radius * 9 // 10 for radius in attempt.radii]
    assert fast.dominates(columns, proof, short) is None
    monkeypatch.setattr(fast, "FEWEST", 10**9)
    assert attempt._checked(proof) is proof
    assert slack._Attempt._checked(_with_radii(attempt, short), proof) is None


@pytest.mark.parametrize(("tau", "decided"), [(10, None), (9, True)])
def test_a_multiplier_counts_in_both_its_rows(tau: int, decided: bool | None) -> None:
    """τ_10 alone, in units of 2^3, beside radii of 79 and much: row 0 has room for 72 and not for 80."""
    columns = ExactColumns.of_classes(soft(1))
    multiplier = [[0] * (g + 1) for g in range(K)]
    multiplier[1][0] = tau
    proof = BlockDual("dense", [0] * K, [[0] * K for _ in range(K)], multiplier, 3, None, 0.0)
    assert fast.dominates(columns, proof, [79] + [10**6] * (K - 1)) is decided


def _with_radii(attempt: slack._Attempt, radii: list[int]) -> slack._Attempt:
    changed = slack._Attempt.of(attempt.columns, attempt.kind, attempt.bits, attempt.shift)
    changed.__dict__["radii"] = radii
    return changed


# -- when it stands back --------------------------------------------------------------------------------------------


def test_it_stands_back_for_other_losses_orbits_and_few_columns() -> None:
    for problem in (
        soft(1, size=K - 1),
        Problem(range(1, K + 1), 1e-3, 1e-3, loss=ufm.BinaryCrossEntropy()),
        Problem(range(1, K + 1), 1e-3, 1e-3, loss=ufm.CrossEntropy(smoothing=0.1)),
    ):
        columns = ExactColumns.of_classes(problem)
        assert fast.dual_value(columns, BlockDual.zero(columns)) is None
    assert (
        fast.dual_value(ExactColumns.of_classes(soft(1)), BlockDual.zero(ExactColumns.of_classes(soft(1)))) is not None
    )


@pytest.mark.skipif(not AVAILABLE, reason=WHY_NOT)
@pytest.mark.parametrize("mode", ROUNDINGS)
def test_it_stands_back_where_numbers_are_not_rounded_to_nearest(mode: str) -> None:
    columns, proof = proved(soft(1))
    radii = slack._Attempt.of(columns, "dense", slack._COARSE, slack._COARSE_SHIFT).radii
    there, found = witness(soft(1))
    with rounding(mode):
        assert fast.dominates(columns, proof, radii) is None
        assert fast.dual_value(columns, proof) is None
        assert fast.loss_value(there, found) is None


def test_bounds_with_and_without_it_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both bounds of a solve, to 1e-12: the quick ones are no better than those of balls."""
    problem = soft(5)
    quick = ufm.solve(problem)
    monkeypatch.setattr(fast, "FEWEST", 10**9)
    exact = ufm.solve(problem)
    assert quick.lower_bound <= exact.lower_bound
    assert quick.upper_bound >= exact.upper_bound
    assert quick.lower_bound == pytest.approx(exact.lower_bound, rel=1e-12)
    assert quick.upper_bound == pytest.approx(exact.upper_bound, rel=1e-12)
