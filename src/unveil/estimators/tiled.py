"""Large images in tiles: the same f(m) at bounded memory.

Each tile is denoised with a margin of its surroundings, wider than the small UNet's reach, and the margin is dropped.
For an estimator that also uses statistics of the whole image (the equivariant wrapper) they become the tile's.
"""

from collections.abc import Callable

from torch import Tensor, nn

from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.operators.base import Operator

__all__ = ["Tiled"]


class Tiled(nn.Module):
    """f(m) tile by tile, for images larger than a tile whose operator has windows; others go through whole.

    tile: side of the part that a tile contributes, pixels. margin: context around it, pixels; a multiple of the
    estimator's stride so that tiles fall on the same grid as the whole image.
    """

    def __init__(self, f: nn.Module, tile: int = 512, margin: int = 32) -> None:
        super().__init__()
        if tile < 1 or margin < 0:
            raise UnveilError(f"tile is {tile} and margin {margin}: need tile >= 1 and margin >= 0")
        self.f = f
        self.tile = tile
        self.margin = margin
        self.progress: Callable[[int], object] | None = None
        """Told the number of tiles done of an image, after each."""

    def tiles(self, operator: Operator, height: int, width: int) -> int:
        """Return into how many tiles an image is cut."""
        if max(height, width) <= self.tile + 2 * self.margin or operator.window((0, 0, 1, 1)) is None:
            return 1
        return -(-height // self.tile) * -(-width // self.tile)

    def forward(self, m: Measurement) -> Tensor:
        height, width = m.y.shape[-2:]
        if self.tiles(m.operator, height, width) == 1:
            whole: Tensor = self.f(m)
            return whole
        x_hat, done = m.operator.image(m.y), 0
        for top in range(0, height, self.tile):
            for left in range(0, width, self.tile):
                up, before = max(0, top - self.margin), max(0, left - self.margin)
                bottom, right = min(height, top + self.tile), min(width, left + self.tile)
                below, beyond = min(height, bottom + self.margin), min(width, right + self.margin)
                part = self.f(m.window((up, before, below - up, beyond - before)))
                x_hat[..., top:bottom, left:right] = part[..., top - up :, left - before :][
                    ..., : bottom - top, : right - left
                ]
                done += 1
                if self.progress is not None:
                    self.progress(done)
        return x_hat
