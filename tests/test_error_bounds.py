"""Bounds in binary64 are those that docs/streaming.md derives, number by number.

That a bound contains the truth shows little of its coefficients: actual errors are a hundredth of what is allowed for.
So each bound is evaluated again here from the page's equation, in mpmath or in rational numbers, on inputs that make
each of its terms count. Bounds are compared to 5e-6 of themselves unless a test says exactly: factors 1 + 2⁻²⁰ pay for
roundings and may be multiplied up to five times.
"""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from flint import ctx

import ufm_convex as ufm
from ufm_convex.candidate import Candidate, blocks
from ufm_convex.enclosure import candidate, candidate_table, fast, wide
from ufm_convex.enclosure.block_dual import BlockDual
from ufm_convex.enclosure.columns import ExactColumns
from ufm_convex.enclosure.exact import ExactVector
from ufm_convex.errors import CandidateError

U = Fraction(1, 2**53)
FACTOR = 1 + Fraction(1, 2**20)
"""Pays for the roundings of bounds (section 5)."""
EXP, TAIL, LOG = Fraction(1, 2**44), Fraction(1, 2**184), Fraction(1, 2**47)
"""Equations (8), (9) and (10)."""
SMALLEST = Fraction(1, 2**1022)
"""ν."""
E_MOST = 2.0**-9
"""The largest e for which 2e <= 2⁻⁸."""


def near(expected):
    """Equal up to the roundings of a bound."""
    return pytest.approx(float(expected), rel=5e-6, abs=0.0)


def test_constants_are_those_of_the_page():
    for module in (candidate, fast, wide):
        assert float(FACTOR) == module._INFLATE
    assert wide._INFLATE_LITTLE == 1.0 + 2.0**-48
    assert wide._LEAST_OWN == 2.0**-40  # where −log p − 1 < 40
    assert float(U) == candidate.UNIT
    assert candidate.TINY == wide._FAINT == 2.0**-600
    assert float(EXP) == candidate.EXP_ERROR
    assert float(TAIL) == candidate.EXP_TAIL
    assert float(LOG) == candidate.LOG_ERROR
    assert candidate.LARGEST_SQUARE_NORM == fast._LARGEST == 2.0**600
    assert candidate._LARGEST_ROW_WEIGHT == 2.0**300
    assert candidate._FAINT == 2.0**-1000
    assert candidate.FLUSHED_BITS == 1022
    assert fast._SMALLEST == 2.0**-800
    assert fast._DEEPEST == -900
    assert candidate._SAFE_LOGIT * candidate.STEPS <= 2.0**51  # beyond it 2^52 + 512 n is no integer + 512 n
    assert candidate._BEYOND_CUT >= candidate.STEPS * candidate.CUT  # where the table ends


# -- cross-entropy, (11) and (12) -----------------------------------------------------------------------------------


def sharp_part(K, A, e, alpha=Fraction(0)):
    """(12) without (11)."""
    relative = (2 * (EXP + (K + 2) * U) + 2 * LOG) * FACTOR + 4 * U
    share = min(Fraction(1), Fraction(101, 100) * A + 4 * K * TAIL + alpha) if e <= E_MOST else Fraction(1)
    return 2 * Fraction(e) * share + relative * A + 4 * K * TAIL


def smooth_part(K, alpha, mean, behind):
    """(11)."""
    return (alpha * (K + 8) * U * FACTOR + Fraction(1, 2**1000)) * (mean + behind) + Fraction(1, 2**600)


def exact_parts(logits, y):
    """A, the mean distance from the largest logit, and that of the own one; to 60 digits."""
    with mpmath.workdps(60):
        A = mpmath.log1p(sum(mpmath.exp(mpmath.mpf(z) - logits[y]) for j, z in enumerate(logits) if j != y))
        distances = [Fraction(max(logits)) - Fraction(z) for z in logits]
        return Fraction(int(A * 2**400), 2**400), sum(distances) / len(logits), distances[y]


