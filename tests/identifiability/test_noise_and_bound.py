"""Characteristic functions against samples and their zeros against a grid; the counts of measurements."""

import math

import pytest
import torch

from unveil.errors import UnveilError
from unveil.identifiability.bound import least_measurements, measured_entries
from unveil.identifiability.noise import FAMILIES, first_zero, noise_family
from unveil.noises import families
from unveil.operators import Identity, inpainting
from unveil.random import make_generator, normal

N = 400_000


def samples(name):
    """Draws (N,) of each family, of the parameters that its docstring states."""
    generator = make_generator("cpu", 3)
    like = torch.empty(N, dtype=torch.float64)
    w = normal(like, generator)
    u, v = (torch.rand(N, generator=generator, dtype=torch.float64) for _ in range(2))
    v_normal = normal(like, generator)
    counts = torch.poisson(torch.ones_like(like), generator=generator)
    return {
        "gaussian": w,
        "correlated": w,
        "laplace": (u.log() - v.log()) / math.sqrt(2),
        "poisson": counts,
        "poisson-gaussian": counts + w,
        "uniform": math.sqrt(3) * (2 * u - 1),
        "triangular": math.sqrt(6) * (u + v - 1),
        "two-valued": torch.where(u < 0.5, 1.0, -1.0).double(),
        "gamma": (-u.log()).log() * math.sqrt(6) / math.pi,
        "rician": ((1 + w).square() + v_normal.square()) / math.sqrt(8),
        "salt-and-pepper": torch.where(u < 0.125, 2.0, torch.where(u < 0.25, -2.0, 0.0)).double(),
    }[name]


@pytest.mark.parametrize("name", FAMILIES)
def test_characteristic_functions_are_those_of_samples(name):
    """E exp(i t n) at 8 t, within 4.5 standard errors."""
    n = samples(name)
    assert float(n.var()) == pytest.approx(2 if name == "poisson-gaussian" else 1, rel=0.01)
    for t in torch.linspace(0.2, 6, 8, dtype=torch.float64):
        phi = FAMILIES[name].phi(t[None])[0]
        for part, value in ((torch.cos(t * n), phi.real), (torch.sin(t * n), phi.imag)):
            assert abs(part.mean() - value) < 4.5 * part.std() / N**0.5 + 1e-12


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_invertible_where_its_characteristic_function_has_no_zero(name):
    zero = first_zero(FAMILIES[name].phi)
    assert (zero is None) == FAMILIES[name].invertible
    at = {"uniform": math.pi / math.sqrt(3), "triangular": 2 * math.pi / math.sqrt(6), "two-valued": math.pi / 2}
    if zero is not None:
        assert zero == pytest.approx(at[name], rel=1e-5)


def test_what_is_not_supported_says_why_and_what_to_do():
    for kind, family in FAMILIES.items():
        assert bool(family.instead) == (kind not in families())
        if family.instead:
            assert family.why in family.refusal
            assert family.instead in family.refusal
            assert "\n" not in family.refusal


def test_a_small_minimum_is_no_zero():
    for mean in (1.0, 5.0):
        assert first_zero(lambda t, u=mean: torch.exp(u * torch.complex(t.cos() - 1, t.sin()))) is None
    assert first_zero(lambda t: (t.cos() + 1e-2) / 2 + 0.6 + 0j) is None
    assert first_zero(lambda t: t.cos() + 1.0 + 0j) == pytest.approx(math.pi, abs=1e-3)  # touches zero


def test_names_of_noise():
    assert noise_family("Poisson_Gaussian") is FAMILIES["poisson-gaussian"]
    with pytest.raises(UnveilError, match="'pink'"):
        noise_family("pink")


def test_the_bound():
    assert least_measurements(100, 4) == 25
    assert least_measurements(100, 3) == 34
    assert least_measurements(100, 1) == 100
    assert least_measurements(100, math.inf) == 1
    assert least_measurements(100, 2, 10) == 5


def test_measured_entries():
    mask = torch.zeros(3, 4, 5)
    mask[0, 0] = mask[1, :2] = mask[2, 0, 0] = 1
    assert measured_entries(inpainting(mask[0], 2), (2, 4, 5)) == 10
    assert measured_entries(inpainting(mask), (1, 4, 5)) == 10
    assert measured_entries(Identity(), (3, 4, 5)) == 60
