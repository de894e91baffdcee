"""The site, made from the pages of this folder by one command (site.md says why it is Sphinx that makes it).

    python -m sphinx -W docs docs/_build

With -W a warning is an error. Everything is on the pages that are built: no script, font or formula is fetched from
elsewhere when they are read. ``_sphinx`` holds what Sphinx and its extensions do not do by themselves.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_sphinx"))

import numpy as np

import ufm_convex
import ufm_convex._arrays

# signatures say "ndarray"; shapes and numbers are said by the docstrings
ufm_convex._arrays.FloatArray = ufm_convex._arrays.IntArray = ufm_convex._arrays.BoolArray = np.ndarray

project = "ufm-convex"
author = "The ufm-convex authors"
copyright = "The ufm-convex authors, MIT licence"  # noqa: A001
version = release = ufm_convex.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "public_names",
    "titles",
]
exclude_patterns = ["_build", "_sphinx", "_templates", "plugin_example", "gallery"]
templates_path = ["_templates"]
nitpicky = True

# -- pages ---------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# -- the reference, from docstrings --------------------------------------------------------------------------------

autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# -- the gallery, executed -----------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": ["gallery"],
    "gallery_dirs": ["generated/gallery"],
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("figures.scrape",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "plot_gallery": True,
    "matplotlib_animations": False,
    "remove_config_comments": True,
}

# -- looks ---------------------------------------------------------------------------------------------------------


def wide_pages(columns: int = 8) -> list[str]:
    """Pages with a table of so many columns: they need the room that the list of sections takes beside them."""
    ruled = re.compile(rf"^\|(?:[-: ]+\|){{{columns},}}$", re.M)
    return sorted(page.stem for page in Path(__file__).parent.glob("*.md") if ruled.search(page.read_text("utf-8")))


html_theme = "pydata_sphinx_theme"
html_title = "ufm-convex"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = True
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "ufm-convex"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "secondary_sidebar_items": {"**": ["page-toc"], **{page: [] for page in wide_pages()}},
    "footer_start": ["copyright"],
    "footer_end": [],
}
