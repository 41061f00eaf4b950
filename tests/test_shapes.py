"""Levels against batches: what is accepted, and what is refused although it would broadcast."""

import pytest
import torch

from unveil.errors import UnveilError
from unveil.shapes import expand, per_sample

Y = torch.zeros(4, 2, 3, 5)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (4, 1), (4, 1, 1, 1)])
def test_accepted(shape, device, dtype):
    y = Y.to(device, dtype)
    value = torch.arange(1, 5).reshape(shape) if 4 in shape else torch.full(shape, 3)
    out = per_sample(value, y)
    assert out.shape == (4,)
    assert out.dtype == dtype
    assert out.device == y.device
    assert out.tolist() == ([1, 2, 3, 4] if 4 in shape else [3] * 4)


@pytest.mark.parametrize("number", [2, 2.0, True])
def test_numbers(number):
    assert per_sample(number, Y).tolist() == [float(number)] * 4


@pytest.mark.parametrize("shape", [(5,), (2,), (3,), (1, 4), (1, 1, 1, 4), (4, 2), (4, 2, 3, 5), (4, 1, 1, 5), (0,)])
def test_refused(shape):
    with pytest.raises(UnveilError, match=r"sigma has shape .* batch of 4") as caught:
        per_sample(torch.ones(shape), Y)
    assert "\n" not in str(caught.value)


def test_the_message_names_the_argument():
    with pytest.raises(UnveilError, match=r"^gain has shape"):
        per_sample(torch.ones(3), Y, "gain")


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 2, 3, 5), (4, 4, 4, 4)])
def test_expand_multiplies_samples_not_columns(shape):
    value = torch.arange(1.0, 5.0)
    product = expand(value, torch.ones(shape)) * torch.ones(shape)
    assert product.shape == shape
    assert product.flatten(1 if len(shape) > 1 else 0).reshape(4, -1)[:, 0].tolist() == [1, 2, 3, 4]
    assert (product.reshape(4, -1) == value[:, None]).all()


def test_a_batch_of_one():
    assert per_sample(torch.ones(1, 1, 1, 1), Y[:1]).shape == (1,)
    with pytest.raises(UnveilError):
        per_sample(torch.ones(5), Y[:1])
