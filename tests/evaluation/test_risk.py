"""The standard error of an error without a reference is how far it is from the truth, of each image."""

import math

import pytest
import torch
from torch.nn.functional import avg_pool2d, pad

from unveil.errors import UnveilError
from unveil.evaluation.interval import Error, mean_psnr
from unveil.evaluation.risk import BLOCK, estimate_risk
from unveil.measurement import Measurement
from unveil.noise import Correlated, Gamma, Gaussian, Poisson, PoissonGaussian
from unveil.operators import Identity, inpainting
from unveil.random import make_generator, normal
from unveil.student import student

KERNEL = torch.tensor([[0.3, 0.6, 0.3], [0.6, 1.0, 0.6], [0.3, 0.6, 0.3]])
NOISES = {
    "gaussian": Gaussian(0.1), "2 photons": Poisson(0.2), "10 photons": Poisson(0.04),
    "read out": PoissonGaussian(0.04, 0.06), "4 looks": Gamma(4.0), "correlated": Correlated(0.1, KERNEL, rows=0.1),
}  # fmt: skip


def smoothed(m):
    return avg_pool2d(pad(m.y, (1, 1, 1, 1), mode="reflect"), 3, 1)


def bent(m):
    """Keeps what stands out: an estimator whose derivative is another at every pixel, and whose error is uneven."""
    low = smoothed(m)
    d = m.y - low
    return low + d * (d.square() / (d.square() + 0.1**2))


