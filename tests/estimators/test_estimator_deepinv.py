"""In deepinv's place of a denoiser, and with deepinv's network in the place of ours."""

import deepinv as dinv
import pytest
import torch

from unveil.estimators import ESTIMATORS, PreconditionedDenoiser, UNet, equivariant, preconditioned
from unveil.random import make_generator


@pytest.fixture(params=ESTIMATORS)
def f(request):
    f = ESTIMATORS[request.param](1, (8, 8), 1)
    generator = make_generator("cpu", 1)
    with torch.no_grad():
        for weight in f.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return f.eval()


@pytest.fixture
def problem():
    mask = (torch.rand(1, 16, 16, generator=make_generator("cpu", 2)) < 0.7).float()
    physics = dinv.physics.Inpainting(img_size=(1, 16, 16), mask=mask, noise_model=dinv.physics.GaussianNoise(0.05))
    x = torch.rand(2, 1, 16, 16, generator=make_generator("cpu", 3))
    return physics.A(x), physics


@pytest.fixture(autouse=True)
def _own_randomness():
    with torch.random.fork_rng(devices=[]):  # deepinv's samplers draw from the global generator
        torch.manual_seed(0)
        yield


def test_plug_and_play(f, problem):
    y, physics = problem
    model = dinv.optim.optim_builder(
        iteration="PGD",
        prior=dinv.optim.prior.PnP(denoiser=f),
        data_fidelity=dinv.optim.data_fidelity.L2(),
        max_iter=3,
        params_algo={"stepsize": 1.0, "g_param": 0.05},
    )
    out = model(y, physics)
    assert out.shape == y.shape
    assert out.isfinite().all()
    x = physics.A_adjoint(y)  # the same by hand: the denoiser is called with g_param as its level
    for _ in range(3):
        x = f(x - physics.A_adjoint(physics.A(x) - y), 0.05)
    torch.testing.assert_close(out, x.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_diffusion_posterior_sampling(f, problem, dtype):
    y, physics = problem
    out = dinv.sampling.DPS(denoiser=f, num_steps=3, dtype=dtype)(y, physics)
    assert out.shape == y.shape
    assert out.isfinite().all()


def test_diffpir(f, problem):
    y, physics = problem
    model = dinv.sampling.DiffPIR(model=f, data_fidelity=dinv.optim.data_fidelity.L2(), max_iter=3)
    out = model(y, physics)
    assert out.shape == y.shape
    assert out.isfinite().all()


@pytest.mark.parametrize("around", [equivariant, preconditioned])
@pytest.mark.parametrize("size", [16, 33])
def test_deepinv_backbone(around, size):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = dinv.models.DRUNet(in_channels=1, out_channels=1, pretrained=None, nc=(8, 8, 8, 8), nb=1)
    f = around(backbone)
    y = torch.rand(3, 1, size, size, generator=make_generator("cpu", 0))
    sigma = torch.tensor([0.05, 0.1, 0.2])
    out = f(y, sigma)
    assert out.shape == y.shape
    assert not torch.allclose(out, around(UNet(1, (8,)))(y, sigma))
    out.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in f.parameters())


def test_deepinv_backbone_with_batch_norm_is_refused():
    backbone = dinv.models.UNet(1, 1, scales=2, batch_norm=True)
    with pytest.raises(ValueError, match="couples the samples"):
        PreconditionedDenoiser(backbone)
    PreconditionedDenoiser(dinv.models.UNet(1, 1, scales=2, batch_norm=False))
