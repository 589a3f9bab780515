"""Data: what is written is read; planted answers for scaling and splits; broken and hostile files are refused."""

import gzip
import io
import json
import math
import os
import re
import struct
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from variform.config.data import DataConfig
from variform.data.dataset import Dataset, StoredRows
from variform.data.order import epoch_order
from variform.data.points import read_points
from variform.data.reading import dataset_from, read, read_rows
from variform.data.schema import Schema
from variform.data.sources.source import Shards

NOISE = np.random.default_rng(0)
PIXELS = NOISE.integers(0, 256, (80, 5, 4), dtype=np.uint8)
LABELS = np.arange(80) % 3
NUMBERS = NOISE.normal(5, 2, (80, 3)).astype(np.float32)


def npy(values, **options):
    buffer = io.BytesIO()
    np.save(buffer, values, **options)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def idx(values, sizes=None):
    codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    sizes = sizes or values.shape
    head = bytes([0, 0, codes[values.dtype.str[1:]], len(sizes)]) + struct.pack(
        f">{len(sizes)}I", *sizes
    )
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


def png(values, kind="png", **options):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


def text(values, separator=",", header=("mass", "drag", "lift"), labels=None):
    rows = [list(map(repr, row)) for row in values.astype(float).tolist()]
    if labels is not None:
        header, rows = (
            (*header, "kind"),
            [[*row, f"kind {label}"] for row, label in zip(rows, labels, strict=True)],
        )
    return "".join(
        separator.join(row) + "\n" for row in ([header] if header else []) + rows
    ).encode()


