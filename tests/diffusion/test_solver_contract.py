"""What every solver of the registry must do, whatever its numbers."""

import sys

import pytest
import torch
from priors import correlated

from unveil.diffusion import SOLVERS, geometric
from unveil.errors import UnveilError
from unveil.random import make_generator

every_solver = pytest.mark.parametrize("solver", [cls() for cls in SOLVERS.values()], ids=list(SOLVERS))


def shrink(x, sigma):
    """The denoiser of N(0.5, 0.2^2) pixels; it takes levels (B,), as the contract has it."""
    assert sigma.shape == (len(x),)
    assert sigma.dtype == x.dtype
    gain = (0.04 / (0.04 + sigma**2)).reshape(-1, *[1] * (x.ndim - 1))
    return 0.5 + gain * (x - 0.5)


@every_solver
@pytest.mark.parametrize("shape", [(2, 2, 5, 7), (3, 1, 4, 4), (1, 6)])
def test_shape_dtype_device_and_determinism(solver, shape, device, dtype):
    x = torch.rand(shape, generator=make_generator(device, 1), dtype=dtype, device=device)
    before = x.clone()
    a, b, c = (solver.solve(shrink, x, geometric(0.1, 0.001, 6), make_generator(device, seed)) for seed in (0, 0, 1))
    assert (a.shape, a.dtype, a.device.type) == (x.shape, dtype, device.type)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(x, before), "the caller's x is left alone"


@every_solver
def test_the_global_generator_is_not_touched(solver, device):
    before = torch.get_rng_state()
    solver.solve(shrink, torch.zeros(2, 3, device=device), geometric(0.1, 0.01, 4), make_generator(device, 0))
    assert torch.equal(before, torch.get_rng_state())


@every_solver
def test_half_the_precision_gives_the_same_sample(solver, monkeypatch):
    monkeypatch.setattr(sys.modules[type(solver).__module__], "normal", lambda like, generator: like.cos())
    x = torch.linspace(0, 1, 12, dtype=torch.float64).reshape(2, 6)
    a, b = (solver.solve(shrink, x.to(d), geometric(0.1, 0.001, 30), None) for d in (torch.float64, torch.float32))
    torch.testing.assert_close(a, b.double(), atol=2e-6, rtol=0)


@every_solver
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("to_zero", [True, False])
def test_evaluations_and_progress(solver, steps, to_zero, generator, device):
    levels, calls, seen = torch.linspace(0.2, 0.0 if to_zero else 0.05, steps + 1), [], []

    def denoise(x, sigma):
        calls.append(float(sigma[0]))
        return shrink(x, sigma)

    x = torch.zeros(2, 3, device=device)
    solver.solve(denoise, x, levels, generator, lambda done, total: seen.append((done, total)))
    above = steps - to_zero
    assert len(calls) == solver.evaluations_per_step * above + to_zero
    assert seen == [(i + 1, steps) for i in range(steps)]
    assert min(calls) > 0, "no denoiser is trained at level 0"
    if to_zero:
        assert calls[-1] == pytest.approx(float(levels[-2]))


@every_solver
def test_the_step_to_zero_returns_the_denoiser(solver, generator, device):
    x = torch.full((2, 3), 0.9, device=device)
    out = solver.solve(shrink, x, torch.tensor([0.1, 0.0]), generator)
    torch.testing.assert_close(out, shrink(x, torch.full((2,), 0.1, device=device)))


@every_solver
def test_no_graph_grows(solver, generator, device):
    gain = torch.tensor(0.9, device=device, requires_grad=True)
    x = torch.zeros(2, 3, device=device, requires_grad=True)
    out = solver.solve(lambda x, sigma: gain * x, x, geometric(0.1, 0.01, 4), generator)
    assert not out.requires_grad
    assert torch.is_grad_enabled()


@every_solver
def test_levels_per_sample_when_the_batch_is_as_long_as_the_image_is_wide(solver, monkeypatch, dtype):
    """Each sample must come out as if solved alone: with w a function of x alone, exactly."""
    monkeypatch.setattr(sys.modules[type(solver).__module__], "normal", lambda like, generator: (9 * like).sin())
    x = torch.rand(4, 2, 4, 4, generator=make_generator("cpu", 3), dtype=dtype)
    high = torch.tensor([0.05, 0.1, 0.2, 0.4], dtype=torch.float64)
    levels = geometric(high, high / torch.tensor([20, 50, 100, 10]), 8)
    together = solver.solve(shrink, x, levels, None)
    alone = torch.cat([solver.solve(shrink, x[b : b + 1], levels[:, b], None) for b in range(4)])
    torch.testing.assert_close(together, alone)
    same = solver.solve(shrink, x, levels[:, :1].expand(-1, 4), None)
    torch.testing.assert_close(
        same, solver.solve(shrink, x, levels[:, 0], None)
    )  # powers of one level are not vectorised


@every_solver
def test_any_number_of_steps_is_stable(solver):
    """A step that takes s from 10 to 0.001 stays within the signal's range."""
    prior = correlated()
    x = 10 * torch.ones(8, 3, dtype=torch.float64)
    for steps in (1, 2, 3, 4):
        out = solver.solve(prior.denoise, x, geometric(10.0, 0.001, steps), make_generator("cpu", 0))
        assert float((out - prior.mean()).abs().max()) < 3


@every_solver
@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([0.1], "at least two levels"),
        ([0.1, 0.1], "decrease strictly"),
        ([0.1, 0.2, 0.0], "decrease strictly"),
        ([0.1, 0.0, 0.0], "decrease strictly"),
        ([0.1, -0.1], "decrease"),
        ([float("nan"), 0.1], "decrease"),
        ([float("inf"), 0.1], "finite"),
        ([[0.1, 0.1], [0.05, 0.0]], "0 for all samples"),
        ([[0.1, 0.1, 0.1], [0.0, 0.0, 0.0]], r"\(2, 3\) for a batch of 2"),
    ],
)
def test_errors(solver, sigmas, message, generator, device):
    with pytest.raises(UnveilError, match=message):
        solver.solve(shrink, torch.zeros(2, 3, device=device), torch.tensor(sigmas), generator)


@every_solver
def test_integer_images_are_refused(solver, generator, device):
    with pytest.raises(UnveilError, match="floating point"):
        solver.solve(shrink, torch.zeros(2, 3, dtype=torch.uint8, device=device), geometric(0.1, 0.01, 3), generator)
