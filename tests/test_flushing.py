"""Where subnormal numbers count as 0, or sums are rounded another way, nothing false is proved and no sign is missed.

The environment is set for one thread (``flushing``, ``rounding``), or for the threads of the BLAS alone, which inherit
it when they are started: in a process of its own. Expected values are exact, and formed before anything flushes.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import struct
import subprocess
import sys
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from certificate_cases import resealed, text
from flint import arb, fmpq
from float_environment import AVAILABLE, ROUNDINGS, WHY_NOT, flushes, flushing, rounding

import ufm_convex as ufm
from ufm_convex import _bits
from ufm_convex.candidate import feature_statistics
from ufm_convex.certificate import encoding
from ufm_convex.contrastive import judging
from ufm_convex.enclosure.candidate import enclose_objective
from ufm_convex.enclosure.candidate_exact import enclose_exactly
from ufm_convex.enclosure.exact import ExactVector, float_above, float_below
from ufm_convex.errors import SolverError
from ufm_convex.verifier import Verdict, binary64, fast, verify
from ufm_convex.verifier.precision import working_precision

if not AVAILABLE:
    pytest.skip(WHY_NOT, allow_module_level=True)

SMALLEST = struct.unpack("<d", b"\x01" + bytes(7))[0]
MODES = {"gradual underflow": nullcontext, "flushing": flushing}
LABELS = np.repeat([0, 1, 2], [3, 2, 1])
COUNTS = [3, 2, 1]


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


def test_the_environment_is_what_it_says():
    assert not flushes()
    assert SMALLEST < 2.0**-1022
    with flushing():
        assert flushes()
        assert not -SMALLEST < 0.0
        assert not (np.array([-SMALLEST, 1.0]) < 0.0).any()
    assert not flushes()
    for direction, sums in {"upward": (True, True), "downward": (False, False), "to zero": (False, False)}.items():
        with rounding(direction):
            assert [1.0 + share * 2.0**-54 > 1.0 for share in (1.0, 3.0)] == list(sums)


# -- numbers from their bits -------------------------------------------------------------------------------------


def awkward(count=6000, seed=0):
    """Finite binary64 numbers of all sizes and signs, a third of them subnormal, with zeros of both signs."""
    bits = np.random.default_rng(seed).integers(-(2**63), 2**63, count, dtype=np.int64)
    bits[::3] &= -(2**63) | (1 << 52) - 1
    numbers = bits.view(np.float64)
    edges = [0.0, -0.0, SMALLEST, -SMALLEST, 2.0**-1022, -(2.0**-1022), math.nextafter(2.0**-1022, 0.0)]
    return np.concatenate([numbers[np.isfinite(numbers)], edges])


def test_order_value_and_parts_are_exact(mode):
    numbers = awkward()
    ratios, sorted_ = [x.as_integer_ratio() for x in numbers.tolist()], np.argsort(numbers, kind="stable")
    with mode():
        assert [_bits.ratio(x) for x in numbers.tolist()] == ratios
        assert [(int(x.p), int(x.q)) for x in binary64.exact(numbers)] == ratios
        keys = _bits.order(numbers)
        assert (np.diff(keys[sorted_]) >= 0).all()
        assert [int(np.sign(key)) for key in keys.tolist()] == [(n > 0) - (n < 0) for n, _ in ratios]
        integers, exponents = _bits.parts(numbers)
        for m, e, (numerator, denominator) in zip(integers.tolist(), exponents.tolist(), ratios, strict=True):
            assert Fraction(m) * Fraction(2) ** e == Fraction(numerator, denominator)
        for n, (top, bottom) in list(zip(numbers, ratios, strict=True))[-7:]:
            exact = ExactVector.of_floats(np.array([n]))
            assert exact.integers[0] * Fraction(2) ** exact.exponent == Fraction(top, bottom)
        assert [binary64.some_negative(numbers[k : k + 1]) for k in range(len(numbers))] == [n < 0 for n, _ in ratios]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("widened", [_bits.widened, binary64.widened])
def test_widening_is_exact(mode, widened, dtype):
    bits = np.random.default_rng(1).integers(0, 2**32, 4000, dtype=np.uint32)
    bits[::2] &= 0x80FFFFFF  # small or subnormal
    given = bits.view(np.float32)
    given = given[np.isfinite(given)].reshape(-1, 1) if dtype[1:] == "f4" else awkward().reshape(-1, 1)
    expected = [
        struct.pack("<d", struct.unpack("<f", x.tobytes())[0]) if x.itemsize == 4 else x.tobytes() for x in given
    ]
    with mode():
        assert [x.tobytes() for x in widened(given.astype(dtype))] == expected


def test_rounding_is_to_the_safe_side_and_nearest(mode):
    """Against Fraction's own comparison: between the number and the bound there is no other binary64 number."""
    generator = np.random.default_rng(2)
    cases = [Fraction(x) * Fraction(*generator.integers(1, 99, 2).tolist()) for x in awkward(1500, 3).tolist()]
    cases += [
        Fraction(1, 2**1074 * 3),
        Fraction(-1, 2**1074 * 3),
        Fraction(2) ** 1024,
        -(Fraction(2) ** 1024),
        Fraction(0),
    ]
    with mode():
        found = [(struct.pack("<d", _bits.rounded_down(x)), struct.pack("<d", _bits.rounded_up(x))) for x in cases]
        with working_precision(3000):
            balls = [arb(fmpq(x.numerator, x.denominator)) for x in cases[:300]]
            ends = [(struct.pack("<d", float_below(b)), struct.pack("<d", float_above(b))) for b in balls]
    for exact, pair in zip(cases, found, strict=True):
        low, high = (struct.unpack("<d", end)[0] for end in pair)
        assert low <= exact <= high
        assert high == low or math.nextafter(low, math.inf) == high
        assert (low == high) == (exact == low)
    for i, pair in enumerate(ends):
        low, high = (struct.unpack("<d", end)[0] for end in pair)
        assert low <= cases[i] <= high


