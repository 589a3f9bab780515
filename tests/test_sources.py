"""Sources that never end, promise what no memory holds, or say too much: refused or skipped, in a sentence."""

import gzip
import io
import os
import socket
import struct
import threading
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from variform import DataConfig, read
from variform.data.points import read_points
from variform.data.reading import read_rows
from variform.data.sources import text_tables
from variform.data.sources.formats import read_source
from variform.data.sources.tables import table_of
from variform.faces import cli
from variform.system import memory
from variform.system.files import expanded, special
from variform.system.sealing import read_sealed, write_sealed

DEVICES = [name for name in ("/dev/zero", "/dev/null", "/dev/tty") if special(name)]


def in_time(function):
    """What a function gives or raises, in a thread of its own: one that waits for good fails a test, not the suite."""
    outcome = []

    def run():
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(120)
    assert outcome, "it waits for good"
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


# --- what is no file ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["pipe", "socket", "device", "link to a device", "link to a pipe"])
def odd(request, tmp_path):
    """Makes what is neither file nor folder at a path."""
    opened = []

    def make(path):
        if request.param == "socket":
            opened.append(socket.socket(socket.AF_UNIX))
            here = os.getcwd()
            os.chdir(path.parent)  # the address of a socket must be short
            try:
                opened[-1].bind(path.name)
            finally:
                os.chdir(here)
        elif request.param == "pipe":
            os.mkfifo(path)
        elif "pipe" in request.param:
            os.mkfifo(path.with_suffix(".pipe"))
            path.symlink_to(path.with_suffix(".pipe"))
        else:
            path.symlink_to("/dev/zero")
        return path

    yield make
    for one in opened:
        one.close()


@pytest.mark.parametrize("name", ["x.csv", "x.npy", "x.npz", "x.idx", "x.png", "x.csv.gz", "x"])
def test_a_source_that_is_no_file_is_refused(odd, tmp_path, name):
    path = odd(tmp_path / name)
    for reader in (
        read_source,
        read,
        read_points,
    ):
        with pytest.raises(
            ValueError, match=r"must be a file.* is a (pipe|socket|device)\. Save what it gives"
        ):
            in_time(lambda reader=reader: reader(path))


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is a device"):
        in_time(lambda: read_source(name))


def test_what_is_no_file_among_images_is_skipped_and_said(odd, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((4, 5), 40 * number, np.uint8)).save(folder / f"{number}.png")
    odd(folder / "1a.png")
    source = in_time(lambda: read_source(folder))
    assert source.values[:, 0, 0, 0].tolist() == [0, 40, 80]
    assert any("skipped" in note and "1a.p" in note for note in source.notes)


def test_what_is_no_file_among_arrays_is_skipped_and_said(odd, tmp_path):
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "a.npy", np.arange(6.0).reshape(3, 2))
    odd(folder / "b.npy")
    source = in_time(lambda: read_source(folder))
    assert source.values.shape == (3, 2)
    assert any("skipped" in note and "b." in note for note in source.notes)


def test_links_that_go_round_in_circles_are_skipped_and_said(tmp_path):
    folder = tmp_path / "images"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / label / "0.png")
    (folder / "self").symlink_to(folder)
    (folder / "up").symlink_to("..")
    (folder / "a" / "back").symlink_to(folder)
    (folder / "a" / "here").symlink_to(".")
    source = in_time(lambda: read_source(folder))
    assert source.labels is not None and source.labels.tolist() == ["a", "b"]
    assert any("skipped because they are hidden or no images: 4" in note for note in source.notes)
    (folder / "a" / "1.png").symlink_to(folder / "a" / "1.png")  # to itself: an image is lost there
    with pytest.raises(ValueError, match=r"a/1\.png must be an image"):
        in_time(lambda: read_source(folder))


