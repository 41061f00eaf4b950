"""Paths of a configuration: relative to its file, the same from every working directory."""

import pytest
import yaml

from unveil.config import Config, parse_config
from unveil.config_file import load_config, located, to_yaml
from unveil.paths import path_keys

VALUES = {
    "data": {"path": "../images"},
    "operator": {
        "kind": "interferometry",
        "pixels": 8,
        "field_of_view": 1,
        "track": {
            "stations": "eht.txt",
            "right_ascension": 1,
            "declination": 1,
            "frequency": 1,
            "start": 1,
            "stop": 2,
            "cadence": 1,
            "bandwidth": 1,
            "integration": 1,
        },
    },
}


def paths(config):
    return config.data.path, config.operator.track.stations


@pytest.fixture
def written(tmp_path):
    """a/unveil.yaml, which names images/ and a/eht.txt."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "unveil.yaml").write_text(yaml.safe_dump(VALUES))
    return tmp_path / "a" / "unveil.yaml"


@pytest.mark.parametrize("where", [".", "a", "b/c"])
def test_paths_are_relative_to_the_file(where, written, tmp_path, monkeypatch):
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / where)
    config = load_config(written, ["operator.kind=interferometry"])
    found = [(tmp_path / where / path).resolve() for path in paths(config)]
    assert found == [tmp_path / "images", tmp_path / "a" / "eht.txt"]


def test_overrides_are_relative_to_the_working_directory(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(written, ["data.path=mine", "operator.track.stations=b/mine.txt"])
    assert paths(config) == ("mine", "b/mine.txt")
    assert paths(load_config(written, ["data.path=mine"])) == ("mine", "a/eht.txt")


def test_what_is_written_is_relative_to_where_it_lies(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(written)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    kept = tmp_path / "runs" / "one" / "config.yaml"
    kept.write_text(to_yaml(config, kept.parent))
    assert "  path: ../../images  #" in kept.read_text()
    assert load_config(kept) == config
    monkeypatch.chdir(tmp_path / "runs")
    assert load_config(kept) == load_config(written)
    assert paths(load_config(kept)) == ("../images", "../a/eht.txt")


def test_a_folder_behind_a_link_is_where_it_is(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "run").symlink_to(tmp_path / "far" / "away")
    config = load_config(written)
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(config, tmp_path / "run"))
    assert load_config(tmp_path / "far" / "away" / "config.yaml") == config
    assert load_config(tmp_path / "run" / "config.yaml") == config


def test_absolute_paths_stay(tmp_path):
    config = parse_config({"data": {"path": str(tmp_path / "images")}}, "here")
    (tmp_path / "c.yaml").write_text(to_yaml(config, tmp_path))
    assert f"  path: {tmp_path / 'images'}  #" in (tmp_path / "c.yaml").read_text()
    assert load_config(tmp_path / "c.yaml") == config


def test_the_same_data_are_the_same_however_they_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["images", "./images/", "a/../images", str(tmp_path / "images")]
    configs = [located(parse_config({"data": {"path": name}}, "here")) for name in names]
    assert all(config == configs[0] for config in configs)


def test_every_key_that_names_a_file_is_a_path():
    assert path_keys(Config) >= {
        ("data", "path"),
        *(("operator", key) for key in ("mask", "coils", "kernel", "angles", "uvfits", "table")),
        ("operator", "track", "stations"),
    }
