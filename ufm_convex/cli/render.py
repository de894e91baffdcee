"""A solution for people: a line that says what was solved, a table of the classes, and what is proved.

Everything fits into 80 columns and costs O(K): of many classes the table shows one row a distinct count, or the two
ends and the collapse threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ufm_convex.cli.record import gram_positivity, may_be_strict, relative_difference, stands_apart

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from ufm_convex._arrays import BoolArray, FloatArray, IntArray
    from ufm_convex.attribution import GapAttribution
    from ufm_convex.certificate import Certificate
    from ufm_convex.certificate.file import CertificateFile
    from ufm_convex.contrastive import ContrastiveSolution
    from ufm_convex.problem import Problem
    from ufm_convex.solution import Solution

    Line = tuple[str, str | Text]

MOST_ROWS = 30
"""Up to so many classes, or distinct counts, each has its row."""
_ENDS = 10
_AROUND = 3  # rows on either side of the collapse threshold
_LISTED = 12  # collapsed or merged classes named in the summary
_COLOURS = {"certified": "green", "bounded": "yellow", "failed": "red"}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        first: The class, from 0; of several, the first.
        classes: How many classes it stands for.
        count: Samples in each of them.
        margin: Own logit minus the largest other; the mean over the row's classes, as are the norms.
        feature_norm: ‖h_k‖.
        weight_norm: ‖w_k‖.
        bias: b_k.
        state: "active"; "collapsed" where the feature is zero, "merged" where a group shares a free one, "zero" where a
            free one is zero with its row of W.
    """

    first: int
    classes: int
    count: int
    margin: float
    feature_norm: float
    weight_norm: float
    bias: float
    state: str


def show(solution: Solution) -> None:
    """Print the solution on stdout."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    for part in _parts(solution):
        console.print(part)


def show_judgement(proved: Certificate, explained: GapAttribution | None, digits: int | None) -> None:
    """Print what is proved about a candidate or, without one, of the optimum, on stdout."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    console.print(_judgement(proved, digits))
    if explained is not None:
        console.print(_attribution_table(explained))
        console.print(_costliest(explained))
        if explained.diagnosis is not None:
            console.print(explained.diagnosis)


def _parts(solution: Solution) -> Iterable[RenderableType]:
    yield _headline(solution.problem)
    problem = solution.problem
    tabled = problem.num_outputs != problem.num_classes
    yield _class_table(table_rows(solution), biased=problem.bias is not None, tabled=tabled)
    yield _summary(solution)


def _headline(problem: Problem) -> str:
    loss = [problem.loss.name]
    for name, value in problem.loss.parameters().items():
        loss.append(f"{name} {value}" if isinstance(value, (int, float)) else f"{name} given")
    features = "non-negative features" if problem.nonnegative else "free features"
    dimension = "" if problem.feature_dim is None else f" of dimension {problem.feature_dim}"
    return (
        f"{_sizes(problem)}, {problem.num_samples:,} samples, {_limits(problem)}\n"
        f"{', '.join(loss)}, {features}{dimension}{_bias_words(problem)}"
    )


def _sizes(problem: Problem) -> str:
    if problem.num_outputs == problem.num_classes:
        return f"{problem.num_classes:,} classes"
    return f"{problem.num_outputs:,} outputs, {problem.num_columns:,} columns"


def _limits(problem: Problem) -> str:
    """What keeps W and H small: decays, or the constraint in their place."""
    if problem.constraint is None or not problem.constraint.replaces_decays:
        return f"λ_W = {problem.lambda_w:g}, λ_H = {problem.lambda_h:g}"
    parameters = problem.constraint.parameters()
    return f"{problem.constraint.name}: " + ", ".join(f"{name} = {value:g}" for name, value in parameters.items())


def _bias_words(problem: Problem) -> str:
    if problem.bias is None:
        return ""
    return ", free bias" if problem.bias == "free" else f", bias with λ_b = {problem.bias:g}"


# -- the classes --------------------------------------------------------------------------------------------------


