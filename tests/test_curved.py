"""Laws, families and models on the sphere and in hyperbolic space: against SciPy, integrals, and planted geometry."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, spatial, special, stats
from torch.nn import functional

from variform import ModelConfig, TrainConfig, build_objective, build_vae, read
from variform.data.dataset import Dataset
from variform.distributions import (
    PowerSpherical,
    UniformSphere,
    VonMisesFisher,
    WrappedNormal,
    kl,
)
from variform.distributions.hyperbolic import from_tangent, to_tangent
from variform.evaluation.annealing import anneal
from variform.evaluation.exploration import encode, interpolation, traversals
from variform.evaluation.log_likelihood import score
from variform.evaluation.samplers import fit_flow, fit_mixture, fit_posteriors
from variform.model.curved import (
    PowerSphericalPosterior,
    UniformSpherePrior,
    VonMisesFisherPosterior,
    WrappedNormalPosterior,
    WrappedNormalPrior,
)
from variform.model.importance import log_weights
from variform.model.likelihoods import BernoulliLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior, VampPrior
from variform.model.spaces import Ball, Sphere, space_of
from variform.model.vae import VAE
from variform.objectives import ELBO
from variform.pages.explorer import contents
from variform.training.fit import fit

ZONAL = (VonMisesFisher, PowerSpherical)
DIMS = (2, 3, 4, 6, 21)
CONCENTRATIONS = (0.0, 0.7, 30.0, 1e4)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def directions(*shape):
    return functional.normalize(torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("concentration", CONCENTRATIONS)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("law", ZONAL)
def test_a_density_on_the_sphere_integrates_to_one(law, dim, concentration):
    """Over the angle, by SciPy's quadrature: each ring has the area of a smaller sphere."""
    q = law(torch.eye(dim)[0], torch.tensor(concentration))

    def ring(angle):
        z = torch.zeros(dim)
        z[0], z[1] = math.cos(angle), math.sin(angle)
        return q.log_prob(z).exp().item() * math.sin(angle) ** (dim - 2)

    ends = np.pi * np.array([0, 0.01, 0.05, 0.2, 0.5, 1])
    mass = sum(integrate.quad(ring, *pair)[0] for pair in itertools.pairwise(ends))
    circle = 2 * np.pi ** ((dim - 1) / 2) / special.gamma((dim - 1) / 2)
    assert mass * circle == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("concentration", [0.01, 0.7, 30.0, 1e4])
@pytest.mark.parametrize("dim", DIMS)
def test_von_mises_fisher_is_scipys(dim, concentration):
    mean = directions(dim)
    q, theirs = (
        VonMisesFisher(mean, torch.tensor(concentration)),
        stats.vonmises_fisher(mean.numpy(), concentration),
    )
    z = torch.cat([q.sample((200,)), directions(50, dim)])
    np.testing.assert_allclose(q.log_prob(z), theirs.logpdf(z.numpy()), rtol=1e-9, atol=1e-9)
    area = -UniformSphere(dim).log_prob(z[0]).item()
    assert kl(q, UniformSphere(dim)).item() == pytest.approx(area - theirs.entropy(), abs=1e-8)


@pytest.mark.parametrize("concentration", [0.0, 0.7, 30.0, 1e4])
@pytest.mark.parametrize("dim", DIMS)
def test_angles_have_the_laws_of_scipy(dim, concentration):
    """Kolmogorov-Smirnov, fixed seeds; a wrong law of the angle would have p-values of 0."""
    mean = directions(dim)
    q = PowerSpherical(mean, torch.tensor(concentration))
    half = (q.sample((2000,)) + mean).square().sum(-1).numpy() / 4
    beta = stats.beta((dim - 1) / 2 + concentration, (dim - 1) / 2)
    assert stats.kstest(half, beta.cdf).pvalue > 1e-3
    if concentration:
        q = VonMisesFisher(mean, torch.tensor(concentration))
        theirs = stats.vonmises_fisher(mean.numpy(), concentration).rvs(2000, random_state=1)
        cosines = q.sample((2000,)) @ mean, theirs @ mean.numpy()
        assert stats.ks_2samp(*cosines).pvalue > 1e-3


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("law", ZONAL)
def test_moments_are_those_of_draws(law, dim):
    q = law(directions(dim), torch.tensor(5.0))
    draws = q.sample((10_000,))
    torch.testing.assert_close(draws.norm(dim=-1), torch.ones(len(draws)))
    torch.testing.assert_close(draws.var(0), q.variance, rtol=0.1, atol=2e-3)
    mean, error = q.log_prob(draws).mean(), q.log_prob(draws).std() / 100
    area = -UniformSphere(dim).log_prob(draws[0])
    assert abs(mean + area - kl(q, UniformSphere(dim))) < 4 * error


