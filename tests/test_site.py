"""The site that `make docs` builds: whole and readable from its folder, without a server or a network."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from filelock import FileLock

import variform

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NEEDED = ("pydata_sphinx_theme", "myst_nb", "sphinx", "sphinx_copybutton")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
HAS_KATEX = (ROOT / "node_modules" / "katex").is_dir()


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The built site. A warning ends the build; a formula that KaTeX does not know does so too."""
    if MISSING or not HAS_KATEX:
        pytest.skip("needs the extra docs and `npm ci`")
    out = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # of several processes the first builds it, for all
        out = out.parent
    with FileLock(out / "site.lock"):
        if not (out / "site").exists():
            build(out / "half-a-site", out / "kept")
            (out / "half-a-site").rename(out / "site")
    return out / "site"


def build(to: Path, kept: Path) -> None:
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "-c", str(DOCS)]
    done = subprocess.run(
        [*sphinx, "-d", str(kept), str(ROOT), str(to)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr


class Page(HTMLParser):
    """What a page links to, what can be linked to on it, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.loads, self.anchors = [], [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe"):
            self.loads.append(given.get("src"))
        if tag == "link" and given.get("rel") == "stylesheet":
            self.loads.append(given["href"])


def is_elsewhere(target: str) -> bool:
    return re.match(r"[a-z]+:", target) is not None


@pytest.mark.long
def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    built = [
        path for path in site.rglob("*.html") if "_static" not in path.parts
    ]  # there a theme has its own
    pages = {path.resolve(): Page(path) for path in built}
    broken = []
    for path, page in pages.items():
        for target in page.links:
            if is_elsewhere(target):
                continue
            file, _, anchor = target.partition("#")
            there = (path.parent / unquote(file)).resolve() if file else path
            is_page = there in pages
            if not there.exists() or (is_page and unquote(anchor) not in pages[there].anchors):
                broken.append(f"{path.relative_to(site)} -> {target}")
        for target in filter(None, page.loads):
            file = target.split("?")[0]
            if is_elsewhere(target) or not (path.parent / unquote(file)).exists():
                broken.append(f"{path.relative_to(site)} loads {target}")
    assert len(pages) > 50
    assert broken == []


def on_pages(*names: str) -> str:
    return "".join((DOCS / "reference" / f"{name}.md").read_text() for name in names)


def test_the_reference_has_every_public_name_and_module():
    missing = [name for name in variform.__all__ if f".{name}\n" not in on_pages("variform")]
    assert missing == []
    rooms = [path.stem for path in (DOCS / "reference").glob("*.md")]
    text = on_pages(*rooms)
    for path in sorted((ROOT / "src" / "variform").rglob("*.py")):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        if parts[1] not in rooms or "cli" in parts:
            continue
        has_public = re.search(r"^(class|def|async def) [^_]", path.read_text(), re.MULTILINE)
        module = ".".join(parts).removesuffix(".__init__")
        if has_public:
            assert f"automodule:: {module}\n" in text, (
                f"{module} stands on no page of the reference"
            )


def test_the_glossary_has_every_number_of_an_evaluation():
    from variform.evaluation.metrics import METRICS

    text = (DOCS / "glossary.md").read_text().lower()
    headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
    words = {
        "accuracy": "",  # says all in its own name
        "high_pareto_k": "pareto k",
        "kl": "kl",
        "posterior_gap": "gap",
        "reconstruction_error": "reconstruction error",
    }
    for key, metric in METRICS.items():
        word = words.get(key, metric.label.lower())
        assert not word or word in headings, f"{key} stands in no heading of the glossary"


FOUND = """new Promise((resolve) => {
  const look = () => document.querySelector("#search-results li a") ? resolve(true) : setTimeout(look, 50);
  look();
})"""


@pytest.mark.long
def test_the_search_finds_words_in_a_folder(site, browser):
    browser.open(site / "search.html", "?q=reparameterisation", ready=FOUND)
    titles = (
        "[...document.querySelectorAll('#search-results li a')].map((link) => link.textContent)"
    )
    assert any("Formulas" in title for title in browser.run(titles))
    browser.open(site / "docs" / "lecture.html", ready="document.fonts.ready.then(() => true)")
    text = re.sub(
        r"^```.*?^```", "", (DOCS / "lecture.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$\n]+\$", text, re.DOTALL)
    assert browser.run("document.querySelectorAll('.katex').length") == len(formulas) > 20
    assert browser.run("[...document.fonts].some((font) => font.family.includes('KaTeX_Main'))")
    assert browser.errors == []


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_site(site, chromium, scheme, width):
    chromium.resize(width, 900, color_scheme=scheme)
    for name in (
        "docs/index",
        "docs/lecture",
        "docs/formulas",
        "docs/reference/objectives",
        "search",
    ):
        chromium.page.goto((site / f"{name}.html").as_uri())
        chromium.run(AXE.read_text(encoding="utf-8"))
        findings = chromium.run("axe.run().then((found) => found.violations)")
        seen = [(found["id"], found["nodes"][0]["html"]) for found in findings]
        assert seen == [], f"{name}: {seen}"
        assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), name
