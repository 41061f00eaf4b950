"""What the commands print: lines, progress with time left, and tables.

Text from files and names is printed as it is: rich would take [red] for a colour, and a terminal would obey control
characters.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from unveil.cli.processes import is_first
from unveil.errors import plain
from unveil.evaluation import Figures, counted

__all__ = ["Bar", "console", "figures_table", "progress_bar", "progress_bars", "say"]

console = Console(quiet=not is_first())  # of several processes the first speaks


def say(text: str) -> None:
    """Print `text` as it is, on a line of its own, whatever it contains and however long it is."""
    console.print(plain(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


class Bar(Protocol):
    """One piece of work: `bar(done, total, note)` says how far it is."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress_bar(name: str) -> Iterator[Bar]:
    """A bar with the time elapsed and left."""
    with progress_bars() as start:
        yield start(name)


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Bar]]:
    """A function that starts a bar, for work in several stages; where there is no terminal it writes lines instead."""
    if not console.is_terminal:
        yield Lines
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        yield lambda name: Live(progress, name)


class Live:
    """A bar on a terminal."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress = progress
        self.task = progress.add_task(plain(name), total=None, note="")

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self.progress.update(self.task, completed=done, total=total)
        if note:
            self.progress.update(self.task, note=plain(note))


class Lines:
    """What a log shows: a line when there is something to note, when the work is done, and else every half minute."""

    SECONDS = 30.0

    def __init__(self, name: str) -> None:
        self.name = name
        self.began = self.written = time.monotonic()
        self.first: tuple[int, float] | None = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if self.first is None:  # a resumed stage does not begin at 0
            self.first = done, now
        if not note and done < total and now - self.written < self.SECONDS:
            return
        self.written = now
        first, since = self.first
        words = [f"{self.name} {done}/{total}", f"{clock(now - self.began)} elapsed"]
        if first < done < total:
            words.append(f"{clock((now - since) / (done - first) * (total - done))} left")
        say(", ".join([*words, note] if note else words))


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{s:02d}"


HEADINGS = {
    "psnr_noisy": "noisy",
    "psnr_mmse": "MMSE",
    "psnr_estimate": "MMSE, estimated\nwithout reference",
    "psnr_hidden": "hidden entries,\nestimated",
    "psnr_sample": "sample",
    "ssim_mmse": "MMSE\nSSIM",
    "spread_over_error": "spread / error\nwithout reference",
    "true_spread_over_error": "spread\n/ error",
}


MEASURED = "measured entries alone,\nestimated"
"""What `psnr_estimate` is of incomplete measurements: A f(y) against A x."""


def figures_table(rows: Sequence[Figures], means: dict[str, float], incomplete: bool = False) -> Table:
    """One line per image and their mean; PSNR in dB. incomplete: what is estimated without a reference is the error of A x."""
    keys = [key for key in HEADINGS if any(getattr(row, key) is not None for row in rows)]
    headings = {**HEADINGS, "psnr_estimate": MEASURED} if incomplete else HEADINGS
    counts = counted(list(rows))
    table = Table(title="PSNR in dB", title_justify="left")
    table.add_column("image")
    for key in keys:
        table.add_column(headings[key], justify="right")
    for row in rows:
        table.add_row(Text(plain(row.name)), *(_cell(getattr(row, key)) for key in keys))
    table.add_section()
    cells = [_mean_cell(means.get(key, math.nan), counts[key], len(rows)) for key in keys]
    table.add_row(f"mean of {len(rows)}", *cells, style="bold")
    return table


def _mean_cell(value: float, count: int, images: int) -> str:
    return _cell(value) + ("" if count == images or math.isnan(value) else f" (of {count})")


def _cell(value: float | None) -> str:
    return "" if value is None else "unknown" if math.isnan(value) else f"{value:.2f}"
