"""Combinators: what they hand to their loss is a true measurement, with the noise that they say, of a known signal."""

from dataclasses import replace

import pytest
import torch
from loss_statistics import (
    MANY,
    Biased,
    Spy,
    behind,
    check_unbiased,
    check_zero,
    draw,
    estimator,
    linear,
    make_case,
    mean_over,
    nonlinear,
)

from unveil.errors import UnveilError
from unveil.losses import (
    LogUniform,
    Loss,
    Mix,
    Noisier,
    NormalizationLaw,
    Normalize,
    Recorruption,
    Stein,
    Sum,
    Weighted,
    paper_law,
    precision,
)
from unveil.measurement import Measurement
from unveil.noise import NOISES, Gaussian, Poisson
from unveil.operators import Identity
from unveil.random import make_generator
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
both_families = pytest.mark.parametrize("family", NOISES)


def many(family, loss):
    """Of counts, Stein's estimate needs many photons for an estimator that bends; of speckle, many looks, or a ninth of
    them has tails that drown what is tested."""
    return MANY.get(family, family) if isinstance(loss, Stein) else family


# --- Normalize


@pytest.mark.parametrize("operator", ["identity", "masks per sample", "masked binning", "coils"])
@pytest.mark.parametrize("law", LAWS)
def test_normalized_data_are_those_of_the_normalized_signal(law, operator, device):
    """y' of A x is A (a x + mu 1), at the level a sigma; of counts A (a x), with the gain a gain."""
    for family in NOISES:
        case = make_case(operator, device, torch.float64, family)
        spy, m = Spy(), Measurement(case.clean, case.operator, case.noise)
        Normalize(spy, LAWS[law])(lambda m: m.y, m, make_generator(device, 4))
        a, mu = LAWS[law](m.level, make_generator(device, 4))
        assert a.std() > 0.1, "one draw per sample"
        signal = expand(a, case.x) * case.x + (expand(mu, case.x) if case.noise.additive else 0)
        torch.testing.assert_close(spy.m.y, case.operator.A(signal))
        torch.testing.assert_close(spy.m.noise.variance(spy.m.y), expand(a, m.y) ** 2 * m.noise.variance(m.y))
        assert spy.m.operator is case.operator


@both_families
@pytest.mark.parametrize("inner", [Stein(), Recorruption()], ids=["stein", "recorruption"])
@pytest.mark.parametrize("law", ["default", "paper", "narrow"])
def test_normalized_losses_are_unbiased(law, inner, family, device, dtype):
    for operator in ("identity", "masked binning"):
        case = make_case(operator, device, dtype, many(family, inner))
        combine = lambda loss: Normalize(loss, LAWS[law])  # noqa: E731
        check_unbiased(combine(inner), case, nonlinear, target=behind(combine, case), sensitivity=0.06)


class WrongNormalize(Loss):
    def __init__(self, mistake):
        self.mistake = mistake

    def __call__(self, f, m, generator):
        a, mu = NormalizationLaw()(m.level, generator)
        ones = torch.ones_like(m.y) if self.mistake == "shift without A" else m.operator.ones(m.y)
        y = (a if self.mistake == "columns" else expand(a, m.y)) * m.y
        if m.noise.additive or self.mistake == "counts shifted":
            y = y + expand(mu, y) * ones
        noise = m.noise.scaled({"noise not scaled": torch.ones_like(a), "gain times a^2": a**2}.get(self.mistake, a))
        return Recorruption()(f, replace(m, y=y, noise=noise), generator)


@pytest.mark.parametrize(
    ("family", "mistake"),
    [
        ("gaussian", None),
        ("gaussian", "noise not scaled"),
        ("gaussian", "shift without A"),
        ("gaussian", "columns"),
        ("poisson", None),
        ("poisson", "noise not scaled"),
        ("poisson", "gain times a^2"),
        ("poisson", "counts shifted"),
        ("poisson", "columns"),
    ],
)
def test_wrong_normalizations_are_rejected(family, mistake, device, dtype):
    case = make_case("complex" if family == "gaussian" else "masks per sample", device, dtype, family)

    def check():
        target = behind(Normalize, case)
        if mistake == "counts shifted":  # by its own standards: of the brighter image
            target = behind(lambda spy: WrongShift(spy), case)
        check_unbiased(WrongNormalize(mistake), case, nonlinear, target=target, sensitivity=1e9 if mistake else 0.06)

    if mistake is None:
        return check()
    with pytest.raises(Biased):
        check()


