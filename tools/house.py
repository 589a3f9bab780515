"""The house, measured: its rooms, the arrows between them, and how dense its pages are.

    python tools/house.py                       # the rooms and the pages, as a table
    python tools/house.py --svg docs/images/rooms.svg    # the picture of docs/architecture.md
    python tools/house.py --source DIRECTORY    # another package's pages, to compare with

A room is a package below src/variform, or a module that stands alone there. An arrow leads from a room to one that it
imports from; the floor of a room is the longest way down from it. Everything is read from the source (imports at any
depth of a file), nothing is imported. The figures are examples to read a change by, and no limits.
"""

import argparse
import ast
import collections
import io
import statistics
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "variform"

ROOMS = {
    "version": "ends the arrows that would run upwards",
    "system": "what the machine needs",
    "config": "every value of a run, and one check of each",
    "distributions": "the formula sheet: laws and their KL",
    "data": "from a file to rows that are split and scaled",
    "model": "networks, families, and the VAE that joins them",
    "objectives": "a batch becomes terms",
    "training": "the loop, the step, and the state to go on from",
    "evaluation": "how good is p(x), and what comes out",
    "export": "files for us and for other programs",
    "compression": "rows as files that a model makes",
    "design": "spaces to look for designs in, and which are good",
    "pages": "pictures, report, explorer",
    "runs": "one folder, from plan to comparison",
    "estimator": "scikit-learn's face",
    "faces": "the command line, and a model as one object",
    "__main__": "python -m variform",
}
"""The rooms in the order of the lecture, which is the order of the imports: each imports from those above it here."""

FIGURES = {
    "variform before the rooms": "functions 5/20/116, classes 414, cyclomatic 8 (4.5% > 10, max 35), nesting 6, "
    "nodes a line 6.1, in 100 lines 4.3 conditional expressions and 5.8 comprehensions; 11,513 lines of code",
    "zuko": "functions 4/18/47, classes 225, cyclomatic 3 (0.7% > 10, max 15), nesting 4, "
    "nodes a line 3.8, in 100 lines 0.4 conditional expressions and 1.5 comprehensions; 2,758 lines of code",
    "torch.distributions": "functions 4/13/65, classes 334, cyclomatic 3 (0.4% > 10, max 13), nesting 3, "
    "nodes a line 3.7, in 100 lines 0.3 conditional expressions and 0.7 comprehensions; 6,230 lines of code",
    "sklearn.mixture": "functions 14/40/105, classes 808, cyclomatic 6 (2.2% > 10, max 16), nesting 4, "
    "nodes a line 3.5, in 100 lines 0.4 conditional expressions and 0.9 comprehensions; 2,726 lines of code",
}
"""What this script printed in November 2026 of code that is praised: median, 90th percentile and greatest length of a
function, longest class, and so on, as `summary` has it. Nodes are expressions of the syntax tree."""

BRANCHES = (
    ast.If,
    ast.For,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.comprehension,
    ast.Assert,
    ast.match_case,
)
NESTS = (ast.If, ast.For, ast.While, ast.With, ast.Try)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


# ---- rooms and arrows


@cache
def modules(source: Path) -> dict[str, Path]:
    """Files by dotted names below the package; a package has the name of its folder."""
    paths = {}
    for path in sorted(source.rglob("*.py")):
        name = ".".join(path.relative_to(source).with_suffix("").parts)
        paths[name.removesuffix(".__init__")] = path
    paths.pop("__init__", None)
    return paths


