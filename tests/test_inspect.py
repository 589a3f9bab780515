"""What is found in data before a training: values against pandas, SciPy, scikit-learn and what was planted."""

import json
import re
import shlex
import tomllib

import browsers
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import pdist
from sklearn.cluster import AgglomerativeClustering

from variform import DataConfig, read
from variform.config.run import RunConfig
from variform.data.constraints import Constraint
from variform.data.findings import find
from variform.data.outlines import layout_of
from variform.data.sources.source import Source
from variform.faces import cli
from variform.runs.inspections import FILES, inspect, look, proposed
from variform.runs.plan import begun, prepare

# --- rules --------------------------------------------------------------------------------------------------------

COLUMNS = ("wall", "wall OD", "mass [kg]", "x-1", "x", "für")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("wall < wall OD/2", lambda row: row[0] < row[1] / 2),
        ("mass>=2e-1", lambda row: row[2] >= 0.2),
        ("mass [kg] == 1", lambda row: row[2] == 1),
        ("0 < x-1 <= x", lambda row: 0 < row[3] <= row[4]),
        ("-(x + wall) * 2 != für - 1", lambda row: -(row[4] + row[0]) * 2 != row[5] - 1),
        ("wall .. mass [kg] < 1.5", lambda row: max(row[:3]) < 1.5),
        ("wall..mass<x-1..für", lambda row: all(row[k] < row[k + 3] for k in range(3))),
    ],
)
def test_a_rule_holds_where_plain_arithmetic_says_so(rule, expected):
    rows = np.random.default_rng(0).integers(-2, 4, (500, 6)) / 2
    holds = Constraint(rule, COLUMNS).holds(rows)
    assert holds.tolist() == [expected(row) for row in rows] and 0 < holds.sum() < 500


def test_a_rule_is_not_broken_by_a_row_of_which_it_cannot_be_said():
    rule = Constraint("wall < x", COLUMNS)
    rows = np.array([[np.nan, 0, 0, 0, 1, 0], [2, np.nan, 0, 0, 1, 0]])
    assert rule.holds(rows).tolist() == [True, False]
    assert rule.is_unknown(rows).tolist() == [True, False]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("__import__('os').system('true') < 1", "'__import__"),
        ("wall.__class__ < 1", "must compare columns"),
        ("wall", "it compares nothing"),
        ("wall < x ** 9", "something else"),
        ("wall < (x", "cannot be read"),
        ("wall OF < 1", "no column 'OF'"),
        ("wall < 1 or x < 1", "it compares nothing"),
        ("wall < (x < 1)", "something else"),
        ("wall < lambda: 1", "no column"),
        ("wall .. mass < x-1 .. x", "it compares 3 columns with 2"),
        ("x .. wall < 1", "backwards"),
        ("wall < " + "(" * 5000, "must compare"),
        ("wall < " + "1" * 20_000, "too long"),
        ("wall in x", "must compare"),
        ("", "must compare"),
        ("c0c < 1", "no column 'c0c'"),
    ],
)
def test_what_is_no_comparison_is_refused(rule, words):
    with pytest.raises(ValueError, match="`rule` must compare columns and numbers") as caught:
        Constraint(rule, COLUMNS).holds(np.zeros((1, 6)))
    assert words in str(caught.value)


# --- columns ------------------------------------------------------------------------------------------------------


@pytest.fixture
def frame():
    """Designs: a default in 60 % of the rows, a switch that turns a column off, gaps, words, a constant, a number."""
    random = np.random.default_rng(1)
    rows = 400
    has_bridge = random.random(rows) < 0.4
    table = pd.DataFrame(
        {
            "no": np.arange(1, rows + 1),
            "part": [f"p{number:03d}{'ab'[number % 2]}" for number in range(rows)],
            "length [mm]": np.where(random.random(rows) < 0.6, 68.5, random.normal(70, 5, rows)),
            "bridge": has_bridge.astype(int),
            "bridge OD": np.where(has_bridge, random.uniform(10, 20, rows), 15.75),
            "metal": random.choice(["steel", "titanium", "wood"], rows, p=[0.6, 0.38, 0.02]),
            "wall [mm]": random.lognormal(0, 0.3, rows),
            "made": "2026-01-" + pd.Series(random.integers(10, 29, rows)).astype(str),
            "bolts": random.poisson(9, rows) * 2,
            "always": 7.0,
            "load [N]": random.normal(size=rows),
        }
    )
    table.loc[random.random(rows) < 0.1, "wall [mm]"] = np.nan
    table.loc[3, "wall [mm]"] = 900.0
    return table


