"""Code of the user's own: found without being run, run once, and only when somebody asked for it."""

import hashlib
import importlib
import sys

import pytest

from variform.system import import_path
from variform.system.import_path import Code, Trust, find, imported, of_object, trusting


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr(import_path, "_loaded", {})
    monkeypatch.setattr(import_path, "_trusted", set())
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def file(tmp_path):
    """A file that leaves a mark each time it is run."""
    path = tmp_path / "nets.py"
    mark = tmp_path / "mark"
    path.write_text(
        f"with open({str(mark)!r}, 'a') as mark:\n    mark.write('x')\nclass Nets:\n    class Inner:\n        pass\n"
    )
    return path


def runs(file):
    mark = file.with_name("mark")
    return len(mark.read_text()) if mark.exists() else 0


def test_finding_runs_nothing_and_importing_runs_once(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    code = find("nets.py:Nets.Inner")
    assert (code.file, code.path) == (file, f"{file}:Nets.Inner")
    assert code.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert runs(file) == 0
    assert imported(code) is imported(find(f"{file}:Nets.Inner"))
    assert imported(find(f"{file}:Nets")).Inner is imported(code)
    assert runs(file) == 1
    assert not list(file.parent.glob("__pycache__"))


def test_a_module_of_a_package_is_found_without_running_the_package(file, tmp_path, monkeypatch):
    package = tmp_path / "own_package_of_test"
    package.mkdir()
    (package / "__init__.py").write_text(file.read_text())
    (package / "nets.py").write_text("class Deep: pass\n")
    monkeypatch.chdir(tmp_path)
    code = find("own_package_of_test.nets:Deep")
    assert code.file == package / "nets.py"
    assert runs(file) == 0
    found = imported(code)
    assert found.__module__ == "own_package_of_test.nets"
    assert runs(file) == 1
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "nets",
        "nets.py",
        ":Nets",
        "nets.py:",
        "a b:C",
        "nets.py:a-b",
        "-m:C",
        "..:C",
        "nets/a.txt:C",
    ],
)
def test_another_form_is_refused(path):
    with pytest.raises(ValueError, match=r"must be FILE.py:NAME or package.module:NAME; got"):
        find(path)


@pytest.mark.parametrize("path", ["nowhere.py:Nets", "nowhere.at.all:Nets", "sys:path", "os:sep.a"])
def test_what_is_not_there_is_said_in_a_sentence(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"there is no such|must have sep.a"):
        imported(find(path))


@pytest.mark.parametrize(
    ("text", "error"),
    [("1 +", "SyntaxError"), ("import no_such_module_here", "ModuleNotFoundError"),
     ("raise SystemExit(3)", "SystemExit: 3"), ("\0", "SyntaxError")],
)  # fmt: skip
def test_a_file_that_fails_is_said_and_left_out(text, error, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=rf"broken.py must be a file that Python imports; it stops .*{error}"
    ):
        imported(find(f"{path}:Nets"))
    path.write_text("Nets = int\n")
    assert imported(find(f"{path}:Nets")) is int


def test_modules_beside_a_file_are_found_also_from_a_copy_of_it(tmp_path):
    for folder in ("first", "copies"):
        (tmp_path / folder).mkdir()
    (tmp_path / "first" / "blocks_of_test.py").write_text("WIDTH = 7\n")
    original = tmp_path / "first" / "nets.py"
    original.write_text("from blocks_of_test import WIDTH\n")
    copy = tmp_path / "copies" / "encoder.py"
    copy.write_bytes(original.read_bytes())
    was = find(f"{original}:WIDTH").sha256
    original.write_text("WIDTH = 8\n")
    code = find(f"{original}:WIDTH", copies=(copy,), was=was)
    assert (code.file, code.has_changed) == (copy, False)
    assert imported(code) == 7
    without = find(f"{original}:WIDTH", was=was)
    assert (without.file, without.has_changed) == (original, True)


def test_what_is_in_memory_is_its_own_import(file, monkeypatch):
    monkeypatch.syspath_prepend(file.parent)
    Nets = importlib.import_module("nets").Nets
    code = of_object(Nets)
    assert (code.path, code.file) == (f"{file}:Nets", file)
    assert imported(find(code.path)) is Nets
    assert runs(file) == 1


def test_what_cannot_be_imported_has_no_file():
    class Local:
        pass

    for thing in (Local, lambda: 0, Local()):
        assert of_object(thing).file is None
    with pytest.raises(ValueError, match="Put it in a file"):
        imported(of_object(Local))


def test_trust_is_asked_for_once_and_what_was_named_by_hand_has_it(file):
    asked = []
    code = find(f"{file}:Nets")
    with pytest.raises(
        ValueError, match=r"m.safetensors names code.*Nets of .*nets.py.*`trust=True`"
    ):
        import_path.require_trusted(code, "m.safetensors")
    with trusting(Trust(ask=lambda code: asked.append(code) or True)):
        import_path.require_trusted(code, "m.safetensors")
        imported(code)
        import_path.require_trusted(code, "m.safetensors")
    assert asked == [code]
    import_path.require_trusted(code, "m.safetensors")
    file.write_text("class Nets: pass\n")  # other bytes are another's code
    with pytest.raises(ValueError, match="names code"):
        import_path.require_trusted(find(f"{file}:Nets"), "m.safetensors")


def test_changed_code_is_said_whoever_is_trusted(file):
    told = []
    code = find(f"{file}:Nets", was="0" * 64)
    with trusting(Trust(tell=told.append)), trusting(True):
        import_path.require_trusted(code, "m.safetensors")
    assert len(told) == 1
    assert "has changed since m.safetensors was trained" in told[0]
    with pytest.warns(UserWarning, match="has changed"), trusting(True):
        import_path.require_trusted(code, "m.safetensors")


def test_bytes_that_change_after_they_were_looked_at_are_not_run(file):
    code = find(f"{file}:Nets")
    file.write_text("1 / 0\n")
    with pytest.raises(ValueError, match="must stay as it is"):
        imported(code)
    assert isinstance(code, Code)
