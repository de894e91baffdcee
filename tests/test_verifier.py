"""The verifier: verdicts, exit codes, independence, limits, and its fast path against its exact one."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import time
import zipfile
from fractions import Fraction
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from certificate_cases import (
    CROWDED,
    PLAIN,
    base_certificates,
    boundaries,
    crowded_dual,
    feasible_dual,
    resealed,
    text,
    with_dual,
)
from flint import ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from ufm_convex import enclosure, verifier
from ufm_convex.candidate import Candidate
from ufm_convex.certificate import certify, encoding
from ufm_convex.certificate.certifying import assemble
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import FramePoint
from ufm_convex.solving import solve
from ufm_convex.verifier import (
    MalformedCertificate,
    UnreadableInput,
    Verdict,
    checking,
    elementary,
    fast,
    points,
    proof,
    reading,
    verify,
)
from ufm_convex.verifier import problem as problem_module

FOLDER = Path(verifier.__file__).parent


def test_it_imports_nothing_of_the_package():
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, path.name
                assert node.level == 1 or (node.module or "").split(".")[0] != "ufm_convex", path.name
            elif isinstance(node, ast.Import):
                assert all(not alias.name.startswith("ufm_convex") for alias in node.names), path.name


def test_it_has_no_assert_and_no_broad_except():
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Assert)
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None
                assert "Exception" not in ast.unparse(node.type).replace("BadZipFile", "")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    certificate = certify(PLAIN)
    certificate.save(folder / "proved.json")
    document = json.loads(certificate.to_json())
    document["claims"]["lower"] = document["claims"]["upper"].replace("p-", "p-1")
    document["claims"]["upper"] = "1p-99"
    (folder / "refuted.json").write_bytes(text(resealed(document)))
    (folder / "malformed.json").write_text("{}")
    W, H = solve(PLAIN).factors()
    limit, encoding.EMBEDDED_NUMBERS = encoding.EMBEDDED_NUMBERS, 0
    certify(PLAIN, Candidate(weights=W, features=H, class_counts=PLAIN.class_counts)).save(folder / "inconclusive.json")
    encoding.EMBEDDED_NUMBERS = limit
    np.savez(folder / "candidate.npz", weights=W, features=H, class_counts=PLAIN.class_counts)
    return folder


@pytest.mark.parametrize("flags", [[], ["-O"]])
@pytest.mark.parametrize("verdict", ["proved", "refuted", "malformed", "inconclusive"])
def test_exit_codes(files, verdict, flags):
    done = subprocess.run(
        [sys.executable, *flags, "-m", "ufm_convex.verifier", str(files / f"{verdict}.json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == {"proved": 0, "refuted": 1, "malformed": 2, "inconclusive": 3}[verdict]
    assert verdict in done.stdout.splitlines()[-1].lower()
    assert done.stderr == ""


def test_a_candidate_in_its_file_is_proved_and_another_is_not(files, tmp_path):
    assert verify(files / "inconclusive.json", files / "candidate.npz").verdict is Verdict.PROVED
    arrays = dict(np.load(files / "candidate.npz"))
    arrays["features"] = arrays["features"] * 1.0000001
    found = verify(files / "inconclusive.json", arrays)
    assert (found.verdict, found.steps[0].name, found.steps[0].verdict) == (Verdict.REFUTED, "asked", Verdict.REFUTED)
    assert about_candidate(found) == {Verdict.INCONCLUSIVE}  # of its own candidate nothing was shown to fail
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04 not an archive")
    for given_ in (tmp_path / "no.npz", tmp_path / "missing.npz", {"weights": 3}, {}):
        with pytest.raises(UnreadableInput):
            verify(files / "inconclusive.json", given_)


def test_the_command_leaves_with_2_where_the_candidate_cannot_be_read(files, tmp_path):
    command = [sys.executable, "-m", "ufm_convex.verifier", str(files / "inconclusive.json")]
    done = subprocess.run([*command, str(tmp_path / "missing.npz")], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (2, "unreadable:")
    done = subprocess.run([*command, str(files / "candidate.npz")], capture_output=True, text=True)
    assert done.returncode == 0


def test_an_unreadable_path_is_malformed(tmp_path):
    with pytest.raises(MalformedCertificate, match="cannot be read"):
        verify(tmp_path / "missing.json")


# -- the fast path ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["free", "nonnegative"])
def large(request):
    """A dense proof of 80 classes, just large enough for the fast path."""
    problem = Problem(np.arange(20, 100), 1e-4, 1e-4, features=request.param)
    lower = enclosure.lower_bound(problem, feasible_dual(problem, share=0.9), proof="dense")
    zeros = np.zeros(80)
    return assemble(problem, lower, enclosure.upper_bound(problem, FramePoint(zeros, zeros)), 1e-6, {})


def blocks_of(certificate):
    document = json.loads(certificate.to_json())
    return proof.Blocks(proof.Problem(document["problem"]), document["dual"])


def test_the_fast_path_confirms_what_the_exact_path_proves(large):
    blocks = blocks_of(large)
    quick = fast.Fast.of(blocks)
    assert quick is not None
    assert quick.slack_dominates()
    blocks.check_slack()
    with ctx.workprec(128):
        exact, rough = checking._dual_value(blocks), quick.dual_value()
    assert rough is not None
    assert rough.contains(exact)
    assert float(rough.rad()) < 1e-11 * float(rough.mid())


def test_the_fast_path_decides_alone(large, monkeypatch):
    monkeypatch.setattr(proof.Blocks, "check_slack", lambda self: pytest.fail("the exact path was asked"))
    monkeypatch.setattr(checking, "_dual_value", lambda dual: pytest.fail("the exact path was asked"))
    assert verify(large.to_json().encode()).verdict is Verdict.PROVED


def test_without_numpy_the_exact_path_decides(large, monkeypatch):
    monkeypatch.setattr(checking, "fast", None)
    assert verify(large.to_json().encode()).verdict is Verdict.PROVED


@settings(max_examples=40)
@given(st.integers(0, 79), st.integers(0, 79), st.integers(0, 70), st.sampled_from(["columns", "factor"]))
def test_the_fast_path_agrees_on_planted_faults(large, row, column, bits, where):
    """One integer of the proof moved by a power of two: the fast path never confirms what the exact path refutes."""
    blocks = blocks_of(large)
    rows = blocks.columns_ if where == "columns" else blocks.factor
    if rows is None or row == column or column >= len(rows[row]):
        return
    rows[row] = list(rows[row])  # beyond 64 bits
    rows[row][column] += 1 << bits
    if where == "columns":
        blocks.own[row] -= 1 << bits
    quick = fast.Fast.of(blocks)
    if quick is not None and quick.slack_dominates():
        blocks.check_slack()  # raises Refuted if it does not hold


def test_the_fast_path_does_not_confirm_a_raised_claim(large):
    document = json.loads(large.to_json())
    document["claims"]["lower"] = document["claims"]["upper"]
    found = {step.name: step.verdict for step in verify(text(resealed(document))).steps}
    assert found["lower bound"] is Verdict.REFUTED


def test_alike_classes_at_the_boundary():
    """Equality in (8) is enough, one unit less is not."""
    verdicts = [verify(text(document)).verdict for document in boundaries()]
    assert verdicts == [Verdict.PROVED, Verdict.REFUTED]


def test_a_claim_equal_to_an_exact_value_is_proved():
    """V = 0: p = e_k, whose entropy is exactly 0."""
    document = json.loads(certify(PLAIN, tolerance=0.5).to_json())
    document["dual"]["strengths"]["integers"] = "0 0 0"
    document["claims"].update(lower="0p0", verdict="undecided")
    assert verify(text(resealed(document))).verdict is Verdict.PROVED


def test_logarithms_and_exponentials_keep_their_promise():
    generator = np.random.default_rng(0)
    x = np.concatenate([[1.0, 2.0, 3.0, 2.0**41], np.floor(2.0 ** generator.uniform(0, 41, 2000))])
    n = np.concatenate([[0.0, 1.0 / 128, 63.99], generator.uniform(0, 64, 2000)])
    with mp.workdps(40):
        worst = max(
            abs(mp.mpf(float(a)) - mp.log(mp.mpf(float(b))))
            for a, b in zip(elementary.log_of_integers(x), x, strict=True)
        )
        assert worst < mp.mpf(2) ** -46
        powers = zip(elementary.exp_of_minus(n), n, strict=True)
        assert max(abs(mp.mpf(float(a)) * mp.exp(mp.mpf(float(b))) - 1) for a, b in powers) < mp.mpf(2) ** -50
    assert elementary.exp_of_minus(np.array([65.0, 1e300])).tolist() == [0.0, 0.0]


def blown_up(extreme):
    """A dense proof of 64 classes whose slack is far from dominated, with a factor of extreme integers."""
    decay = (2.0**-15 * 1000 / 64000**2) ** 0.5
    document = json.loads(certify(Problem([1000] * 64, decay, decay)).to_json())
    columns = [" ".join("0" if j == k else str(2**21) for j in range(64)) for k in range(64)]
    factor = [" ".join([*["0"] * k, str(extreme[k % len(extreme)])]) for k in range(64)]
    exponents = " ".join(["-28"] * 64)
    document["dual"] = {
        "kind": "dense",
        "exponents": exponents,
        "columns": columns,
        "multiplier": None,
        "factor": factor,
    }
    document["lemmas"][3] = "dense-slack"
    return resealed(document)


@pytest.mark.parametrize(
    "extreme",
    [[-(2**63)], [2**63], [-(2**63), 2**63 - 1], [2**64], [-(2**2000), 1], [2**4090], [-(2**41) - 1, 1], [2**41 + 1]],
)
def test_extreme_integers_are_not_believed(extreme):
    """In 64 bits −2^63 is its own absolute value; beyond 2^1024 there is no binary64 number at all."""
    document = blown_up(extreme)
    quick = fast.Fast.of(proof.Blocks(proof.Problem(document["problem"]), document["dual"]))
    assert quick is None or (not quick.slack_dominates() and quick.rows.max() <= 2**41)
    found = {step.name: step.verdict for step in verify(text(document)).steps}
    assert found["slack"] is Verdict.REFUTED


@pytest.fixture(scope="module", params=["free", "nonnegative"])
def large_group(request):
    """A group proof of 64 groups of 1, 2 or 3 alike classes."""
    problem = Problem(np.repeat(np.arange(20, 84), np.arange(64) % 3 + 1), 1e-4, 1e-4, features=request.param)
    return with_dual(problem, feasible_dual(problem, share=0.9), "group")


@pytest.fixture(scope="module", params=["dense", "group"])
def proved(request, large, large_group):
    return large if request.param == "dense" else large_group


def exact_room(blocks):
    """E_gg − Σ δ(E_gh) of (9), in integers."""
    m, size = [group.multiplicity for group in blocks.groups], len(blocks.own)
    z = [[m[g] * x for x in column] for g, column in enumerate(blocks.columns_)]
    for g, row in enumerate(z):
        row[g] = blocks.own[g] + (m[g] - 1) * blocks.columns_[g][g]
    factor = [[*row, *[0] * (size - len(row))] for row in blocks.factor or [[]] * size]
    room = []
    for g in range(size):
        products = [
            sum(w * x * y for w, x, y in zip(m, z[g], z[h], strict=True))
            + sum(x * y for x, y in zip(factor[g], factor[h], strict=True))
            + m[g] * (m[h] - (g == h)) * blocks._multiplier(g, h)
            for h in range(size)
        ]
        deficits = [max(p, 0) if blocks.problem.nonnegative else abs(p) for h, p in enumerate(products) if h != g]
        room.append(m[g] * blocks.radius(g) - products[g] - sum(deficits))
    return room


def blown_factor(blocks, seed, bits):
    """The same proof with a factor of random integers up to 2^bits, so that every product and every sum rounds."""
    generator = np.random.default_rng(seed)
    size = len(blocks.own)
    blocks.factor = [generator.integers(-(2**bits), 2**bits, k + 1).tolist() for k in range(size)]
    return blocks


@pytest.mark.parametrize(("seed", "bits"), [(0, 62), (1, 41), (2, 30), (3, 20)])
def test_the_room_in_binary64_is_below_the_exact_one_and_near(proved, seed, bits):
    blocks = blown_factor(blocks_of(proved), seed, bits)
    exact, quick = exact_room(blocks), fast.Fast.of(blocks)
    right = np.abs(np.hstack([quick.rows, quick.factor]))
    left = np.abs(np.hstack([quick.rows * quick.sizes, quick.factor]))
    scale = left @ right.sum(axis=0) + quick.multiplier.sum(axis=1) * 9
    scale += [float(g.multiplicity * blocks.radius(k)) for k, g in enumerate(blocks.groups)]
    for truth, found, size in zip(exact, quick.room().tolist(), scale.tolist(), strict=True):
        assert Fraction(found) <= truth
        assert truth - Fraction(found) < Fraction(size) / 2**43  # 384 roundings up, 384 down, of 2^-53 each


def test_one_unit_short_of_dominance_is_not_believed(proved, monkeypatch):
    """ρ such that a row has almost no room, or too little of it: binary64 cannot tell, and does not claim to."""
    blocks = blown_factor(blocks_of(proved), 4, 41)
    m = [group.multiplicity for group in blocks.groups]
    radii = [blocks.radius(g) - room // m[g] for g, room in enumerate(exact_room(blocks))]
    for short in (0, 1):
        monkeypatch.setattr(proof.Blocks, "radius", lambda self, g, short=short: radii[g] - short)
        assert not fast.Fast.of(blocks).slack_dominates()
    with pytest.raises(reading.Refuted, match="dominated"):
        blocks.check_slack()
    ample = [radius + (radius >> 36) for radius in radii]
    monkeypatch.setattr(proof.Blocks, "radius", lambda self, g: ample[g])
    assert fast.Fast.of(blocks).slack_dominates()


def test_alike_classes_that_differ_too_much_are_not_believed(large_group, monkeypatch):
    """(8) alone fails, for one group, by one unit."""
    blocks = blocks_of(large_group)
    place = next(g for g, group in enumerate(blocks.groups) if group.multiplicity == 3)
    assert fast.Fast.of(blocks).slack_dominates()
    square = (blocks.own[place] - blocks.columns_[place][place]) ** 2 - blocks._multiplier(place, place)
    radii = [blocks.radius(g) for g in range(64)]
    monkeypatch.setattr(fast.Fast, "room", lambda self: np.zeros(64))
    monkeypatch.setattr(blocks, "radius", radii.__getitem__)
    for radii[place], holds in ((square, True), (square - 1, False)):
        assert fast.Fast.of(blocks).slack_dominates() is holds


def test_radii_beyond_binary64_are_left_to_the_exact_path(large, monkeypatch):
    for radius in (1 << 901, 1 << 1023, 1 << 2000):
        monkeypatch.setattr(proof.Blocks, "radius", lambda self, g, radius=radius: radius)
        with np.errstate(all="raise"):
            assert not fast.Fast.of(blocks_of(large)).slack_dominates()


def test_a_fast_path_does_not_refute(large):
    blocks = blocks_of(large)
    blocks.columns_[0][1] = -1
    assert fast.Fast.of(blocks).dual_value() is None


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_beyond_those_whose_logarithms_are_bounded_are_left_to_balls(large, sign):
    """Up to 2^41 of either sign, and own entries, which are negative, count."""
    for integer, decided in ((2**41, True), (2**41 + 2, False)):
        quick = fast.Fast.of(blocks_of(large))
        quick.rows[0, 0 if sign < 0 else 1] = sign * float(integer)
        assert (quick.dual_value() is not None) is decided


@pytest.fixture(scope="module", params=[0.0, 0.1])
def wide(request):
    """A certificate whose witness is W and H of 80 classes, and the witness."""
    problem = Problem(np.arange(20, 100), 1e-4, 1e-4, features="free", loss=CrossEntropy(smoothing=request.param))
    lower = enclosure.lower_bound(problem, feasible_dual(problem, share=0.9), proof="dense")
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(80, 90)), rng.normal(size=(80, 90))
    return assemble(problem, lower, enclosure.upper_bound(problem, factors), 1e-6, {})


def witness_of(certificate):
    document = json.loads(certificate.to_json())
    return points.Factors.read(proof.Problem(document["problem"]), document["witness"])


@settings(max_examples=25)
@given(st.integers(0, 79), st.integers(0, 89), st.integers(0, 56), st.sampled_from([-1, 1]), st.sampled_from("WH"))
def test_the_fast_objective_contains_the_exact_one(wide, row, column, bits, sign, which):
    """With one integer moved by a power of two as well, up to more than binary64 holds."""
    witness = witness_of(wide)
    getattr(witness, which)[row][column] += sign << bits
    with ctx.workprec(128):
        exact, rough = witness.objective(), fast.witness_objective(witness)
    if rough is None:
        assert abs(getattr(witness, which)[row][column]) > 1 << 53
        return
    assert rough.contains(exact)
    assert float(rough.rad()) < 2**-34 * float(rough.mid())  # what the coarse rounding of the claim leaves room for


def test_the_fast_objective_decides_alone(wide, monkeypatch):
    monkeypatch.setattr(points.Factors, "objective", lambda self: pytest.fail("the exact path was asked"))
    found = {step.name: step.verdict for step in verify(wide.to_json().encode()).steps}
    assert found["upper bound"] is Verdict.PROVED


def test_the_fast_objective_does_not_confirm_a_lowered_claim(wide):
    document = json.loads(wide.to_json())
    lowered = encoding.undyadic(document["claims"]["upper"]) * (1 - Fraction(1, 2**35))  # twice the room left in it
    document["claims"]["upper"] = encoding.dyadic(lowered)
    found = {step.name: step.verdict for step in verify(text(resealed(document))).steps}
    assert found["upper bound"] is Verdict.REFUTED


@pytest.mark.parametrize("exponent", [401, 2000, -1100, -2000])
def test_numbers_that_binary64_does_not_hold_are_left_to_the_exact_path(wide, exponent):
    witness = witness_of(wide)
    witness.exponents[1] = exponent
    assert fast.witness_objective(witness) is None


def test_a_classifier_beyond_the_range_of_squares_is_left_to_the_exact_path(wide):
    witness = witness_of(wide)
    witness.exponents[0] = 200
    assert fast.witness_objective(witness) is None


# -- claims that contradict each other ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("diagonal", ("upper",), "1p-99"),
        ("suboptimal", ("candidate", "objective", "lower"), "1p99"),
        ("optimal candidate", ("candidate", "objective", "upper"), "1p-99"),
        ("suboptimal", ("candidate", "gap", "lower"), "1p99"),
        ("suboptimal", ("lower",), "1p99"),
    ],
)
def test_empty_intervals_amount_to_no_verdict(name, path, value):
    document = json.loads(base_certificates()[name].to_json())
    inner = document["claims"]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    for verdict in ("optimal", "suboptimal", "undecided"):
        document["claims"]["verdict"] = verdict
        found = {step.name: step.verdict for step in verify(text(resealed(document))).steps}
        assert found["verdict"] is Verdict.REFUTED


# -- hostile candidates in files of their own --------------------------------------------------------------------

ARRAYS = {"weights": np.ones((3, 2)), "features": np.ones((7, 2)), "labels": np.repeat([0, 1, 2], [4, 2, 1])}


def with_file(smoothing="0p0", **arrays):
    """A document about the candidate with these arrays, and the arrays; its claims are wide."""
    arrays = {**ARRAYS, **arrays}
    document = json.loads(certify(Problem([4, 2, 1], 5e-2, 5e-2)).to_json())
    document["problem"]["loss"]["smoothing"] = smoothing
    sha256 = fast._digest({**arrays, "labels": arrays["labels"].astype(np.int64)})
    document["candidate"] = {"level": "sample", "feature_dim": 2, "sha256": sha256, "arrays": None}
    wide = {"objective": {"lower": "1p-1", "upper": "1p300"}, "gap": {"lower": "0p0", "upper": "1p300"}}
    document["claims"].update(candidate={**wide, "violation": None}, verdict="undecided")
    return text(resealed(document)), arrays


def about_candidate(result):
    return {s.verdict for s in result.steps if s.name in ("candidate", "objective from below", "objective from above")}


@pytest.mark.parametrize(
    "arrays",
    [
        {"weights": np.full((3, 2), 1e200), "features": np.full((7, 2), 1e200)},
        {"weights": np.array([[1e308], [-1e308], [1.0]]) * np.ones(2)},
        {"weights": np.full((3, 2), np.nan)},
        {"weights": np.full((3, 2), np.inf)},
        {"labels": np.full(7, 2**64 - 1, dtype=np.uint64)},
        {"weights": np.ones((3, 2, 1))},
    ],
)
def test_arrays_that_binary64_cannot_answer_for_are_undecided(arrays):
    data, given_ = with_file(**arrays)
    assert Verdict.INCONCLUSIVE in about_candidate(verify(data, given_))


@pytest.mark.parametrize(
    "arrays",
    [
        {"weights": np.ones((3, 2)) + 5j},
        {"features": np.ones((7, 2)) + 3j},
        {"features": np.ones((7, 2), dtype=np.float16)},
        {"features": np.ones((7, 2), dtype=np.int64)},
        {"labels": ARRAYS["labels"] + 0.7},
    ],
)
def test_what_are_no_arrays_of_a_candidate_is_refused_by_name(arrays):
    data, given_ = with_file(**arrays)
    with pytest.raises(UnreadableInput, match=next(iter(arrays))):
        verify(data, given_)


@pytest.mark.parametrize("smoothing", ["0p0", f"{2**4000 + 1}p-4010"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4"])
def test_plain_arrays_are_decided(smoothing, dtype):
    data, given_ = with_file(smoothing, weights=np.ones((3, 2), dtype), features=np.ones((7, 2), dtype))
    assert about_candidate(verify(data, given_)) == {Verdict.PROVED}


@pytest.mark.parametrize("damage", ["empty", "compressed", "header", "method", "no archive"])
def test_damaged_archives_are_unreadable_and_empty_arrays_are_another_candidate(tmp_path, damage):
    data, arrays = with_file()
    file = tmp_path / "candidate.npz"
    noise = {"weights": np.random.default_rng(0).random((3, 500)), "features": arrays["features"]}
    np.savez_compressed(file, **{**arrays, **noise})
    content = bytearray(file.read_bytes())
    if damage == "empty":
        np.savez(file, **{**arrays, "weights": np.zeros((0, 2))})
    elif damage == "compressed":
        content[300:320] = b"\xff" * 20
        file.write_bytes(content)
    elif damage == "header":  # 10^13 entries
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)})
        with zipfile.ZipFile(file, "w") as archive:
            for name in arrays:
                archive.writestr(f"{name}.npy", header.getvalue())
    elif damage == "method":  # a compression that nobody knows, in the local and in the central header
        file.write_bytes(bytes(content).replace(b"\x08\x00\x00\x00\x21\x00", b"\x63\x00\x00\x00\x21\x00"))
    else:
        np.save(tmp_path / "x.npy", arrays["weights"])
        file = tmp_path / "x.npy"
    if damage == "empty":
        found = verify(data, file)
        assert about_candidate(found) == {Verdict.INCONCLUSIVE}
        assert found.steps[0].verdict is Verdict.INCONCLUSIVE
        return
    with pytest.raises(UnreadableInput):
        verify(data, file)


def test_class_counts_beyond_binary64_are_not_rounded():
    counts = np.array([2**53 + 1, 2])
    document = json.loads(certify(Problem([5, 2], 1e-2, 1e-2)).to_json())
    document["problem"]["class_counts"] = f"{2**53 + 1} 2"
    document = resealed(document)
    W, H = np.ones((2, 1)), np.ones((2, 1))
    sha256 = fast._digest({"weights": W, "features": H, "class_counts": counts})
    given_ = {"level": "class", "feature_dim": 1, "sha256": sha256, "arrays": None}
    candidate = points.Candidate(proof.Problem(document["problem"]), given_)
    arrays = fast.InFile(candidate, {"weights": W, "features": H, "class_counts": counts})
    assert [int(repeat) for repeat in arrays.repeats] == [2**53 + 1, 2]


@pytest.mark.parametrize("source", [None, 3, "a\0b", ["path"]])
def test_what_is_no_file_is_malformed(source):
    with pytest.raises(MalformedCertificate):
        verify(source)


# -- claims near the truth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [60, 200, 1000])
def test_claims_as_near_as_one_likes_are_decided(bits):
    """value ∓ 2^-bits: proved and refuted, at any distance that the precision limit reaches."""
    document = json.loads(certify(PLAIN).to_json())
    blocks = proof.Diagonal(proof.Problem(document["problem"]), document["dual"])
    with ctx.workprec(bits + 64):
        mantissa, exponent = checking._dual_value(blocks).lower().man_exp()
    for sign, verdict in ((-1, Verdict.PROVED), (1, Verdict.REFUTED)):
        shift = -int(exponent) - bits
        number = ((int(mantissa) >> shift) + sign * 2) | 1
        document["claims"]["lower"] = f"{number}p{-bits}"
        found = {step.name: step.verdict for step in verify(text(resealed(document))).steps}
        assert found["lower bound"] is verdict


@pytest.mark.parametrize(
    ("problem", "digits"),
    [
        (Problem([5, 3, 1], 1e-145, 1e-145), None),
        (Problem([5, 4, 3], 1e-100, 1e-100), 30),
        (Problem([5, 4, 3], 5e-3, 5e-3, loss=CrossEntropy(class_weights=(1e150, 1.0, 1.0))), None),
    ],
)
def test_extreme_scales_are_decided(problem, digits):
    certificate = certify(problem) if digits is None else certify(problem, digits=digits)
    assert verify(certificate.to_json().encode()).verdict is Verdict.PROVED


def test_work_is_limited(monkeypatch):
    certificate = certify(PLAIN, digits=100)
    monkeypatch.setattr(checking, "WORK", 1)
    assert verify(certificate.to_json().encode()).verdict is Verdict.INCONCLUSIVE


# -- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("problem", "multiplicities"), "1 1 1000000000"),
        (("problem", "class_counts"), "9223372036854775807 10 2"),
        (("claims", "lower"), "1p-99999"),
        (("claims", "lower"), f"{10**1300 + 1}p0"),
        (("dual", "strengths", "exponent"), 20000),
        (("dual", "strengths", "integers"), f"{10**1300} 1 1"),
        (("dual", "strengths", "integers"), "1 " * 3_000_000 + "1"),
        (("dual", "strengths", "integers"), "1" * 5000 + " 1 1"),
    ],
)
def test_beyond_the_limits_is_malformed_at_once(path, value):
    document = json.loads(certify(PLAIN).to_json())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    data = text(resealed(document))
    started = time.process_time()
    with pytest.raises(MalformedCertificate):
        verify(data)
    assert time.process_time() - started < 10.0  # a bound on hanging, not a benchmark


def test_long_vectors_with_large_exponents_are_malformed():
    value = {"exponent": 16384, "integers": " ".join(["1"] * 100_000)}
    with pytest.raises(MalformedCertificate, match="vector"):
        reading.vector(value, 100_000)
    assert len(reading.vector({**value, "exponent": -200}, 100_000)) == 100_000


@pytest.mark.parametrize(("size", "bits"), [(600, 4096), (1000, 1000), (2048, 64)])
def test_long_products_are_undecided_at_once(size, bits):
    """What would take minutes in integers, and gigabytes: a column limit stops the longest, the work limit the rest."""
    started = time.process_time()
    with pytest.raises(reading.Undecided, match="too long"):
        problem_module.product([[2 ** (bits - 1)] * size] * size, [[-1] * size] * size)
    assert time.process_time() - started < 10.0  # a bound on hanging, not a benchmark


def test_products_of_certificates_are_within_the_limit():
    """1400 classes of 41 bits, 1200 groups of 72, and a witness of 1200 classes of 53."""
    for size, bits in ((1400, 41), (1200, 72), (1200, 53)):
        problem_module.require_short(size, [[2**bits - 1] * size], [[1] * size] * size)


def test_columns_of_too_many_bits_are_malformed():
    document = json.loads(certify(Problem([5] * 1100, 1e-4, 1e-4)).to_json())
    columns = [" ".join(str(2**4095) if j == (k + 1) % 1100 else "0" for j in range(1100)) for k in range(1100)]
    zeros = " ".join(["0"] * 1100)
    dual = {"kind": "dense", "exponents": zeros, "columns": columns, "multiplier": None, "factor": None}
    with pytest.raises(MalformedCertificate, match="bits"):
        proof.Blocks(proof.Problem(document["problem"]), dual)


def test_dense_arrays_are_limited():
    document = json.loads(certify(PLAIN).to_json())
    document["problem"].update(class_counts="5", multiplicities="3000")
    problem = proof.Problem({**document["problem"], "sha256": reading.sha256_of(document["problem"], ("sha256",))})
    with pytest.raises(MalformedCertificate, match="2048"):
        proof.Blocks(problem, {"kind": "dense", "exponents": "", "columns": [], "multiplier": None, "factor": None})
    with pytest.raises(MalformedCertificate, match="logits"):
        points.Factors(problem, 1, {}, {})


def test_each_step_is_named_once():
    for certificate in base_certificates().values():
        names = [step.name for step in verify(certificate.to_json().encode()).steps]
        assert len(names) == len(set(names))
        assert names[:4] == ["slack", "lower bound", "witness", "upper bound"]


def test_a_multiplier_is_refused_for_free_features():
    document = json.loads(with_dual(CROWDED, crowded_dual(), "dense").to_json())
    document["problem"]["features"] = "free"
    with pytest.raises(MalformedCertificate, match="multiplier"):
        verify(text(resealed(document)))
