"""What a page holds compressed: its script, and a decoder that decodes what torch decodes; and how large it is."""

import json
import zlib

import models
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from browsers import Chromium
from pages import DIGITS, contents_of, json_of, unpacked
from sklearn.datasets import load_digits
from test_explorer import page_of

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.evaluation import exploration
from variform.pages.explorer.packing import as_text, packed

POINTS = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The path of a page of convolutional layers, and its model."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    folder = tmp_path_factory.mktemp("packed")
    data = models.data_of("conv", folder)
    vae = models.model_of("conv", data)
    page_of(vae, data).save(folder / "page.html")
    torch.set_default_dtype(before)
    return folder / "page.html", vae


@pytest.mark.parametrize("length", [*range(30), 106_500])
def test_text_holds_every_byte_and_nothing_that_html_reads(length):
    content = np.random.default_rng(length).bytes(length)
    if length < 1000:
        assert unpacked(as_text(content)) == content
        assert len(as_text(content)) == -(-16 * length // 13)
    text = packed(content, zlib.Z_HUFFMAN_ONLY)
    assert not set(text) - set(DIGITS) and len(text) < 16 / 13 * length + 100
    assert zlib.decompress(unpacked(text)) == content


def test_both_browsers_unpack_it(browser, page):
    path, vae = page
    browser.open(path)
    found = browser.run(
        f"variform.ready.then((app) => [...app.decoder.decode(new Float32Array({POINTS.ravel().tolist()}))])"
    )
    expected = exploration.decode(vae, POINTS).ravel()
    np.testing.assert_allclose(found, expected, atol=16 / 255)
    assert browser.errors == []


@pytest.mark.parametrize("name", ["script", "weights"])
def test_what_was_changed_on_its_way_is_told_and_not_run(browser, page, tmp_path, name):
    """A script of another hash, and weights whose checksum is wrong."""
    text = page[0].read_text(encoding="utf-8")
    place = text.index(f'id="{name}"') + 2000
    other = "a" if text[place] != "a" else "b"
    (tmp_path / "page.html").write_text(text[:place] + other + text[place + 1 :], encoding="utf-8")
    browser.open(tmp_path / "page.html", ready="variform.ready.catch(() => null)")
    words = browser.run("document.querySelector('[role=alert]').textContent")
    assert words.startswith("The explorer could not start")


def test_an_old_browser_is_told_which_ones_can(page, tmp_path):
    window = Chromium(tmp_path)
    window.page.add_init_script("delete globalThis.DecompressionStream")
    window.page.goto(page[0].as_uri())
    words = window.page.get_by_role("alert").inner_text()
    window.close()
    assert "too old to unpack it" in words and "Firefox 113" in words


def test_a_page_of_1797_images_of_28_by_28_is_under_a_megabyte_and_a_half():
    """All rows are on it, and what it decodes is within a grey level on the draws that its weights were judged by."""
    digits = torch.from_numpy(load_digits().images)[:, None] * (255 / 16)
    images = F.interpolate(digits, size=28, mode="bilinear").round()[:, 0].to(torch.uint8).numpy()
    data = read(images)
    config = ModelConfig(network="conv", latent_dim=10, likelihood="bernoulli")
    vae = build_vae(config, data.schema, seed=0)
    training = TrainConfig(epochs=4)
    fit(build_objective(vae, training), data.train, data.valid, training)
    assert sum(weights.numel() for weights in vae.decoder.parameters()) > 1_200_000
    page = page_of(vae, data, count=1797).html
    assert contents_of(page)["rows"]["count"] == 1797
    assert json.loads(json_of(page))["decoder"]["error"] < 1 / 255
    assert len(page) < 1.5e6
