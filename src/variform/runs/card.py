"""The model card of a run: Markdown with YAML metadata, as it goes to the hub."""

import json
import re
from typing import TYPE_CHECKING, Any

from variform.config.model import OWN_PARTS, ModelConfig, latents_name
from variform.config.toml import to_dict
from variform.config.training import TrainConfig
from variform.config.words import counted
from variform.evaluation.conclusion import conclude
from variform.evaluation.metrics import METRICS
from variform.evaluation.tables import numbers_table
from variform.runs.records import history, read_data, read_sessions
from variform.version import __version__

if TYPE_CHECKING:
    from variform.data.schema import Schema
    from variform.runs.folder import Run


def card(run: "Run", name: str, *, licence: str | None = None) -> str:
    """The model card, Markdown with YAML metadata: what the model is, its data, numbers, use and limits.

    Args:
        run: A finished run.
        name: OWNER/NAME of the repository.
        licence: The identifier of the licence that it is under, as hubs know it, such as cc-by-4.0; None names none.

    Raises:
        FileNotFoundError: for a run that is not finished.
        ValueError: for a licence that is no identifier.
    """
    require_finished(run)
    if licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
        raise ValueError(
            f"a licence must be an identifier of small letters, digits, dots and hyphens; got {licence!r}. "
            "Use for example mit or cc-by-4.0."
        )
    numbers, data = run.evaluation, read_data(run.folder / "data.json")
    schema, config = run.vae.schema, run.config.model
    assert schema is not None
    source, rows = _plain(str(data["source"])), data["rows"]
    header, table = numbers_table(numbers)
    conditions = ", ".join(_plain(item.name) for item in schema.conditions)
    kind = f"{'conditional ' if conditions else ''}variational autoencoder"
    example = {
        item.name: item.categories[0] if item.categories else round(item.shift, 3)
        for item in schema.conditions
    }
    given = f", given={example}" if example else ""
    trust = ", trust=True" if run.vae.codes else ""
    sections = [
        _metadata(run, name, source, licence),
        f"# {_plain(name.split('/')[1])}",
        f"A {kind} with {latents_name(config)} and the likelihood `{config.likelihood}`, "
        f"trained on {rows['train']:,} rows of {source} with variform {__version__}.",
        f"**{_plain(conclude(numbers, run.config.train, history(run.folder)).found)}.**",
        *(f"**Warning.** {_plain(warning)}" for warning in numbers.get("warnings", ())),
        "## Data",
        _data(schema, data, source, conditions),
        "## Numbers",
        _table(header, table),
        "Mean ± standard error over the held-out rows, in the units that are named; densities are in the data's own "
        "units, constants included. PCA has as many components as the model has latent dimensions; the trivial model "
        "has no structure. " + " ".join(_plain(note) for note in numbers["notes"]),
        "## Training",
        _training(run),
        "## Use",
        f"Made for data like {source}: to generate rows, to find where a row lies in the latent space, to see how "
        "likely it is, to interpolate.",
        "## Limits",
        _limits(numbers, source),
        "## Loading",
        f"```\nvariform pull {name} --out model\n```\n\n```python\nimport numpy as np\n\nfrom variform import load\n\n"
        f"model = load('model'{trust})\nrows = model.sample(10{given})\n"
        f"decoded = model.decode(np.zeros((1, {config.latent_width})){given})\n```",
        _execution(run),
    ]
    return "\n\n".join(sections) + "\n"


def require_finished(run: "Run") -> None:
    """Refuse a run that lacks what is shared.

    Args:
        run: The run.

    Raises:
        FileNotFoundError: says what it lacks.
    """
    for file in SHARED:
        if not (run.folder / file).is_file():
            raise FileNotFoundError(
                f"a run must be finished to be shared; {run.folder} has no {file}. Finish it with variform train "
                f"--resume {run.folder}."
            )


SHARED = ("model.safetensors", "evaluation.json", "data.json")
_VERSIONS = ("variform", "python", "torch", "numpy", "device", "seed")


