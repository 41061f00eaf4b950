"""Figures that single fields know and trust: a file each, and a line in the registry."""

from unveil.evaluation.fields.figure import Chart, Figure, Found, Map, Subject
from unveil.evaluation.fields.registry import FIGURES

__all__ = ["FIGURES", "Chart", "Figure", "Found", "Map", "Subject"]
