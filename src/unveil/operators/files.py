"""Arrays that describe an imaging system (masks, sensitivities, angles) from the files that users have."""

from pathlib import Path

import numpy as np

from unveil.errors import UnveilError

__all__ = ["read_array"]


def read_array(path: str, key: str) -> np.ndarray:
    """The array in a .npy or image file. key: of the configuration, for the messages.

    Raises UnveilError when the file is missing, of another kind or cannot be read.
    """
    file = Path(path)
    if not file.is_file():
        raise UnveilError(f"{key}: {path} does not exist; give a .npy, .png or .tif file")
    try:
        if file.suffix.lower() == ".npy":
            return np.asarray(np.load(file))
        import imageio.v3 as imageio

        return np.asarray(imageio.imread(file))
    except Exception as error:  # decoders raise whatever comes
        raise UnveilError(f"{key}: {path} cannot be read ({error}); give a .npy, .png or .tif file") from None
