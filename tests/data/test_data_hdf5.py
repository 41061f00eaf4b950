"""HDF5 as instruments and MATLAB write it: links, filters, records; and what it may not do: read elsewhere, promise
more than it is."""

import sys

import h5py
import numpy as np
import pytest
import torch

from unveil.data import hdf5, open_images
from unveil.data.stamp import stamp
from unveil.errors import UnveilError, UnveilWarning

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 13, 17)).astype(np.float32)


def write(path, **objects):
    with h5py.File(path, "w") as file:
        for name, content in objects.items():
            file[name.replace("__", "/")] = content
    return path


def stack(source):
    return torch.stack([source.read(i) for i in range(len(source))]).numpy()[:, 0]


def refused(path, *words, **arguments):
    with pytest.raises(UnveilError) as caught:
        open_images(path, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert str(word) in message, message


@pytest.mark.parametrize("dataset", [None, "entry/data/data_000001", "/entry/data/data_000001"])
def test_a_master_file_links_to_the_data_beside_it(tmp_path, dataset):
    (tmp_path / "raw").mkdir()
    write(tmp_path / "raw" / "data.h5", entry__data__data=IMAGES)
    path = write(
        tmp_path / "master.nxs",
        entry__data__data_000001=h5py.ExternalLink("raw/data.h5", "/entry/data/data"),
        entry__data__data_000002=h5py.ExternalLink("not_written.h5", "/entry/data/data"),
    )
    np.testing.assert_array_equal(stack(open_images(path, dataset=dataset)), IMAGES)
    refused(path, "data_000002", "not_written.h5", "not there", dataset="entry/data/data_000002")


def test_links_to_links_and_moved_files(tmp_path):
    write(tmp_path / "c.h5", g__x=IMAGES, y=h5py.SoftLink("/g/x"))
    write(tmp_path / "b.h5", group=h5py.ExternalLink("/beamline/c.h5", "/"))  # where the data lay once
    path = write(
        tmp_path / "a.h5", e__linked=h5py.SoftLink("../e/there"), e__there=h5py.ExternalLink("b.h5", "group/y")
    )
    np.testing.assert_array_equal(stack(open_images(path, dataset="e/there")), IMAGES)
    np.testing.assert_array_equal(stack(open_images(path)), IMAGES)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.h5").symlink_to(path)
    np.testing.assert_array_equal(stack(open_images(tmp_path / "elsewhere" / "a.h5")), IMAGES)


def test_one_array_under_several_names_is_one(tmp_path):
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        file["entry/instrument/data"] = IMAGES
        file["a_link"] = h5py.SoftLink("/entry/instrument")
        file["entry/data"] = file["entry/instrument/data"]
        file["entry/entry"] = file["entry"]  # in a circle
        file["loop"], file["again"] = h5py.SoftLink("/again"), h5py.SoftLink("/loop")
    np.testing.assert_array_equal(stack(open_images(tmp_path / "x.hdf")), IMAGES)
    np.testing.assert_array_equal(stack(open_images(tmp_path / "x.hdf", dataset="a_link/data")), IMAGES)
    refused(tmp_path / "x.hdf", "circle", dataset="loop")
    refused(tmp_path / "x.hdf", "no dataset 'a_link/none'", dataset="a_link/none")


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "own").mkdir()
    np.full((13, 17), 7, np.float32).tofile(tmp_path / "secret.bin")
    return write(tmp_path / "secret.h5", x=IMAGES)


@pytest.mark.parametrize("target", ["../secret.h5", "{}"])
def test_links_out_of_the_folder_are_not_followed(tmp_path, secret, target):
    path = write(tmp_path / "own" / "x.h5", x=h5py.ExternalLink(target.format(secret), "x"))
    refused(path, secret, "outside")
    refused(path, secret, "outside", dataset="x")
    (tmp_path / "own" / "inner.h5").symlink_to(secret)
    refused(write(tmp_path / "own" / "y.h5", x=h5py.ExternalLink("inner.h5", "x")), secret, "outside")
    write(tmp_path / "own" / "z.h5", w=h5py.ExternalLink(str(secret), "x"))
    refused(write(tmp_path / "own" / "z2.h5", x=h5py.ExternalLink("z.h5", "w")), secret, "outside")
    write(tmp_path / "own" / "good.h5", x=h5py.ExternalLink(str(secret), "x"), mine=IMAGES)
    assert len(open_images(tmp_path / "own" / "good.h5")) == 4