class WrongShift(Loss):
    """The brighter image that shifted counts would be of."""

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, f, m, generator):
        a, mu = NormalizationLaw()(m.level, generator)
        return self.loss(f, m.at(expand(a, m.y) * m.y + expand(mu, m.y) * m.operator.ones(m.y)), generator)


# --- coarser measurements


class Coarser(Loss):
    """The loss of the measurement of k times larger pixels.

    factor: k^2, the exposure that its noise is said to have.
    """

    def __init__(self, loss, k=2, factor=None):
        self.loss, self.k, self.factor = loss, k, k**2 if factor is None else factor

    def __call__(self, f, m, generator):
        coarse = m.coarser(self.k)
        return self.loss(f, replace(coarse, noise=m.noise.exposed(self.factor)), generator)


def check_coarser(loss, operator, family, device, dtype, **options):
    """The means over pixels of counts are counts again: of k^2 times as many photons."""
    case = make_case(operator, device, dtype, many(family, loss.loss), height=4)
    target = behind(lambda spy: Coarser(spy, loss.k), case)
    check_unbiased(loss, case, nonlinear, target=target, judged=lambda shown: shown.operator, **options)


COARSER = [("gaussian", "identity"), ("gaussian", "coils"), ("poisson", "identity")]


@pytest.mark.parametrize("inner", [Stein(), Recorruption()], ids=["stein", "recorruption"])
@pytest.mark.parametrize(("family", "operator"), COARSER)
def test_losses_of_coarser_measurements_are_unbiased(family, operator, inner, device, dtype):
    for k in (2, 4):
        check_coarser(Coarser(inner, k), operator, family, device, dtype, sensitivity=0.08)


@pytest.mark.parametrize("factor", [1, 2, 3, 8, 16], ids=lambda factor: f"exposure {factor} for 4")
@pytest.mark.parametrize(("family", "operator"), COARSER)
def test_a_wrong_noise_of_coarser_measurements_is_rejected(family, operator, factor, device, dtype):
    """The gain not divided by k^2, or by k alone, or sigma by k^2."""
    with pytest.raises(Biased):
        check_coarser(Coarser(Recorruption(), 2, factor), operator, family, device, dtype, sensitivity=1e9)


@pytest.mark.parametrize(("family", "operator"), COARSER)
def test_the_recipes_compose(family, operator, device, dtype):
    """Coarser measurements, normalized, at higher levels."""
    law = lambda sigma, generator: (0 * sigma + 0.6, 0 * sigma + 0.1)  # noqa: E731
    case = make_case(operator, device, dtype, family, height=4)
    combine = lambda loss: Coarser(Normalize(loss, law))  # noqa: E731
    check_unbiased(
        combine(Noisier(Recorruption(), LogUniform(1.0, 2.0))),
        case,
        nonlinear,
        target=behind(combine, case),
        judged=lambda shown: shown.operator,
        sensitivity=0.08,
    )


# --- Noisier


@both_families
@pytest.mark.parametrize("operator", ["identity", "masked binning"])
@pytest.mark.parametrize("inner", [Stein(), Recorruption()], ids=["stein", "recorruption"])
def test_noisier_is_unbiased_at_its_level(inner, operator, family, device, dtype):
    case = make_case(operator, device, dtype, many(family, inner))
    check_unbiased(Noisier(inner, LogUniform(1.0, 3.0)), case, nonlinear)


@both_families
def test_noisier_at_ratio_one_is_the_loss_on_y(family, device, dtype):
    m, spy = draw(make_case("mask", device, dtype, family)), Spy()
    Noisier(spy, LogUniform(1.0, 1.0))(lambda m: m.y, m, make_generator(device, 1))
    torch.testing.assert_close(spy.m.y, m.y)
    torch.testing.assert_close(spy.m.noise.variance(m.y), m.noise.variance(m.y))


@both_families
def test_noisier_never_tells_less_than_the_noise(family, device, dtype):
    """A ratio below one cannot take noise away; to tell the estimator so would bias every loss."""
    case = make_case("identity", device, dtype, family)
    check_unbiased(Noisier(Stein(), LogUniform(0.5, 2.0)), case, linear)


# --- Weighted