@pytest.mark.parametrize("law", ZONAL)
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_gradients_of_draws_are_those_of_an_exact_expectation(law, dim):
    """Finite differences of E[exp(a z_1 + b z_1^2)], integrated over the angle to the mean and around it."""

    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(60))
    angle, turn = (nodes[:, None] + 1) * np.pi / 2, (nodes + 1) * np.pi / 2
    if dim == 2:  # the smaller sphere is two points
        turned, ring = torch.tensor([1.0, -1.0]), torch.ones(2)
    else:  # its points at an angle to the plane of both means
        area = 2 * np.pi ** ((dim - 2) / 2) / special.gamma((dim - 2) / 2)
        turned, ring = turn.cos(), area * weights * np.pi / 2 * turn.sin() ** (dim - 3)

    def exact(concentration, tilt):
        q = law(torch.eye(dim)[0], torch.tensor(concentration))
        z = torch.cat([angle.cos(), angle.sin(), torch.zeros(60, dim - 2)], -1)
        density = q.log_prob(z)[:, None].exp() * angle.sin() ** (dim - 2)
        first = math.cos(tilt) * angle.cos() - math.sin(tilt) * angle.sin() * turned
        values = (0.8 * first + 0.5 * first**2).exp() @ ring
        return (weights * np.pi / 2 * density[:, 0] * values).sum().item()

    concentration, tilt, step = 6.0, 0.7, 1e-4
    wanted = (
        (exact(concentration + step, tilt) - exact(concentration - step, tilt)) / (2 * step),
        (exact(concentration, tilt + step) - exact(concentration, tilt - step)) / (2 * step),
    )
    count = 10_000
    kappa = torch.full((count,), concentration, requires_grad=True)
    angle = torch.full((count,), tilt, requires_grad=True)
    mean = torch.stack([angle.cos(), angle.sin(), *[torch.zeros(count)] * (dim - 2)], -1)
    first = law(mean, kappa).rsample()[:, 0]
    (0.8 * first + 0.5 * first**2).exp().sum().backward()
    for gradient, value in zip((kappa.grad, angle.grad), wanted, strict=True):
        assert abs(gradient.mean() - value) < 4 * gradient.std() / count**0.5, value
        assert gradient.std() / count**0.5 < 0.2 * abs(
            value
        )  # so that the line above says something


@pytest.mark.parametrize("law", ZONAL)
@pytest.mark.parametrize("dim", [3, 11])
def test_a_narrow_law_keeps_its_digits_in_single_precision(law, dim):
    """At a concentration of 1e6, where the scalar product of two single numbers costs tenths of a nat."""
    concentration = torch.tensor(1e6)
    mean = directions(dim).float()
    q = law(mean, concentration.float())
    z, log_q = q.rsample_and_log_prob((500,))
    assert z.dtype == log_q.dtype == torch.float32
    unit = functional.normalize(z.double(), dim=-1)
    exact = law(functional.normalize(mean.double(), dim=-1), concentration).log_prob(unit)
    assert (log_q - exact).abs().max() < 0.005
    naive = 1e6 * torch.log1p(z @ mean) - (1e6 * torch.log1p(z.double() @ mean.double())).float()
    assert naive.abs().max() > 0.01


