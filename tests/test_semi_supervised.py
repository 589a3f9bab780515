"""M2: its loss against the paper's formulas written out, and what it makes of few labels."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from variform import (
    DataConfig,
    ModelConfig,
    TrainConfig,
    build_objective,
    build_vae,
    evaluate,
    fit,
    read,
    save,
)
from variform.export.model_file import load_vae
from variform.faces.cli import commands
from variform.objectives import ELBO, SemiSupervised
from variform.runs.folder import open_run

FEW = DataConfig(condition=("label",), labelled=50)


@pytest.fixture(scope="module")
def few():
    return read("digits", FEW)


def small(schema):
    return build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,), classifier=True), schema
    )


def test_so_many_labels_are_kept_of_each_class_and_the_others_are_hidden(few):
    train, whole = few.train, read("digits", DataConfig(condition=("label",)))
    known = train.labels >= 0
    assert torch.bincount(train.labels[known]).tolist() == [5] * 10
    assert (train.contexts.sum(1) > 0).equal(known) and train.labels[known].equal(
        whole.train.labels[known]
    )
    torch.testing.assert_close(
        train.contexts[known], torch.eye(10)[train.labels[known]], check_dtype=False
    )
    assert few.test.labels.equal(whole.test.labels) and (few.valid.contexts.sum(1) == 1).all()


def test_the_loss_is_the_one_of_the_paper(few):
    """Row by row and label by label: known, L(x, y) and the classifier's term; else the sum over y and the entropy."""
    vae = small(few.schema).to(torch.float64)
    rows = torch.cat(
        [(few.train.labels >= 0).nonzero()[:3, 0], (few.train.labels < 0).nonzero()[:4, 0]]
    )
    x, context = vae.batch(few.train, rows)
    torch.manual_seed(0)
    terms = SemiSupervised(vae, alpha=7.0, samples=2, kl="closed-form")(x, context)
    torch.manual_seed(0)
    likelihood, divergence = [], []
    for label in range(10):  # in the order in which the objective draws
        context = torch.eye(10, dtype=x.dtype)[[label] * len(x)]
        q = vae.encode(x, context)
        z = q.rsample((2,))
        likelihood.append(vae.decode(z, context).log_prob(x).mean(0).detach().numpy())
        mean, variance = q.mean.detach().numpy(), q.variance.detach().numpy()
        divergence.append(0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(1))
    bound = np.array(likelihood) - np.array(divergence) + math.log(1 / 10)  # L(x, y), (10, 7)
    logits = vae.classifier(x).detach().numpy()
    q_y = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for row in range(7):
        label = int(few.train.labels[rows[row]])
        if row < 3:
            elbo = bound[label, row] + math.log(10)  # of p(x|y), as an evaluation has it
            loss = -bound[label, row] - 7.0 * math.log(q_y[row, label])
        else:
            elbo = sum(q_y[row, y] * bound[y, row] for y in range(10)) + math.log(10)
            loss = -sum(q_y[row, y] * (bound[y, row] - math.log(q_y[row, y])) for y in range(10))
        assert math.isclose(terms.elbo[row].item(), elbo, rel_tol=1e-10)
        assert math.isclose(terms.loss[row].item(), loss, rel_tol=1e-10)


def test_curves_and_table_are_of_one_quantity(few):
    """The means over validation rows of the objective and of an evaluation: KL in closed form is the same number."""
    vae = small(few.schema)
    history = fit(
        SemiSupervised(vae, samples=200), few.train, few.valid, TrainConfig(objective="m2", steps=1)
    )
    numbers = evaluate(vae, few.valid, samples=200)
    (row,) = history.rows
    assert row["valid_kl"] == pytest.approx(numbers["kl"]["mean"], rel=1e-9)
    assert row["valid_elbo"] == pytest.approx(numbers["elbo"]["mean"], abs=0.02)  # log 10 is 2.3


def test_a_certain_classifier_makes_it_the_conditional_elbo(few):
    """With q(y|x) all on one label, U(x) = L(x, y)."""
    vae = small(few.schema)
    torch.nn.init.zeros_(vae.classifier.output.weight)
    torch.nn.init.zeros_(vae.encoder.output.weight)
    with torch.no_grad():
        vae.encoder.output.bias.copy_(
            torch.tensor([0.3, -0.2, -60.0, -60.0])
        )  # a point, so that both draw the same z
        vae.classifier.output.bias.copy_(1e3 * torch.eye(10)[4])
    x, context = vae.batch(few.train, (few.train.labels < 0).nonzero()[:5, 0])
    given = torch.eye(10, dtype=x.dtype)[[4] * 5]
    expected = ELBO(vae)(x, given)
    torch.testing.assert_close(
        SemiSupervised(vae)(x, context).loss, expected.loss + math.log(10), rtol=1e-5, atol=0
    )


