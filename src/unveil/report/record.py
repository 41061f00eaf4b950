"""evaluation.json, read as what it may be by now: names that stay in the run folder, and finite numbers."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from unveil.errors import UnveilError
from unveil.records import read_record

__all__ = ["Record", "Row", "own_picture", "read_evaluation"]

MOST_PICTURE = 64 * 2**20
"""Bytes of a picture that is shown. One that evaluate draws has less than a few MB."""


class Row(BaseModel):
    """The figures of one image, and its name, that of its pictures in images/."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float | None]

    name: str

    @field_validator("name")
    @classmethod
    def _stays(cls, name: str) -> str:
        if name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
            raise ValueError("is not the name of an image")
        return name

    @property
    def metrics(self) -> dict[str, float | None]:
        return self.__pydantic_extra__


class FitRecord(BaseModel):
    """Whether the noise model fits, and why not."""

    verdict: str
    reason: str = ""


class Record(BaseModel):
    """What evaluate found.

    The figures of each image, their means and over how many images, and what makes them doubtful.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    images: list[Row]
    mean: dict[str, float]
    images_in_mean: dict[str, int] = {}
    warnings: list[str] = []
    fit: FitRecord | None = None

    @property
    def valid(self) -> bool:
        """Whether figures without a reference may be shown as such."""
        return self.fit is None or self.fit.verdict != "does not fit"


def read_evaluation(folder: Path) -> Record:
    """Return the record in the run folder `folder`.

    Raises UnveilError when there is none, or it is damaged.
    """
    path = folder / "evaluation.json"
    if not path.exists():
        raise UnveilError(f"{folder}: nothing to report yet; first run unveil evaluate {folder}")
    return read_record(path, Record, f"run unveil evaluate {folder} again")


def own_picture(folder: Path, inside: str) -> bytes | None:
    """Return the PNG file folder/inside; None where there is none, or it lies elsewhere: links are not followed."""
    path = folder / inside
    try:
        if path.resolve() != folder.resolve() / inside or not path.is_file() or path.stat().st_size > MOST_PICTURE:
            return None
        content = path.read_bytes()
    except OSError:  # a name too long, no permission: the page says what it can
        return None
    return content if content.startswith(b"\x89PNG\r\n\x1a\n") else None
