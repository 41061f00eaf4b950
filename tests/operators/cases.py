"""One small problem of each imaging system, by name: what the property tests of all operators run on."""

from collections.abc import Callable

import torch

from unveil.operators import inpainting, missing_box, random_mask
from unveil.problem import Problem, Several
from unveil.random import make_generator

CASES: dict[str, Callable[[], Problem | Several]] = {
    "inpainting, random pixels": lambda: inpainting(random_mask(8, 10, 0.7, make_generator("cpu", 1)), channels=3),
    "inpainting, a box": lambda: inpainting(missing_box(8, 10, 2, 3, 4, 5)),
    "inpainting, one mask per image": lambda: inpainting(
        torch.rand(5, 8, 10, generator=make_generator("cpu", 2)) < 0.7
    ),
}
