"""Is a risk unbiased? One check for the risks of the library and for the wrong ones that it must reject.

D = (risk - |A f(y_in, s_in) - A x|^2 / m) / s_in^2 per sample, over many draws of the noise of a fixed x, where
(y_in, s_in) is what the risk showed to the estimator first. Of an unbiased risk every mean is zero: that of each
sample, not only the mean over the batch, in which errors may cancel. And the noise of y_in must be s_in, or the
estimator is trained at a level that it is not told.

The batch is as long as the image is wide, so that a level (B,) that meets an image unexpanded broadcasts over its
columns without an error, and the levels differ by a factor four, so that this shows.
"""

import math
from dataclasses import dataclass

import torch

from unveil.problem import Problem
from unveil.random import make_generator, normal
from unveil.risks import (
    R2R,
    SURE,
    AmbientTweedie,
    ExactDivergence,
    LogUniform,
    MonteCarloDivergence,
    Risk,
    Supervised,
)
from unveil.shapes import expand

B = W = 48


class Biased(AssertionError):
    """The statistics refuse a risk."""


class Recorder:
    """An estimator that keeps the first input of each call of a risk, and its output's parameters' graph."""

    def __init__(self, f):
        self.f = f
        self.first = None

    def __call__(self, y, sigma):
        if self.first is None:
            self.first = (y.detach(), sigma.detach())
        return self.f(y, sigma)


class Spy(Risk):
    """A risk that only keeps what it is given."""

    def __call__(self, f, y, sigma, generator):
        self.y, self.sigma = y, sigma
        return f(y, sigma).flatten(1).mean(1)


# --- estimators: image -> image, coupled between pixels, dependent on the level, with a divergence of about m / 2


def turned(z):
    """i z of complex data in two real channels."""
    return torch.stack([-z[:, 1], z[:, 0]], 1) if z.shape[1] == 2 else z.flip(-1)


def linear(z, sigma):
    """(g + 0.3 i) z, plus a share of the left-hand neighbour that depends on the level: complex-linear."""
    g = expand(0.4 + sigma, z)
    return g * z + (0.8 - g) * z.roll(1, -1) + 0.02 * turned(z)


def nonlinear(z, sigma):
    """Shrinkage that bends on the scale of the noise, and a quadratic term that couples neighbours."""
    s = expand(3 * sigma, z)
    return z - 0.6 * s * torch.tanh((z - z.roll(1, -1)) / s) + 0.2 * z * z.roll(-1, -1)


ESTIMATORS = {"linear": linear, "nonlinear": nonlinear}


# --- problems: what lifts a measurement to an image comes with each, so that an estimator is f(lift(y), sigma)


class Pooling:
    """Means over pairs of columns: m = n / 2."""

    def A(self, x):
        return (x[..., ::2] + x[..., 1::2]) / 2

    def A_adjoint(self, y):
        return y.repeat_interleave(2, -1) / 2


class Fourier:
    """The unitary Fourier transform along W of complex images in two channels, after a complex weight."""

    def __init__(self, width):
        self.weight = torch.polar(torch.linspace(0.7, 1.3, width).double(), torch.arange(width).double())

    def A(self, x):
        z = torch.view_as_complex(x.movedim(1, -1).contiguous()) * self.weight.to(x.device)
        return torch.view_as_real(torch.fft.fft(z, norm="ortho")).movedim(-1, 1).to(x.dtype)

    def A_adjoint(self, y):
        z = torch.fft.ifft(torch.view_as_complex(y.movedim(1, -1).contiguous()), norm="ortho")
        return torch.view_as_real(z * self.weight.conj().to(y.device)).movedim(-1, 1).to(y.dtype)


@dataclass
class Case:
    """A problem, its signal x (B, *image), the levels (B,), and the lift of a measurement to an image."""

    problem: Problem
    x: torch.Tensor
    sigma: torch.Tensor
    lift: object = staticmethod(lambda y: y)
    junk: float = 0.0

    @property
    def clean(self):
        return self.problem.predict(self.x)

    def measure(self, generator):
        """y: noisy where measured; `junk`, which nothing may depend on, elsewhere."""
        y = self.clean + expand(self.sigma, self.clean) * normal(self.clean, generator)
        return self.problem.project(y) + self.junk * (1 - self.problem.project(torch.ones_like(y)))

    def estimator(self, g):
        return lambda y, sigma: g(self.lift(y), sigma)


PROBLEMS = ("identity", "mask", "masks per sample", "columns", "pooling", "masked pooling", "complex")


