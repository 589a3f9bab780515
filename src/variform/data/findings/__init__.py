"""What is in data before anything is trained: a page for columns, one for rows, one for what they are too few for."""

from variform.data.findings.columns import ColumnFindings
from variform.data.findings.inspection import Findings, find

__all__ = ["ColumnFindings", "Findings", "find"]
