"""The site that `make docs` builds: whole and readable from its folder, without a server or a network."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from filelock import FileLock

import variform

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NEEDED = ("pydata_sphinx_theme", "myst_nb", "sphinx", "sphinx_copybutton")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
LANGUAGES = {"en"} | {path.name for path in DOCS.iterdir() if re.fullmatch("[a-z]{2}", path.name)}
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
    without_notebooks = ["-D", "nb_execution_mode=off"]  # tests/test_notebooks.py runs them
    command = [sys.executable, str(ROOT / "tools" / "build_site.py"), str(to), str(kept)]
    done = subprocess.run(
        [*command, *without_notebooks],
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
        self.language, self.switches, self.sections = None, set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if "language-switch" in given.get("class", "").split():
            self.switches.add((given["hreflang"], given["href"]))
        if tag == "section" and "id" in given:
            self.sections.append(given["id"])
        if tag == "html":
            self.language = given.get("lang")
        if tag in ("script", "img", "iframe"):
            self.loads.append(given.get("src"))
        if tag == "link" and given.get("rel") == "stylesheet":
            self.loads.append(given["href"])


def is_elsewhere(target: str) -> bool:
    return re.match(r"[a-z]+:", target) is not None


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    """Every page of ours; among its static files a theme has its own."""
    built = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path.resolve(): Page(path) for path in built}


@pytest.mark.long
def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for target in page.links:
            if is_elsewhere(target):
                continue
            file, _, anchor = target.partition("#")
            there = (path.parent / unquote(file)).resolve() if file else path
            is_page = there in pages
            if not there.exists() or (is_page and unquote(anchor) not in pages[there].anchors):
                broken.append(f"{path.relative_to(site.resolve())} -> {target}")
        for target in filter(None, page.loads):
            file = target.split("?")[0]
            if is_elsewhere(target) or not (path.parent / unquote(file)).exists():
                broken.append(f"{path.relative_to(site.resolve())} loads {target}")
    assert len(pages) > 50
    assert broken == []


@pytest.mark.long
def test_every_page_says_its_language_and_has_the_way_to_the_other(site, pages):
    for path, page in pages.items():
        within = path.relative_to(site.resolve())
        if str(within) == "index.html":
            continue
        language = within.parts[0] if within.parts[0] in LANGUAGES else "en"
        assert page.language == language, within
        assert {code for code, _ in page.switches} == LANGUAGES - {language}, within


@pytest.mark.long
@pytest.mark.parametrize(
    ("page", "other"),
    [
        ("docs/index", "ko/index"),
        ("docs/glossary", "ko/glossary"),
        ("README", "ko/README"),
        ("search", "ko/search"),
    ],
)
def test_a_page_that_is_translated_leads_to_its_translation_and_back(site, page, other):
    for here, there in ((page, other), (other, page)):
        link = dict(Page(site / f"{here}.html").switches)["ko" if here == page else "en"]
        assert (site / here).parent.joinpath(link).resolve() == (site / f"{there}.html").resolve()


@pytest.mark.long
def test_the_switch_stays_in_the_section(site, chromium):
    """Sections have the same address in both languages, and those of README are its first."""
    for path in (DOCS / "ko").rglob("*.md"):
        name = path.relative_to(DOCS / "ko").with_suffix("")
        original = site / "README.html" if name.name == "README" else site / f"docs/{name}.html"
        sections = Page(site / f"ko/{name}.html").sections
        pairs = list(zip(Page(original).sections, sections, strict=False))
        assert len(pairs) == len(sections) > 0
        assert [pair for pair in pairs if pair[0] != pair[1] and pair[0] != "id1"] == []
    chromium.page.goto((site / "docs" / "lecture.html").as_uri() + "#the-whole-loss")
    chromium.page.locator(".language-switch[lang=ko]:visible").click()
    chromium.page.wait_for_url((site / "ko" / "lecture.html").as_uri() + "#the-whole-loss")
    heading = chromium.page.locator("#the-whole-loss h2")
    assert "21. 손실 전체" in heading.inner_text()
    assert abs(heading.bounding_box()["y"]) < 300
    assert chromium.errors == []


@pytest.mark.long
def test_a_page_without_a_translation_leads_to_the_beginning(site):
    for page in ("docs/design/airfoils", "docs/reference/objectives", "CHANGELOG", "genindex"):
        link = dict(Page(site / f"{page}.html").switches)["ko"]
        assert (site / page).parent.joinpath(link).resolve() == site / "ko" / "index.html"


@pytest.mark.long
@pytest.mark.parametrize(
    ("locale", "start"), [("ko-KR", "ko"), ("en-GB", "docs"), ("de-DE", "docs")]
)
def test_the_site_begins_in_the_language_of_the_browser(site, chromium, locale, start):
    chromium.resize(1100, 760, locale=locale)
    chromium.page.goto((site / "index.html").as_uri())
    chromium.page.wait_for_url((site / start / "index.html").as_uri())


@pytest.mark.long
def test_the_lecture_leads_to_the_lines_of_its_formulas(site):
    text = (DOCS / "lecture.md").read_text()
    tags = re.findall(r"\[`([a-z-]+)`\]\(\.\./(src/\S+\.py)\) \|$", text, re.MULTILINE)
    links = Page(site / "docs" / "lecture.html").links
    for tag, path in tags:
        lines = (ROOT / path).read_text().splitlines()
        marks = f"# eq: {tag}$|^def {tag}\\("
        (line,) = [number for number, line in enumerate(lines, 1) if re.search(marks, line)]
        assert f"../source/{path}.html#line-{line}" in links
    assert len(tags) > 12


@pytest.mark.long
def test_every_page_leads_to_the_versions_and_a_published_version_to_the_others(site, tmp_path):
    for page in ("docs/index", "docs/reference/objectives", "ko/index"):
        there = (site / f"{page}.html").parent
        targets = {(there / link).resolve() for link in Page(site / f"{page}.html").links}
        assert (site / "versions.html").resolve() in targets
    assert "index.html" in Page(site / "versions.html").links
    publish = script("site_versions").publish
    part = tmp_path / "part"  # of the site: the whole has thousands of files
    part.mkdir()
    for name in ("versions.html", "index.html"):
        (part / name).write_text((site / name).read_text(encoding="utf-8"), encoding="utf-8")
    for version in ("0.9.0", "0.10.0", "0.9.1", "0.9.0"):
        publish(part, tmp_path / "all", version)
    folders = ["0.10.0", "0.9.1", "0.9.0"]
    for version in folders:
        links = Page(tmp_path / "all" / version / "versions.html").links
        assert [link for link in links if link.startswith("../0")] == [
            f"../{name}/index.html" for name in folders
        ]
    root = tmp_path / "all" / "index.html"
    assert Page(root).links == [f"{name}/index.html" for name in folders]
    assert "url=0.10.0/index.html" in root.read_text(encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="make docs"):
        publish(tmp_path, tmp_path / "all", "1.0.0")


def script(name: str):
    """A module of tools/."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


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
    for key, metric in METRICS.items():
        says_all = key == "accuracy"  # in its own name
        assert says_all or metric.word.lower() in headings, f"{key} has no entry in the glossary"


