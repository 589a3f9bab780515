"""What a run is made of, as four frozen dataclasses and their TOML form.

Every value a run depends on stands here, with its default. The same fields are the options of the command line, the
keys of `config.toml` and the arguments of the Python interface, so that a value has one name everywhere. `converted`
checks each of them, whichever way it came, and `checked` the arguments of functions that take the like.
"""

import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import os
import re
import reprlib
import shlex
import tomllib
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

ObjectiveName = Literal[
    "elbo", "iwae", "piwae", "beta-tc", "dip-i", "dip-ii", "info", "wae", "factor", "m2", "autoencoder"
]
LikelihoodName = Literal[
    "bernoulli",
    "continuous-bernoulli",
    "gaussian",
    "gaussian-per-feature",
    "gaussian-shared",
    "gaussian-optimal",
    "gaussian-fixed",
    "gaussian-identity",
    "logistic",
    "categorical",
    "poisson",
    "negative-binomial",
    "mixed",
]
ActivationName = Literal["relu", "tanh", "elu", "leaky-relu", "gelu", "silu", "softplus", "sigmoid"]
InitialisationName = Literal["torch", "he-normal", "he-uniform", "glorot-normal", "glorot-uniform", "orthogonal"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Support = Literal["real", "unit", "levels", "counts"]
"""The values that a likelihood is for: any number, [0, 1], the levels k / (L - 1), or counts."""

# --- one check for every face ------------------------------------------------------------------------------------

_TYPES = {  # what messages call a type, and what they show of it
    int: ("a whole number", "for example 10"),
    float: ("a number", "for example 0.5"),
    bool: ("true or false", "one of them"),
    str: ("text", "text"),
}


@dataclass(frozen=True)
class Range:
    """The numbers that an option takes; it stands beside their type, in `Annotated`.

    Args:
        ends: The least and the greatest of them, as in "[0, 1)"; "[1, inf)" has no greatest.
        example: One of them, for messages.

    Example:
        >>> 0 in Range("[0, 1)", 0.1), 1 in Range("[0, 1)", 0.1), str(Range("[1, inf)", 10))
        (True, False, 'at least 1')
    """

    ends: str
    example: float

    def __contains__(self, value: float) -> bool:
        low, high = map(float, self.ends[1:-1].split(","))
        is_above = value >= low if self.ends[0] == "[" else value > low
        return is_above and (value <= high if self.ends[-1] == "]" else value < high)

    def __str__(self) -> str:
        low, high = self.ends[1:-1].split(", ")
        if high != "inf":
            return f"in {self.ends}"
        return f"at least {low}" if self.ends[0] == "[" else f"above {low}"


Count = Annotated[int, Range("[1, inf)", 10)]
Natural = Annotated[int, Range("[0, inf)", 0)]
NotNegative = Annotated[float, Range("[0, inf)", 0)]
Positive = Annotated[float, Range("(0, inf)", 0.001)]
Share = Annotated[float, Range("[0, 1]", 0.5)]


def converted(hint: Any, value: Any, where: str) -> Any:
    """`value`, which may come from anywhere, as the plain value of the type that `hint` asks for.

    NumPy's numbers and arrays are taken for what they hold, and lists for tuples.

    Args:
        hint: A type, a `Literal`, a tuple of those, a configuration, or one of them or None; numbers may have a
            `Range`, by `Annotated`.
        value: A value; of a configuration also a dict.
        where: What messages call it.

    Raises:
        ValueError: for another type or choice, a number out of range or not finite, or one that 64 bits do not hold.

    Example:
        >>> converted(tuple[int, ...], [64, 32], "hidden")
        (64, 32)
        >>> converted(Literal["adam", "rmsprop"], "adams", "optimizer")
        Traceback (most recent call last):
        ValueError: optimizer must be one of adam, rmsprop; got 'adams'. Did you mean 'adam'?
    """
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        found = converted(options[0], value, where)
        _require(found in options[1], f"{where} must be {options[1]}", found, f"Use for example {options[1].example}.")
        return found
    if origin in (Union, types.UnionType):
        return None if value is None else converted(next(o for o in options if o is not type(None)), value, where)
    if hint in _CONFIGURATIONS:
        return value if isinstance(value, hint) else from_dict(hint, value, where)  # pyrefly: ignore[bad-argument-type]
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays, and torch's
        value = value.tolist()
    came = reprlib.repr(value)
    if origin is Literal:
        return _choice(options, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} must be a list; got {came}. Write for example [400, 400].")
        if options[-1] is not Ellipsis and len(value) != len(options):
            raise ValueError(f"{where} must hold {len(options)} numbers; got {came}. Write for example [28, 28].")
        return tuple(converted(options[0], item, f"each of {where}") for item in value)
    number: Any = None if isinstance(value, bool) else value
    is_whole, is_number = isinstance(number, numbers.Integral), isinstance(number, numbers.Real)
    if is_number and not abs(number) < (2**63 if is_whole else math.inf):
        raise ValueError(f"{where} must be a finite number of at most 18 digits; got {came}. Change it.")
    if (hint is float and is_number) or (hint is int and is_whole):
        return hint(number)
    if hint is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, hint) or hint in (int, float):
        what, example = _TYPES.get(hint, (f"of type {hint.__name__}", "that"))
        raise ValueError(f"{where} must be {what}; got {came}. Write {example}.")
    return value


