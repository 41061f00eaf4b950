"""OME-Zarr and other groups, and what a zarr folder may not do: run code, read elsewhere, promise more than it is."""

import json
import os
import pickle
import sys

import numpy as np
import pytest
import torch
import zarr

from unveil.data import open_images
from unveil.errors import UnveilError, UnveilWarning

RNG = np.random.default_rng(0)
V = RNG.normal(size=(2, 3, 4, 16, 20)).astype(np.float32)  # t, c, z, y, x
AXES = [{"name": n, "type": t} for n, t in zip("tczyx", ("time", "channel", "space", "space", "space"))]


def write_image(group, v, version, axes=AXES, levels=2):
    for level in range(levels):
        part = v[..., :: 2**level, :: 2**level]
        array = group.create_array(
            str(level), shape=part.shape, chunks=(*(1,) * (v.ndim - 2), *part.shape[-2:]), dtype="f4"
        )
        array[...] = part
    scales = {"axes": axes, "datasets": [{"path": str(level)} for level in range(levels)]}
    if axes is None:
        del scales["axes"]
    group.attrs.update(
        {"multiscales": [scales]} if version == 2 else {"ome": {"version": "0.5", "multiscales": [scales]}}
    )


def check_v(source, v=V):
    assert (len(source), source.shape(0)) == (8, (3, 16, 20))
    for i in range(8):
        np.testing.assert_array_equal(source.read(i), v[i // 4, :, i % 4])


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_is_read_at_level_0_by_its_axes(tmp_path, version):
    root = zarr.open_group(tmp_path / "x.ome.zarr", mode="w", zarr_format=version)
    write_image(root, V, version)
    labels = root.create_group("labels")
    labels.attrs.update({"labels": ["cells"]})
    write_image(labels.create_group("cells"), V[:, :1], version)
    for dataset in (None, "0", "/0/"):
        source = open_images(tmp_path / "x.ome.zarr", dataset=dataset)
        check_v(source)
    assert source.name(0) == "x.ome_0000"
    assert torch.equal(pickle.loads(pickle.dumps(source)).read(5, (1, 2, 3, 4)), source.read(5)[:, 1:4, 2:6])
    np.testing.assert_array_equal(open_images(tmp_path / "x.ome.zarr", dataset="1").read(5), V[1, :, 1, ::2, ::2])
    assert open_images(tmp_path / "x.ome.zarr", dataset="labels/cells").shape(0) == (1, 16, 20)
    assert len(open_images(tmp_path / "x.ome.zarr", axes="NNNHW")) == 24


@pytest.mark.parametrize("version", [2, 3])
def test_the_layout_of_bioformats2raw_and_plates(tmp_path, version):
    root = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=version)
    root.attrs.update({"bioformats2raw.layout": 3})
    root.create_group("OME").attrs.update({"series": ["0", "1"]})
    for k, v in (("0", V), ("1", -V)):
        write_image(root.create_group(k), v, version)
    source = open_images(tmp_path / "x.zarr")
    check_v(source.subset(range(8)))
    check_v(source.subset(range(8, 16)), -V)
    check_v(open_images(tmp_path / "x.zarr", dataset="1"), -V)
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=version)
    for k, well in enumerate(("A/10/0", "A/2/0")):
        write_image(plate.create_group(well), V[:1, :, :1] + k, version)
        write_image(plate.create_group(f"{well}/labels/0"), V, version)
    source = open_images(tmp_path / "plate.zarr")
    assert len(source) == 2
    np.testing.assert_array_equal(source.read(0), V[0, :, 0] + 1)  # well 2 before well 10


def test_older_ome_zarr_and_other_orders_of_axes(tmp_path):
    write_image(zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2), V, 2, None)
    check_v(open_images(tmp_path / "a.zarr"))
    write_image(zarr.open_group(tmp_path / "b.zarr", mode="w"), V[0, 0], 3, ["z", "x", "y"])
    np.testing.assert_array_equal(open_images(tmp_path / "b.zarr").read(1)[0], V[0, 0, 1].T)
    write_image(zarr.open_group(tmp_path / "c.zarr", mode="w"), V[0].swapaxes(0, 1), 3, ["z", "c", "y", "x"])
    np.testing.assert_array_equal(open_images(tmp_path / "c.zarr").read(1), V[0, :, 1])


