"""What is recorded of all images together, and that it does not hold where the noise model does not."""

import math

import pytest
import torch

from unveil.evaluation import Evaluation, Metrics
from unveil.evaluation.evidence import Evidence
from unveil.evaluation.risk import Risk
from unveil.evaluation.views import against_reference
from unveil.instruments.instrument import ImageUnits
from unveil.random import make_generator, normal


def result(name, error, se, samples=False, finite=True):
    x = torch.zeros(1, 64, 64) if finite else torch.full((1, 64, 64), math.nan)
    generator = make_generator("cpu", 1)
    drawn = normal(torch.empty(4, 1, 64, 64), generator) if samples else None
    seen = against_reference(drawn, normal(x, generator), generator) if samples else None
    risk = Risk(torch.tensor([error]), torch.tensor([se]))
    return Evaluation(Metrics(name, 30.0), x, x, drawn, None, risk, predicted=seen, against=seen)


def gathered(uncertain, results, common=True):
    evidence = Evidence(uncertain, common, lambda name: ImageUnits())
    assert [one.metrics.name for one in evidence(results)] == [one.metrics.name for one in results]
    return evidence


def test_all_is_kept_and_holds_where_the_model_fits():
    images = [result("a", 1e-3, 1e-5, samples=True), result("b", 2e-3, 1e-5), result("c", 1.0, 1.0, finite=False)]
    evidence = gathered([0.0] * 3, images)
    record = evidence.record(True)
    assert [row["name"] for row in record["error"]["images"]] == ["a", "b"], "what is not finite is left out"
    assert record["error"]["mean"]["psnr"] == pytest.approx(28.495, abs=1e-3)
    assert record["not_valid"] == []
    assert record["calibration"]["verdict"] == "calibrated"
    assert len(record["components"]["a"]["shares"]) == 3
    assert record["resolution"] is None
    wrong = evidence.record(False)["not_valid"]
    assert set(wrong) == {"error", "conformal", "calibration", "components"}, "a reference needs no noise model"
    first, second = evidence.lines(incomplete=True)
    assert first.startswith("mean PSNR of the measured entries without a reference: 28.4")
    assert second.endswith("the samples are calibrated")
    assert second.startswith("by measured entries of the rest of the exposure"), "of what is not seen nothing is told"
    assert gathered([], []).lines(incomplete=False) == []


def test_found_parameters_are_part_of_the_interval():
    known, found = (gathered([d], [result("a", 1e-3, 1e-5)]).record(True)["error"] for d in (0.0, 3e-4))
    assert known["images"][0]["high"] - known["images"][0]["low"] == pytest.approx(0.17, abs=0.01)
    assert found["images"][0]["low"] == pytest.approx(-10 * math.log10(1.588e-3), abs=0.01)
    assert found["mean"]["high"] - found["mean"]["low"] == pytest.approx(2 * 1.96 * 4.343 * 0.3, rel=0.01)
    unknown = gathered([0.0, 6e-4], [result("a", 1e-3, 1e-5), result("b", 1e-3, 1e-5)]).record(True)["error"]
    assert [math.isnan(row["psnr"]) for row in unknown["images"]] == [False, True]
    assert unknown["images"][1]["high"] == math.inf
    assert math.isnan(unknown["mean"]["psnr"])


def test_parameters_of_each_image_err_by_themselves():
    images = [result(str(i), 1e-3, 0.0) for i in range(16)]
    wide, narrow = (gathered([1e-4] * 16, images, common).record(True)["error"]["mean"] for common in (True, False))
    assert wide["high"] - wide["low"] == pytest.approx(4 * (narrow["high"] - narrow["low"]))
