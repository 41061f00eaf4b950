"""ISMRMRD (https://ismrmrd.readthedocs.io; S. Inati et al. 2017, https://doi.org/10.1002/mrm.26089): Cartesian k-space.

An HDF5 file whose group `dataset` holds readouts, one an entry of `data`, and the header `xml`. Each slice, contrast,
phase, repetition and set is an image (coils, ky, kx), its zero frequency in the middle, rows those of the first phase
encoding; repeats (averages) of a row are averaged. Where a readout is whole, the field of view is cut to that of the
reconstruction along it, by Fourier transforms that are unitary and leave white noise as it is. What no readout filled
is 0, and the `mask` is what they filled. `noise` are the samples of noise measurements, scaled to the noise of the
images: by the square root of the ratio of their dwell times, of the receiver's relative bandwidth where the field of
view was cut, and of the averages (P. Kellman and E. McVeigh 2005, https://doi.org/10.1002/mrm.20713).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.hdf5_tree import Tree
from unveil.data.ismrmrd_entries import read_heads
from unveil.data.ismrmrd_header import Scan, parse_header
from unveil.data.limits import check_count, check_size
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError
from unveil.words import counted

__all__ = ["GROUP", "Raw", "is_ismrmrd", "open_raw", "read", "scan"]

GROUP = "dataset"
_NOISE = 19
_SKIPPED = {20: "calibration", 23: "navigators", 24: "phase correction", 26: "feedback", 27: "dummies", 28: "feedback",
            29: "coil correction"}  # fmt: skip
_AND_IMAGING = 21
_REVERSE = 22
_COMPRESSED = (53, 54, 55, 56)
"""Numbers of the flags, from 1."""
_VLEN = 9
"""The class of HDF5's types of varying length."""
_COUNTERS = ("slice", "contrast", "phase", "repetition", "set")


def is_ismrmrd(tree: Tree) -> bool:
    """Return whether the open file holds readouts of ISMRMRD."""
    place, header = (tree.find(f"{GROUP}/{name}") for name in ("data", "xml"))
    if place is None or header is None:
        return False
    names = getattr(tree[place], "dtype", np.dtype(float)).names or ()
    return "head" in names and "data" in names


@dataclass(frozen=True)
class Raw:
    """The readouts of a file, sorted into images.

    images: of each the numbers of its readouts, and their rows. columns: those of the encoded ones that readouts fill.
    first: of a readout's samples that is good. noise: readouts of noise alone. skipped: kinds that are left out.
    """

    path: Path
    scan: Scan
    heads: np.ndarray
    images: list[tuple[np.ndarray, np.ndarray]]
    columns: slice
    first: int
    noise: np.ndarray
    skipped: tuple[str, ...]

    @property
    def cut(self) -> bool:
        """Whether the field of view is cut to that of the reconstruction."""
        whole = self.columns == slice(0, self.scan.encoded[1])
        return whole and self.scan.width < self.scan.encoded[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, coils, H, W)."""
        height, width = self.scan.encoded
        return len(self.images), int(self.heads["active_channels"][self.images[0][0][0]]), height, (
            self.scan.width if self.cut else width
        )  # fmt: skip

    @property
    def averages(self) -> float:
        """The mean number of readouts of a row."""
        return float(np.mean([len(rows) / len(np.unique(rows)) for _, rows in self.images]))

    def mask(self) -> np.ndarray:
        """Return what readouts filled, boolean (images, H, W)."""
        n, _, height, width = self.shape
        found = np.zeros((n, height, width), dtype=bool)
        for k, (_, rows) in enumerate(self.images):
            found[k, rows, slice(None) if self.cut else self.columns] = True
        return found

    def __str__(self) -> str:
        """Return what was done to the readouts, in a line."""
        n, coils, height, width = self.shape
        rows = self.mask()[0].any(1).nonzero()[0]
        told = [f"{counted(n, 'image')} of {counted(coils, 'coil')}, {len(rows)} of {height} rows, {width} columns"]
        if self.cut:
            told.append(f"readout oversampling removed, {self.scan.encoded[1] / width:.3g} times")
        low, high = height // 2 - rows[0], rows[-1] - height // 2 + 1
        if min(low, high) < 0.9 * max(low, high):
            told.append(f"partial Fourier, rows {rows[0]} to {rows[-1]}")
        if self.columns.stop - self.columns.start < self.scan.encoded[1]:
            told.append(f"asymmetric echo, columns {self.columns.start} to {self.columns.stop - 1}")
        if self.averages > 1:
            counts = np.unique(np.concatenate([np.unique(rows, return_counts=True)[1] for _, rows in self.images]))
            uneven = f", {counts[0]} to {counts[-1]}, so that the noise of rows differs" if len(counts) > 1 else ""
            told.append(f"{self.averages:.3g} averages{uneven}")
        if self.skipped:
            told.append(f"left out: {', '.join(self.skipped)}")
        return "; ".join(told)


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the k-space of the file `path`, (images, coils, H, W).

    Raises UnveilError for axes other than NCHW, and for scans that `open_raw` refuses.
    """
    if axes not in (None, "NCHW"):
        raise UnveilError(f"{path} is ISMRMRD, of axes NCHW: leave axes out")
    raw = open_raw(path)
    stored = StoredArray(path, GROUP, raw.shape, np.dtype(np.complex64), "NCHW", partial(_Images, path))
    check_count(str(path), stored.images)
    check_size(f"an image of {path}", 8 * math.prod(raw.shape[1:]))
    return [stored]


