"""From an observation to a FITS image: init --simulate sources, train, calibrate, denoise."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from unveil.cli import main
from unveil.config_file import load_config
from unveil.data.like import Target, write_like
from unveil.data.like_fits import Sky
from unveil.data.source import Origin
from unveil.instruments.interferometry.averages import average_scans, scans_of
from unveil.instruments.interferometry.closures import closures
from unveil.instruments.interferometry.example import STATIONS, TRACK, sources
from unveil.instruments.interferometry.gains import corrupt
from unveil.instruments.interferometry.simulated import model_visibilities
from unveil.instruments.interferometry.uvfits import read_uvfits
from unveil.instruments.interferometry.uvfits_write import write_uvfits
from unveil.instruments.interferometry.uvtrack import uv_track
from unveil.random import make_generator

fits = pytest.importorskip("astropy.io.fits")

TINY = [
    "data.validation=0.2",
    "training.steps=2",
    "training.warmup=1",
    "training.batch=1",
    "estimator.widths=[4]",
    "operator.pixels=16",
]


def call(*words):
    argv = sys.argv
    sys.argv = ["unveil", *map(str, words)]
    try:
        main()
    except SystemExit as stop:
        return stop.code or 0
    finally:
        sys.argv = argv


def sets(*settings):
    return [word for setting in settings for word in ("--set", setting)]


def empty(path):
    """A UVFITS file of the simulated stations, of one visibility of no source: what others are written like."""
    names = {"UU---SIN": [0.01], "VV---SIN": [0.0], "BASELINE": [258.0], "DATE": [2457849.0], "_DATE": [0.25]}
    pardata = [np.array(v) for v in names.values()]
    data = np.ones((1, 1, 1, 1, 1, 1, 3))
    hdu = fits.GroupsHDU(fits.GroupData(data, bitpix=-64, parnames=list(names), pardata=pardata))
    for k, (name, value) in enumerate(
        [("COMPLEX", 1), ("STOKES", 1), ("FREQ", TRACK["frequency"]), ("IF", 1), ("RA", 0), ("DEC", 0)], 2
    ):
        hdu.header.update({f"CTYPE{k}": name, f"CRVAL{k}": value, f"CRPIX{k}": 1.0, f"CDELT{k}": 1.0})
    hdu.header.update({"OBJECT": "RING", "OBSRA": 266.4, "OBSDEC": -29.0})
    columns = [
        fits.Column("ANNAME", "8A", array=[s.name for s in STATIONS]),
        fits.Column("NOSTA", "1J", array=np.arange(1, len(STATIONS) + 1)),
    ]
    fits.HDUList([hdu, fits.BinTableHDU.from_columns(columns, name="AIPS AN")]).writeto(path)
    return path


@pytest.fixture
def observation(tmp_path):
    """A ring that the stations saw, with their gains, twice in each scan."""
    coverage = uv_track(STATIONS, **{**TRACK, "cadence": 60.0})
    x = sources(1, 32, make_generator("cpu", 1))
    v = corrupt(coverage, model_visibilities(coverage, x, 130.0, 2.4 / float(x.sum()))[0], make_generator("cpu", 2))
    later = replace(coverage, times=coverage.times + 10 / 3600)
    both = {name: torch.cat([getattr(c, name) for c in (coverage, later)]) for name in ("u", "v", "sigma", "times")}
    path = tmp_path / "ring.uvfits"
    write_uvfits(path, replace(coverage, **both, pairs=coverage.pairs * 2), v.repeat(2), empty(tmp_path / "no.uvfits"))
    return path, coverage, v


def test_what_is_written_is_read_back(observation):
    path, coverage, v = observation
    found, values = average_scans(*read_uvfits(path))
    assert (scans_of(found).unique() == scans_of(coverage).unique()).all()
    assert len(found) == len(coverage)
    place = {(*pair, scan): k for k, (pair, scan) in enumerate(zip(coverage.pairs, scans_of(coverage).tolist()))}
    order = [place[(*pair, scan)] for pair, scan in zip(found.pairs, scans_of(found).tolist())]
    torch.testing.assert_close(values, v[order], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.sigma, coverage.sigma[order] / 2**0.5, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.u, coverage.u[order], rtol=1e-9, atol=1e-3)


def test_an_observation_becomes_a_fits_image(observation, tmp_path, monkeypatch, capsys):
    path, _, _ = observation
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unveil.cli.init_simulated.SOURCES", 8)
    monkeypatch.setattr("unveil.instruments.interferometry.nearest.FIRST", 40)
    words = ["init", "interferometry", path, "--simulate", "sources", "--out", "eht.yaml"]
    assert call(*words, *sets(*TINY, "operator.field_of_view=140")) == 0
    config = load_config(tmp_path / "eht.yaml")
    assert config.operator.field_of_view == 140
    assert "35.0 to 77.0 microarcseconds" in (tmp_path / "eht.yaml").read_text()
    assert call("train", "eht.yaml") == 0
    assert call("calibrate", "runs/eht", path, "--out", "calibrated.uvfits") == 0
    out = capsys.readouterr().out
    assert "closure phases" in out
    assert "nearest simulated source" in out
    seen, values = read_uvfits("calibrated.uvfits")
    before, v = average_scans(*read_uvfits(path), 0.02)
    kept = [k for k, pair in enumerate(before.pairs) if pair in set(seen.pairs)]
    assert len(seen) == len(kept)
    assert set(before.pairs) - set(seen.pairs) == {("ALMA", "APEX")}
    images = model_visibilities(seen, sources(2, 16, make_generator("cpu", 3)), 140.0, 0.01)
    same = replace(seen, sigma=before.sigma[kept])  # calibration changes no closure quantity
    torch.testing.assert_close(
        closures(seen, values).chi2(images), closures(same, v[kept]).chi2(images), rtol=1e-6, atol=0
    )
    command = next(line for line in out.splitlines() if line.startswith("wrote calibrated.uvfits")).split()
    chosen = [word.rstrip(",") for word in command if "=" in word]
    assert call("denoise", "runs/eht", "calibrated.uvfits", "--out", "images", *sets(*chosen)) == 0
    assert "leaves unexplained" not in capsys.readouterr().err
    level, short = read_uvfits(path)[0].level, sets("sampling.samples=2", "sampling.steps=3")
    for words, sigma in ((["denoise"], level), (["sample", *short], 2 * level)):
        there = sets(f"operator.uvfits={path}", f"noise.sigma={sigma}")
        assert call(words[0], "runs/eht", path, "--out", f"with-gains-{words[0]}", *words[1:], *there) == 0
        assert "ring: what its estimate leaves unexplained is" in capsys.readouterr().err
    monkeypatch.setattr("unveil.cli.use.NEGATIVE", 0.0)
    assert call("denoise", "runs/eht", "calibrated.uvfits", "--out", "negative", *sets(*chosen)) == 0
    assert "of the energy of its estimate is negative" in capsys.readouterr().err
    header = fits.getheader(tmp_path / "images" / "calibrated.fits")
    assert header["OBJECT"] == "RING"
    assert header["BUNIT"] == "JY/PIXEL"
    assert header["NAXIS1"] == 16
    assert header["CDELT1"] * 3.6e9 == pytest.approx(-140 / 16)


def test_gains_are_not_told_from_fewer_closures_than_a_source_has_numbers(observation, tmp_path, monkeypatch, capsys):
    """Any source fits these: the one that calibration began with would pass for the observation's."""
    _, coverage, v = observation
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unveil.cli.init_simulated.SOURCES", 8)
    few = tmp_path / "few.uvfits"
    longest = coverage.pairs[int(torch.hypot(coverage.u, coverage.v).argmax())]
    of_one = torch.tensor([pair == longest for pair in coverage.pairs])
    kept = {name: getattr(coverage, name)[of_one] for name in ("u", "v", "sigma", "times")}
    one = replace(coverage, **kept, pairs=(longest,) * int(of_one.sum()))
    write_uvfits(few, one, v[of_one], tmp_path / "no.uvfits")
    words = ["init", "interferometry", few, "--simulate", "sources", "--out", "few.yaml"]
    assert call(*words, *sets(*TINY, "operator.field_of_view=140")) == 0
    assert "0 closure quantities of visibilities above 3 sigma" in capsys.readouterr().err
    assert call("train", "few.yaml") == 0
    assert call("calibrate", "runs/few", few, "--out", "calibrated.uvfits") == 2
    assert "0 closure quantities of visibilities above 3 sigma" in capsys.readouterr().err
    assert not (tmp_path / "calibrated.uvfits").exists()


