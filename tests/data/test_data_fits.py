"""FITS against the arrays that were written: scaled and unsigned numbers, cubes, extensions; results keep headers."""

import contextlib
import io
import sys

import numpy as np
import pytest
from astropy.io import fits
from test_data_medical import written

from unveil.cli import main
from unveil.data import Gaps, open_images
from unveil.data.made import Made
from unveil.data.pixel_size import pixel_size
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.noise import Gaussian
from unveil.operators import Identity

RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 60000, (3, 8, 9)).astype(np.uint16)
FLOATS = RNG.normal(size=(3, 8, 9)).astype(np.float32)


def sky(hdu):
    """A world coordinate system of .36 arcseconds a pixel."""
    said = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": -5.0, "CRPIX1": 4.0, "CRPIX2": 3.0}
    hdu.header.update({**said, "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4, "BUNIT": "adu"})
    return hdu


def call(*words):
    """(exit code, what was printed to stderr) of `unveil *words`."""
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(text):
        patch.setattr(sys, "argv", ["unveil", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
    return caught.value.code or 0, text.getvalue()


@pytest.mark.parametrize("name", ["c.fits", "c.fit", "c.fits.gz"])
def test_a_cube_of_unsigned_numbers(tmp_path, name):
    sky(fits.PrimaryHDU(COUNTS)).writeto(tmp_path / name)
    source = open_images(tmp_path / name)
    assert (len(source), source.shape(0), source.dtype(0), source.name(2)) == (3, (1, 8, 9), "uint16", "c_0002")
    np.testing.assert_allclose(source.read(2)[0], COUNTS[2] / 65535, rtol=1e-6)
    np.testing.assert_array_equal(source.read(1, (2, 3, 4, 5)), source.read(1)[:, 2:6, 3:8])
    assert pixel_size(tmp_path / name) == (pytest.approx(0.36), "arcsec")
    for dtype in (np.float32, np.uint16):
        (path,) = written(tmp_path / "out", source, lambda x: x + 2, dtype, Made("denoise"))
        assert path.name == "c.fits"
        with fits.open(path) as new:
            np.testing.assert_allclose(new[0].data, COUNTS + 2.0, rtol=1e-6)
            assert new[0].data.dtype.kind == np.dtype(dtype).kind
            assert "denoise" in str(new[0].header["HISTORY"])
            for key in ("CTYPE1", "CRVAL2", "CD1_1", "BUNIT"):
                assert new[0].header[key] == fits.getheader(tmp_path / name)[key]


def test_scaled_numbers(tmp_path):
    v = RNG.integers(-99, 99, (8, 9)).astype(np.int16)
    hdu = fits.PrimaryHDU(v)
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["DATAMAX"] = 0.5, 7.0, 55.0
    hdu.writeto(tmp_path / "s.fits")
    source = open_images(tmp_path / "s.fits")
    np.testing.assert_allclose(source.read(0)[0], 0.5 * v + 7)
    for dtype in (np.float32, np.int16):
        (path,) = written(tmp_path / "out", source, lambda x: x + 2, dtype)
        assert "DATAMAX" not in fits.getheader(path)
        np.testing.assert_allclose(fits.getdata(path), 0.5 * v + 9)
        assert fits.getheader(path)["BITPIX"] == (16 if dtype == np.int16 else -32)


def test_extensions(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0, 2.0])], name="T")
    hdus = [fits.PrimaryHDU(), sky(fits.ImageHDU(FLOATS[0], name="SCI", ver=1)), fits.ImageHDU(FLOATS[1], name="ERR")]
    hdus[0].header["TELESCOP"] = "HST"
    fits.HDUList([*hdus, fits.ImageHDU(FLOATS[2], name="SCI", ver=2), table]).writeto(tmp_path / "m.fits")
    source = open_images(tmp_path / "m.fits")
    np.testing.assert_array_equal([source.read(i)[0] for i in range(2)], FLOATS[[0, 2]])
    for dataset in ("err", "2", "ERR,1"):
        np.testing.assert_array_equal(open_images(tmp_path / "m.fits", dataset=dataset).read(0)[0], FLOATS[1])
    np.testing.assert_array_equal(open_images(tmp_path / "m.fits", dataset="sci,2").read(0)[0], FLOATS[2])
    with pytest.raises(UnveilError, match=r"no image 'x'; one of SCI \(8, 9\), ERR"):
        open_images(tmp_path / "m.fits", dataset="x")
    (path,) = written(tmp_path / "out", source, lambda x: x + 2)
    with fits.open(path) as new:
        assert [hdu.name for hdu in new] == ["PRIMARY", "SCI", "ERR", "SCI", "T"]
        assert (new[0].header["TELESCOP"], new[1].header["CTYPE1"]) == ("HST", "RA---TAN")
        np.testing.assert_allclose([new[k].data for k in (1, 2, 3)], FLOATS + np.array([2, 0, 2])[:, None, None])
        np.testing.assert_array_equal(new["T"].data["a"], [1, 2])
    fits.HDUList([fits.PrimaryHDU(FLOATS[0]), fits.ImageHDU(FLOATS[1])]).writeto(tmp_path / "two.fits")
    with pytest.raises(UnveilError, match="several images: say which"):
        open_images(tmp_path / "two.fits")


def test_what_fpack_compressed(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(COUNTS[0], name="A")]).writeto(tmp_path / "c.fits.fz")
    source = open_images(tmp_path / "c.fits.fz", value_range=(0, 1))
    np.testing.assert_array_equal(source.read(0)[0], COUNTS[0])
    (path,) = written(tmp_path / "out", source, lambda x: x / 2)
    assert path.name == "c.fits"
    np.testing.assert_allclose(fits.getdata(path, "A"), COUNTS[0] / 2)


