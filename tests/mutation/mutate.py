"""Mutation testing of the verifier: change one thing in its source, and see whether a test notices.

    python tests/mutation/mutate.py                     all mutants but those of the fast paths
    python tests/mutation/mutate.py --fast              those of fast.py, elementary.py and many.py
    python tests/mutation/mutate.py --only terms        those of one module
    python tests/mutation/mutate.py --sample 100        a random hundred, the same each time
    python tests/mutation/mutate.py --contrastive       those of contrastive.py, judged by its own certificates
    python tests/mutation/mutate.py --room theory       those of another room, judged by its tests (rooms.py says which)

Each mutant is imported in a child process in place of the original and judged by the killers below: certificates that
must be proved, forgeries and malformed files that must not, and the fast path against the exact one. The verdicts of
the unmutated verifier are the expectation; they have been compared with the naive verifier by test_tampering.py.
A mutant that agrees on everything survives and is printed. Nothing is written to the source tree. operators.py
says what is not mutated.

Last random samples, killed of tried (of all mutants): reading 9 of 11 (203), claims 7 of 7 (85), problem 6 of 7 (145),
proof 5 of 5 (226), losses 18 of 18 (201), points 23 of 25 (279), checking 19 of 21 (150): 87 of 94 outside the fast
paths. fast 29 of 41 (691), many 5 of 8 (184). Survivors:

    reading, problem: ``commas > 2 * LENGTH``, ``K <= MAX``  limits: no case of exactly that size, or of 1.5 times it
    points: least dimension 0 instead of 1                   equivalent: a row of no integers cannot be written
    points: a frame's column at place 1 instead of 0         equivalent: no loss of alike classes looks at it
    fast: errors summed with the other sign                  equivalent: a radius is taken without its sign
    many: an initial sum of 1 or -1 instead of 0             so small beside it that the claims hold with it
    checking, many: 64 groups, or 65, for a shorter way      equivalent: both ways answer the same
    checking: no quick objective of an embedded candidate    equivalent: the exact one answers the same
    fast: ``2^-44``, ``8``, ``7``, ``4 K`` in error bounds   one among larger terms, or a bound made wider; sound
    fast: tables one entry longer, blocks of other sizes     equivalent
    fast: 0 for 1 beside 2^20, 2^900 for 2^901, no 2^400     room of section 7.1 remains: nothing overflows earlier
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import multiprocessing
import random
import sys
import tempfile
from operator import attrgetter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import rooms
from operators import mutants, mutated
from scripts import parsed, small

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ufm_convex" / "verifier"
CORE, FAST = (
    ("reading", "losses", "terms", "problem", "proof", "points", "claims", "checking"),
    ("fast", "elementary", "many"),
)
SECONDS = 120


# -- killers ------------------------------------------------------------------------------------------------------


def killers():
    """(bytes, arrays of a candidate or None) that every mutant is asked about, most telling first."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import numpy as np
    from certificate_cases import (
        alterations,
        base_certificates,
        boundaries,
        closed_balls,
        edges,
        feasible_dual,
        long_products,
        loss_certificates,
        model_certificates,
        replaced,
        resealed,
        small_slacks,
        text,
    )
    from test_verifier_attacks import ATTEMPTS, altered

    from ufm_convex import enclosure
    from ufm_convex.candidate import Candidate
    from ufm_convex.certificate import certify, encoding
    from ufm_convex.certificate.certifying import assemble
    from ufm_convex.losses import CrossEntropy
    from ufm_convex.problem import Problem
    from ufm_convex.relaxation import FramePoint

    documents = [
        json.loads(certificate.to_json())
        for made in (base_certificates(), loss_certificates(), model_certificates())
        for certificate in made.values()
    ]
    cases = [(text(document), None) for document in (*documents, *edges(), *groups_where_none_are(documents))]
    cases += [(text(resealed(forgery)), None) for document in documents for forgery in of_models(document)]
    for K, features in ((80, "free"), (80, "nonnegative")):
        problem = Problem(np.arange(20, 20 + K), 1e-4, 1e-4, features=features)
        bound = enclosure.lower_bound(problem, feasible_dual(problem, share=0.9), proof="dense")
        top = enclosure.upper_bound(problem, FramePoint(np.zeros(K), np.zeros(K)))
        document = json.loads(assemble(problem, bound, top, 1e-6, {}).to_json())
        cases.append((text(document), None))
        cases += [(text(forgery), None) for forgery in large_forgeries(document)]
        cases += [(text(other), None) for other in dense_witnesses(document)]
    weights = tuple(1.0 + k % 3 for k in range(80))
    for loss in (CrossEntropy(), CrossEntropy(class_weights=weights, smoothing=0.1)):
        document = json.loads(certify(Problem(np.arange(20, 100), 1e-4, 1e-4, loss=loss)).to_json())
        cases.append((text(document), None))
        cases += [(text(forgery), None) for forgery in diagonal_forgeries(document)]
    encoding.EMBEDDED_NUMBERS = 0
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [5, 3, 2])
    arrays = {"weights": rng.standard_normal((3, 4)), "features": rng.random((10, 4)), "labels": y}
    small = Problem([5, 3, 2], 1e-2, 1e-2)
    data = certify(small, Candidate(**arrays)).to_json().encode()
    cases += [(data, arrays), (data, None), (data, {**arrays, "features": arrays["features"] + 1e-9}), (data, {})]
    arrays = {**arrays, "features": arrays["features"] - 0.5}
    cases.append((certify(small, Candidate(**arrays)).to_json().encode(), arrays))
    cases.append((cases[-1][0], None))
    other = json.loads(cases[-1][0])
    wide = {"lower": "0p0", "upper": "1p9"}
    claims = {"candidate": {"objective": wide, "gap": wide, "violation": None}, "verdict": "undecided"}
    cases.append((text(resealed({**other, "claims": {**other["claims"], **claims}})), arrays))
    cases += limits(documents[0])
    cases += [(text(document), None) for document in at_zero()]
    cases += [(text(resealed(altered(name, changes))), None) for _, name, changes, _ in ATTEMPTS]
    cases += [(text(document), None) for document in boundaries()]
    cases += [(text(document), None) for document, _ in closed_balls()]
    cases += [(text(document), None) for document, _ in small_slacks()]
    cases += [(text(document), None) for document in long_products()]
    cases.append((str(ROOT / "tests" / "data" / "cross_entropy_certificate.json"), None))
    other = json.loads(data)
    below = {"objective": {"lower": "1p-30", "upper": "1p-29"}, "gap": {"lower": "0p0", "upper": "1p9"}}
    claims = {**other["claims"], "candidate": {**below, "violation": None}, "verdict": "optimal"}
    cases.append((text(resealed({**other, "claims": claims})), None))
    cases += [
        (text(resealed(replaced(other, ("candidate", "sha256"), bad))), None) for bad in ("", "0" * 63, "G" * 64, 3)
    ]
    cases.append((text({**documents[0], "provenance": {"solver": 3}}), None))
    forged = [pair for document in documents for pair in alterations(document)]
    bounds = [document for what, document in forged if what.startswith(("claims.lower", "claims.upper"))]
    cases += [(text(resealed(document)), None) for document in bounds]
    forged = [document for _, document in forged]
    random.Random(0).shuffle(forged)
    cases += [(text(document), None) for document in forged[:100]]
    cases += [
        (text(resealed(document) if isinstance(document, dict) else document), None) for document in forged[:8000]
    ]
    return cases


