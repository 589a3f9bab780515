"""Responses: what is known of a row beside its values goes where the row goes, and never into it."""

import base64
import csv
import json
import re
import shutil

import browsers
import numpy as np
import pandas as pd
import pytest
import torch
from pages import contents_of
from PIL import Image

from variform import DataConfig, ModelConfig, RunConfig, build_vae, evaluate, explore, read
from variform.config.run import EvaluationConfig
from variform.config.training import TrainConfig
from variform.data.dataset import PARTS
from variform.data.reading import read_rows
from variform.evaluation.probes import linear_fits
from variform.faces.cli.commands import run as command
from variform.pages.explorer.contents import gather
from variform.pages.latents import plot_responses
from variform.runs.comparisons import compare
from variform.runs.folder import open_run
from variform.runs.train import train_run
from variform.system.files import write_json

ROWS = 240
MATERIALS = ("steel", "oak", "")
RESPONSES = ("drag [N]", "material")


def designs(seed=0):
    """Three columns of a plane in space, and responses of which a third or fifth is not there."""
    draw = np.random.default_rng(seed)
    plane = draw.normal(size=(ROWS, 2))
    x = plane @ np.array([[1.0, 0.5, -0.3], [0.2, -1.0, 0.8]]) + 0.01 * draw.normal(size=(ROWS, 3))
    drag = 3 * plane[:, 0] - plane[:, 1]
    drag[::5] = np.nan
    return x, drag, [MATERIALS[row % 3] for row in range(ROWS)]


