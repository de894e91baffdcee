"""The verifier's table of losses: against definitions in mpmath, at the edges of domains, and what each loss allows."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from certificate_cases import loss_certificates, resealed, text
from flint import arb, ctx, fmpq
from test_more_losses import CASES as BESIDE_CROSS_ENTROPY
from test_more_losses import log_sum_exp
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import losses
from ufm_convex.candidate import Candidate
from ufm_convex.certificate import certify, encoding, limits
from ufm_convex.cli import application
from ufm_convex.enclosure.candidate import is_streamed
from ufm_convex.errors import HypothesisError, UnknownNameError
from ufm_convex.problem import Problem
from ufm_convex.verifier import MalformedCertificate, Verdict, points, proof, reading, verify
from ufm_convex.verifier import losses as table

OLD = Path(__file__).parent / "data" / "cross_entropy_certificate.json"
COUNTS, K = [6, 4, 2, 1], 4
TINY = fmpq(1, 2**300)


def smoothed(z, k):
    return log_sum_exp(z) - mp.mpf(0.875) * z[k] - mp.mpf(0.125) * mp.fsum(z) / len(z)


CASES = {"smoothed": (losses.CrossEntropy(smoothing=0.125), smoothed), **BESIDE_CROSS_ENTROPY}
DOCUMENTS = {name: json.loads(certificate.to_json()) for name, certificate in loss_certificates().items()}


def of_table(name):
    """The verifier's loss, from what a certificate says of the package's."""
    return table.read_loss(encoding.encode_problem(Problem(COUNTS, 0.1, 0.1, loss=CASES[name][0]))["loss"], K)


def near(number):
    return fmpq(*Fraction(int(mp.floor(mp.ldexp(number, 90))), 2**90).as_integer_ratio())


def ball(column):
    return column._replace(own=arb(column.own), others=[(arb(entry), m) for entry, m in column.others])


def column_of(entries, k):
    return table.Column(k, entries[k], [(entry, 1) for j, entry in enumerate(entries) if j != k])


def test_every_loss_of_the_package_is_in_the_table():
    assert set(table.LOSSES) == set(losses.available()) | {"hard-margin"}


def test_a_loss_that_is_not_in_the_table_is_refused(monkeypatch):
    monkeypatch.delitem(table.LOSSES, "multiclass-hinge")
    with pytest.raises(HypothesisError, match="do not carry the loss 'multiclass-hinge'"):
        certify(Problem(COUNTS, 0.1, 0.1, loss=losses.MulticlassHinge()))


# -- values and conjugates against the definition -----------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_fenchel_and_young(name, seed):
    """l_k(z) + l_k*(v) − <v, z> encloses 0 at v = ∇l_k(z), and is positive at the gradient of another point."""
    loss, definition = of_table(name), CASES[name][1]
    generator = np.random.default_rng(seed)
    for k in range(K):
        z, other = ([near(mp.mpf(float(x))) for x in generator.normal(scale=2.0, size=K)] for _ in range(2))
        with mp.workdps(60), ctx.workprec(200):
            value = loss.value(ball(column_of(z, k)))
            exact = definition([mp.mpf(int(x.p)) / int(x.q) for x in z], k)
            assert abs(value - arb(mp.nstr(exact, 50))) < arb(2) ** -150
            for point, tight in ((z, True), (other, False)):
                v, w = residual(loss, definition, point, k)
                gap = value + loss.conjugate(column_of(w, k)) - arb(sum(a * b for a, b in zip(v, z, strict=True)))
                assert gap >= -(arb(2) ** -60)
                # entries of v are rounded to 90 bits, so the gap at the gradient itself is far below 2^-60
                assert gap < arb(2) ** -60 if tight else gap > 0 or "hinge" in loss.__class__.__name__.lower()


def residual(loss, definition, point, k):
    """v = ∇l_k at the point in exact numbers, closed as the loss wants it, and w = v/a."""
    z = [mp.mpf(int(x.p)) / int(x.q) for x in point]
    gradient = [
        mp.diff(lambda t, j=j: definition([*z[:j], t, *z[j + 1 :]], k), z[j], h=mp.mpf(10) ** -20) for j in range(K)
    ]
    scale = loss.scale or [fmpq(1)] * K
    w = [near(entry) / a for entry, a in zip(gradient, scale, strict=True)]
    if loss.closed:
        w = [max(entry, fmpq(0)) if "hinge" in loss.__class__.__name__.lower() else entry for entry in w]
        w[k] = -sum((entry for j, entry in enumerate(w) if j != k), fmpq(0))
    return [a * entry for a, entry in zip(scale, w, strict=True)], w


def share_of(k):
    return [fmpq(1, 3) if j != k else fmpq(-1) for j in range(K)]


def corner(k, j):
    return [fmpq(i == j) - fmpq(i == k) for i in range(K)]


EDGES = {
    # a column on the edge of the domain, and the directions that leave it; columns of tied losses are closed below
    "additive": (corner(2, 0), [(0, 1), (1, -1)]),
    "multiplicative": (share_of(2), [(0, 1)]),
    "both": (corner(2, 3), [(3, 1), (0, -1)]),
    "crammer-singer": (corner(2, 0), [(0, 1), (1, -1)]),
    "weston-watkins": ([fmpq(1), fmpq(0), fmpq(-2), fmpq(1)], [(0, 1), (1, -1), (3, 1)]),
    "bce": ([fmpq(1), fmpq(0), fmpq(-1), fmpq(1)], [(0, 1), (1, -1), (2, -1), (3, 1)]),
    "smoothed": ([fmpq(-1, 32)] * 4, [(0, -1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_domains_are_closed_and_nothing_beyond_is_in_them(name):
    loss, (entries, outward), k = of_table(name), EDGES[name], 2

    def conjugate(moved):
        if loss.closed:
            moved[k] = -sum((entry for j, entry in enumerate(moved) if j != k), fmpq(0))
        return loss.conjugate(column_of(moved, k))

    assert conjugate(list(entries)).is_finite()
    for place, sign in outward:
        moved = list(entries)
        moved[place] += sign * TINY
        with pytest.raises(reading.Refuted):
            conjugate(moved)


def test_soft_targets_reach_a_corner():
    loss = of_table("soft")
    targets = [y * fmpq(2) ** loss.exponent for y in loss.rows[0]]
    entries = [fmpq(j == 3) - y for j, y in enumerate(targets)]
    assert loss.conjugate(column_of(entries, 0)) == 0
    entries[0], entries[3] = entries[0] - TINY, entries[3] + TINY
    with pytest.raises(reading.Refuted):
        loss.conjugate(column_of(entries, 0))


# -- certificates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_every_loss_is_certified_and_proved(name, features):
    problem = Problem(COUNTS, 0.05, 0.05, loss=CASES[name][0], features=features)
    certificate = certify(problem)
    assert certificate.problem == problem
    assert certificate.verdict == "optimal"
    assert verify(certificate.to_json().encode()).verdict is Verdict.PROVED


@pytest.mark.parametrize("name", CASES)
def test_where_nothing_can_be_proved_of_a_dual_point_the_trivial_bound_is(name):
    """Decays so large that V = 0 is what is left; its value is finite for every loss."""
    problem = Problem(COUNTS, 1e60, 1e60, loss=CASES[name][0], features="free")
    assert verify(certify(problem).to_json().encode()).verdict is Verdict.PROVED


def test_a_certificate_written_before_other_losses_were_known_is_proved():
    assert verify(OLD).verdict is Verdict.PROVED


def test_margin_losses_of_many_classes_are_small_files():
    certificate = certify(Problem(np.repeat([500, 20, 1], 30_000), 1e-6, 1e-6, loss=losses.MulticlassHinge()))
    assert (certificate.proof, certificate.verdict) == ("diagonal", "optimal")
    assert len(certificate.to_json()) < 4000
    assert verify(certificate.to_json().encode()).verdict is Verdict.PROVED


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("level", ["sample", "class"])
def test_candidates_of_every_loss_are_enclosed(name, level):
    """The objective against mpmath; verified from the embedded arrays."""
    loss, definition = CASES[name]
    problem = Problem(COUNTS, 0.05, 0.05, loss=loss)
    generator = np.random.default_rng(3)
    labels = np.repeat(np.arange(K), COUNTS) if level == "sample" else np.arange(K)
    W, F = generator.normal(size=(K, 3)), generator.random((labels.size, 3))
    about = {"labels": labels} if level == "sample" else {"class_counts": COUNTS}
    certificate = certify(problem, Candidate(weights=W, features=F, **about))
    repeats = [1] * labels.size if level == "sample" else COUNTS
    with mp.workdps(40):
        rows = [[mp.fdot(map(mp.mpf, w), map(mp.mpf, h)) for w in W.tolist()] for h in F.tolist()]
        value = mp.fsum(n * definition(z, k) for n, z, k in zip(repeats, rows, labels.tolist(), strict=True)) / sum(
            COUNTS
        )
        penalty = mp.fsum(n * mp.fsum(mp.mpf(x) ** 2 for x in h) for n, h in zip(repeats, F.tolist(), strict=True))
        value += mp.mpf(0.05) / 2 * (mp.fsum(mp.mpf(x) ** 2 for x in W.ravel().tolist()) + penalty)
        low, high = certificate.candidate_objective
        assert mp.mpf(low) <= value <= mp.mpf(high)
        assert high - low < 1e-12 * high
    assert certificate.verdict == "suboptimal"
    assert verify(certificate.to_json().encode()).verdict is Verdict.PROVED


def test_a_candidate_too_large_for_the_exact_enclosure_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 10)
    candidate = Candidate(weights=np.ones((K, 3)), features=np.ones((K, 3)), class_counts=COUNTS)
    with pytest.raises(UnknownNameError, match="no streamed enclosure"):
        certify(Problem(COUNTS, 0.05, 0.05, loss=losses.MeanSquaredError()), candidate)


def test_the_package_and_the_verifier_agree_on_what_is_streamed_and_how_much_is_not():
    assert limits.UNSTREAMED_LOGITS == points.MAX_UNSTREAMED_LOGITS
    for loss, _ in CASES.values():
        assert is_streamed(loss) == table.LOSSES[loss.name].streamed


LOSS_TABLES = {
    "squares": '[loss]\nname = "mean-squared-error"\n',
    "sigmoids": '[loss]\nname = "binary-cross-entropy"\n',
    "hinge": '[loss]\nname = "multiclass-hinge"\nkind = "weston-watkins"\n',
    "squared hinge": '[loss]\nname = "squared-hinge"\n',
    "label margins": '[loss]\nname = "label-margin-cross-entropy"\nmargins = [0.3, 0.4, 0.5]\n',
    "adjusted": '[loss]\nname = "logit-adjusted-cross-entropy"\nshift = [0.5, 0.0, -0.5]\nscale = [1.0, 0.7, 3.0]\n',
    "soft": '[loss]\nname = "soft-target-cross-entropy"\ntargets = [[0.9, 0.1, 0.0], [0, 1, 0], [0.3, 0.1, 0.6]]\n',
}


@pytest.mark.parametrize("name", LOSS_TABLES)
@pytest.mark.parametrize("command", ["certify", "solve"])
def test_the_commands_write_certificates_of_every_loss(tmp_path, name, command):
    problem, certificate = tmp_path / "problem.toml", tmp_path / "c.json"
    problem.write_text("class_counts = [6, 3, 1]\nlambda_w = 0.05\nlambda_h = 0.05\n" + LOSS_TABLES[name])
    done = CliRunner().invoke(application(), [command, str(problem), "-o", str(certificate)])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(application(), ["verify", str(certificate)]).exit_code == 0


# -- what a loss forbids ------------------------------------------------------------------------------------------


def altered(name, **changes):
    """A certificate with other values in places given as a__b=value; None removes."""
    document = copy.deepcopy(DOCUMENTS[name])
    for place, value in changes.items():
        inner, (*path, last) = document, place.split("__")
        for key in path:
            inner = inner[key]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return text(resealed(document))


@pytest.mark.parametrize("name", ["joint hinge, dense", "adjusted", "soft targets"])
def test_tied_losses_have_no_own_entries(name):
    with pytest.raises(MalformedCertificate, match="fields"):
        verify(altered(name, dual__own="0 0 0"))


@pytest.mark.parametrize("name", ["squares", "sigmoids", "squares, group", "sigmoids, group"])
@pytest.mark.parametrize("own", [None, "1", "1 1 1 1", "1 1.0 1", ["1", "1", "1"], f"{2**4096} 1 1"])
def test_other_losses_have_one_own_entry_a_group(name, own):
    with pytest.raises(MalformedCertificate):
        verify(altered(name, dual__own=own))


def test_long_own_entries_count_towards_the_limit_of_products():
    problem = Problem([5] * 600, 1e-4, 1e-4, loss=losses.MeanSquaredError())
    content = resealed({"problem": encoding.encode_problem(problem)})["problem"]
    zeros = " ".join(["0"] * 600)
    dual = {"kind": "dense", "exponents": zeros, "columns": [zeros] * 600, "multiplier": None, "factor": None}
    proof.Blocks(proof.Problem(content), {**dual, "own": zeros}).check_slack()
    with pytest.raises(reading.Undecided, match="too long"):
        proof.Blocks(proof.Problem(content), {**dual, "own": " ".join([str(2**4095)] * 600)}).check_slack()


FRAME = {
    "kind": "frame", "groups": "0 1 2", "multiplicities": "1 1 1",
    "eta": {"exponent": 0, "integers": "0 0 0"}, "omega": {"exponent": 0, "integers": "0 0 0"},
}  # fmt: skip
INVARIANT = {"exponent": 0, "own": "0 0 0", "rows": ["0 0 0"] * 3}


@pytest.mark.parametrize("name", ["adjusted", "scaled alike", "soft targets"])
@pytest.mark.parametrize(
    "changes",
    [
        {"witness": FRAME},
        {"witness": {"kind": "group", "W": INVARIANT, "H": INVARIANT}},
        {"dual": {"kind": "diagonal", "strengths": {"exponent": 0, "integers": "0 0 0"}}},
        {"dual__kind": "group"},
    ],
)
def test_losses_that_tell_classes_apart_have_no_groups(name, changes):
    """Groups are sorted by count, classes are not: parameters would go to the wrong classes."""
    lemma = {"diagonal": "frame-slack", "group": "symmetry-slack"}.get(
        changes.get("dual__kind") or changes.get("dual", {}).get("kind"), "dense-slack"
    )
    names = ["class-mean-reduction", "master-identity", "weak-duality", lemma]
    with pytest.raises(MalformedCertificate, match="apart"):
        verify(altered(name, lemmas=names, **changes))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("soft targets", {"problem__loss__targets__exponent": -52}),  # sums of 2
        ("soft targets", {"problem__loss__targets": {"exponent": 0, "rows": ["1 0 0", "0 1 0"]}}),
        ("soft targets", {"problem__loss__targets": {"exponent": 0, "rows": ["1 0", "0 1", "0 1"]}}),
        ("soft targets", {"problem__loss__targets": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}),
        ("adjusted", {"problem__loss__scale": {"exponent": 0, "integers": "1 0 1"}}),
        ("adjusted", {"problem__loss__scale": {"exponent": 0, "integers": "1 -1 1"}}),
        ("adjusted", {"problem__loss__scale": {"exponent": 0, "integers": "1 1"}}),
        ("adjusted", {"problem__loss__shift": {"exponent": 0, "integers": "1 1 1 1"}}),
        ("adjusted", {"problem__loss__shift": None}),
        ("joint hinge", {"problem__loss__kind": "lee-lin-wahba"}),
        ("joint hinge", {"problem__loss__kind": None}),
        ("squares", {"problem__loss": {"name": "mean-squared-error", "scale": "1p0"}}),
        ("squares", {"problem__loss": {"name": "focal"}}),
        ("squares", {"problem__loss": {"name": ["mean-squared-error"]}}),
        ("sigmoids", {"problem__loss": "binary-cross-entropy"}),
    ],
)
def test_faulty_parameters_are_malformed(name, changes):
    with pytest.raises(MalformedCertificate):
        verify(altered(name, **changes))


def test_a_table_of_targets_has_a_limited_size():
    """Refused before anything of the size of K² is made."""
    value = {"name": "soft-target-cross-entropy", "targets": {"exponent": 0, "rows": []}}
    with pytest.raises(MalformedCertificate, match="2048"):
        table.read_loss(value, 10**8)


def test_parameters_belong_to_classes_in_their_order():
    """The two classes of one count exchange their shifts: another problem, and the proof of the first refuted."""
    loss = losses.LogitAdjustedCrossEntropy(shift=(2.0, -2.0, 0.0))
    document = json.loads(certify(Problem([5, 5, 2], 0.02, 0.02, loss=loss)).to_json())
    assert verify(text(document)).verdict is Verdict.PROVED
    other = Problem([5, 5, 2], 0.02, 0.02, loss=losses.LogitAdjustedCrossEntropy(shift=(-2.0, 2.0, 0.0)))
    document["problem"] = encoding.encode_problem(other)
    assert verify(text(resealed(document))).verdict is Verdict.REFUTED


def test_own_targets_are_one_minus_the_others_without_rounding():
    """0.1 + 0.9 exceeds 1 in binary: the exact own target is negative, and the certificate carries it."""
    problem = Problem(
        [5, 4, 2], 0.02, 0.02, loss=ufm.SoftTargetCrossEntropy([[0, 0.1, 0.9], [0, 1, 0], [0.2, 0.1, 0.7]])
    )
    certificate = certify(problem)
    rows = [list(map(int, row.split(" "))) for row in certificate.content["problem"]["loss"]["targets"]["rows"]]
    assert rows[0][0] < 0
    assert len({sum(row) for row in rows}) == 1
    assert certificate.problem == problem
    assert verify(certificate.to_json().encode()).verdict is Verdict.PROVED