def write(folder, files):
    """Write {name: bytes} below `folder`; the one file, or the folder if there are several."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder if len(files) > 1 or "/" in next(iter(files)) else folder / next(iter(files))


def pairs(values, labels):
    return {
        np.ascontiguousarray(row).tobytes(): label
        for row, label in zip(values, labels, strict=True)
    }


def everything(splits):
    """{row: label} over all splits."""
    fingerprints = {}
    for part in (splits.train, splits.valid, splits.test):
        names = (
            [None] * len(part)
            if part.labels is None
            else [splits.schema.classes[item] for item in part.labels]
        )
        fingerprints |= pairs(part.raw.numpy(), names)
    return fingerprints


SHARDS = [(0, 0, 300), (1, 300, 301), (2, 301, 700)]
CLASSES = np.arange(700) % 4
NAMES = [str(label) for label in LABELS]
KINDS = [f"kind {label}" for label in LABELS]
NONE = [None] * 80
MNIST = {
    "train-images-idx3-ubyte.gz": gzip.compress(idx(PIXELS[:60])),
    "train-labels-idx1-ubyte.gz": gzip.compress(idx(LABELS[:60].astype(np.uint8))),
    "t10k-images-idx3-ubyte": idx(PIXELS[60:]),
    "t10k-labels-idx1-ubyte": idx(LABELS[60:].astype(np.uint8)),
}
FORMATS = {
    "npy": ({"a.npy": npy(PIXELS)}, {}, PIXELS, NONE),
    "npy big-endian, Fortran order": (
        {"a.npy": npy(np.asfortranarray(NUMBERS.astype(">f8")))},
        {},
        NUMBERS,
        NONE,
    ),
    "npy.gz": ({"a.npy.gz": gzip.compress(npy(NUMBERS))}, {}, NUMBERS, NONE),
    "npy, flattened images": (
        {"a.npy": npy(PIXELS.reshape(80, 20))},
        {"shape": (5, 4)},
        PIXELS,
        NONE,
    ),
    "npy, channels last": ({"a.npy": npy(PIXELS[..., None])}, {}, PIXELS, NONE),
    "npz, one array": ({"a.npz": npz(arr_0=PIXELS)}, {}, PIXELS, NONE),
    "npz, x and y": ({"a.npz": npz(x=PIXELS, y=LABELS, other=LABELS)}, {}, PIXELS, NAMES),
    "npz, key": ({"a.npz": npz(first=NUMBERS, second=PIXELS)}, {"key": "first"}, NUMBERS, NONE),
    "npz, Keras": (
        {
            "a.npz": npz(
                x_train=PIXELS[:60], y_train=LABELS[:60], x_test=PIXELS[60:], y_test=LABELS[60:]
            )
        },
        {},
        PIXELS,
        NAMES,
    ),
    "idx by name": ({"a.idx": idx(NUMBERS)}, {}, NUMBERS, NONE),
    "idx by magic": ({"a.bin": idx(PIXELS.astype(np.int16))}, {}, PIXELS, NONE),
    "MNIST folder": (MNIST, {}, PIXELS, NAMES),
    "images in label folders": (
        {
            f"{kind}/{number}.PNG": png(image)
            for number, (image, kind) in enumerate(zip(PIXELS, KINDS, strict=True))
        },
        {},
        PIXELS,
        KINDS,
    ),
    "images split already": (
        {
            f"{'train' if number < 60 else 'val'}/{number}.png": png(image)
            for number, image in enumerate(PIXELS)
        },
        {},
        PIXELS,
        NONE,
    ),
    "csv": ({"a.csv": text(NUMBERS)}, {}, NUMBERS, NONE),
    "csv.gz, labels": (
        {"a.csv.gz": gzip.compress(text(NUMBERS, labels=LABELS))},
        {"label": "kind"},
        NUMBERS,
        KINDS,
    ),
    "csv, semicolon, BOM": ({"a.csv": b"\xef\xbb\xbf" + text(NUMBERS, ";")}, {}, NUMBERS, NONE),
    "csv, decimal commas": (
        {
            "a.csv": b"\r\n"
            + text(NUMBERS, ";", ('"mass, kg"', "drag", "lift")).replace(b".", b",")
            + b";;\r\n\r\n"
        },
        {},
        NUMBERS,
        NONE,
    ),
    "csv, decimal commas without header": (
        {"ä ö 漢.csv": text(NUMBERS, ";", None).replace(b".", b",")},
        {},
        NUMBERS,
        NONE,
    ),
    "csv of labelled pixels": (
        {"a.csv": text(PIXELS.reshape(80, 20), ", ", [f"p{place}" for place in range(20)], LABELS)},
        {"shape": (5, 4), "label": "kind"},
        PIXELS,
        KINDS,
    ),
    "csv of pixels": (
        {"a.csv": text(PIXELS.reshape(80, 20), header=None)},
        {"shape": (5, 4)},
        PIXELS,
        NONE,
    ),
    "tsv without header": ({"a.tsv": text(NUMBERS, "\t", header=None)}, {}, NUMBERS, NONE),
}


@pytest.mark.parametrize("case", FORMATS)
def test_what_is_written_is_read(tmp_path, case):
    files, options, values, labels = FORMATS[case]
    splits = read(write(tmp_path, files), DataConfig(**options))
    assert everything(splits) == pairs(values, labels)
    is_image = values.ndim == 3
    assert (splits.schema.kind, splits.schema.levels) == (
        ("image", 256) if is_image else ("table", None)
    )
    assert splits.train.raw.dtype == (torch.uint8 if is_image else torch.float32)
    again = read_rows(write(tmp_path, files), splits.schema, DataConfig(key=options.get("key")))
    assert pairs(again.raw.numpy(), NONE) == pairs(values, NONE)
    assert (again.labels is None) == (splits.train.labels is None)


LARGE = NOISE.integers(0, 256, (700, 5, 4), dtype=np.uint8)
STORED = {
    "pixels": ({"a.npy": npy(LARGE)}, {}),
    "flattened pixels": ({"a.npy": npy(LARGE.reshape(700, 20))}, {"shape": (5, 4)}),
    "channels last, 64 bits": ({"a.npy": npy(LARGE[..., None].astype(np.int64))}, {}),
    "dynamic binarisation": ({"a.npy": npy(LARGE)}, {"binarise": "dynamic"}),
    "big-endian doubles": ({"a.npy": npy(NOISE.normal(5, 2, (700, 3)).astype(">f8"))}, {}),
    "floats, to [0, 1]": ({"a.npy": npy(NUMBERS)}, {"scaling": "unit"}),
    "images of real numbers": (
        {"a.npy": npy(NOISE.normal(size=(700, 2, 3)))},
        {"scaling": "standard", "shape": (2, 3)},
    ),
    "shards": ({f"part-{part}.npy": npy(LARGE[start:stop]) for part, start, stop in SHARDS}, {}),
    "shards with labels": (
        {f"part-{part}.npy": npy(LARGE[start:stop]) for part, start, stop in SHARDS}
        | {"labels.npy": npy(CLASSES)},
        {},
    ),
    "shards split already": (
        {
            f"{('train', 'valid', 'test')[part]}/a.npy": npy(LARGE[start:stop])
            for part, start, stop in SHARDS
        },
        {},
    ),
}


@pytest.mark.parametrize("case", STORED)
def test_rows_on_disk_give_what_rows_in_memory_give(tmp_path, monkeypatch, case):
    monkeypatch.setattr("variform.data.dataset.VALUES_AT_ONCE", 160)  # many passes of a few rows
    files, options = STORED[case]
    path = write(tmp_path, files)
    near, far = (read(path, DataConfig(memory_map=choice, **options)) for choice in ("off", "on"))
    assert (far.schema, far.fingerprint, far.duplicates) == (
        near.schema,
        near.fingerprint,
        near.duplicates,
    )
    assert set(far.notes) - set(near.notes) == {
        "the rows stay on disk: the files must not change while a run reads them"
    }
    assert far.train.raw is far.valid.raw is far.test.raw and isinstance(far.train.raw, StoredRows)
    for part in ("train", "valid", "test"):
        one, other = getattr(near, part), getattr(far, part)
        order = torch.randperm(len(one), generator=torch.Generator().manual_seed(0))
        for rows in (order, order[:1]):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                expected = one.batch(rows)
                torch.manual_seed(0)
                torch.testing.assert_close(other.batch(rows), expected, rtol=0, atol=0)
        torch.testing.assert_close(other.prepared(seed=1), one.prepared(seed=1), rtol=0, atol=0)
        assert [len(x) for x in other.batches(64)] == [len(x) for x in one.batches(64)]
        torch.testing.assert_close(
            torch.cat([*other.batches(7, seed=1)]), one.prepared(seed=1), rtol=0, atol=0
        )
        assert (one.labels is None) == (other.labels is None)
        assert one.labels is None or torch.equal(one.labels, other.labels)
    again = read_rows(path, near.schema)
    assert torch.equal(
        torch.cat([*again.raw_batches(99)]),
        torch.cat([*read_rows(path, far.schema).raw_batches(99)]),
    )


def test_a_folder_of_shards_is_the_array_that_its_files_make_in_order(tmp_path):
    write(tmp_path / "whole", {"a.npy": npy(LARGE)})
    write(
        tmp_path / "shards",
        {f"part-{part}.npy": npy(LARGE[start:stop]) for part, start, stop in SHARDS},
    )
    write(tmp_path / "shards", {"labels.npy": npy(CLASSES), "notes.txt": b"who made them"})
    whole, shards = (
        read(tmp_path / "whole" / "a.npy"),
        read(tmp_path / "shards", DataConfig(memory_map="on")),
    )
    assert torch.equal(shards.test.prepared(), whole.test.prepared())
    assert everything(
        replace(shards, **{part: taken(shards, part) for part in ("train", "valid", "test")})
    ) == pairs(LARGE, [f"{label}" for label in CLASSES])
    assert any("no .npy files: 1, as notes.txt" in note for note in shards.notes)


def taken(splits, part):
    dataset = getattr(splits, part)
    return dataset.take(torch.arange(len(dataset)))


def test_shards_take_and_piece_as_the_joined_array_does():
    parts = tuple(NOISE.normal(size=(rows, 2)) for rows in (3, 1, 5, 2))
    shards, whole = Shards(parts), np.concatenate(parts)
    index = NOISE.permutation(11)
    np.testing.assert_array_equal(shards.take(index), whole[index])
    for rows in (1, 2, 4, 11, 20):
        pieces = list(shards.pieces(rows))
        np.testing.assert_array_equal(np.concatenate(pieces), whole)
        assert {len(piece) for piece in pieces[:-1]} <= {rows}


def test_rows_that_are_expected_are_read_in_whole_stretches_of_their_files(tmp_path, monkeypatch):
    asked = []

    def advise(file, start, size, advice):
        asked.append((os.fstat(file), start, size))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    monkeypatch.setattr("variform.data.sources.source._READ_THROUGH", 100)  # bytes, five rows
    files = {f"part-{part}.npy": npy(LARGE[start:stop]) for part, start, stop in SHARDS}
    data = read_rows(write(tmp_path, files), read(LARGE).schema)
    data.expect(torch.tensor([3]))
    splits = read(tmp_path, DataConfig(memory_map="on"))
    assert not asked and isinstance(splits.train.raw, StoredRows)
    rows = torch.tensor([309, 2, 3, 7, 299, 300, 301, 310, 120])
    Dataset(splits.train.raw, splits.schema, rows=rows.flip(0)).expect(torch.arange(9))
    head = len(npy(LARGE[:300])) - 300 * 20
    inodes = [(tmp_path / name).stat().st_ino for name in files]
    groups = [
        (inodes.index(file.st_ino), (start - head) // 20, size // 20) for file, start, size in asked
    ]
    assert groups == [(0, 2, 6), (0, 120, 1), (0, 299, 1), (1, 0, 1), (2, 0, 1), (2, 8, 2)]


def test_a_file_on_disk_is_never_copied_whole(tmp_path):
    """Reading 64 MiB takes less than 16 MiB of NumPy's arrays at any one time; benchmarks/memory_map.py counts all."""
    path = tmp_path / "a.npy"
    values = np.lib.format.open_memmap(path, "w+", np.uint8, (2**16, 2**10))
    values[:] = (
        NOISE.integers(0, 2, (2**16, 1), dtype=np.uint8) * 254
        + np.arange(2**10, dtype=np.uint8) % 2
    )
    values[:, :8] = np.arange(2**16)[:, None].view(np.uint8)
    del values
    tracemalloc.start()
    splits = read(path, DataConfig(memory_map="on"))
    splits.train.moments()
    splits.train.batch(torch.arange(128))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24 and len(splits.train) + len(splits.valid) + len(splits.test) == 2**16


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.npy", npy(NUMBERS)[:-5], "promises 960 bytes of values, it holds 955"),
        ("long.npy", npy(NUMBERS) + b"more", "promises 960 bytes of values, it holds 964"),
        (
            "turned.npy",
            npy(np.asfortranarray(NUMBERS)),
            "one row after another.*`memory_map='off'`",
        ),
        (
            "objects.npy",
            npy(np.array([[print]] * 30, dtype=object), allow_pickle=True),
            "never unpickled",
        ),
        ("a.npy.gz", gzip.compress(npy(NUMBERS)), "a.npy.gz is. Unpack it"),
        ("none.npy", npy(NUMBERS[:0]), "at least one value"),
        (
            "odd",
            {"a.npy": npy(NUMBERS), "b.npy": npy(NUMBERS[:, :2])},
            r"odd.*a.npy has \(3,\) of float32, b.npy \(2,\)",
        ),
        (
            "types",
            {"a.npy": npy(NUMBERS), "b.npy": npy(PIXELS[:, :3, 0])},
            "types.*b.npy .* of uint8",
        ),
        (
            "labelled",
            {"a.npy": npy(NUMBERS), "labels.npy": npy(LABELS[:9])},
            "80 rows and 9 labels",
        ),
        (
            "split",
            {"train/a.npy": npy(NUMBERS), "test/b.txt": b"none"},
            "must hold one folder a part of its split, .*; test holds none beside train",
        ),
        (
            "nan.npy",
            npy(np.where(np.arange(80)[:, None] == 7, [0, np.inf, 0], NUMBERS)),
            "row 8, column 'column 2'",
        ),
    ],
    ids=lambda value: (
        "bytes" if isinstance(value, bytes) else None
    ),  # gzip writes the time into them
)
def test_files_that_cannot_stay_on_disk_are_refused(tmp_path, name, content, message):
    path = (
        write(tmp_path / name, content)
        if isinstance(content, dict)
        else write(tmp_path, {name: content})
    )
    with pytest.raises(ValueError, match=message):
        read(path, DataConfig(memory_map="on"))


