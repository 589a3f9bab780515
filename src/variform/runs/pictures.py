"""The pictures and the report of a run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tomli_w
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from variform.config.checks import checked
from variform.config.model import latents_name, prior_name
from variform.config.run import objective_name
from variform.config.toml import to_command, to_dict
from variform.config.words import Own, listed
from variform.data.dataset import Splits
from variform.data.schema import Schema
from variform.evaluation import exploration
from variform.evaluation.conclusion import conclude
from variform.evaluation.illnesses.training import is_collapsed
from variform.evaluation.metrics import METRICS
from variform.evaluation.sections import sections_of
from variform.evaluation.tables import (
    LINEAR,
    baseline_names,
    decimal,
    headings,
    meanings,
    numbers_table,
    response_table,
    show,
)
from variform.evaluation.verdict import placed
from variform.model.vae import VAE
from variform.pages.architecture import plot_architecture
from variform.pages.curves import plot_curves
from variform.pages.examples import plot_reconstructions, plot_samples
from variform.pages.language import ENGLISH, Words
from variform.pages.latents import (
    plot_conditions,
    plot_interpolation,
    plot_kl_per_dimension,
    plot_latent,
    plot_levels,
    plot_manifold,
    plot_responses,
    plot_traversals,
)
from variform.pages.report import Picture, Question, Table, render
from variform.pages.vector import picture_of
from variform.runs.folder import FIGURES, PictureName, Run
from variform.runs.records import history as history_of
from variform.runs.records import read_axes, read_sessions
from variform.runs.retraining import axes_in_words, bookmarks_table
from variform.system.files import write_text
from variform.training.history import History, passes

Array = NDArray[Any]


@dataclass(frozen=True)
class Subject:
    """What pictures are drawn of: a run, its data and its numbers, and what several pictures need of them.

    Args:
        run: The run.
        splits: Its data.
        numbers: Its evaluation.
        history: The rows of its training, one an epoch.
    """

    run: Run
    splits: Splits
    numbers: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def vae(self) -> VAE:
        """The model."""
        return self.run.vae

    @property
    def schema(self) -> Schema:
        """What the data are."""
        return self.splits.schema

    @property
    def is_image(self) -> bool:
        """Whether a row is an image."""
        return self.schema.kind == "image"

    @property
    def are_tiles(self) -> bool:
        """Whether a row is a picture by itself: an image or an outline."""
        return self.is_image or self.schema.outline is not None

    @property
    def has_map(self) -> bool:
        """Whether the latents hold anything: of a collapsed model a picture would show what is not there."""
        return not is_collapsed(self.numbers)

    @property
    def look(self) -> dict[str, Any]:
        """What every picture of rows needs to know of them."""
        look: dict[str, Any] = {
            "columns": self.schema.titles,
            "categories": self.schema.categories,
        }
        if self.is_image:
            look["value_range"] = self.schema.grey_range
        if self.schema.outline is not None:
            look["outline"] = self.schema.outline
        return look

    @property
    def prior(self) -> str:
        """The prior, in words."""
        return prior_name(self.run.config.model)

    @property
    def is_normal(self) -> bool:
        """Whether the prior is N(0, I)."""
        model = self.run.config.model
        return model.prior == "normal" and not model.latents

    @property
    def means(self) -> Array:
        """Posterior means of the test rows, (N, D)."""
        return exploration.encode(self.vae, self.splits.test)[0]

    @property
    def information(self) -> Array:
        """How much each latent holds, (D,): its KL in nats, or its mean's variance where that has no closed form."""
        kls = self.numbers["kl_per_dimension"]
        if kls is None:
            return np.array(self.numbers["active_units"]["variances"])
        return np.array([kl["mean"] for kl in kls])

    @property
    def typical(self) -> Tensor | None:
        """What a conditional model is given where one thing must be chosen, (C,); None for other models."""
        return self.splits.train.typical_context()

    @property
    def under(self) -> str:
        """A sentence on `typical`; empty for other models."""
        if self.typical is None:
            return ""
        given = self.schema.describe(self.typical)
        title = self.schema.title
        words = ", ".join(f"{title(name)} = {value}" for name, value in given.items())
        return f" Given: {words}."

    def samples(self, *, draw: bool) -> Array:
        """New rows from the prior; a conditional model gets the contexts of training rows from everywhere."""
        count = 64 if self.are_tiles else 1000
        contexts = None
        if self.splits.train.contexts is not None:
            whole = self.splits.train.whole_contexts()
            contexts = whole[torch.arange(count) * 7919 % len(whole)]
        seed = self.run.config.train.seed
        return exploration.generate(self.vae, count, context=contexts, draw=draw, seed=seed)


