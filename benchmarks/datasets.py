"""Real data as folders of clean PNG files, --train and --test of the other benchmarks.

    python benchmarks/datasets.py photographs FOLDER OUT     colour photographs found under FOLDER, reduced to 512
    pixels
    python benchmarks/datasets.py fashion-mnist FILE OUT     train-images-idx3-ubyte.gz (Debian: dataset-fashion-mnist)
    python benchmarks/datasets.py slices FILE OUT            `slices` of an npz file, e.g. the axial slices of a head

Photographs are split by photograph, one in six for testing; JPEG files are reduced at least twice before they count as
clean. Of the slices of one head a block in the middle is kept for testing, three slices away from the rest.
"""

import argparse
import gzip
import re
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from skimage.transform import downscale_local_mean

LONGEST = 512
LEAST_SIDE, LEAST_CHROMA, LEAST_DETAIL = 900, 0.02, 0.004


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("kind", choices=("photographs", "fashion-mnist", "slices"))
    options.add_argument("source", type=Path)
    options.add_argument("out", type=Path)
    options = options.parse_args()
    read = {"photographs": photographs, "fashion-mnist": fashion, "slices": slices}[options.kind]
    train, test = read(options.source)
    for part, images in (("train", train), ("test", test)):
        folder = options.out / part
        folder.mkdir(parents=True, exist_ok=True)
        for name, x in images.items():
            iio.imwrite(folder / f"{name}.png", x)
        print(f"{len(images)} images in {folder}")


def photographs(folder: Path) -> tuple[dict, dict]:
    """One file a photograph; drawn pictures (little chroma or little fine detail) and screenshots are left out."""
    seen: dict[str, np.ndarray] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or path.suffix.lower() not in (".jpg", ".jpeg", ".png") or "doc" in path.parts:
            continue
        x = iio.imread(path)
        if x.ndim != 3 or x.shape[2] < 3 or min(x.shape[:2]) < LEAST_SIDE or "screenshot" in path.stem:
            continue
        reduction = max(2, -(-max(x.shape[:2]) // LONGEST))
        small = downscale_local_mean(x[..., :3] / 255.0, (reduction, reduction, 1))
        chroma = float((small[..., 0] - small[..., 2]).std())
        detail = float(np.median(np.abs(np.diff(small.mean(2), axis=1))))
        if chroma < LEAST_CHROMA or detail < LEAST_DETAIL:
            continue
        name = path.parts[-4] if path.parent.name.startswith("images") else re.sub(r"_\d+x\d+$", "", path.stem)
        seen.setdefault(name.lower().replace(" ", "_"), np.round(255 * small).astype(np.uint8))
    names = list(seen)
    if len(names) < 6:
        sys.exit(f"{folder}: {len(names)} photographs found; at least 6 are needed")
    test = names[::6]
    return {n: seen[n] for n in names if n not in test}, {n: seen[n] for n in test}


def fashion(path: Path) -> tuple[dict, dict]:
    """4,000 garments to train on and 200 to test on, 28x28."""
    values = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    images = {f"{i:05d}": values[i] for i in range(4200)}
    names = list(images)
    return {n: images[n] for n in names[:4000]}, {n: images[n] for n in names[4000:]}


def slices(path: Path) -> tuple[dict, dict]:
    """The slices that show something; 16 in the middle for testing."""
    values = np.load(path)["slices"]
    values = values[values.mean((1, 2)) > 5]
    middle = len(values) // 2
    test = range(middle - 8, middle + 8)
    train = [i for i in range(len(values)) if i < test[0] - 3 or i > test[-1] + 3]
    return {f"{i:03d}": values[i] for i in train}, {f"{i:03d}": values[i] for i in test}


if __name__ == "__main__":
    main()
