"""The suite runs on any device and precision: `pytest --device cuda --dtype float64`."""

import os
from pathlib import Path

import pytest
import torch

from unveil.precision import full_precision
from unveil.random import make_generator

# The tensors here are tiny: threads would wait for one another. For this process, and for those that tests start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
full_precision()  # tolerances are those of float32, on any device


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="device of the tests' tensors")
    parser.addoption("--dtype", default="float32", choices=["float32", "float64"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A skipped test is an untested line: it fails, unless its reason says that hardware, or a browser, is missing.

    In continuous integration, where both are installed or known to be missing, the browser is no reason.
    """
    report = yield
    excuses = ("hardware",) if os.environ.get("CI") else ("hardware", "Chromium")
    if report.skipped and not any(excuse in report.longrepr[2] for excuse in excuses):
        report.outcome, report.longrepr = "failed", f"skipped though no hardware is missing: {report.longrepr[2]}"
    return report


@pytest.fixture
def device(request):
    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def dtype(request):
    return getattr(torch, request.config.getoption("--dtype"))


@pytest.fixture
def generator(device):
    return make_generator(device, 0)


@pytest.fixture
def within_limits():
    """A test that fails, instead of filling the memory or hanging, where what it reads makes it do so."""
    resource, signal = pytest.importorskip("resource"), pytest.importorskip("signal")

    def ring(*_):
        raise TimeoutError("a minute is more than any malformed input may take")

    limits, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    if (statm := Path("/proc/self/statm")).exists():
        pages = int(statm.read_text().split()[0])
        room = 2 * 2**30  # bytes of addresses; what is asked for and not touched counts
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
