"""The directions in which samples differ, and their quantiles."""

import pytest
import torch

from unveil.evaluation.components import component_names, posterior_images, principal_components, quantiles
from unveil.random import make_generator


def test_components_are_those_that_were_put_in():
    generator = make_generator("cpu", 1)
    v = torch.linalg.qr(torch.randn(64, 2, generator=generator, dtype=torch.double))[0].T.reshape(2, 1, 8, 8)
    a = torch.randn(400, 2, 1, 1, 1, generator=generator, dtype=torch.double)
    samples = 0.5 + 3 * a[:, 0] * v[0] + a[:, 1] * v[1]
    found, shares = principal_components(samples)
    assert shares[:2].tolist() == pytest.approx([0.9, 0.1], abs=0.03)
    assert float(shares[2]) < 1e-9
    for k, deviation in enumerate((3, 1)):
        assert float(found[k].norm()) == pytest.approx(deviation, rel=0.15)
        assert abs(float((found[k] * v[k]).sum())) == pytest.approx(deviation, rel=0.15)
        assert float(found[k].sum()) >= 0


@pytest.mark.parametrize("count", [2, 8, 100])
def test_quantiles_hold_another_draw_nine_times_of_ten(count):
    generator = make_generator("cpu", 2)
    samples = torch.randn(count, 1, 200, 200, generator=generator)
    low, high = quantiles(samples)
    another = torch.randn(1, 200, 200, generator=generator)
    inside = float(((another > low) & (another < high)).float().mean())
    assert inside == pytest.approx(0.9, abs=4 * (0.09 / 40000) ** 0.5 + (0.02 if count == 100 else 0))


def test_images_have_the_names_that_are_announced():
    for count in (1, 2, 3, 8):
        images = posterior_images(torch.rand(count, 1, 8, 8))
        assert sorted(images) == sorted(component_names(count))
    assert len(component_names(8)) == 9
