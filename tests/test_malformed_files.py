"""Files that are not what they seem: each is read to finite numbers or refused in one line, at once and in little
memory.

Some are made by hand, one for each way in which a file can be wrong; the others are whole files with bytes changed or
cut off.
"""

import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import h5py
import hypothesis.strategies as st
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch
import zarr
from hypothesis import HealthCheck, given, settings

from malformed import one_line_or_result
from unveil.data import open_images
from unveil.errors import UnveilError

pytestmark = pytest.mark.usefixtures("within_limits")

X = np.random.default_rng(0).integers(0, 255, (3, 12, 16)).astype("u1")
F = X.astype("f4")


def read_some(path):
    """The first images at `path`, and all that is known without reading."""
    source = open_images(path)
    for i in range(min(3, len(source))):
        x = source.read(i)
        assert tuple(x.shape) == source.shape(i)
        assert torch.isfinite(x).all()
        assert source.name(i)
    return source


def refused(path):
    with pytest.raises(UnveilError) as caught:
        read_some(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, colour=0, pixels=b""):
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def tiff(tags, content=b"\0" * 64, start=8):
    """A little-endian TIFF of one page with `tags` {number: value}, whose pixels are at 8 + the length of its list of
    tags."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", start, len(tags)) + entries + struct.pack("<I", 0) + content


GREY = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 140, 277: 1, 278: 4, 279: 16}


def npy(header, content=b"\0" * 64):
    header = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def saved(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def mrc(nx=4, ny=4, nz=1, mode=2, extended=0, content=b"\0" * 64):
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, nx, ny, nz, mode)
    struct.pack_into("<3i", head, 28, nx, ny, nz)
    struct.pack_into("<3i", head, 64, 1, 2, 3)
    struct.pack_into("<2i", head, 88, 0, extended)
    head[208:214] = b"MAP \x44\x44"
    return bytes(head) + content


def card(text):
    return text.ljust(80).encode()


def fits(*cards):
    return b"".join(map(card, (*cards, "END"))).ljust(2880)


GROUPS = (
    "NAXIS   =                    3",
    "NAXIS1  =                    0",
    "NAXIS2  =                    3",
    "NAXIS3  =                    1",
    "GROUPS  =                    T",
    "PCOUNT  =                    2",
)

BYTES = {
    "empty.png": b"",
    "text.png": b"no picture",
    "start.png": png(4, 4)[:20],
    "nothing.png": png(0, 4),
    "huge.png": png(2**31 - 1, 2**31 - 1),
    "large.png": png(10**5, 10**5),
    "short.png": png(64, 64, pixels=b"\0" * 9),
    "empty.jpg": b"",
    "start.jpg": b"\xff\xd8\xff\xe0",
    "empty.tif": b"",
    "start.tif": b"II*\0",
    "no_page.tif": b"II*\0\0\0\0\0",
    "outside.tif": b"II*\0\xff\xff\xff\x7f",
    "no_tag.tif": tiff({}),
    "circle.tif": b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8),
    "no_pixels.tif": tiff({256: 4, 257: 4}),
    "zero.tif": tiff({**GREY, 256: 0}),
    "huge.tif": tiff({**GREY, 256: 2**31, 257: 2**31}),
    "beyond.tif": tiff({**GREY, 273: 10**6}),
    "long.tif": tiff({**GREY, 257: 10**6}),
    "strips.tif": tiff({**GREY, 257: 2**28, 259: 8, 278: 1}),
    "codec.tif": tiff({**GREY, 259: 34712}),
    "codecs.tif": tiff({**GREY, 259: 9}),
    "bits.tif": tiff({**GREY, 258: 77}),
    "samples.tif": tiff({**GREY, 277: 60000}),
    "empty.npy": b"",
    "start.npy": b"\x93NUMPY",
    "zip.npy": b"PK\x03\x04",
    "code.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').getpid(),)}"),
    "deep.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 200 + ")" * 200 + "}"),
    "huge.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000, 1000000), }"),
    "negative.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4, 4), }"),
    "short.npy": saved(F)[:-1],
    "objects.npy": saved(np.array([[{}]], dtype=object), allow_pickle=True),
    "text.npy": saved(np.array([["a", "b"]])),
    "dates.npy": saved(np.zeros((4, 4), "M8[s]")),
    "records.npy": saved(np.zeros((4, 4), "f4,f4")),
    "number.npy": saved(np.float32(1)),
    "row.npy": saved(np.zeros(9, "f4")),
    "none.npy": saved(np.zeros((0, 4, 4), "f4")),
    "flat.npy": saved(np.zeros((4, 0), "f4")),
    "axes.npy": saved(np.zeros((2,) * 7, "f4")),
    "nan.npy": saved(np.full((4, 4), np.nan, "f4")),
    "inf.npy": saved(np.full((4, 4), np.inf, "f4")),
    "large.npy": saved(np.full((4, 4), 1e300)),
    "complex.npy": saved(np.full((4, 4), np.nan + 1j)),
    "empty.h5": b"",
    "text.h5": b"no data",
    "start.h5": b"\x89HDF\r\n\x1a\n",
    "empty.mrc": b"",
    "start.mrc": mrc()[:1000],
    "short.mrc": mrc()[:-4],
    "negative.mrc": mrc(nx=-4),
    "zero.mrc": mrc(nx=0),
    "huge.mrc": mrc(nx=2**31 - 1, ny=2**31 - 1, nz=2**31 - 1),
    "many.mrc": mrc(nx=1, ny=1, nz=10**9),
    "mode.mrc": mrc(mode=77),
    "extended.mrc": mrc(extended=2**31 - 1),
    "minus.mrc": mrc(extended=-(2**31)),
    "nan.mrc": mrc(content=b"\xff" * 64),
    "empty.uvfits": b"",
    "text.uvfits": b"no data" * 999,
    "image.uvfits": fits(
        "SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"
    ),
    "cut.uvfits": fits(
        "SIMPLE  =                    T", "BITPIX  =                  -32", *GROUPS, f"GCOUNT  = {4:20}"
    ),
    "huge.uvfits": fits(
        "SIMPLE  =                    T", "BITPIX  =                  -32", *GROUPS, f"GCOUNT  = {10**18:20}"
    ),
    "bits.uvfits": fits(
        "SIMPLE  =                    T", "BITPIX  =                   77", *GROUPS, f"GCOUNT  = {4:20}"
    ),
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_images(name, tmp_path):
    (tmp_path / name).write_bytes(BYTES[name])
    refused(tmp_path / name)


def hdf5(make):
    def write(path):
        with h5py.File(path, "w") as file:
            make(file)

    return write


def elsewhere(path):
    """Raw storage in another folder."""
    (path.parent.parent / "secret").write_bytes(b"secret" * 99)
    with h5py.File(path, "w") as file:
        file.create_dataset("y", (4, 4), "u1", external=[(str(path.parent.parent / "secret"), 0, 16)])


def virtual(path):
    other = path.parent.parent / "secret.h5"
    with h5py.File(other, "w") as file:
        file["y"] = np.ones((4, 4), "f4")
    layout = h5py.VirtualLayout((4, 4), "f4")
    layout[:] = h5py.VirtualSource(str(other), "y", (4, 4))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("y", layout)


def linked(path):
    with h5py.File(path.parent.parent / "secret.h5", "w") as file:
        file["y"] = np.ones((4, 4), "f4")
    with h5py.File(path, "w") as file:
        file["y"] = h5py.ExternalLink(str(path.parent.parent / "secret.h5"), "y")


HDF5 = {
    "nothing": hdf5(lambda file: None),
    "row": hdf5(lambda file: file.create_dataset("y", (9,), "f4")),
    "text": hdf5(lambda file: file.create_dataset("y", data=[["a", "b"]])),
    "records": hdf5(lambda file: file.create_dataset("y", (4, 4), "f4,i8")),
    "empty": hdf5(lambda file: file.create_dataset("y", data=h5py.Empty("f4"))),
    "none": hdf5(lambda file: file.create_dataset("y", (0, 4, 4), "f4", maxshape=(None, 4, 4))),
    "many": hdf5(lambda file: file.create_dataset("y", (10**9, 4, 4), "f4", chunks=(1, 4, 4))),
    "huge": hdf5(lambda file: file.create_dataset("y", (10**7, 10**7), "f4", chunks=(4, 4))),
    "nan": hdf5(lambda file: file.create_dataset("y", data=np.full((4, 4), np.nan))),
    "dangling": hdf5(lambda file: file.__setitem__("y", h5py.SoftLink("/none"))),
    "circle": hdf5(lambda file: file.__setitem__("y", h5py.SoftLink("/y"))),
    "elsewhere": elsewhere,
    "virtual": virtual,
    "linked": linked,
}


@pytest.mark.parametrize("name", HDF5)
def test_hdf5_that_holds_no_images(name, tmp_path):
    (tmp_path / "data").mkdir()
    HDF5[name](tmp_path / "data" / "a.h5")
    refused(tmp_path / "data" / "a.h5")


def stored(path, version=3):
    zarr.save_array(str(path), F, zarr_format=version)
    return path / ("zarr.json" if version == 3 else ".zarray")


def changed(version=3, **keys):
    def write(path):
        description = stored(path, version)
        description.write_text(json.dumps({**json.loads(description.read_text()), **keys}))

    return write


def described(text, version=3):
    return lambda path: stored(path, version).write_text(text)


def chunk_files(path):
    return [
        p for p in path.rglob("*") if p.is_file() and not p.name.endswith((".json", ".zarray", ".zattrs", ".zgroup"))
    ]


def without_chunks(path):
    stored(path)
    for p in chunk_files(path):
        p.unlink()


def cut_chunks(path):
    stored(path)
    for p in chunk_files(path):
        p.write_bytes(p.read_bytes()[:9])


def linked_chunks(path):
    stored(path)
    for p in chunk_files(path):
        p.rename(path.parent.parent / "secret")
        p.symlink_to(path.parent.parent / "secret")


def grid(*shape):
    return {"name": "regular", "configuration": {"chunk_shape": shape}}


ZARR = {
    "no description": lambda path: path.mkdir(),
    "no JSON": described("{"),
    "a list": described("[]"),
    "nothing": described("{}"),
    "deep": described("[" * 10**5),
    "deep 2": described("[" * 10**5, version=2),
    "huge": changed(shape=[10**7, 10**7, 10**7]),
    "many": changed(shape=[10**9, 12, 16]),
    "huge 2": changed(version=2, shape=[10**7, 10**7, 10**7]),
    "negative": changed(shape=[-3, 12, 16]),
    "text": changed(shape="large"),
    "type": changed(data_type="pickle"),
    "type 2": changed(version=2, dtype="|O"),
    "type 3": changed(version=2, dtype="<q99"),
    "zero chunks": changed(chunk_grid=grid(0, 0, 0)),
    "huge chunks": changed(chunk_grid=grid(10**7, 10**7, 10**7)),
    "codec": changed(codecs=[{"name": "numcodecs.pickle"}]),
    "no codec": changed(codecs=[]),
    "pickle 2": changed(version=2, filters=[{"id": "pickle"}]),
    "pickle compressor 2": changed(version=2, compressor={"id": "pickle", "protocol": 4}),
    "format": changed(zarr_format=9),
    "format 2": changed(version=2, zarr_format=9),
    "no chunks": without_chunks,
    "cut chunks": cut_chunks,
    "chunks elsewhere": linked_chunks,
}


@pytest.mark.parametrize("name", ZARR)
def test_zarr_that_holds_no_images(name, tmp_path):
    (tmp_path / "data").mkdir()
    ZARR[name](tmp_path / "data" / "a.zarr")
    refused(tmp_path / "data" / "a.zarr")


def uvfits(path):
    fits_io = pytest.importorskip("astropy.io.fits")
    names = ("UU---SIN", "VV---SIN", "WW---SIN", "BASELINE", "DATE", "DATE")
    values = [
        np.arange(4.0) * 1e-6,
        np.arange(4.0) * 2e-6,
        np.zeros(4),
        np.full(4, 258.0),
        np.full(4, 2.4e6),
        np.zeros(4),
    ]
    data = np.ones((4, 1, 1, 1, 1, 2, 3), "f4")
    hdu = fits_io.GroupsHDU(fits_io.GroupData(data, bitpix=-32, parnames=list(names), pardata=values))
    for key, value in {
        "CTYPE2": "COMPLEX",
        "CTYPE3": "STOKES",
        "CRVAL3": -1.0,
        "CDELT3": -1.0,
        "CRPIX3": 1.0,
        "CTYPE4": "FREQ",
        "CRVAL4": 2.3e11,
        "CDELT4": 1e9,
        "CRPIX4": 1.0,
        "CTYPE5": "IF",
        "CTYPE6": "RA",
        "CTYPE7": "DEC",
    }.items():
        hdu.header[key] = value
    hdu.writeto(path)


def mrc_file(path):
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(path) as file:
        file.set_data(F)


def hdf5_file(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("y", data=F, chunks=(1, 12, 16), compression="gzip")


WHOLE = {
    "grey.png": lambda path: iio.imwrite(path, X[0]),
    "colour.png": lambda path: iio.imwrite(path, X.transpose(1, 2, 0)),
    "grey.jpg": lambda path: iio.imwrite(path, X[0]),
    "plain.tif": lambda path: tifffile.imwrite(path, X),
    "big.tif": lambda path: tifffile.imwrite(path, X, byteorder=">", imagej=True),
    "packed.tif": lambda path: tifffile.imwrite(path, X, compression="zlib"),
    "tiled.ome.tif": lambda path: tifffile.imwrite(
        path, np.kron(X[0], np.ones((2, 2), "u1")), tile=(16, 16), compression="zlib"
    ),
    "a.npy": lambda path: np.save(path, F),
    "a.h5": hdf5_file,
    "v2.zarr": lambda path: zarr.save_array(str(path), F, zarr_format=2),
    "v3.zarr": lambda path: zarr.save_array(str(path), F),
    "a.mrc": mrc_file,
    "a.uvfits": uvfits,
}

places = st.one_of(st.integers(0, 400), st.integers(0, 2**16))  # headers come first
changes = st.lists(
    st.tuples(places, st.one_of(st.sampled_from([0, 1, 127, 128, 255]), st.integers(0, 255))), max_size=6
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of one good file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    for name, write in WHOLE.items():
        if not (name.endswith("uvfits") or name.endswith("mrc")):
            write(folder / name)
    return folder


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_with_bytes_changed_or_cut_off(name, whole, tmp_path):
    path = whole / name
    if not path.exists():
        WHOLE[name](path)
    read_some(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    content = [p.read_bytes() for p in files]

    @settings(max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(files) - 1), changes, st.one_of(st.none(), places))
    def test(which, flipped, cut):
        damaged = tmp_path / name
        shutil.rmtree(damaged, ignore_errors=True)
        for number, (file, original) in enumerate(zip(files, content)):
            mutable = bytearray(original)
            if number == which:
                for place, value in flipped:
                    mutable[place % len(mutable)] = value
                mutable = mutable[:cut]
            target = damaged / Path(file).relative_to(path) if path.is_dir() else damaged
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(mutable)
        one_line_or_result(lambda: read_some(damaged), damaged)

    test()
