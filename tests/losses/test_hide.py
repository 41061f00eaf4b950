"""Splitting: f is shown a part of the entries and told which; the losses of it are unbiased, and wrong ones are
rejected."""

import pytest
import torch
from dense import IMAGE, Matrix, N, random
from loss_statistics import (
    CASES,
    ESTIMATORS,
    Biased,
    Recorder,
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
from unveil.instruments.inpainting.operator import Inpainting
from unveil.losses import Consistency, HiddenEntries, Hide, Loss, Recorruption, Stein
from unveil.measurement import Measurement
from unveil.noise import NOISES, Gaussian
from unveil.operators import Identity
from unveil.random import make_generator

both_families = pytest.mark.parametrize("family", NOISES)
SPLIT = [
    (family, operator)
    for family, operator in CASES
    if operator in ("masks per sample", "masked binning", "coils", "blur")
]
"""Masks of all kinds, and operators that see every pixel: of these too entries are hidden."""


@pytest.mark.parametrize("base", [Stein(), Recorruption()], ids=["stein", "recorruption"])
@pytest.mark.parametrize(("family", "operator"), SPLIT)
def test_hide_is_unbiased_for_the_estimator_that_sees_a_part(family, operator, base, device, dtype):
    """It estimates the error on all entries, those that f does not see included."""
    g = linear if isinstance(base, Stein) else nonlinear  # of counts Stein is exact for affine estimators
    case = make_case(operator, device, dtype, family)
    check_unbiased(Hide(base, share=0.3, keep=0.3), case, g, repeats=24, sensitivity=0.06)


class WrongHide(Hide):
    def __init__(self, mistake, *arguments, **options):
        super().__init__(*arguments, **options)
        self.mistake = mistake

    def __call__(self, f, m, generator):
        shown = self.shown(m.y, m.operator.hidden_axes() if self.axes is None else self.axes, generator)
        if self.mistake == "only the seen judged":
            return self.loss(f, m.hide(shown), generator)
        value = self.loss(lambda seen: f(seen.hide(shown)), m, generator)
        if self.mistake == "hidden noise not subtracted":  # as if m were the number of entries that f sees
            ones = m.operator.project(torch.ones_like(m.y))
            value = value + m.level**2 * (1 - (ones * shown).flatten(1).sum(1) / ones.flatten(1).sum(1))
        return value

    def shown(self, y, axes, generator):
        if self.mistake != "keep ignored":
            return super().shown(y, axes, generator)
        return Hide(self.loss, self.share, 0.0).shown(y, axes, generator)


@both_families
@pytest.mark.parametrize("mistake", [None, "only the seen judged", "hidden noise not subtracted"])
def test_wrong_hides_are_rejected(mistake, family, device, dtype):
    case = make_case("masks per sample", device, dtype, family)
    loss = WrongHide(mistake, Recorruption(), share=0.3, keep=0.3)
    if mistake is None:
        return check_unbiased(loss, case, nonlinear, repeats=24, sensitivity=0.06)
    with pytest.raises(Biased):
        check_unbiased(loss, case, nonlinear, repeats=24, sensitivity=1e9)


def check_what_is_hidden(make, axes, device, share=0.3, keep=0.4, batch=400):
    """Raises Biased unless, by binomial laws, `keep` of the samples are whole and `share` of the places of the others
    hidden."""
    m = Measurement(torch.ones(batch, 4, 6, 6, device=device), Identity(), Gaussian(1.0))
    f = Recorder(lambda m: m.y)
    make(Consistency(), share, keep, axes)(f, m, make_generator(device, 1))
    shown = f.first.operator.project(torch.ones_like(m.y))
    assert torch.equal(f.first.y, m.y * shown)
    other = [axis for axis in (1, 2, 3) if axis - 4 not in axes]
    alike = shown.amin(other, keepdim=True) if other else shown
    assert torch.equal(alike.expand_as(shown), shown), "hidden alike along the other axes"
    places = alike.flatten(1)
    whole = (places.min(1).values > 0).double()
    n = places.shape[1]
    odds = keep + (1 - keep) * (1 - share) ** n
    z = float(whole.mean() - odds) / (odds * (1 - odds) / batch) ** 0.5
    if abs(z) > 4:
        raise Biased(f"{float(whole.mean()):.3f} of the samples are whole, {z:.1f} standard errors from {odds:.3f}")
    hidden = (1 - places).double().mean(1)  # of all samples: mean (1 - keep) share, by the law of the sum of two draws
    mean, second = (1 - keep) * share, (1 - keep) * (share**2 + share * (1 - share) / n)
    z = float(hidden.mean() - mean) / ((second - mean**2) / batch) ** 0.5
    if abs(z) > 4:
        raise Biased(f"{float(hidden.mean()):.3f} of the places are hidden, {z:.1f} standard errors from {mean:.3f}")
    assert len({tuple(row.tolist()) for row in places}) > 20, "drawn anew for each sample"


@pytest.mark.parametrize("axes", [(-2, -1), (-1,), (-3, -2, -1)])
def test_what_hide_hides(axes, device):
    check_what_is_hidden(Hide, axes, device)
    with pytest.raises(Biased, match="whole"):
        check_what_is_hidden(lambda *given: WrongHide("keep ignored", *given), axes, device)
    with pytest.raises(Biased):
        check_what_is_hidden(lambda loss, share, keep, axes: Hide(loss, share / 2, keep, axes), axes, device)


def test_hide_draws_anew_at_each_call_and_costs_what_its_loss_costs(device, dtype):
    loss, m, masks = Hide(Recorruption()), draw(make_case("mask", device, dtype)), []
    for seed in (1, 1, 2):
        f = Recorder(estimator(linear))
        loss(f, m, make_generator(device, seed))
        masks.append(f.first.operator.measured)
        assert not (masks[-1] & ~m.operator.measured).any()
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert loss.passes == 1
    assert Hide(Stein()).passes == 2


def test_nothing_is_hidden_where_nothing_is_missing(device, dtype):
    """A loss of images says all of them already."""
    m, f = draw(make_case("identity", device, dtype)), Recorder(estimator(linear))
    value = Hide(Stein(), keep=0.0)(f, m, make_generator(device, 1))
    assert torch.equal(value, Stein()(estimator(linear), m, make_generator(device, 1)))
    assert f.first.operator is m.operator


# --- entries hidden for validation


def judged(case):
    """What f was shown -> the operator of the measured entries that it was not."""
    return lambda shown: case.operator.hide(~shown.operator.measured)


@pytest.mark.parametrize("g", ESTIMATORS)
@pytest.mark.parametrize(("family", "operator"), SPLIT)
def test_hidden_entries_is_unbiased_for_the_error_there(family, operator, g, device, dtype):
    case = make_case(operator, device, dtype, family)
    loss = HiddenEntries(0.3)
    check_unbiased(loss, case, ESTIMATORS[g], repeats=60, judged=judged(case), sensitivity=0.12)


class WrongHiddenEntries(Loss):
    """Rewritten in entries, the way that mistakes are made in."""

    def __init__(self, mistake, share=0.3):
        self.mistake, self.share = mistake, share

    def __call__(self, f, m, generator):
        mistake, y = self.mistake, m.y
        shown = torch.rand(1, 1, *y.shape[2:], generator=generator, device=y.device) >= self.share
        measured = m.operator.project(torch.ones_like(y)) > 0
        x_hat = f(m.hide(shown))
        if mistake == "leak":
            x_hat = f(m)
        hidden = measured if mistake == "all entries judged" else measured & ~shown
        count = hidden.flatten(1).sum(1)
        if mistake == "all entries counted":
            count = torch.full_like(count, y[0].numel())
        variance = m.noise.estimated_variance(y)
        if mistake == "deviation for variance":
            variance = variance.sqrt()
        if mistake == "variance not subtracted":
            variance = 0 * variance
        return torch.where(hidden, (y - m.operator.A(x_hat)).square() - variance, 0).flatten(1).sum(1) / count


@pytest.mark.parametrize("family", [name for name, family in NOISES.items() if family.white])
def test_hidden_entries_rewritten_is_right_without_a_mistake(family, device, dtype):
    case = make_case("masks per sample", device, dtype, family)
    check_unbiased(WrongHiddenEntries(None), case, nonlinear, repeats=60, judged=judged(case), sensitivity=0.12)
    m, f = draw(case), estimator(nonlinear)
    value, same = (loss(f, m, make_generator(device, 1)) for loss in (WrongHiddenEntries(None), HiddenEntries(0.3)))
    torch.testing.assert_close(value, same, rtol=1e-4, atol=1e-6)


def test_hidden_entries_whose_noise_is_seen_beside_them_are_told_apart(device, dtype):
    """Without Stein's identity."""
    case = make_case("masks per sample", device, dtype, "correlated")
    with pytest.raises(Biased):
        check_unbiased(WrongHiddenEntries(None), case, nonlinear, repeats=60, judged=judged(case), sensitivity=1e9)


@both_families
@pytest.mark.parametrize(
    "mistake",
    ["variance not subtracted", "deviation for variance", "leak", "all entries judged", "all entries counted"],
)
def test_wrong_hidden_entries_are_rejected(mistake, family, device, dtype):
    case = make_case("masks per sample", device, dtype, family)
    with pytest.raises(Biased):
        check_unbiased(WrongHiddenEntries(mistake), case, nonlinear, repeats=40, judged=judged(case), sensitivity=1e9)


@both_families
def test_an_estimator_that_sees_what_it_is_judged_on_looks_too_good(family, device, dtype):
    """The leak against the error of the f that leaks: the noise is common to f's output and its judge."""
    case, rows = make_case("masks per sample", device, dtype, family), []
    f = estimator(linear)
    for r in range(40):
        m = case.measure(make_generator(device, 7, r, 1))
        part = Recorder(f)
        value = WrongHiddenEntries("leak")(part, m, make_generator(device, 7, r, 2))
        on = judged(case)(part.first)
        rows.append((value - mean_over(on, (on.A(f(m)) - case.clean).square())) / case.scale)
    d = torch.stack(rows).double()
    with pytest.raises(Biased):
        check_zero(d, "leak", sensitivity=1e9)
    assert d.mean() < -0.5


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_shares_outside_the_interval_are_refused(share):
    for make in (lambda: Hide(Stein(), share), lambda: HiddenEntries(share)):
        with pytest.raises(UnveilError, match="share") as caught:
            make()
        assert "\n" not in str(caught.value)
    with pytest.raises(UnveilError, match="keep"):
        Hide(Stein(), 0.2, keep=1.0)


def test_whole_columns_are_hidden_where_whole_columns_are_missed(device):
    """And of a mask with few columns at least one is hidden, so that the figure is finite."""
    columns = torch.tensor([True, False, False, True, False, False, False, True], device=device).expand(1, 1, 6, 8)
    pixels = torch.rand(1, 1, 6, 8, generator=make_generator("cpu", 0)).to(device) < 0.7
    assert Inpainting((1, 6, 8), columns).hidden_axes() == (-1,)
    assert Inpainting((1, 6, 8), pixels).hidden_axes() == (-2, -1)
    assert Identity().hidden_axes() is None
    m = Measurement(torch.ones(2, 1, 6, 8, device=device), Inpainting((1, 6, 8), columns), Gaussian(1.0))
    for seed in range(30):
        f = Recorder(lambda m: m.y)
        assert HiddenEntries(0.01)(f, m, make_generator(device, seed)).isfinite().all()
        missing = columns.float() - f.first.operator.project(torch.ones_like(m.y))[:1]
        assert (missing == missing[..., :1, :]).all()
        assert missing.sum() >= 6


# --- each measurement its own operator


def several(device, which):
    """Measurements by dense operators of their own, on masks of their own: those numbered `which` of seven."""
    a = random(device, 7, 12, N, key=20) / N**0.5
    keep = torch.rand(7, 1, 1, 12, generator=make_generator(device, 21), device=device) < 0.7
    sigma = torch.linspace(0.1, 0.5, len(which), dtype=torch.float64, device=device)
    operator = Matrix(a, keep).select(torch.tensor(which, device=device))
    return Measurement(random(device, len(which), 1, 1, 12, key=22), operator, Gaussian(sigma))


def back_projection(m):
    """An f that is told: A^T y, and more of it at lower levels."""
    return m.operator.A_adjoint(m.y) / (1 + m.level).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("loss", [Consistency(), HiddenEntries(0.4)], ids=["consistency", "hidden entries"])
def test_each_sample_is_judged_through_its_own_operator(loss, device):
    """As if it were alone."""
    m = several(device, [3, 0, 5, 3, 6])
    value = loss(back_projection, m, make_generator(device, 1))
    for b in range(5):
        alone = loss(back_projection, m[b : b + 1], make_generator(device, 1))
        torch.testing.assert_close(value[b : b + 1], alone, rtol=1e-12, atol=1e-12)
    other = Measurement(m.y, several(device, [0, 5, 3, 6, 3]).operator, m.noise)
    order = loss(back_projection, other, make_generator(device, 1))
    assert not torch.isclose(order, value).any(), "with the operator of another sample it is another number"


def test_the_hidden_part_of_each_sample_is_its_own(device):
    m, f = several(device, [3, 0, 5, 3, 6]), Recorder(back_projection)
    Hide(Consistency(), 0.4, keep=0.0)(f, m, make_generator(device, 1))
    keep, part = m.operator.measured, f.first.operator
    assert part.measured.shape == keep.shape
    assert not (part.measured & ~keep).any()
    assert (part.measured != keep).flatten(1).any(1).all()
    assert torch.equal(f.first.y, torch.where(part.measured, m.y, 0.0))
    assert torch.equal(part.a, m.operator.a)
    assert f.first.operator.image_shape == IMAGE
