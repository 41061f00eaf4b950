"""The processes of one training: what the first does for all, what they share, and how all of them stop together.

They talk by gloo on the CPU, whatever carries the gradients, and wait there for as long as the others' work takes: only
steps that all take at the same time go through the accelerator's own collectives, which give up after minutes. An error
in one process is told to the others at the next place where all meet, so that none waits for one that has ended.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from unveil.errors import Elsewhere, UnveilError
from unveil.training.interrupt import Stop

__all__ = [
    "agree", "average_gradients", "connected", "count", "from_first", "highest", "index", "is_first", "leave",
    "share_weights", "together",
]  # fmt: skip

T = TypeVar("T")
PATIENCE = timedelta(days=30)
"""How long one waits for another's work. Gloo tells at once when the other has ended."""


def count() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def index() -> int:
    """Return which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Return whether this process is the one that writes files."""
    return index() == 0


def highest(value: int) -> int:
    """Return the highest of the values that the processes give; each waits for all others."""
    if count() == 1:
        return value
    shared = torch.tensor(value)
    with connected():
        dist.all_reduce(shared, dist.ReduceOp.MAX, group=_line())
    return int(shared)


def agree(stop: Stop) -> bool:
    """Return whether a signal has asked one process for the end, which then asks all: the same in all processes.

    A signal that comes while they agree, as some have been asked already, counts the next time.
    """
    asked = highest(stop.signum or 0)
    if asked:
        stop.signum = asked
    return bool(asked)


def from_first(work: Callable[[], T]) -> T:
    """Return what `work` returns, which the first process alone does; the others wait for it.

    What stops it stops all.
    """
    if count() == 1:
        return work()
    box: list[Any] = [None]
    with together():
        if is_first():
            box[0] = work()
    with connected():
        dist.broadcast_object_list(box, src=0, group=_line())
    result: T = box[0]
    return result


@contextmanager
def together() -> Iterator[None]:
    """Enter a block that all processes go through: they leave it at the same time, or not at all if one fails.

    The first that failed raises its error, all others `Elsewhere`. Within it no process may wait for another.
    """
    if count() == 1:
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # whatever it is: the others must not wait
        failure = error
    if not highest(failure is not None):
        return
    failures: list[Any] = [None] * count()
    with connected():
        told = None if failure is None else (str(failure), failure.code if isinstance(failure, UnveilError) else 1)
        dist.all_gather_object(failures, told, group=_line())
    first = next(i for i, one in enumerate(failures) if one is not None)
    if failure is not None and first == index():
        raise failure
    text, code = failures[first]
    raise Elsewhere(f"process {first} of {count()}: {text}", code=code) from None


@contextmanager
def connected() -> Iterator[None]:
    """Enter a block that talks to the other processes.

    That one of them has ended is an UnveilError, which the first says.
    """
    try:
        yield
    except RuntimeError as error:
        if count() == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        text = "another process of the training ended; what was saved last is whole: start all again, and they resume"
        if is_first():
            raise UnveilError(text, code=1) from error
        raise Elsewhere(text, code=1) from error


@torch.no_grad()
def share_weights(module: nn.Module) -> None:
    """Give all processes the first one's parameters and buffers."""
    for tensor in module.state_dict().values() if count() > 1 else ():
        shared = tensor.detach().cpu().contiguous()
        with connected():
            dist.broadcast(shared, src=0, group=_line())
        tensor.copy_(shared)


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Put the mean over the processes in place of each parameter's gradient, by the accelerator's own collective.

    Not torch's DistributedDataParallel: it takes no parameters that a loss leaves out, nor the empty ones of one
    iteration, and lets one process wait in a collective where another has failed.
    """
    if count() == 1:
        return
    parameters = [p for p in module.parameters() if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    with connected():
        dist.all_reduce(flat)
    flat /= count()
    for parameter, mean in zip(parameters, flat.split([p.numel() for p in parameters])):
        parameter.grad = mean.view_as(parameter)


def leave() -> None:
    """Wait for all others, then end the connection to them."""
    if dist.is_initialized():
        highest(0)
        dist.destroy_process_group()


def _line() -> Any:
    """Return the processes' own group, made where they first meet."""
    return _line_of(dist.group.WORLD)


@lru_cache(maxsize=1)
def _line_of(world: Any) -> Any:
    return dist.new_group(backend="gloo", timeout=PATIENCE)
