"""The configuration: YAML round trip, overrides, and one line that names the key for whatever is wrong."""

import math

import pytest
import yaml

from unveil.config import Config, load_config, override, parse_config, to_yaml
from unveil.errors import UnveilError

DATA = {"data": {"path": "images"}}


def refused(values):
    with pytest.raises(UnveilError) as caught:
        parse_config(values, "here.yaml")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("here.yaml: ")
    return text.removeprefix("here.yaml: ")


FULL = {
    "version": 1,
    "seed": 7,
    "data": {
        "path": "a #b: 'c'",
        "dataset": "x/y",
        "axes": "NHW",
        "value_range": [0, 4095.5],
        "validation": 0.0,
    },
    "noise": {"sigma": 1e-5},
    "estimator": {"form": "preconditioned", "widths": [4, 8], "blocks": 2},
    "risk": {"recipe": "sure", "dilation": [1], "levels": [1.5, 4.0]},
    "training": {"steps": 3, "warmup": 0, "learning_rate": 1e-7, "augment": False, "precision": "bf16"},
    "sampling": {"solver": "heun", "schedule": "karras", "lowest": 0.2},
}


@pytest.mark.parametrize("values", [DATA, FULL])
def test_yaml_round_trip(values, tmp_path):
    config = parse_config(values, "here")
    assert parse_config(yaml.safe_load(to_yaml(config)), "there") == config
    (tmp_path / "c.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml") == config


@pytest.mark.parametrize("path", ["a\nb", " # x", "é…", "...", "null", "1e3", "- a", "a: b", "C:\\new", "", "\x85"])
def test_any_path_survives_the_round_trip(path):
    config = parse_config({"data": {"path": path}}, "here")
    assert parse_config(yaml.safe_load(to_yaml(config)), "there").data.path == path


def test_yaml_says_what_each_key_means():
    config = parse_config({**DATA, "system": {"kind": "inpainting", "mask": "mask.png"}}, "here")
    lines = to_yaml(config).splitlines()
    for name in Config.model_fields:
        if name in ("version", "seed"):
            continue
        for key, field in type(getattr(config, name)).model_fields.items():
            assert field.description, (name, key)
            assert any(x.startswith(f"  {key}: ") and x.endswith(f"# {field.description}") for x in lines), key


def test_overrides(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(FULL))
    sets = [
        "training.steps=9",
        "estimator.widths=[2, 3, 4]",
        "data.axes=null",
        "noise.sigma=estimate",
        "seed=1",
    ]
    config = load_config(path, [*sets, "training.learning_rate=1e-3", "data.path=a=b"])
    assert (config.training.steps, config.training.learning_rate, config.seed) == (9, 1e-3, 1)
    assert config.estimator.widths == (2, 3, 4)
    assert (config.data.axes, config.data.path, config.noise.sigma) == (None, "a=b", "estimate")
    assert config.training.precision == "bf16", "what is not overridden stays"


def test_overrides_make_sections_and_the_last_one_wins():
    assert override({}, ["data.path=x", "data.path=y"]) == {"data": {"path": "y"}}
    assert override({"noise": None}, ["noise.sigma=0.1"]) == {"noise": {"sigma": 0.1}}


@pytest.mark.parametrize("text", ["training.steps", "=3", "seed=[1", "seed: 3"])
def test_malformed_overrides(text, tmp_path):
    (tmp_path / "c.yaml").write_text("data: {path: x}")
    with pytest.raises(UnveilError) as caught:
        load_config(tmp_path / "c.yaml", [text])
    assert str(caught.value).startswith(f"--set {text}: ")
    assert "\n" not in str(caught.value)


