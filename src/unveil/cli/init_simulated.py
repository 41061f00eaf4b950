"""unveil init interferometry OBSERVATION --simulate sources: what such sources would have looked like to it."""

from collections.abc import Sequence
from pathlib import Path

from unveil.cli.init_example import EXAMPLE_PIXELS, write_example
from unveil.cli.outputs import check_free, keep_inputs
from unveil.cli.screen import figures, say
from unveil.cli.suit import with_batch
from unveil.config import parse_config
from unveil.config_file import override, to_yaml
from unveil.data import atomic_write
from unveil.errors import UnveilError, warn
from unveil.idle import refuse_idle
from unveil.instruments.example import HELDOUT, Example
from unveil.random import make_generator
from unveil.training.defaults import settings
from unveil.words import counted

__all__ = ["init_simulated"]

PIXELS = 32
SOURCES = 1500
STEPS = 1000


def init_simulated(kind: str, data: str, out: Path, sets: Sequence[str], force: bool) -> None:
    """Write simulated visibilities at an observation's coverage and noise, and the configuration that trains on them.

    They go into a folder beside `out`, with the observation averaged over scans, observation.uvfits.
    """
    if kind != "interferometry":
        raise UnveilError(f"--simulate sources: of interferometry alone, not {kind}; leave it out")
    from unveil.instruments.interferometry import InterferometrySection
    from unveil.instruments.interferometry.example import DIAMETERS
    from unveil.instruments.interferometry.operator import interferometry
    from unveil.instruments.interferometry.simulated import (
        COMPACT,
        SYSTEMATIC,
        read_observation,
        simulate,
        without_closures,
    )
    from unveil.instruments.interferometry.uvfits_write import write_uvfits

    folder = out.with_name(f"{out.stem}-sources")
    check_free(out, force)
    check_free(folder, force)
    file = folder / "observation.uvfits"
    keep_inputs([Path(data)], [file, out])
    base = {"data": {"path": data}, "operator": {"kind": kind, "pixels": PIXELS, "uvfits": data}}
    asked = override(base, sets)["operator"]
    given = "field_of_view" in asked
    stated = parse_config({**base, "operator": {"field_of_view": 1.0, **asked}}, "--set").operator
    assert isinstance(stated, InterferometrySection)
    seen = read_observation(data, stated.field_of_view if given else None)
    x, brightness = simulate(seen, stated.pixels, SOURCES + HELDOUT, make_generator("cpu", 1))
    operator = interferometry(seen.coverage, stated.pixels, seen.field_of_view, brightness)
    section = {"field_of_view": seen.field_of_view, "brightness": brightness, "uvfits": str(file)}
    values = {
        "data": {"path": str(folder / "measurements.npy")},
        "operator": {"kind": kind, "pixels": PIXELS},
        "noise": {"sigma": operator.sigma},
        **settings(kind),
        "training": {"steps": STEPS, "warmup": 50, "ema": 0.99},
    }
    values = override(values, sets)
    values["operator"] |= section
    config = with_batch(values, operator, EXAMPLE_PIXELS, "--set")
    refuse_idle(config, "--set")
    write_example(folder, Example(x, operator, operator.sigma, section, "sources"))
    write_uvfits(file, seen.coverage, seen.visibilities, data)
    low, high = (round(share * seen.field_of_view, 1) for share in DIAMETERS)
    about = (
        f"{SOURCES} rings, crescents and discs, {low} to {high} microarcseconds across, of "
        f"{COMPACT[0] * seen.flux:.2f} to {COMPACT[1] * seen.flux:.2f} jansky"
    )
    text = f"""\
# SIMULATED SOURCES: {about}
# (the shortest baselines have {seen.flux:.2f}), as seen in
#   {data}
# at its points (u, v), averaged over scans, and with its noise and {SYSTEMATIC:.0%} of each visibility, for what no
# station's gain explains. They are the prior of the image: what is unlike them is not found. Gains are not simulated:
# calibrate takes them out of observations.
#   unveil train {out}
#   unveil calibrate runs/{out.stem} {data} --out {out.stem}-calibrated.uvfits
#   unveil evaluate runs/{out.stem} {folder / "heldout.npy"} --reference {folder / "heldout_reference.npy"}

"""
    text += to_yaml(config, out.parent)
    atomic_write(out, lambda path: path.write_text(text, encoding="utf-8"))
    visibilities = counted(len(seen.coverage), "visibility", "visibilities")
    say(f"{data}: {visibilities}, averaged over scans, of {counted(len(set(seen.coverage.pairs)), 'pair')}")
    if (line := without_closures(seen)) is not None:
        warn(f"{data}: {line}")
    say(f"simulated {about}: {folder}")
    say(f"wrote {out}; next: unveil train {out}, then unveil calibrate runs/{out.stem} {data}")
    noise = {"kind": "gaussian", "sigma": operator.sigma}
    figures({"config": str(out), "system": kind, "measurements": SOURCES, "noise": noise})