OF_MODELS = ("problem.weight_radius", "problem.feature_radius", "problem.bias", "dual.decays", "witness.bias", "lemmas")


def of_models(document):
    """Alterations of what only problems with norm bounds or a bias have, bounds that leave room for it included."""
    from certificate_cases import alterations, replaced

    if set(document["problem"]) & {"weight_radius", "bias"}:
        weak = {**document["claims"], "lower": "-17p5", "upper": "17p5", "verdict": "undecided"}
        for base in (document, replaced(document, ("claims",), weak)):
            yield base
            for what, forgery in alterations(base):
                if what.startswith(OF_MODELS) or what.startswith(("problem: with", "dual: with", "witness: with")):
                    yield forgery


def large_forgeries(document):
    """A dense proof in the range of the fast path: its claim raised, its slack spoilt, its columns beyond range."""
    from certificate_cases import replaced, resealed

    upper, columns = document["claims"]["upper"], document["dual"]["columns"]
    yield resealed(replaced(document, ("claims", "lower"), upper))
    mantissa, exponent = map(int, document["claims"]["lower"].split("p"))
    raised = f"{((mantissa << 20) + (mantissa >> 10)) | 1}p{exponent - 20}"  # by a relative 2^-30
    yield resealed(replaced(document, ("claims", "lower"), raised))
    for factor in (2, 2**30):
        row = " ".join(str(factor * int(x)) for x in columns[7].split(" "))
        yield resealed(replaced(document, ("dual", "columns", 7), row))
    negative = " ".join(str(-int(x)) for x in columns[7].split(" "))
    yield resealed(replaced(document, ("dual", "columns", 7), negative))
    if document["dual"]["factor"] is not None:
        yield resealed(replaced(document, ("dual", "factor"), None))


