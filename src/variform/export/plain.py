"""Steps in the words of `reader`, whose arrays stand in one dictionary."""

from typing import Any

import numpy as np

from variform.export.lowering import Program
from variform.model.likelihoods import Step

Array = np.ndarray[Any, np.dtype[Any]]

_NAMES_OF_ARRAYS = ("weight", "bias", "value", "low", "high")


def plain(step: Step, part: str, program: Program, model: dict[str, Array]) -> Step:
    """A step in the reader's own words; its arrays go to `model`."""
    own = dict(step)
    for name in _NAMES_OF_ARRAYS:
        if isinstance(step.get(name), str):
            own[name] = _kept(f"{part} {step[name]}", program.weights[step[name]], step, model)
    if step["op"] == "branches":
        branches = []
        for steps in step["branches"]:
            branches.append([plain(inner, part, program, model) for inner in steps])
        return {"op": step["join"], "branches": branches}
    if step["op"] == "levels":
        return {**step, "op": step["of"]}
    if step["op"].startswith("convolve"):
        return _plain_convolution(step, own["weight"], program, model)
    return own


def _kept(name: str, array: Array, step: Step, model: dict[str, Array]) -> str:
    """The name of an array in `model`, which has it once: the decoder stands in the score too."""
    if not step["op"].startswith("convolve"):  # whose weights are turned round
        for other, known in model.items():
            if known.dtype == array.dtype and np.array_equal(known, array, equal_nan=True):
                return other
    model[name] = array
    return name


def _plain_convolution(step: Step, name: str, program: Program, model: dict[str, Array]) -> Step:
    """A convolution in the reader's own words; `name` is that of its weights in `model`.

    A transposed convolution is one of the inputs spread out, with the weights turned round: the reader knows no other.
    """
    weight, pads = model[name], step["padding"]
    more = step.get("output_padding", [0, 0])
    spread, stride = [1, 1], step["stride"]
    if step["op"] == "convolve-transposed":
        spread, stride = stride, spread
        pads = [kernel - 1 - pad for kernel, pad in zip(weight.shape[2:], pads, strict=True)]
        weight = np.ascontiguousarray(weight[:, :, ::-1, ::-1].swapaxes(0, 1))
        model[name] = weight
    if min(pads) < 0:
        raise ValueError(
            "the padding of a transposed convolution must be smaller than its kernel. Use `to='onnx'`."
        )
    bias = (
        np.zeros(len(weight), np.float32) if step["bias"] is None else program.weights[step["bias"]]
    )
    model[f"{name} bias"] = bias[:, None, None]
    sides = [[pad, pad + extra] for pad, extra in zip(pads, more, strict=True)]
    return {
        "op": "convolve",
        "weight": name,
        "bias": f"{name} bias",
        "spread": spread,
        "stride": stride,
        "pads": [[0, 0], [0, 0], *sides],
    }
