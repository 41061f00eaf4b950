"""What cannot be an operator is refused in one line that says what to give instead."""

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from unveil.errors import UnveilError
from unveil.instruments.files import read_array
from unveil.instruments.registry import OperatorSection, build_operator
from unveil.operators import (
    blur,
    demosaicing,
    gaussian_kernel,
    inpainting,
    missing_box,
    random_mask,
    super_resolution,
    tomography,
)
from unveil.random import make_generator

ones, nan, inf = torch.ones, float("nan"), float("inf")
angles = torch.arange(0, 180, 30.0)

ARGUMENTS = {
    "the mask has shape (4,)": lambda: inpainting(ones(4)),
    "the mask has shape (1, 1, 4, 4)": lambda: inpainting(ones(1, 1, 4, 4)),
    "the mask holds values other": lambda: inpainting(torch.full((4, 4), 0.5)),
    "holds values other than 0 and 1": lambda: inpainting(torch.full((4, 4), nan)),
    "the mask measures no pixel": lambda: inpainting(torch.zeros(4, 4)),
    "measures no pixel": lambda: inpainting(torch.cat([ones(1, 4, 4), torch.zeros(1, 4, 4)])),
    "in (0, 1], not 0": lambda: random_mask(4, 4, 0, make_generator("cpu", 0)),
    "in (0, 1], not 1.5": lambda: random_mask(4, 4, 1.5, make_generator("cpu", 0)),
    "the box (top, left, height, width) = (3, 0, 2, 1)": lambda: missing_box(4, 4, 3, 0, 2, 1),
    "= (-1, 0, 2, 1)": lambda: missing_box(4, 4, -1, 0, 2, 1),
    "= (0, 0, 0, 1)": lambda: missing_box(4, 4, 0, 0, 0, 1),
    "pattern is 'XTRANS'": lambda: demosaicing(4, 4, "XTRANS"),
    "pattern is 'rggb'": lambda: demosaicing(4, 4, "rggb"),
    "5x4 pixels": lambda: demosaicing(5, 4),
    "4x5 pixels": lambda: demosaicing(4, 5),
    "0x4 pixels": lambda: demosaicing(0, 4),
    "the kernel has shape (3, 3, 3)": lambda: blur(ones(3, 3, 3), 8, 8),
    "the kernel has shape (3,)": lambda: blur(ones(3), 8, 8),
    "the kernel has 9x3 pixels": lambda: blur(ones(9, 3), 8, 8),
    "the kernel has 3x9 pixels": lambda: blur(ones(3, 9), 8, 8),
    "sums to 0": lambda: blur(torch.zeros(3, 3), 8, 8),
    "sums to -9": lambda: blur(-ones(3, 3), 8, 8),
    "sums to nan": lambda: blur(torch.full((3, 3), nan), 8, 8),
    "sums to inf": lambda: blur(torch.tensor([[1.0, inf]]), 8, 8),
    "0 pixels, not 0": lambda: gaussian_kernel(0),
    "0 pixels, not nan": lambda: gaussian_kernel(nan),
    "factor of super-resolution is 1": lambda: super_resolution(1, 8, 8),
    "factor of super-resolution is 2.5": lambda: super_resolution(2.5, 10, 10),
    "the image has 9x8 pixels": lambda: super_resolution(2, 9, 8),
    "the image has 8x9 pixels": lambda: super_resolution(2, 8, 9),
    "the kernel has 8x8 pixels": lambda: super_resolution(2, 6, 6),
    "the angles have shape (2, 3)": lambda: tomography(ones(2, 3), 8),
    "the angles have shape (0,)": lambda: tomography(ones(0), 8),
    "the angles have shape (1,)": lambda: tomography(torch.tensor([nan]), 8),
    "the width of the image is 1": lambda: tomography(angles, 1),
    "7 detectors do not fit an image of 8": lambda: tomography(angles, 8, 7),
    "9 detectors do not fit an image of 8": lambda: tomography(angles, 8, 9),
    "the axis of rotation is at pixel 9 of 9 detectors": lambda: tomography(angles, 8, 9, axis=9.0),
}