# -- signs ---------------------------------------------------------------------------------------------------------


def infeasible(dtype):
    """An optimum, and the same with the smallest negative number in place of a zero."""
    problem = ufm.Problem(COUNTS, 5e-3, 5e-3)
    W, H = ufm.solve(problem).factors()
    features = H[LABELS].astype(dtype)
    row, column = np.argwhere(features == 0.0)[-1].tolist()
    spoilt = features.copy()
    spoilt.view(f"u{spoilt.itemsize}")[row, column] = (1 << (8 * spoilt.itemsize - 1)) + 1
    return problem, W.astype(dtype), features, spoilt, (row, column)


def about(problem, W, features):
    """The certificate of these arrays, known by their hash alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
        candidate = ufm.Candidate(weights=W, features=features, labels=LABELS)
        return json.loads(ufm.certify(problem, candidate).to_json())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_smallest_negative_feature_is_negative(mode, dtype):
    problem, W, features, spoilt, (row, column) = infeasible(dtype)
    arrays = {"weights": W, "features": spoilt, "labels": LABELS}
    good, bad = about(problem, W, features), about(problem, W, features)
    bad["candidate"]["sha256"] = fast._digest({"weights": W, "features": spoilt, "labels": LABELS.astype(np.int64)})
    good, bad = text(resealed(good)), text(resealed(bad))
    value = Fraction(-1, 2 ** (1074 if dtype is np.float64 else 149))
    with mode():
        assert verify(good, {**arrays, "features": features}).verdict is Verdict.PROVED
        assert {s.name: s.verdict for s in verify(bad, arrays).steps}["candidate"] is Verdict.REFUTED
        candidate = ufm.Candidate(**arrays)
        seen = feature_statistics(candidate), enclose_objective(problem, candidate), enclose_exactly(problem, candidate)
        claims = json.loads(ufm.certify(problem, candidate).to_json())["claims"]
        values = [_bits.ratio(found.smallest) for found in seen]
    assert values == [value.as_integer_ratio()] * 3
    assert [(found.smallest_at, found.negative_entries) for found in seen] == [((row, column), 1)] * 3
    assert claims["verdict"] == "infeasible"
    assert claims["candidate"]["violation"] == {
        "row": row,
        "column": column,
        "value": f"-1p-{value.denominator.bit_length() - 1}",
    }


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_violation_is_the_number_that_it_is(mode, dtype):
    problem, W, _, spoilt, _ = infeasible(dtype)
    document = about(problem, W, spoilt)
    other = json.loads(json.dumps(document))
    other["claims"]["candidate"]["violation"]["value"] = "-1p-1000"
    arrays = {"weights": W, "features": spoilt, "labels": LABELS}
    data, forged = text(resealed(document)), text(resealed(other))
    with mode():
        assert {s.name: s.verdict for s in verify(data, arrays).steps}["violation"] is Verdict.PROVED
        assert {s.name: s.verdict for s in verify(forged, arrays).steps}["violation"] is Verdict.REFUTED


def test_upper_bounds_take_no_negative_feature(mode):
    problem = ufm.Problem(COUNTS, 5e-3, 5e-3)
    H = np.eye(3)
    H[0, 1] = -SMALLEST
    with mode():
        assert ufm.enclosure.upper_bound(problem, (np.eye(3), np.eye(3))).value < 2.0
        assert ufm.enclosure.upper_bound(problem, (np.eye(3), H)).value == math.inf


def test_the_contrastive_judge_sees_it(mode):
    problem = ufm.ContrastiveProblem([3, 2, 2], bound=1.0)
    features = np.zeros((7, 3))
    features[4, 1] = -SMALLEST
    candidate = ufm.ContrastiveCandidate(features=features, labels=problem.labels)
    with mode():
        found = judging.violation(problem, candidate)
    assert (found.kind, found.row, found.column, found.count) == ("negative", 4, 1, 1)


# -- values --------------------------------------------------------------------------------------------------------


def edge(seed, dtype, scale):
    """Weights near 2^96 and features at the subnormal edge of their type: logits that flushing would lose."""
    generator = np.random.default_rng(seed)
    W = generator.normal(size=(3, 4)) * 2.0**96
    bits = np.dtype(dtype).itemsize * 8
    limit = 1 << (24 if bits == 32 else 53)
    features = generator.integers(0, limit, size=(6, 4)).astype(f"u{bits // 8}").view(dtype)
    return ufm.Candidate(weights=W, features=features * dtype(scale), labels=LABELS)


def objective(problem, candidate):
    """Evaluated in 400 bits from the definition."""
    W, H = (
        [[fmpq(*x.as_integer_ratio()) for x in row] for row in A.astype(np.float64).tolist()]
        for A in (candidate.weights, candidate.features)
    )
    alpha = fmpq(*problem.loss.smoothing.as_integer_ratio())
    with working_precision(400):
        total = arb(0)
        for h, y in zip(H, candidate.labels.tolist(), strict=True):
            z = [arb(sum((a * b for a, b in zip(w, h, strict=True)), fmpq(0))) for w in W]
            total += sum(((entry - z[y]).exp() for entry in z), arb(0)).log() + arb(alpha) * (z[y] - sum(z, arb(0)) / 3)
        squares = [sum((x * x for row in A for x in row), fmpq(0)) for A in (W, H)]
        decays = [fmpq(*decay.as_integer_ratio()) for decay in (problem.lambda_w, problem.lambda_h)]
        return total / 6 + arb(decays[0] * squares[0] + decays[1] * squares[1]) / 2


EDGES = [(np.float32, 1.0), (np.float64, 1.0), (np.float32, 2.0**20)]


@pytest.mark.parametrize(("dtype", "scale"), EDGES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_enclosures_at_the_subnormal_edge(mode, dtype, scale, smoothing, seed):
    """λ_W ‖W‖² is made small beside the loss, whose part from the features is 1e-9 of it in binary32."""
    candidate = edge(seed, dtype, scale)
    problem = ufm.Problem(COUNTS, 2.0**-230, 1e-3, loss=ufm.losses.CrossEntropy(smoothing=smoothing))
    exact = objective(problem, candidate)
    with mode():
        found, thorough = enclose_objective(problem, candidate), enclose_exactly(problem, candidate)
        ends = [_bits.fraction(end) for end in (found.lower, found.upper, thorough.lower, thorough.upper)]
        with working_precision(128):
            ball = fast.enclose(
                reading(problem), candidate.weights, candidate.features, candidate.labels, np.ones(3, int)
            )
    with working_precision(400):
        low, high, below, above = (arb(fmpq(end.numerator, end.denominator)) for end in ends)
        assert low <= exact <= high
        assert below <= exact <= above
        assert ball.contains(exact)
        assert (high - low) / exact < 1e-11
        assert float(ball.rad()) < 5e-11 * float(exact)


def reading(problem):
    """The verifier's own reading of the problem."""
    from ufm_convex.verifier.problem import Problem

    return Problem(json.loads(ufm.certify(problem).to_json())["problem"])


