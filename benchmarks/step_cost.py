"""What a training step of each risk costs, as a ratio to the supervised step, with deepinv's beside ours.

    python benchmarks/step_cost.py --json OUT

Every step is the same network, batch, optimizer and clipping, on measurements already in memory; only the loss differs.
Each timed step follows a supervised one, and the ratio is taken within the pair, so that whatever else the machine does
falls on both; the median over turns drops interruptions. The control, the supervised step against itself, shows how far
a ratio of 1 strays.
"""

import statistics
import time
from collections.abc import Callable

import deepinv
import torch
from torch import Tensor

from common import parser, write
from unveil.config import RiskConfig
from unveil.estimators import UNet, equivariant
from unveil.random import make_generator, normal
from unveil.risks import R2R, SURE, AmbientTweedie, MonteCarloDivergence, Risk, Supervised, Weighted, renormalize
from unveil.training import make_risk

SIGMA, BATCH, CROP = 0.1, 32, 32
Loss = Callable[[torch.nn.Module, torch.Generator], Tensor]


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=40, help="timed steps of each method")
    options.add_argument("--channels", type=int, default=1)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    losses = ours(options.channels, options.seed) | peers(options.channels, options.seed)
    steps = {name: make_step(loss, options) for name, loss in losses.items()}
    base = {name: "deepinv supervised" if name.startswith("deepinv") else "supervised" for name in steps}
    pairs: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(options.steps + 2):
        for name, step in steps.items():
            supervised = seconds(steps[base[name]], turn)
            ratio = seconds(step, turn) / supervised
            if turn >= 2:  # the first ones allocate
                pairs[name].append(ratio)
    ratios = {name: statistics.median(values) for name, values in pairs.items()}
    print("| step | cost |\n|---|---|")
    for name, ratio in ratios.items():
        print(f"| {name} | {ratio:.2f} |")
    write(options.json, options, {"batch": BATCH, "crop": CROP, "channels": options.channels, "ratio": ratios})


def seconds(step: Callable[[int], None], turn: int) -> float:
    begin = time.perf_counter()
    step(turn)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def ours(channels: int, seed: int) -> dict[str, Loss]:
    """Our risks, on the same measurements; the default recipe's windows are larger, for its block means."""
    x, y = signals(channels, CROP, seed)
    _, large = signals(channels, 4 * CROP, seed)
    sigma = torch.full((BATCH,), SIGMA)

    def loss(risk: Risk, measured: Tensor = y) -> Loss:
        def value(f: torch.nn.Module, generator: torch.Generator) -> Tensor:
            return risk(f, measured, sigma, generator).mean()

        return value

    return {
        "supervised": loss(Supervised(x)),
        "control: supervised": loss(Supervised(x)),
        "SURE": loss(SURE()),
        "SURE, a quarter of the batch probed": loss(SURE(MonteCarloDivergence(part=0.25))),
        "R2R": loss(R2R()),
        "AmbientTweedie": loss(AmbientTweedie()),
        "N-SURE": loss(renormalize(Weighted(SURE()))),
        "default recipe": loss(make_risk(RiskConfig()), large),
        "mixed recipe": loss(make_risk(RiskConfig(recipe="mixed")), large),
    }


def peers(channels: int, seed: int) -> dict[str, Loss]:
    """deepinv's losses as its documentation uses them, around the same network."""
    x, y = signals(channels, CROP, seed)
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(SIGMA))
    sure = deepinv.loss.SureGaussianLoss(SIGMA)
    r2r = deepinv.loss.R2RLoss(noise_model=deepinv.physics.GaussianNoise(SIGMA))

    def supervised(f: torch.nn.Module, generator: torch.Generator) -> Tensor:
        return (f(y, SIGMA) - x).square().mean()

    def sure_loss(f: torch.nn.Module, generator: torch.Generator) -> Tensor:
        model = deepinv.models.ArtifactRemoval(Peer(f))
        return sure(y=y, x_net=model(y, physics), physics=physics, model=model).mean()

    def r2r_loss(f: torch.nn.Module, generator: torch.Generator) -> Tensor:
        model = r2r.adapt_model(deepinv.models.ArtifactRemoval(Peer(f)))
        model.train()
        x_net = model(y, physics, update_parameters=True)
        return r2r(x_net=x_net, y=y, physics=physics, model=model).mean()

    return {"deepinv supervised": supervised, "deepinv SureGaussianLoss": sure_loss, "deepinv R2RLoss": r2r_loss}


class Peer(deepinv.models.Denoiser):
    """f in deepinv's class of denoisers."""

    def __init__(self, f: torch.nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: object) -> Tensor:
        return self.f(x, sigma)


def signals(channels: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Signals x and their measurements y, (BATCH, channels, size, size)."""
    generator = make_generator("cpu", seed, size)
    x = torch.rand(BATCH, channels, size, size, generator=generator)
    return x, x + SIGMA * normal(x, generator)


def make_step(loss: Loss, options) -> Callable[[int], None]:
    """One gradient step, its network and optimizer its own."""
    torch.manual_seed(options.seed)
    f = equivariant(UNet(options.channels))
    optimizer = torch.optim.AdamW(f.parameters(), lr=1e-4)

    def step(turn: int) -> None:
        optimizer.zero_grad()
        loss(f, make_generator("cpu", options.seed, turn)).backward()
        torch.nn.utils.clip_grad_norm_(f.parameters(), 1.0)
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
