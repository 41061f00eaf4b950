"""TIFF as instruments and viewers write it: byte order, tags that turn pixels, pages that are no images, many pages."""

import numpy as np
import pytest
import tifffile

from unveil.data import open_images

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(13, 17), (4, 13, 17)])
def test_big_endian_reads_as_its_little_endian_twin(tmp_path, dtype, shape):
    v = RNG.integers(0, 120, shape).astype(dtype)
    for order in "<>":
        imagej = dtype in ("u1", "u2", "f4")
        axes = {"axes": "TYX"[-v.ndim :]}
        path = tmp_path / f"{order}.tif"
        tifffile.imwrite(path, v, byteorder=order, imagej=imagej, photometric="minisblack", metadata=axes)
    little, big = open_images(tmp_path / "<.tif"), open_images(tmp_path / ">.tif")
    top = np.iinfo(dtype).max if v.dtype.kind in "iu" else 1
    for i, expected in enumerate(v.reshape(-1, 13, 17)):
        np.testing.assert_array_equal(big.read(i), little.read(i))
        np.testing.assert_allclose(big.read(i)[0], expected / top, rtol=1e-6)
        np.testing.assert_array_equal(big.read(i, (2, 3, 4, 5)), little.read(i)[:, 2:6, 3:8])
