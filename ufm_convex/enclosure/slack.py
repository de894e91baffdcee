"""Slack proofs: that a rounded dual point is feasible, shown in exact integer arithmetic.

A dual point that is alike on alike columns is a matrix of C columns of R entries v_jk, j not the own output of k, and
own entries that are minus the column sums; a loss whose residuals sum to no constant has own entries that are given.
Column k is rounded to integers x_jk with its own exponent e_k. In the scale where T_kl stands for
pt_k pt_l 2^{e_k + e_l} τ_kl, the slack
R = D − UᵀU − T becomes the integer matrix

    M = Diag(⌊ρ_k⌋) − XᵀX − τ,        ρ_k = 4^{−e_k} λ_W λ_H N² / (ω_k² n_k),

which is invariant under permutations of alike columns. It is positive semidefinite iff, for each orbit g of m_g ≥ 2
columns, (x_own − x_other)² ≤ ⌊ρ_g⌋ + τ_gg, and the (C, C) matrix S = EᵀME is, where the columns of E are the indicator
vectors of the orbits. S ⪰ 0 is proved by an integer matrix F for which S − F Fᵀ is dominated by its diagonal; where
features are non-negative, positive off-diagonal entries of it do not count, since T may absorb them
(docs/slack_proofs.md, section 4.2). Single orbits give the general dense proof, F = 0 the proof that all off-diagonal
entries of G are ≤ 0. Outputs that no column is matched with are further rows of X, and nothing else.

With a free bias the columns of U have to sum to zero exactly. They are then rounded as those of N U, with one exponent
e, so that T_kl stands for 4^e τ_kl / N² and ρ_k = 4^{−e} λ_W λ_H N² n_k, and ``balance`` closes the sums through the
columns of one orbit, the hub; others are rounded to multiples of how many it has, and the bits for that are added. A
bias that costs next to nothing has a price for sums, not a ban: its columns are closed likewise, and then rounded again
as those of V, as for every penalty, with so many bits that the price of what is left of the sums vanishes.

The margin for rounding is bought by scaling V by s and T by s², s² = 1 − margin: if R ⪰ 0, the new slack is at least
(1 − s²) D. Nothing here trusts an eigenvalue or a Cholesky factorisation; they only suggest what is then checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import fraction
from ufm_convex.enclosure import fast, short
from ufm_convex.enclosure.balance import balance, own_of
from ufm_convex.enclosure.block_dual import BlockDual, loads_of, orbit_sums
from ufm_convex.enclosure.columns import ExactColumns
from ufm_convex.relaxation import Alike

if TYPE_CHECKING:
    from flint import fmpz_mat

_FINE, _COARSE = 72, 40
"""Bits of √ρ. With 40, products are exact in binary64 when each integer is split in two: the verifier's fast path."""
_COARSE_SHIFT = 42
TINY_MARGIN = 2.0**-46
"""Bought at least, before the proof without a factor: more than the repair's rounding, far less than a tolerance."""
LARGEST_MARGIN = 0.1
_MOST_RADIUS = 5.0
"""Radii that a column's own exponent scales lie in [1, 4), up to rounding; beyond, V was the measure."""
_PRICE_BITS, _MOST_SHIFT = 120, 256
"""The sums of a faint bias may cost 2^-120 of one unit of loss; certificates shift multipliers by at most 2^256."""
_ROOM = 4.0
"""How many times what closes the sums is bought: twice since lengths are squared, and as much again for products."""
_MARGIN_STEP = 16.0
_NOISE = 0.5
"""Rounding X by less than a unit moves a row of XᵀX by so many units a column, over √ρ: 0.44 where own entries rule."""
_WORD = 2.0**62
"""Integers below it fit into 64 bits, from which lists are made at once."""


