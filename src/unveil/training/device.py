"""Where a run samples between its trainings: on accelerate's device, in the first process first."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import PartialState

__all__ = ["sampling_device"]


@contextmanager
def sampling_device(device: str) -> Iterator[torch.device]:
    """The device that training on `device` (auto, cpu, or a type) runs on.

    Among several processes the first goes through the block alone; the others follow, and find what it wrote.
    """
    state = PartialState(cpu=device == "cpu")
    with state.main_process_first():
        yield state.device
