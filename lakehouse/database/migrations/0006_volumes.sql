-- Where the candles of a day do not add up to the day's candle, or there is none to add up to.

CREATE TABLE lake.volume_gap (
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secid text NOT NULL,
    timeframe text NOT NULL,            -- of the candles within the day: 1m, 10m, 1h
    trade_date date NOT NULL,
    state text NOT NULL CHECK (state IN ('differs', 'not provable')),
    measure text NOT NULL CHECK (measure IN ('volume', 'value')),
    day_volume double precision,        -- in the measure; NULL: no day's candle
    intraday_volume double precision NOT NULL,
    object_key text NOT NULL,           -- what was compared: the object that speaks for the date within the day,
    day_object_key text,                -- and for the day's candle
    found_at timestamptz NOT NULL DEFAULT now(),
    reread_at timestamptz,              -- when another reading gave the same: not asked any more
    day_reread_at timestamptz,
    PRIMARY KEY (engine, market, board, secid, timeframe, trade_date)
);

-- The merged_at of an object when its dates were compared; moves with it when the object is merged again.
ALTER TABLE lake.bronze_object ADD COLUMN compared_at timestamptz;
CREATE INDEX bronze_object_uncompared ON lake.bronze_object (merged_at)
    WHERE family = 'candles' AND merged_at IS NOT NULL AND compared_at IS DISTINCT FROM merged_at;

GRANT SELECT, INSERT, UPDATE, DELETE ON lake.volume_gap TO lakehouse_app;
