"""What is measured, and how noisy, in the tests of noise."""

import pytest
import torch
from noise_statistics import B, W, low

from unveil.random import make_generator


@pytest.fixture
def u(device, dtype):
    """Noiseless, as many images as each is wide: a level that broadcasts over columns raises nothing."""
    return 0.1 + 0.9 * torch.rand(B, 2, 40, W, generator=make_generator(device, 1), device=device, dtype=dtype)


@pytest.fixture
def parameter(device, dtype):
    return low(device, dtype)
