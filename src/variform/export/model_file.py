"""The model file: weights and everything to rebuild the model, sealed."""

import math
import os
import reprlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy

from variform.config.checks import converted, from_dict
from variform.config.model import ModelConfig
from variform.config.toml import to_dict
from variform.data.schema import Schema
from variform.model.build import build_vae
from variform.model.own_networks import require_in_files, trusted_codes
from variform.model.vae import VAE, HasVAE, vae_of
from variform.system.import_path import Code
from variform.system.sealing import read_sealed, write_sealed

Array = np.ndarray[Any, np.dtype[Any]]
Built = TypeVar("Built", bound=nn.Module)

_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    StopIteration,
    TypeError,
)
"""What goes wrong where a file is not what it says; each becomes a ValueError."""


def save(vae: VAE | HasVAE, path: str | os.PathLike[str]) -> None:
    """Write the model, its configuration and its preprocessing to one safetensors file, whole or not at all.

    Args:
        vae: A VAE made by `build_vae`, or a `Model` or a run that has one. Of networks of the user's own the file holds
            the weights, the import path of their code and its SHA-256, and no code.
        path: The file to write.

    Raises:
        ValueError: for a VAE that `build_vae` did not make, and for networks that cannot be imported, as those of a
            notebook.

    Example:
        >>> import tempfile
        >>> from variform import build_vae, read
        >>> vae = build_vae(ModelConfig(latent_dim=2), read("digits").schema)
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> save(vae, path)
        >>> load_vae(path).latent_dim
        2
    """
    vae = vae_of(vae)
    if vae.config is None or vae.schema is None:
        raise ValueError(
            "a model file must hold a VAE made by build_vae; this one was put together by hand. Give what makes its "
            "networks to build_vae, as `encoder` and `decoder`, or save its state_dict with safetensors."
        )
    require_in_files(vae.codes)
    header = {"model": to_dict(vae.config), "schema": vae.schema.to_dict()}
    if vae.codes:
        header["code"] = {part: code.sha256 for part, code in vae.codes.items()}
    write_sealed(path, header, vae.state_dict(), has_flow=_has_flow(vae.config))


def load_vae(path: str | os.PathLike[str]) -> VAE:
    """The VAE in a file that `save` wrote, ready to be asked (in evaluation mode).

    Nothing is executed, but for the code of networks of the user's own where it is trusted: see `system.import_path`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is cut short, changed, of a newer version or not a model of variform, and for code
            that nobody trusts.
    """
    path = Path(path)
    header, tensors = read_sealed(path)
    try:
        config = from_dict(ModelConfig, header["model"], path.name, table="model")
        schema = Schema.from_dict(header["schema"])
        was = converted(dict[str, str], header.get("code", {}), f"code in {path.name}")
    except _MISFITS as error:
        raise _misfit(path, error) from error
    codes = trusted_codes(config, path.parent, was, by=path.name)
    try:
        vae = build_bounded(lambda: _build(config, schema, tensors, codes), tensors)
    except _MISFITS as error:
        changed = [str(code.file) for code in codes.values() if code.has_changed]
        raise _misfit(path, error, changed) from error
    return vae.eval()


def _misfit(path: Path, error: BaseException, changed: Sequence[str] = ()) -> ValueError:
    """What is said of a file whose weights do not fit; `changed` names code that is another than in training."""
    remedy = "Fetch or train it again."
    if changed:
        remedy = (
            f"Bring {' and '.join(dict.fromkeys(changed))} back as in training, or train it again."
        )
    return ValueError(
        f"{path.name} must hold the weights that its configuration describes; {reprlib.repr(str(error))}. {remedy}"
    )


def _build(
    config: ModelConfig, schema: Schema, tensors: dict[str, Tensor], codes: dict[str, Code]
) -> VAE:
    """What `build_vae` builds, but nothing far larger than the tensors: a file may ask for what no memory holds."""
    weights, values, dim = (
        sum(value.numel() for value in tensors.values()),
        math.prod(schema.shape),
        config.latent_width,
    )
    has_flow, filters = _has_flow(config), config.filters * (config.network != "mlp")
    held = max(
        values,
        dim * (config.transforms if config.posterior == "planar" else 1),
        config.components * {"mixture": dim, "vamp": values}.get(config.prior, 0),
    )
    made = max(
        [dim**2 * has_flow, *(count * values // 4**stage for stage, count in enumerate(filters, 1))]
    )
    layers = (
        len(config.hidden)
        + len(config.decoder_hidden or ())
        + len(filters)
        + config.transforms * has_flow
    )
    if held > weights or made > 100 * weights or layers > len(tensors):
        raise LookupError("it describes a larger model than the file holds")
    vae = build_vae(config, schema, encoder=codes.get("encoder"), decoder=codes.get("decoder"))
    if "posterior.turn" in tensors:  # of a model whose axes were turned
        vae.posterior.turn = torch.eye(dim)
    return vae


def _has_flow(config: ModelConfig) -> bool:
    return config.posterior in ("iaf", "maf") or config.prior == "flow"


def build_bounded(build: Callable[[], Built], tensors: dict[str, Tensor]) -> Built:
    """The module that `build` makes, with the values of `tensors`, whose names, shapes and types it must have.

    A module that asks for more weights than there are is refused before its memory is touched.

    Args:
        build: Makes the module.
        tensors: Its state, from a file that may come from anywhere.

    Raises:
        LookupError: for a module with other weights, and for weights that are not finite.

    Example:
        >>> tensors = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
        >>> build_bounded(lambda: nn.Linear(2, 3), tensors).in_features
        2
        >>> build_bounded(lambda: nn.Linear(10**9, 3), tensors)
        Traceback (most recent call last):
        LookupError: it describes more weights than the file holds
    """
    left, thread = sum(value.numel() for value in tensors.values()), threading.get_ident()

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal left
        is_sized = parameter is not None and not is_lazy(parameter)
        if is_sized and threading.get_ident() == thread:
            left -= parameter.numel()
            if left < 0:  # the memory is asked for by now, but no page of it was written
                raise LookupError("it describes more weights than the file holds")

    hook = register_module_parameter_registration_hook(count)
    try:
        module = build()
    finally:
        hook.remove()
    floats = [value for value in tensors.values() if value.is_floating_point()]
    kind = next((value.dtype for value in floats), None)
    if kind not in _FLOATS or kind is None:
        raise LookupError("its weights are of another type")
    wanted = {
        name: (value.shape, value.dtype) for name, value in module.to(kind).state_dict().items()
    }
    if wanted != {name: (value.shape, value.dtype) for name, value in tensors.items()}:
        raise LookupError("its weights have other names, shapes or types")
    if not all(bool(value.isfinite().all()) for value in floats):
        raise LookupError("its weights are not finite")
    module.load_state_dict(tensors)
    return module
