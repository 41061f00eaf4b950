"""The stationary prior against dense linear algebra: its covariance, posterior, and the spectrum that EM finds."""

import pytest
import torch

from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.estimators import Stationary
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, demosaicing, inpainting, random_mask
from unveil.random import make_generator, normal
from unveil.training.spectrum import learn_spectrum

MEAN, DEVIATION = 0.4, 0.3


def make_prior(device, shape=(2, 6, 5), steep=1.5):
    """A prior whose channels go together, with a spectrum unlike that of the start."""
    prior = Stationary(shape, MEAN, DEVIATION).double().to(device)
    rings, channels = prior.spectrum.shape[:2]
    together = 0.7 * torch.ones(channels, channels) + 0.3 * torch.eye(channels)
    falling = 1 / (1 + torch.arange(rings)) ** steep
    prior.spectrum.copy_(0.5 * falling[:, None, None] * together)
    return prior


def dense(apply, shape, device):
    n = shape[0] * shape[1] * shape[2]
    return apply(torch.eye(n, dtype=torch.float64, device=device).reshape(n, *shape)).flatten(1).mT


def test_the_covariance_is_one_and_the_draws_have_it(device):
    prior, shape = make_prior(device), (2, 6, 5)
    s = dense(prior.covariance, shape, device)
    torch.testing.assert_close(s, s.mT, rtol=0, atol=1e-12)
    assert float(torch.linalg.eigvalsh(s).min()) > 0
    like = torch.zeros(20_000, *shape, dtype=torch.float64, device=device)
    z = prior.draw(like, make_generator(device, 1)).flatten(1)
    products = z[:, :, None] * z[:, None, :]
    error = (products.mean(0) - s) / (products.std(0) / len(z) ** 0.5)
    assert float(error.abs().max()) < 4.5, "900 entries"
    shifted = dense(lambda x: prior.covariance(x.roll((2, 1), (-2, -1))).roll((-2, -1), (-2, -1)), shape, device)
    torch.testing.assert_close(shifted, s, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["mask", "mosaic", "none"])
def test_the_posterior_is_the_closed_form(name, device):
    shape = (3, 6, 6) if name == "mosaic" else (2, 6, 6)
    prior = make_prior(device, shape)
    if name == "mask":
        operator = inpainting(random_mask(6, 6, 0.6, make_generator("cpu", 3)).to(device), 2)
    else:
        operator = demosaicing(6, 6) if name == "mosaic" else Identity()
    count = 6_000
    x = MEAN + prior.draw(torch.zeros(1, *shape, dtype=torch.float64, device=device), make_generator(device, 4))
    u = operator.A(x)
    noise = Gaussian(torch.tensor([0.3], dtype=torch.float64, device=device))
    m = Measurement(u + 0.3 * normal(u, make_generator(device, 5)), operator, noise)

    a, s = dense(operator.A, shape, device), dense(prior.covariance, shape, device)
    gain = s @ a.mT @ torch.linalg.inv(a @ s @ a.mT + 0.09 * torch.eye(len(a)).to(a))
    expected = MEAN + gain @ (m.y.flatten() - MEAN * a.sum(1))
    covariance = s - gain @ a @ s

    torch.testing.assert_close(prior.estimate(m).flatten(), expected, rtol=0, atol=1e-4)
    many = Measurement(m.y.expand(count, *m.y.shape[1:]), operator, noise)
    draws = prior.posterior_draw(many, make_generator(device, 6)).flatten(1)
    error = (draws.mean(0) - expected) / (covariance.diagonal() / count).sqrt()
    assert float(error.abs().max()) < 4
    variance = draws.var(0) / covariance.diagonal()
    assert float((variance - 1).abs().max()) < 4.2 * (2 / count) ** 0.5


