"""Two views of one measurement: independent, and each as a measurement of its exposure would be.

Wrong views must fail.
"""

import pytest
import torch
from noise_statistics import FAR, KERNEL, MAKE, SHARES, B, check_noise, every_family, whitened
from scipy import stats

from unveil.measurement import Measurement
from unveil.noise import Correlated, Gamma, Gaussian, Poisson, PoissonGaussian
from unveil.operators import Identity
from unveil.random import make_generator, normal
from unveil.shapes import expand

DEPENDENT = {"poisson-gaussian": 0.05}
"""How far the squares of views may depend on one another where the module says that these are not exact."""


@every_family
@pytest.mark.parametrize("t", SHARES)
def test_recorruption_gives_independent_views(t, name, u, parameter, generator):
    """Given u: no correlation, and none of the squares, which independence asks for and a lack of correlation does
    not."""
    noise = MAKE[name](parameter)
    m = Measurement(noise.sample(u, generator), Identity(), noise)
    share = t * torch.linspace(1, 0.7, B).to(parameter)
    view, rest = m.recorrupt(share, generator)
    check_noise(view.y, u, noise.exposed(share))
    check_noise(rest.y, u, noise.exposed(1 - share))
    torch.testing.assert_close(expand(share, u) * view.y + (1 - expand(share, u)) * rest.y, m.y)
    for part, exposure in ((view, share), (rest, 1 - share)):
        torch.testing.assert_close(part.noise.variance(u), noise.exposed(exposure).variance(u))
    a, b = (whitened(part.y, u, part.noise) for part in (view, rest))
    n = a[0].numel()
    correlation = (a * b).flatten(1).mean(1)
    assert (correlation.abs() < FAR / n**0.5).all()
    assert abs(correlation.mean()) < 4 / a.numel() ** 0.5
    squares = (a.square() - 1) * (b.square() - 1)
    assert abs(squares.mean()) < 4 * squares.std() / a.numel() ** 0.5 + DEPENDENT.get(name, 0.0)


class Deterministic(Poisson):
    """Takes the share t of each count, rounded at random: the mean is right, and no more."""

    def noisier(self, y, t, generator):
        share = expand(t, y)
        gain = self._gain(y)
        u = torch.rand(y.shape, generator=generator, dtype=y.dtype, device=y.device)
        return gain / share * (share * y / gain + u).floor()


class GaussianThinning(Poisson):
    """Adds Gaussian noise of the variance that is missing: mean and variance are right, the law is not."""

    def noisier(self, y, t, generator):
        return y + (self.variance(y) * expand(1 / t - 1, y)).sqrt() * normal(y, generator)


class Doubled(Gaussian):
    """Adds the noise of the exposure t to that which is there."""

    def noisier(self, y, t, generator):
        return self.exposed(t).sample(y, generator)


class Fresh(Correlated):
    """Adds white noise of the variance that is missing."""

    def noisier(self, y, t, generator):
        return y + ((1 / expand(t, y) - 1) * self.variance(y)).sqrt() * normal(y, generator)


class BetaOfAll(Gamma):
    """Takes the share Beta(L t, L) for Beta(L t, L (1 - t)), divided by its own mean."""

    def noisier(self, y, t, generator):
        share, looks = expand(t, y), self._looks(y)
        kept, taken = (torch._standard_gamma(n.expand_as(y).contiguous(), generator) for n in (looks * share, looks))
        return y * kept / (kept + taken) * (1 + share) / share


@pytest.mark.parametrize(
    "wrong",
    [Deterministic(0.05), Doubled(0.1), BetaOfAll(4.0), Fresh(0.1, KERNEL)],
    ids=["deterministic", "doubled", "beta of all", "fresh"],
)
def test_wrong_views_are_rejected(wrong, u, generator):
    y = wrong.sample(u, generator)
    share = torch.full_like(u[:, 0, 0, 0], 0.4)
    with pytest.raises(AssertionError, match="variance"):
        check_noise(wrong.noisier(y, share, generator), u, wrong.exposed(0.4))


# --- the law itself: what moments do not tell

DRAWS = 40_000


def chi_square(observed, expected):
    """The p-value of counts against their expectation, cells of fewer than 8 pooled with the rest."""
    small = expected < 8
    if small.any():
        observed = torch.cat([observed[~small], observed[small].sum()[None]])
        expected = torch.cat([expected[~small], expected[small].sum()[None]])
    observed, expected = observed[expected > 0], expected[expected > 0]
    return stats.chi2.sf(float(((observed - expected) ** 2 / expected).sum()), len(expected) - 1)


