"""The training loop: minimise a loss over an estimator's weights.

    theta <- AdamW step on  mean over the batch of  loss(f_theta, m)

and, of a loss that has them, its multipliers rise (`unveil.losses.multipliers`).

Everything random at step t is drawn from the generator of (seed, t, process), so a run that resumes from its
checkpoint continues as if it had never stopped: on a CPU, to the bit. Several processes (`unveil.training.ranks`)
average their gradients, each over a batch of its own; the first validates and writes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from unveil.config import TrainingConfig
from unveil.errors import UnveilError, warn
from unveil.losses.base import Loss
from unveil.losses.multipliers import Multipliers
from unveil.random import make_generator
from unveil.training import ranks
from unveil.training.checkpoint import intact_checkpoint, load_checkpoint, save_checkpoint
from unveil.training.curve import Curve
from unveil.training.device import join
from unveil.training.ema import averaged
from unveil.training.interrupt import stop_on_interrupt
from unveil.training.logs import MetricsLog, read_metrics
from unveil.training.patience import Patience
from unveil.words import counted

__all__ = ["Batches", "Objective", "Progress", "Validation", "learning_rate", "train"]

Batches = Callable[[torch.Generator], Any]
"""A CPU generator -> a batch on the CPU: a `Measurement`, or whatever else the loss takes and has `to(device)`."""

Objective = Callable[[nn.Module, Any, torch.Generator], Tensor]
"""(f, batch, generator) -> (B,): a `Loss`."""

Validation = Callable[[nn.Module], dict[str, float]]
"""The averaged estimator -> metrics, estimated without a reference."""


class Kept(nn.Module, ABC):
    """What a loss keeps from step to step."""

    @abstractmethod
    def follow(self, averaged: nn.Module) -> None:
        """Keep the averaged estimator at hand, which changes as training goes on."""


Progress = Callable[[int, int, dict[str, float]], None]
"""(steps done, steps in all, newest metrics); called after every step."""


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Return the rate at 0 <= step < steps: linear warm-up, times sqrt(1 - step / steps), which ends near 0."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    return config.learning_rate * warm * math.sqrt(1 - step / config.steps)


def train(
    estimator: nn.Module,
    loss: Objective,
    batches: Batches,
    config: TrainingConfig,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    kept: Kept | None = None,
    validation: Validation | None = None,
    progress: Progress | None = None,
) -> nn.Module:
    """Train f and return its averaged weights' estimator, on the CPU and in evaluation mode.

    With `config.patience`, the best one of those that were validated, and training ends where they gain no more.

    estimator: f(m), its weights drawn; changed in place.
    loss:      minimised in the mean over the batch.
    folder:    gets checkpoints/, metrics.jsonl and tensorboard/. Its newest checkpoint, if any, is resumed.
    device:    auto (accelerate's choice), cpu, or the type of that choice, such as cuda.
    kept:      what else the loss keeps from step to step: its buffers are in the checkpoints, and it is shown the
               averaged estimator.
    Raises UnveilError when the loss or its gradient is no longer finite, a checkpoint cannot be read or written, or
    the device lacks the precision, and Interrupted after Ctrl-C, SIGTERM or SIGHUP, the last step saved.
    """
    accelerator = _accelerator(device, config.precision)
    ranks.share_weights(estimator)
    optimizer = torch.optim.AdamW(estimator.parameters(), lr=config.learning_rate, weight_decay=0.0)
    ema = averaged(estimator, config.ema).to(accelerator.device)
    estimator.to(accelerator.device)
    modules: dict[str, nn.Module] = {"model": estimator, "ema": ema}
    multipliers = loss.multipliers if isinstance(loss, Loss) else None
    if multipliers is not None:
        modules["multipliers"] = multipliers.to(accelerator.device)
    checkpoints, start = folder / "checkpoints", 0
    if kept is not None:
        modules["kept"] = kept.to(accelerator.device)
        kept.follow(ema.module)
    patience = None
    if config.patience is not None and validation is not None:
        modules["patience"] = patience = Patience(config.patience, ema.module)
    newest = ranks.from_first(lambda: intact_checkpoint(checkpoints, seed))
    if newest is not None:
        with ranks.together():
            state = load_checkpoint(newest, modules, optimizer)
            start = state["step"]
            _compare_processes(newest, state)
    optimizer = accelerator.prepare(optimizer)
    model = accelerator.prepare_model(estimator, evaluation_mode=True)  # not distributed: `average_gradients` is
    model.train()

    def checkpoint(step: int) -> None:
        if log is not None:
            log.sync()
        save_checkpoint(checkpoints, step, modules, optimizer.optimizer, {"seed": seed, "processes": ranks.count()})

    with ExitStack() as stack:
        with ranks.together():
            log = stack.enter_context(MetricsLog(folder, start)) if ranks.is_first() else None
            validated = [line for line in read_metrics(folder) if "error" in line] if log is not None else []
        stop = stack.enter_context(stop_on_interrupt())
        ended = _ended(patience, validated)
        for step in range(start, config.steps):
            if ended:
                break
            try:
                with ranks.together():
                    batch = batches(make_generator("cpu", seed, step, ranks.index()))
            except UnveilError as error:  # a file that cannot be read any more: the steps before are not lost
                if step > start:
                    ranks.from_first(partial(checkpoint, step))
                if step:
                    error.args = (f"{error}; step {step} of {config.steps} is saved",)
                raise
            metrics = _step(accelerator, model, optimizer, loss, batch, config, seed, step)
            if multipliers is not None:
                metrics |= _ascend(multipliers)
            ema.update_parameters(estimator)
            done = step + 1
            last = done == config.steps
            looked_at = validation is not None and (done % config.validate_every == 0 or last)
            with ranks.together():
                if log is not None:
                    if validation is not None and looked_at:
                        metrics |= _validate(ema, validation, validated)
                        validated.append({"step": done, **metrics})
                        if patience is not None:
                            patience.follow(Curve.of(validated), ema.module)
                    log.write(done, metrics)
                    if progress is not None:
                        progress(done, config.steps, metrics)
            ended = looked_at and _ended(patience, validated)
            asked = ranks.agree(stop)
            if done % config.checkpoint_every == 0 or last or ended or asked:
                ranks.from_first(partial(checkpoint, done))
            if asked and not last and not ended:
                raise stop.interrupted(f"stopped at step {done} of {config.steps}, saved in {folder}")
    if patience is not None:
        ranks.share_weights(patience.best)  # the first alone validates
        return patience.best.cpu().eval()
    return ema.module.cpu().eval()


def _ended(patience: Patience | None, validated: list[dict[str, float]]) -> bool:
    """Return whether training is to end where it is, the same in all processes."""
    return patience is not None and ranks.from_first(lambda: patience.ends(Curve.of(validated)))


def _step(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Objective,
    batch: Any,
    config: TrainingConfig,
    seed: int,
    step: int,
) -> dict[str, float]:
    """Take one gradient step; return the loss, the gradient's norm before clipping, and the learning rate."""
    rank, device = ranks.index(), accelerator.device
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, config)
    with ranks.together():
        generator = make_generator(device, seed, step, rank, 1)
        value = loss(model, batch.to(device), generator).mean()
        _check_finite("loss", value.item(), step)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(value)
    ranks.average_gradients(model)
    norm = accelerator.clip_grad_norm_(model.parameters(), config.clip)
    with ranks.together():
        _check_finite("gradient's norm", float(norm), step)
    optimizer.step()
    return {"loss": value.item(), "gradient_norm": float(norm), "learning_rate": learning_rate(step, config)}


