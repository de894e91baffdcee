"""Files that are made to cost their reader much: well-formed, sealed, as large as each rule of the format lets them.

    python tests/hostile_corpus.py [NAME …]        measure them; without names, all of the full size

``CORPUS`` maps names to functions of a ``scale`` in (0, 1]: 1 is the largest that the format's limits allow, and small
scales serve the quick tests. ``measure`` runs the verifier on a file in a process of its own and returns its exit code,
its processor time in seconds and its peak memory in bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = {}
BLOCKS, LENGTH = 2048, 1 << 21
LEMMAS = ["class-mean-reduction", "master-identity", "weak-duality"]


def hostile(make):
    CORPUS[make.__name__] = make
    return make


# -- documents -----------------------------------------------------------------------------------------------------


def sha256(fields):
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(document):
    problem = document["problem"]
    problem["sha256"] = sha256({name: value for name, value in problem.items() if name != "sha256"})
    content = {name: value for name, value in document.items() if name not in ("digest", "provenance")}
    return json.dumps({**document, "digest": sha256(content)}).encode()


def many(entry, count):
    return " ".join([str(entry)] * count)


def counting(first, count):
    return " ".join(map(str, range(first, first + count)))


def vector(entry, count, exponent=0):
    return {"exponent": exponent, "integers": many(entry, count)}


def matrix(entry, rows, columns, exponent=0):
    return {"exponent": exponent, "rows": [many(entry, columns)] * rows}


def odd(bits):
    return 2 ** (bits - 1) + 1


def problem(counts, multiplicities, loss=None, **changes):
    plain = {"name": "cross-entropy", "smoothing": "0p0"}
    fields = {
        "class_counts": counts, "multiplicities": multiplicities, "class_weights": None, "lambda_w": "1p-7",
        "lambda_h": "1p-7", "features": "nonnegative", "feature_dim": None, "loss": loss or plain, "sha256": "",
    }  # fmt: skip
    return {**fields, **changes}


def document(problem, dual, witness, candidate=None, lemmas=None, **claims):
    kind = {
        "diagonal": "frame-slack",
        "group": "symmetry-slack",
        "dense": "dense-slack",
        "copositive": "copositive-slack",
        "residuals": "residual-slack",
    }.get(dual["kind"])
    bounds = {"lower": "0p0", "upper": "1p900", "tolerance": "1p-20", "verdict": "undecided", "candidate": None}
    return {
        "format": "ufm-convex-certificate", "version": 1, "problem": problem,
        "lemmas": lemmas or [*LEMMAS, *(["bias"] if "bias" in problem else []), kind], "dual": dual,
        "witness": witness, "candidate": candidate, "claims": {**bounds, **claims}, "provenance": {},
    }  # fmt: skip


def frame(groups, exponent=0, entry=0):
    zeros = vector(entry, groups, exponent)
    return {
        "kind": "frame",
        "groups": counting(0, groups),
        "multiplicities": many(1, groups),
        "eta": zeros,
        "omega": zeros,
    }


def diagonal(groups, exponent=0, entry=0):
    return {"kind": "diagonal", "strengths": vector(entry, groups, exponent)}


def dense(classes, entry=0, exponent=0, **more):
    """A dual point with one entry everywhere but on the diagonal, which closes each column."""
    columns = [" ".join(str(0 if j == k else entry) for j in range(classes)) for k in range(classes)]
    none = {"multiplier": None, "factor": None}
    return {"kind": "dense", "exponents": many(exponent, classes), "columns": columns, **none, **more}


def factors(classes, dimension=1, entry=1, exponent=0, **more):
    arrays = {name: matrix(entry, classes, dimension, exponent) for name in "WH"}
    return {"kind": "dense", "feature_dim": dimension, **arrays, **more}


def lower_triangle(entry, size):
    return [many(entry, row + 1) for row in range(size)]


def scaled(full, scale, least=2):
    return max(int(full * scale), least)


# -- each a rule taken to its limit --------------------------------------------------------------------------------


def copositive(classes, entry, exponent, cubic):
    """A dual point whose slack a cubic form proves, or, for None, all supports."""
    given = dense(classes, entry, exponent)
    return {"kind": "copositive", "exponents": given["exponents"], "columns": given["columns"], "cubic": cubic}


@hostile
def cubic_form(scale=1.0):
    """As many columns as a form may have, of integers as long as the products of its factors may be."""
    K = scaled(64, scale**0.25)
    cubic = {"weights": many(odd(4000), K), "factors": [lower_triangle(odd(1000), K)] * K}
    return document(problem(counting(1, K), many(1, K)), copositive(K, 0, -2000, cubic), factors(K))


@hostile
def supports(scale=1.0):
    """Twelve columns with a slack of long integers, negative off its diagonal: every support is looked at."""
    K = scaled(12, scale**0.1)
    return document(problem(many(1, K), many(1, K)), copositive(K, odd(150), -170, None), factors(K))


@hostile
def table_of_margins(scale=1.0):
    """A table whose entries have the longest denominators, made rational all at once."""
    K = scaled(BLOCKS, scale**0.5)
    rows = [" ".join("0" if j == k else "1" for j in range(K)) for k in range(K)]
    loss = {"name": "hard-margin", "margins": {"exponent": -16384, "rows": rows}, "scale": None}
    return document(problem(counting(1, K), many(1, K), loss), dense(K), factors(K))


@hostile
def table_of_targets(scale=1.0):
    """One long target a row, so that all others have its denominator."""
    K = scaled(BLOCKS, scale**0.5)
    rows = [" ".join(str(2**4095 - K + 1) if j == k else "1" for j in range(K)) for k in range(K)]
    loss = {"name": "soft-target-cross-entropy", "targets": {"exponent": -4095, "rows": rows}}
    return document(problem(counting(1, K), many(1, K), loss), dense(K), factors(K))


def table(outputs, columns, length, **loss):
    """A softmax against rows with as many equal targets, a power of two; entries for the first outputs."""
    places = " ".join(map(str, range(length)))
    entries = {"exponent": 1 - length.bit_length(), "integers": many(1, columns * length)}
    written = {"outputs": outputs, "lengths": many(length, columns), "places": " ".join([places] * columns)}
    return {"name": "soft-target-cross-entropy", "targets": {**written, "entries": entries}, **loss}


def of_table(outputs, columns, length, dual, d=1, entry=1, exponent=-9, bias=None):
    """W and H of one entry against such a table, and its residuals."""
    arrays = {"W": matrix(entry, outputs, d, exponent), "H": matrix(entry, columns, d, exponent)}
    more = {} if bias is None else {"bias": vector(bias, outputs, exponent)}
    witness = {"kind": "dense", "feature_dim": d, **arrays, **more}
    made = problem(counting(1, columns), many(1, columns), table(outputs, columns, length), features="free")
    made.update({"lambda_w": "1p0", "lambda_h": "1p0"}, **({} if bias is None else {"bias": "1p0"}))
    return document(made, dual, witness)


@hostile
def table_of_entries(scale=1.0):
    """As many targets as a string has integers, and a dual point with as many whole columns."""
    m = scaled(BLOCKS, scale**0.5)
    zeros = {"exponents": many(0, m), "columns": [many(0, 1024)] * m, "multiplier": None, "factor": None}
    return of_table(1024, m, 1024, {"kind": "dense", **zeros})


@hostile
def table_in_binary64(scale=1.0):
    """The most residuals, V = m, many coordinates."""
    V = scaled(4096, scale**0.5)
    return of_table(V, V, 2, {"kind": "residuals", "scale": "3p-2", "point": None}, d=scaled(256, scale))


@hostile
def table_in_balls(scale=1.0):
    """The most residuals that are formed in balls: a bias keeps them from binary64."""
    m = scaled(4096, scale**0.5)
    return of_table(256, m, 2, {"kind": "residuals", "scale": "3p-2", "point": None}, d=4, bias=odd(64))


@hostile
def table_of_few(scale=1.0):
    """One column, and more outputs than anything is written about; long W and H of the proof's own."""
    V = scaled(LENGTH // 8, scale)
    point = {"kind": "dense", "feature_dim": 8, "W": matrix(odd(50), V, 8, -60), "H": matrix(odd(50), 1, 8, -60)}
    return of_table(V, 1, 1, {"kind": "residuals", "scale": "1p-1", "point": point})


@hostile
def long_smoothing(scale=1.0):
    """A smoothing whose denominator every probability inherits."""
    G = scaled(600_000, scale)
    loss = {"name": "cross-entropy", "smoothing": "1p-16384"}
    return document(problem(counting(1, G), many(1, G), loss), diagonal(G, -10), frame(G))


@hostile
def long_smoothing_outside(scale=1.0):
    """The same, the last group outside the domain, so that the path over integers confirms nothing."""
    made = long_smoothing(scale)
    made["dual"]["strengths"]["integers"] = made["dual"]["strengths"]["integers"][:-1] + str(2**400)
    return made


@hostile
def many_groups(scale=1.0):
    """As many distinct groups as one string has integers."""
    G = scaled(LENGTH, scale)
    return document(problem(counting(1, G), many(1, G)), diagonal(G, -60, 2**26 + 1), frame(G, -60, 2**26 + 1))


@hostile
def many_groups_of_another_loss(scale=1.0):
    """The same for a loss that has no path over integers."""
    G = scaled(LENGTH, scale)
    made = many_groups(scale)
    made["problem"] = problem(counting(1, G), many(1, G), {"name": "multiclass-hinge", "kind": "weston-watkins"})
    return made


@hostile
def many_long_weights(scale=1.0):
    """Class weights and strengths with an exponent each number of the vector pays for."""
    G = scaled(65_536, scale)
    made = problem(counting(1, G), many(1, G), class_weights=vector(odd(64), G, -16000))
    return document(made, diagonal(G, -16000, odd(64)), frame(G, -16000, odd(64)))


@hostile
def long_integers(scale=1.0):
    """The file filled with integers of the longest kind."""
    G = scaled(25_000, scale)
    made = problem(counting(1, G), many(1, G), class_weights=vector(odd(4096), G, -4096))
    return document(made, diagonal(G, -4096, odd(4096)), frame(G, -4096, odd(4096)))


@hostile
def many_frame_entries(scale=1.0):
    """Two groups, whose classes are treated one by one."""
    K = scaled(LENGTH, scale)
    zeros = vector(1, K, -16)
    witness = {"kind": "frame", "groups": " ".join(["1", *["0"] * (K - 1)]), "multiplicities": many(1, K)}
    loss = {"name": "binary-cross-entropy"}
    zero = {
        "kind": "group",
        "exponents": "0 0",
        "columns": ["0 0", "0 0"],
        "multiplier": None,
        "factor": None,
        "own": "0 0",
    }
    return document(problem("2 1", f"1 {K - 1}", loss), zero, {**witness, "eta": zeros, "omega": zeros})


@hostile
def dense_sigmoids(scale=1.0):
    """A dense proof and a dense witness of the most classes, for a loss without a path in binary64."""
    K = scaled(BLOCKS, scale**0.5)
    dual = dense(K, 3, -9, own=many(-3, K))
    return document(problem(counting(1, K), many(1, K), {"name": "binary-cross-entropy"}), dual, factors(K, 16, 3, -4))


@hostile
def dense_factors(scale=1.0):
    """Factor and multiplier too, all products as long as they may be."""
    K = scaled(1200, scale**0.5)
    multiplier = {"exponent": 200, "rows": [" ".join(["0"] * (k + 1)) for k in range(K)]}
    dual = dense(K, odd(55), -80, multiplier=multiplier, factor=lower_triangle(odd(55), K))
    return document(problem(counting(1, K), many(1, K)), dual, factors(K, K, odd(55), -60))


@hostile
def groups_of_groups(scale=1.0):
    """A group proof and a group witness of the most groups, several classes each."""
    G = scaled(BLOCKS, scale**0.5)
    rows = [many(3, G)] * G
    dual = {"kind": "group", "exponents": many(-12, G), "columns": rows, "multiplier": None, "factor": None}
    invariant = {"exponent": -6, "own": many(3, G), "rows": rows}
    loss = {"name": "mean-squared-error"}
    witness = {"kind": "group", "W": invariant, "H": invariant}
    return document(problem(counting(1, G), many(40_000, G), loss), {**dual, "own": many(3, G)}, witness)


@hostile
def group_bias(scale=1.0):
    """A penalised bias, whose price is a sum of numbers with all different denominators."""
    G = scaled(BLOCKS, scale**0.5)
    exponents = " ".join(str(-g // 2) for g in range(G))
    dual = {**dense(G, 3), "exponents": exponents}
    witness = factors(G, 1, bias=vector(odd(64), G, -16000))
    return document(problem(counting(1, G), many(1, G), bias="1p-16384"), dual, witness)


@hostile
def columns_far_apart(scale=1.0):
    """Columns with exponents of their own, as far apart as all columns together may be."""
    K = scaled(500, scale**0.5)
    exponents = " ".join(str((-1) ** k * 16384) for k in range(K))
    made = problem(counting(1, K), many(1, K), {"name": "mean-squared-error"}, lambda_w="1p-16384", lambda_h="1p-16384")
    return document(made, {**dense(K, 3, own=many(3, K)), "exponents": exponents}, factors(K, 4, 3, -16384))


@hostile
def adjusted(scale=1.0):
    """Scales and shifts of every class, long ones."""
    K = scaled(1024, scale**0.5)
    loss = {
        "name": "logit-adjusted-cross-entropy",
        "scale": vector(odd(800), K, -800),
        "shift": vector(odd(4096), K, -16000),
    }
    return document(problem(counting(1, K), many(1, K), loss), dense(K, 3, -20), factors(K, 4, 3, -4))


@hostile
def long_vectors(scale=1.0):
    """A scale, a shift and a margin for each of more classes than are written one by one, in two runs."""
    K = scaled(3 * LENGTH, scale)
    loss = {"name": "logit-adjusted-cross-entropy", "scale": vector(1, K), "shift": vector(1, K, -300)}
    return document(problem("2 1", f"1 {K - 1}", loss), diagonal(2), frame(2))


@hostile
def hard_claims(scale=1.0):
    """Claims of the most digits, at the value, so that every precision is tried."""
    G = scaled(8000, scale)
    claims = {"lower": f"{odd(4096)}p-4200", "upper": f"{odd(4096)}p-4090"}
    return document(problem(counting(1, G), many(1, G)), diagonal(G, -60, 2**40), frame(G, -4, 1), **claims)


@hostile
def unstreamed_candidate(scale=1.0):
    """An embedded candidate of the most logits that balls are given time for."""
    N, K = scaled(1 << 20, scale, 4), 2
    labels = " ".join(["0"] * (N // 2) + ["1"] * (N - N // 2))
    arrays = {"W": matrix(3, K, 4, -2), "features": matrix(1, N, 4, -2), "labels": labels}
    candidate = {"level": "sample", "feature_dim": 4, "sha256": None, "arrays": arrays}
    claim = {"objective": {"lower": "0p0", "upper": "1p9"}, "gap": {"lower": "0p0", "upper": "1p9"}, "violation": None}
    made = problem(f"{N // 2} {N - N // 2}", "1 1", {"name": "mean-squared-error"})
    return document(made, {**dense(2), "own": "0 0"}, factors(2), candidate, candidate_claim=claim)


@hostile
def wide_candidate(scale=1.0):
    """Two rows of weights, two of features, and a file full of coordinates."""
    d = scaled(LENGTH, scale)
    candidate = {
        "level": "class", "feature_dim": d, "sha256": None,
        "arrays": {"W": matrix(99_999, 6, d, -20), "features": matrix(99_999, 6, d, -20), "labels": None},
    }  # fmt: skip
    claim = {
        "objective": {"lower": "0p0", "upper": "1p900"},
        "gap": {"lower": "0p0", "upper": "1p900"},
        "violation": None,
    }
    made = problem(counting(1, 6), many(1, 6))
    return document(
        made, diagonal(6), factors(6, scaled(LENGTH // 4, scale), 99_999, -20), candidate, candidate_claim=claim
    )


@hostile
def contrastive_groups(scale=1.0):
    """Another kind of problem with as many groups, long numbers in each."""
    G = scaled(60_000, scale)
    made = {
        "model": "contrastive", "class_counts": counting(2, G), "multiplicities": many(1, G), "bound": None,
        "lambda_h": f"{odd(4000)}p-4000", "temperature": f"{odd(4000)}p-3000", "sha256": "",
    }  # fmt: skip
    dual = {"kind": "outside-mass", "outside": vector(odd(64), G, -16000)}
    witness = {"kind": "orthogonal-frame", "lengths": vector(odd(64), G, -16000)}
    return document(made, dual, witness, lemmas=["contrastive-identity", "outside-mass"])


@hostile
def contrastive_many(scale=1.0):
    """The most groups, with short numbers."""
    G = scaled(LENGTH, scale)
    made = {
        "model": "contrastive", "class_counts": counting(2, G), "multiplicities": many(1, G), "bound": "1p0",
        "lambda_h": None, "temperature": "1p0", "sha256": "",
    }  # fmt: skip
    dual = {"kind": "outside-mass", "outside": vector(odd(60), G, -64)}
    witness = {"kind": "orthogonal-frame", "lengths": vector(odd(60), G, -64)}
    return document(made, dual, witness, lemmas=["contrastive-identity", "outside-mass"])


@hostile
def words(scale=1.0):
    """A verdict of a hundred megabytes, one character of it far beyond ASCII."""
    made = document(problem("3 2", "1 1"), diagonal(2), frame(2))
    made["claims"]["verdict"] = "\U0001f600" + "a" * scaled(100_000_000, scale)
    return made


def build(name, scale=1.0):
    """The bytes of a file of the corpus."""
    made = CORPUS[name](scale)
    if "candidate_claim" in made["claims"]:
        made["claims"]["candidate"] = made["claims"].pop("candidate_claim")
    if name != "words":
        return sealed(made)
    return json.dumps({**json.loads(sealed(made))}, ensure_ascii=False).encode()


# -- measuring -----------------------------------------------------------------------------------------------------

EXIT = {0: "PROVED", 1: "REFUTED", 2: "malformed", 3: "INCONCLUSIVE", 4: "fault"}


def measure(path):
    """Exit code, processor seconds, peak bytes and what was printed, of the verifier in a process of its own.

    A process that is forked counts the peak of its parent as its own: large files are built in another one.
    """
    command = [sys.executable, "-m", "ufm_convex.verifier", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        printed = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, printed


def written(name, path):
    """The file of that name, written by a process of its own."""
    subprocess.run([sys.executable, __file__, "--write", name, str(path)], check=True)
    return path


def main(arguments):
    if arguments[:1] == ["--write"]:
        Path(arguments[2]).write_bytes(build(arguments[1]))
        return
    for name in arguments or CORPUS:
        with tempfile.TemporaryDirectory() as folder:
            path = written(name, Path(folder) / "hostile.json")
            size = path.stat().st_size
            code, seconds, memory, printed = measure(path)
        found = "; ".join(line.strip() for line in printed.splitlines() if not line.startswith("PROVED"))[:100]
        figures = f"{size / 1e6:6.1f} MB {seconds:6.1f} s {memory / 2**20:6.0f} MiB"
        print(f"{name:28} {figures}  {EXIT.get(code, code)}  {found}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
