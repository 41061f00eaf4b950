"""Going on measuring: the same sampler as SDE-DPM-Solver++(2M) to rounding, and what callers may rely on."""

import pytest
import torch
from known_laws import Matrix, bimodal, noisy, repeated, two_gammas
from levels import WRONG, dpm2m, uneven

from unveil.diffusion import geometric, go_on, karras
from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators.identity import Identity
from unveil.random import make_generator, normal
from unveil.shapes import expand

SIGMA = 0.1


def shrink(m):
    """E[x | y] of N(0.5, 0.2^2) pixels."""
    assert m.level.shape == (len(m),)
    return 0.5 + expand(0.04 / (0.04 + m.level**2), m.y) * (m.y - 0.5)


def of_each(schedule):
    """Exposures (N, 4), each sample's own."""
    return lambda steps: torch.stack([schedule(lowest, steps) for lowest in (0.5, 0.1, 0.05, 0.01)], 1)


def of_all(schedule):
    return lambda steps: schedule(0.05, steps)


EXPOSURES = [
    pytest.param(of(schedule), id=f"{schedule.__name__}-{of.__name__}")
    for schedule in (geometric, karras, uneven)
    for of in (of_all, of_each)
]


def case(a, device):
    prior = bimodal().to(device)
    y = torch.rand(4, a.shape[1], generator=make_generator(device, 3), dtype=torch.float64, device=device)
    sigma = torch.tensor([0.05, 0.1, 0.2, 0.4], dtype=torch.float64, device=device)
    return prior, Measurement(y, Matrix(a.to(device)), Gaussian(sigma))


def by_levels(prior, m, exposures, key, **variant):
    """The same in levels, with the same draws."""
    exposures = exposures.to(m.y).reshape(len(exposures), -1)
    levels = (m.noise.sigma / exposures.sqrt()).expand(-1, len(m))
    generator = make_generator(m.y.device, key)
    draws = [normal(m.y, generator) for _ in exposures[1:]]

    def D(u, s):
        return m.predict(prior.estimate(Measurement(u, m.operator, Gaussian(s))))

    return dpm2m(D, m.y, levels, draws, **variant), levels[-1]


@pytest.mark.parametrize("inflation", [0.0, 0.3])
@pytest.mark.parametrize("exposures", EXPOSURES)
@pytest.mark.parametrize("a", [[[1.0, 0.0], [0.0, 1.0]], [[0.5, -0.7]], [[0.0, 1.0], [2.0, 0.3], [0.1, 0.1]]])
def test_for_gaussian_noise_it_is_dpm2m_to_rounding(a, exposures, inflation, device):
    prior, m = case(torch.tensor([a], dtype=torch.float64), device)
    times = exposures(9)
    on = go_on(prior.estimate, m, times, make_generator(device, 1), inflation=inflation)
    x, s = by_levels(prior, m, times, 1, inflation=inflation)
    torch.testing.assert_close(on.y, x, atol=1e-12, rtol=0)
    torch.testing.assert_close(on.level, s, atol=1e-15, rtol=1e-12)


@pytest.mark.parametrize("variant", WRONG)
def test_wrong_variants_are_told_apart(variant, device):
    prior, m = case(torch.eye(2, dtype=torch.float64)[None], device)
    times = karras(0.05, 9)
    on = go_on(prior.estimate, m, times, make_generator(device, 1))
    assert float((on.y - by_levels(prior, m, times, 1, **WRONG[variant])[0]).abs().max()) > 1e-4


# --- the contract


@pytest.mark.parametrize("shape", [(2, 2, 5, 7), (3, 1, 4, 4), (1, 6)])
def test_shape_dtype_device_and_determinism(shape, device, dtype):
    y = torch.rand(shape, generator=make_generator(device, 1), dtype=dtype, device=device)
    before, state = y.clone(), torch.get_rng_state()
    a, b, c = (go_on(shrink, noisy(y, 0.1), geometric(0.05, 6), make_generator(device, seed)).y for seed in (0, 0, 1))
    assert (a.shape, a.dtype, a.device.type) == (y.shape, dtype, device.type)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(y, before), "the caller's y is left alone"
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not touched"