def test_moments_are_those_of_all_rows_at_once(monkeypatch):
    monkeypatch.setattr("variform.data.dataset.VALUES_AT_ONCE", 40)
    for values in (NUMBERS + 1e4, PIXELS, NUMBERS[:7]):
        data = Dataset(torch.from_numpy(values), read(NUMBERS).schema) if len(values) == 7 else None
        data = (
            data
            or read(
                values, config=DataConfig(binarise="dynamic" if values is PIXELS else "none")
            ).train
        )
        mean, variance = data.moments(seed=3)
        x = data.prepared(seed=3).double()
        torch.testing.assert_close(mean, x.mean(0), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(variance, x.var(0, correction=0), rtol=1e-12, atol=1e-12)


def test_own_splits_are_kept_and_the_missing_one_comes_from_train(tmp_path):
    splits = read(write(tmp_path, MNIST))
    assert set(pairs(splits.test.raw.numpy(), [None] * 20)) == set(pairs(PIXELS[60:], [None] * 20))
    assert 0 < len(splits.valid) < 20 and len(splits.train) + len(splits.valid) == 60


def test_images_become_upright_on_white_and_of_one_size(tmp_path):
    clear = np.zeros((4, 6, 2), np.uint8)  # black, wholly transparent
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    lying = png(np.eye(6, 4, dtype=np.uint8), exif=exif)
    files = {"a/clear.png": png(clear), "a/turned.png": lying}
    schema = read(PIXELS).schema
    schema = replace(schema, shape=(1, 4, 6))
    clear_read, turned = read_rows(write(tmp_path, files), schema).raw[:, 0].numpy()
    assert (clear_read == 255).all()
    np.testing.assert_array_equal(turned, np.rot90(np.eye(6, 4), -1))
    resized = read_rows(tmp_path, replace(schema, shape=(3, 2, 3))).raw
    assert resized.shape == (2, 3, 2, 3)


def test_the_note_on_a_split_says_how_large_it_is():
    splits = read(torch.arange(1000.0)[:, None] % 60)  # sixty different rows, which stay together
    valid, test = (f"{len(part) / 1000:.1%}" for part in (splits.valid, splits.test))
    assert f"split: by hash of each row, {valid} for validation and {test} for test" in splits.notes


@pytest.mark.parametrize("scaling", ["none", "unit", "standard"])
@pytest.mark.parametrize(
    "values", [NUMBERS, PIXELS, NUMBERS.reshape(40, 2, 3)], ids=["table", "pixels", "real image"]
)
def test_scaling_does_what_it_says_and_is_undone_by_restore(values, scaling):
    splits = read(values, config=DataConfig(scaling=scaling))
    schema, x = splits.schema, splits.train.prepared()
    assert x.dtype == torch.float32
    over = 0 if schema.kind == "table" else (0, 1, 2, 3)
    if scaling == "standard":
        torch.testing.assert_close(x.mean(over), torch.zeros_like(x.mean(over)), atol=1e-5, rtol=0)
        torch.testing.assert_close(x.std(over, correction=0), torch.ones_like(x.mean(over)))
    torch.testing.assert_close(schema.restore(x), splits.train.raw.float(), rtol=1e-5, atol=1e-5)
    everywhere = torch.cat([part.prepared() for part in (splits.train, splits.valid, splits.test)])
    rows = schema.restore(everywhere).double()
    assert schema.low == pytest.approx(rows.amin(over).flatten().tolist(), rel=1e-5, abs=1e-4)
    assert schema.high == pytest.approx(rows.amax(over).flatten().tolist(), rel=1e-5, abs=1e-4)
    if scaling == "unit":  # over all rows, so that no test row leaves [0, 1]
        schema.require("unit", "bernoulli")
        assert schema.levels == 256 or (
            everywhere.amin(over).eq(0).all() and everywhere.amax(over).eq(1).all()
        )
    raw = splits.train.raw[:1].double()
    per_unit = 1 if schema.levels is None else 255  # pixels: the density is per intensity in [0, 1]
    jacobian = torch.autograd.functional.jacobian(schema.prepare, raw).reshape(
        raw.numel(), raw.numel()
    )
    assert schema.log_jacobian == pytest.approx(torch.logdet(jacobian * per_unit).item())


@pytest.mark.parametrize(
    ("values", "scale", "levels"),
    [
        (PIXELS, 255, 256),
        (PIXELS > 9, 1, 2),
        (np.round(NOISE.random((80, 9))), 1, 2),
    ],
)
def test_auto_scaling_maps_to_the_unit_interval(values, scale, levels):
    splits = read(values)
    schema = splits.schema
    everywhere = torch.cat([part.prepared() for part in (splits.train, splits.valid, splits.test)])
    assert set(schema.scale) == {scale} and schema.levels == levels
    assert (everywhere.min().item(), everywhere.max().item()) == (0, 1)
    # pixels: per intensity in [0, 1]; the columns of a table: per unit of their own
    per_column = 0 if schema.kind == "image" else -math.log(scale)
    assert schema.log_jacobian == pytest.approx(math.prod(schema.shape) * per_column)
    schema.require("unit", "bernoulli")


def test_schema_survives_json_exactly():
    schema = read(NUMBERS * math.pi, labels=LABELS, config=DataConfig(scaling="standard")).schema
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_equal_rows_stay_together_and_fractions_are_near_80_10_10():
    rows = NOISE.normal(size=(10_000, 2)).astype(np.float32)
    splits = read(np.concatenate([rows, rows[:3000]]))
    sets = [
        set(pairs(part.raw.numpy(), [None] * len(part)))
        for part in (splits.train, splits.valid, splits.test)
    ]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert splits.duplicates == {"within": 3000, "across": 0}
    assert any("3000 exact duplicates" in note for note in splits.notes)
    for one_set, fraction in zip(
        sets, (0.8, 0.1, 0.1), strict=True
    ):  # 5 standard errors: fails once in 10^6
        assert abs(len(one_set) / 10_000 - fraction) < 5 * math.sqrt(
            fraction * (1 - fraction) / 10_000
        )


def test_a_row_keeps_its_split_when_rows_are_added_or_moved():
    before = set(everything(read(NUMBERS)))
    test = set(pairs(read(NUMBERS).test.raw.numpy(), [None] * len(read(NUMBERS).test)))
    grown = read(np.concatenate([NUMBERS + 1, NUMBERS[::-1]]))
    assert set(pairs(grown.test.raw.numpy(), [None] * len(grown.test))) & before == test
    other = read(NUMBERS, config=DataConfig(split_seed=1))
    assert set(pairs(other.test.raw.numpy(), [None] * len(other.test))) != test
    assert other.fingerprint == read(NUMBERS).fingerprint != grown.fingerprint


def test_test_rows_that_are_also_in_train_are_counted(tmp_path):
    path = write(
        tmp_path, {"a.npz": npz(train=PIXELS, test=np.concatenate([PIXELS[:2], 255 - PIXELS]))}
    )
    assert read(path).duplicates == {"within": 2, "across": 2}


def test_binarisation():
    raw = torch.tensor([0, 51, 127, 128, 255], dtype=torch.uint8).expand(20_000, 5)
    schema = replace(
        dataset_from(torch.rand(1, 5)).schema, scale=(255.0,) * 5, levels=256, binarise="dynamic"
    )
    torch.manual_seed(0)
    first, second = schema.prepare(raw), schema.prepare(raw)
    assert not torch.equal(first, second) and set(first.unique().tolist()) == {0, 1}
    error = (
        4 * (raw[0] / 255 * (1 - raw[0] / 255) / 20_000).sqrt()
    )  # fails about once in 5,000 seeds
    assert ((first.mean(0) - raw[0] / 255).abs() <= error).all()
    assert replace(schema, binarise="threshold").prepare(raw[:1]).tolist() == [[0, 0, 0, 1, 1]]


OBJECTS = np.array([[print, None]] * 30, dtype=object)
HUGE_NPY = npy(NUMBERS).replace(b"(80, 3), }                ", b"(1152921504606846976, 3), }")[:200]
BROKEN = {
    "empty.npy": b"",
    "empty.csv": b"",
    "text.npy": b"not an array",
    "cut.npy": npy(NUMBERS)[:-5],
    "cut-head.npy": npy(NUMBERS)[:40],
    "long.npy": npy(NUMBERS) + b"more",
    "objects.npy": npy(OBJECTS, allow_pickle=True),
    "objects.npz": npz(x=OBJECTS),
    "complex.npy": npy(NUMBERS * 1j),
    "words.npy": npy(np.array([["a", "b"]] * 30)),
    "header.npy": npy(NUMBERS).replace(b"}", b"("),
    "flat.npy": npy(NUMBERS[:, 0]),
    "no-rows.npy": npy(NUMBERS[:0]),
    "four-channels.npy": npy(np.zeros((9, 4, 4, 4))),
    "cut.npz": npz(x=NUMBERS)[:-30],
    "place.npz": npz(x=NUMBERS).replace(b"PK\5\6", b"PK\5\6\0\0\0\0\1\0\1\0\xff\xff\xff\0"),
    "keys.npz": npz(first=NUMBERS, second=NUMBERS),
    "labels.npz": npz(x=NUMBERS, y=LABELS[:7]),
    "huge.npy": HUGE_NPY,
    "cut.idx": idx(PIXELS)[:-1],
    "cut-head.idx": idx(PIXELS)[:7],
    "huge.idx": idx(PIXELS, (2**32 - 1, 2**32 - 1, 2**32 - 1)),
    "magic.idx": b"\0\0\x07\3" + idx(PIXELS)[4:],
    "cut.idx.gz": gzip.compress(idx(PIXELS))[:-20],
    "huge.idx.gz": gzip.compress(idx(PIXELS, (2**31, 2**31))),
    "text.npy.gz": b"not packed",
    "unknown.dat": b"who knows",
    "word.csv": b"mass,drag\n1,2\n3,heavy\n",
    "missing.csv": b"mass,drag\n1,2\n3,\n",
    "ragged.csv": b"mass,drag\n1,2\n3,4,5\n",
    "twice.csv": b"mass,mass\n1,2\n",
    "header.csv": b"mass,drag\n",
    "latin.csv": "masse,länge\n1,2\n".encode("latin-1"),
    "nameless.csv": b",mass\n0,1\n1,2\n",
    "marks.csv": b"mass;drag\n1.234;2\n1,5;2\n",
    "sheet.xlsx": b"PK\5\6" + bytes(18),
    "nothing-here": {"readme.txt": b"no images", "more.txt": b""},
    "cut-image": {
        "a.png": png(PIXELS[0]),
        "cut-image.png": png(NOISE.integers(0, 255, (90, 90), dtype=np.uint8))[:99],
    },
    "no-image": {"a.png": png(PIXELS[0]), "no-image.png": b"not an image"},
    "sizes": {"a.png": png(PIXELS[0]), "b.png": png(PIXELS[0, 1:])},
    "mixed": {"a.png": png(PIXELS[0]), "cats/b.png": png(PIXELS[0])},
    "two-deep": {"cats/a.png": png(PIXELS[0]), "cats/more/b.png": png(PIXELS[0])},
    "floats.tiff": png(NUMBERS, "tiff"),
    "train-images": MNIST
    | {"train-labels-idx1-ubyte.gz": gzip.compress(idx(LABELS[:9].astype(np.uint8)))},
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_and_hostile_files_are_refused_by_name(tmp_path, name):
    content = BROKEN[name]
    path = (
        write(tmp_path / name, content)
        if isinstance(content, dict)
        else write(tmp_path, {name: content})
    )
    before = {item: item.stat().st_mtime_ns for item in tmp_path.rglob("*")}
    with pytest.raises(ValueError, match=re.escape(name)) as caught:
        read(path)
    assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "?"))
    assert {item: item.stat().st_mtime_ns for item in tmp_path.rglob("*")} == before


