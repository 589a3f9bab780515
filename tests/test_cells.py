"""What the cells of a table are where nobody says it: numbers, gaps or kinds of their own, as if it had been said."""

import numpy as np
import pandas as pd
import pytest

from variform import DataConfig, ModelConfig, RunConfig, build_vae, read
from variform.config.settling import reading
from variform.config.toml import from_toml
from variform.data.points import read_points
from variform.data.reading import read_rows
from variform.faces import cli

RNG = np.random.default_rng(0)
ROWS = 120
NUMBERS = pd.DataFrame(RNG.normal(50, 9, (ROWS, 3)).round(3), columns=["mass", "drag", "span"])
GAPPY = NUMBERS.mask(RNG.random(NUMBERS.shape) < 0.1)
WORDS = NUMBERS.assign(wood=RNG.choice(["oak", "ash"], ROWS))
BOTH = GAPPY.assign(wood=WORDS["wood"].mask(RNG.random(ROWS) < 0.1))
DATES = NUMBERS.assign(day=pd.date_range("2020-01-01", periods=ROWS).strftime("%Y-%m-%d"))
TRUTHS = NUMBERS.assign(sold=RNG.choice(["true", "false"], ROWS))
TABLES = {
    "numbers": (NUMBERS, "numbers"),
    "whole numbers": (NUMBERS.round().astype(int), "numbers"),
    "gaps": (GAPPY, "gaps"),
    "text": (WORDS, "mixed"),
    "text and gaps": (BOTH, "mixed"),
    "dates": (DATES, "numbers"),
    "dates and a gap": (DATES.assign(day=DATES["day"].mask(DATES.index == 7)), "gaps"),
    "truths": (TRUTHS, "numbers"),
}
FORMS = {
    "a DataFrame": lambda frame, folder: frame,
    "a dictionary of columns": lambda frame, folder: {name: list(frame[name]) for name in frame},
    "csv": lambda frame, folder: written(frame, folder / "rows.csv"),
    "csv, words for gaps": lambda frame, folder: written(frame, folder / "rows.csv", na_rep="?"),
    "csv, decimal commas": lambda frame, folder: written(
        frame, folder / "rows.csv", sep=";", decimal=","
    ),
    "parquet": lambda frame, folder: as_parquet(frame, folder / "rows.parquet"),
}


def written(frame, path, **options):
    frame.to_csv(path, index=False, **options)
    return path


def as_parquet(frame, path):
    frame.to_parquet(path)
    return path


def gaps_of(splits, frame):
    """Where rows that were read hold nothing, (N, columns), in the order of the frame."""
    parts = (splits.train, splits.valid, splits.test)
    order = np.concatenate([part.index for part in parts])
    raw = np.concatenate([part.raw for part in parts])
    gone = np.empty(frame.shape, bool)
    gone[order] = np.isnan(raw)
    return gone


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TABLES)
def test_cells_are_what_they_hold_as_if_it_had_been_said(name, form, tmp_path):
    frame, cells = TABLES[name]
    rows = FORMS[form](frame, tmp_path)
    splits, said = read(rows), read(rows, DataConfig(cells=cells))
    assert splits.schema == said.schema and splits.fingerprint == said.fingerprint
    assert bool(splits.schema.kinds) == (cells == "mixed")
    np.testing.assert_array_equal(gaps_of(splits, frame), frame.isna())
    notes = " ".join(set(splits.notes) - set(said.notes))
    option = {"numbers": "", "gaps": "`cells='numbers'` refuses them", "mixed": "refuses it"}
    assert option[cells] in notes and ("cells=" in notes) == (cells != "numbers")
    assert sum("cells='numbers'" in note for note in splits.notes) == (cells != "numbers")


@pytest.mark.parametrize("name", ["gaps", "text", "text and gaps", "dates and a gap"])
def test_who_asks_for_numbers_gets_them_or_the_place_and_the_way_out(name, tmp_path):
    frame, _ = TABLES[name]
    path = written(frame, tmp_path / "rows.csv")
    with pytest.raises(ValueError, match=r"every cell of rows.csv must .*line \d+ .*use `"):
        read(path, DataConfig(cells="numbers"))


def test_nan_is_a_gap_in_a_table_and_refused_in_pictures():
    splits = read(GAPPY.to_numpy())
    np.testing.assert_array_equal(gaps_of(splits, GAPPY), GAPPY.isna())
    assert splits.fingerprint == read(GAPPY.to_numpy(), DataConfig(cells="gaps")).fingerprint
    with pytest.raises(ValueError, match="use `cells='gaps'` where NaN is a gap"):
        read(GAPPY.to_numpy(), DataConfig(cells="numbers"))
    pictures = RNG.random((60, 12, 12))
    pictures[7, 3, 3] = np.nan
    shape = DataConfig(shape=(12, 12))
    with pytest.raises(ValueError, match="use `cells='gaps'` where NaN is a gap"):
        read(pictures, shape)
    with pytest.raises(ValueError, match="infinite"):
        read(NUMBERS.assign(mass=np.inf).to_numpy())


