"""The losses of docs/certificate_losses.md, section 3.4, once more, naively: full columns, fractions, mpmath intervals.

``value(z, k)`` takes K interval logits; ``conjugate(v, k)`` takes K fractions and is None outside the domain.
"""

from __future__ import annotations

import math
from fractions import Fraction

from mpmath import iv


def interval(fraction):
    return iv.mpf(Fraction(fraction).numerator) / iv.mpf(Fraction(fraction).denominator)


def larger(first, second):
    return iv.mpf([max(first.a, second.a), max(first.b, second.b)])


def entropy(probabilities):
    return -sum((interval(p) * iv.log(interval(p)) for p in probabilities if p), iv.mpf(0))


class Softmax:
    """Targets, scales and shifts of each class: cross-entropy in all its forms."""

    alike, tied = True, True

    def __init__(self, targets, scale, shift):
        self.targets, self.scale, self.shift = targets, scale, shift

    def value(self, z, k):
        x = [interval(a) * entry + interval(b) for a, entry, b in zip(self.scale, z, self.shift, strict=True)]
        total = sum((iv.exp(entry - x[k]) for entry in x), iv.mpf(0))
        return iv.log(total) - sum(
            (interval(y) * (e - x[k]) for y, e in zip(self.targets[k], x, strict=True)), iv.mpf(0)
        )

    def conjugate(self, v, k):
        p = [entry / a + y for entry, a, y in zip(v, self.scale, self.targets[k], strict=True)]
        if sum(p) != 1 or min(p) < 0:
            return None
        moved = sum((q - y) * b for q, y, b in zip(p, self.targets[k], self.shift, strict=True))
        return -entropy(p) - interval(moved)


class Hinge:
    alike, tied, scale = True, True, None

    def __init__(self, joint):
        self.joint = joint

    def value(self, z, k):
        hinges = [larger(1 + entry - z[k], iv.mpf(0)) for j, entry in enumerate(z) if j != k]
        total = hinges[0]
        for hinge in hinges[1:]:
            total = larger(total, hinge) if self.joint else total + hinge
        return total

    def conjugate(self, v, k):
        others = [entry for j, entry in enumerate(v) if j != k]
        inside = min(others) >= 0 and sum(v) == 0 and (sum(others) <= 1 if self.joint else max(others) <= 1)
        return interval(v[k]) if inside else None


class SquaredHinge:
    alike, tied, scale = True, True, None

    def value(self, z, k):
        hinges = [larger(1 + entry - z[k], iv.mpf(0)) for j, entry in enumerate(z) if j != k]
        return sum((hinge * hinge for hinge in hinges), iv.mpf(0)) / 2

    def conjugate(self, v, k):
        others = [entry for j, entry in enumerate(v) if j != k]
        if min(others) < 0 or sum(v) != 0:
            return None
        return interval(sum((entry * entry / 2 - entry for entry in others), Fraction(0)))


class LabelMargins(Softmax):
    """Cross-entropy with the own logit lowered."""

    def __init__(self, targets, ones, margins):
        super().__init__(targets, ones, [Fraction(0)] * len(margins))
        self.margins = margins

    def value(self, z, k):
        return super().value([entry - interval(self.margins[k]) * (j == k) for j, entry in enumerate(z)], k)

    def conjugate(self, v, k):
        plain = super().conjugate(v, k)
        return None if plain is None else plain + interval(self.margins[k] * v[k])


class Margins:
    tied = True

    def __init__(self, margins, scale, alike):
        self.margins, self.scale, self.alike = margins, scale, alike

    def value(self, z, k):
        a = self.scale or [Fraction(1)] * len(z)
        gaps = [
            interval(a[k]) * z[k] - interval(a[j]) * z[j] - interval(self.margins[k][j])
            for j in range(len(z))
            if j != k
        ]
        if any(gap.b < 0 for gap in gaps):
            return iv.mpf("inf")
        return iv.mpf(0) if all(gap.a >= 0 for gap in gaps) else iv.mpf(["0", "inf"])

    def conjugate(self, v, k):
        w = [entry / a for entry, a in zip(v, self.scale or [Fraction(1)] * len(v), strict=True)]
        if sum(w) != 0 or min(entry for j, entry in enumerate(w) if j != k) < 0:
            return None
        return -interval(sum(m * entry for j, (m, entry) in enumerate(zip(self.margins[k], w, strict=True)) if j != k))


class SquaredError:
    alike, tied, scale = True, False, None

    def value(self, z, k):
        return sum(((entry - (j == k)) ** 2 for j, entry in enumerate(z)), iv.mpf(0)) / 2

    def conjugate(self, v, k):
        return interval(sum(entry * entry for entry in v) / 2 + v[k])


class Sigmoids:
    alike, tied, scale = True, False, None

    def value(self, z, k):
        return sum((iv.log(1 + iv.exp(-entry if j == k else entry)) for j, entry in enumerate(z)), iv.mpf(0))

    def conjugate(self, v, k):
        p = [-entry if j == k else entry for j, entry in enumerate(v)]
        if min(p) < 0 or max(p) > 1:
            return None
        return -sum((entropy([q, 1 - q]) for q in p), iv.mpf(0))


