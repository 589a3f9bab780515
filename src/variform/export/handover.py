"""Handing over: a trained model as files for programs that have no variform, compared with torch as they are written.

onnx          encoder.onnx and decoder.onnx, score.onnx and prior.onnx
numpy         model.npz, reader.py, score.py and codec.py, which need NumPy alone
safetensors   model.safetensors, the model file, and model.json, what it says of itself
"""

import copy
import dataclasses
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import checked
from variform.config.toml import to_dict
from variform.data.schema import Schema
from variform.evaluation import exploration
from variform.export import codec, reader, score
from variform.export.coding import lower_codec
from variform.export.inspection import inspect
from variform.export.lowering import Step, knows_spread, lower_decoder, lower_encoder
from variform.export.model_file import save
from variform.export.plain import plain
from variform.export.scoring import lower_prior, lower_score
from variform.model.importance import weights_of
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.system.draws import seeded
from variform.system.extras import needing
from variform.system.files import new_folder, write_json, write_text
from variform.version import __version__

Array = np.ndarray[Any, np.dtype[Any]]
Form = Literal["onnx", "numpy", "safetensors"]
Ask = Callable[[str, Array, Array | None], Array]

_BATCHES = 1, 7  # that are compared
_SAMPLES = 5  # of a score that is compared
_WIDTH = 120


@checked
def hand_over(vae: VAE | HasVAE, form: Form, folder: str | os.PathLike[str]) -> list[Path]:
    """Write a model into a new folder in a form that other programs read, whole or not at all.

    Encoder and decoder are in the data's own units. Their answers may differ from torch's in single precision by 1e-5
    of the range of the data, of latent points by 1e-5 of the largest, scores by 1e-5 of themselves and by what single
    precision costs in torch. The score and the draws of the prior are left out where `left_out` says why.

    Args:
        vae: A VAE made by `build_vae`, or a `Model` or a run that has one.
        form: `onnx`, `numpy` or `safetensors`.
        folder: A folder that does not exist or is empty.

    Returns:
        The files.

    Raises:
        FileExistsError: when the folder holds something already.
        ValueError: for a model that the form cannot hold, such as one with a posterior on a flow, for one whose answers
            come out differently there, and for missing packages.

    Example:
        >>> import tempfile
        >>> from variform import ModelConfig, build_vae, read
        >>> vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,)), read("digits").schema)
        >>> [path.name for path in hand_over(vae, "numpy", Path(tempfile.mkdtemp()) / "new")]
        ['codec.py', 'model.npz', 'reader.py', 'score.py']
    """
    vae = vae_of(vae)
    if vae.config is None or vae.schema is None:
        raise ValueError(
            "what leaves variform must be a VAE made by build_vae; this one was put together by hand. Give what makes "
            "its networks to build_vae, as `encoder` and `decoder`."
        )
    write = {"onnx": _write_onnx, "numpy": _write_numpy, "safetensors": _write_safetensors}[form]
    with new_folder(folder) as temporary:
        write(vae, temporary)
    return sorted(Path(folder).iterdir())


@checked
def left_out(vae: VAE | HasVAE, form: Form = "onnx") -> dict[str, str]:
    """What a form has no steps for, of `score`, `prior` and in NumPy `codec`, and why; the rest leaves without them.

    Args:
        vae: As of `hand_over`.
        form: As of `hand_over`.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> config = ModelConfig(latent_dim=2, likelihood="bernoulli", posterior="full")
        >>> list(left_out(build_vae(config, read("digits").schema)))
        ['score']
    """
    why: dict[str, str] = {}
    parts: dict[str, Callable[[VAE], object]] = {"score": lower_score, "prior": lower_prior}
    if form == "numpy":
        parts["codec"] = lambda vae: lower_codec(vae, {})
    for part, lower in parts.items():
        try:
            lower(vae_of(vae))
        except ValueError as error:
            why[part] = str(error)
    return why


def _write_safetensors(vae: VAE, folder: Path) -> None:
    save(vae, folder / "model.safetensors")
    write_json(folder / "model.json", inspect(folder / "model.safetensors"))


