"""Files of several arrays, as NumPy, SciPy, h5py, MATLAB and safetensors write them: read, or refused by name."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import scipy.io
import scipy.sparse
import torch
from PIL import Image

from variform.config.data import DataConfig
from variform.data.points import read_points
from variform.data.reading import read, read_rows

NOISE = np.random.default_rng(3)
ROWS = NOISE.normal(size=(120, 4))
LABELS = np.arange(120) % 3
SPARSE = scipy.sparse.random(120, 30, 0.1, "csr", rng=np.random.default_rng(1))


def npz(path, arrays):
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def hdf5(path, arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip" if values.ndim else None)
    return path.with_suffix(".h5")


def mat(path, arrays):
    scipy.io.savemat(path.with_suffix(".mat"), arrays, do_compression=True)
    return path.with_suffix(".mat")


def mat_73(path, arrays):
    """As MATLAB's save -v7.3 does: HDF5 behind 512 bytes, each array with its axes turned round."""
    h5py = pytest.importorskip("h5py")
    path = path.with_suffix(".mat")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file[name] = np.atleast_2d(values).T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    return path


def tensors(path, arrays):
    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    safetensors.numpy.save_file(arrays, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


WRITERS = {"npz": npz, "hdf5": hdf5, "mat": mat, "mat 7.3": mat_73, "safetensors": tensors}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    return lambda arrays: WRITERS[request.param](tmp_path / "a", arrays)


def rows_of(splits):
    parts = (splits.train, splits.valid, splits.test)
    raw = torch.cat([part.gather(torch.arange(len(part))) for part in parts])
    return raw[torch.cat([part.index for part in parts]).argsort()].numpy()


@pytest.mark.parametrize("name", ["X", "features", "spectra_2019"])
def test_one_array_is_found_whatever_its_name_and_what_is_left_out_is_said(write, name):
    path = write({name: ROWS, "wavelength": np.arange(4.0), "version": np.array(2.0)})
    splits = read(path)
    np.testing.assert_array_equal(rows_of(splits), ROWS)
    assert splits.schema.classes == ()
    (note,) = [note for note in splits.notes if "`key`" in note]
    assert f"'{name}' is read, without " in note and "'wavelength' (" in note
    np.testing.assert_array_equal(read_points(path), ROWS)


def test_labels_beside_the_rows_are_labels(write):
    splits = read(write({"signals": ROWS, "y": LABELS}))
    assert splits.schema.classes == ("0", "1", "2")
    found = torch.cat([part.labels for part in (splits.train, splits.valid, splits.test)])
    index = torch.cat([part.index for part in (splits.train, splits.valid, splits.test)])
    np.testing.assert_array_equal(found, LABELS[index])
    assert not any("`key`" in note for note in splits.notes)


def test_several_arrays_are_listed_with_their_shapes_and_one_is_chosen(write):
    path = write({"first": ROWS, "second": ROWS[:, :2] * 2, "y": LABELS[:7]})
    with pytest.raises(ValueError, match=r"one array of rows.*'first' \(120, 4\).*with `key`"):
        read(path)
    config = DataConfig(key="second")
    np.testing.assert_array_equal(rows_of(read(path, config)), ROWS[:, :2] * 2)
    again = read_rows(path, read(path, config).schema, config)
    assert len(again) == 120
    with pytest.raises(ValueError, match=r"an array 'third'; it holds .*'second' \(120, 2\)"):
        read(path, DataConfig(key="third"))


def test_parts_by_name_are_the_split(write):
    path = write(
        {"x_train": ROWS[:80], "x_test": ROWS[80:], "y_train": LABELS[:80], "y_test": LABELS[80:]}
    )
    splits = read(path)
    np.testing.assert_array_equal(np.sort(splits.test.index), np.arange(80, 120))
    assert splits.schema.classes == ("0", "1", "2")


def test_pictures_whose_last_axis_counts_them_come_first(write):
    pictures = NOISE.integers(0, 256, (120, 8, 9, 3), dtype=np.uint8)
    splits = read(write({"X": np.moveaxis(pictures, 0, 3), "y": LABELS}))  # as SVHN has them
    np.testing.assert_array_equal(rows_of(splits), np.moveaxis(pictures, 3, 1))
    assert any("last axis of 'X' holds the rows" in note for note in splits.notes)


def test_damage_is_told_with_the_name_of_the_file(write):
    path = write({"x": ROWS})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ValueError, match=f"{path.name} must be a whole file"):
        read(path)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(write, monkeypatch):
    path = write({"x": ROWS})
    monkeypatch.setattr("variform.system.memory._LITTLE", 0)
    monkeypatch.setattr("variform.system.memory.available", lambda: 1000)
    with pytest.raises(ValueError, match="memory"):
        read(path)


def test_a_data_set_in_a_group_is_chosen_by_its_path(tmp_path):
    path = hdf5(tmp_path / "a", {"runs/1/pressure": ROWS, "runs/2/pressure": ROWS * 2})
    with pytest.raises(ValueError, match="'runs/1/pressure'"):
        read(path)
    splits = read(path, DataConfig(key="runs/2/pressure"))
    np.testing.assert_array_equal(rows_of(splits), ROWS * 2)
    renamed = path.rename(tmp_path / "a.nc")  # known by its first bytes
    assert read(renamed, DataConfig(key="runs/2/pressure")).fingerprint == splits.fingerprint


