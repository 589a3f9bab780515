"""Imports go down only, and one module alone can execute what a file holds, which asks first: import_path."""

import ast
import dataclasses
import functools
import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

import variform
from variform.config.choices import SAMPLER_WORDS, SamplerKind
from variform.config.data import DataConfig
from variform.data.sources.formats import _OPTIONS, FORMATS, Format, FormatFacts
from variform.evaluation.metrics import METRICS
from variform.evaluation.samplers import SAMPLERS
from variform.runs.folder import RESULTS, SAMPLER_FILES

SOURCE = Path(variform.__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
house = importlib.import_module("house")


def test_every_module_stands_in_a_room():
    assert {house.room(name) for name in house.modules(SOURCE)} == set(house.ROOMS)


@pytest.mark.parametrize("name", house.modules(SOURCE))
def test_a_module_imports_only_from_rooms_below_its_own(name):
    order = list(house.ROOMS)
    own = order.index(house.room(name))
    above = {other for other in house.arrows()[name] if order.index(house.room(other)) > own}
    assert not above, f"{name} imports {above}; the rooms stand in tools/house.py, lowest first"


def test_no_way_leads_from_a_module_back_to_it():
    assert house.circles(house.arrows()) == []


def literals(path):
    """The texts in a file with their line numbers, docstrings too; what an f-string puts in is {}."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            yield (
                node.lineno,
                "".join(
                    part.value if isinstance(part, ast.Constant) else "{}" for part in node.values
                ),
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value


def without_commands(text):
    """A text without its whole commands, which end where a sentence or a piece of code does."""
    return re.sub(r"\bvariform( [a-z-]+)? ([^.;:`\n]|\.(?=\w))*", "", text)


def test_options_of_whole_commands_are_told_from_others():
    whole = "go on with variform train --resume {}."
    assert "--" not in without_commands(whole) and "--" not in without_commands(
        "(`variform --help`)"
    )
    assert "--" not in without_commands("variform train --config {}/config.toml --out NEW")
    assert "--clip" in without_commands(whole + " Or with --clip-norm 10.")
    assert "--seeds" in without_commands(
        "variform; --seeds 3 says it"
    ) and "--out" in without_commands("Choose another --out")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_the_command_line_speaks_of_its_options(path):
    """Elsewhere messages name fields, which `config.options` makes options of; `config.toml` makes whole commands."""
    name = path.relative_to(SOURCE).as_posix()
    if name.startswith("faces/cli/") or name in ("config/toml.py", "config/options.py"):
        return
    wrong = [
        line
        for line, text in literals(path)
        if re.search(r"(?<!\S)[`'\"(]?--[a-z{]", without_commands(text))
    ]
    assert not wrong, f"{name} names options of the command line in lines {wrong}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_unpickles_or_evaluates(path):
    forbidden_modules = {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not forbidden_modules & {name.split(".")[0] for name in names}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "torch.load", "torch.save", "os.system"}
            is_of_user = path.name == "import_path.py"
            assert is_of_user or called.rpartition(".")[2] != "exec_module"
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert options.get("allow_pickle", "False") == "False"
            # Of completion it is the name of a shell.
            is_of_completion = called.startswith("app.") or called.endswith(".generate_completion")
            assert is_of_completion or options.get("shell", "False") == "False"


def test_the_public_names_are_what_they_say_and_importing_them_is_lazy():
    for name in variform.__all__:
        module = importlib.import_module(f"variform.{variform._HOMES[name]}")
        assert getattr(variform, name) is getattr(module, name)
    assert set(variform._HOMES) == set(variform.__all__)
    code = "import sys, variform, variform.faces.cli; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


# --- members of a table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", get_args(SamplerKind))
def test_a_kind_of_sampler_has_all_its_facts(kind):
    """Its file is made anew from the facts that its fit takes, and the help of the command line has words for it."""
    facts = SAMPLERS[kind]
    arguments = inspect.signature(facts.fit).parameters
    assert list(arguments)[:3] == ["vae", "train", "valid"] and {"seed", "progress"} <= set(
        arguments
    )
    assert set(facts.sizes) <= set(inspect.signature(facts.prior).parameters)
    assert facts.name and SAMPLER_WORDS[kind] and SAMPLER_FILES[kind] in RESULTS


@pytest.mark.parametrize("kind", get_args(Format))
def test_a_format_can_be_told_from_others_and_takes_options_that_there_are(kind):
    facts = FORMATS[kind]
    assert list(inspect.signature(facts.read).parameters)[1:] == ["config"]
    assert set(facts.options) <= {field.name for field in dataclasses.fields(DataConfig)}
    tests = (facts.begins, facts.holds, facts.is_named)
    assert facts.endings or any(test is not FormatFacts.begins for test in tests)
    others = {ending for name, other in FORMATS.items() if name != kind for ending in other.endings}
    assert not others & set(facts.endings)


def test_every_option_of_some_formats_is_taken_by_one():
    taken = {option for facts in FORMATS.values() for option in facts.options}
    assert set(FORMATS) == set(get_args(Format)) and taken == {*_OPTIONS, "condition"}


def test_the_metrics_by_which_runs_are_ranked_say_which_end_is_better():
    assert all(
        METRICS[measure].lower_is_better is not None for measure in ("nll", "reconstruction_error")
    )


def test_no_table_holds_a_sampler_without_a_name():
    assert set(SAMPLERS) == set(SAMPLER_WORDS) == set(get_args(SamplerKind))


# --- dependencies -------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {
    "bayesian.py": "design",
    "drawings.py": "cad",
    "evolution.py": "design",
    "hdf5.py": "hdf5",
    "http.py": "serve",
    "http_arrays.py": "serve",
    "hub.py": "hub",
    "onnx.py": "onnx",
    "serving.py": "serve",
    "stack.py": "compress",
    "widget.py": "notebook",
}
"""The modules that may import what an extra brings."""


def required(requirements):
    """Lowest versions by distribution."""
    lowest_versions = {}
    for requirement in requirements:
        if not requirement.startswith("variform["):
            name, lowest = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
            lowest_versions[canonical(name)] = lowest
    return lowest_versions


def canonical(name):
    return re.sub("[-_.]+", "-", name).lower()


CORE = required(PROJECT["dependencies"])
OPTIONAL = {
    extra: required(requirements)
    for extra, requirements in PROJECT["optional-dependencies"].items()
}


@functools.cache
def installed():
    """Distributions by the names that are imported from them; looking through them all takes a while."""
    return importlib.metadata.packages_distributions()


def distributions(path):
    """What a file imports that is neither Python's nor the project's own: sets of distributions, one an import."""
    known, own = installed(), {"variform"}
    if path.parent.name == "tests":  # which also try the modules of examples
        beside = [*path.parent.glob("*.py"), *(ROOT / "examples").glob("*/*.py")]
        own |= {file.stem for file in beside}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for top in {name.split(".")[0] for name in names} - own - set(sys.stdlib_module_names):
            yield {canonical(name) for name in known[top]}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_is_imported_is_declared(path):
    allowed = set(CORE) | set(OPTIONAL.get(EXTRAS.get(path.name, ""), ()))
    for owners in distributions(path):
        assert owners & allowed, f"{path.name} imports {owners}, which pyproject.toml does not name"


def test_what_tests_import_is_declared():
    allowed = set(CORE).union(*OPTIONAL.values())
    for path in Path(__file__).parent.glob("*.py"):
        for owners in distributions(path):
            assert owners & allowed, (
                f"{path.name} imports {owners}, which pyproject.toml does not name"
            )


def pins(name, until=None):
    """Versions by distribution in a file of constraints."""
    lines = (ROOT / name).read_text(encoding="utf-8").partition(until or "\0")[0].splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonical(package): version for package, version in pairs}


def same(version):
    """1.0 and 1.0.0 are the same version."""
    return re.sub(r"(\.0)+$", "", version)


def test_the_lowest_versions_are_those_that_are_tested():
    declared = CORE.copy()
    for versions in OPTIONAL.values():
        assert not {
            name for name in versions if declared.get(name, versions[name]) != versions[name]
        }
        declared |= versions
    tested = pins("constraints-lowest.txt", until="# ----")
    assert {name: same(lowest) for name, lowest in declared.items()} == {
        name: same(at) for name, at in tested.items()
    }
    assert set(declared) <= set(pins("constraints.txt"))
