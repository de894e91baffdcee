"""The problem: class counts, weight decays, loss, sign of the features.

    min over W (K, d) and H (N, d)    (1/N) Σ_i ω_{y_i} l_{y_i}(W h_i) + λ_W/2 ‖W‖² + λ_H/2 ‖H‖²

with H ≥ 0 entrywise when ``features`` is "nonnegative" (docs/duality.md, equation 1). A ``Problem`` is frozen,
validated when it is made, compares and hashes by content, and reads and writes TOML without losing a bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray, frozen, real
from ufm_convex._files import write_atomically
from ufm_convex.class_counts import counts_from_profile, validate_class_counts
from ufm_convex.errors import FileFormatError, ProblemError, UnknownNameError, shown
from ufm_convex.losses import CrossEntropy, Loss, make

Features = Literal["nonnegative", "free"]
_KEYS = ("class_counts", "profile", "lambda_w", "lambda_h", "features", "feature_dim", "loss")


@dataclass(frozen=True, eq=False)
class Problem:
    """One instance of the unconstrained feature model.

    Args:
        class_counts: Samples in each class, K ≥ 2 integers ≥ 1.
        lambda_w: Weight decay λ_W > 0 of the classifier.
        lambda_h: Weight decay λ_H > 0 of the features.
        loss: A loss of ``ufm_convex.losses``.
        features: "nonnegative" (they come out of a ReLU) or "free".
        feature_dim: Dimension d of the features; None when d is not binding.

    Raises:
        CountsError: the counts are not K ≥ 2 positive integers.
        ProblemError: a decay is not a finite number > 0, or the dimension is not a positive integer.
        UnknownNameError: ``features`` is neither of its two words.
        ShapeError: the loss has parameters for another number of classes.

    Example:
        >>> problem = Problem([500, 100, 20], lambda_w=5e-3, lambda_h=5e-3)
        >>> problem.num_classes, problem.num_samples
        (3, 620)
    """

    class_counts: IntArray
    lambda_w: float
    lambda_h: float
    loss: Loss = field(default_factory=CrossEntropy, kw_only=True)
    features: Features = field(default="nonnegative", kw_only=True)
    feature_dim: int | None = field(default=None, kw_only=True)

    def __init__(
        self,
        class_counts: Sequence[int] | IntArray,
        lambda_w: float,
        lambda_h: float,
        *,
        loss: Loss | None = None,
        features: Features = "nonnegative",
        feature_dim: int | None = None,
    ) -> None:
        counts = frozen(validate_class_counts(class_counts), dtype=np.int64)
        loss = CrossEntropy() if loss is None else loss
        if not isinstance(loss, Loss):
            raise ProblemError(
                f"loss is {shown(loss)}, a {type(loss).__name__}.",
                expected="an instance of ufm_convex.losses.Loss",
                fix="pass for example ufm_convex.CrossEntropy().",
            )
        loss.validate(counts.size)
        if features not in get_args(Features):
            raise UnknownNameError(
                f"features is {shown(features)}.",
                expected='"nonnegative" or "free"',
                fix='use "nonnegative" for features that come out of a ReLU.',
            )
        for name, value in {
            "class_counts": counts,
            "lambda_w": _decay("lambda_w", lambda_w),
            "lambda_h": _decay("lambda_h", lambda_h),
            "loss": loss,
            "features": features,
            "feature_dim": _dimension(feature_dim),
        }.items():
            object.__setattr__(self, name, value)

    # -- derived quantities ---------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.class_counts.size)

    @cached_property
    def num_samples(self) -> int:
        """N = Σ n_k."""
        return int(self.class_counts.sum())

    @property
    def nonnegative(self) -> bool:
        """True when the features carry the constraint H ≥ 0."""
        return self.features == "nonnegative"

    @cached_property
    def loss_weights(self) -> FloatArray:
        """pt_k = ω_k n_k / N, shape (K,)."""
        return frozen(self.loss.weights(self.num_classes) * self.class_counts / self.num_samples)

    @cached_property
    def sigma(self) -> FloatArray:
        """σ_k = √(λ_W λ_H n_k), shape (K,), formed without the product of the decays (it may underflow)."""
        return frozen(math.sqrt(self.lambda_w) * math.sqrt(self.lambda_h) * np.sqrt(self.class_counts))

    # -- content --------------------------------------------------------------------------------------------

    def content(self) -> dict[str, Any]:
        """The defining data as plain values, in the layout of the TOML file."""
        content: dict[str, Any] = {
            "class_counts": self.class_counts.tolist(),
            "lambda_w": self.lambda_w,
            "lambda_h": self.lambda_h,
            "features": self.features,
            "loss": {"name": self.loss.name, **self.loss.parameters()},
        }
        if self.feature_dim is not None:
            content["feature_dim"] = self.feature_dim
        return content

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the content as canonical JSON (sorted keys, no white space)."""
        canonical = json.dumps(self.content(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, Problem) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and unpickle through the constructor: an array alone would lose its read-only flag."""
        make_again = partial(type(self), loss=self.loss, features=self.features, feature_dim=self.feature_dim)
        return make_again, (self.class_counts, self.lambda_w, self.lambda_h)

    def __repr__(self) -> str:
        counts = np.array2string(self.class_counts, threshold=12, edgeitems=4, separator=", ")
        return (
            f"Problem(class_counts={counts}, lambda_w={self.lambda_w!r}, lambda_h={self.lambda_h!r}, "
            f"loss={self.loss!r}, features={self.features!r}, feature_dim={self.feature_dim!r})"
        )

    # -- TOML -----------------------------------------------------------------------------------------------

    def to_toml(self) -> str:
        """The problem as TOML; ``Problem.from_toml`` gives it back exactly."""
        import tomli_w

        return tomli_w.dumps(self.content())

    def save(self, path: str | Path) -> None:
        """Write the TOML file, whole or not at all."""
        write_atomically(Path(path), self.to_toml())

    @classmethod
    def from_toml(cls, text: str, *, source: str = "the TOML text") -> Problem:
        """Read a problem from TOML.

        The keys are the arguments of ``Problem``; ``profile = "exponential:classes=10,max=5000,ratio=100"`` may
        stand in place of ``class_counts``, and ``[loss]`` is a table with ``name`` and the loss's parameters.

        Raises:
            FileFormatError: the text is not TOML, lacks a key, or has one that is not known.
            UFMError: as ``Problem`` for values out of range.
        """
        try:
            data = tomllib.loads(text)
        except ValueError as error:  # TOMLDecodeError, and int() on a number of thousands of digits
            raise FileFormatError(
                f"{source} is not TOML: {error}.",
                expected="keys " + ", ".join(_KEYS),
                fix="compare with docs/theorem.md, or write one with Problem.save.",
            ) from error
        return cls.from_content(data, source=source)

    @classmethod
    def load(cls, path: str | Path) -> Problem:
        """Read a problem from a TOML file; raises as ``from_toml``."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileFormatError(
                f"{path} cannot be read: {error}.",
                expected="a TOML file in UTF-8",
                fix="check the path and the encoding.",
            ) from error
        return cls.from_toml(text, source=str(path))

    @classmethod
    def from_content(cls, data: Mapping[str, Any], *, source: str = "the problem") -> Problem:
        """The problem with the given content; raises as ``from_toml``."""
        unknown = sorted(set(data) - set(_KEYS))
        missing = [key for key in ("lambda_w", "lambda_h") if key not in data]
        if unknown or missing or ("class_counts" in data) == ("profile" in data):
            raise FileFormatError(
                f"{source} has the keys {', '.join(sorted(data)) or '(none)'}.",
                expected="lambda_w, lambda_h, class_counts or profile; any of features, feature_dim, loss",
                fix="add what is missing and remove what is not listed.",
            )
        loss_table = data.get("loss", {"name": CrossEntropy.name})
        if not isinstance(loss_table, Mapping) or "name" not in loss_table:
            raise FileFormatError(
                f"{source} has loss = {shown(loss_table)}.",
                expected='a table, such as [loss] with name = "cross-entropy"',
                fix="write the loss as a table with a name.",
            )
        parameters = {key: value for key, value in loss_table.items() if key != "name"}
        counts = data["class_counts"] if "class_counts" in data else counts_from_profile(data["profile"])
        return cls(
            counts,
            data["lambda_w"],
            data["lambda_h"],
            loss=make(loss_table["name"], parameters),
            features=data.get("features", "nonnegative"),
            feature_dim=data.get("feature_dim"),
        )


def _decay(name: str, value: float) -> float:
    """The decay as a binary64 number, or the error that says what is wrong with it."""
    number = real(value)
    if 0.0 < number < math.inf:
        return number
    raise ProblemError(
        f"{name} is {shown(value)}.",
        expected="a finite number > 0",
        fix="without decay the infimum is not attained; use a small positive one such as 1e-6.",
    )


def _dimension(value: int | None) -> int | None:
    """The feature dimension, or the error that says what is wrong with it."""
    if value is None:
        return None
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 1 <= value < 2**63:
        return int(value)
    raise ProblemError(
        f"feature_dim is {shown(value)}.",
        expected="None, or an integer from 1 to 2**63 - 1",
        fix="leave it out when the dimension is not binding.",
    )
