"""evaluation.json, read as what it may be by now: names that stay in the run folder, and finite numbers."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from unveil.data import ImageSource, open_images
from unveil.errors import UnveilError
from unveil.records import read_record
from unveil.report.evidence_record import Evidence

__all__ = ["Record", "Row", "Shown", "own_file", "own_images", "read_evaluation"]


class Shown(BaseModel):
    """How the pictures of an image are shown: values shown black and white, in `units`, and the side of a pixel."""

    model_config = ConfigDict(allow_inf_nan=False)

    window: tuple[float, float] = (0.0, 1.0)
    units: str = ""
    pixel: float | None = None
    pixel_unit: str = ""


class Row(BaseModel):
    """The figures of one image, its name, that of its pictures in images/, and how these are shown."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float | None]

    name: str
    picture: Shown | None = None

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
    evidence: Evidence | None = None

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


def own_file(folder: Path, inside: str) -> Path | None:
    """Return the file folder/inside; None where there is none, or it lies elsewhere: links are not followed."""
    path = folder / inside
    try:
        return path if path.resolve() == folder.resolve() / inside and path.is_file() else None
    except OSError:  # a name too long, no permission: the page says what it can
        return None


def own_images(folder: Path, inside: str) -> ImageSource | None:
    """Return the image in the file folder/inside; None where there is none of its own, or it is damaged."""
    path = own_file(folder, inside)
    try:
        return None if path is None else open_images(path)
    except (OSError, UnveilError):
        return None
