"""Large dense certificates in few digits: nearly the same bounds, as provable, and no forgery of them passes."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import naive_verifier
import numpy as np
import pytest
from certificate_cases import resealed, text

import ufm_convex as ufm
from ufm_convex import relaxation
from ufm_convex.certificate import certify, encoding, shortening
from ufm_convex.enclosure import lower, short
from ufm_convex.solving import method_of
from ufm_convex.verifier import Verdict, checking, verify
from ufm_convex.verifier.problem import Problem as ReadProblem
from ufm_convex.verifier.proof import Blocks

K = 96


def free():
    """All counts distinct, all coordinates in use: the slack beside its margin has rank one."""
    return ufm.Problem(np.arange(K, 2 * K), 0.3 / K**1.5, 0.3 / K**1.5, features="free")


@pytest.fixture(scope="module", params=["free", "nonnegative"])
def solved(request):
    """A problem of distinct counts whose proof is dense, with a factor or, for a frame, without, and its solution."""
    if request.param == "free":
        return free(), ufm.solve(free(), solver="factored")
    table = np.random.default_rng(1).random((K, K)) * 0.1 / K
    np.fill_diagonal(table, 0.0)
    np.fill_diagonal(table, 1.0 - table.sum(axis=1))
    problem = ufm.Problem(np.arange(1, K + 1) * 7, 1e-4, 2e-4, loss=ufm.SoftTargetCrossEntropy(table))
    return problem, ufm.solve(problem)


def made(solved, monkeypatch, *, few=0, tolerance=1e-6):
    """The certificate with digits saved from so few numbers on."""
    problem, solution = solved
    monkeypatch.setattr(shortening, "FEWEST", few)
    return certify(problem, solution=solution, proof="dense", tolerance=tolerance)


@pytest.fixture
def pair(solved, monkeypatch):
    """Long and short."""
    return made(solved, monkeypatch, few=10**9), made(solved, monkeypatch)


@pytest.fixture(scope="module")
def factored():
    """A short certificate with a factor."""
    solution = ufm.solve(free(), solver="factored")
    with pytest.MonkeyPatch.context() as patch:
        return made((free(), solution), patch)


def lengths(certificate):
    """Bytes of the columns, the factor and the witness."""
    dual, witness = certificate.content["dual"], certificate.content["witness"]
    matrices = dual["columns"], dual["factor"] or [], witness["W"]["rows"], witness["H"]["rows"]
    return [sum(map(len, rows)) for rows in matrices]


def test_a_short_certificate_proves_nearly_the_same(pair):
    long, short_ = pair
    assert long.verdict == short_.verdict == "optimal"
    assert sum(lengths(short_)) < 0.7 * sum(lengths(long))
    assert long.lower * (1.0 - 1e-7) < short_.lower <= long.lower
    assert long.optimum_upper <= short_.optimum_upper < long.optimum_upper * (1.0 + 1e-6 * shortening.EXCESS * 1.01)
    assert verify(short_.to_json().encode()).verdict is Verdict.PROVED


def test_the_exact_path_proves_it_too(pair, monkeypatch):
    monkeypatch.setattr(checking, "fast", None)
    assert verify(pair[1].to_json().encode()).verdict is Verdict.PROVED


def test_a_verifier_without_fast_paths_or_shared_code_accepts_it(monkeypatch):
    """The naive one of the tests, by rationals and mpmath; and refuses the same proof of more."""
    problem = ufm.Problem(np.arange(24, 48), 0.3 / 24**1.5, 0.3 / 24**1.5, features="free")
    short_ = made((problem, ufm.solve(problem, solver="factored")), monkeypatch)
    document = json.loads(short_.to_json())
    assert max(int(x) for row in document["dual"]["columns"] for x in row.split(" ")) < 2**40  # of 72 bits
    assert naive_verifier.verdict(document) == "PROVED"
    document["claims"]["lower"] = document["claims"]["upper"]
    assert naive_verifier.verdict(document) == "REFUTED"


@pytest.mark.parametrize("empty", [[0], [3, 11]])
@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_rows_of_a_short_witness_belong_to_the_classes_that_have_samples(features, empty, monkeypatch):
    """The file names a row for each class, and the naive verifier takes it."""
    counts = np.arange(12, 24)
    counts[empty] = 0
    problem = ufm.Problem(counts, 0.3 / 12**1.5, 0.3 / 12**1.5, features=features)
    solution = ufm.solve(problem, solver="factored")
    long, short_ = made((problem, solution), monkeypatch, few=10**9), made((problem, solution), monkeypatch)
    rows = short_.content["witness"]["H"]["rows"]
    assert [k for k, row in enumerate(rows) if not any(map(int, row.split(" ")))] == empty
    assert sum(map(len, rows)) < sum(map(len, long.content["witness"]["H"]["rows"]))
    assert naive_verifier.verdict(json.loads(short_.to_json())) == "PROVED"


def test_a_tolerance_that_leaves_no_room_keeps_every_digit(solved, monkeypatch):
    _, solution = solved
    tolerance = 1.2 * (solution.upper_bound - solution.lower_bound) / solution.upper_bound
    kept = made(solved, monkeypatch, tolerance=max(tolerance, 1e-13))
    long = made(solved, monkeypatch, few=10**9, tolerance=max(tolerance, 1e-13))
    assert kept.content["dual"] == long.content["dual"]
    assert kept.content["witness"] == long.content["witness"]


@pytest.mark.parametrize(("share", "shorter"), [(shortening.ROOM * 0.999, True), (shortening.ROOM * 1.001, False)])
def test_what_is_left_of_a_tolerance_decides_on_either_side(share, shorter, solved, monkeypatch):
    """Bounds that are made to be 1e-6 apart."""
    problem, solution = solved
    monkeypatch.setattr(shortening, "FEWEST", 0)
    bounds = method_of(problem).bounds(solution, "dense")
    apart = replace(bounds, upper=replace(bounds.upper, value=bounds.lower.value / (1.0 - 1e-6)))
    found = shortening.shortened(problem, apart, 1e-6 / share)
    assert (found.lower is not apart.lower, found.upper is not apart.upper) == (shorter, shorter)


@pytest.mark.parametrize(("few", "shorter"), [(K**2, True), (K**2 + 1, False)])
def test_so_many_numbers_are_shortened_and_no_fewer(factored, few, shorter, monkeypatch):
    found = made((free(), ufm.solve(free(), solver="factored")), monkeypatch, few=few)
    assert (found.content["dual"] == factored.content["dual"]) is shorter


def test_digits_that_are_worth_more_than_their_share_stay(solved, monkeypatch):
    """Planted: a rounding that loses the point, and with it the bound, though all that is left is proved."""
    long = made(solved, monkeypatch, few=10**9)
    monkeypatch.setattr(short, "keeping_sums", np.zeros_like)
    found = made(solved, monkeypatch)
    assert found.verdict == "optimal"
    assert found.content["dual"] == long.content["dual"]


def slack_room(document):
    """E_gg − Σ δ(E_gh) of each row of (9), in integers; with E."""
    blocks = Blocks(ReadProblem(document["problem"]), document["dual"])
    Z = np.array([[int(x) for x in row] for row in blocks.columns_], dtype=object)
    Z[np.arange(K), np.arange(K)] = blocks.own
    C = np.zeros((K, K), dtype=object)
    for g, row in enumerate(blocks.factor):
        C[g, : g + 1] = [int(x) for x in row]
    tau = np.array([[blocks._multiplier(g, h) for h in range(K)] for g in range(K)], dtype=object)
    E = np.diag([blocks.radius(g) for g in range(K)]) - Z @ Z.T - C @ C.T - tau
    deltas = [[max(0, -e) if blocks.problem.nonnegative else abs(e) for e in row] for row in E.tolist()]
    rooms = [E[g, g] + blocks._multiplier(g, g) - sum(deltas[g][h] for h in range(K) if h != g) for g in range(K)]
    return rooms, E, C


def verdict_of(document, step):
    return {found.name: found.verdict for found in verify(text(resealed(document))).steps}[step]


def with_entry(document, row, column, integer):
    """The certificate with another entry of its factor."""
    forged = json.loads(json.dumps(document))
    entries = forged["dual"]["factor"][row].split(" ")
    entries[column] = str(integer)
    forged["dual"]["factor"][row] = " ".join(entries)
    return forged


def test_a_slack_that_is_short_by_a_hair_is_refuted(factored):
    """The last own entry of the factor such that its row has just enough room, and by one unit more too little.

    Only E_gg moves with it, by its square: a hair is a unit of 2^32, of radii of 2^60 and more.
    """
    document = json.loads(factored.to_json())
    rooms, _, C = slack_room(document)
    g = K - 1
    most = int(C[g, g] ** 2 + rooms[g])
    root = int(np.sqrt(float(most)))
    root = next(r for r in range(root + 3, 0, -1) if r * r <= most)
    for entry, expected in ((root, Verdict.PROVED), (root + 1, Verdict.REFUTED)):
        forged = with_entry(document, g, g, entry)
        assert (min(slack_room(forged)[0]) >= 0) is (expected is Verdict.PROVED)
        assert verdict_of(forged, "slack") is expected


def test_entries_of_the_factor_off_by_one_are_judged_as_integers_do(factored):
    """A unit of the factor's first column is worth twice another entry of it: what integers say, the verifier says."""
    document = json.loads(factored.to_json())
    seen = set()
    for row in (0, 50):
        for off in (-1, 1, 1 << 18):
            entry = int(document["dual"]["factor"][row].split(" ")[0]) + off
            forged = with_entry(document, row, 0, entry)
            holds = min(slack_room(forged)[0]) >= 0
            assert verdict_of(forged, "slack") is (Verdict.PROVED if holds else Verdict.REFUTED)
            seen.add(holds)
    assert seen == {True, False}


