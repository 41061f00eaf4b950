"""The error of the next image is below its bound as often as is said, though no truth was seen."""

import math

import pytest
import torch

from unveil.evaluation.conformal import bounds, conformal_bound, level_error
from unveil.evaluation.interval import Error
from unveil.random import make_generator


def covered(level, noise, count, claimed=None, sets=1500):
    """How often the next error is below the bound of `count` images, whose estimates scatter by `noise` (of 1)."""
    generator = make_generator("cpu", 1)
    true = torch.exp(0.5 * torch.randn(sets, count + 1, generator=generator))
    seen = true[:, :-1] + noise * torch.randn(sets, count, generator=generator)
    se = noise if claimed is None else claimed
    held = [float(t[-1]) <= conformal_bound([Error(float(e), se) for e in s], level) for t, s in zip(true, seen)]
    return sum(held) / sets


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_the_next_error_is_below_its_bound_as_often_as_is_said(level):
    assert covered(level, 0.0, 19) == pytest.approx(level, abs=0.03)
    assert covered(level, 0.2, 60) == pytest.approx(level, abs=0.035)


def test_scatter_that_is_not_taken_off_makes_the_bound_too_wide():
    assert covered(0.9, 0.6, 60, claimed=0.0) > 0.93
    assert covered(0.9, 0.6, 60) < 0.925


def test_an_estimate_does_not_follow_what_the_noise_moves():
    """T = image + w, and an estimate is of the image alone: of its scatter, w included, too much would be taken off."""
    generator, held = make_generator("cpu", 2), 0
    for _ in range(600):
        image, w, noise = (s * torch.randn(61, generator=generator) for s in (0.07, 0.04, 0.11))
        errors = [Error(float(e), math.hypot(0.11, 0.04)) for e in 1 + image[:-1] + noise[:-1]]
        held += float(1 + image[-1] + w[-1]) <= conformal_bound(errors, 0.9)
    assert 0.88 < held / 600 < 0.97


@pytest.mark.parametrize(("count", "noise", "level"), [(24, 0.0, 0.5), (24, 1.0, 0.5), (60, 1.0, 0.9)])
def test_what_the_probability_is_known_to(count, noise, level):
    """noise: of the estimates, over the deviation of the errors."""
    generator, spread = make_generator("cpu", 3), 0.3
    size = math.sqrt(math.exp(spread**2) * math.expm1(spread**2))
    found = []
    for _ in range(150):
        true = torch.exp(spread * torch.randn(count, generator=generator))
        seen = true + noise * size * torch.randn(count, generator=generator)
        errors = [Error(float(e), noise * size) for e in seen]
        covered = 0.5 * (1 + math.erf(math.log(conformal_bound(errors, level)) / spread / math.sqrt(2)))
        found.append((covered - level) / level_error(errors, level))
    z = torch.tensor(found)
    assert 0.65 < float(z.square().mean()) ** 0.5 < 1.25
    assert float((z.abs() < 1.96).float().mean()) > 0.9


def test_few_images_give_low_levels_alone():
    errors = [Error(float(k), 0.0, 0.5) for k in range(1, 10)]
    assert conformal_bound(errors, 0.9) == 9.5, "the largest, and what is common to all"
    assert conformal_bound(errors, 0.91) is None
    assert [row["level"] for row in bounds(errors)["bounds"]] == [0.5, 0.8, 0.9]
    assert conformal_bound(errors, 0.5) == 5.5
    assert bounds([]) is None
    assert conformal_bound(errors[:1], 0.5) == 1.5
