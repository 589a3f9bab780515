"""The lecture's map: each step has its section, in their order, and its line of code."""

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "lecture.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (\d+) \| \[(.+)\]\(#(\S+)\) \| \[`(.+)`\]\((\S+)\) \|$",
    re.MULTILINE,
)
STEPS = ROW.findall(PAGE)
HEADINGS = re.findall(r"^## (\d+\. .+)$", PAGE, re.MULTILINE)


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_map_has_the_sections_in_their_order():
    assert len(STEPS) == 21
    for (number, says, link, *_), heading in zip(STEPS, HEADINGS, strict=True):
        assert f"{number}. {says}".replace("\\|", "|") == heading
        assert link == anchor(heading)


def defined(file: Path) -> set[str]:
    """Names that a file defines, those within classes by `Class.name`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.ClassDef, ast.FunctionDef)
    outer = [node for node in tree.body if isinstance(node, kinds)]
    inner = [
        f"{node.name}.{part.name}"
        for node in outer
        for part in node.body
        if isinstance(part, kinds)
    ]
    return {node.name for node in outer} | set(inner)


@pytest.mark.parametrize("row", STEPS, ids=[row[0] for row in STEPS])
def test_a_step_has_its_line_of_code(row):
    *_, code, path = row
    file = (DOCS / path).resolve()
    if code.startswith("# eq: "):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert sum(line.endswith(f"  {code}") for line in lines) == 1
    else:
        assert code in defined(file)
