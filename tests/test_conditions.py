"""Conditional models: what they are told reaches encoder and decoder, and changes what they make."""

import csv
import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from py_mini_racer import MiniRacer
from sklearn.linear_model import LogisticRegression

from variform import (
    DataConfig,
    ModelConfig,
    TrainConfig,
    build_objective,
    build_vae,
    fit,
    load,
    read,
)
from variform.data.conditions import Condition, occupancy, remarks
from variform.data.reading import read_rows
from variform.data.schema import Schema
from variform.evaluation import exploration
from variform.evaluation.log_likelihood import score
from variform.faces import cli
from variform.model.importance import log_weights
from variform.objectives import ELBO
from variform.runs.folder import open_run, unseen


@pytest.fixture(scope="module")
def digits():
    return read("digits", DataConfig(condition=("label",)))


@pytest.fixture
def vae(digits):
    return build_vae(ModelConfig(likelihood="bernoulli", latent_dim=3, hidden=(8,)), digits.schema)


def write_table(path, rows=400, seed=0):
    """y is 10 below a row's mass for kind a and 10 above it for kind b, with noise of 0.1; z has nothing to say."""
    rng = np.random.default_rng(seed)
    mass, kind = rng.normal(50, 4, rows), rng.integers(0, 2, rows)
    y = mass + 20 * kind - 10 + rng.normal(0, 0.1, rows)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mass", "y", "kind", "other"])
        writer.writerows(
            zip(mass, y, np.array(["a", "b"])[kind], rng.normal(0, 1, rows), strict=True)
        )
    return mass, kind, y


def test_the_context_is_one_hot_and_belongs_to_its_row(digits):
    for part in (digits.train, digits.valid, digits.test):
        torch.testing.assert_close(part.contexts, torch.eye(10)[part.labels], check_dtype=False)
    some = digits.train.take(torch.tensor([5, 2]))
    assert some.contexts.argmax(1).tolist() == digits.train.labels[[5, 2]].tolist()
    contexts = torch.cat(list(digits.test.context_batches(50)))
    torch.testing.assert_close(contexts, digits.test.contexts)
    assert Schema.from_dict(digits.schema.to_dict()) == digits.schema


def test_encoder_and_decoder_are_told(vae):
    x, context = torch.rand(4, 1, 8, 8), torch.eye(10)[[3, 1, 4, 1]].to(torch.get_default_dtype())
    hidden = torch.relu(
        torch.cat([x.flatten(1), context], 1) @ vae.encoder.layers[1].weight.T
        + vae.encoder.layers[1].bias
    )
    params = hidden @ vae.encoder.output.weight.T + vae.encoder.output.bias
    torch.testing.assert_close(vae.encode(x, context).mean, params[:, :3])
    z = torch.randn(6, 4, 3)
    law = vae.decode(z, context)
    by_hand = vae.decoder(torch.cat([z[5], context], 1))
    torch.testing.assert_close(law.logits[5], by_hand)
    torch.testing.assert_close(vae.decode(z[5], context[2]).logits[2], by_hand[2])


def test_objective_weights_and_score_are_of_the_conditional_law(vae, digits):
    few = digits.test.take(torch.arange(20))
    x, context = vae.like(few.prepared()), vae.like(few.contexts)
    torch.manual_seed(0)
    weights = log_weights(vae, x, 500, context=context)
    torch.manual_seed(0)
    q = vae.encode(x, context)
    z = q.rsample((500,))
    expected = vae.decode(z, context).log_prob(x) + vae.latent_prior().log_prob(z) - q.log_prob(z)
    torch.testing.assert_close(weights.log_weight, expected)
    terms = ELBO(vae, samples=500)(x, context)
    scores = score(vae, few, samples=500)
    spread = (weights.log_likelihood.std(0) / 500**0.5).double()
    assert (
        (scores.elbo - terms.elbo).abs() < 6 * spread
    ).all()  # two estimates of one mean, twenty times