def prove(
    columns: ExactColumns, kind: str, V: Alike, multiplier: Callable[[], FloatArray], *, coarse: bool = False
) -> BlockDual | None:
    """The dual point near V and T that is feasible by an exact proof; None when no margin up to 0.1 suffices.

    Args:
        columns: The columns.
        kind: What the proof is called.
        V: Residuals that are feasible up to rounding.
        multiplier: Makes T over the weights of its two columns in the loss, the entries at two different columns of
            orbits g and h, (C, C); called where a factor is needed.
        coarse: Whether to round to the fewer bits of a large proof, unless sums have to be zero.
    """
    balanced = columns.bias.needs_balance
    coarse = coarse and not balanced
    bits, shift = (_COARSE, _COARSE_SHIFT) if coarse else (_FINE, 0)
    own, others = columns.own_and_others(V)
    size = max(1.0, float(np.abs(others).max()), float(np.abs(own).max()))
    attempt = _Attempt.of(columns, kind, bits, shift, balanced, size)
    if balanced and columns.bias.curvature:
        attempt = attempt.closed_by(columns.bias.curvature)
    tiny = max(TINY_MARGIN, columns.num_outputs * 2.0 ** (1 - bits), attempt.growth(others, own))
    if tiny > LARGEST_MARGIN:
        return None
    if columns.nonnegative and (
        found := attempt.without_factor(others * math.sqrt(1.0 - tiny), own * math.sqrt(1.0 - tiny), tiny)
    ):
        return found
    T = multiplier()
    margin = max(64.0 * columns.size * max(math.sqrt(columns.size) * 2.0**-53, 2.0 ** -(bits + 6)), tiny)
    while margin <= LARGEST_MARGIN:
        s = math.sqrt(1.0 - margin)
        found = attempt.with_factor(others * s, own * s, T * (1.0 - margin), margin)
        if found is not None:
            return found
        margin *= _MARGIN_STEP
    return None


def shorten(columns: ExactColumns, proof: BlockDual, margin: float) -> BlockDual | None:
    """The point √(1 − margin) V in as few bits as a proof by rows allows; None where these are no fewer.

    Args:
        columns: Single columns, as many outputs, no bias.
        proof: A proof of single columns for a loss whose columns sum to zero.
        margin: The share of D that may be given up.
    """
    size = columns.size
    single = columns.kind == "dense" and columns.places == list(range(columns.outputs.size))
    if not single or columns.bias.size or set(columns.closing_units or [0]) != {1}:
        return None
    fewest = math.ceil(math.log2(_NOISE * size / margin))
    exponents = np.array(proof.exponents)
    V = np.ldexp(np.array(proof.columns, dtype=np.float64), exponents[:, None])
    T = np.zeros((size, size))
    for g, row in enumerate(proof.multiplier or ()):
        T[g, : g + 1] = np.ldexp(np.array(row, dtype=np.float64), proof.shift + exponents[g] + exponents[: g + 1])
    T += np.tril(T, -1).T
    for bits in range(fewest, min(fewest + 2, _COARSE)):
        shift = max(math.floor(2 * bits + math.log2(margin / (8.0 * size))), 0)
        found = _Attempt.of(columns, proof.kind, bits, shift).in_few_bits(V, T, margin)
        if found is not None:
            return found
    return None


def shrunk(columns: ExactColumns, kind: str, V: Alike, margin: float) -> tuple[BlockDual, list[list[int]]]:
    """The point √(1 − margin) V in integers, with nothing proved, and its slack Diag(⌊ρ⌋) − XᵀX.

    Args:
        columns: Single columns.
        kind: What the proof is called.
        V: The residuals.
        margin: The share of D that is given up.

    Returns:
        The point, and the slack, which is no larger than D − UᵀU in the proof's scale; C rows of C integers.
    """
    from flint import fmpz_mat

    attempt = _Attempt.of(columns, kind, _FINE, 0)
    own, others = columns.own_and_others(V)
    s = math.sqrt(1.0 - margin)
    proof = attempt.rounded(others * s, own * s, margin)
    summed = fmpz_mat(orbit_sums(proof, columns, proof.own_entries(columns)))
    gram = summed * summed.transpose()
    rows = [[-int(entry) for entry in row] for row in gram.tolist()]
    for k, radius in enumerate(attempt.radii):
        rows[k][k] += radius
    return proof, rows