@pytest.fixture
def found(frame, tmp_path):
    path = tmp_path / "designs.csv"
    frame.to_csv(path, index=False)
    return look(str(path), DataConfig(response=("load [N]",)), rules=["wall < bridge OD"])[0]


def test_what_columns_hold_is_what_pandas_says(found, frame):
    columns = {column.name: column for column in found.columns}
    for name in ("length [mm]", "bridge OD", "wall [mm]", "bolts", "load [N]"):
        own = columns[name]
        expected = frame[name].agg(["min", "max", "mean", "median"])
        assert [own.low, own.high, own.mean, own.median] == pytest.approx(expected.tolist())
        assert own.std == pytest.approx(frame[name].std(ddof=0))
        assert own.missing == frame[name].isna().sum() and own.distinct == frame[name].nunique()
    assert columns["metal"].levels == tuple(frame["metal"].value_counts().items())
    assert [columns[name].unit for name in ("length [mm]", "load [N]", "bridge")] == ["mm", "N", ""]
    kinds = {name: column.kind for name, column in columns.items()}
    assert (kinds["bridge"], kinds["metal"], kinds["bolts"], kinds["made"], kinds["wall [mm]"]) == (
        "binary", "category", "count", "date", "positive"
    )  # fmt: skip


def test_roles_are_proposed_with_a_reason(found):
    roles = {column.name: (column.role, column.reason) for column in found.columns}
    assert roles["no"] == ("id", "it numbers the rows")
    assert roles["part"] == ("id", "its words differ in every row")
    assert roles["always"] == ("ignore", "it is 7 wherever it has a value")
    assert roles["load [N]"] == ("response", "as asked")
    assert roles["wall [mm]"] == ("value", "")


def test_a_spike_is_the_most_frequent_exact_value_with_its_share(found, frame):
    shares = {column.name: (column.spike, column.spike_share) for column in found.spikes}
    assert set(shares) == {"length [mm]", "bridge OD"}
    for name, (value, share) in shares.items():
        counts = frame[name].value_counts(normalize=True)
        assert (value, share) == (counts.index[0], pytest.approx(counts.iloc[0]))


def test_a_column_is_inactive_where_a_flag_has_a_value_and_not_by_chance(found, frame):
    active = {column.name: column.active_if for column in found.columns if column.active_if}
    assert active == {"bridge OD": "bridge = 1"}
    own = next(column for column in found.columns if column.name == "bridge OD")
    assert own.inactive == (frame["bridge"] == 0).sum()
    # Eight rows of wood that hold a default of 97 % by chance say nothing of wood.
    random = np.random.default_rng(0)
    default = np.where(random.random(400) < 0.97, 5.0, random.normal(size=400))
    default[:8] = 5.0
    flag = np.arange(400) >= 8
    chance = find(Source("a", np.stack([flag, default], 1)), DataConfig())
    assert not any(column.active_if for column in chance.columns)


def test_a_column_that_is_empty_without_its_flag_is_inactive_there():
    random = np.random.default_rng(0)
    flag = random.random(300) < 0.5
    values = np.stack([flag, np.where(flag, random.normal(size=300), np.nan)], 1)
    column = find(Source("a", values), DataConfig()).columns[1]
    assert (column.active_if, column.inactive) == ("column 1 = 1", (~flag).sum())


