"""Equivariant layers and the UNet made of them: exact for every a > 0 and mu, any size, samples apart, able to
learn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unveil.errors import UnveilError
from unveil.estimators import AffineUNet, Tiled
from unveil.estimators.affine import AffineConv2d, AffineSum, SortPool
from unveil.estimators.affine_unet import AffineBlock
from unveil.losses import LogUniform, Simulated
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator, normal, uniform

PRECISIONS = [(torch.float32, 5e-5), (torch.float64, 1e-10)]
"""Rounding of float32, in an order of the processor's: at most 2.4e-5 over 60 draws of the weights, with AVX and
without. A bias violates by more than 1e-4."""


@pytest.fixture(autouse=True)
def _weights():
    """The networks' initial weights are drawn globally: the same in every test, whichever ran before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Summed(nn.Module):
    """AffineSum of the two halves of its input, as a layer of one argument."""

    def __init__(self):
        super().__init__()
        self.sum = AffineSum(2)

    def forward(self, h):
        return self.sum(*h.chunk(2, dim=1))


def at(y, sigma):
    """The image y in noise of level sigma."""
    return Measurement(y, Identity(), Gaussian(sigma))


LAYERS = {
    "conv3": lambda: AffineConv2d(4, 6, 3),
    "conv1": lambda: AffineConv2d(4, 3, 1),
    "down": lambda: AffineConv2d(4, 5, 2, stride=2),
    "sort": SortPool,
    "sum": Summed,
    "block": lambda: AffineBlock(4),
}


def randomised(module, scale=0.1):
    """`module` with every weight moved away from where it starts."""
    generator = make_generator("cpu", 7)
    with torch.no_grad():
        for weight in module.parameters():
            weight += scale * torch.randn(weight.shape, generator=generator)
    return module.eval().requires_grad_(False)


def draws(dtype, device, *shape):
    """y (B, ...) of several contrasts, a log-uniform in .01 .. 100, mu of either sign; a and mu as (B, 1, 1, 1)."""
    generator = make_generator(device, 3)
    y = torch.rand(*shape, generator=generator, dtype=dtype, device=device)
    empty = torch.empty(shape[0], 1, 1, 1, dtype=dtype, device=device)
    y = y * uniform(empty, 0.05, 2.0, generator) + normal(empty, generator)
    a = 10 ** uniform(empty, -2, 2, generator)
    return y, a, 3 * a * normal(empty, generator)


def relative(moved, expected):
    """The largest difference of a sample over its largest value; the worst sample's."""
    return ((moved - expected).flatten(1).abs().amax(1) / expected.flatten(1).abs().amax(1)).max().item()


def violation(f, dtype, device, size=(12, 13)):
    """Of f(a y + mu, a sigma) = a f(y, sigma) + mu, sigma log-uniform in .001 .. 1."""
    y, a, mu = draws(dtype, device, 32, 2, *size)
    sigma = 10 ** uniform(a, -3, 0, make_generator(device, 4))
    return relative(f(at(a * y + mu, a * sigma)), a * f(at(y, sigma)) + mu)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS)
def test_each_layer_is_equivariant(name, precision, tolerance, device):
    layer = randomised(LAYERS[name]()).to(device, precision)
    h, a, mu = draws(precision, device, 32, 4, 9, 11)
    assert relative(layer(a * h + mu), a * layer(h) + mu) < tolerance
    assert layer(h).std() > 0


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS)
def test_an_increment_follows_the_contrast_and_ignores_the_brightness(precision, tolerance, device):
    increment = randomised(AffineConv2d(4, 6, 3, total=0), scale=0.3).to(device, precision)
    h, a, mu = draws(precision, device, 32, 4, 9, 11)
    size = (a * h + mu).flatten(1).abs().amax(1)  # of what cancels: rounding is relative to it
    difference = (increment(a * h + mu) - a * increment(h)).flatten(1).abs().amax(1)
    assert (difference / size).max() < tolerance
    assert increment(h).std() > 0.1


@pytest.mark.parametrize("size", [(12, 13), (1, 1), (5, 7), (2, 17)])
@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS)
def test_the_network_is_equivariant(size, precision, tolerance, device):
    f = randomised(AffineUNet(2, (6, 8, 4), blocks=2)).to(device, precision)
    assert violation(f, precision, device, size) < tolerance