def _write_onnx(vae: VAE, folder: Path) -> None:
    with needing("onnx", "ONNX"):
        from variform.export import onnx
    graphs = onnx.to_onnx(vae)

    def ask(part: str, points: Array, context: Array | None) -> Array:
        inputs = {"x": points} if part == "encoder" else {"z": points}
        if context is not None:
            inputs["context"] = context
        results = onnx.answers(graphs[part], inputs)
        return np.stack(results, 1) if part == "encoder" else np.concatenate(results, 1)

    def ask_score(asked: _Scored) -> Array:
        inputs = {"x": asked.x, "noise": asked.noise.astype(np.float32)}
        if asked.context is not None:
            inputs["context"] = asked.context
        return onnx.answers(graphs["score"], inputs)[0]

    _require_agreement(vae, ask, "ONNX")
    if "score" in graphs:
        _require_same_scores(vae, ask_score, "ONNX")
    for name, graph in graphs.items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())


# --- NumPy --------------------------------------------------------------------------------------------------------


def _write_numpy(vae: VAE, folder: Path) -> None:
    has_spread = knows_spread(vae)
    programs = {"encoder": lower_encoder(vae), "decoder": lower_decoder(vae, spread=has_spread)}
    why = left_out(vae, "numpy")
    if "score" not in why:
        programs |= lower_score(vae)._asdict()
    if "prior" not in why:
        programs["prior"] = lower_prior(vae)
    examples = _examples(vae, _BATCHES[-1])
    model: dict[str, Array] = {}
    about: dict[str, Any] = {"variform": __version__, "left out": why, **_described(vae)}
    for part, program in programs.items():
        about[part] = {
            "in_shape": program.in_shape,
            "context_dim": program.context_dim,
            "out_shape": program.out_shape,
            "steps": [plain(step, part, program, model) for step in program.steps],
        }
        about[part] |= {"parts": 1 + has_spread} if part == "decoder" else {}
        if part not in examples:
            continue
        points, context, wanted = examples[part]
        if context is None:
            context = np.zeros((len(points), 0))
        model |= {f"{part} given": points, f"{part} context": context, f"{part} wanted": wanted}
    if "codec" not in why:
        about["codec"] = lower_codec(vae, model)
    if "score" not in why:
        scored = _scored(vae, _BATCHES[-1])
        context = np.zeros((len(scored.x), 0)) if scored.context is None else scored.context
        given = {"given": scored.x, "noise": scored.noise, "context": context}
        model |= {f"score {name}": values for name, values in given.items()}
        model["score wanted"] = scored.wanted
    model["about"] = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
    np.savez(folder / "model.npz", allow_pickle=False, **model)
    write_text(folder / "reader.py", reader_for(about))
    for module, name in ((score, "score.py"), (codec, "codec.py")):
        text = Path(module.__file__).read_text(encoding="utf-8").replace("# fmt: off\n", "")
        write_text(folder / name, text.replace("variform.export.reader", "reader"))
    with np.load(folder / "model.npz") as file:
        written = dict(file)
    _require_agreement(vae, lambda *question: reader.answer(written, *question), "NumPy")
    if "score" not in why:
        _require_same_scores(vae, lambda asked: score.score(written, *asked[:3]), "NumPy")


def reader_for(about: dict[str, Any]) -> str:
    """The text of `reader`, without the steps and functions that a model does not use; at most 50 lines.

    That is why `reader` is dense, one step a line, as no other file here: it goes out with a model, and whoever gets it
    can look at all of its arithmetic on one page.

    Args:
        about: What the model's file says of itself.
    """
    parts = ("encoder", "decoder", "seen", "weight", "prior")
    used: set[str] = set()
    for part in parts:
        used |= set(_words(about[part]["steps"])) if part in about else set()
    for part in ("encoder", "decoder"):
        used |= set(_words(about.get("codec", {}).get(part, ())))
    helpers = {
        "planes": {"context"},
        "softmax": {"mean", "variance"},
        "convolve": {"convolve"},
        "normalise": {"normalise"},
        "continuous_bernoulli": {"continuous-bernoulli"},
        "continuous_bernoulli_variance": {"continuous-bernoulli-variance"},
        "variance": {"variance"},
        "logistic": {"logistic"},
        "logistic_variance": {"logistic-variance"},
    }
    unused = {name for name, ops in helpers.items() if not ops & used}
    unused |= set() if "gelu" in used else {"math"}

    def packed(match: re.Match[str]) -> str:
        entries = [line.strip() for line in match[2].splitlines()]
        lines = [f"{match[1]} = {{"]
        for entry in entries:
            if entry.split('"')[1] in used:
                if len(lines[-1]) + len(entry) + 1 > _WIDTH:
                    lines.append("   ")
                lines[-1] += ("" if lines[-1].endswith("{") else " ") + entry
        return "\n".join(lines).removesuffix(",") + "}\n"

    text = Path(reader.__file__).read_text(encoding="utf-8").replace("# fmt: off\n", "")
    text = re.sub(r"^(\w+) = \{\n(.*?)\n\}\n", packed, text, flags=re.MULTILINE | re.DOTALL)
    for name in unused:
        text = re.sub(
            rf"^import {name}\n|^def {name}\(.*?\n\n", "", text, flags=re.MULTILINE | re.DOTALL
        )
    return re.sub(r"\n\n+", "\n", text)


