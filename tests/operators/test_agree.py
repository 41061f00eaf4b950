"""Tables of particles and their stacks: what they say of one another, and units that are not those asked for."""

import re

import numpy as np
import pytest
import torch

from unveil.checks.measurements import contradicted
from unveil.data import MemorySource, open_images
from unveil.errors import UnveilWarning
from unveil.instruments.cryoem import INSTRUMENT, CryoEMSection
from unveil.instruments.cryoem.agree import check_stacks
from unveil.operators import Optics, build_operator, particles

mrcfile = pytest.importorskip("mrcfile")
pytest.importorskip("starfile")

SIDE, PIXEL = 16, 1.31
TABLE = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnVoltage #2
_rlnSphericalAberration #3
_rlnAmplitudeContrast #4
_rlnImagePixelSize #5
_rlnImageSize #6
1 300 2.7 0.07 {pixel} {side}

data_particles

loop_
_rlnImageName #1
_rlnDefocusU #2
_rlnOpticsGroup #3
1@stack.mrcs 15000 1
2@stack.mrcs 16000 1
"""


@pytest.fixture
def write(tmp_path):
    def inner(side=SIDE, pixel=PIXEL, header=PIXEL):
        with mrcfile.new(tmp_path / "stack.mrcs", overwrite=True) as file:
            file.set_data(np.random.default_rng(0).normal(size=(2, SIDE, SIDE)).astype(np.float32))
            file.voxel_size = header
        path = tmp_path / "particles.star"
        path.write_text(TABLE.format(pixel=pixel, side=side))
        return CryoEMSection(table=str(path)), open_images(path)

    return inner


@pytest.mark.parametrize("header", [PIXEL, 1.01 * PIXEL, 0.0, 1.0], ids=["same", "calibrated", "none", "unset"])
def test_files_that_agree(write, header, recwarn):
    check_stacks(*write(header=header))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"header": 2 * PIXEL}, "has pixels of 2.62 angstrom in its header, and 1.31 is stated"),
        ({"pixel": PIXEL / 2}, "has pixels of 1.31 angstrom in its header, and 0.655 is stated"),
        ({"side": 2 * SIDE, "header": 0.0}, "states images of 32 pixels a side, and .* has 16"),
    ],
)
def test_binned_images_with_the_table_of_others(write, stated, words):
    with pytest.warns(UnveilWarning, match=words):
        check_stacks(*write(**stated))


def test_results_have_the_pixels_that_the_table_states(write, tmp_path):
    section, _ = write()
    assert (INSTRUMENT.units(section).pixel, INSTRUMENT.units(section).pixel_unit) == (PIXEL, "Å")
    assert INSTRUMENT.units(CryoEMSection(table=section.table, pixel_size=2.5)).pixel == 2.5
    (tmp_path / "particles.star").unlink()
    assert INSTRUMENT.units(section).pixel is None


def test_the_operator_is_built_all_the_same(write):
    section, source = write()
    assert build_operator(section, source.shape(0), len(source)).image_shape == (1, SIDE, SIDE)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({}, None),
        ({"defocus_u": -15000.0}, None),
        ({"defocus_u": torch.tensor([1.5, 0.9])}, "defocus is at most 1.5 angstrom: is it in micrometres"),
        ({"voltage": 300_000.0}, "3e.05 kilovolt: is it in volts"),
    ],
)
def test_units_that_are_not_those_asked_for(stated, words):
    known = {"pixel_size": PIXEL, "voltage": 300.0, "cs": 2.7, "amplitude_contrast": 0.1, "defocus_u": 15000.0}
    y = torch.randn(2, 1, SIDE, SIDE)
    source = MemorySource({str(i): one for i, one in enumerate(y)})
    found = contradicted("cryoem", source, particles((SIDE, SIDE), Optics(**{**known, **stated})))
    assert len(found) == (words is not None)
    assert words is None or re.search(words, found[0])


def test_a_particle_of_one_value_is_named():
    y = torch.randn(3, 1, SIDE, SIDE)
    y[1] = 0
    source = MemorySource({f"particle {i}": one for i, one in enumerate(y)})
    (line,) = contradicted("cryoem", source, particles((SIDE, SIDE), Optics(PIXEL, 300.0, 2.7, 0.1, 15000.0)))
    assert line.startswith("particle 1: one value alone")
