"""Training from another model: what it takes over, where codes are afterwards, and more epochs of the same run."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from variform import DataConfig, ModelConfig, RunConfig, TrainConfig, read
from variform.config.commented import to_commented
from variform.config.options import in_options
from variform.config.run import EvaluationConfig
from variform.config.toml import from_toml, to_command
from variform.data.reading import read_like
from variform.evaluation import exploration
from variform.model.alignment import Alignment, move
from variform.runs.folder import Run, open_run
from variform.runs.plan import begun, prepare
from variform.runs.records import read_axes
from variform.runs.retraining import axes_in_words, keep_axes
from variform.runs.train import resume_run, train_run
from variform.training.history import epochs as epochs_of
from variform.training.schedule import learning_rate

FEW = EvaluationConfig(nll_samples=10)


def designs(rows, seed=0, far=0.0):
    random = np.random.default_rng(seed)
    z = random.normal(size=(rows, 2)) + far
    x = np.tanh(z @ [[1.0, 0.5, -0.3, 0.2], [0.1, -0.8, 0.6, 0.9]]) + 0.1 * random.normal(
        size=(rows, 4)
    )
    frame = pd.DataFrame(x, columns=list("abcd"))
    return frame.assign(lift=x.sum(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retraining")
    old, new = designs(200), designs(40, 1, far=1.0)
    old.to_csv(folder / "old.csv", index=False)
    pd.concat([old, new]).to_csv(folder / "more.csv", index=False)
    pd.DataFrame([[0.5, -0.5], [1.0, 1.0]], columns=["z1", "z2"]).to_csv(
        folder / "pins.csv", index=False
    )
    return folder


@pytest.fixture(scope="module")
def old(folder):
    """A run of rows with a response, and a posterior that can be turned."""
    torch.set_default_dtype(torch.float64)
    config = RunConfig(
        source=str(folder / "old.csv"),
        data=DataConfig(response=("lift",)),
        model=ModelConfig(
            latent_dim=2, hidden=(8,), likelihood="gaussian-per-feature", posterior="full"
        ),
        train=TrainConfig(epochs=10),
        evaluation=FEW,
    )
    return train_run(config, folder / "old", pictures=False)


def started(folder, **changes):
    whole = {"source": str(folder / "more.csv"), "start": str(folder / "old"), "evaluation": FEW}
    return RunConfig(**whole | changes)


# --- what is taken over -------------------------------------------------------------------------------------------


def test_new_rows_are_scaled_as_the_old_ones_and_old_ones_stay_in_their_part(folder, old):
    config = begun(started(folder))
    plan = prepare(config)
    splits, vae = plan.splits, plan.vae
    known, before = old.data(), old.vae.schema
    assert config.model == old.config.model and config.data.response == ("lift",)
    assert (splits.schema.shift, splits.schema.scale) == (before.shift, before.scale)
    own = read(folder / "more.csv", DataConfig(response=("lift",))).schema
    assert own.shift != before.shift and splits.schema.high == own.high
    for part in ("train", "valid", "test"):
        rows = {tuple(row) for row in getattr(splits, part).raw.tolist()}
        assert {tuple(row) for row in getattr(known, part).raw.tolist()} <= rows
    assert splits.train.responses["lift"].shape == (len(splits.train),)
    x = known.test.prepared()
    assert torch.equal(vae.eval().encode(x).mean, old.vae.encode(x).mean)
    assert torch.equal(vae.reconstruct(x), old.vae.reconstruct(x))


def test_categories_keep_their_numbers_and_unknown_ones_are_refused():
    size = np.linspace(-1, 3, 90)
    first = read({"size": size, "wood": ["ash", "oak", "pine"] * 30})
    more = read_like({"size": 2 * size, "wood": ["pine", "oak"] * 45}, first.schema)
    assert more.schema.categories == first.schema.categories
    assert set(more.train.raw[:, 1].tolist()) == {1.0, 2.0}
    with pytest.raises(ValueError, match="elm"):
        read_like({"size": size, "wood": ["pine", "elm"] * 45}, first.schema)


def test_pseudo_inputs_stay_where_they_are_in_a_wider_range(folder, tmp_path):
    model = ModelConfig(
        latent_dim=2, hidden=(8,), likelihood="gaussian", prior="vamp", components=5
    )
    config = RunConfig(
        source=str(folder / "old.csv"), model=model, train=TrainConfig(epochs=2), evaluation=FEW
    )
    run = train_run(config, tmp_path / "old", pictures=False)
    wide = designs(200) * 3
    wide.to_csv(tmp_path / "wide.csv", index=False)
    config = RunConfig(source=str(tmp_path / "wide.csv"), start=str(tmp_path / "old"))
    vae = prepare(begun(config)).vae
    assert not torch.equal(vae.prior.raw, run.vae.prior.raw)
    torch.testing.assert_close(vae.prior.pseudo_inputs, run.vae.prior.pseudo_inputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": ModelConfig(latent_dim=5)},
            r"must have its model; `latent_dim=5` is 2 there\. Leave",
        ),
        ({"data": DataConfig(condition=("lift",))}, "must have its conditions, none; got lift"),
        ({"data": DataConfig(ignore=("a",))}, "lacks .a."),
        ({"start": "nowhere"}, "`start` must be the folder of a run or a model file"),
        (
            {"bookmarks": "pins.csv", "start": None},
            "`bookmarks` are points of the model that a training",
        ),
        ({"bookmarks": "nowhere.csv"}, "nowhere.csv"),
    ],
    ids=["structure", "conditions", "columns", "nothing", "bookmarks", "no pins"],
)
def test_what_does_not_fit_is_refused(folder, old, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare(begun(started(folder, **changes)))


def test_bookmarks_are_read_before_the_first_step(folder, old):
    with pytest.raises(ValueError, match="`bookmarks` must be points of the 2 latents"):
        begun(started(folder, bookmarks=str(folder / "more.csv")))


def test_a_training_does_not_overwrite_what_it_starts_from(folder, old):
    with pytest.raises(ValueError, match="model of another folder"):
        train_run(started(folder), folder / "old", overwrite=True)
    assert (folder / "old" / "model.safetensors").is_file()


def test_the_option_has_its_name_in_messages_and_commands(folder):
    assert in_options("Leave `start` out.") == "Leave --from out."
    config = started(folder, bookmarks="pins.csv")
    assert " --from " in to_command(config)
    assert from_toml(to_commented(config)) == config


# --- axes ---------------------------------------------------------------------------------------------------------


def test_axes_that_were_turned_are_turned_back(folder, old):
    """A model with the old one's p(x) and other axes: then every code is where it was."""
    vae = open_run(folder / "old").vae
    turn = stats.ortho_group.rvs(2, random_state=0)
    move(vae, Alignment("rotation", turn, np.zeros(2)))
    config = dataclasses.replace(begun(started(folder)), bookmarks=str(folder / "pins.csv"))
    run = Run(folder / "turned", config, vae)
    alignment, axes = keep_axes(run, old.data())
    np.testing.assert_allclose(alignment.turn, turn.T, atol=1e-5)
    assert axes["as_trained"]["median"] > 0.1 and axes["aligned"]["most"] < 1e-5
    assert all(point["moved"] < 1e-5 for point in axes["bookmarks"])
    assert axes_in_words(axes).endswith("Bookmarks stay within 10%.")
    codes = [exploration.encode(one, old.data().test)[0] for one in (vae, old.vae)]
    np.testing.assert_allclose(*codes, atol=1e-5)


