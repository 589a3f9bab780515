"""The samplers of a run."""

from pathlib import Path
from typing import Any, Literal

from variform.config.checks import Count, checked
from variform.config.choices import SamplerKind
from variform.evaluation import samplers
from variform.evaluation.verdict import collapsed, placed
from variform.export.sampler_file import load_sampler, save_sampler
from variform.model import fitted_priors
from variform.model.vae import VAE
from variform.runs.folder import SAMPLER_FILES, ModelFile, Run
from variform.system import locks
from variform.system.files import write_json


def warned(run: Run) -> list[str]:
    """What must be said before anything that comes out of a run's latents: that they hold nothing, if it is so."""
    if isinstance(run, ModelFile) or not (run.folder / "evaluation.json").is_file():
        return []
    try:
        return placed(collapsed(run.vae, run.evaluation, run.config.train), run.folder)
    except ValueError as error:  # a damaged file, which is no reason to refuse the model
        return [str(error)]


@checked
def sampler_file(run: Run, kind: SamplerKind) -> Path:
    """Where a run keeps its sampler of a kind."""
    return run.folder / SAMPLER_FILES[kind]


@checked
def fit_sampler(
    run: Run, kind: SamplerKind, *, samples: Count = 1000, seed: int = 0, progress: bool = False
) -> dict[str, Any]:
    """Fit a sampler to a run's model, save it with the run, and compare all samplers that the run has.

    Args:
        run: The run.
        kind: Its name in `samplers.SAMPLERS`.
        samples: Importance samples per test row.
        seed: Seed of the fit and of the comparison.
        progress: Show progress bars on a terminal.

    Returns:
        What `samplers.compare` gives, with the facts of each fit; it is also in samplers.json.

    Raises:
        HeldError: when another process writes into the run's folder.
        ValueError: when the run's data have changed.
    """
    with locks.held(run.folder):
        return _fit_sampler(run, kind, samples, seed, progress)


def _fit_sampler(
    run: Run, kind: SamplerKind, samples: int, seed: int, progress: bool
) -> dict[str, Any]:
    splits = run.data()
    fitted = samplers.SAMPLERS[kind].fit(
        run.vae, splits.train, splits.valid, seed=seed, progress=progress
    )
    save_sampler(fitted, run.vae, sampler_file(run, kind))
    there = [other for other in samplers.SAMPLERS if sampler_file(run, other).is_file()]
    loaded = {other: load_sampler(sampler_file(run, other), run.vae) for other in there}
    priors: dict[str, Any] = {name: sampler.prior for name, sampler in loaded.items()}
    numbers = samplers.compare(
        run.vae, priors, splits, samples=samples, seed=seed, progress=progress
    )
    for name, sampler in loaded.items():
        numbers["samplers"][name]["fit"] = sampler.facts
    numbers["warnings"] = [*warned(run), *numbers["warnings"]]
    write_json(run.folder / "samplers.json", numbers)
    return numbers


@checked
def with_sampler(run: Run, kind: Literal["prior", SamplerKind], temperature: float = 1.0) -> VAE:
    """The run's model under one of its samplers, at a temperature.

    Args:
        run: The run.
        kind: `prior` for the model's own.
        temperature: See `samplers.tempered`.

    Raises:
        FileNotFoundError: where the run has no such sampler yet.
        ValueError: for a sampler of other weights, a damaged file, or a temperature that is not above 0.
    """
    prior = run.vae.prior
    if kind != "prior":
        if not sampler_file(run, kind).is_file():
            raise FileNotFoundError(
                f"the sampler must be fitted first; {run.folder} has no {sampler_file(run, kind).name}. "
                f"Fit it with variform sampler {run.folder} --kind {kind}."
            )
        prior = load_sampler(sampler_file(run, kind), run.vae).prior
    if temperature != 1:
        prior = fitted_priors.TemperedPrior(prior, temperature)
    return run.vae.with_prior(prior)
