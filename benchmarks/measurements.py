"""The measurements of a task as files, for the configurations in examples/: y, what the system needs, and the clean test images.

python benchmarks/measurements.py --task inpainting --train DIR --test DIR --out measurements/inpainting
"""

import argparse
import csv
import shutil
from pathlib import Path

import numpy as np
import torch

from incomplete import measure
from tasks import TASKS
from unveil.problem import Several


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--task", choices=TASKS, required=True)
    options.add_argument("--train", required=True, metavar="PATH", help="clean images, or what the task says")
    options.add_argument("--test", metavar="PATH", help="clean images, none of them in --train")
    options.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = options.parse_args()
    task = TASKS[options.task](options)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, x, problem, key in (
        ("measurements", task.train, task.problem, 10),
        ("heldout", task.test, task.test_problem, 20),
    ):
        np.save(options.out / f"{name}.npy", measure(problem, x, task.sigma_n, key).numpy())
    np.save(options.out / "reference.npy", task.test.numpy())
    describe(task.problem, options.out, "")
    describe(task.test_problem, options.out, "heldout-")
    if options.task == "eht":
        shutil.copy(Path(options.train) / "EHT2017.txt", options.out / "stations.txt")
    print(f"sigma_n = {task.sigma_n:.6g}: noise.sigma of the configuration")


def describe(problem, folder: Path, prefix: str) -> None:
    """The mask, or the table of defoci, beside the measurements."""
    if isinstance(problem, Several) and "defocus_u" in problem.parameters:
        with open(folder / f"{prefix}ctf.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["defocus_u"])
            table.writerows([value] for value in problem.parameters["defocus_u"].tolist())
    elif isinstance(problem, Several):
        np.save(folder / f"{prefix}mask.npy", problem.parameters["mask"].numpy() != 0)
    elif problem.measured is not None:
        np.save(folder / f"{prefix}mask.npy", problem.measured[0, 0].expand(problem.measurement_shape[1:]).numpy())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
