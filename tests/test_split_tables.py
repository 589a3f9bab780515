"""Folders of train.csv, valid.csv and test.csv: a user's own split of a table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from variform import DataConfig, read
from variform.data.sources.formats import source_format

ROWS = 60


def _write(folder: Path, **parts: pd.DataFrame) -> Path:
    folder.mkdir()
    for name, frame in parts.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def _frame(seed: int, rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "name": [f"d{seed}-{row}" for row in range(rows)],
            "mass": rng.normal(size=rows).round(4),
            "drag": rng.normal(size=rows).round(4),
        }
    )


def test_rows_stay_in_the_part_of_their_file(tmp_path: Path) -> None:
    frames = {"train": _frame(0), "val": _frame(1, 20), "Test": _frame(2, 30)}
    folder = _write(tmp_path / "designs", **frames)
    splits = read(folder, DataConfig(id="name"))
    for part, name in (("train", "train"), ("valid", "val"), ("test", "Test")):
        rows = getattr(splits, part)
        np.testing.assert_allclose(rows.raw, frames[name][["mass", "drag"]], atol=1e-6)
        assert list(rows.names) == list(frames[name]["name"])


def test_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    test = _frame(1)[["drag", "name", "mass"]]
    folder = _write(tmp_path / "designs", train=_frame(0), test=test)
    rows = read(folder, DataConfig(id="name")).test
    np.testing.assert_allclose(rows.raw, test[["mass", "drag"]], atol=1e-6)


def test_words_of_one_part_are_categories_of_all(tmp_path: Path) -> None:
    train, test = _frame(0).drop(columns="name"), _frame(1).drop(columns="name")
    train["material"] = ["steel", "titanium"] * (ROWS // 2)
    test["material"] = "carbon"
    folder = _write(tmp_path / "designs", train=train, test=test)
    splits = read(folder, DataConfig(cells="mixed"))
    assert set(splits.schema.categories[2]) == {"steel", "titanium", "carbon"}


def test_parquet_of_two_types(tmp_path: Path) -> None:
    folder = tmp_path / "designs"
    folder.mkdir()
    whole = pd.DataFrame({"a": np.arange(ROWS), "b": np.arange(ROWS) % 7})
    whole.to_parquet(folder / "train.parquet")
    (whole + 0.5).to_parquet(folder / "valid.parquet")
    splits = read(folder)
    np.testing.assert_array_equal(splits.valid.raw, whole + 0.5)


def test_a_mistake_names_the_file_and_the_line(tmp_path: Path) -> None:
    bad = _frame(1).astype({"mass": str})
    bad.loc[3, "mass"] = "1_0"
    folder = _write(tmp_path / "designs", train=_frame(0), test=bad)
    with pytest.raises(ValueError, match=r"line 5 of test\.csv"):
        read(folder, DataConfig(id="name"))


def test_columns_must_agree(tmp_path: Path) -> None:
    folder = _write(tmp_path / "designs", train=_frame(0), test=_frame(1).drop(columns="drag"))
    with pytest.raises(ValueError, match=r"test\.csv lacks drag, beside train.csv"):
        read(folder, DataConfig(id="name"))


def test_two_tables_of_one_part_are_refused(tmp_path: Path) -> None:
    folder = _write(tmp_path / "designs", train=_frame(0), test=_frame(1), testing=_frame(2))
    with pytest.raises(ValueError, match=r"test\.csv and testing.csv are both for test"):
        read(folder, DataConfig(id="name"))


def test_other_tables_are_left_out_and_named(tmp_path: Path) -> None:
    folder = _write(tmp_path / "designs", train=_frame(0), test=_frame(1), sources=_frame(2))
    splits = read(folder, DataConfig(id="name"))
    assert len(splits.train) + len(splits.valid) + len(splits.test) == 2 * ROWS
    assert any("sources.csv" in note for note in splits.notes)


def test_tables_beside_images_are_about_them(tmp_path: Path) -> None:
    from PIL import Image

    folder = _write(tmp_path / "images", train=_frame(0), test=_frame(1))
    for name in ("train", "test"):
        (folder / f"{name}_images").mkdir()
        Image.new("L", (8, 8)).save(folder / f"{name}_images" / "a.png")
    assert source_format(folder) == "image folder"
