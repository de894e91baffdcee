"""Beside the losses: a penalty or a budget of W and H, and a bias (docs/certificate_models.md, section 3.5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from flint import fmpq

from .reading import MalformedCertificate, Refuted, Vector, dyadic, fields_of


class Point(Protocol):
    """W and class means H, of any kind."""

    def squares(self) -> tuple[fmpq, fmpq]:
        """‖W‖² and Σ ‖h_k‖², exactly."""


class Decays(NamedTuple):
    """The product αβ of the decays behind a dual point, and the price that its value pays for them."""

    product: fmpq
    price: fmpq


class Penalty:
    """λ_W/2 ‖W‖² + λ_H/2 Σ n_k ‖h_k‖² in the objective; dual points have the same decays."""

    names, proof, lemmas = "lambda_w lambda_h", "", ()

    def __init__(self, fields: dict[str, Any], K: int, N: int) -> None:
        self.weights = self.constants = _positive(fields, "lambda_w"), _positive(fields, "lambda_h")

    def classes(self, counts: list[int], weights: Vector) -> tuple[list[int], Vector]:
        """Counts and weights as they are."""
        return counts, weights

    def decays(self, fields: dict[str, Any]) -> Decays:
        """Those of the problem, which cost nothing."""
        return Decays(self.weights[0] * self.weights[1], fmpq(0))

    def check(self, point: Point) -> None:
        """Every length is admissible."""


class Budget:
    """‖W‖² ≤ K E_W and Σ ‖h_k‖² ≤ K E_H, and no penalty; a dual point brings decays α, β ≥ 0 of its own.

    Features are weighed by 1 and not by n_k: a class counts as one of a single sample with the weight ω_k n_k.
    """

    names, proof, lemmas = "weight_radius feature_radius", " decays", ("norm-budget",)

    def __init__(self, fields: dict[str, Any], K: int, N: int) -> None:
        self.N, self.weights = N, (fmpq(0), fmpq(0))
        self.most = self.constants = K * _positive(fields, "weight_radius"), K * _positive(fields, "feature_radius")

    def classes(self, counts: list[int], weights: Vector) -> tuple[list[int], Vector]:
        """One sample each, its count in its weight."""
        loads = [n * weight for n, weight in zip(counts, weights.integers, strict=True)]
        return [1] * len(counts), Vector(loads, weights.exponent)

    def decays(self, fields: dict[str, Any]) -> Decays:
        """N α and N β are in the file; their price is (α K E_W + β K E_H)/2."""
        given = fields_of(fields["decays"], "weights features")
        alpha, beta = dyadic(given["weights"]) / self.N, dyadic(given["features"]) / self.N
        if alpha < 0 or beta < 0:
            raise MalformedCertificate("decays are not negative")
        return Decays(alpha * beta, (alpha * self.most[0] + beta * self.most[1]) / 2)

    def check(self, point: Point) -> None:
        """Show that W and H lie in their balls."""
        if any(square > most for square, most in zip(point.squares(), self.most, strict=True)):
            raise Refuted("W or H is longer than its budget")


class Bias:
    """b of the logits W h + b, and its penalty g: λ_b/2 ‖b‖², 0 for a free bias; without one b = 0."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.present = "bias" in fields
        self.free = self.present and fields["bias"] == "free"
        self.weight = _positive(fields, "bias") if self.present and not self.free else fmpq(0)
        self.lemmas = ("bias",) if self.present else ()

    def penalty(self, b: Iterable[fmpq]) -> fmpq:
        """g(b)."""
        return self.weight * sum((entry * entry for entry in b), fmpq(0)) / 2

    def support(self, sums: Iterable[tuple[fmpq, int]]) -> fmpq:
        """g*(−s) for s = U1, its entries with how many classes have them; ``Refuted`` where it is infinite."""
        if not self.present:
            return fmpq(0)
        square = sum((multiplicity * s * s for s, multiplicity in sums), fmpq(0))
        if self.free and square:
            raise Refuted("the columns of U do not sum to zero, as a free bias asks")
        return square / (2 * self.weight) if square else square


def _positive(fields: dict[str, Any], name: str) -> fmpq:
    number = dyadic(fields[name])
    if number <= 0:
        raise MalformedCertificate(f"{name} is positive")
    return number
