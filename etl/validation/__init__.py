"""One definition of valid, for every source and every writer. Pure.

``Checker.check(record)`` gives the findings of one record; ``etl/model/codes.py`` lists what they can be.
"""

from etl.validation.checker import Checker
from etl.validation.findings import Finding

__all__ = ["Checker", "Finding"]
