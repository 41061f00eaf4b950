"""What the commands print: names that look like markup."""

import io

from rich.console import Console

from unveil.cli import screen
from unveil.evaluation import Metrics


def test_names_are_printed_as_they_are():
    log = io.StringIO()
    Console(file=log, width=100).print(screen.metrics_table([Metrics("cell[red]\x1b", 20.0)], {"psnr_estimate": 20.0}))
    assert "cell[red]\\x1b" in log.getvalue()
