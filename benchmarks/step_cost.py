"""What a training step of each loss costs, as a ratio to the supervised step, with deepinv's beside ours.

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
from unveil.config import LossConfig
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.estimators import Preconditioned, UNet
from unveil.losses import Loss, Normalize, Recorruption, Stein, Supervised, Weighted
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator, normal
from unveil.training import make_loss
from unveil.training.batches import make_batches

SIGMA, BATCH, CROP = 0.1, 32, 32
Value = Callable[[torch.nn.Module, torch.Generator], Tensor]


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=40, help="timed steps of each method")
    options.add_argument("--channels", type=int, default=1)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    losses = ours(options) | peers(options)
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


def ours(options) -> dict[str, Value]:
    """Our losses on the same measurements, and the default recipe with its batches, windows of three sizes."""
    x, y = (part.to(options.device) for part in signals(options, CROP))
    m = Measurement(y, Identity(), Gaussian(SIGMA))
    _, large = signals(options, 8 * CROP)
    data = Dataset(MemorySource({str(i): image for i, image in enumerate(large)}), Identity(), Gaussian(SIGMA))
    batches = make_batches(data, BATCH, CROP, (1, 2, 4), True)
    one = make_batches(data, BATCH, CROP, (1,), True)
    recipe = make_loss(LossConfig())

    def value(loss: Loss) -> Value:
        return lambda f, generator: loss(f, m, generator).mean()

    def batch(batches: Callable, generator: torch.Generator):
        """Drawn on the CPU, as `train` draws them."""
        return batches(make_generator("cpu", generator.initial_seed() % 2**32)).to(options.device)

    return {
        "supervised": value(Supervised(x)),
        "control: supervised": value(Supervised(x)),
        "Stein": value(Stein()),
        "recorruption": value(Recorruption()),
        "N-SURE": value(Normalize(Weighted(Stein()))),
        "default recipe": value(recipe),
        "default recipe, batches included": lambda f, generator: recipe(f, batch(batches, generator), generator).mean(),
        "recorruption, batches included": lambda f, generator: Recorruption()(
            f, batch(one, generator), generator
        ).mean(),
    }


def peers(options):
    """deepinv's losses as its documentation uses them, around the same network."""
    x, y = (part.to(options.device) for part in signals(options, CROP))
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(SIGMA))
    sure = deepinv.loss.SureGaussianLoss(SIGMA)
    r2r = deepinv.loss.R2RLoss(noise_model=deepinv.physics.GaussianNoise(SIGMA))

    def supervised(f: torch.nn.Module, generator: torch.Generator) -> Tensor:
        return (Peer(f)(y, SIGMA) - x).square().mean()

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
        return self.f(Measurement(x, Identity(), Gaussian(sigma)))


def signals(options, size: int) -> tuple[Tensor, Tensor]:
    """Signals x and their measurements y, (BATCH, channels, size, size)."""
    generator = make_generator("cpu", options.seed, size)
    x = torch.rand(BATCH, options.channels, size, size, generator=generator)
    return x, x + SIGMA * normal(x, generator)


def make_step(loss: Value, options) -> Callable[[int], None]:
    """One gradient step, its network and optimizer its own."""
    torch.manual_seed(options.seed)
    f = Preconditioned(UNet(options.channels)).to(options.device)
    optimizer = torch.optim.AdamW(f.parameters(), lr=1e-4)

    def step(turn: int) -> None:
        optimizer.zero_grad()
        loss(f, make_generator(options.device, options.seed, turn)).backward()
        torch.nn.utils.clip_grad_norm_(f.parameters(), 1.0)
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
