"""Evaluation of incomplete measurements against closed forms: white signals behind masks, where W y is the posterior mean."""

import pytest
import torch
from unveil.problem import DENOISING, Problem

from unveil.config import SamplingConfig
from unveil.data import MemorySource
from unveil.errors import UnveilError
from unveil.estimators import Reconstruction
from unveil.evaluation import draw_samples, estimate_error, estimate_hidden_error, evaluate, mean_square_error, psnr
from unveil.operators import inpainting
from unveil.random import make_generator, normal
from unveil.shapes import expand

SIDE, V, SIGMA = 32, 0.3, 0.2
MMSE = V**2 * SIGMA**2 / (V**2 + SIGMA**2)  # of a measured entry; V^2 of another


class Zero(torch.nn.Module):
    def forward(self, u, c):
        return torch.zeros_like(u[:, : u.shape[1] // 2])


def wiener(problem):
    return Reconstruction(Zero(), problem, 0.5, V)


def simulate(count, key=1, several=True):
    """x, y (count, 1, SIDE, SIDE), the masks behind them and the problem."""
    generator = make_generator("cpu", key)
    x = 0.5 + V * normal(torch.empty(count, 1, SIDE, SIDE), generator)
    keep = torch.rand(count if several else 1, SIDE, SIDE, generator=generator) < 0.6
    y = torch.where(keep[:, None], x + SIGMA * normal(x, generator), 0.0)
    return x, y, keep[:, None].expand(x.shape), inpainting(keep if several else keep[0])


def named(images):
    return MemorySource({f"i{i:02d}": image for i, image in enumerate(images)})


def error(figure):
    return 10 ** (-figure / 10)


def check_mean(differences, what, sensitivity):
    """The mean of the differences is 0 within 4 standard errors, which are sharper than `sensitivity`."""
    d = torch.tensor(differences, dtype=torch.float64)
    bar = float(d.std() / len(d) ** 0.5)
    assert bar < sensitivity, f"{what}: sees nothing"
    assert abs(float(d.mean())) < 4 * bar, f"{what}: {float(d.mean()) / bar:.1f} standard errors"


@pytest.mark.parametrize("several", [True, False], ids=["a mask each", "one mask"])
def test_what_is_estimated_without_the_reference_is_the_truth(several, device):
    x, y, keep, problem = simulate(30, several=several)
    results = list(
        evaluate(
            wiener(problem), named(y), SIGMA, SamplingConfig(), reference=named(x), sampled=0, device=device,
            problem=problem,
        )
    )  # fmt: skip
    measured, hidden, all_of_it = [], [], []
    for i, result in enumerate(results):
        figures, seen = result.figures, keep[i]
        square = (result.x_hat - x[i]).square()
        measured.append(error(figures.psnr_estimate) - float(square[seen].mean()))
        # what is hidden is estimated by the mean, whatever else is: on the average over what is hidden
        hidden.append(error(figures.psnr_hidden) - float((x[i] - 0.5)[seen].square().mean()))
        all_of_it.append(float(square.mean()))
        assert figures.psnr_mmse == pytest.approx(psnr(all_of_it[-1]), abs=1e-4)
        raw = torch.where(seen, y[i], 0.0)
        torch.testing.assert_close(result.y, raw)
        assert figures.psnr_noisy == pytest.approx(psnr(float((raw - x[i]).square().mean())), abs=1e-4)
    check_mean(measured, "on the measured entries", MMSE / 8)
    check_mean(hidden, "on the hidden entries", SIGMA**2 / 8)
    expected = 0.6 * MMSE + 0.4 * V**2
    assert sum(all_of_it) / 30 == pytest.approx(expected, rel=0.1)
    assert expected > 1.3 * MMSE, "so the two are different things"


def test_the_spread_is_that_of_what_is_measured(device):
    """Samples in measurement space leave unmeasured entries where f puts them: without spread, for white signals."""
    x, y, keep, problem = simulate(4)
    sampling = SamplingConfig(solver="heun", steps=25, samples=16, lowest=0.02)
    results = list(
        evaluate(
            wiener(problem), named(y), SIGMA, sampling, reference=named(x), sampled=3, device=device, problem=problem
        )
    )
    assert [r.samples is not None for r in results] == [True, True, True, False]
    spreads = [r.figures.spread_over_error * error(r.figures.psnr_estimate) for r in results[:3]]
    m = float(keep[:3].float().sum())
    assert sum(spreads) / 3 == pytest.approx(MMSE, rel=4 * (2 / (15 * m)) ** 0.5 + 0.02)
    for i, result in enumerate(results[:3]):
        spread = result.samples.var(0)
        assert spread[~keep[i]].max() < 1e-6
        assert result.figures.true_spread_over_error == pytest.approx(
            float(spread.mean()) / float((result.x_hat - x[i]).square().mean()), rel=1e-3
        )
    assert results[3].figures.spread_over_error is None


def test_each_measurement_meets_its_own_operator(device):
    _, y, keep, problem = simulate(3)
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, y, sigma, problem):
            seen.append((y.cpu(), problem.measured.cpu()))
            return y

    list(evaluate(Spy(), named(y), SIGMA, SamplingConfig(), sampled=0, device=device, problem=problem))
    assert len(seen) == 3 * (1 + 4 * 2 + 1), "x_hat, four probes, hidden entries"
    for k, (given, measured) in enumerate(seen):
        i, last = divmod(k, 10)
        mask = keep[i : i + 1]
        assert not (measured & ~mask).any()
        assert torch.equal(measured, mask) == (last < 9)
        assert not given[~measured].any()


def test_error_estimates_take_a_level_per_sample(device, dtype):
    """A batch as long as the image is wide, at levels a factor four apart: of each sample, over draws of the noise."""
    generator = make_generator(device, 2)
    like = torch.empty(SIDE, 1, SIDE, SIDE, device=device, dtype=dtype)
    x = 0.5 + V * normal(like, generator)
    sigma = 0.1 * 4 ** torch.linspace(0, 1, SIDE, device=device, dtype=dtype)
    keep = torch.rand(SIDE, SIDE, generator=generator, device=device) < 0.6
    problem = inpainting(keep)
    f, rows = wiener(problem), []
    for _ in range(30):
        y = problem.project(x + expand(sigma, x) * normal(x, generator))
        true = (f(y, sigma) - x).square()[..., keep].mean((1, 2))
        aside = (x - 0.5).square()[..., keep].mean((1, 2))
        estimates = (
            estimate_error(f, y, sigma, generator, 1, problem),
            estimate_hidden_error(f, y, sigma, problem, generator),
        )
        assert all(e.shape == (SIDE,) and e.dtype == dtype for e in estimates)
        rows.append(torch.stack([(estimates[0] - true) / sigma**2, (estimates[1] - aside) / (sigma**2 + V**2)]))
    d = torch.stack(rows).double()
    scatter = (d.mean(0) / (d.std(0) / len(d) ** 0.5)).square().mean(1)
    assert ((scatter - 1).abs() < 6 * (2 / SIDE) ** 0.5).all(), "each sample's own mean is zero"
    bars = d.mean(2).std(0) / len(d) ** 0.5
    assert (d.mean((0, 2)).abs() < 4 * bars).all()
    assert (bars < 0.05).all()


class Pool:
    """Means of pairs of columns: images twice as wide as the measurements."""

    def A(self, x):
        return (x[..., ::2] + x[..., 1::2]) / 2

    def A_adjoint(self, y):
        return y.repeat_interleave(2, -1) / 2

    def A_dagger(self, y):
        return y.repeat_interleave(2, -1)


POOLING = Problem(Pool(), None, (1, SIDE, 2 * SIDE), (1, SIDE, SIDE))


def test_references_have_the_shape_of_the_image_and_not_of_the_measurement():
    y = torch.rand(2, 1, SIDE, SIDE, generator=make_generator("cpu", 1))

    class Dagger(torch.nn.Module):
        def forward(self, y, sigma, problem):
            return problem.pseudo_inverse(y)

    def run(reference):
        return list(
            evaluate(
                Dagger(), named(y), SIGMA, SamplingConfig(), reference=named(reference), sampled=0, problem=POOLING
            )
        )

    results = run(POOLING.pseudo_inverse(y) + 0.1)
    for result in results:
        assert result.y.shape == result.x_hat.shape == (1, SIDE, 2 * SIDE), "y is shown as an image"
        assert result.figures.psnr_mmse == pytest.approx(20, abs=1e-4)
        assert result.figures.psnr_noisy == pytest.approx(20, abs=1e-4)
    for wrong, words in [
        (y, r"i00.*\(1, 32, 32\).*\(1, 32, 64\)"),
        (torch.rand(2, 3, SIDE, 2 * SIDE), "3, 32, 64"),
        (torch.rand(3, 1, SIDE, 2 * SIDE), "3 images and the measurements 2"),
    ]:
        with pytest.raises(UnveilError, match=words) as caught:
            run(wrong)
        assert "\n" not in str(caught.value)


def test_the_spread_is_taken_through_the_operator():
    class Half:
        def A(self, x):
            return x / 2

        A_adjoint = A

    y = torch.rand(1, 1, SIDE, SIDE, generator=make_generator("cpu", 1))
    problem = Problem(Half(), None, y.shape[1:], y.shape[1:])
    sampling = SamplingConfig(samples=3, steps=3)
    (result,) = evaluate(wiener(problem), named(y), SIGMA, sampling, sampled=1, problem=problem)
    spread = result.figures.spread_over_error * error(result.figures.psnr_estimate)
    assert spread == pytest.approx(float(result.samples.var(0).mean()) / 4, rel=1e-4), "of A x, not of x"


def test_samples_are_images_and_depend_on_the_generator_alone():
    y = torch.rand(2, 1, SIDE, SIDE, generator=make_generator("cpu", 1))
    config = SamplingConfig(samples=2, steps=3)
    before = torch.get_rng_state()
    a, b, c = (
        draw_samples(wiener(POOLING), y, SIGMA, config, make_generator("cpu", key), problem=POOLING)
        for key in (1, 1, 2)
    )
    assert a.shape == (2, 2, 1, SIDE, 2 * SIDE)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)


def test_complete_measurements_have_no_hidden_entries():
    x, y, _, _ = simulate(1)

    class Keep(torch.nn.Module):
        def forward(self, y, sigma):
            return y

    (result,) = evaluate(Keep(), named(y), SIGMA, SamplingConfig(), reference=named(x), sampled=0, problem=DENOISING)
    assert result.figures.psnr_hidden is None
    assert result.figures.psnr_mmse == result.figures.psnr_noisy == pytest.approx(psnr(float(mean_square_error(y, x))))
