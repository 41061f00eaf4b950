"""Evidence for evaluation.json, gathered from results as they pass by.

Every figure without a reference holds only where the noise model fits: `record` names those that do not.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.evaluation.averages import Averages, averages_of, averages_record
from unveil.evaluation.calibrated import calibration_record
from unveil.evaluation.components import principal_components
from unveil.evaluation.conformal import bounds
from unveil.evaluation.distortion import psnr
from unveil.evaluation.evaluate import Evaluation
from unveil.evaluation.fields import FIGURES, Found
from unveil.evaluation.flux import Blocks, flux_record
from unveil.evaluation.interval import Error, mean_psnr
from unveil.evaluation.pixelwise import Intervals, Spreads, fit_intervals, intervals_record, spreads
from unveil.evaluation.resolution import MOST
from unveil.evaluation.rings import Rings, rings_record
from unveil.evaluation.shown import Shown
from unveil.evaluation.turned import Turned, turned_spread
from unveil.evaluation.views import EXPOSURE, Predicted
from unveil.instruments.instrument import ImageUnits

__all__ = ["INTERVAL", "Evidence"]

SHOWN = 0.9
"""The level of the intervals of pixels that are drawn."""
INTERVAL = ("interval_05", "interval_95")
"""Their ends."""


class _Seen(NamedTuple):
    """An image, its error, and what of its uncertainty is that of found noise parameters."""

    name: str
    error: Error
    uncertain: float
    group: str

    @property
    def resolved(self) -> bool:
        return self.uncertain <= MOST * self.error.error


class Evidence:
    """Passes results on, and keeps what they say together.

    uncertain: how uncertain found noise parameters leave the error of each image, in squared units of y, in the order
        of the results (`unveil.evaluation.resolution`). common: whether the parameters are the same in all. units_of:
        the name of an image -> its units.
    """

    def __init__(self, uncertain: Sequence[float], common: bool, units_of: Callable[[str], ImageUnits]) -> None:
        self.uncertain, self.common, self.units_of = uncertain, common, units_of
        self.seen: list[_Seen] = []
        self.predicted: dict[str, Predicted] = {}
        self.against: dict[str, Predicted] = {}
        self.shown: list[Shown] = []
        self.pixels: dict[str, tuple[Spreads, Tensor]] = {}
        self.off: list[Tensor] = []
        self.blocks: list[Blocks] = []
        self.rings: Rings | None = None
        self.shares: dict[str, list[float]] = {}
        self.turned: list[Turned] = []
        self.averages: dict[str, Averages] = {}
        self.figures: dict[str, dict[str, Any]] = {figure.name: {} for figure in FIGURES}
        self.told: dict[str, Found] | None = None
        self.untold = ""

    def __call__(self, results: Iterable[Evaluation]) -> Iterator[Evaluation]:
        for result, d in zip(results, self.uncertain):
            if result.x_hat.isfinite().all():
                self._keep(result, d)
            yield result

    def _keep(self, result: Evaluation, d: float) -> None:
        name = result.metrics.name
        if result.risk is not None:
            error, se = (float(value) for value in (result.risk.error, result.risk.se))
            known = Error(error, se, d) if self.common else Error(error, math.hypot(se, d))
            self.seen.append(_Seen(name, known, d, result.group or name))
        if result.predicted is not None:
            self.predicted[name] = result.predicted
        if result.against is not None:
            self.against[name] = result.against
        if result.shown is not None:
            self.shown.append(result.shown)
            self._keep_pixels(result, result.shown)
        if result.rings is not None:
            self.rings = result.rings if self.rings is None else self.rings + result.rings
        if result.turned is not None:
            self.turned.append(result.turned)
        if result.blocks is not None:
            self.blocks.append(result.blocks)
            if result.samples is not None:
                self.averages[name] = averages_of(result.samples, result.x_hat, result.reference)
        for key, kept in result.figures.items():
            self.figures[key][name], self.told = kept, None
        if result.samples is not None and len(result.samples) > 1:
            self.shares[name] = principal_components(result.samples)[1].tolist()

    def _keep_pixels(self, result: Evaluation, shown: Shown) -> None:
        seen = None if result.samples is None else spreads(result.samples, shown)
        if seen is not None:
            self.pixels[result.metrics.name] = (seen, result.x_hat)
            if result.reference is not None:
                self.off.append((result.reference - result.x_hat).abs())

    def _fitted(self) -> Intervals | None:
        return fit_intervals([seen for seen, _ in self.pixels.values()])

    def intervals(self) -> dict[str, dict[str, Tensor]]:
        """Return the ends of the intervals of 90% of each pixel (C, H, W), by their names, of images by name."""
        fit = self._fitted()
        if fit is None:
            return {}
        reach = {name: (x_hat, fit.reach(seen.own, SHOWN)) for name, (seen, x_hat) in self.pixels.items()}
        return {name: dict(zip(INTERVAL, (x - r, x + r))) for name, (x, r) in reach.items()}

    def _pixels(self) -> dict[str, Any] | None:
        fit = self._fitted()
        return None if fit is None else intervals_record(fit, [seen for seen, _ in self.pixels.values()], self.off)

    def record(self, valid: bool) -> dict[str, Any]:
        """Return what is known, for JSON. valid: whether the noise model fits."""
        errors = [one.error for one in self.seen]
        found = {
            "error": self._errors() if errors else None,
            "conformal": bounds(errors, len({one.group for one in self.seen})),
            "pixels": self._pixels(),
            "calibration": self._calibration(),
            "calibration_reference": calibration_record([*self.against.values()], [*self.against], 1.0),
            "resolution": None if self.rings is None else rings_record(self.rings) | self._pixel(),
            "flux": flux_record(self.blocks),
            "turned": self._turned(),
            "averages": self._averages(),
            "components": {name: {"shares": shares} for name, shares in self.shares.items()},
        }
        figures = {key: asdict(one) for key, one in self._figures().items()}
        governed = [figure.name for figure in FIGURES if figure.name in figures and figure.governed]
        known = [*(key for key, value in found.items() if value), *governed]
        wrong = [] if valid else [key for key in known if not key.endswith("_reference")]
        return {"not_valid": wrong, **found, "figures": figures}

    def _figures(self) -> dict[str, Found]:
        """Return what the fields' own figures say, by their names."""
        if self.told is None:
            said = {figure.name: figure.found(self.figures[figure.name]) for figure in FIGURES}
            self.told = {name: one for name, one in said.items() if one is not None}
        return self.told

    def _calibration(self) -> dict[str, Any] | None:
        return calibration_record([*self.predicted.values()], [*self.predicted], EXPOSURE, self.shown)

    def _averages(self) -> dict[str, Any] | None:
        """Return what means of samples cost; None where the error of one of these images is not resolved."""
        sampled = [one for one in self.seen if one.name in self.averages]
        if not all(one.resolved for one in sampled):
            return None
        return averages_record([self.averages[one.name] for one in sampled], [one.error for one in sampled])

    def _turned(self) -> dict[str, Any] | None:
        """Return the spread over the error as a turned instrument sees them; None where it cannot be told."""
        if len(self.turned) < 2:
            return None
        spread, error = (torch.cat(parts) for parts in zip(*self.turned))
        try:
            ratio, se = turned_spread(Turned(spread, error))
        except UnveilError as reason:
            self.untold = str(reason)
            return None
        return {"spread_over_error": ratio, "spread_over_error_se": se, "images": len(spread)}

    def _pixel(self) -> dict[str, Any]:
        """Return the side of a pixel and its unit, where all images have the same."""
        sides = {(units.pixel, units.pixel_unit) for units in map(self.units_of, (one.name for one in self.seen))}
        side, unit = sides.pop() if len(sides) == 1 else (None, "")
        return {"pixel_size": side, "unit": unit or None}

    def lines(self, incomplete: bool) -> list[str]:
        """Return what to say of it where the noise model fits, in words. incomplete: of A x, not of x."""
        mean, n, lines = self._mean(), len(self.seen), []
        if math.isfinite(mean["psnr"]):
            of = " of the measured entries" if incomplete else ""
            text = (
                f"PSNR{of} without a reference: {mean['psnr']:.2f} dB, {mean['low']:.2f} to {mean['high']:.2f} in 95%"
            )
            lines.append(text if n == 1 else f"mean {text} for these {n} images")
        if (turned := self._turned()) is not None:
            ratio, se, n = turned.values()
            lines.append(
                f"samples spread by {ratio:.2f} +- {se:.2f} of the error (1 is right), what the instrument does not "
                f"see included, by turned measurements of {n} images"
            )
        elif self.untold:
            lines.append(f"whether samples spread enough where the instrument does not see: {self.untold}")
        if (pixels := self._pixels()) is not None:
            at = pixels["levels"].index(SHOWN)
            share = f"{SHOWN:.0%} +- {pixels['level_se'][at]:.1%}"
            lines.append(f"{share} of the pixels are within their own intervals, of +-{pixels['half_width'][at]:.3g}")
        if (averages := self._averages()) is not None:
            lines.append(
                f"one sample costs {averages['cost'][0]:.2f} +- {averages['cost_se'][0]:.2f} dB against the estimate; "
                f"an exact one costs {averages['exact'][0]:.2f}"
            )
        record = self._calibration()
        if record is not None:
            reason = f" ({record['reason']})" if record["reason"] else ""
            cannot = "whether the samples are calibrated cannot be told"
            verdict = cannot if record["verdict"] == "cannot be told" else f"the samples are {record['verdict']}"
            of = "measured entries of the rest" if incomplete else "the rest"
            how = f"by {of} of the exposure, predicted from a ninth of it, and by the error"
            lines.append(f"{how}, {verdict}{reason}")
        return [*lines, *self.figure_lines(True)]

    def figure_lines(self, valid: bool) -> list[str]:
        """Return what the fields' own figures say that hold. valid: whether the noise model fits."""
        holds = {figure.name for figure in FIGURES if valid or not figure.governed}
        return [one.said for name, one in self._figures().items() if name in holds]

    def _mean(self) -> dict[str, float | int]:
        """Return the mean PSNR, which is unknown where one image's is."""
        errors = [one.error if one.resolved else Error(math.nan, math.nan) for one in self.seen]
        return mean_psnr(errors, [one.group for one in self.seen])

    def _errors(self) -> dict[str, Any]:
        rows = []
        for one in self.seen:
            low, high = one.error.interval
            told = psnr(one.error.error) if one.resolved else math.nan
            se = math.hypot(one.error.se, one.error.shared)
            rows.append({"name": one.name, "error": one.error.error, "se": se, "psnr": told, "low": low, "high": high})
        return {"images": rows, "mean": self._mean()}
