"""The configuration: YAML round trip, overrides, and one line that names the key for whatever is wrong."""

import math
from typing import get_args

import pytest
import yaml

from unveil.config import Config, Symmetry, parse_config
from unveil.config_file import load_config, override, to_yaml
from unveil.errors import UnveilError, UnveilWarning
from unveil.idle import idle_keys
from unveil.symmetry import SYMMETRIES

DATA = {"data": {"path": "images"}}


def refused(values):
    with pytest.raises(UnveilError) as caught:
        parse_config(values, "here.yaml")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("here.yaml: ")
    return text.removeprefix("here.yaml: ")


FULL = {
    "version": 2,
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
    "loss": {"recipe": "ambient", "scales": [1], "levels": [1.5, 4.0]},
    "training": {"steps": 3, "warmup": 0, "learning_rate": 1e-7, "augment": False, "precision": "bf16"},
    "sampling": {"schedule": "geometric", "lowest": 0.2},
}


@pytest.mark.parametrize("values", [DATA, FULL])
def test_yaml_round_trip(values, tmp_path):
    config = parse_config(values, "here")
    assert parse_config(yaml.safe_load(to_yaml(config)), "there") == config
    (tmp_path / "c.yaml").write_text(to_yaml(config, tmp_path), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml") == config


PATHS = [
    "a\nb",
    " # x",
    "é…",
    "...",
    "null",
    "1e3",
    "- a",
    "a: b",
    "C:\\new",
    "",
    "\x85",
    "007",
    "no",
    "2024-01-01",
    "~",
]


@pytest.mark.parametrize("path", PATHS)
def test_any_path_survives_the_round_trip(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = parse_config({"data": {"path": path}}, "here")
    assert parse_config(yaml.safe_load(to_yaml(config)), "there").data.path == path
    (tmp_path / "c.yaml").write_text(to_yaml(config, tmp_path), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml").data.path == (path or ".")


def test_yaml_says_what_each_key_means():
    """Of those that do something; each does for one of these."""
    seen, known = set(), set()
    for values in (
        {"operator": {"kind": "inpainting", "mask": "mask.png"}},
        {"noise": {"kind": "poisson", "gain": 1}, "em": {"rounds": 1}},
        {"noise": {"kind": "correlated", "kernel": "estimate"}},
    ):
        config = parse_config({**DATA, **values}, "here")
        lines, idle = to_yaml(config).splitlines(), idle_keys(config)
        for name in set(Config.model_fields) - {"version", "seed"}:
            for key, field in type(getattr(config, name)).model_fields.items():
                known.add(f"{name}.{key}")
                assert field.description, (name, key)
                if f"{name}.{key}" not in idle:
                    seen.add(f"{name}.{key}")
                    line = f"  {key}: "
                    assert any(x.startswith(line) and x.endswith(f"# {field.description}") for x in lines), key
    assert seen == known


def test_the_head_of_each_section_is_one_comment():
    for values in (
        {},
        {"operator": {"kind": "inpainting", "mask": "m.png"}},
        {"noise": {"kind": "poisson", "gain": 1}},
    ):
        text = to_yaml(parse_config({**DATA, **values}, "here"))
        for line in text.splitlines()[2:]:
            assert not line or (line.startswith("  ") and ": " in line) or ":  # " in line


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


def test_what_init_found_for_another_form_goes_and_what_is_stated_stays(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({**DATA, "estimator": {"mean": 0.2, "std": 0.06}}))
    for form in ("equivariant", "affine"):
        estimator = load_config(path, [f"estimator.form={form}"]).estimator
        assert (estimator.form, estimator.mean, estimator.std) == (form, None, 0.25)
    estimator = load_config(path, ["estimator.form=preconditioned"]).estimator
    assert (estimator.mean, estimator.std) == (0.2, 0.06)
    with pytest.raises(UnveilError, match=r"estimator.std = 0.1 does nothing"):
        load_config(path, ["estimator.std=0.1", "estimator.form=equivariant"])


RENAMED = {
    "risk.dilation": "loss.scales",
    "risk.renormalized": "loss.normalized",
    "risk.levels": "loss.levels",
    "system.kind": "operator.kind",
    "system.deviation": "operator.std",
    "estimator.deviation": "estimator.std",
    "refine.rounds": "em.rounds",
    "sampling.gain": "sampling.inflation",
    "training.steps": "training.steps",
}


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_overrides_by_names_of_version_1_work_and_say_the_new_one(old, new):
    section, name = new.split(".")
    if old == new:
        assert override({}, [f"{old}=1"]) == {section: {name: "1"}}
        return
    with pytest.warns(UnveilWarning, match=rf"--set {old}=1: {old} is called {new} since configuration version 2"):
        assert override({}, [f"{old}=1"]) == {section: {name: "1"}}


def test_keys_of_version_1_are_named_as_they_are_now():
    for values, words in [
        ({"risk": {"levels": [1, 2]}}, "unknown key risk: it is called loss since configuration version 2"),
        ({"estimator": {"deviation": 1}}, "unknown key estimator.deviation: it is called estimator.std since"),
        ({"sampling": {"gain": 0}}, "unknown key sampling.gain: it is called sampling.inflation since"),
    ]:
        assert refused({**DATA, **values}).startswith(words)


def test_overrides_make_sections_and_the_last_one_wins():
    assert override({}, ["data.path=x", "data.path=y"]) == {"data": {"path": "y"}}
    assert override({"noise": None}, ["noise.sigma=0.1"]) == {"noise": {"sigma": "0.1"}}, "its key makes it a number"


@pytest.mark.parametrize(
    "text", ["training.steps", "=3", "seed=[1", "seed: 3", "data.path.a=3", "seed=*x", "seed=[[" + "[" * 5000]
)
def test_malformed_overrides(text, tmp_path):
    (tmp_path / "c.yaml").write_text("data: {path: x}")
    with pytest.raises(UnveilError) as caught:
        load_config(tmp_path / "c.yaml", [text])
    assert str(caught.value).startswith(f"--set {text}: ")
    assert "\n" not in str(caught.value)


def test_wrong_override_names_its_key(tmp_path):
    (tmp_path / "c.yaml").write_text("data: {path: x}")
    with pytest.raises(
        UnveilError, match=r"unknown key training\.step; did you mean training\.steps\? known here: steps, batch"
    ):
        load_config(tmp_path / "c.yaml", ["training.step=3"])


@pytest.mark.parametrize(
    ("values", "key"),
    [
        (
            {"trainig": {}},
            "unknown key trainig; did you mean training? known here: version, seed, data, operator, noise",
        ),
        ({"steps": 5}, "unknown key steps; did you mean training.steps or em.steps or sampling.steps? known here"),
        ({"training": {"symmetry": []}}, "unknown key training.symmetry; did you mean loss.symmetry? known here"),
        ({"noise": {"sigam": 1}}, "unknown key noise.sigam; did you mean noise.sigma? known here: kind"),
        ({"training": {"lr": 1}}, "unknown key training.lr; known here: steps, batch, crop"),
        ({"noise": {"sigma": 0}}, "noise.sigma = 0: must be > 0"),
        ({"noise": {"sigma": -0.1}}, "noise.sigma = -0.1: must be > 0"),
        ({"noise": {"sigma": math.nan}}, "noise.sigma = nan: "),
        ({"noise": {"sigma": math.inf}}, "noise.sigma = inf: "),
        ({"noise": {"sigma": "guess"}}, "noise.sigma = 'guess': must be a number, or estimate, or the file of a map"),
        ({"noise": {"kind": "poisson-gaussian", "gain": "1,5", "read": 1}}, "noise.gain = '1,5': must be a number, or"),
        ({"noise": {"kind": "poisson-gaussian", "gain": 1, "read": "1e-99"}}, "noise.read = 1e-99: must be at least"),
        ({"noise": {"sigma": None}}, "noise.sigma = None: "),
        ({"noise": {"kind": "poisson"}}, "noise.gain is missing; add it, or pass --set noise.gain=..."),
        ({"noise": {"kind": "poisson", "gain": 0}}, "noise.gain = 0: must be at least 1e-09"),
        ({"noise": {"kind": "poisson", "gain": 1, "sigma": 1}}, "unknown key noise.sigma; known here: kind, gain"),
        ({"noise": {"kind": "rician"}}, "noise.kind is rician, not supported: the law of y^2 tells that of u^2, but"),
        (
            {"noise": {"kind": "uniform"}},
            "noise.kind is uniform, not supported: what it hides cannot be learned, for sin(",
        ),
        ({"noise": {"kind": "Salt_and_pepper"}}, "noise.kind is Salt_and_pepper, not supported: the law of y is"),
        (
            {"noise": {"kind": "laplace"}},
            "noise.kind is laplace, not supported: 1 / (1 + t^2 / 2) has no zero; no loss here is for it: average",
        ),
        ({"noise": {"kind": "gamma"}}, "noise.looks is missing; add it, or pass --set noise.looks=..."),
        ({"noise": {"kind": "gamma", "looks": 0}}, "noise.looks = 0: must be at least 0.1"),
        ({"noise": {"kind": "speckle"}}, "noise.kind is speckle; choose one of auto, gaussian, poisson"),
        ({"noise": None}, "noise is empty; remove the line, or give its keys"),
        ({"noise": "gaussian"}, "noise = 'gaussian': must be keys with values"),
        ({"noise": [{"sigma": 1}]}, "noise = [{'sigma': 1}]: must be keys with values"),
        ({"operator": None}, "operator is empty; remove the line, or give its keys"),
        (
            {"operator": "mri"},
            "operator = 'mri': must be keys with values, one a line and indented, of which kind is one",
        ),
        ({"operator": ["mri"]}, "operator = ['mri']: must be keys with values"),
        ({"operator": {}}, "operator.kind is None; choose one of identity, inpainting"),
        ({"operator": {"kind": ["mri"]}}, "operator.kind is ['mri']; choose one of identity, inpainting"),
        ({"operator": {"kind": "cryoem"}}, "operator: give defocus_u, or a table"),
        ({"loss": {"symmetry": ["shift", "mirror"]}}, "loss.symmetry.1 = 'mirror': must be 'shift', 'flip', 'quarter'"),
        ({"loss": {"symmetry": "shift"}}, "loss.symmetry = 'shift': must be a list"),
        ({"loss": {"symmetry": ["flip", "flip"]}}, "loss.symmetry = ['flip', 'flip']: names one twice"),
        ({"loss": {"levels": [0.9, 3.0]}}, "loss.levels = [0.9, 3.0]: need 1 <= lowest"),
        ({"loss": {"levels": [3.0, 2.0]}}, "loss.levels = [3.0, 2.0]: need 1 <= lowest"),
        ({"loss": {"levels": [2.0]}}, "loss.levels.1 is missing"),
        ({"loss": {"levels": [1.5, math.inf]}}, "loss.levels.1 = inf: "),
        ({"loss": {"recipe": "magic"}}, "loss.recipe = 'magic': "),
        ({"loss": {"recipe": "mixed"}}, "loss.recipe = 'mixed': must be 'default', 'ambient', 'measured', 'sure'"),
        ({"loss": {"near": 1}}, "loss.near = 1: must be < 1"),
        ({"sampling": {"solver": "heun"}}, "unknown key sampling.solver; known here: schedule, steps"),
        ({"loss": {"scales": []}}, "loss.scales = []: "),
        ({"loss": {"scales": [1, 0]}}, "loss.scales.1 = 0: must be at least 1"),
        ({"loss": {"scales": [1.5]}}, "loss.scales.0 = 1.5: "),
        ({"estimator": {"widths": 5}}, "estimator.widths = 5: "),
        ({"estimator": {"widths": []}}, "estimator.widths = []: "),
        ({"estimator": {"widths": [8, 0]}}, "estimator.widths.1 = 0: must be at least 1"),
        ({"training": {"steps": "many"}}, "training.steps = 'many': "),
        ({"training": {"steps": 0}}, "training.steps = 0: "),
        ({"training": {"steps": 10**22}}, "training.steps = 10000000000000000000000: must be at most 100000000"),
        ({"training": {"steps": "9" * 5000}}, "training.steps = '9999"),
        (
            {"training": {"steps": 10**5000}},
            "training.steps = a number of thousands of digits: must be at most 100000000",
        ),
        ({"training": {"batch": 10**7}}, "training.batch = 10000000: must be at most 65536"),
        ({"training": {"steps": 1.5}}, "training.steps = 1.5: must be a whole number"),
        ({"training": {"augment": "perhaps"}}, "training.augment = 'perhaps': must be true or false"),
        ({"training": {"x\n" * 99: 1}}, "unknown key training.'x\\nx"),
        ({"estimator": {"blocks": 10**7}}, "estimator.blocks = 10000000: must be at most 100"),
        ({"estimator": {"widths": [10**6]}}, "estimator.widths.0 = 1000000: must be at most 4096"),
        ({"estimator": {"widths": [4] * 99}}, "estimator.widths = [4, 4"),
        ({"noise": {"sigma": 1e300}}, "noise.sigma = 1e+300: must be between 1e-09 and 1e+09"),
        ({"data": {"path": "a\0b"}}, "data.path = 'a\\x00b': holds a NUL character"),
        ({"training": {"learning_rate": math.nan}}, "training.learning_rate = nan: "),
        ({"training": {"learning_rate": 1e300}}, "training.learning_rate = 1e+300: must be at most 1000"),
        ({"training": {"ema": 1.0}}, "training.ema = 1.0: "),
        ({"training": {"crop": 2}}, "training.crop = 2: "),
        ({"data": {"path": "x", "validation": 1}}, "data.validation = 1: "),
        ({"data": {"path": "x", "value_range": [0, "a"]}}, "data.value_range.1 = 'a': "),
        ({"data": {"path": 3}}, "data.path = 3: "),
        ({"data": {}}, "data.path is missing; add it, or pass --set data.path=..."),
        ({"data": "x"}, "data = 'x': "),
        ({"seed": -1}, "seed = -1: "),
        ({"seed": 2**63}, f"seed = {2**63}: "),
        ({"version": 1, "risk": {"dilation": [1]}}, "written for configuration version 1, this is 2: "),
        ({3: 4}, "3 = 3: "),
    ],
)
def test_what_is_wrong_is_named(values, key):
    assert refused({**DATA, **values}).startswith(key)


def test_missing_data_names_the_path():
    assert refused({}).startswith("data.path is missing; add it, or pass --set data.path=...")


def test_a_number_in_a_string_is_a_number():
    assert parse_config({**DATA, "noise": {"sigma": "1e-3"}}, "here").noise.sigma == 1e-3, "YAML 1.1 reads 1e-3 as text"


def test_an_axis_that_is_no_name_and_no_number():
    values = {"data": {"path": "y.npy"}, "operator": {"kind": "tomography", "axis": "middle"}}
    with pytest.raises(UnveilError, match=r"operator\.axis = 'middle': .*'scikit-image'"):
        parse_config(values, "a.yaml")
    for axis in ("tomopy", 63.5):
        values["operator"]["axis"] = axis
        assert parse_config(values, "a.yaml").operator.axis == axis


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [1\nb: 2", "not valid YAML at line 2"),
        (b"a:\n\tb: 1", "not valid YAML at line 2 (found character '\\t' that cannot start any token)"),
        (b"a: \x00", "not valid YAML"),
        (b"\xff\xfe\xff", "is not text"),
        (b"", "must be a mapping"),
        (b"- 1", "must be a mapping"),
        (b"text", "must be a mapping"),
        (b"a: !!python/object/apply:os.getcwd []", "line 1: tags (!) are not read"),
        (b"seed: 1\ndata: {path: x}\nseed: 2", "line 3: 'seed' is there already, in line 1: keep one"),
        (b"data: {path: x}\ndata: {path: y}", "line 2: 'data' is there already, in line 1: keep one"),
        (b"data: {path: x, path: x}", "line 1: 'path' is there already, in line 1: keep one"),
        (b"a: &x [1]\nb: [*x, *x]", "line 1: anchors (&) and aliases (*) are not read"),
        (b"<<: {data: {path: x}}", "unknown key <<"),
        (b"? [a]\n: 1", "line 1: a key must be text"),
        (b"a: " + b"[" * 10**5, "line 1: more than 20 levels"),
        (b"a: [" + b"1," * 10**5 + b"]", "line 1: has more than 10,000 values"),
        (b"#" * 2**20, "has more than 262,144 bytes"),
    ],
)
def test_unreadable_file(content, reason, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UnveilError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: {reason}")
    assert "\n" not in str(caught.value)
    assert "unveil init" in str(caught.value) or "unknown key" in str(caught.value)


def test_keys_say_what_their_text_is(tmp_path):
    (tmp_path / "c.yaml").write_bytes(
        b"\xef\xbb\xbfversion: 2\ndata: {path: 007, dataset: 0, axes: ~}\nnoise: {sigma: 1e-3}\n"
        b"training: {precision: no, augment: off}\nloss: {levels: [1, 2e0]}\n"
    )
    config = load_config(
        tmp_path / "c.yaml", ["training.learning_rate=1e-4", "sampling.inflation=1e-1", "data.path=2024-01-01"]
    )
    assert (config.data.path, config.data.dataset, config.data.axes) == ("2024-01-01", "0", None)
    assert (config.noise.sigma, config.training.learning_rate, config.sampling.inflation) == (1e-3, 1e-4, 0.1)
    assert (config.training.precision, config.training.augment, config.loss.levels) == ("no", False, (1.0, 2.0))


def test_a_warm_up_longer_than_the_training_is_shortened():
    with pytest.warns(UnveilWarning, match=r"training.warmup = 100 is longer than training.steps = 50"):
        config = parse_config({**DATA, "training": {"steps": 50}}, "here")
    assert config.training.warmup == 50


def test_the_symmetries_are_those_there_are():
    assert get_args(Symmetry) == tuple(SYMMETRIES)


def test_missing_file(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UnveilError, match="make one with unveil init") as caught:
            load_config(path)
        assert str(path) in str(caught.value)


def test_a_configuration_cannot_change():
    config = parse_config(DATA, "here")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


def test_a_dataset_that_is_called_by_a_number():
    config = parse_config(override({"data": {"path": "x.zarr"}}, ["data.dataset=0"]), "--set")
    assert config.data.dataset == "0"
    assert parse_config(yaml.safe_load(to_yaml(config)), "x") == config
    with pytest.raises(UnveilError, match=r"data\.dataset"):
        parse_config({"data": {"path": "x", "dataset": 0.5}}, "x")
