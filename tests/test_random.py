"""Explicit randomness: every part of a key counts, and the global generator is never used."""

import itertools

import pytest
import torch

from unveil.random import binomial, make_generator, normal, poisson, uniform


def first(*key, device="cpu"):
    return torch.rand(3, generator=make_generator(device, *key), device=device).tolist()


def test_the_same_key_gives_the_same_stream(device):
    assert first(1, 2, 3, device=device) == first(1, 2, 3, device=device)


def test_every_part_of_the_key_counts():
    keys = [*itertools.product(range(3), repeat=3), (2**31, 0, 1), (0, 10**9, 1)]
    assert len({tuple(first(*key)) for key in keys}) == len(keys)


def test_the_length_of_the_key_counts():
    """(seed,) and (seed, 0): a run's own stream is not that of its step 0."""
    keys = [(), *[(5, *[0] * n) for n in range(6)], *[(0,) * n for n in range(1, 6)]]
    assert len({tuple(first(*key)) for key in keys}) == len(keys)


def test_neighbouring_keys_are_uncorrelated():
    draws = torch.stack([torch.randn(2000, generator=make_generator("cpu", 0, step)) for step in range(20)])
    correlation = torch.corrcoef(draws) - torch.eye(20)
    assert correlation.abs().max() < 4.5 / 2000**0.5


def test_keys_are_not_negative():
    with pytest.raises(ValueError, match="non-negative"):
        make_generator("cpu", -1)


def test_draws(device, dtype):
    like = torch.zeros(50, 400, device=device, dtype=dtype)
    rng = torch.get_rng_state()
    z, u = normal(like, make_generator(device, 1)), uniform(like, -2.0, 6.0, make_generator(device, 2))
    assert torch.equal(torch.get_rng_state(), rng)
    for draw in (z, u):
        assert draw.shape == like.shape
        assert draw.dtype == dtype
        assert draw.device == like.device
    n = like.numel()
    assert abs(z.mean()) < 4 / n**0.5
    assert abs(z.var() - 1) < 4 * (2 / n) ** 0.5
    assert u.min() >= -2
    assert u.max() <= 6
    assert abs(u.mean() - 2) < 4 * (64 / 12 / n) ** 0.5
    assert abs(u.var() - 64 / 12) < 4 * 64 * (1 / 180 / n) ** 0.5


def test_counts_leave_nothing_to_the_next_draw(device):
    """A draw of 30 photons takes more random numbers than torch moves a generator of a GPU on by."""
    n, generator = 200_000, make_generator(device, 3)
    mean = torch.full((n,), 30.0, device=device, dtype=torch.float64)
    draws = [
        (poisson(mean, generator) - 30) / 30**0.5,
        (poisson(mean, generator) - 30) / 30**0.5,
        (binomial(mean, torch.tensor([0.3]).to(mean), generator) - 9) / 6.3**0.5,
        normal(mean, generator),
    ]
    z = torch.stack(draws)
    assert (z.mean(1).abs() < 4.5 / n**0.5).all()
    assert ((z.var(1) - 1).abs() < 4.5 * (2.1 / n) ** 0.5).all()
    assert (torch.corrcoef(z) - torch.eye(4).to(z)).abs().max() < 4.5 / n**0.5
