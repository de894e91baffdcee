"""Every message's Fix does what it says: each case provokes an error, then follows the advice, word by word.

The cases stand by room in the files ``advice_*.py``. Advice is found in the source, by the functions that write it, so
that a new one needs a case in the file of its room, or a reason among ``UNFOLLOWED`` why no test can follow it.
"""

import ast
import sys
import types
from pathlib import Path
from typing import Any

import advice_around
import advice_candidates
import advice_counts
import advice_files
import advice_kept
import advice_losses
import advice_problems
import advice_solving
import numpy as np
import pytest
from advice_cases import (
    PACKAGE,
    Case,
    RefusedError,
)

import ufm_convex as ufm

ROOMS = (
    advice_counts,
    advice_problems,
    advice_losses,
    advice_candidates,
    advice_solving,
    advice_around,
    advice_files,
    advice_kept,
)
CASES: list[Case] = [case for one in ROOMS for case in one.CASES]


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
    with pytest.raises((ufm.UFMError, RefusedError)) as refusal:
        case.provoke(tmp_path)
    error = refusal.value
    assert case.advice in (error.fix if isinstance(error, ufm.UFMError) else str(error)), error
    if isinstance(error, ufm.UFMError) and case.where not in HELPERS:
        assert case.where in raised_by(error)
    case.follow(tmp_path)


HELPERS = frozenset(
    {
        # these build an error that another function raises, or hand advice down to one
        *("_files:parse_toml", "_given:_unwrapped.refuse", "candidate.files:_unreadable", "candidate.files:_pytorch"),
        *("candidate.formats:_damaged", "candidate.names:_unasked", "cli.report:_nothing"),
        *("candidate.data:_matrix", "certificate.file:_not_a_certificate", "class_counts.arrays:empty"),
        *("class_counts.files:_unknown_suffix", "class_counts.labels:_gap", "class_counts.profiles:_misused"),
        *(
            "problem.constraints.hard_margin:_refused",
            "contrastive.candidate:_features",
            "interchange.solutions:_malformed",
            "evidence.kept:Kind.malformed",
        ),
        *("losses.table:_refuse", "positivity.judging:_numbers", "methods.direct:_too_large"),
        *(
            "theory.base:refusal",
            "_files:_unwritable",
            "_child:not_sent",
            "formal.arranging:out_of_reach",
            "methods.direct:_out_of_range",
        ),
    }
)


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


UNFOLLOWED = {
    "formal.running:not_installed": "names the packages to install; tests install nothing",
    "cli.options:check_output": "is followed by another name; tests/test_cli_output.py writes there",
    "cli.formal:read_text": "needs Coq to be followed; tests/test_formal.py compares files",
    "formal.running:require_limits": "needs Coq to be followed; tests/test_formal.py has both sides of each limit",
    **dict.fromkeys(
        ("losses.from_torch:_require_all_counted", "losses.from_torch:_weights"),
        "is about a criterion of PyTorch; tests/test_weighed_targets.py provokes and follows it",
    ),
    **dict.fromkeys(
        ("cli.exits:_fault", "solving:_Best.add"),
        "says that the package itself is at fault, and asks for a report",
    ),
    "methods.multiplier:Search._try": "likewise",
    **dict.fromkeys(
        ("plots.__init__:draw", "solvers.guests:_refuse", "theory.base:Theorem.evaluated"),
        "asks the author of another package; tests/test_guests.py provokes it",
    ),
    **dict.fromkeys(
        ("losses.__init__:require_named", "losses.separable:SeparableLoss.table", "losses.traits:require_own"),
        "is about a loss of another package; tests/test_plugins.py provokes it",
    ),
    **dict.fromkeys(
        (
            "candidate.formats:_package",
            "candidate.formats:_pytorch",
            "candidate.formats:_tensor",
            "crosscheck.registry:contestant",
            "plots.style:require",
            "solvers.__init__:solver",
            "sweep.running:_require_threadpoolctl",
        ),
        "names the package to install; tests install nothing",
    ),
    **dict.fromkeys(("_tables:dataframe", "_tables:require_pyarrow", "testing.__init__:"), "likewise"),
    "errors:_rebuild": "builds an error again on the other side of a process",
    "solvers.clarabel:Clarabel.check_order": "needs a machine whose memory does not hold the Newton system",
    **dict.fromkeys(("cli.exits:_interrupted", "cli.exits:_misused"), "a usage error or Ctrl-C as an object of JSON"),
    "cli.verify:_malformed": "a certificate that is none as an object of JSON",
    "cli.exits:system_error": "says what the operating system refused",
    **dict.fromkeys(
        ("certificate.checking:_refused", "certificate.file:_require_kept"),
        "says that the package, or the disk, is at fault; planted in test_certificate_checking",
    ),
    **dict.fromkeys(
        ("_process:Worker.__init__", "_process:died", "methods.base:out_of_memory", "sweep.running:_Journal._write"),
        "asks for memory, processes or space; planted in test_process and test_sweep",
    ),
    "enclosure.arithmetic:require_nearest": "asks for the default rounding mode; planted in test_flushing",
    "sweep.running:_Journal._lock": "needs two sweeps at once",
    **dict.fromkeys(
        (
            "attribution.duals:SolvedDual.of",
            "methods.peeled_bounds:_narrowed",
            "methods.peeled_bounds:_require_distinct",
            "certificate.limits:_too_large",
        ),
        "needs numbers at the ends of the range of certificates",
    ),
    **dict.fromkeys(
        (
            *("certificate.certifying:_rounded_bounds", "certificate.contrastive_encoding:encode"),
            *("interchange.conic_benchmark:_number", "positivity.pigeonhole:pigeonhole_bound"),
            "methods.norm_balls:NormBalls.evidence",
        ),
        "needs a solver or a bound that breaks down",
    ),
    **dict.fromkeys(
        ("solving:_loop", "solving:_too_short", "methods.norm_balls:NormBalls.bounds", "theory.layer_peeled:_radii"),
        "a guard behind others: no argument is known that reaches it",
    ),
    **dict.fromkeys(
        ("crosscheck.conformance:ConformanceCase.theory", "crosscheck.scaled:targets", "plots.base:Subject.geometry"),
        "likewise",
    ),
    "testing.strategies:_frame": "likewise",
    "cli.sweep:_check_drawable": "a grid of so many panels takes minutes",
}
UNFOLLOWED |= dict.fromkeys(
    (
        name
        for name in functions_with_advice()
        if name.startswith("networks.") and not name.startswith("networks.report")
    ),
    "is about a network of PyTorch: the tests of networks/ provoke and follow it where that is installed",
)
"""Advice that no test here follows, with the reason."""


def test_every_function_with_advice_has_a_case() -> None:
    followed = {case.where for case in CASES}
    assert not functions_with_advice() - followed - set(UNFOLLOWED)
    assert not followed & set(UNFOLLOWED)
    assert not (followed | set(UNFOLLOWED)) - functions_with_advice()


def test_the_cases_of_a_room_stand_in_one_file() -> None:
    found: dict[str, set[str]] = {}
    for module in ROOMS:
        for case in module.CASES:
            found.setdefault(case.where.split(":")[0].split(".")[0], set()).add(module.__name__)
    assert {room: files for room, files in found.items() if len(files) > 1} == {}
