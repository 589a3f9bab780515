"""What a design study is asked for: objectives, constraints, an evaluator, a budget, and the spaces to search."""

import re
import shlex
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from variform.config.checks import (
    Count,
    Natural,
    NotNegative,
    Positive,
    checked,
    from_dict,
    require,
)
from variform.config.data import DataConfig
from variform.config.words import listed, quoted, with_fields

Array = NDArray[np.float64]

UTILITY = "utility"
"""The response that explains what a person prefers."""
_SPACE = re.compile(r"latent|raw|pool|pca(-[1-9]\d{0,3})?")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@checked
@dataclass(frozen=True, kw_only=True)
class Objective:
    """A response that is to be as small, or as large, as can be.

    Args:
        response: Its name, as the evaluator gives it.
        goal: Which of the two.
        reference: With several objectives the value that is just not good enough: hypervolume counts from it.
        unit: Of the response, for tables and pages.

    Example:
        >>> Objective(response="lift", goal="max").minimised(np.array([2.0]))
        array([-2.])
    """

    response: str
    goal: Literal["min", "max"] = "min"
    reference: float | None = None
    unit: str = ""

    def minimised(self, values: Array) -> Array:
        """Values of the response with the sign at which less is better; the opposite of itself."""
        return values if self.goal == "min" else -values


@checked
@dataclass(frozen=True, kw_only=True)
class Constraint:
    """What a response must fulfil: one of `at_least`, `at_most` and `equal`. A range is two constraints.

    Args:
        response: Its name, as the evaluator gives it.
        at_least: The least value.
        at_most: The greatest value.
        equal: The value.
        tolerance: By how much it may be missed, in the unit of the response.
        unit: Of the response, for tables and pages.

    Raises:
        ValueError: unless exactly one of the three is there.

    Example:
        >>> Constraint(response="mass", at_most=3, tolerance=0.5).violation(np.array([2.5, 3.25, 4.0]))
        array([-1.  , -0.25,  0.5 ])
    """

    response: str
    at_least: float | None = None
    at_most: float | None = None
    equal: float | None = None
    tolerance: NotNegative = 0.0
    unit: str = ""

    def __post_init__(self) -> None:
        given = [
            name for name in ("at_least", "at_most", "equal") if getattr(self, name) is not None
        ]
        require(
            len(given) == 1,
            f"a constraint on {quoted(self.response)} must have one of at_least, at_most and equal",
            " and ".join(given) or "none",
            "Write a constraint for each.",
        )

    def violation(self, values: Array) -> Array:
        """By how much values miss it beyond the tolerance, (N,) in their unit; at most 0 where it holds."""
        if self.at_least is not None:
            return self.at_least - values - self.tolerance
        if self.at_most is not None:
            return values - self.at_most - self.tolerance
        return np.abs(values - float(self.equal or 0)) - self.tolerance

    def __str__(self) -> str:
        words = {"at_least": "at least", "at_most": "at most", "equal": "equal to"}
        name = next(name for name in words if getattr(self, name) is not None)
        text = f"{self.response} {words[name]} {getattr(self, name):g} {self.unit}".rstrip()
        return f"{text} (within {self.tolerance:g})" if self.tolerance else text


