"""The losses: all that a proof has to know of each (docs/certificate_losses.md, section 3.4).

A loss is one entry of ``LOSSES``: its parameters, its value l_k and, on its domain, its conjugate l_k*. A loss whose
residuals are v = a∘w with Σ_j w_j = 0 says so by ``closed`` and ``scale``; its conjugate is stated in w, of which
certificates then leave out the own entry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from flint import arb, fmpq

from .reading import (
    MAX_BLOCKS,
    MalformedCertificate,
    Refuted,
    dyadic,
    exponent_of,
    fields_of,
    kind_of,
    rows_of,
    scaled,
    size_of,
    vector,
)

Number = TypeVar("Number", arb, fmpq)

_HALF = fmpq(1, 2)


class Column(NamedTuple, Generic[Number]):
    """Exact residual or enclosed logits of one class: the own entry, and the others with how many classes have them.

    For a loss that tells classes apart, ``place`` is the class, and the others come one a class, in class order.
    """

    place: int
    own: Number
    others: list[tuple[Number, int]]


class Loss(ABC):
    """Convex functions l_1 … l_K of K logits."""

    alike = True
    """Whether all classes are treated alike, by each other too: proofs may then speak of groups of classes."""
    closed = True
    """Whether w sums to zero on the domain; else all entries are free, and the own ones are given."""
    scale: list[fmpq] | None = None
    """The a > 0, one a class, where they are not 1."""
    bits = 0
    """Of its longest parameter, as a rational number."""
    tabled = False
    """Whether a table gives each column its target, and columns need not be classes: ``tables``."""
    outputs: int | None = None
    """V, where it is not the number of columns."""
    streamed = False
    """Whether binary64 decides about many logits (section 7.3); else balls are given more time."""
    neutral: ClassVar[dict[str, str]] = {}
    """Parameters that may be null, and the number that each entry is then."""

    @abstractmethod
    def __init__(self, value: Any, K: int) -> None: ...

    @abstractmethod
    def conjugate(self, column: Column[fmpq]) -> arb:
        """The ball l_k*(a∘w); ``Refuted`` outside the domain, by an exact test."""

    @abstractmethod
    def value(self, column: Column[arb]) -> arb:
        """The ball l_k(z)."""


class Softmax(Loss):
    """l_k(z) = log Σ_j exp z_j − <y_k, z>; l_k*(v) = Σ p log p, p = v + y_k in the simplex; the y_k sum to 1."""

    @abstractmethod
    def targets(self, column: Column[Any]) -> tuple[fmpq, list[fmpq]]:
        """The entries of y_k that belong to the column: its own, and the others."""

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``; the entries of p sum to one, as those of v do to zero."""
        own, others = self.targets(column)
        total = self._p_log_p(column.own + own)
        for (v, multiplicity), target in zip(column.others, others, strict=True):
            total += multiplicity * self._p_log_p(v + target)
        return total

    def _p_log_p(self, p: fmpq) -> arb:
        if p < 0:
            raise Refuted("a column of the dual point lies outside the simplex")
        return p_log_p(p)

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``; in differences from the own logit, so that a small loss keeps its digits."""
        rest, linear = arb(0), arb(0)
        for (z, multiplicity), target in zip(column.others, self.targets(column)[1], strict=True):
            difference = z - column.own
            rest += multiplicity * difference.exp()
            if target:
                linear += multiplicity * arb(target) * difference
        return rest.log1p() - linear


class CrossEntropy(Softmax):
    """y_k = (1−α) e_k + α/K."""

    streamed = True

    def __init__(self, value: Any, K: int) -> None:
        self.smoothing = dyadic(fields_of(value, "name smoothing")["smoothing"])
        if not 0 <= self.smoothing < 1:
            raise MalformedCertificate("smoothing is a number in [0, 1)")
        self.bits = int(self.smoothing.q).bit_length()
        self._share = self.smoothing / K

    def targets(self, column: Column[Any]) -> tuple[fmpq, list[fmpq]]:
        """The others all the same."""
        return 1 - self.smoothing + self._share, [self._share] * len(column.others)


class SoftTargetCrossEntropy(Softmax):
    """y_k is row k of a table."""

    alike = False

    def __init__(self, value: Any, K: int) -> None:
        if K > MAX_BLOCKS:
            raise MalformedCertificate(f"more than {MAX_BLOCKS} classes in a table of targets")
        table = fields_of(fields_of(value, "name targets")["targets"], "exponent rows")
        self.rows, self.exponent = rows_of(table["rows"], [K] * K), exponent_of(table["exponent"])
        self.bits = abs(self.exponent)
        if any(scaled(sum(row), self.exponent) != 1 for row in self.rows):
            raise MalformedCertificate("targets sum to 1, exactly")

    def targets(self, column: Column[Any]) -> tuple[fmpq, list[fmpq]]:
        """The row, split."""
        row = [scaled(y, self.exponent) for y in self.rows[column.place]]
        return row.pop(column.place), row


class LabelMarginCrossEntropy(Softmax):
    """l_k(z) = CE(z − Δ_k e_k); l_k*(v) = CE*(v) + Δ_k v_k."""

    alike = False

    def __init__(self, value: Any, K: int) -> None:
        given = vector(fields_of(value, "name margins")["margins"], K)
        self.margins, self.bits = list(given), given.bits

    def targets(self, column: Column[Any]) -> tuple[fmpq, list[fmpq]]:
        """One-hot."""
        return fmpq(1), [fmpq(0)] * len(column.others)

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``."""
        return super().conjugate(column) + arb(self.margins[column.place] * column.own)

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``."""
        return super().value(column._replace(own=column.own - arb(self.margins[column.place])))


class LogitAdjustedCrossEntropy(Loss):
    """l_k(z) = CE(a∘z + b); l_k*(a∘w) = CE*(w) − <w, b>."""

    alike = False
    neutral: ClassVar[dict[str, str]] = {"scale": "1p0", "shift": "0p0"}

    def __init__(self, value: Any, K: int) -> None:
        fields = fields_of(value, "name scale shift")
        scale, shift = (None if fields[name] is None else vector(fields[name], K) for name in ("scale", "shift"))
        self.bits = sum(given.bits for given in (scale, shift) if given is not None)
        self.scale, self.shift = (None if given is None else list(given) for given in (scale, shift))
        if self.scale is not None and min(self.scale) <= 0:
            raise MalformedCertificate("scales are positive")
        self._plain = CrossEntropy({"name": "cross-entropy", "smoothing": "0p0"}, K)

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``."""
        linear = arb(0)
        if self.shift is not None:
            own = self.shift[column.place]
            pairs = zip(column.others, _without(column.place, self.shift), strict=True)
            linear = sum((arb(w) * arb(b - own) for (w, _), b in pairs), linear)  # w sums to zero
        return self._plain.conjugate(column) - linear

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``."""
        z = [entry for entry, _ in column.others]
        z.insert(column.place, column.own)
        if self.scale is not None:
            z = [arb(a) * entry for a, entry in zip(self.scale, z, strict=True)]
        if self.shift is not None:
            z = [entry + arb(b) for b, entry in zip(self.shift, z, strict=True)]
        others = [(entry, 1) for entry in _without(column.place, z)]
        return self._plain.value(Column(column.place, z[column.place], others))


class MulticlassHinge(Loss):
    """Sum or maximum of max(0, 1 + z_j − z_k); l_k*(v) = v_k for v_j ≥ 0 that are, or sum to, at most 1 (j ≠ k)."""

    def __init__(self, value: Any, K: int) -> None:
        kind = kind_of(fields_of(value, "name kind"), "kind", ("crammer-singer", "weston-watkins"))
        self.joint = kind == "crammer-singer"

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``."""
        load = -column.own if self.joint else max(v for v, _ in column.others)
        if load > 1 or min(v for v, _ in column.others) < 0:
            raise Refuted("a column of the dual point lies outside the domain of the hinge")
        return arb(column.own)

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``."""
        total = arb(0)
        for z, multiplicity in column.others:
            hinge = (1 + z - column.own).max(arb(0))
            total = total.max(hinge) if self.joint else total + multiplicity * hinge
        return total


class SquaredHinge(Loss):
    """l_k(z) = ½ Σ_{j≠k} max(0, 1 + z_j − z_k)²; l_k*(v) = Σ_{j≠k} (½ v_j² − v_j) for v_j ≥ 0 (j ≠ k)."""

    def __init__(self, value: Any, K: int) -> None:
        fields_of(value, "name")

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``."""
        if min(v for v, _ in column.others) < 0:
            raise Refuted("a column of the dual point lies outside the cone of the squared hinge")
        return arb(sum((m * v * v for v, m in column.others), fmpq(0)) / 2 + column.own)  # w sums to zero

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``."""
        hinges = (((1 + z - column.own).max(arb(0)), m) for z, m in column.others)
        return sum((m * hinge * hinge for hinge, m in hinges), arb(0)) / 2


class MeanSquaredError(Loss):
    """l_k(z) = ½ ‖z − e_k‖²; l_k*(v) = ½ ‖v‖² + v_k for all v."""

    closed = False

    def __init__(self, value: Any, K: int) -> None:
        fields_of(value, "name")

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``."""
        return sum((m * arb(v) ** 2 for v, m in column.others), arb(column.own) * arb(column.own + 2)) / 2

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``."""
        return sum((m * z * z for z, m in column.others), (column.own - 1) * (column.own - 1)) / 2


class BinaryCrossEntropy(Loss):
    """l_k(z) = Σ_j log(1 + exp ±z_j), − for j = k; l_k*(v) = Σ p log p + (1−p) log(1−p), p = ±v in [0, 1]."""

    closed = False

    def __init__(self, value: Any, K: int) -> None:
        fields_of(value, "name")

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``."""
        total = arb(0)
        for p, multiplicity in [(-column.own, 1), *column.others]:
            if not 0 <= p <= 1:
                raise Refuted("an entry of the dual point lies outside [0, 1]")
            total += multiplicity * (p_log_p(p) + p_log_p(1 - p))
        return total

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``."""
        return sum((m * z.exp().log1p() for z, m in column.others), (-column.own).exp().log1p())


class HardMargin(Loss):
    """0 where a_k z_k − a_j z_j ≥ m_kj (j ≠ k), +∞ elsewhere; l_k*(a∘w) = −Σ_{j≠k} m_kj w_j for w_j ≥ 0 (j ≠ k)."""

    neutral: ClassVar[dict[str, str]] = {"scale": "1p0"}

    def __init__(self, value: Any, K: int) -> None:
        fields = fields_of(value, "name margins scale")
        given = fields["margins"]
        self.alike = isinstance(given, str) and fields["scale"] is None
        scale = None if fields["scale"] is None else vector(fields["scale"], K)
        self.scale = None if scale is None else list(scale)
        if isinstance(given, str):
            self._rows = None
            self._each = [dyadic(given)]
        elif isinstance(given, dict) and "rows" in given:
            self._rows, self._each = _table(given, K), []
        else:
            self._rows, self._each = None, list(vector(given, K))
        margins = [*self._each, *(self._rows[0] if self._rows else ())]
        self.bits = max(map(size_of, margins)) + (scale.bits if scale else 0)
        if min([*self._each, *(self.scale or ())], default=1) <= 0:
            raise MalformedCertificate("margins and scales are positive")

    def _margins(self, column: Column[Any]) -> list[fmpq]:
        """Those from the column's others."""
        if self._rows is not None:
            return list(_without(column.place, self._rows[column.place]))
        return [self._each[0 if len(self._each) == 1 else column.place]] * len(column.others)

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``."""
        if min(w for w, _ in column.others) < 0:
            raise Refuted("a column of the dual point lies outside the cone of the margins")
        pairs = zip(column.others, self._margins(column), strict=True)
        return arb(-sum((margin * m * w for (w, m), margin in pairs), fmpq(0)))

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``; all numbers where the ball does not say whether a margin is met."""
        own, others = column.own, [z for z, _ in column.others]
        if self.scale is not None:
            own = arb(self.scale[column.place]) * own
            others = [arb(a) * z for a, z in zip(_without(column.place, self.scale), others, strict=True)]
        room = [own - z - arb(m) for z, m in zip(others, self._margins(column), strict=True)]
        if any(entry < 0 for entry in room):
            return arb.pos_inf()
        return arb(0) if all(entry >= 0 for entry in room) else arb(0, "inf")


