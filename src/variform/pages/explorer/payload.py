"""The decoder as the page takes it: the steps of `lowering`, with weights in half precision where that is enough."""

import base64
import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from variform.export.lowering import Program, Step, lower_decoder
from variform.model.vae import VAE, evaluating
from variform.system.draws import seeded

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_NUMBERS = 2**22  # of an answer of a server, 16 MB
_TOLERANCE = 5e-4  # of the range of the data: half of what the page promises
_GREY = 0.5 / 255  # the same of images: half of one grey level of 255
_DIGITS = range(4, 11)  # binary digits of a weight that may be enough; float16 has ten
_LARGE = 100_000  # weights, from which on fewer digits are worth the look
_POINTS = 64
_STORED = {"f32": "<f4", "f16": "<f2"}


def decoder_payload(vae: VAE) -> dict[str, Any]:
    """What `createDecoder` in script/decoder.js takes: plain values for JSON.

    `steps` lead to the mean of p(x|z); the first `shared` of them and then `spread` lead to its standard deviations.

    Of images with many weights these have as few binary digits as leave what is decoded from such draws within half of
    one grey level of 255; `error` is the greatest difference, as a share of the range.

    Matrices and kernels are float16, all else float32. A matrix stays float32 if it does not fit, or, the one that
    matters most first, until what is decoded from draws of the prior moves by less than a two-thousandth of the data's
    range.

    Args:
        vae: The model.

    Raises:
        ValueError: for a decoder that `lower_decoder` has no steps for.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> payload = decoder_payload(build_vae(ModelConfig(latent_dim=2, hidden=(16,)), read("digits").schema))
        >>> payload["latentDim"], payload["eventShape"], payload["arrays"]["array0"]["shape"]
        (2, [1, 8, 8], [16, 2])
    """
    program = _lowered(vae)
    matrices = list(_matrices(program.steps))  # those of the network, and then of the likelihood
    chosen = _fit_in_half(vae)
    halves = {matrices[number] for number in chosen}
    digits, error = _fewest_digits(vae, chosen)
    made = _shapes(vae) | _parted(program, vae.event_shape) | _packed(program, halves, digits)
    return made | {"error": error}


def _lowered(vae: VAE) -> Program:
    """Means and, where the likelihood has steps of them, standard deviations; the page shows seven digits."""
    if vae.likelihood.spread_steps() is None:
        return lower_decoder(vae, single=True)
    return lower_decoder(vae, single=True, spread=True)


def _parted(program: Program, event_shape: tuple[int, ...]) -> dict[str, Any]:
    """The steps to the mean, how many of them are the network's, and those from there to the standard deviation."""
    if program.out_shape == event_shape:
        return {"steps": program.steps}
    *shared, last = program.steps
    mean, spread = last["branches"]
    return {"steps": [*shared, *mean], "shared": len(shared), "spread": spread}


