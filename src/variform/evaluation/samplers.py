"""Samplers: laws over z that are fitted to where a trained model puts its data, and take the place of its prior.

After training, p(z) and the aggregated posterior $q(z) = \\tfrac1N \\sum_n q(z|x_n)$ differ: the prior draws from
regions that the decoder never saw. A sampler is a prior in all respects, so that `vae.with_prior(sampler.prior)` is a
model with samples and a log-likelihood of its own.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from variform.config.checks import checked
from variform.config.choices import SamplerKind
from variform.data.dataset import Dataset, Splits
from variform.data.schema import Schema
from variform.evaluation import exploration
from variform.evaluation.log_likelihood import Scores, reliability, score_under
from variform.evaluation.samples import (
    LEAST_ROWS,
    compare_samples,
    perfect_coverage,
    piles,
    tell_apart,
)
from variform.evaluation.standard_error import Estimate
from variform.model.fitted_priors import (
    GaussianMixturePrior,
    PosteriorMixturePrior,
    ScaledFlowPrior,
)
from variform.model.spaces import require_flat
from variform.model.vae import VAE, evaluating
from variform.system.compiling import eager
from variform.system.draws import seeded
from variform.system.memory import keep_freed
from variform.system.progress import progress_bar

COMPONENTS = (*range(1, 11), 12, 15, 20, 25, 30, 40, 50)
"""Numbers of components that are tried, in this order, until the BIC has not fallen for some of them."""
_WORSE_IN_A_ROW = 3
# First guesses of a mixture; the best fit wins; where the rows are many, fits differ little and take minutes.
_GUESSES, _MANY_ROWS = 3, 10_000
_ENCODED = 1024  # rows at once
_ROUND, _PASSES = 100, 4  # at least so many steps and passes between two looks at the held-out rows
_ROUNDS, _PATIENCE = 20, 10  # most rounds; rounds in vain
_BATCH, _LARGE_BATCH = 256, 1024  # of many rows, where the cost of a step is shared by more of them
_LEARNING_RATE = 5e-3  # falls along half a cosine
_MOST_POSTERIORS = 5000  # of which every density is a sum
_INSTEAD = "Draw from the prior; one that is learned lies where the codes are."
_HELD_OUT_DRAWS = 2000  # at least this many points, where there are fewer rows
_THOROUGH, _FEW_SAMPLES = 1000, 50  # rows that get all importance samples; samples of the others
_FLOATS_AT_ONCE = 2**25  # of the decoder's output
_FEATURES, _PCA_ROWS = 50, 10_000
_TOLD, _NAMED = 0.6, 8  # an accuracy that is worth a word, and columns in it


@checked
@dataclass(frozen=True, repr=False)
class Sampler:
    """A fitted law over z.

    Args:
        kind: Its name in `SAMPLERS`.
        prior: The law, as a prior of a VAE.
        facts: What the fit found, as plain values.
    """

    kind: SamplerKind
    prior: nn.Module
    facts: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        facts = (
            f"{name}={value}" for name, value in self.facts.items() if not isinstance(value, dict)
        )
        return f"Sampler({', '.join([self.kind, *facts])})"


def aggregated_posterior(vae: VAE, data: Dataset, *, draw: bool = True, seed: int = 0) -> Tensor:
    r"""One draw from q(z|x) of every row, in order: N draws from $\tfrac1N \sum_n q(z|x_n)$; (N, latent_dim), float64.

    Args:
        vae: The model.
        data: The rows; all are used.
        draw: Draw from q(z|x); its means alone would be narrower than what the decoder was trained on.
        seed: Seed of the draws.

    Reference:
        Hoffman and Johnson (2016).

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> points = aggregated_posterior(build_vae(ModelConfig(latent_dim=2), data.schema), data.train)
        >>> len(points) == len(data.train)
        True
    """
    return torch.from_numpy(
        exploration.encode(vae, data, draw=draw, seed=seed)[0]
    ).double()  # eq: aggregated-posterior


@checked
def fit_mixture(
    vae: VAE,
    train: Dataset,
    valid: Dataset | None = None,
    *,
    components: Sequence[int] = COMPONENTS,
    seed: int = 0,
    progress: bool = False,
) -> Sampler:
    r"""A mixture of Gaussians on the aggregated posterior, by expectation maximisation; the BIC chooses their number.

    $\text{BIC} = p \log N - 2 \log L$ with p free parameters; the least wins. Sizes are tried in the given order; after
    three in a row without a better one the others are left out.

    Args:
        vae: The model.
        train: Its training rows.
        valid: Not looked at, for the BIC holds no rows out.
        components: Numbers of components to try, rising.
        seed: Seed of the draws and of the fit's first guesses.
        progress: Show a progress bar on a terminal.

    Returns:
        A sampler whose `facts` are components, bic by number of components, converged, rows and seed.

    Raises:
        ValueError: where there are fewer rows than the least number of components.

    Reference:
        Schwarz (1978) for the BIC; Ghosh et al. (2020), section 4, for a density fitted after training.
    """
    require_flat(vae, "a sampler", _INSTEAD)
    from sklearn.exceptions import (
        ConvergenceWarning,
    )  # here, for importing scikit-learn takes as long as torch
    from sklearn.mixture import GaussianMixture

    points = aggregated_posterior(vae, train, seed=seed).numpy()
    possible = [count for count in components if count <= len(points)]
    if not possible:
        raise ValueError(
            f"a mixture needs as many rows as components; got {len(points)} rows. Use more rows."
        )
    bic: dict[int, float] = {}
    best, chosen, best_model = math.inf, 0, None
    guesses = _GUESSES if len(points) <= _MANY_ROWS else 1
    with progress_bar(progress) as bar:
        task = bar.add_task("fitting mixtures", total=sum(possible))
        for count in possible:
            model = GaussianMixture(count, n_init=guesses, max_iter=500, random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the facts say it
                model.fit(points)
            bic[count] = float(model.bic(points))  # eq: bic
            if bic[count] < best:
                best, chosen, best_model = bic[count], count, model
            bar.advance(task, count)
            if min(list(bic.values())[-_WORSE_IN_A_ROW:]) > best:
                break
    assert best_model is not None
    prior = GaussianMixturePrior(vae.latent_dim, components=chosen).double()
    prior.logits.copy_(torch.from_numpy(best_model.weights_).log())
    prior.loc.copy_(torch.from_numpy(best_model.means_))
    prior.scale_tril.copy_(torch.linalg.cholesky(torch.from_numpy(best_model.covariances_)))
    facts = {
        "components": chosen,
        "bic": {str(count): value for count, value in bic.items()},
        "converged": bool(best_model.converged_),
        "rows": len(points),
        "seed": seed,
    }
    return Sampler("gmm", like_model(vae, prior), facts)


@checked
def fit_flow(
    vae: VAE,
    train: Dataset,
    valid: Dataset,
    *,
    transforms: int = 3,
    hidden: tuple[int, ...] = (64, 64),
    rounds: int = _ROUNDS,
    seed: int = 0,
    progress: bool = False,
) -> Sampler:
    r"""A flow on the aggregated posterior, by Adam on $-\log p(z)$; the validation rows say when to stop.

    Each pass over the rows draws z afresh, so that the flow cannot learn single draws by heart; a round, of at least
    100 steps and 4 passes, encodes the rows once. The learning rate falls to zero along half a cosine over all rounds.
    After each the flow is scored on draws of the validation rows; ten rounds without a better score end the fit, and
    the weights of the best round are kept.

    Args:
        vae: The model.
        train: Its training rows.
        valid: Rows that decide when to stop.
        transforms: Autoregressive steps of the flow.
        hidden: Widths of the hidden layers of each step.
        rounds: Most rounds, over which the learning rate falls.
        seed: Seed of the initial weights, of the draws and of their order.
        progress: Show a progress bar on a terminal.

    Returns:
        A sampler whose `facts` are transforms, hidden, valid_nll (of z, in nats), rounds, best_round, rows and seed.

    Reference:
        Ghosh et al. (2020), section 4, for a density fitted after training.
    """
    require_flat(vae, "a sampler", _INSTEAD)
    many = math.ceil(_HELD_OUT_DRAWS / len(valid))
    held_out = vae.like(
        torch.cat([aggregated_posterior(vae, valid, seed=seed + draw) for draw in range(many)])
    )
    keep_freed()
    with seeded(seed), progress_bar(progress) as bar:
        task = bar.add_task("fitting a flow, at most", total=rounds)
        prior = like_model(
            vae, ScaledFlowPrior(vae.latent_dim, transforms=transforms, hidden=hidden)
        )
        points = aggregated_posterior(vae, train, seed=seed)
        prior.loc.copy_(points.mean(0))
        prior.scale.copy_(points.std(0, correction=0).clamp_min(1e-6))
        optimizer = eager(torch.optim.Adam)(prior.parameters(), lr=_LEARNING_RATE, fused=True)
        size = _BATCH if len(train) < _MANY_ROWS else _LARGE_BATCH
        passes = max(_PASSES, math.ceil(_ROUND * size / len(train)))
        steps = rounds * passes * math.ceil(len(train) / size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        best, best_round, weights, done = math.inf, 0, {}, 0
        while done < rounds and done - best_round < _PATIENCE:
            with evaluating(vae):
                fresh = vae.batches(train, _ENCODED, seed=seed + many + done)
                posteriors = [vae.encode(*rows) for rows in fresh]
            for _ in range(passes):
                z = torch.cat([q.sample() for q in posteriors])
                for batch in z[torch.randperm(len(z))].split(size):
                    loss = -prior(None).log_prob(batch).mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
            done += 1
            bar.advance(task)
            with torch.no_grad():
                nll = -prior(None).log_prob(held_out).mean().item()
            if nll < best:
                best, best_round = nll, done
                weights = {name: value.clone() for name, value in prior.state_dict().items()}
    if not weights:
        raise ArithmeticError(
            "the flow's density must be finite; it never was. Use the sampler gmm."
        )
    prior.load_state_dict(weights)
    facts = {"transforms": transforms, "hidden": list(hidden), "valid_nll": best, "rounds": done,
             "best_round": best_round, "rows": len(train), "seed": seed}  # fmt: skip
    return Sampler("flow", prior.requires_grad_(False), facts)


@checked
def fit_posteriors(
    vae: VAE,
    train: Dataset,
    valid: Dataset | None = None,
    *,
    seed: int = 0,
    progress: bool = False,
) -> Sampler:
    r"""The aggregated posterior as it is: the mixture of q(z|x) of the training rows, all with one weight.

    Where the ELBO is stationary in the bias b of a logit of the decoder, whose x is 0 or 1,
    $\sum_n (x_n - E_{q(z|x_n)}[\sigma(b(z))]) = 0$: the mean probability under this law is the share in the training
    rows. So defaults and categories are drawn as often as the data have them. What is drawn lies where a training row
    does: look at the classifier by nearest neighbours, which falls below 1/2 for copies.

    Args:
        vae: The model; of a posterior that is no diagonal Gaussian mean and variance of each latent are taken.
        train: Its training rows, of more than 5,000 as many random ones.
        valid: Not looked at, for nothing is fitted.
        seed: Seed of the choice.
        progress: Not looked at, for it takes one pass.

    Returns:
        A sampler whose `facts` are components, rows and seed.

    Reference:
        Hoffman and Johnson (2016); Norouzi, Fleet and Norouzi (2020), who train with such a prior.
    """
    require_flat(vae, "a sampler", _INSTEAD)
    del valid, progress
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    chosen = chosen[:_MOST_POSTERIORS].sort().values
    means, stds = exploration.encode(vae, train.take(chosen), seed=seed)
    prior = PosteriorMixturePrior(vae.latent_dim, components=len(chosen)).double()
    prior.loc.copy_(torch.from_numpy(means))
    prior.log_var.copy_(2 * torch.from_numpy(stds).double().log())
    facts = {"components": len(chosen), "rows": len(train), "seed": seed}
    return Sampler("posterior", like_model(vae, prior), facts)


@dataclass(frozen=True)
class SamplerFacts:
    """What one kind of sampler is, as everything else asks it.

    Args:
        name: What the explorer page calls its law.
        fit: Fits it; called with the model, its training rows, its validation rows, `seed` and `progress`.
        prior: Its law as a module, made of the number of latents and of `sizes`.
        sizes: The facts of a fit that `prior` is made with: `int`, a number of parts, or `list`, widths of layers. A
            file that names larger ones than its weights fill is refused.
        has_flow: Whether the law is a flow, so that a file notes the version of zuko.
        detail: What a table says beside the name of the kind, with the facts of a fit in braces.

    Example:
        >>> SAMPLERS["gmm"].detail.format(components=3)
        '3 components'
    """

    name: str
    fit: Callable[..., Sampler]
    prior: Callable[..., nn.Module]
    sizes: Mapping[str, type]
    has_flow: bool = False
    detail: str = ""


SAMPLERS: dict[SamplerKind, SamplerFacts] = {
    "gmm": SamplerFacts(
        "the fitted mixture",
        fit_mixture,
        GaussianMixturePrior,
        sizes={"components": int},
        detail="{components} components",
    ),
    "flow": SamplerFacts(
        "the fitted flow",
        fit_flow,
        ScaledFlowPrior,
        sizes={"transforms": int, "hidden": list},
        has_flow=True,
    ),
    "posterior": SamplerFacts(
        "the posteriors of the training rows",
        fit_posteriors,
        PosteriorMixturePrior,
        sizes={"components": int},
        detail="{components} rows",
    ),
}
"""The kinds of samplers, in the order in which they are shown."""


def like_model(vae: VAE, prior: nn.Module) -> Any:
    """A prior with the type and on the device of a model's parameters."""
    parameter = next(vae.parameters())
    return prior.to(parameter.device, parameter.dtype)


