"""Slack proofs: that a rounded dual point is feasible, shown in exact integer arithmetic.

A dual point that is alike on alike classes is a (G, G) matrix of entries v_jk, j ≠ k, and the own entries are minus the
column sums; a loss whose residuals sum to no constant has own entries that are given. Column k is rounded to integers
x_jk with its own exponent e_k. In the scale where T_kl stands for pt_k pt_l 2^{e_k + e_l} τ_kl, the slack
R = D − UᵀU − T becomes the integer matrix

    M = Diag(⌊ρ_k⌋) − XᵀX − τ,        ρ_k = 4^{−e_k} λ_W λ_H N² / (ω_k² n_k),

which is invariant under permutations of alike classes. It is positive semidefinite iff, for each group with m_g ≥ 2
classes, (x_own − x_other)² ≤ ⌊ρ_g⌋ + τ_gg, and the (G, G) matrix S = EᵀME is, where the columns of E are the indicator
vectors of the groups. S ⪰ 0 is proved by an integer matrix C for which S − C Cᵀ is dominated by its diagonal; where
features are non-negative, positive off-diagonal entries of it do not count, since T may absorb them
(docs/certificate.md, section 4.2). Singleton groups give the general dense proof, C = 0 the proof that all
off-diagonal entries of G are ≤ 0.

With a free bias the columns of U have to sum to zero exactly. They are then rounded as those of N U, with one exponent
e, so that T_kl stands for 4^e τ_kl / N² and ρ_k = 4^{−e} λ_W λ_H N² n_k, and ``balance`` closes the sums. A bias that
costs next to nothing has a price for sums, not a ban: its columns are closed likewise, and then rounded again as those
of V, as for every penalty, with so many bits that the price of what is left of the sums vanishes.

The margin for rounding is bought by scaling V by s and T by s², s² = 1 − margin: if R ⪰ 0, the new slack is at least
(1 − s²) D. Nothing here trusts an eigenvalue or a Cholesky factorisation; they only suggest what is then checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import fraction
from ufm_convex.bias import Bias, bias_of
from ufm_convex.enclosure.balance import balance
from ufm_convex.enclosure.exact import ExactVector, power, rational
from ufm_convex.enclosure.groups import Groups
from ufm_convex.groups import Groups as _Groups
from ufm_convex.points import DualPoint
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import fmpq, fmpz_mat

_FINE, _COARSE = 72, 40
"""Bits of √ρ. With 40, products are exact in binary64 when each integer is split in two: the verifier's fast path."""
_COARSE_FROM = 64
_COARSE_SHIFT = 42
_ROUNDED_BITS = 51
"""Bits to which the row sums of a point in binary64 vanish, a class."""
TINY_MARGIN = 2.0**-46
"""Bought at least, before the proof without a factor: more than the repair's rounding, far less than a tolerance."""
LARGEST_MARGIN = 0.1
_MOST_RADIUS = 5.0
"""Radii that a column's own exponent scales lie in [1, 4), up to rounding; beyond, V was the measure."""
_PRICE_BITS, _MOST_SHIFT = 120, 256
"""The sums of a faint bias may cost 2^-120 of one unit of loss; certificates shift multipliers by at most 2^256."""
_MARGIN_STEP = 16.0