def test_a_checksum_that_fails_is_noticed(tmp_path):
    packed = bytearray(gzip.compress(idx(PIXELS)))
    packed[-6] ^= 1  # in the checksum at the end
    with pytest.raises(ValueError, match=r"a\.idx\.gz"):
        read(write(tmp_path, {"a.idx.gz": bytes(packed)}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", npy(PIXELS))
    damaged = buffer.getvalue().replace(PIXELS[3].tobytes(), PIXELS[4].tobytes())
    with pytest.raises(ValueError, match=r"a\.npz"):
        read(write(tmp_path, {"a.npz": damaged}))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            b"mass,drag\n1,2\n3,heavy\n",
            {},
            "column 'drag' in line 3 holds the text 'heavy'.*`label='drag'`",
        ),
        (b"mass,drag\n1,2\n\n3,\n", {}, "column 'drag' in line 4 is empty"),
        (b"mass,kind\n1,a\n2, \n", {"label": "kind"}, "column 'kind' in line 3 is empty"),
        (b"id,mass\nA1,2\n", {}, "column 'id' in line 2 holds the text 'A1'.*`id='id'`"),
        (
            b'mass,drag\n"3,14",2\n',
            {"decimal": "."},
            "column 'mass' in line 2 holds the text '3,14'. Write a point",
        ),
        (b"mass;drag\n1,2;3\n3\n", {}, "separator is ';', must hold 2 cells; line 3 holds 1"),
        (
            b"mass,drag\n1,2\n3,nan\ninf,1\n",
            {},
            "column 'drag' in line 3 holds the text 'nan'.*`cells='gaps'`",
        ),
        (
            b"mass,drag\n1,2\n3,-inf\ninf,1\n",
            {},
            "2 of its values.*row 2, column 'drag'; row 3, column 'mass'",
        ),
        (b"mass,drag\n1,2\n", {"label": "dragg"}, "it has no 'dragg'. Did you mean 'drag'?"),
        (text(NUMBERS * 0), {}, "80 rows of designs.csv are 1 different ones"),
        (text(NUMBERS), {"binarise": "dynamic"}, "`binarise='dynamic'` needs values in"),
        (text(NUMBERS[:3]), {}, "the 3 rows of designs.csv leave none for"),
        (text(NUMBERS), {"shape": (28, 28)}, "`shape` must hold as many values"),
    ],
)
def test_csv_errors_name_the_place_and_the_remedy(tmp_path, content, options, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        read(write(tmp_path, {"designs.csv": content}), DataConfig(cells="numbers", **options))


def test_bernoulli_error_names_the_column_and_its_raw_value(tmp_path):
    numbers = np.c_[NUMBERS.clip(0, 1), np.linspace(0, 7.2, 80)]
    path = write(tmp_path, {"designs.csv": text(numbers, header=("a", "b", "c", "mass"))})
    with pytest.raises(ValueError) as caught:
        read(path, DataConfig(scaling="none")).schema.require("unit", "bernoulli")
    assert str(caught.value) == (
        "bernoulli needs values in [0, 1]; column 'mass' of designs.csv holds 7.2."
        " Use `likelihood='gaussian-per-feature'` or `scaling='unit'`."
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "a.csv",
            {"key": "x"},
            "`key` chooses an array of a .npz, HDF5, .mat or .safetensors file; a.csv is none",
        ),
        (
            "a.npy",
            {"label": "kind"},
            "`label` names the label column of a table whose columns have names, such as a .csv file; a.npy is none",
        ),
        (
            "a.npy",
            {"image_size": (2, 2)},
            "`image_size` resizes a folder of image files; a.npy is none",
        ),
        (
            "a.csv",
            {"memory_map": "on"},
            "`memory_map` says whether to leave on disk a .npy file or a folder",
        ),
        (
            "a.npy",
            {"channels": "rgb"},
            "`channels` sets the colours of a folder of image files; a.npy is none",
        ),
    ],
)
def test_options_that_do_not_apply_are_refused(tmp_path, name, options, message):
    path = write(tmp_path, {name: text(NUMBERS) if name == "a.csv" else npy(NUMBERS)})
    with pytest.raises(ValueError, match=message):
        read(path, DataConfig(**options))
    with pytest.raises(ValueError, match=message.replace(name, "array")):
        read(NUMBERS, config=DataConfig(**options))
    if "key" in options:
        with pytest.raises(ValueError, match=message):
            read_rows(path, read(NUMBERS).schema, DataConfig(key="x"))


