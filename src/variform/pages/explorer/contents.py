"""What the explorer page shows of a trained VAE, as plain values ready for JSON: arrays are base64, little-endian.

Nothing here draws. Rows beyond what a page can hold are left out by a seeded draw, and the page says so.
"""

import base64
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from variform.config.checks import Range, checked
from variform.config.model import latents_name
from variform.config.options import in_options
from variform.config.units import name_and_unit
from variform.config.words import counted
from variform.data.colours import shares_of_colours
from variform.data.conditions import Condition, by_condition
from variform.data.dataset import Dataset, Splits
from variform.data.outlines import Layout
from variform.data.schema import Ends, Schema
from variform.data.sources import sprites
from variform.distributions.gaussian import StandardNormal
from variform.distributions.hierarchy import Hierarchy
from variform.evaluation import exploration
from variform.evaluation.embedding import EMBEDDINGS, EmbeddingName, embedded
from variform.evaluation.illnesses.training import is_collapsed
from variform.evaluation.log_likelihood import squared_error
from variform.model.spaces import Ball, Sphere, space_of
from variform.model.vae import VAE, evaluating
from variform.pages.palette import DARK_PALETTE, PALETTE
from variform.system.draws import seeded

Array = np.ndarray[Any, np.dtype[Any]]

MOST_ROWS, USUAL_ROWS, LEAST_ROWS = 100_000, 10_000, 500
RowCount = Annotated[int, Range("[1, 100000]", 20_000)]
"""How many rows a page is asked to show, up to `MOST_ROWS`."""
ROWS_AT_ONCE = 4_096  # whose values are held
_SMALL = 16  # pixels of a tile that is kept exactly
LARGEST_SIDE = 64  # pixels of a thumbnail
MOST_JUDGED = 2_000  # test rows among which the worst reconstructions are looked for
WORST, OTHERS = 10, 30
CODES = 640  # of each sampler
_HELD = 2  # draws of upper latents that are held
LEAST_OF_A_CURVE = 16  # columns


@dataclass(frozen=True)
class Budget:
    """What thumbnails, or the rows of a table, may take of a page.

    Args:
        content: Bytes of all thumbnails together, or of all rows of a table.
        pixels: Of all thumbnails together: browsers keep four bytes for each.

    Example:
        >>> USUAL.content < ASKED.content
        True
    """

    content: int
    pixels: int


USUAL = Budget(600_000, 2**23)
ASKED = Budget(24_000_000, 2**24)
"""Of a page that is asked to show more rows than it usually would."""

_NUMBERED = re.compile(
    r"^(?P<before>.*?)(?P<number>[-+]?\d+(?:\.\d+)?)(?P<after>[^\d]*)$", re.DOTALL
)


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
        if isinstance(law, StandardNormal):
            return Law(name, None)
        return Law(name, law.sample(torch.Size((CODES,))).cpu().numpy())


def held_draws(vae: VAE, *, seed: int = 0) -> list[Law]:
    """Draws of a prior of several latents whose upper ones are held: two draws of these, for each number of levels.

    Args:
        vae: The model; one latent gives none.
        seed: Seed of the draws.
    """
    with seeded(seed), evaluating(vae):
        law = vae.latent_prior()
        if not isinstance(law, Hierarchy):
            return []
        found, top = [], len(law.widths)
        for held in range(1, top):
            name = f"level {top} held" if held == 1 else f"levels {top} to {top - held + 1} held"
            upper = law.sample(torch.Size((_HELD,)))[:, sum(law.widths[:-held]) :]
            for number, one in enumerate(upper, 1):
                z = law.below(one.expand(CODES, -1), draw=True)
                found.append(Law(f"{name}, draw {number}", z.cpu().numpy()))
    return found


