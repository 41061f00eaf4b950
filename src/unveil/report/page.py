"""One self-contained HTML page about a run: what was learned from, how good it is, and how that is known.

It reads the run folder alone (run.json, evaluation.json, metrics.jsonl, images/), so it can be made again at any time.
"""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unveil.config_file import to_yaml
from unveil.data import atomic_write
from unveil.evaluation import WITHOUT_REFERENCE
from unveil.records import read_json
from unveil.report.pictures import INVALID, training_curves
from unveil.report.record import Record, own_picture, read_evaluation
from unveil.runs import Run
from unveil.runs.noise import recorded
from unveil.training import read_metrics
from unveil.training.setup import instrument

__all__ = ["write_report"]

COLUMNS = {
    "psnr_noisy": "measured, PSNR",
    "psnr_mmse": "MMSE, PSNR",
    "psnr_estimate": "MMSE, PSNR estimated without the reference",
    "psnr_hidden": "entries hidden from the network, PSNR estimated",
    "psnr_sample": "sample, PSNR",
    "ssim_noisy": "measured, SSIM",
    "ssim_mmse": "MMSE, SSIM",
    "ssim_sample": "sample, SSIM",
    "spread_over_error": "spread / error, without the reference",
    "true_spread_over_error": "spread / error",
}

