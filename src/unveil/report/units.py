"""What an image's values and pixels stand for: as its instrument's description tells it, or the files themselves."""

from collections.abc import Callable

from unveil.config import Config
from unveil.data import ImageSource
from unveil.data.pixel_size import pixel_size
from unveil.instruments.instrument import ImageUnits
from unveil.training.setup import instrument

__all__ = ["UnitsOf", "units_of"]

UnitsOf = Callable[[str], ImageUnits]
"""Name of an image -> its units."""


def units_of(config: Config, source: ImageSource) -> UnitsOf:
    """Return the units of the images of the measurements `source`, by name.

    They are the numbers in the files, where images have the pixels of their measurements.
    """
    numbers = {source.name(i): i for i in range(len(source))}
    found = instrument(config)
    told = found.units(config.operator)

    def units(name: str) -> ImageUnits:
        origin = source.origin(numbers[name])
        if not found.same_grid or origin is None:
            return told
        low, high = origin.value_range
        side, unit = (told.pixel, told.pixel_unit) if told.pixel else pixel_size(origin.path) or (None, "")
        return ImageUnits(low, high, "numbers in the files", side, unit)

    return units
