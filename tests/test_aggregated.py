"""Objectives on all posteriors of a batch: values by hand, from the papers, and what must not leak."""

import itertools
import math

import numpy as np
import pytest
import torch
from by_hand import Hand, drawn, linear_bernoulli, normal
from scipy import stats

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.data.reading import dataset_from
from variform.distributions import Bernoulli, DiagonalGaussian, FullGaussian
from variform.objectives import DIPVAE, ELBO, WAE, BetaTCVAE, FactorVAE, InfoVAE
from variform.objectives.disentangling import log_aggregated, permute_dimensions
from variform.objectives.matching import SCALES, mmd, sliced
from variform.training.step import Step

DIM = 3
X = torch.tensor(
    [[1.0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0.3, 0], [1, 1, 0, 0], [0, 1, 0, 1]], dtype=torch.float64
)
B = len(X)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# --- total correlation --------------------------------------------------------------------------------------------


def weights_of_the_paper(count, rows, odd):
    """Chen et al. (2018), appendix C.2, for the first row: M = count - 1 others, one of them with the odd weight."""
    others = count - 1
    weights = [1 / rows] + [1 / others] * others
    weights[odd] = (rows - others) / (rows * others)
    return weights


def beta_tc_by_hand(hand, rows, alpha, beta, gamma):
    draws, count, dim = hand.z.shape
    weights = np.mean([weights_of_the_paper(count, rows, odd) for odd in range(1, count)], 0)
    losses = np.zeros(count)
    for number, row in itertools.product(range(draws), range(count)):
        z = hand.z[number, row]
        total, by_dim = 0.0, [0.0] * dim
        for place, other in enumerate([row, *(other for other in range(count) if other != row)]):
            densities = [
                math.exp(normal(z[d], hand.mean[other, d], hand.std[other, d])) for d in range(dim)
            ]
            total += weights[place] * math.prod(densities)
            by_dim = [
                old + weights[place] * new for old, new in zip(by_dim, densities, strict=True)
            ]
        information = hand.log_q[number, row] - math.log(total)
        correlation = math.log(total) - sum(map(math.log, by_dim))
        dimensions = sum(map(math.log, by_dim)) - hand.log_p[number, row]
        cost = alpha * information + beta * correlation + gamma * dimensions
        losses[row] += (cost - hand.log_likelihood[number, row]) / draws
    return losses


@pytest.mark.parametrize("samples", [1, 2])
def test_beta_tc_equals_its_formula(samples):
    vae, noise = linear_bernoulli(), drawn((samples, B, DIM))
    terms = BetaTCVAE(vae, rows=100, samples=samples, alpha=0.5, beta=6.0, gamma=2.0)(X)
    expected = beta_tc_by_hand(Hand(vae, X, noise), 100, 0.5, 6.0, 2.0)
    np.testing.assert_allclose(terms.loss.detach(), expected, rtol=1e-10)


def test_with_all_weights_one_beta_tc_is_the_elbo():
    """The three parts add up to KL whatever the weights of the rows are."""
    vae = linear_bernoulli()
    losses = []
    for objective in (BetaTCVAE(vae, rows=1000, samples=3), ELBO(vae, samples=3, kl="monte-carlo")):
        torch.manual_seed(0)
        losses.append(objective(X).loss)
    torch.testing.assert_close(losses[0], losses[1])


