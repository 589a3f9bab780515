"""Autoencoders whose decoder is kept smooth, so that a law can be fitted to their codes afterwards."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from variform.config.checks import NotNegative, checked
from variform.model.vae import VAE, HasVAE
from variform.objectives.objective import Objective, Terms, require_fixed_prior
from variform.objectives.schedules import Schedule
from variform.system import draws

Regulariser = Literal["l2", "gradient", "spectral"]


class RAE(Objective):
    r"""The regularised autoencoder: loss $= -\log p(x|z) + \beta\, \tfrac12 \|z\|^2 + \lambda R$, $z = E_{q(z|x)}[z]$.

    With $\beta = 1$ the first two terms are those of the likeliest z under N(0, I). R keeps the decoder $D(z) = E[x|z]$
    smooth, which is what the noise of a VAE's posterior does:

    - `l2`: $\|\theta\|^2$, of all weights of the decoder;
    - `gradient`: $\|\partial D / \partial z\|_F^2$, estimated from one product, $\|v^\top \partial D / \partial z\|^2$
      with signs v drawn at random, whose expectation it is: the whole Jacobian would take a pass for every dimension;
    - `spectral`: $\sum_l \sigma_1(W_l)^2$, the largest singular value of each layer's weight, of a convolution as a
      matrix with a row an output channel. The paper divides each weight by it instead of penalising it.

    A point has no density: there is no KL, no ELBO and no bound, and these terms are NaN. The spread of q and the prior
    are not trained; `variform sampler` fits a law to the codes.

    Args:
        vae: The VAE whose encoder's means and whose decoder are trained.
        regulariser: R.
        penalty: $\lambda$.
        beta: Weight of the codes' size, a number or a function of the optimiser's step.

    Shape:
        x (B, *event) to three tensors (B,), in nats.

    Reference:
        Ghosh, Sajjadi, Vergari, Black and Schölkopf (2020), section 3; the spectral penalty: Yoshida and Miyato (2017),
        equation 3; the estimate of the Jacobian's norm: Hutchinson (1990).

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = RAE(build_vae(ModelConfig(latent_dim=2), data.schema), regulariser="gradient")
        >>> terms = objective(data.test.prepared()[:5])
        >>> bool((terms.loss > -terms.log_likelihood).all()), bool(terms.elbo.isnan().all())
        (True, True)
    """

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        regulariser: Regulariser = "l2",
        penalty: NotNegative = 1e-3,
        beta: float | Schedule = 1.0,
    ) -> None:
        super().__init__(vae, beta=beta)
        require_fixed_prior(self.vae, "RAE")
        self.regulariser, self.penalty = regulariser, penalty
        self.differentiates_twice = regulariser == "gradient"

    @property
    def compilable(self) -> bool:  # pyrefly: ignore[bad-override] (it depends on the regulariser)
        """Whether a step of it can be compiled as a whole: the compiler differentiates once."""
        return not self.differentiates_twice

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        return {**super().settings(), "regulariser": self.regulariser, "penalty": self.penalty}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        z = self.encode(x, context).mean
        if self.regulariser == "gradient":
            log_likelihood, roughness = self._with_gradient(x, z, context)
        else:
            log_likelihood = self.vae.decode(z, context).log_prob(x)
            roughness = size_of(self.vae.decoder, self.regulariser)
        cost = self.weight * z.square().sum(-1) / 2 + self.penalty * roughness
        loss = cost - log_likelihood  # eq: rae
        return Terms(loss, log_likelihood, torch.full_like(loss, torch.nan))

    def _with_gradient(self, x: Tensor, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """log p(x|z) and the estimate of the squared norm of the Jacobian there, (B,) each."""
        is_trained = torch.is_grad_enabled()
        with torch.enable_grad():
            z = z if z.requires_grad else z.detach().requires_grad_()
            law = self.vae.decode(z, context)
            mean = law.mean
            signs = draws.normal(mean.shape, like=mean).sign()
            (slope,) = torch.autograd.grad((signs * mean).sum(), z, create_graph=is_trained)
        roughness = slope.square().sum(-1)  # eq: jacobian-norm
        return law.log_prob(x), roughness


@checked
def size_of(decoder: nn.Module, regulariser: Literal["l2", "spectral"]) -> Tensor:
    """How large the weights of a network are, a number.

    Args:
        decoder: The network.
        regulariser: As of `RAE`.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> size_of(layer, "l2").item(), size_of(layer, "spectral").item()
        (2.0, 1.0)
    """
    if regulariser == "l2":
        return torch.stack([value.square().sum() for value in decoder.parameters()]).sum()
    norms = [torch.linalg.matrix_norm(matrix, 2) for matrix in _matrices(decoder)]
    return torch.stack(norms).square().sum()  # eq: spectral


def _matrices(decoder: nn.Module) -> list[Tensor]:
    """The weights of layers as matrices with a row an output."""
    matrices = []
    for layer in decoder.modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 1:
            is_turned = isinstance(layer, nn.ConvTranspose2d)  # its first axis is the input's
            matrices.append((weight.movedim(1, 0) if is_turned else weight).flatten(1))
    return matrices
