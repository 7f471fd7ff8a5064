"""The platform's functions: the API and the chain, as small handlers."""
