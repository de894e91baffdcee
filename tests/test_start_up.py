"""What a closed form imports: neither cvxpy nor SciPy, whatever the time that takes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROBE = """
import json, sys
from ufm_convex.cli import main
try:
    main({arguments!r})
except SystemExit as error:
    assert not error.code, error.code
heavy = ("cvxpy", "scipy", "scs", "clarabel", "torch", "matplotlib", "pandas")
print("\\n" + json.dumps(sorted({{name.split(".")[0] for name in sys.modules}} & set(heavy))))
"""

DECAYS = ["--lambda-w", "1e-3", "--lambda-h", "1e-3"]
MANY = ",".join(str(k) for k in range(1, 302))
CLOSED = {
    "cross-entropy": ["--class-counts", "500,100,20"],
    "as json": ["--class-counts", "500,100,20", "--json"],
    "hinge": ["--class-counts", "500,100,20", "--loss", "multiclass-hinge"],
    "squared error": ["--class-counts", MANY, "--loss", "mean-squared-error"],
}


def imported(arguments: list[str]) -> list[str]:
    """Packages that take long to import, of those that a command has imported in a fresh interpreter."""
    found = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names: list[str] = json.loads(found.stdout.splitlines()[-1])
    return names


@pytest.mark.parametrize("case", CLOSED)
def test_a_closed_form_imports_no_solver(case: str) -> None:
    assert imported(["solve", *CLOSED[case], *DECAYS]) == []


def test_a_solver_by_name_is_imported() -> None:
    """So that the probe sees what there is."""
    assert "scipy" in imported(["solve", "--class-counts", "5,3", *DECAYS, "--solver", "factored"])
