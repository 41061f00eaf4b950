"""Learning curves without a reference: do gains, forecasts and the gap to the fitted images hold? Truth beside each.

    python benchmarks/curves.py --train DIR --test DIR --work DIR --json benchmarks/results/curves.json

Photographs of --train are measured once in noise, and learned from; --test are the held-out ones, measured once, of
which training sees nothing. The default recipe, a run of its own for each number of steps, validated --points times
(`unveil.evaluation.validation`); the true error of the same centres is written beside each point. Per case, noise
and seed:

point_off, gain_off   root mean square of what the estimate of a point is off by, and that of the gain between
                      neighbouring points, dB; gain_covered: whether the interval of each gain holds the true one
forecast              of twice the steps by the curve of a run, dB, and what the run of twice the steps came to, by the
                      truth
gap                   by how much more the fitted photographs gained, since a quarter of the steps, than held-out ones
patience              where training would have stopped by `training.patience`, what it would have kept, and the true
                      PSNR of that over --others more photographs of --test; beside it that of the last step and of the
                      best validated one. Steps up to a stop are those of the whole run
"""

import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from below_noise import in_memory, measure
from calibration import centre
from common import parser, write
from noise import CASES, moved
from unveil.config import parse_config
from unveil.data import ImageSource, MemorySource
from unveil.dataset import Dataset
from unveil.evaluation.validation import make_validation
from unveil.noise import Noise
from unveil.operators import Identity
from unveil.training import build_estimator, learn, read_metrics
from unveil.training.curve import Curve, errors_of, gap
from unveil.training.forecast import forecast
from unveil.training.patience import Patience
from unveil.training.setup import possible_scales

RUNS = "gaussian:0.1/0/376,gaussian:0.1/1/376,poisson:10/0/376,gaussian:0.1/0/32,gaussian:0.1/0/4"
LOOKED_AT = 8
PATIENCES = (1, 2, 4, 8)
"""Validations."""


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--train", required=True, metavar="DIR", help="clean images")
    options.add_argument("--test", required=True, metavar="DIR", help="clean images, none of them in --train")
    options.add_argument("--runs", default=RUNS, help="noise/seed/number of photographs, ...")
    options.add_argument("--steps", default="300,600,1200", help="of the runs of each")
    options.add_argument("--points", type=int, default=12, help="validations of a run")
    options.add_argument("--batch", type=int, default=8, help="crops of 32 x 32 pixels a step")
    options.add_argument("--widths", default="16,24,32", help="of the network")
    options.add_argument("--side", type=int, default=96, help="of the centres that are validated on, pixels")
    options.add_argument("--others", type=int, default=0, help="test photographs that tell what early stopping keeps")
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="keeps the trainings")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    clean, test = in_memory(options.train), in_memory(options.test)
    all_steps, table = [int(steps) for steps in options.steps.split(",")], {}
    for name in options.runs.split(","):
        logs = {steps: logged(name, steps, clean, test, options) for steps in all_steps}
        table[name] = {str(steps): row(log, logs.get(2 * steps)) for steps, log in logs.items()}
        for steps, found in table[name].items():
            print(name, steps, found, flush=True)
        write(options.json, options, {"batch": options.batch, "widths": options.widths, "runs": table})


def row(log: list[dict[str, float]], twice: list[dict[str, float]] | None) -> dict[str, Any]:
    """What a run tells, and what came; twice: the log of a run of twice the steps."""
    curve = Curve.of(log)
    true, true_fitted = (
        torch.tensor([errors_of(line, kind) for line in log], dtype=torch.float64) for kind in ("true/", "true_fitted/")
    )
    means, right = curve.held_out.mean(1), true.mean(1)
    gains = [curve.gain(k, k + 1) for k in range(len(curve) - 1)]
    came = (right[:-1] - right[1:]).tolist()
    off = torch.tensor([gain.value - c for gain, c in zip(gains, came)], dtype=torch.float64)
    found: dict[str, Any] = {
        "steps": curve.steps.tolist(),
        "psnr": decibels(right).tolist(),
        "psnr_estimate": decibels(means).tolist(),
        "psnr_fitted": decibels(true_fitted.mean(1)).tolist(),
        "point_off": rms(decibels(means) - decibels(right)),
        "gain_off": rms(10 / math.log(10) * off / right[1:]),
        "gain_covered": [abs(gain.value - c) <= gain.reach for gain, c in zip(gains, came)],
    }
    expected, apart = forecast(curve), gap(curve)
    if expected is not None:
        gain, low = (None, None) if expected.reason else expected.decibels
        found["forecast"] = {"gain": gain, "low": low, "reason": expected.reason}
        if twice is not None:
            end = torch.tensor(errors_of(twice[-1], "true/"), dtype=torch.float64).mean()
            found["forecast"]["came"] = float(decibels(end) - decibels(right[-1]))
    if apart is not None:
        found["gap"] = {"decibels": apart.value, "reach": apart.reach}
    if other := [errors_of(line, "true_others/") for line in log if "true_others/0" in line]:
        psnr = decibels(torch.tensor(other, dtype=torch.float64).mean(1))
        found["psnr_others"] = psnr.tolist()
        found["patience"] = {str(n): stopped(curve, psnr, n) for n in PATIENCES}
    return found


