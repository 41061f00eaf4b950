"""Whether a training fits into the machine, told before anything of it is allocated."""

import math
import os
from collections.abc import Sequence

import torch

from unveil.config import Config
from unveil.errors import UnveilError

__all__ = ["check_room", "least_memory"]

WEIGHTS = 20
"""Bytes of a weight: itself, its gradient, two moments of AdamW and the moving average, in single precision."""
FEATURES = 16
"""Bytes of a feature at a residual block that wait for the gradient: at least four numbers in single precision."""


def check_room(config: Config, channels: int, image_shape: Sequence[int] | None = None) -> None:
    """Raise UnveilError, with the size and the limit, if training surely needs more memory than the machine has.

    channels: of the measurements. image_shape: (C, H, W) of incomplete measurements, whose images are seen whole; None:
    crops are.
    """
    least, has = least_memory(config, channels, image_shape), _memory()
    if least > has:
        form, training = config.estimator, config.training
        raise UnveilError(
            f"training.batch = {training.batch}, training.crop = {training.crop}, estimator.widths = "
            f"{list(form.widths)} and estimator.blocks = {form.blocks} need {least / 2**30:.3g} GiB at least, and this "
            f"machine has {has / 2**30:.3g} GiB: lower them"
        )


def least_memory(config: Config, channels: int, image_shape: Sequence[int] | None = None) -> float:
    """Return the bytes that a step of training needs at least, the arguments being those of `check_room`."""
    form, training = config.estimator, config.training
    coarsest = 2 ** (len(form.widths) - 1)  # the network pads each side to a multiple of its coarsest pixels
    sides = (training.crop, training.crop) if image_shape is None else image_shape[1:]
    pixels = math.prod(-(-side // coarsest) * coarsest for side in sides)
    weights = features = 0.0
    for level, width in enumerate(form.widths):
        blocks = form.blocks * (1 if level == len(form.widths) - 1 else 2)  # of the encoder and the decoder
        weights += blocks * 18 * width**2
        features += blocks * width * pixels / 4**level
    precision = 0.5 if training.precision == "bf16" else 1.0
    seen = training.batch * (precision * FEATURES * features + 4 * channels * pixels)
    return WEIGHTS * weights + seen


def _memory() -> float:
    """Return the bytes of the machine's memory, or of its largest GPU's if that is more."""
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    gpus = [torch.cuda.get_device_properties(k).total_memory for k in range(torch.cuda.device_count())]
    return max(own, *gpus, 0)
