"""The exception tree: layout of the messages, ancestry, and survival of a process boundary."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from ufm_convex import errors
from ufm_convex.errors import MissingExtraError, ShapeError, SolverError, SolverNotInstalledError, UFMError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, UFMError)]


def test_message_has_the_three_parts_in_their_places() -> None:
    error = ShapeError("features has shape (8, 30).", expected="(N, d) with N = 32", fix="pass features.T.")
    assert str(error) == "features has shape (8, 30).\n  Expected: (N, d) with N = 32\n  Fix: pass features.T."
    assert (error.got, error.expected, error.fix) == (
        "features has shape (8, 30).",
        "(N, d) with N = 32",
        "pass features.T.",
    )


def test_the_tree_has_the_kinds_that_the_documentation_names() -> None:
    assert {kind.__name__ for kind in KINDS} >= {
        "CountsError",
        "DimensionError",
        "FileFormatError",
        "HypothesisError",
        "LabelsError",
        "MissingExtraError",
        "ProblemError",
        "ShapeError",
        "SizeError",
        "SolverError",
        "SolverNotInstalledError",
        "UFMError",
        "UnknownNameError",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_caught_by_the_root_and_says_what_it_is_for(kind: type[UFMError]) -> None:
    with pytest.raises(UFMError):
        raise kind("got.", expected="expected", fix="fix.")
    assert inspect.getdoc(kind)
    assert vars(kind)["__doc__"], "the docstring is its own, not its parent's"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not UFMError])
def test_bad_input_is_a_value_error_and_a_solver_failure_a_runtime_error(kind: type[UFMError]) -> None:
    others = {SolverError: RuntimeError, SolverNotInstalledError: RuntimeError, MissingExtraError: ImportError}
    assert issubclass(kind, others.get(kind, ValueError))


def test_a_missing_solver_is_a_solver_error() -> None:
    assert issubclass(SolverNotInstalledError, SolverError)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("carry", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_survive_copying_and_pickling(kind: type[UFMError], carry) -> None:
    error = kind("got.", expected="expected", fix="fix.")
    again = carry(error)
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.got, again.expected, again.fix) == ("got.", "expected", "fix.")


def test_all_three_parts_are_required_and_the_last_two_by_name() -> None:
    with pytest.raises(TypeError):
        UFMError("got.")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        UFMError("got.", expected="expected")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        UFMError("got.", "expected", "fix.")  # type: ignore[misc]
