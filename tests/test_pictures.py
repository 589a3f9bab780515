"""Pictures as people have them: deep, animated, transparent, of several sizes, split by hand, among junk."""

import base64
import csv
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from variform import DataConfig, read
from variform.data.reading import read_rows
from variform.data.sources.formats import read_source
from variform.evaluation import exploration
from variform.export.rows import image_files
from variform.faces import cli
from variform.runs.explorer import explorer_contents
from variform.runs.folder import open_run

NOISE = np.random.default_rng(7)
GREY = NOISE.integers(0, 256, (60, 6, 5), np.uint8)
DEEP = NOISE.integers(900, 1900, (60, 6, 5), np.uint16)  # what a camera of 12 bits gives


def encoded(values, kind="png", **options):
    buffer = io.BytesIO()
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def deep_png(values):
    """A PNG of 16 bits a channel, (H, W, C) with C from 1 to 4, written by hand: Pillow writes none in colour."""
    height, width, channels = values.shape
    rows = np.ascontiguousarray(values, ">u2").view(np.uint8).reshape(height, -1).astype(int)
    left = np.pad(rows, ((0, 0), (2 * channels, 0)))[:, : rows.shape[1]]
    above = np.pad(rows, ((1, 0), (0, 0)))[:-1]
    lines = []
    for number in range(height):  # all three ways in turn in which a line may stand
        way = number % 3
        line = rows[number] - [0, left[number], above[number]][way]
        lines.append(bytes([way]) + (line % 256).astype(np.uint8).tobytes())

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    content = zlib.compress(b"".join(lines))
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", content), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(*pages, order="<", subfiles=()):
    """A TIFF file of pages (H, W) or (H, W, C) of any type, written by hand."""
    content = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    for number, page in enumerate(pages):
        height, width = page.shape[:2]
        channels = page.shape[2] if page.ndim == 3 else 1
        pixels = np.ascontiguousarray(page, page.dtype.newbyteorder(order)).tobytes()
        tags = {
            254: ("I", [subfiles[number] if subfiles else 0]),
            256: ("I", [width]),
            257: ("I", [height]),
            258: ("H", [8 * page.dtype.itemsize] * channels),
            259: ("H", [1]),
            262: ("H", [1 if channels == 1 else 2]),
            277: ("H", [channels]),
            278: ("I", [height]),
            279: ("I", [len(pixels)]),
            339: ("H", [{"u": 1, "i": 2, "f": 3}[page.dtype.kind]] * channels),
        }
        start = len(content)
        here = start + 2 + 12 * (len(tags) + 1) + 4
        beyond = b""
        tags[273] = ("I", [0])
        entries = []
        for tag, (kind, values) in sorted(tags.items()):
            packed = struct.pack(f"{order}{len(values)}{kind}", *values)
            if len(packed) > 4:
                packed, beyond = struct.pack(order + "I", here + len(beyond)), beyond + packed
            entries.append([tag, kind, len(values), packed.ljust(4, b"\0")])
        for entry in entries:
            if entry[0] == 273:
                entry[3] = struct.pack(order + "I", here + len(beyond))
        content += struct.pack(order + "H", len(entries))
        for tag, kind, count, packed in entries:
            content += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], count) + packed
        after = here + len(beyond) + len(pixels)
        content += struct.pack(order + "I", after if number + 1 < len(pages) else 0)
        content += beyond + pixels
    return content