def test_a_law_far_from_uniform_is_gaussian_of_the_spread_that_the_network_gives():
    for family in (VonMisesFisherPosterior(4), PowerSphericalPosterior(4)):
        params = torch.zeros(1, 6)
        params[0, 0], params[0, 5] = 1.0, -4.0
        std = functional.softplus(params[0, 5]).item()
        draws = family(params).sample((20_000,))[:, 0, 1:]
        np.testing.assert_allclose(draws.std(0), std, rtol=0.03)


@pytest.mark.parametrize("curvature", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("length", [0.0, 1.5])
def test_the_wrapped_normal_integrates_to_one(curvature, length):
    """By polar coordinates: a circle of radius r has the length sinh(sqrt(c) r) / sqrt(c) times its angle."""
    root = math.sqrt(curvature)
    radius, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(300))
    radius, weights = 6 * (radius + 1), 6 * weights
    stretched = torch.sinh(root * radius) / root
    angle = torch.arange(1600) * 2 * np.pi / 1600
    ring = torch.stack([angle.cos(), angle.sin()], -1)
    points = from_tangent(radius[:, None, None] * ring, curvature)
    mean = from_tangent(torch.tensor([length, -0.5 * length]), curvature)
    q = WrappedNormal(mean, torch.tensor([-0.5, -1.2]), curvature)
    rings = q.log_prob(points).exp().mean(1) * 2 * np.pi
    assert (weights * stretched * rings).sum().item() == pytest.approx(1, abs=1e-6)
    # In three dimensions about the axis of the mean; a line has no curvature.
    q = WrappedNormal(
        from_tangent(torch.tensor([length, 0.0, 0.0]), curvature),
        torch.tensor([-0.5, -1.2, -1.2]),
        curvature,
    )
    cosine, share = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(240))
    sphere = torch.stack([cosine, (1 - cosine**2).sqrt(), 0 * cosine], -1)
    density = q.log_prob(from_tangent(radius[:, None, None] * sphere, curvature)).exp()
    mass = (weights * stretched**2 * (density @ share) * 2 * np.pi).sum()
    assert mass.item() == pytest.approx(1, abs=1e-6)
    line = from_tangent(torch.linspace(-12, 12, 4001)[:, None], curvature)
    q = WrappedNormal(from_tangent(torch.tensor([length]), curvature), torch.zeros(1), curvature)
    assert torch.trapezoid(q.log_prob(line).exp(), dx=24 / 4000).item() == pytest.approx(1)


def test_the_wrapped_normals_draws_lie_as_far_away_as_their_noise_says():
    q = WrappedNormal(from_tangent(torch.tensor([1.0, 2.0]), 1.0), torch.full((2,), -1.0), 1.0)
    z, log_q = q.rsample_and_log_prob((4000,))
    torch.testing.assert_close(log_q, q.log_prob(z))
    far = Ball(1.0).distance(q.mean, z).numpy()
    assert stats.kstest(far, stats.chi(2, scale=math.exp(-0.5)).cdf).pvalue > 1e-3


def small(posterior, prior, seed=0):
    torch.manual_seed(seed)
    likelihood = BernoulliLikelihood((6,))
    encoder = MLP((6,), posterior.params_shape, hidden=(8,))
    decoder = MLP((posterior.latent_dim,), likelihood.params_shape, hidden=(8,))
    return VAE(encoder, decoder, posterior=posterior, prior=prior, likelihood=likelihood)


