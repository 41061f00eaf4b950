"""The run folder: made once, opened again, refused when it is another's."""

import json
import math
import shlex
import shutil
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
import yaml
from safetensors.torch import load_file

import masked
import unveil
from small import SIGMA, clean, configure, losses, measure, noisy, refused, same
from unveil.data import MemorySource, save_image
from unveil.errors import UnveilError, UnveilWarning
from unveil.estimators import AffineUNet, NormalizationEquivariant, Preconditioned
from unveil.noise import OwnNoise, Poisson
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.records import sealed
from unveil.runs import contents, create_run, open_run, train_run
from unveil.runs import create as create_module
from unveil.runs.contents import open_contents
from unveil.runs.noise import recorded
from unveil.runs.record import RecordedNoise
from unveil.training import Interrupted, build_estimator
from unveil.training.setup import open_measurements, possible_scales, split


@pytest.fixture
def data(tmp_path):
    return measure(tmp_path / "data")


@pytest.fixture
def masked_data(tmp_path):
    masked.write(tmp_path / "masked")
    return tmp_path / "masked"


def alike(a, b):
    """Two runs of one folder."""
    return replace(a, noise=b.noise) == b and recorded(a.noise) == recorded(b.noise)


def test_create_run_estimates_sigma_and_records_what_it_was_made_of(tmp_path):
    data = measure(tmp_path / "data", side=96)
    run = create_run(tmp_path / "a" / "run", configure(data, seed=4))
    sigma = float(run.noise.sigma)
    assert sigma == pytest.approx(SIGMA, rel=0.05)
    record = json.loads((run.folder / "run.json").read_text())
    expected = {
        "format": 3,
        "noise": {"kind": "gaussian", "sigma": sigma},
        "unveil": unveil.__version__,
        "seed": 4,
        "channels": 1,
        "scales": [1, 2, 4],
        "images": 5,
    }
    assert {key: record[key] for key in expected} == expected
    assert record["data"] == open_contents(run.folder).fingerprint
    assert record["seen"]["types"] == ["float32"]
    assert torch.__version__.startswith(record["versions"]["torch"])
    others = {"data", "seen", "never_seen", "config", "versions", "created", "command", "sha256"}
    assert set(record) == expected.keys() | others
    assert yaml.safe_load((run.folder / "config.yaml").read_text())["seed"] == 4
    assert sorted(p.name for p in run.folder.iterdir()) == [".lock", "config.yaml", "data.json", "run.json"]


@pytest.mark.parametrize("program", ["/bin/unveil", "/src/unveil/__main__.py"])
def test_a_run_records_its_command_as_a_shell_takes_it(data, tmp_path, monkeypatch, program):
    words = ["unveil", "train", "my run.yaml", "--set", "estimator.widths=[8, 8]"]
    monkeypatch.setattr(sys, "argv", [program, *words[1:]])
    run = create_run(tmp_path / "run", configure(data))
    assert shlex.split(json.loads((run.folder / "run.json").read_text())["command"]) == words


def test_what_does_nothing_and_what_does_not_fit_is_refused_before_there_is_a_folder(data, masked_data, tmp_path):
    counts = counted(tmp_path / "counts", estimator={"form": "affine"})
    for config, words in [
        (
            masked.configure(masked_data, training={"crop": 8}),
            "training.crop = 8 does nothing: measurements by inpainting",
        ),
        (configure(data, em={"steps": 7}), "em.steps = 7 does nothing: em.rounds is 0; leave it out"),
        (
            masked.configure(masked_data, estimator={"form": "equivariant"}),
            "estimator.form = equivariant is for complete",
        ),
        (counts, "estimator.form = affine is for complete"),
    ]:
        assert words in refused(create_run, tmp_path / "run", config)
        assert not (tmp_path / "run").exists()


def test_stated_sigma_is_kept(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data, noise={"sigma": 0.2}))
    assert run.noise.sigma == 0.2
    assert alike(open_run(run.folder), run)


