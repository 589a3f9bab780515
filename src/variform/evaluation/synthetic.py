"""Synthetic rows that are to be handed out: what they are good for, and whom they betray."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import checked, require
from variform.config.words import quoted
from variform.data.conditions import by_condition
from variform.data.constraints import Constraint
from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.evaluation import privacy
from variform.evaluation.broken_rules import broken_rules
from variform.evaluation.exploration import generate, spread
from variform.evaluation.likeness import marginals, pairs, usefulness
from variform.evaluation.log_likelihood import score
from variform.evaluation.samples import LEAST_ROWS, tell_apart
from variform.model.vae import VAE, HasVAE, vae_of

Array = np.ndarray[Any, np.dtype[Any]]

MOST_ROWS = 10_000
"""Rows of each set that are looked at, at most."""
_TOLD_APART = 5_000  # of each set, by boosted trees
_ATTACKED = 2_000  # of each set, by their likelihood
_SAMPLES = 20  # importance samples of that likelihood
_WIDE = 60  # columns: of more, trees see principal components
_COMPONENTS = 20
_TARGETS, _LEADING = 8, 3  # columns that are predicted; of principal components the first
_SHOWN = 10  # columns and pairs that are named
_WEAK, _STRONG = 0.55, 0.6  # AUC from which an attack is worth a word, and from which it works
_CLEAR = 3.0  # standard errors


@checked
def synthetic(
    vae: VAE | HasVAE,
    train: Dataset,
    holdout: Dataset,
    *,
    rules: Sequence[str] = (),
    target: str = "",
    seed: int = 0,
) -> dict[str, Any]:
    """Draw as many rows as the model was trained on, and say what may be handed out; plain values ready for JSON.

    Rows of a table, and images of zeros and ones, are draws from p(x|z), others are its means, as files have them.
    Gaps, and what a conditional model is conditioned on, are those of real rows at random, of training and holdout
    alike. At most 10,000 rows of each set are looked at.

    Args:
        vae: The model, or a `Model` or a run that has it.
        train: The rows that it was trained on.
        holdout: Rows of the same source that it was not trained on, nor chosen by.
        rules: Comparisons of columns that real rows keep, as of `Constraint`.
        target: A column or condition to predict; by default up to eight of them.
        seed: Seed of every draw.

    Returns:
        What `judge` finds, with an attack by the model's log-likelihood.

    Raises:
        ValueError: for fewer than 7 rows in either set, for a rule that cannot be read, and for an unknown target.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,)), data.schema)
        >>> found = synthetic(vae, data.train, data.test)  # which is not trained yet
        >>> found["told_apart"]["accuracy"]["mean"] > 0.9, found["copies"]["found"]
        (True, False)
    """
    vae = vae_of(vae)
    train, holdout = (_some(rows, MOST_ROWS) for rows in (train, holdout))
    require_judged(train, holdout, rules=rules, target=target)
    schema = train.schema
    beside = _drawn_beside(train, holdout, seed)
    is_drawn = schema.kind == "table" or schema.seen_levels == 2
    rows = generate(vae, len(train), context=beside["contexts"], draw=is_drawn, seed=seed + 1)
    rows = rows.astype(np.float64)
    if beside["gaps"] is not None:
        rows[beside["gaps"]] = np.nan
    contexts = None
    if beside["contexts"] is not None:
        contexts = tuple(map(_contexts, (beside["contexts"], train.contexts, holdout.contexts)))
    attacks = {"by_likelihood": _by_likelihood(vae, train, holdout, seed)}
    real = (_seen(train, seed), _seen(holdout, seed))
    found = judge(
        schema,
        rows,
        *real,
        contexts=contexts,
        rules=rules,
        target=target,
        attacks=attacks,
        seed=seed,
    )
    if train.index is not None:
        number_of = train.index.tolist()
        pairs_of_rows = found["copies"]["examples"]
        found["copies"]["examples"] = [[row, number_of[other]] for row, other in pairs_of_rows]
    return found | {"drawn": "draws" if is_drawn else "means"}


def require_judged(
    train: Dataset, holdout: Dataset, *, rules: Sequence[str] = (), target: str = ""
) -> None:
    """Refuse what `synthetic` could not judge, whatever the model, before anything is drawn.

    Raises:
        ValueError: as `synthetic`.

    Example:
        >>> from variform import read
        >>> data = read({"mass": range(300), "wall": range(300, 600)})
        >>> require_judged(data.train, data.test, target="colour")
        Traceback (most recent call last):
        ValueError: `target` must be one of 'mass', 'wall'; got 'colour'. Choose one of them, or leave it out.
    """
    schema = train.schema
    _require_rows(len(train), len(holdout))
    for text in rules:
        Constraint(text, schema.columns)
    if target:
        known = _names(schema)
        if len(known) > _WIDE:
            known = [f"PC{place}" for place in range(1, _COMPONENTS + 1)]
        _require_target(target, [*known, *(one.name for one in schema.conditions)])


def _require_rows(train: int, holdout: int) -> None:
    require(
        min(train, holdout) >= LEAST_ROWS,
        f"synthetic rows must be held against at least {LEAST_ROWS} training rows and as many others",
        f"{train} and {holdout}",
        "Bring more rows, or choose another `split`.",
    )


def _some(rows: Dataset, most: int) -> Dataset:
    return rows if len(rows) <= most else rows.take(spread(most, len(rows)))


def _seen(rows: Dataset, seed: int) -> Array:
    """Rows in their own units, as a file of new rows has them, (N, *shape)."""
    schema = rows.schema
    return schema.tidy(schema.restore(rows.prepared(seed=seed).double())).numpy()


def _drawn_beside(train: Dataset, holdout: Dataset, seed: int) -> dict[str, Any]:
    """Gaps and contexts for new rows, those of real rows at random: of the training and the holdout rows alike."""
    random = np.random.default_rng(seed)
    count = len(train)
    drawn = torch.from_numpy(random.integers(count + len(holdout), size=count))
    gaps = None
    if any(train.schema.gaps):
        missing = torch.cat([rows.prepared(seed=seed).isnan() for rows in (train, holdout)])
        gaps = missing[drawn].numpy()
    contexts = None
    if train.contexts is not None and holdout.contexts is not None:
        contexts = torch.cat([train.contexts, holdout.contexts])[drawn]
    return {"gaps": gaps, "contexts": contexts}


def _contexts(contexts: Tensor | None) -> Tensor:
    assert contexts is not None
    return contexts


def _by_likelihood(vae: VAE, train: Dataset, holdout: Dataset, seed: int) -> dict[str, Any]:
    """An attack on the model itself: training rows are more likely to it than others."""
    count = min(len(train), len(holdout), _ATTACKED)
    scored = [
        score(vae, _some(rows, count), samples=_SAMPLES, seed=seed)
        .log_px.nan_to_num(-1e300)
        .numpy()
        for rows in (train, holdout)
    ]
    return privacy.attack(*scored)


@dataclass(frozen=True)
class _Columns:
    """Rows as columns of numbers that every measure can read.

    Args:
        parts: Synthetic, training and holdout rows, (N, D) each, NaN where a value is missing.
        names: Names of the columns.
        categorical: The columns that are numbers of categories.
    """

    parts: tuple[Array, ...]
    names: list[str]
    categorical: list[int]

    def beside(self, other: "_Columns") -> "_Columns":
        """These columns, then those of the other."""
        parts = tuple(np.column_stack(pair) for pair in zip(self.parts, other.parts, strict=True))
        shifted = [len(self.names) + column for column in other.categorical]
        return _Columns(parts, [*self.names, *other.names], [*self.categorical, *shifted])

    def components(self) -> "_Columns":
        """The leading principal components of all columns, fitted to the real rows."""
        placed = privacy.places(
            self.parts, np.concatenate(self.parts[1:]), categorical=self.categorical
        )
        count = min(_COMPONENTS, placed[0].shape[1])
        names = [f"PC{place}" for place in range(1, count + 1)]
        return _Columns(tuple(part[:, :count] for part in placed), names, [])


def _columns(schema: Schema, parts: Sequence[Array]) -> _Columns:
    flat = tuple(part.reshape(len(part), -1).astype(np.float64) for part in parts)
    kinds = schema.kinds if schema.kind == "table" else ()
    categorical = [place for place, kind in enumerate(kinds) if kind in ("category", "binary")]
    return _Columns(flat, _names(schema), categorical)


def _names(schema: Schema) -> list[str]:
    size = math.prod(schema.shape)
    return list(schema.columns) or [f"pixel {place}" for place in range(size)]


def _condition_columns(schema: Schema, parts: Sequence[Tensor]) -> _Columns:
    """What rows are conditioned on as columns: a category by its number, NaN where it is not known."""
    columns: list[list[Array]] = []
    for contexts in parts:
        own = []
        for condition, values in by_condition(schema.conditions, contexts):
            if condition.categories:
                codes = values.argmax(-1).double()
                own.append(codes.masked_fill(condition.is_missing(values), math.nan).numpy())
            else:
                own.append(values[..., 0].double().numpy())
        columns.append(own)
    names = [condition.name for condition in schema.conditions]
    categorical = [
        place for place, condition in enumerate(schema.conditions) if condition.categories
    ]
    made = tuple(np.column_stack(own) for own in columns)
    return _Columns(made, names, categorical)


@checked
def judge(
    schema: Schema,
    rows: Array,
    train: Array,
    holdout: Array,
    *,
    contexts: tuple[Tensor, ...] | None = None,
    rules: Sequence[str] = (),
    target: str = "",
    attacks: Mapping[str, dict[str, Any]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What synthetic rows of any origin are good for and whom they betray, as plain values ready for JSON.

    Args:
        schema: What the rows are.
        rows: The synthetic rows in their own units, (N, *shape), NaN where a value is missing, numbers of categories.
        train: The rows that their model was trained on; 10,000 of them at most should be given.
        holdout: Rows of the same source that it was not trained on.
        contexts: What the three were conditioned on, (N, context_dim) each; None for models without conditions.
        rules: Comparisons of columns that rows should keep, as of `Constraint`.
        target: A column or condition to predict; by default up to eight of them.
        attacks: Further attacks by their names, as `privacy.attack` gives them.
        seed: Seed of every choice.

    Returns:
        rows, how many of each set; marginals and pairs, see `likeness`; told_apart, see `tell_apart`, with of_real, the
        accuracy on real training rows; usefulness; nearer_to_training, copies, authenticity with of_real; attacks;
        broken, by rule the share of rows that break it, of the holdout too; verdict, `copies`, `betrays` or
        `no sign`; and sentences for the owner of the data.

    Raises:
        ValueError: for fewer than 7 rows in a set, for a rule that cannot be read, and for an unknown target.
    """
    _require_rows(min(len(train), len(rows)), len(holdout))
    data = _columns(schema, (rows, train, holdout))
    broken = broken_rules(schema, rows, holdout, rules)
    conditions = _condition_columns(schema, contexts) if contexts else None
    of_trees = data.components() if len(data.names) > _WIDE else data
    of_trees = of_trees.beside(conditions) if conditions else of_trees
    likeness = data.beside(conditions) if conditions else data
    if schema.kind == "image":
        likeness = of_trees
    numbers: dict[str, Any] = {
        "rows": {"synthetic": len(rows), "train": len(train), "holdout": len(holdout)},
        "seed": seed,
        "broken": broken,
    }
    numbers |= _likeness(likeness, seed)
    numbers["told_apart"] = _told_apart(of_trees, seed)
    targets = _targets(of_trees, [condition.name for condition in schema.conditions], target)
    options: dict[str, Any] = {"names": of_trees.names, "categorical": of_trees.categorical}
    found = usefulness(*of_trees.parts, targets=targets, seed=seed, **options)
    numbers["usefulness"] = [one.to_dict() for one in found]
    numbers |= _privacy(data, attacks or {}, seed)
    numbers["verdict"] = _verdict(numbers)
    numbers["sentences"] = sentences(numbers)
    return numbers


