"""Configurations, the files that they name and the records of a run, with anything in them: used, or refused in one
line."""

import json
import struct

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings

from malformed import one_line_or_result
from unveil.config import Config, parse_config
from unveil.config_file import load_config, override, to_yaml
from unveil.data import save_image
from unveil.errors import UnveilError
from unveil.instruments.registry import INSTRUMENTS
from unveil.operators import build_operator
from unveil.paths import path_keys
from unveil.report.record import read_evaluation
from unveil.runs import create_run, open_run
from unveil.training import read_inflation, read_metrics

pytestmark = [
    pytest.mark.usefixtures("within_limits"),
    pytest.mark.filterwarnings("ignore::unveil.errors.UnveilWarning"),
]
some = settings(
    max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "~",
            "null",
            "no",
            "1e400",
            "nan",
            "-inf",
            "0x10",
            "1_0",
            "9" * 40,
            "2024-01-01",
            "12:30",
            "[",
            "{}",
            "a\nb",
        ]
    ),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**22, -(2**63), 10**400]),
    st.floats(),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)

SYSTEMS = {
    "identity": {},
    "inpainting": {"mask": "m.npy"},
    "cryoem": {"defocus_u": 10000, "voltage": 300, "cs": 2.7, "pixel_size": 1, "amplitude_contrast": 0.1},
    "demosaicing": {},
    "blur": {"std": 1},
    "super_resolution": {"factor": 2},
    "tomography": {"angles": "a.npy"},
    "mri": {"mask": "m.npy", "coils": "c.npy"},
    "interferometry": {
        "pixels": 8,
        "field_of_view": 100,
        "track": {
            "stations": "eht.txt",
            "right_ascension": 1,
            "declination": 1,
            "frequency": 2e11,
            "start": 0,
            "stop": 24,
            "cadence": 60,
            "bandwidth": 1e9,
            "integration": 60,
        },
    },
}


def whole(kind):
    """A good configuration, each key stated."""
    noise = {
        "mri": {"kind": "correlated", "kernel": "k.npy", "covariance": "c.npy"},
        "blur": {"kind": "poisson-gaussian", "gain": "g.tif", "read": "r.tif", "offset": "o.tif"},
        "demosaicing": {"sigma": "s.tif"},
    }
    values = {"data": {"path": "images"}, "operator": {"kind": kind, **SYSTEMS[kind]}, "noise": noise.get(kind, {})}
    config = parse_config(values, "test")
    return config.model_dump(mode="json")


def keys(tree):
    """The places of all that is in nested dicts."""
    for key, value in tree.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *rest) for rest in keys(value))


PLACES = [(kind, place) for kind in SYSTEMS for place in keys(whole(kind))]


def accepted_or_refused(read, where):
    """Reads; what is accepted is written and read back as the same."""
    config = one_line_or_result(read, where)
    if isinstance(config, Config):
        assert parse_config(yaml.safe_load(to_yaml(config)), "again") == config


def test_there_is_a_configuration_of_every_system():
    assert set(SYSTEMS) == set({kind: found.section for kind, found in INSTRUMENTS.items()})
    assert {place for _, place in PLACES} >= path_keys(Config)


@some
@given(values)
def test_any_values_are_no_configuration_or_one(tree):
    accepted_or_refused(lambda: parse_config(tree, "here"), "here")


@settings(some, max_examples=200)
@given(st.sampled_from(PLACES), values)
def test_any_value_of_any_key(where, value):
    kind, place = where
    tree = whole(kind)
    section = tree
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    accepted_or_refused(lambda: parse_config(tree, "here"), "here")


@some
@given(st.sampled_from(PLACES), st.one_of(texts, st.text(alphabet="[]{}:,&*!|>'\"%@`#-?\t\n a1", max_size=12)))
def test_any_text_of_any_key_by_set(where, text):
    kind, place = where
    name = f"{'.'.join(place)}={text}"
    accepted_or_refused(lambda: parse_config(override(whole(kind), [name]), "--set"), "--set")


