"""Labels, and what a conditional model is conditioned on in each row."""

import numpy as np
import torch
from torch import Tensor

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.conditions import Condition, category_name
from variform.data.schema import Schema
from variform.data.sources.source import Source


def label_index(labels: np.ndarray | None) -> tuple[tuple[str, ...], Tensor | None]:
    """Class names in order (numbers as numbers, text as text), and each row's index among them, -1 for no label."""
    if labels is None:
        return (), None
    labels = labels.reshape(-1)
    if labels.dtype.kind in "buif":
        is_there = ~np.isnan(labels.astype(np.float64))
    else:
        labels = labels.astype(str)
        is_there = labels != ""
    values, index = np.unique(labels[is_there], return_inverse=True)
    index_of_row = np.full(len(labels), -1)
    index_of_row[is_there] = index
    return tuple(map(category_name, values)), torch.from_numpy(index_of_row.astype(np.int64))


def known_labels(source: Source, classes: tuple[str, ...]) -> Tensor | None:
    """The source's labels as indices into `classes`; None if there are none, or one that is not a known class."""
    names, index = label_index(source.labels)
    if index is None or not set(names) <= set(classes):
        return None
    known = [classes.index(name) for name in names]
    return torch.tensor([*known, -1])[index]  # at -1, no label, stands the last


def condition_of(name: str, source: Source, train: np.ndarray) -> Condition:
    """What the values of a label or a column are: categories if they are text or labels, else numbers."""
    values = condition_column(source, name)
    if name not in source.given or values.dtype.kind not in "buif":
        categories, _ = label_index(values)
        return Condition(name, categories)
    known = values[train].astype(np.float64)
    if not np.isfinite(known).all() or known.std() == 0:
        raise ValueError(
            f"a column that is given with `condition` must vary and be finite; {quoted(name)} of {source.name} does"
            " not. Leave it out or correct it."
        )
    return Condition(name, (), float(known.mean()), float(known.std()))


def hidden_labels(
    contexts: Tensor | None,
    labels: Tensor | None,
    schema: Schema,
    train: Tensor,
    config: DataConfig,
) -> tuple[Tensor, Tensor]:
    """Contexts and labels without those of all but `config.labelled` training rows, as many of each class."""
    count = config.labelled or 0
    classes = len(schema.classes)
    if (
        contexts is None
        or labels is None
        or schema.conditions[0].name not in ("label", config.label)
    ):
        raise ValueError(
            "`labelled` needs a model that is conditioned on the label first. Use `condition=['label']`."
        )
    if count < classes or count % classes:
        raise ValueError(
            f"`labelled` must be a multiple of the {classes} classes of {schema.source}; got {count}. "
            f"Use for example {10 * classes}."
        )
    generator = torch.Generator().manual_seed(config.split_seed)
    shuffled = train[torch.randperm(len(train), generator=generator)]
    groups = [shuffled[labels[shuffled] == number] for number in range(classes)]
    each = count // classes
    smallest = min(len(group) for group in groups)
    if smallest < each:
        raise ValueError(
            f"`labelled={count}` needs {each} training rows of each class; the smallest class has "
            f"{smallest}. Use fewer."
        )
    hidden = torch.cat([group[each:] for group in groups])
    contexts = contexts.clone()
    contexts[hidden, : schema.conditions[0].width] = 0
    labels = labels.clone()
    labels[hidden] = -1
    return contexts, labels


def condition_column(source: Source, name: str) -> np.ndarray:
    """The values of a condition, one a row."""
    if name in source.given:
        return source.given[name]
    if source.labels is None:
        raise ValueError(
            f"a model that is conditioned on {name} needs it in every row; {source.name} has none. Give labelled data, "
            "or name the label column of a table with `label`."
        )
    return source.labels


def contexts_of(source: Source, conditions: tuple[Condition, ...]) -> Tensor | None:
    """What a conditional model is conditioned on in each row, (N, context_dim)."""
    if not conditions:
        return None
    parts = [condition.encode(condition_column(source, condition.name)) for condition in conditions]
    for condition, part in zip(conditions, parts, strict=True):
        wrong = (~part.isfinite().all(1)).nonzero()
        if len(wrong):
            raise ValueError(
                f"{quoted(condition.name)} must be finite in every row; in"
                f" {source.place(int(wrong[0]))} of {source.name} it is not. Correct it."
            )
    return torch.cat(parts, 1)
