"""The explorer page of a run."""

from pathlib import Path
from typing import Any

from variform.config.model import prior_name
from variform.config.run import objective_name
from variform.data.dataset import Splits
from variform.data.reading import read_rows
from variform.evaluation.samplers import SAMPLERS
from variform.evaluation.tables import numbers_table
from variform.evaluation.verdict import placed
from variform.pages.explorer.contents import draws, gather
from variform.pages.explorer.page import Page
from variform.pages.explorer.page import render as render_page
from variform.pages.explorer.payload import decoder_payload, remote_payload
from variform.runs.folder import Run, open_run
from variform.runs.samplers import sampler_file, with_sampler
from variform.system.files import write_text

MOST_EMBEDDED = (
    20e6  # bytes of a decoder's weights in half precision: what a page still opens with in a moment
)


def explorer_page(
    run: Run, splits: Splits, numbers: dict[str, Any], *, source: str | None = None
) -> Page:
    """The explorer page of a run, with its decoder inside.

    Args:
        run: The run.
        splits: Its data.
        numbers: Its evaluation.
        source: Data on the map instead of the run's own.

    Raises:
        ValueError: for a decoder that is too large for a page, or of a kind that it cannot run.
    """
    size = 2 * sum(value.numel() for value in run.vae.decoder.parameters())
    if size > MOST_EMBEDDED:
        raise ValueError(
            f"a page can hold a decoder of up to {MOST_EMBEDDED / 1e6:.0f} MB in half precision; this one has "
            f"{size / 1e6:.0f} MB. Look at it with variform serve {run.folder}."
        )
    decoder = decoder_payload(run.vae)
    return render_page(explorer_contents(run, splits, numbers, source=source), decoder)


def served_page(run: Run, *, source: str | None = None) -> Page:
    """The explorer page of a run, whose decoder is asked for by `POST decode`.

    Args:
        run: The run.
        source: Data on the map instead of the run's own.

    Raises:
        ValueError: for data that are not those of the run, or do not fit its model.
    """
    contents = explorer_contents(run, run.data(), run.evaluation, source=source)
    return render_page(contents, remote_payload(run.vae, "decode"), connect="'self'")


def explorer_contents(
    run: Run, splits: Splits, numbers: dict[str, Any], *, source: str | None = None
) -> dict[str, Any]:  # fmt: skip
    """What the explorer page of a run shows, without a decoder; arguments as of `explorer_page`."""
    prior, seed = prior_name(run.config.model), run.config.train.seed
    laws = [draws(run.vae, f"the prior, {prior}", seed=seed)]
    for kind, sampler in SAMPLERS.items():
        if sampler_file(run, kind).is_file():
            try:
                laws.append(draws(with_sampler(run, kind), sampler.name, seed=seed))
            except ValueError:  # of other weights: the run has been trained anew since
                continue
    weights = sum(value.numel() for value in run.vae.decoder.parameters())
    facts = [
        ("Data", splits.schema.source),
        (
            "Rows",
            ", ".join(
                f"{len(getattr(splits, name)):,} {name}" for name in ("train", "valid", "test")
            ),
        ),
        ("Likelihood", run.config.model.likelihood),
        ("Latents", f"{run.vae.latent_dim}; posterior {run.config.model.posterior}; prior {prior}"),
        ("Decoder", f"{run.config.model.network}, {weights:,} weights"),
        ("Objective", objective_name(run.config)),
    ]
    sentences = placed(numbers.get("warnings", ()), run.folder)
    return gather(
        run.vae,
        splits,
        numbers | {"warnings": sentences},
        other=None if source is None else read_rows(source, splits.schema, run.config.data),
        prior=prior,
        laws=laws,
        table=numbers_table(numbers),
        facts=facts,
        seed=seed,
    )


def write_explorer(run: Run, splits: Splits, numbers: dict[str, Any]) -> str:
    """Write explorer.html into the run's folder; what is returned says why it could not be made, or is empty."""
    path = run.folder / "explorer.html"
    try:
        write_text(path, explorer_page(run, splits, numbers).html)
    except ValueError as error:
        path.unlink(missing_ok=True)  # of another decoder
        return f"There is no explorer page: {error}"
    return ""


def explore(run: Run | str | Path, *, source: str | None = None) -> Page:
    """The explorer page of a run, which shows itself in a notebook.

    Args:
        run: A run, or its folder.
        source: Data on the map instead of the run's own.

    Raises:
        FileNotFoundError: when it is not the folder of a run with a model.
        ValueError: as `explorer_page`.
    """
    opened = run if isinstance(run, Run) else open_run(run)
    return explorer_page(opened, opened.data(), opened.evaluation, source=source)