def test_what_is_known_at_the_end_is_a_measurement_of_the_last_exposure(device):
    m = noisy(torch.zeros(2, 3, device=device), torch.tensor([0.1, 0.2], device=device))
    on = go_on(shrink, m, geometric(0.05, 4), make_generator(device, 0))
    torch.testing.assert_close(on.level, torch.tensor([0.005, 0.01], device=device))
    assert on.operator is m.operator
    counts = Measurement(torch.ones(2, 3, dtype=torch.float64, device=device), Identity(), Poisson(0.5))
    on = go_on(two_gammas().to(device).estimate, counts, geometric(0.05, 4), make_generator(device, 0))
    photons = on.y / (0.5 / 400)
    torch.testing.assert_close(photons, photons.round(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_evaluations_and_progress(steps, device):
    times, seen = [], []

    def f(m):
        times.append(float((SIGMA / m.level[0]) ** 2))
        return shrink(m)

    exposures = geometric(0.05, steps)
    m = noisy(torch.zeros(2, 3, device=device), SIGMA)
    on = go_on(f, m, exposures, make_generator(device, 0), progress=lambda done, total: seen.append((done, total)))
    assert times == pytest.approx(exposures[:-1].tolist(), rel=1e-5)
    assert seen == [(i + 1, steps - 1) for i in range(steps - 1)]
    if steps == 1:
        assert torch.equal(on.y, m.y)


def test_no_graph_grows(device):
    gain = torch.tensor(0.9, device=device, requires_grad=True)
    y = torch.zeros(2, 3, device=device, requires_grad=True)
    on = go_on(lambda m: gain * m.y, noisy(y, 0.1), geometric(0.1, 4), make_generator(device, 0))
    assert not on.y.requires_grad
    assert torch.is_grad_enabled()


def test_half_the_precision_gives_the_same_sample(monkeypatch):
    monkeypatch.setattr("unveil.noise.gaussian.normal", lambda like, generator: like.cos())
    y = torch.linspace(0, 1, 12, dtype=torch.float64).reshape(2, 6)
    a, b = (go_on(shrink, noisy(y.to(d), 0.1), geometric(0.01, 30), None).y for d in (torch.float64, torch.float32))
    torch.testing.assert_close(a, b.double(), atol=2e-6, rtol=0)


def test_each_sample_comes_out_as_if_alone(monkeypatch, dtype):
    """With w a function of u alone, exactly; the batch is as long as the image is wide."""
    monkeypatch.setattr("unveil.noise.gaussian.normal", lambda like, generator: (9 * like).sin())
    y = torch.rand(4, 2, 4, 4, generator=make_generator("cpu", 3), dtype=dtype)
    m = noisy(y, torch.tensor([0.05, 0.1, 0.2, 0.4], dtype=dtype))
    times = of_each(geometric)(8)
    together = go_on(shrink, m, times, None, inflation=0.2).y
    alone = [go_on(shrink, m[b : b + 1], times[:, b], None, inflation=0.2).y for b in range(4)]
    torch.testing.assert_close(together, torch.cat(alone))
    torch.testing.assert_close(
        go_on(shrink, m, times[:, :1].expand(-1, 4), None).y, go_on(shrink, m, times[:, 0], None).y
    )


def test_any_number_of_steps_is_stable(device):
    """A step that takes s from 10 to 0.001 stays within the signal's range."""
    prior = bimodal().to(device)
    m = repeated(noisy(10 * torch.ones(1, 2, dtype=torch.float64, device=device), 10.0), 8)
    for steps in (2, 3, 4, 5):
        on = go_on(prior.estimate, m, geometric(1e-4, steps), make_generator(device, 0))
        assert float((on.y - prior.mean()).abs().max()) < 1


@pytest.mark.parametrize(
    ("exposures", "message"),
    [
        ([], "exposures have shape"),
        ([1.0, 1.0], "must be finite and grow"),
        ([1.0, 2.0, 1.5], "must be finite and grow"),
        ([1.0, float("nan")], "must be finite and grow"),
        ([1.0, float("inf")], "must be finite and grow"),
        ([1.0, 1 + 1e-9], "in torch.float32: they must be finite and grow"),
        ([-1.0, 1.0], "must be finite and grow"),
        ([2.0, 4.0], "the first exposure is 2, and y was measured at 1"),
        ([0.0, 1.0, 4.0], "the first exposure is 0, and y was measured at 1"),
        ([[1.0, 1.0], [2.0, 1.0]], "must be finite and grow"),
        ([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], r"pass \(N,\), or \(N, 2\)"),
        ([[[1.0]], [[2.0]]], r"pass \(N,\), or \(N, 2\)"),
    ],
)
def test_exposures_that_are_refused(exposures, message, device):
    m = noisy(torch.zeros(2, 3, device=device), 0.1)
    with pytest.raises(UnveilError, match=message) as error:
        go_on(shrink, m, torch.tensor(exposures, dtype=torch.float64), make_generator(device, 0))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("inflation", [-1, float("nan")])
def test_inflations_that_are_refused(inflation, device):
    m = noisy(torch.zeros(2, 3, device=device), 0.1)
    with pytest.raises(UnveilError, match=f"inflation is {inflation}"):
        go_on(shrink, m, geometric(0.1, 3), make_generator(device, 0), inflation=inflation)


def test_integer_images_are_refused(device):
    with pytest.raises(UnveilError, match="floating point"):
        noisy(torch.zeros(2, 3, dtype=torch.uint8, device=device), 0.1)