def compare(
    vae: VAE,
    samplers: Mapping[str, nn.Module],
    splits: Splits,
    *,
    samples: int = 1000,
    most: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Log-likelihood of the test rows, and quality of samples, under the model's prior and under each sampler.

    Samples are the decoder's means for grey images, as people look at them, and draws from p(x|z) for tables and for
    images of zeros and ones. They are compared with test rows by `compare_samples`, in the space of the leading 50
    principal components of the training rows. Training rows instead of samples show what perfect samples would
    get. A conditional model gets the contexts of the test rows.

    Of more than 1,000 test rows a random 1,000 get all importance samples, and every row gets 50; the NLL of all by 50
    is corrected by the mean difference between both on these 1,000 (`Estimate.corrected`). Without bias, that estimates
    what all samples of all rows give, with a seventh of the decodes where there are 10,000 rows and 1,000 samples.

    Boosted trees try to tell them from test rows as well: rows of a table as they are written to a file, tidy and in
    their own units, images in the space of the principal components.

    Args:
        vae: The model.
        samplers: Priors by name, beside the model's own, which is called `prior`.
        splits: The data.
        samples: Importance samples per row of the NLL, see below.
        most: Most rows that are generated and compared.
        seed: Seed of every draw.
        progress: Show a progress bar on a terminal.

    Raises:
        ValueError: for fewer than 7 test rows or training rows.

    Returns:
        Where not all rows get all samples, `thorough_rows` and `samples_of_other_rows`; `samplers`: by name nll,
        nll_minus_prior (paired by rows), ess, high_pareto_k (share of rows whose NLL cannot be trusted, see
        `evaluation.pareto.pareto_k`; both of the rows with all samples) and samples (precision, recall, density,
        coverage, c2st, c2st_boosted with its p_value), each estimate {"mean", "se", "n"}, and of tables columns, by
        which `tell_apart` tells them apart, and piles; `training_rows`, the same quality of real rows;
        perfect_coverage; and warnings, what must be said first.
    """
    data, train = splits.test, splits.train
    count = min(len(data), len(train), most)
    if count < LEAST_ROWS:
        raise ValueError(
            f"samples are compared with at least {LEAST_ROWS} test rows; got {count}. Bring more rows; a sampler that "
            "was fitted is kept."
        )
    some = torch.Generator().manual_seed(seed)
    real, other = (
        rows.take(torch.randperm(len(rows), generator=some)[:count].sort().values)
        for rows in (data, train)
    )
    features = _Features(train, seed)
    target = real.prepared(seed=seed)
    gaps = target.isnan()
    judge = _Judge(splits.schema, features, target, real.contexts, seed)
    draw = splits.schema.kind == "table" or splits.schema.seen_levels == 2
    result: dict[str, Any] = {
        "unit": "nats",
        "split": "test",
        "rows": len(data),
        "importance_samples": samples,
        "compared": count,
        "decoded": "draws" if draw else "means",
        "seed": seed,
        "perfect_coverage": perfect_coverage(count),
        "samplers": {},
        "training_rows": judge(other.prepared(seed=seed + 1), same_contexts=False)["samples"],
    }
    priors = {"prior": vae.prior, **samplers}
    facts, densities = _densities(vae, priors, data, samples, seed, progress)
    result |= facts
    for name, prior in priors.items():
        generated = _generated(vae.with_prior(prior), count, real.contexts, draw, seed + 2).cpu()
        generated = torch.where(
            gaps, torch.nan, generated
        )  # rows with the gaps of those they stand beside
        result["samplers"][name] = densities[name] | judge(generated)
    result["warnings"] = [
        sentence for name in result["samplers"] for sentence in _warnings(result, name)
    ]
    return result


def _densities(
    vae: VAE,
    priors: Mapping[str, nn.Module],
    data: Dataset,
    samples: int,
    seed: int,
    progress: bool,
) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
    """What `compare` says of the NLL: which rows have how many samples, and by name the numbers."""

    def scored(samples: int, rows: Tensor | None = None) -> dict[str, Scores]:
        return score_under(
            vae, priors, data, samples=samples, only=rows, seed=seed, progress=progress
        )

    facts: dict[str, int] = {}
    rows = torch.arange(len(data))
    rough: dict[str, Scores] | None = None
    if len(data) > _THOROUGH and samples > _FEW_SAMPLES:
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        rows = order[:_THOROUGH].sort().values
        rough = scored(_FEW_SAMPLES)
        facts = {"thorough_rows": _THOROUGH, "samples_of_other_rows": _FEW_SAMPLES}
    better = scored(samples, rows) if rough else scored(samples)
    rough = rough or better

    def estimate(of_scores: Callable[[Mapping[str, Scores]], Tensor]) -> dict[str, Any]:
        return Estimate.corrected(of_scores(rough), of_scores(better), rows).to_dict()

    numbers = {}
    for name in priors:
        numbers[name] = {
            "nll": estimate(lambda scores, name=name: -scores[name].log_px),
            "nll_minus_prior": estimate(
                lambda scores, name=name: scores["prior"].log_px - scores[name].log_px
            ),
            "ess": Estimate.of(better[name].ess).to_dict(),
            **reliability(better[name].pareto_k, samples),
        }
    return facts, numbers


@dataclass(frozen=True)
class _Judge:
    """Compares rows, as the model sees them, with test rows.

    Args:
        schema: What the data are.
        features: Maps rows to their principal components.
        target: The test rows.
        contexts: What a conditional model is conditioned on in each of them.
        seed: Seed of the parts.
    """

    schema: Schema
    features: "_Features"
    target: Tensor
    contexts: Tensor | None
    seed: int

    def __call__(self, rows: Tensor, *, same_contexts: bool = True) -> dict[str, Any]:
        """Numbers of the samples; of tables also which columns tell, and piles.

        Args:
            rows: As many as there are test rows.
            same_contexts: Whether row i was generated under the context of test row i.
        """
        rows = self.schema.without_inactive(rows)
        numbers = _plain(compare_samples(self.features(rows), self.features(self.target)))
        (own, real), is_table = (
            (self._seen(some) for some in (rows, self.target)),
            self.schema.kind == "table",
        )
        names = (
            self.schema.columns
            if is_table
            else [f"PC{place}" for place in range(1, own.shape[1] + 1)]
        )
        contexts = self.contexts.numpy() if same_contexts and self.contexts is not None else None
        kinds = enumerate(self.schema.kinds)
        categorical = [place for place, kind in kinds if kind == "category"]
        accuracy, p_value, columns = tell_apart(
            own, real, names=names, categorical=categorical, contexts=contexts, seed=self.seed
        )
        qualities: dict[str, Any] = {
            "samples": numbers | {"c2st_boosted": accuracy.to_dict() | {"p_value": p_value}}
        }
        if is_table:
            qualities["columns"] = [
                asdict(column) | {"is_clear": column.is_clear} for column in columns
            ]
            qualities["piles"] = [asdict(pile) for pile in piles(own, real, names=names)]
        return qualities

    def _seen(self, rows: Tensor) -> Any:
        """What the trees see of rows, (N, D)."""
        rows = rows.cpu().double()
        if self.schema.kind == "image":
            return self.features(rows).numpy()
        return self.schema.tidy(self.schema.restore(rows)).numpy()


def _pile(pile: Mapping[str, Any]) -> str:
    real, generated = pile["real"], pile["generated"]
    return f"{pile['column']} = {pile['value']:.6g} in {real:.1%} of the test rows, {generated:.1%} of the generated"


def _warnings(numbers: Mapping[str, Any], name: str) -> list[str]:
    """What must be said first of one sampler's rows: that they can be told from real ones, and by what."""
    sampler, where = (
        numbers["samplers"][name],
        "the prior" if name == "prior" else f"the sampler {name}",
    )
    accuracy = sampler["samples"]["c2st_boosted"]
    sentences = []
    if accuracy["mean"] - 2 * accuracy["se"] > _TOLD:
        columns = [column for column in sampler.get("columns", ()) if column["is_clear"]][:_NAMED]
        named = ", ".join(
            f"{column['column']} ({column['alone']['mean']:.3f} alone)" for column in columns
        )
        given_away = f" What gives them away: {named}." if named else ""
        smooth = " Means of p(x|z) are smoother than data." if numbers["decoded"] == "means" else ""
        sentences.append(
            f"Boosted trees tell rows of {where} from test rows in a share of {accuracy['mean']:.3f} ± "
            f"{accuracy['se']:.3f}, where 1/2 is chance.{given_away}{smooth}"
        )
    if piled := sampler.get("piles", ()):
        more = f"; and {len(piled) - _NAMED} more" if len(piled) > _NAMED else ""
        named = "; ".join(map(_pile, piled[:_NAMED]))
        sentences.append(
            f"Single values that many rows hold exactly in the data but not from {where}, or the other way round: "
            f"{named}{more}."
        )
    return sentences


class _Features:
    """The leading principal components of the prepared training rows."""

    def __init__(self, train: Dataset, seed: int) -> None:
        from sklearn.decomposition import (
            PCA,
        )  # here, for importing scikit-learn takes as long as torch

        rows = (
            train.take(exploration.spread(_PCA_ROWS, len(train)))
            .prepared(seed=seed)
            .double()
            .flatten(1)
        )
        self.mean = rows.nanmean(0)
        rows = self._filled(rows)
        self.pca = PCA(min(_FEATURES, *rows.shape), random_state=seed).fit(rows.numpy())

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(
            self.pca.transform(self._filled(x.cpu().double().flatten(1)).numpy())
        )

    def _filled(self, rows: Tensor) -> Tensor:
        """The rows with the training mean where a value is missing."""
        return torch.where(rows.isnan(), self.mean, rows)


def _generated(vae: VAE, count: int, contexts: Tensor | None, draw: bool, seed: int) -> Tensor:
    """New rows as the model sees data: means of p(x|z), or draws from it."""
    with seeded(seed), evaluating(vae):
        z = vae.latent_prior().sample(torch.Size((count,)))
        size = max(1, min(1024, _FLOATS_AT_ONCE // math.prod(vae.likelihood.params_shape)))
        chunks = (
            [None] * math.ceil(count / size) if contexts is None else vae.like(contexts).split(size)
        )
        laws = (vae.decode(*chunk) for chunk in zip(z.split(size), chunks, strict=True))
        return torch.cat([law.sample() if draw else law.mean for law in laws])


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_dict() for name, estimate in estimates.items()}