@both_families
def test_weighted(family, device, dtype):
    for operator, unseen in (("mask", 0.05), ("identity", 0.0)):
        m, f = draw(make_case(operator, device, dtype, family)), estimator(nonlinear)
        plain = Stein()(f, m, make_generator(device, 1))
        weighted = Weighted(Stein())(f, m, make_generator(device, 1))
        assert torch.equal(weighted, precision(m) * plain)
        torch.testing.assert_close(weighted, plain / (m.level**2 + unseen**2))


def test_a_weight_hears_of_what_its_loss_is_given(device, dtype):
    m = draw(make_case("mask", device, dtype))
    inside = Normalize(Weighted(Spy(), lambda m: m.level), lambda s, g: (0 * s + 0.5, 0 * s))
    value = inside(lambda m: torch.ones_like(m.y), m, make_generator(device, 1))
    torch.testing.assert_close(value, 0.5 * m.noise.sigma)


def test_a_dark_image_has_a_finite_weight(device, dtype):
    """A crop without a single photon among others: its loss must not drown theirs."""
    noise = Poisson(torch.tensor(0.02, device=device, dtype=dtype))
    y = torch.stack([torch.zeros(1, 16, 16), torch.full((1, 16, 16), 0.5)]).to(device, dtype)
    value = Weighted(Stein())(lambda m: 0.9 * m.y + 1e-4, Measurement(y, Identity(), noise), make_generator(device, 1))
    assert value.isfinite().all()
    assert value[0].abs() < 1


# --- Mix and Sum


def numbered(batch, device, dtype=torch.float32):
    """A measurement whose samples and levels tell their number."""
    number = torch.arange(batch, device=device, dtype=dtype)
    return Measurement(number.reshape(-1, 1, 1).expand(batch, 2, 3), Identity(), Gaussian(number + 1))


def test_a_mix_shares_the_batch_in_order(device, dtype):
    m, spies = numbered(8, device, dtype), [Spy(), Spy(), Spy()]
    mix = Mix([(0.5, spies[0]), (0.375, spies[1]), (0.125, spies[2])])
    value = mix(lambda m: m.y, m, make_generator(device, 1))
    assert torch.equal(value, m.y[:, 0, 0])
    assert [len(spy.m) for spy in spies] == [4, 3, 1]
    assert torch.equal(torch.cat([spy.m.level for spy in spies]), m.level)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("shares", [[1 / 3] * 3, [0.1] * 10, [0.5, 0.5], [0.9, 0.1]])
def test_a_mix_covers_every_batch(shares, batch, device):
    m = numbered(batch, device)
    mix = Mix([(share, Spy()) for share in shares])
    assert torch.equal(mix(lambda m: m.y, m, make_generator(device, 1)), m.y[:, 0, 0])


@both_families
def test_a_mix_is_unbiased(family, device, dtype):
    """Of masks of their own, and of one loss: what each half shows to the estimator first is its own y."""
    case = make_case("masks per sample", device, dtype, family)
    rows, f = [], estimator(linear)
    for r in range(40):
        m = case.measure(make_generator(device, r, 1))
        value = Mix([(0.5, Stein()), (0.5, Stein())])(f, m, make_generator(device, r, 2))
        error = mean_over(case.operator, (case.operator.A(f(m)) - case.clean).square())
        rows.append((value - error) / case.scale)
    check_zero(torch.stack(rows).double(), "mix")


@pytest.mark.parametrize("shares", [[], [0.5], [0.7, 0.7], [1.5, -0.5], [1.0, 0.0]])
def test_a_mix_refuses(shares):
    with pytest.raises(UnveilError, match="shares"):
        Mix([(share, Stein()) for share in shares])


def test_a_sum_weighs_its_losses_on_the_same_batch(device, dtype):
    m, f = draw(make_case("identity", device, dtype)), estimator(nonlinear)
    one, other = Recorruption(), Stein()
    total = Sum([(2.0, one), (0.5, other)])
    generator = make_generator(device, 2)
    expected = 2 * one(f, m, generator) + 0.5 * other(f, m, generator)
    torch.testing.assert_close(total(f, m, make_generator(device, 2)), expected)
    with pytest.raises(UnveilError, match="weights of a sum"):
        Sum([(0.0, one)])


def test_what_combinations_cost():
    mix = Mix([(0.5, Stein()), (0.5, Recorruption())])
    assert mix.passes == 1.5
    assert Normalize(Weighted(Noisier(mix, LogUniform(1, 2)))).passes == mix.passes
    assert Sum([(1.0, mix), (0.1, Stein())]).passes == 3.5


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
