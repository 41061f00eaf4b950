"""Weights that state another noise than that of the visibilities are told; gains and phases do not hide it."""

from dataclasses import replace

import pytest
import torch

from unveil.instruments.interferometry.example import STATIONS, TRACK, sources
from unveil.instruments.interferometry.gains import corrupt
from unveil.instruments.interferometry.scatter import noise_line, scatter
from unveil.instruments.interferometry.simulated import model_visibilities
from unveil.instruments.interferometry.uvtrack import uv_track
from unveil.random import make_generator

COVERAGE = uv_track(STATIONS, **{**TRACK, "cadence": 120.0})
AGAIN = 12
"""Visibilities of each pair in each scan, 10 seconds apart."""


def observed(flux, generator):
    """Visibilities of one source, with gains of the stations and the noise of the coverage."""
    x = sources(1, 32, make_generator("cpu", 5))
    v = corrupt(COVERAGE, model_visibilities(COVERAGE, x, 130.0, flux / float(x.sum()))[0], generator).repeat(AGAIN)
    repeated = {name: getattr(COVERAGE, name).repeat(AGAIN) for name in ("u", "v", "sigma")}
    times = torch.cat([COVERAGE.times + k / 360 for k in range(AGAIN)])
    coverage = replace(COVERAGE, **repeated, times=times, pairs=COVERAGE.pairs * AGAIN)
    noise = torch.randn(*v.shape, 2, generator=generator, dtype=torch.float64)
    return coverage, v + coverage.sigma * torch.view_as_complex(noise)


@pytest.mark.parametrize(("flux", "expected"), [(100.0, 1.0), (1e-3, 0.655)], ids=["all signal", "all noise"])
def test_what_it_is_at_either_end(flux, expected):
    """Rayleigh's deviation is .655, and its differences' median lies close to that of a Gaussian's."""
    coverage, v = observed(flux, make_generator("cpu", 1))
    error = 1.2 / len(v) ** 0.5  # of a median absolute deviation; neighbours share a visibility
    assert scatter(coverage, v) == pytest.approx(expected, abs=4 * error + 0.01)


@pytest.mark.parametrize("flux", [10.0, 1.0, 0.01])
@pytest.mark.parametrize(("weights", "said"), [(1.0, False), (2.0, False), (0.5, False), (1e-2, True), (100.0, True)])
def test_weights_a_hundred_times_wrong_are_told(weights, said, flux):
    coverage, v = observed(flux, make_generator("cpu", 2))
    line = noise_line(replace(coverage, sigma=coverage.sigma * weights**-0.5), v)
    assert (line is not None) == said
    assert not said or "times as much as their weights state" in line


def test_averages_do_not_tell():
    x = sources(1, 32, make_generator("cpu", 5))
    v = model_visibilities(COVERAGE, x, 130.0, 1 / float(x.sum()))[0]
    assert scatter(COVERAGE, v) is None
    assert scatter(replace(COVERAGE, times=None), v) is None
