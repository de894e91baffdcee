"""What needs PyTorch is left out where it is not installed, and the header and the skipped pages say so."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
MODULES = ROOT / "ufm_convex" / "networks"
WITHOUT = ("__init__.py", "directions.py", "page.py", "report.py", "windows.py")
"""Modules of that folder that do not import it; the examples of the others cannot even be looked for."""
PAGES = {
    ROOT / "docs" / "networks.md": {"torch": "torch", "sklearn": "scikit-learn"},
    ROOT / "docs" / "training_bound.md": {"torch": "torch"},
}
"""Pages whose examples need modules of an extra: by module, what installs it."""


def missing(module: str) -> bool:
    return importlib.util.find_spec(module) is None


def pytest_report_header() -> list[str]:
    skipped = [page.name for page, modules in PAGES.items() if any(map(missing, modules))]
    found = ["torch is not installed: most of ufm_convex/networks is not collected"] if missing("torch") else []
    return found + ([f"skipped for want of an extra: {', '.join(skipped)}"] if skipped else [])


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return (
        True if missing("torch") and collection_path.parent == MODULES and collection_path.name not in WITHOUT else None
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        wanted = [package for module, package in PAGES.get(item.path, {}).items() if missing(module)]
        if wanted:
            item.add_marker(pytest.mark.skip(reason=f"pip install {' '.join(wanted)}"))
