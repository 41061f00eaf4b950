"""The command line as a user types it: each command on a tiny run, and one clear line for each wrong input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from unveil.cli import main
from unveil.data import open_images, save_image
from unveil.random import make_generator, normal
from unveil.training import loop

TINY = ["training.steps=6", "training.warmup=2", "training.batch=4", "training.crop=16", "estimator.widths=[8,8]",
        "training.validate_every=3", "training.checkpoint_every=3"]  # fmt: skip
SETS = [word for setting in TINY for word in ("--set", setting)]


def write_images(folder: Path, count: int = 3, channels: int = 1, side: int = 64) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    ramp = torch.linspace(0, 1, side).expand(channels, side, side)
    for i in range(count):
        save_image(folder / f"y{i}.tif", ramp + 0.1 * normal(ramp, make_generator("cpu", i)))
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with data/, unveil.yaml and a tiny trained run/."""
    folder = tmp_path_factory.mktemp("cli")
    write_images(folder / "data")
    assert call("init", folder / "data", "--out", folder / "unveil.yaml", *SETS)[0] == 0
    assert call("train", folder / "unveil.yaml", "--out", folder / "run")[0] == 0
    return folder


class Captured:
    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def call(*words):
    """(exit code, what was printed to stderr) of `unveil *words`, in this process."""
    argv, stderr, captured = sys.argv, sys.stderr, Captured()
    sys.argv, sys.stderr = ["unveil", *map(str, words)], captured
    try:
        main()
    except SystemExit as stop:
        return stop.code, captured.text
    finally:
        sys.argv, sys.stderr = argv, stderr
    raise AssertionError("main returned without an exit code")


def refused(*words, code=2):
    """The one line that `unveil *words` answers with; checks the exit code, and that there is no traceback."""
    answer, text = call(*words)
    lines = [line for line in text.splitlines() if line.strip()]
    assert answer == code, text
    assert len(lines) == 1, text
    assert lines[0].startswith("unveil: ")
    assert "Traceback" not in text
    return lines[0]


def told(capsys, *words, code=0):
    """What `unveil *words --json` prints to stdout, and to stderr."""
    capsys.readouterr()
    answer, text = call(*words, "--json")
    assert answer == code, text
    return json.loads(capsys.readouterr().out), text


