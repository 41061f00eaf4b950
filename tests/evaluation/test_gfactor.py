"""Maps of the g-factor and of signal to noise are those of the covariance, which of a linear estimate is known."""

import pytest
import torch

from unveil.evaluation.fields import Subject
from unveil.evaluation.fields.gfactor import GFactor
from unveil.evaluation.replicas import local
from unveil.evaluation.risk import estimate_risk
from unveil.instruments.mri.coils import birdcage_coils
from unveil.instruments.mri.operator import mri
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity
from unveil.random import make_generator

SIDE, SIGMA = 16, 0.05


def scan(coils=4, scale=1.0):
    """Every second column, by coils whose sensitivities are not normalized."""
    mask = torch.arange(SIDE) % 2 == 0
    operator = mri(mask, None if coils == 1 else scale * birdcage_coils(coils, SIDE, SIDE), SIDE)
    x = torch.stack([torch.linspace(0.5, 1, SIDE).expand(SIDE, SIDE), torch.full((SIDE, SIDE), 0.3)])[None]
    return Measurement(Gaussian(SIGMA).sample(operator.A(x), make_generator("cpu", 0)), operator, Gaussian(SIGMA))


def dense(operator):
    basis = torch.eye(2 * SIDE**2).reshape(-1, 2, SIDE, SIDE)
    return operator.A(basis).flatten(1).double().T


def linear(matrix):
    return lambda m: (m.y.flatten(1).double() @ matrix.T).to(m.y).reshape(len(m), 2, SIDE, SIDE)


def inverse(operator, ridge):
    """(A^T A + ridge)^-1 A^T: of 0 that of least squares, else the best linear estimate of a white image."""
    a = dense(operator)
    return torch.linalg.solve(a.T @ a + ridge * torch.eye(len(a.T), dtype=torch.double), a.T)


def looked(f, m, probes, key=1):
    generator = make_generator("cpu", key)
    x_hat = f(m)
    risk = estimate_risk(f, m, generator, probes=probes, x_hat=x_hat)
    return GFactor().look(Subject(f, m, x_hat, risk, generator))


@pytest.mark.parametrize(("ridge", "scale"), [(0.0, 1.0), (0.3, 1.0), (0.0, 3.0)])
def test_the_maps_are_those_of_the_covariance(ridge, scale):
    m = scan(scale=scale)
    matrix = inverse(m.operator, ridge)
    f, full = linear(matrix), SIGMA**2 / scale**2
    variance = (SIGMA * matrix).square().sum(1).reshape(2, SIDE, SIDE).mean(0)  # the diagonal of B B^T
    expected = local(variance[None])[0]
    one = looked(f, m, 200)
    assert one.acceleration == 2
    for found, true in ((one.g, (expected / full / 2).sqrt()), (one.snr, f(m)[0].norm(dim=0) / expected.sqrt())):
        z = (found - true) / (one.pixel * true)
        assert 0.5 < float(z.square().mean().sqrt()) < 1.5
        assert float(z.abs().max()) < 5
    figure = GFactor().found({"slice": one})
    assert figure.values["g"] == pytest.approx(
        float((variance / full / 2).mean()) ** 0.5, abs=4 * figure.values["g_se"]
    )
    assert figure.values["g_se"] < 0.01
    assert (figure.values["g"] > 1) == (ridge == 0), "what is taken off is less than the shorter scan costs"


def test_the_error_of_the_mean_is_its_scatter():
    m = scan()
    matrix = inverse(m.operator, 0.3)
    true = float((matrix.square().sum(1) / 2).mean()) ** 0.5
    z = []
    for key in range(25):
        values = GFactor().found({"slice": looked(linear(matrix), m, 8, key)}).values
        z.append((values["g"] - true) / values["g_se"])
    assert 0.6 < float(torch.tensor(z).square().mean()) ** 0.5 < 1.6


def test_the_zero_filled_image_of_one_coil_has_a_share_of_the_noise():
    m = scan(coils=1)
    one = looked(lambda m: m.operator.A_dagger(m.y), m, 100)
    assert float(one.g.mean()) == pytest.approx(1 / 2, abs=0.02), "s^2 = sigma^2 / R: g = 1 / R"
    figure = GFactor().found({"slice": one})
    assert "At R = 2.00 the g-factor is 0.50" in figure.said
    pictures = GFactor().pictures(one)
    assert [*pictures] == ["snr", "gfactor"]
    assert {x.shape for x in pictures.values()} == {(1, SIDE, SIDE)}


def test_of_other_instruments_and_other_noise_there_is_none():
    m = Measurement(torch.rand(1, 1, SIDE, SIDE), Identity(), Gaussian(0.1))
    assert looked(lambda m: m.y, m, 2) is None
    m = scan(coils=1)
    assert looked(lambda m: m.operator.A_dagger(m.y), Measurement(m.y.abs(), m.operator, Poisson(0.1)), 2) is None
    assert GFactor().found({}) is None