def imported(path: Path, source: Path = SOURCE) -> Iterator[str]:
    """Modules of the package that a file imports, anywhere in it."""
    known = modules(source)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (
                alias.name.partition(".")[2]
                for alias in node.names
                if alias.name.startswith("variform.")
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "variform":
            base = node.module.partition(".")[2]
            for alias in node.names:
                inner = f"{base}.{alias.name}".strip(".")
                yield inner if inner in known else base


@cache
def arrows(source: Path = SOURCE) -> dict[str, set[str]]:
    """For each module the modules that it imports."""
    return {
        name: set(imported(path, source)) - {name, ""} for name, path in modules(source).items()
    }


def room(module: str) -> str:
    """The room that a module stands in."""
    return module.partition(".")[0]


def between_rooms(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """For each room the rooms that it imports from."""
    joined: dict[str, set[str]] = collections.defaultdict(set)
    for module, others in imports.items():
        joined[room(module)] |= {room(other) for other in others} - {room(module)}
    return dict(joined)


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Ways that lead from a module back to it."""
    wrong, done = [], set()

    def follow(module: str, way: list[str]) -> None:
        if module in way:
            wrong.append([*way[way.index(module) :], module])
        elif module not in done:
            for other in sorted(imports.get(module, ())):
                follow(other, [*way, module])
            done.add(module)

    for module in sorted(imports):
        follow(module, [])
    return wrong


def floors(joined: dict[str, set[str]]) -> dict[str, int]:
    """How many rooms lie below each, on the longest way down."""

    @cache
    def floor(name: str) -> int:
        return 1 + max((floor(other) for other in joined[name]), default=-1)

    return {name: floor(name) for name in joined}


# ---- pages


@dataclass
class Page:
    """A file and what is in it."""

    name: str
    code_lines: int
    nodes: int
    conditionals: int
    comprehensions: int
    functions: list[int]
    classes: list[int]
    cyclomatic: list[int]
    nesting: int

    @property
    def density(self) -> float:
        """Expressions of the syntax tree for each line of code."""
        return self.nodes / max(1, self.code_lines)


def page(path: Path, name: str) -> Page:
    """Measure a file: comments, docstrings and empty lines are no code."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    docstrings = {id(node.body[0]): node.body[0] for node in ast.walk(tree) if has_docstring(node)}
    lines = code_lines(text) - {
        line for text in docstrings.values() for line in range(text.lineno, text.end_lineno + 1)
    }
    inside = {id(node) for text in docstrings.values() for node in ast.walk(text)}
    nodes = [node for node in ast.walk(tree) if id(node) not in inside]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return Page(
        name=name,
        code_lines=len(lines),
        nodes=sum(isinstance(node, ast.expr) for node in nodes),
        conditionals=sum(isinstance(node, ast.IfExp) for node in nodes),
        comprehensions=sum(isinstance(node, COMPREHENSIONS) for node in nodes),
        functions=[len(lines & span(node)) for node in functions],
        classes=[
            node.end_lineno - node.lineno + 1 for node in nodes if isinstance(node, ast.ClassDef)
        ],
        cyclomatic=[cyclomatic(node) for node in functions],
        nesting=depth(tree),
    )


def has_docstring(node: ast.AST) -> bool:
    """Whether a module, class or function begins with text."""
    return isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None


def code_lines(text: str) -> set[int]:
    """Numbers of the lines with anything but comments."""
    nothing = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in nothing
    ]
    return {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}


def span(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    """The lines of a function, from its name to its end."""
    return set(range(node.lineno, node.end_lineno + 1))


def cyclomatic(function: ast.AST) -> int:
    """McCabe's number: one, and one for each branch; `and` and `or` are branches too."""
    branches = sum(isinstance(node, BRANCHES) for node in ast.walk(function))
    operators = [node for node in ast.walk(function) if isinstance(node, ast.BoolOp)]
    return 1 + branches + sum(len(node.values) - 1 for node in operators)


def depth(node: ast.AST, outer: int = 0) -> int:
    """How deep blocks stand in each other within a function; `elif` is no deeper than its `if`."""
    deepest = outer
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
        deeper = isinstance(child, NESTS) and not is_elif
        deepest = max(deepest, depth(child, outer + deeper))
    return deepest


def pages(source: Path) -> list[Page]:
    """All files below a directory."""
    return [page(path, str(path.relative_to(source))) for path in sorted(source.rglob("*.py"))]


# ---- what is printed


def share(values: list[int], percent: float) -> int:
    """A percentile by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))]


def summary(measured: list[Page]) -> str:
    """One line on all pages, in the order of `FIGURES`."""
    functions = [lines for one in measured for lines in one.functions]
    numbers = [number for one in measured for number in one.cyclomatic]
    code = sum(one.code_lines for one in measured)
    high = sum(number > 10 for number in numbers) / len(numbers)
    return (
        f"functions {statistics.median(functions):.0f}/{share(functions, 90)}/{max(functions)}, "
        f"classes {max([lines for one in measured for lines in one.classes], default=0)}, "
        f"cyclomatic {share(numbers, 90)} ({high:.1%} > 10, max {max(numbers)}), "
        f"nesting {max(one.nesting for one in measured)}, "
        f"nodes a line {sum(one.nodes for one in measured) / code:.1f}, "
        f"in 100 lines {100 * sum(one.conditionals for one in measured) / code:.1f} conditional expressions and "
        f"{100 * sum(one.comprehensions for one in measured) / code:.1f} comprehensions; {code:,} lines of code"
    )


def print_rooms() -> None:
    """The rooms with their floors, files and arrows, and whatever runs upwards or in circles."""
    imports = arrows()
    joined = between_rooms(imports)
    floor = floors(joined)
    order = list(ROOMS)
    count = collections.Counter(map(room, imports))
    for name, purpose in ROOMS.items():
        below = ", ".join(sorted(joined[name], key=order.index))
        print(
            f"{floor[name]:2}  {name:14} {count[name]:3} files  {purpose}; imports from {below or 'nothing'}"
        )
    upwards = [
        (name, other)
        for name, others in joined.items()
        for other in others
        if order.index(other) >= order.index(name)
    ]
    print(
        f"{len(ROOMS)} rooms, {len(set(floor.values()))} floors, {sum(map(len, joined.values()))} arrows; "
        f"upwards: {upwards or 'none'}; circles: {circles(imports) or 'none'}"
    )


def print_pages(source: Path) -> None:
    """The figures of all pages, and the densest, longest and deepest of them."""
    measured = pages(source)
    print(f"\n{source.name}: {summary(measured)}")
    for name, figures in FIGURES.items():
        print(f"  {name}: {figures}")
    print("\nfile, lines of code, nodes a line, longest function, highest cyclomatic number")
    for one in sorted(measured, key=lambda one: -one.density * (one.code_lines > 40))[:15]:
        longest, highest = max(one.functions, default=0), max(one.cyclomatic, default=0)
        print(f"  {one.name:36} {one.code_lines:4} {one.density:5.1f} {longest:4} {highest:3}")
    long = [f"{one.name} ({one.code_lines})" for one in measured if one.code_lines > 500]
    print(f"files of more than 500 lines of code: {', '.join(long) or 'none'}")


# ---- the picture


def svg() -> str:
    """The rooms, floor by floor from the ground, each with its purpose."""
    joined = between_rooms(arrows())
    names = [name for name in ROOMS if name != "__main__"]
    floor = floors(joined)
    width, height, gap = 760, 40, 10
    rows = []
    for place, name in enumerate(reversed(names)):
        top = gap + place * (height + gap)
        below = len(joined[name])
        rows.append(
            f'<rect x="10" y="{top}" width="{width - 20}" height="{height}" rx="6" fill="#eef3f7" stroke="#0072b2"/>'
            f'<text x="26" y="{top + 25}" font-weight="bold">{name}</text>'
            f'<text x="160" y="{top + 25}">{ROOMS[name]}</text>'
            f'<text x="{width - 24}" y="{top + 25}" text-anchor="end" fill="#6b6f76">'
            f"floor {floor[name]}, imports from {below}</text>"
        )
    total = gap + len(names) * (height + gap)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}" height="{total}" '
        f'font-family="sans-serif" font-size="14" role="img" aria-label="The rooms of variform, ground floor below">\n'
        + "\n".join(rows)
        + "\n</svg>\n"
    )


def main() -> None:
    """Print the house, or write its picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="measure the pages of another package")
    parser.add_argument("--svg", type=Path, help="write the picture of the rooms")
    options = parser.parse_args()
    if options.svg:
        options.svg.write_text(svg(), encoding="utf-8")
        return
    if not options.source:
        print_rooms()
    print_pages(options.source or SOURCE)


if __name__ == "__main__":
    main()