@dataclass(frozen=True)
class Sketch:
    """A picture before it is drawn."""

    title: str
    caption: str
    plot: Callable[[], Figure]


def reconstructions(of: Subject) -> Sketch:
    """Test rows and what becomes of them."""
    test = of.splits.test
    few = test.take(exploration.spread(20 if of.are_tiles else 500, len(test)))
    originals, copies = exploration.reconstruct(of.vae, few)
    caption = "Test rows and what the model makes of their posterior means."
    return Sketch(
        "Reconstructions", caption, partial(plot_reconstructions, originals, copies, **of.look)
    )


def samples(of: Subject) -> Sketch:
    """New rows: means of p(x|z) for images and outlines, draws beside training rows for other tables."""
    train = of.splits.train
    training_rows = (
        None if of.are_tiles else train.gather(exploration.spread(5000, len(train))).numpy()
    )
    new = of.samples(draw=not of.are_tiles)
    caption = f"New data: z drawn from {of.prior}, then decoded"
    caption += " under the contexts of training rows." if of.under else "."
    if not of.are_tiles:
        caption += " Beside them the training rows."
    return Sketch(
        "Samples from the prior", caption, partial(plot_samples, new, data=training_rows, **of.look)
    )


def draws(of: Subject) -> Sketch | None:
    """The same with their noise, where it is part of what such data look like."""
    if not of.is_image or of.vae.likelihood.support not in ("levels", "counts"):
        return None
    caption = "The same latent points; every pixel drawn from p(x|z) on its own."
    return Sketch(
        "Samples with their noise", caption, partial(plot_samples, of.samples(draw=True), **of.look)
    )


def latent(of: Subject) -> Sketch | None:
    """Where the test rows lie."""
    if not of.has_map:
        return None
    points, axes = exploration.latent_map(of.means)
    labels, classes = of.splits.test.labels, of.schema.classes
    if labels is not None and (labels < 0).any():
        labels = torch.where(labels < 0, len(classes), labels)
        classes = (*classes, "no label")
    plot = partial(plot_latent, points, labels, classes=classes, axes=axes, title="Posterior means")
    return Sketch("Latent space", "Posterior means of the test rows.", plot)


def responses(of: Subject) -> Sketch | None:
    """Where the test rows lie, by each response that some of them have."""
    test = of.splits.test
    title = of.schema.title
    known = {title(name): values for name, values in test.responses.items() if _is_known(values)}
    if not of.has_map or not known:
        return None
    points, axes = exploration.latent_map(of.means)
    caption = "Posterior means of the test rows, coloured by what no model has seen of them."
    return Sketch("Responses", caption, partial(plot_responses, points, known, axes=axes))


def _is_known(values: Array) -> bool:
    """Whether any row has this response."""
    return bool((values != "" if values.dtype.kind in "US" else np.isfinite(values)).any())


def manifold(of: Subject) -> Sketch | None:
    """The decoded plane of two latents."""
    if not of.has_map or of.vae.latent_dim != 2:
        return None
    size = 30
    if of.are_tiles:
        size = 20 if of.is_image else 12
    grid, quantiles = exploration.manifold(of.vae, size, context=of.typical)
    caption = f"The latent plane decoded on a grid of equal prior mass; the prior is {of.prior}."
    if not of.is_normal:
        caption += (
            " Each column is a strip of equal mass, and z2 follows its quantiles in that strip."
        )
    plot = partial(plot_manifold, grid, quantiles, is_standard=of.is_normal, **of.look)
    return Sketch("The manifold", caption + of.under, plot)


