"""How pictures are shown, and what is said of them: windows, places, verdicts, in the budget of a page."""

import io
import json

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from page_evidence import EVIDENCE

from unveil.evaluation import Evaluation, Metrics
from unveil.instruments.instrument import ImageUnits
from unveil.random import make_generator
from unveil.report import write_results
from unveil.report.evidence_charts import calibration_charts, flux_charts, resolution_charts
from unveil.report.evidence_record import Evidence
from unveil.report.kept import keep_pictures
from unveil.report.look import coloured, deviation, displayed, png, window_of
from unveil.report.panels import viewers_of
from unveil.report.record import Record, read_evaluation
from unveil.report.unsure import where_unsure
from unveil.report.verdict import agreement, findings


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=make_generator("cpu", seed))


@pytest.mark.parametrize(
    ("x", "window"),
    [
        (rand(1, 90, 90), (0, 1)),
        (rand(3, 90, 90) * 1.4 - 0.2, (0, 1)),  # a photograph after few steps of training
        (0.001 * rand(1, 90, 90) + 0.002, (0.002, 0.003)),  # counts in a file of 16 bits
        (30 * rand(1, 90, 90) - 10, (-10, 20)),
        (rand(2, 90, 90) * 5, (0, 5 * 2**0.5)),  # complex: the modulus
        (torch.full((1, 9, 9), 7.0), (6.5, 7.5)),
        (torch.full((1, 9, 9), torch.nan), (0, 1)),
    ],
)
def test_the_window_holds_the_estimate(x, window):
    low, high = window_of(x)
    assert (low, high) == pytest.approx(window, abs=0.03 * (window[1] - window[0]))
    assert high > low


def test_the_window_s_ends_are_black_and_white():
    assert displayed(torch.tensor([[[-1.0, 0.0, 1.0, 2.0]]])).tolist() == [[0, 0, 1, 1]]
    assert displayed(torch.tensor([[[100.0, 125.0]]]), (100, 150)).tolist() == [[0, 0.5]]
    assert displayed(torch.zeros(3, 4, 5)).shape == (4, 5, 3)
    assert displayed(torch.tensor([[[0.3]], [[0.4]]])).item() == pytest.approx(0.5)  # modulus of a complex pixel
    pixels = iio.imread(io.BytesIO(png(torch.tensor([[[0.0, 0.5, 1.0]]]), (0, 1))), extension=".png")
    assert pixels.tolist() == [[0, 128, 255]]


def test_maps_grow_lighter_evenly():
    pixels = iio.imread(io.BytesIO(coloured(torch.linspace(0, 2, 64)[None], 2.0)), extension=".png")[0]
    light = (pixels.astype(float) / 255) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).all()
    assert light[0] < 0.01
    assert light[-1] > 0.9


def test_the_deviation_of_colours_and_of_complex_images():
    samples = (
        torch.randn(4000, 3, 1, 2, generator=make_generator("cpu", 3)) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    )
    assert deviation(samples) == pytest.approx((14 / 3) ** 0.5, rel=0.04)
    assert deviation(samples[:, :2]) == pytest.approx(5**0.5, rel=0.04)


def test_where_samples_differ_is_said():
    estimate = torch.zeros(64, 80)
    estimate[:, 40:] = 1.0
    spread = torch.full((64, 80), 0.1)
    spread[:, 38:42] = 0.5
    spread[16:32, 64:] = 2.0
    places, line = where_unsure(spread, estimate)
    assert (places[0].x * 80, places[0].y * 64, places[0].value) == pytest.approx((72, 24, 2))
    assert "In the middle 0.1, at most 2" in line
    assert "edges and texture" in line
    assert "In the brightest third" in line
    flat = where_unsure(torch.full((64, 80), 0.1), estimate)[1]
    assert flat == "In the middle 0.1, at most 0.1."
    assert len(where_unsure(torch.rand(5, 7), torch.rand(5, 7))[0]) == 1, "smaller than a block"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("unveil.report.results.comparison", lambda *_: b"")  # which takes a second


