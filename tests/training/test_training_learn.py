"""What learning is given, and what it reaches from incomplete measurements: each with its own mask, held out or not."""

import sys

import numpy as np
import pytest
import torch

import masked
from small import losses, same
from unveil.evaluation import mean_square_error, psnr
from unveil.measurement import Measurement
from unveil.random import make_generator
from unveil.runs import create_run, train_run
from unveil.training import build_estimator, learn, read_metrics
from unveil.training.setup import open_measurements

LEARN = sys.modules[learn.__module__]
"""The module, whose name is also the function's."""


@pytest.fixture
def data(tmp_path):
    masked.write(tmp_path / "data")
    return tmp_path / "data"


def mean_psnr(estimates, x):
    return psnr(float(mean_square_error(estimates, x).mean()))


def test_a_few_steps_learn_what_one_mask_never_sees(tmp_path):
    """One mask for all: only what shifts of the images have in common tells what lies behind it."""
    _, keep = masked.write(tmp_path / "data", count=24, several=False)
    config = masked.configure(
        tmp_path / "data",
        estimator={"widths": [4], "prior": "white"},
        training={"steps": 60, "batch": 8, "warmup": 5, "ema": 0.9, "validate_every": 30},
    )
    run = create_run(tmp_path / "run", config)
    f = train_run(run, device="cpu")
    x, operator = masked.smooth(30, key=7), run.measurements()[0].operator
    m = Measurement(masked.measure(x, keep[:1], key=8), operator, run.noise)
    with torch.no_grad():
        trained, untrained = f(m), build_estimator(config, 1, operator)(m)
    assert mean_psnr(untrained, x) > mean_psnr(operator.A_dagger(m.y), x) + 6, "a grey level beats black holes"
    assert mean_psnr(trained, x) > mean_psnr(untrained, x) + 4
    hidden = ~keep[:1].expand_as(x)
    before, after = (psnr(float((z - x)[hidden].square().mean())) for z in (untrained, trained))
    assert after > before + 5, "behind the mask, too"
    loss = losses(run.folder)
    assert np.mean(loss[-10:]) < 0.65 * np.mean(loss[:10])
    validated = [line for line in read_metrics(run.folder) if "error" in line]
    assert [line["step"] for line in validated] == [30, 60]
    assert validated[-1]["psnr_hidden"] == pytest.approx(after, abs=2.5)


# --- each measurement and its own mask


def test_masks_and_measurements_keep_together_after_the_split(data, tmp_path, monkeypatch):
    """What training is given: batches whose masks fit the measurements, entry by entry, and validation likewise."""
    seen, given = [], {}

    class Stop(Exception):
        pass

    class Spy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.ones(()))

        def forward(self, m):
            seen.append(m)
            return self.gain * m.y

    def capture(estimator, loss, batches, config, folder, **options):
        given.update(loss=loss, batches=batches, validation=options["validation"])
        raise Stop

    monkeypatch.setattr(LEARN, "train", capture)
    config = masked.configure(data, loss={"recipe": "measured"}, estimator={"widths": [4], "prior": "white"})
    run = create_run(tmp_path / "run", config)
    with pytest.raises(Stop):
        train_run(run, device="cpu")
    training, held_out = (part.source for part in run.measurements())
    whole, _ = open_measurements(config)
    assert [training.name(i) for i in range(9)] != [whole.name(i) for i in range(9)], "the split leaves gaps"
    assert len(held_out) == 3
    for i in range(200 // 4):
        m = given["batches"](make_generator("cpu", i))
        given["loss"](Spy(), m, make_generator("cpu", i))
        for y in m.y:
            assert any(torch.equal(y, training.read(k)) for k in range(9))
        assert torch.equal(m.operator.measured, m.y != 0)
        shown = seen[-1]  # has more noise, on measured entries alone
        assert torch.equal(shown.operator.measured, m.y != 0)
        assert torch.equal(shown.y != 0, m.y != 0)
    assert {tuple(mask.flatten().tolist()) for m in seen for mask in m.operator.measured} == {
        tuple((training.read(i) != 0).flatten().tolist()) for i in range(9)
    }, "every training mask came up, and no other"
    seen.clear()
    given["validation"](Spy())
    patterns = [m.operator.measured for m in seen]
    assert len(patterns) == 3 * 4 + 5 * 2, "y, two probes, hidden entries; and of five learned from one probe"
    for i in range(3):
        mask = held_out.read(i)[None] != 0
        assert all(torch.equal(patterns[4 * i + k], mask) for k in range(3))
        assert not (patterns[4 * i + 3] & ~mask).any()
        assert not torch.equal(patterns[4 * i + 3], mask)
    for k, i in enumerate(range(0, 9, 2)):
        assert torch.equal(patterns[12 + 2 * k], training.read(i)[None] != 0)


def test_the_masks_matter_to_training(data, tmp_path):
    """The same measurements with the masks in another order give other weights."""
    first = train_run(create_run(tmp_path / "a", masked.configure(data)), device="cpu")
    np.save(data / "mask.npy", np.roll(np.load(data / "mask.npy"), 1, 0))
    assert not same(first, train_run(create_run(tmp_path / "b", masked.configure(data)), device="cpu"))