@pytest.mark.parametrize("alpha", [0.0, 0.25])
@pytest.mark.parametrize("e", [0.0, 1e-12, E_MOST, np.nextafter(E_MOST, 1.0), 0.01])
@pytest.mark.parametrize(
    ("logits", "y"),
    [([3.0, 1.0, 0.5], 1), ([2.0, 0.0, 0.5, 1.0], 0), ([20.0, 0.0, 1.0], 0), ([200.0, 0.0, 0.0], 0), ([9.0, 9.0], 1)],
    ids=["behind", "ahead", "far ahead", "beyond the table", "level"],
)
def test_the_error_of_cross_entropy(logits, y, e, alpha):
    kernel = candidate._CrossEntropyKernel(alpha, len(logits))
    scaled = np.array([logits]).T * kernel.scale
    _, errors = kernel(scaled, np.array([y]), np.array([max(np.abs(logits))]), np.array([e]))
    A, mean, behind = exact_parts(logits, y)
    expected = sharp_part(len(logits), A, e, Fraction(alpha))
    if alpha:
        expected += smooth_part(len(logits), Fraction(alpha), mean, behind)
    assert errors[0] == near(expected)


TARGETS = [[0.1, 0.2, 0.7], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]]  # 0.1 + 0.2 + 0.7 is not 1 in binary64


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("e", [0.0, 1e-13])
@pytest.mark.parametrize("logits", [[1.0, 2.0, 4.0], [300.0, 0.0, 0.0]])
def test_the_error_against_a_table(logits, e, row):
    """The formula of section 4; what is computed from 2e and the rest has one more factor 1 + 2⁻²⁰."""
    loss = ufm.SoftTargetCrossEntropy(TARGETS)
    kernel = candidate_table._TableKernel(loss)
    scaled = np.array([logits]).T * kernel.scale
    _, errors = kernel(scaled, np.array([row]), np.array([max(logits)]), np.array([e]))
    lead, own = int(np.argmax(logits)), int(loss.table.own[row])
    distances = [Fraction(max(logits)) - Fraction(z) for z in logits]
    shares = [Fraction(share) for share in loss.table.rows(np.array([row]))[0].tolist()]
    eta = 2 * abs(1 - sum(shares)) + Fraction(1, 2**600)
    A, V, Q = exact_parts(logits, lead)[0], 3, sum(map(Fraction.__mul__, shares, distances))
    off = (V + 4) * U * Q + eta * distances[own] + V * Fraction(1, 2**1000) * max(distances) + V * Fraction(1, 2**600)
    assert errors[0] == near(2 * Fraction(e) + sharp_part(V, A, 0) + off + 4 * U * (A + Q))


# -- one pass, (3) to (5) and (13) ----------------------------------------------------------------------------------


class Given(candidate._Kernel):
    """A loss whose values and errors are given; keeps what it was asked with."""

    scale = 8.0

    def __init__(self, values, errors):
        self.values, self.errors = np.array(values), np.array(errors)

    def __call__(self, logits, labels, magnitudes, logit_errors):
        self.asked = logits.copy(), magnitudes, logit_errors
        return self.values, self.errors


def stream_of(bias=None, values=(1.5, 0.25, 3.0), errors=(2.0**-40, 2.0**-44, 2.0**-30)):
    """Three samples of two classes, weighted 1 and 4, in four dimensions; lengths of rows are whole numbers."""
    judged = Candidate(
        weights=[[1.0, 2.0, 0.0, 2.0], [0.0, 3.0, 4.0, 0.0]],
        features=[[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 6.0, 8.0], [0.0, 0.0, 0.0, 0.0]],
        labels=[0, 1, 1],
        bias=bias,
    )
    problem = ufm.Problem(
        [1, 2], 0.5, 0.5, loss=ufm.CrossEntropy(class_weights=(1.0, 4.0)), bias=None if bias is None else 1.0
    )
    kernel = Given(values, errors)
    stream = candidate._Stream(problem, judged, kernel)
    for block in blocks(judged):
        stream.add(block)
    return stream, kernel


