"""Figures of merit against closed forms: white signals, seen whole or through masks, where the posterior is Gaussian
and W y its mean."""

import math

import pytest
import torch

from unveil.config import SamplingConfig
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.estimators import Preconditioned
from unveil.evaluation import (
    draw_samples,
    estimate_error,
    estimate_hidden_error,
    evaluate,
    mean_metrics,
    mean_square_error,
    posterior_variance,
    psnr,
    spread_over_error,
    ssim,
)
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, Operator, inpainting
from unveil.random import make_generator, normal
from unveil.shapes import expand

SIDE, V, SIGMA = 32, 0.3, 0.2
MMSE = V**2 * SIGMA**2 / (V**2 + SIGMA**2)
"""Of a measured entry; V^2 of another."""


class Zero(torch.nn.Module):
    def forward(self, u, c):
        return torch.zeros_like(u)


class Seen(torch.nn.Module):
    """f(m) = A^T y, and what it was given."""

    def __init__(self):
        super().__init__()
        self.given = []

    def forward(self, m):
        self.given.append(m.to("cpu"))
        return m.operator.A_adjoint(m.y)


def wiener():
    """E[x | y]."""
    return Preconditioned(Zero(), 0.5, V)


def simulate(count, masks="one each", key=1, side=SIDE):
    """x, and y (count, 1, side, side) by the operators of masks "one each", "one" or "none"."""
    generator = make_generator("cpu", key)
    x = 0.5 + V * normal(torch.empty(count, 1, side, side), generator)
    keep = torch.rand(count if masks == "one each" else 1, side, side, generator=generator) < 0.6
    operator = Identity() if masks == "none" else inpainting(keep if masks == "one each" else keep[0])
    return x, Measurement(x + SIGMA * normal(x, generator), operator, Gaussian(SIGMA))


def named(images):
    return MemorySource({f"i{i:02d}": image for i, image in enumerate(images)})


def dataset(m):
    return Dataset(named(m.y), m.operator, m.noise)


def entries(m):
    """Which are measured, (B, 1, H, W)."""
    return torch.ones_like(m.y).bool() if m.operator.measured is None else m.operator.measured.expand_as(m.y)


def error(figure):
    return 10 ** (-figure / 10)


def check_mean(differences, what, sensitivity):
    """The mean of the differences is 0 within 4 standard errors, which are sharper than `sensitivity`."""
    d = torch.tensor(differences, dtype=torch.float64)
    bar = float(d.std() / len(d) ** 0.5)
    assert bar < sensitivity, f"{what}: sees nothing"
    assert abs(float(d.mean())) < 4 * bar, f"{what}: {float(d.mean()) / bar:.1f} standard errors"


# --- each figure


def test_psnr():
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(0) == math.inf
    assert math.isnan(psnr(-1e-3))


def test_ssim_is_one_for_equal_images_and_falls_with_noise():
    x, m = simulate(1, "none")
    assert ssim(x[0], x[0]) == pytest.approx(1)
    assert ssim(m.y[0], x[0]) < 0.95
    assert math.isnan(ssim(x[0, :, :8], x[0, :, :8]))


def test_spread_over_error_of_exact_samples_is_one(generator):
    x, m = simulate(12, "none")
    mean = wiener()(m)
    samples = torch.stack([mean + MMSE**0.5 * normal(x, make_generator("cpu", 9, k)) for k in range(8)])
    assert posterior_variance(samples).shape == x.shape
    assert spread_over_error(samples, mean_square_error(mean, x)) == pytest.approx(1, abs=0.05)
    narrow = mean + 0.8 * (samples - mean)
    assert spread_over_error(narrow, mean_square_error(mean, x)) == pytest.approx(0.64, abs=0.04)
    assert math.isnan(spread_over_error(samples, torch.tensor([-1.0])))


