-- What a trade's conditions keep it from (etl/model/sale_conditions.py): a trade with one of them sets no price, and counts
-- as a trade and adds to the volume only where adds_volume says so. A code means different things in different
-- vocabularies: among shares Polygon's numbers, the letters of tapes A and B (cta) and of tape C (utp), else other.
CREATE OR REPLACE VIEW market_internal.sale_conditions AS
SELECT * FROM VALUES('vocabulary String, code String, adds_volume Bool, extended_hours Bool',
    ('polygon', '2', true, false),
    ('polygon', '5', true, false),
    ('polygon', '7', true, false),
    ('polygon', '10', true, false),
    ('polygon', '12', true, true),
    ('polygon', '13', true, false),
    ('polygon', '15', false, false),
    ('polygon', '16', false, false),
    ('polygon', '20', true, false),
    ('polygon', '21', true, false),
    ('polygon', '22', true, false),
    ('polygon', '29', true, false),
    ('polygon', '32', true, false),
    ('polygon', '33', true, false),
    ('polygon', '37', true, false),
    ('polygon', '38', false, false),
    ('polygon', '52', true, false),
    ('polygon', '53', true, false),
    ('cta', 'B', true, false),
    ('cta', 'W', true, false),
    ('cta', 'G', true, false),
    ('cta', 'C', true, false),
    ('cta', '4', true, false),
    ('cta', 'T', true, true),
    ('cta', 'U', true, false),
    ('cta', 'M', false, false),
    ('cta', 'Q', false, false),
    ('cta', 'N', true, false),
    ('cta', 'H', true, false),
    ('cta', 'P', true, false),
    ('cta', 'R', true, false),
    ('cta', 'Z', true, false),
    ('cta', 'I', true, false),
    ('cta', '9', false, false),
    ('cta', 'V', true, false),
    ('cta', '7', true, false),
    ('utp', 'W', true, false),
    ('utp', 'G', true, false),
    ('utp', 'C', true, false),
    ('utp', '4', true, false),
    ('utp', 'T', true, true),
    ('utp', 'U', true, false),
    ('utp', 'M', false, false),
    ('utp', 'Q', false, false),
    ('utp', 'N', true, false),
    ('utp', 'H', true, false),
    ('utp', 'P', true, false),
    ('utp', 'R', true, false),
    ('utp', 'Z', true, false),
    ('utp', 'I', true, false),
    ('utp', '9', false, false),
    ('utp', 'V', true, false),
    ('utp', '7', true, false),
    ('other', 'INSURANCE_FUND', false, false),
    ('other', 'ADL', false, false));

-- As in 0017, with the key time, and what each print sets. extended_hours: it sets prices in a minute, an hour or a day in
-- which no other does.
CREATE OR REPLACE VIEW trades_corrected AS
WITH
    (
        SELECT CAST((groupArray(vocabulary), groupArray(codes)), 'Map(String, Array(String))')
        FROM
        (
            SELECT vocabulary, groupArray(code) AS codes FROM market_internal.sale_conditions GROUP BY vocabulary
        )
    ) AS any_codes,
    (
        SELECT CAST((groupArray(vocabulary), groupArray(codes)), 'Map(String, Array(String))')
        FROM
        (
            SELECT vocabulary, groupArray(code) AS codes FROM market_internal.sale_conditions WHERE NOT extended_hours GROUP BY vocabulary
        )
    ) AS regular_codes,
    (
        SELECT CAST((groupArray(vocabulary), groupArray(codes)), 'Map(String, Array(String))')
        FROM
        (
            SELECT vocabulary, groupArray(code) AS codes FROM market_internal.sale_conditions WHERE NOT adds_volume GROUP BY vocabulary
        )
    ) AS no_volume_codes,
    multiIf(size_unit != 'share', 'other', startsWith(exchange, 'polygon'), 'polygon', tape = 'C', 'utp', 'cta') AS vocabulary
SELECT
    time, exchange, symbol, record_key, venue_symbol, channel, last_price, volume, side, trade_id, size_unit,
    market_center, conditions, tape, source, flags, corrected, key_time,
    NOT hasAny(conditions, any_codes[vocabulary]) AS sets_price,
    NOT sets_price AND NOT hasAny(conditions, regular_codes[vocabulary]) AS sets_extended_price,
    NOT hasAny(conditions, no_volume_codes[vocabulary]) AS adds_volume
FROM
(
    SELECT
        time, exchange, symbol, record_key, venue_symbol, channel, last_price, volume, side, trade_id, size_unit,
        market_center, conditions, tape, source, flags, false AS corrected, key_time
    FROM trades
    WHERE (exchange, symbol, record_key) NOT IN
    (
        SELECT exchange, symbol, voided_key FROM market_internal.corrections_keyed
        UNION ALL
        SELECT exchange, symbol, replacement_key FROM market_internal.corrections_keyed WHERE replaces
    )
    UNION ALL
    SELECT
        time, exchange, symbol, if(trade_id = '', record_key, replacement_key) AS record_key, venue_symbol, channel,
        last_price, volume, '' AS side, trade_id, size_unit, market_center, conditions, tape, source, flags,
        true AS corrected, key_time
    FROM market_internal.corrections_keyed
    WHERE replaces AND (exchange, symbol, replacement_key) NOT IN
    (
        -- a correction in place voids the former print of its key, not its own
        SELECT exchange, symbol, voided_key FROM market_internal.corrections_keyed
        WHERE NOT (replaces AND replacement_key = voided_key)
    )
);
