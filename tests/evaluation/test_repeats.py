"""A second exposure tells the error of the estimate, whatever the noise is; what is none is told."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, pad

from noisy import photographs
from unveil.evaluation.fields import Subject
from unveil.evaluation.fields.repeats import Repeats, _scatter
from unveil.evaluation.risk import estimate_risk
from unveil.instruments.mri.operator import mri
from unveil.measurement import Measurement
from unveil.noise import Correlated, Gamma, Gaussian, Poisson
from unveil.operators import Identity
from unveil.random import make_generator

SCENES = [x[None, :, 32:96, 32:96] for x in photographs()]


def smoothed(m):
    return 0.4 * m.y + 0.6 * avg_pool2d(pad(m.y, (1, 1, 1, 1), mode="reflect"), 3, 1)


def exposed(x, noise, key, stated=None, changed=None, f=smoothed, operator=None):
    """What is kept of two exposures of x, the second `changed`, and the true error."""
    generator, operator = make_generator("cpu", key), operator or Identity()
    one, two = (noise.sample(operator.A(u), generator) for u in (x, x if changed is None else changed))
    m = Measurement(one, operator, stated or noise)
    x_hat = f(m)
    risk = estimate_risk(f, m, generator, x_hat=x_hat)
    kept = Repeats().look(Subject(f, m, x_hat, risk, generator, m.at(operator.project(two))))
    return kept, float(m.mean_square(operator.A(x_hat - x)))


@pytest.mark.parametrize("noise", [Gaussian(0.1), Poisson(0.05), Correlated(0.1, torch.ones(2, 2))], ids=str)
def test_the_error_is_unbiased_and_its_scatter_is_stated(noise):
    pairs = [exposed(SCENES[key % 8], noise, key) for key in range(64)]
    z = torch.tensor([(kept.error.error - true) / kept.error.se for kept, true in pairs])
    assert float(z.mean()) == pytest.approx(0, abs=4 / 8)
    assert 0.75 < float(z.std()) < 1.3
    assert not [kept.wrong for kept, _ in pairs if kept.wrong]
    changes = torch.tensor([kept.change.size / kept.change.se for kept, _ in pairs])
    assert 0.7 < float(changes.std()) < 1.4, "there is no change but that of its standard error"
    naive = torch.tensor([(kept.error.error - true) / true for kept, true in pairs])
    assert float(naive.mean().abs()) < 4 * float(naive.std()) / 8, "in its own units too"
    between = torch.tensor([(k.error.error - k.told.error) / (k.error.se**2 + k.told.se**2) ** 0.5 for k, _ in pairs])
    told = torch.tensor([(kept.told.error - true) / kept.told.se for kept, true in pairs])
    assert 0.75 < float(told.std()) < 1.3
    alike = float(torch.corrcoef(torch.stack([z, told]))[0, 1])  # by the noise of y, most where it is correlated
    assert 0.7 < float(between.std()) / (1 - alike) ** 0.5 < 1.35, "two errors differ by their standard errors"


def test_the_scatter_of_squares_that_are_no_gaussian_s():
    """Of speckle of one look, whose fourth moment is most of it: by the deviation over draws."""
    x, noise, generator = SCENES[0].clamp_min(0.1), Gamma(1), make_generator("cpu", 0)
    one, two = (noise.sample(x.expand(600, -1, -1, -1), generator) for _ in range(2))
    h = 0.9 * x
    sums = ((two - h).square() - (two - one).square() / 2).flatten(1).sum(1).double()
    pairs = [(Measurement(one[k : k + 1], Identity(), noise), Measurement(two[k : k + 1], Identity(), noise))
             for k in range(20)]  # fmt: skip
    stated = sum(_scatter(*pair, x, 1.0, generator) for pair in pairs) / 20
    right = sum(_scatter(*pair, h, 1.0, generator) for pair in pairs) / 20
    assert float(sums.var()) == pytest.approx(stated, rel=0.25)
    assert right < stated, "v is taken at h"


def test_a_level_scales_the_variance_by_itself_and_fourth_moments_by_its_square():
    m = Measurement(Gamma(1).sample(SCENES[0], make_generator("cpu", 0)), Identity(), Gamma(1))
    found = [_scatter(m, m, smoothed(m), level, make_generator("cpu", 1)) for level in (1.0, 2.0, 4.0)]
    assert found[1] - 2 * found[0] > 0.1 * found[0]
    assert found[2] - 4 * found[0] == pytest.approx(6 * (found[1] - 2 * found[0]), rel=1e-3)


def test_it_holds_where_the_noise_model_does_not():
    pairs = [exposed(SCENES[key % 8], Gaussian(0.2), key, stated=Gaussian(0.1)) for key in range(32)]
    z = torch.tensor([(kept.error.error - true) / kept.error.se for kept, true in pairs])
    assert float(z.mean()) == pytest.approx(0, abs=4 / 32**0.5)
    assert 0.7 < float(z.std()) < 1.4
    found = Repeats().found({str(k): kept for k, (kept, _) in enumerate(pairs)})
    assert found.state == "bad"
    assert "what is told without it is off by" in found.said
    assert found.values["noise"] == pytest.approx(4, abs=0.08)
    assert not Repeats.governed


def test_what_is_said_of_good_repeats():
    pairs = [exposed(x, Gaussian(0.1), key) for key, x in enumerate(SCENES)]
    found = Repeats().found({str(k): kept for k, (kept, _) in enumerate(pairs)})
    true = sum(-10 * torch.tensor(t).log10() for _, t in pairs) / 8
    assert found.values["mean"]["low"] < float(true) < found.values["mean"]["high"]
    assert found.state == "good"
    assert "agrees" in found.said
    period = found.values["resolution"]["pixels"]["to_truth_half"]
    assert 2 < period < 6
    assert f"from {period:.3g} pixels on" in found.said
    (chart,) = found.charts
    assert set(chart.curves) >= {"two exposures, as measured", "half-bit"}
    assert Repeats().found({}) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.roll((3, -2), (2, 3)), "is shifted by 3 rows and -2 columns"),
        (lambda x: (x + x.roll(1, 3)) / 2, "is shifted by "),
        (lambda x: 1.2 * x, "times as bright"),
        (lambda x: SCENES[5], "does not show the same scene"),
    ],
)
def test_what_is_no_repeat_is_told_with_its_statistic(change, words):
    kept, _ = exposed(SCENES[0], Gaussian(0.03), 1, changed=change(SCENES[0]))
    assert words in kept.wrong
    assert "standard errors" in kept.wrong
    found = Repeats().found({"a": kept, "b": exposed(SCENES[0], Gaussian(0.03), 2)[0]})
    assert found.state == "bad"
    assert found.said.startswith("The repeat of a ")
    assert "1 of 2 are so" in found.said
    assert "\n" not in found.said


def test_the_measurement_itself_is_no_repeat():
    m = Measurement(SCENES[0] + 0.1 * torch.randn(SCENES[0].shape, generator=make_generator("cpu", 0)), Identity(),
                    Gaussian(0.1))  # fmt: skip
    risk = estimate_risk(smoothed, m, make_generator("cpu", 1))
    kept = Repeats().look(Subject(smoothed, m, smoothed(m), risk, make_generator("cpu", 2), m))
    assert "shares its noise" in kept.wrong


def test_of_k_space_the_error_of_a_x():
    operator = mri(torch.arange(64) % 2 == 0, height=64)
    x = torch.cat([SCENES[2], 0.1 * SCENES[3]], 1)
    zero_filled = lambda m: 0.9 * m.operator.A_dagger(m.y)  # noqa: E731
    pairs = [exposed(x, Gaussian(0.05), key, f=zero_filled, operator=operator) for key in range(32)]
    z = torch.tensor([(kept.error.error - true) / kept.error.se for kept, true in pairs])
    assert float(z.mean()) == pytest.approx(0, abs=4 / 32**0.5)
    assert 0.7 < float(z.std()) < 1.4
    assert not [kept.wrong for kept, _ in pairs if kept.wrong]
    kept, _ = exposed(x, Gaussian(0.05), 0, f=zero_filled, operator=operator, changed=x.roll(2, 2))
    assert kept.wrong is not None