def squares(count, side=32):
    """Images (count, 1, side, side) in [0.1, 0.9], flat but for edges: the error is large there alone."""
    grey = torch.rand(count, 1, side // 8, side // 8, generator=make_generator("cpu", 3))
    return (0.1 + 0.8 * grey).repeat_interleave(8, 2).repeat_interleave(8, 3)


@pytest.mark.parametrize("f", [smoothed, bent])
@pytest.mark.parametrize("name", NOISES)
def test_the_standard_error_is_the_deviation_from_the_truth(name, f):
    """Of 350 draws: a deviation of z = 1 within 4 standard errors, and its mean within what second orders leave."""
    x, noise, generator = squares(350), NOISES[name], make_generator("cpu", 4)
    m = Measurement(noise.sample(x, generator), Identity(), noise)
    risk = estimate_risk(f, m, generator)
    z = (risk.error - (f(m) - x).square().flatten(1).mean(1)) / risk.se
    assert abs(float(z.mean())) < 0.4
    assert float(z.square().mean()) ** 0.5 == pytest.approx(1, abs=4 * (2 * 350) ** -0.5)


@pytest.mark.parametrize(
    ("noise", "u", "share"), [(Gamma(1.0), 0.5, 0.5), (PoissonGaussian(0.1, 0.05), 0.0, 3.0), (Poisson(0.5), 0.5, 1.0)]
)
def test_squares_of_noise_scatter_as_their_family_says(noise, u, share):
    """Of f = x the variance is that of n^2 - v(y) alone: `share` of the 2 v^2 of Gaussian noise."""
    x, generator = torch.full((400, 1, 32, 32), u), make_generator("cpu", 9)
    risk = estimate_risk(lambda m: x, Measurement(noise.sample(x, generator), Identity(), noise), generator)
    assert float(risk.error.var()) * 1024 == pytest.approx(
        share * 2 * float(noise.variance(x)[0, 0, 0, 0]) ** 2, rel=0.3
    )
    assert float((risk.error / risk.se).square().mean()) ** 0.5 == pytest.approx(1, abs=4 * (2 * 400) ** -0.5)


def test_missing_entries_are_no_entries():
    x, generator = squares(400), make_generator("cpu", 5)
    operator = inpainting(torch.rand(32, 32, generator=generator) < 0.4)
    m = Measurement(x + 0.1 * normal(x, generator), operator, Gaussian(0.1))
    risk = estimate_risk(bent, m, generator)
    z = (risk.error - operator.mean((bent(m) - x).square())) / risk.se
    assert float(z.square().mean()) ** 0.5 == pytest.approx(1, abs=4 * (2 * 400) ** -0.5)


def test_the_variance_of_a_sum_of_noise():
    generator = make_generator("cpu", 6)
    channels = torch.tensor([[1.0, 0.5], [0.5, 2.0]])
    stripes = Correlated(0.3, KERNEL, rows=0.1, columns=0.3, covariance=channels)
    for noise, shape in [(Poisson(0.2), (1, 12, 9)), (stripes, (2, 12, 9))]:
        u = torch.rand(shape, generator=generator)[None].expand(4000, *shape).contiguous()
        r = 1 + normal(u[:1], generator)
        sums = (r * (noise.sample(u, generator) - u)).flatten(1).sum(1)
        expected = float(noise.sum_variance(r, u[:1]))
        assert float(sums.var()) == pytest.approx(expected, rel=4 * (2 / 4000) ** 0.5)


def test_the_noise_that_blocks_of_the_estimate_share():
    x, generator = squares(300), make_generator("cpu", 7)
    noise = Poisson(0.04)
    y = noise.sample(x, generator)
    m = Measurement(y, Identity(), noise)
    expected = avg_pool2d(y - x, BLOCK) * avg_pool2d(smoothed(m) - x, BLOCK)
    found = estimate_risk(smoothed, m, generator).shared
    assert found.shape == expected.shape
    d = (found - expected).flatten()
    assert float(d.std()) / len(d) ** 0.5 < 0.2 * float(found.mean()), "it is seen"
    assert abs(float(d.mean())) < 4 * float(d.std()) / len(d) ** 0.5


def test_few_probes_are_refused():
    with pytest.raises(UnveilError, match="probes is 1"):
        estimate_risk(smoothed, Measurement(squares(1), Identity(), Gaussian(0.1)), make_generator("cpu", 0), 1)


def test_an_interval_in_decibels():
    low, high = Error(1e-3, 1e-4).interval
    assert (low, high) == (
        pytest.approx(30 - 10 * math.log10(1.196), abs=1e-3),
        pytest.approx(30 - 10 * math.log10(0.804), abs=1e-3),
    )
    assert Error(1e-3, 1e-3).interval[1] == math.inf, "the error may be 0"
    assert Error(1e-3, 0.6e-4, 0.8e-4).interval == pytest.approx((low, high))
    assert math.isnan(Error(-1e-3, 1e-4).interval[0])


def test_the_mean_of_these_images_and_of_others():
    """Of 4,000 sets of images whose PSNR is 30 + 2 n dB: how often each interval holds what it is of."""
    generator = make_generator("cpu", 8)
    these = others = 0
    for psnrs in 30 + 2 * torch.randn(4000, 5, generator=generator, dtype=torch.double):
        error = 10 ** (-psnrs / 10)
        seen = error * (1 + 0.02 * torch.randn(5, generator=generator))
        found = mean_psnr([Error(float(e), 0.02 * float(e)) for e in seen])
        these += found["low"] < float(psnrs.mean()) < found["high"]
        others += found["next_low"] < 30 < found["next_high"]
    assert these / 4000 == pytest.approx(0.95, abs=0.015)
    assert others / 4000 == pytest.approx(0.95, abs=0.015)
    one = mean_psnr([Error(1e-3, 1e-5, 1e-4)] * 100)
    assert one["high"] - one["low"] == pytest.approx(2 * 1.96 * 4.343 * 0.1, rel=0.01), "what is common stays"
    assert math.isnan(mean_psnr([Error(1e-3, 1e-5)] * 2)["next_low"])
    assert student(0.95, 4) == pytest.approx(2.776, abs=1e-3)


def test_slices_of_volumes_are_no_independent_images():
    """Of 2,000 sets of 5 volumes of 8 slices, the volumes 2 dB apart and their slices 1: intervals of further ones."""
    generator, names = make_generator("cpu", 9), [f"v{k}" for k in range(5) for _ in range(8)]
    hold = naive = 0
    for _ in range(2000):
        psnrs = 30 + 2 * torch.randn(5, 1, generator=generator) + torch.randn(5, 8, generator=generator)
        seen = [Error(10 ** (-v / 10), 1e-6) for v in psnrs.flatten().tolist()]
        found, alone = mean_psnr(seen, names), mean_psnr(seen)
        hold += found["next_low"] < 30 < found["next_high"]
        naive += alone["next_low"] < 30 < alone["next_high"]
    assert hold / 2000 == pytest.approx(0.95, abs=0.02)
    assert naive / 2000 < 0.65
    assert (found["images"], found["groups"], alone["groups"]) == (40, 5, 40)
    each = mean_psnr(seen, [str(k) for k in range(40)])
    assert each["next_low"] == pytest.approx(alone["next_low"])
    assert math.isnan(mean_psnr(seen, ["a"] * 20 + ["b"] * 20)["next_low"])


@pytest.mark.parametrize("noise", [Gamma(4.0), Poisson(0.2), PoissonGaussian(0.04, 0.06), Gaussian(0.1)], ids=str)
def test_probes_hardly_add_to_the_noise_that_an_estimator_sees(noise):
    """Of speckle .005 of it, where losses add .02, and are too large by what their estimators are worse then."""
    x, generator, seen = squares(64), make_generator("cpu", 6), []
    m = Measurement(noise.sample(x, generator), Identity(), noise)
    estimate_risk(lambda m: (seen.append(m.y), m.y)[1], m, generator)
    added = torch.stack([(y - m.y).square().mean() for y in seen[1:]])
    assert len(added) == 8
    assert 0 < float(added.mean() / noise.estimated_variance(m.y).mean()) < 0.0055


@pytest.mark.parametrize("noise", [Gamma(4.0), Poisson(0.2), PoissonGaussian(0.04, 0.06), Gaussian(0.1)], ids=str)
@pytest.mark.parametrize("hidden", [False, True])
def test_of_a_part_of_y_probes_tell_all(noise, hidden):
    """Skewed ones scatter by what is known of them: of h = y / 2 that is all, entry by entry too in their mean."""
    generator = make_generator("cpu", 3)
    x = 0.2 + 0.6 * torch.rand(2, 1, 48, 48, generator=generator)
    operator = inpainting(torch.rand(48, 48, generator=generator) < 0.7) if hidden else Identity()
    m = Measurement(operator.project(noise.sample(x, generator)), operator, noise)
    risk = estimate_risk(lambda m: 0.5 * m.y, m, generator)
    v = operator.project(noise.estimated_variance(m.y))
    torch.testing.assert_close(risk.error, m.mean_square(0.5 * m.y), rtol=2e-3, atol=0)
    torch.testing.assert_close(risk.products, 0.5 * v, rtol=0, atol=0.03 * float(v.abs().max()))
