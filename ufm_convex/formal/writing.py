"""A certificate as a file of Coq: the problem, two theorems about its optimum, and how to prove them by computation."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

from ufm_convex.formal import candidates, coq
from ufm_convex.formal.arranging import (
    Problem,
    Run,
    arranged,
    classes_by_run,
    dyadic,
    exponent,
    integers,
    matrix,
    out_of_reach,
    vector,
)
from ufm_convex.formal.coq import Dyadic

MOST_EVALUATIONS = 8000
"""Exponentials and logarithms that CoqInterval encloses, at about 25 ms each."""
MOST_LOGARITHMS = 25000
"""Logarithms of rational numbers, in lower bounds, at about 3 ms each beside a table."""
FEW_LOGARITHMS = 40
"""Without a table: it takes half a second."""
MOST_BITS = 512
"""Of a claim: that of 50 digits has 180."""
PRECISION = 40
"""Bits of enclosures, at least, and beyond those of the claims."""

HEADER = """\
(* The optimum of one problem, enclosed: written by ufm-convex from a certificate of SHA-256
   {digest}.
   Read the statements lower_bound and upper_bound{more}; problem, objective and admissible are defined in Model.v. *)
From Coq Require Import Reals List ZArith.
From UFM Require Import Losses Compute Proofs Upper{module} Model.
Import ListNotations.
Open Scope Z_scope.

Definition the_problem : problem := {{|
  multiplicities := {multiplicities};
  counts := {counts};
  weights := {weights};
  sizes_of := {sizes}; bias_of := {bias};
  nonnegative := {nonnegative}; feature_dim := {feature_dim};
  loss_of := {loss} |}}.

Definition lower : dyadic := {lower}.
Definition upper : dyadic := {upper}.

Theorem lower_bound :
  forall d W H b, admissible the_problem d W H b -> (real lower <= objective the_problem d W H b)%R.
Proof.
apply ({lower_proof}).
vm_cast_no_check (eq_refl true).
Qed.

Theorem upper_bound :
  exists d W H b, admissible the_problem d W H b /\\ (objective the_problem d W H b <= real upper)%R.
Proof.
apply ({upper_proof}).
vm_cast_no_check (eq_refl true).
Qed.

