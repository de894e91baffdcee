"""Certificates of tables of targets: what is written and read back, what the two kinds of dual points prove, every lie.

The naive verifier is the peer of verdicts, balls that of binary64, eigenvalues that of Schur complements.
"""

from __future__ import annotations

import json

import naive_verifier
import numpy as np
import pytest
import scipy.sparse
from certificate_cases import MIXED, judge_forgery, outcome, replaced, resealed, text
from flint import arb_mat
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex.certificate import Certificate, certify, encoding
from ufm_convex.certificate import residuals as writer
from ufm_convex.certificate.certifying import assemble
from ufm_convex.cli import application
from ufm_convex.errors import HypothesisError, ProblemError, SizeError
from ufm_convex.losses import Table
from ufm_convex.verifier import Verdict, asked, checking, fast_tables, reading, verify
from ufm_convex.verifier.precision import working_precision
from ufm_convex.verifier.residuals import positive_definite

DECAYS = (2e-2, 3e-2)


def document(problem, **given):
    return json.loads(certify(problem, **given).to_json())


def soft(targets=MIXED, counts=(4, 2, 1), features="free", **given):
    return ufm.Problem(counts, *DECAYS, loss=ufm.SoftTargetCrossEntropy(targets), features=features, **given)


@pytest.fixture(scope="module")
def dense():
    return document(soft(features="nonnegative"))


@pytest.fixture(scope="module")
def short():
    return document(soft(), proof="residuals")


# -- random tables -------------------------------------------------------------------------------------------------


def random_problem(seed):
    """A table of any loss, shape, sign and bias; default_rng(seed)."""
    generator = np.random.default_rng(seed)
    V, m = (int(size) for size in generator.integers(2, 5, 2))
    counts = generator.integers(1, 9, m)
    bias = [None, "free", 0.25][generator.integers(3)]
    features = ["free", "nonnegative"][generator.integers(2)]
    kind = generator.integers(4)
    if kind == 0:
        loss = ufm.BinaryCrossEntropy(generator.uniform(size=(m, V)))
    elif kind == 1:
        loss = ufm.MeanSquaredError(np.round(generator.normal(size=(m, V)), 1))
    elif kind == 2:
        sets = [generator.permutation(V)[: generator.integers(1, V + 1)].tolist() for _ in range(m)]
        loss, bias = ufm.SoftTargetCrossEntropy.pick_all(sets, V), None if bias == "free" else bias
    else:
        loss = ufm.SoftTargetCrossEntropy(generator.dirichlet(np.full(V, 0.5), size=m), generator.uniform(0.5, 2.0, m))
    decay = float(10.0 ** generator.uniform(-2.5, -1.0))
    return ufm.Problem(counts, decay, 0.02, loss=loss, features=features, bias=bias)


@pytest.mark.parametrize("seed", range(24))
def test_random_tables_are_proved_by_both_verifiers_and_read_back(seed, tmp_path):
    problem = random_problem(seed)
    proofs = ["auto", "residuals"] if writer.lacks(problem) is None else ["auto"]
    for proof in proofs:
        certificate = certify(problem, proof=proof)
        certificate.save(tmp_path / "c.json")
        problem.save(tmp_path / "p.toml")
        found = ufm.verify(tmp_path / "c.json", problem=tmp_path / "p.toml")
        assert found.verdict is Verdict.PROVED, found.steps
        assert judge_forgery(json.loads(certificate.to_json())) == "PROVED"
        assert Certificate.load(tmp_path / "c.json").problem == problem
        if "rows" in certificate.content["problem"]["loss"]["targets"]:  # classes, as ever
            assert found.problem.floor is found.problem.num_outputs is found.problem.num_columns is None
        else:
            assert (found.problem.num_outputs, found.problem.num_columns) == (problem.num_outputs, problem.num_columns)
            assert found.problem.floor == pytest.approx(problem.floor, rel=1e-14, abs=1e-300)
            assert found.problem.floor <= certificate.upper
        below = replaced(json.loads(certificate.to_json()), ("claims", "lower"), "1p10")
        assert judge_forgery(below) == "REFUTED"


# -- every lie ----------------------------------------------------------------------------------------------------

