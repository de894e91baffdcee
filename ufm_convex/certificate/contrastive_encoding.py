"""Contrastive proofs written down: plain JSON values of format version 1 (docs/contrastive_files.md, section 10).

Loss and dual value are sums over classes, so of several classes with the same count the file keeps the best length and
the best dual number: one of each for a distinct count, in increasing order, with bounds that are no worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.certificate.encoding import (
    FORMAT,
    VERSION,
    canonical_sha256,
    dyadic,
    integers,
    require_exactly,
    rounded,
    undyadic,
)
from ufm_convex.certificate.model import judge
from ufm_convex.contrastive.alike_classes import AlikeClasses
from ufm_convex.contrastive.enclosure import NOTHING, gains, lower_bound, upper_bound
from ufm_convex.contrastive.points import ContrastiveDual, ContrastivePoint, losses
from ufm_convex.contrastive.problem import MODEL, ContrastiveProblem
from ufm_convex.contrastive.solution import ContrastiveSolution
from ufm_convex.enclosure import ExactVector, ProvedBound
from ufm_convex.errors import SolverError

LEMMAS = ("contrastive-identity", "outside-mass")

_FLOAT_BITS = 53


def encode(solution: ContrastiveSolution, tolerance: float) -> dict[str, Any]:
    """Everything that the digest of a certificate covers: problem, dual point, witness, and the two bounds they prove.

    Raises:
        SolverError: no finite upper bound was proved.
    """
    problem = solution.problem
    dual, lower = _dual(solution)
    lengths = _best(solution.point.groups, solution.lengths, -_costs(problem, solution.point))
    upper = upper_bound(problem, problem.groups, lengths)
    if lower.exact is None or upper.exact is None:  # impossible: H = 0 has a finite objective
        raise SolverError("no finite bound was proved.", expected="two finite bounds", fix="scale the problem.")
    claims: dict[str, Any] = {
        "lower": dyadic(rounded(lower.exact, _FLOAT_BITS, up=False)),
        "upper": dyadic(rounded(upper.exact, _FLOAT_BITS, up=True)),
        "tolerance": dyadic(float(tolerance)),
        "candidate": None,
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "problem": encode_problem(problem),
        "lemmas": list(LEMMAS),
        "dual": {"kind": "outside-mass", "outside": _vector(dual.outside)},
        "witness": {"kind": "orthogonal-frame", "lengths": _vector(lengths)},
        "candidate": None,
        "claims": {**claims, "verdict": judge(claims).value},
    }


def encode_problem(problem: ContrastiveProblem) -> dict[str, Any]:
    """The problem: runs of classes with equal counts in class order, exact numbers, and its SHA-256."""
    require_exactly(problem, ContrastiveProblem, "the problem")
    counts = problem.class_counts
    starts = np.flatnonzero(np.diff(counts, prepend=0))
    content = {
        "model": MODEL,
        "class_counts": integers(counts[starts].tolist()),
        "multiplicities": integers(np.diff(np.append(starts, counts.size)).tolist()),
        "bound": None if problem.bound is None else dyadic(problem.bound),
        "lambda_h": None if problem.lambda_h is None else dyadic(problem.lambda_h),
        "temperature": dyadic(problem.temperature),
    }
    return {**content, "sha256": canonical_sha256(content)}


def decode_problem(content: Mapping[str, Any]) -> ContrastiveProblem:
    """The problem that ``encode_problem`` wrote."""
    counts, repeats = ([int(n) for n in content[name].split(" ")] for name in ("class_counts", "multiplicities"))
    given = {name: float(undyadic(content[name])) for name in ("bound", "lambda_h", "temperature") if content[name]}
    return ContrastiveProblem(np.repeat(counts, repeats), **given)


def _vector(values: FloatArray) -> dict[str, Any]:
    exact = ExactVector.of_floats(values)
    return {"exponent": exact.exponent, "integers": integers(exact.integers)}


def _dual(solution: ContrastiveSolution) -> tuple[ContrastiveDual, ProvedBound]:
    """One dual number a distinct count and what it proves; if that is nothing, s = 0, whose value is never negative."""
    problem, given = solution.problem, solution.dual
    outside = _best(given.groups, given.outside, gains(problem, given.groups, given.outside))
    dual = ContrastiveDual(problem.groups, outside)
    bound = lower_bound(problem, dual)
    if bound is not NOTHING:
        return dual, bound
    zero = ContrastiveDual(problem.groups, np.zeros(problem.groups.size))
    return zero, lower_bound(problem, zero)


def _costs(problem: ContrastiveProblem, frame: ContrastivePoint) -> FloatArray:
    """What a sample of each group adds to the objective of a frame, (G,)."""
    costs: FloatArray = losses(problem, frame) + problem.scaled_penalty * (frame.squares / problem.temperature)
    return costs


def _best(groups: AlikeClasses, numbers: FloatArray, merits: FloatArray) -> FloatArray:
    """Of the groups with each distinct count, the number of the one with the largest merit."""
    order = np.lexsort((-merits, groups.counts))
    first = np.unique(groups.counts[order], return_index=True)[1]
    best: FloatArray = numbers[order[first]]
    return best


__all__ = ["LEMMAS", "decode_problem", "encode", "encode_problem"]
