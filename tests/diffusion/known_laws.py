"""Signals whose estimators and posteriors are known in closed form: Gaussians and their mixtures through any A, Gamma
intensities.

Gaussian noise. x = mu_k + F_k z, z ~ N(0, I), with probability p_k; y = A x + n, n ~ N(0, S). With r = S^(-1/2) (y - A
mu_k),
G = S^(-1/2) A F_k and H = I + G^T G

    z | y, k ~ N(H^-1 G^T r, H^-1),     p_k(y) ~ p_k det(H)^(-1/2) exp(-(|r|^2 - r^T G H^-1 G^T r) / 2)

Counts. x ~ Gamma(a_k, rate b_k) with probability p_k; y = gain j, j ~ Poisson(x / gain):

    x | y, k ~ Gamma(a_k + j, rate b_k + 1 / gain),     p_k(y) ~ p_k b_k^a_k Gamma(a_k + j) / (Gamma(a_k) (b_k + 1 /
    gain)^(a_k + j))

Speckle. 1 / x ~ Gamma(a_k, rate b_k) with probability p_k; y = x G, G ~ Gamma(L) / L:

    1 / x | y, k ~ Gamma(a_k + L, rate b_k + L y),     p_k(y) ~ the same with L and b_k + L y for j and b_k + 1 / gain
"""

from dataclasses import dataclass, replace

import torch
from scipy import stats

from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators.base import Operator
from unveil.operators.identity import Identity
from unveil.random import make_generator
from unveil.shapes import expand


class Matrix(Operator):
    """A given as numbers: a (1, m, n), or one for each measurement (B, m, n). Images and measurements are vectors."""

    rows = ("measured", "a")

    def __init__(self, a, measured=None):
        self.a, self.measured = a, measured
        self.measurement_shape, self.image_shape = (a.shape[1],), (a.shape[2],)

    def _apply(self, x):
        return (self.a @ x[:, :, None])[:, :, 0]

    def _adjoint(self, y):
        return (self.a.mT @ y[:, :, None])[:, :, 0]


@dataclass
class Mixture:
    """weights (K,), means (K, n), factors (K, n, k), in float64, of signals x of any shape with n entries."""

    weights: torch.Tensor
    means: torch.Tensor
    factors: torch.Tensor

    def to(self, device):
        return Mixture(*(value.to(device) for value in (self.weights, self.means, self.factors)))

    @property
    def covs(self):
        return self.factors @ self.factors.mT

    def mean(self):
        return self.weights @ self.means

    def cov(self):
        gap = self.means - self.mean()
        return torch.einsum("k,kij->ij", self.weights, self.covs + gap[:, :, None] * gap[:, None, :])

    def estimate(self, m):
        """f(m) = E[x | y] (B, *image), for Gaussian noise, differentiable in y."""
        log_weights, means, _ = self._laws(m)
        x = (log_weights.softmax(1)[:, :, None] * means).sum(1)
        return x.reshape(m.operator.image(m.y).shape).to(m.y)

    def posterior(self, m):
        """The law of x given the one measurement m."""
        assert len(m) == 1
        log_weights, means, h = self._laws(m)
        # H^-1 = L^-T L^-1
        return Mixture(
            log_weights[0].softmax(0), means[0], self.factors @ torch.linalg.inv(torch.linalg.cholesky(h[0])).mT
        )

    def _laws(self, m):
        y = m.y.flatten(1).double()
        weight = m.noise.variance(m.y).flatten(1).double().rsqrt()
        a = matrix(m)
        # all that does not depend on y is computed once for each operator and noise in the batch
        alike = torch.cat([a.flatten(1), weight], 1)
        # unlike rows have unlike products with irrational numbers
        which = (alike * torch.arange(2, alike.shape[1] + 2).to(alike).sqrt()).sum(1).unique(return_inverse=True)[1]
        of = which.new_zeros(int(which.max()) + 1).scatter_(0, which, torch.arange(len(y), device=y.device))
        g = torch.einsum("um,umn,knj->ukmj", weight[of], a[of], self.factors)
        h = torch.eye(g.shape[-1]).to(g) + g.mT @ g
        gain = torch.linalg.solve(h, g.mT)
        mean_of_y = torch.einsum("umn,kn->ukm", a[of], self.means)
        if len(of) > 1:
            g, gain, mean_of_y = g[which], gain[which], mean_of_y[which]
        r = weight[:, None] * (y[:, None] - mean_of_y)
        z = torch.einsum("bkjm,bkm->bkj", gain, r)
        evidence = r.square().sum(2) - torch.einsum("bkm,bkmj,bkj->bk", r, g, z)
        log_weights = self.weights.log() - 0.5 * (torch.logdet(h)[which] + evidence)
        return log_weights, self.means + torch.einsum("knj,bkj->bkn", self.factors, z), h

    def sample(self, count, *key):
        generator = make_generator(self.weights.device, *key)
        k = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        z = torch.randn(count, self.factors.shape[2], generator=generator, dtype=torch.float64, device=k.device)
        return self.means[k] + torch.einsum("bij,bj->bi", self.factors[k], z)

    def marginal_cdf(self, axis):
        """The distribution function of coordinate `axis`, for numpy arrays."""
        laws = [
            (float(p), float(m[axis]), float(c[axis, axis]) ** 0.5)
            for p, m, c in zip(self.weights, self.means, self.covs)
        ]
        return lambda t: sum(p * stats.norm.cdf(t, mean, deviation) for p, mean, deviation in laws)


