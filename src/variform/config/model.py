"""The three laws and the networks between them."""

import dataclasses
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Literal

from variform.config.checks import Count, NotNegative, Positive, Range, Share, checked, require
from variform.config.choices import (
    COUNTED,
    ActivationName,
    InitialisationName,
    LikelihoodChoice,
)
from variform.config.words import counted

OWN_PARTS = ("encoder", "decoder")
"""What may be a network of the user's own."""
COPIES = tuple(f"{part}.py" for part in OWN_PARTS)
"""What the source of such a network is called beside its model: in the folder of a run, and on a hub."""

CODED = ("categorical", "vq", "fsq", "lfq")
"""Posteriors all of whose latents are codes."""
CODE_PRIORS = ("uniform", "independent", "autoregressive")
"""Priors over codes."""
LATENTS = 10
"""Latent dimensions where none are given, of images and where no rows are known."""

PosteriorName = Literal[
    "diagonal",
    "full",
    "iaf",
    "maf",
    "planar",
    "ladder",
    "von-mises-fisher",
    "power-spherical",
    "wrapped-normal",
    "categorical",
    "joint",
    "vq",
    "fsq",
    "lfq",
]
PriorName = Literal["normal", "mixture", "vamp", "flow", "uniform", "independent", "autoregressive"]
PRIORS_OF = {
    "von-mises-fisher": ("uniform", "vamp"),
    "power-spherical": ("uniform", "vamp"),
    "wrapped-normal": ("normal", "vamp"),
}
"""The priors in the space of a posterior that is not flat."""


