"""Scores of rows and draws of the prior of a model of variform, beside reader.py: score, prior."""

import math
import sys

import numpy as np

from variform.export.reader import FUNCTIONS, STEPS, about, answer, encode

# fmt: off
FUNCTIONS["log"] = lambda h: np.log(h)
FUNCTIONS["log-factorial"] = lambda h: np.vectorize(math.lgamma, [float])(h + 1)
STEPS.update({
    "product": lambda s, h, c: np.prod(np.split(h, 2, 1), 0),
    "log-sum-exp": lambda s, h, c: np.logaddexp.reduce(h, 1),
    "total": lambda s, h, c: h.sum(1),
    "continuous-bernoulli-normaliser": lambda s, h, c: normaliser(abs(h), s["near"], s["series"]),
})

def normaliser(h, near, series):
    return np.where(h < near, np.polyval(series[::-1], h), h / 2 + np.log(-np.expm1(-h) / h))

def score(model, x, noise, context=None):
    """The bound log p(x) >= score of each row in nats, from standard normal noise (rows, samples, latents)."""
    require(model, "score")
    noise = np.asarray(noise, float)
    rows, samples, _ = noise.shape
    mean, std = (moment[:, None] for moment in encode(model, x, context))
    seen = np.repeat(answer(model, "seen", x, None)[:, None], samples, 1)
    draws = np.concatenate([mean + std * noise, std + 0 * noise, noise, seen], 2).reshape(rows * samples, -1)
    context = None if context is None else np.repeat(context, samples, 0)
    return np.logaddexp.reduce(answer(model, "weight", draws, context).reshape(rows, samples), 1) - np.log(samples)

def prior(model, noise, uniform=None):
    """Draws of p(z) from noise (rows, latents), standard normal; of a mixture also from uniform numbers (rows,)."""
    require(model, "prior")
    columns = [noise] if uniform is None else [noise, np.reshape(uniform, (-1, 1))]
    return answer(model, "prior", np.concatenate(columns, 1), None)

def require(model, part):
    if part in about(model)["left out"]:
        raise ValueError(f"this model has no {part} here: {about(model)['left out'][part]}")

if __name__ == "__main__":
    model = dict(np.load(sys.argv[1]))
    x, noise, context, wanted = (model[f"score {name}"] for name in ("given", "noise", "context", "wanted"))
    print("score differs from torch by at most", abs(score(model, x, noise, context) - wanted).max())
