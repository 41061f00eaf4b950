"""f(a y + mu, a sigma) = a f(y, sigma) + mu, exactly by wrapper or by layers, not without; levels of every shape."""

import pytest
import torch
from torch import nn

from unveil.errors import UnveilError
from unveil.estimators import WRAPPED, NormalizationEquivariant, Preconditioned, UNet
from unveil.estimators.precondition import signal_statistics
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator, normal, uniform

FORMS = {**WRAPPED, "preconditioned": lambda channels, widths, blocks: Preconditioned(UNet(channels, widths, blocks))}


def at(y, sigma):
    """The image y in noise of level sigma."""
    return Measurement(y, Identity(), Gaussian(sigma))


def randomised(form, channels=1, widths=(8, 8), scale=0.1):
    """An estimator whose every weight is moved, those that start at zero too."""
    f = FORMS[form](channels, widths, 1)
    generator = make_generator("cpu", 7)
    with torch.no_grad():
        for weight in f.parameters():
            weight += scale * torch.randn(weight.shape, generator=generator)
    return f.eval()


def violation(f, y, sigma, a, mu):
    """max |f(a y + mu, a sigma) - a f(y, sigma) - mu| over the largest value of the right side (B,)."""
    with torch.no_grad():
        expected = a.reshape(-1, 1, 1, 1) * f(at(y, sigma)) + mu.reshape(-1, 1, 1, 1)
        moved = f(at(a.reshape(-1, 1, 1, 1) * y + mu.reshape(-1, 1, 1, 1), a * sigma))
    return ((moved - expected).flatten(1).abs().amax(1) / expected.flatten(1).abs().amax(1)).max().item()


def draws(dtype, device, batch=64):
    generator = make_generator(device, 3)
    empty = torch.empty(batch, dtype=dtype, device=device)
    y = torch.rand(batch, 2, 12, 13, generator=generator, dtype=dtype, device=device)
    y = y * uniform(empty, 0.05, 2.0, generator).reshape(-1, 1, 1, 1)
    sigma = 10 ** uniform(empty, -3, 0, generator)
    a = 10 ** uniform(empty, -2, 2, generator)
    return y, sigma, a, a * normal(empty, generator)


@pytest.mark.parametrize("form", WRAPPED)
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_normalization_equivariance(form, precision, tolerance, device):
    f = randomised(form, 2).to(device, precision)
    y, sigma, a, mu = draws(precision, device)
    assert violation(f, y, sigma, a, mu) < tolerance
    with torch.no_grad():
        assert (f(at(y, sigma)) - y).abs().mean() > 0.1 * sigma.mean(), "the network does something"


def test_without_the_wrapper_it_is_not_equivariant(device):
    f = randomised("preconditioned", 2).to(device)
    assert violation(f, *draws(torch.float32, device)) > 0.05


def test_any_denoiser_becomes_equivariant(device):
    class Odd(nn.Module):
        def forward(self, m):
            return m.y.square() - m.level.sin().reshape(-1, 1, 1, 1)

    assert violation(NormalizationEquivariant(Odd()), *draws(torch.float64, device)) < 1e-9
    assert violation(Odd(), *draws(torch.float64, device)) > 0.05


def test_signal_statistics_in_closed_form(device):
    y = torch.tensor([1.0, 3.0, 5.0, 7.0], dtype=torch.float64, device=device).reshape(1, 1, 2, 2)  # var 5
    for sigma, variance in [(1.0, 4 + 0.09), (3.0, 0.09 * 9)]:
        m, v = signal_statistics(at(y, sigma), 0.3)
        assert m.item() == pytest.approx(4.0)
        assert v.item() == pytest.approx(variance**0.5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1000.3])
@pytest.mark.parametrize("sigma", [1e-30, 1e-12, 1e-6])
def test_flat_image_and_tiny_levels(value, sigma, device):
    f = randomised("equivariant").to(device)
    y = torch.full((2, 1, 9, 8), value, device=device)
    y[1] = value + torch.rand(1, 9, 8, generator=make_generator(device, 0), device=device)
    with torch.no_grad():
        # levels below 1e-4 of the signal's deviation, .3, count as that
        torch.testing.assert_close(f(at(y, sigma)), y, rtol=1e-6, atol=5e-5 + 3 * sigma)


@pytest.mark.parametrize("form", FORMS)
def test_levels_of_every_shape_even_when_batch_is_width(form, device, dtype):
    f = randomised(form).to(device, dtype)
    b = 6
    y = torch.rand(b, 1, b, b, generator=make_generator(device, 1), dtype=dtype, device=device)
    sigma = torch.linspace(0.05, 0.5, b, dtype=dtype, device=device)
    with torch.no_grad():
        alone = torch.cat([f(at(y[i : i + 1], sigma[i])) for i in range(b)])
        for levels in (sigma, sigma.reshape(b, 1, 1, 1), sigma.double()):
            torch.testing.assert_close(f(at(y, levels)), alone, rtol=1e-5, atol=1e-5)
        same = f(at(y, torch.full((b,), 0.2, dtype=dtype, device=device)))
        for level in (0.2, torch.tensor(0.2), torch.tensor([0.2])):
            torch.testing.assert_close(f(at(y, level)), same, rtol=1e-5, atol=1e-5)
    with pytest.raises(UnveilError, match=r"sigma is a map of shape \(1, 1, 1, 6\)"):
        f(at(y, sigma[None]))
    with pytest.raises(UnveilError, match="one value per sample"):
        f(at(y, sigma[:5]))


@pytest.mark.parametrize("form", FORMS)
def test_samples_are_not_coupled(form, device):
    f = randomised(form).to(device)
    y = torch.rand(3, 1, 11, 13, generator=make_generator(device, 2), device=device).requires_grad_()
    sigma = torch.tensor([0.05, 0.1, 0.2], device=device, requires_grad=True)
    to_y, to_sigma = torch.autograd.grad(f(at(y, sigma))[1].square().sum(), (y, sigma))
    assert (to_y[[0, 2]] == 0).all()
    assert (to_sigma[[0, 2]] == 0).all()
    assert to_y[1].abs().min() > 0


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_every_weight(form, device):
    f = randomised(form).to(device)
    f(at(torch.rand(2, 1, 8, 8, device=device), 0.1)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in f.parameters() if weight.numel())


def test_equivariant_form_is_preconditioned_for_unit_signals():
    f = WRAPPED["equivariant"](1, (8,), 1)
    assert isinstance(f.denoiser, Preconditioned)
    assert (f.denoiser.mean, f.denoiser.std) == (0.0, 1.0)


@pytest.mark.parametrize("form", FORMS)
def test_double_precision_gives_the_same(form, device):
    f = randomised(form).to(device)
    y = normal(torch.empty(2, 1, 12, 12, device=device), make_generator(device, 0))
    with torch.no_grad():
        single, double = f(at(y, 0.1)), f(at(y.double(), 0.1))
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-4, atol=1e-4)
