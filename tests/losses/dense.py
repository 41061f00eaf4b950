"""Linear estimators of dense operators, for closed forms: of the mean loss, over the noise and the symmetry, by
matrices."""

import torch
from loss_statistics import check_zero

from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import Operator
from unveil.random import make_generator

IMAGE, N, M = (1, 4, 6), 24, 12


class Matrix(Operator):
    """a (1 or B, m, n), one matrix for all measurements or one for each; y is (1, 1, m)."""

    rows = ("measured", "a")
    image_shape = IMAGE

    def __init__(self, a, measured=None):
        self.a, self.measured = a, measured
        self.measurement_shape = (1, 1, a.shape[1])

    def _apply(self, x):
        return (self.a @ x.flatten(1)[..., None]).reshape(len(x), 1, 1, -1)

    def _adjoint(self, y):
        return (self.a.mT @ y.flatten(1)[..., None]).reshape(len(y), *IMAGE)


def random(device, *shape, key=0):
    return torch.randn(shape, generator=make_generator(device, 9, key), dtype=torch.float64, device=device)


class LinearCase:
    """x (B, *IMAGE), A (M, N) of which 3 rows are not measured, f(y) = F y, levels (B,) a factor 4 apart; B = M, the
    width.

    Of counts all numbers are positive, so that what is simulated can be counted.
    """

    def __init__(self, device, family="gaussian"):
        factor = 4 ** torch.linspace(0, 1, M, device=device, dtype=torch.float64)
        x, a = 0.3 * random(device, M, *IMAGE, key=1), random(device, M, N, key=2)
        keep = torch.ones(1, 1, 1, M, device=device, dtype=torch.bool)
        keep[..., [1, 4, 5]] = False
        if family == "gaussian":
            self.x, a, self.noise = 0.5 + x, a / N**0.5, Gaussian(0.15 * factor)
            self.F = 0.5 * random(device, N, M, key=3) / M**0.5 + a.mT
        else:
            pairs = torch.eye(M).to(x).repeat_interleave(2, 1)
            uneven = pairs * torch.tensor([0.3, 1.0]).to(x).repeat(M)
            self.x, a, self.noise = 0.2 + x.abs(), uneven + 0.2 * a.abs() / N, Poisson(0.01 * factor**2)
            self.F = 0.7 * pairs.mT + 0.2 * random(device, N, M, key=3).abs() / M
        self.operator = Matrix(a[None], keep)
        self.keep = keep.flatten()
        self.A = a * self.keep[:, None]
        self.signal = self.x.flatten(1)

    def f(self, m):
        return (m.y.flatten(1) @ self.F.mT).reshape(len(m), *IMAGE)

    def measure(self, generator):
        return Measurement(self.noise.sample(self.operator.A(self.x), generator), self.operator, self.noise)

    def variance(self, noise, x):
        """The variances (..., B, M) of measurements of x (..., B, N), 0 where nothing is measured; affine in x."""
        if isinstance(noise, Gaussian):
            return (noise.sigma**2)[:, None] * self.keep.to(x).expand(*x.shape[:-1], M)
        return noise.gain[:, None] * (x @ self.A.mT)

    def actions(self, symmetry):
        """T_g (|G|, N, N) of all elements; the identity where there is no symmetry."""
        basis = torch.eye(N, dtype=self.x.dtype, device=self.x.device)
        if symmetry is None:
            return basis[None]
        images = basis.reshape(N, *IMAGE)
        elements = symmetry.elements(IMAGE).to(self.x)
        return torch.stack([symmetry.apply(images, g.expand(N, -1)).flatten(1).mT for g in elements])

    def squared(self, matrix, mean, spread, noise, t, judge):
        """E |matrix z + judge F w|^2 (B,), mean over g, of z of mean (B, N) and covariance F diag(spread) F^T, and the
        noise w of T_g z. matrix, judge (|G|, K, N), t (|G|, N, N), spread (B, M)."""
        gain = judge @ self.F  # (|G|, K, M)
        fixed = (matrix @ mean.mT).square().sum(1)  # (|G|, B)
        drawn = torch.einsum("gkm,bm->gb", (matrix @ self.F).square(), spread)
        again = torch.einsum("gkm,gbm->gb", gain.square(), self.variance(noise, mean @ t.mT))
        return (fixed + drawn + again).mean(0)

    def again(self, symmetry, mean, spread, noise, seen=False):
        """E |T_g z - f(A T_g z + w)|^2 / n (B,), or E |A T_g^T (that)|^2 / m; z as in `squared`, w ~ noise."""
        t = self.actions(symmetry)
        eye = torch.eye(N).to(t)
        error = (eye - self.F @ self.A) @ t
        if not seen:
            return self.squared(error, mean, spread, noise, t, eye.expand_as(t)) / N
        judge = self.A @ t.mT
        return self.squared(judge @ error, mean, spread, noise, t, judge) / self.keep.sum()


def check_ratio(value_of, expected_of, repeats, what, sensitivity=0.04):
    """Raises Biased unless value / expected (B,) has the mean 1; returns it less 1.

    Both: number of the repeat -> (B,).
    """
    with torch.no_grad():
        rows = torch.stack([value_of(r) / expected_of(r) for r in range(repeats)])
    check_zero(rows - 1, what, sensitivity)
    return rows - 1
