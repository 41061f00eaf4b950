"""The reconstruction network against dense linear algebra: W y, E, conjugate gradients, and what batches must not mix."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from unveil.estimators.conjugate_gradients import conjugate_gradients
from unveil.estimators.reconstruction import largest_singular_value, regularised_inverse
from unveil.problem import DENOISING, Problem, Several

from unveil.errors import UnveilError
from unveil.estimators import PreconditionedDenoiser, Reconstruction, UNet
from unveil.operators import Coverage, cartesian_mask, inpainting, interferometry, mri, random_mask
from unveil.random import make_generator
from unveil.shapes import expand

MEAN, V = 0.4, 0.3
SIDE = 6  # of the images, and the size of the batches: a level (B,) that is not expanded meets columns


class Fixed(nn.Module):
    """g(u, c) = value, whatever the input, which it keeps."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value, self.inputs = value, []

    def forward(self, u, c):
        self.inputs.append((u, c))
        return torch.zeros_like(u[:, : u.shape[1] // 2]) + self.value


class Zero(nn.Module):
    def forward(self, x, c):
        return torch.zeros_like(x)


class Matrix:
    def __init__(self, a):
        self.a = a

    def A(self, x):
        return (self.a.to(x) @ x.flatten(1)[..., None]).reshape(len(x), 1, 1, -1)

    def A_adjoint(self, y):
        return (self.a.to(y).mT @ y.flatten(1)[..., None]).reshape(len(y), 1, SIDE, SIDE)


def random(device, *shape, key=0):
    return torch.randn(shape, generator=make_generator(device, 30, key), dtype=torch.float64, device=device)


def dense(problem, shape, like):
    """A (m, n), zero in the rows that are not measured."""
    n = shape[0] * shape[1] * shape[2]
    return problem.predict(torch.eye(n).to(like).reshape(n, *shape)).flatten(1).mT


def random_matrix(device, rows=18, key=1):
    """A whose largest singular value is 1 and whose smallest is about 0.3."""
    u, _, v = torch.linalg.svd(random(device, rows, SIDE**2, key=key), full_matrices=False)
    return u @ (torch.linspace(1, 0.3, rows).to(u)[:, None] * v)


def make_problem(name, device):
    if name == "identity":
        return Problem(Matrix(torch.eye(SIDE**2, dtype=torch.float64, device=device)), None, (1, SIDE, SIDE))
    if name == "mask":
        return inpainting(random_mask(SIDE, SIDE, 0.6, make_generator("cpu", 3)).to(device), channels=2)
    if name == "fourier":
        mask = cartesian_mask(SIDE, SIDE, 2, 0.2, make_generator("cpu", 4))
        assert 0 < mask.float().mean() < 1
        return mri(mask.to(device))
    return Problem(Matrix(random_matrix(device)), None, (1, SIDE, SIDE))


PROJECTORS = ("mask", "fourier", "identity")


def draw(problem, device, levels=(0.02, 0.8)):
    """x, y and per-sample levels (B,), as many as an image is wide; noise everywhere, also where nothing is measured."""
    x = MEAN + V * random(device, SIDE, *problem.image_shape, key=10)
    sigma = torch.linspace(*levels, SIDE, dtype=torch.float64, device=device)
    u = problem.predict(x)
    return x, u + expand(sigma, u) * random(device, *u.shape, key=11), sigma


def wiener(a, y, sigma):
    """W y (B, n) and H^-1 (B, n, n), H = A^T A + lambda I, of A (m, n) by dense linear algebra."""
    n = a.shape[1]
    inverse = torch.linalg.inv(a.mT @ a + (sigma / V)[:, None, None] ** 2 * torch.eye(n).to(a))
    m = torch.full((n,), MEAN, dtype=a.dtype, device=a.device)
    return m + (inverse @ a.mT @ (y.flatten(1) - a @ m)[..., None])[..., 0], inverse


@pytest.mark.parametrize("name", PROJECTORS)
def test_without_a_network_it_is_the_wiener_estimate(name, device):
    problem = make_problem(name, device)
    _, y, sigma = draw(problem, device)
    a = dense(problem, problem.image_shape, y)
    x_hat = Reconstruction(Fixed(), problem, MEAN, V)(y, sigma)
    assert x_hat.dtype == torch.float64
    torch.testing.assert_close(x_hat.flatten(1), wiener(a, y, sigma)[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(
        Reconstruction(Fixed(), problem, MEAN, V)(y, 0.1).flatten(1),
        wiener(a, y, torch.full_like(sigma, 0.1))[0],
        rtol=0,
        atol=1e-10,
    )


def test_without_a_network_and_a_dense_operator_it_is_as_close_as_six_steps_of_conjugate_gradients(device):
    """|x_6 - x|_H <= 2 r^6 |x|_H, r = (k^1/2 - 1) / (k^1/2 + 1), k the condition number of H (Hestenes and Stiefel 1952)."""
    problem = make_problem("dense", device)
    _, y, sigma = draw(problem, device, levels=(0.06, 0.8))
    a = dense(problem, problem.image_shape, y)
    exact, inverse = wiener(a, y, sigma)
    got = Reconstruction(Fixed(), problem, MEAN, V)(y, sigma).flatten(1)
    h = torch.linalg.inv(inverse)
    lambda_ = (sigma / V) ** 2
    root = ((1 + lambda_) / lambda_).sqrt()
    bound = 2 * ((root - 1) / (root + 1)) ** 6 + 2e-6  # where the search ends
    energy = [((e[:, None, :] @ h @ e[..., None]).flatten()).sqrt() for e in (got - exact, exact - MEAN)]
    assert (energy[0] <= bound * energy[1]).all()
    assert bound[-1] < 1e-4, "a bound that a wrong formula would break"
    more = regularised_inverse(problem, problem.adjoint(y - problem.predict(torch.full_like(y[..., :1], MEAN).expand(
        -1, 1, SIDE, SIDE))), lambda_, 40)  # fmt: skip
    torch.testing.assert_close(MEAN + more.flatten(1), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("problem", ["identity", "none"])
def test_of_the_identity_the_linear_part_is_the_skip_of_edm(problem, device):
    problem = DENOISING if problem == "none" else make_problem("identity", device)
    y = MEAN + V * random(device, SIDE, 1, SIDE, SIDE, key=5)
    y = y.flatten(1)[:, None, None] if problem.operator else y
    sigma = torch.linspace(0.02, 0.8, SIDE, dtype=torch.float64, device=device)
    skip = PreconditionedDenoiser(Zero(), MEAN, V)(y.reshape(SIDE, 1, SIDE, SIDE), sigma)
    torch.testing.assert_close(Reconstruction(Fixed(), problem, MEAN, V)(y, sigma), skip, rtol=0, atol=1e-12)


def test_the_network_sees_unit_variance_where_everything_is_measured(device):
    g, like = Fixed(), torch.empty(4, 1, 48, 48, dtype=torch.float64, device=device)
    x = MEAN + V * random(device, *like.shape, key=6)
    for sigma in (1e-3, 0.1, 0.5):
        Reconstruction(g, DENOISING, MEAN, V)(x + sigma * random(device, *like.shape, key=7), sigma)
        u, c = g.inputs[-1]
        assert u.shape == (4, 2, 48, 48)
        assert (u.square().mean((0, 2, 3)) - 1).abs().max() < 4 * (2 / x.numel()) ** 0.5
        assert u.mean().abs() < 4 / x.numel() ** 0.5
        torch.testing.assert_close(c, torch.full((4,), sigma / V, dtype=c.dtype, device=c.device).log() / 4)


def error_factors(problem, device, sigma):
    """(E (n, n), C (n, n)) at one level: E column by column, as f - W y."""
    shape = problem.image_shape
    n = shape[0] * shape[1] * shape[2]
    basis = torch.eye(n, dtype=torch.float64, device=device).reshape(n, *shape)
    y = problem.predict(torch.full_like(basis, MEAN))
    e = Reconstruction(Fixed(basis), problem, MEAN, V)(y, sigma) - MEAN  # W y is the mean here
    a = dense(problem, shape, basis)
    c = sigma**2 * wiener(a, y[:1], torch.full((1,), sigma, dtype=y.dtype, device=y.device))[1][0]
    return e.flatten(1).mT, c


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 0.3, 2.0])
@pytest.mark.parametrize("name", PROJECTORS)
def test_what_the_network_adds_is_as_large_as_the_error_of_the_linear_estimate(name, sigma, device):
    problem = make_problem(name, device)
    e, c = error_factors(problem, device, sigma)
    a = dense(problem, problem.image_shape, e)
    seen = a.mT @ a  # a projector
    unseen = torch.eye(len(e)).to(e) - seen
    torch.testing.assert_close(seen @ seen, seen, rtol=0, atol=1e-6)  # single-precision masks and transforms
    q = sigma / (sigma**2 + V**2) ** 0.5
    torch.testing.assert_close(e, V * unseen + V * (q + (1 - q) * q**2) * seen, rtol=0, atol=1e-6)
    root = V * unseen + V * q * seen
    torch.testing.assert_close(root @ root, c, rtol=0, atol=1e-9)
    assert 1 <= 1 + (1 - q) * q <= 1.25, "E over C^1/2 where A sees"


@pytest.mark.parametrize("name", ["mask", "fourier"])
def test_as_the_noise_vanishes_measured_entries_stay_whatever_the_network_says(name, device):
    problem = make_problem(name, device)
    x, y, _ = draw(problem, device, levels=(0, 0))
    g = 3 * random(device, *x.shape, key=8)
    f = Reconstruction(Fixed(g), problem, MEAN, V)
    y = problem.project(y)
    gaps = [(problem.predict(f(y, s)) - y).abs().max().item() for s in (1e-1, 1e-2, 1e-3, 1e-4)]
    assert gaps[0] > 0.3
    assert all(gap < 0.15 * before for before, gap in pairwise(gaps))
    torch.testing.assert_close(problem.predict(f(y, 0.0)), y, rtol=0, atol=1e-3)

    def unseen(z):
        return z - problem.adjoint(problem.predict(z))

    for s in (1e-4, 0.1, 10.0):  # full strength at every level
        expected = unseen(torch.full_like(x, MEAN) + V * g)
        torch.testing.assert_close(unseen(f(y, s)), expected, rtol=0, atol=1e-6)
    assert unseen(V * g).abs().max() > 0.3


def test_the_units_of_the_measurements_do_not_matter(device):
    """A and sigma in other units: the same estimate, and the network is told the same."""
    a, c = random_matrix(device), 30.0
    x = MEAN + V * random(device, SIDE, 1, SIDE, SIDE, key=10)
    outputs, inputs = [], []
    for unit in (1.0, c):
        problem = Problem(Matrix(unit * a), None, (1, SIDE, SIDE))
        f = network(problem=problem, iterations=2).to(device)
        assert f.scale == pytest.approx(unit, rel=0.02), "twenty steps of power iteration"
        f.backbone.register_forward_pre_hook(lambda module, given: inputs.append(given))
        y = problem.predict(x) + unit * 0.1 * random(device, SIDE, 1, 1, len(a), key=11)
        outputs.append(f(y, unit * 0.1))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-4)
    for first, second in zip(inputs[:2], inputs[2:]):
        torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 40.0])
