"""Design spaces: against an affine decoder, scikit-learn's PCA and neighbours, SciPy's laws, and rules by hand."""

import numpy as np
import pytest
import torch
from models import data_of, laws_table, model_of
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import nn

from variform import DataConfig, Dataset, Model, ModelConfig, build_vae, read
from variform.data.reading import dataset_from
from variform.design.coding import designs_of
from variform.design.neighbours import Neighbours
from variform.design.spaces import space_of


@pytest.fixture(scope="module")
def curves():
    """300 curves of 20 ordinates in millimetres, on one scale for all of them."""
    draw = np.random.default_rng(0)
    waves = np.sin(np.outer(np.arange(1, 5), np.linspace(0, 3, 20)))
    rows = 40 + draw.normal(size=(300, 4)) * [8, 4, 2, 1] @ waves
    return read(rows + 0.1 * draw.normal(size=rows.shape), DataConfig(scaling="common"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A mixed table with a law of every kind, spikes, levels, categories, gaps and a rule."""
    path = laws_table(tmp_path_factory.mktemp("laws"))
    options = {
        "ordinals": ("rating", "size=S<M<L"),
        "bounds": ("share=0..100.5",),
        "positives": ("mass",),
        "active_if": ("width=flag=1", "depth=flag=0"),
    }
    return read(path, DataConfig(cells="mixed", **options))


def affine(vae):
    """The weights and the offset of a decoder without hidden layers."""
    (layer,) = [part for part in vae.decoder.modules() if isinstance(part, nn.Linear)]
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def test_the_latents_of_an_affine_decoder_are_decoded_to_what_it_says_by_hand(curves):
    config = ModelConfig(latent_dim=3, hidden=(), likelihood="gaussian-shared")
    vae = build_vae(config, curves.schema).double()
    space = space_of(vae, curves.train)
    z = np.random.default_rng(1).normal(size=(5, 3))
    weights, offset = affine(vae)
    scale, shift = curves.schema.scale[0], np.array(curves.schema.shift)
    designs = space.decode(z)
    np.testing.assert_allclose(designs, shift + scale * (z @ weights.T + offset), rtol=1e-9)
    np.testing.assert_allclose(space.encode(designs), Model(vae).encode(designs), rtol=1e-5)
    np.testing.assert_allclose(space.codes, space.encode(designs_of(curves.train)), atol=1e-6)
    law = stats.multivariate_normal(np.zeros(3))
    np.testing.assert_allclose(space.log_density(z), law.logpdf(z), rtol=1e-9)
    draws = space.sample(4000, np.random.default_rng(2))
    assert stats.kstest(draws[:, 1], "norm").pvalue > 0.001
    np.testing.assert_array_equal(draws, space.sample(4000, np.random.default_rng(2)))


def test_a_box_and_a_radius_are_quantiles_of_the_codes_of_training_rows(curves):
    space = space_of(None, curves.train, "pca", 3)
    low, high = space.box
    codes = space.encode(designs_of(curves.train))
    inside = ((codes >= low) & (codes <= high)).mean(0)
    np.testing.assert_allclose(inside, 0.99, atol=2 / len(codes))
    assert np.mean(np.linalg.norm(codes, axis=1) <= space.radius) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("several_units", [False, True])
def test_components_are_those_of_scikit_learn(curves, several_units):
    data = curves
    if several_units:
        rows = designs_of(curves.train) * np.arange(1, 21)
        data = read(rows, DataConfig(scaling="standard", split_seed=1))
    rows = designs_of(data.train)
    unit = rows.std(0) if several_units else 1.0
    peer = PCA(4, whiten=True).fit(rows / unit)
    space = space_of(None, data.train, "pca", 4)
    assert space.name == "pca-4" and space.dim == 4
    other = designs_of(data.test)
    codes, expected = space.encode(other), peer.transform(other / unit)
    assert several_units == (len(set(data.schema.scale)) > 1)
    factor = np.sqrt((len(rows) - 1) / len(rows))  # scikit-learn divides by n - 1
    np.testing.assert_allclose(np.abs(codes) * factor, np.abs(expected), rtol=1e-4, atol=1e-5)
    back = peer.inverse_transform(expected) * unit
    np.testing.assert_allclose(space.decode(codes), back, rtol=1e-5)
    law = stats.multivariate_normal(space.codes.mean(0), np.cov(space.codes.T, bias=True))
    np.testing.assert_allclose(space.log_density(codes), law.logpdf(codes), rtol=1e-6)


def test_there_are_no_more_components_than_the_rows_span():
    line = dataset_from(torch.outer(torch.arange(9.0), torch.tensor([1.0, 2.0, 3.0])))
    space = space_of(None, line, "pca")
    assert space.name == "pca-1" and space.codes.shape == (9, 1)
    np.testing.assert_allclose(space.decode(space.codes), designs_of(line), atol=1e-9)


def test_the_columns_themselves_take_any_point_to_a_row_that_the_table_could_hold(table):
    space = space_of(None, table.train, "raw")
    known = designs_of(table.train)
    schema = table.schema
    name = schema.columns.index
    back = space.decode(space.encode(known))
    observed = ~np.isnan(known)
    np.testing.assert_allclose(back[observed], known[observed], rtol=1e-6)
    wild = space.decode(10 * np.random.default_rng(0).normal(size=(500, space.dim)))
    flag, rating, size = wild[:, name("flag")], wild[:, name("rating")], wild[:, name("size")]
    assert set(flag) == {0, 1} and set(size) == {0, 1, 2} and set(rating) == {1, 2, 3, 4, 5}
    assert wild[:, name("mass")].min() >= 0 and wild[:, name("amount")].min() >= 0
    share = wild[:, name("share")]
    assert share.min() >= 0 and share.max() <= 100.5
    assert (wild[flag == 0, name("width")] == 0.25).all()
    assert np.isnan(wild[flag == 1, name("depth")]).all()
    assert not np.isnan(wild[flag == 0, name("depth")]).any()


def test_columns_are_drawn_alone_as_the_training_rows_have_them(table):
    space = space_of(None, table.train, "raw")
    column = table.schema.columns.index("rating")
    draws = space.decode(space.sample(3000, np.random.default_rng(0)))
    known = designs_of(table.train)
    for level in range(1, 6):
        share = (known[:, column] == level).mean()
        assert (draws[:, column] == level).mean() == pytest.approx(share, abs=0.04)
    stack, mass = (table.schema.columns.index(name) for name in ("stack", "mass"))
    assert abs(stats.spearmanr(draws[:, stack], draws[:, mass]).statistic) < 0.06


def test_components_of_a_mixed_table_keep_its_kinds_and_rules(table):
    space = space_of(None, table.train, "pca", 6)
    designs = space.decode(3 * space.sample(300, np.random.default_rng(0)))
    column = table.schema.columns.index
    assert set(designs[:, column("size")]) <= {0, 1, 2}
    assert (designs[designs[:, column("flag")] == 0, column("width")] == 0.25).all()
    assert np.isfinite(space.encode(designs)).all()


def test_the_pool_holds_known_designs_and_no_others(curves):
    space = space_of(None, curves.train, "pool", 4)
    known = designs_of(curves.train)
    np.testing.assert_array_equal(space.decode(space.codes), known)
    z = np.random.default_rng(0).normal(size=(40, 4))
    peer = NearestNeighbors(n_neighbors=1).fit(space.codes).kneighbors(z)[1][:, 0]
    np.testing.assert_array_equal(space.decode(z), known[peer])
    drawn = space.nearest(space.sample(len(known), np.random.default_rng(0)))
    assert sorted(drawn) == list(range(len(known)))


@pytest.mark.parametrize("kind", ["latent", "pca", "raw", "pool"])
@pytest.mark.parametrize("name", ["mixed", "laws", "conv", "gaps", "threshold", "units"])
def test_every_space_gives_designs_of_every_kind_of_data(kind, name, tmp_path):
    """What is decoded from drawn points has the data's shape, can be encoded, and is decoded to nearly itself."""
    data = data_of(name, tmp_path)
    space = space_of(model_of(name, data), data.train, kind)
    z = space.sample(7, np.random.default_rng(0))
    designs = space.decode(z)
    assert designs.shape == (7, *data.schema.shape) and designs.dtype == np.float64
    codes = space.encode(designs)
    assert codes.shape == z.shape == (7, space.dim) and np.isfinite(codes).all()
    assert np.isfinite(space.log_density(z)).all()
    if kind == "pool":
        np.testing.assert_array_equal(space.decode(codes), designs)


def test_what_is_given_reaches_encoder_and_decoder(tmp_path):
    data = data_of("conditional", tmp_path)
    vae = model_of("conditional", data)
    space = space_of(vae, data.train, given={"label": 3})
    z = np.random.default_rng(0).normal(size=(4, 3))
    model = Model(vae)
    np.testing.assert_allclose(space.decode(z), model.decode(z, given={"label": 3}), rtol=1e-9)
    assert abs(space.decode(z) - model.decode(z, given={"label": 4})).max() > 1e-3
    rows = designs_of(data.test)[:4]
    np.testing.assert_allclose(space.encode(rows), model.encode(rows, given={"label": 3}))
    with pytest.raises(ValueError, match="must be given label; got nothing"):
        space_of(vae, data.train)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": None}, "must have a model that knows its data; got NoneType"),
        ({"dim": 4}, "`dim` must be the model's 3; got 4"),
        ({"kind": "latents"}, "Did you mean 'latent'"),
        ({"given": {"label": 3}}, "must be given nothing; got label"),
    ],
)
def test_a_space_that_cannot_be_is_refused(curves, arguments, message):
    vae = build_vae(ModelConfig(latent_dim=3, likelihood="gaussian"), curves.schema)
    with pytest.raises(ValueError, match=message):
        space_of(**{"model": vae, "train": curves.train, **arguments})


