"""Charts of the evidence: calibration, resolution and flux."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unveil.report.charts import INK, SERIES, Chart, chart
from unveil.report.evidence_record import (
    Averages,
    Brightness,
    Calibration,
    Curve,
    Evidence,
    FigureChart,
    Flux,
    Resolution,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["averages_charts", "calibration_charts", "field_charts", "flux_charts", "resolution_charts"]


def calibration_charts(evidence: Evidence) -> list[Chart]:
    """Return coverage, ranks, and spread against error by brightness, of what was measured and against a reference."""
    found: list[Chart] = []
    several = [
        ("without a reference", evidence.calibration, evidence.holds("calibration")),
        ("against the reference", evidence.calibration_reference, True),
    ]
    for how, calibration, valid in several:
        if calibration is not None:
            _coverage(found, how, calibration, valid)
            _ranks(found, how, calibration, valid)
            _by_brightness(found, how, calibration.by_brightness, valid)
            if calibration.shown is not None:
                _by_brightness(found, "given all of the exposure", calibration.shown.by_brightness, valid)
    return found


def _coverage(found: list[Chart], how: str, c: Calibration, valid: bool) -> None:
    levels, shares, errors = _known(c.levels, c.coverage, c.coverage_se)
    if not len(levels):
        return
    words = "; ".join(f"{level:.0%} intervals hold {share:.1%}" for level, share in zip(levels, shares))
    with chart(found, f"Coverage of the samples' intervals, {how}", words, valid) as axes:
        axes.plot([0.4, 1], [0.4, 1], color=SERIES[3], linestyle="--", linewidth=1, label="calibrated")
        axes.errorbar(levels, shares, 2 * errors, fmt="o-", capsize=3, label="found, two standard errors")
        axes.set(xlabel="nominal", ylabel="share of pixels inside")


def _ranks(found: list[Chart], how: str, c: Calibration, valid: bool) -> None:
    bins, shares, errors = _known(list(range(len(c.histogram))), c.histogram, c.histogram_se)
    if not len(bins):
        return
    words = "Flat where calibrated; a bowl where samples are too sure of themselves."
    if c.p_value is not None:
        words += f" p = {c.p_value:.2g} of being flat."
    with chart(found, f"Rank among the samples, {how}", words, valid) as axes:
        style: Any = {"color": SERIES[0], "ecolor": INK, "capsize": 2}
        axes.bar((bins + 0.5) / len(bins), shares, 0.9 / len(bins), yerr=2 * errors, **style)
        axes.axhline(1 / len(bins), color=SERIES[3], linestyle="--", linewidth=1)
        axes.set(xlabel="rank of the truth among the samples, as a share", ylabel="share of pixels")


def _by_brightness(found: list[Chart], how: str, every: Sequence[Brightness], valid: bool) -> None:
    rows = [row for row in every if row.error is not None]
    if len(rows) < 2:
        return
    words = "On the [0, 1] scale of the data; the same where calibrated."
    with chart(found, f"Spread and error by brightness, {how}", words, valid) as axes:
        x = [row.brightness for row in rows]
        axes.plot(x, [row.spread for row in rows], "o-", label="spread of the samples")
        axes.plot(x, [row.error or 0.0 for row in rows], "s--", label="error")
        axes.set(xlabel="brightness", ylabel="deviation")
        axes.set_ylim(bottom=0)


CURVES = (
    ("raw", "two halves of the exposure, as measured"),
    ("halves", "the two, each estimated by itself"),
    ("to_truth", "estimate and truth, without a reference"),
    ("reference", "estimate and reference"),
)


def resolution_charts(resolution: Resolution | None, valid: bool) -> list[Chart]:
    """Return the Fourier ring correlation, and where it falls below its thresholds, in words."""
    found: list[Chart] = []
    if resolution is None or not resolution.frequency:
        return found
    size, unit = (resolution.pixel_size, resolution.unit) if resolution.pixel_size else (1.0, "pixels")
    said = {
        "raw_half_bit": "as measured, half-bit",
        "halves_half_bit": "estimated by itself, half-bit",
        "halves_seventh": "estimated by itself, 1/7",
        "to_truth_half": "estimate and truth, 1/2",
        "reference_half": "estimate and reference, 1/2",
    }
    reached = {key: period for key, period in resolution.pixels.items() if period is not None}
    periods = [f"{text}: {reached[key] * size:.3g} {unit}" for key, text in said.items() if key in reached]
    words = "Resolved periods: " + "; ".join(periods) if periods else "No threshold is reached."
    with chart(found, "Fourier ring correlation", words, valid) as axes:
        for key, label in CURVES:
            _curve(axes, resolution.frequency, getattr(resolution, key), label=label)
        _band(axes, resolution.frequency, resolution.to_truth, resolution.to_truth_se)
        _curve(axes, resolution.frequency, resolution.half_bit, linestyle=":", color=SERIES[3], label="half-bit")
        axes.axhline(1 / 7, color=SERIES[3], linestyle="--", linewidth=0.8, label="1/7")
        axes.set(xlabel="frequency, cycles per pixel", ylabel="correlation", ylim=(-0.1, 1.1))
    return found


def flux_charts(flux: Flux | None, valid: bool) -> list[Chart]:
    """Return block means of the estimate against those of the measurement: their line keeps the flux at slope 1."""
    found: list[Chart] = []
    if flux is None or not flux.points:
        return found
    words = f"Slope {flux.slope:.4f}" + (f" ± {flux.se:.4f}" if flux.se is not None else "")
    words += "; 1 keeps the flux."
    points = np.array(flux.points)
    with chart(found, "Linearity: block means of estimate and measurement", words, valid) as axes:
        ends = [points.min(), points.max()]
        axes.plot(ends, ends, color=SERIES[3], linestyle="--", linewidth=1, label="slope 1")
        axes.plot(points[:, 0], points[:, 1], ".", color=SERIES[0], markersize=4)
        side = f", {flux.block} × {flux.block} pixels" if flux.block else ""
        axes.set(xlabel=f"measured{side}", ylabel="estimated")
    return found


def _curve(axes: "Axes", x: Sequence[float], y: Curve | None, **style: str) -> None:
    if y is not None and len(y) == len(x):
        axes.plot(x, [np.nan if v is None else v for v in y], linewidth=1.2, **style)  # type: ignore[arg-type]


def _band(axes: "Axes", x: Sequence[float], y: Curve | None, error: Curve | None) -> None:
    """Shade two standard errors to each side, where they are known."""
    if y is not None and error is not None and len(y) == len(error) == len(x):
        heights, errors = (np.array([np.nan if v is None else v for v in part]) for part in (y, error))
        low, high = heights - 2 * errors, heights + 2 * errors
        axes.fill_between(x, low, high, alpha=0.2, color=SERIES[2], label="its two standard errors")


def _known(x: Sequence[float], y: Curve, error: Curve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the points that have a value; an error that is not known is 0."""
    errors = [*error, *[None] * (len(y) - len(error))]
    rows = [(a, b, e or 0.0) for a, b, e in zip(x, y, errors) if b is not None]
    return tuple(np.array(rows, dtype=np.float64).reshape(-1, 3).T)  # type: ignore[return-value]


