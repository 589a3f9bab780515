"""Flows: invertible, densities by change of variables, and a context that matters."""

import inspect
import math
from importlib.metadata import version

import numpy as np
import pytest
import torch
from scipy import integrate
from zuko.transforms import MonotonicRQSTransform

from variform import ModelConfig, TrainConfig, build_objective, build_vae, read, save
from variform.data.reading import dataset_from
from variform.distributions.flows import _AFFINE, _SPLINE
from variform.evaluation.refinement import refine
from variform.export import inspection
from variform.export.model_file import load_vae
from variform.model.flows import FlowPrior, IAFPosterior, MAFPosterior
from variform.model.importance import log_weights
from variform.model.posteriors import PlanarPosterior
from variform.training.device import compiles
from variform.training.step import Step


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def rough(module):
    """Weights twice as large as at the start, so that the map is far from the identity."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    return module


def iaf_law(dim=4, batch=5, transforms=3):
    return rough(IAFPosterior(dim, transforms=transforms))(torch.randn(batch, 2 * dim + 64))


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_an_iaf_is_invertible_and_its_two_densities_agree(dim):
    law = iaf_law(dim)
    start = law.noise.rsample((7,))
    z, log_det = law._mapped(start)
    back, log_det_back = law._mapped(z, inverse=True)
    assert (z - start).abs().max() > 0.5
    torch.testing.assert_close(back, start, rtol=0, atol=1e-10)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-10)
    z, log_q = law.rsample_and_log_prob((7,))
    torch.testing.assert_close(law.log_prob(z), log_q, rtol=0, atol=1e-9)


def test_an_iafs_density_is_the_change_of_variables():
    """The determinant of the whole Jacobian, by autograd, which is not taken for triangular."""
    law = iaf_law(4, batch=1)
    start = law.noise.sample()[0]
    jacobian = torch.autograd.functional.jacobian(
        lambda value: law._mapped(value[None])[0][0], start
    )
    expected = law.noise.log_prob(start[None])[0] - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(law.log_prob(law._mapped(start[None])[0])[0], expected)


@pytest.mark.parametrize("transform", [_AFFINE, _SPLINE])
def test_no_default_of_zuko_is_part_of_a_density(transform):
    parameters = inspect.signature(transform.func).parameters.values()
    defaults = {
        parameter.name for parameter in parameters if parameter.default is not parameter.empty
    }
    assert defaults and defaults <= set(transform.keywords)


@pytest.mark.parametrize(
    ("batch", "shape"), [((5, 3), (7, 5, 3)), ((3,), (60, 3)), ((5, 3), (5, 3))]
)
def test_the_spline_and_its_gradients_are_those_of_zuko(batch, shape):
    """Inside and outside of its interval, for one sample and for several of the same parameters."""
    parameters = [(3 * torch.randn(*batch, bins)).requires_grad_() for bins in (8, 8, 7)]
    x = (3 * torch.randn(shape)).requires_grad_()
    assert (x.abs() > 5).any() and (x.abs() < 5).any()
    results = []
    for transform in (_SPLINE.func, MonotonicRQSTransform):
        spline = transform(*parameters, bound=5.0, slope=1e-3)
        y, log_slope = spline.call_and_ladj(x)
        gradients = torch.autograd.grad(y.sin().sum() + log_slope.cos().sum(), [*parameters, x])
        results.append([y, log_slope, spline.inv(y), *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_file_gives_the_same_densities_under_every_version_and_names_its_own(tmp_path):
    """What zuko 1.3.1, 1.4.0, 1.5.0 and 1.6.0 gave alike; with the defaults of 1.4 the first were -2.03 and -33.28."""
    laws = {"likelihood": "gaussian", "posterior": "iaf", "posterior_std": "exp", "prior": "flow"}
    config = ModelConfig(latent_dim=3, hidden=(4,), transforms=2, **laws)
    vae = build_vae(config, dataset_from(torch.zeros(3, 4)).schema)
    with torch.no_grad():
        for number, parameter in enumerate(vae.parameters()):
            angles = torch.arange(1, parameter.numel() + 1, dtype=torch.float64) * (number + 1.5)
            parameter.copy_(angles.sin().reshape(parameter.shape) / 2)
    save(vae, tmp_path / "model.safetensors")
    loaded = load_vae(tmp_path / "model.safetensors")
    z = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5], [-4.0, 6.0, 2.0]])
    expected = torch.tensor([-1.860181896225914, -13.814864983832988, -40.47486361342308])
    torch.testing.assert_close(loaded.latent_prior().log_prob(z), expected, rtol=1e-12, atol=0)
    q = loaded.encode(torch.tensor([[0.1, -0.2, 0.3, 0.4]]))
    expected = torch.tensor([-29.430300062381946, -5.620659139879804, -1199.201446358007])
    torch.testing.assert_close(q.log_prob(z[:, None])[:, 0], expected, rtol=1e-12, atol=0)
    assert inspection.inspect(tmp_path / "model.safetensors")["zuko"] == version("zuko")


def test_an_iaf_depends_on_what_the_encoder_says_besides_mean_and_variance():
    family = rough(IAFPosterior(3, context=2))
    params = torch.zeros(2, 8)
    params[1, 6:] = torch.tensor([1.0, -2.0])
    z = torch.randn(4, 1, 3).expand(4, 2, 3)
    log_q = family(params).log_prob(z)
    assert (log_q[:, 0] - log_q[:, 1]).abs().min() > 1e-3


def test_every_dimension_but_one_depends_on_others():
    """What a diagonal Gaussian cannot have: the Jacobian of three steps is full where orders alternate."""
    law = iaf_law(4, batch=1)
    jacobian = torch.autograd.functional.jacobian(
        lambda value: law._mapped(value[None])[0][0], torch.randn(4)
    )
    assert (jacobian - torch.diag(jacobian.diag())).abs().sum() > 0.1
    assert (jacobian.triu(1).abs().sum() > 0.01) and (jacobian.tril(-1).abs().sum() > 0.01)


def test_an_iaf_in_one_dimension_integrates_to_one():
    law = iaf_law(1, batch=1)
    total = integrate.quad(
        lambda value: law.log_prob(torch.tensor([[value]])).exp().item(), -40, 40, limit=200
    )[0]
    assert total == pytest.approx(1, abs=1e-6)


# --- planar and masked posteriors ---------------------------------------------------------------------------------


def other_law(name, dim=4, batch=5):
    """Of planar steps that bend far: some with w^T u below -1, which must not fold the space."""
    if name == "maf":
        return rough(MAFPosterior(dim))(torch.randn(batch, 2 * dim + 64))
    family = PlanarPosterior(dim, transforms=4)
    return family(2 * torch.randn(batch, *family.params_shape))


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("name", ["maf", "planar"])
def test_two_ways_to_the_density_of_a_posterior_agree(name, dim):
    law = other_law(name, dim)
    z, log_q = law.rsample_and_log_prob((7,))
    torch.testing.assert_close(law.log_prob(z), log_q, rtol=0, atol=1e-9)
    few = law.rows(torch.tensor([3, 0]))
    torch.testing.assert_close(few.log_prob(z[:, [3, 0]]), log_q[:, [3, 0]], rtol=0, atol=1e-9)
    torch.testing.assert_close(law.with_noise(law.noise).log_prob(z), law.log_prob(z))


@pytest.mark.parametrize("name", ["maf", "planar"])
def test_the_density_of_a_posterior_is_the_change_of_variables(name):
    """The determinant of the whole Jacobian of the draw as a function of its noise, by autograd."""
    law = other_law(name, 4, batch=1)
    start = law.noise.sample()[0]
    jacobian = torch.autograd.functional.jacobian(
        lambda value: law._from_noise(value[None])[0], start
    )
    assert (jacobian - torch.diag(jacobian.diag())).abs().sum() > 0.1
    expected = law.noise.log_prob(start[None])[0] - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(law.log_prob(law._from_noise(start[None]))[0], expected)


@pytest.mark.parametrize("name", ["maf", "planar"])
def test_a_posterior_in_one_and_two_dimensions_integrates_to_one(name):
    law = other_law(name, 1, batch=1)
    total = integrate.quad(
        lambda value: law.log_prob(torch.tensor([[value]])).exp().item(), -40, 40, limit=400
    )[0]
    assert total == pytest.approx(1, abs=1e-5)
    law = other_law(name, 2, batch=1)
    z = law.sample((20_000,))[:, 0]
    low, high = z.min(0).values - 3, z.max(0).values + 3
    axes = [torch.linspace(low[d], high[d], 500) for d in range(2)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 1, 2)
    cell = math.prod((axis[1] - axis[0]).item() for axis in axes)
    assert law.log_prob(grid).exp().sum().item() * cell == pytest.approx(1, abs=2e-3)


def test_planar_steps_are_equation_10_of_the_paper_and_never_fold():
    """u-hat by appendix A.1, with the shift that the class says, in NumPy; every slope is above -1."""
    family = PlanarPosterior(3, transforms=2)
    law = family(5 * torch.randn(40, *family.params_shape))
    start = law.noise.sample()
    z = law._from_noise(start).numpy()
    for row in range(40):
        value = start[row].numpy()
        for step in range(2):
            u, w = law.directions[row, step].numpy()
            product = w @ u
            m = 0.999 * (math.log1p((math.e - 1) * math.exp(product)) - 1)
            u = u + (m - product) * w / (w @ w)
            assert w @ u > -1 and w @ u == pytest.approx(m, abs=1e-9)
            value = value + u * math.tanh(w @ value + law.offsets[row, step].item())
        np.testing.assert_allclose(z[row], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["maf", "planar"])
def test_gradients_of_a_density_found_by_inversion_are_those_of_finite_differences(name):
    params = torch.randn(1, 2 * 3 + 64 if name == "maf" else 2 * 3 + 3 * 7, requires_grad=True)
    family = rough(MAFPosterior(3)) if name == "maf" else PlanarPosterior(3)
    z = torch.randn(4, 1, 3, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: family(given[0]).log_prob(given[1]), (params, z))


@pytest.mark.parametrize("name", ["maf", "planar"])
def test_a_detached_posterior_sticks_the_landing(name):
    """Same values, and a gradient through the draws alone: that of log q at a fixed law, times the draw's."""
    params = torch.randn(2, 70 if name == "maf" else 27, requires_grad=True)
    family = MAFPosterior(3) if name == "maf" else PlanarPosterior(3)
    slopes = []
    for stick in (True, False):
        torch.manual_seed(1)
        law = family(params)
        z, log_q = law.rsample_and_log_prob((5,), stick=stick)
        if not stick:
            log_q = law.detached().log_prob(z)
        slopes.append(torch.autograd.grad(log_q.sum(), params)[0])
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("name", ["maf", "planar"])
def test_a_model_with_another_flow_is_saved_refined_and_not_compiled(name, tmp_path):
    data = read("digits")
    config = ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,), posterior=name)
    vae = build_vae(config, data.schema)
    save(vae, tmp_path / "model.safetensors")
    loaded = load_vae(tmp_path / "model.safetensors")
    x = data.test.prepared()[:5].double()
    z = torch.randn(3, 1, 2).expand(3, 5, 2)
    torch.testing.assert_close(loaded.encode(x).log_prob(z), vae.encode(x).log_prob(z))
    objective = build_objective(vae, TrainConfig())
    assert not compiles(objective, TrainConfig(), 10**9)
    assert ("zuko" in inspection.inspect(tmp_path / "model.safetensors")) is (name == "maf")
    q = vae.encode(x)
    better = refine(vae, x, q, vae.latent_prior(), steps=30)
    torch.manual_seed(0)
    before = log_weights(vae, x, 200, q=q).log_weight.mean()
    torch.manual_seed(0)
    assert log_weights(vae, x, 200, q=better).log_weight.mean() > before


