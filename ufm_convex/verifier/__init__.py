"""Independent verifier of certificates, format version 1 (specified in docs/certificate.md).

    python -m ufm_convex.verifier CERTIFICATE [CANDIDATE.npz]    exit: 0 proved, 1 refuted, 2 malformed or unreadable,
                                                                       3 inconclusive, 4 a fault of the verifier

This folder imports nothing of the package around it: the standard library and python-flint, and NumPy for an optional
fast path whose products are exact. Everything is recomputed from the problem data in the file. Feasibility is decided
in integers and rationals; values are enclosed in balls whose precision is raised until the claim is decided. To be read
in this order: ``reading`` (exact numbers), ``costs`` (what they may cost), ``losses`` and ``tables`` (of targets),
``terms`` (of the objective beside them), ``problem``, ``proof``, ``copositive`` and ``residuals`` (the dual point and
its slack), ``points`` (W and H), ``claims``, and the steps in ``checking``; ``many``, ``fast`` and ``fast_tables`` are
shorter ways to the same answers. Whoever asks about one problem or one candidate gives it beside the file: ``asked``
and ``arrays`` compare it with the content, number by number. ``statement`` says what is claimed.

    PROVED        every step of the proof was verified;
    REFUTED       a step was shown to fail, by exact arithmetic or by an enclosure that excludes the claim;
    INCONCLUSIVE  no step was shown to fail, and at least one could not be decided.

``contrastive`` is another kind of problem, with steps of its own. ``checking`` is imported when one of the names below
is first used, so that a module of this folder can be imported without the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checking import Step, Verdict, VerificationResult, verify
    from .reading import MalformedCertificate, UnreadableInput
    from .statement import CandidateClaims, ClaimsStatement, ProblemStatement

__all__ = [
    "CandidateClaims",
    "ClaimsStatement",
    "MalformedCertificate",
    "ProblemStatement",
    "Step",
    "UnreadableInput",
    "Verdict",
    "VerificationResult",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    homes = (importlib.import_module(f".{home}", __name__) for home in ("reading", "statement", "checking"))
    value = next(getattr(home, name) for home in homes if hasattr(home, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
