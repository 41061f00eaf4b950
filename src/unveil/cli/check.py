"""unveil check: can this be learned from these measurements? Looked into before an hour is spent on training."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from unveil.checks import Fit
from unveil.checks.look import filled
from unveil.checks.measurements import contradicted, findings, fit_of_images
from unveil.cli.outputs import input_identity, open_results, source_files
from unveil.cli.screen import console, figures, say
from unveil.config import Config
from unveil.config_file import load_config, to_yaml
from unveil.data import ImageSource, atomic_write
from unveil.errors import UnveilError
from unveil.identifiability import Verdict, check_operator, seconds_needed
from unveil.instruments.registry import INSTRUMENTS
from unveil.noise import Noise
from unveil.operators.base import Operator
from unveil.random import make_generator
from unveil.report.identifiability import draw_spectrum
from unveil.runs.noise import find_noise, noise_of, recorded, stated_noise
from unveil.symmetry import make_symmetry
from unveil.training.setup import open_measurements, with_gaps
from unveil.words import counted

__all__ = ["CANNOT", "run_check"]

CANNOT = 4
"""The exit code where measurements cannot be learned from as they are, or are not as they are described."""

FIRST_MEASUREMENTS = 16
"""In which the noise level is looked for."""
LONG = 60.0
"""Seconds, of which one is told beforehand."""


def run_check(config_path: Path, sets: Sequence[str], out: Path | None, force: bool = False) -> Verdict:
    """Print the verdict on a configuration.

    With `out`, write check.json, check.png and config.yaml into that folder.
    """
    config = load_config(config_path, sets)
    source, operator = open_measurements(config)
    if out is not None:
        inputs = source_files(source, config)
        call = {
            "command": "check",
            "config": config.model_dump(mode="json"),
            "data": input_identity(source, inputs),
        }
        open_results(
            out,
            call,
            ["check.json", "check.png", "config.yaml"],
            [*inputs, config_path],
            force=force,
        )
    system, names = config.operator.kind, config.loss.symmetry
    noise = stated_noise(config, source)
    level = None if noise is None else noise.fixed_level
    y = first_measurements(source)
    symmetry = make_symmetry(names) if names else None
    shape = operator.image_shape or tuple(y.shape[1:])
    if operator.unseen:
        seconds = seconds_needed(operator, symmetry, shape, make_generator("cpu", config.seed))
        if seconds > LONG:
            say(f"looking at what the measurements see: {seconds / 60:.0f} minutes or more")
    with console.status("looking at what the measurements see"):
        verdict = check_operator(
            operator,
            symmetry,
            generator=make_generator("cpu", config.seed),
            image_shape=tuple(y.shape[1:]),
            sigma=level,
            y=y,
            noise="gaussian" if noise is None else recorded(noise)["kind"],
        )
    verdict.contradictions = contradicted(system, with_gaps(config, source), operator, noise)
    fit = noise_verdict(config, with_gaps(config, source), operator, noise)
    if fit is not None and fit.verdict == "does not fit" and not verdict.contradictions:
        verdict.contradictions = [str(fit)]
    say(f"{system}, {counted(len(source), 'measurement')}; symmetries: {', '.join(names) or 'none'}")
    for line in verdict_lines(verdict):
        say(line)
    if fit is not None and fit.verdict != "does not fit":
        say(f"  {fit}")
    for line in findings(system, source, operator):
        say(f"  {line}")
    record = {"operator": system, "symmetry": list(names), **verdict.figures()}
    record["fit"] = None if fit is None else asdict(fit)
    figures(record)
    if out is None:
        return verdict
    text = json.dumps(record, indent=1) + "\n"
    atomic_write(out / "check.json", lambda path: path.write_text(text, encoding="utf-8"))
    atomic_write(out / "config.yaml", lambda path: path.write_text(to_yaml(config, out), encoding="utf-8"))
    if verdict.seen is not None:
        picture = draw_spectrum(verdict.seen)
        atomic_write(out / "check.png", lambda path: path.write_bytes(picture))
    say(f"open {out / 'check.png'}")
    return verdict


def noise_verdict(config: Config, source: ImageSource, operator: Operator, noise: Noise | None) -> Fit | None:
    """Return whether the noise fits images, as stated or else as it is found in them; None of other measurements."""
    if not INSTRUMENTS[config.operator.kind].sees_all:
        return None
    try:
        return fit_of_images(source, noise or noise_of(find_noise(config, source, operator), source))
    except UnveilError as error:  # no noise is found
        return Fit("cannot be told", str(error))


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return the verdict, a line for each reason and each thing to change."""
    lines = ["can be learned" if verdict.learnable else "cannot be learned as it is"]
    if verdict.contradictions:
        lines[0] += ", were all that is said of the data right; but they contradict it:"
    lines += [f"  {line}" for line in (*verdict.contradictions, *verdict.reasons)]
    if verdict.sigma_found is not None:
        lines.append(f"  noise level found in the data: {verdict.sigma_found:.4g}")
    return lines + [f"  to do: {change}" for change in verdict.what_to_change]


def first_measurements(source: ImageSource) -> Tensor:
    """Return the first measurements (B, C, H, W); of different sizes, as much of their middles as all have."""
    shapes = [source.shape(i) for i in range(min(FIRST_MEASUREMENTS, len(source)))]
    height, width = (min(shape[axis] for shape in shapes) for axis in (1, 2))
    windows = [((shape[1] - height) // 2, (shape[2] - width) // 2, height, width) for shape in shapes]
    return torch.stack([filled(source.read(i, window)) for i, window in enumerate(windows)])
