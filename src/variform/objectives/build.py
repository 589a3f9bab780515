"""From a configuration to an objective."""

from typing import Any

from variform.config.checks import Count, checked
from variform.config.training import TrainConfig
from variform.model.vae import VAE
from variform.objectives import (
    DIPVAE,
    ELBO,
    IWAE,
    PIWAE,
    WAE,
    Autoencoder,
    BetaTCVAE,
    Corruption,
    FactorVAE,
    InfoVAE,
    Objective,
    Schedule,
    SemiSupervised,
    cosine,
    cyclic,
    warmup,
)


@checked
def build_objective(vae: VAE, config: TrainConfig, *, rows: Count | None = None) -> Objective:
    """The objective that a training configuration describes, with its schedules and the noise on the encoder's input.

    Args:
        vae: What is trained; its schema, if any, gives the range of the data that noise stays in.
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
    objective = _build_objective(vae, config, rows)
    if config.noise != "none":
        objective.corruption = Corruption.of(config.noise, config.noise_level, vae.schema)
    return objective


def _build_objective(vae: VAE, config: TrainConfig, rows: int | None) -> Objective:
    options: dict[str, Any] = {"samples": config.samples}
    # Where None is given the objective has a default of its own.
    names = ("alpha", "gamma", "penalty", "penalty_diagonal")
    own = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    weighted: dict[str, Any] = {**options, "beta": _beta(config)}
    if config.objective in ("iwae", "piwae"):
        options |= {"groups": config.groups, "gradient": config.gradient}
        return (
            PIWAE(vae, **options) if config.objective == "piwae" else IWAE(vae, elbo_share=config.elbo_share, **options)
        )
    if config.objective == "beta-tc":
        if rows is None:
            raise ValueError(
                "objective beta-tc must know the number of training rows; got none. Give build_objective(..., rows=N)."
            )
        return BetaTCVAE(vae, rows=rows, **weighted, **own)
    if config.objective == "m2":
        return SemiSupervised(vae, kl=config.kl, **weighted, **own)
    if config.objective == "autoencoder":
        return Autoencoder(vae)
    if config.objective == "wae":
        return WAE(vae, deterministic=config.deterministic, **options, **own)
    if config.objective == "info":
        return InfoVAE(vae, kl=config.kl, **options, **own)
    if config.objective == "factor":
        return FactorVAE(vae, discriminator=config.discriminator, seed=config.seed, kl=config.kl, **weighted, **own)
    if config.objective in ("dip-i", "dip-ii"):
        return DIPVAE(vae, kind="i" if config.objective == "dip-i" else "ii", kl=config.kl, **weighted, **own)
    capacity = warmup(config.capacity, config.capacity_steps) if config.capacity else None
    return ELBO(vae, kl=config.kl, free_bits=config.free_bits, capacity=capacity, **weighted, **own)


def _beta(config: TrainConfig) -> Schedule:
    if config.beta_schedule == "cyclic":
        return cyclic(config.beta, config.warmup, cycles=config.cycles)
    return (cosine if config.beta_schedule == "cosine" else warmup)(config.beta, config.warmup)
