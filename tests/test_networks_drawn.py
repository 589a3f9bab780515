"""The drawing of a model's networks says what torch's modules are, and its words stay in their boxes."""

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from variform import DataConfig, ModelConfig, build_vae, read, save
from variform.config.choices import COUNTED, LikelihoodName
from variform.faces import cli
from variform.model.architecture import blocks_of
from variform.model.posteriors import DiagonalPosterior, FullCovariancePosterior
from variform.pages.architecture import WIDTH, plot_architecture

SVG = "{http://www.w3.org/2000/svg}"
LAYER = re.compile(r"(.*) → (.*?)(?:, ([\d,]+) weights?)?$")


class Heads(nn.Module):
    """Two heads behind a residual connection, a matrix without a module, and a layer that nothing uses."""

    def __init__(self, in_shape, out_shape):
        super().__init__()
        width = math.prod(in_shape)
        self.inner, self.idle = nn.Linear(width, 12), nn.Linear(2, 2)
        self.matrix = nn.Parameter(torch.zeros(12, 12))
        self.mean, self.spread = nn.Linear(12, out_shape[1]), nn.Linear(12, out_shape[1])

    def forward(self, x):
        h = torch.tanh(self.inner(x.flatten(1)))
        h = h + torch.relu(h @ self.matrix.T)
        return torch.stack([self.mean(h), self.spread(h)], 1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "a table with a long name of its own.csv"
    rows = ["a rather long name [mm],material,holes,mass"]
    rows += [f"{i / 7:.3f},{['oak', 'ash', 'elm'][i % 3]},{i % 9},{2 + i % 5}.5" for i in range(60)]
    path.write_text("\n".join(rows))
    return str(path)


CASES = {
    "mlp": ({"latent_dim": 2, "likelihood": "bernoulli", "posterior_std": "exp"}, {}, {}),
    "gates": ({"gated": True, "layer_norm": True, "dropout": 0.1, "hidden": (40, 20)}, {}, {}),
    "linear": ({"hidden": (), "prior": "mixture", "posterior": "full"}, {}, {}),
    "conv": ({"network": "conv", "filters": (4, 6), "likelihood": "gaussian"}, {}, {}),
    "residual": (
        {"network": "residual", "filters": (4, 6), "posterior": "iaf", "prior": "flow"},
        {},
        {},
    ),
    "conditional": ({"classifier": True, "prior": "vamp"}, {"condition": ("label",)}, {}),
    "conditional conv": ({"network": "conv", "filters": (4,)}, {"condition": ("label",)}, {}),
    "own": ({"likelihood": "gaussian-identity"}, {}, {"encoder": Heads}),
    "mixed": ({"latent_dim": 3}, {"cells": "mixed"}, {}),
}


def model(case, table):
    config, data, own = CASES[case]
    splits = read(table if case == "mixed" else "digits", DataConfig(**data))
    return build_vae(ModelConfig(**config), splits.schema, moments=splits.train.moments(), **own)


def shown_layers(svg):
    """The lines "64 → 16, 1,040 weights" of a drawing as (takes, gives, weights)."""
    texts = [one.text for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    found = [match.groups() for match in map(LAYER.match, texts) if match]
    return [
        (takes, gives, int((weights or "0").replace(",", ""))) for takes, gives, weights in found
    ]


@pytest.mark.parametrize("case", CASES)
def test_layers_and_weights_are_those_of_torchs_modules(case, table):
    vae = model(case, table)
    svg = plot_architecture(vae).svg
    layers = shown_layers(svg)
    numbers = [(one[0].split()[0], one[1].split()[0]) for one in layers if one[2]]
    networks = [vae.encoder, vae.decoder, *([vae.classifier] if vae.classifier else [])]
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    modules = [one for network in networks for one in network.modules() if isinstance(one, kinds)]
    wanted = [_sizes(one) for one in modules if one is not getattr(vae.encoder, "idle", None)]
    if case == "own":  # the matrix has no module
        wanted.insert(1, ("12", "12"))
    assert numbers == wanted
    words = " ".join(one.text for one in ElementTree.fromstring(svg).iter(f"{SVG}text"))
    for network in networks:
        assert f"{sum(one.numel() for one in network.parameters()):,} weights" in words
    own = sum(
        int(one.replace(",", "")) for one in re.findall(r"([\d,]+) weights? of its own", words)
    )
    idle = sum(map(int, re.findall(r"and (\d+) weights that do not act", words)))
    total = sum(one.numel() for one in vae.parameters())
    assert sum(one[2] for one in layers) + own + idle == total
    assert f": {total:,} weights" in words


def _sizes(module):
    if isinstance(module, nn.Linear):
        return str(module.in_features), str(module.out_features)
    return str(module.in_channels), str(module.out_channels)


def test_a_residual_connection_is_a_sum_of_what_it_passes_by():
    image, inner, product, total, *heads, stacked = blocks_of(Heads((1, 8, 8), (2, 3)), [(1, 8, 8)])
    assert image.then == ("flattened to 64",)
    assert (inner.name, inner.then, inner.weights) == ("Linear", ("tanh",), 65 * 12)
    assert (product.weights, product.sources, product.then) == (144, (1,), ("relu",))
    assert (total.name, total.sources) == ("sum", (1, 2))
    assert [head.sources for head in heads] == [(3,), (3,)]
    assert (stacked.sources, stacked.gives) == ((4, 5), (2, 3))


@pytest.mark.parametrize("name", LikelihoodName.__args__)
def test_every_likelihood_says_what_all_of_its_params_are(name, table):
    data = read(table, DataConfig(cells="mixed")) if name == "mixed" else read("digits")
    if name in COUNTED:
        data = read("digits", DataConfig(scaling="none"))
    likelihood = build_vae(ModelConfig(likelihood=name, latent_dim=2), data.schema).likelihood
    assert sum(likelihood.param_counts.values()) == math.prod(likelihood.params_shape)
    assert "parameters" not in likelihood.param_counts
    structures = ("bernoulli", "gaussian", "gaussian-identity")
    assert bool(likelihood.structure) == (name in structures)


def test_every_posterior_says_what_all_of_its_params_are():
    from variform.model.flows import IAFPosterior

    for family in (DiagonalPosterior(3), FullCovariancePosterior(3), IAFPosterior(3)):
        assert sum(family.param_counts.values()) == math.prod(family.params_shape)


def test_no_word_leaves_its_box_in_a_browser(chromium, table, tmp_path):
    """Each line lies in the box of its group; no two boxes and no heads and boxes lie over each other."""
    drawings = [plot_architecture(model(case, table)).svg for case in CASES]
    page = tmp_path / "page.html"
    page.write_text("<meta charset='utf-8'>" + "".join(drawings), encoding="utf-8")
    chromium.open(page, ready="true")
    found = chromium.run(
        """[...document.querySelectorAll("svg")].map((svg) => {
            const of = (one) => { const b = one.getBBox(); return [b.x, b.y, b.x + b.width, b.y + b.height]; };
            return {
                size: svg.viewBox.baseVal.width,
                boxes: [...svg.querySelectorAll("g")].map((g) => [of(g.querySelector("rect")),
                    [...g.querySelectorAll("text")].map(of)]),
                heads: [...svg.querySelectorAll(":scope > text")].map(of),
            };
        })"""
    )
    assert len(found) == len(CASES)
    for drawing in found:
        assert drawing["size"] == WIDTH
        rects = [rect for rect, _ in drawing["boxes"]]
        for rect, texts in drawing["boxes"]:
            assert texts and rect[2] <= WIDTH
            for left, top, right, bottom in texts:
                assert rect[0] < left and rect[1] < top and right < rect[2] and bottom < rect[3]
        things = [*rects, *drawing["heads"]]
        for place, one in enumerate(things):
            for other in things[place + 1 :]:
                apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1]
                assert apart or other[3] <= one[1], (one, other)


def test_draw_writes_the_networks_of_a_model_file(table, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    save(model("mlp", table), path)
    assert cli.run(["draw", str(path), "--architecture"]) == 0
    svg = ElementTree.parse(tmp_path / "model.svg").getroot()
    assert svg.find(f"{SVG}title").text.startswith("Architecture: VAE of digits")
    assert "prefers-color-scheme: dark" in svg.find(f"{SVG}style").text
    assert cli.run(["draw", str(path), "--architecture"]) == 2  # it is there
    assert cli.run(["draw", str(path), "--architecture", "--out", str(tmp_path / "a.png")]) == 2
    assert cli.run(["draw", str(path), "--out", str(tmp_path / "a.svg")]) == 2
    assert "goes with --architecture" in capsys.readouterr().err


def test_the_picture_of_the_docs_is_what_the_command_draws(tmp_path):
    """Made anew with: variform.save(vae, "networks.safetensors"); variform draw networks.safetensors --architecture."""
    options = {"latent_dim": 2, "hidden": (16,), "likelihood": "bernoulli", "posterior_std": "exp"}
    vae = build_vae(ModelConfig(**options), read("digits").schema)
    plot_architecture(vae).save(tmp_path / "networks.svg")
    of_docs = Path(__file__).parents[1] / "docs" / "images" / "networks.svg"
    assert (tmp_path / "networks.svg").read_text() == of_docs.read_text()
