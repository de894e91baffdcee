"""What needs PyTorch is left out where it is not installed, and the header and the skipped pages say so."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
MODULES = ROOT / "ufm_convex" / "networks"
WITHOUT = ("__init__.py", "directions.py", "page.py", "report.py", "windows.py")
"""Modules of that folder that do not import it; the examples of the others cannot even be looked for."""
PAGES = (ROOT / "docs" / "training_bound.md",)
HERE = importlib.util.find_spec("torch") is not None


def pytest_report_header() -> list[str]:
    return [] if HERE else ["torch is not installed: most of ufm_convex/networks is not collected, its page is skipped"]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if not HERE and collection_path.parent == MODULES and collection_path.name not in WITHOUT else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not HERE and item.path in PAGES:
            item.add_marker(pytest.mark.skip(reason="pip install torch"))
