"""Parrilo's cone as a level of the dual: its programme, the proof in integers, the certificate, and planted faults."""

import hashlib
import itertools
import json
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest
from certificate_cases import circle, judge_forgery, outcome, replaced, resealed, text
from soft_targets import uneven

import ufm_convex as ufm
from ufm_convex import enclosure, solvers, verifier
from ufm_convex.certificate.certifying import assemble
from ufm_convex.errors import HypothesisError, ProblemError
from ufm_convex.positivity import copositive_lower_bound
from ufm_convex.positivity.copositivity import lowest_direction
from ufm_convex.positivity.cubic import CopositiveProof, cubic_form_holds
from ufm_convex.positivity.parrilo import CubicForm, cubic_level, cubic_runs, symmetrised, tensor_places
from ufm_convex.relaxation import of_classes, of_groups, residual_gram
from ufm_convex.verifier import checking, costs

HORN = [[1, -1, 1, 1, -1], [-1, 1, -1, 1, 1], [1, -1, 1, -1, 1], [1, 1, -1, 1, -1], [-1, 1, 1, -1, 1]]
CLOSED = ufm.close_gap(circle(5))
DOCUMENT = json.loads(ufm.certify(CLOSED.problem, solution=CLOSED).to_json())


def run_of(problem):
    (run,) = cubic_runs(of_classes(problem))
    return run


# -- an independent statement: Parrilo's matrices M_i, in the dual -------------------------------------------------


def dual_value_with_matrices(problem):
    """max Σ pt Ent(p) s.t. [[I, U], [Uᵀ, Y]] ⪰ 0, D − Y − M_i ⪰ 0 and the linear conditions on M_i, as papers state it.

    Written down for softmax with soft targets from (M_i)_ii = 0, (M_i)_jj + 2 (M_j)_ij = 0 and
    (M_i)_jk + (M_j)_ik + (M_k)_ij ≥ 0, in units in which D = I; nothing of the library enters.
    """
    n, y = problem.class_counts, np.array(problem.loss.targets).T
    K, pi = n.size, n / n.sum()
    sigma = np.sqrt(problem.lambda_w * problem.lambda_h * n)
    p, Y = cp.Variable((K, K)), cp.Variable((K, K), symmetric=True)
    M = [cp.Variable((K, K), symmetric=True) for _ in range(K)]
    U = cp.multiply(p - y, np.tile(pi / sigma, (K, 1)))
    constraints = [cp.bmat([[np.eye(K), U], [U.T, Y]]) >> 0, cp.sum(p, axis=0) == 1]
    constraints += [np.eye(K) - Y - one >> 0 for one in M] + [M[i][i, i] == 0 for i in range(K)]
    constraints += [M[i][j, j] + 2 * M[j][i, j] == 0 for i, j in itertools.permutations(range(K), 2)]
    triples = itertools.combinations(range(K), 3)
    constraints += [M[i][j, k] + M[j][i, k] + M[k][i, j] >= 0 for i, j, k in triples]
    programme = cp.Problem(cp.Maximize(cp.sum(cp.entr(p), axis=0) @ pi), constraints)
    return programme.solve(solver=cp.CLARABEL)


@pytest.mark.parametrize("problem", [circle(5), uneven(6, 1)], ids=["circle", "uneven"])
def test_the_programme_of_moments_is_the_dual_of_the_programme_of_matrices(problem):
    level = cubic_level(of_classes(problem))
    solvers.solver("clarabel").attempt(level.problem, {})
    value = level.base.objective_scale * level.problem.value
    # both are solved to about 1e-8 of their scale
    assert value == pytest.approx(dual_value_with_matrices(problem), rel=2e-7)