def averages_charts(averages: Averages | None, valid: bool = True) -> list[Chart]:
    """Return what the mean of k samples costs against the estimate; nothing where that is not known."""
    found: list[Chart] = []
    if averages is None or not averages.k:
        return found
    costs = f"{averages.cost[0]:.2f} ± {averages.cost_se[0]:.2f} dB"
    words = f"One sample costs {costs} of PSNR; an exact one {averages.exact[0]:.2f}."
    with chart(found, "What the mean of k samples costs against the estimate", words, valid) as axes:
        axes.plot(averages.k, averages.exact, color=SERIES[3], linestyle="--", linewidth=1, label="exact samples")
        axes.errorbar(
            averages.k, averages.cost, [2 * se for se in averages.cost_se], fmt="o", capsize=3,
            label="without a reference, two standard errors",
        )  # fmt: skip
        if averages.cost_reference is not None:
            axes.plot(averages.k, averages.cost_reference, "x", label="against the reference")
        axes.set_xscale("log", base=2)
        axes.set_xticks(averages.k, [str(one) for one in averages.k])
        axes.set(xlabel="k", ylabel="cost, dB", ylim=(0, None))
    return found


def field_charts(evidence: Evidence) -> list[Chart]:
    """Return the charts of the fields' own figures."""
    found: list[Chart] = []
    for name, one in evidence.figures.items():
        for drawn in one.charts:
            _field_chart(found, drawn, evidence.holds(name))
    return found


def _field_chart(found: list[Chart], drawn: FigureChart, valid: bool) -> None:
    with chart(found, drawn.title, drawn.words, valid) as axes:
        for k, (label, height) in enumerate(drawn.level.items()):
            axes.axhline(height, color=SERIES[3], linestyle=("--", ":")[k % 2], linewidth=1, label=label)
        for label, y in drawn.curves.items():
            if label in drawn.errors:
                x, heights, errors = _known(drawn.x, y, drawn.errors[label])
                axes.errorbar(x, heights, 2 * errors, fmt="o", capsize=3, label=label)
            else:
                _curve(axes, drawn.x, y, label=label)
        axes.set(xlabel=drawn.xlabel, ylabel=drawn.ylabel)
