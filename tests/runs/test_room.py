"""A training that does not fit is refused with its size and the limit before it starts; one that runs is not."""

import pytest
import torch

from unveil.config import parse_config
from unveil.data import save_image
from unveil.errors import UnveilError
from unveil.estimators import UNet
from unveil.runs import create_run, room
from unveil.runs.room import WEIGHTS, check_room, least_memory


def configure(path="x", **sections):
    return parse_config({"data": {"path": str(path)}, "noise": {"sigma": 0.1}, **sections}, "test")


@pytest.mark.parametrize("sections", [
    {"training": {"batch": 65536, "crop": 16384}},
    {"estimator": {"widths": [4096] * 8, "blocks": 100}},
])  # fmt: skip
def test_a_training_that_does_not_fit_states_its_size_and_the_limit(sections, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_memory", lambda: 16 * 2**30)
    save_image(tmp_path / "data.npy", torch.rand(1, 40, 40))
    with pytest.raises(UnveilError, match=r"need .* GiB at least, and this machine has 16 GiB: lower them") as caught:
        create_run(tmp_path / "run", configure(tmp_path / "data.npy", **sections))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_incomplete_measurements_are_seen_whole(monkeypatch):
    config = configure(operator={"kind": "blur", "std": 1}, training={"batch": 1})
    assert least_memory(config, 1, (1, 512, 512)) > 50 * least_memory(config, 1)
    monkeypatch.setattr(room, "_memory", lambda: 2**28)
    check_room(config, 1, (1, 64, 64))
    with pytest.raises(UnveilError, match="GiB at least"):
        check_room(config, 1, (1, 4096, 4096))


def test_the_weights_are_not_overestimated():
    config = configure(estimator={"widths": [32, 64, 96], "blocks": 2}, training={"batch": 1, "crop": 4})
    weights = sum(p.numel() for p in UNet(1, (32, 64, 96), 2).parameters())
    assert 0.7 * WEIGHTS * weights < least_memory(config, 1) < 1.02 * WEIGHTS * weights


def test_the_sides_are_padded_to_the_coarsest_pixels():
    deep = configure(estimator={"widths": [4] * 8}, training={"crop": 16})
    assert least_memory(deep, 1) == least_memory(configure(estimator={"widths": [4] * 8}, training={"crop": 128}), 1)


def test_this_machine_has_memory():
    check_room(configure(), 1)
