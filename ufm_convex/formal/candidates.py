"""What a certificate says of a candidate, as two theorems: its objective, and how far that is from the optimum."""

from __future__ import annotations

from typing import Any

from ufm_convex.formal import coq
from ufm_convex.formal.arranging import Problem, Run, classes_by_run, dyadic, exponent, integers, matrix, out_of_reach
from ufm_convex.formal.coq import Dyadic

MOST_NUMBERS = 10_000
"""Of W and features."""

TEXT = """\
Definition value_low : dyadic := {value_low}.
Definition value_high : dyadic := {value_high}.
Definition gap_low : dyadic := {gap_low}.
Definition gap_high : dyadic := {gap_high}.
Definition d : nat := {dimension}%nat.
Definition W_rows : list (list Z) := {W}.
Definition H_rows : list (list (list Z)) := {H}.
Definition b_row : list Z := {b}.
Definition W (j : nat) := vector {W_unit} (nth j W_rows []).
Definition H (k i : nat) := vector {H_unit} (nth {sample} (nth k H_rows []) []).
Definition b := vector {b_unit} b_row.

Theorem candidate :
  admissible the_problem d W H b /\\ (real value_low <= objective the_problem d W H b <= real value_high)%R.
Proof.
apply (candidate_sound {precision} {coded}
  {alike} {W_unit} {H_unit} {b_unit} W_rows H_rows b_row d value_low value_high).
vm_cast_no_check (eq_refl true).
Qed.

Theorem candidate_gap :
  (exists d' W' H' b', admissible the_problem d' W' H' b'
     /\\ (real gap_low <= objective the_problem d W H b - objective the_problem d' W' H' b')%R)
  /\\ forall d' W' H' b', admissible the_problem d' W' H' b' ->
       (objective the_problem d W H b - objective the_problem d' W' H' b' <= real gap_high)%R.
Proof.
apply (gap_sound the_problem d W H b lower upper value_low value_high gap_low gap_high
  lower_bound upper_bound candidate).
vm_cast_no_check (eq_refl true).
Qed.

"""


def refuse_unstated(candidate: dict[str, Any], claim: dict[str, Any]) -> None:
    """Raise ``OutOfReachError`` for candidates about which nothing is stated."""
    if claim["violation"] is not None:
        raise out_of_reach("a candidate that is infeasible")
    if candidate["arrays"] is None:
        raise out_of_reach("a candidate that is known by its SHA-256 alone")


def ends(claim: dict[str, Any] | None) -> dict[str, Dyadic]:
    """The four numbers that are claimed of a candidate; none where there is none."""
    if claim is None:
        return {}
    return {
        f"{name}_{end}": dyadic(claim[part][which])
        for name, part in (("value", "objective"), ("gap", "gap"))
        for end, which in (("low", "lower"), ("high", "upper"))
    }


def theorems(
    problem: Problem, runs: list[Run], candidate: dict[str, Any], claim: dict[str, Any], coded: str, precision: int
) -> str:
    """Definitions of W, H and b, in the classes of the statement, and the two theorems.

    Args:
        problem: The problem.
        runs: How the statement numbers classes.
        candidate: The object ``candidate`` of a certificate, with its arrays.
        claim: The object ``candidate`` of its claims.
        coded: The problem beside the constructor of its loss, as Coq reads it.
        precision: Bits of enclosures.
    """
    if problem.name.code == "CrammerSinger":
        raise out_of_reach("a candidate of the hinge of kind crammer-singer")
    if problem.feature_dim is not None and candidate["feature_dim"] > problem.feature_dim:
        raise out_of_reach("a candidate that has more coordinates than feature_dim allows, though it uses fewer")
    arrays, order = candidate["arrays"], classes_by_run(problem, runs)
    W, H = matrix(arrays["W"]["rows"]), matrix(arrays["features"]["rows"])
    if sum(len(rows) * len(rows[0]) for rows in (W, H)) > MOST_NUMBERS:
        raise out_of_reach(f"a candidate of more than {MOST_NUMBERS} numbers")
    alike = arrays["labels"] is None
    samples: list[list[list[int]]] = [[row] for row in H] if alike else [[] for _ in W]
    for row, label in () if alike else zip(H, integers(arrays["labels"]), strict=True):
        samples[label].append(row)
    bias = arrays.get("bias")
    b = [] if bias is None else integers(bias["integers"])
    units = (arrays["W"], arrays["features"], bias or {"exponent": 0})
    return TEXT.format(
        **{name: coq.dyadic(number) for name, number in ends(claim).items()},
        **{f"{name}_unit": coq.integer(exponent(part["exponent"])) for name, part in zip("WHb", units, strict=True)},
        dimension=candidate["feature_dim"],
        W=coq.rows(W[k] for k in order),
        H=coq.listed((coq.rows(samples[k]) for k in order), ";\n    "),
        b=coq.row(b[k] for k in order) if b else "[]",
        sample="O" if alike else "i",
        alike=str(alike).lower(),
        coded=coded,
        precision=f"(direct {precision})",
    )


def evaluations(problem: Problem, candidate: dict[str, Any], each: int) -> int:
    """Exponentials and logarithms of the objective, ``each`` of them a sample."""
    return each * (problem.N if candidate["arrays"]["labels"] is not None else problem.K)