def test_designs_of_another_shape_are_refused(curves):
    with pytest.raises(ValueError, match=r"designs must be \(n, 20\).*got \(5, 3\)"):
        space_of(None, curves.train, "raw").encode(np.zeros((5, 3)))


# --- neighbours ---------------------------------------------------------------------------------------------------


def test_the_nearest_known_design_is_that_of_scikit_learn_in_the_users_unit(curves):
    neighbours = Neighbours(curves.train, curves.test)
    designs = 40 + np.random.default_rng(3).normal(size=(30, 20))
    known = designs_of(curves.train)
    distance, place = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(designs)
    nearest = neighbours.nearest(designs)
    assert neighbours.unit == "the data's unit"
    np.testing.assert_allclose(nearest.distance, distance[:, 0] / np.sqrt(20), rtol=1e-5)
    np.testing.assert_array_equal(nearest.row, curves.train.index.numpy()[place[:, 0]])
    held_out, _ = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(designs_of(curves.test))
    typical = np.median(held_out) / np.sqrt(20)
    np.testing.assert_allclose(nearest.novelty, nearest.distance / typical, rtol=1e-5)
    copies = neighbours.nearest(known[:3])
    np.testing.assert_array_equal(copies.row, curves.train.index[:3])
    assert copies.distance.max() == copies.novelty.max() == 0