@checked
def gather(
    vae: VAE,
    splits: Splits,
    numbers: dict[str, Any],
    *,
    other: Dataset | None = None,
    prior: str = "the prior",
    laws: Sequence[Law] = (),
    table: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ()),
    questions: Sequence[dict[str, Any]] = (),
    facts: Sequence[tuple[str, str]] = (),
    study: dict[str, Any] | None = None,
    count: RowCount | None = None,
    embedding: EmbeddingName | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything on the page but the decoder.

    Args:
        vae: The model.
        splits: The data of the run.
        numbers: Its evaluation.
        other: Rows that the map shows instead of the run's own.
        prior: The prior in words.
        laws: Laws over z to draw from.
        table: The numbers of the run as header and rows of text.
        questions: What was asked in depth: title, asked, answer, tables and the meanings of their names.
        facts: Names and values.
        study: What `study.gather_study` gives of a design study.
        count: How many rows the map shows; by default as many as the page has room for with a picture or with the
            values of each, up to `USUAL_ROWS`.
        embedding: A picture of neighbours beside the planes of the map.
        seed: Seed of the draw of rows, where there are too many.
    """
    schema = splits.schema
    rows, means, notes = _rows(vae, splits, other, count, seed)
    context = splits.train.typical_context()
    return {
        "title": schema.source,
        "summary": f"{rows['total']:,} rows, {_latents_name(vae)}",
        "event": event(schema),
        "collapsed": is_collapsed(numbers),
        "latents": _latents(vae, means, numbers, prior),
        "plane": _plane(means) if space_of(vae).is_plane else None,
        "embedding": _embedded(means, embedding, seed),
        "rows": rows,
        "conditions": _conditions(splits.train),
        "occupancy": schema.occupancy and schema.occupancy.to_dict(),
        "context": [] if context is None else context.tolist(),
        "palettes": {"light": list(PALETTE), "dark": list(DARK_PALETTE)},
        "study": study,
        "laws": [{"name": law.name, "codes": _floats_or_none(law.codes)} for law in laws],
        "numbers": {
            "header": list(table[0]),
            "rows": [list(row) for row in table[1]],
            "links": [],
            "questions": list(questions),
            "warnings": [in_options(sentence) for sentence in numbers.get("warnings", ())],
            "notes": [in_options(note) for note in (*notes, *numbers["notes"])],
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


def _floats_or_none(values: Array | None) -> str | None:
    return None if values is None else floats(values)


def event(schema: Schema) -> dict[str, Any]:
    """What one design is and how it is drawn: an image, a table's row, a curve over its columns, or an outline.

    A table without a mixture of kinds is a curve if its columns are many and numbered, such as `column 1`, `column 2`
    or `400 nm`, `410 nm`; it is an outline where `Schema.outline` says so.

    Example:
        >>> from variform.data.reading import dataset_from
        >>> event(dataset_from(torch.rand(4, 20)).schema)["kind"], event(dataset_from(torch.rand(4, 3)).schema)["kind"]
        ('curve', 'table')
    """
    if schema.kind == "image":
        ends = [np.broadcast_to(end, schema.shape[0]).tolist() for end in schema.grey_range]
        return {"kind": "image", "shape": list(schema.shape), "range": ends}
    kind, line = "table", None
    if schema.outline is not None:
        kind, line = "outline", _outline(schema, schema.outline)
    elif not schema.kinds and len(schema.columns) >= LEAST_OF_A_CURVE:
        line = _curve(schema)
        kind = "table" if line is None else "curve"
    return {
        "kind": kind,
        "shape": list(schema.shape),
        "range": [min(schema.low), max(schema.high)],
        "columns": [_described(schema, column) for column in range(len(schema.columns))],
        "line": line,
    }


def _outline(schema: Schema, layout: Layout) -> dict[str, Any]:
    """Which columns hold x and y of the points of an outline, and what they lie between."""
    width = len(schema.columns)
    x, y = layout.order(width)
    low, high = np.array(schema.low), np.array(schema.high)
    places = None
    if x is None:
        places = layout.places(width).tolist()
        across = [min(places), max(places)]
    else:
        across = [low[x].min(), high[x].max()]
    unit = schema.common_unit
    return {
        "x": None if x is None else x.tolist(),
        "places": places,
        "y": y.tolist(),
        "closed": layout.is_closed,
        "scale": "equal" if layout.is_to_scale else "unknown",
        "box": [*map(float, across), float(low[y].min()), float(high[y].max())],
        "axes": [unit, unit],
    }


def _curve(schema: Schema) -> dict[str, Any] | None:
    """The curve over columns that differ in a rising number alone, with the unit of that; None for other columns."""
    names = [name_and_unit(column)[0] for column in schema.columns]
    matches = [_NUMBERED.match(name) for name in names]
    if not all(matches):
        return None
    texts = {(match["before"], match["after"]) for match in matches if match}
    places = [float(match["number"]) for match in matches if match]
    if len(texts) > 1 or not np.all(np.diff(places) > 0):
        return None
    return {
        "x": None,
        "places": places,
        "y": list(range(len(places))),
        "closed": False,
        "scale": "own",
        "box": [places[0], places[-1], min(schema.low), max(schema.high)],
        "axes": [texts.pop()[1].strip(), schema.common_unit],
    }


def _described(schema: Schema, column: int) -> dict[str, Any]:
    """What the page knows of a column of a table."""
    full = schema.columns[column]
    name, _ = name_and_unit(full)
    kind = schema.kinds[column] if schema.kinds else "real"
    return {
        "name": name,
        "unit": schema.unit_of(full),
        "full": full,
        "kind": kind,
        "categories": list(_categories(schema, column)),
        "whole": schema.whole[column],
        "low": schema.low[column],
        "high": schema.high[column],
    }


def _categories(schema: Schema, column: int) -> tuple[str, ...]:
    return schema.categories[column] if schema.categories else ()


# --- rows ---------------------------------------------------------------------------------------------------------


def _rows(
    vae: VAE, splits: Splits, other: Dataset | None, wanted: int | None, seed: int
) -> tuple[dict[str, Any], Array, list[str]]:
    """The rows on the map and all that is known of each; their posterior means; and what a reader must know."""
    parts = _parts(splits, other)
    judged_name = list(parts)[-1]
    judged = parts[judged_name]
    looked_at = exploration.spread(MOST_JUDGED, len(judged))
    worst, others = _worst_and_others(vae, judged, looked_at)
    examples = torch.cat([worst, others])

    total = sum(len(part) for part in parts.values())
    picture = _Thumbnails(splits.schema, USUAL if wanted is None else ASKED)
    room = max(LEAST_ROWS, picture.affordable(judged))
    count = min(total, _most_rows(wanted, splits.schema, room))
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count]
    index = _by_part(parts, chosen)
    rest = index[judged_name]
    index[judged_name] = torch.cat([examples, rest[~torch.isin(rest, examples)]])

    shown = {name: _at(part, index[name]) for name, part in parts.items()}
    taken = list(shown.values())
    means = np.concatenate([exploration.encode(vae, part)[0] for part in taken])
    errors = np.concatenate([_errors(vae, part) for part in taken])
    names = np.repeat(list(shown), [len(part) for part in taken]).tolist()
    first = len(means) - len(shown[judged_name])  # the judged part is the last one
    rows: dict[str, Any] = {
        "count": len(means),
        "total": total,
        "means": floats(means),
        "columns": _columns(splits.schema, taken, names, errors),
        "worst": list(range(first, first + len(worst))),
        "others": list(range(first + len(worst), first + len(examples))),
        "judged": judged_name,
        "contexts": _contexts(judged, examples),
        "names": _row_names(taken),
        "numbers": _row_numbers(taken),
    }
    has_all = wanted is None or splits.schema.kind != "image"
    judged_rows = range(first, first + len(examples))
    pictured = _pictured(len(means), judged_rows, len(means) if has_all else room)
    rows |= picture.encode(_taken(taken, pictured))
    notes = []
    if len(means) < total:
        notes.append(
            f"The page holds {len(means):,} of {total:,} rows, drawn with seed {seed}; `rows` asks for more."
        )
    if len(pictured) < len(means):
        rows["picture"]["rows"] = pictured.tolist()
        notes.append(
            f"The page holds pictures of {len(pictured):,} of its rows; others are shown as the model rebuilds them."
        )
    if len(judged) > len(looked_at):
        notes.append(
            f"The worst reconstructions are those of {len(looked_at):,} of {len(judged):,} {judged_name} rows."
        )
    return rows, means, notes


def _most_rows(wanted: int | None, schema: Schema, room: int) -> int:
    """How many rows a page may have that has room for the pictures or values of some."""
    if wanted is None:
        return min(USUAL_ROWS, room)
    if schema.kind == "image":
        return wanted
    return min(wanted, room)


def _at(part: Dataset, index: Tensor) -> Dataset:
    """The rows at `index`; images are not held in memory."""
    if part.schema.kind != "image":
        return part.take(index)
    rows = index if part.rows is None else part.rows[index]
    return Dataset(part.raw, part.schema, rows=rows, dtype=part.dtype, **part.beside(index))


def _pictured(count: int, examples: range, room: int) -> Tensor:
    """Which of `count` rows have a picture, in order: examples, and others, evenly, as far as there is room."""
    if count <= room:
        return torch.arange(count)
    others = exploration.spread(room - len(examples), count)
    return torch.cat([others, torch.tensor(examples)]).unique()


def _taken(parts: Sequence[Dataset], index: Tensor) -> list[Dataset]:
    """The rows at `index` among those of all parts, in memory."""
    within = _by_part({str(number): part for number, part in enumerate(parts)}, index)
    return [part.take(within[str(number)]) for number, part in enumerate(parts)]


_SPLITS = ("train", "valid", "test")


def _parts(splits: Splits, other: Dataset | None) -> dict[str, Dataset]:
    """The parts whose rows the map may show; the reconstructions that are looked at are those of the last one."""
    parts = {name: getattr(splits, name) for name in _SPLITS}
    if other is not None:
        parts = {"given": other}
    return {name: part for name, part in parts.items() if len(part)}


def _worst_and_others(vae: VAE, data: Dataset, index: Tensor) -> tuple[Tensor, Tensor]:
    """Of the rows at `index` those with the worst reconstructions, the worst first, and some of the rest."""
    errors = _errors(vae, data.take(index))
    worst = index[np.argsort(-errors, kind="stable")[:WORST].copy()]
    rest = index[~torch.isin(index, worst)]
    if not len(rest):
        return worst, rest
    return worst, rest[exploration.spread(OTHERS, len(rest))]


def _by_part(parts: dict[str, Dataset], chosen: Tensor) -> dict[str, Tensor]:
    """Numbers of rows among all parts, one after the other, as numbers of rows within each part."""
    within, start = {}, 0
    for name, part in parts.items():
        end = start + len(part)
        within[name] = chosen[(chosen >= start) & (chosen < end)] - start
        start = end
    return within


def _errors(vae: VAE, data: Dataset) -> Array:
    """The root mean squared error of each row's reconstruction, in the data's own units, (N,)."""
    some = torch.arange(len(data)).split(ROWS_AT_ONCE)
    return np.concatenate([_errors_at_once(vae, data.take(index)) for index in some])


def _errors_at_once(vae: VAE, data: Dataset) -> Array:
    originals, values = exploration.reconstruct(vae, data)
    squares = squared_error(data.schema, torch.from_numpy(originals), torch.from_numpy(values))
    return squares.nanmean(1).sqrt().nan_to_num(0.0).numpy()


def _row_names(parts: Sequence[Dataset]) -> list[str] | None:
    """What a user calls each row; without that the page names it by its number."""
    names = [part.names for part in parts if part.names is not None]
    if len(names) < len(parts):
        return None
    return np.concatenate(names).tolist()


def _row_numbers(parts: Sequence[Dataset]) -> list[int] | None:
    """Which row of the source each row is, counted from 0."""
    index = [part.index for part in parts if part.index is not None]
    if len(index) < len(parts):
        return None
    return torch.cat(index).tolist()


def _contexts(data: Dataset, index: Tensor) -> str | None:
    """What a conditional model is conditioned on in the rows at `index`."""
    context = data.context(index)
    return None if context is None else floats(context.numpy())


def _columns(
    schema: Schema, parts: Sequence[Dataset], names: Sequence[str], errors: Array
) -> list[dict[str, Any]]:
    """What is known of each row, and by what the points of the map may be coloured; `role` says what it is."""
    columns = [
        *_with_role("label", _label_column(schema, parts)),
        *_with_role("response", _response_columns(schema, parts)),
        *_with_role("value", _table_columns(schema, parts)),
        *_with_role("factor", _sprite_columns(schema, parts)),
    ]
    contexts = [data.contexts for data in parts if data.contexts is not None]
    if contexts:
        for condition, part in by_condition(schema.conditions, torch.cat(contexts)):
            if condition.name not in {column["name"] for column in columns}:
                unit = schema.unit_of(condition.name)
                column = _context_column(condition, part.numpy(), unit)
                columns += _with_role("condition", [column])
    splits = sorted(set(names), key=names.index)
    if len(splits) > 1:
        numbers = np.array([splits.index(name) for name in names])
        columns += _with_role("split", [_category("split", numbers, splits)])
    error = _number("reconstruction error", errors, schema.common_unit)
    columns += _with_role("error", [error])
    return list(_told_apart(columns))


def _with_role(role: str, columns: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [column | {"role": role} for column in columns]


def _told_apart(columns: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The columns with names of their own: one whose name is taken gets its unit with it, or a number."""
    taken: set[str] = set()
    for column in columns:
        name = plain = column["name"]
        if name in taken and column.get("unit"):
            name = plain = f"{plain} [{column['unit']}]"
        number = 2
        while name in taken:
            name = f"{plain} ({number})"
            number += 1
        taken.add(name)
        yield column | {"name": name}


