"""The metrics of a model on rows: what each is computed from, and how it is shown.

Who only shows them waits for no torch: what computes is imported as it does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from variform.evaluation.standard_error import HIGH_K, Estimate

if TYPE_CHECKING:
    from torch import Tensor

    from variform.data.dataset import Dataset
    from variform.data.schema import Schema
    from variform.evaluation.log_likelihood import Scores
    from variform.model.vae import VAE


DATA_UNITS = "data units"


@dataclass(frozen=True)
class Scored:
    """What a metric is computed from.

    Args:
        vae: The model.
        data: The rows.
        scores: What `score` found of them.
        samples: k, importance samples per row of these scores.
        seed: Seed of the binarisation, where the data ask for one.
    """

    vae: "VAE"
    data: "Dataset"
    scores: "Scores"
    samples: int
    seed: int = 0


@dataclass(frozen=True)
class Metric:
    """What one metric is, as evaluation, tables, records and comparisons ask it.

    Args:
        label: Its name in tables.
        short: Its name above a column, in a table of several runs; by default the label.
        meaning: What it is, in a sentence or two for whoever does not know it.
        word: Its heading in the glossary; empty where there is none.
        formula: Its tag in formulas.md; empty where it is a plain mean.
        unit: Its unit; empty where the label says it or it has none, `DATA_UNITS` where it is that of the data.
        of: The estimate as plain values; None where this model or these data have no such number.
        of_q: Whether it changes with q(z|x): it then stands beside a refined q(z|x) as well.
        in_brief: Whether `variform info` shows it.
        lower_is_better: Whether runs are ranked from the lowest on; None where neither end is better.

    Example:
        >>> METRICS["nll"].name(), METRICS["nll"].lower_is_better
        ('NLL (nats)', True)
    """

    label: str
    unit: str
    of: Callable[[Scored], dict[str, Any] | None]
    of_q: bool = True
    in_brief: bool = True
    lower_is_better: bool | None = None
    short: str = ""
    meaning: str = ""
    word: str = ""
    formula: str = ""

    def name(self, data_unit: str = "") -> str:
        """Label and unit.

        Args:
            data_unit: That of all columns, where they have one.

        Example:
            >>> METRICS["reconstruction_error"].name("mm"), METRICS["reconstruction_error"].name()
            ('reconstruction error, RMS (mm)', 'reconstruction error, RMS (data units)')
        """
        return self._with_unit(self.label, data_unit)

    def column(self, data_unit: str = "") -> str:
        """Above a column: short label and unit; `data_unit` as of `name`."""
        return self._with_unit(self.brief, data_unit)

    @property
    def brief(self) -> str:
        """The short label."""
        return self.short or self.label

    def _with_unit(self, label: str, data_unit: str) -> str:
        unit = data_unit if data_unit and self.unit == DATA_UNITS else self.unit
        return f"{label} ({unit})" if unit else label


def mean(values: "Tensor") -> dict[str, Any]:
    """The mean of one number a row (N,), with its standard error."""
    return Estimate.of(values).to_dict()


def measured(scored: Scored, *, of_q: bool) -> dict[str, Any]:
    """The metrics that there are for these rows, of those that change with q(z|x) or of the others."""
    asked = {key: metric.of(scored) for key, metric in METRICS.items() if metric.of_q is of_q}
    return {key: estimate for key, estimate in asked.items() if estimate is not None}


def _nll(scored: Scored) -> dict[str, Any]:
    found = mean(-scored.scores.log_px) | {"samples": scored.samples}
    return found | {"is_exact": True} if scored.scores.is_exact else found


def _high_pareto_k(scored: Scored) -> dict[str, Any] | None:
    from variform.evaluation.log_likelihood import reliability

    return reliability(scored.scores.pareto_k, scored.samples).get("high_pareto_k")


def _bits_per_dim(scored: Scored) -> dict[str, Any] | None:
    from variform.evaluation.log_likelihood import bits_per_dim

    schema = scored.data.schema
    has_levels = schema.kind == "image" and schema.seen_levels and not schema.gaps
    if not has_levels or is_only_cross_entropy(scored.vae, schema):
        return None
    return bits_per_dim(scored.vae, schema, -scored.scores.log_px).to_dict()


def _reconstruction_error(scored: Scored) -> dict[str, Any]:
    return Estimate.root_mean(
        scored.scores.squared_error, gaps=bool(scored.data.schema.gaps)
    ).to_dict()


def _accuracy(scored: Scored) -> dict[str, Any] | None:
    if scored.vae.classifier is None or scored.data.labels is None:
        return None
    from variform.evaluation.latents import hits

    return mean(hits(scored.vae, scored.data, seed=scored.seed))


def is_only_cross_entropy(vae: "VAE", schema: "Schema") -> bool:
    """Whether a probability of zeros and ones meets other values."""
    is_probability = vae.likelihood.support == "unit" and not vae.likelihood.is_density
    return is_probability and schema.seen_levels != 2


METRICS: dict[str, Metric] = {
    "elbo": Metric(
        "ELBO",
        "nats",
        lambda scored: mean(scored.scores.elbo),
        lower_is_better=False,
        meaning="The evidence lower bound: the log-likelihood term minus KL(q(z|x) || p(z)). log p(x) is never below "
        "it, and training makes it as large as it can.",
        formula="elbo",
        word="ELBO",
    ),
    "log_likelihood": Metric(
        "log-likelihood term",
        "nats",
        lambda scored: mean(scored.scores.log_likelihood),
        meaning="How probable a row is under the decoder at the codes that the encoder gives it, E[log p(x|z)]: the "
        "part of the ELBO that asks for good reconstructions.",
        word="log-likelihood term",
    ),
    "kl": Metric(
        "KL(q(z|x) || p(z))",
        "nats",
        lambda scored: mean(scored.scores.kl),
        short="KL",
        meaning="How far the code of a row is from the prior, which is how much it says of the row. 0 means that the "
        "latents say nothing.",
        word="KL",
        formula="kl-diagonal",
    ),
    "nll": Metric(
        "NLL",
        "nats",
        _nll,
        lower_is_better=True,
        meaning="-log p(x), estimated with k importance samples a row: how improbable unseen rows are under the model. "
        "Of values that are real numbers it is a density and may be negative; only differences count.",
        formula="importance-sampling",
        word="NLL",
    ),
    "posterior_gap": Metric(
        "gap KL(q(z|x) || p(z|x))",
        "nats",
        lambda scored: mean(scored.scores.log_px - scored.scores.elbo),
        in_brief=False,
        lower_is_better=True,
        meaning="How far the ELBO lies below log p(x): what the encoder's q(z|x) misses of the true posterior p(z|x).",
        word="gap",
    ),
    "ess": Metric(
        "effective importance samples",
        "",
        lambda scored: mean(scored.scores.ess),
        in_brief=False,
        lower_is_better=False,
        meaning="How many of the k importance samples of a row really count towards its NLL; a few of many mean that "
        "q(z|x) fits badly.",
        word="effective importance samples",
    ),
    "high_pareto_k": Metric(
        f"share of rows with Pareto k > {HIGH_K}",
        "",
        _high_pareto_k,
        lower_is_better=True,
        short=f"rows with Pareto k > {HIGH_K}",
        meaning="The share of rows whose NLL a few importance weights decide, so that their true NLL is lower than the "
        "estimate.",
        word="Pareto k",
        formula="pareto-k",
    ),
    "bits_per_dim": Metric(
        "bits per dimension",
        "",
        _bits_per_dim,
        lower_is_better=True,
        meaning="The NLL as bits for each value of an image, so that images of different sizes can be compared.",
        formula="bits-per-dim",
        word="bits per dimension",
    ),
    "reconstruction_error": Metric(
        "reconstruction error, RMS",
        DATA_UNITS,
        _reconstruction_error,
        of_q=False,
        lower_is_better=True,
        short="error, RMS",
        meaning="The root of the mean squared difference between rows and what the model makes of their codes, in the "
        "units of the data.",
        word="reconstruction error",
    ),
    "accuracy": Metric(
        "share of labels that the classifier finds",
        "",
        _accuracy,
        of_q=False,
        lower_is_better=False,
        meaning="Of the rows with a known label, the share for which the classifier of the model names that one.",
    ),
}
"""By the key under which it stands in evaluation.json, in the order of the tables."""
