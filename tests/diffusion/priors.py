"""Signals whose denoiser and posterior are known in closed form: mixtures of one Gaussian or several.

If x ~ sum_k p_k N(m_k, C_k) and y = x + s n, then p(x | y) = sum_k p_k(y) N(m_k(y), C_k(y)) with

    C_k(y) = s^2 C_k (C_k + s^2)^-1
    m_k(y) = m_k + C_k (C_k + s^2)^-1 (y - m_k)
    p_k(y) ~ p_k N(y; m_k, C_k + s^2)
"""

from dataclasses import dataclass

import torch
from scipy.stats import norm


@dataclass
class Mixture:
    """weights (K,), means (K, d), covs (K, d, d), all in one dtype and on one device."""

    weights: torch.Tensor
    means: torch.Tensor
    covs: torch.Tensor

    def to(self, like):
        return Mixture(*(t.to(like) for t in (self.weights, self.means, self.covs)))

    def mean(self):
        return self.weights @ self.means

    def cov(self):
        gap = self.means - self.mean()
        return torch.einsum("k,kij->ij", self.weights, self.covs + gap[:, :, None] * gap[:, None, :])

    def denoise(self, x, sigma):
        """E[x0 | x_s = x], x (B, ...) with d numbers a sample, sigma (B,)."""
        assert sigma.shape == (len(x),), "a denoiser is called with one level per sample"
        variance, vectors = torch.linalg.eigh(self.covs)  # (K, d), (K, d, d)
        z = torch.einsum("bki,kij->bkj", x.reshape(len(x), 1, -1) - self.means, vectors)
        total = variance + sigma[:, None, None] ** 2  # (B, K, d)
        log_weight = self.weights.log() - 0.5 * (total.log() + z**2 / total).sum(2)
        mean = self.means + torch.einsum("bkj,kij->bki", z * variance / total, vectors)
        return (log_weight.softmax(1)[:, :, None] * mean).sum(1).reshape(x.shape)

    def posterior(self, y, sigma_n, s=0.0):
        """The law of x_s given y (d,) at level sigma_n, 0 <= s <= sigma_n; s = 0 is x itself."""
        eye = torch.eye(len(y), dtype=y.dtype, device=y.device)
        total = self.covs + sigma_n**2 * eye
        gain = self.covs @ torch.linalg.inv(total)
        gap = y - self.means
        log_weight = self.weights.log() - 0.5 * (
            torch.logdet(total) + torch.einsum("ki,kij,kj->k", gap, torch.linalg.inv(total), gap)
        )
        mean = self.means + torch.einsum("kij,kj->ki", gain, gap)
        cov = sigma_n**2 * gain
        b = (s / sigma_n) ** 2  # x_s | x, y ~ N(x + b (y - x), s^2 (1 - b) I): a bridge
        return Mixture(log_weight.softmax(0), mean + b * (y - mean), (1 - b) ** 2 * cov + s**2 * (1 - b) * eye)

    def sample(self, n, generator):
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        w = torch.randn(n, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[k] + torch.einsum("bij,bj->bi", torch.linalg.cholesky(self.covs)[k], w)

    def marginal_cdf(self, axis):
        """The distribution function of coordinate `axis`, for numpy arrays."""
        p, m, v = (
            self.weights.cpu().numpy(),
            self.means[:, axis].cpu().numpy(),
            self.covs[:, axis, axis].cpu(),
        )
        return lambda t: sum(a * norm.cdf(t, b, c**0.5) for a, b, c in zip(p, m, v.numpy()))


def gaussian(mean, cov):
    """N(mean, cov) as a Mixture of one: mean d numbers, cov d x d."""
    mean, cov = (torch.tensor(v, dtype=torch.float64) for v in (mean, cov))
    return Mixture(torch.ones(1, dtype=torch.float64), mean[None], cov[None])


def correlated():
    """A correlated Gaussian in 3 dimensions, deviations 0.27, 0.14 and 0.03."""
    factor = torch.tensor([[0.25, 0.0, 0.0], [0.1, 0.1, 0.0], [0.02, 0.02, 0.02]], dtype=torch.float64)
    return gaussian([0.5, 0.3, 0.7], (factor @ factor.T).tolist())


def bimodal():
    """Three unlike components in 2 dimensions; around y = (0.45, 0.5) at sigma_n = 0.1 all have weight."""
    tensor = torch.tensor
    return Mixture(
        tensor([0.4, 0.3, 0.3], dtype=torch.float64),
        tensor([[0.30, 0.45], [0.55, 0.60], [0.60, 0.35]], dtype=torch.float64),
        tensor(
            [
                [[0.03**2, 0.0], [0.0, 0.05**2]],
                [[0.04**2, 0.0008], [0.0008, 0.04**2]],
                [[0.02**2, 0.0], [0.0, 0.08**2]],
            ],
            dtype=torch.float64,
        ),
    )
