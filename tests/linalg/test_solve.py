"""Conjugate gradients and implicit gradients against dense linear algebra, sample by sample; the spectral norm against
that of matrices."""

import warnings

import pytest
import torch

from unveil.errors import UnveilWarning
from unveil.linalg import conjugate_gradients, solve, spectral_norm
from unveil.random import make_generator

DOUBLE = torch.float64


def random(device, *shape, key=0):
    return torch.randn(shape, generator=make_generator(device, 30, key), dtype=DOUBLE, device=device)


def random_matrix(device, rows, columns, least=0.3, key=1):
    """Singular values from 1 to `least`."""
    u, _, v = torch.linalg.svd(random(device, rows, columns, key=key), full_matrices=False)
    return u @ (torch.linspace(1, least, min(rows, columns)).to(u)[:, None] * v)


def system(matrix):
    """apply: x (B, n) -> H x, and the calls of it."""
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
    apply, calls = system(h)
    exact = b @ torch.linalg.inv(h)
    torch.testing.assert_close(conjugate_gradients(apply, b, 2), exact, rtol=0, atol=1e-10)
    assert (conjugate_gradients(apply, b, 1) - exact).abs().max() > 0.1
    calls.clear()
    late = conjugate_gradients(apply, b, 50)
    assert len(calls) == 2, "it stops when it is done"
    torch.testing.assert_close(late, exact, rtol=0, atol=1e-10)
    one = torch.eye(20).to(h) * 1.7
    torch.testing.assert_close(conjugate_gradients(system(one)[0], b, 1), b / 1.7)


@pytest.mark.parametrize("steps", [3, 6, 12])
def test_steps_converge_as_fast_as_they_must(steps, device):
    """|x_k - x|_H <= 2 r^k |x|_H, r = (c^1/2 - 1) / (c^1/2 + 1), c the condition number of H (Hestenes and Stiefel
    1952)."""
    matrix = random_matrix(device, 20, 20, 0.1)
    h = matrix @ matrix.mT + 0.02 * torch.eye(20).to(matrix)
    b = random(device, 6, 20, key=65)
    exact = b @ torch.linalg.inv(h)
    values = torch.linalg.eigvalsh(h)
    root = (values[-1] / values[0]).sqrt()
    bound = 2 * ((root - 1) / (root + 1)) ** steps
    gap = conjugate_gradients(system(h)[0], b, steps, tolerance=0) - exact
    energy = [torch.einsum("bi,ij,bj->b", e, h, e).sqrt() for e in (gap, exact)]
    assert (energy[0] <= bound * energy[1]).all()
    assert (energy[0] > 1e-12 * energy[1]).all()


def test_a_sample_that_is_done_stays_as_it_is(device):
    matrix = random_matrix(device, 20, 20)
    h = matrix @ matrix.mT + 0.1 * torch.eye(20).to(matrix)
    values, vectors = torch.linalg.eigh(h)
    b = random(device, 4, 20, key=62)
    b[1], b[3] = vectors[:, 7], 0  # done after one step, and before any
    apply, calls = system(h)
    x = conjugate_gradients(apply, b, 30)
    assert len(calls) > 8, "the others went on"
    torch.testing.assert_close(x, b @ torch.linalg.inv(h), rtol=0, atol=1e-4)  # the floor is 1e-6 of |b|
    torch.testing.assert_close(x[1], vectors[:, 7] / values[7], rtol=0, atol=1e-12)
    alone = conjugate_gradients(apply, b[1:2], 30)  # a product with one row sums in another order than one with four
    torch.testing.assert_close(x[1:2], alone, rtol=1e-12, atol=1e-14)
    assert torch.equal(x[3], torch.zeros_like(x[3]))


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
def test_it_ends_at_the_residual_that_is_asked_for(tolerance, device):
    matrix = random_matrix(device, 20, 20, 0.05)
    gram = matrix @ matrix.mT
    b, lambda_ = random(device, 4, 20, key=66), torch.tensor([1e-3, 0.1, 1.0, 10.0], dtype=DOUBLE, device=device)
    apply, calls = system(gram)
    x = solve(apply, b, lambda_, tolerance)
    residual = x @ gram + lambda_[:, None] * x - b
    assert (residual.norm(dim=1) <= 1.01 * tolerance * b.norm(dim=1)).all()
    assert len(calls) <= 25