def law_of_counts(k, mean):
    """The p-value of whole numbers k (N,) against Poisson(mean)."""
    assert torch.equal(k, k.round())
    assert k.min() >= 0
    top = int(mean + 12 * mean**0.5 + 12)
    observed = torch.bincount(k.long().cpu(), minlength=top + 1).double()
    assert len(observed) == top + 1
    return chi_square(observed, len(k) * torch.from_numpy(stats.poisson.pmf(range(top + 1), mean)))


def thinned(noise, photons, t, device, dtype):
    """(k_t, k_rest) (N,): the counts of both views of Poisson(photons) counts."""
    generator = make_generator(device, 4)
    gain = noise._gain(torch.ones(1, 1, device=device, dtype=dtype))
    u = (gain * photons).expand(1, DRAWS)
    m = Measurement(noise.sample(u, generator), Identity(), noise)
    view, rest = m.recorrupt(torch.full((1,), t, device=device, dtype=dtype), generator)
    return (t * view.y / gain).flatten(), ((1 - t) * rest.y / gain).flatten()


@pytest.mark.parametrize("photons", [0.4, 3.0, 40.0, 900.0])
@pytest.mark.parametrize("t", [0.05, 0.3, 0.7])
def test_the_law_of_thinned_counts(t, photons, device, dtype):
    """Exact: both views are Poisson, of t and 1 - t times the mean."""
    for k, mean in zip(thinned(Poisson(0.03), photons, t, device, dtype), (t * photons, (1 - t) * photons)):
        assert (k - k.round()).abs().max() < 1e-3 * (1 + photons**0.5)
        assert law_of_counts(k.round(), mean) > 1e-4


@pytest.mark.parametrize("photons", [0.7, 4.0, 12.0])
@pytest.mark.parametrize("t", [0.2, 0.6])
def test_the_joint_law_of_thinned_counts(t, photons, device, dtype):
    """Exact: the table of both counts is the product of two Poisson laws."""
    k, other = (part.round().long().cpu() for part in thinned(Poisson(0.03), photons, t, device, dtype))
    top = 60
    observed = torch.bincount(k * top + other, minlength=top * top).double()
    laws = [torch.from_numpy(stats.poisson.pmf(range(top), share * photons)) for share in (t, 1 - t)]
    assert chi_square(observed, DRAWS * torch.outer(*laws).flatten()) > 1e-4


def test_other_laws_of_the_same_moments_are_rejected(device, dtype):
    k, _ = thinned(GaussianThinning(0.03), 12.0, 0.3, device, dtype)
    assert law_of_counts(k.round().clamp_min(0), 3.6) < 1e-6
    kept, _ = thinned(Deterministic(0.03), 12.0, 0.3, device, dtype)
    assert law_of_counts(kept.round(), 3.6) < 1e-6
    k, _ = thinned(Poisson(0.03), 12.0, 0.3, device, dtype)  # a table of counts that depend on one another
    again = torch.poisson(0.9 * 8.4 + 0.1 * k, generator=make_generator(device, 5)).long().cpu()
    observed = torch.bincount(k.round().long().cpu() * 60 + again, minlength=3600).double()
    laws = [torch.from_numpy(stats.poisson.pmf(range(60), mean)) for mean in (3.6, 0.9 * 8.4 + 0.36)]
    assert chi_square(observed, DRAWS * torch.outer(*laws).flatten()) < 1e-6


@pytest.mark.parametrize("t", SHARES)
def test_the_law_of_gaussian_views(t, device, dtype):
    generator, u = make_generator(device, 4), torch.full((1, DRAWS), 0.3, device=device, dtype=dtype)
    noise = Gaussian(0.2)
    view, rest = Measurement(noise.sample(u, generator), Identity(), noise).recorrupt(torch.tensor([t]), generator)
    for part, share in ((view, t), (rest, 1 - t)):
        z = ((part.y - u) / (0.2 / share**0.5)).flatten().cpu().double()
        assert stats.kstest(z, "norm").pvalue > 1e-4


@pytest.mark.parametrize("excess", [0.004, 0.25, 0.5, 0.9])
def test_a_count_between_two_keeps_its_mean(excess, device):
    """Data that are no multiples of the gain, as of a calibrated camera: rounded to either, at random."""
    y = torch.full((1, DRAWS), 7 + excess, device=device, dtype=torch.float64)
    k = 0.5 * Poisson(1.0).noisier(y, torch.tensor([0.5]), make_generator(device, 1))
    assert torch.equal(k, k.round())
    variance = (7 + excess) * 0.25 + excess * (1 - excess) * 0.25
    assert abs(k.mean() - (7 + excess) / 2) < 4 * (variance / DRAWS) ** 0.5