@pytest.mark.parametrize("judge", ["package", "verifier"])
def test_a_plain_conversion_is_caught(monkeypatch, judge):
    """The planted fault: binary32 widened as the processor does it, under flushing."""
    candidate = edge(0, np.float32, 1.0)
    problem = ufm.Problem(COUNTS, 2.0**-230, 1e-3)
    exact, given = objective(problem, candidate), reading(problem)

    def plainly(array, out=None):
        wide = np.empty(array.shape) if out is None else out
        wide[...] = array
        return wide

    monkeypatch.setattr(fast, "widened", plainly)
    monkeypatch.setattr("ufm_convex.candidate.streaming.widened", plainly)
    with flushing():
        if judge == "package":
            found = enclose_objective(problem, candidate)
            assert not found.lower <= float(exact) <= found.upper
        else:
            with working_precision(128):
                ball = fast.enclose(given, candidate.weights, candidate.features, candidate.labels, np.ones(3, int))
            assert not ball.contains(exact)


def test_sums_of_squares_have_room_for_what_is_flushed():
    """Rows whose squares are below 2^-1022, one by one: computed they are 0, and their sum is not."""
    size = 2.0**-512
    candidate = ufm.Candidate(weights=np.full((3, 4), size), features=np.full((6, 4), size), labels=LABELS)
    problem = ufm.Problem(COUNTS, 1.0, 1.0)
    exact = Fraction(size) ** 2 / 2
    with flushing():
        found = enclose_objective(problem, candidate)
        penalties = [[_bits.fraction(end) for end in pair] for pair in (found.weight_penalty, found.feature_penalty)]
        computed = np.einsum("ij,ij->i", candidate.features, candidate.features)
    assert not computed.any()
    for (low, high), rows in zip(penalties, (3, 6), strict=True):
        assert low <= 4 * rows * exact <= high


