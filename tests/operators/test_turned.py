"""The operator of a turned image: its functions are those of A T_g written out as a matrix, and a turned network sees
what f sees."""

import pytest
import torch

from unveil.estimators import Preconditioned, UNet, inputs
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Turned, inpainting, mri
from unveil.random import make_generator, normal
from unveil.symmetry import make_symmetry

SIDE = 6
GAMMA = torch.tensor([0.3, 2.0, 40.0], dtype=torch.float64)


def pixels():
    return inpainting(torch.rand(SIDE, SIDE, generator=make_generator("cpu", 0)) < 0.6)


def columns():
    return mri(torch.rand(SIDE, generator=make_generator("cpu", 1)) < 0.6, height=SIDE)


def turned(operator, names):
    symmetry = make_symmetry(names)
    x = torch.zeros(3, *operator.image_shape, dtype=torch.float64)
    return Turned(operator, symmetry, symmetry.draw(x, make_generator("cpu", 2)))


def matrices(operator, x):
    """A (B, m, n), column by column."""
    units = torch.eye(x[0].numel(), dtype=x.dtype).reshape(-1, 1, *x.shape[1:])
    return torch.stack([operator.A(e.expand_as(x)).flatten(1) for e in units], -1)


@pytest.mark.parametrize("names", [["shift"], ["shift", "quarter", "flip"], ["rotate"], ["scale"]], ids="-".join)
@pytest.mark.parametrize("make", [pixels, columns])
def test_functions_of_a_turned_operator(make, names):
    """In closed form where T_g is orthogonal, else by conjugate gradients; also after more entries were hidden."""
    generator = make_generator("cpu", 3)
    whole = turned(make(), names)
    y = normal(torch.zeros(3, *whole.measurement_shape, dtype=torch.float64), generator)
    for operator in (whole, whole.hide(torch.rand(y.shape, generator=generator) < 0.7)):
        z = normal(operator.image(y), generator)
        A = matrices(operator, z)
        inverse = (A.mT @ A + torch.diag_embed((1 / GAMMA)[:, None].expand(3, A.shape[-1]))).inverse()
        b = (A.mT @ operator.project(y).flatten(1)[..., None])[..., 0] + z.flatten(1) / GAMMA[:, None]
        expected = (inverse @ b[..., None]).reshape(z.shape)
        found = operator.prox_l2(z, y, GAMMA)
        exact = operator.gram(z, torch.exp)
        assert (exact is None) == (names == ["scale"])
        tolerance = 1e-10 if exact is not None else 1e-2
        assert (found - expected).norm() < tolerance * expected.norm()
        if exact is not None:
            expected = (torch.linalg.matrix_exp(A.mT @ A) @ z.flatten(1)[..., None]).reshape(z.shape)
            torch.testing.assert_close(exact, expected)


@pytest.mark.parametrize("make", [pixels, columns])
def test_a_network_for_an_operator_takes_it_turned(make):
    operator = make()
    channels = operator.image_shape[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = Preconditioned(UNet(channels * inputs(operator), (4,), out_channels=channels))
    m = Measurement(torch.ones(3, *operator.measurement_shape), turned(operator, ["shift"]), Gaussian(0.1))
    assert inputs(m.operator) == inputs(operator) == 1
    assert f(m).isfinite().all()