def test_error_estimated_without_the_reference_is_the_true_one(device, generator):
    x, m = (v.to(device) for v in simulate(4, "none", side=128))
    f = wiener().to(device)
    estimate, true = estimate_error(f, m, generator), mean_square_error(f(m), x)
    assert estimate.shape == (4,)
    # For f = gain y the difference is a mean over the entries of (2 gain - 1)(sigma^2 - n^2) + 2 (1 - gain) n (x - 1/2)
    # up to sign: its deviation is at most sqrt(2) sigma^2 + 2 sigma V / 4 over sqrt(m).
    bar = (2**0.5 * SIGMA**2 + 0.5 * SIGMA * V) / x[0].numel() ** 0.5
    assert (estimate - true).abs().max() < 4.5 * bar
    assert bar < 0.03 * MMSE, "so a missing 2 sigma^2 div, 2 MMSE, could not hide"


def test_error_estimated_from_counts_is_the_true_one():
    """Linear f: the estimate is unbiased whatever the counts are."""
    noise, generator = Poisson(0.02), make_generator("cpu", 4)
    x = (0.5 + 0.15 * normal(torch.empty(30, 1, 64, 64), generator)).clamp_min(0.05)
    m = Measurement(noise.sample(x, generator), Identity(), noise)

    def f(m):
        return 0.5 + 0.6 * (m.y - 0.5)

    d = estimate_error(f, m, generator) - mean_square_error(f(m), x)
    check_mean(d.tolist(), "of counts", 0.02 * 0.5 * 0.6 / 8)


@pytest.mark.parametrize("masks", ["none", "one"])
def test_error_estimates_take_a_level_per_sample(masks, device, dtype):
    """A batch as long as the image is wide, at levels a factor four apart: of each sample, over draws of the noise."""
    generator = make_generator(device, 2)
    like = torch.empty(SIDE, 1, SIDE, SIDE, device=device, dtype=dtype)
    x = 0.5 + V * normal(like, generator)
    sigma = 0.1 * 4 ** torch.linspace(0, 1, SIDE, device=device, dtype=dtype)
    keep = torch.rand(SIDE, SIDE, generator=generator, device=device) < 0.6
    operator = inpainting(keep) if masks == "one" else Identity()
    f, rows = wiener().to(device, dtype), []
    for _ in range(30):
        m = Measurement(x + expand(sigma, x) * normal(x, generator), operator, Gaussian(sigma))
        true = operator.mean((f(m) - x).square())
        aside = operator.mean((x - 0.5).square())
        estimates = [estimate_error(f, m, generator, 2)]
        differences = [(estimates[0] - true) / sigma**2]
        if masks == "one":
            estimates.append(estimate_hidden_error(f, m, generator))
            differences.append((estimates[1] - aside) / (sigma**2 + V**2))
        assert all(e.shape == (SIDE,) and e.dtype == dtype for e in estimates)
        rows.append(torch.stack(differences))
    d = torch.stack(rows).double()
    scatter = (d.mean(0) / (d.std(0) / len(d) ** 0.5)).square().mean(1)
    assert ((scatter - 1).abs() < 6 * (2 / SIDE) ** 0.5).all(), "each sample's own mean is zero"
    bars = d.mean(2).std(0) / len(d) ** 0.5
    assert (d.mean((0, 2)).abs() < 4 * bars).all()
    assert (bars < 0.05).all()


# --- all of an image


@pytest.mark.parametrize("masks", ["one each", "one", "none"])
def test_what_is_estimated_without_the_reference_is_the_truth(masks, device):
    x, m = simulate(30, masks)
    done = []
    results = list(
        evaluate(
            wiener(), dataset(m), SamplingConfig(), reference=named(x), sampled=0, device=device,
            progress=lambda *d: done.append(d),
        )
    )  # fmt: skip
    assert done == [(i + 1, 30) for i in range(30)]
    measured, hidden, all_of_it = [], [], []
    for i, result in enumerate(results):
        figures, seen = result.metrics, entries(m)[i]
        square = (result.x_hat - x[i]).square()
        measured.append(error(figures.psnr_estimate) - float(square[seen].mean()))
        all_of_it.append(float(square.mean()))
        assert figures.psnr_mmse == pytest.approx(psnr(all_of_it[-1]), abs=1e-4)
        torch.testing.assert_close(result.y, m.y[i])
        assert figures.psnr_noisy == pytest.approx(psnr(float((m.y[i] - x[i]).square().mean())), abs=1e-4)
        if masks == "none":
            assert figures.psnr_hidden is None
        else:  # what is hidden is estimated by the mean, whatever else is: on the average over what is hidden
            hidden.append(error(figures.psnr_hidden) - float((x[i] - 0.5)[seen].square().mean()))
    check_mean(measured, "on the measured entries", MMSE / 8)
    share = 1 if masks == "none" else 0.6
    expected = share * MMSE + (1 - share) * V**2
    assert sum(all_of_it) / 30 == pytest.approx(expected, rel=0.1)
    if hidden:
        check_mean(hidden, "on the hidden entries", SIGMA**2 / 8)
        assert expected > 1.3 * MMSE, "so the two are different things"