INCOMPLETE = {
    "psnr_noisy": "from the measurement by A<sup>+</sup>, PSNR",
    "psnr_estimate": "measured entries alone, A f(y) against A x, PSNR estimated without the reference",
    "spread_over_error": "spread / error of the measured entries, without the reference",
}
"""Columns of incomplete measurements that are of something else."""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-weight: 600; margin-bottom: 0 } h2 { margin-top: 2.5rem; font-weight: 600 }
img { max-width: 100% } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; font-weight: normal }
th { font-size: .8rem; color: #666; vertical-align: bottom } td:first-child, th:first-child { text-align: left }
tr.mean td { font-weight: 600; border-top: 2px solid #222 }
pre { background: #f6f6f4; padding: 1rem; overflow-x: auto; font-size: .8rem }
.headline { font-size: 1.3rem; margin: .3rem 0 } .warning { color: #b00020 }
.flicker img { image-rendering: pixelated; width: min(100%, 420px) } .note { color: #666 }
"""

FLICKER = """
if (!matchMedia('(prefers-reduced-motion: reduce)').matches) document.querySelectorAll('.flicker').forEach(box => {
  const frames = [...box.querySelectorAll('img')]; let at = 0;
  setInterval(() => { frames[at].hidden = true; at = (at + 1) % frames.length; frames[at].hidden = false }, 350)
})
"""


def write_report(run: Run) -> Path:
    """Write run.folder/report.html and return its path.

    Raises UnveilError when the run has not been evaluated.
    """
    evaluation = read_evaluation(run.folder)
    record = read_json(run.folder / "run.json")
    incomplete = not instrument(run.config).sees_all
    title = "/".join(run.folder.resolve().parts[-2:])
    curves = training_curves(read_metrics(run.folder), evaluation.valid)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        *(f"<p class='headline warning'>{html.escape(line)}</p>" for line in evaluation.warnings),
        f"<p class={'note' if evaluation.warnings else 'headline'}>{_headline(evaluation, incomplete)}</p>",
        _fit_line(evaluation),
        f"<p class=note>Learned by unveil {_text(record, 'unveil')} from {_text(record, 'images')} noisy images alone "
        f"({recorded(run.noise)['kind']} noise, {run.noise} on the data's [0, 1] scale). No clean image was used in "
        f"training.</p>",
        "<h2>Pictures</h2>",
        *(_pictures(run.folder, row.name, evaluation.valid) for row in evaluation.images),
        "<h2>Figures</h2>",
        _table(evaluation, incomplete),
        *(f"<p class=warning>{html.escape(line)}</p>" for line in evaluation.warnings),
        _explanation(evaluation, incomplete),
    ]
    if curves is not None:
        parts += ["<h2>Training</h2>", _image(curves, "training curves")]
    parts += [
        "<h2>To repeat it</h2>",
        f"<pre>{_text(record, 'command')}\n\n{html.escape(to_yaml(run.config, run.folder))}</pre>",
        f"<pre>{html.escape(json.dumps(record, indent=1))}</pre>",
    ]
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>unveil: {html.escape(title)}</title><style>{STYLE}</style>"
        f"<body>{''.join(parts)}<script>{FLICKER}</script></body></html>\n"
    )
    path = run.folder / "report.html"
    atomic_write(path, lambda partial: partial.write_text(page, encoding="utf-8", errors="backslashreplace"))
    return path


def _headline(evaluation: Record, incomplete: bool) -> str:
    """Return the result in one sentence: of what, and over how many images."""
    mean, rows = evaluation.mean, evaluation.images
    over = _images(len(rows)) if len(rows) == 1 else f"Mean of {_images(len(rows))}"
    unknown = sum(row.metrics.get("psnr_estimate") is None for row in rows)
    estimate = f"{mean['psnr_estimate']:.1f} dB" if "psnr_estimate" in mean else f"unknown for {unknown} of them"
    if not evaluation.valid:
        text = f"{over}: {_with_reference(mean)}. " if "psnr_mmse" in mean else f"{over}. "
        return f"{text}<span class=warning>The error estimated without a reference is {INVALID}.</span>"
    if incomplete:
        estimate = (
            f"Of the measured entries alone, A f(y) against A x: {estimate}, estimated without a reference; of what "
            f"the "
            "instrument does not see it says nothing."
        )
    if "psnr_mmse" not in mean:
        return f"{over}: {estimate}" if incomplete else f"{over}: {estimate}, estimated without a reference."
    text = f"{over}: {_with_reference(mean)}"
    return f"{text}. {estimate}" if incomplete else f"{text} ({estimate} estimated without the reference)."


def _with_reference(mean: Mapping[str, float]) -> str:
    start = f"from {mean['psnr_noisy']:.1f} dB measured to " if "psnr_noisy" in mean else ""
    return f"{start}{mean['psnr_mmse']:.1f} dB"


def _fit_line(evaluation: Record) -> str:
    """Return whether the noise model fits; nothing where it does not, which the headline says, or was not asked."""
    fit = evaluation.fit
    if fit is None or not evaluation.valid:
        return ""
    reason = f": {html.escape(fit.reason)}" if fit.reason else ""
    if fit.verdict == "fits":
        return "<p class=note>The noise model fits the measurements.</p>"
    return f"<p class=note>Whether the noise model fits {html.escape(fit.verdict)}{reason}.</p>"


def _text(record: dict[str, Any], key: str) -> str:
    """Return what a record says of `key`, for the page; nothing in a file is trusted to be text without markup."""
    return html.escape(str(record.get(key, "?")))


def _pictures(folder: Path, name: str, valid: bool) -> str:
    strip = own_picture(folder, f"images/{name}.png")
    if strip is None:
        return ""
    paths = sorted((folder / "images" / name).glob("sample_*.png"))
    frames = [png for path in paths if (png := own_picture(folder, f"images/{name}/{path.name}")) is not None]
    flicker = ""
    if len(frames) > 1:
        images = "".join(_image(png, "posterior sample", hidden=i > 0) for i, png in enumerate(frames))
        note = "<p class=note>Where the samples agree, the data decide; where they flicker, they do not.</p>"
        wrong = "<p class=warning>How far the samples differ is not valid: the noise model does not fit.</p>"
        flicker = f"{note if valid else wrong}<div class=flicker>{images}</div>"
    return f"<h3>{html.escape(name)}</h3>{_image(strip, name)}{flicker}"


def _image(png: bytes, alt: str, hidden: bool = False) -> str:
    data = base64.b64encode(png).decode()
    return f"<img{' hidden' if hidden else ''} alt='{html.escape(alt)}' src='data:image/png;base64,{data}'>"


def _table(evaluation: Record, incomplete: bool) -> str:
    rows, mean, count = evaluation.images, evaluation.mean, len(evaluation.images)
    titles = {**COLUMNS, **INCOMPLETE} if incomplete else COLUMNS
    keys = [key for key in COLUMNS if key in mean or any(row.metrics.get(key) is not None for row in rows)]
    wrong = () if evaluation.valid else WITHOUT_REFERENCE
    head = "".join(
        f"<th class=warning>{titles[key]}<br>{INVALID}" if key in wrong else f"<th>{titles[key]}" for key in keys
    )
    body = "".join(f"<tr><td>{html.escape(row.name)}{_cells(row.metrics, keys, wrong)}" for row in rows)
    fewer = {key: n for key, n in evaluation.images_in_mean.items() if n != count}
    last = _cells(mean, keys, wrong, fewer)
    return f"<table><tr><th>image{head}{body}<tr class=mean><td>mean of {count}{last}</table>"


def _cells(
    row: Mapping[str, float | None],
    keys: list[str],
    wrong: Sequence[str],
    fewer: Mapping[str, int] | None = None,
) -> str:
    """Return the cells of a row; figures of the columns `wrong` are struck out, and the warning stands with each."""
    cells = []
    for key in keys:
        value = row.get(key)
        text = "" if value is None else f"{value:.{_digits(key)}f}"
        if text and key in wrong:
            cells.append(f"<td class=warning><s>{text}</s> <small>not valid</small>")
            continue
        of = f" <small>(of {fewer[key]})</small>" if text and fewer and key in fewer else ""
        cells.append(f"<td>{text}{of}")
    return "".join(cells)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _digits(key: str) -> int:
    return 2 if key.startswith("psnr") else 3


def _explanation(evaluation: Record, incomplete: bool) -> str:
    mean = evaluation.mean
    text = (
        "The PSNR estimated without the reference is Stein's unbiased risk estimate of the measurement itself: it "
        "needs "
        "the noise level and nothing else, and holds for any estimator. "
    )
    if incomplete:
        text += "It is of A f(y) on the measured entries, and says nothing about what the instrument does not see. "
    pairs = [(row.metrics.get("psnr_estimate"), row.metrics.get("psnr_mmse")) for row in evaluation.images]
    gaps = [estimate - true for estimate, true in pairs if estimate is not None and true is not None]
    if not evaluation.valid:
        text = f"<span class=warning>Figures estimated without the reference are {INVALID}.</span> " + text
    if gaps and not incomplete:
        off = sum(gaps) / len(gaps)
        text += f"Here it can be checked: it is off by {off:+.2f} dB in the mean over {_images(len(gaps))}. "
    if "psnr_sample" in mean:
        text += (
            "The MMSE estimate is the least distorted and the smoothest; posterior samples look like real images and "
            "pay "
            "for it with up to 3 dB. "
        )
    if "spread_over_error" in mean:
        text += (
            "Spread over error is the samples' mean variance over the MMSE estimate's squared error: 1 for exact "
            "samples, "
            "less when they are too sure of themselves."
        )
    return f"<p class=note>{text}</p>"
