"""Explicit randomness: every draw comes from a `torch.Generator` that its caller passes, never from global state.

The generator of step t is derived from (seed, t) alone, so a run that resumes at t draws what an uninterrupted
one would have drawn, and there is no generator state to save.
"""

import numpy as np
import torch
from torch import Tensor

__all__ = ["binomial", "make_generator", "normal", "poisson", "signs", "uniform"]


def make_generator(device: torch.device | str, *key: int) -> torch.Generator:
    """Make a generator on `device` whose seed hashes the integers `key` in [0, 2^32), e.g. (seed, step, rank)."""
    # SeedSequence pads with zeros: without the length, (seed,) and (seed, 0) would be one stream.
    seed = int(np.random.SeedSequence((len(key), *key)).generate_state(1, np.uint64)[0]) >> 1
    return torch.Generator(device).manual_seed(seed)


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw w ~ N(0, I) with the shape, dtype and device of `like`."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def uniform(like: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw u ~ U(low, high) with the shape, dtype and device of `like`."""
    u = torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
    return low + (high - low) * u


def signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw w_i = +-1 with equal odds, with the shape, dtype and device of `like`."""
    return torch.randint(0, 2, like.shape, generator=generator, device=like.device).to(like) * 2 - 1


def poisson(mean: Tensor, generator: torch.Generator) -> Tensor:
    """Draw k ~ Poisson(mean) with the shape, dtype and device of `mean`, which is >= 0."""
    return torch.poisson(mean, _of_its_own(generator))


def binomial(count: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """Draw k ~ Binomial(count, share) with the shape, dtype and device of `count`, whole numbers; share in [0, 1]."""
    return torch.binomial(count, share.expand_as(count), _of_its_own(generator))


def _of_its_own(generator: torch.Generator) -> torch.Generator:
    """Return a generator for draws that take as many random numbers as they count events; on a CPU the same.

    On a GPU torch moves a generator on by a fixed few numbers for each such draw, "a rough estimate" (20 for Poisson
    and 42 for binomial draws; https://github.com/pytorch/pytorch/pull/9795), and the next draw takes again what a draw
    of 30 photons used beyond them: read noise then has a covariance of -0.3 to -0.5 photons with the counts.
    """
    if generator.device.type == "cpu":
        return generator
    key = torch.randint(2**31, (2,), generator=generator, device=generator.device)
    return make_generator(generator.device, *key.tolist())