@pytest.mark.parametrize(("name", "step", "sign"), [("lower", "lower bound", 1), ("upper", "upper bound", -1)])
def test_a_bound_that_claims_a_unit_too_much_is_refuted(pair, name, step, sign):
    """A unit of 2^-35: the writer leaves room of 2^-36 beside what it proves."""
    document = json.loads(pair[1].to_json())
    claimed = encoding.undyadic(document["claims"][name])
    document["claims"][name] = encoding.dyadic(claimed * (1 + sign * Fraction(1, 2**35)))
    assert verdict_of(document, step) is Verdict.REFUTED


def test_columns_off_by_one_are_judged_as_integers_do(factored):
    """A unit of a column is worth twice its length of a row's room."""
    document = json.loads(factored.to_json())
    for row, off in ((0, 1), (5, 40), (9, 1 << 12)):
        forged = json.loads(json.dumps(document))
        entries = forged["dual"]["columns"][row].split(" ")
        entries[-1] = str(int(entries[-1]) + off)
        forged["dual"]["columns"][row] = " ".join(entries)
        holds = min(slack_room(forged)[0]) >= 0
        assert verdict_of(forged, "slack") is (Verdict.PROVED if holds else Verdict.REFUTED)


def test_a_multiplier_is_shortened_with_its_columns():
    """Wrong mass at class 0 alone, of very different strengths: ⟨u_k, u_l⟩ > 0, and without a factor no proof."""
    problem = ufm.Problem(np.arange(K, 2 * K), 1e-4, 1e-4)
    strengths = np.full(K, 0.05)
    strengths[:2] = 0.0, 0.6
    radii = np.sqrt(1e-8 * problem.class_counts)
    V = np.diag(-strengths * radii / problem.loss_weights)
    V[0] -= V.sum(axis=0)
    T = 1e-5 * np.random.default_rng(3).random((K, K)) * np.outer(radii, radii)
    T = np.tril(T, -1) + np.tril(T, -1).T
    long = lower.lower_bound(problem, relaxation.DualPoint(V, T), proof="dense")
    brief = lower.shorter_bound(problem, long, 1e-7)
    for found in (long, brief):
        assert found.exact_point.multiplier is not None
        assert found.exact_point.factor is not None
    bits = [max(max(map(max, found.exact_point.columns)), 1).bit_length() for found in (long, brief)]
    assert bits[1] <= bits[0] - 8
    taus = [max(map(max, found.exact_point.multiplier)).bit_length() for found in (long, brief)]
    assert taus[1] < taus[0]
    assert long.value * (1.0 - 1e-7) < brief.value < long.value


