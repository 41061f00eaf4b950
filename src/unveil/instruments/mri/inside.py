"""What a file of k-space tells of the scan: fastMRI keeps the mask beside the data, ISMRMRD the readouts."""

from collections.abc import Mapping
from typing import Any

from unveil.data.hdf5 import mask_inside

__all__ = ["complete"]


def complete(given: Mapping[str, Any], data: str) -> dict[str, tuple[str, str]]:
    """Return keys of the section that the file `data` tells, unless they are given: name -> (value, a line to say)."""
    if "mask" in given or (found := mask_inside(data)) is None:
        return {}
    return {"mask": found}
