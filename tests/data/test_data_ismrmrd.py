"""ISMRMRD against k-space that was taken apart into readouts by the specification: https://ismrmrd.readthedocs.io."""

import h5py
import numpy as np
import pytest

from unveil.data import open_images
from unveil.data.hdf5 import mask_inside
from unveil.errors import UnveilError
from unveil.instruments.files import read_array
from unveil.runs.correlated import read_covariance

RNG = np.random.default_rng(0)
COUNTERS = ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast", "phase", "repetition",
            "set", "segment")  # fmt: skip
HEAD = np.dtype(
    [("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4"),
     ("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", (3,)), ("number_of_samples", "<u2"),
     ("available_channels", "<u2"), ("active_channels", "<u2"), ("channel_mask", "<u8", (16,)), ("discard_pre", "<u2"),
     ("discard_post", "<u2"), ("center_sample", "<u2"), ("encoding_space_ref", "<u2"),
     ("trajectory_dimensions", "<u2"), ("sample_time_us", "<f4"), ("position", "<f4", (3,)), ("read_dir", "<f4", (3,)),
     ("phase_dir", "<f4", (3,)), ("slice_dir", "<f4", (3,)), ("patient_table_position", "<f4", (3,)),
     ("idx", [*((name, "<u2") for name in COUNTERS), ("user", "<u2", (8,))]),
     ("user_int", "<i4", (8,)), ("user_float", "<f4", (8,))]
)  # fmt: skip
XML = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<acquisitionSystemInformation><relativeReceiverNoiseBandwidth>0.8</relativeReceiverNoiseBandwidth>
</acquisitionSystemInformation><encoding><encodedSpace><matrixSize><x>{wide}</x><y>{high}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{view}</x><y>200</y><z>5</z></fieldOfView_mm></encodedSpace><reconSpace><matrixSize><x>{narrow}</x>
<y>{high}</y><z>1</z></matrixSize><fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>9</maximum><center>{centre}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>{trajectory}</trajectory></encoding></ismrmrdHeader>"""
SLICES, COILS, HEIGHT, WIDTH = 3, 2, 12, 10
ROWS = np.array([2, 3, 5, 6, 7, 9, 11])
CENTRE = 4  # the phase encoding of row HEIGHT // 2


def fourier(x, inverse=False):
    """The centred unitary transform along the last axis, by its definition."""
    n = x.shape[-1]
    k = np.arange(n) - n // 2
    return x @ np.exp((2j if inverse else -2j) * np.pi * np.outer(k, k) / n) / n**0.5


def spaces(oversampling=2):
    """K-space of an object that fills the reconstruction alone, encoded (oversampled) and wanted."""
    wide = np.zeros((SLICES, COILS, HEIGHT, oversampling * WIDTH), complex)
    x = RNG.normal(size=(SLICES, COILS, HEIGHT, WIDTH)) + 1j * RNG.normal(size=(SLICES, COILS, HEIGHT, WIDTH))
    start = wide.shape[-1] // 2 - WIDTH // 2
    wide[..., start : start + WIDTH] = x
    wide += 0.0 if oversampling == 1 else np.where(wide == 0, 7.0, 0.0)  # outside: what is to be cut off
    return fourier(wide), fourier(x)


def readout(samples, flag=0, dwell=5.0, **values):
    head = np.zeros((), HEAD)
    head["number_of_samples"], head["active_channels"] = samples.shape[-1], len(samples)
    head["center_sample"], head["sample_time_us"] = samples.shape[-1] // 2, dwell
    head["flags"] = 1 << (flag - 1) if flag else 0
    for name, value in values.items():
        (head["idx"] if name in head["idx"].dtype.names else head)[name] = value
    return head, np.ascontiguousarray(samples, np.complex64).view(np.float32).reshape(-1)


def image_readouts(encoded, rows=ROWS, **values):
    """Of each slice the rows in some order, as phase encodings from the centre on."""
    return [
        readout(encoded[s, :, row], kspace_encode_step_1=row - HEIGHT // 2 + CENTRE, slice=s, **values)
        for row in RNG.permutation(rows) for s in range(len(encoded))
    ]  # fmt: skip


def write(path, readouts, **changes):
    said = {"wide": 20, "view": 400, "narrow": 10, "high": HEIGHT, "centre": CENTRE, "trajectory": "cartesian"}
    floats = h5py.vlen_dtype(np.float32)
    data = np.empty(len(readouts), [("head", HEAD), ("traj", floats), ("data", floats)])
    for k, (head, samples) in enumerate(readouts):
        data[k] = (head, np.zeros(0, np.float32), samples)
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset/data", data=data, maxshape=(None,), chunks=(4,))
        file.create_dataset("dataset/xml", data=[XML.format(**{**said, **changes})], dtype=h5py.string_dtype())
    return path


def as_complex(source):
    y = np.stack([source.read(i).numpy() for i in range(len(source))])
    return y[:, : y.shape[1] // 2] + 1j * y[:, y.shape[1] // 2 :]


def test_k_space_is_put_together_and_the_oversampling_removed(tmp_path):
    encoded, wanted = spaces()
    path = write(tmp_path / "scan.h5", image_readouts(encoded))
    source = open_images(path)
    assert (len(source), source.shape(0)) == (SLICES, (2 * COILS, HEIGHT, WIDTH))
    mask = read_array(f"{path}:mask", "operator.mask")
    assert mask.shape == (SLICES, HEIGHT, WIDTH)
    np.testing.assert_array_equal(mask[1].all(1).nonzero()[0], ROWS)
    assert not mask[:, np.setdiff1d(range(HEIGHT), ROWS)].any()
    np.testing.assert_allclose(as_complex(source), wanted * mask[:, None], atol=2e-6)
    np.testing.assert_allclose(source.read(1, (3, 2, 4, 5)), source.read(1)[:, 3:7, 2:7])
    name, line = mask_inside(str(path))
    assert name == f"{path}:mask"
    assert "7 of 12 rows, 10 columns; readout oversampling removed, 2 times" in line
    assert "noise" not in line


def test_averages_and_what_is_not_of_the_image(tmp_path):
    encoded, wanted = spaces(1)
    both = [*image_readouts(encoded + 1, average=0), *image_readouts(encoded - 1, average=1)]
    others = [readout(99 * np.ones((COILS, 10)), flag=flag) for flag in (20, 23, 24)]
    path = write(tmp_path / "scan.h5", both + others, wide=10, view=200)
    mask = read_array(str(path), "operator.mask")
    np.testing.assert_allclose(as_complex(open_images(path)), wanted * mask[:, None], atol=2e-6)
    line = mask_inside(str(path))[1]
    assert "2 averages; left out: calibration, navigators, phase correction" in line


def test_partial_fourier_and_an_asymmetric_echo(tmp_path):
    encoded, _ = spaces()
    late = encoded[..., 6:]  # the centre is sample 4 of 14, of which the first is no good
    readouts = image_readouts(late, rows=np.arange(4, HEIGHT), center_sample=4, discard_pre=1)
    path = write(tmp_path / "scan.h5", readouts)
    mask = read_array(f"{path}:mask", "operator.mask")
    assert mask.shape == (SLICES, HEIGHT, 20)
    np.testing.assert_array_equal(mask[0].any(0).nonzero()[0], range(7, 20))
    np.testing.assert_allclose(as_complex(open_images(path)), encoded * mask[:, None], atol=2e-6)
    line = mask_inside(str(path))[1]
    assert "partial Fourier, rows 4 to 11; asymmetric echo, columns 7 to 19" in line


def test_noise_measurements_are_a_noise_scan_of_the_images(tmp_path):
    """Twice the dwell time has half the variance; a bandwidth of .8 has .8 of that in the middle of the readout."""
    mix = np.array([[2.0, 0.0], [1.0, 1.5j]])
    white = RNG.normal(size=(40, COILS, 256)) + 1j * RNG.normal(size=(40, COILS, 256))
    noise = [readout(samples, flag=19, dwell=10.0) for samples in mix @ white]
    path = write(tmp_path / "scan.h5", [*noise, *image_readouts(spaces()[0], dwell=5.0)])
    truth = 2 * mix @ mix.conj().T * (10 / 5) / 0.8
    found = read_covariance(f"{path}:noise", "noise.covariance")
    expected = np.block([[truth.real, -truth.imag], [truth.imag, truth.real]]) / 2
    np.testing.assert_allclose(found, expected, atol=4 * expected.max() / 10240**0.5)
    assert f"noise.covariance={path}:noise" in mask_inside(str(path))[1]
    assert len(open_images(path)) == SLICES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trajectory": "spiral"}, "spiral trajectory, and k-space is read on a Cartesian grid"),
        ({"high": 6}, "do not fit the encoded matrix"),
        ({"wide": "many"}, "not that of ISMRMRD"),
        ({"trajectory": "<!DOCTYPE a>"}, "entities"),
    ],
)
def test_headers_that_are_refused(tmp_path, change, words):
    path = write(tmp_path / "scan.h5", image_readouts(spaces()[0]), **change)
    with pytest.raises(UnveilError, match=words):
        open_images(path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"flag": 22}, "echo-planar"),
        ({"flag": 53}, "compressed"),
        ({"kspace_encode_step_2": 1}, "3D scan"),
        ({"center_sample": 3}, "differ in center_sample"),
    ],
)
def test_readouts_that_are_refused(tmp_path, values, words):
    encoded = spaces()[0]
    path = write(tmp_path / "scan.h5", [*image_readouts(encoded), readout(encoded[0, :, 3], **values)])
    with pytest.raises(UnveilError, match=words):
        open_images(path)
    assert mask_inside(str(path)) is None


def test_lists_whose_type_is_damaged(tmp_path):
    """Type 15 of what varies in length, which HDF5 would read, and end the process; it is 0 of lists, 1 of text."""
    path = write(tmp_path / "scan.h5", image_readouts(spaces()[0]))
    content = path.read_bytes()
    lists = bytes.fromhex("19000000 10000000 11201f00")  # of class 9, 16 bytes, of numbers
    assert content.count(lists) >= 2
    path.write_bytes(content.replace(lists, b"\x19\x0f" + lists[2:], 1))
    with pytest.raises(UnveilError, match="no lists of numbers"):
        open_images(path)


@pytest.mark.parametrize(
    "where", ["length", "address", "index", "size of the heap", "end of the heap", "size of an object", "chunk"]
)
def test_lists_that_are_not_in_the_file(where, tmp_path):
    """HDF5 would search and allocate for minutes, or end the process."""
    path = write(tmp_path / "scan.h5", image_readouts(spaces()[0]))
    with h5py.File(path) as file:
        data = file["dataset/data"].id
        first, at = data.get_chunk_info(0).byte_offset, data.get_type().get_member_offset(2)
    content = bytearray(path.read_bytes())
    heap, entry = content.index(b"GCOL"), first + at
    place = {"length": entry + 3, "address": entry + 9, "index": entry + 13, "size of the heap": heap + 14,
             "end of the heap": heap + 8, "size of an object": heap + 16 + 14, "chunk": None}[where]  # fmt: skip
    if place is None:  # its address in the tree of chunks
        place = content.rindex(first.to_bytes(8, "little")) + 6
    content[place] = 134
    path.write_bytes(content)
    with pytest.raises(UnveilError, match="it is damaged; restore it") as caught:
        open_images(path)
    assert "\n" not in str(caught.value)


def test_files_of_fastmri(tmp_path):
    """Knees and brains of several coils: k-space beside a reconstruction, a header and, of test sets, the mask."""
    kspace = (RNG.normal(size=(3, 4, 20, 12)) + 1j * RNG.normal(size=(3, 4, 20, 12))).astype(np.complex64)
    with h5py.File(tmp_path / "file1.h5", "w") as file:
        file["kspace"], file["reconstruction_rss"] = kspace, np.ones((3, 10, 10), np.float32)
        file["ismrmrd_header"], file["mask"] = b"<ismrmrdHeader/>", np.ones(12, np.float32)
    np.testing.assert_array_equal(as_complex(open_images(tmp_path / "file1.h5")), kspace)
    assert mask_inside(str(tmp_path / "file1.h5"))[0].endswith("file1.h5:mask")
