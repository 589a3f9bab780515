"""Size factors: the mean of a row's counts is its size times what the decoder says."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from variform import (
    DataConfig,
    ModelConfig,
    TrainConfig,
    build_objective,
    build_vae,
    fit,
    read,
)
from variform.config.choices import COUNTED
from variform.config.model import require_effect
from variform.export.lowering import lower_decoder
from variform.export.model_file import load_vae, save


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def cells():
    """Counts of rows whose sizes differ tenfold, beside a column of the sizes; what z should find is a shape."""
    random = np.random.default_rng(0)
    shape = np.exp(random.normal(size=(400, 1)) * np.array([1.0, -1.0, 0.5, 0.0]))
    size = np.exp(random.uniform(1, 3.3, 400))
    counts = random.poisson(size[:, None] * shape / 4)
    return pd.DataFrame(
        {**{f"gene {gene}": counts[:, gene] for gene in range(4)}, "size": size.round(3)}
    )


def sized_plan(cells, name, **options):
    config = {"latent_dim": 1, "likelihood": name, "hidden": (16,), "size_factor": "size"}
    data = DataConfig(condition=("size",), scaling="none")
    splits = read(cells, data)
    vae = build_vae(ModelConfig(**config | options), splits.schema, moments=splits.train.moments())
    return splits, vae.eval()


@pytest.mark.parametrize("name", COUNTED)
def test_a_size_factor_multiplies_the_means_and_does_nothing_else(cells, name):
    """The law of SciPy with the mean of size 1 times the size, whatever z is."""
    splits, vae = sized_plan(cells, name)
    (condition,) = splits.schema.conditions
    sizes = np.array([1.0, 3.0, 27.5])
    context = condition.encode(sizes).double()
    z = torch.randn(1, 1).expand(3, 1)
    with torch.no_grad():
        law = vae.decode(z, context)
        of_one = law.mean[0].numpy()
        expected = of_one * sizes[:, None]
        np.testing.assert_allclose(law.mean.numpy(), expected, rtol=1e-4)
        counts = torch.tensor([[0.0, 1.0, 2.0, 30.0]])
        if name == "poisson":
            twin = stats.poisson(expected).logpmf(counts.numpy())
            np.testing.assert_allclose(law.log_prob(counts), twin.sum(1), rtol=1e-5)
        if name == "negative-binomial":
            r = vae.likelihood.log_dispersion.exp().numpy()
            twin = stats.nbinom(r, r / (r + expected)).logpmf(counts.numpy())
            np.testing.assert_allclose(law.log_prob(counts), twin.sum(1), rtol=1e-5)
        if name.startswith("zero"):
            torch.testing.assert_close(law.law.logits, law.law.logits[:1].expand(3, 4))


def test_rows_of_a_size_that_none_had_are_as_many_counts_larger(cells, tmp_path):
    """Trained on sizes from 3 to 27: at 100 the means are those of the rows over their size, times 100; 4 errors."""
    torch.set_default_dtype(torch.float32)
    splits, vae = sized_plan(cells, "poisson")
    config = TrainConfig(steps=500, batch_size=64, learning_rate=3e-3, compile="off")
    fit(build_objective(vae.float(), config), splits.train, splits.valid, config)
    vae.eval()
    (condition,) = splits.schema.conditions
    context = condition.encode(np.full(4000, 100.0))
    with torch.no_grad():
        found = vae.decode(vae.latent_prior().sample((4000,)), context).mean.mean(0).numpy()
    rows = splits.train.gather(torch.arange(len(splits.train))).numpy()
    size = splits.train.contexts[:, 0].numpy() * condition.scale + condition.shift
    each = 100 * rows / size[:, None]
    error = each.std(0) / np.sqrt(len(each))
    assert (abs(found - each.mean(0)) < 4 * error).all()
    save(vae, tmp_path / "sized.safetensors")
    again = load_vae(tmp_path / "sized.safetensors")
    x = splits.test.batch(torch.arange(5))
    assert torch.equal(vae.reconstruct(x, context[:5]), again.reconstruct(x, context[:5]))
    with pytest.raises(ValueError, match="no step for SizedDecoder"):
        lower_decoder(vae)


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (
            {"size_factor": "depth"},
            3.0,
            r"must be one of the conditions; got 'depth'.*Use `condition=",
        ),
        ({}, 0.0, "must be a number above 0 in every row; 'size' holds 0 among"),
    ],
)
def test_a_size_that_is_none_is_refused(cells, options, values, message):
    other = cells.copy()
    other.loc[:200, "size"] = values
    with pytest.raises(ValueError, match=message):
        sized_plan(other, "poisson", **options)


def test_a_size_factor_of_no_counts_is_refused():
    with pytest.raises(
        ValueError, match="`size_factor` must be left out with `likelihood='gaussian'`"
    ):
        require_effect(ModelConfig(likelihood="gaussian", size_factor="size"))