def test_images_without_noise_need_a_stated_level(tmp_path):
    (tmp_path / "data").mkdir()
    save_image(tmp_path / "data" / "flat.tif", torch.full((1, 32, 32), 0.5))
    assert "state noise.sigma" in refused(create_run, tmp_path / "run", configure(tmp_path / "data"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("side", "crop", "scales"), [(32, 8, (1, 2, 4)), (31, 8, (1, 2)), (15, 8, (1,)), (32, 32, (1,))]
)
def test_scales_are_limited_by_the_image_size(side, crop, scales, tmp_path):
    data = measure(tmp_path / "data", side=side, count=2)
    config = configure(data, training={"crop": crop, "steps": 2}, noise={"sigma": SIGMA})
    run = create_run(tmp_path / "run", config)
    assert run.scales == scales
    train_run(run, device="cpu")


def test_the_smallest_image_is_named():
    images = {"large": torch.zeros(1, 64, 64), "tiny": torch.zeros(1, 10, 12), "last": torch.zeros(1, 64, 64)}
    config, source = configure("images", training={"crop": 32}), MemorySource(images)
    with pytest.raises(UnveilError, match=r"tiny \(image 1\), the smallest image, has 10 pixels across"):
        possible_scales(config, source, Identity())
    assert possible_scales(config, source.subset([0, 2]), Identity()) == (1, 2)


def test_crop_larger_than_an_image_is_refused(data, tmp_path):
    message = refused(create_run, tmp_path / "run", configure(data, training={"crop": 33}))
    assert "32 pixels" in message
    assert "lower training.crop" in message


def test_same_configuration_opens_and_another_is_refused_by_its_key(data, tmp_path):
    folder = tmp_path / "run"
    run = create_run(folder, configure(data))
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert alike(create_run(folder, configure(data)), run)
    for other, key in [
        ({"training": {"steps": 7}}, "training.steps is 6 there and 7 here"),
        ({"seed": 1}, "(seed is 0 there and 1 here)"),
        ({"noise": {"sigma": 0.3}}, "noise.kind is auto there and gaussian here"),
        ({"loss": {"scales": [1]}}, "loss.scales is (1, 2, 4) there and (1,) here"),
    ]:
        assert key in refused(create_run, folder, configure(data, **other))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_folder_with_other_files_is_refused(data, tmp_path):
    assert "holds other files (m0.tif)" in refused(create_run, data, configure(data))
    assert not (data / "run.json").exists()
    assert "cannot be listed" in refused(create_run, data / "m0.tif", configure(data))
    waiting = tmp_path / "waiting"
    waiting.mkdir()
    (waiting / "config.yaml").write_text("of somebody else")
    (waiting / ".hidden").write_text("")
    assert "would be written over" in refused(create_run, waiting, configure(data))
    (waiting / "data.json").write_text("{}")
    assert "holds other files (data.json)" in refused(create_run, waiting, configure(data))
    assert (waiting / "config.yaml").read_text() == "of somebody else"


def test_open_run_refuses_what_is_no_run(data, tmp_path):
    assert "not a run folder" in refused(open_run, tmp_path / "none")
    run = create_run(tmp_path / "run", configure(data))
    path = run.folder / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "format": 4, "unveil": "9.9"}))
    assert "written by unveil 9.9 (run format 4)" in refused(open_run, run.folder)
    for text in ["{", "[]", "{}", json.dumps({**record, "channels": "x"}), json.dumps({"format": 3})]:
        path.write_text(text)
        assert "run.json: damaged" in refused(open_run, run.folder)
    path.write_bytes(b"\xff\xfe\xff")
    assert "run.json: damaged" in refused(open_run, run.folder)


def test_unfinished_run_has_no_estimator(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    assert "not trained to the end" in refused(run.estimator, Identity())


@pytest.mark.parametrize(("form", "channels"), [("equivariant", 3), ("preconditioned", 2), ("affine", 1)])
def test_estimator_of_a_run_is_what_training_returned(form, channels, tmp_path):
    data = measure(tmp_path / "data", channels=channels)
    run = create_run(tmp_path / "run", configure(data, estimator={"form": form, "widths": [8]}))
    trained = train_run(run, device="cpu")
    classes = {"equivariant": NormalizationEquivariant, "preconditioned": Preconditioned, "affine": AffineUNet}
    assert isinstance(trained, classes[form])
    loaded = open_run(run.folder).estimator(Identity())
    assert same(loaded, trained)
    assert not loaded.training
    assert {p.device.type for p in trained.parameters()} == {"cpu"}
    m = noisy(torch.rand(2, channels, 9, 9, generator=make_generator("cpu", 0)), SIGMA)
    assert torch.equal(loaded(m), trained(m))
    averaged = load_file(run.folder / "checkpoints" / "step-00000006" / "ema.safetensors")
    assert all(torch.equal(averaged[f"module.{k}"], v) for k, v in loaded.state_dict().items())


def test_estimator_of_incomplete_measurements_is_what_training_returned(masked_data, tmp_path):
    config = masked.configure(masked_data, estimator={"widths": [4], "mean": 0.4, "std": 0.2, "iterations": 3})
    run = create_run(tmp_path / "run", config)
    trained = train_run(run, device="cpu")
    assert (trained.mean, trained.std, len(trained.log_weights)) == (0.4, 0.2, 2)
    data = run.measurements()[0]
    loaded = open_run(run.folder).estimator(data.operator)
    assert same(loaded, trained)
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(data[5]), trained(data[5]))
    record = json.loads((run.folder / "run.json").read_text())
    assert record["noise"] == {"kind": "gaussian", "sigma": pytest.approx(masked.SIGMA)}
    assert (record["channels"], record["images"]) == (1, 12)


