"""What a name is meant to be that no option or command has: the words of other tools, then spelling."""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cyclopts import App, UnknownCommandError, UnknownOptionError

from variform.config.toml import to_option

_OPTIONS: dict[str, str] = {
    "out": (
        "o output out-dir output-dir outdir out-file outfile save-dir save dir folder "
        "log-dir logdir path dest destination run"
    ),
    "config": "c cfg conf config-file",
    "resume": "checkpoint ckpt continue resume-from restore load",
    "overwrite": "f force clobber",
    "source": "i input in file",
    "latent_dim": (
        "z nz d latent z-dim dim-z latent-size latent-dims n-latent n-latents "
        "num-latents latent-dimension code-size n-components bottleneck dim"
    ),
    "codes": "n-codes num-codes code-length n-categoricals",
    "values": "num-embeddings n-embed codebook-size n-classes num-categories cardinality",
    "embedding_dim": "code-dim d-embed",
    "relaxation": "estimator gradient-estimator",
    "stages": "num-quantizers n-quantizers",
    "commitment": "commitment-cost commitment-weight beta-commit",
    "likelihood": (
        "loss distribution dist decoder-dist recon-loss criterion "
        "reconstruction-loss gene-likelihood px"
    ),
    "hidden": (
        "hidden-dim hidden-dims hidden-size hidden-sizes hidden-units n-hidden layers "
        "hidden-layers encoder-hidden width units h-dim"
    ),
    "network": "arch architecture model net backbone",
    "filters": "n-filters feature-maps conv-channels",
    "learning_rate": "lr learn-rate step-size rate eta max-lr",
    "batch_size": "b bs batch batchsize mini-batch minibatch-size train-batch-size",
    "epochs": "e epoch n-epochs num-epochs max-epochs nb-epochs train-epochs",
    "steps": "iterations iters max-steps num-steps n-iter max-iter max-iterations",
    "optimizer": "opt optim optimiser solver",
    "schedule": "scheduler lr-schedule lr-scheduler lr-decay",
    "objective": "vae-type bound method",
    "beta": "kl-weight kld-weight weight-kl kl-coef kl-coeff lambda",
    "warmup": "warmup-epochs warmup-steps kl-annealing anneal annealing kl-warmup",
    "samples": "k l n-samples num-samples mc-samples iw-samples importance-samples",
    "count": "n num number size n-samples num-samples samples amount",
    "seed": "random-state random-seed rng rng-seed",
    "patience": "early-stopping early-stop early-stopping-patience",
    "clip_norm": "clip grad-clip gradient-clip gradient-clip-val max-grad-norm",
    "private_epsilon": "epsilon dp dp-epsilon target-epsilon differential-privacy",
    "private_delta": "dp-delta target-delta",
    "ema": "ema-decay swa",
    "device": "gpu gpus cuda cpu accelerator use-gpu no-cuda",
    "precision": "amp fp16 bf16 half mixed-precision dtype",
    "image_size": "img-size imsize resize resolution input-size",
    "scaling": "normalize normalise normalization standardize standardise scale scaler rescale",
    "binarise": "binarize binary threshold",
    "sep": "delimiter separator delim",
    "sheet_name": "sheet",
    "columns": "cols features usecols",
    "id": "index index-col name names",
    "label": "y target class labels label-column target-column",
    "condition": "cond conditional conditions covariates context",
    "response": "responses outputs targets y",
    "group": "groups group-by",
    "split_seed": "data-seed split",
    "dropout": "dropout-rate drop p-drop",
    "temperature": "t temp tau",
    "nll_samples": "eval-samples test-samples",
    "given": "condition cond label where fix",
    "dims": "latent-dim latent-dims z latent",
}
"""Usual names of other tools by the name that an option has here."""

