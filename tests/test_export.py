"""Files: what is saved comes back bit for bit, what is damaged is refused, and nothing in a file is executed."""

import json
import os
import pickle
import stat

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from variform import VAE, ModelConfig, TrainConfig, build_objective, build_vae, fit, read, save
from variform.export.inspection import inspect
from variform.export.model_file import load_vae
from variform.export.rows import write_images, write_rows
from variform.model.likelihoods import BernoulliLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior
from variform.system.files import replacing, to_json, write_text
from variform.system.sealing import FORMAT, checksum

TABLE = read(np.random.default_rng(0).normal([3, -70], [1, 20], (200, 2)), name="designs")
MODELS = {
    "bernoulli": (
        "digits",
        ModelConfig(
            likelihood="bernoulli", latent_dim=3, hidden=(6, 5), decoder_hidden=(4,), dropout=0.1
        ),
    ),
    "gaussian": (
        "table",
        ModelConfig(latent_dim=2, likelihood="gaussian", hidden=(), posterior_std="exp"),
    ),
    "gaussian-shared": (
        "digits",
        ModelConfig(latent_dim=1, likelihood="gaussian-shared", hidden=(3,)),
    ),
    "full, mixture": (
        "digits",
        ModelConfig(
            likelihood="bernoulli",
            latent_dim=3,
            posterior="full",
            prior="mixture",
            components=3,
            hidden=(4,),
        ),
    ),
    "vamp": (
        "digits",
        ModelConfig(likelihood="bernoulli", latent_dim=2, prior="vamp", components=3, hidden=(4,)),
    ),
    "vamp of a table": (
        "table",
        ModelConfig(latent_dim=2, likelihood="gaussian", prior="vamp", components=3, hidden=(4,)),
    ),
    "iaf, flow": (
        "digits",
        ModelConfig(
            likelihood="bernoulli",
            latent_dim=2,
            posterior="iaf",
            prior="flow",
            transforms=2,
            hidden=(4,),
        ),
    ),
    "gaussian-identity": (
        "table",
        ModelConfig(latent_dim=2, likelihood="gaussian-identity", activation="gelu"),
    ),
    "conv": (
        "digits",
        ModelConfig(
            likelihood="bernoulli", network="conv", filters=(3, 2), hidden=(5,), gated=True
        ),
    ),
    "residual": (
        "digits",
        ModelConfig(
            likelihood="bernoulli", network="residual", filters=(2,), hidden=(), layer_norm=True
        ),
    ),
    "gaussian-per-feature": (
        "table",
        ModelConfig(latent_dim=1, likelihood="gaussian-per-feature", hidden=(3,)),
    ),
    "gaussian-optimal": (
        "digits",
        ModelConfig(latent_dim=1, likelihood="gaussian-optimal", hidden=(3,)),
    ),
    "logistic": ("digits", ModelConfig(latent_dim=1, likelihood="logistic", hidden=(3,))),
}


