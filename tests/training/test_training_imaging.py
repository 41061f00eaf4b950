"""Training from incomplete measurements, from the file to the weights: each measurement through its own mask, held out or not."""

import json
import math
import signal

import numpy as np
import pytest
import torch
from test_training_loop import losses

from unveil.config import parse_config
from unveil.data import MemorySource
from unveil.errors import UnveilError
from unveil.estimators import Reconstruction, UNet
from unveil.evaluation import mean_square_error, psnr
from unveil.operators import inpainting
from unveil.problem import Problem
from unveil.random import make_generator
from unveil.risks import told
from unveil.training import RECIPES, Interrupted, build_estimator, create_run, open_run, read_metrics, train_run
from unveil.training.imaging import measurement_batches
from unveil.training.imaging_recipes import IMAGING_RECIPES, hidden_axes
from unveil.training.setup import indices, open_problem, open_source, split
from unveil.training.validation import measurement_validation

SIDE, SIGMA = 16, 0.05


def smooth(count, key):
    """Images (count, 1, SIDE, SIDE): two periodic waves of random phase, as likely when shifted."""
    phases = 2 * math.pi * torch.rand(count, 4, 1, 1, generator=make_generator("cpu", key))
    t = 2 * math.pi * torch.arange(SIDE) / SIDE
    down, across = t[:, None], t[None]
    a, b, c, d = phases.unbind(1)
    return (0.5 + 0.2 * torch.sin(down + a) * torch.sin(across + b) + 0.2 * torch.sin(2 * down - across + c + 0 * d))[
        :, None
    ]


def measure(x, masks, key, sigma=SIGMA):
    """Zero where nothing is measured; no other entry is."""
    noise = torch.randn(x.shape, generator=make_generator("cpu", key))
    return torch.where(masks, x + sigma * noise, 0.0)


def write(folder, count=12, several=True, share=0.6, key=1):
    """y.npy and mask.npy in `folder`; the images and masks (N, 1, H, W) behind them."""
    folder.mkdir(exist_ok=True)
    x = smooth(count, key)
    keep = torch.rand(count if several else 1, SIDE, SIDE, generator=make_generator("cpu", key, 1)) < share
    np.save(folder / "y.npy", measure(x, keep[:, None], key + 100)[:, 0].numpy())
    np.save(folder / "mask.npy", (keep if several else keep[0]).numpy())
    return x, keep[:, None].expand(count, -1, -1, -1)


@pytest.fixture
def data(tmp_path):
    write(tmp_path / "data")
    return tmp_path / "data"


def configure(folder, **sections):
    training = {"steps": 4, "batch": 4, "warmup": 1, "validate_every": 2, "checkpoint_every": 2, "learning_rate": 5e-3}
    values = {
        "data": {"path": str(folder / "y.npy"), "validation": 0.25},
        "system": {"kind": "inpainting", "mask": str(folder / "mask.npy")},
        "noise": {"sigma": SIGMA},
        "estimator": {"widths": [4]},
        **sections,
        "training": {**training, **sections.get("training", {})},
    }
    return parse_config(values, "test")


