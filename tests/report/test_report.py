"""Pictures and the page: decodable, self-contained, escaped, and true to the figures."""

import io
import json
import math
import re
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from rich.console import Console

from unveil.checks import Fit
from unveil.cli.screen import metrics_table
from unveil.config import parse_config
from unveil.data import open_images, save_image
from unveil.data.pixel_size import pixel_size
from unveil.errors import UnveilError
from unveil.evaluation import Evaluation, Metrics
from unveil.evaluation.components import component_names
from unveil.instruments.instrument import ImageUnits
from unveil.report import comparison, write_report, write_results
from unveil.report.figures import figures_csv
from unveil.report.learning import training_charts
from unveil.report.page import MARKUP
from unveil.report.record import read_evaluation
from unveil.runs import create_run


def result(name="image", channels=3, samples=3, reference=True):
    x = torch.rand(channels, 24, 32)
    drawn = torch.rand(samples, channels, 24, 32) if samples else None
    figures = Metrics(name, 30.0, psnr_mmse=31.25 if reference else None)
    return Evaluation(figures, x, x, drawn, x if reference else None)


def pixels(png):
    return iio.imread(io.BytesIO(png), extension=".png")


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("samples", [0, 1, 3])
def test_comparison_is_a_picture_that_shows_something(channels, samples):
    image = pixels(comparison(result(channels=channels, samples=samples)))
    assert image.ndim == 3
    assert image.std() > 10


def drawn(svg):
    """How many points the curves of a chart have."""
    return sum(len(re.findall("[ML]", path)) for path in re.findall(r'<path d="([^"]*)" clip-path', svg))


def test_training_charts():
    assert training_charts([]) == []
    lines = [{"step": i + 1, "loss": 1.0 / (i + 1)} for i in range(20)]
    lines[9]["psnr_estimate"] = 20.0
    loss, psnr = training_charts(lines)
    assert drawn(loss.svg) >= 20
    assert "From 1 to 0.05 in 20 steps" in loss.words
    assert "20.00 dB" in psnr.words


def test_the_learning_curve_has_its_interval_its_forecast_and_what_more_data_could_bring():
    lines = []
    for t in range(50, 1001, 50):
        errors = [(1e-3 + 4e-3 * (t / 100) ** -0.7) * (1 + k / 10) for k in range(8)]
        mean = sum(errors) / 8
        lines.append(
            {"step": t, "loss": 1.0, "error": mean, "error_se": mean / 50, "psnr_estimate": -10 * math.log10(mean)}
        )
        for k, error in enumerate(errors):
            lines[-1] |= {f"held_out/{k}": error, f"fitted/{k}": error * 10 ** (-t / 5000)}
    loss, psnr, apart = training_charts(lines)
    said = re.search(r"Twice the steps, 2000, would bring .* dB or more \(95%\); ([-+.0-9]+) dB", psnr.words)
    assert float(said[1]) == pytest.approx(0.813, abs=0.02), "(1 + 4 / 10^.7) / (1 + 4 / 20^.7)"
    assert "forecast" in psnr.svg
    assert "Since step 250 those learned from gained +1.50 ± 0.00 dB more" in apart.words
    assert "1.5 dB at most" in apart.words
    assert not training_charts(lines, valid=False)[2].valid
    short = training_charts([{key: v for key, v in line.items() if "fitted" not in key} for line in lines[:3]])
    assert len(short) == 2
    assert "cannot be told: too few validations" in short[1].words
    hidden = [{key: v for key, v in line.items() if key != "psnr_estimate"} for line in lines]
    assert [chart.title for chart in training_charts(hidden)] == [loss.title, apart.title], (
        "of an unknown error no PSNR"
    )


@pytest.fixture
def run(tmp_path):
    save_image(tmp_path / "data.npy", torch.rand(1, 40, 40))
    config = parse_config({"data": {"path": str(tmp_path / "data.npy")}, "noise": {"sigma": 0.1}}, "test")
    return create_run(tmp_path / "run<b>", config)


