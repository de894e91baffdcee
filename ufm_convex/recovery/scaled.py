"""The problem in W and H as a function of one vector, in variables of one size whatever the decays, counts and orbits.

    w = √(λ_W/κ) W,      h = √(λ_H ν/κ) H,      κ = c max K_p σ_p,

and every different entry stands once in the vector, times the square root of how often it occurs, so that inner
products are those of the full matrices and the penalty is κ/2 times the square of the vector; c is the size of the
logits, 1 unless an indicator asks for more. A bias is moved as
√((γ + λ_b)/κ) b with the curvature γ of the loss in it, in which that of the objective is of order one.

With P = U D^{-1/2} the gradient in (w, h) is (P h + w, Pᵀ w + h), so at a stationary point P has singular value 1 on
the range of h, and for free features the point is a global minimum if ‖P‖ ≤ 1 (docs/factored.md, section 3).

Shapes: W (V, d), H (m, d), both alike, in coordinates with orbits of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ufm_convex import _deadline
from ufm_convex._arrays import BoolArray, FloatArray
from ufm_convex.relaxation import Alike, Columns, Factors, Orbits, scaled_residuals

_SOONEST, _LATEST = 3, 10
"""Iterations between two looks at what a descent is worth, each of which takes the time of some: half of those made."""
_WIDE = 200_000
"""Number of variables from which fewer past steps are remembered: they dominate the memory."""


@dataclass(frozen=True, eq=False)
class Entries:
    """The different entries of an alike matrix as a vector: even ones, then those of matched pairs.

    Attributes:
        rows: Orbits of rows.
        cols: Orbits of columns.
    """

    rows: Orbits
    cols: Orbits

    @cached_property
    def roots(self) -> FloatArray:
        """Square root of how often each entry occurs."""
        pairing = self.rows.paired(self.cols)
        matched = self.rows.numbers[pairing.row] * self.cols.copies[pairing.column]
        even = np.outer(self.rows.numbers, self.cols.numbers)
        even[pairing.orbits] -= matched
        return np.sqrt(np.concatenate([even.ravel(), matched]))

    def per_row(self, numbers: FloatArray) -> FloatArray:
        """One number an orbit of rows, for each entry."""
        even = np.repeat(numbers, self.cols.size)
        return np.concatenate([even, numbers[self.rows.paired(self.cols).row]])

    def vector(self, matrix: Alike) -> FloatArray:
        """The entries."""
        if self.rows.plain and self.cols.plain:
            return matrix.even.ravel()
        return np.concatenate([matrix.even.ravel(), matrix.matches])

    def matrix(self, vector: FloatArray) -> Alike:
        """The matrix with these entries."""
        size = self.rows.size * self.cols.size
        if self.rows.plain and self.cols.plain:
            return Alike.matrix(self.rows, self.cols, vector.reshape(self.rows.size, self.cols.size))
        pairing = self.rows.paired(self.cols)
        made = Alike.matrix(self.rows, self.cols, vector[:size].reshape(self.rows.size, self.cols.size))
        made.extra[pairing.slots] = vector[size:] - made.even[pairing.orbits]
        return made


@dataclass(frozen=True, eq=False)
class Scaled:
    """The factored problem in scaled variables.

    Attributes:
        columns: The columns it is built for.
        coordinates: The coordinates of W and H.
    """

    columns: Columns
    coordinates: Orbits

    @cached_property
    def size(self) -> float:
        """The size of the logits: 1, or that of the set of an indicator."""
        indicator = self.columns.loss.indicator
        return 1.0 if indicator is None else indicator.unit(self.columns.outputs.total)

    @cached_property
    def kappa(self) -> float:
        """κ, the unit of the objective."""
        return self.size * float((self.columns.columns.numbers * self.columns.sigma).max())

    @property
    def curvature(self) -> float:
        """That of the loss in an entry of the bias: p (1 − p) where V outputs share what there is, 1 of a square."""
        whole = float(self.columns.orbit_weights.sum())
        return whole if self.columns.loss.quadratic else whole / self.columns.outputs.total

    def loss(self, outputs: Alike) -> tuple[FloatArray, Alike]:
        """The loss of each column, (C,), and its gradient, (V, m)."""
        return self.columns.values(outputs), self.columns.residuals(outputs)

    @cached_property
    def _parts(self) -> tuple[Entries, Entries]:
        return Entries(self.columns.outputs, self.coordinates), Entries(self.columns.columns, self.coordinates)

    @cached_property
    def _units(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What the entries of W, of H and of b are multiplied by."""
        columns, (of_w, of_h) = self.columns, self._parts
        row = np.sqrt(columns.lambda_h * columns.feature_weights / self.kappa)
        w, h = math.sqrt(columns.lambda_w / self.kappa) * of_w.roots, of_h.per_row(row) * of_h.roots
        curvature = (self.curvature + columns.bias.curvature) / self.kappa
        return w, h, np.sqrt(curvature * columns.outputs.numbers)[: columns.bias.size]

    @cached_property
    def _slopes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What the gradient by an entry of W and of H is multiplied by, and nothing for b."""
        (w, h, b), (of_w, of_h) = self._units, self._parts
        return of_w.roots**2 / (w * self.kappa), of_h.roots**2 / (h * self.kappa), np.zeros(b.size)

    @cached_property
    def cuts(self) -> tuple[int, int]:
        """Where H and where b begin in the vector."""
        w, h, _ = self._units
        return w.size, w.size + h.size

    def pack(self, factors: Factors) -> FloatArray:
        """(W, H, b) in scaled variables; b = 0 where it is not given."""
        w, h, b = self._units
        of_w, of_h = self._parts
        bias = np.zeros(b.size) if factors.bias is None else factors.bias[: b.size]
        return np.concatenate([of_w.vector(factors.W) * w, of_h.vector(factors.H) * h, bias * b])

    def unpack(self, flat: FloatArray) -> Factors:
        """(W, H, b) of scaled variables; b is None where the problem has none."""
        (w, h, b), (start, end) = self._units, self.cuts
        of_w, of_h = self._parts
        bias = flat[end:] / b if b.size else None
        return Factors(of_w.matrix(flat[:start] / w), of_h.matrix(flat[start:end] / h), bias)

    def value_and_gradient(self, flat: FloatArray) -> tuple[float, FloatArray]:
        """The objective f / κ and its gradient."""
        columns, factors, end = self.columns, self.unpack(flat), self.cuts[1]
        outputs = columns.outputs_of(factors.logits, factors.bias)
        values, residuals = self.loss(outputs)
        value = columns.orbit_weights @ values / self.kappa + 0.5 * float(flat[:end] @ flat[:end])
        U = columns.weighted(residuals)
        gradient = self._gradient(factors, U)
        gradient[:end] += flat[:end]
        if factors.bias is not None:
            many, b = columns.outputs.numbers, self._units[2]
            value += columns.bias.penalty(factors.bias) / self.kappa
            slope = U.row_sums() + columns.bias.curvature * factors.bias
            gradient[end:] = many * slope / (self.kappa * b)
        return float(value), gradient

    def _gradient(self, factors: Factors, U: Alike) -> FloatArray:
        """The gradient of the loss over κ, from U, the gradient by one entry of the logits."""
        (by_w, by_h, by_b), (of_w, of_h) = self._slopes, self._parts
        return np.concatenate([of_w.vector(U @ factors.H) * by_w, of_h.vector(U.T @ factors.W) * by_h, by_b])

    def minimise(
        self,
        start: FloatArray,
        iterations: int,
        gradient: float,
        fixed: BoolArray | None = None,
        enough: Callable[[FloatArray], bool] | None = None,
    ) -> tuple[FloatArray, int]:
        """L-BFGS-B from ``start``, with H ≥ 0 where the problem asks for it; the end and the number of iterations.

        Args:
            start: Scaled variables.
            iterations: Limit.
            gradient: Largest entry of the projected gradient at which to stop.
            fixed: Entries of H, in the order of the vector, that stay zero.
            enough: Asked now and then, every ten iterations at least, whether to stop there.
        """
        from scipy.optimize import minimize

        options = {
            "maxiter": iterations,
            "maxfun": 2 * iterations,
            "ftol": 1e-16,
            "gtol": gradient,
            "maxcor": 20 if start.size <= _WIDE else 8,
        }
        (begin, end), bounds = self.cuts, None
        if self.columns.nonnegative or fixed is not None:
            lower, upper = np.full(start.size, -np.inf), np.full(start.size, np.inf)
            if self.columns.nonnegative:
                lower[begin:end] = 0.0
            if fixed is not None:
                lower[begin:end][fixed] = upper[begin:end][fixed] = 0.0
            start, bounds = np.clip(start, lower, upper), np.stack([lower, upper], axis=1)
        stop: Callable[[FloatArray], None] | None = stop_in_time if _deadline.limits() else None
        if enough is not None:
            stop = _Asking(enough)
        found = minimize(
            self.value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options, callback=stop
        )
        flat: FloatArray = found.x if bounds is None else np.clip(found.x, bounds[:, 0], bounds[:, 1])
        return flat, int(found.nit)

    def steepness(self, flat: FloatArray) -> float:
        """Norm of the projected gradient over the norm of (w, h); 0 at W = H = 0."""
        gradient, (begin, end) = self.value_and_gradient(flat)[1], self.cuts
        if self.columns.nonnegative:
            blocked = (flat <= 0.0) & (gradient > 0.0)
            blocked[:begin] = blocked[end:] = False
            gradient = np.where(blocked, 0.0, gradient)
        size = float(np.linalg.norm(flat[:end]))
        return float(np.linalg.norm(gradient)) / size if size > 0.0 else 0.0

    def pull(self, factors: Factors) -> Alike:
        """P = U D^{-1/2}, (V, m)."""
        columns = self.columns
        outputs = columns.outputs_of(factors.logits, factors.bias)
        return scaled_residuals(columns, columns.residuals(outputs))


def stop_in_time(_: FloatArray) -> None:
    """Ends a descent where it is once the time limit has passed."""
    if _deadline.passed():
        raise StopIteration


class _Asking:
    """Ends a descent in time, or once it is good enough."""

    def __init__(self, enough: Callable[[FloatArray], bool]) -> None:
        self._enough, self._steps, self._next = enough, 0, _SOONEST

    def __call__(self, flat: FloatArray) -> None:
        """One iteration more."""
        stop_in_time(flat)
        self._steps += 1
        if self._steps < self._next:
            return
        if self._enough(flat):
            raise StopIteration
        self._next += min(max(self._steps // 2, _SOONEST), _LATEST)


@dataclass(frozen=True, eq=False)
class Softened(Scaled):
    """The problem with ``Loss.softened`` in place of a loss with kinks, or of an indicator: what L-BFGS-B can minimise.

    Attributes:
        multipliers: V, (V, m), in the domain of the conjugate.
        stiffness: ρ in units of σ / (weight c), where c is the size of the logits: about the curvature of the penalty.
    """

    multipliers: Alike
    stiffness: float

    @property
    def _stiffnesses(self) -> FloatArray:
        columns = self.columns
        return self.stiffness * columns.sigma / (columns.loss_weights * self.size)

    @property
    def curvature(self) -> float:
        """See ``Scaled.curvature``; that of l̃ is ρ at most where it matters, at the kinks."""
        columns = self.columns
        most = float(columns.orbit_weights.sum())
        return min(most, self.stiffness * float(columns.columns.numbers @ columns.sigma) / self.size)

    def loss(self, outputs: Alike) -> tuple[FloatArray, Alike]:
        """See ``Scaled.loss``, of l̃: its gradient is the next multiplier."""
        columns, V = self.columns, self.multipliers
        values, slopes = columns.loss.softened(outputs.entries(), V.entries(), self._stiffnesses, columns.layout)
        return values, Alike.of_entries(columns.outputs, columns.columns, slopes)
