"""Arrays that describe an imaging system (masks, sensitivities, angles) from the files that users have."""

from pathlib import Path

import numpy as np

from unveil.errors import UnveilError

__all__ = ["read_array", "read_real"]

_KINDS = "give a .npy, .png, .tif or HDF5 file (FILE.h5:DATASET)"
_USUAL = {
    "operator.mask": ("mask", "masks"),
    "operator.coils": ("coils", "sens_maps", "sensitivities", "sensitivity_maps", "smaps", "maps", "csm"),
    "operator.angles": ("angles", "theta"),
    "operator.kernel": ("kernel", "psf"),
}
"""What the arrays of each key are called in HDF5 files that hold several."""


def read_array(path: str, key: str) -> np.ndarray:
    """Return the array of numbers, real or complex, in a .npy, image or HDF5 file.

    key: of the configuration, for the messages.

    path: of HDF5 (.h5, .mat, ...) FILE:DATASET, or FILE where it holds one array alone or one of a usual name.
    Raises UnveilError when the file is missing, of another kind, cannot be read or holds no numbers.
    """
    from unveil.data import hdf5, npy  # which come after the operators, and load late
    from unveil.data.faults import unreadable

    file, dataset = _parts(path, hdf5.EXTENSIONS)
    if not file.is_file():
        raise UnveilError(f"{key}: {file} does not exist; {_KINDS}")
    try:
        if file.suffix.lower() in hdf5.EXTENSIONS:
            array = hdf5.read(file, dataset, _USUAL.get(key, ()))
        elif file.suffix.lower() == ".npy":
            array = np.array(npy.load(file))
        else:
            import imageio.v3 as imageio

            array = np.asarray(imageio.imread(file))
    except UnveilError as error:
        raise UnveilError(f"{key}: {error}") from None
    except Exception as error:  # decoders raise whatever comes, in one line or several
        raise UnveilError(f"{key}: {unreadable(str(file), error)}; {_KINDS}") from None
    if array.dtype.kind not in "biufc":
        raise UnveilError(f"{key}: {path} holds {array.dtype}, not numbers; give an array of numbers")
    return array


def read_real(path: str, key: str) -> np.ndarray:
    """Return the array of real numbers in a file, as float64.

    Raises UnveilError where `read_array` does, and for complex ones.
    """
    array = read_array(path, key)
    if array.dtype.kind == "c":
        raise UnveilError(f"{key}: {path} holds complex numbers; give real ones")
    return array.astype("float64")


def _parts(path: str, extensions: tuple[str, ...]) -> tuple[Path, str | None]:
    """Return the file, and of FILE:DATASET the dataset."""
    file, colon, dataset = path.rpartition(":")
    if colon and not Path(path).is_file() and Path(file).suffix.lower() in extensions:
        return Path(file), dataset
    return Path(path), None
