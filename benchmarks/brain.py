"""A real brain of 8 coils, fully sampled: masked (x4), reconstructed, compared with the whole scan.

    python benchmarks/brain.py --mat brain_alias_8ch.mat --work DIR --json OUT

The first call writes DIR/brain.npy, the middle of the masked k-space, and DIR/mask.npy, which `unveil init mri` takes;
with --slices NPZ also DIR/slices.npy, k-space of another head's slices as this scanner would have measured them, and
DIR/coils.npy. With --runs NAME=FOLDER ... trained runs are compared as well. The reference is the root of the sum of
squares of all coils' images of the whole scan. The weights of total variation and of wavelets are the best of four for
that reference. Which level the noise and what the sensitivities leave have together, --sigma, the scan tells without
it: `levels`, the error of the first run in columns that it was not shown, over their power, at each of LEVELS.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import parser, write
from incomplete import total_variation
from unveil.data import MemorySource
from unveil.evaluation import psnr, ssim
from unveil.instruments.mri.calibration import estimate_coils
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Operator, cartesian_mask, magnitude, mri
from unveil.random import make_generator
from unveil.runs import open_run

WEIGHTS = (0.3, 1.0, 3.0, 10.0)
LEVELS = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08)


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--mat", required=True, metavar="FILE", help="DATA (rows, columns, coils), fully sampled")
    options.add_argument("--work", required=True, type=Path, metavar="DIR")
    options.add_argument("--size", type=int, nargs=2, default=[160, 128], help="of the middle of k-space that is kept")
    options.add_argument("--sigma", type=float, default=0.04, help="level stated, over the brightest part")
    options.add_argument("--slices", type=Path, metavar="NPZ", help="`slices` of another head, to be measured")
    options.add_argument("--plot", type=Path, metavar="PNG", help="where the pictures go")
    options.add_argument("--runs", nargs="*", default=[], metavar="NAME=FOLDER")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    y, mask = masked(options)
    images = torch.fft.ifft2(torch.fft.ifftshift(torch.complex(*y.chunk(2, 1)), dim=(-2, -1)), norm="ortho")
    reference = torch.linalg.vector_norm(torch.fft.fftshift(images, dim=(-2, -1)), dim=1, keepdim=True)
    operator = estimate_coils(mask, MemorySource({"brain": (mask * y)[0]}))
    if options.slices:
        simulate(options, operator)
    m = Measurement(operator.project(y), operator, Gaussian(options.sigma))
    whole = mri(torch.ones_like(mask), operator.sensitivities)
    found = {
        "zero-filled": operator.A_dagger(m.y),
        "total variation": best([total_variation(m, w) for w in WEIGHTS], reference),
        "wavelets": best([wavelets(m, w) for w in WEIGHTS], reference),
    }
    levels = {}
    for text in options.runs:
        name, _, folder = text.partition("=")
        f = open_run(folder).estimator(operator)
        with torch.no_grad():
            found[name] = f(m)
            if not levels:  # the others may have learned from the scan itself
                levels = {level: hidden_error(f, replace(m, noise=Gaussian(level)), mask) for level in LEVELS}
    found["all of k-space, the same sensitivities"] = whole.A_adjoint(y)
    table = {name: scores(x, reference) for name, x in found.items()}
    for name, row in table.items():
        print(f"{name:45} {row['psnr']:6.2f} dB  {row['ssim']:.3f}")
    for level, error in levels.items():
        print(f"hidden columns at a level of {level:g}: {error:.2f}")
    write(options.json, options, {"measured": float(mask.float().mean()), "methods": table, "levels": levels})
    if options.plot:
        from plots import plot_reconstructions

        plot_reconstructions(reference, found, {name: name for name in found}, options.plot, images=1)


def masked(options) -> tuple[Tensor, Tensor]:
    """The middle of the whole k-space (1, 2 coils, H, W), brightest pixels about 1, and the mask (H, W)."""
    from scipy.io import loadmat

    k = loadmat(options.mat)["DATA"].transpose(2, 0, 1)
    (height, width), sides = options.size, k.shape[1:]
    top, left = sides[0] // 2 - height // 2, sides[1] // 2 - width // 2
    k = k[:, top : top + height, left : left + width] * (height * width / sides[0] / sides[1]) ** 0.5
    images = np.fft.ifft2(np.fft.ifftshift(k, axes=(1, 2)), norm="ortho")
    k = (k / np.quantile(np.linalg.norm(images, axis=0), 0.995)).astype("complex64")
    mask = cartesian_mask(height, width, 4, 0.14, make_generator("cpu", 1))
    options.work.mkdir(parents=True, exist_ok=True)
    np.save(options.work / "brain.npy", (k * mask.numpy())[None])
    np.save(options.work / "mask.npy", mask.numpy())
    return torch.from_numpy(np.concatenate([k.real, k.imag])[None]), mask


def simulate(options, operator: Operator) -> None:
    """Write DIR/slices.npy, other slices as the scanner would see them, masked, and DIR/coils.npy, its sensitivities.

    The middle of the slices, as large in the image as the head of the scan, each with a smooth phase of its own, and
    noise of the stated level.
    """
    height, width = options.size
    generator = make_generator("cpu", 1)
    x = np.load(options.slices)["slices"]
    x = torch.from_numpy(x[x.mean((1, 2)) > 5, 28:228, 48:208] / np.float32(255))[:, None]
    x = torch.nn.functional.interpolate(x, size=(height, width), mode="bilinear", antialias=True)
    down, across = (torch.linspace(-1, 1, side) for side in (height, width))
    terms = torch.stack([down[:, None] ** i * across**j for i in range(3) for j in range(3 - i)])
    phase = torch.einsum("nk,khw->nhw", torch.randn(len(x), len(terms), generator=generator), terms)[:, None]
    x = torch.cat([x * phase.cos(), x * phase.sin()], 1)
    y = torch.cat([Gaussian(options.sigma).sample(operator.A(one[None]), generator) for one in x])
    np.save(options.work / "slices.npy", torch.complex(*operator.project(y).chunk(2, 1)).numpy())
    np.save(options.work / "coils.npy", operator.sensitivities[0].numpy())


def hidden_error(f, m: Measurement, mask: Tensor) -> float:
    """|A f - y|^2 over |y|^2 in columns that f was not shown, each once, a third at a time; those in the centre it is
    always shown."""
    columns = mask.bool().all(0)
    width = len(columns)
    centre = (torch.arange(width) - width // 2).abs() <= width // 14
    outer = torch.nonzero(columns & ~centre).flatten()
    error = power = 0.0
    for part in range(3):
        hidden = torch.zeros(width, dtype=torch.bool)
        hidden[outer[part::3]] = True
        x = f(m.hide(~hidden.expand(m.y.shape[-2:])))
        error += float((m.predict(x) - m.y)[..., hidden].square().sum())
        power += float(m.y[..., hidden].square().sum())
    return error / power


def wavelets(m: Measurement, weight: float, iterations: int = 60) -> Tensor:
    """argmin |A x - y|^2 / 2 + weight sigma |W x|_1 with deepinv's wavelets, by proximal gradients."""
    from deepinv.optim import WaveletPrior

    prior, x = WaveletPrior(level=3, wv="db4", p=1), m.operator.A_dagger(m.y)
    step = 1 / m.operator.spectral_norm() ** 2
    for _ in range(iterations):
        x = prior.prox(x - step * m.operator.A_adjoint(m.predict(x) - m.y), gamma=step * weight * float(m.level[0]))
    return x


def best(images: list[Tensor], reference: Tensor) -> Tensor:
    return max(images, key=lambda x: scores(x, reference)["psnr"])


def scores(x: Tensor, reference: Tensor) -> dict[str, float]:
    error = (magnitude(x) - reference).square().mean()
    return {"psnr": psnr(float(error)), "ssim": ssim(magnitude(x)[0], reference[0])}


if __name__ == "__main__":
    main()
