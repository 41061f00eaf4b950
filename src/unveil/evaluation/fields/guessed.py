"""How much of a picture can no measurement have taught?

    |P (x_hat - m)|^2 / |x_hat - m|^2,      sum_k |P (x_k - x')|^2 / sum_k |x_k - x'|^2

m is the mean of the pixels of x_hat, x' that of the samples x_k, and P projects on what no measurement sees, whichever
way images are moved (`unveil.identifiability.blind`). In P x_hat the network shows what it happened to make of it; and
what samples leave open there is as wide as their first draws had it, for nothing ever corrected these. Both are shares
from 0 to 1, of what is judged: where turns interpolate the highest frequencies are not, so that there may be more.

Needs no noise model. The map is the deviation of P x_k over that of x_k, in each pixel, 1 at most. Of images that were
sampled, and of few samples: each P x costs some seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.evaluation.fields.figure import Figure, Found, Map, Subject

__all__ = ["Guess", "Guessed"]

FEW = 3
"""Samples that are looked at."""


@dataclass(frozen=True)
class Guess:
    """One image: sums of squares, (never seen, all), of its contrast and of its samples about their mean.

    share: (H, W), the deviation never seen over all of it.
    """

    estimate: tuple[float, float]
    samples: tuple[float, float]
    share: Tensor


class Guessed(Figure[Guess]):
    name = "guessed"
    governed = False
    maps = (
        Map("guessed", "How much is a guess", "deviation of samples where no measurement sees, over all; 1: all of it"),
    )

    def look(self, subject: Subject) -> Guess | None:
        if subject.blind is None or subject.samples is None or len(subject.samples) < 2:
            return None
        x = subject.x_hat - subject.x_hat.mean()
        d = (subject.samples - subject.samples.mean(0))[:FEW, 0]
        estimate, hidden = subject.blind(torch.cat([x, d])).split([1, len(d)])
        variance, unseen = (part.square().mean((0, 1)).cpu() for part in (d, hidden))
        return Guess(
            _squares(estimate, x), _squares(hidden, d), (unseen / variance.clamp_min(1e-30)).sqrt().clamp(max=1)
        )

    def pictures(self, kept: Guess) -> dict[str, Tensor]:
        return {"guessed": kept.share[None].float()}

    def found(self, kept: Mapping[str, Guess]) -> Found | None:
        if not kept:
            return None
        of_estimate = _share([one.estimate for one in kept.values()])
        of_samples = _share([one.samples for one in kept.values()])
        return Found(
            "What no measurement can teach",
            "unsure",
            f"At least {of_samples:.0%} of the samples' variance and {of_estimate:.0%} of the estimate's contrast are "
            "of what no measurement sees, whichever way images are moved: there the network guesses.",
            "How good a guess, no figure without a reference tells. RUN/check/check.png shows what is never seen, once "
            "unveil check has drawn it; other masks, angles, baselines or symmetries would show more.",
            {
                "estimate": of_estimate,
                "samples": of_samples,
                "images": {
                    name: {"estimate": _share([one.estimate]), "samples": _share([one.samples])}
                    for name, one in kept.items()
                },
            },
        )  # fmt: skip


def _squares(part: Tensor, whole: Tensor) -> tuple[float, float]:
    return float(part.double().square().sum()), float(whole.double().square().sum())


def _share(squares: list[tuple[float, float]]) -> float:
    return sum(part for part, _ in squares) / max(sum(whole for _, whole in squares), 1e-30)
