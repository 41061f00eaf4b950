"""Draws on disk: written one by one, read window by window, and found again."""

import pytest
import torch
import zarr

from unveil.data import DrawStore, MemorySource, crops
from unveil.errors import UnveilError
from unveil.random import make_generator


@pytest.fixture
def like():
    return MemorySource({"a": torch.rand(2, 20, 30), "b": torch.rand(2, 300, 17)})


@pytest.fixture
def draws(like):
    return [torch.rand(like.shape(i), generator=make_generator("cpu", i)) for i in range(len(like))]


def test_what_was_written_is_read_by_the_same_names_and_windows(tmp_path, like, draws):
    store = DrawStore(tmp_path / "draws.zarr", like)
    for i, x in enumerate(draws):
        assert not store.has(i)
        store.write(i, x)
        assert store.has(i)
    for source in (store, DrawStore(tmp_path / "draws.zarr", like)):
        assert [source.name(i) for i in range(2)] == ["a", "b"]
        assert torch.equal(source.read(1), draws[1])
        assert torch.equal(source.read(0, (3, 4, 5, 6)), draws[0][:, 3:8, 4:10])
    assert crops(store, 4, 9, make_generator("cpu", 0)).shape == (4, 2, 9, 9)


def test_a_draw_cut_off_does_not_count(tmp_path, like, draws):
    store = DrawStore(tmp_path / "draws.zarr", like)
    store.write(0, draws[0])
    zarr.open_group(tmp_path / "draws.zarr", mode="a")["000000"].attrs["complete"] = False
    again = DrawStore(tmp_path / "draws.zarr", like)
    assert not again.has(0)
    with pytest.raises(UnveilError, match="not drawn yet"):
        again.read(0)
    again.write(0, draws[0])
    assert torch.equal(again.read(0), draws[0])


def test_wrong_shapes_and_places(tmp_path, like):
    store = DrawStore(tmp_path / "draws.zarr", like)
    with pytest.raises(UnveilError, match=r"shape \(1, 20, 30\)"):
        store.write(0, torch.zeros(1, 20, 30))
    (tmp_path / "file").write_text("")
    with pytest.raises(UnveilError, match="cannot hold draws"):
        DrawStore(tmp_path / "file", like)