@checked
@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The three laws and the networks between them.

    Args:
        latent_dim: Number of latent dimensions; by default as many as PCA of the training rows has components that say
            something, 10 for images, and fewer than there are columns. Of a sphere it is the dimension d of its
            surface, 2 for a globe: z then is d + 1 numbers.
        latents: Dimensions of several latents instead of one, for example 40,40: each is given by those after it,
            and the first lies nearest to the data.
        posterior: q(z|x): `diagonal`, a Gaussian with independent latents; `full`, a Gaussian with a covariance matrix;
            `iaf`, an inverse autoregressive flow, which need not be Gaussian; `maf`, a masked one, and `planar`, steps
            along single directions, to compare with; `ladder`, of several latents, what the row says of each times what
            the prior says; `von-mises-fisher` and `power-spherical`, on the unit sphere; `wrapped-normal`, in
            hyperbolic space, on the Poincaré ball. Over codes: `categorical`, probabilities of each code's values;
            `joint`, `diagonal` latents and such codes; `vq`, the nearest entry of a table that is learned; `fsq`,
            levels that numbers are rounded to; `lfq`, signs of numbers.
        prior: p(z): `normal`, N(0, I), or beside `wrapped-normal` that law at the origin; `mixture`, a learned mixture
            of Gaussians; `vamp`, the mixture of the posteriors of learned pseudo-inputs; `flow`, a learned
            autoregressive flow; `uniform`, on a sphere, which has it where nothing else is said, or over codes. Over
            codes also `independent`, learned probabilities of each code's values; `autoregressive`, those of a code by
            the codes before it. Where latents are codes, `normal` stands for `autoregressive` of several codes that an
            encoder quantises, and for `independent` of others.
        curvature: c of the hyperbolic space of `wrapped-normal`, whose curvature is -c: the greater, the sooner there
            is room for many branches; as it goes to 0, the model becomes the Gaussian one.
        codes: Number of codes of the posteriors over codes.
        values: Values of each code; of `vq` the entries of the table, of `lfq` a power of 2.
        relaxation: How an encoder learns from draws of a `categorical` or `joint` posterior: `gumbel`, draws between
            the values (Gumbel-softmax); `straight-through`, exact draws with the gradients of those; `score`, exact
            draws and the score function with a leave-one-out baseline, which needs 2 or more samples; `exact`, no
            draws, but the sum over all values, where `categorical` codes have up to 4,096 together.
        temperature: Of relaxed draws, at the first step.
        temperature_least: The least temperature.
        temperature_rate: How fast the temperature falls: by e^(-rate) a step.
        levels: Levels of each number of a code of `fsq`, whose values are their product.
        embedding_dim: Numbers of an entry of the table of `vq`.
        stages: How often `vq` quantises, each time what was left: above 1 it is residual.
        decay: Decay, a step, of the moving averages that the table of `vq` is made of.
        commitment: Weight of the squared distance between what the encoder finds and what it becomes, of `vq` and
            `lfq`.
        entropy_weight: Weight of the entropies of `lfq`: each row is to be sure of its bits, all rows to use both.
        components: Number of Gaussians of the `mixture` prior, or of pseudo-inputs of the `vamp` prior.
        transforms: Number of steps of the `iaf`, `maf` and `planar` posteriors and of the `flow` prior.
        likelihood: p(x|z): `auto` is the one that the data ask for, see docs/choosing.md; `bernoulli`
            (cross-entropy); `continuous-bernoulli` (a density on [0, 1]); `gaussian` (a variance per dimension from the
            network), `gaussian-per-feature` (one learned per dimension),
            `gaussian-shared` (one learned), `gaussian-optimal` (the best one for each batch), `gaussian-fixed`
            (`fixed_std`), `gaussian-identity` (variance 1, squared error); of levels such as pixels `logistic`
            (discretised, two numbers per dimension), `logistic-mixture` (a mixture of these for each dimension),
            `beta-binomial` (two numbers too) and `categorical` (a probability per level); of counts `poisson` and
            `negative-binomial`, and `zero-inflated-poisson` and `zero-inflated-negative-binomial` with a probability
            of more zeros for each dimension; `mixed`, a table whose columns have laws of their own.
        likelihood_components: Number of logistics for each dimension of `logistic-mixture`, at least 2.
        size_factor: Of likelihoods of counts the name of a condition, a number above 0, which the means of a row's
            counts are multiplied by, such as how many counts the row has in all; the decoder does not see it otherwise.
        fixed_std: Standard deviation of `gaussian-fixed`, in the units the model sees.
        posterior_std: How the encoder's output h becomes the standard deviation of q(z|x): `softplus`, log(1 + e^h),
            which no row can make explode; `exp`, e^(h/2), as most papers write it.
        network: `mlp` (multilayer perceptron); for images also `conv` (stages of convolutions around the hidden layers)
            and `residual` (the same with a residual block in each stage), and `very-deep`, whose `latents` are images:
            channels of one at each stage of `filters`.
        filters: Channels of the stages of `conv` and `residual`, each of which halves the image, for example 32,64.
        hidden: Widths of the encoder's hidden layers, for example 400,200; with none of them an `mlp` is
            linear.
        decoder_hidden: Widths of the decoder's hidden layers; by default the encoder's, mirrored.
        activation: Activation after each hidden layer.
        gated: Multiply each hidden unit by a learned gate between 0 and 1, instead of the activation.
        dropout: Probability with which a hidden unit is dropped in training.
        layer_norm: Normalise each hidden layer over its units, before the activation.
        initialisation: How initial weights are drawn: `torch` as torch does; the others by the law of that name, with
            biases of 0.
        encoder: An encoder of your own by its import path, FILE.py:NAME or package.module:NAME: a class or a function,
            called with the shapes of one input and of one output. Its code is run. See docs/concepts.md.
        decoder: A decoder of your own, likewise.
        classifier: Add a network q(y|x) of the first condition, which is a category; objective m2 has it always.
        centre: Subtract the training mean from the encoder's input, and start the decoder at that mean (and at the
            training variance, where it is learned).
    """

    latent_dim: Count | None = None
    latents: tuple[Count, ...] = ()
    likelihood: LikelihoodChoice = "auto"
    posterior: PosteriorName = "diagonal"
    prior: PriorName = "normal"
    curvature: Positive = 1.0
    codes: Count = 10
    values: Count = 16
    relaxation: Literal["gumbel", "straight-through", "score", "exact"] = "gumbel"
    temperature: Positive = 1.0
    temperature_least: Positive = 0.5
    temperature_rate: NotNegative = 3e-5
    levels: tuple[Count, ...] = (8, 6, 5)
    embedding_dim: Count = 8
    stages: Count = 1
    decay: Share = 0.99
    commitment: NotNegative = 0.25
    entropy_weight: NotNegative = 0.1
    components: Count = 100
    transforms: Count = 3
    likelihood_components: Annotated[int, Range("[2, inf)", 5)] = 5
    size_factor: str | None = None
    fixed_std: Positive = 0.1
    posterior_std: Literal["softplus", "exp"] = "softplus"
    network: Literal["mlp", "conv", "residual", "very-deep"] = "mlp"
    filters: tuple[Count, ...] = (32, 64)
    hidden: tuple[Count, ...] = (400,)
    decoder_hidden: tuple[Count, ...] | None = None
    activation: ActivationName = "relu"
    gated: bool = False
    dropout: Annotated[float, Range("[0, 1)", 0.1)] = 0.0
    layer_norm: bool = False
    initialisation: InitialisationName = "torch"
    encoder: str | None = None
    decoder: str | None = None
    classifier: bool = False
    centre: bool = True

    def __post_init__(self) -> None:
        if self.is_spherical and self.prior == "normal":  # which there is none of on a sphere
            object.__setattr__(self, "prior", "uniform")
        known = PRIORS_OF.get(self.posterior, ())
        rule = f"`prior` must be one of {', '.join(known)} with `posterior={self.posterior!r}`"
        if known:
            require(self.prior in known, rule, self.prior, f"Use `prior={known[0]!r}`.")

    @property
    def is_spherical(self) -> bool:
        """Whether z lies on a sphere, and so is one number more than the latent dimensions."""
        return self.posterior in ("von-mises-fisher", "power-spherical")

    def __repr__(self) -> str:
        """The options that are not at their defaults."""
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"ModelConfig({', '.join(given)})"

    @property
    def dimensions(self) -> int:
        """Latent dimensions that are no codes: as given, or the usual ones where no rows say more."""
        return self.latent_dim or sum(self.latents) or LATENTS

    @property
    def latent_width(self) -> int:
        """Numbers in z: the latent dimensions, and one more on a sphere.

        Example:
            >>> ModelConfig().latent_width, ModelConfig(latent_dim=2).latent_width
            (10, 2)
            >>> ModelConfig(posterior="categorical", codes=20, values=10).latent_width
            200
            >>> ModelConfig(latent_dim=2, posterior="von-mises-fisher").latent_width
            3
        """
        if self.posterior in CODED:
            return self.codes * self._code_width
        beside = self.codes * self.values if self.posterior == "joint" else 0
        return self.dimensions + self.is_spherical + beside

    @property
    def has_codes(self) -> bool:
        """Whether some of its latents are codes."""
        return self.posterior == "joint" or self.posterior in CODED

    @property
    def _code_width(self) -> int:
        """Numbers of z for one code."""
        if self.posterior == "vq":
            return self.stages * self.embedding_dim
        if self.posterior == "fsq":
            return len(self.levels)
        return self.values.bit_length() - 1 if self.posterior == "lfq" else self.values

    @property
    def is_mlp(self) -> bool:
        """Whether both networks are multilayer perceptrons that are built in."""
        return self.network == "mlp" and not (self.encoder or self.decoder)


PART_OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "components": {"prior": ("mixture", "vamp")},
    "transforms": {"posterior": ("iaf", "maf", "planar"), "prior": ("flow",)},
    "curvature": {"posterior": ("wrapped-normal",)},
    "likelihood_components": {"likelihood": ("logistic-mixture",)},
    "size_factor": {"likelihood": COUNTED},
    "fixed_std": {"likelihood": ("gaussian-fixed",)},
    "filters": {"network": ("conv", "residual", "very-deep")},
    "codes": {"posterior": (*CODED, "joint")},
    "values": {"posterior": ("categorical", "joint", "vq", "lfq")},
    "relaxation": {"posterior": ("categorical", "joint")},
    "temperature": {"posterior": ("categorical", "joint")},
    "temperature_least": {"posterior": ("categorical", "joint")},
    "temperature_rate": {"posterior": ("categorical", "joint")},
    "levels": {"posterior": ("fsq",)},
    "embedding_dim": {"posterior": ("vq",)},
    "stages": {"posterior": ("vq",)},
    "decay": {"posterior": ("vq",)},
    "commitment": {"posterior": ("vq", "lfq")},
    "entropy_weight": {"posterior": ("lfq",)},
}
"""The options that only some parts of a model have: for each the parts, and their values that use it."""


def require_effect(model: ModelConfig) -> None:
    """Refuse options of parts that the model does not have; they would change nothing.

    Only what begins a training asks: a configuration that was written before is read as it stands.

    Raises:
        ValueError: for the first such option whose value is not its default.

    Example:
        >>> require_effect(ModelConfig(components=50))
        Traceback (most recent call last):
        ValueError: `components` must be left out with `prior='normal'`, which does not use it; got 50. Leave it out, \
