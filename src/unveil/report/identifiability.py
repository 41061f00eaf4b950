"""A picture of what is never seen: in the frequency plane, in the image, and as images.

What that is, `unveil.identifiability.spectrum` finds.
"""

import io
import textwrap
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unveil.identifiability import TOLERANCE, Spectrum, name_hidden

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_spectrum"]

DPI = 110
BLURRED = 0.05
PICTURED = 3
"""The most never-seen images that are drawn."""


def draw_spectrum(found: Spectrum) -> bytes:
    """Draw a PNG of what is never seen.

    It shows the never-seen part of each frequency (grey: not judged) and pixel, the eigenvalues, and some never-seen
    images.
    """
    from matplotlib.figure import Figure

    directions = found.directions[:PICTURED].cpu()
    rows = 2 if len(directions) else 1
    figure = Figure(figsize=(10, 3.4 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False)
    figure.suptitle(textwrap.fill(f"never seen: {name_hidden(found)}", 120), fontsize=10)
    _frequencies(axes[0, 0], found)
    _pixels(axes[0, 1], found)
    _eigenvalues(axes[0, 2], found)
    for axis in axes[1:].ravel():
        axis.set_axis_off()
    for axis, image in zip(axes[1:].ravel(), directions):
        shown = _shown(image)
        limit = float(np.abs(shown).max())
        axis.imshow(shown, cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_title("an image that is never seen", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _frequencies(axis: "Axes", found: Spectrum) -> None:
    from matplotlib import colormaps

    height, width = found.fourier.shape
    shares = torch.fft.fftshift(found.fourier.cpu()).numpy()
    edges = (-(width // 2) - 0.5, width - width // 2 - 0.5, height - height // 2 - 0.5, -(height // 2) - 0.5)
    cmap = colormaps["magma"].with_extremes(bad="0.6")
    axis.imshow(np.ma.masked_invalid(shares), cmap=cmap, vmin=0, vmax=1, extent=edges, interpolation="nearest")
    axis.set(xlabel="kx, cycles per image", ylabel="ky, cycles per image")
    axis.set_title("part of each frequency that is never seen", fontsize=9)


def _pixels(axis: "Axes", found: Spectrum) -> None:
    axis.set_title("part of each pixel that is never seen", fontsize=9)
    shares = found.pixels.cpu()
    if not found.exact and float((shares * (1 - shares)).mean()) > BLURRED:  # a few probes tell 0 and 1, and no more
        axis.set_axis_off()
        axis.text(0.5, 0.5, f"about {float(shares.mean()):.2f} of each", ha="center", transform=axis.transAxes)
        return
    drawn = axis.imshow(shares.numpy(), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
    axis.figure.colorbar(drawn, ax=axis, location="bottom", shrink=0.6)


def _eigenvalues(axis: "Axes", found: Spectrum) -> None:
    values = found.eigenvalues.cpu().clamp_min(1e-8).numpy()
    axis.semilogy(np.linspace(0, 1, len(values)), values, marker="." if len(values) < 300 else "", linewidth=1)
    axis.axhline(TOLERANCE, color="0.5", linestyle="--", linewidth=1)
    axis.text(0.98, TOLERANCE, "below: never seen", ha="right", va="top", fontsize=8, color="0.4")
    axis.set(xlabel="share of the eigenvalues" if found.exact else "share of the eigenvalues found", ylim=(5e-9, 2))
    axis.set_title("eigenvalues of M, the largest being 1", fontsize=9)


def _shown(image: Tensor) -> np.ndarray:
    """Return (H, W) of an image (C, H, W): the mean of its channels; of a complex one, the real part."""
    return (image[0] if image.shape[0] == 2 else image.mean(0)).numpy()