def table_rows(solution: Solution) -> list[Row | int]:
    """The rows of the class table; a number stands for so many classes left out.

    A few classes come one by one in their own order. Many come with those together that enter the problem alike and
    ended alike, the largest counts first; of these the largest are shown, the smallest, and those around the first
    change from active to collapsed or merged.
    """
    import numpy as np

    problem = solution.problem
    K = problem.num_classes
    states = _states(solution)
    if K <= MOST_ROWS:
        return [_row(solution, states, np.array([k])) for k in range(K)]
    keys = (states, problem.loss_weights, -problem.class_counts)  # the last is the first to sort by
    order = np.lexsort(keys)
    changes = np.zeros(K - 1, dtype=bool)
    for key in keys:
        changes |= key[order][1:] != key[order][:-1]
    bounds = np.concatenate([[0], np.flatnonzero(changes) + 1, [K]])
    rows: list[Row | int] = []
    done = 0
    for group in _excerpt(states[order[bounds[:-1]]] > 0):
        start, stop = int(bounds[group]), int(bounds[group + 1])
        rows += [start - done] if start > done else []
        rows.append(_row(solution, states, order[start:stop]))
        done = stop
    return rows


def _excerpt(degenerate: BoolArray) -> list[int]:
    """Which groups to show: all of a few, else both ends and the groups around the first change."""
    import numpy as np

    shown = np.full(degenerate.size, degenerate.size <= MOST_ROWS)
    shown[:_ENDS] = shown[-_ENDS:] = True
    changes = np.flatnonzero(np.diff(degenerate)) + 1
    for change in changes[:1]:
        shown[max(0, change - _AROUND) : change + _AROUND] = True
    return np.flatnonzero(shown).tolist()


_STATES = ("active", "collapsed", "merged", "zero", "no samples")


def _states(solution: Solution) -> IntArray:
    """The place of each class's state in ``_STATES``, (K,)."""
    import numpy as np

    states = np.zeros(solution.problem.num_classes, dtype=np.int64)
    states[list(solution.collapsed_classes)] = 1
    for classes in solution.merged_groups:
        states[list(classes)] = 2
    states[list(solution.evidence.zeros())] = 3
    states[solution.problem.class_counts == 0] = 4
    return states


def _row(solution: Solution, states: IntArray, classes: IntArray) -> Row:
    return Row(
        first=int(classes[0]),
        classes=int(classes.size),
        count=int(solution.problem.class_counts[classes[0]]),
        margin=float(solution.margins[classes].mean()),
        feature_norm=float(solution.feature_norms[classes].mean()),
        weight_norm=_of_outputs(solution, solution.weight_norms, classes),
        bias=_of_outputs(solution, solution.bias, classes),
        state=_STATES[states[classes[0]]],
    )


def _of_outputs(solution: Solution, numbers: FloatArray, classes: IntArray) -> float:
    """The mean of numbers of outputs over classes; NaN where columns are rows of a table with other outputs."""
    same = solution.problem.num_outputs == solution.problem.num_classes
    return float(numbers[classes].mean()) if same else math.nan


def _class_table(rows: Sequence[Row | int], *, biased: bool, tabled: bool = False) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    kept = [row for row in rows if isinstance(row, Row)]
    grouped = any(row.classes > 1 for row in kept)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # folded where a terminal is too narrow: no digit is ever cut off
    nouns = ("column", "columns") if tabled else ("class", "classes")
    for name in ("first", nouns[1]) if grouped else nouns[:1]:
        table.add_column(name, justify="right", overflow="fold")
    columns = {
        "margin": [row.margin for row in kept],
        "‖h_k‖": [row.feature_norm for row in kept],
        **({} if tabled else {"‖w_k‖": [row.weight_norm for row in kept]}),
        **({"b_k": [row.bias for row in kept]} if biased and not tabled else {}),
    }
    for name in ("count", *columns):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("", no_wrap=True)
    numbers = zip(*map(aligned, columns.values()), strict=True)
    for row in rows:
        if isinstance(row, int):
            table.add_row("…", f"{row:,} more")
        else:
            state = Text(row.state, style="" if row.state == "active" else "yellow")
            names = (str(row.first), f"{row.classes:,}") if grouped else (str(row.first),)
            table.add_row(*names, f"{row.count:,}", *next(numbers), state)
    return table


