"""What the latents hold: planted classes and clusters, a linear Gaussian model, noise, and scikit-learn's numbers."""

import dataclasses
import html
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from models import data_of, model_of
from pages import contents_of
from sklearn.cluster import KMeans
from sklearn.manifold import trustworthiness
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score
from sklearn.neighbors import NearestNeighbors
from test_truth import linear_vae

from variform import open_run
from variform.data.dataset import Dataset
from variform.data.reading import dataset_from
from variform.evaluation import clusters
from variform.evaluation.probes import probe
from variform.evaluation.representations import Representation
from variform.evaluation.sections.probe import PROBE
from variform.evaluation.standard_error import jackknifed
from variform.faces import cli

ROWS = 4_000


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def plane_vae(columns=3, std=0.1):
    """A model whose codes are the first two columns, almost."""
    return linear_vae(torch.eye(columns)[:, :2], torch.zeros(columns), std)


def halves(x, classes=None, **responses):
    """Training rows and as many others."""
    whole = dataset_from(torch.from_numpy(x).float())
    schema = whole.schema
    if classes is not None:
        schema = dataclasses.replace(schema, classes=tuple(map(str, np.unique(classes))))
    found = []
    for part in (slice(0, None, 2), slice(1, None, 2)):
        labels = None if classes is None else torch.from_numpy(classes[part])
        known = {name: values[part] for name, values in responses.items()}
        found.append(Dataset(whole.raw[part], schema, labels=labels, responses=known))
    return found


def within(estimate, value, errors=4.0):
    return abs(estimate["mean"] - value) < errors * estimate["se"]


def test_planted_classes_are_found_in_the_codes_and_not_where_pca_looks():
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 3, 600)
    corners = np.array([[0.0, 0], [6, 0], [0, 6]])
    place = corners[classes] + 0.3 * generator.normal(size=(600, 2))
    x = np.column_stack(
        [place, 30 * generator.normal(size=(600, 2))]
    )  # what PCA takes for the plane
    train, test = halves(x, classes)
    found = probe(plane_vae(4), test, train)
    measures = found["classes"]["label"]
    for name in ("kmeans_ari", "kmeans_nmi", "mixture_ari", "mixture_nmi", "accuracy"):
        assert measures[name]["codes"]["mean"] == 1.0, name
    assert measures["neighbours_accuracy"]["codes"]["mean"] == 1.0
    chance = measures["accuracy"]["guess"]["mean"]
    assert chance == pytest.approx(
        (classes[1::2] == np.bincount(classes[::2]).argmax()).mean(), abs=1e-12
    )
    assert measures["accuracy"]["pca"]["mean"] < 0.5 and measures["kmeans_ari"]["pca"]["mean"] < 0.1
    difference = measures["accuracy"]["codes_minus_pca"]
    assert difference["mean"] > 10 * difference["se"]
    assert measures["log_loss"]["codes_minus_pca"]["mean"] < -0.5
    assert found["clusters"]["silhouette"]["codes"]["mean"] > 0.8
    # Without labels the three clusters are counted.
    unlabelled = probe(
        plane_vae(4), *(dataclasses.replace(part, labels=None) for part in (test, train))
    )
    assert unlabelled["classes"] == {} and unlabelled["clusters"]["count"]["codes"] == 3


