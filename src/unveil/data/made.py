"""What made results, for the headers of formats that have a place for it."""

from __future__ import annotations

import unveil

__all__ = ["Made"]

from dataclasses import dataclass


@dataclass(frozen=True)
class Made:
    """The call that results are of.

    command: of `unveil`. layer: which of an image's results they are; "": the only one. call: hexadecimal digits that
    are another for another call: other weights, inputs or settings.
    """

    command: str = ""
    layer: str = ""
    call: str = ""

    def __str__(self) -> str:
        what = " ".join(part for part in (self.command, self.layer) if part)
        return f"unveil {unveil.__version__}" + (f", {what}" if what else "")