# --- photons and read noise: exact in mean, variance and covariance, whatever the share of the two


@pytest.mark.parametrize("read", [0.1, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("photons", [0.0, 0.5, 2.0, 30.0])
def test_moments_of_views_of_read_out_photons(photons, read, device):
    """In units of a photon. Near the dark the variance of the view may exceed its own by .12 (1 - t) / t."""
    noise, draws = PoissonGaussian(1.0, read, 5.0), 400_000
    u = torch.full((1, draws), 5.0 + photons, device=device, dtype=torch.float64)
    m = Measurement(noise.sample(u, make_generator(device, 21)), Identity(), noise)
    for t in (0.3, 0.7):
        view, rest = m.recorrupt(torch.tensor([t], device=device), make_generator(device, 22))
        a, b = view.y - u, rest.y - u
        own = float(view.noise.variance(u).mean())
        excess = 0.13 * (1 - t) / t if photons < 1 and read < 4 else 0.01 * own
        assert abs(float(a.mean())) < 4 * (own / draws) ** 0.5
        assert -0.01 * own < float(a.square().mean()) - own < excess
        scale = (own * float(b.square().mean()) / draws) ** 0.5
        assert abs(float((a * b).mean())) < 4 * scale + (0.13 if photons < 1 else 0.0)


def test_gaussian_views_of_read_out_photons_have_more_of_a_third_moment(device):
    """Why counts are thinned: noise of the right variance alone is farther from independent."""
    noise, draws = PoissonGaussian(1.0, 0.2, 0.0), 400_000
    u = torch.full((1, draws), 2.0, device=device, dtype=torch.float64)
    y, t = noise.sample(u, make_generator(device, 23)), torch.tensor([0.25], device=device, dtype=torch.float64)
    thinned = noise.noisier(y, t, make_generator(device, 24))
    gaussian = y + (noise.variance(y).clamp_min(0) * (1 / 0.25 - 1)).sqrt() * normal(y, make_generator(device, 24))

    def dependence(view):
        rest = (y - 0.25 * view) / 0.75
        return (
            abs(float(((view - u).square() * (rest - u)).mean())) / float(noise.exposed(0.25).variance(u).mean()) ** 1.5
        )

    assert dependence(thinned) < 0.03 < 0.05 < dependence(gaussian)


@pytest.mark.parametrize("looks", [0.3, 1.0, 4.0, 200.0])
@pytest.mark.parametrize("t", [0.05, 0.5, 0.9])
def test_the_law_of_speckled_views(t, looks, device, dtype):
    """Exact: both views are Gamma variables, of t and 1 - t times the looks, and independent; however few the looks."""
    generator, u = make_generator(device, 4), torch.full((1, DRAWS), 0.3, device=device, dtype=dtype)
    noise = Gamma(looks)
    view, rest = Measurement(noise.sample(u, generator), Identity(), noise).recorrupt(torch.tensor([t]), generator)
    logs = []
    for part, share in ((view, t), (rest, 1 - t)):
        z = (part.y / 0.3).flatten().cpu().double()
        z = z[z > 1e-6]  # single precision of 1 - B ends there
        law = stats.gamma(share * looks, scale=1 / (share * looks))
        assert len(z) / DRAWS == pytest.approx(law.sf(1e-6), abs=5 / DRAWS**0.5)
        assert stats.kstest(z, lambda q, law=law: (law.cdf(q) - law.cdf(1e-6)) / law.sf(1e-6)).pvalue > 1e-4
        logs.append((part.y.flatten() + 0.01).log().double())
    assert abs(torch.corrcoef(torch.stack(logs))[0, 1]) < 4 / DRAWS**0.5


def test_a_wrong_law_of_speckle_is_rejected(device, dtype):
    y = 0.3 * torch.ones(1, DRAWS, device=device, dtype=dtype)
    y = BetaOfAll(4.0).noisier(
        Gamma(4.0).sample(y, make_generator(device, 4)), torch.tensor([0.5]).to(y), make_generator(device, 5)
    )
    assert stats.kstest((y / 0.3).flatten().cpu().double(), stats.gamma(2, scale=0.5).cdf).pvalue < 1e-6
