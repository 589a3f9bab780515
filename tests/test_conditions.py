"""Conditional models: what they are told reaches encoder and decoder, and changes what they make."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, cli, exploration, fit, read
from variform.data import Schema, read_rows, splits_from
from variform.evaluation.density import score
from variform.objectives import ELBO, log_weights
from variform.runs import open_run


@pytest.fixture(scope="module")
def digits():
    return read("digits", DataConfig(condition=("label",)))


@pytest.fixture
def vae(digits):
    return build_vae(ModelConfig(latent_dim=3, hidden=(8,)), digits.schema)


def write_table(path, rows=400, seed=0):
    """y is 10 below a row's mass for kind a and 10 above it for kind b, with noise of 0.1; z has nothing to say."""
    rng = np.random.default_rng(seed)
    mass, kind = rng.normal(50, 4, rows), rng.integers(0, 2, rows)
    y = mass + 20 * kind - 10 + rng.normal(0, 0.1, rows)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mass", "y", "kind", "other"])
        writer.writerows(zip(mass, y, np.array(["a", "b"])[kind], rng.normal(0, 1, rows), strict=True))
    return mass, kind, y


def test_the_context_is_one_hot_and_belongs_to_its_row(digits):
    for part in (digits.train, digits.valid, digits.test):
        torch.testing.assert_close(part.contexts, torch.eye(10)[part.labels], check_dtype=False)
    some = digits.train.take(torch.tensor([5, 2]))
    assert some.contexts.argmax(1).tolist() == digits.train.labels[[5, 2]].tolist()
    told = torch.cat(list(digits.test.told(50)))
    torch.testing.assert_close(told, digits.test.contexts)
    assert Schema.from_dict(digits.schema.to_dict()) == digits.schema


