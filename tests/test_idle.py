"""A key that does nothing is refused with the reason, and is not written."""

import pytest

from unveil.config import parse_config
from unveil.config_file import load_config, override, to_yaml
from unveil.errors import UnveilError
from unveil.idle import RULES, idle_keys, refuse_idle
from unveil.instruments.registry import INSTRUMENTS

SYSTEMS = {
    "identity": {},
    "inpainting": {"mask": "mask.npy"},
    "mri": {"mask": "mask.npy"},
}


def config(kind="identity", *sets, noise=None):
    values = {"data": {"path": "y"}, "operator": {"kind": kind, **SYSTEMS[kind]}, "noise": noise or {"sigma": 0.1}}
    if any(text.startswith("noise.") for text in sets):
        del values["noise"]
    return parse_config(override(values, sets), "test")


IDLE = [
    ("identity", ("loss.symmetry=[rotate]",), "identity leaves nothing out"),
    ("identity", ("loss.equivariance=1",), "identity leaves nothing out"),
    ("identity", ("loss.seen=true",), "identity leaves nothing out"),
    ("identity", ("loss.hidden=0.4",), "identity leaves nothing out"),
    ("identity", ("loss.camera=1",), "identity leaves nothing out"),
    ("inpainting", ("loss.camera=1", "sampling.inflation=0.2"), "by going on with a camera"),
    ("identity", ("loss.recipe=sure", "loss.near=0.1"), "loss.recipe = sure does not read it; default, unsure do"),
    ("inpainting", ("loss.near=0.1",), "inpainting leaves something out, and Stein's estimate is for complete images"),
    ("identity", ("noise.kind=poisson", "noise.gain=1", "loss.near=0.1"), "not for noise.kind = poisson"),
    (
        "identity",
        ("loss.recipe=sure", "loss.normalized=0.1"),
        "loss.recipe = sure does not read it; default, unsure do",
    ),
    ("identity", ("loss.recipe=sure", "loss.scales=[1,2]"), "default, ambient do"),
    ("identity", ("loss.recipe=consistency", "loss.levels=[1,2]"), "loss.recipe = consistency does not read it"),
    ("inpainting", ("loss.scales=[1,2]",), "measurements by inpainting have no coarser ones"),
    ("inpainting", ("loss.equivariance=0", "loss.seen=true"), "loss.equivariance is 0"),
    ("inpainting", ("loss.recipe=measured", "loss.hidden=0.4"), "loss.recipe = measured does not read it"),
    ("identity", ("loss.nonnegative=true",), "identity leaves nothing out"),
    ("inpainting", ("loss.equivariance=0", "loss.nonnegative=true"), "neither equivariant imaging"),
    ("inpainting", ("loss.recipe=equivariant", "loss.nonnegative=true"), "neither equivariant imaging"),
    ("inpainting", ("training.crop=16",), "learned from whole"),
    ("inpainting", ("data.saturated=255",), "what inpainting does not measure its own keys say"),
    ("inpainting", ("data.dead=dead.npy",), "what inpainting does not measure its own keys say"),
    ("inpainting", ("training.augment=false",), "learned from whole"),
    ("identity", ("estimator.prior=stationary",), "leaves nothing out that a spectrum could tell"),
    ("identity", ("estimator.form=affine", "estimator.mean=0.2"), "estimator.form = affine has no such number"),
    ("identity", ("estimator.form=affine", "estimator.std=0.2"), "estimator.form = affine has no such number"),
    ("identity", ("estimator.form=equivariant", "estimator.iterations=2"), "has no such number"),
    ("inpainting", ("em.rounds=1",), "of which loss.camera learns"),
    ("identity", ("em.steps=5",), "em.rounds is 0"),
    ("identity", ("em.images=5",), "em.rounds is 0"),
    ("identity", ("em.draw_steps=5",), "em.rounds is 0"),
    ("identity", ("em.delta=0.5",), "em.rounds is 0"),
    ("identity", ("sampling.steps=2", "sampling.inflation=0.2"), "fewer than three steps"),
]


@pytest.mark.parametrize(("kind", "sets", "reason"), IDLE)
def test_a_key_that_does_nothing_is_refused_with_the_reason(kind, sets, reason):
    key = sets[-1].partition("=")[0]
    with pytest.raises(UnveilError) as error:
        refuse_idle(config(kind, *sets), "unveil.yaml")
    text = str(error.value)
    assert text.startswith(f"unveil.yaml: {key} = ")
    assert "does nothing" in text
    assert reason in text
    assert "\n" not in text
    without = config(kind, *sets[:-1])
    assert refuse_idle(without, "unveil.yaml") == without


@pytest.mark.parametrize("sets", [("loss.camera=1",), ("sampling.steps=2",)])
def test_no_inflation_may_be_stated_where_the_exact_sampler_draws_anyhow(sets, tmp_path):
    chosen = config("inpainting", *sets, "sampling.inflation=0")
    assert refuse_idle(chosen, "unveil.yaml") == chosen
    (tmp_path / "unveil.yaml").write_text(to_yaml(chosen, tmp_path))
    assert load_config(tmp_path / "unveil.yaml").sampling.inflation == 0.0


def test_every_rule_has_a_case():
    assert {sets[-1].partition("=")[0] for _, sets, _ in IDLE} == set(RULES)


@pytest.mark.parametrize("kind", INSTRUMENTS)
def test_the_settings_of_every_instrument_are_accepted(kind):
    """Also those that another recipe does not read: nobody chose them."""
    settings = {section: dict(keys) for section, keys in INSTRUMENTS[kind].settings.items()}
    for recipe in ("default", "measured", "ambient"):
        given = {**settings, "loss": {**settings.get("loss", {}), "recipe": recipe}}
        section = INSTRUMENTS[kind].section.model_construct(kind=kind)
        values = parse_config({"data": {"path": "y"}, "noise": {"sigma": 0.1}, **given}, "test")
        refuse_idle(values.model_copy(update={"operator": section}), "test")


@pytest.mark.parametrize("kind", SYSTEMS)
def test_what_does_nothing_is_not_written_and_what_is_written_reads_the_same(kind, tmp_path):
    chosen = config(kind)
    text = to_yaml(chosen, tmp_path)
    for key in idle_keys(chosen):
        section, name = key.split(".")
        below = text.partition(f"\n{section}:")[2].split("\n\n")[0]
        assert f"\n  {name}: " not in below
    (tmp_path / "unveil.yaml").write_text(text)
    assert load_config(tmp_path / "unveil.yaml").model_dump(exclude={"data", "operator"}) == chosen.model_dump(
        exclude={"data", "operator"}
    )