def test_a_bias_breaks_it(device):
    f = randomised(AffineUNet(2, (8, 8))).to(device, torch.float64)
    convs = [module for module in f.modules() if isinstance(module, AffineConv2d)]
    generator = make_generator(device, 6)
    for conv in convs:  # one bias for each channel: one for all would be a brightness, which the next increment ignores
        bias = 0.03 * torch.randn(len(conv.v), 1, 1, generator=generator, dtype=torch.float64, device=device)
        handle = conv.register_forward_hook(lambda module, inputs, h, bias=bias: h + bias)
        assert violation(f, torch.float64, device) > 1e-4
        handle.remove()
    assert violation(f, torch.float64, device) < 1e-10


def test_zero_padding_breaks_it(monkeypatch, device):
    f = randomised(AffineUNet(2, (8, 8))).to(device, torch.float64)
    pad = F.pad
    monkeypatch.setattr(F, "pad", lambda h, widths, mode: pad(h, widths))
    assert violation(f, torch.float64, device) > 1e-3


def test_a_free_kernel_and_a_relu_break_it(device):
    h, a, mu = draws(torch.float64, device, 32, 4, 9, 11)
    for layer in (nn.ReLU(), nn.Conv2d(4, 4, 1, bias=False).to(device, torch.float64).requires_grad_(False)):
        assert relative(layer(a * h + mu), a * layer(h) + mu) > 1e-2


@pytest.mark.parametrize("total", [0, 1])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (1, 1), (2, 2)])
def test_kernels_sum_to_their_total_whatever_the_parameters(size, stride, total, device):
    conv = randomised(AffineConv2d(4, 6, size, stride, total), scale=10.0).to(device, torch.float64)
    assert (conv.weight.sum((1, 2, 3)) - total).abs().max() < 1e-10
    assert conv.weight.std() > 1


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (3, 2), (4, 2)])
def test_kernels_that_do_not_fit_are_refused(size, stride):
    with pytest.raises(UnveilError, match=f"size {size} and stride {stride}: need") as caught:
        AffineConv2d(1, 1, size, stride)
    assert "\n" not in str(caught.value)


def test_white_channels_keep_their_deviation_at_initialisation(device):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(AffineConv2d(32, 32, 3), SortPool(), AffineConv2d(32, 32, 3)).to(device)
    h = torch.randn(4, 32, 32, 32, generator=make_generator(device, 0), device=device)
    with torch.no_grad():
        assert 0.7 < (layers(h).std() / h.std()).item() < 1.4


def test_sort_pool_in_closed_form(device):
    h = torch.tensor([3.0, 1.0, 2.0, 5.0], device=device).reshape(1, 4, 1, 1)
    assert SortPool()(h).flatten().tolist() == [3.0, 5.0, 2.0, 1.0]


def test_affine_sum_in_closed_form(device):
    total = AffineSum(2).to(device)
    with torch.no_grad():
        total.t[:] = torch.tensor([0.25, 2.0], device=device).reshape(2, 1, 1)
    h, u = torch.ones(1, 2, 1, 1, device=device), torch.full((1, 2, 1, 1), 5.0, device=device)
    assert total(h, u).flatten().tolist() == [4.0, -3.0]


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (31, 33), (64, 64), (2, 65)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_any_size_and_channels(size, channels, device, dtype):
    f = randomised(AffineUNet(channels, (4, 6, 8), blocks=2)).to(device, dtype)
    y = torch.rand(2, channels, *size, generator=make_generator(device, 0), device=device, dtype=dtype)
    x_hat = f(at(y, 0.1))
    assert (x_hat.shape, x_hat.dtype) == (y.shape, y.dtype)
    assert x_hat.isfinite().all()


def test_starts_as_the_identity(device):
    y = torch.rand(2, 1, 9, 8, generator=make_generator(device, 0), device=device)
    torch.testing.assert_close(AffineUNet().to(device)(at(y, 0.3)), y)


def test_size_of_the_default():
    assert 0.2e6 < sum(weight.numel() for weight in AffineUNet().parameters()) < 0.3e6


def test_odd_widths_are_refused():
    with pytest.raises(UnveilError, match=r"estimator.widths has 5: .* even widths") as caught:
        AffineUNet(1, (4, 5))
    assert "\n" not in str(caught.value)