LENGTHS, PLACES, ENTRIES = (("problem", "loss", "targets", name) for name in ("lengths", "places", "entries"))


def numbers(field):
    return list(map(int, field.split(" ")))


def joined(values):
    return " ".join(map(str, values))


def entries_of(document):
    return numbers(document["problem"]["loss"]["targets"]["entries"]["integers"])


def with_entries(document, integers):
    return replaced(document, (*ENTRIES, "integers"), joined(integers))


def moved_mass(document):
    first, second, *rest = entries_of(document)
    return with_entries(document, [first + 1, second - 1, *rest])


def more_mass(document):
    first, *rest = entries_of(document)
    return with_entries(document, [first + 1, *rest])


def negative(document):
    first, second, *rest = entries_of(document)
    return with_entries(document, [first + 2 * second, -second, *rest])


def without_a_column(document):
    """The last column left out of the problem, the proof not."""
    length = numbers(document["problem"]["loss"]["targets"]["lengths"])
    changed = replaced(document, ("problem", "class_counts"), "4 2")
    changed = replaced(changed, ("problem", "multiplicities"), "1 1")
    changed = replaced(changed, LENGTHS, joined(length[:-1]))
    places = numbers(document["problem"]["loss"]["targets"]["places"])
    changed = replaced(changed, PLACES, joined(places[: -length[-1]]))
    return with_entries(changed, entries_of(document)[: -length[-1]])


def rows_swapped(document):
    """Targets of the first two columns exchanged, which both have two entries."""
    places, entries = numbers(document["problem"]["loss"]["targets"]["places"]), entries_of(document)
    changed = replaced(document, PLACES, joined([*places[2:4], *places[:2], *places[4:]]))
    return with_entries(changed, [*entries[2:4], *entries[:2], *entries[4:]])


def shifted_lengths(document):
    return replaced(document, LENGTHS, "1 3 4")


def place(at, value):
    def changed(document):
        places = numbers(document["problem"]["loss"]["targets"]["places"])
        return replaced(document, PLACES, joined([*places[:at], value, *places[at + 1 :]]))

    return changed


def field(path, value):
    return lambda document: replaced(document, path, value)


