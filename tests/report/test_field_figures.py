"""A field's own figure is in the record, on the page and beside the pictures; warned of where the model fails."""

import json

import pytest
import torch
from torch import nn

from unveil.checks import Fit
from unveil.config import SamplingConfig, parse_config
from unveil.data import MemorySource, open_images, save_image
from unveil.dataset import Dataset
from unveil.evaluation import evaluate
from unveil.evaluation.evidence import Evidence
from unveil.instruments.instrument import ImageUnits
from unveil.instruments.mri.coils import birdcage_coils
from unveil.instruments.mri.operator import mri
from unveil.noise import Gaussian
from unveil.random import make_generator
from unveil.report import write_report, write_results
from unveil.report.record import read_evaluation
from unveil.report.verdict import findings
from unveil.runs import create_run


class ZeroFilled(nn.Module):
    def forward(self, m):
        return m.operator.A_dagger(m.y)


@pytest.fixture
def run(tmp_path):
    save_image(tmp_path / "data.npy", torch.rand(1, 40, 40))
    config = parse_config({"data": {"path": str(tmp_path / "data.npy")}, "noise": {"sigma": 0.29}}, "test")
    return create_run(tmp_path / "run", config)


def write(folder, fit, results, evidence):
    units = ImageUnits(0, 1000, "counts")
    write_results(folder, evidence(results), fit=fit, evidence=evidence.record, units_of=lambda name: units)
    return read_evaluation(folder)


@pytest.mark.parametrize("fits", [True, False])
def test_maps_and_the_figure_of_an_accelerated_scan(run, fits):
    noise, operator = Gaussian(0.05), mri(torch.arange(32) % 2 == 0, birdcage_coils(3, 32, 32))
    x = torch.full((1, 2, 32, 32), 0.5)
    y = {name: noise.sample(operator.A(x), make_generator("cpu", k))[0] for k, name in enumerate("ab")}
    evidence = Evidence([0.0, 0.0], True, lambda name: ImageUnits())
    results = evaluate(ZeroFilled(), Dataset(MemorySource(y), operator, noise), SamplingConfig(), sampled=0)
    record = write(run.folder, Fit("fits") if fits else Fit("does not fit", "too <strong>"), results, evidence)
    written = json.loads((run.folder / "evaluation.json").read_text())["evidence"]
    assert written["figures"]["gfactor"]["values"]["images"].keys() == {"a", "b"}
    assert ("gfactor" in written["not_valid"]) == (not fits)
    g = open_images(run.folder / "images" / "a" / "gfactor.tif").read(0)
    assert 0.2 < float(g.mean()) < 0.9, "a ratio, and not in the files' units"
    found = findings(record, True)[-1]
    page = write_report(run).read_text()
    assert page.count("<h3>g-factor</h3>") == page.count("<h3>Signal to noise</h3>") == 2
    said = written["figures"]["gfactor"]["said"]
    assert said.startswith("At R = 2.00 the g-factor is 0.")
    assert (said in page) == fits
    assert evidence.lines(True)[-1] == said
    if fits:
        assert found.what == said
    else:
        assert found.what == "Noise of the accelerated scan is not valid: the noise model does not fit."