def model(name="bernoulli"):
    """A model after one step of training."""
    source, config = MODELS[name]
    data = read("digits") if source == "digits" else TABLE
    vae = build_vae(config, data.schema, moments=data.train.moments())
    steps = TrainConfig(steps=1)
    fit(build_objective(vae, steps), data.train, data.valid, steps)
    return vae, data


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of a small model file."""
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    save(
        build_vae(
            ModelConfig(likelihood="bernoulli", latent_dim=1, hidden=(2,)),
            read(torch.rand(60, 2)).schema,
        ),
        path,
    )
    return path.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_saved_and_loaded_models_give_the_same_bits(name, dtype, tmp_path):
    vae, data = model(name)
    vae, path = vae.to(dtype), tmp_path / "model.safetensors"
    save(vae, path)
    again = load_vae(path)
    assert (again.config, again.schema, again.training) == (vae.config, vae.schema, False)
    x, z = (
        data.test.prepared().to(dtype),
        torch.linspace(-3, 3, 7, dtype=dtype)[:, None].expand(7, vae.latent_dim),
    )
    with torch.no_grad():
        for first, second in ((vae.encode(x), again.encode(x)), (vae.decode(z), again.decode(z))):
            assert (
                torch.equal(first.mean, second.mean)
                and first.mean.dtype == second.mean.dtype == dtype
            )
        assert torch.equal(vae.encode(x).stddev, again.encode(x).stddev)
        assert torch.equal(vae.decode(z).log_prob(x[0]), again.decode(z).log_prob(x[0]))
        samples = []
        for one in (vae, again):
            torch.manual_seed(0)
            samples.append(one.sample(5))
        assert torch.equal(*samples)
    save(again, tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert inspect(path)["weights"] == sum(value.numel() for value in vae.parameters())


def test_a_vae_put_together_by_hand_is_not_saved(tmp_path):
    parts = {
        "posterior": DiagonalPosterior(1),
        "prior": StandardNormalPrior(1),
        "likelihood": BernoulliLikelihood((2,)),
    }
    with pytest.raises(ValueError, match="put together by hand"):
        save(VAE(MLP((2,), (2, 1)), MLP((1,), (2,)), **parts), tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


# --- damaged, foreign and hostile files ---------------------------------------------------------------------------


def assert_refused(path, content, match=None):
    path.write_bytes(content)
    for reader in (load_vae, inspect):
        with pytest.raises(ValueError, match=match):
            reader(path)


def test_a_file_cut_short_is_refused(saved, tmp_path):
    for length in {0, 1, 7, 8, 9, len(saved) - 1, *range(0, len(saved), 61)}:
        assert_refused(tmp_path / "model.safetensors", saved[:length])
    assert_refused(tmp_path / "model.safetensors", saved + b"\0")


@pytest.mark.parametrize("flip", [0xFF, 0x01])
def test_a_flipped_byte_is_refused(saved, tmp_path, flip):
    for position in {*range(9), *range(0, len(saved), 97), len(saved) - 1}:
        changed = bytearray(saved)
        changed[position] ^= flip
        assert_refused(tmp_path / "model.safetensors", bytes(changed))


def edited(content, path, change, *, seal=True):
    """The model file with a changed header, its checksum made right again as an attacker would."""
    path.write_bytes(content)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["variform"])
    tensors = load_file(path)
    change(header)
    if seal:
        blank = json.dumps(header | {"sha256": ""}, sort_keys=True)
        header["sha256"] = checksum(blank, tensors)
    save_file(tensors, path, metadata={"variform": json.dumps(header, sort_keys=True)})
    return path.read_bytes()


def test_edited_metadata_are_refused(saved, tmp_path):
    path = tmp_path / "model.safetensors"
    assert edited(saved, path, lambda header: None) == saved
    grow = lambda header: header["model"].update(latent_dim=2)  # noqa: E731
    assert_refused(path, edited(saved, path, grow, seal=False), "checksum differs")
    for change, message in (
        (grow, "weights that its configuration describes"),
        (lambda header: header["schema"].update(shape=[3]), None),
        (lambda header: header["schema"].update(shape="os.system('true')"), None),
        (lambda header: header["schema"].pop("kind"), "kind"),
        (lambda header: header["model"].update(likelihood="__import__"), "must be one of"),
        (lambda header: header["model"].update(hidden=["2"]), "must be a whole number"),
        (lambda header: header.pop("model"), "model"),
        (lambda header: header.update(model=[]), None),
        (lambda header: header.update(schema=7), None),
    ):
        path.write_bytes(edited(saved, path, change))
        with pytest.raises(ValueError, match=message):
            load_vae(path)


def test_a_file_of_format_1_is_read(saved, tmp_path):
    path = tmp_path / "model.safetensors"

    def age(header):
        header.update(format=1)
        for name in ("whole", "conditions", "kinds", "categories", "gaps"):
            header["schema"].pop(name)

    path.write_bytes(saved)
    known = load_vae(path)
    path.write_bytes(edited(saved, path, age))
    assert load_vae(path).schema == known.schema and inspect(path)["format"] == 1
    z = known.like(torch.zeros(3, 1))
    assert torch.equal(load_vae(path).decode(z).mean, known.decode(z).mean)


def test_a_newer_format_asks_for_an_update(saved, tmp_path):
    path = tmp_path / "model.safetensors"
    content = edited(saved, path, lambda header: header.update(format=FORMAT + 1), seal=False)
    assert_refused(
        path,
        content,
        f"must have format {FORMAT} or older; it has format {FORMAT + 1}.*Update variform",
    )


def test_files_of_others_are_refused_and_nothing_in_them_runs(tmp_path):
    path, witness = tmp_path / "model.safetensors", tmp_path / "witness"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(witness),)

    assert_refused(path, pickle.dumps(Payload()), "whole safetensors file")
    torch.save({"weight": Payload()}, path)
    assert_refused(path, path.read_bytes(), "whole safetensors file")
    assert not witness.exists()
    for metadata in (
        None,
        {"format": "pt"},
        {"variform": "[1]"},
        {"variform": "{"},
        {"variform": '{"format": "1"}'},
    ):
        save_file({"weight": torch.ones(2)}, path, metadata=metadata)
        assert_refused(path, path.read_bytes(), "must be a model of variform")
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is none at"):
            load_vae(missing)


# --- data for other programs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_come_back_as_they_were(tmp_path, dtype):
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(dtype) * [1e-30, 1, 1e30]
    values[0] = [0.1, -0.0, np.finfo(dtype).max]
    values = values.astype(dtype)
    write_rows(tmp_path / "rows.npy", values, "abc")
    write_rows(tmp_path / "rows.csv", values, ["a", 'b, "quoted"', "c\nd"])
    assert np.load(tmp_path / "rows.npy").tobytes() == values.tobytes()
    head, text = (tmp_path / "rows.csv").read_text().split('d"\n', 1)
    assert head == 'a,"b, ""quoted""","c\n'
    assert np.loadtxt(text.splitlines(), delimiter=",", dtype=dtype).tobytes() == values.tobytes()
    assert text.startswith("0.1,-0.0,")  # the shortest form, also of a float32


