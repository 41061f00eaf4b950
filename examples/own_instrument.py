"""An instrument of your own: A and its adjoint in Python, and images learned from what it measured alone.

python examples/own_instrument.py --out result      # a camera that shook, and lost 20% of its pixels
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

import unveil
from unveil.operators import Operator


class Shaken(Operator):
    """A camera with dead pixels that moved during the exposure: y = m * (mean of x over the path)."""

    def __init__(self, path: list[tuple[int, int]], alive: Tensor) -> None:
        self.path = path
        self.measured = alive[None, None]  # (1, 1, H, W), False where nothing is measured
        self.image_shape = self.measurement_shape = (1, *alive.shape)

    def _apply(self, x: Tensor) -> Tensor:
        return self.measured.to(x) * sum(x.roll(step, (-2, -1)) for step in self.path) / len(self.path)

    def _adjoint(self, y: Tensor) -> Tensor:
        kept = self.measured.to(y) * y
        return sum(kept.roll((-down, -right), (-2, -1)) for down, right in self.path) / len(self.path)


def main() -> None:
    """Measure photographs with it, learn from the measurements, and look at the last."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("own_instrument"))
    options.add_argument("--steps", type=int, default=500, help="of the training; 3000 for a result to keep")
    options = options.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    generator = torch.Generator().manual_seed(0)
    alive = torch.rand(64, 64, generator=generator) > 0.2
    operator = Shaken([(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)], alive)
    photographs = [x.mean(0) for x in unveil.data.training_photographs().values()]
    parts = torch.cat([x.unfold(0, 64, 64).unfold(1, 64, 64).flatten(0, 1) for x in photographs])
    x = parts[::4, None]  # the truth, (N, 1, 64, 64), which learning never sees
    y = operator.A(x)
    y = y + 0.02 * torch.randn(y.shape, generator=generator) * operator.measured
    operator.check_adjoint(y[:2], generator)  # raises where the two above do not belong together

    # A deepinv physics will do in place of the class: operator=physics, image_shape=(1, 64, 64).
    settings = {
        "training": {"batch": 16},
        "estimator": {"widths": [16, 32, 48], "iterations": 2},
        "loss": {"symmetry": ["shift", "rotate"]},  # moved images are images too: this teaches the dead pixels
    }
    noise = unveil.noise.Gaussian(0.02)
    model = unveil.learn(y[:-8], operator=operator, noise=noise, steps=options.steps, settings=settings)

    x_hat, samples = model(y[-8:]), model.sample(y[-8:], 4)
    for name, z in {"measured": y[-8:], "estimate": x_hat, "sample": samples[0]}.items():
        print(f"{name}: {unveil.evaluation.psnr(float((z - x[-8:]).square().mean())):.1f} dB against the truth")
    shown = {"measured": y[-8], "estimate": x_hat[0], "sample": samples[0, 0], "another": samples[1, 0], "truth": x[-8]}
    figure, axes = plt.subplots(1, len(shown), figsize=(13, 3), layout="constrained")
    for axis, (name, z) in zip(axes, shown.items()):
        axis.imshow(z[0].numpy(), cmap="gray", vmin=0, vmax=1)
        axis.set(title=name, xticks=[], yticks=[])
    figure.savefig(options.out / "own_instrument.png", dpi=120)
    print(f"wrote {options.out / 'own_instrument.png'}")


if __name__ == "__main__":
    main()
