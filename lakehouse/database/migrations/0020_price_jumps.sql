-- Days that open at about a whole multiple of the close before, or a whole part of it: a split of which nobody knows?
-- Found while Gold is published (serving/jumps.py), so that nobody scans the facts to know.

CREATE TABLE lake.price_jump (
    instrument_id bigint NOT NULL,
    begin_at timestamptz NOT NULL,      -- of the day's candle
    trade_date date NOT NULL,
    secid text NOT NULL,                -- on that day
    close_date date NOT NULL,           -- of the day before
    close double precision NOT NULL,    -- of the day before, raw
    open double precision NOT NULL,     -- raw
    known double precision NOT NULL,    -- what splits that are known multiply prices before the day by; 1: none is known
    before integer NOT NULL,            -- the split that would explain what is left: before -> after
    after integer NOT NULL,
    PRIMARY KEY (instrument_id, begin_at)
);
CREATE INDEX price_jump_newest ON lake.price_jump (trade_date);

GRANT SELECT ON lake.price_jump TO lakehouse_app;
