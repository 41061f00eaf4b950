"""What an example is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from unveil.operators.base import Operator

__all__ = ["COUNT", "HELDOUT", "SIDE", "Example"]

COUNT = 200
"""How many images are measured for training."""
HELDOUT = 4
"""How many more are measured, for evaluation."""
SIDE = 64
"""Height and width of an image, pixels."""


@dataclass(frozen=True)
class Example:
    """Images and the system that measures them.

    images:  x (N, C, H, W), about in [0, 1]; the last HELDOUT of them are kept out of training.
    operator: of all of them. sigma: the noise level, in the units of y.
    section:  the keys of the configuration that describe `operator`, with the paths of its files.
    files:   name -> array (.npy) or text, of what `section` names.
    about:   what is simulated, a line of text.
    """

    images: Tensor
    operator: Operator
    sigma: float
    section: Mapping[str, Any]
    about: str
    files: Mapping[str, np.ndarray | str] = field(default_factory=dict)
