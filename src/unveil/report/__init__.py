"""Reports: pictures of results, and one self-contained HTML page."""

from unveil.report.page import write_report
from unveil.report.pictures import comparison, training_curves
from unveil.report.results import unknown_errors, write_results

__all__ = ["comparison", "training_curves", "unknown_errors", "write_report", "write_results"]
