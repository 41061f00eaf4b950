"""Whether the noise model fits what an estimator leaves: the same verdict whatever the estimator is worth."""

import functools

import pytest
import torch
from torch.nn.functional import avg_pool2d, pad

from noisy import blurred, measured, photographs, with_noise
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.evaluation.residual_fit import SHARE, model_fit, residual_fit
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, inpainting
from unveil.random import make_generator


def smoothed(m):
    """Half a denoiser: the mean over 5 x 5 pixels."""
    return avg_pool2d(pad(m.y, (2, 2, 2, 2), mode="reflect"), 5, 1)


def untouched(m):
    return m.y


def nothing(m):
    return torch.full_like(m.y, 0.4)


ESTIMATORS = [smoothed, untouched, nothing]


def dataset(images, noise, operator=None):
    return Dataset(MemorySource({f"{i:02d}": y for i, y in enumerate(images)}), operator or Identity(), noise)


@pytest.mark.parametrize("f", ESTIMATORS)
@pytest.mark.parametrize("noise", [Gaussian(0.05), Gaussian(0.15), Poisson(1 / 4), Poisson(1 / 60)], ids=str)
def test_the_right_noise_fits_whatever_the_estimator_is(f, noise):
    fit = residual_fit(f, dataset(measured(noise), noise))
    if f is nothing and fit.verdict == "cannot be told":
        return
    assert (fit.verdict, fit.reason) == ("fits", "")
    level, error = fit.figures["level"]
    assert abs(level - 1) < max(4 * error, 0.1)


WRONG = {
    "too low": (lambda: measured(Gaussian(0.1)), Gaussian(0.08)),
    "too high": (lambda: measured(Gaussian(0.1)), Gaussian(0.12)),
    "photons taken for Gaussian": (lambda: measured(Poisson(1 / 60)), Gaussian(0.085)),
    "Gaussian taken for photons": (lambda: measured(Gaussian(0.1)), Poisson(1 / 45)),
    "blurred": (lambda: with_noise(0.1, blurred), Gaussian(0.1)),
}


SEEN = [(f, case) for f in ESTIMATORS for case in WRONG if f is not nothing or case in ("too high", "blurred")]
"""Nothing does not tell dark from bright, nor smooth from rough."""


@pytest.mark.parametrize(("f", "case"), SEEN)
def test_a_wrong_model_does_not_fit_whatever_the_estimator_is(f, case):
    images, noise = WRONG[case]
    fit = residual_fit(f, dataset(images(), noise))
    assert fit.verdict == "does not fit"
    assert "\n" not in fit.reason


def test_the_level_is_that_of_the_true_noise():
    """The drawn part of y_rest is taken off: v* / v, and not t + (1 - t) v* / v."""
    y = Gaussian(0.1).sample(torch.full((4, 1, 256, 256), 0.5), make_generator("cpu", 1))
    found = residual_fit(nothing, dataset(y, Gaussian(0.08))).figures
    level, error = found["level"]
    assert error < 0.05
    assert abs(level - 1.5625) < 4 * error


def test_an_estimator_trained_with_a_wrong_model_hides_the_covariance():
    """E[y_rest | y_t] of flat images: what it leaves is uncorrelated, though the model is wrong; u itself is not."""
    true, stated = 0.1, 0.08
    y = Gaussian(true).sample(torch.full((8, 1, 128, 128), 0.5), make_generator("cpu", 2))
    covariance = true**2 - stated**2
    kept = covariance / (true**2 + stated**2 * (1 / SHARE - 1))

    def trained(m):
        return 0.5 + kept * (m.y - 0.5)

    def known(m):
        return torch.full_like(m.y, 0.5)

    data = dataset(y, Gaussian(stated))
    value, error = residual_fit(trained, data).figures["correlation"]
    assert abs(value) < 4 * error
    value, error = residual_fit(known, data).figures["correlation"]
    assert abs(value - covariance / stated**2) < 4 * error
    assert value > 10 * error


def test_entries_that_are_missing_leave_noise_that_is_too_weak_to_be_told():
    mask = torch.rand(128, 128, generator=make_generator("cpu", 3)) < 0.6

    def data(sigma):
        return dataset(measured(Gaussian(0.1)), Gaussian(sigma), inpainting(mask))

    assert residual_fit(nothing, data(0.1)).verdict == "cannot be told"
    images = iter(photographs())
    assert residual_fit(lambda m: next(images)[None], data(0.1)).verdict == "fits"
    images = iter(photographs())
    fit = residual_fit(lambda m: next(images)[None], data(0.13))
    assert fit.verdict == "does not fit"
    assert "times the variance that is stated" in fit.reason


@functools.cache
def right():
    return dataset(measured(Gaussian(0.1)), Gaussian(0.1))


def test_both_checks_have_a_say():
    fit = model_fit(smoothed, right())
    assert fit.verdict == "fits"
    assert {"level", "brightness", "after"} <= set(fit.figures)
    assert model_fit(smoothed, dataset(measured(Gaussian(0.1)), Gaussian(0.12))).verdict == "does not fit"
    clipped = [y.clamp(0.1, 0.7) for y in measured(Gaussian(0.05))]
    assert "piled up" in model_fit(smoothed, dataset(clipped, Gaussian(0.05))).reason