# -- the roundings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_rounding_keeps_sums_signs_and_zeros(seed):
    generator = np.random.default_rng(seed)
    scaled = 10.0 ** generator.uniform(-2, 6, (20, 30)) * generator.choice([-1.0, 0.0, 1.0], (20, 30))
    found = short.keeping_sums(scaled)
    assert np.array_equal(found, np.rint(found))
    assert (np.abs(found - scaled) < 1.0).all()
    assert (found * scaled >= 0.0).all()
    assert (np.abs(found.sum(axis=1) - scaled.sum(axis=1)) <= 0.5 + 1e-8).all()
    assert np.abs(np.rint(scaled).sum(axis=1) - scaled.sum(axis=1)).max() > 0.6  # which nearest integers do not


def test_a_factor_of_few_columns_leaves_a_dominated_rest():
    """Rank 3 and a margin; rank 40 has no short factor."""
    generator = np.random.default_rng(0)
    thin, thick = generator.normal(size=(60, 3)), generator.normal(size=(60, 40))
    margin = np.full(60, 1e-6)
    factor = short.low_rank_factor(thin @ thin.T + np.diag(margin), margin, False)
    assert factor is not None
    assert factor.shape == (60, 3)
    assert np.array_equal(factor, np.tril(factor))
    rest = thin @ thin.T + np.diag(margin) - factor @ factor.T
    assert (2.0 * rest.diagonal() > np.abs(rest).sum(axis=1)).all()
    assert short.low_rank_factor(thick @ thick.T + np.diag(margin), margin, False) is None


