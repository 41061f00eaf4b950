"""Reconstruction from incomplete measurements: networks trained on measurements alone beside the supervised one and others.

    python benchmarks/incomplete.py --task inpainting --train DIR --test DIR --steps 1500 --json OUT

Every training image is measured once, with one draw of noise; all but the supervised network see only these measurements.
Network, steps and batches are the same for all. Trainings are kept in --work: the same command goes on where it stopped.
"""

import copy
import math
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from common import parser, write
from imaging_methods import METHODS, Method
from tasks import TASKS, Task
from unveil.config import Config, parse_config
from unveil.data import MemorySource
from unveil.diffusion import DPM2M, fit_gain, reconstruction_samples, samples_under_prior
from unveil.errors import UnveilError
from unveil.estimators import Stationary
from unveil.estimators.reconstruction import largest_singular_value
from unveil.evaluation import features, frechet_distance, mean_square_error, psnr, ssim
from unveil.operators import magnitude
from unveil.problem import Problem, Several
from unveil.random import make_generator, normal
from unveil.risks import Each, LogUniform, Simulated, told
from unveil.training import build_estimator, train
from unveil.training.checkpoint import latest_checkpoint
from unveil.training.imaging import HIGHEST, learn_imaging, measurement_batches, open_prior
from unveil.training.imaging_recipes import make_imaging_risk, precision
from unveil.training.setup import possible_coarsening, signal_mean
from unveil.training.spectrum import learn_spectrum

TIMED_STEPS = 7
SAMPLED, FITTED = 16, 4
"""Test measurements that are sampled, and of these, those that the sampler's gain is fitted to."""


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--task", choices=TASKS, required=True)
    options.add_argument("--train", required=True, metavar="PATH", help="clean images, or what the task says")
    options.add_argument("--test", metavar="PATH", help="clean images, none of them in --train")
    options.add_argument("--methods", default="all", help="all, or some of " + ", ".join(METHODS))
    options.add_argument("--steps", type=int, default=1500, help="gradient steps")
    options.add_argument("--samples", type=int, default=4, help="posterior samples of each of the first test images")
    options.add_argument(
        "--work", type=Path, metavar="DIR", help="keeps the trainings; default: OUT without its ending"
    )
    options.add_argument("--plot", type=Path, metavar="PNG", help="where the pictures go")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    names = list(METHODS) if options.methods == "all" else options.methods.split(",")
    if unknown := set(names) - set(METHODS):
        sys.exit(f"unknown methods {sorted(unknown)}; there are {', '.join(METHODS)}")
    task = TASKS[options.task](options)
    y = measure(task.problem, task.train, task.sigma_n, 10)
    y_test = measure(task.test_problem, task.test, task.sigma_n, 20)
    table, pictures = {}, {}
    for name in names:
        f = learned(name, task, y, options)
        x_hat = reconstruct(f, y_test, task)
        table[name] = {"label": METHODS[name].label, **figures(x_hat, task)}
        if isinstance(f, nn.Module):
            table[name]["parameters"] = sum(p.numel() for p in f.parameters())
            if METHODS[name].recipe in ("supervised", "default"):  # the others learn nothing below sigma_n
                table[name] |= sampled(f, learned_prior(name, task, options), y_test, x_hat, task, options)
        pictures[name] = x_hat
        print(name, {k: round(v, 4) for k, v in table[name].items() if isinstance(v, float)}, flush=True)
    for name, ratio in step_times([n for n in names if METHODS[n].recipe not in CLASSICAL], task, y, options).items():
        table[name]["step_over_supervised"] = ratio
    result = {
        "task": options.task,
        "sigma_n": task.sigma_n,
        "steps": options.steps,
        "images": {"train": len(task.train), "test": len(task.test)},
        "image_shape": list(task.train.shape[1:]),
        "measured": float(task.test_problem.at(torch.zeros(1, dtype=torch.long)).count(y_test[:1])),
        "methods": table,
    }
    write(options.json, options, result)
    if options.plot:
        from plots import plot_reconstructions

        plot_reconstructions(task.test, pictures, {name: METHODS[name].label for name in names}, options.plot)


def measure(problem, x: Tensor, sigma: float, key: int) -> Tensor:
    """One noisy measurement of each image."""
    parts = []
    for which in torch.arange(len(x)).split(64):
        part = problem.at(which)
        u = part.predict(x[which])
        parts.append(u + part.project(sigma * normal(u, make_generator("cpu", key, int(which[0])))))
    return torch.cat(parts)


def configuration(task: Task, method: Method, options) -> Config:
    settings = copy.deepcopy(task.settings)
    recipe = "default" if method.recipe in (*LOWEST, *CLASSICAL) else method.recipe
    settings["risk"] = {"dilation": [1], **settings.get("risk", {}), "recipe": recipe, **method.risk}
    settings["estimator"] = {**settings.get("estimator", {}), **method.estimator}
    training = {"batch": 8, "checkpoint_every": 250, "validate_every": options.steps, "warmup": min(100, options.steps)}
    settings["training"] = {**training, **settings.get("training", {}), "steps": options.steps}
    values = {"seed": options.seed, "data": {"path": "simulated"}, "refine": method.refine, **settings}
    return parse_config(values, "benchmark")