def test_rows_are_named_as_the_user_names_them(tmp_path):
    path = tmp_path / "foils.csv"
    lines = [f"foil {row},{row % 10},{row // 10}" for row in range(90)]
    path.write_text("\n".join(["id,a,b", *lines]) + "\n")
    data = read(path, DataConfig(id="id"))
    nearest = Neighbours(data.train).nearest(designs_of(data.train))
    assert nearest.name.tolist() == data.train.names.tolist()
    assert nearest.name.tolist() == [f"foil {row}" for row in nearest.row]
    assert np.isnan(nearest.novelty).all()


def test_columns_of_several_units_count_in_standard_deviations_and_a_category_as_one(tmp_path):
    path = tmp_path / "frames.csv"
    draw = np.random.default_rng(0)
    lines = [
        f"{draw.normal(5, 2)},{draw.normal(0, 1e-3)},{draw.choice(['steel', 'wood', 'rare'], p=[0.6, 0.38, 0.02])}"
        for _ in range(300)
    ]
    path.write_text("\n".join(["mass,gap,material", *lines]) + "\n")
    data = read(path, DataConfig(cells="mixed"))
    known = designs_of(data.train)
    designs = known[:5] + np.array([0.3, 2e-4, 0])
    designs[:, 2] = (designs[:, 2] + 1) % 3
    unit = np.append(known[:, :2].std(0), 1)
    by_hand = [
        np.sqrt(
            (((known - row) / unit)[:, :2] ** 2).sum(1) + (known[:, 2] != row[2])
        ).min() / np.sqrt(3)
        for row in designs
    ]  # fmt: skip
    neighbours = Neighbours(data.train, data.test)
    assert neighbours.unit == "standard deviations"
    np.testing.assert_allclose(neighbours.nearest(designs).distance, by_hand, rtol=1e-5)


@pytest.mark.parametrize("cells", ["numbers", "mixed"])
def test_columns_that_share_a_unit_count_in_it_however_they_are_scaled(cells):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(200, 3)) * [1.0, 10.0, 100.0]
    columns = dict(zip(("width [mm]", "height [mm]", "length [mm]"), rows.T, strict=True))
    data = read(columns, DataConfig(scaling="standard", cells=cells))
    neighbours = Neighbours(data.train, data.test)
    designs = draw.normal(size=(20, 3)) * [1.0, 10.0, 100.0]
    distance, _ = NearestNeighbors(n_neighbors=1).fit(designs_of(data.train)).kneighbors(designs)
    assert neighbours.unit == "mm"
    np.testing.assert_allclose(
        neighbours.nearest(designs).distance, distance[:, 0] / np.sqrt(3), rtol=1e-5
    )


def test_points_of_a_curve_share_a_unit_however_they_are_scaled(curves):
    rows = designs_of(curves.train)
    data = read(rows, DataConfig(scaling="standard", split_seed=1))
    neighbours = Neighbours(data.train)
    designs = 40 + np.random.default_rng(3).normal(size=(30, 20))
    distance, _ = NearestNeighbors(n_neighbors=1).fit(designs_of(data.train)).kneighbors(designs)
    assert neighbours.unit == "the data's unit"
    np.testing.assert_allclose(
        neighbours.nearest(designs).distance, distance[:, 0] / np.sqrt(20), rtol=1e-5
    )


def test_where_half_of_the_held_out_rows_are_copies_no_novelty_is_known():
    rows = dataset_from(torch.rand(20, 3))
    twice = Dataset(rows.raw, rows.schema)
    assert np.isnan(Neighbours(rows, twice).nearest(np.zeros((2, 3))).novelty).all()
