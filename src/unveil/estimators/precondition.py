"""f(m), an estimate of E[x | y] for y = A x + n of level sigma, around any network g.

For a white signal of mean mu and deviation v (sigma_data) the best estimate and the covariance of its error are

    W y = argmin_x |A x - y|^2 + lambda |x - mu|^2,    C = sigma^2 (A^T A + lambda I)^-1,    lambda = sigma^2 / v^2

The network adds what a white signal does not know, as large as that error allows:

    f(m) = W y + E g,     E = C^(1/2)

Where A sees nothing, E is v at every level; where A sees best, with the singular value 1, it is
sigma v / (sigma^2 + v^2)^(1/2), so that f tends to the data as sigma -> 0, whatever g is. g sees inputs of unit
variance, and has a target of unit variance, at every level. For A = I this is the preconditioning of Karras et al. 2022
(https://arxiv.org/abs/2206.00364, table 1). Where no function of A^T A but its inverse is within reach (several coils,
rays),

    E = v (q I + (1 - q) N) ~ C^(1/2),     N = lambda (A^T A + lambda I)^-1,   q = sigma / (sigma^2 + v^2)^(1/2)

with sigma in units in which A's largest singular value is 1: right at both ends. With a `Stationary` prior W y is the
best linear estimate under the spectrum that it learned: it fills in what neighbours tell of missing pixels and colours,
from where the network goes on; E stays that of a white signal, which errs on the side of too much freedom. With more
iterations f goes on from x_k = f_k: x_k+1 = x_k + E g_k+1, applied after a step towards the data,

    x_k <- argmin_x |A x - y|^2 + lambda_k |x - x_k|^2

the proximal steps of unrolled networks (Aggarwal, Mani and Jacob 2019, https://doi.org/10.1109/TMI.2018.2865356), with
weights lambda_k that are learned and one g for all.

An ideal camera beside y, x_t = x + t^(-1/2) w, leaves of the white signal N(mu, v^2) the law N(z, v_t^2),

    v_t^2 = 1 / (t + 1 / v^2),    z = v_t^2 (t x_t + mu / v^2)

and all of the above holds with z and v_t in the place of mu and v: at t = 0 it is the f that knows no camera, and as t
grows f tends to x_t. g is shown x_t as well, and told its level.

Where noise differs from pixel to pixel and A is a mask of pixels, sigma, lambda and E are of each pixel, and all of
this is exact for white signals; c is that of the pixels' geometric mean. On photographs with 1% of pixels ten times as
noisy as usual this gained .6 dB over one level for all after 200 steps, on a validation split. (ours)
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unveil.errors import UnveilError
from unveil.estimators.stationary import Stationary
from unveil.measurement import Measurement
from unveil.operators.base import Operator
from unveil.shapes import expand

__all__ = ["Preconditioned", "inputs", "signal_statistics"]

LOWEST_RATIO = 1e-4
"""sigma / v is bounded below by it: less noise than a 12-bit sensor's rounding."""


LEAST_LOOK = 1e-2
"""t^(1/2) v is bounded below by it where g is told the camera's level: at t = 0 it would be infinite."""


def inputs(
    operator: Operator, additive: bool = True, prior: bool = False, iterations: int = 1, camera: bool = False
) -> int:
    """Return how many images (C, H, W) the network of such measurements is shown.

    W y; A^T y, where that is not W y up to a factor, and where g is applied again, to an estimate that is no W y; a map
    of the noise's deviation, where that differs by the signal or the place (`additive` is of one level); what a camera
    beside y saw.
    """
    return 1 + camera + (prior or iterations > 1 or not operator.projects) + (not additive)