def test_as_the_curvature_goes_to_zero_the_model_becomes_the_gaussian_one():
    """The same networks, the decoder's first layer doubled, since 2z is the Gaussian's z: the same weights of rows."""
    x = torch.rand(50, 6).round()
    flat = small(DiagonalPosterior(2), StandardNormalPrior(2))
    apart = []
    for curvature in (1.0, 1e-2, 1e-4, 1e-8):
        curved = small(
            WrappedNormalPosterior(2, curvature=curvature),
            WrappedNormalPrior(2, curvature=curvature),
        )
        with torch.no_grad():
            next(curved.decoder.parameters()).mul_(2)
        weights = []
        for vae in (flat, curved):
            torch.manual_seed(1)
            weights.append(log_weights(vae, x, 5).log_weight)
        apart.append((weights[0] - weights[1]).abs().max().item())
    assert apart[0] > 0.1 and apart[1] < 0.1 * apart[0]
    assert apart[2] < 2e-3 and apart[3] < 1e-6


@pytest.mark.parametrize("name", ["sphere", "power spherical", "ball"])
def test_the_importance_estimate_of_log_px_is_the_integral_over_the_space(name):
    """p(x) by a grid of the globe or the disc, whose cells have their areas; 20,000 draws for each row."""
    if name == "ball":
        vae = small(WrappedNormalPosterior(2, curvature=1.0), WrappedNormalPrior(2, curvature=1.0))
        radius = torch.linspace(0, 8, 400)[:, None, None]
        turn = torch.arange(200)[:, None] * 2 * np.pi / 200
        ring = torch.cat([turn.cos(), turn.sin()], -1)
        z = from_tangent(radius * ring, 1.0)
        area = (radius.sinh() * 8 / 399 * 2 * np.pi / 200).squeeze(-1).expand(400, 200)
    else:
        family = VonMisesFisherPosterior if name == "sphere" else PowerSphericalPosterior
        vae = small(family(2), UniformSpherePrior(2))
        height = (torch.arange(400) + 0.5) / 200 - 1
        turn = torch.arange(200) * 2 * np.pi / 200
        across = (1 - height**2).sqrt()[:, None]
        z = torch.stack(
            [across * turn.cos(), across * turn.sin(), height[:, None].expand(400, 200)], -1
        )
        area = torch.full((400, 200), 4 * np.pi / 400 / 200)
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter.mul_(3)
        vae.encoder.output.bias[-2 if name == "ball" else -1 :] += (
            2  # wide, so that weights vary little
        )
    vae.eval()
    x = torch.rand(4, 6).round()
    with torch.no_grad():
        joint = vae.decode(z.unsqueeze(-2)).log_prob(x) + vae.latent_prior().log_prob(z)[..., None]
        exact = (joint + area.log()[..., None]).flatten(0, 1).logsumexp(0)
        w = log_weights(vae, x, 20_000).log_weight
    found = w.logsumexp(0) - math.log(len(w))
    error = (w - found).exp().std(0) / len(w) ** 0.5
    assert ((found - exact).abs() < 4 * error + 1e-4).all()
    assert error.max() < 0.05


def test_shortest_ways_are_those_of_scipy_and_of_the_textbook():
    start, end = directions(2, 5)
    share = torch.linspace(0, 1, 7)[:, None]
    way = Sphere().between(start, end, share)
    theirs = spatial.geometric_slerp(start.numpy(), end.numpy(), share[:, 0].numpy())
    np.testing.assert_allclose(way, theirs, atol=1e-12)
    opposite = Sphere().between(start, -start, share)
    torch.testing.assert_close(opposite.norm(dim=-1), torch.ones(7))
    torch.testing.assert_close(opposite[-1], -start)
    for curvature in (0.3, 1.0):
        ball = Ball(curvature)
        a, b = from_tangent(torch.randn(2, 3), curvature)
        a2, b2 = curvature * a @ a, curvature * b @ b
        gap = curvature * (a - b) @ (a - b)
        textbook = torch.arccosh(1 + 2 * gap / ((1 - a2) * (1 - b2))) / curvature**0.5
        torch.testing.assert_close(ball.distance(a, b), textbook)
        way = ball.between(a, b, share)
        torch.testing.assert_close(way[[0, -1]], torch.stack([a, b]))
        torch.testing.assert_close(ball.distance(a, way), share[:, 0] * textbook)
        torch.testing.assert_close(ball.distance(way, b), (1 - share[:, 0]) * textbook)
        outside = ball.nearest(100 * a)
        assert curvature * outside @ outside < 1
        torch.testing.assert_close(from_tangent(to_tangent(a, curvature), curvature), a)