# The title has dots that move in it until all pages that were found are shown.
FOUND = """new Promise((resolve) => {
  const title = () => document.querySelector("#search-results h2");
  const look = () => title() && !title().querySelector("span") ? resolve(true) : setTimeout(look, 50);
  look();
})"""
FINDINGS = "[...document.querySelectorAll('#search-results li a')].map((link) => link.textContent)"


def found_by(browser, page: Path, query: str) -> list[str]:
    """The titles that the search of a language finds."""
    browser.open(page, f"?q={quote(query)}", ready=FOUND)
    return browser.run(FINDINGS)


@pytest.mark.long
def test_the_search_finds_korean_words_with_their_particles_and_without_spaces(site, browser):
    text = (DOCS / "ko" / "glossary.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<![가-힣])제약을|잠재변수|사후분포", text)
    for query in ("제약", "우도", "제약을", "잠재변수", "사후분포는", "증거 하한", "값", "ELBO"):
        titles = found_by(browser, site / "ko" / "search.html", query)
        assert any("용어집" in title for title in titles), f"{query}: {titles}"
    assert browser.errors == []


@pytest.mark.long
def test_the_search_finds_words_in_a_folder(site, browser):
    titles = found_by(browser, site / "search.html", "reparameterisation")
    assert any("Formulas" in title for title in titles)
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
        "ko/lecture",
        "ko/search",
    ):
        chromium.page.goto((site / f"{name}.html").as_uri())
        chromium.run(AXE.read_text(encoding="utf-8"))
        findings = chromium.run("axe.run().then((found) => found.violations)")
        seen = [(found["id"], found["nodes"][0]["html"]) for found in findings]
        assert seen == [], f"{name}: {seen}"
        assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), name