def read(path: Path, name: str) -> np.ndarray:
    """Return `mask`, boolean (images, H, W), or `noise`, complex (samples, coils), of the file `path`.

    Raises UnveilError for another name, and where there are no noise measurements.
    """
    raw = open_raw(path)
    if name == "mask":
        return raw.mask()
    if name != "noise":
        raise UnveilError(f"{path} is ISMRMRD: name its mask or its noise, {path}:mask")
    if not len(raw.noise):
        raise UnveilError(f"{path} holds no noise measurements: give a noise scan in a file of its own")
    dwell = [float(raw.heads["sample_time_us"][k]) for k in (raw.noise[0], raw.images[0][0][0])]
    ratio = dwell[0] / dwell[1] if min(dwell) > 0 else 1.0
    scale = math.sqrt(ratio / raw.averages / (raw.scan.bandwidth if raw.cut else 1.0))
    return scale * np.concatenate([samples.T for samples in _samples(raw, raw.noise)])


def open_raw(path: Path) -> Raw:
    """Return the readouts of the file `path`, sorted; their samples are not read.

    Raises UnveilError for scans that are not Cartesian in a plane, echo-planar ones, and files that contradict
    themselves.
    """
    with Tree(path) as tree:
        data, header = (tree.find(f"{GROUP}/{name}") for name in ("data", "xml"))
        assert data is not None
        assert header is not None
        _check_lists(path, tree[data])
        heads = read_heads(path, tree[data])
        text = np.asarray(tree[header][()]).reshape(-1)[0]
    flags = heads["flags"].astype(np.uint64)

    def have(number: int) -> np.ndarray:
        return (flags >> np.uint64(number - 1)) & np.uint64(1) != 0

    noise, skip, skipped = have(_NOISE), np.zeros(len(heads), dtype=bool), []
    for number, kind in _SKIPPED.items():
        these = have(number) & ~noise & (~have(_AND_IMAGING) if number == 20 else True)
        skipped += [kind] if these.any() else []
        skip |= these
    kept = np.flatnonzero(~noise & ~skip)
    if not len(kept):
        raise UnveilError(f"{path} holds no readouts of an image: check that it is the right file")
    used = heads[kept]
    if have(_REVERSE)[kept].any():
        raise UnveilError(
            f"{path} is echo-planar, which needs its phases corrected: reconstruct k-space, save it as NPY"
        )
    if any(have(number)[kept].any() for number in _COMPRESSED):
        raise UnveilError(f"{path} holds compressed readouts: write it again without compression")
    step = used["idx"]["kspace_encode_step_2"]
    if step.min() != step.max():
        raise UnveilError(f"{path} is a 3D scan: transform it along its second phase encoding, and save slices as NPY")
    for name in ("encoding_space_ref", "active_channels", "number_of_samples", "center_sample", "discard_pre",
                 "discard_post"):  # fmt: skip
        if used[name].min() != used[name].max():
            raise UnveilError(f"{path}: readouts differ in {name}: split them into files of one kind")
    described = parse_header(path, text, int(used["encoding_space_ref"][0]))
    height, width = described.encoded
    first, last = int(used["discard_pre"][0]), int(used["number_of_samples"][0]) - int(used["discard_post"][0])
    shift = width // 2 - int(used["center_sample"][0])
    rows = used["idx"]["kspace_encode_step_1"].astype(int) - described.centre + height // 2
    if first + shift < 0 or last + shift > width or rows.min() < 0 or rows.max() >= height or first >= last:
        raise UnveilError(
            f"{path}: its readouts do not fit the encoded matrix of {width}x{height} that its header states"
        )
    counters = np.stack([used["idx"][name] for name in _COUNTERS], 1)
    _, which = np.unique(counters, axis=0, return_inverse=True)
    which = which.reshape(-1)
    images = [(kept[which == k], rows[which == k]) for k in range(which.max() + 1)]
    return Raw(
        path, described, heads, images, slice(first + shift, last + shift), first, np.flatnonzero(noise),
        tuple(dict.fromkeys(skipped)),
    )  # fmt: skip