# -- threads of the BLAS, and directions of rounding ------------------------------------------------------------------

IN_A_POOL = """
import sys
sys.path.insert(0, {tests!r})
import float_environment as environment
with {setting}:
    import numpy as np
    np.ones((600, 600)) @ np.ones((600, 600))
assert not environment.flushes() and 1.0 + 2.0**-54 == 1.0
import test_flushing
test_flushing.{function}()
"""


def in_a_pool(setting, function):
    """Run a function of this module where the threads of the BLAS, not the main one, were started in a setting."""
    script = IN_A_POOL.format(tests=str(Path(__file__).parent), setting=setting, function=function)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def flushed_share():
    """How much of a product of 2^-1040 everywhere is 0."""
    return float((np.full((800, 64), 2.0**-600) @ np.full((64, 800), 2.0**-440) == 0.0).mean())


def many(dtype=np.float32):
    """A candidate whose product occupies more than one thread; features at the subnormal edge."""
    generator = np.random.default_rng(5)
    labels = np.arange(4000) % 100
    features = generator.integers(0, 1 << 24, size=(4000, 64), dtype=np.uint32).view(np.float32)
    return ufm.Candidate(weights=generator.normal(size=(100, 64)) * 2.0**96, features=features, labels=labels)


def judge_in_the_pool():
    candidate = many()
    problem = ufm.Problem(candidate.class_counts, 2.0**-230, 1e-3)
    exact, found = enclose_exactly(problem, candidate), enclose_objective(problem, candidate)
    assert found.lower <= exact.lower
    assert exact.upper <= found.upper
    with working_precision(128):
        ones = np.ones(100, int)
        ball = fast.enclose(reading(problem), candidate.weights, candidate.features, candidate.labels, ones)
        assert ball.contains(arb(exact.lower).union(arb(exact.upper)))
    print(flushed_share())


