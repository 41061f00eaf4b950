"""Scale invariance by the loss: the same risk of measurements averaged over k x k blocks.

Natural images look alike at every scale. The mean over k x k blocks of y is then a valid image, and its noise is
independent with deviation sigma / k: real data below the measured noise level, where renormalization only rescales
the noisy data that there are. For A = I; signals with a scale of their own (text, cells of one size) break the
assumption.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from unveil.errors import UnveilError
from unveil.risks.base import Estimator, Risk

__all__ = ["Dilate", "dilate"]


class Dilate(Risk):
    """risk(f, block means of y, sigma / k), k drawn per sample from `factors` with equal odds.

    Of a window (H, W), a sample of factor k uses a part of k times (H, W) / max(factors), placed at random, so that
    all samples come out at (H, W) / max(factors) and cost the same.
    Raises UnveilError when the problem has an operator or a mask, or when H or W is no multiple of max(factors).
    """

    def __init__(self, risk: Risk, factors: Sequence[int] = (1, 2, 4)) -> None:
        super().__init__(risk.problem)
        if risk.problem.operator is not None or risk.problem.measured is not None:
            raise UnveilError("block means need an image whose every pixel is measured: dilate the A = I risk only")
        if not factors or min(factors) < 1:
            raise UnveilError(f"dilation factors must be integers >= 1, not {list(factors)}")
        self.risk = risk
        self.factors = tuple(factors)
        self.passes = risk.passes

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        largest = max(self.factors)
        height, width = y.shape[-2] // largest, y.shape[-1] // largest
        if (height * largest, width * largest) != tuple(y.shape[-2:]):
            raise UnveilError(
                f"a window of {y.shape[-2]}x{y.shape[-1]} pixels cannot be dilated by {largest}: "
                "use multiples of the largest factor"
            )
        draws = torch.rand(y.shape[0], 3, generator=generator, device=y.device).tolist()
        means, levels = [], []
        for i, (which, down, across) in enumerate(draws):
            k = self.factors[int(which * len(self.factors))]
            top = int(down * (height * (largest - k) + 1))
            left = int(across * (width * (largest - k) + 1))
            means.append(F.avg_pool2d(y[i, :, top : top + k * height, left : left + k * width], k))
            levels.append(sigma[i] / k)
        return self.risk(f, torch.stack(means), torch.stack(levels), generator)


def dilate(risk: Risk, factors: Sequence[int] = (1, 2, 4)) -> Dilate:
    """`risk` on y and on its block means."""
    return Dilate(risk, factors)
