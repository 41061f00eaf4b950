"""Is a loss unbiased? One check for the losses of the library and for the wrong ones that it must reject.

D = (loss - |A f(m_in) - A x|^2 / m) / v_in per sample, over many draws of the noise of a fixed x, where m_in is what
the loss showed to the estimator first and v_in the mean variance that the noise told with it has at A x. Of an unbiased
loss every mean
is zero: that of each sample, not only the mean over the batch, in which errors may cancel. And the noise of y_in must
be that which is told, or the estimator is trained at a level other than the one it hears of.

The batch is as long as the image is wide, so that a level (B,) that meets an image unexpanded broadcasts over its
columns without an error, and the levels differ by a factor four, so that this shows.
"""

import math
from dataclasses import dataclass

import torch
from scipy import stats

from unveil.instruments.inpainting.operator import Inpainting
from unveil.losses import LogUniform, Loss, Recorruption, Stein, Supervised
from unveil.measurement import Measurement
from unveil.noise import Correlated, Gamma, Gaussian, Noise, Poisson, PoissonGaussian
from unveil.operators import Operator, birdcage_coils, blur, demosaicing, mri
from unveil.operators.identity import Identity
from unveil.random import make_generator, normal
from unveil.shapes import expand

B = W = 48


class Biased(AssertionError):
    """The statistics refuse a loss."""


class Recorder:
    """An estimator that keeps the first measurement that a loss shows to it."""

    def __init__(self, f):
        self.f = f
        self.first = None

    def __call__(self, m):
        if self.first is None:
            self.first = m
        return self.f(m)


class Spy(Loss):
    """A loss that only keeps what it is given."""

    def __call__(self, f, m, generator):
        self.m = m
        return f(m).flatten(1).mean(1)


# --- estimators: image -> image, coupled between pixels, dependent on the level, with a divergence of about m / 2


def turned(z):
    """i z of complex data in two real channels."""
    return torch.stack([-z[:, 1], z[:, 0]], 1) if z.shape[1] == 2 else z.flip(-1)


def linear(z, sigma):
    """(g + 0.02 i) z, plus a share of the left-hand neighbour that depends on the level: complex-linear."""
    g = expand(0.4 + sigma, z)
    return g * z + (0.9 - g) * z.roll(1, -1) + 0.02 * turned(z)


def nonlinear(z, sigma):
    """Shrinkage that bends on the scale of the noise, and a quadratic term that couples neighbours. Both as large as
    the noise: a larger error of f would drown what is tested."""
    s = expand(3 * sigma, z)
    return z - 0.6 * s * torch.tanh((z - z.roll(1, -1)) / s) + 0.2 * s * z * z.roll(-1, -1)


ESTIMATORS = {"linear": linear, "nonlinear": nonlinear}


def estimator(g):
    """f(m) = g(A^+ y + 0.5 where A sees nothing, level): f knows which entries it is shown."""

    def f(m):
        unseen = 1 - m.operator.A_dagger(torch.ones_like(m.y)) if isinstance(m.operator, Inpainting) else 0
        return g(m.operator.A_dagger(m.y) + 0.5 * unseen, m.level)

    return f


# --- cases: an instrument, its noise, and a signal


