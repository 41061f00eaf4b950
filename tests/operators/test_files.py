"""Masks, sensitivities and angles from HDF5 as from .npy, and the mask in the file of the measurements."""

import h5py
import numpy as np
import pytest

from unveil.data.hdf5 import mask_inside
from unveil.errors import UnveilError
from unveil.instruments.files import read_array, read_real
from unveil.instruments.mri.coils import read_coils
from unveil.instruments.mri.masks import read_mask

RNG = np.random.default_rng(0)
MASK = np.array([0, 1, 1, 1, 0, 1, 0], bool)
COILS = (RNG.normal(size=(4, 6, 7)) + 1j * RNG.normal(size=(4, 6, 7))).astype("c8")


@pytest.fixture
def file(tmp_path):
    """k-space, its mask and its coils' sensitivities, as complex records."""
    records = np.zeros(COILS.shape, [("real", "f4"), ("imag", "f4")])
    records["real"], records["imag"] = COILS.real, COILS.imag
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["kspace"], file["mask"] = COILS[None], MASK.astype("f4")
        file["maps/smaps"], file["theta"] = records, np.arange(5)
    return tmp_path / "x.h5"


def test_arrays_of_hdf5(file):
    for name in (f"{file}:mask", str(file)):
        assert read_mask(name, 6, 7, 1).tolist() == MASK.tolist()
    for name in (f"{file}:maps/smaps", str(file)):
        np.testing.assert_array_equal(read_coils(name, 4, 6, 7, 1), COILS)
    np.testing.assert_array_equal(read_real(str(file), "operator.angles"), np.arange(5))
    np.save(file.parent / "odd:name.npy", MASK)
    assert read_mask(str(file.parent / "odd:name.npy"), 6, 7, 1).tolist() == MASK.tolist()


def test_arrays_of_matlab_have_its_axes(tmp_path):
    with h5py.File(tmp_path / "x.mat", "w") as file:
        file["mask"], file["coils"] = np.tile(MASK, (6, 1)).T, COILS.swapaxes(1, 2)  # (H, W) and (H, W, coils) there
        for name in file:
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    assert read_mask(str(tmp_path / "x.mat"), 6, 7, 1).tolist() == np.tile(MASK, (6, 1)).tolist()
    np.testing.assert_array_equal(read_coils(str(tmp_path / "x.mat"), 4, 6, 7, 1), COILS)


def test_what_is_refused(file, tmp_path):
    def refused(path, *words):
        with pytest.raises(UnveilError) as caught:
            read_array(str(path), "operator.mask")
        for word in ("operator.mask", *words):
            assert word in str(caught.value), str(caught.value)

    refused(f"{file}:none", "no dataset 'none'", "kspace")
    refused(tmp_path / "none.h5:mask", "none.h5 does not exist", "FILE.h5:DATASET")
    (tmp_path / "cut.h5").write_bytes(file.read_bytes()[:900])
    refused(tmp_path / "cut.h5", "cut.h5 cannot be read")
    with h5py.File(tmp_path / "two.h5", "w") as two:
        two["a"], two["b"] = MASK, MASK
    refused(tmp_path / "two.h5", "several arrays", "two.h5:NAME", "a, b")
    with pytest.raises(UnveilError, match="other than 0 and 1"):
        read_mask(f"{file}:maps/smaps", 6, 7, 4)


def test_the_mask_beside_k_space(file, tmp_path):
    assert mask_inside(str(file))[0] == f"{file}:mask"
    with h5py.File(tmp_path / "full.h5", "w") as full:
        full["kspace"] = COILS[None]
    (tmp_path / "no.h5").write_bytes(b"no HDF5")
    for name in ("full.h5", "no.h5", "none.h5", "x.npy", ""):
        assert mask_inside(str(tmp_path / name)) is None
