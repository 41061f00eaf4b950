"""run.json and config.yaml: what a run was begun with, told from what somebody made of it since."""

import json
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

import unveil
from unveil.checks import Seen
from unveil.config import Config, parse_config
from unveil.config_file import read_config
from unveil.data import atomic_write
from unveil.errors import UnveilError
from unveil.noise import NOISES, Noise, OwnNoise
from unveil.noises import AnyNoise
from unveil.paths import moved
from unveil.records import SEAL, read_json, read_record, sealed
from unveil.runs.maps import FOLDER, digest, kept_noise
from unveil.runs.start import Start

__all__ = ["FORMAT", "LearnedNoise", "RunRecord", "difference", "open_record", "record_learned"]

FORMAT = 3
MEND = "restore it, or train again in a new folder"


class RecordedMap(BaseModel):
    """What a map of a parameter is known by; itself it is in a file."""

    shape: tuple[int, int, int, int]
    sha256: str


class RecordedNoise(BaseModel):
    """The kind of the noise, and its parameters; where these are found in each image, what is common to all.

    stored: where some are maps, the numbers in the files that are 0 and 1.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float | list[list[float]] | RecordedMap]

    kind: str
    per_image: bool = False
    stored: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.maps:
            self.noise()
        return self

    @property
    def maps(self) -> dict[str, RecordedMap]:
        return {name: value for name, value in self.__pydantic_extra__.items() if isinstance(value, RecordedMap)}

    def noise_of(self, folder: Path, stated: AnyNoise) -> Noise | OwnNoise:
        """Return the noise of the run in `folder`, with its maps; stated: in its configuration.

        Raises UnveilError where a map is missing, or another one.
        """
        if not self.maps:
            return self.noise()
        if self.kind != stated.kind or self.maps.keys() != stated.maps.keys():
            raise UnveilError(f"{folder / 'run.json'}: its noise has other maps than that of config.yaml; {MEND}")
        noise = kept_noise(folder, stated, self.stored or (0.0, 1.0))
        for name, known in self.maps.items():
            if digest(getattr(noise, name)) != known.sha256:
                raise UnveilError(
                    f"{folder / FOLDER / name}.tif: is not the map of noise.{name} that the run has; {MEND}"
                )
        return noise

    def noise(self) -> Noise | OwnNoise:
        """Return the noise that has no maps.

        Raises UnveilError for a kind, or parameters, that there are not.
        """
        try:
            if self.per_image:
                common: dict[str, Any] = self.__pydantic_extra__
                return OwnNoise(self.kind, **common)
            return NOISES[self.kind](**self.__pydantic_extra__)
        except (KeyError, TypeError):
            raise UnveilError(
                f"noise.kind = {self.kind[:40]} with {sorted(self.__pydantic_extra__)}: unknown"
            ) from None


class LearnedNoise(BaseModel):
    """What training learned of the noise.

    logs: logarithms, by name, of the factors of what the run began with (`Noise.learned`). noise: with them, in words.
    told: whether the trained network is told that noise. why: in one line.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    logs: dict[str, float | list[list[float]]]
    noise: str
    told: bool
    why: str

    def of(self, noise: Noise) -> Noise:
        """Return the noise that the trained network is told, of the `noise` that training began with.

        Raises UnveilError for noise of which this was not learned.
        """
        if not self.told:
            return noise
        if self.logs.keys() != noise.unknown.keys():
            raise UnveilError(f"learned.logs are of {sorted(self.logs)}, and not of {type(noise).__name__} noise")
        return noise.learned({name: torch.tensor(value) for name, value in self.logs.items()})


class RunRecord(BaseModel):
    """What of run.json is used again.

    noise: its kind and its parameters, on the [0, 1] scale of the data. learned: of it, in training. channels: of the
    images. scales: block sizes that they are large enough for. given: whether the operator was given in Python, and is
    not in the configuration. config: the configuration's values. data: fingerprint of the contents in data.json. seen:
    their types and range. estimated: of the operator, the SHA-256 of each file in the run folder. start:
    the run that its weights began with. never_seen: by no measurement, in words; None: nothing.
    """

    noise: RecordedNoise
    learned: LearnedNoise | None = None
    given: bool = False
    channels: int = Field(ge=1, le=2**16)
    scales: tuple[Annotated[int, Field(ge=1, le=2**16)], ...] = Field(min_length=1)
    config: dict[str, Any]
    data: str
    seen: Seen | None = None
    estimated: dict[str, str] = {}
    start: Start | None = None
    never_seen: str | None = None

    def told(self, folder: Path, stated: AnyNoise) -> Noise | OwnNoise:
        """Return the noise that the trained network is told: that which the run began with, or what was learned of it.

        folder, stated: as of `RecordedNoise.noise_of`. Raises UnveilError where what was learned is not of that noise.
        """
        noise = self.noise.noise_of(folder, stated)
        if self.learned is None:
            return noise
        if isinstance(noise, OwnNoise):
            raise UnveilError("learned.logs are of one noise, and the noise of this run is each image's own")
        return self.learned.of(noise)


def open_record(folder: Path) -> tuple[RunRecord, Config]:
    """Return what folder/run.json records, and the configuration in folder/config.yaml, with which the run was begun.

    Paths alone may be others: a run knows its data by content. Raises UnveilError when there is no run, it is damaged
    or changed, or another version wrote it.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise UnveilError(f"{folder}: not a run folder (no run.json); give the folder that unveil train wrote")
    values = read_json(path, MEND)
    if values.get("format", FORMAT) != FORMAT:
        raise UnveilError(
            f"{folder}: written by unveil {str(values.get('unveil'))[:40]} (run format {str(values['format'])[:40]}), "
            f"this is {unveil.__version__} (format {FORMAT}): install that release, or train again"
        )
    record = read_record(path, RunRecord, MEND)
    written = folder / "config.yaml"
    if not written.is_file():
        raise UnveilError(f"{written} is gone, with which the run was begun: {MEND}")
    config = read_config(written)
    begun = parse_config(record.config, str(path))
    if changed := difference(_without_paths(begun), _without_paths(config)):
        key, then, now = changed
        raise UnveilError(
            f"{written}: {key} is {now}, and was {then} when the run began; put that back, or begin a new run: unveil "
            f"train {written} --out ANOTHER_FOLDER"
        )
    return record, config


def record_learned(folder: Path, learned: LearnedNoise) -> None:
    """Write into folder/run.json what training learned of the noise, beside what the run began with."""
    path = folder / "run.json"
    values = {key: value for key, value in read_json(path, MEND).items() if key != SEAL}
    text = json.dumps(sealed({**values, "learned": learned.model_dump()}), indent=1) + "\n"
    atomic_write(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def difference(old: Config, new: Config) -> tuple[str, Any, Any] | None:
    """Return the first key at which two configurations differ, and both values; None where they are the same."""
    a, b = old.model_dump(), new.model_dump()
    for name, section in a.items():
        if not isinstance(section, dict):
            section, other, prefix = {name: section}, {name: b[name]}, ""
        else:
            other, prefix = b[name], f"{name}."
        for key in {**section, **other}:
            if section.get(key) != other.get(key):
                return f"{prefix}{key}", section.get(key), other.get(key)
    return None


def _without_paths(config: Config) -> Config:
    return config.model_validate(moved(config.model_dump(), Config, lambda path: "some.file"))
