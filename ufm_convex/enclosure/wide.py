"""Proved bounds for many columns against many outputs, in binary64 with error bounds: nothing m × m, no integers.

For a softmax against a table of shares, free features and no bias. A dual point is a table of shares p, an entry for
each output and column; of each column the *own* entry, the largest, is 1 minus the others without rounding, so that the
others, being numbers ≥ 0, decide that p lies in the simplex. With U = (p − Y) Diag(pt) and s ≤ 1/‖U D^{-1/2}‖, s ≤ 1,
weak duality holds at s (p − y), and entropies are concave:

    f  ≥  Σ pt Ent(y + s (p − y))  ≥  s Σ pt Ent(p)  +  (1 − s) Σ pt Ent(y).

So a bound of the norm that is too large by ε costs ε of the excess, and every point is of some use. The norm is bounded
on the smaller side: with G near P Pᵀ, L near a Cholesky factor of β I − G, ‖P‖² ≤ β + ‖β I − G − L Lᵀ‖ + what was
rounded, whoever made L. Products of matrices, exp and log are taken as docs/streaming.md derives and assumes them.

Shapes: V outputs, m columns; p (V, m). Units: those of the objective.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex._bits import fraction, order, rounded_down, rounded_up
from ufm_convex.enclosure.arithmetic import TINY, UNIT, require_nearest
from ufm_convex.enclosure.candidate import EXP_ERROR, EXP_TAIL, LOG_ERROR, STEPS, exp_of_minus, log1p_of, log_of
from ufm_convex.enclosure.proved import ProvedBound
from ufm_convex.errors import ProblemError, ShapeError
from ufm_convex.losses import Table
from ufm_convex.problem import Problem

_INFLATE = 1.0 + 2.0**-20
"""Pays for all roundings in sums and products of error bounds."""
_INFLATE_LITTLE = 1.0 + 2.0**-48
"""Pays for the few roundings of the norm itself."""
_LEAST_OWN = 2.0**-40
_SHRINKINGS = 4
_FAINT = 2.0**-600
"""Smaller shares count as 0 in an entropy, which only lowers it."""
_SHIFTS = tuple(2.0**-k for k in (42, 36, 30, 24, 18, 12, 6, 0))
"""By how much of itself an approximate eigenvalue is raised until a Cholesky factor is found."""
_TILE = 1 << 18
_LARGEST = 2.0**40
"""Of W and of H: logits stay below what ``exp_of_minus`` takes."""
PROOF = "norm"


def require_wide(problem: Problem) -> Table:
    """The table of a problem that these bounds are written for.

    Raises:
        ProblemError: it is another one.
    """
    table = problem.loss.table
    if table is None or not problem.loss.tabled_softmax or problem.bias is not None:
        raise ProblemError(
            f"the problem has the loss {problem.loss.name!r}{'' if problem.bias is None else ' and a bias'}.",
            expected="a softmax against a table of shares, without a bias",
            fix="use enclosure.lower_bound and enclosure.upper_bound.",
        )
    problem.require_decays("this bound")
    return table


# -- from below -----------------------------------------------------------------------------------------------------


def wide_lower_bound(problem: Problem, shares: FloatArray) -> ProvedBound:
    """A proved lower bound of the optimum, at every feature dimension and for either sign of features.

    Args:
        problem: A softmax against a table of shares, no bias.
        shares: p, (V, m), any numbers; those below 0 are taken for 0.

    Returns:
        The bound; that of p = y, the floor, where the shares are no numbers or have columns without a large entry. A
        square table may have own entries below 0 by a rounding; y is then no point, and p is shrunk towards it until
        the norm is at most 1; −∞ where that fails.

    Raises:
        ProblemError: the problem is another one.
        ShapeError: the shares are not (V, m).
        SolverError: binary64 numbers are not rounded to nearest.
    """
    table = require_wide(problem)
    V, m = problem.num_outputs, problem.num_columns
    if shares.shape != (V, m):
        raise ShapeError(
            f"shares has shape {shares.shape}.",
            expected=f"(V, m) = ({V}, {m})",
            fix="pass one column a row of targets.",
        )
    require_nearest(V, m, V)
    floor: Fraction | None = None
    value: Fraction | None = None
    if _proper(table):
        floor = _mean(problem, _entropies_of_table(table))
        value = max(floor, _worth(problem, table, shares, floor) or floor)
    else:
        for _ in range(_SHRINKINGS):
            norm, worth = _norm_and_worth(problem, table, shares)
            if not math.isfinite(norm):
                break
            if norm <= 1.0:
                value = worth
                break
            Y = table.rows(np.arange(m)).T
            shares = np.maximum(Y + (shares - Y) * ((1.0 - 2.0**-40) / norm), 0.0)
    require_nearest(V, m, V)
    if value is None:
        return ProvedBound(-math.inf, "trivial")
    bound = rounded_down(value)
    return ProvedBound(bound, PROOF if value != floor else "trivial", fraction(bound))


def _worth(problem: Problem, table: Table, shares: FloatArray, floor: Fraction) -> Fraction | None:
    """The entropy of the shares times s and the floor times 1 − s; None where they are no point."""
    norm, worth = _norm_and_worth(problem, table, shares)
    if not math.isfinite(norm):
        return None
    s = min(Fraction(1), 1 / fraction(norm)) if norm > 0.0 else Fraction(1)
    return s * worth + (1 - s) * floor


def _norm_and_worth(problem: Problem, table: Table, shares: FloatArray) -> tuple[float, Fraction]:
    """A number not below ‖U D^{-1/2}‖, and one below Σ pt Ent(p); infinity and 0 where the shares are no point."""
    found = _point(shares)
    if found is None:
        return math.inf, Fraction(0)
    whole, own, largest = found
    norm = _norm(problem, table, whole, own, largest)
    whole[own, np.arange(largest.size)] = largest
    return norm, _mean(problem, _entropies(whole))


def _point(shares: FloatArray) -> tuple[FloatArray, IntArray, FloatArray] | None:
    """The entries beside the own ones, 0 there; the own outputs; and the numbers nearest to their shares."""
    if not np.isfinite(shares).all():
        return None
    others = np.where(order(shares) > 0, shares, 0.0)
    own, columns = others.argmax(axis=0), np.arange(shares.shape[1])
    others[own, columns] = 0.0
    largest = np.array([math.fsum([1.0, *(-column).tolist()]) for column in others.T])  # rounded once
    return (others, own, largest) if largest.size and largest.min() >= _LEAST_OWN else None


def _proper(table: Table) -> bool:
    """Whether own entries, 1 minus the others without rounding, are ≥ 0: of square tables they may be small.

    ``fsum`` rounds once, so that its sign is right.
    """
    rows = np.repeat(np.arange(len(table)), np.diff(table.starts))
    mine = np.zeros(len(table))
    at = table.outputs == table.own[rows]
    mine[rows[at]] = table.entries[at]
    doubtful = np.flatnonzero(mine < _LEAST_OWN)
    spans = ((k, slice(table.starts[k], table.starts[k + 1])) for k in doubtful.tolist())
    return all(
        math.fsum([1.0, *(-table.entries[span][table.outputs[span] != table.own[k]]).tolist()]) >= 0.0
        for k, span in spans
    )


def _entropies(shares: FloatArray) -> FloatArray:
    """Numbers below the entropies of columns whose own entries are right to UNIT, (m,)."""
    sums, step = np.empty(shares.shape[1]), max(1, _TILE // len(shares))
    for first in range(0, sums.size, step):
        part = shares[:, first : first + step]
        there = part > _FAINT
        logs = log_of(1.0 / np.where(there, part, 1.0))
        sums[first : first + step] = (np.where(there, part, 0.0) * logs).sum(axis=0)
    return _less(sums, len(shares))


def _entropies_of_table(table: Table) -> FloatArray:
    """Numbers below the entropies of the rows of a table, (m,)."""

    def terms(y: FloatArray) -> FloatArray:
        there = y > _FAINT
        return np.asarray(np.where(there, y, 0.0) * log_of(1.0 / np.where(there, y, 1.0)))

    return _less(table.summed(terms), table.num_outputs)


def _less(sums: FloatArray, terms: int) -> FloatArray:
    """Σ p log(1/p) less its error.

    1/p is right to UNIT, so its logarithm to UNIT and LOG_ERROR of itself; the sum, of terms ≥ 0, to γ of so many. The
    own share is right to UNIT, and the derivative of −p log p is at most 40 from 2^-40 on.
    """
    relative = (LOG_ERROR + (terms + 8) * UNIT) * _INFLATE
    return np.asarray(np.maximum(sums * (1.0 - relative) - 64.0 * UNIT, 0.0))


def _mean(problem: Problem, values: FloatArray) -> Fraction:
    """A number below Σ_j pt_j values_j for values ≥ 0: products are right to two units, ``fsum`` to one."""
    loads = problem.loss.weights(problem.num_classes) * problem.class_counts
    total = fraction(math.fsum((loads * values).tolist()))
    return max(total * (1 - Fraction(8 * UNIT)) - fraction(TINY), Fraction(0)) / problem.num_samples


def _norm(problem: Problem, table: Table, others: FloatArray, own: IntArray, largest: FloatArray) -> float:
    """A number not below ‖U D^{-1/2}‖; infinite where none was found."""
    V, m = others.shape
    columns = np.arange(m)
    counts = problem.class_counts.astype(np.float64)
    decay = math.sqrt(problem.lambda_w) * math.sqrt(problem.lambda_h)
    scales = problem.loss.weights(m) * np.sqrt(counts) / (problem.num_samples * decay)  # right to 8 units
    P = others.copy()
    P[own, columns] = largest
    P[table.outputs, np.repeat(columns, np.diff(table.starts))] -= table.entries
    P *= scales
    if not np.isfinite(P).all():
        return math.inf
    with np.errstate(over="ignore", invalid="ignore"):  # seen below
        size = float(np.sqrt(np.vdot(P, P))) * _INFLATE
        G = np.tril(P @ P.T if m >= V else P.T @ P)
    if not (math.isfinite(size) and np.isfinite(G).all()):
        return math.inf
    # differences, scales and products are right to 12 units; own shares of p and of y, at most 1, to one each
    moved = 12.0 * UNIT * size + 8.0 * UNIT * float(np.sqrt(np.vdot(scales, scales)))
    G += np.tril(G, -1).T
    rounded = (max(V, m) + 4) * UNIT * size * size  # |P̂| |P̂|ᵀ has at most the norm ‖P̂‖²_F
    above = _eigenvalue_above(G)
    if not math.isfinite(above):
        return math.inf
    return (math.sqrt((above + rounded) * _INFLATE_LITTLE + TINY) + moved) * _INFLATE_LITTLE


def _eigenvalue_above(G: FloatArray) -> float:
    """A number not below the largest eigenvalue of a symmetric matrix ⪰ 0 up to rounding; infinite if none is found."""
    n = len(G)
    top = float(np.linalg.eigvalsh(G)[-1])
    for shift in _SHIFTS:
        beta = max(top, 0.0) * (1.0 + shift) + TINY
        M = -G
        M[np.diag_indices(n)] += beta  # right to a unit of beta and of the entry
        try:
            L = np.linalg.cholesky(M)
        except np.linalg.LinAlgError:
            continue
        rest = M - L @ L.T
        left = float(np.sqrt(np.vdot(rest, rest))) * _INFLATE
        left += (n + 4) * UNIT * float(np.vdot(L, L)) * _INFLATE + 4.0 * UNIT * (beta + float(G.diagonal().max()))
        return (beta + left) * _INFLATE_LITTLE
    return math.inf


# -- from above -----------------------------------------------------------------------------------------------------


def wide_upper_bound(problem: Problem, W: FloatArray, H: FloatArray, *, penalties: bool = True) -> ProvedBound:
    """A proved upper bound of the optimum: the objective at W and H, enclosed.

    Args:
        problem: A softmax against a table of shares, no bias.
        W: (V, d).
        H: (m, d).
        penalties: False for the loss alone.

    Returns:
        The bound; +∞ where W or H are no numbers of moderate size, have more than ``feature_dim`` coordinates, or H has
        a negative entry and features are non-negative.

    Raises:
        ProblemError: the problem is another one.
        SolverError: binary64 numbers are not rounded to nearest.
    """
    table = require_wide(problem)
    V, m, d = problem.num_outputs, problem.num_columns, W.shape[1]
    fits = W.shape == (V, d) and H.shape == (m, d) and d <= (problem.feature_dim or math.inf)
    if not fits or not all(float(np.abs(part).max()) < _LARGEST for part in (W, H)):  # False for NaN
        return ProvedBound(math.inf, PROOF)
    if problem.nonnegative and int(order(H).min()) < 0:
        return ProvedBound(math.inf, PROOF)
    require_nearest(V, d, m)
    loads = problem.loss.weights(m) * problem.class_counts
    values = _losses(table, W, H)
    total = fraction(math.fsum((loads * values).tolist())) * (1 + Fraction(8 * UNIT)) + fraction(TINY)
    bound = total / problem.num_samples
    if penalties:
        bound += fraction(problem.lambda_w) / 2 * _squares(W, np.ones(V))
        bound += fraction(problem.lambda_h) / 2 * _squares(H, problem.class_counts.astype(np.float64))
    require_nearest(V, d, m)
    value = rounded_up(bound)
    return ProvedBound(value, PROOF, fraction(value) if math.isfinite(value) else None)


def _losses(table: Table, W: FloatArray, H: FloatArray) -> FloatArray:
    """Numbers not below the loss of each column, (m,).

    With n = max z − z, l = log1p Σ' e^{−n} + Σ y n, Σ' over all but one of the largest. Logits are right to γ_{d+2} of
    ‖w‖ ‖h‖, and the loss moves by twice that at most.
    """
    V, m = len(W), len(H)
    longest = float(np.sqrt(np.einsum("vd,vd->v", W, W).max())) * _INFLATE
    lengths = np.sqrt(np.einsum("md,md->m", H, H)) * _INFLATE
    logit_errors = (W.shape[1] + 4) * UNIT * longest * lengths * _INFLATE + TINY
    relative = ((EXP_ERROR + 2.0 * LOG_ERROR) + (2 * V + 16) * UNIT) * 2.0 * _INFLATE
    values, step = np.empty(m), max(1, _TILE // V)
    for first in range(0, m, step):
        last = min(first + step, m)
        below = W @ H[first:last].T
        below = below.max(axis=0) - below
        span = slice(table.starts[first], table.starts[last])
        columns = np.repeat(np.arange(last - first), np.diff(table.starts[first : last + 1]))
        pairings = np.bincount(columns, table.entries[span] * below[table.outputs[span], columns], last - first)
        below[below.argmin(axis=0), np.arange(last - first)] = 2.0 * 128  # one of the largest: e^{−256} counts as 0
        np.minimum(below, 2.0 * 128, out=below)
        below *= STEPS
        sums = exp_of_minus(below, np.empty((3, *below.shape))).sum(axis=0)
        values[first:last] = log1p_of(sums) + pairings
    return np.asarray(values * (1.0 + relative) + 2.0 * logit_errors + 4.0 * V * EXP_TAIL)


def _squares(matrix: FloatArray, weights: FloatArray) -> Fraction:
    """A number not below Σ_i weights_i ‖row_i‖²."""
    total = fraction(math.fsum((weights * np.einsum("ij,ij->i", matrix, matrix)).tolist()))
    return total * (1 + Fraction((matrix.shape[1] + 8) * 2 * UNIT)) + fraction(TINY)
