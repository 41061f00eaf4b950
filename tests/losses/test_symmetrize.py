"""The loss of a network that does not know how the image is turned: sample by sample, and around splitting."""

import pytest
import torch
from dense import IMAGE, LinearCase, M, random
from loss_statistics import check_zero, mean_over

from unveil.errors import UnveilError
from unveil.losses import Consistency, Hide, Recorruption, Stein, Symmetrize
from unveil.random import make_generator
from unveil.shapes import expand
from unveil.symmetry import Flip, Shift, make_symmetry

SYMMETRIES = pytest.mark.parametrize("symmetry", [Flip(), Shift()], ids=["flip", "shift"])


class Uneven:
    """f(m) = A^T y + y_0 c with a fixed image c: it prefers an orientation."""

    def __init__(self, device):
        self.c = random(device, 1, *IMAGE, key=30)
        self.told = []

    def __call__(self, m):
        self.told.append(m.operator)
        return m.operator.A_adjoint(m.y) + expand(m.y[:, 0, 0, 0], m.y) * self.c


class Keep(Consistency):
    """With what the estimator answered."""

    def __call__(self, f, m, generator):
        self.output = f(m)
        return super().__call__(f, m, generator)


@SYMMETRIES
def test_it_turns_the_operator_and_the_estimate_back(symmetry, device):
    """f_g(y) = T_g f(y; A T_g) sample by sample: T_g T_g^T A^T y = A^T y, and c is turned."""
    case, f, keep = LinearCase(device), Uneven(device), Keep()
    m = case.measure(make_generator(device, 1))
    value = Symmetrize(keep, symmetry)(f, m, make_generator(device, 2))
    g = symmetry.draw(case.x, make_generator(device, 2))
    turned = symmetry.apply(f.c.expand_as(case.x), g)
    expected = case.operator.A_adjoint(m.y) + expand(m.y[:, 0, 0, 0], m.y) * turned
    torch.testing.assert_close(keep.output, expected, rtol=0, atol=1e-12)
    assert (turned != f.c).flatten(1).any(1).sum() > M / 2
    torch.testing.assert_close(value, mean_over(case.operator, (m.y - case.operator.A(expected)).square()))
    told = f.told[0]
    told.check_adjoint(m.y, make_generator(device, 3), tolerance=1e-10)
    torch.testing.assert_close(told.A(case.x), case.operator.A(symmetry.apply(case.x, g)))
    assert told.measured is case.operator.measured
    assert told.unseen == case.operator.unseen
    assert told.image_shape == IMAGE


@pytest.mark.parametrize(
    ("family", "base"), [("gaussian", Stein), ("gaussian", Recorruption), ("poisson", Recorruption)]
)
def test_symmetrized_splitting_is_unbiased(base, family, device):
    """A loss of f_g is one of whatever f_g is: at each draw of g, and of what is hidden."""
    case, f, rows = LinearCase(device, family), Uneven(device), []

    class Compared(base):
        def __call__(self, f, m, generator):
            shown = []
            value = super().__call__(lambda m: (shown.append(m), f(m))[1], m, generator)
            error = mean_over(m.operator, m.operator.A(f(shown[0]) - case.x).square())
            self.d = (value - error) / mean_over(m.operator, m.noise.variance(case.operator.A(case.x)))
            return value

    compared = Compared()
    loss = Symmetrize(Hide(compared, 0.3, keep=0.3, axes=(-1,)), Flip())
    for r in range(240):
        loss(f, case.measure(make_generator(device, 40, r, 1)), make_generator(device, 40, r, 2))
        rows.append(compared.d)
    check_zero(torch.stack(rows), "splitting of a turned operator", sensitivity=0.1)
    assert any((a.measured != case.operator.measured).any() for a in f.told)


def test_gradients_flow_through_the_turned_operator(device):
    case = LinearCase(device)
    gain = torch.ones((), dtype=torch.float64, device=device, requires_grad=True)
    m = case.measure(make_generator(device, 1))

    def f(m):  # a step towards the data from an image that is learned
        x = gain * torch.ones_like(case.x)
        return x + m.operator.A_adjoint(m.y - m.operator.A(x))

    def value():
        return Symmetrize(Consistency(), Shift())(f, m, make_generator(device, 2)).sum()

    (gradient,) = torch.autograd.grad(value(), gain)
    with torch.no_grad():
        low, high = (value() for step in (-1e-4, 2e-4) if gain.add_(step) is not None)
    torch.testing.assert_close(gradient, (high - low) / 2e-4, rtol=1e-6, atol=1e-8)


def test_an_affine_symmetry_cannot_turn_an_operator():
    with pytest.raises(UnveilError, match="affine") as caught:
        Symmetrize(Stein(), make_symmetry(["amplitude"]))
    assert "\n" not in str(caught.value)


def test_it_costs_what_its_loss_costs():
    for base in (Stein(), Recorruption()):
        assert Symmetrize(Hide(base), Flip()).passes == base.passes
