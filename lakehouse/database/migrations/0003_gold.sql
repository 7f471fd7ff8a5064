-- Gold as readers see it. Schema gold is what they may read; store holds the facts.
--
-- Facts lie in generations. The first load and every rebuild make a new one; gold.publication names the one that counts.
-- It is one row and read under the reader's own snapshot: who began before a rebuild goes on reading the former generation,
-- which stays until nobody can see it any more.

CREATE SCHEMA gold;
CREATE SCHEMA store;

CREATE TABLE gold.publication (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    data_version bigint NOT NULL,       -- moves whenever a row of Gold did; 0 before the first load
    published_at timestamptz,
    delta_version bigint,               -- version of gold/fact_candle that was published
    delta_table text,                   -- id of that Delta table: another one counts its versions anew
    generation integer NOT NULL
);
INSERT INTO gold.publication (data_version, generation) VALUES (0, 0);

-- Columns of eight bytes first: no padding between them. The view has them in the declared order.
CREATE TABLE store.fact_candle (
    instrument_id bigint NOT NULL,
    begin_at timestamptz NOT NULL,
    open double precision,
    high double precision,
    low double precision,
    close double precision,
    value double precision,
    volume double precision,
    split_factor double precision NOT NULL,
    sma_20 double precision,
    rsi_14 double precision,
    trade_date date NOT NULL,
    generation integer NOT NULL,
    is_final boolean NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    secid text COLLATE "C" NOT NULL,
    bucket text COLLATE "C" NOT NULL
) PARTITION BY LIST (generation);

CREATE TABLE store.generation (
    generation integer PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT now(),
    retired_by xid8                     -- the transaction that moved the publication to another one
);

CREATE VIEW gold.fact_candle AS
SELECT instrument_id, timeframe, begin_at, trade_date, secid, open, high, low, close, value, volume, is_final, split_factor,
    sma_20, rsi_14, bucket
FROM store.fact_candle
WHERE generation = (SELECT p.generation FROM gold.publication p);

CREATE TABLE gold.dim_instrument (
    instrument_id bigint PRIMARY KEY,
    secid text NOT NULL,
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secids text,
    shortname text,
    name text,
    isin text,
    type text,
    currency text,
    decimals integer,
    is_traded boolean
);

CREATE TABLE gold.dim_date (
    trade_date date PRIMARY KEY,
    is_traded boolean NOT NULL,
    reason text,
    year integer NOT NULL,
    quarter integer NOT NULL,
    month integer NOT NULL,
    week_day integer NOT NULL
);

-- What exists, so that nobody scans the facts to know: one row per series of facts.
CREATE TABLE gold.series (
    instrument_id bigint NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    first_begin_at timestamptz NOT NULL,
    last_begin_at timestamptz NOT NULL,
    first_date date NOT NULL,
    last_date date NOT NULL,
    rows bigint NOT NULL,
    PRIMARY KEY (instrument_id, timeframe)
);

GRANT USAGE ON SCHEMA gold TO lakehouse_read, lakehouse_app;
GRANT SELECT ON ALL TABLES IN SCHEMA gold TO lakehouse_read, lakehouse_app;