@dataclass(frozen=True, eq=False)
class _Attempt:
    """What all attempts at one dual point share."""

    columns: ExactColumns
    kind: str
    exponents: list[int]
    bits: int
    shift: int
    balanced: bool
    size: float
    hub: int = 0
    closed: _Attempt | None = None

    @classmethod
    def of(
        cls, columns: ExactColumns, kind: str, bits: int, shift: int, balanced: bool = False, size: float = math.inf
    ) -> _Attempt:
        """With as many more bits as the closing weights and the hub need, in whose multiples columns are rounded."""
        units = columns.closing_units
        if units is not None:
            bits += (max(units) - 1).bit_length()
        hub = 0
        if balanced:  # what it is off is spread over its columns, and next to nothing beside long ones
            hub = int(np.argmax(columns.multiplicities * np.sqrt(columns.counts)))
            bits += (int(columns.multiplicities[hub]) - 1).bit_length()
        return cls(columns, kind, _exponents(columns, bits, balanced, size), bits, shift, balanced, size, hub)

    def closed_by(self, weight: float) -> _Attempt:
        """An attempt at V whose columns are those of N U of this one, in as many more bits as a weight λ_b asks for.

        Rounded by a unit each, the entries of U1 are off by up to 2^{−bits} Σ σ_l, own ones by V times that.
        """
        given = self.columns
        lengths = math.log2(given.multiplicities @ np.sqrt(given.counts))
        size = 3.0 * math.log2(given.num_outputs) + 2.0 * lengths + _PRICE_BITS
        size += math.log2(given.lambda_w) + math.log2(given.lambda_h)
        more = max(math.ceil((size - math.log2(weight)) / 2.0) - self.bits, 0)
        shift = min(2 * more, _MOST_SHIFT)
        outer = _Attempt.of(given, self.kind, self.bits + more, shift, size=self.size)
        return replace(outer, closed=self)

    def without_factor(self, V: FloatArray, own_entries: FloatArray, margin: float) -> BlockDual | None:
        """F = 0; τ cancels what is negative between alike columns, and nothing else."""
        m, outputs = self.columns.multiplicities.tolist(), self.columns.output_sizes
        proof = self.rounded(V, own_entries, margin)
        own, multiplier = proof.own_entries(self.columns), None
        if max(m) > 1:
            multiplier = [[0] * (g + 1) for g in range(len(m))]
            for g, (column, home) in enumerate(zip(proof.columns, self.columns.places, strict=True)):
                rest = sum(n * x * x for h, (n, x) in enumerate(zip(outputs, column, strict=True)) if h != home)
                between = rest + 2 * own[g] * column[home] + (m[g] - 2) * column[home] ** 2
                multiplier[g][g] = max(-(between >> self.shift), 0) if m[g] > 1 else 0
        return self._checked(replace(proof, multiplier=multiplier))

    def with_factor(self, V: FloatArray, own_entries: FloatArray, T: FloatArray, margin: float) -> BlockDual | None:
        """F from a binary64 Cholesky factorisation of S less half the margin."""
        multiplier = self._multiplier(T) if self.columns.nonnegative else None
        bare = replace(self.rounded(V, own_entries, margin), multiplier=multiplier)
        normalised = self._normalised(bare)
        # a share of D, but for columns with exponents of their own and of the size of D, which then is about I
        radii = self._scaled_radii
        bought = radii if self.balanced or radii.max() > _MOST_RADIUS else np.ones(len(bare.columns))
        try:
            factor = np.linalg.cholesky(normalised - 0.5 * margin * np.diag(bought))
        except np.linalg.LinAlgError:
            return None
        return self._checked(replace(bare, factor=self._triangle(factor)))

    def in_few_bits(self, V: FloatArray, T: FloatArray, margin: float) -> BlockDual | None:
        """Row k of V in integers that keep its sum, and F of few columns where these suffice."""
        scaled = np.ldexp(V * math.sqrt(1.0 - margin), -np.array(self.exponents)[:, None])
        integers = short.keeping_sums(scaled).astype(np.int64).tolist()
        multiplier = self._multiplier(T * (1.0 - margin)) if self.columns.nonnegative else None
        bare = BlockDual(self.kind, self.exponents, integers, multiplier, self.shift, None, margin)
        if self.columns.nonnegative and not T.any():
            return self._checked(replace(bare, multiplier=None))
        normalised, bought = self._normalised(bare), margin * self._scaled_radii
        factor = short.low_rank_factor(normalised, bought, self.columns.nonnegative)
        if factor is None:
            try:
                factor = np.asarray(np.linalg.cholesky(normalised - 0.5 * np.diag(bought)), dtype=np.float64)
            except np.linalg.LinAlgError:
                return None
        return self._checked(replace(bare, factor=self._triangle(factor)))

    def _triangle(self, factor: Any) -> list[list[int]]:
        """The lower triangle, or trapezoid, in integers."""
        full = np.zeros((len(factor), len(factor)))
        full[:, : factor.shape[1]] = np.rint(np.ldexp(factor, self.bits))
        return [[int(entry) for entry in row[: g + 1]] for g, row in enumerate(full.tolist())]

    def rounded(self, V: FloatArray, own_entries: FloatArray, margin: float) -> BlockDual:
        """The point in integers, without multiplier and factor; own entries close the columns where they must."""
        if self.closed is not None:
            return self._rounded_again(self.closed.rounded(V, own_entries, margin))
        given, units = self.columns, self._closing
        integers, own = self._near(V, own_entries)
        if self.balanced:
            integers, own = self._closed(integers, own)
        if len(set(units)) > 1:
            sums = own_of(integers, given.places, given.output_sizes)
            own = [units[place] * entry for place, entry in zip(given.places, sums, strict=True)]
            integers = [[unit * w for unit, w in zip(units, column, strict=True)] for column in integers]
        return BlockDual(
            self.kind, self.exponents, integers, None, self.shift, None, margin, own, balanced=self.balanced
        )

    def _rounded_again(self, closed: BlockDual) -> BlockDual:
        """Columns of V from those of N U, towards zero and so inside the domain."""
        given, units = self.columns, self._closing
        pairs = zip(closed.exponents, self.exponents, loads_of(given), strict=True)
        ratios = [Fraction(2) ** (before - after) / load for before, after, load in pairs]
        multiples = [
            [int(x // unit * ratio) for x, unit in zip(column, units, strict=True)]
            for column, ratio in zip(closed.columns, ratios, strict=True)
        ]
        own = closed.own
        if own is not None and given.closing_units is not None:
            sums = own_of(multiples, given.places, given.output_sizes)
            own = [units[place] * entry for place, entry in zip(given.places, sums, strict=True)]
        elif own is not None:
            own = [int(entry * ratio) for entry, ratio in zip(own, ratios, strict=True)]
        columns = [[unit * w for unit, w in zip(units, column, strict=True)] for column in multiples]
        return replace(closed, exponents=self.exponents, columns=columns, own=own, shift=self.shift, balanced=False)

    def growth(self, V: FloatArray, own_entries: FloatArray) -> float:
        """A margin that makes room for what closing the sums adds; the ends of domains are about 1, 0 apart."""
        if self.closed is not None:
            return self.closed.growth(V, own_entries)
        if not self.balanced:
            return 0.0
        given = self.columns
        near = self._near(V, own_entries)
        (integers, _), (changed, _) = pairs = near, self._closed(*near)
        before, after = (own_of(x, given.places, given.output_sizes) if own is None else own for x, own in pairs)
        shares = [(a - b) / abs(a) for a, b in zip(before, after, strict=True) if a > b and a]
        scales = np.ldexp(1.0 / (given.weights * given.counts), np.array(self.exponents)).tolist()
        gains = [
            float(max(b - a for a, b in zip(x, y, strict=True))) * scale
            for x, y, scale in zip(integers, changed, scales, strict=True)
        ]
        return _ROOM * max([*shares, *gains])

    @property
    def _closing(self) -> list[int]:
        return self.columns.closing_units or [1] * self.columns.outputs.size

    def _near(self, V: FloatArray, own_entries: FloatArray) -> tuple[list[list[int]], list[int] | None]:
        """Integers near the columns over the closing weights, and near own entries if nothing ties them."""
        given = self.columns
        scales = given.weights * given.counts if self.balanced else np.ones(given.size)
        columns = np.ldexp(V * scales, -np.array(self.exponents)).T
        units = self._closing
        # v = a∘w with Σ w = 0: the w are rounded, and one class is one orbit since the weights tell classes apart
        integers = self._multiples(columns / np.array(units, dtype=np.float64) if len(set(units)) > 1 else columns)
        tied = given.closing_units is not None
        return integers, None if tied else _inward(np.ldexp(own_entries * scales, -np.array(self.exponents)))

    def _closed(self, integers: list[list[int]], own: list[int] | None) -> tuple[list[list[int]], list[int] | None]:
        given = self.columns
        return balance(integers, own, given.places, given.multiplicities.tolist(), given.output_sizes, self.hub)

    def _multiples(self, columns: FloatArray) -> list[list[int]]:
        """Integers near the entries, multiples of how many columns the hub has in all columns but its own."""
        step = int(self.columns.multiplicities[self.hub]) if self.balanced else 1
        if step == 1:
            return list(_inward(columns))
        whole, hub = _inward(columns / step), _inward(columns[self.hub])
        return [hub if j == self.hub else [step * x for x in column] for j, column in enumerate(whole)]

    def _multiplier(self, T: FloatArray) -> list[list[int]]:
        """The lower triangle of τ, rounded towards zero and so still ≥ 0."""
        exponents = np.array(self.exponents)
        scaled = np.ldexp(np.maximum(T, 0.0), -(exponents[:, None] + exponents + self.shift))
        return [[int(entry) for entry in row[: g + 1]] for g, row in enumerate(scaled.tolist())]

    def _normalised(self, proof: BlockDual) -> FloatArray:
        """S over 4^bits in binary64: a hint for the factor."""
        m, outputs = self.columns.multiplicities, np.array(self.columns.output_sizes, dtype=np.float64)
        summed = orbit_sums(proof, self.columns, proof.own_entries(self.columns))
        rows = np.ldexp(np.array(summed, dtype=np.float64), -self.bits)
        S = -(rows * outputs) @ rows.T
        if proof.multiplier is not None:
            tau = np.zeros_like(S)
            for g, row in enumerate(proof.multiplier):
                tau[g, : g + 1] = np.ldexp(np.array(row, dtype=np.float64), proof.shift - 2 * self.bits)
            pairs = (np.outer(m, m) - np.diag(m)).astype(np.float64)
            S -= (tau + np.tril(tau, -1).T) * pairs
        normalised: FloatArray = S + np.diag(self._scaled_radii)
        return normalised

    @cached_property
    def _scaled_radii(self) -> FloatArray:
        """m_g ρ_g over 4^bits, (C,)."""
        radii: FloatArray = np.array([float(Fraction(r, 4**self.bits)) for r in self.radii])
        return radii * self.columns.multiplicities

    @cached_property
    def radii(self) -> list[int]:
        """⌊ρ_g⌋."""
        given = self.columns
        product = fraction(given.lambda_w) * fraction(given.lambda_h) * given.num_samples**2
        shares = [Fraction(1)] * given.size if self.balanced else loads_of(given)
        columns = zip(given.counts.tolist(), shares, self.exponents, strict=True)
        return [int(product * Fraction(4) ** -e * n / share**2) for n, share, e in columns]

    def _checked(self, proof: BlockDual) -> BlockDual | None:
        """The proof if it holds: in binary64 where that decides it, else in integers."""
        from flint import fmpz_mat

        given, radii = self.columns, self.radii
        if fast.dominates(given, proof, radii):
            return proof
        m, own = given.multiplicities.tolist(), proof.own_entries(given)
        rows = orbit_sums(proof, given, own)
        summed = fmpz_mat(rows)
        alone = proof.multiplier is None and max(m) == 1
        weighted = summed
        if max(given.output_sizes) > 1:
            weighted = fmpz_mat([[n * x for n, x in zip(given.output_sizes, row, strict=True)] for row in rows])
        gram: fmpz_mat = weighted * summed.transpose()
        if proof.factor is not None:
            factor = fmpz_mat([row + [0] * (len(rows) - len(row)) for row in proof.factor])
            gram += factor * factor.transpose()
        for g, entries in enumerate(gram.tolist()):
            if alone and given.nonnegative:
                # the general case below with τ = 0 and m = 1, which is most of the time of a large proof
                if radii[g] < int(entries[g]) + sum(int(e) for h, e in enumerate(entries) if e > 0 and h != g):
                    return None
                continue
            tau = _multiplier_row(proof, g)
            remainder = [-int(entry) - m[g] * m[h] * tau[h] for h, entry in enumerate(entries)]
            deficits = (max(-e, 0) if given.nonnegative else abs(e) for h, e in enumerate(remainder) if h != g)
            if remainder[g] + m[g] * (radii[g] + tau[g]) < sum(deficits):
                return None
            if m[g] > 1 and (own[g] - proof.columns[g][given.places[g]]) ** 2 > radii[g] + tau[g]:
                return None
        return proof


def _exponents(columns: ExactColumns, bits: int, balanced: bool, size: float) -> list[int]:
    """e_g for which m_g ρ_g lies in [4^bits, 4^{bits + 1}), up to rounding; if balanced, one for the smallest.

    Where decays are so heavy that ρ leaves room for more than V itself, whose entries are at most ``size``, that is
    the measure.
    """
    logs = np.log2(columns.lambda_w) + np.log2(columns.lambda_h) + 2.0 * np.log2(columns.num_samples)
    if balanced:
        logs = np.full(columns.size, (logs + np.log2(columns.counts)).min())
    else:
        logs = logs + np.log2(columns.multiplicities) - 2.0 * np.log2(columns.weights) - np.log2(columns.counts)
    shares = columns.weights * columns.counts if balanced else np.ones(1)
    most = 2.0 * np.log2(size * shares.max())
    exponents: list[int] = (np.floor(np.minimum(logs, most) / 2.0).astype(np.int64) - bits).tolist()
    return exponents


def _inward(scaled: FloatArray) -> Any:
    """Integers nearest to the entries; negative ones upwards, so that none leaves the conjugate's domain downwards."""
    nearest = np.where(scaled < 0.0, np.ceil(scaled), np.rint(scaled))
    if nearest.size and float(np.abs(nearest).max()) < _WORD:
        return nearest.astype(np.int64).tolist()
    rounded = nearest.tolist()
    return [[int(entry) for entry in row] if isinstance(row, list) else int(row) for row in rounded]


def _multiplier_row(proof: BlockDual, g: int) -> list[int]:
    """Row g of τ, both triangles."""
    size = len(proof.columns)
    if proof.multiplier is None:
        return [0] * size
    return [proof.multiplier[max(g, h)][min(g, h)] << proof.shift for h in range(size)]
