"""Objectives that match the posteriors of all data, together, with the prior: InfoVAE, WAE."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from variform.config.checks import Count, checked
from variform.model.vae import VAE, HasVAE
from variform.objectives.discriminators import discriminator as new_discriminator
from variform.objectives.discriminators import judged, surprise
from variform.objectives.elbo import ELBO
from variform.objectives.objective import KL, Objective, Terms, require_fixed_prior
from variform.system import draws

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Widths of the kernel of `mmd`, as multiples of the mean squared distance of two draws from N(0, I)."""


def mmd(first: Tensor, second: Tensor) -> Tensor:
    r"""The squared maximum mean discrepancy of two sets of N points each, its unbiased estimate.

    $\frac{1}{N(N-1)} \sum_{i \ne j} [k(a_i, a_j) + k(b_i, b_j)] - \frac{2}{N^2} \sum_{i, j} k(a_i, b_j)$ with
    inverse multiquadrics, $k(a, b) = \sum_s \frac{s C}{s C + \|a - b\|^2}$, $C = 2 D$ and s in `SCALES`.

    Zero in expectation for points of the same law, and so it may be negative. One point has no pair: then it is zero.

    Args:
        first: Points a, (*, N, D).
        second: Points b, likewise.

    Shape:
        (*), without a unit.

    Reference:
        Gretton et al. (2012), lemma 6; the kernel: Tolstikhin et al. (2018).

    Example:
        >>> far, near = torch.full((500, 2), 4.0), torch.zeros(500, 2)
        >>> mmd(near, far).item() > 1, abs(mmd(near, near).item()) < 1e-5
        (True, True)
    """
    count = first.shape[-2]
    if count == 1:
        return first.new_zeros(first.shape[:-2])
    within = (_pairs(first) + _pairs(second)) / (count * (count - 1))
    return within - 2 * _kernel(first, second).mean((-2, -1))  # eq: mmd


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """k of every point of the first set with every one of the second, (*, N, N)."""
    distance = (first.unsqueeze(-2) - second.unsqueeze(-3)).square().sum(-1)
    widths = [2 * first.shape[-1] * scale for scale in SCALES]
    return torch.stack([width / (width + distance) for width in widths]).sum(0)  # eq: multiquadric


def _pairs(points: Tensor) -> Tensor:
    """The sum of k over all pairs of different points, (*)."""
    kernel = _kernel(points, points)
    return kernel.sum((-2, -1)) - kernel.diagonal(dim1=-2, dim2=-1).sum(-1)


def sliced(first: Tensor, second: Tensor, directions: Tensor) -> Tensor:
    r"""The squared sliced Wasserstein distance of two sets of N points each, over given directions.

    $\frac{1}{S N} \sum_{s=1}^{S} \sum_{i=1}^{N} (\theta_s^\top a_{(i)} - \theta_s^\top b_{(i)})^2$, where (i) is the
    i-th smallest in the direction $\theta_s$: on a line the best way from one set to the other keeps the order.

    Two sets of the same law have a distance too: of N points it falls to zero as N grows.

    Args:
        first: Points a, (*, N, D).
        second: Points b, likewise.
        directions: $\theta$, of length 1, (S, D).

    Shape:
        (*), in squared units of the points.

    Reference:
        Kolouri, Pope, Martin and Rohde (2019), algorithm 1.

    Example:
        >>> sliced(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [1.0]]), torch.ones(1, 1)).item()
        1.0
    """
    along = [(points @ directions.mT).sort(-2).values for points in (first, second)]
    return (along[0] - along[1]).square().mean((-2, -1))  # eq: sliced


class InfoVAE(ELBO):
    r"""The ELBO's KL term with another weight, and the distance of q(z) from the prior.

    loss $= -\log p(x|z) + (1 - \alpha)\,\mathrm{KL} + (\alpha + \lambda - 1)\,\mathrm{MMD}(q(z), p(z))$, with `mmd`.

    Args:
        vae: The VAE whose parameters are trained.
        alpha: Weight of the mutual information of x and z, at most 1, where the KL term is gone: the MMD-VAE.
        penalty: $\lambda$; alpha + penalty must be at least 1.
        samples: As in `ELBO`.
        kl: As in `ELBO`.

    Shape:
        x (B, *event) to three tensors (B,), in nats.

    Raises:
        ValueError: for weights that would reward a distance.

    Reference:
        Zhao, Song and Ermon (2019), section 4.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = InfoVAE(build_vae(ModelConfig(latent_dim=2), data.schema), alpha=1.0)
        >>> objective(data.test.prepared()[:5]).loss.shape
        torch.Size([5])
    """

    takes_codes = False

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        alpha: float = 0.0,
        penalty: float = 1000.0,
        samples: int = 1,
        kl: KL = "auto",
    ) -> None:
        super().__init__(vae, samples=samples, kl=kl, beta=1 - alpha)
        if alpha > 1 or alpha + penalty < 1:
            raise ValueError(
                f"`alpha` must be at most 1, and `alpha` + `penalty` at least 1; got {alpha} and {penalty}. Use for "
                "example `alpha=0` and `penalty=1000`."
            )
        if alpha == 1:
            require_fixed_prior(self.vae, "InfoVAE without a KL term")
        self.alpha, self.penalty = alpha, penalty
        self.couples_rows = True

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        return {**super().settings(), "alpha": self.alpha, "penalty": self.penalty}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        _, z, terms = self._parts(x, context)
        cost = (self.alpha + self.penalty - 1) * _distance_from_prior(self.vae, z)  # eq: info
        return terms._replace(loss=terms.loss + cost)


