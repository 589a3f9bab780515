"""What the documents say is true: formulas, code, numbers, links, options and examples."""

import ast
import doctest
import inspect
import pkgutil
import re
import runpy
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from variform.faces import cli

ROOT = Path(__file__).parents[1]
SOURCE, TESTS = ROOT / "src" / "variform", ROOT / "tests"
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
EXAMPLES = sorted(
    set((ROOT / "examples").glob("*.py")) - {ROOT / "examples" / "minimal.py"}
)  # see test_minimal
NOT_OURS = {"__pycache__", "runs", "dist", "node_modules"}
BUILT = ROOT / "site"
HIDDEN_AND_OURS = {".ci", ".gitignore"}


def is_ours(name):
    is_hidden = name.startswith(".") and name not in HIDDEN_AND_OURS
    return not is_hidden and name not in NOT_OURS and not name.endswith(".egg-info")


def files_below(folder):
    """Every file of ours; folders that are not ours, which may hold many thousands, are not entered."""
    for path in filter(lambda path: is_ours(path.name) and path != BUILT, folder.iterdir()):
        if path.is_dir():
            yield from files_below(path)
        else:
            yield path


FILES = sorted(files_below(ROOT))
MARKDOWN = [path for path in FILES if path.suffix == ".md"]

TAG = re.compile(r"# eq: ([a-z0-9-]+)$", re.MULTILINE)
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`[^`\n]+`")
OPTION = re.compile(r"(?<!var\()(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*(?![\w-])")
NUMBER = re.compile(r"(?<![\w.^])\d+(?:[.,]\d+)*(?!\w)")


def name(path):
    return str(path.relative_to(ROOT))


def read(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _as_a_user_starts(tmp_path, monkeypatch):
    """Single precision and an empty folder; conftest puts double precision around the tests."""
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float32)


# --- the formula map ----------------------------------------------------------------------------------------------


def entries():
    """Tag to its fields in formulas.md."""
    parts = re.split(r"^### `([a-z0-9-]+)`$", read(DOCS / "formulas.md"), flags=re.MULTILINE)[1:]
    fields = re.compile(r"^- (Source|Symbol|Test): (.+)$", re.MULTILINE)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [
        (tag, text, {key: value.strip("`") for key, value in fields.findall(text)})
        for tag, text in pairs
    ]


ENTRIES = entries()


def tags_in_source():
    return [tag for path in SOURCE.rglob("*.py") for tag in TAG.findall(read(path))]


def test_each_tag_stands_once_in_the_source_and_once_on_the_page():
    in_source, on_page = tags_in_source(), [tag for tag, _, _ in ENTRIES]
    assert sorted(in_source) == sorted(set(in_source))
    assert sorted(on_page) == sorted(in_source)


@pytest.mark.parametrize(("tag", "text", "fields"), ENTRIES, ids=[tag for tag, _, _ in ENTRIES])
def test_a_formula_has_its_latex_source_symbol_and_test(tag, text, fields):
    assert re.search(r"^\$\$.+\$\$$", text, re.MULTILINE), (
        f"{tag} needs one line of LaTeX between $$"
    )
    assert re.search(r"\((19|20)\d\d\)", fields["Source"]), f"{tag} needs a source with its year"
    symbol = pkgutil.resolve_name(fields["Symbol"])
    source = inspect.getsource(symbol.fget if isinstance(symbol, property) else symbol)
    assert tag in TAG.findall(source)
    file, _, function = fields["Test"].partition("::")
    known = {
        node.name for node in ast.parse(read(ROOT / file)).body if isinstance(node, ast.FunctionDef)
    }
    assert function in known


# --- code blocks --------------------------------------------------------------------------------------------------


def blocks(path):
    """Language line, content, and number of the first line of content, of each fenced block."""
    text = read(path)
    return [(m[1].strip(), m[2], text[: m.start(2)].count("\n")) for m in FENCE.finditer(text)]


def run_blocks(path):
    """Run a page's Python blocks in their order and in one namespace: doctests, and all that is marked as Python."""
    names = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for language, code, line in blocks(path):
        if ">>> " in code:
            test = doctest.DocTestParser().get_doctest(
                code, names, f"{name(path)}:{line}", str(path), line
            )
            report = []
            runner.run(test, out=report.append, clear_globs=False)
            assert not runner.failures, "".join(report)
            names = test.globs
        elif language in ("python", "python run"):
            exec(compile("\n" * line + code, str(path), "exec"), names)


@pytest.mark.long
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_the_code_on_a_page_runs_and_prints_what_it_says(path):
    run_blocks(path)


