"""A real brain of 8 coils, fully sampled: masked (x4), reconstructed, compared with the whole scan.

    python benchmarks/brain.py --mat brain_alias_8ch.mat --work DIR --json OUT

The first call writes DIR/brain.npy, the middle of the masked k-space, and DIR/mask.npy, which `unveil init mri` takes;
with --runs NAME=FOLDER ... trained runs are compared as well. The reference is the root of the sum of squares of all
coils' images of the whole scan. The weights of total variation and of wavelets are the best of four for that reference.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import parser, write
from incomplete import total_variation
from unveil.data import MemorySource
from unveil.evaluation import psnr, ssim
from unveil.instruments.mri import MRISection
from unveil.instruments.mri.calibration import estimate_coils
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import cartesian_mask, magnitude, mri
from unveil.random import make_generator
from unveil.runs import open_run

WEIGHTS = (0.3, 1.0, 3.0, 10.0)


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--mat", required=True, metavar="FILE", help="DATA (rows, columns, coils), fully sampled")
    options.add_argument("--work", required=True, type=Path, metavar="DIR")
    options.add_argument("--size", type=int, nargs=2, default=[80, 64], help="of the middle of k-space that is kept")
    options.add_argument("--sigma", type=float, default=0.006, help="of the noise, over the image's brightest part")
    options.add_argument("--runs", nargs="*", default=[], metavar="NAME=FOLDER")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    y, mask = masked(options)
    images = torch.fft.ifft2(torch.fft.ifftshift(torch.complex(*y.chunk(2, 1)), dim=(-2, -1)), norm="ortho")
    reference = torch.linalg.vector_norm(torch.fft.fftshift(images, dim=(-2, -1)), dim=1, keepdim=True)
    section = MRISection(mask=str(options.work / "mask.npy"), coils="estimate")
    operator = estimate_coils(section, MemorySource({"brain": (mask * y)[0]}))
    m = Measurement(operator.project(y), operator, Gaussian(options.sigma))
    whole = mri(torch.ones_like(mask), operator.sensitivities)
    found = {
        "zero-filled": operator.A_dagger(m.y),
        "total variation": best([total_variation(m, w) for w in WEIGHTS], reference),
        "wavelets": best([wavelets(m, w) for w in WEIGHTS], reference),
    }
    for text in options.runs:
        name, _, folder = text.partition("=")
        with torch.no_grad():
            found[name] = open_run(folder).estimator(operator)(m)
    found["all of k-space, the same sensitivities"] = whole.A_adjoint(y)
    table = {name: scores(x, reference) for name, x in found.items()}
    for name, row in table.items():
        print(f"{name:45} {row['psnr']:6.2f} dB  {row['ssim']:.3f}")
    write(options.json, options, {"measured": float(mask.float().mean()), "methods": table})


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
