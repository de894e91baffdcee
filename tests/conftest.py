"""Hypothesis profiles, and what is left out without PyTorch.

Profiles are derandomised in CI, and have no deadlines, because solving times vary with the machine. What needs PyTorch
is left out where it is not installed, and so is what needs Coq; the header says so.
"""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, database=None)
# tests/mutation: that an example fails is enough, it need not be a small one
settings.register_profile("mutation", parent=settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "ufm_convex" / "networks"
WITHOUT = ("__init__.py", "directions.py", "page.py", "report.py", "windows.py")
"""Modules of that folder that do not import PyTorch; the examples of the others cannot even be looked for."""


PAGES = {
    ROOT / "docs" / "networks.md": {"torch": "torch", "sklearn": "scikit-learn"},
    ROOT / "docs" / "network_report.md": {"torch": "torch"},
    ROOT / "docs" / "training_bound.md": {"torch": "torch"},
}
"""Pages whose examples need modules of an extra: by module, what installs it."""


def missing(module: str) -> bool:
    return importlib.util.find_spec(module) is None


def wanted_by(page: Path) -> list[str]:
    return [package for module, package in PAGES.get(page, {}).items() if missing(module)]


def pytest_report_header() -> list[str]:
    skipped = [page.name for page in PAGES if wanted_by(page)]
    found = ["torch is not installed: most of ufm_convex/networks is not collected"] if missing("torch") else []
    found += [] if shutil.which("coqc") else ["coqc is not installed: no bound is proved by Coq"]
    return found + ([f"skipped for want of an extra: {', '.join(skipped)}"] if skipped else [])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if wanted := wanted_by(item.path):
            item.add_marker(pytest.mark.skip(reason=f"pip install {' '.join(wanted)}"))


def pytest_configure(config: pytest.Config) -> None:
    left_out = [ROOT / "docs" / "conf.py"]  # of the site, whose pages are doctested and whose configuration is not
    if missing("torch"):
        left_out += [path for path in MODULES.glob("*.py") if path.name not in WITHOUT]
        left_out.append(ROOT / "tests" / "small_networks.py")
    config.option.ignore = [*(config.getoption("ignore") or []), *map(str, left_out)]
