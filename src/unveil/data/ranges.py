"""The numbers in the files that are read as 0 and 1."""

from unveil.data.source import ImageSource
from unveil.errors import UnveilError

__all__ = ["stored_range", "stored_ranges"]


def stored_range(source: ImageSource) -> tuple[float, float]:
    """Return the numbers in the files that are read as 0 and 1.

    Raises UnveilError where they differ.
    """
    ranges = stored_ranges(source)
    if len(ranges) > 1:
        raise UnveilError("the images hold numbers of different types: convert them to one, or state data.value_range")
    return ranges.pop()


def stored_ranges(source: ImageSource) -> set[tuple[float, float]]:
    """Return the numbers in the files that are read as 0 and 1: several where files are of several types."""
    return {(0.0, 1.0) if (origin := source.origin(i)) is None else origin.value_range for i in range(len(source))}
