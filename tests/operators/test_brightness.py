"""The brightness of sources of known brightness is found from what an interferometer sees of them, to a factor of about
two."""

import math

import pytest
import torch

from unveil.instruments.interferometry.brightness import peak_brightness
from unveil.instruments.interferometry.operator import MICROARCSECOND
from unveil.operators import Coverage, interferometry
from unveil.random import make_generator, normal

PIXELS, FIELD = 32, 160.0
PIXEL = (FIELD * MICROARCSECOND / PIXELS) ** 2
"""In steradian."""


def coverage(sigma, count=400):
    """Baselines to where pixels are half a period, many of them short."""
    generator = make_generator("cpu", 0)
    longest = 0.5 * PIXELS / (FIELD * MICROARCSECOND)
    r, angle = longest * torch.rand(count, generator=generator), 2 * math.pi * torch.rand(count, generator=generator)
    r, angle, every = r.double(), angle.double(), torch.full((count,), sigma).double()
    return Coverage(r * angle.cos(), r * angle.sin(), every)


def source(kind):
    """(1, 1, PIXELS, PIXELS) with its peak at 1."""
    axis = torch.arange(PIXELS) - PIXELS / 2 + 0.5
    r = torch.hypot(axis, axis[:, None])
    shapes = {
        "gaussian": torch.exp(-((r / 4) ** 2) / 2),
        "disc": ((6 - r) + 0.5).clamp(0, 1),
        "ring": torch.exp(-(((r - 6) / 1.5) ** 2) / 2),
    }
    return (shapes[kind] / shapes[kind].max())[None, None].double()


def seen(x, brightness, sigma=1e-3):
    where = coverage(sigma)
    y = interferometry(where, PIXELS, FIELD, brightness).A(x)
    y = y + sigma * normal(y, make_generator("cpu", 1))
    return torch.complex(y[:, 0, 0], y[:, 1, 0]), where


@pytest.mark.parametrize("kind", ["gaussian", "disc", "ring"])
@pytest.mark.parametrize("brightness", [0.01, 10.0])
def test_known_sources(kind, brightness):
    found = peak_brightness(*seen(source(kind), brightness), FIELD * MICROARCSECOND)
    assert brightness / 2 < found * PIXEL < 2 * brightness


def test_phases_do_not_matter():
    """Stations whose clocks differ leave amplitudes alone."""
    visibilities, where = seen(source("ring"), 0.01)
    turned = visibilities * torch.polar(torch.ones(400), 6 * torch.rand(400, generator=make_generator("cpu", 2))).to(
        visibilities
    )
    first, second = (peak_brightness(v, where, FIELD * MICROARCSECOND) for v in (visibilities, turned))
    assert first == pytest.approx(second, rel=1e-6)


def test_flux_from_outside_of_the_image_does_not_matter():
    """The shortest baselines see a jet as well, twice as bright as the source as a whole."""
    visibilities, where = seen(source("ring"), 0.01)
    short = torch.hypot(where.u, where.v) * FIELD * MICROARCSECOND < 0.2
    assert short.any()
    found = peak_brightness(visibilities + 2 * visibilities.abs().max() * short, where, FIELD * MICROARCSECOND)
    assert 0.005 < found * PIXEL < 0.02


def test_noise_alone():
    visibilities, where = seen(0 * source("disc"), 1.0)
    found = peak_brightness(visibilities, where, FIELD * MICROARCSECOND)
    assert found is None or found * PIXEL < 1e-3
