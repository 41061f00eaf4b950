"""unveil init SYSTEM: an example that runs as it stands, and a configuration for the user's own measurements."""

import json
import sys

import h5py
import numpy as np
import pytest
import torch
import yaml

from unveil.cli import main
from unveil.config_file import load_config
from unveil.data import open_images
from unveil.identifiability import Verdict
from unveil.instruments.example import HELDOUT
from unveil.instruments.registry import INSTRUMENTS
from unveil.operators import tomography
from unveil.training.setup import open_operator, open_source

EXAMPLES = [kind for kind, instrument in INSTRUMENTS.items() if instrument.example is not None]

TINY = [
    "data.validation=0.02",
    "training.steps=2",
    "training.warmup=1",
    "training.batch=1",
    "estimator.widths=[4]",
    "estimator.iterations=1",
    "sampling.steps=4",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The spectrum is tested elsewhere."""
    monkeypatch.setattr("unveil.training.spectrum.ROUNDS", 2)
    monkeypatch.setattr("unveil.training.spectrum.MOST", 8)
    monkeypatch.setattr("unveil.identifiability.spectrum.STEPS", 4)
    monkeypatch.setattr("unveil.identifiability.average.BUDGET", 2**16)


def call(*words):
    """(exit code, what was printed to stdout and stderr) of `unveil *words`."""
    argv = sys.argv
    sys.argv = ["unveil", *map(str, words)]
    try:
        main()
    except SystemExit as stop:
        return stop.code or 0
    finally:
        sys.argv = argv


def sets(*settings):
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture
def refused(capsys):
    """refused(*words) -> the one line that `unveil *words` answers with."""

    def run(*words):
        capsys.readouterr()
        assert call(*words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("unveil: ")
        return line

    return run


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """examples(kind) -> the folder where `unveil init kind` wrote unveil.yaml and its example; made once."""
    made = {}

    def example(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            assert call("init", kind, "--out", folder / "unveil.yaml") == 0
            made[kind] = folder
        return made[kind]

    return example


def test_there_is_an_example_of_every_system():
    assert set(EXAMPLES) == set(INSTRUMENTS) - {"identity"}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_example_trains_and_is_evaluated(kind, examples, tmp_path, monkeypatch):
    if kind != "mri":  # drawing the figures would take most of the time
        monkeypatch.setattr("unveil.report.results.comparison", lambda *_: b"")
    folder = examples(kind)
    data, run, some = folder / f"example-{kind}", tmp_path / "run", 3
    for name in ("heldout", "heldout_reference"):
        np.save(tmp_path / f"{name}.npy", np.load(data / f"{name}.npy")[-some:])
    fitted = not INSTRUMENTS[kind].settings["loss"].get("camera")
    gain = ["sampling.inflation=0"] if fitted else []  # fitting it takes hundreds of passes
    assert call("train", folder / "unveil.yaml", "--out", run, "--device", "cpu", *sets(*TINY, *gain)) == 0
    assert (
        call(
            "evaluate",
            run,
            tmp_path / "heldout.npy",
            "--reference",
            tmp_path / "heldout_reference.npy",
            "--sampled",
            1,
            "--device",
            "cpu",
            *sets("sampling.samples=2", "sampling.steps=2"),
        )
        == 0
    )
    found = json.loads((run / "evaluation.json").read_text())
    images = found["images"]
    never_seen = json.loads((run / "run.json").read_text())["never_seen"]
    if kind in ("inpainting", "interferometry"):  # of others so few steps tell nothing
        assert (never_seen is None) == (kind == "inpainting")
    assert ("guessed" in found["evidence"]["figures"]) == (never_seen is not None)
    assert len(images) == some
    assert np.isfinite([image["psnr_mmse"] for image in images]).all()
    assert np.isfinite(images[0]["psnr_sample"])


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_configuration_describes_what_was_simulated(kind, examples):
    """The operator of the written file explains the written measurements, up to noise of the level it states."""
    folder = examples(kind)
    config = load_config(folder / "unveil.yaml")
    operator = open_operator(config, open_source(config))
    for part in ("", "heldout_"):
        name = "heldout.npy" if part else "measurements.npy"
        y, x = (open_images(folder / f"example-{kind}" / file) for file in (name, f"{part}reference.npy"))
        assert len(y) == len(x)
        y, x = (torch.stack([source.read(i) for i in range(HELDOUT)]) for source in (y, x))
        first = operator.select(torch.arange(HELDOUT))
        residual = first.project(y - first.A(x))
        count = float(first.project(torch.ones_like(y)).sum())
        assert float(residual.square().sum() / count) ** 0.5 == pytest.approx(
            config.noise.sigma, rel=4 / (2 * count) ** 0.5
        )
        assert bool((first.project(y) == y).all())
        assert float(x.min()) >= 0
        assert float(x.max()) <= 1


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_file_is_commented_and_says_that_it_is_simulated(kind, examples):
    text = (examples(kind) / "unveil.yaml").read_text()
    assert text.startswith("# SIMULATED DATA")
    assert f"init {kind} DATA" in text
    written = yaml.safe_load(text)
    assert written["operator"]["kind"] == kind
    for key in ("data.path", "noise.sigma"):
        assert key in text.partition("version:")[0]
    for section in ("operator", "noise", "loss", "training"):
        block = text.partition(f"\n{section}:")[2].partition("\n\n")[0].splitlines()
        assert len(block) == 1 + len(written[section])
        assert all("  # " in line for line in block)


def test_heldout_images_are_not_among_the_others(examples):
    folder = examples("mri") / "example-mri"
    seen, held_out = np.load(folder / "reference.npy"), np.load(folder / "heldout_reference.npy")
    assert min(abs(seen - x).max() for x in held_out) > 0.1


def test_overwriting_needs_force(refused, tmp_path):
    out, data = tmp_path / "unveil.yaml", tmp_path / "example-cryoem"
    assert call("init", "cryoem", "--out", out) == 0
    assert "unveil.yaml: exists; pass --force" in refused("init", "cryoem", "--out", out)
    out.unlink()
    (data / "heldout.npy").write_bytes(b"mine")
    assert "example-cryoem: exists; pass --force" in refused("init", "cryoem", "--out", out)
    assert (data / "heldout.npy").read_bytes() == b"mine"
    assert not out.exists()
    assert call("init", "cryoem", "--out", out, "--force") == 0
    assert len(np.load(data / "heldout.npy")) == HELDOUT


def test_settings_of_an_example(refused, tmp_path):
    out = tmp_path / "unveil.yaml"
    for setting in ("operator.defocus_u=1.0", "noise.sigma=0.5", "data.path=x.npy", "data.value_range=[0,2]"):
        assert "simulated" in refused("init", "cryoem", "--out", out, *sets(setting))
        assert not list(tmp_path.iterdir())
    assert (
        call("init", "cryoem", "--out", out, *sets("training.batch=3", "training.steps=80", "loss.symmetry=[flip]"))
        == 0
    )
    config = load_config(out)
    assert (config.training.batch, config.training.steps, config.loss.symmetry) == (3, 80, ("flip",))


def k_space(folder, side=64, scale=1.0):
    """A complex k-space file and its mask."""
    generator = np.random.default_rng(0)
    y = scale * (generator.normal(size=(3, side, side)) + 1j * generator.normal(size=(3, side, side)))
    mask = np.arange(side) % 2 == 0
    np.save(folder / "kspace.npy", (0.25 * mask * y).astype(np.complex64))
    np.save(folder / "mask.npy", mask)
    return folder / "kspace.npy", folder / "mask.npy"


def test_k_space_is_described_and_not_rescaled(tmp_path, capsys):
    data, mask = k_space(tmp_path)
    out = tmp_path / "c.yaml"
    assert call("init", "mri", data, "--out", out, *sets(f"operator.mask={mask}", "noise.sigma=0.02")) == 0
    config = load_config(out)
    assert config.data.value_range is None
    assert (config.data.path, config.operator.mask, config.noise.sigma) == (str(data), str(mask), 0.02)
    assert config.loss.symmetry == ("rotate", "flip")
    assert config.training.batch == 8
    assert "warning" not in capsys.readouterr().err
    assert "SIMULATED" not in out.read_text()
    assert call("train", out, "--out", tmp_path / "run", "--device", "cpu", *sets(*TINY)) == 0


def test_the_mask_beside_k_space_is_found(tmp_path, capsys, refused):
    data, mask = k_space(tmp_path)
    words = ("init", "mri", tmp_path / "x.h5", "--out", tmp_path / "c.yaml", *sets("noise.sigma=0.02"))
    with h5py.File(tmp_path / "x.h5", "w") as file:  # as fastMRI
        file["kspace"] = np.load(data)
    assert call(*words) == 0
    assert load_config(tmp_path / "c.yaml").operator.mask == "estimate"
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["mask"] = np.load(mask).astype(np.float32)
    assert call(*words, "--force") == 0
    assert f"operator.mask is {tmp_path / 'x.h5'}:mask" in " ".join(capsys.readouterr().out.split())
    config = load_config(tmp_path / "c.yaml")
    assert config.operator.mask == f"{tmp_path / 'x.h5'}:mask"
    assert call("check", tmp_path / "c.yaml") == 4  # every second column alone: turns do not show the others


def test_nor_where_the_system_is_set_by_its_key(tmp_path):
    data, mask = k_space(tmp_path, side=128)
    for first in (["mri", data], [data]):
        arguments = sets("operator.kind=mri", f"operator.mask={mask}", "noise.sigma=0.02", "training.steps=700")
        assert call("init", *first, "--out", tmp_path / "c.yaml", "--force", *arguments) == 0
        config = load_config(tmp_path / "c.yaml")
        assert config.data.value_range is None
        assert config.operator.kind == "mri"
        assert (config.training.batch, config.training.steps) == (2, 700)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_values_far_from_the_usual_are_warned_of(scale, tmp_path, capsys):
    data, mask = k_space(tmp_path, scale=scale)
    arguments = ("init", "mri", data, "--out", tmp_path / "c.yaml", "--force", *sets(f"operator.mask={mask}"))
    assert call(*arguments, *sets("noise.sigma=0.02")) == 0
    text = " ".join(capsys.readouterr().err.split())
    assert "warning: the images' values" in text
    advice = next(word for word in text.split() if word.startswith("data.value_range="))
    assert call(*arguments, *sets("noise.sigma=0.02", advice)) == 0
    config = load_config(tmp_path / "c.yaml")
    y = open_source(config).read(0)
    assert 0.05 < float(y[:, :, ::2].std()) < 1
    assert "warning" not in capsys.readouterr().err


def test_what_contradicts_the_description_is_said_and_no_advice_is_made_of_it(tmp_path, capsys):
    """An inverted mask leaves zeros alone, of which no range follows."""
    data, mask = k_space(tmp_path)
    np.save(mask, ~np.load(mask))
    out = tmp_path / "c.yaml"
    assert call("init", "mri", data, "--out", out, *sets(f"operator.mask={mask}", "noise.sigma=0.02")) == 0
    text = capsys.readouterr().err
    assert "warning: the data are zero at 100% of the entries that operator.mask calls measured" in text
    assert "is it inverted" in text
    assert "value_range" not in text
    sys.modules["unveil.cli.main"]._shown.clear()  # a process says a thing once
    short = sets(*TINY, "training.steps=1", "training.warmup=0")
    assert call("train", out, "--out", tmp_path / "run", "--device", "cpu", *short) == 0
    assert "is it inverted" in capsys.readouterr().err


def test_exchanged_axes_are_said_and_the_advice_mends_them(tmp_path, capsys):
    """Sinograms (angles, detectors), as most detectors store them."""
    x = torch.zeros(4, 1, 24, 24)
    x[:, :, 8:14, 7:20] = 1
    y = tomography(torch.arange(16) * 180 / 16, 24, 24).A(x)[:, 0]
    y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "y.npy", y.mT.numpy())
    words = (
        "init",
        "tomography",
        tmp_path / "y.npy",
        "--out",
        tmp_path / "c.yaml",
        "--force",
        "--set",
        "noise.sigma=0.01",
    )
    assert call(*words) == 0
    text = capsys.readouterr().err
    assert "axes seem to be exchanged" in text
    advice = next(word for word in text.replace(",", " ").split() if word.startswith("data.axes="))
    assert call(*words, "--set", advice) == 0
    assert "warning" not in capsys.readouterr().err
    source = open_source(load_config(tmp_path / "c.yaml"))
    torch.testing.assert_close(source.read(2)[0], y[2])


def test_the_brightness_of_sources_is_found_in_their_visibilities(examples, tmp_path, capsys):
    """Without operator.brightness it is set so that images are about in [0, 1]; a stated one far from it is warned
    of."""
    known = load_config(examples("interferometry") / "unveil.yaml")
    keys = [f"operator.{key}={json.dumps(v)}" for key, v in known.operator.model_dump().items() if v is not None]
    words = ("init", "interferometry", known.data.path, "--out", tmp_path / "c.yaml", "--force")
    assert call(*words, *sets(*(key for key in keys if "brightness" not in key))) == 0
    found = load_config(tmp_path / "c.yaml").operator.brightness
    assert known.operator.brightness / 2 < found < 2 * known.operator.brightness
    assert f"brightness: {found}  # the sources' peaks are at about {found}" in (tmp_path / "c.yaml").read_text()
    assert call(*words, *sets(*keys)) == 0
    assert load_config(tmp_path / "c.yaml").operator.brightness == known.operator.brightness
    assert "warning" not in capsys.readouterr().err
    assert call(*words, *sets(*keys, "operator.brightness=1.0")) == 0
    assert f"--set operator.brightness={found}" in capsys.readouterr().err


@pytest.mark.parametrize("kind", sorted(kind for kind in EXAMPLES if INSTRUMENTS[kind].level_shows))
def test_the_noise_is_estimated_where_it_can_be(kind, examples, tmp_path):
    data = examples(kind) / f"example-{kind}" / "measurements.npy"
    known = load_config(examples(kind) / "unveil.yaml")
    keys = [
        f"operator.{key}={json.dumps(v)}"
        for key, v in known.operator.model_dump(exclude={"kind"}).items()
        if v is not None
    ]
    assert call("init", kind, data, "--out", tmp_path / "c.yaml", *sets(*keys)) == 0
    config = load_config(tmp_path / "c.yaml")
    assert config.operator == known.operator
    assert config.noise.kind == "auto"
    assert "# found 0.0" in (tmp_path / "c.yaml").read_text()


def test_what_is_missing_is_said(refused, tmp_path):
    data, mask = k_space(tmp_path)
    out = ("--out", tmp_path / "c.yaml")
    assert "noise.sigma" in refused("init", "mri", data, *out)
    assert "noise.sigma" in refused("init", "mri", data, *out, *sets(f"operator.mask={mask}"))
    known = sets(f"operator.mask={mask}", "noise.sigma=0.1")
    assert "absent.npy" in refused("init", "mri", tmp_path / "absent.npy", *out, *known)
    assert "absent.npy" in refused("init", "mri", data, *out, *sets("operator.mask=absent.npy", "noise.sigma=0.1"))
    assert "operator.musk" in refused("init", "mri", data, *out, *known, *sets("operator.musk=1"))
    assert "leave one of the two out" in refused("init", "mri", data, *out, *known, *sets("operator.kind=inpainting"))
    assert "pixels is missing" in refused("init", "interferometry", data, *out, *sets("noise.sigma=0.1"))
    assert not (tmp_path / "c.yaml").exists()


def test_wrong_names(refused, tmp_path):
    data, _ = k_space(tmp_path)
    for words in (["xray", data], ["identity", data], ["xray"]):
        assert "super_resolution" in refused("init", *words, "--out", tmp_path / "c.yaml")


def test_a_system_wins_over_a_path_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cryoem").mkdir()
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None] + np.zeros((64, 1), np.float32)
    np.save("cryoem/y.npy", ramp + 0.1 * np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))
    assert call("init", "./cryoem") == 0
    assert load_config(tmp_path / "unveil.yaml").operator.kind == "identity"
    assert call("init", "cryoem", "--force") == 0
    assert load_config(tmp_path / "unveil.yaml").operator.kind == "cryoem"


def test_reconstruct_does_what_denoise_does(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("unveil.cli.denoise.run_denoise", lambda *arguments: seen.append(arguments))
    for command in ("denoise", "reconstruct"):
        assert call(command, tmp_path, "y.npy", "--sigma", "0.1", "--out", tmp_path / "out", "--dry-run") == 0
    assert seen[1] == seen[0]


def test_check_is_handed_its_words(tmp_path, monkeypatch):
    seen = []

    def run_check(*arguments):
        seen.append(arguments)
        return Verdict()

    monkeypatch.setattr("unveil.cli.check.run_check", run_check)
    assert call("check", tmp_path / "c.yaml", "--out", tmp_path / "out", "--set", "a=1") == 0
    assert seen == [(tmp_path / "c.yaml", ["a=1"], tmp_path / "out", False)]


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(Verdict(), 0), (Verdict(learnable=False), 4), (Verdict(contradictions=["the mask is inverted"]), 4)],
)
def test_check_ends_with_a_code_of_its_own(verdict, code, tmp_path, monkeypatch):
    monkeypatch.setattr("unveil.cli.check.run_check", lambda *arguments: verdict)
    assert call("check", tmp_path / "c.yaml") == code


def test_new_measurements_bring_their_own_masks(tmp_path):
    """A run with a mask for each measurement serves others, whose masks --set names; without them one line says so."""
    draws = np.random.default_rng(0)
    for name, count in (("train", 6), ("new", 2)):
        mask = draws.random((count, 16, 16)) < 0.7
        np.save(tmp_path / f"{name}_mask.npy", mask)
        np.save(tmp_path / f"{name}.npy", (mask * draws.random((count, 16, 16))).astype(np.float32))
    made = ("inpainting", tmp_path / "train.npy", "--out", tmp_path / "c.yaml", "--set", "noise.sigma=0.1")
    assert call("init", *made, "--set", f"operator.mask={tmp_path / 'train_mask.npy'}") == 0
    small = [
        word for key in ("training.steps=1", "training.warmup=0", "estimator.widths=[4]") for word in ("--set", key)
    ]
    assert call("train", tmp_path / "c.yaml", "--out", tmp_path / "run", *small) == 0
    use = ("reconstruct", tmp_path / "run", tmp_path / "new.npy", "--out", tmp_path / "out")
    assert call(*use) == 2
    assert call(*use, "--set", f"operator.mask={tmp_path / 'new_mask.npy'}") == 0
    assert np.load(tmp_path / "out" / "new.npy").shape == (2, 16, 16)
