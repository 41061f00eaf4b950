"""From incomplete measurements to a reconstruction network: batches of whole measurements, and the rounds of the EM recipe."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from unveil.config import Config, RiskConfig
from unveil.data import ImageSource, atomic_write
from unveil.estimators import PreconditionedDenoiser, Reconstruction, UNet
from unveil.problem import DENOISING, Problem, Several
from unveil.risks import Each, LogUniform, Risk, Simulated
from unveil.symmetry import make_symmetry
from unveil.training.checkpoint import latest_checkpoint, load_weights, save_weights
from unveil.training.device import join
from unveil.training.imaging_recipes import make_imaging_risk, precision
from unveil.training.imaging_refine import draw_images
from unveil.training.learn import derived_seed, later
from unveil.training.loop import Batches, Objective, Validation, train
from unveil.training.ranks import from_first
from unveil.training.setup import possible_coarsening
from unveil.training.spectrum import learn_spectrum
from unveil.training.stages import Stages
from unveil.training.validation import measurement_validation

__all__ = ["ImagingRecipe", "learn_imaging", "measurement_batches", "open_prior"]

PRIOR = "prior.safetensors"
HIGHEST = 4
"""Level at which a learned prior starts, in deviations of the images."""

ImagingRecipe = Callable[[RiskConfig, Problem, Problem], Risk]


def learn_imaging(
    estimator: Reconstruction,
    measurements: ImageSource,
    problem: Problem | Several,
    held_out: ImageSource,
    held_out_problem: Problem | Several,
    sigma_n: float,
    config: Config,
    folder: Path,
    *,
    recipe: ImagingRecipe = make_imaging_risk,
    device: str = "auto",
    stages: Stages | None = None,
) -> nn.Module:
    """The reconstruction network trained as `config` says, on the CPU and in evaluation mode; after rounds, also the last
    round's denoiser of the images, in folder/prior.safetensors (`open_prior`).

    estimator: f(y, sigma, problem). problem, held_out_problem: of the measurements, in their order. Others: as `learn`.
    """
    validation = measurement_validation(held_out, held_out_problem, sigma_n, config.seed)
    stationary = estimator.prior
    if stationary is not None:

        def spectrum() -> Tensor:
            if latest_checkpoint(folder / "checkpoints") is None:  # which holds the spectrum
                learn_spectrum(
                    stationary, measurements, problem, sigma_n, seed=config.seed,
                    progress=None if stages is None else stages("spectrum"),
                )  # fmt: skip
            return stationary.spectrum

        stationary.spectrum = from_first(spectrum)

    def fit(
        f: nn.Module, objective: Objective, batches: Batches, stage: str, validation: Validation | None
    ) -> nn.Module:
        first = stage == "training"
        return train(
            f,
            objective,
            batches,
            config.training if first else later(config),
            folder if first else folder / stage,
            seed=config.seed if first else derived_seed(config.seed, stage),
            device=device,
            validation=validation,
            progress=None if stages is None else stages(stage),
        )

    def on_measurements(part: Problem, virtual: Problem) -> Risk:
        return recipe(config.risk, part, virtual)

    batches = measurement_batches(measurements, sigma_n, config.training.batch)
    measured = Each(problem, on_measurements, possible_coarsening(config, problem))
    f = fit(estimator, measured, batches, "training", validation)
    if not config.refine.rounds:
        return f

    every = max(1, len(measurements) / config.refine.images)
    chosen = [int(i * every) for i in range(min(config.refine.images, len(measurements)))]
    drawn_from, drawn_problem = measurements.subset(chosen), problem.subset(chosen)
    highest = HIGHEST * config.estimator.deviation

    def draw(prior: nn.Module | None, stage: str) -> ImageSource:
        return draw_images(
            f, prior, drawn_from, drawn_problem, sigma_n, folder / stage / "draws.zarr", highest=highest,
            steps=config.refine.draw_steps, seed=derived_seed(config.seed, stage), device=join(device).device,
            progress=None if stages is None else stages(f"{stage}, drawing"),
        )  # fmt: skip

    draws = draw(None, "round-0")
    # turned images are as likely, and of what A does not see the draws are wrong in a way that is fixed to A; shifts a
    # convolutional network knows
    turned = make_symmetry([name for name in config.risk.symmetry if name not in ("amplitude", "shift")])
    prior: nn.Module = image_denoiser(config, draws.channels, estimator.mean)
    for r in range(1, config.refine.rounds + 1):
        stage = f"round-{r}"
        images = image_batches(draws, config.training.batch)
        level = LogUniform(0.04 * sigma_n, highest)
        of_images = Simulated(DENOISING, level, lambda s: 1 / s**2, turned)
        prior = fit(prior, of_images, without_numbers(images), f"{stage}/prior", None)
        draws = draw(prior, stage)
    weights = prior.state_dict()
    from_first(lambda: atomic_write(folder / PRIOR, lambda path: save_weights(path, weights)))
    levels = LogUniform(0.08 * sigma_n, config.risk.levels[1] * sigma_n)
    symmetry = make_symmetry([name for name in config.risk.symmetry if name != "amplitude"])

    def on_draws(part: Problem, _: Problem) -> Risk:
        return Simulated(part, levels, precision, symmetry)

    objective = WithDraws(measured, Each(drawn_problem, on_draws))
    both = paired_batches(batches, image_batches(draws, config.training.batch))
    return fit(f, objective, both, "last", validation)


class WithDraws:
    """Half the risk of measurements, half that of draws: (f, y, sigma, which, x, level, drawn, generator) -> (B,)."""

    def __init__(self, measured: Each, drawn: Each) -> None:
        self.measured = measured
        self.drawn = drawn

    def __call__(
        self,
        f: nn.Module,
        y: Tensor,
        sigma: Tensor,
        which: Tensor,
        x: Tensor,
        level: Tensor,
        drawn: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        on_measurements = self.measured(f, y, sigma, which, generator)
        return (on_measurements + self.drawn(f, x, level, drawn, generator)) / 2


def paired_batches(first: Batches, second: Batches) -> Batches:
    """A batch of each, one after the other; `image_batches`' numbers tell whose operator measures a draw again."""
    return lambda generator: (*first(generator), *second(generator))


def image_denoiser(config: Config, channels: int, mean: float) -> PreconditionedDenoiser:
    """D(x, s), weights drawn from the configuration's seed alone."""
    form = config.estimator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return PreconditionedDenoiser(UNet(channels, form.widths, form.blocks), mean, form.deviation)


def open_prior(folder: Path, config: Config, channels: int, mean: float) -> PreconditionedDenoiser | None:
    """D(x, s) of the images (C, H, W) of a run with rounds, on the CPU; None where there were none. Its highest level is
    HIGHEST times its deviation."""
    if not (folder / PRIOR).is_file():
        return None
    prior = image_denoiser(config, channels, mean)
    load_weights(folder / PRIOR, prior)
    return prior.eval()


def without_numbers(batches: Batches) -> Batches:
    """(x, level) alone."""
    return lambda generator: batches(generator)[:2]


def image_batches(draws: ImageSource, batch: int) -> Batches:
    """Whole draws, with equal odds: (x, 0, which)."""
    return measurement_batches(draws, 0.0, batch)


def measurement_batches(source: ImageSource, sigma_n: float, batch: int) -> Batches:
    """Whole measurements, drawn with equal odds: (y, sigma, which)."""

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        which = torch.randint(0, len(source), (batch,), generator=generator)
        y = torch.stack([source.read(i) for i in which.tolist()])
        return y, torch.full((batch,), sigma_n), which

    return draw