def test_the_largest_singular_value(unit, device):
    a = unit * random_matrix(device)
    many = Several({"a": torch.stack([a, 5 * a])}, lambda a: Problem(Matrix(a), None, (1, SIDE, SIDE)))
    assert largest_singular_value(many) == pytest.approx(unit, rel=0.02)
    assert largest_singular_value(DENOISING) == 1
    assert largest_singular_value(make_problem("fourier", device)) == pytest.approx(1, rel=1e-5)
    before = torch.get_rng_state()
    largest_singular_value(many)
    assert torch.equal(torch.get_rng_state(), before)


def test_entries_that_are_not_measured_are_not_read(device):
    whole = make_problem("mask", device)
    _, y, sigma = draw(whole, device)
    f = Reconstruction(Fixed(), whole, MEAN, V, iterations=2)
    hidden = whole.restrict(torch.rand(y.shape, generator=make_generator("cpu", 51)).to(device) < 0.5)
    for problem in (whole, hidden):  # of which the operator knows, and does not know
        junk = y + 7 * (1 - problem.project(torch.ones_like(y)))
        assert torch.equal(f(junk, sigma, problem), f(y, sigma, problem))
    assert not torch.equal(f(y, sigma, hidden), f(y, sigma))


def network(channels=1, iterations=1, problem=DENOISING):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = Reconstruction(UNet(2 * channels, (4,), out_channels=channels), problem, MEAN, V, iterations).double()
    for i, weight in enumerate(f.backbone.parameters()):  # its last layer starts at zero
        weight.data += 0.1 * torch.randn(weight.shape, generator=make_generator("cpu", 40, i), dtype=torch.float64)
    return f


