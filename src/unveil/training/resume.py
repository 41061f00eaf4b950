"""A run is trained, from where it stopped, and its sampler is fitted to the trained network."""

from contextlib import ExitStack

from torch import nn

from unveil.data import ImageSource, atomic_write
from unveil.problem import DENOISING, Problem, Several
from unveil.training.checkpoint import save_weights
from unveil.training.device import join
from unveil.training.folder import writing
from unveil.training.gain import fit_to_images
from unveil.training.imaging import learn_imaging
from unveil.training.learn import learn
from unveil.training.ranks import from_first, together
from unveil.training.run import Run
from unveil.training.setup import build_estimator, build_reconstruction, indices
from unveil.training.stages import Stages

__all__ = ["train_run"]


def train_run(run: Run, *, device: str = "auto", stages: Stages | None = None) -> nn.Module:
    """Train, or go on training, the run's estimator; its averaged weights are saved and returned.

    Raises UnveilError when another process writes the run, when the data are not those that it began with, and what
    `learn` raises.
    """
    join(device)
    with ExitStack() as held:
        with together():
            held.enter_context(writing(run.folder))
        return _train(run, device, stages)


def _train(run: Run, device: str, stages: Stages | None) -> nn.Module:
    config = run.config
    with together():
        training, held_out, problem = run.measurements(stages, to_train=True)
    if problem is DENOISING:
        risk = config.risk.model_copy(update={"dilation": run.dilation})
        estimator = learn(
            build_estimator(config, run.channels),
            training,
            held_out,
            run.sigma_n,
            config.model_copy(update={"risk": risk}),
            run.folder,
            device=device,
            stages=stages,
        )
    else:
        estimator = learn_imaging(
            build_reconstruction(config, problem),
            training,
            problem.subset(indices(training)),
            held_out,
            problem.subset(indices(held_out)),
            run.sigma_n,
            config,
            run.folder,
            device=device,
            stages=stages,
        )
    if run.learns_below and run.prior(problem) is None:  # under a learned prior of the images the exact solver draws
        held_out_problem = problem.subset(indices(held_out))
        from_first(lambda: fit_sampler(run, estimator, held_out, held_out_problem, device, stages))
    weights = {name: value.detach() for name, value in estimator.state_dict().items()}
    from_first(lambda: atomic_write(run.weights, lambda path: save_weights(path, weights)))
    return estimator


def fit_sampler(
    run: Run,
    estimator: nn.Module,
    held_out: ImageSource,
    problem: Problem | Several,
    device: str,
    stages: Stages | None,
) -> None:
    """Fit the gain of the sampler to measurements by `problem`, where the configuration asks for it; the run folder records it."""
    config = run.config
    if config.sampling.solver == "dpm2m" and config.sampling.gain == "fit":
        progress = None if stages is None else stages("fitting the sampler")
        if progress is not None:
            progress(0, 1, {})
        fit_to_images(
            estimator,
            held_out,
            run.sigma_n,
            config.sampling.steps,
            config.seed,
            join(device).device,
            record=run.folder,
            schedule=config.sampling.schedule,
            lowest=config.sampling.lowest,
            problem=problem,
        )
        estimator.cpu()
        if progress is not None:
            progress(1, 1, {})
