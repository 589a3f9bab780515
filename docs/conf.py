"""How the site is built from the pages of this folder and the docstrings: `make docs`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "src")]
KATEX = ROOT / "node_modules" / "katex" / "dist"

project = "variform"
author = "The variform developers"
project_copyright = "The variform developers, MIT licence"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "site_sources",
    "site_text",
]
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/RESULTS.md",
    "docs/**",
]
exclude_patterns = ["docs/ko/**", "docs/site/**"]
html_show_search_summary = (
    False  # what it would show is fetched, which a page without a server may not
)
root_doc = "docs/index"
html_theme = "pydata_sphinx_theme"
html_title = "variform"
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "variform"},
    "navbar_center": ["navbar-nav"],
    "navbar_persistent": ["search-field"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_static_path = [str(KATEX)]
html_css_files = ["katex.min.css"]
html_extra_path = ["site"]  # the page at the root, which leads here
html_math_renderer = "katex"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
