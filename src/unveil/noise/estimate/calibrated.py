"""What is found in images, made better by calibration: the gain by repeats, offset and read noise by dark frames."""

from dataclasses import replace

from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise.estimate.choose import GROWS, Found
from unveil.noise.estimate.frames import Darks, repeated, with_darks
from unveil.noise.estimate.line import SYSTEMATIC, TransferCurve, TransferLine, fit_line

__all__ = ["calibrated", "camera"]


def camera(darks: Darks, repeats: Tensor) -> Found:
    """Return the Poisson-Gaussian noise of a detector from dark frames and repeats (n, C, H, W) of one scene alone.

    Raises UnveilError where the noise does not grow with the light.
    """
    return _of_darks(with_darks(repeated(repeats, darks.offset), darks), darks, 0.0)


def calibrated(found: Found, darks: Darks | None = None, repeats: Tensor | None = None) -> Found:
    """Return `found`, in images, made better by dark frames or by repeats (n, C, H, W) of one scene, in its units.

    With darks it is Poisson-Gaussian, and the curve of the images stands in for repeats where there are none. Raises
    UnveilError where the noise does not grow with the light.
    """
    if darks is not None:
        return (
            camera(darks, repeats)
            if repeats is not None
            else _of_darks(with_darks(found.curve, darks), darks, SYSTEMATIC)
        )
    if repeats is None or found.kind != "poisson-gaussian" or found.each is not None:
        raise UnveilError("repeats of images whose noise is not a camera's: give dark frames too")
    line = _risen(repeated(repeats, found.parameters["offset"]), 0.0)
    # the images' own dark tells offset and read noise better than a line from bright flats does
    parameters = {**found.parameters, "gain": line.gain}
    errors = {**found.errors, "gain": line.gain_error}
    return replace(found, parameters=parameters, errors=errors, line=line)


def _of_darks(curve: TransferCurve, darks: Darks, systematic: float) -> Found:
    line = _risen(curve, systematic)
    parameters = {"gain": line.gain, "read": darks.read, "offset": darks.offset}
    errors = {"gain": line.gain_error, "read": darks.read_error, "offset": darks.offset_error}
    return Found("poisson-gaussian", parameters, errors, GROWS, curve, line, assumed="darks")


def _risen(curve: TransferCurve, systematic: float) -> TransferLine:
    line = fit_line(curve, systematic)
    if line is None:
        raise UnveilError(
            "the calibration frames' variance does not grow with their mean, or at fewer than three brightnesses: give "
            "flats of several exposures, or uneven ones, or darks with them"
        )
    return line
