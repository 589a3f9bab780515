"""Compress rows with a model of variform, and get them back, by NumPy alone: beside reader.py.

    python codec.py model.npz FILE OUT.npy      # decompress

Bits back: to store a row x, take bits off the end of the message as if they were a code of z under q(z|x), which
chooses a z; store x under p(x|z), then z under p(z). Who reads the message gets z, then x, and gives back the bits that
chose z. What a row costs on average is -log p(x|z) - log p(z) + log q(z|x), the negative ELBO.

Both sides must find the same probabilities to the last bit, whatever computes them. So networks are evaluated in whole
numbers below 2^53, whose sums are exact in any order, and functions by additions, products and divisions alone, which
IEEE 754 rounds in one way.

Reference:
    Townsend, Bird and Barber (2019); Duda (2009) for asymmetric numeral systems.
"""

import bisect
import hashlib
import json
import math
import struct
import sys
import zlib

import numpy as np

from variform.export.reader import STEPS, about

MAGIC, VERSION = b"variform\x00", 1
BEGIN = "<B16sI"  # version, checksum of the model, length of what is said of the rows
PRECISION = 24  # bits of a probability
RADIX = 128  # a latent is one of so many bins, and one of so many in it
MOST_ROWS = 64  # that are coded side by side
AT_ONCE = 2**20  # probabilities in memory

# ---- functions that give the same bits everywhere

LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.693147180369123816490, 1.90821492927058770002e-10
EXPONENTIAL = [1 / math.factorial(power) for power in range(14)]
LOGARITHM = [2 / power for power in range(1, 23, 2)]
# (1 + 2 y) e^(y^2) erfc(y) as a polynomial in (y - 3.75) / (y + 3.75), y >= 0: its Chebyshev series, by mpmath
TAIL = [
    *(1.2375126308378264, -0.14024059858554525, 0.0035854154857820858, 0.08227673848999376),
    *(-0.1088039301545675, 0.09230432116430187, -0.05869339838753183, 0.028362277371999596),
    *(-0.009746581196149294, 0.0017556261662151561, 0.0002937214376388886, -0.0002901553503455329),
    *(5.162599505048222e-05, 2.2387556443804737e-05, -1.1399692190877396e-05),
    *(-9.792436556489754e-07, 1.6959634573796485e-06, -5.086549471808319e-08),
    *(-2.1429002109385926e-07, 1.880278481102141e-08, 1.7548462963061632e-08),
    -1.957942657756541e-09,
]


def polynomial(coefficients, x):
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total *= x
        total += coefficient
    return total


def exp(x):
    x = np.clip(x, -700.0, 700.0)
    twos = np.rint(x * LOG2_E)
    rest = x - twos * LN2_HIGH - twos * LN2_LOW
    return np.ldexp(polynomial(EXPONENTIAL, rest), twos.astype(np.int32))


def log(x):
    share, twos = np.frexp(np.maximum(x, 1e-300))
    is_small = share < 0.7071067811865476
    share, twos = np.where(is_small, 2 * share, share), twos - is_small
    ratio = (share - 1) / (share + 1)
    return twos * LN2_HIGH + (ratio * polynomial(LOGARITHM, ratio * ratio) + twos * LN2_LOW)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def log1p(x):
    above = 1 + x
    lost = np.where(
        above == 1, 1.0, x / np.where(above == 1, 1.0, above - 1)
    )  # by the rounding of 1 + x
    return np.where(above == 1, x, log(above) * lost)


def softplus(x):
    return np.maximum(x, 0) + log1p(exp(-abs(x)))


def normal_tail(x):
    """P(e > x) of a standard normal e, x >= 0."""
    y = x * 0.7071067811865476
    return exp(-y * y) * polynomial(TAIL, (y - 3.75) / (y + 3.75)) / (2 + 4 * y)


def logistic_tail(x):
    return sigmoid(-x)


