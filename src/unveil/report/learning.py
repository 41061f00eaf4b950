"""Charts of a training: its loss, the held-out error with its interval and forecast, and what more data could bring."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from unveil.report.charts import Chart, chart
from unveil.training.curve import Curve, gap, since
from unveil.training.forecast import Forecast, forecast

__all__ = ["expected_words", "outlook", "training_charts"]

SHOWN = 1e30
"""What is not smaller was no number when a training went astray, and has no place on an axis."""
MOST_POINTS = 500
"""Of a curve: more cannot be told apart."""
NORMAL = 1.96
DECIBELS = 10 / math.log(10)


def training_charts(metrics: Sequence[Mapping[str, float]], valid: bool = True) -> list[Chart]:
    """Return the loss, and the held-out PSNR estimated without a reference, against the step; none of no training.

    A third one compares the gains of held-out measurements and of those learned from, where both were validated.
    valid: whether the noise model fits; else the others say that they are not valid.
    """
    lines = [line for line in metrics if abs(line.get("loss", np.inf)) < SHOWN]
    found: list[Chart] = []
    if not lines:
        return found
    steps, loss = (_means([line[key] for line in lines]) for key in ("step", "loss"))
    with chart(found, "Training loss", f"From {loss[0]:.3g} to {loss[-1]:.3g} in {lines[-1]['step']} steps.") as axes:
        axes.plot(steps, loss, linewidth=1)
        axes.set(xlabel="step", ylabel="loss, weighted", ylim=_limits(loss))
    _held_out(found, lines, valid)
    _apart(found, Curve.of(lines), valid)
    return found


def _held_out(found: list[Chart], lines: Sequence[Mapping[str, float]], valid: bool) -> None:
    curves = {}
    for key, label in (
        ("psnr_estimate", "at the measured level"),
        ("psnr_estimate_half", "at half of it (2×2 means)"),
        ("psnr_hidden", "hidden entries"),
    ):
        points = [(line["step"], line[key]) for line in lines if abs(line.get(key, np.inf)) < SHOWN]
        if points:
            curves[label] = points
    if not curves:
        return
    words = "; ".join(f"{label} {points[-1][1]:.2f} dB at the end" for label, points in curves.items())
    known = [line for line in lines if "psnr_estimate" in line and 0 < line.get("error_se", 0.0) < SHOWN]
    expected = outlook(lines)
    if expected is not None:
        words += f". {expected_words(expected)}"
    with chart(found, "PSNR of held-out measurements, estimated without a reference", words, valid) as axes:
        for label, points in curves.items():
            axes.plot(*zip(*points), marker=".", label=label)
        if known:
            middle = np.array([line["psnr_estimate"] for line in known])
            reach = np.array([NORMAL * DECIBELS * line["error_se"] / line["error"] for line in known])
            axes.fill_between([line["step"] for line in known], middle - reach, middle + reach, alpha=0.2, linewidth=0)
        if expected is not None and not expected.reason:
            gain, low = expected.decibels
            level = known[-1]["psnr_estimate"]
            axes.errorbar(
                expected.steps, level + gain, yerr=[[gain - low], [0.0]], fmt="^", capsize=3, label="forecast, or more"
            )
        axes.set(xlabel="step", ylabel="PSNR, dB")


def outlook(lines: Sequence[Mapping[str, float]]) -> Forecast | None:
    """Return what twice the steps would bring by the lines of a log; None where its last error is not known."""
    validated = [line for line in lines if "error" in line]
    return forecast(Curve.of(validated)) if validated and "psnr_estimate" in validated[-1] else None


def expected_words(found: Forecast) -> str:
    """Return the forecast in words."""
    if found.reason:
        return f"What twice the steps would bring cannot be told: {found.reason}."
    gain, low = found.decibels
    return (
        f"Twice the steps, {found.steps}, would bring {low:+.2f} dB or more (95%); {gain:+.2f} dB by the curve, which "
        f"lags at the end, where the rate falls."
    )


def _apart(found: list[Chart], curve: Curve, valid: bool) -> None:
    """Append the gains of held-out measurements and of those learned from, where these can be compared."""
    apart = gap(curve)
    if apart is None:
        return
    first, held_out, fitted = since(curve)
    steps = curve.steps[first:].tolist()
    words = (
        f"Since step {steps[0]:.0f} those learned from gained {apart.value:+.2f} ± {apart.reach:.2f} dB more. "
        f"Further data could bring a training like this one {max(0.0, apart.value + apart.reach):.1f} dB at most."
    )
    with chart(found, "Gains of measurements held out and learned from", words, valid) as axes:
        for gains, label in ((held_out, "held out"), (fitted, "learned from")):
            middle, reach = gains.mean(1).numpy(), (gains.std(1) / math.sqrt(gains.shape[1])).numpy()
            axes.plot(steps, middle, marker=".", label=label)
            axes.fill_between(steps, middle - reach, middle + reach, alpha=0.2, linewidth=0)
        axes.set(xlabel="step", ylabel=f"gain since step {steps[0]:.0f}, dB")


def _means(values: Sequence[float]) -> np.ndarray:
    """Return means over blocks: at most MOST_POINTS of them."""
    v = np.asarray(values, dtype=np.float64)
    return np.array([part.mean() for part in np.array_split(v, min(len(v), MOST_POINTS))])


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [1, 99])
    margin = 0.1 * (high - low) + 1e-9
    return float(low - margin), float(high + margin)
