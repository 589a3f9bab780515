"""Units: from the name of a column, an option or a file to every place where a number is met, and never twice."""

import json
import re
import tomllib

import numpy as np
import pandas as pd
import pytest

from variform import DataConfig, ModelConfig, build_vae, load, read
from variform.config.units import known_units, name_and_unit, titled
from variform.data.schema import Schema
from variform.evaluation.metrics import METRICS
from variform.evaluation.summary import evaluate
from variform.evaluation.tables import numbers_table
from variform.export.model_file import load_vae, save
from variform.faces import cli
from variform.pages.explorer.contents import _columns, event

RNG = np.random.default_rng(0)
ROWS = 200
FRAME = pd.DataFrame(
    {
        "span [mm]": RNG.normal(size=ROWS),
        "chord (mm)": RNG.normal(size=ROWS),
        "wall": RNG.normal(size=ROWS),
        "drag": RNG.normal(size=ROWS),
        "lift [N]": RNG.normal(size=ROWS),
    }
)
FILE = '[columns.wall]\nunit = "mm"\n[columns.drag]\nrole = "response"\nunit = "N"\n'


SMALL = ModelConfig(likelihood="gaussian-per-feature", latent_dim=1, hidden=(4,))


def put(folder, text=FILE):
    path = folder / "columns.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("column", "name", "unit"),
    [
        ("mass [kg]", "mass", "kg"),
        ("mass[kg]", "mass", "kg"),
        ("speed (m/s)", "speed", "m/s"),
        ("f(x)", "f(x)", ""),
        ("[kg]", "[kg]", ""),
        ("angle [°] ", "angle", "°"),
    ],
)
def test_a_unit_stands_in_brackets_at_the_end_and_is_shown_once(column, name, unit):
    assert name_and_unit(column) == (name, unit)
    assert titled(column, unit) == column
    assert titled(name, unit) in (f"{name} [{unit}]", column)


def test_an_option_and_a_file_mean_the_same_as_a_name(tmp_path):
    expected = {name: "mm" for name in ("span [mm]", "chord (mm)", "wall")}
    expected |= {"drag": "N", "lift [N]": "N"}
    given = DataConfig(response=("drag", "lift [N]"), units=("wall=mm", "drag=N"))
    by_option = read(FRAME, given).schema
    by_file = read(FRAME, DataConfig(schema=put(tmp_path), response=("lift [N]",))).schema
    assert by_option == by_file and by_option.units == expected
    assert by_option.titles == ("span [mm]", "chord (mm)", "wall [mm]")
    assert by_option.title("drag") == "drag [N]" and by_option.common_unit == "mm"
    assert read(FRAME).schema.common_unit == ""


def test_what_contradicts_or_names_no_column_is_refused():
    with pytest.raises(ValueError, match=r"'span .mm.' has 'mm' in its name, and got 'm'"):
        known_units(list(FRAME), ["span [mm]=m"], "table")
    for item in ("walls=mm", "wall=", "wall"):
        with pytest.raises(ValueError, match=f"`units` must be a value.*got '{item}'"):
            known_units(list(FRAME), [item], "table")


def test_a_model_file_keeps_units_and_an_older_one_without_them_loads(tmp_path):
    schema = read(FRAME[["span [mm]", "wall"]], DataConfig(units=("wall=cm",))).schema
    save(build_vae(SMALL, schema), tmp_path / "model.safetensors")
    assert load_vae(tmp_path / "model.safetensors").schema == schema
    older = {key: value for key, value in schema.to_dict().items() if key != "units"}
    loaded = Schema.from_dict(json.loads(json.dumps(older)))
    assert loaded.units == {} and loaded.titles == ("span [mm]", "wall")
    assert loaded.unit_of("span [mm]") == "mm"


def test_the_error_has_the_unit_that_all_columns_share():
    config = DataConfig(units=("wall=mm",), ignore=("drag", "lift [N]"))
    for data, unit in ((read(FRAME, config), "mm"), (read(FRAME), "data units")):
        vae = build_vae(SMALL, data.schema)
        numbers = evaluate(vae, data.test, data.train, samples=2)
        _, rows = numbers_table({**numbers, "split": "test", "rows": len(data.test)})
        assert [row[0] for row in rows if "error" in row[0]] == [
            f"reconstruction error, RMS ({unit})"
        ]
    assert METRICS["nll"].name("mm") == "NLL (nats)"


def test_the_explorer_has_each_unit_beside_the_name():
    config = DataConfig(units=("wall=cm", "drag=N"), response=("drag", "lift [N]"))
    data = read(FRAME, config)
    columns = [(column["name"], column["unit"]) for column in event(data.schema)["columns"]]
    assert columns == [("span", "mm"), ("chord", "mm"), ("wall", "cm")]
    named = event(data.schema)["columns"]
    assert [column["full"] for column in named] == list(data.schema.columns)
    shown = _columns(data.schema, [data.test], ["test"] * len(data.test), np.zeros(len(data.test)))
    units = {column["name"]: column["unit"] for column in shown}
    assert units == {
        "drag": "N", "lift": "N", "span": "mm", "chord": "mm", "wall": "cm", "reconstruction error": ""
    }  # fmt: skip


def test_a_run_shows_units_from_a_file_wherever_there_are_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("wings.csv", index=False)
    command = ["train", "wings.csv", "--schema", put(tmp_path), "--response", "lift [N]"]
    command += ["--epochs", "1", "--nll-samples", "2", "--latent-dim", "1", "--hidden", "4"]
    command += ["--likelihood", "gaussian-per-feature"]
    assert cli.run([*command, "--out", "run"]) == 0
    (tmp_path / "columns.toml").unlink()
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["data"]["units"] == ["wall=mm", "drag=N"]
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert data["units"]["drag"] == "N" and data["units"]["wall"] == "mm"
    capsys.readouterr()
    assert cli.run(["info", "run"]) == 0
    info = re.sub(r"\s+", " ", capsys.readouterr().out)
    units = re.search(r"units │ (.*?) │", info)[1].split(", ")
    assert set(units) == {"span [mm]", "chord (mm)", "wall [mm]", "drag [N]", "lift [N]"}
    assert "error, RMS (mm)" in info
    page = (tmp_path / "run" / "report.html").read_text()
    assert "wall [mm]" in page and "drag [N]" in page and "RMS (mm)" in page
    assert not re.search(r"\[mm\] \[mm\]|\(mm\) \[mm\]|\[N\] \[N\]", page + info)
    assert load("run").schema.unit_of("wall") == "mm"
