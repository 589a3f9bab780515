"""How the site is built from the pages of this folder and the docstrings: `make docs`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "src")]
from site_languages import LANGUAGES  # noqa: E402

KATEX = ROOT / "node_modules" / "katex" / "dist"

project = "variform"
author = "The variform developers"
project_copyright = "The variform developers, MIT licence"
language = next((code for code in LANGUAGES if tags.has(code)), "en")  # noqa: F821, of Sphinx: -t ko
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "site_languages",
    "site_notebooks",
    "site_sources",
    "site_text",
    "site_versions",
]
IN_ENGLISH = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/RESULTS.md",
    "docs/**",
]
include_patterns = IN_ENGLISH if language == "en" else ["**"]
exclude_patterns = [f"docs/{code}/**" for code in LANGUAGES] + ["docs/templates/**"]
locale_dirs = [str(ROOT / "docs" / "locale")]  # what Sphinx and its theme lack
html_show_search_summary = (
    False  # what it would show is fetched, which a page without a server may not
)
root_doc = "docs/index" if language == "en" else "index"
html_theme = "pydata_sphinx_theme"
html_title = "variform"
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "variform"},
    "navbar_center": ["navbar-nav"],
    "navbar_persistent": ["search-field", "language-switch"],
    "navbar_end": ["theme-switcher"],
    "collapse_navigation": True,  # its buttons have no name for a screen reader
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": ["version-link"],
}
templates_path = ["templates"]
# The few pages of a translation stand at the top.
html_sidebars = {} if language == "en" else {"**": []}
html_static_path = [str(KATEX), "static"]
html_css_files = ["katex.min.css", "languages.css"]
html_math_renderer = "katex"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds a cell
nb_merge_streams = True
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
