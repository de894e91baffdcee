"""Whether a loss is one function throughout: its values, gradient, conjugate, domain, expression and enclosures agree.

For whoever writes a loss (docs/plugins.md): bounds of a problem are as good as what its loss encloses, and only the
loss's own author can be wrong about that unnoticed. Random columns of full outputs, from a fixed seed.

Units: differences are relative to 1 + the size of what is compared.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.errors import ProblemError, shown
from ufm_convex.losses import Layout, Loss

if TYPE_CHECKING:
    from flint import fmpq

_ROUNDING = 1e-10
"""Of sums over a few outputs in binary64, with a wide margin: what is wrong is wrong by far more."""
_SPREADS = (0.1, 1.0, 5.0)
"""Sizes of the logits that are tried."""
_FAR = 1e-3
"""How far outside the domain a point surely is."""
_RADIUS = 0.05
"""Radius of the balls over which values are enclosed."""


def assert_loss_is_consistent(loss: Loss, *, num_classes: int, seed: int = 0) -> None:
    """All that a ``Loss`` states is about one convex function.

    Its subgradients, the inequality of Fenchel and Young, its conjugate's domain and rays in it, the cvxpy expression,
    both enclosures, orbits where it is ``alike``, shifts where it is ``shift_invariant``, and its parameters.

    Args:
        loss: The loss; one that is 0 or infinite (``Indicator``) is not covered.
        num_classes: V = K.
        seed: Seed of NumPy's default generator.

    Raises:
        AssertionError: two of its statements disagree; the message says which.
        ProblemError: it is no ``Loss``, or an indicator.
    """
    if not isinstance(loss, Loss) or loss.indicator is not None:
        raise ProblemError(
            f"loss is {shown(loss)}.",
            expected="a Loss that is finite everywhere",
            fix="pass an instance of your class.",
        )
    loss.validate(num_classes)
    _parameters(loss)
    generator, layout = np.random.default_rng(seed), loss.layout(num_classes, np.arange(num_classes))
    for spread in _SPREADS:
        z, other = spread * generator.standard_normal((2, num_classes, num_classes))
        inside = loss.into_domain(generator.standard_normal(z.shape), layout)
        _duality(loss, layout, z, other, inside)
        _domain(loss, layout, inside)
        _expression(loss, layout, z)
        _enclosures(loss, layout, z, loss.residuals(z, layout), generator)
        _symmetry(loss, layout, z)


def _parameters(loss: Loss) -> None:
    # a frozen dataclass has a hash, one that is not has none
    if not dataclasses.is_dataclass(type(loss)) or getattr(type(loss), "__hash__", None) is None:
        _fail(loss, "is no frozen dataclass: problems compare and pickle by its fields")
    if type(loss)(**loss.parameters()) != loss:
        _fail(loss, f"is not made again by its parameters() {shown(loss.parameters())}")


def _duality(loss: Loss, layout: Layout, z: FloatArray, other: FloatArray, inside: FloatArray) -> None:
    """Subgradients of values, and the conjugate: l(z) + l*(v) ≥ <v, z>, with equality at a subgradient."""
    v, value = loss.residuals(z, layout), loss.values(z, layout)
    below = value + layout.sum(v * (other - z))
    _require(loss, loss.values(other, layout) - below, np.abs(below), "residuals are no subgradients of values")
    for w, equal in ((v, True), (inside, False)):
        gap = value + loss.conjugate(w, layout) - layout.sum(w * z)
        size = np.abs(value) + layout.sum(np.abs(w * z))
        words = "values + conjugate is below the pairing with a point of the domain (Fenchel and Young)"
        _require(loss, gap, size, words)
        if equal:
            _require(loss, -gap, size, "values + conjugate exceeds the pairing with residuals (Fenchel and Young)")


def _domain(loss: Loss, layout: Layout, inside: FloatArray) -> None:
    if loss.violation(inside, layout) > _ROUNDING:
        _fail(loss, "into_domain ends outside the domain, by its own violation")
    _require(loss, -np.abs(loss.into_domain(inside, layout) - inside), 0.0, "into_domain moves a point inside")
    limit = loss.limit(inside, layout)
    if np.any(limit < 1.0) or loss.violation(inside * limit, layout) > _ROUNDING * limit.max():
        _fail(loss, "limit leaves the domain, or is below 1 at a point inside")


def _expression(loss: Loss, layout: Layout, z: FloatArray) -> None:
    import cvxpy as cp

    variable = cp.Variable(z.shape)
    found = loss.expression(variable, layout)
    if not found.is_convex():
        _fail(loss, "expression is not convex by the rules of cvxpy")
    variable.value = z
    difference, value = np.asarray(found.value) - loss.values(z, layout), loss.values(z, layout)
    _require(loss, -np.abs(difference), np.abs(value), "expression has other values than values")


def _enclosures(loss: Loss, layout: Layout, z: FloatArray, v: FloatArray, generator: np.random.Generator) -> None:
    """Balls hold the values at every point of theirs, and the conjugate; what is outside the domain is refused."""
    from flint import arb, fmpq

    V = len(z)
    columns = [loss.exact_column(V, k) for k in range(V)]
    points = z + _RADIUS * generator.uniform(-1.0, 1.0, (8, *z.shape))
    values, conjugates = np.stack([loss.values(one, layout) for one in points]), loss.conjugate(v, layout)
    # balls are asked about points that satisfy the equation of the domain exactly, as proofs do
    for k, column in enumerate(columns):
        exact = _closed(loss, v[:, k], k)
        ball = loss.enclose_value([arb(entry, _RADIUS) for entry in z[:, k].tolist()], column)
        for value in values[:, k].tolist():
            _contains(loss, "enclose_value", ball, value)
        _contains(loss, "enclose_conjugate", loss.enclose_conjugate(exact, column), float(conjugates[k]))
        narrow = loss.enclose_value([arb(entry) for entry in z[:, k].tolist()], column)
        _contains(loss, "enclose_value", narrow, float(loss.values(z, layout)[k]))
    beyond = 4.0 * loss.limit(v, layout) * v
    for k in range(V):
        if not loss.violation(beyond[:, [k]], layout[np.array([k])]) > _FAR:
            continue
        try:
            loss.enclose_conjugate([fmpq(*float(entry).as_integer_ratio()) for entry in beyond[:, k]], columns[k])
        except ValueError:
            continue
        _fail(loss, f"enclose_conjugate takes a point outside the domain, in column {k}: it has to raise ValueError")


def _closed(loss: Loss, v: FloatArray, own: int) -> list[fmpq]:
    """The entries exactly, a little inside the domain, and the own one that ``closing_weights`` asks for."""
    from flint import fmpq

    exact = [fmpq(*float(entry).as_integer_ratio()) * (1 - fmpq(1, 1 << 40)) for entry in v.tolist()]
    if (weights := loss.closing_weights(len(v))) is not None:
        units = [fmpq(*float(weight).as_integer_ratio()) for weight in weights.tolist()]
        rest = [entry / unit for j, (entry, unit) in enumerate(zip(exact, units, strict=True)) if j != own]
        exact[own] = -units[own] * sum(rest, fmpq(0))
    return exact


def _symmetry(loss: Loss, layout: Layout, z: FloatArray) -> None:
    V, value = len(z), loss.values(z, layout)
    if loss.shift_invariant:
        moved = loss.values(z + 3.0, layout) - value
        _require(loss, -np.abs(moved), 3.0 + np.abs(value), "values are not shift_invariant, as it states")
    if loss.alike:
        one = np.array([1.0, 0.0])[:, None] * z[:1] + np.array([0.0, 1.0])[:, None] * z[1:2]
        reduced = loss.orbit_layout(np.broadcast_to([[1.0], [V - 1.0]], (2, V)), np.zeros(V, dtype=np.int64))
        full = np.where(np.eye(V, dtype=bool), one[0], one[1])
        difference = loss.values(one, reduced) - loss.values(full, layout)
        _require(loss, -np.abs(difference), np.abs(value), "entries that stand for alike outputs change values")


def _contains(loss: Loss, name: str, ball: object, value: float) -> None:
    middle, radius = float(ball.mid()), float(ball.rad())  # type: ignore[attr-defined]
    if not abs(middle - value) <= radius + _ROUNDING * (1.0 + abs(value)):
        _fail(loss, f"{name} gives [{middle:.17g} +/- {radius:.3g}], which does not hold {value:.17g}")


def _require(loss: Loss, found: FloatArray, size: FloatArray | float, words: str) -> None:
    worst = found / (1.0 + size)
    if not np.all(worst >= -_ROUNDING):
        _fail(loss, f"{words}: by {-float(np.min(worst)):.2e}, relative to 1 + its size")


def _fail(loss: Loss, words: str) -> NoReturn:
    raise AssertionError(f"loss {loss.name!r}: {words}")
