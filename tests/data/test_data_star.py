"""Tables of RELION for results: all is kept to the letter but the images' names."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from unveil.cli.batch import Layer
from unveil.cli.tables import result_tables
from unveil.config import parse_config
from unveil.data import open_images
from unveil.data.like import Target
from unveil.data.star import image_names, with_image_names
from unveil.errors import UnveilError
from unveil.instruments.cryoem import CryoEMSection
from unveil.instruments.cryoem.ctf_table import read_ctf_table
from unveil.instruments.cryoem.inside import complete
from unveil.instruments.registry import build_operator

TABLE = """# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnVoltage #2
1 300.0

# version 30001

data_particles

loop_ 
_rlnCoordinateX #1
_rlnImageName #2
_rlnMicrographName #3
  10.50   000001@Extract/a.mrcs   'a b.mrc'
# taken later
  3.25\t000002@Extract/a.mrcs   "c"
  -1      000001@Extract/b.mrcs   d

"""


def test_names_are_replaced_and_nothing_else():
    assert image_names(TABLE) == ["000001@Extract/a.mrcs", "000002@Extract/a.mrcs", "000001@Extract/b.mrcs"]
    new = with_image_names(TABLE, ["1@x.mrcs", "2@x.mrcs", '"1@y z.mrcs"'])
    assert image_names(new) == ["1@x.mrcs", "2@x.mrcs", '"1@y z.mrcs"']
    assert with_image_names(new, image_names(TABLE)) == TABLE
    assert image_names(TABLE.replace("_rlnImageName", "_rlnOther")) == []
    with pytest.raises(ValueError, match="shorter"):
        with_image_names(TABLE, ["1@x.mrcs"])


def config(table):
    return parse_config({"data": {"path": "x"}, "operator": {"kind": "cryoem", "table": str(table)}}, "test")


def test_the_table_of_each_layer_names_its_stacks(tmp_path):
    (tmp_path / "p.star").write_text(TABLE)
    targets = [Target("a", ".mrcs", (0, 1), None), Target("b", ".mrcs", (2,), None)]
    layers = [Layer("sample_000"), Layer("mean"), Layer("deviation", spread=True)]
    tables = result_tables(config(tmp_path / "p.star"), targets, layers, Path("out"))
    assert list(tables) == ["p/sample_000.star", "p/mean.star"]
    names = ["000001@out/a/mean.mrcs", "000002@out/a/mean.mrcs", "000001@out/b/mean.mrcs"]
    assert image_names(tables["p/mean.star"]) == names
    assert image_names(result_tables(config(tmp_path / "p.star"), targets, [Layer()], tmp_path)["p.star"])[2] == (
        f"000001@{tmp_path}/b.mrcs"
    )
    pages = [Target("a", ".tif", (0, 1, 2), None)]
    assert result_tables(config(tmp_path / "p.star"), pages, layers, tmp_path) == {}


def test_pixel_size_before_relion_3_1(tmp_path):
    (tmp_path / "p.star").write_text(
        "data_\n\nloop_\n_rlnDefocusU #1\n_rlnMagnification #2\n_rlnDetectorPixelSize #3\n10000 38168 5\n9000 50000 5\n"
    )
    table = read_ctf_table(str(tmp_path / "p.star"), "operator.table")
    assert table["pixel_size"].tolist() == pytest.approx([1.30999, 1.0], rel=1e-5)


# --- as data


def project(folder, rows=("2@Extract/a.mrcs", "3@Extract/a.mrcs", "1@b.mrc")):
    """A project with stacks of three and one image, and a table in a folder of it that names some of them."""
    stacks = np.random.default_rng(0).normal(size=(4, 6, 8)).astype(np.float32)
    (folder / "Extract" / "job1").mkdir(parents=True)
    mrcfile.write(folder / "Extract" / "a.mrcs", stacks[:3])
    mrcfile.write(folder / "b.mrc", stacks[3])
    table = folder / "Extract" / "job1" / "p.star"
    table.write_text(
        "data_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n" + "".join(f"{r} 1.5e4\n" for r in rows)
    )
    return table, stacks


def test_a_table_is_the_images_that_it_names(tmp_path):
    table, stacks = project(tmp_path)
    source = open_images(table)
    assert len(source) == 3
    np.testing.assert_array_equal([source.read(i)[0] for i in range(3)], stacks[[1, 2, 3]])
    np.testing.assert_array_equal(source.read(1, (1, 2, 3, 4))[0], stacks[2, 1:4, 2:6])
    assert [source.file(i).name for i in range(3)] == ["a.mrcs", "a.mrcs", "b.mrc"]
    assert len({source.name(i) for i in range(3)}) == 3
    whole = open_images(project(tmp_path / "whole", [f"{k}@Extract/a.mrcs" for k in (1, 2, 3)])[0])
    np.testing.assert_array_equal([whole.read(i)[0] for i in range(3)], stacks[:3])


def test_a_table_among_stacks_is_none_of_them(tmp_path):
    table, _ = project(tmp_path)
    (tmp_path / "p.star").write_bytes(table.read_bytes())
    assert len(open_images(tmp_path)) == 1  # b.mrc


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["4@Extract/a.mrcs"], "names image 4 of .*a.mrcs, which has 3"),
        (["0@Extract/a.mrcs"], "names image 0 of"),
        (["1@Extract/a.mrcs", "b.mrc", "2@Extract/a.mrcs"], "rows of Extract/a.mrcs do not follow one another"),
        (["1@Extract/c.mrcs"], "names Extract/c.mrcs, which is not there"),
        (["1@../secret.mrcs"], "outside of its project"),
        (["1@/etc/secret.mrcs"], "outside of its project"),
        (["x@Extract/a.mrcs"], "must be number@stack"),
        ([], "names no images"),
    ],
)
def test_tables_that_are_refused(rows, words, tmp_path):
    with pytest.raises(UnveilError, match=words) as caught:
        open_images(project(tmp_path, rows)[0])
    assert "\n" not in str(caught.value)


def test_a_table_names_the_particles_and_their_optics(tmp_path):
    """init needs no more than the table, and each particle has the defocus of its row."""
    table, _ = project(tmp_path)
    text = table.read_text().replace("3@Extract/a.mrcs 1.5e4", "3@Extract/a.mrcs 2.5e4")
    table.write_text(text)
    found = complete({}, str(table))
    assert found["table"][0] == str(table)
    assert complete({"table": "x.star"}, str(table)) == {}
    section = CryoEMSection(table=found["table"][0], pixel_size=2.0, voltage=300, cs=2.7, amplitude_contrast=0.1)
    source = open_images(table)
    operator = build_operator(section, source.shape(0), len(source))
    assert operator.parameters[:, operator.names.index("defocus_u")].tolist() == [1.5e4, 2.5e4, 1.5e4]
