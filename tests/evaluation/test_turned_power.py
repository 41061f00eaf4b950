"""Spread over error by turned instruments: Gaussian images alike under shifts and turns, and known samplers."""

import pytest
import torch

from unveil.errors import UnveilError
from unveil.estimators import Stationary
from unveil.evaluation.turned import Turned, turned_power, turned_spread
from unveil.instruments.inpainting.operator import Inpainting
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.random import make_generator
from unveil.report.evidence_record import Evidence
from unveil.report.record import Record
from unveil.report.verdict import findings
from unveil.symmetry import make_symmetry

SIDE, COUNT, MEAN, SIGMA, SAMPLES = 8, 1500, 0.5, 0.1, 2
TURNS = make_symmetry(["shift", "quarter"])


@pytest.fixture(scope="module")
def known():
    """Measurements of a quarter of the pixels, E[x | y], and exact samples."""
    generator = make_generator("cpu", 0)
    prior = Stationary((1, SIDE, SIDE), MEAN, 0.3).double()
    shown = torch.rand(1, 1, SIDE, SIDE, generator=generator) < 0.25
    A, noise = Inpainting((1, SIDE, SIDE), shown), Gaussian(SIGMA)
    x = MEAN + prior.draw(torch.empty(COUNT, 1, SIDE, SIDE, dtype=torch.float64), generator)
    m = Measurement(noise.sample(A.A(x), generator), A, noise)
    samples = torch.stack([prior.posterior_draw(m, generator) for _ in range(SAMPLES)])
    return m, prior.estimate(m), samples, x


def ratio(known, narrowed=1.0, where="everywhere", key=1):
    m, x_hat, samples, _ = known
    seen = m.operator.measured if where == "unseen" else torch.zeros_like(m.operator.measured)
    narrow = x_hat + torch.where(seen, samples - x_hat, narrowed**0.5 * (samples - x_hat))
    return turned_spread(turned_power(m, x_hat, narrow, TURNS, make_generator("cpu", key), mean=MEAN))


def test_exact_samples_have_it_1(known):
    value, error = ratio(known)
    assert error < 0.02
    assert abs(value - 1) < 4 * error


@pytest.mark.parametrize("left", [0.9, 0.7, 0.0])
def test_narrow_samples_are_told(known, left):
    """10, 30 and 100% too little variance, everywhere and where A does not see alone."""
    value, error = ratio(known, left)
    assert abs(value - left) < 4 * error
    value, error = ratio(known, left, "unseen")
    assert value < 1 - 4 * error
    assert value > left


def test_the_error_is_that_of_the_estimate(known):
    """Seen by a turned instrument: about that of a pixel anywhere."""
    m, x_hat, samples, x = known
    parts = turned_power(m, x_hat, samples, TURNS, make_generator("cpu", 2), mean=MEAN, turns=16)
    true = (x_hat - x).square().flatten(1).mean(1)
    gap = parts.error - true
    assert abs(float(gap.mean())) < 4 * float(gap.std()) / COUNT**0.5
    assert float(gap.std()) / COUNT**0.5 < 0.1 * float(true.mean())


def test_a_wrong_noise_level_shows(known):
    """The power of the noise is taken from that of y: half the level leaves some of it in the error."""
    m, x_hat, samples, _ = known
    wrong = Measurement(m.y, m.operator, Gaussian(SIGMA / 2))
    value, error = turned_spread(turned_power(wrong, x_hat, samples, TURNS, make_generator("cpu", 1), mean=MEAN))
    assert value < 1 - 4 * error


def test_what_cannot_be_told_is_said():
    with pytest.raises(UnveilError, match="two or more"):
        turned_spread(Turned(torch.ones(1), torch.ones(1)))
    with pytest.raises(UnveilError, match="not told from 0"):
        turned_spread(Turned(torch.ones(4), torch.tensor([1.0, -1.0, 1.0, -1.2])))


@pytest.mark.parametrize(
    ("ratio", "se", "word"), [(0.5, 0.1, "too sure"), (1.5, 0.1, "too unsure"), (0.8, 0.1, "not told")]
)
def test_the_report_says_it_in_words(ratio, se, word):
    turned = {"spread_over_error": ratio, "spread_over_error_se": se, "images": 4}
    record = Record(images=[], mean={}, evidence=Evidence(turned=turned))
    found = [finding for finding in findings(record, True) if finding.what.startswith("Where the instrument")]
    assert len(found) == 1
    assert word in found[0].what
    assert f"{ratio:.2f}" in found[0].detail
