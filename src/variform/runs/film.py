"""film.safetensors of a run: how its latent space came to be, a frame now and then while it was trained.

A frame is what a picture needs and no model: where rows lie in the latent space, and what is decoded on a grid of it or
of some rows. The file is written whole with each frame, at most forty times, and goes on when the run does.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variform.config.run import RunConfig
from variform.config.settling import steps_per_epoch, total_steps
from variform.data.colours import shares_of_colours
from variform.pages.film import Film
from variform.system.sealing import read_sealed, write_sealed
from variform.training.callbacks import Moment

if TYPE_CHECKING:
    import torch

    from variform.data.dataset import Dataset
    from variform.model.vae import VAE

Array = np.ndarray[Any, np.dtype[Any]]

FILM = "film.safetensors"
MOST_FRAMES = 40
_MOST_ROWS = 1000  # on the map
_MOST_POINTS = 4000  # numbers of their codes, in a frame
_MOST_NUMBERS = 2**17  # of what is decoded, in a frame
_ROWS_BESIDE = 18  # of which reconstructions are shown


class Filming:
    """A callback of `on_epoch` that keeps frames of a training; it changes no bit of it.

    Args:
        folder: The run's folder, which this process holds.
        config: What is trained.
        train: The rows, of which up to 1,000 are on the map.
    """

    def __init__(self, folder: Path, config: RunConfig, train: "Dataset") -> None:
        from variform.evaluation.exploration import spread

        self.path = folder / FILM
        steps = total_steps(config.train, len(train))
        self.epochs = math.ceil(steps / steps_per_epoch(config.train, len(train)))
        self.wanted = epochs_shown(self.epochs)
        dim = config.model.latent_width
        count = max(100, min(_MOST_ROWS, _MOST_POINTS // dim))
        self.rows = train.take(spread(count, len(train)))
        self.few = train.take(spread(_ROWS_BESIDE, len(train)))
        self.context = train.typical_context()
        self.frames: list[dict[str, Any]] = []

    def begin(self, vae: "VAE", *, resume: bool) -> None:
        """The frame before the first epoch, or those that there are of a training that goes on."""
        if resume and self.path.is_file():
            self.frames = _frames_in(self.path)
            return
        self._keep(vae, 0, None)

    def __call__(self, moment: Moment) -> None:
        """Keep a frame of the epochs that are shown, and of the last one."""
        epoch = moment.epoch
        # What the training went back from comes again.
        self.frames = [frame for frame in self.frames if frame["epoch"] < epoch]
        if epoch in self.wanted:
            self._keep(moment.vae, epoch, moment.get("valid_elbo"))

    def _keep(self, vae: "VAE", epoch: int, elbo: float | None) -> None:
        from variform.evaluation import exploration

        means, _ = exploration.encode(vae, self.rows)
        frame: dict[str, Any] = {"epoch": epoch, "elbo": elbo, "means": means.astype(np.float32)}
        are_tiles = self.rows.schema.kind == "image" or self.rows.schema.outline is not None
        if vae.latent_dim == 2:
            grid, _ = exploration.manifold(vae, self._side(vae), context=self.context)
            frame["grid"] = self._small(grid)
        elif are_tiles:
            originals, copies = exploration.reconstruct(vae, self.few)
            frame["originals"], frame["copies"] = self._small(originals), self._small(copies)
        if all(
            np.isfinite(value).all() for value in frame.values() if isinstance(value, np.ndarray)
        ):
            self.frames.append(frame)
            _write(self.path, self.frames, self.epochs, self.rows)

    def _side(self, vae: "VAE") -> int:
        """How many points of the plane are decoded along each axis."""
        most = math.isqrt(_MOST_NUMBERS // math.prod(vae.event_shape))
        return min(max(most, 4), 11)

    def _small(self, values: Array) -> Array:
        """Images as a screen shows them, in 256 shades; other values as they are."""
        schema = self.rows.schema
        if schema.kind != "image":
            return values.astype(np.float32)
        shares = shares_of_colours(values, schema.grey_range)
        return (255 * shares).round().astype(np.uint8)


def epochs_shown(epochs: int) -> frozenset[int]:
    """The epochs of which frames are kept: more at the beginning, where most happens, and the last one.

    Example:
        >>> sorted(epochs_shown(1000))[:6], len(epochs_shown(1000)) <= 40, 1000 in epochs_shown(1000)
        ([1, 3, 6, 11, 17, 24], True, True)
    """
    places = range(1, MOST_FRAMES)
    return frozenset(
        max(place, 1)
        for place in (math.ceil(epochs * (place / places[-1]) ** 2) for place in places)
    )


def _write(path: Path, frames: Sequence[dict[str, Any]], epochs: int, rows: "Dataset") -> None:
    import torch

    arrays = [name for name in ("means", "grid", "originals", "copies") if name in frames[0]]
    tensors = {name: torch.from_numpy(np.stack([one[name] for one in frames])) for name in arrays}
    if rows.labels is not None:
        tensors["labels"] = rows.labels
    header = {
        "film": [frame["epoch"] for frame in frames],
        "elbo": [frame["elbo"] for frame in frames],
        "epochs": epochs,
        "classes": list(rows.schema.classes),
    }
    write_sealed(path, header, tensors)


def _read(path: Path) -> "tuple[dict[str, Any], dict[str, torch.Tensor]]":
    header, tensors = read_sealed(path)
    shown = header.get("film")
    arrays = [value for name, value in tensors.items() if name != "labels"]
    if not shown or "means" not in tensors or any(len(one) != len(shown) for one in arrays):
        raise ValueError(f"{path} must hold the frames of a film; it does not. Train with `film`.")
    return header, tensors


def _frames_in(path: Path) -> list[dict[str, Any]]:
    header, tensors = _read(path)
    frames = []
    for place, (epoch, elbo) in enumerate(zip(header["film"], header["elbo"], strict=True)):
        arrays = {name: one[place].numpy() for name, one in tensors.items() if name != "labels"}
        frames.append({"epoch": epoch, "elbo": elbo, **arrays})
    return frames


def film_of(folder: Path, vae: "VAE", source: str) -> Film:
    """The film of a run, ready to be drawn: its rows in a plane that is the last frame's for all of them.

    Args:
        folder: The run's folder.
        vae: Its model, which knows what the data are.
        source: What the data are called.

    Raises:
        FileNotFoundError: for a run of which no frames were kept.
        ValueError: for a file that is damaged.
    """
    from variform.evaluation.exploration import principal_plane

    path = folder / FILM
    if not path.is_file():
        raise FileNotFoundError(
            f"a film needs frames that were kept while the run was trained; there is no {path}. Train with `film`."
        )
    header, tensors = _read(path)
    means = tensors["means"].numpy()
    axes = ("z1", "z2")
    if means.shape[2] == 1:
        means, axes = np.concatenate([means, np.zeros_like(means)], 2), ("z1", "")
    plane = principal_plane(means[-1])
    if plane is not None:
        means = np.stack([plane.project(each) for each in means])
        axes = ("PC1 of the last posterior means", "PC2 of the last posterior means")
    schema = vae.schema
    assert schema is not None  # a loaded model has one
    labels = tensors["labels"].numpy() if "labels" in tensors else None
    return Film(
        title=source,
        epochs=header["film"],
        of_epochs=header["epochs"],
        elbos=header["elbo"],
        points=means[..., :2],
        axes=axes,
        labels=labels,
        classes=tuple(header["classes"]),
        grid=tensors["grid"].numpy() if "grid" in tensors else None,
        originals=tensors["originals"].numpy()[-1] if "originals" in tensors else None,
        copies=tensors["copies"].numpy() if "copies" in tensors else None,
        columns=schema.titles,
        outline=schema.outline,
        is_image=schema.kind == "image",
    )