def test_nan_rows_are_counted_within_their_split(tmp_path):
    test = np.where(np.arange(20)[:, None] == 2, [0, np.nan, 0], NUMBERS[60:])
    with pytest.raises(ValueError, match="row 3 of test, column 'column 2'"):
        path = write(tmp_path, {"a.npz": npz(x_train=NUMBERS[:60], x_test=test)})
        read(path, DataConfig(cells="numbers"))


def test_read_points_returns_the_numbers_unchanged(tmp_path):
    points = NOISE.normal(size=(7, 2))
    files = {
        "a.npy": npy(points),
        "a.npz": npz(z=points),
        "a.csv": text(points, header=("z1", "z2")),
    }
    for name, content in {
        **files,
        "b.csv": text(points, header=None),
        "c.npy": npy(points.astype(np.float16)),
    }.items():
        read_back = read_points(write(tmp_path, {name: content}))
        assert read_back.dtype == np.float64
        np.testing.assert_array_equal(
            read_back, points.astype(np.float16) if name == "c.npy" else points
        )
    bad = {
        "a.npy": npy(points + np.array([0, np.inf])),
        "b.npy": npy(points[0]),
        "c.npy": npy(points[None]),
        "a.csv": b"z\n1\nnan\n",
    }
    for name, content in bad.items():
        with pytest.raises(ValueError, match=name):
            read_points(write(tmp_path, {name: content}))


