"""Maps of noise parameters as a configuration names them: read, put on the data's scale, refused in one line."""

import h5py
import numpy as np
import pytest
import tifffile
import torch

from unveil.config import parse_config
from unveil.data import MemorySource, open_images
from unveil.errors import UnveilError
from unveil.noise import Gaussian, PoissonGaussian
from unveil.operators import Identity
from unveil.paths import from_folder, moved
from unveil.runs.noise import find_noise, noise_of, recorded
from unveil.training.setup import open_source, with_gaps

SIDES = (12, 16)
R = np.random.default_rng(0)
MAPS = {"gain": R.uniform(1.5, 2.5, SIDES), "read": R.uniform(1, 20, SIDES), "offset": R.uniform(90, 110, SIDES)}


def config(path, noise, **data):
    return parse_config({"data": {"path": str(path), **data}, "noise": noise}, "test")


@pytest.fixture
def folder(tmp_path):
    """Two images of 16 bits, and the maps, each in another format."""
    (tmp_path / "y").mkdir()
    for i in range(2):
        tifffile.imwrite(tmp_path / "y" / f"{i}.tif", R.integers(100, 4000, SIDES).astype("uint16"))
    tifffile.imwrite(tmp_path / "gain.tif", MAPS["gain"].astype("float32"))
    np.save(tmp_path / "read.npy", MAPS["read"])
    with h5py.File(tmp_path / "maps.h5", "w") as file:
        file["offset"], file["other"] = MAPS["offset"], MAPS["gain"]
    return tmp_path


def stated(folder, **changes):
    noise = {"gain": folder / "gain.tif", "read": folder / "read.npy", "offset": f"{folder / 'maps.h5'}:offset"}
    return {"kind": "poisson-gaussian", **{name: str(value) for name, value in (noise | changes).items()}}


def test_maps_of_any_format_are_in_the_numbers_of_the_files(folder):
    source = open_images(folder / "y")
    noise = find_noise(config(folder / "y", stated(folder)), source, Identity())
    own = {name: torch.from_numpy(values)[None, None].float() for name, values in MAPS.items()}
    expected = PoissonGaussian(**own).scaled(1 / 65535)
    u = torch.full((1, 1, *SIDES), 0.01)
    torch.testing.assert_close(noise.variance(u), expected.variance(u), rtol=1e-4, atol=0)
    one = find_noise(config(folder / "y", stated(folder, gain=2, offset="1e2")), source, Identity())
    assert (one.gain.ndim, one.read.ndim, one.offset.ndim) == (0, 4, 0)
    torch.testing.assert_close(one.offset, torch.tensor(100 / 65535))
    shifted = config(folder / "y", stated(folder), value_range=[50, 1050])
    torch.testing.assert_close(
        find_noise(shifted, open_source(shifted), Identity()).offset, (own["offset"] - 50) / 1000, rtol=1e-4, atol=1e-6
    )
    level = find_noise(config(folder / "y", {"sigma": str(folder / "read.npy")}), source, Identity())
    assert isinstance(level, Gaussian)
    torch.testing.assert_close(level.sigma, own["read"] / 65535)


def test_images_are_read_without_the_pattern_and_saturated_ones_as_they_were(folder):
    here = config(folder / "y", stated(folder), saturated=3000)
    raw, source = open_images(folder / "y").read(1) * 65535, open_source(here)
    gain, offset = (np.float32(MAPS[name]) for name in ("gain", "offset"))
    middle = [float(torch.from_numpy(values).median()) for values in (gain, offset)]
    expected = (raw - torch.from_numpy(offset)) * middle[0] / torch.from_numpy(gain) + middle[1]
    torch.testing.assert_close(source.read(1) * 65535, expected, rtol=1e-4, atol=0.1)
    torch.testing.assert_close(source.read(1, (2, 3, 5, 7)), source.read(1)[:, 2:7, 3:10])
    assert torch.equal(with_gaps(here, source).read(1).isnan(), raw >= 3000)
    assert torch.equal(with_gaps(here, source).read(1, (2, 3, 5, 7)).isnan(), (raw >= 3000)[:, 2:7, 3:10])
    noise = noise_of(find_noise(here, source, Identity()), source)
    assert (noise.gain.ndim, noise.offset.ndim) == (0, 0)
    torch.testing.assert_close(
        noise.read * 65535, torch.from_numpy(np.float32(MAPS["read"]) * middle[0] / gain)[None, None]
    )
    assert recorded(noise)["read"].keys() == {"shape", "sha256"}


def wrong(values):
    changed = MAPS["read"].copy()
    changed[3, 4] = values
    return changed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (MAPS["read"].T, "it has 16x12 pixels"),
        (np.stack([MAPS["read"]] * 5), "it holds 5 images"),
        (np.stack([MAPS["read"]] * 3, 2), "give one map"),
        (wrong(np.nan), "contains NaN"),
        (wrong(-1), "1 of its 192 values are not > 0, -1 the first"),
        (wrong(0), "1 of its 192 values are not > 0, 0 the first"),
        (None, "does not exist"),
    ],
)
def test_wrong_maps_are_refused_in_one_line(folder, values, words):
    path = folder / "wrong.npy"
    if values is not None:
        np.save(path, values)
    for noise in (stated(folder, read=path), {"sigma": str(path)}):
        here = config(folder / "y", noise)
        with pytest.raises(UnveilError) as caught:
            find_noise(here, open_source(here), Identity())
        line = str(caught.value)
        assert "\n" not in line
        assert line.startswith(f"noise.{'sigma' if 'sigma' in noise else 'read'}: {path}: ")
        assert words in line
        assert "map of 12x16 pixels" in line


def test_an_offset_may_be_negative_and_images_are_of_one_size(folder):
    np.save(folder / "below.npy", -MAPS["offset"])
    here = config(folder / "y", stated(folder, offset=folder / "below.npy"))
    assert float(find_noise(here, open_source(here), Identity()).offset.max()) < 0
    tifffile.imwrite(folder / "y" / "2.tif", np.ones((12, 17), "uint16"))
    with pytest.raises(UnveilError, match=r"a map is of one size, and .*0.* has 12x16 pixels and .*2.* 12x17"):
        open_source(here)
    several = MemorySource({"a": torch.ones(1, *SIDES), "b": torch.ones(1, 9, 9)})
    with pytest.raises(UnveilError, match="a map is of one size"):
        find_noise(here, several, Identity())


def test_words_and_numbers_in_the_place_of_a_path_stay(tmp_path):
    change = from_folder(tmp_path)
    for noise in ({"kind": "correlated", "kernel": "estimate"}, {"sigma": "estimate"}, {"sigma": "1e-2"}):
        values = {"data": {"path": "y"}, "noise": noise}
        assert moved(values, type(config("y", {})), change)["noise"] == noise
    maps = moved({"noise": {"gain": "g.tif", "read": "2"}}, type(config("y", {})), change)["noise"]
    assert maps["read"] == "2"
    assert maps["gain"].endswith("g.tif")
    assert maps["gain"] != "g.tif"
