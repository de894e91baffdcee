"""Mutation testing of other rooms than the verifier: their judges are test files, run by pytest in a forked child.

``JUDGES`` states which test files judge a room. Which of their tests can notice a mutant is derived: every test is run
once under a tracer that keeps the lines of the room it executes, and a mutant is given to those that execute its line,
quickest first, up to ``BUDGET`` seconds of them. Lines that run at import are everybody's, and so are those that no
test is seen to run: a table that is kept is made once, perhaps while tests are collected. Whatever a test starts as a
process of its own sees the original.

The first sixty of ``--sample 150 --seed 1``: of theory 49 were killed; of losses 56, when they were functions of full
and of reduced columns and not yet of entries. Survivors:

    losses: a number that another ``where`` replaces, < for <=    equivalent: both ways agree
    theory: counts or weights [1] for [0], which are equal        equivalent; ``repr=``, a message, a limit of size
    theory: the multiplier where margins end within rounding      not reached by any radii that were tried

Of the binary64 modules of enclosure (candidate, candidate_table, arithmetic, fast, wide; 1497 mutants), 190 at random
with ``--pick``: 153 killed, 41 of them by test_error_bounds.py alone. Survivors:

    sizes of tiles and steps, when an array is made anew, ≥ for > at a limit      equivalent: only work is saved
    limits of ranges that send a proof to balls sooner; the size of a probe       sound either way
    a value that ``where`` does not take; entries beyond the cut, whose power     equivalent
    the sign of 2⁻⁶⁰⁰, a multiple of 2⁻¹⁸⁴, beside bounds of 10⁻¹⁶                invisible in binary64
    how far shares are shrunk, how much an eigenvalue is raised at first          sound either way: the result is judged
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from operators import mutants, mutated

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ufm_convex"
JUDGES = {
    "losses": ("losses", "more_losses", "losses_exact", "layouts", "group_level"),
    "theory": ("theory", "theory_collapse", "theory_geometry", "balanced", "more_losses", "bias", "layer_peeled",
               "hard_margin", "free_features"),
    "duality": ("kkt", "repair", "balanced", "group_level", "points", "frame", "bias", "layer_peeled"),
    "enclosure": ("enclosure", "candidate_enclosure", "fast_enclosure", "axes", "rank_bound", "groups",
                  "group_level", "gap_closure", "bias", "layer_peeled", "more_losses", "free_features",
                  "error_bounds", "next_token", "target_candidates"),
}  # fmt: skip
"""Room → the files ``tests/test_….py`` that are to notice when it is wrong."""
BUDGET, PATIENCE, ASLEEP = 20.0, 60, 1200.0
"""Seconds of processor time: of tests, as they take unmutated, that a mutant is given at most; beyond that until it
counts as endless. Seconds of the clock until it counts as asleep."""
WARM = ("numpy", "scipy.optimize", "scipy.linalg", "cvxpy", "flint", "mpmath", "typer.testing", "rich")


def campaign(room, sample, seed, jobs=1, pick=(), files=99, tell=print):
    """Try a random sample of the room's mutants (all for 0), in random order; the number killed and tried.

    A longer sample with the same seed begins with the shorter one, and a run that is ended is a sample, too.
    """
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    for name in WARM:
        importlib.import_module(name)
    everything = list(mutants_of(room))
    numbers = list(range(len(everything)))
    random.Random(seed).shuffle(numbers)
    numbers = list(pick) or numbers[: sample or None]
    tests, lines, loading = watched(
        room, files, {everything[number][0] for number in numbers} if sample or pick else None
    )
    tell(f"{room}: {len(tests)} tests, {len(numbers)} of {len(everything)} mutants, seed {seed}")
    running, waiting, killed, tried = {}, list(numbers), 0, 0
    while waiting or running:
        while waiting and len(running) < jobs:
            number = waiting.pop(0)
            path, line, what, how = everything[number]
            place = (str(path.relative_to(PACKAGE)), line)
            # what no test was seen to run may have run while they were collected, once for all
            chosen = within_budget(set(tests) if place in loading else lines[place] or set(tests), tests)
            source = mutated(path.read_text(encoding="utf-8"), how)
            child = started(path, source, chosen, PATIENCE + int(3 * BUDGET)) if chosen else None
            running[number] = (child, time.monotonic() + ASLEEP, f"{place[0]}:{line}  {what}", len(chosen))
        for number, (child, end, what, given) in list(running.items()):
            outcome = "survived" if child is None else outcome_of(child, time.monotonic() > end)
            if outcome is None:
                continue
            del running[number]
            killed, tried = killed + (outcome != "survived"), tried + 1
            if tried % 10 == 0:
                tell(f"          {killed} of {tried} killed")
            if outcome == "survived":
                tell(f"survived  {number}  {what}  ({given} tests)")
        time.sleep(0.02)
    return killed, len(numbers)


def mutants_of(room):
    """(path, line, description, how) of every mutant of a room."""
    for path in sorted((PACKAGE / room).glob("*.py")):
        for mutant in mutants(path.read_text(encoding="utf-8")):
            yield (path, *mutant)


def within_budget(names, tests):
    """Names of tests, quickest first, that together take no more than the budget; one at least."""
    chosen, spent = [], 0.0
    for name in sorted(names, key=lambda name: (tests[name], name)):
        spent += tests[name]
        if chosen and spent > BUDGET:
            break
        chosen.append(name)
    return chosen


# -- which test runs which line ------------------------------------------------------------------------------------


class Watch:
    """A plugin of pytest: processor time of every test, and the lines of some files that it runs; of all for None."""

    def __init__(self, room, files):
        self.prefix = str(PACKAGE / room) + os.sep
        self.files = None if files is None else {str(path) for path in files}
        self.seconds, self.lines, self.now = {}, defaultdict(set), None

    def local(self, frame, event, argument):
        if event == "line" and self.now is not None:
            self.now.add((frame.f_code.co_filename, frame.f_lineno))
        return self.local

    def calls(self, frame, event, argument):
        name = frame.f_code.co_filename
        if not name.startswith(self.prefix) or (self.files is not None and name not in self.files):
            return None
        if self.now is not None:
            self.now.add((name, frame.f_lineno))
        return self.local

    def pytest_runtest_protocol(self, item, nextitem):
        self.now, self.begun = set(), time.process_time()
        sys.settrace(self.calls)

    def pytest_runtest_logfinish(self, nodeid, location):
        sys.settrace(None)
        self.seconds[nodeid] = time.process_time() - self.begun
        for path, line in self.now:
            self.lines[nodeid].add((path.removeprefix(str(PACKAGE) + os.sep), line))
        self.now = None


def watched(room, files, paths):
    """Test → seconds; line → tests that run it; lines that run when the room is imported."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.json"
        child = os.fork()
        if child == 0:
            watch = Watch(room, paths)
            status = run_pytest(
                [f"tests/test_{name}.py" for name in JUDGES[room][:files]], [watch], Path(folder) / "said"
            )
            lines = {test: sorted(found) for test, found in watch.lines.items()}
            kept.write_text(json.dumps([status, watch.seconds, lines]), encoding="utf-8")
            os._exit(0)
        os.waitpid(child, 0)
        status, seconds, lines = json.loads(kept.read_text(encoding="utf-8"))
        said = (Path(folder) / "said").read_text(encoding="utf-8")
    if status:
        raise SystemExit(f"{said}\nthe tests that judge {room} do not pass without a mutant")
    found = defaultdict(set)
    for test, places in lines.items():
        for place in places:
            found[tuple(place)].add(test)
    return seconds, found, {place for path in (PACKAGE / room).glob("*.py") for place in run_at_import(path)}