@pytest.mark.parametrize(("bias", "operations"), [(None, 6), ((0.5, -7.0), 7)])
def test_the_error_of_a_logit(bias, operations):
    """γ_{d+2} ρ with d = 4, one more with a bias; 2⁻⁶⁰⁰ where everything is 0."""
    _, kernel = stream_of(bias)
    logits, magnitudes, errors = kernel.asked
    beta = 0 if bias is None else 7
    rho = [5 * 2 + beta, 5 * 10 + beta]
    assert magnitudes[:2].tolist() == [near(rho[0] * FACTOR), near(rho[1] * FACTOR)]
    assert errors[:2].tolist() == [near(operations * U * r * FACTOR**2) for r in rho]
    assert errors[2] >= 2.0**-600
    offset = np.zeros(2) if bias is None else np.array(bias)
    assert (logits / kernel.scale - offset[:, None]).T.tolist() == [[5.0, 7.0], [16.0, 24.0], [0.0, 0.0]]


@pytest.mark.parametrize("largest", ["value", "error", "weight"])
def test_the_error_of_the_sum_of_losses_is_13_exactly(largest):
    """In rational numbers, and exactly; M is the largest of all weights, values and errors."""
    values = (1.5, 0.25, 64.0) if largest == "value" else (1.5, 0.25, 3.0)
    errors = (2.0**-40, 2.0**-44, 32.0 if largest == "error" else 2.0**-30)
    weights = (1, 4, 4)
    stream, _ = stream_of(values=values, errors=errors)
    total = sum(w * Fraction(v) for w, v in zip(weights, values, strict=True))
    radius = FACTOR * sum(w * Fraction(e) for w, e in zip(weights, errors, strict=True)) + 8 * U * total
    radius += 3 * (1 + Fraction(max(*values, *errors, *weights))) / 2**1012
    assert stream.totals()[0] == (max(total - radius, Fraction(0)) / 3, (total + radius) / 3)


def test_the_error_of_a_sum_of_squares_is_4_exactly():
    stream, _ = stream_of((0.5, -7.0))
    _, weight, feature, bias = stream.totals()
    for found, total, d, rows in ((weight, 34, 4, 2), (feature, 104, 4, 3), (bias, Fraction(197, 4), 1, 2)):
        n = d + 8
        radius = total * (n * U / (1 - 2 * n * U)) + Fraction(rows * (d + 100), 2**1020)
        assert found == (total - radius, total + radius)


@pytest.mark.parametrize("factor", [1.0, 1.0 + 2.0**-52])
def test_class_weights_and_biases_are_refused_beyond_2_300_and_not_at_it(factor):
    size = 2.0**300 * factor
    weighted = ufm.Problem([1, 1], 0.5, 0.5, loss=ufm.CrossEntropy(class_weights=(1.0, size)))
    biased = ufm.Problem([1, 1], 0.5, 0.5, bias=1.0)
    plain = {"weights": [[1.0], [0.0]], "features": [[1.0], [0.0]], "labels": [0, 1]}
    for problem, judged in ((weighted, Candidate(**plain)), (biased, Candidate(**plain, bias=[0.0, -size]))):
        if factor == 1.0:
            assert candidate.enclose_objective(problem, judged).upper > 0.0
        else:
            with pytest.raises(CandidateError, match=r"class weight|bias"):
                candidate.enclose_objective(problem, judged)


def test_the_relative_width_of_nothing_is_nothing():
    nothing = (0.0, 0.0)
    for upper, width in ((0.0, 0.0), (2.0, 1.0)):
        found = candidate.CandidateEnclosure(0.0, upper, nothing, nothing, nothing, 0.0, (0, 0), 0)
        assert found.relative_width == width


# -- dense proofs, (15) to (18) -------------------------------------------------------------------------------------


