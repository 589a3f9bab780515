"""What a GPU changes: whether it computes what the CPU computes, and how fast a step is; one table.

    python benchmarks/gpu.py --out gpu                    # gpu.md and gpu.json; under ten minutes on one GPU
    python benchmarks/gpu.py --device cpu --reduced       # seconds, without a GPU; the test suite does it

No claim about a GPU stands in the documents that this did not print. A section that breaks is a row of the table and
not the end; one that would begin after its share of the time is left out. The exit code is 1 where a check failed or
broke.

Checks:

- gradients: loss and gradients of a batch with the same weights and noise, beside float64 on the CPU; products in full
  float32, and of the CPU itself for comparison. With TF32 the bound is that of 10 bits.
- training: the losses of some steps beside those of the CPU, with the same noise.
- Adam: the fused update beside `torch.optim.Adam` that is not fused; and again after its state went through a
  checkpoint.
- compiled, CUDA graphs: losses of some steps beside those of the step that is not compiled, from the same seed.
- bf16: the loss of a batch in half precision beside float32, and the directions of its gradients.
- DDP: gradients through DistributedDataParallel of one process (NCCL, on the CPU gloo) beside those without.
- waiting: a step, its batch and update included, must not make the CPU wait for the GPU; torch raises an error where it
  does.

Speed, in ms a step: the steps of a training on rows that are in the CPU's memory, taken together and divided, with the
GPU synchronised before the clock starts and before it stops, after a warm-up in which everything is compiled; the
median of some repeats. `plain torch` is a loop with its rows on the GPU and fused Adam, `jax` a scan over an epoch
(where JAX finds a GPU). The networks are 784-400-20 and the convolutional one of speed.py.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import traceback
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from contestants import FILTERS, HIDDEN, LATENT, LAYERS, LEARNING_RATE, PIXELS, JaxScan, Task
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae
from variform.config.settling import for_rows
from variform.data.order import epoch_order
from variform.data.reading import read
from variform.model.vae import VAE
from variform.training.step import Step

PASSED, FAILED, BROKE, MEASURED, LEFT_OUT = "passed", "FAILED", "BROKE", "measured", "left out"
SECONDS = 540.0
"""When no section begins any more."""
FLOAT32, TF32, BF16 = 1e-4, 5e-3, 2e-2
"""Bounds on differences, relative to the largest number of a tensor."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table."""

    section: str
    what: str
    value: str
    verdict: str
    bound: str = ""


@dataclasses.dataclass(frozen=True)
class Setting:
    """On what, and how much of it."""

    device: str
    batches: tuple[int, ...]
    networks: tuple[str, ...]
    rows: int
    steps: int
    repeats: int
    few: int  # steps of a check
    hidden: int
    compiles: bool


class LeftOut(Exception):
    """A section that cannot be had here; the message says why."""


# --- what is compared ---------------------------------------------------------------------------------------------


