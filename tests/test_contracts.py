"""Every member of a kind through the same contract: adding one is one class and one line in a list."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from variform import VAE, ModelConfig, TrainConfig, build_objective, build_vae, read
from variform.distributions import (
    Bernoulli,
    BetaBinomial,
    Categorical,
    ContinuousBernoulli,
    DiagonalGaussian,
    DiscretisedLogistic,
    FullGaussian,
    Independent,
    Law,
    LogisticMixture,
    LogitNormal,
    LogNormal,
    Mixed,
    Mixture,
    NegativeBinomial,
    Ordinal,
    Poisson,
    PowerSpherical,
    Spiked,
    StandardNormal,
    UniformSphere,
    VonMisesFisher,
    WrappedNormal,
    ZeroInflated,
)
from variform.distributions.codes import AutoregressiveCodes, Beside, CodePoint, Codes, placed
from variform.model.codes import (
    CategoricalPosterior,
    FSQPosterior,
    JointPosterior,
    LFQPosterior,
    VQPosterior,
)
from variform.model.curved import (
    PowerSphericalPosterior,
    VonMisesFisherPosterior,
    WrappedNormalPosterior,
)
from variform.model.flows import FlowPrior, IAFPosterior, MAFPosterior
from variform.model.likelihoods import (
    BernoulliLikelihood,
    BetaBinomialLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    GaussianLikelihood,
    LogisticLikelihood,
    LogisticMixtureLikelihood,
    MixedLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    ZeroInflatedNegativeBinomialLikelihood,
    ZeroInflatedPoissonLikelihood,
)
from variform.model.networks import ACTIVATIONS, MLP
from variform.model.posteriors import DiagonalPosterior, FullCovariancePosterior, PlanarPosterior
from variform.model.priors import MixturePrior, StandardNormalPrior, VampPrior
from variform.objectives import ELBO

EVENT, DIM, BATCH, L = (1, 4, 3), 3, 5, 7
INDEX, PLACES = torch.tensor([[0, 3]] * BATCH), torch.arange(8.0).reshape(4, 2)

LAWS = {
    "von mises-fisher": lambda: VonMisesFisher(
        functional.normalize(torch.randn(BATCH, DIM), dim=-1), 9 * torch.rand(BATCH)
    ),
    "power spherical": lambda: PowerSpherical(
        functional.normalize(torch.randn(BATCH, DIM), dim=-1), 9 * torch.rand(BATCH)
    ),
    "uniform on a sphere": lambda: UniformSphere(DIM),
    "wrapped normal": lambda: WrappedNormal(
        torch.rand(BATCH, DIM) / 2, torch.randn(BATCH, DIM), 1.0
    ),
    "diagonal": lambda: DiagonalGaussian(torch.randn(BATCH, DIM), torch.randn(BATCH, DIM)),
    "standard normal": lambda: StandardNormal(DIM),
    "full": lambda: FullGaussian(torch.randn(BATCH, DIM), torch.eye(DIM).expand(BATCH, DIM, DIM)),
    "bernoulli": lambda: Bernoulli(torch.randn(BATCH, *EVENT), event_dims=3),
    "mixture": lambda: Mixture(
        DiagonalGaussian(torch.randn(BATCH, DIM), torch.randn(BATCH, DIM)), torch.randn(BATCH)
    ),
    "masked posterior": lambda: MAFPosterior(DIM)(torch.randn(BATCH, 2 * DIM + 64)),
    "planar": lambda: PlanarPosterior(DIM)(torch.randn(BATCH, 27)),
    "inverse autoregressive": lambda: IAFPosterior(DIM)(torch.randn(BATCH, 2 * DIM + 64)),
    "masked autoregressive": lambda: FlowPrior(DIM)(None),
    "continuous bernoulli": lambda: ContinuousBernoulli(torch.randn(BATCH, *EVENT), event_dims=3),
    "logistic": lambda: DiscretisedLogistic(
        torch.rand(BATCH, *EVENT), -torch.rand(()), levels=9, event_dims=3
    ),
    "logistic mixture": lambda: LogisticMixture(
        torch.randn(BATCH, 4, *EVENT),
        torch.rand(BATCH, 4, *EVENT),
        -torch.rand(BATCH, 4, *EVENT),
        levels=9,
        event_dims=3,
    ),
    "beta-binomial": lambda: BetaBinomial(
        torch.randn(BATCH, *EVENT), torch.randn(EVENT), levels=9, event_dims=3
    ),
    "categorical": lambda: Categorical(torch.randn(BATCH, 9, *EVENT), event_dims=3),
    "poisson": lambda: Poisson(torch.randn(BATCH, *EVENT), event_dims=3),
    "negative binomial": lambda: NegativeBinomial(
        torch.randn(BATCH, *EVENT), torch.randn(EVENT), event_dims=3
    ),
    "zero-inflated": lambda: ZeroInflated(
        Poisson(torch.randn(BATCH, *EVENT), event_dims=3), torch.randn(BATCH, *EVENT)
    ),
    "log-normal": lambda: LogNormal(torch.randn(BATCH, *EVENT), torch.randn(EVENT), event_dims=3),
    "logit-normal": lambda: LogitNormal(
        torch.randn(BATCH, *EVENT),
        torch.randn(EVENT),
        torch.zeros(()),
        torch.ones(()),
        event_dims=3,
    ),
    "ordinal": lambda: Ordinal(
        torch.randn(BATCH, DIM), torch.randn(4, DIM).cumsum(0).sort(0).values
    ),
    "spiked": lambda: Spiked(
        DiagonalGaussian(torch.randn(BATCH, DIM), torch.randn(DIM)),
        torch.randn(BATCH, 2, DIM),
        torch.tensor([[0.0, 1.0, 2.0], [3.0, torch.nan, -1.0]]),
        torch.full((2, DIM), 1e-6),
    ),
    "codes": lambda: Codes(torch.randn(BATCH, 2, 4)),
    "placed codes": lambda: Codes(torch.randn(BATCH, 2, 4), torch.randn(4, 3)),
    "code point": lambda: CodePoint(INDEX, placed(INDEX, PLACES), 4, PLACES),
    "autoregressive codes": lambda: AutoregressiveCodes(
        lambda one_hot: one_hot.cumsum(-2) - one_hot, 3, 4, torch.zeros(())
    ),
    "beside": lambda: Beside(
        DiagonalGaussian(torch.randn(BATCH, DIM), torch.randn(BATCH, DIM)),
        Codes(torch.randn(BATCH, 2, 4)),
    ),
    "of torch": lambda: Independent(
        torch.distributions.Laplace(
            torch.randn(BATCH, *EVENT), torch.rand(EVENT) + 0.1, validate_args=False
        ),
        event_dims=3,
    ),
    "mixed": lambda: Mixed(
        [
            DiagonalGaussian(torch.randn(BATCH, 2), torch.randn(2)),
            Categorical(torch.randn(BATCH, 3, 1)),
        ],
        torch.tensor([2, 0, 1]),
    ),
}
POSTERIORS = {
    "diagonal": lambda: DiagonalPosterior(DIM),
    "diagonal, exp": lambda: DiagonalPosterior(DIM, std="exp"),
    "full": lambda: FullCovariancePosterior(DIM),
    "full, exp": lambda: FullCovariancePosterior(DIM, std="exp"),
    "iaf": lambda: IAFPosterior(DIM, context=4),
    "iaf, exp": lambda: IAFPosterior(DIM, context=4, std="exp"),
    "maf": lambda: MAFPosterior(DIM, context=4),
    "planar": lambda: PlanarPosterior(DIM),
}
CODED = {
    "categorical": lambda: CategoricalPosterior(2, 4),
    "joint": lambda: JointPosterior(DIM, CategoricalPosterior(2, 4)),
    "vq": lambda: VQPosterior(2, 4, embedding_dim=3),
    "residual vq": lambda: VQPosterior(2, 4, embedding_dim=3, stages=2),
    "fsq": lambda: FSQPosterior(2, levels=(3, 4)),
    "lfq": lambda: LFQPosterior(2, 8),
}
PRIORS = {
    "normal": lambda: StandardNormalPrior(DIM),
    "mixture": lambda: MixturePrior(DIM, components=4),
    "vamp": lambda: VampPrior(EVENT, components=4, low=0.0, high=1.0),
    "flow": lambda: FlowPrior(DIM),
}
LIKELIHOODS = {
    "bernoulli": lambda: BernoulliLikelihood(EVENT),
    "gaussian": lambda: GaussianLikelihood(EVENT, variance="learned"),
    "gaussian-per-feature": lambda: GaussianLikelihood(EVENT, variance="per-feature"),
    "gaussian-shared": lambda: GaussianLikelihood(EVENT, variance="shared"),
    "gaussian-optimal": lambda: GaussianLikelihood(EVENT, variance="optimal"),
    "gaussian-fixed": lambda: GaussianLikelihood(EVENT, variance="fixed", fixed_std=0.3),
    "gaussian-identity": lambda: GaussianLikelihood(EVENT, variance="identity"),
    "continuous-bernoulli": lambda: ContinuousBernoulliLikelihood(EVENT),
    "logistic": lambda: LogisticLikelihood(EVENT, levels=9),
    "logistic-mixture": lambda: LogisticMixtureLikelihood(EVENT, levels=9, components=3),
    "beta-binomial": lambda: BetaBinomialLikelihood(EVENT, levels=9),
    "categorical": lambda: CategoricalLikelihood(EVENT, levels=9),
    "poisson": lambda: PoissonLikelihood(EVENT),
    "negative-binomial": lambda: NegativeBinomialLikelihood(EVENT),
    "zero-inflated-poisson": lambda: ZeroInflatedPoissonLikelihood(EVENT),
    "zero-inflated-negative-binomial": lambda: ZeroInflatedNegativeBinomialLikelihood(EVENT),
    "mixed": lambda: MixedLikelihood(
        ("category", "real", "binary", "count", "real"), levels=(3, 0, 0, 0, 0)
    ),
    "mixed, all laws": lambda: MixedLikelihood(
        ("real", "positive", "bounded", "ordinal", "real", "positive", "bounded"),
        levels=(0, 0, 0, 3, 0, 0, 0),
        spikes=(
            (),
            (),
            (),
            (),
            ((0.0, 0.0, 0.4), (0.5, 0.0, 0.1)),
            ((0.0, 0.0, 0.2),),
            ((1.0, 0.0, 0.1),),
        ),
    ),
}
PLAIN = {
    name: make for name, make in LIKELIHOODS.items() if not name.startswith("mixed")
}  # all dimensions of one kind
CURVED = {  # whose priors and widths are of their own; see test_curved.py
    "von mises-fisher": lambda: VonMisesFisherPosterior(DIM),
    "power spherical": lambda: PowerSphericalPosterior(DIM),
    "wrapped normal": lambda: WrappedNormalPosterior(DIM, curvature=1.0),
}
FAMILIES = (
    POSTERIORS | CODED | CURVED | {f"p(x|z) {name}": make for name, make in LIKELIHOODS.items()}
)
OBJECTIVES = {
    "elbo": {},
    "elbo, monte-carlo": {"kl": "monte-carlo"},
    "free bits": {"free_bits": 0.01},
    "capacity": {"capacity": 5.0},
    "iwae": {"objective": "iwae"},
    "iwae, stl": {"objective": "iwae", "gradient": "stl"},
    "iwae, dreg": {"objective": "iwae", "gradient": "dreg"},
    "miwae": {"objective": "iwae", "groups": 2},
    "ciwae": {"objective": "iwae", "elbo_share": 0.5},
    "piwae": {"objective": "piwae", "groups": 2},
    "beta-tc": {"objective": "beta-tc", "beta": 3.0},
    "dip-i": {"objective": "dip-i"},
    "dip-ii": {"objective": "dip-ii"},
    "info": {"objective": "info"},
    "wae": {"objective": "wae", "deterministic": False},
    "factor": {"objective": "factor", "discriminator": (8,)},
    "denoising": {"noise": "gaussian", "noise_level": 0.3},
    "autoencoder": {"objective": "autoencoder"},
    "wae, sliced": {"objective": "wae", "distance": "sliced", "deterministic": False},
    "wae, adversarial": {
        "objective": "wae",
        "distance": "adversarial",
        "deterministic": False,
        "discriminator": (8,),
    },
    "hvae": {"objective": "hvae", "leaps": 2, "tempering": 0.5},
    "vae-gan": {"objective": "vae-gan", "discriminator": (8,)},
    "rae, l2": {"objective": "rae"},
    "rae, gradient": {"objective": "rae", "regulariser": "gradient"},
    "rae, spectral": {"objective": "rae", "regulariser": "spectral"},
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small_vae(likelihood, posterior=None, prior=None):
    posterior, prior = posterior or DiagonalPosterior(DIM), prior or StandardNormalPrior(DIM)
    encoder = MLP(likelihood.event_shape, posterior.params_shape, hidden=(8,))
    decoder = MLP((DIM,), likelihood.params_shape, hidden=(8,))
    return VAE(encoder, decoder, posterior=posterior, prior=prior, likelihood=likelihood)


@pytest.mark.parametrize("make", LAWS.values(), ids=LAWS)
def test_a_law_sums_events_and_keeps_batches(make):
    law = make()
    draws = law.sample((L,))
    assert draws.shape == (L, *law.batch_shape, *law.event_shape)
    assert law.log_prob(draws).shape == (L, *law.batch_shape)
    assert law.mean.shape == law.variance.shape == (*law.batch_shape, *law.event_shape)
    if type(law).log_prob_per_entry is not Law.log_prob_per_entry:  # its entries are independent
        entries = law.log_prob_per_entry(draws)
        assert entries.shape == draws.shape
        torch.testing.assert_close(
            entries.flatten(1 + len(law.batch_shape)).sum(-1), law.log_prob(draws)
        )
    if law.has_rsample:
        draws, log_prob = law.rsample_and_log_prob((L,))
        torch.testing.assert_close(log_prob, law.log_prob(draws))


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_a_family_turns_params_into_a_law_and_keeps_the_precision(make):
    family = make()
    params = torch.randn(BATCH, *family.params_shape)
    law = family(params)
    assert isinstance(law, torch.distributions.Distribution)
    assert law.batch_shape == (BATCH,)
    assert law.mean.dtype == torch.float64
    half = make().to(torch.bfloat16)(params.to(torch.bfloat16))
    assert half.log_prob(half.sample()).dtype == torch.float32


@pytest.mark.parametrize("make", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_a_vae_answers_in_the_shapes_it_promises(make):
    vae = small_vae(make()).eval()
    event = vae.event_shape
    x = torch.rand(BATCH, *event)
    q, p = vae.encode(x), vae.latent_prior()
    assert q.batch_shape == (BATCH,) and q.event_shape == p.event_shape == (DIM,)
    z = q.rsample((L,))
    law = vae.decode(z)
    assert law.batch_shape == (L, BATCH) and law.event_shape == event
    torch.testing.assert_close(law.log_prob(x)[3], vae.decode(z[3]).log_prob(x))
    assert vae.sample(4).shape == (4, *event)
    torch.testing.assert_close(vae.reconstruct(x), vae.decode(q.mean).mean)


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
@pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS)
def test_every_posterior_meets_every_prior(posterior, prior):
    """Shapes, a batch of 1, agreement of the two ways to a density, and gradients for every parameter."""
    vae = small_vae(BernoulliLikelihood(EVENT), posterior(), prior())
    for batch in (BATCH, 1):
        x = torch.rand(batch, *EVENT)
        q, p = vae.encode(x), vae.latent_prior()
        assert (
            q.batch_shape == (batch,)
            and p.batch_shape == ()
            and q.event_shape == p.event_shape == (DIM,)
        )
        z, log_q = q.rsample_and_log_prob((L,))
        torch.testing.assert_close(q.log_prob(z), log_q)
        assert p.log_prob(z).shape == (L, batch)
        torch.testing.assert_close(p.log_prob(z)[3], p.log_prob(z[3]))
    assert vae.sample(4).shape == (4, *EVENT)
    objective = ELBO(vae, samples=L)
    terms = objective(torch.rand(BATCH, *EVENT))
    terms.loss.mean().backward()
    for name, parameter in objective.named_parameters():
        assert (
            parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()
        ), name


@pytest.mark.parametrize("options", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize("make", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_an_objective_gives_finite_terms_and_gradients_for_every_parameter(make, options):
    config = TrainConfig(
        **{"samples": 1 if options.get("objective") in ("autoencoder", "rae") else L} | options
    )
    vae = small_vae(make())
    if getattr(vae.likelihood, "variance", "") == "optimal" and config.objective in (
        "hvae",
        "iwae",
        "piwae",
    ):
        with pytest.raises(
            ValueError, match="a variance that is not the optimum of the ELBO; got gaussian-optimal"
        ):
            build_objective(vae, config)
        return
    objective = build_objective(vae, config, rows=100)
    terms = objective(torch.rand(BATCH, *objective.vae.event_shape))
    assert terms.loss.shape == terms.log_likelihood.shape == terms.kl.shape == (BATCH,)
    assert (terms.auxiliary is None) == (objective.auxiliary is None)
    (terms.loss if terms.auxiliary is None else terms.loss + terms.auxiliary).mean().backward()
    for name, parameter in objective.named_parameters():
        assert (
            parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()
        ), name
    for count in (1, BATCH):
        x = torch.rand(count, *objective.vae.event_shape)
        assert objective(x).loss.isfinite().all()
        with torch.no_grad():
            assert objective(x).loss.isfinite().all()


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_a_likelihood_starts_at_the_mean_it_is_given(make):
    likelihood = make()
    mean, variance = torch.rand(EVENT) * 0.8 + 0.1, torch.full(EVENT, 0.04)
    law = likelihood(likelihood.start_at(mean, variance).unsqueeze(0))
    torch.testing.assert_close(law.mean[0], mean)
    if isinstance(likelihood, GaussianLikelihood) and likelihood.variance not in (
        "identity",
        "fixed",
    ):
        torch.testing.assert_close(law.variance[0], variance.expand(EVENT), rtol=1e-4, atol=0)


SUPPORTS = {
    "real": lambda: torch.randn(BATCH, *EVENT),
    "unit": lambda: torch.rand(BATCH, *EVENT),
    "levels": lambda: torch.randint(0, 9, (BATCH, *EVENT)) / 8,
    "counts": lambda: torch.randint(0, 1000, (BATCH, *EVENT)).double(),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_what_a_decoder_may_give_leaves_densities_and_gradients_finite(make, dtype):
    """Whatever the network gives, from 0 to 10,000 in size; the floor keeps the Gaussian's variance away from zero."""
    likelihood = make().to(dtype)
    x = SUPPORTS[likelihood.support]().to(dtype)
    for size in (0.0, 1e-30, 1e-3, 0.5, 1.0, 30.0, 100.0, 1e4):
        for sign in (-1.0, 1.0):
            params = torch.full((BATCH, *likelihood.params_shape), sign * size, dtype=dtype)
            if params.shape[1] == 9:  # the logits of levels: one against the rest
                params[:, 1:] = 0
            if size > 30 and sign > 0 and params.shape[1] == 2 and likelihood.support == "real":
                params[:, 1] = 30  # a log-variance
            params.requires_grad_()
            log_prob = likelihood(params).log_prob(x)
            assert log_prob.isfinite().all(), size
            (gradient,) = torch.autograd.grad(log_prob.sum(), params)
            assert gradient.isfinite().all(), size


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_single_precision_agrees_with_double(make):
    likelihood = make().eval()
    params, x = torch.randn(BATCH, *likelihood.params_shape) * 2, SUPPORTS[likelihood.support]()
    outputs = []
    for dtype in (torch.float32, torch.float64):
        given = params.to(dtype).requires_grad_()
        law = likelihood.to(dtype)(given)
        log_prob = law.log_prob(x.to(dtype))
        outputs.append(
            (log_prob, *torch.autograd.grad(log_prob.sum(), given), law.mean, law.variance)
        )
        assert log_prob.dtype == law.mean.dtype == dtype
    for single, double in zip(*outputs, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=3e-5, atol=3e-5)


