"""The objective, the optimiser and when to stop."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from variform.config.checks import (
    Count,
    Natural,
    NotNegative,
    Positive,
    Range,
    Share,
    checked,
    require,
)
from variform.config.choices import DeviceName, ObjectiveName

LARGEST_BATCH = 128
"""Of those that are chosen by the number of rows."""
_USUAL_DECAY = 1e-2  # of adamw
RATE = 1e-3
"""The usual step size of the optimiser."""


@checked
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the objective is optimised.

    Args:
        epochs: Passes over the training rows; by default 20, or as many as make 3,000 steps where the rows are few.
        steps: Number of optimiser steps; where given, it replaces `epochs`.
        batch_size: Rows per step, by default about a 32nd of the training rows, from 16 to 128 (128 where the
            objective compares the rows of a batch); the last, smaller batch of an epoch is kept.
        accumulate: Work through each batch in this many parts, one after another, for batches that do not fit into
            memory; the gradient is that of the whole batch, up to rounding.
        optimizer: `adam`; `adamw`, whose weights decay apart from the gradient; or `rmsprop` in its centred form.
        weight_decay: How strongly the weights of layers are drawn to 0; biases and the parameters of laws are not. Of
            adamw (0.01 by default) each step takes this share, times the learning rate, off every weight; of adam and
            rmsprop (0 by default) it is the weight of half their squares in the loss.
        learning_rate: Step size of the optimiser; by default of a run 0.003, and 0.001 for convolutions.
        schedule: `constant`; `cosine`, which falls towards zero over the whole training; `plateau`, which falls each
            time that the validation loss stops falling; `auto` is `cosine` in a run whose learning rate is not given
            and that has no convolutions.
        plateau_patience: Epochs without a better validation loss after which `plateau` lowers the learning rate; those
            of a warm-up do not count.
        plateau_factor: What the learning rate is then multiplied by.
        objective: What is minimised: `elbo` (also with free bits or a capacity); `iwae`, the importance-weighted bound,
            with groups MIWAE, with a share of the ELBO CIWAE; `piwae`; `hvae`, whose samples take leapfrog steps;
            `beta-tc`, the KL term in three parts; `dip-i` and `dip-ii`, a penalty on the latents' covariance; `info`
            (InfoVAE) and `wae`, a distance of all latents from the prior; `factor` (FactorVAE), a discriminator; `m2`,
            labels that only some rows have; `ms-ssim`, `perceptual` and `vae-gan`, a term beside the ELBO for how alike
            decoded rows look, no bound; `autoencoder`, without any prior, to compare with; `rae`, an autoencoder
            whose decoder is kept smooth.
        samples: L or K, the Monte-Carlo samples of z per example in the objective; of iwae and piwae, per group.
        groups: M, groups of samples of iwae and piwae, whose bounds are averaged.
        elbo_share: Share of the ELBO in the bound of iwae (CIWAE), from 0 to 1.
        gradient: Encoder's gradient of iwae and piwae: `plain`; `stl` (sticking the landing), without the score term;
            `dreg` (doubly reparameterised), as exact as plain and less noisy.
        leaps: Leapfrog steps of each sample of hvae.
        tempering: Of hvae, the inverse temperature that its momentum begins at: below 1 samples move farther.
        kl: How KL(q(z|x) || p(z)) is found: `closed-form` by its formula, which Gaussians have; `monte-carlo` from the
            samples of z; `auto` takes the formula where there is one.
        beta: Weight of the KL term, of beta-tc that of the total correlation, of rae that of |z|^2 / 2; 1 is the ELBO.
        beta_schedule: How beta is reached: `linear`, `cosine`, or `cyclic`, which rises anew in each of several cycles.
        warmup: Steps over which the weight of the KL term rises from 0 to beta; of cyclic, those of all cycles. By
            default none, but a tenth of all steps in a run of few rows with convolutions whose batch is chosen.
        cycles: Cycles of the cyclic schedule; the weight rises in the first half of each.
        free_bits: Nats of each latent dimension whose KL costs nothing extra; 0 for none.
        level_weights: Of several latents the weight of each one's KL beside beta, the one next to the data first, for
            example 1,0.5.
        capacity: Nats that the KL term is held at, instead of beta; 0 for none.
        capacity_steps: Steps over which the capacity rises linearly from 0.
        alpha: Weight of the mutual information: of beta-tc (1 by default) and of info (0 by default); of m2 that of
            the classifier (10 by default).
        gamma: Weight of the distance from the capacity (1000 by default), of the dimension-wise KL of beta-tc (1), or
            of the total correlation of factor (10), or of the game of vae-gan (1).
        penalty: Weight of the penalty of dip-i, dip-ii (off the diagonal; 10 by default), info (1000), wae (10),
            ms-ssim (10), perceptual (10), vae-gan (1; of the features) and rae (0.001).
        penalty_diagonal: Weight of the diagonal's penalty; by default that of `penalty`, of dip-i ten times as much.
        distance: Of wae, how far all latents are from the prior: `mmd`, the maximum mean discrepancy; `sliced`, the
            sliced Wasserstein distance (SWAE); `adversarial`, by a discriminator (WAE-GAN, adversarial autoencoder).
        slices: Directions of the sliced distance, drawn anew at every step.
        deterministic: Take the mean of q(z|x) as z in wae, and not a draw from it.
        regulariser: What rae penalises of the decoder: `l2`, its squared weights; `gradient`, how fast its output
            changes with z; `spectral`, the squared largest singular value of each layer.
        discriminator: Widths of the hidden layers of the discriminator of factor, vae-gan and the adversarial wae.
        noise: Noise on what the encoder sees in training, so that the model learns to remove it: `salt-and-pepper`
            (entries become the least or the greatest value), `gaussian`, `masking` (entries become 0).
        noise_level: Share of the entries that are replaced, or the standard deviation of gaussian noise in the units
            that the model sees.
        clip_norm: Upper bound on the norm of the gradient; 0 for none.
        private_epsilon: Train with differential privacy: how much, at most, a training row may change what the gradient
            steps give, in nats; smaller is more private and less exact. What else is read from the rows, such as
            scaling and categories, is not covered. By default the training is not private.
        private_delta: Probability that is left out of that bound; below one over the training rows.
        private_clip: Norm that the gradient of a row has at most in a private training.
        freeze: Leave the weights of the `encoder` as they are, so that codes stay where they were, and train the rest:
            for a training that starts from another model; `none` trains all.
        ema: Decay, a step, of an exponential moving average of the weights, which is then what is validated and kept:
            about their mean over the last 1 / (1 - ema) steps, at most the last ninth of those done; 0 for none. What
            a likelihood learns without a gradient, as `gaussian-optimal` its variance, stays that of the weights.
        patience: Stop after this many epochs without a better validation loss; 0 for never. By default never, but a
            third of the epochs where their number was chosen for few rows and the KL term has no schedule.
        seed: Seed of everything that is drawn.
        shuffle_block: For data larger than memory on a disk that is slow to jump: this many neighbouring rows stay
            together when an epoch is shuffled (see docs/data.md); 0 shuffles all rows.
        checkpoint_every: Least distance of two checkpoints, in seconds, steps or epochs: for example 30s, 500steps or
            2epochs. The end of the training always has one.
        compile: `on` compiles the step for this model, `off` does not; `auto` compiles when the run is long enough to
            win back the time that compiling takes.
        products: `auto` computes each layer in the way that is fastest on this machine, by a measurement at the start
            of a long run, which keeps it when it is resumed; `torch` computes all as torch does by itself, so that
            another machine of the kind gives the same bits.
        device: Where to train; `auto` takes a GPU if there is one.
        precision: `float32`; `bf16` and `fp16` compute the networks in half precision and everything else in float32.
        tf32: Let NVIDIA GPUs round the factors of matrix products and convolutions to 10 bits.
        recompute: Keep the inputs of a few layers for the gradient and compute the others twice, for networks of many
            layers that do not fit into memory; the gradient has the same bits.
        sharded: Split weights and optimiser state over the processes of a torchrun job (FSDP2), for networks that do
            not fit one device; every process must reach the run's folder.
    """

    epochs: Count | None = None
    steps: Count | None = None
    batch_size: Count | None = None
    accumulate: Count = 1
    optimizer: Literal["adam", "adamw", "rmsprop"] = "adam"
    weight_decay: NotNegative | None = None
    learning_rate: Positive | None = None
    schedule: Literal["auto", "constant", "cosine", "plateau"] = "auto"
    plateau_patience: Count = 10
    plateau_factor: Annotated[float, Range("(0, 1)", 0.1)] = 0.1
    objective: ObjectiveName = "elbo"
    samples: Count = 1
    groups: Count = 1
    elbo_share: Share = 0.0
    gradient: Literal["plain", "stl", "dreg"] = "plain"
    leaps: Count = 3
    tempering: Annotated[float, Range("(0, 1]", 0.5)] = 1.0
    kl: Literal["auto", "closed-form", "monte-carlo"] = "auto"
    beta: NotNegative = 1.0
    beta_schedule: Literal["linear", "cosine", "cyclic"] = "linear"
    warmup: Natural | None = None
    cycles: Count = 4
    free_bits: NotNegative = 0.0
    level_weights: tuple[NotNegative, ...] = ()
    capacity: NotNegative = 0.0
    capacity_steps: Natural = 0
    alpha: NotNegative | None = None
    gamma: NotNegative | None = None
    penalty: NotNegative | None = None
    penalty_diagonal: NotNegative | None = None
    distance: Literal["mmd", "sliced", "adversarial"] = "mmd"
    slices: Count = 50
    deterministic: bool = True
    regulariser: Literal["l2", "gradient", "spectral"] = "l2"
    discriminator: tuple[Count, ...] = (1000, 1000, 1000, 1000, 1000, 1000)
    noise: Literal["none", "salt-and-pepper", "gaussian", "masking"] = "none"
    noise_level: NotNegative = 0.0
    clip_norm: NotNegative = 0.0
    private_epsilon: Positive | None = None
    private_delta: Annotated[float, Range("(0, 1)", 1e-5)] = 1e-5
    private_clip: Positive = 1.0
    freeze: Literal["none", "encoder"] = "none"
    ema: Annotated[float, Range("[0, 1)", 0.999)] = 0.0
    patience: Natural | None = None
    seed: int = 0
    shuffle_block: Natural = 0
    checkpoint_every: str = "10s"
    compile: Literal["auto", "on", "off"] = "auto"
    products: Literal["auto", "torch"] = "auto"
    device: DeviceName = "auto"
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    tf32: bool = False
    recompute: bool = False
    sharded: bool = False

    def __post_init__(self) -> None:
        self._require_effect()
        every(self.checkpoint_every)

    @property
    def batch(self) -> int:
        """Rows per step: as given, or the most that are taken by themselves where the rows are not known."""
        return self.batch_size or LARGEST_BATCH

    @property
    def rate(self) -> float:
        """Step size of the optimiser: as given, or the usual one where no run settles it."""
        return self.learning_rate or RATE

    @property
    def decay(self) -> float:
        """Weight decay as given, or the usual one of the optimiser.

        Example:
            >>> TrainConfig().decay, TrainConfig(optimizer="adamw").decay
            (0.0, 0.01)
        """
        if self.weight_decay is not None:
            return self.weight_decay
        return _USUAL_DECAY if self.optimizer == "adamw" else 0.0

    @property
    def is_point(self) -> bool:
        """Whether z is the mean of q(z|x) in training, so that the spread of q is not trained.

        Example:
            >>> TrainConfig(objective="autoencoder").is_point
            True
        """
        is_autoencoder = self.objective in ("autoencoder", "rae")
        return is_autoencoder or (self.objective == "wae" and self.deterministic)

    @property
    def has_discriminator(self) -> bool:
        """Whether a discriminator learns beside the VAE.

        Example:
            >>> TrainConfig(objective="factor").has_discriminator
            True
        """
        return self.objective in ("factor", "vae-gan") or self.distance == "adversarial"

    def _require_effect(self) -> None:
        """Refuse options that the objective does not use, and what does not go together."""
        changed = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        if not self.warmup:
            changed.pop("warmup", None)  # 0 is as good as nothing, for every objective
        for name in changed:
            users = [objective for objective, names in OBJECTIVE_OPTIONS.items() if name in names]
            require(
                not users or self.objective in users,
                f"`{name}` must be left out with `objective={self.objective!r}`, which does not use it",
                changed[name],
                f"Leave it out, or use `objective` {' or '.join(users)}.",
            )
        needs = [
            ("cycles", self.beta_schedule == "cyclic", "`beta_schedule='cyclic'`"),
            ("beta_schedule", bool(self.warmup), "`warmup` above 0"),
            ("capacity_steps", self.capacity > 0, "`capacity` above 0"),
            ("gamma", self.objective != "elbo" or self.capacity > 0, "`capacity` above 0"),
            ("noise_level", self.noise != "none", "`noise` other than none"),
            ("noise", self.noise_level > 0, "`noise_level` above 0"),
            *(
                (name, self.capacity == 0, "`capacity=0`")
                for name in ("beta", "warmup", "free_bits")
            ),
            ("free_bits", self.kl != "monte-carlo", "the KL of each latent in closed form"),
            ("samples", self.objective != "wae" or not self.deterministic, "`deterministic=False`"),
            ("plateau_patience", self.schedule == "plateau", "`schedule='plateau'`"),
            ("plateau_factor", self.schedule == "plateau", "`schedule='plateau'`"),
            ("slices", self.distance == "sliced", "`distance='sliced'`"),
            ("discriminator", self.has_discriminator, "`distance='adversarial'`"),
            *(
                (name, self.private_epsilon is not None, "`private_epsilon`")
                for name in ("private_delta", "private_clip")
            ),
            *(
                (name, self.private_epsilon is None, "a training without `private_epsilon`")
                for name in _NOT_PRIVATE
            ),
        ]
        if not self.patience:
            changed.pop("patience", None)
        if self.compile == "off":
            changed.pop("compile", None)
        for name, holds, what in needs:
            if name in changed:
                require(
                    holds,
                    f"`{name}` needs {what}",
                    changed[name],
                    f"Leave `{name}` out, or change that.",
                )
        is_share = self.noise in ("salt-and-pepper", "masking")
        require(
            not is_share or self.noise_level <= 1,
            "`noise_level` is a share, at most 1",
            self.noise_level,
            "Use 0.25.",
        )
        is_plateau = self.schedule == "plateau"
        require(
            not is_plateau or self.private_epsilon is None,
            "`schedule='plateau'` needs a training without `private_epsilon`, for validation rows choose the rate",
            self.private_epsilon,
            "Use `schedule='constant'`.",
        )
        require(
            not is_plateau or not self.patience or self.patience > self.plateau_patience,
            "`patience` must exceed `plateau_patience`, or training stops before the learning rate falls",
            self.patience,
            f"Use `patience={3 * self.plateau_patience}`.",
        )
        what = (
            "`distance='adversarial'`"
            if self.objective == "wae"
            else f"`objective={self.objective!r}`"
        )
        require(
            not self.has_discriminator or self.optimizer != "rmsprop",
            f"{what} needs adam, which its discriminator is trained with",
            self.optimizer,
            "Use `optimizer='adam'`.",
        )


