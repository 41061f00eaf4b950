"""The suite runs on any device and precision: `pytest --device cuda --dtype float64`."""

import pytest
import torch

from unveil.random import make_generator


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="device of the tests' tensors")
    parser.addoption("--dtype", default="float32", choices=["float32", "float64"])


@pytest.fixture
def device(request):
    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def dtype(request):
    return getattr(torch, request.config.getoption("--dtype"))


@pytest.fixture
def generator(device):
    return make_generator(device, 0)
