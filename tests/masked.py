"""Runs from incomplete measurements: smooth images that look alike when shifted, each seen through a mask, its own or
one for all."""

import math

import numpy as np
import torch

from unveil.config import parse_config
from unveil.random import make_generator

SIDE, SIGMA = 16, 0.05


def smooth(count, key):
    """Images (count, 1, SIDE, SIDE): two periodic waves of random phase, as likely when shifted."""
    phases = 2 * math.pi * torch.rand(count, 3, 1, 1, generator=make_generator("cpu", key))
    t = 2 * math.pi * torch.arange(SIDE) / SIDE
    down, across = t[:, None], t[None]
    a, b, c = phases.unbind(1)
    x = 0.5 + 0.2 * torch.sin(down + a) * torch.sin(across + b) + 0.2 * torch.sin(2 * down - across + c)
    return x[:, None]


def measure(x, masks, key, sigma=SIGMA):
    """Zero where nothing is measured; no other entry is."""
    noise = torch.randn(x.shape, generator=make_generator("cpu", key))
    return torch.where(masks, x + sigma * noise, 0.0)


def write(folder, count=12, several=True, share=0.6, key=1):
    """y.npy and mask.npy in `folder`; the images and masks (N, 1, H, W) behind them."""
    folder.mkdir(exist_ok=True)
    x = smooth(count, key)
    keep = torch.rand(count if several else 1, SIDE, SIDE, generator=make_generator("cpu", key, 1)) < share
    np.save(folder / "y.npy", measure(x, keep[:, None], key + 100)[:, 0].numpy())
    np.save(folder / "mask.npy", (keep if several else keep[0]).numpy())
    return x, keep[:, None].expand(count, -1, -1, -1)


def configure(folder, **sections):
    training = {"steps": 4, "batch": 4, "warmup": 1, "validate_every": 2, "checkpoint_every": 2, "learning_rate": 5e-3}
    values = {
        "data": {"path": str(folder / "y.npy"), "validation": 0.25},
        "operator": {"kind": "inpainting", "mask": str(folder / "mask.npy")},
        "noise": {"sigma": SIGMA},
        "estimator": {"widths": [4]},
        "sampling": {"inflation": 0.0},
        **sections,
        "training": {**training, **sections.get("training", {})},
    }
    return parse_config(values, "test")
