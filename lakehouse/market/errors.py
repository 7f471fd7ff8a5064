"""The root of the platform's errors."""

from __future__ import annotations


class LakehouseError(Exception):
    """
    Something failed in a way the user can act on.

    The message says what failed, for which instrument and window, what was expected, and what to do.

    LakehouseError
      BadInput             what was asked cannot be: refused before anything is stored
      NotNow               nothing is wrong with what was asked: it is put off, not failed
      StoreRefused         storage/s3.py: an object store that says no, and will again
      IssError             iss/errors.py
      PublishAborted       serving/publish.py
    """


class BadInput(LakehouseError):
    """A request that cannot be carried out as written; nothing was stored."""


class NotNow(LakehouseError):
    """Nothing is wrong with what was asked, but it cannot be done at present: it is to be put off, not failed."""
