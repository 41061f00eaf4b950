"""How the pictures of one image are shown: all in one window of intensities, so that they can be compared."""

import io

import numpy as np
import torch
from torch import Tensor

__all__ = ["MAP", "coloured", "colours", "deviation", "displayed", "intensities", "png", "window_of"]

SHARES = (0.1, 99.9)
"""Percent of an estimate's values below black, and below white: a few bright pixels hide no others."""
BEYOND = 0.25
"""By which estimates of images in [0, 1] may leave it, as after few steps."""
MOST_VALUES = 10**6
"""That percentiles are taken of."""
MAP = "magma"
"""Of deviations: its lightness grows evenly, for the colour-blind too (https://bids.github.io/colormap)."""


def intensities(x: Tensor) -> Tensor:
    """Return what is shown of x (C, H, W): (3, H, W) of colours, else (1, H, W); of two channels, complex, the modulus.

    Of other numbers of channels the first.
    """
    if x.shape[0] == 3:
        return x
    return x.square().sum(0, keepdim=True).sqrt() if x.shape[0] == 2 else x[:1]


def window_of(x: Tensor) -> tuple[float, float]:
    """Return the values shown black and white of pictures of one image, by its estimate x (C, H, W).

    That is [0, 1] where x takes more than half of it, as photographs do; else the range of x.
    """
    values = intensities(x).detach().cpu().flatten()
    values = values[values.isfinite()][:: max(1, values.numel() // MOST_VALUES)].double()
    if not len(values):
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values.numpy(), SHARES))
    if x.shape[0] == 2:
        low = 0.0
    if high - low > 0.5 and low > -BEYOND and high < 1 + BEYOND:
        return 0.0, 1.0
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def displayed(x: Tensor, window: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Return x (C, H, W) as matplotlib shows it, in [0, 1]: (H, W), or (H, W, 3) of colours."""
    low, high = window
    shown = ((intensities(x) - low) / (high - low)).nan_to_num(0.0).clamp(0, 1)
    return (shown.permute(1, 2, 0) if len(shown) == 3 else shown[0]).numpy()


def deviation(samples: Tensor) -> Tensor:
    """Return the samples' (S, C, H, W) standard deviation (H, W): of colours the root mean square of theirs.

    Of complex images that of both parts together.
    """
    variance = samples.var(0)
    return (variance.sum(0) if len(variance) == 2 else variance.mean(0)).sqrt()


def png(x: Tensor, window: tuple[float, float]) -> bytes:
    """Return x (C, H, W) as a PNG of 8 bits."""
    return _encoded(displayed(x, window))


def coloured(spread: Tensor, high: float) -> bytes:
    """Return a map (H, W) of values from 0 to `high` as a PNG in colours."""
    from matplotlib import colormaps

    shares = (spread / high).nan_to_num(0.0).clamp(0, 1).numpy()
    return _encoded(colormaps[MAP](shares)[..., :3])


def colours() -> bytes:
    """Return a bar of the map's colours, from 0 to its highest value, as a PNG."""
    return coloured(torch.linspace(0, 1, 256)[None], 1.0)


def _encoded(shares: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * shares).astype(np.uint8)).save(buffer, "png")
    return buffer.getvalue()
