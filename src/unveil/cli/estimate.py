"""unveil estimate: the noise of images, its parameters with standard errors, and how each was found."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from unveil.checks import Fit, look, noise_fit, outliers
from unveil.cli.estimate_maps import find_maps, map_row, named, with_maps, write_maps, yaml_lines
from unveil.cli.outputs import check_free, keep_inputs
from unveil.cli.screen import console, figures, say
from unveil.cli.suit import unusual_range
from unveil.config import Config, parse_config
from unveil.config_file import override
from unveil.data import ImageSource, atomic_write, open_images
from unveil.data.ranges import stored_ranges
from unveil.errors import UnveilError, warn
from unveil.noise import Found
from unveil.noise.estimate.calibrated import calibrated, camera
from unveil.noise.estimate.choose import WORDS
from unveil.noise.estimate.frames import Darks, dark_frames
from unveil.report.transfer import draw_transfer
from unveil.runs.correlated import read_covariance
from unveil.runs.noise import found_noise
from unveil.training.setup import open_source

__all__ = ["run_estimate"]

FRAMES = 64
"""Of calibration, at most."""
HOW = {
    "background": "the darkest flat blocks, taken for a background without light",
    "zero": "taken for 0, which fits",
    "electron": "assumed: read noise of one photon",
    "darks": "dark frames",
}

Row = tuple[str, float | int | str, float | None, str]
"""A quantity, its value, its standard error, and how it was found."""


def run_estimate(
    data: str,
    darks: str | None,
    flats: str | None,
    scan: str | None,
    out: Path | None,
    sets: Sequence[str],
    force: bool,
) -> None:
    """Print a table of what was found, in the units of the files; with `out`, write estimate.json and transfer.png."""
    for text in sets:
        if not text.startswith("data."):
            raise UnveilError(f"--set {text}: only data.* can be set here, which says how DATA is read")
    stated = override({"data": {"path": data}}, sets)
    config = parse_config(override(stated, ["data.value_range=[0, 1]"]), "--set")
    source = open_source(config)
    inputs = source.files()
    targets = [] if out is None else [out / name for name in ("estimate.json", "transfer.png")]
    targets += [] if out is None or darks is None else [out / f"{name}.tif" for name in ("gain", "read", "offset")]
    keep_inputs(inputs, targets)
    for target in targets:
        check_free(target, force)
    if scan is not None:
        say_scan(scan, source, None if out is None else targets[0])
        return
    images = look(source)
    dark_stack = None if darks is None else frames(darks, "--darks")
    dark = None if dark_stack is None else dark_frames(dark_stack)
    even = None if flats is None else frames(flats, "--flats")
    try:
        found = found_noise(config, source)
    except UnveilError:  # of images too small or saturated; darks and flats tell all by themselves
        if dark is None or even is None:
            raise
        found = camera(dark, even)
    else:
        found = found if dark is None and even is None else calibrated(found, dark, even)
    by = "blocks of the images" if even is None else "repeated flats, pixel by pixel"
    maps = {} if dark_stack is None else find_maps(found, dark_stack, even, source)
    if maps:
        source, noise = with_maps(found, maps, source)
        images = look(source)
    else:
        noise = found.noise.find(images.values(), [*images])
    fit = noise_fit(list(images.values()), noise)
    rows = [*parameter_rows(found, by), *fit_rows(fit, list(images.values())), *dark_rows(dark)]
    rows += [map_row(name, one) for name, one in maps.items()]
    console.print(table(found.kind, rows))
    say(f"noise: {found}")
    say(str(fit))
    files: dict[str, Path] = {}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record(found, rows, fit), indent=1) + "\n"
        picture = draw_transfer(found, "numbers in the files")
        atomic_write(targets[0], lambda path: path.write_text(text, encoding="utf-8"))
        atomic_write(targets[1], lambda path: path.write_bytes(picture))
        files = write_maps(out, maps)
        say(f"wrote {out}; look at {targets[1]}")
        if files:
            say(yaml_lines(found, files))
    elif maps:
        say(f"--out DIR writes maps of {', '.join(maps)}, pixel by pixel, which serve better than one number of each")
    say(options(found, stated, source, files))
    figures(record(found, rows, fit))


def frames(path: str, option: str) -> Tensor:
    """Return the frames (n, C, H, W) at `path`, in the numbers of the files.

    Raises UnveilError where they are not of one size.
    """
    source = open_images(path, value_range=(0.0, 1.0))
    if len({source.shape(i) for i in range(len(source))}) > 1:
        raise UnveilError(f"{option} {path}: the frames differ in size; give those of one detector")
    if len(source) > FRAMES:
        warn(f"{option} {path}: the first {FRAMES} of {len(source)} frames are used")
    return torch.stack([source.whole().read(i) for i in range(min(FRAMES, len(source)))])


def parameter_rows(found: Found, by: str) -> list[Row]:
    """Return a row for each parameter of the family."""
    how = {"gain": by, "sigma": "flat blocks of the images"}
    if found.kind == "poisson":
        how["gain"] = "the step between values, with which the variance agrees"
    if found.assumed is not None:
        how["offset"] = HOW[found.assumed]
        how["read"] = HOW["darks"] if found.assumed == "darks" else "the variance found at that offset"
    rows: list[Row] = [
        (WORDS[name], value, found.errors[name], how.get(name, by)) for name, value in found.parameters.items()
    ]
    if found.each is not None and found.gains is not None:
        low, high, error = found.gains
        rows.append(("gain of single images", f"{low:.4g} to {high:.4g}", None, f"{by}; each to {error:.0%}"))
        rows.append(("read noise, photons", found.each.electrons, None, "the darkest flat blocks"))
    if found.bounds is not None:
        low, high = found.bounds
        told_by = "zero of the line; darkest flat blocks" if found.line is not None else "how the noise is skewed"
        rows.append(("offset, bounds", f"{low:.4g} to {high:.4g}", None, told_by))
    return rows


def fit_rows(fit: Fit, images: list[Tensor]) -> list[Row]:
    """Return rows on correlation, hot and saturated pixels."""
    rows: list[Row] = []
    if "white" in fit.figures:
        log, error = fit.figures["white"]
        rows.append(("middle / high frequencies", math.exp(log), math.exp(log) * error, "quiet blocks; 1: white"))
        blur = blur_of(log) if log > 2 * error else 0.0
        rows.append(("correlation length", blur, None, "pixels: the Gaussian blur of white noise that does this"))
    if "stripes" in fit.figures:
        log, error = fit.figures["stripes"]
        rows.append(("down / across", math.exp(log), math.exp(log) * error, "quiet blocks; 1: no stripes"))
    hot, total = sum(int(outliers(image).sum()) for image in images), sum(image.numel() for image in images)
    rows.append(("hot pixels", hot, None, f"of {total} values, far outside of all others"))
    top = max(float(image.max()) for image in images)
    piled = sum(int((image == top).sum()) for image in images)
    rows.append(("saturated pixels", piled if piled > 1e-4 * total else 0, None, f"at the greatest value, {top:.5g}"))
    return rows


def blur_of(log: float) -> float:
    """Return the deviation s, in pixels, of the blur that makes white noise exp(log) times weaker in HIGH than in MID.

    Power falls as exp(-4 pi^2 s^2 k^2), and their mean k^2 is .156 and .263 squared cycles per pixel.
    """
    return math.sqrt(max(log, 0.0) / (4 * math.pi**2 * SQUARES_APART))


SQUARES_APART = 0.263 - 0.156


def dark_rows(dark: Darks | None) -> list[Row]:
    """Return a row on what dark frames tell of hot pixels."""
    if dark is None:
        return []
    return [("hot pixels, darks", int(dark.hot.sum()), None, f"of {dark.hot.numel()}, offset or read noise far off")]


def say_scan(path: str, source: ImageSource, target: Path | None) -> None:
    """Print what a noise scan tells of the channels of the data, or coils, and the options that state it.

    Raises UnveilError where it has another number of channels than the data.
    """
    covariance = read_covariance(path, "--noise-scan")
    if len(covariance) != source.channels:
        raise UnveilError(
            f"--noise-scan {path}: it is of {len(covariance)} channels and the data have {source.channels} (a complex "
            "one counts as two): give a scan of the same channels"
        )
    level = np.sqrt(np.diag(covariance))
    rows: list[Row] = [
        ("level", float(np.sqrt(np.square(level).mean())), None, "noise scan, root of the mean variance"),
        ("level of channels", f"{level.min():.4g} to {level.max():.4g}", None, "noise scan"),
    ]
    if len(level) > 1:
        correlation = covariance / level / level[:, None]
        np.fill_diagonal(correlation, 0)
        i, j = divmod(int(np.abs(correlation).argmax()), len(level))
        rows.append((f"correlation of {i} and {j}", float(correlation[i, j]), None, "noise scan, the largest"))
    console.print(table("correlated", rows))
    values = {"kind": "correlated", "covariance": covariance.tolist(), "rows": as_records(rows)}
    figures(values)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(values, indent=1) + "\n"
        atomic_write(target, lambda partial: partial.write_text(text, encoding="utf-8"))
        say(f"wrote {target}")
    say(f"--set noise.kind=correlated --set noise.covariance={path}")


def table(kind: str, rows: Sequence[Row]) -> Table:
    """Make a table of what was found."""
    shown = Table(title=f"noise: {kind}, in the numbers of the files", title_justify="left")
    for heading in ("", "value", "standard error", "found from"):
        shown.add_column(heading, justify="right" if "a" in heading[:5] else "left")
    for name, value, error, how in rows:
        text = value if isinstance(value, str) else str(value) if isinstance(value, int) else f"{value:.4g}"
        shown.add_row(name, text, "" if error is None else f"{error:.2g}", how)
    return shown


def record(found: Found, rows: Sequence[Row], fit: Fit) -> dict[str, Any]:
    """Return all that was found, for JSON."""
    return {
        "kind": found.kind,
        "parameters": found.parameters,
        "errors": found.errors,
        "why": found.why,
        "doubt": found.doubt,
        "offset_bounds": found.bounds,
        "offset_assumed": found.assumed,
        "per_image": found.each is not None,
        "verdict": fit.verdict,
        "reason": fit.reason,
        "rows": as_records(rows),
        "curve": {name: part.tolist() for name, part in zip(("mean", "variance", "error"), found.curve)},
    }


def as_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows for JSON."""
    return [{"name": name, "value": value, "error": error, "found_from": how} for name, value, error, how in rows]


