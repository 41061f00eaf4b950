"""What each recipe is made of: the levels that it shows the network, what it hides, what it costs; and each goes
through a run."""

import math
from pathlib import Path
from typing import get_args

import pytest
import torch

import masked
from small import configure, losses, measure, refused, same
from unveil.config import LossConfig, parse_config
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.idle import USED_BY
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, inpainting
from unveil.random import make_generator
from unveil.runs import Run, create_run, train_run
from unveil.training import RECIPES, build_estimator, make_loss
from unveil.training.batches import make_batches
from unveil.training.learn import _Learning
from unveil.training.recipes import suited

SIGMA = 0.1


class Spy:
    """f(m) = A^T y, and what it was shown."""

    def __init__(self):
        self.seen, self.cost = [], 0.0

    def __call__(self, m):
        self.seen.append(m)
        self.cost += len(m) * (1 if torch.is_grad_enabled() else 1 / 3)  # a pass without its backward pass
        return m.operator.A_adjoint(m.y)

    @property
    def ratios(self):
        """s / sigma of every sample."""
        return torch.cat([m.level for m in self.seen]) / SIGMA


def images(count=10, value=0.5):
    return Measurement(torch.full((count, 1, 8, 8), value), Identity(), Gaussian(SIGMA))


def with_holes(count=10):
    mask = torch.rand(count, 8, 8, generator=make_generator("cpu", 77)) < 0.7
    return Measurement(torch.full((count, 1, 8, 8), 0.5), inpainting(mask), Gaussian(SIGMA))


def shown(m, mean=0.5, times=1, **chosen):
    """What the network is shown of m by a recipe."""
    spy, loss = Spy(), make_loss(LossConfig(**chosen), mean)
    for t in range(times):
        value = loss(spy, m, make_generator("cpu", t))
        assert value.shape == (len(m),)
        assert value.isfinite().all()
    return spy


# --- levels


@pytest.mark.parametrize("rounds", [0, 1])
@pytest.mark.parametrize("scales", [(1,), (1, 2)])
@pytest.mark.parametrize("loss", [*({"recipe": name} for name in RECIPES), {"normalized": 0.0}], ids=str)
def test_a_run_learns_below_the_measured_level_where_its_batches_show_a_level_below(loss, scales, rounds, tmp_path):
    config = configure("images", loss=loss, em={"rounds": rounds})
    learned = scales if RECIPES[config.loss.recipe].scales else (1,)
    data = Dataset(MemorySource({"a": torch.rand(1, 16, 16)}), Identity(), Gaussian(SIGMA))
    m = make_batches(data, 32, 8, learned, augment=True)(make_generator("cpu", 0))
    below = bool((shown(m, **loss).ratios < 1 - 1e-6).any())
    run = Run(Path("run"), config, Gaussian(SIGMA), 1, scales)
    assert run.learns_below == (below or rounds > 0)


def test_the_default_shows_a_share_just_above_the_level_and_the_others_further_above():
    ratios = shown(images(100), times=20, normalized=0.0, near=0.2).seen
    near, probes, above = (torch.cat([m.level for m in ratios[part::3]]) / SIGMA for part in range(3))
    assert len(near) == 20 * 20
    assert len(above) == 20 * 80
    torch.testing.assert_close(near, probes)
    for found, low, high in [(near, 1.0, 1.3), (above, 1.3, 3.0)]:
        assert low - 1e-5 < found.min() < low + 0.05
        assert high - 0.05 < found.max() < high + 1e-5
        u = found.log() - math.log(low)
        width = math.log(high / low)
        assert abs(float(u.mean()) - width / 2) < 4 * width / math.sqrt(12 * len(u)), "log-uniform"
    all_above = shown(images(100), times=5, normalized=0.0, near=0.0).ratios
    assert len(all_above) == 500, "one pass"
    assert all_above.min() > 1.2 - 1e-5


