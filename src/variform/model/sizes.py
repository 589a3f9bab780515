"""A decoder of counts of rows that differ in size: their means are multiplied by a number that is known of each row."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from variform.data.schema import Schema
from variform.model.likelihoods import Likelihood


class SizedDecoder(nn.Module):
    r"""$\log m(z, s) = \log s + h(z)$ for the size s of a row, which stands in the context, and h of a network.

    The network sees 0 in the place of the size, so that the size acts on the means and on nothing else.

    Args:
        network: The decoder, (B, D + C) to (B, *params_shape).
        place: Where the size stands in what the network takes.
        shift: The size that is 0 there, the mean of the training rows.
        scale: Units of the size per unit there.
        times: Multiplies the means of params (B, *params_shape) by e to (B,), as `Likelihood.times`.

    Reference:
        Lopez, Regier, Cole, Jordan and Yosef (2018), the library size that is observed.

    Example:
        >>> from variform.model.likelihoods import PoissonLikelihood
        >>> decoder = SizedDecoder(nn.Linear(2, 3), 1, shift=5.0, scale=2.0, times=PoissonLikelihood.times)
        >>> small, large = decoder(torch.tensor([[0.0, -2.0], [0.0, 2.5]])).exp()  # of size 1 and 10
        >>> (large / small).detach().round(decimals=3)
        tensor([10., 10., 10.])
    """

    def __init__(
        self,
        network: nn.Module,
        place: int,
        *,
        shift: float,
        scale: float,
        times: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.network = network
        self.place, self.shift, self.scale, self.times = place, shift, scale, times

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"place={self.place}, shift={self.shift}, scale={self.scale}"

    def forward(self, given: Tensor) -> Tensor:
        """Params for latent points and contexts side by side, (B, D + C)."""
        size = given[:, self.place] * self.scale + self.shift
        # A size that no row can have asks for no counts.
        log_size = size.clamp_min(1e-6 * self.shift).log()
        before, behind = given[:, : self.place], given[:, self.place + 1 :]
        nothing = torch.zeros_like(given[:, :1])
        return self.times(self.network(torch.cat([before, nothing, behind], 1)), log_size)

    def start_at(self, params: Tensor) -> None:
        """Start at these params for a row of the mean size."""
        start_at = getattr(self.network, "start_at", None)
        if callable(start_at):  # a network of the user's own may have none
            minus = params.new_full((1,), -math.log(self.shift))
            start_at(self.times(params[None], minus)[0])


def sized(
    decoder: nn.Module, name: str, latents: int, schema: Schema, likelihood: Likelihood
) -> SizedDecoder:
    """The decoder, with the condition of this name as the size of each row.

    Args:
        decoder: The network.
        name: Of a condition.
        latents: Numbers of z, behind which the context stands.
        schema: Has the conditions, and how small the size was among the training rows.
        likelihood: Of counts.

    Raises:
        ValueError: where there is no such condition, or it is no number above 0.

    Example:
        >>> from variform.model.likelihoods import PoissonLikelihood
        >>> from variform.data.reading import read
        >>> sized(nn.Linear(2, 64), "depth", 2, read("digits").schema, PoissonLikelihood((64,)))
        Traceback (most recent call last):
        ValueError: `size_factor` must be one of the conditions; got 'depth', and the model is conditioned on nothing. \
Use `condition=['depth']` too.
    """
    names = [condition.name for condition in schema.conditions]
    if name not in names:
        known = ", ".join(names) or "nothing"
        raise ValueError(
            f"`size_factor` must be one of the conditions; got {name!r}, and the model is conditioned on {known}. "
            f"Use `condition={[*names, name]!r}` too."
        )
    number = names.index(name)
    condition = schema.conditions[number]
    rounded = 1e-6 * condition.scale  # 0 comes back from float32 as about that
    least = condition.shift if schema.occupancy is None else schema.occupancy.low[number]
    if condition.categories or least <= rounded:
        number_there = f"{least if least < -rounded else 0:.4g}"
        what = "categories" if condition.categories else f"{number_there} among the training rows"
        raise ValueError(
            f"`size_factor` must be a number above 0 in every row; {name!r} holds {what}. Leave those rows out, or use "
            "another condition."
        )
    place = latents + sum(one.width for one in schema.conditions[:number])
    return SizedDecoder(
        decoder, place, shift=condition.shift, scale=condition.scale, times=likelihood.times
    )
