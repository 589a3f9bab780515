"""The explorer page of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from variform.config.checks import checked
from variform.config.choices import LanguageName
from variform.config.model import latents_name, network_name, prior_name
from variform.config.options import in_options
from variform.config.run import RunConfig, objective_name
from variform.config.words import Own
from variform.data.dataset import Dataset, Splits
from variform.data.reading import read_rows
from variform.data.schema import Schema
from variform.design.comparison import Comparison
from variform.evaluation.embedding import EmbeddingName
from variform.evaluation.exploration import decode, encode, prior_points
from variform.evaluation.latents import active_units
from variform.evaluation.samplers import SAMPLERS
from variform.evaluation.sections import Lines, sections_of
from variform.evaluation.tables import headings, numbers_table
from variform.evaluation.verdict import placed
from variform.model.vae import VAE, HasVAE, vae_of
from variform.pages.explorer.contents import RowCount, draws, gather, held_draws
from variform.pages.explorer.page import Page
from variform.pages.explorer.page import render as render_page
from variform.pages.explorer.payload import decoder_payload, remote_payload
from variform.pages.explorer.study import gather_study
from variform.pages.glossary import anchor_of
from variform.runs.folder import ModelFile, Run, open_run, schema_of
from variform.runs.samplers import sampler_file, with_sampler
from variform.runs.study_folder import study_of
from variform.system.files import write_text

MOST_EMBEDDED = (
    20e6  # bytes of a decoder's weights in half precision: what a page still opens with in a moment
)
DRAWN = 1_000  # rows of a model on the page of its file alone


Study = tuple[str, Comparison]
"""What a design study is called, and what is in it."""


@checked
def explorer_page(
    run: Run,
    splits: Splits,
    numbers: dict[str, Any],
    *,
    source: str | None = None,
    study: Study | None = None,
    rows: RowCount | None = None,
    embedding: EmbeddingName | None = None,
    language: LanguageName = "auto",
    has_report: bool = False,
) -> Page:
    """The explorer page of a run, with its decoder inside.

    Args:
        run: The run.
        splits: Its data.
        numbers: Its evaluation.
        source: Data on the map instead of the run's own.
        study: A design study of these data, by what it is called.
        rows: How many rows the map shows; by default as many as a small page has room for.
        embedding: A picture of neighbours beside the planes of the map; without it there is none.
        language: Of the page; `auto` is that of the browser.
        has_report: Whether it will stand beside report.html of the run, which explains words: they then lead there.

    Raises:
        ValueError: for a decoder that is too large for a page, or of a kind that it cannot run, and for a study of
            another model.
    """
    _require_small(run)
    decoder = _embedded(run)
    contents = explorer_contents(
        run, splits, numbers, source=source, study=study, rows=rows, embedding=embedding
    )
    if has_report:
        contents["numbers"]["links"] = _links(numbers)
    return render_page(contents, decoder, language=language)


def _links(numbers: dict[str, Any]) -> list[str]:
    """For each row of the table of numbers where the report beside the page explains its name, or ""."""
    leads = headings(numbers)
    names = [row[0] for row in numbers_table(numbers)[1]]
    return [f"report.html#{anchor_of(leads[name][0])}" if name in leads else "" for name in names]


def _questions(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """What the evaluation was asked in depth, as the page shows it."""
    questions = []
    for name, section in sections_of(numbers).items():
        found = numbers[name]
        tables = [
            {
                "title": lines.title,
                "header": list(lines.header),
                "rows": [list(row) for row in lines.rows],
                "note": in_options(lines.note),
                "own": _own(lines),
            }
            for lines in section.tables(found)
        ]
        questions.append(
            {
                "title": section.title,
                "asked": section.question,
                "answer": in_options(section.answer(found)),
                "tables": tables,
                "meanings": dict(section.meanings),
            }
        )
    return questions


def _own(lines: Lines) -> list[str]:
    """The names in a table that are the user's: they are neither translated nor explained."""
    names = [lines.title, *lines.header, *(row[0] for row in lines.rows)]
    return [name for name in names if isinstance(name, Own)]


def _require_small(run: Run) -> None:
    """Refuse a decoder that no page can hold."""
    size = 2 * sum(value.numel() for value in run.vae.decoder.parameters())
    if size > MOST_EMBEDDED:
        raise ValueError(
            f"a page can hold a decoder of up to {MOST_EMBEDDED / 1e6:.0f} MB in half precision; this one has "
            f"{size / 1e6:.0f} MB. Look at it with variform serve {_place(run)}."
        )


