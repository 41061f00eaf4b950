"""Distortion against a reference: for simulations and benchmarks, where x is known."""

import math

import torch
from torch import Tensor

__all__ = ["mean_square_error", "psnr", "ssim"]


def mean_square_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return |x_hat - x|^2 / n (B,) of images (B, C, H, W), in squared units of x."""
    return (x_hat - x).square().flatten(1).mean(1)


def psnr(error: float) -> float:
    """Return -10 log10 of a mean square error, in dB, for signals in [0, 1]; inf at 0 and nan below it."""
    if error > 0:
        return -10 * math.log10(error)
    return math.inf if error == 0 else math.nan


def ssim(x_hat: Tensor, x: Tensor) -> float:
    """Return the mean structural similarity of two images (C, H, W) in [0, 1], Gaussian windows of deviation 1.5.

    Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861; scikit-image's implementation. Images with a side under
    11 pixels have no window: nan.
    """
    from skimage.metrics import structural_similarity

    if min(x.shape[-2:]) < 11:
        return math.nan
    a, b = (torch.as_tensor(v).double().cpu().numpy() for v in (x_hat, x))
    value = structural_similarity(
        a, b, channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(value)
