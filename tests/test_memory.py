"""How much memory there is: what the machine says, what its control groups leave, and what the process may have."""

import subprocess
import sys

import pytest

from variform.system import memory


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Makes the folder of a control group, with its files."""
    second, first = tmp_path / "unified", tmp_path / "memory"
    roots = {
        "": (second, *memory._GROUPS[""][1:]),
        "memory": (first, *memory._GROUPS["memory"][1:]),
    }
    monkeypatch.setattr(memory, "_GROUPS", roots)

    def made(root, path, **files):
        folder = roots[root][0] / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("memory_", "memory.", 1)).write_text(f"{text}\n")

    def left(membership):
        (tmp_path / "cgroup").write_text(membership)
        return memory._left_by_groups(tmp_path / "cgroup")

    return made, left


def test_a_group_leaves_its_limit_less_what_is_used_and_cannot_be_given_up(groups):
    made, left = groups
    made("", "/job", memory_max=1000, memory_current=900, memory_stat="anon 600\ninactive_file 300")
    assert left("0::/job\n") == 400


def test_the_narrowest_of_the_groups_above_counts(groups):
    made, left = groups
    made("", "/a/b", memory_max=1000, memory_current=100, memory_stat="inactive_file 0")
    made("", "/a", memory_max=500, memory_current=200, memory_stat="inactive_file 50")
    made("", "/", memory_current=200, memory_stat="inactive_file 0")  # the root has no limit
    assert left("0::/a/b\n") == 350


def test_the_first_version_of_groups_is_known_too(groups):
    made, left = groups
    made(
        "memory",
        "/job",
        memory_limit_in_bytes=700,
        memory_usage_in_bytes=600,
        memory_stat="inactive_file 1\ntotal_inactive_file 40",
    )
    assert left("5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n") == 140


@pytest.mark.parametrize("membership", ["", "0::/nowhere\n", "nonsense", "0::/job\n"])
def test_without_a_limit_there_is_none(groups, membership):
    made, left = groups
    made("", "/job", memory_max="max", memory_current=900, memory_stat="inactive_file 300")
    assert left(membership) == float("inf")


def test_the_least_of_all_limits_is_what_can_be_had(monkeypatch):
    for name, size in (
        ("_free_of_machine", 5e9),
        ("_left_by_groups", 3e9),
        ("_left_by_limit", 4e9),
    ):
        monkeypatch.setattr(memory, name, lambda *_, size=size: size)
    assert memory.available() == 3e9
    memory.require(2.9e9, "it", "Do so.")
    with pytest.raises(
        ValueError,
        match=r"it must fit in memory; it needs 3\.1 GB and 3\.0 GB can be had\. Do so\.",
    ):
        memory.require(3.1e9, "it", "Do so.")


@pytest.mark.skipif(sys.platform != "linux", reason="where the system says how much a process has")
def test_a_limit_on_the_process_is_seen():
    code = (
        "import resource; from variform.system import memory; "
        "resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); "
        "before = memory.available(); block = bytearray(2**28); print(before, before - memory.available())"
    )
    before, taken = map(
        float, subprocess.check_output([sys.executable, "-c", code], text=True).split()
    )
    assert 0 < before < 2**31
    assert taken >= 2**28