@checked
@dataclass(frozen=True, kw_only=True)
class Problem:
    """A design study, as a problem.toml says it.

    Args:
        run: The folder of a trained run, whose data are the known designs and whose latent space can be searched.
        source: Without a run, the known designs: a file or a folder, read as `data` says.
        data: How to read `source`.
        objectives: One or more responses with their goals.
        constraints: What responses must fulfil.
        evaluator: A Python function, `module:function`, that takes designs and gives responses by name.
        command: A program in its place: `solver {in} {out}` is run for each design.
        timeout: Seconds that the command may take for a design.
        second: Another function that judges the winners, and plays no part in the search.
        repair: A function, `module:function`, that makes designs follow rules before they are evaluated.
        budget: Evaluations of each search, that is of each space with each seed.
        batch: Designs that are proposed at once.
        seeds: Searches in each space, with the seeds `seed`, `seed` + 1, ...
        seed: The first of them.
        optimiser: `random`, `cma` (CMA-ES), `gp` (a Gaussian process with expected improvement) or `preference`: a
            person rates designs or says which of two is better, and the utility behind that is what is looked for.
        start: Where every search begins: with the `space`, or with the responses of `known` designs too. Then each is
            told, before its first proposal, where they lie in its space.
        spaces: What to search: `latent`, `raw`, `pool` (the known designs), `pca` (of several dimensions) or `pca-6`.
            By default the one that the surrogate table recommends, else the latent space of the run, else `pca`.
        beside: What gets the same budget and seeds to compare with: spaces, and `random` draws. By default `latent`
            of a run, `pca`, `raw`, `pool` and `random` if an evaluation takes less than a second.
        given: What a conditional model is given, a value for each of its conditions.
        distance: How far designs are at least apart that count as distinct, as the root mean square over the columns;
            by default the median distance of known designs from their nearest neighbour.

    Raises:
        ValueError: for values that do not go together; says which.

    Example:
        >>> drag = Objective(response="drag")
        >>> Problem(source="foils.csv", objectives=(drag,), evaluator="judge:drag", budget=50).responses
        ('drag',)
    """

    run: str | None = None
    source: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    objectives: tuple[Objective, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    evaluator: str | None = None
    command: str | None = None
    timeout: Positive = 3600.0
    second: str | None = None
    repair: str | None = None
    budget: Count = 100
    batch: Count = 10
    seeds: Count = 1
    seed: Natural = 0
    optimiser: Literal["random", "cma", "gp", "preference"] = "cma"
    start: Literal["space", "known"] = "space"
    spaces: tuple[str, ...] = ()
    beside: tuple[str, ...] | None = None
    given: dict[str, Any] = field(default_factory=dict)
    distance: Positive | None = None

    def __post_init__(self) -> None:
        _require_source(self)
        _require_evaluator(self)
        _require_goals(self)
        _require_preference(self)
        _require_spaces(self)
        require(
            self.budget >= self.batch,
            "`budget` must hold a batch at least",
            f"{self.budget}, and a `batch` of {self.batch}",
            "Raise the one or lower the other.",
        )

    @property
    def responses(self) -> tuple[str, ...]:
        """The responses that an evaluator must give, each once."""
        asked = (*self.objectives, *self.constraints)
        return tuple(dict.fromkeys(one.response for one in asked))

    @property
    def reference(self) -> Array | None:
        """The reference point of several objectives, as they are minimised, (m,); None of one."""
        if len(self.objectives) == 1:
            return None
        return np.array([one.minimised(np.array(one.reference, float)) for one in self.objectives])

    @property
    def is_preference(self) -> bool:
        """Whether a person's choices say what is good."""
        return self.optimiser == "preference"

    @property
    def laid_out(self) -> "Problem":
        """The problem by whose objectives results are laid side by side: of a preference the utility behind it."""
        if not self.is_preference:
            return self
        return replace(self, objectives=(Objective(response=UTILITY, goal="max"),))

    @property
    def is_told(self) -> bool:
        """Whether answers come by hand: there is neither a function nor a command."""
        return self.evaluator is None and self.command is None


def _require_source(problem: Problem) -> None:
    given = [name for name in ("run", "source") if getattr(problem, name) is not None]
    require(
        len(given) == 1,
        "a problem must have either a `run` or a `source` of known designs",
        " and ".join(given) or "neither",
        'Write for example run = "runs/foils".',
    )
    require(
        problem.run is None or problem.data == DataConfig(),
        "the table data must be left out where there is a `run`, which knows how to read its data",
        "both",
        "Leave one out.",
    )


def _require_evaluator(problem: Problem) -> None:
    require(
        problem.evaluator is None or problem.command is None,
        "a problem must have one of `evaluator` and `command`, or none for answers by hand",
        "both",
        "Leave one out.",
    )
    for name in ("evaluator", "second", "repair"):
        value = getattr(problem, name)
        require(
            value is None or _FUNCTION.fullmatch(value) is not None,
            f"`{name}` must be of the form module:function",
            quoted(value),
            "Write for example judge:drag for the function drag in judge.py.",
        )
    command = problem.command
    require(
        command is None or ("{in}" in command and "{out}" in command),
        "`command` must hold {in} and {out}, the files of a design and of its responses",
        quoted(command),
        'Write for example command = "solver {in} {out}".',
    )
    require(
        command is None or _is_whole(command),
        "`command` must be words as a shell has them, with every quotation mark closed",
        quoted(command),
        "Close the last one.",
    )
    require(
        not problem.given or problem.run is not None,
        "`given` must be left out where there is no `run`, whose model it is for",
        listed([quoted(name) for name in problem.given]),
        "Leave it out, or name a run.",
    )


def _is_whole(command: str) -> bool:
    try:
        return bool(shlex.split(command))
    except ValueError:
        return False


def _require_goals(problem: Problem) -> None:
    require(
        bool(problem.objectives),
        "a problem must have an objective",
        "none",
        'Write [[objectives]] and below it response = "drag" and goal = "min".',
    )
    names = [objective.response for objective in problem.objectives]
    require(
        len(set(names)) == len(names),
        "each objective must have a response of its own",
        ", ".join(names),
        "Leave the second one out.",
    )
    require(
        len(names) == 1 or problem.optimiser != "cma",
        "`optimiser` must be another than cma with several objectives",
        f"{len(names)} objectives",
        'Use optimiser = "gp".',
    )
    lacking = [one.response for one in problem.objectives if one.reference is None]
    require(
        len(names) == 1 or not lacking,
        "with several objectives each must have a reference, the value that is just not good enough",
        f"none for {', '.join(lacking)}",
        "Write for example reference = 100.",
    )


def _require_preference(problem: Problem) -> None:
    if not problem.is_preference:
        return
    require(
        len(problem.objectives) == 1 and not problem.constraints,
        "with the `optimiser` preference a problem must have one objective and no constraints",
        f"{len(problem.objectives)} and {len(problem.constraints)}",
        "Let a `repair` see to what designs must fulfil, or name another optimiser.",
    )
    given = [name for name in ("evaluator", "command", "second") if getattr(problem, name)]
    require(
        not given,
        "with the `optimiser` preference a person must be the one who answers",
        " and ".join(given),
        "Leave it out, or name another optimiser.",
    )


def _require_spaces(problem: Problem) -> None:
    for name in ("spaces", "beside"):
        for word in getattr(problem, name) or ():
            is_known = _SPACE.fullmatch(word) is not None or (word, name) == ("random", "beside")
            require(
                is_known,
                f"each of `{name}` must be one of latent, pca, pca-6 (of 6 components), raw, pool"
                + (", random" if name == "beside" else ""),
                quoted(word),
                "Correct it.",
            )
            require(
                word != "latent" or problem.run is not None,
                f"`{name}` must leave out latent where there is no `run`",
                "latent",
                "Name a run, or another space.",
            )


def from_toml(text: str | bytes, where: str = "the problem") -> Problem:
    """A problem from the text of a problem.toml.

    Raises:
        ValueError: for text that is not TOML, an unknown key (with the nearest known one), or a wrong value.

    Example:
        >>> text = 'source = "foils.csv"\\n[[objectives]]\\nresponse = "drag"'
        >>> from_toml(text).objectives[0].goal
        'min'
        >>> from_toml(text + '\\ngaol = "max"', "x.toml")
        Traceback (most recent call last):
        ValueError: [[objectives]] in x.toml has an unknown key 'gaol'. Did you mean 'goal'?
    """
    try:
        values = tomllib.loads(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} must be TOML; {error}. Compare with docs/design.md.") from error
    kinds: dict[str, type] = {"objectives": Objective, "constraints": Constraint}
    try:
        for name, kind in kinds.items():
            if name in values:
                values[name] = _tables(kind, values[name], name, where)
        return from_dict(Problem, values, where)
    except ValueError as error:
        # Fields of this file, which are no options of a command.
        raise ValueError(with_fields(str(error), lambda name, value: name + value)) from error


def _tables(kind: type, values: Any, name: str, where: str) -> tuple[Any, ...]:
    if not isinstance(values, list):
        raise ValueError(
            f"{name} in {where} must be a list of tables; got {type(values).__name__}. Write [[{name}]]."
        )
    return tuple(from_dict(kind, value, f"[[{name}]] in {where}") for value in values)


def read_problem(path: Path) -> Problem:
    """The problem in a file.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: as `from_toml`.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"a problem must be a TOML file; there is none at {path}. Check the path."
        )
    return from_toml(path.read_bytes(), str(path))