def test_a_fits_image_has_north_up_and_east_to_the_left(tmp_path):
    origin = Origin(empty(tmp_path / "no.uvfits"), (1, 4), "HW", np.dtype("complex128"), (0.0, 1.0))
    x = np.zeros((1, 4, 6), np.float32)
    x[0, 0, 1] = 2.0  # north-east: first row, left of the middle
    write_like(tmp_path / "a.fits", Target("a", ".fits", (0,), origin, Sky(5.0, 0.1)), [x.shape], [x], np.dtype("f4"))
    with fits.open(tmp_path / "a.fits") as hdus:
        (row,), (column,) = np.nonzero(hdus[0].data)
        header = hdus[0].header
        assert hdus[0].data[row, column] == pytest.approx(0.2)
        north = header["CDELT2"] * (row + 1 - header["CRPIX2"]) * 3.6e9
        east = header["CDELT1"] * (column + 1 - header["CRPIX1"]) * 3.6e9
    assert (north, east) == (pytest.approx(1.5 * 5), pytest.approx(1.5 * 5))


def test_simulated_sources_need_an_observation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("init", "interferometry", "--simulate", "sources") == 2
    assert call("init", "mri", "a.h5", "--simulate", "sources") == 2
    assert all("--simulate sources" in line for line in capsys.readouterr().err.splitlines())
