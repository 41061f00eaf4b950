"""One self-contained HTML page about a run: what was learned from, how good it is, and how that is known.

It reads the run folder alone (run.json, evaluation.json, metrics.jsonl, images/, check/), so it can be made again at
any time. page.html is its template, page.css its style, page.js its viewers; whatever comes from a file is escaped by
the template, and the page's own policy lets nothing load or run but what is in it.
"""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from unveil.config_file import to_yaml
from unveil.data import atomic_write
from unveil.noise import Noise
from unveil.records import read_json
from unveil.report.charts import INVALID, Chart
from unveil.report.evidence_charts import (
    averages_charts,
    calibration_charts,
    field_charts,
    flux_charts,
    resolution_charts,
)
from unveil.report.facts import CHECK, facts, read_check
from unveil.report.figures import figures_csv, figures_table
from unveil.report.learning import training_charts
from unveil.report.look import colours
from unveil.report.panels import data_url, viewers_of
from unveil.report.record import Record, own_file, read_evaluation
from unveil.report.verdict import agreement, findings
from unveil.runs import Run
from unveil.runs.noise import recorded
from unveil.training import read_metrics
from unveil.training.setup import instrument
from unveil.words import counted

__all__ = ["write_report"]

NO_FIT = "the noise model does not fit"
"""So begins the line that the verdict has already."""
AT_ONCE = 6
"""Images that are listed; more are behind one line."""
MOST_BYTES = 9_500_000
"""Of the page."""
MOST_DOWNLOAD = 10**6
"""Bytes of a file that the page offers; larger ones are in the run folder."""


def write_report(run: Run) -> Path:
    """Write run.folder/report.html and return its path.

    Raises UnveilError when the run has not been evaluated.
    """
    found = _content(run)
    size = len(_rendered(found | {"viewers": [], "not_shown": 0}).encode("utf-8", "backslashreplace"))
    viewers, not_shown = viewers_of(run.folder, found["evaluation"].images, MOST_BYTES - size - MARKUP)
    page = _rendered(found | {"viewers": viewers, "not_shown": not_shown})
    path = run.folder / "report.html"
    atomic_write(path, lambda partial: partial.write_text(page, encoding="utf-8", errors="backslashreplace"))
    return path


MARKUP = 300_000
"""Bytes for the markup around the pictures."""


def _content(run: Run) -> dict[str, Any]:
    """Return all that the template shows, but the pictures."""
    folder = run.folder
    evaluation = read_evaluation(folder)
    record = read_json(folder / "run.json")
    incomplete = not instrument(run.config).sees_all
    evidence = evaluation.evidence
    calibration: list[Chart] = []
    if evidence is not None:
        calibration = [
            *calibration_charts(evidence),
            *averages_charts(evidence.averages, evidence.holds("averages")),
            *resolution_charts(evidence.resolution, evidence.holds("resolution")),
            *flux_charts(evidence.flux, evidence.holds("flux")),
            *field_charts(evidence),
        ]
    config = to_yaml(run.config, folder)
    downloads = {
        "evaluation.json": (folder / "evaluation.json").read_text(encoding="utf-8"),
        "figures.csv": figures_csv(evaluation),
        "config.yaml": config,
        "run.json": json.dumps(record, indent=1),
    }
    check = own_file(folder, f"{CHECK}/check.png")
    return {
        "title": "/".join(folder.resolve().parts[-2:]),
        "evaluation": evaluation,
        "findings": findings(evaluation, incomplete),
        "agreement": agreement(evaluation, incomplete),
        "noise": f"{recorded(run.noise)['kind']} noise, {run.noise}"
        + (" on the data's [0, 1] scale" if isinstance(run.noise, Noise) else ""),
        "doubts": [line for line in evaluation.warnings if evaluation.valid or not line.startswith(NO_FIT)],
        "record": record,
        "record_text": json.dumps(record, indent=1),
        "table": figures_table(evaluation, incomplete),
        "explanation": _explanation(evaluation, incomplete),
        "INVALID": INVALID,
        "AT_ONCE": AT_ONCE,
        "training": training_charts(read_metrics(folder), evaluation.valid),
        "calibration": calibration,
        "facts": facts(run),
        "incomplete": incomplete,
        "check": read_check(folder),
        "check_picture": None if check is None else data_url(check.read_bytes()),
        "check_command": f"unveil check {folder / 'config.yaml'} --out {folder / CHECK}",
        "colours": data_url(colours()),
        "commands": _commands(run, record),
        "config": config,
        "downloads": {
            name: data_url(content, "text/plain")
            for name, text in downloads.items()
            if len(content := text.encode("utf-8", "backslashreplace")) <= MOST_DOWNLOAD
        },
    }


def _commands(run: Run, record: dict[str, Any]) -> str:
    return f"{record.get('command', '?')}\nunveil evaluate {run.folder}\nunveil report {run.folder}"


def _rendered(found: dict[str, Any]) -> str:
    import jinja2

    room = files("unveil.report")
    script, style = (room.joinpath(name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(room.joinpath("page.html").read_text(encoding="utf-8"))
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template.render(found | {"script": script, "style": style, "allowed": f"sha256-{allowed}"})


def _explanation(evaluation: Record, incomplete: bool) -> list[str]:
    """Return what the figures mean, a sentence or two each."""
    mean = evaluation.mean
    said = [
        "The PSNR estimated without the reference is Stein's unbiased risk estimate of the measurement itself: it "
        "needs the noise level and nothing else, and holds for any estimator."
    ]
    if incomplete:
        said.append("It is of A f(y) on the measured entries, and says nothing about what the instrument does not see.")
    pairs = [(row.metrics.get("psnr_estimate"), row.metrics.get("psnr_mmse")) for row in evaluation.images]
    gaps = [estimate - true for estimate, true in pairs if estimate is not None and true is not None]
    if gaps and not incomplete:
        off = sum(gaps) / len(gaps)
        said.append(
            f"Here it can be checked: it is off by {off:+.2f} dB in the mean over {counted(len(gaps), 'image')}."
        )
    if "psnr_sample" in mean:
        said.append(
            "The MMSE estimate is the least distorted and the smoothest; posterior samples look like real images and "
            "pay for it with up to 3 dB."
        )
    if "spread_over_error" in mean:
        said.append(
            "Spread over error is the samples' mean variance over the MMSE estimate's squared error: 1 for exact "
            "samples, less when they are too sure of themselves."
        )
    return said
