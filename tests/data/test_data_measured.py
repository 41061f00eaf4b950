"""What lies where nothing was measured is not read: NaN, infinity, a number of the detector's."""

import numpy as np
import pytest
import torch

from unveil.data import Measured, MemorySource, crops, open_images
from unveil.errors import UnveilError
from unveil.operators import Identity, inpainting, mri
from unveil.random import make_generator

SEEN = torch.rand(3, 6, 7, generator=make_generator("cpu", 0)) < 0.6
Y = torch.rand(3, 2, 6, 7, generator=make_generator("cpu", 1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_each_measurements_own_mask_does_not_select_is_zero(tmp_path, bad):
    np.save(tmp_path / "y.npy", torch.where(SEEN[:, None], Y, bad).numpy())
    stored = open_images(tmp_path / "y.npy")
    source = Measured(stored, inpainting(SEEN, 2))
    expected = torch.where(SEEN[:, None], Y, 0)
    for i in range(3):
        with pytest.raises(UnveilError, match="NaN or infinite"):
            stored.read(i)
        assert torch.equal(source.read(i), expected[i])
        assert torch.equal(source.read(i, (2, 3, 4, 2)), expected[i, :, 2:6, 3:5])
    part = source.subset([2, 0])
    assert torch.equal(part.read(0), expected[2])
    assert crops(part, 4, 5, make_generator("cpu", 2)).isfinite().all()
    assert source.fingerprint() == stored.fingerprint()
    assert (source.name(1), source.where(1), source.shape(1)) == (stored.name(1), stored.where(1), (2, 6, 7))


def test_columns_of_k_space_that_are_not_measured():
    y = Y.clone()
    y[..., [0, 5]] = torch.nan
    columns = torch.tensor([0, 1, 1, 1, 1, 0, 1])
    source = Measured(MemorySource({str(i): row for i, row in enumerate(y)}), mri(columns, height=6))
    assert torch.equal(source.read(1), Y[1] * columns)


def test_one_nan_that_is_measured_is_no_inverted_mask():
    """Where nothing was measured are zeros, as a file of k-space has them."""
    y = Y * SEEN[:, None]
    y[0, :, 2, 3] = torch.nan
    mask = SEEN.clone()
    mask[0, 2, 3] = True
    with pytest.raises(UnveilError, match="contains NaN or infinite values"):
        Measured(MemorySource({str(i): row for i, row in enumerate(y)}), inpainting(mask, 2)).read(0)


def test_nan_that_is_measured_is_refused():
    y = Y.clone()
    y[0, 1, 2, 3] = torch.nan
    images = MemorySource({str(i): row for i, row in enumerate(y)})
    everything = torch.ones(6, 7, dtype=torch.bool)
    for operator in (inpainting(everything, 2), Identity()):
        source = Measured(images, operator)
        assert torch.equal(source.read(1), Y[1])
        with pytest.raises(UnveilError, match=r"0 \(image 0\) contains NaN or infinite values"):
            source.read(0)
