"""PostgreSQL: the embedded server, connections, migrations, locks, progress and the request budget."""
