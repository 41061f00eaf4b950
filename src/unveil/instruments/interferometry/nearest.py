"""Which simulated source is nearest to an observation, in what stations' gains leave alone?

Sources are drawn, and then more of them near the best ones, ever nearer: a few thousand tell seven numbers (see
`unveil.instruments.interferometry.example.render`).
"""

import torch
from torch import Tensor

from unveil.instruments.interferometry.closures import Closures, closures
from unveil.instruments.interferometry.example import PARAMETERS, render
from unveil.instruments.interferometry.simulated import Observation, model_visibilities

__all__ = ["nearest_source"]

FIRST = 2000
THEN = (0.1, 0.05, 0.025, 0.0125)
"""Deviations of the parameters of further sources from those of the best ones, each in [0, 1]."""
MORE = 300
BEST = 15


def nearest_source(seen: Observation, pixels: int, generator: torch.Generator) -> Tensor:
    """Return x (1, 1, pixels, pixels) with maximum 1, of the least chi^2 of closure phases and amplitudes together.

    Raises UnveilError where the observation has no times or no stations.
    """
    closed = closures(seen.coverage, seen.visibilities)

    def chi2(parameters: Tensor) -> Tensor:
        x = render(parameters, pixels)
        parts = [
            total(closed, model_visibilities(seen.coverage, some, seen.field_of_view, 1.0)) for some in x.split(500)
        ]
        return torch.cat(parts)

    parameters = torch.rand(FIRST, PARAMETERS, generator=generator)
    values = chi2(parameters)
    for deviation in THEN:
        best = parameters[values.argsort()[:BEST]]
        around = best[torch.randint(BEST, (MORE,), generator=generator)]
        more = (around + deviation * torch.randn(around.shape, generator=generator)).clamp(0, 1)
        parameters, values = torch.cat([parameters, more]), torch.cat([values, chi2(more)])
    return render(parameters[values.argmin()][None], pixels)


def total(closed: Closures, model: Tensor) -> Tensor:
    """Return chi^2 (B,) of both kinds of closure quantity together."""
    parts = [count * value for count, value in zip(closed.counts, closed.chi2(model)) if count]
    return sum(parts, torch.zeros(len(model)))
