"""Small runs: images, configurations and measurements that several tests train on."""

import pytest
import torch

from unveil.config import parse_config
from unveil.data import save_image
from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.training import read_metrics

SIGMA = 0.1


def clean(side, channels=1, phase=0.0):
    """Smooth images in [0, 1]."""
    t = torch.linspace(0, 6, side)
    return (0.5 + 0.2 * torch.sin(t + phase)[:, None] + 0.2 * torch.cos(1.3 * t - phase)).repeat(channels, 1, 1)


def measure(folder, count=5, side=32, channels=1, sigma=SIGMA, suffix=".tif"):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        x = clean(side, channels, i)
        save_image(folder / f"m{i}{suffix}", x + sigma * torch.randn(x.shape, generator=make_generator("cpu", i)))
    return folder


def configure(path, share=0.1, **sections):
    training = {"steps": 6, "batch": 4, "crop": 8, "warmup": 2, "validate_every": 3, "checkpoint_every": 2}
    values = {"estimator": {"widths": [8, 8]}, "data": {"path": str(path), "validation": share}, **sections}
    values["training"] = {**training, **sections.get("training", {})}
    return parse_config(values, "test")


def refused(call, *arguments):
    with pytest.raises(UnveilError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(f, g):
    return all(torch.equal(a, b) for a, b in zip(f.state_dict().values(), g.state_dict().values(), strict=True))


def noisy(y, sigma=0.1):
    """y, with noise of a known level."""
    return Measurement(y, Identity(), Gaussian(sigma))


def losses(folder):
    return [line["loss"] for line in read_metrics(folder)]