def options(found: Found, stated: dict[str, Any], source: ImageSource, files: Mapping[str, Path]) -> str:
    """Return the line of options that states what was found, to init and train; files: of the maps."""
    if found.each is not None:
        return "--set noise.kind=auto"
    if "covariance" in found.shape:
        covariance = (found.parameters["sigma"] ** 2 * found.shape["covariance"]).tolist()
        rows = ",".join("[" + ",".join(f"{value:.4g}" for value in row) + "]" for row in covariance)
        return f"--set noise.kind=correlated --set noise.covariance=[{rows}]"
    if found.kind == "correlated":
        return "--set noise.kind=correlated --set noise.kernel=estimate"
    if found.kind != "gaussian":
        keys = " ".join(f"--set noise.{name}={shlex.quote(text)}" for name, text in named(found, files))
        return f"--set noise.kind={found.kind} {keys}"
    stated["data"].pop("value_range")
    config: Config = parse_config(stated, "--set")
    width = unusual_range(config, from_zero=False)
    ((low, high),) = [width] if width is not None else stored_ranges(open_source(config))
    ranged = "" if width is None else f"--set data.value_range=[{low},{high}] "
    return f"{ranged}--set noise.kind=gaussian --set noise.sigma={found.parameters['sigma'] / (high - low):.4g}"
