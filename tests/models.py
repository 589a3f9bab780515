"""Models of every kind, with weights that are not what they started from, for tests of what leaves torch."""

import math
from typing import get_args, get_type_hints

import numpy as np
import torch
from torch import nn

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.config.choices import LikelihoodName
from variform.config.model import CODE_PRIORS
from variform.config.run import EvaluationConfig, RunConfig
from variform.distributions import DiagonalGaussian
from variform.evaluation import samplers
from variform.export.sampler_file import save_sampler
from variform.model.networks import ACTIVATIONS
from variform.runs.train import train_run

DIGITS = {
    "bernoulli": {"likelihood": "bernoulli"},
    "linear": {"hidden": ()},
    "deep": {"hidden": (24, 16, 8), "latent_dim": 1},
    **{name: {"activation": name} for name in ACTIVATIONS},
    "gated": {"gated": True},
    "layer norm": {"layer_norm": True, "hidden": (24, 16)},
    "gated layer norm": {"gated": True, "layer_norm": True},
    "dropout": {"dropout": 0.4},
    "full covariance": {"posterior": "full", "latent_dim": 4},
    "exp std": {"posterior": "diagonal", "posterior_std": "exp"},
    "full covariance, exp std": {"posterior": "full", "posterior_std": "exp"},
    "gaussian": {"likelihood": "gaussian"},
    "gaussian-identity": {"likelihood": "gaussian-identity"},
    "continuous-bernoulli": {"likelihood": "continuous-bernoulli"},
    "logistic": {"likelihood": "logistic"},
    "logistic-mixture": {"likelihood": "logistic-mixture", "likelihood_components": 3},
    "beta-binomial": {"likelihood": "beta-binomial"},
    "categorical": {"likelihood": "categorical"},
    "conv": {"network": "conv", "filters": (4, 6)},
    "conv gaussian": {"network": "conv", "filters": (4, 6), "likelihood": "gaussian"},
    "conv logistic": {"network": "conv", "filters": (4, 6), "likelihood": "logistic"},
    "conv categorical": {"network": "conv", "filters": (4,), "likelihood": "categorical"},
    "conv gated layer norm": {
        "network": "conv",
        "filters": (4, 6),
        "gated": True,
        "layer_norm": True,
    },
    "residual": {"network": "residual", "filters": (4, 6), "activation": "silu"},
    "residual gated": {"network": "residual", "filters": (4, 6), "gated": True},
    "residual layer norm": {"network": "residual", "filters": (4, 6), "layer_norm": True},
    "odd colours": {
        "data": "colours",
        "network": "residual",
        "filters": (3, 5, 7),
        "likelihood": "gaussian",
    },
    "bands": {"data": "bands", "likelihood": "gaussian"},
    "conv bands": {
        "data": "bands",
        "network": "conv",
        "filters": (4,),
        "likelihood": "gaussian-shared",
    },
    "conditional": {"data": "conditions"},
    "conditional conv": {"data": "conditions", "network": "conv", "filters": (4, 6)},
    "threshold": {"data": "threshold"},
    "counts": {"data": "counts", "likelihood": "poisson"},
    "overdispersed": {"data": "counts", "likelihood": "negative-binomial"},
    "inflated": {"data": "counts", "likelihood": "zero-inflated-negative-binomial"},
    "inflated poisson": {"data": "counts", "likelihood": "zero-inflated-poisson"},
    "units": {"data": "units", "likelihood": "gaussian"},
    "gaps": {"data": "gaps", "likelihood": "gaussian"},
    "outlines": {"data": "outlines", "likelihood": "gaussian-shared"},
    "mixed": {"data": "mixed", "likelihood": "mixed"},
    "laws": {"data": "laws", "likelihood": "mixed"},
    "mixed conditional": {"data": "mixed conditions", "likelihood": "mixed"},
}
NAMES = list(DIGITS)


