"""The exchange's words: instruments, timeframes, schemas, sessions, Moscow time. Pure, standard library only."""