def test_the_estimate_of_q_of_z_is_unbiased_over_batches_and_exact_for_all_rows():
    """Every batch of 3 of 6 rows that holds row 0: the mean of the estimates is the exact mixture of all six."""
    torch.manual_seed(0)
    mean, log_var, z = torch.randn(6, 2), torch.randn(6, 2), torch.randn(1, 1, 2)
    exact = DiagonalGaussian(mean, log_var).log_prob(z[0]).exp().mean()
    exact_1 = DiagonalGaussian(mean[:, :1], log_var[:, :1]).log_prob(z[0, :, :1]).exp().mean()
    for count in (2, 3, 6):
        joint, first = [], []
        for others in itertools.combinations(range(1, 6), count - 1):
            batch = [0, *others]
            q = DiagonalGaussian(mean[batch], log_var[batch])
            joint.append(log_aggregated(q, z.expand(1, count, 2), 6)[0][0, 0].exp())
            q = DiagonalGaussian(mean[batch][:, :1], log_var[batch][:, :1])
            first.append(log_aggregated(q, z[..., :1].expand(1, count, 1), 6)[1][0, 0].exp())
        torch.testing.assert_close(torch.stack(joint).mean(), exact)
        torch.testing.assert_close(torch.stack(first).mean(), exact_1)


def test_constants_are_in_and_a_weight_counts_once():
    """Of equal posteriors q(z) is each of them, in any number of dimensions: MI and TC are zero."""
    q = DiagonalGaussian(torch.full((5, 7), 0.3), torch.full((5, 7), -1.0))
    z = q.rsample((2,))
    for values in log_aggregated(q, z, 1000):
        torch.testing.assert_close(values, q.log_prob(z))


def test_a_full_covariance_has_its_own_marginals():
    scale = torch.tensor([[1.0, 0.0], [0.8, 0.6]])  # both variances are 1, and correlated
    q = FullGaussian(torch.zeros(4, 2), scale.expand(4, 2, 2))
    z = q.rsample((3,))
    log_q, log_marginals = log_aggregated(q, z, 50)
    torch.testing.assert_close(log_q, q.log_prob(z))
    torch.testing.assert_close(
        log_marginals, DiagonalGaussian(torch.zeros(2), torch.zeros(2)).log_prob(z)
    )
    with pytest.raises(ValueError, match="the posterior must be Gaussian; got Bernoulli"):
        log_aggregated(Bernoulli(torch.zeros(4, 2)), z, 50)


# --- covariances --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "diagonal"), [("i", None), ("ii", None), ("i", 30.0), ("ii", 3.0)]
)
def test_dip_equals_its_formula(kind, diagonal):
    """The covariance is over the batch; of II the mean variance is on the diagonal and nowhere else. The weight of the
    diagonal, where it is not given, is that of the study of Locatello et al. (2019).
    """
    vae, noise = linear_bernoulli(), drawn((1, B, DIM))
    hand = Hand(vae, X, noise)
    covariance = np.cov(hand.mean.T, bias=True)
    if kind == "ii":
        covariance = covariance + np.diag((hand.std**2).mean(0))
    cost = 0.0
    for row, column in itertools.product(range(DIM), repeat=2):
        value = covariance[row, column]
        cost += (diagonal or 7.0) * (value - 1) ** 2 if row == column else 3.0 * value**2
    given = {} if diagonal else {"penalty_diagonal": 7.0}
    terms = DIPVAE(vae, kind=kind, penalty=3.0, beta=2.0, **given)(X)
    np.testing.assert_allclose(
        terms.loss.detach(), 2 * hand.kl - hand.log_likelihood[0] + cost, rtol=1e-10
    )


# --- distances of q(z) from p(z) ----------------------------------------------------------------------------------


def mmd_by_hand(first, second):
    def kernel(a, b):
        distance = sum((u - v) ** 2 for u, v in zip(a, b, strict=True))
        return sum(2 * len(a) * scale / (2 * len(a) * scale + distance) for scale in SCALES)

    count = len(first)
    total = 0.0
    for i, j in itertools.product(range(count), repeat=2):
        if i != j:
            total += (kernel(first[i], first[j]) + kernel(second[i], second[j])) / (
                count * (count - 1)
            )
        total -= 2 * kernel(first[i], second[j]) / count**2
    return total