def _kind_for(likelihood):
    """A kind of model with this likelihood, on data that it is for."""
    kinds = (kind for kind in NAMES if DIGITS[kind].get("likelihood") == likelihood)
    return next(kinds, "gaussian")


_CHOICES = get_type_hints(ModelConfig)
_FEW_CODES = {
    **{name: {"codes": 2, "values": 4} for name in ("categorical", "joint", "vq", "lfq")},
    "fsq": {"codes": 2, "levels": (3, 4)},
}
_OWN = _FEW_CODES | {"ladder": {"latents": (1, 1), "latent_dim": None}}


def _with_prior(name):
    """Options of a model with this prior: one over codes has codes."""
    if name not in CODE_PRIORS:
        return {"prior": name}
    return {"prior": name, "posterior": "categorical", **_FEW_CODES["categorical"]}


EVERY = {
    **{name: (_kind_for(name), {"likelihood": name}) for name in get_args(LikelihoodName)},
    **{f"prior {name}": ("conditional", _with_prior(name)) for name in get_args(_CHOICES["prior"])},
    **{
        f"posterior {name}": ("conditional", {"posterior": name, **_OWN.get(name, {})})
        for name in get_args(_CHOICES["posterior"])
    },
    **{name: (name, {}) for name in ("conv", "units", "gaps", "laws", "mixed conditional")},
    "semi-supervised": ("few labels", {"classifier": True}),
}
"""Every likelihood, prior and posterior that can be chosen, and models of special data: a kind, and what it changes."""


def every(name, folder, **changes):
    """The splits and the model of a name of `EVERY`."""
    kind, own = EVERY[name]
    splits = data_of(kind, folder)
    return splits, model_of(kind, splits, **(own | changes))


def data_of(name, folder):
    """The splits that a kind of model is for; files are written into `folder`."""
    kind = DIGITS.get(name, {}).get("data", "digits")
    if name == "few labels":
        return read("digits", DataConfig(condition=("label",), labelled=50))
    generator = np.random.default_rng(0)
    if kind == "colours":
        return read(torch.from_numpy(generator.integers(0, 256, (200, 3, 7, 10)).astype(np.uint8)))
    if kind == "bands":  # channels in units of their own
        bands = generator.normal([[[2e3]], [[10]], [[-0.5]], [[0]]], 1, (200, 4, 10, 9))
        return read(bands, DataConfig(shape=(4, 10, 9)))
    if kind == "counts":
        rows = torch.from_numpy(generator.poisson([0.5, 3.0, 40.0], (200, 3))).double()
        return read(rows, config=DataConfig(scaling="none"))
    if kind == "units":  # a year with a small spread, and a large and a small unit
        return read(
            torch.from_numpy(generator.normal([2000, 1e7, 1e-6], [0.1, 1e5, 1e-6], (200, 3)))
        )
    if kind == "gaps":
        values = generator.normal(5, 2, (200, 4))
        return read(
            torch.from_numpy(np.where(values > 8, np.nan, values)), config=DataConfig(cells="gaps")
        )
    if kind == "outlines":  # ellipses
        angle = 0.2 + np.linspace(0, 2 * np.pi, 24)
        size = generator.uniform(1, 2, (200, 2, 1))
        points = [size[:, 0] * np.cos(angle), size[:, 1] * np.sin(angle)]
        names = [f"{axis}{number} [mm]" for axis in "xy" for number in range(1, 25)]
        return read(dict(zip(names, np.concatenate(points, 1).T, strict=True)))
    if kind == "laws":
        return read(laws_table(folder), DataConfig(cells="mixed", ordinals=("size=S<M<L",)))
    if kind.startswith("mixed"):
        return read(
            _table(folder, generator),
            DataConfig(cells="mixed", condition=("site",) if " " in kind else ()),
        )
    options = {"conditions": {"condition": ("label",)}, "threshold": {"binarise": "threshold"}}.get(
        kind, {}
    )
    return read("digits", DataConfig(**options))