class WAE(Objective):
    r"""The Wasserstein autoencoder: loss $= -\log p(x|z) + \lambda\,d(q(z), p(z))$, with a distance d of one's choice.

    The distance is that of q(z) and the prior; the cost of reconstruction is the likelihood's, of which
    `gaussian-identity` is half the squared error and a constant. The loss is no bound of log p(x). The distances:

    - `mmd`, the maximum mean discrepancy (WAE-MMD), see `mmd`;
    - `sliced`, the sliced Wasserstein distance (SWAE), see `sliced`, along directions that are drawn anew every step;
    - `adversarial`, $-\log D(z)$, where a discriminator D tells draws of the prior from those of q(z) (WAE-GAN; with
      $\lambda = 1$ the adversarial autoencoder). What D minimises is `Terms.auxiliary`.

    Args:
        vae: The VAE whose parameters are trained.
        penalty: $\lambda$.
        distance: d.
        deterministic: Take z = E[z|x], the mean of q, whose spread is then not trained and whose KL is NaN: a point has
            no density. Else z is drawn from q(z|x).
        samples: L, draws of z per example; 1 where z is not drawn.
        slices: S, directions of `sliced`.
        discriminator: Widths of D's hidden layers.
        seed: Seed of D's initial weights; the global random state is left as it was.

    Shape:
        x (B, *event) to three tensors (B,), in nats; with a discriminator four.

    Reference:
        Tolstikhin et al. (2018), algorithms 1 and 2; Kolouri et al. (2019), equation 15; Makhzani et al. (2016).

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = WAE(build_vae(ModelConfig(latent_dim=2), data.schema), distance="sliced")
        >>> objective(data.test.prepared()[:5]).loss.shape
        torch.Size([5])
    """

    couples_rows = True

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        penalty: float = 10.0,
        distance: Literal["mmd", "sliced", "adversarial"] = "mmd",
        deterministic: bool = True,
        samples: int = 1,
        slices: Count = 50,
        discriminator: tuple[int, ...] = (1000,) * 6,
        seed: int = 0,
    ) -> None:
        super().__init__(vae)
        require_fixed_prior(self.vae, "WAE")
        if samples < 1 or (deterministic and samples > 1):
            raise ValueError(
                f"`samples` must be 1, or more where z is drawn; got {samples}. Use 1."
            )
        self.penalty, self.deterministic, self.samples = penalty, deterministic, samples
        self.distance, self.slices = distance, slices
        if distance == "adversarial":
            self.auxiliary = new_discriminator((self.vae.latent_dim,), discriminator, seed)
            self.auxiliary_options = {"lr": 5e-4, "betas": (0.5, 0.999)}

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        names = ["penalty", "deterministic", "samples"]
        if self.distance != "mmd":
            names.append("distance")
        if self.distance == "sliced":
            names.append("slices")
        return {**super().settings(), **{name: getattr(self, name) for name in names}}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        q = self.encode(x, context)
        if self.deterministic:
            z = q.mean.unsqueeze(0)
            divergence = torch.full_like(z[0, :, 0], torch.nan)
        else:
            z, log_q = q.rsample_and_log_prob((self.samples,))
            divergence = (log_q - self.vae.latent_prior().log_prob(z)).mean(0)
        log_likelihood = self.vae.decode(z, context).log_prob(x).mean(0)
        distance, auxiliary = self._distance_from_prior(z)
        loss = self.penalty * distance - log_likelihood  # eq: wae
        return Terms(loss, log_likelihood, divergence, auxiliary)

    def _distance_from_prior(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """d of the draws (L, B, D) and as many from the prior, and what the discriminator minimises, (B,)."""
        if self.distance == "mmd":
            return _distance_from_prior(self.vae, z), None
        of_prior = self.vae.latent_prior().sample(z.shape[:-1])
        if self.distance == "sliced":
            directions = draws.normal((self.slices, z.shape[-1]), like=z)
            return sliced(z, of_prior, functional.normalize(directions, dim=-1)).mean(), None
        assert self.auxiliary is not None  # for this distance
        points = z.flatten(0, 1)  # (L, B, D) -> (L*B, D)
        distance = functional.softplus(-judged(self.auxiliary, points))  # eq: wae-gan
        auxiliary = surprise(self.auxiliary, of_prior.flatten(0, 1), points)
        return distance.reshape(z.shape[:-1]).mean(0), auxiliary.reshape(z.shape[:-1]).mean(0)


def _distance_from_prior(vae: VAE, z: Tensor) -> Tensor:
    """MMD of the draws (L, B, D) and as many from the prior, a mean over L."""
    return mmd(z, vae.latent_prior().sample(z.shape[:-1])).mean()
