"""unveil init: look at the measurements, and write a configuration that suits them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from unveil.checks import constant_images, copied_channels, look
from unveil.checks.faulty import dead_pixels, saturated_from
from unveil.checks.look import missing
from unveil.checks.measurements import contradicted, findings, looked_at
from unveil.checks.own_scale import own_scale
from unveil.cli.init_example import init_example
from unveil.cli.init_simulated import init_simulated
from unveil.cli.outputs import check_free, keep_inputs, source_files
from unveil.cli.screen import figures, say
from unveil.cli.suit import (
    KINDS,
    check_sizes,
    find_scale,
    scale_line,
    unusual_range,
    with_batch,
    with_crop,
)
from unveil.config import Config, parse_config
from unveil.config_file import override, to_yaml
from unveil.data import ImageSource, atomic_write
from unveil.data.ranges import stored_ranges
from unveil.errors import UnveilError, warn
from unveil.idle import refuse_idle
from unveil.instruments.instrument import load
from unveil.instruments.registry import INSTRUMENTS
from unveil.noise import Found, Noise
from unveil.noise.estimate.channels import dependent_channels
from unveil.operators.base import Operator
from unveil.runs.noise import estimated, find_noise, found_noise, noise_of, recorded
from unveil.runs.signal import with_signal_law
from unveil.training.defaults import PIXELS_A_STEP, settings
from unveil.training.recipes import RECIPES
from unveil.training.setup import instrument, open_measurements, with_gaps
from unveil.words import counted, spanned

__all__ = ["run_init"]


def run_init(what: str, data: str | None, out: Path, sets: Sequence[str], force: bool, sources: bool = False) -> None:
    """Write the configuration `out`.

    what: the data; or the imaging system that measured `data`, and where there is no data, that some are simulated of,
    in a folder beside `out`. sources: simulated ones, as the observation `data` would have seen them.
    """
    if sources:
        if data is None:
            raise UnveilError("--simulate sources: give the observation, unveil init interferometry DATA.uvfits")
        init_simulated(what, data, out, sets, force)
    elif data is None and what in KINDS:
        init_example(what, out, sets, force)
    elif data is None or what in KINDS:
        init_measurements(None if data is None else what, data or what, out, sets, force)
    else:
        raise UnveilError(f"{what} is not an imaging system: choose one of {', '.join(KINDS)}, and then give DATA")


def init_measurements(kind: str | None, data: str, out: Path, sets: Sequence[str], force: bool) -> None:
    """Write the configuration for measurements by the system `kind`; None: by the one that `sets` state, if any."""
    check_free(out, force)
    values, config = described(kind, data, sets)
    known = instrument(config)
    if kind is None and not Path(config.data.path).exists():
        raise UnveilError(
            f"{config.data.path} does not exist: check the path, or give one of the imaging systems {', '.join(KINDS)}"
        )
    source, operator = open_measurements(config)
    keep_inputs(source_files(source, config), [out])
    if known.sees_all:  # the images themselves: other measurements need not look like images, and are not rescaled
        check_sizes(source)
        if config.data.value_range is None and (width := width_of(config, source)) is not None:
            values = override(values, [f"data.value_range=[{width[0]}, {width[1]}]"])
            say(f"values lie between {width[0]} and {width[1]}: data.value_range maps these to [0, 1]")
            source, operator = open_measurements(parse_config(values, data))
        config = with_crop(values, source, "--set")
        check_images(look(source), data)
        if share := missing(source):
            say(f"{share:.2%} of the pixels are blank: they count as missing")
    scale = find_scale(config, source)
    if scale is not None and scale.key not in values["operator"]:
        values = override(values, [f"operator.{scale.key}={scale.value:.2g}"])
        config = parse_config(values, "--set")
        source, operator = open_measurements(config)
        scale = find_scale(config, source)
    if not known.sees_all:
        config = with_batch(values, operator, PIXELS_A_STEP, "--set")
    automatic = config.noise.kind == "auto" and known.sees_all
    found = found_noise(config, source) if automatic else None
    noise = noise_of(find_noise(config, source, operator) if found is None else found.noise, source)
    if known.sees_all:
        config = with_faulty(config, source, noise, out)
    config = with_signal_law(config, values.get("estimator", {}), source, noise, operator)
    for line in contradicted(config.operator.kind, with_gaps(config, source), operator, noise):
        warn(line)
    warning = None if "scales" in values.get("loss", {}) else of_own_scale(config, source, noise)
    if warning is not None:
        config = config.model_copy(update={"loss": config.loss.model_copy(update={"scales": (1,)})})
    text = to_yaml(config, out.parent)
    if scale is not None:
        meaning = type(config.operator).model_fields[scale.key].description or ""
        text = text.replace(f"  # {meaning}", f"  # {scale.comment} {meaning}")
    if found is not None:
        told = in_file_units(found, source)
        text = text.replace("  kind: auto  #", f"  kind: auto  # found in the data: {told};")
    elif estimated(config):
        for key in ("sigma: estimate", "kind: auto"):
            told = str(noise) if noise.fixed_level is None else f"{noise.fixed_level:.4g}"
            text = text.replace(f"  {key}  #", f"  {key}  # found {told} in the data;")
    atomic_write(out, lambda path: path.write_text(text, encoding="utf-8"))
    say(summary(config, source, operator, noise))
    for line in findings(config.operator.kind, source, operator):
        say(line)
    if found is not None and (found.doubt is not None or found.kind != "gaussian"):
        say(f"noise: {told}")
    if any(path.suffix.lower() in (".jpg", ".jpeg") for path in [Path(data), *Path(data).glob("*")]):
        warn(
            "JPEG compression removes noise unevenly: the model of white noise does not hold, and the level is "
            "underestimated; use raw or lossless images if there are any",
        )
    if (unusual := scale_line(config, source, operator, scale)) is not None:
        warn(unusual)
    if warning is not None:
        say(f"{warning}, so loss.scales is [1]; --set loss.scales=[1,2,4] overrides")
    say(f"wrote {out}; next: " + ("" if known.sees_all else f"unveil check {out}, ") + f"unveil train {out}")
    system = config.operator.kind
    figures({"config": str(out), "system": system, "measurements": len(source), "noise": recorded(noise)})


def with_faulty(config: Config, source: ImageSource, noise: Noise, out: Path) -> Config:
    """Return the configuration with what is found of saturated and of dead pixels, which lie in a file beside `out`."""
    found: dict[str, Any] = {}
    ranges = stored_ranges(source)
    if config.data.saturated is None and len(ranges) == 1:
        (low, high), images = ranges.pop(), list(look(source).values())
        top = saturated_from(images, looked_at(noise, source))
        if top is not None:
            found["saturated"] = stored = low + top * (high - low)
            share = sum(int((y >= top).sum()) for y in images) / sum(y.numel() for y in images)
            say(f"{share:.2%} of the pixels are saturated, at {stored:g}: they count as missing (data.saturated)")
    dead = None if config.data.dead else dead_pixels(source, noise)
    if dead is not None:
        path = out.with_name(f"{out.stem}-dead.npy")
        atomic_write(path, lambda file: np.save(file, dead.numpy()))
        found["dead"] = str(path)
        say(f"{int(dead.sum())} pixels stand alone in the same place of all images: they count as missing ({path})")
    return config.model_copy(update={"data": config.data.model_copy(update=found)})


def width_of(config: Config, source: ImageSource) -> tuple[float, float] | None:
    """Return the range of the data's values where it is unusual; from 0 where they seem to be photon counts."""
    width = unusual_range(config, config.noise.from_zero)
    if width is None or config.noise.kind != "auto":
        return width
    try:
        counts = found_noise(config, source).kind in ("poisson", "gamma")
    except UnveilError:  # values that the range of their type does not resolve
        return width
    return unusual_range(config, from_zero=True) if counts else width


