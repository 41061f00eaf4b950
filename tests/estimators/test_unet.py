"""The UNet: any size and channel count, samples apart, nothing but convolutions and the noise level."""

import pytest
import torch
from torch import nn

from unveil.estimators import UNet
from unveil.random import make_generator


def randomised(*arguments, scale=0.1, **options):
    net = UNet(*arguments, **options)
    generator = make_generator("cpu", 5)
    with torch.no_grad():
        for weight in net.parameters():
            weight += scale * torch.randn(weight.shape, generator=generator)
    return net.eval().requires_grad_(False)


def rand(*shape, seed=0, device="cpu", dtype=torch.float32):
    return torch.randn(*shape, generator=make_generator(device, seed), device=device, dtype=dtype)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (31, 33), (64, 64), (2, 65)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_any_size_and_channels(size, channels, device, dtype):
    net = randomised(channels, (4, 6, 8), blocks=2).to(device, dtype)
    x = rand(2, channels, *size, device=device, dtype=dtype)
    out = net(x, torch.zeros(2, device=device, dtype=dtype))
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    assert out.isfinite().all()
    assert out.std() > 0


def test_starts_at_zero(device):
    net = UNet().to(device)
    assert (net(rand(1, 1, 16, 16, device=device), torch.zeros(1, device=device)) == 0).all()


def test_samples_do_not_depend_on_each_other(device, dtype):
    net = randomised(1, (8, 8)).to(device, dtype)
    x, c = rand(3, 1, 11, 13, device=device, dtype=dtype), torch.zeros(3, device=device, dtype=dtype)
    out = net(x, c)
    x[0], c[2] = 100 * rand(1, 11, 13, seed=1, device=device, dtype=dtype), 1.0
    moved = net(x, c)
    assert torch.equal(moved[1], out[1])
    assert not torch.equal(moved[0], out[0])
    assert not torch.equal(moved[2], out[2])


def test_has_no_normalization_layers():
    names = {type(module).__name__ for module in UNet().modules()}
    assert not {name for name in names if "Norm" in name or "Dropout" in name}, names


def test_size_of_the_default():
    assert 0.2e6 < sum(weight.numel() for weight in UNet().parameters()) < 0.3e6


def test_memory_format_does_not_matter(device, dtype):
    net = randomised(3, (8, 8)).to(device, dtype)
    x, c = rand(2, 3, 13, 10, device=device, dtype=dtype), torch.full((2,), 0.3, device=device, dtype=dtype)
    expected = net(x, c)
    for other in (x.contiguous(memory_format=torch.channels_last), x.mT.contiguous().mT):
        assert torch.equal(other, x)
        torch.testing.assert_close(net(other, c), expected, rtol=1e-5, atol=1e-5)
    plain = net.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(plain(x, c), expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_autocast_is_close(device):
    net = randomised(1, (16, 16)).to(device)
    x, c = rand(2, 1, 24, 24, device=device), torch.full((2,), -0.5, device=device)
    expected = net(x, c)
    with torch.autocast(device.type, torch.bfloat16):
        out = net(x, c)
    assert out.dtype == torch.bfloat16
    error = (out.float() - expected).square().mean().sqrt() / expected.std()
    assert 0 < error < 0.05


def test_the_level_matters_smoothly(device):
    net = randomised(1, (8, 8), scale=0.3).to(device, torch.float64)
    x = rand(1, 1, 16, 16, device=device, dtype=torch.float64)

    def out(c):
        return net(x, torch.full((1,), c, device=device, dtype=torch.float64))

    size = out(0.0).std()
    assert (out(-1.0) - out(0.0)).std() > 0.05 * size
    assert (out(0.001) - out(0.0)).std() < 0.02 * size


@pytest.mark.parametrize("widths", [(8, 8), (4, 4, 4)])
def test_translation_by_the_stride_commutes_in_the_interior(widths, device):
    net = randomised(1, widths).to(device, torch.float64)
    x, c = rand(1, 1, 96, 96, device=device, dtype=torch.float64), torch.zeros(1, device=device).double()

    def difference(shift):
        moved = net(x.roll((shift, -shift), (2, 3)), c)
        change = moved - net(x, c).roll((shift, -shift), (2, 3))
        return change[..., 40:-40, 40:-40].abs().max().item()

    assert net.stride == 2 ** (len(widths) - 1)
    assert difference(net.stride) < 1e-12
    assert difference(1) > 1e-3, "power: pooling does not commute with less than the stride"


def test_takes_one_resolution_and_backward_reaches_all(device):
    net = UNet(1, (8,), blocks=3).to(device)
    assert net.stride == 1
    with torch.no_grad():
        nn.init.normal_(net.head.weight)
    net(rand(1, 1, 7, 7, device=device), torch.zeros(1, device=device)).sum().backward()
    assert net.stem.weight.grad.abs().sum() > 0


def test_skips_carry_the_detail_past_the_coarse_resolution(device):
    net = randomised(1, (8, 8)).to(device)
    for conv in net.down:
        conv.weight.zero_()
    x, c = rand(2, 1, 16, 16, device=device), torch.zeros(2, device=device)
    assert net(x, c).diff(dim=0).std() > 0.1 * net(x, c).std()
