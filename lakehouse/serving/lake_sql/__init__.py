"""
Read-only SQL over the lake's Delta tables, each statement in a process of its own.

`run` and `desk` ask, `process` is the outer side of that process, `answering` the inner one, and `duckdb_child` and
`spark_child` are the two programs it may run.
"""
