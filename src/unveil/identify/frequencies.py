"""Names for what is never seen: frequencies, columns and rings of them, or pixels.

Frequencies are (ky, kx) in cycles per image, of height and width: integers from -N / 2 up to N / 2 - 1.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from unveil.identify.spectrum import Spectrum

__all__ = ["frequency_numbers", "hidden_frequencies", "name_hidden"]

HIDDEN = 0.9
"""The part of a frequency or pixel above which it counts as never seen."""
LISTED = 6


def frequency_numbers(shape: torch.Size) -> tuple[Tensor, Tensor]:
    """ky and kx (H, W) of the entries of torch.fft.fft2."""
    ky, kx = (torch.fft.fftfreq(side, 1 / side).round().long() for side in shape)
    return ky[:, None].expand(tuple(shape)), kx.expand(tuple(shape))


def hidden_frequencies(found: Spectrum, share: float = HIDDEN) -> Tensor:
    """(K, 2): the frequencies (ky, kx) of which more than `share` is never seen."""
    ky, kx = frequency_numbers(found.fourier.shape)
    where = found.fourier.cpu() > share
    return torch.stack([ky[where], kx[where]], 1)


def name_hidden(found: Spectrum) -> str:
    """What is never seen, in a few words."""
    if found.full:
        return "nothing"
    channels = found.directions.shape[1]
    frequencies = hidden_frequencies(found)
    pixels = int((found.pixels > HIDDEN).sum())
    if len(frequencies) * channels >= 0.8 * found.hidden:
        return _frequencies(found, frequencies)
    if pixels * channels >= 0.8 * found.hidden:
        return f"{pixels} of {found.pixels.numel()} pixels"
    mostly = hidden_frequencies(found, 0.5)
    if len(mostly) * channels >= 0.8 * found.hidden:
        return f"more than half of {_frequencies(found, mostly)}"
    return f"a space of {found.hidden:.0f} of {found.judged} dimensions, in many frequencies and pixels"


def _frequencies(found: Spectrum, hidden: Tensor) -> str:
    judged = ~found.fourier.cpu().isnan()
    ky, kx = frequency_numbers(found.fourier.shape)
    here = torch.zeros_like(judged)
    here[hidden[:, 0], hidden[:, 1]] = True
    text = f"{len(hidden)} of {int(judged.sum())} frequencies"
    rows, columns = hidden[:, 0].unique(), hidden[:, 1].unique()
    if torch.equal(here, judged & torch.isin(ky, rows) & torch.isin(kx, columns)):
        whole = [len(numbers) == side for numbers, side in zip((rows, columns), here.shape)]
        names = [
            f"{name} = {_ranges(numbers.tolist())}"
            for name, numbers, all_ in zip(("ky", "kx"), (rows, columns), whole)
            if not all_
        ]
        return f"{text} ({' and '.join(names) or 'all'})"
    radius = (ky.square() + kx.square()).double().sqrt().round().long()
    rings = [r for r in radius[here].unique().tolist() if here[judged & (radius == r)].double().mean() > 0.5]
    ring = judged & torch.isin(radius, torch.tensor(rings, dtype=torch.long))
    if here.shape[0] == here.shape[1] and (ring & here).sum() >= 0.9 * (ring | here).sum():
        return f"{text} (radii {_ranges(rings)} cycles per image)"
    half = hidden[(hidden[:, 0] > 0) | ((hidden[:, 0] == 0) & (hidden[:, 1] >= 0))]  # of k and -k, k
    half = half[half.double().norm(dim=1).argsort(stable=True)]
    listed = ", ".join(f"({y}, {x})" for y, x in half[:LISTED].tolist())
    return f"{text} ((ky, kx) = {listed}{' ...' if len(half) > LISTED else ''})"


def _ranges(numbers: Iterable[int]) -> str:
    """3-5, 8"""
    runs: list[list[int]] = []
    for k in sorted(numbers):
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