def test_help_imports_neither_torch_nor_deepinv():
    """Timing belongs to no test; what would cost the time is what must not be imported."""
    script = (
        "import sys; sys.argv = ['unveil', '--help']\nfrom unveil.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'deepinv', 'numpy', 'pydantic', 'accelerate', 'matplotlib', 'skimage', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    for command in ("demo", "init", "train", "denoise", "sample", "evaluate", "report"):
        assert command in done.stdout
    assert done.stderr.strip() == "[]"


def test_importing_unveil_imports_nothing_heavy():
    script = "import unveil, sys; print([m for m in ('torch', 'deepinv', 'skimage') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_library_but_for_operators_and_as_deepinv_does_not_import_deepinv():
    script = (
        "import unveil, sys\nfor name in set(unveil.__all__) - {'operators', 'as_deepinv'}: getattr(unveil, name)\n"
        "print([m for m in ('deepinv', 'skimage', 'matplotlib', 'h5py', 'zarr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_init_writes_a_commented_configuration_that_runs(workspace):
    text = (workspace / "unveil.yaml").read_text()
    assert "kind: auto  # found in the data: gaussian, level 0.1" in text or "level 0.09" in text
    assert yaml.safe_load(text)["training"]["steps"] == 6
    assert "exists" in refused("init", workspace / "data", "--out", workspace / "unveil.yaml")


def test_values_of_an_instrument_are_mapped_and_mapped_back(workspace, tmp_path):
    """Counts around 1000 with 16 bits of room: init states their range, and estimates come back as counts."""
    y = torch.stack([open_images(workspace / "data" / f"y{i}.tif").read(0)[0] for i in range(3)])
    np.save(tmp_path / "counts.npy", (1000 + 400 * y).round().numpy().astype(np.uint16))
    assert call("init", tmp_path / "counts.npy", "--out", tmp_path / "c.yaml", *SETS)[0] == 0
    low, high = yaml.safe_load((tmp_path / "c.yaml").read_text())["data"]["value_range"]
    assert 850 < low < 1000
    assert 1400 < high < 1550
    assert call("train", tmp_path / "c.yaml", "--out", tmp_path / "run")[0] == 0
    assert call("denoise", tmp_path / "run", tmp_path / "counts.npy", "--out", tmp_path / "out")[0] == 0
    estimates = np.load(tmp_path / "out" / "counts.npy")
    assert (estimates.shape, estimates.dtype) == ((3, 64, 64), np.float32)
    assert abs(float(estimates[0].mean()) - float(1000 + 400 * y[0].mean())) < 10


def test_the_run_folder_holds_what_repeats_it(workspace):
    run = workspace / "run"
    record = json.loads((run / "run.json").read_text())
    assert {"format", "unveil", "command", "seed", "noise", "data", "versions"} <= set(record)
    assert record["noise"] == {"kind": "gaussian", "sigma": pytest.approx(0.1, rel=0.1)}
    assert call("train", run / "config.yaml", "--out", workspace / "again")[0] == 0
    first, again = ((folder / "metrics.jsonl").read_text() for folder in (run, workspace / "again"))
    assert first == again
    assert (run / "model.safetensors").read_bytes() == (workspace / "again" / "model.safetensors").read_bytes()


def test_training_again_does_not_train_again(workspace):
    before = (workspace / "run" / "model.safetensors").stat().st_mtime_ns
    assert call("train", workspace / "run")[0] == 0
    assert (workspace / "run" / "model.safetensors").stat().st_mtime_ns == before


def test_denoise_writes_an_estimate_of_each_image(workspace):
    out = workspace / "denoised"
    assert call("denoise", workspace / "run", workspace / "data", "--out", out)[0] == 0
    y, x_hat = open_images(workspace / "data"), open_images(out / "y1.tif")
    assert sorted(p.name for p in out.iterdir()) == ["unveil-output.json"] + [
        f"y{i}.{e}" for i in range(3) for e in ("png", "tif")
    ]
    assert x_hat.shape(0) == y.shape(1)
    assert (x_hat.read(0) - y.read(1)).abs().max() > 0.05  # it did something


def test_sample_writes_samples_mean_and_deviation(workspace):
    out = workspace / "samples"
    sets = ["--set", "sampling.samples=3", "--set", "sampling.steps=4"]
    assert call("sample", workspace / "run", workspace / "data" / "y0.tif", "--out", out, *sets)[0] == 0
    folder = out / "y0"
    samples = torch.stack([open_images(folder / f"sample_{k:03d}.tif").read(0) for k in range(3)])
    torch.testing.assert_close(open_images(folder / "mean.tif").read(0), samples.mean(0))
    torch.testing.assert_close(open_images(folder / "deviation.tif").read(0), samples.std(0))
    assert samples.std(0).min() > 0


def test_seed_changes_samples_and_nothing_else_does(workspace):
    def drawn(seed, out):
        call("sample", workspace / "run", workspace / "data" / "y0.tif", "--out", out, "--seed", seed,
             "--set", "sampling.samples=1", "--set", "sampling.steps=3")  # fmt: skip
        return open_images(out / "y0" / "sample_000.tif").read(0)

    a, b, c = drawn(1, workspace / "s1"), drawn(1, workspace / "s2"), drawn(2, workspace / "s3")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_evaluate_and_report(workspace):
    sets = ["--set", "sampling.samples=2", "--set", "sampling.steps=3"]
    assert call("evaluate", workspace / "run", workspace / "data", "--reference", workspace / "data",
                "--sampled", 1, *sets)[0] == 0  # fmt: skip
    record = json.loads((workspace / "run" / "evaluation.json").read_text())
    assert [row["name"] for row in record["images"]] == ["y0", "y1", "y2"]
    assert record["images"][0]["psnr_noisy"] is None  # infinite: the measurements are given as their own reference
    page = (workspace / "run" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 4
    assert not re.search(r"(src|href)=.?(http|/)", page)  # self-contained
    (workspace / "run" / "report.html").unlink()
    assert call("report", workspace / "run")[0] == 0
    assert (workspace / "run" / "report.html").is_file()


def test_evaluate_with_a_second_exposure(workspace, tmp_path, capsys):
    ramp = torch.linspace(0, 1, 64).expand(1, 64, 64)
    (tmp_path / "again").mkdir()
    for i in (2, 0, 1):
        save_image(tmp_path / "again" / f"y{i}.tif", ramp + 0.1 * normal(ramp, make_generator("cpu", 9, i)))
    run, data = workspace / "run", workspace / "data"
    call("evaluate", run, data, "--repeat", tmp_path / "again", "--sampled", 0)
    found = json.loads((run / "evaluation.json").read_text())["evidence"]["figures"]["repeat"]
    assert [*found["values"]["images"]] == ["y0", "y1", "y2"]
    assert found["values"]["noise"] == pytest.approx(1, abs=0.1), "by their names, or they would differ by more"
    assert "".join(found["said"].split()) in "".join(capsys.readouterr().out.split())
    assert "Fourier ring correlation of two exposures" in (run / "report.html").read_text()
    (tmp_path / "again" / "y1.tif").rename(tmp_path / "again" / "z.tif")
    assert "none of them is called y1" in refused("evaluate", run, data, "--repeat", tmp_path / "again")
    write_images(tmp_path / "small", side=32)
    assert "give repeats of the same shape" in refused("evaluate", run, data, "--repeat", tmp_path / "small")


def test_dry_runs_write_nothing(workspace, tmp_path):
    before = sorted(workspace.rglob("*"))
    assert call("train", workspace / "unveil.yaml", "--out", tmp_path / "no", "--dry-run")[0] == 0
    assert call("denoise", workspace / "run", workspace / "data", "--out", tmp_path / "no", "--dry-run")[0] == 0
    assert call("sample", workspace / "run", workspace / "data", "--out", tmp_path / "no", "--dry-run")[0] == 0
    assert call("demo", "--out", tmp_path / "no", "--dry-run")[0] == 0
    assert sorted(workspace.rglob("*")) == before
    assert not (tmp_path / "no").exists()


def test_no_words_is_a_question_for_help(capsys):
    assert call()[0] == 0
    assert "unveil demo" in capsys.readouterr().out


def test_wrong_words(workspace):
    assert "frobnicate" in refused("frobnicate")
    assert "--frob" in refused("train", "x.yaml", "--frob")
    assert "RUN" in refused("report")


def test_missing_things(workspace, tmp_path):
    assert "absent" in refused("train", tmp_path / "absent.yaml")
    assert "absent" in refused("denoise", workspace / "run", tmp_path / "absent")
    assert "run.json" in refused("denoise", tmp_path, workspace / "data")
    assert "no" in refused("init", tmp_path / "absent", "--out", tmp_path / "c.yaml").lower()
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("init", empty, "--out", tmp_path / "c.yaml")
    assert "evaluate" in refused("report", _copy_run(workspace, tmp_path / "unevaluated"))


def _copy_run(workspace, target):
    target.mkdir()
    for name in ("config.yaml", "run.json", "model.safetensors"):
        (target / name).write_bytes((workspace / "run" / name).read_bytes())
    return target


def test_nan_in_the_data(workspace, tmp_path):
    np.save(tmp_path / "nan.npy", np.full((2, 64, 64), np.nan, np.float32))
    line = refused("denoise", workspace / "run", tmp_path / "nan.npy", "--out", tmp_path / "out")
    assert "nan.npy" in line or "nan_0000" in line
    assert "NaN" in line
    assert "NaN" in refused("train", workspace / "unveil.yaml", "--set", f"data.path={tmp_path / 'nan.npy'}",
                            "--out", tmp_path / "run")  # fmt: skip


def test_wrong_channels(workspace, tmp_path):
    write_images(tmp_path / "colour", channels=3)
    line = refused("denoise", workspace / "run", tmp_path / "colour")
    assert "3 channel" in line
    assert "trained on 1" in line


def test_wrong_shape(workspace, tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros(7, np.float32))
    refused("denoise", workspace / "run", tmp_path / "flat.npy")
    write_images(tmp_path / "small", side=12)
    assert "crop" in refused("train", workspace / "unveil.yaml", "--set", f"data.path={tmp_path / 'small'}",
                             "--out", tmp_path / "run")  # fmt: skip


@pytest.mark.parametrize("sigma", ["0", "-0.1", ".nan", "1e-300", "1e300"])
def test_sigma_that_is_no_level(workspace, tmp_path, sigma):
    line = refused("train", workspace / "unveil.yaml", "--set", f"noise.sigma={sigma}", "--out", tmp_path / "run")
    assert "noise.sigma" in line
    assert "sigma" in refused("denoise", workspace / "run", workspace / "data", "--sigma", sigma.replace(".nan", "nan"))


def test_unknown_keys(workspace, tmp_path):
    line = refused("train", workspace / "unveil.yaml", "--set", "training.stesp=5", "--out", tmp_path / "run")
    assert "training.stesp" in line
    assert "steps" in line
    assert "key=value" in refused("train", workspace / "unveil.yaml", "--set", "training.steps")
    assert "sampling" in refused("sample", workspace / "run", workspace / "data", "--set", "training.steps=5")


def test_a_run_of_another_version(workspace, tmp_path):
    run = _copy_run(workspace, tmp_path / "old")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"format": 99, "unveil": "9.9.9"}))
    line = refused("denoise", run, workspace / "data")
    assert "9.9.9" in line


