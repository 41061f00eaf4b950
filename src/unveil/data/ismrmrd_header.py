"""What the XML header of an ISMRMRD file says of the geometry of k-space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from unveil.errors import UnveilError

__all__ = ["Scan", "parse_header"]


@dataclass(frozen=True)
class Scan:
    """encoded: (H, W) of k-space, phase encoding and readout. width: of the reconstruction, pixels of the same size.

    centre: the number of the phase encoding at the zero frequency. bandwidth: the receiver's, relative to its samples'.
    """

    encoded: tuple[int, int]
    width: int
    centre: int
    bandwidth: float


def parse_header(path: Path, text: str | bytes, encoding: int) -> Scan:
    """Return what the header `text` of the file `path` says of its encoding of that number.

    Raises UnveilError for a trajectory that is not Cartesian, and for what is no such header.
    """
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    if "<!DOCTYPE" in words or "<!ENTITY" in words:
        raise UnveilError(f"{path}: its header declares entities, which none of ISMRMRD does: it is not read")
    try:
        root = ElementTree.fromstring(words)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        found = root.findall("encoding")[encoding]
        trajectory = (found.findtext("trajectory") or "").strip().lower()
        sizes = {}
        for name in ("encodedSpace", "reconSpace"):
            for axis in "xy":
                matrix = int(found.findtext(f"{name}/matrixSize/{axis}") or "")
                view = float(found.findtext(f"{name}/fieldOfView_mm/{axis}") or "")
                sizes[name, axis] = matrix, view
        height, width = sizes["encodedSpace", "y"][0], sizes["encodedSpace", "x"][0]
        centre = int(found.findtext("encodingLimits/kspace_encoding_step_1/center") or height // 2)
        bandwidth = float(root.findtext("acquisitionSystemInformation/relativeReceiverNoiseBandwidth") or 1)
    except (ElementTree.ParseError, IndexError, ValueError) as error:
        raise UnveilError(f"{path}: its header is not that of ISMRMRD ({error}): write the file again") from None
    if trajectory != "cartesian":
        raise UnveilError(
            f"{path} has a {trajectory or 'nameless'} trajectory, and k-space is read on a Cartesian grid: grid it, "
            "and save it as NPY with its mask"
        )
    (wide, view), (narrow, seen) = sizes["encodedSpace", "x"], sizes["reconSpace", "x"]
    same = seen > 0 and narrow > 0 and abs(view / seen * narrow / wide - 1) < 0.01
    return Scan((height, width), narrow if same else width, centre, bandwidth if 0 < bandwidth <= 1 else 1.0)
