"""Many classes, one number each: the diagonal proof and the frame over integers (docs/fast_objectives.md, section 7.4).

The same conditions and values as in ``proof``, with every vector left in integers of one exponent, so that a million
classes need no million of reduced rationals. It can only confirm: whatever is not, ``proof`` decides.
"""

from __future__ import annotations

from flint import arb, fmpq

from .losses import CrossEntropy
from .points import Frame
from .proof import Diagonal
from .reading import scaled

FEW = 64
"""Fewer groups are left to ``proof``."""


class Integral:
    """A diagonal proof of many groups; strengths are q = x 2^e, and weights w 2^f."""

    def __init__(self, dual: Diagonal) -> None:
        self.problem, self.strengths, self.decays = dual.problem, dual.strengths, dual.decays

    @classmethod
    def of(cls, dual: Diagonal) -> Integral | None:
        """This path for the proof, if it has many groups."""
        return cls(dual) if dual.numbers >= FEW else None

    def slack_dominates(self) -> bool:
        """True only if (6) holds for every group; (w x)² n is an integer, so its bound may be rounded down."""
        problem, strengths, weights = self.problem, self.strengths, self.problem.weights
        problem.costs.spend(len(strengths), 2, 0)
        if min(strengths.integers) < 0 or (max(strengths.integers) > 0 and not problem.nonnegative):
            return False
        radius = problem.N**2 * self.decays.product * fmpq(problem.K, problem.K - 1)
        radius *= scaled(1, -2 * (strengths.exponent + weights.exponent))
        bound = int(radius.p // radius.q)
        triples = zip(problem.distinct, weights.integers, strengths.integers, strict=True)
        return all((w * x) ** 2 * group.samples <= bound for group, w, x in triples)

    def dual_value(self) -> arb | None:
        """The dual value for cross-entropy, every probability an integer over K 2^place; None outside the domain."""
        problem, exponent, K = self.problem, self.strengths.exponent, self.problem.K
        loss: object = problem.loss
        if not isinstance(loss, CrossEntropy):
            return None
        place = max(-exponent, int(loss.smoothing.q).bit_length() - 1, 0)
        share, whole = int(loss.smoothing.p * (1 << place) // loss.smoothing.q), K << place
        logarithm, total = arb(whole).log(), arb(0)
        problem.costs.spend(len(self.strengths), 4 + place // 2048, 0, balls=3, precision=128)
        triples = zip(problem.distinct, problem.weights.integers, self.strengths.integers, strict=True)
        for group, weight, x in triples:
            wrong = (x << exponent + place) + share
            rest = (K - 1) * wrong
            own = whole - rest
            if wrong < 0 or own < 0:
                return None
            entropy = rest * (logarithm - arb(wrong).log()) if wrong else arb(0)
            if 2 * own > whole:  # the logarithm is small, and keeps its relative accuracy
                entropy -= own * (arb(-rest) / whole).log1p()
            elif own:
                entropy += own * (logarithm - arb(own).log())
            total += group.samples * group.multiplicity * weight * entropy
        return total * arb(scaled(1, problem.weights.exponent) / (whole * problem.N))


def frame_objective(frame: Frame) -> arb | None:
    """The objective (5) of a frame for cross-entropy: losses in balls, all sums of products in integers."""
    problem, K, eta, omega = frame.problem, frame.problem.K, frame.eta, frame.omega
    loss: object = problem.loss
    if not isinstance(loss, CrossEntropy):
        return None
    problem.costs.spend(frame.numbers, 4 + frame.bits // 2048, 0, balls=2, precision=128)
    unit_margin = scaled(1, eta.exponent + omega.exponent)
    losses, margins, squares_eta, squares_omega, unit = arb(0), 0, 0, 0, arb(unit_margin)
    for place, repeat, x, y in zip(frame.places, frame.repeats, eta.integers, omega.integers, strict=True):
        samples = problem.distinct[place].samples * repeat
        load, margin = problem.weights.integers[place] * samples, x * y
        losses += load * ((K - 1) * (arb(-margin) * unit).exp()).log1p()
        margins += load * margin
        squares_eta += samples * x * x
        squares_omega += repeat * y * y
    share = scaled(1, problem.weights.exponent) / problem.N
    rest = problem.lambda_w * scaled(1, 2 * omega.exponent) * squares_omega * fmpq(K - 1, K)
    rest += problem.lambda_h * scaled(1, 2 * eta.exponent) * squares_eta
    smoothing = loss.smoothing * fmpq(K - 1, K) * unit_margin * margins * share
    return losses * arb(share) + arb(rest / 2 + smoothing)