def test_what_is_far_out_is_what_was_planted_beyond_three_interquartile_ranges(found, frame):
    far = {column.name: column.outliers for column in found.columns if column.outliers}
    assert far == {"wall [mm]": (3,)}
    logs = np.log(frame["wall [mm]"])
    lower, upper = logs.quantile([0.25, 0.75])
    assert ((logs > upper + 3 * (upper - lower)) | (logs < lower - 3 * (upper - lower))).sum() == 1


def test_what_few_rows_cannot_teach_is_named(found, frame):
    wood = (frame["metal"] == "wood").sum()
    assert wood < 20
    assert any("wood of column 'metal'" in sentence for sentence in found.unlearnable)
    test = round(len(found.near.sizes) / 10)
    assert any(
        f"test set of {test}, whose mean has a standard error of {test**-0.5:.2f}" in sentence
        for sentence in found.unlearnable
    )


# --- laws ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def surveys():
    """Columns whose laws are clear, and some whose laws are not."""
    random = np.random.default_rng(7)
    rows = 500
    return pd.DataFrame(
        {
            "name": [f"d{number}" for number in range(rows)],
            "mass": random.lognormal(0, 0.8, rows),
            "share": random.beta(0.7, 0.7, rows),
            "humidity [%]": random.uniform(30, 60, rows),
            "grade": random.integers(1, 6, rows),
            "parts": random.choice(7, rows, p=[0.4, 0.2, 0.1, 0.08, 0.08, 0.07, 0.07]),
            "level": random.choice(["High", "low", "Medium"], rows),
            "risk": random.choice(["low", "medium", "high", "unknown"], rows),
            "colour": random.choice(["red", "green", "blue"], rows),
            "length": random.normal(100, 5, rows),
            "fixed": 3.0,
            "load": random.normal(size=rows),
        }
    )


def inspected(frame, folder, *options):
    """What a training reads of a table with the schema that is written for it, the columns found, and the file."""
    frame.to_csv(folder / "table.csv", index=False)
    command = ["inspect", str(folder / "table.csv"), "--out", str(folder / "new"), *options]
    assert cli.run(command) == 0
    path = folder / "new" / "columns.toml"
    config = DataConfig(cells="mixed", schema=str(path))
    columns = json.loads((folder / "new" / "inspect.json").read_text())["columns"]
    return read(folder / "table.csv", config), {one["name"]: one for one in columns}, path


def test_laws_are_proposed_with_reasons_and_a_training_takes_them(surveys, tmp_path):
    splits, columns, path = inspected(surveys, tmp_path, "--response", "load")
    kinds = dict(zip(splits.schema.columns, splits.schema.kinds, strict=True))
    assert kinds == {
        "mass": "positive",
        "share": "bounded",
        "humidity [%]": "real",
        "grade": "ordinal",
        "parts": "count",
        "level": "ordinal",
        "risk": "category",
        "colour": "category",
        "length": "real",
    }
    assert splits.schema.categories[5] == ("low", "Medium", "High")
    assert splits.schema.bounds[1] == (0, 1) and list(splits.train.responses) == ["load"]
    # The reason has the figure: both laws at their maximum, by SciPy.
    mass = surveys["mass"]
    normal = stats.norm(mass.mean(), mass.std(ddof=0)).logpdf(mass).sum()
    logs = np.log(mass)
    log_normal = stats.lognorm(logs.std(ddof=0), scale=np.exp(logs.mean())).logpdf(mass).sum()
    assert f"by {log_normal - normal:,.0f} nats" in columns["mass"]["law"]
    assert (
        "5 levels" in columns["grade"]["law"] and "low < Medium < High" in columns["level"]["law"]
    )
    text = path.read_text()
    assert 'kind = "ordinal"  # its words are a scale, low < Medium < High' in text
    unclear = {name for name, column in columns.items() if column["unclear"]}
    assert unclear >= {"humidity [%]", "parts", "risk"} and not unclear & {"mass", "colour", "name"}
    assert "unknown is not" in columns["risk"]["unclear"][0]
    page = (tmp_path / "new" / "inspect.html").read_text()
    assert "Laws that are proposed" in page and "Laws that these rows do not settle" in page


