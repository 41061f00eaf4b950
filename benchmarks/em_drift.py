"""Where expectation maximisation goes from the right network: samples beside a camera, as it learns from its own draws.

    python benchmarks/em_drift.py --train DIR --test DIR --steps 1500 --work DIR --json OUT

MRI x8 of 64x64. f learns beside a camera from the images themselves; then, for half as many steps at half the rate,
from measurements alone and from its own draws (`unveil.training.looks`), which begin at once. Were a round of EM
without error it would stay where it is. At the start, and at each eighth of those steps:

psnr, psnr_sample, spread_over_error, distance_samples: as in incomplete.py
air           root mean square of the samples where images are black, 4 pixels and more from anything
power         of samples over that of images, in the four quarters of the frequencies
"""

import copy
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from common import parser, write
from imaging_methods import METHODS
from incomplete import LOWEST, SAMPLED, configuration, dataset, draw, figures, measure, reconstruct, sampled, supervised
from tasks import TASKS, Task
from unveil.losses import Looks
from unveil.measurement import Measurement
from unveil.operators import magnitude
from unveil.symmetry import make_symmetry
from unveil.training import build_estimator, looks, train
from unveil.training.batches import make_batches
from unveil.training.learn import LOWEST_LOOK, recipe_loss

BLACK, APART = 0.03, 9
"""What counts as black, of a brightest pixel of about 1; and the window (pixels) in which all must be."""


def seen(f: nn.Module, test: Measurement, task: Task, options) -> dict:
    """Figures of f and of its samples."""
    f = copy.deepcopy(f).eval()
    x_hat, x = reconstruct(f, test), task.test[:SAMPLED]
    found = figures(x_hat, task) | sampled(f, None, test, x_hat, task, options)
    drawn = draw(f, None, test[:SAMPLED], x_hat[:SAMPLED], options)  # the same samples again
    air = nn.functional.max_pool2d(magnitude(x), APART, 1, APART // 2) < BLACK
    found["air"] = float(((drawn.square().mean(2, keepdim=True) * air).sum() / (len(drawn) * air.sum())).sqrt())
    found["power"] = [a / b for a, b in zip(quarters(drawn), quarters(x))]
    return found


def quarters(x: Tensor) -> list[float]:
    """Mean power of complex images (..., 2, H, W) in four rings of equal width."""
    coefficients = torch.fft.fft2(torch.complex(x[..., 0, :, :], x[..., 1, :, :]), norm="ortho").abs().square()
    u, v = (torch.fft.fftfreq(n).abs() for n in x.shape[-2:])
    radius = (u[:, None] ** 2 + v**2).sqrt()
    edges = [0.5 * k / 4 for k in range(5)]
    return [float(coefficients[..., (low <= radius) & (radius < high)].mean()) for low, high in pairwise(edges)]


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--train", required=True, metavar="DIR", help="clean images")
    options.add_argument("--test", required=True, metavar="DIR", help="clean images, none of them in --train")
    options.add_argument("--steps", type=int, default=1500, help="of the supervised network")
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="keeps the trainings")
    options.set_defaults(samples=2, evaluations=25)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    task = TASKS["mri8-small"](options)
    test = measure(task.test_operator, task.test, task.sigma_n, 20)
    data = dataset(measure(task.operator, task.train, task.sigma_n, 10))

    config = configuration(task, METHODS["supervised-camera"], options)
    f = build_estimator(config, data.source.channels, task.operator)
    loss, batches = supervised(task, config, LOWEST["supervised"])
    f = train(f, loss, batches, config.training, options.work / "supervised", seed=options.seed, device=options.device)

    config = configuration(task, METHODS["camera"], options)
    steps, training = options.steps // 2, config.training
    training = training.model_copy(update={"steps": steps, "learning_rate": training.learning_rate / 2})
    queue = looks.Queue(tuple(task.train.shape[1:]), looks.Queue.size(steps, training.batch))
    turned = make_symmetry([name for name in config.loss.symmetry if name != "amplitude"])
    again = Looks(config.estimator.std, LOWEST_LOOK, float(f.scale), turned)
    objective = looks.LearningFromDraws(recipe_loss(config, data), again, queue, config.loss.camera, steps)
    objective.begin = objective.camera = 0.0  # draws by the camera from the first step on
    table = {"0": seen(f, test, task, options)}

    def progress(done: int, total: int, metrics: dict[str, float]) -> None:
        if done * 8 % total < 8:
            table[str(done)] = seen(queue.teachers[0], test, task, options)
            print(done, table[str(done)], flush=True)

    train(
        f, objective, make_batches(data, training.batch, training.crop, (1,), False), training, options.work / "em",
        seed=options.seed, device=options.device, kept=queue, progress=progress,
    )  # fmt: skip
    write(options.json, options, {"sigma_n": task.sigma_n, "steps": table})


if __name__ == "__main__":
    main()
