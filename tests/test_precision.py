"""Single precision is that of the CPU wherever training, evaluation and use begin."""

import warnings

import pytest
import torch
from torch import nn

from unveil.cli.device import torch_device
from unveil.config import parse_config
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.evaluation import evaluate
from unveil.model import Model
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.precision import full_precision
from unveil.random import make_generator
from unveil.training.device import join

CONFIG = parse_config({"data": {"path": "given in Python"}}, "settings")


class Mean(nn.Module):
    """f(m) = y / 2."""

    def forward(self, m):
        return m.y / 2


def evaluated():
    y = torch.rand(1, 32, 32, generator=make_generator("cpu", 0))
    list(evaluate(Mean(), Dataset(MemorySource({"a": y}), Identity(), Gaussian(0.1)), CONFIG.sampling, sampled=0))


ENTRIES = {
    "training": lambda: join("cpu"),
    "command": lambda: torch_device("cpu"),
    "model": lambda: Model(Mean(), Identity(), Gaussian(0.1), CONFIG),
    "evaluation": evaluated,
}


def allowed():
    """Whether convolutions and products of matrices may be rounded to TF32."""
    if hasattr(torch.backends.cudnn, "conv"):  # of torch 2.9 on
        return [c.fp32_precision == "tf32" for c in (torch.backends.cudnn.conv, torch.backends.cuda.matmul)]
    return [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32]


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_way_in_computes_in_full_precision(entry):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        assert allowed() == [True, True]
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*TF32")  # a setting of torch's that is called deprecated
            ENTRIES[entry]()
        assert allowed() == [False, False]
    finally:
        full_precision()


def error(found, exact):
    return float((found - exact).norm() / exact.norm())


def test_single_precision_has_its_digits(device):
    """TF32 errs by 3e-4."""
    x, g = (torch.randn(8, 8, 32, 32, generator=make_generator(device, key), device=device) for key in (1, 2))
    convolved, exact = (nn.functional.conv2d(a, b[..., :3, :3]) for a, b in ((x, g), (x.double(), g.double())))
    assert error(convolved, exact) < 1e-5
    assert error(x @ g, x.double() @ g.double()) < 1e-5