@pytest.mark.parametrize("known", [None, torch.zeros(4, 3)])
def test_a_missing_or_wrong_context_is_refused(vae, known):
    with pytest.raises(ValueError, match="needs a context of 10 numbers per example; got"):
        vae.encode(torch.rand(4, 1, 8, 8), known)


def test_a_model_without_conditions_refuses_a_context():
    schema = read("digits").schema
    with pytest.raises(ValueError, match=r"context of 0 numbers.*Leave context out"):
        build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2), schema).decode(
            torch.zeros(1, 2), torch.zeros(1, 10)
        )


def test_what_is_generated_under_a_label_is_of_that_class(digits):
    """Judged by a classifier of real digits, which is right for 96 % of real test digits."""
    torch.set_default_dtype(torch.float32)
    config = TrainConfig(epochs=40, batch_size=128, learning_rate=3e-3)
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=5, hidden=(128,)),
        digits.schema,
        moments=digits.train.moments(),
    )
    fit(build_objective(vae, config), digits.train, digits.valid, config)
    judge = LogisticRegression(max_iter=2000).fit(
        digits.train.raw.flatten(1) / 16, digits.train.labels
    )
    labels = np.arange(10).repeat(30)
    made = exploration.generate(vae, 300, context=torch.eye(10)[labels])
    assert (judge.predict(made.reshape(300, -1) / 16) == labels).mean() > 0.85  # by chance 0.1
    test = digits.test
    others = (test.labels + 1) % 10
    _, moved = exploration.reconstruct(vae, test, context=torch.eye(10)[others])
    assert (judge.predict(moved.reshape(len(test), -1) / 16) == others.numpy()).mean() > 0.75
    values, words = exploration.under_each(vae, test.take(torch.arange(4)))
    assert words == list("0123456789") and values.shape == (4, 10, 1, 8, 8)
    own = exploration.reconstruct(vae, test.take(torch.arange(4)))[1]
    for row, label in enumerate(test.labels[:4]):
        np.testing.assert_allclose(values[row, label], own[row], atol=1e-5)


def test_columns_of_a_table_are_conditions(tmp_path):
    path = tmp_path / "made.csv"
    mass, kind, _ = write_table(path)
    splits = read(path, DataConfig(condition=("kind", "mass")))
    assert splits.schema.columns == ("y", "other") and splits.schema.context_dim == 3
    everything = read_rows(path, splits.schema)
    torch.testing.assert_close(everything.contexts[:, :2], torch.eye(2)[kind], check_dtype=False)
    number = splits.schema.conditions[1]
    np.testing.assert_allclose(
        everything.contexts[:, 2], (mass - number.shift) / number.scale, atol=1e-5
    )
    train = splits.train.contexts[:, 2].double()
    assert abs(train.mean()) < 1e-5 and abs(train.std(correction=0) - 1) < 1e-5
    context = splits.schema.context({"kind": "b", "mass": 50})
    assert splits.schema.describe(context) == {"kind": "b", "mass": "50"}