def most_codes(vae: VAE) -> int:
    """How many latent points one request may have, so that the answer stays small."""
    return max(1, min(1024, _MOST_NUMBERS // math.prod(vae.event_shape)))


def remote_payload(vae: VAE, url: str) -> dict[str, Any]:
    """What `createDecoder` takes to decode by asking a server.

    Args:
        vae: The model.
        url: Where the page asks, relative to its own address.
    """
    return _shapes(vae) | {"url": url, "mostCodes": most_codes(vae)}


def _shapes(vae: VAE) -> dict[str, Any]:
    return {
        "latentDim": vae.latent_dim,
        "contextDim": vae.context_dim,
        "eventShape": list(vae.event_shape),
    }


def _matrices(steps: Iterable[Step]) -> Iterable[str]:
    """Names of the weights of dense and convolutional steps, in their order."""
    for step in steps:
        if step["op"] in ("dense", "convolve", "convolve-transposed"):
            yield step["weight"]
        for branch in step.get("branches", []):
            yield from _matrices(branch)


def _packed(program: Program, halves: set[str], digits: int) -> dict[str, Any]:
    """All arrays end to end, those of float32 first, where each start is a multiple of 4."""
    singles = [name for name in program.weights if name not in halves]
    arrays = {}
    packed = bytearray()
    for name in [*singles, *(name for name in program.weights if name in halves)]:
        values = program.weights[name]
        if name in halves:
            values = _shortened(values, digits)
        kind = "f16" if name in halves else "f32"
        arrays[name] = {"shape": list(values.shape), "type": kind, "start": len(packed)}
        packed += values.astype(_STORED[kind]).tobytes()
    return {"arrays": arrays, "weights": base64.b64encode(packed).decode("ascii")}


def _shortened(values: Array, digits: int) -> Array:
    """Numbers as float16, rounded to so many binary digits behind the first one."""
    bits = values.astype(np.float16).view(np.uint16).astype(np.uint32)
    dropped = 10 - digits
    if dropped:
        bits = (bits + (1 << (dropped - 1))) >> dropped << dropped
    return bits.astype(np.uint16).view(np.float16)


def _error_of_rounding(vae: VAE) -> Callable[[Iterable[int], int], float]:
    """The greatest error of what is decoded with some matrices rounded to some digits, as a share of the range."""
    z, context = _points(vae)
    exact = _decoded(vae, vae.decoder, z, context)
    span = _span(vae, z, context)

    def error(rounded: Iterable[int], digits: int) -> float:
        decoder = copy.deepcopy(vae.decoder)
        with torch.no_grad():
            for number, weight in enumerate(_weights(decoder)):
                if number in rounded:
                    short = _shortened(weight.cpu().numpy(), digits)
                    weight.copy_(torch.from_numpy(short))
        moved = np.abs(_decoded(vae, decoder, z, context) - exact)
        return float(np.nan_to_num(moved / span, nan=np.inf).max())

    return error


def _fewest_digits(vae: VAE, halves: Sequence[int]) -> tuple[int, float]:
    """How many digits these matrices need, and the error that is left."""
    error = _error_of_rounding(vae)
    is_large = sum(weight.numel() for weight in _weights(vae.decoder)) >= _LARGE
    if is_large and vae.schema is not None and vae.schema.kind == "image":
        for digits in _DIGITS:
            left = error(halves, digits)
            if left <= _GREY:
                return digits, left
    return 10, error(halves, 10)


def _fit_in_half(vae: VAE) -> list[int]:
    """Which of the decoder's matrices may be rounded to float16, as places among them."""
    error = _error_of_rounding(vae)
    halves = [
        number
        for number, weight in enumerate(_weights(vae.decoder))
        if bool(weight.half().isfinite().all())
    ]
    if error(halves, 10) > _TOLERANCE:
        halves.sort(key=lambda number: error([number], 10))
    while halves and error(halves, 10) > _TOLERANCE:
        halves.pop()
    return halves


def _weights(decoder: nn.Module) -> list[Tensor]:
    """The matrices that `_matrices` names first, in their order: modules list their parts in the order of their use."""
    kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    return [part.weight for part in decoder.modules() if isinstance(part, kinds)]


def _points(vae: VAE) -> tuple[Tensor, Tensor | None]:
    """Draws from the prior, half of them moved half as far out again, and contexts of every kind."""
    with seeded(0), evaluating(vae):
        z = vae.latent_prior().sample(torch.Size((_POINTS,)))
        z[::2] *= 1.5
        if vae.no_context(1) is None:
            return z, None
        return z, vae.like(torch.randn(_POINTS, vae.context_dim))


def _decoded(
    vae: VAE, decoder: nn.Module, z: Tensor, context: Tensor | None
) -> np.ndarray[Any, np.dtype[Any]]:
    """Means as the model sees them, with another decoder instead of its own."""
    other = copy.copy(vae)
    other._modules = {**vae._modules, "decoder": decoder}
    with evaluating(other):
        return other.decode(z, context).mean.double().cpu().numpy()


def _span(vae: VAE, z: Tensor, context: Tensor | None) -> Any:
    """The range of the data as the model sees them, of every column of a table; without a schema that of the means."""
    if vae.schema is None:
        return float(np.ptp(_decoded(vae, vae.decoder, z, context))) or 1.0
    if vae.schema.binarise != "none":
        return 1.0
    ranges = np.array([high - low for low, high in vae.schema.scaled_ranges()])
    if vae.schema.kind == "image":
        ranges = ranges.reshape(-1, 1, 1)
    return np.where(ranges > 0, ranges, 1.0)
