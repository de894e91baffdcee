"""The exception tree: every error says what was got, what was expected, and how to mend it.

``UFMError`` is the root, so ``except ufm_convex.UFMError`` catches all that this package raises on purpose.
The message is laid out the same way everywhere::

    ShapeError: features has shape (8, 30), but labels has 32 entries.
      Expected: (N, d) with N = 32, one row per sample.
      Fix: if your features are (d, N), pass features.T.
"""

from __future__ import annotations

import reprlib
import sys


def shown(value: object) -> str:
    """``value`` as a message shows it: short whatever its size, and NumPy's numbers as numbers."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"  # beyond 4300 digits repr() itself raises
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(value, masked.MaskedArray) and value.shape == ():
        return "a masked number"  # what is under the mask is not what was given
    if getattr(value, "shape", None) == () and callable(item := getattr(value, "item", None)):
        try:
            value = item()
        except Exception:  # whatever a class of somebody else raises where it has no number: it is shown as it is
            return reprlib.repr(value)
    return reprlib.repr(value)


class UFMError(Exception):
    """Root of the tree.

    Args:
        got: What was received, as a sentence.
        expected: What would have been accepted.
        fix: What the caller can do about it.
    """

    def __init__(self, got: str, *, expected: str, fix: str) -> None:
        super().__init__(f"{got}\n  Expected: {expected}\n  Fix: {fix}")
        self.got = got
        self.expected = expected
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the three parts, so that the error survives a process boundary."""
        return _rebuild, (type(self), self.got, self.expected, self.fix)


def _rebuild(kind: type[UFMError], got: str, expected: str, fix: str) -> UFMError:
    return kind(got, expected=expected, fix=fix)


class ProblemError(UFMError, ValueError):
    """A number that defines the problem is out of its range (a decay, a dimension, a parameter of a loss)."""


class RangeError(ProblemError):
    """Numbers of a problem are each in range, but a product of them leaves that of binary64."""


class CountsError(UFMError, ValueError):
    """The class counts do not describe a classification problem."""


class LabelsError(UFMError, ValueError):
    """The labels do not describe classes 0 … K − 1."""


class ShapeError(UFMError, ValueError):
    """An array does not have the shape it needs."""


class FileFormatError(UFMError, ValueError):
    """A file is missing, empty, truncated, not in the format it claims, or cannot be written."""


class UnknownNameError(UFMError, ValueError):
    """A name (of a loss, a solver, a level, a profile, an option) that no registry knows."""


class SizeError(UFMError, ValueError):
    """The problem is too large for the level, method or dense array that was asked for."""


class HypothesisError(UFMError, ValueError):
    """A theorem was asked for, and one of its hypotheses does not hold for this problem."""


class CandidateError(UFMError, ValueError):
    """A candidate's classifier or features hold entries that no model has (NaN, infinities, text, absurd sizes)."""


class DimensionError(UFMError, ValueError):
    """The feature dimension is too small for the optimum of the relaxation to be factored."""


class SolverError(UFMError, RuntimeError):
    """A solver did not run to a usable point."""


class CertificateError(SolverError):
    """The independent verifier refused a certificate that had just been made: nothing is claimed."""


class SolverNotInstalledError(SolverError):
    """The solver is known, but its package is not installed."""


class ProcessError(SolverError):
    """A process of its own could not be started, or could not be sent what it was to do."""


class SolverDiedError(SolverError):
    """A solver ended without an answer: its process by a signal or an exit, or it ran out of memory."""


class NetworkError(UFMError, ValueError):
    """A network, its head or its batches are not what a judgement of the last layer needs."""


class PluginError(UFMError, ValueError):
    """An entry point of another package names something else than the class that its group is for."""


class MissingExtraError(UFMError, ImportError):
    """A part of the package was imported whose optional dependencies are not installed."""


class OutOfReachError(UFMError, ValueError):
    """A certificate is of a kind that the theory files of Coq are not about."""


class CoqNotInstalledError(MissingExtraError):
    """Coq, or one of the libraries that the theory files need, is not installed."""
