"""How images are spread before anything is learned: mu and v, by which the network is preconditioned.

    mu = mean of y,     v^2 = var(y) - mean of var(y | x)

over the pixels that are measured, of all images that `look` takes. f is best preconditioned where N(mu, v^2) is the law
of their pixels (Karras et al. 2022, https://arxiv.org/abs/2206.00364): cells on a dark ground, whose numbers fill a
tenth of the range, are not learned as photographs are.
"""

from collections.abc import Mapping
from typing import Any

import torch

from unveil.checks.look import look, middle, spread
from unveil.checks.measurements import looked_at
from unveil.config import Config
from unveil.data import ImageSource
from unveil.noise import Noise
from unveil.operators.base import Operator

__all__ = ["LEAST", "signal_law", "with_signal_law"]

LEAST = 0.1
"""v is at least this multiple of the noise's deviation: images in which nothing is seen are learned to be flat."""


def signal_law(source: ImageSource, noise: Noise, operator: Operator) -> tuple[float, float]:
    """Return (mu, v), estimates of the mean and the deviation of the noiseless images, in the units of `source`.

    noise: of all images, or of each, in those units. operator: of all, which picks pixels. Raises what `source.read`
    raises.
    """
    known, values, shares = looked_at(noise, source), [], []
    for k, (i, y) in enumerate(zip(spread(len(source)), look(source).values())):
        variance = known.select(torch.tensor([k])).estimated_variance(y[None])[0]
        measured = operator.select(torch.tensor([i])).measured
        if measured is not None:
            top, left, height, width = middle(source.shape(i))
            seen = measured[0, ..., top : top + height, left : left + width].expand_as(y)
            y, variance = y[seen], variance[seen]
        values.append(y.flatten())
        shares.append(variance.flatten())
    pixels, share = torch.cat(values), float(torch.cat(shares).mean().clamp_min(0))
    v = float(pixels.var()) - share
    return float(pixels.mean()), max(v, LEAST**2 * share) ** 0.5


def with_signal_law(
    config: Config, stated: Mapping[str, Any], source: ImageSource, noise: Noise, operator: Operator
) -> Config:
    """Return the configuration with the mean and the deviation of the images as found in their measurements.

    As it is where the operator picks no pixels. stated: of the estimator's keys, those that stay as they are.
    """
    if config.estimator.form != "preconditioned" or not operator.picks:  # other forms follow each image's own
        return config
    mean, std = (float(f"{value:.2g}") for value in signal_law(source, noise, operator))
    found = {key: value for key, value in (("mean", mean), ("std", std)) if key not in stated}
    return config.model_copy(update={"estimator": config.estimator.model_copy(update=found)})
