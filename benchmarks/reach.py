"""How much of the gap to the supervised network is of what no measurement sees, whichever way images are turned?

    python benchmarks/reach.py --task eht --train DIR --steps 600 --work DIR --json OUT

M = E_g[T_g^T A^T A T_g] / sigma_n^2 is what one measurement of a turned image says of each direction v; an eigenvector
whose eigenvalue times the variance of images along it (of --train) is above 1 is seen above the noise, and one below
.01 is not seen. The errors of the networks of incomplete.py, with the same options, trained here or found in --work,
are split by it: PSNR of each part of the error by itself, dB, so that 10^(-PSNR / 10) of the parts add up. "nothing
learned" is the error of the mean image.

For images of some thousand pixels at most: M is a matrix.
"""

from pathlib import Path

import torch
from torch import Tensor

from common import parser, write
from incomplete import METHODS, dataset, learned, measure, reconstruct
from tasks import TASKS, Task
from unveil.evaluation import psnr
from unveil.identifiability.average import Average
from unveil.random import make_generator
from unveil.symmetry import make_symmetry

NOISE, NOTHING = 1.0, 0.01
"""Variance of images over that of the noise along a direction: seen from the first on, not seen below the second."""


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--task", choices=TASKS, default="eht")
    options.add_argument("--train", required=True, metavar="PATH")
    options.add_argument("--test", metavar="PATH")
    options.add_argument("--methods", default="default,supervised", help="of " + ", ".join(METHODS))
    options.add_argument("--steps", type=int, default=600)
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="keeps the trainings")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    task = TASKS[options.task](options)
    vectors, parts = directions(task, options.seed)
    x = task.test.flatten(1).double()
    mean = task.train.flatten(1).double().mean(0)
    data = dataset(measure(task.operator, task.train, task.sigma_n, 10))
    test = measure(task.test_operator, task.test, task.sigma_n, 20)
    errors = {"nothing learned": mean - x}
    for name in options.methods.split(","):
        errors[name] = reconstruct(learned(name, task, data, options), test).flatten(1).double() - x
    table = {name: split(error @ vectors, parts) for name, error in errors.items()}
    for name, row in table.items():
        print(name, {key: round(value, 2) for key, value in row.items()}, flush=True)
    counts = {name: int(part.sum()) for name, part in parts.items()}
    write(options.json, options, {"task": options.task, "steps": options.steps, "directions": counts, "psnr": table})


def directions(task: Task, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The eigenvectors of M as columns (n, n), and which of them (n,) are seen, hardly seen and not seen."""
    symmetry = make_symmetry(task.settings["loss"]["symmetry"])
    like = torch.empty(1, *task.train.shape[1:], dtype=torch.float64)
    average = Average(task.operator, symmetry, like, make_generator("cpu", seed))
    values, vectors = torch.linalg.eigh(average.matrix() / task.sigma_n**2)
    variance = (task.train.flatten(1).double() @ vectors).var(0)
    ratio = values.clamp_min(0) * variance
    seen, hidden = ratio > NOISE, ratio < NOTHING
    return vectors, {"seen": seen, "hardly seen": ~(seen | hidden), "not seen": hidden}


def split(error: Tensor, parts: dict[str, Tensor]) -> dict[str, float]:
    """PSNR of the mean square error (N, n), and of its parts."""
    squares = error.square().mean(0) / error.shape[1]
    return {"all": psnr(float(squares.sum()))} | {
        name: psnr(float(squares[which].sum())) for name, which in parts.items()
    }


if __name__ == "__main__":
    main()
