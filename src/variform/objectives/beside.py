"""The ELBO and, beside it, how alike the decoded image is to an eye: losses that are no bound of log p(x)."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from variform.config.checks import Count, NotNegative, checked
from variform.model.features import LogCounts
from variform.model.vae import VAE, HasVAE
from variform.objectives.discriminators import discriminator as new_discriminator
from variform.objectives.discriminators import frozen, judged, surprise
from variform.objectives.elbo import ELBO
from variform.objectives.objective import KL, Terms
from variform.objectives.schedules import Schedule
from variform.objectives.similarity import RandomFeatures, feature_distance, ms_ssim


class _Beside(ELBO):
    """The ELBO and a weighted term of the decoded means; log_likelihood, kl and elbo are those of the ELBO."""

    name = ""

    def __init__(self, vae: VAE | HasVAE, penalty: float, **options: Any) -> None:
        super().__init__(vae, **options)
        self.penalty = penalty
        if getattr(self.vae.posterior, "relaxation", "") == "score":
            raise ValueError(
                f"{self.name} needs draws of z that gradients pass; those of `relaxation='score'` have none. Use "
                "`relaxation='straight-through'`."
            )
        if not isinstance(self.vae.features, LogCounts | None):
            raise ValueError(
                f"{self.name} needs rows of one kind without gaps; got a model of others. Use `objective='elbo'`."
            )

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        return {**super().settings(), "penalty": self.penalty}

    def _require_images(self) -> None:
        if len(self.vae.event_shape) != 3:
            raise ValueError(
                f"{self.name} needs images; got rows of the shape {self.vae.event_shape}. Use `objective='elbo'`."
            )

    def _decoded(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The means of p(x|z) for draws (L, B, D) in one batch, (L*B, *event)."""
        return self.vae.decode(z, context).mean.flatten(0, 1)


class SSIMVAE(_Beside):
    r"""The ELBO and the structural similarity: loss $= -\text{ELBO}_\beta + \lambda\,[1 - \text{MS-SSIM}(x, E[x|z])]$.

    Args:
        vae: The VAE whose parameters are trained, of images.
        penalty: $\lambda$.
        samples: As in `ELBO`.
        kl: As in `ELBO`.
        beta: As in `ELBO`.

    Shape:
        x (B, channels, height, width) to three tensors (B,), in nats; `elbo` stays that of the likelihood, and the loss
        is no bound of log p(x).

    Reference:
        Snell et al. (2017), for autoencoders; here beside a likelihood and not in its place.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> terms = SSIMVAE(build_vae(ModelConfig(latent_dim=2), data.schema))(data.test.prepared()[:5])
        >>> bool((terms.loss > -terms.elbo).all())
        True
    """

    name = "MS-SSIM"

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        penalty: NotNegative = 10.0,
        samples: Count = 1,
        kl: KL = "auto",
        beta: float | Schedule = 1.0,
    ) -> None:
        super().__init__(vae, penalty, samples=samples, kl=kl, beta=beta)
        self._require_images()
        schema = self.vae.schema
        ranges = (
            [(0.0, 1.0)] if schema is None or schema.binarise != "none" else schema.scaled_ranges()
        )
        self.spread = max(high - low for low, high in ranges)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        _, z, terms = self._parts(x, context)
        images = x.expand(len(z), *x.shape).flatten(0, 1)
        alike = ms_ssim(self._decoded(z, context), images, spread=self.spread)
        cost = 1 - alike.unflatten(0, (len(z), -1)).mean(0)
        return terms._replace(loss=terms.loss + self.penalty * cost)  # eq: ssim-vae


