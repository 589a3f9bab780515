"""Corruption: noise on what the encoder sees, for denoising."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from variform.config.checks import checked
from variform.data.schema import Schema
from variform.system import draws

Noise = Literal["salt-and-pepper", "gaussian", "masking"]


class Corruption(nn.Module):
    r"""Noise on x: the encoder sees the result, the likelihood the clean x.

    For every draw of the noise $q(z|\tilde x)$ is a posterior of z, so that the ELBO stays a bound of $\log p(x)$.
    Missing values stay missing.

    Args:
        noise: `salt-and-pepper` replaces a share `level` of the entries by the least or the greatest value, each with
            probability 1/2; `gaussian` adds N(0, level^2) and clips to the range of the data; `masking` replaces a
            share `level` of the entries by 0, or by the value of the range that is nearest to 0.
        level: The share of entries, in (0, 1], or a standard deviation in the units that the model sees.
        low: Least value of the data as the model sees them, a number or (*event).
        high: Greatest value, likewise.

    Shape:
        (B, *event) to the same.

    Raises:
        ValueError: for a level that is no share, or no positive standard deviation.

    Reference:
        Vincent et al. (2008) for autoencoders, Im et al. (2017) for the variational bound.

    Example:
        >>> x = torch.full((1, 1000), 0.5)
        >>> noisy = Corruption("salt-and-pepper", 0.25)(x)
        >>> noisy.unique().tolist()
        [0.0, 0.5, 1.0]
    """

    low: Tensor
    high: Tensor

    @checked
    def __init__(
        self, noise: Noise, level: float, *, low: Tensor | float = 0.0, high: Tensor | float = 1.0
    ) -> None:
        super().__init__()
        if not (level > 0 and (noise == "gaussian" or level <= 1)):
            rule = "above 0" if noise == "gaussian" else "a share in (0, 1]"
            raise ValueError(
                f"the level of {noise} noise must be {rule}; got {level}. Use for example 0.25."
            )
        self.noise, self.level = noise, level
        # Not part of the state: they follow from the schema.
        for name, edge in (("low", low), ("high", high)):
            self.register_buffer(
                name, torch.as_tensor(edge, dtype=torch.get_default_dtype()), persistent=False
            )

    @classmethod
    @checked
    def of(cls, noise: Noise, level: float, schema: Schema | None) -> "Corruption":
        """Noise within the range of the data that `schema` describes; within [0, 1] without one."""
        if schema is not None and schema.kinds:
            raise ValueError(
                "`noise` is for images and tables of numbers; a mixed table has categories, which no noise of numbers "
                "fits. Leave `noise` out."
            )
        if schema is None or schema.binarise != "none":
            return cls(noise, level)
        low, high = torch.tensor(schema.scaled_ranges(), dtype=torch.get_default_dtype()).T
        return cls(noise, level, low=low, high=high)

    def forward(self, x: Tensor) -> Tensor:
        """The rows with noise."""
        if self.noise == "gaussian":
            noisy = x + self.level * draws.normal(x.shape, like=x)
            return torch.minimum(torch.maximum(noisy, self.low), self.high)  # eq: gaussian-noise
        uniform = draws.uniform(x.shape, like=x)
        if self.noise == "masking":
            value = torch.minimum(torch.maximum(torch.zeros_like(self.low), self.low), self.high)
        else:
            value = torch.where(uniform < self.level / 2, self.low, self.high)
        return torch.where((uniform < self.level) & ~x.isnan(), value, x)  # eq: salt-and-pepper

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"{self.noise}, level={self.level}"

    def settings(self) -> dict[str, Any]:
        """Plain values that the training depends on."""
        return {
            "noise": self.noise,
            "level": self.level,
            "low": self.low.tolist(),
            "high": self.high.tolist(),
        }