def test_the_schema_means_what_a_training_finds_by_itself_but_for_scales_of_words(
    surveys, tmp_path
):
    surveys["length"] = np.where(np.arange(500) % 3, surveys["length"], 100.0)
    frame = surveys.drop(columns=["name", "fixed", "level"])
    ours, _, _ = inspected(frame, tmp_path)
    theirs = read(tmp_path / "table.csv", DataConfig(cells="mixed"))
    assert ours.schema.kinds == theirs.schema.kinds and ours.schema.bounds == theirs.schema.bounds
    values = [[value for value, _ in spikes] for spikes in ours.schema.spikes]
    assert values == [[value for value, _ in spikes] for spikes in theirs.schema.spikes]
    assert [100.0] in values


def test_a_flag_that_is_itself_inactive_stays_out_of_the_schema(tmp_path):
    random = np.random.default_rng(8)
    rows = 600
    has_rack = random.random(rows) < 0.5
    has_bag = has_rack & (random.random(rows) < 0.5)
    frame = pd.DataFrame(
        {
            "rack": has_rack.astype(int),
            "bag": np.where(has_rack, np.where(has_bag, "yes", "no"), ""),
            "litres": np.where(has_bag, random.normal(20, 3, rows), 0.0),
        }
    )
    splits, columns, path = inspected(frame, tmp_path)
    rules = [(rule.column, rule.flag) for rule in splits.schema.rules]
    assert columns["bag"]["active_if"] == "rack = 1" and (1, 0) in rules
    assert tomllib.loads(path.read_text())["columns"]["bag"]["active_if"] == "rack=1"


@pytest.mark.parametrize("kind", ["outlines", "outlines, axes swapped", "weather", "noise", "grey"])
def test_arrays_of_three_axes_are_what_a_training_takes_them_for(kind):
    random = np.random.default_rng(9)
    weather = np.stack([1e5 + random.normal(size=(60, 24)), 290 + random.normal(size=(60, 24))], 2)
    array = {
        "outlines": outlines(),
        "outlines, axes swapped": outlines().transpose(0, 2, 1),
        "weather": weather,
        "noise": random.normal(size=(60, 24, 2)),
        "grey": random.integers(0, 256, (60, 16, 16)),
    }[kind]
    found, splits = find(Source("a.npy", array), DataConfig()), read(array)
    is_image = splits.schema.kind == "image"
    assert (found.form == "images") == is_image == (kind == "grey")
    assert (found.form == "series") == (splits.scaling == "common") == kind.startswith("outlines")
    assert is_image or tuple(column.name for column in found.columns) == splits.schema.columns
    if kind.startswith("outlines"):
        np.testing.assert_array_equal(found.outline.points(found.values), outlines())


# --- rows ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def versions():
    """Designs in versions, some of them equal."""
    random = np.random.default_rng(2)
    bases = random.normal(size=(60, 5)) * np.array([1, 2, 1, 1, 3])
    rows = np.repeat(bases, 3, 0)
    rows += 0.01 * random.normal(size=rows.shape)
    rows[7] = rows[100]
    rows[8] = rows[100]
    rows[20, 0] = rows[21, 0] = 0.0
    return rows


def test_near_rows_and_families_are_those_of_scipy_and_scikit_learn(versions):
    found = find(Source("designs.npy", versions), DataConfig(tolerance=0.03))
    distances = pdist(versions) / np.sqrt(5)
    assert found.near is not None and found.near.count == (distances <= 0.03).sum() > 60
    clusters = AgglomerativeClustering(
        None, linkage="single", distance_threshold=0.03 * np.sqrt(5) + 1e-9
    ).fit_predict(versions)
    pairs = found.near.family[:, None] == found.near.family
    assert np.array_equal(pairs, clusters[:, None] == clusters)


