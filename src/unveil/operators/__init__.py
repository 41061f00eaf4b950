"""Imaging systems y = A x + n: a named constructor each, one system a file, on deepinv's physics where it has one.

A constructor returns a `Problem`, or `Several` when each measurement has an operator of its own. Both y and x are real
tensors (C, H, W); complex entries are two channels, and coils or visibilities lie along the axes that the constructor states.
"""

from unveil.operators.inpainting import inpainting, missing_box, random_mask

__all__ = ["inpainting", "missing_box", "random_mask"]
