"""Pictures or a table, told by the values and never by their type; and what float32 must not take from them."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import linalg, stats
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.data.reading import read, read_rows, rows_like
from variform.evaluation import exploration
from variform.evaluation.imputation import impute
from variform.export.handover import hand_over
from variform.export.rows import write_table
from variform.model.build import build_vae

NOISE = np.random.default_rng(7)
ANSWERS = np.clip(NOISE.normal(2.5, 1.5, (300, 1)) + NOISE.normal(size=(300, 6)), 0, 5).round()
DIGITS = load_digits().images
SEASONS = np.sin(np.arange(300) / 20)[:, None] + NOISE.normal(size=(300, 12)) / 9
WEATHER = np.stack([101_325 + 900 * SEASONS, 288 + 9 * SEASONS[:, ::-1]], 2)  # Pa and K
TYPES = [np.uint8, np.int16, np.int64, np.float32, np.float64, ">i4"]


def everything(splits):
    """All prepared rows, in the order of the source."""
    parts = (splits.train, splits.valid, splits.test)
    rows = torch.cat([part.prepared() for part in parts])
    return rows[torch.cat([part.index for part in parts]).argsort()].numpy()


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(
    ("values", "options"),
    [
        (ANSWERS, {}),
        (ANSWERS > 2, {}),
        (ANSWERS, {"cells": "mixed"}),
        (ANSWERS.reshape(300, 2, 3), {}),
        (DIGITS[:300], {}),
        (DIGITS[:300].reshape(300, 64), {}),
        (DIGITS[:300].reshape(300, 64) * 15, {"shape": (8, 8)}),
        (DIGITS[:300, None] * 15, {}),
    ],
    ids=["answers", "yes or no", "mixed", "axes", "digits", "flat", "flat pictures", "channels"],
)
def test_the_type_in_which_values_are_stored_says_nothing(values, options, dtype):
    config = DataConfig(**options)
    one, other = (read(values.astype(kind), config=config) for kind in (np.int64, dtype))
    assert (one.schema, one.fingerprint, one.duplicates) == (
        other.schema,
        other.fingerprint,
        other.duplicates,
    )
    assert torch.equal(one.test.index, other.test.index)
    assert one.notes == other.notes
    np.testing.assert_array_equal(everything(one), everything(other))


def test_a_table_of_bytes_is_standardised_by_column():
    splits = read(ANSWERS.astype(np.uint8))
    train = ANSWERS[splits.train.index]
    known = StandardScaler().fit(train)
    np.testing.assert_allclose(splits.train.prepared(), known.transform(train), atol=1e-6)
    assert splits.schema.levels is None


PICTURES = {
    "bytes": NOISE.integers(0, 256, (90, 28, 28)),
    "small bytes": NOISE.integers(0, 256, (90, 5, 4)),
    "grey levels in [0, 1]": NOISE.random((90, 28, 28)),
    "zeros and ones": NOISE.random((90, 28, 28)) < 0.3,
    "digits": DIGITS[:90],
    "16 bits": DIGITS[:90] * 4000,
    "normalised": (DIGITS[:90] / 16 - 0.31) / 0.38,
    "a field": 273 + np.cumsum(np.cumsum(NOISE.normal(size=(90, 16, 24)), 1), 2),
    "channels first": NOISE.normal(size=(90, 3, 4, 5)),
    "channels last": NOISE.normal(size=(90, 4, 5, 3)),
}
TABLES = {
    "pressure and temperature": WEATHER,
    "many sensors": np.concatenate([WEATHER] * 4, 2),
    "sensors of one range": NOISE.normal(size=(90, 24, 9)),
    "two groups": np.repeat(WEATHER, 5, 2),
    "points of a curve": np.cumsum(NOISE.normal(size=(90, 30, 2)), 1),
    "answers, asked again": ANSWERS.reshape(300, 2, 3),
    "vital signs": NOISE.normal([80, 97, 37, 120, 75, 16, 99, 5], 2, (90, 24, 8)).round(),
    "three sensors, by day and hour": np.stack(
        [WEATHER[..., 0], WEATHER[..., 1], 0 * WEATHER[..., 0] + NOISE.random((300, 12))], 2
    ).reshape(300, 3, 4, 3),
    "one sensor": NOISE.normal(size=(90, 12, 1)),
}


@pytest.mark.parametrize("name", [*PICTURES, *TABLES])
def test_three_axes_are_pictures_only_where_they_look_so_and_a_shape_overrules(name):
    values = (PICTURES | TABLES)[name]
    schema = read(values).schema
    assert schema.kind == ("image" if name in PICTURES else "table")
    axes = values.shape[1:]
    flat = read(values, config=DataConfig(shape=(int(np.prod(axes)),)))
    assert flat.schema.kind == "table" and len(flat.schema.scale) == np.prod(axes)
    if len(axes) == 2:
        assert read(values, config=DataConfig(shape=axes)).schema.kind == "image"


def test_sensors_of_different_units_have_a_scale_each_and_are_told_apart():
    splits = read(WEATHER)
    assert splits.schema.columns[:3] == ("t1 s1", "t1 s2", "t2 s1")
    flat = WEATHER.reshape(300, 24)
    known = StandardScaler().fit(flat[splits.train.index])
    np.testing.assert_allclose(everything(splits), known.transform(flat), atol=1e-5)
    (note,) = [note for note in splits.notes if "12 x 2" in note]
    assert "table of 24 columns, t1 s1 to t12 s2" in note and "`shape=[12, 2]`" in note
    told = read(WEATHER, config=DataConfig(shape=(24,))).notes
    assert not any("12 x 2" in note for note in told)
    for form in (WEATHER, flat):  # of the same table
        np.testing.assert_array_equal(
            rows_like(form[:5], splits.schema).prepared(), everything(splits)[:5]
        )


def test_pictures_that_were_guessed_are_said_to_be_and_flat_ones_show_the_way():
    (note,) = [note for note in read(DIGITS).notes if "grey pictures" in note]
    assert "8 x 8" in note and "`shape=[64]`" in note
    (note,) = [note for note in read(DIGITS.reshape(-1, 64)).notes if "pixels" in note]
    assert "`shape=[8, 8]`" in note
    assert not any("pixels" in note for note in read(NOISE.normal(size=(90, 64))).notes)


@pytest.mark.parametrize("likelihood", ["bernoulli", "categorical"])
def test_likelihoods_of_pictures_show_the_way_for_flat_ones(likelihood):
    flat = DIGITS.reshape(-1, 64)
    config = ModelConfig(latent_dim=2, hidden=(8,), likelihood=likelihood)
    with pytest.raises(ValueError, match=r"or, if the columns are pixels, `shape=\[8, 8\]`"):
        build_vae(config, read(flat).schema)
    schema = read(flat, config=DataConfig(shape=(8, 8))).schema
    assert build_vae(config, schema).event_shape == (1, 8, 8)
    with pytest.raises(ValueError) as refusal:
        build_vae(config, read(flat[:, :60]).schema)
    assert "pixels, `shape" not in str(refusal.value)


# ---- values far from zero


def far(rows=400, offset=1.7e9):
    """Unix times, ten readings a second, and northings to the millimetre."""
    near = np.c_[np.arange(rows) / 10, NOISE.normal(0, 900, rows).round(3)]
    return near, near + np.array([offset, 5_500_000])


WAYS = ["array", "npy", "mapped", "csv"]


def read_as(way, values):
    if way == "array":
        return read(values)
    path = Path(tempfile.mkdtemp()) / ("a.csv" if way == "csv" else "a.npy")
    if way == "csv":
        path.write_text("a,b\n" + "".join(f"{x!r},{y!r}\n" for x, y in values.tolist()))
    else:
        np.save(path, values)
    return read(path, DataConfig(memory_map="on") if way == "mapped" else DataConfig())


@pytest.mark.parametrize("way", WAYS)
def test_values_far_from_zero_are_centred_before_they_are_rounded(way):
    near, values = far()
    splits = read_as(way, values)
    seen = everything(splits)
    assert seen.dtype == np.float32
    assert [len(np.unique(column)) for column in seen.T] == [
        len(np.unique(column)) for column in values.T
    ]
    known = StandardScaler().fit(near[splits.train.index])
    np.testing.assert_allclose(seen, known.transform(near), atol=1e-6)
    assert not any("one value" in note or "rounded" in note for note in splits.notes)
    raw = splits.test.gather(torch.arange(len(splits.test))).numpy()
    np.testing.assert_array_equal(raw, values[splits.test.index])


def test_a_shift_of_whole_numbers_in_float32_moves_nothing():
    """2^23 + k is a float32, but the mean of such numbers is none."""
    near = NOISE.integers(0, 9, (400, 2)).astype(np.float32)
    one, other = read(near), read(near + np.float32(2**23))
    assert other.train.raw.dtype == torch.float32
    known = StandardScaler().fit(near[other.train.index].astype(np.float64))
    np.testing.assert_allclose(everything(other), known.transform(near), atol=1e-6)
    assert one.schema.scale == pytest.approx(
        read(near, config=DataConfig()).schema.scale, rel=1e-12
    )


def test_duplicates_are_those_of_the_file():
    _, values = far()
    assert read(values[:, :1]).duplicates["within"] == 0  # as float32 nearly all are equal
    again = np.concatenate([values, values[:7]])
    splits = read(again)
    assert splits.duplicates["within"] == 7
    index = {name: set(getattr(splits, name).index.tolist()) for name in ("train", "valid", "test")}
    for row in range(7):  # and stay together
        assert any({row, 400 + row} <= rows for rows in index.values())


def test_a_split_is_the_same_for_values_and_for_what_float32_makes_of_them():
    values = NOISE.normal(size=(300, 3))
    one, other = read(values), read(values.astype(np.float32))
    assert torch.equal(one.test.index, other.test.index) and one.fingerprint != other.fingerprint


def test_a_shift_changes_no_exact_density():
    """Probabilistic PCA with all components is one Gaussian, whose density SciPy knows."""
    near, values = far()
    splits = read(values)
    seen = everything(splits).astype(np.float64)
    train, test = splits.train.index.numpy(), splits.test.index.numpy()
    law = stats.multivariate_normal(seen[train].mean(0), np.cov(seen[train].T, bias=True))
    found = law.logpdf(seen[test]) + splits.schema.log_jacobian
    known = stats.multivariate_normal(near[train].mean(0), np.cov(near[train].T, bias=True))
    np.testing.assert_allclose(found, known.logpdf(near[test]), atol=1e-5)


def made(values):
    path = Path(tempfile.mkdtemp()) / "a.npz"
    np.savez(path, x_train=values[:300], x_valid=values[300:350], x_test=values[350:])
    splits = read(path, DataConfig(cells="gaps"))
    torch.manual_seed(0)
    config = ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian-per-feature")
    return splits, build_vae(config, splits.schema)


def test_what_is_generated_far_from_zero_is_that_of_zero_and_the_shift(tmp_path):
    near, values = far()
    (_, vae), (other, moved) = made(near), made(values)
    moved.load_state_dict(vae.state_dict())
    shift = np.array([1.7e9, 5_500_000])
    rows = exploration.generate(moved, 50, draw=True)
    assert rows.dtype == np.float64 and len(np.unique(rows[:, 0])) == 50
    known = exploration.generate(vae, 50, draw=True).astype(np.float64) + shift
    np.testing.assert_allclose(rows, known, rtol=0, atol=2e-4)  # of float32 beside zero
    write_table(tmp_path / "rows.csv", rows, other.schema)
    back = read_rows(tmp_path / "rows.csv", other.schema).prepared()
    np.testing.assert_allclose(
        back, other.schema.prepare(torch.from_numpy(rows)).numpy(), atol=1e-7
    )


def test_gaps_far_from_zero_are_filled_to_the_second():
    near, values = far()
    (one, vae), (other, moved) = made(near), made(values)
    moved.load_state_dict(vae.state_dict())
    shift = np.array([1.7e9, 5_500_000])
    holed = np.where(NOISE.random((20, 2)) < 0.4, np.nan, near[:20])
    fills = [
        impute(model, rows_like(rows, splits.schema), samples=30).values
        for model, rows, splits in ((vae, holed, one), (moved, holed + shift, other))
    ]
    np.testing.assert_allclose(fills[1], fills[0] + shift, rtol=0, atol=1e-3)
    whole = ~np.isnan(holed)
    np.testing.assert_array_equal(fills[1][whole], (holed + shift)[whole])


@pytest.mark.parametrize("form", ["onnx", "numpy"])
def test_models_that_leave_torch_take_and_give_values_far_from_zero(form, tmp_path):
    _, values = far()
    splits, vae = made(values)
    hand_over(vae, form, tmp_path / "out")
    z = NOISE.normal(size=(9, 2)).astype(np.float32)
    wanted = exploration.decode(vae, z)
    means, _ = exploration.encode(vae, rows_like(values[:9], splits.schema))
    if form == "onnx":
        import onnxruntime

        decoder, encoder = (
            onnxruntime.InferenceSession(tmp_path / "out" / f"{part}.onnx")
            for part in ("decoder", "encoder")
        )
        (x,) = decoder.run(["x"], {"z": z})
        mean, _ = encoder.run(None, {"x": values[:9]})
    else:
        from variform.export import reader

        model = dict(np.load(tmp_path / "out" / "model.npz"))
        x = reader.decode(model, z)
        mean, _ = reader.encode(model, values[:9])
    np.testing.assert_allclose(x, wanted, rtol=0, atol=1e-3)
    np.testing.assert_allclose(mean, means, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
def test_no_unit_is_too_small_or_too_large(unit):
    values = NOISE.normal(3, 2, (200, 2))
    one, other = read(values), read(values * unit)
    assert other.schema.scale == pytest.approx(
        [unit * values[other.train.index, column].std() for column in (0, 1)], rel=1e-12
    )
    assert other.schema.kind == one.schema.kind and not any("one value" in n for n in other.notes)
    known = StandardScaler().fit(values[other.train.index])
    np.testing.assert_allclose(everything(other), known.transform(values), atol=1e-6)


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        (np.arange(90).astype("datetime64[D]"), lambda x: x.astype("datetime64[s]").astype(float)),
        (np.arange(90).astype("timedelta64[m]"), lambda x: x / np.timedelta64(1, "s")),
        (np.exp(1j * np.arange(90.0)), lambda x: np.concatenate([x.real, x.imag], -1)),
    ],
    ids=["dates", "durations", "complex numbers"],
)
def test_other_types_are_refused_with_a_way_out_that_works(values, remedy):
    values = values[:, None]
    with pytest.raises(ValueError, match=r"must hold numbers; its type is .* Save "):
        read(values)
    assert read(remedy(values)).schema.kind == "table"


# ---- columns that hold one value


def test_constant_columns_stay_with_scale_1_as_in_scikit_learn_and_all_are_named():
    values = NOISE.normal(3, 2, (200, 5))
    values[:, [1, 3]] = [1e9 + 1 / 3, 0]
    splits = read(values)
    known = StandardScaler().fit(values[splits.train.index])
    assert splits.schema.scale == pytest.approx(known.scale_)
    seen = everything(splits)
    assert (seen[:, [1, 3]] == 0).all()
    np.testing.assert_array_equal(
        splits.schema.restore(torch.from_numpy(seen))[:, [1, 3]], values[:, [1, 3]]
    )
    (note,) = [note for note in splits.notes if "one value" in note]
    assert note.startswith("2 of 5 columns hold one value, 'column 2' (1e+09), 'column 4' (0),")
    for scaling in ("unit", "standard"):
        config = DataConfig(cells="gaps", scaling=scaling)
        assert any("2 of 5 columns" in note for note in read(values, config=config).notes)


def test_one_sentence_is_enough_for_a_thousand_constant_columns():
    values = np.zeros((90, 1200))
    values[:, ::6] = NOISE.normal(size=(90, 200))
    (note,) = [note for note in read(values).notes if "one value" in note]
    assert note.startswith("1,000 of 1,200 columns") and len(note) < 300


def test_a_column_that_varies_in_held_out_rows_alone_has_their_range_and_a_sentence():
    values = NOISE.normal(size=(200, 3))
    train = read(values).train.index
    held_out = np.setdiff1d(np.arange(200), train)
    own = np.c_[values, np.zeros(200)]
    own[held_out, 3] = np.arange(len(held_out)) % 5
    path = Path(tempfile.mkdtemp())
    for part, rows in (("train", train), ("test", held_out)):
        (path / part).mkdir()
        np.save(path / part / "a.npy", own[rows])
    splits = read(path)
    (note,) = [note for note in splits.notes if "one value" in note]
    assert "'column 4' (0), in every training row and others elsewhere" in note
    assert splits.schema.scale[3] == 4


def test_a_table_of_pixels_learns_more_than_the_trivial_model_where_it_is_told_the_shape(tmp_path):
    """What a reader of the note does: `shape`; PCA's exact density beside independent pixels."""
    pixels = DIGITS.reshape(-1, 64)
    head = ",".join(f"pixel{number}" for number in range(64))
    np.savetxt(tmp_path / "a.csv", pixels, "%d", ",", header=head, comments="")
    notes = read(tmp_path / "a.csv").notes
    assert any("`shape=[8, 8]`" in note for note in notes)
    assert any("3 of 64 columns hold one value, 'pixel0' (0)" in note for note in notes)
    splits = read(tmp_path / "a.csv", DataConfig(shape=(8, 8)))
    assert splits.schema.kind == "image" and splits.schema.levels == 17
    x = everything(splits).reshape(-1, 64)
    np.testing.assert_allclose(x, pixels / 16, atol=1e-7)
    spectrum = linalg.svdvals(x - x.mean(0)) ** 2
    assert spectrum[:8].sum() > 0.6 * spectrum.sum()
