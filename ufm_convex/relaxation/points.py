"""Points of the primal and of the dual under a symmetry: Gram matrices or factors, and residuals with a multiplier.

What the identity asks of a primal point is the same for both: traces and pairings. B, (m, m), is formed only where a
Gram point holds it anyway.

Shapes: A (V, V), L (V, m), B (m, m), W (V, d), H (m, d), all ``Alike``; b one entry an orbit of outputs, (R,).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.relaxation.alike import Alike
from ufm_convex.relaxation.columns import Columns
from ufm_convex.relaxation.full import DualPoint, GramPoint
from ufm_convex.relaxation.orbits import Orbits


class Point(Protocol):
    """A primal point, of whatever form."""

    @property
    def bias(self) -> FloatArray | None:
        """b, (R,); None for zero."""

    @property
    def logits(self) -> Alike:
        """L."""

    def weight_trace(self) -> float:
        """The trace of A."""

    def feature_squares(self) -> FloatArray:
        """The diagonal of B, one entry an orbit of columns, (C,)."""

    def feature_form(self, U: Alike) -> float:
        """The trace of U B Uᵀ."""

    def feature_pairing(self, T: Alike) -> float:
        """<T, B>."""

    def gram(self) -> Gram:
        """The Gram matrices."""


@dataclass(frozen=True, eq=False)
class Gram:
    """Z = [[A, L], [Lᵀ, B]]: what a conic solver returns.

    Attributes:
        A: Gram matrix of the classifier.
        logits: L.
        B: Gram matrix of the features.
        bias: b, (R,); None for zero.
    """

    A: Alike
    logits: Alike
    B: Alike
    bias: FloatArray | None = None

    @classmethod
    def mean(cls, columns: Columns, point: GramPoint) -> Gram:
        """The mean of a point of full arrays over the symmetry; for single orbits that point."""
        V, m = columns.outputs, columns.columns
        return cls(
            Alike.mean(V, V, point.weight_gram),
            Alike.mean(V, m, point.logits),
            Alike.mean(m, m, point.feature_gram),
            None if point.bias is None else V.mean(point.bias),
        )

    def full(self) -> GramPoint:
        """The same point as full arrays."""
        bias = None if self.bias is None else self.A.rows.spread_out(self.bias)
        return GramPoint(self.A.full(), self.logits.full(), self.B.full(), bias)

    def weight_trace(self) -> float:
        """See ``Point``."""
        return self.A.trace()

    def feature_squares(self) -> FloatArray:
        """See ``Point``."""
        return self.B.own()

    def feature_form(self, U: Alike) -> float:
        """See ``Point``."""
        return (U @ self.B).inner(U)

    def feature_pairing(self, T: Alike) -> float:
        """See ``Point``."""
        return T.inner(self.B)

    def gram(self) -> Gram:
        """Itself."""
        return self

    def scaled(self, rows: FloatArray, cols: FloatArray) -> Gram:
        """Diag(rows, cols) Z Diag(rows, cols), one number an orbit each, without the bias."""
        return Gram(self.A.scaled(rows, rows), self.logits.scaled(rows, cols), self.B.scaled(cols, cols))

    def __sub__(self, other: Gram) -> Gram:
        return Gram(self.A - other.A, self.logits - other.logits, self.B - other.B)

    def inner(self, other: Gram) -> float:
        """<Z, S> = <A, S_A> + 2 <L, S_L> + <B, S_B>."""
        return self.A.inner(other.A) + self.B.inner(other.B) + 2.0 * self.logits.inner(other.logits)

    def least_eigenvalue(self) -> float:
        """The smallest eigenvalue of Z, from its blocks."""
        A, L, B = self.A, self.logits, self.B
        found = [np.linalg.eigvalsh(_whole(A.trivial, L.trivial, B.trivial))[0]]
        rows, cols = A.rows.slots >= 0, B.rows.slots >= 0
        for g in range(rows.shape[0]):
            a, b = rows[g], cols[g]
            block = _whole(A.standard[g][np.ix_(a, a)], L.standard[g][np.ix_(a, b)], B.standard[g][np.ix_(b, b)])
            found.append(np.linalg.eigvalsh(block)[0])
        if B.spread is not None:
            found.append(B.spread[B.rows.copies > 1].min())
        return float(min(found))


@dataclass(frozen=True, eq=False)
class Factors:
    """W and H in coordinates that have orbits of their own: what descents, candidates and networks have.

    Attributes:
        W: Classifier, (V, d).
        H: Features, (m, d), one row a column.
        bias: b, (R,); None for zero.
    """

    W: Alike
    H: Alike
    bias: FloatArray | None = None

    @classmethod
    def single(cls, columns: Columns, W: FloatArray, H: FloatArray, bias: FloatArray | None = None) -> Factors:
        """Full arrays on single orbits: W (V, d), and one row of H a place of the columns."""
        d = Orbits.single(W.shape[1])
        H = H[columns.columns.positions]
        return cls(Alike.matrix(columns.outputs, d, W), Alike.matrix(columns.columns, d, H), bias)

    @cached_property
    def logits(self) -> Alike:
        """W Hᵀ."""
        return self.W @ self.H.T

    def weight_trace(self) -> float:
        """See ``Point``."""
        return self.W.inner(self.W)

    def feature_squares(self) -> FloatArray:
        """See ``Point``."""
        return self.H.T.column_squares()

    def feature_form(self, U: Alike) -> float:
        """See ``Point``."""
        image = U @ self.H
        return image.inner(image)

    def feature_pairing(self, T: Alike) -> float:
        """See ``Point``."""
        return (T @ self.H).inner(self.H)

    def gram(self) -> Gram:
        """W Wᵀ, W Hᵀ and H Hᵀ."""
        return Gram(self.W @ self.W.T, self.logits, self.H @ self.H.T, self.bias)


@dataclass(frozen=True, eq=False)
class Dual:
    """A dual point: residuals V, multiplier T, and the multiplier S of Z ⪰ 0.

    Attributes:
        V: Residuals, (V, m); a column is a point of the conjugate's domain, u_j = weight_j v_j.
        T: (m, m) symmetric ≥ 0, T / (2 λ_W) the multiplier of B ≥ 0; None for 0, as for free features.
        S_A: (V, V); None for λ_W/2 · I, its only value at stationarity.
        S_B: (m, m); None for λ_H/2 Diag(ν) − T/(2 λ_W), likewise.
    """

    V: Alike
    T: Alike | None = None
    S_A: Alike | None = None
    S_B: Alike | None = None

    @classmethod
    def mean(cls, columns: Columns, dual: DualPoint) -> Dual:
        """The mean of a point of full arrays over the symmetry; its value is no smaller."""
        V, m = columns.outputs, columns.columns
        return cls(
            Alike.mean(V, m, dual.residuals),
            Alike.mean(m, m, dual.nonnegativity) if np.any(dual.nonnegativity) else None,
            None if dual.weight_block is None else Alike.mean(V, V, dual.weight_block),
            None if dual.feature_block is None else Alike.mean(m, m, dual.feature_block),
        )

    def full(self) -> DualPoint:
        """The same point as full arrays."""
        m = self.V.cols.length
        S_A, S_B = (None if block is None else block.full() for block in (self.S_A, self.S_B))
        return DualPoint(self.V.full(), np.zeros((m, m)) if self.T is None else self.T.full(), S_A, S_B)


def _whole(A: FloatArray, L: FloatArray, B: FloatArray) -> FloatArray:
    Z = np.block([[A, L], [L.T, B]])
    return np.asarray(0.5 * (Z + Z.T))
