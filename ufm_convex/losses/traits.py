"""What may be asked of a loss, and how it is refused: the words follow from the trait that is missing."""

from __future__ import annotations

from collections.abc import Sequence

from ufm_convex._registry import full_name, is_own
from ufm_convex.errors import HypothesisError
from ufm_convex.losses.base import Loss

_MISSING = {
    "alike": (
        "does not treat the classes of a group alike",
        "a loss that is the same for all classes and symmetric in the other outputs",
    ),
    "margins_only": (
        "does not depend on a margin alone",
        "a loss invariant under shifts and under permutations of the other classes",
    ),
    "finite": ("is 0 or infinite, and nothing descends on it", "a loss that is finite everywhere"),
    "differentiable": ("has kinks, where descents stall", "a loss with a gradient everywhere"),
    "tabled_softmax": ("is no softmax against a table of shares", "SoftTargetCrossEntropy"),
}
"""Attribute of ``Loss`` → what is said of a loss that lacks it, and what was expected."""


def foreign(loss: Loss) -> bool:
    """Whether its class is one of another package, which the verifier does not know: its balls are that one's word."""
    return not is_own(type(loss))


def mark(loss: Loss) -> str:
    """The class of a loss of another package, which may call itself as one of this package; else empty."""
    return full_name(type(loss)) if foreign(loss) else ""


def require_own(loss: Loss, what: str) -> None:
    """Raise ``HypothesisError`` for a loss of another package; ``what`` would rest on its word alone."""
    if foreign(loss):
        raise HypothesisError(
            f"the loss {loss.name!r} is one of another package, and {what} would be its word alone.",
            expected="a loss of this package, which the verifier knows as well",
            fix="use solve(problem) and attribute_gap(problem, candidate), whose status is 'bounded' at most.",
        )


def missing(loss: Loss, needs: Sequence[str]) -> str | None:
    """The first of the needed traits that the loss does not have, or None."""
    return next((need for need in needs if not getattr(loss, need)), None)


def lacks(loss: Loss, needs: Sequence[str]) -> str | None:
    """What is to be said of the first needed trait that the loss does not have, or None."""
    need = missing(loss, needs)
    return None if need is None else f"loss {loss.name!r} {_MISSING[need][0]}"


def require(loss: Loss, needs: Sequence[str], *, fix: str) -> None:
    """Raise ``HypothesisError`` unless the loss has all needed traits."""
    need = missing(loss, needs)
    if need is not None:
        got, expected = _MISSING[need]
        raise HypothesisError(f"loss {loss.name!r} {got}.", expected=expected, fix=fix)
