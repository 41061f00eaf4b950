"""unveil view: layers of napari with one window and the pixel's size; the page in the browser without it."""

import importlib.machinery
import sys
import types

import numpy as np
import pytest
import torch
from test_cli import call, refused

from unveil.config import parse_config
from unveil.data import save_image
from unveil.evaluation import Evaluation, Metrics
from unveil.instruments.instrument import ImageUnits
from unveil.report import write_report, write_results
from unveil.runs import create_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr("unveil.report.results.comparison", lambda *_: b"")
    save_image(tmp_path / "data.npy", torch.rand(1, 40, 40))
    config = parse_config({"data": {"path": str(tmp_path / "data.npy")}, "noise": {"sigma": 0.1}}, "test")
    with pytest.warns(match="the noise level found"):
        return create_run(tmp_path / "run", config)


def evaluated(run, channels=1):
    results = [
        Evaluation(Metrics("a", 30.0), *torch.rand(2, channels, 24, 32), torch.rand(3, channels, 24, 32), None),
        Evaluation(Metrics("b", 30.0), *torch.rand(2, channels, 24, 32), None, None),
    ]
    units = ImageUnits(100.0, 300.0, "numbers in the files", 0.25, "µm")
    write_results(run.folder, results, units_of=lambda name: units)
    return results


@pytest.fixture
def napari(monkeypatch):
    """A napari that notes what it is told."""
    layers, calls = {}, []

    class Viewer:
        def __init__(self, title):
            self.scale_bar = types.SimpleNamespace(visible=False, unit="")
            calls.append(self)

        def add_image(self, data, *, name, **how):
            layers[name] = (data, how)

    module = types.ModuleType("napari")
    module.__spec__ = importlib.machinery.ModuleSpec("napari", None)
    module.Viewer, module.run = Viewer, lambda: calls.append("run")
    monkeypatch.setitem(sys.modules, "napari", module)
    module.layers, module.calls = layers, calls
    return module


def test_napari_shows_values_in_one_window(run, napari):
    (first, _) = evaluated(run)
    assert call("view", run.folder)[0] == 0
    names = ["a: deviation", "a: measured", "a: estimate", "a: samples", "b: measured", "b: estimate"]
    assert list(napari.layers) == names
    for name, (data, how) in napari.layers.items():
        assert how["scale"] == (0.25, 0.25)
        assert how["visible"] == name.startswith("a")
        assert data.shape == ((3, 24, 32) if "samples" in name else (24, 32))
        limits, colours = (pytest.approx((0, data.max())), "magma") if "deviation" in name else ((100, 300), "gray")
        assert (how["contrast_limits"], how["colormap"]) == (limits, colours)
    np.testing.assert_allclose(napari.layers["a: samples"][0], 100 + 200 * first.samples[:, 0], rtol=1e-6)
    np.testing.assert_allclose(napari.layers["a: deviation"][0], 200 * first.samples.std(0)[0], rtol=1e-4)
    viewer, last = napari.calls
    assert (viewer.scale_bar.visible, viewer.scale_bar.unit, last) == (True, "µm", "run")


def test_colours_in_napari(run, napari):
    (first, _) = evaluated(run, channels=3)
    assert call("view", run.folder)[0] == 0
    data, how = napari.layers["a: estimate"]
    assert how["rgb"]
    np.testing.assert_allclose(data, first.x_hat.permute(1, 2, 0), atol=1e-6)


def test_without_napari_the_page_is_opened(run, monkeypatch, capsys):
    monkeypatch.setattr("unveil.cli.view.importlib.util.find_spec", lambda name: None)
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    evaluated(run)
    assert "unveil report" in refused("view", run.folder)
    page = write_report(run)
    assert call("view", run.folder)[0] == 0
    assert opened == [page.resolve().as_uri()]
    assert "pip install 'napari[all]'" in " ".join(capsys.readouterr().out.split())


def test_nothing_to_view(run, napari):
    assert "unveil evaluate" in refused("view", run.folder)
    evaluated(run)
    for path in (run.folder / "images").rglob("*.tif"):
        path.unlink()
    assert "holds no pictures" in refused("view", run.folder)