CURVED = {
    "von-mises-fisher": (VonMisesFisherPosterior(2), UniformSpherePrior(2)),
    "power-spherical": (PowerSphericalPosterior(2), UniformSpherePrior(2)),
    "wrapped-normal": (
        WrappedNormalPosterior(3, curvature=1.0),
        WrappedNormalPrior(3, curvature=1.0),
    ),
}


@pytest.mark.parametrize("has_vamp", [False, True])
@pytest.mark.parametrize("name", CURVED)
def test_every_curved_posterior_meets_its_priors(name, has_vamp):
    posterior, prior = CURVED[name]
    if has_vamp:
        prior = VampPrior((6,), components=4, low=0.0, high=1.0)
    vae = small(posterior, prior)
    for batch in (5, 1):
        q, p = vae.encode(torch.rand(batch, 6)), vae.latent_prior()
        z, log_q = q.rsample_and_log_prob((7,))
        torch.testing.assert_close(q.log_prob(z), log_q)
        assert p.log_prob(z).shape == (7, batch)
        stuck = q.rsample_and_log_prob((7,), stick=True)[1]
        assert stuck.shape == (7, batch) and stuck.isfinite().all()
    assert vae.sample(4).shape == (4, 6)
    objective = ELBO(vae, samples=3)
    objective(torch.rand(5, 6)).loss.mean().backward()
    for label, parameter in objective.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), label


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("name", CURVED)
def test_whatever_an_encoder_gives_leaves_densities_and_gradients_finite(name, size):
    family, prior = CURVED[name]
    for sign in (-1.0, 1.0):
        params = (sign * size * torch.ones(3, *family.params_shape)).float().requires_grad_()
        q = family(params)
        z, log_q = q.rsample_and_log_prob((5,))
        assert z.isfinite().all() and log_q.isfinite().all()
        value = (log_q - prior(None).log_prob(z)).sum() + z.sum()
        (gradient,) = torch.autograd.grad(value, params)
        assert gradient.isfinite().all()


def trained(x, steps, **model):
    splits = read(x.astype(np.float32))
    config = ModelConfig(likelihood="gaussian-shared", hidden=(64,), latent_dim=2, **model)
    vae = build_vae(config, splits.schema, moments=splits.train.moments())
    training = TrainConfig(steps=steps, batch_size=64, learning_rate=3e-3, patience=0)
    fit(build_objective(vae, training), splits.train, splits.valid, training)
    return vae, splits


@pytest.mark.usefixtures("single_precision")
def test_points_that_were_made_on_a_sphere_are_found_on_one():
    """Geodesic distances of codes are those of the planted points; shortest ways stay on the sphere."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    x = np.tanh(points @ rng.normal(size=(3, 12))) + 0.05 * rng.normal(size=(400, 12))
    vae, splits = trained(x, 300, posterior="von-mises-fisher")
    rows = Dataset(torch.from_numpy(x[:150].astype(np.float32)), splits.schema)
    z = torch.from_numpy(encode(vae, rows)[0]).double()
    pairs = np.triu_indices(150, 1)
    found = space_of(vae).distance(z[:, None], z[None]).numpy()[pairs]
    planted = np.arccos(np.clip(points[:150] @ points[:150].T, -1, 1))[pairs]
    assert stats.pearsonr(found, planted)[0] > 0.95
    assert interpolation(vae, rows, pairs=2, steps=5).shape == (2, 5, 12)
    scores = score(vae, splits.test, samples=20)
    assert scores.log_px.isfinite().all()


@pytest.mark.usefixtures("single_precision")
def test_the_depth_of_a_planted_tree_is_the_radius_in_hyperbolic_space():
    """A binary tree of five levels, each node a sum of orthogonal steps from the root: distances are the tree's."""
    nodes = 31
    steps = np.zeros((nodes, nodes))
    depth = np.zeros(nodes)
    for node in range(nodes):
        parent = (node - 1) // 2
        if node:
            steps[node] = steps[parent]
            depth[node] = depth[parent] + 1
        steps[node, node] = 1
    rng = np.random.default_rng(0)
    x = steps[rng.integers(0, nodes, 1200)] + 0.1 * rng.normal(size=(1200, nodes))
    vae, splits = trained(x, 700, posterior="wrapped-normal")
    rows = Dataset(torch.from_numpy(steps.astype(np.float32)), splits.schema)
    z = torch.from_numpy(encode(vae, rows)[0]).double()
    space = space_of(vae)
    radius = space.distance(torch.zeros(2).double(), z)
    pairs = np.triu_indices(nodes, 1)
    between = ((steps[:, None] - steps) ** 2).sum(-1)[pairs]
    assert stats.spearmanr(radius, depth)[0] > 0.7
    assert stats.spearmanr(space.distance(z[:, None], z[None]).numpy()[pairs], between)[0] > 0.6


