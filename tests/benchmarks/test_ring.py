"""Rings of known diameter and brightness are measured."""

import pytest
import torch

from ring import measure

SIDE, PIXEL = 32, 4.0


def crescent(diameter, east, north, contrast, width=5.0):
    """Brightest in the south, for contrast > 0."""
    axis = (torch.arange(SIDE) - (SIDE - 1) / 2) * PIXEL
    x, y = axis + east, axis[:, None] + north
    r = torch.hypot(x, y)
    return torch.exp(-((r - diameter / 2) ** 2) / (2 * width**2)) * (1 + contrast * y / r.clamp(min=1))


@pytest.mark.parametrize(("diameter", "east", "north"), [(40.0, 0.0, 0.0), (50.0, 6.0, -3.0), (60.0, -5.0, 7.0)])
def test_a_ring_is_as_wide_as_it_is(diameter, east, north):
    found = measure(crescent(diameter, east, north, 0.4), PIXEL)
    assert found.diameter == pytest.approx(diameter, abs=1.5)
    # over angles, (1 + c 2 / pi) / (1 - c 2 / pi)
    assert found.south_over_north == pytest.approx((1 + 0.8 / torch.pi) / (1 - 0.8 / torch.pi), rel=0.15)
    assert found.spread < 0.1
    assert found.depression < 0.4


def test_the_brighter_side_is_told_from_the_other():
    assert measure(crescent(44.0, 0.0, 0.0, -0.4), PIXEL).south_over_north < 0.8
    assert measure(crescent(44.0, 0.0, 0.0, 0.0), PIXEL).south_over_north == pytest.approx(1, abs=0.02)