def prose(path):
    """The text without code, formulas, link targets, numbers of items and rows, and citations."""
    text = FENCE.sub("", read(path))
    for noise in (
        r"\$\$.*?\$\$",
        r"\$[^$\n]+\$",
        CODE_SPAN.pattern,
        r"\]\([^)]*\)",
        r"^#+ \d+\. ",
        r"^\d+\. ",
        r"^\| \d+ \|",
        r"\b(19|20)\d\d[a-z]?\b",
        r"\b(equation|section|appendix|figure|table|theorem|step|structure|assumption)s? [A-Z]?\.?\d+(\.\d+)*",
    ):
        text = re.sub(
            noise, " ", text, flags=re.MULTILINE | re.DOTALL if "$$" in noise else re.MULTILINE
        )
    return text


def test_every_number_in_the_lecture_is_computed_there():
    """What the text states stands in a block, as an output or as an input."""
    page = DOCS / "lecture.md"
    steps = [
        step for _, code, _ in blocks(page) for step in doctest.DocTestParser().get_examples(code)
    ]
    known = set(
        NUMBER.findall(" ".join(step.want + " " + step.source.replace("_", "") for step in steps))
    )
    stated = [number.replace(",", "") for number in NUMBER.findall(prose(page))]
    assert len(stated) > 10
    assert set(stated) <= known


# --- links and options --------------------------------------------------------------------------------------------


def anchors(path):
    """The anchors that GitHub makes of headings, in their order."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", read(path)), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_relative_links_lead_somewhere(path):
    text = CODE_SPAN.sub("`code`", FENCE.sub("", read(path)))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{name(path)} links to {target}"
        assert not anchor or anchor in anchors(there), f"{name(path)} links to {target}"


@cache
def known_options():
    """Every option of every command."""
    known, waiting = set(), [cli.app]
    while waiting:
        app = waiting.pop()
        for word in app:
            if word.startswith("-"):
                known.add(word)
            else:
                waiting.append(app[word])
        if app.default_command is not None:
            known |= {
                option
                for argument in app.assemble_argument_collection()
                for option in argument.names
            }
    return known


def ours(span):
    """A code span that speaks of variform; other programs have options of their own."""
    return span[0] if span[0].startswith(("`-", "`variform")) else ""


@pytest.mark.parametrize("path", [*PAGES, *sorted(SOURCE.rglob("*.py"))], ids=name)
def test_every_option_that_is_named_exists(path):
    text = FENCE.sub("", read(path)) if path.suffix == ".md" else read(path)
    assert set(OPTION.findall(CODE_SPAN.sub(ours, text))) <= known_options()


def commands(path):
    """The `variform ...` lines of a page's shell blocks; a backslash joins lines, a # begins a comment."""
    for language, code, _ in blocks(path):
        if language in ("", "bash", "sh", "shell", "console"):
            for line in code.replace("\\\n", " ").splitlines():
                if re.match(r"(\$ )?(\S*/)?variform ", line):
                    yield shlex.split(line.removeprefix("$ "), comments=True)[1:]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_commands_on_a_page_are_understood(path, monkeypatch, capsys):
    """Names and values of options, without running anything."""
    parse = cli.app.parse_args

    class Understand:
        config = ()

        def __call__(self, words, **_):
            parse(words, exit_on_error=False, print_error=False)

    monkeypatch.setattr("variform.faces.cli.commands.app", Understand())
    monkeypatch.setattr("variform.faces.cli.commands._config_sources", lambda arguments: [])
    for words in commands(path):
        assert cli.run(words) == 0, f"{' '.join(words)}: {capsys.readouterr().err}"


# --- examples and hygiene -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_an_example_is_short_prints_numbers_and_writes_pictures(
    path, tmp_path, monkeypatch, capsys
):
    assert len(read(path).splitlines()) <= 60
    monkeypatch.setattr(sys, "argv", [path.name, str(tmp_path / "out"), "--epochs", "2"])
    runpy.run_path(str(path), run_name="__main__")
    assert re.search(r"\d\.\d", capsys.readouterr().out)
    assert list((tmp_path / "out").rglob("*.png"))


# Written so that these lines do not match themselves.
FOREIGN = re.compile(
    r"(?<![\w.])/[w]ork\b|/tmp/[b]ash|[p]ypi\.org|[p]ythonhosted|[p]ytorch\.org/whl|[n]pmjs\.|[a]naconda\."
)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_file_names_one_machine_or_a_registry(path):
    text = path.read_bytes().decode("utf-8", errors="ignore")
    assert not FOREIGN.findall(text)