def test_rows_of_empty_cells_at_the_end_are_no_gaps(tmp_path):
    path = written(NUMBERS, tmp_path / "rows.csv")
    whole = read(path)
    path.write_text(path.read_text() + ",,\n,,\n")
    splits = read(path)
    assert splits.fingerprint == whole.fingerprint and not splits.schema.gaps


def test_a_slip_of_the_pen_makes_no_categories(tmp_path):
    slip = NUMBERS.astype(object)
    slip.loc[4, "drag"] = "4l.5"
    path = written(slip, tmp_path / "rows.csv")
    with pytest.raises(ValueError, match=r"'drag' of rows.csv must hold numbers.*line 6.*'4l\.5'"):
        read(path)


@pytest.mark.parametrize("form", ["{}_{}", "{} %", "{}:{}", "<{}"])
def test_texts_without_a_letter_are_not_guessed_to_be_words(form, tmp_path):
    plates = NUMBERS.assign(well=[form.format(n % 3, n % 2) for n in range(ROWS)])
    path = written(plates, tmp_path / "rows.csv")
    with pytest.raises(ValueError, match=r"column 'well' in line 2 holds the text '"):
        read(path)
    declared = read(path, DataConfig(categories=("well",))).schema
    assert declared.categories[3] == tuple(sorted(set(plates["well"])))


def test_a_kind_that_is_declared_makes_a_table_mixed(tmp_path):
    whole = NUMBERS.assign(doors=RNG.poisson(4, ROWS))
    declared = {"counts": ("doors",)}
    splits = read(whole, DataConfig(**declared))
    assert splits.schema == read(whole, DataConfig(cells="mixed", **declared)).schema
    file = tmp_path / "columns.toml"
    file.write_text('[columns.doors]\nkind = "count"\n')
    assert read(whole, DataConfig(schema=str(file))).schema == splits.schema
    assert read(whole, DataConfig(schema=str(file), cells="numbers")).schema.kinds == ()
    for cells in ("numbers", "gaps"):
        with pytest.raises(ValueError, match="`counts` is for `likelihood='mixed'`"):
            read(whole, DataConfig(cells=cells, **declared))


def test_a_likelihood_of_numbers_says_what_to_do_with_text():
    with pytest.raises(ValueError, match=r"column 'wood' .*`likelihood='mixed'`, or.*`ignore`"):
        build_vae(ModelConfig(likelihood="gaussian"), read(WORDS).schema)
    labelled = read(WORDS, DataConfig(label="wood")).schema
    assert labelled.classes == ("ash", "oak") and not labelled.kinds
    build_vae(ModelConfig(likelihood="gaussian"), labelled)


def test_new_rows_and_points_are_refused_what_they_were_refused(tmp_path):
    schema = read(NUMBERS).schema
    path = written(GAPPY, tmp_path / "rows.csv")
    with pytest.raises(ValueError, match="is empty"):
        read_rows(path, schema)
    with pytest.raises(ValueError, match="is empty"):
        read_points(path)
    assert read_rows(path, read(GAPPY).schema).raw.isnan().sum() == GAPPY.isna().sum().sum()


# --- where a likelihood decides -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("likelihood", "given", "cells"),
    [
        ("gaussian", "auto", "numbers"),
        ("poisson", "auto", "numbers"),
        ("mixed", "auto", "mixed"),
        ("gaussian", "gaps", "gaps"),
        ("mixed", "numbers", "mixed"),  # which was the default, and stands in runs of before
    ],
)
def test_the_likelihood_of_a_run_decides(likelihood, given, cells):
    config = RunConfig(data=DataConfig(cells=given), model=ModelConfig(likelihood=likelihood))
    assert reading(config).cells == cells
    assert reading(config) == reading(RunConfig(data=reading(config), model=config.model))


def test_a_run_of_before_is_read_as_it_was(tmp_path):
    path = written(WORDS, tmp_path / "rows.csv")
    older = from_toml('[data]\ncells = "numbers"\nlabel = "wood"\n[model]\nlikelihood = "gaussian"')
    newer = from_toml('[data]\nlabel = "wood"\n[model]\nlikelihood = "gaussian"')
    assert newer.data.cells == "auto" and reading(older) == reading(newer)
    assert read(path, reading(older)).fingerprint == read(path, newer.data).fingerprint


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (GAPPY, "is empty. Fill it in, delete the line, or use --likelihood mixed or --cells gaps"),
        (WORDS, "line 2 holds the text '"),
    ],
)
def test_the_command_line_refuses_what_no_option_asked_for(frame, message, tmp_path, capsys):
    path = written(frame, tmp_path / "rows.csv")
    assert cli.run(["train", str(path), "--likelihood", "gaussian", "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert message in error and "line " in error and "--likelihood mixed" in error
