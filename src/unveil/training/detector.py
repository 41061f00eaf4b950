"""Maps of a detector's noise, as a configuration names their files: read, checked, and on the scale of the data.

A map is one image, of the size of all images, of the numbers in the files. Where it is of gains or offsets their
pattern is taken off the images as these are read (`unveil.noise.pattern`).
"""

from pathlib import Path

from torch import Tensor

from unveil.data import ImageSource, open_images
from unveil.data.corrected import Corrected
from unveil.data.ranges import stored_range
from unveil.errors import UnveilError
from unveil.noise import NOISES, Noise
from unveil.noises import AnyNoise

__all__ = ["detector_noise", "on_scale", "read_map", "read_maps", "without_pattern"]

ANY = ("offset",)
"""What need not be > 0."""


def detector_noise(stated: AnyNoise, source: ImageSource) -> Noise:
    """Return the noise that is stated with maps, on the [0, 1] scale of the images, their pattern in it.

    Raises UnveilError where `read_maps` does, and for images of several types.
    """
    return on_scale(stated, read_maps(stated, source), stored_range(source))


def on_scale(stated: AnyNoise, maps: dict[str, Tensor], stored: tuple[float, float]) -> Noise:
    """Return the noise with these maps (1, C, H, W), in the numbers of the files, of which `stored` are 0 and 1."""
    low, high = stored
    values = stated.model_dump(exclude={"kind"}) | maps
    noise = NOISES[stated.kind](**values)
    return noise.shifted(-low).scaled(1 / (high - low))


def read_maps(stated: AnyNoise, source: ImageSource) -> dict[str, Tensor]:
    """Return the maps (1, C, H, W) that are stated of the images of `source`, in the numbers of the files.

    Raises UnveilError, which names the file, unless each is one image of their size, finite and > 0 (an offset may be
    any number).
    """
    sizes = {source.shape(i)[1:]: i for i in reversed(range(len(source)))}
    found = {}
    for name, path in stated.maps.items():
        key = f"noise.{name}: {path}"
        if len(sizes) > 1:
            a, b = list(sizes.values())[-2:]
            raise UnveilError(
                f"{key}: a map is of one size, and {source.where(b)} has {_pixels(source.shape(b)[1:])} pixels and "
                f"{source.where(a)} {_pixels(source.shape(a)[1:])}: leave the others out"
            )
        ((size, _),) = sizes.items()
        found[name] = read_map(path, name, size, source.channels).expand(1, source.channels, *size)
    return found


def read_map(path: str, name: str, size: tuple[int, int], channels: int) -> Tensor:
    """Return the map (C or 1, H, W) of the parameter `name` in a file, of `size` (H, W) and of images of C channels.

    Raises UnveilError as `read_maps` does.
    """
    key, give = f"noise.{name}: {path}", f"give one map of {_pixels(size)} pixels, as the images have"
    file, colon, dataset = path.rpartition(":")
    several = colon and not Path(path).exists() and Path(file).exists()
    try:
        source = (
            open_images(file, dataset=dataset, value_range=(0, 1)) if several else open_images(path, value_range=(0, 1))
        )
        if len(source) > 1:
            raise UnveilError(f"it holds {len(source)} images")
        if source.shape(0)[1:] != size:
            raise UnveilError(f"it has {_pixels(source.shape(0)[1:])} pixels")
        if source.channels not in (1, channels):
            raise UnveilError(f"it has {source.channels} channels, and the images {channels}")
        values = source.whole().read(0)
    except UnveilError as error:
        raise UnveilError(f"{key}: {error}; {give}") from None
    wrong = values[~(values > 0)]
    if len(wrong) and name not in ANY:
        raise UnveilError(
            f"{key}: {len(wrong)} of its {values.numel()} values are not > 0, {float(wrong[0]):g} the first: {give}, "
            "or the usual value at pixels that are dead, which data.dead names"
        )
    return values


def without_pattern(stated: AnyNoise, source: ImageSource) -> ImageSource:
    """Return the images without the pattern of gains and offsets that maps tell; the same where none does."""
    if not {"gain", "offset"} & stated.maps.keys():
        return source
    pattern = detector_noise(stated, source).pattern
    assert pattern is not None
    return Corrected(source, pattern.factor[0], pattern.shift[0])


def _pixels(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))