GAIN = 40
"""Numbers in the files for each photon."""


def counted(folder, **sections):
    """The configuration of uint16 counts of at most 25 photons, stretched to [0, 1]."""
    folder.mkdir()
    for i in range(4):
        photons = torch.poisson(20 * clean(32, 1, i), generator=make_generator("cpu", i)).clamp(max=25)
        tifffile.imwrite(folder / f"m{i}.tif", (GAIN * photons[0]).numpy().astype(np.uint16))
    sections = {"noise": {"kind": "poisson", "gain": GAIN}, **sections}
    config = configure(folder, **sections)
    return config.model_copy(update={"data": config.data.model_copy(update={"value_range": (0, 1000)})})


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_run_from_counts_is_of_counts(rounds, tmp_path):
    """The gain is in the numbers of the files; the noise, the network's map of it, batches, rounds and validation
    follow."""
    em = {"rounds": rounds, "steps": 2, "images": 2, "draw_steps": 2} if rounds else {}
    config = counted(tmp_path / "data", em=em)
    run = create_run(tmp_path / "run", config)
    assert str(run.noise) == "gain 0.04"
    assert isinstance(run.noise, Poisson)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["noise"] == {"kind": "poisson", "gain": pytest.approx(GAIN / 1000)}
    trained = train_run(run, device="cpu")
    assert trained.views == 2
    data = run.measurements()[0]
    photons = data[0].y / 0.04
    torch.testing.assert_close(photons, photons.round(), rtol=0, atol=1e-4)
    loaded = open_run(run.folder).estimator(Identity())
    with torch.no_grad():
        assert torch.equal(loaded(data[0]), trained(data[0]))
    assert all(math.isfinite(loss) for loss in losses(run.folder))
    assert alike(open_run(run.folder), run)


def test_a_run_from_speckle_keeps_its_looks_on_any_scale(tmp_path):
    """Looks have no unit; but the data begin at 0, for a factor knows no offset."""
    config = counted(tmp_path / "data", noise={"kind": "gamma", "looks": 20.0})
    run = create_run(tmp_path / "run", config)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["noise"] == {"kind": "gamma", "looks": 20.0}
    assert train_run(run, device="cpu").views == 2
    assert all(math.isfinite(loss) for loss in losses(run.folder))
    wrong = config.model_copy(update={"data": config.data.model_copy(update={"value_range": (10, 1000)})})
    assert "the data begin at 10, and 0 is the dark of Gamma noise" in refused(create_run, tmp_path / "other", wrong)


def test_counts_that_do_not_begin_at_no_photons_are_refused(tmp_path):
    config = counted(tmp_path / "data")
    wrong = config.model_copy(update={"data": config.data.model_copy(update={"value_range": (10, 1000)})})
    assert "the data begin at 10, and 0 is the dark of Poisson noise" in refused(create_run, tmp_path / "run", wrong)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "stage"), [("images", "training"), ("counts", "training"), ("masked", "spectrum"), ("masked", "training")]
)
def test_interrupted_run_resumes_exactly(kind, stage, data, masked_data, tmp_path):
    def interrupt(done, total, metrics):
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    options = {"training": {"steps": 6}, "estimator": {"widths": [4], "iterations": 2}}
    if kind == "masked":
        config = masked.configure(masked_data, **options)
    else:
        config = configure(data) if kind == "images" else counted(tmp_path / "counts")
    whole, parts = create_run(tmp_path / "whole", config), create_run(tmp_path / "parts", config)
    expected = train_run(whole, device="cpu")
    with pytest.raises(Interrupted):
        train_run(parts, device="cpu", stages=lambda name: interrupt if name == stage else lambda *_: None)
    refused(parts.estimator, Identity())
    assert same(train_run(create_run(parts.folder, config), device="cpu"), expected)
    assert (whole.folder / "metrics.jsonl").read_text() == (parts.folder / "metrics.jsonl").read_text()
    assert same(train_run(parts, device="cpu"), expected), "a finished run returns its estimator again"