_NOT_PRIVATE = (
    *("objective", "free_bits", "capacity", "noise", "freeze"),
    *("accumulate", "precision", "recompute", "sharded", "shuffle_block", "compile", "patience"),
)
"""Options that a private training cannot have: no gradient of each row alone, or a choice by other rows."""
_BETA = ("beta", "beta_schedule", "warmup", "cycles")
OBJECTIVE_OPTIONS: dict[str, tuple[str, ...]] = {
    "elbo": (
        "samples",
        "kl",
        *_BETA,
        "free_bits",
        "level_weights",
        "capacity",
        "capacity_steps",
        "gamma",
    ),
    "iwae": ("samples", "groups", "elbo_share", "gradient"),
    "piwae": ("samples", "groups", "gradient"),
    "hvae": ("samples", "leaps", "tempering"),
    "beta-tc": ("samples", *_BETA, "alpha", "gamma"),
    "dip-i": ("samples", "kl", *_BETA, "penalty", "penalty_diagonal"),
    "dip-ii": ("samples", "kl", *_BETA, "penalty", "penalty_diagonal"),
    "info": ("samples", "kl", "alpha", "penalty"),
    "wae": ("samples", "penalty", "distance", "slices", "deterministic", "discriminator"),
    "factor": ("samples", "kl", *_BETA, "gamma", "discriminator"),
    "ms-ssim": ("samples", "kl", *_BETA, "penalty"),
    "perceptual": ("samples", "kl", *_BETA, "penalty"),
    "vae-gan": ("samples", "kl", *_BETA, "penalty", "gamma", "discriminator"),
    "m2": ("samples", "kl", *_BETA, "alpha"),
    "autoencoder": (),
    "rae": (*_BETA, "penalty", "regulariser"),
}
"""The options that each objective has: others are refused, and these are what it is built with."""


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
        raise ValueError(
            f"`checkpoint_every` must be a number and a unit; got {text}. Use 30s, 500steps or 2epochs."
        )
    unit = match[2] if match[2] == "s" else match[2].rstrip("s")
    return float(match[1]), units[unit]
