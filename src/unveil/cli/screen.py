"""What the commands print: lines, progress with time left (`unveil.progress`), and tables."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.table import Table
from rich.text import Text

from unveil.errors import plain
from unveil.evaluation import WITHOUT_REFERENCE, Metrics, counted
from unveil.progress import Bar, console, progress_bar, progress_bars, say

__all__ = ["Bar", "console", "figures", "json_to_stdout", "metrics_table", "progress_bar", "progress_bars", "say"]


@contextmanager
def json_to_stdout(asked: bool) -> Iterator[None]:
    """Enter a block in which, where `asked`, stdout gets what `figures` is told alone, and stderr all else."""
    before, console.stderr = console.stderr, asked
    try:
        yield
    finally:
        console.stderr = before


def figures(record: Mapping[str, Any]) -> None:
    """Print what a command found as one JSON object, where `json_to_stdout` was asked for; numbers are finite or null.

    Of several processes the first prints.
    """
    if console.stderr and not console.quiet:
        print(json.dumps(_finite(record), indent=1))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


HEADINGS = {
    "psnr_noisy": "noisy",
    "psnr_mmse": "MMSE",
    "psnr_noise": "noise\nalone",
    "psnr_estimate": "MMSE, estimated\nwithout reference",
    "psnr_hidden": "hidden\nentries,\nestimated",
    "psnr_sample": "sample",
    "ssim_mmse": "MMSE\nSSIM",
    "spread_over_error": "spread / error\nwithout reference",
    "true_spread_over_error": "spread\n/ error",
}


MEASURED = "measured entries alone,\nestimated"
"""What `psnr_estimate` is of incomplete measurements: A f(y) against A x."""


def metrics_table(
    rows: Sequence[Metrics], means: dict[str, float], incomplete: bool = False, valid: bool = True
) -> Table:
    """Make a table of one line per image and their mean; PSNR in dB.

    incomplete: what is estimated without a reference is the error of A x. valid: whether the noise model fits; else
    each figure without a reference says that it is not valid.
    """
    keys = [key for key in HEADINGS if any(getattr(row, key) is not None for row in rows)]
    headings = {**HEADINGS, "psnr_estimate": MEASURED} if incomplete else HEADINGS
    counts = counted(list(rows))
    table = Table(title="PSNR in dB", title_justify="left")
    table.add_column("image", overflow="fold")  # names cut short would be alike
    wrong = () if valid else WITHOUT_REFERENCE
    for key in keys:
        table.add_column(headings[key], justify="right", style="red" if key in wrong else None)
    for row in rows:
        table.add_row(Text(plain(row.name)), *(_marked(_cell(getattr(row, key)), key in wrong) for key in keys))
    table.add_section()
    cells = [_marked(_mean_cell(means.get(key, math.nan), counts[key], len(rows)), key in wrong) for key in keys]
    table.add_row(f"mean of {len(rows)}", *cells, style="bold")
    return table


UNKNOWN = "unknown"


def _marked(cell: str, wrong: bool) -> str:
    return f"{cell} not valid" if wrong and cell not in ("", UNKNOWN) else cell


def _mean_cell(value: float, count: int, images: int) -> str:
    return _cell(value) + ("" if count == images or math.isnan(value) else f" (of {count})")


def _cell(value: float | None) -> str:
    return "" if value is None else UNKNOWN if math.isnan(value) else f"{value:.2f}"
