"""Checkpoints: whole or not there, exact to the bit on resume, refused in one line when damaged."""

import errno
import json
import os
import resource
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file
from test_training_loop import network, run, settings
from torch import nn

from small import losses
from unveil.errors import UnveilError, UnveilWarning
from unveil.records import sealed
from unveil.training import (
    Interrupted,
    checkpoint,
    latest_checkpoint,
    load_checkpoint,
    load_weights,
    read_metrics,
    save_checkpoint,
    save_weights,
)


def newest(folder):
    return latest_checkpoint(folder / "checkpoints")


def contents(folder):
    """Every tensor of the newest checkpoint, by file and name."""
    return {(p.name, k): v for p in newest(folder).glob("*.safetensors") for k, v in load_file(p).items()}


def assert_same(a, b):
    assert losses(a) == losses(b)
    assert [line["step"] for line in read_metrics(b)] == list(range(1, 13)), "each step once"
    first, second = contents(a), contents(b)
    assert first.keys() == second.keys()
    assert {name for name, _ in first} == {"model.safetensors", "ema.safetensors", "optimizer.safetensors"}
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """12 steps without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return folder


def test_twelve_steps_change_everything(whole):
    start, end = dict(network().named_parameters()), contents(whole)
    assert all(not torch.equal(end["model.safetensors", k], value) for k, value in start.items() if value.numel())
    assert not torch.equal(
        end["model.safetensors", "backbone.stem.weight"],
        end["ema.safetensors", "module.backbone.stem.weight"],
    )
    assert len(set(losses(whole))) == 12


def test_resume_from_a_checkpoint_is_exact(whole, tmp_path):
    """The process dies after step 10: steps 9 and 10 were logged, but the checkpoint is of step 8."""

    class Killed(Exception):
        pass

    def die(done, total, metrics):
        if done == 10:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, progress=die)
    assert newest(tmp_path).name == "step-00000008"
    assert len(losses(tmp_path)) == 10
    torch.manual_seed(5)
    trained = run(tmp_path, f=network())
    assert_same(whole, tmp_path)
    assert torch.equal(trained.backbone.head.weight, contents(whole)["ema.safetensors", "module.backbone.head.weight"])


@pytest.mark.parametrize("at", [1, 5, 11])
def test_resume_after_ctrl_c_is_exact(at, whole, tmp_path):
    def interrupt(done, total, metrics):
        if done == at:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match=f"stopped at step {at} of 12, saved in"):
        run(tmp_path, progress=interrupt)
    assert newest(tmp_path).name == f"step-{at:08d}"
    assert len(losses(tmp_path)) == at
    run(tmp_path)
    assert_same(whole, tmp_path)


def test_a_finished_run_trains_no_further(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    steps = []
    trained = run(tmp_path, progress=lambda *now: steps.append(now))
    assert steps == []
    assert torch.equal(trained.backbone.head.weight, contents(whole)["ema.safetensors", "module.backbone.head.weight"])


def test_the_newest_two_are_kept(whole):
    assert sorted(p.name for p in (whole / "checkpoints").iterdir()) == ["step-00000008", "step-00000012"]
    assert json.loads((newest(whole) / "state.json").read_text())["step"] == 12


def test_no_pickle_anywhere(whole):
    names = [p.name for p in whole.rglob("*") if p.is_file()]
    known = (".json", ".jsonl", ".yaml", ".safetensors")
    assert names
    assert [n for n in names if not n.endswith(known) and not n.startswith("events.out.tfevents.")] == []


def full_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("part", ["replace", "write_bytes", "write_text"])
def test_full_disk_leaves_the_checkpoint_before_intact(part, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:

        def fill(done, total, metrics):
            if done == 8:
                patch.setattr(os if part == "replace" else checkpoint.Path, part, full_disk)

        with pytest.raises(UnveilError, match=r"step-00000008.*No space left.*before it is intact") as caught:
            run(tmp_path, progress=fill)
    assert "\n" not in str(caught.value)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]
    run(tmp_path)
    assert_same(whole, tmp_path)


def test_a_real_write_failure(tmp_path):
    """A file size limit stops the writing as a full disk would."""
    net = nn.Linear(100, 100)
    optimizer = torch.optim.AdamW(net.parameters())
    save_checkpoint(tmp_path, 1, {"model": net}, optimizer, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(UnveilError, match=r"step-00000002: cannot write the checkpoint \(.*too large"):
            save_checkpoint(tmp_path, 2, {"model": net}, optimizer, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_a_leftover_of_a_killed_process_is_ignored_and_replaced(whole, tmp_path):
    partial = tmp_path / "checkpoints" / ".step-00000004.partial"
    partial.mkdir(parents=True)
    (partial / "model.safetensors").write_bytes(b"half")
    (partial / "junk").write_bytes(b"half")
    assert newest(tmp_path) is None
    run(tmp_path, settings(steps=12))
    assert_same(whole, tmp_path)
    assert not list((tmp_path / "checkpoints").glob(".*"))


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "noise", "a bit"])
def test_damage_is_one_line_and_the_one_before_resumes(name, damage, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    file = newest(tmp_path) / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "a bit":
        place = 1 if name == "state.json" else len(content) - 9
        file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    else:
        file.write_bytes(content[:-9] if damage == "cut" else b"\xff" * 64)
    with pytest.warns(UnveilWarning, match=rf"step-00000012.{name}: .*goes on from step-00000008") as caught:
        run(tmp_path)
    assert "\n" not in str(caught[0].message)
    assert (tmp_path / "checkpoints" / "damaged-step-00000012").is_dir()
    assert_same(whole, tmp_path)


def change_state(checkpoint, **values):
    path = checkpoint / "state.json"
    record = {key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}
    path.write_text(json.dumps(sealed(record | values)))


CONTRADICTIONS = {
    "another step": lambda newest: change_state(newest, step=11),
    "another seed": lambda newest: change_state(newest, seed=5),
    "no step": lambda newest: change_state(newest, step="12"),
    "parts of another step": lambda newest: shutil.copy(
        newest.with_name("step-00000008") / "ema.safetensors", newest / "ema.safetensors"
    ),
    "renamed": lambda newest: newest.rename(newest.with_name("step-00000099")),
}


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_a_checkpoint_that_contradicts_its_folder_is_set_aside(contradiction, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    CONTRADICTIONS[contradiction](newest(tmp_path))
    with pytest.warns(UnveilWarning, match="set aside as damaged-step-"):
        run(tmp_path)
    assert_same(whole, tmp_path)


def test_without_an_intact_checkpoint_nothing_is_moved(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "checkpoints").iterdir():
        (path / "model.safetensors").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UnveilError, match=r"step-00000012.*no other that is intact") as caught:
        run(tmp_path)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_first_checkpoint_on_a_full_disk_does_not_speak_of_another(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", full_disk)
    net = nn.Linear(2, 2)
    with pytest.raises(UnveilError, match=r"No space left.*then start again: it is the first"):
        save_checkpoint(tmp_path, 1, {"model": net}, torch.optim.AdamW(net.parameters()), {})


def test_what_is_renamed_is_on_the_disk(tmp_path, monkeypatch):
    """Each file of a checkpoint, its folder and then the folder above."""
    events = []
    rename, fsync = os.replace, os.fsync

    def traced_sync(handle):
        events.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def traced_rename(a, b):
        events.append(("rename", os.path.basename(b)))
        rename(a, b)

    monkeypatch.setattr(os, "fsync", traced_sync)
    monkeypatch.setattr(os, "replace", traced_rename)
    net = nn.Linear(2, 2)
    save_checkpoint(tmp_path, 1, {"model": net}, torch.optim.AdamW(net.parameters()), {})
    renamed = events.index(("rename", "step-00000001"))
    files = {"model.safetensors", "optimizer.safetensors", "state.json", ".step-00000001.partial"}
    assert {name for _, name in events[:renamed]} == files
    assert events[renamed + 1 :] == [("sync", tmp_path.name)]


def test_optimiser_states_of_other_shapes_are_one_line(tmp_path):
    def saved(net):
        optimizer = torch.optim.AdamW(net.parameters())
        net(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        save_checkpoint(tmp_path, 1, {}, optimizer, {})
        return latest_checkpoint(tmp_path)

    net = nn.Linear(3, 2)
    for other in (nn.Linear(3, 4), nn.Linear(3, 2, bias=False), nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))):
        with pytest.raises(UnveilError, match=r"optimizer\.safetensors: of another network") as caught:
            load_checkpoint(saved(other), {}, torch.optim.AdamW(net.parameters()))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_of_weights_is_noticed(bit, tmp_path):
    path = tmp_path / "w.safetensors"
    net = nn.Linear(3, 2)
    save_weights(path, net.state_dict())
    load_weights(path, net)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(UnveilError, match="its sha256 is not that"):
        load_weights(path, net)


def test_weights_of_another_network(tmp_path):
    save_weights(tmp_path / "w.safetensors", nn.Linear(3, 2).state_dict())
    with pytest.raises(UnveilError, match="of another network") as caught:
        load_weights(tmp_path / "w.safetensors", nn.Linear(2, 2))
    assert "\n" not in str(caught.value)


def test_optimizer_round_trip(tmp_path):
    """Moments and step counts come back; so does a module in channels_last."""
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.ones(1, 3, 5, 5)).square().sum().backward()
        optimizer.step()
    save_checkpoint(tmp_path, 3, {"model": net}, optimizer, {"seed": 8})
    other = nn.Conv2d(3, 4, 3)
    fresh = torch.optim.AdamW(other.parameters(), lr=0.1)
    state = load_checkpoint(latest_checkpoint(tmp_path), {"model": other}, fresh)
    assert state == {"step": 3, "seed": 8}
    torch.testing.assert_close(other.state_dict(), net.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(fresh.state_dict()["state"], optimizer.state_dict()["state"], rtol=0, atol=0)
