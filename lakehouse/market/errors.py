"""The root of the platform's errors."""

from __future__ import annotations


class LakehouseError(Exception):
    """
    Something failed in a way the user can act on.

    The message says what failed, for which instrument and window, what was expected, and what to do.

    LakehouseError
      BadInput             what was asked cannot be: refused before anything is stored
      IssError             iss/errors.py
      PublishAborted       serving/publish.py
    """


class BadInput(LakehouseError):
    """A request that cannot be carried out as written; nothing was stored."""
