"""P is the projection on what no measurement sees: by the matrix, by Lanczos, and in words."""

import pytest
import torch
from known import columns, multiplier

from unveil.identifiability import Blind, never_seen
from unveil.operators import Identity, inpainting, mri, random_mask
from unveil.random import make_generator
from unveil.symmetry import Flip, Quarter, Rotate, Shift

MASK = random_mask(8, 8, 0.5, make_generator("cpu", 1))
SYMMETRIC = MASK * MASK.flip(-1)


def made(operator, symmetry, lanczos, monkeypatch):
    with monkeypatch.context() as patch:
        if lanczos:
            patch.setattr("unveil.identifiability.blind.DENSE", 0.0)
        return Blind(operator, symmetry, operator.image_shape, make_generator("cpu", 0))


@pytest.mark.parametrize("lanczos", [False, True])
def test_of_missing_pixels_it_keeps_those_that_no_flip_shows(lanczos, monkeypatch):
    P = made(inpainting(MASK, 2), Flip(), lanczos, monkeypatch)
    x = torch.randn(3, 2, 8, 8, generator=make_generator("cpu", 3), dtype=torch.float64)
    seen = (MASK + MASK.flip(-1) + MASK.flip(-2) + MASK.flip((-1, -2))).reshape(8, 8) > 0
    torch.testing.assert_close(P(x), torch.where(seen, 0.0, x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("operator", "symmetry"),
    [
        (multiplier(columns(8, 0, 1)), Quarter()),
        (multiplier(torch.stack([columns(8, 0, 1), columns(8, 2)])), None),
        (mri(columns(8, 0, 1)), Rotate()),
    ],
)
def test_it_is_a_projection_both_ways(operator, symmetry, monkeypatch):
    x = torch.randn(2, *operator.image_shape, generator=make_generator("cpu", 3))
    exact, iterated = (made(operator, symmetry, lanczos, monkeypatch) for lanczos in (False, True))
    hidden = exact(x)
    assert 0.05 < float(hidden.square().sum() / x.square().sum()) < 0.95
    torch.testing.assert_close(exact(hidden), hidden, rtol=0, atol=1e-4)
    # eigenvalues beside the threshold, as turned ones have, Lanczos tells in part
    assert float((iterated(x) - hidden).norm()) < 0.05 * float(x.norm())
    for a in range(operator.count or 1):
        assert float(operator.select(torch.tensor([a])).A(hidden).norm()) < 0.05 * float(x.norm())


def test_of_nothing_it_is_nothing(monkeypatch):
    assert not made(inpainting(MASK), None, True, monkeypatch)(torch.zeros(1, 1, 8, 8)).any()


def test_in_words():
    def words(operator, symmetry):
        return never_seen(operator, symmetry, (1, 8, 8), make_generator("cpu", 0))

    missing = int((MASK == 0).sum())
    assert words(inpainting(MASK), None) == f"{missing} of 64 pixels"
    assert words(inpainting(MASK), Shift()) is None
    assert words(Identity(), None) is None
    no_mean = torch.ones(8, 8)
    no_mean[0, 0] = 0
    assert words(multiplier(no_mean), None) is None  # a constant that is taken for what it is known to be