def _words(steps: Sequence[Step]) -> list[str]:
    """All operations and functions that steps use, those of branches too."""
    words = []
    for step in steps:
        words += [step[name] for name in ("op", "function") if name in step]
        for branch in step.get("branches", ()):
            words += _words(branch)
    return words


def _described(vae: VAE) -> dict[str, Any]:
    assert vae.schema is not None and vae.config is not None  # as of all that build_vae made
    return {"model": to_dict(vae.config), "schema": vae.schema.to_dict()}


# --- the comparison with torch ------------------------------------------------------------------------------------


def _require_agreement(vae: VAE, ask: Ask, form: str) -> None:
    """Compare answers with those of torch, for batches of one row and of several."""
    for rows in _BATCHES:
        for part, (given, context, wanted) in _examples(vae, rows).items():
            answer = ask(part, given, context)
            parts = 1 + knows_spread(vae) if part == "decoder" else 1
            schema = vae.schema if part == "decoder" else None
            if not _all_agree(answer, wanted, schema, parts):
                error = (
                    f"{np.abs(answer - wanted).max():.3g}"
                    if answer.shape == wanted.shape
                    else "its shape"
                )
                raise ValueError(
                    f"the {part} in {form} must answer as in torch; it differs by {error}. Nothing is written. "
                    "Use `to='safetensors'`."
                )


class _Scored(NamedTuple):
    """Rows, noise and context that a score is asked for, what torch answers, and how far another may be from it."""

    x: Array
    noise: Array
    context: Array | None
    wanted: Array
    allowed: Array


def _require_same_scores(vae: VAE, ask: Callable[[_Scored], Array], form: str) -> None:
    """Compare scores with those of torch in double precision, for batches of one row and of several."""
    for rows in _BATCHES:
        asked = _scored(vae, rows)
        errors = np.abs(ask(asked) - asked.wanted)
        if not (errors <= asked.allowed).all():
            raise ValueError(
                f"the score in {form} must answer as in torch; it differs by {errors.max():.3g}. Nothing is written. "
                "Use `to='safetensors'`."
            )


def _scored(vae: VAE, rows: int) -> _Scored:
    """Rows that the model draws, and their scores with the same noise."""
    exact = copy.deepcopy(vae).double().cpu()
    single = copy.deepcopy(vae).float().cpu()
    assert vae.schema is not None
    with seeded(rows), evaluating(exact):
        z = exact.latent_prior().sample(torch.Size((rows,)))
        context = _contexts(vae.schema, rows)
        x = exploration.decode(exact, z.numpy(), context=context, draw=True, seed=rows)
        noise = torch.randn(rows, _SAMPLES, vae.latent_dim, dtype=torch.float64)
    x = x if any(vae.schema.is_far) else x.astype(np.float32)
    if vae.schema.gaps:
        x[np.random.default_rng(rows).random(x.shape) < 0.2] = np.nan
    wanted, rounded = (_score_of(model, x, noise, context) for model in (exact, single))
    allowed = 1e-5 * np.maximum(1.0, np.abs(wanted)) + 4 * np.abs(rounded - wanted).max()
    contexts = None if context is None else context.numpy()
    return _Scored(x, noise.numpy(), contexts, wanted, allowed)