def test_mmd_equals_its_formula_and_keeps_the_diagonal_of_the_cross_term():
    first, second = torch.randn(6, 2), torch.randn(6, 2) + 1
    assert mmd(first, second).item() == pytest.approx(
        mmd_by_hand(first.tolist(), second.tolist()), rel=1e-10
    )
    both = mmd(torch.stack([first, second]), torch.stack([second, second]))
    torch.testing.assert_close(both[0], mmd(first, second))
    assert mmd(first[:1], second[:1]).item() == 0


def test_mmd_is_zero_in_expectation_for_equal_laws_and_positive_for_others():
    """400 repeats with 30 points: within 4 standard errors of zero (false alarm 1 in 16,000), or far above."""
    for shift, scale in ((0.0, 1.0), (0.5, 1.0), (0.0, 1.5)):
        values = mmd(torch.randn(400, 30, 2), scale * torch.randn(400, 30, 2) + shift)
        error = values.std().item() / math.sqrt(400)
        if shift == 0 and scale == 1:
            assert abs(values.mean().item()) < 4 * error
        else:
            assert values.mean().item() > 8 * error


def draws_of_info(samples=1):
    """The noise of z, then the draws of the prior."""
    torch.manual_seed(0)
    noise, prior = torch.randn(samples, B, DIM), torch.randn(samples, B, DIM)
    torch.manual_seed(0)
    return noise.numpy(), prior.numpy()


def test_info_equals_its_formula():
    vae, (noise, prior) = linear_bernoulli(), draws_of_info()
    hand = Hand(vae, X, noise)
    terms = InfoVAE(vae, alpha=0.3, penalty=20.0)(X)
    expected = (
        0.7 * hand.kl - hand.log_likelihood[0] + (0.3 + 20 - 1) * mmd_by_hand(hand.z[0], prior[0])
    )
    np.testing.assert_allclose(terms.loss.detach(), expected, rtol=1e-10)


def test_a_distance_is_never_rewarded():
    """pythae's default weight of the MMD is -0.999."""
    for alpha, penalty in ((0.0, 0.001), (1.5, 10.0)):
        with pytest.raises(
            ValueError, match="`alpha` must be at most 1, and `alpha` \\+ `penalty` at least 1"
        ):
            InfoVAE(linear_bernoulli(), alpha=alpha, penalty=penalty)


def test_wae_equals_its_formula_with_and_without_draws():
    vae, (noise, prior) = linear_bernoulli(), draws_of_info(2)
    hand = Hand(vae, X, noise)
    distance = np.mean([mmd_by_hand(hand.z[number], prior[number]) for number in range(2)])
    terms = WAE(vae, penalty=5.0, deterministic=False, samples=2)(X)
    np.testing.assert_allclose(
        terms.loss.detach(), 5 * distance - hand.log_likelihood.mean(0), rtol=1e-10
    )
    np.testing.assert_allclose(terms.kl.detach(), (hand.log_q - hand.log_p).mean(0), rtol=1e-10)
    torch.manual_seed(0)
    prior = torch.randn(1, B, DIM)
    torch.manual_seed(0)
    hand = Hand(vae, X, np.zeros((1, B, DIM)))
    terms = WAE(vae, penalty=5.0)(X)
    expected = 5 * mmd_by_hand(hand.mean, prior[0].numpy()) - hand.log_likelihood[0]
    np.testing.assert_allclose(terms.loss.detach(), expected, rtol=1e-10)
    assert terms.kl.isnan().all() and terms.elbo.isnan().all()


def sliced_by_hand(first, second, directions):
    total = 0.0
    for direction in directions:
        along = [sorted(float(direction @ point) for point in points) for points in (first, second)]
        total += sum((a - b) ** 2 for a, b in zip(*along, strict=True)) / len(first)
    return total / len(directions)


def test_in_one_dimension_the_sliced_distance_is_scipys_wasserstein_of_sorted_points():
    """SciPy has the first power of the distance: points that are all moved by one number are that number apart."""
    points = torch.randn(50, 1)
    moved = points[torch.randperm(50)] + 0.7
    first = stats.wasserstein_distance(points[:, 0], moved[:, 0])
    assert first == pytest.approx(0.7)
    assert sliced(points, moved, torch.ones(1, 1)).item() == pytest.approx(first**2)


