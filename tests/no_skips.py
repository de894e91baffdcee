"""A plugin of pytest: a test that is skipped fails, but for the reasons of ``ALLOWED``.

``python -m pytest -p tests.no_skips`` in an environment with every extra: what is skipped there is run nowhere.
"""

import re

import pytest

from tests.coq_here import SKIPPED, coq_is_here

ALLOWED: tuple[str, ...] = () if coq_is_here() else (re.escape(SKIPPED),)
"""Regular expressions; a reason for skipping that one of them matches from its beginning is good enough. Coq is no
package of Python: where it is missing, what needs it is skipped, and ``.ci/run`` says so."""


def judged(report):
    """The report of a test or of a file, failed in place of skipped."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.match(pattern, reason.removeprefix("Skipped: ")) for pattern in ALLOWED):
            report.outcome, report.longrepr = "failed", f"{reason}: but nothing may be skipped here"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return judged((yield))