{candidate}Definition bounds := conj lower_bound {bounds}.
Print Assumptions bounds.
"""


@dataclass(frozen=True)
class Written:
    """A file of Coq, and what it will cost.

    Attributes:
        text: The file.
        evaluations: Exponentials and logarithms of the upper bound.
        logarithms: Those of the lower bound, which cost less.
        theorems: What it proves, in words.
    """

    text: str
    evaluations: int
    logarithms: int
    theorems: tuple[str, ...]


def written(document: dict[str, Any]) -> Written:
    """The file for a certificate, given as its JSON object.

    Raises:
        OutOfReachError: the theory does not reach such a certificate; the message says why.
    """
    _refuse_unstated(document)
    problem, claims, candidate = Problem(document["problem"]), document["claims"], document["candidate"]
    dual, witness = document["dual"], document["witness"]
    runs = arranged(problem, dual, witness)
    lower, upper = dyadic(claims["lower"]), dyadic(claims["upper"])
    numbers = (lower, upper, *candidates.ends(claims["candidate"]).values())
    bits = max(number.mantissa.bit_length() for number in numbers)
    if bits > MOST_BITS:
        raise out_of_reach(f"a claim of {bits} bits, more than {MOST_BITS}")
    precision = PRECISION + bits
    lower_proof, logarithms = _lower(problem, runs, dual, precision)
    upper_proof, evaluations = _upper(problem, runs, witness, precision)
    about = ""
    if candidate is not None:
        evaluations += candidates.evaluations(problem, candidate, _evaluations(problem, problem.K + 1, 2 * problem.K))
        about = candidates.theorems(problem, runs, candidate, claims["candidate"], _coded(problem), precision)
    if evaluations > MOST_EVALUATIONS:
        raise out_of_reach(f"{evaluations} exponentials and logarithms, more than {MOST_EVALUATIONS}")
    if logarithms > MOST_LOGARITHMS:
        raise out_of_reach(f"{logarithms} logarithms, more than {MOST_LOGARITHMS}")
    text = HEADER.format(
        digest=document["digest"],
        **_statement(problem, runs),
        lower=coq.dyadic(lower),
        upper=coq.dyadic(upper),
        lower_proof=lower_proof,
        upper_proof=upper_proof,
        candidate=about,
        **(_BESIDE if about else dict.fromkeys(_BESIDE, "") | {"bounds": "upper_bound"}),
    )
    proved = ("lower bound", "upper bound", *(("the candidate's objective", "its gap") if about else ()))
    return Written(text, evaluations, logarithms, proved)


_BESIDE = {
    "module": " Candidate",
    "more": ", candidate and candidate_gap",
    "bounds": "(conj upper_bound (conj candidate candidate_gap))",
}
"""What a file has in its other lines where it is about a candidate, too."""


def _refuse_unstated(document: dict[str, Any]) -> None:
    """Raise ``OutOfReachError`` for kinds of certificates of which nothing is stated."""
    if "model" in document["problem"]:
        raise out_of_reach("supervised contrastive learning")
    if document["candidate"] is not None:
        candidates.refuse_unstated(document["candidate"], document["claims"]["candidate"])
    for part, known in (("dual", ("diagonal", "group", "dense")), ("witness", ("frame", "group", "dense"))):
        if document[part]["kind"] not in known:
            raise out_of_reach(f"a proof of kind {document[part]['kind']}")


def _statement(problem: Problem, runs: list[Run]) -> dict[str, str]:
    """The fields of the problem."""
    return {
        "multiplicities": coq.row(run.multiplicity for run in runs),
        "counts": coq.row(run.samples for run in runs),
        "weights": coq.dyadics(run.weight for run in runs),
        "sizes": " ".join(["Radii" if problem.bounded else "Decays", *map(coq.dyadic, problem.sizes)]),
        "bias": _bias(problem.bias),
        "nonnegative": str(problem.nonnegative).lower(),
        "feature_dim": "None" if problem.feature_dim is None else f"Some {problem.feature_dim}",
        "loss": f"{problem.name.function} {_parameters(problem)}".rstrip(),
    }


def _bias(given: str | None) -> str:
    if given is None:
        return "NoBias"
    return "FreeBias" if given == "free" else f"PenalisedBias {coq.dyadic(dyadic(given))}"


def _parameters(problem: Problem) -> str:
    """Of the loss; a scale or a shift that is null is an empty list, beyond which entries are 1 and 0."""
    loss = problem.loss
    if "smoothing" in loss:
        return coq.dyadic(dyadic(loss["smoothing"]))
    if "targets" in loss:
        return f"{coq.integer(loss['targets']['exponent'])} {coq.rows(matrix(loss['targets']['rows']))}"
    lists = [loss[name] for name in ("scale", "shift", "margins") if name in loss]
    return " ".join(coq.dyadics([] if given is None else vector(given)) for given in lists)


def _evaluations(problem: Problem, softmax: int, sigmoids: int) -> int:
    """Exponentials and logarithms, by what they are in the loss."""
    if problem.name.code in ("CrossEntropy", "SoftTargets", "LogitAdjusted", "LabelMargins"):
        return softmax
    return sigmoids if problem.name.code == "BinaryCrossEntropy" else 0


def _coded(problem: Problem) -> str:
    """The problem beside the constructor of its loss; that they belong together is computed."""
    code = f"{problem.name.code} {_parameters(problem)}".rstrip()
    return f"(Coded the_problem ({code}) eq_refl)"


# -- the lower bound --------------------------------------------------------------------------------------------------


def _lower(problem: Problem, runs: list[Run], dual: dict[str, Any], precision: int) -> tuple[str, int]:
    """The theorem with its data, and how many logarithms it takes."""
    each = _evaluations(problem, 1, 2)
    decays = dual.get("decays", {"weights": "0p0", "features": "0p0"})
    spent = dyadic(decays["weights"]), dyadic(decays["features"])
    price = f"({coq.dyadic(spent[0])}, {coq.dyadic(spent[1])})"
    size = len(runs)
    if dual["kind"] != "diagonal":
        theorem, data, logarithms = "orbit_sound", _orbits(problem, runs, dual, spent), size * (size + 1)
    elif problem.nonnegative or any(q.mantissa for q in vector(dual["strengths"])):
        strengths, zero = vector(dual["strengths"]), Dyadic(0, 0)
        data = coq.dyadics(strengths[run.group] if run.group >= 0 else zero for run in runs)
        theorem, logarithms = "diagonal_sound", 2 * size
    else:  # free features, and the point 0: columns of zeros
        nothing = [0] * size
        data = _orbit_proof(nothing, [nothing] * size, nothing, nothing, [], [])
        theorem, logarithms = "orbit_sound", size * (size + 1)
    logarithms *= each
    table = "precise" if logarithms > FEW_LOGARITHMS else "direct"
    return f"{theorem} ({table} {precision}) {_coded(problem)} {data}\n  {price} lower", logarithms


def _orbits(problem: Problem, runs: list[Run], dual: dict[str, Any], spent: tuple[Dyadic, Dyadic]) -> str:
    """A proof of kind group or dense; runs of classes without samples have columns of zeros."""
    places = [r for r, run in enumerate(runs) if run.samples]
    size = len(runs)
    exponents, columns, owns, radii = [0] * size, [[0] * size for _ in runs], [0] * size, [0] * size
    given = integers(dual["own"]) if "own" in dual else None
    units = _coprime(problem, size)
    for g, r in enumerate(places):
        exponents[r] = exponent(integers(dual["exponents"])[g])
        column = integers(dual["columns"][g])
        closing = column[r] - sum(run.multiplicity * x for run, x in zip(runs, column, strict=True))
        columns[r] = [unit * x for unit, x in zip(units, column, strict=True)]
        owns[r] = units[r] * closing if given is None else given[g]
        radii[r] = problem.radius(runs[r], exponents[r], spent)
    multiplier = dual["multiplier"]
    tau = None if multiplier is None else matrix(multiplier["rows"])
    shift = 0 if multiplier is None else multiplier["exponent"]
    tau = tau and [[x << shift for x in row] for row in tau]
    factor = dual["factor"] and matrix(dual["factor"])
    triangles = _triangle(tau, places, size), _triangle(factor, places, size)
    return _orbit_proof(exponents, columns, owns, radii, *triangles)


def _coprime(problem: Problem, size: int) -> list[int]:
    """The scales of the logits as positive integers without common divisor, by which columns are multiplied."""
    if problem.loss.get("scale") is None:
        return [1] * size
    scales = [number.mantissa for number in vector(problem.loss["scale"])]
    return [scale // gcd(*scales) for scale in scales]


def _orbit_proof(
    exponents: list[int],
    columns: list[list[int]],
    owns: list[int],
    radii: list[int],
    multiplier: list[list[int]],
    factor: list[list[int]],
) -> str:
    """The record of the theory."""
    parts = [coq.row(exponents), coq.rows(columns), coq.row(owns), coq.row(radii), *map(coq.rows, (multiplier, factor))]
    return "(OrbitProof\n   " + "\n   ".join(parts) + ")"


def _triangle(given: list[list[int]] | None, places: list[int], size: int) -> list[list[int]]:
    """A lower triangle over columns, as one over runs."""
    if given is None:
        return []
    full = [[0] * (r + 1) for r in range(size)]
    for g, row in enumerate(given):
        for h, x in enumerate(row):
            full[places[g]][places[h]] = x
    return full


# -- the upper bound --------------------------------------------------------------------------------------------------


def _upper(problem: Problem, runs: list[Run], witness: dict[str, Any], precision: int) -> tuple[str, int]:
    """The theorem with its data, and how many exponentials and logarithms it takes."""
    K = problem.K
    if witness["kind"] == "frame":
        last = max((r + 1 for r, run in enumerate(runs) if run.eta), default=0)
        eta, omega = (
            coq.dyadics(Dyadic(number, exponent(witness[part]["exponent"])) for number in numbers)
            for part, numbers in (("eta", [r.eta for r in runs]), ("omega", [r.omega for r in runs]))
        )
        each = _evaluations(problem, 3, 4)
        return f"frame_sound (direct {precision}) {_coded(problem)}\n  {eta}\n  {omega} {last} upper", each * len(runs)
    each = _evaluations(problem, K + 1, 2 * K)
    if K * max(each, K) > MOST_EVALUATIONS:
        raise out_of_reach(f"a witness of {K} classes written one by one")
    W, H = _dense(problem, witness) if witness["kind"] == "dense" else _spread(problem, runs, witness)
    order = classes_by_run(problem, runs)
    if witness["kind"] == "dense":
        W, H = ([rows[k] for k in order] for rows in (W, H))
    W, H = _used(W, H)
    bias = witness.get("bias", {"exponent": 0, "integers": "0"})
    b = integers(bias["integers"]) if "bias" in witness else []
    b = [b[k] for k in order] if b else b
    units = " ".join(coq.integer(exponent(part["exponent"])) for part in (witness["W"], witness["H"], bias))
    data = f"{units}\n  {coq.rows(W)}\n  {coq.rows(H)}\n  {coq.row(b)} {len(W[0])}"
    return f"dense_sound (direct {precision}) {_coded(problem)} {data} upper", K * each


def _dense(problem: Problem, witness: dict[str, Any]) -> tuple[list[list[int]], list[list[int]]]:
    return matrix(witness["W"]["rows"]), matrix(witness["H"]["rows"])


def _spread(problem: Problem, runs: list[Run], witness: dict[str, Any]) -> tuple[list[list[int]], list[list[int]]]:
    """Matrices that are alike on alike classes, row by row: one coordinate a class."""
    outputs = {run.group: place for place, run in enumerate(problem.outputs())}
    places = [outputs[run.group] for run in runs for _ in range(run.multiplicity)]

    def spread(value: dict[str, Any]) -> list[list[int]]:
        own, rows = integers(value["own"]), matrix(value["rows"])
        return [[own[g] if k == j else rows[g][h] for j, h in enumerate(places)] for k, g in enumerate(places)]

    return spread(witness["W"]), spread(witness["H"])


def _used(W: list[list[int]], H: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Without the coordinates that are zero in both, but for one."""
    used = [a for a in range(len(W[0])) if any(row[a] for row in (*W, *H))] or [0]
    return [[row[a] for a in used] for row in W], [[row[a] for a in used] for row in H]
