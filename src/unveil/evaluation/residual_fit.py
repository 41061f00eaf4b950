"""Does the noise model fit what a trained network leaves of the measurements? A verdict after training.

    y = t y_t + (1 - t) y_rest,      r = y_rest - A f(y_t)

f sees y_t alone, and under the right model y_rest is independent of it given x. So whatever is chosen by looking at
f(y_t), the noise of y_rest has the stated variance there: blocks in which A f(y_t) is smooth against the noise are
those that hold little else, and they are found where images are too rough for `noise_fit`. Of the energy in a block

    E y_rest^2 = var(y_rest) + (A x)^2,      E r^2 = var(y_rest) + (A x - A f)^2

in HIGH frequencies the one with less beside the noise is looked at: a network that smooths leaves the second, and one
that has learned nothing the first. So no verdict depends on how good f is, only how much can be told.

y_rest holds drawn noise. Let v be the stated variance of y, and v* the true one. Exposure is taken away as if the noise
had v, so

    var(y_rest) = v* + v t / (1 - t),        cov(y_t, y_rest) = v* - v

and the first, less its drawn part, over v is r of `unveil.checks.quiet`; small t leaves more to see. The covariance is
of no use: a network trained with this model has the loss |y_rest - A f(y_t)|^2, which is least for
E[y_rest | y_t], so that (y_t - A f)(y_rest - A f) has mean 0 whatever v* is. f has learned to keep, or to take off, as
much noise as makes it so. `correlation`, that mean over v, is recorded and decides nothing: it tells how well f was
trained.

Measurements that do not fill a grid of pixels have no blocks: their squared residuals in dark and bright parts can only
be too small for the stated noise; too large ones may be the network's error.

Thresholds are those of `unveil.checks.misfits`, on the same photographs.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unveil.checks.fit import Fit, noise_fit, plain_figures, verdict_of
from unveil.checks.look import middle, spread
from unveil.checks.misfits import FEWEST, QUIET, STRONG, misfits, too_weak
from unveil.checks.quiet import Blocks, Ratio, away_from, evened, local_mean, made_white, ratio, take_blocks
from unveil.dataset import Dataset
from unveil.measurement import Estimator, Measurement
from unveil.noise import Noise
from unveil.noise.estimate.blocks import HIGH, SIDE, coefficients
from unveil.random import make_generator

__all__ = ["model_fit", "residual_fit"]

SHARE = 0.25
"""t: of the exposure, that f sees."""
_KEY = 1017  # of draws that are those of nothing else: simulated data may be of the same seed


class _Seen(NamedTuple):
    """Of one measurement, on the CPU: y_t, y_rest and its noise, A f(y_t), which entries are measured or None: all.

    Where the noise differs from pixel to pixel y_rest and its noise are `evened`.
    """

    view: Tensor
    rest: Tensor
    noise: Noise
    predicted: Tensor
    measured: Tensor | None
    stated: float
    """The mean variance of y."""


def model_fit(f: Estimator, data: Dataset, *, seed: int = 0, device: str | torch.device = "cpu") -> Fit:
    """Return whether the noise of `data` fits them: what images alone tell, and then what f leaves of them.

    f: trained, on `device`. What either contradicts decides, and what either confirms suffices.
    """
    before = None
    if data.operator.measured is None and not data.operator.image_shape:
        chosen = data.subset(spread(len(data)))
        parts = [chosen.source.read(i, middle(chosen.source.shape(i))) for i in range(len(chosen))]
        noise = chosen.noise.window(middle(chosen.source.shape(0))) if chosen.noise.mapped else chosen.noise
        before = noise_fit(parts, noise)
        if before.verdict == "does not fit":
            return before
    after = residual_fit(f, data, seed=seed, device=device)
    if before is None or after.verdict == "does not fit":
        return after
    return after if before.verdict == "cannot be told" else Fit("fits", "", before.figures | {"after": after.figures})


@torch.no_grad()
def residual_fit(f: Estimator, data: Dataset, *, seed: int = 0, device: str | torch.device = "cpu") -> Fit:
    """Return whether the noise of `data` fits what f leaves of them, looking at some, spread over all.

    f: trained, on `device`. All draws are of `seed`.
    """
    seen = [_see(f, _part(data, i).to(device), make_generator(device, seed, i, _KEY)) for i in spread(len(data))]
    found: dict[str, Any] = {"correlation": _correlation(seen)}
    grid = data.operator.measured is None and all(one.rest.ndim == 4 for one in seen)
    if grid and all(min(one.rest.shape[2:]) >= SIDE for one in seen):
        plain, left = _blocks(seen, [one.rest[0] for one in seen]), _blocks(seen, [_residual(one)[0] for one in seen])
        energies = [ratio(blocks.quietest(QUIET, FEWEST), HIGH).value for blocks in (plain, left)]
        generator = make_generator("cpu", seed, _KEY)
        again = _blocks(seen, [one.noise.sample(local_mean(one.rest[0])[None], generator)[0] for one in seen])
        lines = list(misfits(plain if energies[0] < energies[1] else left, again, data.noise, found))
        return verdict_of(lines, found)
    return _of_entries(seen, found, data.noise)


def _part(data: Dataset, i: int) -> Measurement:
    """Return the middle of measurement number i; all of it where it has no windows."""
    shape = data.source.shape(i)
    part = data.window(i, middle(shape))
    return data[i] if part is None else part


def _see(f: Estimator, m: Measurement, generator: torch.Generator) -> _Seen:
    view, rest = m.recorrupt(torch.full((1,), SHARE, device=m.y.device), generator)
    predicted = m.predict(f(view))
    measured = None if m.operator.measured is None else m.operator.measured.expand_as(m.y).cpu()
    stated = float(m.operator.mean(m.noise.estimated_variance(m.y)))
    predicted, own, left = predicted.cpu(), rest.noise.to("cpu"), rest.y.cpu()
    if own.mapped:  # as if all pixels' noise were that of the middle one
        left = evened(left[0], own, predicted[0])[None]
    return _Seen(view.y.cpu(), left, own.middle, predicted, measured, stated)


def _residual(one: _Seen) -> Tensor:
    return one.rest - one.predicted


def _blocks(seen: Sequence[_Seen], targets: list[Tensor]) -> Blocks:
    """Return the blocks of the targets, each with the mean and the roughness of what f predicts there."""
    noises = [one.noise for one in seen]
    z = torch.cat([coefficients(target).flatten(1) for target in targets], 1)
    known = torch.cat([away_from(_gaps(one)) for one in seen]).nonzero()[:, 0]
    rest = take_blocks([one.rest[0] for one in seen], noises).at(known)
    guide = take_blocks([one.predicted[0] for one in seen], noises).at(known)
    z = made_white(z[:, known], rest.stated, noises[0])
    return Blocks(guide.mean, rest.stated, z, rest.image, guide.z[1:].square().mean(0) / guide.stated, SHARE)


def _gaps(one: _Seen) -> Tensor:
    """Return which entries (C, H, W) are not measured."""
    return torch.zeros_like(one.rest[0]).bool() if one.measured is None else ~one.measured[0]


def _correlation(seen: Sequence[_Seen]) -> Ratio:
    """Return (y_t - A f)(y_rest - A f) over v, its error from the scatter over the measurements."""
    rows = []
    for one in seen:
        product = ((one.view - one.predicted) * _residual(one)).double()
        rows.append(
            float((product if one.measured is None else product[one.measured]).mean()) / max(one.stated, 1e-300)
        )
    c = torch.tensor(rows, dtype=torch.double)
    return Ratio(float(c.mean()), float(c.std()) / math.sqrt(len(c)) if len(c) > 1 else math.inf)


def _of_entries(seen: Sequence[_Seen], found: dict[str, Any], noise: Noise) -> Fit:
    """Return the verdict on measured entries one by one, by what f predicts there: dark ones, and bright ones."""
    rows = []
    for one in seen:
        entries = torch.ones_like(one.rest).bool() if one.measured is None else one.measured
        stated = one.noise.estimated_variance(one.rest)
        rows.append([part[entries].double() for part in (one.predicted.abs(), _residual(one).square(), stated)])
    edge = torch.cat([row[0] for row in rows]).median()
    parts: dict[str, Ratio] = {}
    for name, bright in (("dark", False), ("bright", True)):
        energy, stated = (torch.cat([row[k][(row[0] > edge) == bright] for row in rows]) for k in (1, 2))
        if not float(stated.sum()) > 0:
            continue
        energy = (energy - SHARE * stated) / (1 - SHARE)
        r = float(energy.sum() / stated.sum())
        scatter = float((energy - r * stated).square().sum().sqrt() / stated.sum())
        parts[name] = Ratio(r, scatter)
    figures = plain_figures(found | parts)
    for name, found_there in parts.items():
        if too_weak(found_there):
            reason = (
                f"in {name} parts what the network leaves has {found_there.value:.2g} times the variance that is "
                f"stated ({noise}): check noise.kind and its parameters"
            )
            return Fit("does not fit", reason, figures)
    if parts and all(r.value < STRONG for r in parts.values()):
        return Fit("fits", "", figures)
    return Fit("cannot be told", "the network's error and stronger noise look alike where entries are missing", figures)
