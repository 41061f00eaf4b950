"""The verdict in words: does the noise model fit, how large is the error, do the samples spread as they should?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from unveil.report.charts import INVALID
from unveil.report.evidence_record import Calibration, Pixels
from unveil.report.record import Record
from unveil.words import counted

__all__ = ["Finding", "agreement", "findings", "headline"]


CLEAR = 3.0
"""Standard errors from which on a figure is told from what it should be."""
TOO_SURE = 0.8
"""Of variance over squared error: a tenth of the deviation."""


@dataclass(frozen=True)
class Finding:
    """One line of the verdict. state: as it is marked; told: neither good nor bad."""

    state: Literal["good", "bad", "unsure", "told"]
    what: str
    detail: str = ""

    @property
    def mark(self) -> str:
        return {"good": "✓", "bad": "✗", "unsure": "?", "told": "•"}[self.state]


def findings(evaluation: Record, incomplete: bool) -> list[Finding]:
    """Return the verdict: the noise model, which governs what follows; the error; the samples, seen and unseen."""
    found = [_noise(evaluation), _error(evaluation, incomplete), _samples(evaluation, incomplete)]
    return [*found, *_turned(evaluation), *_fields(evaluation)]


def agreement(evaluation: Record, incomplete: bool) -> str:
    """Return what it tells that samples agree, and that they differ: by how they spread, as far as that is known."""
    samples = _samples(evaluation, incomplete)
    if incomplete:
        return "Where samples differ, the data do not decide; where they agree, the data may, or what was learned."
    if samples.state == "good":
        return "Where samples agree, the data decide; where they differ, they do not."
    if "too unsure" in samples.what:
        return "Where samples agree, the data decide; they differ by more than the data leave open."
    return "Where samples differ, the data do not decide; that they agree proves nothing: see the verdict on them."


def _fields(evaluation: Record) -> list[Finding]:
    """Return what the fields' own figures say; of those that do not hold, that."""
    evidence, found = evaluation.evidence, []
    for name, one in ({} if evidence is None else evidence.figures).items():
        if evidence is not None and evidence.holds(name):
            found.append(Finding(one.state, one.said, one.detail))
        else:
            found.append(Finding("bad", f"{one.title} is {INVALID}."))
    return found


def _noise(evaluation: Record) -> Finding:
    fit = evaluation.fit
    if fit is None:
        return Finding("unsure", "Whether the noise model fits was not looked at.")
    if fit.verdict == "fits":
        return Finding("good", "The noise model fits the measurements.")
    if not evaluation.valid:
        return Finding(
            "bad",
            "The noise model does not fit the measurements.",
            f"{fit.reason}. No figure without a reference holds.",
        )
    return Finding(
        "unsure", f"Whether the noise model fits {fit.verdict}" + (f": {fit.reason}." if fit.reason else ".")
    )


def _error(evaluation: Record, incomplete: bool) -> Finding:
    known = "psnr_mmse" in evaluation.mean or ("psnr_estimate" in evaluation.mean and evaluation.valid)
    state: Literal["good", "bad", "unsure"] = "good" if known else "unsure"
    if not evaluation.valid:
        state = "bad"
    elif evaluation.warnings or (incomplete and "psnr_mmse" not in evaluation.mean):
        state = "unsure"
    return Finding(state, headline(evaluation, incomplete), _interval(evaluation, incomplete))


def headline(evaluation: Record, incomplete: bool) -> str:
    """Return the error in one sentence: of what, and over how many images."""
    mean, rows = evaluation.mean, evaluation.images
    over = counted(len(rows), "image") if len(rows) == 1 else f"Mean of {counted(len(rows), 'image')}"
    unknown = sum(row.metrics.get("psnr_estimate") is None for row in rows)
    estimate = f"unknown for {unknown} of them"
    if "psnr_estimate" in mean:
        start = f"from {mean['psnr_noise']:.1f} dB measured to " if "psnr_noise" in mean else ""
        estimate = f"{start}{mean['psnr_estimate']:.1f} dB"
    if not evaluation.valid:
        text = f"{over}: {_with_reference(mean)}. " if "psnr_mmse" in mean else f"{over}. "
        return f"{text}The error estimated without a reference is {INVALID}."
    if incomplete:
        estimate = (
            f"Of the measured entries alone, A f(y) against A x: {estimate}, estimated without a reference; of what "
            "the instrument does not see it says nothing."
        )
    if "psnr_mmse" not in mean:
        return f"{over}: {estimate}" if incomplete else f"{over}: {estimate}, estimated without a reference."
    text = f"{over}: {_with_reference(mean)}"
    return f"{text}. {estimate}" if incomplete else f"{text} ({estimate} estimated without the reference)."


def _with_reference(mean: Mapping[str, float]) -> str:
    start = f"from {mean['psnr_noisy']:.1f} dB measured to " if "psnr_noisy" in mean else ""
    return f"{start}{mean['psnr_mmse']:.1f} dB"