def raw(path, name, shape=(13, 17)):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", shape, "f4", external=[(str(name), 0, h5py.h5f.UNLIMITED)])
    return path


def test_raw_storage(tmp_path, secret, monkeypatch):
    for name in (tmp_path / "secret.bin", "../secret.bin"):
        refused(raw(tmp_path / "own" / "x.h5", name), tmp_path / "secret.bin", "outside")
    refused(raw(tmp_path / "own" / "x.h5", "none.bin"), "none.bin", "not there")
    IMAGES.tofile(tmp_path / "own" / "mine.bin")
    path = raw(tmp_path / "own" / "x.h5", "mine.bin", IMAGES.shape)
    np.testing.assert_array_equal(stack(open_images(path)), IMAGES)
    monkeypatch.chdir(tmp_path / "own")  # which HDF5 looks in, unless it is told
    np.testing.assert_array_equal(stack(open_images(path)), IMAGES)


def virtual(path, *sources):
    layout = h5py.VirtualLayout((len(sources), 13, 17), "f4")
    for k, (file, name) in enumerate(sources):
        layout[k] = h5py.VirtualSource(str(file), name, (4, 13, 17))[k]
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("v", layout, fillvalue=-1)
    return path


def test_virtual_datasets(tmp_path, secret):
    own = tmp_path / "own"
    write(own / "a.h5", x=IMAGES)
    path = virtual(own / "v.h5", ("a.h5", "x"), (own / "a.h5", "/x"))
    np.testing.assert_array_equal(stack(open_images(path)), IMAGES[:2])
    write(own / "same.h5", x=IMAGES)
    np.testing.assert_array_equal(stack(open_images(virtual(own / "same.h5", (".", "x")), dataset="v")), IMAGES[:1])
    refused(virtual(own / "w.h5", ("a.h5", "x"), (secret, "x")), secret, "outside")
    refused(virtual(own / "y.h5", ("none.h5", "x")), "none.h5", "not there")
    refused(virtual(own / "z.h5", ("a.h5", "none")), "a.h5:none", "not there")
    write(own / "link.h5", x=h5py.ExternalLink(str(secret), "x"))
    refused(virtual(own / "u.h5", ("link.h5", "x")), secret, "outside")
    layout = h5py.VirtualLayout((4, 13, 17), "f4", maxshape=(None, 13, 17))
    layout[: h5py.h5s.UNLIMITED] = h5py.VirtualSource("a-%b.h5", "x", (1, 13, 17))
    with h5py.File(own / "p.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
    refused(own / "p.h5", "pattern")
    raw(own / "raw.h5", tmp_path / "secret.bin")
    refused(virtual(own / "r.h5", ("raw.h5", "x")), "secret.bin", "outside")


def test_a_filter_of_hdf5plugin(tmp_path, monkeypatch):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=IMAGES, chunks=(1, 13, 17), **hdf5plugin.Bitshuffle())
    np.testing.assert_array_equal(stack(open_images(path)), IMAGES)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    refused(path, "filter 32008", "not installed", "h5repack")
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    refused(path, "filter 32008", "bitshuffle", "pip install hdf5plugin")


@pytest.mark.parametrize("names", [("real", "imag"), ("Re", "Im"), ("r", "i")])
@pytest.mark.parametrize("part", ["f4", "f8", "i2", ">f4"])
def test_complex_numbers_as_records(tmp_path, names, part):
    v = np.zeros((3, 5, 6), [(name, part) for name in names])
    v[names[0]], v[names[1]] = RNG.integers(-99, 99, (2, 3, 5, 6))
    source = open_images(write(tmp_path / "x.h5", kspace=v, other=v[0]))
    assert (len(source), source.shape(0)) == (3, (2, 5, 6))
    np.testing.assert_array_equal(source.read(2), [v[2][name] for name in names])
    np.testing.assert_array_equal(source.read(1, (1, 2, 3, 4)), [v[1, 1:4, 2:6][name] for name in names])
    v = np.zeros((5, 6), [("x", "f4"), ("y", "f4")])
    refused(write(tmp_path / "y.h5", x=v), "no array of numbers", "(5, 6)")


