"""The exchange's answers as they came, and a ledger of what they prove."""
