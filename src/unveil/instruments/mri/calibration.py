"""Sensitivities of coils that nobody states: estimated from each measurement's own centre of k-space, and checked.

How well sensitivities, estimated or given, explain that centre: the images I_c of it (`espirit.centre_images`) are S_c
times an image where they are right, and the share of their energy that is left

    |I - S S^H I|^2 / |I|^2,   less that of the noise

is at most .003 where they are (T1 slices and 4 or 8 coils, noise of .01 and .05 of the brightest pixel, centres of 9
and 18 columns; a brain of 8 coils, .0005), .03 where the centre is too narrow to tell them (8 columns of 256), and .15
and more where they are in another order or conjugated. Shifted by four pixels of 128 they are right enough (.003).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.mri.coils import normalize_coils
from unveil.instruments.mri.espirit import centre_images, espirit
from unveil.instruments.mri.kspace import centre_line, corner_levels
from unveil.instruments.mri.operator import KSpace, mri

if TYPE_CHECKING:
    from unveil.data import ImageSource

__all__ = ["coil_line", "estimate_coils", "findings", "left_over", "sampled_centre"]

SIDE = 24
"""Of the centre, samples of k-space; as many samples where it is narrower."""
LEAST = 8
"""Of each of its sides."""
ZEROS = 0.02
"""The share of the centre that may be 0 by chance."""
LEFT = 0.02
"""The share of its energy that sensitivities may leave: several times what right ones do."""
SECOND = 0.9
"""The second eigenvalue from which a pixel holds two places of the body."""
ALIKE = 0.75
"""The mean second eigenvalue, by energy, below which measurements may be the coils of one scan: of two scans' coils .3
and .6, of slices of a head .86 to .96 (of two or three slices .4 to .7, as of coils)."""
OVERLAP = 0.05
"""The share of the image's energy in such pixels from which the field of view is too small."""


def estimate_coils(mask: Tensor, source: ImageSource) -> KSpace:
    """Return the operator of the measurements in `source`, sensitivities estimated in each.

    mask: (H, W), (W,) or (N, H, W). Raises UnveilError for a single coil, and where the centre of k-space is not fully
    sampled.
    """
    from unveil.data.measured import Measured  # which come after the operators

    channels, height, _ = source.shape(0)
    if channels % 2 or channels < 4:
        raise UnveilError(
            f"operator.coils = estimate is for several coils, and the measurements have {channels} real channels, 2 "
            "for each coil: set it to null; or, of one slice's k-space (coils, H, W), save kspace[None]"
        )
    one = mri(mask, height=height)
    measured, maps = Measured(source, one), []
    for i in range(len(source)):
        y, part = measured.read(i), one.select(torch.tensor([i]))
        try:
            maps.append(espirit(*_calibration(y, part.mask[0, 0]))[0])
        except UnveilError as error:
            raise UnveilError(f"{source.where(i)}: {error}") from None
    return mri(mask, torch.stack(maps), height)


