"""The pictures and the report of a run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tomli_w
import torch
from matplotlib.figure import Figure

from variform.config.model import prior_name
from variform.config.run import objective_name
from variform.config.toml import to_command, to_dict
from variform.data.dataset import Splits
from variform.evaluation import exploration
from variform.evaluation.baselines import baseline_names
from variform.evaluation.tables import decimal, numbers_table, show
from variform.evaluation.verdict import is_collapsed, placed
from variform.pages.curves import plot_curves
from variform.pages.examples import plot_reconstructions, plot_samples
from variform.pages.latents import (
    plot_conditions,
    plot_interpolation,
    plot_kl_per_dimension,
    plot_latent,
    plot_manifold,
    plot_traversals,
)
from variform.pages.report import Picture, Table, render
from variform.runs.folder import FIGURES, Run
from variform.system.files import replacing, write_text
from variform.training.history import History, passes


def draw_pictures(run: Run, splits: Splits, numbers: dict[str, Any], history: list[dict[str, Any]]) -> list[Picture]:
    """Write figures/*.png and say what each shows; of a collapsed model none of the latent space."""
    vae, schema = run.vae, splits.schema
    (run.folder / "figures").mkdir(exist_ok=True)
    look: dict[str, Any] = {"columns": schema.columns, "categories": schema.categories}
    if schema.kind == "image":
        look["value_range"] = schema.grey_range
    pictures: list[Picture] = []

    def add(name: str, title: str, caption: str, make: Callable[[], Figure]) -> None:
        assert name in FIGURES  # else what a killed process left of it stayed for good
        path = run.folder / "figures" / f"{name}.png"
        with replacing(path) as temporary:
            make().savefig(temporary, dpi=110)
        pictures.append(Picture(title, path, caption))

    kls, prior = numbers["kl_per_dimension"], prior_name(run.config.model)
    normal = run.config.model.prior == "normal"
    if kls is None:
        what, largest = "Var", "variance of the posterior mean"
        measure = np.array(numbers["active_units"]["variances"])
    else:
        what, largest = "KL", "KL"
        measure = np.array([item["mean"] for item in kls])
    few = splits.test.take(exploration.spread(20 if schema.kind == "image" else 500, len(splits.test)))
    originals, reconstructions = exploration.reconstruct(vae, few)
    means, _ = exploration.encode(vae, splits.test)
    points, axes = exploration.latent_map(means)
    labels, classes = splits.test.labels, schema.classes
    if labels is not None and (labels < 0).any():
        labels, classes = torch.where(labels < 0, len(classes), labels), (*classes, "no label")

    add(
        "reconstructions",
        "Reconstructions",
        "Test rows and what the model makes of their posterior means.",
        lambda: plot_reconstructions(originals, reconstructions, **look),
    )
    image = schema.kind == "image"
    beside = None if image else splits.train.gather(exploration.spread(5000, len(splits.train))).numpy()
    count, told = (64 if image else 1000), splits.train.typical_context()
    contexts = None
    if splits.train.contexts is not None and told is not None:
        whole = splits.train.whole_contexts()
        contexts = whole[torch.arange(count) * 7919 % len(whole)]  # of rows from everywhere
    words = "" if told is None else ", ".join(f"{name} = {value}" for name, value in schema.told(told).items())
    under = f" Told: {words}." if words else ""
    samples = exploration.generate(vae, count, context=contexts, draw=not image, seed=run.config.train.seed)
    add(
        "samples",
        "Samples from the prior",
        f"New data: z drawn from {prior}, then decoded"
        + (" under the contexts of training rows." if words else ".")
        + ("" if image else " Beside them the training rows."),
        lambda: plot_samples(samples, data=beside, **look),
    )
    if image and vae.likelihood.support in ("levels", "counts"):
        drawn = exploration.generate(vae, count, context=contexts, draw=True, seed=run.config.train.seed)
        add(
            "draws",
            "Samples with their noise",
            "The same latent points; every pixel drawn from p(x|z) on its own.",
            lambda: plot_samples(drawn, **look),
        )
    has_map = not is_collapsed(numbers)  # else a picture of the latent space would show what is not there
    if has_map:
        add(
            "latent",
            "Latent space",
            "Posterior means of the test rows.",
            lambda: plot_latent(points, labels, classes=classes, axes=axes, title="Posterior means"),
        )
    if has_map and vae.latent_dim == 2:
        grid, quantiles = exploration.manifold(vae, 20 if image else 30, context=told)
        add(
            "manifold",
            "The manifold",
            f"The latent plane decoded on a grid of equal prior mass; the prior is {prior}."
            + ("" if normal else " Each column is a strip of equal mass, and z2 follows its quantiles in that strip.")
            + under,
            lambda: plot_manifold(grid, quantiles, is_standard=normal, **look),
        )
    if has_map:
        values, positions, order = exploration.traversals(vae, measure, context=told)
        names = [f"z{latent + 1}\n{what} {measure[latent]:.2f}" for latent in order]
        moved = (
            "One latent moved at a time, the others at 0"
            if normal
            else f"One latent moved through its quantiles under {prior}, those at which N(0, 1) has the positions "
            "shown; the others at their medians, which need not be likely together"
        )
        add(
            "traversals",
            "Traversals",
            f"{moved}; the latent with the largest {largest} first." + under,
            lambda: plot_traversals(values, positions, names, is_standard=normal, **look),
        )
    if words:
        changed, ways = exploration.under_each(vae, splits.test.take(exploration.spread(10, len(splits.test))))
        first = schema.conditions[0].name
        add(
            "conditions",
            "Under another condition",
            f"Test rows, encoded with their own {first} and decoded with each {first}.",
            lambda: plot_conditions(changed, ways, first, **look),
        )
    if has_map and len(splits.test) > 1:
        lines = exploration.interpolation(vae, splits.test)
        add(
            "interpolation",
            "Interpolation",
            "Straight lines between the posterior means of two test rows.",
            lambda: plot_interpolation(lines, **look),
        )
    if kls is not None:
        errors = np.array([item["se"] or 0.0 for item in kls])
        add(
            "kl",
            "KL per latent dimension",
            "How many nats each latent tells about a row.",
            lambda: plot_kl_per_dimension(measure, errors),
        )
    if history:
        add("curves", "Training", "Means per example over each epoch.", lambda: plot_curves(history))
    return pictures


def _left_out(numbers: dict[str, Any]) -> list[str]:
    if not is_collapsed(numbers):
        return []
    return [
        "The latent space, ways through it and its traversals are not drawn: a collapsed model puts all rows in one "
        "place."
    ]


def write_report(
    run: Run, splits: Splits, numbers: dict[str, Any], history: History, pictures: list[Picture], missing: str = ""
) -> None:  # fmt: skip
    """Write report.html, one file that opens offline; `missing` says why there is no explorer.html to link."""
    schema, config = splits.schema, run.config
    sizes = ", ".join(f"{len(getattr(splits, name)):,} {name}" for name in ("train", "valid", "test"))
    weights = sum(value.numel() for value in run.vae.parameters())
    steps = history.rows[-1]["step"]
    facts = [
        ("Data", f"{schema.source}: {schema.kind}s of shape {' x '.join(map(str, schema.shape))}"),
        ("Rows", sizes),
        ("Model", f"{config.model.likelihood} likelihood, {config.model.latent_dim} latents, {weights:,} weights"),
        ("Latents", f"posterior {config.model.posterior}; prior {prior_name(config.model)}"),
        (
            "Training",
            f"{steps:,} steps, {decimal(passes(history.rows, len(splits.train)))} epochs, best epoch "
            f"{history.best_epoch}; {history.stopped}",
        ),
        ("Objective", objective_name(config)),
        ("Seed", str(config.train.seed)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in numbers["versions"].items())),
        ("Data fingerprint", splits.fingerprint),
    ]
    header, rows = numbers_table(numbers)
    note = "Mean ± standard error over the rows. Lower NLL is better, higher ELBO is better. Constants are included."
    tables = [Table("Held-out numbers", header, rows, note)]
    names = baseline_names(numbers["baselines"])
    sources = {"VAE": numbers} | {label: numbers["baselines"][name] for name, label in names.items()}
    errors = {name: found.get("reconstruction_error_per_column", {}) for name, found in sources.items()}
    if errors["VAE"]:
        rows = [[column, *(show(found[column]) for found in errors.values())] for column in errors["VAE"]]
        unit = "RMS, in each column's unit" + ("; of categories the share that is wrong." if schema.kinds else ".")
        tables.append(Table("Reconstruction error by column", ["column", *errors], rows, unit))
    plural = "s" if config.model.latent_dim > 1 else ""
    html = render(
        title=f"variform: {schema.source}, {config.model.latent_dim} latent dimension{plural}",
        summary=f"A variational autoencoder trained on {len(splits.train):,} rows of {schema.source}.",
        facts=facts,
        tables=tables,
        pictures=pictures,
        command=f"{to_command(config)} --out NEW",
        warnings=placed(numbers.get("warnings", ()), run.folder),
        notes=[*splits.notes, *numbers["notes"], *_left_out(numbers), *([missing] if missing else [])],
        explorer="" if missing else "explorer.html",
        config=tomli_w.dumps(to_dict(config)),
    )
    write_text(run.folder / "report.html", html)