def traversals(of: Subject) -> Sketch | None:
    """One latent moved at a time, those first that hold the most."""
    if not of.has_map:
        return None
    is_kl = of.numbers["kl_per_dimension"] is not None
    short, long = ("KL", "KL") if is_kl else ("Var", "variance of the posterior mean")
    values, positions, order = exploration.traversals(of.vae, of.information, context=of.typical)
    names = [f"z{number + 1}\n{short} {of.information[number]:.2f}" for number in order]
    caption = "One latent moved at a time, the others at 0"
    if not of.is_normal:
        caption = (
            f"One latent moved through its quantiles under {of.prior}, those at which N(0, 1) has the positions shown; "
            "the others at their medians, which need not be likely together"
        )
    plot = partial(plot_traversals, values, positions, names, is_standard=of.is_normal, **of.look)
    return Sketch(
        "Traversals", f"{caption}; the latent with the largest {long} first.{of.under}", plot
    )


def conditions(of: Subject) -> Sketch | None:
    """Test rows decoded under other conditions than their own."""
    if not of.under:
        return None
    few = of.splits.test.take(exploration.spread(10, len(of.splits.test)))
    changed, ways = exploration.under_each(of.vae, few)
    first = of.schema.title(of.schema.conditions[0].name)
    caption = f"Test rows, encoded with their own {first} and decoded with each {first}."
    return Sketch(
        "Under another condition",
        caption,
        partial(plot_conditions, changed, ways, first, **of.look),
    )


def levels(of: Subject) -> Sketch | None:
    """What the upper of several latents fix, and what those below change."""
    count = len(of.run.config.model.latents)
    if not count or not of.has_map or not of.are_tiles:
        return None
    values, held = exploration.redrawn(of.vae, context=of.typical)
    names = [
        f"level {count}" if number == 1 else f"levels {count} to {count - number + 1}"
        for number in held
    ]
    caption = (
        "Each row holds the latents of the levels named at its left, drawn from the prior; those of the levels below "
        f"are drawn anew in each column. Level 1 lies next to the data.{of.under}"
    )
    return Sketch("Levels", caption, partial(plot_levels, values, names, **of.look))


def interpolation(of: Subject) -> Sketch | None:
    """Ways from one test row to another."""
    if not of.has_map or len(of.splits.test) < 2:
        return None
    caption = "Straight lines between the posterior means of two test rows."
    lines = exploration.interpolation(of.vae, of.splits.test)
    return Sketch("Interpolation", caption, partial(plot_interpolation, lines, **of.look))


def kl(of: Subject) -> Sketch | None:
    """What each latent tells about a row."""
    kls = of.numbers["kl_per_dimension"]
    if kls is None:
        return None
    errors = np.array([one["se"] or 0.0 for one in kls])
    caption = "How many nats each latent tells about a row."
    return Sketch(
        "KL per latent dimension", caption, partial(plot_kl_per_dimension, of.information, errors)
    )


def curves(of: Subject) -> Sketch | None:
    """The training, epoch by epoch."""
    if not of.history:
        return None
    return Sketch(
        "Training", "Means per example over each epoch.", partial(plot_curves, of.history)
    )


PICTURES: dict[PictureName, Callable[[Subject], Sketch | None]] = {
    "reconstructions": reconstructions,
    "samples": samples,
    "draws": draws,
    "latent": latent,
    "responses": responses,
    "manifold": manifold,
    "traversals": traversals,
    "conditions": conditions,
    "levels": levels,
    "interpolation": interpolation,
    "kl": kl,
    "curves": curves,
}
"""By the names of their files, in the order of the report; a function gives None where there is nothing to show."""


@checked
def plot(run: Run, name: PictureName) -> Figure:
    """One picture of a run's report, drawn anew.

    Raises:
        ValueError: where the run has no such picture.
    """
    subject = Subject(run, run.data(), run.evaluation, history_of(run.folder))
    sketch = PICTURES[name](subject)
    if sketch is None:
        there = [each for each in FIGURES if PICTURES[each](subject) is not None]
        raise ValueError(
            f"`name` must be a picture that this model and its data have; {run.folder} has none of {name}. "
            f"It has {listed(there)}."
        )
    return sketch.plot()