def matrix(m):
    """A of each measurement (B, M, n) in float64, column by column; rows that are not measured are zero."""
    image = m.operator.image(m.y)
    basis = torch.eye(image[0].numel()).to(image).reshape(-1, *image.shape[1:])
    columns = [m.operator.A(unit.expand_as(image)).flatten(1).double() for unit in basis]
    return torch.stack(columns, 2)


def gaussian(mean, cov):
    """N(mean, cov): mean n numbers, cov n x n."""
    mean, cov = (torch.tensor(value, dtype=torch.float64) for value in (mean, cov))
    return Mixture(torch.ones(1, dtype=torch.float64), mean[None], torch.linalg.cholesky(cov)[None])


def signal(n, k=None, key=0):
    """A Gaussian signal of n numbers in a subspace of k dimensions, mean near 1/2, deviations about .3 k^(1/2)."""
    draw = make_generator("cpu", 9, key)
    mean = 0.5 + 0.1 * torch.randn(1, n, generator=draw, dtype=torch.float64)
    return Mixture(
        torch.ones(1, dtype=torch.float64), mean, 0.3 * torch.randn(1, n, k or n, generator=draw, dtype=torch.float64)
    )


def correlated():
    """A correlated Gaussian in 3 dimensions, deviations 0.27, 0.14 and 0.03."""
    factor = torch.tensor([[0.25, 0.0, 0.0], [0.1, 0.1, 0.0], [0.02, 0.02, 0.02]], dtype=torch.float64)
    return gaussian([0.5, 0.3, 0.7], (factor @ factor.T).tolist())


def bimodal():
    """Three unlike components in 2 dimensions; around y = (0.45, 0.5) at level 0.1 all have weight."""
    covs = [
        [[0.03**2, 0.0], [0.0, 0.05**2]],
        [[0.04**2, 0.0008], [0.0008, 0.04**2]],
        [[0.02**2, 0.0], [0.0, 0.08**2]],
    ]
    return Mixture(
        torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64),
        torch.tensor([[0.30, 0.45], [0.55, 0.60], [0.60, 0.35]], dtype=torch.float64),
        torch.linalg.cholesky(torch.tensor(covs, dtype=torch.float64)),
    )


@dataclass
class Intensity:
    """Independent entries x ~ sum_k p_k Gamma(a_k, rate b_k), seen by counting: shapes, rates and weights (K,)."""

    shapes: torch.Tensor
    rates: torch.Tensor
    weights: torch.Tensor

    def to(self, device):
        return type(self)(*(value.to(device) for value in (self.shapes, self.rates, self.weights)))

    def estimate(self, m):
        """f(m) = E[x | y], for counts of each entry."""
        weights, shapes, rates = self._laws(m)
        return (weights * shapes / rates).sum(-1).to(m.y)

    def posterior(self, m):
        """The law of the one entry that m measured."""
        assert m.y.numel() == 1
        weights, shapes, rates = (value.flatten() for value in self._laws(m))
        return Intensity(shapes, rates.expand_as(shapes), weights)

    def mean(self):
        return (self.weights * self.shapes / self.rates).sum()

    def var(self):
        second = self.shapes * (self.shapes + 1) / self.rates**2
        return (self.weights * second).sum() - self.mean() ** 2

    def cdf(self, t):
        parts = zip(self.weights.tolist(), self.shapes.tolist(), self.rates.tolist())
        return sum(p * stats.gamma.cdf(t, shape, scale=1 / rate) for p, shape, rate in parts)

    def _laws(self, m):
        y = m.y.double()[..., None]
        gain = expand(torch.as_tensor(m.noise.gain, dtype=torch.float64, device=y.device), y)
        shapes, rates = self.shapes + y / gain, self.rates + 1 / gain
        log_weights = (
            self.weights.log()
            + self.shapes * self.rates.log()
            - self.shapes.lgamma()
            + shapes.lgamma()
            - shapes * rates.log()
        )
        return log_weights.softmax(-1), shapes, rates


