"""Examples in docstrings are true, of the package as it is installed."""

import doctest
import importlib
import pkgutil

import pytest

import unveil

MODULES = sorted(m.name for m in pkgutil.walk_packages(unveil.__path__, "unveil.") if not m.name.endswith("__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert sum(bool(t.examples) for name in MODULES for t in finder.find(importlib.import_module(name))) >= 5
