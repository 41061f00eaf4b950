"""In deepinv's place of a denoiser and of a reconstructor."""

import deepinv as dinv
import pytest
import torch

from unveil.config import parse_config
from unveil.estimators import WRAPPED, Preconditioned, UNet, inputs
from unveil.interop import as_deepinv
from unveil.measurement import Measurement
from unveil.model import Model
from unveil.noise import Gaussian
from unveil.operators import Identity, blur, gaussian_kernel
from unveil.random import make_generator

FORMS = {**WRAPPED, "preconditioned": lambda channels, widths, blocks: Preconditioned(UNet(channels, widths, blocks))}


def model(f, operator):
    generator = make_generator("cpu", 1)
    with torch.no_grad():
        for weight in f.parameters():  # the last layer begins at zero
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return Model(f, operator, Gaussian(0.05), parse_config({"data": {"path": "x"}}, "test"))


@pytest.fixture(params=FORMS)
def f(request):
    return as_deepinv(model(FORMS[request.param](1, (8, 8), 1), Identity()))


@pytest.fixture
def measured():
    mask = (torch.rand(1, 16, 16, generator=make_generator("cpu", 2)) < 0.7).float()
    physics = dinv.physics.Inpainting(img_size=(1, 16, 16), mask=mask, noise_model=dinv.physics.GaussianNoise(0.05))
    x = torch.rand(2, 1, 16, 16, generator=make_generator("cpu", 3))
    return physics.A(x), physics


@pytest.fixture(autouse=True)
def _own_randomness():
    with torch.random.fork_rng(devices=[]):  # deepinv's samplers draw from the global generator
        torch.manual_seed(0)
        yield


def test_plug_and_play(f, measured):
    y, physics = measured
    algorithm = dinv.optim.optim_builder(
        iteration="PGD",
        prior=dinv.optim.prior.PnP(denoiser=f),
        data_fidelity=dinv.optim.data_fidelity.L2(),
        max_iter=3,
        params_algo={"stepsize": 1.0, "g_param": 0.05},
    )
    out = algorithm(y, physics)
    assert out.shape == y.shape
    assert out.isfinite().all()
    x = physics.A_adjoint(y)  # the same by hand: the denoiser is called with g_param as its level
    for _ in range(3):
        x = f(x - physics.A_adjoint(physics.A(x) - y), 0.05)
    torch.testing.assert_close(out, x.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_diffusion_posterior_sampling(f, measured, dtype):
    y, physics = measured
    out = dinv.sampling.DPS(denoiser=f, num_steps=3, dtype=dtype)(y, physics)
    assert out.shape == y.shape
    assert out.isfinite().all()


def test_diffpir(f, measured):
    y, physics = measured
    out = dinv.sampling.DiffPIR(model=f, data_fidelity=dinv.optim.data_fidelity.L2(), max_iter=3)(y, physics)
    assert out.shape == y.shape
    assert out.isfinite().all()


def test_levels_are_numbers_or_one_for_each(f):
    x = torch.rand(3, 1, 16, 16, generator=make_generator("cpu", 3))
    sigma = torch.tensor([0.05, 0.1, 0.2])
    with torch.no_grad():
        alone = torch.cat([f(x[i : i + 1], float(sigma[i])) for i in range(3)])
        for levels in (sigma, sigma.double(), sigma.reshape(3, 1, 1, 1)):
            torch.testing.assert_close(f(x, levels), alone, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(f(x), f(x, 0.05))  # that of the model's own measurements


def test_of_incomplete_measurements_it_is_a_reconstructor():
    operator = blur(gaussian_kernel(1.0), 16, 16)
    views = inputs(operator)
    trained = model(Preconditioned(UNet(views, (8,), out_channels=1), views=views), operator)
    reconstruct = as_deepinv(trained)
    assert isinstance(reconstruct, dinv.models.Reconstructor)
    y = operator.A(torch.rand(2, 1, 16, 16, generator=make_generator("cpu", 3)))
    with torch.no_grad():
        expected = trained.f(Measurement(y, operator, Gaussian(0.05)))
        assert torch.equal(reconstruct(y, dinv.physics.BlurFFT((1, 16, 16), torch.ones(1, 1, 3, 3))), expected)
