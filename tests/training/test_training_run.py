"""The run folder: made once, opened again, refused when it is another's; and every recipe goes through it."""

import json
import math
import shutil
import signal

import pytest
import torch
import yaml
from safetensors.torch import load_file
from test_training_loop import losses

import unveil
from unveil.config import parse_config
from unveil.data import MemorySource, save_image
from unveil.diffusion import prior_samples
from unveil.errors import UnveilError, UnveilWarning
from unveil.estimators import AffineUNet, NormalizationEquivariant, PreconditionedDenoiser, UNet, preconditioned
from unveil.random import make_generator
from unveil.records import sealed
from unveil.training import RECIPES, Interrupted, build_estimator, contents, create_run, make_risk, open_run, train_run
from unveil.training import create as create_module
from unveil.training.contents import open_contents
from unveil.training.setup import open_source, split
from unveil.training.validation import reference_free_validation

SIGMA = 0.1


def clean(side, channels=1, phase=0.0):
    """Smooth images in [0, 1]."""
    t = torch.linspace(0, 6, side)
    return (0.5 + 0.2 * torch.sin(t + phase)[:, None] + 0.2 * torch.cos(1.3 * t - phase)).repeat(channels, 1, 1)


def measure(folder, count=5, side=32, channels=1, sigma=SIGMA, suffix=".tif"):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        x = clean(side, channels, i)
        save_image(folder / f"m{i}{suffix}", x + sigma * torch.randn(x.shape, generator=make_generator("cpu", i)))
    return folder


@pytest.fixture
def data(tmp_path):
    return measure(tmp_path / "data")


def configure(path, share=0.1, **sections):
    training = {"steps": 6, "batch": 4, "crop": 8, "warmup": 2, "validate_every": 3, "checkpoint_every": 2}
    values = {"estimator": {"widths": [8, 8]}, "data": {"path": str(path), "validation": share}, **sections}
    values["training"] = {**training, **sections.get("training", {})}
    return parse_config(values, "test")


def refused(call, *arguments):
    with pytest.raises(UnveilError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(f, g):
    return all(torch.equal(a, b) for a, b in zip(f.state_dict().values(), g.state_dict().values(), strict=True))


def test_create_run_estimates_sigma_and_records_what_it_was_made_of(tmp_path):
    data = measure(tmp_path / "data", side=96)
    run = create_run(tmp_path / "a" / "run", configure(data, seed=4))
    assert run.sigma_n == pytest.approx(SIGMA, rel=0.05)
    assert run.trained_max == pytest.approx(3 * run.sigma_n)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["sigma_n"] == run.sigma_n
    expected = {
        "format": 2,
        "unveil": unveil.__version__,
        "seed": 4,
        "channels": 1,
        "dilation": [1, 2, 4],
        "images": 5,
    }
    assert {key: record[key] for key in expected} == expected
    assert record["data"] == open_contents(run.folder).fingerprint
    assert record["seen"]["types"] == ["float32"]
    assert torch.__version__.startswith(record["versions"]["torch"])
    assert set(record) == {*expected, "sigma_n", "data", "seen", "config", "versions", "created", "command", "sha256"}
    assert yaml.safe_load((run.folder / "config.yaml").read_text())["seed"] == 4
    assert sorted(p.name for p in run.folder.iterdir()) == [".lock", "config.yaml", "data.json", "run.json"]


def test_stated_sigma_is_kept(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data, noise={"sigma": 0.2}))
    assert run.sigma_n == 0.2
    assert open_run(run.folder) == run


