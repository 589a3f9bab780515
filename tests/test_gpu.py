"""benchmarks/gpu.py on the CPU, in its reduced form: what it checks passes, and fails where something is wrong."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from variform.training.step import Step

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
gpu = importlib.import_module("gpu")
REDUCED = ["--device", "cpu", "--reduced"]


def test_a_machine_without_a_gpu_passes_its_checks_and_gets_a_table(tmp_path):
    assert gpu.main([*REDUCED, "--out", str(tmp_path / "table")]) == 0
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    verdicts = {}
    for row in rows:
        verdicts.setdefault(row["section"], set()).add(row["verdict"])
    checks = ("gradients", "training", "Adam", "bf16", "DDP")
    assert all(verdicts[check] == {"passed"} for check in checks)
    assert verdicts["speed"] == {"measured"} and verdicts["waiting"] == {"left out"}
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert sum(line.startswith("| ") for line in lines) == len(rows) + 1


def more_for_adam(monkeypatch):
    adam = Step._adam

    def wrong(self, gradients):
        adam(self, [gradient.square() for gradient in gradients])

    monkeypatch.setattr(Step, "_adam", wrong)


def other_gradients(is_wrong):
    """A step of which one gradient is wrong by a thousandth, where `is_wrong(step, x)` says so."""
    found = Step._gradients

    def wrong(self, x, *rest):
        gradients, sums = found(self, x, *rest)
        return [gradients[0] * (1.001 if is_wrong(self, x) else 1.0), *gradients[1:]], sums

    return wrong


def more_for_float32(monkeypatch):
    monkeypatch.setattr(Step, "_gradients", other_gradients(lambda _, x: x.dtype == torch.float32))


def more_for_many(monkeypatch):
    monkeypatch.setattr(Step, "_gradients", other_gradients(lambda step, _: step.many))


def nan_in_half(monkeypatch):
    wrong = other_gradients(lambda *_: False)

    def nan(self, *rest):
        gradients, sums = wrong(self, *rest)
        return gradients, sums * (torch.nan if self.config.precision == "bf16" else 1.0)

    monkeypatch.setattr(Step, "_gradients", nan)


@pytest.mark.parametrize(
    ("section", "plant"),
    [
        ("gradients", more_for_float32),
        ("Adam", more_for_adam),
        ("DDP", more_for_many),
        ("bf16", nan_in_half),
    ],
)
def test_a_wrong_result_fails(section, plant, monkeypatch, capsys):
    plant(monkeypatch)
    assert gpu.main([*REDUCED, "--only", section]) == 1
    assert "| FAILED |" in capsys.readouterr().out


def test_what_breaks_is_a_row_and_the_rest_follows(monkeypatch, capsys):
    def breaks(setting):
        yield gpu.Row("training", "one", "1", gpu.PASSED)
        raise RuntimeError("no kernel image is available\nfor this device")

    monkeypatch.setitem(gpu.SECTIONS, "training", breaks)
    assert gpu.main([*REDUCED, "--only", "training", "waiting"]) == 1
    table = capsys.readouterr().out
    assert "| training | one | 1 |  | passed |" in table
    assert "RuntimeError: no kernel image is available |  | BROKE |" in table
    assert "| waiting |  | of a GPU only |  | left out |" in table


def test_without_time_the_rest_is_left_out(capsys):
    assert gpu.main([*REDUCED, "--seconds", "-1", "--only", "gradients", "speed eager"]) == 0
    assert capsys.readouterr().out.count("| no time left |  | left out |") == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "no GPU that torch can use" in capsys.readouterr().err