class Preconditioned(nn.Module):
    """f(m) -> x_hat (B, C, H, W).

    backbone:   g(u, c) -> (B, C, H, W) from u (B, k C, H, W), of about unit variance, and c (B,), the log
                noise-to-signal ratio ln(sigma / v) / 4; e.g. `UNet(k C, ..., out_channels=C)`, k = `inputs`.
    mean, std:  mu and v, of the images, in their units.
    scale:      the largest singular value of A, `Operator.spectral_norm`.
    views:      k, how many images g is shown, `inputs`: it must be that of the measurements.
    iterations: how often g is applied; between two of them a proximal step towards the data.
    prior:      in whose W y f begins; None: white signals.
    camera:     whether f knows measurements with an ideal camera beside them (`Measurement.beside`); g is then shown
                what it saw, and c is (B, 2), with ln(t^(1/2) v) / 4.
    Raises UnveilError when v is not > 0 or iterations < 1, when g has batch normalization, and when called, for
    measurements of which g must be shown more or fewer images.
    """

    scale: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        mean: float = 0.5,
        std: float = 0.25,
        *,
        scale: float = 1.0,
        views: int = 1,
        iterations: int = 1,
        prior: Stationary | None = None,
        camera: bool = False,
    ) -> None:
        super().__init__()
        if not std > 0:
            raise UnveilError(f"std must be > 0, not {std}: give the signals' standard deviation")
        if iterations < 1:
            raise UnveilError(f"iterations is {iterations}: the network is applied at least once")
        for name, module in backbone.named_modules():
            if isinstance(module, _BatchNorm):  # not instance normalization, which keeps the samples apart
                raise UnveilError(
                    f"the backbone's {name or 'only module'} is {type(module).__name__}, which couples the samples of "
                    "a batch and so biases the divergence: use group normalization or none"
                )
        self.backbone = backbone
        self.mean = mean
        self.std = std
        self.views = views
        self.log_weights = nn.Parameter(torch.zeros(iterations - 1))
        self.prior = prior
        self.camera = camera
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, m: Measurement) -> Tensor:
        """Return x_hat (B, C, H, W) of the measurement m."""
        whole = m
        m, root, scaled = m.apart()
        if not self.camera and m is not whole:
            raise UnveilError("the network knows no camera beside y: train it with loss.camera > 0")
        pixels = m.operator.projects and m.operator.image(m.y).shape == m.y.shape
        if m.noise.mapped and pixels and self.prior is None and not self.camera:
            return self._by_pixel(m)
        A, y, wide = m.operator, m.y, expand(root, scaled)
        v = self.std / (1 + (root * self.std).square()).sqrt()
        centre = A.image(y) + self.mean
        centre = centre + expand(v, scaled).square() * wide * (scaled - wide * centre)
        ratio = (m.level / v / self.scale).clamp_min(LOWEST_RATIO)
        lambda_ = (self.scale * ratio) ** 2
        if self.prior is None:
            x = A.prox_l2(centre, y, 1 / lambda_)
            shown = [(x - centre) * expand((1 + ratio**2).sqrt() / v, x)]
        else:
            x = self.prior.estimate(whole)
            shown = [(x - centre) / expand(v, x)]
        beside, c = self._beside(m, centre, v, ratio), ratio.log() / 4
        if self.camera:
            beside.append((scaled - wide * self.mean) / expand((1 + (root * self.std).square()).sqrt(), scaled))
            c = torch.stack([c, (root * self.std).clamp_min(LEAST_LOOK).log() / 4], 1)
        x = x + self._error(A, self._network([*shown, *beside], c, y), lambda_, ratio, v)
        for log_weight in self.log_weights:
            x = A.prox_l2(x, y, 1 / (lambda_ * (3 + log_weight).exp()))
            x = x + self._error(A, self._network([(x - centre) / expand(v, x), *beside], c, y), lambda_, ratio, v)
        return x

    def _by_pixel(self, m: Measurement) -> Tensor:
        """Return x_hat where each pixel has a level of its own, sigma_i at the image's brightness, so lambda_i."""
        A, y, v = m.operator, m.y, self.std
        about = expand(A.mean(y), y).expand_as(y)
        ratio = (m.noise.variance(about).clamp_min(0).sqrt() / v).clamp_min(LOWEST_RATIO)
        lambda_, whole = ratio**2, (1 + ratio**2).sqrt()
        centre = A.image(y) + self.mean
        x = centre + A.A_adjoint(y - A.A(centre)) / (1 + lambda_)
        deviation = A.A_adjoint(m.noise.estimated_variance(y)).clamp_min(0).sqrt() / (v * whole)
        c = ratio.log().flatten(1).mean(1) / 4
        for k in range(1 + len(self.log_weights)):
            if k:
                weight = (3 + self.log_weights[k - 1]).exp()
                x = x + A.A_adjoint(y - A.A(x)) / (1 + lambda_ * weight)
            shown = (x - centre) * (whole if k == 0 else 1.0) / v
            back = [A.A_adjoint(y - A.A(centre)) / (v * whole)] if len(self.log_weights) else []
            g = self._network([shown, *back, deviation], c, y)
            root = A.gram(g, lambda e: (lambda_ / (e + lambda_)).sqrt())
            assert root is not None
            x = x + v * root
        return x

    def _beside(self, m: Measurement, centre: Tensor, v: Tensor, ratio: Tensor) -> list[Tensor]:
        """Return what g is shown besides the present estimate."""
        A, beside, unit = m.operator, [], expand(v * (1 + ratio**2).sqrt(), centre)
        if self.prior is not None or len(self.log_weights) or not A.projects:
            beside.append(A.A_adjoint(m.y - A.A(centre)) / (self.scale**2 * unit))
        if m.noise.uneven:
            beside.append(A.A_adjoint(m.noise.estimated_variance(m.y)).clamp_min(0).sqrt() / unit)
        return beside

    def _network(self, shown: list[Tensor], c: Tensor, y: Tensor) -> Tensor:
        if len(shown) != self.views:
            raise UnveilError(
                f"the network is shown {len(shown)} images of such measurements (the estimate, A^T y, a map of the "
                f"noise) and was made for {self.views}: build it for this operator and this noise"
            )
        residual: Tensor = self.backbone(torch.cat(shown, 1), c)
        return residual.to(y.dtype)

    def _error(self, A: Operator, g: Tensor, lambda_: Tensor, ratio: Tensor, v: Tensor) -> Tensor:
        """Return E g (B, C, H, W)."""
        root = A.gram(g, lambda e: (expand(lambda_, g) / (e + expand(lambda_, g))).sqrt())
        if root is None:
            q = expand(ratio / (1 + ratio**2).sqrt(), g)
            root = q * g + (1 - q) * expand(lambda_, g) * A.inverse(g, lambda_)
        return expand(v, g) * root


def signal_statistics(m: Measurement, floor: float) -> tuple[Tensor, Tensor]:
    """Return (mean, v), each (B,): mean and estimated signal deviation of y.

    v^2 = max(var(y) - sigma^2, 0) + (floor sigma)^2: both are equivariant, (a mean + mu, a v) for a y + mu at a sigma.
    """
    flat, sigma = m.y.flatten(1), m.level
    variance = (flat.var(1, unbiased=False) - sigma**2).clamp_min(0)
    return flat.mean(1), (variance + (floor * sigma) ** 2).sqrt().clamp_min(torch.finfo(m.y.dtype).tiny)