def draw_pictures(
    run: Run, splits: Splits, numbers: dict[str, Any], history: list[dict[str, Any]], words: Words = ENGLISH
) -> list[Picture]:  # fmt: skip
    """Write figures/*.png and say what each shows; of a collapsed model none of the latent space.

    `words` is the language of the drawings for the report.
    """
    subject = Subject(run, splits, numbers, history)
    own = _names_in(splits.schema, splits.test.responses)

    def say(text: str) -> str:
        return text if text in own else words.say(text)

    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    pictures = []
    for name in FIGURES:
        sketch = PICTURES[name](subject)
        if sketch is None:
            continue
        path = folder / f"{name}.png"
        pictures.append(picture_of(sketch.plot(), sketch.title, path, sketch.caption, say))
    return pictures


def _names_in(schema: Schema, responses: Iterable[str]) -> frozenset[str]:
    """What stands in pictures and is the user's: names of columns, of categories and of classes."""
    conditions = [item.name for item in schema.conditions]
    columns = [*schema.columns, *schema.unit_names, *conditions, *responses]
    categories = [name for names in schema.categories for name in names]
    given = [name for item in schema.conditions for name in item.categories]
    titles = map(schema.title, columns)
    return frozenset((*columns, *titles, *categories, *given, *schema.classes))


def _left_out(numbers: dict[str, Any]) -> list[str]:
    if not is_collapsed(numbers):
        return []
    return [
        "The latent space, ways through it and its traversals are not drawn: a collapsed model puts all rows in one "
        "place."
    ]


def write_report(
    run: Run, splits: Splits, numbers: dict[str, Any], history: History, pictures: list[Picture], missing: str = "",
    words: Words = ENGLISH,
) -> None:  # fmt: skip
    """Write report.html, one file that opens offline; `missing` says why there is no explorer.html to link."""
    source, config = splits.schema.source, run.config
    notes = [*splits.notes, *numbers["notes"], *_left_out(numbers)]
    axes = read_axes(run.folder / "axes.json")
    if axes is not None:
        notes.insert(0, axes_in_words(axes))
    if missing:
        notes.append(missing)
    result = conclude(numbers, config.train, history.rows)
    [advice] = placed([result.advice], run.folder)
    html = render(
        title=f"variform: {source}, {latents_name(config.model)}",
        summary=f"A variational autoencoder trained on {len(splits.train):,} rows of {source}.",
        verdict=result.found,
        advice=advice,
        top=pictures[0] if pictures else None,
        facts=[],
        folded=[*_facts(run, splits, numbers, history), *_environment(run)],
        tables=_tables(splits.schema, numbers, axes),
        questions=_questions(numbers),
        pictures=pictures[1:],
        command=to_command(config),
        warnings=placed(numbers.get("warnings", ()), run.folder),
        notes=notes,
        networks=_networks(run, notes),
        explorer="" if missing else "explorer.html",
        config=tomli_w.dumps(to_dict(config)),
        words=words,
    )
    write_text(run.folder / "report.html", html)


def _networks(run: Run, notes: list[str]) -> str:
    """The drawing of the networks; a note where those of the user's own cannot be followed."""
    try:
        return plot_architecture(run.vae).svg
    except Exception as error:  # of the user's own code
        if not run.vae.has_own_networks:
            raise
        notes.append(f"The networks are not drawn: {type(error).__name__}: {error}")
        return ""


def _facts(
    run: Run, splits: Splits, numbers: dict[str, Any], history: History
) -> list[tuple[str, str]]:
    """What a run is, as the report says it at its end."""
    schema, config = splits.schema, run.config
    shape = " x ".join(map(str, schema.shape))
    sizes = ", ".join(
        f"{len(getattr(splits, name)):,} {name}" for name in ("train", "valid", "test")
    )
    weights = sum(value.numel() for value in run.vae.parameters())
    epochs = decimal(passes(history.rows, len(splits.train)))
    training = (
        f"{history.rows[-1]['step']:,} steps, {epochs} epochs, best epoch {history.best_epoch}"
    )
    chosen = [("Chosen", numbers["chosen"])] if numbers.get("chosen") else []
    versions = ", ".join(f"{name} {version}" for name, version in numbers["versions"].items())
    return [
        ("Data", f"{schema.source}: {schema.kind}s of shape {shape}"),
        ("Rows", sizes),
        (
            "Model",
            f"{config.model.likelihood} likelihood, {latents_name(config.model)}, {weights:,} weights",
        ),
        ("Latents", f"posterior {config.model.posterior}; prior {prior_name(config.model)}"),
        ("Training", f"{training}; {history.stopped}"),
        *chosen,
        ("Objective", objective_name(config)),
        ("Seed", str(config.train.seed)),
        ("Versions", versions),
        ("Data fingerprint", splits.fingerprint),
    ]


