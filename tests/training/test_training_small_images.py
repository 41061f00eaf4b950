"""An image smaller than the crop is named."""

import pytest
import torch

from unveil.config import Config
from unveil.data import MemorySource
from unveil.errors import UnveilError
from unveil.training.setup import possible_dilation


def test_the_smallest_image_is_named():
    config = Config.model_validate({"data": {"path": "images"}})
    source = MemorySource(
        {"large": torch.zeros(1, 64, 64), "tiny": torch.zeros(1, 10, 12), "last": torch.zeros(1, 64, 64)}
    )
    with pytest.raises(UnveilError, match=r"tiny \(image 1\), the smallest image, has 10 pixels across"):
        possible_dilation(config, source)
    assert 1 in possible_dilation(config, source.subset([0, 2]))
