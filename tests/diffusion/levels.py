"""SDE-DPM-Solver++(2M) (Lu et al. 2022, https://arxiv.org/abs/2211.01095), written in the levels s of the noise, and
wrong variants.

    x' = r^2 x + (1 - r^2) D~ + s' (1 - r^2)^(1/2) w,      r = s' / s
    D~ = D + (h / 2 h_) (D - D_),                          h = ln(s / s')

This is what going on measuring is for Gaussian noise, though `unveil.diffusion` knows exposures alone.
"""

from itertools import pairwise

import torch

from unveil.shapes import expand

WRONG = {
    "no extrapolation": {"extrapolation": lambda h, before: 0 * h},
    # h / (2 h): the step before is taken to be as long as this one
    "h from the wrong step": {"extrapolation": lambda h, before: h / (2 * h)},
    # z drawn at exposure t instead of dt: its level is s, and its share 1 - r^2
    "noise at t": {"noise": lambda s, later: s * (1 - (later / s) ** 2)},
}


def second_order(h, before):
    return h / (2 * before)


def noise_of_the_step(s, later):
    return later * (1 - (later / s) ** 2) ** 0.5


def dpm2m(D, x, levels, draws, inflation=0.0, extrapolation=second_order, noise=noise_of_the_step):
    """x at the last of `levels` (N, B) of x (B, ...) at the first; D(x, s), and draws w (N - 1, B, ...)."""
    before = None
    for (s, later), w in zip(pairwise(levels), draws):
        r, h, now = later / s, (s / later).log(), D(x, s)
        ahead, newest = now, 0 * now
        if before is not None:
            newest = now - before[0]
            ahead = now + expand(extrapolation(h, before[1]), x) * newest
        x = expand(r**2, x) * x + expand(1 - r**2, x) * ahead + expand(noise(s, later), x) * w + inflation * newest
        before = now, h
    return x


def uneven(lowest, steps):
    """A schedule whose steps of ln t are alternately 1 and 3 long: the last step must be weighed by its length."""
    share = torch.tensor([1.0, 3.0], dtype=torch.float64).repeat(steps)[: steps - 1].cumsum(0)
    return lowest ** (-2 * torch.cat([torch.zeros(1, dtype=torch.float64), share / share[-1]]))
