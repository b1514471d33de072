from __future__ import annotations

from msgspec import Struct

from etl.model.records import Severity


class Finding(Struct, frozen=True, gc=False):
    """One rule that one record broke. Hard: kept out of the stores. Soft: stored with ``code`` in its flags."""

    code: str
    severity: Severity
    rule: str
    reason: str
