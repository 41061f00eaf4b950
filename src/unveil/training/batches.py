"""Batches of measurements, some of them coarser.

Coarser are the means over blocks of pixels, the centre of k-space, short baselines. Of images that look alike at every
scale a coarser measurement is real data below the measured noise level: at k^2 times the exposure. Signals with a scale
of their own (text, cells of one size) break the assumption: `unveil.checks` looks for it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unveil.data import ImageSource, crops
from unveil.data.crops import Boxes, draw_boxes, read_boxes
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise.base import Noise, together

__all__ = ["draw_images", "make_batches"]


def make_batches(
    data: Dataset, batch: int, crop: int, scales: Sequence[int], augment: bool
) -> Callable[[torch.Generator], Measurement]:
    """Return what draws a batch of B measurements from a CPU generator.

    Of an instrument whose measurements have windows these are crops of side `crop`, each at a scale of its own, turned
    by flips and quarter turns if `augment` and the noise is the same then; of others whole measurements, all at one
    scale. Scales are drawn from
    `scales` with equal odds.
    """
    if data.operator.window((0, 0, crop, crop)) is not None:
        return lambda generator: _windows(data, batch, crop, scales, augment, generator)
    return lambda generator: _whole(data, batch, scales, generator)


def _windows(
    data: Dataset, batch: int, crop: int, scales: Sequence[int], augment: bool, generator: torch.Generator
) -> Measurement:
    """Draw windows: one k times as wide is read for the samples of scale k alone, and all come out at one size."""
    k = torch.tensor(list(scales))[torch.randint(len(scales), (batch,), generator=generator)]
    operator = data.operator.window((0, 0, crop, crop)) or data.operator
    y, images = torch.empty(batch, data.source.channels, crop, crop), torch.empty(batch, dtype=torch.long)
    each: dict[int, Noise] = {}
    for scale in sorted(set(k.tolist())):
        rows = k == scale
        boxes = draw_boxes(data.source, int(rows.sum()), scale * crop, generator, augment and data.noise.turns)
        wide = read_boxes(data.source, boxes)
        found = data.operator.coarser(scale)
        if found is None:
            raise UnveilError(f"measurements of this kind have no scale {scale}: use loss.scales=[1]")
        operator, take = found
        y[rows], images[rows] = take(wide), boxes.images
        if data.noise.mapped:
            maps = _maps(data.noise, boxes).coarser(scale)
            each |= {b: maps.select(torch.tensor([j])) for j, b in enumerate(rows.nonzero()[:, 0].tolist())}
    noise = together([each[b] for b in range(batch)]) if each else data.noise.select(images).coarser(k)
    return Measurement.with_gaps(y, operator, noise)


def _maps(noise: Noise, boxes: Boxes) -> Noise:
    """Return the noise of windows, whose parameters are maps, turned as they are."""
    several = []
    for i, top, left, turn in torch.stack(boxes[:4], 1).tolist():
        box = (top, left, boxes.size, boxes.size)
        several.append(noise.select(torch.tensor([i])).window(box).turned(turn))
    return together(several)


def _whole(data: Dataset, batch: int, scales: Sequence[int], generator: torch.Generator) -> Measurement:
    m = data.batch(torch.randint(0, len(data), (batch,), generator=generator))
    k = scales[0] if len(scales) == 1 else scales[int(torch.randint(len(scales), (1,), generator=generator))]
    found = m if k == 1 else m.coarser(k)
    if found is None:
        raise UnveilError(f"measurements of this kind have no scale {k}: use loss.scales=[1]")
    return found


def draw_images(
    images: ImageSource, windows: bool, batch: int, crop: int, augment: bool, generator: torch.Generator
) -> Tensor:
    """Draw x (B, C, h, w), crops or, without `windows`, whole images, from a CPU generator."""
    if windows:
        return crops(images, batch, crop, generator, augment)
    which = torch.randint(0, len(images), (batch,), generator=generator)
    return torch.stack([images.read(i) for i in which.tolist()])
