"""Speckle of amplitudes is told from speckle of intensities."""

import pytest
import torch

from unveil.checks import contradictions
from unveil.checks.amplitudes import amplitude_line
from unveil.data import heldout_cells, training_cells
from unveil.noise import Gamma, Gaussian
from unveil.random import make_generator


def intensities(looks):
    """Eight images."""
    scenes = [*training_cells().values(), *heldout_cells().values()]
    return [Gamma(looks).sample(0.2 + x[:, :160, :160], make_generator("cpu", i)) for i, x in enumerate(scenes)]


@pytest.mark.parametrize("looks", [1.0, 1.5, 2.0, 4.0, 16.0])
def test_intensities_are_what_they_are(looks):
    assert amplitude_line(intensities(looks), Gamma(looks)) is None


@pytest.mark.parametrize(("looks", "taken_for"), [(1.0, 3.66), (1.5, 5.62)])
def test_amplitudes_of_few_looks_are_told(looks, taken_for):
    line = amplitude_line([y.sqrt() for y in intensities(looks)], Gamma(taken_for))
    assert "of amplitudes, not of intensities" in line
    assert line.endswith(f"square the values, which then have about {looks:.2g} looks")
    (said,) = contradictions({str(i): y.sqrt() for i, y in enumerate(intensities(looks))}, Gamma(taken_for))
    assert said == line


def test_of_what_is_no_speckle_nothing_is_said():
    amplitudes = [y.sqrt() for y in intensities(1.0)]
    assert amplitude_line(amplitudes, Gaussian(0.1)) is None
    assert amplitude_line([y * (torch.rand_like(y) > 0.01) for y in amplitudes], Gamma(3.66)) is None, "zeros"
    assert amplitude_line([y[:, :4] for y in amplitudes], Gamma(3.66)) is None, "too small"
    assert amplitude_line([y.square() for y in intensities(1.0)], Gamma(0.3)) is None, "neither"
