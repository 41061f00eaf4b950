"""Reports: pictures of results, and one self-contained HTML page."""

from unveil.report.page import write_report
from unveil.report.pictures import comparison
from unveil.report.results import unknown_errors, write_results
from unveil.report.units import units_of

__all__ = ["comparison", "units_of", "unknown_errors", "write_report", "write_results"]
