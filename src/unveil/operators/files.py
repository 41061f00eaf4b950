"""Arrays that describe an imaging system (masks, sensitivities, angles) from the files that users have."""

from pathlib import Path

import numpy as np

from unveil.errors import UnveilError

__all__ = ["read_array", "read_real"]


def read_array(path: str, key: str) -> np.ndarray:
    """The array of numbers, real or complex, in a .npy or image file. key: of the configuration, for the messages.

    Raises UnveilError when the file is missing, of another kind, cannot be read or holds no numbers.
    """
    file = Path(path)
    if not file.is_file():
        raise UnveilError(f"{key}: {path} does not exist; give a .npy, .png or .tif file")
    try:
        if file.suffix.lower() == ".npy":
            array = np.asarray(np.load(file))
        else:
            import imageio.v3 as imageio

            array = np.asarray(imageio.imread(file))
    except Exception as error:  # decoders raise whatever comes, in one line or several
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnveilError(f"{key}: {path} cannot be read ({reason}); give a .npy, .png or .tif file") from None
    if array.dtype.kind not in "biufc":
        raise UnveilError(f"{key}: {path} holds {array.dtype}, not numbers; give an array of numbers")
    return array


def read_real(path: str, key: str) -> np.ndarray:
    """The array of real numbers in a file, as float64. Raises UnveilError where `read_array` does, and for complex ones."""
    array = read_array(path, key)
    if array.dtype.kind == "c":
        raise UnveilError(f"{key}: {path} holds complex numbers; give real ones")
    return array.astype("float64")
