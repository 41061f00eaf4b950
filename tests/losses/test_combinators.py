"""Combinators: what they hand to their risk is a true measurement, at the level that they say, of a known signal."""

import pytest
import torch
import torch.nn.functional as F
from risk_statistics import (
    Biased,
    Case,
    Spy,
    check_unbiased,
    check_zero,
    draw,
    make_case,
    mean_square,
    nonlinear,
)

from unveil.errors import UnveilError
from unveil.problem import Problem
from unveil.random import make_generator
from unveil.risks import (
    R2R,
    SURE,
    AmbientTweedie,
    LogUniform,
    Mix,
    MonteCarloDivergence,
    Noisier,
    NormalizationLaw,
    Risk,
    Sum,
    Weighted,
    dilate,
    inverse_variance,
    paper_law,
    renormalize,
)
from unveil.shapes import expand


def narrow(sigma, generator):
    """The paper's law away from a = 0, where single precision ends."""
    a, mu = paper_law(sigma, generator)
    return 0.1 + 0.9 * a, mu


LAWS = {
    "default": NormalizationLaw(),
    "paper": narrow,
    "mu = 0": NormalizationLaw(0.2, offset=(0.0, 0.0)),
    "narrow": NormalizationLaw(0.2, offset=(0.4, 0.6)),
}
INNER = {"sure": SURE, "r2r": R2R, "ambient": AmbientTweedie}


def behind(combine, case):
    """generator -> A x', the noiseless measurement that `combine` makes of A x from the draws of the generator."""

    def target(generator):
        spy = Spy(case.problem)
        combine(spy)(lambda y, s: y, case.clean, case.sigma, generator)
        return spy.y

    return target


# --- renormalize


@pytest.mark.parametrize("problem", ["identity", "masks per sample", "masked pooling", "complex"])
@pytest.mark.parametrize("law", LAWS)
def test_renormalized_data_are_those_of_the_renormalized_signal(law, problem, device):
    """y' of A x is A (a x + mu 1), and the level is a sigma."""
    case = make_case(problem, device, torch.float64)
    spy = Spy(case.problem)
    renormalize(spy, LAWS[law])(lambda y, s: y, case.clean, case.sigma, make_generator(device, 4))
    a, mu = LAWS[law](case.sigma, make_generator(device, 4))
    assert a.std() > 0.1, "one draw per sample"
    signal = expand(a, case.x) * case.x + expand(mu, case.x)
    torch.testing.assert_close(spy.y, case.problem.predict(signal))
    torch.testing.assert_close(spy.sigma, a * case.sigma)


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("law", LAWS)
def test_renormalized_risks_are_unbiased(law, inner, device, dtype):
    for problem in ("identity", "masked pooling"):
        case = make_case(problem, device, dtype)
        combine = lambda risk: renormalize(risk, LAWS[law])  # noqa: E731
        check_unbiased(
            combine(INNER[inner](problem=case.problem)),
            case,
            nonlinear,
            repeats=40,
            target=behind(combine, case),
            sensitivity=0.06,
        )


@pytest.mark.parametrize("mistake", ["level", "shift without A", "columns"])
def test_wrong_renormalizations_are_rejected(mistake, device, dtype):
    case = make_case("complex", device, dtype)

    class WrongRenormalize(Risk):
        def __call__(self, f, y, sigma, generator):
            a, mu = NormalizationLaw()(sigma, generator)
            ones = torch.ones_like(y) if mistake == "shift without A" else self.problem.ones(y)
            scaled = (a if mistake == "columns" else expand(a, y)) * y
            level = sigma if mistake == "level" else a * sigma
            return SURE(problem=self.problem)(f, scaled + expand(mu, y) * ones, level, generator)

    with pytest.raises(Biased):
        check_unbiased(
            WrongRenormalize(case.problem),
            case,
            nonlinear,
            repeats=40,
            target=behind(renormalize, case),
            sensitivity=1e9,
        )


# --- Noisier and Weighted