def test_the_sliced_distance_of_equal_laws_falls_with_the_points_and_stays_for_others():
    """Of N(0, I) and N(m, I) in D dimensions it is |m|^2 / D; 200 directions and 4,000 points, within a tenth."""
    directions = torch.nn.functional.normalize(torch.randn(200, 3), dim=-1)
    values = [
        sliced(torch.randn(count, 3), torch.randn(count, 3), directions).item()
        for count in (40, 4000)
    ]
    assert values[1] < 0.05 * values[0]
    moved = torch.randn(4000, 3) + torch.tensor([1.0, 2.0, -1.0])
    assert sliced(torch.randn(4000, 3), moved, directions).item() == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("samples", [0, 2])
def test_the_sliced_wae_equals_its_formula(samples):
    vae = linear_bernoulli()
    torch.manual_seed(0)
    noise = torch.randn(samples, B, DIM) if samples else torch.zeros(1, B, DIM)
    prior, directions = torch.randn(max(1, samples), B, DIM).numpy(), torch.randn(7, DIM).numpy()
    torch.manual_seed(0)
    directions = directions / np.sqrt((directions**2).sum(1, keepdims=True))
    hand = Hand(vae, X, noise.numpy())
    distance = np.mean(
        [sliced_by_hand(*pair, directions) for pair in zip(hand.z, prior, strict=True)]
    )
    given = {"deterministic": False, "samples": samples} if samples else {}
    terms = WAE(vae, penalty=5.0, distance="sliced", slices=7, **given)(X)
    expected = 5 * distance - hand.log_likelihood.mean(0)
    np.testing.assert_allclose(terms.loss.detach(), expected, rtol=1e-10)
    assert terms.elbo.isnan().all().item() is not bool(samples) and terms.auxiliary is None


# --- a discriminator ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [0, 2])
def test_the_adversarial_wae_equals_its_formula(samples):
    """Tolstikhin et al. (2018), algorithm 1: the encoder wants D to take its draws for the prior's."""
    vae = linear_bernoulli()
    given = {"deterministic": False, "samples": samples} if samples else {}
    objective = WAE(vae, penalty=5.0, distance="adversarial", discriminator=(8, 8), **given)
    torch.manual_seed(0)
    noise = torch.randn(samples, B, DIM) if samples else torch.zeros(1, B, DIM)
    prior = torch.randn(max(1, samples), B, DIM).numpy()
    torch.manual_seed(0)
    terms = objective(X)
    hand = Hand(vae, X, noise.numpy())
    costs, surprises = np.zeros(B), np.zeros(B)
    for made, real in zip(hand.z, prior, strict=True):
        taken, known = (logit_by_hand(objective.auxiliary, points) for points in (made, real))
        for row in range(B):
            costs[row] -= math.log(sigmoid(taken[row])) / len(prior)
            surprises[row] -= math.log(sigmoid(known[row])) / len(prior)
            surprises[row] -= math.log(1 - sigmoid(taken[row])) / len(prior)
    expected = 5 * costs - hand.log_likelihood.mean(0)
    np.testing.assert_allclose(terms.loss.detach(), expected, rtol=1e-10)
    np.testing.assert_allclose(terms.auxiliary.detach(), surprises, rtol=1e-10)


def test_the_adversarial_game_moves_codes_to_the_prior():
    """Codes of an encoder far from N(0, 1), whose decoder tells nothing: only the distance moves them."""
    torch.manual_seed(0)
    vae = linear_bernoulli(2, 1)
    with torch.no_grad():
        vae.encoder.output.bias[0] = 3.0
    objective = WAE(vae, penalty=10.0, distance="adversarial", discriminator=(16,))
    step = Step(objective, TrainConfig(compile="off", learning_rate=3e-3), 300)
    rows = torch.rand(200, 2)
    before = vae.encode(rows).mean.mean().item()
    for _ in range(300):
        step(rows, len(rows), 1.0)
    assert before > 2.5 and abs(vae.encode(rows).mean.mean().item()) < 0.7


