"""The demo's photographs are there without a download, in colour, and no scene is on both sides."""

import pytest
import skimage.data
import torch

from unveil.data import heldout_photographs, training_photographs
from unveil.errors import UnveilError


def test_shapes_and_ranges():
    training, heldout = training_photographs(), heldout_photographs()
    assert set(heldout) == {"astronaut", "chelsea", "coffee"}
    assert len(training) == 5
    assert not set(training) & set(heldout)
    for x in (*training.values(), *heldout.values()):
        assert x.dtype == torch.float32
        assert len(x) == 3
        assert min(x.shape[1:]) >= 128  # the demo's crop
        assert 0 <= x.min() < x.max() <= 1
        assert x.is_contiguous()


def test_area_average():
    original = torch.from_numpy(skimage.data.immunohistochemistry()).double() / 255
    expected = original.reshape(256, 2, 256, 2, 3).mean((1, 3)).permute(2, 0, 1)
    assert torch.allclose(training_photographs()["tissue"].double(), expected, atol=1e-6)


def test_held_out_windows():
    original = torch.from_numpy(skimage.data.coffee()).float() / 255
    x = heldout_photographs()["coffee"]
    assert torch.equal(x, original[60:316, 150:406].permute(2, 0, 1))


def test_missing_file_is_named(monkeypatch):
    def missing():
        raise ModuleNotFoundError("needs pooch")

    monkeypatch.setattr(skimage.data, "rocket", missing)
    with pytest.raises(UnveilError, match="photograph rocket is not in the installed scikit-image"):
        training_photographs()
