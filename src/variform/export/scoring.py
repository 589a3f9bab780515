"""The score of rows and draws of the prior as steps: what is random comes from outside, as noise.

A score is the importance-weighted bound of log p(x). With noise e of k draws for each row:

$z_l = \\mu(x) + \\sigma(x)\\, e_l$ and $\\log \\tfrac1k \\sum_l p(x|z_l)\\, p(z_l) / q(z_l|x)$.

Reference:
    Burda, Grosse and Salakhutdinov (2016), section 3.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from variform.data.schema import Schema
from variform.distributions.compound import Mixture
from variform.distributions.gaussian import DiagonalGaussian, StandardNormal
from variform.distributions.law import LOG_2_PI
from variform.export.lowering import (
    Lowering,
    Program,
    lower_network,
    lower_preparation,
    no_step_for,
    steps_of,
)
from variform.model.likelihoods.family import at_atoms
from variform.model.posteriors import DiagonalPosterior
from variform.model.vae import VAE, evaluating


class Score(NamedTuple):
    """Programs from which a score is made; `encoder` of `lower_encoder` comes before them."""

    seen: Program
    """From raw rows (B, *event) to what the model sees of them, flat, (B, E)."""
    weight: Program
    """From z, the standard deviations of q(z|x), the noise and what the model sees, side by side, (B, 3 D + E), to the
    log-weight, (B, 1), in nats and of a density in the data's own units."""


def lower_score(vae: VAE) -> Score:
    r"""The log-weight $\log p(x|z) + \log p(z) - \log q(z|x)$ of a draw as steps.

    Args:
        vae: A VAE made by `build_vae`.

    Raises:
        ValueError: for a part that has no steps: a likelihood without `density_steps`, a posterior that is not
            diagonal, a prior that is neither N(0, I) nor a mixture of diagonal Gaussians.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> config = ModelConfig(latent_dim=2, likelihood="bernoulli")
        >>> score = lower_score(build_vae(config, read("digits").schema))
        >>> score.seen.out_shape, score.weight.in_shape, score.weight.out_shape
        ((64,), (70,), (1,))
    """
    if not isinstance(vae.posterior, DiagonalPosterior):
        raise ValueError(no_step_for(vae.posterior))
    assert vae.schema is not None  # as of all that build_vae made
    in_type = "float64" if any(vae.schema.is_far) else "float32"
    seeing = Lowering(vae.event_shape, type=in_type)
    lower_preparation(seeing, vae.schema)
    nearest = torch.tensor(vae.schema.nearest, dtype=torch.float64).reshape(-1, 2)
    for end, widths in enumerate(nearest.T):
        _off_end(seeing, end, widths)
    size = math.prod(vae.event_shape)
    seeing.reshape((size,))
    seen = Program(vae.event_shape, 0, (size,), seeing.steps, seeing.weights, in_type)

    law = _law(vae)
    dim = vae.latent_dim
    weighing = Lowering((3 * dim + size,))

    def of_prior(branch: Lowering) -> None:
        branch.take(range(dim))
        _log_density(branch, law)

    def of_posterior(branch: Lowering) -> None:
        """-log q(z|x), the sum of e^2 / 2 + log std + log(2 pi) / 2."""
        branch.take(range(dim, 3 * dim))
        branch.concatenate([lambda own: _logarithms(own, dim), lambda own: _squares(own, dim)])
        factors = torch.tensor([1.0, 0.5]).repeat_interleave(dim)
        branch.dense(factors[None], torch.tensor([dim * LOG_2_PI / 2]))

    weighing.sum([lambda branch: _of_likelihood(branch, vae), of_prior, of_posterior])
    in_shape = (3 * dim + size,)
    weight = Program(in_shape, vae.context_dim, (1,), weighing.steps, weighing.weights)
    return Score(seen, weight)


def lower_prior(vae: VAE) -> Program:
    """From noise to draws of p(z), (B, D).

    Of N(0, I) the noise is (B, D), standard normal, and is the draw. Of a mixture it is (B, D + 1): behind that stands
    a uniform number from [0, 1), which chooses the component. Pseudo-inputs have become the components that they are.

    Args:
        vae: A VAE made by `build_vae`.

    Raises:
        ValueError: for another prior, such as a flow.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> config = ModelConfig(latent_dim=2, likelihood="bernoulli", prior="mixture")
        >>> program = lower_prior(build_vae(config, read("digits").schema))
        >>> program.in_shape, program.out_shape
        ((3,), (2,))
    """
    law, dim = _law(vae), vae.latent_dim
    if isinstance(law, StandardNormal):
        return Program((dim,), 0, (dim,), [], {})
    loc, std, shares = _components(law)
    drawing = Lowering((dim + 1,))
    count = len(shares)
    starts = shares.cumsum(0) - shares

    def chosen(branch: Lowering) -> None:
        """The mean and the standard deviation of the last component whose start the uniform number has reached."""
        branch.take([dim] * count)
        branch.add(0.5 - starts)
        branch.map("step")
        one_hot = torch.eye(count) - torch.diag(torch.ones(count - 1), 1)
        branch.dense(one_hot, torch.zeros(count))
        branch.dense(torch.cat([loc, std], 1).mT, torch.zeros(2 * dim))

    drawing.concatenate([chosen, lambda branch: branch.take(range(dim))])

    def scaled(branch: Lowering) -> None:
        branch.take(range(dim, 3 * dim))
        branch.product()

    drawing.sum([lambda branch: branch.take(range(dim)), scaled])
    return Program((dim + 1,), 0, (dim,), drawing.steps, drawing.weights)


