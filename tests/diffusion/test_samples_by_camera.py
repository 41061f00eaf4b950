"""A network that knows a camera beside y. Where it adds nothing, f is exact for white and for stationary Gaussian
images, so that going on with the camera must draw their posterior, also of what A does not see."""

import pytest
import torch
from torch import nn

from unveil.diffusion import posterior_samples, samples_by_camera
from unveil.errors import UnveilError
from unveil.estimators import Preconditioned, Stationary, inputs
from unveil.instruments.inpainting.operator import Inpainting
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.random import normal

MEAN, STD, SIDE, SIGMA = 0.4, 0.3, 4, 0.1
SHOWN = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3)) < 0.5


class Nothing(nn.Module):
    """A network that adds nothing, as a new `UNet` does."""

    def forward(self, u, c):
        return torch.zeros_like(u[:, :1])


def estimator(operator, prior=None, camera=True):
    views = inputs(operator, prior=prior is not None, camera=camera)
    return Preconditioned(Nothing(), MEAN, STD, views=views, prior=prior, camera=camera).double()


def measured(operator, x, generator):
    noise = Gaussian(SIGMA)
    return Measurement(noise.sample(operator.A(x), generator), operator, noise)


@pytest.mark.parametrize("kind", ["white", "stationary"])
def test_the_posterior_of_gaussian_images(kind, device, generator):
    operator = Inpainting((1, SIDE, SIDE), SHOWN).to(device)
    prior = Stationary((1, SIDE, SIDE), MEAN, STD).double().to(device) if kind == "stationary" else None
    f = estimator(operator, prior).to(device)
    unit = torch.eye(SIDE**2, dtype=torch.float64, device=device).reshape(-1, 1, SIDE, SIDE)
    S = STD**2 * torch.eye(SIDE**2).to(unit) if prior is None else prior.covariance(unit).flatten(1)
    root = torch.linalg.cholesky(S)
    x = MEAN + (root @ normal(unit[:, 0, 0, 0], generator)).reshape(1, 1, SIDE, SIDE)
    m = measured(operator, x, generator)
    size, steps = 4000, 40
    drawn = samples_by_camera(f, m, STD, generator, samples=size, steps=steps, lowest=0.01, batch=size)[:, 0].flatten(1)
    A = operator.measured.flatten().diag().to(S)[operator.measured.flatten()]
    gain = S @ A.mT @ torch.linalg.inv(A @ S @ A.mT + SIGMA**2 * torch.eye(len(A)).to(S))
    mean = MEAN + gain @ (m.y.flatten()[operator.measured.flatten()] - MEAN)
    cov = S - gain @ A @ S
    error = (drawn.mean(0) - mean) / (cov.diagonal() / size).sqrt()
    assert float(error.abs().max()) < 4.5
    found = torch.cov(drawn.mT)
    deviation = ((cov.square() + cov.diagonal()[:, None] * cov.diagonal()) / size).sqrt()
    assert bool(((found - cov).abs() < 4.5 * deviation + 0.03 * cov.diagonal().max()).all())
    scatter = float((2 * cov.square().sum() / size).sqrt())
    assert float(found.trace()) == pytest.approx(float(cov.trace()), abs=4 * scatter + 0.01 * float(cov.trace()))
    # where the camera is not: the mean of what A does not see, the same in all draws
    blind = posterior_samples(f, m, generator, samples=200, steps=steps, batch=200)[:, 0].flatten(1)
    assert float(torch.cov(blind.mT).trace()) < 0.6 * float(cov.trace())


def test_without_exposure_it_is_the_estimate_of_y_alone(device, generator):
    operator = Inpainting((1, SIDE, SIDE), SHOWN).to(device)
    f = estimator(operator).to(device)
    x = torch.rand(3, 1, SIDE, SIDE, generator=generator, device=device, dtype=torch.float64)
    m = measured(operator, x, generator)
    torch.testing.assert_close(f(m.beside(x, torch.zeros(3).to(x))), f(m))
    late = m.beside(x, torch.full((3,), 1e8).to(x))
    torch.testing.assert_close(f(late), x, atol=1e-3, rtol=0)


def test_a_network_that_knows_no_camera_says_so(device, generator):
    operator = Inpainting((1, SIDE, SIDE), SHOWN).to(device)
    f = estimator(operator, camera=False).to(device)
    m = measured(operator, torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64, device=device), generator)
    with pytest.raises(UnveilError, match="knows no camera"):
        samples_by_camera(f, m, STD, generator)
