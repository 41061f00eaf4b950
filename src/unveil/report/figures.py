"""The figures of all images as a table: cells that know whether they hold; and the same as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unveil.evaluation import WITHOUT_REFERENCE
from unveil.report.charts import INVALID
from unveil.report.record import Record

__all__ = ["Cell", "Table", "figures_csv", "figures_table"]

MOST_ROWS = 30
COLUMNS = {
    "psnr_noisy": "measured, PSNR",
    "psnr_mmse": "MMSE, PSNR",
    "psnr_noise": "measured, PSNR by the noise model",
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
    "psnr_noisy": "from the measurement by A⁺, PSNR",
    "psnr_noise": "measured entries as they are, PSNR by the noise model",
    "psnr_estimate": "measured entries alone, A f(y) against A x, PSNR estimated without the reference",
    "spread_over_error": "spread / error of the measured entries, without the reference",
}
"""Columns of incomplete measurements that are of something else."""


@dataclass(frozen=True)
class Cell:
    """A figure.

    wrong: why it does not hold, or empty. of: of how many images it is the mean, where of fewer than all. interval: of
    95%.
    """

    text: str
    wrong: str = ""
    of: int | None = None
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """head, rows (name, cells), and the mean of `count` images; left_out: rows that are in the CSV alone."""

    head: list[Cell]
    rows: list[tuple[str, list[Cell]]]
    mean: list[Cell]
    count: int
    left_out: int


def figures_table(evaluation: Record, incomplete: bool) -> Table:
    rows, mean, keys = evaluation.images, evaluation.mean, _keys(evaluation)
    titles = {**COLUMNS, **INCOMPLETE} if incomplete else COLUMNS
    wrong = () if evaluation.valid else WITHOUT_REFERENCE
    fewer = {key: n for key, n in evaluation.images_in_mean.items() if n != len(rows)}
    errors = None if evaluation.evidence is None else evaluation.evidence.error
    intervals = {
        error.name: f"{error.low:.2f} to {'∞' if error.high is None else f'{error.high:.2f}'}"
        for error in (errors.images if errors is not None else [])
        if error.low is not None
    }
    head = [Cell(titles[key], INVALID if key in wrong else "") for key in keys]
    body = [
        (row.name, _cells(row.metrics, keys, wrong, {}, intervals.get(row.name, "") if evaluation.valid else ""))
        for row in rows[:MOST_ROWS]
    ]
    return Table(head, body, _cells(mean, keys, wrong, fewer), len(rows), max(0, len(rows) - MOST_ROWS))


def figures_csv(evaluation: Record) -> str:
    """Return the figures of all images as CSV; of those that do not hold the head says so."""
    buffer, keys = io.StringIO(), _keys(evaluation)
    wrong = () if evaluation.valid else WITHOUT_REFERENCE
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["image", *(f"{key} ({INVALID})" if key in wrong else key for key in keys)])
    for row in evaluation.images:
        name = f"'{row.name}" if row.name[0] in "=+-@" else row.name  # which a spreadsheet would take for a formula
        table.writerow([name, *(row.metrics.get(key) for key in keys)])
    return buffer.getvalue()


def _keys(evaluation: Record) -> list[str]:
    return [
        key
        for key in COLUMNS
        if key in evaluation.mean or any(row.metrics.get(key) is not None for row in evaluation.images)
    ]


def _cells(
    row: Mapping[str, float | None],
    keys: Sequence[str],
    wrong: Sequence[str],
    fewer: Mapping[str, int],
    interval: str = "",
) -> list[Cell]:
    cells = []
    for key in keys:
        value = row.get(key)
        if value is None:
            cells.append(Cell(""))
            continue
        text = f"{value:.{2 if key.startswith('psnr') else 3}f}"
        cells.append(
            Cell(text, "not valid" if key in wrong else "", fewer.get(key), interval if key == "psnr_estimate" else "")
        )
    return cells
