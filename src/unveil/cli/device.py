"""The device that a command runs on."""

import torch

from unveil.errors import UnveilError
from unveil.precision import full_precision

__all__ = ["torch_device"]


def torch_device(device: str) -> torch.device:
    """Return the device of that name; auto is the accelerator, where there is one.

    Single precision is full precision from here on (`unveil.precision`).
    """
    full_precision()
    if device == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen).item()  # of the device meta nothing has a value
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UnveilError(f"--device {device}: not on this machine; use --device cpu or auto") from None
    return chosen
