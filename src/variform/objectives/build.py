"""From a configuration to an objective."""

from collections.abc import Callable
from functools import partial

from variform.config.checks import Count, checked
from variform.config.training import OBJECTIVE_OPTIONS, TrainConfig
from variform.model.vae import VAE, HasVAE, vae_of
from variform.objectives import (
    DIPVAE,
    ELBO,
    HVAE,
    IWAE,
    PIWAE,
    RAE,
    SSIMVAE,
    VAEGAN,
    WAE,
    Autoencoder,
    BetaTCVAE,
    Corruption,
    FactorVAE,
    InfoVAE,
    Objective,
    PerceptualVAE,
    Schedule,
    SemiSupervised,
    cosine,
    cyclic,
    warmup,
)

_CLASSES: dict[str, Callable[..., Objective]] = {
    "elbo": ELBO,
    "iwae": IWAE,
    "piwae": PIWAE,
    "hvae": HVAE,
    "beta-tc": BetaTCVAE,
    "dip-i": partial(DIPVAE, kind="i"),
    "dip-ii": partial(DIPVAE, kind="ii"),
    "info": InfoVAE,
    "wae": WAE,
    "factor": FactorVAE,
    "ms-ssim": SSIMVAE,
    "perceptual": PerceptualVAE,
    "vae-gan": VAEGAN,
    "m2": SemiSupervised,
    "autoencoder": Autoencoder,
    "rae": RAE,
}
"""What takes the options that `OBJECTIVE_OPTIONS` lists for each objective."""

_SHAPE_A_SCHEDULE = ("beta_schedule", "warmup", "cycles", "capacity_steps")


@checked
def build_objective(
    vae: VAE | HasVAE, config: TrainConfig, *, rows: Count | None = None
) -> Objective:
    """The objective that a training configuration describes, with its schedules and the noise on the encoder's input.

    Args:
        vae: What is trained, a VAE or a `Model` or run that has one; its schema, if any, gives the range of the data
            that noise stays in.
        config: Names the objective and its options.
        rows: Number of training rows, which `beta-tc` must know.

    Raises:
        ValueError: for options that do not go together, or without `rows` where they are needed.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> vae = build_vae(ModelConfig(latent_dim=2), read("digits").schema)
        >>> build_objective(vae, TrainConfig(objective="iwae", samples=5, gradient="dreg")).settings()["gradient"]
        'dreg'
    """
    vae = vae_of(vae)
    objective = _build_objective(vae, config, rows)
    if config.noise != "none":
        objective.corruption = Corruption.of(config.noise, config.noise_level, vae.schema)
    return objective


def _build_objective(vae: VAE, config: TrainConfig, rows: int | None) -> Objective:
    names = OBJECTIVE_OPTIONS[config.objective]
    options = {name: getattr(config, name) for name in names if name not in _SHAPE_A_SCHEDULE}
    # Where None is given the objective has a default of its own.
    options = {name: value for name, value in options.items() if value is not None}
    if "beta" in names:
        options["beta"] = _beta(config)
    if "capacity" in names:
        options["capacity"] = (
            warmup(config.capacity, config.capacity_steps) if config.capacity else None
        )
    if "discriminator" in names or config.objective == "perceptual":
        options["seed"] = config.seed
    if config.objective == "beta-tc":
        options["rows"] = _required(rows)
    return _CLASSES[config.objective](vae, **options)


def _required(rows: int | None) -> int:
    if rows is None:
        raise ValueError(
            "objective beta-tc must know the number of training rows; got none. Give build_objective(..., rows=N)."
        )
    return rows


def _beta(config: TrainConfig) -> Schedule:
    if config.beta_schedule == "cyclic":
        return cyclic(config.beta, config.warmup or 0, cycles=config.cycles)
    rising = cosine if config.beta_schedule == "cosine" else warmup
    return rising(config.beta, config.warmup or 0)
