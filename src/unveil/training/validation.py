"""Validation without a reference: SURE on held-out measurements.

At sigma_n itself, and at sigma_n / 2 on means over 2 x 2 blocks, which are as good as images of half the noise where
the images look alike at both scales (see `unveil.risks.dilate`).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from unveil.data import ImageSource
from unveil.problem import Problem, Several
from unveil.random import make_generator
from unveil.risks import SURE, HiddenEntries, told

__all__ = ["measurement_validation", "reference_free_validation"]

MOST_IMAGES = 8
LARGEST_SIDE = 192


def reference_free_validation(
    images: ImageSource, sigma_n: float, seed: int
) -> Callable[[nn.Module], dict[str, float]]:
    """A function f -> {"risk", "psnr_estimate", "risk_half", "psnr_estimate_half"}, the same probes at every call.

    risk is the mean SURE of the images' centres, in squared units of y; psnr_estimate is -10 log10(risk), in dB for
    signals in [0, 1].
    """
    count = min(MOST_IMAGES, len(images))

    def validate(f: nn.Module) -> dict[str, float]:
        device = next(f.parameters()).device
        totals = [0.0, 0.0]
        for i in range(count):
            _, height, width = images.shape(i)
            h, w = min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)
            y = images.read(i, ((height - h) // 2, (width - w) // 2, h, w))[None].to(device)
            for k in (1, 2):
                generator = make_generator(device, seed, i, k)
                sigma = torch.full((1,), sigma_n / k, device=device)
                totals[k - 1] += SURE()(f, F.avg_pool2d(y, k), sigma, generator).item() / count
        risk, half = totals
        metrics = {"risk": risk, "risk_half": half}
        if risk > 0:
            metrics["psnr_estimate"] = -10 * math.log10(risk)
        if half > 0:
            metrics["psnr_estimate_half"] = -10 * math.log10(half)
        return metrics

    return validate


def measurement_validation(
    measurements: ImageSource, problem: Problem | Several, sigma_n: float, seed: int
) -> Callable[[nn.Module], dict[str, float]]:
    """A function f -> {"risk", "psnr_estimate", "risk_hidden", "psnr_hidden"}, the same draws at every call.

    risk estimates |A (f(y) - x)|^2 / m on the measured entries. risk_hidden estimates the same error on entries that were hidden
    from f, the only evidence on what A leaves out. PSNR in dB for signals in [0, 1].
    """
    count = min(MOST_IMAGES, len(measurements))

    def validate(f: nn.Module) -> dict[str, float]:
        device = next(f.parameters()).device
        risk = hidden = 0.0
        for i in range(count):
            y = measurements.read(i)[None].to(device)
            part = problem.at(torch.tensor([i], device=device))
            sigma = torch.full((1,), sigma_n, device=device)
            generator = make_generator(device, seed, i)
            risk += SURE(problem=part)(told(f, part), y, sigma, generator).item() / count
            hidden += HiddenEntries(part)(told(f, part), y, sigma, generator).item() / count
        metrics = {"risk": risk, "risk_hidden": hidden}
        if risk > 0:
            metrics["psnr_estimate"] = -10 * math.log10(risk)
        if hidden > 0:
            metrics["psnr_hidden"] = -10 * math.log10(hidden)
        return metrics

    return validate
