"""Functions of A^T A and proximal steps, for every operator: against dense linear algebra, at low and high levels of
noise."""

import pytest
import torch
from cases import CASES, draw, matrices, some_hidden

from unveil.random import make_generator
from unveil.shapes import expand

DOUBLE = torch.float64
EVERY = pytest.mark.parametrize("name", CASES)
HIDDEN = pytest.mark.parametrize("hidden", [False, True])
GAMMA = [(1.0, 10.0, 1e4), (100.0, 1e4, 1.0)]
"""Of three samples, in units in which the largest singular value is 1."""

WITHOUT_EIGENVALUES = ("tomography", "mri, several coils", "beside", "interferometry, more pixels", "deepinv")
PROJECTING = ("identity", "inpainting", "demosaicing", "mri, one", "turned, a turn and a mask")
"""A^T M A has known eigenvalues whichever entries M hides. Those of an interferometer are not, but its inverse is."""

FUNCTIONS = {
    "inverse": lambda e, lambda_: 1 / (e + lambda_),
    "error": lambda e, lambda_: (lambda_ / (e + lambda_)).sqrt(),
    "itself": lambda e, lambda_: e,
}


def make(name, hidden, device):
    operator, x, v = draw(name, device)
    return (some_hidden(operator, v) if hidden else operator), x, v


def weights(operator, gamma, device):
    return torch.tensor(gamma, dtype=DOUBLE, device=device) / operator.spectral_norm() ** 2


def solved(a, b, lambda_):
    """(A^T A + lambda I)^-1 b (B, n) of A (B, m, n)."""
    h = a.mT @ a + lambda_[:, None, None] * torch.eye(a.shape[-1]).to(a)
    return torch.linalg.solve(h, b[..., None])[..., 0]


def apply(a, x):
    return (a @ x.flatten(1)[..., None])[..., 0]


def relative(found, expected):
    """The largest over samples of |found - expected| / |expected|."""
    found, expected = found.flatten(1), expected.flatten(1)
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())


def in_closed_form(name, hidden):
    if hidden:
        return name.startswith((*PROJECTING, "interferometry")) and not name.startswith(WITHOUT_EIGENVALUES)
    return not name.startswith(WITHOUT_EIGENVALUES)


@EVERY
@HIDDEN
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_of_the_eigenvalues(name, hidden, function, device):
    operator, x, _ = make(name, hidden, device)
    lambda_ = torch.tensor([1e-4, 0.1, 50.0], dtype=DOUBLE, device=device)
    found = operator.gram(x, lambda e: FUNCTIONS[function](e, expand(lambda_, x)))
    assert (found is None) == (not in_closed_form(name, hidden) or (hidden and name == "interferometry"))
    if found is None:
        return
    a = matrices(operator, x)
    values, vectors = torch.linalg.eigh(a.mT @ a)
    values = FUNCTIONS[function](values.clamp_min(0), lambda_[:, None])
    expected = apply(vectors @ torch.diag_embed(values) @ vectors.mT, x)
    assert relative(found, expected) < 1e-8
    again = operator.gram(x, lambda e: e)  # of a function without a shape of its own
    assert relative(again, apply(a.mT @ a, x)) < 1e-8


@EVERY
@HIDDEN
@pytest.mark.parametrize("gamma", GAMMA)
def test_the_proximal_step_is_the_dense_solution(name, hidden, gamma, device):
    """From gamma = 1 to 1e4, sigma of the deviation of the images to a hundredth of it, where a blur is no longer mild.

    By conjugate gradients to a fraction of the deviation of what y leaves open: sigma^2 (A^T A + I / gamma)^-1.
    """
    operator, z, v = make(name, hidden, device)
    _, x, _ = draw(name, device, seed=3)
    gamma = weights(operator, gamma, device)
    y = operator.A(x) + expand(gamma**-0.5, v) * v
    a = matrices(operator, z)
    expected = solved(a, apply(a.mT, operator.project(y)) + z.flatten(1) / gamma[:, None], 1 / gamma)
    found = operator.prox_l2(z, y, gamma)
    if in_closed_form(name, hidden):
        assert relative(found, expected) < 1e-8
    gap = found.flatten(1) - expected
    energy = apply(a, gap).square().sum(1) + gap.square().sum(1) / gamma  # |gap|^2 in those deviations, by sigma^2
    assert float((energy * gamma / gap.shape[1]).max()) < 0.2**2
    values, vectors = torch.linalg.eigh(a.mT @ a)
    unseen = vectors @ torch.diag_embed((values < 1e-14 * values.amax()).to(a)) @ vectors.mT
    torch.testing.assert_close(apply(unseen, found), apply(unseen, z), rtol=0, atol=1e-5)  # what A does not see stays


@EVERY
@HIDDEN
def test_gradients_of_the_proximal_step(name, hidden, device):
    """In all three arguments: in closed form by finite differences, otherwise against those of the dense solution."""
    operator, z, v = make(name, hidden, device)
    gamma = weights(operator, (1.0, 30.0, 1e3), device)
    arguments = [t.requires_grad_() for t in (z, v, gamma)]
    if in_closed_form(name, hidden) and not name.startswith("interferometry"):
        assert torch.autograd.gradcheck(operator.prox_l2, arguments, fast_mode=True)
    a = matrices(operator, z.detach())
    w = torch.randn(z.shape, generator=make_generator(device, 4), dtype=DOUBLE, device=device)
    dense = solved(a, apply(a.mT, v) + z.flatten(1) / gamma[:, None], 1 / gamma)
    expected = torch.autograd.grad((dense * w.flatten(1)).sum(), arguments)
    found = torch.autograd.grad((operator.prox_l2(*arguments) * w).sum(), arguments)
    tolerance = 1e-8 if in_closed_form(name, hidden) else 0.02
    for f, e, size in zip(found, expected, (1.0, operator.spectral_norm(), 1 / gamma.detach())):
        gap, large = (t.reshape(3, -1).norm(dim=1) for t in (f - e, e))
        assert bool((gap < tolerance * torch.maximum(large, size * w.flatten(1).norm(dim=1))).all())


@pytest.mark.parametrize("name", [name for name in CASES if in_closed_form(name, False)])
def test_the_data_are_met_at_the_lowest_levels_in_single_precision(name, device):
    """At gamma = 1e8 whatever is the difference of what A sees and of what it does not has no digit left."""
    operator, z, _ = draw(name, device, torch.float32)
    _, x, _ = draw(name, device, torch.float32, seed=3)
    y = operator.A(x)
    found = operator.A(operator.prox_l2(z, y, torch.full((3,), 1e8, device=device)))
    assert float((found - y).norm() / y.norm()) < 1e-3
