"""Released OBJECT-3DIT pairs, from folders or from archives that stay packed.

`scan` finds the pairs and makes the rows of a plan; `ReadPairs` is the stage that reads them.
"""

from .pairs import ReadPairs
from .scan import PlanRow, Scan, scan

__all__ = ["PlanRow", "ReadPairs", "Scan", "scan"]