def _response_columns(schema: Schema, parts: Sequence[Dataset]) -> Iterator[dict[str, Any]]:
    """What is known of the rows beside their values; a response that no row has is left out."""
    for name in parts[0].responses:
        values = np.concatenate([part.responses[name] for part in parts])
        if values.dtype.kind in "US":
            words, numbers = np.unique(values, return_inverse=True)
            if (words != "").any():
                has_gap = words[0] == ""  # which is the first of all texts
                yield _category(name, numbers - has_gap, words[int(has_gap) :].tolist())
        elif np.isfinite(values).any():
            yield _number(name, values, schema.unit_of(name))


def shown_designs(schema: Schema, designs: Array, responses: dict[str, Array]) -> dict[str, Any]:
    """Designs and what is known of them, in the form of the rows of the map.

    Args:
        schema: What they are.
        designs: (n, *shape) in the user's units.
        responses: By name n numbers.

    Returns:
        `columns`, the responses first, and `picture` of images or `values` of tables.
    """
    data = Dataset(torch.from_numpy(designs), schema, responses=responses)
    columns = [*_response_columns(schema, [data]), *_table_columns(schema, [data])]
    return {"columns": list(_told_apart(columns)), **_Thumbnails(schema).encode([data])}


def affordable(schema: Schema, data: Dataset) -> int:
    """How many designs a page can hold beside its rows."""
    return max(LEAST_ROWS, _Thumbnails(schema).affordable(data))


