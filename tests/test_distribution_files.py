"""What goes out beside the code: metadata, a registry's page, the citation, and hints that name only what exists."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from readme_renderer import markdown
from trove_classifiers import classifiers

from variform.faces import cli
from variform.system.extras import missing, packages_of
from variform.version import __version__

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "variform"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, re.MULTILINE))


def registry_page():
    """README.md as pyproject.toml has it rewritten for a registry."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    hook = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    for rule in hook["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


# --- the page of a registry ---------------------------------------------------------------------------------------


def test_every_link_of_the_page_of_a_registry_is_absolute_and_no_word_is_lost():
    page, readme = registry_page(), (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links and all(link.startswith("https://") for link in links)
    without_pictures = re.sub(r"!\[[^\]]*\]\([^)]+\)\n+", "", readme)
    words = [re.sub(r"\]\([^)]*\)|[\[\]]", "", text).split() for text in (page, without_pictures)]
    assert words[0] == words[1]


def test_the_page_of_a_registry_renders():
    """By what PyPI itself renders it with."""
    html = markdown.render(registry_page())
    assert html is not None and re.search(r"<h2[^>]*>Start<", html)


# --- metadata -----------------------------------------------------------------------------------------------------


def test_the_metadata_say_who_what_and_which_python_and_claim_what_was_tried():
    assert PROJECT["authors"] and PROJECT["license"] == "MIT" and (ROOT / "LICENSE").is_file()
    lowest = re.fullmatch(r">=(3\.\d+)", PROJECT["requires-python"])[1]
    versions = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert versions == [lowest]
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    assert f"| Python | {', '.join(versions)} |" in page


def test_classifiers_are_those_that_a_registry_knows():
    assert set(PROJECT["classifiers"]) <= set(classifiers)


def test_the_extras_are_told_on_the_page_of_installing():
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z0-9]+)` \|", page, re.MULTILINE) == list(
        PROJECT["optional-dependencies"]
    )


def test_the_citation_is_of_this_version_and_licence():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^([a-z-]+): (.+)$", text, re.MULTILINE))
    assert fields["version"] == __version__ and fields["license"] == PROJECT["license"]
    names = {author["name"] for author in PROJECT["authors"]}
    assert set(re.findall(r"^  - name: (.+)$", text, re.MULTILINE)) == names


def test_make_demo_needs_no_more_than_the_core():
    assert re.search(r"^demo: \.venv/core\n", MAKEFILE, re.MULTILINE)
    core = re.search(r"^\.venv/core:.*\n((?:\t.+\n)+)", MAKEFILE, re.MULTILINE)[1]
    assert "-e .\n" in core and "[" not in core


def test_the_part_of_the_suite_that_newest_versions_run_is_there():
    chosen = re.search(r"^NEWEST := ((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)[1]
    files = chosen.replace("\\", " ").split()
    assert len(files) > 5 and all((ROOT / name).is_file() for name in files)


def test_the_core_asks_for_nothing_that_only_an_extra_brings():
    """Of the modules that `variform demo` imports, none belongs to a package that only an extra names."""

    def named(requirements):
        return {re.split("[>=<\\[]", line)[0].lower().replace("_", "-") for line in requirements}

    core = named(PROJECT["dependencies"])
    extras = [named(packages) for packages in PROJECT["optional-dependencies"].values()]
    only_extra = set().union(*extras) - core - {"variform"}
    code = (
        "import sys, variform.faces.cli, variform.runs.train, variform.runs.pictures, variform.runs.explorer\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    owners = importlib.metadata.packages_distributions()
    names = {owner.lower().replace("_", "-") for name in loaded for owner in owners.get(name, ())}
    assert not names & only_extra


@pytest.mark.parametrize(
    ("name", "entry", "extras"),
    [
        ("Containerfile", ["variform"], ""),
        ("Containerfile.serve", ["variform", "serve"], "[serve]"),
    ],
)
def test_a_container_is_without_rights_and_takes_what_it_needs_alone(name, entry, extras):
    text = (ROOT / name).read_text(encoding="utf-8")
    steps = re.findall(r"^([A-Z]+) (.+(?:\\\n.+)*)", text, re.MULTILINE)
    kinds = [kind for kind, _ in steps]
    last = len(kinds) - 1 - kinds[::-1].index("RUN")
    assert dict(steps)["USER"] not in ("root", "0") and kinds.index("USER") > last
    assert json.loads(dict(steps)["ENTRYPOINT"]) == entry
    copied = [
        word.rstrip("/") for kind, line in steps if kind == "COPY" for word in line.split()[:-1]
    ]
    assert all((ROOT / name).exists() for name in copied)
    seen = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {f"!{name}" for name in copied} <= set(seen)
    installed = re.search(r"pip install -c \S+ '?/build(\[.*\])?'?", text)
    assert (installed[1] or "") == extras


# --- hints --------------------------------------------------------------------------------------------------------


def texts():
    """Every text in the source with its place; of an f-string what stands between what is put in."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node.value
    for path in [*sorted(SOURCE.rglob("*.j2")), *sorted(SOURCE.rglob("script/*.js"))]:
        yield str(path.relative_to(SOURCE)), path.read_text(encoding="utf-8")


TEXTS = list(texts())


def found(pattern):
    return [(place, match) for place, text in TEXTS for match in re.findall(pattern, text)]


def test_every_extra_that_is_named_exists():
    """In calls of `needing` and `missing`, and on the pages."""
    named = set(re.findall(r"variform\[([a-z0-9]+)\]", "\n".join(text for _, text in TEXTS)))
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if is_call and node.func.id in ("needing", "missing"):
                named |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        named |= set(
            re.findall(r"(?:\.|variform)\[([a-z0-9]+)\]'", path.read_text(encoding="utf-8"))
        )
    assert {"cad", "design", "hdf5", "hub", "onnx", "serve"} <= named
    assert named - {"nothing"} <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("extra", ["cad", "design", "hdf5", "hub", "onnx", "serve"])
def test_a_message_names_the_packages_that_an_extra_brings(extra):
    declared = PROJECT["optional-dependencies"][extra]
    brought = packages_of(extra)
    assert [name.replace("-", "_") for name in brought] == declared
    assert missing(extra, "it", "one").endswith(" ".join(f"'{name}'" for name in brought) + ".")


def test_every_target_of_make_that_is_named_exists():
    assert {"demo", "test", "lint", "dist", "sbom"} <= TARGETS
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    pages += sorted((ROOT / "docs").glob("*.md"))
    named = found(r"`make ([a-z][a-z-]+)") + [
        (page.name, target)
        for page in pages
        for target in re.findall(
            r"(?:`|^)make ([a-z][a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert len(named) > 10 and not [item for item in named if item[1] not in TARGETS]


def test_every_page_that_is_named_exists():
    named = found(r"\b(docs/[\w/-]+\.md)\b")
    assert len(named) >= 3 and not [item for item in named if not (ROOT / item[1]).is_file()]


def commands():
    """Whole commands that messages name: what follows `variform` and is one word of lower case, with its options."""
    verbs = "|".join(map(re.escape, (name for name in cli.app if not name.startswith("-"))))
    for place, text in TEXTS:
        for match in re.finditer(rf"(?:^|[\s`'\"(:])variform ((?:{verbs})\b[^`.;,)\n]*)", text):
            yield place, match[1]


def options_of(words):
    """The options of the command that words begin with."""
    app = cli.app
    for word in words:
        if word.startswith("-") or word not in app:
            break
        app = app[word]
    return {name for argument in app.assemble_argument_collection() for name in argument.names} | {
        "--help",
        "-h",
    }


def test_every_option_in_a_command_that_is_named_is_one_of_that_command():
    named = list(commands())
    assert len(named) > 60
    wrong = [
        (place, command, option)
        for place, command in named
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]+", command)
        if option not in options_of(command.split())
    ]
    assert not wrong


NO_COMMANDS = {"import", "wrote", "must", "alone", "is"}
"""Words that follow variform in a sentence or in Python, and are no command."""


def test_every_command_that_is_named_exists():
    named = found(r"[`:(]variform ([a-z][a-z-]*)\b") + found(r"\bwith variform ([a-z][a-z-]*)\b")
    wrong = [item for item in named if item[1] not in cli.app and item[1] not in NO_COMMANDS]
    assert len(named) > 30 and not wrong