def test_the_multipliers_are_a_form_of_the_slack():
    """(Σ x) xᵀCx = Σ x_i xᵀP_i x + Σ N xxx, P_i ⪰ 0 and N ≥ 0, up to the accuracy of an interior point."""
    run = run_of(uneven(6, 1))
    C = np.eye(6) - residual_gram(run.columns, run.V).even
    assert np.linalg.eigvalsh(run.form.slices).min() > -1e-7
    assert run.form.rest.min() > -1e-7
    x = np.random.default_rng(0).normal(size=(20, 6))
    left = x.sum(axis=1) * np.einsum("ni,ij,nj->n", x, C, x)
    right = np.einsum("ni,nj,nk,ijk->n", x, x, x, run.form.slices + run.form.rest)
    np.testing.assert_allclose(left, right, atol=1e-6 * np.abs(x).sum(axis=1).max() ** 3)
    matched = run.form.matched(C)
    np.testing.assert_allclose(
        symmetrised(matched.slices) + matched.rest, symmetrised(np.broadcast_to(C, (6, 6, 6))), atol=1e-14
    )


def test_moments_of_few_vectors_give_them_back():
    """Jennrich's algorithm on the exact moments of three vectors, with W stationary at V."""
    run = run_of(circle(5))
    z, root = np.random.default_rng(1).random((3, 5)), np.sqrt(run.units / run.units.max())
    theta = np.einsum("ri,rj,rk->ijk", z, z, z)
    found = replace(run, tensor=theta).factors(np.random.default_rng(2))
    H = found.H.even / np.sqrt(run.units / (run.columns.lambda_h * run.columns.feature_weights))[:, None]
    wanted = z.T * np.sqrt(z @ root)
    order = [int(np.argmin(np.linalg.norm(H - column[:, None], axis=0))) for column in wanted.T]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(H[:, order], wanted, atol=1e-7)


def test_places_of_a_symmetric_tensor():
    places = tensor_places(4)
    assert sorted(Counter(places.ravel().tolist()).values()) == [1] * 4 + [3] * 12 + [6] * 4
    for order in itertools.permutations(range(3)):
        np.testing.assert_array_equal(places, places.transpose(order))


@pytest.mark.parametrize("problem", [ufm.Problem([5, 5, 2], 0.01, 0.01), ufm.Problem([5] * 3, 0.01, 0.01)])
def test_columns_that_are_alike_are_refused(problem):
    with pytest.raises(HypothesisError, match="columns or outputs are alike"):
        cubic_level(of_groups(problem))


def test_free_features_are_refused():
    with pytest.raises(HypothesisError, match="features are free"):
        cubic_level(of_classes(ufm.Problem([5, 3, 2], 0.01, 0.01, features="free")))


# -- bounds that meet ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [5, 7, 8, pytest.param(13, marks=pytest.mark.slow)])
def test_strict_circles_are_closed_by_the_cone(K):
    """From thirteen classes on there is no search over supports."""
    closed = ufm.close_gap(circle(K))
    assert closed.lower.proof == "parrilo"
    assert closed.relaxation_is_strict
    assert closed.lower_bound <= closed.upper_bound
    assert closed.relative_gap < 1e-8
    certificate = ufm.certify(closed.problem, solution=closed)
    assert (certificate.verdict, certificate.proof) == ("optimal", "copositive")
    assert ufm.verify(certificate.to_json().encode(), problem=closed.problem).verdict == "PROVED"


@pytest.mark.slow
def test_what_the_cone_leaves_open_all_supports_close():
    """A problem where K¹ is too small: 4e-6 of the optimum remain, and the end of a descent is copositive."""
    problem = uneven(8, 4)
    run = run_of(problem)
    closed = ufm.close_gap(problem)
    by_form = copositive_lower_bound(problem, run.V.full(), run.form)
    assert by_form.proof == "parrilo"
    assert 1e-6 < (closed.upper_bound - by_form.value) / closed.upper_bound < 1e-5
    assert closed.lower.proof == "copositive"
    assert closed.relative_gap < 1e-6
    certificate = ufm.certify(problem, solution=closed)
    assert certificate.content["dual"]["cubic"] is None
    assert certificate.verdict == "optimal"