def test_results_are_written_as_they_come(run):
    rows, means = write_results(run.folder, iter([result("a"), result("b", samples=0, reference=False)]))
    assert [row.name for row in rows] == ["a", "b"]
    assert means == {"psnr_estimate": 30.0, "psnr_mmse": 31.25}
    record = json.loads((run.folder / "evaluation.json").read_text())
    assert record["mean"] == means
    assert record["images"][1]["psnr_mmse"] is None
    kept = {f.stem: open_images(f) for f in (run.folder / "images" / "a").iterdir()}
    samples = ["sample_000", "sample_001", "sample_002"]
    others = ["deviation", "estimate", "measured", "reference", *component_names(3)]
    assert sorted(kept) == sorted([*others, *samples])
    assert kept["sample_000"].shape(0) == (3, 24, 32)
    assert not (run.folder / "images" / "b" / "reference.tif").exists()


def test_kept_pictures_have_the_units_of_the_files(run):
    one, units = result(channels=1), ImageUnits(100.0, 300.0, "numbers in the files", 0.25, "µm")
    write_results(run.folder, [one], units_of=lambda name: units)
    folder = run.folder / "images" / "image"
    expected = {"estimate": 100 + 200 * one.x_hat, "sample_001": 100 + 200 * one.samples[1]}
    expected["deviation"] = 200 * one.samples.std(0)
    for name, x in expected.items():
        torch.testing.assert_close(open_images(folder / f"{name}.tif").read(0), x)
        assert pixel_size(folder / f"{name}.tif") == (pytest.approx(0.25), "µm")
    (row,) = json.loads((run.folder / "evaluation.json").read_text())["images"]
    assert row["picture"] == {"window": [100, 300], "units": units.name, "pixel": 0.25, "pixel_unit": "µm"}
    page = write_report(run).read_text()
    assert page.count("black 100, white 300 (numbers in the files)") == 5 + 3
    # all but the deviation: of the pairs that show how samples differ, once each
    assert page.count(", 1 pixel = 0.25 µm. All pictures in one window") == 1


def test_the_page_shows_the_figures_and_needs_nothing_else(run):
    write_results(run.folder, [result("a&b"), result("c", samples=0)])
    page = write_report(run).read_text()
    assert "31.25" in page
    assert "a&amp;b" in page
    assert "<b></h1>" not in page  # the folder's name is escaped
    assert "run&lt;b&gt;" in page
    first = 3 + 3 + 2 + 6  # measured, estimate, reference; samples; deviation and colour bar; ways they differ
    assert page.count("<img") == page.count("data:image/png;base64,") == first + 3
    assert not re.search(r"https?:|url\((?!#)|@import|src=\"(?!data:)", page)
    assert page.count("default-src &#39;none&#39;") + page.count("default-src 'none'") == 1


def test_the_page_is_no_larger_than_it_may_be(run, monkeypatch):
    monkeypatch.setattr("unveil.report.results.comparison", lambda *_: b"")
    monkeypatch.setattr("unveil.report.kept.posterior_images", lambda _: {})  # which would be left out first
    x = torch.rand(9, 3, 90, 90)
    write_results(run.folder, [Evaluation(Metrics(name, 30.0), x[0], x[1], x[2:], None) for name in "abc"])
    whole = write_report(run).stat().st_size
    assert whole > 900_000
    monkeypatch.setattr("unveil.report.page.MOST_BYTES", whole - 200_000 + MARKUP)
    page = write_report(run)
    assert whole - 240_000 < page.stat().st_size <= whole - 180_000, "but for the markup"
    assert "of 7 fit on this page" in page.read_text()
    monkeypatch.setattr("unveil.report.page.MOST_BYTES", MARKUP)
    assert "Pictures of 3 more did not fit on this page" in write_report(run).read_text()


def test_a_run_without_results_has_no_report(run):
    with pytest.raises(UnveilError, match="unveil evaluate"):
        write_report(run)


EVIL = "<script>alert(1)</script>'\"\x1b[31m"


