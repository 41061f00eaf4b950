"""The command line: thin commands over plain functions. Nothing imports it."""

from unveil.cli.main import main

__all__ = ["main"]