def test_a_table_generated_under_a_condition_follows_it(tmp_path, monkeypatch, capsys):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "made.csv")
    options = "--condition kind mass --likelihood gaussian --latent-dim 2 --hidden 64 --epochs 150 --batch-size 64"
    assert (
        cli.run(["train", "made.csv", *options.split(), "--learning-rate", "0.003", "--out", "run"])
        == 0
    )
    given = ["--given", "kind=b", "mass=53"]
    assert cli.run(["generate", "run", "--count", "200", *given, "--out", "made_b.csv"]) == 0
    y = np.genfromtxt("made_b.csv", delimiter=",", names=True)["y"]
    assert abs(y.mean() - 63) < 1 and y.std() < 1  # the whole table has a standard deviation of 11
    with open("made_b.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(line["kind"], line["mass"]) for line in lines} == {("b", "53")}
    assert (
        cli.run(["encode", "run", "made_b.csv", "--out", "again.csv"]) == 0
    )  # rows as those that were read
    assert cli.run(["generate", "run", "--count", "200", "--out", "made_any.csv"]) == 0
    with open("made_any.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    offset = [
        float(line["y"]) - float(line["mass"]) for line in lines
    ]  # what each row was told is what it follows
    assert all(
        (value > 0) == (line["kind"] == "b") for value, line in zip(offset, lines, strict=True)
    )
    assert np.genfromtxt("made_any.csv", delimiter=",", names=True)["y"].std() > 8
    assert (tmp_path / "run/figures/conditions.png").is_file()
    assert any(
        "PCA and the trivial model are not" in note for note in open_run("run").evaluation["notes"]
    )
    capsys.readouterr()
    for given, message in {
        "kind=c mass=50": "'kind' must be one of a, b; got 'c'",
        "kind=a mass=much": "'mass' must be a number; got 'much'",
        "kind": "of the form name=value; got kind",
        "kind=a": "must be given kind and mass; got kind",
    }.items():
        assert cli.run(["generate", "run", "--given", *given.split(), "--out", "no.csv"]) == 2
        assert message in capsys.readouterr().err


def test_images_come_with_a_list_of_what_the_model_was_told(tmp_path, monkeypatch):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    small = ["--hidden", "4", "--latent-dim", "1", "--epochs", "1", "--nll-samples", "1"]
    assert cli.run(["train", "digits", "--condition", "label", *small, "--out", "run"]) == 0
    assert (
        cli.run(["generate", "run", "--count", "12", "--given", "label=3", "--out", "threes"]) == 0
    )
    lines = (tmp_path / "threes/given.csv").read_text().splitlines()
    assert lines == [
        "file,label",
        *(f"{number:02},3".replace(",", ".png,") for number in range(1, 13)),
    ]
    assert cli.run(["reconstruct", "run", "--out", "own"]) == 0
    labels = read("digits").test.labels.tolist()
    with open("own/given.csv", newline="") as file:
        assert [int(line["label"]) for line in csv.DictReader(file)] == labels


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            DataConfig(condition=("label",)),
            "conditioned on label needs it in every row; array has none",
        ),
        (DataConfig(condition=("mass",)), "array is not one, and got mass"),
    ],
)
def test_conditions_that_are_not_there_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        read(torch.rand(50, 3), config=config)


def test_what_rows_are_told_is_part_of_the_fingerprint(tmp_path):
    """Else a run would be resumed with other conditions, or other names of categories, than it was begun with."""
    path, fingerprints = tmp_path / "made.csv", []
    write_table(path)
    text = path.read_text()
    for changed in (
        text,
        text.replace(",a,", ",A,"),
        text.replace(",b,", ",c,").replace(",a,", ",b,"),
    ):
        path.write_text(changed)
        fingerprints.append(read(path, DataConfig(condition=("kind",))).fingerprint)
    assert len(set(fingerprints)) == 3


def test_held_out_rows_must_be_told_as_well(tmp_path):
    path = tmp_path / "made.csv"
    write_table(path)
    splits = read(path, DataConfig(condition=("kind", "mass")))
    vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian", hidden=(4,)), splits.schema)
    blank = splits.test.contexts.clone()
    blank[3, :2] = 0
    with pytest.raises(ValueError, match="every row must have its kind; 1 rows have none"):
        score(vae, replace(splits.test, contexts=blank), samples=2)
    blank = splits.valid.contexts.clone()
    blank[3, :2] = 0
    config = TrainConfig(steps=2, batch_size=50)
    with pytest.raises(ValueError, match="every row must have its kind; 1 of"):
        fit(
            build_objective(vae, config),
            splits.train,
            replace(splits.valid, contexts=blank),
            config,
        )
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join([*lines[:50], "nan" + lines[50][lines[50].index(",") :], *lines[51:]])
    )
    with pytest.raises(ValueError, match=r"column 'mass' in line 51 is empty"):
        read(path, DataConfig(condition=("kind", "mass")))


# --- what lies outside the training rows --------------------------------------------------------------------------


