"""Exact samples predict the rest of the exposure as they should, and those with a tenth less variance do not."""

import pytest
import torch

from unveil.evaluation.calibrated import calibration_record
from unveil.evaluation.views import EXPOSURE, against_reference, predict_rest
from unveil.measurement import Measurement
from unveil.noise import Correlated, Gamma, Gaussian, Poisson
from unveil.operators import Identity, inpainting
from unveil.random import make_generator, normal

SIDE, V, SIGMA, K = 80, 0.15**2, 0.1, 6


def gaussian(share, generator):
    """Samples of x ~ N(1/2, V) given y, of `share` of their variance."""

    def draw(m):
        s2 = float(m.noise.sigma) ** 2
        mean, left = 0.5 + V / (V + s2) * (m.y - 0.5), share * V * s2 / (V + s2)
        return torch.stack([mean + left**0.5 * normal(mean, generator) for _ in range(K)])

    return draw


def gamma(shape, rate, generator, share=1.0):
    """Samples of x ~ Gamma(shape, rate) given counts, drawn together about their mean to `share` of their variance."""

    def draw(m):
        gain = float(m.noise.gain)
        a, b = shape + m.y / gain, rate + 1 / gain
        x = torch.stack([torch._standard_gamma(a, generator=generator) / b for _ in range(K)])
        return a / b + share**0.5 * (x - a / b)

    return draw


def inverse_gamma(shape, scale, generator):
    """Samples of x ~ 1 / Gamma(shape, scale) given speckle."""

    def draw(m):
        looks = float(m.noise.looks)
        a, b = shape + looks, scale + looks * m.y
        return torch.stack([b / torch._standard_gamma(a + 0 * b, generator=generator) for _ in range(K)])

    return draw


def record(case, share, key, images=3, exposure=EXPOSURE):
    generator, seen, operator = make_generator("cpu", key), [], Identity()
    like = torch.empty(1, 1, SIDE, SIDE)
    for _ in range(images):
        x = 0.5 + V**0.5 * normal(like, generator)
        noise, draw = Gaussian(SIGMA), gaussian(share, generator)
        if case == "counts":
            x = torch._standard_gamma(torch.full_like(like, 4.0), generator=generator) / 8
            noise, draw = Poisson(0.1), gamma(4.0, 8.0, generator, share)
        if case == "speckle":
            x = 2 / torch._standard_gamma(torch.full_like(like, 5.0), generator=generator)
            noise, draw = Gamma(12.0), inverse_gamma(5.0, 2.0, generator)
        if case == "masked":
            operator = inpainting(torch.rand(SIDE, SIDE, generator=generator) < 0.6)
        m = Measurement(noise.sample(x, generator), operator, noise)
        if exposure == 1:
            seen.append(against_reference(draw(m)[:, 0], x[0], generator))
        else:
            seen.append(predict_rest(draw, m, generator, exposure))
    return calibration_record(seen, ["a"] * images, exposure)


@pytest.mark.parametrize("exposure", [EXPOSURE, 1.0])
@pytest.mark.parametrize("case", ["gaussian", "counts", "speckle", "masked"])
def test_exact_samples_are_calibrated(case, exposure):
    if case == "masked" and exposure == 1:
        return
    found = record(case, 1.0, 0, exposure=exposure)
    assert found["verdict"] == "calibrated"
    for level, coverage, se in zip(*(found[key] for key in ("levels", "coverage", "coverage_se"))):
        assert se < 0.005
        assert abs(coverage - level) < 4 * se
    assert found["spread_over_error"] == pytest.approx(1, abs=4 * found["spread_over_error_se"])
    assert sum(found["histogram"]) == pytest.approx(1)
    assert found["p_value"] > 1e-3


@pytest.mark.parametrize("exposure", [EXPOSURE, 1.0])
@pytest.mark.parametrize("case", ["gaussian", "counts"])
def test_a_tenth_less_variance_is_too_sure_and_a_tenth_more_too_unsure(case, exposure):
    assert record(case, 1.15, 2, exposure=exposure)["verdict"] == "too unsure"
    assert record(case, 0.85, 3, exposure=exposure)["verdict"] == "too sure"
    found = record("gaussian", 0.9, 4, exposure=exposure)
    assert found["verdict"] == "too sure"
    assert found["coverage"][2] < 0.9 - 4 * found["coverage_se"][2]
    assert found["p_value"] < 1e-2