@pytest.mark.parametrize("levels", [(1.0, 1.05), (1.0, 1.25), (2.0, 4.0), (1.5, 300.0)])
@pytest.mark.parametrize("recipe", RECIPES)
def test_levels_are_within_those_of_the_configuration(recipe, levels):
    """Also where they leave no room for a recipe's own edges.

    R2R has one ratio, equivariant imaging asks at the level itself.
    """
    ratios = shown(images(40), recipe=recipe, levels=levels, normalized=0.0, equivariance=0.0).ratios
    low, high = {
        "unsure": (1, None),
        "sure": (1, None),
        "nsure": (0, None),
        "r2r": (0, 1.2),
        "consistency": (1, 1),
        "splitting": (1, 1),
    }.get(recipe, levels)
    assert ratios.min() > low - 1e-5
    assert ratios.max() < (high or levels[1]) + 1e-4 * levels[1]


def test_a_share_of_the_measurements_is_scaled_down():
    ratios = shown(images(100), times=20, normalized=0.3, near=0.0, levels=(2.0, 2.0001)).ratios / 2
    scaled = ratios < 1 - 1e-3
    assert abs(float(scaled.float().mean()) - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2000)
    assert 0.1 - 1e-4 < ratios.min() < 0.15


@pytest.mark.parametrize("recipe", ["default", "nsure", "r2r"])
def test_images_with_a_background_of_zero_keep_it_when_scaled(recipe):
    """mu is 0 where the images' mean is: of y = 0 each sample shown then has the mean 0, up to its noise."""
    means = {}
    for mean in (0.0, 0.5):
        spy = shown(images(100, 0.0), mean, recipe=recipe, normalized=0.9)
        offsets = torch.cat([m.y.mean((1, 2, 3)) for m in spy.seen])
        means[mean] = float((offsets / (SIGMA * spy.ratios / 8)).abs().max())
    assert means[0.0] < 5
    assert means[0.5] > 20


# --- what is hidden, and what is turned


@pytest.mark.parametrize(("recipe", "keep"), [("default", 0.5), ("ambient", 0.5), ("splitting", 0.0)])
def test_a_share_of_the_entries_is_hidden(recipe, keep):
    m = with_holes(200)
    for share in (0.0, 0.2):
        spy = shown(m, recipe=recipe, hidden=share, equivariance=0.0, near=0.0, normalized=0.0)
        (seen,) = spy.seen
        left = seen.operator.measured.float().sum((1, 2, 3)) / m.operator.measured.float().sum((1, 2, 3))
        expected = 0.4 if recipe == "splitting" and not share else share
        whole = left == 1
        assert abs(float((~whole).float().mean()) - (1 - keep) * (expected > 0)) < 0.15
        if expected:
            entries = float(m.operator.measured[~whole].sum())
            hidden = 1 - float((left * m.operator.measured.float().sum((1, 2, 3)))[~whole].sum()) / entries
            assert abs(hidden - expected) < 4 * math.sqrt(expected * (1 - expected) / entries)


def test_only_incomplete_measurements_are_seen_twice_hidden_or_turned():
    """Where A leaves nothing out a symmetry and hidden entries teach nothing, and cost nothing."""
    for recipe in ("default", "equivariant", "equivariant-splitting", "ambient"):
        spy = shown(images(), recipe=recipe, hidden=0.5, equivariance=1.0)
        assert all(type(m.operator) is Identity and m.operator.measured is None for m in spy.seen)
        assert spy.cost == pytest.approx(10 * (1.2 if recipe == "default" else 1))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_cost_that_a_recipe_states_is_what_incomplete_measurements_cost(recipe):
    spy = shown(with_holes(), recipe=recipe)
    stated = make_loss(LossConfig(recipe=recipe)).passes
    assert spy.cost == pytest.approx(10 * stated)
    expected = {"default": 1.2 + 4 / 3, "unsure": 1.2 + 4 / 3 + 0.4 / 3, "sure": 2, "nsure": 2, "equivariant": 3}
    assert stated == pytest.approx(expected.get(recipe, 1))


