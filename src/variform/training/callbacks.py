"""Callbacks: what is called while a model is trained, what it is given, and how it ends the training.

A callback is a function of one `Moment`. `on_step` is called after each step and `on_epoch` after each epoch, in the
first of several processes alone. It changes nothing: the training has the same bits with it and without. To end the
training it raises `StopTraining`; whatever else it raises saves the training and ends it with a `CallbackError`.
"""

import functools
import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from variform.model.vae import VAE


class StopTraining(Exception):
    """Raised by a callback: this step was the last one.

    The rest is as at any end: the epoch is validated as far as it got, the best weights are kept, and a run has its
    numbers and its report, which give the reason.

    Args:
        reason: Why, in a few words.

    Example:
        >>> from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit, read
        >>> data, config = read("digits"), TrainConfig(epochs=9)
        >>> objective = build_objective(build_vae(ModelConfig(latent_dim=2), data.schema), config)
        >>> def enough(moment):
        ...     if moment.epoch == 2:
        ...         raise StopTraining("two will do")
        >>> fit(objective, data.train, data.valid, config, on_epoch=enough).stopped
        'stopped by enough: two will do'
    """

    def __init__(self, reason: str = "no reason given") -> None:
        super().__init__(reason)


class CallbackError(RuntimeError):
    """A callback raised an error, which is the cause of this one; the message names both and says what was saved."""


class Moment(Mapping[str, Any]):
    """A training after one of its steps or epochs: numbers by name, which cannot be changed, and a copy of the model.

    After an epoch the names are those of a row of history.jsonl, see `History`. After a step they are `epoch`, `step`,
    `learning_rate`, `beta`, and `train_loss`, `train_elbo`, `train_log_likelihood`, `train_kl` of its batch before the
    update, of several processes those of the first one's rows. To read a number of a step is to wait for a GPU to have
    computed it; `step` and `epoch` as attributes wait for nothing.

    Args:
        step: Steps done.
        epoch: Number of the epoch, from 1.
        numbers: Gives the numbers by name; called when the first is asked for.
        vae: Gives a copy of the model.

    Example:
        >>> moment = Moment(8, 2, lambda: {"valid_elbo": -3.5}, lambda: None)
        >>> moment, moment["valid_elbo"], dict(moment)
        (Moment(step=8, epoch=2), -3.5, {'valid_elbo': -3.5})
    """

    def __init__(
        self,
        step: int,
        epoch: int,
        numbers: Callable[[], Mapping[str, Any]],
        vae: "Callable[[], VAE]",
    ) -> None:
        self.step = step
        self.epoch = epoch
        self._ask = numbers
        self._copy = vae
        self._is_over = False

    @functools.cached_property
    def vae(self) -> "VAE":
        """A copy of the model as it is validated, in evaluation mode; with `ema` that of the averaged weights.

        It is made when it is first asked for, which copies every weight.

        Raises:
            RuntimeError: after the callback has returned, when the training has gone on.
            ValueError: with `sharded`, when no process has the whole model.
        """
        if self._is_over:
            raise RuntimeError(
                "`vae` must be asked for inside the callback; the training has gone on. Keep the model, not the moment."
            )
        return self._copy()

    @functools.cached_property
    def _numbers(self) -> Mapping[str, Any]:
        return self._ask()

    def close(self) -> None:
        """From now on the model is another one."""
        self._is_over = True

    def __getitem__(self, name: str) -> Any:
        return self._numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"Moment(step={self.step}, epoch={self.epoch})"


Callback = Callable[[Moment], object]
"""What it returns is not looked at."""
Callbacks = Callback | Sequence[Callback] | None
"""One, several, which are called in their order, or none."""


def each_of(callbacks: Callbacks) -> tuple[Callback, ...]:
    """The callbacks one by one.

    Raises:
        TypeError: for what cannot be called.

    Example:
        >>> each_of(None), each_of(print) == each_of([print])
        ((), True)
        >>> each_of([3])
        Traceback (most recent call last):
        TypeError: a callback must be a function of one moment of a training; got 3. Give a function.
    """
    several: Sequence[Any] = callbacks if isinstance(callbacks, Sequence) else (callbacks,)
    given = tuple(callback for callback in several if callback is not None)
    for callback in given:
        if not callable(callback):
            raise TypeError(
                f"a callback must be a function of one moment of a training; got {callback!r}. Give a function."
            )
    return given


