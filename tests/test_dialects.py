"""Tables as people write them: every dialect cell by cell as pandas reads it, and what is guessed of them."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest

from variform import DataConfig, read
from variform.data.reading import read_rows
from variform.data.sources.formats import read_source
from variform.data.sources.tables import table_of
from variform.faces import cli

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "mass": RNG.normal(50, 20, 40).round(3),
        "count": RNG.integers(0, 9, 40),
        "tiny": RNG.normal(0, 1e-9, 40),
        "wood": RNG.choice(["oak", "ash", "Fichte, grün"], 40),
    }
)
GAPPY = FRAME.mask(RNG.random(FRAME.shape) < 0.2)


def csv_bytes(frame, encoding="utf-8", **options):
    return frame.to_csv(index=False, **options).encode(encoding)


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_frame(source):
    """What was read, as pandas would have it: categories by name."""
    columns = {}
    for column, name in enumerate(source.columns):
        values = np.asarray(source.values, float)[:, column]
        names = source.categories[column] if source.categories else ()
        columns[name] = (
            [names[int(value)] if value == value else None for value in values] if names else values
        )
    return pd.DataFrame(columns)


def assert_same(source, frame):
    """Cell by cell: numbers exactly, texts and gaps too."""
    ours = as_frame(source)
    assert list(ours) == [str(name) for name in frame]
    for name, theirs in zip(ours, frame, strict=True):
        column = frame[theirs]
        if pd.api.types.is_numeric_dtype(column):
            np.testing.assert_array_equal(ours[name].to_numpy(float), column.to_numpy(float))
        else:
            assert [None if pd.isna(x) else x for x in ours[name]] == [
                None if pd.isna(x) else str(x).strip() for x in column
            ]


MIXED = DataConfig(cells="mixed")
# name: file, its bytes, what pandas is told, what variform is told beside the kind of cells
DIALECTS = {
    "comma": ("a.csv", csv_bytes(FRAME), {}, {}),
    "mark": ("a.csv", csv_bytes(FRAME, "utf-8-sig"), {"encoding": "utf-8-sig"}, {}),
    "gaps": ("a.csv", csv_bytes(GAPPY), {}, {}),
    "gaps, NA": ("a.csv", csv_bytes(GAPPY, na_rep="NA"), {}, {}),
    "gaps, null": ("a.csv", csv_bytes(GAPPY, na_rep="null"), {}, {}),
    "gaps, own word": (
        "a.csv",
        csv_bytes(GAPPY, na_rep="-999"),
        {"na_values": ["-999"]},
        {"na_values": ("-999",)},
    ),
    "tab": ("a.tsv", csv_bytes(FRAME, sep="\t"), {"sep": "\t"}, {}),
    "tab in .csv": ("a.csv", csv_bytes(FRAME, sep="\t"), {"sep": "\t"}, {}),
    "semicolon": ("a.csv", csv_bytes(FRAME, sep=";"), {"sep": ";"}, {}),
    "pipe": ("a.txt", csv_bytes(FRAME, sep="|"), {"sep": "|"}, {}),
    "colon": ("a.csv", csv_bytes(FRAME, sep=":"), {"sep": ":"}, {"sep": ":"}),
    "decimal comma": (
        "a.csv",
        csv_bytes(FRAME, sep=";", decimal=","),
        {"sep": ";", "decimal": ","},
        {},
    ),
    "quotes": ("a.csv", csv_bytes(FRAME, quoting=1), {}, {}),
    "space after commas": (
        "a.csv",
        "a, b, c\n" + "\n".join(f'{n}, "x, {n % 2}", {n / 4}' for n in range(9)),
        {"skipinitialspace": True},
        {},
    ),
    "windows lines": ("a.csv", csv_bytes(FRAME, lineterminator="\r\n"), {}, {}),
    "old mac lines": ("a.csv", csv_bytes(FRAME, lineterminator="\r"), {}, {}),
    "no last newline": ("a.csv", csv_bytes(FRAME).rstrip(), {}, {}),
    "blank lines": ("a.csv", csv_bytes(FRAME).replace(b"\n", b"\n\n"), {}, {}),
    "lines in cells": (
        "a.csv",
        "a,b\n" + "\n".join(f'"x\ny{n % 2}",{n}' for n in range(9)),
        {},
        {},
    ),
    "spaces": (
        "a.txt",
        "\n".join("  ".join(row) for row in FRAME[["mass", "count"]].astype(str).to_numpy()),
        {"sep": r"\s+", "header": None, "names": ["column 1", "column 2"]},
        {},
    ),
    "utf-16": ("a.csv", csv_bytes(FRAME, "utf-16"), {"encoding": "utf-16"}, {}),
    "cp1252": ("a.csv", csv_bytes(FRAME, "cp1252"), {"encoding": "cp1252"}, {}),
    "latin-1": (
        "a.csv",
        csv_bytes(FRAME, "latin-1"),
        {"encoding": "latin-1"},
        {"encoding": "latin-1"},
    ),
    "cp949": (
        "a.csv",
        csv_bytes(
            FRAME.rename(columns={"wood": "나무"})
            .replace("ash", "물푸레")
            .replace("Fichte, grün", "가문비, 녹색"),
            "cp949",
        ),
        {"encoding": "cp949"},
        {},
    ),
    "gzip": ("a.csv.gz", gzip.compress(csv_bytes(FRAME)), {}, {}),
    "bzip2": ("a.csv.bz2", bz2.compress(csv_bytes(FRAME)), {}, {}),
    "xz": ("a.csv.xz", lzma.compress(csv_bytes(FRAME)), {}, {}),
    "lines before": (
        "a.csv",
        b"Made by a machine\n\n" + csv_bytes(FRAME),
        {"skiprows": 2},
        {"skiprows": 2},
    ),
    "exponents, signs": (
        "a.csv",
        "a,b\n" + "\n".join(f"+{n}.5e-3,-.{n}" for n in range(1, 9)),
        {},
        {},
    ),
}


# Before its third version, pandas read the last digit of a number exactly only where it was asked to.
EXACT = {} if pd.__version__ >= "3" else {"float_precision": "round_trip"}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_read_as_pandas_reads_it(name, tmp_path):
    file, content, theirs, ours = DIALECTS[name]
    path = put(tmp_path, file, content)
    expected = pd.read_csv(path, **EXACT, **theirs)
    assert_same(read_source(path, DataConfig(cells="mixed", **ours)), expected)


@pytest.mark.parametrize("ending", ["parquet", "feather", "jsonl"])
def test_a_file_with_types_is_read_as_pandas_reads_it(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        GAPPY.to_parquet(path)
    elif ending == "feather":
        GAPPY.to_feather(path)
    else:
        path.write_text(GAPPY.to_json(orient="records", lines=True, double_precision=15))
    expected = pd.read_json(path, lines=True, precise_float=True) if ending == "jsonl" else GAPPY
    assert_same(read_source(path, MIXED), expected)


def test_files_of_one_table_give_one_source(tmp_path):
    """The same meaning through every door: CSV, Parquet, Feather, JSON lines."""
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.to_parquet(tmp_path / "a.parquet")
    FRAME.to_feather(tmp_path / "a.feather")
    whole = [read_source(tmp_path / f"a.{form}", MIXED) for form in ("csv", "parquet", "feather")]
    for source in whole[1:]:
        assert source.columns == whole[0].columns and source.categories == whole[0].categories
        np.testing.assert_array_equal(source.values, whole[0].values)


# --- the first line -----------------------------------------------------------------------------------------------

WAVES = RNG.normal(0.6, 0.05, (30, 12))
FLOWERS = [f"{4 + n % 7 / 3:.2f},{n % 5},{'abc'[n % 3]}" for n in range(30)]


def lines(values, pattern="{:.4f}"):
    return [",".join(pattern.format(value) for value in row) for row in values]


@pytest.mark.parametrize(
    ("first", "below", "is_header"),
    [
        (",".join(str(1100 + 2 * n) for n in range(12)), lines(WAVES), True),  # wavelengths
        (",".join(str(n) for n in range(12)), lines(WAVES), True),  # to_csv of an array
        (",".join(f"{0.1 * n:.1f}" for n in range(12)), lines(WAVES), True),  # times
        (lines(WAVES)[0], lines(WAVES)[1:], False),
        ("country,2019,2020", [f"land {n},{n / 7:.2f},{n / 9:.2f}" for n in range(1, 20)], True),
        ("length,width,kind", FLOWERS, True),
        (FLOWERS[0], FLOWERS[1:], False),
        ("p,x,s", [f"{'pe'[n % 2]},{'xfb'[n % 3]},{'sy'[n % 2]}" for n in range(20)], False),
        ("class,cap,skin", [f"{'pe'[n % 2]},{'xfb'[n % 3]},{'sy'[n % 2]}" for n in range(20)], True),
        ("3,?,alfa,13495", [f"{n % 4},{100 + n},{['alfa', 'audi'][n % 2]},{9000 + 50 * n}" for n in range(40)],
         False),
        ("5.1,3.5", [f"{5 + n % 9 / 10},{3 + n % 7 / 10}" for n in range(20)], False),
    ],
)  # fmt: skip
def test_a_first_line_is_told_by_what_stands_below(first, below, is_header, tmp_path):
    path = put(tmp_path, "a.csv", "\n".join([first, *below]))
    frame = table_of(path, MIXED)
    assert frame.is_named == is_header
    assert len(frame.cells[0]) == len(below) + (not is_header)
    for header, named in (("first", True), ("none", False)):
        assert table_of(path, DataConfig(header=header)).is_named == named
    if not is_header:
        assert any("`header='first'` overrules" in note for note in frame.notes)


# --- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "values"),
    [
        ("a;b\n4.512;12,50\n3.100;1,25\n", {}, [[4512, 12.5], [3100, 1.25]]),
        ("a\tb\n4,512\t0.125\n3,100\t0.5\n", {}, [[4512, 0.125], [3100, 0.5]]),
        ('a,b\n"2,450",1\n"1,400",2\n', {}, [[2450, 1], [1400, 2]]),
        ("a;b\n5,253;1\n2,367;2\n", {}, [[5.253, 1], [2.367, 2]]),
        ("a;b\n5,253;1\n2,367;2\n", {"thousands": ","}, [[5253, 1], [2367, 2]]),
        ("a;b\n1.234.567,5;1\n2;2\n", {}, [[1234567.5, 1], [2, 2]]),
        ("a;b\n1'234;1\n2'345.5;2\n", {"thousands": "'"}, [[1234, 1], [2345.5, 2]]),
        ("a;b\n1 234,5;1\n2;2\n", {"thousands": "space"}, [[1234.5, 1], [2, 2]]),
        ("a;b\n4.512;1\n3.100;2\n", {}, [[4.512, 1], [3.1, 2]]),
        ("a;b\n4.512;1\n3.100;2\n", {"decimal": ","}, [[4512, 1], [3100, 2]]),
    ],
)
def test_marks_mean_what_only_they_can_mean(text, options, values, tmp_path):
    source = read_source(put(tmp_path, "a.csv", text), DataConfig(**options))
    np.testing.assert_array_equal(np.asarray(source.values, float), values)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a,b\n1,2\n1_000,3\n", "line 3 holds the text '1_000'"),
        ("a,b\n1,2\n٣,3\n", "line 3 holds the text '٣'"),
        ("a,b\n1,2\n12 %,3\n", "line 3 holds the text '12 %'"),
        ("a,b\n1,2\n<0.5,3\n", "line 3 holds the text '<0.5'"),
        ("a,b\n1,2\n-,3\n", "line 3 holds the text '-'"),
        ('a,b\n1,2\n"x\ny",3\nz,3\n', r"line 4 holds the text 'x\\ny'"),
        ("sep=,\na,b\n1,2\nx,3\n", "line 4 holds the text 'x'"),
    ],
)
def test_what_is_no_number_is_refused_with_its_place(text, place, tmp_path):
    with pytest.raises(ValueError, match=place):
        read_source(put(tmp_path, "a.csv", text), DataConfig(cells="numbers"))


def test_both_decimal_marks_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"same decimal mark.*'1\.5'.*'2,25'"):
        read_source(put(tmp_path, "a.csv", "a;b\n1.5;1\n2,25;2\n"), MIXED)


def zipped(folder, files):
    path = folder / "rows.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("name", "separator"),
    [("rows.csv", ","), ("data/Rows.CSV", ";"), ("a.tsv", "\t"), ("a.txt", "|")],
)
def test_an_archive_is_read_as_the_one_table_in_it(name, separator, tmp_path):
    files = {name: csv_bytes(GAPPY, sep=separator), "readme.md": "a,b\n1,2\n"}
    unseen = {"__MACOSX/._rows.csv": "x", "data/": "", "data/.hidden.csv": "x"}
    path = zipped(tmp_path, unseen | files)
    source = read_source(path, MIXED)
    assert_same(source, GAPPY)
    assert f"of rows.zip '{name}' is read, and not readme.md" in source.notes
    assert read_source(zipped(tmp_path, unseen | {name: files[name]}), MIXED).notes == tuple(
        note for note in source.notes if "readme" not in note
    )


def test_an_archive_of_several_tables_or_none_is_refused(tmp_path):
    content = csv_bytes(FRAME)
    with pytest.raises(
        ValueError, match=r"rows.zip must hold one table; it holds a.csv, b/c.tsv\."
    ):
        read(zipped(tmp_path, {"a.csv": content, "b/c.tsv": content, "d.txt": "notes"}))
    with pytest.raises(ValueError, match="must hold NumPy arrays, or one table of text"):
        read(zipped(tmp_path, {"a.doc": content}))
    path = zipped(tmp_path, {"a.csv": content})
    damaged = bytearray(path.read_bytes())
    damaged[60] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"rows.zip must be a whole file of its format"):
        read(path)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"rows.zip must be a whole file of its format"):
        read(path)
    path = zipped(tmp_path, {"a.csv": content})
    locked = path.read_bytes()
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the flags of a file, in both headers
        at = locked.index(mark) + place
        locked = locked[:at] + bytes([locked[at] | 1]) + locked[at + 1 :]
    path.write_bytes(locked)
    with pytest.raises(ValueError, match=r"rows.zip must open without a password"):
        read(path)


def test_arrays_in_an_archive_of_another_name_are_read_as_before(tmp_path):
    values = RNG.normal(size=(80, 3))
    np.savez(tmp_path / "rows.npz", x=values)
    (tmp_path / "rows.npz").rename(tmp_path / "rows.zip")
    np.testing.assert_array_equal(read_source(tmp_path / "rows.zip").values, values)


@pytest.mark.parametrize("written", ["12 %", "$ 5", "5 €", "<0.5", "~3"])
def test_numbers_in_writing_are_no_categories(written, tmp_path):
    rows = [f"{written.replace('5', str(5 + n))},{n}" for n in range(9)]
    with pytest.raises(ValueError, match=r"column 'price' .* numbers in writing"):
        read_source(put(tmp_path, "a.csv", "\n".join(["price,b", *rows])), MIXED)
    declared = DataConfig(cells="mixed", categories=("price",))
    assert read_source(tmp_path / "a.csv", declared).categories[0]


def test_labels_and_codes_keep_their_texts(tmp_path):
    rows = [f"{code},{n}" for n, code in enumerate(["1_1", "11", "2_1"] * 5)]
    path = put(tmp_path, "a.csv", "\n".join(["strain,b", *rows]))
    assert set(read_source(path, DataConfig(label="strain")).labels) == {"1_1", "11", "2_1"}
    rows = [f"{code},{n}" for n, code in enumerate(["01", "1", "002"] * 5)]
    path = put(tmp_path, "b.csv", "\n".join(["code,b", *rows]))
    assert set(read_source(path, DataConfig(label="code")).labels) == {"01", "1", "002"}
    source = read_source(path, MIXED)
    assert set(source.categories[0]) == {"01", "1", "002"}
    assert any("`reals=['code']` overrules" in note for note in source.notes)


# --- gaps ---------------------------------------------------------------------------------------------------------


def test_a_word_is_a_gap_among_words_only_where_it_is_one_among_numbers(tmp_path):
    names = ["NA", "EU", "AS", "Null"] * 6
    path = put(
        tmp_path,
        "a.csv",
        "\n".join(["place,load", *(f"{name},{n or ''}" for n, name in enumerate(names))]),
    )
    source = read_source(path, MIXED)
    assert source.categories[0] == ("AS", "EU", "NA", "Null")
    assert np.isnan(source.values).sum() == 1
    assert any(
        "'NA' in column 'place'" in note and "`na_values=['NA']`" in note for note in source.notes
    )
    told = read_source(path, DataConfig(cells="mixed", na_values=("NA",)))
    assert told.categories[0] == ("AS", "EU", "Null") and np.isnan(told.values).sum() == 7
    path = put(
        tmp_path,
        "b.csv",
        "\n".join(["place,load", *(f"{name},{n or 'NA'}" for n, name in enumerate(names))]),
    )
    source = read_source(path, MIXED)
    assert source.categories[0] == ("AS", "EU", "Null") and np.isnan(source.values).sum() == 7
    assert any("read as a gap" in note for note in source.notes)


def test_new_rows_have_the_gaps_of_the_model(tmp_path):
    """What is a value of a category stays one, whatever else the new file holds."""
    rows = [f"{['NA', 'EU', 'AS'][n % 3]},{n % 7}.5" for n in range(60)]
    schema = read(put(tmp_path, "a.csv", "\n".join(["place,load", *rows])), MIXED).schema
    new = put(tmp_path, "b.csv", "place,load\nNA,NA\nEU,1.5\n?,2.5\n")
    raw = read_rows(new, schema).raw
    assert raw[0, 0] == schema.categories[0].index("NA") and raw[0, 1].isnan() and raw[2, 0].isnan()


def test_rows_of_empty_cells_keep_their_place(tmp_path):
    path = put(
        tmp_path,
        "a.csv",
        "\n".join(["a,b", *(f"{n}.5,{n % 3}" if n != 4 else "," for n in range(9))]),
    )
    source = read_source(path, DataConfig(cells="gaps"))
    expected = pd.read_csv(path)
    np.testing.assert_array_equal(source.values, expected.to_numpy(float))
    assert any("1 row without any value, as line 6" in note for note in source.notes)
    with pytest.raises(ValueError, match="column 'a' in line 6 is empty"):
        read_source(path, DataConfig(cells="numbers"))
    ended = put(tmp_path, "b.csv", "a,b\n1,2\n3,4\n,\n,\n")
    assert len(read_source(ended).values) == 2
    assert any("2 rows of empty cells at the end" in note for note in read_source(ended).notes)


# --- roles --------------------------------------------------------------------------------------------------------


def test_columns_have_roles(tmp_path):
    rows = [f"part {n},{n}.5,{n % 3},{n * n},note {n}" for n in range(40)]
    path = put(tmp_path, "a.csv", "\n".join(["name,mass,kind,drag,remark", *rows]))
    config = DataConfig(
        id="name", label="kind", response=("drag",), ignore=("remark",), group="kind"
    )
    source = read_source(path, config)
    assert source.groups.tolist() == [str(n % 3) for n in range(40)]
    assert source.columns == ("mass",) and source.names[3] == "part 3"
    np.testing.assert_array_equal(source.responses["drag"], np.arange(40) ** 2)
    np.testing.assert_array_equal(source.labels, np.arange(40) % 3)
    assert read_source(path, DataConfig(columns=("mass", "drag"))).columns == ("mass", "drag")
    with pytest.raises(ValueError, match="one role; 'drag' is named with `response` and `ignore`"):
        read_source(path, DataConfig(response=("drag",), ignore=("drag",)))
    with pytest.raises(ValueError, match=r"`id` must name a column.*Did you mean 'name'\?"):
        read_source(path, DataConfig(id="nam"))


def test_an_unnamed_column_that_numbers_the_rows_is_left_out_and_said(tmp_path):
    path = tmp_path / "a.csv"
    FRAME[["mass", "count"]].to_csv(path)
    source = read_source(path)
    assert source.columns == ("mass", "count")
    assert any("numbers the rows, is left out" in note for note in source.notes)


def test_dates_are_days(tmp_path):
    days = pd.date_range("2020-02-27", periods=20, freq="36h")
    path = tmp_path / "a.csv"
    pd.DataFrame({"when": days, "b": range(20)}).to_csv(path, index=False)
    source = read_source(path, MIXED)
    since = (days - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    np.testing.assert_allclose(np.asarray(source.values)[:, 0], since, rtol=0, atol=1e-9)
    assert any("days since 1970-01-01" in note for note in source.notes)
    assert source.notes.count(source.notes[-1]) == 1


# --- workbooks ----------------------------------------------------------------------------------------------------


def workbook(sheets):
    """The bytes of a minimal .xlsx file: {sheet: rows of cells}."""
    import zipfile

    def cell(value):
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return "<c/>" if value is None else f"<c><v>{value}</v></c>"

    names = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1)
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    links = "".join(
        f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>')
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="a" Type="{office}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{names}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships">{links}</Relationships>',
        )
        for number, rows in enumerate(sheets.values(), 1):
            body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
            archive.writestr(
                f"xl/worksheets/sheet{number}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
            )
    return buffer.getvalue()


def test_a_workbook_is_read_as_its_cells_say(tmp_path):
    rows = [["mass", "wood"], *([n / 8, ("oak", "ash")[n % 2]] for n in range(20))]
    other = [["x"], *([n] for n in range(5))]
    path = put(tmp_path, "a.xlsx", workbook({"Teile": rows, "Rest": other}))
    source = read_source(path, MIXED)
    assert source.columns == ("mass", "wood") and source.categories[1] == ("ash", "oak")
    np.testing.assert_array_equal(source.values[:, 0], np.arange(20) / 8)
    assert any(
        "'Teile' is read, and not Rest; `sheet_name` overrules" in note for note in source.notes
    )
    chosen = read_source(path, DataConfig(sheet_name="Rest"))
    np.testing.assert_array_equal(chosen.values, np.arange(5)[:, None])
    with pytest.raises(ValueError, match="which has Teile, Rest; got 'rest'"):
        read_source(path, DataConfig(sheet_name="rest"))


def test_what_was_guessed_is_said_once(tmp_path):
    path = put(
        tmp_path,
        "a.csv",
        ("größe;b\n" + "".join(f"{n},5;{n % 3}\n" for n in range(60))).encode("cp1252"),
    )
    notes = read(path).notes
    for part in ("read as cp1252", "decimal commas are read as points"):
        assert sum(part in note for note in notes) == 1


def test_what_was_guessed_is_said_before_the_first_epoch_and_by_info(tmp_path, capsys):
    rows = "".join(f"{n % 17},5;{n % 3},25\n" for n in range(90))
    path = put(tmp_path, "a.csv", "größe;b\n".encode("cp1252") + rows.encode())
    run = tmp_path / "run"
    options = [
        "--likelihood",
        "gaussian",
        "--steps",
        "2",
        "--latent-dim",
        "1",
        "--nll-samples",
        "2",
    ]
    assert cli.run(["train", str(path), *options, "--batch-size", "32", "--out", str(run)]) == 0
    said = capsys.readouterr().err
    notes = json.loads((run / "data.json").read_text())["notes"]
    for sentence in ("in numbers such as '0,5'; --decimal . overrules", "read as cp1252"):
        assert said.count(sentence) == 1
        assert said.index(sentence) < said.index("epoch ")
    assert cli.run(["info", str(run)]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "--decimal . overrules" in shown
    assert cli.run(["info", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["notes"] == notes
