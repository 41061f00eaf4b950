"""Inpainting: some pixels of the image are missing, the same ones in every image or others in each.

    y_i = m_i (x_i + n_i),   m_i in {0, 1}

A = diag(m). The missing entries of y are zero and count as not measured.
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError, warn
from unveil.instruments.files import read_real
from unveil.instruments.inpainting import InpaintingSection
from unveil.operators.base import Operator

__all__ = ["Inpainting", "build_inpainting", "inpainting", "missing_box", "random_mask"]


class Inpainting(Operator):
    """Images (C, H, W) seen where `measured` (1 or N, 1 or C, H, W), boolean, is true."""

    kind = "inpainting"
    projects = True
    picks = True

    def __init__(self, image_shape: tuple[int, ...], measured: Tensor) -> None:
        self.image_shape = self.measurement_shape = image_shape
        self.measured = measured

    def _apply(self, x: Tensor) -> Tensor:
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return y


def inpainting(mask: Tensor, channels: int = 1) -> Inpainting:
    """Return the operator of images (C, H, W) seen through `mask`.

    mask: (H, W) boolean or 0 and 1, 1 where a pixel is measured, or (N, H, W), one mask for each of N measurements.
    channels: C. Raises UnveilError for a mask of another rank, with other values, or that measures nothing.
    """
    if mask.ndim not in (2, 3):
        raise UnveilError(
            f"the mask has shape {tuple(mask.shape)}: it must be (H, W), or (N, H, W) for one mask per image"
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise UnveilError("the mask holds values other than 0 and 1: pass 1 where a pixel is measured and 0 elsewhere")
    if not bool((mask != 0).flatten(-2).any(-1).all()):
        raise UnveilError("the mask measures no pixel: pass 1 where a pixel is measured")
    shape = (channels, *mask.shape[-2:])
    return Inpainting(shape, (mask if mask.ndim == 3 else mask[None])[:, None] != 0)


def build_inpainting(section: InpaintingSection, shape: tuple[int, int, int], count: int) -> Inpainting:
    """Return the operator that a configuration describes, for `count` measurements of `shape` (C, H, W).

    Raises UnveilError when the mask has another size, is a stack of another number of masks, or is complex or not
    finite.
    """
    mask = torch.from_numpy(read_real(section.mask, "operator.mask"))
    if not bool(mask.isfinite().all()):
        raise UnveilError(
            f"operator.mask: {section.mask} holds NaN or infinite values; write 0 where a pixel is missing"
        )
    mask = (mask > 0).float()
    if mask.shape[-2:] != shape[-2:] or (mask.ndim == 3 and len(mask) != count):
        raise UnveilError(
            f"operator.mask: {section.mask} has shape {tuple(mask.shape)}, and the {count} measurements are "
            f"{shape[1]}x{shape[2]} pixels; give a mask of shape {tuple(shape[1:])}, or one for each measurement"
        )
    if bool(mask.all()):
        warn(
            f"operator.mask: {section.mask} measures every pixel, none is missing; check that it is 0 where one is "
            "missing"
        )
    return inpainting(mask, shape[0])


def random_mask(height: int, width: int, share: float, generator: torch.Generator) -> Tensor:
    """Draw a mask (H, W) that measures each pixel with probability `share`, in (0, 1]."""
    if not 0 < share <= 1:
        raise UnveilError(f"the share of measured pixels must be in (0, 1], not {share}")
    return torch.rand(height, width, generator=generator, device=generator.device) < share


def missing_box(height: int, width: int, top: int, left: int, box_height: int, box_width: int) -> Tensor:
    """Return a mask (H, W) that misses one box, in pixels.

    Raises UnveilError when the box is not inside the image.
    """
    if min(top, left) < 0 or min(box_height, box_width) < 1 or top + box_height > height or left + box_width > width:
        raise UnveilError(
            f"the box (top, left, height, width) = {(top, left, box_height, box_width)} is not inside {height}x{width}"
        )
    mask = torch.ones(height, width, dtype=torch.bool)
    mask[top : top + box_height, left : left + box_width] = False
    return mask
