"""On what grounds runs may be compared: the same data, and densities of the same thing."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from variform.data.schema import Schema
from variform.evaluation.illnesses.latents import distrusted
from variform.evaluation.log_likelihood import bits_per_dim, reliability
from variform.evaluation.standard_error import Estimate
from variform.runs.folder import Run
from variform.runs.records import read_data

DENSITIES = ("nll", "elbo", "kl")
MEASURES = (*DENSITIES, "reconstruction_error")
"""The metrics of every comparison, whose differences are paired by row."""
OF_SOME = ("high_pareto_k", "bits_per_dim")
"""The others of a comparison, which not every run has."""


@dataclass(frozen=True)
class Entry:
    """A run of a comparison.

    Args:
        name: What the comparison calls it.
        run: The run.
        scored: How its rows were scored: split, samples, seed.
        rows: Scores, (N,) each, as `runs.row_scores` gives them.
        refine: Steps by which q(z|x) of each row was refined before that.
    """

    name: str
    run: Run
    scored: dict[str, Any]
    rows: dict[str, Tensor]
    refine: int = 0

    @property
    def has_density(self) -> bool:
        """Whether ELBO and NLL are of a spread of q(z|x) that was trained."""
        return not self.run.config.train.is_point

    def numbers(self) -> dict[str, Any]:
        """Estimates over the rows; of densities only where the run has one."""
        numbers = {
            name: Estimate.of(self.rows[name]).to_dict() for name in DENSITIES if self.has_density
        }
        numbers["reconstruction_error"] = Estimate.root_mean(
            self.rows["squared_error"], gaps=True
        ).to_dict()
        if self.has_density and "pareto_k" in self.rows:  # older runs have none
            numbers |= reliability(self.rows["pareto_k"], self.scored["samples"])
        if self.has_density and "ess" in self.rows:
            numbers["ess"] = Estimate.of(self.rows["ess"]).to_dict()
        if self.has_density and "bits_per_dim" in self.run.evaluation:
            numbers["bits_per_dim"] = bits_per_dim(
                self.run.vae, schema_of_entry(self), self.rows["nll"]
            ).to_dict()
        return numbers

    def distrusted(self) -> float:
        """The share of rows whose log p(x) cannot be trusted; of an older run that of its own evaluation."""
        if not self.has_density:
            return 0.0
        numbers = self.numbers()
        if "ess" not in numbers:
            return distrusted(self.run.evaluation)
        return distrusted(numbers | {"nll": {"samples": self.scored["samples"]}})


@dataclass(frozen=True)
class Ground:
    """Something that runs must share to be ranked.

    Args:
        name: What it is.
        of: Its value for a run, which others are compared with.
        words: The value in words.
        why: Why runs that differ in it are not ranked, and what to do.
    """

    name: str
    of: Callable[[Entry], Any]
    words: Callable[[Entry], str]
    why: str


def schema_of_entry(entry: Entry) -> Schema:
    """What the data of a run are."""
    assert entry.run.vae.schema is not None  # a loaded model has one
    return entry.run.vae.schema


def _fingerprint(entry: Entry) -> str:
    return read_data(entry.run.folder / "data.json")["fingerprint"]


def _scaling(entry: Entry) -> str:
    pairs = list(zip(schema_of_entry(entry).shift, schema_of_entry(entry).scale, strict=True))
    shown = ", ".join(f"(x - {shift:.5g}) / {scale:.5g}" for shift, scale in pairs[:2])
    return f"{shown}{', ...' if len(pairs) > 2 else ''}"


DATA = [
    Ground(
        "what the model is told",
        lambda entry: entry.run.config.data.condition,
        lambda entry: " and ".join(entry.run.config.data.condition) or "nothing",
        "p(x|y) and p(x) are laws of different things.",
    ),
    Ground(
        "labels kept",
        lambda entry: entry.run.config.data.labelled,
        lambda entry: str(entry.run.config.data.labelled or "all"),
        "They were given more or less of the training rows.",
    ),
    Ground(
        "data",
        _fingerprint,
        lambda entry: f"{schema_of_entry(entry).source}, fingerprint {_fingerprint(entry)[:12]}",
        "Numbers of different data say nothing about the models (the fingerprint covers values, labels, what a model "
        "is given, and a split that the source brings).",
    ),
    Ground(
        "rows",
        lambda entry: (
            entry.scored["split"],
            hashlib.sha256(entry.rows["index"].numpy().tobytes()).hexdigest(),
        ),
        lambda entry: (
            f"{len(entry.rows['index']):,} {entry.scored['split']} rows, "
            f"`split_seed={entry.run.config.data.split_seed}`"
        ),
        "Differences are taken row by row. Train with the same `split_seed`.",
    ),
    Ground(
        "binarisation",
        lambda entry: (
            schema_of_entry(entry).binarise,
            entry.scored["seed"] if schema_of_entry(entry).binarise == "dynamic" else 0,
        ),
        lambda entry: (
            schema_of_entry(entry).binarise
            + (
                f", drawn with seed {entry.scored['seed']}"
                if schema_of_entry(entry).binarise == "dynamic"
                else ""
            )
        ),
        "The models are asked for different values.",
    ),
]
DENSITY = [
    *DATA,
    Ground(
        "likelihood",
        lambda entry: entry.run.vae.likelihood.measures,
        lambda entry: entry.run.vae.likelihood.measures,
        "Their nats are of different kinds: a density may have any height, a probability is at most 1. Compare "
        "reconstruction errors.",
    ),
    Ground(
        "scaling",
        lambda entry: (
            schema_of_entry(entry).shift,
            schema_of_entry(entry).scale,
            schema_of_entry(entry).kinds,
            [[value for value, _ in own] for own in schema_of_entry(entry).spikes],
            schema_of_entry(entry).rules,
        ),
        _scaling,
        "The least standard deviation of a likelihood follows the scaling, and with it the height of a density. Train "
        "with the same `scaling`.",
    ),
    Ground(
        "importance samples",
        lambda entry: entry.scored["samples"],
        lambda entry: f"{entry.scored['samples']:,}",
        "The NLL falls as they rise. Compare with one number of `samples`.",
    ),
]


def partition(entries: Sequence[Entry], grounds: Sequence[Ground]) -> list[list[Entry]]:
    """Runs that share all grounds, in the order in which they were given."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(repr([ground.of(entry) for ground in grounds]), []).append(entry)
    return list(groups.values())