def aligned(numbers: Sequence[float]) -> list[str]:
    """The numbers of a column, all with six decimals where their size allows it, else all with an exponent."""
    largest = max(map(abs, numbers), default=0.0)
    form = ".6f" if largest == 0.0 or 1e-3 <= largest < 1e7 else ".5e"
    # a negative zero, and noise that rounds to one, lose their sign
    return [format(number, f"z{form}") for number in numbers]


# -- what is known ------------------------------------------------------------------------------------------------


def _summary(solution: Solution) -> Table:
    lines = outcome(solution, _degenerate(solution))
    if solution.level == "sample" and solution.run.within_class_variability is not None:
        lines.insert(6, ("within classes", f"λ_H/2 Σ ‖h_i − mean‖² = {solution.run.within_class_variability:.3g}"))
    if solution.multiplier is not None:
        lines.insert(5, ("multiplier", f"{solution.multiplier:.9g}"))
    if solution.floor > 0.0:
        excess = f"{solution.excess:.9g} above the floor {solution.floor:.12g}, gap {solution.excess_gap:.3g} of it"
        lines.insert(4, ("excess", excess))
    if solution.multiplier is None:  # else the solver's numbers are those of a penalised problem, in its units
        lines[1:1] = claimed(solution)
    return summary([*lines, *_positivity(solution)], solution.route)


def outcome(solution: Solution | ContrastiveSolution, degenerate: Line) -> list[Line]:
    """What there is to say about the solution of a problem of any kind, line by line."""
    from rich.text import Text

    worst = solution.kkt().worst
    status = str(solution.status)
    return [
        ("optimal value", f"{solution.value:.12g}"),
        ("proved at least", repr(float(solution.lower_bound))),
        ("proved at most", repr(float(solution.upper_bound))),
        ("relative gap", f"{solution.relative_gap:.3g} (tolerance {solution.tolerance:g})"),
        ("status", Text(status, style=f"bold {_COLOURS[status]}")),
        degenerate,
        ("worst KKT residual", f"{worst.name} {worst.residual:.3g} ({_verdict(worst.passed)} {worst.tolerance:.3g})"),
        ("theory", _theory(solution)),
        ("solver", f"{_solver(solution)}, {solution.level} level, {solution.seconds:.2f} s"),
    ]


def claimed(solution: Solution | ContrastiveSolution) -> list[Line]:
    """What the solver itself says, and the optimality conditions at its own points; nothing where it left none."""
    value, report = solution.run.value, solution.solver_kkt()
    if value is None or report is None or not math.isfinite(value):
        return []
    away = solution.outside(value)
    where = f"{away:.2g} outside the proved interval" if away else "within the proved interval"
    hold, worst = sum(condition.passed for condition in report), report.worst
    found = f"{worst.name} {worst.residual:.2g} {'<=' if worst.passed else '>'} {worst.tolerance:.2g}"
    return [
        ("solver's own value", f"{value:.12g} ({where})"),
        ("solver's own KKT", f"{hold} of {len(report.conditions)} hold; {found}"),
    ]


def _solver(solution: Solution | ContrastiveSolution) -> str:
    """What found the point, and from where if another solver's point was refused."""
    first = solution.run.solver
    if solution.run.claim == "failed":
        return f"{first} (failed)"
    return solution.solver if solution.solver == first else f"{solution.solver} from a refused {first}"


