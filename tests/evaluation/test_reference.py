"""References are paired by name, and those on another scale or of something else are told."""

import pytest
import torch

from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.evaluation import check_reference, pair_by_name, reference_contradiction
from unveil.noise import Gaussian
from unveil.operators import Identity, inpainting
from unveil.random import make_generator, normal

SIGMA = 0.1


def images(count: int = 3, key: int = 1, side: int = 64) -> torch.Tensor:
    """(count, 1, side, side), squares of 8 pixels of a random grey in [0.1, 0.9]."""
    grey = torch.rand(count, 1, side // 8, side // 8, generator=make_generator("cpu", key))
    return (0.1 + 0.8 * grey).repeat_interleave(8, 2).repeat_interleave(8, 3)


def measured(x: torch.Tensor) -> torch.Tensor:
    return x + SIGMA * normal(x, make_generator("cpu", 2))


def named(x: torch.Tensor, *names: str) -> MemorySource:
    return MemorySource(dict(zip(names or [f"i{k}" for k in range(len(x))], x)))


def order(source: MemorySource, reference: MemorySource) -> tuple[list[str], str | None]:
    paired, line = pair_by_name(source, reference)
    return [paired.name(i) for i in range(len(paired))], line


X = images(4)


@pytest.mark.parametrize(
    ("names", "given", "expected"),
    [
        (["a", "b", "c"], ["c", "a", "b"], ["a", "b", "c"]),
        (["b", "d"], ["a", "b", "c", "d"], ["b", "d"]),
        (["noisy1", "noisy2", "noisy10"], ["clean1", "clean10", "clean2"], ["clean1", "clean2", "clean10"]),
        (["1_low", "2_low"], ["ref_2_high", "ref_1_high"], ["ref_1_high", "ref_2_high"]),
        (["y"], ["x"], ["x"]),
    ],
)
def test_names_pair(names, given, expected):
    assert order(named(X, *names), named(X, *given)) == (expected, None)


def test_where_no_name_tells_it_the_order_does_and_a_line_says_so():
    given, line = order(named(X, "a", "b"), named(X, "u", "v"))
    assert given == ["u", "v"]
    assert "in order, a with u" in line


def test_some_names_of_all_are_refused():
    with pytest.raises(UnveilError, match=r"3 images, and none of them is called im0, while 2 have"):
        pair_by_name(named(X, "im0", "im1", "im2"), named(X, "im1", "im2", "im3"))
    paired, line = pair_by_name(named(X, "a", "b", "c"), named(X, "u", "v"))
    assert line is None
    with pytest.raises(UnveilError, match="2 images and the measurements 3"):
        check_reference(named(X, "a", "b", "c"), paired)


def contradiction(y, x, operator=None):
    return reference_contradiction(Dataset(named(y), operator or Identity(), Gaussian(SIGMA)), named(x))


@pytest.mark.parametrize("side", [16, 64])
def test_references_that_fit_are_not_doubted(side):
    for key in range(20):
        x = images(3, key, side)
        y = measured(x)
        assert contradiction(y, x) is None
        assert contradiction(y.clamp(0, 1), x) is None


def test_references_on_another_scale():
    x = images()
    y = measured(x)
    for other in (x / 16, x * 255, x - 0.5, 2 * x, x.clamp(max=0.9) / 257):
        line = contradiction(y, other)
        assert "scale" in line, line
        assert "3 of 3" in line


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_the_measurements_are_no_references_of_themselves(share):
    y = measured(X)
    assert "is the measurement itself, or was made from it" in contradiction(y, X + (1 - share) * (y - X))


def test_references_of_something_else():
    x = images()
    y = measured(x)
    assert "does not show" in contradiction(y, x.flip(0))
    assert "does not show" in contradiction(y, x.flip(-1))
    line = contradiction(y, torch.cat([x[:2], x[:1]]))
    assert line.startswith("i2")
    assert "1 of 3" in line


def test_incomplete_measurements_are_compared_where_they_are_measured():
    x = images()
    keep = torch.rand(64, 64, generator=make_generator("cpu", 5)) < 0.5
    operator = inpainting(keep)
    y = operator.project(measured(x))
    assert contradiction(y, x, operator) is None
    assert "does not show" in contradiction(y, x.flip(0), operator)
    assert "scale" in contradiction(y, 10 * x, operator)
