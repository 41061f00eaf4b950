"""The map of the noise in the estimate is the deviation over repeated measurements, and is kept in the files' units."""

import pytest
import torch

from unveil.evaluation.replicas import noise_deviation
from unveil.evaluation.risk import estimate_risk
from unveil.measurement import Measurement
from unveil.noise import Correlated, Gaussian, Poisson
from unveil.operators import Identity, inpainting
from unveil.random import make_generator


def shrunk(m):
    """Keeps the left half, takes half of the right one, and squares it a little."""
    share = torch.where(torch.arange(m.y.shape[-1]) < m.y.shape[-1] // 2, 1.0, 0.5)
    return share * (m.y + 0.2 * (m.y - 0.5).square())


@pytest.mark.parametrize("case", ["gaussian", "counts", "masked", "correlated"])
def test_the_map_is_the_deviation_over_repeated_measurements(case):
    generator = make_generator("cpu", 1)
    noise = {"counts": Poisson(0.01), "correlated": Correlated(0.05, torch.ones(3, 3))}.get(case, Gaussian(0.05))
    operator = inpainting(torch.rand(48, 48, generator=generator) < 0.7) if case == "masked" else Identity()
    x = torch.linspace(0.3, 0.8, 48).expand(1, 1, 48, 48)
    m = Measurement(noise.sample(x, generator), operator, noise)
    m = m if operator.measured is None else m.at(operator.project(m.y))
    found = noise_deviation(estimate_risk(shrunk, m, generator, probes=16))
    again = torch.stack([shrunk(m.at(operator.project(noise.sample(x, generator)))) for _ in range(200)])
    for part in (slice(0, 20), slice(28, 48)):
        assert float(found[:, part].square().mean()) == pytest.approx(float(again.var(0)[..., part].mean()), rel=0.12)


def test_measurements_that_are_no_images_have_no_map():
    generator = make_generator("cpu", 2)
    m = Measurement(torch.rand(1, 1, 300, generator=generator), Identity(), Gaussian(0.1))
    assert noise_deviation(estimate_risk(lambda m: m.y, m, generator)) is None