@pytest.fixture(scope="module")
def retrained(folder, old):
    torch.set_default_dtype(torch.float64)
    config = started(folder, train=TrainConfig(epochs=4), bookmarks=str(folder / "pins.csv"))
    return train_run(config, folder / "new", pictures=False)


def test_a_run_says_how_far_codes_moved(folder, old, retrained):
    axes = read_axes(folder / "new" / "axes.json")
    rows = old.data().train
    before, after = (
        exploration.encode(one.vae, rows)[0] for one in (old, open_run(folder / "new"))
    )
    radius = np.median(np.linalg.norm(before, axis=1))
    shares = np.linalg.norm(after - before, axis=1) / radius
    assert axes["count"] == len(rows) and axes["kind"] == "rotation"
    assert axes["radius"] == pytest.approx(radius)
    assert axes["aligned"]["median"] == pytest.approx(np.median(shares), rel=1e-4)
    assert axes["aligned"]["most"] == pytest.approx(np.quantile(shares, 0.9), rel=1e-4)
    assert [point["z"] for point in axes["bookmarks"]] == [[0.5, -0.5], [1.0, 1.0]]
    assert f"{axes['aligned']['most']:.1%}" in axes_in_words(axes)


def test_a_retrained_run_is_read_resumed_and_retrained_in_its_turn(folder, retrained):
    again = open_run(folder / "new")
    assert again.data().fingerprint == retrained.data().fingerprint
    weights = load_file(folder / "new" / "model.safetensors")
    resume_run(folder / "new", pictures=False)
    for name, value in load_file(folder / "new" / "model.safetensors").items():
        assert torch.equal(value, weights[name])
    assert again.vae.posterior.turn is not None
    config = started(folder, start=str(folder / "new"))
    vae = prepare(begun(config)).vae
    assert vae.posterior.turn is None
    x = again.data().test.prepared()
    torch.testing.assert_close(
        vae.eval().reconstruct(x), again.vae.reconstruct(x), rtol=0, atol=1e-5
    )