def test_hidden_labels_are_found_better_than_by_the_known_ones_alone(few, tmp_path):
    """50 labels of 1,434 rows; a logistic regression of these 50 finds 86 % of the test labels."""
    torch.set_default_dtype(torch.float32)
    config = TrainConfig(
        objective="m2", epochs=20, batch_size=128, learning_rate=3e-3, compile="off"
    )
    model = ModelConfig(likelihood="bernoulli", latent_dim=5, hidden=(128,), classifier=True)
    vae = build_vae(model, few.schema, moments=few.train.moments())
    objective = build_objective(vae, config)
    fit(objective, few.train, few.valid, config)
    numbers = evaluate(vae, few.test, samples=2)
    known = few.train.labels >= 0
    alone = LogisticRegression(max_iter=2000).fit(
        few.train.prepared().flatten(1)[known], few.train.labels[known]
    )
    assert (
        numbers["accuracy"]["mean"]
        > alone.score(few.test.prepared().flatten(1), few.test.labels) + 0.005
    )
    save(vae, tmp_path / "model.safetensors")
    x = few.test.prepared()
    assert torch.equal(
        load_vae(tmp_path / "model.safetensors").log_classify(x), vae.log_classify(x)
    )


def test_m2_from_the_command_line_and_what_it_refuses(tmp_path, monkeypatch, capsys):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    options = "train digits --condition label --labelled 100 --epochs 1 --hidden 6 --latent-dim 2 --nll-samples 2"
    assert commands.run([*options.split(), "--objective", "m2", "--out", "run"]) == 0
    assert "share of labels that the classifier finds" in capsys.readouterr().out
    assert open_run("run").vae.classifier is not None
    assert commands.run([*options.split(), "--out", "other"]) == 2
    assert (
        "must have its label" in (message := capsys.readouterr().err)
        and "--objective m2" in message
    )
    assert not (tmp_path / "other").exists()
    for wrong, expected in {
        "--labelled 55": "--labelled must be a multiple of the 10 classes of digits; got 55",
        "--labelled 2000": "needs 200 training rows of each class",
    }.items():
        command = ["train", "digits", "--condition", "label", "--objective", "m2", "--out", "no"]
        assert commands.run([*command, *wrong.split()]) == 2
        assert expected in capsys.readouterr().err
    assert commands.run(["train", "digits", "--objective", "m2", "--out", "no"]) == 2
    assert (
        "conditioned on a category first; this one is conditioned on nothing"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "no").exists()


def test_labels_that_a_table_lacks_are_inferred(tmp_path, monkeypatch, capsys):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 400)
    lines = [f"{kind * 4 + noise:.4f},{['left', 'right'][kind] if row < 60 else ''}" for row, (kind, noise) in
             enumerate(zip(kinds, rng.normal(0, 0.5, 400), strict=True))]  # fmt: skip
    (tmp_path / "some.csv").write_text("\n".join(["position,side", *lines]))
    command = "train some.csv --label side --condition label --likelihood gaussian-shared --latent-dim 1 --hidden 16"
    assert (
        commands.run(
            [
                *command.split(),
                "--objective",
                "m2",
                "--epochs",
                "60",
                "--batch-size",
                "50",
                "--out",
                "run",
            ]
        )
        == 0
    )
    run = open_run("run")
    test = run.data().test
    truth = (test.prepared()[:, 0] > 0).long()  # the two kinds are 8 standard deviations apart
    assert (run.vae.log_classify(test.prepared()).argmax(1) == truth).all() and (
        test.labels == -1
    ).any()
    assert test.contexts[test.labels == -1].sum() == 0
    assert run.evaluation["accuracy"]["n"] == (test.labels >= 0).sum()
    assert commands.run([*command.split(), "--out", "other"]) == 2
    assert "every row must have its label" in capsys.readouterr().err


def test_an_objective_without_a_classifier_is_refused(few):
    with pytest.raises(ValueError, match="needs a model with a classifier"):
        SemiSupervised(build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2), few.schema))
