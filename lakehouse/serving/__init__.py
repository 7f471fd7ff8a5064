"""Gold in PostgreSQL: publishing it, and the queries that pages and functions ask."""
