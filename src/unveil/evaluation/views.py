"""Are samples calibrated? Without a reference: one view of the exposure is sampled, and the rest of it is predicted.

    y = t y_t + (1 - t) y_rest,      x_1..x_K ~ p(x | y_t),      z_k ~ p(y_rest | u = A x_k)

y_rest is independent of y_t given x. So of exact samples z_k and y_rest have one law given y_t, and the share of the
z_k that are below it is uniform (Dawid 1984, https://doi.org/10.2307/2981683; Talts et al. 2018,
https://arxiv.org/abs/1804.06788). The noise of y_rest hides the spread V(t) of samples: of a variance that is wrong by
10% it shows .1 V / (V + v / (1 - t)). V grows as t falls, and the noise falls too, so that the power grows: about as
(1 - t) t^-.56 for photographs, of which t = 1/9 shows three times as much as 1/2. Below it no recipe trains. So
EXPOSURE is 1/9: what is judged are samples given a ninth of the exposure, by the network that draws those given all.

A few samples do not fill their law, so that even exact ones leave ranks uneven, and intervals too short. But z_k among
those of the other samples is as y_rest among them. Noise is drawn for each sample many times, each sample is left out
in turn, and the ranks of y_rest are compared with those of the one left out: the two have one law for any K. With the
reference x itself it is the same without noise.

Exact for Gaussian noise, counts and speckle; of counts that are read out to second order, as their views are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.measurement import Measurement

__all__ = ["EXPOSURE", "Predicted", "against_reference", "predict_rest"]

EXPOSURE = 1 / 9
"""t, the share of the exposure that is sampled."""
DRAWS = 64
"""Of the noise, in all, about."""


@dataclass(frozen=True)
class Predicted:
    """What was predicted of one measurement, and what came, by entry (*measurement), on the CPU.

    rank, expected: (K, *measurement), of the truth and of sample k among the others, in [0, 1], alike where samples are
    exact. spread: the variance that samples give the truth about their mean. square: an unbiased estimate of its
    squared deviation from it. brightness: their mean. measured: boolean, or None.
    """

    rank: Tensor
    expected: Tensor
    spread: Tensor
    square: Tensor
    brightness: Tensor
    measured: Tensor | None


@torch.no_grad()
def predict_rest(
    draw: Callable[[Measurement], Tensor], m: Measurement, generator: torch.Generator, t: float = EXPOSURE
) -> Predicted:
    """Return how samples given the share t of the exposure of m, a batch of one, predict the rest of it.

    draw: a measurement -> samples (K, 1, *image), K >= 2.
    """
    view, rest = m.recorrupt(torch.full((1,), t, device=m.y.device), generator)
    u = torch.cat([m.predict(x) for x in draw(view)])
    step = rest.noise.step  # counts of one and of the other way to compute them are equal, numbers are not
    several = u.repeat(-(-DRAWS // len(u)), *[1] * (u.ndim - 1))
    y, *drawn = (
        _counted(z, step)[0] for z in (rest.y, *(rest.noise.sample(one, generator) for one in several.split(1)))
    )
    middle = u.mean(0, keepdim=True)
    square = (rest.y - middle).square() - rest.noise.estimated_variance(rest.y)
    shown = torch.stack(drawn).unflatten(0, (-1, len(u)))
    return _predicted(y, shown, u, square[0], m.operator.measured, generator)


@torch.no_grad()
def against_reference(samples: Tensor, x: Tensor, generator: torch.Generator) -> Predicted:
    """Return how samples (K, *image), K >= 2, predict the image x (*image) itself."""
    return _predicted(x, samples[None], samples, (x - samples.mean(0)).square(), None, generator)


def _counted(y: Tensor, step: Tensor | None) -> Tensor:
    """Return y in whole steps, where it has any."""
    return y if step is None else (y / step.to(y)).round()


def _predicted(
    y: Tensor, drawn: Tensor, u: Tensor, square: Tensor, measured: Tensor | None, generator: torch.Generator
) -> Predicted:
    """Return what y (*measurement) and `drawn` (R, K, *measurement) are among `drawn`; u: (K, *measurement)."""
    below = torch.stack([_below(one, drawn, generator) for one in (y, *drawn[0])])  # of each, by sample
    own = torch.arange(len(u), device=y.device)
    rank = below[0].sum(0) - below[0]
    expected = below[1:].sum(1) - below[1:][own, own]
    others = drawn.shape[0] * (len(u) - 1) + 1
    ranks = [
        (r + torch.rand(r.shape, generator=generator, dtype=r.dtype, device=r.device)) / others
        for r in (rank, expected)
    ]
    mask = None if measured is None else measured.expand_as(y[None])[0].cpu()
    spread = (1 + 1 / len(u)) * u.var(0)
    return Predicted(ranks[0].cpu(), ranks[1].cpu(), spread.cpu(), square.cpu(), u.mean(0).cpu(), mask)


def _below(y: Tensor, drawn: Tensor, generator: torch.Generator) -> Tensor:
    """Count the draws (R, K, *measurement) of each sample that are below y (K, *measurement), ties by lot."""
    lot = (
        torch.rand(drawn.shape, generator=generator, dtype=y.dtype, device=y.device)
        if bool((drawn == y).any())
        else 0.5
    )
    return ((drawn < y).to(y) + (drawn == y).to(y) * lot).sum(0)