def _place(run: Run) -> Path:
    if not isinstance(run, ModelFile):
        return run.folder
    return run.path if run.path.is_file() else Path("FILE")  # that it is saved to


def _embedded(run: Run) -> dict[str, Any]:
    """The decoder in the page; of networks of the user's own the page may have no steps."""
    try:
        return decoder_payload(run.vae)
    except ValueError as error:
        raise ValueError(
            f"a page can decode by steps that it knows alone; {error} Look at it with variform serve {_place(run)}, "
            "where Python decodes."
        ) from error


@checked
def served_page(
    run: Run,
    *,
    source: str | None = None,
    rows: RowCount | None = None,
    embedding: EmbeddingName | None = None,
    language: LanguageName = "auto",
) -> Page:
    """The explorer page of a run, whose decoder is asked for by `POST decode` and `POST spread`.

    Args:
        run: The run.
        source: Data on the map instead of the run's own.
        rows, embedding, language: As of `explorer_page`.

    Raises:
        ValueError: for data that are not those of the run, or do not fit its model.
    """
    if isinstance(run, ModelFile):
        contents = _contents_of_model(run, source, rows, embedding)
    else:
        contents = explorer_contents(
            run, run.data(), run.evaluation, source=source, rows=rows, embedding=embedding
        )
    payload = remote_payload(run.vae, "decode", "spread")
    return render_page(contents, payload, connect="'self'", language=language)


@checked
def explorer_contents(
    run: Run,
    splits: Splits,
    numbers: dict[str, Any],
    *,
    source: str | None = None,
    study: Study | None = None,
    rows: RowCount | None = None,
    embedding: EmbeddingName | None = None,
) -> dict[str, Any]:
    """What the explorer page of a run shows, without a decoder; arguments as of `explorer_page`."""
    prior, seed = prior_name(run.config.model), run.config.train.seed
    laws = [draws(run.vae, f"the prior, {prior}", seed=seed), *held_draws(run.vae, seed=seed)]
    for kind, sampler in SAMPLERS.items():
        if sampler_file(run, kind).is_file():
            try:
                laws.append(draws(with_sampler(run, kind), sampler.name, seed=seed))
            except ValueError:  # of other weights: the run has been trained anew since
                continue
    facts = [
        ("Data", splits.schema.source),
        (
            "Rows",
            ", ".join(
                f"{len(getattr(splits, name)):,} {name}" for name in ("train", "valid", "test")
            ),
        ),
        *_facts_of(run),
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
        questions=_questions(numbers),
        facts=facts,
        study=None if study is None else gather_study(study[1], study[0], seed=seed),
        count=rows,
        embedding=embedding,
        seed=seed,
    )


@checked
def write_explorer(
    run: Run,
    splits: Splits,
    numbers: dict[str, Any],
    *,
    folder: Path | None = None,
    study: Study | None = None,
    language: LanguageName = "auto",
) -> str:
    """Write explorer.html; what is returned says why it could not be made, or is empty.

    Args:
        run, splits, numbers, study, language: As of `explorer_page`.
        folder: Where to; the run's folder by default.
    """
    path = (folder or run.folder) / "explorer.html"
    try:
        page = explorer_page(
            run, splits, numbers, study=study, language=language, has_report=folder is None
        )
        write_text(path, page.html)
    except ValueError as error:
        path.unlink(missing_ok=True)  # of another decoder
        return f"There is no explorer page: {error}"
    return ""


@checked
def explore(
    run: Run | VAE | HasVAE | str | Path,
    *,
    source: str | None = None,
    study: str | Path | None = None,
    rows: RowCount | None = None,
    embedding: EmbeddingName | None = None,
    language: LanguageName = "auto",
    has_report: bool = False,
) -> Page:
    """The explorer page of a run, or of a model file alone, which shows itself in a notebook.

    Args:
        run: A run, its folder, a model file, or a VAE or a `Model`; without a run the map has draws of the model, where
            no data are named.
        source: Data on the map instead of the run's own.
        study: Folder of a design study of the run's data, whose designs stand on the map and in a tab of their own.
        rows, embedding, language, has_report: As of `explorer_page`.

    Raises:
        FileNotFoundError: when it is not the folder of a run with a model.
        ValueError: as `explorer_page`, and as `study_of`.
    """
    opened = _opened(run)
    if isinstance(opened, ModelFile):
        _require_small(opened)
        if study is not None:
            raise ValueError(
                "`study` must have the run that it searched, with its data; got a model file alone. Name the run."
            )
        contents = _contents_of_model(opened, source, rows, embedding)
        return render_page(contents, _embedded(opened), language=language)
    splits = opened.data()
    looked_at = None
    if study is not None:
        folder = Path(study)
        looked_at = folder.resolve().name, study_of(opened, splits, folder)
    return explorer_page(
        opened,
        splits,
        opened.evaluation,
        source=source,
        study=looked_at,
        rows=rows,
        embedding=embedding,
        language=language,
        has_report=has_report,
    )