def _score_of(vae: VAE, x: Array, noise: Tensor, context: Tensor | None) -> Array:
    """The bound by draws from this noise, (B,), in nats and of a density in the data's own units."""
    assert vae.schema is not None
    seen = vae.like(_seen(vae.schema, torch.from_numpy(x)))
    context = None if context is None else vae.like(context)
    with evaluating(vae):
        q = vae.encode(seen, context)
        z = q.mean + q.stddev * vae.like(noise).transpose(0, 1)
        log_weights = weights_of(vae, seen, z, q.log_prob(z), context=context).log_weight
        log_px = log_weights.logsumexp(0) - math.log(len(z))
        return (log_px + vae.log_jacobians(vae.schema, seen)).double().numpy()


def _all_agree(answer: Array, wanted: Array, schema: Schema | None, parts: int) -> bool:
    """Whether results that stand side by side along axis 1 all do."""
    if answer.shape != wanted.shape:
        return False
    pairs = zip(np.split(answer, parts, 1), np.split(wanted, parts, 1), strict=True)
    return all(_agrees(found, expected, schema) for found, expected in pairs)


def _agrees(answer: Array, wanted: Array, schema: Schema | None) -> bool:
    """Within 1e-5 of the range and float32's own precision; a number that is rounded may have been on an edge."""
    if schema is None:
        return bool(np.allclose(answer, wanted, rtol=0, atol=1e-5 * max(1.0, np.abs(wanted).max())))
    axes: int | tuple[int, ...] = 0
    if schema.kind == "image":
        axes = tuple(range(wanted.ndim)) if len(schema.low) == 1 else (0, 2, 3)
    known = np.array(schema.high) - np.array(schema.low)
    is_empty = np.isnan(wanted)  # by a rule
    filled = np.where(is_empty, 0.0, wanted)
    spread = np.maximum(known, np.ptp(filled, axis=axes))
    allowed = 1e-5 * spread + 2.0**-23 * np.abs(filled).max(axes)
    if schema.kind == "image":
        allowed = allowed.reshape(-1, 1, 1)
    is_close = np.where(is_empty, np.isnan(answer), np.abs(answer - filled) <= allowed)
    is_rounded = np.array(schema.whole) if schema.kinds else np.array(False)
    for rule in schema.rules:  # whose flag is rounded
        is_rounded[rule.column] = True
    return bool((is_close | is_rounded).all() and is_close.mean() >= 0.9)


def _examples(vae: VAE, rows: int) -> dict[str, tuple[Array, Array | None, Array]]:
    """What each part is given, the context, and what torch answers; nothing of the data is in it."""
    vae = copy.deepcopy(vae).float().cpu()
    assert vae.schema is not None
    with seeded(rows), evaluating(vae):
        z = vae.latent_prior().sample(torch.Size((rows,)))
        context = _contexts(vae.schema, rows)
        x = torch.from_numpy(exploration.decode(vae, z.numpy(), context=context))
        seen = x.where(torch.rand(x.shape) > 0.2, torch.nan) if vae.schema.gaps else x
        law = vae.encode(_seen(vae.schema, seen), context)
        std = vae.decode(z, context).stddev.numpy() * vae.schema.per_value(vae.schema.scale).numpy()
    results = [x.numpy(), std.astype(x.numpy().dtype)] if knows_spread(vae) else [x.numpy()]
    moments = torch.stack([law.mean, law.stddev], 1)
    contexts = None if context is None else context.numpy()
    return {
        "decoder": (z.numpy(), contexts, np.concatenate(results, 1)),
        "encoder": (seen.numpy(), contexts, moments.numpy()),
    }


def _seen(schema: Schema, raw: Tensor) -> Tensor:
    """As `Schema.prepare`; but a dynamic binarisation, which is a draw, leaves the probabilities."""
    if schema.binarise == "dynamic":
        schema = dataclasses.replace(schema, binarise="none")
    return schema.prepare(raw).float()


def _contexts(schema: Schema, rows: int) -> Tensor | None:
    """Random categories and numbers, (rows, context_dim)."""
    parts = []
    for condition in schema.conditions:
        if condition.categories:
            parts.append(torch.eye(condition.width)[torch.randint(condition.width, (rows,))])
        else:
            parts.append(torch.randn(rows, 1))
    return torch.cat(parts, 1) if parts else None
