"""Whether the noise model fits, from noisy photographs alone: it does on right models, and one line on wrong ones."""

import numpy as np
import pytest
import skimage.data
import torch
from torch.nn.functional import avg_pool2d

from noisy import STEP, blurred, chi_square, drifting, hot, measured, photographs, sharpened, with_noise
from unveil.checks.fit import noise_fit
from unveil.checks.measurements import image_lines
from unveil.checks.quiet import ACROSS, DOWN, bands_apart, block_basis, local_mean, ratio, take_blocks
from unveil.data import MemorySource
from unveil.noise import Gamma, Gaussian, Poisson, PoissonGaussian
from unveil.noise.estimate.blocks import HIGH, MID
from unveil.random import make_generator, normal

OTHERS = [PoissonGaussian(1 / 20, 0.05, 0.1), Gamma(4)]
"""Families that no check knows by name."""


@pytest.mark.parametrize(
    "noise", [*map(Gaussian, (0.03, 0.05, 0.1, 0.2)), *(Poisson(1 / p) for p in (4, 20, 200)), *OTHERS], ids=str
)
def test_the_right_noise_fits(noise):
    for seed in range(3):
        fit = noise_fit(measured(noise, seed), noise)
        assert (fit.verdict, fit.reason) == ("fits", "")
        level, error = fit.figures["level"]
        assert abs(level - 1) < max(4 * error, 0.1)


