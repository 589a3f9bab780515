"""A model of variform, model = dict(np.load("model.npz")): decode, spread (standard deviations), encode."""

import json
import math
import sys

import numpy as np

# fmt: off
FUNCTIONS = {
    "relu": lambda h: np.maximum(h, 0),
    "tanh": np.tanh,
    "elu": lambda h: np.where(h > 0, h, np.expm1(h)),
    "leaky-relu": lambda h: np.where(h > 0, h, 0.01 * h),
    "gelu": lambda h: h / 2 * (1 + np.vectorize(math.erf)(h * 0.5**0.5)),
    "silu": lambda h: h * (1 + np.tanh(h / 2)) / 2,
    "softplus": lambda h: np.logaddexp(h, 0),
    "sigmoid": lambda h: (1 + np.tanh(h / 2)) / 2,
    "exp": np.exp,
    "log1p": np.log1p,
    "square": np.square,
    "sqrt": np.sqrt,
    "round": np.rint,
    "step": lambda h: np.where(np.isnan(h), h, h >= 0.5),
    "is-zero": lambda h: h == 0,
    "is-missing": np.isnan,
}
STEPS = {
    "dense": lambda s, h, c: h @ s["weight"].T + s["bias"],
    "convolve": lambda s, h, c: convolve(s, h),
    "map": lambda s, h, c: FUNCTIONS[s["function"]](h),
    "continuous-bernoulli": lambda s, h, c: continuous_bernoulli(h, s["near"], s["series"]),
    "continuous-bernoulli-variance": lambda s, h, c: continuous_bernoulli_variance(abs(h), s["near"], s["series"]),
    "gate": lambda s, h, c: np.split(h, 2, 1)[0] * (1 + np.tanh(np.split(h, 2, 1)[1] / 2)) / 2,
    "normalise": lambda s, h, c: normalise(h, s["eps"], tuple(range(1, h.ndim))) * s["weight"] + s["bias"],
    "add": lambda s, h, c: h + s["value"],
    "multiply": lambda s, h, c: h * s["value"],
    "clip": lambda s, h, c: np.clip(h, s["low"], s["high"]),
    "fill": lambda s, h, c: np.where(np.isnan(h), s["value"], h),
    "cast": lambda s, h, c: h,
    "take": lambda s, h, c: h[:, s["places"]],
    "reshape": lambda s, h, c: h.reshape(len(h), *s["shape"]),
    "context": lambda s, h, c: np.concatenate([h, np.ones_like(h[:, :1]) * planes(c, h.ndim)], 1),
    "sum": lambda s, h, c: sum(run(steps, h, c, s["model"]) for steps in s["branches"]),
    "concatenate": lambda s, h, c: np.concatenate([run(steps, h, c, s["model"]) for steps in s["branches"]], 1),
    "likeliest": lambda s, h, c: h.argmax(1),
    "mean": lambda s, h, c: np.tensordot(softmax(h), np.linspace(0, 1, h.shape[1]), (1, 0)),
    "variance": lambda s, h, c: variance(softmax(h), np.linspace(0, 1, h.shape[1]).reshape(-1, *[1] * (h.ndim - 2))),
    "logistic-variance": lambda s, h, c: logistic_variance(s, *np.moveaxis(h, 1, 0)),
    "logistic": lambda s, h, c: logistic(s["count"], s["locations"], s["log_scales"], *np.moveaxis(h, 1, 0)),
}

def planes(c, axes):
    return c.reshape(*c.shape, *[1] * (axes - 2))

def softmax(h):
    return np.exp(h - np.logaddexp.reduce(h, 1, keepdims=True))

def convolve(s, h):
    (u, v), (down, right) = s["spread"], s["stride"]
    wide = np.kron(h, np.eye(1, u * v).reshape(u, v))[:, :, : h.shape[2] * u - u + 1, : h.shape[3] * v - v + 1]
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(wide, s["pads"]), s["weight"].shape[2:], (2, 3))
    return np.einsum("bnxyij,mnij->bmxy", seen[:, :, ::down, ::right], s["weight"], optimize=True) + s["bias"]

def normalise(h, eps, axes):
    return (h - h.mean(axes, keepdims=True)) / np.sqrt(h.var(axes, keepdims=True) + eps)

def continuous_bernoulli(h, near, series):
    return np.where(abs(h) < near, np.polyval(series[::-1], h), 1 / (1 - np.exp(-h)) - 1 / h)

def continuous_bernoulli_variance(h, near, series):
    return np.where(h < near, np.polyval(series[::-1], h), h**-2 - np.exp(-h) / np.expm1(-h) ** 2)

def variance(share, values):
    return (share * (values - (share * values).sum(1, keepdims=True)) ** 2).sum(1)

def logistic_variance(s, place, log_scale):
    place, scale = np.clip((1 + np.tanh(place / 2)) / 2, *s["locations"]), np.exp(np.clip(log_scale, *s["log_scales"]))
    above = np.stack([(1 + np.tanh((place - k / s["count"]) / scale / 2)) / 2 for k in range(1, s["count"])])
    return (above * (2 * np.cumsum(1 - above, 0) - (1 - above))).sum(0) / (s["count"] - 1) ** 2

def logistic(n, places, log_scales, place, log_scale):
    place, scale = np.clip((1 + np.tanh(place / 2)) / 2, *places), np.exp(np.clip(log_scale, *log_scales))
    return np.mean([(1 + np.tanh((place - k / n) / scale / 2)) / 2 for k in range(1, n)], 0)

def run(steps, h, c, model):
    for step in steps:
        s = {key: model.get(value, value) if isinstance(value, str) else value for key, value in step.items()}
        h = STEPS[step["op"]]({**s, "model": model}, h, c)
    return h

def answer(model, part, h, context):
    facts, h = about(model)[part], np.asarray(h, float)
    c = np.zeros((len(h), 0)) if context is None else np.asarray(context, float)
    if h.shape != (len(c), *facts["in_shape"]) or c.shape != (len(h), facts["context_dim"]):
        raise ValueError(f"the {part} takes {facts['in_shape']} and {facts['context_dim']} numbers of context per row.")
    with np.errstate(all="ignore"):
        return run(facts["steps"], h, c, model).reshape(len(h), *facts["out_shape"])

def about(model): return json.loads(model["about"].tobytes())
def parts(model, z, context): return np.split(answer(model, "decoder", z, context), about(model)["decoder"]["parts"], 1)
def decode(model, z, context=None): return parts(model, z, context)[0]
def spread(model, z, context=None): return parts(model, z, context)[1]
def encode(model, x, context=None): return np.moveaxis(answer(model, "encoder", x, context), 1, 0)

if __name__ == "__main__":
    model = dict(np.load(sys.argv[1]))
    for part in ("decoder", "encoder"):
        given, context, wanted = (model[f"{part} {name}"] for name in ("given", "context", "wanted"))
        print(part, "differs from torch by at most", abs(answer(model, part, given, context) - wanted).max())