class PerceptualVAE(_Beside):
    r"""The ELBO and the distance of features: loss $= -\text{ELBO}_\beta + \lambda\, d(\phi(x), \phi(E[x|z]))$.

    Args:
        vae: The VAE whose parameters are trained, of images.
        penalty: $\lambda$.
        features: $\phi$, a network that gives a tensor or a list of them, such as layers of one that knows photographs;
            it is not trained. By default `RandomFeatures`, which needs no download.
        seed: Of the random features.
        samples: As in `ELBO`.
        kl: As in `ELBO`.
        beta: As in `ELBO`.

    Shape:
        As of `SSIMVAE`; the loss is no bound of log p(x).

    Reference:
        Hou, Shen, Sun and Qiu (2017), equations 4 to 6; here beside a likelihood and not in its place.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> terms = PerceptualVAE(build_vae(ModelConfig(latent_dim=2), data.schema))(data.test.prepared()[:5])
        >>> bool((terms.loss > -terms.elbo).all())
        True
    """

    name = "a perceptual term"

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        penalty: NotNegative = 10.0,
        features: nn.Module | None = None,
        seed: int = 0,
        samples: Count = 1,
        kl: KL = "auto",
        beta: float | Schedule = 1.0,
    ) -> None:
        super().__init__(vae, penalty, samples=samples, kl=kl, beta=beta)
        self._require_images()
        if features is None:
            features = RandomFeatures(self.vae.event_shape[0], seed=seed)
        self.features = features.requires_grad_(False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        _, z, terms = self._parts(x, context)
        images = x.expand(len(z), *x.shape).flatten(0, 1)
        apart = feature_distance(self.features, self._decoded(z, context), images)
        cost = apart.unflatten(0, (len(z), -1)).mean(0)
        return terms._replace(loss=terms.loss + self.penalty * cost)  # eq: perceptual-vae


class VAEGAN(_Beside):
    r"""The ELBO and an adversarial game over decoded rows, with the features of its discriminator D.

    loss $= -\text{ELBO}_\beta + \lambda\, \tfrac1{2 n} \|D_h(x) - D_h(E[x|z])\|^2
    - \gamma\, [\log D(E[x|z']) + \log D(E[x|z])]$, where $D_h$ are the n units of D's last hidden layer and
    $z' \sim p(z)$. From the last term the encoder learns nothing. What D minimises is `Terms.auxiliary`: it tells rows
    from both kinds of decoded ones.

    Args:
        vae: The VAE whose parameters are trained.
        penalty: $\lambda$.
        gamma: $\gamma$.
        discriminator: Widths of D's hidden layers.
        seed: Seed of D's initial weights; the global random state is left as it was.
        samples: As in `ELBO`.
        kl: As in `ELBO`.
        beta: As in `ELBO`.

    Shape:
        x (B, *event) to four tensors (B,), in nats; `elbo` stays that of the likelihood, and the loss is no bound.

    Reference:
        Larsen, Sønderby, Larochelle and Winther (2016), algorithm 1, whose reconstruction is that of $D_h$ alone; here
        it stands beside a likelihood, and the decoder maximises log D instead of minimising log(1 - D).

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = VAEGAN(build_vae(ModelConfig(latent_dim=2), data.schema), discriminator=(50,))
        >>> objective(data.test.prepared()[:5]).auxiliary.shape
        torch.Size([5])
    """

    name = "VAE-GAN"
    auxiliary: nn.Module  # pyrefly: ignore[bad-override-mutable-attribute] (here there is one)

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        penalty: NotNegative = 1.0,
        gamma: NotNegative = 1.0,
        discriminator: tuple[int, ...] = (1000,) * 6,
        seed: int = 0,
        samples: Count = 1,
        kl: KL = "auto",
        beta: float | Schedule = 1.0,
    ) -> None:
        super().__init__(vae, penalty, samples=samples, kl=kl, beta=beta)
        # Not named gamma, which is the weight of the ELBO's capacity.
        self.adversarial = gamma
        self.auxiliary = new_discriminator(self.vae.event_shape, discriminator, seed)
        self.auxiliary_options = {"lr": 1e-4, "betas": (0.5, 0.9)}

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        return {**super().settings(), "gamma": self.adversarial}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        _, z, terms = self._parts(x, context)
        made = self._decoded(z[:1], context)
        hidden = self.auxiliary.layers
        assert isinstance(hidden, nn.Module)
        first, second = (frozen(hidden, rows) for rows in (x, made))
        apart = (first - second).square().mean(1) / 2
        of_prior = self._decoded(self.vae.latent_prior().sample((1, len(x))), context)
        again = self._decoded(z[:1].detach(), context)
        game = sum(functional.softplus(-judged(self.auxiliary, rows)) for rows in (of_prior, again))
        told = surprise(self.auxiliary, x, of_prior) + surprise(self.auxiliary, x, made)
        loss = terms.loss + self.penalty * apart + self.adversarial * game  # eq: vae-gan
        return terms._replace(loss=loss, auxiliary=told)