_COMMANDS: dict[str, str] = {
    "demo": "example quickstart tutorial start hello",
    "inspect": "describe check summary eda look",
    "train": "fit learn run new build model",
    "evaluate": "eval test score validate metrics",
    "generate": "sample samples gen synthesize synthesise synth create",
    "encode": "transform embed embedding latents latent reduce project",
    "decode": "inverse-transform invert",
    "reconstruct": "predict recon denoise forward",
    "impute": "fill fillna complete",
    "outliers": "anomaly anomalies detect novelty ood",
    "open": "show view report browse display",
    "explore": "explorer map visualize visualise viz walk interpolate traverse",
    "serve": "server app ui web host",
    "draw": "plot plots figures pictures render",
    "study": "sweep grid tune",
    "design": "search optimize optimise optimization",
    "compare": "diff comparison vs",
    "info": "ls list status cat print",
    "export": "save convert onnx to-onnx",
    "card": "model-card readme licence license",
    "push": "upload publish share",
    "pull": "download fetch clone",
    "profile": "benchmark bench time speed",
    "config": "init configure settings template defaults",
    "completion": "completions install-completion autocomplete",
    "--help": "help man h ?",
    "--version": "version",
}
"""Usual names of other tools by the name that a command has here."""

_ALIKE = 0.7  # share of letters that two names have in common, by difflib, from which one may be meant for the other


def nearest_option(typed: str, known: Iterable[str]) -> str | None:
    """The option that was meant, of those that a command has; None where none comes near.

    Args:
        typed: What was typed, with dashes or without, perhaps with a value.
        known: The options, such as "--learning-rate".

    Example:
        >>> known = ["--learning-rate", "--kl", "--latent-dim", "--out"]
        >>> [nearest_option(typed, known) for typed in ("lr", "z=2", "latnet_dim", "-o", "rate", "wood")]
        ['--learning-rate', '--latent-dim', '--latent-dim', '--out', '--learning-rate', None]
    """
    known = list(known)
    word = re.sub("[-_]+", "-", typed.split("=")[0]).strip("-").lower()
    for name, usual in _OPTIONS.items():
        if word in usual.split() and to_option(name) in known:
            return to_option(name)
    return _nearest(word, known)


def nearest_command(typed: str, known: Iterable[str]) -> str | None:
    """The command that was meant, of those that there are; None where none comes near.

    Example:
        >>> [nearest_command(typed, ["train", "generate", "sampler"]) for typed in ("fit", "sample", "trian", "wood")]
        ['train', 'generate', 'train', None]
    """
    known = list(known)
    word = typed.strip("-").replace("_", "-").lower()
    for name, usual in _COMMANDS.items():
        if word in usual.split() and (name in known or name.startswith("-")):
            return name
    return _nearest(word, known)


def _nearest(typed: str, known: Sequence[str]) -> str | None:
    """By spelling: the only one that begins as typed, else the one that is most alike."""
    bare = {name.strip("-"): name for name in known}
    begun = [name for name in bare if len(typed) > 2 and name.startswith(typed)]
    alike = difflib.get_close_matches(typed, bare, 1, _ALIKE)
    likely = begun if len(begun) == 1 else alike
    return bare[likely[0]] if likely else None


def unknown_option(error: UnknownOptionError, command: str, commands: App) -> str:
    """What is said of an option that a command does not have.

    Args:
        error: What cyclopts found.
        command: The command, such as "variform train".
        commands: All commands.
    """
    typed = (error.token.keyword or error.token.value).split("=")[0]
    known = [name for argument in error.argument_collection for name in argument.names]
    near = nearest_option(typed, [name for name in known if name.startswith("--")])
    others = [name for name in commands if not name.startswith("-")]
    owner = next((name for name in others if typed in _options_of(commands[name])), None)
    remedy = f"Leave it out; it is one of variform {owner}." if owner else "Leave it out."
    if near:
        remedy = f"Did you mean {near}?"
    return f"{command} must be given options that it has; got {typed}. {remedy}"


def _options_of(command: App) -> set[str]:
    if command.default_command is None:
        return set()
    return {name for argument in command.assemble_argument_collection() for name in argument.names}


def unknown_command(error: UnknownCommandError, command: str) -> str:
    """What is said of a command that there is not; data are taken for what shall be trained on.

    Args:
        error: What cyclopts found.
        command: What it stands after, such as "variform study".
    """
    from variform.data.sources.builtin import BUILT_IN

    app, (typed, *_) = error.app, error.unused_tokens or [""]
    known = [] if app is None else [name for name in app if not name.startswith("-")]
    near = nearest_command(typed, known)
    if near is None and "train" in known and (Path(typed).exists() or typed in BUILT_IN):
        near = f"train {typed}"
    remedy = f"Did you mean {command} {near}?" if near else f"Choose one: {', '.join(known)}."
    return f"{command} must be followed by one of its commands; got {typed!r}. {remedy}"
