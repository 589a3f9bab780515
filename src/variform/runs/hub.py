"""The Hugging Face Hub: a run's model goes there with a card, and comes back checked; the only importer of its client.

What goes: model.safetensors, model.json, config.toml without the path of the data, evaluation.json, data.json and the
card README.md; and the files of networks of the user's own, encoder.py and decoder.py. Never rows, pictures or paths.
"""

import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub
import tomli_w
from huggingface_hub import errors

from variform.config.model import COPIES
from variform.config.toml import to_dict
from variform.evaluation.tables import numbers_table
from variform.export.inspection import inspect
from variform.runs.card import SHARED, card, require_finished
from variform.runs.overview import overview_table
from variform.runs.records import read_evaluation, require_run
from variform.system.files import new_folder, read_json, write_json, write_text
from variform.version import __version__

if TYPE_CHECKING:
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
    folder: str | os.PathLike[str],
    name: str,
    *,
    private: bool = False,
    licence: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload the model of a run with its card; a repository that is there gets a further commit.

    Args:
        folder: Folder of a run.
        name: OWNER/NAME of the repository.
        private: Whether a new repository is for its owner alone.
        licence: As of `card`.
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
        _fill(run, name, Path(temporary), licence)
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


def _fill(run: "Run", name: str, folder: Path, licence: str | None) -> None:
    """Write the files that go to the hub."""
    require_finished(run)
    for file in SHARED:
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
    write_text(folder / "README.md", card(run, name, licence=licence))
