"""What k-space tells of the scan: what was measured, and the coils' sensitivities, where neither is stated.

fastMRI keeps the mask beside the data, ISMRMRD the readouts; in other files what was not measured is 0, as noise never
is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unveil.data.hdf5 import mask_inside
from unveil.errors import UnveilError, warn
from unveil.instruments.mri import MRISection

if TYPE_CHECKING:
    from torch import Tensor

    from unveil.data import ImageSource
    from unveil.instruments.mri.operator import KSpace

__all__ = ["complete", "estimate", "nonzero"]


def complete(given: Mapping[str, Any], data: str) -> dict[str, tuple[str, str]]:
    """Return keys of the section that the file `data` tells, unless they are given: name -> (value, a line to say)."""
    if "mask" in given or (found := mask_inside(data)) is None:
        return {}
    return {"mask": found}


def estimate(section: MRISection, source: ImageSource) -> KSpace | None:
    """Return the operator of the measurements in `source`, its mask and sensitivities found in each of them.

    None where both are given. Raises UnveilError where `build_mri`, `nonzero` and `estimate_coils` do.
    """
    if "estimate" not in (section.mask, section.coils):
        return None
    from unveil.instruments.mri.calibration import estimate_coils  # torch loads late
    from unveil.instruments.mri.masks import read_mask
    from unveil.instruments.mri.operator import with_mask

    _, height, width = source.shape(0)
    mask = nonzero(source) if section.mask == "estimate" else read_mask(section.mask, height, width, len(source))
    if section.coils == "estimate":
        return estimate_coils(mask, source)
    return with_mask(section, mask, source.shape(0), len(source))


def nonzero(source: ImageSource) -> Tensor:
    """Return where each k-space (2 coils, H, W) is not 0 in every coil: (N, H, W), or (1, H, W) where all are alike.

    Warns where all of it counts as measured. Raises UnveilError where nothing does.
    """
    import torch

    masks = torch.stack([(source.read(i) != 0).any(0) for i in range(len(source))])
    if not bool((some := masks.flatten(1).any(1)).all()):
        raise UnveilError(f"{source.where(int((~some).nonzero()[0]))}: k-space is 0 everywhere: leave it out")
    if bool(masks.all()):
        warn(
            "operator.mask = estimate: k-space is 0 nowhere, so all of it counts as measured; give the mask of these "
            "data if it is not, 1 where k-space is measured and 0 elsewhere"
        )
    return masks[:1] if bool((masks == masks[0]).all()) else masks