def _label_column(schema: Schema, parts: Sequence[Dataset]) -> Iterator[dict[str, Any]]:
    labels = [part.labels for part in parts if part.labels is not None]
    if schema.classes and len(labels) == len(parts):
        yield _category(schema.label or "label", torch.cat(labels).numpy(), schema.classes)


def _table_columns(schema: Schema, parts: Sequence[Dataset]) -> Iterator[dict[str, Any]]:
    if schema.kind != "table" or event(schema)["kind"] != "table":
        return
    values = torch.cat([part.raw for part in parts if isinstance(part.raw, Tensor)]).numpy()
    for column, name in enumerate(schema.columns):
        categories = _categories(schema, column)
        if categories:
            numbers = np.nan_to_num(values[:, column], nan=-1).astype(int)
            yield _category(name, numbers, categories)
        else:
            yield _number(name, values[:, column], schema.unit_of(name)) | {"column": column}


def _sprite_columns(schema: Schema, parts: Sequence[Dataset]) -> Iterator[dict[str, Any]]:
    index = [part.index.numpy() for part in parts if part.index is not None]
    if schema.source.split(":")[0] != "sprites" or len(index) < len(parts):
        return
    classes = sprites.factors(np.concatenate(index))
    for name, values in zip(sprites.FACTORS, classes.T, strict=True):
        if name == "shape":
            yield _category(name, values, sprites.SHAPES)
        else:
            yield _number(name, values)