def test_images_come_back_within_half_a_grey_level(tmp_path):
    for channels in (1, 3):
        images = np.random.default_rng(0).uniform(-2, 6, (11, channels, 4, 5))
        images[0, 0, 0, :2] = [-9, 99]  # clipped
        write_images(tmp_path / str(channels), images, (-2.0, 6.0))
        names = sorted(path.name for path in (tmp_path / str(channels)).iterdir())
        assert names == [f"{number:02d}.png" for number in range(1, 12)]
        pixels = np.stack(
            [np.asarray(Image.open(tmp_path / str(channels) / name)) for name in names]
        )
        pixels = pixels[:, None] if channels == 1 else pixels.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(
            pixels / 255 * 8 - 2, images.clip(-2, 6), atol=8 / 255 / 2 + 1e-12
        )
    write_images(tmp_path / "constant", np.full((1, 1, 2, 2), 7.0), (7.0, 7.0))


def test_nothing_is_overwritten(tmp_path):
    values = np.zeros((2, 2))
    for name in ("rows.csv", "rows.npy"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(FileExistsError, match="must be a new file"):
            write_rows(tmp_path / name, values, "ab")
        with pytest.raises(FileExistsError, match="must be new or empty"):
            write_images(tmp_path / name, np.zeros((1, 1, 2, 2)), (0, 1))
        assert (tmp_path / name).read_text() == "mine"
    with pytest.raises(FileExistsError, match="must be new or empty"):
        write_images(tmp_path, np.zeros((1, 1, 2, 2)), (0, 1))
    for name, shape, match in (
        ("rows.txt", (2, 2), r"must end in \.npy"),
        ("new.csv", (2, 1, 2), "must hold flat rows"),
    ):
        with pytest.raises(ValueError, match=match):
            write_rows(tmp_path / name, np.zeros(shape), "ab")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        write_rows(tmp_path / "nowhere" / "rows.csv", values, "ab")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "rows.npy"]


# --- whole or not at all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, saved, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "text", "")
        write_rows(tmp_path / "rows.npy", np.zeros((1, 1)), "a")
        write_images(tmp_path / "images", np.zeros((1, 1, 2, 2)), (0, 1))
        (tmp_path / "plain").touch()
        save(model()[0], tmp_path / "model.safetensors")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o666 & ~umask}


@pytest.mark.parametrize(
    "error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "Ctrl-C"]
)
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "note.txt"
    write_text(path, "old")
    with pytest.raises(type(error)), replacing(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert [item.name for item in tmp_path.iterdir()] == ["note.txt"] and path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["note.txt"] and path.read_text() == "new"


def test_a_full_disk_is_an_oserror_and_leaves_the_old_model(tmp_path, saved):
    resource = pytest.importorskip("resource")
    path = tmp_path / "model.safetensors"
    path.write_bytes(saved)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(model()[0], path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == saved and len(list(tmp_path.iterdir())) == 1


def test_json_is_strict():
    values = {
        "a": [1.5, math_nan := float("nan"), -float("inf")],
        "b": {"c": 0.1 + 0.2, "d": "NaN"},
    }
    assert math_nan != math_nan
    strict = json.loads(to_json(values), parse_constant=lambda name: pytest.fail(name))
    assert strict == {"a": [1.5, None, None], "b": {"c": 0.1 + 0.2, "d": "NaN"}}
