"""References and measurements belong together: by name, by scale and by what they show.

A x is compared with y, no estimate in between. Of a reference x on the scale of its measurement y = A x + n, y has
slope 1 on A x and no offset, and correlates with it by

    r = (1 + sigma^2 / var(A x))^-1/2.

Of images means over blocks are compared, in which there is little noise. What is looked at: a third off in scale or
offset, and a correlation under two thirds of r, each beyond three standard errors. A reference that is nearer to y than
a third of sigma is y, or was made from it.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.checks.look import spread
from unveil.data import ImageSource
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.measurement import Measurement

__all__ = ["check_reference", "order_by_name", "pair_by_name", "reference_contradiction"]

OFF = 1 / 3
NEAR = 1 / 3
"""The share of the noise's level."""
BLOCK = 8
"""Pixels, the side of the blocks whose means are compared."""
FLAT = 1e-3
"""Deviation of a reference, on the [0, 1] scale, below which there is nothing to compare."""


def check_reference(
    source: ImageSource, reference: ImageSource, image_shape: tuple[int, ...] | None = None, what: str = "reference"
) -> None:
    """Raise UnveilError unless `reference` has an image of the right shape for every measurement of `source`.

    image_shape: that of images which have other shapes than their measurements. what: the images are called.
    """
    if len(reference) != len(source):
        raise UnveilError(
            f"the {what} has {len(reference)} images and the measurements {len(source)}: they must match in order"
        )
    for i in range(len(source)):
        shape = image_shape or source.shape(i)
        if tuple(shape) != reference.shape(i):
            raise UnveilError(
                f"{reference.where(i)} has shape {reference.shape(i)}, and its measurement's image {tuple(shape)}: "
                f"give {what}s of the same shape and order"
            )


def pair_by_name(source: ImageSource, reference: ImageSource) -> tuple[ImageSource, str | None]:
    """Return the images of `reference` in the order of `source`, and a line where no name told it.

    As `order_by_name` says.
    """
    order, line = order_by_name(source, reference)
    return (reference if order == list(range(len(reference))) else reference.subset(order)), line


def order_by_name(source: ImageSource, reference: ImageSource, what: str = "reference") -> tuple[list[int], str | None]:
    """Return the numbers of the images of `reference` in the order of `source`, and a line where no name told it.

    what: the images are called.

    Names are compared as they are, then without what all in a folder begin and end with: noisy_1 is a measurement of
    clean_1. Where no name is common to both they are paired in order.
    Raises UnveilError where some measurements have a reference of their name, and others none.
    """
    wanted, given = (_names(s) for s in (source, reference))
    missing = [name for name in wanted if name not in set(given)]
    if missing and len(missing) < len(wanted):
        raise UnveilError(
            f"the {what} has {len(given)} images, and none of them is called {missing[0]}, while "
            f"{len(wanted) - len(missing)} have "
            "the names of their measurements: give each under that name"
        )
    if missing and len(wanted) == len(given):
        wanted, given = _distinct(wanted), _distinct(given)
        if sorted(wanted) != sorted(given):
            return [*range(len(reference))], (
                f"no {what} has the name of its measurement: they are paired in order, {source.name(0)} with "
                f"{reference.name(0)} and so on"
            )
    elif missing:
        return [*range(len(reference))], None  # `check_reference` says how many there are
    at = {name: k for k, name in enumerate(given)}
    return [at[name] for name in wanted], None


def _names(source: ImageSource) -> list[str]:
    return [source.name(i) for i in range(len(source))]


def _distinct(names: list[str]) -> list[str]:
    """Return the names without what all of them begin and end with."""
    head = _common(names)
    tail = _common([name[head:][::-1] for name in names])
    return [name[head : len(name) - tail] for name in names]


def _common(names: list[str]) -> int:
    """Return how many characters all names begin with: so many as the first and the last in order do."""
    first, last = min(names), max(names)
    return next((k for k, (a, b) in enumerate(zip(first, last)) if a != b), len(first))


def reference_contradiction(data: Dataset, reference: ImageSource) -> str | None:
    """Return a line where references contradict the measurements, else None.

    They do where they are not on the scale of the measurements, or do not show what these do.

    reference: in the order and of the shapes of the measurements.
    """
    found = []
    chosen = spread(len(data))
    for i in chosen:
        line = _contradiction(data[i], reference.whole().read(i)[None])
        if line is not None:
            found.append(f"{reference.where(i)} {line}")
    if not found:
        return None
    count = f"{len(found)} of {len(chosen)} references looked at are so"
    return f"{found[0]} ({count}): figures with the reference do not hold"


def _contradiction(m: Measurement, x: Tensor) -> str | None:
    y, u, sigma = m.y, m.predict(x), float(m.level[0])
    noise = sigma
    measured = m.operator.project(torch.ones_like(y)) != 0
    residual = float((y - u)[measured].double().square().mean().sqrt())
    if residual < NEAR * sigma:
        return (
            f"is the measurement itself, or was made from it: they differ by {residual:.2g}, where noise of level "
            f"{sigma:.2g} is between a measurement and its clean image"
        )
    if not m.operator.unseen and min(y.shape[-2:]) >= 4 * BLOCK:
        u, y, noise = avg_pool2d(u, BLOCK), avg_pool2d(y, BLOCK), sigma / BLOCK
        entries = torch.ones_like(u).bool()
    else:
        entries = measured
    a, b = u[entries].double(), y[entries].double()
    offset, a, b = float(b.mean() - a.mean()), a - a.mean(), b - b.mean()
    deviation = float(a.square().mean().sqrt())
    chance = 3 * noise / math.sqrt(len(a))
    slope = float((a * b).mean()) / max(deviation, FLAT) ** 2
    # clipping moves the mean of what is dark by less than half of the noise's level
    off_scale = abs(offset) > max(OFF * deviation, sigma / 2, FLAT) + chance
    if deviation > max(FLAT, noise / 4) and not off_scale:
        correlation = slope * deviation / max(float(b.square().mean().sqrt()), FLAT)
        if correlation < (1 - OFF) / math.hypot(1, noise / deviation) - 3 / math.sqrt(len(a)):
            return f"does not show what its measurement does (their correlation is {correlation:.2f})"
        off_scale = abs(math.log(max(slope, FLAT))) > math.log(1 + OFF) + chance / deviation
    return _scale(slope, offset) if off_scale else None


def _scale(slope: float, offset: float) -> str:
    return (
        f"is not on the scale of its measurement, whose values are {slope:.3g} times as far apart and {offset:+.3g} "
        "higher in the mean, on the data's [0, 1] scale: give it in the measurement's units and type"
    )
