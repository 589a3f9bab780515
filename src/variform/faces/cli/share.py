"""Commands that hand a model over."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from variform.config.run import default_folder
from variform.faces.cli.options import Flag, Option, Options
from variform.faces.cli.output import say, write, writing_into
from variform.system.extras import needing
from variform.system.files import write_text

Licence = Parameter(name=["--licence", "--license"], group=Options)


def hand_over(
    run: Path,
    /,
    *,
    to: Annotated[Literal["onnx", "numpy", "safetensors"], Option],
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Write the model for programs that have no variform, and compare its answers there with its own.

    Encoder and decoder take and give the data's own units. `onnx` needs the packages of the extra onnx.

    Example: `variform export runs/demo --to onnx`

    Args:
        run: Folder of a run, or a model.safetensors.
        to: `onnx`: encoder, decoder, score and prior, .onnx each; `numpy`: model.npz, reader.py, score.py and codec.py;
            `safetensors`: the model file, and what it says of itself as model.json.
        out: A new folder; by default onnx, numpy or safetensors in the run's folder.
    """
    from variform.export import handover
    from variform.faces import model

    folder = out or (run if run.is_dir() else run.parent) / to
    with writing_into(run, out):
        vae = model.load(run).vae
        paths = handover.hand_over(vae, to, folder)
    for path in paths:
        say(f"{path.stat().st_size:>12,} bytes  {folder / path.name}")
    if to != "safetensors":
        for part, why in handover.left_out(vae, to).items():
            say(f"The {part} is left out: {why}")


def card(
    run: Path,
    /,
    *,
    licence: Annotated[str | None, Licence] = None,
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Print the model card of a run, or write it: what it is, its verdict, data, training, numbers, use and limits.

    It is the card that `variform push` writes, and needs no network.

    Example: `variform card runs/demo --licence cc-by-4.0 --out README.md`

    Args:
        run: Folder of a finished run.
        licence: The licence that the model is under, such as mit or cc-by-4.0; without it the card names none.
        out: A new file; by default the card is printed.
    """
    from variform.runs import card as cards
    from variform.runs.folder import open_run
    from variform.runs.records import require_run

    require_run(run)
    text = cards.card(open_run(run), f"OWNER/{run.resolve().name}", licence=licence)
    if out is None:
        write(text.rstrip("\n"))
        return
    if out.exists():
        raise FileExistsError(f"the file must be new; {out} is there. Name another, or move it.")
    write_text(out, text)
    say(f"Card: {out}")


def push(
    run: Path,
    name: str,
    /,
    *,
    private: Annotated[bool, Flag] = False,
    licence: Annotated[str | None, Licence] = None,
) -> None:
    """Share a run's model on the Hugging Face Hub, with a card that says what it is; never data or paths.

    Needs the packages of the extra hub and `hf auth login`. A repository that is there gets a further commit.

    Example: `variform push runs/demo ada/digits --private`

    Args:
        run: Folder of a finished run.
        name: OWNER/NAME of the repository.
        private: Make a new repository for its owner alone.
        licence: As of `variform card`.
    """
    say(_hub().push(run, name, private=private, licence=licence))


def pull(
    name: str,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    revision: Annotated[str | None, Option] = None,
) -> None:
    """Fetch a model from the Hugging Face Hub, verify it, and open it without executing anything.

    Needs the packages of the extra hub. What comes opens as a run whose data are not there.

    Example: `variform pull ada/digits --out runs/digits`

    Args:
        name: OWNER/NAME of the repository.
        out: A new folder; by default runs/ and the name.
        revision: A commit, branch or tag; by default the newest.
    """
    folder = _hub().pull(name, out or default_folder(name), revision=revision)
    say(f"Model: {folder}")


def _hub() -> Any:
    with needing("hub", "the hub"):
        from variform.runs import hub
    return hub
