"""A run knows its data by content: what changed, came, went or was exchanged is named before it goes on."""

import os
import shutil
import signal
import warnings

import h5py
import numpy as np
import pytest
import torch

from small import SIGMA, configure, measure, refused, same
from unveil.data import open_images, save_image
from unveil.data.stamp import stamp
from unveil.errors import UnveilWarning
from unveil.runs import create_run, open_run, train_run
from unveil.runs.contents import open_contents
from unveil.training import Interrupted
from unveil.training.setup import split


@pytest.fixture
def data(tmp_path):
    return measure(tmp_path / "data", count=6)


def begun(data, folder, **sections):
    """A run of 6 steps that was stopped after the third."""
    run = create_run(folder, configure(data, noise={"sigma": SIGMA}, **sections))

    def stop(done, total, metrics):
        if done == 3:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        train_run(run, device="cpu", stages=lambda name: stop)
    return run


def swap(a, b):
    c = a.with_name("c")
    a.rename(c)
    b.rename(a)
    c.rename(b)


def exchange_contents(a, b):
    """As swap, in place, and with their times of modification."""
    (x, y), times = (a.read_bytes(), b.read_bytes()), [p.stat().st_mtime_ns for p in (a, b)]
    a.write_bytes(y)
    b.write_bytes(x)
    for path, time in zip((a, b), times):
        os.utime(path, ns=(time, time))


def add(data):
    shutil.copy(data / "m1.tif", data / "m9.tif")