def seen_of(*columns, categories=()):
    """Conditions of these columns of training rows, what is counted of them, and a way to ask for values."""
    names = [
        *(f"x{place}" for place in range(len(columns) - len(categories))),
        *("kind", "site")[: len(categories)],
    ]
    conditions = []
    for place, (name, column) in enumerate(zip(names, columns, strict=True)):
        known = categories[place - len(columns)] if place >= len(columns) - len(categories) else ()
        conditions.append(
            Condition(name, known) if known else Condition(name, (), column.mean(), column.std())
        )
    encoded = [
        item.encode(np.asarray(column)) for item, column in zip(conditions, columns, strict=True)
    ]
    seen = occupancy(conditions, torch.cat(encoded, 1))

    def ask(*values):
        parts = [
            item.encode(np.array([value])) for item, value in zip(conditions, values, strict=True)
        ]
        return remarks(conditions, seen, torch.cat(parts, 1))

    return seen, ask


def uniform(low, high, rows, seed=0):
    return np.random.default_rng(seed).uniform(low, high, rows)


def test_the_numbers_in_a_warning_are_those_of_the_training_rows():
    """The range, and the rows in the stated window: counted here from the rows themselves, for many questions."""
    mass, kind = (
        np.random.default_rng(0).lognormal(1, 0.5, 400),
        np.array(["a", "b"])[np.arange(400) % 2],
    )
    seen, ask = seen_of(mass, kind, categories=[("a", "b")])
    checked = 0
    for asked in np.linspace(-5, 40, 200):
        for name in "ab":
            low, high = seen.window(0, asked)
            near = (mass >= low) & (mass < high)
            assert seen.near([asked, "ab".index(name)]) == (near & (kind == name)).sum()
            for sentence in ask(asked, name):
                checked += 1
                count, rows = re.search(
                    r"(?:is|are) ([\d,]+) of ([\d,]+) training rows", sentence
                ).groups()
                assert int(count) == (near & (kind == name)).sum() and int(rows) == 400
                alone, others = re.search(
                    r"alone, (\d+) near x0 = \S+, (\d+) near kind", sentence
                ).groups()
                assert int(alone) == near.sum() and int(others) == 200
                ends = re.search(
                    r"lies outside the data: the training rows go from (\S+) to (\S+)\.", sentence
                )
                assert bool(ends) == (not mass.min() <= asked <= mass.max())
                assert not ends or ends.groups() == (f"{mass.min():.4g}", f"{mass.max():.4g}")
    assert checked > 100


@pytest.mark.parametrize("rows", [60, 300, 5000])
def test_a_planted_hole_is_found_and_the_data_around_it_are_not(rows):
    """Numbers from 0 to 4 and from 6 to 10: 4.8 to 5.2 is a hole. Of fresh rows of the law few are warned of."""
    values = uniform(0, 8, rows)
    values[values > 4] += 2
    _, ask = seen_of(values)
    for asked in (4.8, 5.0, 5.2):
        (sentence,) = ask(asked)
        assert "outside" not in sentence and f"are 0 of {rows:,} training rows" in sentence
    fresh = uniform(0, 8, 300, seed=1)
    fresh[fresh > 4] += 2
    inside = fresh[(fresh > values.min()) & (fresh < values.max())]
    assert np.mean([bool(ask(value)) for value in inside]) < 0.06


def test_the_ends_of_the_data_are_not_outside():
    """In the float32 of a context, whatever the unit."""
    for unit, offset in ((1, 0), (1e-6, 0), (1e6, 1e7), (0.01, 2000)):
        values = uniform(0, 1, 500) * unit + offset
        _, ask = seen_of(values)
        for value in (values.min(), values.max()):
            assert not any("outside" in sentence for sentence in ask(value))
        for value in (values.min() - 0.01 * unit, values.max() + 0.01 * unit):
            assert "lies outside the data" in ask(value)[0]