def test_nothing_from_a_file_is_markup(tmp_path):
    save_image(tmp_path / "data.npy", torch.rand(1, 40, 40))
    values = {"data": {"path": str(tmp_path / "data.npy"), "dataset": None}, "noise": {"sigma": 0.1}}
    run = create_run(tmp_path / "<script>alert(1)<" / "<script>alert(1)<", parse_config(values, "test"))
    write_results(run.folder, [result("<script>alert(1)<", reference=False)])
    record = json.loads((run.folder / "run.json").read_text())
    evil = {key: EVIL if isinstance(value, str) else value for key, value in record.items() if key != "sha256"}
    (run.folder / "run.json").write_text(
        json.dumps({**evil, "images": EVIL, EVIL: [EVIL, {EVIL: EVIL}], "command": [EVIL]})
    )
    page = write_report(run).read_text()
    assert page.count("<script>") == 1, "its own"
    assert page.count("&lt;script&gt;alert(1)") >= 9


def test_a_name_that_is_not_unicode_is_shown(tmp_path, monkeypatch):
    (tmp_path / "lab\udcff").mkdir()
    monkeypatch.chdir(tmp_path / "lab\udcff")
    save_image(tmp_path / "data.npy", torch.rand(1, 40, 40))
    run = create_run(Path("run"), parse_config({"data": {"path": str(tmp_path / "data.npy")}}, "test"))
    write_results(run.folder, [result("a", samples=0)])
    assert "lab\\udcff/run" in write_report(run).read_text()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("", "damaged"),
        ("[]", "damaged (a list"),
        ("{", "damaged"),
        ("[" * 10**5, "damaged"),
        ({}, "damaged (images: Field required)"),
        ({"images": None, "mean": {}}, "damaged (images"),
        ({"images": {}, "mean": {}}, "damaged (images"),
        ({"images": [3], "mean": {}}, "damaged (images.0"),
        ({"images": [{}], "mean": {}}, "damaged (images.0.name: Field required)"),
        ({"images": [{"name": 3}], "mean": {}}, "damaged (images.0.name"),
        ({"images": [{"name": "a", "psnr_mmse": "high"}], "mean": {}}, "damaged (images.0.psnr_mmse"),
        ({"images": [{"name": "a", "psnr_mmse": float("nan")}], "mean": {}}, "damaged (images.0.psnr_mmse"),
        ({"images": [], "mean": {"psnr_mmse": None}}, "damaged (mean.psnr_mmse"),
        ({"images": [], "mean": {"psnr_mmse": float("inf")}}, "damaged (mean.psnr_mmse"),
        ({"images": [], "mean": {"psnr_mmse": 10**400}}, "damaged (mean.psnr_mmse"),
        ({"images": [{"name": "../../secret"}], "mean": {}}, "damaged (images.0.name"),
        ({"images": [{"name": ".."}], "mean": {}}, "damaged (images.0.name"),
        ({"images": [{"name": "/etc/x"}], "mean": {}}, "damaged (images.0.name"),
        ({"images": [{"name": "a\\b"}], "mean": {}}, "damaged (images.0.name"),
    ],
)
def test_a_damaged_record_is_one_line(record, words, run):
    (run.folder / "evaluation.json").write_text(record if isinstance(record, str) else json.dumps(record))
    with pytest.raises(UnveilError) as caught:
        write_report(run)
    line = str(caught.value)
    assert line.startswith(f"{run.folder / 'evaluation.json'}: {words}")
    assert line.endswith(f"; run unveil evaluate {run.folder} again")
    assert "\n" not in line


