"""Entry point: turns every error a user can mend into one line, and every signal too.

Exit codes:
0          all is done
1          a defect of unveil: please report it
2          something to mend: the input, the options, the disk, the memory
3          done, but for some of the input, which is listed
4          check: it cannot be learned, or the data contradict their description
5          evaluate: done, but the noise model does not fit: no figure without a reference holds
128 + n    stopped by signal n: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP;
           141 where nobody reads the output any more

Kept free of heavy imports, so that `unveil --help` answers at once.
"""

import errno
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from unveil.errors import Elsewhere, UnveilError, UnveilWarning, plain
from unveil.processes import is_first

__all__ = ["main"]

CTRL_C = 130
"""What Typer's application returns after an interrupt."""


def main() -> None:
    """Run the command line on sys.argv.

    With --debug, anywhere, errors show their traceback.
    """
    from unveil.cli.app import app

    debug = "--debug" in sys.argv
    for stream in (sys.stdout, sys.stderr):  # an ASCII terminal shows escapes of what it cannot print
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not debug:  # what other libraries warn of is for developers
        warnings.showwarning = _show_warning
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        with _signals():
            code = app(standalone_mode=False)
            sys.stdout.flush()
    except Terminated as stop:
        _interrupted(stop.signum)
    except Elsewhere as error:
        sys.exit(error.code)
    except UnveilError as error:
        _fail(debug, str(error), error.code)
    except BrokenPipeError:
        _unread()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        mend = MENDS.get(error.errno or 0, "check the path, its permissions and the free space")
        _fail(debug, f"{where}{error.strerror or error}; {mend}")
    except RecursionError:
        _fail(
            debug, "what was read is nested too deeply; check the configuration and the JSON files; --debug shows where"
        )
    except Exception as error:
        if (asked := _memory(error)) is not None:
            _fail(
                debug,
                f"not enough memory{asked}; smaller training.batch, training.crop or sampling.samples need less, or "
                "--device cpu has more",
            )
        if type(error).__name__ == "Abort":  # what other releases of Typer make of an interrupt
            _interrupted()
        if _is_usage_error(error):
            if not is_first():
                sys.exit(2)
            message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
            _fail(debug, f"{message} See unveil --help.")
        _fail(debug, f"unexpected {type(error).__name__}: {error}; --debug shows where: please report it", code=1)
    if code == CTRL_C:
        _interrupted()
    sys.exit(code if isinstance(code, int) else 0)


MENDS = {
    errno.ENOSPC: "make room, and run the same command again",
    errno.EDQUOT: "make room within your quota, and run the same command again",
    errno.EMFILE: "allow more open files (ulimit -n), and run the same command again",
}
"""What to do about errors of the system."""


def _memory(error: Exception) -> str | None:
    """Return how much memory was asked for, in words, of an error of PyTorch's or NumPy's allocators.

    None of another error.
    """
    text = str(error)
    if (
        not isinstance(error, MemoryError)
        and type(error).__name__ != "OutOfMemoryError"
        and "allocate memory" not in text
    ):
        return None
    size = re.search(r"allocate (\d+) bytes|allocate ([\d.]+ [KMGTP]?i?B)", text)
    if size is None:
        return ""
    return f": {size[2] or f'{int(size[1]) / 2**30:.3g} GiB'} asked for at once"


def _unread() -> None:
    """End without a word, as other commands do: nobody reads what is printed (| head)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


_shown: set[str] = set()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UnveilWarning) and is_first() and str(message) not in _shown:
        _shown.add(str(message))
        print(f"unveil: warning: {plain(str(message))}", file=sys.stderr)


class Terminated(BaseException):
    """SIGTERM or SIGHUP where nothing is under way that is saved.

    Like KeyboardInterrupt no `except Exception` holds it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


@contextmanager
def _signals() -> Iterator[None]:
    """Enter a block in which SIGTERM and SIGHUP end the work as Ctrl-C does, with clean-up.

    Where they are ignored (nohup) they stay so.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends all at once
        raise Terminated(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    changed = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in changed:
            signal.signal(number, terminate)
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _interrupted(signum: int = signal.SIGINT) -> None:
    name = "interrupted" if signum == signal.SIGINT else f"stopped by {signal.Signals(signum).name}"
    if is_first():
        print(f"unveil: {name}; files already written are whole, run it again for the rest", file=sys.stderr)
    sys.exit(128 + signum)


def _is_usage_error(error: Exception) -> bool:
    """Return whether it is a usage error of click's.

    Typer may carry its own copy of click, whose exceptions are other classes of the same form.
    """
    return hasattr(error, "format_message")


def _fail(debug: bool, message: str, code: int = 2) -> None:
    if debug:
        raise
    first, *more = message.strip().splitlines() or [""]
    print(*map(plain, (f"unveil: {first}", *more[:1])), file=sys.stderr)
    sys.exit(code)