def test_labels_and_responses_of_noise_are_not_told():
    generator = np.random.default_rng(1)
    x, classes, noise = (
        generator.normal(size=(ROWS, 3)),
        generator.integers(0, 2, ROWS),
        generator.normal(size=ROWS),
    )
    train, test = halves(x, classes, noise=noise)
    found = probe(plane_vae(), test, train)
    measures = found["classes"]["label"]
    for name in ("accuracy", "neighbours_accuracy"):
        assert measures[name]["codes"]["se"] == pytest.approx(0.5 / math.sqrt(ROWS // 2), rel=0.01)
        assert all(within(measures[name][space], 0.5) for space in ("codes", "pca", "columns"))
    assert within(measures["log_loss"]["codes_minus_pca"], 0.0)
    for name in ("kmeans_ari", "mixture_ari"):
        assert abs(measures[name]["codes"]["mean"]) < 0.005
    assert abs(found["responses"]["noise"]["r_squared"]["codes"]["mean"]) < 0.01


def test_a_linear_gaussian_model_has_the_r_squared_of_its_formula():
    r"""y = a z + noise; of z the codes tell z' = E[z|x], with Var z' = 1 - v, v the posterior's variance."""
    generator = np.random.default_rng(2)
    weight, std = torch.tensor([[2.0, 0], [0, 0.5], [0, 0]]), 0.5
    slopes, noise = np.array([1.0, 2.0]), 0.7
    z = generator.normal(size=(2 * ROWS, 2))
    x = z @ weight.double().numpy().T + std * generator.normal(size=(2 * ROWS, 3))
    y = z @ slopes + noise * generator.normal(size=2 * ROWS)
    train, test = halves(x, None, y=y)
    fit = probe(linear_vae(weight, torch.zeros(3), std), test, train)
    told = 1 - 1 / (1 + weight.square().sum(0).double().numpy() / std**2)
    expected = (slopes**2 @ told) / (slopes @ slopes + noise**2)
    r_squared = fit["responses"]["y"]["r_squared"]
    assert 0 < r_squared["codes"]["se"] < 0.02
    for space in ("codes", "pca", "columns"):  # the third column tells nothing
        assert within(r_squared[space], expected), space
    # A column as such: x_1 = w z_1 + noise is known from codes that see nothing else.
    first, _, last = fit["columns"]["each"].values()
    assert first["codes"]["mean"] == pytest.approx(1.0, abs=1e-6)
    assert within(last["codes"], 0.0) and "columns" not in last
    each = [column["codes"]["mean"] for column in fit["columns"]["each"].values()]
    # Numbers that are not linear in the codes are told by neighbours.
    near = probe(plane_vae(2), *halves(z, None, square=z[:, 0] ** 2)[::-1])["responses"]["square"]
    assert within(near["r_squared"]["codes"], 0.0)
    assert near["neighbours_r_squared"]["codes"]["mean"] > 0.9
    assert fit["columns"]["all"]["codes"]["mean"] == pytest.approx(np.mean(each), abs=1e-12)


def test_the_error_of_r_squared_is_that_of_a_bootstrap_and_differences_are_paired():
    generator = np.random.default_rng(3)
    x = generator.normal(size=(1_000, 3)) * [3, 2, 1]
    y = x[:, 0] + 2 * x[:, 2] + generator.standard_t(5, 1_000)
    train, test = halves(x, None, y=y)
    vae = linear_vae(torch.eye(3)[:, [0, 2]], torch.zeros(3), 0.1)
    r_squared = probe(vae, test, train)["responses"]["y"]["r_squared"]

    def predicted(columns):
        design = [np.column_stack([np.ones(500), part[:, columns]]) for part in (x[::2], x[1::2])]
        return design[1] @ np.linalg.lstsq(design[0], y[::2], rcond=None)[0]

    truth = y[1::2]
    errors = {"codes": (truth - predicted([0, 2])) ** 2, "pca": (truth - predicted([0, 1])) ** 2}
    draws = generator.integers(0, 500, (4_000, 500))
    spread = truth[draws].var(1)
    drawn = {name: 1 - squares[draws].mean(1) / spread for name, squares in errors.items()}
    drawn["codes_minus_pca"] = drawn["codes"] - drawn["pca"]
    for name, values in drawn.items():
        assert r_squared[name]["mean"] == pytest.approx(values.mean(), abs=0.01), name
        assert r_squared[name]["se"] == pytest.approx(values.std(), rel=0.1), name
    separate = math.hypot(r_squared["codes"]["se"], r_squared["pca"]["se"])
    assert r_squared["codes_minus_pca"]["se"] != pytest.approx(separate, rel=0.05)


def three_spaces(rows=300):
    generator = np.random.default_rng(4)
    x = generator.normal(size=(2 * rows, 6)) @ np.diag([3, 2, 1, 1, 1, 1])
    spaces = {"codes": x[:, [0, 2]] ** 3, "pca": x[:, :2], "columns": x}
    return {name: Representation(part[:rows], part[rows:]) for name, part in spaces.items()}


def test_neighbourhoods_are_those_of_scikit_learn_with_errors_of_a_jackknife():
    spaces = three_spaces()
    found = clusters.neighbourhoods(spaces, 7)
    rows = spaces["columns"].judged

    def near(x):
        return NearestNeighbors(n_neighbors=7).fit(x).kneighbors(return_distance=False)

    def both(kept, name):
        part = spaces[name].judged[kept]
        pairs = zip(near(rows[kept]), near(part), strict=True)
        shared = np.mean([len(np.intersect1d(*pair)) / 7 for pair in pairs])
        return trustworthiness(rows[kept], part, n_neighbors=7), shared

    groups = np.arange(len(rows)) % 20
    for name in ("codes", "pca"):
        whole = both(groups >= 0, name)
        parts = np.array([both(groups != group, name) for group in range(20)])
        for measure, value, se in zip(
            ("trustworthiness", "preserved"), whole, np.sqrt(19) * parts.std(0), strict=True
        ):
            assert found[measure][name]["mean"] == pytest.approx(value, abs=1e-12)
            assert found[measure][name]["se"] == pytest.approx(se, rel=1e-9)


def test_neighbourhoods_of_noise_are_those_that_are_guessed():
    generator = np.random.default_rng(5)
    spaces = {
        name: Representation(np.zeros((0, 2)), generator.normal(size=(200, 2)))
        for name in ("codes", "pca", "columns")
    }
    found = clusters.neighbourhoods(spaces, 5)
    for measure in ("trustworthiness", "preserved"):
        guess = found[measure]["guess"]["mean"]
        assert within(found[measure]["codes"], guess) and within(found[measure]["pca"], guess)


def test_agreement_and_silhouette_are_those_of_scikit_learn_over_resamples():
    spaces = three_spaces()
    truth = np.arange(300) % 3
    truth[:30] = -1
    found = clusters.agreement(spaces, truth, 3)
    apart = clusters.separation(spaces, 3)
    measures = {name: [] for name in spaces}
    for fit in range(5):
        drawn = np.random.default_rng([0, fit]).integers(0, 300, 300)
        for name, space in spaces.items():
            fitted = KMeans(3, n_init=3, random_state=fit).fit(space.fitted[drawn])
            numbers = fitted.predict(space.judged)
            both = truth[30:], numbers[30:]
            pair = adjusted_rand_score(*both), normalized_mutual_info_score(*both)
            measures[name].append((*pair, silhouette_score(space.judged, numbers)))
    for name, values in measures.items():
        estimates = [found["kmeans_ari"], found["kmeans_nmi"], apart["silhouette"]]
        for estimate, expected, spread in zip(
            estimates, np.mean(values, 0), np.std(values, 0, ddof=1) / np.sqrt(5), strict=True
        ):
            assert estimate[name]["mean"] == pytest.approx(expected)
            assert estimate[name]["se"] > spread
        assert found["kmeans_ari"][name]["n"] == 270


def test_clusters_that_depend_on_their_start_have_the_error_of_it():
    """Two clusters of four equal corners: by either pair of sides, so that the index is 1 or 0, at random."""
    generator = np.random.default_rng(10)
    corners = generator.integers(0, 4, 2_000)
    x = np.column_stack([corners % 2, corners // 2]) + 0.01 * generator.normal(size=(2_000, 2))
    space = Representation(x[:1_000], x[1_000:])
    ari = clusters.agreement({"codes": space, "pca": space}, corners[1_000:] % 2, 2)["kmeans_ari"]
    assert 0.1 < ari["codes"]["se"] < 0.3
    assert within(ari["codes"], 0.5, errors=3)
    assert ari["codes_minus_pca"]["mean"] == ari["codes_minus_pca"]["se"] == 0.0


def test_errors_of_a_jackknife_are_those_of_a_formula():
    """The correlation of a Gaussian pair has the standard error (1 - rho^2) / sqrt(N)."""
    generator = np.random.default_rng(6)
    rho, rows = 0.6, 400
    variances = []
    for _ in range(100):
        x = generator.normal(size=rows)
        y = rho * x + math.sqrt(1 - rho**2) * generator.normal(size=rows)
        found = jackknifed(lambda kept, x=x, y=y: {"r": np.corrcoef(x[kept], y[kept])[0, 1]}, rows)
        variances.append(found["r"].se ** 2)
    # A variance of 19 degrees of freedom, over 100 sets: known to 3.2 %, plus what is of order 1 / N.
    assert np.mean(variances) == pytest.approx((1 - rho**2) ** 2 / rows, rel=0.12)


def test_words_are_classes_and_gaps_are_left_out():
    generator = np.random.default_rng(7)
    x = generator.normal(size=(400, 3))
    words = np.where(x[:, 0] > 0, "oak", "steel").astype(object)
    words[:40] = ""
    words[41] = "brass"  # of the others alone
    drag = x[:, 1].copy()
    drag[:100] = np.nan
    few = np.array(["a", "b"] * 5 + [""] * 390)
    train, test = halves(x, None, material=words.astype(str), drag=drag, few=few)
    found = probe(plane_vae(), test, train)
    assert list(found["classes"]) == ["material"] and list(found["responses"]) == ["drag"]
    measures = found["classes"]["material"]
    assert measures["count"] == 2 and measures["accuracy"]["codes"]["n"] == 179
    assert measures["accuracy"]["codes"]["mean"] > 0.95
    assert found["responses"]["drag"]["r_squared"]["codes"]["n"] == 150


@pytest.mark.parametrize("name", ["mixed", "gaps", "conditional", "outlines", "colours"])
def test_every_kind_of_data_has_its_probes(name, tmp_path):
    kind = "odd colours" if name == "colours" else name
    splits = data_of(kind, tmp_path)
    found = probe(model_of(kind, splits), splits.test, splits.train)
    assert found["is_told"] == (name == "conditional")
    estimates = []

    def walk(values):
        for value in values.values():
            if isinstance(value, dict) and "mean" in value:
                estimates.append(value["mean"])
            elif isinstance(value, dict):
                walk(value)

    walk(found)
    assert len(estimates) >= 10 and np.isfinite(estimates).all()


def test_too_few_rows_are_refused():
    x = np.random.default_rng(8).normal(size=(18, 3))
    train, test = halves(x)
    with pytest.raises(
        ValueError, match="a probe must have at least 10 training rows and 10 others; got 9 of one"
    ):
        probe(plane_vae(), test, train)


# --- the section of an evaluation ---------------------------------------------------------------------------------


def measure(codes, pca, se=0.01):
    return {
        **{name: {"mean": value, "se": se, "n": 100} for name, value in (("codes", codes), ("pca", pca))},
        "codes_minus_pca": {"mean": codes - pca, "se": se, "n": 100},
    }  # fmt: skip


def numbers_with(accuracy=(0.5, 0.5), log_loss=(1.0, 1.0), drag=(0.5, 0.5), near=(0.9, 0.9)):
    return {
        "classes": {"label": {"accuracy": measure(*accuracy), "log_loss": measure(*log_loss)}},
        "responses": {
            "drag": {"r_squared": measure(*drag), "neighbours_r_squared": measure(0.5, 0.5)}
        },
        "columns": {},
        "neighbourhoods": {"trustworthiness": measure(*near), "preserved": measure(*near)},
    }


def test_where_pca_is_better_is_said_first_and_small_differences_are_none():
    level = PROBE.answer(numbers_with(accuracy=(0.5, 0.529), log_loss=(1.0, 1.029)))
    assert level == "Codes and as many principal components are level in all 6 measures"
    both = PROBE.answer(numbers_with(accuracy=(0.9, 0.5), drag=(0.1, 0.8), near=(0.8, 0.9)))
    assert both == (
        "PCA of as many components is better in 3 of 6 measures, most clearly in 'drag': R², linear probe (0.800 "
        "against 0.100 of the codes); the codes are better than PCA in 1 of 6 measures, most clearly in 'label': "
        "accuracy, linear probe (0.900 against 0.500 of PCA)"
    )
    loss = PROBE.answer(numbers_with(log_loss=(0.2, 1.0)))  # less is better
    assert loss.startswith("The codes are better than PCA in 1 of 6 measures")


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    generator = np.random.default_rng(9)
    x = generator.normal(size=(300, 14))
    x[:, 1] = (
        x[:, 0] + 0.1 * x[:, 1]
    )  # which PCA tells, so that both are among the columns that are shown
    frame = pd.DataFrame(x, columns=["codes", *(f"width {letter}" for letter in "bcdefghijklmn")])
    frame["drag"] = x[:, 0] + 0.1 * generator.normal(size=300)
    frame["wood"] = np.where(x[:, 1] > 0, "oak", "ash")
    frame.to_csv(folder / "t.csv", index=False)
    words = (
        f"train {folder / 't.csv'} --label wood --response drag --latent-dim 2 --hidden 8 --steps 5"
    )
    words += f" --nll-samples 5 --probe --out {folder / 'run'} --progress none"
    assert cli.run(words.split()) == 0
    return open_run(folder / "run")


def test_report_page_and_command_show_what_was_measured(probed, capsys):
    found = probed.evaluation["probe"]
    tables = PROBE.tables(found)
    assert [table.title for table in tables] == [
        "wood", "drag", "R² of columns, linear probe", "Neighbours and clusters"
    ]  # fmt: skip
    assert len(found["columns"]["each"]) == 14 and len(tables[2].rows) == 13
    report = probed.report.read_text(encoding="utf-8")
    page = contents_of((probed.folder / "explorer.html").read_text(encoding="utf-8"))
    [question] = page["numbers"]["questions"]
    assert question["title"] == PROBE.title
    assert [table["rows"] for table in question["tables"]] == [table.rows for table in tables]
    cells = [cell for table in tables for row in table.rows for cell in row if cell]
    assert all(html.escape(cell, quote=False) in report for cell in cells)
    assert cli.run(["evaluate", str(probed.folder), "--samples", "5", "--probe", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["probe"] == found
    assert cli.run(["evaluate", str(probed.folder), "--samples", "5", "--probe"]) == 0
    printed = capsys.readouterr().out
    assert all(cell in printed for cell in cells)


def test_rows_that_were_trained_on_are_refused(probed, capsys):
    words = ["evaluate", str(probed.folder), "--samples", "5", "--probe", "--split", "train"]
    assert cli.run(words) == 2
    assert "--probe learns from the training rows and judges on others" in capsys.readouterr().err


def test_the_page_explains_names_of_rows_and_of_columns(probed, chromium):
    chromium.open(probed.folder / "explorer.html", "#view=numbers")
    chromium.page.locator(".question > summary").click()
    shown = chromium.page.locator(".question")
    assert PROBE.answer(probed.evaluation["probe"]) in shown.locator("summary").first.inner_text()
    for name in ("codes minus PCA", "accuracy, linear probe"):
        mark = shown.locator("th .why summary").filter(has_text=name).first
        mark.click()
        assert PROBE.meanings[name] in mark.locator("..").inner_text()
    # A column of the user's that is called as a name of ours is itself.
    assert shown.locator("tbody th", has_text=re.compile("^codes$")).count() == 1
    # Tables of many columns have the whole width, not that of half the page.
    widths = "(name) => document.querySelector(name).getBoundingClientRect().width"
    depth, view = (chromium.page.evaluate(widths, name) for name in (".depth", "#view"))
    assert depth == view
    assert chromium.errors == []
