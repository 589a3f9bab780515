"""Illnesses of the latents and of the encoder: too narrow, badly predicted, unused, or not where the prior draws."""

from collections.abc import Sequence
from typing import Any

from variform.evaluation.illnesses.finding import Case, Finding
from variform.evaluation.illnesses.training import FAR, is_collapsed
from variform.evaluation.standard_error import HIGH_K

SOME_ROWS, MOST_ROWS = 0.1, 0.5
"""Shares of rows with a high Pareto k: below the first where q(z|x) fits; above the second NLL is no estimate."""
ENOUGH_STEPS = (
    50  # of refining q(z|x): four times as many moved the NLL of static MNIST by no more than .1
)
UNPREDICTED = 0.25
"""The share of the KL term from which on what an encoder leaves to a q(z|x) of each row's own is much, and its least
nats."""
UNUSED = 0.2
"""The share of the KL term from which on what another prior would save is much, and its least nats."""
_LEAST = 0.5


def distrusted(numbers: Any) -> float:
    """The share of rows whose log p(x) cannot be trusted; 0 where nothing is known.

    Where most weights are equal, a k above 0.7 is that of the little by which they differ: of a q(z|x) that is too
    narrow they never are.

    Example:
        >>> estimate = {"nll": {"samples": 1000}, "high_pareto_k": {"mean": 0.9}}
        >>> distrusted({**estimate, "ess": {"mean": 15.0}}), distrusted({**estimate, "ess": {"mean": 990.0}})
        (0.9, 0.0)
    """
    share = numbers.get("high_pareto_k", {}).get("mean") or 0.0
    is_even = share > 0 and (numbers["ess"]["mean"] or 0.0) > numbers["nll"]["samples"] / 2
    return 0.0 if is_even else share


def posterior_misses(case: Case) -> Sequence[Finding]:
    """Importance sampling that fails for most rows, with the refined q(z|x) if there is one."""
    refined = case.numbers.get("refined")
    share = distrusted(refined or case.numbers)
    if share <= MOST_ROWS:
        return _some_rows(case)
    samples = case.numbers["nll"]["samples"]
    steps = refined["steps"] if refined else 0
    where = f", also after {steps} steps of refining it," if refined else ""
    advice, options = _how_to_reach(case, steps)
    return [
        Finding(
            "narrow-posterior",
            "hint" if case.is_point else "warning",
            f"The NLL is not to be trusted, and neither is the gap: for {share:.0%} of the rows a few of the "
            f"{samples:,} importance weights decide it (Pareto k above {HIGH_K}). q(z|x){where} misses a part of "
            "p(z|x), and the true NLL is lower by an unknown amount.",
            advice,
            "find out what the NLL is, as the warning says",
            options,
            {"high_pareto_k": share},
        )
    ]


def _some_rows(case: Case) -> Sequence[Finding]:
    """Rows that are too few to distrust the mean; `distrusted` is of the encoder's q(z|x)."""
    share = distrusted(case.numbers)
    if case.is_point or not SOME_ROWS < share <= MOST_ROWS:
        return []
    return [
        Finding(
            "narrow-posterior",
            "hint",
            f"For {share:.0%} of the rows a few importance weights decide the NLL (Pareto k above {HIGH_K}): there the "
            "true NLL is lower, mostly by little.",
            f"Evaluate with `refine={ENOUGH_STEPS}`.",
            f"evaluate with `refine={ENOUGH_STEPS}`, since Pareto k is above {HIGH_K} for {share:.0%} of the rows",
            [{"refine": ENOUGH_STEPS}],
            {"high_pareto_k": share},
        )
    ]


def _how_to_reach(case: Case, steps: int) -> tuple[str, list[dict[str, Any]]]:
    """What brings q(z|x) closer to p(z|x) after `steps` steps of refining it."""
    beta = case.trained.beta if case.trained else 1.0
    if beta < 1:
        return (
            f"`beta={beta:g}` asks for a q(z|x) narrower than p(z|x): train with `beta=1`.",
            [{"beta": 1.0}],
        )
    if steps < ENOUGH_STEPS:
        return (
            f"More samples hardly help: evaluate with `refine={ENOUGH_STEPS}`.",
            [{"refine": ENOUGH_STEPS}],
        )
    from variform.model.spaces import space_of  # of torch, which this room is read without

    assert case.vae is not None
    if not space_of(case.vae).is_flat:
        return (
            "More steps hardly help either: p(z|x) is of another shape than the family of q(z|x), and its space has no "
            "richer one here.",
            [],
        )
    family, options = _richer(case)
    return (
        f"More steps hardly help either: p(z|x) is of another shape than the family of q(z|x). Train with {family}.",
        options,
    )


def _richer(case: Case) -> tuple[str, list[dict[str, Any]]]:
    """The families that hold more laws than a model's, and the options that ask for them."""
    from variform.model.posteriors import (
        DiagonalPosterior,
        FullCovariancePosterior,
        PlanarPosterior,
    )

    assert case.vae is not None
    model, posterior = case.model, case.vae.posterior
    if isinstance(posterior, DiagonalPosterior):
        return (
            "`posterior='full'` or `posterior='iaf'`",
            [{"posterior": "iaf"}, {"posterior": "full"}],
        )
    if isinstance(posterior, FullCovariancePosterior | PlanarPosterior):
        return "`posterior='iaf'`", [{"posterior": "iaf"}]
    if model is not None and model.latents:
        wider = [2 * width for width in model.hidden]
        return "wider `hidden`", [{"hidden": wider}]
    return "more `transforms`", [{"transforms": 2 * (model.transforms if model else 3)}]