def name_of(callback: Callback) -> str:
    """What messages call a callback.

    Example:
        >>> name_of(name_of), name_of([].append)
        ('name_of', 'list.append')
    """
    inner = callback.func if isinstance(callback, functools.partial) else callback
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    return name.rpartition("<locals>.")[2]


def callbacks_of(thing: Any, path: str) -> "Calls":
    """The callbacks that code of the user's own is: a function that is called after each epoch, or what has `on_epoch`,
    `on_step` or both; of a class one that is made of nothing.

    Args:
        thing: The function, class or object.
        path: What messages call it.

    Raises:
        ValueError: for what is none of these, or a class that asks for something.

    Example:
        >>> class Counting:
        ...     def on_step(self, moment):
        ...         pass
        >>> calls = callbacks_of(Counting, "counting.py:Counting")
        >>> len(calls.on_step), len(calls.on_epoch)
        (1, 0)
        >>> callbacks_of(3, "counting.py:three")
        Traceback (most recent call last):
        ValueError: a callback must be a function, or have on_epoch or on_step; counting.py:three is 3. Name another.
    """
    if isinstance(thing, type):
        try:
            thing = thing()
        except TypeError as error:
            raise ValueError(
                f"a callback that is a class must need no argument; of {path} Python says: {error}. Name an object."
            ) from error
    on_step, on_epoch = getattr(thing, "on_step", None), getattr(thing, "on_epoch", None)
    if on_step is None and on_epoch is None:
        on_epoch = thing
    if not callable(on_step or on_epoch):
        raise ValueError(
            f"a callback must be a function, or have on_epoch or on_step; {path} is {thing!r}. Name another."
        )
    return Calls(on_step, on_epoch)


class Calls:
    """The calls of one training's callbacks, and what they asked for.

    Args:
        on_step: Called after each step.
        on_epoch: Called after each epoch.
    """

    def __init__(self, on_step: Callbacks, on_epoch: Callbacks) -> None:
        self.on_step = each_of(on_step)
        self.on_epoch = each_of(on_epoch)
        self.stopped = ""
        """Why no more steps are wanted, in words."""
        self.failed = ""
        """What a callback raised, in words."""
        self.error: Exception | None = None
        """What it raised, in the process in which it did."""
        self.seconds = 0.0
        """What the calls took so far."""

    @property
    def are_over(self) -> bool:
        """Whether one of them has ended the training."""
        return bool(self.stopped or self.failed)

    def make(self, callbacks: Sequence[Callback], moment: Moment) -> None:
        """Call them one after another; the first that raises is the last that is called."""
        started = time.monotonic()
        for callback in callbacks:
            if not self.are_over:
                self._call(callback, moment)
        moment.close()
        self.seconds += time.monotonic() - started

    def _call(self, callback: Callback, moment: Moment) -> None:
        try:
            callback(moment)
        except StopTraining as wish:
            self.stopped = f"stopped by {name_of(callback)}: {wish}"
        except Exception as error:
            self.error = error
            self.failed = f"{name_of(callback)} raised {_told(error)}"

    def said(self) -> bytes:
        """What they asked for, for the other processes."""
        return json.dumps([self.stopped, self.failed]).encode()

    def hear(self, said: bytes) -> None:
        """Take what the first process's callbacks asked for."""
        self.stopped, self.failed = json.loads(said)


def _told(error: Exception) -> str:
    """Kind and words of an error, and the line of the callback that raised it or called what did.

    Example:
        >>> _told(KeyError("elbo"))
        "KeyError('elbo')"
    """
    frames = traceback.extract_tb(error.__traceback__)[1:2]  # the first one is the call
    places = [f" in {frame.filename}, line {frame.lineno}" for frame in frames]
    return "".join([repr(error), *places])
