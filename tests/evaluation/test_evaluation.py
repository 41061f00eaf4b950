"""Figures of merit: against closed forms where the posterior is Gaussian."""

import math

import pytest
import torch

from unveil.config import SamplingConfig
from unveil.data import MemorySource
from unveil.errors import UnveilError
from unveil.evaluation import (
    draw_samples,
    estimate_error,
    evaluate,
    mean_figures,
    mean_square_error,
    posterior_variance,
    psnr,
    spread_over_error,
    ssim,
)
from unveil.random import make_generator, normal

DEVIATION, SIGMA = 0.2, 0.1


class Wiener(torch.nn.Module):
    """E[x | y] of white Gaussian signals N(1/2, DEVIATION^2)."""

    def forward(self, y, sigma):
        sigma = torch.as_tensor(sigma, dtype=y.dtype, device=y.device).reshape(-1, 1, 1, 1)
        gain = DEVIATION**2 / (DEVIATION**2 + sigma**2)
        return 0.5 + gain * (y - 0.5)


MMSE = DEVIATION**2 * SIGMA**2 / (DEVIATION**2 + SIGMA**2)


@pytest.fixture
def pair(generator):
    zero = torch.zeros(4, 3, 64, 64, device=generator.device)
    x = 0.5 + DEVIATION * normal(zero, generator)
    return x, x + SIGMA * normal(x, generator)


def test_psnr():
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(0) == math.inf
    assert math.isnan(psnr(-1e-3))


def test_ssim_is_one_for_equal_images_and_falls_with_noise(pair):
    x, y = pair
    assert ssim(x[0], x[0]) == pytest.approx(1)
    assert ssim(y[0], x[0]) < 0.95
    assert math.isnan(ssim(x[0, :, :8], x[0, :, :8]))


def test_error_estimated_without_the_reference_is_the_true_one(pair, generator):
    x, y = pair
    f = Wiener().to(x.device)
    estimate = estimate_error(f, y, SIGMA, generator)
    true = mean_square_error(f(y, SIGMA), x)
    assert estimate.shape == (4,)
    # For f = gain y the difference is a mean over m entries of (2 gain - 1)(sigma^2 - n^2) + 2 (1 - gain) n (x - 1/2)
    # up to sign: its deviation is at most sqrt(2) sigma^2 + 2 sigma DEVIATION / 4 over sqrt(m).
    error = (2**0.5 * SIGMA**2 + 0.5 * SIGMA * DEVIATION) / x[0].numel() ** 0.5
    assert (estimate - true).abs().max() < 4.5 * error
    assert error < 0.03 * MMSE  # so a missing 2 sigma^2 div, 2 MMSE, could not hide


def test_error_estimate_takes_a_level_per_sample(pair, generator):
    x, _ = pair
    sigma = torch.tensor([0.05, 0.1, 0.2, 0.3], device=x.device)
    y = x + sigma.reshape(-1, 1, 1, 1) * normal(x, generator)
    f = Wiener().to(x.device)
    torch.testing.assert_close(
        estimate_error(f, y, sigma, generator), mean_square_error(f(y, sigma), x), rtol=0.1, atol=0
    )


def test_spread_over_error_of_exact_samples_is_one(pair, generator):
    x, y = pair
    mean = Wiener()(y, SIGMA)
    samples = torch.stack([mean + MMSE**0.5 * normal(y, generator) for _ in range(8)])
    assert posterior_variance(samples).shape == y.shape
    assert spread_over_error(samples, mean_square_error(mean, x)) == pytest.approx(1, abs=0.05)
    narrow = mean + 0.8 * (samples - mean)
    assert spread_over_error(narrow, mean_square_error(mean, x)) == pytest.approx(0.64, abs=0.04)
    assert math.isnan(spread_over_error(samples, torch.tensor([-1.0])))


def test_draw_samples_follows_the_configuration(pair, generator):
    x, y = pair
    config = SamplingConfig(solver="heun", steps=25, samples=4, lowest=0.02)
    samples = draw_samples(Wiener(), y, SIGMA, config, generator)
    assert samples.shape == (4, *y.shape)
    error = mean_square_error(Wiener()(y, SIGMA), x)
    assert spread_over_error(samples, error) == pytest.approx(1, abs=0.06)


def test_evaluate_reports_what_was_measured(pair, device):
    x, y = pair[0].cpu(), pair[1].cpu()
    source = MemorySource({f"image{i}": v for i, v in enumerate(y)})
    reference = MemorySource({f"clean{i}": v for i, v in enumerate(x)})
    sampling = SamplingConfig(samples=4)
    done = []
    results = list(
        evaluate(
            Wiener(),
            source,
            SIGMA,
            sampling,
            reference=reference,
            sampled=2,
            device=device,
            progress=lambda *d: done.append(d),
        )
    )
    assert done == [(i + 1, 4) for i in range(4)]
    assert [r.samples is not None for r in results] == [True, True, False, False]
    rows = [r.figures for r in results]
    for i, row in enumerate(rows):
        assert row.psnr_noisy == pytest.approx(psnr(float(mean_square_error(y[i : i + 1], x[i : i + 1]))), abs=1e-4)
        assert row.psnr_mmse == pytest.approx(psnr(MMSE), abs=0.2)
        assert row.psnr_estimate == pytest.approx(row.psnr_mmse, abs=0.3)
    assert rows[0].psnr_sample == pytest.approx(psnr(2 * MMSE), abs=0.3)  # a sample's error is twice the least one
    assert rows[0].true_spread_over_error == pytest.approx(1, abs=0.1)
    means = mean_figures(rows)
    assert means["psnr_mmse"] == pytest.approx(sum(row.psnr_mmse for row in rows) / 4)
    assert means["psnr_sample"] == pytest.approx((rows[0].psnr_sample + rows[1].psnr_sample) / 2)


def test_evaluate_without_a_reference_makes_none_up(pair):
    source = MemorySource({"a": pair[1][0].cpu()})
    (result,) = evaluate(Wiener(), source, SIGMA, SamplingConfig(), sampled=0)
    assert result.figures.psnr_mmse is None
    assert set(mean_figures([result.figures])) == {"psnr_estimate"}


def test_evaluation_is_a_function_of_the_seed(pair):
    source = MemorySource({"a": pair[1][0].cpu()})
    sampling = SamplingConfig(samples=2, steps=5)
    a, b, c = (next(iter(evaluate(Wiener(), source, SIGMA, sampling, seed=seed))) for seed in (0, 0, 1))
    assert torch.equal(a.samples, b.samples)
    assert not torch.equal(a.samples, c.samples)


@pytest.mark.parametrize("shapes", [[(3, 16, 16)], [(3, 16, 16), (3, 16, 17)]])
def test_a_reference_that_does_not_match_is_refused(shapes):
    source = MemorySource({"a": torch.rand(3, 16, 16), "b": torch.rand(3, 16, 16)})
    reference = MemorySource({str(i): torch.rand(shape) for i, shape in enumerate(shapes)})
    with pytest.raises(UnveilError, match=r"reference|shape"):
        list(evaluate(Wiener(), source, SIGMA, SamplingConfig(), reference=reference))


def test_samples_do_not_depend_on_the_global_generator(pair):
    _, y = pair
    config = SamplingConfig(samples=2, steps=3)
    before = torch.get_rng_state()
    draw_samples(Wiener(), y, SIGMA, config, make_generator(y.device, 1))
    assert torch.equal(before, torch.get_rng_state())