def test_equal_rows_are_those_of_pandas(versions):
    versions[30], versions[31] = -0.0, 0.0
    found = find(Source("designs.npy", versions), DataConfig())
    expected = np.flatnonzero(pd.DataFrame(versions).duplicated())
    assert sorted(found.duplicates) == expected.tolist() and found.equal_pairs == 4
    assert found.duplicates[8] == 7 and list(found.removed) == expected.tolist()
    labelled = find(Source("a", versions, labels=np.arange(180)), DataConfig())
    assert labelled.equal_pairs == 0


def test_rows_that_differ_in_a_word_or_a_gap_are_never_near(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,kind\n1,oak\n1.01,ash\n1.02,oak\n,oak\n9,ash\n")
    found, _ = look(str(path), DataConfig(tolerance=0.5))
    assert found.near is not None and found.near.family.tolist() == [0, 1, 0, 2, 3]


def test_families_are_told_by_a_column_and_by_the_names_of_rows(tmp_path):
    path = tmp_path / "a.csv"
    lines = [f"{name},{maker},{number}" for number, (name, maker) in enumerate(
        [("ab1", "x"), ("ab2", "y"), ("cd1", "y"), ("ef", "z"), ("77", "z2")]
    )]  # fmt: skip
    path.write_text("\n".join(["name,maker,mass", *lines]))
    config = DataConfig(id="name", group="maker")
    found, _ = look(str(path), config, id_pattern="^([a-z]+)[0-9]")
    assert found.groups is not None and found.groups[1].tolist() == [0, 0, 0, 1, 2]
    alone, _ = look(str(path), DataConfig(id="name", ignore=("maker",)), id_pattern="[a-z]+")
    assert alone.groups is not None and alone.groups[1].tolist() == [0, 0, 1, 2, 3]
    with pytest.raises(ValueError, match="`id_pattern` must be a regular expression"):
        look(str(path), config, id_pattern="(")
    with pytest.raises(ValueError, match="`id_pattern` looks into the names of rows"):
        look(str(path), DataConfig(ignore=("name", "maker")), id_pattern="a")


# --- what to begin with -------------------------------------------------------------------------------------------


def test_curves_are_known_and_their_latents_are_pca_for_99_percent():
    random = np.random.default_rng(3)
    place = np.linspace(0, 1, 50)
    curves = sum(
        random.normal(size=(400, 1)) / k**1.5 * np.sin(np.pi * k * place) for k in range(1, 9)
    )
    found = find(Source("curves.npy", curves), DataConfig())
    assert found.form == "series"
    assert not found.spikes
    curves[5] += 40
    assert 5 in find(Source("curves.npy", curves), DataConfig()).far


def test_what_so_few_rows_bear_is_said(tmp_path):
    random = np.random.default_rng(4)
    path = tmp_path / "few.npy"
    np.save(path, random.normal(size=(45, 4)) @ random.normal(size=(4, 12)))
    found, _ = look(str(path), DataConfig())
    proposal = proposed(str(path), found, DataConfig())
    assert proposal.latent_dim == 2
    assert any("rows that are apart bear about a twentieth" in why for why in proposal.reasons)


def tables(random, rows=120):
    """Small tables of every kind."""
    numbers = random.normal(size=(rows, 3)) @ random.normal(size=(3, 8))
    gaps = numbers.copy()
    gaps[random.random(gaps.shape) < 0.1] = np.nan
    kinds = {
        "numbers": numbers,
        "binary": random.integers(0, 2, (rows, 6)),
        "counts": random.poisson(5, (rows, 5)),
        "overdispersed": random.negative_binomial(2, 0.1, (rows, 5)),
        "positive": np.exp(1.5 * random.normal(size=(rows, 4))),
        "bounded": random.beta(0.8, 0.8, (rows, 4)),
        "gaps": gaps,
        "curves": np.cumsum(random.normal(size=(rows, 30)), 1) + 50,
    }
    frames = {}
    for name, values in kinds.items():
        titles = [f"y{place + 1}" if name == "curves" else letter for place, letter in
                  zip(range(values.shape[1]), "abcdefgh" * 4, strict=False)]  # fmt: skip
        frames[name] = pd.DataFrame(values, columns=titles)
    words = pd.DataFrame(numbers[:, :4], columns=list("abcd"))
    words["material"] = random.choice(["oak", "steel", "brass"], rows)
    spiked = pd.DataFrame(numbers[:, :4].copy(), columns=list("abcd"))  # older pandas shares it
    spiked.loc[: rows // 3, "a"] = 68.5
    return frames | {"categories": words, "spiked": spiked}


EXPECTED = {
    "numbers": "gaussian", "binary": "bernoulli", "counts": "poisson", "overdispersed": "negative-binomial",
    "positive": "gaussian", "bounded": "gaussian", "gaps": "mixed", "curves": "gaussian", "categories": "mixed",
    "spiked": "gaussian",
}  # fmt: skip
BUILT_IN = {"digits": "gaussian-shared", "brackets": "bernoulli", "sprites:200": "bernoulli"}


@pytest.mark.parametrize("kind", [*EXPECTED, *BUILT_IN])
def test_what_is_proposed_is_what_a_training_chooses(kind, tmp_path):
    source = kind
    if kind in EXPECTED:
        source = str(tmp_path / "table.csv")
        tables(np.random.default_rng(6))[kind].to_csv(source, index=False)
    found, _ = look(source, DataConfig())
    proposal = proposed(source, found, DataConfig())
    plan = prepare(begun(RunConfig(source=source)))
    assert proposal.likelihood == plan.config.model.likelihood == (EXPECTED | BUILT_IN)[kind]
    assert proposal.latent_dim == plan.config.model.latent_dim
    assert proposal.scaling == plan.splits.scaling
    assert all(reason in plan.chosen for reason in proposal.reasons[:2])
    more = [reason for reason in proposal.reasons if reason.startswith("beside it")]
    laws = {"positive": "nearer log-normal", "bounded": "between two ends", "spiked": "a spike"}
    assert [laws[kind] in text for text in more] == ([True] if kind in laws else [])


def test_what_a_training_refuses_is_said_and_not_proposed(tmp_path):
    path = tmp_path / "two.npy"
    np.save(path, np.array([[np.inf, 1.0, 2.0], [1.0, 2.0, 4.0]] * 20))
    found, proposal = inspect(str(path), tmp_path / "new")
    assert proposal.likelihood is None and proposal.latent_dim is None and found.rows == 40
    (reason,) = proposal.reasons
    assert reason.startswith("none yet, for a training refuses these rows: ")
    with pytest.raises(ValueError, match=re.escape(reason.split("rows: ")[1][:40])):
        prepare(begun(RunConfig(source=str(path))))
    numbers = json.loads((tmp_path / "new" / "inspect.json").read_text())
    assert numbers["proposal"]["likelihood"] is None and numbers["proposal"]["reasons"] == [reason]


# --- outlines -----------------------------------------------------------------------------------------------------


def outlines(count=80, points=60):
    random = np.random.default_rng(5)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = 1 + 0.1 * random.normal(size=(count, 1)) * np.cos(3 * angle)
    width = random.uniform(0.5, 1.5, (count, 1))
    return np.stack([width * radius * np.cos(angle), radius * np.sin(angle)], 2)


def as_outlines(values, columns=()):
    layout = layout_of(values, columns)
    return None if layout is None else layout.points(values)


def test_outlines_are_known_in_each_of_their_layouts_and_curves_are_none():
    points = outlines()
    for rows in (points.reshape(80, -1), points.transpose(0, 2, 1).reshape(80, -1)):
        found = as_outlines(rows, [f"column {number + 1}" for number in range(120)])
        assert found is not None and np.array_equal(found, points)
    place = np.linspace(0, 1, 50)
    random = np.random.default_rng(6)
    size = random.uniform(0.5, 1.5, (80, 1))
    upper, lower = size * np.sqrt(place) * (1 - place), -0.3 * size * np.sqrt(place) * (1 - place)
    found = as_outlines(np.concatenate([upper, lower], 1))
    assert found is not None and found.shape == (80, 100, 2)
    assert np.array_equal(found[:, 99:49:-1, 1], lower) and np.array_equal(found[:, :50, 1], upper)
    long = np.linspace(0, 2 * np.pi, 100)
    peaks = np.exp(-0.5 * np.square((long - random.normal(3, 0.3, (80, 1))) / 0.5))
    for curves in (size * np.sin(long), peaks, size * np.exp(-long), random.normal(size=(80, 100))):
        assert as_outlines(curves, [f"column {number + 1}" for number in range(100)]) is None


# --- the command --------------------------------------------------------------------------------------------------


def test_the_folder_holds_a_page_all_numbers_a_schema_and_the_rows(frame, tmp_path, monkeypatch, capsys):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    frame = frame.drop(columns=["no", "part"])
    frame = pd.concat([frame, frame.iloc[[5]]], ignore_index=True)
    frame.to_csv("designs.csv", index=False)
    command = ["inspect", "designs.csv", "--rule", "wall < bridge OD", "--rule", "length > 60"]
    assert cli.run(command) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "runs" / "designs-inspect"
    assert {path.name for path in folder.iterdir()} - {".lock"} == set(FILES)

    breaks = (frame["wall [mm]"] >= frame["bridge OD"]) | (frame["length [mm]"] <= 60)
    is_removed = breaks | frame.duplicated()
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "clean.csv"), frame[~is_removed].reset_index(drop=True)
    )
    removed = pd.read_csv(folder / "removed.csv")
    assert removed["place"].tolist() == [f"line {row + 2}" for row in np.flatnonzero(is_removed)]
    assert removed["reason"].iloc[-1].startswith("equal to line 7")
    assert removed["reason"].iloc[0] == "breaks wall < bridge OD"

    numbers = json.loads((folder / "inspect.json").read_text())
    assert numbers["rows"] == 401 and numbers["duplicates"]["rows"] == [[400, 5]]
    schema = tomllib.loads((folder / "columns.toml").read_text())["columns"]
    assert list(schema) == list(frame.columns)
    assert schema["bridge OD"] == {
        "role": "value", "kind": "real", "active_if": "bridge=1"
    }  # fmt: skip
    assert schema["length [mm]"]["unit"] == "mm" and schema["length [mm]"]["spike"] == 68.5
    assert schema["always"] == {"role": "ignore"}
    page = (folder / "inspect.html").read_text()
    assert page.count('class="card drawn"') == 1 and "<script" not in page

    begin = next(line for line in out.splitlines() if line.startswith("Begin with: "))
    words = shlex.split(begin.removeprefix("Begin with: variform "))
    assert cli.run([*words, "--epochs", "1", "--nll-samples", "2"]) == 0


