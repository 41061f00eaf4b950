"""deepinv's networks in the place of ours."""

import deepinv as dinv
import pytest
import torch

from unveil.errors import UnveilError
from unveil.estimators import Preconditioned, UNet, equivariant, inputs
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity, blur, gaussian_kernel, inpainting
from unveil.random import make_generator

SIGMA = torch.tensor([0.05, 0.1, 0.2])


def drunet(views=1):
    with torch.random.fork_rng(devices=[]):  # it draws its weights from the global generator
        torch.manual_seed(0)
        return dinv.models.DRUNet(in_channels=views, out_channels=1, pretrained=None, nc=(8, 8, 8, 8), nb=1)


@pytest.mark.parametrize("around", [equivariant, Preconditioned])
@pytest.mark.parametrize("size", [16, 33])
def test_of_images(around, size):
    f = around(drunet())
    y = torch.rand(3, 1, size, size, generator=make_generator("cpu", 0))
    m = Measurement(y, Identity(), Gaussian(SIGMA))
    out = f(m)
    assert out.shape == y.shape
    assert not torch.allclose(out, around(UNet(1, (8,)))(m))
    out.square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in f.parameters() if weight.numel())


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("name", ["mask", "blur"])
def test_of_incomplete_measurements(name, iterations):
    """Shown one image of a mask, and A^T y beside the estimate of a blur, or where g is applied again."""
    mask = torch.rand(16, 16, generator=make_generator("cpu", 2)) < 0.7
    operator = inpainting(mask) if name == "mask" else blur(gaussian_kernel(1.0), 16, 16)
    views = inputs(operator, iterations=iterations)
    assert views == (1 if name == "mask" and iterations == 1 else 2)
    f = Preconditioned(drunet(views), views=views, iterations=iterations)
    y = operator.A(torch.rand(3, 1, 16, 16, generator=make_generator("cpu", 3)))
    out = f(Measurement(y, operator, Gaussian(SIGMA)))
    assert out.shape == y.shape
    out.square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in f.parameters() if weight.numel())


def test_with_batch_norm_it_is_refused():
    backbone = dinv.models.UNet(1, 1, scales=2, batch_norm=True)
    with pytest.raises(UnveilError, match="couples the samples"):
        Preconditioned(backbone)
    Preconditioned(dinv.models.UNet(1, 1, scales=2, batch_norm=False))
