"""The maps that `unveil estimate` finds in calibration frames: files of them, and the YAML that names these."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from unveil.checks.measurements import looked_at
from unveil.cli.screen import say
from unveil.data import ImageSource, save_image
from unveil.data.corrected import Corrected
from unveil.noise import Found, Noise, PoissonGaussian
from unveil.noise.estimate.pixels import FEWEST, PixelMap, pixel_maps

__all__ = ["find_maps", "map_row", "named", "with_maps", "write_maps", "yaml_lines"]


def find_maps(found: Found, darks: Tensor, flats: Tensor | None, source: ImageSource) -> dict[str, PixelMap]:
    """Return the maps, by the parameter's name, that dark frames and flats (n, C, H, W) tell of the images' detector.

    Says why where there is none.
    """
    sizes = {source.shape(i) for i in range(len(source))}
    if sizes != {tuple(darks.shape[1:])} or (flats is not None and flats.shape[1:] != darks.shape[1:]):
        say("no maps: darks, flats and images are not all of one size")
        return {}
    if len(darks) < FEWEST:
        say(f"no maps: {len(darks)} darks tell nothing of single pixels; give {FEWEST} or, better, 20 or more")
    maps = pixel_maps(darks, flats, found.parameters["gain"])
    if flats is not None and len(darks) >= FEWEST and "gain" not in maps:
        say("no map of gain: so few flats do not tell the pixels' gains apart, or they are alike")
    return maps


def with_maps(found: Found, maps: Mapping[str, PixelMap], source: ImageSource) -> tuple[ImageSource, Noise]:
    """Return the images without their detector's pattern, and the noise of what `look` takes of them."""
    stated = found.parameters | {name: one.values.float() for name, one in maps.items()}
    noise = PoissonGaussian(**stated)
    pattern = noise.pattern
    if pattern is not None:
        source = Corrected(source, pattern.factor[0], pattern.shift[0])
    return source, looked_at(noise.corrected, source)


def write_maps(out: Path, maps: Mapping[str, PixelMap]) -> dict[str, Path]:
    """Write out/NAME.tif of each map, float32, and return the files by name."""
    files = {name: out / f"{name}.tif" for name in maps}
    for name, path in files.items():
        save_image(path, maps[name].values)
    return files


def map_row(name: str, found: PixelMap) -> tuple[str, str, float, str]:
    """Return the row of the table on a map: the range of the pixels, and the error of the middle one."""
    row = found.values.flatten().sort().values
    low, high = (float(row[int(share * (len(row) - 1))]) for share in (0.05, 0.95))
    words = {"gain": "gain", "read": "read noise", "offset": "offset"}[name]
    how = "flats" if name == "gain" else "dark frames"
    return f"{words} of pixels", f"{low:.4g} to {high:.4g}", found.error, f"{how}, 5% to 95%; the error is of one pixel"


def yaml_lines(found: Found, files: Mapping[str, Path]) -> str:
    """Return the section of a configuration that states what was found, with the maps in `files`."""
    return "\n".join(["noise:", f"  kind: {found.kind}", *(f"  {name}: {text}" for name, text in named(found, files))])


def named(found: Found, files: Mapping[str, Path]) -> list[tuple[str, str]]:
    """Return each parameter's name and its number, or the file of its map."""
    return [(name, str(files.get(name, f"{value:.6g}"))) for name, value in found.parameters.items()]
