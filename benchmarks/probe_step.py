"""Which probe step of the Monte Carlo divergence trains best? Noise and mean of SURE's gradient on a trained network.

    python benchmarks/probe_step.py --train DIR --test DIR --sigma-n 0.1 --steps 2000 --work DIR --json OUT

The network is below_noise.py's oracle, where the supervised gradient is small. A step that is too short makes the
gradient noisy, through the few units whose kink the probe crosses; one that is too long biases it: its mean grows.
"""

import torch

from below_noise import in_memory, learned, network_options, noise_of
from common import parser, write
from unveil.data import crops
from unveil.losses import Loss, Stein, Supervised
from unveil.measurement import Measurement
from unveil.operators import Identity
from unveil.random import make_generator

STEPS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    network_options(options)
    options.add_argument("--draws", type=int, default=8, help="probes of each step")
    options.add_argument("--batch", type=int, default=16)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    clean = in_memory(options.train)
    f = learned("oracle", clean, options.seed, options)
    x = crops(clean, options.batch, 32, make_generator("cpu", options.seed, 40))
    noise = noise_of(options)
    m = Measurement(noise.sample(x, make_generator("cpu", options.seed, 41)), Identity(), noise)

    def gradient(loss: Loss, draw: int) -> torch.Tensor:
        f.zero_grad()
        loss(f, m, make_generator("cpu", options.seed, 42, draw)).mean().backward()
        return torch.cat([p.grad.flatten() for p in f.parameters() if p.grad is not None])

    supervised = gradient(Supervised(x), 0).norm().item()
    rows = []
    print(
        f"norm of the supervised gradient: {supervised:.4f}\n| step / sigma | noise | norm of the mean |\n|---|---|---|"
    )
    for step in STEPS:
        draws = torch.stack([gradient(Stein(step), k) for k in range(options.draws)])
        row = {"step": step, "noise": draws.std(0).norm().item(), "mean": draws.mean(0).norm().item()}
        rows.append(row)
        print(f"| {step} | {row['noise']:.4f} | {row['mean']:.4f} |")
    write(
        options.json,
        options,
        {"sigma_n": options.sigma_n, "supervised": supervised, "draws": options.draws, "rows": rows},
    )


if __name__ == "__main__":
    main()