def refused(call, *arguments):
    with pytest.raises(UnveilError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(f, g):
    return all(torch.equal(a, b) for a, b in zip(f.state_dict().values(), g.state_dict().values(), strict=True))


def mean_psnr(estimates, x):
    return psnr(float(mean_square_error(estimates, x).mean()))


def test_a_few_steps_learn_what_one_mask_never_sees(tmp_path):
    """One mask for all: only what shifts of the images have in common tells what lies behind it."""
    _, keep = write(tmp_path / "data", count=24, several=False)
    config = configure(
        tmp_path / "data",
        estimator={"widths": [4], "prior": "white"},
        training={"steps": 60, "batch": 8, "warmup": 5, "ema": 0.9, "validate_every": 30},
    )
    run = create_run(tmp_path / "run", config)
    f = train_run(run, device="cpu")
    x, problem = smooth(30, key=7), open_problem(config, open_source(config))
    y = measure(x, keep[:1], key=8)
    with torch.no_grad():
        trained, untrained = f(y, SIGMA), build_estimator(config, 1, problem)(y, SIGMA)
    assert mean_psnr(untrained, x) > mean_psnr(problem.pseudo_inverse(y), x) + 6, "a grey level beats black holes"
    assert mean_psnr(trained, x) > mean_psnr(untrained, x) + 4
    hidden = ~keep[:1].expand_as(x)
    before, after = (psnr(float((z - x)[hidden].square().mean())) for z in (untrained, trained))
    assert after > before + 5, "behind the mask, too"
    loss = losses(run.folder)
    assert np.mean(loss[-10:]) < 0.65 * np.mean(loss[:10])
    validated = [line for line in read_metrics(run.folder) if "risk" in line]
    assert [line["step"] for line in validated] == [30, 60]
    assert validated[-1]["psnr_hidden"] == pytest.approx(after, abs=2.5)


# --- each measurement and its own mask


def of(problem, i):
    return problem.at(torch.tensor([i]))


def test_masks_and_measurements_keep_together_after_the_split(data, tmp_path, monkeypatch):
    """What training is given: batches whose masks fit the measurements, entry by entry, and validation likewise."""
    seen, given = [], {}

    class Stop(Exception):
        pass

    class Spy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.ones(()))

        def forward(self, y, sigma, problem):
            seen.append((y, problem.measured))
            return self.gain * y

    def capture(estimator, risk, batches, config, folder, **options):
        given.update(risk=risk, batches=batches, validation=options["validation"])
        raise Stop

    monkeypatch.setattr("unveil.training.imaging.train", capture)
    config = configure(data, risk={"recipe": "measured"})
    with pytest.raises(Stop):
        train_run(create_run(tmp_path / "run", config), device="cpu")
    source = open_source(config)
    training, held_out = split(source, config)
    assert len(held_out) == 3
    assert indices(training) != list(range(9)), "the split leaves gaps, or numbers could go wrong unseen"
    for i in range(200 // 4):
        y, sigma, which = given["batches"](make_generator("cpu", i))
        given["risk"](Spy(), y, sigma, which, make_generator("cpu", i))
        assert torch.equal(y, torch.stack([training.read(i) for i in which.tolist()]))
        _, measured = seen[-1]  # its input has more noise, on measured entries alone
        assert torch.equal(measured, y != 0)
        assert torch.equal(seen[-1][0] != 0, measured)
    assert {tuple(m.flatten().tolist()) for _, batch in seen for m in batch} == {
        tuple((training.read(i) != 0).flatten().tolist()) for i in range(9)
    }, "every training mask came up, and no other"
    seen.clear()
    given["validation"](Spy())
    patterns = [measured for _, measured in seen]
    assert len(patterns) == 3 * 3, "y, the probe, and hidden entries of each of three"
    for i in range(3):
        whole = held_out.read(i)[None] != 0
        assert torch.equal(patterns[3 * i], whole)
        assert torch.equal(patterns[3 * i + 1], whole)
        assert not (patterns[3 * i + 2] & ~whole).any()
        assert not torch.equal(patterns[3 * i + 2], whole)


def test_subset_keeps_the_rows_and_their_order(data):
    config = configure(data)
    source = open_source(config)
    problem = open_problem(config, source)
    assert len(problem) == 12
    part = problem.subset([7, 2, 11])
    assert len(part) == 3
    for k, i in enumerate([7, 2, 11]):
        assert torch.equal(of(part, k).measured, source.read(i)[None] != 0)
    assert torch.equal(part.at(torch.tensor([2, 0])).measured, torch.stack([source.read(i) != 0 for i in (11, 7)]))
    assert problem.image_shape == problem.measurement_shape == (1, SIDE, SIDE)


def test_the_masks_matter_to_training(data, tmp_path):
    """The same measurements with the masks in another order give other weights."""
    run = create_run(tmp_path / "a", configure(data))
    first = train_run(run, device="cpu")
    np.save(data / "mask.npy", np.roll(np.load(data / "mask.npy"), 1, 0))
    assert not same(first, train_run(create_run(tmp_path / "b", configure(data)), device="cpu"))


@pytest.mark.parametrize(
    ("images", "drawn"), [(1, [0]), (5, [0, 1, 3, 5, 7]), (9, list(range(9))), (50, list(range(9)))]
)
def test_rounds_draw_at_most_as_many_images_as_they_should_with_their_masks(images, drawn, data, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    given = []

    def capture(f, prior, measurements, problem, *arguments, **options):
        given.extend([measurements, problem])
        raise Stop

    monkeypatch.setattr("unveil.training.imaging.train", lambda estimator, *arguments, **options: estimator)
    monkeypatch.setattr("unveil.training.imaging.draw_images", capture)
    config = configure(data, refine={"rounds": 1, "images": images})
    with pytest.raises(Stop):
        train_run(create_run(tmp_path / "run", config), device="cpu")
    measurements, problem = given
    training = split(open_source(config), config)[0]
    assert [measurements.name(k) for k in range(len(measurements))] == [training.name(i) for i in drawn]
    for k in range(len(drawn)):
        assert torch.equal(of(problem, k).measured, measurements.read(k)[None] != 0)


def test_hidden_places_are_like_those_that_the_system_misses():
    columns, pixels = torch.ones(1, 1, 4, 6, dtype=torch.bool), torch.ones(2, 1, 4, 6, dtype=torch.bool)
    columns[..., 2], pixels[1, 0, 2, 3] = False, False
    for mask, axes in [
        (columns, (-1,)),
        (columns.expand(3, 1, 4, 6), (-1,)),
        (pixels, (-2, -1)),
        (columns & pixels, (-2, -1)),
        (torch.ones_like(pixels), (-2, -1)),
        (columns.mT, (-2, -1)),
        (columns[..., :1], (-2, -1)),
        (None, (-2, -1)),
    ]:
        assert hidden_axes(Problem(None, mask)) == axes


def test_batches_are_whole_measurements_with_equal_odds():
    source = MemorySource({f"m{i}": torch.full((1, 4, 4), float(i)) for i in range(5)})
    counts = torch.zeros(5)
    draw = measurement_batches(source, 0.2, 6)
    for t in range(200):
        y, sigma, which = draw(make_generator("cpu", t))
        assert y.shape == (6, 1, 4, 4)
        assert torch.equal(y[:, 0, 0, 0].long(), which)
        assert torch.equal(sigma, torch.full((6,), 0.2))
        counts += torch.bincount(which, minlength=5)
    n = 1200
    assert ((counts - n / 5).abs() < 4 * (n * 0.2 * 0.8) ** 0.5).all()
    assert torch.equal(draw(make_generator("cpu", 3))[0], draw(make_generator("cpu", 3))[0])


# --- validation


def test_validation_is_unbiased_for_the_true_errors():
    """Over draws of the noise, for a network with random weights: on the measured entries, and on those hidden from it."""
    count = 10
    x, keep = smooth(count, 3), torch.rand(count, SIDE, SIDE, generator=make_generator("cpu", 4)) < 0.6
    problem = inpainting(keep)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = Reconstruction(UNet(2, (4,), out_channels=1), problem)
    for i, weight in enumerate(f.parameters()):
        weight.data += 0.2 * torch.randn(weight.shape, generator=make_generator("cpu", 5, i))
    calls = []
    f.register_forward_hook(lambda module, given, x_hat: calls.append((given[2], x_hat)))
    differences, sizes = [], []
    with torch.no_grad():
        for draw in range(24):
            y = measure(x, keep[:, None], 100 + draw)
            calls.clear()
            metrics = measurement_validation(
                MemorySource({str(i): image for i, image in enumerate(y)}), problem, SIGMA, draw
            )(f)
            assert len(calls) == 3 * 8, "at most eight images"
            true = [0.0, 0.0]
            for i in range(8):
                for j, (call, judged) in enumerate([(3 * i, keep[i]), (3 * i + 2, None)]):
                    part, x_hat = calls[call]
                    judged = keep[i] & ~part.measured[0, 0] if judged is None else judged
                    true[j] += float((x_hat - x[i])[0, 0][judged].square().mean()) / 8
            differences.append([metrics["risk"] - true[0], metrics["risk_hidden"] - true[1]])
            sizes.append(true)
            assert metrics["psnr_estimate"] == pytest.approx(-10 * math.log10(metrics["risk"]))
            assert metrics["psnr_hidden"] == pytest.approx(-10 * math.log10(metrics["risk_hidden"]))
    d = torch.tensor(differences, dtype=torch.float64)
    error = d.std(0) / len(d) ** 0.5
    assert (d.mean(0).abs() < 4 * error).all()
    assert (error < SIGMA**2 / 6).all(), "sharp enough to see a sigma^2 that is forgotten"


def test_validation_is_reproducible_and_says_nothing_it_does_not_know():
    problem = inpainting(torch.rand(SIDE, SIDE, generator=make_generator("cpu", 1)) < 0.6)
    source = MemorySource({"a": torch.zeros(1, SIDE, SIDE)})

    class Nothing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, y, sigma, problem):
            return torch.zeros_like(y)

    validate = measurement_validation(source, problem, 0.5, 0)
    assert validate(Nothing()) == {"risk": pytest.approx(-0.25), "risk_hidden": pytest.approx(-0.25)}
    f = Reconstruction(UNet(2, (4,), out_channels=1), problem)
    with torch.no_grad():
        assert validate(f) == validate(f)


# --- the run


@pytest.mark.parametrize("recipe", IMAGING_RECIPES)
def test_every_recipe_runs(recipe, data, tmp_path):
    training = {"steps": 1, "warmup": 0, "checkpoint_every": 5}
    config = configure(data, risk={"recipe": recipe}, training=training, estimator={"widths": [4], "iterations": 2})
    run = create_run(tmp_path / "run", config)
    before = build_estimator(config, 1, open_problem(config, open_source(config)))
    after = train_run(run, device="cpu")
    (loss,) = losses(run.folder)
    assert math.isfinite(loss)
    assert not same(before, after)


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - set(IMAGING_RECIPES)))
def test_recipes_for_denoising_are_refused_before_there_is_a_folder(recipe, data, tmp_path):
    message = refused(create_run, tmp_path / "run", configure(data, risk={"recipe": recipe}))
    assert f"risk.recipe = {recipe} is for complete measurements" in message
    assert "equivariant" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", sorted(set(IMAGING_RECIPES) - set(RECIPES)))
