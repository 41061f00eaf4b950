"""Sampling is going on measuring: draw what more exposure would bring, if the scene were what the network sees so far.

L_t = t y_t has independent increments given x. So x given y is drawn by continuing the measurement: the next increment
given y_t is a mixture, over p(x | y_t), of those that the noise family has for each x. Of Gaussian noise and of counts
only the mean of that mixture matters as dt -> 0 (the drift; the intensity of a Cox process), which is D = A f(y_t). So

    y_{t+dt} = (t y_t + dt z) / (t + dt),    z ~ p(y_dt | u = D~),
    D~ = D + h / (2 h_) (D - D_),    h = ln((t + dt) / t)

with D_ and h_ those of the step before; D~ extrapolates D to the middle of the step: weak order 2, one evaluation a
step. For Gaussian noise this is SDE-DPM-Solver++(2M) of the reverse diffusion with data prediction (Lu et al. 2022,
https://arxiv.org/abs/2211.01095), term by term, as the talk's diffusion in measurement space is its case A other than
I. It is stochastic localization (Eldan 2013; Montanari 2023, https://arxiv.org/abs/2305.10690), and for counts the
accumulation of photons (Krull et al. 2023, https://arxiv.org/abs/2307.06607), in steps of many.

Inflation. A f is a martingale while the exact measurement goes on, and the sum of its increments D - D_ is all of the
posterior's spread (I-MMSE; Guo, Shamai and Verdu 2005, https://doi.org/10.1109/TIT.2005.844072). Each is quadratic in
the network's derivative, so a trained network, which averages over the detail that it cannot represent, falls short by
Jensen's inequality even where its own error is right. With inflation c > 0 each step also moves y by c times the newest
increment, y <- y + c (D - D_), which leaves the mean alone and restores the missing spread along the network's own
directions. c = 0 is the exact sampler; `unveil.diffusion.fit_inflation` finds the c of a trained network from
measurements. (ours)

The instrument that goes on need not be the one that began: see `unveil.diffusion.camera`. One that begins with noise of
its own, from no exposure on, has a second way with the same law of y_t at every t, without further noise: the
probability flow (Song et al. 2021, https://arxiv.org/abs/2011.13456; in steps of DPM-Solver++(2M))

    y_{t+dt} = r y_t + (1 - r) D~,    r = (t / (t + dt))^(1/2)

nearer with 10 evaluations, no nearer with 25 (benchmarks/closed_forms.py). It forgets nothing: of a variance c, a first
level s above t = 0 takes the share c / (c + s^2), where fresh noise leaves its square. From y itself, where the noise
of y is part of what is known, its law would be wrong.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.measurement import Estimator, Measurement
from unveil.noise.base import Noise
from unveil.shapes import expand

__all__ = ["Instrument", "Progress", "Same", "go_on"]

Progress = Callable[[int, int], object]
"""(steps done, steps in all)."""


class Instrument(Protocol):
    """What goes on measuring.

    That is its noise, y_t at the first exposure, its operator B, and all that is known at exposure t.

    fresh: whether the noise of y_t at the first exposure is independent of m, white and Gaussian.
    """

    noise: Noise
    fresh: bool

    def start(self, t: Tensor, generator: torch.Generator) -> Tensor: ...

    def B(self, x: Tensor) -> Tensor: ...

    def known(self, y_t: Tensor, t: Tensor) -> Measurement: ...


class Same:
    """The instrument that began: B = A."""

    fresh = False

    def __init__(self, m: Measurement) -> None:
        self.m = m
        self.noise = m.noise

    def start(self, t: Tensor, generator: torch.Generator) -> Tensor:
        if not bool((t == 1).all()):
            raise UnveilError(f"the first exposure is {float(t[t != 1][0]):g}, and y was measured at 1: start there")
        return self.m.y

    def B(self, x: Tensor) -> Tensor:
        return self.m.predict(x)

    def known(self, y_t: Tensor, t: Tensor) -> Measurement:
        return Measurement(y_t, self.m.operator, self.m.noise.exposed(t))


@torch.no_grad()
def go_on(
    f: Estimator,
    m: Measurement,
    exposures: Tensor,
    generator: torch.Generator,
    *,
    inflation: float = 0.0,
    instrument: Instrument | None = None,
    flow: bool = False,
    progress: Progress | None = None,
) -> Measurement:
    """Draw what is known at the last of `exposures`, given what is known at the first.

    f: f(m), called once for each but the last exposure. m: (B, *measurement), at exposure 1.
    exposures: t_1 < ... < t_N, (N,) or one column per sample (N, B); t_1 = 1 where the instrument is the same.
    inflation: c >= 0, see the module. instrument: what goes on; None: the same. flow: without noise, see the module.
    progress: called as progress(done, N - 1) after each step.
    Raises UnveilError for c < 0, for exposures that do not grow, have another shape, or start elsewhere than y, and for
    a flow from y itself or with inflation.
    """
    if not inflation >= 0:
        raise UnveilError(f"inflation is {inflation}: it must be >= 0; 0 is the exact sampler")
    times = _columns(exposures, m)
    instrument = instrument or Same(m)
    if flow and (inflation or not instrument.fresh):
        raise UnveilError(
            "flow is for an instrument that begins with noise of its own, such as Camera(m), and no inflation"
        )
    y = instrument.start(times[0], generator)
    before: tuple[Tensor, Tensor] | None = None
    for done, (t, later) in enumerate(pairwise(times), start=1):
        now = instrument.B(f(instrument.known(y, t)))
        h = (later / t).log()
        ahead = now
        if before is not None:
            ahead = now + expand(h / (2 * before[1]), now) * (now - before[0])
        if flow and bool((t > 0).all()):
            z, share = ahead, expand((t / later).sqrt(), y)
        else:
            z, share = instrument.noise.exposed(later - t).sample(ahead, generator), expand(t / later, y)
        y = share * y + (1 - share) * z
        if before is not None and inflation:
            y = y + inflation * (now - before[0])
        before = now, h
        if progress is not None:
            progress(done, len(times) - 1)
    return instrument.known(y, times[-1])


def _columns(exposures: Tensor, m: Measurement) -> Tensor:
    """Return the exposures as (N, B), in the precision of y, checked."""
    if (
        exposures.ndim not in (1, 2)
        or (exposures.ndim == 2 and exposures.shape[1] not in (1, len(m)))
        or not len(exposures)
    ):
        raise UnveilError(f"the exposures have shape {tuple(exposures.shape)}: pass (N,), or (N, {len(m)})")
    times = exposures.to(m.y).reshape(len(exposures), -1).expand(-1, len(m))
    if not bool((times[1:] > times[:-1]).all() and (times[0] >= 0).all() and times[-1].isfinite().all()):
        raise UnveilError(
            f"the exposures run {[float(f'{t:.3g}') for t in times[:, 0]][:8]}... in {times.dtype}: they must be "
            "finite and grow"
        )
    return times