def source(y: Tensor) -> MemorySource:
    return MemorySource({str(i): part for i, part in enumerate(y)})


LOWEST = {"supervised": 0.08, "supervised-above": 1.0}
"""The lowest level that the supervised networks train at, over sigma_n: all that sampling needs, or what the others have data for."""


def supervised_objective(task: Task, config: Config, lowest: float):
    """Fresh noise on A x at every level from `lowest` sigma_n up, against the clean image."""
    levels = LogUniform(lowest * task.sigma_n, config.risk.levels[1] * task.sigma_n)
    return Each(task.problem, lambda part, _: Simulated(part, levels, precision))


def learned(name: str, task: Task, y: Tensor, options):
    """The trained estimator of a method, from --work if it is there; or the name of a classical one."""
    method = METHODS[name]
    if method.recipe in CLASSICAL:
        return CLASSICAL[method.recipe](task, y)
    config = configuration(task, method, options)
    folder = folder_of(name, options)
    folder.mkdir(parents=True, exist_ok=True)
    estimator = build_estimator(config, y.shape[1], task.problem)
    start = time.monotonic()

    def progress(done: int, total: int, metrics: dict[str, float]) -> None:
        if done % 100 == 0 or done == total:
            print(
                f"{options.task}, {name}: {done}/{total}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True
            )

    if method.recipe in LOWEST:
        if estimator.prior is not None and latest_checkpoint(folder / "checkpoints") is None:
            learn_spectrum(estimator.prior, source(y), task.problem, task.sigma_n, seed=options.seed)
        batches = measurement_batches(source(task.train), 0.0, config.training.batch)
        return train(
            estimator,
            supervised_objective(task, config, LOWEST[method.recipe]),
            batches,
            config.training,
            folder,
            seed=options.seed,
            progress=progress,
        )
    held_out = source(y[:4])  # measurements too; only printed
    return learn_imaging(
        estimator, source(y), task.problem, held_out, task.problem.subset(range(4)), task.sigma_n, config, folder,
        device="cpu", stages=lambda title: progress,
    )  # fmt: skip


def folder_of(name: str, options) -> Path:
    return (options.work or options.json.with_suffix("")) / name


def learned_prior(name: str, task: Task, options):
    """The denoiser of the images under which x is sampled, of a method with rounds; else None."""
    config = configuration(task, METHODS[name], options)
    return open_prior(folder_of(name, options), config, task.train.shape[1], signal_mean(config))


def pseudo_inverse(y: Tensor, sigma: float, problem: Problem) -> Tensor:
    return problem.pseudo_inverse(y)


def total_variation(y: Tensor, sigma: float, problem: Problem, weight: float = 1.0, iterations: int = 60) -> Tensor:
    """argmin |A x - y|^2 / 2 + weight sigma TV(x) by accelerated proximal gradients (Beck and Teboulle 2009)."""
    from deepinv.optim import TVPrior

    prior, step = TVPrior(n_it_max=15), 1 / largest_singular_value(problem) ** 2
    x = z = problem.pseudo_inverse(y)
    t = 1.0
    for _ in range(iterations):
        moved = z - step * problem.adjoint(problem.predict(z) - y)
        new = prior.prox(moved, gamma=step * weight * sigma)
        t_new = (1 + math.sqrt(1 + 4 * t**2)) / 2
        x, z, t = new, new + (t - 1) / t_new * (new - x), t_new
    return x


def tuned_total_variation(task: Task, y: Tensor):
    """Total variation with the weight that is best for eight training images, known to it alone among the methods."""
    which = torch.arange(min(8, len(y)))
    part = task.problem.at(which)
    weights = (0.1, 0.2, 0.4, 0.8)
    errors = [
        float((total_variation(y[which], task.sigma_n, part, w) - task.train[which]).square().mean()) for w in weights
    ]
    return partial(total_variation, weight=weights[errors.index(min(errors))])


def linear(task: Task, y: Tensor):
    """The best linear estimate under the spectrum that the measurements tell: what the networks start from."""
    form = task.settings.get("estimator", {})
    prior = Stationary(tuple(task.train.shape[1:]), form.get("mean", 0.5), form.get("deviation", 0.25))
    learn_spectrum(prior, source(y), task.problem, task.sigma_n)
    return lambda y, sigma, problem: prior.estimate(problem, y, torch.full((len(y),), sigma))


CLASSICAL = {"pseudo-inverse": lambda task, y: pseudo_inverse, "linear": linear, "tv": tuned_total_variation}


@torch.no_grad()
def reconstruct(f, y: Tensor, task: Task) -> Tensor:
    """x_hat of all test measurements."""
    parts = []
    for which in torch.arange(len(y)).split(8):
        part = task.test_problem.at(which)
        sigma = torch.full((len(which),), task.sigma_n)
        parts.append(told(f, part)(y[which], sigma) if isinstance(f, nn.Module) else f(y[which], task.sigma_n, part))
    return torch.cat(parts)


def shown(x: Tensor) -> Tensor:
    """Complex images as their modulus."""
    return magnitude(x) if x.shape[1] == 2 else x


