"""Judging rows before a density is fitted to them: one pass, what speaks against it, a policy."""

from flowjax_lite.data.quality.checks import CHECKS, DataWarning, check_data, enforce
from flowjax_lite.data.quality.findings import Finding, findings
from flowjax_lite.data.quality.survey import Survey

__all__ = ["CHECKS", "DataWarning", "Finding", "Survey", "check_data", "enforce", "findings"]
