"""Measurements, their operators and their noise keep their order, whichever of them are taken."""

import torch

from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.noise import Gaussian
from unveil.operators import inpainting
from unveil.random import make_generator

COUNT = 7


def make():
    generator = make_generator("cpu", 0)
    y = torch.rand(COUNT, 2, 5, 6, generator=generator)
    masks = torch.rand(COUNT, 5, 6, generator=generator) < 0.6
    sigma = torch.linspace(0.1, 0.7, COUNT)
    source = MemorySource({f"{i}": row for i, row in enumerate(y)})
    return Dataset(source, inpainting(masks, 2), Gaussian(sigma)), y * masks[:, None], masks, sigma


def check(m, which, y, masks, sigma):
    assert torch.equal(m.y, y[which])
    assert torch.equal(m.operator.measured[:, 0], masks[which])
    assert torch.equal(m.level, sigma[which])


def test_batches_and_parts():
    data, *expected = make()
    assert len(data) == COUNT
    for i in range(COUNT):
        assert len(data[i]) == 1
        check(data[i], [i], *expected)
    check(data.batch(torch.tensor([4, 0, 4])), [4, 0, 4], *expected)
    part = data.subset([5, 2, 3])
    assert len(part) == 3
    check(part.batch(torch.tensor([2, 0])), [3, 5], *expected)
    check(part.subset([1])[0], [2], *expected)


def test_of_one_instrument_all_have_the_same():
    data, y, masks, _ = make()
    one = Dataset(data.source, inpainting(masks[0], 2), Gaussian(0.2)).subset([6, 1])
    m = one.batch(torch.tensor([1, 0]))
    assert m.operator.count is None
    assert m.level.tolist() == Gaussian(0.2).sigma.expand(2).tolist()
    other = one.of(MemorySource({"a": y[3]}))
    assert other.operator is one.operator
    assert torch.equal(other[0].y[0], one.operator.project(y[3:4])[0])
