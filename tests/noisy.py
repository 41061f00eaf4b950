"""Photographs in noise of many kinds, for tests of whether a noise model fits."""

import functools

import scipy.ndimage
import skimage.data
import torch
from torch.nn.functional import avg_pool2d

from unveil.random import make_generator, normal

CROPS = [("camera", 0, 0), ("camera", 256, 200), ("coins", 0, 0), ("moon", 0, 0), ("astronaut", 0, 100),
         ("astronaut", 256, 0), ("chelsea", 0, 50), ("coffee", 100, 200)]  # fmt: skip
STEP = 1 / 31
NEXT = ((0, 1), (0, -1), (1, 0), (-1, 0))


@functools.cache
def photographs():
    """Photographs (1, 128, 128) in [0, 1], grey and reduced twofold."""
    images = []
    for name, top, left in CROPS:
        x = torch.tensor(getattr(skimage.data, name)()[top : top + 256, left : left + 256], dtype=torch.float32) / 255
        images.append(avg_pool2d((x.mean(-1) if x.ndim == 3 else x)[None], 2))
    return images


def measured(noise, seed=0):
    return [noise.sample(x[None], make_generator("cpu", seed, i))[0] for i, x in enumerate(photographs())]


def with_noise(sigma, filtered):
    """Noise of deviation sigma everywhere, of what `filtered` makes of white noise (C, H, W)."""
    images = []
    for i, x in enumerate(photographs()):
        e = filtered(normal(x, make_generator("cpu", 3, i)))
        images.append(x + sigma * e / e.std())
    return images


def blurred(e):
    return torch.from_numpy(scipy.ndimage.gaussian_filter(e.numpy(), (0, 0.7, 0.7)))


def hot(y, i):
    return torch.where(torch.rand(y.shape, generator=make_generator("cpu", 9, i)) < 1e-3, y + 1, y)


def drifting(sigma):
    count = len(photographs()) - 1
    levels = [sigma * 1.5 ** (i / count - 0.5) for i in range(count + 1)]
    return [x + s * normal(x, make_generator("cpu", 4, i)) for i, (x, s) in enumerate(zip(photographs(), levels))]


def chi_square(e):
    return (e.square().sum(0)[None] - len(e)) / (2 * len(e)) ** 0.5


def sharpened(e):
    return e - 0.2 * sum(e.roll((i, j), (1, 2)) for i, j in NEXT)
