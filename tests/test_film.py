"""The film of a training: its frames are the model's, it changes no bit, and it goes on when the run does."""

import numpy as np
import pytest
import torch
from PIL import Image

from variform import StopTraining, train
from variform.evaluation import exploration
from variform.export.model_file import load_vae
from variform.faces import cli
from variform.pages import film as films
from variform.runs.film import FILM, MOST_FRAMES, epochs_shown, film_of
from variform.runs.train import resume_run
from variform.system.sealing import read_sealed
from variform.training.callbacks import CallbackError

pytestmark = pytest.mark.usefixtures("single_precision")
SMALL = {"latent_dim": 2, "hidden": (16,), "epochs": 4, "nll_samples": 5}
SMALL |= {"pictures": False, "progress": False, "batch_size": 128}


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("film")
    return train("digits", out=folder / "filmed", film=True, **SMALL)


def test_frames_are_those_of_the_model_and_no_bit_changes(filmed, tmp_path):
    header, tensors = read_sealed(filmed.folder / FILM)
    assert header["film"] == [0, 1, 2, 3, 4]
    rows = filmed.data().train
    few = rows.take(exploration.spread(1000, len(rows)))
    last = load_vae(filmed.folder / "last.safetensors")
    means, _ = exploration.encode(last, few)
    np.testing.assert_array_equal(tensors["means"][-1].numpy(), means)
    assert torch.equal(tensors["labels"], few.labels)
    grid, _ = exploration.manifold(last, tensors["grid"].shape[1])
    shades = 255 * np.clip(grid / 16, 0, 1)  # digits go from 0 to 16
    np.testing.assert_allclose(tensors["grid"][-1].numpy(), shades, atol=0.5001)
    plain = train("digits", out=tmp_path / "plain", **SMALL)
    assert not (plain.folder / FILM).exists()
    for name in ("model.safetensors", "last.safetensors"):
        assert (plain.folder / name).read_bytes() == (filmed.folder / name).read_bytes()


def test_a_film_goes_on_with_its_run_to_the_same_bits(filmed, tmp_path):
    def breaks(moment):
        if moment.epoch == 2:
            raise RuntimeError("for once")

    with pytest.raises(CallbackError):
        train("digits", out=tmp_path / "broken", film=True, on_epoch=breaks, **SMALL)
    assert read_sealed(tmp_path / "broken" / FILM)[0]["film"] == [0, 1, 2]
    resume_run(tmp_path / "broken", pictures=False)
    assert (tmp_path / "broken" / FILM).read_bytes() == (filmed.folder / FILM).read_bytes()


def test_few_frames_are_kept_of_many_epochs_and_the_last_is_one():
    for epochs in (1, 7, 40, 1000):
        shown = sorted(epochs_shown(epochs))
        assert shown[0] == 1 and shown[-1] == epochs and len(shown) < MOST_FRAMES
    gaps = np.diff(sorted(epochs_shown(1000)))
    assert (np.diff(gaps) >= -1).all() and gaps[-1] > 10 * gaps[0]


def test_of_more_latents_all_frames_lie_in_the_plane_of_the_last(tmp_path):
    def enough(moment):
        if moment.epoch == 2:
            raise StopTraining("two will do")

    options = SMALL | {"latent_dim": 4}
    run = train("digits", out=tmp_path / "run", film=True, on_epoch=enough, **options)
    film = film_of(run.folder, run.vae, "digits")
    means = read_sealed(run.folder / FILM)[1]["means"].numpy().astype(float)
    assert film.epochs == [0, 1, 2] and film.grid is None
    assert film.copies.shape == (3, 18, 1, 8, 8)
    from sklearn.decomposition import PCA

    plane = PCA(2, svd_solver="full").fit(means[-1])
    for points, codes in zip(film.points, means, strict=True):
        np.testing.assert_allclose(np.abs(points), np.abs(plane.transform(codes)), atol=1e-5)


def test_draw_writes_a_gif_that_plays_once_and_a_page(filmed, tmp_path, capsys, chromium):
    assert cli.run(["draw", str(filmed.folder), "--film"]) == 0
    assert "5 frames" in capsys.readouterr().out
    with Image.open(filmed.folder / "figures" / "film.gif") as gif:
        assert gif.n_frames == 5 and "loop" not in gif.info
    page = filmed.folder / "film.html"
    assert max(page.stat().st_size, (filmed.folder / "figures" / "film.gif").stat().st_size) < 3e6
    chromium.resize(390, 700, reduced_motion="reduce")
    chromium.open(page, ready="true")
    assert chromium.run("[timer, place.value, play.textContent]") == [0, "4", "Play"]
    assert chromium.run("document.documentElement.scrollWidth <= 390")
    seen = "(place.value = 1, place.dispatchEvent(new Event('input')), [said.value, picture.alt])"
    said, alt = chromium.run(seen)
    assert said.startswith("epoch 1 of 4, validation ELBO") and alt.startswith(said)
    assert chromium.run("(play.click(), [place.value, play.textContent])") == ["1", "Pause"]
    chromium.page.wait_for_function("place.value === '4' && !timer")
    assert chromium.errors == []
    chromium.resize(390, 700, reduced_motion="no-preference")
    chromium.open(page, ready="true")
    assert chromium.run("timer") > 0


def test_a_film_too_large_gets_fewer_pixels(filmed, tmp_path, monkeypatch):
    film = film_of(filmed.folder, filmed.vae, "digits")
    monkeypatch.setattr(films, "MOST_BYTES", 110_000)
    sizes = films.write_film(film, tmp_path / "film.gif", tmp_path / "film.html")
    assert max(sizes) <= 110_000 and (tmp_path / "film.html").stat().st_size == sizes[1]


def test_what_cannot_be_filmed_or_drawn_is_refused(filmed, tmp_path, capsys):
    run = train("digits", out=tmp_path / "run", **SMALL | {"epochs": 1})
    for words in (["--film"], ["--film", "--architecture"]):
        assert cli.run(["draw", str(run.folder), *words]) == 2
    said = capsys.readouterr().err
    assert "Train with --film" in said and "without --architecture" in said
    assert cli.run(["train", "--resume", str(run.folder), "--film"]) == 2
    sharded = ["train", "digits", "--film", "--sharded", "--out", str(tmp_path / "sharded")]
    assert cli.run(sharded) == 2 and not (tmp_path / "sharded" / "config.toml").exists()
    (run.folder / FILM).write_bytes((filmed.folder / FILM).read_bytes()[:-100])
    assert cli.run(["draw", str(run.folder), "--film"]) == 2