def refusals_of(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A sentence for each ground that the runs do not share."""
    dense = [entry for entry in entries if entry.has_density]
    pointed = [entry.name for entry in entries if not entry.has_density]
    refusals = []
    if pointed:
        reason = (
            f"Not ranked by density: {', '.join(pointed)}. z was the mean of q(z|x) in training, so that no spread was "
            "trained that a density could be of. Compare reconstruction errors."
        )
        refusals.append(
            {
                "measure": "nll",
                "ground": "spread of q(z|x)",
                "values": {"untrained": pointed},
                "reason": reason,
            }
        )
    for measure, some, grounds in (
        ("nll and reconstruction_error", entries, DATA),
        ("nll", dense, DENSITY[len(DATA) :]),
    ):
        for ground in grounds:
            values = partition(some, [ground])
            if len(values) < 2:
                continue
            words = {ground.words(group[0]): [entry.name for entry in group] for group in values}
            if len(words) < len(values):  # what differs is not in the words
                words = {
                    f"{ground.words(group[0])} ({number})": [entry.name for entry in group]
                    for number, group in enumerate(values, 1)
                }
            differing = "; ".join(f"{value} ({', '.join(names)})" for value, names in words.items())
            what = "Not ranked" if measure != "nll" else "Not ranked by density"
            reason = f"{what}, because the runs differ in {ground.name}: {differing}. {ground.why}"
            refusals.append(
                {"measure": measure, "ground": ground.name, "values": words, "reason": reason}
            )
    return refusals