CHANGES = {
    "swapped": (lambda data: swap(data / "m1.tif", data / "m4.tif"), "m1.tif, m4.tif (m1.tif holds what m4.tif held)"),
    "exchanged in place": (lambda data: exchange_contents(data / "m1.tif", data / "m4.tif"), "m1.tif, m4.tif"),
    "one value": (lambda data: save_image(data / "m0.tif", open_images(data).read(0) + 1e-6), "content of m0.tif;"),
    "another size": (lambda data: save_image(data / "m0.tif", torch.rand(1, 40, 40)), "m0.tif"),
    "one more": (add, "m9.tif came"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_are_refused_by_name(change, data, tmp_path):
    run = begun(data, tmp_path / "run")
    CHANGES[change][0](data)
    message = refused(lambda: train_run(run, device="cpu"))
    assert "changed since the run began" in message
    assert CHANGES[change][1] in message
    assert sorted(p.name for p in (run.folder / "checkpoints").iterdir()) == ["step-00000002", "step-00000003"]


def test_the_same_content_goes_on_to_the_bit_wherever_it_lies(data, tmp_path):
    """Copied to another disk and back: other times, other inodes; the path in the configuration may follow."""
    expected = train_run(create_run(tmp_path / "whole", configure(data, noise={"sigma": SIGMA})), device="cpu")
    run = begun(data, tmp_path / "run")
    data.rename(tmp_path / "elsewhere")
    assert "does not exist" in refused(lambda: train_run(run, device="cpu"))
    shutil.copytree(tmp_path / "elsewhere", data)
    path = run.folder / "config.yaml"
    path.write_text(path.read_text().replace("../data", "../elsewhere"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnveilWarning)
        assert same(train_run(open_run(run.folder), device="cpu"), expected)


def test_files_that_are_gone_are_named_and_the_run_goes_on_without(data, tmp_path):
    run = begun(data, tmp_path / "run")
    held_out = run.measurements()[1].source
    gone = next(f"m{i}" for i in range(6) if f"m{i}" != held_out.name(0))
    (data / f"{gone}.tif").unlink()
    with pytest.warns(UnveilWarning, match=rf"{gone}\.tif, of 6 files, gone since the run began"):
        train_run(run, device="cpu")
    with pytest.warns(UnveilWarning, match="gone since"):
        training, still = (data.source for data in run.measurements())
    assert still.name(0) == held_out.name(0), "each image stays on its side"
    assert (len(training), len(still)) == (4, 1)
    (data / f"{held_out.name(0)}.tif").unlink()
    with pytest.warns(UnveilWarning, match="of 6 files, gone since"):
        training, still = (data.source for data in run.measurements())
    assert [still.name(i) for i in range(4)] == [training.name(i) for i in range(4)]


def test_measurements_that_are_gone_take_their_masks_along(tmp_path):
    data = measure(tmp_path / "data", count=5, side=16)
    masks = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.3
    np.save(tmp_path / "masks.npy", masks.numpy())
    operator = {"kind": "inpainting", "mask": str(tmp_path / "masks.npy")}
    config = configure(data, operator=operator, noise={"sigma": SIGMA}, training={"crop": 32})
    run = create_run(tmp_path / "run", config)
    (data / "m1.tif").unlink()
    with pytest.warns(UnveilWarning, match=r"m1\.tif"):
        parts = run.measurements()
    left = {data.source.name(i): data[i].operator.measured[0, 0] for data in parts for i in range(len(data))}
    assert left.keys() == {"m0", "m2", "m3", "m4"}
    assert all(torch.equal(mask, masks[int(name[1])]) for name, mask in left.items())
    np.save(tmp_path / "masks.npy", ~masks.numpy())
    with pytest.warns(UnveilWarning, match=r"m1\.tif"):
        assert "operator.mask: the content of its file changed" in refused(run.measurements)


def spoil(path):
    """Change a value in the middle of a compressed file, whose checksum tells."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def test_damaged_files_are_all_named_before_there_is_a_run(tmp_path):
    data = measure(tmp_path / "data", count=6, suffix=".png")
    for name in ("m1.png", "m3.png", "m5.png"):
        spoil(data / name)
    message = refused(create_run, tmp_path / "run", configure(data, noise={"sigma": SIGMA}))
    assert "m1.png" in message
    assert "2 more cannot be used either: m3.png, m5.png" in message
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_damaged_later_is_named_and_may_go(data, tmp_path):
    run = begun(data, tmp_path / "run")
    content = (data / "m2.tif").read_bytes()
    (data / "m2.tif").write_bytes(content[:-700])
    assert "m2.tif" in refused(lambda: train_run(run, device="cpu"))
    (data / "m2.tif").unlink()
    with pytest.warns(UnveilWarning, match=r"m2\.tif"):
        train_run(run, device="cpu")


def test_unchanged_files_are_not_read_again(data, tmp_path, monkeypatch):
    run = create_run(tmp_path / "run", configure(data, noise={"sigma": SIGMA}))
    os.utime(data / "m2.tif")
    read = []
    part = "unveil.runs.contents._part"
    from unveil.runs.contents import _part

    monkeypatch.setattr(part, lambda name, *more: read.append(name) or _part(name, *more))
    run.measurements(to_train=True)
    assert read == ["m2.tif"]
    run.measurements()
    assert read == ["m2.tif"], "the new stamp was noted"


def test_data_json_belongs_to_its_run_and_a_split_to_its_images(data, tmp_path):
    run, other = (
        create_run(tmp_path / str(n), configure(data if n else measure(tmp_path / "b", 3), noise={"sigma": SIGMA}))
        for n in (1, 0)
    )
    shutil.copy(other.folder / "data.json", run.folder / "data.json")
    assert "of another run than run.json" in refused(run.measurements)
    (run.folder / "data.json").write_text("[]")
    assert "data.json: damaged" in refused(run.measurements)
    source = open_images(data)
    for part, again in zip(split(source, run.config), split(source, run.config, 6, range(6))):
        assert [part.name(i) for i in range(len(part))] == [again.name(i) for i in range(len(again))]
    assert open_contents(other.folder).images == 3


def test_stamps_of_folders_and_of_files_that_link_elsewhere(tmp_path):
    """A chunk that changes in a zarr folder, and a file to which HDF5 links, are not seen in the time of what was
    opened."""
    import zarr

    array = zarr.create_array(tmp_path / "a.zarr", shape=(4, 8, 8), chunks=(1, 8, 8), dtype="float32")
    array[:] = 1
    before = stamp(tmp_path / "a.zarr")
    assert before == stamp(tmp_path / "a.zarr")
    array[2] = 2
    assert stamp(tmp_path / "a.zarr") != before
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = np.ones((2, 8, 8), np.float32)
    assert stamp(tmp_path / "b.h5")
    for name, fill in {
        "link": lambda f: f.__setitem__("g/x", h5py.ExternalLink("b.h5", "/x")),
        "virtual": lambda f: f.create_virtual_dataset("x", _layout()),
        "external": lambda f: f.create_dataset("x", (8, 8), "f4", external=[("raw.bin", 0, 256)]),
    }.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            fill(file)
        assert stamp(tmp_path / f"{name}.h5") is None, name


def _layout():
    layout = h5py.VirtualLayout((2, 8, 8), "f4")
    layout[:] = h5py.VirtualSource("b.h5", "x", (2, 8, 8))
    return layout
