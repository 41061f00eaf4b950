"""What the commands that use a trained run share: the run, its estimator and the measurements it is given."""

import json
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from unveil.cli.device import torch_device
from unveil.config import Config, override, parse_config
from unveil.data import ImageSource, save_image
from unveil.errors import UnveilError
from unveil.estimators import PreconditionedDenoiser, Tiled
from unveil.problem import DENOISING, Problem, Several
from unveil.training import Run, open_run
from unveil.training.setup import indices, open_measurements, split

__all__ = ["NOT_BELOW", "open_input", "open_run_prior", "save_both", "value_range", "with_sets"]

NOT_BELOW = (
    "its recipe teaches no noise level below the measured one, through which samples go; train with risk.recipe=default or "
    "refine.rounds=1"
)


def open_input(
    run_folder: Path, data: str | None, sigma: float | None, device: str, sets: Sequence[str] = ()
) -> tuple[Run, nn.Module, Problem | Several, ImageSource, float]:
    """The run, its estimator on `device`, the measurements (the run's held-out ones by default), their problem and level."""
    if sigma is not None and not 0 < sigma < float("inf"):
        raise UnveilError(f"--sigma {sigma}: must be > 0, the noise's standard deviation on the data's [0, 1] scale")
    run = open_run(run_folder)
    if data is None:
        run.check_data("give INPUT")
        whole, problem = open_measurements(run.config)
        source = split(whole, run.config)[1]
        problem = problem.subset(indices(source))
    else:
        source, problem = open_measurements(with_sets(run, sets), data)
    if source.channels != run.channels:
        raise UnveilError(
            f"{data}: has {source.channels} channel(s), and {run_folder} was trained on {run.channels}; convert the images, "
            "or train on images like these"
        )
    f = run.estimator(problem).to(torch_device(device))
    if problem is DENOISING:
        f = Tiled(f)
    return run, f, problem, source, sigma or run.sigma_n


def open_run_prior(run: Run, problem: Problem | Several, device: str) -> PreconditionedDenoiser | None:
    """The prior of the images under which samples are drawn, on `device`, where the run learned one."""
    prior = run.prior(problem)
    return None if prior is None else prior.to(torch_device(device))


def with_sets(run: Run, sets: Sequence[str]) -> Config:
    """The run's configuration with overrides, and the gain fitted when training ended.

    Of its sampling, and of its system: other measurements have other masks, and defoci.
    """
    for text in sets:
        if not text.startswith(("sampling.", "system.")):
            raise UnveilError(
                f"--set {text}: the run is trained; only sampling.* can change, e.g. sampling.steps=50, and system.* for INPUT"
            )
    config = parse_config(override(json.loads(run.config.model_dump_json()), sets), "--set")
    if isinstance(config.sampling.gain, str):
        return config.model_copy(update={"sampling": config.sampling.model_copy(update={"gain": run.gain})})
    return config


def save_both(stem: Path, x: Tensor, run: Run) -> None:
    """x (C, H, W) as float32 TIFF in the measurements' units and, for 1 or 3 channels, as PNG."""
    low, high = value_range(run)
    save_image(stem.with_name(stem.name + ".tif"), low + (high - low) * x)
    if x.shape[0] in (1, 3):
        save_image(stem.with_name(stem.name + ".png"), x)


def value_range(run: Run) -> tuple[float, float]:
    """What 0 and 1 are in the measurements' units: data.value_range, or themselves."""
    return run.config.data.value_range or (0.0, 1.0)
