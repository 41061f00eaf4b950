"""A configuration as a YAML file: read with overrides, and written with each key's meaning beside it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from unveil.config import Config, parse_config
from unveil.errors import UnveilError, warn
from unveil.idle import idle_keys, refuse_idle
from unveil.paths import from_folder, moved, to_folder
from unveil.renamed import present_name
from unveil.sections import Section
from unveil.yamls import MOST_BYTES, read_yaml

__all__ = ["load_config", "located", "override", "read_config", "to_yaml"]


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration in the YAML file `path`, with `key.subkey=value` overrides (values in YAML).

    Paths in the file are relative to its folder, and those in overrides to the working directory.
    Raises UnveilError when the file is missing or not YAML, or a key or value is wrong, or does nothing.
    """
    return refuse_idle(read_config(path, overrides), str(path))


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration as `load_config` does, whatever keys of it do nothing: that of a run that was begun."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnveilError(f"{path}: is not text (UTF-8); {MEND}") from None
    except (OSError, ValueError) as error:
        raise UnveilError(f"{path}: {getattr(error, 'strerror', None) or error}; make one with unveil init") from None
    values = read_yaml(text, str(path), MEND)
    if not isinstance(values, dict):
        raise UnveilError(f"{path}: must be a mapping of keys to values; start from unveil init")
    return parse_config(override(moved(values, Config, from_folder(path.parent)), overrides), str(path))


MEND = "mend it, or start anew with unveil init"


def override(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `values` with each `key.subkey=value` put in its place.

    What init found for another form of the estimator than is chosen goes. Raises UnveilError when one is not of this
    form.
    """
    stated = {text.partition("=")[0] for text in overrides}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UnveilError(f"--set {text}: write key=value, e.g. --set training.steps=500")
        if (now := present_name(key)) != key:
            warn(f"--set {text}: {key} is called {now} since configuration version 2")
        *sections, name = now.split(".")
        place = values
        for depth, section in enumerate(sections, 1):
            if place.get(section) is None:
                place[section] = {}
            place = place[section]
            if not isinstance(place, dict):
                raise UnveilError(f"--set {text}: {'.'.join(sections[:depth])} has a value, not keys; leave one out")
        if sections == ["noise"] and name != "kind" and place.get("kind") == "auto":
            del place["kind"]  # a parameter that is stated is not looked for
        place[name] = read_yaml(value, f"--set {text}", "quote it, or write it in the configuration")
        if now == "estimator.form" and place[name] != "preconditioned":
            for found in {"estimator.mean", "estimator.std"} - stated:
                place.pop(found.partition(".")[2], None)
    return values


def located(config: Config) -> Config:
    """Return the configuration with absolute paths: two of the same meaning are equal, wherever each was given."""
    return Config.model_validate(moved(config.model_dump(), Config, os.path.abspath))


def to_yaml(config: Config, folder: Path | None = None) -> str:
    """Return the configuration as YAML with each key's meaning beside it.

    `load_config` reads it back unchanged from `folder`. Keys that do nothing here are left out, and sections of them.

    folder: of the file that it will be, to which its paths are relative; None: the working directory.
    """
    idle = idle_keys(config)
    lines = [f"version: {config.version}", f"seed: {config.seed}"]
    values = config.model_dump(mode="json")
    if folder is not None:
        values = moved(values, Config, to_folder(folder))
    for name in type(config).model_fields:
        section = getattr(config, name)
        if isinstance(section, Section):
            keys = []
            for key, field in type(section).model_fields.items():
                if f"{name}.{key}" in idle and getattr(section, key) == field.default:
                    continue
                text = (
                    yaml.safe_dump(values[name][key], default_flow_style=True, width=10_000)
                    .removesuffix("...\n")
                    .strip()
                )
                keys.append(f"  {key}: {text}  # {field.description}")
            if keys:
                lines += [f"\n{name}:  # {' '.join((type(section).__doc__ or '').split())}", *keys]
    return "\n".join(lines) + "\n"