def test_moments_of_an_iaf_are_those_of_many_draws():
    """64 fixed draws in opposite pairs: the mean within half a standard deviation, the same at every call."""
    law = iaf_law()
    draws = law.sample((20_000,))
    assert ((law.mean - draws.mean(0)).abs() < 0.5 * draws.std(0)).all()
    assert (law.variance / draws.var(0)).log().abs().max() < 0.8
    assert torch.equal(law.mean, law.mean)
    noise = IAFPosterior(3, transforms=1)(torch.randn(5, 70))
    with torch.no_grad():
        for parameter in noise.steps.parameters():
            parameter.zero_()  # the identity, whose mean is known
    noise.weights = dict(noise.steps.named_parameters())
    torch.testing.assert_close(noise.mean, noise.noise.mean)


def test_a_detached_iaf_has_gradients_to_its_argument_only():
    family, params = IAFPosterior(3), torch.randn(2, 70, requires_grad=True)
    law = family(params)
    z = law.rsample((4,)).detach().requires_grad_()
    torch.testing.assert_close(law.detached().log_prob(z), law.log_prob(z))
    sources = [z, params, *family.parameters()]
    gradients = torch.autograd.grad(law.detached().log_prob(z).sum(), sources, allow_unused=True)
    assert gradients[0].any() and all(gradient is None for gradient in gradients[1:])
    gradients = torch.autograd.grad(law.log_prob(z).sum(), sources)
    assert all(gradient.any() for gradient in gradients)


