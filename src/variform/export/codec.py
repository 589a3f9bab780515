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
COARSE = FINE = 128  # a latent is one of so many bins, and one of so many in it
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


class Bins:
    """A number as one of `count` bins of equal width: first one of some wide bins, then which within."""

    def __init__(self, low, width, count, fine):
        self.low, self.width, self.fine = low, width, fine
        self.coarse, self.count = -(-count // fine), count

    def edges(self, first, step, count):
        return self.low[:, None] + self.width[:, None] * (first + step * np.arange(count + 1))

    def wide(self, standard, tail):
        t = standard(self.edges(0, self.fine, self.coarse))
        t[:, 0], t[:, -1] = -40.0, 40.0
        return between(t, tail)

    def narrow(self, chosen, standard, tail):
        return between(standard(self.edges(chosen[:, None] * self.fine, 1, self.fine)), tail)

    def push(self, stack, bins, standard, tail=normal_tail):
        chosen, within = np.divmod(bins, self.fine)
        stack.push(within, self.narrow(chosen, standard, tail))
        stack.push(chosen, self.wide(standard, tail))

    def pop(self, stack, standard, tail=normal_tail):
        chosen = stack.pop(self.wide(standard, tail))
        return chosen * self.fine + stack.pop(self.narrow(chosen, standard, tail))


def standardised(mean, std):
    return lambda edges: (edges - mean.reshape(-1, 1)) / std.reshape(-1, 1)


def bernoulli(facts, params):
    logits = params.reshape(-1, 1)
    return np.concatenate([sigmoid(-logits), sigmoid(logits)], 1)


def categorical(facts, params):
    logits = np.moveaxis(params.reshape(len(params), facts["levels"], -1), 1, 2)
    logits = logits.reshape(-1, facts["levels"])
    return exp(logits - logits.max(1, keepdims=True))


def logistic(facts, params):
    place, log_scale = (part.reshape(-1, 1) for part in np.split(params, 2, 1))
    place = np.clip(sigmoid(place), *facts["locations"])
    per_unit = exp(-np.clip(log_scale, *facts["log_scales"]))
    t = (np.arange(facts["levels"] + 1) / facts["levels"] - place) * per_unit
    t[:, 0], t[:, -1] = -40.0, 40.0
    return between(t, logistic_tail)


LAWS = {"bernoulli": bernoulli, "categorical": categorical, "logistic": logistic}

# ---- the model's three laws


def std_of(raw, form):
    """Standard deviations of q(z|x) from what the encoder gives."""
    return np.maximum(softplus(raw) if form == "softplus" else exp(raw / 2), 1e-12)


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
        dim = self.facts["latents"]
        low, width = (np.asarray(self.facts[name], float) for name in ("low", "width"))
        self.low, self.width, self.dim = low, width, dim

    def bins(self, rows):
        return Bins(np.tile(self.low, rows), np.tile(self.width, rows), COARSE * FINE, FINE)

    def points(self, bins):
        return self.low + self.width * (bins.reshape(-1, self.dim) + 0.5)

    def posterior(self, symbols):
        """Of each row the means and the standard deviations of q(z|x), in one."""
        h = run(self.facts["encoder"], self.values(symbols), self.model)
        mean, raw = h[:, : self.dim], h[:, self.dim :]
        return standardised(mean, std_of(raw, self.facts["std"]))

    def values(self, symbols):
        """The raw values that symbols stand for, (N, *shape)."""
        values = self.facts["shift"] + np.asarray(self.facts["scale"]) * symbols
        return values.reshape(-1, *self.facts["shape"])

    def symbols(self, values):
        """The opposite; NaN where a value is none of those that the model's law can hold."""
        flat = np.asarray(values, float).reshape(len(values), len(self.facts["levels"]))
        symbols = np.rint((flat - self.facts["shift"]) / np.asarray(self.facts["scale"]))
        levels = np.asarray(self.facts["levels"])
        known = (symbols >= 0) & (symbols < levels)
        return np.where(known & (self.values(symbols).reshape(flat.shape) == flat), symbols, np.nan)

    def tables(self, z):
        """The laws of all values of some rows: pieces of (columns, shares), in the order in which they are read."""
        params = run(self.facts["decoder"], z, self.model).reshape(len(z), -1)
        for group in self.facts["groups"]:
            start, end = group["params"]
            most = max(1, AT_ONCE // (group["levels"] * len(group["columns"])))
            for first in range(0, len(z), most):
                rows = np.arange(len(z))[first : first + most]
                shares = LAWS[group["law"]](group, params[rows, start:end])
                yield np.ix_(rows, group["columns"]), shares

    # -- p(z)

    def push_latents(self, stack, bins, rows):
        standard = self.component(stack, bins, rows)
        self.bins(rows).push(stack, bins, standard)
        if "logits" in self.facts:
            stack.push(self.chosen, self.weights(rows))

    def pop_latents(self, stack, rows):
        if "logits" not in self.facts:
            return self.bins(rows).pop(stack, lambda edges: edges)
        chosen = stack.pop(self.weights(rows))
        bins = self.bins(rows).pop(stack, self.of_component(chosen))
        stack.push(chosen, self.responsibilities(bins))
        return bins

    def component(self, stack, bins, rows):
        """The law of z: of a mixture that of a component, which bits are taken off the message to choose."""
        if "logits" not in self.facts:
            return lambda edges: edges
        self.chosen = stack.pop(self.responsibilities(bins))
        return self.of_component(self.chosen)

    def of_component(self, chosen):
        loc, std = (self.model[self.facts[name]] for name in ("loc", "stds"))
        return standardised(loc[chosen], std[chosen])

    def weights(self, rows):
        logits = self.model[self.facts["logits"]]
        return np.tile(exp(logits - logits.max()), (rows, 1))

    def responsibilities(self, bins):
        """P(component | z), (N, K), but for a factor."""
        loc, std = (self.model[self.facts[name]] for name in ("loc", "stds"))
        z, log_std = self.points(bins), log(std)
        total = np.tile(self.model[self.facts["logits"]], (len(z), 1))
        for d in range(self.dim):  # one after the other: a sum has an order
            distance = (z[:, d : d + 1] - loc[:, d]) / std[:, d]
            total -= distance * distance / 2 + log_std[:, d]
        return exp(total - total.max(1, keepdims=True))

    # -- rows

    def push(self, stack, symbols):
        """Store rows (B, D), and return the bits of the message after each of the three parts."""
        rows = len(symbols)
        posterior = self.posterior(symbols)
        bins = self.bins(rows).pop(stack, posterior)
        if len(stack) < 2:
            raise Empty
        for place, shares in reversed(list(self.tables(self.points(bins)))):
            stack.push(symbols[place].reshape(-1).astype(np.int64), shares)
        self.push_latents(stack, bins, rows)
        if len(stack) < 2:
            raise Empty

    def pop(self, stack, rows):
        bins = self.pop_latents(stack, rows)
        symbols = np.zeros((rows, len(self.facts["levels"])))
        for place, shares in self.tables(self.points(bins)):
            symbols[place] = stack.pop(shares).reshape(symbols[place].shape)
        self.bins(rows).push(stack, bins, self.posterior(symbols))
        return symbols


class Empty(Exception):
    """The message has no bits left to choose a z by."""


def checksum(facts, model):
    """The first 16 bytes of the SHA-256 of all that the probabilities depend on."""
    digest = hashlib.sha256(f"{VERSION} {PRECISION} {COARSE} {FINE} {MOST_ROWS}".encode())

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
    """How many rows are coded side by side: few at first, for each takes bits that earlier ones have left."""
    sizes, done = [], 0
    while done < rows:
        sizes.append(min(rows - done, MOST_ROWS, max(1, done // 8)))
        done += sizes[-1]
    return sizes


def first_bits(key, words):
    """The bits that the first rows take: those of a hash, which whoever reads the file can check."""
    bits = hashlib.shake_256(key).digest(4 * words)
    seed = np.frombuffer(bits, "<u4").astype(np.uint32)
    seed[-1] |= 1 << 31  # a message ends in a word that is not 0
    return seed


def pack(codec, symbols, facts):
    """Rows (N, D) of symbols as a file, and how long the message was at the beginning, in bits."""
    words = 16
    while True:
        try:
            stack = codec.stack(first_bits(codec.checksum, words))
            start = 0
            for size in blocks(len(symbols)):
                codec.push(stack, symbols[start : start + size])
                start += size
            break
        except Empty:
            words *= 2
    header = {**facts, "rows": len(symbols), "first": words}
    head = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    message = stack.all_words().astype("<u4").tobytes()
    body = MAGIC + struct.pack(BEGIN, VERSION, codec.checksum, len(head)) + head + message
    return body + struct.pack("<I", zlib.crc32(body)), 32 * words


def opened(data):
    """The header of a file, the checksum of its model, and its message."""
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
    return header, model, np.frombuffer(data[start + length : -4], "<u4").astype(np.uint32)


def unpack(codec, data):
    """The symbols of a file, (N, D), and its header."""
    header, model, message = opened(data)
    if model != codec.checksum:
        raise ValueError(
            f"the file must be read with the model that wrote it, {model.hex()[:12]}; this one is "
            f"{codec.checksum.hex()[:12]}. Give that run."
        )
    stack = codec.stack(message)
    pieces = [codec.pop(stack, size) for size in reversed(blocks(header["rows"]))]
    if not np.array_equal(stack.all_words(), first_bits(codec.checksum, header["first"])):
        raise ValueError(
            "the bits that the file began with must come back; they did not. Report this file and its model."
        )
    pieces.append(np.zeros((0, len(codec.facts["levels"]))))
    return np.concatenate(pieces[-2::-1] + pieces[-1:]), header


def decompress(model, data, stack=Stack):
    """The array in a file.

    Args:
        model: dict(np.load("model.npz")).
        data: The bytes of the file.
    """
    codec = Codec(model, stack)
    symbols, header = unpack(codec, data)
    return codec.values(symbols).reshape(header["shape"]).astype(header["dtype"])


if __name__ == "__main__":
    source, file, out = sys.argv[1:]
    with open(file, "rb") as stream:
        np.save(out, decompress(dict(np.load(source)), stream.read()))