def _shuffled(rows: Array, count: int, seed: int) -> Array:
    return rows[np.random.default_rng(seed).permutation(len(rows))[:count]]


def _likeness(columns: _Columns, seed: int) -> dict[str, Any]:
    """Columns and pairs of them beside what as many real rows give, with their means."""
    count = min(map(len, columns.parts))
    rows, train, holdout = (
        _shuffled(part, count, seed + place) for place, part in enumerate(columns.parts)
    )
    options: dict[str, Any] = {"names": columns.names, "categorical": columns.categorical}
    by_column = marginals(rows, holdout, (train, holdout), **options)
    by_pair = pairs(rows, holdout, (train, holdout), seed=seed, **options)
    return {"marginals": _summed(by_column), "pairs": _summed(by_pair)}


def _summed(found: list[dict[str, Any]]) -> dict[str, Any]:
    means = {
        name: float(np.mean([one[name] for one in found])) if found else None
        for name in ("distance", "of_real")
    }
    return {"count": len(found), "mean": means, "farthest": found[:_SHOWN]}


def _told_apart(columns: _Columns, seed: int) -> dict[str, Any]:
    """How well boosted trees tell synthetic rows from the holdout, by which columns, and real rows from it."""
    count = min(*map(len, columns.parts), _TOLD_APART)
    rows, train, holdout = (
        _shuffled(part, count, seed + place) for place, part in enumerate(columns.parts)
    )
    options: dict[str, Any] = {
        "names": columns.names,
        "categorical": columns.categorical,
        "seed": seed,
    }
    accuracy, p_value, telling = tell_apart(rows, holdout, **options)
    of_real, _, _ = tell_apart(train, holdout, **options)
    named = [asdict(one) | {"is_clear": one.is_clear} for one in telling[:_SHOWN]]
    return {
        "accuracy": accuracy.to_dict(),
        "p_value": p_value,
        "columns": named,
        "of_real": of_real.to_dict(),
    }


