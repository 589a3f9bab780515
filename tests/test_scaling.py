"""Scaling: one scale for all columns of a curve, chosen where it fits; densities and PCA are in the data's units."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from variform import ModelConfig, TrainConfig, build_vae
from variform.config.data import DataConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.data.reading import dataset_from, read
from variform.data.scaling import roughness
from variform.evaluation.baselines import evaluate_baselines, pca
from variform.runs.folder import open_run
from variform.runs.train import resume_run, train_run

NOISE = np.random.default_rng(0)
PLACES = np.linspace(0, 1, 40)
COMMON = DataConfig(scaling="common")


def curves(rows=300, places=PLACES):
    """Arcs of several heights and twists, with a little noise; both ends are fixed."""
    height, twist, ripple = NOISE.normal(size=(3, rows, 1))
    shape = (3 + height) * places * (1 - places) + 0.4 * twist * np.sin(2 * np.pi * places)
    shape = shape + 0.2 * ripple * np.sin(3 * np.pi * places)
    is_fixed = (places == 0) | (places == 1)
    return shape + np.where(is_fixed, 0, 0.01) * NOISE.normal(size=shape.shape) - 0.3


ARCS = curves()


def test_common_scaling_centres_each_column_and_divides_all_by_one_number():
    rows = NOISE.normal(5, [1, 2, 10], (400, 3))
    splits = read(rows, config=COMMON)
    train = splits.train.raw.double().numpy()
    spread = math.sqrt(np.mean(np.var(train, axis=0)))
    assert splits.schema.scale == pytest.approx([spread] * 3, rel=1e-12)
    assert splits.schema.shift == pytest.approx(train.mean(0), rel=1e-12)
    assert splits.schema.log_jacobian == pytest.approx(-3 * math.log(spread))
    expected = (train - train.mean(0)) / spread
    np.testing.assert_allclose(splits.train.prepared().numpy(), expected, atol=1e-5)


def test_common_scaling_takes_constant_columns_and_gaps_but_neither_images_nor_one_row():
    gaps = ARCS.copy()
    gaps[::3, 7] = np.nan
    splits = read(gaps, config=DataConfig(scaling="common", cells="gaps"))
    train = splits.train.raw.double().numpy()
    assert splits.schema.low[0] == splits.schema.high[0]
    spread = math.sqrt(np.mean(np.nanvar(train, axis=0)))
    assert splits.schema.scale[0] == pytest.approx(spread)
    with pytest.raises(ValueError, match=r"holds images\. Use `scaling='standard'`"):
        read("digits", COMMON)
    with pytest.raises(ValueError, match="some column must vary"):
        read(np.repeat(ARCS[:1], 99, 0), config=DataConfig(scaling="common", group="rows"))


def test_pca_beside_common_scaling_is_that_of_centred_columns_in_their_own_unit():
    splits = read(ARCS, config=COMMON)
    vae = build_vae(ModelConfig(latent_dim=2, likelihood="gaussian-shared"), splits.schema)
    numbers = pca(vae, splits.test, splits.train)
    train, test = (part.raw.double().numpy() for part in (splits.train, splits.test))
    known = PCA(2).fit(train)
    error = test - known.inverse_transform(known.transform(test))
    assert numbers["reconstruction_error"]["mean"] == pytest.approx(
        np.sqrt(np.mean(error**2)), rel=1e-4
    )
    baselines = evaluate_baselines(vae, splits.test, splits.train, None)
    assert "pca_own_units" not in baselines  # there is one metric only
    inner = ARCS[:, 1:-1]  # scikit-learn has no density where a column is constant
    splits = read(inner, config=COMMON)
    vae = build_vae(ModelConfig(latent_dim=2, likelihood="gaussian-shared"), splits.schema)
    known = PCA(2).fit(splits.train.raw.double().numpy())
    nll = pca(vae, splits.test, splits.train)["nll"]["mean"]
    rows = len(splits.train)  # scikit-learn divides by one less
    assert nll == pytest.approx(-known.score(splits.test.raw.double().numpy()), abs=50 / rows)


def pairs_of_coordinates():
    return np.stack([ARCS, -3 * ARCS**2], 2).reshape(len(ARCS), -1)  # x1, y1, x2, y2, ...


UNITS = 10.0 ** NOISE.uniform(-2, 2, 40)
CHOICES = {
    "a curve": (ARCS, "common"),
    "coordinates in turns": (pairs_of_coordinates(), "common"),
    "a curve with gaps": (np.where(NOISE.random(ARCS.shape) < 0.1, np.nan, ARCS), "common"),
    "a random walk": (NOISE.normal(size=(300, 100)).cumsum(1), "common"),
    "independent columns": (NOISE.normal(size=(300, 40)), "standard"),
    "a curve, each column in a unit of its own": ((ARCS * UNITS)[:, 1:-1], "standard"),
    "a curve in any order": (ARCS[:, 1 + NOISE.permutation(38)], "standard"),
    "one large column beside small ones": (
        np.c_[1e4 * NOISE.normal(size=300), ARCS[:, 1:-1]],
        "standard",
    ),
    "equal correlations of .5": (
        NOISE.normal(size=(300, 40)) + NOISE.normal(size=(300, 1)),
        "standard",
    ),
    "few columns": (ARCS[:, 1:8], "standard"),
    "in [0, 1] already": ((ARCS - ARCS.min()) / np.ptp(ARCS), "none"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_curves_and_coordinates_get_one_scale_unless_it_is_said_otherwise(name):
    rows, expected = np.float32(CHOICES[name][0]), CHOICES[name][1]
    cells = "gaps" if np.isnan(rows).any() else "numbers"
    splits = read(rows, config=DataConfig(cells=cells))
    assert splits.scaling == expected
    said = [note for note in splits.notes if "`scaling='standard'`" in note]
    assert len(said) == (expected == "common")
    fixed = int((np.nanmin(rows, 0) == np.nanmax(rows, 0)).sum())
    assert all(("constant" in note) == (fixed > 0) and str(fixed or "") in note for note in said)
    varies = [(low < high) for low, high in zip(splits.schema.low, splits.schema.high, strict=True)]
    if all(varies):
        asked = read(rows, config=DataConfig(cells=cells, scaling="standard"))
        assert asked.scaling == "standard" and not any("curve" in note for note in asked.notes)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"y{number}" for number in range(40)], "common"),
        ([f"{400 + 2.5 * number:g}" for number in range(40)], "common"),
        ([f"{'xy'[number % 2]}_{number // 2}" for number in range(40)], "common"),
        ([f"{chr(97 + number % 26)}{number}" for number in range(40)], "standard"),
    ],
)
def test_names_that_differ_in_numbers_are_those_of_a_curve(tmp_path, names, expected):
    values = ARCS if expected == "common" else ARCS[:, 1:-1]
    names = names[: values.shape[1]]
    lines = [",".join(names), *(",".join(map(repr, row)) for row in values.tolist())]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    assert read(tmp_path / "rows.csv").scaling == expected


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_roughness_of_an_autoregression_is_known(correlation):
    """Columns of variance 1 whose neighbours correlate by r differ by 2 (1 - r); those two apart by 2 (1 - r^2)."""
    noise, rows = NOISE.normal(size=(20_000, 30)), []
    for column in noise.T:
        before = rows[-1] if rows else column
        rows.append(
            correlation * before + math.sqrt(1 - correlation**2) * column if rows else column
        )
    found = roughness(dataset_from(torch.from_numpy(np.stack(rows, 1))))
    assert found == pytest.approx(2 * (1 - correlation), rel=0.03)


def test_a_run_of_before_is_read_as_it_was_trained_and_not_mixed_with_another_scaling(tmp_path):
    """Automatic scaling gave each column its own; config.toml says auto in both."""
    torch.set_default_dtype(torch.float32)
    np.save(tmp_path / "arcs.npy", ARCS[:, 1:-1])
    config = RunConfig(
        source=str(tmp_path / "arcs.npy"),
        data=DataConfig(scaling="standard"),
        model=ModelConfig(latent_dim=1, hidden=(4,), likelihood="gaussian-shared"),
        train=TrainConfig(steps=3),
        evaluation=EvaluationConfig(nll_samples=1),
    )
    run = train_run(config, tmp_path / "run", pictures=False)
    text = (tmp_path / "run" / "config.toml").read_text()
    (tmp_path / "run" / "config.toml").write_text(text.replace('"standard"', '"auto"'))
    assert open_run(tmp_path / "run").data().schema.scale == run.vae.schema.scale
    with pytest.raises(ValueError, match="checkpoint"):
        resume_run(tmp_path / "run", pictures=False)
