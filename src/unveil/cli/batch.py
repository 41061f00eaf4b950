"""One image after the other, and one file for each file: what denoise, reconstruct, sample and whiten have in common.

The result of each image is kept, whole, until its file can be put together; so the same call goes on where it was
stopped, and no more than one image is in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unveil.cli.failures import Failures
from unveil.cli.outputs import Results
from unveil.data import ImageSource, atomic_write, save_image
from unveil.data.like import Target, as_type, write_like
from unveil.data.made import Made
from unveil.errors import UnveilError
from unveil.report.look import intensities, window_of

__all__ = ["Layer", "file_names", "layer_file", "process"]


@dataclass(frozen=True)
class Layer:
    """One of the results of an image: the only one, or of many the one called `name`.

    spread: a deviation, which has the data's units but not their zero, and is no picture.
    """

    name: str = ""
    spread: bool = False


def file_names(source: ImageSource, targets: Sequence[Target], layers: Sequence[Layer], pictures: bool) -> list[str]:
    """Return the names of all files that `process` writes."""
    return [name for target in targets for name in _names(source, target, layers, pictures)]


def process(
    source: ImageSource,
    targets: Sequence[Target],
    layers: Sequence[Layer],
    results: Results,
    compute: Callable[[int], Tensor],
    failures: Failures,
    advance: Callable[[int], object],
    *,
    pictures: bool,
    dtype: np.dtype | None,
) -> tuple[int, int]:
    """Write the results of all images that are not there yet; return (images done, values clipped).

    compute: of image i on the [0, 1] scale, (layers, C, H, W) on the CPU. An UnveilError of one image is noted in
    `failures`, and the others go on. advance: told of image i when it is done. pictures: a PNG for each image and
    layer.
    dtype: of the files; None: that of each input.
    """
    done, clipped = 0, 0
    for target in targets:
        if results.has(_names(source, target, layers, pictures)):
            done += len(target.images)
            advance(target.images[-1])
            continue
        kept = []
        for i in target.images:
            if not results.part(i).is_file() and (x := _result(source, compute, i, failures)) is not None:
                _keep(results.part(i), x)
            if results.part(i).is_file():
                kept.append(i)
            advance(i)
        done += len(kept)
        shown = [k for k, layer in enumerate(layers) if pictures and not layer.spread]
        window = _window(torch.from_numpy(_part(results, i)[shown]).mean(0) for i in kept if shown)
        for k, layer in enumerate(layers):
            for i in kept if k in shown else ():
                picture = results.path(_picture(source, target, layer, i))
                save_image(picture, intensities(torch.from_numpy(_part(results, i)[k])), window)
            clipped += _put_together(source, target, layer, k, kept, results, dtype)
        for i in kept:
            results.part(i).unlink()
    results.end()
    return done, clipped


def _window(images: Iterable[Tensor]) -> tuple[float, float]:
    """Return the values that are black and white in the pictures of a file: a window that shows each image (C, H, W).

    Dim frames beside bright ones stay dim; files that are dim as a whole are seen.
    """
    windows = [window_of(x) for x in images] or [(0.0, 1.0)]
    return min(low for low, _ in windows), max(high for _, high in windows)


def _result(source: ImageSource, compute: Callable[[int], Tensor], i: int, failures: Failures) -> Tensor | None:
    """Return the result of image i; None, and a note in `failures`, where there is none."""
    try:
        x = compute(i)
    except UnveilError as error:
        failures.add(error)
        return None
    if x.isfinite().all():
        return x
    failures.add(
        UnveilError(
            f"{source.where(i)}: its estimate contains NaN or infinite values, and is not written; compare the image's "
            "values with those the run was trained on"
        )
    )
    return None


def _put_together(
    source: ImageSource, target: Target, layer: Layer, k: int, kept: list[int], results: Results, dtype: np.dtype | None
) -> int:
    """Write a file of layer number k, from what was kept of its images; return how many values were clipped."""
    clipped = 0

    def values(i: int) -> np.ndarray:
        nonlocal clipped
        origin = source.origin(i)
        low, high = (0.0, 1.0) if origin is None else origin.value_range
        x = _part(results, i)[k]
        wide = x if kind == np.float32 else x.astype(np.float64)
        scaled = (high - low) * wide if layer.spread else low + (high - low) * wide
        if origin is not None and origin.scale is not None and kind.kind in "iu":
            scaled = (scaled - origin.scale[1]) / origin.scale[0]
        out, outside = as_type(scaled, kind)
        clipped += outside
        return out

    origin = source.origin(target.images[0])
    kind = dtype or (np.dtype(np.float32) if origin is None else _real(origin.dtype))
    if len(kept) == len(target.images):
        shapes = [_part(results, i)[k].shape for i in kept]
        path = results.path(layer_file(target, layer))
        made = Made(str(results.call.get("command", "")), layer.name, results.digest())
        write_like(path, target, shapes, (values(i) for i in kept), kind, made)
        if target.is_stack:
            results.remove(_single(source, target, layer, i) for i in kept)
    else:  # a file with a hole is no file of images: each of the others for itself
        results.announce(_single(source, target, layer, i) for i in kept)
        for i in kept:
            alone = Target(target.stem, ".tif", (i,), None)
            value = values(i)
            write_like(results.path(_single(source, target, layer, i)), alone, [value.shape], iter([value]), kind)
    return clipped


def _keep(path: Path, x: Tensor) -> None:
    path.parent.mkdir(exist_ok=True)
    values = x.detach().to("cpu", torch.float32).numpy()
    atomic_write(path, lambda temporary: np.save(temporary, values))


def _part(results: Results, i: int) -> np.ndarray:
    """Return what was kept of image i, (layers, C, H, W), float32; a map of the file."""
    kept: np.ndarray = np.load(results.part(i), mmap_mode="c")
    return kept


def _real(dtype: np.dtype) -> np.dtype:
    """Return the type of a result: real, whatever the byte order and kind of its input."""
    if dtype.kind == "c":
        return np.dtype(f"f{dtype.itemsize // 2}")
    return dtype.newbyteorder("=")


def _names(source: ImageSource, target: Target, layers: Sequence[Layer], pictures: bool) -> Iterator[str]:
    for layer in layers:
        yield layer_file(target, layer)
        if pictures and not layer.spread:
            yield from (_picture(source, target, layer, i) for i in target.images)


def layer_file(target: Target, layer: Layer) -> str:
    """Return the name of the file of a layer."""
    return f"{target.stem}/{layer.name}{target.suffix}" if layer.name else f"{target.stem}{target.suffix}"


def _single(source: ImageSource, target: Target, layer: Layer, i: int) -> str:
    return _base(source, target, layer, i) + ".tif"


def _picture(source: ImageSource, target: Target, layer: Layer, i: int) -> str:
    return _base(source, target, layer, i) + ".png"


def _base(source: ImageSource, target: Target, layer: Layer, i: int) -> str:
    """Return the name of image i's own result."""
    if not layer.name:
        return source.name(i)
    number = f"_{i - target.images[0]:04d}" if target.is_stack else ""
    return f"{target.stem}/{layer.name}{number}"
