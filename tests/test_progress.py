"""Progress of long work: lines where there is no terminal, and names that look like markup."""

import io

import pytest
from rich.console import Console

from unveil import progress


@pytest.fixture
def printed(monkeypatch):
    """A log of 100 columns instead of the terminal."""
    log = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=log, width=100))
    return log


def test_a_log_has_a_line_at_each_note_each_half_minute_and_the_end(printed, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.progress_bar("training [x]") as bar:
        for step in range(1, 101):
            now[0] += 1.0
            bar(step, 100, "PSNR 20 dB" if step == 10 else "")
    assert printed.getvalue().splitlines() == [
        "training [x] 10/100, 0:00:10 elapsed, 0:01:30 left, PSNR 20 dB",
        "training [x] 40/100, 0:00:40 elapsed, 0:01:00 left",
        "training [x] 70/100, 0:01:10 elapsed, 0:00:30 left",
        "training [x] 100/100, 0:01:40 elapsed",
    ]


def test_a_resumed_stage_tells_the_time_left_from_what_it_did_itself(printed, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.progress_bar("training") as bar:
        bar(900, 1000)
        now[0] += 50
        bar(950, 1000)
    assert printed.getvalue() == "training 950/1000, 0:00:50 elapsed, 0:00:50 left\n"


def test_a_terminal_shows_notes_as_they_are(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=log, width=100, force_terminal=True))
    with progress.progress_bar("[red]work") as bar:
        bar(1, 2, "[/x]")
    assert "[red]work" in log.getvalue()
    assert "[/x]" in log.getvalue()


def test_a_validation_shows_no_more_than_is_known():
    """An error of 1e-3 +- 1e-5 is 30 dB +- .085; a gain of 2e-5 of it 4.343 * .02 dB."""
    known = {"error": 1e-3, "error_se": 1e-5, "psnr_estimate": 30.0, "held_out/0": 1e-3}
    assert progress.validated(known) == "held-out PSNR est. 30.00 ± 0.09 dB"
    gained = known | {"gain": 2e-5, "gain_reach": 1e-5}
    assert progress.validated(gained) == "held-out PSNR est. 30.00 ± 0.09 dB, gain +0.087 ± 0.043 dB"
    unknown = {key: value for key, value in gained.items() if key != "psnr_estimate"} | {"error_uncertain": 1e-3}
    said = progress.validated(unknown)
    assert said == "held-out PSNR est. unknown (the noise was found in the images), still better"
    assert progress.validated(unknown | {"gain": -1e-6}).endswith("no gain seen")
    assert progress.validated({"error": 1e-3, "error_se": 1e-5, "psnr_estimate": 30.0}).startswith(
        "PSNR est. of images learned from"
    )
    assert progress.validated({"loss": 1.0}) == ""
