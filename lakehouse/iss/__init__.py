"""The exchange's API: requests, pages, and the proof that nothing is missing."""
