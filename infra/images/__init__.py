"""The platform's images, built and tried on a machine without Docker: ``python -m infra.images``."""
