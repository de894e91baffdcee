"""Results do not depend on threads: FLINT's precision is one number for the process, and is set in turns."""

from __future__ import annotations

import ast
import json
import os
import threading
import time
from pathlib import Path

import pytest
from flint import arb, ctx

import ufm_convex as ufm
from ufm_convex.verifier import verify
from ufm_convex.verifier.precision import working_precision

PACKAGE = Path(ufm.__file__).parent
PROBLEMS = [
    ufm.Problem([500, 100, 20], 5e-3, 5e-3),
    ufm.Problem([5, 4, 3, 2], 0.01, 0.02, features="free"),
    ufm.Problem([30, 20, 3, 3], 1e-2, 1e-2, loss=ufm.losses.MeanSquaredError()),
    ufm.Problem([500] * 3 + [20] * 3, features="free", constraint=ufm.LayerPeeled(1, 5)),
    ufm.ContrastiveProblem([50, 10, 2], bound=1.0, temperature=0.5),
]


def result(problem):
    """Everything that is proved: the bounds, and the certificate without the seconds in its provenance."""
    solution = ufm.solve(problem)
    written = json.loads(ufm.certify(problem, solution=solution).to_json())
    del written["provenance"]
    sealed = json.dumps(written | {"provenance": {}}).encode()
    steps = [(step.name, step.verdict, step.detail) for step in verify(sealed).steps]
    return solution.lower_bound, solution.upper_bound, written, steps


def in_threads(work, count=8):
    """What ``work(k)`` returned in each of the threads, all at once."""
    found, gate = [None] * count, threading.Barrier(count)

    def run(k):
        gate.wait()
        found[k] = work(k)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_eight_threads_find_what_one_finds():
    """Each in an order of its own; exactly equal, because nothing about the arithmetic may differ."""
    before, alone = ctx.prec, [result(problem) for problem in PROBLEMS]

    def work(k):
        order = [(k + step) % len(PROBLEMS) for step in range(len(PROBLEMS))]
        return {place: result(PROBLEMS[place]) for place in order}

    for found in in_threads(work):
        assert [found[place] for place in range(len(PROBLEMS))] == alone
    assert ctx.prec == before


def values(setting, k, rounds=100):
    """The widths of a logarithm at one precision a thread, yielding to the others in between."""
    widths = set()
    for _ in range(rounds):
        with setting(100 + 50 * k):
            time.sleep(0)
            widths.add(str(arb(3).log().rad()))
    return widths


def test_a_precision_belongs_to_one_thread_at_a_time():
    before = ctx.prec
    assert all(len(widths) == 1 for widths in in_threads(lambda k: values(working_precision, k)))
    assert ctx.prec == before


def test_flints_own_way_is_caught():
    """The planted fault: without turns, threads evaluate at each other's precision."""
    before = ctx.prec
    try:
        assert any(len(widths) > 1 for widths in in_threads(lambda k: values(ctx.workprec, k)))
    finally:
        ctx.prec = before


def test_turns_are_taken_within_turns_and_given_back_after_errors():
    before = ctx.prec
    with working_precision(200):
        with pytest.raises(ZeroDivisionError), working_precision(300):
            raise ZeroDivisionError
        assert ctx.prec == 200
    assert ctx.prec == before
    assert in_threads(lambda k: values(working_precision, k, rounds=1), count=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="NOT TESTED: there is no fork here")
def test_a_forked_process_does_not_wait_for_a_thread_it_does_not_have(recwarn):
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with working_precision(99):
            inside.set()
            leave.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        with working_precision(64):
            os._exit(ctx.prec)
    deadline, status = time.monotonic() + 20, (0, 0)
    while status == (0, 0) and time.monotonic() < deadline:
        status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    leave.set()
    holder.join()
    assert status == (child, 64 << 8)


def test_nothing_else_sets_the_precision():
    """Read from the source: ``workprec`` and assignments to the context occur in one file."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute):
                continue
            stored = node.attr == "prec" and isinstance(node.ctx, ast.Store)
            if stored or node.attr in ("workprec", "workdps", "extraprec", "extradps", "dps"):
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found == {"verifier/precision.py"}
