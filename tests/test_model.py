"""The front door: tensors, arrays or paths in, a model out."""

import subprocess
import sys
import warnings

import deepinv
import h5py
import numpy as np
import pytest
import torch
from torch import nn

import unveil
from unveil.errors import UnveilError, UnveilWarning
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Noise, Poisson
from unveil.operators import Identity, inpainting, mri
from unveil.operators.physics import Physics
from unveil.random import make_generator, normal
from unveil.runs import taught
from unveil.runs.noise import recorded
from unveil.training.setup import open_measurements

SMALL = {"estimator": {"widths": [8, 12]}, "training": {"batch": 4, "crop": 16}, "sampling": {"steps": 3}}
WHOLE = {**SMALL, "training": {"batch": 4}}
"""Of measurements that are learned from whole."""


def images(count=6, side=32, channels=1):
    """Smooth images in [0, 1]."""
    x = torch.rand(count, channels, 5, 5, generator=make_generator("cpu", 3))
    return torch.nn.functional.interpolate(x, size=(side, side), mode="bicubic", align_corners=True).clamp(0, 1)


@pytest.fixture(scope="module")
def noisy():
    x = images()
    return x + 0.1 * normal(x, make_generator("cpu", 4))


@pytest.fixture(scope="module")
def model(noisy):
    return unveil.learn(noisy, noise=Gaussian(0.1), steps=4, settings=SMALL, progress=False)


def test_a_model_estimates_and_samples(model, noisy):
    x_hat, samples = model(noisy[:2]), model.sample(noisy[:2], 3, steps=4)
    assert x_hat.shape == (2, 1, 32, 32)
    assert samples.shape == (3, 2, 1, 32, 32)
    assert torch.equal(samples, model.sample(noisy[:2], 3, steps=4))
    assert not torch.equal(samples, model.sample(noisy[:2], 3, steps=4, seed=1))


