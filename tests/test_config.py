"""Configurations: one check for all faces, and names that tell them apart."""

import dataclasses
import enum
import importlib
import inspect
import json
import math
import pkgutil
import tomllib
from fractions import Fraction
from numbers import Real
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal, NotRequired, TypedDict, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch

import variform
from variform import DataConfig, ModelConfig, RunConfig, TrainConfig
from variform.config.checks import Range, checked, converted, from_dict
from variform.config.run import _RUN_OF, EvaluationConfig, objective_name
from variform.config.toml import from_toml, to_dict
from variform.config.training import OBJECTIVE_OPTIONS
from variform.estimator import _LIKELIHOOD_NAMES, VAE, VAEDetector, VAEImputer
from variform.faces import cli

TABLES = {
    "data": DataConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "evaluation": EvaluationConfig,
}
FIELDS = [
    (table, name, hint)
    for table, cls in TABLES.items()
    for name, hint in get_type_hints(cls, include_extras=True).items()
]
PROGRAMS = {"variform.__main__", "variform.export.reader"}  # which run when they are imported


def bare(hint):
    """A hint without None and Range."""
    while get_origin(hint) is Annotated or type(None) in get_args(hint):
        hint = next(option for option in get_args(hint) if option is not type(None))
    return hint


def choices(hint):
    """The choices of a hint, or of each item of a tuple; () for others."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next((names for option in get_args(hint) if (names := choices(option))), ())


def public_functions():
    """Name, function and hints of every public function, constructor and method of the package."""
    modules = [module.name for module in pkgutil.walk_packages(variform.__path__, "variform.")]
    for module in map(importlib.import_module, (name for name in modules if name not in PROGRAMS)):
        for name, member in vars(module).items():
            if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
                continue
            owned = vars(member).items() if inspect.isclass(member) else [("", member)]
            for method, part in owned:
                function = getattr(part, "__func__", part)
                if inspect.isfunction(function) and (
                    method == "__init__" or not method.startswith("_")
                ):
                    yield f"{module.__name__}.{name}.{method}".rstrip("."), function


UNASKED = {
    *(
        f"variform.data.findings.{name}.__init__"
        for name in ("columns.ColumnFindings", "inspection.Findings")
    ),
    "variform.data.schema.Schema.__init__",  # `read` makes it of data, and `Schema.from_dict` checks one of a file
    "variform.model.posteriors.log_std",  # within a compiled step, for the families, which are checked as they are made
}


def takers_of_choices():
    """Every public function with a parameter of choices, but for commands and estimators, which have tests below."""
    for name, function in public_functions():
        if name.startswith(("variform.faces.cli.", "variform.estimator.")) or name in UNASKED:
            continue
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError:  # of a type that only a type checker imports
            assert "Literal" not in str(inspect.signature(function))
            continue
        hints.pop("return", None)
        for parameter, hint in hints.items():
            if choices(hint):
                yield pytest.param(function, parameter, hint, id=f"{name}({parameter})")


# --- one check ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "parameter", "hint"), list(takers_of_choices()))
def test_a_misspelt_choice_is_refused_wherever_one_is_taken(function, parameter, hint):
    """By any public function, also one that is written tomorrow: it must be `checked`."""
    known = choices(hint)
    wrong = known[0] + "s"
    assert wrong not in known
    given = (wrong,) if get_origin(bare(hint)) is tuple else wrong
    with pytest.raises(ValueError, match="must be one of") as caught:
        function(**{parameter: given})
    message = str(caught.value)
    assert (
        parameter in message and repr(wrong) in message and f"Did you mean '{known[0]}'?" in message
    )
    assert all(choice in message for choice in known)


MADE_BY_THE_LIBRARY = {
    "Dataset",
    "History",
    "Schema",
    "Splits",
    "Terms",
    "VAE",
}  # nobody calls these with numbers


def hints_of_parameters(function):
    """The types of the parameters; that of the result may be one that only a type checker imports."""
    own = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    known = inspect.unwrap(function).__globals__
    return get_type_hints(SimpleNamespace(__annotations__=own), known, include_extras=True)


def takers_of_numbers():
    """Every parameter of a number in what `variform` hands to its users, and in some of what they find behind it."""
    handed = set(variform.__all__) - MADE_BY_THE_LIBRARY - {"VAEDetector", "VAEImputer"}
    names = {f"variform.{variform._HOMES[name]}.{name}" for name in handed}
    asked = (
        "variform.evaluation.exploration.generate",
        "variform.evaluation.exploration.decode",
        "variform.runs.scores.assess",
    )
    for name, function in public_functions():
        if not {name, name.rpartition(".")[0]} & names and name not in asked:
            continue
        for parameter, hint in hints_of_parameters(function).items():
            if bare(hint) in (int, float):
                yield pytest.param(function, parameter, hint, id=f"{name}({parameter})")


@pytest.mark.parametrize(("function", "parameter", "hint"), list(takers_of_numbers()))
def test_what_is_no_number_or_out_of_range_is_refused_wherever_one_is_taken(
    function, parameter, hint
):
    for wrong in (True, "3", float("nan"), [3], *out_of_range(hint)):
        with pytest.raises(ValueError, match=f"`{parameter}` must be"):
            function(**{parameter: wrong})


@pytest.mark.parametrize("cls", [VAE, VAEDetector, VAEImputer])
def test_estimators_refuse_misspelt_choices_in_fit(cls):
    rows = np.random.default_rng(0).normal(size=(20, 2))
    for name, hint in get_type_hints(cls.__init__).items():
        if name != "return" and choices(hint):
            # Of the likelihoods those of levels and of mixed tables are none for a matrix of numbers.
            taken = {"auto", *_LIKELIHOOD_NAMES} if name == "likelihood" else set(choices(hint))
            for wrong in {"nonsense", *choices(hint)} - taken:
                with pytest.raises(ValueError, match=f"'{name}' parameter") as caught:
                    cls(**{name: wrong}).fit(rows)
                assert all(choice in str(caught.value) for choice in taken)


def commands(app=cli.app, before=()):
    for name in app:
        if not name.startswith("-"):
            words = (*before, name)
            inner = app[name]
            yield from (
                commands(inner, words)
                if inner.default_command is None
                else [(words, inner.default_command)]
            )


def test_commands_refuse_misspelt_choices(capsys):
    fields = 0
    for words, function in commands():
        hints = get_type_hints(function)
        for name, hint in hints.items():
            if name == "return" or not choices(hint):
                continue
            required = ["nowhere"] if "run" in hints or "word" in hints else []
            option = [f"--{name.replace('_', '-')}"]
            parameter = inspect.signature(function).parameters.get(name)
            if parameter is not None and parameter.kind is parameter.POSITIONAL_ONLY:
                option = []
            wrong = f"{choices(hint)[0]}s"
            assert cli.run([*words, *required, *option, wrong]) == 2
            called = "".join(option) or "the argument"
            expected = f"{called} must be one of {', '.join(choices(hint))}; got '{wrong}'"
            assert expected in capsys.readouterr().err
            fields += 1
    assert fields >= 4


@pytest.mark.parametrize(
    ("table", "name", "value", "shown"),
    [
        ("train", "optimizer", "sgd", "`optimizer` must be one of adam, adamw, rmsprop; got 'sgd'"),
        (
            "model",
            "prior",
            "vmap",
            "got 'vmap'. Did you mean 'vamp'?",
        ),
        (
            "data",
            "scaling",
            "standart",
            "`scaling` must be one of auto, none, unit, standard, common; got 'standart'",
        ),
        ("model", "latent_dim", 0, "`latent_dim` must be at least 1; got 0. Use for example 10."),
        (
            "model",
            "hidden",
            [64, 0],
            "each of `hidden` must be at least 1; got 0. Use for example 10.",
        ),
        ("model", "dropout", 1.0, "`dropout` must be in [0, 1); got 1.0. Use for example 0.1."),
        (
            "train",
            "learning_rate",
            0.0,
            "`learning_rate` must be above 0; got 0.0. Use for example 0.001.",
        ),
        (
            "train",
            "checkpoint_every",
            "10 minutes",
            "`checkpoint_every` must be a number and a unit; got 10 minutes.",
        ),
        ("data", "image_size", [2, 0], "each of `image_size` must be at least 1; got 0."),
        ("data", "labelled", 0, "`labelled` must be at least 1; got 0."),
        ("evaluation", "nll_samples", -3, "`nll_samples` must be at least 1; got -3."),
        ("evaluation", "refine", -1, "`refine` must be at least 0; got -1."),
    ],
)
def test_every_face_refuses_with_one_sentence(
    table, name, value, shown, tmp_path, monkeypatch, capsys
):
    """Python, a table of TOML, JSON, and the command line with an option and with --config."""
    monkeypatch.chdir(tmp_path)
    toml = f"[{table}]\n{name} = {json.dumps(value)}\n"
    Path("wrong.toml").write_text(toml)
    word = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    plain, key = json.loads(json.dumps({name: value})), f"`{table}.{name}`"
    in_a_table = shown.replace(f"`{name}`", key)
    in_text = shown.replace(f"`{name}`", f"{key} in the configuration")
    for face, told in (
        (lambda: TABLES[table](**{name: value}), shown),
        (lambda: dataclasses.replace(TABLES[table](), **{name: value}), shown),
        (lambda: RunConfig(**{table: {name: value}}), in_a_table),
        (lambda: from_dict(TABLES[table], plain, table=table), in_text),
        (lambda: from_dict(RunConfig, tomllib.loads(toml)), in_text),
        (lambda: from_toml(toml), in_text),
    ):
        with pytest.raises(ValueError, match="must be") as caught:
            face()
        assert told in str(caught.value)
    option = f"--{name.replace('_', '-')}"
    for words, told in (
        ([option, word], shown.replace(f"`{name}`", option)),
        (["--config", "wrong.toml"], shown.replace(f"`{name}`", f"{key} in wrong.toml")),
    ):
        assert cli.run(["train", "none.csv", *words]) == 2
        assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.toml"]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "[train]\ncycles = 7",
            "`train.cycles` in wrong.toml needs `train.beta_schedule='cyclic'`; got 7. Leave `train.cycles` out",
        ),
        (
            "[train]\ngroups = 5",
            "`train.groups` in wrong.toml must be left out with `train.objective='elbo'`",
        ),
        (
            "[data]\nscaled = 1",
            "wrong.toml: data has an unknown key 'scaled'. Did you mean 'scaling'?",
        ),
        ("scaling = 1", "wrong.toml has an unknown key 'scaling'"),
        ("data = 1", "wrong.toml: data must hold values by name; got 1."),
        ("source = 1", "`source` in wrong.toml must be text; got 1."),
    ],
)
def test_a_mistake_in_a_file_names_the_file_and_the_key(
    toml, message, tmp_path, monkeypatch, capsys
):
    """And no option of the command line, which the user has not written."""
    monkeypatch.chdir(tmp_path)
    Path("wrong.toml").write_text(toml)
    assert cli.run(["train", "none.csv", "--config", "wrong.toml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}") and "--" not in error


def test_an_option_that_does_not_go_with_a_file_is_told_as_an_option(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("right.toml").write_text("[model]\nlatent_dim = 3")
    assert cli.run(["train", "none.csv", "--config", "right.toml", "--cycles", "7"]) == 2
    assert "--cycles needs --beta-schedule cyclic" in capsys.readouterr().err


def wrong_values(hint):
    """Values that a field of this hint must refuse, from Python and, where they can be written there, from files."""
    kind = bare(hint)
    if get_origin(kind) is Literal:
        return ["nonsense", 0, None, True, ["x"]]
    if get_origin(kind) is tuple:
        return [
            "text",
            7,
            {1: 2},
            [object()],
            [[]],
            [None],
            *([one] for one in wrong_values(get_args(kind)[0])),
        ]
    if kind is str:
        return [7, 1.5, True, [], {}, b"bytes"]
    if kind is bool:
        return [0, 1, "true", np.int64(1), 1.0]
    common = [
        True,
        False,
        np.True_,
        "3",
        "",
        [],
        (1,),
        float("nan"),
        float("inf"),
        np.nan,
        10**30,
        1j,
        np.zeros(2),
    ]
    return [*common, *([1.5, 2.0, np.float64(3)] if kind is int else []), *out_of_range(hint)]


def out_of_range(hint):
    ranges = [
        extra
        for part in (hint, *get_args(hint))
        for extra in get_args(part)
        if isinstance(extra, Range)
    ]
    return [value for value in (-(2**40), -1, 0, 1, 2**40) if ranges and value not in ranges[0]]


@pytest.mark.parametrize(("table", "name", "hint"), FIELDS)
def test_every_field_refuses_what_is_not_its_type(table, name, hint):
    for value in wrong_values(hint):
        if value is None and type(None) in get_args(hint):
            continue
        with pytest.raises(ValueError, match=rf"`{name}` must ") as caught:
            TABLES[table](**{name: value})
        assert str(caught.value)[-1] in ".?" and len(str(caught.value)) < 500


class Word(enum.StrEnum):
    ADAM = "adam"


@pytest.mark.parametrize(
    ("hint", "value", "plain"),
    [
        (int, np.int64(3), 3),
        (int, np.uint8(3), 3),
        (int, np.array(3), 3),
        (int, torch.tensor(3), 3),
        (float, np.float32(0.5), 0.5),
        (float, np.longdouble(0.5), 0.5),
        (float, 3, 3.0),
        (float, np.int32(3), 3.0),
        (float, Fraction(1, 2), 0.5),
        (bool, np.True_, True),
        (tuple[int, ...], np.array([3, 4]), (3, 4)),
        (tuple[int, ...], [np.int64(3), 4], (3, 4)),
        (tuple[float, ...], range(2), None),
        (str, np.str_("a"), "a"),
        (str, Path("a") / "b", "a/b"),
        (Literal["adam", "rmsprop"], np.str_("adam"), "adam"),
        (Literal["adam", "rmsprop"], Word.ADAM, "adam"),
        (int | None, None, None),
        (int | None, np.int64(3), 3),
    ],
)
def test_what_holds_a_plain_value_is_taken_for_it(hint, value, plain):
    if plain is None and value is not None:
        with pytest.raises(ValueError, match="must be a list"):
            converted(hint, value, "it")
        return
    value_ = converted(hint, value, "it")
    assert value_ == plain and type(value_) is type(plain)
    if isinstance(plain, tuple):
        assert [type(item) for item in value_] == [type(item) for item in plain]


class Estimate(TypedDict):
    """What a file holds by name."""

    mean: Real | None
    rows: NotRequired[Annotated[int, Range("[1, 100)", 10)]]


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (Estimate, {"mean": math.inf, "more": []}, None),
        (Estimate, {"mean": None, "rows": 3}, None),
        (Estimate, {"rows": 3}, "it must hold mean"),
        (Estimate, {"mean": "x"}, "mean of it must be a number; got 'x'"),
        (Estimate, {"mean": True}, "mean of it must be a number; got True"),
        (Estimate, {"mean": 10**400}, "mean of it must be a finite number of at most 18 digits"),
        (Estimate, {"mean": 1.0, "rows": 0}, r"rows of it must be in \[1, 100\); got 0"),
        (Estimate, [1.0], r"it must hold values by name; got \[1.0\]"),
        (dict[str, Estimate], {"pca": {"mean": 0.5}}, None),
        (dict[str, Estimate], {"pca": 7}, "pca of it must hold values by name; got 7"),
        (list[Estimate], [{"mean": 0.5}], None),
        (list[Estimate], [{"mean": []}], r"mean of each of it must be a number; got \[\]"),
        (list[Estimate], {"mean": 0.5}, "it must be a list"),
    ],
)
def test_values_by_name_are_checked_as_far_as_they_are_known(hint, value, message):
    if message is None:
        assert converted(hint, value, "it") == value
        return
    with pytest.raises(ValueError, match=message):
        converted(hint, value, "it")


def test_configurations_made_with_numpy_are_those_made_without():
    numbers = {
        "epochs": np.int64(3),
        "learning_rate": np.float32(0.25),
        "discriminator": np.array([5, 6]),
    }
    made = TrainConfig(objective="factor", **numbers)
    plain = TrainConfig(objective="factor", epochs=3, learning_rate=0.25, discriminator=(5, 6))
    assert made == plain and hash(made) == hash(plain)
    assert json.dumps(to_dict(made)) == json.dumps(to_dict(plain))
    assert type(dataclasses.replace(made, warmup=np.int64(7)).warmup) is int


def test_a_checked_function_keeps_its_name_defaults_and_errors():
    @checked
    def area(
        width: float,
        height: float = 2.0,
        *shapes: str,
        unit: Literal["m", "ft"] = "m",
        at: object = None,
    ):
        """An area."""
        return width * height, shapes, unit, at

    assert (
        area.__name__ == "area"
        and area.__doc__ == "An area."
        and "unit" in inspect.signature(area).parameters
    )
    assert area(3) == (6.0, (), "m", None) and area(3, 4, "a", "b", unit="ft")[1:] == (
        ("a", "b"),
        "ft",
        None,
    )
    assert area(1, at="anything")[3] == "anything"  # of a type that is left to the function
    with pytest.raises(ValueError, match="`height` must be a number; got 'x'"):
        area(1, "x")
    with pytest.raises(
        TypeError, match=r"area\(\) missing 1 required positional argument: 'width'"
    ):
        area()
    with pytest.raises(TypeError, match=r"area\(\) got an unexpected keyword argument 'units'"):
        area(1, units="m")
    with pytest.raises(
        TypeError, match=r"TrainConfig.__init__\(\) got an unexpected keyword argument 'epoch'"
    ):
        TrainConfig(epoch=3)


def test_defaults_are_what_the_check_would_make_of_them():
    """Only what is given is checked; so what is not must be right as it stands."""
    for cls in TABLES.values():
        hints = get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            default = converted(hints[field.name], field.default, field.name)
            assert default == field.default and type(default) is type(field.default)


# --- names --------------------------------------------------------------------------------------------------------

CHANGED = {  # another value than the default of every option of an objective, and what it needs beside it
    "samples": {"samples": 5},
    "groups": {"groups": 3},
    "elbo_share": {"elbo_share": 0.5},
    "gradient": {"gradient": "dreg"},
    "leaps": {"leaps": 5},
    "tempering": {"tempering": 0.5},
    "kl": {"kl": "closed-form"},
    "beta": {"beta": 0.30000000000000004},
    "beta_schedule": {"beta_schedule": "cosine", "warmup": 7},
    "warmup": {"warmup": 7},
    "cycles": {"cycles": 2, "beta_schedule": "cyclic", "warmup": 7},
    "free_bits": {"free_bits": 0.25},
    "level_weights": {"level_weights": (1.0, 0.5)},
    "capacity": {"capacity": 3.0},
    "capacity_steps": {"capacity_steps": 9, "capacity": 3.0},
    "alpha": {"alpha": 2.0},
    "gamma": {"gamma": 5.0},
    "penalty": {"penalty": 11.0},
    "penalty_diagonal": {"penalty_diagonal": 12.0},
    "distance": {"distance": "adversarial"},
    "slices": {"slices": 7, "distance": "sliced"},
    "deterministic": {"deterministic": False},
    "regulariser": {"regulariser": "spectral"},
    "discriminator": {"discriminator": (100, 10)},
    "noise": {"noise": "masking", "noise_level": 0.25},
    "noise_level": {"noise": "masking", "noise_level": 0.5},
    "ema": {"ema": 0.9},
    "private_epsilon": {"private_epsilon": 2.0},
    "private_delta": {"private_epsilon": 2.0, "private_delta": 1e-6},
    "private_clip": {"private_epsilon": 2.0, "private_clip": 0.5},
}


def configurations():
    """Of every objective the default, and each of its options changed."""
    for objective, options in OBJECTIVE_OPTIONS.items():
        yield TrainConfig(objective=objective)
        for option in (*options, "noise", "noise_level", "ema"):
            changes = dict(CHANGED[option])
            if option == "gamma" and objective == "elbo":
                changes["capacity"] = 3.0
            if option == "samples" and objective == "wae":
                changes["deterministic"] = False
            if option == "discriminator" and objective == "wae":
                changes["distance"] = "adversarial"
            yield TrainConfig(objective=objective, **changes)
    for option in ("private_epsilon", "private_delta", "private_clip"):
        yield TrainConfig(**CHANGED[option])
    yield TrainConfig(beta=0.3)
    yield TrainConfig(beta_schedule="cyclic", warmup=7)


def test_objectives_that_differ_have_different_names():
    configs = set(configurations())
    names = [objective_name(RunConfig(train=config)) for config in configs]
    assert len(set(names)) == len(names) == len(configs)
    assert all(
        name.startswith(config.objective) for name, config in zip(names, configs, strict=True)
    )


def test_every_option_of_training_is_in_the_name_or_says_how_the_training_runs():
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert fields - _RUN_OF - {"objective"} == CHANGED.keys()
    assert not _RUN_OF & {option for options in OBJECTIVE_OPTIONS.values() for option in options}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (RunConfig(), "elbo"),
        (
            RunConfig(train=TrainConfig(objective="wae", deterministic=False)),
            "wae (not deterministic)",
        ),
        (
            RunConfig(train=TrainConfig(objective="factor", discriminator=())),
            "factor (discriminator linear)",
        ),
        (RunConfig(train=TrainConfig(seed=3, learning_rate=0.01, epochs=7)), "elbo"),
        (
            RunConfig(
                data=DataConfig(condition=("label",), labelled=100),
                train=TrainConfig(objective="m2"),
            ),
            "m2 (given label, labels kept 100)",
        ),
    ],
)
def test_names_are_words(config, name):
    assert objective_name(config) == name
