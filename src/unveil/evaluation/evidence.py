"""Evidence for evaluation.json, gathered from results as they pass by.

Every figure without a reference holds only where the noise model fits: `record` names those that do not.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from unveil.evaluation.conformal import bounds
from unveil.evaluation.distortion import psnr
from unveil.evaluation.evaluate import Evaluation
from unveil.evaluation.interval import Error, mean_psnr
from unveil.evaluation.resolution import MOST

__all__ = ["Evidence"]


class _Seen(NamedTuple):
    name: str
    error: Error
    uncertain: float


class Evidence:
    """Passes results on, and keeps what they say together.

    uncertain: how uncertain found noise parameters leave the error of each image, in squared units of y, in the order
        of the results (`unveil.evaluation.resolution`). common: whether the parameters are the same in all.
    """

    def __init__(self, uncertain: Sequence[float], common: bool) -> None:
        self.uncertain, self.common = uncertain, common
        self.seen: list[_Seen] = []

    def __call__(self, results: Iterable[Evaluation]) -> Iterator[Evaluation]:
        for result, d in zip(results, self.uncertain):
            if result.x_hat.isfinite().all():
                self._keep(result, d)
            yield result

    def _keep(self, result: Evaluation, d: float) -> None:
        if result.risk is not None:
            error, se = (float(value) for value in (result.risk.error, result.risk.se))
            known = Error(error, se, d) if self.common else Error(error, math.hypot(se, d))
            self.seen.append(_Seen(result.metrics.name, known, d))

    def record(self, valid: bool) -> dict[str, Any]:
        """Return what is known, for JSON. valid: whether the noise model fits."""
        errors = [one.error for one in self.seen]
        found = {"error": _errors(self.seen) if errors else None, "conformal": bounds(errors)}
        known = [key for key, value in found.items() if value is not None]
        wrong = [] if valid else [key for key in known if not key.endswith("_reference")]
        return {"not_valid": wrong, **found}

    def lines(self) -> list[str]:
        """Return what to say of it where the noise model fits, in words."""
        if not self.seen:
            return []
        mean, lines = mean_psnr([one.error for one in self.seen]), []
        if not math.isnan(mean["psnr"]):
            n = len(self.seen)
            text = f"PSNR without a reference: {mean['psnr']:.2f} dB, {mean['low']:.2f} to {mean['high']:.2f} in 95%"
            lines.append(text if n == 1 else f"mean {text} for these {n} images")
        return lines


def _errors(seen: Sequence[_Seen]) -> dict[str, Any]:
    rows = []
    for name, one, d in seen:
        low, high = one.interval
        told = psnr(one.error) if d <= MOST * one.error else math.nan
        se = math.hypot(one.se, one.shared)
        rows.append({"name": name, "error": one.error, "se": se, "psnr": told, "low": low, "high": high})
    return {"images": rows, "mean": mean_psnr([one.error for one in seen])}
