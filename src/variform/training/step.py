"""One step: gradients of a batch, and the update."""

import copy
import inspect
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from variform.config.training import TrainConfig
from variform.model.networks import Layers
from variform.model.vae import evaluating
from variform.objectives import PIWAE, RAE, Autoencoder, Objective, Terms
from variform.system import draws, processes
from variform.system.compiling import compiled, eager
from variform.system.memory import keep_freed
from variform.system.products import Products, computing, fastest, is_worth_timing
from variform.system.work import using
from variform.training.checkpoints import Trained
from variform.training.device import compiles, require_possible, threads_of
from variform.training.private import Budget, Private, require_private

_WORTH_ASKING = 500  # steps; timing the ways of a layer takes some ten of its products
TERMS = ("loss", "log_likelihood", "kl")

_Tensors = list[Tensor] | tuple[Tensor, ...]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Step:
    """Loss, gradients and update for one batch.

    Args:
        objective: What is trained; it moves to the device.
        config: The optimiser's side of the configuration.
        steps: Steps of the whole training.
        budget: What a private training promises, as `budget_of` gives it.

    Raises:
        ValueError: when the step cannot be compiled although it must, or an option needs what is not there.

    Example:
        >>> from variform import ELBO, ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> objective = ELBO(build_vae(ModelConfig(latent_dim=2), data.schema))
        >>> step = Step(objective, TrainConfig(), 100)
        >>> x = data.train.batch(torch.arange(128))
        >>> losses = [step(x, 128, 1.0)[0] / 128 for _ in range(10)]
        >>> bool(losses[-1] < losses[0])
        True
    """

    def __init__(
        self,
        objective: Objective,
        config: TrainConfig,
        steps: int,
        budget: Budget | None = None,
    ) -> None:
        keep_freed()
        self.config = config
        self.device = require_possible(config, processes.count())
        require_fits(objective, config)
        objective.to(self.device)
        if config.freeze == "encoder":
            objective.vae.encoder.requires_grad_(False)
        for layers in _layers(objective):
            layers.recompute = config.recompute
        # What is trained under the objective's name: the objective, or a copy that is split over the processes.
        self.objective = _sharded(copy.deepcopy(objective)) if config.sharded else objective
        auxiliary = self.objective.auxiliary
        self.auxiliary = [] if auxiliary is None else list(auxiliary.parameters())
        auxiliary_ids = {id(parameter) for parameter in self.auxiliary}
        self.main = []
        for parameter in self.objective.parameters():
            if parameter.requires_grad and id(parameter) not in auxiliary_ids:
                self.main.append(parameter)
        self.parameters = [*self.main, *self.auxiliary]
        groups: list[dict[str, Any]] = [{"params": self.main}]
        if config.decay:
            decayed, others = _by_decay(self.objective, self.main)
            self.main = [*decayed, *others]
            self.parameters = [*self.main, *self.auxiliary]
            groups = [{"params": decayed, "weight_decay": config.decay}, {"params": others}]
        self._scheduled = len(groups)
        if self.auxiliary:
            groups.append({"params": self.auxiliary, **(self.objective.auxiliary_options or {})})
        self.threads = threads_of(objective, config)
        self.products: Products = {}
        """How layers are computed, see `products.computing`."""
        self.optimizer = _build_optimizer(groups, config, self.device)
        # In half precision gradients would be too small if they were not scaled.
        self.scales = config.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.scales)
        self.average, self.evaluated = None, self.objective  # what is validated and kept
        if config.ema:
            self.average, self.evaluated = _average(objective, config)
        self.trained = Trained(
            self.objective,
            self.optimizer,
            self.scaler,
            self.device,
            config.sharded,
            average=self.average,
        )
        self.many = processes.count() > 1
        self.private = None
        if config.private_epsilon is not None:
            if budget is None:
                raise ValueError(
                    "a private step must be one of a whole training, which its noise is for; here is none. "
                    "Leave `private_epsilon` out."
                )
            self.private = Private(self.objective, self.parameters, budget)
        self.is_compiled = self.private is None and compiles(objective, config, steps)
        self._compiled = None
        if self.is_compiled:
            self._compiled = compiled(self._gradients, self.device, only=True)
        self.clip_norm = config.clip_norm
        self._has_run = False
        self._held: Any = None
        self._slots: list[tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]] = []
        self.module: nn.Module = self.objective
        if self.many and not config.sharded:
            self.module = DistributedDataParallel(
                self.objective,
                find_unused_parameters=_leaves_out(self.objective),
                **_without_buffers(),
            )

    def __call__(
        self,
        x: Tensor,
        total: int,
        weight: float,
        context: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> Tensor:
        """One step on the rows `x` of a batch of `total` rows over all processes.

        Args:
            x: This process's rows, prepared, (B, *event).
            total: Rows of the batch in all processes.
            weight: 0 for rows that only keep a process busy, else 1.
            context: What a conditional model is conditioned on, (B, C).
            shares: How much each of the rows counts, (B,), as `Dataset.shares`; 1 without.

        Returns:
            Sums of loss, log-likelihood and KL over the rows and their number, each row as often as it counts, (4,),
            float64; all of it before the update. They stay on a GPU, which may still be at work on them: to read one is
            to wait for it.
        """
        # A ragged batch is not worth a compilation of its own.
        gradients, sums = self._found(x, total, weight, context, shares)
        self._update(gradients)
        return sums

    def learning_rate(self, value: float) -> None:
        """Set the learning rate of the next step; an auxiliary network keeps its own."""
        for group in self.optimizer.param_groups[: self._scheduled]:
            group["lr"] = value

    def roll_back(self, best: dict[str, Tensor], step: int) -> None:
        """Go on from the weights `best` after `step` steps, with an optimiser that has no memory of the others."""
        self.trained.roll_back(best, step)
        self._held = None

    def sums(
        self,
        x: Tensor,
        weight: float,
        context: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> Tensor:
        """Sums as `__call__` gives them, of what is kept, without a step."""
        with self.autocast():
            return _sums(self.evaluated(x, context), weight, shares)

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """Inside, the step has its threads and its way of each product; those of GPUs are as exact as `tf32` says."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if self.config.tf32 else "highest")
        # Convolutions have a setting of their own, which torch turns on.
        convolutions, torch.backends.cudnn.allow_tf32 = (
            torch.backends.cudnn.allow_tf32,
            self.config.tf32,
        )
        try:
            with using(self.threads), computing(self.objective.vae, self.products):
                yield
        finally:
            torch.set_float32_matmul_precision(before)
            torch.backends.cudnn.allow_tf32 = convolutions

    def autocast(self) -> Any:
        """A context in which networks compute in the configured precision."""
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, _DTYPES[self.config.precision])

    def _found(
        self, x: Tensor, total: int, weight: float, context: Tensor | None, shares: Tensor | None
    ) -> tuple[Sequence[Tensor | None], Tensor]:
        """What `_gradients` gives, in parts or by compiled code for whole batches where that is so."""
        if self.private is not None:
            gradients, terms = self.private.gradients(x, context, self.config.batch)
            terms = terms.cpu() if x.device.type == "mps" else terms  # which has no float64
            return gradients, torch.cat([terms.sum(1), terms.new_full((1,), len(x))]).double()
        if self.many:
            for parameter in self.parameters:
                parameter.grad = None
        if self.config.accumulate > 1:
            return self._accumulated(x, total, weight, context, shares)
        if self._compiled is None or total != self.config.batch:
            return self._gradients(x, total, weight, context, shares)
        try:
            return self._compiled(x, total, weight, context, shares)
        except RuntimeError as error:
            if self._has_run:
                raise
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            if self.config.compile == "on":
                raise ValueError(
                    f"`compile='on'` needs a step that can be compiled and a C++ compiler; it failed with {reason}. "
                    "Install one, such as g++, or use `compile='off'`."
                ) from error
            warnings.warn(
                f"the step runs as it is, slower, for it could not be compiled: {reason}",
                stacklevel=4,
            )
            self._compiled, self.is_compiled = None, False
            return self._gradients(x, total, weight, context, shares)
        finally:
            self._has_run = True

    def _accumulated(
        self, x: Tensor, total: int, weight: float, context: Tensor | None, shares: Tensor | None
    ) -> tuple[Sequence[Tensor | None], Tensor]:
        """What `_gradients` gives, by one part of the rows after another: the loss is a sum over rows."""
        gradients: list[Tensor | None] = []
        sums: list[Tensor] = []
        for part in draws.in_parts(len(x), self.config.accumulate):
            given, own = (None if beside is None else beside[part] for beside in (context, shares))
            # The processes exchange their gradients once, with the last part.
            waits = self.many and part.stop < len(x)
            with self._apart() if waits else nullcontext():
                more, those = self._gradients(x[part], total, weight, given, own)
            sums.append(those)
            if self.many or not gradients:  # torch adds to what the parameters have
                gradients = list(more)
                continue
            for number, gradient in enumerate(more):
                gradients[number] = _added(gradients[number], gradient)
        return gradients, torch.stack(sums).sum(dim=0)

    def _apart(self) -> AbstractContextManager[None]:
        """Inside, the processes do not exchange gradients."""
        module: Any = self.module  # DistributedDataParallel, where there are several
        return module.no_sync()

    def _gradients(
        self,
        x: Tensor,
        total: int,
        weight: float,
        context: Tensor | None,
        shares: Tensor | None = None,
    ) -> tuple[Sequence[Tensor | None], Tensor]:
        """Gradients of the mean loss over the batch, and the sums of the terms over these rows."""
        with self.autocast():
            terms = self.module(x, context)
        losses = terms.loss if shares is None else terms.loss * shares
        loss = losses.sum() * (weight / total)
        # Hooks of the module take the mean over the processes: of W equal shares, 1/W of the sum.
        if self.many:
            self.scaler.scale(loss * processes.count()).backward()
            gradients: Sequence[Tensor | None] = [parameter.grad for parameter in self.parameters]
        else:
            gradients = self._slopes(loss, self.main, keep=terms.auxiliary is not None)
            # Each network learns from its own loss and from nothing else.
            if terms.auxiliary is not None:
                gradients += self._slopes(terms.auxiliary.sum() * (weight / total), self.auxiliary)
        return gradients, _sums(terms, weight, shares)

    def _slopes(
        self, loss: Tensor, parameters: list[nn.Parameter], *, keep: bool = False
    ) -> tuple[Tensor | None, ...]:
        scaled = self.scaler.scale(loss) if self.scales else loss
        gradients = torch.autograd.grad(scaled, parameters, allow_unused=True, retain_graph=keep)
        return tuple(map(_laid_out_as, parameters, gradients))

    def _update(self, gradients: Sequence[Tensor | None]) -> None:
        self._optimise(gradients)
        if self.average is not None:
            self.average.update_parameters(self.objective)

    def _optimise(self, gradients: Sequence[Tensor | None]) -> None:
        """Change the parameters; afterwards none has a gradient, so that the next take the place of these in memory."""
        plain = self.optimizer.defaults.get("fused") and not self.scales and not self.clip_norm
        # `None in gradients` would compare tensors, which torch refuses with an error for each: 50 microseconds.
        has_all = all(gradient is not None for gradient in gradients)
        if plain and self.optimizer.state and has_all:
            self._adam(gradients)
            return
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.clip_norm:
            self.scaler.unscale_(self.optimizer)
            for parameters in filter(None, (self.main, self.auxiliary)):
                nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def _adam(self, gradients: Sequence[Tensor | None]) -> None:
        """The two calls that `torch.optim.Adam(fused=True).step` comes down to; the rest is 5 % of a small step.

        All parameters of a group have taken as many steps: their counts are one tensor, which takes one addition.
        """
        if self._held is not self.optimizer.state:  # restored from a checkpoint, or the first time
            self._held = self.optimizer.state
            self._slots = []
            for group in self.optimizer.param_groups:
                slots = [self._held[parameter] for parameter in group["params"]]
                first = [slot["exp_avg"] for slot in slots]
                second = [slot["exp_avg_sq"] for slot in slots]
                count = torch.stack([slot["step"] for slot in slots])
                steps = list(count.unbind())
                for slot, step in zip(slots, steps, strict=True):
                    slot["step"] = step
                self._slots.append((first, second, steps, count))
        is_decoupled = self.config.optimizer == "adamw"
        fused: Any = torch._fused_adamw_ if is_decoupled else torch._fused_adam_
        start = 0
        groups = self.optimizer.param_groups
        for group, (first, second, steps, count) in zip(groups, self._slots, strict=True):
            count.add_(1)
            beta1, beta2 = group["betas"]
            fused(
                group["params"],
                gradients[start : start + len(steps)],
                first,
                second,
                [],
                steps,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
            start += len(steps)


def products_of(step: Step, steps: int) -> Products:
    """The way of each layer that is fastest here, where a training is long enough to be worth the question.

    Args:
        step: What will compute them.
        steps: Steps of the whole training.
    """
    config, vae = step.config, step.objective.vae
    is_plain = config.precision == "float32" and not config.sharded and step.device.type == "cpu"
    if (
        step.private is not None
        or step.objective.differentiates_twice  # which torch's own products know
        or config.products == "torch"
        or not is_plain
        or steps < _WORTH_ASKING
    ):
        return {}
    rows = config.batch // processes.count()
    if not is_worth_timing(vae, rows * config.samples):
        return {}
    x = vae.like(torch.zeros(rows, *vae.event_shape))
    context = vae.no_context(rows)

    def through_both() -> Tensor:
        z = vae.encode(x, context).mean.repeat(config.samples, 1)
        given = z if context is None else torch.cat([z, context.repeat(config.samples, 1)], -1)
        return vae.decoder(given)

    products: Products = {}
    if processes.rank() == 0:
        with evaluating(vae):
            products = fastest(vae, through_both, step.threads)
    return json.loads(processes.broadcast(json.dumps(products).encode()))


def require_fits(objective: Objective, config: TrainConfig) -> None:
    """Refuse what this objective cannot have.

    Raises:
        ValueError: says what cannot be done.
    """
    name, vae = type(objective).__name__, objective.vae
    require_private(objective, config)
    if config.compile == "on" and not objective.compilable:
        raise ValueError(
            f"`compile='on'` needs a step that can be compiled; that of {name} cannot. Use `compile='off'`."
        )
    if config.compile == "on" and not vae.compilable:
        raise ValueError(
            "`compile='on'` needs a posterior and a prior without flows; got "
            f"{type(vae.posterior).__name__} and {type(vae.prior).__name__}. Use `compile='off'`."
        )
    single = next(
        (name for name, parameter in objective.named_parameters() if parameter.ndim == 0), None
    )
    if config.sharded and single is not None:
        raise ValueError(
            f"`sharded` needs parameters of at least one axis; {single} is a single number. Use "
            "`likelihood='gaussian'` or `likelihood='gaussian-per-feature'`, or leave `sharded` out."
        )
    if config.sharded and isinstance(objective, PIWAE) and not vae.compilable:
        raise ValueError(
            "`sharded` cannot split a flow under piwae. Use iwae, or leave `sharded` out."
        )
    if config.recompute and not _layers(objective):
        raise ValueError(
            "`recompute` needs networks of `variform.model.networks`, whose layers it knows; got "
            f"{type(vae.encoder).__name__} and {type(vae.decoder).__name__}. Leave `recompute` out."
        )
    is_coupled = objective.couples_rows or objective.auxiliary is not None
    if config.accumulate > 1 and is_coupled:
        raise ValueError(
            f"{name} compares the rows of a batch with each other, which must then be worked through at once; got "
            f"`accumulate={config.accumulate}`. Leave `accumulate` out."
        )
    if config.accumulate > 1 and getattr(vae.likelihood, "variance", None) == "optimal":
        raise ValueError(
            "`likelihood='gaussian-optimal'` finds its variance from a whole batch, which must then be worked "
            f"through at once; got `accumulate={config.accumulate}`. Use `likelihood='gaussian-per-feature'`, or leave "
            "`accumulate` out."
        )
    if processes.count() > 1 and (objective.couples_rows or objective.auxiliary is not None):
        raise ValueError(
            f"{name} compares the rows of a batch with each other, which must then be in one process; there are "
            f"{processes.count()}. Train with one process."
        )


def _layers(objective: Objective) -> list[Layers]:
    """Those of the VAE's networks; those of an auxiliary network are also used with frozen weights."""
    return [module for module in objective.vae.modules() if isinstance(module, Layers)]


def _laid_out_as(parameter: Tensor, gradient: Tensor | None) -> Tensor | None:
    """The gradient with its numbers in the order of the parameter's: torch's fused Adam pairs them as they lie."""
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _added(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The sum of two gradients; not in place, for torch may give two parameters one tensor."""
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _leaves_out(objective: Objective) -> bool:
    """Whether some parameters get no gradient, which the processes must know."""
    has_idle_classifier = objective.vae.classifier is not None and not objective.infers_labels
    return isinstance(objective, Autoencoder | RAE) or has_idle_classifier


def _without_buffers() -> dict[str, Any]:
    """The option that leaves buffers alone, which all processes set alike; its name has changed in torch."""
    known = inspect.signature(DistributedDataParallel).parameters
    if "forward_sync_buffers" in known:
        return {"forward_sync_buffers": False}
    return {"broadcast_buffers": False}


def _sums(terms: Terms, weight: float, shares: Tensor | None) -> Tensor:
    """Sums of the terms over the rows, and of what these count; (4,), float64, where the terms are: nobody waits."""
    values = [getattr(terms, name).detach() for name in TERMS]
    if shares is not None:
        values = [*(value * shares for value in values), shares.to(terms.loss.dtype)]
    if terms.loss.device.type == "mps":  # it has no float64
        values = [value.cpu() for value in values]
    sums = torch.stack(values).sum(1, dtype=torch.float64)
    if shares is None:
        sums = torch.cat([sums, sums.new_full((1,), len(terms.loss))])
    return sums if weight == 1 else sums * weight


def _build_optimizer(
    groups: list[dict[str, Any]], config: TrainConfig, device: torch.device
) -> torch.optim.Optimizer:
    if config.optimizer == "rmsprop":
        return eager(torch.optim.RMSprop)(groups, lr=config.rate, centered=True)
    fused = device.type in ("cpu", "cuda", "mps") and not config.sharded
    if config.optimizer == "adamw":
        return eager(torch.optim.AdamW)(groups, lr=config.rate, fused=fused, weight_decay=0.0)
    return eager(torch.optim.Adam)(groups, lr=config.rate, fused=fused)


def _by_decay(
    objective: Objective, parameters: Sequence[nn.Parameter]
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights of layers, which may decay, and the other parameters: biases, and those of laws."""
    weights = {
        id(parameter)
        for name, parameter in objective.named_parameters()
        if name.endswith("weight") and parameter.ndim > 1
    }
    decayed = [parameter for parameter in parameters if id(parameter) in weights]
    return decayed, [parameter for parameter in parameters if id(parameter) not in weights]


def _average(objective: Objective, config: TrainConfig) -> tuple[AveragedModel, Objective]:
    """The exponential moving average of the parameters, which begins as a copy of `objective`; and that copy."""

    def move(averages: _Tensors, parameters: _Tensors, number: Tensor | int) -> None:
        done = int(number)
        # It rises from 2/11, so that the first parameters do not weigh on a short training.
        decay = min(config.ema, (1 + done) / (10 + done))
        torch._foreach_lerp_(averages, parameters, 1 - decay)  # eq: moving-average

    average = AveragedModel(objective, multi_avg_fn=move)
    average.requires_grad_(False)
    evaluated: Any = average.module
    return average, _sharded(evaluated) if config.sharded else evaluated


def _sharded(objective: Objective) -> Objective:
    """The objective with each network's parameters split over the processes."""
    from torch.distributed.fsdp import fully_shard  # slow to import

    for network in (objective.vae.encoder, objective.vae.decoder):
        fully_shard(network)
    fully_shard(objective)
    return objective


def mean_terms(sums: Tensor) -> dict[str, float]:
    """Means over examples from the sums of a step or an epoch.

    Example:
        >>> mean_terms(torch.tensor([4.0, -3.0, 1.0, 2.0]))
        {'loss': 2.0, 'log_likelihood': -1.5, 'kl': 0.5}
    """
    count = sums[-1]
    if not count:
        return dict.fromkeys(TERMS, math.nan)
    return {name: (sums[slot] / count).item() for slot, name in enumerate(TERMS)}