def x_log_x(q):
    """Of a number >= 0 in an interval, which may reach below 0; it falls up to 1/e."""
    if q.a > 0:
        return q * iv.log(q)
    end = iv.mpf(q.b)
    return iv.mpf([(end * iv.log(end)).a, 0]) if 0 < end.b < 0.36 else iv.mpf(0) if end.b <= 0 else iv.mpf([-1, 1])


class Against:
    """Any of the three losses against rows of numbers; p is what a logit predicts."""

    def __init__(self, name, rows):
        self.name, self.rows, self.tied = name, rows, name.startswith("soft")
        self.alike, self.scale, self.shift = False, None, None

    def value(self, z, j):
        y = [interval(entry) for entry in self.rows[j]]
        if self.tied:
            return iv.log(sum((iv.exp(entry - z[0]) for entry in z), iv.mpf(0))) - sum(
                (t * (entry - z[0]) for t, entry in zip(y, z, strict=True)), iv.mpf(0)
            )
        pairs = list(zip(y, z, strict=True))
        if self.name.startswith("mean"):
            return sum(((entry - t) ** 2 for t, entry in pairs), iv.mpf(0)) / 2
        return sum((iv.log(1 + iv.exp(entry)) - t * entry for t, entry in pairs), iv.mpf(0))

    def conjugate(self, v, j):
        p = [entry + t for entry, t in zip(v, self.rows[j], strict=True)]
        if self.name.startswith("mean"):
            return interval(sum(entry * (entry / 2 + t) for entry, t in zip(v, self.rows[j], strict=True)))
        if min(p) < 0 or (sum(v) != 0 if self.tied else max(p) > 1):
            return None
        return -entropy(p if self.tied else [q for one in p for q in (one, 1 - one)])

    def predicted(self, z):
        if self.tied:
            powers = [iv.exp(entry - z[0]) for entry in z]
            return [power / sum(powers, iv.mpf(0)) for power in powers]
        return [1 / (1 + iv.exp(-entry)) if self.name.startswith("binary") else entry for entry in z]

    def conjugate_at(self, v, j):
        """The same of intervals that lie in the domain: v = s (p - y)."""
        y = [interval(entry) for entry in self.rows[j]]
        if self.name.startswith("mean"):
            return sum((entry * (entry / 2 + t) for entry, t in zip(v, y, strict=True)), iv.mpf(0))
        p = [entry + t for entry, t in zip(v, y, strict=True)]
        p = p if self.tied else [q for one in p for q in (one, 1 - one)]
        return sum(map(x_log_x, p), iv.mpf(0))


def table_rows(fields, m, numbers, vector):
    """The full rows of a table that is written entry by entry; None where a rule of section 3.7 is broken."""
    lengths, V = numbers(fields["lengths"]), fields["outputs"]
    places = numbers(fields["places"]) if fields["places"] is not None else []
    entries = vector(fields["entries"]) if fields["entries"] is not None else []
    rows, start = [], 0
    for length in lengths:
        row = [Fraction(0)] * V
        for place, entry in zip(places[start : start + length], entries[start : start + length], strict=True):
            row[place] = entry
        rows.append(row)
        start += length
    assert len(rows) == m
    return rows


def naive_loss(fields, K, vector, matrix, dyadic, numbers=None):
    """The loss of an object of the file; the readers of numbers are the caller's."""
    one_hot = [[Fraction(j == k) for j in range(K)] for k in range(K)]
    ones, zeros = [Fraction(1)] * K, [Fraction(0)] * K
    name = fields["name"]
    if "outputs" in fields.get("targets", ()):
        return Against(name, table_rows(fields["targets"], K, numbers, vector))
    if name == "cross-entropy":
        alpha = dyadic(fields["smoothing"])
        return Softmax([[(1 - alpha) * y + alpha / K for y in row] for row in one_hot], ones, zeros)
    if name == "multiclass-hinge":
        return Hinge(fields["kind"] == "crammer-singer")
    if name == "squared-hinge":
        return SquaredHinge()
    if name == "label-margin-cross-entropy":
        found = LabelMargins(one_hot, ones, vector(fields["margins"]))
        found.alike = False
        return found
    if name == "mean-squared-error":
        return SquaredError()
    if name == "binary-cross-entropy":
        return Sigmoids()
    if name == "hard-margin":
        given, scale = fields["margins"], None if fields["scale"] is None else vector(fields["scale"])
        if isinstance(given, str):
            margins = [[dyadic(given)] * K for _ in range(K)]
        else:
            margins = matrix(given) if "rows" in given else [[m] * K for m in vector(given)]
        return Margins(margins, scale, isinstance(given, str) and scale is None)
    loss = Softmax(one_hot, ones, zeros)
    loss.alike = False
    if name == "soft-target-cross-entropy":
        loss.targets = matrix(fields["targets"])
    else:
        loss.scale = ones if fields["scale"] is None else vector(fields["scale"])
        loss.shift = zeros if fields["shift"] is None else vector(fields["shift"])
    return loss


def in_lowest_terms(scale):
    """Integers without common divisor, in the ratios of the fractions."""
    common = math.lcm(*(a.denominator for a in scale))
    whole = [int(a * common) for a in scale]
    return [number // math.gcd(*whole) for number in whole]
