"""A picture of one result, as PNG bytes: an image beside its estimates."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from unveil.evaluation import Evaluation
from unveil.instruments.instrument import ImageUnits
from unveil.report.look import deviation, displayed, window_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["comparison"]

OWN = ImageUnits()
DPI = 110
INVALID = "not valid: the noise model does not fit"
UNKNOWN = "error unknown: the noise model does not fit"
WARNING = "#b00020"


def comparison(result: Evaluation, valid: bool = True, units: ImageUnits = OWN) -> bytes:
    """Draw the measured image, MMSE estimate, two samples, their deviation and, where there is one, the reference.

    All in one window of intensities. units: of the deviation. valid: whether the noise model fits; else no error is
    drawn that was estimated with it, and the deviation says so.
    """
    metrics = result.metrics
    panels: list[tuple[str, Tensor]] = [(_titled("measured", metrics.psnr_noisy), result.y)]
    exact = metrics.psnr_mmse is not None
    mmse_psnr = metrics.psnr_mmse if exact else metrics.psnr_estimate
    incomplete = metrics.psnr_hidden is not None  # then what is estimated is the error of A x
    estimated = "measured entries: est. " if incomplete else "est. "
    title = _titled("MMSE estimate", mmse_psnr, "" if exact else estimated)
    panels.append((title if exact or valid else f"MMSE estimate\n{UNKNOWN}", result.x_hat))
    spread = None
    if result.samples is not None:
        for k in range(min(2, len(result.samples))):
            panels.append(
                (_titled(f"posterior sample {k + 1}", metrics.psnr_sample if k == 0 else None), result.samples[k])
            )
        if len(result.samples) > 1:
            spread = (units.high - units.low) * deviation(result.samples)
    if result.reference is not None:
        panels.append(("reference, never seen in training", result.reference))
    return _grid(panels, spread, valid, window_of(result.x_hat), units.name)


def _titled(title: str, value: float | None, prefix: str = "") -> str:
    return title if value is None or math.isnan(value) else f"{title}\n{prefix}{value:.2f} dB"


def _grid(
    panels: Sequence[tuple[str, Tensor]],
    spread: Tensor | None,
    valid: bool,
    window: tuple[float, float],
    units: str,
) -> bytes:
    from matplotlib.figure import Figure

    count = len(panels) + (spread is not None)
    columns = min(3, count)
    rows = -(-count // columns)
    height, width = panels[0][1].shape[-2:]
    side = 3.3
    room = 0.8 if spread is not None else 0.0  # the colour bar's
    figure = Figure(figsize=(columns * side + room, rows * (side * height / width + 0.4)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    at = iter(axes)
    for title, x in panels:
        axis = next(at)
        axis.imshow(displayed(x, window), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=9, color=WARNING if UNKNOWN in title else "black")
    if spread is not None:
        axis = next(at)
        drawn = axis.imshow(spread.numpy(), cmap="magma", vmin=0, interpolation="nearest")
        title = f"uncertainty: samples' standard deviation\n{units}"
        axis.set_title(title if valid else f"{title}\n{INVALID}", fontsize=9, color="black" if valid else WARNING)
        figure.colorbar(drawn, ax=axis, shrink=0.9)
    return _png(figure)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