def test_levels_are_per_sample(device):
    prior = make_prior(device, (1, 6, 6))
    y = normal(torch.zeros(6, 1, 6, 6, dtype=torch.float64, device=device), make_generator(device, 7))
    m = Measurement(y, Identity(), Gaussian(torch.linspace(0.05, 1.0, 6, dtype=torch.float64, device=device)))
    alone = torch.cat([prior.estimate(m[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(prior.estimate(m), alone, rtol=0, atol=1e-4)


def test_counts_are_weighed_by_their_own_variance(device):
    """Of counts the best linear estimate takes each entry's variance from y; nothing was counted in some, which are not
    certain."""
    prior = make_prior(device, (1, 6, 6))
    operator = inpainting(random_mask(6, 6, 0.7, make_generator("cpu", 3)).to(device))
    x = MEAN + prior.draw(torch.zeros(1, 1, 6, 6, dtype=torch.float64, device=device), make_generator(device, 4))
    noise = Poisson(torch.tensor(0.2, dtype=torch.float64, device=device))
    m = Measurement(noise.sample(operator.A(x), make_generator(device, 5)), operator, noise)
    a, s = dense(operator.A, (1, 6, 6), device), dense(prior.covariance, (1, 6, 6), device)
    kept = a.any(1)
    a, y = a[kept], m.y.flatten()[kept]
    assert (y == 0).any()
    variance = (0.2 * y).clamp_min(1e-3 * float(m.level) ** 2)
    gain = s @ a.mT @ torch.linalg.inv(a @ s @ a.mT + torch.diag(variance))
    torch.testing.assert_close(prior.estimate(m).flatten(), MEAN + gain @ (y - MEAN), rtol=0, atol=1e-3)


def learned_spectrum(device, posterior_draw=None):
    """What EM finds from 256 images behind one mask, and the spectrum that they have."""
    truth = make_prior(device, (2, 12, 12))
    x = MEAN + truth.draw(torch.zeros(256, 2, 12, 12, dtype=torch.float64, device=device), make_generator(device, 8))
    operator = inpainting(random_mask(12, 12, 0.7, make_generator("cpu", 9)).to(device), 2)
    u = operator.A(x)
    y = operator.project(u + 0.2 * normal(u, make_generator(device, 10)))
    prior = Stationary((2, 12, 12), MEAN, DEVIATION).double().to(device)
    if posterior_draw is not None:
        prior.posterior_draw = lambda *arguments: posterior_draw(prior, *arguments)
    source = MemorySource({str(i): part for i, part in enumerate(y)})
    learn_spectrum(prior, Dataset(source, operator, Gaussian(0.2)))
    return prior.spectrum, truth


def deviates(found, truth):
    """The largest error of a ring's power in standard errors of 64 images: those of the last round."""
    counts = torch.zeros(len(truth.spectrum), dtype=torch.float64).index_add_(
        0, truth.ring.cpu().flatten(), truth.counted.cpu().flatten()
    )
    power = truth.spectrum[:, 0, 0].cpu()
    return float(((found[:, 0, 0].cpu() - power) / (power * (2 / (64 * counts)).sqrt())).abs().max())


def test_em_finds_the_spectrum_behind_a_mask():
    found, truth = learned_spectrum("cpu")
    assert deviates(found, truth) < 10, "EM has not quite ended after 16 rounds"
    start = Stationary((2, 12, 12), MEAN, DEVIATION).spectrum
    assert deviates(start, truth) > 20


def test_em_with_the_mean_in_the_draws_place_would_be_rejected():
    found, truth = learned_spectrum("cpu", lambda prior, m, _: prior.estimate(m))
    assert deviates(found, truth) > 20


def test_em_draws_with_the_noise_forgotten_would_be_rejected():
    found, truth = learned_spectrum(
        "cpu", lambda prior, m, g: Stationary.posterior_draw(prior, m.at(m.noise.sample(m.y, g)), g)
    )
    assert deviates(found, truth) > 20


def test_refusals():
    with pytest.raises(UnveilError, match="std must be > 0"):
        Stationary((1, 8, 8), 0.5, 0.0)