def _require_target(target: str, names: Sequence[str]) -> None:
    require(
        target in names,
        f"`target` must be one of {', '.join(map(quoted, names[:20]))}",
        quoted(target),
        "Choose one of them, or leave it out.",
    )


def _targets(columns: _Columns, conditions: Sequence[str], target: str) -> list[int]:
    """Which columns are predicted: the one that is asked for, conditions, or some of all."""
    if target:
        _require_target(target, columns.names)
        return [columns.names.index(target)]
    width = len(columns.names)
    first = [width - len(conditions) + place for place in range(len(conditions))]
    others = spread(max(0, _TARGETS - len(first)), width - len(first)).tolist()
    if columns.names[0] == "PC1":  # of the last, R² compares noise with noise
        others = list(range(min(_LEADING, width - len(first))))
    return [*first, *others][:_TARGETS]


def _privacy(columns: _Columns, attacks: Mapping[str, dict[str, Any]], seed: int) -> dict[str, Any]:
    """What distances between synthetic and real rows say of the training rows."""
    real = np.concatenate(columns.parts[1:])
    rows, train, holdout = privacy.places(columns.parts, real, categorical=columns.categorical)
    once_of_train, once_of_holdout = _there_once(train, holdout)
    single = min(len(once_of_train), len(once_of_holdout))
    halves = [_shuffled(part, single, seed) for part in (once_of_train, once_of_holdout)]
    nearer = privacy.nearer_to_training(rows, *halves).to_dict() if single >= LEAST_ROWS else None
    count = min(len(train), len(holdout))
    attacked = [_shuffled(part, count, seed) for part in (train, holdout)]
    by_distance = privacy.attack(*(privacy.nearness(part, rows) for part in attacked))
    return {
        "nearer_to_training": nearer,
        "equal_halves": single,
        "copies": privacy.copies(rows, train, holdout),
        "authenticity": privacy.authenticity(rows, train).to_dict()
        | {"of_real": privacy.authenticity(holdout, train).to_dict()},
        "attacks": {"by_distance": by_distance, **attacks},
    }


