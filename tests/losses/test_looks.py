"""Learning from images beside a camera: the exact estimator of white images is the minimiser."""

import pytest
import torch

from unveil.diffusion import HIGHEST
from unveil.instruments.inpainting.operator import Inpainting
from unveil.losses import Looks
from unveil.noise import Gaussian
from unveil.random import normal
from unveil.shapes import expand

MEAN, STD, SIGMA, SIDE, LOWEST = 0.4, 0.3, 0.2, 4, 0.1
SHOWN = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3)) < 0.5


def exact(m, std=STD):
    """E[x | y, x_t] of white images: each pixel by itself."""
    m, root, scaled = m.apart()
    seen, root = m.operator.measured.to(scaled) / SIGMA**2, expand(root, scaled)
    precision = seen + root.square() + std**-2
    return (seen * m.y + root * scaled + MEAN / std**2) / precision


@pytest.mark.parametrize("blind", [0.0, 0.1, 1.0])
def test_the_share_that_the_camera_says_nothing_of(blind, generator, device):
    x = torch.zeros(4000, 1, SIDE, SIDE, device=device)
    said = []

    def f(m):
        said.append(m.apart()[1])
        return x

    operator = Inpainting((1, SIDE, SIDE), SHOWN).to(device)
    Looks(STD, LOWEST, blind=blind)(f, x, operator, Gaussian(SIGMA), generator)
    share = float((said[0] == 0).float().mean())
    assert abs(share - blind) <= 4 * (blind * (1 - blind) / len(x)) ** 0.5


@pytest.fixture
def drawn(device, generator):
    """Losses of many images by an estimator, on the same draws."""
    x = MEAN + STD * normal(torch.empty(6000, 1, SIDE, SIDE, dtype=torch.float64, device=device), generator)
    operator = Inpainting((1, SIDE, SIDE), SHOWN).to(device)
    state = generator.get_state()

    def losses(f):
        generator.set_state(state)
        return Looks(STD, LOWEST)(f, x, operator, Gaussian(SIGMA), generator)

    return losses


@pytest.mark.parametrize("where", ["seen", "unseen"])
def test_the_exact_estimator_is_the_minimiser(drawn, where, device):
    """Moved by d it has the loss E |d|^2 / (n v_t^2) more: the first order is 0, of a wrong estimator it is not."""
    push = 0.05 * (SHOWN if where == "seen" else ~SHOWN).double().to(device)

    def gap(f, sign):
        def moved(m):
            return f(m) + sign * push * (exact(m) - MEAN) / STD

        return drawn(moved) - drawn(f)

    def first_order(f):
        both = (gap(f, 1) - gap(f, -1)) / 2
        return float(both.mean()), float(both.std() / len(both) ** 0.5)

    mean, error = first_order(exact)
    assert abs(mean) < 4 * error
    for wrong in (lambda m: exact(m, 0.8 * STD), lambda m: 0.95 * (exact(m) - MEAN) + MEAN):
        mean, error = first_order(wrong)
        assert abs(mean) > 6 * error


def test_levels_run_from_nothing_to_what_can_be_seen(drawn):
    roots = []

    def f(m):
        roots.append(m.apart()[1])
        return exact(m)

    drawn(f)
    (root,) = roots
    blind, looked = root == 0, 1 / root[root > 0]
    assert float(blind.double().mean()) == pytest.approx(0.1, abs=0.02)
    assert float(looked.max()) <= HIGHEST * STD * 1.0001
    assert float(looked.min()) >= LOWEST * SIGMA * 0.9999
    share = (looked / (LOWEST * SIGMA)).log() / torch.tensor(HIGHEST * STD / (LOWEST * SIGMA)).log()
    assert float(share.mean()) == pytest.approx(0.5, abs=4 * (1 / 12 / len(share)) ** 0.5)
