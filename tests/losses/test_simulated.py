"""Signals measured again: the supervised loss of a linear estimator, in closed form, and wrong simulations are
rejected."""

import pytest
import torch
from dense import LinearCase, check_ratio
from loss_statistics import FAMILIES, Biased, check_zero

from unveil.losses import LogUniform, Simulated
from unveil.measurement import Measurement
from unveil.noise import NOISES
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.shapes import expand
from unveil.symmetry import Flip, Shift

LOW, HIGH = 0.5, 2.0
"""s / sigma: below 1 too, as signals that are known can be measured for longer than the data were."""

both_families = pytest.mark.parametrize("family", NOISES)


def weight(m):
    """Of the noise alone; a weight that looks at y would have no closed form."""
    return 1 / (1 + next(iter(vars(m.noise).values())))


def check_simulated(loss, case, symmetry, sensitivity=0.04):
    heard = []

    def f(m):
        heard.append(m)
        return case.f(m)

    def value(r):
        return loss(f, case.x, case.operator, case.noise, make_generator(case.x.device, 13, r))

    def expected(r):
        m = heard[-1]
        return weight(m) * case.again(symmetry, case.signal, torch.zeros_like(m.y).flatten(1), m.noise)

    d = check_ratio(value, expected, 100, "simulated measurements over their closed form", sensitivity)
    ratios = torch.stack([next(iter(vars(m.noise).values())) for m in heard]) / next(iter(vars(case.noise).values()))
    drawn = ratios.log() / (1 if case.noise.additive else 2)  # s / sigma; gains are its square
    check_zero(d * (drawn - drawn.mean()), "the same where the levels are high or low", sensitivity)
    z = drawn.mean() / (drawn.std() / drawn.numel() ** 0.5)  # of LogUniform(1 / 2, 2)
    assert abs(z) < 4
    assert LOW - 1e-9 <= drawn.exp().min() < 1.05 * LOW < 0.95 * HIGH < drawn.exp().max() <= HIGH + 1e-9


@both_families
@pytest.mark.parametrize("symmetry", [None, Flip(), Shift()], ids=["none", "flip", "shift"])
def test_it_is_the_supervised_loss_of_a_linear_estimator(symmetry, family, device):
    loss = Simulated(LogUniform(LOW, HIGH), symmetry, weight)
    check_simulated(loss, LinearCase(device, family), symmetry)
    assert loss.passes == 1


class WrongSimulated(Simulated):
    """Rewritten, the way that mistakes are made in."""

    def __init__(self, mistake, *arguments):
        super().__init__(*arguments)
        self.mistake = mistake

    def __call__(self, f, signals, operator, noise, generator):
        mistake = self.mistake
        x = self.symmetry.transform(signals, generator)
        t = self.ratio(signals.flatten(1)[:, 0], generator) ** -2
        exposed = noise.exposed(t)
        u = operator.A(signals if mistake == "x measured, T x wanted" else x)
        y = (noise if mistake == "measured at exposure 1" else exposed).sample(u, generator)
        if mistake == "no noise":
            y = u
        if mistake == "columns":
            parameter = next(iter(vars(exposed).values()))
            y = u + (y - u) / expand(parameter, u) * parameter
        m = Measurement(y, operator, exposed)
        square = (f(m) - x).square().flatten(1).mean(1)
        return square if mistake == "no weight" else self.weight(m) * square


@both_families
@pytest.mark.parametrize(
    "mistake", [None, "x measured, T x wanted", "no noise", "columns", "measured at exposure 1", "no weight"]
)
def test_wrong_simulations_are_rejected(mistake, family, device):
    case = LinearCase(device, family)
    loss = WrongSimulated(mistake, LogUniform(LOW, HIGH), Flip(), weight)
    if mistake is None:
        return check_simulated(loss, case, Flip())
    with pytest.raises(Biased):
        check_simulated(loss, case, Flip(), sensitivity=1e9)


@both_families
def test_the_default_weight_is_the_precision(family, device, dtype):
    x = torch.full((4, 1, 6, 6), 0.5, device=device, dtype=dtype)
    noise, told = FAMILIES[family](torch.tensor(2.0, device=device)), []

    def f(m):
        told.append(m.level)
        return 0 * m.y

    value = Simulated(LogUniform(LOW, HIGH))(f, x, Identity(), noise, make_generator(device, 1))
    torch.testing.assert_close(value, 0.25 / told[0] ** 2)
    if family == "gaussian":
        assert told[0].std() > 0.01, "one level for each sample"
