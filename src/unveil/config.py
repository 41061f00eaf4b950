"""What a run is made of, as YAML: validated, with units, every key documented where it is declared.

A run folder keeps the configuration that made it, so this file is also its format: `version` changes whenever an old
configuration would no longer mean the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from unveil.errors import UnveilError
from unveil.systems import Identity, Section, System

__all__ = ["Config", "load_config", "parse_config", "to_yaml"]

VERSION: Literal[1] = 1


class DataConfig(Section):
    """The measurements, and how to read them."""

    path: str = Field(
        description="folder of images (PNG, JPEG, TIFF, NPY, MRC), or one .npy, .h5, .zarr, .tif or .mrcs file"
    )
    dataset: str | None = Field(None, description="name inside an HDF5 file or zarr group that has several")
    axes: str | None = Field(None, description="axes of an array, e.g. NHW, NCHW, NHWC; null guesses from the shape")
    value_range: tuple[float, float] | None = Field(
        None, description="[low, high] mapped to [0, 1]; null: the whole range of integers, floats unchanged"
    )
    validation: float = Field(0.1, ge=0, lt=1, description="share of the images kept out of training")


class NoiseConfig(Section):
    """The noise of the measurements."""

    kind: Literal["gaussian"] = Field("gaussian", description="family")
    sigma: float | Literal["estimate"] = Field(
        "estimate", description="standard deviation on the [0, 1] scale of the data, or estimate (from the data)"
    )

    @field_validator("sigma")
    @classmethod
    def _positive(cls, sigma: float | str) -> float | str:
        if not isinstance(sigma, str) and not sigma > 0:
            raise ValueError("must be > 0: give the noise's standard deviation, or estimate")
        return sigma


class EstimatorConfig(Section):
    """The network f(y, sigma)."""

    form: Literal["equivariant", "preconditioned", "affine"] = Field(
        "preconditioned",
        description="equivariant: f(a y + mu) = a f(y) + mu by a wrapper; affine: by layers; preconditioned: plain EDM",
    )
    widths: tuple[int, ...] = Field((32, 48, 64), min_length=1, description="UNet channels, finest resolution first")
    blocks: int = Field(1, ge=1, description="residual blocks at each resolution, encoder and decoder")
    iterations: int = Field(
        1, ge=1, description="of a system other than identity: how often the network is applied, data steps in between"
    )
    mean: float | None = Field(
        None, description="of the images; null: 0.5, and 0 where the system measures Fourier coefficients or contrast"
    )
    deviation: float = Field(0.25, gt=0, description="standard deviation of the images about their mean")
    prior: Literal["white", "stationary"] | None = Field(
        None,
        description="of a system other than identity: the images for which f's linear part is best; stationary learns their "
        "spectrum from the measurements; null: white where the system measures Fourier coefficients or rays, else stationary",
    )

    @field_validator("widths")
    @classmethod
    def _widths(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if min(widths) < 1:
            raise ValueError("channels must be >= 1")
        return widths


class RiskConfig(Section):
    """What is minimised."""

    recipe: Literal[
        "default", "ambient", "mixed", "sure", "nsure", "r2r", "consistency",
        "measured", "equivariant", "splitting", "equivariant-splitting",
    ] = Field(
        "default", description="default costs 1.2 supervised steps, ambient 1; see docs/recipes.md and docs/incomplete.md"
    )  # fmt: skip
    dilation: tuple[int, ...] = Field(
        (1, 2, 4),
        min_length=1,
        description="block sizes, of Fourier coefficients (mri, interferometry) the factors by which the highest frequency is lowered; "
        "[1] for signals with a scale of their own (text, cells)",
    )
    levels: tuple[float, float] = Field(
        (1.0, 3.0), description="training levels, lowest and highest, as multiples of the measured level"
    )
    symmetry: tuple[str, ...] = Field(
        ("shift",),
        description="of the images, for incomplete measurements: shift, quarter, rotate, flip, ...; see docs",
    )
    equivariance: float = Field(
        0.3, ge=0, description="weight of equivariant imaging in the recipes for incomplete measurements"
    )
    seen: bool = Field(
        False,
        description="judge equivariant imaging in the default recipe only along what the system saw of each image: for those that see "
        "a small part (MRI, raw mosaics), with a weight of about 3",
    )
    hidden: float = Field(
        0.2, ge=0, lt=1, description="share of the measured entries hidden from the network in half of the batch"
    )

    renormalized: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="share of incomplete measurements that the default recipe scales down, to teach the levels below the measured "
        "one; 0 for signals of fixed contrast in strong noise (particles)",
    )

    @field_validator("dilation")
    @classmethod
    def _factors(cls, factors: tuple[int, ...]) -> tuple[int, ...]:
        if min(factors) < 1:
            raise ValueError("block sizes must be >= 1")
        return factors

    @field_validator("levels")
    @classmethod
    def _levels(cls, levels: tuple[float, float]) -> tuple[float, float]:
        if not 1 <= levels[0] < levels[1]:
            raise ValueError("need 1 <= lowest < highest: there are no data below the measured level")
        return levels


class TrainingConfig(Section):
    """The optimisation."""

    steps: int = Field(2000, ge=1, description="gradient steps")
    batch: int = Field(32, ge=1, description="crops a step, in each process")
    crop: int = Field(32, ge=4, description="side of the square crops that the network sees, in pixels")
    augment: bool = Field(True, description="flips and quarter turns of the crops")
    learning_rate: float = Field(2e-3, gt=0, description="peak rate of AdamW")
    warmup: int = Field(100, ge=0, description="steps of linear warm-up")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the weights' moving average")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    precision: Literal["no", "bf16"] = Field("no", description="mixed precision of the network's passes")
    validate_every: int = Field(200, ge=1, description="steps between validations by the reference-free risk")
    checkpoint_every: int = Field(200, ge=1, description="steps between checkpoints")


class RefineConfig(Section):
    """Rounds after training: draw the training set with less noise from the newest network, and learn from the draws."""

    rounds: int = Field(0, ge=0, description="how many; 0: none")
    delta: float = Field(
        1.0, gt=0, le=1, description="noise taken away in a round, as a multiple of the measured level; 1 is EM"
    )
    steps: int = Field(1000, ge=1, description="gradient steps in a round")
    images: int = Field(200, ge=1, description="training images drawn in a round, at most")
    draw_steps: int = Field(10, ge=1, description="solver steps of a draw")


class SamplingConfig(Section):
    """Posterior samples."""

    solver: Literal["ancestral", "heun", "dpm2m"] = Field("dpm2m", description="ancestral, heun or dpm2m")
    schedule: Literal["geometric", "karras"] = Field("geometric", description="spacing of the noise levels")
    steps: int = Field(25, ge=1, description="steps from the measured level down")
    lowest: float = Field(0.05, gt=0, lt=1, description="last level before 0, as a multiple of the measured level")
    samples: int = Field(8, ge=1, description="samples of each measurement")
    gain: Annotated[float, Field(ge=0)] | Literal["fit"] = Field(
        "fit", description="of dpm2m: 0 is the exact solver; fit: found on held-out measurements after training"
    )


class Config(Section):
    """A whole run."""

    version: Literal[1] = VERSION
    seed: int = Field(0, ge=0, lt=2**63)
    data: DataConfig
    system: System = Identity()
    noise: NoiseConfig = NoiseConfig()
    estimator: EstimatorConfig = EstimatorConfig()
    risk: RiskConfig = RiskConfig()
    training: TrainingConfig = TrainingConfig()
    refine: RefineConfig = RefineConfig()
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _warmup_fits(self) -> "Config":
        if self.training.warmup > self.training.steps:
            raise ValueError("training.warmup is longer than training.steps: lower it")
        return self


def parse_config(values: Mapping[str, Any], where: str) -> Config:
    """The validated configuration. Raises UnveilError naming the first wrong key, its value and `where` it stands."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"]]
        if parts[:2] in (["noise", "sigma"], ["sampling", "gain"]):
            parts = parts[:2]  # pydantic goes on with the member of the union that failed
        key = ".".join(parts) or "configuration"
        if parts[:1] == ["system"] and len(parts) > 2:
            key = ".".join([parts[0], *parts[2:]])  # pydantic puts the kind of the system in between
        if first["type"] == "extra_forbidden":
            raise UnveilError(f"{where}: unknown key {key}; known here: {_known(first['loc'])}") from None
        if first["type"] == "missing":
            key = "data.path" if key == "data" else key
            raise UnveilError(f"{where}: {key} is missing; add it, or pass --set {key}=...") from None
        if key == "version":
            raise UnveilError(
                f"{where}: written for configuration version {first['input']}, this is {VERSION}: "
                "use the unveil release that wrote it, or start a new run with unveil init"
            ) from None
        if first["type"].startswith("union_tag"):
            kinds = ", ".join(systems())
            raise UnveilError(f"{where}: system.kind is {first['input'].get('kind')}; choose one of {kinds}") from None
        message = first["msg"].removeprefix("Value error, ")
        given = "" if key == "configuration" else f" = {first['input']!r}"
        raise UnveilError(f"{where}: {key}{given}: {message}") from None


