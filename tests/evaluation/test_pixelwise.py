"""Intervals of pixels hold as often as is said, though no truth was seen; samples that spread too little are mended."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import avg_pool2d

from unveil.evaluation.conformal import LEVELS
from unveil.evaluation.pixelwise import fit_intervals, spreads
from unveil.evaluation.risk import estimate_risk
from unveil.evaluation.shown import shown_samples
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, inpainting
from unveil.random import make_generator, normal

SIDE, K = 96, 8
VARIED = 0.6


def images(case, share, key, count=3):
    """Images of a prior whose variance differs from place to place; (spreads, |x - x_hat|) of each."""
    generator, found = make_generator("cpu", key), []
    for _ in range(count):
        like = torch.empty(1, 1, SIDE, SIDE)
        v = (
            0.02 + 0.18 * avg_pool2d(torch.rand(1, 1, SIDE + 14, SIDE + 14, generator=generator), 15, 1).sub(0.4) * 5
        ) ** 2
        if case == "counts":
            a, b = 0.25 / v, 0.5 / v
            x, noise = torch._standard_gamma(a, generator=generator) / b, Poisson(0.05)
            f = lambda m, a=a, b=b: (a + m.y / 0.05) / (b + 20)  # noqa: E731
        else:
            x, noise = 0.5 + v.sqrt() * normal(like, generator), Gaussian(0.1)
            f = lambda m, v=v: 0.5 + v / (v + 0.01) * (m.y - 0.5)  # noqa: E731
        m = Measurement(noise.sample(x, generator), Identity(), noise)
        x_hat = f(m)
        if case == "counts":
            shape = (a + m.y / 0.05).expand(K, *m.y.shape)
            z = torch._standard_gamma(shape, generator=generator) / (b + 20) - x_hat
        else:
            z = (0.01 * v / (v + 0.01)).sqrt() * normal(torch.empty(K, 1, 1, SIDE, SIDE), generator)
        samples = x_hat + share**0.5 * z
        shown = shown_samples(m, x_hat, samples, estimate_risk(f, m, generator, x_hat=x_hat))
        found.append((spreads(samples[:, 0], shown), (x - x_hat)[0].abs()))
    return found


def coverage(fit, seen):
    return [
        float(torch.stack([off <= fit.reach(one.own, level) for one, off in seen]).double().mean()) for level in LEVELS
    ]


@pytest.mark.parametrize("case", ["gaussian", "counts"])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_pixels_are_inside_as_often_as_is_said(case, share):
    fit = fit_intervals([one for one, _ in images(case, share, 1)])
    assert fit.se < 0.08
    assert abs(fit.varied) < 4 * fit.varied_se + 0.05
    assert coverage(fit, images(case, share, 2)) == pytest.approx(LEVELS, abs=0.02), "on images not learned from"


def patchy(key, count=3):
    """Errors whose variance is a factor off what samples say, of 24 x 24 pixels; flat ones that samples say are none.

    The factor is W, log W normal, E W = 1, E (W - 1)^2 = VARIED; (spreads, |x - x_hat|) of each image.
    """
    generator, found = make_generator("cpu", key), []
    for _ in range(count):
        like = torch.empty(1, 1, SIDE, SIDE)
        own = 0.01 * (1 + torch.rand(1, 1, SIDE // 24, SIDE // 24, generator=generator) * 8)
        log = (
            math.log1p(VARIED) ** 0.5 * normal(torch.empty(1, 1, SIDE // 24, SIDE // 24), generator)
            - math.log1p(VARIED) / 2
        )
        own, w = (part.repeat_interleave(SIDE // part.shape[-1], 2).repeat_interleave(SIDE // part.shape[-1], 3)
                  for part in (own, log.exp()))  # fmt: skip
        error = (w * (0.02 + 0.5 * own)).sqrt() * normal(like, generator)
        m = Measurement(error + 0.3 * normal(like, generator), Identity(), Gaussian(0.3))
        f = lambda m: 0 * m.y  # noqa: E731
        samples = own.sqrt() * normal(torch.empty(K, 1, 1, SIDE, SIDE), generator)
        shown = shown_samples(m, f(m), samples, estimate_risk(f, m, generator))
        found.append((spreads(samples[:, 0], shown), error[0].abs()))
    return found


def test_variances_that_samples_do_not_know_are_seen_by_pixels_some_way_apart():
    fit = fit_intervals([one for one, _ in patchy(5, 12)])
    pairs = 0.83 * VARIED  # of pixels 2 to 4 apart a sixth lie in two squares
    assert fit.varied == pytest.approx(pairs, abs=3 * fit.varied_se)
    assert fit.varied_se < 0.1
    assert fit.floor == pytest.approx(0.02, abs=0.006)
    others = patchy(6, 24)
    assert coverage(fit, others) == pytest.approx(LEVELS, abs=0.02), "on images not learned from"
    blind = replace(fit, factors=(0.6745, 1.2816, 1.6449, 1.96))
    assert coverage(blind, others)[0] > 0.53, "a normal law is seen to be wrong"


def test_what_is_said_of_a_level_is_how_far_sets_of_images_are_off_it():
    every = patchy(7, 24)
    off = []
    for k in range(6):
        learned = every[4 * k : 4 * k + 4]
        fit = fit_intervals([one for one, _ in learned])
        off.append((coverage(fit, [*every[: 4 * k], *every[4 * k + 4 :]])[0] - 0.5) / fit.level_se[0])
    assert 0.5 < (sum(z * z for z in off) / 6) ** 0.5 < 1.6


def test_a_law_that_samples_do_not_have_is_missed_and_by_how_much():
    """Samples are normal, the errors half as often nothing as large: 50% intervals hold more, 95% ones fewer."""
    generator = make_generator("cpu", 3)
    m = Measurement(normal(torch.empty(1, 1, SIDE, SIDE), generator), Identity(), Gaussian(1.0))
    error = torch.where(torch.rand(m.y.shape, generator=generator) < 0.5, 0.02, 0.4) * normal(m.y, generator)
    y = error + normal(m.y, generator)
    samples = 0.28 * normal(torch.empty(K, 1, 1, SIDE, SIDE), generator)
    f = lambda m: 0 * m.y  # noqa: E731
    m = m.at(y)
    shown = shown_samples(m, f(m), samples, estimate_risk(f, m, generator))
    one = spreads(samples[:, 0], shown)
    found = coverage(fit_intervals([one]), [(one, error[0].abs())])
    assert found[0] > 0.6
    assert found[3] < 0.945


def test_what_has_no_intervals_has_none():
    generator = make_generator("cpu", 4)
    assert fit_intervals([]) is None
    x = torch.rand(1, 1, 64, 64, generator=generator)
    m = Measurement(x, inpainting(torch.rand(64, 64, generator=generator) < 0.5), Gaussian(0.1))
    f = lambda m: 0.9 * m.y  # noqa: E731
    samples = x + 0.1 * normal(torch.empty(4, 1, 1, 64, 64), generator)
    assert spreads(samples[:, 0], shown_samples(m, f(m), samples, estimate_risk(f, m, generator))) is None
    m = Measurement(x, Identity(), Gaussian(0.1))
    exact = lambda m: m.y  # noqa: E731
    shown = shown_samples(m, m.y, samples, estimate_risk(exact, m, generator))
    assert spreads(samples[:2, 0], shown) is None, "two samples say nothing of a third"
    assert fit_intervals([spreads(0 * samples[:, 0], shown)]) is None, "no spread"
    weak = Measurement(x + normal(x, generator), Identity(), Gaussian(1.0))
    f = lambda m: x  # noqa: E731
    shown = shown_samples(weak, x, samples, estimate_risk(f, weak, generator))
    assert fit_intervals([spreads(samples[:, 0], shown)]) is None, "an error that is not told from none"
