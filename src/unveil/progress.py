"""Progress of long work, with the time left: bars in a terminal and in a notebook, lines in a log.

Text from files and names is printed as it is: rich would take [red] for a colour, and a terminal would obey control
characters.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unveil.errors import plain
from unveil.processes import is_first
from unveil.training.curve import HELD_OUT
from unveil.training.loop import Progress as Shown
from unveil.training.stages import Stages

__all__ = ["Bar", "console", "progress_bar", "progress_bars", "say", "stage_bars"]

console = Console(quiet=not is_first())  # of several processes the first speaks


def say(text: str) -> None:
    """Print `text` as it is, on a line of its own, whatever it contains and however long it is."""
    console.print(plain(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


class Bar(Protocol):
    """One piece of work: `bar(done, total, note)` says how far it is."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress_bar(name: str) -> Iterator[Bar]:
    """Yield a bar with the time elapsed and left."""
    with progress_bars() as start:
        yield start(name)


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Bar]]:
    """Yield a function that starts a bar, for work in several stages; without a terminal it writes lines instead."""
    if not (console.is_terminal or console.is_jupyter):
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
    """Write hours, minutes and seconds: 1:02:03."""
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{s:02d}"


@contextmanager
def stage_bars() -> Iterator[Stages]:
    """Yield a bar for each stage of a training."""
    with progress_bars() as start:
        yield staged(start)


def staged(start: Callable[[str], Bar]) -> Stages:
    """Return what makes a bar for each stage, with what a validation finds beside it."""

    def stage(name: str) -> Shown:
        bar = start(name)

        def show(done: int, total: int, metrics: dict[str, float]) -> None:
            bar(done, total, validated(metrics))

        return show

    return stage


def validated(metrics: dict[str, float]) -> str:
    """Return what a validation found, in words; nothing after a step without one."""
    if "error" not in metrics:
        return ""
    incomplete = "error_hidden" in metrics
    seen = "held-out PSNR est." if f"{HELD_OUT}0" in metrics else "PSNR est. of images learned from"
    what = f"{seen} of A x" if incomplete else seen
    words = [_error(metrics, what)]
    if "psnr_hidden" in metrics:
        words.append(f"of hidden entries {metrics['psnr_hidden']:.2f} dB")
    return ", ".join(words)


def _error(metrics: dict[str, float], what: str) -> str:
    """Return the error with its interval, and the gain since the validation before; no more than is known."""
    gain, reach = metrics.get("gain", 0.0), metrics.get("gain_reach")
    if "psnr_estimate" not in metrics:
        found = "error_uncertain" in metrics
        unknown = f"{what} unknown (the noise was found in the images)" if found else f"no {what} yet"
        better = "" if reach is None else ", still better" if gain > reach else ", no gain seen"
        return unknown + better
    decibels = 10 / math.log(10) / metrics["error"]
    text = f"{what} {metrics['psnr_estimate']:.2f} ± {1.96 * decibels * metrics['error_se']:.2f} dB"
    return text if reach is None else f"{text}, gain {decibels * gain:+.3f} ± {decibels * reach:.3f} dB"
