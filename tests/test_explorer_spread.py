"""The standard deviation of p(x|z) on the page, when it is asked for: what is shown is that of the law."""

import models
import pytest
import torch
from test_explorer import DRAWN, page_of, see

TICK = "Standard deviation of p(x|z)"


def opened(browser, folder, name):
    """The page of a model, its model and its data; the page shows its map."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    splits = models.data_of(name, folder)
    vae = models.model_of(name, splits)
    page_of(vae, splits).save(folder / "page.html")
    torch.set_default_dtype(before)
    browser.open(folder / "page.html")
    see(browser, "map")
    return vae, splits


def deviations(browser, vae, splits):
    """Of the point that the page shows, in the data's own units."""
    z = torch.tensor([browser.run("variform.ready.then(({ state }) => [...state.z])")]).double()
    with torch.no_grad():
        law = vae.decode(z)
    return (law.stddev * splits.schema.per_value(splits.schema.scale))[0].numpy()


def test_a_table_has_its_deviations_behind_the_means(chromium, tmp_path):
    vae, splits = opened(chromium, tmp_path, "units")
    cells = (
        "[...document.querySelectorAll('.design td:nth-child(2)')].map((one) => one.textContent)"
    )
    assert not any("±" in words for words in chromium.run(cells))
    chromium.page.get_by_role("checkbox", name=TICK).check()
    chromium.run(DRAWN)
    shown = [
        float(words.split(" ± ")[1].replace(",", "").replace("\u2212", "-"))
        for words in chromium.run(cells)
    ]
    assert shown == pytest.approx(list(deviations(chromium, vae, splits)), rel=2e-2)
    fragment = chromium.run("variform.ready.then((app) => (app._writeAddress(), location.hash))")
    assert "spread=1" in fragment
    chromium.open(tmp_path / "page.html", fragment)
    assert chromium.page.get_by_role("checkbox", name=TICK).is_checked()
    assert chromium.errors == []


def test_an_image_has_a_picture_of_them_whose_white_is_the_most(chromium, tmp_path):
    vae, splits = opened(chromium, tmp_path, "gaussian")
    figure = chromium.page.get_by_role("img", name=f"{TICK} of every pixel")
    assert not figure.is_visible()
    chromium.page.get_by_role("checkbox", name=TICK).check()
    chromium.run(DRAWN)
    assert figure.is_visible()
    words = chromium.run(
        "[...document.querySelectorAll('.now figcaption span')].at(-1).textContent"
    )
    assert float(words.removeprefix("white: ")) == pytest.approx(
        deviations(chromium, vae, splits).max(), rel=2e-2
    )
    chromium.page.get_by_role("checkbox", name=TICK).uncheck()
    chromium.run(DRAWN)
    assert not figure.is_visible() and chromium.errors == []
