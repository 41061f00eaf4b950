"""Noise learned in training: recorded, resumed to the bit, and told to the network where the measurements say so."""

import json
import math
import shutil
from types import SimpleNamespace

import pytest
import torch

import unveil
from noisy import measured
from small import configure, measure, refused, same
from unveil.checks import Fit
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.losses import Stein, Unsure
from unveil.noise import Correlated, Gaussian, Noise, OwnNoise, Poisson
from unveil.operators import Identity
from unveil.records import sealed
from unveil.runs import create_run, open_run, train_run
from unveil.runs.learned import check_learnable, choose_told, missing

UNSURE = {"loss": {"recipe": "unsure"}, "noise": {"sigma": 0.1}}


def record(run):
    return json.loads((run.folder / "run.json").read_text())


def test_a_run_records_what_it_learned_and_resumes_to_the_bit(tmp_path):
    config = configure(measure(tmp_path / "data"), **UNSURE)
    run = create_run(tmp_path / "run", config)
    f = train_run(run, device="cpu")
    whole = record(run)
    assert whole["noise"] == {"kind": "gaussian", "sigma": pytest.approx(0.1)}, "what the run began with stays"
    log = whole["learned"]["logs"]["sigma"]
    assert 1e-4 < abs(log) < 1
    assert whole["learned"]["noise"] == f"sigma {0.1 * math.exp(log):.4g}"
    assert "\n" not in whole["learned"]["why"]
    (run.folder / "model.safetensors").unlink()
    shutil.rmtree(run.folder / "checkpoints" / "step-00000006")
    again = train_run(open_run(run.folder), device="cpu")
    assert same(f, again)
    assert record(run) == whole


def test_what_is_not_saved_would_change_the_run(tmp_path):
    """The multiplier and its momentum, each: set to 0 in the checkpoint the run ends elsewhere."""
    from safetensors.torch import load_file

    from unveil.training.checkpoint import _hash, save_weights

    run = create_run(tmp_path / "run", configure(measure(tmp_path / "data"), **UNSURE))
    train_run(run, device="cpu")
    expected, checkpoint = record(run)["learned"]["logs"], run.folder / "checkpoints" / "step-00000004"
    for name in ("logs.sigma", "velocity_sigma"):
        copy = tmp_path / name
        shutil.copytree(run.folder, copy)
        (copy / "model.safetensors").unlink()
        shutil.rmtree(copy / "checkpoints" / "step-00000006")
        path = copy / "checkpoints" / checkpoint.name / "multipliers.safetensors"
        save_weights(path, load_file(path) | {name: torch.zeros(())})
        state = json.loads((path.parent / "state.json").read_text())
        del state["sha256"]
        state["files"][path.name] = _hash(path)
        (path.parent / "state.json").write_text(json.dumps(sealed(state)))
        train_run(open_run(copy), device="cpu")
        assert record(SimpleNamespace(folder=copy))["learned"]["logs"] != expected


# --- by evidence


def choose(true, first, **logs):
    """What is told a network that smooths, of photographs in `true` noise."""
    images = measured(true)
    data = Dataset(MemorySource({f"{i}": y for i, y in enumerate(images)}), Identity(), first)
    loss = Unsure(Stein())
    for name, value in logs.items():
        loss.multipliers.logs[name].data = torch.as_tensor(value)
    return choose_told(lambda m: torch.nn.functional.avg_pool2d(m.y, 5, 1, 2), data, loss), loss


def test_the_noise_that_measurements_contradict_is_not_told():
    found, loss = choose(Gaussian(0.1), Gaussian(0.05), sigma=math.log(2))
    assert found.told
    assert "network is told the learned one" in found.why
    assert float(found.of(Gaussian(0.05)).sigma) == pytest.approx(0.1)
    found, loss = choose(Gaussian(0.1), Gaussian(0.1), sigma=math.log(1.15))
    assert not found.told
    assert found.of(loss) is loss, "whatever it is, it stays"
    found, _ = choose(Gaussian(0.1), Gaussian(0.1), sigma=0.0)
    assert not found.told, "of two that are alike the first"


def test_of_two_that_do_not_fit_the_one_of_which_less_is_missing_is_told():
    assert choose(Gaussian(0.1), Gaussian(0.2), sigma=math.log(0.65))[0].told
    assert choose(Poisson(0.04), Poisson(0.1), gain=math.log(0.6))[0].told
    assert not choose(Poisson(0.04), Poisson(0.06), gain=math.log(1.5))[0].told


def test_stronger_noise_is_not_told_for_images_that_look_noisier():
    """Structure does too: of two that are too weak the first stays."""
    fits = {0.05: Fit("does not fit", "", {"level": [4.0, 0.1]}), 0.06: Fit("does not fit", "", {"level": [2.8, 0.1]})}
    assert [missing(fit) for fit in fits.values()] == [0.0, 0.0]
    assert missing(Fit("fits", "", {"level": [1.1, 0.1], "brightness": [[0.2, 0.5, 0.1]]})) == pytest.approx(
        math.log(2)
    )
    assert not choose(Gaussian(0.1), Gaussian(0.05), sigma=math.log(1.2))[0].told


def test_a_kernel_is_told_where_noise_is_correlated():
    g = torch.tensor([[0.1, 0.4, 0.1], [0.4, 1.0, 0.4], [0.1, 0.4, 0.1]])
    found, _ = choose(Correlated(0.1, g), Correlated(0.1), filter=g, sigma=-math.log(float(g.norm())))
    assert found.told
    noise = found.of(Correlated(0.1))
    torch.testing.assert_close(noise.kernel[0], g / g.norm())
    assert float(noise.sigma) == pytest.approx(0.1)


def test_noise_of_each_image_and_rounds_are_refused():
    config = configure("images", **UNSURE)
    assert "each image has its own" in refused(check_learnable, config, OwnNoise("poisson"))
    assert "em.rounds to 0" in refused(check_learnable, configure("i", **UNSURE, em={"rounds": 1}), Gaussian(0.1))
    check_learnable(config, Gaussian(0.1))


def test_what_is_told_is_what_was_learned_and_training_goes_on_from_the_first_and_another_noise_is_refused(tmp_path):
    run = create_run(tmp_path / "run", configure(measure(tmp_path / "data"), noise={"sigma": 0.1}))
    learned = {"logs": {"gain": 0.1}, "noise": "gain 2", "told": True, "why": "it fits"}
    values = {key: value for key, value in record(run).items() if key != "sha256"}
    (run.folder / "run.json").write_text(json.dumps(sealed({**values, "learned": learned})))
    assert "learned.logs are of ['gain'], and not of Gaussian noise" in refused(open_run, run.folder)
    learned["logs"] = {"sigma": math.log(2)}
    (run.folder / "run.json").write_text(json.dumps(sealed({**values, "learned": learned})))
    run = open_run(run.folder)
    assert float(run.noise.sigma) == pytest.approx(0.2)
    assert float(run.measurements()[0].noise.sigma) == pytest.approx(0.2)
    assert float(run.measurements(to_train=True)[0].noise.sigma) == pytest.approx(0.1)


def test_in_python_the_model_has_the_noise_that_it_is_told():
    y = torch.stack(measured(Gaussian(0.1)))
    settings = {"loss": {"recipe": "unsure"}, "estimator": {"widths": [8, 8]}, "sampling": {"inflation": 0.0}}
    model = unveil.learn(y, noise=Gaussian(0.1), steps=3, settings=settings, device="cpu", progress=False)
    assert isinstance(model.noise, Noise)
    assert float(model.noise.sigma) == pytest.approx(0.1), "it fits, and what is learned in three steps is no better"
