"""Per-sample scalars against batches: the one place where a noise level meets a tensor's shape.

A level sigma of shape (B,) multiplied with y of shape (B, C, H, W) broadcasts over columns when B = W: silently
wrong. Every module therefore goes through `per_sample` (a (B,) vector) and `expand` (B, 1, ..., 1).
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["check_images", "expand", "per_entry", "per_sample", "times"]


def per_sample(value: float | Tensor, y: Tensor, name: str = "sigma") -> Tensor:
    """Return `value` as a (B,) tensor for the batch y (B, ...).

    value: a number, or a tensor with one element or one per sample: shape (), (1,), (B,) or (B, 1, ..., 1).
    Raises UnveilError for any other shape, and for a `y` that is no tensor of floating point.
    """
    check_images(y)
    value = torch.as_tensor(value, dtype=y.dtype, device=y.device)
    if value.numel() == 1:
        return value.reshape(1).expand(y.shape[0])
    if value.numel() != y.shape[0] or value.shape[0] != y.shape[0]:
        raise UnveilError(
            f"{name} has shape {tuple(value.shape)} for a batch of {y.shape[0]}: "
            "pass one number or one value per sample"
        )
    return value.reshape(-1)


def per_entry(value: float | Tensor, y: Tensor, name: str) -> Tensor:
    """Return `value` as a tensor to multiply the batch y (B, ...) with.

    value: as of `per_sample`; or a map (1, C, H, W) of all samples, or (B, C, H, W), whose C may be 1 unless y is
        (B, C H W).
    Raises UnveilError for any other shape.
    """
    if not (isinstance(value, Tensor) and value.ndim == 4 and value[0].numel() > 1):
        return expand(per_sample(value, y, name), y)
    in_a_row = y.ndim == 2 and value[0].numel() == y.shape[1]  # beside another instrument's
    fits = in_a_row or (y.ndim == 4 and value.shape[2:] == y.shape[2:] and value.shape[1] in (1, y.shape[1]))
    if not (fits and value.shape[0] in (1, len(y))):
        raise UnveilError(
            f"{name} is a map of shape {tuple(value.shape)} for images of shape {tuple(y.shape)}: it must be theirs"
        )
    return value.to(y).flatten(1) if in_a_row else value.to(y)


def times(value: float | Tensor, factor: float | Tensor) -> Tensor:
    """Return value times factor, () or (B,); a map (1 or B, C, H, W) sample by sample.

    On the factor's device; on the value's where the factor is on the CPU, where numbers are.
    """
    value, factor = torch.as_tensor(value), torch.as_tensor(factor)
    device = value.device if factor.device.type == "cpu" else factor.device
    factor = factor.to(device)
    return value.to(device) * (factor.reshape(-1, 1, 1, 1) if value.ndim == 4 else factor)


def check_images(y: Tensor) -> None:
    """Raise UnveilError unless `y` is a tensor of floating point."""
    if not isinstance(y, Tensor):
        raise UnveilError(f"y is a {type(y).__module__}.{type(y).__name__}: pass a tensor, torch.from_numpy(y).float()")
    if not y.is_floating_point():
        raise UnveilError(f"y is a tensor of {y.dtype}: pass floating point, y.float(), on the scale of the training")


def expand(value: Tensor, y: Tensor) -> Tensor:
    """Return the (B,) vector `value` with trailing axes of length 1, to multiply y (B, ...) sample by sample."""
    return value.reshape(-1, *[1] * (y.ndim - 1))