def refused(message, call):
    with pytest.raises(UnveilError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("message", ARGUMENTS)
def test_arguments(message):
    refused(message, ARGUMENTS[message])


# --- sections of a configuration: what they say, and the shape (C, H, W) of five measurements


def arrays(folder):
    """The files that the sections below name."""
    for name, array in {
        "mask": np.ones((4, 6)),
        "masks": np.ones((3, 4, 6)),
        "dark": np.zeros((4, 6)),
        "kernel": np.ones((3, 3)),
        "complex": np.ones((3, 3), dtype=complex),
        "text": np.array(["a", "b"]),
        "angles": np.arange(7.0),
        "table": np.ones((1, 7)),
        "one": np.array(3.0),
    }.items():
        np.save(folder / f"{name}.npy", array)
    imageio.imwrite(folder / "colour.png", np.full((3, 3, 3), 9, dtype=np.uint8))


SECTIONS = {
    "mask.npy has shape (4, 6), and the 5 measurements are 4x8 pixels": ("inpainting", (1, 4, 8), {"mask": "mask.npy"}),
    "masks.npy has shape (3, 4, 6)": ("inpainting", (1, 4, 6), {"mask": "masks.npy"}),
    "the mask measures no pixel": ("inpainting", (1, 4, 6), {"mask": "dark.npy"}),
    "operator.mask: /nowhere.png does not exist": ("inpainting", (1, 4, 6), {"mask": "/nowhere.png"}),
    "3 channels, and a raw mosaic has 1": ("demosaicing", (3, 4, 6), {}),
    "the mosaic has 4x7 pixels": ("demosaicing", (1, 4, 7), {}),
    "neither given": ("blur", (1, 8, 8), {}),
    "both given": ("blur", (1, 8, 8), {"kernel": "kernel.npy", "std": 1.0}),
    "the kernel has 3x3 pixels, more than the image's 2x8": ("blur", (1, 2, 8), {"kernel": "kernel.npy"}),
    "the kernel has shape (3, 3, 3)": ("blur", (1, 8, 8), {"kernel": "colour.png"}),
    "the kernel sums to 0": ("blur", (1, 8, 8), {"kernel": "dark.npy"}),
    "complex.npy holds complex numbers": ("blur", (1, 8, 8), {"kernel": "complex.npy"}),
    "text.npy holds <U1, not numbers": ("super_resolution", (1, 8, 8), {"factor": 2, "kernel": "text.npy"}),
    "the kernel has 16x16 pixels": ("super_resolution", (1, 3, 3), {"factor": 4}),
    "(7,), and the measurements are 10 detectors x 6 angles; give 6 angles": (
        "tomography",
        (1, 10, 6),
        {"angles": "angles.npy"},
    ),
    "transpose them: exchange H and W in data.axes": ("tomography", (1, 7, 10), {"angles": "angles.npy"}),
    "table.npy has shape (1, 7)": ("tomography", (1, 10, 7), {"angles": "table.npy"}),
    "one.npy has shape ()": ("tomography", (1, 10, 1), {"angles": "one.npy"}),
    "10 detectors do not fit an image of 12 pixels": ("tomography", (1, 10, 6), {"width": 12}),
    "10 detectors do not fit an image of 7 pixels": ("tomography", (1, 10, 6), {"width": 7}),
}


@pytest.mark.parametrize("message", SECTIONS)
def test_sections(message, tmp_path, monkeypatch):
    arrays(tmp_path)
    monkeypatch.chdir(tmp_path)
    kind, shape, section = SECTIONS[message]
    system = TypeAdapter(OperatorSection).validate_python({"kind": kind, **section})
    refused(message, lambda: build_operator(system, shape, 5))


# --- files


@pytest.mark.parametrize("name", ["words.png", "words.tif", "words.npy", "words.txt", "empty.npy", "empty.png"])
def test_files_that_cannot_be_read(name, tmp_path):
    (tmp_path / name).write_text("" if "empty" in name else "these are not numbers")
    refused(
        f"operator.mask: {tmp_path / name} cannot be read (", lambda: read_array(str(tmp_path / name), "operator.mask")
    )


def test_files_that_hold_no_numbers(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    refused("cannot be read (", lambda: read_array(str(tmp_path / "objects.npy"), "key"))  # and nothing is unpickled
    np.savez(tmp_path / "several.npz", a=np.ones(3))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    refused("not numbers", lambda: read_array(str(tmp_path / "several.npy"), "key"))
    refused("does not exist", lambda: read_array(str(tmp_path), "key"))


@pytest.mark.parametrize("name", ["a.npy", "a.png", "a.tif", "A.NPY"])
def test_files_that_are_read(name, tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    if name.lower().endswith("npy"):
        with open(tmp_path / name, "wb") as file:
            np.save(file, array)
    else:
        imageio.imwrite(tmp_path / name, array)
    np.testing.assert_array_equal(read_array(str(tmp_path / name), "key"), array)
