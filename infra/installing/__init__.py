"""The steps of set-up. Standard library only: they run before anything is installed."""
