-- Whose a lease is: that of a process which died is free at once, not only when it expires.

ALTER TABLE lake.request_lease ADD COLUMN backend_pid integer;   -- pg_stat_activity.pid of the holder's connection
