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

    All samples come out at the size that the kernel of most pixels leaves of a window (H, W), and cost the same: of block
    means that is (H, W) / max(factors), of the longer Daubechies kernels a few pixels less. The others use a part of the
    window, placed at random.
    Raises UnveilError when the problem has an operator or a mask, when a kernel would correlate the noise, or when H or W is
    no multiple of max(factors) or shorter than a kernel.
    """

    def __init__(self, risk: Risk, factors: Sequence[int] = (1, 2, 4), kernel: Kernel = box) -> None:
        super().__init__(risk.problem)
        if risk.problem.operator is not None or risk.problem.measured is not None:
            raise UnveilError("block means need an image whose every pixel is measured: dilate the A = I risk only")
        if not factors or min(factors) < 1:
            raise UnveilError(f"dilation factors must be integers >= 1, not {list(factors)}")
        self.risk = risk
        self.factors = tuple(factors)
        self.kernels = tuple(kernel(k) for k in self.factors)
        self.passes = risk.passes

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        largest = max(self.factors)
        if y.shape[-2] % largest or y.shape[-1] % largest:
            raise UnveilError(
                f"a window of {y.shape[-2]}x{y.shape[-1]} pixels cannot be dilated by {largest}: "
                "use multiples of the largest factor"
            )
        height, width = (min(kernel.size(side) for kernel in self.kernels) for side in y.shape[-2:])
        if min(height, width) < 1:
            raise UnveilError(
                f"a window of {y.shape[-2]}x{y.shape[-1]} pixels is smaller than a kernel of "
                f"{max(len(kernel.taps) for kernel in self.kernels)} taps: use a larger window or smaller factors"
            )
        draws = torch.rand(y.shape[0], 3, generator=generator, device=y.device).tolist()
        means, levels = [], []
        for i, (which, down, across) in enumerate(draws):
            kernel = self.kernels[int(which * len(self.kernels))]
            rows, columns = kernel.extent(height), kernel.extent(width)
            top = int(down * (y.shape[-2] - rows + 1))
            left = int(across * (y.shape[-1] - columns + 1))
            means.append(kernel(y[i, :, top : top + rows, left : left + columns]))
            levels.append(sigma[i] * kernel.gain)
        return self.risk(f, torch.stack(means), torch.stack(levels), generator)


def dilate(risk: Risk, factors: Sequence[int] = (1, 2, 4), kernel: Kernel = box) -> Dilate:
    """`risk` on y and on its means by `kernel`."""
    return Dilate(risk, factors, kernel)
