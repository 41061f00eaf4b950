"""What a run supposes: what was declared, what was found in the data, and what `unveil check` says of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from unveil.errors import UnveilError
from unveil.records import read_record
from unveil.report.record import own_file
from unveil.runs import Run
from unveil.runs.noise import recorded
from unveil.training.setup import instrument

__all__ = ["CHECK", "Check", "Fact", "facts", "read_check"]

CHECK = "check"
"""The folder in a run's, where `unveil check --out` puts what it finds so that the page shows it."""
IN_PHOTONS = {"electrons": "read noise, in photons", "dark": "mean in the dark, in photons"}
"""Of noise whose parameters each image tells: what all have in common."""
RELATIVE = {name: f"noise, {name}, without unit" for name in ("kernel", "rows", "columns", "covariance")}
"""Of correlated noise: shares, and what is of mean variance 1 beside its sigma."""
STATED, FOUND, ASSUMED = "declared", "found in the data", "assumed"


@dataclass(frozen=True)
class Fact:
    """what: a quantity in words. source: declared, found in the data, or assumed."""

    what: str
    value: str
    source: str


class Check(BaseModel):
    """What of check.json is shown."""

    learnable: bool
    contradictions: list[str] = []
    reasons: list[str] = []
    what_to_change: list[str] = []


def facts(run: Run) -> list[Fact]:
    """Return all that the figures of a run rest on; parameters of the noise on the data's [0, 1] scale."""
    config, noise = run.config, recorded(run.noise)
    given = config.noise.model_dump()
    kind = STATED if given["kind"] == noise["kind"] else FOUND
    found = [Fact("family of the noise", str(noise["kind"]), kind)]
    for key, value in noise.items():
        if key not in ("kind", "per_image"):
            known = given.get(key) not in (None, "estimate") or (key == "sigma" and given.get("covariance") is not None)
            what = RELATIVE.get(key) or IN_PHOTONS.get(key, f"noise, {key}, on the [0, 1] scale")
            found.append(Fact(what, _shown(value), STATED if known else FOUND))
    if noise.get("per_image"):
        found.append(Fact("parameters of the noise", "each image's own", FOUND))
    found.append(Fact("instrument", config.operator.kind, STATED))
    for key, value in config.operator.model_dump().items():
        if key != "kind" and value is not None:
            found.append(Fact(f"instrument, {key}", _shown(value), FOUND if value == "estimate" else STATED))
    limits = config.data.value_range
    found.append(Fact("numbers read as 0 and 1", "by their type" if limits is None else _shown(limits), STATED))
    if instrument(config).sees_all:
        scales = ", ".join(map(str, run.scales))
        found.append(Fact("images look alike at the scales", scales, ASSUMED))
    else:
        found.append(Fact("images may be moved by", ", ".join(config.loss.symmetry) or "nothing", ASSUMED))
    try:
        how = FOUND if isinstance(config.sampling.inflation, str) else STATED
        found.append(Fact("inflation of the samples", f"{run.inflation:.3g}", how))
    except UnveilError:  # no sampler was fitted
        pass
    return found


def read_check(folder: Path) -> Check | None:
    """Return what `unveil check` found, in RUN/check; None where it is not there, or elsewhere by a link.

    Raises UnveilError for a damaged file.
    """
    if own_file(folder, f"{CHECK}/check.json") is None:
        return None
    path = folder / CHECK / "check.json"
    return read_record(path, Check, f"run unveil check {folder / 'config.yaml'} --out {path.parent} --force again")


def _shown(value: Any) -> str:
    """Return a value in a few words."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and isinstance(value[0], list):
        return f"{len(value)} x {len(value[0])} numbers, in run.json"
    if isinstance(value, (list, tuple)):
        text = ", ".join(_shown(part) for part in value[:9])
        return f"[{text}{', …' if len(value) > 9 else ''}]"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(part)}" for key, part in value.items() if part is not None)
    return str(value)