def logit_by_hand(discriminator, z):
    h = z
    for layer in discriminator.layers:
        if hasattr(layer, "weight"):
            h = h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
            h = np.where(h > 0, h, 0.01 * h)
    return (
        h @ discriminator.output.weight.detach().numpy().T
        + discriminator.output.bias.detach().numpy()
    )[:, 0]


def test_factor_equals_its_formula():
    """On the whole batch, with every latent dimension permuted on its own."""
    vae = linear_bernoulli()
    objective = FactorVAE(vae, gamma=4.0, discriminator=(8, 8))
    torch.manual_seed(0)
    noise = torch.randn(1, B, DIM).numpy()
    order = torch.rand(1, B, DIM).argsort(1).numpy()[0]
    torch.manual_seed(0)
    terms = objective(X)
    hand = Hand(vae, X, noise)
    z = hand.z[0]
    permuted = np.stack([z[order[:, d], d] for d in range(DIM)], 1)
    real, false = (
        logit_by_hand(objective.auxiliary, z),
        logit_by_hand(objective.auxiliary, permuted),
    )
    np.testing.assert_allclose(
        terms.loss.detach(), hand.kl - hand.log_likelihood[0] + 4 * real, rtol=1e-10
    )
    crossed = [
        -0.5 * (math.log(sigmoid(a)) + math.log(1 - sigmoid(b)))
        for a, b in zip(real, false, strict=True)
    ]
    np.testing.assert_allclose(terms.auxiliary.detach(), crossed, rtol=1e-10)
    assert not np.array_equal(z, permuted)


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_permuted_dimensions_keep_each_and_break_what_binds_them():
    z = torch.randn(1, 20_000, 1).expand(-1, -1, 2)
    permuted = permute_dimensions(z)
    torch.testing.assert_close(permuted.sort(1).values, z.sort(1).values)
    assert abs(np.corrcoef(permuted[0].T)[0, 1]) < 0.03


@pytest.mark.parametrize(
    "make",
    [
        lambda vae: FactorVAE(vae, discriminator=(8,)),
        lambda vae: WAE(
            vae, distance="adversarial", deterministic=False, samples=1, discriminator=(8,)
        ),
    ],
    ids=["factor", "adversarial"],
)
def test_nothing_leaks_between_the_encoder_and_the_discriminator(make):
    """pythae's encoder also receives the gradient that helps the discriminator."""
    vae = linear_bernoulli()
    objective = make(vae)
    terms = objective(X)
    main, auxiliary = list(vae.parameters()), list(objective.auxiliary.parameters())
    options = {"allow_unused": True, "retain_graph": True}
    assert all(
        slope is None for slope in torch.autograd.grad(terms.auxiliary.sum(), main, **options)
    )
    assert all(
        slope is None for slope in torch.autograd.grad(terms.loss.sum(), auxiliary, **options)
    )
    assert all(
        slope is not None and slope.any()
        for slope in torch.autograd.grad(terms.loss.sum(), main, **options)
    )
    assert all(
        slope.any()
        for slope in torch.autograd.grad(terms.auxiliary.sum(), auxiliary, **options)[:2]
    )
    torch.testing.assert_close(vae.encode(X).mean, vae.encode(X).mean)


