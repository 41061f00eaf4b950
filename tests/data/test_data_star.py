"""Tables of RELION for results: all is kept to the letter but the images' names."""

from pathlib import Path

import pytest

from unveil.cli.batch import Layer
from unveil.cli.tables import result_tables
from unveil.config import parse_config
from unveil.data.like import Target
from unveil.data.star import image_names, with_image_names
from unveil.instruments.cryoem.ctf_table import read_ctf_table

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
