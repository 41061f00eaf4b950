"""A folder of frames by one camera -> estimates, samples, how sure, and what proves it. Nothing clean is needed.

python examples/microscopy.py FRAMES --out result      # without FRAMES: cells in 1 to 20 photons are made first
"""

import argparse
from pathlib import Path

import numpy as np
import tifffile
import torch

import unveil


def make_frames(folder: Path) -> Path:
    """Write six frames of stained cells by a camera: 2 counts a photon, 2 counts of read noise, 100 in the dark."""
    camera, generator = unveil.noise.PoissonGaussian(gain=2.0, read=2.0, offset=100.0), torch.Generator().manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, x in unveil.data.training_cells().items():
        counts = camera.sample(100 + 2 * (1 + 19 * x[None]), generator)[0, 0]
        tifffile.imwrite(folder / f"{name}.tif", counts.round().numpy().astype(np.uint16))
    return folder


def main() -> None:
    """Learn from the frames, and write what the last of them shows."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("frames", nargs="?", type=Path, metavar="FRAMES", help="grey TIFF files of one size")
    options.add_argument("--out", type=Path, default=Path("microscopy"))
    options.add_argument("--steps", type=int, default=600, help="of the training; 3000 for a result to keep")
    options = options.parse_args()
    frames = options.frames or make_frames(options.out / "frames")

    counts = np.stack([tifffile.imread(path) for path in sorted(frames.glob("*.tif*"))]).astype(np.float32)
    low, high = np.percentile(counts, [0.1, 99.9])  # networks like [0, 1]; the noise is found on whatever scale
    y = torch.from_numpy((counts - low) / (high - low))[:, None]  # (N, 1, H, W)

    small = {"training": {"batch": 16}, "estimator": {"widths": [16, 32, 48]}}  # for two cores; leave it out on a GPU
    model = unveil.learn(y[:-1], steps=options.steps, settings=small)  # family and level of the noise: found
    print(model)

    last = y[-1:]  # a frame that training never saw
    x_hat, samples = model(last), model.sample(last, 8)  # E[x | y]; (8, 1, 1, H, W)
    print(model.noise_fits(last))  # where it does not fit, none of the figures below holds
    (result,) = model.evaluate(last, sampled=1)
    error = 10 ** (-result.metrics.psnr_estimate / 20) * (high - low)
    print(f"error of the estimate, found without a reference: {error:.2f} counts (rms)")
    print(f"variance of the samples over the squared error: {result.metrics.spread_over_error:.2f} (1 is right)")

    shown = {"measured": last, "estimate": x_hat, "sample": samples[0], "deviation": samples.std(0)}
    for name, picture in shown.items():
        values = picture[0, 0].numpy() * (high - low) + (0 if name == "deviation" else low)
        tifffile.imwrite(options.out / f"{name}.tif", values.astype(np.float32))
    run = model.save(options.out / "run")
    print(f"wrote {options.out}; the command line opens it too: unveil sample {run} FRAMES")


if __name__ == "__main__":
    main()