def dense_witnesses(document):
    """W and H of 80 classes, some exact in binary64 and some not, with an upper bound that holds and one that does not.

    Which of them the fast path answers for is seen from whether the general path was asked.
    """
    from certificate_cases import replaced, resealed

    K = 80
    for entry, e in ((1, -2), (2**53 - 1, -54), (2**53 + 1, -54), (3, -1074), (3, -1075), (1, 90), (1, 101), (1, 1030)):
        rows = [" ".join([*["0"] * k, str(entry), *["0"] * (K - 1 - k)]) for k in range(K)]
        matrix = {"exponent": e, "rows": rows}
        witness = {"kind": "dense", "feature_dim": K, "W": {"exponent": 0, "rows": rows}, "H": matrix}
        for sides in (witness, {**witness, "W": matrix, "H": witness["W"]}):
            for upper in ("1p9000", "1p-9"):
                claims = {**document["claims"], "upper": upper, "verdict": "undecided"}
                yield resealed({**replaced(document, ("witness",), sides), "claims": claims})


def at_zero():
    """Upper bounds of W = H = 0: equal to the value, which no ball shows with thirds in it, and on either side."""
    from certificate_cases import replaced, resealed

    from ufm_convex.certificate import certify
    from ufm_convex.losses import MeanSquaredError, MulticlassHinge
    from ufm_convex.problem import Problem

    for loss in (MeanSquaredError(), MulticlassHinge(), MulticlassHinge("weston-watkins")):
        document = json.loads(certify(Problem([2, 2, 1], 1e-2, 1e-2, loss=loss), proof="dense").to_json())
        zeros = {"exponent": 0, "rows": ["0", "0", "0"]}
        document["witness"] = {"kind": "dense", "feature_dim": 1, "W": zeros, "H": zeros}
        document["claims"]["verdict"] = "undecided"
        for upper in ("1p-1", "1p0", "1p1", "1023p-11", "1025p-11", "1023p-10", "1025p-10", "2047p-10", "2049p-10"):
            yield resealed(replaced(document, ("claims", "upper"), upper))


def groups_where_none_are(documents):
    """Witnesses in terms of groups, for losses that tell classes apart."""
    from certificate_cases import replaced, resealed

    zeros = {"exponent": 0, "integers": "0 0 0"}
    frame = {"kind": "frame", "groups": "0 1 2", "multiplicities": "1 1 1", "eta": zeros, "omega": zeros}
    for document in documents:
        loss = document["problem"]["loss"]
        apart = loss["name"].split("-")[0] in ("soft", "logit", "label")
        if apart or loss.get("scale") is not None or not isinstance(loss.get("margins", ""), str):
            yield resealed(replaced(document, ("witness",), frame))