def test_classes_without_samples_have_no_column():
    """Seven outputs, five columns: U is 7 × 5, and the form has five slices; its bound is that of the relaxation."""
    problem = ufm.Problem([50, 20, 9, 6, 5, 0, 0], 0.01, 0.01, loss=ufm.BinaryCrossEntropy())
    run, solution = run_of(problem), ufm.solve(problem)
    lower = copositive_lower_bound(problem, run.V.full(), run.form)
    assert lower.proof == "parrilo"
    assert solution.lower_bound - 1e-6 <= lower.value <= solution.upper_bound
    upper = enclosure.upper_bound(problem, solution.factors())
    certificate = assemble(problem, lower, upper, 1e-6, {})
    assert len(certificate.content["dual"]["cubic"]["factors"]) == 5
    assert judge_forgery(json.loads(certificate.to_json())) == "PROVED"


def test_a_candidate_is_judged_by_the_raised_bound():
    """Without the closed gap its optimality stays open."""
    candidate = ufm.Candidate(weights=CLOSED.W, features=CLOSED.H, class_counts=CLOSED.problem.class_counts)
    assert ufm.certify(CLOSED.problem, candidate).verdict == "undecided"
    assert ufm.certify(CLOSED.problem, candidate, solution=CLOSED).verdict == "optimal"


def test_a_closed_gap_of_another_problem_and_a_proof_beside_it_are_refused():
    with pytest.raises(ProblemError, match="another problem"):
        ufm.certify(circle(6), solution=CLOSED)
    with pytest.raises(ProblemError, match="a closed gap and proof='dense'"):
        ufm.certify(CLOSED.problem, solution=CLOSED, proof="dense")


def test_directions_beyond_twelve_columns_are_those_of_all_supports(monkeypatch):
    """The search by descents finds what all supports have, for 40 matrices of order 8 to 12 (seeds 0 to 39)."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        A = rng.normal(size=(8 + seed % 5,) * 2)
        C = A + A.T if seed % 2 else A @ A.T / len(A) - 0.05 * np.eye(len(A))
        exact = lowest_direction(C)[0]
        with monkeypatch.context() as patch:
            patch.setattr("ufm_convex.positivity.copositivity.LARGEST", 0)
            least, x = lowest_direction(C)
        assert least == pytest.approx(exact, abs=1e-9)
        assert x @ C @ x == pytest.approx(least, abs=1e-9)


# -- the proof in integers, and planted faults -----------------------------------------------------------------------


def rational_slack(problem, dual):
    """C of the certificate's scale times 4^{e} pt², in fractions from p alone: D − UᵀU of balanced classes."""
    n, N = int(problem.class_counts[0]), problem.num_samples
    columns = []
    for k, (row, e) in enumerate(zip(dual["columns"], dual["exponents"].split(" "), strict=True)):
        column = [Fraction(int(x)) * Fraction(2) ** int(e) for x in row.split(" ")]
        column[k] = -sum(x for j, x in enumerate(column) if j != k)
        columns.append(column)
    D = Fraction(problem.lambda_w) * Fraction(problem.lambda_h) * n
    gram = [[sum(a * b for a, b in zip(v, w, strict=True)) * Fraction(n, N) ** 2 for w in columns] for v in columns]
    return [[(D if k == j else 0) - gram[k][j] for j in range(len(gram))] for k in range(len(gram))]