def masks(device):
    keep = torch.rand(SIDE, SIDE, SIDE, generator=make_generator("cpu", 50)) < 0.6
    return inpainting(keep.to(device))


@pytest.mark.parametrize("iterations", [1, 3])
def test_samples_do_not_know_of_each_other(iterations, device):
    """Each at its own level and through its own operator, in a batch as long as the image is wide, or alone."""
    problem = masks(device)
    which = torch.tensor([4, 2, 0, 5, 1, 2], device=device)
    f = network(iterations=iterations, problem=problem).to(device)
    part = problem.at(which)
    _, y, sigma = draw(part, device)
    together = f(y, sigma, part)
    for b in range(SIDE):
        alone = f(y[b : b + 1], sigma[b : b + 1], problem.at(which[b : b + 1]))
        torch.testing.assert_close(together[b : b + 1], alone, rtol=0, atol=1e-9)
    assert not torch.isclose(together, f(y, sigma, problem.at(which.roll(1)))).flatten(1).all(1).any()
    assert not torch.isclose(together, f(y, sigma.flip(0), part)).flatten(1).all(1).any()


def test_between_two_applications_is_a_proximal_step_towards_the_data(device):
    problem = make_problem("mask", device)
    _, y, sigma = draw(problem, device)
    f = Reconstruction(Fixed(), problem, MEAN, V, iterations=3)
    assert f.log_weights.shape == (2,)
    a = dense(problem, problem.image_shape, y)
    for log_weights in ([0.0, 0.0], [-1.0, 2.0]):
        f.log_weights.data = torch.tensor(log_weights, dtype=torch.float64, device=device)
        x = wiener(a, y, sigma)[0]
        for w in f.log_weights:
            inverse = torch.linalg.inv(
                a.mT @ a + ((sigma / V) ** 2 * (3 + w).exp()).detach()[:, None, None] * torch.eye(a.shape[1]).to(a)
            )
            x = x + (inverse @ a.mT @ (y.flatten(1)[..., None] - a @ x[..., None]))[..., 0]
        torch.testing.assert_close(f(y, sigma).flatten(1), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_gradients_reach_all_parameters(iterations, device):
    problem = make_problem("mask", device)
    f = network(2, iterations, problem).to(device)
    x, y, sigma = draw(problem, device)
    (f(y, sigma) - x).square().mean().backward()
    gradients = {name: weight.grad for name, weight in f.named_parameters() if weight.numel()}
    assert ("log_weights" in gradients) == (iterations > 1)
    assert all(g is not None and g.isfinite().all() and g.abs().max() > 0 for g in gradients.values())
    if iterations > 1:
        assert f.log_weights.grad.all()


def test_an_untrained_network_has_finite_gradients(device, dtype):
    """g = 0: conjugate gradients start at their end."""
    problem = make_problem("mask", device)
    f = Reconstruction(UNet(4, (4,), out_channels=2), problem, MEAN, V, 2).to(device, dtype)
    x, y, sigma = (t.to(dtype) for t in draw(problem, device))
    (f(y, sigma) - x).square().mean().backward()
    assert all(weight.grad.isfinite().all() for weight in f.parameters())
    assert f.backbone.head.weight.grad.abs().max() > 0


# --- conjugate gradients


def system(device, matrix):
    """apply: x (B, n) -> H x, and the number of calls of it."""
    calls = []

    def apply(x):
        calls.append(x)
        return x @ matrix.mT

    return apply, calls


def projector(device, lambda_=0.05):
    q = torch.linalg.qr(random(device, 20, 8, key=60))[0]
    return q @ q.mT + lambda_ * torch.eye(20).to(q)


def test_two_steps_are_exact_for_a_projector_and_one_is_not(device):
    h = projector(device)
    b = random(device, 5, 20, key=61)
    apply, calls = system(device, h)
    exact = b @ torch.linalg.inv(h)
    torch.testing.assert_close(conjugate_gradients(apply, b, 2), exact, rtol=0, atol=1e-10)
    assert (conjugate_gradients(apply, b, 1) - exact).abs().max() > 0.1
    calls.clear()
    late = conjugate_gradients(apply, b, 50)
    assert len(calls) == 2, "it stops when it is done"
    torch.testing.assert_close(late, exact, rtol=0, atol=1e-10)
    one = torch.eye(20).to(h) * 1.7
    torch.testing.assert_close(conjugate_gradients(system(device, one)[0], b, 1), b / 1.7)


def test_a_sample_that_is_done_stays_as_it_is(device):
    matrix = random_matrix(device, 20)[:, :20]
    h = matrix @ matrix.mT + 0.1 * torch.eye(20).to(matrix)
    values, vectors = torch.linalg.eigh(h)
    b = random(device, 4, 20, key=62)
    b[1], b[3] = vectors[:, 7], 0  # done after one step, and before any
    apply, calls = system(device, h)
    x = conjugate_gradients(apply, b, 30)
    assert len(calls) > 8, "the others went on"
    torch.testing.assert_close(x, b @ torch.linalg.inv(h), rtol=0, atol=1e-4)  # the floor is 1e-6 of |b|
    torch.testing.assert_close(x[1], vectors[:, 7] / values[7], rtol=0, atol=1e-12)
    alone = conjugate_gradients(apply, b[1:2], 30)  # a product with one row sums in another order than one with four
    torch.testing.assert_close(x[1:2], alone, rtol=1e-12, atol=1e-14)
    assert torch.equal(x[3], torch.zeros_like(x[3]))


def test_the_inverse_is_differentiable_in_both_arguments(device):
    problem = make_problem("mask", device)
    b = random(device, 2, *problem.image_shape, key=63).requires_grad_()
    lambda_ = torch.tensor([0.02, 0.7], dtype=torch.float64, device=device, requires_grad=True)
    torch.autograd.gradcheck(lambda b, lambda_: regularised_inverse(problem, b, lambda_), (b, lambda_))
    zeroed = b.detach() * torch.tensor([0.0, 1.0], dtype=torch.float64, device=device).reshape(2, 1, 1, 1)
    zeroed.requires_grad_()
    gradients = torch.autograd.grad(regularised_inverse(problem, zeroed, lambda_).square().sum(), (zeroed, lambda_))
    assert all(g.isfinite().all() for g in gradients), "a sample that is done has no NaN in its gradient"


@pytest.mark.parametrize("sigma", [0.005, 0.05, 0.5])
@pytest.mark.parametrize("name", ["mask", "fourier"])
def test_single_precision_suffices(name, sigma, device):
    problem = make_problem(name, device)
    x, y, _ = draw(problem, device, (sigma, sigma))
    f = Reconstruction(Fixed(random(device, *x.shape, key=9)), problem, MEAN, V, iterations=2)
    exact, single = f(y, sigma), f(y.float(), sigma)
    assert single.dtype == torch.float32
    assert (single - exact).abs().max() < 2e-4


# --- errors


def test_one_line_for_each_error(device):
    several = masks(device)
    y = torch.zeros(SIDE, 1, SIDE, SIDE, device=device)
    for call, words in [
        (lambda: Reconstruction(Fixed(), DENOISING, deviation=0.0), "deviation must be > 0"),
        (lambda: Reconstruction(Fixed(), DENOISING, deviation=float("nan")), "deviation must be > 0"),
        (lambda: Reconstruction(Fixed(), DENOISING, iterations=0), "iterations is 0"),
        (lambda: Reconstruction(Fixed(), several)(y, 0.1), r"problem.at\(which\)"),
        (lambda: Reconstruction(Fixed(), DENOISING)(y, torch.ones(SIDE - 1)), "sigma has shape"),
    ]:
        with pytest.raises(UnveilError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert isinstance(several, Several)
    assert Reconstruction(Fixed(), several)(y, 0.1, several.at(torch.arange(SIDE))).shape == y.shape


@pytest.mark.parametrize("other", [torch.bfloat16, torch.float64])
def test_the_result_has_the_dtype_of_the_input_whatever_the_networks(other, device):
    class Other(Fixed):
        def forward(self, u, c):
            return super().forward(u, c).to(other)

    problem = make_problem("mask", device)
    y = torch.rand(2, 2, SIDE, SIDE, device=device)
    assert Reconstruction(Other(0.5), problem, iterations=2)(y, 0.1).dtype == y.dtype


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_single_precision_keeps_what_an_interferometer_sees_weakly(value):
    """Singular values span four decades down to the noise: A^T A in single precision would lose the lowest of them."""
    u = torch.linspace(1e9, 6e9, 40, dtype=torch.float64)
    sigma = 10 ** torch.linspace(-3, 0, 40, dtype=torch.float64)
    problem, level = interferometry(Coverage(u, u.flip(0).sin() * 3e9, sigma), 16, 80.0)
    x = torch.rand(3, 1, 16, 16, generator=make_generator("cpu", 2), dtype=torch.float64)
    y = problem.predict(x)
    f = Reconstruction(Fixed(value), problem, MEAN, V)
    single, double = f(y.float(), level), f.double()(y, level)
    assert float((single - double).abs().max()) < 0.01
    assert float((double - MEAN).abs().max()) > 0.1