# --- gradients


def test_the_implicit_gradient_is_that_of_the_solution(device):
    """In b and in lambda, once and twice; against finite differences."""
    matrix = random_matrix(device, 12, 8)
    gram, _ = system(matrix.mT @ matrix)
    b = random(device, 3, 8, key=63).requires_grad_()
    lambda_ = torch.tensor([0.02, 0.7, 30.0], dtype=DOUBLE, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b, lambda_: solve(gram, b, lambda_, 1e-13), (b, lambda_))
    assert torch.autograd.gradgradcheck(lambda b, lambda_: solve(gram, b, lambda_, 1e-13), (b, lambda_))


def test_the_implicit_gradient_against_that_of_the_dense_solution(device):
    matrix = random_matrix(device, 12, 8)
    b = random(device, 3, 8, key=63).requires_grad_()
    lambda_ = torch.tensor([0.02, 0.7, 30.0], dtype=DOUBLE, device=device, requires_grad=True)
    w = random(device, 3, 8, key=64)
    h = matrix.mT @ matrix + lambda_[:, None, None] * torch.eye(8).to(matrix)
    dense = torch.autograd.grad((torch.linalg.solve(h, b) * w).sum(), (b, lambda_))
    apply, calls = system(matrix.mT @ matrix)
    x = solve(apply, b, lambda_, 1e-13)
    forward = len(calls)
    found = torch.autograd.grad((x * w).sum(), (b, lambda_))
    for f, d in zip(found, dense):
        torch.testing.assert_close(f, d, rtol=1e-9, atol=1e-12)
    assert len(calls) <= 2 * forward, "one more solution, not a step back for each step"


def test_a_sample_that_is_zero_has_no_nan_in_its_gradient(device):
    gram, _ = system(projector(device, 0.0))
    b = torch.zeros(2, 20, dtype=DOUBLE, device=device)
    b[1] = random(device, 20)
    lambda_ = torch.tensor([0.02, 0.7], dtype=DOUBLE, device=device, requires_grad=True)
    b.requires_grad_()
    gradients = torch.autograd.grad(solve(gram, b, lambda_).square().sum(), (b, lambda_))
    assert all(g.isfinite().all() for g in gradients)


# --- the spectral norm


@pytest.mark.parametrize("unit", [1e-3, 1.0, 40.0])
def test_the_spectral_norm_is_the_largest_singular_value(unit, device):
    matrix = unit * random_matrix(device, 18, 36)
    found = spectral_norm(lambda v: v @ matrix.mT @ matrix, random(device, 1, 36, key=70))
    assert found == pytest.approx(unit, rel=0.02)
    assert found <= unit * (1 + 1e-12)
    near = spectral_norm(lambda v: v @ matrix.mT @ matrix, random(device, 1, 36, key=70), 2000)
    assert near == pytest.approx(unit, rel=1e-9)


def test_a_step_that_ends_early_is_told():
    """Eigenvalues over 14 decades: a hundred steps do not do."""
    values = torch.logspace(-14, 0, 400, dtype=torch.float64)
    b = torch.ones(1, 400, dtype=torch.float64)
    with pytest.warns(
        UnveilWarning, match="conjugate gradients ended after 100 steps at a residual of 1e.[0-9]+ or more"
    ):
        solve(lambda v: values * v, b, torch.tensor([1e-15], dtype=torch.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(lambda v: values * v, b, torch.tensor([1e-2], dtype=torch.float64))
