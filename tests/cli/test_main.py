"""What ends a command: each ending in one line, and with an exit code of its own."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from test_cli import call, refused

from unveil.cli import init
from unveil.cli.main import _memory


def raising(error):
    def run(*words, **options):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.tif"), ["x.tif: No space left", "make room"]),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "x.tif"), ["ulimit -n"]),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x.tif"), ["x.tif: Permission denied"]),
        (MemoryError(), ["not enough memory;"]),
        (RecursionError("maximum recursion depth exceeded"), ["nested too deeply"]),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0"),
            ["20.00 GiB asked for at once", "--device cpu"],
        ),
    ],
)
def test_what_the_machine_lacks_is_one_line(error, words, tmp_path, monkeypatch):
    monkeypatch.setattr(init, "run_init", raising(error))
    line = refused("init", tmp_path)
    assert all(word in line for word in words), line
    assert "report it" not in line


def test_sizes_that_cannot_be_allocated_are_stated():
    with pytest.raises(MemoryError) as caught:
        np.empty(2**55, np.uint8)
    assert _memory(caught.value) == ": 32.0 PiB asked for at once"
    with pytest.raises(RuntimeError) as refusal:
        torch.empty(2**55, dtype=torch.uint8)
    assert _memory(refusal.value) == ": 3.36e+07 GiB asked for at once"
    assert _memory(RuntimeError("of another kind")) is None


def test_a_defect_asks_to_be_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(init, "run_init", raising(KeyError("x")))
    code, text = call("init", tmp_path)
    assert code == 1
    assert "report it" in text


def test_a_device_without_values_is_refused(tmp_path):
    from unveil.cli.device import torch_device
    from unveil.errors import UnveilError

    with pytest.raises(UnveilError, match="--device meta"):
        torch_device("meta")


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="POSIX")
@pytest.mark.parametrize("words", [["--help"], ["init", "."]])
def test_an_output_that_nobody_reads_ends_quietly(words, tmp_path):
    read, write = os.pipe()
    os.close(read)
    script = (
        "import sys; from unveil.cli import main, init; from unveil.cli.screen import say\n"
        "init.run_init = lambda *words: say('x' * 100_000)\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], stdout=write, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(write)
    assert done.returncode in (1, 141), done.stderr
    assert done.stderr == b""


def test_the_help_states_the_exit_codes(capsys):
    assert call("--help")[0] == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "3 done, but for some of the input, which is listed" in text


def test_a_second_signal_ends_at_once():
    script = """if True:
        import os, signal, sys
        from unveil.cli import init, main
        def run(*words):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                print("not reached", flush=True)
        init.run_init = run
        sys.argv = ["unveil", "init", "."]
        main()"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.returncode == -signal.SIGTERM
    assert done.stdout == b""
