"""Charts as inline SVG: drawn by matplotlib, text kept as text, colours those of the page, light or dark."""

import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["INK", "INVALID", "SERIES", "Chart", "chart", "training_charts"]

INVALID = "not valid: the noise model does not fit"
INK, SERIES = "#010203", ("#010301", "#010302", "#010304", "#010305")
"""Stand for the text's colour, and those of curves: the page's style sheet knows which."""
PAPER = {INK: "currentColor", **{colour: f"var(--c{k + 1})" for k, colour in enumerate(SERIES)}}
SHOWN = 1e30
"""What is not smaller was no number when a training went astray, and has no place on an axis."""
MOST_POINTS = 500
"""Of a curve: more cannot be told apart."""


@dataclass(frozen=True)
class Chart:
    """title, and what it shows in words. svg: the chart, safe markup. valid: whether figures in it hold."""

    title: str
    words: str
    svg: Markup
    valid: bool = True


@contextmanager
def chart(found: list[Chart], title: str, words: str, valid: bool = True) -> Iterator["Axes"]:
    """Enter a block that draws on the axes it is given; the chart is appended to `found`."""
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10, "axes.prop_cycle": cycler(color=SERIES),
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "text.usetex": False,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        yield axes
        if axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside lower left", ncols=2, fontsize=9)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    found.append(Chart(title, words, _inline(buffer.getvalue(), f"c{zlib.crc32(title.encode()):x}-"), valid))


def _inline(text: str, prefix: str) -> Markup:
    """Return what matplotlib wrote as a part of an HTML page: no other colours, no addresses, identifiers its own."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    for stands, colour in PAPER.items():
        svg = svg.replace(stands, colour)
    return Markup(svg.replace("<svg ", '<svg aria-hidden="true" ', 1))


def training_charts(metrics: Sequence[dict[str, float]], valid: bool = True) -> list[Chart]:
    """Return the loss, and the held-out PSNR estimated without a reference, against the step; none of no training.

    valid: whether the noise model fits; else the second says that it is not valid.
    """
    lines = [line for line in metrics if abs(line.get("loss", np.inf)) < SHOWN]
    found: list[Chart] = []
    if not lines:
        return found
    steps, loss = (_means([line[key] for line in lines]) for key in ("step", "loss"))
    with chart(found, "Training loss", f"From {loss[0]:.3g} to {loss[-1]:.3g} in {lines[-1]['step']} steps.") as axes:
        axes.plot(steps, loss, linewidth=1)
        axes.set(xlabel="step", ylabel="loss, weighted", ylim=_limits(loss))
    curves = {}
    for key, label in (
        ("psnr_estimate", "at the measured level"),
        ("psnr_estimate_half", "at half of it (2×2 means)"),
        ("psnr_hidden", "hidden entries"),
    ):
        points = [(line["step"], line[key]) for line in lines if abs(line.get(key, np.inf)) < SHOWN]
        if points:
            curves[label] = points
    if curves:
        words = "; ".join(f"{label} {points[-1][1]:.2f} dB at the end" for label, points in curves.items())
        with chart(found, "PSNR of held-out measurements, estimated without a reference", words, valid) as axes:
            for label, points in curves.items():
                axes.plot(*zip(*points), marker=".", label=label)
            axes.set(xlabel="step", ylabel="PSNR, dB")
    return found


def _means(values: Sequence[float]) -> np.ndarray:
    """Return means over blocks: at most MOST_POINTS of them."""
    v = np.asarray(values, dtype=np.float64)
    return np.array([part.mean() for part in np.array_split(v, min(len(v), MOST_POINTS))])


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [1, 99])
    margin = 0.1 * (high - low) + 1e-9
    return float(low - margin), float(high + margin)