def test_the_form_in_fractions():
    """(Σ α x) xᵀ(D − G)x ≥ Σ x_i ‖F_iᵀx‖² at random rational x ≥ 0, from the numbers of the file alone."""
    dual, problem = DOCUMENT["dual"], CLOSED.problem
    C, e = rational_slack(problem, dual), [int(x) for x in dual["exponents"].split(" ")]
    share = Fraction(int(problem.class_counts[0]), problem.num_samples)
    weights = [int(x) for x in dual["cubic"]["weights"].split(" ")]
    factors = [[[int(x) for x in row.split(" ")] for row in factor] for factor in dual["cubic"]["factors"]]
    for draw in np.random.default_rng(0).integers(0, 100, size=(50, 5)).tolist():
        scaled = [Fraction(x) / (share * Fraction(2) ** k) for x, k in zip(draw, e, strict=True)]
        form = sum(scaled[i] * C[i][j] * scaled[j] for i in range(5) for j in range(5))
        squares = 0
        for x, factor in zip(draw, factors, strict=True):
            images = [sum(factor[j][c] * draw[j] for j in range(c, 5)) for c in range(5)]
            squares += x * sum(image * image for image in images)
        assert sum(a * x for a, x in zip(weights, draw, strict=True)) * form >= squares


def test_horns_matrix_has_a_form_in_integers_and_less_than_it_has_none():
    """Parrilo 2000: (Σ x) xᵀHx with P_i = v_i v_iᵀ, v_i the signs of row i; F_i lower triangular with one column."""
    factors = []
    for i in range(5):
        signs = HORN[i]
        factors.append([[signs[0] * entry] + [0] * row for row, entry in enumerate(signs)])
    assert cubic_form_holds(HORN, [1] * 5, factors)
    less = [row[:] for row in HORN]
    less[0][0] -= 1
    assert not cubic_form_holds(less, [1] * 5, factors)
    assert not cubic_form_holds(HORN, [1, 1, 1, 1, 0], factors)
    grown = [[row[:] for row in factor] for factor in factors]
    grown[2][2][2] = 1
    assert not cubic_form_holds(HORN, [1] * 5, grown)


def forged(path, change):
    """The certificate with one integer string changed by a function of its integers, re-sealed."""
    inner = DOCUMENT
    for step in path:
        inner = inner[step]
    return replaced(DOCUMENT, path, " ".join(map(str, change([int(x) for x in inner.split(" ")]))))


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (("dual", "cubic", "factors", 2, 3), lambda row: [row[0] + (1 << 90), *row[1:]]),
        (("dual", "cubic", "factors", 0, 0), lambda row: [2 * row[0]]),
        (("dual", "cubic", "weights"), lambda row: [0, *row[1:]]),
        (("dual", "cubic", "weights"), lambda row: [-x for x in row]),
        (("dual", "cubic", "weights"), lambda row: [row[0] // 2, *row[1:]]),
        (("dual", "columns", 1), lambda row: [row[0] + (row[0] >> 8), *row[1:]]),
        (("dual", "exponents"), lambda row: [row[0] + 1, *row[1:]]),
    ],
    ids=["a slice", "a short slice", "no weight", "signs", "half a weight", "a wrong U", "a wrong exponent"],
)
def test_planted_faults_are_refuted_exactly(path, change):
    assert judge_forgery(forged(path, change)) == "REFUTED"


def test_a_negative_triple_sum_is_refuted_and_the_sum_zero_is_not():
    """A factor of one entry, longer by one unit than its diagonal allows: the threshold from both sides."""
    problem = ufm.Problem([1, 1], 0.5, 0.5)  # V = 0: C = Diag(⌊ρ⌋) with ρ = λ_W λ_H N² = 1
    dual = {"kind": "copositive", "exponents": "0 0", "columns": ["0 0", "0 0"]}
    for entry, expected in ((1, "PROVED"), (2, "REFUTED")):
        cubic = {"weights": "1 1", "factors": [[str(entry), "0 0"], ["0", "0 1"]]}
        certificate = json.loads(ufm.certify(problem).to_json())
        lemmas = [*certificate["lemmas"][:3], "copositive-slack"]
        claims = {**certificate["claims"], "lower": "0p0", "verdict": "undecided"}
        document = {**certificate, "lemmas": lemmas, "dual": {**dual, "cubic": cubic}, "claims": claims}
        assert judge_forgery(document) == expected


