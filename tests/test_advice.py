"""Every message's Fix does what it says: each case provokes an error, then follows the advice, word by word.

``FIXES`` are found in the source, by the functions that write them, so a new one needs a case here, or a reason among
``UNFOLLOWED`` why no test can follow it.
"""

import ast
import sys
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import attribution, losses, theory
from ufm_convex.candidate import feature_statistics
from ufm_convex.class_counts import profiles, read_class_counts, read_labels, validate_class_counts, validate_labels
from ufm_convex.cli import application
from ufm_convex.constraints import HardMargin
from ufm_convex.losses import CrossEntropy, LogitAdjustedCrossEntropy, MulticlassHinge, SoftTargetCrossEntropy
from ufm_convex.positivity import complete_positivity
from ufm_convex.sweep import Grid

PACKAGE = Path(ufm.__file__).parent
COUNTS, W, H, y = [4, 2, 2], np.eye(3), np.eye(3)[[0, 0, 0, 0, 1, 1, 2, 2]], np.repeat([0, 1, 2], [4, 2, 2])
PROBLEM = ufm.Problem([500, 100, 20], 5e-3, 5e-3)
SMALL = ufm.Problem(COUNTS, 5e-3, 5e-3)
FREE = ufm.Problem([500, 100, 20], 5e-3, 5e-3, features="free")


@dataclass(frozen=True)
class Case:
    """An error and the way out of it.

    Attributes:
        where: Module and function that write the advice.
        provoke: Raises; is given a folder.
        advice: Words of the Fix.
        follow: Does what they say; raises nothing.
    """

    where: str
    provoke: Callable[[Path], Any]
    advice: str
    follow: Callable[[Path], Any]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def counts_of(text: str | bytes, name: str = "n.csv") -> Callable[[Path], Any]:
    return lambda folder: read_class_counts(written(folder, name, text))


def labels_of(text: str | bytes, name: str = "y.csv") -> Callable[[Path], Any]:
    return lambda folder: read_labels(written(folder, name, text))


def npz_of(**arrays: Any) -> Callable[[Path], Any]:
    def load(folder: Path) -> ufm.Candidate:
        np.savez(folder / "c.npz", **arrays)
        return ufm.Candidate.load(folder / "c.npz")

    return load


def call(function: Callable[..., Any], *args: Any, **options: Any) -> Callable[[Path], Any]:
    return lambda folder: function(*args, **options)


def candidate(**changed: Any) -> Callable[[Path], Any]:
    return call(ufm.Candidate, **{"weights": W, "features": H, "labels": y, **changed})


def toml(text: str) -> Callable[[Path], Any]:
    return lambda folder: ufm.Problem.load(written(folder, "p.toml", text))


def command(*arguments: str, **files: str) -> Callable[[Path], Any]:
    """The command line; an error is raised again from its JSON-free three lines."""

    def run(folder: Path) -> None:
        for name, content in files.items():
            written(folder, name.replace("_", "."), content)
        done = CliRunner().invoke(application(), [one.replace("FOLDER", str(folder)) for one in arguments])
        if done.exit_code not in (0, 1):
            raise Refused(done.stderr)

    return run


class Refused(Exception):
    """What the command line printed on stderr."""


DECAYS = ("--lambda-w", "5e-3", "--lambda-h", "5e-3")
TOML = "class_counts = [500, 100, 20]\nlambda_w = 5e-3\nlambda_h = 5e-3\n"

masked = np.ma.masked_array([500, 100, 999999], mask=[0, 0, 1])
masked_rows = np.ma.masked_array(np.vstack([W, W[:1]]), mask=np.arange(12).reshape(4, 3) == 10)


class Unit(np.ndarray):
    """A subclass that could say more."""


class Broken:
    """An array that cannot be had."""

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise RuntimeError("gone")


def series(index: list[int]) -> Any:
    return sys.modules["pandas"].Series([20, 500, 100], index)


