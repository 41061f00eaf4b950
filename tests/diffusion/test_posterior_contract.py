"""What callers of `posterior_samples` may rely on, whatever the signals."""

import pytest
import torch
from known_laws import noisy, two_gammas

from unveil.diffusion import geometric, go_on, karras, posterior_samples
from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise import Poisson
from unveil.operators.identity import Identity
from unveil.random import make_generator
from unveil.shapes import expand


def shrink(m):
    """E[x | y] of N(0.5, 0.2^2) pixels."""
    return 0.5 + expand(0.04 / (0.04 + m.level**2), m.y) * (m.y - 0.5)


@pytest.mark.parametrize("batch", [1, 4, 7, 100])
def test_shape_batches_and_progress(batch, device, dtype):
    y = torch.rand(3, 2, 4, 3, generator=make_generator(device, 0), dtype=dtype, device=device)
    largest, seen = [], []

    def f(m):
        largest.append(len(m))
        return shrink(m)

    out = posterior_samples(
        f, noisy(y, 0.1), make_generator(device, 1), samples=5, steps=4, batch=batch,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert (out.shape, out.dtype, out.device.type) == ((5, 3, 2, 4, 3), dtype, device.type)
    assert max(largest) == min(batch, 15)
    parts = -(-15 // batch)
    assert seen == [(i + 1, 4 * parts) for i in range(4 * parts)]
    assert len(out.unique(dim=0)) == 5, "every draw is its own"


@pytest.mark.parametrize("batch", [3, 4, 64])
def test_each_measurement_with_its_own_level(batch, device):
    """Samples land in the right slots, whatever the batch: pixels N(0.5, 0.2^2), three levels, batch size = width."""
    y = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64, device=device).reshape(3, 1, 1, 1).expand(3, 1, 20, 3)
    sigma = torch.tensor([0.05, 0.1, 0.3], dtype=torch.float64, device=device)
    x = posterior_samples(shrink, noisy(y, sigma), make_generator(device, 2), samples=100, batch=batch)
    n = 100 * 60
    gain = 0.04 / (0.04 + sigma**2)
    variance = gain * sigma**2
    mean = 0.5 + gain * (y[:, 0, 0, 0] - 0.5)
    assert bool(((x.mean((0, 2, 3, 4)) - mean).abs() < 4 * (variance / n).sqrt()).all())
    ratio = x.transpose(0, 1).reshape(3, -1).var(1) / variance
    assert bool(((ratio - 1).abs() < 4 * (2 / n) ** 0.5 + 0.02).all())


def test_each_measurement_with_its_own_gain(device):
    gain = torch.tensor([0.1, 1.0, 2.0], dtype=torch.float64, device=device)
    prior = two_gammas().to(device)
    m = Measurement(torch.full((3, 4), 4.0, dtype=torch.float64, device=device), Identity(), Poisson(gain))
    x = posterior_samples(prior.estimate, m, make_generator(device, 2), samples=2000, batch=300)
    for b in range(3):
        exact = prior.posterior(Measurement(m.y[b : b + 1, :1], Identity(), Poisson(gain[b])))
        deviation = float(exact.var()) ** 0.5
        assert float(x[:, b].mean()) == pytest.approx(float(exact.mean()), abs=(0.02 + 4 / 8000**0.5) * deviation)
        assert float(x[:, b].std()) == pytest.approx(deviation, rel=0.02 + 4 / 8000**0.5)


def test_the_defaults_are_25_evaluations_down_to_a_twentieth_of_the_noise(device):
    levels = []
    m = noisy(torch.zeros(1, 2, device=device), 0.3)

    def f(m):
        levels.append(float(m.level[0]))
        return shrink(m)

    posterior_samples(f, m, make_generator(device, 0), samples=1)
    assert levels == pytest.approx((0.3 * karras(0.05, 25) ** -0.5).tolist(), rel=1e-5)
    levels.clear()
    posterior_samples(f, m, make_generator(device, 0), samples=1, steps=4, lowest=0.02, schedule=geometric)
    assert levels == pytest.approx((0.3 * geometric(0.02, 4) ** -0.5).tolist(), rel=1e-5)


def test_a_sample_is_what_f_reads_at_the_end(device):
    """Of the same draws: with S measurements, one sample of each, and with inflation."""
    m = noisy(torch.rand(4, 3, device=device), 0.1)
    on = go_on(shrink, m, karras(0.05, 6), make_generator(device, 1), inflation=0.2)
    x = posterior_samples(shrink, m, make_generator(device, 1), samples=1, steps=6, inflation=0.2)
    assert torch.equal(x[0], shrink(on))
    one = posterior_samples(shrink, m, make_generator(device, 1), samples=2, steps=1)
    assert torch.equal(one, shrink(m).expand(2, -1, -1)), "one evaluation is the estimate"


def test_no_graph_grows_and_draws_repeat(device):
    m = noisy(torch.zeros(2, 3, device=device, requires_grad=True), 0.1)
    a, b, c = (posterior_samples(shrink, m, make_generator(device, seed), steps=3) for seed in (4, 4, 5))
    assert not a.requires_grad
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"batch": 0}, "batch 0"),
        ({"steps": 0}, "steps is 0"),
        ({"lowest": 0.0}, "lowest level is 0"),
        ({"lowest": 1.0}, "lowest level is 1"),
        ({"inflation": -0.1}, "inflation is -0.1"),
    ],
)
def test_refusals(change, message, device):
    with pytest.raises(UnveilError, match=message) as error:
        posterior_samples(
            shrink, noisy(torch.zeros(2, 1, 3, 3, device=device), 0.1), make_generator(device, 0), **change
        )
    assert "\n" not in str(error.value)