def run_at_import(path):
    """(file, line) of what is not inside a function: class bodies, constants, defaults."""
    import ast

    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        line
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.Lambda))
        for body in (node.body if isinstance(node.body, list) else [node.body])
        for line in range(body.lineno, body.end_lineno + 1)
    }
    last = len(path.read_text(encoding="utf-8").splitlines())
    return {(str(path.relative_to(PACKAGE)), line) for line in range(1, last + 1) if line not in inside}


# -- one mutant ----------------------------------------------------------------------------------------------------


class Replaced(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Finds one module of the package in a text instead of its file."""

    def __init__(self, path, source):
        parts = path.relative_to(ROOT).with_suffix("").parts
        self.package = parts[-1] == "__init__"
        self.name, self.path, self.source = ".".join(parts[:-1] if self.package else parts), path, source

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(
            name, self.path, loader=self, submodule_search_locations=[str(self.path.parent)] if self.package else None
        )

    def get_filename(self, name):
        return str(self.path)

    def get_data(self, path):
        return self.source.encode()


def started(path, source, tests, seconds):
    """The process, forked and leader of its own group, in which the tests judge the mutant; ended after the seconds."""
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        sys.meta_path.insert(0, Replaced(path, source))
        status = run_pytest(tests, [])
        os._exit(int(status))
    return child


def run_pytest(names, plugins, output=os.devnull):
    """The exit status of pytest; what it prints goes to a file, or nowhere."""
    import pytest

    other = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(other, 1)
    os.dup2(other, 2)
    quiet = ["-q", "-x", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    try:
        return int(pytest.main([*quiet, *names], plugins=plugins))
    except BaseException:  # a mutant may raise anything where pytest does not catch it, and that is a difference
        return 3
    finally:
        sys.stdout.flush()


def outcome_of(child, late):
    """None while it runs; pytest's status 0 is that no test noticed."""
    if late:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "killed by time"
    done, status = os.waitpid(child, os.WNOHANG)
    if not done:
        return None
    return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
