"""The preconditioned network against EDM's formulas and dense linear algebra: W y, E, proximal steps, and what batches
must not mix."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from unveil.errors import UnveilError
from unveil.estimators import Preconditioned, Stationary, UNet, equivariant, inputs
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import (
    Coverage,
    Identity,
    Operator,
    Optics,
    birdcage_coils,
    blur,
    cartesian_mask,
    demosaicing,
    gaussian_kernel,
    inpainting,
    interferometry,
    mri,
    particles,
    random_mask,
    super_resolution,
)
from unveil.random import make_generator, normal
from unveil.shapes import expand

MEAN, V = 0.4, 0.3
SIDE = 6  # of the images, and the size of the batches: a level (B,) that is not expanded meets columns
DOUBLE = torch.float64


class Fixed(nn.Module):
    """g(u, c) = value, whatever the input, which it keeps."""

    def __init__(self, value=0.0, views=1):
        super().__init__()
        self.value, self.views, self.inputs = value, views, []

    def forward(self, u, c):
        self.inputs.append((u, c))
        return torch.zeros_like(u[:, : u.shape[1] // self.views]) + self.value


class Matrix(Operator):
    """Any A (m, n), of images (1, SIDE, SIDE); nothing is known of its eigenvalues."""

    def __init__(self, a):
        self.a, self.image_shape, self.measurement_shape = a, (1, SIDE, SIDE), (1, 1, len(a))

    def _apply(self, x):
        return (x.flatten(1) @ self.a.to(x).mT).reshape(len(x), 1, 1, -1)

    def _adjoint(self, y):
        return (y.flatten(1) @ self.a.to(y)).reshape(len(y), 1, SIDE, SIDE)


def random(device, *shape, key=0):
    return torch.randn(shape, generator=make_generator(device, 30, key), dtype=DOUBLE, device=device)


def random_matrix(device, rows=18, key=1):
    """A whose largest singular value is 1 and whose smallest is about 0.3."""
    u, _, v = torch.linalg.svd(random(device, rows, SIDE**2, key=key), full_matrices=False)
    return u @ (torch.linspace(1, 0.3, rows).to(u)[:, None] * v)


def visibilities():
    u = torch.linspace(1e9, 6e9, 7, dtype=DOUBLE)
    return interferometry(Coverage(u, 3e9 * u.flip(0).sin(), torch.linspace(0.01, 0.1, 7)), SIDE, 60.0, 0.1)


EXACT = {
    "identity": Identity,
    "mask": lambda: inpainting(random_mask(SIDE, SIDE, 0.6, make_generator("cpu", 3)), channels=2),
    "masks": lambda: inpainting(torch.rand(SIDE, SIDE, SIDE, generator=make_generator("cpu", 50)) < 0.6),
    "mosaic": lambda: demosaicing(SIDE, SIDE),
    "blur": lambda: blur(gaussian_kernel(0.7), 2 * SIDE, SIDE + 1),
    "coarse pixels": lambda: super_resolution(2, SIDE, SIDE, kernel=torch.ones(2, 2)),
    "ctf": lambda: particles((SIDE, SIDE), Optics(4.0, 300.0, 2.7, 0.1, 15e3)),
    "ctfs": lambda: particles((SIDE, SIDE), Optics(4.0, 300.0, 2.7, 0.1, torch.linspace(9e3, 24e3, SIDE))),
    "few visibilities": visibilities,
    "fourier": lambda: mri(cartesian_mask(SIDE, SIDE, 2, 0.2, make_generator("cpu", 4))),
}
"""Operators of which C^(1/2) is known."""
OTHERS = {
    "matrix": lambda: Matrix(random_matrix("cpu")),
    "coils": lambda: mri(
        cartesian_mask(SIDE, SIDE, 2, 0.2, make_generator("cpu", 4)), birdcage_coils(3, SIDE, SIDE, torch.complex128)
    ),
}
PROJECTORS = ("identity", "mask", "mosaic", "fourier")


def make(name, device):
    """An operator, of SIDE measurements."""
    return (EXACT | OTHERS)[name]().to(device)


def shape_of(operator):
    return operator.image_shape or (1, SIDE, SIDE)


def around(operator, g=None, **options):
    """f of the networks that are given, of as many views as it takes."""
    views = inputs(operator, iterations=options.get("iterations", 1))
    g = g or Fixed()
    if isinstance(g, Fixed):
        g.views = views
    return Preconditioned(g, MEAN, V, scale=operator.spectral_norm(), views=views, **options)


def measure(operator, device, levels=(0.02, 0.8)):
    """x, and its measurement at per-sample levels (B,), in units in which the largest singular value is 1."""
    x = MEAN + V * random(device, SIDE, *shape_of(operator), key=10)
    sigma = operator.spectral_norm() * torch.linspace(*levels, SIDE, dtype=DOUBLE, device=device)
    u = operator.A(x)
    return x, Measurement(u + expand(sigma, u) * random(device, *u.shape, key=11), operator, Gaussian(sigma))


def dense(operator, shape, device):
    """A (B, m, n) of each of SIDE measurements; zero in the rows that are not measured."""
    n = shape[0] * shape[1] * shape[2]
    units = torch.eye(n, dtype=DOUBLE, device=device).reshape(n, *shape)
    each = (operator.select(torch.tensor([b])) for b in range(SIDE if operator.count else 1))
    return torch.stack([part.A(units).flatten(1).mT for part in each]).expand(SIDE, -1, -1)


def apply(a, x):
    return (a @ x.flatten(1)[..., None])[..., 0]


def wiener(m):
    """W y (B, n) and H^-1 (B, n, n), H = A^T A + lambda I, by dense linear algebra."""
    a = dense(m.operator, shape_of(m.operator), m.y.device)
    eye = torch.eye(a.shape[-1]).to(a)
    inverse = torch.linalg.inv(a.mT @ a + (m.level / V)[:, None, None] ** 2 * eye)
    mean = torch.full((SIDE, a.shape[-1]), MEAN).to(a)
    return mean + apply(inverse @ a.mT, m.y.flatten(1) - apply(a, mean)), inverse


# --- of the identity, EDM


class Odd(nn.Module):
    """Some g(u, c)."""

    def forward(self, u, c):
        return (3 * u).sin() + expand(c, u) * u.square()


@pytest.mark.parametrize("mean", [0.0, MEAN])
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (DOUBLE, 1e-12)])
def test_of_the_identity_it_is_the_preconditioning_of_edm(mean, precision, tolerance, device):
    """Karras et al. 2022, table 1: skip, scales of output and input, and the noise level that the network is told."""
    y = (0.5 + 0.4 * random(device, 8, 3, 7, 5, key=5)).to(precision)
    sigma = (V * torch.tensor([2e-4, 1e-3, 0.03, 0.1, 0.5, 1.0, 5.0, 50.0], device=device)).to(precision)
    s, total = expand(sigma, y), expand(sigma**2 + V**2, y)
    skip, out, into = V**2 / total, s * V / total.sqrt(), 1 / total.sqrt()
    expected = mean + skip * (y - mean) + out * Odd()(into * (y - mean), (sigma / V).log() / 4)
    found = Preconditioned(Odd(), mean, V)(Measurement(y, Identity(), Gaussian(sigma)))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 1.0, 10.0])
def test_the_network_sees_unit_variance_and_has_a_target_of_unit_variance(sigma, device):
    g, like = Fixed(1.0), torch.empty(4, 1, 64, 64, dtype=DOUBLE, device=device)
    x = MEAN + V * normal(like, make_generator(device, 0))
    m = Measurement(x + sigma * normal(like, make_generator(device, 1)), Identity(), Gaussian(sigma))
    out = Preconditioned(g, MEAN, V)(m)
    (u, c), n = g.inputs[-1], x.numel()
    assert abs(u.var().item() - 1) < 4 * (2 / n) ** 0.5
    assert abs(u.mean().item()) < 4 / n**0.5
    linear = Preconditioned(Fixed(), MEAN, V)(m)
    target = (x - linear) / (out - linear)  # g's factor: f = linear + factor * g
    assert abs(target.var().item() - 1) < 4 * (2 / n) ** 0.5
    torch.testing.assert_close(c, torch.full((4,), sigma / V).to(c).log() / 4)


def test_it_tends_to_the_identity_whatever_the_network_says(device, dtype):
    y = torch.rand(2, 3, 5, 5, generator=make_generator(device, 1), device=device, dtype=dtype)
    g = Fixed(5.0)
    f = Preconditioned(g, MEAN, V)
    distances = [(f(Measurement(y, Identity(), Gaussian(s))) - y).abs().max().item() for s in (1e-1, 1e-2, 1e-3, 1e-4)]
    assert distances[0] > 0.3
    assert all(d < 0.2 * before for before, d in pairwise(distances))
    torch.testing.assert_close(f(Measurement(y, Identity(), Gaussian(1e-30))), y, rtol=0, atol=1e-3)
    assert g.inputs[-1][1].isfinite().all(), "the log of a level is bounded"


# --- W y


@pytest.mark.parametrize("name", [*EXACT, *OTHERS])
def test_without_a_network_it_is_the_wiener_estimate(name, device):
    operator = make(name, device)
    _, m = measure(operator, device)
    found, (expected, inverse) = around(operator)(m), wiener(m)
    assert found.dtype == DOUBLE
    gap = found.flatten(1) - expected
    if name in EXACT:
        assert float(gap.abs().max()) < 1e-8
    deviations = torch.linalg.solve(inverse, gap[..., None])[..., 0] * gap / m.level[:, None] ** 2  # of the posterior
    assert float(deviations.mean(1).max()) < 0.1**2, "conjugate gradients end below that"
    one = m.level.mean()
    same = around(operator)(Measurement(m.y, operator, Gaussian(float(one))))
    each = around(operator)(Measurement(m.y, operator, Gaussian(one.expand(SIDE))))
    torch.testing.assert_close(same, each, rtol=0, atol=1e-6)


def test_with_a_prior_it_begins_with_the_best_linear_estimate(device):
    operator = make("mask", device)
    x, m = measure(operator, device)
    prior = Stationary(operator.image_shape, MEAN, V).double().to(device)
    g = Fixed(views=2)
    f = Preconditioned(g, MEAN, V, views=inputs(operator, prior=True), prior=prior)
    torch.testing.assert_close(f(m), prior.estimate(m))
    shown = g.inputs[-1][0]
    torch.testing.assert_close(shown[:, :2], (prior.estimate(m) - MEAN) / V)
    back = operator.A_adjoint(m.y - operator.A(torch.full_like(x, MEAN)))
    torch.testing.assert_close(shown[:, 2:], back / expand((V**2 + m.level**2).sqrt(), back))


# --- E


def error_factors(name, device, level):
    """Of each sample E (B, n, n), column by column, as f - W y, the covariance C (B, n, n), and lambda H^-1, at one
    level."""
    operator = make(name, device)
    shape, many = shape_of(operator), SIDE if operator.count else 1
    n = shape[0] * shape[1] * shape[2]
    sigma = level * operator.spectral_norm()
    mean = torch.full((many, *shape), MEAN, dtype=DOUBLE, device=device)
    m = Measurement(operator.A(mean), operator, Gaussian(sigma))  # W y is the mean here
    units = torch.eye(n, dtype=DOUBLE, device=device).reshape(n, *shape).repeat(many, 1, 1, 1)
    e = around(operator, Fixed(units))(m[torch.arange(many, device=device).repeat_interleave(n)]) - MEAN
    inverse = wiener(m)[1][:many]
    return e.reshape(many, n, n).mT, sigma**2 * inverse, (sigma / V) ** 2 * inverse


@pytest.mark.parametrize("level", [1e-3, 0.1, 0.3, 2.0])
@pytest.mark.parametrize("name", EXACT)
def test_what_the_network_adds_is_as_large_as_the_error_of_the_linear_estimate(name, level, device):
    """E is the root of C = sigma^2 (A^T A + lambda I)^-1, symmetric and positive."""
    e, c, _ = error_factors(name, device, level)
    values, vectors = torch.linalg.eigh((c + c.mT) / 2)
    root = vectors @ torch.diag_embed(values.clamp_min(0).sqrt()) @ vectors.mT
    torch.testing.assert_close(e, root, rtol=0, atol=1e-7)


@pytest.mark.parametrize("level", [1e-3, 0.1, 0.3, 2.0])
@pytest.mark.parametrize("name", OTHERS)
def test_where_only_the_inverse_is_within_reach_it_is_right_at_both_ends(name, level, device):
    """E = v (q I + (1 - q) N), N = lambda (A^T A + lambda I)^-1: v where A sees nothing, about v q where it sees
    best."""
    e, c, n = error_factors(name, device, level)
    q = level / (level**2 + V**2) ** 0.5
    torch.testing.assert_close(e, V * (q * torch.eye(e.shape[-1]).to(e) + (1 - q) * n), rtol=0, atol=1e-3 * V)
    values, vectors = torch.linalg.eigh((c + c.mT) / 2)
    along = torch.einsum("bij,bik,bkj->bj", vectors, e, vectors) / values.sqrt()
    assert 0.99 < float(along[:, 0].min()) <= float(along[:, 0].max()) < 1.26, "over C^(1/2), where A sees best"
    if name == "matrix":  # half as many rows as columns
        torch.testing.assert_close(along[:, -18:], torch.ones_like(along[:, -18:]), rtol=0, atol=2e-3)


# --- what the data say stays


@pytest.mark.parametrize("name", ["mask", "mosaic", "fourier"])
def test_as_the_noise_vanishes_measured_entries_stay_whatever_the_network_says(name, device):
    operator = make(name, device)
    x = MEAN + V * random(device, SIDE, *operator.image_shape, key=10)
    y, g = operator.A(x), 3 * random(device, *x.shape, key=8)
    f = around(operator, Fixed(g))

    def at(sigma):
        return f(Measurement(y, operator, Gaussian(sigma)))

    gaps = [(operator.A(at(s)) - y).abs().max().item() for s in (1e-1, 1e-2, 1e-3, 1e-4)]
    assert gaps[0] > 0.3
    assert all(gap < 0.15 * before for before, gap in pairwise(gaps))
    torch.testing.assert_close(operator.A(at(1e-30)), y, rtol=0, atol=1e-3)

    def unseen(z):
        return z - operator.A_adjoint(operator.A(z))

    for s in (1e-4, 0.1, 10.0):  # full strength at every level
        torch.testing.assert_close(unseen(at(s)), unseen(torch.full_like(x, MEAN) + V * g), rtol=0, atol=1e-6)
    assert unseen(V * g).abs().max() > 0.3


def test_entries_that_are_hidden_are_not_read(device):
    operator = make("mask", device)
    _, m = measure(operator, device)
    shown = torch.rand(m.y.shape, generator=make_generator("cpu", 51)).to(device) < 0.5
    f = around(operator, iterations=2)
    junk = m.at(m.y + 7 * ~shown)
    assert torch.equal(f(junk.hide(shown)), f(m.hide(shown)))
    assert not torch.equal(f(m.hide(shown)), f(m))


def test_the_units_of_the_measurements_do_not_matter(device):
    """A and sigma in other units: the same estimate, and the network is told the same."""
    a, c = random_matrix(device), 30.0
    x = MEAN + V * random(device, SIDE, 1, SIDE, SIDE, key=10)
    outputs, given = [], []
    for unit in (1.0, c):
        operator = Matrix(unit * a)
        f = network(operator, iterations=2).to(device)
        assert float(f.scale) == pytest.approx(unit, rel=0.02), "twenty steps of power iteration"
        f.backbone.register_forward_pre_hook(lambda module, shown: given.append(shown))
        y = operator.A(x) + unit * 0.1 * random(device, SIDE, 1, 1, len(a), key=11)
        outputs.append(f(Measurement(y, operator, Gaussian(unit * 0.1))))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-4)
    for first, second in zip(given[:2], given[2:]):
        torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-4)


# --- networks


def network(operator, iterations=1):
    channels = shape_of(operator)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = around(
            operator,
            UNet(inputs(operator, iterations=iterations) * channels, (4,), out_channels=channels),
            iterations=iterations,
        )
    f = f.double()
    for i, weight in enumerate(f.backbone.parameters()):  # its last layer starts at zero
        weight.data += 0.1 * torch.randn(weight.shape, generator=make_generator("cpu", 40, i), dtype=DOUBLE)
    return f


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("name", ["masks", "ctfs"])
def test_samples_do_not_know_of_each_other(name, iterations, device):
    """Each at its own level and through its own operator, in a batch as long as the image is wide, or alone."""
    operator = make(name, device)
    part = operator.select(torch.tensor([4, 2, 0, 5, 1, 2], device=device))
    f = network(operator, iterations).to(device)
    _, m = measure(part, device)
    together = f(m)
    for b in range(SIDE):
        torch.testing.assert_close(together[b : b + 1], f(m[b : b + 1]), rtol=0, atol=1e-9)
    others = part.select(torch.arange(SIDE, device=device).roll(1))
    for other in (Measurement(m.y, others, m.noise), Measurement(m.y, part, Gaussian(m.level.flip(0)))):
        assert not torch.isclose(together, f(other)).flatten(1).all(1).any()


@pytest.mark.parametrize("name", ["mask", "blur"])
def test_between_two_applications_is_a_proximal_step_towards_the_data(name, device):
    operator = make(name, device)
    _, m = measure(operator, device)
    f = around(operator, iterations=3)
    assert f.log_weights.shape == (2,)
    a = dense(operator, shape_of(operator), device)
    for log_weights in ([0.0, 0.0], [-1.0, 2.0]):
        f.log_weights.data = torch.tensor(log_weights, dtype=DOUBLE, device=device)
        x = wiener(m)[0]
        for w in f.log_weights.detach():
            lambda_ = (m.level / V) ** 2 * (3 + w).exp()
            inverse = torch.linalg.inv(a.mT @ a + lambda_[:, None, None] * torch.eye(a.shape[-1]).to(a))
            x = x + apply(inverse @ a.mT, m.y.flatten(1) - apply(a, x))
        torch.testing.assert_close(f(m).flatten(1), x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("iterations", [1, 2, 4])
@pytest.mark.parametrize("name", ["mask", "coils"])
def test_gradients_reach_all_parameters(name, iterations, device):
    operator = make(name, device)
    f = network(operator, iterations).to(device)
    x, m = measure(operator, device)
    (f(m) - x).square().mean().backward()
    gradients = {name: weight.grad for name, weight in f.named_parameters() if weight.numel()}
    assert ("log_weights" in gradients) == (iterations > 1)
    assert all(g is not None and g.isfinite().all() and g.abs().max() > 0 for g in gradients.values())
    if iterations > 1:
        assert f.log_weights.grad.all()


def test_an_untrained_network_has_finite_gradients(device, dtype):
    """g = 0: where conjugate gradients are asked for, they end before they start."""
    for name in ("mask", "coils"):
        operator = make(name, device)
        channels = shape_of(operator)[0]
        views = inputs(operator, iterations=2)
        f = around(operator, UNet(views * channels, (4,), out_channels=channels), iterations=2)
        f = f.to(device, dtype)
        x, m = measure(operator, device)
        m = Measurement(m.y.to(dtype), operator, Gaussian(m.level.to(dtype)))
        (f(m) - x.to(dtype)).square().mean().backward()
        assert all(weight.grad.isfinite().all() for weight in f.parameters())
        assert f.backbone.head.weight.grad.abs().max() > 0


def test_noise_that_depends_on_the_signal_is_shown_as_a_map(device):
    """Its deviation beside the estimate, in units of what the network sees; zero where nothing is measured."""
    operator, gain = make("mask", device), 0.01
    x = 0.2 + torch.rand(SIDE, 2, SIDE, SIDE, generator=make_generator(device, 2), dtype=DOUBLE, device=device)
    noise = Poisson(gain)
    m = Measurement(noise.sample(operator.A(x), make_generator(device, 3)), operator, noise)
    g = Fixed(views=2)
    f = Preconditioned(g, MEAN, V, views=inputs(operator, additive=False))
    f(m)
    u, c = g.inputs[-1]
    deviation = (gain * m.y).sqrt() / expand((V**2 + m.level**2).sqrt(), m.y)
    torch.testing.assert_close(u[:, 2:], deviation)
    torch.testing.assert_close(c, (m.level / V).log() / 4)
    x_hat, expected = f(m), wiener(m)[0]
    torch.testing.assert_close(x_hat.flatten(1), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ((Identity(),), 1),
        ((demosaicing(4, 4),), 1),
        ((Identity(), False), 2),
        ((blur(gaussian_kernel(0.7), 8, 8),), 2),
        ((Identity(), True, True), 2),
        ((Identity(), True, False, 2), 2),
        ((blur(gaussian_kernel(0.7), 8, 8), False, True), 3),
    ],
)
def test_how_many_images_the_network_is_shown(arguments, count):
    assert inputs(*arguments) == count


# --- precision


@pytest.mark.parametrize("sigma", [0.005, 0.05, 0.5])
@pytest.mark.parametrize("name", ["mask", "mosaic", "fourier", "blur", "coarse pixels", "coils"])
def test_single_precision_suffices(name, sigma, device):
    operator = make(name, device)
    x, m = measure(operator, device, (sigma, sigma))
    f = around(operator, Fixed(random(device, *x.shape, key=9)), iterations=2)
    exact, single = f(m), f(Measurement(m.y.float(), operator, m.noise))
    assert single.dtype == torch.float32
    assert (single - exact).abs().max() < 2e-4


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_single_precision_keeps_what_an_interferometer_sees_weakly(value):
    """Singular values span four decades down to the noise: A^T A in single precision would lose the lowest of them."""
    u = torch.linspace(1e9, 6e9, 40, dtype=DOUBLE)
    operator = interferometry(
        Coverage(u, u.flip(0).sin() * 3e9, 10 ** torch.linspace(-3, 0, 40, dtype=DOUBLE)), 16, 80.0
    )
    x = torch.rand(3, 1, 16, 16, generator=make_generator("cpu", 2), dtype=DOUBLE)
    y, noise = operator.A(x), Gaussian(operator.sigma)
    f = around(operator, Fixed(value))
    single, double = f(Measurement(y.float(), operator, noise)), f.double()(Measurement(y, operator, noise))
    assert float((single - double).abs().max()) < 0.01
    assert float((double - MEAN).abs().max()) > 0.1


@pytest.mark.parametrize("other", [torch.bfloat16, DOUBLE])
def test_the_result_has_the_dtype_of_the_input_whatever_the_networks(other, device):
    class Other(Fixed):
        def forward(self, u, c):
            return super().forward(u, c).to(other)

    for operator in (Identity(), make("mask", device)):
        y = torch.rand(2, 2, SIDE, SIDE, generator=make_generator(device, 4), device=device)
        f = Preconditioned(Other(0.5, views=2), MEAN, V, views=2, iterations=2)
        assert f(Measurement(y, operator, Gaussian(0.1))).dtype == y.dtype


# --- what is refused


def test_one_line_for_each_error(device):
    y = torch.zeros(SIDE, 1, SIDE, SIDE, device=device)
    scan = make("coils", device)
    for call, words in [
        (lambda: Preconditioned(Fixed(), std=0.0), "std must be > 0"),
        (lambda: Preconditioned(Fixed(), std=-1.0), "std must be > 0"),
        (lambda: Preconditioned(Fixed(), std=float("nan")), "std must be > 0"),
        (lambda: Preconditioned(Fixed(), iterations=0), "iterations is 0"),
        (lambda: Preconditioned(Fixed())(Measurement(y, Identity(), Gaussian(torch.ones(5)))), "sigma has shape"),
        (
            lambda: Preconditioned(Fixed())(Measurement(torch.zeros(1, *scan.measurement_shape), scan, Gaussian(0.1))),
            "is shown 2 images of such measurements .* made for 1: build it for this operator",
        ),
        (
            lambda: Preconditioned(Fixed())(Measurement(y + 1, Identity(), Poisson(0.1))),
            "is shown 2 images of such measurements .* made for 1: build it for this operator and this noise",
        ),
        (
            lambda: Preconditioned(Fixed(), views=2)(Measurement(y, Identity(), Gaussian(0.1))),
            "is shown 1 images .* made for 2",
        ),
    ]:
        with pytest.raises(UnveilError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.SyncBatchNorm(4), nn.LazyBatchNorm2d()])
@pytest.mark.parametrize("around", [equivariant, Preconditioned])
def test_batch_normalization_is_refused(norm, around):
    backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(norm))
    with pytest.raises(UnveilError, match=rf"1\.0 is {type(norm).__name__}.*couples.*divergence") as caught:
        around(backbone)
    assert "\n" not in str(caught.value)
    assert "group normalization" in str(caught.value)


def test_batch_normalization_itself_is_named():
    with pytest.raises(UnveilError, match="only module is BatchNorm1d"):
        Preconditioned(nn.BatchNorm1d(3))


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(2, 4), nn.Identity()])
def test_norms_that_keep_samples_apart_are_taken(norm):
    Preconditioned(nn.Sequential(nn.Conv2d(1, 4, 3), norm))