FUNCTIONS = {
    "relu": lambda h: np.maximum(h, 0),
    "tanh": lambda h: 1 - 2 / (1 + exp(2 * h)),
    "elu": lambda h: np.where(h > 0, h, exp(h) - 1),
    "leaky-relu": lambda h: np.where(h > 0, h, 0.01 * h),
    "gelu": lambda h: h * np.where(h > 0, 1 - normal_tail(abs(h)), normal_tail(abs(h))),
    "silu": lambda h: h * sigmoid(h),
    "softplus": softplus,
    "sigmoid": sigmoid,
    "exp": exp,
    "log1p": log1p,
    "square": lambda h: h * h,
    "sqrt": np.sqrt,
    "step": lambda h: np.where(np.isnan(h), h, h >= 0.5),
    "is-zero": lambda h: h == 0,
    "is-missing": np.isnan,
}

# ---- networks in whole numbers


def whole(h, bits):
    """Rows as whole numbers up to 2^bits and the exponents of their units, each row by its own greatest number."""
    rows = abs(h).reshape(len(h), -1)
    exponents = np.frexp(rows.max(1, initial=0.0))[1] - bits
    exponents = exponents.reshape(-1, *[1] * (h.ndim - 1))
    return np.rint(np.ldexp(h, -exponents)), exponents


def bits_for(terms):
    """Bits of the factors of a sum of products that stays below 2^53."""
    return (53 - math.ceil(math.log2(max(terms, 2)))) // 2


def weighted(h, weight, bias, product):
    """A sum of products with rounded factors; rounded once more when the bias is added."""
    bits = bits_for(weight[0].size)
    units, of_weight = whole(np.asarray(weight, float)[None], bits)
    rows, of_rows = whole(h, bits)
    total = product(rows, units[0])
    exponents = of_weight.reshape(()) + of_rows.reshape(-1, *[1] * (total.ndim - 1))
    return np.ldexp(total, exponents) + bias


def mean_of_rows(h):
    units, exponents = whole(h, 52 - math.ceil(math.log2(h[0].size)))
    axes = tuple(range(1, h.ndim))
    return np.ldexp(units.sum(axes, keepdims=True), exponents) / h[0].size


def normalise(s, h):
    distance = h - mean_of_rows(h)
    spread = np.sqrt(mean_of_rows(distance * distance) + s["eps"])
    return distance / spread * s["weight"] + s["bias"]


EXACT = {
    **STEPS,
    "dense": lambda s, h, c: weighted(h, s["weight"], s["bias"], lambda a, b: a @ b.T),
    "convolve": lambda s, h, c: weighted(
        h,
        s["weight"],
        s["bias"],
        lambda a, b: STEPS["convolve"]({**s, "weight": b, "bias": 0.0}, a, c),
    ),
    "map": lambda s, h, c: FUNCTIONS[s["function"]](h),
    "gate": lambda s, h, c: np.split(h, 2, 1)[0] * sigmoid(np.split(h, 2, 1)[1]),
    "normalise": lambda s, h, c: normalise(s, h),
    "sum": lambda s, h, c: sum(run(steps, h, s["model"]) for steps in s["branches"]),
    "concatenate": lambda s, h, c: np.concatenate(
        [run(steps, h, s["model"]) for steps in s["branches"]], 1
    ),
}


def run(steps, h, model):
    for step in steps:
        s = {key: arrays(value, model) for key, value in step.items()}
        h = EXACT[step["op"]]({**s, "model": model}, h, None)
    return h


def arrays(value, model):
    """The array that a field of a step names, or the field itself."""
    return model.get(value, value) if isinstance(value, str) else value


# ---- the message: a stack of bits


