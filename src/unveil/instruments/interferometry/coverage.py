"""What an interferometer measured: the points of the Fourier plane and the noise at each of them.

    V_i = V(u_i, v_i) + n_i,   Re n_i and Im n_i ~ N(0, sigma_i^2), independent

The sigma_i differ: a pair with one large dish can be ten times less noisy than another. The noise of a measurement has
one level, hence `interferometry` and `whiten` multiply rows of A and visibilities alike by sigma / sigma_i, with

    1 / sigma^2 = mean_i 1 / sigma_i^2

so that the squares of those factors have mean one: A keeps its size, |A|_F^2, and y stays in jansky.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["Coverage", "whiten"]


@dataclass(frozen=True)
class Coverage:
    """M points (u, v) and their noise. `uv_track` predicts it from stations, `read_uvfits` takes it from observations.

    u, v:  (M,) east and north parts of the baseline, in wavelengths, in the convention of `interferometry`.
    sigma: (M,) noise of the real and of the imaginary part each, in jansky.
    pairs: the M pairs of stations; empty when unknown.
    times: (M,) hours since the first; None when unknown.
    Raises UnveilError for unequal lengths, no point at all, numbers that are not finite, or a sigma that is not > 0.
    """

    u: Tensor
    v: Tensor
    sigma: Tensor
    pairs: tuple[tuple[str, str], ...] = ()
    times: Tensor | None = None

    def __post_init__(self) -> None:
        shapes = [tuple(t.shape) for t in (self.u, self.v, self.sigma)]
        others = [len(t) for t in (self.pairs or None, self.times) if t is not None]
        if len(shapes[0]) != 1 or len(set(shapes)) > 1 or any(count != len(self.u) for count in others):
            raise UnveilError(f"u, v and sigma have shapes {shapes}, pairs and times {others}: each must be (M,)")
        if not len(self.u):
            raise UnveilError("the coverage has no point: give at least one visibility")
        if not bool((torch.stack([self.u, self.v, self.sigma]).isfinite().all()) & (self.sigma > 0).all()):
            raise UnveilError("u, v and sigma must be finite, and sigma > 0: drop the flagged visibilities")

    def __len__(self) -> int:
        return len(self.u)

    @property
    def level(self) -> float:
        """sigma, in jansky: the noise of every entry of y once whitened, (mean_i sigma_i^-2)^(-1/2)."""
        return float((self.sigma**-2).mean() ** -0.5)


def whiten(visibilities: Tensor, coverage: Coverage) -> Tensor:
    """Return y (..., 2, 1, M) in jansky, real and imaginary parts, at the one level `coverage.level`.

    visibilities: complex (..., M) in jansky, in the order of `coverage`.
    Raises UnveilError when they are not complex or not M.
    """
    if not visibilities.is_complex() or visibilities.shape[-1:] != coverage.u.shape:
        raise UnveilError(
            f"the visibilities are {visibilities.dtype} of shape {tuple(visibilities.shape)}: "
            f"they must be complex (..., {len(coverage)}), one for each point of the coverage"
        )
    scaled = visibilities * (coverage.level / coverage.sigma).to(visibilities.device)
    return torch.stack([scaled.real, scaled.imag], dim=-2)[..., None, :].to(visibilities.real.dtype)