def _context_column(condition: Condition, contexts: Array, unit: str) -> dict[str, Any]:
    """What a conditional model is conditioned on in each row: one condition's part of the contexts."""
    if not condition.categories:
        values = contexts[:, 0] * condition.scale + condition.shift
        return _number(condition.name, values, unit)
    numbers = np.where(contexts.any(1), contexts.argmax(1), -1)
    return _category(condition.name, numbers, condition.categories)


def _category(name: str, numbers: Array, names: Sequence[str]) -> dict[str, Any]:
    """A column of categories: -1 is none."""
    values = base64.b64encode(np.ascontiguousarray(numbers, "<i2").tobytes()).decode("ascii")
    return {"name": name, "kind": "category", "categories": list(names), "values": values}


def _number(name: str, values: Array, unit: str = "") -> dict[str, Any]:
    plain, _ = name_and_unit(name)
    return {"name": plain, "unit": unit, "kind": "number", "values": floats(values)}


@dataclass(frozen=True)
class _Thumbnails:
    """The rows themselves, as small as a page needs them."""

    schema: Schema
    budget: Budget = USUAL

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a thumbnail."""
        _, height, width = self.schema.shape
        scale = min(1, LARGEST_SIDE / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def affordable(self, data: Dataset) -> int:
        """How many rows a page can hold."""
        if self.schema.kind != "image":
            return self.budget.content // (4 * len(self.schema.columns))
        few = data.take(exploration.spread(100, len(data)))
        content = base64.b64decode(self.encode([few])["picture"]["data"])
        by_bytes = self.budget.content * len(few) // (2 * len(content))
        by_pixels = self.budget.pixels // math.prod(self.size)
        return min(by_bytes, by_pixels)

    def encode(self, parts: Sequence[Dataset]) -> dict[str, Any]:
        """One picture of all rows, of small grey ones PNG, else WebP; of a table its values."""
        raw = torch.cat([part.raw for part in parts if isinstance(part.raw, Tensor)]).numpy()
        if self.schema.kind != "image":
            return {"values": floats(raw)}
        height, width = self.size
        tiles = _resized(_bytes(raw, self.schema.grey_range), height, width)
        as_square = math.ceil(math.sqrt(len(tiles) * height / width))
        across = max(1, min(len(tiles), 4096 // width, as_square))
        kind, content = _file(_sheet(tiles, across), max(height, width))
        data = base64.b64encode(content).decode("ascii")
        return {
            "picture": {
                "type": kind,
                "data": data,
                "across": across,
                "height": height,
                "width": width,
            }
        }


def _resized(tiles: Array, height: int, width: int) -> Array:
    """8-bit images (N, height, width, channels) in another size."""
    if (height, width) == tiles.shape[1:3]:
        return tiles
    images = [_image(tile).resize((width, height), Image.Resampling.BOX) for tile in tiles]
    return np.stack([np.asarray(image) for image in images]).reshape(len(tiles), height, width, -1)


def _sheet(tiles: Array, across: int) -> Array:
    """Images (N, height, width, channels) side by side, row by row, as one; the last row is filled with black."""
    _, height, width, channels = tiles.shape
    down = math.ceil(len(tiles) / across)
    sheet = np.zeros((down * across, height, width, channels), np.uint8)
    sheet[: len(tiles)] = tiles
    rows = sheet.reshape(down, across, height, width, channels).swapaxes(1, 2)
    return rows.reshape(down * height, across * width, channels)


def _file(pixels: Array, side: int) -> tuple[str, bytes]:
    """An 8-bit image (height, width, channels) as a file, with its media type; its tiles are up to `side` long.

    Grey values of small tiles are seen one by one and stay as they are. Of larger ones WebP needs a quarter of that.
    """
    file = io.BytesIO()
    if pixels.shape[-1] == 1 and side <= _SMALL:
        # Level 9 makes the file of digits 2 % smaller, and takes eight times as long.
        _image(pixels).save(file, "PNG", compress_level=7)
        return "image/png", file.getvalue()
    _image(pixels).save(file, "WEBP", quality=90)
    return "image/webp", file.getvalue()


def _image(pixels: Array) -> Image.Image:
    if pixels.shape[-1] == 1:
        pixels = pixels.squeeze(-1)
    return Image.fromarray(pixels)


def _bytes(images: Array, grey_range: tuple[Ends, Ends]) -> Array:
    """Images (N, channels, height, width) as 8-bit (N, height, width, 1 or 3)."""
    share = shares_of_colours(images.astype(np.float32), grey_range)
    return np.rint(share * 255).astype(np.uint8).transpose(0, 2, 3, 1)


# --- latents and conditions ---------------------------------------------------------------------------------------


def _latents(vae: VAE, means: Array, numbers: dict[str, Any], prior: str) -> dict[str, Any]:
    """The latents with what they are ordered by: their KL, or where there is none the variance of their means."""
    kls = numbers["kl_per_dimension"]
    if kls is None:
        about = {"errors": None, "what": "variance of the posterior mean", "unit": ""}
        measure = np.array(numbers["active_units"]["variances"])
    else:
        about = {"errors": [kl["se"] for kl in kls], "what": "KL", "unit": "nats"}
        measure = np.array([kl["mean"] for kl in kls])
    is_standard = isinstance(_law(vae), StandardNormal)
    return {
        "dim": vae.latent_dim,
        "order": np.argsort(-measure, kind="stable").tolist(),
        "measure": measure.tolist(),
        **about,
        "ranges": _ranges(means, standard=is_standard, most=space_of(vae).radius),
        "prior": prior,
        "standard": is_standard,
        "grid": _grid(vae),
        "space": _space(vae, means),
    }


def _latents_name(vae: VAE) -> str:
    if vae.config is None:
        return counted(vae.latent_dim, "latent dimension")
    return latents_name(vae.config)


def _space(vae: VAE, means: Array) -> dict[str, Any] | None:
    """Where latents lie, if not in a flat space: the axes of the globe that shows a sphere, the radius of a ball."""
    space = space_of(vae)
    if isinstance(space, Ball):
        return {"kind": "ball", "radius": space.radius, "axes": None}
    if not isinstance(space, Sphere):
        return None
    axes = None
    if vae.latent_dim == 3:
        axes = np.eye(3)
    elif (
        vae.latent_dim > 3
    ):  # those along which the rows lie furthest from the middle of the sphere
        axes = np.linalg.svd(means.astype(np.float64), full_matrices=False)[2][:3]
    is_shown = axes is not None and len(axes) == 3
    return {"kind": "sphere", "radius": 1.0, "axes": axes.tolist() if is_shown else None}


def _law(vae: VAE) -> Any:
    with evaluating(vae):
        return vae.latent_prior()


def _ranges(means: Array, *, standard: bool, most: float) -> list[list[float]]:
    """How far the slider of each latent goes: over the data, under N(0, I) at least to -3 and 3, not beyond `most`."""
    low, high = np.quantile(means, [0.002, 0.998], axis=0)
    margin = 0.1 * (high - low) + 1e-3
    least = 3.0 if standard else 0.0
    begin = np.minimum(low - margin, -least)
    end = np.maximum(high + margin, least)
    return np.stack([begin, end], 1).clip(-most, most).round(3).tolist()


def _grid(vae: VAE, size: int = 16) -> str | None:
    """Of 2 latents under a prior other than N(0, I) a grid of equal prior mass, (size, size, 2)."""
    if vae.latent_dim != 2 or isinstance(_law(vae), StandardNormal):
        return None
    return floats(exploration.manifold_points(vae, size)[0])


def _plane(means: Array) -> dict[str, Any] | None:
    """PCA of more than two latents: centre, the two axes, and the shares of the variance that they hold."""
    plane = exploration.principal_plane(means)
    if plane is None:
        return None
    return {
        "centre": plane.centre.tolist(),
        "axes": plane.axes.tolist(),
        "shares": plane.shares.tolist(),
    }


def _embedded(means: Array, kind: EmbeddingName | None, seed: int) -> dict[str, Any] | None:
    """A picture of neighbours among the rows: its name, where they stand, and how many have a place."""
    if kind is None:
        return None
    places = embedded(means, kind, seed=seed)
    count = int(np.isfinite(places[:, 0]).sum())
    return {"name": EMBEDDINGS[kind], "places": floats(places), "count": count}


def _conditions(train: Dataset) -> list[dict[str, Any]]:
    """What a conditional model is told, and the range of each number among the training rows."""
    if train.contexts is None:
        return []
    return [
        _condition(condition, part, train.schema.unit_of(condition.name))
        for condition, part in by_condition(train.schema.conditions, train.contexts)
    ]


def _condition(condition: Condition, part: Tensor, unit: str) -> dict[str, Any]:
    name, _ = name_and_unit(condition.name)
    extent = [] if condition.categories else [float(part.min()), float(part.max())]
    return {
        "name": name,
        "unit": unit,
        "categories": list(condition.categories),
        "shift": condition.shift,
        "scale": condition.scale,
        "range": extent,
    }
