"""Gaussian noise: moments in standard errors, levels per sample, recorruption, refusals."""

import pytest
import torch

from unveil.errors import UnveilError
from unveil.noise import Gaussian
from unveil.random import make_generator

B = W = 24


@pytest.fixture
def clean(device, dtype):
    """As many images as each is wide: a level that broadcasts over columns raises nothing."""
    return torch.rand(B, 2, 40, W, generator=make_generator(device, 1), device=device, dtype=dtype)


@pytest.fixture
def sigma(device, dtype):
    return torch.linspace(0.05, 0.4, B, device=device, dtype=dtype)


def check_white(residual, level):
    """residual (B, ...) has mean 0 and deviation level (B,) in every sample and every column, and is white."""
    z = residual.double() / level.double().reshape(-1, 1, 1, 1)
    per_sample, n = z.flatten(1), z[0].numel()
    for values, count in ((per_sample, n), (z.movedim(-1, 0).flatten(1), B * n // W)):
        assert (values.mean(1).abs() < 4.5 / count**0.5).all()
        assert ((values.square().mean(1) - 1).abs() < 4.5 * (2 / count) ** 0.5).all()
    for product in (z[..., 1:] * z[..., :-1], z[..., 1:, :] * z[..., :-1, :], z[:, :1] * z[:, 1:], z[1:] * z[:-1]):
        assert abs(product.mean()) < 4 / product.numel() ** 0.5
    assert abs(z.pow(3).mean()) < 4 * (15 / z.numel()) ** 0.5
    assert abs(z.pow(4).mean() - 3) < 4 * (96 / z.numel()) ** 0.5


def test_moments(clean, sigma, generator):
    check_white(Gaussian(sigma).sample(clean, generator) - clean, sigma)
    check_white(Gaussian(0.3).sample(clean, generator) - clean, torch.full_like(sigma, 0.3))


def test_a_level_over_columns_is_rejected(clean, sigma, generator):
    wrong = sigma * torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
    with pytest.raises(AssertionError):
        check_white(wrong, sigma)


def test_level(clean, sigma):
    assert torch.equal(Gaussian(sigma).level(clean), sigma)
    assert torch.equal(Gaussian(sigma.reshape(B, 1, 1, 1)).level(clean), sigma)
    assert Gaussian(0.25).level(clean).tolist() == [0.25] * B
    with pytest.raises(UnveilError):
        Gaussian(sigma).level(clean[:7])


@pytest.mark.parametrize("a", [0.2, 3])
def test_scaled_by_a_number(a, clean, sigma):
    torch.testing.assert_close(Gaussian(sigma).scaled(a).level(clean), a * sigma)
    torch.testing.assert_close(Gaussian(0.5).scaled(a).level(clean), torch.full_like(sigma, 0.5 * a))


def test_scaled_per_sample_is_the_noise_of_the_scaled_data(clean, sigma, generator):
    a = torch.linspace(2.0, 0.5, B, device=clean.device, dtype=clean.dtype)
    noise = Gaussian(sigma)
    scaled = a.reshape(-1, 1, 1, 1) * (noise.sample(clean, generator) - clean)
    check_white(scaled, noise.scaled(a).level(clean))
    torch.testing.assert_close(Gaussian(0.5).scaled(a).level(clean), 0.5 * a)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_recorruption_gives_independent_views(ratio, per_sample, clean, sigma, generator):
    a = torch.linspace(0.5, 2.0, B, device=clean.device, dtype=clean.dtype) * ratio if per_sample else ratio
    noise = Gaussian(sigma)
    y = noise.sample(clean, generator)
    kept = y.clone()
    y_1, y_2 = noise.recorrupt(y, a, generator)
    assert torch.equal(y, kept)
    check_white(y_1 - clean, sigma * (1 + a**2) ** 0.5)
    check_white(y_2 - clean, sigma * (1 + 1 / a**2) ** 0.5)
    for_each = torch.as_tensor(a, device=clean.device, dtype=clean.dtype).expand(B)
    scale = sigma**2 * ((1 + for_each**2) * (1 + for_each**-2)) ** 0.5
    correlation = ((y_1 - clean) * (y_2 - clean)).flatten(1).mean(1) / scale
    assert (correlation.abs() < 4.5 / clean[0].numel() ** 0.5).all()
    assert abs(correlation.mean()) < 4 / clean.numel() ** 0.5


def test_the_generator_decides(clean, sigma, device):
    noise, rng = Gaussian(sigma), torch.get_rng_state()
    a, b, c = (noise.sample(clean, make_generator(device, seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    noise.recorrupt(clean, 0.5, make_generator(device, 1))
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize("wrong", [0.0, -0.1, float("nan"), float("inf"), [0.1, 0.0], [0.1, float("nan")]])
def test_refusals(wrong):
    with pytest.raises(UnveilError, match="sigma must be finite and > 0") as caught:
        Gaussian(torch.tensor(wrong))
    assert "\n" not in str(caught.value)
    if isinstance(wrong, float):
        with pytest.raises(UnveilError):
            Gaussian(wrong)


def test_scaling_refuses(sigma):
    for a in (0.0, -1.0, float("nan")):
        with pytest.raises(UnveilError):
            Gaussian(sigma).scaled(a)
