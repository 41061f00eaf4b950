"""Which estimator of the supervised loss has the least gradient variance per unit of compute, at each level s >=
sigma_n?

    python benchmarks/gradient_variance.py --train DIR --work DIR --json OUT --plot docs/gradient_variance.png

The networks are one of below_noise.py's trainings, its newest checkpoint in --work, and the same one after few steps,
trained here. Every estimator gets the same crops of clean images, the same measurements of them at sigma_n (noise
that the networks have not seen) and, where it adds noise, the same noise. Its loss is unweighted, so that at one
level all estimate one gradient, the supervised one. Reported per network, level and estimator:

    variance       trace of the gradient's covariance, times the batch size: per sample
    noise          its part with the crops fixed, |g - g'|^2 / 2 over two draws of all noise on the same crops
    cost           seconds of the gradient over those of the supervised one
    merit          variance x cost, relative to the supervised variance at that level; its jackknife error beside it
    bias^2         |mean gradient - supervised mean|^2 less its own sampling noise: 0 on average if unbiased, and its
                   standard error if so
    target         the variance beyond the supervised one, as that of a regression target's noise, in units of s^2

Theory, per sample. h = df/dtheta for one parameter, u = x - f(y), m pixels, y = x + n at level s; the supervised
gradient is -2 u^T h / m.

One-pass losses regress f(y_s) onto x + e with e ~ N(0, v I) independent of y_s. This adds -2 e^T h / m:

    V = V_sup + v V_T,    V_T = 4 E|h|^2 / m^2 summed over the parameters

R2R's target has v = s^2 / a^2 at its training level s, whatever level it starts from. The largest a at a given s is
that from y itself, a^2 = s^2 / sigma_n^2 - 1, where v = sigma_n^2 s^2 / (s^2 - sigma_n^2). V_T is measured by a
backward pass of random targets, so that the prediction has no free constant.

SURE adds -2 g / m with g = n^T h - s^2 div h. By parts, E[n^T F] = s^2 E[div F] for smooth F, first with F = h g, then
again for the term n^T (grad h) h that comes out (the second-order Stein formula, exact):

    Var g = s^2 E|h|^2 + s^4 E tr((grad h)^2)

The first term is the target noise of R2R at a = 1, v = s^2. But n is in y too, so g and the supervised gradient are
correlated:

    Cov(u^T h, g) = s^2 E[h^T grad(u^T h)] = s^2 E[u^T (grad h) h] - s^2 E[h^T (grad f) h]

The last term lowers the variance, even below V_sup. One Rademacher probe adds, H = grad h with symmetric part H_s,

    2 s^4 E(|H_s|_F^2 - sum_i H_ii^2)

In a network of ReLUs h jumps where a unit switches, H is infinite there, and so are both terms in s^4. A probe of
length t crosses such a place with odds of order t and then counts 1 / t: the terms grow like 1 / t.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from below_noise import in_memory, measure
from common import parser, write
from unveil.config import Config
from unveil.config_file import load_config
from unveil.data import MemorySource, crops
from unveil.dataset import Dataset
from unveil.losses import LogUniform, Loss, Noisier, Recorruption, Stein, Supervised
from unveil.measurement import Estimator, Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator, normal
from unveil.training import averaged, build_estimator, latest_checkpoint, load_weights, make_loss, train
from unveil.training.batches import make_batches
from unveil.training.recipes import PROBE_STEP

RATIOS = (1.0, 1.05, 1.1, 1.2, 2**0.5, 1.7, 2.0, 2.5, 3.0)
"""Levels s / sigma_n."""

CROP, DRAWS = 32, 2
"""Side of the crops in pixels; draws of all noise on each batch of crops."""

REFERENCE, UNIT_TARGET = "supervised", "target of unit noise"
SURE_NAME, AMBIENT = f"SURE, step {PROBE_STEP}", "Ambient Tweedie = R2R from y"


class UnitTarget(Loss):
    """2 z^T f(y) / m, z ~ N(0, I): its gradient's variance is V_T, what each unit of a target's noise variance adds."""

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        return 2 * m.operator.mean(f(m) * normal(m.y, generator))


@dataclass(frozen=True)
class Candidate:
    """make(x, ratio): the loss that trains at s = ratio sigma_n > above sigma_n, x its batch of clean crops.

    target: ratio -> the variance of its target's noise in units of s^2, for the theory; None if it has no such target.
    """

    make: Callable[[Tensor, float], Loss]
    above: float = 0.0
    target: Callable[[float], float] | None = None


def noisier(loss: Loss, ratio: float) -> Loss:
    """`loss` at the level ratio sigma_n, by adding noise: the same noise for all of them, the generator's first."""
    return Noisier(loss, LogUniform(ratio, ratio))


