"""Reconstruction from incomplete measurements: networks trained on measurements alone beside the supervised one and
others.

    python benchmarks/incomplete.py --task inpainting --train DIR --test DIR --steps 1500 --json OUT

Every training image is measured once, with one draw of noise; all but the supervised network see only these
measurements. Network, steps and batches are the same for all. Trainings are kept in --work: the same command goes on
where it stopped.
"""

import copy
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import diem
import msm
import reynolds
import weighted_ssdu
from common import parser, write
from features import features
from frechet import frechet_distance
from imaging_methods import METHODS, Method
from published import BySamples, Learning, Setting
from tasks import TASKS, Task
from unveil.config import Config, parse_config
from unveil.config_file import override
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.diffusion import fit_inflation, posterior_samples, samples_by_camera
from unveil.errors import UnveilError
from unveil.estimators import Preconditioned, Stationary
from unveil.evaluation import mean_square_error, psnr, ssim
from unveil.losses import LogUniform, Looks, Simulated
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Operator, magnitude
from unveil.random import make_generator
from unveil.training import build_estimator, learn, make_loss, train
from unveil.training.batches import make_batches
from unveil.training.checkpoint import latest_checkpoint
from unveil.training.learn import LOWEST_LOOK
from unveil.training.recipes import RECIPES, suited
from unveil.training.setup import possible_scales, signal_mean
from unveil.training.spectrum import learn_spectrum

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
    options.add_argument("--evaluations", type=int, default=25, help="of the network, a sample")
    options.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="over the task's own settings")
    options.add_argument("--tested", type=int, help="test images at most, spread over all")
    options.add_argument("--timed", type=int, default=7, help="gradient steps whose times are compared; 0: none")
    options.add_argument(
        "--work", type=Path, metavar="DIR", help="keeps the trainings; default: OUT without its ending"
    )
    options.add_argument("--plot", type=Path, metavar="PNG", help="where the pictures go")
    options.add_argument("--plot-samples", type=Path, metavar="PNG", help="where pictures of samples go")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    names = list(METHODS) if options.methods == "all" else options.methods.split(",")
    if unknown := set(names) - set(METHODS):
        sys.exit(f"unknown methods {sorted(unknown)}; there are {', '.join(METHODS)}")
    task = TASKS[options.task](options)
    task = replace(task, settings=override(task.settings, options.set))
    if options.tested:
        task = replace(task, test=task.test[:: max(1, len(task.test) // options.tested)][: options.tested])
    data = dataset(measure(task.operator, task.train, task.sigma_n, 10))
    test = measure(task.test_operator, task.test, task.sigma_n, 20).to(options.device)
    task = replace(task, test=task.test.to(options.device), test_operator=task.test_operator.to(options.device))
    table, pictures, drawn = {}, {}, {}
    for name in names:
        begin, before = time.process_time(), latest_checkpoint(folder_of(name, options) / "checkpoints")
        f = learned(name, task, data, options)
        spent = {"processor_seconds": time.process_time() - begin} if before is None else {}  # else a part of it
        table[name] = {"label": METHODS[name].label, **spent}
        if isinstance(f, BySamples):
            table[name] |= by_samples(f, test, task, options)
            print(name, {k: round(v, 4) for k, v in table[name].items() if isinstance(v, float)}, flush=True)
            continue
        x_hat = reconstruct(f, test)
        table[name] |= figures(x_hat, task)
        if isinstance(f, nn.Module):
            table[name]["parameters"] = sum(p.numel() for p in f.parameters())
            below = METHODS[name].recipe in ("supervised", "default") or METHODS[name].loss.get("camera")
            if below:  # the others learn nothing below sigma_n
                drawn[name], more = sampled(f, test, x_hat, task, options)
                table[name] |= more
        pictures[name] = x_hat
        print(name, {k: round(v, 4) for k, v in table[name].items() if isinstance(v, float)}, flush=True)
    timed = [n for n in names if METHODS[n].recipe not in (*CLASSICAL, *PUBLISHED)] if options.timed else []
    for name, ratio in step_times(timed, task, data, options).items():
        table[name]["step_over_supervised"] = ratio
    result = {
        "task": options.task,
        "sigma_n": task.sigma_n,
        "steps": options.steps,
        "images": {"train": len(task.train), "test": len(task.test)},
        "image_shape": list(task.train.shape[1:]),
        "measured": float(test.operator.project(torch.ones_like(test.y))[0].sum()),
        "methods": table,
    }
    write(options.json, options, result)
    if options.plot:
        from plots import plot_reconstructions

        plot_reconstructions(task.test, pictures, {name: METHODS[name].label for name in names}, options.plot)
    if options.plot_samples:
        from plots import plot_samples

        rows = {METHODS[name].label: (pictures[name], samples) for name, samples in drawn.items()}
        plot_samples(task.test, rows, options.plot_samples)


def measure(operator: Operator, x: Tensor, sigma: float, key: int) -> Measurement:
    """One noisy measurement of each image."""
    noise, parts = Gaussian(sigma), []
    for which in torch.arange(len(x)).split(64):
        u = operator.select(which).A(x[which])
        parts.append(noise.sample(u, make_generator("cpu", key, int(which[0]))))
    return Measurement(torch.cat(parts), operator, noise)


def dataset(m: Measurement) -> Dataset:
    return Dataset(source(m.y), m.operator, m.noise)


def configuration(task: Task, method: Method, options) -> Config:
    settings = copy.deepcopy(task.settings)
    recipe = "default" if method.recipe in (*LOWEST, *CLASSICAL, *PUBLISHED) else method.recipe
    own = {"recipe": recipe, "camera": 0.0, **method.loss}  # a camera is a method's choice, not the instrument's
    settings["loss"] = {"scales": [1], **settings.get("loss", {}), **own}
    settings["estimator"] = {**settings.get("estimator", {}), **method.estimator}
    training = {"batch": 8, "checkpoint_every": 250, "validate_every": options.steps, "warmup": min(100, options.steps)}
    settings["training"] = {**training, **settings.get("training", {}), "steps": options.steps}
    values = {"seed": options.seed, "data": {"path": "simulated"}, "em": method.em, **settings}
    return parse_config(values, "benchmark")


def source(y: Tensor) -> MemorySource:
    return MemorySource({str(i): part for i, part in enumerate(y)})


LOWEST = {"supervised": 0.08, "supervised-above": 1.0}
"""The lowest level that the supervised networks train at, over sigma_n: all that sampling needs, or what the others
have data for."""


@dataclass(frozen=True)
class Pairs:
    """Clean images, and the operators that measure them."""

    x: Tensor
    operator: Operator

    def to(self, device: str) -> "Pairs":
        return Pairs(self.x.to(device), self.operator.to(device))


def supervised(task: Task, config: Config, lowest: float) -> tuple[Callable, Callable]:
    """The loss of fresh noise on A x at every level from `lowest` sigma_n up, against the clean image; and its
    batches."""
    simulated, noise = Simulated(LogUniform(lowest, config.loss.levels[1])), Gaussian(task.sigma_n)
    looks = Looks(config.estimator.std, LOWEST_LOOK, task.operator.spectral_norm())

    def batches(generator: torch.Generator) -> Pairs:
        which = torch.randint(0, len(task.train), (config.training.batch,), generator=generator)
        return Pairs(task.train[which], task.operator.select(which))

    def loss(f: nn.Module, pairs: Pairs, generator: torch.Generator) -> Tensor:
        values = simulated(f, pairs.x, pairs.operator, noise, generator)
        if not config.loss.camera:
            return values
        return values + config.loss.camera * looks(f, pairs.x, pairs.operator, noise, generator)

    return loss, batches


def unsupervised(task: Task, config: Config, data: Dataset) -> tuple[Callable, Callable]:
    """The loss of a recipe, and its batches."""
    batches = make_batches(data, config.training.batch, config.training.crop, scales_of(config, data), False)
    return make_loss(suited(config.loss, data.operator, data.noise), signal_mean(config)), batches


def scales_of(config: Config, data: Dataset) -> tuple[int, ...]:
    return possible_scales(config, data.source, data.operator) if RECIPES[config.loss.recipe].scales else (1,)


def learned(name: str, task: Task, data: Dataset, options):
    """The trained estimator of a method, from --work if it is there; or a classical one."""
    method = METHODS[name]
    if method.recipe in CLASSICAL:
        return CLASSICAL[method.recipe](task, data)
    config = configuration(task, method, options)
    folder = folder_of(name, options)
    folder.mkdir(parents=True, exist_ok=True)
    estimator = build_estimator(config, data.source.channels, task.operator)
    start = time.monotonic()

    def progress(done: int, total: int, metrics: dict[str, float]) -> None:
        if done % 100 == 0 or done == total:
            print(
                f"{options.task}, {name}: {done}/{total}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True
            )

    if method.recipe in PUBLISHED:
        f = PUBLISHED[method.recipe](estimator, Setting(config, data, folder, options.device, progress))
        return f.to(options.device) if isinstance(f, nn.Module) else f
    if method.recipe in LOWEST:
        if estimator.prior is not None and latest_checkpoint(folder / "checkpoints") is None:
            learn_spectrum(estimator.prior, data, seed=options.seed)
        loss, batches = supervised(task, config, LOWEST[method.recipe])
        f = train(
            estimator, loss, batches, config.training, folder, seed=options.seed, device=options.device,
            progress=progress,
        )  # fmt: skip
        return f.to(options.device)
    held_out = data.subset(range(4))  # measurements too; only printed
    f = learn(
        estimator, data, held_out, config, folder, scales=scales_of(config, data), device=options.device,
        stages=lambda title: progress,
    )  # fmt: skip
    return f.to(options.device)


def folder_of(name: str, options) -> Path:
    return (options.work or options.json.with_suffix("")) / name


def total_variation(m: Measurement, weight: float = 1.0, iterations: int = 60) -> Tensor:
    """argmin |A x - y|^2 / 2 + weight sigma TV(x) by accelerated proximal gradients (Beck and Teboulle 2009)."""
    from deepinv.optim import TVPrior

    prior, step = TVPrior(n_it_max=15), 1 / m.operator.spectral_norm() ** 2
    x = z = m.operator.A_dagger(m.y)
    t = 1.0
    for _ in range(iterations):
        moved = z - step * m.operator.A_adjoint(m.predict(z) - m.y)
        new = prior.prox(moved, gamma=step * weight * float(m.level[0]))
        t_new = (1 + math.sqrt(1 + 4 * t**2)) / 2
        x, z, t = new, new + (t - 1) / t_new * (new - x), t_new
    return x


def tuned_total_variation(task: Task, data: Dataset):
    """Total variation with the weight that is best for eight training images, known to it alone among the methods."""
    few = data.batch(torch.arange(min(8, len(data))))
    weights = (0.1, 0.2, 0.4, 0.8)
    errors = [float((total_variation(few, w) - task.train[: len(few)]).square().mean()) for w in weights]
    return partial(total_variation, weight=weights[errors.index(min(errors))])


def linear(task: Task, data: Dataset):
    """The best linear estimate under the spectrum that the measurements tell: what the networks start from."""
    form = task.settings.get("estimator", {})
    prior = Stationary(tuple(task.train.shape[1:]), form.get("mean", 0.5), form.get("std", 0.25))
    learn_spectrum(prior, data)
    return prior.to(task.test.device).estimate


PUBLISHED: dict[str, Learning] = {
    "diem": diem.learn,
    "msm": msm.learn,
    "reynolds": reynolds.learn,
    "weighted-ssdu": weighted_ssdu.learn,
}

CLASSICAL = {
    "pseudo-inverse": lambda task, data: lambda m: m.operator.A_dagger(m.y),
    "linear": linear,
    "tv": tuned_total_variation,
}


@torch.no_grad()
def reconstruct(f, test: Measurement) -> Tensor:
    """x_hat of all test measurements."""
    return torch.cat([f(test[which]) for which in torch.arange(len(test)).split(8)])


def shown(x: Tensor) -> Tensor:
    """Complex images as their modulus."""
    return magnitude(x) if x.shape[1] == 2 else x


def figures(x_hat: Tensor, task: Task) -> dict[str, float]:
    """PSNR (mean over images, of complex images as such) in dB, that of what A does not see, and SSIM."""
    error = x_hat - task.test
    A = task.test_operator
    unseen = error - A.A_dagger(A.A(error))
    seen = A.project(torch.ones_like(A.A(error)))
    dimension = error[0].numel() - float(seen.flatten(1).sum(1).mean())
    result = {
        "psnr": statistics.mean(psnr(float(e)) for e in mean_square_error(x_hat, task.test)),
        "ssim": statistics.mean(ssim(a, b) for a, b in zip(shown(x_hat), shown(task.test))),
    }
    if dimension > 0:
        result["psnr_unseen"] = psnr(float(unseen.square().flatten(1).sum(1).mean()) / dimension)
    return result | distance("estimates", x_hat[:SAMPLED], task.test[:SAMPLED])


def distance(name: str, images: Tensor, x: Tensor) -> dict[str, float]:
    """How unlike clean images they look: the Frechet distance of features of patches, where there are enough patches of
    32x32."""
    if x.shape[1] > 2 or min(x.shape[-2:]) < 64:
        return {}
    real, found = (features(shown(part).clamp(0, 1)) for part in (x, images))
    return {f"distance_{name}": frechet_distance(real, found)}


def sampled(f: nn.Module, test: Measurement, x_hat: Tensor, task: Task, options) -> tuple[Tensor, dict[str, float]]:
    """Samples of the first test images, and their figures: PSNR, spread over error in x and in A x, and their Frechet
    distance to the truth."""
    m, x_hat, x = test[:SAMPLED], x_hat[:SAMPLED], task.test[:SAMPLED]
    begin = time.process_time()
    samples = draw(f, m, options)
    spent = (time.process_time() - begin) / (len(samples) * len(m))
    errors = [e.mean() for e in (mean_square_error(x_hat, x), m.mean_square(m.predict(x_hat - x)))]
    return samples, of_samples(samples, m, x, errors, spent)


def by_samples(f: BySamples, test: Measurement, task: Task, options) -> dict[str, float]:
    """Figures of a method whose estimate is the mean of its samples: the error of the mean of all there could be."""
    m, x = test[:SAMPLED], task.test[:SAMPLED]
    begin = time.process_time()
    samples = f.draw(m, make_generator(options.device, options.seed, 30), options.samples, options.evaluations)
    spent = (time.process_time() - begin) / (len(samples) * len(m))
    mean = samples.mean(0)
    measured = torch.stack([m.predict(one) for one in samples])
    more = [samples.var(0).flatten(1).mean(1), m.operator.mean(measured.var(0))]  # of few, over their number
    errors = [mean_square_error(mean, x), m.mean_square(m.predict(mean - x))]
    errors = [(e - v / len(samples)).clamp_min(v / 100) for e, v in zip(errors, more)]
    found = {"psnr": statistics.mean(psnr(float(e)) for e in errors[0])}
    return found | of_samples(samples, m, x, [e.mean() for e in errors], spent)


def of_samples(samples: Tensor, m: Measurement, x: Tensor, errors: list[Tensor], spent: float) -> dict[str, float]:
    """Figures of samples; errors: the mean square error of the estimate in x and in A x; spent: on each sample."""
    spread = torch.stack([m.predict(one) for one in samples]).var(0)
    result = {
        "processor_seconds_a_sample": spent,
        "psnr_sample": statistics.mean(psnr(float(e)) for e in mean_square_error(samples[0], x)),
        "spread_over_error": float(samples.var(0).mean() / errors[0]),
        "spread_over_error_measured": float(m.operator.mean(spread).mean() / errors[1]),
    }
    return result | distance("samples", samples.flatten(0, 1), x)


def draw(f: nn.Module, m: Measurement, options) -> Tensor:
    """Samples (S, B, C, H, W), by going on with a camera where f knows one, else with A, inflation fitted to some y."""
    generator = make_generator(options.device, options.seed, 30)
    if isinstance(f, Preconditioned) and f.camera:
        return samples_by_camera(
            f, m, f.std, generator, scale=float(f.scale), samples=options.samples, steps=options.evaluations, batch=8
        )
    try:
        inflation = fit_inflation(f, m[:FITTED], steps=options.evaluations, batch=8)
    except UnveilError:  # the error is too small a part of the noise to be estimated
        inflation = 0.0
    return posterior_samples(
        f, m, generator, samples=options.samples, steps=options.evaluations, inflation=inflation, batch=8
    )


def step_times(names: list[str], task: Task, data: Dataset, options) -> dict[str, float]:
    """Time of a gradient step over that of the supervised one, each pair measured together; medians."""
    if not names:
        return {}
    supervised = timed_step(METHODS["supervised"], task, data, options)
    steps = {name: timed_step(METHODS[name], task, data, options) for name in names}
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(options.timed + 1):
        for name in names:
            base = supervised(turn)
            ratio = steps[name](turn) / base
            if turn:  # the first one allocates
                ratios[name].append(ratio)
    return {name: statistics.median(values) for name, values in ratios.items()}


def timed_step(method: Method, task: Task, data: Dataset, options):
    """A function that takes one gradient step, batch included, and returns its seconds."""
    config = configuration(task, method, options)
    f = build_estimator(config, data.source.channels, task.operator).to(options.device)
    optimizer = torch.optim.AdamW(f.parameters(), lr=1e-4)
    if method.recipe in LOWEST:
        loss, batches = supervised(task, config, LOWEST[method.recipe])
    else:
        loss, batches = unsupervised(task, config, data)

    def step(turn: int) -> float:
        begin = time.perf_counter()
        batch = batches(make_generator("cpu", 0, turn)).to(options.device)
        optimizer.zero_grad()
        loss(f, batch, make_generator(options.device, 1, turn)).mean().backward()
        optimizer.step()
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    return step


if __name__ == "__main__":
    main()