def test_global_randomness_is_neither_used_nor_touched_and_the_seed_counts(data, tmp_path):
    runs = {}
    with torch.random.fork_rng(devices=[]):
        for name, seed, state in [("a", 0, 1), ("b", 0, 2), ("c", 1, 1)]:
            torch.manual_seed(state)
            before = torch.get_rng_state()
            run = create_run(tmp_path / name, configure(data, seed=seed))
            runs[name] = train_run(run, device="cpu"), losses(run.folder)
            assert torch.equal(torch.get_rng_state(), before)
    assert same(runs["a"][0], runs["b"][0])
    assert runs["a"][1] == runs["b"][1]
    assert not same(runs["a"][0], runs["c"][0])
    assert not set(runs["a"][1]) & set(runs["c"][1])


def test_initial_weights_depend_on_the_seed_alone(data):
    first, again, other = (build_estimator(configure(data, seed=s), 1, Identity()) for s in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def test_initial_weights_of_reconstructions_depend_on_the_seed_alone(masked_data):
    operator = open_measurements(masked.configure(masked_data))[1]
    configs = [masked.configure(masked_data, seed=s) for s in (0, 0, 1)]
    first, again, other = (build_estimator(config, 1, operator) for config in configs)
    assert same(first, again)
    assert not same(first, other)
    assert first.mean == 0.5
    fourier = masked.configure(masked_data, operator={"kind": "mri", "mask": "unread"})
    assert build_estimator(fourier, 1, operator).mean == 0.0, "the background of an image in k-space is 0"


def test_measurements_by_one_system_have_one_shape(masked_data, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    np.save(folder / "a.npy", np.zeros((2, 16, 16), np.float32))
    np.save(folder / "b.npy", np.zeros((1, 16, 17), np.float32))
    config = masked.configure(masked_data, data={"path": str(folder)})
    assert "one shape" in refused(create_run, tmp_path / "run", config)


def test_the_level_of_measurements_with_holes_is_not_estimated(masked_data, tmp_path):
    config = masked.configure(masked_data, noise={"sigma": "estimate"})
    message = refused(create_run, tmp_path / "run", config)
    assert message.startswith("noise.sigma: ")
    assert "inpainting" in message
    assert not (tmp_path / "run").exists()


def memory(count):
    return MemorySource({f"m{i}": torch.zeros(1, 8, 8) for i in range(count)})


@pytest.mark.parametrize(
    ("count", "share", "held"),
    [(20, 0.25, 5), (20, 0.01, 1), (2, 0.1, 1), (3, 0.99, 2), (2, 0.99, 1), (11, 0.5, 6)],
)
def test_split(count, share, held, data):
    config = configure(data, share)
    training, held_out = split(memory(count), config)
    kept, out = ([s.name(i) for i in range(len(s))] for s in (training, held_out))
    assert len(out) in ((held,) if count != 11 else (5, 6))
    assert not set(kept) & set(out)
    assert sorted([*kept, *out]) == sorted(f"m{i}" for i in range(count))
    again = split(memory(count), config)[1]
    assert [again.name(i) for i in range(len(again))] == out


def test_split_follows_the_seed(data):
    chosen = set()
    for seed in range(6):
        held_out = split(memory(20), configure(data, 0.25, seed=seed))[1]
        chosen.add(tuple(held_out.name(i) for i in range(5)))
    assert len(chosen) == 6


@pytest.mark.parametrize(("count", "share"), [(1, 0.1), (1, 0.0), (4, 0.0)])
def test_one_image_or_no_share_is_both_sides(count, share, data):
    source = memory(count)
    assert split(source, configure(data, share)) == (source, source)


WRONG_RECORDS = {
    "noise": [
        *({"kind": "gaussian", "sigma": s} for s in (0, -0.1, "0.1", None, [0.1], float("nan"), float("inf"), True)),
        *({"kind": "gaussian", **p} for p in ({}, {"gain": 0.1}, {"sigma": 0.1, "gain": 0.1})),
        *({"kind": k, "sigma": 0.1} for k in ("none", 3, None)),
        {"sigma": 0.1},
        0.1,
        None,
    ],
    "channels": [0, -1, 1.5, "1", 10**9, None],
    "scales": [[], [0], ["1"], 1, None, {"a": 1}, [1.5]],
    "config": [None, [], {}, {"version": 1, "data": {"path": 3}}],
    "data": [None, 3],
}


@pytest.mark.parametrize("key", WRONG_RECORDS)
def test_records_of_wrong_types_or_values_are_refused_by_their_key(key, data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    path = run.folder / "run.json"
    record = {k: v for k, v in json.loads(path.read_text()).items() if k != "sha256"}
    for value in WRONG_RECORDS[key]:
        path.write_text(json.dumps({**record, key: value}))
        assert "run.json" in refused(open_run, run.folder)
    path.write_text(json.dumps({**json.loads(json.dumps(sealed(record))), "channels": 1 + record["channels"]}))
    assert "changed since it was written" in refused(open_run, run.folder)


def test_a_run_that_has_lost_its_configuration_is_told(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    (run.folder / "config.yaml").unlink()
    with pytest.raises(UnveilError, match=r"config\.yaml is gone.*: restore it, or train again in a new folder"):
        open_run(run.folder)


@pytest.mark.parametrize("key", ["sampler.json", "config.yaml"])
def test_other_records_of_a_run_are_one_line(key, data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    for content in [b"", b"[]", b"{}", b'{"gain": "x"}', b'{"gain": -1}', b'{"gain": NaN}', b"\xff\xfe", b"[" * 10**5]:
        (run.folder / key).write_bytes(content)
        message = refused((lambda: run.inflation) if key == "sampler.json" else (lambda: open_run(run.folder)))
        assert key in message


def test_a_configuration_that_was_edited_after_the_start_is_refused_by_its_key(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    path = run.folder / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace("steps: 6", "steps: 7"))
    message = refused(open_run, run.folder)
    assert "training.steps is 7, and was 6 when the run began" in message
    assert f"unveil train {path} --out" in message
    path.write_text("# a remark\n" + text)
    assert alike(open_run(run.folder), run)


def test_damaged_weights_are_made_again_from_the_last_checkpoint(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    train_run(run, device="cpu")
    content = run.weights.read_bytes()
    assert run.trained()
    run.weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"unveil train {run.folder} makes it again" in refused(run.estimator, Identity())
    with pytest.warns(UnveilWarning, match=r"model\.safetensors: damaged"):
        assert not run.trained()
    train_run(run, device="cpu")
    assert run.weights.read_bytes() == content
    shutil.rmtree(run.folder / "checkpoints")
    run.weights.write_bytes(content[:-1])
    assert "restore it or train again" in refused(run.trained)


def test_two_that_begin_one_folder_at_once_agree_or_the_second_is_refused(data, tmp_path, monkeypatch):
    """The configuration is always that of the run: the second finds the first's once it has read its own data."""
    folder = tmp_path / "run"
    read = contents.read_contents

    def slow(*arguments):
        monkeypatch.setattr(create_module, "read_contents", read)
        create_run(folder, configure(data, seed=1))
        return read(*arguments)

    monkeypatch.setattr(create_module, "read_contents", slow)
    assert "seed is 1 there and 2 here" in refused(create_run, folder, configure(data, seed=2))
    assert open_run(folder).config.seed == 1


def test_what_a_kill_leaves_before_run_json_is_begun_again(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    (run.folder / "run.json").unlink()
    assert "would be written over" in refused(create_run, run.folder, configure(data, seed=1))
    assert alike(create_run(run.folder, configure(data)), run)


def test_parameters_may_be_negative_or_found_in_each_image():
    """An offset lies anywhere; what is not of the family is refused."""
    noise = RecordedNoise(kind="poisson-gaussian", gain=0.1, read=0.2, offset=-0.3).noise()
    assert float(noise.offset) == pytest.approx(-0.3)
    own = OwnNoise("poisson-gaussian", 0.7, 1.5)
    assert RecordedNoise(**recorded(own)).noise() == own
    for wrong in ({"kind": "gamma"}, {"electrons": -1.0}, {"sigma": 1.0}):
        with pytest.raises(ValueError, match=r"found image by image|of -1 photons|unknown"):
            RecordedNoise(**{**recorded(own), **wrong})