def test_pictures_elsewhere_are_not_shown(run, tmp_path):
    write_results(run.folder, [result("a"), result("b")])
    secret = tmp_path / "secret"
    (run.folder / "images").rename(secret)
    (run.folder / "images").symlink_to(secret)
    assert "<img" not in write_report(run).read_text(), "the folder is a link"
    (run.folder / "images").unlink()
    (run.folder / "images").mkdir()
    (run.folder / "images" / "a").symlink_to(secret / "a")
    (run.folder / "images" / "b").mkdir()
    (run.folder / "images" / "b" / "estimate.tif").write_text("no picture")
    assert "<img" not in write_report(run).read_text(), "a folder is a link, and a file no TIFF"
    shutil.copy(secret / "b" / "estimate.tif", run.folder / "images" / "b")
    (run.folder / "images" / "b" / "sample_000.tif").symlink_to(secret / "b" / "sample_000.tif")
    (run.folder / "images" / "b" / "measured.tif").write_bytes((secret / "b" / "measured.tif").read_bytes()[:400])
    assert write_report(run).read_text().count("<img") == 1, "a sample is a link, and a picture was cut off"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1e308, 2**62])
def test_curves_of_a_training_that_went_astray(value):
    lines = [{"step": i + 1, "loss": 1.0, "psnr_estimate": 20.0} for i in range(4)]
    charts = training_charts([*lines, {"step": 5, "loss": value, "psnr_estimate": value}])
    shown = 4 + (abs(value) < 1e30)
    assert [drawn(chart.svg) for chart in charts] == [shown, shown]
    assert training_charts([{"step": 1}, {"step": 2, "loss": float("nan")}]) == []
    training_charts([{"step": 2**62, "loss": 1.0}, {"step": -(2**62), "loss": 1.0}])


def test_doubts_stand_in_the_headline_s_place_and_beside_the_figures(run):
    write_results(run.folder, [result("a")], ["levels <differ>"])
    page = write_report(run).read_text()
    assert page.count("levels &lt;differ&gt;</p>") == 2
    assert page.index("levels &lt;differ&gt;") < page.index("31.2 dB")
    assert json.loads((run.folder / "evaluation.json").read_text())["warnings"] == ["levels <differ>"]
    write_results(run.folder, [result("a")])
    assert 'class="headline warning"' not in write_report(run).read_text()


def figures(name, estimate, true=None, spread=None):
    x = torch.rand(1, 24, 32)
    return Evaluation(Metrics(name, estimate, spread, psnr_mmse=true), x, x, None, None)


def test_of_many_images_the_first_are_listed(run):
    write_results(run.folder, [figures(f"i{k:02d}", 30.0) for k in range(33)])
    page = write_report(run).read_text()
    assert "<summary>6 more images</summary>" in page
    assert page.count("<details") == page.count("</details>")
    assert page.count('<th scope="row">i') == 30
    assert "3 more images are in figures.csv" in page
    assert "i32" in figures_csv(read_evaluation(run.folder))


def test_no_mean_where_a_row_is_unknown(run):
    rows, means = write_results(
        run.folder, [figures("a", 30.0, 29.0, 1.0), figures("b", math.nan, 20.0), figures("c", 28.0, 29.0)]
    )
    assert means == {"psnr_mmse": 26.0, "spread_over_error": 1.0}
    record = json.loads((run.folder / "evaluation.json").read_text())
    assert record["images_in_mean"] == {"psnr_mmse": 3, "spread_over_error": 1}
    (line,) = record["warnings"]
    assert "of 1 of 3 images (b)" in line
    page = write_report(run).read_text()
    assert "Mean of 3 images: 26.0 dB (unknown for 1 of them estimated without the reference)" in page
    assert "off by +0.00 dB in the mean over 2 images" in page, "a and c alone have both"
    assert "1.000 <small>(of 1)</small>" in page
    assert line.split(",")[0] in page, "what the terminal warns of"
    table = Console(width=200, record=True, file=io.StringIO())
    table.print(metrics_table(rows, means))
    text = table.export_text()
    assert "mean of 3" in text
    assert "unknown" in text
    assert "1.00 (of 1)" in text


