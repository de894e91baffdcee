"""Exact evidence written down: plain JSON values of format version 1 (docs/certificate_format.md).

Only strings, integers, lists and objects occur: numbers that are not small integers are decimal integers in strings,
scaled by a power of two, so nothing is rounded on the way to a file or back.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ufm_convex import enclosure, losses
from ufm_convex._arrays import FloatArray
from ufm_convex._bits import ratio, widened
from ufm_convex.candidate import Candidate
from ufm_convex.certificate.limits import spans_little
from ufm_convex.certificate.tables import decode_table, encode_table, require_writable
from ufm_convex.errors import HypothesisError
from ufm_convex.positivity.cubic import CopositiveProof
from ufm_convex.problem import Problem, constraints
from ufm_convex.problem.constraints import HardMargin, LayerPeeled
from ufm_convex.relaxation import require_dense

FORMAT, VERSION = "ufm-convex-certificate", 1

_LEMMAS = ("class-mean-reduction", "master-identity", "weak-duality")
_SLACK_LEMMA = {
    "diagonal": "frame-slack",
    "group": "symmetry-slack",
    "dense": "dense-slack",
    "copositive": "copositive-slack",
    "residuals": "residual-slack",
}


# -- numbers ------------------------------------------------------------------------------------------------------


def dyadic(number: float | int | Fraction) -> str:
    """The text <integer>p<exponent>, the integer odd, or 0p0; the number must be an integer over a power of two."""
    numerator, denominator = ratio(number)
    if numerator == 0:
        return "0p0"
    twos = (numerator & -numerator).bit_length() - 1
    return f"{numerator >> twos}p{twos - (denominator.bit_length() - 1)}"


def undyadic(text: str) -> Fraction:
    """The number that ``dyadic`` wrote."""
    mantissa, exponent = map(int, text.split("p"))
    return Fraction(mantissa) * Fraction(2) ** exponent


def rounded(number: Fraction, bits: int, *, up: bool) -> Fraction:
    """The nearest number of at most ``bits`` significant bits that is not below (up) or not above the given one."""
    if number == 0:
        return number
    size = abs(number.numerator).bit_length() - number.denominator.bit_length()
    unit = Fraction(2) ** (size - bits + 1)
    return unit * (-((-number) // unit) if up else number // unit)


def integers(numbers: Sequence[int]) -> str:
    """Integers in decimal, one space apart."""
    return " ".join(map(str, numbers))


def _vector(vector: enclosure.ExactVector) -> dict[str, Any]:
    return {"exponent": vector.exponent, "integers": integers(vector.integers)}


def _invariant(matrix: enclosure.ExactAlike) -> dict[str, Any]:
    """One coordinate a class: own entries, and those of other classes, 0 where there are none."""
    rows = [list(row) for row in matrix.even]
    own = [row[g] for g, row in enumerate(rows)]
    for g in np.flatnonzero(matrix.rows.places == 1).tolist():
        rows[g][g] = 0
    for g, h, entry in matrix.pairs():
        own[g if g == h else -1] = entry
    return {"exponent": matrix.exponent, "own": integers(own), "rows": _rows(rows)}


def _rows(rows: Sequence[Sequence[int]]) -> list[str]:
    return [integers(row) for row in rows]


# -- the problem --------------------------------------------------------------------------------------------------


def require_encodable(problem: Problem) -> None:
    """Raise ``HypothesisError`` unless the format can carry the problem: its own class, loss and constraint.

    A name stands for one function. A subclass that says the same name may have other values, which nobody would see.
    """
    from ufm_convex.verifier.losses import LOSSES

    require_exactly(problem, Problem, "the problem")
    constraint = problem.constraint
    if constraint is not None:
        require_exactly(constraint, constraints.available().get(constraint.name), "the constraint")
    if constraint is None or constraint.loss is None:
        known = losses.available().get(problem.loss.name)
        require_exactly(problem.loss, known or type(problem.loss), "the loss")

    if problem.loss.name not in LOSSES:
        raise HypothesisError(
            f"certificates of format version {VERSION} do not carry the loss {problem.loss.name!r}.",
            expected="a loss among " + ", ".join(sorted(LOSSES)),
            fix="use ufm_convex.solve(problem), whose bounds rest on the loss's own enclosures then (docs/plugins.md).",
        )
    table = written_table(problem.loss)
    if table is not None:
        require_writable(table)


def require_exactly(given: object, kind: type | None, what: str) -> None:
    """Raise ``HypothesisError`` for an instance of another class, one that is derived from it included."""
    if type(given) is not kind:
        raise HypothesisError(
            f"{what} is a {type(given).__name__}, a class that certificates of format version {VERSION} do not know.",
            expected="an instance of the class itself"
            + ("" if kind is None else f", {kind.__name__}")
            + ": what a subclass changes would not be in the file",
            fix="make it with the class itself.",
        )


def encode_problem(problem: Problem) -> dict[str, Any]:
    """The problem: runs of alike classes in class order, exact decays and parameters, and its SHA-256."""
    counts, weights = problem.class_counts, problem.loss.weights(problem.num_classes)
    first = np.ones(counts.size, dtype=bool)
    first[1:] = (np.diff(counts) != 0) | (np.diff(weights) != 0.0)
    starts = np.flatnonzero(first)
    plain = bool((weights == 1.0).all())
    content: dict[str, Any] = {
        "class_counts": integers(counts[starts].tolist()),
        "multiplicities": integers(np.diff(np.append(starts, counts.size)).tolist()),
        "class_weights": None if plain else _vector(enclosure.ExactVector.of_floats(weights[starts])),
        **_regulariser(problem),
        "features": problem.features,
        "feature_dim": problem.feature_dim,
        "loss": {"name": problem.loss.name, **_parameters(problem.loss)},
    }
    return {**content, "sha256": canonical_sha256(content)}


def _parameters(loss: losses.Loss) -> dict[str, Any]:
    """The parameters of a loss; of a table of targets its entries."""
    table = written_table(loss)
    if table is not None:
        return {"targets": encode_table(table)}
    return {name: _parameter(value) for name, value in loss.exact_parameters().items()}


def written_table(loss: losses.Loss) -> losses.Table | None:
    """The table of targets that a file carries as one; None where there is none.

    A table whose row k is a distribution for class k is none: the format has carried it as a matrix ever since.
    """
    table = loss.table
    if table is None or (table.square and table.shares and table.own.tolist() == list(range(len(table)))):
        return None
    return table


def _regulariser(problem: Problem) -> dict[str, str]:
    """The decays, or the norm bounds in their place; and the bias, if there is one."""
    constraint = problem.constraint
    if isinstance(constraint, LayerPeeled):
        radii = constraint.weight_radius, constraint.feature_radius
        content = {"weight_radius": dyadic(radii[0]), "feature_radius": dyadic(radii[1])}
    else:
        content = {"lambda_w": dyadic(problem.lambda_w), "lambda_h": dyadic(problem.lambda_h)}
    if problem.bias is None:
        return content
    return {**content, "bias": problem.bias if isinstance(problem.bias, str) else dyadic(problem.bias)}


def _parameter(value: Any) -> Any:
    """A parameter of a loss: null, a word, a number, a vector or a matrix."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, tuple):
        return dyadic(value)
    if not isinstance(value[0], tuple):
        return _vector(enclosure.ExactVector.of_numbers(value))
    flat, width = enclosure.ExactVector.of_numbers([entry for row in value for entry in row]), len(value[0])
    rows = [flat.integers[start : start + width] for start in range(0, len(flat.integers), width)]
    return {"exponent": flat.exponent, "rows": _rows(rows)}


