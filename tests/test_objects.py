"""Rows in memory mean the same as the same rows in a file."""

import dataclasses

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

from variform import DataConfig, read
from variform.data.reading import read_rows

RNG = np.random.default_rng(0)
ROWS = 240
TABLE = pd.DataFrame(
    {
        "mass": RNG.normal(50, 20, ROWS).round(3),
        "parts": RNG.poisson(RNG.gamma(2, 3, ROWS)),
        "wood": RNG.choice(["ash", "NA", "oak"], ROWS),
        "code": [f"{n % 7:03}" for n in range(ROWS)],
        "flag": RNG.random(ROWS) < 0.3,
        "built": pd.date_range("2020-01-01", periods=ROWS, freq="D"),
    }
)
GAPS = RNG.random(ROWS) < 0.2
TABLE.loc[GAPS, "mass"] = None
TABLE.loc[GAPS[::-1], "wood"] = None
MIXED = DataConfig(cells="mixed")
CURVES = RNG.normal(size=(ROWS, 5)).astype(np.float32).astype(float)


class Streamed:
    """Gives its columns to Arrow, and is nothing else."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def in_file(frame, folder):
    path = folder / "table.csv"
    frame.to_csv(path, index=False)
    return path


def gapped(frame):
    """Values of plain Python, None where there is a gap."""
    return frame.astype(object).where(frame.notna(), None)


DOORS = {
    "pandas": lambda frame: frame,
    "pandas, types that take gaps": lambda frame: frame.convert_dtypes(),
    "pandas, objects": lambda frame: frame.astype(object),
    "pandas, categories": lambda frame: frame.astype({"wood": "category"}),
    "polars": pl.from_pandas,
    "polars, categories": lambda frame: pl.from_pandas(frame).cast({"wood": pl.Categorical}),
    "pyarrow": lambda frame: pl.from_pandas(frame).to_arrow(),
    "pyarrow, a batch": lambda frame: pl.from_pandas(frame).to_arrow().to_batches()[0],
    "a stream of Arrow": lambda frame: Streamed(pl.from_pandas(frame)),
    "columns of lists": lambda frame: gapped(frame).to_dict("list"),
    "columns of arrays": lambda frame: {name: frame[name].to_numpy() for name in frame},
    "columns of polars": lambda frame: pl.from_pandas(frame).to_dict(),
    "records": lambda frame: gapped(frame).to_dict("records"),
    "fields": lambda frame: frame.to_records(index=False),
}


def assert_same(splits, expected):
    """The same rows in the same parts, meaning the same; what was guessed of how a text is written apart."""
    assert splits.fingerprint == expected.fingerprint
    assert dataclasses.replace(splits.schema, source="") == dataclasses.replace(
        expected.schema, source=""
    )
    for part in ("train", "valid", "test"):
        ours, theirs = getattr(splits, part), getattr(expected, part)
        np.testing.assert_array_equal(ours.index, theirs.index)
        np.testing.assert_array_equal(ours.raw, theirs.raw)


@pytest.mark.parametrize("door", DOORS)
def test_a_table_is_the_same_through_every_door(tmp_path, door):
    expected = read(in_file(TABLE, tmp_path), MIXED)
    assert expected.schema.kinds == ("real", "count", "category", "category", "category", "real")
    assert expected.schema.categories[2] == ("NA", "ash", "oak")
    assert_same(read(DOORS[door](TABLE), MIXED), expected)


@pytest.mark.parametrize(
    "door",
    [
        np.asarray,
        torch.tensor,
        np.ndarray.tolist,
        lambda x: x.astype(object),
        lambda x: x.astype(str),
        lambda x: {f"column {n}": torch.tensor(cells) for n, cells in enumerate(x.T, 1)},
        lambda x: [torch.tensor(row) for row in x],
    ],
    ids=["array", "tensor", "lists", "objects", "texts", "columns of tensors", "list of tensors"],
)
def test_numbers_are_the_same_through_every_door(tmp_path, door):
    path = tmp_path / "curves.csv"
    np.savetxt(path, CURVES, delimiter=",", fmt="%.17g")
    assert_same(read(door(CURVES)), read(path))


@pytest.mark.parametrize("door", ["pandas", "polars", "records", "fields"])
def test_roles_are_the_same_through_every_door(tmp_path, door):
    frame = TABLE.drop(columns="built").assign(
        name=[f"design {n}" for n in range(ROWS)],
        drag=TABLE["mass"] * 2,
        maker=[f"maker {n % 40}" for n in range(ROWS)],
    )
    config = DataConfig(
        cells="mixed",
        id="name",
        response=("drag",),
        label="flag",
        condition=("parts",),
        group="maker",
        ignore=("code",),
    )
    expected = read(in_file(frame, tmp_path), config)
    assert expected.schema.columns == ("mass", "wood")
    splits = read(DOORS[door](frame), config)
    assert_same(splits, expected)
    assert splits.test.names.tolist() == expected.test.names.tolist()
    np.testing.assert_array_equal(splits.test.labels, expected.test.labels)
    np.testing.assert_array_equal(splits.test.contexts, expected.test.contexts)


@pytest.mark.parametrize("door", ["pandas", "polars", "columns of lists", "records"])
def test_new_rows_are_read_through_every_door(tmp_path, door):
    schema = read(TABLE, MIXED).schema
    some = TABLE.iloc[:30, ::-1].reset_index(drop=True)  # columns stand in another order
    raw = read_rows(DOORS[door](some), schema).raw
    np.testing.assert_array_equal(raw, read_rows(in_file(some, tmp_path), schema).raw)
    known = read(TABLE, MIXED)
    everything = torch.cat([known.train.raw, known.valid.raw, known.test.raw])
    index = torch.cat([known.train.index, known.valid.index, known.test.index])
    np.testing.assert_array_equal(raw, everything[index.argsort()][:30])


def test_new_rows_of_an_array_hold_numbers_of_categories():
    schema = read(TABLE[["mass", "wood"]], MIXED).schema
    raw = read_rows(np.array([[1.5, 2], [np.nan, 0]]), schema).raw
    named = read_rows([{"mass": 1.5, "wood": "oak"}, {"wood": "NA"}], schema).raw
    np.testing.assert_array_equal(raw, named)
    np.testing.assert_array_equal(read_rows([[1.5, "oak"], [None, "NA"]], schema).raw, named)


@pytest.mark.parametrize(
    "index, names",
    [
        (pd.Index(["a", "b", "c"] * 80, name="design"), ["a", "b", "c"]),
        (pd.Index(list(range(1000, 1000 + 5 * ROWS, 5))[::-1]), ["2195", "2190", "2185"]),
        (pd.MultiIndex.from_product([["x", "y"], range(120)]), ["x/0", "x/1", "x/2"]),
    ],
    ids=["texts", "numbers", "levels"],
)
def test_an_index_that_does_not_number_the_rows_names_them(index, names):
    splits = read(TABLE.set_axis(index), MIXED)
    assert splits.fingerprint == read(TABLE, MIXED).fingerprint
    by_row = dict(
        (int(row), str(name))
        for part in (splits.train, splits.valid, splits.test)
        for row, name in zip(part.index, part.names, strict=True)
    )
    assert [by_row[row] for row in range(3)] == names
    assert sum("index of the DataFrame" in note for note in splits.notes) == 1
    plain = read(TABLE.iloc[::2].reset_index(drop=True), MIXED)
    assert plain.train.names is None and not any("index" in note for note in plain.notes)


def test_a_column_names_the_rows_before_the_index_does():
    frame = TABLE.set_axis([f"row {n}" for n in range(ROWS)]).assign(
        design=[f"d{n}" for n in range(ROWS)]
    )
    test = read(frame, dataclasses.replace(MIXED, id="design")).test
    assert test.names.tolist() == [f"d{n}" for n in test.index.tolist()]


def test_labels_stand_beside_the_rows():
    words = np.array(["a", "b"])[np.arange(ROWS) % 2]
    for labels in (words, words.tolist(), pd.Series(words), pl.Series(words)):
        splits = read(CURVES, labels=labels)
        assert splits.schema.classes == ("a", "b")
        np.testing.assert_array_equal(splits.test.labels, splits.test.index % 2)
    frame = pd.DataFrame(CURVES).assign(label=words)
    column = read(frame, DataConfig(label="label"))
    np.testing.assert_array_equal(column.test.labels, column.test.index % 2)
    np.testing.assert_array_equal(
        read(frame.drop(columns="label"), labels=torch.arange(ROWS) % 2).test.labels,
        column.test.labels,
    )


def test_what_is_masked_is_a_gap():
    masked = np.ma.masked_less(CURVES, -1)
    data = read(masked, DataConfig(cells="gaps"))
    np.testing.assert_array_equal(
        data.test.raw, np.where(CURVES < -1, np.nan, CURVES)[data.test.index]
    )


MISTAKES = {
    "sparse": (
        lambda: scipy.sparse.random(9000, 300),
        "rows must be dense; got a sparse matrix of the shape (9000, 300), which takes 0.0201 GiB as one. Give "
        "x.toarray(), of fewer columns if that is too much.",
    ),
    "a frame not collected": (
        lambda: pl.from_pandas(TABLE).lazy(),
        "rows must be in memory; got a LazyFrame of polars. Give frame.collect().",
    ),
    "a series": (
        lambda: TABLE["mass"],
        "rows must be a table; got the Series of pandas. Give a DataFrame: series.to_frame().",
    ),
    "a series of polars": (
        lambda: pl.Series(CURVES[:, 0]),
        "rows must be a table; got the Series of polars, which has one column without a name. Give the table that it "
        "stands in.",
    ),
    "columns of other lengths": (
        lambda: {"mass": [1, 2, 3], "drag": [1, 2]},
        "columns of table must have one value a row; 'mass' has 3 and 'drag' has 2. Give as many in each.",
    ),
    "a matrix as column": (
        lambda: {"x": CURVES, "y": CURVES[:, 0]},
        "a column must hold one value a row; 'x' is of the shape (240, 5). Spread it over columns of its own, or give "
        "an array of all rows.",
    ),
    "columns of lists": (
        lambda: {"x": CURVES.tolist()},
        "a column must hold numbers, texts, truths or dates; 'x' of table holds list<item: double>. Leave it out "
        "with `ignore=['x']`, or spread it over columns of its own.",
    ),
    "two columns of a name": (
        lambda: TABLE[["mass", "mass"]],
        "columns of table must have different names; 'mass' stands twice. Rename one.",
    ),
    "text": (
        lambda: TABLE[["mass", "wood"]].dropna(),
        "every cell of table must be a number; column 'wood' in row 1 holds the text",
    ),
    "a gap": (
        lambda: {"mass": [1.5, None, 2.5]},
        "every cell of table must hold a value; column 'mass' in row 2 is empty. Fill it in, delete the line, or use "
        "`likelihood='mixed'` or `cells='gaps'`, which take gaps.",
    ),
    "nothing": (lambda: {}, "table must hold a column; it is empty. Give one."),
    "ragged rows": (
        lambda: [[1, 2], [3]],
        "rows of array must be of one length; ",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told(name):
    rows, message = MISTAKES[name]
    with pytest.raises(ValueError) as error:
        read(rows(), DataConfig(cells="numbers"))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("rows", [3, None, object(), b"rows"])
def test_what_holds_no_rows_is_of_another_type(rows):
    with pytest.raises(TypeError, match=r"array must be a path or .*; got \w+. Give one of them."):
        read(rows)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: read("digits", labels=[1, 2]),
            "`labels` is for rows in memory; got the path digits, which has its own. Leave it out.",
        ),
        (
            lambda: read(TABLE, dataclasses.replace(MIXED, label="flag"), labels=range(ROWS)),
            "labels must come from one place; there are `labels` and the column 'flag' of table. Leave `label` or "
            "`labels` out.",
        ),
        (
            lambda: read(CURVES, DataConfig(id="name")),
            "`id` names a column of a table whose columns have names, such as a .csv file; array is none. Leave `id` "
            "out.",
        ),
        (
            lambda: read(TABLE, DataConfig(sep=";")),
            "`sep` separates the cells of a table of text, such as a .csv file; table is none. Leave `sep` out.",
        ),
    ],
    ids=["labels of a path", "labels twice", "columns of an array", "text of a table"],
)
def test_options_that_do_not_apply_are_refused(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message


# --- levels in an order -------------------------------------------------------------------------------------------

LEVELS = ["S", "M", "L", "XL"]
SIZES = pd.DataFrame({"mass": RNG.normal(size=ROWS), "size": RNG.choice(LEVELS[:3], ROWS)})
SIZES.loc[GAPS, "size"] = None
ORDERED = {
    "pandas": lambda frame, _: frame.astype({"size": pd.CategoricalDtype(LEVELS, ordered=True)}),
    "polars": lambda frame, _: pl.from_pandas(frame).cast({"size": pl.Enum(LEVELS)}),
    "pyarrow": lambda frame, _: pl.from_pandas(frame).cast({"size": pl.Enum(LEVELS)}).to_arrow(),
    "parquet": lambda frame, folder: parquet(ORDERED["pandas"](frame, folder), folder),
}


def parquet(frame, folder):
    frame.to_parquet(folder / "table.parquet")
    return folder / "table.parquet"


@pytest.mark.parametrize("door", ORDERED)
def test_levels_that_are_ordered_by_their_type_are_ordinal_in_that_order(tmp_path, door):
    splits = read(ORDERED[door](SIZES, tmp_path), MIXED)
    declared = read(SIZES, DataConfig(cells="mixed", ordinals=("size=S<M<L<XL",)))
    assert splits.schema.kinds == ("real", "ordinal")
    assert splits.schema.categories[1] == tuple(LEVELS)
    assert_same(splits, declared)
    note = "levels have the order of their type: 'size' S < M < L < XL; `categories=['size']` overrules"
    assert note in splits.notes
    codes = pd.Categorical(SIZES["size"], LEVELS, ordered=True).codes.astype(float)
    codes[codes < 0] = np.nan
    raw = read_rows(ORDERED[door](SIZES, tmp_path), splits.schema).raw[:, 1]
    np.testing.assert_array_equal(raw, codes)


@pytest.mark.parametrize("door", ORDERED)
def test_what_is_declared_overrules_the_order_of_a_type(tmp_path, door):
    rows = ORDERED[door](SIZES, tmp_path)
    plain = read(rows, DataConfig(cells="mixed", categories=("size",))).schema
    assert (plain.kinds[1], plain.categories[1]) == ("category", ("L", "M", "S"))
    other = read(rows, DataConfig(cells="mixed", ordinals=("size=XL<L<M<S",))).schema
    assert (other.kinds[1], other.categories[1]) == ("ordinal", ("XL", "L", "M", "S"))
    named = read(rows, DataConfig(cells="mixed", ordinals=("size",))).schema
    assert named.categories[1] == tuple(LEVELS)


def test_types_without_an_order_stay_categories_and_intervals_are_levels():
    frame = SIZES.astype({"size": "category"}).assign(part=pd.cut(SIZES["mass"], 3))
    schema = read(frame, MIXED).schema
    assert schema.kinds == ("real", "category", "ordinal")
    assert schema.categories[2] == tuple(map(str, frame["part"].cat.categories))
    numbers = pd.Categorical(RNG.integers(1, 4, ROWS), [3, 1, 2], ordered=True)
    schema = read(SIZES[["mass"]].assign(rank=numbers), MIXED).schema
    assert (schema.kinds[1], schema.categories[1]) == ("ordinal", ("3", "1", "2"))