def _there_once(train: Array, holdout: Array) -> tuple[Array, Array]:
    """The rows that no other real row equals: only these can be betrayed, and only they are exchangeable."""
    both = np.concatenate([train, holdout])
    _, which, counts = np.unique(both, axis=0, return_inverse=True, return_counts=True)
    is_single = counts[which.reshape(-1)] == 1
    return train[is_single[: len(train)]], holdout[is_single[len(train) :]]


def _works(attack: Mapping[str, Any], least: float) -> bool:
    auc = attack["auc"]
    return auc["mean"] > least and auc["mean"] - _CLEAR * auc["se"] > 0.5


def _verdict(numbers: Mapping[str, Any]) -> str:
    """`copies`, `betrays` or `no sign`."""
    if numbers["copies"]["found"]:
        return "copies"
    nearer = numbers["nearer_to_training"]
    is_nearer = nearer is not None and nearer["mean"] - 0.5 > _CLEAR * nearer["se"]
    works = any(_works(attack, _WEAK) for attack in numbers["attacks"].values())
    return "betrays" if is_nearer or works else "no sign"


def sentences(numbers: Mapping[str, Any]) -> list[str]:
    """What `judge` found for the owner of the data, in sentences: whom the rows betray, then what they are good for.

    Args:
        numbers: What `judge` gives.
    """
    return [*_on_privacy(numbers), *_on_use(numbers)]