def _unparameter(value: Any) -> Any:
    """The parameter that ``_parameter`` wrote, numbers rounded to binary64."""
    if isinstance(value, dict) and "outputs" in value:
        return decode_table(value)
    if isinstance(value, dict):
        unit = Fraction(2) ** value["exponent"]
        rows = [[float(int(number) * unit) for number in row.split(" ")] for row in value.get("rows", ())]
        return rows or [float(int(number) * unit) for number in value["integers"].split(" ")]
    number = isinstance(value, str) and re.fullmatch(r"-?[0-9]+p-?[0-9]+", value)
    return float(undyadic(value)) if number else value


def decode_problem(content: Mapping[str, Any]) -> Problem:
    """The problem that ``encode_problem`` wrote; every number in it is near a binary64 number or an integer."""
    repeats = [int(number) for number in content["multiplicities"].split(" ")]
    loss = {name: _unparameter(value) for name, value in content["loss"].items()}
    if content["class_weights"] is not None:
        loss["class_weights"] = np.repeat(_unparameter(content["class_weights"]), repeats).tolist()
    data = {
        "class_counts": np.repeat([int(number) for number in content["class_counts"].split(" ")], repeats),
        **{name: _unparameter(content[name]) for name in ("lambda_w", "lambda_h", "bias") if name in content},
        "features": content["features"],
        "loss": loss,
    }
    if content["feature_dim"] is not None:
        data["feature_dim"] = content["feature_dim"]
    radii = {name: _unparameter(content[name]) for name in ("weight_radius", "feature_radius") if name in content}
    if radii:
        data["constraint"] = {"name": LayerPeeled.name, **radii}
    if loss["name"] == HardMargin.name:  # it stands for the loss
        del data["loss"]
        data["constraint"] = {name: value for name, value in loss.items() if value is not None}
    return Problem.from_content(data, source="the certificate's problem")


