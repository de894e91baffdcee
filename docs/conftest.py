"""Pages whose examples need an extra are skipped where it is not installed, and the header says which."""

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGES = {
    HERE / "networks.md": {"torch": "torch", "sklearn": "scikit-learn"},
    HERE / "training_bound.md": {"torch": "torch"},
}
"""By page: module, and what installs it."""


def missing(page: Path) -> list[str]:
    return [name for module, name in PAGES.get(page, {}).items() if importlib.util.find_spec(module) is None]


def pytest_report_header() -> list[str]:
    skipped = [page.name for page in PAGES if missing(page)]
    return [f"skipped for want of an extra: {', '.join(skipped)}"] if skipped else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if wanted := missing(item.path):
            item.add_marker(pytest.mark.skip(reason=f"pip install {' '.join(wanted)}"))
