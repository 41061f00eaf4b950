"""The law of the images' pixels as found in noisy ones, against images whose law is known."""

import pytest
import torch

from unveil.config import parse_config
from unveil.data import MemorySource
from unveil.instruments.demosaicing.operator import demosaicing
from unveil.instruments.inpainting.operator import inpainting
from unveil.noise import Gamma, Gaussian, Poisson, PoissonGaussian
from unveil.operators.convolution import Convolution
from unveil.operators.identity import Identity
from unveil.random import make_generator
from unveil.runs.signal import LEAST, signal_law, with_signal_law

MEAN, STD = 0.2, 0.06
NOISES = [Gaussian(0.1), Poisson(0.05), PoissonGaussian(0.02, 0.05, 0.1), Gamma(4.0)]


def images(noise, std):
    """Twelve images of independent pixels of mean .2."""
    generator = make_generator("cpu", 3)
    u = MEAN + std * 3**0.5 * (2 * torch.rand(12, 1, 64, 64, generator=generator) - 1)
    y = noise.sample(u + float(getattr(noise, "offset", 0.0)), generator)
    return MemorySource({str(i): image for i, image in enumerate(y)})


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: type(noise).__name__)
def test_mean_and_deviation_are_those_of_the_images_without_the_noise(noise):
    mean, v = signal_law(images(noise, STD), noise, Identity())
    # 49,152 pixels: var(y) is known to some 1%, of which v^2 is a quarter to a half
    assert mean == pytest.approx(MEAN + float(getattr(noise, "offset", 0.0)), abs=0.003)
    assert v == pytest.approx(STD, rel=0.06)


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: type(noise).__name__)
def test_of_noise_alone_the_deviation_is_a_share_of_the_noises(noise):
    _, v = signal_law(images(noise, 0.0), noise, Identity())
    level = float(noise.variance(torch.full((1, 1, 1, 1), MEAN + float(getattr(noise, "offset", 0.0))))) ** 0.5
    assert LEAST * 0.95 * level < v < 0.2 * level


def test_what_is_stated_stays():
    config = parse_config({"data": {"path": "none"}}, "test")
    found = with_signal_law(config, {"std": 0.25}, images(NOISES[0], STD), NOISES[0], Identity()).estimator
    assert found.std == 0.25
    assert found.mean == pytest.approx(MEAN, abs=0.01)


@pytest.mark.parametrize("each", [False, True])
def test_of_missing_pixels_those_that_are_measured_tell(each):
    """What stands in the others, 9 or nothing, does not matter; a mask of each measurement is its own."""
    noise, source = NOISES[0], images(NOISES[0], STD)
    mask = torch.rand(len(source) if each else 1, 64, 64, generator=make_generator("cpu", 4)) < 0.4
    operator = inpainting(mask if each else mask[0])
    y = {str(i): torch.where(mask[i % len(mask)], source.read(i), 9.0) for i in range(len(source))}
    mean, v = signal_law(MemorySource(y), noise, operator)
    assert mean == pytest.approx(MEAN, abs=0.004)
    assert v == pytest.approx(STD, rel=0.1)


def test_a_mosaic_tells_and_what_mixes_pixels_does_not():
    noise, source = NOISES[0], images(NOISES[0], STD)
    config = parse_config({"data": {"path": "none"}}, "test")
    found = with_signal_law(config, {}, source, noise, demosaicing(64, 64)).estimator
    assert (found.mean, found.std) == (pytest.approx(MEAN, abs=0.01), pytest.approx(STD, rel=0.1))
    blur = Convolution((1, 64, 64), torch.ones(1, 1, 64, 33), 0.1)
    assert with_signal_law(config, {}, source, noise, blur) == config
