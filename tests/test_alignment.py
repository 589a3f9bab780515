"""Turned axes: the same p(x), the same ELBO, other codes."""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from test_lowering import run as run_program

from variform import ModelConfig, build_vae
from variform.data.conditions import Condition
from variform.data.reading import dataset_from
from variform.export.lowering import lower_encoder
from variform.export.model_file import load_vae, save
from variform.model.alignment import Alignment, align, move, unturn
from variform.model.importance import weights_of
from variform.objectives import ELBO

TIGHT = {"rtol": 0, "atol": 1e-10}


def built(**options):
    image = options.get("network", "mlp") != "mlp"
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    x = torch.from_numpy(random.random((40, 1, 8, 8)) if image else random.normal(size=(40, 4)))
    data = dataset_from(x)
    model = {"latent_dim": 3, "hidden": (6,), "likelihood": "gaussian"} | options
    vae = build_vae(ModelConfig(**model), data.schema, moments=data.moments()).double()
    with torch.no_grad():
        for value in vae.parameters():
            value += 0.1 * torch.randn_like(value)
    return vae.eval(), x


def some_map(vae, seed=0):
    """A random alignment of the kind that the model allows, with a shift where it allows one."""
    random = np.random.default_rng(seed)
    dim = vae.latent_dim
    codes = random.normal(size=(20, dim))
    kind = align(vae, codes, codes).kind
    turn = stats.ortho_group.rvs(dim, random_state=seed)
    if kind == "signed permutation":
        turn = np.eye(dim)[random.permutation(dim)] * random.choice([-1.0, 1.0], dim)
    may_shift = vae.config.prior != "normal"
    return Alignment(kind, turn, random.normal(size=dim) * may_shift)


MODELS = [
    {"posterior": "full"},
    {"posterior": "full", "hidden": ()},
    {"posterior": "full", "posterior_std": "exp", "gated": True, "layer_norm": True},
    {"posterior": "full", "prior": "vamp", "components": 4},
    {"posterior": "full", "prior": "mixture", "components": 4},
    {"posterior": "full", "network": "conv", "filters": (3,)},
    {"posterior": "full", "network": "residual", "filters": (3,), "hidden": ()},
    {},
    {"prior": "mixture", "components": 4},
    {"prior": "vamp", "components": 4},
]


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_a_turn_changes_codes_and_nothing_else(options):
    """Every density at the point that the map gives is what it was at the point: so are all their means."""
    vae, x = built(**options)
    other, alignment = copy.deepcopy(vae), some_map(vae)
    move(other, alignment)
    turn, shift = torch.from_numpy(alignment.turn), torch.from_numpy(alignment.shift)
    with torch.no_grad():
        q, turned = vae.encode(x), other.encode(x)
        torch.testing.assert_close(turned.mean, q.mean @ turn.T + shift, **TIGHT)
        z, log_q = q.rsample_and_log_prob((50,))
        at = z @ turn.T + shift
        torch.testing.assert_close(turned.log_prob(at), log_q, **TIGHT)
        torch.testing.assert_close(
            other.latent_prior().log_prob(at), vae.latent_prior().log_prob(z), **TIGHT
        )
        before, after = (weights_of(one, x, point, log_q) for one, point in ((vae, z), (other, at)))
        for name in ("log_weight", "log_likelihood"):
            torch.testing.assert_close(getattr(after, name), getattr(before, name), **TIGHT)
        # p(x) by importance sampling, and the ELBO: with the KL in closed form where there is one
        torch.testing.assert_close(
            after.log_weight.logsumexp(0), before.log_weight.logsumexp(0), **TIGHT
        )
        if vae.config.prior == "normal":
            kls = [ELBO(one)(x).kl for one in (vae, other)]
            torch.testing.assert_close(*kls, **TIGHT)


def test_the_exact_density_of_a_linear_model_stays():
    vae, x = built(posterior="full", hidden=(), likelihood="gaussian-per-feature", latent_dim=2)

    def exact():
        with torch.no_grad():
            origin = vae.decode(torch.zeros(1, 2))
            columns = vae.decode(torch.eye(2)).mean - origin.mean
            noise = np.diag(origin.variance[0].numpy())
        law = stats.multivariate_normal(
            origin.mean[0].numpy(), columns.T.numpy() @ columns.numpy() + noise
        )
        return law.logpdf(x.numpy())

    before = exact()
    move(vae, some_map(vae, 3))
    np.testing.assert_allclose(exact(), before, rtol=0, atol=1e-10)


