"""The learning curve: paired gains, a forecast that holds or is not told, and an end where nothing is gained."""

import math

import pytest
import torch
from test_training_loop import run as trained
from test_training_loop import settings

from unveil.random import make_generator
from unveil.training import latest_checkpoint, read_metrics
from unveil.training.curve import Curve, gap
from unveil.training.forecast import forecast


def lines(law, steps, n=8, noise=0.0, shared=0.0, fitted=None):
    """The log of a curve: each measurement has an error of its own, and scatter of its own at each point."""
    own = 1 + 0.3 * torch.randn(n, generator=make_generator("cpu", 1)).double()
    found = []
    for t in steps:
        e = law(t) * own + shared + noise * torch.randn(n, generator=make_generator("cpu", 2, t)).double()
        line = {"step": t, "error": float(e.mean())} | {f"held_out/{k}": float(v) for k, v in enumerate(e)}
        if fitted is not None:
            line |= {f"fitted/{k}": fitted(t) * float(v) for k, v in enumerate(own)}
        found.append(line)
    return found


def law(t):
    return 1e-3 + 4e-3 * (t / 100) ** -0.7


def test_a_gain_is_known_far_better_than_the_errors():
    """What all points are off by cancels; the scatter is Student's over measurements."""
    covered = 0
    for draw in range(200):
        generator = make_generator("cpu", draw)
        off, d = torch.randn(2, 8, generator=generator, dtype=torch.float64)
        curve = Curve.of(
            {"step": t, **{f"held_out/{k}": float(v) for k, v in enumerate(e)}}
            for t, e in ((1, 5 + off), (2, 4.9 + off + 0.05 * d))
        )
        gain = curve.gain(0, 1)
        assert gain.se == pytest.approx(0.05 * float(d.std()) / 8**0.5)
        covered += abs(gain.value - 0.1) <= gain.reach
    assert 180 <= covered <= 198, "95% of 200, three standard errors"


def test_of_two_measurements_no_gain_is_known():
    curve = Curve.of(lines(law, (100, 200), n=2))
    assert math.isnan(curve.gain(0, 1).reach)
    assert "fewer than 3" in forecast(curve).reason


@pytest.mark.parametrize("shared", [0.0, -2e-3], ids=["", "errors seem negative"])
def test_a_power_law_is_continued(shared):
    """Whatever all points are off by."""
    found = forecast(Curve.of(lines(law, range(50, 1001, 50), shared=shared)))
    own = float((1 + 0.3 * torch.randn(8, generator=make_generator("cpu", 1)).double()).mean())
    true = (law(1000) - law(2000)) * own
    assert found.reason == ""
    assert found.steps == 2000
    assert found.gain == pytest.approx(true, rel=0.05)
    gain, low = found.decibels
    if shared:
        assert math.isnan(gain), "of a negative error there are no dB"
    else:
        assert gain == pytest.approx(-10 * math.log10(1 - true / found.now), rel=0.05)
        assert low < gain
        assert gain - low < 0.05 * gain, "all measurements gain in proportion to their errors"


def test_the_interval_of_a_forecast_holds_under_noise():
    inside, own = 0, 1 + 0.3 * torch.randn(8, generator=make_generator("cpu", 1)).double()
    told = 0
    for draw in range(20):
        found = forecast(Curve.of(lines(law, range(50 + draw, 1001 + draw, 50), noise=2e-5)))
        true = (law(950 + draw + 50) - law(2 * (950 + draw + 50))) * float(own.mean())
        told += not found.reason
        inside += bool(abs(found.gain - true) <= found.reach)
    assert told >= 15
    assert inside >= 0.8 * told


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (lambda t: 1e-3 + 1e-3 * (t <= 500), "no power law|missed"),
        (lambda t: 1e-3 + 1e-6 * t, "no power law|missed"),
        (lambda t: 1e-3, "no power law|missed"),
    ],
    ids=["a jump", "rising", "flat"],
)
def test_what_does_not_fit_is_not_forecast(shape, reason):
    found = forecast(Curve.of(lines(shape, range(50, 1001, 50))))
    assert any(word in found.reason for word in reason.split("|"))
    assert math.isnan(found.gain)


