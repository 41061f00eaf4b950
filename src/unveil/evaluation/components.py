"""Where posterior samples differ: their principal components, and the quantiles of each pixel.

Samples x_k have the mean x_ and the components x_k - x_ = sum_j s_j a_kj v_j: the v_j of the largest variances s_j^2
are what they differ in together (Nehme, Yair and Michaeli 2023, https://arxiv.org/abs/2309.13598, learn these). A few
samples do not show the 5% that is farthest out: quantiles are those of Student's law by the mean and the deviation of
each pixel, which hold for x itself where it is normal, and from ENOUGH samples on their own.
"""

import torch
from torch import Tensor

from unveil.student import student

__all__ = ["COMPONENTS", "component_names", "posterior_images", "principal_components", "quantiles"]

COMPONENTS = 3
ENOUGH = 40
DEVIATIONS = 2.0
"""By how much an image is moved along a component, to be seen."""


def principal_components(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Return v (k, C, H, W), times their deviations, and their shares (k,) of the variance of samples (S, C, H, W).

    k: COMPONENTS, or S - 1 of fewer samples. Their signs are such that the sum of each is not negative.
    """
    count = len(samples)
    d = (samples - samples.mean(0)).flatten(1).double()
    values, vectors = torch.linalg.eigh(d @ d.T)
    k = min(COMPONENTS, count - 1)
    values, vectors = values.flip(0)[:k].clamp_min(0), vectors.flip(1)[:, :k]
    scaled = vectors.T @ d / max(count - 1, 1) ** 0.5
    scaled = scaled * torch.where(scaled.sum(1) < 0, -1.0, 1.0)[:, None]
    total = d.square().sum().clamp_min(1e-300)
    return scaled.reshape(k, *samples.shape[1:]).to(samples), values / total


def quantiles(samples: Tensor, level: float = 0.9) -> tuple[Tensor, Tensor]:
    """Return the ends (C, H, W) of the middle `level` of each pixel, by samples (S, C, H, W), S >= 2."""
    count = len(samples)
    if count >= ENOUGH:
        return samples.quantile((1 - level) / 2, 0), samples.quantile((1 + level) / 2, 0)
    mean, reach = samples.mean(0), student(level, count - 1) * (1 + 1 / count) ** 0.5 * samples.std(0)
    return mean - reach, mean + reach


def component_names(count: int) -> list[str]:
    """Return the names of what `posterior_images` makes of `count` samples."""
    ends = [f"component_{k + 1}_{end}" for k in range(min(COMPONENTS, count - 1)) for end in ("minus", "plus")]
    return ["mean", "quantile_05", "quantile_95", *ends] if count > 1 else []


def posterior_images(samples: Tensor) -> dict[str, Tensor]:
    """Return the images (C, H, W) that show where samples (S, C, H, W) differ, by name; none of one sample."""
    if len(samples) < 2:
        return {}
    mean, (low, high) = samples.mean(0), quantiles(samples)
    images = {"mean": mean, "quantile_05": low, "quantile_95": high}
    for k, v in enumerate(principal_components(samples)[0]):
        images |= {f"component_{k + 1}_{e}": mean + s * v for e, s in (("minus", -DEVIATIONS), ("plus", DEVIATIONS))}
    return images
