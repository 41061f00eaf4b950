"""Fourier shells of volumes: the correlation is S / (S + N), shell by shell, with slices farther apart than pixels."""

import math

import mrcfile
import numpy as np
import pytest
import tifffile
import torch
import zarr
from torch import nn

from unveil.config import SamplingConfig
from unveil.data import open_images
from unveil.data.depth import Place, groups, places
from unveil.dataset import Dataset
from unveil.evaluation import evaluate
from unveil.evaluation.evidence import Evidence
from unveil.evaluation.fields import Subject
from unveil.evaluation.fields.shells import Shells
from unveil.evaluation.rings import _numbers, _sum, _transform
from unveil.instruments.instrument import ImageUnits
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator

SHAPE, STEP, SIGMA, CUT = (24, 48, 48), 2.0, 0.05, 0.2
"""Slices, rows, columns; slices are two pixels apart. CUT: as `field` says."""


def field():
    """A Gaussian field, of power exp(-k / CUT)^8 over that of white noise of deviation 1, k in cycles per pixel."""
    parts = [torch.fft.fftfreq(n, d, dtype=torch.double) for n, d in zip(SHAPE, (STEP, 1.0, 1.0))]
    k = torch.stack(torch.meshgrid(*parts, indexing="ij")).square().sum(0).sqrt()
    white = torch.randn(SHAPE, generator=make_generator("cpu", 1), dtype=torch.double)
    return torch.fft.ifftn(torch.fft.fftn(white) * torch.exp(-4 * k / CUT)).real.float() + 0.5


def kept(f, step=STEP, order=range(SHAPE[0])):
    x, found = field(), {}
    for k in order:
        generator = make_generator("cpu", 2, k)
        m = Measurement(Gaussian(SIGMA).sample(x[k][None, None], generator), Identity(), Gaussian(SIGMA))
        place = Place("a.tif", k, SHAPE[0], step, 0.1, "µm")
        found[str(k)] = Shells().look(Subject(f, m, f(m), None, generator, place=place))
    return found


