"""The spectrum of noise that a detector has blurred, and its whitening: against noise of a known spectrum."""

import pytest
import torch
import torch.nn.functional as F

from unveil.errors import UnveilError
from unveil.noise import fit_noise_spectrum, ring_power
from unveil.noise.whiten import frequencies
from unveil.random import make_generator

LEVEL, SIDE = 0.3, 512


def blurred_noise(seed, side=SIDE, fall=6.0):
    """Noise of power LEVEL^2 exp(-fall k^2), by filtering white noise: e^-1.5 in power at Nyquist along an axis."""
    w = torch.randn(1, side, side, generator=make_generator("cpu", 40, seed), dtype=torch.float64)
    gain = LEVEL * (-fall * frequencies(side, side).double() ** 2 / 2).exp()
    return torch.fft.irfft2(torch.fft.rfft2(w) * gain, s=(side, side))


def smooth_signal(seed, side=SIDE):
    """Blobs with nothing above a tenth of a cycle per pixel, of the noise's strength."""
    w = torch.randn(1, side, side, generator=make_generator("cpu", 41, seed), dtype=torch.float64)
    k = frequencies(side, side).double()
    x = torch.fft.irfft2(torch.fft.rfft2(w) * (k < 0.1) / (0.01 + k), s=(side, side))
    return 0.3 * x / x.std()


def worst(k, power, expected, count, above):
    """The largest deviation of a ring's power, in standard errors; windows that overlap by half count half."""
    used = k >= above
    return float(((power / expected - 1) * (count / 2).sqrt())[used].abs().max())


@pytest.mark.parametrize("signal", [False, True])
def test_the_spectrum_is_found_below_the_band_too(signal):
    images = [blurred_noise(i) + (smooth_signal(i) if signal else 0) for i in range(4)]
    spectrum = fit_noise_spectrum(images)
    k = torch.linspace(0, 0.7, 50, dtype=torch.float64)
    ratio = spectrum.power(k) / (LEVEL**2 * (-6 * k**2).exp())
    assert float((ratio[k >= 0.2] - 1).abs().max()) < 0.02
    assert float((ratio - 1).abs().max()) < 0.1, "extrapolated to 0"
    assert spectrum.level == pytest.approx(LEVEL, rel=0.05)


def test_whitened_noise_is_white_and_blurred_noise_is_not():
    images = [blurred_noise(i) for i in range(4)]
    spectrum = fit_noise_spectrum(images)
    held_out = [blurred_noise(10 + i) for i in range(4)]
    k, power, count = ring_power([spectrum.whiten(y) for y in held_out])
    assert worst(k, power, torch.full_like(power, spectrum.level**2), count, 0.2) < 5
    k, power, count = ring_power(held_out)
    assert worst(k, power, torch.full_like(power, spectrum.level**2), count, 0.2) > 100


def test_low_frequencies_keep_their_values():
    spectrum = fit_noise_spectrum([blurred_noise(i) for i in range(4)])
    ramp = torch.linspace(0, 1, SIDE, dtype=torch.float64).expand(1, SIDE, SIDE)
    slow = 3 + torch.cos(2 * torch.pi * 2 * ramp)
    assert float((spectrum.whiten(slow) - slow).abs().max()) < 0.02
    assert spectrum.whiten(slow.float()).dtype == torch.float32
    odd = torch.rand(2, 45, 38, generator=make_generator("cpu", 1))
    assert spectrum.whiten(odd).shape == odd.shape


def test_ring_power_is_that_of_white_noise():
    white = blurred_noise(0, fall=0.0)
    k, power, count = ring_power([white])
    assert worst(k, power, torch.full_like(power, LEVEL**2), count, 0.02) < 5


def test_refusals():
    with pytest.raises(UnveilError, match="at least 32x32"):
        fit_noise_spectrum([torch.rand(1, 20, 200)])
    with pytest.raises(UnveilError, match="no power"):
        fit_noise_spectrum([F.pad(torch.ones(1, 40, 40), (0, 0))])
    with pytest.raises(UnveilError, match="no images"):
        fit_noise_spectrum([])
