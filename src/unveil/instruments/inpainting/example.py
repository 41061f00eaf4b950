"""Windows of photographs of which one mask misses three pixels in ten."""

from pathlib import Path

from unveil.instruments.example import SIDE, Example
from unveil.instruments.inpainting.operator import inpainting, random_mask
from unveil.instruments.photographs import windows
from unveil.random import make_generator

__all__ = ["missing_pixels"]


def missing_pixels(folder: Path) -> Example:
    x = windows()
    mask = random_mask(SIDE, SIDE, 0.7, make_generator("cpu", 2))
    return Example(
        images=x,
        operator=inpainting(mask, x.shape[1]),
        sigma=0.05,
        section={"mask": str(folder / "mask.npy")},
        files={"mask.npy": mask.numpy()},
        about="photographs of which one mask misses three pixels in ten",
    )
