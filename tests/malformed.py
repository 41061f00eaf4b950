"""What the tests of malformed input share."""

from unveil.errors import UnveilError


def one_line_or_result(call, named=None):
    """The result of `call()`, or the line of the UnveilError that it raises, in which `named` occurs; None else
    passes."""
    try:
        return call()
    except UnveilError as error:
        line = str(error)
        assert "\n" not in line
        assert line.strip()
        assert named is None or str(named) in line
        return line