def test_images_of_several_frames_modes_and_links(tmp_path):
    frames = [Image.fromarray(image) for image in PIXELS[:2]]
    moving = png(PIXELS[0], "gif", save_all=True, append_images=frames[1:])
    write(tmp_path, {f"real/{number}.png": png(image) for number, image in enumerate(PIXELS)})
    write(tmp_path, {"real/moving.gif": moving})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    grey = read(f"{tmp_path}/link/")
    assert grey.schema.source == "link" and grey.schema.shape == (1, 5, 4)
    assert any("several images: 1, as 'moving.gif' of 2 frames" in note for note in grey.notes)
    moving_read = read_rows(tmp_path / "real" / "moving.gif", grey.schema)
    np.testing.assert_array_equal(moving_read.raw[:, 0], PIXELS[:2])
    write(tmp_path, {"real/0.png": png(np.repeat(PIXELS[0][..., None], 3, 2))})
    assert read(tmp_path / "real").schema.shape == (3, 5, 4)
    dot = write(
        tmp_path,
        {f"dots/{number}.png": png(np.full((1, 1), number, np.uint8)) for number in range(80)},
    )
    assert read(dot / "dots").schema.shape == (1, 1, 1)


def test_rows_of_another_form_are_refused(tmp_path):
    schema = read(write(tmp_path, {"designs.csv": text(NUMBERS)})).schema
    with pytest.raises(
        ValueError,
        match=r"columns must be those of designs.csv, .*; new.csv lacks 'drag' and has 'draft'",
    ):
        read_rows(
            write(tmp_path, {"new.csv": text(NUMBERS, header=("mass", "draft", "lift"))}), schema
        )
    with pytest.raises(ValueError, match=r"shape \(3,\) of designs.csv; new.npy has \(2,\)"):
        read_rows(write(tmp_path, {"new.npy": npy(NUMBERS[:, :2])}), schema)
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        read_rows(write(tmp_path, {"new.npy": npy(PIXELS / 255)}), read(PIXELS).schema)