def many(folder, count, samples, side=40):
    x = rand(1, side, side)
    several = [Evaluation(Metrics(f"i{k}", 30.0), x, x, rand(samples, 1, side, side), None) for k in range(count)]
    folder.mkdir()
    write_results(folder, several)
    return read_evaluation(folder).images


def test_images_share_the_room_of_a_page(tmp_path):
    rows = many(tmp_path / "run", 3, 4)
    viewers, left_out = viewers_of(tmp_path / "run", rows, 10**9)
    assert (len(viewers), left_out) == (3, 0)
    assert [len(viewer.samples) for viewer in viewers] == [4, 4, 4]
    base = sum(viewer.size - sum(len(frame.url) for frame in viewer.samples) for viewer in viewers)
    base -= sum(panel.size for viewer in viewers for panel in viewer.spread)
    one = len(viewers[0].samples[0].url)
    viewers, _ = viewers_of(tmp_path / "run", rows, base + int(4.5 * one))
    assert [len(viewer.samples) for viewer in viewers] == [2, 1, 1], "in turn"
    viewers, left_out = viewers_of(tmp_path / "run", rows, base // 2)
    assert (len(viewers), left_out) == (1, 2)
    assert sum(viewer.size for viewer in viewers) <= base // 2


def test_both_ends_of_each_way_that_samples_differ(tmp_path):
    rows = many(tmp_path / "run", 1, 2)
    names = ["component_1_minus", "component_1_plus", "component_2_minus", "quantile_05", "quantile_95"]
    x = {name: rand(1, 40, 40) for name in ["estimate", *names]}
    keep_pictures(tmp_path / "run" / "images" / "i0", x, ImageUnits())
    ((viewer,), _) = viewers_of(tmp_path / "run", rows, 10**9)
    assert [panel.key for panel in viewer.spread] == ["component_1", "quantiles"], "one end alone is none"
    assert [len(panel.frames) for panel in viewer.spread] == [2, 2]
    assert viewer.wiped[-1].key == "samples", "they are not laid over the others"
    room = viewer.size - 1
    ((viewer,), _) = viewers_of(tmp_path / "run", rows, room)
    assert [panel.key for panel in viewer.spread] == ["component_1"]
    assert viewer.size <= room


def test_of_large_images_the_middle_is_shown(tmp_path):
    x = torch.zeros(1, 600, 520)
    x[:, 300, 260] = 1.0
    (tmp_path / "run").mkdir()
    write_results(tmp_path / "run", [Evaluation(Metrics("a", 30.0), x, x, None, None)], units_of=lambda _: ImageUnits())
    ((viewer,), _) = viewers_of(tmp_path / "run", read_evaluation(tmp_path / "run").images, 10**9)
    assert (viewer.width, viewer.height) == (512, 512)
    assert viewer.cut == "the middle 512 × 512 of 520 × 600 pixels"


def verdict(evidence=None, fit="fits", mean=None, incomplete=False):
    record = {"images": [{"name": "a"}], "mean": mean or {"psnr_estimate": 30.0}, "evidence": evidence}
    found = findings(Record.model_validate({**record, "fit": {"verdict": fit, "reason": "why"}}), incomplete)
    return [finding.state for finding in found], [f"{finding.what} {finding.detail}" for finding in found]


def test_the_verdict_in_words():
    states, (noise, error, samples) = verdict(EVIDENCE)
    assert states == ["good", "good", "bad"]
    assert noise.startswith("The noise model fits")
    assert "29.71 to 30.29 dB" in error
    assert "28.40 to 31.60 dB" in error
    assert "better than 27.9 dB with probability 90%" in error
    assert "too sure of themselves, without a reference" in samples
    assert "80% intervals hold 71%" in samples
    assert "of the samples shown, given all of it, 0.60 ± 0.04" in samples
    assert "90% of the pixels are within ± 0.05 of" in error
    reference = {**EVIDENCE, "calibration_reference": {**EVIDENCE["calibration"], "verdict": "calibrated"}}
    states, (*_, samples) = verdict(reference)
    assert states[2] == "good"
    assert "against the reference" in samples


def test_slices_that_err_alike_are_told_and_what_a_level_is_known_to():
    mean = {**EVIDENCE["error"]["mean"], "images": 40, "groups": 5}
    pixels = {**EVIDENCE["pixels"], "level_se": [0.03, 0.02, 0.014, 0.01]}
    _, (_, said, _) = verdict({**EVIDENCE, "error": {**EVIDENCE["error"], "mean": mean}, "pixels": pixels})
    assert "like these of 5 files or volumes, which count, as their images err alike: 28.40 to 31.60 dB" in said
    assert "90% ± 1.4% of the pixels are within ± 0.05 of" in said
    few = {**mean, "groups": 1, "next_low": None, "next_high": None}
    _, (_, said, _) = verdict({**EVIDENCE, "error": {**EVIDENCE["error"], "mean": few}})
    assert "Of others nothing is told: these are of 1 file or volume, whose images err alike" in said


def test_no_interval_or_calibration_where_the_model_does_not_fit():
    states, (noise, error, samples) = verdict({**EVIDENCE, "not_valid": ["error", "calibration"]}, "does not fit")
    assert states == ["bad", "bad", "bad"]
    assert "why" in noise
    assert "dB" not in error
    assert "not valid" in error
    assert "themselves" not in samples


@pytest.mark.parametrize(
    ("ratio", "state", "words"),
    [(0.5, "bad", "too sure"), (1.0, "unsure", "about as the estimate errs"), (1.5, "bad", "too unsure")],
)
def test_of_older_runs_the_spread_is_judged(ratio, state, words):
    states, said = verdict(mean={"psnr_estimate": 30.0, "spread_over_error": ratio})
    assert states[2] == state
    assert words in said[2]


@pytest.mark.parametrize(
    ("found", "incomplete", "words"),
    [
        ("calibrated", False, "Where samples agree, the data decide; where they differ, they do not."),
        ("too unsure", False, "Where samples agree, the data decide; they differ by more"),
        ("too sure", False, "that they agree proves nothing"),
        ("cannot be told", False, "that they agree proves nothing"),
        ("calibrated", True, "where they agree, the data may, or what was learned"),
    ],
)
def test_what_it_tells_that_samples_agree(found, incomplete, words):
    evidence = {**EVIDENCE, "calibration": {**EVIDENCE["calibration"], "verdict": found}}
    record = {"images": [{"name": "a"}], "mean": {"psnr_estimate": 30.0}, "evidence": evidence}
    said = agreement(Record.model_validate({**record, "fit": {"verdict": "fits", "reason": ""}}), incomplete)
    assert words in said


def test_what_an_instrument_does_not_see_is_not_good():
    states, said = verdict(EVIDENCE, incomplete=True)
    assert states[1] == "unsure"
    assert "Of A x: 95% interval" in said[1]


def test_each_part_of_the_evidence_has_its_chart():
    evidence = Evidence.model_validate({**EVIDENCE, "not_valid": ["calibration"]})
    charts = calibration_charts(evidence)
    assert len(charts) == 4
    assert charts[3].title == "Spread and error by brightness, given all of the exposure"
    assert not any(chart.valid for chart in charts)
    assert "80% intervals hold 71.0%" in charts[0].words
    (resolution,) = resolution_charts(evidence.resolution, True)
    assert "as measured, half-bit: 0.85 µm" in resolution.words  # 3.4 pixels of 0.25
    (flux,) = flux_charts(evidence.flux, True)
    assert "Slope 0.9987 ± 0.0007" in flux.words
    nothing = Evidence.model_validate(json.loads("{}"))
    assert [calibration_charts(nothing), resolution_charts(None, True), flux_charts(None, True)] == [[], [], []]
