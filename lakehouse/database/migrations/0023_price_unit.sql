-- What an instrument's prices are in (docs/dictionary.md, gold.dim_instrument); NULL until Gold is built by this version.
ALTER TABLE gold.dim_instrument ADD COLUMN price_unit text;