def _environment(run: Run) -> list[tuple[str, str]]:
    """Where the training ran, the last time that it was begun or gone on with."""
    sessions = read_sessions(run.folder / "environment.json")
    if not sessions:
        return []
    shown = {
        "platform": "Platform",
        "device": "Device",
        "threads": "Threads",
        "git_commit": "Git commit",
    }
    last = sessions[-1]
    return [(words, str(last[name])) for name, words in shown.items() if last.get(name) is not None]


def _tables(schema: Schema, numbers: dict[str, Any], axes: dict[str, Any] | None) -> list[Table]:
    """The held-out numbers, the reconstruction error of each column of a table, and where bookmarks are."""
    header, rows = numbers_table(numbers)
    note = "Mean ± standard error over the rows. Lower NLL is better, higher ELBO is better. Constants are included."
    words, leads = meanings(numbers), headings(numbers)
    tables = [Table("Held-out numbers", header, rows, note, words, leads)]
    models = {"VAE": numbers}
    for name, label in baseline_names(numbers["baselines"]).items():
        models[label] = numbers["baselines"][name]
    errors = {
        label: model.get("reconstruction_error_per_column", {}) for label, model in models.items()
    }
    if errors["VAE"]:
        by_column = [
            [Own(schema.title(column)), *(show(error[column]) for error in errors.values())]
            for column in errors["VAE"]
        ]
        unit = "RMS, in each column's unit"
        unit += "; of categories the share that is wrong." if schema.kinds else "."
        tables.append(
            Table(
                "Reconstruction error by column", ["column", *errors], by_column, unit, words, leads
            )
        )
    if numbers.get("responses"):
        tables.append(Table("Responses", *response_table(numbers), LINEAR))
    if axes is not None and axes["bookmarks"]:
        tables.append(Table("Bookmarks", *bookmarks_table(axes)))
    if worst := numbers.get("worst"):
        tables.append(_worst_rows(schema, worst))
    return tables


def _questions(numbers: dict[str, Any]) -> list[Question]:
    """What the evaluation was asked in depth."""
    return [
        Question(
            section.title,
            section.question,
            section.answer(numbers[name]),
            [
                Table(
                    lines.title or section.title,
                    lines.header,
                    lines.rows,
                    lines.note,
                    section.meanings,
                    section.headings,
                )
                for lines in section.tables(numbers[name])
            ],
        )
        for name, section in sections_of(numbers).items()
    ]


def _worst_rows(schema: Schema, worst: list[dict[str, Any]]) -> Table:
    """The rows that are rebuilt worst, and how they are called."""
    names = []
    if "name" in worst[0]:
        names = ["file" if schema.kind == "image" else "id"]
    responses = list(worst[0].get("responses", ()))
    rows = []
    for row in worst:
        figures = (f"{row['reconstruction_error']:.4g}", f"{row['nll']:,.2f}")
        known = [Own(_cell(row["responses"][name])) for name in responses]
        rows.append([f"{row['row']}", *(Own(row["name"]) for _ in names), *figures, *known])
    note = "Rows are counted from 0, in the order in which the data are read; the error is the RMS, in your units."
    head = ["row", *names, "error", "NLL", *(Own(schema.title(name)) for name in responses)]
    words = {"error": METRICS["reconstruction_error"].meaning, "NLL": METRICS["nll"].meaning}
    return Table("The worst reconstructions", head, rows, note, words)


def _cell(response: float | str | None) -> str:
    """A response of a row, empty where there is none."""
    if response is None:
        return ""
    return response if isinstance(response, str) else f"{response:.6g}"
