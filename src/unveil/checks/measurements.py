"""What measurements contradict of what is said of them: of their noise, and of the instrument that made them.

Instruments that have checks of their own name them in their folder. A line says what was found, and what to do.
"""

import torch

from unveil.checks.contradictions import constant_images, contradictions, mixed_types
from unveil.checks.fit import Fit, noise_fit
from unveil.checks.look import few, look, middle, spread
from unveil.checks.magnitude import magnitude_line
from unveil.checks.masks import mask_line
from unveil.data import ImageSource
from unveil.instruments.instrument import load
from unveil.instruments.registry import INSTRUMENTS
from unveil.noise import Noise
from unveil.operators.base import Operator

__all__ = ["contradicted", "findings", "fit_of_images", "image_lines", "looked_at"]


def contradicted(kind: str, source: ImageSource, operator: Operator, noise: Noise | None = None) -> list[str]:
    """Return a line for each thing in which measurements are not what is said of them; none where all is well.

    kind: of the instrument. noise: as stated, in the units of the measurements; None: not stated.
    Raises what `source.read` raises.
    """
    known = INSTRUMENTS[kind]
    if known.sees_all:
        told = [line for line in (mixed_types(source), magnitude_line(source)) if line is not None]
        return told + image_lines(source, noise)
    which, y, part = few(source, operator)
    additive = noise is not None and noise.additive
    level = float(noise.select(which).variance(y).mean()) ** 0.5 if noise is not None and additive else None
    lines: list[str | None] = [mask_line(y, part.measured, centred=known.centred)]
    empty = constant_images({source.name(int(i)): one for i, one in zip(which, y)})
    if 0 < len(empty) < len(y):
        lines.append(f"{', '.join(empty)}: one value alone, as where nothing was recorded: leave such measurements out")
    if known.doubts is not None:
        lines += load(known.doubts)(y, part, level)
    return [line for line in lines if line is not None]


def findings(kind: str, source: ImageSource, operator: Operator) -> list[str]:
    """Return lines on what is found of the instrument `kind` in its measurements."""
    found = INSTRUMENTS[kind].findings
    return [] if found is None else list(load(found)(*few(source, operator)[1:]))


def image_lines(source: ImageSource, noise: Noise | None = None) -> list[str]:
    """Return a line for each thing in which images are not what is said of them; none where all is well.

    Where none of the checks that look for one thing each has anything to say, whether the noise fits is asked in
    general (`unveil.checks.fit`). Raises what `source.read` raises.
    """
    lines = contradictions(look(source), None if noise is None else looked_at(noise, source))
    if noise is None or lines:
        return lines
    fit = fit_of_images(source, noise)
    return [str(fit)] if fit.verdict == "does not fit" else []


def fit_of_images(source: ImageSource, noise: Noise) -> Fit:
    """Return whether `noise`, of all or of each of the images, fits those of them that are looked at."""
    return noise_fit(list(look(source, gaps="keep").values()), looked_at(noise, source))


def looked_at(noise: Noise, source: ImageSource) -> Noise:
    """Return the noise, of all or of each of the images of `source`, of what `look` takes of them."""
    chosen = noise.select(torch.tensor(spread(len(source))))
    return chosen.window(middle(source.shape(0))) if noise.mapped else chosen
