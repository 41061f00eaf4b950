"""What data tell of the microscope: a table of RELION that names the particles has their optics too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["complete"]


def complete(given: Mapping[str, Any], data: str) -> dict[str, tuple[str, str]]:
    """Return keys of the section that the file `data` tells, unless they are given: name -> (value, a line to say)."""
    if given.get("table") is not None or Path(data).suffix.lower() != ".star":
        return {}
    return {"table": (data, f"operator.table is {data}, whose rows are the particles")}
