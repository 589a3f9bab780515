"""The contestants of speed.py, each one class, and the process in which one of them works.

A contestant is prepared by `__init__`, which imports what it needs and takes the images into memory. `train` trains for
some epochs, calls `on_epoch` with the seconds that the training steps of each took, writes its files, and gives the
best weights; `nll` gives the seconds that importance-sampled log p(x) takes for the task's images and samples.
"""

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

PIXELS, HIDDEN, LATENT = 784, 400, 20
FILTERS = (32, 64)  # of the stages of the convolutional network: 28 -> 14 -> 7
WIDTHS = ((PIXELS, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, PIXELS))
LEARNING_RATE, VALID_BATCH = 1e-3, 512
CHUNK = 2048  # rows at once of the floor of NLL
PYTHAE_IMAGES, PYTHAE_BATCH = 4, 100  # of get_nll: images that are measured, and its default batch
OnEpoch = Callable[[float], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a worker is to do; it gets it as JSON."""

    network: str
    name: str
    mode: str  # "steady", "whole" or "nll"
    batch: int
    epochs: int
    data: str
    folder: str
    threads: int
    images: int
    samples: int


def torch_rows(task: Task, part: str) -> Any:
    """The rows of `part` as a uint8 tensor (N, 784)."""
    import torch

    with np.load(task.data) as arrays:
        return torch.from_numpy(arrays[part].reshape(-1, PIXELS))


def mlp_layers() -> tuple[Any, Any]:
    """Encoder and decoder of the MLP; the decoder ends in logits."""
    from torch import nn

    encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
    return encoder, nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))


def conv_layers() -> tuple[Any, Any]:
    """The same around two stages of convolutions."""
    from torch import nn

    first, second = FILTERS
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, first, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(first, second, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * 49, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 2 * LATENT),
    )
    decoder = nn.Sequential(
        nn.Linear(LATENT, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, second * 49),
        nn.ReLU(),
        nn.Unflatten(1, (second, 7, 7)),
        nn.ConvTranspose2d(second, first, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(first, 1, 4, 2, 1),
        nn.Flatten(),
    )
    return encoder, decoder


LAYERS = {"mlp": mlp_layers, "conv": conv_layers}
MODEL: dict[str, dict[str, Any]] = {
    "mlp": {},
    "conv": {"network": "conv", "filters": FILTERS},
}  # variform's options


def weights_of(*parts: Any) -> dict[str, np.ndarray]:
    """W1, b1, W2, ... of the layers in `parts`, and `centre`, if there is something to subtract from the images."""
    from torch import nn

    weights = (
        {"centre": parts[0].centre.flatten().numpy().copy()} if hasattr(parts[0], "centre") else {}
    )
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    layers = [module for part in parts for module in part.modules() if isinstance(module, kinds)]
    for number, layer in enumerate(layers, 1):
        bias = (
            parts[1].bias if layer.bias is None else layer.bias
        )  # of variform's decoder, a number per pixel
        weights |= {
            f"W{number}": layer.weight.detach().numpy().copy(),
            f"b{number}": bias.detach().numpy().copy(),
        }
    return weights


class Floor:
    """The products of a step and nothing else, each by the fastest of the libraries that are there.

    torch's convolutions take new memory for their results, and so what was freed is kept: else the floor is higher than
    a step.
    """

    def __init__(self, task: Task) -> None:
        from variform.system.memory import keep_freed

        keep_freed()
        with np.load(task.data) as arrays:
            self.steps = len(arrays["train"]) // task.batch
        self.task = task

    def products(self, rows: int) -> tuple[list[Any], list[Any]]:
        """Those of the encoder and those of the decoder."""
        import torch

        from variform.training.profiling import floor_products

        encoder, decoder = LAYERS[self.task.network]()
        x, z = torch.rand(rows, PIXELS), torch.rand(rows, LATENT, requires_grad=True)
        parts = [
            floor_products([encoder], lambda: encoder(x)),
            floor_products([decoder], lambda: decoder(z)),
        ]
        for product in (*parts[0], *parts[1]):
            product.settle()
        return parts[0], parts[1]

    def train(self, epochs: int, on_epoch: OnEpoch) -> None:
        encoder, decoder = self.products(self.task.batch)
        products = [*encoder, *decoder]
        for _ in range(epochs):
            started = time.perf_counter()
            for _ in range(self.steps):
                for product in products:
                    product.forward()
                for product in reversed(products):
                    product.backward()
            on_epoch(time.perf_counter() - started)

    def nll(self) -> float:
        rows = self.task.images * self.task.samples
        _, products = self.products(CHUNK)
        chunks = max(1, rows // CHUNK)
        started = time.perf_counter()
        for _ in range(chunks):
            for product in products:
                product.forward()
        return (time.perf_counter() - started) * rows / (chunks * CHUNK)


class TorchLoop:
    """What a careful user of PyTorch writes."""

    def __init__(self, task: Task) -> None:
        self.task, self.images, self.valid = (
            task,
            torch_rows(task, "train"),
            torch_rows(task, "valid"),
        )

    def train(self, epochs: int, on_epoch: OnEpoch) -> dict[str, np.ndarray]:
        import torch

        torch.manual_seed(0)
        encoder, decoder = LAYERS[self.task.network]()
        net = torch.nn.ModuleList([encoder, decoder])
        optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)

        def loss(raw: Any) -> Any:
            x = raw.float().div_(255)
            mean, log_var = encoder(x).chunk(2, 1)
            logits = decoder(mean + torch.exp(log_var / 2) * torch.randn_like(mean))
            cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, x, reduction="sum"
            )
            return cross_entropy + (mean**2 + log_var.exp() - 1 - log_var).sum() / 2

        best, best_loss = {}, math.inf
        for _ in range(epochs):
            started = time.perf_counter()
            for index in torch.randperm(len(self.images)).split(self.task.batch):
                optimizer.zero_grad()
                (loss(self.images[index]) / len(index)).backward()
                optimizer.step()
            seconds = time.perf_counter() - started
            with torch.no_grad():
                valid_loss = sum(loss(raw).item() for raw in self.valid.split(VALID_BATCH))
            if valid_loss < best_loss:
                best, best_loss = weights_of(encoder, decoder), valid_loss
            on_epoch(seconds)
        np.savez(Path(self.task.folder) / "model.npz", **best)
        return best


class JaxScan:
    """One compiled scan over the steps of an epoch."""

    def __init__(self, task: Task) -> None:
        import jax.numpy as jnp
        import optax  # noqa: F401 (here, so that no clock sees it)

        self.task = task
        with np.load(task.data) as arrays:
            self.images, self.valid = (
                jnp.asarray(arrays[part].reshape(-1, PIXELS)) for part in ("train", "valid")
            )

    def shapes(self) -> list[tuple[int, tuple[int, ...]]]:
        """Of each layer the inputs of one sum, and the shape of the weights, outputs last."""
        return [(width_in, (width_in, width_out)) for width_in, width_out in WIDTHS]

    def start(self, rng: np.random.Generator) -> dict[str, Any]:
        """Weights by the law of torch's layers."""
        import jax.numpy as jnp

        weights = {}
        for number, (fan_in, shape) in enumerate(self.shapes(), 1):
            bound = fan_in**-0.5
            for name, size in ((f"W{number}", shape), (f"b{number}", shape[-1:])):
                weights[name] = jnp.asarray(rng.uniform(-bound, bound, size), jnp.float32)
        return weights

    def encode(self, w: Any, x: Any) -> Any:
        """Means and log-variances, (B, 2 * LATENT)."""
        import jax

        return jax.nn.relu(x @ w["W1"] + w["b1"]) @ w["W2"] + w["b2"]

    def decode(self, w: Any, z: Any) -> Any:
        """Logits, (B, PIXELS)."""
        import jax

        return jax.nn.relu(z @ w["W3"] + w["b3"]) @ w["W4"] + w["b4"]

    def as_torch(self, name: str, value: Any) -> np.ndarray:
        """Weights in the order of torch's axes."""
        return np.array(value.T)

    def train(self, epochs: int, on_epoch: OnEpoch) -> dict[str, np.ndarray]:
        import jax
        import jax.numpy as jnp
        import optax

        rng = np.random.default_rng(0)
        optimizer = optax.adam(LEARNING_RATE)

        def loss(w: Any, raw: Any, key: Any) -> Any:
            x = raw.astype(jnp.float32) / 255
            mean, log_var = jnp.split(self.encode(w, x), 2, axis=1)
            z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
            logits = self.decode(w, z)
            kl = (mean**2 + jnp.exp(log_var) - 1 - log_var).sum(1) / 2
            return ((jax.nn.softplus(logits) - x * logits).sum(1) + kl).mean()

        def epoch(state: Any, images: Any, order: Any) -> Any:
            def step(state: Any, index: Any) -> Any:
                weights, moments, key = state
                key, draw = jax.random.split(key)
                value, slope = jax.value_and_grad(loss)(weights, images[index], draw)
                change, moments = optimizer.update(slope, moments)
                return (optax.apply_updates(weights, change), moments, key), value

            return jax.lax.scan(step, state, order)

        epoch, validate = jax.jit(epoch, donate_argnums=0), jax.jit(loss)
        weights = self.start(rng)
        state = (weights, optimizer.init(weights), jax.random.key(0))
        best, best_loss = {}, math.inf
        for _ in range(epochs):
            started = time.perf_counter()
            order = rng.permutation(len(self.images)).astype(np.int32).reshape(-1, self.task.batch)
            state, _ = jax.block_until_ready(epoch(state, self.images, order))
            seconds = time.perf_counter() - started
            valid_loss = validate(state[0], self.valid, jax.random.key(1)).item()
            if valid_loss < best_loss:
                best = {name: self.as_torch(name, value) for name, value in state[0].items()}
                best_loss = valid_loss
            on_epoch(seconds)
        np.savez(Path(self.task.folder) / "model.npz", **best)
        return best


class JaxConvScan(JaxScan):
    """The same with convolutions, in the layout that XLA likes on a processor: channels last."""

    def shapes(self) -> list[tuple[int, tuple[int, ...]]]:
        first, second = FILTERS
        flat = second * 49
        dense = ((flat, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, flat))
        return [
            (16, (4, 4, 1, first)),
            (16 * first, (4, 4, first, second)),
            *((width_in, (width_in, width_out)) for width_in, width_out in dense),
            # torch counts the outputs of a transposed convolution as its inputs.
            (16 * first, (4, 4, second, first)),
            (16, (4, 4, first, 1)),
        ]

    def encode(self, w: Any, x: Any) -> Any:
        import jax

        h = x.reshape(-1, 28, 28, 1)
        for number in (1, 2):
            h = jax.nn.relu(self.stage(h, w[f"W{number}"], (2, 2), 1) + w[f"b{number}"])
        h = jax.nn.relu(h.reshape(len(x), -1) @ w["W3"] + w["b3"])
        return h @ w["W4"] + w["b4"]

    def decode(self, w: Any, z: Any) -> Any:
        import jax

        h = jax.nn.relu(z @ w["W5"] + w["b5"])
        h = jax.nn.relu(h @ w["W6"] + w["b6"]).reshape(len(z), 7, 7, -1)
        h = jax.nn.relu(self.stage(h, w["W7"], (1, 1), 2, (2, 2)) + w["b7"])
        h = self.stage(h, w["W8"], (1, 1), 2, (2, 2)) + w["b8"]
        return h.reshape(len(z), -1)

    def stage(
        self, h: Any, w: Any, strides: tuple[int, int], padding: int, dilation: Any = None
    ) -> Any:
        """A convolution; a transposed one is that of what lies between zeros, with the weights turned round."""
        import jax

        return jax.lax.conv_general_dilated(
            h,
            w,
            strides,
            [(padding, padding)] * 2,
            lhs_dilation=dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def as_torch(self, name: str, value: Any) -> np.ndarray:
        array = np.array(value)
        second = FILTERS[1]
        if name in ("W1", "W2"):
            return array.transpose(3, 2, 0, 1)
        if name in ("W7", "W8"):
            return array[::-1, ::-1].transpose(2, 3, 0, 1).copy()
        # Between stages and dense layers torch has the channels first.
        if name == "W3":
            return array.reshape(7, 7, second, -1).transpose(3, 2, 0, 1).reshape(HIDDEN, -1)
        if name == "W6":
            return array.reshape(-1, 7, 7, second).transpose(3, 1, 2, 0).reshape(-1, HIDDEN)
        if name == "b6":
            return array.reshape(7, 7, second).transpose(2, 0, 1).reshape(-1)
        return array.T


class Pythae:
    """pythae's VAE, trained by its TrainingPipeline."""

    def __init__(self, task: Task) -> None:
        import logging

        import pythae.pipelines  # noqa: F401 (here, so that no clock sees it)

        self.task = task
        self.images, self.valid = (
            torch_rows(task, part).reshape(-1, 1, 28, 28) / 255 for part in ("train", "valid")
        )
        logging.disable(logging.INFO)

    def model(self) -> Any:
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder

        layers = LAYERS[self.task.network]()

        class Encoder(BaseEncoder):
            def __init__(self) -> None:
                BaseEncoder.__init__(self)
                self.layers = layers[0]

            def forward(self, x: Any) -> Any:
                mean, log_var = self.layers(x.flatten(1)).chunk(2, 1)
                return ModelOutput(embedding=mean, log_covariance=log_var)

        class Decoder(BaseDecoder):
            def __init__(self) -> None:
                BaseDecoder.__init__(self)
                self.layers = layers[1]

            def forward(self, z: Any) -> Any:
                return ModelOutput(reconstruction=self.layers(z).sigmoid().reshape(-1, 1, 28, 28))

        config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
        return VAE(config, encoder=Encoder(), decoder=Decoder())

    def train(self, epochs: int, on_epoch: OnEpoch) -> dict[str, np.ndarray]:
        from pythae.pipelines import TrainingPipeline
        from pythae.trainers import BaseTrainerConfig
        from pythae.trainers.training_callbacks import TrainingCallback

        class Watch(TrainingCallback):
            def on_train_step_begin(
                self, *_: Any, **__: Any
            ) -> None:  # before the first step of an epoch
                self.started = time.perf_counter()

            def on_eval_step_begin(self, *_: Any, **__: Any) -> None:  # after its last step
                self.seconds = time.perf_counter() - self.started

            def on_epoch_end(self, *_: Any, **__: Any) -> None:
                on_epoch(self.seconds)

        config = BaseTrainerConfig(
            output_dir=self.task.folder,
            num_epochs=epochs,
            learning_rate=LEARNING_RATE,
            per_device_train_batch_size=self.task.batch,
            per_device_eval_batch_size=VALID_BATCH,
            no_cuda=True,
        )
        pipeline = TrainingPipeline(model=self.model(), training_config=config)
        pipeline(train_data=self.images, eval_data=self.valid, callbacks=[Watch()])
        best = pipeline.trainer._best_model
        return weights_of(best.encoder, best.decoder)

    def nll(self) -> float:
        import torch

        count, model = min(PYTHAE_IMAGES, self.task.images), self.model()
        done = count * max(1, self.task.samples // PYTHAE_BATCH) * PYTHAE_BATCH
        started = time.perf_counter()
        with torch.no_grad():
            model.get_nll(self.images[:count], n_samples=self.task.samples, batch_size=PYTHAE_BATCH)
        return (time.perf_counter() - started) * self.task.images * self.task.samples / done


class Variform:
    """This project, through its public names."""

    options: ClassVar[dict[str, Any]] = {}  # of the model that differ from the default
    compile = "auto"  # of whole runs

    def __init__(self, task: Task) -> None:
        from variform import build_objective, build_vae, fit, read, save  # noqa: F401 (here, so that no clock sees it)

        self.task, self.splits = task, read(task.data)

    def model(self) -> Any:
        from variform import ModelConfig, build_vae

        options = MODEL[self.task.network] | self.options
        config = ModelConfig(
            latent_dim=LATENT,
            hidden=(HIDDEN,),
            posterior_std="exp",
            **({"likelihood": "bernoulli"} | options),
        )
        return build_vae(config, self.splits.schema, moments=self.splits.train.moments())

    def train(self, epochs: int, on_epoch: OnEpoch) -> dict[str, np.ndarray]:
        from variform import TrainConfig, build_objective, fit, save

        options: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": self.task.batch,
            "learning_rate": LEARNING_RATE,
        }
        if "compile" in {field.name for field in dataclasses.fields(TrainConfig)}:
            options["compile"] = (
                "on" if self.task.mode == "steady" and self.compile == "auto" else self.compile
            )
        config, vae, folder = TrainConfig(**options), self.model(), Path(self.task.folder)
        started = time.perf_counter()

        def after(row: dict[str, Any]) -> None:
            nonlocal started
            on_epoch(row.get("train_seconds", time.perf_counter() - started))
            started = time.perf_counter()

        objective = build_objective(vae, config)
        fit(objective, self.splits.train, self.splits.valid, config, folder=folder, on_epoch=after)
        save(vae, folder / "model.safetensors")
        return weights_of(vae.encoder, vae.decoder)

    def nll(self) -> float:
        from variform import Dataset
        from variform.evaluation.log_likelihood import score

        vae, rows = (
            self.model(),
            Dataset(self.splits.train.raw[: self.task.images], self.splits.schema),
        )
        started = time.perf_counter()
        score(vae, rows, samples=self.task.samples)
        return time.perf_counter() - started


class Eager(Variform):
    """This project without compilation."""

    compile = "off"


class Uncentred(Variform):
    """This project with the other tools' start: no centring of the input, output biases near 0."""

    options: ClassVar[dict[str, Any]] = {"centre": False}


CONTESTANTS = {
    "mlp": {
        "variform": Variform,
        "eager": Eager,
        "uncentred": Uncentred,
        "pythae": Pythae,
        "torch": TorchLoop,
        "jax": JaxScan,
        "floor": Floor,
    },
    "conv": {
        "variform": Variform,
        "eager": Eager,
        "uncentred": Uncentred,
        "pythae": Pythae,
        "torch": TorchLoop,
        "jax": JaxConvScan,
        "floor": Floor,
    },
}
PEERS = ("pythae", "jax")  # these need the peers' interpreter


def work(task: Task) -> None:
    """Do the task; each line on standard output is a number of seconds, each line on standard input a turn."""
    answers, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not answer

    def answer(seconds: float) -> None:
        print(seconds, file=answers, flush=True)

    def answer_and_wait(seconds: float) -> None:
        answer(seconds)
        if not sys.stdin.readline():
            raise SystemExit

    if task.name != "jax":
        import torch

        torch.set_num_threads(task.threads)
    contestant = CONTESTANTS[task.network][task.name](task)
    if task.mode == "steady":
        contestant.train(task.epochs, answer_and_wait)
    elif task.mode == "nll":
        while True:
            answer_and_wait(contestant.nll())
    else:
        started = time.perf_counter()
        weights = contestant.train(task.epochs, lambda seconds: None)
        answer(time.perf_counter() - started)
        np.savez(Path(task.folder) / "weights.npz", **weights)


if __name__ == "__main__":
    work(Task(**json.loads(sys.argv[1])))
