"""Scale invariance by the loss: the same risk of measurements averaged over k x k blocks.

Natural images look alike at every scale. The mean over k x k blocks of y is then a valid image, and its noise is
independent with deviation sigma / k: real data below the measured noise level, where renormalization only rescales
the noisy data that there are. Other kernels that leave the noise white serve as well (`unveil.risks.kernels`). For
A = I; signals with a scale of their own (text, cells of one size) break the assumption: `unveil.identify` looks for it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.risks.base import Estimator, Risk
from unveil.risks.kernels import Kernel, box

__all__ = ["Dilate", "dilate"]


class Dilate(Risk):
    """risk(f, h_k y, sigma |h_k|^2), k drawn per sample from `factors` with equal odds; h_k = kernel(k) averages blocks.

    side: the samples come out at side x side pixels, or at what their kernel leaves of the window (H, W) where that is
        less; those of one size go through the risk together. None: all at what the kernel of most pixels leaves, of
        block means (H, W) / max(factors). A sample uses a part of the window, placed at random.
    Raises UnveilError when the problem has an operator or a mask, when a kernel would correlate the noise, or when H or W is
    no multiple of max(factors) or shorter than a kernel.
    """

    def __init__(
        self, risk: Risk, factors: Sequence[int] = (1, 2, 4), kernel: Kernel = box, side: int | None = None
    ) -> None:
        super().__init__(risk.problem)
        if risk.problem.operator is not None or risk.problem.measured is not None:
            raise UnveilError("block means need an image whose every pixel is measured: dilate the A = I risk only")
        if not factors or min(factors) < 1:
            raise UnveilError(f"dilation factors must be integers >= 1, not {list(factors)}")
        if side is not None and side < 1:
            raise UnveilError(f"side is {side}: the samples need at least 1 pixel")
        self.risk = risk
        self.factors = tuple(factors)
        self.kernels = tuple(kernel(k) for k in self.factors)
        self.side = side
        self.passes = risk.passes

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        sizes = self.sizes(y.shape[-2], y.shape[-1])
        draws = torch.rand(y.shape[0], 3, generator=generator, device=y.device).tolist()
        groups: dict[tuple[int, int], list[int]] = {}
        means, levels = [], []
        for i, (which, down, across) in enumerate(draws):
            chosen = int(which * len(self.kernels))
            kernel, (height, width) = self.kernels[chosen], sizes[chosen]
            rows, columns = kernel.extent(height), kernel.extent(width)
            top = int(down * (y.shape[-2] - rows + 1))
            left = int(across * (y.shape[-1] - columns + 1))
            means.append(kernel(y[i, :, top : top + rows, left : left + columns]))
            levels.append(sigma[i] * kernel.gain)
            groups.setdefault((height, width), []).append(i)
        risks = torch.cat(
            [
                self.risk(f, torch.stack([means[i] for i in group]), torch.stack([levels[i] for i in group]), generator)
                for group in groups.values()
            ]
        )
        order = torch.tensor([i for group in groups.values() for i in group], device=y.device)
        return torch.empty_like(risks).index_copy(0, order, risks)

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """The size (h, w) that a sample of each factor has, from a window of height x width pixels."""
        largest = max(self.factors)
        if height % largest or width % largest:
            raise UnveilError(
                f"a window of {height}x{width} pixels cannot be dilated by {largest}: use multiples of the largest factor"
            )
        left = [(kernel.size(height), kernel.size(width)) for kernel in self.kernels]
        if min(min(size) for size in left) < 1:
            raise UnveilError(
                f"a window of {height}x{width} pixels is smaller than a kernel of "
                f"{max(len(kernel.taps) for kernel in self.kernels)} taps: use a larger window or smaller factors"
            )
        if self.side is None:
            return [(min(h for h, _ in left), min(w for _, w in left))] * len(left)
        return [(min(self.side, h), min(self.side, w)) for h, w in left]


def dilate(risk: Risk, factors: Sequence[int] = (1, 2, 4), kernel: Kernel = box, side: int | None = None) -> Dilate:
    """`risk` on y and on its means by `kernel`."""
    return Dilate(risk, factors, kernel, side)