def figures(x_hat: Tensor, task: Task) -> dict[str, float]:
    """PSNR (mean over images, of complex images as such) in dB, that of what A does not see, and SSIM."""
    error = x_hat - task.test
    part = task.test_problem.at(torch.arange(len(error)))
    unseen = error - part.pseudo_inverse(part.predict(error))
    dimension = error[0].numel() - float(part.count(part.predict(error)).mean())
    result = {
        "psnr": statistics.mean(psnr(float(e)) for e in mean_square_error(x_hat, task.test)),
        "ssim": statistics.mean(ssim(a, b) for a, b in zip(shown(x_hat), shown(task.test))),
    }
    if dimension > 0:
        result["psnr_unseen"] = psnr(float(unseen.square().flatten(1).sum(1).mean()) / dimension)
    return result | distance("estimates", x_hat[:SAMPLED], task.test[:SAMPLED])


def distance(name: str, images: Tensor, x: Tensor) -> dict[str, float]:
    """How unlike clean images they look: the Frechet distance of features of patches, where there are enough patches of 32x32."""
    if x.shape[1] > 2 or min(x.shape[-2:]) < 64:
        return {}
    real, found = (features(shown(part).clamp(0, 1)) for part in (x, images))
    return {f"distance_{name}": frechet_distance(real, found)}


def sampled(f: nn.Module, prior, y: Tensor, x_hat: Tensor, task: Task, options) -> dict[str, float]:
    """Samples of the first test images: PSNR, spread over error in x and in A x, and their Frechet distance to the truth."""
    y, x_hat, x = y[:SAMPLED], x_hat[:SAMPLED], task.test[:SAMPLED]
    problem = task.test_problem.subset(range(len(y)))
    samples = draw(f, prior, y, x_hat, problem, task.sigma_n, options)
    part = problem.at(torch.arange(len(y)))
    spread = torch.stack([part.predict(one) for one in samples]).var(0)
    missed = part.predict(x_hat - x)
    result = {
        "psnr_sample": statistics.mean(psnr(float(e)) for e in mean_square_error(samples[0], x)),
        "spread_over_error": float(samples.var(0).mean() / mean_square_error(x_hat, x).mean()),
        "spread_over_error_measured": float(
            part.inner(spread, torch.ones_like(spread)).mean() / part.inner(missed, missed).mean()
        ),
    }
    return result | distance("samples", samples.flatten(0, 1), x)


def draw(f: nn.Module, prior, y: Tensor, x_hat: Tensor, problem, sigma_n: float, options) -> Tensor:
    """Samples (S, B, C, H, W): under the learned prior of the images, or in measurement space with a gain fitted to some y."""
    generator, low = make_generator("cpu", options.seed, 30), 0.05 * sigma_n
    how = {"samples": options.samples, "steps": 25, "sigma_min": low, "generator": generator}
    if prior is not None:
        return samples_under_prior(prior, problem, y, sigma_n, x_hat, HIGHEST * prior.deviation, **how)
    try:
        few = problem.subset(range(min(FITTED, len(y))))
        gain = fit_gain(f, y[:FITTED], sigma_n, steps=25, sigma_min=low, batch=8, problem=few)
    except UnveilError:  # the error is too small a part of the noise to be estimated
        gain = 0.0
    g = f if isinstance(problem, Several) else told(f, problem)
    return reconstruction_samples(g, problem, y, sigma_n, solver=DPM2M(gain), batch=8, **how)


def step_times(names: list[str], task: Task, y: Tensor, options) -> dict[str, float]:
    """Time of a gradient step over that of the supervised one, each pair measured together; medians."""
    supervised = timed_step(METHODS["supervised"], task, y, options)
    steps = {name: timed_step(METHODS[name], task, y, options) for name in names}
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(TIMED_STEPS + 1):
        for name in names:
            base = supervised(turn)
            ratio = steps[name](turn) / base
            if turn:  # the first one allocates
                ratios[name].append(ratio)
    return {name: statistics.median(values) for name, values in ratios.items()}


def timed_step(method: Method, task: Task, y: Tensor, options):
    """A function that takes one gradient step, batch included, and returns its seconds."""
    config = configuration(task, method, options)
    f = build_estimator(config, y.shape[1], task.problem)
    optimizer = torch.optim.AdamW(f.parameters(), lr=1e-4)
    if method.recipe in LOWEST:
        objective, data, level = supervised_objective(task, config, LOWEST[method.recipe]), task.train, 0.0
    else:
        dilation = possible_coarsening(config, task.problem)
        objective = Each(task.problem, lambda *problems: make_imaging_risk(config.risk, *problems), dilation)
        data, level = y, task.sigma_n
    batches = measurement_batches(source(data), level, config.training.batch)

    def step(turn: int) -> float:
        begin = time.perf_counter()
        batch = batches(make_generator("cpu", 0, turn))
        optimizer.zero_grad()
        objective(f, *batch, make_generator("cpu", 1, turn)).mean().backward()
        optimizer.step()
        return time.perf_counter() - begin

    return step


if __name__ == "__main__":
    main()
