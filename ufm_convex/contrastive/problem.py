"""The problem: class counts, a bound or a penalty on the features, the temperature.

    min over H (N, d), H ≥ 0    Σ_i 1/(n_{y_i} − 1) Σ_{j ≠ i, y_j = y_i} [ log Σ_{l ≠ i} e^{G_il/T} − G_ij/T ]

with G = H Hᵀ, either with ‖h_i‖² ≤ τ (``bound``) or with λ_H/2 ‖H‖² added (``lambda_h``); the sum is not divided by N
(docs/contrastive.md, equation 1). A class with one sample has no positives: it enters as a negative alone.
A ``ContrastiveProblem`` is frozen, validated when it is made, compares and hashes by content, and reads and writes TOML
without losing a bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, IntArray, frozen
from ufm_convex._bits import fraction
from ufm_convex.class_counts import validate_class_counts
from ufm_convex.contrastive.alike_classes import AlikeClasses
from ufm_convex.errors import FileFormatError, ProblemError, shown
from ufm_convex.problem import Model

MODEL = "contrastive"
"""The value of the key ``model`` that tells the TOML file from that of another kind of problem."""

_KEYS = ("model", "class_counts", "bound", "lambda_h", "temperature")


@dataclass(frozen=True, eq=False, repr=False)
class ContrastiveProblem(Model):
    """One instance of the supervised contrastive model with non-negative features.

    Args:
        class_counts: Samples in each class, K ≥ 2 integers ≥ 1.
        bound: τ > 0, the largest ‖h_i‖² that a feature may have. Exactly one of this and ``lambda_h``.
        lambda_h: λ_H > 0, decay of the features: λ_H/2 ‖H‖² is added to the sum over samples.
        temperature: T > 0, by which inner products are divided.

    Raises:
        CountsError: the counts are not K ≥ 2 positive integers.
        ProblemError: both or neither of ``bound`` and ``lambda_h`` are given, or a number is not finite and > 0, or the
            numbers τ/T or λ_H T leave the range of binary64.

    Example:
        >>> problem = ContrastiveProblem([50, 10, 2], bound=1.0, temperature=0.5)
        >>> problem.num_classes, problem.num_samples
        (3, 62)
    """

    MODEL: ClassVar[str | None] = MODEL
    KEYS: ClassVar[tuple[str, ...]] = tuple(sorted(_KEYS))
    HELP: ClassVar[str] = "compare with docs/contrastive.md, or write one with ContrastiveProblem.save."
    LACKS: ClassVar[str] = "the contrastive loss has no classifier W, nor logits"

    class_counts: IntArray
    bound: float | None
    lambda_h: float | None
    temperature: float

    def __init__(
        self,
        class_counts: Sequence[int] | IntArray,
        *,
        bound: float | None = None,
        lambda_h: float | None = None,
        temperature: float = 1.0,
    ) -> None:
        counts = frozen(validate_class_counts(class_counts, least=1), dtype=np.int64)
        if (bound is None) == (lambda_h is None):
            raise ProblemError(
                "bound and lambda_h are both given." if bound is not None else "neither bound nor lambda_h is given.",
                expected="exactly one of them: a bound on ‖h_i‖², or a penalty λ_H/2 ‖H‖²",
                fix="use bound=1.0 for features on the unit sphere or in the unit ball, lambda_h for weight decay.",
            )
        for name, value in {
            "class_counts": counts,
            "bound": None if bound is None else _positive("bound", bound),
            "lambda_h": None if lambda_h is None else _positive("lambda_h", lambda_h),
            "temperature": _positive("temperature", temperature),
        }.items():
            object.__setattr__(self, name, value)
        _check_range(self)

    # -- derived quantities ---------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.class_counts.size)

    @cached_property
    def num_samples(self) -> int:
        """N = Σ n_k."""
        return int(self.class_counts.sum())

    @cached_property
    def groups(self) -> AlikeClasses:
        """Classes with equal counts, sorted by count."""
        return AlikeClasses.of(self.class_counts)

    @cached_property
    def classes(self) -> AlikeClasses:
        """One group a class, in class order."""
        return AlikeClasses.single(self.class_counts)

    @property
    def scaled_bound(self) -> float:
        """τ/T, the largest G_ii/T; +inf without a bound."""
        return math.inf if self.bound is None else self.bound / self.temperature

    @property
    def scaled_penalty(self) -> float:
        """The cost a = λ_H T/2 of one unit of G_ii/T; 0 without a penalty."""
        return 0.0 if self.lambda_h is None else 0.5 * (self.lambda_h * self.temperature)

    @property
    def exact_penalty(self) -> Fraction:
        """The cost a = λ_H T/2 of the given binary64 numbers, exactly."""
        return fraction(self.lambda_h or 0) * fraction(self.temperature) / 2

    @cached_property
    def labels(self) -> IntArray:
        """Class of each sample when samples are sorted by class, (N,)."""
        return frozen(np.repeat(np.arange(self.num_classes), self.class_counts), dtype=np.int64)

    # -- content --------------------------------------------------------------------------------------------

    def content(self) -> dict[str, Any]:
        """The defining data as plain values, in the layout of the TOML file."""
        size = {"bound": self.bound} if self.bound is not None else {"lambda_h": self.lambda_h}
        return {
            "model": MODEL,
            "class_counts": self.class_counts.tolist(),
            **size,
            "temperature": self.temperature,
        }

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """See ``Model.arguments``."""
        given = {name: getattr(self, name) for name in ("bound", "lambda_h", "temperature")}
        return (self.class_counts,), given

    def theorems(self) -> tuple[Any, ...]:
        """See ``Model.theorems``: the closed form, whose hypotheses are those of the class."""
        from ufm_convex.contrastive.theory import ContrastiveFrame

        return (ContrastiveFrame(),)

    def __repr__(self) -> str:
        counts = np.array2string(self.class_counts, threshold=12, edgeitems=4, separator=", ")
        size = f"bound={self.bound!r}" if self.bound is not None else f"lambda_h={self.lambda_h!r}"
        return f"ContrastiveProblem(class_counts={counts}, {size}, temperature={self.temperature!r})"

    # -- TOML -----------------------------------------------------------------------------------------------

    @classmethod
    def from_content(cls, data: Mapping[str, Any], *, source: str = "the problem") -> Self:
        """The problem with the given content; raises as ``from_toml``."""
        unknown = sorted(set(data) - set(_KEYS))
        if unknown or data.get("model") != MODEL or "class_counts" not in data:
            raise FileFormatError(
                f"{source} has the keys {', '.join(sorted(data)) or '(none)'}, and model = {shown(data.get('model'))}.",
                expected=f'model = "{MODEL}", class_counts, bound or lambda_h; perhaps temperature',
                fix=f"remove {', '.join(unknown)}."
                if unknown
                else f'write model = "{MODEL}" and class_counts = [50, 10, 2], the counts of your classes.',
            )
        return cls(**{key: value for key, value in data.items() if key != "model"})


def _positive(name: str, value: float) -> float:
    """The number as binary64, or the error that says what is wrong with it."""
    return _given.positive(
        name,
        value,
        fix="temperatures are about 0.1 to 1; a bound of 1.0 is the unit ball."
        if name != "lambda_h"
        else "without a penalty the infimum is not attained; use a small positive one such as 1e-3, or a bound.",
    )


def _check_range(problem: ContrastiveProblem) -> None:
    """Raise ``ProblemError`` when τ/T or λ_H T/2 is no normal binary64 number: every formula is written in these."""
    name, value = ("bound / temperature", problem.scaled_bound)
    if problem.bound is None:
        name, value = "lambda_h · temperature / 2", problem.scaled_penalty
    if not float(np.finfo(np.float64).tiny) <= value < math.inf:
        raise ProblemError(
            f"{name} is {value!r}.",
            expected="a number in the range of binary64, 2.3e-308 to 1.7e308",
            fix="rescale the features: only this number matters.",
        )


def samples_in(groups: AlikeClasses) -> FloatArray:
    """K_g n_g, the number of samples of each group, (G,)."""
    counts: FloatArray = groups.sizes * groups.counts
    return counts


__all__ = ["MODEL", "ContrastiveProblem", "samples_in"]