def _opened(run: Run | VAE | HasVAE | str | Path) -> Run:
    """A run, or a model alone, whichever way it comes."""
    if isinstance(run, Run):
        return run
    if isinstance(run, str | Path):
        return open_run(run)
    vae = vae_of(run)
    if vae.config is None or vae.schema is None:
        raise ValueError(
            "a page says how a model was built; this one was put together by hand. Give what makes its networks to "
            "build_vae, as `encoder` and `decoder`."
        )
    return ModelFile(Path(), RunConfig(model=vae.config), vae, Path("the model in memory"))


def _contents_of_model(
    model: ModelFile, source: str | None, wanted: int | None, embedding: EmbeddingName | None
) -> dict[str, Any]:
    """What the page of a model file alone shows: rows that are named, or draws of the model."""
    schema = schema_of(model.vae)
    drawn = wanted or DRAWN
    rows = drawn_rows(model.vae, drawn) if source is None else read_rows(source, schema)
    means = torch.from_numpy(encode(model.vae, rows)[0])
    what = f"{drawn:,} draws of the model" if source is None else f"the rows of {source}"
    numbers = {
        "kl_per_dimension": None,
        "active_units": active_units(means),
        "notes": [
            f"This page was made of {model.path.name} alone, without the data of its training: the map and the "
            f"reconstructions are of {what}, and there are no held-out numbers."
        ],
    }
    nobody = rows.take(torch.arange(0))
    splits = Splits(nobody, nobody, rows, schema, {}, "", (), "", {})
    prior = prior_name(model.config.model)
    contents = gather(
        model.vae,
        splits,
        numbers,
        other=rows,
        prior=prior,
        laws=[draws(model.vae, f"the prior, {prior}")],
        facts=[("Model file", model.path.name), ("Rows", what), *_facts_of(model)],
        count=wanted,
        embedding=embedding,
    )
    return contents | {"summary": f"{what}, {latents_name(model.config.model)}"}


def drawn_rows(vae: VAE, count: int, *, seed: int = 0) -> Dataset:
    """New rows of a model, each the mean of p(x|z) under a z of the prior.

    Of conditions, categories are drawn evenly and numbers evenly over the range of the training rows.

    Args:
        vae: A model with a schema.
        count: How many.
        seed: Seed of the draws.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,)), read("digits").schema)
        >>> drawn_rows(vae, 3).raw.shape
        torch.Size([3, 1, 8, 8])
    """
    assert vae.schema is not None
    contexts = _drawn_contexts(vae.schema, count, seed)
    points = prior_points(vae, count, seed=seed)
    values = decode(vae, points, context=contexts, seed=seed + 1)
    return Dataset(torch.from_numpy(values), vae.schema, contexts=contexts, dtype=torch.float32)


def _drawn_contexts(schema: Schema, count: int, seed: int) -> torch.Tensor | None:
    if not schema.conditions:
        return None
    random = np.random.default_rng(seed)
    seen = schema.occupancy
    given: dict[str, Any] = {}
    for place, condition in enumerate(schema.conditions):
        if condition.categories:
            given[condition.name] = random.choice(condition.categories, count)
        elif seen is None:
            given[condition.name] = condition.shift
        else:
            given[condition.name] = random.uniform(seen.low[place], seen.high[place], count)
    return schema.contexts(given, count)


def _facts_of(run: Run) -> list[tuple[str, str]]:
    """What a page says of a model."""
    config = run.config.model
    weights = sum(value.numel() for value in run.vae.decoder.parameters())
    prior = prior_name(config)
    return [
        ("Likelihood", config.likelihood),
        ("Latents", f"{latents_name(config)}; posterior {config.posterior}; prior {prior}"),
        ("Decoder", f"{network_name(config, 'decoder')}, {weights:,} weights"),
    ]