def _on_privacy(numbers: Mapping[str, Any]) -> list[str]:
    said = []
    copied, attacks = numbers["copies"], numbers["attacks"]
    if copied["found"]:
        named = ", ".join(str(row) for _, row in copied["examples"][:5])
        said.append(
            f"Do not hand these rows out: about {copied['share']:.1%} of them are copies of training rows or nearly "
            f"so, of {copied['training']:,} different ones, such as {named}; by chance "
            f"{copied['expected']:.0f} were to be expected."
        )
    else:
        same = (
            f"{copied['same']:,} synthetic rows equal a training row that is there once; "
            if copied["same"]
            else ""
        )
        said.append(
            f"{same}copies of training rows are no more than chance explains, and would be found from "
            f"{copied['detectable']:.1%} of the rows on.".capitalize()
        )
    nearer = numbers["nearer_to_training"]
    if nearer is not None:
        said.append(
            f"{nearer['mean']:.1%} ± {nearer['se']:.1%} of the synthetic rows are nearer to a training row than to any "
            f"of as many rows that the model never saw ({numbers['equal_halves']:,} each); one half means that nothing "
            "was copied."
        )
    else:
        said.append(
            "Too few real rows are there once to say whether synthetic ones are nearer to training rows."
        )
    rows = attacks["by_distance"]
    said.append(
        f"Who has the synthetic rows and a person's real row guesses whether it was trained on with an AUC of "
        f"{_auc(rows)}: {_words(rows)}."
    )
    if "by_likelihood" in attacks:
        model = attacks["by_likelihood"]
        keep = (
            " Keep the model to yourself, whatever you do with the rows."
            if _works(model, _WEAK)
            else ""
        )
        said.append(
            f"Who has the model itself does so with an AUC of {_auc(model)}: {_words(model)}.{keep}"
        )
    if numbers["verdict"] == "no sign":
        said.append(
            "The attacks that were tried find nobody. That is no proof: another attack may, and only training with "
            "differential privacy bounds them all."
        )
    return said


def _auc(attack: Mapping[str, Any]) -> str:
    return f"{attack['auc']['mean']:.3f} ± {attack['auc']['se']:.3f}"


def _words(attack: Mapping[str, Any]) -> str:
    if _works(attack, _STRONG):
        return "the attack works"
    if _works(attack, _WEAK):
        return "better than chance"
    return "about as well as by a coin"


def _on_use(numbers: Mapping[str, Any]) -> list[str]:
    said = []
    told = numbers["told_apart"]
    clear = [column["column"] for column in told["columns"] if column["is_clear"]]
    by = f", by {', '.join(clear[:5])}" if clear else ""
    said.append(
        f"Boosted trees tell synthetic from real rows in a share of {told['accuracy']['mean']:.3f} ± "
        f"{told['accuracy']['se']:.3f}{by}; 1/2 is chance."
    )
    used = numbers["usefulness"]
    if used:
        worst = max(used, key=lambda one: one["loss"]["mean"])
        mean = np.mean([one["loss"]["mean"] for one in used])
        said.append(
            f"Predictions that are trained on synthetic instead of real rows lose {mean:.3f} of R² or accuracy on "
            f"average, and {worst['loss']['mean']:.3f} ± {worst['loss']['se']:.3f} of {worst['column']}."
        )
    broken = [one for one in numbers["broken"] if one["share"]["mean"] > one["of_real"]["mean"]]
    if broken:
        worst = max(broken, key=lambda one: one["share"]["mean"])
        said.append(
            f"Bounds or rules of the data that are broken: {len(broken)}, the most often '{worst['rule']}', in "
            f"{worst['share']['mean']:.1%} of the rows, {worst['of_real']['mean']:.1%} of the real ones."
        )
    return said
