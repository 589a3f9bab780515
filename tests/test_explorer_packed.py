"""A page whose decoder is compressed decodes what torch decodes, and says where a browser cannot unpack it."""

import base64
import gzip
import json
import re

import models
import numpy as np
import pytest
import torch
from browsers import Chromium
from test_explorer import page_of

from variform import ModelConfig, build_vae, read
from variform.evaluation import exploration
from variform.pages.explorer import page as page_module
from variform.pages.explorer.payload import decoder_payload

POINTS = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The path of a page with compressed weights, and its model."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    folder = tmp_path_factory.mktemp("packed")
    data = models.data_of("conv", folder)
    vae = models.model_of("conv", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "_WORTH_IT", 0)
        page_of(vae, data).save(folder / "page.html")
    torch.set_default_dtype(before)
    return folder / "page.html", vae


def test_both_browsers_unpack_it(browser, packed):
    path, vae = packed
    browser.open(path)
    found = browser.run(
        f"variform.ready.then((app) => [...app.decoder.decode(new Float32Array({POINTS.ravel().tolist()}))])"
    )
    expected = exploration.decode(vae, POINTS).ravel()
    np.testing.assert_allclose(found, expected, atol=16 / 255)
    assert browser.errors == []


def test_what_is_packed_is_the_weights_byte_by_byte(packed):
    path, vae = packed
    text = path.read_text(encoding="utf-8")
    decoder = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])["decoder"]
    planes = np.frombuffer(gzip.decompress(base64.b64decode(decoder["packed"])), np.uint8)
    start = decoder["apart"]
    pairs = np.stack(np.split(planes[start:], 2), 1).ravel()
    weights = base64.b64decode(decoder_payload(vae)["weights"])
    assert np.concatenate([planes[:start], pairs]).tobytes() == weights
    assert "weights" not in decoder


def test_an_old_browser_is_told_which_ones_can(packed, tmp_path):
    window = Chromium(tmp_path)
    window.page.add_init_script("delete globalThis.DecompressionStream")
    window.page.goto(packed[0].as_uri())
    words = window.page.get_by_role("alert").inner_text()
    window.close()
    assert "too old to unpack the decoder" in words and "Firefox 113" in words


def test_a_page_of_images_of_28_by_28_is_under_a_megabyte_and_a_half():
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28)).astype(np.uint8)
    data = read(images)
    vae = build_vae(
        ModelConfig(network="conv", latent_dim=10, likelihood="bernoulli"), data.schema, seed=0
    )
    assert sum(weights.numel() for weights in vae.decoder.parameters()) > 1_200_000
    assert len(page_of(vae, data).html) < 1.5e6
