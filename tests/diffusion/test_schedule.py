"""The exposures at which the sampler stops."""

import math

import pytest
import torch

from unveil.diffusion import SCHEDULES, geometric, karras
from unveil.errors import UnveilError

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))


@every_schedule
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_exposures_run_from_one_to_the_lowest_level(schedule, steps):
    exposures = schedule(0.05, steps)
    assert (exposures.shape, exposures.dtype) == ((steps,), torch.float64)
    assert float(exposures[0]) == 1
    assert bool((exposures[1:] > exposures[:-1]).all())
    if steps > 1:
        assert float(exposures[-1]) == pytest.approx(400, rel=1e-12)


def test_geometric_steps_are_equal_in_ln_t():
    h = geometric(0.01, 21).log().diff()
    torch.testing.assert_close(h, torch.full_like(h, 2 * math.log(100) / 20))


def test_karras_against_the_papers_formula():
    n, high, low = 18, 80.0, 0.002
    levels = [(high ** (1 / 7) + i / (n - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(n)]
    torch.testing.assert_close(high * karras(low / high, n) ** -0.5, torch.tensor(levels, dtype=torch.float64))


@every_schedule
@pytest.mark.parametrize(
    ("lowest", "steps", "message"),
    [
        (0.0, 5, "lowest level is 0.0 of the first"),
        (-1.0, 5, "lowest level is -1"),
        (1.0, 5, r"must be in \(0, 1\)"),
        (2.0, 5, r"must be in \(0, 1\)"),
        (math.nan, 5, "lowest level is nan"),
        (0.05, 0, "steps is 0"),
        (0.05, -3, "steps is -3"),
    ],
)
def test_refusals(schedule, lowest, steps, message):
    with pytest.raises(UnveilError, match=message):
        schedule(lowest, steps)
