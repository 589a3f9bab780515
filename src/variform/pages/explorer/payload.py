"""The decoder as the page takes it: the steps of `lowering`, with weights in few bits where that is enough."""

import base64
import copy
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from variform.export.lowering import Program, Step, knows_spread, lower_decoder
from variform.model.vae import VAE, evaluating
from variform.pages.explorer.rounding import Measured, Rounded, measured
from variform.system.draws import seeded

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_NUMBERS = 2**22  # of an answer of a server, 16 MB
_TOLERANCE = 5e-4  # of the range of the data: half of what the page promises; of images it is half of `_GREY`
_GREY = 1 / 255  # of the range: what large matrices of images may move what is decoded
_MARGIN = 0.9  # of `_GREY`: other draws than those looked at may move a little more
_SCALES = (0.5, 0.25, 0.125, 0.0625)  # steps of whole numbers, in deviations of the weights
_HALVINGS = 3  # of the factor of 2 between those
_LARGE = 100_000  # weights, from which on a matrix is worth rounding to whole numbers
_POINTS = 64
_SEEN, _REACHING = 2048, 512  # draws by which large matrices are measured
_AT_ONCE = 128  # draws that are decoded together
_STORED = {"f32": "<f4", "i8": "<i1", "f16": "<f2"}


def decoder_payload(vae: VAE) -> dict[str, Any]:
    """What `createDecoder` in script/decoder.js takes: plain values for JSON.

    `steps` lead to the mean of p(x|z); the first `shared` of them and then `spread` lead to its standard deviations.

    Matrices and kernels are float16, all else float32. A matrix stays float32 if it does not fit, or, the one that
    matters most first, until draws of the prior move by less than half a grey level, or a two-thousandth of the data's
    range. Large matrices of images are whole numbers of one byte, `rounding.rounded`, with the coarsest steps that
    leave what is decoded within one grey level of 255; one for which no steps do is stored as the others are.

    `error` is the greatest difference from what the model decodes, as a share of the range.

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
    _lowered(vae)  # refuses what it has no steps for, before that is measured
    halves = _fit_in_half(vae)
    decoder, wholes, error = _with_whole_numbers(vae, halves)
    stored = _with_decoder(vae, decoder)
    program = _lowered(stored)
    matrices = list(_matrices(program.steps))  # those of the network, and then of the likelihood
    kinds = {matrices[number]: "f16" for number in halves}
    whole = {matrices[number]: layer for number, layer in wholes.items()}
    made = _shapes(vae) | _parted(program, vae.event_shape) | _packed(program, kinds, whole)
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


def remote_payload(vae: VAE, url: str, spread: str | None = None) -> dict[str, Any]:
    """What `createDecoder` takes to decode by asking a server.

    Args:
        vae: The model.
        url: Where the page asks, relative to its own address.
        spread: Where it asks for standard deviations of p(x|z), which it does if the likelihood states some.
    """
    about = {"url": url, "mostCodes": most_codes(vae)}
    if spread is not None and knows_spread(vae):
        about["spreadUrl"] = spread
    return _shapes(vae) | about


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


def _packed(program: Program, kinds: dict[str, str], whole: dict[str, Rounded]) -> dict[str, Any]:
    """All arrays end to end: float32, where each start is a multiple of 4, whole numbers, and then float16, `_apart`.

    An array of whole numbers names its steps, one for each row, and has its rows in the order of these.
    """
    values: dict[str, Array] = dict(program.weights)
    types = dict.fromkeys(values, "f32") | kinds
    steps = {name: f"{name}.steps" for name in whole}
    for name, layer in whole.items():
        values[name] = layer.whole[layer.order].numpy()
        types[name] = "i8"
        values[steps[name]] = layer.steps.numpy()
        types[steps[name]] = "f32"
    arrays: dict[str, dict[str, Any]] = {}
    packed = bytearray()
    for kind, stored in _STORED.items():
        for name in (name for name in values if types[name] == kind):
            shape = list(values[name].shape)
            arrays[name] = {"shape": shape, "type": kind, "start": len(packed)}
            numbers = np.ascontiguousarray(values[name].ravel().astype(stored))
            packed += (_apart(numbers) if kind == "f16" else numbers).tobytes()
    for name in whole:
        arrays[name]["steps"] = steps[name]
    return {"arrays": arrays, "weights": base64.b64encode(packed).decode("ascii")}


def _apart(halves: Array) -> Array:
    """The low bytes of float16 and then the high ones, which hold the exponents: these are alike."""
    return np.ascontiguousarray(halves.view(np.uint8).reshape(-1, 2).T)


def _error_from(vae: VAE, count: int) -> Callable[[nn.Module], float]:
    """The greatest error of what another decoder decodes from some draws, as a share of the range."""
    z, context = _points(vae, count)
    exact = _decoded(vae, z, context)
    span = _span(vae, z, context)

    def error(decoder: nn.Module) -> float:
        moved = np.abs(_decoded(_with_decoder(vae, decoder), z, context) - exact)
        return float(np.nan_to_num(moved / span, nan=np.inf).max())

    return error


def _in_half(decoder: nn.Module, halves: Iterable[int]) -> nn.Module:
    """A copy of the decoder with some of its matrices rounded to float16."""
    decoder = copy.deepcopy(decoder)
    weights = [layer.weight for layer in _layers(decoder)]
    with torch.no_grad():
        for number in halves:
            weights[number].copy_(weights[number].half())
    return decoder


def _with_whole_numbers(
    vae: VAE, halves: Sequence[int]
) -> tuple[nn.Module, dict[int, Rounded], float]:
    """The decoder as the page has it, its matrices of whole numbers by their places, and the error."""
    error = _error_from(vae, max(_POINTS, most_codes(vae)))
    plain = _in_half(vae.decoder, halves)
    large = _large(vae)
    if not large:
        return plain, {}, error(plain)

    seen = _seen(vae, large)

    @functools.cache
    def tried(scale: float) -> tuple[nn.Module, dict[int, Rounded], float]:
        decoder = copy.deepcopy(plain)
        wholes = {number: _put(_layers(decoder)[number], seen[number], scale) for number in large}
        return decoder, wholes, error(decoder)

    def fits(scale: float) -> bool:
        return tried(scale)[2] <= _MARGIN * _GREY

    fine = next(filter(fits, _SCALES), None)
    if fine is None:
        return plain, {}, error(plain)
    coarse = 2 * fine
    for _ in range(_HALVINGS):
        middle = math.sqrt(coarse * fine)
        if fits(middle):
            fine = middle
        else:
            coarse = middle
    return tried(fine)


def _large(vae: VAE) -> dict[int, nn.Linear]:
    """Dense layers of images with a large matrix, by its place among the decoder's."""
    if vae.schema is None or vae.schema.kind != "image":
        return {}
    return {
        number: layer
        for number, layer in enumerate(_layers(vae.decoder))
        if isinstance(layer, nn.Linear) and layer.weight.numel() >= _LARGE
    }


