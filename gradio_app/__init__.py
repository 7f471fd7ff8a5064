"""The pages: login, Market, Ingest. One web process serves them and the functions, under one session cookie."""
