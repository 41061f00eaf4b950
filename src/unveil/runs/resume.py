"""A run is trained, from where it stopped, and its sampler is fitted to the trained network."""

from contextlib import ExitStack

from torch import nn

from unveil.data import atomic_write
from unveil.dataset import Dataset
from unveil.estimators import knows_camera
from unveil.evaluation.validation import make_validation
from unveil.runs.folder import writing
from unveil.runs.learned import choose_told, told
from unveil.runs.noise import found_in
from unveil.runs.record import open_record, record_learned
from unveil.runs.run import Run
from unveil.runs.start import FILE, at_half_rate, load_start
from unveil.training.checkpoint import save_weights
from unveil.training.device import join
from unveil.training.inflation import fit_to_images
from unveil.training.learn import learn, recipe_loss
from unveil.training.ranks import from_first, together
from unveil.training.recipes import RECIPES
from unveil.training.setup import build_estimator
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
        data, held_out = run.measurements(stages, to_train=True)
    loss = recipe_loss(config, data)
    first = build_estimator(config, run.channels, data.operator, data.noise.uneven)
    start = open_record(run.folder)[0].start
    if start is not None:
        load_start(run.folder / FILE, first, str(run.folder / FILE))
    estimator = learn(
        first,
        data,
        held_out,
        config if start is None else at_half_rate(config),
        run.folder,
        loss=loss,
        scales=run.scales if RECIPES[config.loss.recipe].scales else (1,),
        device=device,
        stages=stages,
        validation=make_validation(held_out, config.seed, data, found_in(config, run.noise)),
    )
    learned = from_first(lambda: choose_told(estimator, held_out, loss, seed=config.seed))
    if learned is not None:
        from_first(lambda: record_learned(run.folder, learned))
        held_out = told(held_out, learned)
    if run.learns_below and knows_camera(estimator) is None:  # going on with a camera is the exact sampler
        from_first(lambda: fit_sampler(run, estimator, held_out, device, stages))
    weights = {name: value.detach() for name, value in estimator.state_dict().items()}
    from_first(lambda: atomic_write(run.weights, lambda path: save_weights(path, weights)))
    return estimator


def fit_sampler(run: Run, estimator: nn.Module, held_out: Dataset, device: str, stages: Stages | None) -> None:
    """Fit the sampler's inflation to measurements, where the configuration asks for it; the run folder records it."""
    sampling = run.config.sampling
    if sampling.inflation != "fit":
        return
    progress = None if stages is None else stages("fitting the sampler")
    if progress is not None:
        progress(0, 1, {})
    fit_to_images(
        estimator,
        held_out,
        sampling.steps,
        run.config.seed,
        join(device).device,
        record=run.folder,
        schedule=sampling.schedule,
        lowest=sampling.lowest,
    )
    estimator.cpu()
    if progress is not None:
        progress(1, 1, {})
