"""Released OBJECT-3DIT pairs, from folders or from archives that stay packed.

`scan` finds the pairs and makes the rows of a plan; `ReadPairs` is the stage that reads them.
"""

from sources.object3dit.pairs import ReadPairs
from sources.object3dit.scan import PlanRow, Scan, scan

__all__ = ["PlanRow", "ReadPairs", "Scan", "scan"]
