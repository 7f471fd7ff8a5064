"""Backups of the whole platform, PostgreSQL and lake at one moment, and their way back."""