def test_relative_errors_of_the_slack_and_of_entropies():
    for size, inner in ((64, 128), (300, 7)):
        assert fast.room_error(size, inner) == near((inner + size + 5) * U * FACTOR)
        assert fast.entropy_error(size) == near((LOG + (size + 8) * U) * FACTOR)


def test_a_room_that_rounding_might_have_made_is_no_proof():
    """Radius 79, of which τ takes 72 and integers the rest, to the last unit: true, and not decided in binary64."""
    K = fast.FEWEST
    columns = ExactColumns.of_classes(ufm.Problem(range(1, K + 1), 1e-3, 1e-3))
    multiplier = [[0] * (g + 1) for g in range(K)]
    multiplier[1][0] = 9
    proof = BlockDual("dense", [0] * K, [[0] * K for _ in range(K)], multiplier, 3, None, 0.0)
    assert fast.dominates(columns, proof, [73] + [10**6] * (K - 1)) is True
    assert fast.dominates(columns, proof, [72] + [10**6] * (K - 1)) is None


def test_the_error_of_a_row_is_15():
    """Rows whose room is 0 in integers, so that what is found is the error alone; τ and radii count in it."""
    rows, tau = np.array([[3.0, -1.0], [2.0, 5.0]]), np.array([[0.0, 4.0], [4.0, 0.0]])
    for nonnegative, deficit in ((True, 5.0), (False, 5.0)):  # <x_1, x_2> + τ = 1 + 4
        radii = np.array([10.0, 29.0]) + deficit
        moduli = np.abs(rows)
        expected = [moduli[g] @ moduli.sum(axis=0) + tau[g].sum() + radii[g] for g in range(2)]
        room = fast._room(rows, tau, radii, nonnegative)
        assert (-room).tolist() == [near((2 + 2 + 5) * U * FACTOR * Fraction(t)) for t in expected]


@pytest.mark.parametrize(
    ("integers", "exponent", "numbers"),
    [
        ([1, -3, 0], -2, [0.25, -0.75, 0.0]),
        ([4, -12], 1, [8.0, -24.0]),  # not in lowest terms
        ([8, 1], -3, [1.0, 0.125]),
        ([2**53 + 1, 1], 0, None),
        ([2**54, 1], -60, [2.0**-6, 2.0**-60]),
        ([1], 299, None),
        ([1], 298, [2.0**298]),
        ([3, 2**1074], -1074, [1.5e-323, 1.0]),  # subnormal, and denominators beyond what binary64 holds
        ([2**60, 0], -1100, [2.0**-1040, 0.0]),
        ([1], -1075, None),
    ],
)
def test_a_bias_is_taken_where_binary64_holds_it(integers, exponent, numbers):
    """Exactly, in whatever terms it is written, below 2³⁰⁰; else balls decide."""
    found = fast._vector(ExactVector(integers, exponent))
    assert (None if found is None else found.tolist()) == numbers


@pytest.mark.parametrize(("deepest", "decided"), [(-900, True), (-901, False)])
def test_a_single_column_of_small_units_is_left_to_balls(deepest, decided):
    K = fast.FEWEST
    columns = ExactColumns.of_classes(ufm.Problem(range(1, K + 1), 1e-3, 1e-3))
    proof = BlockDual("dense", [-50, deepest, *[-50] * (K - 2)], [[0] * K for _ in range(K)], None, 0, None, 0.0)
    assert (fast.dual_value(columns, proof) is not None) == decided


def test_the_error_of_a_dual_value_is_16():
    """Points at the targets, so that own entropies are 0 exactly, and sums of the others as given."""
    columns = ExactColumns.of_classes(ufm.Problem([3, 5], 0.5, 0.5))
    proof, sums = BlockDual.zero(columns), [0.5, 0.0]
    with ctx.workprec(128):
        found = fast._dual_sum(columns, proof, [0, 0], np.zeros(2), np.ones(2), np.array(sums))
        relative = (LOG + 10 * U) * FACTOR
        expected = [Fraction(s) * relative + 4 * U * FACTOR for s in sums]
        assert float(found.rad()) == near(sum(expected[k] * n / 8 for k, n in enumerate((3, 5))))
        assert float(found.mid()) == pytest.approx(0.5 * 3 / 8)


