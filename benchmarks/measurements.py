"""The measurements of a task as files, for the configurations in examples/: y, what the system needs, and the clean
test images.

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
from unveil.instruments.cryoem.operator import ContrastTransfer


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--task", choices=TASKS, required=True)
    options.add_argument("--train", required=True, metavar="PATH", help="clean images, or what the task says")
    options.add_argument("--test", metavar="PATH", help="clean images, none of them in --train")
    options.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = options.parse_args()
    task = TASKS[options.task](options)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, x, operator, key in (
        ("measurements", task.train, task.operator, 10),
        ("heldout", task.test, task.test_operator, 20),
    ):
        np.save(options.out / f"{name}.npy", measure(operator, x, task.sigma_n, key).y.numpy())
    np.save(options.out / "reference.npy", task.test.numpy())
    describe(task.operator, options.out, "")
    describe(task.test_operator, options.out, "heldout-")
    if options.task == "eht":
        shutil.copy(Path(options.train) / "EHT2017.txt", options.out / "stations.txt")
    print(f"sigma_n = {task.sigma_n:.6g}: noise.sigma of the configuration")


def describe(operator, folder: Path, prefix: str) -> None:
    """The mask, or the table of defoci, beside the measurements."""
    if isinstance(operator, ContrastTransfer):
        with open(folder / f"{prefix}ctf.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["defocus_u"])
            table.writerows([value] for value in operator.parameters[:, operator.names.index("defocus_u")].tolist())
    elif operator.measured is not None:
        mask = operator.measured[:, 0].expand(-1, *operator.measurement_shape[1:]).numpy()
        np.save(folder / f"{prefix}mask.npy", mask if operator.count else mask[0])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