def write(folder, files):
    """Write {name: bytes} below `folder`; a name that ends in / is a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
    return folder


def noted(notes, *words):
    """Whether one of the notes holds all of the words."""
    return any(all(word in note for word in words) for note in notes)


# --- the numbers of the files -------------------------------------------------------------------------------------


FORMS = {
    "png of 16 bits": (DEEP, lambda x: encoded(x), "png"),
    "tiff of 16 bits": (DEEP, lambda x: encoded(x, "tiff"), "tif"),
    "packed tiff": (DEEP, lambda x: encoded(x, "tiff", compression="tiff_lzw"), "tif"),
    "tiff of the other order": (DEEP, lambda x: tiff(x, order=">"), "tif"),
    "signed tiff": (DEEP.astype(np.int16) - 1000, lambda x: tiff(x), "tif"),
    "float tiff": (NOISE.normal(size=(60, 6, 5)).astype(np.float32), lambda x: encoded(x, "tiff"), "tif"),
    "tiff of 32 bits": (DEEP.astype(np.int32) * 1000 - 9, lambda x: encoded(x, "tiff"), "tif"),
    "unsigned tiff of 32 bits": (DEEP.astype(np.uint32) << 21, lambda x: tiff(x), "tif"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_grey_numbers_are_those_of_the_files(tmp_path, form):
    values, written, suffix = FORMS[form]
    write(tmp_path / "x", {f"{n:02}.{suffix}": written(image) for n, image in enumerate(values)})
    source = read_source(tmp_path / "x")
    np.testing.assert_array_equal(source.values[:, 0], values)
    splits = read(tmp_path / "x")
    assert splits.schema.low == (float(np.float32(values.min())),)
    assert splits.schema.high == (float(np.float32(values.max())),)
    assert splits.schema.levels is None
    assert noted(splits.notes, "the values of the files are kept", f"{values.min():.7g}")


@pytest.mark.parametrize("kind", ["png", "tiff little", "tiff big"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_16_bits_keep_all_of_them(tmp_path, kind, channels):
    values = NOISE.integers(0, 65536, (3, 7, 5, channels), np.uint16)
    values[..., 3:] = 65535  # nothing is transparent
    writers = {
        "png": (deep_png, "png"),
        "tiff little": (tiff, "tif"),
        "tiff big": (lambda x: tiff(x, order=">"), "tif"),
    }
    written, suffix = writers[kind]
    write(tmp_path, {f"{n}.{suffix}": written(image) for n, image in enumerate(values)})
    source = read_source(tmp_path)
    np.testing.assert_array_equal(source.values, np.moveaxis(values[..., :3], 3, 1))
    assert not noted(source.notes, "transparent")
    grey = read_source(tmp_path, DataConfig(channels="grey")).values[:, 0]
    luma = values[..., :3] @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey, luma, atol=0.8)  # whole numbers, weights of 16 bits


def test_alpha_of_16_bits_is_put_on_white_black_or_ignored(tmp_path):
    values = NOISE.integers(0, 65536, (5, 4, 2), np.uint16)
    write(tmp_path, {"a.png": deep_png(values)})
    grey, opacity = values[..., 0], values[..., 1] / 65535
    on = {
        "white": grey * opacity + 65535 * (1 - opacity),
        "black": grey * opacity,
        "ignore": grey,
    }
    for alpha, expected in on.items():
        source = read_source(tmp_path, DataConfig(background=alpha))
        np.testing.assert_allclose(source.values[0, 0], expected, atol=0.51)
        assert noted(source.notes, "transparent in places: 1, as 'a.png'", "`background=")


def test_deep_images_are_resized_as_pillow_resizes_floats_and_stay_in_their_range(tmp_path):
    write(tmp_path, {f"{n}.png": encoded(image) for n, image in enumerate(DEEP[:3])})
    values = read_source(tmp_path, DataConfig(image_size=(3, 4))).values[:, 0]
    for image, value in zip(DEEP, values, strict=False):
        resized = Image.fromarray(image.astype(np.float32)).resize((4, 3), Image.Resampling.BICUBIC)
        expected = np.rint(np.asarray(resized).clip(image.min(), image.max()))
        np.testing.assert_array_equal(value, expected)


def test_a_deep_image_lies_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    write(tmp_path, {"a.png": encoded(DEEP[0], exif=exif)})
    np.testing.assert_array_equal(read_source(tmp_path).values[0, 0], np.rot90(DEEP[0], -1))


def test_dark_images_of_16_bits_have_the_levels_that_are_there(tmp_path):
    dark = NOISE.integers(0, 31, (60, 6, 5), np.uint16)  # 12 bits of which few are lit
    schema = read(write(tmp_path, {f"{n}.png": encoded(x) for n, x in enumerate(dark)})).schema
    assert schema.grey_range == (0, 30)
    assert schema.scale == (30,)


def test_depths_are_not_mixed(tmp_path):
    files = {f"a{n}.png": encoded(image) for n, image in enumerate(GREY[:3])}
    files |= {f"b{n}.png": encoded(image) for n, image in enumerate(DEEP[:2])}
    with pytest.raises(
        ValueError, match=r"has 3 8-bit ones, as 'a0.png' and 2 16-bit ones, as 'b0"
    ):
        read(write(tmp_path / "x", files))
    deep = write(tmp_path / "deep", {f"{n}.png": encoded(image) for n, image in enumerate(DEEP)})
    flat = write(tmp_path / "flat", {"0.png": encoded(GREY[0])})
    with pytest.raises(ValueError, match="flat has 8-bit images"):
        read_rows(flat, read(deep).schema)
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        read_rows(
            deep, read(write(flat, {f"{n}.png": encoded(x) for n, x in enumerate(GREY)})).schema
        )


def test_what_pillow_cannot_read_has_a_way_out(tmp_path):
    write(tmp_path, {"a.tif": tiff(NOISE.normal(size=(4, 5)))})  # of 64 bits
    with pytest.raises(ValueError, match=r"a\.tif must be an image; .* as one \.npy array"):
        read(tmp_path)


PALETTE = Image.fromarray(np.arange(30, dtype=np.uint8).reshape(6, 5))
PALETTE.putpalette([value for n in range(30) for value in (8 * n, 255 - 8 * n, 3 * n)])
MODES = {
    "1": Image.fromarray(GREY[0] > 99),
    "L": Image.fromarray(GREY[0]),
    "LA": Image.fromarray(np.stack([GREY[0], GREY[1]], 2)),
    "P": PALETTE,
    "RGB": Image.fromarray(np.stack(list(GREY[:3]), 2)),
    "RGBA": Image.fromarray(np.stack(list(GREY[:4]), 2)),
}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_modes_of_8_bits_are_as_pillow_shows_them(tmp_path, mode):
    image = MODES[mode]
    write(tmp_path, {"a.png": encoded(image)})
    source = read_source(tmp_path)
    white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    shown = np.asarray(white.convert("L" if mode in ("1", "L", "LA") else "RGB"))
    np.testing.assert_array_equal(source.values[0], shown.reshape(6, 5, -1).transpose(2, 0, 1))
    assert noted(source.notes, "transparent") == mode.endswith("A")
    if mode == "RGBA":
        bare = read_source(tmp_path, DataConfig(background="ignore")).values[0]
        np.testing.assert_array_equal(bare, GREY[:3])


def test_cmyk_and_a_mix_of_colours_are_said(tmp_path):
    printed = MODES["RGB"].convert("CMYK")
    write(tmp_path, {"a.tif": encoded(printed, "tiff"), "b.tif": encoded(GREY[0], "tiff")})
    source = read_source(tmp_path)
    expected = np.asarray(printed.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(source.values[0], expected)
    assert noted(source.notes, "CMYK: 1, as 'a.tif'")
    assert noted(source.notes, "in colour: 1 of 2", "`channels='grey'`")


# --- files of several images --------------------------------------------------------------------------------------


def stack(images, kind="tiff", **options):
    first, *others = map(Image.fromarray, images)
    return encoded(first, kind, save_all=True, append_images=others, **options)


@pytest.mark.parametrize(
    ("name", "images", "options"),
    [
        ("a.tif", GREY[:9], {}),
        ("a.tif", DEEP[:9], {}),
        ("a.png", GREY[:9], {}),
        ("a.gif", GREY[:9], {}),
        ("a.webp", GREY[:9], {"lossless": True}),
    ],
    ids=["tiff", "tiff of 16 bits", "apng", "gif", "webp"],
)
def test_every_frame_is_a_row_with_its_name(tmp_path, name, images, options):
    kind = {"tif": "tiff"}.get(name[2:], name[2:])
    alone = encoded(images[8] // 2, kind, **options)
    write(tmp_path, {name: stack(images, kind, **options), "b" + name[1:]: alone})
    source = read_source(tmp_path)
    np.testing.assert_array_equal(source.values[:9, 0], images)
    names = [f"{name}, frame {n}" for n in range(1, 10)] + ["b" + name[1:]]
    assert source.names.tolist() == names
    assert source.families.tolist() == [name] * 9 + [""]
    assert noted(source.notes, f"several images: 1, as '{name}' of 9 frames", "`frames='first'`")
    first = read_source(tmp_path, DataConfig(frames="first"))
    np.testing.assert_array_equal(first.values[:1, 0], images[:1])
    assert first.names.tolist() == [name, "b" + name[1:]]
    assert noted(first.notes, "first image alone is read", name)
    alone = read_source(tmp_path / name)
    assert alone.names.tolist() == names[:9] and len(alone.values) == 9


def test_thumbnails_and_masks_of_a_tiff_file_are_no_frames(tmp_path):
    small = GREY[0, ::2, ::2]
    write(tmp_path, {"a.tif": tiff(GREY[0], small, GREY[1], GREY[2], subfiles=(0, 1, 4, 0))})
    source = read_source(tmp_path)
    np.testing.assert_array_equal(source.values[:, 0], GREY[[0, 2]])
    assert source.names.tolist() == ["a.tif, frame 1", "a.tif, frame 4"]


def test_a_stack_that_is_cut_short_is_refused_and_pillow_says_nothing_beside(tmp_path):
    whole = stack(GREY[:30])
    write(tmp_path, {"a.tif": whole[: len(whole) // 2]})
    with pytest.raises(
        ValueError, match=r"a\.tif must be an image"
    ):  # a warning would be another error
        read_source(tmp_path)


def test_a_camera_s_thumbnail_is_no_frame(tmp_path):
    images = [Image.fromarray(image) for image in (GREY[0], GREY[1])]
    write(tmp_path, {"a.jpg": encoded(images[0], "mpo", save_all=True, append_images=images[1:])})
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "MPO" and image.n_frames == 2
    assert read_source(tmp_path).names.tolist() == ["a.jpg"]


def test_frames_of_a_file_are_in_one_split_where_there_are_files_enough(tmp_path):
    images = NOISE.integers(0, 256, (240, 6, 5), np.uint8)
    files = {f"{n:02}.tif": stack(images[4 * n : 4 * n + 4]) for n in range(60)}
    splits = read(write(tmp_path / "many", files))
    parts = [
        {name.split(",")[0] for name in part.names}
        for part in (splits.train, splits.valid, splits.test)
    ]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert noted(splits.notes, "frames of one file are in one split: 60 files", "`group='rows'`")
    assert noted(splits.notes, "split: by hash of each file")
    apart = read(tmp_path / "many", DataConfig(group="rows"))
    of_train = {name.split(",")[0] for name in apart.train.names}
    assert of_train & {name.split(",")[0] for name in apart.test.names}
    for part in (splits.train, splits.test):
        numbers = [4 * int(name[:2]) + int(name.split()[-1]) - 1 for name in part.names]
        np.testing.assert_array_equal(part.raw[:, 0], images[numbers])
    few = read(write(tmp_path / "few", {"a.tif": stack(images)}))
    assert len(few.train) + len(few.valid) + len(few.test) == 240
    assert noted(few.notes, "frames of one file are in several splits")


def test_equal_frames_of_two_splits_are_counted(tmp_path):
    images = NOISE.integers(0, 256, (200, 6, 5), np.uint8)
    images[::4] = 0  # every file begins with black
    files = {f"{n:02}.tif": stack(images[4 * n : 4 * n + 4]) for n in range(50)}
    splits = read(write(tmp_path / "x", files))
    held_out = [
        int((part.raw == 0).flatten(1).all(1).sum()) for part in (splits.valid, splits.test)
    ]
    assert noted(splits.notes, f"{sum(held_out)} rows of the test or validation set are equal")


# --- sizes --------------------------------------------------------------------------------------------------------


def test_mixed_sizes_are_refused_with_numbers_and_a_way_out(tmp_path):
    files = {f"a{n}.png": encoded(image) for n, image in enumerate(GREY[:7])}
    files |= {f"b{n}.png": encoded(image[:4]) for n, image in enumerate(GREY[:3])}
    files |= {f"c{n}.png": encoded(image[:n, :2]) for n, image in enumerate(GREY[:5]) if n}
    with pytest.raises(ValueError) as caught:
        read(write(tmp_path / "x", files))
    message = str(caught.value)
    assert "of the 14 of x, 7 are 6 high and 5 wide, as 'a0.png'; 3 are 4 high and 5" in message
    assert "3 are of 3 other sizes" in message and "`image_size=[6, 5]`" in message
    source = read_source(tmp_path / "x", DataConfig(image_size=(6, 5)))
    assert noted(source.notes, "proportions change", "7 of 14", "'b0.png', 4 high and 5 wide")


def test_a_lying_photo_is_of_the_size_that_it_shows(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    files = {"a.jpg": encoded(GREY[0], "jpeg", exif=exif), "b.jpg": encoded(GREY[1].T, "jpeg")}
    files |= {f"{kind}.{kind}": encoded(GREY[0], kind, exif=exif) for kind in ("png", "tiff")}
    assert read_source(write(tmp_path, files)).values.shape == (4, 1, 5, 6)


# --- folders ------------------------------------------------------------------------------------------------------


def images(prefix, count, start=0):
    return {f"{prefix}{n:02}.png": encoded(GREY[start + n]) for n in range(count)}


JUNK = {
    "what a Mac adds": {"__MACOSX/train/._00.png": b"\0\5\x16\7", "__MACOSX/._train": b"x"},
    "what a Mac adds, with images": images("__MACOSX/train/", 3, 50),
    "checkpoints of a notebook": images(".ipynb_checkpoints/", 2, 50),
    "thumbnails of a disk": images("@eaDir/", 2, 50),
    "drawings": {"drawings/readme.txt": b"see the plans", "drawings/a/b.dwg": b"AC10"},
    "an empty folder": {"new folder/": b""},
    "a file": {"readme.txt": b"x", ".DS_Store": b"x"},
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("names", ["train,test", "Training,TESTING", "train_images,Test Set"])
def test_an_own_split_is_taken_whatever_machines_add(tmp_path, junk, names):
    names = names.split(",")
    files = images(f"{names[0]}/", 40) | images(f"{names[1]}/", 20, 40)
    splits = read(write(tmp_path / "x", files | JUNK[junk]))
    assert {name.split("/")[0] for name in splits.test.names} == {names[1]}
    assert len(splits.test) == 20 and len(splits.train) + len(splits.valid) == 40
    assert splits.schema.classes == ()
    if junk != "a file":
        assert noted(splits.notes, "folders left out", next(iter(JUNK[junk])).split("/")[0])


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "val2017"])
def test_names_of_validation(tmp_path, name):
    files = images("train/", 30) | images(f"{name}/", 10, 30) | images("test/", 20, 40)
    splits = read(write(tmp_path, files))
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [30, 10, 20]


def test_a_third_folder_with_images_and_images_beside_are_left_out_and_said(tmp_path):
    files = images("train/", 30) | images("test/", 20, 30) | images("extra/", 5, 50)
    splits = read(write(tmp_path, files | images("cover", 1, 55)))
    assert len(splits.test) == 20 and len(splits.train) + len(splits.valid) == 30
    assert noted(splits.notes, "beside the split's own folders", "folder extra", "cover00.png")


def test_labels_within_own_splits_and_junk_within_those(tmp_path):
    files = {}
    for part, start in (("train", 0), ("test", 40)):
        files |= images(f"{part}/cats/", 10, start) | images(f"{part}/dogs/", 10, start + 10)
    junk = {"train/__MACOSX/._a.png": b"x", "train/notes/a.txt": b"x"}
    junk |= {"train/.ipynb_checkpoints/a.png": b"x"}
    splits = read(write(tmp_path / "x", files | junk))
    assert splits.schema.classes == ("cats", "dogs") and len(splits.test) == 20
    assert noted(splits.notes, "labels are the names of the sub-folders: cats, dogs")
    for name, label in zip(splits.test.names, splits.test.labels, strict=True):
        assert name.split("/")[1] == splits.schema.classes[label]
    partly = images("train/", 40) | images("test/cats/", 10, 40) | images("test/dogs/", 10, 50)
    splits = read(write(tmp_path / "y", partly))
    assert not splits.schema.classes and noted(splits.notes, "not every split has them")


def test_a_split_within_the_only_folder_and_training_alone(tmp_path):
    inner = images("bolts/train/", 40) | images("bolts/test/", 20, 40)
    splits = read(write(tmp_path / "zip", inner | {"__MACOSX/bolts/._train": b"x"}))
    assert len(splits.test) == 20 and splits.test.names[0] == "bolts/test/00.png"
    alone = images("train/cats/", 30) | images("train/dogs/", 30, 30)
    splits = read(write(tmp_path / "alone", alone))
    assert splits.schema.classes == ("cats", "dogs")


def test_labels_that_are_called_like_parts_of_a_split_stay_labels(tmp_path):
    files = images("train/", 30) | images("bus/", 30, 30)  # two vehicles
    assert read(write(tmp_path / "a", files)).schema.classes == ("bus", "train")
    files = images("test/", 30) | images("control/", 30, 30)  # two groups of a study
    assert read(write(tmp_path / "b", files)).schema.classes == ("control", "test")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (images("val/", 9) | images("validation/", 9) | images("train/", 9), "val and validation are both for valid"),
        (images("val/", 9) | images("test/", 9), "train among them with data in it; it has test, val"),
        (images("test/", 9) | {"train/a.txt": b""}, "train holds none beside test"),
        (images("test/", 9) | {"train/": b""}, "train among them with data in it; it has test"),
    ],
)  # fmt: skip
def test_what_may_be_a_split_or_not_is_refused(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / "x", files))


def test_arrays_are_split_by_hand_among_junk_too(tmp_path):
    buffers = []
    for rows in (NOISE.normal(size=(40, 3)), NOISE.normal(size=(20, 3))):
        buffer = io.BytesIO()
        np.save(buffer, rows)
        buffers.append(buffer.getvalue())
    files = {"Train/a.npy": buffers[0], "test/a.npy": buffers[1], "docs/a.txt": b"x"}
    splits = read(write(tmp_path / "x", files | {"__MACOSX/Train/._a.npy": b"x"}))
    assert len(splits.test) == 20 and noted(splits.notes, "folders left out", "__MACOSX, docs")


# --- which row is which file --------------------------------------------------------------------------------------


def test_rows_keep_the_names_of_their_files_through_splits_and_choices(tmp_path):
    shades = {f"shot{n}.png": encoded(np.full((4, 4), 4 * n, np.uint8)) for n in range(1, 61)}
    splits = read(write(tmp_path / "shots", shades))
    assert noted(splits.notes, "shot10.png comes before shot2.png")
    for part in (splits.train, splits.valid, splits.test, splits.train.take(torch.tensor([5, 3]))):
        numbers = [int(name[4:-4]) for name in part.names]
        assert (part.raw[:, 0, 0, 0] == 4 * torch.tensor(numbers)).all()
    padded = {f"{n:02}.png": content for n, content in enumerate(shades.values())}
    assert not noted(read(write(tmp_path / "padded", padded)).notes, "order of their names")


def test_a_value_that_is_not_finite_is_said_with_the_name_of_its_file(tmp_path):
    bad = NOISE.normal(size=(3, 4, 4)).astype(np.float32)
    bad[1, 2, 1] = np.nan
    files = {f"{name}.tif": encoded(image, "tiff") for name, image in zip("abc", bad, strict=True)}
    with pytest.raises(ValueError, match=r"\(b\.tif, pixel 10\)"):
        read(write(tmp_path, files))


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """A run on 60 grey pictures, the grey of which is in their names."""
    place = tmp_path_factory.mktemp("shots")
    files = {f"shot{n}.png": encoded(np.full((4, 4), 4 * n, np.uint8)) for n in range(1, 61)}
    write(place / "shots", files)
    options = [
        "--likelihood",
        "gaussian-shared",
        "--latent-dim",
        "1",
        "--steps",
        "100",
        "--nll-samples",
        "5",
    ]
    assert cli.run(["train", str(place / "shots"), *options, "--out", str(place / "run")]) == 0
    return place


def test_encode_says_which_file_a_row_is_and_decode_takes_what_it_wrote(shots, tmp_path, capsys):
    assert cli.run(["encode", str(shots / "run"), "--out", str(tmp_path / "z.csv")]) == 0
    lines = list(csv.DictReader((tmp_path / "z.csv").read_text().splitlines()))
    assert list(lines[0]) == ["row", "split", "file", "z1"] and len(lines) == 60
    in_order = sorted(f"shot{n}.png" for n in range(1, 61))
    for line in lines[::13]:
        assert in_order[int(line["row"])] == line["file"]
        alone = tmp_path / f"{line['file']}.csv"
        shot = shots / "shots" / line["file"]
        assert cli.run(["encode", str(shots / "run"), str(shot), "--out", str(alone)]) == 0
        (row,) = csv.DictReader(alone.read_text().splitlines())
        assert row["file"] == line["file"] and "split" not in row
        assert float(row["z1"]) == pytest.approx(float(line["z1"]), rel=1e-4, abs=1e-5)
    decoded = tmp_path / "d.npy"
    points = str(tmp_path / "z.csv")
    assert cli.run(["decode", str(shots / "run"), points, "--out", str(decoded)]) == 0
    assert np.load(decoded).shape == (60, 1, 4, 4)


def test_reconstructions_have_the_names_of_their_files(shots, tmp_path):
    few = GREY[:5, :4, :4]
    files = {"a.png": encoded(few[0]), "a.gif": encoded(few[1], "gif"), "c.tif": stack(few[2:4])}
    write(tmp_path / "in", files)
    run, out = str(shots / "run"), tmp_path / "out"
    assert cli.run(["reconstruct", run, str(tmp_path / "in"), "--out", str(out)]) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["a.gif.png", "a.png", "c, frame 1.png", "c, frame 2.png"]
    assert (
        cli.run(["reconstruct", run, str(tmp_path / "in"), "--out", str(tmp_path / "x.npy")]) == 0
    )
    copies = np.load(tmp_path / "x.npy")  # in the order of the files: a.gif, a.png, the frames
    for name, copy in zip(names, copies, strict=True):
        shown = np.asarray(Image.open(out / name))
        np.testing.assert_allclose(shown, copy[0].clip(0, 255), atol=0.51)
    labelled = write(tmp_path / "labelled", {f"{d}/1.JPG": encoded(few[0], "jpeg") for d in "xy"})
    rows = read_rows(labelled, open_run(shots / "run").vae.schema)
    assert image_files(rows) == ["x/1.png", "y/1.png"]
    digits = read("digits").test
    numbers = [int(name[:4]) for name in image_files(digits)]
    assert numbers == digits.index.tolist()
    assert cli.run(["reconstruct", run, str(labelled), "--out", str(tmp_path / "l")]) == 0
    assert (tmp_path / "l" / "x" / "1.png").is_file() and (tmp_path / "l" / "y" / "1.png").is_file()


def test_the_worst_rows_of_the_report_are_named_and_those_of_its_scores(shots):
    run = open_run(shots / "run")
    test = run.data().test
    worst = run.evaluation["worst"]
    _, copies = exploration.reconstruct(run.vae, test)
    errors = np.sqrt(np.square(copies - test.raw.numpy()).mean((1, 2, 3)))
    order = np.argsort(-errors)[:10]
    assert [row["name"] for row in worst] == test.names[order].tolist()
    assert [row["row"] for row in worst] == test.index[torch.from_numpy(order)].tolist()
    figures = [row["reconstruction_error"] for row in worst]
    np.testing.assert_allclose(figures, errors[order], rtol=1e-4)
    report = (shots / "run" / "report.html").read_text()
    assert "The worst reconstructions" in report and worst[0]["name"] in report


def test_the_explorer_has_the_name_of_every_row(shots, tmp_path):
    run = open_run(shots / "run")
    contents = explorer_contents(run, run.data(), run.evaluation)
    rows = contents["rows"]
    means = np.frombuffer(base64.b64decode(rows["means"]), "<f4")
    shades = [int(name[4:-4]) for name in rows["names"]]
    assert len(shades) == rows["count"] == 60
    assert abs(np.corrcoef(means, shades)[0, 1]) > 0.9  # the one latent is the grey of the picture
    write(tmp_path / "in", {"c.tif": stack(GREY[:3, :4, :4])})
    other = explorer_contents(run, run.data(), run.evaluation, source=str(tmp_path / "in"))
    assert sorted(other["rows"]["names"]) == [f"c.tif, frame {n}" for n in (1, 2, 3)]
