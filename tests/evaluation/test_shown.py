"""Samples given all of the exposure: exact ones spread as the estimate errs, and half the variance is found out."""

import pytest
import torch

from unveil.evaluation.calibrated import calibration_record, shown_record
from unveil.evaluation.risk import estimate_risk
from unveil.evaluation.shown import Shown, shown_samples
from unveil.evaluation.views import EXPOSURE, predict_rest
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, inpainting
from unveil.random import make_generator, normal

SIDE, V, SIGMA, K = 80, 0.07**2, 0.1, 6


def of_gaussian(m):
    s2 = float(m.noise.sigma) ** 2
    return 0.5 + V / (V + s2) * (m.y - 0.5), V * s2 / (V + s2)


def of_counts(m, shape=20.0, rate=40.0):
    gain = float(m.noise.gain)
    return (shape + m.y / gain) / (rate + 1 / gain), (shape + m.y / gain) / (rate + 1 / gain) ** 2


def seen(case, share, key, images=3, viewed=True):
    """The samples of images at all of the exposure, and of a ninth of it; of `share` of their variance at the first."""
    generator, like, operator = make_generator("cpu", key), torch.empty(1, 1, SIDE, SIDE), Identity()
    shown, views = [], []
    posterior = of_counts if case == "counts" else of_gaussian
    for _ in range(images):
        if case == "counts":
            x, noise = torch._standard_gamma(torch.full_like(like, 20.0), generator=generator) / 40, Poisson(0.1)
        else:
            x, noise = 0.5 + V**0.5 * normal(like, generator), Gaussian(SIGMA)
        if case == "masked":
            operator = inpainting(torch.rand(SIDE, SIDE, generator=generator) < 0.7)

        def draw(m, part=1.0, posterior=posterior):
            mean, variance = posterior(m)
            return torch.stack([mean + (part * variance) ** 0.5 * normal(mean, generator) for _ in range(K)])

        m = Measurement(noise.sample(x, generator), operator, noise)
        f = lambda m, posterior=posterior: posterior(m)[0]  # noqa: E731
        shown.append(shown_samples(m, f(m), draw(m, share), estimate_risk(f, m, generator)))
        if viewed:
            views.append(predict_rest(draw, m, generator))
    return shown, views


@pytest.mark.parametrize("case", ["gaussian", "counts", "masked"])
def test_the_ratio_is_that_of_the_samples_shown(case):
    for share, key in ((1.0, 1), (0.5, 2)):
        shown, _ = seen(case, share, key, viewed=False)
        found = shown_record(shown)
        assert found["spread_over_error_se"] < 0.08
        assert found["spread_over_error"] == pytest.approx(share, abs=4 * found["spread_over_error_se"])
        assert len(found["by_brightness"]) == 5


def test_samples_that_are_right_at_a_ninth_alone_are_not_called_calibrated():
    for share, verdict in ((1.0, "calibrated"), (0.54, "too sure"), (1.8, "too unsure")):
        shown, views = seen("gaussian", share, 3)
        assert calibration_record(views, ["a"] * 3, EXPOSURE)["verdict"] == "calibrated"
        found = calibration_record(views, ["a"] * 3, EXPOSURE, shown)
        assert found["verdict"] == verdict
        assert ("given all of the exposure" in found["reason"]) == (share != 1)
        assert found["shown"]["spread_over_error"] == pytest.approx(share, rel=0.15)


def test_an_error_that_is_not_known_well_leaves_the_verdict_open():
    shown, views = seen("counts", 1.0, 4)
    part = Shown(*(None if v is None else v[..., :48, :48] for v in vars(shown[0]).values()))
    assert calibration_record(views, ["a"] * 3, EXPOSURE, [part])["verdict"] == "cannot be told"