def test_links_to_other_files_are_not_followed(tmp_path):
    h5py = pytest.importorskip("h5py")
    hdf5(tmp_path / "secret", {"x": ROWS})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["mine"] = ROWS[:, :2]
        file["theirs"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
    np.testing.assert_array_equal(rows_of(read(tmp_path / "a.h5")), ROWS[:, :2])
    with pytest.raises(ValueError, match="an array 'theirs'"):
        read(tmp_path / "a.h5", DataConfig(key="theirs"))


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_a_sparse_matrix_is_read_as_scipy_reads_it(tmp_path, kind):
    scipy.sparse.save_npz(tmp_path / "genes.npz", SPARSE.asformat(kind))
    splits = read(tmp_path / "genes.npz")
    np.testing.assert_array_equal(rows_of(splits), SPARSE.toarray())
    assert any(
        "sparse matrix" in note and "120 rows and 30 columns" in note for note in splits.notes
    )


def test_sparse_matrices_of_other_forms_are_refused_with_the_way_out(tmp_path, monkeypatch):
    scipy.sparse.save_npz(tmp_path / "a.npz", SPARSE.asformat("bsr"))
    with pytest.raises(ValueError, match=r"sparse matrix of the format bsr. Save its toarray\(\)"):
        read(tmp_path / "a.npz")
    scipy.io.savemat(tmp_path / "a.mat", {"X": SPARSE})
    np.testing.assert_array_equal(rows_of(read(tmp_path / "a.mat")), SPARSE.toarray())
    wide = scipy.sparse.csr_matrix(([1.0], ([0], [10**6])), (10**6, 10**6 + 1))
    scipy.sparse.save_npz(tmp_path / "wide.npz", wide)
    with pytest.raises(ValueError, match="sparse"):
        read(tmp_path / "wide.npz")


@pytest.mark.parametrize("place", [-1, 30])
def test_places_outside_a_sparse_matrix_are_damage(tmp_path, place):
    bad = SPARSE.copy()
    bad.indices = bad.indices.copy()
    bad.indices[5] = place
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        parts = {"data": bad.data, "indices": bad.indices, "indptr": bad.indptr}
        for name, values in (
            parts | {"shape": np.array([120, 30]), "format": np.array(b"csr")}
        ).items():
            buffer = io.BytesIO()
            np.save(buffer, values)
            archive.writestr(f"{name}.npy", buffer.getvalue())
    with pytest.raises(ValueError, match=r"a.npz must be a whole file"):
        read(tmp_path / "a.npz")


def test_an_annotated_matrix_that_is_sparse_says_so(tmp_path):
    path = hdf5(
        tmp_path / "a",
        {"X/data": SPARSE.data, "X/indices": SPARSE.indices, "X/indptr": SPARSE.indptr},
    )
    with pytest.raises(ValueError, match="'X' is a sparse matrix"):
        read(path)


class Trap:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.pkl", "a.joblib", "a.npz", "a.npy", "a.mat"])
def test_nothing_is_unpickled(tmp_path, name):
    path, mark = tmp_path / name, tmp_path / "unpickled"
    if name == "a.npz":
        np.savez(path, x=np.array([Trap(mark)] * 3, object))
    elif name == "a.npy":
        np.save(path, np.array([Trap(mark)] * 3, object), allow_pickle=True)
    elif name.startswith("a.pt"):
        torch.save({"x": Trap(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ValueError, match=r"pickle|whole file|something else"):
        read(path)
    assert not mark.exists()


def test_labels_that_are_pickled_are_left_out(tmp_path):
    np.savez(tmp_path / "a.npz", X=ROWS, y=np.array(["a", None] * 60, object))
    assert read(tmp_path / "a.npz").schema.classes == ()


def test_an_array_of_records_is_a_table_with_names(tmp_path):
    records = np.zeros(120, [("mass", "f8"), ("doors", "u1")])
    records["mass"], records["doors"] = ROWS[:, 0], LABELS
    np.save(tmp_path / "a.npy", records)
    splits = read(tmp_path / "a.npy")
    assert splits.schema.columns == ("mass", "doors")
    np.testing.assert_array_equal(rows_of(splits), np.c_[ROWS[:, 0], LABELS])
    np.save(tmp_path / "b.npy", np.zeros(120, [("mass", "f8"), ("fuel", "U3")]))
    with pytest.raises(ValueError, match="field 'fuel' is of the type <U3"):
        read(tmp_path / "b.npy")


def test_a_series_is_refused_with_the_way_to_a_table(tmp_path):
    series = NOISE.normal(size=2400)
    np.save(tmp_path / "a.npy", series)
    with pytest.raises(ValueError, match=r"one series. Save x\[:, None\].*sliding_window_view"):
        read(tmp_path / "a.npy")
    windows = np.lib.stride_tricks.sliding_window_view(series, 24)[::24]
    assert read(windows).schema.shape == read(series.reshape(100, 24)).schema.shape
    assert read(series[:, None]).schema.columns == ("column 1",)


def test_arrays_in_the_format_of_mnist_stay_pictures(tmp_path):
    small = NOISE.integers(0, 9, (60, 3, 2), dtype=np.uint8)
    head = bytes([0, 0, 8, 3]) + np.array(small.shape, ">u4").tobytes()
    (tmp_path / "a.idx").write_bytes(head + small.tobytes())
    assert read(tmp_path / "a.idx").schema.shape == (1, 3, 2)
    (tmp_path / "images").mkdir()
    for number, picture in enumerate(small):
        Image.fromarray(picture).save(tmp_path / "images" / f"{number}.png")
    assert read(tmp_path / "images").schema.shape == (1, 3, 2)