def model_of(name, data, *, seed=1, **changes):
    """A model in double precision whose weights are drawn, so that nothing is left at 0 or 1."""
    options = {key: value for key, value in DIGITS.get(name, {}).items() if key != "data"}
    config = {"latent_dim": 3, "hidden": (24,), "likelihood": "bernoulli"} | options | changes
    vae = build_vae(
        ModelConfig(**config), data.schema, moments=data.train.moments(), seed=seed
    ).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in vae.parameters():
            weights += 0.1 * torch.randn(weights.shape, generator=generator)
    return vae.double()


def trained(vae, splits, **options):
    """The model after a training with these options of `TrainConfig`."""
    config = TrainConfig(**options)
    fit(build_objective(vae, config), splits.train, splits.valid, config)
    return vae


def _table(folder, generator):
    path = folder / "table.csv"
    lines = ["height,site,visits,smoker,wards,grade"]
    for _ in range(300):
        height = "" if generator.random() < 0.2 else f"{generator.normal(170, 9):.2f}"
        visits = "" if generator.random() < 0.1 else str(generator.negative_binomial(2, 0.1))
        site, smoker = generator.choice(["north", "south", "west"]), generator.integers(0, 2)
        lines.append(
            f"{height},{site},{visits},{smoker},{generator.integers(3, 9)},{generator.choice(['A', 'B'])}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def laws_table(folder, rows=400, seed=0):
    """A table with a column for each law of numbers with ends, levels, spikes and a rule."""
    random = np.random.default_rng(seed)
    flag = random.integers(0, 2, rows)
    stack = np.where(random.random(rows) < 0.6, 0.5656, random.normal(0.55, 0.05, rows))
    stack = np.where(random.random(rows) < 0.1, 0.6, stack)
    amount = np.where(random.random(rows) < 0.3, 0.0, random.lognormal(1, 1, rows))
    share = np.where(random.random(rows) < 0.1, 100.0, 100 * random.beta(0.7, 0.7, rows))
    width = np.where(flag == 1, random.lognormal(-1, 0.5, rows), 0.25)
    lines = ["flag,stack,amount,share,rating,size,width,mass,height,depth"]
    for row in range(rows):
        height = "" if random.random() < 0.1 else f"{random.normal(170, 9):.2f}"
        lines.append(
            f"{flag[row]},{stack[row]:.6g},{amount[row]:.6g},{share[row]:.6g},{1 + random.binomial(4, 0.6)},"
            f"{random.choice(['S', 'M', 'L'])},{width[row]:.6g},{random.lognormal(3, 0.8):.6g},{height},"
            + ("" if flag[row] else f"{random.normal(5, 1):.4f}")
        )
    path = folder / "laws.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class Narrowed(nn.Module):
    """A posterior family whose standard deviation is `factor` times that of another, as after a training gone wrong."""

    def __init__(self, inner, factor):
        super().__init__()
        self.inner, self.factor, self.latent_dim = inner, factor, inner.latent_dim

    def forward(self, params):
        q = self.inner(params)
        return DiagonalGaussian(q.loc, q.log_var + 2 * math.log(self.factor))


def narrowed(vae, factor, call):
    inner = vae.posterior
    try:
        vae.posterior = Narrowed(inner, factor)
        return call(vae)
    finally:
        vae.posterior = inner


def run_with_sampler(folder, steps):
    """A small finished run of digits, without pictures, that has an average of its weights and a mixture over z."""
    model, few = (
        ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(4,)),
        EvaluationConfig(nll_samples=2),
    )
    config = RunConfig(
        source="digits", model=model, train=TrainConfig(steps=steps, ema=0.5), evaluation=few
    )
    run = train_run(config, folder, pictures=False)
    fitted = samplers.fit_mixture(run.vae, run.data().train, components=(2,))
    save_sampler(fitted, run.vae, folder / "sampler-gmm.safetensors")
    return folder