def test_a_source_that_is_not_there_names_its_neighbour(tmp_path):
    write(tmp_path, {"designs.csv": text(NUMBERS)})
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'designs.csv'\?"):
        read(tmp_path / "design.csv")
    with pytest.raises(FileNotFoundError, match="'digits'"):
        read("digit")


def test_an_epoch_without_blocks_has_the_order_that_runs_have_had():
    assert epoch_order(8, 3, 2).tolist() == [5, 7, 4, 1, 3, 2, 6, 0]


@pytest.mark.parametrize(
    ("rows", "block", "window"),
    [(1000, 10, 50), (1003, 10, 50), (7, 10, 10), (64, 1, 8), (99, 33, 33)],
)
def test_blocks_come_in_random_order_and_each_window_holds_whole_ones(rows, block, window):
    order = epoch_order(rows, 0, 0, block=block, window=window)
    assert torch.equal(order.sort().values, torch.arange(rows))
    assert torch.equal(order, epoch_order(rows, 0, 0, block=block, window=window))
    if rows > 10:
        assert not torch.equal(order, epoch_order(rows, 0, 1, block=block, window=window))
        assert not torch.equal(order, epoch_order(rows, 1, 0, block=block, window=window))
    position = order.argsort()
    for rows_of_block in position.split(
        block
    ):  # read within one window, whichever block is the short one
        assert rows_of_block.max() - rows_of_block.min() < window
    if rows % window == 0:
        inside = (order // block).reshape(-1, window)
        assert {len(numbers.unique()) for numbers in inside} == {window // block}


def test_blocks_inflate_the_variance_of_a_batch_mean_as_said():
    """Planted: unit variance, half of it shared by a block. Of 4,000 means the variance is known to 0.022 of its size;
    the tolerance of 0.1 fails once in 10^5 seeds."""
    rows, block, blocks, batch, correlation = 1024, 16, 4, 32, 0.5
    noise = np.random.default_rng(1)
    means = {}
    for name, options in {"all": {}, "blocks": {"block": block, "window": blocks * block}}.items():
        means_of_batches = []
        for seed in range(4000):
            shared = noise.normal(size=rows // block).repeat(block) * math.sqrt(correlation)
            x = shared + noise.normal(size=rows) * math.sqrt(1 - correlation)
            means_of_batches.append(x[epoch_order(rows, seed, 0, **options)[:batch].numpy()].mean())
        means[name] = np.var(means_of_batches) * batch
    for name, held in (("all", rows // block), ("blocks", blocks)):
        same_block = (block - 1) / (held * block - 1)
        assert means[name] == pytest.approx(1 + (batch - 1) * same_block * correlation, rel=0.1)


@pytest.mark.parametrize(
    ("block", "window", "message"),
    [(0, None, "at least 1 row; got 0"), (8, 12, "got 12 rows.*of 8")],
)
def test_blocks_and_windows_that_do_not_fit_are_refused(block, window, message):
    with pytest.raises(ValueError, match=message):
        epoch_order(100, 0, 0, block=block, window=window)