@pytest.mark.parametrize("bias", ["1p0", "1p4"])
def test_a_bias_is_paid_for(bias):
    """The same point with a penalised bias: 0 of it is admissible, and the price of the sums lowers the bound."""
    content = {name: value for name, value in DOCUMENT["problem"].items() if name != "sha256"} | {"bias": bias}
    document = json.loads(json.dumps(replaced(DOCUMENT, ("problem",), {**content, "sha256": sha(content)})))
    document["lemmas"] = [*DOCUMENT["lemmas"][:3], "bias", "copositive-slack"]
    document["witness"]["bias"] = {"exponent": 0, "integers": "0 0 0 0 0"}
    document["claims"] |= {"lower": "1p-4", "verdict": "undecided"}
    assert judge_forgery(document) == "PROVED"


def sha(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"cubic": {"weights": "1 1 1 1 1"}},
        {"cubic": {"weights": "1 1 1 1 1", "factors": []}},
        {"cubic": {"weights": "1 1 1 1", "factors": DOCUMENT["dual"]["cubic"]["factors"]}},
        {"factor": None},
        {"kind": "dense"},
    ],
)
def test_what_is_not_of_the_form_is_malformed(change):
    assert outcome(text(resealed({**DOCUMENT, "dual": {**DOCUMENT["dual"], **change}}))) == "malformed"


def test_free_features_have_no_copositive_slack():
    content = {name: value for name, value in DOCUMENT["problem"].items() if name != "sha256"} | {"features": "free"}
    document = replaced(DOCUMENT, ("problem",), {**content, "sha256": sha(content)})
    assert outcome(text(resealed(document))) == "malformed"


def test_without_the_check_a_lengthened_point_would_be_proved(monkeypatch):
    """The planted fault: a verifier that believes the form accepts a bound above the optimum."""
    document = forged(("dual", "columns", 1), lambda row: [row[0] + (row[0] >> 8), *row[1:]])
    monkeypatch.setattr(checking.Copositive, "_check_cubic", lambda self, C, weights: None)
    assert outcome(text(resealed(document))) != "malformed"
    assert judge_slack(document) == "PROVED"


def judge_slack(document):
    found = verifier.verify(text(resealed(document)))
    return next(step.verdict for step in found.steps if step.name == "slack")


@pytest.mark.parametrize("excess", [1e-6, 1e-3])
def test_residuals_that_are_too_long_make_no_bound_false(excess):
    """V lengthened with the form as it was: shrunk by the proof until it holds, or nothing is proved."""
    run = run_of(CLOSED.problem)
    bound = copositive_lower_bound(CLOSED.problem, (1.0 + excess) * run.V.full(), run.form)
    assert bound.value <= CLOSED.upper_bound


def test_a_form_of_noise_proves_nothing():
    noise = np.random.default_rng(0).normal(size=(5, 5, 5))
    run = run_of(CLOSED.problem)
    for form in (CubicForm(noise, noise), CubicForm(np.full((5, 5, 5), np.nan), noise)):
        assert copositive_lower_bound(CLOSED.problem, run.V.full(), form).value == -math.inf


def test_the_ledger_leaves_a_form_of_long_integers_undecided(monkeypatch):
    monkeypatch.setattr(costs, "MAX_WORK", 400)
    assert outcome(text(DOCUMENT)) in ("INCONCLUSIVE", "malformed")
    monkeypatch.setattr(costs, "MAX_WORK", 32_000_000)
    assert outcome(text(DOCUMENT)) == "PROVED"


def test_a_proof_says_what_it_is():
    assert isinstance(CLOSED.lower.exact_point, CopositiveProof)
    assert CLOSED.lower.exact_point.kind == "copositive"
    assert len(CLOSED.lower.exact_point.factors) == 5
