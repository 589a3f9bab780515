"""Likelihoods that are made of others: a law with spikes, and a law for each column of a table."""

import math
from collections.abc import Sequence
from typing import Any, Self, get_args

import torch
from torch import Tensor, nn

from variform.config.model import ModelConfig
from variform.data.marginals import Marginals
from variform.data.schema import ColumnKind, Schema
from variform.distributions.compound import Mixed, Spiked
from variform.distributions.law import Law
from variform.model.likelihoods.bounded import LogitNormalLikelihood, LogNormalLikelihood
from variform.model.likelihoods.counts import NegativeBinomialLikelihood
from variform.model.likelihoods.family import (
    MOST,
    MOST_LOG,
    Likelihood,
    Step,
    at_atoms,
    product,
    promoted,
    total,
)
from variform.model.likelihoods.gaussian import GaussianLikelihood, least_std
from variform.model.likelihoods.ordered import OrdinalLikelihood
from variform.model.likelihoods.pixels import BernoulliLikelihood, CategoricalLikelihood

_LARGE = 1e30


class _CategoryLikelihood(CategoricalLikelihood):
    """The law of columns of a mixed table that hold numbers of categories, 0, 1, ..., K - 1."""

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """As of levels."""
        unit = self.levels - 1
        return super().start_at(mean / unit, variance / unit**2)

    def independent(self, rows: Marginals) -> Law:
        """As of levels."""
        return super().independent(rows.divided_by(self.levels - 1))

    def mean_steps(self) -> list[Step]:
        """Of categories the likeliest one."""
        return [{"op": "levels", "of": "likeliest"}]

    def spread_steps(self) -> list[Step]:
        """That of their numbers."""
        return [*super().spread_steps(), {"op": "multiply", "value": float(self.levels - 1)}]

    def density_steps(self) -> list[Step]:
        """As of levels, whose numbers the values are."""
        return self._steps_of_level(1.0)