WRONG = {
    "too low": (lambda: measured(Gaussian(0.1)), Gaussian(0.08), "that is stated"),
    "too high": (lambda: measured(Gaussian(0.1)), Gaussian(0.12), "that is stated"),
    "gain too low": (lambda: measured(Poisson(1 / 40)), Poisson(1 / 64), "that is stated"),
    "photons taken for Gaussian": (lambda: measured(Poisson(1 / 60)), Gaussian(0.085), ("piled up at 0", "brightness")),
    "Gaussian taken for photons": (lambda: measured(Gaussian(0.1)), Poisson(1 / 45), "brightness"),
    "read noise left out": (lambda: measured(PoissonGaussian(1 / 20, 0.1, 0)), Poisson(1 / 20), "that is stated"),
    "speckle taken for Gaussian": (lambda: measured(Gamma(4)), Gaussian(0.2), "brightness"),
    "blurred": (lambda: with_noise(0.1, blurred), Gaussian(0.1), "not white"),
    "blurred, of the level found": (lambda: with_noise(0.1, blurred), Gaussian(0.017), "not white"),
    "sharpened": (lambda: with_noise(0.1, sharpened), Gaussian(0.1), "not white"),
    "stripes": (
        lambda: with_noise(0.1, lambda e: e + 0.5 * e[:, :, :1]),
        Gaussian(0.1),
        "from row to row",
    ),
    "hot pixels": (lambda: [hot(y, i) for i, y in enumerate(measured(Gaussian(0.05)))], Gaussian(0.05), "stand alone"),
    "clipped": (lambda: [y.clamp(0.1, 0.7) for y in measured(Gaussian(0.05))], Gaussian(0.05), "piled up at"),
    "rounded": (
        lambda: [(y / STEP).round() * STEP for y in measured(Gaussian(STEP / 2))],
        Gaussian(STEP / 2),
        "neighbouring values are 2 deviations",
    ),
    "drift": (lambda: drifting(0.05), Gaussian(0.05), "from the first image to the last"),
    "skewed": (
        lambda: [0.1 * chi_square(normal(torch.empty(8, 256, 256), make_generator("cpu", 8)))],
        Gaussian(0.1),
        "skewness",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_model_does_not_fit(case):
    images, noise, words = WRONG[case]
    fit = noise_fit(images(), noise)
    assert fit.verdict == "does not fit"
    assert any(word in fit.reason for word in ([words] if isinstance(words, str) else words))
    assert "\n" not in str(fit)


def test_a_level_one_percent_off_fits():
    images = measured(Gaussian(0.1))
    assert noise_fit(images, Gaussian(0.101)).verdict == "fits"
    assert noise_fit(images, Gaussian(0.099)).verdict == "fits"


def test_zeros_of_counts_are_not_clipping():
    images = measured(Poisson(1 / 2))
    assert (torch.cat([y.flatten() for y in images]) == 0).double().mean() > 0.3
    assert noise_fit(images, Poisson(1 / 2)).figures["clipped"] < 1e-3
    assert noise_fit(images, Poisson(1 / 2)).figures["step"] is None, "they are the model's own"
    assert noise_fit(images, Gaussian(0.2)).figures["step"] > 1
    assert noise_fit([y.clamp(max=1.5) for y in images], Poisson(1 / 2)).figures["clipped"] > 0.01


def test_what_cannot_be_told():
    assert noise_fit([torch.zeros(1, 5, 100)], Gaussian(0.1)).verdict == "cannot be told"
    y = 0.1 * normal(torch.zeros(1, 24, 24), make_generator("cpu", 1))
    fit = noise_fit([y], Gaussian(0.1))
    assert fit.verdict == "cannot be told"
    assert "too few pixels" in fit.reason
    grass = torch.tensor(skimage.data.grass()[:256, :256], dtype=torch.float32)[None] / 255
    fit = noise_fit([grass + 0.01 * normal(grass, make_generator("cpu", 1))], Gaussian(0.01))
    assert fit.verdict == "cannot be told"
    assert "structure everywhere" in fit.reason
    y = 0.1 * normal(torch.zeros(1, 64, 64), make_generator("cpu", 1))
    y[:, ::6] = float("nan")  # in every block
    assert noise_fit([y], Gaussian(0.1)).verdict == "cannot be told"


@pytest.mark.parametrize("sigma", [0.03, 0.05, 0.08])
@pytest.mark.parametrize("reduced", [1, 2])
def test_grass_is_not_taken_for_noise(sigma, reduced):
    x = avg_pool2d(torch.tensor(skimage.data.grass(), dtype=torch.float32)[None] / 255, reduced)
    y = x + sigma * normal(x, make_generator("cpu", 1))
    assert noise_fit([y], Gaussian(sigma)).verdict != "does not fit"
    assert noise_fit([y], Gaussian(4 * sigma)).verdict == "does not fit", "what is too weak is seen in any image"


def test_quiet_blocks_are_not_the_dark_ones():
    u = torch.linspace(0.05, 1, 256).expand(1, 1, 256, 256)
    y = Poisson(1 / 50).sample(u, make_generator("cpu", 6))[0]
    quiet = take_blocks([y], [Poisson(1 / 50)]).quietest(0.1, 20)
    assert abs(float(quiet.mean.mean()) - 0.525) < 0.15


def test_each_image_has_its_own_noise():
    sigma = torch.tensor([0.03, 0.2] * 4)
    images = [x + s * normal(x, make_generator("cpu", i)) for i, (x, s) in enumerate(zip(photographs(), sigma))]
    assert noise_fit(images, Gaussian(sigma)).verdict == "fits"
    assert noise_fit(images, Gaussian(sigma.flip(0))).verdict == "does not fit"


def test_one_thing_is_said_once():
    """The general verdict speaks where no check for one thing does."""
    source = MemorySource({str(i): y for i, y in enumerate(measured(Gaussian(0.1))[:3])})
    assert image_lines(source, Gaussian(0.1)) == []
    (line,) = image_lines(source, Gaussian(0.13))
    assert line.startswith("the noise model does not fit: ")
    (line,) = image_lines(source, Gaussian(0.3))
    assert "is what is stated" in line


# --- the figures


def test_ratios_of_white_noise_are_one_with_their_errors():
    """z of many sets has deviation 1: errors are neither too small nor too large."""
    z = []
    for seed in range(40):
        y = 3 + 0.2 * normal(torch.empty(2, 80, 80), make_generator("cpu", seed))
        blocks = take_blocks([y], [Gaussian(0.2)])
        z.append([(r.value - 1) / r.error for r in (ratio(blocks, HIGH), ratio(blocks, MID))])
        z[-1] += [r.value / r.error for r in (bands_apart(blocks, MID, HIGH), bands_apart(blocks, DOWN, ACROSS))]
    found = np.array(z)
    assert np.abs(found.mean(0)).max() < 4 / 40**0.5
    assert np.all((found.std(0) > 0.6) & (found.std(0) < 1.4))


def test_the_quietest_blocks_of_counts_are_not_those_of_least_noise():
    y = Poisson(1.0).sample(torch.full((1, 1, 512, 512), 0.5), make_generator("cpu", 2))[0]
    r = ratio(take_blocks([y], [Poisson(1.0)]).quietest(0.1, 20), HIGH)
    assert abs(r.value - 1) < 0.1


def test_local_means_and_the_basis():
    y = torch.arange(2 * 19 * 17.0).reshape(2, 19, 17)
    m = local_mean(y)
    assert m.shape == y.shape
    assert m[1, 3, 9] == y[1, :8, 8:16].mean()
    assert m[0, 18, 16] == m[0, 15, 15]
    basis = block_basis()
    torch.testing.assert_close(basis @ basis.T, torch.eye(64, dtype=torch.double))
    rows = basis[DOWN].reshape(-1, 8, 8)
    assert rows.diff(dim=1).square().sum() > 4 * rows.diff(dim=2).square().sum(), "changes from row to row"