def make_case(name, device, dtype, channels=2, height=2, width=W, batch=B):
    generator = make_generator(device, 5)
    like = torch.empty(batch, channels, height, width, device=device, dtype=dtype)
    image = like.repeat_interleave(2, -1) if "pooling" in name else like
    x = 0.5 + 0.3 * torch.cumsum(normal(image, generator), -1) / image.shape[-1] ** 0.5
    sigma = 0.05 * 4 ** torch.linspace(0, 1, batch, device=device, dtype=dtype)
    keep = torch.rand(like.shape, generator=generator, device=device) < 0.6
    shape = tuple(image.shape[1:])
    if name == "identity":
        return Case(Problem(), x, sigma)
    if name == "mask":
        return Case(Problem(None, keep[0]), x, sigma, junk=1.0)
    if name == "masks per sample":
        return Case(Problem(None, keep[:, :1]), x, sigma)
    if name == "columns":  # as wide as the batch: no mask of the samples
        return Case(Problem(None, keep[0, 0, :1]), x, sigma, junk=1.0)
    if name == "pooling":
        return Case(Problem(Pooling(), None, shape), x, sigma, lambda y: y.repeat_interleave(2, -1))
    if name == "masked pooling":
        return Case(Problem(Pooling(), keep, shape), x, sigma, lambda y: y.repeat_interleave(2, -1), junk=1.0)
    operator = Fourier(width)
    return Case(Problem(operator, keep[:, :, :1], shape), x, sigma, operator.A_adjoint)


# --- the registry: name -> (problem, x) -> risk. `exact` costs m backward passes: for small images only

BASE = {
    "supervised": lambda problem, x: Supervised(x, problem),
    "sure": lambda problem, x: SURE(problem=problem),
    "sure, quarter": lambda problem, x: SURE(MonteCarloDivergence(part=0.25), problem),
    "r2r .5": lambda problem, x: R2R(0.5, problem),
    "r2r 1.5": lambda problem, x: R2R(1.5, problem),
    "ambient": lambda problem, x: AmbientTweedie(LogUniform(1.4, 3.0), problem=problem),
}
RISKS = BASE | {"sure, exact": lambda problem, x: SURE(ExactDivergence(), problem)}


# --- statistics


def differences(risk, case, g, repeats, key=1, target=None):
    """(D (R, B), noise (R, B)): see the module; noise is |y_in - target|^2 / m / s_in^2.

    target: generator -> the noiseless A x' behind y_in, when it is not A x.
    """
    rows, noise, problem = [], [], case.problem
    with torch.no_grad():
        for r in range(repeats):
            y = case.measure(make_generator(case.x.device, key, r, 1))
            f = Recorder(case.estimator(g))
            value = risk(f, y, case.sigma, make_generator(case.x.device, key, r, 2))
            y_in, s_in = f.first
            clean = case.clean if target is None else target(make_generator(case.x.device, key, r, 2))
            error = problem.predict(case.estimator(g)(y_in, s_in)) - clean
            if value.shape != (y.shape[0],):
                raise Biased(f"a risk of shape {tuple(value.shape)}")
            rows.append((value - mean_square(problem, error)) / s_in**2)
            noise.append(mean_square(problem, y_in - clean) / s_in**2)
    return torch.stack(rows).double(), torch.stack(noise).double()


def mean_square(problem, r):
    """|r|^2 / m (B,), written apart from the library's: the sum over measured entries by their number."""
    keep = torch.ones_like(r, dtype=torch.bool)
    if problem.measured is not None:
        keep = keep & problem.measured
    squares = torch.where(keep, r.double().square(), 0.0)
    return (squares.flatten(1).sum(1) / keep.flatten(1).sum(1)).to(r.dtype)


def check_zero(d, what, sensitivity=0.03, floor=2e-4):
    """Raises Biased unless d (R, B), R independent rows, has mean zero, over all and per sample.

    sensitivity: what the standard error of the grand mean must not exceed, for the check to mean something.
    floor:       the error of single precision.
    """
    if not d.isfinite().all():
        raise Biased(f"{what} is not finite")
    rows = d.mean(1)
    error = max(float(rows.std() / len(rows) ** 0.5), floor)
    assert error < sensitivity, f"{what}: a standard error of {error:.3g} sees nothing; repeat more"
    z = float(rows.mean()) / error
    if abs(z) > 4:
        raise Biased(f"{what}: mean {rows.mean():.3g}, {z:.1f} standard errors")
    each = d.mean(0) / (d.std(0) / len(d) ** 0.5).clamp_min(floor * 5)
    excess = float(each.square().sum() - d.shape[1]) / math.sqrt(2 * d.shape[1])
    if excess > 6:
        raise Biased(f"{what}: the samples' means scatter {excess:.1f} deviations too much")


def check_unbiased(risk, case, g, repeats=40, key=1, target=None, sensitivity=0.03):
    """Raises Biased when `risk` is not an unbiased estimate, at a level told truly."""
    d, noise = differences(risk, case, g, repeats, key, target)
    check_zero(d, "risk - supervised risk", sensitivity)
    check_zero(noise - 1, "level of the estimator's input", sensitivity)


def count_graph(tensor):
    """How many nodes the autograd graph of `tensor` has."""
    seen, todo = set(), [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo.extend(child for child, _ in node.next_functions)
    return len(seen)


def draw(case, key=3):
    """(y, sigma) of a case."""
    return case.measure(make_generator(case.x.device, key)), case.sigma
