"""The known causes of rows, and how well a model's codes stand for them."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from variform.config.checks import checked
from variform.config.words import listed
from variform.data.conditions import by_condition
from variform.data.dataset import Dataset, Splits
from variform.data.sources import sprites
from variform.evaluation.exploration import encode
from variform.evaluation.factor_scores import score_factors, whole_factors
from variform.evaluation.factors import Array
from variform.evaluation.latents import used_codes
from variform.model.vae import VAE, HasVAE, vae_of

ALL = "all"
_SPRITES = 10_000  # that no training has seen
_MOST_ROWS = 10_000


@checked
def known_factors(data: Dataset, names: tuple[str, ...] = (ALL,)) -> dict[str, Array]:
    """What is known of each row beside its values: by name N numbers or texts, for `score_factors`.

    Args:
        data: The rows.
        names: Which, each alone or several with commas between them: a factor of the sprites (shape, scale,
            orientation, x, y), `label`, a condition, a response, or a column of a table. `all` is everything but the
            columns, or the factors of the sprites alone.

    Raises:
        ValueError: for a name that is none of these.

    Example:
        >>> from variform import read
        >>> sorted(known_factors(read("sprites:500").test)), list(known_factors(read("digits").test))
        (['orientation', 'scale', 'shape', 'x', 'y'], ['label'])
    """
    known = _of_sprites(data) or _beside(data)
    everything = {**_columns(data), **_beside(data), **known}
    split = [(name,) if name in everything else name.split(",") for name in names]
    names = tuple(itertools.chain.from_iterable(split))
    wanted = [name for name in names if name != ALL]
    for name in wanted:
        if name not in everything:
            raise ValueError(
                f"`factors` must name what is known of the rows, such as {listed(list(everything))}; got {name}. "
                "Choose from these."
            )
    if ALL not in names:
        return {name: everything[name] for name in wanted}
    if not known:
        raise ValueError(
            "`factors` must be known of the rows, which have no label, condition or response; got all. Name columns, "
            f"such as {listed(list(everything))}."
        )
    return {**known, **{name: everything[name] for name in wanted}}


def require_factors(rows: Dataset, names: tuple[str, ...]) -> None:
    """Refuse factors that are not known of these rows, or by which no codes can be scored.

    Args:
        rows: The rows; of sprites others are scored, of which the same is known.
        names: Which, as for `known_factors`.

    Raises:
        ValueError: as `known_factors` and `score_factors`.

    Example:
        >>> from variform import read
        >>> require_factors(read({"x": range(900), "y": range(900, 1800)}).test, ("y,z",))
        Traceback (most recent call last):
        ValueError: `factors` must name what is known of the rows, such as x, y; got z. Choose from these.
    """
    known = known_factors(rows, names)
    if not is_sprites(rows):
        whole_factors(known, len(rows))


def is_sprites(data: Dataset) -> bool:
    """Whether the rows are of the built-in sprites, whose factors follow from their numbers."""
    return data.schema.source.partition(":")[0] == "sprites" and data.index is not None


def _of_sprites(data: Dataset) -> dict[str, Array]:
    if not is_sprites(data):
        return {}
    assert data.index is not None
    values = dict(zip(sprites.FACTORS, sprites.values(data.index.numpy()).T, strict=True))
    return {**values, "shape": np.array(sprites.SHAPES)[values["shape"].astype(int)]}


def _beside(data: Dataset) -> dict[str, Array]:
    """Label, conditions and responses."""
    schema, known = data.schema, {}
    if data.labels is not None and schema.classes:
        known[schema.label or "label"] = _named(data.labels.numpy(), schema.classes)
    if data.contexts is not None:
        for condition, part in by_condition(schema.conditions, data.contexts):
            if condition.categories:
                places = np.where(part.numpy().any(1), part.numpy().argmax(1), -1)
                known[condition.name] = _named(places, condition.categories)
            else:
                known[condition.name] = part.numpy()[:, 0] * condition.scale + condition.shift
    return known | data.responses


def _named(places: Array, names: Sequence[str]) -> Array:
    """Categories by their names; -1 is none."""
    return np.array([*names, ""])[places]


def _columns(data: Dataset) -> dict[str, Array]:
    """The columns of a table, in the user's units, categories by their names."""
    schema = data.schema
    if schema.kind != "table" or not schema.columns:
        return {}
    values = torch.cat(list(data.raw_batches(8192))).double().numpy()
    known = dict(zip(schema.columns, values.T, strict=True))
    for name, categories in zip(schema.columns, schema.categories, strict=False):
        if categories:
            known[name] = _named(np.nan_to_num(known[name], nan=-1).astype(int), categories)
    return known


@checked
def scores_by_factors(
    vae: VAE | HasVAE,
    rows: Dataset,
    splits: Splits,
    names: tuple[str, ...] = (ALL,),
    *,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Disentanglement scores of a model's codes, the means of q(z|x), of rows that it was not trained on.

    Of the built-in sprites 10,000 are rendered whose shape, scale and position, at whatever orientation, were neither
    trained nor validated on; of other data the rows are as given. A code that the model does not use, whose means vary
    by 0.01 or less, is left out.

    Args:
        vae: The model, or a `Model` or a run that has it.
        rows: Rows that it was not trained on; where there are more than 10,000, some at random.
        splits: The data of its training.
        names: Which factors, as for `known_factors`.
        seed: Of what is drawn.
        progress: Show a progress bar on a terminal.

    Returns:
        As `score_factors`, whose `of` is the number of latents.

    Raises:
        ValueError: as `known_factors` and `score_factors`.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2, hidden=(16,)), digits.schema)
        >>> found = scores_by_factors(vae, digits.train, digits, ("label",))
        >>> found["rows"] == len(digits.train), found["of"]
        (True, 2)
    """
    vae = vae_of(vae)
    rows = _unseen(rows, splits, seed)
    codes = used_codes(encode(vae, rows, seed=seed)[0])
    return score_factors(codes, known_factors(rows, names), seed=seed, progress=progress)


def _unseen(rows: Dataset, splits: Splits, seed: int) -> Dataset:
    """Sprites of which no other orientation was trained or validated on; of other data some of the rows."""
    rng = np.random.default_rng(seed)
    is_plain = is_sprites(rows) and rows.contexts is None
    if is_plain and rows.raw.shape[1:] == (1, sprites.SIZE, sprites.SIZE):
        seen = [
            data.index.numpy() for data in (splits.train, splits.valid) if data.index is not None
        ]
        unseen = np.ones(sprites.COUNT, bool)
        everything = np.arange(sprites.COUNT)
        unseen[
            np.isin(_without_orientation(everything), _without_orientation(np.concatenate(seen)))
        ] = False
        index = np.sort(rng.permutation(np.flatnonzero(unseen))[:_SPRITES])
        if len(index) == _SPRITES:
            raw = torch.from_numpy(sprites.render(index)[:, None])
            return Dataset(raw, rows.schema, index=torch.from_numpy(index), dtype=rows.dtype)
    if len(rows) <= _MOST_ROWS:
        return rows
    return rows.take(torch.from_numpy(np.sort(rng.permutation(len(rows))[:_MOST_ROWS])))


def _without_orientation(index: Array) -> Array:
    """The numbers of the sprites at the first orientation."""
    classes = sprites.factors(index)
    classes[:, 2] = 0
    return sprites.index_of(classes)