def matlab(path, **arrays):
    """As MATLAB saves arrays, whose axes are those of `arrays`."""
    write(path, **{name: v.T for name, v in arrays.items()})
    with h5py.File(path, "a") as file:
        for name in arrays:
            file[name].attrs["MATLAB_class"] = np.bytes_("single")
        file["#refs#/a"] = np.zeros((3, 4))
        file["empty"] = np.zeros((2, 2))
        file["empty"].attrs["MATLAB_empty"] = 1
    return path


def test_matlab(tmp_path):
    for v in (IMAGES[0], IMAGES.transpose(1, 2, 0)):
        np.testing.assert_array_equal(open_images(matlab(tmp_path / "x.mat", a=v)).read(0)[0], IMAGES[0])
    v = IMAGES.transpose(1, 2, 0)[:, :, None]
    np.testing.assert_array_equal(open_images(matlab(tmp_path / "x.mat", a=v)).read(3)[0], IMAGES[3])
    source = open_images(matlab(tmp_path / "x.mat", a=IMAGES.transpose(1, 2, 0)), axes="NHW")  # as it lies in HDF5
    np.testing.assert_array_equal(source.read(3)[0], IMAGES[3].T)
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128))
    refused(tmp_path / "old.mat", "not HDF5", "-v7.3")
    (tmp_path / "x.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(200))
    refused(tmp_path / "x.hdf", "HDF4", "h4toh5")


def test_chunks_that_were_never_written(tmp_path):
    def made(name, chunks, parts, shape=(4, 8, 8)):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("x", shape, "f4", chunks=chunks)
            for part in parts:
                file["x"][part] = 1
        return tmp_path / name

    refused(made("none.h5", None, []), "4 of its 4 images were never written")
    refused(made("none.h5", (2, 4, 4), []), "4 of its 4 images were never written")
    refused(made("two.h5", (2, 4, 4), [np.s_[:2]]), "2 of its 4 images", "image 2 first")
    refused(made("one.h5", (1, 4, 8), [np.s_[:3]]), "1 of its 4 images", "image 3 first")
    with pytest.warns(UnveilWarning, match="1 of its 8 chunks were never written") as caught:
        source = open_images(made("part.h5", (1, 4, 8), [np.s_[:3], np.s_[3, :4]]))
    assert len(caught) == 1
    assert source.read(3)[0, 3:5, 0].tolist() == [1, 0]
    assert len(open_images(made("all.h5", (1, 4, 8), [np.s_[:]]))) == 4


def test_declared_sizes(tmp_path, monkeypatch):
    def made(shape, chunks):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset("x", shape, "u1", chunks=chunks)
        return tmp_path / "x.h5"

    refused(made((10**9, 8, 8), (1, 8, 8)), "1,000,000,000 images")
    refused(made((2, 10**6, 10**6), (1, 8, 8)), "an image of", "GiB")
    monkeypatch.setenv("UNVEIL_LIMIT_GIB", "0.001")
    refused(made((4096, 32, 32), (4096, 32, 32)), "a chunk of", "GiB")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["m"] = np.zeros((1024, 1024))
    with pytest.raises(UnveilError, match="GiB"):
        hdf5.read(tmp_path / "x.h5", "m", ())


@pytest.mark.parametrize("kind", ["whole", "chunks", "virtual", "linked", "raw"])
def test_a_file_in_use_can_be_opened_again(tmp_path, kind):
    """HDF5 opens a dataset that is in use in the same way alone."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        if kind == "raw":
            IMAGES.tofile(tmp_path / "a.raw")
            file.create_dataset("y", IMAGES.shape, "<f4", external=[("a.raw", 0, IMAGES.nbytes)])
        elif kind == "virtual":
            write(tmp_path / "part.h5", y=IMAGES)
            layout = h5py.VirtualLayout(IMAGES.shape, IMAGES.dtype)
            layout[:] = h5py.VirtualSource("part.h5", "y", IMAGES.shape)
            file.create_virtual_dataset("y", layout)
        elif kind == "linked":
            write(tmp_path / "part.h5", y=IMAGES)
            file["y"] = h5py.ExternalLink("part.h5", "/y")
        else:
            file.create_dataset("y", data=IMAGES, chunks=(1, 13, 17) if kind == "chunks" else None)
    first = open_images(path)
    np.testing.assert_array_equal(stack(first), IMAGES)
    assert (stamp(path) is None) == (kind in ("virtual", "linked", "raw"))
    again = open_images(path)
    np.testing.assert_array_equal(stack(again), IMAGES)
    np.testing.assert_array_equal(stack(first), IMAGES)


def test_a_part_of_a_virtual_dataset_may_be_in_use(tmp_path):
    """HDF5 says nothing where it cannot open a part, and reads its fill value."""
    part = open_images(write(tmp_path / "part.h5", x=IMAGES))
    np.testing.assert_array_equal(stack(part), IMAGES)
    whole = open_images(virtual(tmp_path / "v.h5", ("part.h5", "x"), ("part.h5", "x")))
    np.testing.assert_array_equal(stack(whole), IMAGES[:2])
    np.testing.assert_array_equal(stack(part), IMAGES)


def test_messages_are_one_short_line(tmp_path):
    many = {f"a{k:04d}\n{'x' * 200}": np.zeros((2, 2)) for k in range(100)}
    path = write(tmp_path / "x.h5", **many)
    with pytest.raises(UnveilError, match=r"several arrays.*--set data\.dataset=NAME.*and 92 more") as caught:
        open_images(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1200
    odd = {"text": "abc", "bits": np.zeros((2, 2), "V3"), "truth": np.zeros((2, 2), bool), "null": h5py.Empty("f4")}
    refused(write(tmp_path / "y.h5", **odd), "true/false")
    refused(write(tmp_path / "z.h5", empty=np.zeros((0, 4, 4))), "empty")
    refused(write(tmp_path / "z.h5", text=np.array([[b"a"]])), "no array of numbers")


def test_a_mask_beside_the_images_is_no_candidate(tmp_path):
    path = write(tmp_path / "x.h5", images=IMAGES, mask=np.ones((13, 17), bool))
    np.testing.assert_array_equal(stack(open_images(path)), IMAGES)


def test_a_file_cut_while_it_is_open(tmp_path):
    path = write(tmp_path / "x.h5", x=np.random.default_rng(0).integers(0, 255, (64, 64, 64), np.uint8))
    source = open_images(path)
    content = path.read_bytes()
    path.write_bytes(content[:5000])
    with pytest.raises(UnveilError, match=r"x\.h5.*cannot be read") as caught:
        stack(source)
    assert "\n" not in str(caught.value)


def test_read_finds_the_usual_name(tmp_path):
    path = write(tmp_path / "x.h5", kspace=IMAGES, mask=np.arange(3), g__sens_maps=IMAGES + 0j)
    np.testing.assert_array_equal(hdf5.read(path, None, ("mask",)), np.arange(3))
    np.testing.assert_array_equal(hdf5.read(path, None, ("coils", "sens_maps")), IMAGES + 0j)
    np.testing.assert_array_equal(hdf5.read(path, "kspace", ("mask",)), IMAGES)
    with pytest.raises(UnveilError, match="several arrays"):
        hdf5.read(path, None, ("none",))
    path = matlab(tmp_path / "x.mat", mask=IMAGES[0], angles=np.arange(5.0)[None])
    np.testing.assert_array_equal(hdf5.read(path, None, ("mask",)), IMAGES[0])
    np.testing.assert_array_equal(hdf5.read(path, "angles", ()), np.arange(5.0))
