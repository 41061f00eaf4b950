"""unveil whiten: micrographs made ready for init, in their own units."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from unveil.cli.whiten import run_whiten
from unveil.errors import UnveilError
from unveil.noise import estimate_common_sigma
from unveil.noise.whiten import frequencies
from unveil.random import make_generator


@pytest.fixture
def micrographs(tmp_path):
    """Counts about 5000, their noise of level 600 blurred by the detector."""
    folder = tmp_path / "counts"
    folder.mkdir()
    k = frequencies(256, 256)
    for i in range(3):
        w = torch.randn(256, 256, generator=make_generator("cpu", i))
        n = torch.fft.irfft2(torch.fft.rfft2(w) * 600 * (-4 * k**2).exp(), s=(256, 256))
        tifffile.imwrite(folder / f"m{i}.tif", (5000 + n).round().numpy().astype(np.uint16))
    return folder


def test_whitened_images_have_white_noise_in_the_data_s_units(micrographs, tmp_path, capsys):
    run_whiten(str(micrographs), tmp_path / "whitened", force=False)
    images = [
        torch.from_numpy(tifffile.imread(path))[None].float() for path in sorted((tmp_path / "whitened").glob("*.tif"))
    ]
    assert len(images) == 3
    assert float(torch.stack(images).mean()) == pytest.approx(5000, abs=20)
    assert estimate_common_sigma(images) == pytest.approx(600, rel=0.05)
    raw = [torch.from_numpy(tifffile.imread(path).astype(np.float32))[None] for path in sorted(micrographs.iterdir())]
    assert estimate_common_sigma(raw) < 400, "the estimator takes blurred noise for less"
    assert (tmp_path / "whitened.png").read_bytes().startswith(b"\x89PNG")
    assert "next: unveil init" in capsys.readouterr().out


def test_files_are_not_overwritten_unasked(micrographs, tmp_path):
    (tmp_path / "whitened").mkdir()
    with pytest.raises(UnveilError, match="--force"):
        run_whiten(str(micrographs), tmp_path / "whitened", force=False)
    run_whiten(str(micrographs), tmp_path / "whitened", force=True)


def test_the_folder_may_be_the_one_it_is_called_in(micrographs, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run_whiten(str(micrographs), Path("."), force=True)
    assert sorted(path.name for path in Path().glob("*.tif")) == ["m0.tif", "m1.tif", "m2.tif"]
    assert (tmp_path / "here.png").is_file(), "beside the folder, not among the images"
