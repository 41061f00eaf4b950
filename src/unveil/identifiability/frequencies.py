"""Names for what is never seen: frequencies, columns and rings of them, or pixels.

Frequencies are (ky, kx) in cycles per image, of height and width: integers from -N / 2 up to N / 2 - 1.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from unveil.identifiability.spectrum import Spectrum

__all__ = ["HIDDEN", "frequency_numbers", "hidden_frequencies", "name_hidden"]

HIDDEN = 0.9
"""The part of a frequency or pixel above which it counts as never seen."""
LISTED = 8


def frequency_numbers(shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Return ky and kx (H, W) of the entries of torch.fft.fft2."""
    ky, kx = (torch.fft.fftfreq(side, 1 / side).round().long() for side in shape)
    return ky[:, None].expand(tuple(shape)), kx.expand(tuple(shape))


def hidden_frequencies(found: Spectrum, share: float = HIDDEN) -> Tensor:
    """Return the frequencies (ky, kx) of which more than `share` is never seen, (K, 2)."""
    ky, kx = frequency_numbers(found.fourier.shape)
    where = found.fourier.cpu() > share
    return torch.stack([ky[where], kx[where]], 1)


def name_hidden(found: Spectrum) -> str:
    """Name what is never seen, in a few words."""
    if found.full:
        return "nothing"
    channels = found.directions.shape[1]
    frequencies = hidden_frequencies(found)
    pixels = int((found.pixels > HIDDEN).sum())
    if len(frequencies) * channels >= 0.8 * found.hidden:
        return _frequencies(found, frequencies)
    if pixels * channels >= 0.8 * found.hidden:
        return f"{pixels} of {found.pixels.numel()} pixels"
    rings = _rings(found)
    where = f", most of the frequencies of radii {_ranges(rings)} cycles per image" if rings else ""
    return f"{found.hidden:.0f} of {found.judged} dimensions{where}"


def _rings(found: Spectrum) -> list[int]:
    """Return the radii of rings, one cycle wide, of which more than half is never seen; none for images not square."""
    shares = found.fourier.cpu()
    if shares.shape[0] != shares.shape[1]:
        return []
    radius, judged = _radius(shares.shape), ~shares.isnan()
    return [r for r in radius[judged].unique().tolist() if float(shares[judged & (radius == r)].mean()) > 0.5]


def _radius(shape: torch.Size) -> Tensor:
    ky, kx = frequency_numbers(shape)
    return (ky.square() + kx.square()).double().sqrt().round().long()


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
    rings = _rings(found)
    ring = judged & torch.isin(_radius(here.shape), torch.tensor(rings, dtype=torch.long))
    if int((ring & here).sum()) >= 0.9 * int((ring | here).sum()):
        return f"{text} (radii {_ranges(rings)} cycles per image)"
    half = hidden[(hidden[:, 0] > 0) | ((hidden[:, 0] == 0) & (hidden[:, 1] >= 0))]  # of k and -k, k
    half = half[half.double().norm(dim=1).argsort(stable=True)]
    listed = ", ".join(f"({y}, {x})" for y, x in half[:LISTED].tolist())
    return f"{text} ((ky, kx) = {listed}{' ...' if len(half) > LISTED else ''})"


def _ranges(numbers: Iterable[int]) -> str:
    """Write numbers as "3 to 5, 8"."""
    runs: list[list[int]] = []
    for k in sorted(numbers):
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    text = ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:LISTED])
    return f"{text} ..." if len(runs) > LISTED else text