class Stack:
    """Asymmetric numeral systems with a head of 64 bits on words of 32, the last symbol stored is the first to come.

    The bits are those of `constriction.stream.stack.AnsCoder` with its categorical models.
    """

    def __init__(self, words):
        self.words, self.head = [int(word) for word in words], 0
        while self.words and self.head < 1 << 32:
            self.head = self.head << 32 | self.words.pop()

    def __len__(self):
        return len(self.words) + (self.head.bit_length() + 31) // 32

    def push(self, symbols, shares):
        starts = starts_of(shares)
        rows = np.arange(len(symbols))
        low, high = starts[rows, symbols].tolist(), starts[rows, symbols + 1].tolist()
        for start, end in zip(reversed(low), reversed(high), strict=True):
            width = end - start
            if self.head >> (64 - PRECISION) >= width:
                self.words.append(self.head & 0xFFFFFFFF)
                self.head >>= 32
            self.head = (self.head // width << PRECISION) | (start + self.head % width)

    def pop(self, shares):
        symbols = []
        for starts in starts_of(shares).tolist():
            place = self.head & ((1 << PRECISION) - 1)
            symbol = bisect.bisect_right(starts, place) - 1
            start, end = starts[symbol], starts[symbol + 1]
            self.head = (self.head >> PRECISION) * (end - start) + place - start
            if self.head < 1 << 32 and self.words:
                self.head = self.head << 32 | self.words.pop()
            symbols.append(symbol)
        return np.array(symbols, np.int64)

    def all_words(self):
        words, head = list(self.words), self.head
        while head:
            words.append(head & 0xFFFFFFFF)
            head >>= 32
        return np.array(words, np.uint32)


def starts_of(shares):
    """Where each symbol starts among 2^24 places, and the end, (n, K + 1): in proportion, and at least one for each."""
    count = shares.shape[1]
    ends = np.cumsum(shares, 1)
    starts = np.zeros((len(shares), count + 1), np.int64)
    free = 2.0**PRECISION - count
    starts[:, 1:-1] = (ends[:, :-1] * (free / ends[:, -1:])).astype(np.int64)
    starts += np.arange(count + 1)
    starts[:, -1] = 1 << PRECISION
    return starts


# ---- laws as shares of bins


def between(t, tail):
    """The probabilities between neighbouring places t (n, K + 1) of a law about 0 that has these tails."""
    t = np.clip(t, -40.0, 40.0)
    outside = tail(abs(t))
    is_below = t < 0
    same = is_below[:, 1:] == is_below[:, :-1]
    within = abs(outside[:, 1:] - outside[:, :-1])
    return np.where(same, within, 1 - outside[:, 1:] - outside[:, :-1]) + 1e-290


class Shares:
    """A law of symbols by the share of each, (n, K)."""

    def __init__(self, shares):
        self.shares = shares

    def push(self, stack, symbols):
        stack.push(symbols.astype(np.int64), self.shares)

    def pop(self, stack):
        return stack.pop(self.shares)


class Binned:
    """A law of numbers, each in one of many bins: the digits of its bin, one given those before.

    Args:
        edges: From numbers of bins to where they start.
        radix: Of a digit.
        digits: How many digits.
        standard: From places (n, K + 1) to those of a law about 0.
        tail: Of that law.
        atoms: Bins that have a share of their own (n,), and what is left for the law.
    """

    def __init__(self, edges, radix, digits, standard, tail, atoms=(), rest=1.0):
        self.edges, self.radix, self.standard, self.tail = edges, radix, standard, tail
        self.widths = [radix**digit for digit in reversed(range(digits))]
        self.atoms, self.rest = atoms, rest

    def push(self, stack, bins):
        bins = bins.astype(np.int64)
        for width in reversed(self.widths):
            first = bins // (width * self.radix) * (width * self.radix)
            stack.push((bins - first) // width, self.shares(first, width))

    def pop(self, stack):
        first = np.zeros(1, np.int64)
        for width in self.widths:
            first = first + stack.pop(self.shares(first, width)) * width
        return first

    def shares(self, first, width):
        """Those of the bins of a width from `first`."""
        t = self.standard(self.edges(first[:, None] + width * np.arange(self.radix + 1)))
        if width == self.widths[0]:
            t[:, 0], t[:, -1] = -40.0, 40.0
        shares = between(t, self.tail) * self.rest
        for place, share in self.atoms:
            digit = (place - first) // width + np.zeros(len(shares), np.int64)
            rows = np.flatnonzero((digit >= 0) & (digit < self.radix))
            shares[rows, digit[rows]] += share[rows]
        return shares


def standardised(mean, std):
    return lambda edges: (edges - mean.reshape(-1, 1)) / std.reshape(-1, 1)


# From facts of a law and params (n, P) to shares of levels, (n D, K)


def bernoulli(facts, params):
    logits = params.reshape(-1, 1)
    return np.concatenate([sigmoid(-logits), sigmoid(logits)], 1)


def softmax(logits):
    return exp(logits - logits.max(1, keepdims=True))


def of_levels(params, levels):
    """(n, K D) to (n D, K)."""
    return np.moveaxis(params.reshape(len(params), levels, -1), 1, 2).reshape(-1, levels)


def categorical(facts, params):
    return softmax(of_levels(params, facts["levels"]))


def logistic(facts, params):
    place, log_scale = (part.reshape(-1, 1) for part in np.split(params, 2, 1))
    return discretised_logistic(facts, place, log_scale)


def discretised_logistic(facts, place, log_scale):
    place = np.clip(sigmoid(place), *facts["locations"])
    per_unit = exp(-np.clip(log_scale, *facts["log_scales"]))
    t = (np.arange(facts["levels"] + 1) / facts["levels"] - place) * per_unit
    t[:, 0], t[:, -1] = -40.0, 40.0
    return between(t, logistic_tail)


def logistic_mixture(facts, params):
    logits, places, log_scales = (
        of_levels(part, facts["components"]) for part in np.split(params, 3, 1)
    )
    shares = softmax(logits)
    shares = shares / np.cumsum(shares, 1)[:, -1:]
    total = np.zeros((len(shares), facts["levels"]))
    for j in range(facts["components"]):
        one = discretised_logistic(facts, places[:, j : j + 1], log_scales[:, j : j + 1])
        total = total + shares[:, j : j + 1] * one
    return total


def beta_binomial(facts, params):
    logits, log_sum = (part.reshape(-1) for part in np.split(params, 2, 1))
    both = exp(np.clip(log_sum, *facts["log_concentrations"]))
    alpha, beta = both * sigmoid(logits), both * sigmoid(-logits)
    low, high, trials = np.minimum(alpha, beta), np.maximum(alpha, beta), facts["levels"] - 1
    shares = np.ones((facts["levels"], len(low)))
    for k in range(trials):  # from the end that is the likelier one, so that nothing overflows
        ratio = (trials - k) / (k + 1) * ((k + low) / (trials - k - 1 + high))
        shares[k + 1] = np.maximum(shares[k] * ratio, 1e-290)
    return np.where(alpha > beta, shares[::-1], shares).T


def ordinal(facts, params):
    ends = np.asarray(facts["thresholds"]) - params.reshape(-1, 1)
    outer = np.full((len(ends), 1), 40.0)
    return between(np.concatenate([-outer, ends, outer], 1), logistic_tail)


LEVELS = {
    "bernoulli": bernoulli,
    "categorical": categorical,
    "logistic": logistic,
    "logistic-mixture": logistic_mixture,
    "beta-binomial": beta_binomial,
    "ordinal": ordinal,
}

# From facts of a column and params (n,) to shares of the counts from 0, (n, K)


def poisson(facts, log_rate, counts):
    return softmax(counts * np.minimum(log_rate, 30.0)[:, None] - log_factorial(counts))


def negative_binomial(facts, log_mean, counts):
    log_odds = np.minimum(log_mean, 30.0) - facts["log_dispersion"]
    rising = np.cumsum(log(exp(np.array(facts["log_dispersion"])) + counts[:-1]))
    ways = np.concatenate([[0.0], rising]) - log_factorial(counts)
    return softmax(ways - counts * softplus(-log_odds)[:, None])


def log_factorial(counts):
    return np.cumsum(log(np.maximum(counts, 1.0)))


COUNTS = {"poisson": poisson, "negative-binomial": negative_binomial}

# From raw places to those of a Gaussian


def bounded_log(x):
    return np.where(x > 0, log(x), -1e9)


LINKS = {
    "gaussian": lambda x: x,
    "log-normal": bounded_log,
    "logit-normal": lambda x: bounded_log(x) - np.where(x < 1, bounded_log(1 - x), -1e9),
}


def std_of(raw, form):
    """Standard deviations of q(z|x) from what the encoder gives."""
    return np.maximum(softplus(raw) if form == "softplus" else exp(raw / 2), 1e-12)


# ---- the model's three laws


class Codec:
    """The laws of a model, as both sides need them.

    Args:
        model: dict(np.load("model.npz")).
        stack: A class of stacks; another than `Stack` must give the same bits.
    """

    def __init__(self, model, stack=Stack):
        self.model, self.stack = model, stack
        everything = about(model)
        if "codec" not in everything:
            raise ValueError(f"this model has no codec here: {everything['left out']['codec']}")
        self.facts = everything["codec"]
        self.checksum = checksum(self.facts, model)
        self.low, self.width, self.shift, self.scale = (
            np.asarray(self.facts[name], float) for name in ("low", "width", "shift", "scale")
        )
        # Of a table: `low`, `count`, `part` and `missing` of each column, in the header of a file.
        self.grid = dict()

    def values(self, symbols):
        """The raw values that symbols stand for, (N, *shape)."""
        values = self.shift + self.scale * symbols
        if self.grid:
            low, part = (np.asarray(self.grid[name], float) for name in ("low", "part"))
            values = (low + symbols) / part
        return values.reshape(-1, *self.facts["shape"])

    def symbols(self, values):
        """The opposite, for rows of levels; NaN where a value is none of those that the model's law can hold."""
        flat = np.asarray(values, float).reshape(len(values), len(self.scale))
        symbols = np.rint((flat - self.shift) / self.scale)
        known = (symbols >= 0) & (symbols < self.facts["groups"][0]["levels"])
        return np.where(known & (self.values(symbols).reshape(flat.shape) == flat), symbols, np.nan)

    def laws(self, z, present):
        """The laws of all values of some rows that are present, (rows, columns) each, in the order of reading."""
        params = run(self.facts["decoder"], z, self.model).reshape(len(z), -1)
        for group in self.facts["groups"]:
            if group["law"] in LEVELS:
                yield from self.of_levels(group, params[:, slice(*group["params"])], present)
            else:
                yield self.of_column(group, params[:, group["places"]], present)

    def of_levels(self, group, params, present):
        columns = np.array(group["columns"])
        most = max(1, AT_ONCE // (group["levels"] * len(columns)))
        for first in range(0, len(params), most):
            some = slice(first, first + most)
            known = present[some][:, columns]
            rows, places = np.nonzero(known)
            shares = LEVELS[group["law"]](group, params[some])
            yield (first + rows, columns[places]), Shares(shares[known.reshape(-1)])

    def of_column(self, group, params, present):
        (column,) = group["columns"]
        rows = np.flatnonzero(present[:, column])
        low, count, part = (self.grid[name][column] for name in ("low", "count", "part"))
        place, params = (rows, np.full(len(rows), column)), params[rows]
        if group["law"] in COUNTS:
            counts = np.arange(low + count, dtype=float)
            return place, Shares(COUNTS[group["law"]](group, params[:, 0], counts)[:, low:])
        mean, std = params[:, 0], np.array(group["std"])
        if group["law"] == "log-normal":
            mean = np.clip(mean, -30.0, 30.0)
        link, shift, scale = LINKS[group["law"]], self.shift[column], self.scale[column]

        def standard(edges):
            return (link((edges - shift) / scale) - mean.reshape(-1, 1)) / std

        atoms, rest = [], np.ones((len(rows), 1))
        for number, value in enumerate(group["atoms"], 1):
            chosen = sigmoid(params[:, number])
            atoms.append((round(value * part) - low, rest[:, 0] * chosen))
            rest = rest * sigmoid(-params[:, number : number + 1])
        digits = 1
        while 256**digits < count:
            digits += 1
        radix = max(2, math.ceil(count ** (1 / digits)))
        radix += radix**digits < count  # by rounding
        edges = lambda bins: (low - 0.5 + bins) / part  # noqa: E731
        return place, Binned(edges, radix, digits, standard, normal_tail, atoms, rest)

    def presence(self, rows):
        """The law of which values are missing, by their shares in the file."""
        share = np.asarray(self.grid["missing"])[None, self.gaps()]
        share = np.tile(share, (rows, 1)).reshape(-1, 1)
        return Shares(np.concatenate([share, 1 - share], 1))

    def gaps(self):
        """The columns in which values are missing."""
        return np.flatnonzero(np.asarray(self.grid.get("missing", ())))

    # -- latents, of which z_1 lies nearest to the data and the last is the top

    def law_of(self, mean, std, start):
        """A Gaussian of the latents from `start`, over bins."""
        rows, width = mean.shape
        low, step = (
            np.tile(ends[start : start + width], rows)[:, None] for ends in (self.low, self.width)
        )
        standard = standardised(mean, std)
        return Binned(lambda bins: low + step * bins, RADIX, 2, standard, normal_tail)

    def points(self, bins, start):
        """The middles of bins (B, D) of the latents from `start`."""
        ends = slice(start, start + bins.shape[1])
        return self.low[ends] + self.width[ends] * (bins + 0.5)

    def posterior(self, params, level, above):
        """Mean and standard deviation of q(z_l | x, z above)."""
        own, form = self.facts["latents"][level], self.facts["std"]
        mean, raw = (params[:, slice(*ends)] for ends in own["moments"])
        if own["q"] is not None:
            given = np.concatenate([params[:, slice(*own["evidence"])], above], 1)
            mean, raw = np.split(run(own["q"], given, self.model), 2, 1)
        std = std_of(raw, form)
        if not (self.facts["ladder"] and own["p"]):
            return mean, std
        of_prior, its_std = self.prior(level, above)
        one, other = 1 / (std * std), 1 / (its_std * its_std)
        return of_prior + one / (one + other) * (mean - of_prior), 1 / np.sqrt(one + other)

    def prior(self, level, above):
        """Mean and standard deviation of p(z_l | z above), of a level below the top."""
        mean, raw = np.split(run(self.facts["latents"][level]["p"], above, self.model), 2, 1)
        return mean, std_of(raw, self.facts["std"])

    def levels(self):
        """The levels from the top down, and where each begins in z."""
        widths = [own["width"] for own in self.facts["latents"]]
        return [(level, sum(widths[:level])) for level in reversed(range(len(widths)))]

    def stir(self, stack, key):
        """Turn over the last bits of the message, which a symbol that was just stored has left far from random: read as
        a z they would be that symbol again. To do it twice is to do nothing.
        """
        mask = hashlib.shake_256(self.checksum + key.encode()).digest(PRECISION // 8)
        even = np.ones((len(mask), 256))
        stack.push(stack.pop(even) ^ np.frombuffer(mask, np.uint8), even)

    def choose(self, stack, symbols):
        """Take bins of z off the message, by q(z|x)."""
        params = run(self.facts["encoder"], self.values(symbols), self.model)
        bins = np.zeros((len(symbols), 0), np.int64)
        for level, start in self.levels():
            above = self.points(bins, len(self.low) - bins.shape[1])
            law = self.law_of(*self.posterior(params, level, above), start)
            bins = np.concatenate([law.pop(stack).reshape(len(symbols), -1), bins], 1)
        return bins

    def give_back(self, stack, symbols, bins):
        """The opposite: the bits that chose z."""
        params = run(self.facts["encoder"], self.values(symbols), self.model)
        for level, start in reversed(self.levels()):
            end = start + self.facts["latents"][level]["width"]
            above = self.points(bins[:, end:], end)
            law = self.law_of(*self.posterior(params, level, above), start)
            law.push(stack, bins[:, start:end].reshape(-1))

    def push_latents(self, stack, bins, number):
        for level, start in reversed(self.levels()):
            end = start + self.facts["latents"][level]["width"]
            own, above = bins[:, start:end], self.points(bins[:, end:], end)
            if self.facts["latents"][level]["p"]:
                self.law_of(*self.prior(level, above), start).push(stack, own.reshape(-1))
            else:
                self.push_top(stack, own, start, number)

    def pop_latents(self, stack, rows, number):
        bins = np.zeros((rows, 0), np.int64)
        for level, start in self.levels():
            above = self.points(bins, len(self.low) - bins.shape[1])
            if self.facts["latents"][level]["p"]:
                own = self.law_of(*self.prior(level, above), start).pop(stack)
            else:
                own = self.pop_top(stack, rows, start, number)
            bins = np.concatenate([own.reshape(rows, -1), bins], 1)
        return bins

    def push_top(self, stack, bins, start, number):
        """The top latent under its prior; of a mixture, bits choose the component by its share there."""
        chosen = None
        if "logits" in self.facts:
            self.stir(stack, f"component {number}")
            chosen = stack.pop(self.responsibilities(self.points(bins, start)))
        self.of_top(chosen, len(bins), start).push(stack, bins.reshape(-1))
        if chosen is not None:
            stack.push(chosen, self.weights(len(bins)))

    def pop_top(self, stack, rows, start, number):
        chosen = stack.pop(self.weights(rows)) if "logits" in self.facts else None
        bins = self.of_top(chosen, rows, start).pop(stack).reshape(rows, -1)
        if chosen is not None:
            stack.push(chosen, self.responsibilities(self.points(bins, start)))
            self.stir(stack, f"component {number}")
        return bins

    def of_top(self, chosen, rows, start):
        if chosen is None:
            shape = (rows, len(self.low) - start)
            return self.law_of(np.zeros(shape), np.ones(shape), start)
        loc, std = (self.model[self.facts[name]] for name in ("loc", "stds"))
        return self.law_of(loc[chosen], std[chosen], start)

    def weights(self, rows):
        return np.tile(softmax(self.model[self.facts["logits"]][None]), (rows, 1))

    def responsibilities(self, z):
        """P(component | z), (N, K), but for a factor."""
        loc, std = (self.model[self.facts[name]] for name in ("loc", "stds"))
        log_std = log(std)
        total = np.tile(self.model[self.facts["logits"]], (len(z), 1))
        for d in range(z.shape[1]):  # one after the other: a sum has an order
            distance = (z[:, d : d + 1] - loc[:, d]) / std[:, d]
            total -= distance * distance / 2 + log_std[:, d]
        return softmax(total)

    # -- the message

    def push(self, stack, symbols, number):
        """Store rows (B, D), of which so many come before."""
        present = ~np.isnan(symbols)
        self.stir(stack, f"row {number}")
        bins = self.choose(stack, symbols)
        if len(stack) < 2:
            raise Empty
        for place, law in reversed(list(self.laws(self.points(bins, 0), present))):
            law.push(stack, symbols[place])
        if len(self.gaps()):
            self.presence(len(symbols)).push(stack, present[:, self.gaps()].reshape(-1))
        self.push_latents(stack, bins, number)
        if len(stack) < 2:
            raise Empty

    def pop(self, stack, rows, number):
        """Take rows off."""
        bins = self.pop_latents(stack, rows, number)
        present = np.ones((rows, len(self.scale)), bool)
        if len(self.gaps()):
            present[:, self.gaps()] = self.presence(rows).pop(stack).reshape(rows, -1)
        symbols = np.full(present.shape, np.nan)
        for place, law in self.laws(self.points(bins, 0), present):
            symbols[place] = law.pop(stack)
        self.give_back(stack, symbols, bins)
        self.stir(stack, f"row {number}")
        return symbols


class Empty(Exception):
    """The message has no bits left to choose a z by."""


def checksum(facts, model):
    """The first 16 bytes of the SHA-256 of all that the probabilities depend on."""
    digest = hashlib.sha256(f"{VERSION} {PRECISION} {RADIX} {MOST_ROWS}".encode())

    def add(value):
        if isinstance(value, dict):
            for key in sorted(value):
                digest.update(key.encode())
                add(value[key])
        elif isinstance(value, list):
            digest.update(b"[")
            for each in value:
                add(each)
            digest.update(b"]")
        elif isinstance(value, str) and value in model:
            array = np.ascontiguousarray(model[value])
            digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
        else:
            digest.update(f"{value!r},".encode())

    add(facts)
    return digest.digest()[:16]


def blocks(rows):
    """Where rows begin that are coded side by side, and how many: few at first, for each takes bits that earlier ones
    have left.
    """
    found, done = [], 0
    while done < rows:
        found.append((done, min(rows - done, MOST_ROWS, max(1, done // 8))))
        done += found[-1][1]
    return found


def first_bits(key, words):
    """The bits that the first rows take: those of a hash, which whoever reads the file can check."""
    bits = hashlib.shake_256(key).digest(4 * words)
    seed = np.frombuffer(bits, "<u4").astype(np.uint32)
    seed[-1] |= 1 << 31  # a message ends in a word that is not 0
    return seed


def pack(codec, symbols, facts, rest=b""):
    """Rows (N, D) of symbols as a file, and how long the message was at the beginning, in bits.

    Args:
        codec: The model.
        symbols: (N, D), NaN where a value is missing.
        facts: What the header says beside, such as `grid`.
        rest: What else the file shall hold.
    """
    codec.grid = facts.get("grid", {})
    words = 16
    while True:
        try:
            stack = codec.stack(first_bits(codec.checksum, words))
            for start, size in blocks(len(symbols)):
                codec.push(stack, symbols[start : start + size], start)
            break
        except Empty:
            words *= 2
    header = {**facts, "rows": len(symbols), "first": words, "rest": len(rest)}
    head = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    message = stack.all_words().astype("<u4").tobytes()
    body = MAGIC + struct.pack(BEGIN, VERSION, codec.checksum, len(head)) + head + rest + message
    return body + struct.pack("<I", zlib.crc32(body)), 32 * words


def opened(data):
    """The header of a file, the checksum of its model, its message, and what else it holds."""
    start = len(MAGIC) + struct.calcsize(BEGIN)
    if data[: len(MAGIC)] != MAGIC or len(data) < start + 4:
        raise ValueError(
            "the file must be one that variform compress wrote; it is not. Check its name."
        )
    version, model, length = struct.unpack(BEGIN, data[len(MAGIC) : start])
    if version != VERSION:
        raise ValueError(
            f"the file must have version {VERSION} of the format; it has {version}. Use the variform that wrote it."
        )
    if zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise ValueError(
            "the file must be whole and as it was written; its checksum says that it is not. Copy it anew."
        )
    header = json.loads(zlib.decompress(data[start : start + length]))
    middle = start + length + header["rest"]
    message = np.frombuffer(data[middle:-4], "<u4").astype(np.uint32)
    return header, model, message, data[start + length : middle]


def unpack(codec, data):
    """The symbols of a file, (N, D), its header and what else it holds."""
    header, model, message, rest = opened(data)
    if model != codec.checksum:
        raise ValueError(
            f"the file must be read with the model that wrote it, {model.hex()[:12]}; this one is "
            f"{codec.checksum.hex()[:12]}. Give that run."
        )
    codec.grid = header.get("grid", {})
    stack = codec.stack(message)
    pieces = [codec.pop(stack, size, start) for start, size in reversed(blocks(header["rows"]))]
    if not np.array_equal(stack.all_words(), first_bits(codec.checksum, header["first"])):
        raise ValueError(
            "the bits that the file began with must come back; they did not. Report this file and its model."
        )
    pieces.append(np.zeros((0, len(codec.scale))))
    return np.concatenate(pieces[-2::-1] + pieces[-1:]), header, rest


def decompress(model, data, stack=Stack):
    """The array in a file; of a table the numbers of the columns that the model knows.

    Args:
        model: dict(np.load("model.npz")).
        data: The bytes of the file.
    """
    codec = Codec(model, stack)
    symbols, header, _ = unpack(codec, data)
    values = codec.values(symbols)
    return values if codec.grid else values.reshape(header["shape"]).astype(header["dtype"])


if __name__ == "__main__":
    source, file, out = sys.argv[1:]
    with open(file, "rb") as stream:
        np.save(out, decompress(dict(np.load(source)), stream.read()))
