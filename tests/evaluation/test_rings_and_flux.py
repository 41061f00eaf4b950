"""Resolution and intensities without a reference are those with one."""

import math

import pytest
import torch
from torch.nn.functional import avg_pool2d, pad

from noisy import photographs
from unveil.evaluation.flux import Blocks, block_sums, flux_record
from unveil.evaluation.rings import halves, ring_number, rings_record, with_truth
from unveil.evaluation.risk import Risk, estimate_risk
from unveil.measurement import Measurement
from unveil.noise import Correlated, Gaussian, Poisson
from unveil.operators import Identity
from unveil.random import make_generator, normal


def smoothed(m):
    return avg_pool2d(pad(m.y, (1, 1, 1, 1), mode="reflect"), 3, 1)


def invented(m):
    """The smoothed image and a texture that is the same in all."""
    return smoothed(m) + 0.2 * normal(m.y[:1], make_generator("cpu", 5))


def sums(f, noise, key=0):
    total = None
    for i, x in enumerate(photographs()):
        generator = make_generator("cpu", key, i)
        m = Measurement(noise.sample(x[None], generator), Identity(), noise)
        one = halves(f, m, generator, ring_number(128), f(m), x[None])
        total = one if total is None else total + one
    return total


@pytest.mark.parametrize("noise", [Gaussian(0.1), Poisson(0.05)], ids=str)
def test_the_correlation_with_the_truth_needs_no_truth(noise):
    """That of an estimate from half the exposure, ring by ring, while the two halves are inflated by what f invents."""
    for f in (smoothed, invented):
        found = rings_record(sums(f, noise))
        total = None
        for i, x in enumerate(photographs()):
            generator = make_generator("cpu", 0, i)
            m = Measurement(noise.sample(x[None], generator), Identity(), noise)
            one, _ = m.recorrupt(torch.tensor([0.5]), generator)
            now = with_truth(f(one), x[None], 64)
            total = now if total is None else total + now
        true = total[0] / (total[1] * total[2]).sqrt()
        estimated = torch.tensor([float("nan") if v is None else v for v in found["to_truth"]])
        assert float((estimated - true)[:20].abs().max()) < 0.1
        if f is invented:
            assert float((torch.tensor(found["halves"]) - true)[20:24].min()) > 0.15, "halves alone do not see it"


def test_raw_halves_tell_where_the_noise_begins():
    """FRC = S / (S + N) of white noise: of known powers."""
    found = sums(smoothed, Gaussian(0.1))
    raw = torch.tensor(rings_record(found)["raw"], dtype=torch.double)
    power = torch.stack([with_truth(x[None], x[None], 64)[0] for x in photographs()]).sum(0)
    noise = found.count * 2 * 0.1**2 * float(torch.hann_window(128, periodic=False).square().sum()) ** 2
    expected = power / (power + noise)
    assert float((raw - expected)[1:].abs().mean()) < 0.05
    assert float((raw - power / (power + noise / 2))[1:20].abs().mean()) > 0.03, "it is seen"


@pytest.mark.parametrize("f", [None, smoothed], ids=["held", "smoothed"])
def test_the_standard_error_of_the_correlation_with_the_truth(f):
    """Of an estimate that does not follow the noise; of one that does it is too large. What is not known is nan."""
    x, curves, errors = photographs()[0][None], [], []
    held = smoothed(Measurement(x, Identity(), Gaussian(0.1))) + 0.03 * normal(x, make_generator("cpu", 3))
    for key in range(30):
        generator = make_generator("cpu", key)
        m = Measurement(Gaussian(0.1).sample(x, generator), Identity(), Gaussian(0.1))
        record = rings_record(halves(f or (lambda m: held), m, generator, 64))
        curves.append(record["to_truth"])
        errors.append(record["to_truth_se"])
    curve, se = (torch.tensor(part, dtype=torch.double) for part in (curves, errors))
    known = ~se.isnan()
    assert torch.equal(known, ~curve.isnan())
    sure = known.all(0)
    assert 8 < int(sure.sum()) < 40
    assert float(known[:, 50:].double().mean()) < 0.03
    ratio = (se.square().mean(0).sqrt() / curve.std(0))[sure][4:]
    assert 0.85 < float(ratio.mean()) < (1.4 if f is None else 1.9)
    assert float(curve[known].max()) < 1.5, "none of the powers that are 0 by chance"


def test_where_a_curve_falls():
    clean = rings_record(sums(lambda m: m.y, Gaussian(1e-3)))["pixels"]
    assert clean["raw_seventh"] < 2.2
    assert clean["reference_half"] == 2
    coarse, fine = (rings_record(sums(smoothed, Gaussian(s)))["pixels"] for s in (0.3, 0.05))
    assert coarse["raw_seventh"] > 1.5 * fine["raw_seventh"]
    assert coarse["raw_half_bit"] > coarse["raw_seventh"]
    record = rings_record(halves(smoothed, Measurement(torch.rand(1, 1, 32, 32), Identity(), Gaussian(0.1)),
                                 make_generator("cpu", 0), ring_number(40)))  # fmt: skip
    assert record["reference"] is None
    assert math.isnan(record["pixels"]["reference_half"])
    assert ring_number(31) == 0


