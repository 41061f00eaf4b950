"""Complex measurements, k-space above all: layout, default axes, values, and fastMRI's files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import zarr

from unveil.data import open_images
from unveil.errors import UnveilError

RNG = np.random.default_rng(0)
SLICES, COILS, H, W = 3, 8, 12, 10
KSPACE = (RNG.normal(size=(SLICES, COILS, H, W)) + 1j * RNG.normal(size=(SLICES, COILS, H, W))).astype(np.complex64)


def write_hdf5(path: Path, v: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=v)


def write_zarr(path: Path, v: np.ndarray) -> None:
    zarr.open_group(path, mode="w").create_array("kspace", data=v)


WRITERS = {"x.npy": np.save, "x.h5": write_hdf5, "x.zarr": write_zarr}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """A function from an array to the path of a file of each format that holds it."""

    def inner(v: np.ndarray) -> Path:
        WRITERS[request.param](tmp_path / request.param, v)
        return tmp_path / request.param

    return inner


def unflattened(y: torch.Tensor) -> np.ndarray:
    """(coils, H, W), complex, of channels (2 coils, H, W): the layout that `unveil.operators.mri` reads."""
    real, imaginary = y.unflatten(0, (2, -1))
    return torch.complex(real, imaginary).numpy()


@pytest.mark.parametrize("coils", [1, 2, 4, 8])
def test_coils_are_channels_real_parts_first(write, coils):
    v = KSPACE[:, :coils]
    source = open_images(write(v))
    assert (len(source), source.channels, source.shape(2)) == (SLICES, 2 * coils, (2 * coils, H, W))
    for i in range(SLICES):
        assert source.read(i).dtype == torch.float32
        np.testing.assert_array_equal(unflattened(source.read(i)), v[i])
        np.testing.assert_array_equal(unflattened(source.read(i, (2, 3, 5, 4))), v[i, :, 2:7, 3:7])


def test_a_single_coil_has_two_channels(write):
    source = open_images(write(KSPACE[:, 0]))
    assert (len(source), source.shape(0)) == (SLICES, (2, H, W))
    np.testing.assert_array_equal(unflattened(source.read(1)), KSPACE[1, :1])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_values_pass_unchanged_whatever_their_size(write, scale, dtype):
    v = (scale * KSPACE).astype(dtype)
    v[:, :, :, ::2] = 0  # what is not measured stays exactly zero
    source = open_images(write(v))
    for i in range(SLICES):
        np.testing.assert_array_equal(unflattened(source.read(i)), v[i].astype(np.complex64))


@pytest.mark.parametrize("axes", ["NCHW", "NHWC", "HWNC", "CNHW"])
def test_named_axes(write, axes):
    source = open_images(write(KSPACE.transpose(["NCHW".index(a) for a in axes])), axes=axes)
    assert source.channels == 2 * COILS
    np.testing.assert_array_equal(unflattened(source.read(2)), KSPACE[2])


def test_four_real_axes_are_not_taken_for_coils(tmp_path):
    np.save(tmp_path / "x.npy", KSPACE.real)
    with pytest.raises(UnveilError, match="pass axes"):
        open_images(tmp_path / "x.npy")


def test_complex_coils_on_the_last_axis(tmp_path):
    np.save(tmp_path / "x.npy", KSPACE[:, :3].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(unflattened(open_images(tmp_path / "x.npy").read(0)), KSPACE[0, :3])


def fastmri(path: Path, **more: np.ndarray) -> Path:
    """The datasets of a file of fastMRI: its README and https://arxiv.org/abs/1811.08839."""
    with h5py.File(path, "w") as file:
        file["kspace"] = KSPACE
        file["ismrmrd_header"] = "<ismrmrdHeader/>"
        for name, value in more.items():
            file[name] = value
    return path


@pytest.mark.parametrize("dataset", [None, "kspace", "/kspace"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"mask": np.ones(W, np.float32)},
        {"reconstruction_rss": np.ones((SLICES, H, H), np.float32)},
        {"reconstruction_esc": np.ones((SLICES, H, H), np.float32), "reconstruction_rss": np.ones((SLICES, H, H))},
    ],
)
def test_a_file_of_fastmri(tmp_path, dataset, more):
    source = open_images(fastmri(tmp_path / "x.h5", **more), dataset=dataset)
    assert (len(source), source.channels) == (SLICES, 2 * COILS)
    np.testing.assert_array_equal(unflattened(source.read(1)), KSPACE[1])


def test_another_dataset_of_a_file_of_fastmri(tmp_path):
    path = fastmri(tmp_path / "x.h5", reconstruction_rss=np.ones((SLICES, H, H), np.float32))
    assert open_images(path, dataset="reconstruction_rss").shape(0) == (1, H, H)


def test_a_folder_of_volumes(tmp_path):
    write_hdf5(tmp_path / "a.h5", KSPACE)
    write_hdf5(tmp_path / "b.h5", KSPACE[:2, :, :, :7])  # fastMRI's widths differ
    source = open_images(tmp_path)
    assert [source.shape(i) for i in (0, 3)] == [(2 * COILS, H, W), (2 * COILS, H, 7)]
    assert source.name(4) == "b_0001"
    write_hdf5(tmp_path / "c.h5", KSPACE[:, :5])
    with pytest.raises(UnveilError, match=r"16 channels .*c\.h5:kspace 10"):
        open_images(tmp_path)


def test_one_slice_without_its_axis_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", KSPACE[0])
    with pytest.raises(UnveilError, match=r"8 channels.*\(N, C, H, W\)"):
        open_images(tmp_path / "x.npy", axes="CHW")
    np.save(tmp_path / "x.npy", KSPACE[:1])
    np.testing.assert_array_equal(unflattened(open_images(tmp_path / "x.npy", axes="NCHW").read(0)), KSPACE[0])