def diagonal_forgeries(document):
    """A diagonal proof and a frame of many groups: claims moved by a relative 2^-40, strengths not feasible."""
    from certificate_cases import replaced, resealed

    for name, sign in (("lower", 1), ("upper", -1)):
        mantissa, exponent = map(int, document["claims"][name].split("p"))
        moved = f"{((mantissa << 50) + sign * (mantissa << 10)) | 1}p{exponent - 50}"
        yield resealed(replaced(document, ("claims", name), moved))
    strengths = document["dual"]["strengths"]["integers"].split(" ")
    for place in (0, 40, 79):
        for other in (int(strengths[place]) * 1001 // 1000, -int(strengths[place]), 1 << 200):
            changed = " ".join([*strengths[:place], str(other), *strengths[place + 1 :]])
            yield resealed(replaced(document, ("dual", "strengths", "integers"), changed))


def limits(document):
    """Files at the limits of docs/verification.md, section 8, and one step beyond."""
    from certificate_cases import replaced, resealed, sha256, text

    paths = [
        (("problem", "multiplicities"), ["1 1 99999998", "1 1 99999999"]),
        (("problem", "class_counts"), [f"{2**63 - 13} 10 2", f"{2**63 - 12} 10 2"]),
        (("problem", "feature_dim"), [1, 2**63 - 1, 2**63, 10**19, 10**20]),
        (("claims", "lower"), ["1p16384", "1p16385", "-1p-16384", "1p-16385", "-1p-99999", f"{2**4096 - 1}p-9000"]),
        (("claims", "lower"), [f"{2**4096 + 1}p-9000", f"-{'1' * 1350}p-9000", f"-{'1' * 1370}p-9000"]),
        (("claims", "tolerance"), ["0p0", "1p0", "1p-1", "-1p-1"]),
        (("problem", "loss", "smoothing"), ["0p0", "1p0", "-1p-1", "1p-1"]),
        (("dual", "strengths", "exponent"), [16384, 16385, -16384, -16385]),
        (("dual", "strengths", "integers"), [f"{2**4096 - 1} 1 1", f"{2**4096} 1 1", f"1 1 -{2**4096}"]),
        (("dual", "strengths", "integers"), ["0 0 0"]),
        (("lemmas",), [[], ["class-mean-reduction"] * 2000, "," * 5_000_000]),
    ]
    files = [text(resealed(replaced(document, path, value))) for path, values in paths for value in values]
    proved = text(document)
    nothing = replaced(document, ("dual", "strengths", "integers"), "0 0 0")  # p = e_k, whose entropy is 0 exactly
    files += [
        text(resealed(replaced(nothing, ("claims", "lower"), lower))) for lower in ("0p0", "1p-16000", "-1p-16000")
    ]
    other = replaced(document, ("problem", "sha256"), "0" * 64)
    content = {key: value for key, value in other.items() if key not in ("digest", "provenance")}
    files.append(text({**other, "digest": sha256(content)}))
    spaces = 2**27 - len(proved)
    files.append(proved.replace(b'"kind"', b'"kind": "0", "kind"', 1))
    files += [proved + b" " * spaces, proved + b" " * (spaces + 1), proved.replace(b"1", b"01", 1)]
    return [(data, None) for data in files]


def contrastive_killers():
    """The same for ``contrastive.py``: its certificates, everything altered, and numbers at the edge of a range."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import test_contrastive_certificates as made
    from certificate_cases import alterations, text

    documents = [*made.BASES.values(), *made.edges(), *made.exchanged(), *made.limits()]
    forged = [altered for document in made.BASES.values() for _, altered in alterations(document)]
    sealed = [made.resealed(document) for document in (*documents, *forged) if isinstance(document, dict)]
    unsealed = [*made.BASES.values(), made.with_another_hash(), *forged[:100]]
    return [(text(document), None) for document in (*unsealed, *sealed)]


GENERAL = [
    ("proof.Diagonal", "check_slack"), ("proof.Blocks", "check_slack"), ("checking", "_dual_value"),
    ("points.Frame", "objective"), ("points.Factors", "objective"),
]  # fmt: skip
"""What a fast path spares; a mutant that asks for one of them where the original does not has lost its fast path."""


def recorded(function, asked):
    """The function, its name kept in a list whenever it is called."""

    def wrapper(*arguments):
        asked.append(function.__qualname__)
        return function(*arguments)

    return wrapper


def promises(verifier):
    """Whether error bounds are those of docs/fast_paths.md and docs/fast_objectives.md: not less, and hardly more.

    A bound that is too small by a factor of two lets no forgery pass that anybody could find by trying.
    """
    import numpy as np
    from flint import arb, ctx

    fast, unit, kept = verifier.fast, 2.0**-53, []
    with ctx.workprec(200):
        x = np.array([1.0, 2.0, 3.0, 2.0**41, 2.0**41 - 1, *np.linspace(1, 300, 700), *np.geomspace(1, 2e12, 700)])
        kept.append(
            all(
                abs(arb(y) - arb(z).log()) < 2.0**-46
                for y, z in zip(verifier.elementary.log_of_integers(x).tolist(), x.tolist(), strict=True)
            )
        )
        b = np.array([*np.linspace(0, 63.9, 900), *(np.arange(64) + 0.5) / 64, *(np.arange(64) - 1e-9 + 0.5) / 64])
        pairs = zip(verifier.elementary.exp_of_minus(b).tolist(), b.tolist(), strict=True)
        kept.append(all(abs(arb(y) / (-arb(z)).exp() - 1) < 2.0**-50 for y, z in pairs))
        kept.append(float(verifier.elementary.exp_of_minus(np.array([64.1, 1e9])).max()) == 0.0)
    # 7.2 and 7.1: columns of 2^20 and one of 3 times it, T as large as the rest, m = 1
    K = 64
    fields = {"class_counts": "1 2", "multiplicities": f"{K - 1} 1", "class_weights": None, "lambda_w": "1p-6"}
    fields |= {"lambda_h": "1p0", "features": "nonnegative", "feature_dim": None}
    fields |= {"loss": {"name": "cross-entropy", "smoothing": "0p0"}}
    problem = verifier.problem.Problem({**fields, "sha256": verifier.problem.sha256_of(fields, ())})
    entries = [[0 if j == k else (3 if j == 5 else 1) << 20 for j in range(K)] for k in range(K)]
    columns = [" ".join(map(str, row)) for row in entries]
    triangle = [" ".join(["0" if h == g else str(1 << 56) for h in range(g + 1)]) for g in range(K)]
    factor = [" ".join(["1" if h < g else "1048576" for h in range(g + 1)]) for g in range(K)]
    dual = {"kind": "dense", "exponents": " ".join(["-27"] * K), "columns": columns, "factor": factor}
    blocks = verifier.proof.Blocks(problem, {**dual, "multiplier": {"exponent": 0, "rows": triangle}})
    quick = fast.Fast.of(blocks)
    Z, C = np.array(entries, dtype=object), np.zeros((K, K), dtype=object)
    np.fill_diagonal(Z, -Z.sum(axis=1))
    for g in range(K):
        C[g, : g + 1] = [1] * g + [1 << 20]
    tau = (1 - np.eye(K, dtype=int).astype(object)) * (1 << 56)
    radii = np.array([(K + 1) ** 2 * 2**48 // n for n in [1] * (K - 1) + [2]], dtype=object)
    off = Z @ Z.T + C @ C.T + tau
    deficits = np.array([sum(max(0, off[g, h]) for h in range(K) if h != g) for g in range(K)], dtype=object)
    F = radii - off.diagonal() - deficits
    A = radii + (abs(Z) @ abs(Z).T + C @ C.T + tau).sum(axis=1)
    room = quick.room()
    lost = [(int(f) - int(r)) / int(a) for f, r, a in zip(F, room.tolist(), A, strict=True)]
    kept.append(all((3 * K + 4) * unit < one - 2 * unit < (3 * K + 10) * unit for one in lost))
    return kept, *objective_promises(verifier, problem, quick, entries, K)


def objective_promises(verifier, problem, quick, entries, K):
    """Radii of dual value and objective beside those of sections 7.2 and 7.3."""
    import numpy as np
    from flint import arb, ctx, fmpq

    kept, unit = [], 2.0**-53
    problem.lambda_w = problem.lambda_h = fmpq(1, 2**100)
    with ctx.workprec(128):
        value, needed = quick.dual_value(), arb(0)
        for k, row in enumerate(entries):
            products = sum(arb(x) * arb(x).log() for x in row if x)
            needed += (products * (K + 4) * unit + sum(row) * 2.0**-45) * 2.0**-27 * (2 if k == K - 1 else 1) / (K + 1)
        kept.append(0.99 < float(value.rad()) / float(needed) < 1.5)
        generator = np.random.default_rng(0)
        for scale, d in ((0.01, 3), (1.0, 3), (2.0**20, 3), (2.0**20, 4 * K)):
            W, H = scale * generator.standard_normal((K, d)), generator.standard_normal((K, d))
            W[:] = W if d < K else scale  # rows longer than columns, and a loss far below their products
            counts = np.ones(K, dtype=np.int64)
            ball = verifier.fast.enclose(problem, W, H, np.arange(K), counts)
            rho = np.linalg.norm(W, axis=1).max() * np.linalg.norm(H, axis=1)
            errors = 2 * d * unit * rho + 4 * unit * rho + 2.0**-45 + K * unit
            least, rounded = float(errors.sum()) / (K + 1), 2.5 * (2**18 / K + 20) * unit * float(ball.mid())
            kept.append(bool(least < float(ball.rad()) < 5 * least + rounded))
    return kept


def answers(cases, stop=None):
    """The verdict on each case by the verifier now importable, and which general paths it asked; ends at the first
    that differs from ``stop``."""
    import ufm_convex.verifier as verifier

    found = [promises(verifier)]
    if stop is not None and found[0] != stop[0]:
        return None
    asked = []
    for place, name in GENERAL:
        owner = attrgetter(place)(verifier)
        setattr(owner, name, recorded(getattr(owner, name), asked))
    for place, (data, arrays) in enumerate(cases, 1):
        asked.clear()
        try:
            result = verifier.verify(data, arrays)
            answer = tuple((step.name, str(step.verdict)) for step in result.steps) + tuple(asked)
        except verifier.MalformedCertificate:
            answer = "malformed"
        except Exception as error:  # - a mutant may raise anything, and that is a difference
            answer = type(error).__name__
        found.append(answer)
        if stop is not None and answer != stop[place]:
            return None
    return found


def judged(folder, name, source, cases, expected, queue):
    """In a child process: put the mutant in place of the original, and ask."""
    package = Path(folder) / "ufm_convex"
    (package / "verifier" / f"{name}.py").write_text(source, encoding="utf-8")
    for module in [module for module in sys.modules if module.startswith("ufm_convex")]:
        del sys.modules[module]
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        queue.put("survived" if answers(cases, expected) is not None else "killed")
    except Exception as error:  # - not importable is killed as well
        queue.put(f"killed by {type(error).__name__}")


def main():
    parser = argparse.ArgumentParser(description="Mutation testing of the verifier, and of other rooms.")
    parser.add_argument("--fast", action="store_true", help="mutate the fast path instead of the exact core")
    parser.add_argument("--only", choices=(*CORE, *FAST), help="mutate one module alone")
    parser.add_argument("--contrastive", action="store_true", help="mutate the proof of contrastive problems instead")
    parser.add_argument("--room", choices=sorted(rooms.JUDGES), help="mutate another room, judged by its tests")
    parser.add_argument("--sample", type=int, default=0, help="a random sample of so many mutants")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--jobs", type=int, default=1, help="with --room: processes side by side")
    parser.add_argument("--pick", type=int, nargs="*", default=[], help="with --room: the mutants of these numbers")
    parser.add_argument("--every", type=int, default=1, help="of the certificates and forgeries, take one of so many")
    parser.add_argument("--files", type=int, default=99, help="with --room: only its first so many files of tests")
    small(parser, sample=2, every=200, files=1)
    chosen = parsed(parser)
    if chosen.room:
        tell = functools.partial(print, flush=True)
        killed, tried = rooms.campaign(
            chosen.room, chosen.sample, chosen.seed, chosen.jobs, chosen.pick, chosen.files, tell
        )
    else:
        killed, tried = campaign(chosen)
    print(f"{killed} of {tried} killed: {killed / tried:.1%}")


def campaign(chosen):
    """The mutants of the verifier that were asked for; the number killed and tried."""
    sys.dont_write_bytecode = True
    cases = (contrastive_killers() if chosen.contrastive else killers())[:: chosen.every]
    expected = answers(cases)
    everything = [
        (name, *mutant) for name in ((chosen.only,) if chosen.only else FAST if chosen.fast else CORE)
        for mutant in mutants((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    ]  # fmt: skip
    if chosen.contrastive:
        path = FOLDER / "contrastive.py"
        everything = [("contrastive", *mutant) for mutant in mutants(path.read_text(encoding="utf-8"))]
    if chosen.sample:
        everything = random.Random(chosen.seed).sample(everything, min(chosen.sample, len(everything)))
    print(f"{len(cases)} cases, {len(everything)} mutants", flush=True)
    killed = 0
    context = multiprocessing.get_context("fork")
    for name, line, what, how in everything:
        source = mutated((FOLDER / f"{name}.py").read_text(encoding="utf-8"), how)
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "ufm_convex" / "verifier"
            package.mkdir(parents=True)
            (package.parent / "__init__.py").write_text("")
            for path in FOLDER.glob("*.py"):
                (package / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
            queue = context.Queue()
            child = context.Process(target=judged, args=(folder, name, source, cases, expected, queue))
            child.start()
            child.join(SECONDS)
            outcome = "killed by time" if child.is_alive() else queue.get() if not queue.empty() else "killed by exit"
            child.kill()
        killed += outcome.startswith("killed")
        if outcome == "survived":
            print(f"survived  {name}.py:{line}  {what}", flush=True)
    return killed, len(everything)


if __name__ == "__main__":
    main()