def test_a_step_trains_the_vae_as_if_a_weightless_discriminator_were_not_there():
    stepped = {}
    for name in ("elbo", "factor"):
        vae = linear_bernoulli()
        objective = ELBO(vae) if name == "elbo" else FactorVAE(vae, gamma=0.0, discriminator=(8,))
        before = [parameter.clone() for parameter in objective.parameters()]
        step = Step(objective, TrainConfig(compile="off"), 10)
        for _ in range(2):
            torch.manual_seed(0)
            step(X, B, 1.0)
        stepped[name] = list(vae.parameters())
        assert all(
            not torch.equal(*pair) for pair in zip(before, objective.parameters(), strict=True)
        )
    for first, second in zip(*stepped.values(), strict=True):
        torch.testing.assert_close(first, second)
    assert [group["lr"] for group in step.optimizer.param_groups] == [1e-3, 1e-4]


def test_the_discriminator_finds_the_total_correlation():
    """Of two unit Gaussians with correlation 0.9 it is -ln(1 - 0.81) / 2 = 0.83; the encoder is the identity."""
    torch.manual_seed(0)
    vae = linear_bernoulli(2, 2)
    with torch.no_grad():
        vae.encoder.output.weight.copy_(torch.cat([torch.eye(2), torch.zeros(2, 2)]))
        vae.encoder.output.bias.copy_(torch.tensor([0.0, 0, -12, -12]))
    objective = FactorVAE(vae, gamma=1.0, discriminator=(32, 32))
    optimizer = torch.optim.Adam(objective.auxiliary.parameters(), lr=5e-3)

    def rows(count):
        first, second = torch.randn(2, count)
        return torch.stack([first, 0.9 * first + math.sqrt(0.19) * second], 1)

    for _ in range(400):
        optimizer.zero_grad()
        objective(rows(500)).auxiliary.mean().backward()
        optimizer.step()
    with torch.no_grad():
        terms = objective(rows(20_000))
    assert (terms.loss + terms.elbo).mean().item() == pytest.approx(-0.5 * math.log(0.19), abs=0.1)


# --- what all of them must survive ---------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["beta-tc", "dip-i", "dip-ii", "info", "wae", "factor"])
def test_a_last_batch_of_one_row_is_trained_on(objective):
    """17 rows in batches of 8; pythae divides by zero there or stops with NaN."""
    data = dataset_from((torch.rand(17, 4) < 0.5).double())
    discriminator = {"discriminator": (8,)} if objective == "factor" else {}
    config = TrainConfig(objective=objective, epochs=2, batch_size=8, **discriminator)
    built = build_objective(linear_bernoulli(), config, rows=17)
    history = fit(built, data, data, config)
    assert all(
        math.isfinite(row[f"{part}_loss"]) for row in history.rows for part in ("train", "valid")
    )
    assert built.couples_rows
    one = built(X[:1])
    one.loss.sum().backward()
    assert one.loss.isfinite().all()
    assert all(
        value.grad.isfinite().all() for value in built.vae.parameters() if value.grad is not None
    )


def test_beta_tc_must_know_the_number_of_rows():
    with pytest.raises(
        ValueError, match="objective beta-tc must know the number of training rows; got none"
    ):
        build_objective(linear_bernoulli(), TrainConfig(objective="beta-tc"))


@pytest.mark.parametrize("options", [{"objective": "wae"}, {"objective": "info", "alpha": 1.0}])
def test_a_learned_prior_is_refused_where_nothing_trains_it(options):
    data = read("digits")
    vae = build_vae(
        ModelConfig(
            likelihood="bernoulli", prior="mixture", components=3, latent_dim=2, hidden=(4,)
        ),
        data.schema,
    )
    with pytest.raises(ValueError, match="does not train a prior; got MixturePrior"):
        build_objective(vae, TrainConfig(**options), rows=100)


@pytest.mark.parametrize("name", ["beta-tc", "dip-ii"])
def test_a_posterior_without_known_marginals_is_refused_before_anything_is_written(name):
    data = read("digits")
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", posterior="iaf", latent_dim=2, hidden=(4,)), data.schema
    )
    with pytest.raises(ValueError, match="needs a Gaussian posterior; got IAFPosterior"):
        build_objective(vae, TrainConfig(objective=name), rows=100)