def test_few_points_are_said_to_be_few():
    assert "validate_every" in forecast(Curve.of(lines(law, (100, 200, 300)))).reason
    assert forecast(Curve.of([])) is None


def test_the_gap_is_what_those_learned_from_gained_more():
    curve = Curve.of(lines(law, range(100, 1001, 100), fitted=lambda t: law(t) * 10 ** (-t / 10_000)))
    found = gap(curve)
    assert found.value == pytest.approx(0.7, abs=1e-6), "from step 300 to 1000, .1 dB each 100 steps"
    assert found.reach < 1e-6, "all measurements gain alike"
    assert gap(Curve.of(lines(law, range(100, 1001, 100)))) is None


def errors(values):
    """A validation whose errors follow `values`, each of four measurements alike but for its level."""
    seen = iter(values)

    def validation(f):
        value = next(seen)
        found = {f"held_out/{k}": value * (1 + k / 10) + 1e-4 * math.sin(9 * k + 99 * value) for k in range(4)}
        return {"error": sum(found.values()) / 4, **found}

    return validation


FALLS = [0.9, 0.5, 0.4, 0.41, 0.405, 0.3, 0.2]


def test_training_stops_where_it_gains_no_more_with_the_best_weights(tmp_path):
    """Validated at 2, 4, ...: lowest at 6; that of 10 is no gain over that of 6."""
    config, kept = settings(steps=14, validate_every=2, checkpoint_every=100, patience=2, ema=0.5), {}
    f = trained(
        tmp_path, config, validation=errors(FALLS), progress=lambda done, total, metrics: kept.setdefault(done, metrics)
    )
    assert read_metrics(tmp_path)[-1]["step"] == 10
    assert kept[4]["gain"] > kept[4]["gain_reach"] > 0
    assert kept[8]["gain"] < 0
    six = snapshot_at(tmp_path / "again", config, 6)
    assert all(torch.equal(value, six[name]) for name, value in f.state_dict().items())
    assert latest_checkpoint(tmp_path / "checkpoints").name == "step-00000010"


def snapshot_at(folder, config, step):
    """The averaged weights at `step` of the same training without early stopping."""
    found = {}

    def validation(f):
        if len(found) < step // 2:
            found[len(found)] = {name: value.clone() for name, value in f.state_dict().items()}
        return {"error": 1.0}

    trained(folder, config.model_copy(update={"patience": None}), validation=validation)
    return found[step // 2 - 1]


@pytest.mark.parametrize("killed", [3, 7, 9])
def test_a_stopped_training_resumes_to_the_bit(killed, tmp_path):
    config = settings(steps=14, validate_every=2, checkpoint_every=3, patience=2, ema=0.5)
    one = trained(tmp_path / "whole", config, validation=errors(FALLS))

    class Killed(Exception):
        pass

    def die(done, total, metrics):
        if done == killed:
            raise Killed

    with pytest.raises(Killed):
        trained(tmp_path / "parts", config, validation=errors(FALLS), progress=die)
    newest = latest_checkpoint(tmp_path / "parts" / "checkpoints")
    start = 0 if newest is None else int(newest.name[5:])
    two = trained(tmp_path / "parts", config, validation=errors(FALLS[start // 2 :]))
    assert read_metrics(tmp_path / "whole") == read_metrics(tmp_path / "parts")
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values()))
    three = trained(tmp_path / "parts", config, validation=errors([]))  # it has ended: nothing more is done
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), three.state_dict().values()))


def test_without_patience_all_steps_are_taken(tmp_path):
    trained(tmp_path, settings(steps=14, validate_every=2), validation=errors(FALLS))
    assert read_metrics(tmp_path)[-1]["step"] == 14


def test_patience_needs_measurements_to_judge_by(tmp_path):
    def two(f):
        return {"error": 1.0, "held_out/0": 1.0, "held_out/1": 1.0}

    with pytest.warns(match=r"training\.patience: fewer than 3 held-out measurements") as caught:
        trained(tmp_path, settings(steps=8, validate_every=2, patience=1), validation=two)
    assert len(caught) == 1
    assert read_metrics(tmp_path)[-1]["step"] == 8