class SpikedLikelihood(Likelihood):
    r"""p(x|z) of numbers that are often one of some values exactly: `Spiked`, around the law of another family.

    The network gives the params of that family, and a logit for every spike.

    Args:
        family: The law elsewhere, of columns that have one param each.
        spikes: Of each column its spikes: the value, how far from it a value may be to be it, its share of the rows.

    Shape:
        params (*batch, D + number of spikes), those of the family, then the logits of the columns in their order.

    Example:
        >>> family = GaussianLikelihood((2,), variance="identity")
        >>> likelihood = SpikedLikelihood(family, [[(0.0, 0.0, 0.5)], [(1.0, 0.0, 0.2), (2.0, 0.0, 0.1)]])
        >>> likelihood.params_shape, likelihood(torch.zeros(1, 5)).log_prob(torch.tensor([[0.0, 2.0]])).exp()
        ((5,), tensor([0.1250]))
    """

    atoms: Tensor
    width: Tensor
    shares: Tensor
    places: Tensor

    def __init__(
        self, family: Likelihood, spikes: Sequence[Sequence[tuple[float, float, float]]]
    ) -> None:
        super().__init__(family.event_shape)
        self.family = family
        self.is_density = family.is_density
        most = max(map(len, spikes))
        grid = torch.full((3, most, len(spikes)), math.nan, dtype=torch.float64)
        count = sum(map(len, spikes))
        places = torch.full((most, len(spikes)), count)  # of the zeros behind the logits
        start = 0
        for column, own in enumerate(spikes):
            for place, spike in enumerate(own):
                grid[:, place, column] = torch.tensor(spike, dtype=torch.float64)
                places[place, column] = start + place
            start += len(own)
        atoms, width, shares = grid.to(torch.get_default_dtype())
        fixed = {"atoms": atoms, "width": width, "shares": shares, "places": places}
        for name, values in fixed.items():
            self.register_buffer(name, values, persistent=False)
        self.count = count

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (math.prod(self.event_shape) + self.count,)

    @property
    def param_counts(self) -> dict[str, int]:
        """Those of the family, and the logits."""
        return self.family.param_counts | {"logits of spikes": self.count}

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        params = promoted(params)
        of_family, logits = params.split([params.shape[-1] - self.count, self.count], -1)
        padded = nn.functional.pad(logits, (0, 1))
        grid = padded.index_select(-1, self.places.flatten()).unflatten(-1, self.places.shape)
        atoms, width = promoted(self.atoms), promoted(self.width)
        return Spiked(self.family(of_family), grid, atoms, width)

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which the spikes have their shares and p(x|z) the data's mean, and where it can the variance.

        What the spikes leave of mean and variance is the family's.
        """
        known = ~self.atoms.isnan()
        shares = torch.where(known, self.shares, 0.0).to(mean).clamp(1e-3, 0.999) * known
        shares = shares / shares.sum(0).clamp_min(1.0)
        atoms = self.atoms.nan_to_num().to(mean)
        rest = (1 - shares.sum(0)).clamp_min(1e-2)
        own_mean = (mean - (shares * atoms).sum(0)) / rest
        square = (mean.square() + variance - (shares * atoms.square()).sum(0)) / rest
        own_variance = (square - own_mean.square()).clamp_min(1e-2 * variance.clamp_min(1e-6))
        left = 1 - (shares.cumsum(0) - shares)  # what no spike before takes
        logits = torch.logit((shares / left.clamp_min(1e-3)).clamp(1e-3, 0.999))
        start = self.family.start_at(own_mean, own_variance)
        return torch.cat([start, logits.mT[known.mT]])

    def independent(self, rows: Marginals) -> Law | None:
        """Add-one smoothed frequencies of the spikes, and elsewhere the trivial model of the family."""
        atoms, width = self.atoms.double().cpu(), self.width.double().cpu()

        def of_spikes(x: Tensor) -> Tensor:
            return (x.unsqueeze(-2) - atoms).abs() <= width  # NaN is near to nothing

        def without(x: Tensor) -> Tensor:
            return x.masked_fill(of_spikes(x).any(-2), math.nan)

        law = self.family.independent(rows.mapped(without))
        if law is None:
            return None
        counts = torch.zeros(atoms.shape, dtype=torch.float64)
        total = torch.zeros(atoms.shape[-1], dtype=torch.float64)
        for x in rows.batches():
            counts += of_spikes(x.double()).sum(0)
            total += (~x.isnan()).sum(0)
        before = counts.cumsum(0) - counts
        share = (counts + 1) / (total - before + 2)
        return Spiked(law, torch.logit(share), atoms, width)

    def mean_steps(self) -> list[Step] | None:
        """The mean: that of the family, and then spike after spike, the last of them first."""
        steps = self.family.mean_steps()
        if steps is None:
            return None
        columns = math.prod(self.event_shape)
        own: list[Step] = [{"op": "take", "places": list(range(columns))}, *steps]
        logits: Step = {"op": "take", "places": list(range(columns, columns + self.count))}
        path = [_concatenated(own, [logits])]
        for place in reversed(range(len(self.atoms))):
            chosen = (~self.atoms[place].isnan()).nonzero().flatten().tolist()
            others = sorted(set(range(columns + self.count)) - set(chosen))
            path += self._steps_of_spike(place, chosen, others)
        return [*path, {"op": "take", "places": list(range(columns))}]

    def _steps_of_spike(self, place: int, chosen: list[int], others: list[int]) -> list[Step]:
        r"""From m to $s + (m - s)\, \sigma(-b)$ in the columns that have so many spikes; the other numbers stay."""
        columns = math.prod(self.event_shape)
        logits = [columns + int(self.places[place, column]) for column in chosen]
        atoms = self.atoms[place, chosen].detach().double()
        return _replaced(self._steps_of_mean(chosen, logits, atoms), chosen, others)

    def spread_steps(self) -> list[Step] | None:
        r"""The root of the variance v, which goes with the mean from spike to spike, the last of them first.

        From m and v to $v' = (v + \sigma(b) (m - s)^2)\, \sigma(-b)$ in the columns that have so many spikes.
        """
        mean, spread = self.family.mean_steps(), self.family.spread_steps()
        if mean is None or spread is None:
            return None
        columns = math.prod(self.event_shape)
        own: Step = {"op": "take", "places": list(range(columns))}
        logits: Step = {"op": "take", "places": list(range(columns, columns + self.count))}
        square: Step = {"op": "map", "function": "square"}
        path = [_concatenated([own, *mean], [own, *spread, square], [logits])]
        for place in reversed(range(len(self.atoms))):
            chosen = (~self.atoms[place].isnan()).nonzero().flatten().tolist()
            path += self._steps_of_moments(place, chosen)
        variances = {"op": "take", "places": list(range(columns, 2 * columns))}
        return [*path, variances, {"op": "map", "function": "sqrt"}]

    def _steps_of_moments(self, place: int, chosen: list[int]) -> list[Step]:
        """Mean and variance after a spike, in the columns that have so many; behind them all logits."""
        columns = math.prod(self.event_shape)
        logits = [2 * columns + int(self.places[place, column]) for column in chosen]
        atoms = self.atoms[place, chosen].detach().double()
        of_variance = [columns + column for column in chosen]
        distance: list[Step] = [
            {"op": "take", "places": chosen},
            {"op": "add", "value": -atoms},
            {"op": "map", "function": "square"},
        ]
        reached: Step = {"op": "take", "places": logits}
        within: list[Step] = [_concatenated(distance, [reached]), {"op": "gate"}]
        both: Step = {
            "op": "branches",
            "branches": [[{"op": "take", "places": of_variance}], within],
            "join": "sum",
        }
        passed: list[Step] = [reached, {"op": "multiply", "value": -1.0}]
        variance: list[Step] = [_concatenated([both], passed), {"op": "gate"}]
        moments = _concatenated(self._steps_of_mean(chosen, logits, atoms), variance)
        replaced = [*chosen, *of_variance]
        others = sorted(set(range(2 * columns + self.count)) - set(replaced))
        return _replaced([moments], replaced, others)

    def density_steps(self) -> list[Step] | None:
        r"""At an atom $\log\sigma(b)$, else $\log\sigma(-b)$ and what comes behind, the last atom first.

        What they go through is the log-density, the logits and the values, side by side.
        """
        density = self.family.density_steps()
        if density is None:
            return None
        columns = math.prod(self.event_shape)
        width = columns + self.count
        logits: Step = {"op": "take", "places": list(range(columns, width))}
        of_family = [*range(columns), *range(width, width + columns)]
        finite: Step = {"op": "clip", "low": -_LARGE, "high": _LARGE}  # 0 times it is 0
        own: list[Step] = [{"op": "take", "places": of_family}, *density, finite]
        path = [_concatenated(own, [logits], [self.values()])]
        for place in reversed(range(len(self.atoms))):
            chosen = (~self.atoms[place].isnan()).nonzero().flatten().tolist()
            others = sorted(set(range(width + columns)) - set(chosen))
            path += _replaced(self._steps_at_atom(place, chosen), chosen, others)
        return [*path, {"op": "take", "places": list(range(columns))}]

    def _steps_at_atom(self, place: int, chosen: list[int]) -> list[Step]:
        columns = math.prod(self.event_shape)
        values = [columns + self.count + column for column in chosen]
        atoms = self.atoms[place, chosen].detach().double().cpu()
        is_atom = at_atoms(values, atoms, self.width[place, chosen].cpu())
        logit: Step = {
            "op": "take",
            "places": [columns + int(self.places[place, column]) for column in chosen],
        }
        minus: Step = {"op": "multiply", "value": -1.0}
        softplus: Step = {"op": "map", "function": "softplus"}
        is_other: list[Step] = [*is_atom, {"op": "map", "function": "is-zero"}]
        behind = total([{"op": "take", "places": chosen}], [logit, softplus, minus])
        taken = product([logit, minus, softplus, minus], is_atom)
        return [total(taken, product([behind], is_other))]

    @staticmethod
    def _steps_of_mean(chosen: list[int], logits: list[int], atoms: Tensor) -> list[Step]:
        return [
            {"op": "take", "places": [*chosen, *logits]},
            {"op": "add", "value": torch.cat([-atoms, torch.zeros_like(atoms)])},
            {"op": "multiply", "value": torch.tensor([1.0, -1.0]).repeat_interleave(len(chosen))},
            {"op": "gate"},
            {"op": "add", "value": atoms},
        ]


def _concatenated(*branches: list[Step]) -> Step:
    return {"op": "branches", "branches": list(branches), "join": "concatenate"}


def _replaced(steps: list[Step], chosen: list[int], others: list[int]) -> list[Step]:
    """What the steps make of all numbers in the places `chosen`, and the others as they are."""
    order = torch.tensor([*chosen, *others]).argsort().tolist()
    rest: list[Step] = [{"op": "take", "places": others}]
    return [_concatenated(steps, rest), {"op": "take", "places": order}]


class MixedLikelihood(Likelihood):
    r"""p(x|z) of a table: independent columns, each with the law of its kind.

    real: Gaussian with a learned variance per column, $\sigma_d^2 = e^{h_d} + \sigma_{\min}^2$; binary: Bernoulli;
    count: negative binomial with a learned dispersion per column; category: a probability for each of its K levels;
    positive: log-normal; bounded: logit-normal on [0, 1]; ordinal: levels in an order. A real, positive or bounded
    column with spikes has a probability for each of them, and its law elsewhere.

    Args:
        kinds: Kind of each column, as `Schema.kinds`.
        levels: Number of categories or ordered levels of each column; not looked at for other kinds.
        min_std: Least standard deviation of real columns, in the units the model sees, and of logarithms and logits.
        spikes: Of each column its spikes, as `Schema.scaled_spikes`; () where there are none.
        most_log: How far the mean of the logarithm of a positive column may be from 0.

    Shape:
        params (*batch, total) to a law over (*batch, D), where a category takes K numbers, any other column one, and
        every spike one more.

    Example:
        >>> likelihood = MixedLikelihood(["category", "real"], levels=[3, 0])
        >>> likelihood.params_shape, likelihood(torch.zeros(1, 4)).log_prob(torch.tensor([[2.0, torch.nan]])).exp()
        ((4,), tensor([0.3333], grad_fn=<ExpBackward0>))
    """

    takes_categories = True
    order: Tensor

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        levels: Sequence[int] = (),
        min_std: float = 1e-3,
        spikes: Sequence[Sequence[tuple[float, float, float]]] = (),
        most_log: float = MOST_LOG,
    ) -> None:
        super().__init__((len(kinds),))
        if odd := set(kinds) - set(get_args(ColumnKind)):
            raise ValueError(
                f"a column must be {', '.join(get_args(ColumnKind))}; got {min(odd)}. Change its kind."
            )
        spikes = spikes or [()] * len(kinds)
        plain = {
            kind: [i for i, one in enumerate(kinds) if one == kind and not spikes[i]]
            for kind in get_args(ColumnKind)
        }
        spiked = {
            kind: [i for i, one in enumerate(kinds) if one == kind and spikes[i]]
            for kind in ("real", "positive", "bounded")
        }

        def of_numbers(kind: str, columns: list[int]) -> Likelihood:
            if kind == "positive":
                return LogNormalLikelihood((len(columns),), min_std=min_std, most=most_log)
            if kind == "bounded":
                return LogitNormalLikelihood((len(columns),), min_std=min_std)
            return GaussianLikelihood((len(columns),), variance="per-feature", min_std=min_std)

        # Files of weights know the families by their order: new ones come last.
        families: list[tuple[list[int], Likelihood]] = [
            (plain["real"], of_numbers("real", plain["real"])),
            (plain["binary"], BernoulliLikelihood((len(plain["binary"]),))),
            (plain["count"], NegativeBinomialLikelihood((len(plain["count"]),))),
            *(([i], _CategoryLikelihood((1,), levels=levels[i])) for i in plain["category"]),
            *((plain[kind], of_numbers(kind, plain[kind])) for kind in ("positive", "bounded")),
            *(([i], OrdinalLikelihood((1,), levels=levels[i])) for i in plain["ordinal"]),
        ]
        for kind, columns in spiked.items():
            if columns:
                own = [spikes[column] for column in columns]
                families.append((columns, SpikedLikelihood(of_numbers(kind, columns), own)))
        self.families = nn.ModuleList([family for columns, family in families if columns])
        order = [index for columns, _ in families for index in columns]
        self.register_buffer("order", torch.tensor(order), persistent=False)

    @classmethod
    def of(cls, schema: Schema, config: ModelConfig, **options: Any) -> Self:
        """Of the columns of a table that was read with their kinds."""
        if not schema.kinds:
            raise ValueError(
                f"the mixed likelihood needs the kinds of columns; {schema.source} was read without them. Read it with "
                "`cells='mixed'`."
            )
        reals = [index for index, kind in enumerate(schema.kinds) if kind == "real"]
        return cls(
            schema.kinds,
            levels=[schema.levels_of(column) for column in range(len(schema.columns))],
            min_std=least_std(schema, reals),
            spikes=schema.scaled_spikes(),
            most_log=MOST_LOG if schema.has_wide_logs else MOST,
            **options,
        )

    @property
    def measures(self) -> str:
        """Densities of some columns and probabilities of others."""
        return "a law of its own for each column"

    @property
    def parts(self) -> list[tuple[Tensor, Likelihood]]:
        """The columns that have a family in common, and the family."""
        families = [family for family in self.families if isinstance(family, Likelihood)]
        return list(
            zip(
                self.order.split([family.event_shape[0] for family in families]),
                families,
                strict=True,
            )
        )

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (sum(math.prod(family.params_shape) for _, family in self.parts),)

    @property
    def param_counts(self) -> dict[str, int]:
        """Those of all columns together: equal names are one kind."""
        counts: dict[str, int] = {}
        for _, family in self.parts:
            for name, count in family.param_counts.items():
                counts[name] = counts.get(name, 0) + count
        return counts

    def forward(self, params: Tensor) -> Mixed:
        """The law that `params` describe."""
        families = [family for _, family in self.parts]
        pieces = params.split([math.prod(family.params_shape) for family in families], -1)
        pairs = zip(families, pieces, strict=True)
        return Mixed(
            [family(piece.unflatten(-1, family.params_shape)) for family, piece in pairs],
            self.order,
        )

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which each column's law starts at the mean of the training rows, and at their variance."""
        starts = [
            family.start_at(mean[columns], variance[columns]).flatten()
            for columns, family in self.parts
        ]
        return torch.cat(starts)

    def independent(self, rows: Marginals) -> Law | None:
        """Of each column the trivial model of its kind."""
        laws = [family.independent(rows.at(columns)) for columns, family in self.parts]
        known = [law for law in laws if law is not None]
        return Mixed(known, self.order.cpu()) if len(known) == len(laws) else None

    def mean_steps(self) -> list[Step] | None:
        """The mean of each column, of categories the likeliest one: a branch for each family, then all in order."""
        return self._of_families([family.mean_steps() for _, family in self.parts])

    def spread_steps(self) -> list[Step] | None:
        """Of each column, of categories that of their numbers."""
        return self._of_families([family.spread_steps() for _, family in self.parts])

    def density_steps(self) -> list[Step] | None:
        """Of each column by its family; None where a family has none."""
        params = math.prod(self.params_shape)
        start, branches = 0, []
        for columns, family in self.parts:
            end = start + math.prod(family.params_shape)
            steps = family.density_steps()
            if steps is None:
                return None
            values = [params + int(column) for column in columns]
            own: Step = {"op": "take", "places": [*range(start, end), *values]}
            branches.append([own, *steps])
            start = end
        ordered: Step = {"op": "take", "places": self.order.argsort().tolist()}
        return [_concatenated(*branches), ordered]

    def _of_families(self, of_each: Sequence[list[Step] | None]) -> list[Step] | None:
        start, branches = 0, []
        for (_, family), steps in zip(self.parts, of_each, strict=True):
            end = start + math.prod(family.params_shape)
            if steps is None:
                return None
            own = [
                {"op": "take", "places": list(range(start, end))},
                {"op": "reshape", "shape": family.params_shape},
            ]
            branches.append([*own, *steps])
            start = end
        ordered = {"op": "take", "places": self.order.argsort().tolist()}
        return [_concatenated(*branches), ordered]
