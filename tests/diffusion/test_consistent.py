"""Consistent diffusion's loss: zero for the true estimator, and the closed form for a wrong affine one; Gaussian noise
and counts."""

import pytest
import torch

import unveil.diffusion.consistent
from unveil.diffusion import ConsistentDiffusion
from unveil.errors import UnveilError
from unveil.losses import LogUniform
from unveil.measurement import Measurement
from unveil.noise import NOISES, Gaussian, Poisson
from unveil.operators import Identity, super_resolution
from unveil.random import make_generator, normal
from unveil.shapes import expand

MEAN, V, SIGMA, STEP = 0.5, 0.3**2, 0.1, 0.7
both_families = pytest.mark.parametrize("family", NOISES)


def level(m):
    """s (B,) of the exposure, at the signals' mean."""
    noise = m.noise
    return noise.sigma if isinstance(noise, Gaussian) else (noise.gain * MEAN).sqrt()


def shrinkage(v, factor=1.0):
    """factor E[x | y] of pixels of variance v, normal, or gamma for counts: affine in y.

    Any v is the right one of some prior.
    """
    return lambda m: factor * (MEAN + expand(v / (v + level(m).to(m.y) ** 2), m.y) * (m.y - MEAN))


class Kept:
    """The measurements that going on gives, in order."""

    def __init__(self, monkeypatch):
        self.returned, go_on = [], unveil.diffusion.consistent.go_on
        monkeypatch.setattr(
            unveil.diffusion.consistent,
            "go_on",
            lambda *arguments: (self.returned.append(self.draw(go_on, arguments)), self.returned[-1])[1],
        )

    def draw(self, go_on, arguments):
        return go_on(*arguments)


def measurements(family, device, dtype, batch=400):
    like, generator = torch.zeros(batch, 1, 12, 12, device=device, dtype=dtype), make_generator(device, 1)
    if family == "gaussian":
        noise, x = Gaussian(torch.tensor(SIGMA)), MEAN + V**0.5 * normal(like, generator)
    else:  # the closed form is given y_t: any positive signal serves
        noise, x = Poisson(torch.tensor(SIGMA**2 / MEAN)), (MEAN + V**0.5 * normal(like, generator)).clamp_min(0.05)
    return Measurement(noise.sample(x, generator), Identity(), noise)


def loss_and_expected(f, kept, m, loss=None):
    """The loss (B,), and its conditional mean given y_t (B,): f and a step of going on are affine, whatever the
    family."""
    values = (loss or ConsistentDiffusion(step=STEP))(f, m, make_generator(m.y.device, 2))
    m_t = kept.returned[0]
    here = f(m_t)
    on = Measurement(STEP**2 * m_t.y + (1 - STEP**2) * here, m_t.operator, m_t.noise.exposed(STEP**-2))
    gap = f(on) - here
    return values, gap.square().flatten(1).mean(1) / m_t.level**2


def deviates(values, expected):
    """The mean difference in standard errors."""
    difference = values - expected
    return float(difference.mean() / (difference.std() / len(difference) ** 0.5))


@both_families
@pytest.mark.parametrize("factor", [1.0, 0.8, 1.1])
def test_unbiased_for_right_and_wrong_estimators(factor, family, monkeypatch, device, dtype):
    m = measurements(family, device, dtype)
    values, expected = loss_and_expected(shrinkage(V, factor), Kept(monkeypatch), m)
    assert abs(deviates(values, expected)) < 4
    if factor == 1:
        assert expected.max() < 1e-9, "a martingale"
    else:
        assert float(values.mean()) > 10 * float(values.std() / len(values) ** 0.5), "a wrong estimator must show"


@both_families
def test_one_draw_instead_of_two_would_be_rejected(family, monkeypatch, device, dtype):
    class Once(Kept):
        def draw(self, go_on, arguments):
            return self.returned[1] if len(self.returned) == 2 else go_on(*arguments)

    values, expected = loss_and_expected(shrinkage(V), Once(monkeypatch), measurements(family, device, dtype))
    assert deviates(values, expected) > 10


def test_levels_are_drawn_from_the_law_and_one_step_lies_between(monkeypatch, device, dtype):
    kept, told = Kept(monkeypatch), []
    m = measurements("gaussian", device, dtype)
    f = lambda m: (told.append(m.level), shrinkage(V)(m))[1]  # noqa: E731
    ConsistentDiffusion(LogUniform(0.2, 0.9), step=STEP, stops=3)(f, m, make_generator(device, 1))
    ratio = kept.returned[0].level / SIGMA
    assert 0.2 * (1 - 1e-5) <= ratio.min() < 0.23
    assert 0.85 < ratio.max() <= 0.9 * (1 + 1e-5)
    for stop, heard in enumerate(told[:3]):
        torch.testing.assert_close(heard / SIGMA, ratio ** (stop / 3), rtol=1e-4, atol=0)
    for later in kept.returned[1:]:
        torch.testing.assert_close(later.level, STEP * kept.returned[0].level, rtol=1e-4, atol=0)
    assert len(kept.returned) == 3


def test_it_is_judged_in_measurement_space(monkeypatch, device):
    """Of an f with A f(m) = E[A x | y] the loss is zero, whatever f says of what A does not see."""
    operator = super_resolution(2, 8, 8).to(device)
    x = torch.rand(200, 1, 8, 8, generator=make_generator(device, 5), device=device)
    noise = Gaussian(torch.tensor(SIGMA))
    m = Measurement(noise.sample(operator.A(x), make_generator(device, 6)), operator, noise)

    def f(m):
        junk = torch.sin(40 * operator.A_dagger(m.y))
        return operator.A_dagger(shrinkage(V)(m)) + junk - operator.A_dagger(operator.A(junk))

    values = ConsistentDiffusion(step=STEP)(f, m, make_generator(device, 2))
    assert abs(deviates(values, torch.zeros_like(values))) < 4
    assert abs(values.mean()) < 0.1


def test_gradients_reach_the_lower_level_alone(device):
    v = torch.tensor(V, requires_grad=True, device=device)
    calls = []

    def f(m):
        calls.append(torch.is_grad_enabled())
        return shrinkage(v)(m)

    loss = ConsistentDiffusion(stops=4)
    loss(f, measurements("gaussian", device, torch.float32, 4), make_generator(device, 0)).mean().backward()
    assert v.grad is not None
    assert calls.count(True) == 2
    assert calls.count(False) == 4 + 3
    assert loss.passes == pytest.approx(calls.count(True) + calls.count(False) / 3)


def test_refusals(device):
    with pytest.raises(UnveilError, match="step"):
        ConsistentDiffusion(step=1.0)
    with pytest.raises(UnveilError, match="stops"):
        ConsistentDiffusion(stops=0)
    m = measurements("gaussian", device, torch.float32, 2)
    with pytest.raises(UnveilError, match="reached 1"):
        ConsistentDiffusion(LogUniform(1.0, 1.0))(shrinkage(V), m, make_generator(device, 0))