def test_equivariant_imaging_as_published_learns_through_both_passes_and_ours_does_not():
    for recipe, twice in (("equivariant", True), ("default", False)):
        weight = torch.ones(1, requires_grad=True)
        seen = []

        def f(m, weight=weight, seen=seen):
            x = weight * m.operator.A_adjoint(m.y)
            seen.append(x.requires_grad)
            return x

        loss = make_loss(LossConfig(recipe=recipe, near=0.0, hidden=0.0))
        loss(f, with_holes(), make_generator("cpu", 0)).mean().backward()
        assert seen == [True, twice, True]


CHOSEN = {
    "levels": (1.5, 4.0),
    "symmetry": ("flip",),
    "equivariance": 0.7,
    "seen": True,
    "near": 0.5,
    "hidden": 0.6,
    "normalized": 0.8,
}


@pytest.mark.parametrize("key", CHOSEN)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_reads_the_keys_that_it_is_said_to_read(recipe, key):
    """Of those that it does not read another value is refused (`unveil.idle`)."""
    m, uneven = with_holes(20), torch.linspace(0.5, 1, 64).reshape(8, 8)

    def f(m):
        return uneven * torch.sin(3 * m.operator.A_adjoint(m.y))

    def loss(**chosen):
        return make_loss(LossConfig(recipe=recipe, **chosen))(f, m, make_generator("cpu", 1))

    assert torch.equal(loss(), loss(**{key: CHOSEN[key]})) == (recipe not in USED_BY[key])
    assert set(CHOSEN) | {"scales"} == set(USED_BY)
    assert (recipe in USED_BY["scales"]) == RECIPES[recipe].scales


@pytest.mark.parametrize(
    ("noise", "holes", "share"), [(Gaussian(0.1), False, 0.2), (Poisson(0.1), False, 0.0), (Gaussian(0.1), True, 0.0)]
)
def test_steins_share_is_for_complete_images_in_gaussian_noise(noise, holes, share, tmp_path):
    m = with_holes(8)
    data = Dataset(MemorySource({str(i): y for i, y in enumerate(m.y)}), m.operator if holes else Identity(), noise)
    assert suited(LossConfig(), data.operator, noise).near == share
    config = parse_config({"data": {"path": "y"}}, "test")
    assert _Learning(data, data, config, tmp_path, None, (1,), "cpu", None, None).losses.near == share


def test_the_recipes_of_the_configuration_are_those_there_are():
    assert get_args(LossConfig.model_fields["recipe"].annotation) == tuple(RECIPES)


def test_symmetries_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(UnveilError, match=r"amplitude.*leave it out of loss\.symmetry"):
        make_loss(LossConfig(recipe="equivariant-splitting", symmetry=("shift", "amplitude")))
    masked.write(tmp_path / "data")
    assert "'turn'" in refused(lambda: masked.configure(tmp_path / "data", loss={"symmetry": ["turn"]}))
    config = masked.configure(tmp_path / "data", loss={"recipe": "equivariant-splitting", "symmetry": ["amplitude"]})
    refused(create_run, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


# --- the run


@pytest.mark.parametrize("kind", ["images", "holes"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_goes_through_a_run(recipe, kind, tmp_path):
    sections = {"loss": {"recipe": recipe}, "training": {"steps": 1, "warmup": 0, "checkpoint_every": 5}}
    if kind == "images":
        config = configure(measure(tmp_path / "data", count=2), noise={"sigma": SIGMA}, **sections)
    else:
        masked.write(tmp_path / "data", count=4)
        sections["sampling"] = {"inflation": "fit", "steps": 3}
        config = masked.configure(tmp_path / "data", estimator={"widths": [4], "iterations": 2}, **sections)
    run = create_run(tmp_path / "run", config)
    before = build_estimator(config, 1, run.measurements()[0].operator)
    after = train_run(run, device="cpu")
    (loss,) = losses(run.folder)
    assert math.isfinite(loss)
    assert not same(before, after)
    assert (run.folder / "sampler.json").is_file() == run.learns_below, "fitted where samples can be drawn"