def _training(run: "Run") -> str:
    """The settings that are not the usual ones, and what it was trained with."""
    defaults = {"model": ModelConfig(), "training": TrainConfig()}
    own = {"model": run.config.model, "training": run.config.train}
    facts = []
    for part, default in defaults.items():
        usual, hidden = to_dict(default), OWN_PARTS  # whose paths are the user's; see "Loading"
        changed = [
            f"{name} = {json.dumps(value)}"
            for name, value in to_dict(own[part]).items()
            if name not in hidden and value != usual.get(name)
        ]
        told = f"`{', '.join(changed)}`" if changed else "none"
        facts.append(f"Settings of the {part} that are not the default: {told}")
    for session in read_sessions(run.folder / "environment.json")[-1:]:
        known = [f"{name} {session[name]}" for name in _VERSIONS if session.get(name) is not None]
        facts.append(f"Trained with: {_plain(', '.join(known))}")
    return "\n".join(f"- {fact}" for fact in facts) + "\n\nconfig.toml has them all."


def _execution(run: "Run") -> str:
    """What opening the files runs."""
    plain = "The files are safetensors, JSON and TOML: opening them executes nothing."
    if not run.vae.codes:
        return plain
    parts = []
    for part, code in run.vae.codes.items():
        where = f"{part}.py" if code.is_in_file else f"the package of {code.path.partition(':')[0]}"
        parts.append(f"the {part} is {_plain(code.name)} of {where}, SHA-256 `{code.sha256}`")
    return (
        f"Its networks are code, which is run when the model is opened with `trust=True`, and else not: "
        f"{'; '.join(parts)}. Look at it first. The other files are safetensors, JSON and TOML."
    )


def _metadata(run: "Run", name: str, source: str, licence: str | None) -> str:
    """The card's YAML; every text in it is written as JSON, which YAML contains."""
    unit = run.evaluation.get("data_unit", "")
    metrics = [
        {"type": key, "name": metric.name(unit), "value": run.evaluation[key]["mean"]}
        for key, metric in METRICS.items()
        if run.evaluation.get(key, {}).get("mean") is not None
    ]
    results = [
        {
            "task": {"type": "density-estimation"},
            "dataset": {"name": source, "type": source},
            "metrics": metrics,
        }
    ]
    values = {
        "library_name": "variform",
        "tags": ["variform", "variational-autoencoder", "generative-model", "latent-space"],
        "model-index": [{"name": name, "results": results}],
    }
    if licence is not None:
        values["license"] = licence
    lines = [f"{key}: {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _data(schema: "Schema", data: dict[str, Any], source: str, conditions: str) -> str:
    rows = ", ".join(f"{count:,} {part}" for part, count in data["rows"].items())
    facts = [
        f"Source: {source}; {schema.kind}s of the shape {' x '.join(map(str, schema.shape))}",
        f"Rows: {rows}",
        f"Fingerprint (SHA-256 of all that was read): `{data['fingerprint']}`",
        *([f"Conditioned on: {conditions}"] if conditions else []),
    ]
    text = "\n".join(f"- {fact}" for fact in facts)
    if schema.kind == "image":
        names = schema.unit_names or ("Values",)
        ends = zip(names, schema.low, schema.high, strict=True)
        ranges = [f"{name}: {low:.7g} to {high:.7g}" for name, low, high in ends]
        return "\n- ".join([text, *ranges])
    kinds = schema.kinds or ("real",) * len(schema.columns)
    columns = zip(schema.titles, kinds, schema.low, schema.high, strict=True)
    lines = [[_plain(name), kind, f"{low:.7g}", f"{high:.7g}"] for name, kind, low, high in columns]
    return f"{text}\n\n{_table(['column', 'kind', 'least', 'greatest'], lines)}"


def _limits(numbers: dict[str, Any], source: str) -> str:
    gap, units = numbers["posterior_gap"]["mean"], numbers["active_units"]
    verb = "is" if units["of"] == 1 else "are"
    limits = [
        f"It knows {source} alone; what it makes of other data, and how likely it calls them, means little.",
        "The numbers hold for held-out rows of the same source, not for another population.",
        f"{units['count']} of {counted(units['of'], 'latent dimension')} {verb} active.",
        *(
            [f"The posterior is {gap:.3g} nats a row from the exact one on average."]
            if gap is not None
            else []
        ),
        "Names of columns and categories and the ranges of values stand in the files; whether generated rows may "
        "reveal single training rows was not examined.",
    ]
    return "\n".join(f"- {limit}" for limit in limits)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(_piped(cell) for cell in line)} |" for line in lines)


def _piped(cell: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", cell)


def _plain(text: str) -> str:
    """Text of the user's that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
