"""unveil init: look at the data, and write a configuration that suits them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from unveil.cli.init_system import KINDS, check_free, init_measurements
from unveil.cli.screen import say
from unveil.config import Config, override, parse_config, to_yaml
from unveil.data import ImageSource, Window, atomic_write
from unveil.errors import UnveilError, warn
from unveil.identify import scale_invariance
from unveil.noise import estimate_common_sigma
from unveil.risks import Dilate
from unveil.training.recipes import make_risk
from unveil.training.setup import open_source

__all__ = ["run_init"]

FIRST_IMAGES = 16
"""How many images are looked at."""
IMAGES_FOR_SCALE = 32
WINDOW_FOR_SCALE = 512
"""How many images the check of scale reads, spread over all, and the side of the window in the middle of each, pixels."""


def run_init(data: str, out: Path, sets: Sequence[str], force: bool) -> None:
    check_free(out, force)
    values = override({"data": {"path": data}}, sets)
    config = parse_config(values, "--set")
    if config.system.kind != "identity":  # its measurements need not look like images: they are not rescaled
        init_measurements(config.system.kind, data, out, sets, force)
        return
    if not Path(config.data.path).exists():
        raise UnveilError(
            f"{config.data.path} does not exist: check the path, or give one of the imaging systems {', '.join(KINDS)}"
        )
    if config.data.value_range is None and (found := unusual_range(config)) is not None:
        config = parse_config(override(values, [f"data.value_range=[{found[0]:.4g}, {found[1]:.4g}]"]), data)
        say(f"values lie between {found[0]:.4g} and {found[1]:.4g}: data.value_range maps these to [0, 1]")
    source = open_source(config)
    shapes = [source.shape(i) for i in range(len(source))]
    smallest = min(min(shape[1:]) for shape in shapes)
    if "crop" not in values.get("training", {}) and smallest < config.training.crop:
        config = parse_config(override(values, [f"training.crop={smallest // 4 * 4}"]), data)
    sigma = estimate_common_sigma(source.read(i) for i in range(min(FIRST_IMAGES, len(source))))
    warning = None
    if "dilation" not in values.get("risk", {}) and (warning := own_scale(config, source, smallest, sigma)) is not None:
        config = parse_config(override(values, ["risk.dilation=[1]"]), data)
    text = to_yaml(config, out.parent)
    text = text.replace("  sigma: estimate  #", f"  sigma: estimate  # found {sigma:.4g} in the first images;")
    atomic_write(out, lambda path: path.write_text(text, encoding="utf-8"))
    largest = max(max(shape[1:]) for shape in shapes)
    say(
        f"{len(source)} images, {source.channels} channel(s), sides from {smallest} to {largest} pixels; "
        f"noise level about {sigma:.4g} on the [0, 1] scale",
    )
    if any(path.suffix.lower() in (".jpg", ".jpeg") for path in [Path(data), *Path(data).glob("*")]):
        warn(
            "JPEG compression removes noise unevenly: the model of white noise does not hold, and the level is "
            "underestimated; use raw or lossless images if there are any",
        )
    if warning is not None:
        say(f"{warning}, so risk.dilation is [1]; --set risk.dilation=[1,2,4] overrides")
    say(f"wrote {out}; next: unveil train {out}")


def own_scale(config: Config, source: ImageSource, smallest: int, sigma: float) -> str | None:
    """Why these images should not be dilated; None where they may be, or where the configuration would not anyway.

    smallest: the shortest side of an image, pixels. sigma: the level found in them, if the configuration states none.
    """
    risk = make_risk(config.risk)
    if not isinstance(risk, Dilate) or not any(1 < k <= smallest / config.training.crop for k in risk.factors):
        return None
    chosen = range(0, len(source), -(-len(source) // IMAGES_FOR_SCALE))
    stated = config.noise.sigma
    check = scale_invariance(
        (source.read(i, middle(source.shape(i))) for i in chosen), sigma if isinstance(stated, str) else stated
    )
    return check.explanation if check.verdict == "own scale" else None


def middle(shape: tuple[int, int, int]) -> Window:
    """The window of at most WINDOW_FOR_SCALE pixels a side in the middle of an image (C, H, W)."""
    height, width = (min(side, WINDOW_FOR_SCALE) for side in shape[1:])
    return (shape[1] - height) // 2, (shape[2] - width) // 2, height, width


def unusual_range(config: Config) -> tuple[float, float] | None:
    """The range of the data's values, in their own units, where [0, 1] or the range of their type would not show them."""
    low, high = quantiles(open_source(config))
    if low > -0.5 and high < 1.5 and high - low > 0.25:
        return None
    raw = config.model_copy(update={"data": config.data.model_copy(update={"value_range": (0.0, 1.0)})})
    low, high = quantiles(open_source(raw))
    return (low, high) if low < high else None


def quantiles(source: ImageSource) -> tuple[float, float]:
    """The 0.1% and 99.9% quantiles of the first images' values."""
    images = [source.read(i).flatten() for i in range(min(FIRST_IMAGES, len(source)))]
    values = torch.cat([image[:: max(1, len(image) // 100_000)] for image in images]).double().numpy()
    low, high = np.quantile(values, [0.001, 0.999])
    return float(low), float(high)
