"""The VAE: two networks and three laws."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from variform.config.model import ModelConfig
from variform.data.conditions import by_condition
from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.distributions.compound import Observed, Within
from variform.distributions.law import Law
from variform.model.features import FilledGaps, LogCounts, TableFeatures
from variform.model.likelihoods import Likelihood
from variform.model.posteriors import DiagonalPosterior, FullCovariancePosterior, PlanarPosterior
from variform.model.priors import MixturePrior, StandardNormalPrior, VampPrior
from variform.model.spaces import space_of
from variform.system.draws import seeded
from variform.system.import_path import Code

if TYPE_CHECKING:
    from variform.model.codes import (
        AutoregressivePrior,
        CategoricalPosterior,
        CodesPrior,
        JointPosterior,
        JointPrior,
        QuantisingPosterior,
    )
    from variform.model.curved import (
        SphericalPosterior,
        UniformSpherePrior,
        WrappedNormalPosterior,
        WrappedNormalPrior,
    )
    from variform.model.flows import FlowPrior, IAFPosterior, MAFPosterior
    from variform.model.hierarchy import HierarchicalPosterior, HierarchicalPrior, LadderPosterior

    CodedPosterior = CategoricalPosterior | JointPosterior | QuantisingPosterior
    Posterior = (
        DiagonalPosterior
        | FullCovariancePosterior
        | PlanarPosterior
        | IAFPosterior
        | MAFPosterior
        | HierarchicalPosterior
        | LadderPosterior
        | CodedPosterior
        | SphericalPosterior
        | WrappedNormalPosterior
    )
    CodedPrior = CodesPrior | AutoregressivePrior | JointPrior
    Prior = (
        StandardNormalPrior
        | MixturePrior
        | VampPrior
        | FlowPrior
        | HierarchicalPrior
        | CodedPrior
        | UniformSpherePrior
        | WrappedNormalPrior
    )

_TYPICAL = 256  # draws from the prior whose mean is what a row looks like of which nothing is known


class VAE(nn.Module):
    r"""A posterior q(z|x), a prior p(z), a likelihood p(x|z), and an encoder and a decoder network.

    Args:
        encoder: Network, (B, *event) to (B, *posterior.params_shape); of a conditional model it takes (B, context_dim)
            as its second argument.
        decoder: Network, (B, latent_dim + context_dim) to (B, *likelihood.params_shape).
        posterior: Family that turns the encoder's output into q(z|x).
        prior: Module that gives p(z).
        likelihood: Family that turns the decoder's output into p(x|z).
        context_dim: Numbers per example that encoder and decoder get with x and z (labels, covariates): then
            the model is q(z|x, c) and p(x|z, c).
        classifier: Network of q(y|x), (B, *event) to the logits (B, K) of the first condition, a category.
        features: Of a model whose data have gaps (NaN) the module that turns x into what the encoder sees; with it
            missing values add nothing to log p(x|z).

    Raises:
        ValueError: when a network's output has not the shape its family needs; both shapes are named.

    Example:
        >>> from variform.model.likelihoods import BernoulliLikelihood
        >>> from variform.model.networks import MLP
        >>> from variform.model.posteriors import DiagonalPosterior
        >>> from variform.model.priors import StandardNormalPrior
        >>> vae = VAE(
        ...     MLP((4,), (2, 3)),
        ...     MLP((3,), (4,)),
        ...     posterior=DiagonalPosterior(3),
        ...     prior=StandardNormalPrior(3),
        ...     likelihood=BernoulliLikelihood((4,)),
        ... )
        >>> vae.sample(5).shape
        torch.Size([5, 4])
    """

    config: ModelConfig | None = None
    """The configuration it was built from; None where `build_vae` did not build it."""
    codes: Mapping[str, Code] = MappingProxyType({})
    """Where the encoder and the decoder come from, of those two that `build_vae` made by code of the user's own."""
    schema: Schema | None = None
    """What the data are and how raw values are prepared; None when trained on ready tensors."""
    ranges: tuple[Tensor, Tensor] | None = None
    """Ends between which values of a row are known to lie, (*event) each, prepared; NaN for a value without a range."""
    is_trained_on_gaps = False
    """Whether the encoder knew gaps before `for_parts`."""

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        posterior: "Posterior",
        prior: "Prior",
        likelihood: Likelihood,
        context_dim: int = 0,
        classifier: nn.Module | None = None,
        features: FilledGaps | LogCounts | TableFeatures | None = None,
    ) -> None:
        super().__init__()
        self.context_dim, self.features = context_dim, features
        self.encoder, self.decoder = encoder, decoder
        self.posterior, self.prior, self.likelihood = posterior, prior, likelihood
        self.classifier = classifier
        contexts = [(context_dim,)] if context_dim else []
        seen = likelihood.event_shape if features is None else features.out_shape
        _check_network("encoder", encoder, [seen, *contexts], posterior.params_shape)
        _check_network(
            "decoder", decoder, [(posterior.latent_dim + context_dim,)], likelihood.params_shape
        )

    @property
    def latent_dim(self) -> int:
        """Numbers in z: as many as latent dimensions, or one more on a sphere."""
        return self.posterior.latent_dim

    def extra_repr(self) -> str:
        """Shown when the module is printed: the three laws and the size."""
        parts = {"posterior": self.posterior, "prior": self.prior, "likelihood": self.likelihood}
        names = {name: type(part).__name__ for name, part in parts.items()}
        if self.config is not None:  # the prior may be another by now
            names |= {"posterior": self.config.posterior, "likelihood": self.config.likelihood}
        facts = {"latent_dim": self.latent_dim, "event_shape": self.event_shape, **names}
        facts |= {"context_dim": self.context_dim} if self.context_dim else {}
        weights = sum(value.numel() for value in self.parameters())
        return (
            ", ".join(f"{name}={value}" for name, value in facts.items()) + f", weights={weights:,}"
        )

    @property
    def has_own_networks(self) -> bool:
        """Whether the encoder or the decoder is made by code of the user's own, of which nothing is known."""
        return self.config is None or bool(self.codes)

    @property
    def compilable(self) -> bool:
        """Whether a step can be compiled: flows build their laws in ways that the compiler cannot follow."""
        return all(getattr(part, "compilable", True) for part in (self.posterior, self.prior))

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.likelihood.event_shape

    def like(self, x: Tensor) -> Tensor:
        """`x` on the device and in the precision of the weights."""
        parameter = next(self.parameters())
        return x.to(parameter.device, parameter.dtype)

    def batch(self, data: Dataset, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """The prepared rows of `data` at `index` and their context, if any, as the model takes them."""
        x = self._sent(data.batch(index))
        context = data.context(index)
        if context is not None:
            context = self._sent(context)
        return x, context

    def _sent(self, x: Tensor) -> Tensor:
        """As `like`; on its way to an NVIDIA GPU from pinned memory, so that nobody waits for its work."""
        parameter = next(self.parameters())
        if parameter.is_cuda and not x.is_cuda:
            return x.to(parameter.dtype).pin_memory().to(parameter.device, non_blocking=True)
        return x.to(parameter.device, parameter.dtype)

    def batches(
        self, data: Dataset, batch_size: int, *, seed: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """All rows of `data` in order and their contexts, as `batch` gives them; `seed` as in `Dataset.batches`."""
        contexts = data.context_batches(batch_size)
        for values, context in zip(data.batches(batch_size, seed=seed), contexts, strict=True):
            x = self.like(values)
            if context is not None:
                context = self._completed(x, self.like(context), data.schema)
            yield x, context

    def _completed(self, x: Tensor, context: Tensor, schema: Schema) -> Tensor:
        """The context, where a category that is not known is the one that the classifier finds likeliest."""
        for number, (condition, part) in enumerate(by_condition(schema.conditions, context)):
            is_missing = condition.is_missing(part)
            if not is_missing.any():
                continue
            if number or self.classifier is None:
                raise ValueError(
                    f"every row must have its {condition.name}; {int(is_missing.sum())} rows have none. Fill it in, or "
                    "train with `objective='m2'`, which infers it."
                )
            likeliest = self.log_classify(x).argmax(1)
            one_hot = torch.eye(condition.width).to(context)[likeliest]
            completed = torch.where(is_missing[:, None], one_hot, part)
            context = torch.cat([completed, context[:, condition.width :]], 1)
        return context

    def encode(self, x: Tensor, context: Tensor | None = None) -> Law:
        """q(z|x) for a batch x of shape (B, *event) and its context (B, context_dim); a law over (B, latent_dim)."""
        x = x if self.features is None else self.features(x)
        params = self.encoder(x, *self._known(context))
        given = [self.prior] if getattr(self.posterior, "merges", False) else []
        return self.posterior(params, *given)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Law:
        """p(x|z) for z of shape (*batch, latent_dim); a law over (*batch, *event).

        A context has the shape (*batch, context_dim), or lacks the first axes of z. In evaluation z is the nearest
        point of its space: of codes there are none between.
        """
        if not self.training:  # the model knows no others
            z = space_of(self).nearest(z)
        batch = z.shape[:-1]
        contexts = [context.to(z.dtype).expand(*batch, -1) for context in self._known(context)]
        given = torch.cat([z, *contexts], -1) if contexts else z
        params = self.decoder(given.reshape(-1, given.shape[-1]))  # (L, B, D) -> (L*B, D)
        # (L*B, *params_shape) -> (L, B, *params_shape)
        law = self.likelihood(params.unflatten(0, batch))
        if self.ranges is not None:
            law = Within(law, *(end.to(z) for end in self.ranges))
        return law if self.features is None else Observed(law)

    def log_classify(self, x: Tensor) -> Tensor:
        """log q(y|x) of every category of the first condition, (B, K), in nats.

        Raises:
            ValueError: for a model without a classifier.
        """
        if self.classifier is None:
            raise ValueError(
                "the model must have a classifier; it has none. Train one with `objective='m2'`."
            )
        logits = self.classifier(x if self.features is None else self.features(x))
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)

    def no_context(self, count: int) -> Tensor | None:
        """A context of zeros for `count` rows, where the model needs one: that of mean numbers and of no category."""
        return self.like(torch.zeros(count, self.context_dim)) if self.context_dim else None

    def _known(self, context: Tensor | None) -> list[Tensor]:
        """The context of a conditional model, nothing for another."""
        came = 0 if context is None else context.shape[-1]
        if came != self.context_dim:
            remedy = "Leave context out, or train a conditional model."
            if self.context_dim:
                remedy = "Give context=."
            raise ValueError(
                f"the model needs a context of {self.context_dim} numbers per example; got {came}. {remedy}"
            )
        return [] if context is None else [context]

    def latent_prior(self) -> Law:
        """p(z), a law over (latent_dim,)."""
        law = self.prior(lambda x: self.encode(x, self.no_context(len(x))))
        place = getattr(self.posterior, "place", None)
        return law if place is None else place(law)

    def with_prior(self, prior: nn.Module) -> "VAE":
        """The same networks and families under another p(z): all that is asked of a VAE may be asked of it.

        Args:
            prior: As `VAE` takes it.

        Example:
            >>> from variform.model.build import build_vae
            >>> from variform.model.priors import StandardNormalPrior
            >>> from variform.data.reading import read
            >>> vae = build_vae(ModelConfig(latent_dim=2), read("digits").schema)
            >>> vae.with_prior(StandardNormalPrior(2)).decoder is vae.decoder
            True
        """
        other = copy.copy(self)
        other._modules = {**self._modules, "prior": prior}
        return other

    def for_parts(self, ranges: tuple[Tensor, Tensor] | None = None) -> "VAE":
        """The same networks and families for rows of which values are missing (NaN), whatever the data had.

        An encoder that knows no gaps sees in their place the mean of rows that the model makes.

        Args:
            ranges: As of the attribute.

        Example:
            >>> from variform.model.build import build_vae
            >>> from variform.data.reading import read
            >>> vae = build_vae(ModelConfig(latent_dim=2), read("digits").schema)
            >>> part = torch.full((1, 1, 8, 8), torch.nan)
            >>> vae.for_parts().encode(part).mean.isfinite().all().item()
            True
        """
        other = copy.copy(self)
        other.ranges = ranges
        other.is_trained_on_gaps = self.features is not None
        if self.features is None:
            filled = FilledGaps(self.event_shape)
            filled.centre = self._typical()
            other._modules = dict(self._modules)
            other.features = filled
        return other

    def _typical(self) -> Tensor:
        """The mean of rows that the model makes, (*event)."""
        with evaluating(self), seeded(0):
            z = self.latent_prior().sample(torch.Size((_TYPICAL,)))
            return self.decode(z, self.no_context(_TYPICAL)).mean.mean(0)

    def log_jacobians(self, schema: Schema, x: Tensor) -> Tensor:
        """`log_jacobian` of each row of x (B, *event), (B,) float64: of the values that are not missing."""
        if not self.likelihood.is_density:
            return x.new_zeros(len(x), dtype=torch.float64)
        return schema.log_jacobians(x)

    def log_jacobian(self, schema: Schema) -> float:
        """What is added to log p(x) to state it in the units of `schema`: 0 for a probability, which has no unit."""
        return schema.log_jacobian if self.likelihood.is_density else 0.0

    def sample(self, count: int, context: Tensor | None = None) -> Tensor:
        """Ancestral draws: z from p(z), then x from p(x|z); (count, *event). One context (C,) is that of all."""
        return self.decode(self.latent_prior().sample(torch.Size((count,))), context).sample()

    def reconstruct(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The mean of p(x|z) at the mean of q(z|x); deterministic, (B, *event)."""
        return self.decode(self.encode(x, context).mean, context).mean


class HasVAE(Protocol):
    """What stands around a VAE: a `Model`, a run, an objective."""

    @property
    def vae(self) -> VAE:
        """The VAE."""
        ...


def vae_of(model: VAE | HasVAE) -> VAE:
    """The VAE itself, or that of a `Model`, a run or an objective.

    Raises:
        TypeError: for anything else.

    Example:
        >>> vae_of("runs/demo")
        Traceback (most recent call last):
        TypeError: the model must be a VAE, a Model or a Run; got str. Open a folder or a file first: \
variform.load(path).
    """
    vae = getattr(model, "vae", model)
    if not isinstance(vae, VAE):
        raise TypeError(
            f"the model must be a VAE, a Model or a Run; got {type(model).__name__}. Open a folder or a file first: "
            "variform.load(path)."
        )
    return vae


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; afterwards the mode is as it was.

    Example:
        >>> network = nn.Dropout()
        >>> with evaluating(network):
        ...     network.training
        False
        >>> network.training
        True
    """
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside, no gradient of a parameter is computed, however many of other things are; afterwards it is as it was.

    Example:
        >>> network = nn.Linear(3, 2)
        >>> with frozen(network):
        ...     network.weight.requires_grad
        False
        >>> network.weight.requires_grad
        True
    """
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_()


def _check_network(
    name: str, network: nn.Module, in_shapes: Sequence[tuple[int, ...]], out_shape: tuple[int, ...]
) -> None:
    """Run two zero examples through `network` and compare the output's shape."""
    known = (parameter for parameter in network.parameters() if not is_lazy(parameter))
    zeros = next(known, torch.zeros(())).new_zeros
    takes, gives = (
        " and ".join(f"(B, {_comma(shape)})" for shape in in_shapes),
        f"(B, {_comma(out_shape)})",
    )
    try:
        with evaluating(network):
            came = network(*(zeros(2, *shape) for shape in in_shapes))
    except Exception as error:  # of the user's own code
        raise ValueError(
            f"the {name} must map {takes} to {gives}; it failed with: {error}. Change its input layer."
        ) from error
    if not isinstance(came, Tensor):
        raise ValueError(
            f"the {name} must map {takes} to {gives}; it gave a {type(came).__name__}. Give one tensor."
        )
    rows, *rest = came.shape or (1,)
    if (rows, *rest) != (2, *out_shape):
        gave = ", ".join(map(str, ["B" if rows == 2 else f"{rows} for B = 2", *rest]))
        raise ValueError(
            f"the {name} must map {takes} to {gives}; it gave ({gave}). Change its output layer."
        )


def _comma(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
