"""Charts as inline SVG: drawn by matplotlib, text kept as text, colours those of the page, light or dark."""

import io
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["INK", "INVALID", "SERIES", "Chart", "chart"]

INVALID = "not valid: the noise model does not fit"
INK, SERIES = "#010203", ("#010301", "#010302", "#010304", "#010305")
"""Stand for the text's colour, and those of curves: the page's style sheet knows which."""
PAPER = {INK: "currentColor", **{colour: f"var(--c{k + 1})" for k, colour in enumerate(SERIES)}}

HEIGHT, LINE = 3.2, 0.17
"""Of a chart with one line below it, and of each further line, inches."""
SHORT = 22
"""Letters of a label that has another one beside it: a browser's font may be wider than the one measured here."""


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
        figure = Figure(figsize=(4.6, HEIGHT), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        yield axes
        if labels := axes.get_legend_handles_labels()[1]:
            columns = 2 if max(map(len, labels)) <= SHORT else 1
            figure.set_figheight(HEIGHT + LINE * (math.ceil(len(labels) / columns) - 1))
            figure.legend(loc="outside lower left", ncols=columns, fontsize=9)
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