CASES = [
    # arrays
    Case(
        "_given:_unwrapped.refuse",
        call(ufm.Problem, masked, 1e-3, 1e-3),
        "class_counts.compressed()",
        call(ufm.Problem, masked.compressed(), 1e-3, 1e-3),
    ),
    Case(
        "_given:_unwrapped.refuse",
        call(ufm.Problem, masked, 1e-3, 1e-3),
        "class_counts.data",
        call(ufm.Problem, masked.data, 1e-3, 1e-3),
    ),
    Case(
        "_given:_unwrapped.refuse",
        candidate(weights=masked_rows),
        "np.ma.compress_rows(weights)",
        candidate(weights=np.ma.compress_rows(masked_rows)),
    ),
    Case(
        "_given:_unwrapped.refuse",
        candidate(weights=scipy.sparse.csr_array(W)),
        "weights.toarray()",
        candidate(weights=scipy.sparse.csr_array(W).toarray()),
    ),
    Case(
        "_given:_unwrapped.refuse",
        candidate(weights=W.view(Unit)),
        "np.asarray(weights)",
        candidate(weights=np.asarray(W.view(Unit))),
    ),
    Case("_given:array", candidate(weights=[[1.0], [1.0, 2.0]]), "rows of one length", candidate(weights=W.tolist())),
    Case("_given:array", candidate(weights=Broken()), "make weights a NumPy array", candidate(weights=np.array(W))),
    Case(
        "positivity.judging:_numbers",
        call(complete_positivity, [[np.nan, 0], [0, 1]]),
        "",
        call(complete_positivity, W),
    ),
    Case(
        "_given:tolerance", call(ufm.solve, PROBLEM, tolerance=2), "use 1e-6", call(ufm.solve, PROBLEM, tolerance=1e-6)
    ),
    Case(
        "_given:class_index",
        call(theory.optimum(PROBLEM).weight_norm_ratio, 0, 3),
        "numbered from 0",
        call(theory.optimum(PROBLEM).weight_norm_ratio, 0, 2),
    ),
    Case(
        "_given:require_known",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iter": 9}),
        "write max_iters",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iters": 9}),
    ),
    Case(
        "_given:require_known",
        call(ufm.solve, PROBLEM, solver="theory", options={"foo": 9}),
        "leave it out",
        call(ufm.solve, PROBLEM, solver="theory", options={}),
    ),
    Case(
        "_given:require_known",
        call(losses.make, "cross-entropy", {"smoothin": 0.1}),
        "write smoothing",
        call(losses.make, "cross-entropy", {"smoothing": 0.1}),
    ),
    Case(
        "_given:require_known",
        call(losses.make, "cross-entropy", {"foo": 1, "bar": 2}),
        "leave them out",
        call(losses.make, "cross-entropy", {}),
    ),
    Case(
        "_registry:choose",
        call(losses.make, "CrossEntropy"),
        "lower-case with hyphens",
        call(losses.make, "cross-entropy"),
    ),
    Case(
        "_registry:choose", call(ufm.solve, PROBLEM, solver="best"), "'auto'", call(ufm.solve, PROBLEM, solver="auto")
    ),
    Case(
        "_registry:make",
        call(losses.make, "soft-target-cross-entropy"),
        "add it",
        call(losses.make, "soft-target-cross-entropy", {"targets": W}),
    ),
    # files of text
    Case("_files:read_bytes", call(ufm.Problem.load, "no/such.toml"), "check the path", toml(TOML)),
    Case("_files:read_text", toml(""), "check how", toml("\ufeff" + TOML)),
    Case(
        "_files:read_text",
        lambda folder: ufm.Problem.load(written(folder, "p.toml", TOML.encode("utf-16"))),
        "as UTF-8",
        toml(TOML),
    ),
    Case(
        "_files:parse_toml",
        toml("class_counts = "),
        "Problem.save",
        lambda folder: (PROBLEM.save(folder / "p.toml"), ufm.Problem.load(folder / "p.toml")),
    ),
    Case(
        "_files:write_atomically",
        lambda folder: PROBLEM.save(folder / "no" / "p.toml"),
        "check the path",
        lambda folder: PROBLEM.save(folder / "p.toml"),
    ),
    # problems
    Case(
        "problem:Problem.__init__",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, features="relu"),
        '"nonnegative"',
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, features="nonnegative"),
    ),
    Case("problem:Problem.from_content", toml(TOML + "lambda = 1"), "remove what is not listed: lambda", toml(TOML)),
    Case(
        "problem:Problem.from_content",
        toml("lambda_w = 1\nlambda_h = 1"),
        "add class_counts",
        toml("lambda_w = 1\nlambda_h = 1\nclass_counts = [2, 1]"),
    ),
    Case(
        "problem:Problem.from_content",
        toml("class_counts = [2, 1]\nlambda_h = 1"),
        "add lambda_w",
        toml("class_counts = [2, 1]\nlambda_h = 1\nlambda_w = 1"),
    ),
    Case(
        "problem:Problem.from_content",
        toml('model = "contrastive"\nclass_counts = [2, 1]\nbound = 1.0'),
        "load of its class",
        lambda folder: ufm.ContrastiveProblem.load(folder / "p.toml"),
    ),
    Case(
        "problem:_from_table",
        toml(TOML + 'loss = "hinge"'),
        "loss = { name =",
        toml(TOML + 'loss = { name = "cross-entropy" }'),
    ),
    Case(
        "problem:_loss",
        call(ufm.Problem, COUNTS, constraint=5),
        "ufm_convex.LayerPeeled(weight_radius=1.0, feature_radius=5.0)",
        call(ufm.Problem, COUNTS, constraint=ufm.LayerPeeled(weight_radius=1.0, feature_radius=5.0)),
    ),
    Case(
        "problem:_loss",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, constraint=HardMargin(1.0), loss=CrossEntropy()),
        "leave the loss out",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, constraint=HardMargin(1.0)),
    ),
    Case(
        "problem:_loss",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, loss="cross-entropy"),
        "ufm_convex.CrossEntropy()",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, loss=ufm.CrossEntropy()),
    ),
    Case(
        "problem:_decay",
        call(ufm.Problem, COUNTS, 1e-3),
        "pass lambda_h=5e-4",
        call(ufm.Problem, COUNTS, 1e-3, lambda_h=5e-4),
    ),
    Case(
        "problem:_decay",
        call(ufm.Problem, COUNTS, "0.1", 1e-3),
        "pass lambda_w=5e-4",
        call(ufm.Problem, COUNTS, lambda_w=5e-4, lambda_h=1e-3),
    ),
    Case("problem:_decay", call(ufm.Problem, COUNTS, 0, 1e-3), "such as 1e-6", call(ufm.Problem, COUNTS, 1e-6, 1e-3)),
    Case(
        "problem:_decay",
        call(ufm.Problem, COUNTS, 1e-3, constraint=ufm.LayerPeeled(1, 5)),
        "leave lambda_w out",
        call(ufm.Problem, COUNTS, constraint=ufm.LayerPeeled(1, 5)),
    ),
    Case(
        "problem:_dimension",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, feature_dim=2.5),
        "leave it out",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3),
    ),
    Case(
        "problem:_bias",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, bias=True),
        'bias="free"',
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, bias="free"),
    ),
    Case(
        "problem:_bias",
        call(ufm.Problem, COUNTS, bias="free", constraint=ufm.LayerPeeled(1, 5)),
        "leave one of them out",
        call(ufm.Problem, COUNTS, constraint=ufm.LayerPeeled(1, 5)),
    ),
    Case(
        "problem:require_problem",
        call(ufm.cross_check, 5, ["clarabel"]),
        "make one with Problem",
        call(ufm.cross_check, PROBLEM, ["clarabel"]),
    ),
    Case(
        "problem:Problem.require_no_bias",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3, bias="free"), ufm.Candidate(weights=W, features=H, labels=y)),
        "leave the bias",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3), ufm.Candidate(weights=W, features=H, labels=y)),
    ),
    Case(
        "problem:Problem.require_decays",
        call(lambda: ufm.Problem(COUNTS, constraint=ufm.LayerPeeled(1, 5)).sigma),
        "leave the bias and the constraint out",
        call(lambda: ufm.Problem(COUNTS, 1e-3, 1e-3).sigma),
    ),
    # losses and constraints
    Case(
        "losses.__init__:make",
        call(losses.make, "focal"),
        "logit-adjusted-cross-entropy",
        call(losses.make, "logit-adjusted-cross-entropy"),
    ),
    Case(
        "losses.cross_entropy:CrossEntropy.__post_init__",
        call(CrossEntropy, smoothing=1.0),
        "0.1",
        call(CrossEntropy, smoothing=0.1),
    ),
    Case(
        "losses.cross_entropy:CrossEntropy.__post_init__",
        call(CrossEntropy, class_weights=2.0),
        "leave it out",
        call(CrossEntropy),
    ),
    Case(
        "losses.cross_entropy:CrossEntropy.__post_init__",
        call(CrossEntropy, class_weights=[1, 0, 1]),
        "left out",
        call(CrossEntropy, class_weights=[1, 1]),
    ),
    Case(
        "losses.cross_entropy:CrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=CrossEntropy([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=CrossEntropy([1, 2, 3])),
    ),
    Case(
        "losses.logit_adjusted_cross_entropy:LogitAdjustedCrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([1, 2, 3])),
    ),
    Case(
        "losses.logit_adjusted_cross_entropy:_vector",
        call(LogitAdjustedCrossEntropy, 2.0),
        "[0.0, 1.5]",
        call(LogitAdjustedCrossEntropy, [0.0, 1.5]),
    ),
    Case(
        "losses.logit_adjusted_cross_entropy:_vector",
        call(LogitAdjustedCrossEntropy, [0.0, "x"]),
        "correct",
        call(LogitAdjustedCrossEntropy, [0.0, 1.0]),
    ),
    Case(
        "losses.multiclass_hinge:MulticlassHinge.__post_init__",
        call(MulticlassHinge, "crammer"),
        "check the spelling",
        call(MulticlassHinge, "crammer-singer"),
    ),
    Case(
        "losses.soft_target_cross_entropy:SoftTargetCrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=SoftTargetCrossEntropy(np.eye(2))),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=SoftTargetCrossEntropy(np.eye(3))),
    ),
    Case(
        "losses.soft_target_cross_entropy:_refused",
        call(SoftTargetCrossEntropy, [[2, 1], [1, 1]]),
        "from 0 to 1",
        call(SoftTargetCrossEntropy, [[1, 0], [0, 1]]),
    ),
    Case(
        "losses.soft_target_cross_entropy:_refused",
        call(SoftTargetCrossEntropy, [[1, 1], [1, 1]]),
        "divide each row by its sum",
        call(SoftTargetCrossEntropy, np.ones((2, 2)) / 2),
    ),
    Case(
        "losses.soft_target_cross_entropy:_refused",
        call(SoftTargetCrossEntropy, [[1, 0]]),
        "one row a class",
        call(SoftTargetCrossEntropy, [[1, 0], [0, 1]]),
    ),
    Case("constraints.hard_margin:_refused", call(HardMargin, 0), "margins=1", call(HardMargin, margins=1)),
    Case(
        "constraints.layer_peeled:LayerPeeled.__post_init__",
        call(ufm.LayerPeeled, 0, 1),
        "1 to 100",
        call(ufm.LayerPeeled, 1, 100),
    ),
    Case(
        "constraints.margins:ClassMargins.validate",
        call(ufm.Problem, COUNTS, 1, 1, constraint=HardMargin([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, constraint=HardMargin([1, 2, 1])),
    ),
    # counts and labels in memory
    Case(
        "class_counts.validation:validate_class_counts",
        call(validate_class_counts, [5]),
        "one count a class",
        call(validate_class_counts, [5, 3]),
    ),
    Case(
        "class_counts.validation:validate_class_counts",
        call(validate_class_counts, [5, 0, 3]),
        "leave out classes",
        call(validate_class_counts, [5, 3]),
    ),
    Case(
        "class_counts.validation:validate_class_counts",
        call(validate_class_counts, [2**53, 1]),
        "check the counts",
        call(validate_class_counts, [2**52, 1]),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_labels, W.astype(int)),
        "values.argmax(axis=1)",
        call(validate_labels, W.astype(int).argmax(axis=1)),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, H.astype(int)),
        "values.sum(axis=0)",
        call(validate_class_counts, H.astype(int).sum(axis=0)),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.matrix(COUNTS)),
        "np.ravel(values)",
        call(validate_class_counts, np.ravel(np.matrix(COUNTS))),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.array(5)),
        "pass a list",
        call(validate_class_counts, [5, 3]),
    ),
    Case("class_counts.validation:integers", call(validate_labels, []), "check where", call(validate_labels, [0])),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.array([5.0, 3.0])),
        "np.asarray(values).astype(int)",
        call(validate_class_counts, np.asarray([5.0, 3.0]).astype(int)),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.array(["5", "3"])),
        "np.asarray(values).astype(int)",
        call(validate_class_counts, np.asarray(["5", "3"]).astype(int)),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_labels, np.array(["cat", "dog"])),
        "np.unique(values, return_inverse=True)[1]",
        call(validate_labels, np.unique(["cat", "dog"], return_inverse=True)[1]),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.array(["cat", "dog"])),
        "class_counts_from_labels",
        call(ufm.class_counts_from_labels, np.unique(["cat", "dog"], return_inverse=True)[1]),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_labels, np.array([2**64 - 1], np.uint64)),
        "check the data",
        call(validate_labels, np.array([1], np.uint64)),
    ),
    Case(
        "class_counts.validation:_array",
        call(validate_class_counts, Counter({1: 3, 0: 5})),
        "sorted(class_counts)",
        call(lambda n: validate_class_counts([n[k] for k in sorted(n)]), Counter({1: 3, 0: 5})),
    ),
    Case(
        "class_counts.validation:_array",
        call(validate_class_counts, {5, 3}),
        "a list",
        call(validate_class_counts, [5, 3]),
    ),
    Case("class_counts.validation:_array", call(validate_labels, [0, [1]]), "flatten", call(validate_labels, [0, 1])),
    Case(
        "class_counts.validation:_array",
        call(validate_labels, [0, 1.0]),
        "astype(int)",
        call(validate_labels, np.asarray([0, 1.0]).astype(int)),
    ),
    Case(
        "class_counts.validation:_array",
        call(validate_labels, [0, 10**30]),
        "check the data",
        call(validate_labels, [0, 1]),
    ),
    Case(
        "class_counts.validation:_check_index",
        lambda _: validate_class_counts(series([2, 0, 1])),
        "class_counts.sort_index()",
        lambda _: validate_class_counts(series([2, 0, 1]).sort_index()),
    ),
    Case(
        "class_counts.validation:_check_index",
        lambda _: validate_class_counts(series([2, 7, 5])),
        "class_counts.tolist()",
        lambda _: validate_class_counts(series([2, 7, 5]).tolist()),
    ),
    Case(
        "class_counts.labels:validate_labels",
        call(validate_labels, [0, -1]),
        "leave out samples",
        call(validate_labels, [0]),
    ),
    Case(
        "class_counts.labels:class_counts_from_labels",
        call(ufm.class_counts_from_labels, [0, 0]),
        "all samples were read",
        call(ufm.class_counts_from_labels, [0, 1]),
    ),
    Case(
        "class_counts.labels:_gap",
        call(ufm.class_counts_from_labels, [1, 2]),
        "np.asarray(labels) - 1",
        call(ufm.class_counts_from_labels, np.asarray([1, 2]) - 1),
    ),
    Case(
        "class_counts.labels:_gap",
        call(ufm.class_counts_from_labels, [0, 7]),
        "np.unique(labels, return_inverse=True)[1]",
        call(ufm.class_counts_from_labels, np.unique([0, 7], return_inverse=True)[1]),
    ),
    # profiles
    Case(
        "class_counts.profiles:_checked",
        call(profiles.exponential, 10, 5000, 0.01),
        "write ratio=100",
        call(profiles.exponential, 10, 5000, ratio=100),
    ),
    Case(
        "class_counts.profiles:_checked",
        call(profiles.exponential, 10, 50, 100),
        "lower the ratio to 50",
        call(profiles.exponential, 10, 50, 50),
    ),
    Case(
        "class_counts.profiles:_checked",
        call(profiles.exponential, 10, 50, 100),
        "raise max to 100",
        call(profiles.exponential, 10, 100, 100),
    ),
    Case(
        "class_counts.profiles:_checked",
        call(profiles.exponential, 10, 5000, -1),
        "ratio=100",
        call(profiles.exponential, 10, 5000, ratio=100),
    ),
    Case(
        "class_counts.profiles:_checked",
        call(profiles.balanced, 2.0, 5),
        "without a decimal point",
        call(profiles.balanced, 2, 5),
    ),
    Case(
        "class_counts.profiles:step",
        call(profiles.step, 4, 10, 2, fraction=2),
        "use 0.5",
        call(profiles.step, 4, 10, 2, fraction=0.5),
    ),
    Case(
        "class_counts.profiles:pareto",
        call(profiles.pareto, 4, 10, 2, power=0),
        "use 6",
        call(profiles.pareto, 4, 10, 2, power=6),
    ),
    Case(
        "class_counts.profiles:counts_from_profile",
        call(ufm.counts_from_profile, 5),
        "as one string",
        call(ufm.counts_from_profile, "balanced:classes=2,max=5"),
    ),
    Case(
        "class_counts.profiles:counts_from_profile",
        call(ufm.counts_from_profile, "linear:"),
        "exponential:classes=10,max=5000,ratio=100",
        call(ufm.counts_from_profile, "exponential:classes=10,max=5000,ratio=100"),
    ),
    Case(
        "class_counts.profiles:_misused",
        call(ufm.counts_from_profile, "balanced:classes=2,max=x"),
        "name=number",
        call(ufm.counts_from_profile, "balanced:classes=2,max=5"),
    ),
    # tables
    Case(
        "class_counts.files:_count_columns",
        counts_of("0,5\n1,3\n"),
        "add the header",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case("class_counts.files:_count_columns", counts_of("label\n0\n1\n"), "read_labels", labels_of("label\n0\n1\n")),
    Case(
        "class_counts.files:_count_columns",
        counts_of("class_id,train_count,test_count\n0,5,1\n1,3,1\n"),
        "keep one",
        counts_of("class_id,train_count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:_set_aside",
        counts_of("class_id,count,weight\n0,5,1\n1,3,2\n"),
        "remove the column weight",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:_check_ids",
        counts_of("class_id,count\n0,5\n0,3\n1,2\n"),
        "write their sum",
        counts_of("class_id,count\n0,8\n1,2\n"),
    ),
    Case(
        "class_counts.files:_check_ids",
        counts_of("class_id,count\n1,5\n2,3\n"),
        "subtract 1",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:_check_ids",
        counts_of("class_id,count\n0,5\n7,3\n"),
        "without gaps",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:read_class_counts",
        counts_of("class_id,count\n0,5\n1,0\n"),
        "leave out classes",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:_integers",
        counts_of('class_id,count\n0,"5,000"\n1,3\n'),
        "as 5000",
        counts_of("class_id,count\n0,5000\n1,3\n"),
    ),
    Case(
        "class_counts.files:_integers",
        counts_of("class_id;count\n0;5.000\n1;3\n"),
        "write 5000",
        counts_of("class_id;count\n0;5000\n1;3\n"),
    ),
    Case(
        "class_counts.files:_integers",
        counts_of("class_id,count\n0,500.0\n1,3\n"),
        "astype(int)",
        counts_of("class_id,count\n0,500\n1,3\n"),
    ),
    Case(
        "class_counts.files:_integers",
        counts_of("class,count\ncat,5\ndog,3\n"),
        "class_name",
        counts_of("class_id,class_name,count\n0,cat,5\n1,dog,3\n"),
    ),
    Case(
        "class_counts.files:_integers", labels_of("label\n0\ncat\n1\n"), "remove that line", labels_of("label\n0\n1\n")
    ),
    Case(
        "class_counts.files:_check_no_counts",
        labels_of("class,count\n0,5000\n1,400\n2,30\n"),
        "read_class_counts",
        counts_of("class,count\n0,5000\n1,400\n2,30\n"),
    ),
    Case(
        "class_counts.files:_check_no_counts",
        labels_of("label,num_images\n0,5\n1,3\n"),
        "remove the column num_images",
        labels_of("label\n0\n1\n"),
    ),
    Case(
        "class_counts.files:_check_no_counts",
        labels_of("n\n0\n1\n"),
        "rename the column to label",
        labels_of("label\n0\n1\n"),
    ),
    Case(
        "class_counts.files:_label_column", labels_of("a,b\n0,1\n"), "rename it to label", labels_of("a,label\n0,1\n")
    ),
    Case("class_counts.files:read_labels", labels_of("label\n0\n-1\n"), "leave out samples", labels_of("label\n0\n")),
    Case(
        "class_counts.files:_npy",
        labels_of(b"nonsense", "y.npy"),
        "np.save(path, labels)",
        lambda folder: (np.save(folder / "y.npy", y), read_labels(folder / "y.npy")),
    ),
    Case(
        "class_counts.files:_empty", counts_of("class_id,count\n"), "check how", counts_of("class_id,count\n0,5\n1,3\n")
    ),
    Case(
        "class_counts.files:_unknown_suffix",
        labels_of("0\n", "y.dat"),
        "np.save(path, labels)",
        lambda folder: (np.save(folder / "y.npy", y), read_labels(folder / "y.npy")),
    ),
    Case(
        "class_counts.tables:rows",
        counts_of("class_id,count\n0,5\n1\n"),
        "the same number of cells",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.tables:rows",
        counts_of('class_id,count\n0,"5\n1,3\n'),
        "check the quotes",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.tables:_delimiter",
        counts_of("class_id;a,count\n0;a,5\n"),
        "by commas alone",
        counts_of('class_id,"a;b",count\n0,cat,5\n1,dog,3\n'),
    ),
    # candidates
    Case(
        "candidate.data:Candidate.__init__",
        candidate(labels=None),
        "class_counts=n",
        candidate(features=W, labels=None, class_counts=COUNTS),
    ),
    Case(
        "candidate.data:float_matrix",
        candidate(features=H[0]),
        "features.reshape(len(features), -1)",
        candidate(features=H.reshape(len(H), -1)),
    ),
    Case(
        "candidate.data:float_matrix",
        candidate(weights=W.astype(np.float16)),
        "np.asarray(weights, dtype=np.float32)",
        candidate(weights=np.asarray(W.astype(np.float16), dtype=np.float32)),
    ),
    Case(
        "candidate.data:float_matrix",
        candidate(weights=W.astype(int).tolist()),
        "np.asarray(weights, dtype=np.float64)",
        candidate(weights=np.asarray(W.astype(int).tolist(), dtype=np.float64)),
    ),
    Case(
        "candidate.data:float_matrix",
        candidate(weights=W.astype(complex)),
        "weights.real",
        candidate(weights=W.astype(complex).real),
    ),
    Case(
        "candidate.data:_labels", candidate(weights=np.ones((2, 3))), "weights.T", candidate(weights=np.ones((3, 3)).T)
    ),
    Case(
        "candidate.data:_counts",
        candidate(weights=np.ones((2, 3)), labels=None, class_counts=COUNTS, features=W),
        "weights.T",
        candidate(weights=np.ones((3, 3)).T, labels=None, class_counts=COUNTS, features=W),
    ),
    Case("candidate.data:_check_shapes", candidate(features=H.T), "features.T", candidate(features=H.T.T)),
    Case(
        "candidate.files:_members",
        npz_of(weights=W, features=H, labels=y, bias=[50, -30, 2]),
        "leave bias out of np.savez",
        npz_of(weights=W, features=H, labels=y),
    ),
    Case(
        "candidate.files:_members",
        npz_of(weights=W, features=H, labels=y, temperature=0.1),
        "text may stay",
        npz_of(weights=W, features=H, labels=y, names=np.array(["a", "b", "c"])),
    ),
    Case(
        "candidate.files:_check_names",
        npz_of(W=W, H=H, y=y),
        "np.savez(new_path, weights=z['W'], features=z['H'], labels=z['y'])",
        npz_of(weights=W, features=H, labels=y),
    ),
    Case(
        "candidate.files:_check_names",
        npz_of(weights=W, features=H, labels=y, class_counts=COUNTS),
        "keep labels if",
        npz_of(weights=W, features=H, labels=y),
    ),
    Case(
        "candidate.files:read_npz",
        lambda folder: ufm.Candidate.load(written(folder, "c.npz", "nonsense")),
        "np.savez(path, weights=W, features=F, labels=y)",
        npz_of(weights=W, features=H, labels=y),
    ),
    Case(
        "candidate.files:_unreadable",
        call(ufm.Candidate.load, "no/such.npz"),
        "check the path",
        npz_of(weights=W, features=H, labels=y),
    ),
    Case(
        "candidate.files:map_npy",
        lambda folder: ufm.Candidate.from_files(*[written(folder, "a.npy", "nonsense")] * 3),
        "np.save(path, array)",
        lambda folder: (
            [np.save(folder / f"{name}.npy", array) for name, array in (("w", W), ("h", H), ("y", y))],
            ufm.Candidate.from_files(folder / "w.npy", folder / "h.npy", folder / "y.npy"),
        ),
    ),
    Case(
        "candidate.matching:require_counts",
        call(ufm.attribute_gap, PROBLEM, 5),
        "class_counts=problem.class_counts",
        call(ufm.attribute_gap, PROBLEM, ufm.Candidate(weights=W, features=W, class_counts=PROBLEM.class_counts)),
    ),
    Case(
        "candidate.matching:require_counts",
        call(ufm.attribute_gap, PROBLEM, ufm.Candidate(weights=W, features=H, labels=y)),
        "candidate.problem(lambda_w, lambda_h)",
        call(ufm.attribute_gap, SMALL, ufm.Candidate(weights=W, features=H, labels=y)),
    ),
    Case(
        "candidate.matching:require_nonnegative",
        call(ufm.attribute_gap, SMALL, ufm.Candidate(weights=W, features=-H, labels=y)),
        "after the ReLU",
        call(ufm.attribute_gap, SMALL, ufm.Candidate(weights=W, features=np.maximum(-H, 0), labels=y)),
    ),
    Case(
        "candidate.streaming:_chunk",
        call(feature_statistics, ufm.Candidate(weights=W, features=H, labels=y), chunk=0),
        "leave it out",
        call(feature_statistics, ufm.Candidate(weights=W, features=H, labels=y)),
    ),
    Case(
        "contrastive.candidate:ContrastiveCandidate.__init__",
        call(ufm.ContrastiveCandidate, features=H.T, labels=y),
        "features.T",
        call(ufm.ContrastiveCandidate, features=H.T.T, labels=y),
    ),
    # contrastive problems
    Case(
        "contrastive.problem:ContrastiveProblem.__init__",
        call(ufm.ContrastiveProblem, COUNTS),
        "bound=1.0",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0),
    ),
    Case(
        "contrastive.problem:ContrastiveProblem.from_content",
        call(ufm.ContrastiveProblem.from_toml, 'model="contrastive"\nclass_counts=[2,1]\nbound=1.0\nfoo=1'),
        "remove foo",
        call(ufm.ContrastiveProblem.from_toml, 'model="contrastive"\nclass_counts=[2,1]\nbound=1.0'),
    ),
    Case(
        "contrastive.problem:_positive",
        call(ufm.ContrastiveProblem, COUNTS, bound=0),
        "1.0 is the unit ball",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0),
    ),
    Case(
        "contrastive.problem:_positive",
        call(ufm.ContrastiveProblem, COUNTS, lambda_h=0),
        "1e-3",
        call(ufm.ContrastiveProblem, COUNTS, lambda_h=1e-3),
    ),
    Case(
        "contrastive.programmes:check_level",
        call(ufm.solve, ufm.ContrastiveProblem(np.arange(1, 500), bound=1.0), solver="scs"),
        "let level and solver both be 'auto'",
        call(ufm.solve, ufm.ContrastiveProblem(np.arange(1, 500), bound=1.0), solver="auto", level="auto"),
    ),
    Case(
        "contrastive.programmes:check_level",
        call(ufm.solve, ufm.ContrastiveProblem([500, 20], bound=1.0), level="sample"),
        "use level 'class'",
        call(ufm.solve, ufm.ContrastiveProblem([500, 20], bound=1.0), level="class"),
    ),
    Case(
        "contrastive.programmes:check_level",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), level="row"),
        "'auto'",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), level="auto"),
    ),
    Case(
        "contrastive.solving:_plan",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="theory", level="class"),
        "leave the level out",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="theory"),
    ),
    Case(
        "contrastive.solving:_plan",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="frame"),
        "use 'auto'",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="auto"),
    ),
    # solving
    Case("solving:solve_kind", call(ufm.solve, 5), "Problem(class_counts", call(ufm.solve, PROBLEM)),
    Case(
        "solving:check_settings",
        call(ufm.solve, PROBLEM, solver="scs", options=[1]),
        "{'max_iters': 100}",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iters": 100}),
    ),
    Case(
        "solving:check_settings",
        call(ufm.solve, PROBLEM, options={"max_iters": 100}),
        "name the solver",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iters": 100}),
    ),
    Case(
        "solving:_check_level",
        call(ufm.solve, PROBLEM, solver="theory", level="sample"),
        "another solver",
        call(ufm.solve, ufm.Problem(COUNTS, 5e-3, 5e-3), solver="clarabel", level="sample"),
    ),
    Case(
        "solving:_too_large",
        call(ufm.solve, ufm.Problem(np.arange(1, 2102), 1e-3, 1e-3, features="free")),
        "the same count",
        call(ufm.solve, ufm.Problem(np.repeat([5, 3], [2000, 101]), 1e-3, 1e-3, features="free")),
    ),
    Case(
        "relaxation.base:Level.check_size",
        call(ufm.solve, ufm.Problem([500, 2], 1e-3, 1e-3), solver="clarabel", level="sample"),
        "use level 'class'",
        call(ufm.solve, ufm.Problem([500, 2], 1e-3, 1e-3), solver="clarabel", level="class"),
    ),
    Case(
        "relaxation.base:Level.check_size",
        call(ufm.solve, ufm.Problem(np.arange(1, 502), 1e-3, 1e-3), level="class"),
        "'auto'",
        call(ufm.solve, ufm.Problem(np.arange(1, 502), 1e-3, 1e-3)),
    ),
    Case(
        "solvers.conic:ConicSolver.check_options",
        call(ufm.solve, PROBLEM, solver="clarabel", options={"max_iter": "x"}),
        "correct that value",
        call(ufm.solve, PROBLEM, solver="clarabel", options={"max_iter": 50}),
    ),
    Case(
        "solvers.factored:FactoredSolver.check_options",
        call(ufm.solve, PROBLEM, solver="factored", options={"starts": 0}),
        "{'starts': 1}",
        call(ufm.solve, PROBLEM, solver="factored", options={"starts": 1}),
    ),
    Case(
        "solvers.factored:_starts_and_seed",
        call(ufm.solve, ufm.Problem([3] * 2001, 1e-3, 1e-3), solver="factored"),
        "'auto'",
        call(ufm.solve, ufm.Problem([3] * 2001, 1e-3, 1e-3), solver="auto"),
    ),
    Case("solvers.frame:_check", call(ufm.solve, FREE, solver="frame"), "'auto'", call(ufm.solve, FREE, solver="auto")),
    Case(
        "solvers.theory:TheorySolver.runs",
        call(ufm.solve, ufm.Problem([3, 3, 3], 1e-3, 1e-3, features="free"), solver="theory"),
        "'auto'",
        call(ufm.solve, ufm.Problem([3, 3, 3], 1e-3, 1e-3, features="free"), solver="auto"),
    ),
    # certificates
    Case(
        "certificate.certifying:certify_kind", call(ufm.certify, 5), "Problem(class_counts", call(ufm.certify, PROBLEM)
    ),
    Case(
        "certificate.certifying:_checked",
        call(ufm.certify, SMALL, 5),
        "Candidate(weights=W",
        call(ufm.certify, SMALL, ufm.Candidate(weights=W, features=H, labels=y)),
    ),
    Case(
        "certificate.certifying:_check_settings",
        call(ufm.certify, PROBLEM, digits=2.5),
        "use 50",
        call(ufm.certify, PROBLEM, digits=50),
    ),
    Case(
        "certificate.certifying:_check_settings",
        call(ufm.certify, PROBLEM, proof="best"),
        "leave it out",
        call(ufm.certify, PROBLEM),
    ),
    Case(
        "certificate.certifying:_solution",
        call(ufm.certify, PROBLEM, solution=5),
        "pass solve(problem)",
        call(ufm.certify, PROBLEM, solution=ufm.solve(PROBLEM)),
    ),
    Case(
        "certificate.certifying:_refuse_solution",
        call(ufm.certify, PROBLEM, digits=20, solution=5),
        "leave out one",
        call(ufm.certify, PROBLEM, digits=20),
    ),
    Case(
        "certificate.file:CertificateFile.decimals",
        lambda _: ufm.certify(PROBLEM).decimals(0),
        "use 50",
        lambda _: ufm.certify(PROBLEM).decimals(50),
    ),
    Case(
        "attribution.stability:stability_bounds",
        call(attribution.stability_bounds, SMALL, -1),
        "attribute_gap(problem, candidate).gap",
        call(
            attribution.stability_bounds,
            SMALL,
            ufm.attribute_gap(SMALL, ufm.Candidate(weights=W, features=H, labels=y)).gap,
        ),
    ),
    # Gram matrices
    Case(
        "positivity.judging:complete_positivity",
        call(complete_positivity, W, tolerance=2),
        "use 1e-6",
        call(complete_positivity, W, tolerance=1e-6),
    ),
    Case("positivity.judging:_gram", call(complete_positivity, H), "H @ H.T", call(complete_positivity, H @ H.T)),
    Case(
        "positivity.judging:_gram",
        call(complete_positivity, 1e300 * W),
        "divide the matrix by its largest entry",
        call(complete_positivity, 1e300 * W / 1e300),
    ),
    Case(
        "positivity.judging:_factor",
        call(complete_positivity, W, factor=np.ones((2, 3))),
        "one row of features a class",
        call(complete_positivity, W, factor=np.ones((3, 3))),
    ),
    # sweeps
    Case("sweep.grid:Grid.__post_init__", call(Grid, [1e-3], [0.1]), "1,10,100", call(Grid, [1e-3], [1, 10, 100])),
    Case("sweep.grid:Grid.__post_init__", call(Grid, [1e-3], [1], [10.5]), "4,10", call(Grid, [1e-3], [1], [4, 10])),
    # the command line
    Case(
        "cli",
        command("solve", *DECAYS),
        "--class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3",
        command("solve", "--class-counts", "500,100,20", *DECAYS),
    ),
    Case(
        "cli",
        command("solve", "--class-counts", "5,3"),
        "add --lambda-w 5e-3 --lambda-h 5e-3",
        command("solve", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli",
        command("solve", "--class-counts", "5;3", *DECAYS),
        "whole numbers of samples",
        command("solve", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli",
        command("solve", "--class-counts", "5,3", "--lambda-w", "x", "--lambda-h", "1"),
        "5e-3",
        command("solve", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli",
        command("solve", "--class-counts", "5,3", *DECAYS, "--bias", "x"),
        "--bias free",
        command("solve", "--class-counts", "5,3", *DECAYS, "--bias", "free"),
    ),
    Case(
        "cli",
        command("solve", "--class-counts", "5,3", *DECAYS, "--feature-dim", "2.0"),
        "without a decimal point",
        command("solve", "--class-counts", "5,3", *DECAYS, "--feature-dim", "2"),
    ),
    Case(
        "cli",
        command("solve", "--labels", "FOLDER/n.csv", *DECAYS, n_csv="class,count\n0,50\n1,4\n"),
        "--class-counts on the command line",
        command("solve", "--class-counts", "FOLDER/n.csv", *DECAYS, n_csv="class,count\n0,50\n1,4\n"),
    ),
    Case(
        "cli",
        command("solve", "--class-counts", "FOLDER/y.csv", *DECAYS, y_csv="label\n0\n1\n"),
        "--labels on the command line",
        command("solve", "--labels", "FOLDER/y.csv", *DECAYS, y_csv="label\n0\n1\n"),
    ),
    Case(
        "cli",
        command("certify", "FOLDER/a.npz", "FOLDER/b.npz", *DECAYS),
        "leave one out",
        command("certify", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli",
        command("plot", "--class-counts", "5,3", *DECAYS),
        "add -o figure.png",
        command("plot", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/figure.png"),
    ),
]


def raised_by(error: BaseException) -> tuple[str, str]:
    """Module and function of the innermost two frames of the package: a helper may build what another raises."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(str(PACKAGE)):
            module = ".".join(Path(code.co_filename).relative_to(PACKAGE).with_suffix("").parts)
            frames.append(f"{module}:{code.co_qualname.replace('<locals>.', '')}")
        trace = trace.tb_next
    return frames[-1], frames[-2] if len(frames) > 1 else ""


@pytest.fixture
def pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of pandas as a count needs, so that it need not be installed."""

    class Series:
        def __init__(self, values: list[int], index: list[int]) -> None:
            self.values, self.index = np.array(values), np.array(index)

        def __array__(self, *args: Any, **options: Any) -> np.ndarray:
            return self.values

        def __len__(self) -> int:
            return len(self.values)

        def tolist(self) -> list[int]:
            return self.values.tolist()

        def sort_index(self) -> "Series":
            order = np.argsort(self.index)
            return Series(self.values[order].tolist(), self.index[order].tolist())

    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(Series=Series))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.where}-{case.advice}"[:90])
@pytest.mark.usefixtures("pandas")
def test_advice_is_good(case: Case, tmp_path: Path) -> None:
    with pytest.raises((ufm.UFMError, Refused)) as refusal:
        case.provoke(tmp_path)
    error = refusal.value
    assert case.advice in (error.fix if isinstance(error, ufm.UFMError) else str(error)), error
    if case.where != "cli":
        assert case.where in HELPERS.get(case.where, raised_by(error))
    case.follow(tmp_path)


HELPERS = {
    # these build an error that another function raises, or their advice is passed down to another
    one: (one,)
    for one in (
        "_files:parse_toml",
        "_given:_unwrapped.refuse",
        "candidate.files:_unreadable",
        "class_counts.files:_empty",
        "class_counts.files:_unknown_suffix",
        "class_counts.labels:_gap",
        "class_counts.profiles:_misused",
        "constraints.hard_margin:_refused",
        "losses.soft_target_cross_entropy:_refused",
        "positivity.judging:_numbers",
        "solving:_too_large",
    )
}


def functions_with_advice() -> set[str]:
    """Module and function of every ``fix=`` of the package."""
    found = set()

    def walk(node: ast.AST, module: str, names: list[str]) -> None:
        for child in ast.iter_child_nodes(node):
            inner = [*names, child.name] if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else names
            if isinstance(child, ast.Call) and any(keyword.arg == "fix" for keyword in child.keywords):
                found.add(f"{module}:{'.'.join(inner)}")
            walk(child, module, inner)

    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not module.startswith("verifier"):  # it raises an error of its own, without advice
            walk(ast.parse(path.read_text(encoding="utf-8")), module, [])
    return found


def test_every_function_with_advice_has_a_case() -> None:
    missing = functions_with_advice() - {case.where for case in CASES}
    print("\n".join(sorted(missing)))
    assert not missing
