"""EDM preconditioning in closed form, and which networks it takes."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from unveil.errors import UnveilError
from unveil.estimators import PreconditionedDenoiser, equivariant, preconditioned
from unveil.random import make_generator, normal


class Constant(nn.Module):
    """g(x, c) = value; keeps what it was given."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = value

    def forward(self, x, c):
        self.x, self.c = x, c
        return torch.full_like(x, self.value)


def white(device, deviation, sigma, mean=0.5):
    """y = x + sigma n for white signals of the given mean and deviation, in float64."""
    generator = make_generator(device, 0)
    like = torch.empty(4, 1, 64, 64, dtype=torch.float64, device=device)
    return mean + deviation * normal(like, generator) + sigma * normal(like, generator)


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 0.25, 3.0])
def test_without_a_network_it_is_the_wiener_filter(sigma, device):
    f = PreconditionedDenoiser(Constant())
    y = white(device, 0.25, sigma)
    wiener = 0.5 + 0.25**2 / (0.25**2 + sigma**2) * (y - 0.5)
    torch.testing.assert_close(f(y, sigma), wiener, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 1.0, 10.0])
def test_the_network_sees_unit_variance_and_has_a_target_of_unit_variance(sigma, device):
    g, v = Constant(1.0), 0.25
    generator = make_generator(device, 0)
    like = torch.empty(4, 1, 64, 64, dtype=torch.float64, device=device)
    x = 0.5 + v * normal(like, generator)
    y = x + sigma * normal(like, generator)
    out = PreconditionedDenoiser(g, 0.5, v)(y, sigma)
    m = y.numel()
    assert abs(g.x.var().item() - 1) < 4 * (2 / m) ** 0.5
    assert abs(g.x.mean().item()) < 4 / m**0.5
    linear = PreconditionedDenoiser(Constant(), 0.5, v)(y, sigma)
    target = (x - linear) / (out - linear)  # g's factor: f = linear + factor * g
    assert abs(target.var().item() - 1) < 4 * (2 / m) ** 0.5
    ratio = torch.full((4,), sigma / v, dtype=y.dtype, device=device)
    torch.testing.assert_close(g.c, ratio.log() / 4)


def test_tends_to_the_identity_whatever_the_network_says(device, dtype):
    y = torch.rand(2, 3, 5, 5, generator=make_generator(device, 1), device=device, dtype=dtype)
    g = Constant(5.0)
    f = PreconditionedDenoiser(g)
    distances = [(f(y, s) - y).abs().max().item() for s in (1e-1, 1e-2, 1e-3, 1e-4)]
    assert distances[0] > 0.3
    assert all(d < 0.2 * before for before, d in pairwise(distances))
    torch.testing.assert_close(f(y, 0.0), y)
    assert g.c.isfinite().all(), "the log of a level of 0 is bounded"


@pytest.mark.parametrize("deviation", [0.0, -1.0, float("nan")])
def test_invalid_deviation(deviation):
    with pytest.raises(UnveilError, match="deviation must be > 0"):
        PreconditionedDenoiser(Constant(), deviation=deviation)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.SyncBatchNorm(4), nn.LazyBatchNorm2d()])
@pytest.mark.parametrize("around", [equivariant, preconditioned])
def test_batch_normalization_is_refused(norm, around):
    backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(norm))
    with pytest.raises(UnveilError, match=rf"1\.0 is {type(norm).__name__}.*couples.*divergence") as caught:
        around(backbone)
    assert "\n" not in str(caught.value)
    assert "group normalization" in str(caught.value)


def test_batch_normalization_itself_is_named():
    with pytest.raises(UnveilError, match="only module is BatchNorm1d"):
        PreconditionedDenoiser(nn.BatchNorm1d(3))


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(2, 4), nn.Identity()])
def test_norms_that_keep_samples_apart_are_taken(norm):
    PreconditionedDenoiser(nn.Sequential(nn.Conv2d(1, 4, 3), norm))


@pytest.mark.parametrize("other", [torch.bfloat16, torch.float64])
def test_the_result_has_the_dtype_of_the_input_whatever_the_networks(other, device):
    class Other(nn.Module):
        def forward(self, x, c):
            return x.to(other)

    y = torch.rand(1, 1, 4, 4, device=device)
    assert PreconditionedDenoiser(Other())(y, 0.1).dtype == y.dtype