@some
@given(
    st.sampled_from(sorted(SYSTEMS)),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4),
    st.none() | st.integers(0, 5000),
)
def test_a_file_with_bytes_changed_or_cut_off(kind, changes, cut):
    from pathlib import Path
    from tempfile import TemporaryDirectory

    content = bytearray(to_yaml(parse_config(whole(kind), "test")).encode())
    for place, value in changes:
        content[place % len(content)] = value
    with TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_bytes(content[:cut])
        accepted_or_refused(lambda: load_config(path), path)


def png(width, height):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", width, height, 8, 0, 0, 0, 0, 0)


MASK = np.ones((8, 8), "f4")
FILES = {
    "missing": None,
    "empty.npy": b"",
    "empty.png": b"",
    "text.npy": b"text",
    "text.png": b"text",
    "text.txt": b"text",
    "huge.png": png(2**31 - 1, 2**31 - 1),
    "objects.npy": np.array([[{}]], dtype=object),
    "words.npy": np.array([["a", "b"]]),
    "number.npy": np.float32(1),
    "shape.npy": np.ones((7, 5), "f4"),
    "nothing.npy": np.zeros((0, 8), "f4"),
    "nan.npy": np.full((8, 8), np.nan),
    "inf.npy": np.full((8, 8), np.inf),
    "zero.npy": np.zeros((8, 8)),
    "folder.npy": "folder",
}
OF_KEY = {
    ("inpainting", "mask"): {
        "some_nan.npy": np.diag(np.full(8, np.nan)) + 1,
        "complex.npy": MASK + 0j,
        "many.npy": np.ones((5, 8, 8)),
    },
    ("mri", "mask"): {"complex.npy": MASK + 0j, "values.npy": MASK * 0.5, "many.npy": np.ones((5, 8, 8))},
    ("mri", "coils"): {"real.npy": np.ones((1, 8, 8)), "nan.npy": np.full((1, 8, 8), np.nan + 0j)},
    ("blur", "kernel"): {"complex.npy": MASK + 0j, "sums.npy": np.array([[1.0, -1.0]]), "large.npy": np.ones((99, 99))},
    ("super_resolution", "kernel"): {"complex.npy": MASK + 0j, "sums.npy": np.array([[1.0, -1.0]])},
    ("tomography", "angles"): {"complex.npy": np.zeros(8) + 0j, "nan.npy": np.full(8, np.nan)},
    ("interferometry", "stations"): {
        "one.txt": b"A 1 2 3 4\n",
        "twice.txt": b"A 1 2 3 4\nA 1 2 3 4\n",
        "nan.txt": b"A 1 2 3 4\nB nan 2 3 4\n",
        "negative.txt": b"A 1 2 3 4\nB 1 2 3 -4\n",
        "binary.txt": bytes(range(256)),
    },
    ("interferometry", "uvfits"): {"empty.uvfits": b"", "text.uvfits": b"text" * 999},
    ("cryoem", "table"): {
        "empty.csv": b"",
        "names.csv": b"defocus_u\n",
        "other.csv": b"a,b\n1,2\n",
        "text.csv": b"defocus_u\n" + b"x\n" * 3,
        "nan.csv": b"defocus_u\n" + b"nan\n" * 3,
        "rows.csv": b"defocus_u\n1\n",
        "uneven.csv": b"defocus_u,cs\n1\n1,2\n3,4,5\n",
        "binary.csv": bytes(range(256)),
        "empty.star": b"",
        "text.star": b"text",
        "binary.star": bytes(range(256)),
        "loop.star": b"data_\n\nloop_\n_rlnDefocusU #1\n",
        "quote.csv": b'defocus_u\n"1\n',
    },
}
WRONG = [(*where, name) for where, own in OF_KEY.items() for name in {**FILES, **own}]
WRONG = [case for case in WRONG if case[1:] != ("kernel", "shape.npy")]  # a kernel may have any


