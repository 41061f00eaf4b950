"""Pictures of results, as PNG bytes: an image beside its estimates, and the course of training."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from unveil.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["comparison", "displayed", "training_curves"]

DPI = 110
INVALID = "not valid: the noise model does not fit"
UNKNOWN = "error unknown: the noise model does not fit"
WARNING = "#b00020"
SHOWN = 1e30
"""What is not smaller was no number when a training went astray, and has no place on an axis."""


def displayed(x: Tensor) -> np.ndarray:
    """Return x (C, H, W) in [0, 1] as matplotlib shows it: (H, W), or (H, W, 3); two channels as their modulus."""
    if x.shape[0] == 3:
        return x.clamp(0, 1).permute(1, 2, 0).numpy()
    if x.shape[0] == 2:
        return x.square().sum(0).sqrt().clamp(0, 1).numpy()
    return x[0].clamp(0, 1).numpy()


def comparison(result: Evaluation, valid: bool = True) -> bytes:
    """Draw the measured image, MMSE estimate, two samples, their deviation and, where there is one, the reference.

    valid: whether the noise model fits; else no error is drawn that was estimated with it, and the deviation says so.
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
            spread = result.samples.std(0).mean(0)
    if result.reference is not None:
        panels.append(("reference, never seen in training", result.reference))
    return _grid(panels, spread, valid)


def _titled(title: str, value: float | None, prefix: str = "") -> str:
    return title if value is None or math.isnan(value) else f"{title}\n{prefix}{value:.2f} dB"


def _grid(panels: Sequence[tuple[str, Tensor]], spread: Tensor | None, valid: bool) -> bytes:
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
        axis.imshow(displayed(x), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=9, color=WARNING if UNKNOWN in title else "black")
    if spread is not None:
        axis = next(at)
        drawn = axis.imshow(spread.numpy(), cmap="magma", vmin=0, interpolation="nearest")
        title = "uncertainty: samples' standard deviation"
        axis.set_title(title if valid else f"{title}\n{INVALID}", fontsize=9, color="black" if valid else WARNING)
        figure.colorbar(drawn, ax=axis, shrink=0.9)
    return _png(figure)


def training_curves(metrics: Sequence[dict[str, float]], valid: bool = True) -> bytes | None:
    """Draw the loss and the held-out PSNR against the step; None where there is nothing to show.

    The PSNR is estimated without a reference. valid: whether the noise model fits; else it says so.
    """
    from matplotlib.figure import Figure

    metrics = [line for line in metrics if abs(line.get("loss", math.inf)) < SHOWN]
    if not metrics:
        return None
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [line["step"] for line in metrics]
    loss = np.array([line["loss"] for line in metrics])
    window = max(1, len(loss) // 50)
    smooth = np.convolve(loss, np.ones(window) / window, mode="valid")
    left.plot(steps, loss, color="0.8", linewidth=0.6)
    left.plot(steps[window - 1 :], smooth, color="C0", label=f"mean of {window} steps")
    left.set(xlabel="step", ylabel="training loss (weighted)", ylim=_limits(loss))
    left.legend(frameon=False)
    for key, label in (("psnr_estimate", "at the measured level"), ("psnr_estimate_half", "at half of it (2x2 means)")):
        points = [(line["step"], line[key]) for line in metrics if abs(line.get(key, math.inf)) < SHOWN]
        if points:
            right.plot(*zip(*points), marker=".", label=label)
    right.set(xlabel="step", ylabel="held-out PSNR, estimated (dB)")
    if not valid:
        right.set_title(INVALID, fontsize=9, color=WARNING)
    if right.has_data():
        right.legend(frameon=False)
    return _png(figure)


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [1, 99])
    margin = 0.1 * (high - low) + 1e-9
    return float(low - margin), float(high + margin)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