LOSSES: dict[str, type[Loss]] = {
    "cross-entropy": CrossEntropy,
    "soft-target-cross-entropy": SoftTargetCrossEntropy,
    "logit-adjusted-cross-entropy": LogitAdjustedCrossEntropy,
    "label-margin-cross-entropy": LabelMarginCrossEntropy,
    "multiclass-hinge": MulticlassHinge,
    "squared-hinge": SquaredHinge,
    "mean-squared-error": MeanSquaredError,
    "binary-cross-entropy": BinaryCrossEntropy,
    "hard-margin": HardMargin,
}


def read_loss(value: Any, K: int) -> Loss:
    """The loss of classes that an object of the file describes."""
    return LOSSES[kind_of(value, "name", tuple(LOSSES))](value, K)


def _table(value: Any, K: int) -> list[list[fmpq]]:
    """Margins of pairs: positive, with the diagonal 0."""
    if K > MAX_BLOCKS:
        raise MalformedCertificate(f"more than {MAX_BLOCKS} classes in a table of margins")
    fields = fields_of(value, "exponent rows")
    rows, exponent = rows_of(fields["rows"], [K] * K), exponent_of(fields["exponent"])
    if any((entry <= 0) != (j == k) or (j == k and entry) for k, row in enumerate(rows) for j, entry in enumerate(row)):
        raise MalformedCertificate("margins are positive, with the diagonal 0")
    return [[scaled(entry, exponent) for entry in row] for row in rows]


def p_log_p(p: fmpq) -> arb:
    """The ball p log p, p ≥ 0; near 1 the logarithm is formed from the exact 1 − p, and keeps its relative accuracy."""
    if not p:
        return arb(0)
    return arb(p) * (arb(p - 1).log1p() if p > _HALF else arb(p).log())


def _without(place: int, entries: list[Any]) -> Iterator[Any]:
    """The entries but one."""
    return (entry for j, entry in enumerate(entries) if j != place)