def _ascend(multipliers: Multipliers) -> dict[str, float]:
    """Let the multipliers rise one step, the same in all processes; return what they are."""
    ranks.average_gradients(multipliers)
    multipliers.ascend()
    return multipliers.metrics()


def _accelerator(device: str, precision: str) -> Accelerator:
    """Return accelerate's view of the machine."""
    chosen = join(device).device.type
    try:
        accelerator = Accelerator(cpu=chosen == "cpu", mixed_precision=precision)
    except ValueError as error:
        raise UnveilError(
            f"training.precision = {precision} cannot be used here ({error}); set it to no, in a new run"
        ) from None
    if device not in ("auto", "cpu", accelerator.device.type):
        if accelerator.device.type == "cpu":
            raise UnveilError(f"device is {device}: not on this machine; use cpu or auto")
        raise UnveilError(
            f"training on {device}: accelerate chose {accelerator.device}; pass auto, and choose among several devices "
            "by CUDA_VISIBLE_DEVICES or accelerate launch"
        )
    return accelerator


def _compare_processes(checkpoint: Path, state: dict[str, Any]) -> None:
    """Warn where a training goes on with a joint batch of another size."""
    before, now = state.get("processes", 1), ranks.count()
    if before != now:
        warn(
            f"{checkpoint} is of {counted(before, 'process', 'processes')}, and {now} go on: each step's joint batch "
            f"has another size, so the run ends elsewhere; for the run that was begun start it with {before}"
        )


def _check_finite(name: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise UnveilError(
            f"the {name} is {value} at step {step + 1}; check noise.sigma, and start a new run with a lower rate: "
            "--set training.learning_rate=..., and another folder with --out"
        )


def _validate(ema: AveragedModel, validation: Validation, validated: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the metrics of the averaged estimator, and what it gained since the newest of `validated`."""
    ema.eval()
    with torch.no_grad():
        metrics = validation(ema.module)
    ema.train()
    curve = Curve.of([*validated[-1:], {"step": math.nan, **metrics}])
    if len(curve) == 2:
        gain = curve.gain(0, 1)
        metrics |= {"gain": gain.value} | ({"gain_reach": gain.reach} if math.isfinite(gain.reach) else {})
    return metrics
