"""The divergence: Monte Carlo against the exact trace, the order of its error, and parts of a batch."""

import pytest
import torch
from risk_statistics import ESTIMATORS, check_zero, draw, make_case, nonlinear

from unveil.errors import UnveilError
from unveil.problem import DENOISING, Problem
from unveil.random import make_generator
from unveil.risks import ExactDivergence, MonteCarloDivergence


def estimates(divergence, case, f, repeats):
    y, sigma = draw(case)
    with torch.no_grad():
        return torch.stack(
            [divergence(f, y, sigma, case.problem, make_generator(y.device, 1, r))[1] for r in range(repeats)]
        )


def test_exact_is_the_trace_of_the_jacobian(device):
    case = make_case("masked pooling", device, torch.float64, channels=2, height=1, width=4, batch=3)
    f = case.estimator(nonlinear)
    y, sigma = draw(case)
    y_hat, value = ExactDivergence()(f, y, sigma, case.problem, None)
    torch.testing.assert_close(y_hat, case.problem.predict(f(y, sigma)))
    for i in range(3):
        one = lambda v, i=i: case.problem.operator.A(f(v[None], sigma[i : i + 1]))[0].flatten()  # noqa: E731
        jacobian = torch.autograd.functional.jacobian(one, y[i]).reshape(8, 8)
        trace = jacobian.diagonal()[case.problem.measured[i].flatten()].mean()
        torch.testing.assert_close(value[i].detach(), trace)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("part", [1.0, 0.5, 0.25])
@pytest.mark.parametrize("problem", ["identity", "masks per sample", "masked pooling", "complex"])
def test_monte_carlo_has_the_mean_of_the_exact(problem, part, estimator, device):
    case = make_case(problem, device, torch.float64, channels=2, height=1, width=8, batch=8)
    f = case.estimator(ESTIMATORS[estimator])
    exact = ExactDivergence()(f, *draw(case), case.problem, None)[1].detach()
    assert exact.abs().min() > 0.05, "a divergence near zero would test nothing"
    d = estimates(MonteCarloDivergence(part=part), case, f, 250) - exact
    check_zero(d, "divergence", sensitivity=0.04)


def test_the_first_term_is_the_prediction(device, dtype):
    case = make_case("masked pooling", device, dtype)
    f, (y, sigma) = case.estimator(nonlinear), draw(case)
    for divergence in (MonteCarloDivergence(), MonteCarloDivergence(part=0.3)):
        y_hat, _ = divergence(f, y, sigma, case.problem, make_generator(device, 1))
        assert torch.equal(y_hat, case.problem.predict(f(y, sigma)))


def test_the_error_is_of_the_order_of_the_step_squared(device):
    """Of y^3 the mean is 3 y^2 + t^2: at t = step sigma the error is t^2 to the last digit of its mean."""
    y = 0.5 * torch.ones(20000, 16, device=device, dtype=torch.float64)
    sigma = torch.full((20000,), 2.0, device=device, dtype=torch.float64)
    for step in (0.25, 0.5, 1.0):
        monte_carlo = MonteCarloDivergence(step)
        _, value = monte_carlo(lambda y, s: y**3, y, sigma, DENOISING, make_generator(device, 1))
        error, t = value - 0.75, 2.0 * step
        assert abs(error.mean() - t**2) < 4 * error.std() / 20000**0.5
        assert error.std() / 20000**0.5 < t**2 / 40


def test_a_part_is_drawn_anew_with_equal_odds(device):
    y, sigma = torch.zeros(10, 3, device=device), torch.ones(10, device=device)
    counts = torch.zeros(10)
    for r in range(400):
        value = MonteCarloDivergence(part=0.3)(lambda y, s: y, y, sigma, DENOISING, make_generator(device, r))[1]
        assert sorted(value.tolist())[-3:] == pytest.approx([10 / 3] * 3, rel=1e-3)
        assert int((value != 0).sum()) == 3
        counts += (value != 0).cpu()
    assert ((counts - 120) ** 2 / 84).sum() < 27.9  # chi^2 of about 9 degrees, one in a thousand


def test_a_mask_as_long_as_the_batch_is_no_mask_of_samples(device, dtype):
    """(H, W) with H = B: its rows are not the samples."""
    generator = make_generator(device, 2)
    y = torch.randn(6, 1, 6, 6, generator=generator, device=device, dtype=dtype)
    rows = torch.zeros(6, 6, dtype=torch.bool, device=device)
    rows[0] = True
    short, full = Problem(None, rows), Problem(None, rows.expand(6, 1, 6, 6))
    for part in (0.1, 0.5):
        a, b = (
            MonteCarloDivergence(part=part)(
                nonlinear, y, torch.full_like(y[:, 0, 0, 0], 0.1), problem, make_generator(device, 1)
            )[1]
            for problem in (short, full)
        )
        torch.testing.assert_close(a, b)


def test_a_batch_of_one(device, dtype):
    y, sigma = torch.ones(1, 1, 2, 2, device=device, dtype=dtype), torch.ones(1, device=device, dtype=dtype)
    problem = Problem(None, torch.ones(1, 1, 2, 2, dtype=torch.bool, device=device))
    for part in (0.1, 1.0):
        value = MonteCarloDivergence(part=part)(lambda y, s: y, y, sigma, problem, make_generator(device, 1))[1]
        torch.testing.assert_close(value, torch.ones_like(value), rtol=1e-3, atol=0)


@pytest.mark.parametrize("wrong", [{"step": 0.0}, {"step": -1.0}, {"part": 0.0}, {"part": 1.5}])
def test_refusals(wrong):
    with pytest.raises(UnveilError, match=next(iter(wrong))):
        MonteCarloDivergence(**wrong)


@pytest.mark.parametrize("part", [0.5, 1.0])
def test_the_probe_moves_measured_entries_alone(part, device, dtype):
    """Moving the others too would keep the mean and only add variance."""
    case = make_case("mask", device, dtype)
    inputs = []
    f = lambda y, s: (inputs.append(y), nonlinear(y, s))[1]  # noqa: E731
    MonteCarloDivergence(part=part)(f, *draw(case), case.problem, make_generator(device, 1))
    moved = inputs[1] != case.junk
    assert len(inputs[1]) == part * len(case.x)
    assert torch.equal(moved, case.problem.measured.expand_as(moved))