class Binning(Operator):
    """Sums over pairs of columns: m = n / 2."""

    def __init__(self, image_shape, measured=None):
        self.image_shape = image_shape
        self.measurement_shape = (*image_shape[:-1], image_shape[-1] // 2)
        self.measured = measured

    def _apply(self, x):
        return x[..., ::2] + x[..., 1::2]

    def _adjoint(self, y):
        return y.repeat_interleave(2, -1)

    def A_dagger(self, y):
        return self.A_adjoint(y) / 2


@dataclass
class Case:
    """An operator, its noise of B levels, and the signal x (B, *image) that is measured.

    junk: what y holds where nothing is.
    """

    operator: Operator
    noise: Noise
    x: torch.Tensor
    junk: float = 0.0

    @property
    def clean(self):
        return self.operator.A(self.x)

    @property
    def scale(self):
        """(B,): the mean variance of y."""
        return mean_over(self.operator, self.noise.variance(self.clean))

    def measure(self, generator):
        """y: noisy where measured; `junk`, which nothing may depend on, elsewhere."""
        y = self.operator.project(self.noise.sample(self.clean, generator))
        y = y + self.junk * (1 - self.operator.project(torch.ones_like(y)))
        return Measurement(y, self.operator, self.noise)


def spread(device, dtype, batch=B):
    """(B,) factors from 1 to 4."""
    return 4 ** torch.linspace(0, 1, batch, device=device, dtype=dtype)


KERNEL = torch.tensor([[0.0, 0.3, 0.6], [0.2, 1.0, 0.4]])
FAMILIES = {
    "gaussian": lambda factor: Gaussian(0.05 * factor),
    "poisson": lambda factor: Poisson(0.005 * factor**2),  # 100 to 6 photons where u = 0.5
    "poisson, many": lambda factor: Poisson(2e-5 * factor**2),  # 25000 to 1600 photons
    "poisson-gaussian": lambda factor: PoissonGaussian(0.005 * factor**2, 0.005 * factor, 0.01 * factor),
    "poisson-gaussian, many": lambda factor: PoissonGaussian(2e-5 * factor**2, 0.01 * factor, 0.01 * factor),
    "gamma": lambda factor: Gamma(40 / factor**2),  # 40 to 2.5 looks
    "correlated": lambda factor: Correlated(0.05 * factor, KERNEL, 0.1, 0.1),
    "channels": lambda factor: Correlated(0.05 * factor, KERNEL, covariance=torch.tensor([[1.0, 0.6], [0.6, 0.7]])),
    "coils": lambda factor: Correlated(0.05 * factor, covariance=torch.eye(6) + 0.5),
    "gamma, many": lambda factor: Gamma(1000 / factor**2),
}
MANY = {name: f"{name}, many" for name in ("poisson", "poisson-gaussian", "gamma")}
"""Where `Stein` is exact in the first order of the gain alone, it is tested where photons are many."""
ALIKE = ("identity", "mask", "masks per sample", "columns", "binning", "masked binning", "mosaic", "blur")
COMPLEX = ("complex", "coils")
CASES = [("gaussian", name) for name in ALIKE + COMPLEX]
CASES += [(kind, name) for kind in ("poisson", "gamma") for name in ALIKE]
CASES += [("poisson-gaussian", name) for name in ("identity", "masks per sample", "mosaic", "masked binning", "blur")]
CASES += [("correlated", name) for name in ("identity", "mask", "masks per sample", "binning", "blur")]
CASES += [("channels", "identity"), ("channels", "columns"), ("coils", "coils")]


def make_operator(name, like, keep):
    """The operator of images like `like` (B, C, H, W), keep (B, C, H, W): which pixels are seen where some are not."""
    shape = tuple(like.shape[1:])
    _, channels, height, width = like.shape
    if name == "mosaic":
        return demosaicing(height, width).to(like.device)
    if name == "blur":
        return blur(torch.tensor([[0.05, 0.7, 0.1], [0.0, 0.1, 0.05]]), height, width, channels).to(like.device)
    if name in COMPLEX:
        coils = birdcage_coils(3, height, width, torch.complex128).to(like.device) if name == "coils" else None
        return mri(keep[:, 0], coils)
    half = keep[..., : width // 2]
    return {
        "identity": lambda: Identity(),
        "mask": lambda: Inpainting(shape, keep[:1]),
        "masks per sample": lambda: Inpainting(shape, keep[:, :1]),
        "columns": lambda: Inpainting(shape, keep[:1, :1, :1]),
        "binning": lambda: Binning(shape),
        "masked binning": lambda: Binning(shape, half),
    }[name]()


def make_case(name, device, dtype, family="gaussian", channels=2, height=2, width=W, batch=B):
    """A case by its operator's name; y is `width` wide, x as wide as it takes."""
    generator = make_generator(device, 5)
    channels = 3 if name == "mosaic" else channels
    width = 2 * width if "binning" in name else width
    like = torch.empty(batch, channels, height, width, device=device, dtype=dtype)
    x = 0.5 + 0.3 * torch.cumsum(normal(like, generator), -1) / width**0.5
    x = x.clamp(0.05, 1.5)  # of counts, no signal is below the dark
    keep = torch.rand(like.shape, generator=generator, device=device) < 0.6
    junk = 1.0 if name in ("mask", "columns", "masked binning") else 0.0
    return Case(make_operator(name, like, keep), FAMILIES[family](spread(device, dtype, batch)), x, junk)


# --- the registry: name -> x -> loss

BASE = {
    "supervised": lambda x: Supervised(x),
    "stein": lambda x: Stein(),
    "recorruption": lambda x: Recorruption(LogUniform(1.2, 3.0)),
}


# --- statistics


def mean_over(operator, v):
    """The mean (B,) over measured entries, written apart from the library's: the sum over them by their number."""
    keep = torch.ones_like(v, dtype=torch.bool)
    if operator.measured is not None:
        keep = keep & operator.measured
    return (torch.where(keep, v.double(), 0.0).flatten(1).sum(1) / keep.flatten(1).sum(1)).to(v.dtype)


def differences(loss, case, f, repeats, key=1, target=None, judged=None):
    """(D (R, B), noise (R, B), told (R, B)): see the module; noise is |y_in - target|^2 / m / v_in, told is level^2 /
    v_in.

    f: an estimator. target: generator -> the noiseless A x' behind y_in, when it is not A x.
    judged: m_in -> the operator whose predictions the loss judges, when it is not A.
    """
    rows, device = [], case.x.device
    with torch.no_grad():
        for r in range(repeats):
            m = case.measure(make_generator(device, key, r, 1))
            recorder = Recorder(f)
            value = loss(recorder, m, make_generator(device, key, r, 2))
            shown = recorder.first
            clean = case.clean if target is None else target(make_generator(device, key, r, 2))
            on = case.operator if judged is None else judged(shown)
            error = mean_over(on, (on.A(f(shown)) - clean).square())
            if value.shape != (len(m),):
                raise Biased(f"a loss of shape {tuple(value.shape)}")
            seen = shown.operator
            v_in = mean_over(seen, shown.noise.variance(clean))
            noise = mean_over(seen, (shown.y - clean).square())
            rows.append(torch.stack([value - error, noise, shown.level**2]) / v_in)
    return torch.stack(rows, 1).double().unbind()


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
    if abs(z) > stats.t.isf(stats.norm.sf(4), len(rows) - 1):  # as rare as 4 if the error were known
        raise Biased(f"{what}: mean {rows.mean():.3g}, {z:.1f} standard errors")
    each = d.mean(0) / (d.std(0) / len(d) ** 0.5).clamp_min(floor * 5)
    excess = float(each.square().sum() - d.shape[1]) / math.sqrt(2 * d.shape[1])
    if excess > 6:
        raise Biased(f"{what}: the samples' means scatter {excess:.1f} deviations too much")


def check_unbiased(loss, case, g, repeats=40, key=1, target=None, judged=None, sensitivity=0.03):
    """Raises Biased when `loss` is not an unbiased estimate, at a noise told truly. g: (image, level) -> image."""
    d, noise, told = differences(loss, case, estimator(g), repeats, key, target, judged)
    check_zero(d, "loss - supervised loss", sensitivity)
    check_zero(noise - 1, "noise of the estimator's input", sensitivity)
    check_zero(told - 1, "level that the estimator is told", sensitivity)


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
    """A measurement of a case."""
    return case.measure(make_generator(case.x.device, key))


def behind(combine, case):
    """generator -> A x', the noiseless measurement that `combine` makes of A x from the draws of the generator."""

    def target(generator):
        spy = Spy()
        combine(spy)(lambda m: m.y, Measurement(case.clean, case.operator, case.noise), generator)
        return spy.m.y

    return target
