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


@pytest.mark.parametrize("turned", [20.0, 110.0, 200.0, 335.0])
def test_where_it_is_brightest_is_told_east_of_north(turned):
    """North is up and east is left: a quarter turn of x against the clock adds 90 degrees."""
    axis = (torch.arange(SIDE) - (SIDE - 1) / 2) * PIXEL
    place = torch.atan2(-axis[None], -axis[:, None])
    r = torch.hypot(axis, axis[:, None])
    x = torch.exp(-((r - 21) ** 2) / 50) * (1 + 0.4 * torch.cos(place - turned * torch.pi / 180))
    assert measure(x, PIXEL).angle == pytest.approx(turned, abs=3)
    assert measure(x.rot90(), PIXEL).angle == pytest.approx((turned + 90) % 360, abs=3)


def test_the_brighter_side_is_told_from_the_other():
    assert measure(crescent(44.0, 0.0, 0.0, -0.4), PIXEL).south_over_north < 0.8
    assert measure(crescent(44.0, 0.0, 0.0, 0.0), PIXEL).south_over_north == pytest.approx(1, abs=0.02)