def test_a_frozen_encoder_leaves_codes_where_they_are(folder, old, tmp_path):
    """The rest learns; stopped and resumed it ends with the same bits."""
    config = started(folder, train=TrainConfig(epochs=3, freeze="encoder", learning_rate=0.01))
    run = train_run(config, tmp_path / "run", pictures=False)
    axes = read_axes(tmp_path / "run" / "axes.json")
    assert axes["as_trained"]["most"] == 0 and axes["aligned"]["most"] < 1e-12
    assert not torch.equal(run.vae.decoder.output.weight, old.vae.decoder.output.weight)
    assert all(parameter.requires_grad for parameter in run.vae.parameters())
    resume_run(tmp_path / "run", epochs=5, pictures=False)
    whole = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=5))
    train_run(whole, tmp_path / "whole", pictures=False)
    longer, at_once = (load_file(tmp_path / one / "last.safetensors") for one in ("run", "whole"))
    assert all(torch.equal(longer[key], at_once[key]) for key in at_once)
    with pytest.raises(
        ValueError, match="`freeze` is for a training that starts from another model"
    ):
        RunConfig(train=config.train)


# --- more epochs --------------------------------------------------------------------------------------------------


def short(folder, **train):
    model = ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian")
    return RunConfig(
        source=str(folder / "old.csv"), model=model, train=TrainConfig(**train), evaluation=FEW
    )


def test_more_epochs_have_the_bits_of_as_many_at_once(folder, tmp_path):
    train_run(short(folder, epochs=3, schedule="constant"), tmp_path / "run", pictures=False)
    resume_run(tmp_path / "run", epochs=7, pictures=False)
    train_run(short(folder, epochs=7, schedule="constant"), tmp_path / "whole", pictures=False)
    for name in ("model.safetensors", "last.safetensors"):
        longer, whole = (load_file(tmp_path / one / name) for one in ("run", "whole"))
        assert all(torch.equal(longer[key], whole[key]) for key in whole)
    losses = [[row["valid_loss"] for row in epochs_of(tmp_path / one)] for one in ("run", "whole")]
    assert losses[0] == losses[1] and len(losses[0]) == 7
    assert open_run(tmp_path / "run").config.train.epochs == 7


def test_a_cosine_is_that_of_the_longer_training_and_patience_begins_anew(folder, tmp_path):
    config = short(folder, epochs=12, schedule="cosine", patience=1, learning_rate=0.1)
    train_run(config, tmp_path / "run", pictures=False)
    done = len(epochs_of(tmp_path / "run"))
    assert done < 12  # such a rate is soon no better
    (tmp_path / "run" / "sampler-gmm.safetensors").write_text("fitted to the weights of before")
    said = []
    resume_run(tmp_path / "run", epochs=40, pictures=False, tell=said.append)
    rows = epochs_of(tmp_path / "run")
    assert len(rows) > done
    last, total = rows[done]["step"] - 1, 40 * rows[0]["step"]
    whole = dataclasses.replace(config.train, epochs=40)
    assert rows[done]["learning_rate"] == learning_rate(whole, last, total)
    assert [sentence.split()[0] for sentence in said] == ["goes", "the", "patience"]
    assert (tmp_path / "run" / "replaced-1" / "sampler-gmm.safetensors").is_file()


def test_epochs_that_are_not_more_are_refused(folder, tmp_path):
    train_run(short(folder, epochs=3), tmp_path / "run", pictures=False)
    before = (tmp_path / "run" / "config.toml").read_text()
    with pytest.raises(ValueError, match=r"`epochs` must be more than the 3 of the run.* got 3"):
        resume_run(tmp_path / "run", epochs=3)
    train_run(short(folder, steps=5), tmp_path / "steps", pictures=False)
    with pytest.raises(ValueError, match="whose length is one of epochs; this one has `steps=5`"):
        resume_run(tmp_path / "steps", epochs=30)
    assert (tmp_path / "run" / "config.toml").read_text() == before


def test_a_change_beside_the_epochs_is_refused(folder, tmp_path):
    train_run(short(folder, epochs=3), tmp_path / "run", pictures=False)
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text().replace("learning_rate = 0.003", "learning_rate = 0.002"))
    with pytest.raises(ValueError, match="it comes from another"):
        resume_run(tmp_path / "run", epochs=5)