def refused(path, *words, **arguments):
    with pytest.raises(UnveilError) as caught:
        open_images(path, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1200
    for word in (path.name, *words):
        assert str(word) in message, message


def metadata(folder, change=None):
    """The metadata of an array or group, changed in place by `change`, or replaced by text."""
    file = next(folder / name for name in ("zarr.json", ".zarray", ".zattrs", ".zgroup") if (folder / name).is_file())
    if isinstance(change, str):
        file.write_text(change)
    else:
        values = json.loads(file.read_text())
        change(values)
        file.write_text(json.dumps(values))


def array(path, version=3, **arguments):
    v = np.arange(3 * 8 * 8, dtype="f4").reshape(3, 8, 8)
    arguments = {"shape": v.shape, "chunks": (1, 4, 8), "dtype": "f4", **arguments}
    zarr.create_array(path, zarr_format=version, overwrite=True, **arguments)[...] = v[: arguments["shape"][0]]
    return path


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("place", ["compressor", "filters", "consolidated"])
def test_no_codec_runs_code(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    root = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    array(tmp_path / "x.zarr" / "a", 2, compressors=None)
    for file in (tmp_path / "x.zarr" / "a").glob("[0-9]*"):
        file.write_bytes(pickle.dumps(Attack()))
    codec = {"id": "pickle", "protocol": 5}
    if place == "consolidated":
        zarr.consolidate_metadata(root.store)
        content = json.loads((tmp_path / "x.zarr" / ".zmetadata").read_text())
        content["metadata"]["a/.zarray"]["compressor"] = codec
        (tmp_path / "x.zarr" / ".zmetadata").write_text(json.dumps(content))
        with pytest.raises(UnveilError, match="cannot be read"):  # as numbers
            open_images(tmp_path / "x.zarr").read(0)
    else:
        metadata(tmp_path / "x.zarr" / "a", lambda v: v.update({place: codec if place == "compressor" else [codec]}))
        refused(tmp_path / "x.zarr", "codec 'pickle'", "decode numbers")
        refused(tmp_path / "x.zarr" / "a", "codec 'pickle'")
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    "codec", ["numcodecs.pickle", "pickle", "vlen-utf8", {"name": "numcodecs.json2"}, {"name": 3}, None, {}]
)
def test_codecs_of_format_3(tmp_path, codec):
    named = isinstance(codec, str) or isinstance((codec or {}).get("name"), str)
    word = "which is not among those that only decode numbers" if named else "a codec without a name"
    path = array(tmp_path / "x.zarr", shards=(1, 8, 8))
    for place in ("codecs", "index_codecs"):
        metadata(array(path, shards=(1, 8, 8)), lambda v: v["codecs"][0]["configuration"][place].append(codec))  # noqa: B023
        refused(path, word)
    metadata(array(path), lambda v: v["codecs"].append(codec))
    refused(path, word)


@pytest.mark.parametrize("version", [2, 3])
def test_codecs_that_are_in_use(tmp_path, version):
    numcodecs = pytest.importorskip("numcodecs")
    chosen = {
        2: [
            numcodecs.Blosc(),
            numcodecs.Zlib(),
            numcodecs.GZip(),
            numcodecs.LZ4(),
            numcodecs.BZ2(),
            numcodecs.LZMA(),
            None,
        ],
        3: [zarr.codecs.BloscCodec(), zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec(), None],
    }
    for codec in chosen[version]:
        source = open_images(array(tmp_path / "x.zarr", version, compressors=codec))
        assert source.read(2)[0, 7, 7] == 191
    if version == 2:
        filters = [numcodecs.Delta(dtype="f4"), numcodecs.Shuffle()]
        assert open_images(array(tmp_path / "x.zarr", 2, filters=filters)).read(2)[0, 7, 7] == 191
    else:
        big = zarr.codecs.BytesCodec(endian="big")
        assert open_images(array(tmp_path / "x.zarr", serializer=big)).read(2)[0, 7, 7] == 191
        assert open_images(array(tmp_path / "x.zarr", shards=(3, 8, 8))).read(2)[0, 7, 7] == 191
    for separator in "./":
        encoding = {"name": "v2" if version == 2 else "default", "separator": separator}
        assert open_images(array(tmp_path / "x.zarr", version, chunk_key_encoding=encoding)).read(2)[0, 7, 7] == 191


def test_links_are_followed_within_the_folder_only(tmp_path):
    path = array(tmp_path / "x.zarr")
    chunk = path / "c" / "1" / "0" / "0"
    chunk.rename(path / "kept")
    chunk.symlink_to(path / "kept")
    assert open_images(path).read(1)[0, 0, 1] == 65
    (path / "kept").rename(tmp_path / "secret")
    chunk.unlink()
    chunk.symlink_to("../../../../secret")
    refused(path, tmp_path / "secret", "outside")
    array(path)
    (path / "c" / "2").rename(tmp_path / "two")
    (path / "c" / "2").symlink_to(tmp_path / "two")
    refused(path, tmp_path / "two", "outside")
    array(path)
    (path / "zarr.json").rename(tmp_path / "other.json")
    (path / "zarr.json").symlink_to(tmp_path / "other.json")
    refused(path, tmp_path / "other.json", "outside")


def test_linked_groups_and_circles(tmp_path):
    root = tmp_path / "x.zarr"
    zarr.open_group(root, mode="w")
    array(tmp_path / "away")
    (root / "b").symlink_to(tmp_path / "away")
    refused(root, tmp_path / "away", "outside")
    refused(root, tmp_path / "away", "outside", dataset="b")
    array(root / "a")
    (root / "circle").symlink_to(root)
    (root / "self").symlink_to("self")
    assert len(open_images(root)) == 3
    (tmp_path / "link.zarr").symlink_to(root)
    assert len(open_images(tmp_path / "link.zarr")) == 3


def test_chunks_that_are_missing(tmp_path):
    path = array(tmp_path / "x.zarr", fill_value=-1)
    (path / "c/1/0/0").unlink()
    with pytest.warns(UnveilWarning, match="1 of its 6 chunks were never written"):
        assert open_images(path).read(1)[0, :, 0].tolist() == [-1] * 4 + [96, 104, 112, 120]
    (path / "c/1/1/0").unlink()
    refused(path, "1 of its 3 images were never written", "image 1 first")
    for file in path.glob("c/*/*/*"):
        file.unlink()
    refused(path, "3 of its 3 images")


@pytest.mark.parametrize("version", [2, 3])
def test_declared_sizes(tmp_path, version):
    path = array(tmp_path / "x.zarr", version)
    metadata(path, lambda v: v.update(shape=[10**9, 8, 8]))
    refused(path, "1,000,000,000 images")
    metadata(array(path, version), lambda v: v.update(shape=[3, 10**7, 10**7]))
    refused(path, "an image of", "GiB")

    def coarse(values):
        if version == 2:
            values["chunks"] = [10**4, 10**4, 10**4]
        else:
            values["chunk_grid"]["configuration"]["chunk_shape"] = [10**4, 10**4, 10**4]

    metadata(array(path, version), coarse)
    refused(path, "a chunk of", "GiB")
    metadata(array(path, version), lambda v: v.update(shape=[3, 10**30, 8]))
    refused(path)


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "change",
    [
        "",
        "[]",
        "null",
        "{",
        DEEP,
        '{"a": ' * 100_000,
        '{"zarr_format": 3}',
        "\xff\xfe",
        '{"shape": ' + "9" * 5000 + "}",
        {"shape": None},
        {"shape": [3, -8, 8]},
        {"shape": [3, 8.0, 8]},
        {"shape": "388"},
        {"shape": [True, 8, 8]},
        {"shape": [8, 8]},
        {"shape": []},
        {"shape": [0, 8, 8]},
        {"shape": {}},
        {"chunks": [0, 4, 8], "chunk_grid": {}},
        {"chunk_grid": 3, "chunks": 3},
        {"chunk_grid": {"name": "regular", "configuration": []}, "chunks": None},
        {"data_type": "string", "dtype": "|O"},
        {"data_type": "r16", "dtype": "<U4"},
        {"data_type": {"name": "x"}, "dtype": {}},
        {"data_type": "bool", "dtype": "|b1"},
        {"data_type": None, "dtype": [["a", "<f4"], ["b", "<f4"]]},
        {"data_type": 3, "dtype": [["a", [["b", "<f4"]]]]},
        {"data_type": "float33", "dtype": "<f9"},
        {"codecs": None, "compressor": 3},
        {"codecs": "bytes", "filters": "x"},
        {"codecs": [[]], "filters": [[]]},
        {"fill_value": {}},
        {"fill_value": "text"},
        {"chunk_key_encoding": 3, "order": 3},
        {"zarr_format": 7},
    ],
    ids=lambda change: str(change)[:30],
)
@pytest.mark.parametrize("version", [2, 3])
def test_damaged_arrays(tmp_path, change, version):
    path = array(tmp_path / "x.zarr", version)
    metadata(path, change if isinstance(change, str) else lambda v: v.update(change))
    refused(path)


