"""All numbers of a model on held-out rows, and what must be said of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from variform.config.checks import Count, checked
from variform.config.training import TrainConfig
from variform.data.dataset import Dataset
from variform.evaluation.baselines import better_pca, evaluate_baselines
from variform.evaluation.illnesses import Case, as_kept, diagnose
from variform.evaluation.illnesses.latents import MOST_ROWS, SOME_ROWS, distrusted
from variform.evaluation.imputation import impute as impute
from variform.evaluation.latents import active_units
from variform.evaluation.log_likelihood import Scores, per_column, score
from variform.evaluation.metrics import Scored, is_only_cross_entropy, measured
from variform.evaluation.pareto import FEWEST_SAMPLES
from variform.evaluation.standard_error import HIGH_K, Estimate
from variform.evaluation.tables import PCAS, has_two_metrics
from variform.evaluation.verdict import said
from variform.model.codes import QuantisingPosterior
from variform.model.vae import VAE, HasVAE, vae_of


@checked
def evaluate(
    vae: VAE | HasVAE,
    data: Dataset,
    train: Dataset | None = None,
    *,
    samples: Count = 1000,
    refine: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Held-out numbers of a trained VAE with standard errors over examples, as plain values ready for JSON.

    Densities are in the units that `Schema.log_jacobian` states. `posterior_gap` is -ELBO - NLL, an estimate of
    KL(q(z|x) || p(z|x)), the third term of log p(x) = ELBO + KL(q(z|x) || p(z|x)).

    Args:
        vae: The model: a VAE, a `Model` or a run.
        data: Rows that were not trained on.
        train: Training rows; with them PCA of the same dimension and the trivial model are fitted and scored beside.
        samples: k, importance samples per example for the NLL.
        refine: Score the rows once more, with q(z|x) of each improved by this many steps, as `score` does.
        seed: Seed of every draw.
        progress: Show a progress bar on a terminal.

    Returns:
        A dict with elbo, log_likelihood, kl, nll, posterior_gap (nats), kl_per_dimension (None where KL does not split
        into dimensions), kl_by_level of a model of several latents (z_1's first; they add up to kl), active_units with
        the variance of each posterior mean,
        reconstruction_error (root mean square, in the data's own units), bits_per_dim for images of discrete
        levels, accuracy of a model with a classifier, ess (effective number of importance samples), high_pareto_k
        (share of rows whose Pareto k is above 0.7, with 25 samples or more), baselines, warnings (sentences that stand
        first wherever the numbers are shown), notes, unit (of densities) and data_unit (of the error; "" where columns
        have several, or none); every estimate is {"mean", "se", "n"}. With `refine` also refined:
        steps, and the densities of the refined q(z|x); their NLL is an estimate of the same log p(x)
        and the ELBO is what the decoder can do, not what encoder and decoder do together.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> numbers = evaluate(build_vae(ModelConfig(latent_dim=2), data.schema), data.test, samples=10)
        >>> sorted(numbers["elbo"])
        ['mean', 'n', 'se']
    """
    vae = vae_of(vae)
    options: dict[str, Any] = {"samples": samples, "seed": seed}
    scores = score(vae, data, **options, progress=progress)
    refined = score(vae, data, **options, refine=refine, progress=progress) if refine else None
    baselines = None if train is None else evaluate_baselines(vae, data, train, scores, seed=seed)
    return summary(vae, data, scores, baselines, refined=refined, refine=refine, **options)


