"""The Hugging Face Hub: a run's model goes there with a card, and comes back checked; the only importer of its client.

What goes: model.safetensors, model.json, config.toml without the path of the data, evaluation.json, data.json and the
card README.md; and the files of networks of the user's own, encoder.py and decoder.py. Never rows, pictures or paths.
"""

import dataclasses
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import tomli_w
from huggingface_hub import errors

from variform.config.model import COPIES, OWN_PARTS, ModelConfig
from variform.config.toml import to_dict
from variform.config.training import TrainConfig
from variform.config.words import counted
from variform.evaluation.conclusion import conclude
from variform.evaluation.metrics import METRICS
from variform.evaluation.tables import numbers_table
from variform.export.inspection import inspect
from variform.runs.overview import overview_table
from variform.runs.records import history, read_data, read_evaluation, read_sessions, require_run
from variform.system.files import new_folder, read_json, write_json, write_text
from variform.version import __version__

if TYPE_CHECKING:
    from variform.data.schema import Schema
    from variform.runs.folder import Run

FILES = (
    "model.safetensors",
    "model.json",
    "config.toml",
    "evaluation.json",
    "data.json",
    "README.md",
)
"""What is fetched, with the code of own networks: these names and no others, whatever a repository lists."""

_UNREACHABLE: tuple[type[BaseException], ...] = (
    errors.HfHubHTTPError.__mro__[1],
    OSError,
)  # of any HTTP library


def push(
    folder: str | os.PathLike[str], name: str, *, private: bool = False, endpoint: str | None = None
) -> str:
    """Upload the model of a run with its card; a repository that is there gets a further commit.

    Args:
        folder: Folder of a run.
        name: OWNER/NAME of the repository.
        private: Whether a new repository is for its owner alone.
        endpoint: Address of the hub; by default that of the environment variable HF_ENDPOINT, or Hugging Face's own.

    Returns:
        The address of the commit.

    Raises:
        FileNotFoundError: when the folder is not that of a finished run.
        ValueError: for a name of another form, and where the hub refuses.
        OSError: where the hub cannot be reached.
    """
    api = _api(name, endpoint)
    folder = Path(folder)
    require_run(folder)
    from variform.runs.folder import open_run

    run = open_run(folder)
    with tempfile.TemporaryDirectory() as temporary:
        _fill(run, name, Path(temporary))
        with _explained(name, api.endpoint):
            api.create_repo(name, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=name, folder_path=temporary, commit_message="Model and card by variform"
            )
    return str(done.commit_url)


def pull(
    name: str,
    folder: str | os.PathLike[str],
    *,
    revision: str | None = None,
    endpoint: str | None = None,
) -> Path:
    """Fetch a model that `push` uploaded into a new folder, which opens as a run without data.

    The model's checksum is verified, and nothing that comes is executed: a model whose networks are code of somebody's
    own is built when it is opened and trusted.

    Args:
        name: OWNER/NAME of the repository.
        folder: A folder that does not exist or is empty.
        revision: A commit, branch or tag; by default the newest.
        endpoint: As of `push`.

    Returns:
        The folder.

    Raises:
        FileExistsError: when the folder holds something already.
        ValueError: for a name of another form, where the hub refuses, and for files that are not those of a model.
        OSError: where the hub cannot be reached.
    """
    api = _api(name, endpoint)
    with new_folder(folder) as temporary:
        with _explained(name, api.endpoint), tempfile.TemporaryDirectory() as cache:
            info = api.model_info(name, revision=revision)
            there = {item.rfilename for item in info.siblings or ()} & {*FILES, *COPIES}
            if missing := {"model.safetensors", "config.toml"} - there:
                raise ValueError(
                    f"a model of variform must have {' and '.join(sorted(missing))}; {name} has not. Choose another."
                )
            for file in sorted(there):
                shutil.copyfile(
                    api.hf_hub_download(name, file, revision=info.sha, cache_dir=cache),
                    temporary / file,
                )
        require_open(temporary)
    return Path(folder)