def small_encoder(case: Case) -> Sequence[Finding]:
    """A q(z|x) of each row's own that is much better than the one that the encoder predicts."""
    found = case.sign("amortisation")
    if not found or case.is_point or is_collapsed(case.numbers):
        return []
    if case.trained is not None and case.trained.beta != 1:
        return []  # q(z|x) was not asked to be the best one
    gain = found["gain"]
    kl = case.numbers["kl"]["mean"]
    if gain["se"] is None or gain["mean"] < max(FAR * gain["se"], UNPREDICTED * kl, _LEAST):
        return []
    model = case.model
    options: list[dict[str, Any]] = []
    advice = "Train a larger encoder, or longer."
    if model is not None and model.encoder is None:
        widths = model.hidden or (64,)
        most = max([*widths, *(model.decoder_hidden or ())])
        wider = (max(4 * min(widths), most, 64),) * max(2, len(widths))
        decoder = model.decoder_hidden or tuple(reversed(model.hidden))
        options = [{"hidden": wider, "decoder_hidden": decoder}]
        advice = f"Train a larger encoder (`hidden={list(wider)}` with `decoder_hidden={list(decoder)}`), or longer."
    return [
        Finding(
            "small-encoder",
            "warning",
            f"The encoder does not find the codes that its own decoder asks for: {found['steps']} steps on each row's "
            f"own q(z|x) raise the ELBO by {gain['mean']:.3g} ± {gain['se']:.2g} nats a row (the amortisation gap), "
            f"beside a KL of {kl:.3g}.",
            advice,
            f"train a larger encoder, since the amortisation gap is {gain['mean']:.3g} nats",
            options,
            {"gain": gain["mean"], "se": gain["se"], "kl": kl},
        )
    ]


def holes(case: Case) -> Sequence[Finding]:
    """A prior that draws where no code is."""
    found = case.sign("prior")
    if not found or case.is_point or is_collapsed(case.numbers):
        return []
    gain = found["gain"]
    kl = case.numbers["kl"]["mean"]
    if gain["se"] is None or gain["mean"] < max(FAR * gain["se"], UNUSED * kl, _LEAST):
        return []
    model = case.model
    options: list[dict[str, Any]] = []
    ways = ["draw with a fitted sampler (variform sampler RUN)"]
    beta = case.trained.beta if case.trained else 1.0
    if model is not None and model.prior in ("normal", "uniform"):
        options = [{"prior": "vamp", "components": 50}, {"prior": "mixture", "components": 50}]
        ways.insert(0, "with `prior='vamp'`")
    if beta < 1:
        options.insert(0, {"beta": 1.0})
        ways.insert(0, "with `beta=1`")
    if len(ways) > 1:
        ways[0] = f"train {ways[0]}"
    advice = ", or ".join(ways)
    return [
        Finding(
            "holes",
            "warning",
            "Draws from the prior land where no code is: a mixture of Gaussians fitted to the codes of training rows "
            f"would save {gain['mean']:.3g} ± {gain['se']:.2g} nats a row of the KL term of {kl:.3g}. Generated rows "
            "are worse than reconstructed ones.",
            f"{advice[0].upper()}{advice[1:]}.",
            f"{ways[0]}, since draws from the prior land where no code is",
            options,
            {"gain": gain["mean"], "se": gain["se"], "kl": kl},
        )
    ]


def idle(case: Case) -> Sequence[Finding]:
    """Latents that say nothing: switched off by the KL term where PCA of as many is better, else not needed."""
    active = case.numbers["active_units"]
    count, of = active["count"], active["of"]
    if not 0 < count < of:
        return []
    trained = case.trained
    linear = case.numbers.get("baselines", {}).get("pca", {}).get("reconstruction_error_difference")
    is_of_squares = case.vae is not None and case.vae.likelihood.is_gaussian
    is_behind = (
        bool(linear and linear["se"] and linear["mean"] > 2 * linear["se"]) and is_of_squares
    )
    beta = trained.beta if trained else 1.0
    if not (is_behind and count <= of / 2) and beta <= 1:
        return [
            Finding(
                "idle-latents",
                "hint",
                f"{count} of {of} latent dimensions are active; the others say nothing of a row.",
                f"Train with `latent_dim={count}`.",
                f"train with `latent_dim={count}`, since the other latents say nothing of a row",
                [{"latent_dim": count}],
                {"active": count, "of": of},
            )
        ]
    options: list[dict[str, Any]] = [{"beta": 1.0}] if beta > 1 else [{"warmup": 1000}]
    way = "`beta=1`" if beta > 1 else "`warmup=1000`"
    why = (
        f"`beta={beta:g}` makes them cost more than they tell"
        if beta > 1
        else "PCA of as many rebuilds rows better"
    )
    return [
        Finding(
            "idle-latents",
            "warning",
            f"The KL term has switched latents off that the data could use: {count} of {of} latent dimensions are "
            f"active, and {why}.",
            f"Train with {way}.",
            f"train with {way}, since the KL term has switched latents off",
            options,
            {"active": count, "of": of},
        )
    ]
