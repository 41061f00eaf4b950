"""Calibration of posterior samples: is their spread the error of the posterior mean?

For exact samples of p(x | y),  E |x_k - E[x | y]|^2 = E |x - E[x | y]|^2: the mean posterior variance over the mean
square error of the MMSE estimate is 1. Below 1 the samples are too sure of themselves.
"""

from torch import Tensor

__all__ = ["posterior_variance", "spread_over_error"]


def posterior_variance(samples: Tensor) -> Tensor:
    """Return the unbiased variance of each entry (B, C, H, W) over samples (S, B, C, H, W), S >= 2.

    In squared units of x.
    """
    return samples.var(0, unbiased=True)


def spread_over_error(samples: Tensor, error: Tensor) -> float:
    """Return the mean posterior variance of samples (S, B, C, H, W) over the mean of error (B,).

    `error` is the MMSE estimate's squared error: the true one or `estimate_error`'s. nan when it is not positive.
    """
    total = float(error.mean())
    return float(posterior_variance(samples).mean()) / total if total > 0 else float("nan")