@pytest.mark.parametrize(
    "scales",
    [
        3,
        [],
        [3],
        [{}],
        [{"datasets": 3}],
        [{"datasets": [3]}],
        [{"datasets": [{"path": 3}]}],
        [{"datasets": [{"path": "../../x"}]}],
        [{"datasets": [{"path": "none"}]}],
        [{"datasets": [{"path": ""}]}],
    ],
    ids=str,
)
@pytest.mark.parametrize("version", [2, 3])
def test_damaged_ome_metadata(tmp_path, scales, version):
    root = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=version)
    write_image(root, V, version)
    root.attrs.update({"multiscales": scales} if version == 2 else {"ome": {"multiscales": scales}})
    refused(tmp_path / "x.zarr", "OME metadata", "--set data.dataset=NAME")
    refused(tmp_path / "x.zarr", "pass axes", dataset="0")
    assert len(open_images(tmp_path / "x.zarr", dataset="0", axes="NCNHW")) == 8


@pytest.mark.parametrize(
    "axes", [3, [3, {}, None, "y", "x"], ["t", "c", "z", "y"], ["x", "y", "x", "y", "t"], [[]] * 5]
)
def test_damaged_axes(tmp_path, axes):
    write_image(zarr.open_group(tmp_path / "x.zarr", mode="w"), V, 3, axes)
    if axes == [3, {}, None, "y", "x"]:
        assert len(open_images(tmp_path / "x.zarr")) == 24
    else:
        refused(tmp_path / "x.zarr", "pass axes")


