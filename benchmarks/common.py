"""What every benchmark records beside its figures."""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import unveil


def parser(description: str) -> argparse.ArgumentParser:
    """Options that all benchmarks share."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--json", type=Path, required=True, metavar="OUT", help="where the result is written")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--device", default="cpu", help="of the networks: cpu, or one of this machine's such as cuda")
    options.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    return options


def command() -> str:
    """The command as typed, without the folders of this machine."""
    return "python benchmarks/" + " ".join(map(_without_folder, sys.argv))


def _without_folder(word: str) -> str:
    """A path without its folder, of --option=path too; other words as they are, whatever slashes they have."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    path = Path(value)
    is_path = "/" in value and (path.is_absolute() or path.parent.is_dir())
    return f"{option}{equals}{path.name if is_path else value}"


def write(path: Path, options: argparse.Namespace, result: dict[str, Any]) -> None:
    """`result` with the command, the seed and the versions that made it."""
    record = {
        "command": command(),
        "seed": options.seed,
        "threads": options.threads,
        "machine": f"{platform.machine()}, {platform.system()}",
        "device": torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device,
        "versions": {"unveil": unveil.__version__}
        | {name: version(name) for name in ("torch", "deepinv", "numpy")}
        | {"python": platform.python_version()},
        **result,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def in_processes(row: Callable[..., tuple[str, Any]], jobs: Iterable[tuple], options: argparse.Namespace) -> None:
    """Write and print a row, (name, values) of (*job, seed), for each of the jobs, by options.workers processes."""
    todo, results = list(jobs), {}
    with ProcessPoolExecutor(options.workers) as pool:
        for key, values in pool.map(row, *zip(*todo), [options.seed] * len(todo)):
            results[key] = values
            print(key, values, flush=True)
            write(options.json, options, {"results": results})