def summary(
    vae: VAE,
    data: Dataset,
    scores: Scores,
    baselines: dict[str, dict[str, Any]] | None = None,
    *,
    samples: int,
    refined: Scores | None = None,
    refine: int = 0,
    seed: int = 0,
    trained: TrainConfig | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    signs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What `evaluate` gives, from scores of the rows that are there already.

    Args:
        vae: The model.
        data: The rows.
        scores: What `score` found of them.
        baselines: What `baselines.evaluate_baselines` found for these scores.
        samples: k of these scores.
        refined: What `score` found of them with a refined q(z|x).
        refine: Its steps.
        seed: Seed of the binarisation, where the data ask for one.
        trained: How the model was trained, where that is known: warnings then say what to change.
        history: How the training went, one mapping per epoch, as `training.History.rows`.
        signs: What `illnesses.signs` measured, by which more illnesses are told.
    """
    scored = Scored(vae, data, scores, samples, seed)
    split = scores.kl_per_dimension
    result: dict[str, Any] = {
        "unit": "nats",
        "data_unit": data.schema.common_unit,
        **measured(scored, of_q=True),
        "kl_per_dimension": None if split is None else _by_column(split),
        **({} if scores.kl_by_level is None else {"kl_by_level": _by_column(scores.kl_by_level)}),
        "active_units": active_units(scores.means) | {"of": vae.latent_dim},
        **measured(scored, of_q=False),
    }
    schema = data.schema
    if refined is not None:
        again = Scored(vae, data, refined, samples, seed)
        result["refined"] = {"steps": refine, **measured(again, of_q=True)}
    if schema.kind == "table":
        result["reconstruction_error_per_column"] = per_column(schema, scores.squared_error)
    if baselines is not None:
        result["baselines"] = {
            name: _without_rows(baseline) for name, baseline in baselines.items()
        }
    if signs is not None:
        result["signs"] = dict(signs)
    findings = diagnose(Case(result, vae, trained, history))
    result["findings"] = as_kept(findings)
    result["warnings"] = said(findings)
    result["notes"] = _notes(vae, data, result)
    return result


def _without_rows(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if name != "rows"}


def _by_column(values: Tensor) -> list[dict[str, Any]]:
    return [Estimate.of(column).to_dict() for column in values.T]


def _notes(vae: VAE, data: Dataset, numbers: dict[str, Any]) -> list[str]:
    """What a reader must know before comparing the numbers."""
    schema, notes = data.schema, []
    if is_only_cross_entropy(vae, schema):
        notes.append(
            "The Bernoulli likelihood of grey values is a cross-entropy, not the probability of any data: compare it "
            "only with models of the same unbinarised data, never with published binarised figures."
        )
    if "bits_per_dim" in numbers and vae.likelihood.is_density:
        notes.append(
            f"Densities are per pixel intensity in [0, 1]. Bits per dimension treat one of {schema.seen_levels} levels "
            "as an interval of the density, without dequantisation: an approximation, not a bound."
        )
    notes += _notes_on_importance_sampling(numbers)
    if isinstance(vae.posterior, QuantisingPosterior) and not numbers["nll"].get("is_exact"):
        notes.append(
            "NLL is -ELBO, a bound: q(z|x) is one code, and other codes can only add to p(x)."
        )
    if numbers["kl_per_dimension"] is None:
        notes.append(
            "KL does not split into latent dimensions under this posterior and prior: latents are ordered by the "
            "variance of their posterior means."
        )
    active = numbers["active_units"]
    if 0 < active["count"] < active["of"] / 2:
        notes.append(
            f"Only {active['count']} of {active['of']} latent dimensions are active: the others say nothing of a row, "
            "so that fewer latents would do, or the KL term keeps them from being used."
        )
    if vae.context_dim and "baselines" in numbers:
        notes.append(
            "The model is given the condition of each row; PCA and the trivial model are not."
        )
    notes += [
        baseline["note"] for baseline in numbers.get("baselines", {}).values() if "note" in baseline
    ]
    if schema.kinds:
        notes.append(
            "FAMD is PCA for a mixed table and gives reconstructions but no probabilities; the trivial model has "
            "independent columns. Reconstruction errors of all columns together mix their units."
        )
    if any(schema.spikes):
        notes.append(
            "Rows drawn from the prior hold single values that many rows share about as often as the data; rows of the "
            "sampler posterior do so more exactly: variform sampler RUN --kind posterior."
        )
    if any(schema.gaps) and "baselines" in numbers:
        notes.append(
            "Where cells are missing, PCA and FAMD are fitted by EM to what is observed, and reconstruct a row as is "
            "expected given what is observed of it; errors and densities are those of observed cells."
        )
    return [*notes, *_on_pca(vae, numbers.get("baselines", {}))]


def _on_pca(vae: VAE, baselines: dict[str, Any]) -> list[str]:
    """Which PCA is the better one, and what is compared where the VAE does not minimise squares."""
    notes = []
    if has_two_metrics(baselines):
        words = {"reconstruction_error": "reconstruction error", "nll": "NLL"}
        better = {words[measure]: better_pca(baselines, measure) for measure in words}
        remarks = [
            f"{PCAS[name]} has the lower {measure}" for measure, name in better.items() if name
        ]
        notes.append(
            f"PCA depends on the units of the columns, and stands here in two: {' and '.join(remarks)}."
        )
    if "pca" in baselines and not vae.likelihood.is_gaussian:
        notes.append(
            "PCA minimises the squared error of these very values and has no probability of them: beside this "
            "likelihood its error can be compared, and there is no NLL."
        )
    return notes


def _notes_on_importance_sampling(numbers: dict[str, Any]) -> list[str]:
    """Lesser remarks on the NLL; the graver ones are warnings."""
    notes = []
    samples = numbers["nll"]["samples"]
    if numbers["nll"].get("is_exact"):
        notes.append("NLL is exact, and so is the ELBO: sums over all values of the codes.")
    elif "high_pareto_k" not in numbers:
        notes.append(
            f"NLL is of {samples} importance samples a row, too few to tell how far it can be trusted: that takes "
            f"{FEWEST_SAMPLES} or more."
        )
    elif SOME_ROWS < distrusted(numbers) <= MOST_ROWS:
        notes.append(
            f"Pareto k is above {HIGH_K} for {distrusted(numbers):.0%} of the rows: there the true NLL is lower than "
            f"NLL({samples:,}), mostly by little. An evaluation with `refine=50` comes closer to it."
        )
    if "refined" in numbers:
        notes.append(
            f"The refined q(z|x) is one for every row, {numbers['refined']['steps']} steps from the encoder's: its NLL "
            "is an estimate of the same log p(x), its ELBO the decoder's at its best, not that of encoder and decoder."
        )
    return notes