def test_damaged_runs(workspace, tmp_path):
    run = _copy_run(workspace, tmp_path / "damaged")
    (run / "model.safetensors").write_bytes(b"not weights")
    assert "damaged" in refused("denoise", run, workspace / "data")
    (run / "run.json").write_text("{")
    assert "damaged" in refused("denoise", run, workspace / "data")
    unfinished = _copy_run(workspace, tmp_path / "unfinished")
    (unfinished / "model.safetensors").unlink()
    assert "unveil train" in refused("denoise", unfinished, workspace / "data")


def test_hdf5_with_several_datasets_lists_them(workspace, tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = np.zeros((2, 32, 32), np.float32), np.zeros((2, 32, 32), np.float32)
    line = refused("init", tmp_path / "two.h5", "--out", tmp_path / "c.yaml")
    assert "a" in line
    assert "b" in line


def test_unknown_device(workspace):
    assert "--device" in refused("denoise", workspace / "run", workspace / "data", "--device", "abacus")


def test_a_full_disk_is_one_line_and_loses_nothing(workspace, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    arguments = ("train", workspace / "unveil.yaml", "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("unveil.training.checkpoint.save", full)
        assert "No space left" in refused(*arguments)
    assert call(*arguments)[0] == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (
        workspace / "run" / "model.safetensors"
    ).read_bytes()


def test_ctrl_c_elsewhere_is_one_line(workspace, tmp_path, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("unveil.cli.batch.write_like", interrupt)
    words = ("denoise", workspace / "run", workspace / "data", "--out", tmp_path / "out")
    assert "interrupted" in refused(*words, code=130)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_elsewhere_are_one_line_and_their_own_exit_code(number, workspace, tmp_path, monkeypatch):
    monkeypatch.setattr("unveil.cli.batch.write_like", lambda *words: signal.raise_signal(number))
    words = ("denoise", workspace / "run", workspace / "data", "--out", tmp_path / "out")
    assert f"stopped by {number.name}" in refused(*words, code=128 + number)
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_training_saves_resumes_and_has_its_own_exit_code(number, workspace, tmp_path, monkeypatch):
    def in_the_second(step, config, rate=loop.learning_rate):
        if step == 1 and "asked" not in patched:
            patched.append("asked")
            signal.raise_signal(number)
        return rate(step, config)

    patched: list[str] = []
    words = ("train", workspace / "unveil.yaml", "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "learning_rate", in_the_second)
        assert "stopped at step 2 of 6, saved" in refused(*words, code=128 + number)
    assert call("train", tmp_path / "run")[0] == 0
    ours, theirs = ((folder / "model.safetensors").read_bytes() for folder in (tmp_path / "run", workspace / "run"))
    assert ours == theirs


def test_debug_shows_the_traceback(workspace, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from unveil.cli import main; main()",
            "train",
            str(tmp_path / "absent.yaml"),
            "--debug",
        ],
        capture_output=True,
        text=True,
    )
    assert "Traceback" in done.stderr
    assert done.returncode != 0


def test_interrupted_training_resumes_to_the_same_bits(workspace, tmp_path):
    """A real process, a real Ctrl-C."""
    told = ("training.steps=40", "training.checkpoint_every=1000", "training.validate_every=20", "sampling.inflation=0")
    sets = [word for setting in told for word in ("--set", setting)]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert call("train", workspace / "unveil.yaml", "--out", whole, *sets)[0] == 0
    process = subprocess.Popen(
        [sys.executable, "-c", "from unveil.cli import main; main()", "train", str(workspace / "unveil.yaml"), "--out",
         str(broken), *sets],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    metrics = broken / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and metrics.read_text().count("\n") >= 3):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "resume" in stderr
    assert "Traceback" not in stderr
    assert call("train", broken)[0] == 0
    assert metrics.read_text() == (whole / "metrics.jsonl").read_text()
    assert (broken / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


# --- figures for scripts (more in test_front.py)


def test_init_estimate_and_train_tell_json(workspace, tmp_path, capsys):
    found, said = told(capsys, "init", workspace / "data", "--out", tmp_path / "c.yaml")
    assert found["noise"]["sigma"] == pytest.approx(0.1, rel=0.1)
    assert (found["measurements"], found["system"]) == (3, "identity")
    assert "next: unveil train" in said
    found, said = told(capsys, "estimate", workspace / "data")
    assert found["parameters"]["sigma"] == pytest.approx(0.1, rel=0.1)
    assert found["verdict"] == "fits"
    assert "--set noise.kind=gaussian" in said
    found, said = told(capsys, "train", workspace / "unveil.yaml", "--out", workspace / "run")
    assert found["validation"]["step"] == 6
    assert "is trained already" in said


def test_evaluate_tells_json_with_its_exit_code(workspace, capsys):
    sets = ["--sampled", 1, "--set", "sampling.steps=3", "--set", "sampling.samples=2"]
    found, said = told(capsys, "evaluate", workspace / "run", *sets)
    assert found == json.loads((workspace / "run" / "evaluation.json").read_text())
    assert found["fit"]["verdict"] == "fits"
    assert "mean of 1" in said
    found, said = told(capsys, "evaluate", workspace / "run", "--sigma", 0.3, "--sampled", 0, code=5)
    assert found["fit"]["verdict"] == "does not fit"
    assert "psnr_estimate" in found["not_valid"]