def systems() -> dict[str, type[Section]]:
    """The sections of all imaging systems, by kind."""
    return {kind.model_fields["kind"].default: kind for kind in get_args(get_args(System)[0])}


def _known(location: Sequence[int | str]) -> str:
    section: type[BaseModel] = Config
    path = location[:-1]
    if path[:1] == ("system",):  # then comes its kind
        section, path = systems()[str(path[1])], path[2:]
    for part in path:
        annotation = section.model_fields[str(part)].annotation
        for kind in (annotation, *get_args(annotation)):  # a section, or one that may be null
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                section = kind
    return ", ".join(section.model_fields)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in the YAML file `path`, with `key.subkey=value` overrides (values in YAML).

    Raises UnveilError when the file is missing or not YAML, or a key or value is wrong.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise UnveilError(f"{path}: {reason}; make one with unveil init") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise UnveilError(f"{path}: not valid YAML{line}; mend it, or start anew with unveil init") from None
    if not isinstance(values, dict):
        raise UnveilError(f"{path}: must be a mapping of keys to values; start from unveil init")
    return parse_config(override(values, overrides), str(path))


def override(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`values` with each `key.subkey=value` put in its place. Raises UnveilError when one is not of this form."""
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UnveilError(f"--set {text}: write key=value, e.g. --set training.steps=500")
        *sections, name = key.split(".")
        place = values
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}
            place = place[section]
        try:
            place[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UnveilError(f"--set {text}: the value is not valid YAML; quote it") from None
    return values


def to_yaml(config: Config) -> str:
    """The configuration as YAML with each key's meaning beside it; `parse_config` reads it back unchanged."""
    lines = [f"version: {config.version}", f"seed: {config.seed}"]
    for name in type(config).model_fields:
        section = getattr(config, name)
        if isinstance(section, Section):
            lines.append(f"\n{name}:  # {(type(section).__doc__ or '').strip()}")
            for key, field in type(section).model_fields.items():
                value = section.model_dump(mode="json")[key]
                text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
                lines.append(f"  {key}: {text}  # {field.description}")
    return "\n".join(lines) + "\n"