def test_blank_pixels_are_gaps(tmp_path):
    stored = np.array([[1, 2], [-5, 4]], np.int16)
    hdu = fits.PrimaryHDU(stored)
    hdu.header["BLANK"], hdu.header["BSCALE"] = -5, 0.5
    hdu.writeto(tmp_path / "b.fits")
    fits.PrimaryHDU(np.where(stored == -5, np.nan, stored / 2).astype(np.float32)).writeto(tmp_path / "n.fits")
    for name in ("b.fits", "n.fits"):
        source = open_images(tmp_path / name)
        assert source.gaps
        np.testing.assert_array_equal(source.read(0)[0], [[0.5, 1], [np.nan, 2]])
        m = Dataset(source, Identity(), Gaussian(0.1))[0]
        np.testing.assert_array_equal(m.operator.measured[0, 0], [[1, 1], [0, 1]])
        also = Gaps(source, 2.0, None).read(0)[0]
        np.testing.assert_array_equal(also, [[0.5, 1], [np.nan, np.nan]])
        with pytest.raises(UnveilError, match="contains NaN"):
            source.whole().read(0)
    assert not open_images(_unscaled(tmp_path)).gaps


def _unscaled(folder):
    fits.PrimaryHDU(COUNTS).writeto(folder / "c.fits")
    return folder / "c.fits"


def test_a_folder_with_blank_pixels_from_init_to_denoise(tmp_path, capsys):
    """They are neither noise nor data, and are filled in."""
    (tmp_path / "y").mkdir()
    for i in range(4):
        x = np.random.default_rng(i).uniform(300, 700, (4, 4)).repeat(16, 0).repeat(16, 1)
        y = (x + np.random.default_rng(9 + i).normal(0, 40, x.shape)).astype(np.int16)
        y[:9, 50:] = -32768
        hdu = fits.PrimaryHDU(y)
        hdu.header["BLANK"] = -32768
        hdu.writeto(tmp_path / "y" / f"{i}.fits")
    sets = ["training.steps=2", "training.warmup=1", "training.crop=16", "training.batch=2", "estimator.widths=[4]",
            "sampling.inflation=0"]  # fmt: skip
    options = [word for setting in sets for word in ("--set", setting)]
    assert call("init", tmp_path / "y", "--out", tmp_path / "c.yaml", *options) == (0, "")
    assert "3.08% of the pixels are blank: they count as missing" in capsys.readouterr().out
    assert "level 0.0" in (tmp_path / "c.yaml").read_text()
    assert call("train", tmp_path / "c.yaml", "--out", tmp_path / "run") == (0, "")
    assert call("denoise", tmp_path / "run", tmp_path / "y", "--out", tmp_path / "x") == (0, "")
    x = fits.getdata(tmp_path / "x" / "0.fits")
    assert np.isfinite(x).all()
    assert 0 < x[:9, 50:].min() < x[:9, 50:].max() < 1500
    code, text = call("evaluate", tmp_path / "run", tmp_path / "y", "--reference", tmp_path / "y", "--sampled", 0)
    assert code == 2
    assert "contains NaN" in text


def test_what_is_refused(tmp_path, monkeypatch):
    fits.PrimaryHDU(np.array([[1, 2], [np.inf, 4]], np.float32)).writeto(tmp_path / "b.fits")
    with pytest.raises(UnveilError, match="contains NaN or infinite"):
        open_images(tmp_path / "b.fits").read(0)
    fits.PrimaryHDU().writeto(tmp_path / "e.fits")
    with pytest.raises(UnveilError, match="holds no image"):
        open_images(tmp_path / "e.fits")
    (tmp_path / "x.fits").write_bytes((tmp_path / "b.fits").read_bytes()[:1000])
    with pytest.raises(UnveilError, match="cannot be read"):
        open_images(tmp_path / "x.fits")
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(UnveilError, match=r"needs the astropy package: pip install 'unveil\[astro\]'"):
        open_images(tmp_path / "b.fits")