def write(path, columns):
    """A table of named columns; NaN is an empty cell."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(["" if cell != cell else cell for cell in row])
    return path


def table(path, *, drag=None, order=("id", "a", "drag [N]", "b", "material", "c")):
    x, own, materials = designs()
    columns = {
        "id": [f"design {row}" for row in range(ROWS)],
        "drag [N]": own if drag is None else drag,
        "material": materials,
        **dict(zip("abc", x.T, strict=True)),
    }
    return write(path, {name: columns[name] for name in order})


ROLES = DataConfig(id="id", response=RESPONSES)


def test_responses_go_through_splits_choices_and_parts(tmp_path):
    x, drag, materials = designs()
    splits = read(table(tmp_path / "designs.csv"), ROLES)
    assert splits.schema.columns == ("a", "b", "c")
    for part in PARTS:
        rows = getattr(splits, part)
        index = rows.index.numpy()
        np.testing.assert_allclose(rows.raw, x[index], rtol=1e-6)
        np.testing.assert_array_equal(rows.responses["drag [N]"], drag[index])
        assert rows.responses["material"].tolist() == [materials[row] for row in index]
    some = splits.train.take(torch.tensor([5, 2, 2]))
    index = splits.train.index[[5, 2, 2]].numpy()
    np.testing.assert_array_equal(some.responses["drag [N]"], drag[index])
    again = read_rows(
        tmp_path / "designs.csv",
        splits.schema,
        DataConfig(id="id", response=(",".join(RESPONSES),)),
    )
    np.testing.assert_array_equal(again.responses["drag [N]"], drag)


@pytest.mark.parametrize("cells", ["numbers", "mixed"])
def test_what_a_model_sees_depends_on_no_response(tmp_path, cells):
    config = DataConfig(id="id", response=RESPONSES, cells=cells)
    before = read(table(tmp_path / "designs.csv"), config)
    changed = table(
        tmp_path / "changed.csv",
        drag=np.arange(ROWS) * 1e6,
        order=("material", "id", "a", "b", "c", "drag [N]"),
    )
    after = read(changed, DataConfig(id="id", response=RESPONSES[::-1], cells=cells))
    assert before.fingerprint == after.fingerprint
    for part in PARTS:
        mine, other = getattr(before, part), getattr(after, part)
        assert torch.equal(mine.index, other.index)
        assert torch.equal(mine.prepared(), other.prepared())
        assert not np.array_equal(mine.responses["drag [N]"], other.responses["drag [N]"])
    assert before.schema.columns == after.schema.columns == ("a", "b", "c")


@pytest.mark.parametrize("decimals", [(".", ","), (",", ".")])
def test_responses_and_values_have_a_decimal_mark_each(tmp_path, decimals):
    """As pandas reads each with its own mark."""
    x, drag, _ = designs()
    values = pd.DataFrame(x, columns=["a", "b", "c"]).round(4)
    responses = pd.DataFrame({"drag": drag.round(3), "cost": (1000 * drag).round(1)})
    texts = [
        frame.to_csv(index=False, sep=";", decimal=mark).splitlines()
        for frame, mark in zip((values, responses), decimals, strict=True)
    ]
    path = tmp_path / "designs.csv"
    path.write_text("\n".join(map(";".join, zip(*texts, strict=True))))
    splits = read(path, DataConfig(response=("drag", "cost")))
    rows = splits.train.index.numpy()
    np.testing.assert_array_equal(splits.train.raw, values.to_numpy()[rows])
    for name in responses:
        np.testing.assert_array_equal(
            splits.train.responses[name], responses[name].to_numpy()[rows]
        )
    said = [note for note in splits.notes if "decimal commas" in note]
    assert [note.startswith("of the responses, ") for note in said] == [decimals[1] == ","]
    path.write_text(path.read_text() + "\n1.5;1.5;1.5;1.5;1\n1,5;1,5;1,5;1,5;1\n")
    with pytest.raises(ValueError, match=r"all numbers of designs.csv must have the same decimal"):
        read(path, DataConfig(response=("drag", "cost")))
    with pytest.raises(ValueError, match=r"all numbers of the responses of designs.csv must have"):
        read(path, DataConfig(response=("drag", "cost"), ignore=("a", "b", "c")))


def config_of(source, **data):
    return RunConfig(
        source=str(source),
        data=DataConfig(**data),
        model=ModelConfig(likelihood="gaussian-shared", latent_dim=2, hidden=(16,)),
        train=TrainConfig(steps=120, batch_size=32, learning_rate=5e-3),
        evaluation=EvaluationConfig(nll_samples=10),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("responses")
    config = config_of(table(folder / "designs.csv"), id="id", response=RESPONSES)
    return train_run(config, folder / "run")


def test_encode_writes_responses_beside_the_codes(run, tmp_path):
    out = tmp_path / "codes.csv"
    assert command(["encode", str(run.folder), "--out", str(out)]) == 0
    with open(out, newline="") as file:
        written = list(csv.DictReader(file))
    _, drag, materials = designs()
    assert len(written) == ROWS
    for row in written:
        number = int(row["row"])
        assert row["id"] == f"design {number}"
        assert row["material"] == materials[number]
        cell = row["drag [N]"]
        assert cell == "" if np.isnan(drag[number]) else float(cell) == drag[number]
    assert command(["decode", str(run.folder), str(out), "--out", str(tmp_path / "x.npy")]) == 0
    assert np.load(tmp_path / "x.npy").shape == (ROWS, 3)


def test_a_response_called_like_a_column_of_encode_does_not_take_its_place(run, tmp_path):
    x, drag, _ = designs()
    columns = {"z1": drag, "row": drag, **dict(zip("abc", x.T, strict=True))}
    path = write(tmp_path / "named.csv", columns)
    named = train_run(config_of(path, response=("z1", "row")), tmp_path / "named", pictures=False)
    out = tmp_path / "codes.csv"
    assert command(["encode", str(named.folder), "--out", str(out)]) == 0
    with open(out, newline="") as file:
        head = next(csv.reader(file))
    assert head == ["row", "split", "z1 (response)", "row (response)", "z1", "z2"]


def test_the_worst_rows_have_their_responses(run):
    _, drag, materials = designs()
    numbers = json.loads((run.folder / "evaluation.json").read_text())
    for worst in numbers["worst"]:
        row = worst["row"]
        assert worst["name"] == f"design {row}"
        known = worst["responses"]
        assert known["material"] == materials[row]
        expected = None if np.isnan(drag[row]) else drag[row]
        assert known["drag [N]"] == expected
    report = (run.folder / "report.html").read_text()
    assert re.search(r"<th[^>]*>drag \[N\]</th>", report)


def test_a_run_whose_responses_changed_says_so_and_goes_on(run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    source = tmp_path / "designs.csv"
    table(source)
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace(run.config.source, str(source)))
    assert not any("responses" in note for note in open_run(folder).data().notes)
    table(source, drag=np.ones(ROWS))
    (note,) = (note for note in open_run(folder).data().notes if "responses" in note)
    assert "drag [N]" in note
    assert "material" not in note
    assert command(["train", "--resume", str(folder)]) == 0
    assert "responses that have changed" in capsys.readouterr().err
    resumed = open_run(folder)
    pairs = zip(resumed.vae.parameters(), run.vae.parameters(), strict=True)
    assert all(torch.equal(mine, other) for mine, other in pairs)
    assert any(
        "responses" in note for note in json.loads((folder / "data.json").read_text())["notes"]
    )
    x, drag, _ = designs()
    write(
        source,
        {
            "id": range(ROWS),
            "drag [N]": drag,
            "material": drag,
            **dict(zip("abc", x.T + 1, strict=True)),
        },
    )
    with pytest.raises(ValueError, match="has changed since"):
        open_run(folder).data()


# --- where they are shown ---------------------------------------------------------------------------------------------


def column_of(contents, name):
    """A column of the map by its name, as numbers in the order of the rows of the source, and what else it is."""
    rows = contents["rows"]
    (column,) = (item for item in rows["columns"] if item["name"] == name)
    kind = "<f4" if column["kind"] == "number" else "<i2"
    values = np.frombuffer(base64.b64decode(column["values"]), kind)
    order = np.argsort([int(text.removeprefix("design ")) for text in rows["names"]])
    return values[order], column


def test_the_map_is_coloured_by_responses(run):
    _, drag, materials = designs()
    contents = contents_of((run.folder / "explorer.html").read_text())
    numbers, column = column_of(contents, "drag")
    assert column["unit"] == "N"
    np.testing.assert_allclose(numbers, drag, rtol=1e-6)
    words, column = column_of(contents, "material")
    assert column["kind"] == "category"
    names = [*column["categories"], ""]
    assert [names[number] for number in words] == materials


def test_the_map_of_other_rows_is_coloured_by_theirs(run, tmp_path):
    other = table(tmp_path / "other.csv", drag=np.arange(ROWS))
    page = explore(run, source=str(other))
    numbers, _ = column_of(contents_of(page.html), "drag")
    np.testing.assert_array_equal(numbers, np.arange(ROWS))


def test_responses_of_one_name_are_told_apart(tmp_path):
    x, drag, _ = designs()
    drag = np.nan_to_num(drag)
    columns = {"drag [N]": drag, "drag [lbf]": drag / 4.448, "split": drag, "none": [np.nan] * ROWS}
    path = write(tmp_path / "named.csv", {**columns, **dict(zip("abc", x.T, strict=True))})
    splits = read(path, DataConfig(response=tuple(columns)))
    model = ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian")
    vae = build_vae(model, splits.schema)
    contents = gather(vae, splits, evaluate(vae, splits.test, samples=2), laws=[])
    names = [column["name"] for column in contents["rows"]["columns"]]
    assert names == [
        "drag",
        "drag [lbf]",
        "split",
        "a",
        "b",
        "c",
        "split (2)",
        "reconstruction error",
    ]


def test_a_legend_has_name_unit_range_and_what_is_missing(run, tmp_path):
    if not browsers.CHROMIUM:
        pytest.skip("Chromium is not installed: make browsers")
    _, drag, _ = designs()
    chromium = browsers.Chromium(tmp_path)
    try:
        chromium.open(run.folder / "explorer.html", "#view=map&colour=drag")
        words = chromium.run("document.querySelector('.legend').innerText").split("\n")
        assert words[0] == "drag [N]"
        assert words[-1] == f"none: {np.isnan(drag).sum()} rows"
        span = words[1].replace("\u2212", "-").removeprefix("min to max: ").removesuffix(" N")
        known = drag[~np.isnan(drag)]
        ends = [float(end) for end in span.split(" to ")]
        np.testing.assert_allclose(ends, [known.min(), known.max()], rtol=1e-3)
        chromium.run("variform.ready.then((app) => app.set({ colour: 'material' }))")
        chromium.page.wait_for_function("document.querySelector('.legend button')")
        legend = chromium.run("document.querySelector('.legend').innerText").split("\n")
        assert sorted(legend) == ["material", "none", "oak", "steel"]
        assert chromium.errors == []
    finally:
        chromium.close()


def test_the_report_has_a_map_for_each_response(run):
    assert (run.folder / "figures" / "responses.png").is_file()
    points = np.random.default_rng(0).normal(size=(40, 2))
    drag, material = np.arange(40.0), np.array(["oak", "", "steel", "oak"] * 10)
    drag[7] = np.nan
    figure = plot_responses(points, {"drag [N]": drag, "material": material})
    panels = [panel for panel in figure.axes if panel.get_title()]
    assert [panel.get_title() for panel in panels] == ["drag [N]", "material"]
    assert figure.get_supxlabel() == "grey: none"
    assert plot_responses(points, {"whole": np.arange(40.0)}).get_supxlabel() == ""
    missing, shown = panels[0].collections
    np.testing.assert_array_equal(missing.get_offsets(), points[[7]])
    np.testing.assert_array_equal(shown.get_array(), np.delete(drag, 7))
    assert [text.get_text() for text in panels[1].get_legend().get_texts()] == ["oak", "steel"]
    _, oak, steel = panels[1].collections
    np.testing.assert_array_equal(oak.get_offsets(), points[material == "oak"])
    np.testing.assert_array_equal(steel.get_offsets(), points[material == "steel"])


# --- how much of them codes tell --------------------------------------------------------------------------------------


def test_a_linear_function_of_codes_and_of_components_tells_what_least_squares_says(run):
    splits = run.data()
    fit = run.evaluation["responses"]
    assert list(fit) == ["drag [N]"]
    y, wanted = (rows.responses["drag [N]"] for rows in (splits.train, splits.test))
    is_known, is_wanted = ~np.isnan(y), ~np.isnan(wanted)
    assert fit["drag [N]"]["rows"] == is_wanted.sum()
    x, other = (rows.prepared().double().numpy() for rows in (splits.train, splits.test))
    axes = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:2]
    with torch.no_grad():
        codes = [run.vae.encode(torch.from_numpy(part).float()).mean.numpy() for part in (x, other)]
    for kind, (first, second) in {"codes": codes, "pca": (x @ axes.T, other @ axes.T)}.items():
        first, second = (np.c_[np.ones(len(part)), part] for part in (first, second))
        slopes = np.linalg.lstsq(first[is_known], y[is_known], rcond=None)[0]
        rest = wanted[is_wanted] - second[is_wanted] @ slopes
        expected = 1 - rest.var() / wanted[is_wanted].var()
        assert fit["drag [N]"][kind] == pytest.approx(expected, abs=0.01)
    assert (
        fit["drag [N]"]["pca"] > 0.999
    )  # a plane of two components, of which it is a linear function


def test_noise_is_not_told_and_words_and_constants_are_left_out(tmp_path):
    x, _, materials = designs()
    noise = np.random.default_rng(7).normal(size=ROWS)
    more = {
        "noise": noise,
        "material": materials,
        "five": [5.0] * ROWS,
        "few": [1.0, *[np.nan] * (ROWS - 1)],
    }
    path = write(tmp_path / "named.csv", {**more, **dict(zip("abc", x.T, strict=True))})
    splits = read(path, DataConfig(response=tuple(more)))
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian"), splits.schema)
    fits = linear_fits(vae, splits.test, splits.train)
    assert list(fits) == ["noise"]
    assert max(fits["noise"]["codes"], fits["noise"]["pca"]) < 0.1


def test_compare_and_report_show_how_much_codes_tell(run, tmp_path, capsys):
    shutil.copytree(run.folder, tmp_path / "other")
    numbers = run.evaluation
    numbers["responses"]["drag [N]"]["codes"] = 0.25
    write_json(tmp_path / "other" / "evaluation.json", numbers)
    comparison = compare([run.folder, tmp_path / "other"])
    (found,) = (table for table in comparison.tables() if table.title == "Responses")
    own = run.evaluation["responses"]["drag [N]"]
    mine, pca = f"{own['codes']:.3f}", f"{own['pca']:.3f}"
    assert found.rows == [["drag [N]", mine, pca, "0.250", pca]]
    assert "linear" in found.note
    assert comparison.to_dict()["runs"][0]["responses"] == {"drag [N]": own}
    assert f">{mine}<" in (run.folder / "report.html").read_text()


# --- a table about pictures -------------------------------------------------------------------------------------------


def pictures(folder, names):
    """Grey discs, the wider the later; and how wide each is."""
    folder.mkdir()
    across, down = np.meshgrid(np.arange(12), np.arange(12))
    widths = np.linspace(1, 6, len(names))
    for name, width in zip(names, widths, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        disc = 255 * (np.hypot(across - 5.5, down - 5.5) < width)
        disc[0, 0] = round(40 * width)
        Image.fromarray(disc.astype(np.uint8)).save(folder / name)
    return widths


NAMES = [f"{number:03}.png" for number in range(60)]
ABOUT = {"condition": ("width",), "response": ("drag [N]", "material")}


def about(path, names, widths, **more):
    order = np.random.default_rng(0).permutation(len(names))
    columns = {
        "width": [float(widths[row]) for row in order],
        "drag [N]": [float(widths[row]) * float(widths[row]) if row else np.nan for row in order],
        "file": [names[row] for row in order],
        "material": [MATERIALS[row % 3] for row in order],
        "remark": ["made by hand" for _ in order],
    }
    return write(
        path, {**columns, **{name: [of[row] for row in order] for name, of in more.items()}}
    )


@pytest.mark.parametrize(
    "called", [str, lambda name: name.removesuffix(".png"), lambda name: f"./{name}"]
)
def test_pictures_have_conditions_and_responses_of_a_table(tmp_path, called):
    widths = pictures(tmp_path / "discs", NAMES)
    path = about(tmp_path / "about.csv", [called(name) for name in NAMES], widths)
    splits = read(tmp_path / "discs", DataConfig(about=str(path), **ABOUT))
    assert splits.schema.conditions[0].categories == ()
    for part in PARTS:
        rows = getattr(splits, part)
        numbers = [int(name.removesuffix(".png")) for name in rows.names]
        (condition,) = splits.schema.conditions
        contexts = rows.contexts[:, 0] * condition.scale + condition.shift
        np.testing.assert_allclose(contexts, widths[numbers], rtol=1e-5)
        drag = np.where(np.array(numbers) == 0, np.nan, widths[numbers] * widths[numbers])
        np.testing.assert_array_equal(rows.responses["drag [N]"], drag)
        assert rows.responses["material"].tolist() == [MATERIALS[number % 3] for number in numbers]
    plain = read(tmp_path / "discs", DataConfig(about=str(path), response=("drag [N]",)))
    assert plain.fingerprint == read(tmp_path / "discs").fingerprint


def test_labels_and_groups_of_a_table_take_the_place_of_folders(tmp_path):
    names = [f"{'ab'[row % 2]}/{name}" for row, name in enumerate(NAMES)]
    widths = pictures(tmp_path / "discs", names)
    kinds, plants = (
        [f"kind {row % 3}" for row in range(60)],
        [f"plant {row % 12}" for row in range(60)],
    )
    path = about(tmp_path / "about.csv", NAMES, widths, kind=kinds, plant=plants)
    config = DataConfig(about=str(path), label="kind", group="plant")
    splits = read(tmp_path / "discs", config)
    assert splits.schema.classes == ("kind 0", "kind 1", "kind 2")
    assert not any("sub-folders" in note for note in splits.notes)
    groups = []
    for part in PARTS:
        rows = getattr(splits, part)
        numbers = [int(name[2:-4]) for name in rows.names]
        assert rows.labels.tolist() == [number % 3 for number in numbers]
        groups.append({number % 12 for number in numbers})
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_every_picture_is_found_in_the_table_and_other_rows_are_said(tmp_path):
    widths = pictures(tmp_path / "discs", NAMES)
    path = about(tmp_path / "more.csv", [*NAMES, "lost.png", "gone.png"], np.append(widths, [1, 2]))
    notes = read(tmp_path / "discs", DataConfig(about=str(path), **ABOUT)).notes
    (note,) = (note for note in notes if "about no picture" in note)
    assert "2 of 62" in note
    path = about(tmp_path / "fewer.csv", NAMES[4:], widths[4:])
    with pytest.raises(ValueError, match=r"4 of 60 have none, as '000\.png'"):
        read(tmp_path / "discs", DataConfig(about=str(path), **ABOUT))
    path = about(tmp_path / "twice.csv", [*NAMES, NAMES[0]], np.append(widths, 1))
    with pytest.raises(ValueError, match=r"one row about a picture.*'000\.png'"):
        read(tmp_path / "discs", DataConfig(about=str(path), **ABOUT))
    path = write(tmp_path / "unnamed.csv", {"picture": NAMES, "width": widths})
    with pytest.raises(ValueError, match=r"column 'file'.*has picture, width"):
        read(tmp_path / "discs", DataConfig(about=str(path), condition=("width",)))
    with pytest.raises(ValueError, match=r"`about`"):
        read(tmp_path / "discs", DataConfig(condition=("width",)))
    with pytest.raises(ValueError, match=r"`about` names a table about a folder of image files"):
        read(table(tmp_path / "designs.csv"), DataConfig(about=str(path)))


def test_a_model_of_pictures_is_told_numbers_of_the_table_and_writes_responses(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    widths = pictures(tmp_path / "discs", NAMES)
    about(tmp_path / "about.csv", NAMES, widths)
    config = config_of("discs", about="about.csv", **ABOUT)
    run = train_run(config, tmp_path / "run", pictures=False)
    monkeypatch.chdir("/")
    assert command(["encode", str(run.folder), "--out", str(tmp_path / "codes.csv")]) == 0
    with open(tmp_path / "codes.csv", newline="") as file:
        for row in csv.DictReader(file):
            number = int(row["file"].removesuffix(".png"))
            assert row["material"] == MATERIALS[number % 3]
            assert row["drag [N]"] == (
                "" if number == 0 else str(widths[number] * widths[number]).removesuffix(".0")
            )
    some = read_rows(tmp_path / "discs" / "007.png", run.vae.schema, run.config.data)
    np.testing.assert_allclose(some.responses["drag [N]"], widths[7] * widths[7])
    out = ["--given", "width=3", "--count", "2", "--out", str(tmp_path / "new.npy")]
    assert command(["generate", str(run.folder), *out]) == 0