def put(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder" if isinstance(content, str) else False:
        path.mkdir()
    elif content is not None:
        np.save(path, content, allow_pickle=True)


def described(kind, key, path):
    """The system whose `key` names `path`, for three measurements of shape (C, 8, 8)."""
    own = {name: value for name, value in SYSTEMS[kind].items() if name not in ("coils", "std", "table")}
    own |= {"track": {**own["track"], "stations": str(path)}} if key == "stations" else {key: str(path)}
    if key == "uvfits":
        del own["track"]
    if key == "coils":
        np.save(path.parent / "good.npy", MASK * (np.arange(8) % 2))
        own["mask"] = str(path.parent / "good.npy")
    config = parse_config({"data": {"path": "x"}, "operator": {"kind": kind, **own}}, "test")
    return build_operator(config.operator, (2 if kind == "mri" else 1, 8, 8), 3)


@pytest.mark.parametrize(("kind", "key", "name"), WRONG)
def test_files_that_do_not_describe_a_system(kind, key, name, tmp_path):
    put(tmp_path / name, {**FILES, **OF_KEY[kind, key]}[name])
    with pytest.raises(UnveilError) as caught:
        described(kind, key, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).strip()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run before training, with a record of each kind."""
    folder = tmp_path_factory.mktemp("run")
    save_image(folder / "data.npy", torch.rand(1, 40, 40))
    config = parse_config({"data": {"path": str(folder / "data.npy")}, "noise": {"sigma": 0.1}}, "test")
    run = create_run(folder / "run", config)
    (run.folder / "sampler.json").write_text('{"inflation": 0.5}\n')
    (run.folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
    (run.folder / "evaluation.json").write_text(
        json.dumps({"images": [{"name": "a", "psnr_mmse": 30.5}], "mean": {"psnr_mmse": 30.5}})
    )
    return run


READERS = {
    "run.json": open_run,
    "config.yaml": open_run,
    "sampler.json": read_inflation,
    "metrics.jsonl": read_metrics,
    "evaluation.json": read_evaluation,
}


@pytest.mark.parametrize("name", READERS)
def test_records_with_bytes_changed_or_cut_off(name, run):
    path = run.folder / name
    content = path.read_bytes()
    READERS[name](run.folder)

    @some
    @given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.none() | st.integers(0, 2000))
    def test(changes, cut):
        damaged = bytearray(content)
        for place, value in changes:
            damaged[place % len(damaged)] = value
        path.write_bytes(damaged[:cut])
        one_line_or_result(lambda: READERS[name](run.folder), run.folder)

    try:
        test()
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith("json")])
def test_records_with_any_value_of_any_key(name, run):
    path = run.folder / name
    content = path.read_text()
    record = json.loads(content)

    @some
    @given(st.sampled_from(sorted(record)), values)
    def test(key, value):
        path.write_text(json.dumps({**record, key: value}), encoding="utf-8", errors="surrogatepass")
        one_line_or_result(lambda: READERS[name](run.folder), run.folder)

    try:
        for text in (
            "",
            "null",
            "[]",
            "3",
            "{}",
            "[" * 10**5,
            '{"a": ' * 10**5,
            "9" * 5000,
            "NaN",
            '{"format": 1e400}',
        ):
            path.write_text(text)
            with pytest.raises(UnveilError):
                READERS[name](run.folder)
        test()
    finally:
        path.write_text(content)


@pytest.mark.parametrize("sigma", [0, -0.1, "nan", None, True, 1e400])
def test_a_noise_level_that_is_none(sigma, run):
    path = run.folder / "run.json"
    content = path.read_text()
    record = {key: value for key, value in json.loads(content).items() if key != "sha256"}
    path.write_text(json.dumps({**record, "noise": {"kind": "gaussian", "sigma": sigma}}))
    try:
        with pytest.raises(UnveilError, match=r"run.json: "):
            open_run(run.folder)
    finally:
        path.write_text(content)
