"""Who may do what: users, sessions, roles, and the record of what was done."""