@dataclass(frozen=True, eq=False)
class BlockProof:
    """A feasible dual point, alike on alike classes, with the proof of its slack; all numbers are integers.

    Attributes:
        kind: "group" for groups of all alike classes, "dense" for one group a class, "copositive" likewise for a slack
            that ``copositive`` proves.
        exponents: e_g; the entries of column g are integers · 2^{e_g}.
        columns: columns[g][h]: entry of a class of group g's column at (another) class of group h; 0 at h = g for
            single classes.
        multiplier: Lower triangle of τ in units of 2^shift, or None for none but what the rule above absorbs.
        shift: The power of two.
        factor: Lower triangle of C, or None for C = 0.
        margin: 1 − s², the share of D that was given up.
        own: Own entry of each column where it is not minus the sum of the others; None where it is.
        balanced: Whether the columns are those of N U, which sum to zero exactly, instead of those of V.
    """

    kind: str
    exponents: list[int]
    columns: list[list[int]]
    multiplier: list[list[int]] | None
    shift: int
    factor: list[list[int]] | None
    margin: float
    own: list[int] | None = None
    balanced: bool = False

    @classmethod
    def zero(cls, problem: Problem, groups: _Groups) -> BlockProof:
        """V = 0, which is feasible without further proof."""
        zeros = [0] * groups.size
        kind = "dense" if groups.size == problem.num_classes else "group"
        own = zeros if closing_units(problem) is None else None
        return cls(kind, zeros, [zeros] * groups.size, None, 0, None, 0.0, own)

    def own_entries(self, multiplicities: list[int]) -> list[int]:
        """Own entry of each column, by default minus the sum of its K − 1 others."""
        if self.own is not None:
            return self.own
        return [
            column[g] - sum(m * x for m, x in zip(multiplicities, column, strict=True))
            for g, column in enumerate(self.columns)
        ]

    def columns_of_classes(self, groups: Groups) -> Iterator[tuple[list[fmpq], int]]:
        """For each group: the column of its first class, (K,), classes sorted by group, and that class's place."""
        place, multiplicities = 0, groups.multiplicities.tolist()
        own = self.own_entries(multiplicities)
        scales = _shares(groups) if self.balanced else [Fraction(1)] * groups.size
        for g, integers in enumerate(self.columns):
            unit = power(self.exponents[g]) / rational(scales[g])
            entries: list[fmpq] = []
            for integer, multiplicity in zip(integers, multiplicities, strict=True):
                entries += [unit * integer] * multiplicity
            entries[place] = unit * own[g]
            yield entries, place
            place += multiplicities[g]

    def sums(self, groups: Groups) -> list[fmpq]:
        """The entry of N U1 at a class of each group, exactly."""
        rows = _summed(self, groups.multiplicities.tolist())
        scales = [Fraction(1)] * groups.size if self.balanced else _shares(groups)
        units = [power(exponent) * rational(scale) for exponent, scale in zip(self.exponents, scales, strict=True)]
        return [
            sum((unit * entry for unit, entry in zip(units, row, strict=True)), 0 * units[0])
            for row in zip(*rows, strict=True)
        ]


def prove(problem: Problem, groups: Groups, dual: DualPoint, kind: str) -> BlockProof | None:
    """The dual point near ``dual`` that is feasible by an exact proof; None when no margin up to 0.1 suffices.

    Args:
        problem: The problem.
        groups: The groups over which ``dual`` is averaged; one class each for a free bias.
        dual: A class-level point that is feasible up to rounding, V and T of shape (K, K).
        kind: "group" or "dense", what the groups are called in the proof.
    """
    V = groups.block_means(dual.residuals)
    own = groups.mean(np.diag(dual.residuals))
    bias = bias_of(problem.bias, problem.loss, problem.num_classes)
    closing = bias if bias.needs_balance else None
    coarse = groups.size >= _COARSE_FROM and groups.size == problem.num_classes and closing is None

    def multiplier() -> FloatArray:
        balanced = closing is not None and not closing.curvature
        shares = np.full(groups.size, 1.0 / problem.num_samples) if balanced else problem.loss_weights
        return groups.block_means(dual.nonnegativity / np.outer(shares, shares))

    return prove_entries(problem, groups, kind, V, own, multiplier, coarse=coarse, closing=closing)


def prove_entries(
    problem: Problem,
    groups: Groups,
    kind: str,
    V: FloatArray,
    own: FloatArray,
    multiplier: Callable[[], FloatArray],
    *,
    coarse: bool = False,
    closing: Bias | None = None,
) -> BlockProof | None:
    """``prove`` for a point that is given by its entries on the groups.

    Args:
        problem: The problem.
        groups: Classes on which the point is alike.
        kind: What the groups are called in the proof.
        V: Entry of column h at another class of group g, (G, G).
        own: Own entries, (G,).
        multiplier: Makes T over the shares of its two classes in the loss, (G, G); called where a factor is needed.
        coarse: Whether to round to the fewer bits of a large proof.
        closing: A bias that costs nothing or next to nothing, for which U1 is closed exactly; else None.
    """
    bits, shift = (_COARSE, _COARSE_SHIFT) if coarse else (_FINE, 0)
    size = max(1.0, float(np.abs(V).max()), float(np.abs(own).max()))
    attempt = _Attempt.of(problem, groups, kind, bits, shift, balanced=closing is not None, size=size)
    if closing is not None and closing.curvature:
        attempt = attempt.closed_by(closing.curvature)
    tiny = max(TINY_MARGIN, problem.num_classes * 2.0 ** (1 - min(bits, bits if closing is None else _ROUNDED_BITS)))
    if problem.nonnegative and (
        found := attempt.without_factor(V * math.sqrt(1.0 - tiny), own * math.sqrt(1.0 - tiny), tiny)
    ):
        return found
    T = multiplier()
    margin = 64.0 * groups.size * max(math.sqrt(groups.size) * 2.0**-53, 2.0 ** -(bits + 6))
    while margin <= LARGEST_MARGIN:
        s = math.sqrt(1.0 - margin)
        found = attempt.with_factor(V * s, own * s, T * (1.0 - margin), margin)
        if found is not None:
            return found
        margin *= _MARGIN_STEP
    return None