def _choice(options: tuple[str, ...], value: object, where: str) -> str:
    if isinstance(value, str) and value in options:
        return options[options.index(value)]  # a plain string, whatever kind of string came
    near = difflib.get_close_matches(str(value)[:99], options, 1)
    remedy = f"Did you mean '{near[0]}'?" if near else "Choose one."
    raise ValueError(f"{where} must be one of {', '.join(options)}; got {reprlib.repr(value)}. {remedy}")


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

Checked = TypeVar("Checked", bound=Callable[..., Any])
Configuration = TypeVar("Configuration")
_CONFIGURATIONS: list[type] = []
"""The dataclasses that `checked` has made: `converted` takes a dict for one of them."""


def checked(function: Checked) -> Checked:
    """`function`, whose choices, numbers and texts are checked as those of a configuration are; or a class so made.

    Arguments of other types, such as tensors and files, are left to it.

    Raises:
        ValueError: as `converted`.

    Example:
        >>> @checked
        ... def decimals(value: float, *, unit: Literal["nats", "bits"] = "nats") -> str:
        ...     return f"{value} {unit}"
        >>> decimals(3)
        '3.0 nats'
        >>> decimals(3, unit="bit")
        Traceback (most recent call last):
        ValueError: unit must be one of nats, bits; got 'bit'. Did you mean 'bits'?
    """
    if isinstance(function, type):
        function.__init__ = checked(function.__init__)
        if dataclasses.is_dataclass(function):
            _CONFIGURATIONS.append(function)
        return function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checking(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind_partial(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # which says what is wrong in Python's words
        hints = _hints(function)
        for name, value in given.arguments.items():
            if signature.parameters[name].kind not in _VARIADIC and _is_plain(hints.get(name)):
                given.arguments[name] = converted(hints[name], value, name)
        return function(*given.args, **given.kwargs)

    return checking  # pyrefly: ignore[bad-return]


@functools.cache
def _hints(of: Any) -> dict[str, Any]:
    return get_type_hints(of, include_extras=True)


def _is_plain(hint: Any) -> bool:
    """Whether `converted` can tell the values of a hint from others."""
    options = get_args(hint)
    if get_origin(hint) is Annotated:
        return _is_plain(options[0])
    if get_origin(hint) in (Union, types.UnionType):
        return len(options) == 2 and type(None) in options and _is_plain(options[options[0] is type(None)])
    if get_origin(hint) is tuple:
        return _is_plain(options[0])
    return get_origin(hint) is Literal or hint in (int, float, bool, str, *_CONFIGURATIONS)


def from_dict(cls: type[Configuration], values: dict[str, Any], where: str = "the configuration") -> Configuration:
    """A configuration from plain values; the opposite of `to_dict`.

    Raises:
        ValueError: for an unknown key (with the nearest known one), a value of the wrong type or out of range.

    Example:
        >>> from_dict(ModelConfig, {"latent_dim": 2, "hidden": [64]}).hidden
        (64,)
        >>> from_dict(ModelConfig, {"latent_dims": 2})
        Traceback (most recent call last):
        ValueError: the configuration has an unknown key 'latent_dims'. Did you mean 'latent_dim'?
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where} must hold values by name; got {reprlib.repr(values)}. Write a table, [name].")
    known = [field.name for field in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:99], known, 1)
            remedy = f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(known)}."
            raise ValueError(f"{where} has an unknown key {reprlib.repr(key)}. {remedy}")
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _require(holds: bool, rule: str, came: object, remedy: str) -> None:
    if not holds:
        shown = reprlib.repr(came) if isinstance(came, tuple) else came
        raise ValueError(f"{rule}; got {shown}. {remedy}")


# --- the configurations -------------------------------------------------------------------------------------------


@checked
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How what is read becomes numbers.

    Args:
        shape: Shape of one example, for arrays whose rows are flattened images, for example 28 28.
        image_size: Height and width to which the images of a folder are resized.
        channels: `grey` or `rgb` for a folder of images; `auto` keeps grey images grey.
        key: Name of the array to take from an .npz file.
        label: Name of the CSV column that holds labels.
        cells: What a cell may hold: `numbers`; `gaps`, a number or nothing (NaN; in a CSV file also an empty cell, NA,
            N/A, null or ?); `mixed`, where every column of a table has a kind of its own: real or whole numbers,
            counts, 0 or 1, text categories, and any of them may be missing. `--likelihood mixed` sets it.
        categories: Columns of a mixed table that are categories although they hold numbers.
        counts: Columns of a mixed table that are counts; by default those of non-negative whole numbers whose variance
            is at least their mean.
        reals: Columns of a mixed table that are real numbers although they would be taken for another kind.
        condition: What the model is told beside each row, and is conditioned on: `label`, and names of CSV columns
            (numbers or text), which are then not part of the row.
        labelled: Keep the labels of so many training rows, as many of each class, and hide those of the others, to see
            what objective m2 makes of few labels.
        scaling: How raw values become the values the model sees: `unit` maps the range of all rows read to [0, 1]
            (the range of held-out rows is all that is looked at of them), `standard` gives each column mean 0 and
            standard deviation 1 in the training rows, `none` leaves them. `auto` maps pixels to [0, 1], leaves numbers
            that are in [0, 1] already, and standardises the rest; likelihoods of counts get `none`.
        binarise: `threshold` cuts at one half; `dynamic` draws 0 or 1 afresh at every presentation, with the grey
            value as probability.
        split_seed: Seed of the hash that assigns each row to train, validation or test.
        memory_map: Whether the rows of .npy files stay on disk: `on`, `off`, or `auto`, from 1 GiB on.
    """

    shape: tuple[Count, ...] | None = None
    image_size: tuple[Count, Count] | None = None
    channels: Literal["auto", "grey", "rgb"] = "auto"
    key: str | None = None
    label: str | None = None
    cells: Literal["numbers", "gaps", "mixed"] = "numbers"
    categories: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    reals: tuple[str, ...] = ()
    condition: tuple[str, ...] = ()
    labelled: Count | None = None
    scaling: Literal["auto", "none", "unit", "standard"] = "auto"
    binarise: Literal["none", "threshold", "dynamic"] = "none"
    split_seed: int = 0
    memory_map: Literal["auto", "on", "off"] = "auto"


@checked
@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The three laws and the networks between them.

    Args:
        latent_dim: Number of latent dimensions.
        posterior: q(z|x): `diagonal`, a Gaussian with independent latents; `full`, a Gaussian with a covariance matrix;
            `iaf`, an inverse autoregressive flow, which need not be Gaussian.
        prior: p(z): `normal`, N(0, I); `mixture`, a learned mixture of Gaussians; `vamp`, the mixture of the posteriors
            of learned pseudo-inputs; `flow`, a learned autoregressive flow.
        components: Number of Gaussians of the `mixture` prior, or of pseudo-inputs of the `vamp` prior.
        transforms: Number of autoregressive steps of the `iaf` posterior and of the `flow` prior.
        likelihood: p(x|z): `bernoulli` (cross-entropy); `continuous-bernoulli` (a density on [0, 1]); `gaussian` (a
            variance per dimension from the network), `gaussian-per-feature` (one learned per dimension),
            `gaussian-shared` (one learned), `gaussian-optimal` (the best one for each batch), `gaussian-fixed`
            (`fixed_std`), `gaussian-identity` (variance 1, squared error); of levels such as pixels `logistic`
            (discretised, two numbers per dimension) and `categorical` (a probability per level); of counts `poisson`
            and `negative-binomial`; `mixed`, a table whose columns have laws of their own.
        fixed_std: Standard deviation of `gaussian-fixed`, in the units the model sees.
        posterior_std: How the encoder's output h becomes the standard deviation of q(z|x): `softplus`, log(1 + e^h),
            which no row can make explode; `exp`, e^(h/2), as most papers write it.
        network: `mlp` (multilayer perceptron); for images also `conv` (stages of convolutions around the hidden layers)
            and `residual` (the same with a residual block in each stage).
        filters: Channels of the stages of `conv` and `residual`, each of which halves the image, for example 32,64.
        hidden: Widths of the encoder's hidden layers, for example 400,200; `--empty-hidden` leaves them out, and
            makes an `mlp` linear.
        decoder_hidden: Widths of the decoder's hidden layers; by default the encoder's, mirrored.
        activation: Activation after each hidden layer.
        gated: Multiply each hidden unit by a learned gate between 0 and 1, in the place of the activation.
        dropout: Probability with which a hidden unit is dropped in training.
        layer_norm: Normalise each hidden layer over its units, before the activation.
        initialisation: How initial weights are drawn: `torch` as torch does; the others by the law of that name, with
            biases of 0.
        classifier: Add a network q(y|x) of the category that the model is told first; objective m2 has it always.
        centre: Subtract the training mean from the encoder's input, and start the decoder at that mean (and at the
            training variance, where it is learned).
    """

    latent_dim: Count = 10
    likelihood: LikelihoodName = "bernoulli"
    posterior: Literal["diagonal", "full", "iaf"] = "diagonal"
    prior: Literal["normal", "mixture", "vamp", "flow"] = "normal"
    components: Count = 100
    transforms: Count = 3
    fixed_std: Positive = 0.1
    posterior_std: Literal["softplus", "exp"] = "softplus"
    network: Literal["mlp", "conv", "residual"] = "mlp"
    filters: tuple[Count, ...] = (32, 64)
    hidden: tuple[Count, ...] = (400,)
    decoder_hidden: tuple[Count, ...] | None = None
    activation: ActivationName = "relu"
    gated: bool = False
    dropout: Annotated[float, Range("[0, 1)", 0.1)] = 0.0
    layer_norm: bool = False
    initialisation: InitialisationName = "torch"
    classifier: bool = False
    centre: bool = True


def require_effect(model: ModelConfig) -> None:
    """Refuse options of parts that the model does not have; they would change nothing.

    Only what begins a training asks: a configuration that was written before is read as it stands.

    Raises:
        ValueError: for the first such option whose value is not its default.

    Example:
        >>> require_effect(ModelConfig(components=50))
        Traceback (most recent call last):
        ValueError: components must be left out with prior normal, which does not use it; got 50. Leave it out, or use \
prior mixture or vamp.
    """
    users = {  # the options, the parts that use them, and the values of these parts that do
        "components": {"prior": ("mixture", "vamp")},
        "transforms": {"posterior": ("iaf",), "prior": ("flow",)},
        "fixed_std": {"likelihood": ("gaussian-fixed",)},
        "filters": {"network": ("conv", "residual")},
    }
    for field in dataclasses.fields(model):
        value, parts = getattr(model, field.name), users.get(field.name, {})
        if parts and value != field.default and not any(getattr(model, part) in known for part, known in parts.items()):
            with_ = " and ".join(f"{part} {getattr(model, part)}" for part in parts)
            instead = " or ".join(f"{part} {' or '.join(known)}" for part, known in parts.items())
            rule = f"{field.name} must be left out with {with_}, which {'do' if len(parts) > 1 else 'does'} not use it"
            _require(False, rule, value, f"Leave it out, or use {instead}.")


@checked
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the objective is optimised.

    Args:
        epochs: Passes over the training rows; by default 20, or as many as make 3,000 steps where the rows are few.
        steps: Number of optimiser steps; where given, it replaces `epochs`.
        batch_size: Rows per step, by default 128, or all where there are fewer; the last, smaller batch of an epoch is
            kept.
        optimizer: `adam`, or `rmsprop` in its centred form.
        learning_rate: Step size of the optimiser.
        schedule: `constant`, or `cosine` which falls towards zero over the whole training.
        objective: What is minimised: `elbo` (also with free bits or a capacity); `iwae`, the importance-weighted bound,
            with groups MIWAE, with a share of the ELBO CIWAE; `piwae`; `beta-tc`, the KL term in three parts; `dip-i`
            and `dip-ii`, a penalty on the latents' covariance; `info` (InfoVAE) and `wae`, a distance of all latents
            from the prior; `factor` (FactorVAE), a discriminator; `m2`, labels that only some
            rows have; `autoencoder`, without any prior, to compare with.
        samples: L or K, the Monte-Carlo samples of z per example in the objective; of iwae and piwae, per group.
        groups: M, groups of samples of iwae and piwae, whose bounds are averaged.
        elbo_share: Share of the ELBO in the bound of iwae (CIWAE), from 0 to 1.
        gradient: Encoder's gradient of iwae and piwae: `plain`; `stl` (sticking the landing), without the score term;
            `dreg` (doubly reparameterised), as exact as plain and less noisy.
        kl: How KL(q(z|x) || p(z)) is found: `closed-form` by its formula, which Gaussians have; `monte-carlo` from the
            samples of z; `auto` takes the formula where there is one.
        beta: Weight of the KL term, of beta-tc that of the total correlation; 1 is the ELBO.
        beta_schedule: How beta is reached: `linear`, `cosine`, or `cyclic`, which rises anew in each of several cycles.
        warmup: Steps over which the weight of the KL term rises from 0 to beta; of cyclic, those of all cycles.
        cycles: Cycles of the cyclic schedule; the weight rises in the first half of each.
        free_bits: Nats of each latent dimension whose KL costs nothing extra; 0 for none.
        capacity: Nats that the KL term is held at, in the place of beta; 0 for none.
        capacity_steps: Steps over which the capacity rises linearly from 0.
        alpha: Weight of the mutual information: of beta-tc (1 by default) and of info (0 by default); of m2 that of
            the classifier (10 by default).
        gamma: Weight of the distance from the capacity (1000 by default), of the dimension-wise KL of beta-tc (1), or
            of the total correlation of factor (10).
        penalty: Weight of the penalty of dip-i, dip-ii (off the diagonal; 10 by default), info (1000) and wae (10).
        penalty_diagonal: Weight of the diagonal's penalty; by default that of `penalty`, of dip-i ten times as much.
        deterministic: Take the mean of q(z|x) as z in wae; `--no-deterministic` draws it.
        discriminator: Widths of the hidden layers of factor's discriminator.
        noise: Noise on what the encoder sees in training, so that the model learns to remove it: `salt-and-pepper`
            (entries become the least or the greatest value), `gaussian`, `masking` (entries become 0).
        noise_level: Share of the entries that are replaced, or the standard deviation of gaussian noise in the units
            that the model sees.
        clip_norm: Upper bound on the norm of the gradient; 0 for none.
        ema: Decay, a step, of an exponential moving average of the weights, which is then what is validated and kept:
            about their mean over the last 1 / (1 - ema) steps, at most the last ninth of those done; 0 for none. What
            a likelihood learns without a gradient, as `gaussian-optimal` its variance, stays that of the weights.
        patience: Stop after this many epochs without a better validation loss; 0 for never.
        seed: Seed of everything that is drawn.
        shuffle_block: For data larger than memory on a disk that is slow to jump: so many neighbouring rows stay
            together when an epoch is shuffled (see docs/data.md); 0 shuffles all rows.
        checkpoint_every: Least distance of two checkpoints, in seconds, steps or epochs: for example 30s, 500steps or
            2epochs. The end of the training always has one.
        compile: `on` compiles the step for this model, `off` does not; `auto` compiles when the run is long enough to
            win back the time that compiling takes.
        device: Where to train; `auto` takes a GPU if there is one.
        precision: `float32`; `bf16` and `fp16` compute the networks in half precision and everything else in float32.
        tf32: Let NVIDIA GPUs round the factors of matrix products to 10 bits.
        sharded: Split weights and optimiser state over the processes of a torchrun job (FSDP2), for networks that do
            not fit one device.
    """

    epochs: Count | None = None
    steps: Count | None = None
    batch_size: Count | None = None
    optimizer: Literal["adam", "rmsprop"] = "adam"
    learning_rate: Positive = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    objective: ObjectiveName = "elbo"
    samples: Count = 1
    groups: Count = 1
    elbo_share: Share = 0.0
    gradient: Literal["plain", "stl", "dreg"] = "plain"
    kl: Literal["auto", "closed-form", "monte-carlo"] = "auto"
    beta: NotNegative = 1.0
    beta_schedule: Literal["linear", "cosine", "cyclic"] = "linear"
    warmup: Natural = 0
    cycles: Count = 4
    free_bits: NotNegative = 0.0
    capacity: NotNegative = 0.0
    capacity_steps: Natural = 0
    alpha: NotNegative | None = None
    gamma: NotNegative | None = None
    penalty: NotNegative | None = None
    penalty_diagonal: NotNegative | None = None
    deterministic: bool = True
    discriminator: tuple[Count, ...] = (1000, 1000, 1000, 1000, 1000, 1000)
    noise: Literal["none", "salt-and-pepper", "gaussian", "masking"] = "none"
    noise_level: NotNegative = 0.0
    clip_norm: NotNegative = 0.0
    ema: Annotated[float, Range("[0, 1)", 0.999)] = 0.0
    patience: Natural = 0
    seed: int = 0
    shuffle_block: Natural = 0
    checkpoint_every: str = "10s"
    compile: Literal["auto", "on", "off"] = "auto"
    device: DeviceName = "auto"
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    tf32: bool = False
    sharded: bool = False

    def __post_init__(self) -> None:
        self._require_effect()
        every(self.checkpoint_every)

    @checked
    def for_rows(self, rows: Count) -> "TrainConfig":
        """The configuration with the `batch_size` that so many training rows get by default.

        Example:
            >>> [TrainConfig(batch_size=size).for_rows(90).batch_size for size in (None, 32, 128)]
            [90, 32, 128]
        """
        return dataclasses.replace(self, batch_size=self.batch_size or min(128, rows))

    @property
    def batch(self) -> int:
        """Rows per step, where there are so many."""
        return self.batch_size or 128

    @property
    def is_point(self) -> bool:
        """Whether z is the mean of q(z|x) in training, so that the spread of q is not trained.

        Example:
            >>> TrainConfig(objective="autoencoder").is_point
            True
        """
        return self.objective == "autoencoder" or (self.objective == "wae" and self.deterministic)

    def _require_effect(self) -> None:
        """Refuse options that the objective does not use, and what does not go together."""
        changed = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        for name in changed.keys() & {name for names in _USED_BY.values() for name in names}:
            users = [objective for objective, names in _USED_BY.items() if name in names]
            _require(
                self.objective in users,
                f"{name} must be left out with objective {self.objective}, which does not use it",
                changed[name],
                f"Leave it out, or use objective {' or '.join(users)}.",
            )
        needs = [
            ("cycles", self.beta_schedule == "cyclic", "beta_schedule cyclic"),
            ("beta_schedule", self.warmup > 0, "warmup above 0"),
            ("capacity_steps", self.capacity > 0, "capacity above 0"),
            ("gamma", self.objective != "elbo" or self.capacity > 0, "capacity above 0"),
            ("noise_level", self.noise != "none", "noise other than none"),
            ("noise", self.noise_level > 0, "noise_level above 0"),
            *((name, self.capacity == 0, "capacity 0") for name in ("beta", "warmup", "free_bits")),
            ("free_bits", self.kl != "monte-carlo", "the KL of each latent in closed form"),
            ("samples", self.objective != "wae" or not self.deterministic, "deterministic off"),
        ]
        for name, holds, what in needs:
            if name in changed:
                _require(holds, f"{name} needs {what}", changed[name], f"Leave {name} out, or change that.")
        is_share = self.noise in ("salt-and-pepper", "masking")
        _require(
            not is_share or self.noise_level <= 1, "noise_level is a share, at most 1", self.noise_level, "Use 0.25."
        )
        _require(
            self.objective != "factor" or self.optimizer == "adam",
            "objective factor needs adam, which its discriminator is trained with",
            self.optimizer,
            "Use optimizer adam.",
        )


_BETA = ("beta", "beta_schedule", "warmup", "cycles")
_USED_BY: dict[str, tuple[str, ...]] = {
    "elbo": ("samples", "kl", *_BETA, "free_bits", "capacity", "capacity_steps", "gamma"),
    "iwae": ("samples", "groups", "elbo_share", "gradient"),
    "piwae": ("samples", "groups", "gradient"),
    "beta-tc": ("samples", *_BETA, "alpha", "gamma"),
    "dip-i": ("samples", "kl", *_BETA, "penalty", "penalty_diagonal"),
    "dip-ii": ("samples", "kl", *_BETA, "penalty", "penalty_diagonal"),
    "info": ("samples", "kl", "alpha", "penalty"),
    "wae": ("samples", "penalty", "deterministic"),
    "factor": ("samples", "kl", *_BETA, "gamma", "discriminator"),
    "m2": ("samples", "kl", *_BETA, "alpha"),
    "autoencoder": (),
}


def every(text: str) -> tuple[float, str]:
    """A distance of checkpoints as a number and its unit: seconds, steps or epochs.

    Raises:
        ValueError: for anything else.

    Example:
        >>> every("30s"), every("500 steps"), every("1epoch")
        ((30.0, 'seconds'), (500.0, 'steps'), (1.0, 'epochs'))
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *(s|steps?|epochs?)", text.strip())
    units = {"s": "seconds", "step": "steps", "epoch": "epochs"}
    if not match:
        raise ValueError(f"checkpoint_every must be a number and a unit; got {text}. Use 30s, 500steps or 2epochs.")
    unit = match[2] if match[2] == "s" else match[2].rstrip("s")
    return float(match[1]), units[unit]


@checked
@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How a trained model is evaluated.

    Args:
        nll_samples: Importance samples per example of the NLL of the test rows; more come closer to the truth.
    """

    nll_samples: Count = 1000


@checked
@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that defines a run: the source of its data, and four configurations, one TOML table each.

    Args:
        source: A file (.npy, .npz, .csv, IDX, each of them also .gz), a folder of images or of .npy files, a folder in
            the MNIST layout, or built-in: `digits`, `sprites`, or `sprites:20000` for so many of them.
        data: How what is read becomes numbers.
        model: The three laws and the networks.
        train: How the objective is optimised.
        evaluation: How the trained model is evaluated.
    """

    source: str = "digits"
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)

    @property
    def parts(self) -> "tuple[DataConfig, ModelConfig, TrainConfig, EvaluationConfig]":
        """The four configurations, whose fields are the options of the command line."""
        return self.data, self.model, self.train, self.evaluation

    @property
    def reading(self) -> DataConfig:
        """How the data are read: `data`, but automatic scaling leaves counts as they are, and mixed tables are mixed.

        Example:
            >>> RunConfig(model=ModelConfig(likelihood="poisson")).reading.scaling
            'none'
        """
        if self.model.likelihood == "mixed":
            return dataclasses.replace(self.data, cells="mixed")
        is_of_counts = self.model.likelihood in ("poisson", "negative-binomial")
        return (
            dataclasses.replace(self.data, scaling="none")
            if is_of_counts and self.data.scaling == "auto"
            else self.data
        )


_RUN_OF = {  # how a training runs, which does not change what is minimised
    *("epochs", "steps", "batch_size", "optimizer", "learning_rate", "schedule", "clip_norm", "patience", "seed"),
    *("shuffle_block", "checkpoint_every", "compile", "device", "precision", "tf32", "sharded"),
}


def objective_name(config: RunConfig) -> str:
    """What a training minimises, in words: the objective, and each of its options that is not at its default.

    Configurations that differ in an objective or in one of its options have different names.

    Example:
        >>> objective_name(RunConfig(train=TrainConfig(objective="iwae", samples=5, elbo_share=0.5)))
        'iwae (samples 5, elbo share 0.5)'
    """
    options = []
    for field in dataclasses.fields(TrainConfig):
        value, name = getattr(config.train, field.name), field.name.replace("_", " ")
        if field.name in _RUN_OF or field.name == "objective" or value == field.default:
            continue
        if isinstance(value, bool):
            options.append(name if value else f"not {name}")
        elif isinstance(value, tuple):
            options.append(f"{name} {'-'.join(map(str, value)) or 'linear'}")
        else:
            options.append(f"{name} {value}")
    if config.data.condition:
        options.append(f"told {' and '.join(config.data.condition)}")
    if config.data.labelled:
        options.append(f"labels kept {config.data.labelled}")
    return f"{config.train.objective} ({', '.join(options)})" if options else config.train.objective


def to_dict(config: DataConfig | ModelConfig | TrainConfig | EvaluationConfig | RunConfig) -> dict[str, Any]:
    """Plain values of a configuration, without the fields that are None (TOML has no null).

    Example:
        >>> to_dict(ModelConfig(latent_dim=2))["latent_dim"]
        2
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            values[field.name] = to_dict(value)
        elif value is not None:
            values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def from_toml(text: str | bytes, where: str = "the configuration") -> RunConfig:
    """A `RunConfig` from the text of a config.toml.

    Raises:
        ValueError: as `from_dict`, and for text that is not TOML.

    Example:
        >>> from_toml("[model]\\nlatent_dim = 2").model.latent_dim
        2
    """
    try:
        values = tomllib.loads(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} must be TOML; {error}. Compare with the config.toml of any run.") from error
    return from_dict(RunConfig, values, where)


def to_command(config: RunConfig) -> str:
    """The command that repeats a run: its source and every option that differs from the default.

    Example:
        >>> to_command(RunConfig(model=ModelConfig(latent_dim=2, hidden=(64, 32))))
        'variform train digits --latent-dim 2 --hidden 64,32'
    """
    words = ["variform", "train", shlex.quote(config.source)]
    for part in config.parts:
        for field in dataclasses.fields(part):
            value, option = getattr(part, field.name), field.name.replace("_", "-")
            if value == field.default:
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            elif isinstance(value, tuple) and all(isinstance(item, str) for item in value) and value:
                words += [f"--{option}", *map(shlex.quote, value)]
            elif isinstance(value, tuple):
                words += [f"--{option}", ",".join(map(str, value))] if value else [f"--empty-{option}"]
            else:
                words += [f"--{option}", shlex.quote(str(value))]
    return " ".join(words)
