"""What feeds a head, read off the autograd graph of its input: the hypotheses of the bound on a training objective.

The graph of the head's input is followed backwards to the normalisations that it comes from. A sum, a product by ten or
a parameter of its own are no modules, but they are nodes; a node that is not known ends the search with its name, and
there is no bound. Source: docs/training_bound.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ufm_convex.errors import HypothesisError
from ufm_convex.networks._torch import torch
from ufm_convex.networks.marks import DropoutMark, NormMark, note_of
from ufm_convex.networks.nodes import RULES, UnrecognisedError, base_name, describe, shape_of
from ufm_convex.networks.reach import Gain, Key, Masks, Reach

_BEYOND = 1.02
"""Relative excess over the bound, in the network's own precision, from which something has changed the features that
the graph does not show."""


_NUMBERS = ("kappa", "kappa_change", "kappa_masked", "given", "given_masked")


@dataclass(frozen=True)
class Normalisation:
    """A normalisation that the features come from, with what the bound needs of it; numbers are exact.

    Attributes:
        kind: "batch", "instance", "layer", "group" or "rms".
        weight: Name of γ among the parameters; None where it is none: absent, or no parameter.
        bias: Name of β; likewise.
        has_bias: Whether there is a β.
        kappa: κ: over any batch of B samples ‖H‖² ≤ κ B (‖γ‖² + ‖β‖²) where it is the only one.
        kappa_change: The same for H − H(û = 0) with γ alone, for β that pays nothing.
        kappa_masked: The same as κ under the worst mask of dropout.
        given: The same bound ‖H‖²/B at the parameters' present values.
        given_masked: Likewise under the worst mask.
    """

    kind: str
    weight: str | None
    bias: str | None
    has_bias: bool
    kappa: Fraction
    kappa_change: Fraction
    kappa_masked: Fraction
    given: Fraction
    given_masked: Fraction


@dataclass(frozen=True)
class Structure:
    """What feeds the head.

    Attributes:
        normalisations: Those that the features are a function of; m = their number.
        nonnegative: Whether features are ≥ 0 whatever the parameters are.
        masks: What follows dropout behind the normalisation.
        aligned: Whether at û = 0 every sample has the same features.
    """

    normalisations: tuple[Normalisation, ...]
    nonnegative: bool
    masks: Masks
    aligned: bool

    @property
    def kinds(self) -> str:
        """The kinds of normalisation, each once."""
        return ", ".join(sorted({one.kind for one in self.normalisations}))


def read_structure(features: Any, names: Mapping[int, str], head: Any) -> Structure:
    """The structure behind the input of a head.

    Args:
        features: The input (B, d), of a forward pass under ``marking``.
        names: Name of each parameter of the network by ``id``.
        head: The head, whose parameters are none of the normalisations'.

    Raises:
        HypothesisError: a hypothesis of the theorem does not hold: which, and where.
    """
    if features.ndim != 2 or features.grad_fn is None:
        raise _refused(
            f"the head's input has shape {tuple(features.shape)}"
            + ("." if features.grad_fn else " and no graph: it was detached, or computed without gradients."),
            "one row a sample, recorded by autograd",
        )
    try:
        reach = _walk(features.grad_fn, features.shape[0])
    except UnrecognisedError as error:
        raise _refused(str(error), "normalisation, then operations that the theorem knows, then the head") from None
    for mark in reach.marks.values():
        _check_mark(mark)
    found = [_normalisation(reach.gains[key], mark, key, names) for key, mark in reach.marks.items()]
    structure = Structure(tuple(found), reach.nonnegative, reach.masks, reach.aligned)
    _check_distinct(structure, [names.get(id(one), "") for one in head.parameters()])
    _check_size(features, structure)
    return structure


def joined(first: Structure, second: Structure) -> Structure:
    """The structure of two batches: the larger constants.

    Raises:
        HypothesisError: they differ in more than sizes.
    """
    keys = [[(one.kind, one.weight, one.bias, one.has_bias) for one in each.normalisations] for each in (first, second)]
    if keys[0] != keys[1]:
        raise _refused("what feeds the head changes from batch to batch.", "one structure for all samples")
    largest = [
        replace(one, **{name: max(getattr(one, name), getattr(other, name)) for name in _NUMBERS})
        for one, other in zip(first.normalisations, second.normalisations, strict=True)
    ]
    return Structure(
        tuple(largest),
        first.nonnegative and second.nonnegative,
        max(first.masks, second.masks),
        first.aligned and second.aligned,
    )


def _walk(last: Any, batch: int) -> Reach:
    """The reach of the result of a node, and of those before it; each node once, after what it takes."""
    known: dict[Any, Reach] = {}
    waiting = [last]
    while waiting:
        before = [one for one, _ in _inputs_of(waiting[-1]) if one not in known]
        if before:
            waiting += before
        else:
            node = waiting.pop()
            known[node] = _reach(node, batch, known)
    return known[last]


def _inputs_of(node: Any) -> list[tuple[Any, int]]:
    """The nodes that a node takes its inputs from, none for a normalisation."""
    note = note_of(node)
    if isinstance(note, NormMark):
        return []
    if isinstance(note, DropoutMark):
        if note.share == 1:
            raise UnrecognisedError("dropout of everything, whose masks have no mean of 1")
        return [node.next_functions[0]]
    if base_name(node) not in RULES:
        raise UnrecognisedError(describe(node))
    if any(before is None for before, _ in node.next_functions):
        raise UnrecognisedError(f"{describe(node)}, with a constant or with something detached")
    return list(node.next_functions)


def _reach(node: Any, batch: int, known: Mapping[Any, Reach]) -> Reach:
    """The reach of the result of a node, from those of its inputs."""
    note = note_of(node)
    if isinstance(note, NormMark):
        return Reach.of(note, batch)
    inputs = [(known[before], shape_of(before, index)) for before, index in _inputs_of(node)]
    return inputs[0][0].dropped(note.share) if isinstance(note, DropoutMark) else RULES[base_name(node)](node, inputs)


def _check_distinct(structure: Structure, taken: list[str]) -> None:
    """A parameter of two normalisations pays once, and would be counted twice."""
    names = taken + [name for one in structure.normalisations for name in (one.weight, one.bias) if name is not None]
    shared = sorted({name for name in names if names.count(name) > 1})
    if shared:
        raise _refused(
            f"the parameter {shared[0]} has two places, before the head or in it.",
            "a γ and a β for each",
        )


def _check_mark(mark: NormMark) -> None:
    if mark.running:
        raise _refused(
            f"the {mark.kind} norm before the head uses running statistics (evaluation, or a frozen layer).",
            "statistics of the batch itself: with running ones the features are not bounded",
        )
    if not mark.eps >= 0.0:
        raise _refused(f"the {mark.kind} norm before the head has eps = {mark.eps}.", "eps >= 0")


def _normalisation(gain: Gain, mark: NormMark, key: Key, names: Mapping[int, str]) -> Normalisation:
    size, change = _constants(mark)
    given = _given_square(mark, size)
    for tensor in (mark.weight, mark.bias):
        if tensor is not None and id(tensor) not in names and tensor.requires_grad:
            raise _refused(
                f"the scale or shift of the {mark.kind} norm before the head is computed, not a parameter.",
                "γ and β that are parameters of the network, so that their decay is known",
            )
    return Normalisation(
        kind=mark.kind,
        weight=names.get(key[0]) if mark.weight is not None else None,
        bias=names.get(key[1]) if mark.bias is not None else None,
        has_bias=mark.bias is not None,
        kappa=gain.size * size,
        kappa_change=gain.change * change,
        kappa_masked=gain.masked * size,
        given=gain.size * given,
        given_masked=gain.masked * given,
    )


def _constants(mark: NormMark) -> tuple[int, int]:
    """s_j for the size and for the change (docs/training_bound_cases.md, section 4)."""
    g = mark.group
    if mark.kind == "layer":
        return (g if mark.bias is not None else max(g - 1, 1)), max(g - 1, 1)
    return g, g  # 1 for batch and instance norm


def _given_square(mark: NormMark, size: int) -> Fraction:
    """s_j ν_j² at the present values; without a shift, at most C max γ²."""
    if mark.weight is None:
        square, largest = Fraction(mark.channels), Fraction(1)
    else:
        squares = _squares(mark.weight)
        square, largest = sum(squares, Fraction(0)), max(squares)
    if mark.bias is not None:
        return size * (square + sum(_squares(mark.bias), Fraction(0)))
    return min(size * square, mark.channels * largest)


def _squares(tensor: Any) -> list[Fraction]:
    values = tensor.detach().to("cpu", torch.float64).flatten().tolist()
    if not all(map(math.isfinite, values)):
        raise _refused("a scale or shift before the head is NaN or infinite.", "finite parameters")
    return [Fraction(value) ** 2 for value in values]


def _check_size(features: Any, structure: Structure) -> None:
    """Whether the features of this very batch keep the bound: ``h.data.mul_(10)`` leaves no node."""
    bound = sum(math.sqrt(one.given) for one in structure.normalisations) ** 2 * features.shape[0]
    seen = float(features.detach().double().square().sum())
    if not seen <= bound * _BEYOND**2:
        raise _refused(
            f"‖H‖² of this batch is {seen:.6g}, and its normalisation allows {bound:.6g}.",
            "features that are changed by recorded operations alone",
        )


def _refused(got: str, expected: str) -> HypothesisError:
    return HypothesisError(
        got, expected=expected, fix="there is no bound for this network; its gap and its parts do not need one."
    )
