"""Runs analysts' Python where it can reach nothing but the data it was handed."""