def test_rows_of_an_iaf_take_their_context_along():
    law, index = iaf_law(3, batch=6), torch.tensor([5, 0, 0])
    z = torch.randn(3, 3)
    expected = law.log_prob(z.unsqueeze(1).expand(3, 6, 3)).gather(1, index[:, None])[:, 0]
    torch.testing.assert_close(law.rows(index).log_prob(z), expected)


def test_half_precision_weights_give_the_densities_of_what_they_hold():
    family = IAFPosterior(3).to(torch.bfloat16)
    params = torch.randn(5, 70).to(torch.bfloat16)
    law = family(params)
    z, log_q = law.rsample_and_log_prob((4,))
    exact = family.double()(params.double())
    torch.testing.assert_close(log_q.double(), exact.log_prob(z.double()), rtol=0, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert law.log_prob(z).dtype == torch.float32


def test_a_flow_prior_integrates_to_one():
    law = rough(FlowPrior(2))(None)
    axis = torch.linspace(-6, 6, 401)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    with torch.no_grad():
        density = law.log_prob(grid).exp()
    assert density.sum().item() * 0.03**2 == pytest.approx(1, abs=2e-3)
    normal = torch.exp(-grid.square().sum(-1) / 2) / (2 * torch.pi)
    assert (density - normal).abs().max() > 0.02


@pytest.mark.parametrize("dim", [1, 3])
def test_a_flow_prior_draws_from_its_density(dim):
    """Its noise found again in the draws is standard normal: moments within 5 standard errors of 20,000 draws."""
    law = rough(FlowPrior(dim))(None)
    with torch.no_grad():
        z = law.sample((20_000,))
        noise, _ = law._mapped(z)
    assert noise.mean(0).abs().max() < 5 / 20_000**0.5
    assert (noise.var(0) - 1).abs().max() < 5 * (2 / 20_000) ** 0.5
    jacobian = torch.autograd.functional.jacobian(lambda value: law._mapped(value)[0], z[0])
    expected = law.noise.log_prob(law._mapped(z[0])[0]) + torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(law.log_prob(z[0]), expected)


def test_a_flow_prior_learns_a_ring():
    """A law that no Gaussian fits: fitted to a ring of radius 2, better than the best Gaussian by over 0.4 nats."""
    torch.set_default_dtype(torch.float32)
    angle, radius = torch.rand(500) * 2 * torch.pi, 2 + 0.15 * torch.randn(500)
    z = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    prior = FlowPrior(2)
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = -prior(None).log_prob(z).mean()
        loss.backward()
        optimizer.step()
    gaussian = -0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(z.T.numpy()))[1]
    assert -loss.item() > gaussian + 0.4


@pytest.mark.parametrize("options", [{"posterior": "iaf"}, {"prior": "flow"}], ids=str)
def test_steps_with_flows_run_as_they_are(options):
    data = read("digits")
    vae = build_vae(
        ModelConfig(latent_dim=2, **({"likelihood": "bernoulli"} | options)), data.schema
    )
    assert not compiles(build_objective(vae, TrainConfig()), TrainConfig(), 10**9)
    assert compiles(
        build_objective(build_vae(ModelConfig(likelihood="bernoulli"), data.schema), TrainConfig()),
        TrainConfig(),
        10**9,
    )
    with pytest.raises(
        ValueError, match="`compile='on'` needs a posterior and a prior without flows; got"
    ):
        Step(build_objective(vae, TrainConfig()), TrainConfig(compile="on"), 10)


def test_an_iaf_asks_for_no_inversion_in_training_and_evaluation():
    data = read("digits")
    vae = build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2, posterior="iaf"), data.schema)
    law = vae.encode(data.test.prepared()[:3])
    law.log_prob = None  # which inverts
    weights = log_weights(vae, data.test.prepared()[:3], 4, q=law)
    assert weights.log_weight.isfinite().all()