def test_the_correlation_is_that_of_the_signal_and_the_noise():
    found = Shells().found(kept(lambda m: m.y))
    values, raw = found.values, torch.tensor(found.values["raw"], dtype=torch.double)
    n, sides = len(raw), (STEP, 1.0, 1.0)
    x = field()[None, None]
    number, ones = _numbers(x, n, sides), torch.ones(SHAPE, dtype=torch.double)
    power, count = (_sum(number, n, part) for part in (_transform(x, 3).abs().square(), ones))
    window = math.prod(float(torch.hann_window(side, False).square().sum()) for side in SHAPE)
    expected = power / (power + 2 * SIGMA**2 * window * count)
    se = (1 - expected.square()) / (count / 1.5**3).sqrt()
    z = (raw - expected) / se
    assert 0.5 < float(z[1:].square().mean()) ** 0.5 < 1.6
    cubes = torch.tensor(Shells().found(kept(lambda m: m.y, None)).values["raw"], dtype=torch.double)
    assert float((cubes[: n // 2] - expected[: n // 2]).abs().max()) > 5 * float(se[: n // 2].max()), "the step is seen"
    # S / (2 SIGMA^2) = exp(-8 k / CUT) / (2 SIGMA^2) is 1/6 where the correlation is 1/7
    at = 1 / (CUT / 8 * math.log(6 / (2 * SIGMA**2)))
    assert values["pixels"]["raw_seventh"] == pytest.approx(at, rel=0.06)
    assert f"as measured, half-bit: {0.1 * values['pixels']['raw_half_bit']:.3g} µm" in found.said
    assert values["step"] == STEP


def test_only_whole_volumes_in_any_order():
    every = kept(lambda m: m.y)
    backwards = dict(reversed(every.items()))
    assert Shells().found(backwards).values["raw"] == Shells().found(every).values["raw"]
    every.pop("7")
    assert Shells().found(every) is None
    assert Shells().found({}) is None
    m = Measurement(torch.rand(1, 1, 48, 48), Identity(), Gaussian(SIGMA))
    assert Shells().look(Subject(lambda m: m.y, m, m.y, None, make_generator("cpu", 0))) is None


def write(path, axes, shape, **metadata):
    values = np.random.default_rng(0).normal(0.5, 0.1, shape).astype("float32")
    resolution = {"resolution": (4, 4)} if metadata else {}
    tifffile.imwrite(path, values, imagej=bool(metadata), metadata={"axes": axes, **metadata}, **resolution)
    return open_images(path)


def test_what_a_file_calls_a_depth_is_one(tmp_path):
    source = write(tmp_path / "z.tif", "ZYX", (9, 40, 40), spacing=0.5, unit="um")
    assert places(source)[3] == Place("z.tif", 3, 9, 2.0, 0.25, "µm")
    both = places(write(tmp_path / "tz.tif", "TZYX", (2, 9, 40, 40), spacing=1, unit="um"))
    assert [both[k].volume for k in (8, 9)] == ["tz.tif T0", "tz.tif T1"]
    assert (both[9].number, both[9].step) == (0, 4.0)
    assert places(write(tmp_path / "t.tif", "TYX", (9, 40, 40), unit="um")) == {}
    assert places(write(tmp_path / "q.tif", "QYX", (9, 40, 40))) == {}
    assert places(source.subset(range(5))) == {}
    ome = tmp_path / "s.ome.tif"
    said = {"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": 0.3,
            "PhysicalSizeZUnit": "µm"}  # fmt: skip
    tifffile.imwrite(ome, np.zeros((9, 40, 40), "uint16"), ome=True, metadata=said)
    assert places(open_images(ome))[8] == Place("s.ome.tif", 8, 9, pytest.approx(3.0), 0.1, "µm")


@pytest.mark.parametrize(
    ("sizes", "step"),
    [
        ({"X": (0.1, "µm"), "Z": (300.0, "nm")}, 3.0),
        ({"X": (100.0, "nm"), "Z": (0.3, None)}, 3.0),  # OME's unit, where none is stated, is the micrometre
        ({"X": (0.1, None), "Z": (3000.0, "Å")}, 3.0),
        ({"X": (2.0, "pixel"), "Z": (3.0, "pixel")}, 1.5),
        ({"X": (2.0, "pixel"), "Z": (3.0, "nm")}, None),
        ({"X": (2.0, "reference frame"), "Z": (3.0, "nm")}, None),
    ],
)
def test_depth_and_width_have_units_of_their_own(tmp_path, sizes, step):
    said = {f"PhysicalSize{axis}": size for axis, (size, _) in sizes.items()}
    said |= {f"PhysicalSize{axis}Unit": unit for axis, (_, unit) in sizes.items() if unit}
    tifffile.imwrite(tmp_path / "s.ome.tif", VOLUME, ome=True, metadata={"axes": "ZYX", **said})
    assert places(open_images(tmp_path / "s.ome.tif"))[8].step == (step and pytest.approx(step))


def test_depth_and_width_have_units_of_their_own_in_imagej(tmp_path):
    source = write(tmp_path / "z.tif", "ZYX", (9, 40, 40), spacing=500, unit="\\u00B5m", zunit="nm")
    assert places(source)[3] == Place("z.tif", 3, 9, pytest.approx(2.0), 0.25, "µm")
    unknown = write(tmp_path / "u.tif", "ZYX", (9, 40, 40), spacing=500, unit="um", zunit="sections")
    assert places(unknown)[3].step is None


VOLUME = np.random.default_rng(0).normal(0.5, 0.1, (9, 40, 40)).astype("float32")


def mrc(path, values, kind):
    with mrcfile.new(path) as file:
        file.set_data(values)
        if kind == "images":
            file.set_image_stack()
        file.voxel_size = (2.0, 2.0, 5.0)
    return open_images(path)


def test_volumes_of_mrc(tmp_path):
    found = places(mrc(tmp_path / "v.mrc", VOLUME, "volume"))
    assert found[8] == Place("v.mrc", 8, 9, 2.5, 2.0, "Å")
    assert places(mrc(tmp_path / "i.mrc", VOLUME, "images")) == {}
    assert places(mrc(tmp_path / "v.mrcs", VOLUME, "volume")) == {}, "particles, as RELION writes them"
    several = places(mrc(tmp_path / "s.mrc", np.stack([VOLUME, VOLUME]), "volumes"))
    assert [several[k] for k in (8, 9)] == [
        Place("s.mrc N0", 8, 9, 2.5, 2.0, "Å"),
        Place("s.mrc N1", 0, 9, 2.5, 2.0, "Å"),
    ]


@pytest.mark.parametrize("version", [2, 3])
def test_volumes_of_ome_zarr(tmp_path, version):
    def stored(name, axes, values, z=(0.5, "micrometer")):
        group = zarr.open_group(tmp_path / name, mode="w", zarr_format=version)
        group.create_array("0", shape=values.shape, dtype=values.dtype, chunks=values.shape)[...] = values
        kinds = {"t": "time", "c": "channel"}
        units = {"z": {"unit": z[1]}, "y": {"unit": "micrometer"}, "x": {"unit": "micrometer"}}
        named = [{"name": a, "type": kinds.get(a, "space")} | units.get(a, {}) for a in axes]
        sides = {"z": z[0], "y": 0.25, "x": 0.25}
        level = {
            "path": "0",
            "coordinateTransformations": [{"type": "scale", "scale": [sides.get(a, 1) for a in axes]}],
        }
        images = [{"version": "0.4", "axes": named, "datasets": [level]}]
        group.attrs.update({"ome": {"version": "0.5", "multiscales": images}} if version == 3 else
                           {"multiscales": images})  # fmt: skip
        return places(open_images(tmp_path / name))

    assert stored("z.zarr", "zyx", VOLUME)[8] == Place("z.zarr", 8, 9, 2.0, 0.25, "µm")
    both = stored("tcz.zarr", "tczyx", np.stack([VOLUME, VOLUME])[:, None])
    assert [(both[k].volume, both[k].number) for k in (8, 9)] == [("tcz.zarr T0", 8), ("tcz.zarr T1", 0)]
    assert stored("t.zarr", "tyx", VOLUME) == {}
    fine = stored("n.zarr", "zyx", VOLUME, (500, "nanometer"))
    assert fine[8] == Place("n.zarr", 8, 9, pytest.approx(2.0), 0.25, "µm")
    assert stored("u.zarr", "zyx", VOLUME, (500, "section"))[8].step is None


def test_shells_of_a_volume_of_mrc(tmp_path):
    source = mrc(tmp_path / "v.mrc", VOLUME, "volume")
    evidence = Evidence([0.0] * 9, True, lambda name: ImageUnits())
    list(evidence(evaluate(Same(), Dataset(source, Identity(), Gaussian(0.1)), SamplingConfig(), sampled=0)))
    found = evidence.record(True)["figures"]["shells"]
    assert (found["values"]["slices"], found["values"]["step"], found["values"]["unit"]) == (9, 2.5, "Å")
    assert "slices are 2.5 pixels apart" in found["detail"]


def test_slices_of_one_volume_and_images_of_one_file_belong_together(tmp_path):
    two = [mrc(tmp_path / f"{name}.mrc", VOLUME, "volume") for name in "ab"]
    assert set(groups(two[0], places(two[0]))) == {"a.mrc"}
    folder = open_images(tmp_path)
    assert sorted({*groups(folder, places(folder))}) == [str(tmp_path / "a.mrc"), str(tmp_path / "b.mrc")]
    np.save(tmp_path / "n.npy", VOLUME)
    alone = open_images(tmp_path / "n.npy")
    assert groups(alone, places(alone)) == [""] * 9
    evidence = Evidence([0.0] * 4, True, lambda name: ImageUnits())
    list(evidence(evaluate(Same(), Dataset(folder.subset([0, 1, 9, 10]), Identity(), Gaussian(0.1)), SamplingConfig(),
                           sampled=0)))  # fmt: skip
    record = evidence.record(True)
    mean = record["error"]["mean"]
    assert (mean["images"], mean["groups"]) == (4, 2)
    assert math.isnan(mean["next_low"])
    assert record["conformal"]["bounds"][0]["level_se"] >= (0.25 / 4) ** 0.5


class Same(nn.Module):
    def forward(self, m):
        return 0.9 * m.y


def test_evaluate_tells_it_of_a_stack(tmp_path):
    source = write(tmp_path / "z.tif", "ZYX", (8, 32, 32), spacing=0.5, unit="um")
    data = Dataset(source, Identity(), Gaussian(0.1))
    evidence = Evidence([0.0] * 8, True, lambda name: ImageUnits())
    assert len([*evidence(evaluate(Same(), data, SamplingConfig(), sampled=0))]) == 8
    assert evidence.record(False)["not_valid"].count("shells") == 1
    assert evidence.record(True)["figures"]["shells"]["values"]["slices"] == 8
    assert evidence.lines(False)[-1].startswith("Fourier shells of 1 volume: resolved periods")