def flux(f, noise, offset=0.0, count=12):
    seen = []
    for key in range(count):
        generator = make_generator("cpu", key)
        grey = torch.rand(1, 1, 8, 8, generator=generator)
        x = (0.2 + 0.6 * grey).repeat_interleave(16, 2).repeat_interleave(16, 3) + offset
        m = Measurement(noise.sample(x, generator), Identity(), noise)
        seen.append(block_sums(m, f(m), estimate_risk(f, m, generator)))
    return flux_record(seen)


@pytest.mark.parametrize("noise", [Gaussian(0.8), Poisson(0.8), Correlated(0.3, torch.ones(3, 3))], ids=str)
def test_the_slope_is_that_of_the_intensities_and_not_of_their_noise(noise):
    """So much noise that the slope against y itself is 10% too low or, of what follows y, 1."""
    kept = flux(lambda m: 0.5 + 0.9 * (m.y - 0.5), noise)
    assert kept["se"] < 0.03
    assert kept["slope"] == pytest.approx(0.9, abs=4 * kept["se"] + 1e-6)
    clean = {}

    def oracle(m):
        x = avg_pool2d(m.y, 16)
        return (0.5 + 0.7 * (clean["x"] - 0.5)).repeat_interleave(16, 2).repeat_interleave(16, 3) + 0 * x.mean()

    seen = []
    for key in range(12):
        generator = make_generator("cpu", key)
        clean["x"] = 0.2 + 0.6 * torch.rand(1, 1, 8, 8, generator=generator)
        x = clean["x"].repeat_interleave(16, 2).repeat_interleave(16, 3)
        m = Measurement(noise.sample(x, generator), Identity(), noise)
        seen.append(block_sums(m, oracle(m), estimate_risk(oracle, m, generator)))
    found = flux_record(seen)
    assert found["slope"] == pytest.approx(0.7, abs=4 * found["se"])
    naive = found["slope"] * (
        1 - sum(float(one.noise.mean()) for one in seen) / 12 / float(torch.cat([one.y for one in seen]).var())
    )
    assert 0.7 - naive > 2 * found["se"], "the noise of y would have been seen"


def test_the_slope_and_its_error_are_those_of_the_blocks():
    generator = make_generator("cpu", 6)
    y, h, noise, shared = torch.rand(4, 40, generator=generator).double() * torch.tensor([1, 1, 0.05, 0.02])[:, None]
    found = flux_record([Blocks(y[:25], h[:25], noise[:25], shared[:25], 0.1, 0.04),
                         Blocks(y[25:], h[25:], noise[25:], shared[25:], 0.3, 0.05)])  # fmt: skip
    dy, dh = y - y.mean(), h - h.mean()
    varied = float((dy.square() - noise).mean())
    slope = float((dy * dh - shared).mean()) / varied
    off = dy * dh - shared - slope * (dy.square() - noise)
    assert found["slope"] == pytest.approx(slope)
    assert found["se"] == pytest.approx(float(off.std()) / 40**0.5 / varied)
    assert (found["offset"], found["offset_se"]) == pytest.approx((0.2, 0.15))
    few = [flux_record([Blocks(y[:n], h[:n], noise[:n], shared[:n], 0.1, 0.04)]) for n in (15, 16)]
    assert [one is None for one in few] == [True, False]


@pytest.mark.parametrize("noise", [Poisson(0.2), Correlated(0.3, torch.ones(3, 3))], ids=str)
def test_the_noise_of_a_block_is_that_of_the_measurement(noise):
    """Channel by channel, and not that of the estimate."""
    x = torch.rand(1, 3, 4, 4, generator=make_generator("cpu", 7)).repeat_interleave(16, 2).repeat_interleave(16, 3)
    m = Measurement(noise.sample(x.expand(200, -1, -1, -1), make_generator("cpu", 8)), Identity(), noise)
    means = avg_pool2d(m.y, 16).double()
    blocks = [block_sums(m[i : i + 1], 0 * x + 9, Risk(x, x, torch.zeros(1, 3, 4, 4))) for i in range(200)]
    told = torch.stack([one.noise for one in blocks])
    assert float(told.mean() / means.var(0).mean()) == pytest.approx(1, abs=4 * (2 / 199 / 48) ** 0.5)
    assert torch.equal(blocks[7].y, means[7].flatten())


def test_the_offset_and_its_error():
    found = flux(lambda m: m.y + 0.01, Gaussian(0.1))
    assert found["offset"] == pytest.approx(0.01, abs=1e-6)
    assert found["offset_se"] == pytest.approx(0.1 / 128 / 12**0.5, rel=0.01)
    assert len(found["points"]) <= 300
    assert flux_record([]) is None
    small = Measurement(torch.rand(1, 1, 15, 40), Identity(), Gaussian(0.1))
    assert block_sums(small, small.y, estimate_risk(lambda m: m.y, small, make_generator("cpu", 0))) is None
    assert flux(lambda m: m.y, Gaussian(20.0)) is None, "nothing but noise"
