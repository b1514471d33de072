"""What ``etl up --profile`` stands for: settings, each of which one's own goes before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etl.errors import UsageError
from etl.settings import Settings, changed, make, value_of

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "light": {
        "transport_url": "redis",
        "stores": ("clickhouse", "lake"),
        "topic_retention_h": 1,  # topics lie in memory; what a store has not read stays
        "redis_memory_mib": 512,
        "lake_range_messages_max": 50_000,
        "lake_compaction_memory_mib": 256,
    }
}


def with_profile(settings: Settings, name: str) -> Settings:
    """``settings``, with those of the profile where they are the defaults; "" = none. Raises ``UsageError``."""
    if not name:
        return settings
    if name not in PROFILES:
        raise UsageError(f"--profile {name}: there is {', '.join(PROFILES)}")
    default = make()
    wanted = {
        field: value
        for field, value in PROFILES[name].items()
        if value_of(settings, field) == value_of(default, field)
    }
    return changed(settings, **wanted)