def test_coordinates_that_end_at_the_diagonal_change_no_logit_and_no_norm():
    generator = np.random.default_rng(1)
    W, H = generator.normal(size=(9, 12)), generator.normal(size=(7, 12))
    turned, lower = short.triangular(W, H)
    assert lower.shape == (7, 7)
    assert np.array_equal(lower, np.tril(lower))
    assert np.allclose(turned @ lower.T, W @ H.T, atol=1e-13)
    assert np.linalg.norm(lower) == pytest.approx(np.linalg.norm(H), rel=1e-14)
    assert np.linalg.norm(turned) <= np.linalg.norm(W)  # what no feature uses is left out
    assert (
        (lower < 0).sum(axis=0) + (turned < 0).sum(axis=0) <= (lower > 0).sum(axis=0) + (turned > 0).sum(axis=0)
    ).all()


@pytest.mark.parametrize("excess", [1e-3, 1e-9])
def test_a_coarse_matrix_is_as_coarse_as_was_asked(excess):
    """Uniform errors have a twelfth of a unit's square each; units are powers of two, so up to four times finer."""
    generator = np.random.default_rng(2)
    matrix, weights = np.tril(generator.normal(size=(200, 200))), generator.uniform(1.0, 3.0, 200)
    near = short.coarse(matrix, weights, excess)
    found = np.ldexp(np.array(near.rows, dtype=float), near.exponent)
    share = (weights @ ((found - matrix) ** 2).sum(axis=1)) / (weights @ (matrix**2).sum(axis=1))
    assert 0.2 * excess < share < 1.1 * excess
    assert (found[matrix == 0.0] == 0.0).all()


def test_distributions_for_classes_have_a_dense_proof_with_free_features_too():
    """A table that the format carries as a matrix of classes has no proof by residuals, however large it is."""
    size = 70
    table = np.full((size, size), 0.1 / (size - 1))
    np.fill_diagonal(table, 1.0 - table.sum(axis=1) + 0.1 / (size - 1))
    table[:, 0] += 1.0 - table.sum(axis=1)
    loss = ufm.SoftTargetCrossEntropy(table)
    problem = ufm.Problem(np.arange(size, 2 * size), 1e-3, 1e-3, features="free", loss=loss)
    solution = ufm.solve(problem)
    assert certify(problem, solution=solution).proof == "dense"
    with pytest.raises(ufm.errors.HypothesisError, match="no table of targets"):
        certify(problem, solution=solution, proof="residuals")