def test_recipes_for_incomplete_measurements_are_refused_without_a_system(recipe, data, tmp_path):
    config = configure(data, risk={"recipe": recipe}, system={"kind": "identity"}, training={"crop": 8})
    assert f"risk.recipe = {recipe} is for incomplete" in refused(create_run, tmp_path / "run", config)


def test_an_unknown_symmetry_is_refused(data):
    assert "'turn'" in refused(lambda: configure(data, risk={"symmetry": ["turn"]}))


def test_the_level_of_measurements_with_holes_is_not_estimated(data, tmp_path):
    message = refused(create_run, tmp_path / "run", configure(data, noise={"sigma": "estimate"}))
    assert message.startswith("noise.sigma: ")
    assert "inpainting" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", ["spectrum", "training"])
def test_interrupted_run_resumes_exactly(stage, data, tmp_path):
    def interrupt(done, total, metrics):
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    config = configure(data, training={"steps": 6}, estimator={"widths": [4], "iterations": 2})
    whole, parts = create_run(tmp_path / "whole", config), create_run(tmp_path / "parts", config)
    expected = train_run(whole, device="cpu")
    with pytest.raises(Interrupted):
        train_run(parts, device="cpu", stages=lambda name: interrupt if name == stage else lambda *_: None)
    refused(parts.estimator)
    assert same(train_run(create_run(parts.folder, config), device="cpu"), expected)
    assert (whole.folder / "metrics.jsonl").read_text() == (parts.folder / "metrics.jsonl").read_text()
    assert same(train_run(parts, device="cpu"), expected), "a finished run returns its estimator again"