def test_a_conditional_model_turns_its_latents_and_not_what_it_is_given():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(9, 4)))
    schema = dataset_from(x).schema
    schema = dataclasses.replace(schema, conditions=(Condition("kind", ("a", "b")),))
    options = {"latent_dim": 3, "hidden": (6,), "likelihood": "gaussian", "posterior": "full"}
    vae = build_vae(ModelConfig(**options), schema).double().eval()
    other, alignment = copy.deepcopy(vae), some_map(vae)
    move(other, alignment)
    context = torch.eye(2)[torch.arange(9) % 2]
    torch.testing.assert_close(other.reconstruct(x, context), vae.reconstruct(x, context), **TIGHT)


# --- which map ----------------------------------------------------------------------------------------------------


def test_the_rotation_of_codes_is_found_again():
    vae, _ = built(posterior="full")
    codes = np.random.default_rng(1).normal(size=(30, 3))
    turn = stats.ortho_group.rvs(3, random_state=1)
    np.testing.assert_allclose(align(vae, codes, codes @ turn.T).turn, turn, atol=1e-12)


@pytest.mark.parametrize("prior", ["normal", "vamp"])
def test_no_signed_permutation_is_better_than_the_one_that_is_found(prior):
    """Of all 48 of three dimensions, with the best shift where the prior allows one."""
    vae, _ = built(prior=prior, components=4)
    random = np.random.default_rng(2)
    for _ in range(20):
        codes, wanted = random.normal(size=(2, 7, 3)) + random.normal(size=(2, 1, 3))
        found = align(vae, codes, wanted)
        reached = np.square(codes @ found.turn.T + found.shift - wanted).sum()
        distances = []
        for order, signs in itertools.product(
            itertools.permutations(range(3)), itertools.product([-1, 1], repeat=3)
        ):
            moved = codes @ (np.eye(3)[list(order)] * signs).T
            shift = (wanted - moved).mean(0) * (prior == "vamp")
            distances.append(np.square(moved + shift - wanted).sum())
        assert len(distances) == 48
        assert reached == pytest.approx(min(distances), rel=1e-12)


@pytest.mark.parametrize("options", [{"posterior": "iaf"}, {"prior": "flow"}], ids=str)
def test_flows_are_left_alone(options):
    vae, x = built(**options)
    codes = np.random.default_rng(0).normal(size=(5, 3))
    alignment = align(vae, codes, -codes)
    assert alignment.kind == "none" and "flow" in alignment.why
    before = vae.encode(x).mean
    move(vae, alignment)
    assert torch.equal(vae.encode(x).mean, before)


# --- where it goes ------------------------------------------------------------------------------------------------


def test_a_turned_model_is_kept_and_turned_back(tmp_path):
    vae, x = built(posterior="full")
    plain = copy.deepcopy(vae)
    move(vae, some_map(vae))
    save(vae, tmp_path / "model.safetensors")
    loaded = load_vae(tmp_path / "model.safetensors")
    assert torch.equal(loaded.encode(x).scale_tril, vae.encode(x).scale_tril)
    unturn(loaded)
    assert loaded.posterior.turn is None and set(loaded.state_dict()) == set(plain.state_dict())
    torch.testing.assert_close(loaded.encode(x).scale_tril, plain.encode(x).scale_tril, **TIGHT)
    torch.testing.assert_close(loaded.reconstruct(x), plain.reconstruct(x), **TIGHT)


@pytest.mark.parametrize("std", ["softplus", "exp"])
def test_what_leaves_torch_has_the_deviations_of_a_turned_model(std):
    vae, x = built(posterior="full", posterior_std=std)
    move(vae, some_map(vae))
    q = vae.encode(x)
    found = run_program(lower_encoder(vae), x.numpy())
    np.testing.assert_allclose(found[:, 0], q.mean.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], q.stddev.detach(), rtol=1e-5, atol=1e-5)


def test_a_turned_model_trains():
    vae, x = built(posterior="full")
    move(vae, some_map(vae))
    vae.train()
    ELBO(vae)(x).loss.sum().backward()
    assert all(value.grad.isfinite().all() for value in vae.parameters())