@pytest.mark.parametrize("problem", ["identity", "masked pooling"])
@pytest.mark.parametrize("inner", [SURE, R2R])
def test_noisier_is_unbiased_at_its_level(inner, problem, device, dtype):
    case = make_case(problem, device, dtype)
    check_unbiased(Noisier(inner(problem=case.problem), LogUniform(1.0, 3.0)), case, nonlinear, repeats=40)


def test_noisier_at_ratio_one_is_the_risk_on_y(device, dtype):
    case = make_case("mask", device, dtype)
    y, sigma = draw(case)
    spy = Spy(case.problem)
    Noisier(spy, LogUniform(1.0, 1.0))(nonlinear, y, sigma, make_generator(device, 1))
    assert torch.equal(spy.y, y)
    assert torch.equal(spy.sigma, sigma)


def test_noisier_never_tells_less_than_the_noise(device, dtype):
    """A ratio below one cannot take noise away; to tell the estimator so would bias every risk."""
    case = make_case("identity", device, dtype)
    check_unbiased(Noisier(SURE(), LogUniform(0.5, 2.0)), case, nonlinear, repeats=40)


def test_weighted(device, dtype):
    case = make_case("mask", device, dtype)
    y, sigma = draw(case)
    risk = SURE(problem=case.problem)
    plain = risk(nonlinear, y, sigma, make_generator(device, 1))
    weighted = Weighted(risk)(nonlinear, y, sigma, make_generator(device, 1))
    assert torch.equal(weighted, inverse_variance(sigma) * plain)
    torch.testing.assert_close(weighted, plain / sigma**2)
    inside = renormalize(Weighted(Spy(), lambda s: s), lambda s, g: (0 * s + 0.5, 0 * s))
    torch.testing.assert_close(
        inside(lambda y, s: torch.ones_like(y), y, sigma, make_generator(device, 1)), 0.5 * sigma
    )


# --- dilate


def dilation_case(device, dtype, batch=12):
    case = make_case("identity", device, dtype, channels=2, height=8, width=48, batch=batch)
    return Case(Problem(), case.x, case.sigma)


@pytest.mark.parametrize("inner", INNER)
def test_dilated_risks_are_unbiased(inner, device, dtype):
    case = dilation_case(device, dtype)
    check_unbiased(dilate(INNER[inner]()), case, nonlinear, repeats=100, target=behind(dilate, case), sensitivity=0.06)


def test_the_recipes_compose(device, dtype):
    """Dilation around a mix of more noise: the draws of dilation come first."""
    case = dilation_case(device, dtype)
    noisier = Noisier(SURE(), LogUniform(1.0, 2.0))
    check_unbiased(dilate(noisier), case, nonlinear, repeats=100, target=behind(dilate, case), sensitivity=0.06)
    law = lambda sigma, generator: (0 * sigma + 0.6, 0 * sigma + 0.1)  # noqa: E731
    combine = lambda risk: dilate(renormalize(risk, law))  # noqa: E731
    check_unbiased(combine(R2R()), case, nonlinear, repeats=100, target=behind(combine, case), sensitivity=0.06)


def test_a_dilation_that_forgets_the_level_is_rejected(device, dtype):
    case = dilation_case(device, dtype)

    class Same(Risk):
        def __call__(self, f, y, sigma, generator):
            return dilate(SURE())(f, y, sigma * 2, generator)

    with pytest.raises(Biased):
        check_unbiased(Same(), case, nonlinear, repeats=100, target=behind(dilate, case), sensitivity=1e9)