def _seen(vae: VAE, large: dict[int, nn.Linear]) -> dict[int, Measured]:
    """What rounding must know of these layers, from draws of the prior."""
    z, context = _points(vae, _SEEN, seed=1)
    draws = z if context is None else torch.cat([z, context], 1)

    def decode(some: Tensor) -> Tensor:
        code, given = some.split([vae.latent_dim, some.shape[1] - vae.latent_dim], 1)
        return vae.decode(code, given if given.shape[1] else None).mean

    with seeded(1), evaluating(vae):
        return {
            number: measured(layer, decode, draws, _REACHING) for number, layer in large.items()
        }


def _put(layer: nn.Module, seen: Measured, scale: float) -> Rounded:
    """Give a layer its rounded matrix and the bias that goes with it."""
    assert isinstance(layer, nn.Linear)
    made, bias = seen.rounded(layer, scale)
    layer.weight.data.copy_(made.weight)
    layer.bias = nn.Parameter(bias.to(layer.weight))
    return made


def _fit_in_half(vae: VAE) -> list[int]:
    """Which of the decoder's matrices may be rounded to float16, as places among them."""
    error = _error_from(vae, _POINTS)
    is_image = vae.schema is not None and vae.schema.kind == "image"
    tolerance = _GREY / 2 if is_image else _TOLERANCE
    halves = [
        number
        for number, layer in enumerate(_layers(vae.decoder))
        if bool(layer.weight.half().isfinite().all())
    ]

    def error_of(rounded: Iterable[int]) -> float:
        return error(_in_half(vae.decoder, rounded))

    if error_of(halves) > tolerance:
        halves.sort(key=lambda number: error_of([number]))
    while halves and error_of(halves) > tolerance:
        halves.pop()
    return halves


def _layers(decoder: nn.Module) -> list[nn.Linear | nn.Conv2d | nn.ConvTranspose2d]:
    """Whose matrices `_matrices` names first, in their order: modules list their parts in the order of their use."""
    kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    return [part for part in decoder.modules() if isinstance(part, kinds)]


def _points(vae: VAE, count: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Draws from the prior, half of them moved half as far out again, and contexts of every kind."""
    with seeded(seed), evaluating(vae):
        z = vae.latent_prior().sample(torch.Size((count,)))
        z[::2] *= 1.5
        if vae.no_context(1) is None:
            return z, None
        return z, vae.like(torch.randn(count, vae.context_dim))


def _with_decoder(vae: VAE, decoder: nn.Module) -> VAE:
    """The model with another decoder instead of its own."""
    other = copy.copy(vae)
    other._modules = {**vae._modules, "decoder": decoder}
    return other


def _decoded(vae: VAE, z: Tensor, context: Tensor | None) -> Array:
    """Means as the model sees them."""
    contexts: Sequence[Tensor | None] = [None] * len(z)
    if context is not None:
        contexts = context.split(_AT_ONCE)
    with evaluating(vae):
        parts = [
            vae.decode(some, given).mean.double().cpu().numpy()
            for some, given in zip(z.split(_AT_ONCE), contexts, strict=False)
        ]
    return np.concatenate(parts)


def _span(vae: VAE, z: Tensor, context: Tensor | None) -> Any:
    """The range of the data as the model sees them, of every column of a table; without a schema that of the means."""
    if vae.schema is None:
        return float(np.ptp(_decoded(vae, z, context))) or 1.0
    if vae.schema.binarise != "none":
        return 1.0
    ranges = np.array([high - low for low, high in vae.schema.scaled_ranges()])
    if vae.schema.kind == "image":
        ranges = ranges.reshape(-1, 1, 1)
    return np.where(ranges > 0, ranges, 1.0)
