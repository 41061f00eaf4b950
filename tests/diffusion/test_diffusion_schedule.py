import math

import pytest
import torch

from unveil.diffusion import SCHEDULES, geometric, karras
from unveil.errors import UnveilError


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_levels(name, steps):
    levels = SCHEDULES[name](0.1, 0.001, steps)
    assert levels.shape == (steps + 1,)
    assert float(levels[0]) == 0.1
    assert float(levels[-1]) == 0
    assert bool((levels[1:] < levels[:-1]).all())
    if steps > 1:
        assert float(levels[-2]) == pytest.approx(0.001, rel=1e-12)


def test_geometric_steps_are_equal_in_lambda():
    h = -geometric(0.1, 0.001, 21)[:-1].log().diff()
    torch.testing.assert_close(h, torch.full_like(h, math.log(100) / 20))


def test_karras_against_the_papers_formula():
    n, high, low = 18, 80.0, 0.002
    expected = [(high ** (1 / 7) + i / (n - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(n)]
    torch.testing.assert_close(karras(high, low, n), torch.tensor([*expected, 0.0], dtype=torch.float64))
    flat = karras(high, low, n, rho=1)[:-1].diff()
    torch.testing.assert_close(flat, torch.full_like(flat, (low - high) / (n - 1)))


@pytest.mark.parametrize("name", SCHEDULES)
def test_one_schedule_per_sample(name):
    high = torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64)
    levels = SCHEDULES[name](high, high / 100, 10)
    assert levels.shape == (11, 3)
    for b in range(3):
        torch.testing.assert_close(levels[:, b], SCHEDULES[name](float(high[b]), float(high[b]) / 100, 10))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, 0.0, 5), "sigma_min is 0"),
        ((0.1, -1.0, 5), "sigma_min is -1"),
        ((0.1, 0.1, 5), "sigma_max is 0.1"),
        ((0.1, 0.2, 5), "lower sigma_min"),
        ((float("nan"), 0.2, 5), "sigma_max is nan"),
        ((float("inf"), 0.2, 5), "finite"),
        ((0.1, float("nan"), 5), "sigma_min is nan"),
        ((torch.tensor([0.1, 0.01]), 0.02, 5), "sigma_max is 0.01"),
        ((torch.ones(2, 3), 0.02, 5), r"\(2, 3\)"),
        ((0.1, 0.01, 0), "steps is 0"),
    ],
)
def test_errors(name, arguments, message):
    with pytest.raises(UnveilError, match=message):
        SCHEDULES[name](*arguments)


def test_karras_refuses_rho_zero():
    with pytest.raises(UnveilError, match="rho is 0"):
        karras(0.1, 0.01, 5, rho=0)
