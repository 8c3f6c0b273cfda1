"""Released OBJECT-3DIT pairs, from folders or from archives that stay packed.

`scan` finds the pairs and yields the rows of a plan; `ReadPairs` is the stage that reads them.
"""

from .pairs import ReadPairs
from .scan import Scan, scan

__all__ = ["ReadPairs", "Scan", "scan"]
