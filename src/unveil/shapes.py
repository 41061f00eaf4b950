"""Per-sample scalars against batches: the one place where a noise level meets a tensor's shape.

A level sigma of shape (B,) multiplied with y of shape (B, C, H, W) broadcasts over columns when B = W: silently
wrong. Every module therefore goes through `per_sample` (a (B,) vector) and `expand` (B, 1, ..., 1).
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["expand", "per_sample"]


def per_sample(value: float | Tensor, y: Tensor, name: str = "sigma") -> Tensor:
    """`value` as a (B,) tensor for the batch y (B, ...).

    value: a number, or a tensor with one element or one per sample: shape (), (1,), (B,) or (B, 1, ..., 1).
    Raises UnveilError for any other shape.
    """
    value = torch.as_tensor(value, dtype=y.dtype, device=y.device)
    if value.numel() == 1:
        return value.reshape(1).expand(y.shape[0])
    if value.numel() != y.shape[0] or value.shape[0] != y.shape[0]:
        raise UnveilError(
            f"{name} has shape {tuple(value.shape)} for a batch of {y.shape[0]}: "
            "pass one number or one value per sample"
        )
    return value.reshape(-1)


def expand(value: Tensor, y: Tensor) -> Tensor:
    """The (B,) vector `value` with trailing axes of length 1, so that it multiplies y (B, ...) sample by sample."""
    return value.reshape(-1, *[1] * (y.ndim - 1))
