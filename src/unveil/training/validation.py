"""Validation without a reference: Stein's estimate on held-out measurements.

Of images also at half the noise, on means over 2 x 2 blocks, which are as good as images of four times the exposure
where the images look alike at both scales; of incomplete measurements also on entries that were hidden from the
network, the only evidence on what A leaves out.
"""

import math
from collections.abc import Callable

from torch import Tensor, nn

from unveil.dataset import Dataset
from unveil.losses import HiddenEntries, Loss, Stein
from unveil.measurement import Measurement
from unveil.random import make_generator

__all__ = ["make_validation"]

MOST_IMAGES = 8
LARGEST_SIDE = 192


def make_validation(data: Dataset, seed: int) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function f -> {"error", "psnr_estimate", ...}, the same probes at every call.

    error estimates |A (f(y) - x)|^2 / m in the mean over some measurements, of large images on their centres;
    error_half the same of 2 x 2 means, error_hidden of hidden entries. psnr_* are -10 log10 of these, in dB for signals
    in [0, 1].
    """
    count = min(MOST_IMAGES, len(data))
    also = "hidden" if data.operator.unseen else "half"

    def validate(f: nn.Module) -> dict[str, float]:
        device = next(f.parameters()).device
        error = other = 0.0
        for i in range(count):
            m = _centre(data, i).to(device)
            error += _mean(Stein(), f, m, seed, i, 1) / count
            if also == "hidden":
                other += _mean(HiddenEntries(), f, m, seed, i, 2) / count
            else:
                other += _mean(Stein(), f, m.coarser(2) or m, seed, i, 2) / count
        metrics = {"error": error, f"error_{also}": other}
        for name, value in (
            ("psnr_estimate", error),
            ("psnr_hidden" if also == "hidden" else "psnr_estimate_half", other),
        ):
            if value > 0:
                metrics[name] = -10 * math.log10(value)
        return metrics

    return validate


def _mean(loss: Loss, f: nn.Module, m: Measurement, *key: int) -> float:
    value: Tensor = loss(f, m, make_generator(m.y.device, *key))
    return value.item()


def _centre(data: Dataset, i: int) -> Measurement:
    """Return measurement i, or as much of its middle as is validated on, where it has windows."""
    _, height, width = data.source.shape(i)
    h, w = min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)
    box = ((height - h) // 2, (width - w) // 2, h, w)
    return data.window(i, box) or data[i]