def sampled_centre(mask: Tensor) -> tuple[int, int]:
    """Return the sides (h, w) of the largest fully sampled box around the zero frequency of mask (H, W).

    Of SIDE^2 samples at most. Raises UnveilError where they are below LEAST.
    """
    height, width = mask.shape
    best = (0, 0)
    for w in range(LEAST, min(SIDE, width) + 1):
        left = width // 2 - w // 2
        rows = mask[:, left : left + w].all(1)
        most = min(height, SIDE**2 // w)
        h = next((h for h in range(most, LEAST - 1, -1) if rows[height // 2 - h // 2 :][:h].all()), 0)
        if h and h * w >= best[0] * best[1]:
            best = (h, w)
    if best == (0, 0):
        raise UnveilError(
            f"operator.coils = estimate: operator.mask does not measure all of the {LEAST}x{LEAST} middle of k-space: "
            "give the coils' sensitivities in a file, or the mask whose centre is fully sampled"
        )
    return best


def _calibration(y: Tensor, mask: Tensor) -> tuple[Tensor, int, int, float]:
    """Return the fully sampled centre of y (2 coils, H, W), H, W and the noise's level: what `espirit` takes."""
    height, width = mask.shape
    h, w = sampled_centre(mask)
    top, left = height // 2 - h // 2, width // 2 - w // 2
    real, imaginary = y[:, top : top + h, left : left + w].chunk(2)
    centre = torch.complex(real, imaginary)
    if (empty := float((centre == 0).all(0).float().mean())) > ZEROS:
        raise UnveilError(
            centre_line(y[None])
            or f"operator.coils = estimate: {empty:.0%} of the {h}x{w} middle of k-space is 0, which operator.mask "
            "calls measured: give the mask of these data, or the coils' sensitivities"
        )
    levels = corner_levels(y[None], mask.expand(1, 1, height, width))
    return centre, height, width, 0.0 if levels is None else levels[1]


def left_over(y: Tensor, operator: KSpace) -> list[float]:
    """Return which share of the energy of each centre the sensitivities leave, less the noise's; y (B, 2 coils, H, W).

    Empty where there are none, or the centre is not fully sampled.
    """
    shares = []
    for i in range(len(y) if operator.sensitivities is not None else 0):
        one = operator.select(torch.tensor([i]))
        assert one.sensitivities is not None
        maps = normalize_coils(one.sensitivities[0].to(torch.complex64))  # whatever unit they give x
        try:
            centre, height, width, level = _calibration(y[i], one.mask[0, 0])
        except UnveilError:
            return []
        images = centre_images(centre, height, width)
        energy = float(images.abs().square().sum())
        left = float((images - maps * (maps.conj() * images).sum(0)).abs().square().sum())
        noise = centre_images(torch.full_like(centre[:1], level), height, width).abs().square().sum()
        shares.append(max(0.0, left - 2 * (len(centre) - 1) * float(noise)) / energy)
    return shares


def coil_line(y: Tensor, operator: KSpace) -> str | None:
    """Return a line where the coils' sensitivities do not explain the centre of k-space y (B, 2 coils, H, W)."""
    left = max(left_over(y, operator), default=0.0)
    if left <= LEFT:
        return None
    return (
        f"operator.coils leave {left:.1%} of the energy in the centre of k-space unexplained: give the sensitivities "
        "of these coils, in their order and on this grid; of estimated ones measure more of the centre"
    )


def findings(y: Tensor, operator: KSpace) -> list[str]:
    """Return lines on what was found in k-space y (B, 2 coils, H, W).

    How much of it was measured; of a single coil whether these may be several coils of one scan; of several how well
    their sensitivities explain its centre, and whether the field of view is smaller than the body, as it is where two
    places of it lie on one pixel, which the first y is asked.
    """
    lines = [f"{float(operator.mask.float().mean()):.1%} of k-space is measured"]
    if operator.sensitivities is None:
        return lines + coils_of_one(y, operator)
    if not (shares := left_over(y, operator)):
        return lines
    lines += [f"the coils' sensitivities explain {1 - max(shares):.2%} of the energy in the centre of k-space"]
    centre, height, width, level = _calibration(y[0], operator.mask[0, 0])
    second = espirit(centre, height, width, level)[1][1]
    power = centre_images(centre, height, width).abs().square().sum(0)
    if (share := float(power[second > SECOND].sum() / power.sum())) > OVERLAP:
        lines.append(
            f"{share:.0%} of the image's energy lies where two places of the body do, as the field of view is smaller "
            "than it: one set of sensitivities cannot tell them apart, and images are blends there"
        )
    return lines


def coils_of_one(y: Tensor, operator: KSpace) -> list[str]:
    """Return a line where measurements y (B, 2, H, W) may be what the coils of one scan measured; else none."""
    if len(y) < 2 or len(operator.mask) > 1:
        return []
    try:
        centre, height, width, level = _calibration(torch.cat([y[:, 0], y[:, 1]]), operator.mask[0, 0])
    except UnveilError:
        return []
    second = espirit(centre, height, width, level)[1][1]
    power = centre_images(centre, height, width).abs().square().sum(0)
    if float((power * second).sum() / power.sum()) > ALIKE:
        return []
    return [
        "the measurements look like one scan's by several coils: if they are, save kspace[None], (1, coils, H, W), and "
        "set operator.coils to estimate, or give the sensitivities"
    ]
