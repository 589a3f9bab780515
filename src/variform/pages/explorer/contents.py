"""What the explorer page shows of a trained VAE, as plain values ready for JSON: arrays are base64, little-endian.

Nothing here draws. Rows beyond what a page can hold are left out by a seeded draw, and the page says so.
"""

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from variform.data.conditions import Condition
from variform.data.dataset import Dataset, Splits
from variform.data.schema import Schema
from variform.data.sources import sprites
from variform.distributions.gaussian import StandardNormal
from variform.evaluation import exploration
from variform.evaluation.density import squared_error
from variform.evaluation.verdict import is_collapsed
from variform.model.vae import VAE, evaluating
from variform.system.draws import seeded

Array = np.ndarray[Any, np.dtype[Any]]

MOST_ROWS, LEAST_ROWS = 10_000, 500
PICTURE_BYTES = 600_000  # of all thumbnails together, or of all rows of a table
MOST_PIXELS = 2**23  # of all thumbnails together: browsers keep four bytes for each
LARGEST_SIDE = 64  # pixels of a thumbnail
MOST_JUDGED = 2_000  # test rows among which the worst reconstructions are looked for
WORST, OTHERS = 10, 30
CODES = 640  # of each sampler
LEAST_OF_A_CURVE = 16  # columns

_NUMBERED = re.compile(r"^(?P<before>.*?)(?P<number>[-+]?\d+(?:\.\d+)?)(?P<after>[^\d]*)$", re.DOTALL)
_UNIT = re.compile(r"^(?P<name>.*\S)\s*(?:\[(?P<square>[^\[\]]+)\]|\((?P<round>[^()]+)\))$", re.DOTALL)


@dataclass(frozen=True)
class Law:
    """A law over z whose draws the page shows.

    Args:
        name: What the page calls it.
        codes: Draws (N, latent_dim); None for N(0, I), from which the page draws by itself.

    Example:
        >>> Law("N(0, I)", None).name
        'N(0, I)'
    """

    name: str
    codes: Array | None


def draws(vae: VAE, name: str, *, seed: int = 0) -> Law:
    """The prior of `vae` as the page shows it: many of its draws, but for N(0, I).

    Args:
        vae: The model, under its own prior or another one.
        name: What the page calls it.
        seed: Seed of the draws.
    """
    with seeded(seed), evaluating(vae):
        law = vae.latent_prior()
        return Law(name, None if isinstance(law, StandardNormal) else law.sample(torch.Size((CODES,))).cpu().numpy())


