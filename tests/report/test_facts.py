"""What a page says that a run rests on: matrices by their size, and where each value is from."""

from types import SimpleNamespace

import torch

from unveil.config import parse_config
from unveil.noise import Correlated
from unveil.report.facts import facts


def test_of_coils_and_their_noise_scan():
    sections = {
        "data": {"path": "k.npy"},
        "operator": {"kind": "mri", "mask": "mask.npy", "coils": "estimate"},
        "noise": {"kind": "correlated", "covariance": "scan.npy"},
    }
    noise = Correlated(0.02, covariance=torch.eye(16) + 0.1)
    run = SimpleNamespace(config=parse_config(sections, "here"), noise=noise, scales=(1,), inflation=1.0)
    found = {fact.what: fact for fact in facts(run)}
    assert found["noise, covariance, without unit"].value == "16 x 16 numbers, in run.json"
    assert found["noise, sigma, on the [0, 1] scale"].source == "declared", "by the scan"
    assert found["instrument, coils"].source == "found in the data"
    assert found["instrument, mask"].source == "declared"
