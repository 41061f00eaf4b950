"""The picture of what is never seen: a PNG that changes with it."""

import dataclasses

import imageio.v3 as imageio
import pytest

from unveil.identifiability import find_spectrum
from unveil.operators import cartesian_mask, inpainting, mri, random_mask
from unveil.random import make_generator
from unveil.report.identifiability import draw_spectrum
from unveil.symmetry import Rotate, Shift

MASK = random_mask(8, 8, 0.5, make_generator("cpu", 1))
CASES = {
    "pixels": lambda: (inpainting(MASK), None),
    "colour": lambda: (inpainting(MASK, 3), None),
    "nothing": lambda: (inpainting(MASK), Shift()),
    "frequencies not judged": lambda: (inpainting(MASK), Rotate()),
    "complex": lambda: (mri(cartesian_mask(8, 8, 2, 0.2, make_generator("cpu", 2))), Shift()),
    "oblong": lambda: (inpainting(random_mask(8, 12, 0.5, make_generator("cpu", 1))), None),
}


def picture(operator, symmetry):
    png = draw_spectrum(find_spectrum(operator, symmetry, operator.image_shape, make_generator("cpu", 0)))
    assert png.startswith(b"\x89PNG")
    return imageio.imread(png)


@pytest.mark.parametrize("name", CASES)
def test_it_is_drawn(name):
    image = picture(*CASES[name]())
    assert image.shape[1] == 1100
    assert (image.shape[0] > 600) == (name not in ("nothing", "frequencies not judged"))  # a row of images never seen
    assert image[..., :3].std() > 10


def test_it_is_drawn_from_a_few_probes(monkeypatch):
    monkeypatch.setattr("unveil.identifiability.spectrum.DENSE", 0.0)
    assert picture(*CASES["complex"]()).shape[0] > 600


@pytest.fixture(scope="module")
def plain():
    """A spectrum, and its picture without a title, which changes as well."""
    found = find_spectrum(inpainting(MASK), None, (1, 8, 8), make_generator("cpu", 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unveil.report.identifiability.name_hidden", lambda found: "")
        return found, draw_spectrum(found)


@pytest.mark.parametrize("name", ["fourier", "pixels", "eigenvalues", "directions"])
def test_each_part_is_shown(name, plain, monkeypatch):
    monkeypatch.setattr("unveil.report.identifiability.name_hidden", lambda found: "")
    found, drawn = plain
    changed = dataclasses.replace(found, **{name: getattr(found, name).flip(-1) * 0.5})
    assert draw_spectrum(changed) != drawn