def in_file_units(found: Found, source: ImageSource) -> str:
    """Return a line on what was found; parameters that configurations give in the numbers of the files are in these."""
    ranges = stored_ranges(source)
    if found.kind == "gaussian" or len(ranges) > 1:
        return f"{found} on the data's [0, 1] scale"
    low, high = ranges.pop()
    return f"{found.scaled(high - low, low)} in the numbers of the files"


def described(kind: str | None, data: str, sets: Sequence[str]) -> tuple[dict[str, Any], Config]:
    """Return the configuration's values that are known before the data are looked at, and it."""
    if kind is None:
        kind = parse_config(override({"data": {"path": data}}, sets), "--set").operator.kind
    values = override({"data": {"path": data}, "operator": {"kind": kind}, **settings(kind)}, sets)
    complete = INSTRUMENTS[kind].complete
    if complete is not None and isinstance(values["operator"], dict):
        for key, (value, line) in load(complete)(values["operator"], data).items():
            values["operator"][key] = value
            say(line)
    config = parse_config(values, "--set")
    if config.operator.kind != kind:
        raise UnveilError(
            f"--set operator.kind={config.operator.kind}: init was asked for {kind}; leave one of the two out"
        )
    return values, refuse_idle(config, "--set")


def check_images(images: Mapping[str, Tensor], data: str) -> None:
    """Raise UnveilError for images from which nothing can be learned; warn of those among others."""
    constant = constant_images(images)
    names = ", ".join(constant[:3]) + (f" and {len(constant) - 3} more" if len(constant) > 3 else "")
    if len(constant) == len(images):
        raise UnveilError(
            f"{data}: constant images ({names}): there is nothing to learn from one value; give measured ones"
        )
    if constant:
        warn(f"{data}: some images are constant ({names}): leave them out")
    pair = dependent_channels(images.values())
    if pair is not None and pair.copies:
        raise UnveilError(f"{data}: {copied_channels(list(images.values()))}")


def of_own_scale(config: Config, source: ImageSource, noise: Noise) -> str | None:
    """Return why images should not be learned from at several scales; None where they may, or are not to be."""
    if not instrument(config).sees_all:
        return None
    scales = config.loss.scales if RECIPES[config.loss.recipe].scales else (1,)
    return own_scale(source, noise, scales, config.training.crop)


def summary(config: Config, source: ImageSource, operator: Operator, noise: Noise) -> str:
    """Return a line that says what was found."""
    level = noise.fixed_level
    words = f"{recorded(noise)['kind']} noise" if level is None else f"noise level about {level:.4g}"
    if not instrument(config).sees_all:
        return (
            f"{counted(len(source), 'measurement')} by {config.operator.kind}, of shape {source.shape(0)}; images of "
            f"shape {operator.image_shape}; {words}"
        )
    sides = [side for i in range(len(source)) for side in source.shape(i)[1:]]
    return (
        f"{counted(len(source), 'image')}, {counted(source.channels, 'channel')}, sides of "
        f"{spanned(min(sides), max(sides))} pixels; {words}" + ("" if level is None else " on the [0, 1] scale")
    )