def test_samples_about_another_mean_are_told_by_their_ranks():
    """Of the right squared error, but all too dark: spread over error alone does not see it."""
    generator, seen = make_generator("cpu", 8), []
    for _ in range(3):
        x = 0.5 + V**0.5 * normal(torch.empty(1, 1, SIDE, SIDE), generator)
        m = Measurement(x + SIGMA * normal(x, generator), Identity(), Gaussian(SIGMA))

        def dark(view):
            return gaussian(1.0 + 0.02, generator)(view) - 0.02

        seen.append(predict_rest(dark, m, generator))
    found = calibration_record(seen, ["a"] * 3, EXPOSURE)
    assert found["verdict"] == "not calibrated"
    assert found["histogram"][-1] > 0.1 > found["histogram"][0]


def test_errors_that_neighbours_share_are_counted_once():
    """Of posteriors that are the same in 4 x 4 pixels the standard error holds; by pixels it would be 4 times less."""
    ratios, errors, generator = [], [], make_generator("cpu", 9)
    for _ in range(30):
        x = 0.5 + V**0.5 * normal(torch.empty(1, 1, 16, 16), generator)
        mean = x + 0.1 * normal(x, generator)
        samples = mean + 0.1 * normal(torch.empty(K, 1, 16, 16), generator)
        big = [part.repeat_interleave(4, -1).repeat_interleave(4, -2) for part in (samples, x[0])]
        found = calibration_record([against_reference(*big, generator)], ["a"], 1.0)
        ratios.append(found["spread_over_error"])
        errors.append(found["spread_over_error_se"])
    assert float(torch.tensor(ratios).std()) == pytest.approx(sum(errors) / 30, rel=0.5)


def test_by_brightness_shows_where_samples_are_wrong():
    generator = make_generator("cpu", 10)
    x = torch.linspace(0.1, 0.9, SIDE).expand(1, SIDE, SIDE)
    deviation = torch.where(x > 0.5, 0.05, 0.1)
    samples = x + 0.1 * normal(x, generator) + deviation * normal(torch.empty(20, 1, SIDE, SIDE), generator)
    rows = calibration_record([against_reference(samples, x, generator)], ["a"], 1.0)["by_brightness"]
    assert [row["brightness"] for row in rows] == sorted(row["brightness"] for row in rows)
    assert rows[0]["ratio"] == pytest.approx(1, abs=0.2)
    assert rows[-1]["ratio"] == pytest.approx(0.25, abs=0.1)
    assert rows[-1]["error"] == pytest.approx(0.1, rel=0.1)


def test_few_pixels_tell_nothing():
    x = torch.rand(1, 16, 16, generator=make_generator("cpu", 1))
    found = calibration_record(
        [against_reference(x + torch.zeros(4, 1, 1, 1), x, make_generator("cpu", 2))], ["a"], 1.0
    )
    assert found["verdict"] == "cannot be told"
    assert calibration_record([], [], 1.0) is None


def test_samples_that_may_well_be_wrong_are_not_called_calibrated():
    generator = make_generator("cpu", 4)
    x = torch.rand(1, 16, 16, generator=generator)
    samples = x + 0.1 * normal(x, generator) + 0.1 * normal(torch.empty(4, 1, 16, 16), generator)
    big = [part.repeat_interleave(4, -1).repeat_interleave(4, -2) for part in (samples, x)]
    found = calibration_record([against_reference(*big, generator)], ["a"], 1.0)
    assert 0.05 < found["spread_over_error_se"] < 0.3
    assert found["verdict"] == "cannot be told"
    assert "sample more images" in found["reason"]


def test_correlated_noise_and_measurements_that_are_no_images():
    generator = make_generator("cpu", 3)
    x = torch.rand(1, 2, 300, generator=generator)
    m = Measurement(x + 0.1 * normal(x, generator), Identity(), Gaussian(0.1))
    assert calibration_record([predict_rest(lambda v: torch.stack([v.y] * 4), m, generator)], ["a"], EXPOSURE)
    x = torch.rand(1, 1, 64, 64, generator=generator)
    m = Measurement(x, Identity(), Correlated(0.1, torch.ones(3, 3)))
    assert calibration_record([predict_rest(lambda v: torch.stack([v.y] * 4), m, generator)], ["a"], EXPOSURE)
