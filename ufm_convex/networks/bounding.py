"""A proved lower bound of a network's whole training objective.

    (1/N) Σ_i ω_{y_i} l(W h_i + b, y_i) + Σ_θ (wd_θ/2) θ²  ≥  f*(λ_W, λ_H, λ_b)

for every value of all parameters, where the features h come out of normalisations through operations that keep their
size (``structure``). λ_W = wd_W, λ_H = 1 / (N Σ_j κ_j/w_j) with w_j the smaller decay of γ_j and β_j, λ_b = wd_b, free
where b pays nothing. f* is bounded from below by a certificate. Theorem, proof and cases: docs/training_bound.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from ufm_convex import enclosure
from ufm_convex._bits import fraction
from ufm_convex.certificate import Certificate, certify
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import Loss
from ufm_convex.networks.decays import parameter_decays
from ufm_convex.networks.heads import capture, find_head, leads_out, require_plain, require_recorded
from ufm_convex.networks.reach import Masks
from ufm_convex.networks.structure import Normalisation, Structure, read_structure
from ufm_convex.problem import Problem
from ufm_convex.solution import Solution
from ufm_convex.solving import solve

Case = Literal["parameters", "shift undecayed", "given scale"]
"""What the bound holds for: all parameters; all, with β that pays nothing; the scales γ and shifts β as they are."""

_ROOT_BITS = 80


@dataclass(frozen=True, eq=False)
class TrainingBound:
    """A lower bound of a training objective.

    Attributes:
        value: The bound, a binary64 number not above the proved one.
        case: Which case of the theorem it is.
        certificate: The proof of that optimum.
        solution: The optimum.
        structure: What was read off the graph.
        expectation: Whether it bounds the expectation over masks of dropout, and not each mask.
        charge: What is taken off the optimum: λ_H ρ/2 for a given scale, else 0.
    """

    value: float
    case: Case
    certificate: Certificate
    solution: Solution
    structure: Structure
    expectation: bool
    charge: Fraction = Fraction(0)

    @property
    def problem(self) -> Problem:
        """The problem whose optimum it is."""
        return self.solution.problem


def training_bound(
    model: Any,
    inputs: Any,
    *,
    class_counts: Sequence[int],
    weight_decay: object,
    loss: Loss | None = None,
    head: Any = None,
) -> TrainingBound:
    """The bound of a network's objective over samples of given counts, whatever its parameters are.

    The network is run once on ``inputs`` in the mode that it is in; batch norm counts only in training. Buffers
    change as in any pass.

    Args:
        model: A ``torch.nn.Module``.
        inputs: A batch, from which the structure is read.
        class_counts: Samples of each class, K integers.
        weight_decay: As for ``parameter_decays``.
        loss: The loss as the objective has it, its class weights relative to (1/N) Σ; None for cross-entropy.
        head: The head, where it is not found by convention.

    Raises:
        HypothesisError: the theorem does not hold for this network; the message says why.
        NetworkError: there is no head, or it is not a plain linear layer.
        ProblemError: a decay is out of range.
    """
    head = find_head(model, len(class_counts), head)
    require_plain(head)
    decays = parameter_decays(model, weight_decay)
    own = head_decays(model, head, decays)
    captured = capture(model, head, inputs, marked=True)
    changed = leads_out(captured, head)
    if changed is not None:
        raise no_bound(f"{changed}.", "a network that returns the logits W h + b")
    require_recorded(captured)
    structure = read_structure(captured.features, names_of(model), head)
    return bound_of(structure, own, decays, class_counts, loss)


def names_of(model: Any) -> dict[int, str]:
    """Name of each parameter by ``id``."""
    return {id(one): name for name, one in model.named_parameters()}


def head_decays(model: Any, head: Any, decays: Mapping[str, float]) -> tuple[float, float | None]:
    """Decays of W and b; None without a bias.

    Raises:
        HypothesisError: W has none.
    """
    names = names_of(model)
    weights = decays[names[id(head.weight)]]
    if weights <= 0.0:
        raise no_bound("the head's weights have no weight decay.", "a decay > 0: else the infimum is 0")
    return weights, None if head.bias is None else decays[names[id(head.bias)]]


def bound_of(
    structure: Structure,
    head: tuple[float, float | None],
    decays: Mapping[str, float],
    class_counts: Sequence[int],
    loss: Loss | None = None,
) -> TrainingBound:
    """The bound that a structure and decays amount to.

    Args:
        structure: What feeds the head.
        head: Decays of W and of b, None without a bias.
        decays: wd_θ by name.
        class_counts: Samples of each class.
        loss: The loss.

    Raises:
        HypothesisError: β pays nothing, and the samples differ in more than û.
    """
    lambda_w, lambda_b = head
    case = case_of(structure, decays)
    if case == "given scale":
        return _at_given_scale(structure, head, class_counts, loss)
    expectation = structure.masks in (Masks.DIAGONAL, Masks.LINEAR)
    cost = Fraction(0)
    for one in structure.normalisations:
        kappa = one.kappa_masked if structure.masks is Masks.LOST else one.kappa
        pays = decay_of(one, decays)
        if case == "shift undecayed":
            kappa, pays = one.kappa_change, decays[one.weight or ""]
        cost += kappa / fraction(pays)
    free = case == "shift undecayed"
    if free and (structure.masks is Masks.LOST or not structure.aligned):
        raise no_bound(
            "β has no decay, and the features of a sample without variation depend on the sample.",
            "a decay on β, or the same linear operations for every sample",
        )
    num_samples = sum(int(count) for count in class_counts)
    problem = Problem(
        class_counts,
        lambda_w,
        below(1 / (num_samples * cost)),
        loss=loss,
        features="nonnegative" if structure.nonnegative and not free else "free",
        bias="free" if free else _bias(lambda_b),
    )
    solution = solve(problem)
    certificate = certify(problem, solution=solution)
    return TrainingBound(certificate.lower, case, certificate, solution, structure, expectation)


def case_of(structure: Structure, decays: Mapping[str, float]) -> Case:
    """Which case of the theorem the decays of scales and shifts make it."""
    if any(one.weight is None or not decays[one.weight] for one in structure.normalisations):
        return "given scale"
    if any(one.has_bias and not (one.bias and decays[one.bias]) for one in structure.normalisations):
        return "shift undecayed"
    return "parameters"


def decay_of(one: Normalisation, decays: Mapping[str, float]) -> float:
    """w_j, the smaller decay of γ and β."""
    return min(decays[name] for name in (one.weight, one.bias) if name is not None)


def _bias(decay: float | None) -> float | Literal["free"] | None:
    return "free" if decay == 0.0 else decay


# -- a given scale ------------------------------------------------------------------------------------------------


def _at_given_scale(
    structure: Structure, head: tuple[float, float | None], class_counts: Sequence[int], loss: Loss | None
) -> TrainingBound:
    """The largest over l of f*(λ_W, l, λ_b) − l ρ/2, ρ the bound on ‖H‖² at the present γ and β."""
    lost = structure.masks is Masks.LOST
    squares = [one.given_masked if lost else one.given for one in structure.normalisations]
    num_samples = sum(int(count) for count in class_counts)
    rho = num_samples * (squares[0] if len(squares) == 1 else sum(map(_root_above, squares), Fraction(0)) ** 2)
    if not rho:
        raise no_bound("γ and β before the head are all 0.", "scales that are not 0")

    def problem_at(decay: float) -> Problem:
        return Problem(
            class_counts,
            head[0],
            decay,
            loss=loss,
            features="nonnegative" if structure.nonnegative else "free",
            bias=_bias(head[1]),
        )

    problem = problem_at(_best_decay(problem_at, float(rho)))
    solution = solve(problem)
    certificate = certify(problem, solution=solution)
    charge = fraction(problem.lambda_h) * rho / 2
    value = below(fraction(certificate.lower) - charge)
    expectation = structure.masks in (Masks.DIAGONAL, Masks.LINEAR)
    return TrainingBound(value, "given scale", certificate, solution, structure, expectation, charge)


def _best_decay(problem_at: Any, rho: float) -> float:
    """About the l that is best; any l gives a bound, so this need not be exact.

    f*(l) − l ρ/2 is concave, f* grows as ‖H*(l)‖²/2 and stays constant from where every class has collapsed on.
    """
    from scipy.optimize import minimize_scalar

    one = problem_at(1.0)
    weights, counts = one.loss_weights, one.class_counts
    largest = float((weights**2 / counts).max()) / one.lambda_w

    def loss_of(exponent: float) -> float:
        decay = math.exp(exponent)
        return 0.5 * decay * rho - solve(problem_at(decay), tolerance=1e-4).lower_bound

    ends = math.log(largest) - 30.0, math.log(largest)
    return math.exp(minimize_scalar(loss_of, bounds=ends, method="bounded", options={"xatol": 1e-3}).x)


# -- exact numbers ------------------------------------------------------------------------------------------------


def below(number: Fraction) -> float:
    """The largest binary64 number that is not above."""
    return enclosure.fraction_below(number)


def _root_above(number: Fraction) -> Fraction:
    """A rational number not below the square root, and hardly above."""
    scaled = number * (1 << (2 * _ROOT_BITS))
    return Fraction(math.isqrt(-(-scaled.numerator // scaled.denominator)) + 1, 1 << _ROOT_BITS)


def no_bound(got: str, expected: str) -> HypothesisError:
    """The error for a network of which the theorem says nothing."""
    return HypothesisError(
        got, expected=expected, fix="there is no bound; the gap of the last layer does not need one."
    )
