"""What a run is made of: validated, with units, every key documented where it is declared.

A run folder keeps the configuration that made it, so this file is also its format: `version` changes whenever an old
configuration would no longer mean the same.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from unveil.config_errors import one_line
from unveil.errors import UnveilError, warn
from unveil.instruments.identity import Identity
from unveil.instruments.registry import OperatorSection
from unveil.noises import AutoNoise, NoiseSection
from unveil.paths import FilePath
from unveil.sections import Section

__all__ = ["Config", "parse_config"]

VERSION: Literal[2] = 2

MOST_STEPS = 10**8
"""The limits here are far beyond any use: what exceeds them is a slip, and would hang or fill the memory."""

Version = Annotated[Literal[2], BeforeValidator(lambda stated: VERSION if stated == str(VERSION) else stated)]
Symmetry = Literal["shift", "flip", "quarter", "rotate", "permute", "amplitude", "scale"]


class DataConfig(Section):
    """The measurements, and how to read them."""

    path: FilePath = Field(
        description="folder of images (PNG, JPEG, TIFF, NPY, MRC), or one .npy, .h5, .zarr, .tif, .mrcs or .star file"
    )
    dataset: str | None = Field(None, description="name inside an HDF5 file or zarr group that has several")
    axes: str | None = Field(None, description="axes of an array, e.g. NHW, NCHW, NHWC; null guesses from the shape")
    value_range: tuple[float, float] | None = Field(
        None, description="[low, high] mapped to [0, 1]; null: the whole range of integers, floats unchanged"
    )
    saturated: float | None = Field(
        None,
        description="number in the files from which on a pixel is saturated, and counts as missing",
        allow_inf_nan=False,
    )
    dead: FilePath | None = Field(
        None,
        description="PNG, .npy or HDF5 (FILE.h5:DATASET), (H, W) or (C, H, W), not 0 where a pixel of the detector "
        "is dead or hot, and counts as missing",
    )
    validation: float = Field(0.1, ge=0, lt=1, description="share of the images kept out of training")

    @field_validator("dataset", mode="before")
    @classmethod
    def _name(cls, dataset: Any) -> Any:
        """Return the name of an array as text: OME-Zarr calls its arrays 0, 1, ..., which YAML reads as numbers."""
        return str(dataset) if type(dataset) is int else dataset


class EstimatorConfig(Section):
    """The network f(m)."""

    form: Literal["equivariant", "preconditioned", "affine"] = Field(
        "preconditioned",
        description="equivariant: f(a y + mu) = a f(y) + mu by a wrapper; affine: by layers; preconditioned: plain EDM",
    )
    widths: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (32, 48, 64), min_length=1, max_length=8, description="UNet channels, finest resolution first"
    )
    blocks: int = Field(1, ge=1, le=100, description="residual blocks at each resolution, encoder and decoder")
    iterations: int = Field(
        1,
        ge=1,
        le=100,
        description="of a system other than identity: how often the network is applied, data steps in between",
    )
    mean: float | None = Field(
        None, description="of the images; null: 0.5, and 0 where the system measures Fourier coefficients or contrast"
    )
    std: float = Field(
        0.25,
        gt=0,
        description="standard deviation of the images about their mean; init finds both where pixels are measured",
    )
    prior: Literal["white", "stationary"] | None = Field(
        None,
        description="of a system other than identity: the images for which f's linear part is best; stationary learns "
        "their spectrum from the measurements; null: white where the system measures Fourier coefficients or rays, "
        "else stationary",
    )


class LossConfig(Section):
    """What is minimised."""

    recipe: Literal[
        "default",
        "ambient",
        "measured",
        "sure",
        "unsure",
        "nsure",
        "r2r",
        "consistency",
        "equivariant",
        "splitting",
        "equivariant-splitting",
    ] = Field(
        "default",
        description="default costs 1.2 supervised steps, ambient 1; see docs/recipes.md and docs/incomplete.md",
    )
    scales: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field(
        (1, 2, 4),
        min_length=1,
        max_length=16,
        description="block sizes, of Fourier coefficients (mri, interferometry) the factors by which the highest "
        "frequency is lowered; [1] for signals with a scale of their own (text, cells)",
    )
    levels: tuple[float, float] = Field(
        (1.0, 3.0), description="training levels, lowest and highest, as multiples of the measured level"
    )
    symmetry: tuple[Symmetry, ...] = Field(
        ("shift",),
        description="of the images, for incomplete measurements: shift, quarter, rotate, flip, ...; see docs",
    )
    equivariance: float = Field(
        0.3, ge=0, description="weight of equivariant imaging in the recipes for incomplete measurements"
    )
    seen: bool = Field(
        False,
        description="judge equivariant imaging in the default recipe only along what the system saw of each image: for "
        "those that see a small part (MRI, raw mosaics), with a weight of about 3",
    )
    nonnegative: bool = Field(
        False,
        description="images cannot be negative, as brightness: what equivariant imaging in the default recipe and "
        "loss.camera teach is raised to zero where it is",
    )
    near: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="of complete images in Gaussian noise: share of the batch that learns just above the measured "
        "level, by Stein's estimate, in the default recipe; it takes a second pass",
    )
    hidden: float = Field(
        0.2, ge=0, lt=1, description="share of the measured entries hidden from the network in half of the batch"
    )

    camera: float = Field(
        0.0,
        ge=0,
        description="weight of learning from posterior draws, measured again beside an ideal camera: with it samples "
        "spread where the system does not see; 0: not",
    )

    normalized: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="share of the measurements that the default recipe scales down, to teach the levels below the "
        "measured one; 0 for signals of fixed contrast in strong noise (particles)",
    )

    @field_validator("symmetry")
    @classmethod
    def _each_once(cls, names: tuple[Symmetry, ...]) -> tuple[Symmetry, ...]:
        if len(set(names)) < len(names):
            raise ValueError("names one twice; name each once")
        return names

    @field_validator("levels")
    @classmethod
    def _levels(cls, levels: tuple[float, float]) -> tuple[float, float]:
        if not 1 <= levels[0] < levels[1]:
            raise ValueError("need 1 <= lowest < highest: there are no data below the measured level")
        return levels


class TrainingConfig(Section):
    """The optimisation."""

    steps: int = Field(2000, ge=1, le=MOST_STEPS, description="gradient steps")
    batch: int = Field(32, ge=1, le=2**16, description="crops a step, in each process")
    crop: int = Field(32, ge=4, le=2**14, description="side of the square crops that the network sees, in pixels")
    augment: bool = Field(True, description="flips and quarter turns of the crops")
    learning_rate: float = Field(2e-3, gt=0, le=1e3, description="peak rate of AdamW")
    warmup: int = Field(100, ge=0, le=MOST_STEPS, description="steps of linear warm-up")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the weights' moving average")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    precision: Literal["no", "bf16"] = Field("no", description="mixed precision of the network's passes")
    validate_every: int = Field(
        200, ge=1, le=10**9, description="steps between validations by the reference-free error"
    )
    checkpoint_every: int = Field(200, ge=1, le=10**9, description="steps between checkpoints")
    patience: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="validations in a row that show no gain, after which training ends with the best weights; null: "
        "all steps are taken",
    )


class EMConfig(Section):
    """Rounds after training: draw the training set with less noise from the newest network, learn from the draws."""

    rounds: int = Field(0, ge=0, le=1000, description="how many; 0: none")
    delta: float = Field(
        1.0, gt=0, le=1, description="noise taken away in a round, as a multiple of the measured level; 1 is EM"
    )
    steps: int = Field(1000, ge=1, le=MOST_STEPS, description="gradient steps in a round")
    images: int = Field(200, ge=1, le=10**7, description="training images drawn in a round, at most")
    draw_steps: int = Field(10, ge=1, le=10**5, description="evaluations of the network a draw")


class SamplingConfig(Section):
    """Posterior samples."""

    schedule: Literal["geometric", "karras"] = Field("karras", description="spacing of the noise levels")
    steps: int = Field(
        25, ge=1, le=10**5, description="evaluations of the network a sample, from the measured level down"
    )
    lowest: float = Field(0.05, gt=0, lt=1, description="last level before 0, as a multiple of the measured level")
    samples: int = Field(8, ge=1, le=10**4, description="samples of each measurement")
    inflation: Annotated[float, Field(ge=0)] | Literal["fit"] = Field(
        "fit", description="0 is the exact sampler; fit: found on held-out measurements after training"
    )


class Config(Section):
    """A whole run."""

    version: Version = VERSION
    seed: int = Field(0, ge=0, lt=2**63)
    data: DataConfig
    operator: OperatorSection = Identity()
    noise: NoiseSection = AutoNoise()
    estimator: EstimatorConfig = EstimatorConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    em: EMConfig = EMConfig()
    sampling: SamplingConfig = SamplingConfig()


def parse_config(values: Mapping[str, Any], where: str) -> Config:
    """Return the validated configuration; its paths are relative to the working directory.

    A warm-up longer than the training is as long as it. Raises UnveilError naming the first wrong key, its value and
    `where` it stands.
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise UnveilError(f"{where}: {one_line(error, Config, VERSION)}") from None
    training = config.training
    if training.warmup > training.steps:
        warn(
            f"{where}: training.warmup = {training.warmup} is longer than training.steps = {training.steps}, and is "
            f"now {training.steps}; set training.warmup to some tenth of the steps"
        )
        fits = training.model_copy(update={"warmup": training.steps})
        return config.model_copy(update={"training": fits})
    return config
