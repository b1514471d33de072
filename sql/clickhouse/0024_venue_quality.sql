-- What a day of a venue is worth, as `publish_quality` found it: docs/quality.md says what each column means, and how the
-- score is made. A day is published again when repairs or backfills have changed it; the newest row holds.
CREATE TABLE IF NOT EXISTS venue_quality
(
    exchange          LowCardinality(String),
    day               Date,
    events            UInt64,
    gaps              UInt64,
    gaps_per_million  Float64,
    repaired          UInt64,
    open              UInt64,
    source_holes      UInt64,
    unrepairable      UInt64,
    share_repaired    Float64,
    latency_p50_ms    Nullable(Float64),
    latency_p99_ms    Nullable(Float64),
    coverage          Float64,
    quarantined       UInt64,
    incidents         UInt32,
    score             Float64,
    published_time    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(published_time)
ORDER BY (exchange, day);
