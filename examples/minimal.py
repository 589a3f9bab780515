"""The whole variational autoencoder in plain PyTorch, as the lecture's slides write it; copy it and change it.

python examples/minimal.py
"""

import math

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional


class VAE(nn.Module):
    """q(z|x) = N(mu(x), diag sigma^2(x)); p(z) = N(0, I); p(x|z) = Bernoulli(decoder(z))."""

    def __init__(self, pixels: int, latents: int, hidden: int = 256) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latents)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latents, hidden), nn.ReLU(), nn.Linear(hidden, pixels)
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x)."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        return mean, log_var

    def sample(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """z = mu + sigma * epsilon: the draw, through which gradients pass."""
        epsilon = torch.randn_like(mean)
        return mean + (0.5 * log_var).exp() * epsilon

    def loss(self, x: Tensor, draws: int = 1) -> Tensor:
        """The loss of each row: reconstruction error plus regularisation, which is minus the ELBO, in nats."""
        mean, log_var = self.encode(x)
        errors = []
        for _ in range(draws):  # L of them; one is enough
            z = self.sample(mean, log_var)
            errors.append(-log_bernoulli(x, self.decoder(z)))
        reconstruction_error = torch.stack(errors).mean(dim=0)
        regularisation = 0.5 * (mean**2 + log_var.exp() - log_var - 1).sum(dim=1)
        return reconstruction_error + regularisation

    @torch.no_grad()
    def nll(self, x: Tensor, samples: int = 500) -> Tensor:
        """-log p(x) of each row: importance sampling from q(z|x)."""
        mean, log_var = self.encode(x)
        log_weights = []
        for _ in range(samples):
            z = self.sample(mean, log_var)
            log_joint = log_normal(z, torch.zeros_like(z), torch.zeros_like(z))
            log_joint += log_bernoulli(x, self.decoder(z))
            log_weights.append(log_joint - log_normal(z, mean, log_var))
        return math.log(samples) - torch.stack(log_weights).logsumexp(dim=0)


def log_bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """sum_d x_d log p_d + (1 - x_d) log(1 - p_d), of logits: minus the cross-entropy."""
    return -functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)


def log_normal(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(z; mu, diag sigma^2)."""
    squares = (z - mean) ** 2 / log_var.exp()
    return -0.5 * (math.log(2 * math.pi) + log_var + squares).sum(dim=1)


def train(vae: VAE, x: Tensor, epochs: int = 50, batch: int = 128, rate: float = 2e-3) -> None:
    """Adam on the mean loss of shuffled batches."""
    optimiser = torch.optim.Adam(vae.parameters(), lr=rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimiser.zero_grad()
            vae.loss(x[rows]).mean().backward()
            optimiser.step()


def main() -> None:
    """Handwritten digits, black and white: trained on three quarters, judged on the rest."""
    torch.manual_seed(0)
    digits = torch.tensor(load_digits().data > 7, dtype=torch.float32)[torch.randperm(1797)]
    vae = VAE(pixels=64, latents=10)
    train(vae, digits[:1347])
    nll = vae.nll(digits[1347:])
    print(f"-log p(x) of 450 digits: {nll.mean():.2f} +- {nll.std() / 450**0.5:.2f} nats")
    image = torch.sigmoid(vae.decoder(torch.randn(1, 10)))[0].reshape(8, 8)  # a new digit
    for row in image:
        print("".join("#" if pixel > 0.5 else "." for pixel in row))


if __name__ == "__main__":
    main()