def test_a_figure_of_a_x_is_not_shown_as_one_of_x(tmp_path):
    save_image(tmp_path / "data.npy", torch.rand(1, 40, 40))
    np.save(tmp_path / "mask.npy", np.eye(40) == 0)
    system = {"kind": "inpainting", "mask": str(tmp_path / "mask.npy")}
    values = {"data": {"path": str(tmp_path / "data.npy")}, "noise": {"sigma": 0.1}, "operator": system}
    run = create_run(tmp_path / "run", parse_config(values, "test"))
    x = torch.rand(1, 24, 32)
    found = Metrics("a", 40.2, psnr_hidden=30.0, psnr_noisy=20.0, psnr_mmse=33.8)
    rows, means = write_results(run.folder, [Evaluation(found, x, x, None, None)], incomplete=True)
    assert json.loads((run.folder / "evaluation.json").read_text())["psnr_estimate_of"] == "A x on the measured entries"
    page = write_report(run).read_text()
    assert "1 image: from 20.0 dB measured to 33.8 dB. Of the measured entries alone" in page
    assert "(40.2 dB" not in page
    assert "off by" not in page
    assert "Learned by unveil" in page
    assert " measurements alone (" in page
    spread = Metrics("a", 40.2, 0.9, psnr_noise=20.0, psnr_hidden=30.0)
    write_results(run.folder, [Evaluation(spread, x, x, None, None)], incomplete=True)
    page = write_report(run).read_text()
    assert "of the squared error, on the measured entries alone, without a reference" in page
    assert "against A x: from 20.0 dB measured to 40.2 dB, estimated without" in page
    table = Console(width=200, record=True, file=io.StringIO())
    table.print(metrics_table(rows, means, incomplete=True))
    assert "measured entries" in table.export_text()


def printed(rows, means, **how):
    table = Console(width=200, record=True, file=io.StringIO())
    table.print(metrics_table(rows, means, **how))
    return table.export_text()


@pytest.mark.parametrize("true", [None, 28.6])
def test_each_figure_without_a_reference_carries_its_warning(run, true, monkeypatch):
    captions = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda axis, text, **how: captions.append(text))
    x = torch.rand(1, 24, 32)
    found = Metrics("a", 40.87, spread_over_error=1.234, psnr_hidden=39.87, psnr_mmse=true)
    results = [Evaluation(found, x, x, torch.rand(3, 1, 24, 32), None)]
    fit = Fit("does not fit", "it <grows> with brightness", {"level": [2.0, 0.1]})
    rows, means = write_results(run.folder, results, fit=fit)
    record = json.loads((run.folder / "evaluation.json").read_text())
    assert record["fit"] == {"verdict": "does not fit", "reason": fit.reason, "figures": {"level": [2.0, 0.1]}}
    assert record["not_valid"] == ["psnr_estimate", "psnr_hidden", "spread_over_error"]
    assert record["warnings"] == [str(fit)]
    page = write_report(run).read_text()
    verdict = page[page.index('<ul class="verdict"') : page.index("</ul>")]
    assert '<li class="bad"' in verdict
    assert "The noise model does not fit the measurements." in verdict
    assert "it &lt;grows&gt;" in verdict
    assert "it &lt;grows&gt;" in page[page.index("<h2>Figures") :], "beside the figures too"
    for figure in ("40.87", "39.87", "1.234"):
        assert page.count(figure) == page.count(f'<td class="warning"><s>{figure}</s> <small>not valid</small>') == 2
    assert "40.9 dB" not in page, "no headline"
    assert ("28.6 dB" in page) == (true is not None), "what needs no model stands"
    assert page.count("<br>not valid: the noise model does not fit") == 3
    assert not [text for text in captions if "40.87" in text]
    assert sum("the noise model does not fit" in text for text in captions) == (2 if true is None else 1)
    text = printed(rows, means, valid=False)
    assert text.count("not valid") == 6
    assert printed(rows, means).count("not valid") == 0


def test_a_model_that_fits_is_said_to(run):
    write_results(run.folder, [result("a")], fit=Fit("fits"))
    page = write_report(run).read_text()
    assert "The noise model fits the measurements." in page
    assert "does not fit" not in page
    write_results(run.folder, [result("a")], fit=Fit("cannot be told", "too <few>"))
    assert "Whether the noise model fits cannot be told: too &lt;few&gt;." in write_report(run).read_text()
