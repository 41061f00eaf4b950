"""Which measurements a run learned from, told by their content.

What a network learned from y is not independent of the noise in y, and so errors that are estimated from y come out too
small: the more so, the fewer images it learned from, and the longer.
"""

from unveil.data import ImageSource
from unveil.runs.contents import FILE, Contents, open_contents, read_contents
from unveil.runs.run import Run
from unveil.training.setup import held_out
from unveil.words import counted

__all__ = ["copies", "learned_from"]

_TOO_SMALL = "errors without a reference come out too small for images learned from"


def learned_from(run: Run, source: ImageSource | None) -> str | None:
    """Return a line where the run learned from measurements that it is to be judged by, else None.

    source: of other measurements than those that the run held out, as they were read; None: of these.
    """
    if not (run.folder / FILE).is_file():
        return None  # learned in memory
    recorded = open_contents(run.folder)
    apart = held_out(run.config, recorded.images)
    if source is None:
        if apart:
            return None
        return f"no image was held out of the training: {_TOO_SMALL}; give others"
    numbers, start = {}, 0
    for part in recorded.parts:
        numbers[part.sha256], start = range(start, start + part.images), start + part.images
    parts = read_contents(source, run.config).parts
    known = sum(number not in apart for part in parts for number in numbers.get(part.sha256, ()))
    if not known:
        return None
    return f"the run learned from {known} of the {counted(len(source), 'image')}: {_TOO_SMALL}; give others" + (
        f", or none: unveil evaluate {run.folder} takes those held out" if apart else ""
    )


def copies(contents: Contents) -> str | None:
    """Return a line on files that hold the same measurements, so that one is learned from where another judges."""
    first: dict[str, str] = {}
    pairs = [(part.name, first.setdefault(part.sha256, part.name)) for part in contents.parts]
    pairs = [(name, other) for name, other in pairs if name != other]
    if not pairs:
        return None
    more = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return f"{pairs[0][0]} holds the same as {pairs[0][1]}{more}: {_TOO_SMALL}; leave copies out"
