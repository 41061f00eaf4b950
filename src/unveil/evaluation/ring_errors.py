"""How far is the correlation with the truth off, for which no truth was needed, by the noise of the halves?

    T = C / (P X)^(1/2),    C = Re (f_1 conj y_2 + f_2 conj y_1) / 2,    X = Re y_1 conj y_2

over the entries of a ring (`unveil.evaluation.rings`). With noise of the power nu in each half, beside a power x^2 of
the image, C has a variance of |f|^2 nu / 4 an entry, X has x^2 nu + nu^2 / 2, and both together have f x nu / 2, so
that to first order

    var T = (rho (1 - T^2) / 4 + T^2 rho^2 / 8) / n,      rho = nu / x^2,  n: independent entries

where the estimates f_1, f_2 are held. Over 80 draws it was 1.0 to 1.3 times the deviation of T for such estimates, and
1.4 to 1.6 times that of a smoother, whose noise is in C and P too and takes from it. X is all that is known of x^2:
where it is not known to a third of itself the curve is unknown, for a power that is nearly 0 by chance is a correlation
beyond 1. (ours)
"""

import torch
from torch import Tensor

__all__ = ["truth_error"]

UNKNOWN = 1 / 3
"""The standard error of X over X, from which on nothing is told."""


def truth_error(entries: Tensor, raw: Tensor, to_truth: Tensor, curve: Tensor) -> Tensor:
    """Return the standard error (rings,) of T; nan where T is not known.

    entries: independent ones of each ring. raw, to_truth: [cross, power, power], as `Rings` has them. curve: T.
    """
    power, noise = raw[0], ((raw[1] + raw[2]) / 2 - raw[0]).clamp_min(0)
    rho = noise / power.clamp_min(1e-300)
    told = (power > 0) & (to_truth[1] > 0) & ((rho + rho.square() / 2) / entries < UNKNOWN**2)
    t2 = curve.nan_to_num(0.0).clamp(-1, 1).square()
    se = ((rho * (1 - t2) / 4 + t2 * rho.square() / 8) / entries).sqrt()
    return torch.where(told, se, torch.nan)
