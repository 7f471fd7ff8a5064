-- Rows of a session that is over, which the exchange may still correct, are provisional until they are final.

ALTER TABLE lake.coverage DROP CONSTRAINT coverage_state_check;
ALTER TABLE lake.coverage ADD CONSTRAINT coverage_state_check
    CHECK (state IN ('complete', 'no trades', 'forming', 'provisional', 'failed', 'missing'));