def shrunk(
    problem: Problem, groups: Groups, kind: str, V: FloatArray, own: FloatArray, margin: float
) -> tuple[BlockProof, list[list[int]]]:
    """The point √(1 − margin) V in integers, with nothing proved, and its slack Diag(⌊ρ⌋) − XᵀX.

    Args:
        problem: The problem.
        groups: One group a class.
        kind: What the proof is called.
        V: The residuals without their diagonal, (K, K).
        own: Their diagonal, (K,).
        margin: The share of D that is given up.

    Returns:
        The point, and the slack, which is no larger than D − UᵀU in the proof's scale; K rows of K integers.
    """
    from flint import fmpz_mat

    attempt = _Attempt.of(problem, groups, kind, _FINE, 0)
    s = math.sqrt(1.0 - margin)
    proof = attempt.rounded(V * s, own * s, margin)
    columns = fmpz_mat(_summed(proof, [1] * groups.size))
    gram = columns * columns.transpose()
    rows = [[-int(entry) for entry in row] for row in gram.tolist()]
    for k, radius in enumerate(attempt.radii()):
        rows[k][k] += radius
    return proof, rows


@dataclass(frozen=True, eq=False)
class _Attempt:
    """What all attempts at one dual point share."""

    problem: Problem
    groups: Groups
    kind: str
    exponents: list[int]
    bits: int
    shift: int
    units: list[int] | None
    balanced: bool
    size: float
    closed: _Attempt | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        groups: Groups,
        kind: str,
        bits: int,
        shift: int,
        balanced: bool = False,
        size: float = math.inf,
    ) -> _Attempt:
        """With as many more bits as the closing weights need, in whose multiples columns are then rounded."""
        units = closing_units(problem)
        if units is not None:
            bits += (max(units) - 1).bit_length()
        exponents = _exponents(problem, groups, bits, balanced, size)
        return cls(problem, groups, kind, exponents, bits, shift, units, balanced, size)

    def closed_by(self, weight: float) -> _Attempt:
        """An attempt at V whose columns are those of N U of this one, in as many more bits as a weight λ_b asks for.

        Rounded by a unit each, the entries of U1 are off by up to 2^{−bits} Σ σ_l, own ones by K times that.
        """
        problem, K = self.problem, self.problem.num_classes
        size = 3.0 * math.log2(K) + 2.0 * math.log2(float(problem.sigma.sum())) + _PRICE_BITS
        more = max(math.ceil((size - math.log2(weight)) / 2.0) - self.bits, 0)
        shift = min(2 * more, _MOST_SHIFT)
        outer = _Attempt.of(problem, self.groups, self.kind, self.bits + more, shift, size=self.size)
        return replace(outer, closed=self)

    def without_factor(self, V: FloatArray, own_entries: FloatArray, margin: float) -> BlockProof | None:
        """C = 0; τ cancels what is negative between alike classes, and nothing else."""
        m = self.groups.multiplicities.tolist()
        proof = self.rounded(V, own_entries, margin)
        columns, own = proof.columns, proof.own_entries(m)
        multiplier = None
        if max(m) > 1:
            multiplier = [[0] * (g + 1) for g in range(len(m))]
            for g, column in enumerate(columns):
                rest = sum(m[h] * x * x for h, x in enumerate(column) if h != g)
                between = rest + 2 * own[g] * column[g] + (m[g] - 2) * column[g] ** 2
                multiplier[g][g] = max(-(between >> self.shift), 0) if m[g] > 1 else 0
        return self._checked(replace(proof, multiplier=multiplier))

    def with_factor(self, V: FloatArray, own_entries: FloatArray, T: FloatArray, margin: float) -> BlockProof | None:
        """C from a binary64 Cholesky factorisation of S less half the margin."""
        multiplier = self._multiplier(T) if self.problem.nonnegative else None
        bare = replace(self.rounded(V, own_entries, margin), multiplier=multiplier)
        normalised = self._normalised(bare)
        # a share of D, but for columns with exponents of their own and of the size of D, which then is about I
        radii = self._scaled_radii()
        bought = radii if self.balanced or radii.max() > _MOST_RADIUS else np.ones(len(bare.columns))
        try:
            factor = np.linalg.cholesky(normalised - 0.5 * margin * np.diag(bought))
        except np.linalg.LinAlgError:
            return None
        integers = np.rint(np.ldexp(factor, self.bits)).tolist()
        lower = [[int(entry) for entry in row[: g + 1]] for g, row in enumerate(integers)]
        return self._checked(replace(bare, factor=lower))

    def rounded(self, V: FloatArray, own_entries: FloatArray, margin: float) -> BlockProof:
        """The point in integers, without multiplier and factor; own entries close the columns where they must."""
        if self.closed is not None:
            return self._rounded_again(self.closed.rounded(V, own_entries, margin))
        scales = self.groups.weights * self.groups.counts if self.balanced else np.ones(len(self.exponents))
        columns = np.ldexp(V * scales, -np.array(self.exponents)).T
        units = self.units or [1] * len(self.exponents)
        closing = len(set(units)) > 1
        # v = a∘w with Σ w = 0: the w are rounded, and one class is one group since the weights tell classes apart
        integers = _inward(columns / np.array(units, dtype=np.float64) if closing else columns)
        own = None if self.units else _inward(np.ldexp(own_entries * scales, -np.array(self.exponents)))
        if self.balanced:
            integers, own = balance(integers, own)
        if closing:
            own = [units[k] * (column[k] - sum(column)) for k, column in enumerate(integers)]
            integers = [[unit * w for unit, w in zip(units, column, strict=True)] for column in integers]
        return BlockProof(
            self.kind, self.exponents, integers, None, self.shift, None, margin, own, balanced=self.balanced
        )

    def _rounded_again(self, closed: BlockProof) -> BlockProof:
        """Columns of V from those of N U, towards zero and so inside the domain."""
        tied, units = self.units is not None, self.units or [1] * len(self.exponents)
        columns: list[list[int]] = []
        own: list[int] | None = None if closed.own is None else []
        pairs = zip(closed.exponents, self.exponents, _shares(self.groups), strict=True)
        for k, (before, after, share) in enumerate(pairs):
            ratio = Fraction(2) ** (before - after) / share
            columns.append([unit * int(x // unit * ratio) for x, unit in zip(closed.columns[k], units, strict=True)])
            if own is not None and closed.own is not None:
                others = sum(x // unit for x, unit in zip(columns[k], units, strict=True))
                own.append(-units[k] * others if tied else int(closed.own[k] * ratio))
        return replace(closed, exponents=self.exponents, columns=columns, own=own, shift=self.shift, balanced=False)

    def _multiplier(self, T: FloatArray) -> list[list[int]]:
        """The lower triangle of τ, rounded towards zero and so still ≥ 0."""
        exponents = np.array(self.exponents)
        scaled = np.ldexp(np.maximum(T, 0.0), -(exponents[:, None] + exponents + self.shift))
        return [[int(entry) for entry in row[: g + 1]] for g, row in enumerate(scaled.tolist())]

    def _normalised(self, proof: BlockProof) -> FloatArray:
        """S over 4^bits in binary64: a hint for the factor."""
        m = self.groups.multiplicities
        rows = np.ldexp(np.array(_summed(proof, m.tolist()), dtype=np.float64), -self.bits)
        S = -(rows * m.astype(np.float64)) @ rows.T
        if proof.multiplier is not None:
            tau = np.zeros_like(S)
            for g, row in enumerate(proof.multiplier):
                tau[g, : g + 1] = np.ldexp(np.array(row, dtype=np.float64), proof.shift - 2 * self.bits)
            pairs = (np.outer(m, m) - np.diag(m)).astype(np.float64)
            S -= (tau + np.tril(tau, -1).T) * pairs
        normalised: FloatArray = S + np.diag(self._scaled_radii())
        return normalised

    def _scaled_radii(self) -> FloatArray:
        """K_g ρ_g over 4^bits, (G,)."""
        radii: FloatArray = np.array([float(Fraction(r, 4**self.bits)) for r in self.radii()])
        return radii * self.groups.multiplicities

    def radii(self) -> list[int]:
        """⌊ρ_g⌋."""
        problem = self.problem
        product = fraction(problem.lambda_w) * fraction(problem.lambda_h) * problem.num_samples**2
        shares = [Fraction(1)] * self.groups.size if self.balanced else _shares(self.groups)
        classes = zip(self.groups.counts.tolist(), shares, self.exponents, strict=True)
        return [int(product * Fraction(4) ** -e * n / share**2) for n, share, e in classes]

    def _checked(self, proof: BlockProof) -> BlockProof | None:
        """The proof if it holds, in integers."""
        from flint import fmpz_mat

        m, radii = self.groups.multiplicities.tolist(), self.radii()
        rows = _summed(proof, m)
        summed = fmpz_mat(rows)
        alone = proof.multiplier is None and max(m) == 1
        weighted = summed if alone else fmpz_mat([[w * x for w, x in zip(m, row, strict=True)] for row in rows])
        gram: fmpz_mat = weighted * summed.transpose()
        if proof.factor is not None:
            factor = fmpz_mat([row + [0] * (len(rows) - len(row)) for row in proof.factor])
            gram += factor * factor.transpose()
        own = proof.own_entries(m)
        for g, entries in enumerate(gram.tolist()):
            if alone and self.problem.nonnegative:
                # the general case below with τ = 0 and m = 1, which is most of the time of a large proof
                if radii[g] < int(entries[g]) + sum(int(e) for h, e in enumerate(entries) if e > 0 and h != g):
                    return None
                continue
            tau = _multiplier_row(proof, g)
            remainder = [-int(entry) - m[g] * m[h] * tau[h] for h, entry in enumerate(entries)]
            deficits = (max(-e, 0) if self.problem.nonnegative else abs(e) for h, e in enumerate(remainder) if h != g)
            if remainder[g] + m[g] * (radii[g] + tau[g]) < sum(deficits):
                return None
            if m[g] > 1 and (own[g] - proof.columns[g][g]) ** 2 > radii[g] + tau[g]:
                return None
        return proof


def closing_units(problem: Problem) -> list[int] | None:
    """The closing weights of the loss in lowest terms, (K,); None where no equation ties the entries of a residual."""
    weights = problem.loss.closing_weights(problem.num_classes)
    if weights is None:
        return None
    exact = ExactVector.of_floats(weights)
    divisor = math.gcd(*exact.integers)
    return [integer // divisor for integer in exact.integers]


def _shares(groups: Groups) -> list[Fraction]:
    """ω_g n_g, exactly: N u = ω n v."""
    return [fraction(w) * n for w, n in zip(groups.weights.tolist(), groups.counts.tolist(), strict=True)]


def _exponents(problem: Problem, groups: Groups, bits: int, balanced: bool, size: float) -> list[int]:
    """e_g for which m_g ρ_g lies in [4^bits, 4^{bits + 1}), up to rounding; if balanced, one for the smallest.

    Where decays are so heavy that ρ leaves room for more than V itself, whose entries are at most ``size``, that is
    the measure.
    """
    logs = np.log2(problem.lambda_w) + np.log2(problem.lambda_h) + 2.0 * np.log2(problem.num_samples)
    if balanced:
        logs = np.full(groups.size, (logs + np.log2(groups.counts)).min())
    else:
        logs = logs + np.log2(groups.multiplicities) - 2.0 * np.log2(groups.weights) - np.log2(groups.counts)
    shares = groups.weights * groups.counts if balanced else np.ones(1)
    most = 2.0 * np.log2(size * shares.max())
    exponents: list[int] = (np.floor(np.minimum(logs, most) / 2.0).astype(np.int64) - bits).tolist()
    return exponents


def _inward(scaled: FloatArray) -> Any:
    """Integers nearest to the entries; negative ones upwards, so that none leaves the conjugate's domain downwards."""
    rounded = np.where(scaled < 0.0, np.ceil(scaled), np.rint(scaled)).tolist()
    return [[int(entry) for entry in row] if isinstance(row, list) else int(row) for row in rounded]


def _summed(proof: BlockProof, multiplicities: list[int]) -> list[list[int]]:
    """Rows X E: the sum of the columns of each group, one entry a group of rows."""
    own = proof.own_entries(multiplicities)
    rows = []
    for g, column in enumerate(proof.columns):
        m = multiplicities[g]
        row = [m * entry for entry in column]
        row[g] = own[g] + (m - 1) * column[g]
        rows.append(row)
    return rows


def _multiplier_row(proof: BlockProof, g: int) -> list[int]:
    """Row g of τ, both triangles."""
    size = len(proof.columns)
    if proof.multiplier is None:
        return [0] * size
    return [proof.multiplier[max(g, h)][min(g, h)] << proof.shift for h in range(size)]