def test_samples_do_not_depend_on_each_other(device, dtype):
    f = randomised(AffineUNet(1, (8, 8))).to(device, dtype)
    y = torch.rand(3, 1, 11, 13, generator=make_generator(device, 0), device=device, dtype=dtype)
    sigma = torch.tensor([0.1, 0.2, 0.3], device=device, dtype=dtype)
    x_hat = f(at(y, sigma))
    y[0] *= 100
    sigma[2] = 1.0
    moved = f(at(y, sigma))
    assert torch.equal(moved[1], x_hat[1])
    assert not torch.equal(moved[0], x_hat[0])
    assert not torch.equal(moved[2], x_hat[2])


def test_each_sample_has_its_own_level(device):
    f = randomised(AffineUNet(1, (8, 8))).to(device, torch.float64)
    y = torch.rand(4, 1, 4, 4, generator=make_generator(device, 0), device=device, dtype=torch.float64)
    sigma = torch.tensor([0.01, 0.1, 1.0, 10.0], device=device, dtype=torch.float64)
    alone = torch.cat([f(at(y[i : i + 1], sigma[i])) for i in range(4)])
    torch.testing.assert_close(f(at(y, sigma)), alone, rtol=1e-10, atol=1e-10)
    swapped = f(at(y, sigma.flip(0)))
    assert ((swapped - alone).flatten(1).abs().amax(1) > 1e-2).all()


def test_the_level_matters_continuously(device):
    f = randomised(AffineUNet(1, (8, 8))).to(device, torch.float64)
    y = torch.rand(1, 1, 16, 16, generator=make_generator(device, 0), device=device, dtype=torch.float64)
    change = (f(at(y, 0.2)) - f(at(y, 0.1))).std()
    assert change > 0.01 * f(at(y, 0.1)).std()
    assert (f(at(y, 0.1001)) - f(at(y, 0.1))).std() < 0.01 * change


@pytest.mark.parametrize("value", [0.0, 0.1, 1000.3])
def test_a_flat_image_without_noise_is_kept(value, device):
    f = randomised(AffineUNet(1, (8, 8))).to(device)
    y = torch.full((2, 1, 9, 8), value, device=device)
    torch.testing.assert_close(f(at(y, 1e-30)), y, rtol=1e-5, atol=1e-29)


def test_a_tile_with_its_margin_is_the_whole_image(device):
    f = randomised(AffineUNet(1, (8, 8))).to(device, torch.float64)
    y = torch.rand(1, 1, 96, 80, generator=make_generator(device, 0), device=device, dtype=torch.float64)
    torch.testing.assert_close(Tiled(f, tile=32, margin=24)(at(y, 0.1)), f(at(y, 0.1)), rtol=1e-10, atol=1e-10)


def test_memory_format_does_not_matter(device, dtype):
    f = randomised(AffineUNet(3, (8, 8))).to(device, dtype)
    y = torch.rand(2, 3, 13, 10, generator=make_generator(device, 0), device=device, dtype=dtype)
    expected = f(at(y, 0.1))
    torch.testing.assert_close(
        f(at(y.contiguous(memory_format=torch.channels_last), 0.1)), expected, rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(f.to(memory_format=torch.contiguous_format)(at(y, 0.1)), expected, rtol=1e-5, atol=1e-5)


def test_it_learns_to_denoise(device):
    """The supervised loss of flat patches with an edge: 1 is the identity's, and training must reach far below."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = AffineUNet(1, (8, 8)).to(device)
    generator = make_generator(device, 5)
    simulated, optimizer = (
        Simulated(LogUniform(0.05, 0.5)),
        torch.optim.AdamW(f.parameters(), lr=2e-3, weight_decay=0.0),
    )
    sides = torch.arange(12, device=device)

    def loss():
        edge = torch.randint(2, 10, (8, 1, 1, 1), generator=generator, device=device)
        x = (sides < edge).float().expand(8, 1, 12, 12)
        return simulated(f, x, Identity(), Gaussian(1.0), generator).mean()

    losses = []
    for _ in range(150):
        losses.append(loss())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    first, last = torch.stack(losses[:10]).mean().item(), torch.stack(losses[-20:]).mean().item()
    assert last < 0.5 * first
    assert last < 0.3
