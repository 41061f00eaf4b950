"""Single precision that is single precision: what the library computes does not depend on the kind of device."""

import warnings

import torch

__all__ = ["full_precision"]


def full_precision() -> None:
    """Make convolutions and products of matrices in float32 keep its 24 bits, in all of this process.

    By default cuDNN rounds what it convolves to TF32, of 11 bits (https://pytorch.org/docs/stable/notes/cuda.html):
    outputs err by 1e-3, of which the differences f(y + e) - f(y) of Stein's probe are made, 1e-2 of the noise apart,
    and an equivariant network is equivariant to no more. Mixed precision, where a training asks for it
    (`training.precision`), is of other types, and stays as it is.
    """
    with warnings.catch_warnings():
        # from torch 2.9 on these are called deprecated; torch 2.6 has no others, and with the others set, these raise
        # wherever they are read (https://github.com/pytorch/pytorch/issues/179445)
        warnings.simplefilter("ignore", UserWarning)
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