def _check_lists(path: Path, dataset: Any) -> None:
    """Raise UnveilError unless the parts of an entry that vary in length are lists of numbers.

    HDF5 reads another kind of them, which damage makes, without asking what it is, and ends the process. The kind is
    in the lowest bits that follow version and class (HDF5 File Format 3.0, IV.A.2.d), behind the two bytes that
    `encode` begins with.
    """
    entry = dataset.id.get_type()
    parts = [entry.get_member_type(k).encode() for k in range(entry.get_nmembers())]
    if any(part[2] & 15 == _VLEN and part[3] & 15 for part in parts):
        raise UnveilError(f"{path} has readouts that are no lists of numbers: restore it from its source")


def _samples(raw: Raw, which: np.ndarray) -> list[np.ndarray]:
    """Return the samples of these readouts, in ascending order, each complex (coils, samples)."""
    with Tree(raw.path) as tree:
        data = tree.find(f"{GROUP}/data")
        assert data is not None
        found = tree[data].fields("data")[which]
    coils = raw.heads["active_channels"]
    return [np.asarray(v, np.float32).view(np.complex64).reshape(int(coils[k]), -1) for k, v in zip(which, found)]


class _Images:
    """The images of a file, each put together when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._raw = open_raw(path)
        self.shape, self.dtype = self._raw.shape, np.dtype(np.complex64)

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        raw = self._raw
        which, rows = raw.images[key[0]]
        height, width = raw.scan.encoded
        total = np.zeros((self.shape[1], height, width), np.complex64)
        count = np.bincount(rows, minlength=height)
        good = slice(raw.first, raw.first + raw.columns.stop - raw.columns.start)
        for samples, row in zip(_samples(raw, which), rows):
            total[:, row, raw.columns] += samples[:, good]
        total /= np.maximum(count, 1)[:, None]
        return (_cut(total, self.shape[-1]) if raw.cut else total)[key[1:]]


def _cut(kspace: np.ndarray, width: int) -> np.ndarray:
    """Return k-space (..., W) of the middle `width` pixels of its image."""
    x = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(kspace, axes=-1), norm="ortho"), axes=-1)
    start = kspace.shape[-1] // 2 - width // 2
    x = x[..., start : start + width]
    y: np.ndarray = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(x, axes=-1), norm="ortho"), axes=-1)
    return y.astype(np.complex64)