@dataclass
class Reflectivity(Intensity):
    """Independent entries 1 / x ~ sum_k p_k Gamma(a_k, rate b_k), seen through speckle; shapes above 2."""

    def estimate(self, m):
        """Return f(m) = E[x | y], of intensities of each entry."""
        weights, shapes, rates = self._laws(m)
        return (weights * rates / (shapes - 1)).sum(-1).to(m.y)

    def posterior(self, m):
        """Return the law of the one entry that m measured."""
        assert m.y.numel() == 1
        weights, shapes, rates = (value.flatten() for value in self._laws(m))
        return Reflectivity(shapes.expand_as(rates), rates, weights)

    def mean(self):
        return (self.weights * self.rates / (self.shapes - 1)).sum()

    def var(self):
        second = self.rates**2 / ((self.shapes - 1) * (self.shapes - 2))
        return (self.weights * second).sum() - self.mean() ** 2

    def cdf(self, t):
        parts = zip(self.weights.tolist(), self.shapes.tolist(), self.rates.tolist())
        return sum(p * stats.invgamma.cdf(t, shape, scale=rate) for p, shape, rate in parts)

    def _laws(self, m):
        y = m.y.double()[..., None]
        looks = expand(torch.as_tensor(m.noise.looks, dtype=torch.float64, device=y.device), y)
        shapes, rates = self.shapes + looks, self.rates + looks * y
        evidence = self.shapes * self.rates.log() - self.shapes.lgamma() + shapes.lgamma() - shapes * rates.log()
        return (self.weights.log() + evidence).softmax(-1), shapes, rates


def one_gamma(shape, rate):
    return Intensity(*(torch.tensor([value], dtype=torch.float64) for value in (shape, rate, 1.0)))


def reflectivity(shapes, rates, weights):
    return Reflectivity(*(torch.tensor(value, dtype=torch.float64) for value in (shapes, rates, weights)))


def two_gammas():
    """Two modes, near 2 and near 8."""
    return Intensity(*(torch.tensor(value, dtype=torch.float64) for value in ([6.0, 60.0], [3.0, 7.5], [0.6, 0.4])))


def repeated(m, count):
    """One measurement, as a batch of `count`."""
    return replace(m, y=m.y.expand(count, *m.y.shape[1:]))


def noisy(y, sigma):
    """y (B, ...) as images in white noise."""
    return Measurement(y, Identity(), Gaussian(sigma))


def check_law(x, law, allowance):
    """The sample x (S, n) has the mean and covariance of the mixture `law`, in standard errors, and lies in its range.

    In the axes in which cov is I the standard errors of its entries are (2 / S)^(1/2) and (1 / S)^(1/2). allowance: of
    the discretisation, in them.
    """
    x, size = x.double(), len(x)
    variance, axes = torch.linalg.eigh(law.cov())
    seen = variance > 1e-9 * variance.max()
    torch.testing.assert_close((x - law.mean()) @ axes[:, ~seen], torch.zeros_like(x[:, ~seen]), atol=1e-5, rtol=0)
    white = (x - law.mean()) @ axes[:, seen] / variance[seen].sqrt()
    assert float(white.mean(0).abs().max()) < 4 / size**0.5
    error = torch.cov(white.T) - torch.eye(white.shape[1]).to(white)
    assert float(error.abs().max()) < 4 * (2 / size) ** 0.5 + allowance


@dataclass
class ReadOut:
    """Entries that take the values x (G,) with these weights (G,), seen as photons that a camera reads out.

    p(y | x) is a sum over the counts, and E[x | y] is taken from a table of y, between whose lines it is linear.
    """

    x: torch.Tensor
    weights: torch.Tensor
    counts: int = 64

    def to(self, device):
        return ReadOut(self.x.to(device), self.weights.to(device), self.counts)

    def log_likelihood(self, y, noise):
        """log p(y | x) (Y, G) of the values y (Y,)."""
        gain, read, offset = (float(value.flatten()[0]) for value in (noise.gain, noise.read, noise.offset))
        k = torch.arange(self.counts).to(y)
        mean = ((self.x - offset) / gain).clamp_min(1e-9)[:, None]
        log_count = k * mean.log() - mean - (k + 1).lgamma()
        z = (y[:, None] - offset - gain * k) / read
        return torch.logsumexp(log_count - z[:, None].square() / 2, -1)

    def estimate(self, m):
        y = m.y.double()
        gain, read = (float(value.flatten()[0]) for value in (m.noise.gain, m.noise.read))
        table = torch.linspace(float(y.min()), float(y.max()), 201, dtype=torch.float64, device=y.device)
        enough = int(float(y.max() - m.noise.offset) / gain + 8 * read / gain + 20)
        law = ReadOut(self.x, self.weights, max(enough, 20))
        means = torch.softmax(law.log_likelihood(table, m.noise) + self.weights.log(), 1) @ self.x
        place = (y - table[0]) / (table[1] - table[0]).clamp_min(1e-12)
        low = place.floor().long().clamp(0, 199)
        return torch.lerp(means[low], means[low + 1], place - low).to(m.y)

    def posterior(self, m):
        """The weights (G,) given the one measurement m."""
        return torch.softmax(self.log_likelihood(m.y.flatten().double(), m.noise)[0] + self.weights.log(), 0)
