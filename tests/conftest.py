"""Tests run in double precision, so that a tolerance speaks of the formula and not of rounding."""

import gc
import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["LC_ALL"] = "C.UTF-8"  # reports are in the language of the system
# `make test` runs as many processes as there are processors: more threads than that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collectstart():
    """No look for garbage while modules are imported and tests collected, all of which stay: it takes half as long."""
    gc.disable()


def pytest_collection_modifyitems(items):
    """The longest tests first, so that no process waits at the end for another's."""
    gc.freeze()
    gc.enable()
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _double_precision():
    import torch  # here, for of several processes the first only hands out the tests

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def single_precision(_double_precision):
    """As users have it."""
    import torch

    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def trained_digits():
    """Black and white digits and a model of them, trained in single precision: healthy by every measure."""
    import torch

    from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, fit, read

    torch.set_default_dtype(torch.float32)
    splits = read("digits", DataConfig(binarise="threshold"))
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=10, hidden=(100,)),
        splits.schema,
        moments=splits.train.moments(),
    )
    config = TrainConfig(epochs=50, batch_size=128, learning_rate=3e-3)
    fit(build_objective(vae, config), splits.train, splits.valid, config)
    return vae, splits


@pytest.fixture(scope="module", params=["Chromium", "Firefox"])
def browser(request, tmp_path_factory):
    """Each of the browsers."""
    import browsers

    made = browsers.started(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    made.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """Chromium alone."""
    import browsers

    made = browsers.started("Chromium", tmp_path_factory.mktemp("alone"))
    yield made
    made.close()
