"""Pictures and the report: what is drawn is what was passed, at the place and in the colour that was promised."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.container import ErrorbarContainer
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font

from variform.evaluation.metrics import METRICS
from variform.pages import letters, report
from variform.pages.curves import plot_compared_curves, plot_curves, plot_latent_dim_study
from variform.pages.examples import plot_reconstructions, plot_samples
from variform.pages.latents import (
    plot_conditions,
    plot_interpolation,
    plot_kl_per_dimension,
    plot_latent,
    plot_manifold,
    plot_traversals,
)
from variform.pages.palette import PALETTE
from variform.pages.style import MINUS, new_figure, save_figure

COLUMNS = ("length", r"cost_$\frac$")  # which is no valid mathematics
IMAGES = np.random.default_rng(0).random((24, 1, 6, 5))
COLOURS = np.random.default_rng(1).random((24, 3, 6, 5))
ROWS = np.random.default_rng(2).normal(size=(24, 2)) * [1.0, 1e6]
MEASURES = ("elbo", "nll", "reconstruction_error", "pca_reconstruction_error", "active_units")


def drawn(figure):
    """The picture's pixels, (height, width, 4); draws everything, so a warning or an error would surface."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def epochs(count):
    names = [
        f"{part}_{key}" for part in ("train", "valid") for key in ("elbo", "log_likelihood", "kl")
    ]
    values = np.random.default_rng(3).normal(size=(count, len(names)))
    numbers = [dict(zip(names, map(float, row), strict=True)) for row in values]
    return [
        {"epoch": n + 1, "step": 7 * (n + 1), "beta": 0.1 * n, "best": n in (0, count // 2)} | row
        for n, row in enumerate(numbers)
    ]


def study(dims):
    return [
        {"latent_dim": dim}
        | {key: {"mean": dim + 0.1 * k, "se": 0.01 * dim} for k, key in enumerate(MEASURES)}
        for dim in dims
    ]


# How many panels each picture has, for images and for a table of two columns.
PICTURES = {
    "reconstructions": (lambda x, **how: plot_reconstructions(x, x, **how), 2, 2),
    "samples": (lambda x, **how: plot_samples(x, **how), 1, 2),
    "samples and data": (lambda x, **how: plot_samples(x, data=x[:7], **how), 2, 2),
    "manifold": (
        lambda x, **how: plot_manifold(x[:9].reshape(3, 3, *x.shape[1:]), [0.1, 0.5, 0.9], **how),
        1,
        2,
    ),
    "traversals": (
        lambda x, **how: plot_traversals(
            x.reshape(6, 4, *x.shape[1:]), [-2, -1, 1, 2], list("abcdef"), **how
        ),
        1,
        6,
    ),
    "interpolation": (
        lambda x, **how: plot_interpolation(x.reshape(3, 8, *x.shape[1:]), **how),
        1,
        3,
    ),
    "latent-dimension study": (
        lambda x, **how: plot_latent_dim_study(study([1, 2, 16]), x, {1: x, 2: x, 16: x}, **how),
        4,
        3,
    ),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("events", [IMAGES, COLOURS, ROWS], ids=["grey", "colour", "table"])
def test_every_picture_draws_images_and_tables(name, events):
    draw, of_images, of_table = PICTURES[name]
    figure = draw(events, columns=COLUMNS if events is ROWS else ())
    assert len(figure.axes) == (of_table if events is ROWS else of_images)
    pixels = drawn(figure)
    assert (pixels[..., :3].std(axis=(0, 1)) > 1).all()
    coloured = np.ptp(pixels[..., :3].astype(int), axis=-1) > 60
    if name != "latent-dimension study":  # whose curves are blue
        assert coloured.any() == (events is not IMAGES)
    with pytest.raises(ValueError, match=r"the picture needs .* got shape"):
        draw(events, columns=("only one",))


def test_images_keep_their_pixels_and_their_scale():
    figure = plot_reconstructions(IMAGES[:3], 2 * IMAGES[:3], value_range=(-1, 4))
    panel = figure.axes[0]
    shown = [image.get_array() for image in panel.images]
    np.testing.assert_array_equal(shown, np.concatenate([IMAGES[:3], 2 * IMAGES[:3]])[:, 0])
    assert {image.get_clim() for image in panel.images} == {(-1, 4)}
    heights = [np.mean(image.get_extent()[2:]) for image in panel.images]
    labels = dict(
        zip(panel.get_yticks(), [text.get_text() for text in panel.get_yticklabels()], strict=True)
    )
    assert [labels[round(height)] for height in heights] == ["original"] * 3 + [
        "reconstruction"
    ] * 3
    colour = plot_samples(10 * COLOURS[:1], value_range=(0, 10)).axes[0].images[0].get_array()
    np.testing.assert_allclose(colour, COLOURS[0].transpose(1, 2, 0))


def test_manifold_has_z1_to_the_right_and_z2_upwards():
    grid = np.zeros((3, 3, 1, 4, 4))
    grid[0, 0], grid[0, 2] = 1.0, 0.5
    figure = plot_manifold(grid, [0.1, 0.5, 0.9])
    pixels, panel = drawn(figure), figure.axes[0]

    def grey(z1, z2):
        across, upwards = panel.transData.transform((z1, z2))
        return pixels[len(pixels) - round(upwards), round(across), 0]

    assert (grey(0, 0), grey(2, 2), grey(0, 2)) == (255, 0, 0)
    assert 120 < grey(2, 0) < 135
    assert [text.get_text() for text in panel.get_xticklabels()] == [
        f"{MINUS}1.28\n(0.1)",
        "0.00\n(0.5)",
        "1.28\n(0.9)",
    ]
    heat = plot_manifold(grid[..., 0, 0, :2], [0.1, 0.5, 0.9], columns=COLUMNS).axes[0].images[0]
    assert heat.origin == "lower"
    np.testing.assert_array_equal(heat.get_array(), grid[..., 0, 0, 0])


def test_histograms_share_bins_and_count_what_lies_outside():
    data, samples = np.linspace(0, 1, 50)[:, None], np.linspace(0, 2, 100)[:, None]
    panel = plot_samples(samples, data=data, columns=["x"]).axes[0]
    outlines = [patch.get_path().vertices for patch in panel.patches]
    assert (
        np.ptp(outlines[0][:, 0]) == pytest.approx(np.ptp(outlines[1][:, 0])) == pytest.approx(1.1)
    )
    outside = float(re.search(r"\((.*)% of samples outside\)", panel.get_title())[1])
    assert outside == pytest.approx(100 * np.mean(samples > 1.05), abs=0.05)


def test_labels_choose_the_colours_and_big_clouds_are_cut():
    points, labels = np.random.default_rng(4).normal(size=(6_000, 2)), np.arange(6_000) % 3
    figure = plot_latent(points, labels, classes=("a", "b", "c"), axes=("PC1", "PC2"))
    drawn(figure)
    cloud = figure.axes[0].collections[0]
    np.testing.assert_array_equal(cloud.get_offsets(), points[:5_000])
    for label in range(3):
        np.testing.assert_allclose(cloud.get_facecolors()[label][:3], to_rgba(PALETTE[label])[:3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    assert figure.get_supxlabel() == "first 5,000 of 6,000 points shown"
    many = plot_latent(points, points[:, 0])
    np.testing.assert_array_equal(many.axes[0].collections[0].get_array(), points[:5_000, 0])
    assert len(many.axes) == 2  # a colour bar
    words = plot_latent(points[:40], [f"word {n % 12:02}" for n in range(40)])
    assert [text.get_text() for text in words.axes[1].get_yticklabels()][:2] == [
        "word 00",
        "word 01",
    ]


def test_traversals_of_tables_share_one_scale_per_column():
    values = np.random.default_rng(5).normal(size=(3, 5, 2)) * [1, 1000]
    panels = plot_traversals(values, range(5), ["z1", "z2", "z3"], columns=COLUMNS).axes
    lines = np.array(
        [[line.get_ydata() for line in panel.get_lines()] for panel in panels]
    )  # (dims, columns, steps)
    low, high = values.min((0, 1)), values.max((0, 1))
    np.testing.assert_allclose(lines.transpose(0, 2, 1), (values - low) / (high - low))


WORDS = ((), ("red", "green", "blue"))


def test_categories_have_their_names_in_pictures_of_a_table():
    grid = np.stack([np.linspace(0, 5, 9).reshape(3, 3), np.array([[0, 1, 2]] * 3)], -1)
    figure = plot_manifold(grid, [0.1, 0.5, 0.9], columns=("mass", "colour"), categories=WORDS)
    drawn(figure)
    bar = next(
        axes
        for panel in figure.axes
        for axes in panel.child_axes
        if axes.get_yticks().tolist() == [0, 1, 2]
    )
    assert [text.get_text() for text in bar.get_yticklabels()] == ["red", "green", "blue"]
    ways = {
        "traversals": lambda **look: plot_traversals(grid, range(3), ["a", "b", "c"], **look),
        "conditions": lambda **look: plot_conditions(grid, ["x", "y", "z"], "kind", **look),
        "interpolation": lambda **look: plot_interpolation(grid, **look),
    }
    for make in ways.values():
        figure = make(columns=("mass", "colour"), categories=WORDS)
        drawn(figure)
        lines = figure.axes[0].get_lines()
        assert (
            lines[1].get_ydata().tolist() == [0, 0.5, 1] and lines[1].get_drawstyle() == "steps-mid"
        )
        assert figure.legends[0].get_texts()[1].get_text() == "colour (red, green, blue)"
    rows = np.array([[1.0, 0], [2, 2], [3, 1]])
    figure = plot_reconstructions(rows, rows, columns=("mass", "colour"), categories=WORDS)
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == [
        "red",
        "green",
        "blue",
    ]


@pytest.mark.parametrize("most", [1, 12, 100, 1234])
def test_bins_of_whole_numbers_hold_equally_many_of_them(most):
    """Counts that are uniform make a flat histogram, without the teeth of a comb."""
    numbers = np.arange(most + 1.0)
    figure = plot_samples(numbers[:, None], data=numbers[:, None], columns=("count",))
    drawn(figure)
    edges = np.unique(figure.axes[0].patches[0].get_path().vertices[:, 0])
    heights, _ = np.histogram(numbers, edges)
    assert heights.sum() == most + 1 and len(heights) <= 31
    assert len(set(heights[:-1].tolist())) <= 1 and heights[-1] <= heights[0]
    assert ((edges - 0.5) % 1 == 0).all()


@pytest.mark.parametrize("count", [1, 5])
def test_curves_are_the_history(count):
    history = epochs(count)
    figure = plot_curves(history)
    drawn(figure)
    for panel, key in zip(figure.axes, ("elbo", "log_likelihood", "kl"), strict=False):
        lines = {line.get_label(): line for line in panel.get_lines()}
        for part in ("train", "valid"):
            np.testing.assert_array_equal(lines[part].get_xdata(), range(1, count + 1))
            np.testing.assert_array_equal(
                lines[part].get_ydata(), [row[f"{part}_{key}"] for row in history]
            )
        best = lines[f"best epoch: {count // 2 + 1}"]
        assert best.get_ydata()[0] == history[count // 2][f"valid_{key}"]
    assert len(figure.axes) == (3 if count == 1 else 4)  # beta changes: an axis of its own


def test_an_epoch_that_ended_early_stands_where_it_ended_without_its_training_means():
    history = [row | {"examples": 100} for row in epochs(3)]
    history[-1] |= {"examples": 10, "train_elbo": -1e6}
    panel = plot_curves(history).axes[0]
    lines = {line.get_label(): line for line in panel.get_lines()}
    assert lines["train"].get_xdata().tolist() == [1, 2]
    assert lines["train"].get_ydata().tolist() == [row["train_elbo"] for row in history[:2]]
    np.testing.assert_allclose(lines["valid"].get_xdata(), [1, 2, 2.1])
    assert lines["valid"].get_ydata().tolist() == [row["valid_elbo"] for row in history]


def test_curves_of_an_autoencoder_have_no_empty_panels():
    """It has no ELBO and no KL: what JSON holds of them is null."""
    history = [
        row | {key: None for key in row if key.endswith(("_elbo", "_kl"))} for row in epochs(6)
    ]
    history = [
        row | {"train_loss": 2.0 * row["epoch"], "valid_loss": 3.0 * row["epoch"]}
        for row in history
    ]
    figure = plot_curves(history)
    drawn(figure)
    assert [panel.get_title() for panel in figure.axes] == ["log-likelihood", "loss"]
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert lines["valid"].get_ydata().tolist() == [row["valid_loss"] for row in history]
    assert [
        panel.get_title() for panel in plot_compared_curves({"a": epochs(3), "b": history}).axes
    ] == ["log-likelihood"]


def bars(container):
    """Half the length of each error bar of a container."""
    return [
        np.ptp(segment[:, 1]) / 2
        for segment in container.lines[2][0].get_segments()
        if len(segment)
    ]


def test_kl_bars_are_sorted_and_carry_their_errors():
    mean, se = np.array([0.5, 2.0, 0.001]), np.array([0.1, 0.2, 0.0003])
    figure = plot_kl_per_dimension(mean, se)
    drawn(figure)
    (panel,) = figure.axes
    assert [bar.get_height() for bar in panel.patches] == [2.0, 0.5, 0.001]
    np.testing.assert_allclose(
        bars(next(c for c in panel.containers if isinstance(c, ErrorbarContainer))), se[[1, 0, 2]]
    )
    assert [text.get_text() for text in panel.get_xticklabels()] == ["z2", "z1", "z3"]
    assert "2 of 3 above 0.01 nats" in figure.get_suptitle()
    with pytest.raises(ValueError, match="a mean and a standard error per dimension"):
        plot_kl_per_dimension(mean, se[:2])


def test_study_draws_each_measure_with_its_errors():
    rows = study([1, 2, 16])
    del rows[1]["pca_reconstruction_error"]
    rows[2]["active_units"]["se"] = None
    figure = plot_latent_dim_study(rows[::-1], ROWS, {}, columns=COLUMNS, error_unit="kg")
    curves = [curve for panel in figure.axes for curve in panel.containers]
    for curve, key in zip(curves, MEASURES, strict=True):
        kept, sign = [row for row in rows if key in row], -1 if key == "nll" else 1
        np.testing.assert_array_equal(
            curve.lines[0].get_xdata(orig=False), [row["latent_dim"] for row in kept]
        )
        np.testing.assert_allclose(
            curve.lines[0].get_ydata(orig=False), [sign * row[key]["mean"] for row in kept]
        )
        np.testing.assert_allclose(
            bars(curve), [row[key]["se"] for row in kept if row[key]["se"] is not None]
        )


def test_letters_of_other_scripts_get_a_font_that_has_them(tmp_path):
    """One that a font beside the usual one has, of those that come with Matplotlib."""
    usual = set(FT2Font(findfont("DejaVu Sans")).get_charmap())
    others = set(FT2Font(findfont("STIXGeneral")).get_charmap())
    letter = min(code for code in others - usual if chr(code).isalpha())
    figure = new_figure(3, 2, "plain")
    panel = figure.subplots()
    panel.set_xlabel(f"mass {chr(letter)}")
    save_figure(figure, tmp_path / "a.png")
    families = panel.xaxis.label.get_fontfamily()
    fonts = [FT2Font(findfont(FontProperties(family=[family]))) for family in families]
    assert any(letter in font.get_charmap() for font in fonts)
    assert figure._suptitle.get_fontfamily() == ["sans-serif"]


def test_letters_that_no_font_has_are_said_once(tmp_path):
    letters._warn.cache_clear()
    with pytest.warns(UserWarning, match="no font of this machine has them") as caught:
        for name in ("a.png", "b.png"):
            figure = new_figure(3, 2, "\U00014646")
            figure.subplots()
            save_figure(figure, tmp_path / name)
    assert len(caught) == 1


@pytest.mark.parametrize("plot", [lambda: plot_curves(epochs(2)), lambda: plot_latent(ROWS)])
def test_a_saved_figure_has_the_bytes_that_matplotlib_writes(plot, tmp_path):
    plot().savefig(tmp_path / "matplotlib.png", dpi=110)
    save_figure(plot(), tmp_path / "ours.png")
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "matplotlib.png").read_bytes()


@pytest.fixture
def pictures(tmp_path):
    """Two picture files of different content."""
    plot_curves(epochs(2)).savefig(tmp_path / "curves.png", dpi=30)
    plot_latent(ROWS).savefig(tmp_path / "latent.png", dpi=30)
    return [
        report.Picture(f"{name} <script>", tmp_path / f"{name}.png", "a & b")
        for name in ("curves", "latent")
    ]


def page(pictures, **changes):
    table = report.Table(
        "<script>t", ("<script>column", "nats"), [("ELBO", "98.2 ± 0.1"), ("KL", "3")], "a note"
    )
    given = {
        "title": "<script>x</script>",
        "summary": "<script>",
        "facts": [("rows", "<b>24")],
        "tables": [table],
    }
    given |= {
        "pictures": pictures,
        "command": "variform train 'a b' > log",
        "notes": ["<i>"],
        "config": "a = '<u>'",
    }
    return report.render(**given | changes)


class Reader(HTMLParser):
    """Collects tags and text, and checks that tags close in the order in which they were opened."""

    def __init__(self):
        super().__init__()
        self.found, self.text, self.open = [], "", []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_report_holds_every_byte_and_nothing_foreign(pictures):
    html, reader = page(pictures), Reader()
    reader.feed(html)
    assert not reader.open
    images = [attrs for tag, attrs in reader.found if tag == "img"]
    embedded = [
        base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) for image in images
    ]
    assert embedded == [picture.path.read_bytes() for picture in pictures]
    assert [image["width"] for image in images] == [
        "960",
        "710",
    ]  # 10 and 7.4 inches, whatever the resolution
    assert [image["alt"] for image in images] == [picture.title for picture in pictures]
    tags, text = {tag for tag, _ in reader.found}, re.sub(r"base64,[^\"]*", "", html)
    assert not tags & {"script", "b", "i", "u", "link", "iframe"}
    assert not re.search(r"http|url\(|@import|//", text)
    for words in (
        "<script>x</script>",
        "<script>column",
        "variform train 'a b' > log",
        "a = '<u>'",
        "<b>24",
        "<i>",
    ):
        assert words in reader.text
    targets = {attrs["href"][1:] for tag, attrs in reader.found if tag == "a"}
    assert targets == {attrs["id"] for _, attrs in reader.found if "id" in attrs}


def test_report_needs_no_parts_and_refuses_wrong_ones(pictures, tmp_path):
    bare = page([], facts=[], tables=[], notes=[], config="")
    assert "<img" not in bare and "<table" not in bare and "<details" not in bare
    (tmp_path / "curves.png").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match=r"must be a PNG file; .*curves\.png"):
        page(pictures)
    with pytest.raises(FileNotFoundError):
        page([report.Picture("gone", Path(tmp_path / "gone.png"), "")])
    with pytest.raises(ValueError, match="must have 2 cells"):
        report.Table("t", ("a", "b"), [("1",)])


def test_the_verdict_of_a_report_stands_first_and_what_few_need_is_folded(pictures):
    html = page(
        pictures[1:],
        verdict="better by 4 ± 1 nats",
        advice="use `refine=50`",
        warnings=["Mind `clip_norm=10`, not '`label`'."],
        top=pictures[0],
        folded=[("fingerprint", "4f48")],
        notes=["Try `learning_rate=0.001`, <b>."],
    )
    reader = Reader()
    reader.feed(html)
    order = [
        "better by",
        "Next:",
        "Mind",
        "curves <script>",
        "98.2",
        "Try",
        "latent <script>",
        "4f48",
    ]
    places = [reader.text.rindex(words) for words in order]
    assert places == sorted(places)
    for words in ("use --refine 50", "Mind --clip-norm 10, not '`label`'", "--learning-rate 0.001"):
        assert words in reader.text
    folded = html[html.index('id="folded"') :]
    assert folded.index("<details>") < folded.index("4f48") < folded.index("</details>")
    targets = {attrs["href"][1:] for tag, attrs in reader.found if tag == "a"}
    assert targets == {attrs["id"] for _, attrs in reader.found if "id" in attrs}


def test_a_number_is_explained_behind_a_question_mark():
    """By an element that opens without a script, by click, touch and keys; a name without a meaning has none."""
    table = report.Table(
        "t", ("", "VAE", "PCA"), [("ELBO", "1", "2"), ("other", "1", "2")],
        meanings={"ELBO": "a <bound>", "PCA": "linear"},
    )  # fmt: skip
    html = page([], tables=[table], config="")
    shown = re.findall(
        r'<details class="why"><summary>(\w+)<span>\?</span></summary><p>(.*?)</p></details>',
        html,
    )
    assert shown == [("PCA", "linear"), ("ELBO", "a &lt;bound&gt;")]
    assert html.count("<details") == 2


def test_every_metric_is_explained():
    assert all(metric.meaning.endswith(".") for metric in METRICS.values())
