"""Is the noise white, as every loss here supposes?

Noise that a detector, resampling, demosaicing or compression has blurred is not. In the blocks with least structure
noise is nearly all that is left, and white noise is as strong in MID as in HIGH frequencies, however it depends on
brightness:

    t = log v_mid - log v_high     over the share QUIET of the blocks with least LOW frequencies,     0 of white noise.

Structure raises t, and is stronger in blocks that are less quiet: t grows by e from QUIET to WIDE of them if it matters
at all, while the t of noise is alike in all. So e is taken off t, and counts as an error beside chance. Of noise whose
neighbours correlate by .1 (.2, .38, .57, .69) t is .16 (.34, .76, 1.6, 2.4), and a level found as of white noise would
be 10% (20%, 40%, 67%, 84%) too low. benchmarks/correlated_check.py measures.
"""

import math
from typing import NamedTuple

from unveil.noise.estimate.transfer import FEWEST, Blocks, robust_mean

__all__ = ["Tilt", "noise_tilt"]

QUIET, WIDE = 0.05, 0.2
Z, LEAST = 3.0, 0.1
"""Errors, and t, from which noise is not white."""


class Tilt(NamedTuple):
    """Hold t, the log of the noise's variance in MID over that in HIGH, and its standard error."""

    value: float
    error: float

    @property
    def white(self) -> bool:
        """Return whether noise may be white: as strong in MID as in HIGH."""
        return not abs(self.value) > max(Z * self.error, LEAST)


def noise_tilt(blocks: Blocks) -> Tilt | None:
    """Return how much stronger the noise of the blocks of images is in MID than in HIGH; None where none is seen."""
    seen = (blocks.low > 0) & (blocks.mid > 0) & (blocks.high > 0)  # in saturated and empty parts there is none
    low, mid, high = (part[seen] for part in (blocks.low, blocks.mid, blocks.high))
    if len(low) < FEWEST:
        return None
    order, found = low.argsort(), []
    for share in (QUIET, WIDE):
        n = max(FEWEST, round(share * len(order)))
        (a, s_a), (b, s_b) = (robust_mean(part[order[:n]], n * blocks.worth) for part in (mid, high))
        found.append((math.log(a / b), math.hypot(s_a / a, s_b / b)))
    (t, s), (wide, _) = found
    structure = max(0.0, wide - t)
    return Tilt(max(t - structure, min(t, 0.0)), math.hypot(s, structure))
