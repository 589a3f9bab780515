"""The library speaks of fields, the command line of options."""

import inspect

import pytest

from variform.config.options import NAMES, in_options
from variform.faces.cli import commands, options
from variform.faces.cli.design import ask, export, retrain, search, select, target, tell
from variform.faces.cli.train import latent_dim


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Use a smaller `learning_rate`.", "Use a smaller --learning-rate."),
        (
            "use `likelihood='gaussian-per-feature'`, or",
            "use --likelihood gaussian-per-feature, or",
        ),
        ("(`clip_norm=10`)", "(--clip-norm 10)"),
        ("with `learning_rate=3e-05`;", "with --learning-rate 3e-05;"),
        ("`deterministic=False`", "--no-deterministic"),
        ("`overwrite=True`", "--overwrite"),
        ("`image_size=[28, 32]` and `shape=(3,)`", "--image-size 28,32 and --shape 3"),
        ("`hidden=()`", "--empty-hidden"),
        ("`condition=['kind of wood', 'mass']`", "--condition 'kind of wood' mass"),
        ("`label='it is `label`'`", "--label 'it is `label`'"),
        ('`label="the cat\'s"`', "--label 'the cat'\"'\"'s'"),
        # what functions call a folder or a path, and commands --out
        ("Choose another `folder`.", "Choose another --out."),
        ("Choose another `path`.", "Choose another --out."),
        # what is no option, or no value, stays
        ("the `heads` of `vowels=3`", "the `heads` of `vowels=3`"),
        ("`learning_rate=smaller`", "`learning_rate=smaller`"),
        (
            "run `variform compare` once, then `pip install x`",
            "run `variform compare` once, then `pip install x`",
        ),
        # the user's own words stay: texts in quotes, names of files
        ("column '`label`' of `cells`.csv", "column '`label`' of `cells`.csv"),
        (
            'column "the cat\'s `label`" has no `label`',
            'column "the cat\'s `label`" has no --label',
        ),
        ("runs/`out`/config.toml", "runs/`out`/config.toml"),
        (
            "the run's rows' own `label` isn't 'a' but 'b'",
            "the run's rows' own --label isn't 'a' but 'b'",
        ),
        # the fields of a file have the names of their tables
        (
            "`train.beta` in run.toml, `train.kl='auto'`",
            "`train.beta` in run.toml, `train.kl='auto'`",
        ),
        # older versions wrote options into their files
        ("Train with --scaling none.", "Train with --scaling none."),
    ],
)
def test_a_field_becomes_an_option_and_nothing_else_does(sentence, expected):
    assert in_options(sentence) == expected


def test_every_option_of_every_command_is_known():
    parts = (*options.RunConfig().parts, options.DrawingConfig())
    names = {name for part in parts for name in vars(part)}
    of_designs = (search, ask, tell, select, target, retrain, export)
    for command in (*commands.COMMANDS.values(), latent_dim, *of_designs):
        parameters = inspect.signature(command).parameters.values()
        own = {
            parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY
        }
        names |= own - {"model", "train", "evaluation", "drawing", "in_depth"}
    assert names == NAMES