@pytest.mark.parametrize("bias", [None, [1.0, -2.0, 0.5]])
def test_the_error_of_the_loss_at_factors_is_18(bias):
    problem = ufm.Problem(
        [3, 5, 4], 0.5, 0.5, loss=ufm.SoftTargetCrossEntropy([[1.0, 0, 0], [0.25, 0.5, 0.25], [0, 0.125, 0.875]])
    )
    columns, V, d = ExactColumns.of_classes(problem), 3, 2
    W, H = np.array([[3.0, 4.0], [0.0, 1.0], [-1.0, 2.0]]), np.array([[0.0, 2.0], [3.0, 4.0], [8.0, 6.0]])
    targets = problem.loss.table.rows(np.arange(3)).T.copy()
    _, errors = fast._losses(columns, targets.copy(), W, H, None if bias is None else np.array(bias))
    logits = (W @ H.T).T + (np.zeros(3) if bias is None else np.array(bias))  # integers and halves: exact
    for k, (z, y, length) in enumerate(zip(logits.tolist(), targets.T.tolist(), (2, 5, 10), strict=True)):
        rho = 5 * length + (0 if bias is None else 2)
        e = (d + 2 + (bias is not None)) * U * rho
        others = [j for j in range(3) if j != k]
        A = exact_parts(z, k)[0]
        apart = sum(Fraction(y[j]) * abs(Fraction(z[k]) - Fraction(z[j])) for j in others)
        B = sum(Fraction(y[j]) * (Fraction(z[k]) - Fraction(z[j])) for j in others)
        expected = sharp_part(V, A, e) + 2 * e * sum(Fraction(y[j]) for j in others)
        expected += (V + 8) * U * apart + 2 * U * (A + abs(B))
        assert errors[k] == near(expected)


# -- many columns: enclosure.wide -----------------------------------------------------------------------------------


def test_entropies_from_below():
    """Less ε_L and V + 8 units of themselves, and 64 units for the own share; 0 at least."""
    sums = np.array([1.0, 2.0**-30, 0.0])
    found = wide._less(sums, 20)
    for low, value in zip(found.tolist(), sums.tolist(), strict=True):
        lost = (LOG + 28 * U) * FACTOR * Fraction(value) + 64 * U
        assert low == pytest.approx(max(value - float(lost), 0.0), rel=0.0, abs=2.0**-53 * value)


def test_means_and_squares_round_as_their_docstrings_say():
    """Exactly, for sums that binary64 holds: 8 units and 2⁻⁶⁰⁰ less; 2 (d + 8) units and 2⁻⁶⁰⁰ more."""
    problem = ufm.Problem([3, 5], 0.5, 0.5, loss=ufm.CrossEntropy(class_weights=(1.0, 2.0)))
    mean = wide._mean(problem, np.array([1.0, 0.25]))
    assert mean == (Fraction(11, 2) * (1 - 8 * U) - Fraction(1, 2**600)) / 8
    assert wide._mean(problem, np.zeros(2)) == 0
    squares = wide._squares(np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([2.0, 5.0]))
    assert squares == 55 * (1 + 20 * U) + Fraction(1, 2**600)