def _interval(evaluation: Record, incomplete: bool) -> str:
    """Return the interval of the error without a reference, and of the next image's; nothing where none is known."""
    evidence = evaluation.evidence
    if evidence is None or not evaluation.valid or not evidence.holds("error"):
        return ""
    said = []
    mean = None if evidence.error is None else evidence.error.mean
    if mean is not None and mean.low is not None:
        upper = "no upper end" if mean.high is None else f"{mean.high:.2f}"
        said.append(f"95% interval, without a reference: {mean.low:.2f} to {upper} dB for the mean of these images.")
        dependent = isinstance(mean.images, int) and mean.groups is not None and mean.groups < mean.images
        groups = counted(mean.groups or 0, "file or volume", "files or volumes")
        if mean.next_low is not None and mean.next_high is not None:
            of = f" of {groups}, which count, as their images err alike" if dependent else ""
            said.append(f"Of more images like these{of}: {mean.next_low:.2f} to {mean.next_high:.2f} dB.")
        elif dependent:
            said.append(f"Of others nothing is told: these are of {groups}, whose images err alike; 3 are the fewest.")
    bounds = [] if evidence.conformal is None or not evidence.holds("conformal") else evidence.conformal.bounds
    known = [bound for bound in bounds if bound.psnr is not None]
    if known:
        best = min(known, key=lambda bound: abs(bound.level - 0.9))
        off = "" if best.level_se is None else f", known to ± {best.level_se:.0%} by the number of images"
        said.append(f"The next image is better than {best.psnr:.1f} dB with probability {best.level:.0%}{off}.")
    if evidence.pixels is not None and evidence.holds("pixels"):
        said.append(_pixels(evidence.pixels))
    return ("Of A x: " if incomplete and said else "") + " ".join(said)


def _pixels(found: Pixels) -> str:
    """Return how wide the intervals of pixels are that are drawn, and how often they hold the reference's."""
    at = min(range(len(found.levels)), key=lambda k: abs(found.levels[k] - 0.9))
    share = f"{found.levels[at]:.0%}" + ("" if found.level_se is None else f" ± {found.level_se[at]:.1%}")
    text = f"{share} of the pixels are within ± {found.half_width[at]:.3g} of the [0, 1] scale, in the mean"
    if found.coverage_reference is not None:
        text += f" ({found.coverage_reference[at]:.1%} of the reference's)"
    return f"{text}."


def _samples(evaluation: Record, incomplete: bool) -> Finding:
    """Return what is known of the samples: by the best of the figures that hold.

    Without a reference that is, of incomplete measurements, of A x alone.
    """
    evidence, mean = evaluation.evidence, evaluation.mean
    alone = f"{'on the measured entries alone, ' if incomplete else ''}without a reference"
    if evidence is not None and evidence.calibration_reference is not None:
        return _calibration(evidence.calibration_reference, "against the reference")
    if evidence is not None and evidence.calibration is not None and evaluation.valid and evidence.holds("calibration"):
        return _calibration(evidence.calibration, alone)
    if "true_spread_over_error" in mean:
        return _spread(mean["true_spread_over_error"], "against the reference")
    if not evaluation.valid:
        return Finding("bad", f"Whether the samples are calibrated is {INVALID}.")
    if "spread_over_error" in mean:
        return _spread(mean["spread_over_error"], alone)
    return Finding("unsure", "Whether samples are calibrated is not known.", "No error to compare their spread with.")


def _turned(evaluation: Record) -> list[Finding]:
    """Return what turned instruments tell of samples where the instrument is blind; nothing where none did."""
    evidence = evaluation.evidence
    if evidence is None or evidence.turned is None or not evaluation.valid or not evidence.holds("turned"):
        return []
    ratio, se, n = evidence.turned.spread_over_error, evidence.turned.spread_over_error_se, evidence.turned.images
    detail = (
        f"By turned measurements of {counted(n, 'image')}, without a reference: their variance is {ratio:.2f} ± "
        f"{se:.2f} of the squared error, what the instrument does not see included; 1 for exact samples."
    )
    if ratio + CLEAR * se < 1:
        return [Finding("bad", "Where the instrument does not see, the samples are too sure of themselves.", detail)]
    if ratio - CLEAR * se > 1:
        return [Finding("bad", "Where the instrument does not see, the samples are too unsure of themselves.", detail)]
    return [Finding("unsure", "Where the instrument does not see, the samples' spread is not told from right.", detail)]


def _spread(ratio: float, how: str) -> Finding:
    """Return what the ratio alone tells, where calibration was not looked at: no more than a tenth of the deviation."""
    detail = f"Their variance is {ratio:.2f} of the squared error, {how}; 1 for exact samples. Not tested further."
    if ratio < TOO_SURE:
        return Finding("bad", "The samples are too sure of themselves.", detail)
    if ratio > 1 / TOO_SURE:
        return Finding("bad", "The samples are too unsure of themselves.", detail)
    return Finding("unsure", "The samples spread about as the estimate errs.", detail)


def _calibration(found: Calibration, how: str) -> Finding:
    ratio = found.spread_over_error
    detail = "" if ratio is None else f"The samples' variance is {ratio:.2f} of the squared error; 1 for exact samples."
    if found.shown is not None and ratio is not None:
        detail = f"Of a view of {found.exposure:.0%} of the exposure the variance is {ratio:.2f} of the squared error"
        shown, se = found.shown.spread_over_error, found.shown.spread_over_error_se
        if shown is not None and se is not None:
            detail += f", of the samples shown, given all of it, {shown:.2f} ± {se:.2f}"
        detail += "; 1 for exact samples."
    if found.reason:
        reason = found.reason.rstrip(".").replace("+-", "±")  # which a terminal might not have
        detail = f"{reason[:1].upper()}{reason[1:]}. {detail}"
    words = {
        "calibrated": ("good", "The samples are calibrated"),
        "too sure": ("bad", "The samples are too sure of themselves"),
        "too unsure": ("bad", "The samples are too unsure of themselves"),
        "not calibrated": ("bad", "The samples are not calibrated"),
    }
    state, text = words.get(found.verdict, ("unsure", "Whether the samples are calibrated cannot be told"))
    return Finding(state, f"{text}, {how}.", detail.strip())  # type: ignore[arg-type]
