"""M2: labels that are known for some rows and inferred for the others."""

import math
from typing import Any

import torch
from torch import Tensor

from variform.config.checks import checked
from variform.model.vae import VAE, HasVAE
from variform.objectives.elbo import ELBO
from variform.objectives.objective import KL, Terms, require_own_variance
from variform.objectives.schedules import Schedule


class SemiSupervised(ELBO):
    r"""M2: a conditional VAE whose label y, one of K, is known for some rows and inferred for the others.

    With $\mathcal L(x, y) = E_{q(z|x,y)}[\log p(x|z,y)] - \mathrm{KL}(q(z|x,y) \| p(z)) + \log p(y)$ and uniform p(y):

    - where y is known, loss $= -\mathcal L(x, y) - \alpha \log q(y|x)$; the bound is one of $\log p(x, y)$;
    - else loss $= -\sum_y q(y|x) [\mathcal L(x, y) - \log q(y|x)]$; the bound is one of $\log p(x)$.

    The terms of the label, $\log K$ or $\mathrm{KL}(q(y|x) \| p(y))$, are in the loss alone: `Terms.kl` is
    $\mathrm{KL}(q(z|x,y) \| p(z))$ and `Terms.elbo` a bound of $\log p(x|y)$, as in an evaluation, where y is known,
    and else their means over q(y|x). Every label is tried for every row, so that a step takes as long as K steps of a
    conditional VAE.

    Args:
        vae: A VAE with a classifier q(y|x) that is conditioned on the label first.
        alpha: Weight of the classifier's cross-entropy on rows whose label is known.
        samples: As in `ELBO`.
        kl: As in `ELBO`.
        beta: As in `ELBO`; it weighs the term of the label too.

    Shape:
        x (B, *event) and context (B, C), whose first K columns are one-hot or, where the label is not known, zero, to
        three tensors (B,), in nats.

    Raises:
        ValueError: for a VAE without a classifier.

    Reference:
        Kingma, Rezende, Mohamed and Welling (2014), equations 6, 7 and 9.

    Example:
        >>> from variform import DataConfig, ModelConfig, build_vae, read
        >>> data = read("digits", DataConfig(condition=("label",), labelled=50))
        >>> vae = build_vae(ModelConfig(latent_dim=2, classifier=True), data.schema)
        >>> SemiSupervised(vae)(*vae.batch(data.train, torch.arange(5))).loss.shape
        torch.Size([5])
    """

    infers_labels = True

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        alpha: float = 10.0,
        samples: int = 1,
        kl: KL = "auto",
        beta: float | Schedule = 1.0,
    ) -> None:
        super().__init__(vae, samples=samples, kl=kl, beta=beta)
        require_own_variance(self.vae, "m2")
        if self.vae.classifier is None:
            raise ValueError(
                "objective m2 needs a model with a classifier; this one has none. Build it with classifier=True."
            )
        self.alpha = alpha

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        return {**super().settings(), "alpha": self.alpha}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        assert context is not None  # the decoder would have refused
        log_q = self.vae.log_classify(x)
        given, rest = context[:, : log_q.shape[1]], context[:, log_q.shape[1] :]
        is_known = given.sum(1) > 0
        share = torch.where(is_known[:, None], given, log_q.exp())  # (B, K)
        labels = torch.eye(log_q.shape[1], dtype=context.dtype, device=context.device)
        tried = [
            self._parts(x, torch.cat([label.expand_as(given), rest], 1))[2] for label in labels
        ]
        loss, log_likelihood, divergence = (
            (share.T * torch.stack([getattr(terms, name) for terms in tried])).sum(0)
            for name in ("loss", "log_likelihood", "kl")
        )
        # KL(q(y|x) || p(y)); of a known label, where q is certain, -log p(y)
        entropy = torch.where(is_known, 0, -(log_q.exp() * log_q).sum(1))
        of_label = math.log(log_q.shape[1]) - entropy  # eq: semi-supervised
        wrong = torch.where(is_known, -(given * log_q).sum(1), 0)
        loss = loss + self.weight * of_label + self.alpha * wrong
        return Terms(loss, log_likelihood, divergence)