TABLE = ("problem", "loss", "targets")
LIES = {
    "a row that does not sum to one": (more_mass, {"malformed"}),
    "a negative entry": (negative, {"malformed"}),
    "a column dropped": (without_a_column, {"malformed"}),
    "an output twice in a row": (place(1, 0), {"malformed"}),
    "outputs of a row that fall": (place(0, 3), {"malformed"}),
    "an output that is none": (place(3, 4), {"malformed"}),
    "an output before the first": (place(0, -1), {"malformed"}),
    "rows cut elsewhere": (shifted_lengths, {"malformed"}),
    "a negative length": (field(LENGTHS, "-2 6 4"), {"malformed"}),
    "more entries in a row than outputs": (field(LENGTHS, "5 2 1"), {"malformed"}),
    "a thousand million outputs": (field((*TABLE, "outputs"), 10**9), {"malformed"}),
    "a thousand million entries": (field(LENGTHS, "999999998 1 1"), {"malformed"}),
    "a thousand million samples in one column": (field(("problem", "class_counts"), "1000000000 2 1"), {"REFUTED"}),
    "one output more": (field((*TABLE, "outputs"), 5), {"malformed"}),
    "one output less": (field((*TABLE, "outputs"), 3), {"malformed"}),
    "transposed": (field((*TABLE, "outputs"), 3), {"malformed"}),
    "no entries": (field(ENTRIES, None), {"malformed"}),
    "no places": (field(PLACES, None), {"malformed"}),
    "NaN": (field((*ENTRIES, "integers"), "NaN 1 1 1 1 1 1 1"), {"malformed"}),
    "a zero that is written": (field((*ENTRIES, "exponent"), 20000), {"malformed"}),
    "a field of its own": (field((*TABLE, "own"), "0 1 2"), {"malformed"}),
    "counts permuted": (field(("problem", "class_counts"), "1 2 4"), {"REFUTED"}),
    "a column without samples": (field(("problem", "class_counts"), "4 0 1"), {"malformed"}),
    "targets of other columns": (rows_swapped, {"REFUTED"}),
    "norm bounds of other outputs than columns": (
        lambda d: {**d, "problem": {**{k: v for k, v in d["problem"].items() if not k.startswith("lambda")},
                                    "weight_radius": "1p0", "feature_radius": "1p0"}},
        {"malformed"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["dense", "short"])
@pytest.mark.parametrize("name", LIES)
def test_no_lie_about_the_table_is_proved(name, kind, dense, short):
    lie, expected = LIES[name]
    forged = lie(dense if kind == "dense" else short)
    found = outcome(text(resealed(forged)))
    assert found in expected
    if found != "malformed":
        assert naive_verifier.verdict(forged) == found


def test_a_target_moved_by_one_unit_is_another_problem(dense):
    """A proof with room may hold for it, too; whoever asks is told."""
    forged = resealed(moved_mass(dense))
    assert judge_forgery(forged) in {"PROVED", "REFUTED"}
    assert verify(text(forged), problem=dense["problem"]).verdict is Verdict.REFUTED
    found = verify(text(forged), problem=dense["problem"]).steps[0]
    assert found.detail == "the certificate is about another problem: other loss targets"


ZEROS = {"exponent": 0, "integers": "0 0 0"}
LIES_ABOUT_RESIDUALS = {
    "longer residuals": (field(("dual", "scale"), "1p0"), "REFUTED"),
    "a scale above one": (field(("dual", "scale"), "3p-1"), "malformed"),
    "a scale below zero": (field(("dual", "scale"), "-1p-1"), "malformed"),
    "no residuals, and their bound": (field(("dual", "scale"), "0p0"), "REFUTED"),
    "another lemma": (field(("lemmas", 3), "dense-slack"), "malformed"),
    "a free bias": (field(("problem", "bias"), "free"), "malformed"),
    "W of another length": (
        lambda d: replaced(d, ("witness", "W", "rows"), d["witness"]["W"]["rows"][:-1]),
        "malformed",
    ),
    "H of another length": (
        lambda d: replaced(d, ("witness", "H", "rows"), [*d["witness"]["H"]["rows"], d["witness"]["H"]["rows"][0]]),
        "malformed",
    ),
    "W and H exchanged": (
        lambda d: {**d, "witness": {**d["witness"], "W": d["witness"]["H"], "H": d["witness"]["W"]}}, "malformed",
    ),
    "coordinates that are not there": (field(("witness", "feature_dim"), 2), "malformed"),
    "a point of another kind": (
        lambda d: replaced(d, ("dual", "point"), {**d["witness"], "kind": "group"}), "malformed",
    ),
    "a point that is too short": (
        lambda d: replaced(d, ("dual", "point"), {**d["witness"], "W": d["witness"]["H"]}), "malformed",
    ),
    "residuals at zero": (
        lambda d: replaced(d, ("dual", "point"), {**d["witness"], "W": zero_like(d["witness"]["W"])}), "REFUTED",
    ),
    "a witness of another kind": (
        field(("witness",), {"kind": "frame", "groups": "0 1 2", "multiplicities": "1 1 1", "eta": ZEROS,
                             "omega": ZEROS}),
        "malformed",
    ),
}  # fmt: skip


def zero_like(matrix):
    return {**matrix, "rows": [joined([0] * len(row.split(" "))) for row in matrix["rows"]]}


@pytest.mark.parametrize("name", LIES_ABOUT_RESIDUALS)
def test_no_lie_about_residuals_is_proved(name, short):
    lie, expected = LIES_ABOUT_RESIDUALS[name]
    forged = lie(short)
    assert outcome(text(resealed(forged))) == expected
    if expected != "malformed":
        assert naive_verifier.verdict(forged) == expected


def test_residuals_of_classes_are_malformed(short):
    """Rows of a square table of classes are written as a matrix, and have no such proof."""
    square = document(ufm.Problem((4, 2), *DECAYS, loss=ufm.SoftTargetCrossEntropy([[0.75, 0.25], [0.5, 0.5]])))
    assert "rows" in square["problem"]["loss"]["targets"]
    forged = {**square, "dual": short["dual"], "lemmas": short["lemmas"]}
    assert outcome(text(resealed(forged))) == "malformed"


def test_residuals_at_a_point_of_their_own(short):
    """The witness narrowed to W = 0, the dual point at the old one: both bounds as they are claimed, or refuted."""
    own = replaced(short, ("dual", "point"), short["witness"])
    narrow = replaced(own, ("witness", "W"), zero_like(short["witness"]["W"]))
    narrow["claims"].update(upper="1p3", verdict="undecided")
    assert judge_forgery(resealed(narrow)) == "PROVED"
    narrow["claims"].update(upper="1p-3")
    assert judge_forgery(resealed(narrow)) == "REFUTED"


def test_a_dual_column_that_does_not_sum_to_zero_is_refuted(dense):
    first, *rest = dense["dual"]["columns"]
    column = numbers(first)
    forged = replaced(dense, ("dual", "columns"), [joined([column[0] - 1, *column[1:]]), *rest])
    assert judge_forgery(resealed(forged)) == "REFUTED"
    assert "sum to zero" in next(s.detail for s in verify(text(resealed(forged))).steps if s.name == "lower bound")


# -- the table, written and read back --------------------------------------------------------------------------------


def test_rows_with_ties_keep_their_numbers_without_rounding():
    """1 minus the others is no binary64 number, and after rounding not the largest: whose it is is said."""
    row = [0.4, 0.4, 0.2 - 1e-5, 1e-5]
    problem = soft([row, [0.25] * 4, [0.7, 0.1, 0.1, 0.1]])
    table = problem.loss.table
    again = ufm.Problem.from_toml(problem.to_toml())
    assert again == problem
    assert again.sha256 == problem.sha256
    for k in range(3):
        assert again.loss.table.exact_row(k) == table.exact_row(k)
        assert sum(table.exact_row(k)) == 1
    encoded = encoding.encode_problem(problem)
    assert encoding.encode_problem(encoding.decode_problem(encoded)) == encoded
    assert encoding.encode_problem(again) == encoded


def test_random_rows_keep_their_numbers():
    """200 rows of equal and nearly equal shares; default_rng(2)."""
    generator = np.random.default_rng(2)
    for _ in range(50):
        V = int(generator.integers(2, 7))
        rows = generator.integers(1, 3, (5, V)) + generator.choice([0.0, 1e-7, 1e-12], (5, V))
        problem = soft(rows / rows.sum(axis=1)[:, None], counts=(1, 2, 3, 4, 5))
        encoded = encoding.encode_problem(problem)
        for again in (ufm.Problem.from_toml(problem.to_toml()), encoding.decode_problem(encoded)):
            assert encoding.encode_problem(again) == encoded


@pytest.mark.parametrize(
    ("own", "words"),
    [([0], "own is"), ([0, 4], "own is"), ([0, -1], "own is"), ([0, 1.5], "own is"), ("01", "own")],
)
def test_own_outputs_that_are_none_are_refused(own, words):
    given = {"num_outputs": 4, "starts": [0, 2, 3], "outputs": [0, 1, 3], "entries": [0.5, 0.5, 1.0], "own": own}
    with pytest.raises(ProblemError, match=words):
        ufm.SoftTargetCrossEntropy(given)
    assert ufm.SoftTargetCrossEntropy({**given, "own": [1, 3]}).table.own.tolist() == [1, 3]
    with pytest.raises(ProblemError, match="own"):
        ufm.MeanSquaredError({**given, "own": [1, 3]})


def test_a_merged_table_is_written_as_what_it_is():
    """Square by merging, its rows are no classes: not the matrix of classes, and the same numbers."""
    rows = [[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.6, 0.2, 0.2], [0.0, 0.0, 1.0]]
    problem = soft(rows, counts=(3, 4, 5, 6))
    certificate = certify(problem)
    assert certificate.content["problem"]["class_counts"] == "3 4 5 6"  # the problem as it was given
    merged = problem.merged[0]
    other = certify(merged)
    assert "outputs" in other.content["problem"]["loss"]["targets"]
    assert verify(other.to_json().encode(), problem=encoding.encode_problem(merged)).verdict is Verdict.PROVED
    assert max(other.lower, certificate.lower) <= min(other.upper, certificate.upper)
    assert ufm.verify(other.to_json().encode(), problem=problem).verdict is Verdict.REFUTED


def test_a_share_below_zero_by_a_rounding_is_refused_by_name():
    table = Table.of([[0.3, 0.0, 0.7], [0.1, 0.0, 0.9], [0.3, 0.0, 0.7]], ufm.losses.table.SHARES)
    kept = ufm.SoftTargetCrossEntropy(table).kept(np.array([1]))
    problem = ufm.Problem((5,), *DECAYS, loss=kept)
    assert min(problem.loss.table.exact_row(0)) < 0
    with pytest.raises(HypothesisError, match="share below 0"):
        certify(problem)


def test_sparse_and_dense_are_one_problem_and_so_is_the_matrix_of_classes(dense):
    sparse = soft(scipy.sparse.csr_array(MIXED), features="nonnegative")
    assert encoding.encode_problem(sparse) == dense["problem"]
    classes = ufm.Problem((4, 2), *DECAYS, loss=ufm.SoftTargetCrossEntropy([[0.75, 0.25], [0.5, 0.5]]))
    matrix = encoding.encode_problem(classes)
    entries = {"exponent": -3, "integers": "6 2 4 4"}
    table = {"outputs": 2, "lengths": "2 2", "places": "0 1 0 1", "entries": entries}
    written = {**matrix, "loss": {**matrix["loss"], "targets": table}}
    written = {**written, "sha256": encoding.canonical_sha256({k: v for k, v in written.items() if k != "sha256"})}
    asked.check(asked.problem_of(written), matrix)
    other = {**written, "loss": {**written["loss"], "targets": {**table, "places": "0 1 0 1", "entries": {
        **entries, "integers": "6 2 5 3"}}}}  # fmt: skip
    with pytest.raises(reading.Refuted, match="loss targets"):
        asked.check(other, matrix)


def test_weights_of_columns_and_square_tables_of_other_losses_are_carried():
    for loss in (
        ufm.SoftTargetCrossEntropy(MIXED, (2.0, 1.0, 0.5)),
        ufm.BinaryCrossEntropy(np.eye(3)),
        ufm.MeanSquaredError(0.5 * np.eye(3)),
    ):
        problem = ufm.Problem((4, 2, 1), *DECAYS, loss=loss)
        certificate = certify(problem)
        assert ufm.verify(certificate.to_json().encode(), problem=problem).verdict is Verdict.PROVED
        solution = ufm.solve(problem)
        assert certificate.lower <= solution.upper_bound
        assert solution.lower_bound <= certificate.upper
    hard = ufm.Problem((4, 2, 1), *DECAYS, loss=ufm.BinaryCrossEntropy())
    assert ufm.verify(certify(hard).to_json().encode(), problem=ufm.Problem(
        (4, 2, 1), *DECAYS, loss=ufm.BinaryCrossEntropy(np.eye(3)))).verdict is Verdict.REFUTED  # fmt: skip


def test_norm_bounds_of_a_square_table():
    loss = ufm.BinaryCrossEntropy([[1, 0, 1], [0, 1, 0], [0, 0, 1.0]])
    peeled = ufm.Problem((2, 2, 2), loss=loss, constraint=ufm.LayerPeeled(1.0, 5.0), features="free")
    certificate = certify(peeled)
    assert judge_forgery(json.loads(certificate.to_json())) == "PROVED"
    assert certificate.problem == peeled


# -- residuals -----------------------------------------------------------------------------------------------------


def test_what_residuals_prove_is_as_near_as_the_dense_proof_says():
    problem = soft()
    short, long = certify(problem, proof="residuals"), certify(problem, proof="dense")
    assert (short.proof, long.proof) == ("residuals", "dense")
    assert short.verdict == long.verdict == "optimal"
    assert max(short.lower, long.lower) <= min(short.upper, long.upper)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"features": "nonnegative"}, "not negative"),
        ({"bias": "free", "targets": np.full((3, 4), 0.25)}, "bias is free"),
    ],
)
def test_problems_without_such_a_proof_are_refused_by_name(given, words):
    with pytest.raises(HypothesisError, match=words):
        certify(soft(**given), proof="residuals")
    with pytest.raises(HypothesisError, match="no table"):
        certify(ufm.Problem((4, 2, 1), *DECAYS, features="free"), proof="residuals")


