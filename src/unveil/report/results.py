"""What `evaluate` found, written into the run folder: evaluation.json, and images/ to look at."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from unveil.checks import Fit
from unveil.checks.fit import plain_figures
from unveil.data import atomic_write
from unveil.evaluation import WITHOUT_REFERENCE, Evaluation, Metrics, counted, mean_metrics
from unveil.instruments.instrument import ImageUnits
from unveil.report.kept import add_pictures, keep_pictures, pictures_of
from unveil.report.pictures import comparison
from unveil.report.record import Shown
from unveil.report.units import UnitsOf

__all__ = ["unknown_errors", "write_results"]

PICTURED = 12
"""The most images without samples that are drawn."""


def write_results(
    folder: Path,
    results: Iterable[Evaluation],
    warnings: Sequence[str] = (),
    incomplete: bool = False,
    fit: Fit | None = None,
    unresolved: Callable[[], str | None] = lambda: None,
    evidence: Callable[[bool], dict[str, Any]] | None = None,
    units_of: UnitsOf = lambda name: ImageUnits(),
    intervals: Callable[[], Mapping[str, Mapping[str, Tensor]]] = lambda: {},
) -> tuple[list[Metrics], dict[str, float]]:
    """Write each result as it comes; return all figures, and their means over the images.

    warnings: what makes the figures doubtful, kept beside them. incomplete: whether the measurements are of A x, whose
    errors the estimates without a reference are then of. fit: whether the noise model fits, where that was looked at;
    where it does not, no figure without a reference is written or drawn without saying so. unresolved: asked when all
    results came, for a line on images whose error cannot be told. evidence: asked then for what all say together
    (`Evidence.record`). units_of: of each image, by name. intervals: asked then for pictures that take all images to be
    drawn (`Evidence.intervals`); not where the noise model does not fit.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows, valid = [], fit is None or fit.verdict != "does not fit"
    shown: dict[str, Shown] = {}
    for result in results:
        rows.append(result.metrics)
        name = result.metrics.name
        if result.samples is not None or len(rows) <= PICTURED:
            units = units_of(name)
            save_bytes(images / f"{name}.png", comparison(result, valid, units))
            shown[name] = keep_pictures(images / name, pictures_of(result), units)
    for name, ends in (intervals() if valid else {}).items():
        add_pictures(images / name, ends, units_of(name), shown[name])
    means = mean_metrics(rows)
    looks = {name: look.model_dump() for name, look in shown.items()}
    record = {
        "images": [{**asdict(row), "picture": looks.get(row.name)} for row in rows],
        "mean": means,
        "images_in_mean": {key: count for key, count in counted(rows).items() if key in means},
        "psnr_estimate_of": "A x on the measured entries" if incomplete else "x",
        "fit": None if fit is None else asdict(fit),
        "not_valid": [] if valid else [key for key in WITHOUT_REFERENCE if key in counted(rows)],
        "warnings": [*warnings, *unknown_errors(rows, unresolved)] if valid else [str(fit), *warnings],
        "evidence": None if evidence is None else evidence(valid),
    }
    text = json.dumps(plain_figures(record), indent=1) + "\n"
    atomic_write(folder / "evaluation.json", lambda path: path.write_text(text))
    return rows, means


def unknown_errors(rows: Sequence[Metrics], unresolved: Callable[[], str | None] = lambda: None) -> list[str]:
    """Return a line where the estimated error of some images is not positive, or not resolved: they have no PSNR."""
    if (line := unresolved()) is not None:
        return [line]
    unknown = [row.name for row in rows if math.isnan(row.psnr_estimate)]
    if not unknown:
        return []
    return [
        f"of {len(unknown)} of {len(rows)} images ({unknown[0]}{' and others' if len(unknown) > 1 else ''}) the "
        "estimated error is not positive, so there is no mean of its PSNR: the noise is weaker than noise.sigma, or "
        "not white (detectors blur it: see noise.kernel=estimate; clipping, resampling and demosaicing do too), or the "
        "image has too few pixels"
    ]


def save_bytes(path: Path, content: bytes) -> None:
    atomic_write(path, lambda partial: partial.write_bytes(content))
