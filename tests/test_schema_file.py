"""A file says of columns what they are, and means the same as the options."""

import numpy as np
import pandas as pd
import pytest

from variform import DataConfig, ModelConfig, RunConfig, read
from variform.config.settling import settled
from variform.config.toml import from_toml

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "name": [f"d{n}" for n in range(300)],
        "mass": RNG.integers(0, 90, 300),
        "share": RNG.uniform(0, 10, 300).round(3),
        "size": RNG.choice(["low", "mid", "high"], 300),
        "wood, kind": RNG.integers(1, 4, 300),
        "drag": RNG.normal(size=300),
        "note": RNG.normal(size=300),
    }
)
FILE = """
[columns.name]
role = "id"
[columns.mass]
kind = "real"
[columns.share]
kind = "bounded"
bounds = [0, 10]
[columns.size]
order = ["low", "mid", "high"]
[columns."wood, kind"]
kind = "category"
[columns.drag]
role = "response"
[columns.note]
role = "ignore"
"""
SAME = DataConfig(
    cells="mixed",
    id="name",
    reals=("mass",),
    bounds=("share=0..10",),
    ordinals=("size=low<mid<high",),
    categories=("wood, kind",),
    response=("drag",),
    ignore=("note",),
)


def put(folder, text):
    path = folder / "columns.toml"
    path.write_text(text)
    return str(path)


def test_the_file_means_the_same_as_the_options(tmp_path):
    ours = read(FRAME, DataConfig(cells="mixed", schema=put(tmp_path, FILE)))
    expected = read(FRAME, SAME)
    assert ours.schema == expected.schema and ours.fingerprint == expected.fingerprint
    assert ours.schema.kinds == ("real", "bounded", "ordinal", "category")
    assert ours.schema.categories[2] == ("low", "mid", "high")
    assert ours.test.names.tolist() == [f"d{n}" for n in ours.test.index.tolist()]


def test_a_run_holds_what_the_file_says(tmp_path):
    data = DataConfig(schema=put(tmp_path, FILE))
    config = settled(RunConfig(data=data, model=ModelConfig(likelihood="mixed")), 300)
    assert config.data.schema is None
    assert (config.data.id, config.data.bounds) == (SAME.id, SAME.bounds)
    assert (config.data.ordinals, config.data.categories) == (SAME.ordinals, SAME.categories)


@pytest.mark.parametrize(
    ("spike", "expected"), [("0", [0]), ("0.5", [0.5]), ("[0.0, 0.5]", [0, 0.5])]
)
def test_one_spike_or_several_are_those_of_the_options(tmp_path, spike, expected):
    values = np.concatenate([np.zeros(60), np.full(60, 0.5), RNG.normal(size=180)])
    frame = pd.DataFrame({"x": values, "y": RNG.normal(size=300)})
    path = put(tmp_path, f"[columns.x]\nspike = {spike}")
    ours = read(frame, DataConfig(cells="mixed", schema=path)).schema
    options = DataConfig(cells="mixed", spikes=tuple(f"x={value}" for value in expected))
    assert ours == read(frame, options).schema
    assert sorted(value for value, _ in ours.spikes[0]) == expected


def test_a_table_of_numbers_takes_the_roles_alone(tmp_path):
    path = put(tmp_path, '[columns.mass]\nkind = "count"\n[columns.drag]\nrole = "response"')
    splits = read(FRAME[["mass", "share", "drag"]], DataConfig(cells="numbers", schema=path))
    assert splits.schema.columns == ("mass", "share") and splits.schema.kinds == ()


MISTAKES = {
    "[columns.mass]\nkint = 'real'": "the unknown key 'kint'. Did you mean kind?",
    "[columns.mass]\nkind = 'reel'": "kind of column 'mass' of columns.toml",
    "[columns.mass]\nbounds = [0, 9]\nkind = 'count'": "bounds of column 'mass' of columns.toml is for the",
    "[columns.mast]\nunit = 'kg'": "got 'mast=kg'. Did you mean 'mass'?",
    "[columns.mass]\nkind = 'bounded'": "must have bounds",
    "[columns.mass]\nrole = 'ignore'\nkind = 'real'": "must have no kind, as its role is ignore",
    "[columns.mast]\nkind = 'date'": "has 'mast', which is none",
    "[columns.mast]\nrole = 'response'": "it has no 'mast'. Did you mean 'mass'?",
    "[columns.mass]\nrole = 'id'\n[columns.size]\nrole = 'id'": "`id` must be one column",
    "[columns.name]\nrole = 'value'": "'name' is a value by `schema` and has another by an option",
    "[mass]\nkind = 'real'": "must hold one table a column",
    "[columns.mass": "must be TOML",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_in_the_file_are_told(tmp_path, text):
    config = DataConfig(cells="mixed", id="name", schema=put(tmp_path, text))
    if "role = 'id'" in text:
        config = DataConfig(cells="mixed", schema=config.schema)
    with pytest.raises(ValueError) as error:
        read(FRAME, config)
    assert MISTAKES[text] in str(error.value)


def test_kinds_of_words_need_a_mixed_table(tmp_path):
    path = put(tmp_path, "[columns.mass]\nkind = 'category'")
    with pytest.raises(
        ValueError, match=r"of the kind category, which is for `likelihood='mixed'`"
    ):
        read(FRAME[["mass", "share"]], DataConfig(cells="numbers", schema=path))


def test_a_file_that_is_not_there_is_told(tmp_path):
    config = from_toml(f'[data]\nschema = "{tmp_path}/none.toml"').data
    with pytest.raises(FileNotFoundError, match="`schema` must name a file"):
        read(FRAME, config)