@pytest.mark.parametrize("masks", ["one each", "none"])
def test_the_spread_is_that_of_what_is_measured(masks, device):
    """Samples by going on measuring leave unmeasured entries where f puts them: without spread, for white signals."""
    x, m = simulate(4, masks)
    sampling = SamplingConfig(steps=25, samples=16, lowest=0.02)
    results = list(evaluate(wiener(), dataset(m), sampling, reference=named(x), sampled=3, device=device))
    assert [r.samples is not None for r in results] == [True, True, True, False]
    spreads = [r.metrics.spread_over_error * error(r.metrics.psnr_estimate) for r in results[:3]]
    keep = entries(m)
    count = float(keep[:3].float().sum())
    assert sum(spreads) / 3 == pytest.approx(MMSE, rel=4 * (2 / (15 * count)) ** 0.5 + 0.02)
    for i, result in enumerate(results[:3]):
        spread = result.samples.var(0)
        assert (spread[~keep[i]] < 1e-6).all()
        assert result.metrics.true_spread_over_error == pytest.approx(
            float(spread.mean()) / float((result.x_hat - x[i]).square().mean()), rel=1e-3
        )
        if masks == "none":  # a sample's error is twice the least one
            assert result.metrics.psnr_sample == pytest.approx(psnr(2 * MMSE), abs=0.4)
    assert results[3].metrics.spread_over_error is None
    rows = [r.metrics for r in results]
    means = mean_metrics(rows)
    assert means["psnr_mmse"] == pytest.approx(sum(row.psnr_mmse for row in rows) / 4)
    assert means["psnr_sample"] == pytest.approx(sum(row.psnr_sample for row in rows[:3]) / 3)


def test_evaluate_without_a_reference_makes_none_up():
    (result,) = evaluate(wiener(), dataset(simulate(1, "none")[1]), SamplingConfig(), sampled=0)
    assert result.metrics.psnr_mmse is None
    assert set(mean_metrics([result.metrics])) == {"psnr_noise", "psnr_estimate"}


@pytest.mark.parametrize("masks", ["none", "one each"])
def test_the_error_of_the_measured_entries_as_they_are_is_told_by_their_noise(masks):
    x, m = simulate(30, masks)
    x, y = (x - x.min()) / 4, Poisson(0.05)
    counts = Measurement(m.operator.A(y.sample(x, make_generator("cpu", 3))), m.operator, y)
    errors = []
    for i, result in enumerate(evaluate(Seen(), dataset(counts), SamplingConfig(), sampled=0)):
        seen = entries(counts)[i]
        errors.append(error(result.metrics.psnr_noise) - float((counts.y[i] - x[i]).square()[seen].mean()))
    check_mean(errors, "of counts", 0.05 * float(x.mean()) / 8)
    (result,) = evaluate(wiener(), dataset(simulate(1, masks)[1]), SamplingConfig(), sampled=0)
    assert result.metrics.psnr_noise == pytest.approx(psnr(SIGMA**2), abs=1e-4)


