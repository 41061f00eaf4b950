"""One self-contained HTML page about a run: what was learned from, how good it is, and how that is known.

It reads the run folder alone (run.json, evaluation.json, metrics.jsonl, images/), so it can be made again at any time.
"""

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unveil.config import to_yaml
from unveil.data import atomic_write
from unveil.records import read_json
from unveil.report.pictures import training_curves
from unveil.report.record import Row, own_picture, read_evaluation
from unveil.training import Run, read_metrics

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

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-weight: 600; margin-bottom: 0 } h2 { margin-top: 2.5rem; font-weight: 600 }
img { max-width: 100% } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; font-weight: normal }
th { font-size: .8rem; color: #666; vertical-align: bottom } td:first-child, th:first-child { text-align: left }
tr.mean td { font-weight: 600; border-top: 2px solid #222 }
pre { background: #f6f6f4; padding: 1rem; overflow-x: auto; font-size: .8rem }
.headline { font-size: 1.3rem; margin: .3rem 0 }
.flicker img { image-rendering: pixelated; width: min(100%, 420px) } .note { color: #666 }
"""

FLICKER = """
if (!matchMedia('(prefers-reduced-motion: reduce)').matches) document.querySelectorAll('.flicker').forEach(box => {
  const frames = [...box.querySelectorAll('img')]; let at = 0;
  setInterval(() => { frames[at].hidden = true; at = (at + 1) % frames.length; frames[at].hidden = false }, 350)
})
"""


def write_report(run: Run) -> Path:
    """Write run.folder/report.html and return its path. Raises UnveilError when the run has not been evaluated."""
    evaluation = read_evaluation(run.folder)
    record = read_json(run.folder / "run.json")
    title = "/".join(run.folder.resolve().parts[-2:])
    curves = training_curves(read_metrics(run.folder))
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p class=headline>{_headline(evaluation.mean)}</p>",
        f"<p class=note>Learned by unveil {_text(record, 'unveil')} from {_text(record, 'images')} noisy images alone "
        f"(noise level {run.sigma_n:.4g} on the data's [0, 1] scale). No clean image was used in training.</p>",
        "<h2>Pictures</h2>",
        *(_pictures(run.folder, row.name) for row in evaluation.images),
        "<h2>Figures</h2>",
        _table(evaluation.images, evaluation.mean),
        _explanation(evaluation.mean),
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


def _headline(mean: dict[str, float]) -> str:
    """The result in one sentence."""
    if "psnr_mmse" in mean:
        text = f"From {mean.get('psnr_noisy', float('inf')):.1f} dB measured to {mean['psnr_mmse']:.1f} dB"
        return text + (
            f" ({mean['psnr_estimate']:.1f} dB estimated without the reference)." if "psnr_estimate" in mean else "."
        )
    return f"{mean['psnr_estimate']:.1f} dB, estimated without a reference." if "psnr_estimate" in mean else ""


def _text(record: dict[str, Any], key: str) -> str:
    """What a record says of `key`, for the page; nothing in a file is trusted to be text without markup."""
    return html.escape(str(record.get(key, "?")))


def _pictures(folder: Path, name: str) -> str:
    strip = own_picture(folder, f"images/{name}.png")
    if strip is None:
        return ""
    paths = sorted((folder / "images" / name).glob("sample_*.png"))
    frames = [png for path in paths if (png := own_picture(folder, f"images/{name}/{path.name}")) is not None]
    flicker = ""
    if len(frames) > 1:
        images = "".join(_image(png, "posterior sample", hidden=i > 0) for i, png in enumerate(frames))
        flicker = f"<p class=note>Where the samples agree, the data decide; where they flicker, they do not.</p><div class=flicker>{images}</div>"
    return f"<h3>{html.escape(name)}</h3>{_image(strip, name)}{flicker}"


def _image(png: bytes, alt: str, hidden: bool = False) -> str:
    data = base64.b64encode(png).decode()
    return f"<img{' hidden' if hidden else ''} alt='{html.escape(alt)}' src='data:image/png;base64,{data}'>"


def _table(rows: list[Row], mean: dict[str, float]) -> str:
    keys = [key for key in COLUMNS if key in mean]
    head = "".join(f"<th>{COLUMNS[key]}" for key in keys)
    body = "".join(f"<tr><td>{html.escape(row.name)}{_cells(row.figures, keys)}" for row in rows)
    return f"<table><tr><th>image{head}{body}<tr class=mean><td>mean{_cells(mean, keys)}</table>"


def _cells(row: Mapping[str, float | None], keys: list[str]) -> str:
    values = ((key, row.get(key)) for key in keys)
    return "".join("<td>" + ("" if value is None else f"{value:.{_digits(key)}f}") for key, value in values)


def _digits(key: str) -> int:
    return 2 if key.startswith("psnr") else 3


def _explanation(mean: dict[str, float]) -> str:
    text = (
        "The PSNR estimated without the reference is Stein's unbiased risk estimate of the measurement itself: it needs "
        "the noise level and nothing else, and holds for any estimator. "
    )
    if "psnr_mmse" in mean and "psnr_estimate" in mean:
        gap = mean["psnr_estimate"] - mean["psnr_mmse"]
        text += f"Here it can be checked: it is off by {gap:+.2f} dB in the mean. "
    if "psnr_sample" in mean:
        text += (
            "The MMSE estimate is the least distorted and the smoothest; posterior samples look like real images and pay "
            "for it with up to 3 dB. "
        )
    if "spread_over_error" in mean:
        text += (
            "Spread over error is the samples' mean variance over the MMSE estimate's squared error: 1 for exact samples, "
            "less when they are too sure of themselves."
        )
    return f"<p class=note>{text}</p>"