def require_open(folder: Path) -> None:
    """Refuse files that a command could not read later.

    Args:
        folder: What `pull` fetched.

    Raises:
        ValueError: says which file, and where it is wrong.
    """
    from variform.runs.folder import open_run

    described = inspect(folder / "model.safetensors")
    overview_table(folder)
    if not described.get("code"):
        run = open_run(folder)
        if (folder / "evaluation.json").is_file():
            numbers_table(run.evaluation)
    elif (folder / "evaluation.json").is_file():
        numbers_table(read_evaluation(folder / "evaluation.json"))
    if (folder / "model.json").is_file():
        read_json(folder / "model.json")


def _api(name: str, endpoint: str | None) -> huggingface_hub.HfApi:
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII) or ".." in name:
        raise ValueError(
            f"a model on the hub must be named OWNER/NAME; got {name}. Use for example ada/digits."
        )
    address = endpoint or os.environ.get("HF_ENDPOINT")
    return huggingface_hub.HfApi(
        endpoint=address, library_name="variform", library_version=__version__
    )


@contextmanager
def _explained(name: str, endpoint: str) -> Iterator[None]:
    """What goes wrong at the hub, in a sentence."""
    try:
        yield
    except (
        errors.RepositoryNotFoundError
    ) as error:  # the hub does not tell a missing model from a hidden one
        raise ValueError(
            f"the model must be on the hub and open to you; {endpoint} has no {name} that is. Check the name, or log "
            "in with hf auth login."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(
            f"the revision must be one of {name}; it is not. Leave it out for the newest."
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise ValueError(
                f"the hub must know you and let you write to {name}; {endpoint} answers {status}. Log in with hf auth "
                "login and a token that may write, or set HF_TOKEN."
            ) from error
        raise OSError(
            f"the hub must answer; {endpoint} says {status} for {name}. Try again later."
        ) from error
    except (
        RuntimeError,
        *_UNREACHABLE,
    ) as error:  # the client's threads turn what they meet into a RuntimeError
        wrong = type(error.__cause__ or error).__name__
        raise OSError(
            f"the hub must be reachable; {endpoint} is not ({wrong}). Check the network, "
            "HF_ENDPOINT and HF_HUB_OFFLINE."
        ) from error


# --- what is uploaded ---------------------------------------------------------------------------------------------


def _fill(run: "Run", name: str, folder: Path) -> None:
    """Write the files that go to the hub."""
    for file in ("model.safetensors", "evaluation.json", "data.json"):
        if not (run.folder / file).is_file():
            raise FileNotFoundError(
                f"a run must be finished to be shared; {run.folder} has no {file}. Finish it with variform train "
                f"--resume {run.folder}."
            )
        shutil.copyfile(run.folder / file, folder / file)
    start, model = run.config.start, run.config.model
    if run.vae.codes:
        from variform.export.model_file import save
        from variform.model.own_networks import keep, portable, sources_of

        shared = portable(run.vae)
        save(shared, folder / "model.safetensors")
        keep(sources_of(run.vae.codes), folder)
        assert shared.config is not None  # as of the model of every run
        model = shared.config
    write_json(folder / "model.json", inspect(folder / "model.safetensors"))
    config = dataclasses.replace(
        run.config,
        model=model,
        source=Path(run.config.source).name,
        start=None if start is None else Path(start).name,
        bookmarks=None,
    )
    write_text(folder / "config.toml", tomli_w.dumps(to_dict(config)))
    write_text(folder / "README.md", card(run, name))


def card(run: "Run", name: str) -> str:
    """The model card, Markdown with YAML metadata: what the model is, its data, numbers, use and limits.

    Args:
        run: A finished run.
        name: OWNER/NAME of the repository.
    """
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
        _metadata(run, name, source),
        f"# {_plain(name.split('/')[1])}",
        f"A {kind} with {counted(config.latents, 'latent dimension')} and the likelihood `{config.likelihood}`, "
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
        f"decoded = model.decode(np.zeros((1, {config.latents})){given})\n```",
        _execution(run),
    ]
    return "\n\n".join(sections) + "\n"


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


def _metadata(run: "Run", name: str, source: str) -> str:
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
