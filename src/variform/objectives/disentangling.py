"""Objectives for latents that mean one thing each: beta-TC, DIP, Factor."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from variform.config.checks import Count, checked
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.law import Law
from variform.model.spaces import require_flat
from variform.model.vae import VAE, HasVAE
from variform.objectives.discriminators import discriminator as new_discriminator
from variform.objectives.discriminators import judged, surprise
from variform.objectives.elbo import ELBO
from variform.objectives.objective import KL, Objective, Terms, require_gaussian
from variform.objectives.schedules import Schedule
from variform.system import draws


class BetaTCVAE(Objective):
    r"""The KL term in three parts with weights of their own.

    $E_x[\mathrm{KL}(q(z|x) \| p(z))] = \underbrace{E[\log q(z|x) - \log q(z)]}_{\text{mutual information}}
    + \underbrace{E[\log q(z) - \sum_d \log q(z_d)]}_{\text{total correlation}}
    + \underbrace{E[\sum_d \log q(z_d) - \log p(z)]}_{\text{dimension-wise KL}}$;
    loss $= -[\log p(x|z) - \alpha\,\text{MI} - \beta\,\text{TC} - \gamma\,\text{KL}_d]$.

    $q(z) = \tfrac1N \sum_n q(z|x_n)$ is estimated from the B rows of a batch: the row that z was drawn for counts 1/N,
    all others together the rest,
    $\hat q(z_i) = \tfrac1N q(z_i|x_i) + \tfrac{N-1}{N (B-1)} \sum_{j \ne i} q(z_i|x_j)$. These are the weights of
    minibatch stratified sampling, in the mean over which of the other rows has the odd weight: the estimate of q(z) is
    unbiased, and exact where the batch is all of the data. A batch of one row is taken for all there is.

    Args:
        vae: The VAE whose parameters are trained; its posterior must be Gaussian.
        rows: N, the number of training rows.
        samples: L, draws of z per example.
        alpha: Weight of the mutual information of x and z.
        beta: Weight of the total correlation, a number or a function of the optimiser's step.
        gamma: Weight of the dimension-wise KL.

    Shape:
        x (B, *event) to three tensors (B,), in nats.

    Reference:
        Chen et al. (2018), equation 2 and appendix C.2.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = BetaTCVAE(build_vae(ModelConfig(latent_dim=2), data.schema), rows=len(data.train))
        >>> terms = objective(data.test.prepared()[:5])
        >>> torch.allclose(terms.loss, -terms.elbo, atol=1e-4)
        True
    """

    couples_rows = True

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        rows: Count,
        samples: Count = 1,
        alpha: float = 1.0,
        beta: float | Schedule = 1.0,
        gamma: float = 1.0,
    ) -> None:
        super().__init__(vae, beta=beta)
        require_gaussian(self.vae, "beta-tc")
        self.rows, self.samples, self.alpha, self.gamma = rows, samples, alpha, gamma

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        names = ("rows", "samples", "alpha", "gamma")
        return {**super().settings(), **{name: getattr(self, name) for name in names}}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        q = self.encode(x, context)
        p = self.vae.latent_prior()
        z = q.rsample(torch.Size((self.samples,)))
        log_likelihood = self.vae.decode(z, context).log_prob(x).mean(0)
        log_own, log_prior = q.log_prob(z), p.log_prob(z)
        log_q, log_marginals = log_aggregated(q, z, self.rows)
        information = (log_own - log_q).mean(0)
        correlation = (log_q - log_marginals).mean(0)
        dimensions = (log_marginals - log_prior).mean(0)
        alpha, beta, gamma = self.alpha, self.weight, self.gamma
        cost = alpha * information + beta * correlation + gamma * dimensions  # eq: beta-tc
        divergence = (log_own - log_prior).mean(0)
        return Terms(cost - log_likelihood, log_likelihood, divergence)


def log_aggregated(q: Law, z: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    r"""$\log q(z)$ and $\sum_d \log q(z_d)$ at draws from the posteriors of a batch, by stratified weights.

    Args:
        q: q(z|x) of the batch, a Gaussian law.
        z: Draws from it, (L, B, D).
        rows: N, rows of the data that the batch is a part of.

    Shape:
        Two tensors (L, B), in nats.

    Raises:
        ValueError: for another law, whose marginals are not known.

    Reference:
        Chen et al. (2018), appendix C.2.

    Example:
        >>> q = DiagonalGaussian(torch.zeros(4, 2), torch.zeros(4, 2))
        >>> log_q, log_marginals = log_aggregated(q, torch.zeros(1, 4, 2), 100)
        >>> torch.allclose(log_q, q.log_prob(torch.zeros(2))), torch.allclose(log_q, log_marginals)
        (True, True)
    """
    count = z.shape[1]
    is_own = torch.eye(count, dtype=torch.bool, device=z.device)
    own = z.new_tensor(1 / rows if count > 1 else 1.0)
    others = z.new_tensor((rows - 1) / (rows * max(1, count - 1)))
    log_q, log_marginals = log_mixed(q, z, torch.where(is_own, own, others).log())  # eq: stratified
    return log_q, log_marginals.sum(-1)


def log_mixed(q: Law, z: Tensor, log_share: Tensor) -> tuple[Tensor, Tensor]:
    r"""$\log \sum_j w_{ij} \, q(z_i|x_j)$, and the same of every marginal.

    Args:
        q: q(z|x) of rows $x_j$, a Gaussian law over (N, D).
        z: Points, (L, B, D).
        log_share: $\log w_{ij}$, which broadcasts to (B, N).

    Shape:
        Tensors (L, B) and (L, B, D), in nats.

    Raises:
        ValueError: for another law, whose marginals are not known.

    Example:
        >>> q = DiagonalGaussian(torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1))
        >>> log_q, _ = log_mixed(q, torch.zeros(1, 1, 1), torch.tensor(0.5).log())
        >>> torch.allclose(log_q, q.log_prob(torch.zeros(1))[:1])
        True
    """
    if not isinstance(q, DiagonalGaussian | FullGaussian):
        raise ValueError(
            f"the posterior must be Gaussian; got {type(q).__name__}. Use a Gaussian one."
        )
    is_diagonal = isinstance(q, DiagonalGaussian)
    log_var = q.log_var.expand(q.mean.shape) if is_diagonal else q.variance.log()
    # One law for each dimension: the batch (N, D), the event one number. z_i stands against each x_j: (L, B, N, D).
    marginal = DiagonalGaussian(q.mean.unsqueeze(-1), log_var.unsqueeze(-1))
    log_each = marginal.log_prob(z[:, :, None, :, None])
    log_joint = log_each.sum(-1) if is_diagonal else q.log_prob(z.unsqueeze(2))
    log_q = (log_share + log_joint).logsumexp(-1)
    return log_q, (log_share[..., None] + log_each).logsumexp(-2)


class DIPVAE(ELBO):
    r"""The ELBO with a penalty that makes the covariance C of the latents the identity.

    loss $= -\text{ELBO}_\beta + \lambda_{od} \sum_{i \ne j} C_{ij}^2 + \lambda_d \sum_i (C_{ii} - 1)^2$, where

    - I: $C = \operatorname{Cov}_x[\mu(x)]$, of the posterior means;
    - II: $C = E_x[\Sigma(x)] + \operatorname{Cov}_x[\mu(x)]$, of draws from q(z).

    Covariances are those of the batch, divided by B: of one row they are zero.

    Args:
        vae: The VAE whose parameters are trained; for II its posterior must be Gaussian.
        kind: `i` or `ii`.
        penalty: $\lambda_{od}$, weight of what is off the diagonal.
        penalty_diagonal: $\lambda_d$, weight of the diagonal; by default ten times $\lambda_{od}$ for I and as much for
            II, as in the study of Locatello et al. (2019).
        samples: As in `ELBO`.
        kl: As in `ELBO`.
        beta: As in `ELBO`.

    Shape:
        x (B, *event) to three tensors (B,), in nats.

    Reference:
        Kumar, Sattigeri and Balakrishnan (2018), section 3.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = DIPVAE(build_vae(ModelConfig(latent_dim=2), data.schema), kind="ii")
        >>> objective(data.test.prepared()[:5]).loss.shape
        torch.Size([5])
    """

    takes_codes = False

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        kind: Literal["i", "ii"],
        penalty: float = 10.0,
        penalty_diagonal: float | None = None,
        samples: int = 1,
        kl: KL = "auto",
        beta: float | Schedule = 1.0,
    ) -> None:
        super().__init__(vae, samples=samples, kl=kl, beta=beta)
        require_gaussian(self.vae, "DIP-VAE")
        self.kind, self.penalty = kind, penalty
        usual = {"i": 10, "ii": 1}[kind] * penalty
        self.penalty_diagonal = usual if penalty_diagonal is None else penalty_diagonal
        self.couples_rows = True

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        names = ("kind", "penalty", "penalty_diagonal")
        return {**super().settings(), **{name: getattr(self, name) for name in names}}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        q, _, terms = self._parts(x, context)
        covariance = _covariance_of_means(q)
        if self.kind == "ii":
            covariance = covariance + _mean_covariance(q)
        diagonal = covariance.diagonal()
        off_diagonal = covariance.square().sum() - diagonal.square().sum()
        from_one = (diagonal - 1).square().sum()
        cost = self.penalty * off_diagonal + self.penalty_diagonal * from_one  # eq: dip
        return terms._replace(loss=terms.loss + cost)


def _covariance_of_means(q: Law) -> Tensor:
    centred = q.mean - q.mean.mean(0)
    return centred.mT @ centred / len(centred)


def _mean_covariance(q: Law) -> Tensor:
    if isinstance(q, FullGaussian):
        return (q.scale_tril @ q.scale_tril.mT).mean(0)
    if isinstance(q, DiagonalGaussian):
        return q.variance.mean(0).diag_embed()
    raise ValueError(f"the posterior must be Gaussian; got {type(q).__name__}. Use a Gaussian one.")


class FactorVAE(ELBO):
    r"""The ELBO with a penalty on the total correlation, which a discriminator estimates.

    loss $= -\text{ELBO}_\beta + \gamma\, E_{q(z)}[\log \tfrac{D(z)}{1 - D(z)}]$, where D tells draws from q(z) from
    draws whose dimensions are permuted over the batch, each on its own. What D minimises is `Terms.auxiliary`, the
    cross-entropy of that decision, at draws through which no gradient passes: the encoder does not learn to help it,
    and `Terms.loss` does not train D.

    Args:
        vae: The VAE whose parameters are trained.
        gamma: Weight of the total correlation.
        discriminator: Widths of D's hidden layers.
        seed: Seed of D's initial weights; the global random state is left as it was.
        samples: As in `ELBO`.
        kl: As in `ELBO`.
        beta: As in `ELBO`.

    Shape:
        x (B, *event) to four tensors (B,), in nats.

    Reference:
        Kim and Mnih (2018), algorithm 2, with the permuted draws from the same batch.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = FactorVAE(build_vae(ModelConfig(latent_dim=2), data.schema), discriminator=(50, 50))
        >>> objective(data.test.prepared()[:5]).auxiliary.shape
        torch.Size([5])
    """

    auxiliary: nn.Module  # pyrefly: ignore[bad-override-mutable-attribute] (here there is one)

    takes_codes = False

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        gamma: float = 10.0,
        discriminator: tuple[int, ...] = (1000,) * 6,
        seed: int = 0,
        samples: int = 1,
        kl: KL = "auto",
        beta: float | Schedule = 1.0,
    ) -> None:
        super().__init__(vae, samples=samples, kl=kl, beta=beta)
        instead = "Use `posterior='diagonal'`, or objective `elbo`."
        require_flat(self.vae, "FactorVAE, which permutes each latent on its own,", instead)
        self.auxiliary = new_discriminator((self.vae.latent_dim,), discriminator, seed)
        self.auxiliary_options = {"lr": 1e-4, "betas": (0.5, 0.9)}
        self.gamma, self.couples_rows = gamma, True

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        return {**super().settings(), "gamma": self.gamma}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        _, z, terms = self._parts(x, context)
        points = z.flatten(0, 1)  # (L, B, D) -> (L*B, D)
        permuted = permute_dimensions(z.detach()).flatten(0, 1)
        correlation = judged(self.auxiliary, points).reshape(z.shape[:-1]).mean(0)  # eq: factor
        auxiliary = surprise(self.auxiliary, points, permuted).reshape(z.shape[:-1]).mean(0)
        loss = terms.loss + self.gamma * correlation
        return terms._replace(loss=loss, auxiliary=auxiliary / 2)


def permute_dimensions(z: Tensor) -> Tensor:
    """The draws (L, B, D) with each latent dimension permuted over the batch on its own: draws of independent z_d.

    Reference:
        Kim and Mnih (2018), algorithm 1.

    Example:
        >>> z = torch.arange(12.0).reshape(1, 6, 2)
        >>> torch.equal(permute_dimensions(z).sort(1).values, z)
        True
    """
    order = draws.uniform(z.shape, axis=1, like=z).argsort(1)
    return z.gather(1, order)
