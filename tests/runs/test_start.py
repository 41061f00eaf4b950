"""A run that starts from another one's weights: they are those, at half the rate; what differs is refused."""

from pathlib import Path

import pytest
import torch

import masked
from unveil.errors import UnveilError
from unveil.runs import create_run, train_run
from unveil.runs.record import open_record
from unveil.runs.start import FILE, at_half_rate
from unveil.training.checkpoint import read_weights


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_weights(path, "restore it")


def first_run(tmp_path: Path):
    masked.write(tmp_path / "data")
    config = masked.configure(tmp_path / "data")
    run = create_run(tmp_path / "first", config)
    train_run(run, device="cpu")
    return config, run


def test_it_goes_on_from_the_weights_at_half_the_rate(tmp_path):
    config, first = first_run(tmp_path)
    still = config.model_copy(update={"training": config.training.model_copy(update={"learning_rate": 1e-12})})
    begun = create_run(tmp_path / "second", still, start=first.folder)
    record = open_record(begun.folder)[0].start
    assert record.run == str(first.folder)
    assert (begun.folder / FILE).read_bytes() == first.weights.read_bytes()
    create_run(tmp_path / "second", still, start=first.folder)  # the same command goes on
    train_run(begun, device="cpu")
    before, after = weights(first.weights), weights(begun.weights)
    assert all(torch.allclose(before[name], after[name], atol=1e-8) for name in before)
    assert at_half_rate(config).training.learning_rate == config.training.learning_rate / 2
    rates = [float(line.split('"learning_rate": ')[1].split(",")[0].rstrip("}\n"))
             for run in (first, begun) for line in (run.folder / "metrics.jsonl").open()]  # fmt: skip
    steps = config.training.steps
    assert rates[steps] / 1e-12 == pytest.approx(rates[0] / config.training.learning_rate / 2)


def test_other_networks_and_starts_are_refused_in_one_line(tmp_path):
    config, first = first_run(tmp_path)
    wide = config.model_copy(update={"estimator": config.estimator.model_copy(update={"widths": (6,)})})
    with pytest.raises(UnveilError, match="its network differs from this configuration's") as caught:
        create_run(tmp_path / "wide", wide, start=first.folder)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "wide").exists()
    with pytest.raises(UnveilError, match=r"--from .*nothing: not a run folder"):
        create_run(tmp_path / "other", config, start=tmp_path / "nothing")
    with pytest.raises(UnveilError, match="starts from weights drawn from its seed"):
        create_run(first.folder, config, start=first.folder)
    create_run(tmp_path / "untrained", config)
    with pytest.raises(UnveilError, match="not trained to the end"):
        create_run(tmp_path / "other", config, start=tmp_path / "untrained")