def stein(step: float) -> Candidate:
    return Candidate(lambda x, ratio: noisier(Stein(step), ratio))


def r2r(a: float) -> Candidate:
    """R2R at a fixed a, by adding noise up to s / sqrt(1 + a^2) first.

    At s = sigma_n sqrt(1 + a^2) none is added and it is recorruption of y itself, so it starts above that.
    """
    lowest = (1 + a**2) ** 0.5
    return Candidate(
        lambda x, ratio: noisier(Recorruption(LogUniform(lowest, lowest)), ratio / lowest),
        lowest,
        lambda ratio: 1 / a**2,
    )


CANDIDATES = {
    REFERENCE: Candidate(lambda x, ratio: noisier(Supervised(x), ratio), target=lambda ratio: 0.0),
    UNIT_TARGET: Candidate(lambda x, ratio: noisier(UnitTarget(), ratio)),
    SURE_NAME: stein(PROBE_STEP),
    "SURE, step 0.01": stein(0.01),
    AMBIENT: Candidate(lambda x, r: Recorruption(LogUniform(r, r)), 1.0, lambda ratio: 1 / (ratio**2 - 1)),
    "noise, then R2R a = 1": r2r(1.0),
    "noise, then R2R a = 0.5": r2r(0.5),
    "noise, then R2R a = 0.25": r2r(0.25),
}


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--train", required=True, metavar="DIR", help="clean images")
    options.add_argument("--test", metavar="DIR", help="not used")
    options.add_argument("--sigma-n", type=float, default=0.1)
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="trainings of below_noise.py")
    options.add_argument("--method", default="default", help="the training in --work")
    options.add_argument("--early", type=int, default=100, help="steps of the network trained here")
    options.add_argument("--batches", type=int, default=20, help=f"of crops, each with {DRAWS} draws of the noise")
    options.add_argument("--batch", type=int, default=4, help="crops in one")
    options.add_argument("--turns", type=int, default=9, help="timings of each estimator")
    options.add_argument("--plot", type=Path, metavar="OUT", help="where the figure is written")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    clean = in_memory(options.train)
    config = settings(options)
    networks = {
        f"after {options.early} steps": early(config, clean, options),
        "trained": trained(config, clean.channels, options.work / f"{options.method}-{options.seed}"),
    }
    cost = costs(networks["trained"], clean, options)
    rows = {
        name: [row for ratio in RATIOS for row in level(f, clean, ratio, cost, options)] for name, f in networks.items()
    }
    for name in networks:
        show(name, rows[name])
    result = {"sigma_n": options.sigma_n, "method": options.method, "cost": cost, "networks": rows}
    write(options.json, options, result)
    if options.plot is not None:
        plot(options.plot, rows)


def settings(options) -> Config:
    """The configuration of the training in --work."""
    path = options.work / f"{options.method}-{options.seed}" / "config.yaml"
    if not path.is_file():
        sys.exit(f"{path}: no such file; train it with below_noise.py --methods {options.method}")
    config = load_config(path)
    if config.noise.sigma != options.sigma_n:
        sys.exit(f"{path}: trained at sigma = {config.noise.sigma}, not at --sigma-n {options.sigma_n}")
    return config


def trained(config: Config, channels: int, folder: Path) -> nn.Module:
    """The averaged weights of the newest checkpoint."""
    newest = latest_checkpoint(folder / "checkpoints")
    if newest is None:
        sys.exit(f"{folder}: no checkpoint; train it with below_noise.py")
    ema = averaged(build_estimator(config, channels, Identity()), config.training.ema)
    load_weights(newest / "ema.safetensors", ema)
    print(f"{newest.parent.parent.name}: {newest.name}", file=sys.stderr)
    return ema.module.eval()