def test_block_means_have_independent_noise_of_the_stated_level(device):
    generator, by_factor = make_generator(device, 6), {1: [], 2: [], 4: []}
    for _ in range(3):
        noise = torch.randn(256, 2, 16, 16, generator=generator, device=device, dtype=torch.float64)
        spy = Spy()
        dilate(spy)(lambda y, s: y, noise, torch.ones_like(noise[:, 0, 0, 0]), generator)
        assert spy.y.shape == (256, 2, 4, 4)
        for y, level in zip(spy.y, spy.sigma):
            by_factor[round(1 / float(level))].append(y / level)
    for k, values in by_factor.items():
        z = torch.stack(values)
        n = z.numel()
        assert abs(z.mean()) < 4 / n**0.5, k
        assert abs(z.square().mean() - 1) < 4 * (2 / n) ** 0.5, k
        pairs = (z[..., 1:] * z[..., :-1], z[..., 1:, :] * z[..., :-1, :], z[:, :1] * z[:, 1:])
        for product in pairs:
            assert abs(product.mean()) < 4 / product.numel() ** 0.5, k


def test_factors_and_windows_are_drawn_with_equal_odds(device):
    """A ramp r + 100 c tells by its block means where a window was."""
    rows, columns = (torch.arange(n, dtype=torch.float64, device=device) for n in (8, 16))
    ramp = (rows[:, None] + 100 * columns).expand(3000, 2, 8, 16)
    spy = Spy()
    dilate(spy)(lambda y, s: y, ramp, torch.ones(3000, dtype=torch.float64, device=device), make_generator(device, 7))
    assert spy.y.shape == (3000, 2, 2, 4)
    assert torch.equal(spy.y[:, 0], spy.y[:, 1]), "one window for all channels"
    k = (1 / spy.sigma).round().long()
    odds = torch.bincount(k)[[1, 2, 4]].double()
    assert ((odds - 1000) ** 2 / 1000).sum() < 13.8  # chi^2, 2 degrees, one in a thousand
    for factor in (1, 2, 4):
        y = spy.y[k == factor, 0]
        torch.testing.assert_close(y[:, 1:] - y[:, :-1], torch.full_like(y[:, 1:], factor))
        torch.testing.assert_close(y[..., 1:] - y[..., :-1], torch.full_like(y[..., 1:], 100 * factor))
        corner = y[:, 0, 0] - (factor - 1) / 2 * 101
        top, left = (corner % 100).round().long(), (corner // 100).long()
        for place, size in ((top, 2), (left, 4)):
            counts = torch.bincount(place).double()
            assert len(counts) == size * (4 - factor) + 1, "every place, and none outside"
            mean = counts.mean()
            freedom = max(len(counts) - 1, 1)
            assert ((counts - mean) ** 2 / mean).sum() < freedom + 4 * (2 * freedom) ** 0.5 + 3


def test_the_largest_factor_is_the_mean_of_the_whole_window(device, dtype):
    y = torch.rand(3, 1, 6, 9, generator=make_generator(device, 1), device=device, dtype=dtype)
    spy = Spy()
    dilate(spy, (3,))(nonlinear, y, torch.ones(3, device=device, dtype=dtype), make_generator(device, 1))
    torch.testing.assert_close(spy.y, F.avg_pool2d(y, 3))
    torch.testing.assert_close(spy.sigma, torch.full_like(spy.sigma, 1 / 3))


def test_dilation_by_one_is_the_risk_itself(device, dtype):
    y, sigma = draw(dilation_case(device, dtype))
    spy = Spy()
    dilate(spy, (1,))(nonlinear, y, sigma, make_generator(device, 1))
    assert torch.equal(spy.y, y)
    assert torch.equal(spy.sigma, sigma)


def test_dilation_refuses(device):
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    for risk, factors, message in (
        (SURE(problem=Problem(None, mask)), (1, 2), "block means"),
        (SURE(problem=make_case("pooling", device, torch.float32).problem), (1, 2), "block means"),
        (SURE(), (), "factors"),
        (SURE(), (0, 2), "factors"),
    ):
        with pytest.raises(UnveilError, match=message):
            dilate(risk, factors)
    y = torch.zeros(2, 1, 8, 6, device=device)
    with pytest.raises(UnveilError, match=r"8x6.*4"):
        dilate(SURE())(nonlinear, y, torch.ones(2, device=device), make_generator(device, 1))


# --- Mix


def test_a_mix_shares_the_batch_in_order(device, dtype):
    y = torch.arange(8, device=device, dtype=dtype).reshape(8, 1, 1).expand(8, 2, 3)
    sigma = torch.arange(1, 9, device=device, dtype=dtype)
    spies = [Spy(), Spy(), Spy()]
    mix = Mix([(0.5, spies[0]), (0.375, spies[1]), (0.125, spies[2])])
    value = mix(lambda y, s: y, y, sigma, make_generator(device, 1))
    assert torch.equal(value, y[:, 0, 0])
    assert [len(spy.y) for spy in spies] == [4, 3, 1]
    assert torch.equal(torch.cat([spy.sigma for spy in spies]), sigma)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("shares", [[1 / 3] * 3, [0.1] * 10, [0.5, 0.5], [0.9, 0.1]])
def test_a_mix_covers_every_batch(shares, batch, device):
    y = torch.arange(batch, device=device).float().reshape(-1, 1)
    mix = Mix([(share, Spy()) for share in shares])
    assert torch.equal(mix(lambda y, s: y, y, y[:, 0] + 1, make_generator(device, 1)), y[:, 0])


def test_the_cost_of_a_mix():
    mix = Mix([(0.5, SURE()), (0.25, R2R()), (0.25, SURE(MonteCarloDivergence(part=0.5)))])
    assert mix.passes == 0.5 * 2 + 0.25 + 0.25 * 1.5
    assert dilate(renormalize(Weighted(Noisier(mix, LogUniform(1, 2))))).passes == mix.passes


def test_a_mix_is_unbiased(device, dtype):
    """Against the supervised risk at y itself: SURE shows y to the estimator unchanged, in both halves."""
    case = make_case("mask", device, dtype)
    mix, rows = Mix([(0.5, SURE(problem=case.problem)), (0.5, SURE(problem=case.problem))]), []
    for r in range(40):
        y = case.measure(make_generator(device, r, 1))
        value = mix(nonlinear, y, case.sigma, make_generator(device, r, 2))
        error = mean_square(case.problem, case.problem.predict(nonlinear(y, case.sigma)) - case.clean)
        rows.append((value - error) / case.sigma**2)
    check_zero(torch.stack(rows).double(), "mix")


@pytest.mark.parametrize("shares", [[], [0.5], [0.7, 0.7], [1.5, -0.5], [1.0, 0.0]])
def test_a_mix_refuses(shares):
    with pytest.raises(UnveilError, match="shares"):
        Mix([(share, SURE()) for share in shares])


def test_r2r_refuses():
    for a in (0.0, -1.0, float("nan")):
        with pytest.raises(UnveilError, match="ratio"):
            R2R(a)


def test_the_offset_of_the_normalization_law_bounds_mu(device):
    sigma = torch.ones(1000, device=device)
    for low, high in ((0.0, 0.0), (0.4, 0.6), (0.0, 1.0)):
        a, mu = NormalizationLaw(offset=(low, high))(sigma, make_generator(device, 0))
        share = mu / (1 - a)
        assert float(share.min()) >= low - 1e-4
        assert float(share.max()) <= high + 1e-4
        assert float(share.max() - share.min()) >= 0.9 * (high - low)
    with pytest.raises(UnveilError, match="offset"):
        NormalizationLaw(offset=(0.5, 1.5))


def test_a_sum_weighs_its_risks_on_the_same_batch(device, dtype):
    case = make_case("identity", device, dtype)
    f, (y, sigma) = nonlinear, draw(case)
    one, other = R2R(), SURE()
    total = Sum([(2.0, one), (0.5, other)])
    generator = make_generator(device, 2)
    expected = 2 * one(f, y, sigma, generator) + 0.5 * other(f, y, sigma, generator)
    torch.testing.assert_close(total(f, y, sigma, make_generator(device, 2)), expected)
    assert total.passes == one.passes + other.passes
    with pytest.raises(UnveilError, match="weights of a sum"):
        Sum([(0.0, one)])