@pytest.mark.parametrize("shares", [[[0.5, 0.25], [0.25, 0.5], [0.25, 0.25]], [[0.5], [0.25], [0.25]]])
@pytest.mark.parametrize("above", [0.0, 1.0])
def test_the_norm_is_raised_by_what_was_rounded(shares, above, monkeypatch):
    """√(β + (max(V, m) + 4) u ‖P‖²) + 12 u ‖P‖ + 8 u ‖scales‖, with β given: at 0 the root counts, at 1 the rest."""
    p = np.array(shares)
    V, m = p.shape
    table = ufm.SoftTargetCrossEntropy(np.eye(V)[:m])
    problem = ufm.Problem([4] * m, (256.0 * m) ** -2, 1.0, loss=table)  # √n / (N √(λ_W λ_H)) = 128
    monkeypatch.setattr(wide, "_eigenvalue_above", lambda G: above)
    found = wide._norm(problem, table.table, *wide._point(p))
    with mpmath.workdps(40):
        size = 128 * mpmath.sqrt(float(((p - np.eye(V)[:, :m]) ** 2).sum())) * float(FACTOR)
        root = mpmath.sqrt((above + (max(V, m) + 4) * float(U) * size**2) * (1 + mpmath.mpf(2) ** -48))
        expected = (root + float(U) * (12 * size + 8 * 128 * mpmath.sqrt(m))) * (1 + mpmath.mpf(2) ** -48)
        assert abs(found - expected) <= 5e-6 * (expected - above) + above * 4 * float(U)  # two roundings beside 1


@pytest.mark.parametrize("n", [3, 9])
def test_an_eigenvalue_is_raised_by_what_a_factor_leaves_and_rounds(n, monkeypatch):
    """Exactly but for the roundings of numbers near 4: G = g I of an approximate eigenvalue 4, and a factor 2 I."""
    monkeypatch.setattr(wide.np.linalg, "cholesky", lambda M: 2.0 * np.eye(n))
    monkeypatch.setattr(wide.np.linalg, "eigvalsh", lambda G: np.array([4.0]))
    for g in (0.0, 2.0**-45):
        beta = 4 + Fraction(4, 2**42)
        rest = Fraction(float(np.sqrt(n))) * (beta - Fraction(g) - 4)
        left = rest * FACTOR + (n + 4) * U * 4 * n * FACTOR + 4 * U * (beta + Fraction(g))
        found = Fraction(wide._eigenvalue_above(g * np.eye(n)))
        assert abs(found - (beta + left) * (1 + Fraction(1, 2**48))) <= 12 * U


def test_losses_of_columns_from_above():
    table = ufm.SoftTargetCrossEntropy([[1.0, 0, 0], [0.25, 0.5, 0.25]]).table
    W, H = np.array([[3.0, 4.0], [0.0, 1.0], [-1.0, 2.0]]), np.array([[0.0, 2.0], [3.0, 4.0]])
    found = wide._losses(table, W, H)
    relative = ((EXP + 2 * LOG) + 22 * U) * 2 * FACTOR
    for value, h, y, length in zip(found.tolist(), H, table.rows(np.arange(2)).tolist(), (2, 5), strict=True):
        z = (W @ h).tolist()
        loss = exact_parts(z, int(np.argmax(z)))[0] + sum(
            Fraction(s) * (Fraction(max(z)) - Fraction(x)) for s, x in zip(y, z, strict=True)
        )
        raised = relative * loss + 2 * 6 * U * 5 * length * FACTOR**3 + 12 * TAIL
        assert Fraction(value) - loss == pytest.approx(float(raised), abs=8.0 * float(U) * float(loss))


@pytest.mark.parametrize(("size", "finite"), [(np.nextafter(2.0**40, 0.0), True), (2.0**40, False)])
def test_factors_of_2_40_are_beyond_what_is_bounded(size, finite):
    problem = ufm.Problem([1, 1], 0.5, 0.5, loss=ufm.SoftTargetCrossEntropy(np.eye(2)), features="free")
    for W, H in (([[size], [0.0]], [[1.0], [0.0]]), ([[1.0], [0.0]], [[0.0], [-size]])):
        assert np.isfinite(wide.wide_upper_bound(problem, np.array(W), np.array(H)).value) == finite
    positive = ufm.Problem([1, 1], 0.5, 0.5, loss=ufm.SoftTargetCrossEntropy(np.eye(2)))
    for least, admissible in ((0.0, True), (-0.0, True), (-5e-324, False)):
        found = wide.wide_upper_bound(positive, np.eye(2), np.array([[1.0, least], [0.0, 1.0]]))
        assert np.isfinite(found.value) == admissible
