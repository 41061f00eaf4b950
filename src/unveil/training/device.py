"""Where this process trains and samples: its place among those that torchrun or accelerate started, and its device."""

import os

import torch.distributed as dist
from accelerate.state import AcceleratorState, PartialState

from unveil.precision import full_precision

__all__ = ["join"]


def join(device: str = "auto") -> PartialState:
    """Return this process' place and device (`.device`), for a training on `device` (auto, cpu, or a type).

    Every process of a training calls it, before anything is shared. What earlier trainings in this process asked for
    is forgotten. Single precision is full precision from here on (`unveil.precision`).
    """
    full_precision()
    AcceleratorState._reset_state(reset_partial_state=not dist.is_initialized())
    state = PartialState(cpu=device == "cpu")
    if state.num_processes < int(
        os.environ.get("WORLD_SIZE", "1")
    ):  # accelerate lets processes talk by CUDA and its like
        AcceleratorState._reset_state(
            reset_partial_state=True
        )  # only, or by the CPU if told so: else each would train alone
        state = PartialState(cpu=True)
    return state
