"""Options that commands share, as groups: which problem, which method, where the result goes.

Each group is a dataclass whose fields are the options; ``@command`` expands it. Options arrive as text and become
numbers (``values``), so that what is no number is refused in the same three lines as everything else. Errors are
imported where they are raised: ``--help`` raises none.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ufm_convex.cli import values
from ufm_convex.cli.command import given_as, names_of, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ufm_convex._arrays import IntArray
    from ufm_convex.candidate import Candidate
    from ufm_convex.class_counts import NextTokens
    from ufm_convex.losses import Loss
    from ufm_convex.problem import Model, Problem

_SOURCES = "problem.toml, --class-counts, --labels, --profile or --tokens"

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say on stderr what is being done.")]


@dataclass(frozen=True)
class ProblemOptions:
    """Which problem: one source of class counts, and the parameters of the model.

    Options override the values of ``file``; its class counts stay.
    """

    file: Annotated[
        Path | None,
        typer.Argument(metavar="PROBLEM.TOML", help="A complete problem; the options below override its values."),
    ] = None
    class_counts: Annotated[
        str | None,
        typer.Option(
            metavar="LIST|FILE",
            help="Samples in each class: 500,100,20, or a .csv of class_id,count, a .npy, .txt or .json.",
        ),
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Count the labels in a .npy, .csv, .tsv or .txt; also lists of path label."),
    ] = None
    num_classes: Annotated[
        str | None,
        typer.Option(metavar="K", help="With --labels or --tokens: outputs, of which some may have no samples."),
    ] = None
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:…", help="Counts by rule: exponential:classes=10,max=5000,ratio=100; step, pareto, balanced."
        ),
    ] = None
    lambda_w: Annotated[str | None, typer.Option(metavar="NUMBER", help="Weight decay of the classifier.")] = None
    lambda_h: Annotated[str | None, typer.Option(metavar="NUMBER", help="Weight decay of the features.")] = None
    loss: Annotated[str | None, typer.Option(metavar="NAME", help="Loss; cross-entropy if not given.")] = None
    loss_parameter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Parameter of the loss, such as kind=weston-watkins; may be repeated."),
    ] = None
    class_weights: Annotated[
        str | None, typer.Option(metavar="LIST", help="Weight of each class in the loss: 1,1,5.")
    ] = None
    smoothing: Annotated[str | None, typer.Option(metavar="NUMBER", help="Label smoothing, in [0, 1).")] = None
    targets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A table of targets, one row a count: .npy, .npz (scipy.sparse, or one array), .csv."
        ),
    ] = None
    tokens: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Next tokens: the contexts of a corpus, a .npy or .txt of integers, and what follows."
        ),
    ] = None
    context_length: Annotated[
        str | None, typer.Option("--context", metavar="K", help="With --tokens: how many tokens a context has.")
    ] = None
    features: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="nonnegative (they come out of a ReLU) or free; nonnegative if not given."),
    ] = None
    feature_dim: Annotated[
        str | None, typer.Option(metavar="D", help="Dimension of the features, if it may be binding.")
    ] = None
    bias: Annotated[
        str | None, typer.Option(metavar="free|NUMBER", help="A bias without penalty, or the weight of its penalty.")
    ] = None
    constraint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:…", help="Instead of decays or loss: layer-peeled:weight_radius=1,feature_radius=5."
        ),
    ] = None

    def problem(self, candidate: Candidate | None = None, *, or_else: str = "") -> Model:
        """The problem that the options describe, of the kind that the file says.

        Args:
            candidate: Whose counts to take when the options name no source of their own.
            or_else: What else the command takes where a decay is not given: the end of the advice.

        Raises:
            ProblemError: no source of class counts or several, a decay is missing, or a value is out of range.
            UFMError: as the readers, the profiles and ``Problem`` raise it.
        """
        other = self._of_another_kind()
        if other is not None:
            return other
        sourced = candidate is None or self._sources()
        if sourced:
            self._check_sources()
        self._check_num_classes()
        from ufm_convex.problem import Problem

        given = {
            "lambda_w": values.number("--lambda-w", self.lambda_w),
            "lambda_h": values.number("--lambda-h", self.lambda_h),
            "features": self.features,
            "feature_dim": values.whole_number("--feature-dim", self.feature_dim),
            "bias": values.bias(self.bias),
            "constraint": values.constraint(self.constraint),
        }
        if self.file is not None:
            content = Problem.load(self.file).content()
        else:
            if self.constraint is None:
                self._check_decays(or_else)
            content = {"class_counts": self._counts()} if sourced else {}
        content.update({name: value for name, value in given.items() if value is not None})
        if self._says_loss() or "constraint" not in content:
            content["loss"] = self._loss(content.get("loss"))
        if not sourced and candidate is not None:
            loss = _made(content["loss"]) if "loss" in content else None
            content["class_counts"] = candidate.of_loss(loss).class_counts
        return Problem.from_content(content, source="the command line")

    def plain_problem(self, what: str, candidate: Candidate | None = None, *, or_else: str = "") -> Problem:
        """The same for what has no form for other kinds of problem; raises ``ProblemError`` for those."""
        from ufm_convex.problem import require_problem

        found = self.problem(candidate, or_else=or_else)
        require_problem(found, what)
        return cast("Problem", found)

    def require_plain(self, what: str) -> None:
        """Raise ``ProblemError`` if the file has a problem of another kind, which ``what`` has no form for."""
        from ufm_convex.problem import require_problem

        found = self._of_another_kind()
        if found is not None:
            require_problem(found, what)

    def _of_another_kind(self) -> Model | None:
        """The problem in the file if it is no ``Problem``; raises ``ProblemError`` for options, which it has not."""
        if self.file is None or len(self._sources()) > 1:
            return None
        from ufm_convex.problem import Problem
        from ufm_convex.solving import load_problem

        found = load_problem(self.file)
        if isinstance(found, Problem):
            return None
        described = [name for name in names_of(type(self)) if name != "file"]
        refuse(f"a {found.MODEL} problem", described, f"the file alone: {', '.join(found.KEYS)}")
        return found

    def _sources(self) -> list[str]:
        """The sources of class counts that are given."""
        sources = {
            str(self.file): self.file,
            "--class-counts": self.class_counts,
            "--labels": self.labels,
            "--profile": self.profile,
            "--tokens": self.tokens,
        }
        return [name for name, value in sources.items() if value is not None]

    def _check_sources(self) -> None:
        """Raise ``ProblemError`` unless exactly one source is given."""
        from ufm_convex.errors import ProblemError

        given = self._sources()
        if len(given) != 1:
            raise ProblemError(
                f"the class counts are given {len(given)} times: {', '.join(given)}."
                if given
                else "no problem is given.",
                expected=f"exactly one of {_SOURCES}",
                fix="keep one of them."
                if given
                else "for example: --class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3",
            )

    def _check_num_classes(self) -> None:
        """Raise ``ProblemError`` for a number of classes, or a context, without the file that it belongs to."""
        from ufm_convex.errors import ProblemError

        if (self.context_length is None) != (self.tokens is None):
            raise ProblemError(
                f"--{'tokens' if self.context_length is None else 'context'} is given without "
                f"--{'context' if self.context_length is None else 'tokens'}.",
                expected="both, or neither",
                fix="write for example --tokens corpus.npy --context 2.",
            )
        if self.num_classes is not None and self.labels is None and self.tokens is None:
            raise ProblemError(
                "--num-classes is given without --labels.",
                expected="a file of labels or of tokens, which may not name every class",
                fix="leave it out: other sources say how many classes there are, counts of 0 included.",
            )

    def _check_decays(self, or_else: str) -> None:
        """Raise ``ProblemError`` when a decay is missing."""
        from ufm_convex.errors import ProblemError

        decays = {"--lambda-w": self.lambda_w, "--lambda-h": self.lambda_h}
        missing = [name for name, value in decays.items() if value is None]
        if missing:
            raise ProblemError(
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not given.",
                expected="a weight decay for the classifier and one for the features",
                fix=f"add {' '.join(f'{name} 5e-3' for name in missing)}, or what your training uses{or_else}.",
            )

    def _counts(self) -> IntArray | list[int]:
        """The class counts of the one source that is not a TOML file."""
        from ufm_convex import class_counts as counting

        if self.labels is not None:
            classes = values.whole_number("--num-classes", self.num_classes)
            labels = counting.read_labels(self.labels, classes)
            return counting.class_counts_from_labels(labels, classes)
        if self.profile is not None:
            return counting.counts_from_profile(self.profile)
        if self.tokens is not None:
            return self._next_tokens.counts
        text = self.class_counts or ""
        if values.names_a_file(text):
            return counting.read_class_counts(text)
        return values.integers(text)

    @cached_property
    def _next_tokens(self) -> NextTokens:
        """What follows the contexts of the file of tokens."""
        from ufm_convex.class_counts import next_tokens, read_tokens

        path, context = cast("Path", self.tokens), values.whole_number("--context", self.context_length)
        outputs = values.whole_number("--num-classes", self.num_classes)
        return next_tokens(read_tokens(path), cast("int", context), outputs, name=str(path))

    def _says_loss(self) -> bool:
        """Whether an option says something about the loss."""
        given = (self.loss, self.loss_parameter or None, self.class_weights, self.smoothing, self.targets, self.tokens)
        return any(option is not None for option in given)

    def _loss(self, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """The table of the loss: that of the file unless another loss is named, with the options put into it."""
        table = dict(before or {"name": "cross-entropy"})
        if self.loss is not None and self.loss != table["name"]:
            table = {"name": self.loss}
        if (self.targets or self.tokens) is not None and self.loss is None and table["name"] == "cross-entropy":
            table = {"name": "soft-target-cross-entropy"}  # what a table implies
        return {**table, **self._loss_parameters()}

    def _loss_parameters(self) -> dict[str, Any]:
        """The parameters of the loss that options give, each of them once."""
        from ufm_convex.errors import ProblemError

        given = [values.assignment(assignment) for assignment in self.loss_parameter or ()]
        if self.class_weights is not None:
            cells = self.class_weights.split(",")
            given.append({
                "class_weights": [values.number(f"entry {k} of --class-weights", cell) for k, cell in enumerate(cells)]
            })  # fmt: skip
        if self.smoothing is not None:
            given.append({"smoothing": values.number("--smoothing", self.smoothing)})
        if self.targets is not None:
            from ufm_convex.class_counts.target_files import read_targets

            given.append({"targets": read_targets(self.targets)})
        if self.tokens is not None:
            given.append({"targets": self._next_tokens.targets})
        names = [name for one in given for name in one]
        for name in names:
            if names.count(name) > 1:
                raise ProblemError(
                    f"the parameter {name} of the loss is given {names.count(name)} times.",
                    expected="each parameter once, by --loss-parameter or by an option of its own",
                    fix="keep one of them.",
                )
        return {name: value for one in given for name, value in one.items()}


def _made(content: Mapping[str, Any]) -> Loss:
    """The loss that the content of a problem names."""
    from ufm_convex import losses

    table = dict(content)
    return losses.make(table.pop("name"), table)


@dataclass(frozen=True)
class CandidateOptions:
    """How the file of a candidate is read."""

    array: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=KEY", help="What the file calls an array: weights=fc.weight; may be repeated."),
    ] = None

    def load(self, path: Path | None) -> Candidate | None:
        """The candidate in the file; None without one.

        Raises:
            ProblemError: an assignment is none, or there is no file that it could be about.
            UFMError: as ``Candidate.load``.
        """
        from ufm_convex.errors import ProblemError

        pairs = [one.partition("=") for one in self.array or ()]
        names = [name for name, _, _ in pairs]
        wrong = next((one for one, (name, mark, key) in zip(self.array or (), pairs, strict=True)
                      if not (name and mark and key) or names.count(name) > 1), None)  # fmt: skip
        if wrong is not None or (pairs and path is None):
            raise ProblemError(
                "--array is given, but no candidate." if wrong is None else f"--array is {reprlib.repr(wrong)}.",
                expected="NAME=KEY with the file of a candidate, each name once",
                fix="write for example --array weights=fc.weight after the candidate's file.",
            )
        if path is None:
            return None
        from ufm_convex.candidate import Candidate

        return Candidate.load(path, arrays={name: key for name, _, key in pairs})


@dataclass(frozen=True)
class MethodOptions:
    """How to solve, and how well."""

    solver: Annotated[
        str, typer.Option(metavar="NAME", help="auto, or a solver such as scs; a wrong name lists them all.")
    ] = "auto"
    level: Annotated[
        str, typer.Option(metavar="NAME", help="auto, or a level such as class; a wrong name lists them all.")
    ] = "auto"
    tolerance: Annotated[str, typer.Option(metavar="NUMBER", help="Relative gap to prove, in (0, 1).")] = "1e-6"
    time_limit: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Stop then, with the best proved bounds so far.")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """The options as arguments of ``solve``.

        Raises:
            ProblemError: the tolerance is not a number, or the time limit none > 0.
        """
        return {
            "solver": self.solver,
            "level": self.level,
            "tolerance": values.number("--tolerance", self.tolerance),
            "time_limit": values.time_limit(self.time_limit),
        }


WRITTEN = frozenset({"html", "output", "table"})
"""Names of the parameters, in any command, that say where something is written."""


@dataclass(frozen=True)
class OutputOptions:
    """Where the result goes."""

    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the result here.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False

    def check(self) -> None:
        """Raise ``FileFormatError`` if the output cannot be written: before the work, not after it."""
        if self.output is not None:
            check_output(self.output, "make the folder, or choose another path; --json writes to stdout.")


def check_output(output: Path, fix: str) -> None:
    """Raise ``FileFormatError`` if a file cannot be written there, or would replace one that the command reads."""
    from ufm_convex._files import check_writable
    from ufm_convex.errors import FileFormatError

    check_writable(output, fix)
    read = given_as(output, WRITTEN)
    if read is not None:
        raise FileFormatError(
            f"{output} would be written over {read}, which is read.",
            expected="a file of its own for what is written",
            fix="give another name to what is written.",
        )


def say_zero_bias(path: Path | None, candidate: Candidate | None, problem: Model | None) -> None:
    """Say on stderr that b = 0 where the problem has a bias, and the candidate in the file has none."""
    if candidate is not None and candidate.bias is None and getattr(problem, "bias", None) is not None:
        import logging

        logging.getLogger("ufm_convex").warning("%s: has no bias, and is judged with b = 0", path)