or use `prior` mixture or vamp.
    """
    _require_effect_beside_own(model)
    require_levels(model)
    require(
        model.posterior not in CODED or model.latent_dim in (None, model.latent_width),
        "`latent_dim` must be left out where all latents are codes, whose number and values say it",
        model.latent_dim,
        "Use `codes` and `values`.",
    )
    for field in dataclasses.fields(model):
        value, parts = getattr(model, field.name), PART_OPTIONS.get(field.name, {})
        if (
            parts
            and value != field.default
            and not any(getattr(model, part) in known for part, known in parts.items())
        ):
            with_ = " and ".join(f"`{part}={getattr(model, part)!r}`" for part in parts)
            does = "do" if len(parts) > 1 else "does"
            instead = " or ".join(f"`{part}` {' or '.join(known)}" for part, known in parts.items())
            rule = f"`{field.name}` must be left out with {with_}, which {does} not use it"
            require(False, rule, value, f"Leave it out, or use {instead}.")


def require_levels(model: ModelConfig) -> None:
    """Refuse what several latents cannot be, and what only they have.

    Raises:
        ValueError: for the first such option.

    Example:
        >>> require_levels(ModelConfig(latents=(20, 10)))
    """
    if not model.latents:
        require(
            model.network != "very-deep",
            "`network='very-deep'` must have several latents",
            "none",
            "Give the channels of each, for example `latents=(2, 8)`, one for each stage of `filters`.",
        )
        require(
            model.posterior != "ladder",
            "`posterior='ladder'` must have several latents",
            "none",
            "Give their dimensions, for example `latents=(20, 10)`, or use `posterior='diagonal'`.",
        )
        return
    require(
        len(model.latents) > 1,
        "`latents` must name the dimensions of two latents or more",
        model.latents,
        "Use `latent_dim` for one.",
    )
    is_deep = model.network == "very-deep"
    require(
        model.posterior == "diagonal" or not is_deep,
        "`posterior` must be diagonal with `network='very-deep'`",
        model.posterior,
        "Leave it out, or use `network='mlp'`.",
    )
    require(
        model.latent_dim in (None, sum(model.latents)) or is_deep,
        "`latent_dim` must be left out with `latents`, whose sum it is",
        model.latent_dim,
        "Leave it out.",
    )
    require(
        model.posterior in ("diagonal", "ladder"),
        "`posterior` must be diagonal or ladder with several latents",
        model.posterior,
        "Use one of these, or `latent_dim` for one latent.",
    )


_OF_BUILT_IN = (
    "network",
    "filters",
    "hidden",
    "activation",
    "gated",
    "dropout",
    "layer_norm",
    "initialisation",
)
"""What says how networks are made that are built in."""


def _require_effect_beside_own(model: ModelConfig) -> None:
    """Refuse options of built-in networks where there are none."""
    unused = ["decoder_hidden"] if model.decoder else []
    if model.encoder and model.decoder and not model.classifier:
        unused += _OF_BUILT_IN
    defaults = {field.name: field.default for field in dataclasses.fields(model)}
    for name in unused:
        value = getattr(model, name)
        require(
            value == defaults[name],
            f"`{name}` must be left out with a network of your own, which does not use it",
            value,
            "Leave it out, or have the network made so in your own code.",
        )


def network_name(config: ModelConfig, part: str) -> str:
    """The encoder or the decoder in words: its name among those built in, or the class or function of the user's own.

    Example:
        >>> network_name(ModelConfig(decoder="/home/ada/nets.py:Decoder"), "decoder")
        'Decoder of nets.py'
    """
    path = getattr(config, part)
    if path is None:
        return config.network
    place, _, name = path.rpartition(":")
    return f"{name} of {PurePath(place).name}"


def latents_name(config: ModelConfig) -> str:
    """The latents in words: how many dimensions, and in which space where it is not flat.

    Example:
        >>> latents_name(ModelConfig(latent_dim=2))
        '2 latent dimensions'
        >>> latents_name(ModelConfig(latent_dim=2, posterior="power-spherical"))
        '2 latent dimensions on a sphere in 3 numbers'
    """
    count = counted(config.latent_width, "latent dimension")
    if config.is_spherical:
        count = counted(config.dimensions, "latent dimension")
        return f"{count} on a sphere in {config.latent_width} numbers"
    if config.posterior == "wrapped-normal":
        return f"{count} of hyperbolic space with curvature -{config.curvature:g}"
    return count


def prior_name(config: ModelConfig) -> str:
    """The prior in words.

    Example:
        >>> prior_name(ModelConfig(prior="vamp", components=500))
        'the VampPrior of 500 pseudo-inputs'
        >>> prior_name(ModelConfig(latents=(20, 10)))
        '2 levels under N(0, I)'
    """
    if config.posterior == "wrapped-normal" and config.prior == "normal":
        return "the wrapped normal law at the origin"
    if config.is_spherical and config.prior == "uniform":
        return "uniform on the sphere"
    name = {
        "normal": "N(0, I)",
        "mixture": f"the learned mixture of {config.components} Gaussians",
        "vamp": f"the VampPrior of {config.components} pseudo-inputs",
        "flow": "the learned flow",
        "uniform": "all codes alike",
        "independent": "learned probabilities of each code",
        "autoregressive": "learned probabilities of each code by those before it",
    }[config.prior]
    return f"{len(config.latents)} levels under {name}" if config.latents else name