def test_a_stack_of_any_length_goes_through_in_parts(model):
    """All at once, 400 bytes a pixel, would end a notebook."""
    seen = []

    class Copy(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Conv2d(1, 1, 1)

        def forward(self, m):
            seen.append(m.y.numel())
            return m.y

    copy = unveil.Model(Copy(), Identity(), Gaussian(0.1), model.config)
    y = torch.rand(40, 1, 260, 300)
    assert torch.equal(copy(y), y)
    assert max(seen) < 2**21 < sum(seen) == y.numel()
    assert torch.equal(copy(y[:1].tile(1, 1, 3, 3)), y[:1].tile(1, 1, 3, 3))
    assert seen[-1] < 576**2 + 1, "in tiles"
    assert copy(y[:0]).shape == (0, 1, 260, 300)


def test_a_model_is_evaluated_without_a_reference_and_with_one(model, noisy):
    alone = model.evaluate(noisy[:2], sampled=1)
    assert [e.reference for e in alone] == [None, None]
    assert alone[0].metrics.spread_over_error is not None
    assert model.evaluate(noisy[:1], images()[:1])[0].metrics.psnr_mmse is not None
    (again,) = model.evaluate(noisy[:1], repeat=noisy[:1], sampled=0)
    assert "shares its noise" in again.figures["repeat"].wrong


def test_a_model_says_whether_its_noise_fits(model):
    y = images(8, 96) + 0.1 * normal(torch.empty(8, 1, 96, 96), make_generator("cpu", 6))
    assert model.noise_fits(y).verdict == "fits"
    wrong = unveil.Model(model.f, model.operator, Gaussian(0.13), model.config).noise_fits(y)
    assert wrong.verdict == "does not fit"
    assert "0.7" in wrong.reason  # of the deviation that is stated


def test_a_saved_model_is_the_same_model_and_a_run(model, noisy, tmp_path):
    folder = model.save(tmp_path / "mine")
    again = unveil.open_run(folder)
    assert torch.equal(again(noisy), model(noisy))
    assert str(again.noise) == "sigma 0.1"
    assert again.inflation == model.inflation
    from unveil.runs import open_run

    assert open_run(folder).channels == 1
    with pytest.raises(UnveilError, match="holds files already"):
        model.save(folder)


def test_the_level_of_noise_is_found_and_other_noise_can_be_given(noisy, model):
    found = unveil.learn(noisy, steps=1, settings=SMALL, progress=False)
    assert float(found.noise.sigma) == pytest.approx(0.1, rel=0.15)
    weaker = model(noisy, noise=Gaussian(0.02))
    assert (weaker - noisy).square().mean() < (model(noisy) - noisy).square().mean()


def test_counts_are_learned_from():
    gain = 0.05
    y = Poisson(gain).sample(images(), make_generator("cpu", 5))
    model = unveil.learn(y, noise=Poisson(gain), steps=2, settings=SMALL, progress=False)
    assert model(y).shape == y.shape
    assert model.sample(y[:1], 2).shape == (2, 1, 1, 32, 32)


def test_arrays_complex_ones_and_paths_are_measurements(noisy, tmp_path):
    array = noisy.numpy()
    np.save(tmp_path / "y.npy", array)
    by_path = unveil.learn(tmp_path / "y.npy", noise=Gaussian(0.1), steps=2, settings=SMALL, progress=False)
    by_array = unveil.learn(array, noise=Gaussian(0.1), steps=2, settings=SMALL, progress=False)
    assert torch.equal(by_path(noisy), by_array(noisy))
    complex_ = unveil.learn(array[:4] + 1j * array[2:], noise=Gaussian(0.1), steps=1, settings=SMALL, progress=False)
    assert complex_(array[:1] + 1j * array[:1]).shape == (1, 2, 32, 32)


def test_incomplete_measurements_keep_their_operator(noisy, tmp_path):
    mask = torch.rand(32, 32, generator=make_generator("cpu", 6)) < 0.7
    operator = inpainting(mask)
    settings = {**WHOLE, "estimator": {"widths": [8, 12], "prior": "white"}}
    model = unveil.learn(
        operator.project(noisy), operator=operator, noise=Gaussian(0.1), steps=2, settings=settings, progress=False
    )
    folder = model.save(tmp_path / "masked")
    with pytest.raises(UnveilError, match="given in Python"):
        unveil.open_run(folder)
    again = unveil.open_run(folder, operator)
    assert torch.equal(again(noisy), model(noisy))


def test_settings_that_do_nothing_for_the_operator_are_refused(noisy):
    operator = inpainting(torch.rand(32, 32, generator=make_generator("cpu", 6)) < 0.7)
    how = {"noise": Gaussian(0.1), "steps": 1, "progress": False}
    for section, key, value, why in (
        ("training", "crop", 16, "are learned from whole"),
        ("em", "rounds", 1, "rounds draw complete images"),
        ("loss", "camera", 1.0, "identity leaves nothing out"),
    ):
        A = Identity() if key == "camera" else operator
        with pytest.raises(UnveilError, match=rf"settings: {section}.{key} = .* does nothing: .*{why}"):
            unveil.learn(noisy, operator=A, settings={section: {key: value}}, **how)


def test_rounds_of_a_physics_that_leaves_something_out_are_refused(noisy):
    physics = deepinv.physics.Inpainting((1, 32, 32), mask=0.6, rng=torch.Generator().manual_seed(0))
    settings = {**WHOLE, "em": {"rounds": 1}}
    with pytest.raises(UnveilError, match="rounds draw complete images, and these are not"):
        unveil.learn(
            physics.A(noisy), operator=physics, image_shape=(1, 32, 32), noise=Gaussian(0.1), settings=settings,
            progress=False,
        )  # fmt: skip


def test_what_no_measurement_sees_is_said_kept_and_told_of_the_pictures(noisy, tmp_path):
    mask = torch.ones(32, 32)
    mask[:, 14:18] = 0  # a flip leaves it where it is
    operator = inpainting(mask)
    settings = {**WHOLE, "loss": {"symmetry": ["flip"]}, "estimator": {"widths": [8], "prior": "white"}}
    with pytest.warns(UnveilWarning, match="no measurement sees 128 of 1024 pixels"):
        model = unveil.learn(
            operator.project(noisy), operator=operator, noise=Gaussian(0.1), steps=2, settings=settings, progress=False
        )
    again = unveil.open_run(model.save(tmp_path / "masked"), operator)
    (found,) = again.evaluate(operator.project(noisy)[:1], sampled=1)
    assert model.never_seen == again.never_seen == "128 of 1024 pixels"
    share = found.figures["guessed"].share
    torch.testing.assert_close(share, (1 - mask), rtol=0, atol=1e-3)


def test_training_does_not_wait_an_hour_to_say_what_no_measurement_sees(noisy, monkeypatch):
    """As of large sinograms."""
    monkeypatch.setattr(taught, "seconds_needed", lambda *_: 3600.0)
    mask = torch.ones(32, 32)
    mask[:, 14:18] = 0
    operator = inpainting(mask)
    settings = {**WHOLE, "loss": {"symmetry": ["flip"]}, "estimator": {"widths": [8], "prior": "white"}}
    with pytest.warns(UnveilWarning, match="was not looked for, which takes 60 minutes or more: unveil check does"):
        model = unveil.learn(
            operator.project(noisy), operator=operator, noise=Gaussian(0.1), steps=1, settings=settings, progress=False
        )
    assert model.never_seen is None


def test_a_physics_of_deepinv_is_an_operator(noisy):
    physics = deepinv.physics.Inpainting((1, 32, 32), mask=0.6, rng=torch.Generator().manual_seed(0))
    operator = Physics(physics, (1, 32, 32))
    x = images(1)
    assert torch.equal(operator.A(x), physics.A(x))
    assert float(operator.mean(torch.ones_like(x))) == 1  # of the measured entries alone
    assert 0 < int(operator.measured.sum()) < x.numel()
    with pytest.raises(UnveilError, match="image_shape"):
        unveil.learn(noisy, operator=physics, noise=Gaussian(0.1))
    with pytest.raises(UnveilError, match="pass an unveil operator or a deepinv LinearPhysics"):
        unveil.learn(noisy, operator=3, noise=Gaussian(0.1), image_shape=(1, 32, 32))


def test_a_model_is_a_denoiser_of_deepinv(model, noisy):
    denoiser = unveil.as_deepinv(model)
    assert isinstance(denoiser, deepinv.models.Denoiser)
    with torch.no_grad():
        assert torch.equal(denoiser(noisy, 0.1), model(noisy))
        assert torch.equal(denoiser(noisy, torch.full((6,), 0.1)), model(noisy))


class Backbone(nn.Module):
    """g(u, c), one convolution."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, u, c):
        return self.conv(u) * c[:, None, None, None]


def test_a_network_of_ones_own_is_checked(noisy):
    own = Backbone(1, 1)
    model = unveil.learn(noisy, noise=Gaussian(0.1), backbone=own, steps=1, settings=SMALL, progress=False)
    assert isinstance(model.f.backbone, Backbone)
    with pytest.raises(UnveilError, match=r"cannot be called as g\(u, c\), u of 1 channels"):
        unveil.learn(noisy, noise=Gaussian(0.1), backbone=Backbone(2, 1), steps=1, settings=SMALL, progress=False)
    with pytest.raises(UnveilError, match=r"it must be \(2, 1, 64, 64\)"):
        unveil.learn(noisy, noise=Gaussian(0.1), backbone=Backbone(1, 3), steps=1, settings=SMALL, progress=False)


def test_noise_of_ones_own_is_learned_from_and_kept_in_memory(noisy, tmp_path):
    class Other(Noise):
        """Deviation .1, of no family here."""

        def sample(self, u, generator):
            return u + 0.1 * normal(u, generator)

        def exposed(self, t):
            return self

        def noisier(self, y, t, generator):
            return self.sample(y, generator)

        def scaled(self, a):
            return self

        def variance(self, u):
            return torch.full_like(u, 0.01)

    with pytest.raises(UnveilError, match="Other is no family that a run folder knows"):
        recorded(Other())
    model = unveil.learn(noisy, noise=Other(), steps=1, settings=SMALL, progress=False)
    assert model(noisy).shape == noisy.shape
    with pytest.raises(UnveilError, match="keep the model in memory"):
        model.save(tmp_path / "own")


def test_wrong_measurements_are_refused_in_one_line(noisy):
    for y, line in ((noisy[:, 0], r"pass \(N, C, H, W\)"), ((255 * noisy).byte(), "pass floating point")):
        with pytest.raises(UnveilError, match=line):
            unveil.learn(y, noise=Gaussian(0.1))


@pytest.mark.parametrize(
    ("y", "how", "line"),
    [
        ([np.zeros((8, 8)), np.zeros((8, 9))], {}, "y is a list that is no array: pass a tensor"),
        (Measurement(torch.zeros(1, 1, 8, 8), Identity(), Gaussian(0.1)), {}, "y is a Measurement: pass its y, oper"),
        (torch.zeros(2, 1, 32, 32), {"noise": 0.1}, r"noise is '0.1': pass a family with its parameters, as unveil"),
        (torch.zeros(2, 1, 32, 32), {"noise": "gauss"}, r"noise is 'gauss': pass a family"),
        (torch.rand(2, 32, 32, 3), {"noise": Gaussian(0.1)}, r"are channels where \(C, H, W\) = \(32, 32, 3\) has"),
        (torch.rand(2, 1, 32, 32), {"device": "gpu", "noise": Gaussian(0.3)}, "gpu: not on this machine; use cpu or"),
    ],
)
def test_what_learn_cannot_take_is_refused_in_one_line(y, how, line):
    with pytest.raises(UnveilError, match=line):
        unveil.learn(y, steps=1, settings=SMALL, progress=False, **how)


class Backwards(nn.Module):
    """Its last layer comes first."""

    def __init__(self):
        super().__init__()
        self.last, self.first = nn.Conv2d(5, 1, 1), nn.Conv2d(1, 5, 1)

    def forward(self, u, c):
        return self.last(self.first(u) + c[:, None, None, None])


def test_a_model_is_given_what_it_was_trained_on(model, noisy, tmp_path):
    with pytest.raises(UnveilError, match=r"y has shape \(2, 3, 32, 32\), and the model was trained on \(N, 1, H, W\)"):
        model(noisy[:2].expand(-1, 3, -1, -1))
    own = unveil.learn(noisy, noise=Gaussian(0.1), backbone=Backwards(), steps=1, settings=SMALL, progress=False)
    assert own(noisy).shape == noisy.shape, "the order of a network's layers tells nothing"
    gap = noisy[:1].clone()
    gap[0, 0, 3, 3] = float("nan")
    for use in (model, model.sample):
        with pytest.raises(UnveilError, match="y contains NaN or infinite values"):
            use(gap)
    model.save(tmp_path / "run")
    for one in (model, unveil.open_run(tmp_path / "run")):
        with pytest.warns(UnveilWarning, match="those of its training between .*: results will be wrong"):
            one(255 * noisy)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            one(noisy[:1])


def test_what_the_data_contradict_is_said(noisy):
    with pytest.warns(UnveilWarning, match="noise level found in the images"):
        unveil.learn(noisy, noise=Gaussian(0.9), steps=1, settings=SMALL, progress=False)


def test_a_training_that_is_kept_goes_on(noisy, tmp_path):
    how = {"noise": Gaussian(0.1), "settings": SMALL, "progress": False, "out": tmp_path / "run"}
    once = unveil.learn(noisy, steps=2, **how)
    again = unveil.learn(noisy, steps=2, **how)  # nothing is left to do
    assert torch.equal(once(noisy), again(noisy))


def test_progress_is_written_to_a_log(noisy, capsys):
    unveil.learn(noisy, noise=Gaussian(0.1), steps=2, settings=SMALL)
    assert "training 2/2" in capsys.readouterr().out


def test_a_measurement_travels_with_its_own_operator_and_noise(model, noisy):
    m = Measurement(noisy, Identity(), Gaussian(0.1))
    assert torch.equal(model(m), model(noisy))


def test_importing_unveil_loads_no_torch():
    code = "import sys, unveil; assert 'torch' not in sys.modules; assert 'learn' in dir(unveil)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_operator_brings_the_settings_of_its_instrument():
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[:, 8:24] = True
    operator = mri(mask)
    x = torch.cat([images(4), torch.zeros(4, 1, 32, 32)], 1)
    settings = {"estimator": {"widths": [4]}, "loss": {"equivariance": 1.0}, "sampling": {"steps": 2, "inflation": 0.0}}
    model = unveil.learn(
        operator.A(x), operator=operator, noise=Gaussian(0.1), steps=1, settings=settings, progress=False
    )
    loss, estimator = model.config.loss, model.config.estimator
    assert (loss.symmetry, loss.camera, loss.scales, loss.seen) == (("rotate", "flip"), 1.0, (1,), True)
    assert loss.equivariance == 1  # what is stated goes before
    assert (estimator.iterations, estimator.mean, estimator.prior) == (3, 0.0, "white")
    assert model.config.training.batch == 32
    assert float(model.f.mean) == 0


def test_a_path_is_read_as_the_settings_say(noisy, model, tmp_path):
    np.save(tmp_path / "y.npy", 100 * noisy[:, 0].numpy() + 20)
    settings = {**SMALL, "data": {"value_range": [20, 120], "axes": "NHW"}}
    same = unveil.learn(tmp_path / "y.npy", noise=Gaussian(0.1), steps=4, settings=settings, progress=False)
    torch.testing.assert_close(same(noisy), model(noisy), atol=1e-4, rtol=1e-4)
    alone, there = same.evaluate(tmp_path / "y.npy", sampled=0), same.evaluate(noisy, sampled=0)
    assert alone[0].metrics.psnr_estimate == pytest.approx(there[0].metrics.psnr_estimate, abs=1e-2)
    with pytest.raises(UnveilError, match=r"data\.axes says how files are read"):
        unveil.learn(noisy, noise=Gaussian(0.1), settings=settings)


def test_paths_are_read_as_those_of_the_training(noisy, tmp_path):
    """From the dataset of the same name, by the same axes; where there are no datasets, from what there is."""
    stacked = noisy[:, 0].numpy().transpose(1, 2, 0)
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["raw"], file["other"], file["clean"] = stacked, np.zeros_like(stacked), stacked
    settings = {**SMALL, "data": {"dataset": "raw", "axes": "HWN"}}
    learned = unveil.learn(tmp_path / "y.h5", noise=Gaussian(0.1), steps=2, settings=settings, progress=False)
    model = unveil.open_run(learned.save(tmp_path / "run"))
    expected = [e.metrics.psnr_estimate for e in model.evaluate(noisy, sampled=0)]
    np.save(tmp_path / "y.npy", stacked)
    for name in ("y.h5", "y.npy"):
        found = model.evaluate(tmp_path / name, reference=tmp_path / "y.npy", sampled=0)
        assert [e.metrics.psnr_estimate for e in found] == pytest.approx(expected, abs=1e-4)
        assert len(found) == len(noisy), "the axes of the reference too"
    assert model.noise_fits(tmp_path / "y.h5").verdict == model.noise_fits(noisy).verdict
    source, _ = open_measurements(model.config, str(tmp_path / "y.npy"))
    assert torch.equal(source.read(5), noisy[5])
    with h5py.File(tmp_path / "clean.h5", "w") as file:
        file["clean"] = stacked
    assert len(model.evaluate(noisy, reference=tmp_path / "clean.h5", sampled=0)) == 6, "has a name of its own"
    with pytest.raises(UnveilError, match="raw"):
        model.evaluate(tmp_path / "clean.h5")


def test_saturated_pixels_are_gaps(noisy):
    seen = noisy.clamp(max=0.8)
    settings = {**SMALL, "data": {"saturated": 0.8}}
    models = [unveil.learn(seen, noise=Gaussian(0.1), steps=2, settings=s, progress=False) for s in (SMALL, settings)]
    assert not torch.equal(models[0](noisy), models[1](noisy))