def gather(
    vae: VAE,
    splits: Splits,
    numbers: dict[str, Any],
    *,
    other: Dataset | None = None,
    prior: str = "the prior",
    laws: Sequence[Law] = (),
    table: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ()),
    facts: Sequence[tuple[str, str]] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Everything on the page but the decoder.

    Args:
        vae: The model.
        splits: The data of the run.
        numbers: Its evaluation.
        other: Rows on the map in the place of the run's own.
        prior: The prior in words.
        laws: Laws over z to draw from.
        table: The numbers of the run as header and rows of text.
        facts: Names and values.
        seed: Seed of the draw of rows, where there are too many.
    """
    schema = splits.schema
    kls = numbers["kl_per_dimension"]
    measure = np.array(numbers["active_units"]["variances"] if kls is None else [item["mean"] for item in kls])
    rows, means, notes = _rows(vae, splits, other, seed)
    told = splits.train.typical_context()
    plural = "s" if vae.latent_dim > 1 else ""
    return {
        "title": schema.source,
        "summary": f"{rows['total']:,} rows, {vae.latent_dim} latent dimension{plural}",
        "event": event(schema),
        "collapsed": is_collapsed(numbers),
        "latents": {
            "dim": vae.latent_dim,
            "order": np.argsort(-measure, kind="stable").tolist(),
            "measure": measure.tolist(),
            "errors": None if kls is None else [item["se"] for item in kls],
            "what": "variance of the posterior mean" if kls is None else "KL",
            "unit": "" if kls is None else "nats",
            "ranges": _ranges(means, standard=isinstance(_law(vae), StandardNormal)),
            "prior": prior,
            "standard": isinstance(_law(vae), StandardNormal),
            "grid": _grid(vae),
        },
        "plane": _plane(means),
        "rows": rows,
        "conditions": [_condition(item, splits.train, place) for item, place in _places(schema.conditions)],
        "occupancy": None if schema.occupancy is None else schema.occupancy.to_dict(),
        "context": [] if told is None else told.tolist(),
        "laws": [{"name": law.name, "codes": None if law.codes is None else floats(law.codes)} for law in laws],
        "numbers": {
            "header": list(table[0]),
            "rows": [list(row) for row in table[1]],
            "warnings": list(numbers.get("warnings", ())),
            "notes": [*notes, *numbers["notes"]],
            "facts": [list(fact) for fact in facts],
            "active": {"count": numbers["active_units"]["count"], "of": vae.latent_dim},
        },
    }


def floats(values: Array) -> str:
    """Numbers as base64 of little-endian float32.

    Example:
        >>> floats(np.array([1.0]))
        'AACAPw=='
    """
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode("ascii")


def event(schema: Schema) -> dict[str, Any]:
    """What one design is and how it is drawn: an image, a table's row, or a curve.

    A table without a mixture of kinds is a curve if its columns are many and numbered, such as `column 1`, `column 2`
    or `400 nm`, `410 nm`.

    Example:
        >>> from variform.data.reading import dataset_from
        >>> event(dataset_from(torch.rand(4, 20)).schema)["kind"], event(dataset_from(torch.rand(4, 3)).schema)["kind"]
        ('curve', 'table')
    """
    if schema.kind == "image":
        return {"kind": "image", "shape": list(schema.shape), "range": list(schema.grey_range)}
    names = [name_and_unit(column) for column in schema.columns]
    kinds = schema.kinds or ("real",) * len(names)
    categories = schema.categories or ((),) * len(names)
    columns = [
        {"name": name, "unit": unit, "full": full, "kind": kind, "categories": list(known), "whole": whole,
         "low": low, "high": high}
        for (name, unit), full, kind, known, whole, low, high in zip(
            names, schema.columns, kinds, categories, schema.whole, schema.low, schema.high, strict=True
        )
    ]  # fmt: skip
    places = None if schema.kinds or len(names) < LEAST_OF_A_CURVE else _numbered(schema.columns)
    return {
        "kind": "table" if places is None else "curve",
        "shape": list(schema.shape),
        "range": [min(schema.low), max(schema.high)],
        "columns": columns,
        "places": places,
    }


def name_and_unit(column: str) -> tuple[str, str]:
    """A column's name, and the unit that stands in brackets at its end, or ''.

    Example:
        >>> name_and_unit("length [mm]"), name_and_unit("mass (kg)"), name_and_unit("T, inside")
        (('length', 'mm'), ('mass', 'kg'), ('T, inside', ''))
    """
    match = _UNIT.match(column)
    return (match["name"], match["square"] or match["round"]) if match else (column, "")


def _numbered(columns: Sequence[str]) -> list[float] | None:
    """The rising numbers in columns that differ in nothing else; None for other columns."""
    found = [_NUMBERED.match(column) for column in columns]
    whole = [match for match in found if match]
    if len(whole) < len(columns) or len({(match["before"], match["after"]) for match in whole}) > 1:
        return None
    numbers = [float(match["number"]) for match in whole]
    return numbers if np.all(np.diff(numbers) > 0) else None


# --- rows ---------------------------------------------------------------------------------------------------------


def _rows(vae: VAE, splits: Splits, other: Dataset | None, seed: int) -> tuple[dict[str, Any], Array, list[str]]:
    """The rows on the map and all that is known of each; their posterior means; and what a reader must know."""
    parts = {"given": other} if other is not None else {name: getattr(splits, name) for name in _SPLITS}
    parts = {name: part for name, part in parts.items() if len(part)}
    judged_name, judged = list(parts.items())[-1]
    index = exploration.spread(MOST_JUDGED, len(judged))
    judged_errors = _errors(vae, judged.take(index))
    worst = index[np.argsort(-judged_errors, kind="stable")[:WORST].copy()]
    left = index[~torch.isin(index, worst)]
    others = left[exploration.spread(OTHERS, len(left))] if len(left) else left
    kept = torch.cat([worst, others])

    total = sum(map(len, parts.values()))
    picture = _Thumbnails(splits.schema)
    count = min(total, MOST_ROWS, max(LEAST_ROWS, picture.affordable(judged)))
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count]
    start, first, taken, names = 0, 0, [], []
    for name, part in parts.items():
        own = chosen[(chosen >= start) & (chosen < start + len(part))] - start
        start += len(part)
        if name == judged_name:
            own = torch.cat([kept, own[~torch.isin(own, kept)]])
            first = sum(map(len, taken))
        taken.append(part.take(own))
        names += [name] * len(own)
    means = np.concatenate([exploration.encode(vae, part)[0] for part in taken])
    errors = np.concatenate([_errors(vae, part) for part in taken])
    rows: dict[str, Any] = {
        "count": len(means),
        "total": total,
        "means": floats(means),
        "columns": _columns(splits.schema, taken, names, errors),
        "worst": list(range(first, first + len(worst))),
        "others": list(range(first + len(worst), first + len(kept))),
        "judged": judged_name,
        "contexts": _contexts(judged, kept),
        **picture.encode(taken),
    }
    notes = []
    if len(means) < total:
        notes.append(f"The page holds {len(means):,} of {total:,} rows, drawn with seed {seed}.")
    if len(judged) > len(index):
        notes.append(f"The worst reconstructions are those of {len(index):,} of {len(judged):,} {judged_name} rows.")
    return rows, means, notes


_SPLITS = ("train", "valid", "test")


def _errors(vae: VAE, data: Dataset) -> Array:
    """The root mean squared error of each row's reconstruction, in the data's own units, (N,)."""
    originals, values = exploration.reconstruct(vae, data)
    squares = squared_error(data.schema, torch.from_numpy(originals), torch.from_numpy(values))
    return squares.nanmean(1).sqrt().nan_to_num(0.0).numpy()


def _contexts(data: Dataset, index: Tensor) -> str | None:
    """What a conditional model is told beside the rows at `index`."""
    told = data.context(index)
    return None if told is None else floats(told.numpy())


def _columns(schema: Schema, parts: Sequence[Dataset], names: Sequence[str], errors: Array) -> list[dict[str, Any]]:
    """By what the points of the map may be coloured."""
    columns = []
    labels = [part.labels for part in parts]
    if schema.classes and all(own is not None for own in labels):
        known = torch.cat([own for own in labels if own is not None])
        columns.append(_category(schema.label or "label", known.numpy(), schema.classes))
    if schema.kind == "table" and event(schema)["kind"] == "table":
        values = torch.cat([part.raw for part in parts if isinstance(part.raw, Tensor)]).numpy()
        for place, column in enumerate(schema.columns):
            kinds = schema.categories[place] if schema.categories else ()
            if kinds:
                numbers = np.nan_to_num(values[:, place], nan=-1).astype(int)
                columns.append(_category(column, numbers, kinds))
            else:
                columns.append(_number(column, values[:, place]))
    if schema.source.split(":")[0] == "sprites" and all(part.index is not None for part in parts):
        index = np.concatenate([part.index.numpy() for part in parts if part.index is not None])
        found = sprites.factors(index)
        columns += [
            _category(name, found[:, place], sprites.SHAPES) if name == "shape" else _number(name, found[:, place])
            for place, name in enumerate(sprites.FACTORS)
        ]
    for condition, place in _places(schema.conditions):
        if any(column["name"] == condition.name for column in columns):
            continue
        told = torch.cat([part.contexts for part in parts if part.contexts is not None])[:, place].numpy()
        if condition.categories:
            numbers = np.where(told.any(1), told.argmax(1), -1)
            columns.append(_category(condition.name, numbers, condition.categories))
        else:
            columns.append(_number(condition.name, told[:, 0] * condition.scale + condition.shift))
    if len(set(names)) > 1:
        kinds = sorted(set(names), key=names.index)
        columns.append(_category("split", np.array([kinds.index(name) for name in names]), kinds))
    columns.append(_number("reconstruction error", errors))
    return columns


def _category(name: str, numbers: Array, names: Sequence[str]) -> dict[str, Any]:
    """A column of categories: -1 is none."""
    values = base64.b64encode(np.ascontiguousarray(numbers, "<i2").tobytes()).decode("ascii")
    return {"name": name, "kind": "category", "categories": list(names), "values": values}


def _number(name: str, values: Array) -> dict[str, Any]:
    plain, unit = name_and_unit(name)
    return {"name": plain, "unit": unit, "kind": "number", "values": floats(values)}


@dataclass(frozen=True)
class _Thumbnails:
    """The rows themselves, as small as a page needs them."""

    schema: Schema

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a thumbnail."""
        _, height, width = self.schema.shape
        scale = min(1, LARGEST_SIDE / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def affordable(self, data: Dataset) -> int:
        """How many rows a page can hold."""
        if self.schema.kind != "image":
            return PICTURE_BYTES // (4 * len(self.schema.columns))
        few = data.take(exploration.spread(100, len(data)))
        content = base64.b64decode(self.encode([few])["picture"]["data"])
        return min(PICTURE_BYTES * len(few) // len(content), MOST_PIXELS // math.prod(self.size))

    def encode(self, parts: Sequence[Dataset]) -> dict[str, Any]:
        """One picture of all rows, PNG, of colours JPEG; of a table its values."""
        raw = torch.cat([part.raw for part in parts if isinstance(part.raw, Tensor)]).numpy()
        if self.schema.kind != "image":
            return {"values": floats(raw)}
        tiles, (height, width) = _bytes(raw, self.schema.grey_range), self.size
        if (height, width) != tiles.shape[1:3]:
            small = [Image.fromarray(tile.squeeze(-1) if tile.shape[-1] == 1 else tile) for tile in tiles]
            tiles = np.stack([np.asarray(tile.resize((width, height), Image.Resampling.BOX)) for tile in small])
            tiles = tiles.reshape(len(raw), height, width, -1)
        across = max(1, min(len(tiles), 4096 // width, math.ceil(math.sqrt(len(tiles) * height / width))))
        down = math.ceil(len(tiles) / across)
        sheet = np.zeros((down * across, *tiles.shape[1:]), np.uint8)
        sheet[: len(tiles)] = tiles
        sheet = sheet.reshape(down, across, height, width, -1).swapaxes(1, 2).reshape(down * height, across * width, -1)
        grey, file = sheet.shape[-1] == 1, io.BytesIO()
        picture = Image.fromarray(sheet.squeeze(-1) if grey else sheet)
        picture.save(file, "PNG", optimize=True) if grey else picture.save(file, "JPEG", quality=88)
        content = base64.b64encode(file.getvalue()).decode("ascii")
        kind = "image/png" if grey else "image/jpeg"
        return {"picture": {"type": kind, "data": content, "across": across, "height": height, "width": width}}


def _bytes(images: Array, grey_range: tuple[float, float]) -> Array:
    """Images (N, channels, height, width) as 8-bit (N, height, width, channels)."""
    low, high = grey_range
    scaled = np.clip((images.astype(np.float32) - low) / ((high - low) or 1), 0, 1)
    return np.rint(np.nan_to_num(scaled) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


# --- latents and conditions ---------------------------------------------------------------------------------------


def _law(vae: VAE) -> Any:
    with evaluating(vae):
        return vae.latent_prior()


def _ranges(means: Array, *, standard: bool) -> list[list[float]]:
    """How far the slider of each latent goes: over the data, and under N(0, I) at least from -3 to 3."""
    low, high = np.quantile(means, [0.002, 0.998], axis=0)
    margin = 0.1 * (high - low) + 1e-3
    least = 3.0 if standard else 0.0
    return np.stack([np.minimum(low - margin, -least), np.maximum(high + margin, least)], 1).round(3).tolist()


def _grid(vae: VAE, size: int = 16) -> str | None:
    """Of 2 latents under a prior other than N(0, I) a grid of equal prior mass, (size, size, 2)."""
    if vae.latent_dim != 2 or isinstance(_law(vae), StandardNormal):
        return None
    return floats(exploration.manifold_points(vae, size)[0])


def _plane(means: Array) -> dict[str, Any] | None:
    """PCA of more than two latents: centre, the two axes, and the shares of the variance that they hold."""
    model = exploration.principal_plane(means)
    if model is None:
        return None
    return {
        "centre": model.mean_.tolist(),
        "axes": model.components_.tolist(),
        "shares": model.explained_variance_ratio_.tolist(),
    }


def _places(conditions: Sequence[Condition]) -> list[tuple[Condition, slice]]:
    """Each condition and where it stands in a context."""
    found, start = [], 0
    for condition in conditions:
        found.append((condition, slice(start, start + condition.width)))
        start += condition.width
    return found


def _condition(condition: Condition, train: Dataset, place: slice) -> dict[str, Any]:
    assert train.contexts is not None
    told = train.contexts[:, place]
    name, unit = name_and_unit(condition.name)
    return {
        "name": name,
        "unit": unit,
        "categories": list(condition.categories),
        "shift": condition.shift,
        "scale": condition.scale,
        "range": [] if condition.categories else [float(told.min()), float(told.max())],
    }