def test_a_hole_of_two_numbers_together_is_found_where_each_alone_is_inside():
    first, second = uniform(0, 1, 800), uniform(0, 1, 800, seed=1)
    empty = (first > 0.5) & (second > 0.5)
    _, ask = seen_of(first[~empty], second[~empty])
    (sentence,) = ask(0.75, 0.75)
    assert "are 0 of" in sentence and "outside" not in sentence
    assert min(map(int, re.findall(r"(\d+) near x\d = 0.75", sentence))) > 30
    assert ask(0.75, 0.25) == ask(0.25, 0.75) == ask(0.25, 0.25) == []


def test_categories_that_no_row_has_and_pairs_that_never_come_together():
    kind, site = (
        np.array(["a", "b"])[np.arange(300) % 2],
        np.array(["north", "south"])[np.arange(300) // 2 % 2],
    )
    together = (kind == "a") & (site == "south")
    seen, ask = seen_of(
        kind[~together], site[~together], categories=[("a", "b", "c"), ("north", "south")]
    )
    assert seen.step == (0, 0) and ask("b", "south") == ask("a", "north") == []
    (sentence,) = ask("a", "south")
    assert "Near kind = a and site = south are 0 of 225" in sentence
    assert "alone, 75 near kind = a, 75 near site = south" in sentence
    assert "are 0 of 225 training rows" in ask("c", "north")[0]


def test_whole_numbers_are_near_to_their_neighbours_and_no_further():
    """Engines of 3, 4, 5, 6 and 8 cylinders: 7 is a hole. Ages from 20 to 60: half a year is none."""
    cylinders = np.repeat([3.0, 4, 5, 6, 8], [10, 300, 20, 200, 150])
    _, ask = seen_of(cylinders)
    assert ask(4) == ask(4.5) == ask(8) == [] and "are 0 of" in ask(7)[0]
    _, ask = seen_of(np.random.default_rng(0).integers(20, 61, 20_000).astype(float))
    assert all(ask(age) == [] for age in np.arange(20, 60.5, 0.5))


def test_many_numbers_and_rare_categories_do_not_warn_of_the_data_themselves():
    """Of fresh rows of the law of four conditions at most 15 % are warned of."""
    random = np.random.default_rng(0)
    names = tuple("abcdefgh")

    def rows(count):
        kind = random.choice(names, count)
        return (
            random.normal(0, 3, count),
            random.exponential(2, count),
            random.normal(5, 1, count),
            kind,
        )

    seen, ask = seen_of(*rows(3000), categories=[names])
    assert np.mean([bool(ask(*row)) for row in zip(*rows(200), strict=True)]) < 0.15
    assert len(seen.cells) <= 4096 and sum(seen.counts) == 3000


def test_things_that_are_asked_for_at_once_are_told_once_each_and_not_by_thousands():
    conditions = [Condition("mass")]
    seen = occupancy(conditions, torch.linspace(0, 1, 200)[:, None])
    asked = torch.cat([torch.full((500, 1), 0.5), torch.arange(10, 17).repeat(100)[:, None]])
    sentences = remarks(conditions, seen, asked)
    assert [sentence[:9] for sentence in sentences[:3]] == ["mass = 10", "mass = 11", "mass = 12"]
    assert sentences[3].startswith("4 more of 8 different things") and len(sentences) == 4


def test_rows_whose_label_is_hidden_are_not_counted():
    splits = read("digits", DataConfig(condition=("label",), labelled=50))
    assert splits.schema.occupancy.rows == 50 and splits.schema.occupancy.counts == (5,) * 10
    assert splits.schema.unseen(splits.schema.context({"label": 3})) == []


def test_what_was_seen_is_kept_with_the_model_and_damage_is_refused(tmp_path):
    write_table(tmp_path / "made.csv")
    schema = read(tmp_path / "made.csv", DataConfig(condition=("kind", "mass"))).schema
    values = json.loads(json.dumps(schema.to_dict()))
    assert Schema.from_dict(values) == schema and schema.occupancy.rows > 300
    older = {name: value for name, value in values.items() if name != "occupancy"}
    assert Schema.from_dict(older) == replace(schema, occupancy=None)
    assert Schema.from_dict(older).unseen(schema.context({"kind": "a", "mass": 1e6})) == []
    for name, wrong in {
        "counts": [1],
        "cells": [[0]] * len(values["occupancy"]["cells"]),
        "step": [0.0, -1.0],
        "low": ["x", "y"],
        "few": -1,
        "rows": 7,
    }.items():
        with pytest.raises(ValueError):
            Schema.from_dict(values | {"occupancy": values["occupancy"] | {name: wrong}})
    with pytest.raises(ValueError, match="must have the keys"):
        Schema.from_dict(values | {"occupancy": {}})


def test_commands_and_python_say_what_lies_outside(tmp_path, monkeypatch, capsys):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "made.csv")
    options = "--condition kind mass --likelihood gaussian --latent-dim 2 --hidden 8 --epochs 2 --nll-samples 2"
    assert cli.run(["train", "made.csv", *options.split(), "--out", "run"]) == 0
    np.save("points.npy", np.zeros((3, 2)))
    for number, command in enumerate(
        (["generate", "run"], ["decode", "run", "points.npy"], ["reconstruct", "run"])
    ):
        for asked in (50, 95):
            capsys.readouterr()
            out = ["--out", f"{number}-{asked}.csv"]
            assert cli.run([*command, "--given", "kind=b", f"mass={asked}", *out]) == 0
            output = capsys.readouterr().out
            assert output.startswith("Warning: mass = 95 lies outside the data") == (asked == 95)
    assert (
        cli.run(["reconstruct", "run", "--given", "kind=b", "mass=95", "--json", "--out", "j.csv"])
        == 0
    )
    assert "lies outside" in json.loads(capsys.readouterr().out)["warnings"][0]
    made = load("run")
    made.sample(3, given={"kind": "a", "mass": [50, 51, 52]})
    for call in (made.sample, lambda _, given: made.decode(np.zeros((2, 2)), given=given)):
        with pytest.warns(UserWarning, match="mass = 95 lies outside the data") as warned:
            call(2, given={"kind": "a", "mass": [50, 95]})
        assert [Path(item.filename).name for item in warned] == ["test_conditions.py"]
    # An older run has no counts in its model: its data are read again, and where they are gone that is said.
    opened = open_run("run")
    object.__setattr__(opened.vae.schema, "occupancy", None)
    context = opened.vae.schema.context({"kind": "b", "mass": 95})
    assert unseen(opened, context)[0].startswith("mass = 95 lies outside the data")
    Path("made.csv").unlink()
    assert unseen(opened, context)[0].startswith(
        "Whether the training rows have what is asked for is not known"
    )