def test_encoder_and_decoder_are_told(vae):
    x, context = torch.rand(4, 1, 8, 8), torch.eye(10)[[3, 1, 4, 1]].to(torch.get_default_dtype())
    hidden = torch.relu(
        torch.cat([x.flatten(1), context], 1) @ vae.encoder.layers[1].weight.T + vae.encoder.layers[1].bias
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
    assert ((scores.elbo - terms.elbo).abs() < 6 * spread).all()  # two estimates of one mean, twenty times


@pytest.mark.parametrize("known", [None, torch.zeros(4, 3)])
def test_a_missing_or_wrong_context_is_refused(vae, known):
    with pytest.raises(ValueError, match="needs a context of 10 numbers per example; got"):
        vae.encode(torch.rand(4, 1, 8, 8), known)


def test_a_model_without_conditions_refuses_a_context():
    schema = read("digits").schema
    with pytest.raises(ValueError, match=r"context of 0 numbers.*Leave context out"):
        build_vae(ModelConfig(latent_dim=2), schema).decode(torch.zeros(1, 2), torch.zeros(1, 10))


def test_what_is_generated_under_a_label_is_of_that_class(digits):
    """Judged by a classifier of real digits, which is right for 96 % of real test digits."""
    torch.set_default_dtype(torch.float32)
    config = TrainConfig(epochs=40, learning_rate=3e-3)
    vae = build_vae(ModelConfig(latent_dim=5, hidden=(128,)), digits.schema, moments=digits.train.moments())
    fit(build_objective(vae, config), digits.train, digits.valid, config)
    judge = LogisticRegression(max_iter=2000).fit(digits.train.raw.flatten(1) / 16, digits.train.labels)
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
    np.testing.assert_allclose(everything.contexts[:, 2], (mass - number.shift) / number.scale, atol=1e-5)
    train = splits.train.contexts[:, 2].double()
    assert abs(train.mean()) < 1e-5 and abs(train.std(correction=0) - 1) < 1e-5
    context = splits.schema.context({"kind": "b", "mass": 50})
    assert splits.schema.told(context) == {"kind": "b", "mass": "50"}


def test_a_table_generated_under_a_condition_follows_it(tmp_path, monkeypatch, capsys):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "made.csv")
    options = "--condition kind mass --likelihood gaussian --latent-dim 2 --hidden 64 --epochs 150 --batch-size 64"
    assert cli.run(["train", "made.csv", *options.split(), "--learning-rate", "0.003", "--out", "run"]) == 0
    told = ["--given", "kind=b", "mass=53"]
    assert cli.run(["generate", "run", "--count", "200", *told, "--out", "made_b.csv"]) == 0
    y = np.genfromtxt("made_b.csv", delimiter=",", names=True)["y"]
    assert abs(y.mean() - 63) < 1 and y.std() < 1  # the whole table has a standard deviation of 11
    with open("made_b.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(line["kind"], line["mass"]) for line in lines} == {("b", "53")}
    assert cli.run(["encode", "run", "made_b.csv", "--out", "again.csv"]) == 0  # rows as those that were read
    assert cli.run(["generate", "run", "--count", "200", "--out", "made_any.csv"]) == 0
    with open("made_any.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    offset = [float(line["y"]) - float(line["mass"]) for line in lines]  # what each row was told is what it follows
    assert all((value > 0) == (line["kind"] == "b") for value, line in zip(offset, lines, strict=True))
    assert np.genfromtxt("made_any.csv", delimiter=",", names=True)["y"].std() > 8
    assert (tmp_path / "run/figures/conditions.png").is_file()
    assert any("PCA and the trivial model are not" in note for note in open_run("run").evaluation["notes"])
    capsys.readouterr()
    for given, message in {
        "kind=c mass=50": "'kind' must be one of a, b; got 'c'",
        "kind=a mass=much": "'mass' must be a number; got 'much'",
        "kind": "of the form name=value; got kind",
        "kind=a": "must be told kind and mass; got kind",
    }.items():
        assert cli.run(["generate", "run", "--given", *given.split(), "--out", "no.csv"]) == 2
        assert message in capsys.readouterr().err


def test_images_come_with_a_list_of_what_the_model_was_told(tmp_path, monkeypatch):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    small = ["--hidden", "4", "--latent-dim", "1", "--epochs", "1", "--nll-samples", "1"]
    assert cli.run(["train", "digits", "--condition", "label", *small, "--out", "run"]) == 0
    assert cli.run(["generate", "run", "--count", "12", "--given", "label=3", "--out", "threes"]) == 0
    lines = (tmp_path / "threes/given.csv").read_text().splitlines()
    assert lines == ["file,label", *(f"{number:02},3".replace(",", ".png,") for number in range(1, 13))]
    assert cli.run(["reconstruct", "run", "--out", "own"]) == 0
    labels = read("digits").test.labels.tolist()
    with open("own/given.csv", newline="") as file:
        assert [int(line["label"]) for line in csv.DictReader(file)] == labels


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(condition=("label",)), "told the label of each row needs it; array has none"),
        (DataConfig(condition=("mass",)), "array is not a CSV file, and got mass"),
    ],
)
def test_conditions_that_are_not_there_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        splits_from(torch.rand(50, 3), config=config)


def test_what_rows_are_told_is_part_of_the_fingerprint(tmp_path):
    """Else a run would be resumed with other conditions, or other names of categories, than it was begun with."""
    path, found = tmp_path / "made.csv", []
    write_table(path)
    text = path.read_text()
    for changed in (text, text.replace(",a,", ",A,"), text.replace(",b,", ",c,").replace(",a,", ",b,")):
        path.write_text(changed)
        found.append(read(path, DataConfig(condition=("kind",))).fingerprint)
    assert len(set(found)) == 3


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
        fit(build_objective(vae, config), splits.train, replace(splits.valid, contexts=blank), config)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:50], "nan" + lines[50][lines[50].index(",") :], *lines[51:]]))
    with pytest.raises(ValueError, match=r"mass.*finite|finite.*mass"):
        read(path, DataConfig(condition=("kind", "mass")))
