"""Undersampled k-space -> images, samples, and where k-space leaves them open. No complete scan is needed.

python examples/mri.py kspace.npy mask.npy --out result      # complex (N, H, W), centred; (H, W). Without: simulated
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import AffineTransform, warp

import unveil


def simulate(folder: Path, count: int = 160, side: int = 64, sigma: float = 0.01) -> tuple[Path, Path]:
    """Write a third of k-space of phantoms, each stretched and sheared differently, in noise of level sigma."""
    rng, middle, images = np.random.default_rng(0), AffineTransform(translation=(-200, -200)), []
    for _ in range(count):
        bent = AffineTransform(scale=400 / side * rng.uniform(1.0, 1.3, 2), rotation=rng.uniform(-0.3, 0.3), shear=0.2)
        place = AffineTransform(translation=(-side / 2, -side / 2)) + bent + middle.inverse
        images.append(warp(shepp_logan_phantom(), place, output_shape=(side, side), order=1))
    mask = unveil.operators.cartesian_mask(side, side, 3, 0.1, torch.Generator().manual_seed(1))
    x = torch.tensor(np.stack(images), dtype=torch.float32)[:, None]
    y = unveil.operators.mri(mask).A(torch.cat([x, torch.zeros_like(x)], 1))
    y = (y + sigma * torch.randn(y.shape, generator=torch.Generator().manual_seed(2))) * mask
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "kspace.npy", torch.complex(y[:, 0], y[:, 1]).numpy())
    np.save(folder / "mask.npy", mask.numpy())
    return folder / "kspace.npy", folder / "mask.npy"


def main() -> None:
    """Learn from all scans but the last, and show what that says and does not say."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("files", nargs="*", type=Path, metavar="FILE", help="k-space and mask")
    options.add_argument("--sigma", type=float, default=0.01, help="noise of one real channel of k-space")
    options.add_argument("--out", type=Path, default=Path("mri"))
    options.add_argument("--steps", type=int, default=500, help="of the training; 2000 for a result to keep")
    options = options.parse_args()
    kspace, mask = options.files or simulate(options.out)

    y = np.load(kspace).astype(np.complex64)[:, None]  # (N, 1, H, W) complex
    operator = unveil.operators.mri(torch.from_numpy(np.load(mask)).bool())
    settings = {"estimator": {"iterations": 2, "widths": [16, 32]}, "training": {"batch": 8}}  # small: two cores
    noise = unveil.noise.Gaussian(options.sigma)
    model = unveil.learn(y[:-1], operator=operator, noise=noise, steps=options.steps, settings=settings)

    last = y[-1:]  # a scan that training never saw
    samples = unveil.operators.magnitude(model.sample(last, 8)[:, 0])  # (8, 1, H, W)
    zero_filled = unveil.operators.magnitude(operator.A_dagger(model.measurement(last).y))[0, 0]
    (result,) = model.evaluate(last, sampled=1)
    print(f"measured entries: {result.metrics.psnr_estimate:.1f} dB, without a reference")
    shown = {
        "zero-filled": zero_filled,
        "estimate": unveil.operators.magnitude(model(last))[0, 0],
        "a sample": samples[0, 0],
        "another": samples[1, 0],
        "deviation of 8 samples, x 5": 5 * samples.std(0)[0],
    }
    figure, axes = plt.subplots(1, len(shown), figsize=(13, 3), layout="constrained")
    for axis, (name, x) in zip(axes, shown.items()):
        axis.imshow(x.numpy(), cmap="gray", vmin=0, vmax=float(shown["estimate"].max()))
        axis.set(title=name, xticks=[], yticks=[])
    figure.savefig(options.out / "mri.png", dpi=120)
    print(f"wrote {model.save(options.out / 'run')} and {options.out / 'mri.png'}: what only some samples show is open")


if __name__ == "__main__":
    main()