def test_a_learned_variance_has_a_floor():
    likelihood = GaussianLikelihood((2,), min_std=0.1)
    law = likelihood(torch.tensor([[[0.0, 0.0], [-1000.0, 2.0]]]))
    torch.testing.assert_close(law.variance, torch.tensor([[0.01, math.exp(2.0) + 0.01]]))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_mlp_is_its_formula(name):
    network = MLP((2, 3), (4,), hidden=(5,), activation=name)
    network.centre.normal_()
    x = torch.randn(6, 2, 3)
    hidden = ACTIVATIONS[name]()(
        (x - network.centre).flatten(1) @ network.layers[1].weight.T + network.layers[1].bias
    )
    torch.testing.assert_close(network(x), hidden @ network.output.weight.T + network.output.bias)


def test_dropout_acts_in_training_only():
    network = MLP((20,), (1,), hidden=(50,), dropout=0.5)
    x = torch.randn(1, 20)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_networks_of_ones_own_are_checked_with_both_shapes():
    posterior, likelihood = DiagonalPosterior(DIM), BernoulliLikelihood(EVENT)
    parts = {"posterior": posterior, "prior": StandardNormalPrior(DIM), "likelihood": likelihood}
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 2 * DIM), nn.Unflatten(1, (2, DIM)))
    decoder = nn.Sequential(nn.Linear(DIM, 12), nn.Unflatten(1, EVENT))
    assert VAE(encoder, decoder, **parts).sample(2).shape == (2, *EVENT)
    with pytest.raises(
        ValueError, match=r"encoder must map \(B, 1, 4, 3\) to \(B, 2, 3\); it gave \(B, 6\)"
    ):
        VAE(encoder[:2], decoder, **parts)
    with pytest.raises(
        ValueError, match=r"decoder must map \(B, 3\) to \(B, 1, 4, 3\); it gave \(B, 12\)"
    ):
        VAE(encoder, decoder[:1], **parts)
    with pytest.raises(ValueError, match=r"encoder must map \(B, 1, 4, 3\).*failed with"):
        VAE(nn.Linear(5, 6), decoder, **parts)


def test_initial_weights_depend_on_the_seed_alone_and_disturb_nothing():
    schema = read("digits").schema
    before = torch.get_rng_state()
    first, second, other = (
        build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2), schema, seed=seed)
        for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    weights = [
        torch.cat([value.flatten() for value in vae.parameters()]) for vae in (first, second, other)
    ]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