def stopped(curve: Curve, psnr: Tensor, validations: int) -> dict[str, float | bool]:
    """What `training.patience` of so many validations makes of a run; psnr: of other images, at its points."""
    patience = Patience(validations, nn.Identity())
    until = (Curve(curve.steps[:k], curve.held_out[:k], curve.fitted[:k]) for k in range(1, len(curve) + 1))
    end = next((len(part) for part in until if patience.ends(part)), None)
    kept = int(curve.held_out[:end].mean(1).argmin())
    return {
        "ended": end is not None,
        "step": float(curve.steps[(end or len(curve)) - 1]),
        "kept": float(curve.steps[kept]),
        "psnr": float(psnr[kept]),
        "best_step": float(curve.steps[int(psnr.argmax())]),
        "best": float(psnr.max()),
        "last": float(psnr[-1]),
    }


def decibels(error: Tensor) -> Tensor:
    return -10 * error.log10()


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def logged(name: str, steps: int, clean: MemorySource, test: MemorySource, options) -> list[dict[str, float]]:
    """The validations of one training, with the true errors, from --work if they are there."""
    case, seed, count = name.split("/")
    noise, folder = CASES[case], options.work / name.replace("/", "-") / str(steps)
    training, held_out = (moved(source, getattr(noise, "offset", 0.0)) for source in (first(clean, int(count)), test))
    config = parse_config(
        {
            "seed": int(seed),
            "data": {"path": options.train},
            "training": {
                "steps": steps, "warmup": min(100, steps // 5), "validate_every": steps // options.points,
                "batch": options.batch,
            },
            "estimator": {"widths": [int(width) for width in options.widths.split(",")]},
        },
        "benchmark",
    )  # fmt: skip
    data = measured(training, noise, int(seed))
    unseen = measured(held_out, noise, int(seed) + 1000)
    every = range(0, len(data), -(-len(data) // LOOKED_AT))
    others = range(LOOKED_AT, LOOKED_AT + options.others)
    seen = {
        "true": (held_out, unseen, range(LOOKED_AT)),
        "true_fitted": (training, data, every),
        "true_others": (held_out, unseen, others),
    }
    middles = {
        key: (centres(x, which, options.side), y.of(centres(y.source, which, options.side)))
        for key, (x, y, which) in seen.items()
        if which
    }
    estimate = make_validation(middles["true"][1], int(seed), middles["true_fitted"][1])

    def validation(f: nn.Module) -> dict[str, float]:
        found = estimate(f)
        for key, (x, y) in middles.items():
            found |= {f"{key}/{k}": float((f(y[k])[0] - x.read(k)).square().mean()) for k in range(len(x))}
        return found

    f = build_estimator(config, clean.channels, Identity(), noise.uneven)

    def stage(title: str):
        def progress(done: int, total: int, metrics: dict[str, float]) -> None:
            if done % 100 == 0:
                print(name, title, done, total, file=sys.stderr, flush=True)

        return progress

    if not (folder / "done").exists():
        scales = possible_scales(config, data.source, Identity())
        learn(f, data, unseen, config, folder, scales=scales, stages=stage, validation=validation)
        (folder / "done").touch()
    return [line for line in read_metrics(folder) if "error" in line]


def measured(clean: MemorySource, noise: Noise, seed: int) -> Dataset:
    return Dataset(measure(clean, noise, seed), Identity(), noise)


def first(source: MemorySource, count: int) -> MemorySource:
    return MemorySource({source.name(i): source.read(i) for i in range(count)})


def centres(source: ImageSource, which: Iterable[int], side: int) -> MemorySource:
    return MemorySource({source.name(i): centre(source.read(i), side) for i in which})


if __name__ == "__main__":
    main()
