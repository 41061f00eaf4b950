"""The mask of k-space that is 0 where nothing was measured, from the data themselves."""

import numpy as np
import pytest
import torch

from unveil.data import MemorySource
from unveil.errors import UnveilError, UnveilWarning
from unveil.instruments.mri import MRISection
from unveil.instruments.mri.inside import estimate
from unveil.operators import birdcage_coils, cartesian_mask
from unveil.random import make_generator

SIDE = 24
MASKS = torch.stack([cartesian_mask(SIDE, SIDE, 3, 0.1, make_generator("cpu", key)) for key in range(2)])


def source(masks, coils=1) -> MemorySource:
    """Noise of both parts of each coil, on one mask for each measurement."""
    draw = make_generator("cpu", 5)
    return MemorySource(
        {str(i): torch.randn(2 * coils, SIDE, SIDE, generator=draw) * mask for i, mask in enumerate(masks)}
    )


def test_each_measurement_tells_its_own():
    assert not torch.equal(*MASKS)
    found = estimate(MRISection(), source(MASKS))
    assert torch.equal(found.mask[:, 0], MASKS)
    assert found.image_shape == (2, SIDE, SIDE)


def test_where_all_are_alike_there_is_one():
    found = estimate(MRISection(), source([MASKS[0]] * 3))
    assert torch.equal(found.mask[:, 0], MASKS[:1])


def test_an_entry_is_measured_where_one_coil_or_one_part_is_not_zero(tmp_path):
    y = source(MASKS[:1], coils=3).read(0)
    y[:5, 3] = 0  # of the last coil's imaginary part something is left
    np.save(tmp_path / "coils.npy", birdcage_coils(3, SIDE, SIDE).numpy())
    found = estimate(MRISection(coils=str(tmp_path / "coils.npy")), MemorySource({"y": y}))
    assert torch.equal(found.mask[0, 0], MASKS[0])
    assert found.sensitivities.shape[1] == 3


def test_that_all_counts_as_measured_is_told():
    with pytest.warns(UnveilWarning, match="k-space is 0 nowhere, so all of it counts as measured"):
        estimate(MRISection(), source([torch.ones(SIDE, SIDE)]))


def test_a_measurement_of_zeros_is_refused():
    with pytest.raises(UnveilError, match=r"1.*: k-space is 0 everywhere: leave it out"):
        estimate(MRISection(), source([MASKS[0], torch.zeros(SIDE, SIDE)]))


def test_what_is_given_is_not_looked_for(tmp_path):
    np.save(tmp_path / "mask.npy", MASKS[0].numpy())
    assert estimate(MRISection(mask=str(tmp_path / "mask.npy")), source(MASKS)) is None