def summary(lines: Sequence[Line], route: Sequence[str]) -> Table:
    """The lines as a table, the route below them."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in (*lines, *(("route" if number == 0 else "", line) for number, line in enumerate(route))):
        table.add_row(name, words)
    return table


_PROOF_WORDS = {
    "optimal": "optimal within the tolerance: proved",
    "suboptimal": "suboptimal: proved",
    "infeasible": "infeasible: a feature is negative",
    "undecided": "undecided: neither was proved",
}


def _judgement(proved: Certificate, digits: int | None) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("verdict", _PROOF_WORDS[str(proved.verdict)])
    if digits is not None:
        lower, upper = proved.decimals(digits)
        table.add_row("optimum at least", lower)
        table.add_row("optimum at most", upper)
    else:
        table.add_row("optimum at least", repr(proved.lower))
        table.add_row("optimum at most", repr(proved.optimum_upper))
    if proved.violation is not None:
        row, column, value = proved.violation
        table.add_row("violation", f"features[{row}, {column}] = {value!r}, the most negative entry")
    if proved.candidate_gap is not None:
        low, high = proved.candidate_gap
        table.add_row("candidate at most", repr(proved.upper))
        table.add_row("above the optimum", f"by at least {low!r} and at most {high!r}")
    file = f"certificate {proved.digest[:16]}…" if proved.digest else "no certificate: no file carries this table"
    table.add_row("proof", f"{_proof(proved)}; {file}")
    return table


def _proof(proved: CertificateFile) -> str:
    """The proof of the lower bound: a slack's, or that of another kind of problem."""
    return f"{proved.proof} slack" if proved.model is None else proved.proof.replace("-", " ")


def _attribution_table(explained: GapAttribution) -> Table:
    """The parts of the gap with their shares."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (("part of the gap", "left"), ("amount", "right"), ("share", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name, total in explained.totals.items():
        table.add_row(name.replace("_", " "), f"{total:.3e}", f"{100 * explained.shares[name]:.1f} %")
    table.add_row("all", f"{explained.gap:.3e}", "")
    return table


def _costliest(explained: GapAttribution) -> str:
    """The classes that contribute most to the gap."""
    order = (-explained.by_class).argsort(kind="stable")[:3]
    noun = "class" if explained.by_output.size == explained.by_class.size else "column"
    return "most of it: " + ", ".join(f"{noun} {k} {explained.by_class[k]:.2e}" for k in order.tolist())


def _verdict(passed: bool) -> str:
    return "within its tolerance" if passed else "above its tolerance"


def _degenerate(solution: Solution) -> tuple[str, str]:
    """Which classes collapse, or, with free features, merge."""
    if solution.problem.nonnegative:
        empty = len(solution.empty_classes)
        without = f"; {empty:,} without samples" if empty else ""
        return "collapsed classes", listed(solution.collapsed_classes) + without
    groups = solution.merged_groups
    classes = listed([k for group in groups for k in group])
    return "merged groups", f"{len(groups):,}, classes {classes}" if groups else classes


def _positivity(solution: Solution) -> list[Line]:
    """Why the bounds are apart, where the relaxation's Gram matrix may be the reason."""
    if not stands_apart(solution):
        return []
    from ufm_convex.positivity.parrilo import LARGEST_CUBIC

    found = gram_positivity(solution)
    words: list[Line] = [] if found is None else [("Gram matrix", str(found))]
    open_ = found.verdict != "completely positive" if found is not None else may_be_strict(solution, LARGEST_CUBIC)
    if open_ and solution.problem.bias is None:
        said = "the relaxation may be strict; in Python, ufm.close_gap(problem) raises the lower bound"
        words.append(("" if words else "Gram matrix", said))
    return words


def listed(classes: Sequence[int]) -> str:
    """How many classes, and which, if they are few."""
    if not classes:
        return "none"
    more = ", …" if len(classes) > _LISTED else ""
    return f"{len(classes):,}: " + ", ".join(map(str, classes[:_LISTED])) + more


def _theory(solution: Solution | ContrastiveSolution) -> str:
    found, difference = solution.theory, relative_difference(solution)
    if found is None:
        return "no theorem says anything about this problem"
    return f"{found.value:.12g} ({found.relation}), relative difference {difference:.3g}"
