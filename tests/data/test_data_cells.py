"""The demo's cells are there without a download, and none of those held out is trained on."""

import torch

from unveil.data import heldout_cells, training_cells


def test_shapes_and_ranges():
    training, heldout = training_cells(), heldout_cells()
    assert len(training) == 6
    assert set(heldout) == {"nuclei_south_east", "membranes_south_east"}
    assert not set(training) & set(heldout)
    for x in (*training.values(), *heldout.values()):
        assert x.dtype == torch.float32
        assert x.shape == (1, 256, 256)
        assert 0 <= x.min() < x.max() <= 1
        assert 0.02 < x.mean() < 0.5, "bright on a dark ground"