@pytest.mark.parametrize("name", ["~no-such-user/x.csv", "~no-such-user", "~no-such-user/a/b.npy"])
def test_a_home_that_nobody_has_does_not_exist(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="~no-such-user"):
        read_source(name)
    with pytest.raises(FileNotFoundError, match="~no-such-user"):
        table_of(name, DataConfig())
    assert cli.run(["train", name]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/x.csv") == tmp_path / "x.csv"


# --- what is promised ---------------------------------------------------------------------------------------------

PROMISED = 64 * 2**20  # bytes


def npy_header(shape, dtype="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def of_zeros(file, head, size):
    file.write(head)
    for _ in range(size // 2**16):
        file.write(bytes(2**16))


def write_npy(path, rows=PROMISED // 1024, size=PROMISED):
    with gzip.open(path, "wb") if path.suffix == ".gz" else open(path, "wb") as file:
        of_zeros(file, npy_header((rows, 1024)), size)


def write_npz(path):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as file,
    ):
        of_zeros(file, npy_header((PROMISED // 1024, 1024)), PROMISED)


def write_idx(path):
    with gzip.open(path, "wb") if path.suffix == ".gz" else open(path, "wb") as file:
        of_zeros(file, b"\0\0\x08\2" + struct.pack(">II", PROMISED // 1024, 1024), PROMISED)


def write_png(path, side=8192):
    """An image that promises `side` x `side` pixels and holds none."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b""))
    )


def write_images(path):
    path.mkdir()
    for number in range(16):
        Image.new("L", (2048, 1024)).save(path / f"{number}.png")


PROMISES = {
    "x.npy": write_npy,
    "x.npy.gz": write_npy,
    "x.npz": write_npz,
    "x.idx": write_idx,
    "x.idx.gz": write_idx,
    "x.png": write_png,
    "images": write_images,
}


@pytest.mark.parametrize("name", PROMISES)
def test_what_does_not_fit_in_memory_is_refused_before_any_of_it_is_taken(
    name, tmp_path, monkeypatch
):
    path = tmp_path / name
    PROMISES[name](path)
    monkeypatch.setattr(memory, "_LITTLE", 0)
    monkeypatch.setattr(memory, "available", lambda: 0.9 * PROMISED if name != "images" else 2**25)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="must fit in memory; it needs 0"):
            read_source(path)
        assert tracemalloc.get_traced_memory()[1] < PROMISED / 4
    finally:
        tracemalloc.stop()


def test_what_fits_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_LITTLE", 0)
    monkeypatch.setattr(memory, "available", lambda: 3 * PROMISED)
    write_npy(tmp_path / "x.npy.gz")
    assert read_source(tmp_path / "x.npy.gz").values.nbytes == PROMISED
    monkeypatch.setattr(memory, "available", lambda: 0)
    write_npy(tmp_path / "x.npy")
    assert (
        len(read_source(tmp_path / "x.npy", DataConfig(memory_map="on")).values) == PROMISED // 1024
    )  # stays on disk


@pytest.mark.parametrize("cells", ["numbers", "mixed"])
def test_a_table_that_grows_too_large_is_refused_on_the_way(cells, tmp_path, monkeypatch):
    with gzip.open(tmp_path / "x.csv.gz", "wt") as file:
        file.write("a,b\n" + "1,2\n" * 100_000)
    monkeypatch.setattr(memory, "_LITTLE", 0)
    monkeypatch.setattr(memory, "available", lambda: 1e6)
    with pytest.raises(ValueError, match=r"x\.csv\.gz must fit in memory"):
        read_source(tmp_path / "x.csv.gz", DataConfig(cells=cells))


def test_a_line_without_end_is_refused_before_it_is_read(tmp_path):
    with gzip.open(tmp_path / "x.csv.gz", "wb") as file:
        for _ in range(2 * text_tables._LONGEST_LINE // 2**20):
            file.write(b"1" * 2**20)
    with pytest.raises(ValueError, match=r"must have fewer than .* characters"):
        read_source(tmp_path / "x.csv.gz")


def test_a_header_that_promises_to_be_long_is_not_read(tmp_path):
    with gzip.open(tmp_path / "x.npy.gz", "wb") as file:
        file.write(b"\x93NUMPY\2\0" + struct.pack("<I", PROMISED))
        for _ in range(PROMISED // 2**16):
            file.write(b" " * 2**16)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="its header is not that of a NumPy array"):
            read_source(tmp_path / "x.npy.gz")
        assert tracemalloc.get_traced_memory()[1] < PROMISED / 4
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", ["x.npy.gz", "x.npy"])
def test_a_header_that_promises_less_than_follows_stops_there(pack, tmp_path):
    write_npy(tmp_path / pack, rows=3)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="promises 3072 bytes of values, it holds more"):
            read_source(tmp_path / pack)
        assert tracemalloc.get_traced_memory()[1] < PROMISED / 4
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "dtype"), [((10**18, 2), "|V0"), ((0, 10**30), "|u1"), ((-1, 2), "|u1")]
)
def test_shapes_that_no_array_has_are_damage(shape, dtype, tmp_path):
    (tmp_path / "x.npy").write_bytes(npy_header(shape, dtype))
    with pytest.raises(ValueError, match=r"x\.npy must be a whole file of its format"):
        read_source(tmp_path / "x.npy")


def test_an_image_that_pillow_takes_for_a_bomb_is_told_of_its_pixels(tmp_path):
    write_png(tmp_path / "x.png", side=60_000)
    with pytest.raises(ValueError, match=r"at most [\d,]+ pixels; .*/x\.png promises more"):
        read_source(tmp_path / "x.png")
    write_png(tmp_path / "y.png", side=10_000)  # of which Pillow only warns
    with pytest.raises(ValueError, match="must be an image"):
        read_source(tmp_path / "y.png")


def test_a_model_file_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    write_sealed(tmp_path / "model.safetensors", {}, {"a": torch.zeros(1000)})
    read_sealed(tmp_path / "model.safetensors")
    monkeypatch.setattr(memory, "_LITTLE", 0)
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(ValueError, match=r"model\.safetensors must fit in memory"):
        read_sealed(tmp_path / "model.safetensors")


# --- cells in messages --------------------------------------------------------------------------------------------

LONG = "oak\n\x1b[31m" + "x" * 5000  # with a line break and what a terminal takes for a colour


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_messages_quote_the_beginning_of_a_cell_on_one_line(tmp_path):
    """And of many categories the first."""
    cell, mixed = f'"{LONG}"', DataConfig(cells="mixed")
    plain = write(
        tmp_path / "plain.csv", "a,b", *(f"{number},{number % 3}.5" for number in range(30))
    )
    kinds = write(
        tmp_path / "kinds.csv",
        "a,b",
        *(f'{number},{cell[:-1]}{number % 15}"' for number in range(45)),
    )
    known = read(kinds, mixed).schema
    odd = write(tmp_path / "odd.csv", "a,b", *(f'{number},"{LONG}!"' for number in range(5)))
    named = write(tmp_path / "named.csv", f"{cell},{cell}", "1,2")
    for attempt in (
        lambda: read_source(write(tmp_path / "a.csv", "a,b", "1,2", f"3,{cell}")),
        lambda: read_source(write(tmp_path / "b.csv", "a,b", "1,2", "1,2", f"3,{cell}"), mixed),
        lambda: read_source(named),
        lambda: read_source(plain, DataConfig(label=LONG)),
        lambda: read_source(plain, DataConfig(cells="mixed", categories=(LONG,))),
        lambda: read_rows(odd, known),
        lambda: read_rows(plain, known),
    ):
        with pytest.raises(ValueError, match="must") as caught:
            attempt()
        message = str(caught.value)
        assert (
            len(message) < 1500
            and "\n" not in message
            and "\x1b" not in message
            and "oak" in message
        )


def test_categories_that_differ_only_far_from_their_beginning_stay_different(tmp_path):
    long = "x" * 3000
    path = write(
        tmp_path / "x.csv", "a,b", *(f"{number},{long}{number % 3}" for number in range(90))
    )
    splits = read(path, DataConfig(cells="mixed"))
    assert splits.schema.categories[1] == tuple(f"{long}{number}" for number in range(3))
    rows = read_rows(path, splits.schema)
    assert rows.raw[:, 1].tolist() == [number % 3 for number in range(90)]