def test_images_without_noise_need_a_stated_level(tmp_path):
    (tmp_path / "data").mkdir()
    save_image(tmp_path / "data" / "flat.tif", torch.full((1, 32, 32), 0.5))
    assert "state noise.sigma" in refused(create_run, tmp_path / "run", configure(tmp_path / "data"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("side", "crop", "dilation"), [(32, 8, (1, 2, 4)), (31, 8, (1, 2)), (15, 8, (1,)), (32, 32, (1,))]
)
def test_dilation_is_limited_by_the_image_size(side, crop, dilation, tmp_path):
    data = measure(tmp_path / "data", side=side, count=2)
    config = configure(data, training={"crop": crop, "steps": 2}, noise={"sigma": SIGMA})
    run = create_run(tmp_path / "run", config)
    assert run.dilation == dilation
    train_run(run, device="cpu")


def test_crop_larger_than_an_image_is_refused(data, tmp_path):
    message = refused(create_run, tmp_path / "run", configure(data, training={"crop": 33}))
    assert "32 pixels" in message
    assert "lower training.crop" in message


def test_same_configuration_opens_and_another_is_refused_by_its_key(data, tmp_path):
    folder = tmp_path / "run"
    run = create_run(folder, configure(data))
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert create_run(folder, configure(data)) == run
    for other, key in [
        ({"training": {"steps": 7}}, "training.steps is 6 there and 7 here"),
        ({"seed": 1}, "(seed is 0 there and 1 here)"),
        ({"noise": {"sigma": 0.3}}, "noise.sigma is estimate there and 0.3 here"),
        ({"risk": {"dilation": [1]}}, "risk.dilation is (1, 2, 4) there and (1,) here"),
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
    path.write_text(json.dumps({**record, "format": 3, "unveil": "9.9"}))
    assert "written by unveil 9.9 (run format 3)" in refused(open_run, run.folder)
    for text in ["{", "[]", "{}", json.dumps({**record, "sigma_n": "x"}), json.dumps({"format": 2})]:
        path.write_text(text)
        assert "run.json: damaged" in refused(open_run, run.folder)
    path.write_bytes(b"\xff\xfe\xff")
    assert "run.json: damaged" in refused(open_run, run.folder)


def test_unfinished_run_has_no_estimator(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    assert "not trained to the end" in refused(run.estimator)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs(recipe, data, tmp_path):
    config = configure(data, risk={"recipe": recipe}, training={"steps": 2})
    run = create_run(tmp_path / "run", config)
    before = build_estimator(config, 1)
    after = train_run(run, device="cpu")
    assert all(math.isfinite(loss) for loss in losses(run.folder))
    assert len(losses(run.folder)) == 2
    assert not same(before, after)
    assert make_risk(config.risk).passes in (1, 1.2, 2)


@pytest.mark.parametrize(("form", "channels"), [("equivariant", 3), ("preconditioned", 2), ("affine", 1)])
def test_estimator_of_a_run_is_what_training_returned(form, channels, tmp_path):
    data = measure(tmp_path / "data", channels=channels)
    run = create_run(tmp_path / "run", configure(data, estimator={"form": form, "widths": [8]}))
    trained = train_run(run, device="cpu")
    classes = {"equivariant": NormalizationEquivariant, "preconditioned": PreconditionedDenoiser, "affine": AffineUNet}
    assert isinstance(trained, classes[form])
    loaded = open_run(run.folder).estimator()
    assert same(loaded, trained)
    assert not loaded.training
    assert {p.device.type for p in trained.parameters()} == {"cpu"}
    y = torch.rand(2, channels, 9, 9, generator=make_generator("cpu", 0))
    assert torch.equal(loaded(y, run.sigma_n), trained(y, run.sigma_n))
    averaged = load_file(run.folder / "checkpoints" / "step-00000006" / "ema.safetensors")
    assert all(torch.equal(averaged[f"module.{k}"], v) for k, v in loaded.state_dict().items())


def test_interrupted_run_resumes_exactly(data, tmp_path):
    def interrupt(done, total, metrics):
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    config = configure(data)
    whole, parts = create_run(tmp_path / "whole", config), create_run(tmp_path / "parts", config)
    expected = train_run(whole, device="cpu")
    with pytest.raises(Interrupted):
        train_run(parts, device="cpu", stages=lambda name: interrupt)
    refused(parts.estimator)
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
    first, again, other = (build_estimator(configure(data, seed=s), 1) for s in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


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


def test_validation_is_logged_and_is_reproducible(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    seen = []

    def stages(name):
        return lambda done, total, metrics: seen.append((done, metrics)) if name == "training" else None

    f = train_run(run, device="cpu", stages=stages)
    assert [done for done, _ in seen] == list(range(1, 7))
    assert [done for done, metrics in seen if "risk" in metrics] == [3, 6]
    held_out = split(open_source(run.config), run.config)[1]
    validate = reference_free_validation(held_out, run.sigma_n, run.config.seed)
    with torch.no_grad():
        first, second = validate(f), validate(f)
    assert first == second
    assert first["risk"] == pytest.approx(seen[-1][1]["risk"], rel=1e-5)
    assert first["psnr_estimate"] == pytest.approx(-10 * math.log10(first["risk"]))


def test_validation_risk_is_unbiased_for_the_true_error():
    """Over 60 draws of the noise, for a nonlinear f, at both levels; block means of y against those of x."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = preconditioned(UNet(1, (8,)))
    with torch.no_grad():
        for weight in f.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=make_generator("cpu", 9))
    x = [clean(s, 1, s) for s in (20, 23)]
    differences, sizes = [], []
    for draw in range(60):
        y = [a + SIGMA * torch.randn(a.shape, generator=make_generator("cpu", draw, i)) for i, a in enumerate(x)]
        images = MemorySource({str(i): b for i, b in enumerate(y)})
        with torch.no_grad():
            metrics = reference_free_validation(images, SIGMA, draw)(f)
            true = []
            for k in (1, 2):
                pool = torch.nn.AvgPool2d(k)
                errors = [(f(pool(b[None]), SIGMA / k) - pool(a[None])).square().mean() for a, b in zip(x, y)]
                true.append(sum(errors).item() / 2)
        differences.append([metrics["risk"] - true[0], metrics["risk_half"] - true[1]])
        sizes.append(true)
    d = torch.tensor(differences, dtype=torch.float64)
    error = d.std(0) / 60**0.5
    assert (d.mean(0).abs() < 4 * error).all()
    assert (error < 0.1 * torch.tensor(sizes).mean(0)).all(), "sharp enough to see a bias"


def test_validation_without_a_gain_has_no_psnr():
    class Identity(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, y, sigma):
            return torch.zeros_like(y)

    metrics = reference_free_validation(MemorySource({"a": torch.zeros(1, 8, 8)}), 0.5, 0)(Identity())
    assert set(metrics) == {"risk", "risk_half"}
    assert metrics["risk"] == pytest.approx(-0.25)


def test_validation_reads_centres_of_large_images_and_few_of_many():
    read = []

    class Spy(MemorySource):
        def _read(self, i, window):
            read.append((i, window))
            return super()._read(i, window)

    source = Spy({str(i): torch.rand(1, 400, 20, generator=make_generator("cpu", i)) for i in range(12)})
    reference_free_validation(source, 0.1, 0)(preconditioned(UNet(1, (2,))))
    assert read == [(i, (104, 0, 192, 20)) for i in range(8)]


def test_prior_samples_are_refused_above_the_trained_levels(tmp_path):
    save_image(tmp_path / "y.tif", torch.rand(1, 32, 32))
    sections = {"noise": {"sigma": 0.2}, "risk": {"levels": [1.2, 4.0]}, "training": {"crop": 16}}
    run = create_run(tmp_path / "run", parse_config({"data": {"path": str(tmp_path / "y.tif")}, **sections}, "test"))
    assert run.trained_max == pytest.approx(0.8)
    f, generator = build_estimator(run.config, run.channels), make_generator("cpu", 0)
    shape = (2, 1, 16, 16)
    assert prior_samples(f, shape, 0.8, trained_max=run.trained_max, steps=3, generator=generator).shape == shape
    with pytest.raises(UnveilError, match=r"trained up to 0\.8"):
        prior_samples(f, shape, 0.81, trained_max=run.trained_max, generator=generator)


WRONG_RECORDS = {
    "sigma_n": [0, -0.1, "0.1", None, [0.1], float("nan"), float("inf"), True],
    "channels": [0, -1, 1.5, "1", 10**9, None],
    "dilation": [[], [0], ["1"], 1, None, {"a": 1}, [1.5]],
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
    path.write_text(json.dumps({**json.loads(json.dumps(sealed(record))), "sigma_n": 2 * record["sigma_n"]}))
    assert "changed since it was written" in refused(open_run, run.folder)


@pytest.mark.parametrize("key", ["sampler.json", "config.yaml"])
def test_other_records_of_a_run_are_one_line(key, data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    for content in [b"", b"[]", b"{}", b'{"gain": "x"}', b'{"gain": -1}', b'{"gain": NaN}', b"\xff\xfe", b"[" * 10**5]:
        (run.folder / key).write_bytes(content)
        message = refused((lambda: run.gain) if key == "sampler.json" else (lambda: open_run(run.folder)))
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
    assert open_run(run.folder) == run


def test_damaged_weights_are_made_again_from_the_last_checkpoint(data, tmp_path):
    run = create_run(tmp_path / "run", configure(data))
    train_run(run, device="cpu")
    content = run.weights.read_bytes()
    assert run.trained()
    run.weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"unveil train {run.folder} makes it again" in refused(run.estimator)
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
    assert create_run(run.folder, configure(data)) == run