def _off_end(seeing: Lowering, end: int, nearest: Tensor) -> None:
    """Values that rounding may have put on the end 0 or 1 of their law, moved inside as `Schema.nearest` says."""
    is_rounded = nearest > torch.finfo(torch.float32).tiny
    columns = is_rounded.nonzero().flatten().tolist()
    others = (~is_rounded).nonzero().flatten().tolist()
    if not columns:
        return
    width = nearest[columns]
    inside = end + (1 - 2 * end) * width
    is_there = at_atoms(list(range(len(columns))), torch.full_like(width, float(end)), width)

    def distance(branch: Lowering) -> None:
        branch.multiply(-1.0)
        branch.add(inside)
        branch.clip(-1.0, 1.0)  # 0 times what is infinite would be NaN

    def move(branch: Lowering) -> None:
        branch.concatenate([lambda own: own.follow(is_there), distance])
        branch.product()

    def moved(branch: Lowering) -> None:
        branch.sum([lambda own: None, move])

    seeing.on_columns([(columns, moved), (others, lambda branch: None)])


def _law(vae: VAE) -> StandardNormal | Mixture:
    """p(z), which must be of a kind that has steps."""
    with evaluating(vae):
        law = vae.latent_prior()
    if isinstance(law, StandardNormal):
        return law
    if isinstance(law, Mixture) and isinstance(law.components, DiagonalGaussian):
        return law
    raise ValueError(no_step_for(vae.prior))


def _components(law: Mixture) -> tuple[Tensor, Tensor, Tensor]:
    """Means and standard deviations (K, D) and shares (K,), in double precision."""
    loc, std = law.components.mean.detach().double(), law.components.stddev.detach().double()
    return loc.cpu(), std.expand(loc.shape).cpu(), law.log_weights.detach().double().exp().cpu()


def _log_density(branch: Lowering, law: StandardNormal | Mixture) -> None:
    """From z (B, D) to log p(z), (B, 1)."""
    (dim,) = branch.shape
    if isinstance(law, StandardNormal):
        branch.map("square")
        branch.dense(torch.full((1, dim), -0.5), torch.tensor([-dim * LOG_2_PI / 2]))
        return
    loc, std, shares = _components(law)
    branch.take(list(range(dim)) * len(shares))
    branch.add(-loc.flatten())
    branch.multiply(1 / std.flatten())
    branch.map("square")
    constants = shares.log() - std.log().sum(1) - dim * LOG_2_PI / 2
    halves = torch.full((1, dim), -0.5, dtype=torch.float64)
    branch.dense(torch.block_diag(*[halves] * len(shares)), constants)
    branch.reshape((len(shares), 1))
    branch.levels("log-sum-exp")


def _of_likelihood(branch: Lowering, vae: VAE) -> None:
    """log p(x|z) of what is not missing, and what makes it a density in the data's own units."""
    schema, dim, size = vae.schema, vae.latent_dim, math.prod(vae.event_shape)
    assert schema is not None
    values = range(3 * dim, 3 * dim + size)

    def params(own: Lowering) -> None:
        own.take(range(dim))
        if vae.context_dim:
            own.context(vae.context_dim)
        lower_network(own, vae.decoder)
        own.reshape((math.prod(own.shape),))

    def missing(own: Lowering) -> None:
        """0, and NaN of a value that is missing."""
        own.take(values)
        own.multiply(0.0)

    def density(own: Lowering) -> None:
        own.concatenate([params, lambda seen: seen.take(values)])
        own.follow(steps_of(vae.likelihood, "density_steps"))

    def units(own: Lowering, schema: Schema = schema) -> None:
        """Of every value; a spike is a probability, which has none."""
        of_columns = enumerate(schema.scaled_spikes())
        spikes = [(column, *spike) for column, those in of_columns for spike in those]
        atoms, width = (
            torch.tensor([spike[place] for spike in spikes]).double() for place in (1, 2)
        )
        belongs = torch.arange(size)[:, None] == torch.tensor([spike[0] for spike in spikes])
        own.follow(at_atoms([values[spike[0]] for spike in spikes], atoms, width))
        own.dense(belongs.double(), torch.zeros(size))
        own.map("is-zero")
        own.multiply(logarithms)

    def dense_units(own: Lowering) -> None:
        own.take(values)
        own.multiply(0.0)
        own.add(logarithms)

    units_of_values = vae.likelihood.is_density and schema.gaps and schema.binarise == "none"
    units_of_rows = 0.0 if units_of_values else vae.log_jacobian(schema)
    logarithms = -schema.per_value(schema.scale).double().log().flatten()
    terms = [density]
    if units_of_values:
        has_spikes = any(schema.scaled_spikes())
        terms.append(units if has_spikes else dense_units)
    if vae.features is not None:
        terms.append(missing)
    branch.sum(terms)
    if vae.features is not None:
        branch.fill(0.0)
    branch.dense(torch.ones(1, size), torch.tensor([units_of_rows]))


def _logarithms(branch: Lowering, dim: int) -> None:
    branch.take(range(dim))
    branch.map("log")


def _squares(branch: Lowering, dim: int) -> None:
    branch.take(range(dim, 2 * dim))
    branch.map("square")