def many_columns(m, **given):
    rows = np.tile(MIXED, (m // 3 + 1, 1))[:m] + 0.0
    rows[:, 0] += np.arange(m) * 1e-6
    rows /= rows.sum(axis=1)[:, None]
    return ufm.Problem(np.full(m, 3), 1e-3, 1e-3, loss=ufm.SoftTargetCrossEntropy(rows), **given)


def test_what_is_larger_has_bounds_and_no_file(monkeypatch):
    """Refused before any work, on either side of the limit."""
    monkeypatch.setattr("ufm_convex.certificate.arguments.solve", lambda *a, **k: pytest.fail("it was solved"))
    for given, words in (({"features": "nonnegative"}, "not negative"), ({"features": "free", "bias": "free"}, "free")):
        with pytest.raises(SizeError, match=words):
            certify(many_columns(2049, **given))
        with pytest.raises(pytest.fail.Exception, match="it was solved"):
            certify(many_columns(2048, **given))
    monkeypatch.setattr(writer, "_SOFTMAX", 3 * 4 - 1)
    assert "12 residuals" in writer.lacks(soft())
    monkeypatch.setattr(writer, "_SOFTMAX", 3 * 4)
    assert writer.lacks(soft()) is None


def large(V=40, m=600, d=5, seed=0, length=4):
    """W and H of a size of theirs against a random sparse table; default_rng(seed)."""
    generator = np.random.default_rng(seed)
    rows = np.repeat(np.arange(m), length)
    places = np.concatenate([generator.choice(V, length, replace=False) for _ in range(m)])
    Y = scipy.sparse.csr_array((generator.dirichlet(np.ones(length), size=m).ravel(), (rows, places)), shape=(m, V))
    problem = ufm.Problem(generator.integers(1, 9, m), 1e-3, 1e-3, loss=ufm.SoftTargetCrossEntropy(Y), features="free")
    return problem, generator.normal(size=(V, d)) * 0.5, generator.normal(size=(m, d)) * 0.5


@pytest.mark.parametrize(("V", "m"), [(40, 600), (600, 40)])
def test_binary64_encloses_what_balls_enclose(V, m, monkeypatch):
    problem, W, H = large(V, m)
    monkeypatch.setattr(writer, "_BALLS", 0)  # the margins of large tables
    bounds = writer.residual_bounds(problem, W, H, None)
    made = json.loads(assemble(problem, bounds.lower, bounds.upper, 1e-6, {}).to_json())
    certificate = checking._Certificate(reading.document(text(made)))
    quick = fast_tables.Fast.of(certificate.dual)
    with working_precision(128):
        exact, rough = certificate.dual.value(128), quick.dual_value()
        assert rough.contains(exact)
        assert rough.rad() < 1e-10
        objective, near = certificate.witness.objective(), fast_tables.witness_objective(certificate.witness)
        assert near.contains(objective)
        assert near.rad() < 1e-10
    assert quick.slack_dominates()
    monkeypatch.setattr(certificate.dual, "value", lambda _: pytest.fail("the exact path was asked"))
    assert verify(text(made)).verdict is Verdict.PROVED
    monkeypatch.setattr(checking, "fast", None)
    assert verify(text(made)).verdict is Verdict.PROVED


def test_binary64_confirms_no_residuals_that_are_too_long():
    """Scales on either side of 1/‖U D^-½‖, by 2^-26 each: proved and refuted, and only the former is confirmed fast."""
    problem, W, H = large()
    bounds = writer.residual_bounds(problem, W, H, None)
    made = json.loads(assemble(problem, bounds.lower, bounds.upper, 1e-6, {}).to_json())
    norm = 1.0 / float(naive_verifier.dyadic(made["dual"]["scale"]))
    for factor, verdict in ((1 - 2.0**-26, "PROVED"), (1 + 2.0**-26, "REFUTED")):
        forged = replaced(made, ("dual", "scale"), encoding.dyadic(factor / norm))
        forged["claims"].update(lower="-1p9", upper="1p20", verdict="undecided")
        forged = resealed(forged)
        certificate = checking._Certificate(reading.document(text(forged)))
        assert fast_tables.Fast.of(certificate.dual).slack_dominates() == (verdict == "PROVED")
        assert outcome(text(forged)) == verdict


def test_where_binary64_does_not_round_to_nearest_balls_decide(monkeypatch):
    problem, W, H = large()
    bounds = writer.residual_bounds(problem, W, H, None)
    data = assemble(problem, bounds.lower, bounds.upper, 1e-6, {}).to_json().encode()
    monkeypatch.setattr(fast_tables, "rounds_to_nearest", lambda *sizes: False)
    certificate = checking._Certificate(reading.document(data))
    assert fast_tables.Fast.of(certificate.dual).dual_value() is None
    assert not fast_tables.Fast.of(certificate.dual).slack_dominates()
    assert fast_tables.witness_objective(certificate.witness) is None
    assert verify(data).verdict is Verdict.PROVED


def test_schur_complements_say_what_eigenvalues_say():
    """Random symmetric matrices of the orders 1 to 9 with small integers; default_rng(5)."""
    generator = np.random.default_rng(5)
    said = {True: 0, False: 0, None: 0}
    for _ in range(200):
        n = int(generator.integers(1, 10))
        half = generator.integers(-3, 4, (n, n))
        matrix = half @ half.T + int(generator.integers(-2, 3)) * np.eye(n, dtype=int)
        with working_precision(128):
            found = positive_definite(arb_mat(matrix.tolist()))
        least = np.linalg.eigvalsh(matrix)[0]
        said[found] += 1
        assert found is not True or least > 0
        assert found is not False or least < 1e-9  # eigenvalues are good to some 1e-13
        assert abs(least) < 1e-9 or found is not None
    assert min(said[True], said[False]) > 20


@pytest.mark.slow  # some 30 s: a thousand outputs, ten thousand columns
def test_a_vocabulary_is_verified_and_a_hundred_thousand_targets_are_read():
    problem, W, H = large(V=1000, m=10_000, d=20, length=10)
    bounds = writer.residual_bounds(problem, W, H, None)
    data = assemble(problem, bounds.lower, bounds.upper, 1e-6, {}).to_json().encode()
    assert len(data) < 1 << 24
    assert verify(data, problem=encoding.encode_problem(problem)).verdict is Verdict.PROVED
    problem, W, H = large(V=100, m=1000, d=20)
    tight = ufm.Problem(problem.class_counts, 3e-5, 3e-5, loss=problem.loss, features="free")  # V is too long for it
    bounds = writer.residual_bounds(tight, W, H, None)
    long = json.loads(assemble(tight, bounds.lower, bounds.upper, 1e-6, {}).to_json())
    assert long["dual"]["scale"] != "1p0"
    long["dual"]["scale"] = "1p0"
    assert verify(text(resealed(long))).verdict is not Verdict.PROVED


# -- the command line ----------------------------------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(application(), list(map(str, words)))


def test_the_commands_write_and_verify_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("t.npy", MIXED)
    soft(features="nonnegative").save("p.toml")
    given = ("--class-counts", "4,2,1", "--targets", "t.npy", "--lambda-w", "2e-2", "--lambda-h", "3e-2")
    for command in ("solve", "certify"):
        found = run(command, *given, "-o", "c.json", "--json")
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["num_outputs"] == 4
        found = run("verify", "c.json", "--problem", "p.toml", "--json")
        assert found.exit_code == 0, found.output
        said = json.loads(found.stdout)["problem"]
        assert (said["num_outputs"], said["num_columns"]) == (4, 3)
        assert said["floor"] == pytest.approx(soft().floor, rel=1e-14)
        assert "4 outputs; 3 columns of 4, 2, 1 samples" in said["words"]
    plain = run("verify", "c.json")
    assert "floor = " in plain.output
    other = soft(features="nonnegative", targets=MIXED[[1, 0, 2]])
    other.save("q.toml")
    assert run("verify", "c.json", "--problem", "q.toml").exit_code == 1