def test_wrong_override_names_its_key(tmp_path):
    (tmp_path / "c.yaml").write_text("data: {path: x}")
    with pytest.raises(UnveilError, match=r"unknown key training\.step; known here: steps, batch"):
        load_config(tmp_path / "c.yaml", ["training.step=3"])


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"trainig": {}}, "unknown key trainig; known here: version, seed, data, system, noise"),
        ({"training": {"lr": 1}}, "unknown key training.lr; known here: steps, batch, crop"),
        ({"noise": {"sigma": 0}}, "noise.sigma = 0: must be > 0"),
        ({"noise": {"sigma": -0.1}}, "noise.sigma = -0.1: must be > 0"),
        ({"noise": {"sigma": math.nan}}, "noise.sigma = nan: "),
        ({"noise": {"sigma": math.inf}}, "noise.sigma = inf: "),
        ({"noise": {"sigma": "guess"}}, "noise.sigma = 'guess': "),
        ({"noise": {"sigma": None}}, "noise.sigma = None: "),
        ({"noise": {"kind": "poisson"}}, "noise.kind = 'poisson': "),
        ({"noise": None}, "noise = None: "),
        ({"risk": {"levels": [0.9, 3.0]}}, "risk.levels = [0.9, 3.0]: need 1 <= lowest"),
        ({"risk": {"levels": [3.0, 2.0]}}, "risk.levels = [3.0, 2.0]: need 1 <= lowest"),
        ({"risk": {"levels": [2.0]}}, "risk.levels.1 is missing"),
        ({"risk": {"levels": [1.5, math.inf]}}, "risk.levels.1 = inf: "),
        ({"risk": {"recipe": "magic"}}, "risk.recipe = 'magic': "),
        ({"risk": {"dilation": []}}, "risk.dilation = []: "),
        ({"risk": {"dilation": [1, 0]}}, "risk.dilation = [1, 0]: block sizes"),
        ({"risk": {"dilation": [1.5]}}, "risk.dilation.0 = 1.5: "),
        ({"estimator": {"widths": 5}}, "estimator.widths = 5: "),
        ({"estimator": {"widths": []}}, "estimator.widths = []: "),
        ({"estimator": {"widths": [8, 0]}}, "estimator.widths = [8, 0]: channels"),
        ({"training": {"steps": "many"}}, "training.steps = 'many': "),
        ({"training": {"steps": 0}}, "training.steps = 0: "),
        ({"training": {"steps": 50}}, "configuration: training.warmup is longer than training.steps"),
        ({"training": {"learning_rate": math.nan}}, "training.learning_rate = nan: "),
        ({"training": {"ema": 1.0}}, "training.ema = 1.0: "),
        ({"training": {"crop": 2}}, "training.crop = 2: "),
        ({"data": {"path": "x", "validation": 1}}, "data.validation = 1: "),
        ({"data": {"path": "x", "value_range": [0, "a"]}}, "data.value_range.1 = 'a': "),
        ({"data": {"path": 3}}, "data.path = 3: "),
        ({"data": {}}, "data.path is missing; add it, or pass --set data.path=..."),
        ({"data": "x"}, "data = 'x': "),
        ({"seed": -1}, "seed = -1: "),
        ({"seed": 2**63}, f"seed = {2**63}: "),
        ({"version": 2}, "written for configuration version 2, this is 1: "),
        ({3: 4}, "3 = 3: "),
    ],
)
def test_what_is_wrong_is_named(values, key):
    assert refused({**DATA, **values}).startswith(key)


def test_missing_data_names_the_path():
    assert refused({}).startswith("data.path is missing; add it, or pass --set data.path=...")


def test_a_number_in_a_string_is_a_number():
    assert parse_config({**DATA, "noise": {"sigma": "1e-3"}}, "here").noise.sigma == 1e-3, "YAML 1.1 reads 1e-3 as text"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [1\nb: 2", "not valid YAML at line 2"),
        (b"a: \x00", "not valid YAML"),
        (b"\xff\xfe\xff", "is not text"),
        (b"", "must be a mapping"),
        (b"- 1", "must be a mapping"),
        (b"a: !!python/object/apply:os.getcwd []", "not valid YAML at line 1"),
    ],
)
def test_unreadable_file(content, reason, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UnveilError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: {reason}")
    assert "\n" not in str(caught.value)
    assert "unveil init" in str(caught.value)


def test_missing_file(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UnveilError, match="make one with unveil init") as caught:
            load_config(path)
        assert str(path) in str(caught.value)


def test_a_configuration_cannot_change():
    config = parse_config(DATA, "here")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3