def refuse_in_the_pool():
    candidate = many()
    problem = ufm.Problem(candidate.class_counts, 2.0**-230, 1e-3)
    with pytest.raises(SolverError, match="not rounded to nearest"):
        enclose_objective(problem, candidate)
    with pytest.raises(fast.Undecided, match="not rounded to nearest"):
        fast.enclose(reading(problem), candidate.weights, candidate.features, candidate.labels, np.ones(100, int))
    assert not binary64.rounds_to_nearest(200, 400, 200)


def test_a_pool_that_flushes_half_a_product():
    share = float(in_a_pool("environment.flushing()", "judge_in_the_pool"))
    assert 0.0 < share < 1.0  # else the test has shown nothing


@pytest.mark.parametrize("direction", ROUNDINGS)
def test_a_pool_that_rounds_another_way_is_refused(direction):
    in_a_pool(f"environment.rounding({direction!r})", "refuse_in_the_pool")


@pytest.mark.parametrize("direction", ROUNDINGS)
def test_another_rounding_is_undecided(direction):
    problem, W, features, _, _ = infeasible(np.float64)
    data = text(resealed(about(problem, W, features)))
    arrays = {"weights": W, "features": features, "labels": LABELS}
    with rounding(direction):
        steps = {step.name: step for step in verify(data, arrays).steps}
        with pytest.raises(SolverError, match="not rounded to nearest"):
            enclose_objective(problem, ufm.Candidate(**arrays))
    assert steps["objective from below"].verdict is Verdict.INCONCLUSIVE
    assert "rounded to nearest" in steps["objective from below"].detail
    assert verify(data, arrays).verdict is Verdict.PROVED


@pytest.mark.parametrize("direction", ROUNDINGS)
def test_fast_paths_leave_another_rounding_to_the_exact_ones(direction):
    certificate = json.loads(ufm.certify(ufm.Problem(range(1, 71), 1e-4, 1e-4), proof="dense").to_json())
    assert certificate["dual"]["kind"] == "dense"
    from ufm_convex.verifier.problem import Problem
    from ufm_convex.verifier.proof import Blocks

    quick = fast.Fast.of(Blocks(Problem(certificate["problem"]), certificate["dual"]))
    assert quick.slack_dominates()
    assert quick.dual_value() is not None
    with rounding(direction):
        assert not quick.slack_dominates()
        assert quick.dual_value() is None


def test_pytorch_flushes_and_nothing_false_is_proved():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PYTORCH IS NOT INSTALLED: its flush-to-zero is tested through fesetenv alone")
    import torch

    problem, W, _, spoilt, _ = infeasible(np.float64)
    document = about(problem, W, np.abs(spoilt))
    document["candidate"]["sha256"] = fast._digest(
        {"weights": W, "features": spoilt, "labels": LABELS.astype(np.int64)}
    )
    assert torch.set_flush_denormal(True)
    try:
        assert flushes()
        result = verify(text(resealed(document)), {"weights": W, "features": spoilt, "labels": LABELS})
    finally:
        torch.set_flush_denormal(False)
    assert result.verdict is Verdict.REFUTED