def test_the_page_counts_what_python_counts(tmp_path):
    write_table(tmp_path / "made.csv")
    schema = read(tmp_path / "made.csv", DataConfig(condition=("kind", "mass"))).schema
    conditions = [
        {
            "name": item.name,
            "categories": list(item.categories),
            "shift": item.shift,
            "scale": item.scale,
        }
        for item in schema.conditions
    ]
    scripts = resources.files("variform.pages") / "script"
    with MiniRacer() as context:
        context.eval(scripts.joinpath("bundle.js").read_text(encoding="utf-8"))
        counted = json.dumps(schema.occupancy.to_dict())
        context.eval(f"const seen = new variform.Occupancy({counted}, {json.dumps(conditions)});")
        for mass in np.linspace(20, 80, 101):
            for place, kind in enumerate("ab"):
                asked = schema.context({"kind": kind, "mass": mass})
                script = f"Float32Array.from({asked.tolist()})"
                number = asked[2].item() * schema.conditions[1].scale + schema.conditions[1].shift
                assert context.eval(f"seen.near(seen.values({script}))") == schema.occupancy.near(
                    [place, number]
                )
                remark = context.eval(f"seen.remark({script})")
                sentences = schema.unseen(asked)
                assert bool(remark) == bool(sentences)
                assert ("outside" in remark) == any("outside" in sentence for sentence in sentences)