def test_estimator_of_a_run_is_what_training_returned(data, tmp_path):
    config = configure(data, estimator={"widths": [4], "mean": 0.4, "deviation": 0.2, "iterations": 3})
    run = create_run(tmp_path / "run", config)
    trained = train_run(run, device="cpu")
    assert isinstance(trained, Reconstruction)
    assert (trained.mean, trained.deviation, len(trained.log_weights)) == (0.4, 0.2, 2)
    source = open_source(config)
    problem = open_problem(config, source)
    loaded = open_run(run.folder).estimator(problem)
    assert same(loaded, trained)
    assert not loaded.training
    y = source.read(5)[None]
    with torch.no_grad():
        assert torch.equal(told(loaded, of(problem, 5))(y, SIGMA), told(trained, of(problem, 5))(y, SIGMA))
    record = json.loads((run.folder / "run.json").read_text())
    assert (record["sigma_n"], record["channels"], record["images"]) == (SIGMA, 1, 12)


def test_initial_weights_depend_on_the_seed_alone(data):
    problem = open_problem(configure(data), open_source(configure(data)))
    first, again, other = (build_estimator(configure(data, seed=s), 1, problem) for s in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)
    assert first.mean == 0.5
    fourier = configure(data, system={"kind": "mri", "mask": "unread"})
    assert build_estimator(fourier, 1, problem).mean == 0.0, "the background of an image in k-space is 0"


def test_measurements_of_several_shapes_are_refused(data, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    np.save(folder / "a.npy", np.zeros((2, 16, 16), np.float32))
    np.save(folder / "b.npy", np.zeros((1, 16, 17), np.float32))
    config = configure(data, data={"path": str(folder)})
    assert "one shape" in refused(create_run, tmp_path / "run", config)