@pytest.fixture(scope="module")
def page_of_many_columns(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "new"
    names = [f"a longer name of column {number} [mm]" for number in range(40)]
    values = np.random.default_rng(0).normal(size=(80, 40))
    source = folder.with_name("many.csv")
    pd.DataFrame(values, columns=names).to_csv(source, index=False)
    inspect(str(source), folder)
    return folder / "inspect.html"


def test_every_part_of_the_page_has_a_name_of_its_own_in_its_contents(page_of_many_columns):
    page = page_of_many_columns.read_text(encoding="utf-8")
    names = re.findall(r'<li><a href="#[^"]+">([^<]+)</a>', page)
    assert len(set(names)) == len(names) > 10
    assert sum(name.startswith("Histograms of a longer name") for name in names) == 4


@pytest.mark.skipif(browsers.CHROMIUM is None, reason="Chromium is not installed: make browsers")
@pytest.mark.parametrize(("width", "is_whole"), [(1100, True), (500, False)])
def test_a_wide_table_fits_or_scrolls_within_its_frame(
    page_of_many_columns, tmp_path, width, is_whole
):
    browser = browsers.Chromium(tmp_path)
    browser.resize(width, 700)
    browser.page.goto(page_of_many_columns.as_uri())
    sizes = browser.page.evaluate("""[...document.querySelectorAll(".scroll")].map((frame) => {
        frame.scrollLeft = 1e6;
        const { right } = frame.querySelector("table").getBoundingClientRect();
        return [frame.scrollWidth, frame.clientWidth, right - frame.getBoundingClientRect().right];
    })""")
    assert browser.page.evaluate("document.documentElement.scrollWidth") <= width
    browser.close()
    assert all(wide <= own for wide, own, _ in sizes) == is_whole
    assert max(beyond for *_, beyond in sizes) <= 1  # at the end all can be seen


def test_a_column_to_be_ignored_is_ignored_by_the_schema_of_the_clean_rows_too(tmp_path):
    """It stands in clean.csv as all cells do; what reads that with the schema beside it must not learn it."""
    draw = np.random.default_rng(0)
    table = {
        "a": draw.normal(size=60),
        "note, long": ["x", "", "y"] * 20,
        "c": draw.normal(size=60),
    }
    pd.DataFrame(table).to_csv(tmp_path / "t.csv", index=False)
    folder = tmp_path / "new"
    config = DataConfig(ignore=("note, long", "c"))
    found, _ = inspect(str(tmp_path / "t.csv"), folder, config)
    by_name = {column.name: column for column in found.columns}
    assert by_name["note, long"].missing == 20 and by_name["note, long"].distinct == 2
    schema = tomllib.loads((folder / "columns.toml").read_text())["columns"]
    assert schema["c"] == schema["note, long"] == {"role": "ignore"}
    assert list(pd.read_csv(folder / "clean.csv").columns) == ["a", "note, long", "c"]
    again = DataConfig(schema=str(folder / "columns.toml"))
    assert read(str(folder / "clean.csv"), again).schema.columns == ("a",)


def test_a_mistake_leaves_no_folder_and_a_folder_that_is_there_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.random.default_rng(0).normal(size=(30, 3)))
    assert cli.run(["inspect", "rows.npy", "--rule", "column 9 < 1", "--out", "new"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --rule must compare columns") and "'column 9'" in error
    assert not (tmp_path / "new").exists()
    assert cli.run(["inspect", "rows.npy", "--out", "new"]) == 0
    (tmp_path / "new" / "columns.toml").write_text("# mine")
    assert cli.run(["inspect", "rows.npy", "--out", "new"]) == 2
    assert (tmp_path / "new" / "columns.toml").read_text() == "# mine"


def test_images_are_looked_at_as_images(tmp_path):
    assert cli.run(["inspect", "digits", "--out", str(tmp_path / "new"), "--json"]) == 0
    numbers = json.loads((tmp_path / "new" / "inspect.json").read_text())
    assert (numbers["form"], numbers["rows"], numbers["shape"]) == ("images", 1797, [1, 8, 8])
    assert len((tmp_path / "new" / "clean.csv").read_text().splitlines()) == 1798


def test_heights_are_looked_at_over_their_stations(tmp_path):
    place = np.linspace(0, 1, 30) ** 2
    size = np.random.default_rng(8).uniform(0.5, 1.5, (80, 1))
    sides = [sign * size * np.sqrt(place) * (1 - place) for sign in (1, -1)]
    np.save(tmp_path / "x.npy", place)
    rows = Source("foils.npy", np.concatenate(sides, 1))
    assert find(rows, DataConfig()).outline.is_to_scale is False
    found = find(rows, DataConfig(stations=str(tmp_path / "x.npy")))
    assert found.outline.points(found.values)[0, 29].tolist() == [1, 0]
    assert found.outline.stations == tuple(place)
    with pytest.raises(ValueError, match="or of half as many; got 30"):
        find(Source("foils.npy", rows.values[:, :40]), DataConfig(stations=str(tmp_path / "x.npy")))