def test_damaged_attributes_and_many_arrays(tmp_path):
    root = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    for k in range(12):
        root.create_array(f"a{k}", data=np.ones((4, 4), "f4"))
    refused(tmp_path / "x.zarr", "--set data.dataset=NAME", "pass dataset=NAME", "and 4 more")
    (tmp_path / "x.zarr" / "a1" / ".zattrs").write_text(DEEP)
    refused(tmp_path / "x.zarr", "a1", "nested too deeply", dataset="a1")
    (tmp_path / "x.zarr" / ".zattrs").write_text(DEEP)
    refused(tmp_path / "x.zarr", "nested too deeply")


def test_records_are_complex_numbers(tmp_path):
    v = np.zeros((3, 8, 8), [("real", "f4"), ("imag", "f4")])
    v["real"], v["imag"] = RNG.normal(size=(2, 3, 8, 8))
    zarr.create_array(tmp_path / "x.zarr", shape=v.shape, chunks=(1, 8, 8), dtype=v.dtype, zarr_format=2)[...] = v
    np.testing.assert_array_equal(open_images(tmp_path / "x.zarr").read(2), [v[2]["real"], v[2]["imag"]])


def test_a_chunk_cut_or_gone_while_it_is_open(tmp_path):
    path = array(tmp_path / "x.zarr")
    source = open_images(path)
    (path / "c/1/0/0").write_bytes(b"cut")
    with pytest.raises(UnveilError, match=r"x\.zarr \(image 1\) cannot be read"):
        source.read(1)


def test_zarr_is_not_loaded_before_the_codecs_are_looked_at(tmp_path, monkeypatch):
    path = array(tmp_path / "x.zarr", 2)
    metadata(path, lambda v: v.update(compressor={"id": "pickle"}))
    monkeypatch.setitem(sys.modules, "zarr", None)
    refused(path, "codec 'pickle'")