def test_each_measurement_meets_its_own_operator(device):
    _, m = simulate(3)
    f = Seen()
    list(evaluate(f, dataset(m), SamplingConfig(), sampled=0, device=device))
    assert len(f.given) == 3 * (1 + 8 + 4), "x_hat, eight probes, hidden entries"
    for k, given in enumerate(f.given):
        i, last = divmod(k, 13)
        mask, measured = m.operator.measured[i : i + 1], given.operator.measured
        assert not (measured & ~mask).any()
        assert torch.equal(measured, mask) == (last < 9)
        assert not given.y[~measured].any()


class Pool(Operator):
    """Means of pairs of columns: images twice as wide as the measurements."""

    image_shape, measurement_shape = (1, SIDE, 2 * SIDE), (1, SIDE, SIDE)

    def _apply(self, x):
        return (x[..., ::2] + x[..., 1::2]) / 2

    def _adjoint(self, y):
        return y.repeat_interleave(2, -1) / 2

    def A_dagger(self, y):
        return y.repeat_interleave(2, -1)


def pooled(count=2):
    y = torch.rand(count, 1, SIDE, SIDE, generator=make_generator("cpu", 1))
    return Measurement(y, Pool(), Gaussian(SIGMA))


def test_references_have_the_shape_of_the_image_and_not_of_the_measurement():
    m = pooled()

    class Dagger(torch.nn.Module):
        def forward(self, m):
            return m.operator.A_dagger(m.y)

    def run(reference):
        return list(evaluate(Dagger(), dataset(m), SamplingConfig(), reference=named(reference), sampled=0))

    for result in run(m.operator.A_dagger(m.y) + 0.1):
        assert result.y.shape == result.x_hat.shape == (1, SIDE, 2 * SIDE), "y is shown as an image"
        assert result.metrics.psnr_mmse == pytest.approx(20, abs=1e-4)
        assert result.metrics.psnr_noisy == pytest.approx(20, abs=1e-4)
    for wrong, words in [
        (m.y, r"i00.*\(1, 32, 32\).*\(1, 32, 64\)"),
        (torch.rand(2, 3, SIDE, 2 * SIDE), "3, 32, 64"),
        (torch.rand(3, 1, SIDE, 2 * SIDE), "3 images and the measurements 2"),
    ]:
        with pytest.raises(UnveilError, match=words) as caught:
            run(wrong)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shapes", [[(3, 16, 16)], [(3, 16, 16), (3, 16, 17)]])
def test_a_reference_that_does_not_match_is_refused(shapes):
    m = Measurement(torch.rand(2, 3, 16, 16), Identity(), Gaussian(SIGMA))
    reference = MemorySource({str(i): torch.rand(shape) for i, shape in enumerate(shapes)})
    with pytest.raises(UnveilError, match=r"reference|shape"):
        list(evaluate(wiener(), dataset(m), SamplingConfig(), reference=reference))


def test_the_spread_is_taken_through_the_operator():
    class Half(Operator):
        image_shape = measurement_shape = (1, SIDE, SIDE)

        def _apply(self, x):
            return x / 2

        _adjoint = _apply

    m = Measurement(torch.rand(1, 1, SIDE, SIDE, generator=make_generator("cpu", 1)), Half(), Gaussian(SIGMA))
    (result,) = evaluate(Seen(), dataset(m), SamplingConfig(samples=3, steps=3), sampled=1)
    spread = result.metrics.spread_over_error * error(result.metrics.psnr_estimate)
    assert spread == pytest.approx(float(result.samples.var(0).mean()) / 4, rel=1e-4), "of A x, not of x"


def test_samples_are_images_and_depend_on_the_generator_alone():
    m, config = pooled(), SamplingConfig(samples=2, steps=3)
    before = torch.get_rng_state()
    a, b, c = (draw_samples(Seen(), m, config, make_generator("cpu", key)) for key in (1, 1, 2))
    assert a.shape == (2, 2, 1, SIDE, 2 * SIDE)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_is_a_function_of_the_seed():
    data, sampling = dataset(simulate(1, "none")[1]), SamplingConfig(samples=2, steps=5)
    a, b, c = (next(iter(evaluate(wiener(), data, sampling, seed=seed))) for seed in (0, 0, 1))
    assert torch.equal(a.samples, b.samples)
    assert not torch.equal(a.samples, c.samples)