@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize("name", ["power-spherical", "wrapped-normal"])
def test_what_needs_flat_latents_says_so_and_refining_does_not(name):
    splits = read("digits")
    vae = build_vae(ModelConfig(latent_dim=2, posterior=name, hidden=(8,)), splits.schema)
    few = splits.test.take(torch.arange(8))
    for kind in (fit_mixture, fit_flow, fit_posteriors):
        with pytest.raises(ValueError, match="needs latents in a flat space; got "):
            kind(vae, splits.train, splits.valid)
    with pytest.raises(ValueError, match="annealed importance sampling needs latents in a flat"):
        anneal(vae, few)
    for objective in ("factor", "dip-i", "beta-tc"):
        with pytest.raises(ValueError, match=r"needs (latents in a flat space|a Gaussian poster)"):
            build_objective(vae, TrainConfig(objective=objective), rows=100)
    before, after = (score(vae, few, samples=50, refine=steps) for steps in (0, 30))
    assert (after.elbo > before.elbo - 0.05).all() and (after.elbo - before.elbo).mean() > 0.1


@pytest.mark.usefixtures("single_precision")
def test_pictures_and_the_page_stay_on_the_space():
    """Every point that a traversal or the page's grid decodes lies on the sphere, or within the ball."""
    splits = read("digits")
    sphere, ball = (
        build_vae(ModelConfig(latent_dim=2, posterior=name, hidden=(8,)), splits.schema)
        for name in ("von-mises-fisher", "wrapped-normal")
    )
    for vae, found in ((sphere, []), (ball, [])):
        vae.decoder.register_forward_pre_hook(lambda _, given, kept=found: kept.append(given[0]))
        traversals(vae, np.ones(vae.latent_dim))
        lengths = torch.cat(found).norm(dim=1)
        if vae is sphere:
            torch.testing.assert_close(lengths, torch.ones_like(lengths))
        assert lengths.max() < 1 + 1e-6
    numbers = {"kl_per_dimension": None, "active_units": {"variances": [1, 1, 1]}}
    means = encode(sphere, splits.test)[0]
    shown = contents._latents(sphere, means, numbers, "uniform")
    assert shown["space"]["axes"] == np.eye(3).tolist() and np.abs(shown["ranges"]).max() <= 1
    wide = build_vae(
        ModelConfig(latent_dim=5, posterior="power-spherical", hidden=(8,)), splits.schema
    )
    axes = np.array(contents._space(wide, encode(wide, splits.test)[0])["axes"])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)


def test_a_prior_of_another_space_is_refused():
    assert ModelConfig(posterior="von-mises-fisher").prior == "uniform"
    with pytest.raises(ValueError, match="`prior` must be one of uniform, vamp with `posterior="):
        ModelConfig(posterior="power-spherical", prior="mixture")
    with pytest.raises(ValueError, match="whose latents are numbers"):
        build_vae(ModelConfig(prior="uniform"), read("digits").schema)
