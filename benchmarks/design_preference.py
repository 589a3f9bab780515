"""What a person's choices find: a planted utility, 40 choices, beside random designs at the same number.

    python benchmarks/design_preference.py

The utility is exp(-|z - z*|^2 / (2 1.5^2)), whose best design z* is 1.5 standard deviations from the centre of a normal
prior. Ten times four designs are shown; each is compared with the one preferred so far, and who compares errs as a
probit law of noise .05 says. Printed are, as medians over seeds: the utility of the design that is preferred in the
end, where 1 is the best there is; Kendall's tau of the learned utility and the true one on 300 draws of the prior; the
share of choices that others foretell, as a study says it; CPU seconds.
"""

import argparse
import time
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, norm

from variform.design.preference import Choices, fit_preference, foretold, propose_preferred

Array = NDArray[np.float64]

ROUNDS, SHOWN, NOISE, WIDTH = 10, 4, 0.05, 1.5


class Normal:
    """A space whose law is a standard normal one of `dim` dimensions, cut off at 2.6."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.box = np.full(dim, -2.6), np.full(dim, 2.6)

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        return rng.normal(size=(count, self.dim)).clip(*self.box)


def walk(dim: int, seed: int, *, at_random: bool) -> tuple[float, float, float, float]:
    """One person's walk: utility of the winner, tau, share foretold and CPU seconds."""
    began = time.process_time()
    space, rng = Normal(dim), np.random.default_rng(seed)
    best = rng.normal(size=dim)
    best *= 1.5 / np.linalg.norm(best)

    def utility(z: Array) -> Array:
        return np.exp(-((z - best) ** 2).sum(-1) / (2 * WIDTH**2))

    z = space.sample(1, rng)
    favourite, pairs = 0, []
    for _ in range(ROUNDS):
        choices = Choices(z, np.array(pairs, int).reshape(-1, 2))
        shown = space.sample(SHOWN, rng)
        if not at_random:
            shown = propose_preferred(space, choices, SHOWN, seed=seed)
        for point in shown:
            z = np.concatenate([z, point[None]])
            gain = utility(z[-1]) - utility(z[favourite])
            is_better = rng.random() < norm.cdf(gain / (np.sqrt(2) * NOISE))
            pair = (len(z) - 1, favourite)
            pairs.append(pair if is_better else pair[::-1])
            favourite = pairs[-1][0]
    choices = Choices(z, np.array(pairs))
    learned = fit_preference(z, choices.pairs, space.box)
    winner = z[learned.utility(z).argmax()]
    others = space.sample(300, rng)
    tau = kendalltau(learned.utility(others), utility(others)).statistic
    share = foretold(choices, space.box)
    return float(utility(winner)), tau, share.mean, time.process_time() - began


def main(seeds: int) -> None:
    for dim in (4, 8):
        for at_random in (False, True):
            rows = [walk(dim, seed, at_random=at_random) for seed in range(seeds)]
            winners, taus, shares, seconds = zip(*rows, strict=True)
            print(
                f"{dim} dimensions, {'random' if at_random else 'proposed'}: winner {median(winners):.2f} "
                f"({min(winners):.2f} to {max(winners):.2f}), tau {median(taus):.2f}, foretold {median(shares):.2f}, "
                f"{median(seconds):.1f} CPU s",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    main(parser.parse_args().seeds)
