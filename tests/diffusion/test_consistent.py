"""Consistent diffusion's risk: zero for the true denoiser, and the closed form for a wrong linear one."""

import pytest
import torch
from unveil.problem import DENOISING
from unveil.risks import LogUniform, Martingale

from unveil.diffusion import Ancestral
from unveil.errors import UnveilError
from unveil.random import make_generator, normal

V, SIGMA, STEP = 0.3**2, 0.1, 0.7


def shrinkage(v, factor=1.0):
    """factor E[x | x_s] of N(0, v) pixels, as a function of (x, s). Any v is the denoiser of some prior: a martingale."""
    return lambda x, s: factor * (v / (v + s**2)).reshape(-1, 1, 1, 1) * x


class Kept:
    """The reverse diffusion, with what it returned."""

    def __init__(self):
        self.returned = []

    def __call__(self, f, x, levels, generator):
        self.returned.append((Ancestral().solve(f, x, levels, generator), levels[-1]))
        return self.returned[-1][0]


def measurements(device, dtype, batch=400):
    like = torch.zeros(batch, 1, 12, 12, device=device, dtype=dtype)
    return (V + SIGMA**2) ** 0.5 * normal(like, make_generator(device, 1))


def risk_and_expected(f, risk, reverse, y):
    """The risk (B,), and its conditional mean given x_s (B,): f and the ancestral step are linear, gain by gain."""
    values = risk(f, y, torch.full((len(y),), SIGMA).to(y), make_generator(y.device, 2))
    x_s, s = reverse.returned[0]
    one = torch.ones(len(y), 1, 1, 1).to(y)
    here, below = f(one, s), f(one, STEP * s)
    kept = STEP**2
    gap = (below * (kept + (1 - kept) * here) - here) * x_s
    return values, DENOISING.inner(gap, gap) / s**2


def deviates(values, expected):
    """The mean difference in standard errors."""
    difference = values - expected
    return float(difference.mean() / (difference.std() / len(difference) ** 0.5))


@pytest.mark.parametrize("factor", [1.0, 0.8, 1.1])
def test_unbiased_for_right_and_wrong_denoisers(factor, device, dtype):
    reverse = Kept()
    values, expected = risk_and_expected(
        shrinkage(V, factor), Martingale(reverse, step=STEP), reverse, measurements(device, dtype)
    )
    assert abs(deviates(values, expected)) < 4
    if factor != 1:
        assert float(values.mean()) > 10 * float(values.std() / len(values) ** 0.5), "a wrong denoiser must show"


def test_one_draw_instead_of_two_would_be_rejected(device, dtype):
    class OneDraw(Martingale):
        def __call__(self, f, y, sigma, generator):
            drawn = []

            def reverse(f, x, levels, generator):
                if len(drawn) < 2:
                    drawn.append(self.kept(f, x, levels, generator))
                return drawn[-1]

            self.reverse = reverse
            return super().__call__(f, y, sigma, generator)

    risk = OneDraw(Kept(), step=STEP)
    risk.kept = Kept()
    values, expected = risk_and_expected(shrinkage(V), risk, risk.kept, measurements(device, dtype))
    assert deviates(values, expected) > 10


def test_gradients_reach_the_lower_level_alone(device):
    v = torch.tensor(V, requires_grad=True, device=device)
    y = measurements(device, torch.float32, 4)
    calls = []

    def f(x, s):
        calls.append(torch.is_grad_enabled())
        return shrinkage(v)(x, s)

    Martingale(Ancestral().solve, stops=4)(
        f, y, torch.full((4,), SIGMA, device=device), make_generator(device, 0)
    ).mean().backward()
    assert v.grad is not None
    assert calls.count(True) == 2
    assert calls.count(False) == 4 + 3


def test_refusals(device):
    with pytest.raises(UnveilError, match="step"):
        Martingale(Ancestral().solve, step=1.0)
    with pytest.raises(UnveilError, match="stops"):
        Martingale(Ancestral().solve, stops=0)
    y = measurements(device, torch.float32, 2)
    risk = Martingale(Ancestral().solve, LogUniform(1.0, 1.0))
    with pytest.raises(UnveilError, match="reached 1"):
        risk(shrinkage(V), y, torch.full((2,), SIGMA, device=device), make_generator(device, 0))
