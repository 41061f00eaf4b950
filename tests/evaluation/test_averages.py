"""What means of samples cost, on a prior whose posterior is known: 3 dB for one exact sample, less of too sure ones."""

import math
from dataclasses import replace

import pytest
import torch
from test_evidence import result

from unveil.evaluation import Metrics
from unveil.evaluation.averages import averages_of, averages_record
from unveil.evaluation.evidence import Evidence
from unveil.evaluation.flux import Blocks
from unveil.evaluation.interval import Error
from unveil.evaluation.risk import Risk
from unveil.instruments.instrument import ImageUnits
from unveil.random import make_generator, normal

SIGMA, SHAPE = 0.5, (1, 128, 128)
LEFT = SIGMA**2 / (1 + SIGMA**2)
"""The posterior's variance of x ~ N(0, 1), given y = x + SIGMA n, whose mean is y / (1 + SIGMA^2)."""


def drawn(variance, seed, count=8):
    """Samples of `variance` times the posterior's, its mean, and x."""
    x, n, z = (normal(torch.empty(k, *SHAPE), make_generator("cpu", seed, i)) for i, k in enumerate((1, 1, count)))
    x_hat = (x + SIGMA * n)[0] / (1 + SIGMA**2)
    return x_hat + math.sqrt(variance * LEFT) * z, x_hat, x[0]


@pytest.mark.parametrize("variance", [1.0, 0.5])
def test_means_of_samples_cost_what_their_spread_says(variance):
    """With the reference as without it, and an exact sample 3.01 dB."""
    seen = [averages_of(*drawn(variance, seed)) for seed in range(2)]
    record = averages_record(seen, [Error(LEFT, 0.01 * LEFT)] * 2)
    assert record["k"] == [1, 2, 4, 8]
    expected = [10 * math.log10(1 + variance / k) for k in record["k"]]
    assert record["cost"] == pytest.approx(expected, abs=0.03)
    assert record["cost_reference"] == pytest.approx(expected, abs=0.1)
    assert record["exact"] == pytest.approx([10 * math.log10(1 + 1 / k) for k in record["k"]])
    slope = 10 / math.log(10) * variance / (1 + variance)
    assert record["cost_se"][0] == pytest.approx(slope * 0.01 / math.sqrt(2), rel=0.05)


def test_groups_leave_out_what_does_not_fill_one_and_a_reference_is_of_all_or_none():
    samples, x_hat, x = drawn(1.0, 3, count=7)
    one = averages_of(samples, x_hat, None)
    assert one.apart[4] == pytest.approx(float((samples[:4].mean(0) - x_hat).square().mean()))
    assert averages_record([one, averages_of(samples, x_hat, x)], [Error(LEFT, 0.0)] * 2)["cost_reference"] is None


def test_of_an_error_that_is_not_known_no_cost_is_told():
    one = averages_of(*drawn(1.0, 4))
    assert averages_record([one], [Error(-1e-3, 1e-3)]) is None
    assert averages_record([], []) is None


@pytest.mark.parametrize("uncertain", [0.0, 0.9 * LEFT], ids=["resolved", "not resolved"])
def test_evidence_tells_it_of_whole_images_whose_error_is_resolved(uncertain):
    samples, x_hat, x = drawn(1.0, 5)
    blocks = Blocks(*(torch.rand(4, generator=make_generator("cpu", k)).double() for k in range(len(Blocks._fields))))
    risk = Risk(torch.tensor([LEFT]), torch.tensor([0.0]))
    whole = replace(result("a", 1.0, 1.0), samples=samples, x_hat=x_hat, reference=x, risk=risk, blocks=blocks)
    evidence = Evidence([uncertain, 0.0], True, lambda name: ImageUnits())
    list(evidence([whole, replace(whole, blocks=None, metrics=Metrics("b", 30.0))]))
    found = evidence.record(False)
    if uncertain:
        assert found["averages"] is None
        return
    assert found["averages"]["images"] == 1
    assert "averages" in found["not_valid"], "it leans on the error without a reference"
    said = next(line for line in evidence.lines(incomplete=False) if "one sample costs" in line)
    assert float(said.split()[3]) == pytest.approx(3.01, abs=0.04)