# -- evidence -----------------------------------------------------------------------------------------------------


def encode_dual(
    problem: Problem, proof: enclosure.ExactPoint | None, decays: tuple[Fraction, Fraction] | None = None
) -> dict[str, Any]:
    """The dual point with its slack proof and, where the problem has none, its decays."""
    own_decays = (
        {} if decays is None else {"decays": dict(zip(("weights", "features"), map(dyadic, decays), strict=True))}
    )
    if isinstance(proof, enclosure.DiagonalDual):
        return {"kind": "diagonal", "strengths": _vector(proof.strengths), **own_decays}
    if isinstance(proof, enclosure.ResidualDual):
        return {"kind": "residuals", "scale": dyadic(proof.scale), "point": None}
    if not isinstance(proof, enclosure.BlockDual):
        raise TypeError(f"{type(proof).__name__} is no dual point")
    exact, columns = enclosure.ExactColumns.of_classes(problem), proof.columns
    whole = written_table(problem.loss) is not None
    units, own = exact.closing_units, proof.own_entries(exact) if whole or proof.own is not None else []
    if whole:
        columns = [[*x[:k], entry, *x[k + 1 :]] for x, k, entry in zip(columns, exact.places, own, strict=True)]
    elif units is not None and set(units) != {1}:
        columns = [[x // unit for x, unit in zip(column, units, strict=True)] for column in columns]
    encoded = {
        "kind": proof.kind,
        "exponents": integers(proof.exponents),
        "columns": _rows(columns),
        **_slack(proof),
        **own_decays,
    }
    return encoded if whole or units is not None else {**encoded, "own": integers(own)}


def _slack(proof: enclosure.BlockDual) -> dict[str, Any]:
    """What shows that the slack is ≥ 0: a multiplier and a factor, or, for a copositive one, a cubic form."""
    if not isinstance(proof, CopositiveProof):
        multiplier = None if proof.multiplier is None else {"exponent": proof.shift, "rows": _rows(proof.multiplier)}
        return {"multiplier": multiplier, "factor": None if proof.factor is None else _rows(proof.factor)}
    if proof.weights is None or proof.factors is None:
        return {"cubic": None}
    return {"cubic": {"weights": integers(proof.weights), "factors": [_rows(factor) for factor in proof.factors]}}


def encode_witness(problem: Problem, witness: enclosure.ExactPoint | None) -> dict[str, Any]:
    """The admissible point behind the upper bound."""
    if isinstance(witness, enclosure.FrameWitness):
        return {
            "kind": "frame",
            "groups": integers(witness.groups),
            "multiplicities": integers(witness.multiplicities),
            "eta": _vector(witness.eta),
            "omega": _vector(witness.omega),
        }
    if not isinstance(witness, enclosure.FactorWitness):
        raise TypeError(f"{type(witness).__name__} is no witness")
    if (alike := witness.on_classes()) is not None:
        return {"kind": "group", **{name: _invariant(M) for name, M in zip("WH", alike, strict=True)}}
    W, H = _placed(witness.W), _placed(witness.H)
    content = {
        "kind": "dense",
        "feature_dim": len(W[0]),
        "W": {"exponent": witness.W.exponent, "rows": _rows(W)},
        "H": {"exponent": witness.H.exponent, "rows": _rows(H)},
    }
    if problem.bias is None:
        return content
    bias = witness.bias or enclosure.ExactVector([0] * witness.W.rows.size, 0)
    return {**content, "bias": _vector(bias.repeated(witness.W.rows.members.tolist()))}


def _placed(matrix: enclosure.ExactAlike) -> list[list[int]]:
    """Every entry, rows in class order; the format states orbits only with one coordinate a class and without a bias.

    Raises:
        SizeError: there are more than 20,000 rows.
    """
    if matrix.plain and matrix.rows.order is None:
        return matrix.even
    require_dense(matrix.rows.length, "the witness of a certificate", "the bounds of the solution")
    return matrix.full()


EMBEDDED_NUMBERS = 1_000_000
EMBEDDED_LOGITS = 1 << 23
"""Candidates of more numbers, of more logits or that span too much are known by the SHA-256 of their arrays."""


def embeddable(candidate: Candidate) -> bool:
    """Whether the arrays are written into the certificate."""
    logits = len(candidate.features) * candidate.num_outputs
    few = candidate.weights.size + candidate.features.size <= EMBEDDED_NUMBERS and logits <= EMBEDDED_LOGITS
    return bool(few) and spans_little(candidate)


def encode_candidate(candidate: Candidate) -> dict[str, Any]:
    """The arrays, exactly, or their SHA-256."""
    content = {"level": candidate.level, "feature_dim": candidate.feature_dim}
    if not embeddable(candidate):
        return {**content, "arrays": None, "sha256": candidate.sha256}
    arrays = {
        "W": _exact_matrix(candidate.weights),
        "features": _exact_matrix(candidate.features),
        "labels": integers(candidate.labels.tolist()) if candidate.level == "sample" else None,
    }
    if candidate.bias is not None:
        arrays["bias"] = _vector(enclosure.ExactVector.of_floats(widened(candidate.bias)))
    return {**content, "arrays": arrays, "sha256": None}


def _exact_matrix(matrix: FloatArray) -> dict[str, Any]:
    vector = enclosure.ExactVector.of_floats(widened(matrix).ravel())
    width = matrix.shape[1]
    rows = [vector.integers[start : start + width] for start in range(0, matrix.size, width)]
    return {"exponent": vector.exponent, "rows": _rows(rows)}


def lemmas(problem: Problem, kind: str) -> list[str]:
    """The lemmas that a proof with this kind of slack uses."""
    budget = [] if problem.constraint is None or not problem.constraint.replaces_decays else ["norm-budget"]
    return [*_LEMMAS, *budget, *([] if problem.bias is None else ["bias"]), _SLACK_LEMMA[kind]]


# -- the document -------------------------------------------------------------------------------------------------


def canonical_sha256(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON: sorted keys, no white space, ASCII."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def seal(content: Mapping[str, Any], provenance: Mapping[str, str]) -> dict[str, Any]:
    """The whole document: content, its digest, and what is said about its origin."""
    return {**content, "digest": canonical_sha256(content), "provenance": dict(provenance)}
