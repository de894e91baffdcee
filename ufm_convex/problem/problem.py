"""The problem: class counts, weight decays, loss, sign of the features.

    min over W (K, d) and H (N, d)    (1/N) Σ_i ω_{y_i} l_{y_i}(W h_i) + λ_W/2 ‖W‖² + λ_H/2 ‖H‖²

with H ≥ 0 entrywise when ``features`` is "nonnegative" (docs/duality.md, equation 1). A loss with a table of targets
has one column a row of the table, and V outputs, in place of K classes (docs/targets.md). With a bias the logits are
W h_i + b, and a constraint stands in place of the penalty or of the loss. A ``Problem`` is frozen, validated when it
is made, compares and hashes by content, and reads and writes TOML without losing a bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, IntArray, frozen, real, whole
from ufm_convex.class_counts import counts_from_profile, validate_class_counts
from ufm_convex.errors import FileFormatError, HypothesisError, ProblemError, UnknownNameError, shown
from ufm_convex.losses import CrossEntropy, Loss, make, require_named, traits
from ufm_convex.problem.constraints import Constraint
from ufm_convex.problem.constraints import make as make_constraint
from ufm_convex.problem.model import Model

Features = Literal["nonnegative", "free"]
T = TypeVar("T")
_LISTED = 10  # outputs named in a message
_KEYS = ("class_counts", "profile", "lambda_w", "lambda_h", "features", "feature_dim", "loss", "bias", "constraint")


@dataclass(frozen=True, eq=False)
class Problem(Model):
    """One instance of the unconstrained feature model.

    Args:
        class_counts: Samples in each class, K ≥ 2 integers ≥ 0, one of them > 0. A class without samples is an output
            of the classifier, and a row of W, all the same (docs/empty_classes.md). With a table of targets: samples of
            each of its m ≥ 1 rows, integers > 0.
        lambda_w: Weight decay λ_W > 0 of the classifier; None with a constraint that replaces the decays.
        lambda_h: Weight decay λ_H > 0 of the features; likewise.
        loss: A loss of ``ufm_convex.losses``; None for cross-entropy, or for the one that the constraint stands for.
        features: "nonnegative" (they come out of a ReLU) or "free".
        feature_dim: Dimension d of the features; None when d is not binding.
        bias: None for logits W h; "free" for W h + b; a number λ_b > 0 for W h + b with the penalty λ_b/2 ‖b‖².
        constraint: A constraint of ``ufm_convex.problem.constraints``, or None.

    Raises:
        CountsError: the counts are not K ≥ 2 integers ≥ 0, one of them > 0.
        ProblemError: a decay is not a finite number > 0, the dimension is not a positive integer, the bias is none of
            its three forms, or the constraint does not go with the other arguments, or a table of targets or norm
            bounds do not go with a class without samples.
        HypothesisError: the bias is free, and some output has no mass: the infimum is not attained.
        UnknownNameError: ``features`` is neither of its two words.
        ShapeError: the loss has parameters for another number of classes.

    Example:
        >>> problem = Problem([500, 100, 20], lambda_w=5e-3, lambda_h=5e-3)
        >>> problem.num_classes, problem.num_samples
        (3, 620)
    """

    KEYS: ClassVar[tuple[str, ...]] = _KEYS
    HELP: ClassVar[str] = "compare with docs/problem_file.md, or write one with Problem.save."

    class_counts: IntArray
    lambda_w: float
    lambda_h: float
    loss: Loss = field(default_factory=CrossEntropy, kw_only=True)
    features: Features = field(default="nonnegative", kw_only=True)
    feature_dim: int | None = field(default=None, kw_only=True)
    bias: float | Literal["free"] | None = field(default=None, kw_only=True)
    constraint: Constraint | None = field(default=None, kw_only=True)

    def __init__(
        self,
        class_counts: Sequence[int] | IntArray,
        lambda_w: float | None = None,
        lambda_h: float | None = None,
        *,
        loss: Loss | None = None,
        features: Features = "nonnegative",
        feature_dim: int | None = None,
        bias: float | Literal["free"] | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        fewest = 2 if getattr(loss, "table", None) is None else 1
        counts = frozen(validate_class_counts(class_counts, fewest=fewest), dtype=np.int64)
        loss = _loss(loss, constraint, counts.size)
        _check_empty(counts, loss, constraint)
        if features not in get_args(Features):
            raise UnknownNameError(
                f"features is {shown(features)}.",
                expected='"nonnegative" or "free"',
                fix='use "nonnegative" for features that come out of a ReLU.',
            )
        for name, value in {
            "class_counts": counts,
            "lambda_w": _decay("lambda_w", lambda_w, constraint),
            "lambda_h": _decay("lambda_h", lambda_h, constraint),
            "loss": loss,
            "features": features,
            "feature_dim": _dimension(feature_dim),
            "bias": _attained(_bias(bias), loss, counts),
            "constraint": constraint,
        }.items():
            object.__setattr__(self, name, value)

    # -- derived quantities ---------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """K, the number of counts: V where columns are classes, m where they are rows of a table of targets."""
        return int(self.class_counts.size)

    @property
    def num_outputs(self) -> int:
        """V: the rows of W."""
        return self.loss.num_outputs(self.num_classes)

    @cached_property
    def num_columns(self) -> int:
        """m: the classes with samples, or the rows of the table of targets."""
        return int(np.count_nonzero(self.class_counts))

    @property
    def tabled(self) -> bool:
        """Whether a table gives each column its target, and columns need not be classes."""
        return self.loss.table is not None

    @property
    def paired(self) -> bool:
        """Whether there are as many counts as outputs: classes, or a table that gives each class its target."""
        return self.num_outputs == self.num_classes

    @cached_property
    def floor(self) -> float:
        """Σ pt_j Ent(y_j): what no model can go below; 0 for hard labels, squared error, and norm bounds."""
        if self.constraint is not None:
            return 0.0
        there = np.flatnonzero(self.class_counts)
        return float(self.loss_weights[there] @ self.loss.floors(self.num_outputs, there))

    @cached_property
    def merged(self) -> tuple[Problem, IntArray]:
        """The problem with equal columns of a table merged, itself if there are none; the new column of each, (m,).

        Columns with equal targets and equal weights have equal features at an optimum, by Jensen's inequality: the
        optimum is that with one column for them, and the sum of their counts (docs/targets.md).
        """
        table, alone = self.loss.table, np.arange(self.num_classes)
        if table is None or (self.constraint is not None and self.constraint.replaces_decays):
            return self, alone
        first = table.equal_rows(self.loss.weights(self.num_classes))
        kept, column = np.unique(first, return_inverse=True)
        if kept.size == alone.size:
            return self, alone
        counts = np.zeros(kept.size, dtype=np.int64)
        np.add.at(counts, column, self.class_counts)
        (_, *decays), rest = self.arguments()
        return Problem(counts, *decays, **{**rest, "loss": self.loss.kept(kept)}), column

    @cached_property
    def empty_classes(self) -> tuple[int, ...]:
        """Classes, from 0, without samples."""
        return tuple(np.flatnonzero(self.class_counts == 0).tolist())

    @cached_property
    def num_samples(self) -> int:
        """N = Σ n_k."""
        return int(self.class_counts.sum())

    @property
    def nonnegative(self) -> bool:
        """True when the features carry the constraint H ≥ 0."""
        return self.features == "nonnegative"

    @property
    def bias_decay(self) -> float:
        """λ_b; 0 for a free bias and without one."""
        return 0.0 if self.bias is None or isinstance(self.bias, str) else self.bias

    @cached_property
    def loss_weights(self) -> FloatArray:
        """pt_k = ω_k n_k / N, shape (K,); (m,) for a table, as are all numbers by columns."""
        return frozen(self.loss.weights(self.num_classes) * self.class_counts / self.num_samples)

    @cached_property
    def sigma(self) -> FloatArray:
        """σ_k = √(λ_W λ_H n_k), shape (K,), formed without the product of the decays (it may underflow)."""
        self.require_decays("σ")
        return frozen(math.sqrt(self.lambda_w) * math.sqrt(self.lambda_h) * np.sqrt(self.class_counts))

    @cached_property
    def prices(self) -> FloatArray:
        """σ_k / pt_k, shape (K,): what a logit of class k costs beside its loss; +inf for a class without samples."""
        there = self.class_counts > 0
        return frozen(np.where(there, self.sigma, np.inf) / np.where(there, self.loss_weights, 1.0))

    def require_plain(self, what: str) -> None:
        """Raise ``HypothesisError`` if the problem has a bias or no decays, which ``what`` has no form for."""
        self.require_decays(what)
        self.require_no_bias(what)

    def require_classes(self, what: str) -> None:
        """Raise ``HypothesisError`` if a table has other outputs than columns, which ``what`` has no form for."""
        if not self.paired:
            raise HypothesisError(
                f"the table of targets has {self.num_outputs} outputs and {self.num_columns} rows.",
                expected=f"classes, or as many rows as outputs, for {what}",
                fix="use the proved bounds and the points of ufm_convex.solve(problem).",
            )

    def require_no_bias(self, what: str) -> None:
        """Raise ``HypothesisError`` if the problem has a bias, which ``what`` has no form for."""
        if self.bias is not None:
            raise HypothesisError(
                "the problem has a bias.",
                expected=f"a problem with penalties and without bias for {what}",
                fix="use ufm_convex.solve(problem), or leave the bias and the constraint out.",
            )

    def require_decays(self, what: str) -> None:
        """Raise ``HypothesisError`` if the problem has no decays, which ``what`` has no form for."""
        if self.constraint is not None and self.constraint.replaces_decays:
            raise HypothesisError(
                f"the problem has the constraint {self.constraint.name!r}.",
                expected=f"a problem with penalties and without bias for {what}",
                fix="use ufm_convex.solve(problem), or leave the bias and the constraint out.",
            )

    # -- content --------------------------------------------------------------------------------------------

    def content(self) -> dict[str, Any]:
        """The defining data as plain values, in the layout of the TOML file."""
        constraint = self.constraint
        given = {
            "class_counts": self.class_counts.tolist(),
            "lambda_w": self.lambda_w,
            "lambda_h": self.lambda_h,
            "features": self.features,
            "loss": {"name": self.loss.name, **self.loss.parameters()},
            "feature_dim": self.feature_dim,
            "bias": self.bias,
            "constraint": None if constraint is None else {"name": constraint.name, **constraint.parameters()},
        }
        if constraint is not None and constraint.loss is not None:  # it stands for the loss, so it is said once
            del given["loss"]
        return {name: value for name, value in given.items() if value is not None}

    @property
    def mark(self) -> str:
        """See ``Model.mark``: the class of a loss of another package, which may have the name of another."""
        return traits.mark(self.loss)

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """See ``Model.arguments``."""
        given = {name: getattr(self, name) for name in ("features", "feature_dim", "bias", "constraint")}
        imposed = self.constraint is not None and self.constraint.loss is not None
        return (self.class_counts, self.lambda_w, self.lambda_h), {"loss": None if imposed else self.loss, **given}

    def __repr__(self) -> str:
        counts = np.array2string(self.class_counts, threshold=12, edgeitems=4, separator=", ")
        return (
            f"Problem(class_counts={counts}, lambda_w={self.lambda_w!r}, lambda_h={self.lambda_h!r}, "
            f"loss={self.loss!r}, features={self.features!r}, feature_dim={self.feature_dim!r}"
            + "".join(
                f", {name}={value!r}" for name in ("bias", "constraint") if (value := getattr(self, name)) is not None
            )
            + ")"
        )

    # -- TOML -----------------------------------------------------------------------------------------------

    def to_toml(self) -> str:
        """See ``Model.to_toml``. Raises ``ProblemError`` where the loss is not the one that its name stands for."""
        require_named(self.loss)
        return super().to_toml()

    @classmethod
    def from_content(cls, data: Mapping[str, Any], *, source: str = "the problem") -> Self:
        """The problem with the given content; raises as ``from_toml``.

        The keys are the arguments of ``Problem``; ``profile = "exponential:classes=10,max=5000,ratio=100"`` may
        stand in place of ``class_counts``; ``[loss]`` and ``[constraint]`` are tables with ``name`` and parameters.
        """
        unknown = sorted(set(data) - set(_KEYS))
        decays = [key in data for key in ("lambda_w", "lambda_h")]
        if unknown or ("class_counts" in data) == ("profile" in data) or not (all(decays) or "constraint" in data):
            raise FileFormatError(
                f"{source} has the keys {', '.join(sorted(data)) or '(none)'}.",
                expected="class_counts or profile; lambda_w and lambda_h; any of " + ", ".join(_KEYS[4:]),
                fix=_other_keys(data, unknown)
                if "model" not in data
                else "with the key model it is another kind of problem: for ufm-convex solve or the load of its class.",
            )
        counts = data["class_counts"] if "class_counts" in data else counts_from_profile(data["profile"])
        return cls(
            counts,
            data.get("lambda_w"),
            data.get("lambda_h"),
            loss=_from_table(make, data, "loss", source),
            features=data.get("features", "nonnegative"),
            feature_dim=data.get("feature_dim"),
            bias=data.get("bias"),
            constraint=_from_table(make_constraint, data, "constraint", source),
        )


def _other_keys(data: Mapping[str, Any], unknown: Sequence[str]) -> str:
    """Which keys of a problem to remove and to add."""
    constrained = "constraint" in data
    add = [] if "class_counts" in data or "profile" in data else ["class_counts"]
    add += [key for key in ("lambda_w", "lambda_h") if key not in data and not constrained]
    remove = [*unknown, *(["profile"] if "class_counts" in data and "profile" in data else [])]
    asked = [f"remove what is not listed: {', '.join(remove)}"] if remove else []
    return "; ".join([*asked, *([f"add {', '.join(add)}"] if add else [])]) + "."


def _from_table(
    make_one: Callable[[str, dict[str, Any]], T], data: Mapping[str, Any], key: str, source: str
) -> T | None:
    """What the table ``data[key]`` describes by its name and parameters; None without one."""
    table = data.get(key)
    if table is None:
        return None
    if not isinstance(table, Mapping) or "name" not in table:
        raise FileFormatError(
            f"{source} has {key} = {shown(table)}.",
            expected=f"a table [{key}] with a name, and its parameters",
            fix=f'write {key} = {{ name = "…" }} with one of the names that a wrong one lists.',
        )
    return make_one(table["name"], {name: value for name, value in table.items() if name != "name"})


def _loss(loss: Loss | None, constraint: Constraint | None, num_classes: int) -> Loss:
    """The loss of the problem, or the error that says what is wrong with it or with the constraint."""
    if constraint is not None and not isinstance(constraint, Constraint):
        raise ProblemError(
            f"constraint is {shown(constraint)}, a {type(constraint).__name__}.",
            expected="None, or an instance of ufm_convex.problem.constraints.Constraint",
            fix="pass for example ufm_convex.LayerPeeled(weight_radius=1.0, feature_radius=5.0).",
        )
    imposed = None if constraint is None else constraint.loss
    if constraint is not None and imposed is not None and loss is not None:
        raise ProblemError(
            f"both a loss and the constraint {constraint.name!r}, which stands in its place, are given.",
            expected="one of them",
            fix="leave the loss out.",
        )
    found = imposed or (CrossEntropy() if loss is None else loss)
    if not isinstance(found, Loss):
        raise ProblemError(
            f"loss is {shown(loss)}, a {type(loss).__name__}.",
            expected="an instance of ufm_convex.losses.Loss",
            fix="pass for example ufm_convex.CrossEntropy().",
        )
    found.validate(num_classes)
    return found


def _check_empty(counts: IntArray, loss: Loss, constraint: Constraint | None) -> None:
    """Raise ``ProblemError`` where a class without samples has no meaning."""
    empty = np.flatnonzero(counts == 0)
    if empty.size and constraint is not None and constraint.replaces_decays:
        raise ProblemError(
            f"class {empty[0]} has no samples beside the constraint {constraint.name!r}.",
            expected="samples in each class: the constraint bounds a mean over classes of means over their samples",
            fix="leave out classes without samples, or use decays.",
        )
    if empty.size and loss.table is not None:
        raise ProblemError(
            f"class {empty[0]} has no samples, and the table of {loss.name!r} has a row for it.",
            expected="samples for each row of the table",
            fix="leave it out, its count and its row of the table; its column may stay: an output without samples.",
        )
    if loss.table is not None and not loss.table.square and constraint is not None and constraint.replaces_decays:
        raise ProblemError(
            f"targets has {len(loss.table)} rows and {loss.table.num_outputs} outputs beside {constraint.name!r}.",
            expected="a square table, a row a class: norm bounds are about means over classes",
            fix="use decays, lambda_w and lambda_h, in place of the constraint.",
        )


def _attained(bias: float | Literal["free"] | None, loss: Loss, counts: IntArray) -> float | Literal["free"] | None:
    """The bias, or ``HypothesisError`` for a free one without a best value (docs/empty_classes.md, section 4)."""
    escaping = (
        loss.unbounded_bias(loss.num_outputs(counts.size), np.flatnonzero(counts)) if bias == "free" else np.zeros(0)
    )
    if not escaping.size:
        return bias
    listed = ", ".join(map(str, escaping[:_LISTED].tolist())) + (", …" if escaping.size > _LISTED else "")
    raise HypothesisError(
        f"the bias is free, and {'output' if escaping.size == 1 else 'outputs'} {listed} "
        f"{'has' if escaping.size == 1 else 'have'} no mass: the targets of all samples agree there, so that "
        f"under {loss.name!r} the infimum is not attained.",
        expected="with a free bias, targets that leave each output some mass, as samples in each class do",
        fix="penalise the bias, as bias=1e-3 does, or leave these classes out: the infimum is that without them.",
    )


def _decay(name: str, value: float | None, constraint: Constraint | None) -> float | None:
    """The decay as a binary64 number, or the error that says what is wrong with it."""
    if constraint is not None and constraint.replaces_decays:
        if value is None:
            return None
        raise ProblemError(
            f"{name} is {shown(value)} beside the constraint {constraint.name!r}.",
            expected="None: the constraint stands in place of the penalty",
            fix=f"leave {name} out.",
        )
    return _given.positive(
        name,
        value,
        got=f"{name} is None: it is not given." if value is None else None,
        fix=f"pass {name}=5e-4, or the weight decay of your training."
        if math.isnan(real(value))
        else "without decay the infimum is not attained; use a small positive one such as 1e-6.",
    )


def require_problem(given: object, what: str = "this") -> None:
    """Raise ``ProblemError`` for what is not a ``Problem``: a problem of another kind, or none at all.

    Args:
        given: What was given.
        what: What has no form for other kinds: "a figure".
    """
    if isinstance(given, Model) and not isinstance(given, Problem):
        raise ProblemError(
            f"problem is {shown(given)}, another kind of problem: {given.LACKS}.",
            expected=f"an ufm_convex.Problem for {what}",
            fix="use ufm_convex.solve, ufm_convex.certify and ufm_convex.verify, or their commands, for this one.",
        )
    if not isinstance(given, Problem):
        raise ProblemError(
            f"problem is {shown(given)}.",
            expected="an ufm_convex.Problem",
            fix="make one with Problem(class_counts, …).",
        )


def _dimension(value: int | None) -> int | None:
    """The feature dimension, or the error that says what is wrong with it."""
    if value is None:
        return None
    number = whole(value)
    if number is not None and 1 <= number < 2**63:
        return number
    raise ProblemError(
        f"feature_dim is {shown(value)}.",
        expected="None, or an integer from 1 to 2**63 - 1",
        fix="leave it out when the dimension is not binding.",
    )


def _bias(value: float | Literal["free"] | None) -> float | Literal["free"] | None:
    """The form of the bias, or the error that says what is wrong with it."""
    if value is None or (isinstance(value, str) and value == "free"):
        return value
    expected = 'None (no bias), "free", or the weight lambda_b > 0 of its penalty'
    return _given.positive("bias", value, expected=expected, fix='write bias="free" for a bias without penalty.')
