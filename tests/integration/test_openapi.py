"""The API's documentation is OpenAPI 3.1, and what it says of each operation is what the operation is."""

from __future__ import annotations
