"""Gold: instruments across renames, the trading calendar, candles made comparable, indicators."""