def images(rows: int) -> np.ndarray:
    """Grey images of which half the pixels are 0, (rows, 28, 28)."""
    rng = np.random.default_rng(0)
    factors = 40 * rng.normal(size=(LATENT // 2, PIXELS)).astype(np.float32)
    values = rng.normal(size=(rows, len(factors))).astype(np.float32) @ factors
    return values.clip(0, 255).astype(np.uint8).reshape(-1, 28, 28)


class Trial:
    """A network with its data, and steps of it on a device."""

    def __init__(self, setting: Setting, network: str) -> None:
        self.setting, self.network = setting, network
        self.train = read(images(setting.rows), config=DataConfig()).train

    def vae(self) -> VAE:
        options: dict[str, Any] = {}
        if self.network == "conv":
            options = {"network": "conv", "filters": FILTERS}
        config = ModelConfig(
            latent_dim=LATENT,
            hidden=(self.setting.hidden,),
            **({"likelihood": "bernoulli"} | options),
        )
        return build_vae(config, self.train.schema, moments=self.train.moments(), seed=0)

    def step(self, batch: int, **options: Any) -> Step:
        options = {"device": self.setting.device, "compile": "off", **options}
        config = TrainConfig(batch_size=batch, learning_rate=LEARNING_RATE, **options)
        config = for_rows(config, len(self.train))
        step = Step(build_objective(self.vae(), config), config, 1000)
        step.objective.train()
        return step

    def batches(self, size: int) -> Iterator[Tensor]:
        """Numbers of rows, without end."""
        epoch = 0
        while True:
            order = epoch_order(len(self.train), 0, epoch)
            yield from order[: len(order) // size * size].split(size)
            epoch += 1

    def take(self, step: Step, index: Tensor) -> Tensor:
        """One step of a training; gives its sums."""
        x, context = step.objective.vae.batch(self.train, index)
        step.objective.at_step(0)
        step.learning_rate(LEARNING_RATE)
        return step(x, len(index), 1.0, context)

    def losses(self, step: Step, count: int) -> list[float]:
        """Mean losses of the first `count` steps."""
        batches, sums = self.batches(step.config.batch), []
        for _ in range(count):
            # CUDA graphs give the same memory again.
            sums.append(self.take(step, next(batches)).clone())
        return [(value[0] / value[-1]).item() for value in sums]


@contextlib.contextmanager
def noise_of_the_cpu() -> Iterator[None]:
    """Inside, torch.randn draws the same float32 numbers whatever the device and the precision."""
    generator, randn = torch.Generator().manual_seed(0), torch.randn

    def drawn(*size: Any, dtype: Any = None, device: Any = None) -> Tensor:
        return randn(*size, generator=generator, dtype=torch.float32).to(device=device, dtype=dtype)

    with unittest.mock.patch.object(torch, "randn", drawn):
        yield


def gradients(trial: Trial, step: Step, batch: int, dtype: torch.dtype) -> list[Tensor]:
    """Mean loss and gradients of the first batch, on the CPU in float64."""
    step.objective.to(dtype)
    index = next(trial.batches(batch))
    with noise_of_the_cpu(), step.arithmetic():
        x, context = step.objective.vae.batch(trial.train, index)
        found, sums = step._gradients(x, batch, 1.0, context)
    values = [sums[0] / sums[-1], *(value for value in found if value is not None)]
    return [value.detach().double().cpu() for value in values]


def distance(first: list[Tensor], second: list[Tensor]) -> float:
    """The largest difference, relative to the largest number of its tensor in `second`."""
    worst = 0.0
    for one, other in zip(first, second, strict=True):
        scale = max(other.abs().max().item(), 1e-12)
        difference = (one - other).abs().max().item() / scale
        if not difference <= worst:  # so that NaN is the worst
            worst = difference
    return worst


def checked(section: str, what: str, difference: float, bound: float) -> Row:
    """A row of a check; NaN fails."""
    verdict = PASSED if difference <= bound else FAILED
    return Row(section, what, f"{difference:.1e}", verdict, f"{bound:.0e}")


def apart(first: list[float], second: list[float]) -> float:
    return distance([torch.tensor(first).double()], [torch.tensor(second).double()])


# --- checks -------------------------------------------------------------------------------------------------------


def check_gradients(setting: Setting) -> Iterator[Row]:
    for network in setting.networks:
        trial, batch = Trial(setting, network), setting.batches[0]
        exact = gradients(trial, trial.step(batch, device="cpu"), batch, torch.float64)
        for device in dict.fromkeys(("cpu", setting.device)):
            found = gradients(trial, trial.step(batch, device=device), batch, torch.float32)
            what = f"{network}, {device} in float32 beside float64"
            yield checked("gradients", what, distance(found, exact), FLOAT32)
        if setting.device == "cuda":
            found = gradients(trial, trial.step(batch, tf32=True), batch, torch.float32)
            yield checked("gradients", f"{network}, TF32", distance(found, exact), TF32)


def check_training(setting: Setting) -> Iterator[Row]:
    trial, losses = Trial(setting, "mlp"), {}
    for device in ("cpu", setting.device):
        step = trial.step(setting.batches[0], device=device)
        with noise_of_the_cpu(), step.arithmetic():
            losses[device] = trial.losses(step, setting.few)
    difference = apart(losses[setting.device], losses["cpu"])
    what = f"losses of {setting.few} steps beside the CPU's"
    yield checked("training", what, difference, 10 * FLOAT32)


def check_adam(setting: Setting) -> Iterator[Row]:
    trial, batch = Trial(setting, "mlp"), setting.batches[0]
    for is_resumed in (False, True):
        step = trial.step(batch)
        plain = [parameter.detach().clone() for parameter in step.parameters]
        other = torch.optim.Adam(plain, lr=LEARNING_RATE, fused=False)
        batches = trial.batches(batch)
        for number in range(setting.few):
            if is_resumed and number == setting.few // 2:
                sums = torch.zeros(4, dtype=torch.float64)
                step.trained.restore(step.trained.capture(sums), sums)
            x, context = step.objective.vae.batch(trial.train, next(batches))
            found, _ = step._gradients(x, batch, 1.0, context)
            for parameter, gradient in zip(plain, found, strict=True):
                parameter.grad = gradient.clone()
            step._update(found)
            other.step()
        weights = [value.detach().double().cpu() for value in step.parameters]
        difference = distance(weights, [value.double().cpu() for value in plain])
        what = "fused, resumed from a checkpoint" if is_resumed else "fused beside not fused"
        yield checked("Adam", what, difference, FLOAT32)


def check_compiled(setting: Setting) -> Iterator[Row]:
    yield from _check_compiled(setting, "compiled", contextlib.nullcontext())


def check_graphs(setting: Setting) -> Iterator[Row]:
    require_cuda(setting)
    yield from _check_compiled(setting, "CUDA graphs", with_graphs())


def _check_compiled(setting: Setting, section: str, how: Any) -> Iterator[Row]:
    require_compiler(setting)
    trial = Trial(setting, "mlp")
    losses = []
    with how:
        for compile in ("off", "on"):
            step = trial.step(setting.batches[0], compile=compile)
            torch.manual_seed(0)
            with step.arithmetic():
                losses.append(trial.losses(step, setting.few))
    difference = apart(losses[1], losses[0])
    yield checked(section, f"losses of {setting.few} steps beside eager", difference, 10 * FLOAT32)


def check_bf16(setting: Setting) -> Iterator[Row]:
    trial, batch = Trial(setting, "mlp"), setting.batches[0]
    exact, half = (
        gradients(trial, trial.step(batch, precision=precision), batch, torch.float32)
        for precision in ("float32", "bf16")
    )
    yield checked("bf16", "loss beside float32", distance(half[:1], exact[:1]), BF16)
    cosines = [
        torch.cosine_similarity(one.flatten(), other.flatten(), dim=0).item()
        for one, other in zip(half[1:], exact[1:], strict=True)
    ]
    yield checked("bf16", "1 - least cosine of a gradient", 1 - min(cosines), BF16)


def check_ddp(setting: Setting) -> Iterator[Row]:
    trial, batch = Trial(setting, "mlp"), setting.batches[0]
    alone = gradients(trial, trial.step(batch), batch, torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        # Without a name of the backend, as in a training: NCCL for what is on a GPU, gloo for what is not.
        dist.init_process_group(init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            step = trial.step(batch)
            step.many, step.module = True, DistributedDataParallel(step.objective)
            together = gradients(trial, step, batch, torch.float32)
            backend = dist.get_backend_config()
        finally:
            dist.destroy_process_group()
    yield checked("DDP", f"one process, {backend}", distance(together, alone), FLOAT32)


def check_waiting(setting: Setting) -> Iterator[Row]:
    require_cuda(setting)
    trial = Trial(setting, "mlp")
    options: list[dict[str, Any]] = [{}, {"precision": "bf16"}]
    if setting.compiles:
        options.append({"compile": "on"})
    for chosen in options:
        step = trial.step(setting.batches[0], **chosen)
        batches = trial.batches(step.config.batch)
        with step.arithmetic():
            for _ in range(3):
                trial.take(step, next(batches))
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
            try:
                trial.take(step, next(batches))
                verdict, value = PASSED, "it does not"
            except RuntimeError as error:
                verdict, value = FAILED, first_line(error)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        yield Row("waiting", f"a step waits for the GPU: {chosen or 'eager'}", value, verdict)


# --- speed --------------------------------------------------------------------------------------------------------


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def milliseconds(setting: Setting, take: Callable[[], object]) -> float:
    """Of one call, the median of some repeats, after a warm-up."""
    for _ in range(max(3, setting.steps // 10)):
        take()
    seconds = []
    for _ in range(setting.repeats):
        wait(setting.device)
        begun = time.perf_counter()
        for _ in range(setting.steps):
            take()
        wait(setting.device)
        seconds.append((time.perf_counter() - begun) / setting.steps)
    return 1e3 * statistics.median(seconds)


def measured(what: str, batch: int, milliseconds: float) -> Row:
    value = f"{milliseconds:.3f} ms a step, {1e3 * batch / milliseconds:,.0f} images/s"
    return Row("speed", f"{what}, batch {batch:,}", value, MEASURED)


def speed_of(setting: Setting, what: str, how: Any = None, **options: Any) -> Iterator[Row]:
    """Steps of variform with these options of a training."""
    for network in setting.networks:
        trial = Trial(setting, network)
        for batch in setting.batches:
            with how() if how else contextlib.nullcontext():
                step = trial.step(batch, **options)
                batches = trial.batches(batch)
                with step.arithmetic():
                    took = milliseconds(setting, lambda: trial.take(step, next(batches)))  # noqa: B023
            yield measured(f"{network}, {what}", batch, took)


def speed_eager(setting: Setting) -> Iterator[Row]:
    yield from speed_of(setting, "eager")


def speed_bf16(setting: Setting) -> Iterator[Row]:
    yield from speed_of(setting, "eager, bf16", precision="bf16")


def speed_tf32(setting: Setting) -> Iterator[Row]:
    require_cuda(setting)
    yield from speed_of(setting, "eager, TF32", tf32=True)


def speed_compiled(setting: Setting) -> Iterator[Row]:
    require_compiler(setting)
    yield from speed_of(setting, "compiled", compile="on")


def speed_graphs(setting: Setting) -> Iterator[Row]:
    require_cuda(setting)
    require_compiler(setting)
    yield from speed_of(setting, "compiled, CUDA graphs", with_graphs, compile="on")


def speed_compiled_bf16(setting: Setting) -> Iterator[Row]:
    require_compiler(setting)
    yield from speed_of(setting, "compiled, bf16", compile="on", precision="bf16")


def speed_torch(setting: Setting) -> Iterator[Row]:
    """The loop of contestants.py with its rows on the device."""
    raw = torch.from_numpy(images(setting.rows).reshape(-1, PIXELS)).to(setting.device)
    for network in setting.networks:
        for batch in setting.batches:
            torch.manual_seed(0)
            encoder, decoder = (
                part.to(setting.device, torch.float32) for part in LAYERS[network]()
            )
            parameters = [*encoder.parameters(), *decoder.parameters()]
            optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)

            def take() -> None:
                index = torch.randint(len(raw), (batch,), device=setting.device)  # noqa: B023
                x = raw[index].float().div_(255)
                mean, log_var = encoder(x).chunk(2, 1)  # noqa: B023
                logits = decoder(mean + torch.exp(log_var / 2) * torch.randn_like(mean))  # noqa: B023
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    logits, x, reduction="sum"
                )
                loss = loss + (mean**2 + log_var.exp() - 1 - log_var).sum() / 2
                optimizer.zero_grad()  # noqa: B023
                (loss / len(x)).backward()
                optimizer.step()  # noqa: B023

            yield measured(f"{network}, plain torch", batch, milliseconds(setting, take))


def speed_jax(setting: Setting) -> Iterator[Row]:
    require_cuda(setting)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch needs memory too
    try:
        import jax
        import optax  # noqa: F401

        platform = jax.devices()[0].platform
    except (ImportError, RuntimeError) as error:
        raise LeftOut(f"JAX: {first_line(error)}") from error
    if platform not in ("gpu", "cuda"):
        raise LeftOut(f"JAX {jax.__version__} finds no GPU, but {platform}")
    for batch in setting.batches:
        rows, seconds = setting.rows // batch * batch, []
        with tempfile.TemporaryDirectory() as folder:
            store = str(Path(folder) / "data.npz")
            np.savez(store, train=images(rows), valid=images(batch))
            task = Task("mlp", "jax", "steady", batch, 0, store, folder, 1, 0, 0)
            JaxScan(task).train(setting.repeats + 1, seconds.append)
        took = 1e3 * statistics.median(seconds[1:]) / (rows // batch)
        yield measured(f"mlp, jax {jax.__version__}", batch, took)


# --- the command --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def with_graphs() -> Iterator[None]:
    """Inside, what is compiled becomes CUDA graphs."""
    import torch._inductor.config as inductor

    with inductor.patch({"triton.cudagraphs": True}):
        yield


def require_cuda(setting: Setting) -> None:
    if setting.device != "cuda":
        raise LeftOut("of a GPU only")


def require_compiler(setting: Setting) -> None:
    if not setting.compiles:
        raise LeftOut("not in the reduced form, for compiling takes its time")


SECTIONS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "gradients": check_gradients,
    "training": check_training,
    "Adam": check_adam,
    "compiled": check_compiled,
    "CUDA graphs": check_graphs,
    "bf16": check_bf16,
    "DDP": check_ddp,
    "waiting": check_waiting,
    "speed eager": speed_eager,
    "speed plain torch": speed_torch,
    "speed compiled": speed_compiled,
    "speed CUDA graphs": speed_graphs,
    "speed bf16": speed_bf16,
    "speed TF32": speed_tf32,
    "speed compiled bf16": speed_compiled_bf16,
    "speed jax": speed_jax,
}


def first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def run(name: str, setting: Setting, ends: float) -> list[Row]:
    """The rows of a section; what went before an error stays."""
    if time.monotonic() > ends:
        return [Row(name, "", "no time left", LEFT_OUT)]
    rows: list[Row] = []
    begun = time.monotonic()
    try:
        for row in SECTIONS[name](setting):
            rows.append(row)
            if time.monotonic() > ends:
                rows.append(Row(name, "the rest", "no time left", LEFT_OUT))
                break
    except LeftOut as why:
        rows.append(Row(name, "", str(why), LEFT_OUT))
    except Exception as error:  # whatever it is, the other sections follow
        traceback.print_exc()
        rows.append(Row(name, "", first_line(error).replace("|", "/"), BROKE))
    print(f"{name}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    return rows


def facts(device: str) -> list[str]:
    """Machine and versions."""
    name = platform.processor() or platform.machine()
    if device == "cuda":
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        name = f"{properties.name}, compute capability {properties.major}.{properties.minor}"
        name += f", {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    return [
        f"{datetime.date.today()}, {name}, {os.cpu_count()} cores",
        f"Python {platform.python_version()}, torch {torch.__version__}",
        "products and convolutions in full float32 unless a line says TF32 or bf16",
    ]


def table(lines: list[str], rows: list[Row]) -> str:
    head = ["| section | what | value | bound | verdict |", "|---|---|---:|---:|---|"]
    body = [
        f"| {row.section} | {row.what} | {row.value} | {row.bound} | {row.verdict} |"
        for row in rows
    ]
    return "\n".join([*(f"- {line}" for line in lines), "", *head, *body, ""])


def setting_of(options: argparse.Namespace) -> Setting:
    if options.reduced:
        return Setting(options.device, (32,), ("mlp",), 256, 2, 1, 4, 32, False)
    batches = (128, 512, 4096)
    return Setting(options.device, batches, ("mlp", "conv"), 54_000, 200, 5, 20, HIDDEN, True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="What a GPU changes: equality and speed.")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--reduced", action="store_true", help="small, and without a compiler")
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="no section begins later")
    parser.add_argument("--out", type=Path, help="name of the table: .md and .json are added")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU that torch can use; --device cpu does it without one")
    setting, ends = setting_of(options), time.monotonic() + options.seconds
    rows = [row for name in options.only for row in run(name, setting, ends)]
    lines = facts(options.device)
    print(table(lines, rows))
    if options.out:
        Path(f"{options.out}.md").write_text(table(lines, rows), encoding="utf-8")
        contents = {"facts": lines, "rows": [dataclasses.asdict(row) for row in rows]}
        text = json.dumps(contents, indent=2, allow_nan=False)
        Path(f"{options.out}.json").write_text(text + "\n", encoding="utf-8")
    return int(any(row.verdict in (FAILED, BROKE) for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