def early(config: Config, clean: MemorySource, options) -> nn.Module:
    """The same estimator, trained with the same recipe on noisy images for few steps."""
    data = Dataset(measure(clean, Gaussian(options.sigma_n), options.seed), Identity(), Gaussian(options.sigma_n))
    batches = make_batches(data, config.training.batch, config.training.crop, config.loss.scales, True)
    short = config.training.model_copy(update={"steps": options.early})
    with tempfile.TemporaryDirectory() as folder:
        f = build_estimator(config, clean.channels, Identity())
        return train(f, make_loss(config.loss), batches, short, Path(folder), seed=options.seed, device="cpu")


def measured(clean: MemorySource, size: int, batch: int, draw: int, options) -> tuple[Tensor, Measurement]:
    """Crops x, and a measurement of them; x depends on `batch` alone."""
    x, noise = crops(clean, size, CROP, make_generator("cpu", options.seed, 50, batch)), Gaussian(options.sigma_n)
    return x, Measurement(noise.sample(x, make_generator("cpu", options.seed, 51, batch, draw)), Identity(), noise)


def gradient(f: nn.Module, loss: Loss, m: Measurement, generator: torch.Generator) -> Tensor:
    """Of the batch's mean loss with respect to all parameters, flat."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss(f, m, generator).mean(), [*f.parameters()])])


def costs(f: nn.Module, clean: MemorySource, options) -> dict[str, float]:
    """Time of each estimator's gradient over the supervised one's of the same turn, median over turns.

    At 16 crops, nearer a training's batch than --batch is; in processor time, as other work on the machine takes turns
    with ours. No step of the optimizer, whose cost is the same for all.
    """
    x, m = measured(clean, 16, 0, 0, options)
    ratios: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for turn in range(options.turns + 1):
        seconds = {}
        for name, candidate in CANDIDATES.items():
            begin = time.process_time()
            gradient(f, candidate.make(x, 2.0), m, make_generator("cpu", options.seed, 53, turn))
            seconds[name] = time.process_time() - begin
        if turn:  # the first one allocates
            for name, value in seconds.items():
                ratios[name].append(value / seconds[REFERENCE])
    return {name: statistics.median(values) for name, values in ratios.items()}


def level(f: nn.Module, clean: MemorySource, ratio: float, cost: dict[str, float], options) -> list[dict]:
    """One row for each estimator that teaches the level ratio sigma_n."""
    print(f"s / sigma_n = {ratio:.3g}", file=sys.stderr)
    draws = {
        name: gradients(f, candidate, clean, ratio, options)
        for name, candidate in CANDIDATES.items()
        if ratio > candidate.above
    }
    reference, unit = draws[REFERENCE], draws.pop(UNIT_TARGET)
    supervised, leave_out = spread(reference)
    unit_variance = spread(unit)[0] * (options.sigma_n * ratio) ** 2  # of a target's noise at s^2
    rows = []
    for name, g in draws.items():
        variance, left_out = spread(g)
        target = CANDIDATES[name].target
        distance, distance_error = bias(g, reference)
        row = {
            "ratio": ratio,
            "estimator": name,
            "variance": variance * options.batch,
            "noise": (g[:, 0] - g[:, 1]).square().sum(1).mean().item() / 2 * options.batch,
            "merit": variance / supervised * cost[name],
            "merit_error": jackknife_error(left_out / leave_out) * cost[name],
            "bias2": distance,
            "bias2_error": distance_error,
            "mean2": bias(reference, torch.zeros_like(reference))[0],
            "target": (variance - supervised) / unit_variance,
        }
        if target is not None:
            predicted = supervised + target(ratio) * unit_variance
            row |= {"target_predicted": target(ratio), "predicted_over_measured": predicted / variance}
        rows.append(row)
    return rows


def gradients(f: nn.Module, candidate: Candidate, clean: MemorySource, ratio: float, options) -> Tensor:
    """(batches, DRAWS, parameters)."""
    found = []
    for batch in range(options.batches):
        for draw in range(DRAWS):
            x, m = measured(clean, options.batch, batch, draw, options)
            generator = make_generator("cpu", options.seed, 52, batch, draw)
            found.append(gradient(f, candidate.make(x, ratio), m, generator))
    return torch.stack(found).unflatten(0, (options.batches, DRAWS))


def spread(g: Tensor) -> tuple[float, Tensor]:
    """Trace of the covariance over batches, mean over the draws, of g (K, DRAWS, P); and the same without each batch
    (K,)."""
    k = len(g)
    squares = (g - g.mean(0)).square().sum(2)
    total = squares.sum(0)
    without = (total - squares * k / (k - 1)) / (k - 2)
    return total.mean().item() / (k - 1), without.mean(1)


def jackknife_error(left_out: Tensor) -> float:
    """Standard error of a statistic from its values (K,) without each of K batches."""
    k = len(left_out)
    return (left_out.var(unbiased=False) * (k - 1)).sqrt().item()


def bias(g: Tensor, reference: Tensor) -> tuple[float, float]:
    """|E g - E reference|^2 from the products of different batches, hence unbiased; and its standard error if it is
    0."""
    difference = (g - reference).mean(1)
    products = difference @ difference.T
    k = len(products)
    products = products[~torch.eye(k, dtype=torch.bool)]
    return products.mean().item(), (2 * products.square().mean() / (k * (k - 1))).sqrt().item()


def show(network: str, rows: list[dict]) -> None:
    """Two tables: variance x cost with its error, the least one named; and what checks it."""
    names = [name for name in CANDIDATES if name not in (REFERENCE, UNIT_TARGET)]
    print(f"\n{network}: variance x cost, supervised = 1")
    table_head(["s / sigma_n", *names, "least"])
    for ratio in RATIOS:
        at = {row["estimator"]: row for row in rows if row["ratio"] == ratio and row["estimator"] in names}
        cells = [f"{at[name]['merit']:.2f} ± {at[name]['merit_error']:.2f}" if name in at else "" for name in names]
        print(f"| {ratio:.3g} | " + " | ".join(cells) + f" | {min(at, key=lambda name: at[name]['merit'])} |")
    print(f"\n{network}: checks")
    table_head(
        [
            "s / sigma_n",
            "supervised: noise's share",
            f"{SURE_NAME}: variance",
            "the same, as a target's noise / s^2",
            f"{AMBIENT}: predicted / measured",
            "largest |bias^2| in standard errors",
        ]
    )
    for ratio in RATIOS:
        at = {row["estimator"]: row for row in rows if row["ratio"] == ratio}
        supervised, sure_row = at[REFERENCE], at[SURE_NAME]
        theory = f"{at[AMBIENT]['predicted_over_measured']:.2f}" if AMBIENT in at else ""
        scores = {name: row["bias2"] / row["bias2_error"] for name, row in at.items() if name != REFERENCE}
        worst = max(scores, key=lambda name: abs(scores[name]))
        print(
            f"| {ratio:.3g} | {supervised['noise'] / supervised['variance']:.2f} | "
            f"{sure_row['variance'] / supervised['variance']:.2f} | {sure_row['target']:.2f} | {theory} | "
            f"{scores[worst]:.1f} ({worst}) |"
        )


def table_head(columns: list[str]) -> None:
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")


def plot(path: Path, networks: dict[str, list[dict]]) -> None:
    """variance x cost against s / sigma_n, a panel for each network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, len(networks), sharey=True)
    names = [name for name in CANDIDATES if name not in (REFERENCE, UNIT_TARGET)]
    for panel, (network, rows) in zip(panels, networks.items()):
        panel.axhline(1, color="black", linewidth=1, linestyle="--", label=REFERENCE)
        for i, name in enumerate(names):
            line = [row for row in rows if row["estimator"] == name]
            panel.errorbar(
                [row["ratio"] for row in line],
                [row["merit"] for row in line],
                [row["merit_error"] for row in line],
                color=f"C{i}",
                marker="os^Dv<>"[i],
                markersize=4,
                linewidth=1.5,
                elinewidth=0.8,
                label=name,
            )
        panel.set(yscale="log", title=network, xlabel=r"$s / \sigma_n$")
        panel.grid(color="0.85", which="major")
        panel.grid(color="0.93", which="minor")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].yaxis.set_major_formatter("{x:g}")
    panels[0].set_ylabel("gradient variance × cost, supervised = 1")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
